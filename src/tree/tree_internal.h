/* What the files of the data tree share among themselves. Nobody outside tree/ includes this.
 *
 * Who does what: tree.c changes (one function per transaction type), load.c loading, znode.c the memory of one node,
 * index.c the hash table over paths, kids.c the vectors of children, owned.c the lists of owned nodes, digest.c the
 * CRCs, quota.c, walk.c, listing.c.
 *
 * Order inside every change of a node: first the walk gets to see the old state (walk_before_change), then the node's
 * digest is taken out of the sum, the node changes, and its digest is put back in. */
#ifndef ZABRA_TREE_INTERNAL_H
#define ZABRA_TREE_INTERNAL_H

#include "base/buf.h"
#include "base/hmap.h"
#include "tree/tree.h"
#include "tree/walk.h"

/* ------------------------------------------------------------------ index.c */

struct index_table {
    uint64_t **segments; /* allocated when first written to */
    size_t mask;         /* slots - 1 */
    uint32_t shift;      /* 32 - log2(slots): the home slot is hash >> shift */
    size_t allocated;    /* segments that exist */
};

struct index {
    size_t count;
    struct index_table now;
    struct index_table old; /* only while moving: what has not been moved into now */
    bool moving;
    size_t origin; /* slot of old where the moving began */
    size_t cursor; /* slots of old, counted from origin, that have been moved */
};

void index_init(struct index *x);
void index_close(struct index *x);
/* Nodes whose full path is path, hash being its hash; NULL if there is none. */
struct znode *index_find(const struct index *x, struct slice path, uint64_t hash);
/* Starts to fetch the memory that the next look-up or insertion of this hash will want. */
void index_prefetch(const struct index *x, uint64_t hash);
/* The node must not be there yet. n->hash must be the low half of hash. */
void index_insert(struct index *x, struct znode *n, uint64_t hash);
/* The node must be there. */
void index_remove(struct index *x, const struct znode *n);
/* Makes room for so many nodes at once. */
void index_reserve(struct index *x, size_t nodes);
/* Moves up to about budget slots of a running resize; true if there is more to do. */
bool index_maintain(struct index *x, size_t budget);
size_t index_bytes(const struct index *x);

/* ------------------------------------------------------------------ the tree itself */

struct quota;

struct quota_set {
    struct hmap by_path; /* hash of the path -> first of a chain of struct quota */
    struct hmap by_node; /* znode address -> struct quota, for nodes with ZNODE_QUOTA */
    struct quota **entries;
    size_t count, cap;
    size_t path_len_max; /* no armed path is longer */
};

struct tree {
    struct tree_options options;
    struct acl_table *acls;
    struct znode *root;
    struct index index; /* every node but the root */
    uint64_t digest;
    uint64_t path_data_bytes;
    uint64_t heap_bytes; /* nodes, their data and vectors, as the C library counts them */

    struct hmap owners; /* session -> struct owned */
    struct owned containers, ttl_nodes;
    uint64_t owned_version; /* the newest of any struct owned */
    uint64_t ephemerals;

    struct quota_set quotas;
    struct hmap listings; /* address of a parent -> the first tree_listing of its children */

    struct tree_walk *walk;   /* NULL = none is running */
    uint32_t walk_generation; /* even; of the last walk */

    struct znode *load_parent; /* parent of the node loaded last, its path being load_path */
    struct buf load_path;
    struct buf scratch; /* for a path; valid until the next function that says it uses it */
};

/* Allocation of what counts in heap_bytes. */
void *tree_alloc(struct tree *t, size_t size);
void *tree_realloc(struct tree *t, void *ptr, size_t size);
void tree_release(struct tree *t, void *ptr);

/* Makes a node, complete but not linked with anything. Takes over one reference of acl. */
struct znode *tree_make_node(struct tree *t, struct znode *parent, struct slice path, struct slice data, acl_id_t acl,
                             const struct node_stat *stat);
