/* What the tests of the data tree share: short forms of the transactions, and a checker that recomputes everything that
 * the tree keeps. */
#ifndef ZABRA_TESTS_TREE_HELP_H
#define ZABRA_TESTS_TREE_HELP_H

#include <check.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/rng.h"
#include "tree/path.h"
#include "tree/tree.h"
#include "tree/walk.h"

#define ACL_WORLD ((struct slice){"\0\0\0\1\0\0\0\37\0\0\0\5world\0\0\0\6anyone", 27})
#define ACL_READ ((struct slice){"\0\0\0\1\0\0\0\1\0\0\0\5world\0\0\0\6anyone", 27})
#define ACL_WRITE ((struct slice){"\0\0\0\1\0\0\0\2\0\0\0\5world\0\0\0\6anyone", 27})
#define FRESH_DIGEST 1371985504u

static inline struct slice buf_slice(const struct buf *b) { return (struct slice){(const char *)b->data, b->len}; }

static inline struct tree *new_tree(void) {
    struct tree_options o = {.extended_types = true, .digest_enabled = true, .hash_seed = 42};
    return tree_new(&o);
}

static inline struct znode *get(const struct tree *t, const char *path) { return tree_find(t, slice_of(path)); }

static inline int put_owned(struct tree *t, const char *path, const char *data, int64_t owner, zxid_t zxid) {
    struct tree_create c = {
        .path = slice_of(path),
        .data = data ? slice_of(data) : SLICE_NULL,
        .acl = ACL_WORLD,
        .owner = owner,
        .parent_cversion = -1,
        .zxid = zxid,
        .time_ms = 1000 + zxid,
    };
    struct znode *n = NULL;
    int err = tree_create(t, &c, 0, &n);
    ck_assert((err == ZK_OK) == (n != NULL));
    ck_assert(n == NULL || n == get(t, path));
    return err;
}
static inline int put(struct tree *t, const char *path, const char *data, zxid_t zxid) {
    return put_owned(t, path, data, 0, zxid);
}
static inline int del(struct tree *t, const char *path, zxid_t zxid) { return tree_delete(t, slice_of(path), zxid); }
static inline void set(struct tree *t, const char *path, const char *data, zxid_t zxid) {
    struct znode *n = get(t, path);
    ck_assert_ptr_nonnull(n);
    tree_set_data(t, n, data ? slice_of(data) : SLICE_NULL, n->version + 1, zxid, 1000 + zxid);
}
static inline void expect_data(const struct tree *t, const char *path, const char *data) {
    struct znode *n = get(t, path);
    ck_assert_msg(n != NULL, "%s is missing", path);
    struct slice have = znode_data(n), want = data ? slice_of(data) : SLICE_NULL;
    ck_assert_msg(slice_eq(have, want) && (have.data == NULL) == (want.data == NULL), "%s has %.*s, not %s", path,
                  (int)have.len, have.data ? have.data : "", data ? data : "null");
}

static inline bool stat_equal(const struct node_stat *a, const struct node_stat *b) {
    return a->czxid == b->czxid && a->mzxid == b->mzxid && a->pzxid == b->pzxid && a->ctime == b->ctime &&
           a->mtime == b->mtime && a->version == b->version && a->cversion == b->cversion &&
           a->aversion == b->aversion && a->owner == b->owner;
}

/* ------------------------------------------------------------------ the checker */

struct totals {
    uint64_t nodes, data_bytes, path_data_bytes, ephemerals, digest;
};

/* As disk-format.md section 5 says, by zlib alone. */
static inline uint32_t reference_digest(struct slice path, struct slice data, const struct node_stat *s) {
    struct buf b = BUF_INIT;
    buf_append(&b, path.data, path.len);
    buf_append(&b, data.data, data.len);
    jute_put_long(&b, s->czxid);
    jute_put_long(&b, s->mzxid);
    jute_put_long(&b, s->pzxid);
    jute_put_long(&b, s->ctime);
    jute_put_long(&b, s->mtime);
    jute_put_int(&b, s->version);
    jute_put_int(&b, s->cversion);
    jute_put_int(&b, s->aversion);
    jute_put_long(&b, s->owner);
    uint32_t crc = (uint32_t)crc32(0, b.data, (uInt)b.len);
    buf_free(&b);
    return crc;
}

static inline void check_owner(const struct tree *t, struct znode *n, struct totals *sum) {
    int64_t owner = znode_owner(n);
    enum znode_kind kind = tree_owner_kind(t, owner);
    const struct owned *o = kind == ZNODE_EPHEMERAL   ? tree_owned_by(t, owner)
                            : kind == ZNODE_CONTAINER ? tree_containers(t)
                                                      : tree_ttl_nodes(t);
    ck_assert((owner != 0) == ((n->flags & ZNODE_HAS_EXT) != 0));
    sum->ephemerals += kind == ZNODE_EPHEMERAL;
    if (kind == ZNODE_PERSISTENT)
        return;
    uint32_t pos = ((struct znode_ext *)(void *)n->tail)->pos;
    ck_assert_ptr_nonnull(o);
    ck_assert_uint_lt(pos, o->count);
    ck_assert_ptr_eq(o->nodes[pos], n);
}

