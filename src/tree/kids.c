/* Vectors of children.
 *
 * Normally they are dense: a deletion moves the last child into the gap. While somebody has a cursor in the vector (it
 * is pinned) nothing may move, so a deletion leaves a hole, and new children come behind the end even if there are holes:
 * a cursor that remembers where the end was when it started has exactly the children of that time before it. When the
 * last pin is gone, creations use the holes up and each deletion fills a few, so no operation pays for all of them.
 *
 * A hole is an odd number in place of the pointer. It holds its neighbours in the list of holes (index + 1, 0 = none),
 * so that one at the end of the vector can be cut off. */
#include "base/log.h"
#include "base/mem.h"
#include "tree/tree_internal.h"

#define SLOTS_MIN 4
#define HOLE_INDEX_BITS 31
#define HOLE_INDEX_MASK ((1u << HOLE_INDEX_BITS) - 1)
#define HOLES_PER_CHANGE 4

static size_t kids_size(uint32_t cap) { return sizeof(struct kids) + cap * sizeof(struct znode *); }

static bool is_hole(const struct kids *k, uint32_t index) { return kids_at(k, index) == NULL; }
static uint32_t hole_next(const struct kids *k, uint32_t index) {
    return (uint32_t)((uintptr_t)k->slots[index] >> 1) & HOLE_INDEX_MASK;
}
static uint32_t hole_prev(const struct kids *k, uint32_t index) {
    return (uint32_t)((uintptr_t)k->slots[index] >> (1 + HOLE_INDEX_BITS));
}
static void hole_set(struct kids *k, uint32_t index, uint32_t prev, uint32_t next) {
    k->slots[index] = (struct znode *)((uintptr_t)prev << (1 + HOLE_INDEX_BITS) | (uintptr_t)next << 1 | 1);
}

static void hole_push(struct kids *k, uint32_t index) {
    uint32_t next = k->first_hole;
    hole_set(k, index, 0, next);
    if (next != 0)
        hole_set(k, next - 1, index + 1, hole_next(k, next - 1));
    k->first_hole = index + 1;
}

static void hole_unlink(struct kids *k, uint32_t index) {
    uint32_t prev = hole_prev(k, index), next = hole_next(k, index);
    if (next != 0)
        hole_set(k, next - 1, prev, hole_next(k, next - 1));
    if (prev != 0)
        hole_set(k, prev - 1, hole_prev(k, prev - 1), next);
    else
        k->first_hole = next;
}

static void put(struct kids *k, uint32_t index, struct znode *n) {
    k->slots[index] = n;
    n->pos = index;
}

static struct kids *set_cap(struct tree *t, struct znode *parent, uint32_t cap) {
    struct kids *k = parent->kids = tree_realloc(t, parent->kids, kids_size(cap));
    k->cap = cap;
    return k;
}

void kids_add(struct tree *t, struct znode *n) {
    struct znode *parent = n->parent;
    struct kids *k = parent->kids;
    if (k == NULL) {
        k = set_cap(t, parent, SLOTS_MIN);
        *k = (struct kids){.cap = SLOTS_MIN};
    }
    k->live++;
    k->name_bytes += n->name_len;
    if (k->pins == 0 && k->first_hole != 0) {
        uint32_t index = k->first_hole - 1;
        hole_unlink(k, index);
        put(k, index, n);
        return;
    }
    if (k->used == k->cap) {
        zassert(k->cap < HOLE_INDEX_MASK / 2);
        k = set_cap(t, parent, k->cap * 2);
    }
    put(k, k->used++, n);
}

/* Cuts off holes at the end, a few at most; the last slot may still be a hole then. */
static void trim(struct kids *k) {
    for (int i = 0; i < HOLES_PER_CHANGE && k->used > 0 && is_hole(k, k->used - 1); i++)
        hole_unlink(k, --k->used);
}

/* Fills a few holes with the last children. */
static void fill_holes(struct kids *k) {
    for (int i = 0; i < HOLES_PER_CHANGE; i++) {
        trim(k);
        if (k->first_hole == 0 || is_hole(k, k->used - 1))
            return;
        uint32_t index = k->first_hole - 1;
        hole_unlink(k, index);
        put(k, index, k->slots[--k->used]);
    }
}

static void take_out(struct kids *k, uint32_t index) {
    trim(k);
    struct znode *last = kids_at(k, k->used - 1);
    if (last == NULL) {
        hole_push(k, index);
        return;
    }
    k->used--;
    if (index != k->used)
        put(k, index, last);
    fill_holes(k);
}

static void free_if_unused(struct tree *t, struct znode *parent) {
    if (parent->kids->live != 0 || parent->kids->pins != 0)
        return;
    zassert(parent->kids->descendants == 0 && parent->kids->data_bytes == 0);
    tree_release(t, parent->kids);
    parent->kids = NULL;
}

void kids_remove(struct tree *t, struct znode *n) {
    struct znode *parent = n->parent;
    struct kids *k = parent->kids;
    zassert(k->slots[n->pos] == n);
    if (k->pins != 0)
        listing_child_leaves(t, n); /* may be the last thing a pin was waiting for */
    k->live--;
    k->name_bytes -= n->name_len;
    if (k->pins != 0) {
        hole_push(k, n->pos);
        return;
    }
    if (k->live == 0) {
        free_if_unused(t, parent);
        return;
    }
    take_out(k, n->pos);
    if (k->cap > SLOTS_MIN && k->used <= k->cap / 4)
        set_cap(t, parent, k->cap / 2);
}

void kids_unpin(struct tree *t, struct znode *parent) {
    zassert(parent->kids->pins > 0);
    parent->kids->pins--;
    free_if_unused(t, parent);
}

void tree_children_put(const struct znode *n, struct buf *out) {
    const struct kids *k = n->kids;
    if (k == NULL)
        return;
    buf_reserve(out, k->name_bytes + 4 * (size_t)k->live);
    for (uint32_t i = 0; i < k->used; i++) {
        const struct znode *child = kids_at(k, i);
        if (child != NULL)
            jute_put_bytes(out, znode_name(child));
    }
}

static struct znode *child_from(const struct znode *n, uint32_t index) {
    for (; n->kids != NULL && index < n->kids->used; index++) {
        struct znode *child = kids_at(n->kids, index);
        if (child != NULL)
            return child;
    }
    return NULL;
}

struct znode *tree_next(const struct znode *n, const struct znode *top) {
    struct znode *next = child_from(n, 0);
    for (; next == NULL && n != top; n = n->parent)
        next = child_from(n->parent, n->pos + 1);
    return next;
}
