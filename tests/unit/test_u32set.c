/* Sets of 32-bit values against a plain array, in all sizes, while large ones are moved. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tree/u32set.h"

/* For the long loops: a ck_assert tells the parent process each time that it was there. */
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            ck_abort_msg("%s", #condition);                                                                            \
    } while (0)

#define ALL UINT32_MAX
#define LOW 0x00ffffffu /* keys of words with something else in the upper byte */

START_TEST(small_sets_need_no_memory) {
    struct u32set s = {0};
    uint64_t bytes = 0, cursor = 0;
    ck_assert_uint_eq(sizeof s, 8);
    ck_assert(u32set_is_empty(s));
    ck_assert_uint_eq(u32set_count(s), 0);
    ck_assert_uint_eq(u32set_get(s, 7, ALL), 0);
    ck_assert_uint_eq(u32set_remove(&bytes, &s, 7, ALL), 0);
    ck_assert_uint_eq(u32set_any(&bytes, &s, ALL), 0);
    ck_assert_uint_eq(u32set_next(s, &cursor), 0);
    ck_assert_uint_eq(u32set_single(s), 0);
    u32set_shrink_if_needed(&bytes, &s, ALL);
    u32set_put(&bytes, &s, 0x05000007, LOW);
    u32set_put(&bytes, &s, 0x06000007, LOW); /* replaces it */
    ck_assert_uint_eq(u32set_count(s), 1);
    ck_assert_uint_eq(u32set_get(s, 7, LOW), 0x06000007);
    ck_assert_uint_eq(u32set_get(s, 8, LOW), 0);
    ck_assert_uint_eq(u32set_single(s), 0x06000007);
    ck_assert_uint_eq(u32set_any(&bytes, &s, LOW), 0x06000007);
    ck_assert_ptr_null(u32set_notes(s));
    ck_assert_uint_eq(u32set_remove(&bytes, &s, 8, LOW), 0);
    ck_assert_uint_eq(u32set_remove(&bytes, &s, 7, LOW), 0x06000007);
    ck_assert(u32set_is_empty(s));
    ck_assert_uint_eq(bytes, 0);
}
END_TEST

/* What the memory targets for watches count on. */
START_TEST(bytes_per_value) {
    struct u32set s = {0};
    uint64_t bytes = 0;
    u32set_put(&bytes, &s, 2, ALL);
    ck_assert_uint_eq(bytes, 0);
    u32set_put(&bytes, &s, 3, ALL);
    ck_assert_uint_eq(bytes, 16 + 2 * 4);
    for (uint32_t i = 4; i < 8; i++)
        u32set_put(&bytes, &s, i, ALL);
    ck_assert_uint_eq(u32set_count(s), 6);
    ck_assert_uint_eq(bytes, 16 + 6 * 4);
    for (uint32_t i = 8; i < 20002; i++)
        u32set_put(&bytes, &s, i, ALL);
    ck_assert_uint_eq(u32set_count(s), 20000);
    ck_assert_uint_le(bytes, 20000 * 13 / 2);
    u32set_free(&bytes, &s);
    ck_assert_uint_eq(bytes, 0);
    ck_assert(u32set_is_empty(s));
}
END_TEST

/* model[key] = the value, 0 = none. */
static void expect_same(struct u32set s, const uint32_t *model, uint32_t keys, uint32_t mask) {
    uint32_t count = 0, seen = 0, value;
    for (uint32_t k = 0; k < keys; k++) {
        EXPECT(u32set_get(s, k, mask) == model[k]);
        count += model[k] != 0;
    }
    EXPECT(u32set_count(s) == count);
    for (uint64_t cursor = 0; (value = u32set_next(s, &cursor)) != 0; seen++)
        EXPECT(model[value & mask] == value);
    EXPECT(seen == count);
}

