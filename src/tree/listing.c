/* Listings of children that are given out piecemeal.
 *
 * A listing pins the vector of its parent: what stands between its cursor and the end of the time when it started is
 * what it still has to give out. A child that leaves before its turn is put aside in encoded form. As soon as nothing is
 * left in the vector the listing lets go of the parent, so a parent that is deleted is never listed any more. */
#include "base/log.h"
#include "base/mem.h"
#include "tree/tree_internal.h"

struct tree_listing {
    struct tree *tree;
    struct znode *parent; /* NULL = detached: nothing to come from the vector */
    uint32_t next, end;   /* indexes of the vector */
    uint32_t pending;     /* children in there whose turn is still to come */
    uint32_t count;
    uint64_t name_bytes;
    struct buf gone;      /* names of those that left, as jute strings, */
    size_t gone_given;    /* of which so many bytes were given out */
    struct tree_listing *prev, *following; /* others of the same parent */
};

static uint64_t key_of(const struct znode *parent) { return (uintptr_t)parent; }

static void attach(struct tree_listing *l) {
    l->following = hmap_put(&l->tree->listings, key_of(l->parent), l);
    if (l->following != NULL)
        l->following->prev = l;
    kids_pin(l->parent);
}

/* Leaves the parent. Unpinning can free its vector. */
static void detach(struct tree_listing *l) {
    struct znode *parent = l->parent;
    if (l->following != NULL)
        l->following->prev = l->prev;
    if (l->prev != NULL)
        l->prev->following = l->following;
    else if (l->following != NULL)
        hmap_put(&l->tree->listings, key_of(parent), l->following);
    else
        hmap_remove(&l->tree->listings, key_of(parent));
    l->parent = NULL;
    kids_unpin(l->tree, parent);
}

struct tree_listing *tree_listing_new(struct tree *t, struct znode *parent) {
    struct tree_listing *l = mem_calloc(1, sizeof *l);
    l->tree = t;
    l->pending = l->count = znode_children(parent);
    if (l->count == 0)
        return l;
    l->name_bytes = parent->kids->name_bytes;
    l->end = parent->kids->used;
    l->parent = parent;
    attach(l);
    return l;
}

uint32_t tree_listing_count(const struct tree_listing *l) { return l->count; }
uint64_t tree_listing_name_bytes(const struct tree_listing *l) { return l->name_bytes; }

/* From the vector until out is max long. */
static void give_present(struct tree_listing *l, struct buf *out, size_t max) {
    while (l->parent != NULL && out->len < max) {
        zassert(l->next < l->end);
        const struct znode *child = kids_at(l->parent->kids, l->next++);
        if (child == NULL)
            continue;
        jute_put_bytes(out, znode_name(child));
        if (--l->pending == 0)
            detach(l);
    }
}

static void give_gone(struct tree_listing *l, struct buf *out, size_t max) {
    while (l->gone_given < l->gone.len && out->len < max) {
        const uint8_t *p = l->gone.data + l->gone_given;
        size_t size = 4 + be32_load(p);
        buf_append(out, p, size);
        l->gone_given += size;
    }
}

bool tree_listing_next(struct tree_listing *l, struct buf *out, size_t max_bytes) {
    size_t max = max_bytes > SIZE_MAX - out->len ? SIZE_MAX : out->len + max_bytes;
    give_present(l, out, max);
    if (l->parent != NULL)
        return false;
    give_gone(l, out, max);
    return l->gone_given == l->gone.len;
}

void tree_listing_free(struct tree_listing *l) {
    if (l == NULL)
        return;
    if (l->parent != NULL)
        detach(l);
    buf_free(&l->gone);
    mem_free(l);
}

void listing_child_leaves(struct tree *t, const struct znode *n) {
    struct tree_listing *l = hmap_get(&t->listings, key_of(n->parent));
    for (struct tree_listing *following; l != NULL; l = following) {
        following = l->following;
        if (n->pos < l->next || n->pos >= l->end)
            continue;
        jute_put_bytes(&l->gone, znode_name(n));
        if (--l->pending == 0)
            detach(l);
    }
}
