/* Quotas: docs/protocol/operations.md section 9. */
#include <inttypes.h>
#include <stdio.h>

#include "tree_help.h"

#define ROOT "/zookeeper/quota"
#define LIMITS "/zookeeper_limits"
#define STATS "/zookeeper_stats"

static zxid_t zxid = 100;

/* Creates what is missing on the way to path, then path. */
static void put_all(struct tree *t, const char *path, const char *data) {
    char part[256];
    for (const char *p = strchr(path + 1, '/'); p != NULL; p = strchr(p + 1, '/')) {
        snprintf(part, sizeof part, "%.*s", (int)(p - path), path);
        if (get(t, part) == NULL)
            ck_assert_int_eq(put(t, part, "", zxid++), ZK_OK);
    }
    ck_assert_int_eq(put(t, path, data, zxid++), ZK_OK);
}

static const char *quota_node(const char *path, const char *name) {
    static char text[256];
    snprintf(text, sizeof text, ROOT "%s%s", path, name);
    return text;
}
/* As a client sets a quota: limits, then stats. */
static void arm(struct tree *t, const char *path, const char *limits) {
    put_all(t, quota_node(path, LIMITS), limits);
    put_all(t, quota_node(path, STATS), "count=0,bytes=0");
}
static void expect_usage(struct tree *t, const char *path, int count, int bytes) {
    char text[64];
    snprintf(text, sizeof text, "count=%d,bytes=%d", count, bytes);
    expect_data(t, quota_node(path, STATS), text);
}
static struct quota_check check(struct tree *t, const char *path, int64_t count, int64_t bytes) {
    struct quota_check q;
    tree_quota_check(t, slice_of(path), count, bytes, &q);
    return q;
}
static bool refused(struct tree *t, const char *path, int64_t count, int64_t bytes) {
    struct quota_check q = check(t, path, count, bytes);
    return q.count_exceeded || q.bytes_exceeded;
}
static void finish(struct tree *t) {
    check_tree(t);
    tree_free(t);
}

/* ------------------------------------------------------------------ text */

