/* A list is found by its content through a hash map (64-bit hash to list; lists whose hashes collide hang in a chain) and
 * by its id through a plain array, where unused places keep the next free id. */
#include "tree/acl.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/hmap.h"
#include "base/log.h"
#include "base/mem.h"

struct acl_list {
    struct acl_list *next; /* another list with the same hash */
    uint64_t hash;
    acl_id_t id;
    uint32_t refs;
    int32_t world_perms;
    uint32_t len;
    char bytes[];
};

union acl_place {
    struct acl_list *list;
    uintptr_t free; /* the next free id and bit 0; lists are aligned, so they never have it */
};

struct acl_table {
    struct hmap by_hash;
    union acl_place *places; /* by id; 0 is not used */
    uint32_t used, cap;      /* ids below used were given out at some time */
    acl_id_t first_free;     /* 0 = none */
    size_t count;
    size_t bytes; /* of the lists */
};

static const char open_bytes[] = "\0\0\0\1\0\0\0\37\0\0\0\5world\0\0\0\6anyone";

struct acl_table *acl_table_new(void) {
    struct acl_table *t = mem_calloc(1, sizeof *t);
    t->used = 1;
    return t;
}

static bool is_free(const struct acl_table *t, acl_id_t id) { return (t->places[id].free & 1) != 0; }

void acl_table_free(struct acl_table *t) {
    if (t == NULL)
        return;
    for (acl_id_t id = 1; id < t->used; id++)
        if (!is_free(t, id))
            mem_free(t->places[id].list);
    mem_free(t->places);
    hmap_free(&t->by_hash);
    mem_free(t);
}

static struct acl_list *list_of(const struct acl_table *t, acl_id_t id) {
    zassert(id != ACL_OPEN && id < t->used);
    zassert(!is_free(t, id));
    return t->places[id].list;
}

/* A null or empty list, which only a foreign file can contain, allows everything (operations.md section 10.1). */
static int32_t world_perms(struct slice encoded) {
    struct jute_in in = jute_in(encoded.data, encoded.len);
    int32_t count = jute_count(&in), perms = 0;
    if (count <= 0)
        return -1;
    for (int32_t i = 0; i < count && !in.failed; i++) {
        struct acl_entry e = acl_entry_get(&in);
        if (!in.failed && slice_is(e.scheme, "world") && slice_is(e.id, "anyone"))
            perms |= e.perms;
    }
    return perms;
}

static acl_id_t take_id(struct acl_table *t) {
    acl_id_t id = t->first_free;
    if (id != 0) {
        t->first_free = (acl_id_t)(t->places[id].free >> 1);
        return id;
    }
    zassert(t->used < UINT32_MAX / 2);
    if (t->used >= t->cap) {
        t->cap = t->cap ? t->cap * 2 : 16;
        t->places = mem_realloc(t->places, t->cap * sizeof *t->places);
    }
    return t->used++;
}

acl_id_t acl_intern(struct acl_table *t, struct slice encoded) {
    uint64_t hash = XXH3_64bits(encoded.data, encoded.len);
    struct acl_list *first = hmap_get(&t->by_hash, hash);
    for (struct acl_list *l = first; l != NULL; l = l->next) {
        if (slice_eq((struct slice){l->bytes, l->len}, encoded)) {
            l->refs++;
            return l->id;
        }
    }
    zassert(encoded.len <= INT32_MAX);
    struct acl_list *l = mem_alloc(sizeof *l + encoded.len);
    *l = (struct acl_list){.next = first, .hash = hash, .id = take_id(t), .refs = 1, .len = (uint32_t)encoded.len};
    memcpy(l->bytes, encoded.data, encoded.len);
    l->world_perms = world_perms(encoded);
    t->places[l->id].list = l;
    hmap_put(&t->by_hash, hash, l);
    t->count++;
    t->bytes += sizeof *l + encoded.len;
    return l->id;
}

void acl_ref(struct acl_table *t, acl_id_t id) {
    if (id != ACL_OPEN)
        list_of(t, id)->refs++;
}

static void unlink_list(struct acl_table *t, struct acl_list *l) {
    struct acl_list *first = hmap_get(&t->by_hash, l->hash);
    if (first != l) {
        while (first->next != l)
            first = first->next;
        first->next = l->next;
    } else if (l->next != NULL) {
        hmap_put(&t->by_hash, l->hash, l->next);
    } else {
        hmap_remove(&t->by_hash, l->hash);
    }
}

void acl_unref(struct acl_table *t, acl_id_t id) {
    if (id == ACL_OPEN)
        return;
    struct acl_list *l = list_of(t, id);
    zassert(l->refs > 0);
    if (--l->refs > 0)
        return;
    unlink_list(t, l);
    t->count--;
    t->bytes -= sizeof *l + l->len;
    t->places[id].free = (uintptr_t)t->first_free << 1 | 1;
    t->first_free = id;
    mem_free(l);
}

struct slice acl_bytes(const struct acl_table *t, acl_id_t id) {
    if (id == ACL_OPEN)
        return (struct slice){open_bytes, sizeof open_bytes - 1};
    const struct acl_list *l = list_of(t, id);
    return (struct slice){l->bytes, l->len};
}

int32_t acl_world_perms(const struct acl_table *t, acl_id_t id) {
    return id == ACL_OPEN ? PERM_ALL : list_of(t, id)->world_perms;
}

acl_id_t acl_next(const struct acl_table *t, acl_id_t after) {
    for (acl_id_t id = after + 1; id < t->used; id++)
        if (!is_free(t, id))
            return id;
    return 0;
}

size_t acl_count(const struct acl_table *t) { return t->count; }

size_t acl_table_bytes(const struct acl_table *t) {
    return sizeof *t + hmap_bytes(&t->by_hash) + t->cap * sizeof *t->places + t->bytes;
}
