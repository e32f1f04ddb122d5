/* Three structures, made so that ten million watches fit into memory and nothing ever has to be copied in one go:
 *
 *   entries   one per watched path, 24 bytes, in chunks; named by number. A path with a single watcher keeps its word in
 *             the entry itself, else the entry points to a set of words.
 *   index     finds the entry of a path: hash chains through the entries, one bucket per entry. It grows and shrinks by one
 *             bucket at a time (linear hashing), so there is no big rehash.
 *   watchers  for each watcher the set of the numbers of its entries.
 *
 * All of these sets are u32sets: they grow piecemeal, too.
 *
 * Invariants:
 *   1. A word (watcher, modes) stands in an entry's set if and only if the entry's number stands in the watcher's set, and
 *      its modes are not 0. An entry without words is given back at once.
 *   2. An entry that refers to a znode has ZNODE_WATCHED set there, and the index finds it by the hash in the znode.
 *   3. A path that exists has no entry with a copy of the path: creation is fired with the znode at hand, and then a
 *      surviving entry is bound to it. So a znode without the flag has no entry. */
#include "tree/watch.h"

#include "base/log.h"
#include "base/mem.h"
#include "tree/u32set.h"

#define DATA_MODES (WATCH_DATA | WATCH_DATA_PERSISTENT | WATCH_RECURSIVE)
#define CHILD_MODES (WATCH_CHILD | WATCH_CHILD_PERSISTENT)

/* How sets are keyed. */
#define KEY_WATCHER (WATCHER_MAX - 1) /* a word is found by its watcher */
#define KEY_ENTRY UINT32_MAX          /* an entry number is its own key */

/* What is noted with the set of an entry: how many of its words have such modes. */
enum { NOTE_DATA, NOTE_RECURSIVE };

/* ------------------------------------------------------------------ entries */

#define CHUNK_ENTRIES 4096u
#define NO_CHUNK UINT32_MAX
#define FIRST_ENTRY U32SET_VALUE_MIN /* 0 is also the end of a chain */
#define HEADS_BLOCK 4096u
#define BUCKETS_MIN 64u
#define SCRATCH_KEEP 65536u

struct path_copy {
    uint32_t len;
    char text[];
};

struct entry {
    uintptr_t where; /* the znode, or a struct path_copy and bit 0; 0 = free */
    struct u32set who;  /* words: watcher | modes << WATCHER_BITS */
    uint32_t hash;   /* low half of tree_hash */
    uint32_t next;   /* the next entry of the bucket, or of the chunk's free ones */
};
_Static_assert(sizeof(struct entry) == 24, "memory targets count on it");

struct chunk {
    uint32_t used;                 /* entries in use */
    uint32_t touched;              /* entries [0, touched) were in use at some time */
    uint32_t first_free;           /* index + 1 of the newest free one among these, 0 = none */
    uint32_t room_prev, room_next; /* list of the chunks with room */
    struct entry entries[CHUNK_ENTRIES];
};

struct watches {
    struct tree *tree;
    struct chunk **chunks; /* NULL = given back */
    uint32_t chunk_count;
    uint32_t room; /* first chunk with a free entry, or NO_CHUNK */

    uint32_t **heads;     /* blocks of HEADS_BLOCK bucket heads */
    uint32_t buckets;     /* in use */
    uint32_t bucket_mask; /* the power of two that is not below buckets, less one */
    uint32_t entries;     /* in the index */
    uint32_t copies;      /* entries with a copy of their path */

    struct u32set *watchers; /* entries of each watcher */
    uint32_t *stamps;     /* the last firing that told the watcher; NULL until there are recursive watches */
    uint32_t watcher_cap;
    uint32_t stamp;
    uint32_t *spent; /* scratch memory of watch_fire */
    uint32_t spent_count, spent_cap;
    bool firing;

    uint64_t data_pairs, child_pairs, recursive_pairs; /* (path, watcher) with such a mode */
    uint64_t data_paths;
    uint64_t bytes;
};

