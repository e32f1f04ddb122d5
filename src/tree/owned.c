/* Who owns which nodes: per session its ephemerals, and all containers and all TTL nodes. */
#include "base/log.h"
#include "tree/tree_internal.h"

#define OWNED_MIN 4

#define EXTENDED_PREFIX 0xff00000000000000u
#define EXTENDED_FEATURE 0x00ffff0000000000u
#define TTL_MASK 0x000000ffffffffffu

/* docs/protocol/operations.md section 7. */
static bool extended(const struct tree *t, int64_t owner) {
    return t->options.extended_types && ((uint64_t)owner & EXTENDED_PREFIX) == EXTENDED_PREFIX;
}

/* The form that 3.5.3 wrote: the sign bit alone says TTL. */
static bool ttl_of_353(const struct tree *t, int64_t owner) {
    return t->options.extended_types && t->options.emulate_353_ttl && owner < 0 && owner != OWNER_CONTAINER;
}

bool tree_owner_invalid(const struct tree *t, int64_t owner) {
    return extended(t, owner) && !ttl_of_353(t, owner) && ((uint64_t)owner & EXTENDED_FEATURE) != 0;
}

enum znode_kind tree_owner_kind(const struct tree *t, int64_t owner) {
    if (owner == 0)
        return ZNODE_PERSISTENT;
    if (owner == OWNER_CONTAINER)
        return ZNODE_CONTAINER;
    if (ttl_of_353(t, owner))
        return ZNODE_TTL;
    if (extended(t, owner) && ((uint64_t)owner & EXTENDED_FEATURE) == 0)
        return ZNODE_TTL;
    return ZNODE_EPHEMERAL;
}

int64_t tree_owner_ttl(const struct tree *t, int64_t owner) {
    return tree_owner_kind(t, owner) == ZNODE_TTL ? (int64_t)((uint64_t)owner & TTL_MASK) : 0;
}

static void set_cap(struct tree *t, struct owned *o, uint32_t cap) {
    o->nodes = tree_realloc(t, o->nodes, cap * sizeof(struct znode *));
    o->cap = cap;
}

static struct owned *owner_get(struct tree *t, int64_t owner) {
    struct owned *o = hmap_get(&t->owners, (uint64_t)owner);
    if (o == NULL) {
        o = tree_alloc(t, sizeof *o);
        *o = (struct owned){.owner = owner};
        hmap_put(&t->owners, (uint64_t)owner, o);
    }
    return o;
}

void owned_add(struct tree *t, struct znode *n) {
    int64_t owner = znode_owner(n);
    enum znode_kind kind = tree_owner_kind(t, owner);
    if (kind == ZNODE_PERSISTENT)
        return;
    struct owned *o = kind == ZNODE_TTL ? &t->ttl_nodes : &t->containers;
    if (kind == ZNODE_EPHEMERAL) {
        o = owner_get(t, owner);
        o->version = ++t->owned_version;
        t->ephemerals++;
    }
    if (o->count == o->cap)
        set_cap(t, o, o->cap ? o->cap * 2 : OWNED_MIN);
    znode_ext(n)->pos = o->count;
    o->nodes[o->count++] = n;
}

static void take_out(struct tree *t, struct owned *o, struct znode *n) {
    uint32_t pos = znode_ext(n)->pos;
    zassert(pos < o->count && o->nodes[pos] == n);
    struct znode *last = o->nodes[--o->count];
    o->nodes[pos] = last;
    znode_ext(last)->pos = pos;
    if (o->cap > OWNED_MIN && o->count <= o->cap / 4)
        set_cap(t, o, o->cap / 2);
}

void owned_remove(struct tree *t, struct znode *n) {
    int64_t owner = znode_owner(n);
    enum znode_kind kind = tree_owner_kind(t, owner);
    if (kind == ZNODE_CONTAINER)
        take_out(t, &t->containers, n);
    else if (kind == ZNODE_TTL)
        take_out(t, &t->ttl_nodes, n);
    if (kind != ZNODE_EPHEMERAL)
        return;
    struct owned *o = tree_owned_by(t, owner);
    zassert(o != NULL);
    take_out(t, o, n);
    o->version = ++t->owned_version;
    t->ephemerals--;
    if (o->count == 0) {
        hmap_remove(&t->owners, (uint64_t)owner);
        tree_release(t, o->nodes);
        tree_release(t, o);
    }
}

struct owned *tree_owned_by(const struct tree *t, session_id_t session) {
    return hmap_get(&t->owners, (uint64_t)session);
}
const struct owned *tree_containers(const struct tree *t) { return &t->containers; }
const struct owned *tree_ttl_nodes(const struct tree *t) { return &t->ttl_nodes; }
struct owned *tree_owned_next(const struct tree *t, size_t *cursor) { return hmap_next(&t->owners, cursor); }
void tree_owner_ids(const struct tree *t, uint64_t *ids) { hmap_keys(&t->owners, ids); }
uint64_t tree_ephemeral_count(const struct tree *t) { return t->ephemerals; }
uint64_t tree_owner_count(const struct tree *t) { return t->owners.count; }

void owned_close(struct tree *t) {
    size_t cursor = 0;
    for (struct owned *o; (o = hmap_next(&t->owners, &cursor)) != NULL;) {
        tree_release(t, o->nodes);
        tree_release(t, o);
    }
    hmap_free(&t->owners);
    tree_release(t, t->containers.nodes);
    tree_release(t, t->ttl_nodes.nodes);
}
