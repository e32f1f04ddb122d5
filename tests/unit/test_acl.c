/* src/tree/acl: interned lists. See docs/protocol/disk-format.md section 4 and operations.md section 10. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "tree/acl.h"

/* For the long loops: a ck_assert tells the parent process each time that it was there. */
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            ck_abort_msg("%s", #condition);                                                                            \
    } while (0)

static struct acl_table *t;
static struct buf text;

static void setup(void) { t = acl_table_new(); }
static void teardown(void) {
    acl_table_free(t);
    buf_free(&text);
}

/* An encoded list, valid until the next call. count entries of (perms, scheme, id). */
static struct slice list(size_t count, const struct acl_entry *entries) {
    buf_clear(&text);
    jute_put_int(&text, (int32_t)count);
    for (size_t i = 0; i < count; i++)
        acl_entry_put(&text, &entries[i]);
    return (struct slice){(const char *)text.data, text.len};
}

static struct slice one(int32_t perms, const char *scheme, const char *id) {
    return list(1, &(struct acl_entry){perms, slice_of(scheme), slice_of(id)});
}

START_TEST(empty_table) {
    ck_assert_uint_eq(acl_count(t), 0);
    ck_assert_uint_eq(acl_next(t, 0), 0);
    ck_assert_uint_gt(acl_table_bytes(t), 0);
}
END_TEST

START_TEST(open_list_is_built_in) {
    ck_assert(slice_eq(acl_bytes(t, ACL_OPEN), one(31, "world", "anyone")));
    ck_assert_int_eq(acl_world_perms(t, ACL_OPEN), 31);
    acl_unref(t, ACL_OPEN);
    acl_unref(t, ACL_OPEN);
    acl_ref(t, ACL_OPEN);
    ck_assert_uint_eq(acl_count(t), 0);
}
END_TEST

START_TEST(open_list_from_a_client_is_an_ordinary_one) {
    acl_id_t id = acl_intern(t, one(31, "world", "anyone"));
    ck_assert_uint_eq(id, 1);
    ck_assert(slice_eq(acl_bytes(t, id), acl_bytes(t, ACL_OPEN)));
    ck_assert_uint_eq(acl_count(t), 1);
}
END_TEST

START_TEST(same_bytes_same_id) {
    acl_id_t a = acl_intern(t, one(1, "digest", "a:b")), b = acl_intern(t, one(2, "digest", "a:b"));
    ck_assert_uint_ne(a, b);
    ck_assert_uint_eq(acl_intern(t, one(1, "digest", "a:b")), a);
    ck_assert_uint_eq(acl_intern(t, one(2, "digest", "a:b")), b);
    ck_assert_uint_eq(acl_count(t), 2);
    ck_assert(slice_eq(acl_bytes(t, b), one(2, "digest", "a:b")));
}
END_TEST

START_TEST(order_makes_a_difference) {
    struct acl_entry x = {1, SLICE_LIT("ip"), SLICE_LIT("1.2.3.4")}, y = {2, SLICE_LIT("world"), SLICE_LIT("anyone")};
    acl_id_t xy = acl_intern(t, list(2, (struct acl_entry[]){x, y}));
    ck_assert_uint_ne(acl_intern(t, list(2, (struct acl_entry[]){y, x})), xy);
}
END_TEST

START_TEST(freed_with_the_last_reference) {
    acl_id_t id = acl_intern(t, one(1, "ip", "1.2.3.4"));
    acl_ref(t, id);
    acl_intern(t, one(1, "ip", "1.2.3.4"));
    acl_unref(t, id);
    acl_unref(t, id);
    ck_assert_uint_eq(acl_count(t), 1);
    size_t bytes = acl_table_bytes(t);
    acl_unref(t, id);
    ck_assert_uint_eq(acl_count(t), 0);
    ck_assert_uint_lt(acl_table_bytes(t), bytes);
}
END_TEST

START_TEST(ids_are_used_again) {
    acl_id_t first = acl_intern(t, one(1, "ip", "1.1.1.1")), second = acl_intern(t, one(2, "ip", "1.1.1.1"));
    acl_unref(t, first);
    ck_assert_uint_eq(acl_intern(t, one(3, "ip", "1.1.1.1")), first);
    ck_assert_uint_eq(acl_intern(t, one(4, "ip", "1.1.1.1")), 3);
    ck_assert(slice_eq(acl_bytes(t, second), one(2, "ip", "1.1.1.1")));
    for (acl_id_t id = 1; id <= 3; id++)
        acl_unref(t, id);
    for (int32_t i = 5; i < 8; i++)
        ck_assert_uint_le(acl_intern(t, one(i, "ip", "1.1.1.1")), 3);
    ck_assert_uint_eq(acl_intern(t, one(8, "ip", "1.1.1.1")), 4);
}
END_TEST

