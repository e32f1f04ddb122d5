/* The data tree against a naive model: transactions at random, while a walk and listings run at random speeds. The model
 * is a plain array of nodes. Each seed is one test. */
#include <stdio.h>

#include "tree_help.h"

enum { NODES_MAX = 700, PATH_MAX_BYTES = 64, DATA_MAX_BYTES = 2100, LISTINGS = 5, STEPS = 5000, ACLS = 3 };

struct mnode {
    char path[PATH_MAX_BYTES]; /* "" = the root */
    char data[DATA_MAX_BYTES];
    int data_len; /* -1 = null */
    int acl;      /* index, -1 = ACL_OPEN */
    struct node_stat stat;
    bool emitted; /* in the copy that a walk is compared with */
};

struct mlisting {
    struct tree_listing *listing; /* NULL = not running */
    struct buf out;
    size_t count, name_bytes;
    char names[NODES_MAX][PATH_MAX_BYTES];
};

struct model {
    struct tree *tree;
    struct rng rng;
    zxid_t zxid;
    struct mnode *nodes, *at_start; /* now, and when the walk began */
    size_t count, count_at_start;
    struct tree_walk *walk;
    struct mlisting listings[LISTINGS];
    size_t walks_done, listings_done;
};

static struct slice acl_of(int i) {
    static const char open[] = "\0\0\0\1\0\0\0\37\0\0\0\5world\0\0\0\6anyone";
    struct slice lists[ACLS] = {ACL_WORLD, ACL_READ, ACL_WRITE};
    return i < 0 ? (struct slice){open, sizeof open - 1} : lists[i];
}

static uint64_t pick(struct model *m, uint64_t bound) { return rng_below(&m->rng, bound); }

static struct mnode *mfind(struct mnode *nodes, size_t count, struct slice path) {
    for (size_t i = 0; i < count; i++)
        if (slice_is(path, nodes[i].path))
            return &nodes[i];
    return NULL;
}
static struct mnode *find(struct model *m, const char *path) { return mfind(m->nodes, m->count, slice_of(path)); }
static struct mnode *parent_of(struct model *m, const char *path) {
    return mfind(m->nodes, m->count, path_parent(slice_of(path)));
}

static bool is_child(const struct mnode *n, const char *parent) {
    return n->path[0] != '\0' && slice_is(path_parent(slice_of(n->path)), parent);
}
static int children(const struct model *m, const char *path) {
    int n = 0;
    for (size_t i = 0; i < m->count; i++)
        n += is_child(&m->nodes[i], path);
    return n;
}

static struct mnode *madd(struct model *m, const char *path, int acl) {
    struct mnode *n = &m->nodes[m->count++];
    *n = (struct mnode){.acl = acl};
    snprintf(n->path, sizeof n->path, "%s", path);
    return n;
}

static void model_init(struct model *m, uint64_t seed) {
    *m = (struct model){.tree = new_tree(), .rng = {seed}, .zxid = 10};
    m->nodes = calloc(NODES_MAX + 1, sizeof *m->nodes);
    m->at_start = calloc(NODES_MAX + 1, sizeof *m->at_start);
    madd(m, "", -1);
    madd(m, "/zookeeper", -1);
    madd(m, "/zookeeper/quota", -1);
    madd(m, "/zookeeper/config", 1)->stat.aversion = -1;
}

/* ------------------------------------------------------------------ transactions */

/* Few names, so that most paths are met again; and one parent, /w, with many children. */
static void random_path(struct model *m, char *path) {
    if (pick(m, 3) == 0) {
        snprintf(path, PATH_MAX_BYTES, "/w/%d", (int)pick(m, 400));
        return;
    }
    if (pick(m, 20) == 0) {
        snprintf(path, PATH_MAX_BYTES, "/zookeeper/%d", (int)pick(m, 3));
        return;
    }
    static const char *const names[] = {"a", "b", "longer-name", "w", "e"};
    uint64_t depth = 1 + pick(m, 4);
    path[0] = '\0';
    for (uint64_t i = 0; i < depth; i++)
        strcat(strcat(path, "/"), names[pick(m, i ? 3 : ARRAY_LEN(names))]);
}

