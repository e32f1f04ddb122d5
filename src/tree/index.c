/* The hash table from full paths to nodes: open addressing with linear probing, no tombstones.
 *
 * A slot is 16 bits of the hash (the tag, which saves look-ups from touching wrong nodes) over 48 bits of pointer.
 * The home slot is given by the top bits of the *low* half of the hash, which the node remembers. So everything that
 * moves a slot needs the node only, never its path; and when the table grows or shrinks, order is kept: slots are moved
 * from one end of the old table to the other and land side by side in the new one.
 *
 * That gives a resize without pauses. Slots of the old table are moved a few with every insertion and deletion and more
 * in index_maintain. A cursor divides the old table: what has its home behind the cursor is still there, all else is in
 * the new table, so that each operation looks into one table only. The cursor rests only behind an empty slot, so that
 * no run of colliding entries is torn apart.
 *
 * The old table is a ring, and the moving begins behind an empty slot (origin). While the last slots wait to be moved,
 * insertions among them may overflow past the ring's end into slots that have been moved already; the moving therefore
 * goes on past the end until it meets an empty slot.
 *
 * Tables consist of segments that are allocated when first written to and freed when they have been moved, so that
 * neither a large block has to be cleared at once nor two full tables have to be held. */
#include "base/log.h"
#include "base/mem.h"
#include "tree/tree_internal.h"

#define SEGMENT_BITS 13
#define SEGMENT_MASK ((1u << SEGMENT_BITS) - 1)
#define BITS_MIN 6
#define BITS_MAX 30
#define POINTER_BITS 48
/* Slots moved per insertion or deletion. Above 5, a resize is complete before the next one can be due. */
#define MOVE_PER_CHANGE 16

static inline struct znode *slot_node(uint64_t slot) {
    return (struct znode *)(uintptr_t)(slot & ((1ull << POINTER_BITS) - 1));
}

static inline uint64_t slot_get(const struct index_table *tab, size_t i) {
    const uint64_t *segment = tab->segments[i >> SEGMENT_BITS];
    return LIKELY(segment != NULL) ? segment[i & SEGMENT_MASK] : 0;
}

static size_t segment_slots(const struct index_table *tab) { return size_min(tab->mask + 1, SEGMENT_MASK + 1); }
static size_t segment_count(const struct index_table *tab) { return (tab->mask >> SEGMENT_BITS) + 1; }

static void slot_set(struct index_table *tab, size_t i, uint64_t slot) {
    uint64_t **segment = &tab->segments[i >> SEGMENT_BITS];
    if (UNLIKELY(*segment == NULL)) {
        *segment = mem_calloc(segment_slots(tab), sizeof **segment);
        tab->allocated++;
    }
    (*segment)[i & SEGMENT_MASK] = slot;
}

static void segment_free(struct index_table *tab, size_t segment) {
    if (tab->segments[segment] != NULL)
        tab->allocated--;
    mem_free(tab->segments[segment]);
    tab->segments[segment] = NULL;
}

static inline size_t home(const struct index_table *tab, uint32_t hash) { return hash >> tab->shift; }

static void table_init(struct index_table *tab, uint32_t bits) {
    *tab = (struct index_table){.mask = ((size_t)1 << bits) - 1, .shift = 32 - bits};
    tab->segments = mem_calloc(segment_count(tab), sizeof *tab->segments);
}

static void table_close(struct index_table *tab) {
    if (tab->segments != NULL)
        for (size_t i = 0; i < segment_count(tab); i++)
            mem_free(tab->segments[i]);
    mem_free(tab->segments);
    *tab = (struct index_table){0};
}

static void table_put(struct index_table *tab, uint32_t hash, uint64_t slot) {
    size_t i = home(tab, hash);
    while (slot_get(tab, i) != 0)
        i = (i + 1) & tab->mask;
    slot_set(tab, i, slot);
}

void index_init(struct index *x) {
    *x = (struct index){0};
    table_init(&x->now, BITS_MIN);
}

void index_close(struct index *x) {
    table_close(&x->now);
    table_close(&x->old);
}

/* ------------------------------------------------------------------ resizing */

static uint32_t table_bits(const struct index_table *tab) { return 32 - tab->shift; }

static void resize_begin(struct index *x, uint32_t bits) {
    zassert(!x->moving);
    x->old = x->now;
    table_init(&x->now, bits);
    x->moving = true;
    x->cursor = 0;
    x->origin = 0;
    while (slot_get(&x->old, x->origin) != 0)
        x->origin++; /* there is an empty slot: a table is never full */
    x->origin = (x->origin + 1) & x->old.mask;
}

/* Nodes of the next slots, all asked for at once: else each move would wait for memory. */
static void prefetch_nodes(const struct index *x, size_t slots) {
    for (size_t i = 0; i < slots; i++) {
        uint64_t slot = slot_get(&x->old, (x->origin + x->cursor + i) & x->old.mask);
        if (slot != 0)
            __builtin_prefetch(&slot_node(slot)->hash);
    }
}

static void resize_finish(struct index *x) {
    table_close(&x->old);
    x->moving = false;
}

/* Frees the segment of old that ends in front of the cursor. That of origin stays until the end, when the overflow of
 * the last slots arrives there. */