START_TEST(iteration_skips_holes) {
    acl_id_t ids[5];
    for (int i = 0; i < 5; i++)
        ids[i] = acl_intern(t, one(i, "ip", "1.1.1.1"));
    acl_unref(t, ids[0]);
    acl_unref(t, ids[3]);
    acl_unref(t, ids[4]);
    ck_assert_uint_eq(acl_next(t, 0), ids[1]);
    ck_assert_uint_eq(acl_next(t, ids[1]), ids[2]);
    ck_assert_uint_eq(acl_next(t, ids[2]), 0);
}
END_TEST

static int32_t world_perms_of(struct slice encoded) { return acl_world_perms(t, acl_intern(t, encoded)); }

START_TEST(world_permissions) {
    struct acl_entry mixed[] = {
        {1, SLICE_LIT("world"), SLICE_LIT("anyone")},  {2, SLICE_LIT("digest"), SLICE_LIT("anyone")},
        {4, SLICE_LIT("world"), SLICE_LIT("anyone")},  {8, SLICE_LIT("world"), SLICE_LIT("nobody")},
        {16, SLICE_LIT("worlds"), SLICE_LIT("anyone")}};
    ck_assert_int_eq(world_perms_of(list(5, mixed)), 5);
    ck_assert_int_eq(world_perms_of(one(31, "digest", "a:b")), 0);
    ck_assert_int_eq(world_perms_of(one(255, "world", "anyone")), 255);
    ck_assert_int_eq(world_perms_of(one(0, "world", "anyone")), 0);
}
END_TEST

/* Such lists can only come from foreign files: null and empty allow everything, a cut one what can be read of it. */
START_TEST(odd_lists) {
    ck_assert_int_eq(world_perms_of((struct slice){"\0\0\0\0", 4}) & PERM_ALL, PERM_ALL);
    ck_assert_int_eq(world_perms_of((struct slice){"\377\377\377\377", 4}) & PERM_ALL, PERM_ALL);
    struct slice whole = one(31, "world", "anyone");
    for (size_t len = 4; len < whole.len; len++)
        ck_assert_int_eq(world_perms_of((struct slice){whole.data, len}), 0);
}
END_TEST

#define MODEL_LISTS 300

START_TEST(against_a_model) {
    struct rng r = {(uint64_t)_i};
    acl_id_t ids[MODEL_LISTS] = {0};
    unsigned refs[MODEL_LISTS] = {0};
    size_t count = 0;
    for (int step = 0; step < 50000; step++) {
        uint32_t k = (uint32_t)rng_below(&r, MODEL_LISTS);
        char id[16];
        snprintf(id, sizeof id, "10.0.%u.%u", k / 100, k % 100);
        struct slice bytes = one((int32_t)k, "ip", id);
        if (rng_below(&r, 100) < (step / 10000 % 2 ? 70 : 40)) {
            acl_id_t given = acl_intern(t, bytes);
            EXPECT(given != 0 && (refs[k] == 0 || given == ids[k]));
            ids[k] = given;
            count += refs[k]++ == 0;
        } else if (refs[k] > 0) {
            EXPECT(slice_eq(acl_bytes(t, ids[k]), bytes));
            acl_unref(t, ids[k]);
            count -= --refs[k] == 0;
        }
        EXPECT(acl_count(t) == count);
    }
    size_t seen = 0;
    for (acl_id_t id = acl_next(t, 0), last = 0; id != 0; last = id, id = acl_next(t, id), seen++)
        EXPECT(id > last);
    ck_assert_uint_eq(seen, count);
}
END_TEST

int main(void) {
    Suite *s = suite_create("acl");
    TCase *tc = tcase_create("acl");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, empty_table);
    tcase_add_test(tc, open_list_is_built_in);
    tcase_add_test(tc, open_list_from_a_client_is_an_ordinary_one);
    tcase_add_test(tc, same_bytes_same_id);
    tcase_add_test(tc, order_makes_a_difference);
    tcase_add_test(tc, freed_with_the_last_reference);
    tcase_add_test(tc, ids_are_used_again);
    tcase_add_test(tc, iteration_skips_holes);
    tcase_add_test(tc, world_permissions);
    tcase_add_test(tc, odd_lists);
    tcase_add_loop_test(tc, against_a_model, 0, 3);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