static struct entry *entry_at(const struct watches *w, uint32_t id) {
    return &w->chunks[id / CHUNK_ENTRIES]->entries[id % CHUNK_ENTRIES];
}

static void room_link(struct watches *w, uint32_t number) {
    struct chunk *c = w->chunks[number];
    c->room_prev = NO_CHUNK;
    c->room_next = w->room;
    if (w->room != NO_CHUNK)
        w->chunks[w->room]->room_prev = number;
    w->room = number;
}

static void room_unlink(struct watches *w, uint32_t number) {
    const struct chunk *c = w->chunks[number];
    if (c->room_prev != NO_CHUNK)
        w->chunks[c->room_prev]->room_next = c->room_next;
    else
        w->room = c->room_next;
    if (c->room_next != NO_CHUNK)
        w->chunks[c->room_next]->room_prev = c->room_prev;
}

static bool chunk_full(const struct chunk *c) { return c->first_free == 0 && c->touched == CHUNK_ENTRIES; }

static void chunk_new(struct watches *w) {
    uint32_t number = 0;
    while (number < w->chunk_count && w->chunks[number] != NULL)
        number++;
    if (number == w->chunk_count) {
        zassert(number < UINT32_MAX / CHUNK_ENTRIES);
        w->chunks = mem_realloc(w->chunks, ++w->chunk_count * sizeof(struct chunk *));
        w->bytes += sizeof(struct chunk *);
    }
    /* Not cleared: memory that no entry has needed yet shall not become resident. */
    struct chunk *c = mem_alloc(sizeof *c);
    c->used = 0;
    c->touched = 0;
    c->first_free = 0;
    if (number == 0)
        while (c->touched < FIRST_ENTRY)
            c->entries[c->touched++].where = 0;
    w->chunks[number] = c;
    w->bytes += sizeof *c;
    room_link(w, number);
}

static uint32_t entry_take(struct watches *w) {
    if (w->room == NO_CHUNK)
        chunk_new(w);
    uint32_t number = w->room;
    struct chunk *c = w->chunks[number];
    uint32_t index;
    if (c->first_free != 0) {
        index = c->first_free - 1;
        c->first_free = c->entries[index].next;
    } else {
        index = c->touched++;
    }
    c->used++;
    if (chunk_full(c))
        room_unlink(w, number);
    return number * CHUNK_ENTRIES + index;
}

static void entry_give_back(struct watches *w, uint32_t id) {
    uint32_t number = id / CHUNK_ENTRIES, index = id % CHUNK_ENTRIES;
    struct chunk *c = w->chunks[number];
    if (chunk_full(c))
        room_link(w, number);
    c->entries[index].where = 0;
    c->entries[index].next = c->first_free;
    c->first_free = index + 1;
    c->used--;
    /* One empty chunk may stay, so that an entry that comes and goes does not cost a chunk each time. */
    if (c->used == 0 && (w->room != number || c->room_next != NO_CHUNK)) {
        room_unlink(w, number);
        w->chunks[number] = NULL;
        w->bytes -= sizeof *c;
        mem_free(c);
    }
}

/* ------------------------------------------------------------------ index */

static uint32_t *head_of(const struct watches *w, uint32_t hash) {
    uint32_t bucket = hash & w->bucket_mask;
    if (bucket >= w->buckets)
        bucket &= w->bucket_mask >> 1;
    return &w->heads[bucket / HEADS_BLOCK][bucket % HEADS_BLOCK];
}

static void set_buckets(struct watches *w, uint32_t buckets) {
    w->buckets = buckets;
    w->bucket_mask = UINT32_MAX >> __builtin_clz(buckets - 1);
}

static void add_heads_block(struct watches *w, uint32_t number) {
    w->heads = mem_realloc(w->heads, (number + 1) * sizeof(uint32_t *));
    w->heads[number] = mem_calloc(HEADS_BLOCK, sizeof(uint32_t));
    w->bytes += HEADS_BLOCK * sizeof(uint32_t);
}

