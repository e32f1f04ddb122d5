/* The epoch files at a start. */
#include <errno.h>

#include "lib/store_help.h"
#include "store/epoch.h"

static struct simdisk disk;
static struct epochs epochs;
static char error[256];

static void setup(void) {
    simdisk_init(&disk, 1);
    disk.same_dir = true;
    memset(error, 'x', sizeof error);
}
static void teardown(void) { simdisk_close(&disk); }

static void put(const char *name, const char *text) { simdisk_put(&disk, DISK_SNAP, name, text, strlen(text)); }

static int read_at(zxid_t last) {
    error[0] = '\0';
    int err = epochs_read(&disk.disk, last, &epochs, error, sizeof error);
    ck_assert_msg(err == 0 || error[0] != '\0', "no word about error %d", err);
    return err;
}

static void expect(zxid_t last, int64_t accepted, int64_t current) {
    ck_assert_msg(read_at(last) == 0, "%s", error);
    ck_assert_int_eq(epochs.accepted, accepted);
    ck_assert_int_eq(epochs.current, current);
}

START_TEST(missing_files_are_made) {
    expect(0, 0, 0);
    simdisk_clear(&disk);
    expect(zxid_make(7, 3), 7, 7);
    simdisk_crash(&disk, 1);
    expect(zxid_make(7, 3), 7, 7);
    /* Neither is lower than the other needs. */
    simdisk_clear(&disk);
    put(EPOCH_CURRENT, "9");
    expect(zxid_make(7, 3), 9, 9);
    simdisk_clear(&disk);
    put(EPOCH_ACCEPTED, "9");
    expect(zxid_make(7, 3), 9, 7);
}
END_TEST

START_TEST(texts) {
    static const char *const bad[] = {"", "\n", "x", "-1", "1 2", "0x10", "2147483648", "99999999999999999999999", "1.0", "+"};
    put(EPOCH_ACCEPTED, "12\n");
    put(EPOCH_CURRENT, "11 \r\n");
    expect(zxid_make(11, 3), 12, 11);
    put(EPOCH_ACCEPTED, "2147483647");
    expect(zxid_make(11, 3), 2147483647, 11);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        put(EPOCH_ACCEPTED, bad[i]);
        ck_assert_msg(read_at(zxid_make(11, 3)) == -EBADMSG, "'%s'", bad[i]);
        put(EPOCH_ACCEPTED, "12");
        put(EPOCH_CURRENT, bad[i]);
        ck_assert_msg(read_at(zxid_make(11, 3)) == -EBADMSG, "'%s'", bad[i]);
        put(EPOCH_CURRENT, "11");
    }
    char text[24];
    ck_assert_int_eq(epoch_text(2147483647, text), 10);
    ck_assert_str_eq(text, "2147483647");
}
END_TEST

START_TEST(contradictions_are_refused) {
    put(EPOCH_ACCEPTED, "5");
    put(EPOCH_CURRENT, "6");
    ck_assert_int_eq(read_at(zxid_make(5, 1)), -EBADMSG);
    put(EPOCH_ACCEPTED, "6");
    ck_assert_int_eq(read_at(zxid_make(7, 1)), -EBADMSG);
    ck_assert_ptr_nonnull(strstr(error, "0x700000001"));
}
END_TEST

/* The history of epoch 7 came, the crash was before currentEpoch was written: it goes on in 6. */
START_TEST(i5_crash_between_history_and_current_epoch) {
    put(EPOCH_ACCEPTED, "7");
    put(EPOCH_CURRENT, "6");
    expect(zxid_make(7, 1), 7, 6);
}
END_TEST

/* As Java leaves it: synced, not renamed. */
START_TEST(tmp_file_is_taken_over) {
    put(EPOCH_ACCEPTED, "7");
    put(EPOCH_CURRENT, "6");
    put(EPOCH_CURRENT ".tmp", "7");
    expect(zxid_make(7, 1), 7, 7);
    simdisk_crash(&disk, 1);
    expect(zxid_make(7, 1), 7, 7);
    /* Half of one, or one of before. */
    put(EPOCH_ACCEPTED, "17");
    put(EPOCH_CURRENT, "16");
    put(EPOCH_CURRENT ".tmp", "1");
    expect(zxid_make(17, 1), 17, 16);
    put(EPOCH_CURRENT ".tmp", "");
    expect(zxid_make(17, 1), 17, 16);
    /* It is not needed. */
    put(EPOCH_CURRENT ".tmp", "17");
    expect(zxid_make(16, 9), 17, 16);
    /* It is more than was ever accepted. */
    put(EPOCH_CURRENT ".tmp", "18");
    ck_assert_int_eq(read_at(zxid_make(18, 1)), -EBADMSG);
}
END_TEST

START_TEST(disk_errors) {
    bool any = true;
    for (uint64_t at = 1; any; at++) {
        simdisk_clear(&disk);
        if (at % 2 == 0) {
            put(EPOCH_ACCEPTED, "7");
            put(EPOCH_CURRENT, "6");
            put(EPOCH_CURRENT ".tmp", "7");
        }
        simdisk_fail(&disk, SIMDISK_ALL_OPS, at / 2 + 1, -EIO);
        int err = read_at(zxid_make(7, 1));
        any = disk.calls >= disk.fail_at;
        simdisk_clear_faults(&disk);
        if (err == 0)
            ck_assert_int_ge(epochs.current, 6);
        simdisk_crash(&disk, at);
        ck_assert_msg(read_at(zxid_make(7, 1)) == 0, "%s", error);
        ck_assert_int_eq(epochs.accepted, 7);
        ck_assert_int_ge(epochs.current, 6);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("epoch");
    TCase *tc = tcase_create("epoch");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, missing_files_are_made);
    tcase_add_test(tc, texts);
    tcase_add_test(tc, contradictions_are_refused);
    tcase_add_test(tc, i5_crash_between_history_and_current_epoch);
    tcase_add_test(tc, tmp_file_is_taken_over);
    tcase_add_test(tc, disk_errors);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