START_TEST(parse) {
    static const struct {
        const char *text;
        struct quota_limits want;
    } cases[] = {
        {"count=2,bytes=10", {2, 10, -1, -1}},
        {"count=2,bytes=10=;byteHardLimit=20;countHardLimit=4", {2, 10, 4, 20}},
        {"count=10,bytes=1000=;byteHardLimit=-1;countHardLimit=50", {10, 1000, 50, -1}},
        {"bytes=5", {-1, 5, -1, -1}},
        {",,;count=1;;,bytes=", {1, -1, -1, -1}},
        {"", {-1, -1, -1, -1}},
        {"nonsense", {-1, -1, -1, -1}},
        {"count=x,bytes=7", {-1, 7, -1, -1}},
        {"count=9223372036854775808,bytes=9223372036854775807", {-1, INT64_MAX, -1, -1}},
        {"=,=;count", {-1, -1, -1, -1}},
        {"count=1,count=2,bytes=-3", {2, -3, -1, -1}},
        {" count=1", {-1, -1, -1, -1}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct quota_limits q = quota_parse(slice_of(cases[i].text)), w = cases[i].want;
        ck_assert_msg(q.count == w.count && q.bytes == w.bytes && q.count_hard == w.count_hard &&
                          q.bytes_hard == w.bytes_hard,
                      "%s", cases[i].text);
    }
    ck_assert_int_eq(quota_parse(SLICE_NULL).count, -1);
}
END_TEST

START_TEST(format) {
    struct buf b = BUF_INIT;
    quota_format(&b, &(struct quota_limits){2, 10, -1, -1});
    ck_assert(slice_is(buf_slice(&b), "count=2,bytes=10"));
    buf_clear(&b);
    quota_format(&b, &(struct quota_limits){10, 1000, 50, -1}); /* as Java's command line client writes it */
    ck_assert(slice_is(buf_slice(&b), "count=10,bytes=1000=;byteHardLimit=-1;countHardLimit=50"));
    buf_free(&b);
}
END_TEST

/* ------------------------------------------------------------------ accounting */

START_TEST(usage_follows_changes) {
    struct tree *t = new_tree();
    put_all(t, "/a/b", "123");
    arm(t, "/a", "count=10,bytes=100");
    expect_usage(t, "/a", 2, 3);
    put_all(t, "/a/c", "4567");
    expect_usage(t, "/a", 3, 7);
    set(t, "/a/b", "1", zxid++);
    expect_usage(t, "/a", 3, 5);
    set(t, "/a", "xx", zxid++);
    expect_usage(t, "/a", 3, 7);
    set(t, "/a/c", NULL, zxid++);
    expect_usage(t, "/a", 3, 3);
    del(t, "/a/c", zxid++);
    expect_usage(t, "/a", 2, 3);
    put_all(t, "/b", "outside");
    put_all(t, "/ab", "outside");
    expect_usage(t, "/a", 2, 3);
    put_owned(t, "/a/e", "e", 5, zxid++);
    tree_delete_node(t, tree_owned_by(t, 5)->nodes[0], zxid++);
    expect_usage(t, "/a", 2, 3);
    finish(t);
}
END_TEST

START_TEST(only_the_deepest_quota_counts) {
    struct tree *t = new_tree();
    put_all(t, "/a/b/c", "1");
    arm(t, "/a", "count=10,bytes=100");
    arm(t, "/a/b", "count=10,bytes=100");
    put_all(t, "/a/b/d", "22");
    expect_usage(t, "/a", 3, 1);
    expect_usage(t, "/a/b", 3, 3);
    put_all(t, "/a/x", "333");
    expect_usage(t, "/a", 4, 4);
    set(t, "/a/b", "7", zxid++); /* the armed node itself is its own */
    expect_usage(t, "/a/b", 3, 4);
    del(t, quota_node("/a/b", LIMITS), zxid++);
    put_all(t, "/a/b/e", "1");
    expect_usage(t, "/a/b", 3, 4);
    expect_usage(t, "/a", 5, 5);
    finish(t);
}
END_TEST

START_TEST(stats_change_without_a_trace) {
    struct tree *t = new_tree();
    put_all(t, "/a", "");
    arm(t, "/a", "count=10");
    struct node_stat before, after;
    znode_stat(get(t, ROOT "/a" STATS), &before);
    uint64_t parent = (uint64_t)get(t, ROOT "/a")->pzxid;
    put_all(t, "/a/b", "1234567");
    znode_stat(get(t, ROOT "/a" STATS), &after);
    ck_assert(stat_equal(&before, &after));
    ck_assert_uint_eq((uint64_t)get(t, ROOT "/a")->pzxid, parent);
    expect_usage(t, "/a", 2, 7);
    finish(t); /* checks the cached CRC, too */
}
END_TEST

START_TEST(armed_before_the_path_exists) {
    struct tree *t = new_tree();
    arm(t, "/a/b", "count=2");
    expect_usage(t, "/a/b", 0, 0);
    put_all(t, "/a/b", "12");
    ck_assert_int_ne(get(t, "/a/b")->flags & ZNODE_QUOTA, 0);
    expect_usage(t, "/a/b", 1, 2);
    put_all(t, "/a/b/c", "3");
    expect_usage(t, "/a/b", 2, 3);
    del(t, "/a/b/c", zxid++);
    del(t, "/a/b", zxid++);
    expect_usage(t, "/a/b", 0, 0);
    del(t, "/a", zxid++);
    put_all(t, "/a/b/c", "3"); /* and again */
    expect_usage(t, "/a/b", 2, 1);
    ck_assert(refused(t, "/a/b/c/d", 1, 0) == false);
    finish(t);
}
END_TEST

START_TEST(disarmed_and_armed_again) {
    struct tree *t = new_tree();
    put_all(t, "/a", "");
    arm(t, "/a", "countHardLimit=1");
    ck_assert(refused(t, "/a/b", 1, 0));
    del(t, quota_node("/a", LIMITS), zxid++);
    ck_assert(!refused(t, "/a/b", 1, 0));
    ck_assert_int_eq(get(t, "/a")->flags & ZNODE_QUOTA, 0);
    put_all(t, "/a/b", "1");
    expect_usage(t, "/a", 1, 0); /* stale, as in Java */
    put_all(t, quota_node("/a", LIMITS), "countHardLimit=3");
    put_all(t, "/a/c", "1");
    expect_usage(t, "/a", 2, 1);
    del(t, quota_node("/a", STATS), zxid++);
    put_all(t, "/a/d", "1");
    put_all(t, quota_node("/a", STATS), "");
    expect_usage(t, "/a", 4, 3);
    finish(t);
}
END_TEST

START_TEST(limits_without_stats) {
    struct tree *t = new_tree();
    put_all(t, "/a", "");
    put_all(t, quota_node("/a", LIMITS), "countHardLimit=0;byteHardLimit=0");
    put_all(t, "/a/b", "1");
    del(t, "/a/b", zxid++);
    ck_assert(!refused(t, "/a/b", 1, 1));
    finish(t);
}
END_TEST

START_TEST(unreadable_stats_are_repaired) {
    static const char *const bad[] = {
        NULL, "", "nonsense", "count=,bytes=3", "count=3", "bytes=1,count=99999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct tree *t = new_tree();
        put_all(t, "/a", "");
        arm(t, "/a", "countHardLimit=2");
        set(t, quota_node("/a", STATS), bad[i], zxid++);
        ck_assert(!refused(t, "/a/b", 1, 3));
        ck_assert(refused(t, "/a/b", 2, 3));
        put_all(t, "/a/b", "123");
        expect_usage(t, "/a", 2, 3);
        finish(t);
    }
}
END_TEST

START_TEST(stats_with_other_keys) {
    struct tree *t = new_tree();
    put_all(t, "/a", "");
    arm(t, "/a", "");
    set(t, quota_node("/a", STATS), "bytes=7;count=5;countHardLimit=9", zxid++);
    put_all(t, "/a/b", "1");
    expect_data(t, ROOT "/a" STATS, "count=6,bytes=8=;byteHardLimit=-1;countHardLimit=9");
    finish(t);
}
END_TEST

/* What makes Java exit, and other odd places. */
START_TEST(odd_places) {
    struct tree *t = new_tree();
    put_all(t, ROOT LIMITS, "countHardLimit=0"); /* a quota of the root: ignored */
    put_all(t, ROOT STATS, "count=0,bytes=0");
    put_all(t, "/a", "1");
    expect_data(t, ROOT STATS, "count=0,bytes=0");
    ck_assert(!refused(t, "/b", 1, 1));
    put_all(t, "/zookeeper" LIMITS, "countHardLimit=0");
    del(t, "/zookeeper" LIMITS, zxid++);
    put_all(t, "/zookeeper/quotas" LIMITS, "countHardLimit=0");
    put_all(t, "/zookeeper/quotas" STATS, "x");
    expect_data(t, "/zookeeper/quotas" STATS, "x");
    put_all(t, "/a" LIMITS, "countHardLimit=0");
    put_all(t, "/a" STATS, "x");
    expect_data(t, "/a" STATS, "x");
    del(t, "/a" LIMITS, zxid++);
    del(t, ROOT LIMITS, zxid++);
    struct znode *n;
    struct quota_limits limits, usage;
    size_t cursor = 0;
    ck_assert(!tree_quota_next(t, &cursor, &n, &limits, &usage));
    finish(t);
}
END_TEST

/* A quota over the quota nodes themselves: their own changes in place are not accounted for. */
START_TEST(quota_over_system_nodes) {
    struct tree *t = new_tree();
    arm(t, "/zookeeper", "count=1");
    struct quota_limits usage = quota_parse(znode_data(get(t, ROOT "/zookeeper" STATS)));
    ck_assert_int_eq(usage.count, 7); /* six nodes, and the creation of the stats node on top, as in Java */
    arm(t, "/a", "count=1");
    put_all(t, "/a", "12345");
    expect_usage(t, "/a", 1, 5);
    del(t, quota_node("/a", STATS), zxid++);
    del(t, quota_node("/a", LIMITS), zxid++);
    del(t, quota_node("/zookeeper", STATS), zxid++);
    del(t, quota_node("/zookeeper", LIMITS), zxid++);
    finish(t);
}
END_TEST

START_TEST(limits_node_under_its_own_quota) {
    struct tree *t = new_tree();
    put_all(t, ROOT ROOT "/x" LIMITS, "count=1"); /* arms /zookeeper/quota/x */
    put_all(t, ROOT ROOT "/x" STATS, "");
    put_all(t, ROOT "/x" LIMITS, "count=1");
    expect_usage(t, ROOT "/x", 2, 7);
    del(t, ROOT "/x" LIMITS, zxid++);
    expect_usage(t, ROOT "/x", 1, 0);
    finish(t);
}
END_TEST

START_TEST(walk_sees_old_stats) {
    struct tree *t = new_tree();
    put_all(t, "/a", "");
    arm(t, "/a", "count=10");
    struct copier c = {t, tree_new_empty(tree_options(t))};
    struct tree_walk *w = tree_walk_begin(t, copy_node, &c);
    put_all(t, "/a/b", "1234");
    ck_assert_ptr_nonnull(get(c.to, ROOT "/a" STATS));
    expect_data(c.to, ROOT "/a" STATS, "count=1,bytes=0");
    while (!tree_walk_step(w, 1))
        ;
    tree_walk_end(w);
    tree_free(c.to);
    finish(t);
}
END_TEST

/* ------------------------------------------------------------------ checking */

START_TEST(check_limits) {
    static const struct {
        const char *limits;
        int64_t count, bytes; /* usage is 3 nodes, 10 bytes */
        bool count_exceeded, bytes_exceeded, soft;
        int64_t limit, usage;
    } cases[] = {
        {"count=3,bytes=10", 1, 0, false, false, true, 3, 4},
        {"count=4,bytes=10", 1, 0, false, false, false, 0, 0},
        {"count=4,bytes=10", 1, 1, false, false, true, 10, 11},
        {"count=-1,bytes=-1", 9, 99, false, false, false, 0, 0},
        {"count=-1,bytes=-1=;byteHardLimit=20;countHardLimit=3", 1, 5, true, false, false, 3, 4},
        {"count=-1,bytes=-1=;byteHardLimit=12;countHardLimit=4", 1, 3, false, true, false, 12, 13},
        {"countHardLimit=3;byteHardLimit=12", 1, 3, true, true, false, 3, 4},
        {"count=3,bytes=1;byteHardLimit=12", 1, 3, false, true, true, 12, 13}, /* the hard limit is reported */
        {"count=0,bytes=0;countHardLimit=9;byteHardLimit=99", 1, 3, false, false, false, 0, 0}, /* hard replaces soft */
        {"countHardLimit=0;byteHardLimit=0", 0, 0, false, false, false, 0, 0}, /* no difference, no check */
        {"byteHardLimit=5", 0, -3, false, true, false, 5, 7},                  /* shrinks, but stays above */
        {"byteHardLimit=7", 0, -3, false, false, false, 0, 0},
        {"countHardLimit=0", 1, 0, true, false, false, 0, 4},
        {"rubbish", 9, 9, false, false, false, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tree *t = new_tree();
        put_all(t, "/a/b", "12345");
        put_all(t, "/a/c", "12345");
        arm(t, "/a", cases[i].limits);
        struct quota_check q = check(t, "/a/x/y", cases[i].count, cases[i].bytes);
        ck_assert_msg(q.count_exceeded == cases[i].count_exceeded && q.bytes_exceeded == cases[i].bytes_exceeded &&
                          q.soft_exceeded == cases[i].soft && q.limit == cases[i].limit && q.usage == cases[i].usage,
                      "case %zu: %d %d %d %" PRId64 " %" PRId64, i, q.count_exceeded, q.bytes_exceeded, q.soft_exceeded,
                      q.limit, q.usage);
        ck_assert_ptr_eq(q.node, get(t, "/a"));
        finish(t);
    }
}
END_TEST

START_TEST(check_takes_the_deepest_by_component) {
    struct tree *t = new_tree();
    put_all(t, "/a/b", "");
    arm(t, "/a", "countHardLimit=0");
    arm(t, "/a/b/not/there", "countHardLimit=100");
    arm(t, "/a/bc", "countHardLimit=100");
    ck_assert(refused(t, "/a", 1, 0));
    ck_assert(refused(t, "/a/b", 1, 0));
    ck_assert(refused(t, "/a/b/not", 1, 0));
    ck_assert(!refused(t, "/a/b/not/there", 1, 0));
    ck_assert(!refused(t, "/a/b/not/there/either", 1, 0));
    ck_assert(refused(t, "/a/b/not/therefore", 1, 0));
    ck_assert(!refused(t, "/a/bc", 1, 0));
    ck_assert(!refused(t, "/ab", 1, 0));
    ck_assert(!refused(t, "/", 1, 0));
    ck_assert(!refused(t, "", 1, 0));
    ck_assert_ptr_null(check(t, "/a/bc/d", 1, 0).node);
    ck_assert_ptr_null(check(t, "/b", 1, 0).node);
    finish(t);
}
END_TEST

START_TEST(very_long_path_is_checked_quickly) {
    struct tree *t = new_tree();
    struct buf b = BUF_INIT;
    arm(t, "/a/a", "countHardLimit=0");
    for (int i = 0; i < 500000; i++)
        buf_append(&b, "/a", 2);
    struct quota_check q;
    for (int i = 0; i < 100; i++)
        tree_quota_check(t, buf_slice(&b), 1, 0, &q);
    ck_assert(q.count_exceeded);
    buf_free(&b);
    finish(t);
}
END_TEST

START_TEST(iteration) {
    struct tree *t = new_tree();
    put_all(t, "/a", "12");
    put_all(t, "/b", "345");
    put_all(t, quota_node("/a", LIMITS), "count=1,bytes=2");
    arm(t, "/b", "count=7");
    arm(t, "/missing", "count=3");
    struct znode *n;
    struct quota_limits limits, usage;
    size_t cursor = 0;
    ck_assert(tree_quota_next(t, &cursor, &n, &limits, &usage));
    ck_assert(n == get(t, "/a") && limits.count == 1 && limits.bytes == 2 && usage.count == -1 && usage.bytes == -1);
    ck_assert(tree_quota_next(t, &cursor, &n, &limits, &usage));
    ck_assert(n == get(t, "/b") && limits.count == 7 && usage.count == 1 && usage.bytes == 3);
    ck_assert(!tree_quota_next(t, &cursor, &n, &limits, &usage));
    finish(t);
}
END_TEST

/* ------------------------------------------------------------------ loading */

START_TEST(load_arms_and_recomputes) {
    struct tree *t = new_tree();
    put_all(t, "/a/b", "123");
    arm(t, "/a", "countHardLimit=3");
    arm(t, "/missing", "count=1");
    put_all(t, ROOT LIMITS, "count=1");
    put_all(t, ROOT "/c" LIMITS "/child", ""); /* limits with a child: not armed by loading */
    put_all(t, "/c", "");
    set(t, quota_node("/a", STATS), "count=77,bytes=77", zxid++);
    struct tree *copy = copy_tree(t);
    expect_usage(copy, "/a", 2, 3);
    expect_usage(copy, "/missing", 0, 0);
    ck_assert(!refused(copy, "/a/x", 1, 0));
    ck_assert(refused(copy, "/a/x", 2, 0));
    put_all(copy, "/a/x", "1");
    expect_usage(copy, "/a", 3, 4);
    put_all(copy, "/c/x", "");
    ck_assert_int_eq(get(copy, "/c")->flags & ZNODE_QUOTA, 0);
    ck_assert_int_eq(get(copy, "/a")->flags & ZNODE_QUOTA, ZNODE_QUOTA);
    finish(copy);
    finish(t);
}
END_TEST

/* ------------------------------------------------------------------ against a naive model */

/* Paths: every one of up to three letters out of a, b, c. */
enum { LETTERS = 3, PATHS = 3 + 9 + 27, STEPS = 4000 };

struct model {
    struct tree *tree;
    int size[PATHS]; /* data length; -1 = no such node */
    bool armed[PATHS], stats[PATHS];
    int count[PATHS], bytes[PATHS];
    char path[PATHS][8];
    int parent[PATHS];
};

static void model_init(struct model *m, struct tree *t) {
    *m = (struct model){.tree = t};
    for (int i = 0; i < PATHS; i++) {
        m->size[i] = -1;
        m->parent[i] = i < LETTERS ? -1 : i / LETTERS - 1;
        snprintf(m->path[i], sizeof m->path[i], "%s/%c", i < LETTERS ? "" : m->path[i / LETTERS - 1], 'a' + i % LETTERS);
    }
}

static int model_children(const struct model *m, int i) {
    int n = 0;
    for (int k = 0; k < PATHS; k++)
        n += m->parent[k] == i && m->size[k] >= 0;
    return n;
}

static void model_account(struct model *m, int i, int count, int bytes) {
    while (i >= 0 && !m->armed[i])
        i = m->parent[i];
    if (i >= 0 && m->stats[i]) {
        m->count[i] += count;
        m->bytes[i] += bytes;
    }
}

static void model_recount(struct model *m, int i) {
    m->count[i] = m->bytes[i] = 0;
    for (int k = 0; k < PATHS; k++) {
        if (m->size[k] >= 0 && path_within(slice_of(m->path[k]), slice_of(m->path[i]))) {
            m->count[i]++;
            m->bytes[i] += m->size[k];
        }
    }
}

/* The other transactions are between this and the tree only, and refused by both at the wrong time. */
static void step_node(struct model *m, int i, uint64_t what, int size) {
    char data[16] = {0};
    memset(data, 'x', (size_t)size);
    bool there = m->size[i] >= 0;
    if (!there && (m->parent[i] < 0 || m->size[m->parent[i]] >= 0)) {
        ck_assert_int_eq(put(m->tree, m->path[i], data, zxid++), ZK_OK);
        m->size[i] = size;
        model_account(m, i, 1, size);
    } else if (there && what == 0 && model_children(m, i) == 0) {
        ck_assert_int_eq(del(m->tree, m->path[i], zxid++), ZK_OK);
        model_account(m, i, -1, -m->size[i]);
        m->size[i] = -1;
    } else if (there) {
        set(m->tree, m->path[i], data, zxid++);
        model_account(m, i, 0, size - m->size[i]);
        m->size[i] = size;
    }
}

static void step_quota(struct model *m, int i, bool limits) {
    bool *there = limits ? &m->armed[i] : &m->stats[i];
    const char *node = quota_node(m->path[i], limits ? LIMITS : STATS);
    if (*there)
        ck_assert_int_eq(del(m->tree, node, zxid++), ZK_OK);
    else
        put_all(m->tree, node, "count=3,bytes=3");
    *there = !*there;
    if (!limits && *there)
        model_recount(m, i);
}

static void model_compare(struct model *m) {
    for (int i = 0; i < PATHS; i++) {
        struct znode *n = get(m->tree, m->path[i]);
        ck_assert_int_eq(n != NULL, m->size[i] >= 0);
        ck_assert_int_eq(n != NULL && (n->flags & ZNODE_QUOTA) != 0, m->size[i] >= 0 && m->armed[i]);
        if (m->stats[i])
            expect_usage(m->tree, m->path[i], m->count[i], m->bytes[i]);
    }
}

START_TEST(random_model) {
    struct rng r = {(uint64_t)_i};
    struct tree *t = new_tree();
    struct model m;
    model_init(&m, t);
    for (int step = 0; step < STEPS; step++) {
        int i = (int)rng_below(&r, PATHS);
        uint64_t what = rng_below(&r, 20);
        if (what < 2)
            step_quota(&m, i, what == 0);
        else
            step_node(&m, i, what % 3, (int)rng_below(&r, 9));
        if (step % 20 == 0)
            model_compare(&m);
    }
    struct tree *copy = copy_tree(t);
    m.tree = copy;
    for (int i = 0; i < PATHS; i++)
        if (m.armed[i] && m.stats[i])
            model_recount(&m, i);
    model_compare(&m);
    finish(copy);
    finish(t);
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("quota");
    tcase_add_test(tc, parse);
    tcase_add_test(tc, format);
    tcase_add_test(tc, usage_follows_changes);
    tcase_add_test(tc, only_the_deepest_quota_counts);
    tcase_add_test(tc, stats_change_without_a_trace);
    tcase_add_test(tc, armed_before_the_path_exists);
    tcase_add_test(tc, disarmed_and_armed_again);
    tcase_add_test(tc, limits_without_stats);
    tcase_add_test(tc, unreadable_stats_are_repaired);
    tcase_add_test(tc, stats_with_other_keys);
    tcase_add_test(tc, odd_places);
    tcase_add_test(tc, quota_over_system_nodes);
    tcase_add_test(tc, limits_node_under_its_own_quota);
    tcase_add_test(tc, walk_sees_old_stats);
    tcase_add_test(tc, check_limits);
    tcase_add_test(tc, check_takes_the_deepest_by_component);
    tcase_add_test(tc, very_long_path_is_checked_quickly);
    tcase_add_test(tc, iteration);
    tcase_add_test(tc, load_arms_and_recomputes);
    tcase_add_loop_test(tc, random_model, 1, 11);
    tcase_set_timeout(tc, 120);
    Suite *suite = suite_create("tree quota");
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