/* Adds one bucket, which takes its share of the entries of another. */
static void split_bucket(struct watches *w) {
    uint32_t fresh = w->buckets;
    if (fresh % HEADS_BLOCK == 0)
        add_heads_block(w, fresh / HEADS_BLOCK);
    set_buckets(w, fresh + 1);
    uint32_t from = fresh & (w->bucket_mask >> 1);
    uint32_t *link = &w->heads[from / HEADS_BLOCK][from % HEADS_BLOCK];
    uint32_t *fresh_head = &w->heads[fresh / HEADS_BLOCK][fresh % HEADS_BLOCK];
    while (*link != 0) {
        uint32_t id = *link;
        struct entry *e = entry_at(w, id);
        if (head_of(w, e->hash) == fresh_head) {
            *link = e->next;
            e->next = *fresh_head;
            *fresh_head = id;
        } else {
            link = &e->next;
        }
    }
}

/* The reverse: the last bucket goes, and its entries go back to where they came from. */
static void merge_bucket(struct watches *w) {
    uint32_t last = w->buckets - 1, into = last & (w->bucket_mask >> 1);
    uint32_t *link = &w->heads[into / HEADS_BLOCK][into % HEADS_BLOCK];
    while (*link != 0)
        link = &entry_at(w, *link)->next;
    *link = w->heads[last / HEADS_BLOCK][last % HEADS_BLOCK];
    w->heads[last / HEADS_BLOCK][last % HEADS_BLOCK] = 0;
    set_buckets(w, last);
    if (last % HEADS_BLOCK == 0) {
        mem_free(w->heads[last / HEADS_BLOCK]);
        w->bytes -= HEADS_BLOCK * sizeof(uint32_t);
    }
}

static void index_add(struct watches *w, uint32_t id) {
    if (w->buckets == 0) {
        add_heads_block(w, 0);
        set_buckets(w, BUCKETS_MIN);
    }
    if (++w->entries > w->buckets)
        split_bucket(w);
    struct entry *e = entry_at(w, id);
    uint32_t *head = head_of(w, e->hash);
    e->next = *head;
    *head = id;
}

static void index_remove(struct watches *w, uint32_t id) {
    uint32_t *link = head_of(w, entry_at(w, id)->hash);
    while (*link != id)
        link = &entry_at(w, *link)->next;
    *link = entry_at(w, id)->next;
    w->entries--;
    /* Two at a time, so that none are left over when the last entry goes. */
    for (int i = 0; i < 2 && w->entries < w->buckets / 2 && w->buckets > BUCKETS_MIN; i++)
        merge_bucket(w);
}

static struct path_copy *copy_of(const struct entry *e) {
    return e->where & 1 ? (struct path_copy *)(e->where - 1) : NULL;
}
static struct znode *znode_of(const struct entry *e) { return e->where & 1 ? NULL : (struct znode *)e->where; }

static uint32_t find_by_node(const struct watches *w, const struct znode *node) {
    if (w->entries == 0)
        return 0;
    for (uint32_t id = *head_of(w, node->hash); id != 0; id = entry_at(w, id)->next)
        if (entry_at(w, id)->where == (uintptr_t)node)
            return id;
    return 0;
}

static uint32_t find_hashed(const struct watches *w, struct slice path, uint32_t hash) {
    for (uint32_t id = *head_of(w, hash); id != 0; id = entry_at(w, id)->next) {
        const struct entry *e = entry_at(w, id);
        if (e->hash != hash)
            continue;
        const struct path_copy *copy = copy_of(e);
        if (copy != NULL ? slice_eq((struct slice){copy->text, copy->len}, path) : znode_path_is(znode_of(e), path))
            return id;
    }
    return 0;
}

static uint32_t find_by_path(const struct watches *w, struct slice path) {
    return w->entries == 0 ? 0 : find_hashed(w, path, (uint32_t)tree_hash(w->tree, path));
}

/* ------------------------------------------------------------------ znode or copy of the path */