/* Links a made node everywhere but with the quotas. hash is that of path. */
void tree_link_node(struct tree *t, struct znode *n, struct slice path, uint64_t hash);
/* All fields but the owner. */
void tree_set_stat(struct znode *n, const struct node_stat *stat);
/* Path and data length of n have entered (or, negative, left) the tree below n's ancestors. */
void tree_count_ancestors(struct znode *n, int64_t nodes, int64_t data_bytes);
/* Replaces the data in place and corrects all sums; no stat change, no digest change. Returns the growth in bytes. */
int64_t tree_replace_data(struct tree *t, struct znode *n, struct slice path, struct slice data);
/* The full path in t->scratch. */
struct slice tree_scratch_path(struct tree *t, const struct znode *n);
/* The node behind n in pre-order among top and its descendants; NULL at the end. */
struct znode *tree_next(const struct znode *n, const struct znode *top);
/* Adds the fixed system nodes that are missing. */
void tree_add_system_nodes(struct tree *t);
/* True if path can name a node other than the root as far as the tree's own structure is concerned. */
bool tree_path_usable(struct slice path);

/* ------------------------------------------------------------------ znode.c */

struct znode *znode_new(struct tree *t, struct slice name, struct slice data, int64_t owner);
void znode_free(struct tree *t, struct znode *n);
/* The node stays where it is; data may point into the old data. */
void znode_replace_data(struct tree *t, struct znode *n, struct slice data);
static inline int64_t znode_data_size(const struct znode *n) { return n->data_len < 0 ? 0 : n->data_len; }
static inline struct znode_ext *znode_ext(struct znode *n) { return (struct znode_ext *)(void *)n->tail; }

/* ------------------------------------------------------------------ kids.c */

/* Appends n to the vector of its parent and sets n->pos. */
void kids_add(struct tree *t, struct znode *n);
/* Takes n out of the vector of its parent, which it leaves NULL behind the last child unless it is pinned. */
void kids_remove(struct tree *t, struct znode *n);
/* While pinned no child moves and new ones come behind all old ones. The vector must exist. */
static inline void kids_pin(struct znode *parent) { parent->kids->pins++; }
void kids_unpin(struct tree *t, struct znode *parent);
static inline struct znode *kids_at(const struct kids *k, uint32_t index) {
    struct znode *n = k->slots[index];
    return (uintptr_t)n & 1 ? NULL : n; /* NULL = a hole */
}

/* ------------------------------------------------------------------ owned.c */

void owned_add(struct tree *t, struct znode *n);
void owned_remove(struct tree *t, struct znode *n);
void owned_close(struct tree *t);

/* ------------------------------------------------------------------ digest.c */

/* Recomputes n->crc; path is n's full path. */
void digest_refresh(const struct tree *t, struct znode *n, struct slice path);
/* The node's share in the tree's digest. */
uint32_t digest_share(const struct tree *t, const struct znode *n);
static inline void digest_add(struct tree *t, const struct znode *n) { t->digest += digest_share(t, n); }
static inline void digest_subtract(struct tree *t, const struct znode *n) { t->digest -= digest_share(t, n); }

/* ------------------------------------------------------------------ walk.c */

void walk_emit_old(struct tree_walk *w, struct znode *n);
void walk_node_left(struct tree_walk *w, const struct znode *n);
/* The mark of a node that is created now. */
static inline uint32_t walk_birth_mark(const struct tree *t) { return t->walk ? t->walk_generation | 1 : 0; }
/* To be called before any change of a node and before it is deleted. */
static inline void walk_before_change(struct tree *t, struct znode *n) {
    if (UNLIKELY(t->walk != NULL) && (n->mark | 1) != (t->walk_generation | 1))
        walk_emit_old(t->walk, n);
}

/* ------------------------------------------------------------------ listing.c */

/* A child of a pinned vector is about to leave it. */
void listing_child_leaves(struct tree *t, const struct znode *n);

/* ------------------------------------------------------------------ quota.c */

/* The node has been created and linked. */
void quota_node_created(struct tree *t, struct znode *n, struct slice path);
/* The node is about to be deleted: disarms what hangs on it. Returns the quota to account for the deletion, or NULL. */
struct quota *quota_node_leaves(struct tree *t, struct znode *n);
/* The deepest armed quota over the node, or NULL. */
struct quota *quota_over(const struct tree *t, const struct znode *n);
/* Adds the differences to the stats node of the quota. The change must already be visible in the tree. */
void quota_account(struct tree *t, const struct quota *q, int64_t count_diff, int64_t bytes_diff);
/* Arms all quotas of a tree that was loaded, and recomputes their usage. */
void quota_load(struct tree *t);
void quota_close(struct tree *t);
size_t quota_bytes(const struct tree *t);

#endif
