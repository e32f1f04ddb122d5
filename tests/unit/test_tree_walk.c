/* The walk behind snapshots: it sees the tree exactly as it was at its start. */
#include <inttypes.h>
#include <stdio.h>

#include "tree_help.h"

/* What a walk has emitted, as text: "path=data@version" and a blank for each node. */
struct record {
    struct buf text;
    size_t nodes;
};

static void record_node(void *ctx, struct slice path, const struct znode *n) {
    struct record *r = ctx;
    struct slice data = znode_data(n);
    buf_printf(&r->text, "%.*s=%.*s@%d ", (int)path.len, path.len ? path.data : "", (int)data.len,
               data.len ? data.data : "", n->version);
    r->nodes++;
}

static void finish(struct tree_walk *w) {
    while (!tree_walk_step(w, 1))
        ;
    tree_walk_end(w);
}

static bool has(const struct record *r, const char *entry) {
    struct buf b = BUF_INIT;
    buf_printf(&b, "%.*s%c", (int)r->text.len, (const char *)r->text.data, 0);
    const char *found = strstr((const char *)b.data, entry);
    size_t len = strlen(entry);
    bool once = found != NULL && strstr(found + len, entry) == NULL;
    buf_free(&b);
    return once;
}
#define EXPECT_ENTRY(r, entry)                                                                                         \
    ck_assert_msg(has((r), (entry " ")), "%s not once in %.*s", entry, (int)(r)->text.len, (r)->text.data)
#define EXPECT_TEXT(r, want)                                                                                           \
    ck_assert_msg(slice_is(buf_slice(&(r)->text), (want)), "%.*s", (int)(r)->text.len, (r)->text.data)

/* /a, /a/b, /a/c, /d with data equal to their names. */
static struct tree *small_tree(void) {
    struct tree *t = new_tree();
    put(t, "/a", "a", 1);
    put(t, "/a/b", "b", 2);
    put(t, "/a/c", "c", 3);
    put(t, "/d", "d", 4);
    return t;
}
#define SYSTEM_TEXT "=@0 /zookeeper=@0 /zookeeper/quota=@0 /zookeeper/config=@0 "

START_TEST(pre_order) {
    struct tree *t = small_tree();
    struct record r = {0};
    struct tree_walk *w = tree_walk_begin(t, record_node, &r);
    ck_assert(!tree_walk_step(w, 0));
    ck_assert_uint_eq(r.nodes, 0);
    finish(w);
    EXPECT_TEXT(&r, SYSTEM_TEXT "/a=a@0 /a/b=b@0 /a/c=c@0 /d=d@0 ");
    buf_free(&r.text);
    tree_free(t);
}
END_TEST

START_TEST(one_at_a_time) {
    struct tree *t = small_tree();
    struct record r = {0};
    struct tree_walk *w = tree_walk_begin(t, record_node, &r);
    ck_assert_ptr_null(tree_walk_begin(t, record_node, &r));
    tree_walk_end(w);
    w = tree_walk_begin(t, record_node, &r);
    ck_assert_ptr_nonnull(w);
    finish(w);
    ck_assert_uint_eq(r.nodes, 8);
    buf_free(&r.text);
    tree_free(t);
}
END_TEST

START_TEST(slices_are_bounded) {
    struct tree *t = small_tree();
    struct record r = {0};
    struct tree_walk *w = tree_walk_begin(t, record_node, &r);
    for (size_t before = 0; !tree_walk_step(w, 2); before = r.nodes)
        ck_assert_uint_le(r.nodes, before + 2);
    ck_assert(tree_walk_step(w, 1)); /* stays at the end */
    ck_assert_uint_eq(r.nodes, 8);
    tree_walk_end(w);
    buf_free(&r.text);
    tree_free(t);
}
END_TEST

START_TEST(change_emits_the_old_state) {
    struct tree *t = small_tree();
    struct record r = {0};
    struct tree_walk *w = tree_walk_begin(t, record_node, &r);
    set(t, "/a/c", "new", 5);
    EXPECT_TEXT(&r, "=@0 /a=a@0 /a/c=c@0 "); /* ancestors first */
    set(t, "/a/c", "newer", 6);
    ck_assert_uint_eq(r.nodes, 3);
    finish(w);
    ck_assert_uint_eq(r.nodes, 8);
    EXPECT_ENTRY(&r, "/a/b=b@0");
    EXPECT_ENTRY(&r, "/a/c=c@0");
    buf_free(&r.text);
    tree_free(t);
}
END_TEST