static void keep_copy(struct watches *w, struct entry *e, struct slice path) {
    zassert(path.len < UINT32_MAX);
    struct path_copy *copy = mem_alloc(sizeof *copy + path.len);
    copy->len = (uint32_t)path.len;
    if (path.len)
        memcpy(copy->text, path.data, path.len);
    e->where = (uintptr_t)copy + 1;
    w->copies++;
    w->bytes += sizeof *copy + path.len;
}

static void drop_copy(struct watches *w, struct entry *e) {
    struct path_copy *copy = copy_of(e);
    w->copies--;
    w->bytes -= sizeof *copy + copy->len;
    mem_free(copy);
}

static void bind(struct watches *w, struct entry *e, struct znode *node) {
    if (copy_of(e) == NULL)
        return;
    drop_copy(w, e);
    e->where = (uintptr_t)node;
    tree_set_watched(node, true);
}

void watch_node_leaves(struct watches *w, struct znode *node, struct slice path) {
    uint32_t id = find_by_node(w, node);
    if (id != 0)
        keep_copy(w, entry_at(w, id), path);
    tree_set_watched(node, false);
}

static uint32_t entry_new(struct watches *w, struct slice path, struct znode *node, uint32_t hash) {
    uint32_t id = entry_take(w);
    struct entry *e = entry_at(w, id);
    *e = (struct entry){.where = (uintptr_t)node, .hash = hash};
    if (node != NULL)
        tree_set_watched(node, true);
    else
        keep_copy(w, e, path);
    index_add(w, id);
    return id;
}

/* Nobody is left. */
static void entry_free(struct watches *w, uint32_t id) {
    struct entry *e = entry_at(w, id);
    zassert(u32set_is_empty(e->who));
    index_remove(w, id);
    if (copy_of(e) != NULL)
        drop_copy(w, e);
    else
        tree_set_watched(znode_of(e), false);
    entry_give_back(w, id);
}

/* ------------------------------------------------------------------ modes */

static uint32_t data_words(const struct entry *e) {
    const uint32_t *notes = u32set_notes(e->who);
    return notes != NULL ? notes[NOTE_DATA] : (u32set_single(e->who) >> WATCHER_BITS & DATA_MODES) != 0;
}

static uint32_t recursive_words(const struct entry *e) {
    const uint32_t *notes = u32set_notes(e->who);
    return notes != NULL ? notes[NOTE_RECURSIVE] : (u32set_single(e->who) >> WATCHER_BITS & WATCH_RECURSIVE) != 0;
}

static int has(unsigned modes, unsigned which) { return (modes & which) != 0; }

/* What the words of one entry count for, before and after a change. */
struct tally {
    uint32_t data, recursive;
};

static struct tally tally_of(const struct entry *e) { return (struct tally){data_words(e), recursive_words(e)}; }

/* The entry's set has been changed already; the new numbers are noted with it. */
static void account(struct watches *w, struct entry *e, struct tally before, struct tally after) {
    uint32_t *notes = u32set_notes(e->who);
    if (notes != NULL) {
        notes[NOTE_DATA] = after.data;
        notes[NOTE_RECURSIVE] = after.recursive;
    }
    w->data_pairs += (uint64_t)after.data - before.data;
    w->recursive_pairs += (uint64_t)after.recursive - before.recursive;
    w->data_paths += (uint64_t)(after.data > 0) - (before.data > 0);
}

/* The other half of a removal: the watcher's own set. */
static void leave_entry(struct watches *w, uint32_t watcher, uint32_t id) {
    uint32_t was = u32set_remove(&w->bytes, &w->watchers[watcher], id, KEY_ENTRY);
    zassert(was == id);
}