static inline void check_node(const struct tree *t, struct znode *n, struct buf *path, struct totals *sum);

static inline void check_children(const struct tree *t, struct znode *n, struct buf *path, struct totals *sum) {
    const struct kids *k = n->kids;
    uint32_t live = 0;
    uint64_t name_bytes = 0;
    ck_assert(k->used <= k->cap && (k->live > 0 || k->pins > 0));
    for (uint32_t i = 0; i < k->used; i++) {
        struct znode *child = k->slots[i];
        if ((uintptr_t)child & 1)
            continue;
        ck_assert(child->parent == n && child->pos == i);
        live++;
        name_bytes += child->name_len;
        size_t len = path->len;
        struct slice name = znode_name(child);
        buf_append(path, "/", 1);
        buf_append(path, name.data, name.len);
        check_node(t, child, path, sum);
        path->len = len;
    }
    ck_assert_uint_eq(live, k->live);
    ck_assert_uint_eq(name_bytes, k->name_bytes);
    ck_assert((k->first_hole == 0) == (k->live == k->used));
}

static inline void check_node(const struct tree *t, struct znode *n, struct buf *path, struct totals *sum) {
    struct slice p = buf_slice(path), data = znode_data(n);
    struct totals below = {0};
    ck_assert_ptr_eq(tree_find(t, p), n);
    ck_assert(znode_path_is(n, p));
    ck_assert_uint_eq(n->hash, (uint32_t)tree_hash(t, p));
    bool system = slice_starts(p, SLICE_LIT("/zookeeper/"));
    ck_assert(((n->flags & ZNODE_SYSTEM) != 0) == system);
    if (tree_options(t)->digest_enabled) {
        struct node_stat stat;
        znode_stat(n, &stat);
        ck_assert_uint_eq(n->crc, digest_crc(p, data));
        ck_assert_uint_eq(digest_node(n->crc, &stat), reference_digest(p, data, &stat));
        sum->digest += system ? 0 : reference_digest(p, data, &stat);
    }
    check_owner(t, n, sum);
    if (n->kids != NULL) {
        check_children(t, n, path, &below);
        ck_assert_uint_eq(n->kids->descendants, below.nodes);
        ck_assert_uint_eq(n->kids->data_bytes, below.data_bytes);
    }
    sum->nodes += 1 + below.nodes;
    sum->data_bytes += data.len + below.data_bytes;
    sum->path_data_bytes += p.len + data.len + below.path_data_bytes;
    sum->ephemerals += below.ephemerals;
    sum->digest += below.digest;
}

/* Recomputes all that the tree keeps about itself. For trees of moderate depth. */
static inline void check_tree(struct tree *t) {
    struct totals sum = {0};
    struct buf path = BUF_INIT;
    check_node(t, tree_root(t), &path, &sum);
    buf_free(&path);
    ck_assert_uint_eq(sum.nodes, tree_count(t));
    ck_assert_uint_eq(sum.digest, tree_digest(t));
    ck_assert_uint_eq(sum.path_data_bytes, tree_path_data_bytes(t));
    ck_assert_uint_eq(sum.ephemerals, tree_ephemeral_count(t));
    uint64_t owned = 0, owners = 0;
    size_t cursor = 0;
    for (struct owned *o; (o = tree_owned_next(t, &cursor)) != NULL; owners++)
        owned += o->count;
    ck_assert_uint_eq(owned, sum.ephemerals);
    ck_assert_uint_eq(owners, tree_owner_count(t));
}

/* ------------------------------------------------------------------ copying by walk and load */

struct copier {
    const struct tree *from;
    struct tree *to;
};

static inline void copy_node(void *ctx, struct slice path, const struct znode *n) {
    struct copier *c = ctx;
    struct node_stat stat;
    znode_stat(n, &stat);
    acl_id_t acl = n->acl;
    if (acl != ACL_OPEN)
        acl = acl_intern(tree_acls(c->to), acl_bytes(tree_acls((struct tree *)c->from), acl));
    ck_assert_int_eq(tree_load_node(c->to, path, znode_data(n), acl, &stat), ZK_OK);
    acl_unref(tree_acls(c->to), acl);
}

/* What a snapshot of t would make when loaded. */
static inline struct tree *copy_tree(struct tree *t) {
    struct copier c = {t, tree_new_empty(tree_options(t))};
    struct tree_walk *w = tree_walk_begin(t, copy_node, &c);
    tree_reserve(c.to, tree_count(t));
    while (!tree_walk_step(w, 7))
        ;
    tree_walk_end(w);
    tree_load_done(c.to);
    return c.to;
}

static inline int run_suite(Suite *suite) {
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