START_TEST(deletion_emits_the_node) {
    struct tree *t = small_tree();
    struct record r = {0};
    struct tree_walk *w = tree_walk_begin(t, record_node, &r);
    del(t, "/a/b", 5);
    del(t, "/a/c", 6);
    del(t, "/a", 7);
    EXPECT_TEXT(&r, "=@0 /a=a@0 /a/b=b@0 /a/c=c@0 ");
    finish(w);
    ck_assert_uint_eq(r.nodes, 8);
    buf_free(&r.text);
    tree_free(t);
}
END_TEST

START_TEST(newborn_nodes_are_left_out) {
    struct tree *t = small_tree();
    struct record r = {0};
    struct tree_walk *w = tree_walk_begin(t, record_node, &r);
    put(t, "/a/new", "x", 5);
    put(t, "/a/new/below", "x", 6);
    set(t, "/a/new", "y", 7);
    put(t, "/z", "x", 8);
    del(t, "/z", 9);
    del(t, "/d", 10);
    put(t, "/d", "again", 11);
    set(t, "/d", "again and again", 12);
    finish(w);
    ck_assert_uint_eq(r.nodes, 8);
    EXPECT_ENTRY(&r, "/d=d@0");
    w = tree_walk_begin(t, record_node, &r); /* the next walk does see them */
    finish(w);
    ck_assert_uint_eq(r.nodes, 8 + 10);
    EXPECT_ENTRY(&r, "/a/new/below=x@0");
    buf_free(&r.text);
    tree_free(t);
}
END_TEST

/* setACL, the parent's side of create and delete, and a create of an existing node change what a snapshot holds, too. */
START_TEST(every_kind_of_change_asks_the_walk) {
    for (int kind = 0; kind < 5; kind++) {
        struct tree *t = small_tree();
        struct record r = {0};
        struct tree_create again = {.path = SLICE_LIT("/a/b"), .acl = ACL_READ, .parent_cversion = 9, .zxid = 9};
        struct tree_walk *w = tree_walk_begin(t, record_node, &r);
        if (kind == 0)
            tree_set_acl(t, get(t, "/a"), ACL_READ, 1);
        else if (kind == 1)
            put(t, "/a/x", "", 9);
        else if (kind == 2)
            del(t, "/a/missing", 9);
        else if (kind == 3)
            ck_assert_int_eq(tree_create(t, &again, 0, NULL), ZK_NODE_EXISTS);
        else
            del(t, "/a/b", 9);
        ck_assert_uint_eq(r.nodes, kind < 3 ? 2 : 3);
        EXPECT_ENTRY(&r, "/a=a@0");
        finish(w);
        ck_assert_uint_eq(r.nodes, 8);
        buf_free(&r.text);
        tree_free(t);
    }
}
END_TEST

/* No change of the stored state, no early emission: the parent is ahead of the transaction. */
START_TEST(replay_that_changes_nothing) {
    struct tree *t = small_tree();
    struct record r = {0};
    struct tree_walk *w = tree_walk_begin(t, record_node, &r);
    del(t, "/a/missing", 1);
    ck_assert_uint_eq(r.nodes, 0);
    tree_walk_end(w);
    tree_free(t);
}
END_TEST

/* The node whose children are being visited loses them all and goes itself. */
START_TEST(top_of_the_stack_is_deleted) {
    for (size_t steps = 0; steps < 12; steps++) {
        struct tree *t = small_tree();
        struct record r = {0};
        put(t, "/a/b/x", "x", 5);
        struct tree_walk *w = tree_walk_begin(t, record_node, &r);
        tree_walk_step(w, steps);
        del(t, "/a/b/x", 6);
        del(t, "/a/b", 7);
        del(t, "/a/c", 8);
        tree_walk_step(w, 1);
        del(t, "/a", 9);
        put(t, "/a", "again", 10);
        put(t, "/a/b", "again", 11);
        finish(w);
        ck_assert_uint_eq(r.nodes, 9);
        EXPECT_ENTRY(&r, "/a/b/x=x@0");
        EXPECT_ENTRY(&r, "/a=a@0");
        check_tree(t);
        buf_free(&r.text);
        tree_free(t);
    }
}
END_TEST