static void free_moved_segment(struct index *x) {
    size_t next = (x->origin + x->cursor) & x->old.mask;
    size_t segment = ((next - 1) & x->old.mask) >> SEGMENT_BITS;
    if ((next & SEGMENT_MASK) == 0 && segment != x->origin >> SEGMENT_BITS)
        segment_free(&x->old, segment);
}

static void move_some(struct index *x, size_t budget) {
    while (budget > 0) {
        size_t batch = size_min(budget, MOVE_PER_CHANGE);
        prefetch_nodes(x, batch);
        budget -= batch;
        for (uint64_t slot = 1; batch > 0 || slot != 0; batch -= batch > 0) {
            size_t i = (x->origin + x->cursor) & x->old.mask;
            slot = slot_get(&x->old, i);
            if (slot != 0) {
                slot_set(&x->old, i, 0);
                table_put(&x->now, slot_node(slot)->hash, slot);
            } else if (x->cursor > x->old.mask) {
                resize_finish(x);
                return;
            }
            x->cursor++;
            free_moved_segment(x);
        }
    }
}

/* A resize that is due while another one is running cannot happen (see MOVE_PER_CHANGE); it would still be right. */
static void resize(struct index *x, uint32_t bits) {
    while (x->moving)
        move_some(x, MOVE_PER_CHANGE);
    if (bits != table_bits(&x->now))
        resize_begin(x, bits);
}

static bool too_full(size_t count, size_t mask) { return count * 5 > (mask + 1) * 4; }

void index_reserve(struct index *x, size_t nodes) {
    uint32_t bits = table_bits(&x->now);
    while (bits < BITS_MAX && too_full(nodes, ((size_t)1 << bits) - 1))
        bits++;
    resize(x, bits);
}

bool index_maintain(struct index *x, size_t budget) {
    if (x->moving)
        move_some(x, budget);
    return x->moving;
}

/* ------------------------------------------------------------------ operations */

/* The table in which an entry with this hash stands, if it stands anywhere, and into which it is inserted. */
static inline const struct index_table *table_of(const struct index *x, uint32_t hash) {
    if (LIKELY(!x->moving) || ((home(&x->old, hash) - x->origin) & x->old.mask) < x->cursor)
        return &x->now;
    return &x->old;
}

struct znode *index_find(const struct index *x, struct slice path, uint64_t hash) {
    uint32_t low = (uint32_t)hash;
    const struct index_table *tab = table_of(x, low);
    for (size_t i = home(tab, low);; i = (i + 1) & tab->mask) {
        uint64_t slot = slot_get(tab, i);
        if (slot == 0)
            return NULL;
        if ((slot ^ hash) >> POINTER_BITS == 0) {
            struct znode *n = slot_node(slot);
            if (n->hash == low && znode_path_is(n, path))
                return n;
        }
    }
}

void index_prefetch(const struct index *x, uint64_t hash) {
    const struct index_table *tab = table_of(x, (uint32_t)hash);
    size_t i = home(tab, (uint32_t)hash);
    if (tab->segments[i >> SEGMENT_BITS] != NULL)
        __builtin_prefetch(&tab->segments[i >> SEGMENT_BITS][i & SEGMENT_MASK]);
}

void index_insert(struct index *x, struct znode *n, uint64_t hash) {
    zassert(n->hash == (uint32_t)hash);
    zassert((uintptr_t)n >> POINTER_BITS == 0);
    if (x->moving)
        move_some(x, MOVE_PER_CHANGE);
    uint64_t slot = hash >> POINTER_BITS << POINTER_BITS | (uintptr_t)n;
    table_put((struct index_table *)table_of(x, n->hash), n->hash, slot);
    x->count++;
    if (too_full(x->count, x->now.mask)) {
        zassert(table_bits(&x->now) < BITS_MAX);
        resize(x, table_bits(&x->now) + 1);
    }
}

/* Empties slot gap and moves back every later entry of the run that may stand nearer to its home. */
static void close_gap(struct index_table *tab, size_t gap) {
    for (size_t i = (gap + 1) & tab->mask;; i = (i + 1) & tab->mask) {
        uint64_t slot = slot_get(tab, i);
        if (slot == 0)
            break;
        size_t want = home(tab, slot_node(slot)->hash);
        if (((i - want) & tab->mask) >= ((i - gap) & tab->mask)) {
            slot_set(tab, gap, slot);
            gap = i;
        }
    }
    slot_set(tab, gap, 0);
}

void index_remove(struct index *x, const struct znode *n) {
    if (x->moving)
        move_some(x, MOVE_PER_CHANGE);
    struct index_table *tab = (struct index_table *)table_of(x, n->hash);
    size_t i = home(tab, n->hash);
    for (uint64_t slot; slot_node(slot = slot_get(tab, i)) != n; i = (i + 1) & tab->mask)
        zassert(slot != 0);
    close_gap(tab, i);
    x->count--;
    if (x->count * 5 < x->now.mask + 1 && table_bits(&x->now) > BITS_MIN && !x->moving)
        resize(x, table_bits(&x->now) - 1);
}

static size_t table_bytes(const struct index_table *tab) {
    if (tab->segments == NULL)
        return 0;
    return segment_count(tab) * sizeof *tab->segments + tab->allocated * segment_slots(tab) * sizeof **tab->segments;
}

size_t index_bytes(const struct index *x) { return table_bytes(&x->now) + table_bytes(&x->old); }