/* Gives the watcher other modes at the entry, which goes if it was the last one. */
static void change_modes(struct watches *w, uint32_t id, uint32_t watcher, unsigned old, unsigned new) {
    struct entry *e = entry_at(w, id);
    struct tally before = tally_of(e), after = before;
    after.data += (uint32_t)(has(new, DATA_MODES) - has(old, DATA_MODES));
    after.recursive += (uint32_t)(has(new, WATCH_RECURSIVE) - has(old, WATCH_RECURSIVE));
    w->child_pairs += (uint64_t)(has(new, CHILD_MODES) - has(old, CHILD_MODES));
    if (new != 0)
        u32set_put(&w->bytes, &e->who, watcher | new << WATCHER_BITS, KEY_WATCHER);
    else
        u32set_remove(&w->bytes, &e->who, watcher, KEY_WATCHER);
    account(w, e, before, after);
    if (old == 0)
        u32set_put(&w->bytes, &w->watchers[watcher], id, KEY_ENTRY);
    else if (new == 0)
        leave_entry(w, watcher, id);
    u32set_shrink_if_needed(&w->bytes, &e->who, KEY_WATCHER);
    u32set_shrink_if_needed(&w->bytes, &w->watchers[watcher], KEY_ENTRY);
    if (u32set_is_empty(e->who))
        entry_free(w, id);
}

static unsigned modes_of(const struct watches *w, uint32_t id, uint32_t watcher) {
    return u32set_get(entry_at(w, id)->who, watcher, KEY_WATCHER) >> WATCHER_BITS;
}

static void reserve_watcher(struct watches *w, uint32_t watcher) {
    if (watcher < w->watcher_cap)
        return;
    uint32_t old = w->watcher_cap, cap = old ? old * 2 : 64;
    while (cap <= watcher)
        cap *= 2;
    w->watchers = mem_realloc(w->watchers, cap * sizeof *w->watchers);
    memset(w->watchers + old, 0, (cap - old) * sizeof *w->watchers);
    w->bytes += (cap - old) * sizeof *w->watchers;
    if (w->stamps != NULL) {
        w->stamps = mem_realloc(w->stamps, cap * sizeof *w->stamps);
        memset(w->stamps + old, 0, (cap - old) * sizeof *w->stamps);
        w->bytes += (cap - old) * sizeof *w->stamps;
    }
    w->watcher_cap = cap;
}

/* The entry of path for one more watcher: bound to the node if there is one. */
static uint32_t find_or_make(struct watches *w, struct slice path, struct znode *node) {
    uint32_t id = 0, hash = node != NULL ? node->hash : (uint32_t)tree_hash(w->tree, path);
    if (node != NULL && node->flags & ZNODE_WATCHED)
        id = find_by_node(w, node);
    else if (w->entries > 0 && (node == NULL || w->copies > 0))
        id = find_hashed(w, path, hash);
    if (id == 0)
        return entry_new(w, path, node, hash);
    if (node != NULL)
        bind(w, entry_at(w, id), node);
    return id;
}

void watch_add(struct watches *w, uint32_t watcher, struct slice path, struct znode *node, unsigned modes) {
    zassert(watcher < WATCHER_MAX);
    zassert(modes != 0 && (modes & ~(unsigned)WATCH_ALL) == 0);
    zassert(!w->firing);
    reserve_watcher(w, watcher);
    /* The empty path is no alias of the root here. */
    uint32_t id = find_or_make(w, path, path.len > 0 ? node : NULL);
    unsigned old = modes_of(w, id, watcher);
    if ((old | modes) != old)
        change_modes(w, id, watcher, old, old | modes);
}

unsigned watch_get(const struct watches *w, uint32_t watcher, struct slice path) {
    uint32_t id = find_by_path(w, path);
    return id != 0 ? modes_of(w, id, watcher) : 0;
}

unsigned watch_remove(struct watches *w, uint32_t watcher, struct slice path, unsigned modes) {
    zassert(!w->firing);
    uint32_t id = find_by_path(w, path);
    unsigned old = id != 0 ? modes_of(w, id, watcher) : 0;
    if ((old & modes) != 0)
        change_modes(w, id, watcher, old, old & ~modes);
    return old & modes;
}

bool watch_drop(struct watches *w, uint32_t watcher, size_t *budget) {
    zassert(!w->firing);
    if (watcher >= w->watcher_cap)
        return true;
    struct u32set *entries = &w->watchers[watcher];
    for (; *budget > 0 && !u32set_is_empty(*entries); --*budget) {
        uint32_t id = u32set_any(&w->bytes, entries, KEY_ENTRY);
        unsigned modes = modes_of(w, id, watcher);
        zassert(modes != 0);
        change_modes(w, id, watcher, modes, 0);
    }
    return u32set_is_empty(*entries);
}

