/* src/base/expiry: buckets of deadlines. See docs/protocol/operations.md section 13. */
#include <check.h>
#include <stdlib.h>

#include "base/expiry.h"
#include "base/rng.h"

/* For the long loops: a ck_assert tells the parent process each time that it was there. */
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            ck_abort_msg("%s", #condition);                                                                            \
    } while (0)

struct item {
    struct expiry_node node;
    int64_t deadline; /* of the model */
};

static struct item *pop(struct expiry *e, int64_t now) {
    struct expiry_node *n = expiry_pop(e, now);
    return n != NULL ? CONTAINER_OF(n, struct item, node) : NULL;
}

static void expect_deadline(const struct item *i, int64_t deadline) {
    ck_assert_int_eq(expiry_deadline(&i->node), deadline);
}

START_TEST(nothing_queued) {
    struct expiry e;
    struct item i = {0};
    expiry_init(&e, 2000, 0);
    ck_assert_int_eq(expiry_next(&e), INT64_MAX);
    ck_assert_ptr_null(expiry_pop(&e, INT64_MAX));
    expiry_remove(&e, &i.node);
    ck_assert_uint_eq(e.count, 0);
    expiry_close(&e);
}
END_TEST

START_TEST(deadline_is_rounded_up) {
    struct expiry e;
    struct item i = {0};
    expiry_init(&e, 2000, 100);
    expiry_touch(&e, &i.node, 100, 4000);
    expect_deadline(&i, 6000);
    expiry_touch(&e, &i.node, 1999, 4000);
    expect_deadline(&i, 6000);
    expiry_touch(&e, &i.node, 2000, 4000); /* (6000 / 2000 + 1) * 2000 */
    expect_deadline(&i, 8000);
    expiry_touch(&e, &i.node, 2000, 3999);
    expect_deadline(&i, 6000);
    ck_assert_uint_eq(e.count, 1);
    ck_assert_int_eq(expiry_next(&e), 6000);
    expiry_close(&e);
}
END_TEST

START_TEST(popped_when_due_and_not_before) {
    struct expiry e;
    struct item i = {0};
    expiry_init(&e, 2000, 0);
    expiry_touch(&e, &i.node, 0, 4000);
    ck_assert_ptr_null(pop(&e, 5999));
    ck_assert_ptr_eq(pop(&e, 6000), &i);
    ck_assert_ptr_null(pop(&e, 6000));
    ck_assert_ptr_null(i.node.bucket);
    ck_assert_uint_eq(e.count, 0);
    ck_assert_uint_eq(e.buckets.count, 0);
    expiry_touch(&e, &i.node, 6000, 4000);
    expect_deadline(&i, 12000);
    expiry_close(&e);
}
END_TEST

START_TEST(popped_in_order_of_deadlines) {
    struct expiry e;
    struct item items[6] = {0};
    static const int64_t timeouts[6] = {9000, 1000, 5000, 1500, 90000, 5000};
    static const int order[6] = {1, 3, 2, 5, 0, 4};
    expiry_init(&e, 1000, 0);
    for (int i = 0; i < 6; i++)
        expiry_touch(&e, &items[i].node, 0, timeouts[i]);
    for (int i = 0; i < 6; i++)
        ck_assert_ptr_eq(pop(&e, 1000000), &items[order[i]]);
    ck_assert_ptr_null(pop(&e, 1000000));
    expiry_close(&e);
}
END_TEST

START_TEST(removed_is_not_popped) {
    struct expiry e;
    struct item a = {0}, b = {0};
    expiry_init(&e, 1000, 0);
    expiry_touch(&e, &a.node, 0, 1000);
    expiry_touch(&e, &b.node, 0, 1000);
    expiry_remove(&e, &a.node);
    expiry_remove(&e, &a.node);
    ck_assert_uint_eq(e.count, 1);
    ck_assert_ptr_eq(pop(&e, 10000), &b);
    ck_assert_ptr_null(pop(&e, 10000));
    expiry_close(&e);
}
END_TEST

START_TEST(empty_buckets_are_freed) {
    struct expiry e;
    struct item i = {0};
    expiry_init(&e, 10, 0);
    for (int64_t now = 0; now < 100000; now += 7) {
        expiry_touch(&e, &i.node, now, 1000);
        EXPECT(e.buckets.count == 1);
    }
    expiry_remove(&e, &i.node);
    ck_assert_uint_eq(e.buckets.count, 0);
    expiry_close(&e);
}
END_TEST

