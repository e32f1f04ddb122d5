/* Listings that are given out piecemeal while the tree goes on changing. */
#include <stdio.h>

#include "tree_help.h"

static void fill(struct tree *t, const char *parent, int from, int to) {
    char path[64];
    for (int i = from; i < to; i++) {
        snprintf(path, sizeof path, "%s/n%d", parent, i);
        ck_assert_int_eq(put(t, path, "", 2), ZK_OK);
    }
}
static void clear(struct tree *t, const char *parent, int from, int to) {
    char path[64];
    for (int i = from; i < to; i++) {
        snprintf(path, sizeof path, "%s/n%d", parent, i);
        ck_assert_int_eq(del(t, path, 3), ZK_OK);
    }
}
static struct tree *tree_with(int children) {
    struct tree *t = new_tree();
    put(t, "/p", "", 1);
    fill(t, "/p", 0, children);
    return t;
}

/* The names n0 to n<count - 1>, each once, and nothing else. */
static void expect_names(const struct buf *out, int count) {
    bool *seen = calloc((size_t)count + 1, sizeof *seen);
    struct jute_in in = jute_in(out->data, out->len);
    int names = 0;
    for (; jute_left(&in) > 0; names++) {
        struct slice name = jute_bytes_not_null(&in);
        int64_t i = -1;
        ck_assert(!in.failed && name.data[0] == 'n');
        ck_assert(str_to_i64((struct slice){name.data + 1, name.len - 1}, &i));
        ck_assert(i >= 0 && i < count && !seen[i]);
        seen[i] = true;
    }
    ck_assert_int_eq(names, count);
    free(seen);
}

static void finish(struct tree_listing *l, struct buf *out, int count) {
    while (!tree_listing_next(l, out, 5))
        ;
    expect_names(out, count);
    ck_assert_uint_eq(out->len, tree_listing_name_bytes(l) + 4 * (size_t)count);
    ck_assert_int_eq((int)tree_listing_count(l), count);
    tree_listing_free(l);
    buf_free(out);
}

START_TEST(all_at_once) {
    struct tree *t = tree_with(100);
    struct buf out = BUF_INIT;
    tree_children_put(get(t, "/p"), &out);
    expect_names(&out, 100);
    buf_clear(&out);
    tree_children_put(get(t, "/p/n1"), &out);
    ck_assert_uint_eq(out.len, 0);
    struct tree_listing *l = tree_listing_new(t, get(t, "/p"));
    ck_assert(tree_listing_next(l, &out, SIZE_MAX));
    finish(l, &out, 100);
    tree_free(t);
}
END_TEST

START_TEST(no_children) {
    struct tree *t = tree_with(0);
    struct buf out = BUF_INIT;
    struct tree_listing *l = tree_listing_new(t, get(t, "/p"));
    fill(t, "/p", 0, 3);
    ck_assert(tree_listing_next(l, &out, 0));
    finish(l, &out, 0);
    tree_free(t);
}
END_TEST

START_TEST(pieces_have_the_size_asked_for) {
    struct tree *t = tree_with(10);
    struct buf out = BUF_INIT;
    struct tree_listing *l = tree_listing_new(t, get(t, "/p"));
    ck_assert(!tree_listing_next(l, &out, 0));
    ck_assert_uint_eq(out.len, 0);
    ck_assert(!tree_listing_next(l, &out, 1));
    ck_assert_uint_eq(out.len, 6);
    ck_assert(!tree_listing_next(l, &out, 7));
    ck_assert_uint_eq(out.len, 18);
    ck_assert(!tree_listing_next(l, &out, 12));
    ck_assert_uint_eq(out.len, 30);
    ck_assert(tree_listing_next(l, &out, 30));
    finish(l, &out, 10);
    tree_free(t);
}
END_TEST

START_TEST(later_children_are_left_out) {
    struct tree *t = tree_with(10);
    struct buf out = BUF_INIT;
    struct tree_listing *l = tree_listing_new(t, get(t, "/p"));
    tree_listing_next(l, &out, 20);
    clear(t, "/p", 0, 2);
    fill(t, "/p", 10, 30); /* must not use the gaps */
    finish(l, &out, 10);
    check_tree(t);
    tree_free(t);
}
END_TEST

START_TEST(deleted_children_are_remembered) {
    for (int deleted = 0; deleted <= 50; deleted++) {
        struct tree *t = tree_with(50);
        struct buf out = BUF_INIT;
        struct tree_listing *l = tree_listing_new(t, get(t, "/p"));
        tree_listing_next(l, &out, 60);
        clear(t, "/p", 0, deleted);
        tree_listing_next(l, &out, 60);
        clear(t, "/p", deleted, 50);
        finish(l, &out, 50);
        ck_assert_ptr_null(get(t, "/p")->kids);
        check_tree(t);
        tree_free(t);
    }
}
END_TEST