START_TEST(aborted_walk_leaves_no_trace) {
    for (size_t steps = 0; steps < 12; steps++) {
        struct tree *t = small_tree();
        struct record r = {0};
        struct tree_walk *w = tree_walk_begin(t, record_node, &r);
        tree_walk_step(w, steps);
        put(t, "/a/new", "x", 5);
        tree_walk_end(w);
        buf_clear(&r.text);
        del(t, "/a/c", 6);
        del(t, "/a/b", 7);
        del(t, "/a/new", 8);
        ck_assert_ptr_null(get(t, "/a")->kids); /* no pin is left */
        check_tree(t);
        w = tree_walk_begin(t, record_node, &r);
        finish(w);
        EXPECT_TEXT(&r, SYSTEM_TEXT "/a=a@0 /d=d@0 ");
        buf_free(&r.text);
        tree_free(t);
    }
}
END_TEST

START_TEST(wide_parent_under_change) {
    struct tree *t = new_tree();
    struct record r = {0};
    char path[32];
    put(t, "/w", "", 1);
    for (int i = 0; i < 1000; i++) {
        snprintf(path, sizeof path, "/w/%d", i);
        put(t, path, "old", 2);
    }
    struct tree_walk *w = tree_walk_begin(t, record_node, &r);
    for (int i = 0; i < 1000; i++) {
        tree_walk_step(w, 1);
        snprintf(path, sizeof path, "/w/%d", (i * 7) % 1000);
        ck_assert_int_eq(del(t, path, 3), ZK_OK);
        put(t, path, "new", 4);
    }
    check_tree(t);
    finish(w);
    ck_assert_uint_eq(r.nodes, 1005);
    for (int i = 0; i < 20; i++) { /* the holes are filled as the vector goes on living */
        snprintf(path, sizeof path, "/w/%d", i);
        del(t, path, 5);
        check_tree(t);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(path, sizeof path, "/w/x%d", i);
        put(t, path, "", 6);
    }
    check_tree(t);
    buf_free(&r.text);
    tree_free(t);
}
END_TEST

START_TEST(holes_go_away) {
    struct tree *t = new_tree();
    struct record r = {0};
    char path[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(path, sizeof path, "/%d", i);
        put(t, path, "", 2);
    }
    struct tree_walk *w = tree_walk_begin(t, record_node, &r);
    tree_walk_step(w, 1);
    for (int i = 0; i < 1000; i++) {
        snprintf(path, sizeof path, "/%d", i);
        if (i % 2 || i >= 800)
            del(t, path, 3);
    }
    const struct kids *k = tree_root(t)->kids;
    ck_assert(k->used == 1001 && k->live == 401);
    tree_walk_end(w);
    for (int i = 0; i < 400; i += 2) {
        snprintf(path, sizeof path, "/%d", i);
        del(t, path, 4);
    }
    k = tree_root(t)->kids;
    ck_assert(k->used == k->live && k->live == 201);
    ck_assert_uint_le(k->cap, 1024);
    check_tree(t);
    buf_free(&r.text);
    tree_free(t);
}
END_TEST

START_TEST(load_of_a_walk_during_changes) {
    struct tree *t = small_tree();
    uint64_t digest = tree_digest(t);
    struct copier c = {t, tree_new_empty(tree_options(t))};
    struct tree_walk *w = tree_walk_begin(t, copy_node, &c);
    tree_walk_step(w, 3);
    set(t, "/a/c", "later", 9);
    del(t, "/d", 10);
    put(t, "/e", "", 11);
    finish(w);
    tree_load_done(c.to);
    ck_assert_uint_eq(tree_digest(c.to), digest);
    check_tree(c.to);
    tree_free(c.to);
    tree_free(t);
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("walk");
    tcase_add_test(tc, pre_order);
    tcase_add_test(tc, one_at_a_time);
    tcase_add_test(tc, slices_are_bounded);
    tcase_add_test(tc, change_emits_the_old_state);
    tcase_add_test(tc, deletion_emits_the_node);
    tcase_add_test(tc, newborn_nodes_are_left_out);
    tcase_add_test(tc, every_kind_of_change_asks_the_walk);
    tcase_add_test(tc, replay_that_changes_nothing);
    tcase_add_test(tc, top_of_the_stack_is_deleted);
    tcase_add_test(tc, aborted_walk_leaves_no_trace);
    tcase_add_test(tc, wide_parent_under_change);
    tcase_add_test(tc, holes_go_away);
    tcase_add_test(tc, load_of_a_walk_during_changes);
    tcase_set_timeout(tc, 120);
    Suite *suite = suite_create("tree walk");
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