/* ------------------------------------------------------------------ firing */

struct firing {
    struct watches *w;
    watch_deliver *deliver;
    void *ctx;
    unsigned look;  /* modes that the event concerns */
    unsigned spend; /* one-shot modes among them */
    uint32_t stamp; /* 0 = a watcher cannot come up twice */
    size_t delivered;
    uint32_t data_gone; /* words that lost their last data mode */
    uint32_t child_gone;
};

static void fire_watcher(struct firing *f, uint32_t watcher) {
    struct watches *w = f->w;
    if (f->stamp != 0) {
        if (w->stamps[watcher] == f->stamp)
            return;
        w->stamps[watcher] = f->stamp;
    }
    f->deliver(f->ctx, watcher);
    f->delivered++;
}

static void remember_spent(struct watches *w, uint32_t word) {
    if (w->spent_count == w->spent_cap) {
        uint32_t cap = w->spent_cap ? w->spent_cap * 2 : 64;
        w->spent = mem_realloc(w->spent, cap * sizeof *w->spent);
        w->bytes += (cap - w->spent_cap) * sizeof *w->spent;
        w->spent_cap = cap;
    }
    w->spent[w->spent_count++] = word;
}

/* Delivers to one word and returns what is left of it. A word without modes left is noted and stays as it was, so that it
 * is still found when it is removed. */
static uint32_t fire_word(void *ctx, uint32_t word) {
    struct firing *f = ctx;
    unsigned modes = word >> WATCHER_BITS;
    if ((modes & f->look) == 0)
        return word;
    fire_watcher(f, word & KEY_WATCHER);
    unsigned left = modes & ~f->spend;
    if (left == modes)
        return word;
    f->data_gone += (uint32_t)(has(modes, DATA_MODES) - has(left, DATA_MODES));
    f->child_gone += (uint32_t)(has(modes, CHILD_MODES) - has(left, CHILD_MODES));
    if (left != 0)
        return (word & KEY_WATCHER) | left << WATCHER_BITS;
    remember_spent(f->w, word);
    return word;
}

/* Takes the entry out of the sets of all watchers that have lost it. Each of them is somewhere else in memory; what is
 * needed next is fetched ahead. */
static void forget_entry(struct watches *w, uint32_t id) {
    uint32_t n = w->spent_count;
    for (uint32_t i = 0; i < n; i++) {
        if (i + 24 < n)
            __builtin_prefetch(&w->watchers[w->spent[i + 24] & KEY_WATCHER]);
        if (i + 16 < n)
            u32set_prefetch(w->watchers[w->spent[i + 16] & KEY_WATCHER]);
        if (i + 8 < n)
            u32set_prefetch_key(w->watchers[w->spent[i + 8] & KEY_WATCHER], id);
        leave_entry(w, w->spent[i] & KEY_WATCHER, id);
    }
}

static void fire_entry(struct watches *w, uint32_t id, struct firing *f) {
    struct entry *e = entry_at(w, id);
    struct tally before = tally_of(e), after = before;
    f->data_gone = f->child_gone = w->spent_count = 0;
    u32set_map(&e->who, fire_word, f);
    after.data -= f->data_gone;
    w->child_pairs -= f->child_gone;
    if (w->spent_count == u32set_count(e->who)) {
        u32set_free(&w->bytes, &e->who);
    } else {
        for (uint32_t i = 0; i < w->spent_count; i++)
            u32set_remove(&w->bytes, &e->who, w->spent[i] & KEY_WATCHER, KEY_WATCHER);
    }
    account(w, e, before, after);
    u32set_shrink_if_needed(&w->bytes, &e->who, KEY_WATCHER);
    forget_entry(w, id);
    if (u32set_is_empty(e->who))
        entry_free(w, id);
}