/* Data into n; the slice is valid as long as n's data is not changed. */
static struct slice random_data(struct model *m, struct mnode *n) {
    n->data_len = pick(m, 10) == 0 ? DATA_MAX_BYTES : (int)pick(m, 60);
    if (pick(m, 10) == 0)
        n->data_len = -1;
    for (int i = 0; i < n->data_len; i++)
        n->data[i] = (char)('a' + (i + m->zxid) % 26);
    return n->data_len < 0 ? SLICE_NULL : (struct slice){n->data, (size_t)n->data_len};
}

static int64_t random_owner(struct model *m) {
    static const int64_t owners[] = {OWNER_CONTAINER, (int64_t)0xff00000000000005, 1, 2, 3, 4};
    return pick(m, 3) == 0 ? owners[pick(m, ARRAY_LEN(owners))] : 0;
}

static void raise_parent(struct mnode *parent, int32_t cversion, zxid_t zxid) {
    if (cversion == -1)
        cversion = parent->stat.cversion + 1;
    if (cversion > parent->stat.cversion) {
        parent->stat.cversion = cversion;
        parent->stat.pzxid = zxid;
    }
}

static void do_create(struct model *m, const char *path) {
    struct mnode *parent = parent_of(m, path), *old = find(m, path), fresh = {0};
    int acl = (int)pick(m, ACLS);
    struct tree_create c = {
        .path = slice_of(path),
        .data = random_data(m, &fresh),
        .acl = acl_of(acl),
        .owner = random_owner(m),
        .parent_cversion = pick(m, 2) || parent == NULL ? -1 : parent->stat.cversion + (int32_t)pick(m, 4) - 1,
        .raise_parent_if_exists = pick(m, 2),
        .zxid = m->zxid,
        .time_ms = m->zxid * 3,
    };
    if (m->count == NODES_MAX)
        return;
    int err = tree_create(m->tree, &c, pick(m, 2) ? tree_hash(m->tree, c.path) : 0, NULL);
    ck_assert_int_eq(err, parent == NULL ? ZK_NO_NODE : old != NULL ? ZK_NODE_EXISTS : ZK_OK);
    if (old != NULL)
        old->acl = acl;
    if (parent == NULL || (old != NULL && !c.raise_parent_if_exists))
        return;
    raise_parent(parent, c.parent_cversion, c.zxid);
    if (old != NULL)
        return;
    struct mnode *n = madd(m, path, acl);
    memcpy(n->data, fresh.data, sizeof n->data);
    n->data_len = fresh.data_len;
    n->stat = (struct node_stat){.czxid = c.zxid, .mzxid = c.zxid, .pzxid = c.zxid, .owner = c.owner};
    n->stat.ctime = n->stat.mtime = c.time_ms;
}

static void do_delete(struct model *m, const char *path) {
    struct mnode *parent = parent_of(m, path), *n = find(m, path);
    zxid_t zxid = m->zxid - (zxid_t)pick(m, 3) * 20;
    int err = tree_delete(m->tree, slice_of(path), zxid);
    if (parent != NULL && zxid > parent->stat.pzxid)
        parent->stat.pzxid = zxid;
    if (n == NULL) {
        ck_assert_int_eq(err, ZK_NO_NODE);
    } else if (children(m, path) > 0) {
        ck_assert_int_eq(err, ZK_NOT_EMPTY);
    } else {
        ck_assert_int_eq(err, ZK_OK);
        *n = m->nodes[--m->count];
    }
}

static void do_set(struct model *m, struct mnode *n) {
    struct znode *node = get(m->tree, n->path);
    int32_t version = (int32_t)pick(m, 1000);
    if (pick(m, 2)) {
        tree_set_data(m->tree, node, random_data(m, n), version, m->zxid, m->zxid * 3);
        n->stat.version = version;
        n->stat.mzxid = m->zxid;
        n->stat.mtime = m->zxid * 3;
    } else {
        n->acl = (int)pick(m, ACLS);
        tree_set_acl(m->tree, node, acl_of(n->acl), version);
        n->stat.aversion = version;
    }
}

