/* Learners that have asked for a snapshot: what is remembered of their first attempts. */
#include "lib/store_help.h"
#include "quorum/snapwaits.h"

#define PATIENCE_US 1000

static struct snapwaits waits;

static void setup(void) { snapwaits_init(&waits); }
static void teardown(void) { snapwaits_free(&waits); }

/* An attempt when zxid was the last one committed, and the one before it applied. Returns what was committed at the first attempt. */
static zxid_t attempt(int64_t sid, int64_t at_us, zxid_t zxid) {
    struct snapwait given = {.sid = sid, .last = {at_us}, .asked = zxid - 1, .oldest = zxid};
    const struct snapwait *w = snapwaits_begin(&waits, &given, PATIENCE_US);
    ck_assert_int_eq(w->sid, sid);
    ck_assert_int_eq(w->asked, w->oldest - 1);
    return w->oldest;
}

START_TEST(i15_first_attempt_counts_until_it_is_up_to_date) {
    ck_assert_int_eq(attempt(1, 0, 10), 10);
    ck_assert_int_eq(attempt(1, 1, 20), 10);
    snapwaits_end(&waits, 1);
    ck_assert_int_eq(attempt(1, 2, 30), 30);
    ck_assert_int_eq(attempt(1, 3, 40), 30);
}
END_TEST

START_TEST(i15_nobody_has_the_attempt_of_another) {
    ck_assert_int_eq(attempt(1, 0, 10), 10);
    ck_assert_int_eq(attempt(2, 0, 20), 20);
    snapwaits_end(&waits, 1);
    snapwaits_end(&waits, 3);
    ck_assert_int_eq(attempt(2, 1, 30), 20);
    ck_assert_int_eq(attempt(1, 1, 40), 40);
}
END_TEST

START_TEST(patience_is_counted_from_the_last_attempt) {
    ck_assert_int_eq(attempt(1, 0, 10), 10);
    ck_assert_int_eq(attempt(1, PATIENCE_US, 20), 10);
    ck_assert_int_eq(attempt(1, 2 * PATIENCE_US, 30), 10);
    ck_assert_int_eq(attempt(1, 3 * PATIENCE_US + 1, 40), 40);
}
END_TEST

START_TEST(of_very_many_the_oldest_is_forgotten) {
    for (int64_t sid = 0; sid < 256; sid++)
        attempt(sid, 0, 10);
    ck_assert_int_eq(attempt(0, 1, 20), 10);
    ck_assert_int_eq(attempt(256, 1, 20), 20);
    ck_assert_int_eq(attempt(1, 1, 30), 10);
    ck_assert_int_eq(attempt(0, 1, 30), 30);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("snapwaits");
    TCase *tc = tcase_create("snapwaits");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, i15_first_attempt_counts_until_it_is_up_to_date);
    tcase_add_test(tc, i15_nobody_has_the_attempt_of_another);
    tcase_add_test(tc, patience_is_counted_from_the_last_attempt);
    tcase_add_test(tc, of_very_many_the_oldest_is_forgotten);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