/* An earlier deadline than all others must be seen although the search had moved past it. */
START_TEST(short_timeout_after_a_long_one) {
    struct expiry e;
    struct item a = {0}, b = {0};
    expiry_init(&e, 1000, 0);
    expiry_touch(&e, &a.node, 0, 1000000);
    ck_assert_ptr_null(pop(&e, 500000));
    expiry_touch(&e, &b.node, 500000, 2000);
    ck_assert_int_eq(expiry_next(&e), 503000);
    ck_assert_ptr_null(pop(&e, 502999));
    ck_assert_ptr_eq(pop(&e, 503000), &b);
    ck_assert_ptr_eq(pop(&e, 1001000), &a);
    expiry_close(&e);
}
END_TEST

/* Interval by interval these would be 10^15 steps each. */
START_TEST(clock_jumps_far_ahead) {
    struct expiry e;
    struct item a = {0}, b = {0};
    const int64_t jump = 1000000000000000;
    expiry_init(&e, 1, 0);
    expiry_touch(&e, &a.node, 0, 10);
    ck_assert_ptr_eq(pop(&e, jump), &a);
    ck_assert_ptr_null(pop(&e, jump));
    expiry_touch(&e, &a.node, jump, 10);
    expiry_touch(&e, &b.node, jump, jump);
    ck_assert_ptr_null(pop(&e, jump));
    ck_assert_ptr_eq(pop(&e, 2 * jump), &a);
    ck_assert_ptr_null(pop(&e, 2 * jump));
    ck_assert_ptr_eq(pop(&e, 3 * jump), &b);
    ck_assert_int_eq(expiry_next(&e), INT64_MAX);
    expiry_close(&e);
}
END_TEST

/* A pop that finds nothing brings the search up to now, so that expiry_next does not wake the caller again at once. */
START_TEST(next_is_never_in_the_past_after_a_pop) {
    struct expiry e;
    struct item a = {0}, b = {0};
    expiry_init(&e, 100, 0);
    expiry_touch(&e, &a.node, 0, 1000);
    expiry_touch(&e, &b.node, 0, 90000);
    expiry_remove(&e, &a.node);
    for (int64_t now = 0; now < 90000; now += 333) {
        ck_assert_ptr_null(pop(&e, now));
        ck_assert_int_gt(expiry_next(&e), now);
        ck_assert_int_le(expiry_next(&e), 90100);
    }
    expiry_close(&e);
}
END_TEST

#define ITEMS 200

static void check_pops(struct expiry *e, struct item *items, int64_t now) {
    struct item *i;
    int64_t last = 0;
    while ((i = pop(e, now)) != NULL) {
        EXPECT(i->deadline <= now);
        EXPECT(i->deadline >= last);
        last = i->deadline;
        i->deadline = 0;
    }
    for (int k = 0; k < ITEMS; k++)
        EXPECT(items[k].deadline == 0 || items[k].deadline > now);
}

START_TEST(against_a_model) {
    struct expiry e;
    struct rng r = {(uint64_t)_i + 1};
    struct item items[ITEMS] = {0};
    int64_t now = 12345, interval = (int64_t[]){1, 7, 100, 2000}[_i];
    expiry_init(&e, interval, now);
    for (int step = 0; step < 20000; step++) {
        struct item *i = &items[rng_below(&r, ITEMS)];
        int64_t timeout = (int64_t)rng_below(&r, rng_below(&r, 10) ? 1000 : 1000000);
        if (rng_below(&r, 8) == 0) {
            expiry_remove(&e, &i->node);
            i->deadline = 0;
        } else {
            expiry_touch(&e, &i->node, now, timeout);
            i->deadline = ((now + timeout) / interval + 1) * interval;
            EXPECT(expiry_deadline(&i->node) == i->deadline);
        }
        now += (int64_t)rng_below(&r, rng_below(&r, 1000) ? 20 : 10000000);
        if (rng_below(&r, 3) == 0)
            check_pops(&e, items, now);
    }
    size_t queued = 0;
    for (int k = 0; k < ITEMS; k++)
        queued += items[k].deadline != 0;
    ck_assert_uint_eq(e.count, queued);
    expiry_close(&e);
}
END_TEST

int main(void) {
    Suite *s = suite_create("expiry");
    TCase *tc = tcase_create("expiry");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, nothing_queued);
    tcase_add_test(tc, deadline_is_rounded_up);
    tcase_add_test(tc, popped_when_due_and_not_before);
    tcase_add_test(tc, popped_in_order_of_deadlines);
    tcase_add_test(tc, removed_is_not_popped);
    tcase_add_test(tc, empty_buckets_are_freed);
    tcase_add_test(tc, short_timeout_after_a_long_one);
    tcase_add_test(tc, clock_jumps_far_ahead);
    tcase_add_test(tc, next_is_never_in_the_past_after_a_pop);
    tcase_add_loop_test(tc, against_a_model, 0, 4);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