START_TEST(recreated_child_is_listed_once) {
    struct tree *t = tree_with(10);
    struct buf out = BUF_INIT;
    struct tree_listing *l = tree_listing_new(t, get(t, "/p"));
    for (int i = 0; i < 5; i++) {
        clear(t, "/p", 3, 8);
        fill(t, "/p", 3, 8);
        tree_listing_next(l, &out, 6);
    }
    finish(l, &out, 10);
    check_tree(t);
    tree_free(t);
}
END_TEST

START_TEST(parent_is_deleted) {
    for (size_t given = 0; given < 70; given += 6) {
        struct tree *t = tree_with(10);
        struct buf out = BUF_INIT;
        struct tree_listing *l = tree_listing_new(t, get(t, "/p"));
        tree_listing_next(l, &out, given);
        clear(t, "/p", 0, 10);
        ck_assert_int_eq(del(t, "/p", 4), ZK_OK);
        put(t, "/p", "", 5);
        fill(t, "/p", 0, 3);
        finish(l, &out, 10);
        tree_free(t);
    }
}
END_TEST

START_TEST(freed_before_the_end) {
    struct tree *t = tree_with(10);
    struct buf out = BUF_INIT;
    struct tree_listing *l = tree_listing_new(t, get(t, "/p"));
    tree_listing_next(l, &out, 20);
    clear(t, "/p", 0, 9);
    tree_listing_free(l);
    tree_listing_free(NULL);
    ck_assert_uint_eq(get(t, "/p")->kids->pins, 0);
    clear(t, "/p", 9, 10);
    ck_assert_ptr_null(get(t, "/p")->kids);
    buf_free(&out);
    tree_free(t);
}
END_TEST

START_TEST(several_of_one_parent) {
    struct tree *t = tree_with(30);
    struct buf out[4] = {BUF_INIT, BUF_INIT, BUF_INIT, BUF_INIT};
    struct tree_listing *l[4];
    for (int i = 0; i < 4; i++) {
        l[i] = tree_listing_new(t, get(t, "/p")); /* n0 to n<29 + i> */
        tree_listing_next(l[i], &out[i], (size_t)i * 30);
        fill(t, "/p", 30 + i, 31 + i);
    }
    clear(t, "/p", 0, 20);
    finish(l[1], &out[1], 31); /* out of the middle of the list, then its ends */
    clear(t, "/p", 20, 25);
    finish(l[3], &out[3], 33);
    finish(l[0], &out[0], 30);
    clear(t, "/p", 25, 34);
    finish(l[2], &out[2], 32);
    check_tree(t);
    tree_free(t);
}
END_TEST

START_TEST(together_with_a_walk) {
    struct tree *t = tree_with(20);
    struct copier c = {t, tree_new_empty(tree_options(t))};
    struct buf out = BUF_INIT;
    uint64_t digest = tree_digest(t);
    struct tree_walk *w = tree_walk_begin(t, copy_node, &c);
    tree_walk_step(w, 9);
    struct tree_listing *l = tree_listing_new(t, get(t, "/p"));
    tree_listing_next(l, &out, 30);
    clear(t, "/p", 0, 10);
    fill(t, "/p", 20, 25);
    while (!tree_walk_step(w, 3))
        ;
    tree_walk_end(w);
    clear(t, "/p", 10, 25);
    del(t, "/p", 9);
    finish(l, &out, 20);
    tree_load_done(c.to);
    ck_assert_uint_eq(tree_digest(c.to), digest);
    tree_free(c.to);
    tree_free(t);
}
END_TEST

START_TEST(different_parents) {
    struct tree *t = tree_with(10);
    struct buf a = BUF_INIT, b = BUF_INIT;
    put(t, "/q", "", 1);
    fill(t, "/q", 0, 5);
    struct tree_listing *la = tree_listing_new(t, get(t, "/p")), *lb = tree_listing_new(t, get(t, "/q"));
    clear(t, "/q", 0, 5);
    del(t, "/q", 5);
    clear(t, "/p", 5, 10);
    finish(lb, &b, 5);
    finish(la, &a, 10);
    tree_free(t);
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("listing");
    tcase_add_test(tc, all_at_once);
    tcase_add_test(tc, no_children);
    tcase_add_test(tc, pieces_have_the_size_asked_for);
    tcase_add_test(tc, later_children_are_left_out);
    tcase_add_test(tc, deleted_children_are_remembered);
    tcase_add_test(tc, recreated_child_is_listed_once);
    tcase_add_test(tc, parent_is_deleted);
    tcase_add_test(tc, freed_before_the_end);
    tcase_add_test(tc, several_of_one_parent);
    tcase_add_test(tc, together_with_a_walk);
    tcase_add_test(tc, different_parents);
    tcase_set_timeout(tc, 120);
    Suite *suite = suite_create("tree listing");
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