static void fire_recursive(struct watches *w, uint32_t id, struct firing *f) {
    if (id != 0 && recursive_words(entry_at(w, id)) > 0)
        fire_entry(w, id, f);
}

/* Recursive watches above path. As soon as an ancestor is found in the tree, the flags on the way up tell where to look;
 * from a znode at hand there is no hashing at all. */
static void fire_ancestors(struct watches *w, struct slice path, const struct znode *node, struct firing *f) {
    while (node == NULL && path.len > 1) {
        while (path.len > 0 && path.data[path.len - 1] != '/')
            path.len--;
        struct slice parent = path.len > 1 ? (struct slice){path.data, path.len - 1} : SLICE_LIT("/");
        uint64_t hash = tree_hash(w->tree, parent);
        fire_recursive(w, find_hashed(w, parent, (uint32_t)hash), f);
        node = tree_find_hashed(w->tree, parent, hash);
        path = parent;
    }
    if (node == NULL)
        return;
    for (node = node->parent; node != NULL; node = node->parent)
        if (node->flags & ZNODE_WATCHED)
            fire_recursive(w, find_by_node(w, node), f);
}

/* The entry of a path at which something happened. */
static uint32_t find_fired(const struct watches *w, struct slice path, const struct znode *node, enum event_type type) {
    if (node != NULL && node->flags & ZNODE_WATCHED)
        return find_by_node(w, node);
    /* No flag and no event that changes what is at the path: nobody watches (invariant 3). */
    if (node == NULL)
        return find_by_path(w, path);
    if (w->copies == 0 || type == EVENT_NODE_DATA_CHANGED || type == EVENT_NODE_CHILDREN_CHANGED)
        return 0;
    return find_hashed(w, path, node->hash);
}

static void new_stamp(struct watches *w) {
    if (w->stamps == NULL) {
        w->stamps = mem_calloc(w->watcher_cap, sizeof *w->stamps);
        w->bytes += w->watcher_cap * sizeof *w->stamps;
    }
    if (++w->stamp == 0) {
        memset(w->stamps, 0, w->watcher_cap * sizeof *w->stamps);
        w->stamp = 1;
    }
}

size_t watch_fire(struct watches *w, struct slice path, struct znode *node, enum event_type type, watch_deliver *deliver,
                  void *ctx) {
    static const struct {
        unsigned look, spend;
    } rules[] = {
        [EVENT_NODE_CREATED] = {DATA_MODES, WATCH_DATA},
        [EVENT_NODE_DELETED] = {WATCH_ALL, WATCH_DATA | WATCH_CHILD},
        [EVENT_NODE_DATA_CHANGED] = {DATA_MODES, WATCH_DATA},
        [EVENT_NODE_CHILDREN_CHANGED] = {CHILD_MODES, WATCH_CHILD},
    };
    zassert(type >= EVENT_NODE_CREATED && type <= EVENT_NODE_CHILDREN_CHANGED);
    zassert(!w->firing);
    if (w->entries == 0 || path.len == 0)
        return 0;
    struct firing f = {.w = w, .deliver = deliver, .ctx = ctx, .look = rules[type].look, .spend = rules[type].spend};
    bool ancestors = w->recursive_pairs > 0 && type != EVENT_NODE_CHILDREN_CHANGED;
    uint32_t id = find_fired(w, path, node, type);
    w->firing = true;
    if (ancestors) {
        new_stamp(w);
        f.stamp = w->stamp;
    }
    if (id != 0) {
        uint32_t words = u32set_count(entry_at(w, id)->who);
        fire_entry(w, id, &f);
        if (node != NULL && w->spent_count < words)
            bind(w, entry_at(w, id), node);
    }
    if (ancestors) {
        f.look = WATCH_RECURSIVE;
        f.spend = 0;
        fire_ancestors(w, path, node, &f);
    }
    w->firing = false;
    if (w->spent_cap > SCRATCH_KEEP) {
        w->bytes -= w->spent_cap * sizeof *w->spent;
        mem_free(w->spent);
        w->spent = NULL;
        w->spent_cap = 0;
    }
    return f.delivered;
}