static void do_transaction(struct model *m) {
    char path[PATH_MAX_BYTES];
    random_path(m, path);
    m->zxid++;
    /* There are times of growth and times of decline. */
    uint64_t kind = pick(m, 10), growth = m->zxid / 500 % 2 ? 3 : 6;
    if (kind < growth)
        do_create(m, path);
    else if (kind < 8)
        do_delete(m, path);
    else
        do_set(m, &m->nodes[pick(m, m->count)]);
}

/* ------------------------------------------------------------------ the walk */

static bool same(const struct model *m, const struct mnode *n, const struct znode *node) {
    struct node_stat stat;
    struct slice data = znode_data(node), want = {n->data, n->data_len < 0 ? 0 : (size_t)n->data_len};
    znode_stat(node, &stat);
    return stat_equal(&stat, &n->stat) && slice_eq(data, want) && (data.data == NULL) == (n->data_len < 0) &&
           slice_eq(acl_bytes(tree_acls(m->tree), node->acl), acl_of(n->acl));
}

static void walk_emits(void *ctx, struct slice path, const struct znode *node) {
    struct model *m = ctx;
    struct mnode *n = mfind(m->at_start, m->count_at_start, path);
    ck_assert_msg(n != NULL, "%.*s was not there", (int)path.len, path.data);
    ck_assert_msg(!n->emitted && same(m, n, node), "%s: twice, or changed", n->path);
    ck_assert(path.len == 0 || mfind(m->at_start, m->count_at_start, path_parent(path))->emitted);
    n->emitted = true;
}

static void drive_walk(struct model *m) {
    if (m->walk == NULL) {
        if (pick(m, 100) > 0)
            return;
        memcpy(m->at_start, m->nodes, m->count * sizeof *m->nodes);
        m->count_at_start = m->count;
        m->walk = tree_walk_begin(m->tree, walk_emits, m);
    }
    bool done = tree_walk_step(m->walk, pick(m, 4) ? 0 : pick(m, 12));
    for (size_t i = 0; done && i < m->count_at_start; i++)
        ck_assert_msg(m->at_start[i].emitted, "%s was left out", m->at_start[i].path);
    m->walks_done += done;
    if (done || pick(m, 2000) == 0) {
        tree_walk_end(m->walk);
        m->walk = NULL;
    }
}

/* ------------------------------------------------------------------ listings */

static void listing_start(struct model *m, struct mlisting *l) {
    const struct mnode *n = pick(m, 2) ? find(m, "/w") : &m->nodes[pick(m, m->count)];
    if (n == NULL)
        return;
    l->count = l->name_bytes = 0;
    buf_clear(&l->out);
    for (size_t i = 0; i < m->count; i++) {
        if (!is_child(&m->nodes[i], n->path))
            continue;
        struct slice name = path_name(slice_of(m->nodes[i].path));
        snprintf(l->names[l->count++], PATH_MAX_BYTES, "%.*s", (int)name.len, name.data);
        l->name_bytes += name.len;
    }
    l->listing = tree_listing_new(m->tree, get(m->tree, n->path));
    ck_assert_uint_eq(tree_listing_count(l->listing), l->count);
    ck_assert_uint_eq(tree_listing_name_bytes(l->listing), l->name_bytes);
}

/* Each name of the start once. */
static void listing_compare(struct mlisting *l) {
    struct jute_in in = jute_in(l->out.data, l->out.len);
    size_t left = l->count;
    while (jute_left(&in) > 0) {
        struct slice name = jute_bytes_not_null(&in);
        size_t i = 0;
        while (i < left && !slice_is(name, l->names[i]))
            i++;
        ck_assert_msg(i < left, "%.*s is too much", (int)name.len, name.data);
        memmove(l->names[i], l->names[--left], PATH_MAX_BYTES);
    }
    ck_assert(!in.failed && left == 0);
}