/* Grows and shrinks many times, through sizes from 0 to keys. */
START_TEST(against_a_model) {
    static const uint32_t sizes[] = {3, 12, 40, 3000, 60000};
    uint32_t keys = sizes[_i % 5], mask = _i < 5 ? ALL : LOW;
    uint32_t *model = calloc(keys, sizeof *model);
    struct rng r = {(uint64_t)_i};
    struct u32set s = {0};
    uint64_t bytes = 0;
    uint32_t steps = keys < 3000 ? 40000 : 15 * keys;
    EXPECT(model != NULL);
    for (uint32_t step = 0; step < steps; step++) {
        uint32_t key = (uint32_t)rng_below(&r, keys);
        bool grow = step / (steps / 6) % 2 == 0;
        if (key >= U32SET_VALUE_MIN && rng_below(&r, 8) < (grow ? 7u : 1u)) {
            uint32_t value = mask == ALL ? key : key | (uint32_t)(1 + rng_below(&r, 200)) << 24;
            u32set_put(&bytes, &s, value, mask);
            model[key] = value;
        } else {
            EXPECT(u32set_remove(&bytes, &s, key, mask) == model[key]);
            model[key] = 0;
            if (rng_below(&r, 4) == 0)
                u32set_shrink_if_needed(&bytes, &s, mask);
        }
        if (step % (steps / 40) == 0)
            expect_same(s, model, keys, mask);
    }
    expect_same(s, model, keys, mask);
    for (uint32_t value; (value = u32set_any(&bytes, &s, mask)) != 0;) {
        EXPECT(model[value & mask] == value);
        EXPECT(u32set_remove(&bytes, &s, value & mask, mask) == value);
        model[value & mask] = 0;
        u32set_shrink_if_needed(&bytes, &s, mask);
    }
    expect_same(s, model, keys, mask);
    EXPECT(bytes == 0);
    free(model);
}
END_TEST

static uint32_t next_mode(void *ctx, uint32_t value) {
    ++*(uint32_t *)ctx;
    return value + (1u << 24);
}

/* Also while a table is being moved, which it is right after it has grown. */
START_TEST(all_values_are_changed_in_place) {
    static const uint32_t counts[] = {0, 1, 2, 14, 15, 5000, 22000, 26215, 40000};
    uint32_t n = counts[_i], calls = 0;
    struct u32set s = {0};
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        u32set_put(&bytes, &s, i | 1u << 24, LOW);
    for (uint64_t before = bytes; n >= 5000 && bytes == before; n++)
        u32set_put(&bytes, &s, n | 1u << 24, LOW);
    u32set_map(&s, next_mode, &calls);
    ck_assert_uint_eq(calls, n);
    ck_assert_uint_eq(u32set_count(s), n);
    for (uint32_t i = 0; i < n; i++)
        EXPECT(u32set_get(s, i, LOW) == (i | 2u << 24));
    u32set_free(&bytes, &s);
    ck_assert_uint_eq(bytes, 0);
}
END_TEST

START_TEST(notes_stay_with_the_set) {
    struct u32set s = {0};
    uint64_t bytes = 0;
    u32set_put(&bytes, &s, 2, ALL);
    u32set_put(&bytes, &s, 3, ALL);
    ck_assert_uint_eq(u32set_notes(s)[0], 0);
    ck_assert_uint_eq(u32set_notes(s)[1], 0);
    ck_assert_uint_eq(u32set_single(s), 0);
    u32set_notes(s)[0] = 77;
    u32set_notes(s)[1] = 88;
    for (uint32_t i = 4; i < 100000; i++)
        u32set_put(&bytes, &s, i, ALL);
    ck_assert_uint_eq(u32set_notes(s)[0], 77);
    for (uint32_t i = 4; i < 100000; i++) {
        u32set_remove(&bytes, &s, i, ALL);
        u32set_shrink_if_needed(&bytes, &s, ALL);
    }
    ck_assert_uint_eq(u32set_notes(s)[0], 77);
    ck_assert_uint_eq(u32set_notes(s)[1], 88);
    u32set_remove(&bytes, &s, 3, ALL);
    u32set_shrink_if_needed(&bytes, &s, ALL);
    ck_assert_ptr_null(u32set_notes(s));
    ck_assert_uint_eq(u32set_single(s), 2);
    ck_assert_uint_eq(bytes, 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("u32set");
    TCase *tc = tcase_create("u32set");
    tcase_add_test(tc, small_sets_need_no_memory);
    tcase_add_test(tc, bytes_per_value);
    tcase_add_loop_test(tc, against_a_model, 0, 10);
    tcase_add_loop_test(tc, all_values_are_changed_in_place, 0, 9);
    tcase_add_test(tc, notes_stay_with_the_set);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