/* ------------------------------------------------------------------ life, figures, iteration */

struct watches *watches_new(struct tree *t) {
    struct watches *w = mem_calloc(1, sizeof *w);
    w->tree = t;
    w->room = NO_CHUNK;
    w->stamp = UINT32_MAX - 1000; /* so that it wraps soon, and not only in production after months */
    w->bytes = sizeof *w;
    return w;
}

void watches_free(struct watches *w) {
    if (w == NULL)
        return;
    for (uint32_t i = 0; i < w->chunk_count; i++) {
        struct chunk *c = w->chunks[i];
        for (uint32_t j = 0; c != NULL && j < c->touched; j++) {
            if (c->entries[j].where == 0)
                continue;
            u32set_free(&w->bytes, &c->entries[j].who);
            if (copy_of(&c->entries[j]) != NULL)
                drop_copy(w, &c->entries[j]);
        }
        mem_free(c);
    }
    mem_free(w->chunks);
    for (uint32_t i = 0; i < w->buckets; i += HEADS_BLOCK)
        mem_free(w->heads[i / HEADS_BLOCK]);
    mem_free(w->heads);
    for (uint32_t i = 0; i < w->watcher_cap; i++)
        u32set_free(&w->bytes, &w->watchers[i]);
    mem_free(w->watchers);
    mem_free(w->stamps);
    mem_free(w->spent);
    mem_free(w);
}

uint64_t watch_count(const struct watches *w) { return w->data_pairs + w->child_pairs; }
uint64_t watch_path_count(const struct watches *w) { return w->data_paths; }
uint64_t watch_data_count(const struct watches *w) { return w->data_pairs; }
uint64_t watch_memory(const struct watches *w) { return w->bytes; }

static void put_path(const struct entry *e, struct buf *path) {
    const struct path_copy *copy = copy_of(e);
    buf_clear(path);
    if (copy != NULL)
        buf_append(path, copy->text, copy->len);
    else
        znode_path(znode_of(e), path);
}

static void put_words(const struct entry *e, struct buf *words) {
    uint32_t word;
    buf_clear(words);
    for (uint64_t cursor = 0; (word = u32set_next(e->who, &cursor)) != 0;) {
        struct watch_word each = {word & KEY_WATCHER, word >> WATCHER_BITS};
        if (each.modes & DATA_MODES)
            buf_append(words, &each, sizeof each);
    }
}

/* The cursor is the number of the entry: it stays with its path for as long as that is watched. */
bool watch_next(const struct watches *w, uint64_t *cursor, int *looks, struct buf *path, struct buf *words) {
    buf_clear(path);
    buf_clear(words);
    while (*cursor / CHUNK_ENTRIES < w->chunk_count) {
        const struct chunk *c = w->chunks[*cursor / CHUNK_ENTRIES];
        uint64_t index = *cursor % CHUNK_ENTRIES;
        if (*looks <= 0)
            return true;
        --*looks;
        if (c == NULL || index >= c->touched) {
            *cursor += CHUNK_ENTRIES - index;
            continue;
        }
        ++*cursor;
        const struct entry *e = &c->entries[index];
        if (e->where == 0 || data_words(e) == 0)
            continue;
        put_path(e, path);
        put_words(e, words);
        return true;
    }
    return false;
}

void watch_ids(const struct watches *w, uint32_t watcher, struct buf *ids) {
    uint32_t id;
    buf_clear(ids);
    if (watcher >= w->watcher_cap)
        return;
    for (uint64_t cursor = 0; (id = u32set_next(w->watchers[watcher], &cursor)) != 0;)
        buf_append(ids, &id, sizeof id);
}

unsigned watch_of_id(const struct watches *w, uint32_t id, uint32_t watcher, struct buf *path) {
    if (watcher >= w->watcher_cap || u32set_get(w->watchers[watcher], id, KEY_ENTRY) == 0)
        return 0;
    put_path(entry_at(w, id), path);
    return modes_of(w, id, watcher);
}