static void drive_listings(struct model *m) {
    struct mlisting *l = &m->listings[pick(m, LISTINGS)];
    if (l->listing == NULL) {
        if (pick(m, 10) == 0)
            listing_start(m, l);
        return;
    }
    bool done = tree_listing_next(l->listing, &l->out, pick(m, 60));
    if (done)
        listing_compare(l);
    m->listings_done += done;
    if (done || pick(m, 200) == 0) {
        tree_listing_free(l->listing);
        l->listing = NULL;
    }
}

/* ------------------------------------------------------------------ comparing */

static void compare_counts(const struct model *m, const struct mnode *n, const struct znode *node) {
    uint64_t descendants = 0, data_bytes = 0;
    for (size_t i = 0; i < m->count; i++) {
        if (&m->nodes[i] == n || !path_within(slice_of(m->nodes[i].path), slice_of(n->path)))
            continue;
        descendants++;
        data_bytes += m->nodes[i].data_len > 0 ? (uint64_t)m->nodes[i].data_len : 0;
    }
    ck_assert_int_eq((int)znode_children(node), children(m, n->path));
    ck_assert_uint_eq(znode_descendants(node), descendants);
    ck_assert_uint_eq(node->kids != NULL ? node->kids->data_bytes : 0, data_bytes);
}

static void compare(struct model *m) {
    uint64_t digest = 0, ephemerals = 0;
    char path[PATH_MAX_BYTES];
    for (size_t i = 0; i < m->count; i++) {
        const struct mnode *n = &m->nodes[i];
        struct znode *node = get(m->tree, n->path);
        ck_assert_msg(node != NULL && same(m, n, node), "%s", n->path);
        struct slice p = slice_of(n->path), data = {n->data, n->data_len < 0 ? 0 : (size_t)n->data_len};
        digest += slice_starts(p, SLICE_LIT("/zookeeper/")) ? 0 : reference_digest(p, data, &n->stat);
        ephemerals += tree_owner_kind(m->tree, n->stat.owner) == ZNODE_EPHEMERAL;
    }
    for (int i = 0; i < 100; i++) {
        random_path(m, path);
        ck_assert((get(m->tree, path) != NULL) == (find(m, path) != NULL));
    }
    const struct mnode *one = &m->nodes[pick(m, m->count)];
    compare_counts(m, one, get(m->tree, one->path));
    ck_assert_uint_eq(tree_digest(m->tree), digest);
    ck_assert_uint_eq(tree_count(m->tree), m->count);
    ck_assert_uint_eq(tree_ephemeral_count(m->tree), ephemerals);
    check_tree(m->tree);
}

static void model_close(struct model *m) {
    if (m->walk != NULL)
        tree_walk_end(m->walk);
    for (size_t i = 0; i < LISTINGS; i++) {
        tree_listing_free(m->listings[i].listing);
        buf_free(&m->listings[i].out);
    }
    struct tree *copy = copy_tree(m->tree);
    ck_assert_uint_eq(tree_digest(copy), tree_digest(m->tree));
    ck_assert_uint_eq(acl_count(tree_acls(copy)), acl_count(tree_acls(m->tree)));
    check_tree(copy);
    tree_free(copy);
    tree_free(m->tree);
    free(m->nodes);
    free(m->at_start);
    free(m);
}

START_TEST(random_transactions) {
    struct model *m = calloc(1, sizeof *m);
    model_init(m, (uint64_t)_i);
    for (int step = 0; step < STEPS; step++) {
        do_transaction(m);
        drive_walk(m);
        drive_listings(m);
        drive_listings(m);
        if (pick(m, 50) == 0)
            tree_maintain(m->tree);
        if (step % 100 == 99)
            compare(m);
    }
    compare(m);
    ck_assert_uint_gt(m->walks_done, 0);
    ck_assert_uint_gt(m->listings_done, 50);
    model_close(m);
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("model");
    tcase_add_loop_test(tc, random_transactions, 1, 25);
    tcase_set_timeout(tc, 300); /* valgrind */
    Suite *suite = suite_create("tree against a model");
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
