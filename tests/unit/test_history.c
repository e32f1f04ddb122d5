/* The window of committed transactions. */
#include "lib/store_help.h"
#include "server/history.h"
#include "server_help.h"

#define Z(epoch, counter) zxid_make(epoch, counter)

static struct history *h;

static void setup(void) { h = history_new(1 << 20, 10); }
static void teardown(void) { history_free(h); }

static void add(zxid_t zxid, size_t len) {
    char text[64];
    memset(text, (int)('a' + zxid % 26), sizeof text);
    history_append(h, zxid, (struct slice){text, len});
}

static void expect_zxids(zxid_t first, zxid_t last) {
    ck_assert_uint_eq(history_count(h), (size_t)(last - first + 1));
    for (size_t i = 0; i < history_count(h); i++)
        ck_assert_int_eq(history_zxid(h, i), first + (zxid_t)i);
}

START_TEST(empty) {
    ck_assert_uint_eq(history_count(h), 0);
    ck_assert_uint_eq(history_after(h, 0), 0);
    history_clear(h);
    add(7, 0);
    ck_assert_uint_eq(history_payload(h, 0).len, 0);
    expect_zxids(7, 7);
}
END_TEST

/* The ring grows while its beginning is anywhere. */
START_TEST(keeps_what_fits) {
    history_free(h);
    h = history_new(50 * 16, 10);
    for (zxid_t z = 1; z <= 3000; z++) {
        add(z, 16);
        expect_zxids(z > 50 ? z - 49 : 1, z);
        ck_assert_int_eq(history_payload(h, 0).data[15], (char)('a' + history_zxid(h, 0) % 26));
    }
    history_free(h);
    h = history_new(1 << 20, 10);
    for (zxid_t z = 1; z <= 5000; z++)
        add(z, 16);
    expect_zxids(1, 5000);
    for (size_t i = 0; i < 5000; i++)
        ck_assert_int_eq(history_payload(h, i).data[0], (char)('a' + history_zxid(h, i) % 26));
    ck_assert_uint_ge(history_bytes(h), 5000 * 16);
}
END_TEST

START_TEST(the_least_number_stays_however_large) {
    history_free(h);
    h = history_new(1, 10);
    for (zxid_t z = 1; z <= 100; z++)
        add(z, 60);
    expect_zxids(91, 100);
}
END_TEST

START_TEST(i14_no_doubles_and_no_holes) {
    for (zxid_t z = 5; z <= 9; z++)
        add(z, 4);
    add(9, 8);
    add(3, 8);
    expect_zxids(5, 9);
    ck_assert_uint_eq(history_payload(h, 4).len, 4);
    add(11, 4);
    expect_zxids(11, 11);
    add(12, 4);
    add(zxid_make(3, 1), 4);
    ck_assert_uint_eq(history_count(h), 3);
    add(zxid_make(3, 3), 4);
    ck_assert_uint_eq(history_count(h), 1);
}
END_TEST

START_TEST(after) {
    for (zxid_t z = 5; z <= 9; z++)
        add(z, 4);
    for (zxid_t z = 1; z <= 4; z++)
        add(zxid_make(2, z), 4);
    ck_assert_uint_eq(history_after(h, -1), 0);
    ck_assert_uint_eq(history_after(h, 4), 0);
    ck_assert_uint_eq(history_after(h, 5), 1);
    ck_assert_uint_eq(history_after(h, 8), 4);
    ck_assert_uint_eq(history_after(h, 9), 5);
    ck_assert_uint_eq(history_after(h, 1000), 5);
    ck_assert_uint_eq(history_after(h, zxid_make(2, 0)), 5);
    ck_assert_uint_eq(history_after(h, zxid_make(2, 1)), 6);
    ck_assert_uint_eq(history_after(h, zxid_make(2, 4)), 9);
    ck_assert_uint_eq(history_after(h, INT64_MAX), 9);
    history_clear(h);
    ck_assert_uint_eq(history_after(h, 5), 0);
}
END_TEST

START_TEST(epochs_that_meet) {
    zxid_t last = Z(1, 7);
    ck_assert(!history_epochs_meet(h, 0, 0));
    history_note_epoch(h, last, Z(2, 1));
    ck_assert(history_epochs_meet(h, last, Z(2, 1)));
    ck_assert(!history_epochs_meet(h, last, Z(3, 1)));
    ck_assert(!history_epochs_meet(h, last - 1, Z(2, 1)));
    /* Also when the transactions are not here any more. */
    add(Z(2, 1), 4);
    add(Z(2, 3), 4);
    history_clear(h);
    ck_assert(history_epochs_meet(h, last, Z(2, 1)));
    for (int64_t epoch = 2; epoch < 2 + HISTORY_EPOCHS; epoch++)
        history_note_epoch(h, Z(epoch, 5), Z(epoch + 1, 1));
    ck_assert(!history_epochs_meet(h, last, Z(2, 1)));
    for (int64_t epoch = 2; epoch < 2 + HISTORY_EPOCHS; epoch++)
        ck_assert(history_epochs_meet(h, Z(epoch, 5), Z(epoch + 1, 1)));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("history");
    TCase *tc = tcase_create("history");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, empty);
    tcase_add_test(tc, keeps_what_fits);
    tcase_add_test(tc, the_least_number_stays_however_large);
    tcase_add_test(tc, i14_no_doubles_and_no_holes);
    tcase_add_test(tc, after);
    tcase_add_test(tc, epochs_that_meet);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
