/* src/tree/watch over a real tree. See docs/protocol/operations.md section 12. */
#include <stdio.h>

#include "tree/watch.h"
#include "tree_help.h"

/* For the long loops: a ck_assert tells the parent process each time that it was there. */
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            ck_abort_msg("%s", #condition);                                                                            \
    } while (0)

#define PERSISTENT (WATCH_DATA_PERSISTENT | WATCH_CHILD_PERSISTENT)
#define DATA_MODES (WATCH_DATA | WATCH_DATA_PERSISTENT | WATCH_RECURSIVE)
#define CHILD_MODES (WATCH_CHILD | WATCH_CHILD_PERSISTENT)

static struct tree *t;
static struct watches *w;
static zxid_t zxid;

static void setup(void) {
    t = new_tree();
    w = watches_new(t);
    zxid = 0;
}

static void teardown(void) {
    watches_free(w);
    tree_free(t);
}

/* ------------------------------------------------------------------ short forms */

/* Who was told by the last firing, in ascending order. */
static uint32_t *told;
static size_t told_count, told_cap;

static void deliver(void *ctx, uint32_t watcher) {
    EXPECT(ctx == &told);
    if (told_count == told_cap) {
        told_cap = told_cap ? told_cap * 2 : 64;
        told = realloc(told, told_cap * sizeof *told);
        EXPECT(told != NULL);
    }
    told[told_count++] = watcher;
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void fire_at(const char *path, struct znode *node, enum event_type type) {
    told_count = 0;
    size_t n = watch_fire(w, slice_of(path), node, type, deliver, &told);
    EXPECT(n == told_count);
    if (n > 1)
        qsort(told, told_count, sizeof *told, compare);
}

static void add(uint32_t watcher, const char *path, unsigned modes) {
    watch_add(w, watcher, slice_of(path), get(t, path), modes);
}

/* The last firing told these watchers: "1 2 7". */
static void expect_told(const char *expected) {
    char text[256] = "";
    size_t n = 0;
    for (size_t i = 0; i < told_count; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%u", i ? " " : "", told[i]);
    ck_assert_str_eq(text, expected);
}

static const char *parent_of(const char *path) {
    static char parent[256];
    snprintf(parent, sizeof parent, "%s", path);
    *strrchr(parent, '/') = '\0';
    return *parent ? parent : "/";
}

static void fire_children(const char *path, const char *expected) {
    const char *parent = parent_of(path);
    fire_at(parent, get(t, parent), EVENT_NODE_CHILDREN_CHANGED);
    expect_told(expected);
}

/* The changes with their events, as operations.md section 12.2 lists them: who hears of the node, who of the parent. */
static void create(const char *path, const char *node, const char *parent) {
    ck_assert_int_eq(put(t, path, "", ++zxid), ZK_OK);
    fire_at(path, get(t, path), EVENT_NODE_CREATED);
    expect_told(node);
    fire_children(path, parent);
}

static void delete(const char *path, const char *node, const char *parent) {
    struct znode *n = get(t, path);
    if (n->flags & ZNODE_WATCHED)
        watch_node_leaves(w, n, slice_of(path));
    tree_delete_node(t, n, ++zxid);
    fire_at(path, NULL, EVENT_NODE_DELETED);
    expect_told(node);
    fire_children(path, parent);
}

static void change(const char *path, const char *expected) {
    fire_at(path, get(t, path), EVENT_NODE_DATA_CHANGED);
    expect_told(expected);
}

static bool drop(uint32_t watcher, size_t most) { return watch_drop(w, watcher, &most); }

static unsigned modes(uint32_t watcher, const char *path) { return watch_get(w, watcher, slice_of(path)); }

static bool marked(const char *path) { return (get(t, path)->flags & ZNODE_WATCHED) != 0; }

static void expect_counts(uint64_t all, uint64_t data, uint64_t paths) {
    ck_assert_uint_eq(watch_count(w), all);
    ck_assert_uint_eq(watch_data_count(w), data);
    ck_assert_uint_eq(watch_path_count(w), paths);
}

/* ------------------------------------------------------------------ modes and events */

/* One watcher with one mode at /a: which events it hears, and whether it has the mode afterwards. */
static const struct {
    unsigned mode;
    enum event_type type;
    bool hears, keeps;
} rules[] = {
    {WATCH_DATA, EVENT_NODE_CREATED, true, false},
    {WATCH_DATA, EVENT_NODE_DATA_CHANGED, true, false},
    {WATCH_DATA, EVENT_NODE_DELETED, true, false},
    {WATCH_DATA, EVENT_NODE_CHILDREN_CHANGED, false, true},
    {WATCH_CHILD, EVENT_NODE_CREATED, false, true},
    {WATCH_CHILD, EVENT_NODE_DATA_CHANGED, false, true},
    {WATCH_CHILD, EVENT_NODE_DELETED, true, false},
    {WATCH_CHILD, EVENT_NODE_CHILDREN_CHANGED, true, false},
    {WATCH_DATA_PERSISTENT, EVENT_NODE_CREATED, true, true},
    {WATCH_DATA_PERSISTENT, EVENT_NODE_DATA_CHANGED, true, true},
    {WATCH_DATA_PERSISTENT, EVENT_NODE_DELETED, true, true},
    {WATCH_DATA_PERSISTENT, EVENT_NODE_CHILDREN_CHANGED, false, true},
    {WATCH_CHILD_PERSISTENT, EVENT_NODE_CREATED, false, true},
    {WATCH_CHILD_PERSISTENT, EVENT_NODE_DATA_CHANGED, false, true},
    {WATCH_CHILD_PERSISTENT, EVENT_NODE_DELETED, true, true},
    {WATCH_CHILD_PERSISTENT, EVENT_NODE_CHILDREN_CHANGED, true, true},
    {WATCH_RECURSIVE, EVENT_NODE_CREATED, true, true},
    {WATCH_RECURSIVE, EVENT_NODE_DATA_CHANGED, true, true},
    {WATCH_RECURSIVE, EVENT_NODE_DELETED, true, true},
    {WATCH_RECURSIVE, EVENT_NODE_CHILDREN_CHANGED, false, true},
};

START_TEST(each_mode_and_event) {
    bool exists = rules[_i].type == EVENT_NODE_DATA_CHANGED || rules[_i].type == EVENT_NODE_CHILDREN_CHANGED;
    if (exists)
        put(t, "/a", "", 1);
    add(5, "/a", rules[_i].mode);
    fire_at("/a", get(t, "/a"), rules[_i].type);
    expect_told(rules[_i].hears ? "5" : "");
    ck_assert_uint_eq(modes(5, "/a"), rules[_i].keeps ? rules[_i].mode : 0);
    if (exists)
        ck_assert_int_eq(marked("/a"), rules[_i].keeps);
    ck_assert_uint_eq(watch_count(w), rules[_i].keeps);
}
END_TEST

START_TEST(nobody_watches) {
    create("/a", "", "");
    change("/a", "");
    delete("/a", "", "");
    expect_counts(0, 0, 0);
}
END_TEST

START_TEST(several_watchers_of_a_path) {
    create("/a", "", "");
    for (uint32_t i = 20; i > 0; i--)
        add(i, "/a", i % 2 ? WATCH_DATA : WATCH_DATA_PERSISTENT);
    change("/a", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20");
    change("/a", "2 4 6 8 10 12 14 16 18 20");
    expect_counts(10, 10, 1);
}
END_TEST

/* A getData and an exists watch give one event, and so do the data and child tables at a deletion. */
START_TEST(one_event_per_watcher) {
    create("/a", "", "");
    add(1, "/a", WATCH_DATA);
    add(1, "/a", WATCH_DATA);
    add(1, "/a", WATCH_CHILD);
    add(2, "/a", WATCH_CHILD);
    expect_counts(3, 1, 1);
    delete("/a", "1 2", "");
    expect_counts(0, 0, 0);
}
END_TEST

/* Modes that coincide: one event, and only the one-shot part is spent. */
START_TEST(one_shot_beside_persistent) {
    create("/a", "", "");
    add(1, "/a", WATCH_DATA | PERSISTENT | WATCH_RECURSIVE);
    change("/a", "1");
    ck_assert_uint_eq(modes(1, "/a"), PERSISTENT | WATCH_RECURSIVE);
    change("/a", "1");
}
END_TEST

/* section 12.2: a persistent watch hears of its own path and its direct children only, and outlives the node. */
START_TEST(persistent_outlives_the_node) {
    add(1, "/a", PERSISTENT);
    create("/a", "1", "");
    ck_assert(marked("/a"));
    create("/a/b", "", "1");
    create("/a/b/c", "", "");
    delete("/a/b/c", "", "");
    delete("/a/b", "", "1");
    delete("/a", "1", "");
    create("/a", "1", "");
    change("/a", "1");
    expect_counts(2, 1, 1);
}
END_TEST

START_TEST(child_watch_of_the_parent) {
    add(1, "/", WATCH_CHILD);
    create("/a", "", "1");
    create("/b", "", "");
    add(1, "/", WATCH_CHILD);
    delete("/a", "", "1");
}
END_TEST

/* ------------------------------------------------------------------ paths without a node */

START_TEST(exists_watch_on_a_missing_node) {
    add(1, "/a/b", WATCH_DATA);
    create("/a", "", "");
    create("/a/b", "1", "");
    ck_assert(!marked("/a/b"));
    change("/a/b", "");
}
END_TEST

/* After the creation the entry belongs to the znode, and is found by it alone. */
START_TEST(surviving_watch_is_bound_at_creation) {
    add(1, "/a", WATCH_DATA);
    add(2, "/a", WATCH_DATA_PERSISTENT);
    create("/a", "1 2", "");
    ck_assert(marked("/a"));
    uint64_t bound = watch_memory(w);
    change("/a", "2");
    delete("/a", "2", "");
    ck_assert_uint_gt(watch_memory(w), bound); /* its own copy of the path again */
    change("/a", "2");
}
END_TEST

START_TEST(watch_added_after_creation_joins_the_entry) {
    add(1, "/a", WATCH_DATA_PERSISTENT);
    put(t, "/a", "", 1);
    add(2, "/a", WATCH_DATA); /* binds it, although nothing was fired */
    ck_assert(marked("/a"));
    change("/a", "1 2");
    expect_counts(1, 1, 1);
}
END_TEST

START_TEST(leaving_node_keeps_its_watches_by_path) {
    create("/a", "", "");
    add(1, "/a", WATCH_CHILD_PERSISTENT);
    watch_node_leaves(w, get(t, "/a"), SLICE_LIT("/a"));
    ck_assert(!marked("/a"));
    ck_assert_uint_eq(modes(1, "/a"), WATCH_CHILD_PERSISTENT);
    watch_node_leaves(w, get(t, "/a"), SLICE_LIT("/a")); /* nothing refers to it: harmless */
    tree_delete(t, SLICE_LIT("/a"), 2);
    fire_at("/a", NULL, EVENT_NODE_DELETED);
    expect_told("1");
}
END_TEST

/* Paths come as the client sent them. */
START_TEST(odd_paths) {
    static const char *const paths[] = {"", "nonsense", "/a/", "//", "/a//b", "/\xff"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        watch_add(w, 1, slice_of(paths[i]), NULL, PERSISTENT);
        ck_assert_uint_eq(modes(1, paths[i]), PERSISTENT);
    }
    ck_assert_uint_eq(watch_path_count(w), ARRAY_LEN(paths));
    create("/a", "", "");
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        ck_assert_uint_eq(watch_remove(w, 1, slice_of(paths[i]), WATCH_ALL), PERSISTENT);
    expect_counts(0, 0, 0);
}
END_TEST

/* For the tree "" is the root; for watches it is a path of its own at which nothing happens. */
START_TEST(empty_path_never_fires) {
    add(1, "", WATCH_DATA | WATCH_CHILD | WATCH_RECURSIVE);
    ck_assert(!marked("/"));
    ck_assert_uint_eq(modes(1, "/"), 0);
    create("/a", "", "");
    change("/", "");
    fire_at("", get(t, "/"), EVENT_NODE_DATA_CHANGED);
    expect_told("");
    add(2, "/", WATCH_DATA);
    change("/", "2");
    ck_assert_uint_eq(modes(1, ""), WATCH_DATA | WATCH_CHILD | WATCH_RECURSIVE);
}
END_TEST

/* ------------------------------------------------------------------ recursive watches */

START_TEST(recursive_hears_of_all_below) {
    create("/a", "", "");
    add(1, "/a", WATCH_RECURSIVE);
    create("/a/b", "1", "");
    create("/a/b/c", "1", "");
    create("/ab", "", "");
    change("/a/b/c", "1");
    change("/a", "1");
    change("/", "");
    delete("/a/b/c", "1", "");
    delete("/a/b", "1", "");
    delete("/a", "1", "");
    create("/a", "1", "");
    create("/a/x", "1", "");
}
END_TEST

START_TEST(recursive_at_the_root) {
    add(1, "/", WATCH_RECURSIVE);
    create("/a", "1", "");
    create("/a/b", "1", "");
    change("/", "1");
    delete("/a/b", "1", "");
    delete("/a", "1", "");
    ck_assert_uint_eq(modes(1, "/"), WATCH_RECURSIVE);
}
END_TEST

/* Once per watcher, whatever number of its watches the event meets on the way up. */
START_TEST(recursive_on_several_levels) {
    create("/a", "", "");
    create("/a/b", "", "");
    create("/a/b/c", "", "");
    add(1, "/", WATCH_RECURSIVE);
    add(1, "/a", WATCH_RECURSIVE);
    add(1, "/a/b/c", WATCH_RECURSIVE | WATCH_DATA);
    add(2, "/a/b/c", WATCH_DATA | WATCH_CHILD);
    add(2, "/a/b", WATCH_RECURSIVE);
    add(3, "/a", WATCH_RECURSIVE | WATCH_DATA | WATCH_CHILD);
    add(4, "/a", WATCH_DATA | WATCH_CHILD);
    change("/a/b/c", "1 2 3");
    ck_assert_uint_eq(modes(1, "/a/b/c"), WATCH_RECURSIVE);
    ck_assert_uint_eq(modes(2, "/a/b/c"), WATCH_CHILD);
    ck_assert_uint_eq(modes(3, "/a"), WATCH_RECURSIVE | WATCH_DATA | WATCH_CHILD); /* one-shots of an ancestor stay */
    delete("/a/b/c", "1 2 3", "");
    change("/a", "1 3 4");
}
END_TEST

/* Whole branches may be gone before their events come. */
START_TEST(recursive_above_missing_ancestors) {
    add(1, "/a/b", WATCH_RECURSIVE);
    add(2, "/a/b/c/d/e", WATCH_RECURSIVE);
    add(3, "/", WATCH_RECURSIVE);
    fire_at("/a/b/c/d", NULL, EVENT_NODE_DELETED);
    expect_told("1 3");
    fire_at("/a", NULL, EVENT_NODE_DELETED);
    expect_told("3");
    fire_at("/x", NULL, EVENT_NODE_DELETED);
    expect_told("3");
}
END_TEST

/* The stamps of the watchers start near their end, so that they run over here. */
START_TEST(many_firings) {
    create("/a", "", "");
    add(1, "/", WATCH_RECURSIVE);
    add(1, "/a", WATCH_DATA_PERSISTENT);
    add(2, "/a", WATCH_RECURSIVE);
    for (int i = 0; i < 3000; i++) {
        fire_at("/a", get(t, "/a"), EVENT_NODE_DATA_CHANGED);
        EXPECT(told_count == 2);
        if (i == 1500)
            add(1000, "/a", WATCH_DATA);
        if (i == 1501)
            watch_add(w, 5000, SLICE_LIT("/b"), NULL, WATCH_DATA); /* more watchers, more stamps */
        if (i == 1500) {
            change("/a", "1 2 1000");
        }
    }
}
END_TEST

/* ------------------------------------------------------------------ asking and removing */

START_TEST(get_and_remove) {
    create("/a", "", "");
    add(1, "/a", WATCH_DATA | PERSISTENT);
    add(2, "/a", WATCH_RECURSIVE);
    ck_assert_uint_eq(modes(1, "/a"), WATCH_DATA | PERSISTENT);
    ck_assert_uint_eq(modes(3, "/a"), 0);
    ck_assert_uint_eq(modes(1, "/"), 0);
    ck_assert_uint_eq(watch_remove(w, 1, SLICE_LIT("/a"), WATCH_RECURSIVE | WATCH_CHILD), 0);
    ck_assert_uint_eq(watch_remove(w, 1, SLICE_LIT("/a"), WATCH_DATA | WATCH_CHILD), WATCH_DATA);
    expect_counts(3, 2, 1);
    ck_assert_uint_eq(watch_remove(w, 1, SLICE_LIT("/a"), WATCH_ALL), PERSISTENT);
    ck_assert_uint_eq(watch_remove(w, 1, SLICE_LIT("/a"), WATCH_ALL), 0);
    ck_assert_uint_eq(watch_remove(w, 9, SLICE_LIT("/nowhere"), WATCH_ALL), 0);
    change("/a", "2");
    ck_assert_uint_eq(watch_remove(w, 2, SLICE_LIT("/a"), WATCH_ALL), WATCH_RECURSIVE);
    ck_assert(!marked("/a"));
    expect_counts(0, 0, 0);
}
END_TEST

/* operations.md: watches = pairs with a data mode and pairs with a child mode; paths = those with a data mode. */
START_TEST(counting) {
    expect_counts(0, 0, 0);
    add(1, "/a", WATCH_CHILD);
    expect_counts(1, 0, 0);
    add(1, "/a", WATCH_DATA);
    expect_counts(2, 1, 1);
    add(1, "/a", PERSISTENT | WATCH_RECURSIVE);
    expect_counts(2, 1, 1);
    add(2, "/a", WATCH_RECURSIVE);
    expect_counts(3, 2, 1);
    add(2, "/b", WATCH_DATA_PERSISTENT);
    expect_counts(4, 3, 2);
    watch_remove(w, 1, SLICE_LIT("/a"), DATA_MODES);
    expect_counts(3, 2, 2);
    watch_remove(w, 2, SLICE_LIT("/a"), DATA_MODES);
    expect_counts(2, 1, 1);
}
END_TEST

START_TEST(drop_in_slices) {
    for (int i = 0; i < 10; i++) {
        char path[8];
        snprintf(path, sizeof path, "/%d", i);
        add(1, path, WATCH_DATA);
        add(2, path, PERSISTENT);
    }
    ck_assert(!drop(1, 0));
    ck_assert(!drop(1, 4));
    ck_assert_uint_eq(watch_data_count(w), 16);
    ck_assert(!drop(1, 5));
    size_t heard = 0;
    for (int i = 0; i < 10; i++) {
        char path[8];
        snprintf(path, sizeof path, "/%d", i);
        fire_at(path, NULL, EVENT_NODE_CREATED);
        heard += told_count;
    }
    ck_assert_uint_eq(heard, 11); /* the one that is left is still told */
    ck_assert(drop(1, 1));
    ck_assert(drop(1, 100));
    ck_assert(drop(12345, 1));
    expect_counts(20, 10, 10);
    ck_assert(drop(2, 10));
    expect_counts(0, 0, 0);
}
END_TEST

START_TEST(drop_takes_from_the_budget) {
    size_t budget = 3;
    add(1, "/a", WATCH_DATA);
    add(1, "/b", WATCH_DATA);
    add(2, "/a", WATCH_DATA);
    add(2, "/b", WATCH_DATA);
    ck_assert(watch_drop(w, 1, &budget));
    ck_assert_uint_eq(budget, 1);
    ck_assert(!watch_drop(w, 2, &budget));
    ck_assert_uint_eq(budget, 0);
}
END_TEST

START_TEST(drop_exactly_all) {
    add(1, "/a", WATCH_DATA);
    ck_assert(drop(1, 1));
    add(1, "/b", WATCH_DATA); /* the slot's next life */
    ck_assert_uint_eq(modes(1, "/a"), 0);
    ck_assert_uint_eq(modes(1, "/b"), WATCH_DATA);
}
END_TEST

/* Everything by path, a few entries at a time; returns how many words there were. */
static uint32_t collect_paths(struct buf *out, int looks_at_once) {
    struct buf path = BUF_INIT, words = BUF_INIT;
    uint64_t cursor = 0;
    uint32_t count = 0;
    int looks = looks_at_once;
    while (watch_next(w, &cursor, &looks, &path, &words)) {
        for (size_t at = 0; at < words.len; at += sizeof(struct watch_word), count++) {
            struct watch_word word;
            memcpy(&word, words.data + at, sizeof word);
            if (out != NULL)
                buf_printf(out, "%.*s:%u:%u ", (int)path.len, (const char *)path.data, word.watcher, word.modes);
        }
        if (looks <= 0)
            looks = looks_at_once;
    }
    buf_free(&path);
    buf_free(&words);
    return count;
}

static void collect_of(uint32_t watcher, struct buf *out) {
    struct buf path = BUF_INIT, ids = BUF_INIT;
    watch_ids(w, watcher, &ids);
    for (size_t at = 0; at < ids.len; at += sizeof(uint32_t)) {
        uint32_t id;
        memcpy(&id, ids.data + at, sizeof id);
        unsigned m = watch_of_id(w, id, watcher, &path);
        buf_printf(out, "%.*s:%u:%u ", (int)path.len, (const char *)path.data, watcher, m);
    }
    buf_free(&path);
    buf_free(&ids);
}

static void expect_in(struct buf *b, const char *piece) {
    ck_assert_ptr_nonnull(memmem(b->data, b->len, piece, strlen(piece)));
}

START_TEST(iteration) {
    struct buf b = BUF_INIT;
    create("/a", "", "");
    create("/a/b", "", "");
    add(1, "/a/b", WATCH_DATA | WATCH_CHILD);
    add(2, "/a/b", WATCH_CHILD);
    add(3, "/a/b", WATCH_RECURSIVE);
    add(1, "/missing", WATCH_DATA_PERSISTENT);
    add(1, "/a", WATCH_CHILD);
    collect_paths(&b, 1);
    ck_assert_uint_eq(b.len, strlen("/a/b:1:3 /a/b:3:16 /missing:1:4 "));
    expect_in(&b, "/a/b:1:3 ");
    expect_in(&b, "/a/b:3:16 ");
    expect_in(&b, "/missing:1:4 ");
    buf_clear(&b);
    collect_of(1, &b);
    ck_assert_uint_eq(b.len, strlen("/a/b:1:3 /missing:1:4 /a:1:2 "));
    expect_in(&b, "/a:1:2 ");
    buf_clear(&b);
    collect_of(4, &b);
    collect_of(400000, &b);
    ck_assert_uint_eq(b.len, 0);
    buf_free(&b);
}
END_TEST

/* Between two pieces anything may happen. */
START_TEST(iteration_while_watches_come_and_go) {
    struct buf path = BUF_INIT, words = BUF_INIT, ids = BUF_INIT;
    uint64_t cursor = 0;
    int looks = 2, met = 0, pieces = 0;
    for (int i = 0; i < 100; i++) {
        char name[8];
        snprintf(name, sizeof name, "/%d", i);
        add(1, name, WATCH_DATA);
        add(2, name, WATCH_DATA);
    }
    while (watch_next(w, &cursor, &looks, &path, &words)) {
        met += words.len == 2 * sizeof(struct watch_word);
        looks = 2;
        char name[16];
        snprintf(name, sizeof name, "/%d", ++pieces + 1000);
        add(3, name, WATCH_DATA);
        snprintf(name, sizeof name, "/%d", pieces + 999);
        watch_remove(w, 3, slice_of(name), WATCH_ALL);
    }
    ck_assert_int_eq(met, 100);
    watch_ids(w, 1, &ids);
    ck_assert_uint_eq(ids.len, 100 * sizeof(uint32_t));
    while (!drop(1, 1000))
        ;
    for (size_t at = 0; at < ids.len; at += sizeof(uint32_t)) {
        uint32_t id;
        memcpy(&id, ids.data + at, sizeof id);
        ck_assert_uint_eq(watch_of_id(w, id, 1, &path), 0);
    }
    buf_free(&path);
    buf_free(&words);
    buf_free(&ids);
}
END_TEST

/* Flags that an earlier struct watches left behind do no harm. */
START_TEST(new_watches_over_an_old_tree) {
    create("/a", "", "");
    add(1, "/a", PERSISTENT);
    watches_free(w);
    w = watches_new(t);
    change("/a", "");
    add(2, "/a", WATCH_DATA);
    ck_assert_uint_eq(modes(1, "/a"), 0);
    change("/a", "2");
    delete("/a", "", "");
}
END_TEST

/* ------------------------------------------------------------------ many */

#define CROWD 100000u

static uint64_t fresh_memory(void) {
    struct watches *none = watches_new(t);
    uint64_t bytes = watch_memory(none);
    watches_free(none);
    return bytes;
}

START_TEST(crowd_on_one_path) {
    create("/a", "", "");
    for (uint32_t i = 0; i < CROWD; i++)
        add(i, "/a", i % 10 == 0 ? WATCH_DATA_PERSISTENT : WATCH_DATA);
    expect_counts(CROWD, CROWD, 1);
    uint64_t memory = watch_memory(w);
    ck_assert_uint_lt(memory, CROWD * (8 + 16 + 8));
    fire_at("/a", get(t, "/a"), EVENT_NODE_DATA_CHANGED);
    ck_assert_uint_eq(told_count, CROWD);
    for (uint32_t i = 0; i < CROWD; i++)
        EXPECT(told[i] == i);
    expect_counts(CROWD / 10, CROWD / 10, 1);
    ck_assert_uint_lt(watch_memory(w), memory - CROWD * 3);
    fire_at("/a", get(t, "/a"), EVENT_NODE_DATA_CHANGED);
    ck_assert_uint_eq(told_count, CROWD / 10);
    for (uint32_t i = 0; i < CROWD / 10; i++)
        EXPECT(told[i] == i * 10);
    for (uint32_t i = 0; i < CROWD; i++)
        EXPECT(drop(i, 1));
    expect_counts(0, 0, 0);
    ck_assert(!marked("/a"));
}
END_TEST

/* Large tables are moved piecemeal: all must be there at any stage of it, to be visited, fired and freed. */
START_TEST(crowd_at_every_size) {
    for (uint32_t i = 0; i < CROWD; i++) {
        add(i + 2, "/a", WATCH_DATA);
        /* This one comes and goes meanwhile; its number is also the mark of a slot that was moved. */
        EXPECT(watch_remove(w, 1, SLICE_LIT("/a"), WATCH_ALL) == (i % 2 ? WATCH_CHILD : 0));
        EXPECT(watch_count(w) == i + 1);
        if (i % 2 == 0)
            add(1, "/a", WATCH_CHILD);
        if (i % 997 == 0) {
            EXPECT(collect_paths(NULL, 1000000) == i + 1);
        }
    }
    for (uint32_t size = 20000; size < 60000; size += 1000) {
        fire_at("/a", NULL, EVENT_NODE_CREATED);
        EXPECT(told_count == (size == 20000 ? CROWD : size - 1000));
        EXPECT(watch_count(w) == 0);
        for (uint32_t i = 0; i < size; i++)
            add(i, "/a", WATCH_DATA);
    }
}
END_TEST

/* Each watcher watches many paths, so that a firing takes the entry out of many tables. */
START_TEST(crowd_on_several_paths) {
    char path[8];
    for (uint32_t i = 0; i < 500; i++) {
        for (int p = 0; p < 60; p++) {
            snprintf(path, sizeof path, "/%d", p);
            add(i, path, WATCH_DATA);
        }
    }
    for (int p = 59; p >= 0; p--) {
        snprintf(path, sizeof path, "/%d", p);
        fire_at(path, NULL, EVENT_NODE_CREATED);
        EXPECT(told_count == 500);
        EXPECT(watch_count(w) == (uint64_t)p * 500);
        EXPECT(p == 0 || modes(77, "/0") == WATCH_DATA);
    }
    for (uint32_t i = 0; i < 500; i++)
        EXPECT(drop(i, 0));
}
END_TEST

START_TEST(crowd_of_paths) {
    uint64_t before = fresh_memory();
    char path[32];
    for (uint32_t i = 0; i < CROWD; i++) {
        snprintf(path, sizeof path, "/path/%u", i);
        watch_add(w, 7, slice_of(path), NULL, WATCH_DATA);
    }
    expect_counts(CROWD, CROWD, CROWD);
    for (uint32_t i = 0; i < CROWD; i++) {
        snprintf(path, sizeof path, "/path/%u", i);
        EXPECT(modes(7, path) == WATCH_DATA);
        if (i % 2) {
            fire_at(path, NULL, EVENT_NODE_CREATED);
            EXPECT(told_count == 1);
        }
    }
    expect_counts(CROWD / 2, CROWD / 2, CROWD / 2);
    while (!drop(7, 1000))
        ;
    expect_counts(0, 0, 0);
    ck_assert_uint_lt(watch_memory(w), before + 128 * 1024); /* all but one chunk and one block of heads is given back */
}
END_TEST

/* Entries that are given back are used again, wherever they were. */
START_TEST(paths_come_and_go) {
    struct rng r = {3};
    char path[32];
    uint64_t memory = 0;
    for (uint32_t i = 0; i < 200000; i++) {
        uint64_t k = rng_below(&r, 40000); /* fixed width: equal path copies */
        snprintf(path, sizeof path, "/%05u", (unsigned)k);
        watch_add(w, (uint32_t)k, slice_of(path), NULL, WATCH_DATA);
        k = rng_below(&r, 40000);
        snprintf(path, sizeof path, "/%05u", (unsigned)k);
        watch_remove(w, (uint32_t)k, slice_of(path), WATCH_ALL);
        if (i == 150000)
            memory = watch_memory(w);
    }
    ck_assert_uint_lt(watch_memory(w), memory + memory / 8);
    ck_assert_uint_gt(watch_count(w), 15000);
}
END_TEST

/* The targets: 64 bytes for a watch on a path of its own, 16 for one of many on the same path. At any number of watches,
 * not only at lucky ones. */
START_TEST(memory_per_watch) {
    char path[32];
    for (uint32_t i = 0; i < CROWD; i++) {
        snprintf(path, sizeof path, "/%u", i);
        EXPECT(put(t, path, "", ++zxid) == ZK_OK);
        add(_i ? i : 0, path, WATCH_DATA);
        EXPECT(i < 10000 || watch_memory(w) < (uint64_t)i * 64);
    }
    while (_i == 0 && !drop(0, CROWD))
        ;
    for (uint32_t i = 0; _i == 0 && i < 2000; i++) {
        for (uint32_t k = 0; k < 500; k++) {
            snprintf(path, sizeof path, "/%u", k);
            add(i, path, WATCH_DATA);
        }
        EXPECT(i < 500 || watch_memory(w) < (uint64_t)i * 500 * 16);
    }
}
END_TEST

/* Sets that grow and shrink through all their shapes, against a plain array: first many watchers of one path, then one
 * watcher of many paths. */
START_TEST(large_sets_against_a_model) {
    enum { N = 120000 };
    static uint8_t model[N];
    struct rng r = {(uint64_t)_i};
    bool by_path = _i == 1;
    uint64_t count = 0;
    memset(model, 0, sizeof model);
    char path[32];
    for (int step = 0; step < 700000; step++) {
        uint32_t k = (uint32_t)rng_below(&r, N);
        int phase = step / 100000;
        unsigned mode = rng_below(&r, 2) ? WATCH_DATA : WATCH_CHILD_PERSISTENT;
        snprintf(path, sizeof path, "/%u", by_path ? k : 0);
        uint32_t watcher = by_path ? 3 : k;
        if (rng_below(&r, 10) < (phase % 2 ? 1 : 9)) {
            watch_add(w, watcher, slice_of(path), NULL, mode);
            count += (model[k] & mode) == 0;
            model[k] |= (uint8_t)mode;
        } else {
            unsigned was = watch_remove(w, watcher, slice_of(path), mode);
            EXPECT(was == (model[k] & mode));
            count -= was != 0;
            model[k] &= (uint8_t)~mode;
        }
        EXPECT(watch_count(w) == count);
        k = (uint32_t)rng_below(&r, N);
        snprintf(path, sizeof path, "/%u", by_path ? k : 0);
        EXPECT(modes(by_path ? 3 : k, path) == model[k]);
    }
    if (!by_path) {
        fire_at("/0", NULL, EVENT_NODE_CREATED);
        size_t n = 0;
        for (uint32_t k = 0; k < N; k++)
            if (model[k] & WATCH_DATA)
                EXPECT(n < told_count && told[n++] == k);
        ck_assert_uint_eq(n, told_count);
    }
    for (uint32_t k = 0; k < (by_path ? 4 : N); k++)
        while (!drop(k, 777))
            ;
    expect_counts(0, 0, 0);
}
END_TEST

/* ------------------------------------------------------------------ against a naive model */

#define WATCHERS 40
#define PATHS 40

static char paths[PATHS][64];
static uint8_t model[PATHS][WATCHERS];

/* The root and three levels below: /x, /x/y, /x/y/z, with three names each. */
static void make_paths(void) {
    snprintf(paths[0], sizeof paths[0], "/");
    for (int i = 0; i < 3; i++)
        snprintf(paths[1 + i], sizeof paths[0], "/%d", i);
    for (int i = 0; i < 9; i++)
        snprintf(paths[4 + i], sizeof paths[0], "/%d/%d", i / 3, i % 3);
    for (int i = 0; i < 27; i++)
        snprintf(paths[13 + i], sizeof paths[0], "/%d/%d/%d", i / 9, i / 3 % 3, i % 3);
}

static bool below(const char *path, const char *ancestor) {
    size_t n = strlen(ancestor);
    return n == 1 || (strncmp(path, ancestor, n) == 0 && path[n] == '/');
}

/* What the model says that the last firing should have told, and what it left. */
static void check_fired(int p, enum event_type type) {
    static const unsigned look[] = {0, DATA_MODES, WATCH_ALL, DATA_MODES, CHILD_MODES};
    size_t n = 0;
    for (uint32_t k = 0; k < WATCHERS; k++) {
        bool hears = (model[p][k] & look[type]) != 0;
        for (int a = 0; a < PATHS && type != EVENT_NODE_CHILDREN_CHANGED; a++)
            hears |= a != p && (model[a][k] & WATCH_RECURSIVE) && below(paths[p], paths[a]);
        if (hears)
            EXPECT(n < told_count && told[n++] == k);
        model[p][k] &= (uint8_t) ~(look[type] & (WATCH_DATA | WATCH_CHILD));
    }
    EXPECT(n == told_count);
}

static int index_of(const char *path) {
    for (int i = 0; i < PATHS; i++)
        if (strcmp(paths[i], path) == 0)
            return i;
    return -1;
}

static void fire_checked(int p, enum event_type type) {
    fire_at(paths[p], get(t, paths[p]), type);
    check_fired(p, type);
}

static void check_model(void) {
    uint64_t all = 0, data = 0, data_paths = 0;
    for (int p = 0; p < PATHS; p++) {
        uint64_t before = data;
        bool any = false;
        for (uint32_t k = 0; k < WATCHERS; k++) {
            EXPECT(modes(k, paths[p]) == model[p][k]);
            data += (model[p][k] & DATA_MODES) != 0;
            all += (model[p][k] & CHILD_MODES) != 0;
            any |= model[p][k] != 0;
        }
        data_paths += data > before;
        EXPECT(get(t, paths[p]) == NULL || marked(paths[p]) == any);
    }
    EXPECT(watch_count(w) == all + data && watch_data_count(w) == data && watch_path_count(w) == data_paths);
}

static void random_change(struct rng *r) {
    int p = (int)rng_below(r, PATHS);
    struct znode *n = get(t, paths[p]);
    if (p == 0 || rng_below(r, 3) == 0) {
        if (n != NULL)
            fire_checked(p, EVENT_NODE_DATA_CHANGED);
        return;
    }
    if (n == NULL && put(t, paths[p], "", ++zxid) == ZK_OK) {
        fire_checked(p, EVENT_NODE_CREATED);
    } else if (n != NULL && znode_children(n) == 0) {
        if (n->flags & ZNODE_WATCHED)
            watch_node_leaves(w, n, slice_of(paths[p]));
        tree_delete_node(t, n, ++zxid);
        fire_checked(p, EVENT_NODE_DELETED);
    } else {
        return;
    }
    fire_checked(index_of(parent_of(paths[p])), EVENT_NODE_CHILDREN_CHANGED);
}

static void random_watch(struct rng *r, bool recursive) {
    int p = (int)rng_below(r, PATHS);
    uint32_t k = (uint32_t)rng_below(r, WATCHERS);
    unsigned m = 1u << rng_below(r, recursive ? 5 : 4);
    if (rng_below(r, 4) > 0) {
        add(k, paths[p], m);
        model[p][k] |= (uint8_t)m;
    } else {
        m = rng_below(r, 2) ? m : WATCH_ALL;
        EXPECT(watch_remove(w, k, slice_of(paths[p]), m) == (model[p][k] & m));
        model[p][k] &= (uint8_t)~m;
    }
}

/* Drops a few of a watcher's entries, whichever they are: the model follows. */
static void random_drop(struct rng *r) {
    uint32_t k = (uint32_t)rng_below(r, WATCHERS);
    size_t most = (size_t)rng_below(r, 10), gone = 0, left = 0;
    bool done = drop(k, most);
    for (int p = 0; p < PATHS; p++) {
        unsigned now = modes(k, paths[p]);
        EXPECT(now == 0 || now == model[p][k]);
        gone += now != model[p][k];
        left += now != 0;
        model[p][k] = (uint8_t)now;
    }
    EXPECT(gone <= most && done == (left == 0) && (done || gone == most));
}

START_TEST(against_a_naive_model) {
    struct rng r = {(uint64_t)_i * 7919 + 1};
    make_paths();
    memset(model, 0, sizeof model);
    for (int step = 0; step < 15000; step++) {
        uint64_t what = rng_below(&r, 100);
        if (what < 50)
            random_watch(&r, _i % 2 == 0);
        else if (what < 97)
            random_change(&r);
        else
            random_drop(&r);
        if (step % 16 == 0)
            check_model();
    }
    check_model();
}
END_TEST

static void add_semantics(Suite *s) {
    TCase *tc = tcase_create("events");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, each_mode_and_event, 0, ARRAY_LEN(rules));
    tcase_add_test(tc, nobody_watches);
    tcase_add_test(tc, several_watchers_of_a_path);
    tcase_add_test(tc, one_event_per_watcher);
    tcase_add_test(tc, one_shot_beside_persistent);
    tcase_add_test(tc, persistent_outlives_the_node);
    tcase_add_test(tc, child_watch_of_the_parent);
    tcase_add_test(tc, exists_watch_on_a_missing_node);
    tcase_add_test(tc, surviving_watch_is_bound_at_creation);
    tcase_add_test(tc, watch_added_after_creation_joins_the_entry);
    tcase_add_test(tc, leaving_node_keeps_its_watches_by_path);
    tcase_add_test(tc, odd_paths);
    tcase_add_test(tc, empty_path_never_fires);
    tcase_add_test(tc, recursive_hears_of_all_below);
    tcase_add_test(tc, recursive_at_the_root);
    tcase_add_test(tc, recursive_on_several_levels);
    tcase_add_test(tc, recursive_above_missing_ancestors);
    tcase_add_test(tc, many_firings);
    suite_add_tcase(s, tc);

    tc = tcase_create("asking and removing");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, get_and_remove);
    tcase_add_test(tc, counting);
    tcase_add_test(tc, drop_in_slices);
    tcase_add_test(tc, drop_takes_from_the_budget);
    tcase_add_test(tc, drop_exactly_all);
    tcase_add_test(tc, iteration);
    tcase_add_test(tc, iteration_while_watches_come_and_go);
    tcase_add_test(tc, new_watches_over_an_old_tree);
    suite_add_tcase(s, tc);
}

static void add_many(Suite *s) {
    TCase *tc = tcase_create("many");
    tcase_set_timeout(tc, 300); /* valgrind */
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, crowd_on_one_path);
    tcase_add_test(tc, crowd_at_every_size);
    tcase_add_test(tc, crowd_on_several_paths);
    tcase_add_test(tc, crowd_of_paths);
    tcase_add_test(tc, paths_come_and_go);
    tcase_add_loop_test(tc, memory_per_watch, 0, 2);
    tcase_add_loop_test(tc, large_sets_against_a_model, 0, 2);
    tcase_add_loop_test(tc, against_a_naive_model, 0, 6);
    suite_add_tcase(s, tc);
}

int main(void) {
    Suite *s = suite_create("watch");
    add_semantics(s);
    add_many(s);
    int result = run_suite(s);
    free(told);
    return result;
}
