/* What retention would delete, and above all what not. */
#include <errno.h>

#include "lib/store_help.h"
#include "store/retention.h"

static struct simdisk disk;
static struct retention_plan plan;

static void setup(void) {
    simdisk_init(&disk, 1);
    disk.same_dir = true;
}
static void teardown(void) {
    retention_plan_free(&plan);
    simdisk_close(&disk);
}

static void put_logs(const zxid_t *firsts, size_t count) {
    for (size_t i = 0; i < count; i++)
        put_log_file(&disk, firsts[i], firsts[i] + 1, 0);
}

static void make_plan(int keep) {
    retention_plan_free(&plan);
    ck_assert_int_eq(retention_plan_make(&disk.disk, &(struct retention_options){.keep = keep, .known_good = -1}, &plan), 0);
}

static bool in(char (*names)[STORE_NAME_MAX], int count, const char *name) {
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Names separated by blanks: exactly these. */
static void expect(const char *snapshots, const char *logs) {
    char text[512], *rest, *name;
    int n = 0;
    snprintf(text, sizeof text, "%s", snapshots);
    for (name = strtok_r(text, " ", &rest); name != NULL; name = strtok_r(NULL, " ", &rest), n++)
        ck_assert_msg(in(plan.snapshots, plan.snapshot_count, name), "%s stays", name);
    ck_assert_int_eq(plan.snapshot_count, n);
    n = 0;
    snprintf(text, sizeof text, "%s", logs);
    for (name = strtok_r(text, " ", &rest); name != NULL; name = strtok_r(NULL, " ", &rest), n++)
        ck_assert_msg(in(plan.logs, plan.log_count, name), "%s stays", name);
    ck_assert_int_eq(plan.log_count, n);
}

/* docs/protocol/disk-format.md section 10: what Java kept. */
START_TEST(as_java_did) {
    static const zxid_t logs[] = {0x1, 0x10, 0x22, 0x31, 0x34, 0x37}, snapshots[] = {0, 0xe, 0x20, 0x30, 0x33, 0x36};
    put_logs(logs, ARRAY_LEN(logs));
    for (size_t i = 0; i < ARRAY_LEN(snapshots); i++)
        put_snapshot_file(&disk, snapshots[i], (enum snapshot_method)(i % 3));
    make_plan(3);
    expect("snapshot.0 snapshot.e.gz snapshot.20.snappy", "log.1 log.10");
    make_plan(6);
    expect("", "");
    make_plan(100);
    expect("", "");
    make_plan(1);
    expect("snapshot.0 snapshot.e.gz snapshot.20.snappy snapshot.30 snapshot.33.gz", "log.1 log.10 log.22 log.31");
    make_plan(0); /* the last one never goes */
    expect("snapshot.0 snapshot.e.gz snapshot.20.snappy snapshot.30 snapshot.33.gz", "log.1 log.10 log.22 log.31");
    make_plan(-7);
    expect("snapshot.0 snapshot.e.gz snapshot.20.snappy snapshot.30 snapshot.33.gz", "log.1 log.10 log.22 log.31");
}
END_TEST

/* The three newest may be damaged inside, which nobody sees who does not read them. */
START_TEST(the_one_that_was_read_stays) {
    static const zxid_t logs[] = {0x1, 0x10, 0x22, 0x31, 0x34, 0x37}, snapshots[] = {0, 0xe, 0x20, 0x30, 0x33, 0x36};
    put_logs(logs, ARRAY_LEN(logs));
    for (size_t i = 0; i < ARRAY_LEN(snapshots); i++)
        put_snapshot_file(&disk, snapshots[i], SNAPSHOT_PLAIN);
    ck_assert_int_eq(retention_plan_make(&disk.disk, &(struct retention_options){.keep = 3, .known_good = 0x20}, &plan), 0);
    expect("snapshot.0 snapshot.e", "log.1");
    retention_plan_free(&plan);
    ck_assert_int_eq(retention_plan_make(&disk.disk, &(struct retention_options){.keep = 3, .known_good = 0x36}, &plan), 0);
    expect("snapshot.0 snapshot.e snapshot.20", "log.1 log.10");
}
END_TEST

START_TEST(what_is_being_read_stays) {
    static const zxid_t logs[] = {0x1, 0x10, 0x22, 0x31, 0x34, 0x37}, snapshots[] = {0, 0xe, 0x20, 0x30, 0x33, 0x36};
    static const struct {
        zxid_t in_use;
        const char *snapshots, *logs;
    } cases[] = {{0, "snapshot.0 snapshot.e snapshot.20", "log.1 log.10"},
                 {0x40, "snapshot.0 snapshot.e snapshot.20", "log.1 log.10"},
                 {0x30, "snapshot.0 snapshot.e snapshot.20", "log.1 log.10"},
                 {0x25, "snapshot.0 snapshot.e snapshot.20", "log.1 log.10"},
                 {0x20, "snapshot.0 snapshot.e", "log.1"},
                 {0x11, "snapshot.0 snapshot.e", "log.1"},
                 {0xe, "snapshot.0", ""},
                 {0x1, "snapshot.0", ""}};
    put_logs(logs, ARRAY_LEN(logs));
    for (size_t i = 0; i < ARRAY_LEN(snapshots); i++)
        put_snapshot_file(&disk, snapshots[i], SNAPSHOT_PLAIN);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct retention_options o = {.keep = 3, .known_good = 0x36, .in_use = cases[i].in_use};
        retention_plan_free(&plan);
        ck_assert_int_eq(retention_plan_make(&disk.disk, &o, &plan), 0);
        expect(cases[i].snapshots, cases[i].logs);
    }
}
END_TEST

START_TEST(log_that_begins_right_at_the_snapshot) {
    static const zxid_t logs[] = {1, 5, 9};
    put_logs(logs, ARRAY_LEN(logs));
    put_snapshot_file(&disk, 5, SNAPSHOT_PLAIN);
    make_plan(1);
    expect("", "log.1");
    put_snapshot_file(&disk, 4, SNAPSHOT_PLAIN);
    make_plan(2);
    expect("", "");
}
END_TEST

static void make_plan_for(int64_t need, bool same_disk, zxid_t known_good) {
    struct retention_options o = {.keep = 3, .known_good = known_good, .need_bytes = need, .same_disk = same_disk};
    retention_plan_free(&plan);
    ck_assert_int_eq(retention_plan_make(&disk.disk, &o, &plan), 0);
}

/* A full disk: fewer stay, but only if that yields what is needed, and never fewer than one that is known to be good. */
START_TEST(fewer_are_kept_for_space) {
    put_log_file(&disk, 1, 20, 10000);
    put_log_file(&disk, 21, 30, 5000);
    put_log_file(&disk, 31, 40, 5000);
    put_log_file(&disk, 41, 40, 5000); /* no entry yet */
    for (zxid_t z = 0; z <= 40; z += 20)
        put_snapshot_file(&disk, z, SNAPSHOT_PLAIN);
    make_plan_for(0, true, 40);
    expect("", "");
    make_plan_for(1, true, -1); /* none is known to be good */
    expect("", "");
    make_plan_for(1, true, 40);
    expect("snapshot.0", "log.1"); /* log.15 begins right behind snapshot.14 */
    make_plan_for(10000, false, 40);
    expect("snapshot.0", "log.1");
    ck_assert_int_eq(plan.bytes, 10000);
    make_plan_for(10001, true, 40); /* the snapshot counts on the same disk */
    expect("snapshot.0", "log.1");
    make_plan_for(20000, false, 40);
    expect("snapshot.0 snapshot.14", "log.1 log.15 log.1f");
    ck_assert_int_eq(plan.bytes, 20000);
    make_plan_for(20001, false, 40); /* would be for nothing */
    expect("", "");
    struct retention_options o = {.keep = 3, .known_good = 40, .need_bytes = 1, .wish_bytes = 15000};
    ck_assert_int_eq(retention_plan_make(&disk.disk, &o, &plan), 0);
    expect("snapshot.0 snapshot.14", "log.1 log.15 log.1f");
    retention_plan_free(&plan);
    o.wish_bytes = 20001;
    ck_assert_int_eq(retention_plan_make(&disk.disk, &o, &plan), 0);
    expect("snapshot.0", "log.1");
    make_plan_for(10000, false, 20);
    expect("snapshot.0", "log.1");
    make_plan_for(20000, false, 20); /* the newest is not known to be good */
    expect("", "");
}
END_TEST

/* Ends of logs that recovery cut off go when no snapshot is kept that is older. Nothing else that was set aside does. */
START_TEST(tails_of_older_logs) {
    static const zxid_t logs[] = {1, 5, 9};
    static const char *const aside[] = {"set-aside.tail.1.1", "set-aside.tail.4.12", "set-aside.tail.5.1", "set-aside.tail.9.1",
                                        "set-aside.tail.1", "set-aside.tail.01.1", "set-aside.tail.1.x", "set-aside.tail.1.1.bak",
                                        "set-aside.damaged.1.1", "set-aside.log.1.1"};
    put_logs(logs, ARRAY_LEN(logs));
    for (size_t i = 0; i < ARRAY_LEN(aside); i++)
        simdisk_put(&disk, DISK_LOG, aside[i], "tail", 4);
    make_plan(1);
    expect("", "");
    put_snapshot_file(&disk, 6, SNAPSHOT_PLAIN);
    make_plan(1);
    expect("", "log.1 set-aside.tail.1.1 set-aside.tail.4.12");
    put_snapshot_file(&disk, 0, SNAPSHOT_PLAIN);
    make_plan(2);
    expect("", "");
}
END_TEST

START_TEST(nothing_without_a_snapshot) {
    static const zxid_t logs[] = {1, 5, 9};
    make_plan(3);
    expect("", "");
    put_logs(logs, ARRAY_LEN(logs));
    simdisk_put(&disk, DISK_SNAP, "snapshot.9", "half a snapshot", 15);
    make_plan(1);
    expect("", "");
}
END_TEST

START_TEST(incomplete_snapshots_do_not_count) {
    static const zxid_t logs[] = {1, 5, 9, 12};
    put_logs(logs, ARRAY_LEN(logs));
    put_snapshot_file(&disk, 6, SNAPSHOT_PLAIN);
    simdisk_put(&disk, DISK_SNAP, "snapshot.2", "half a snapshot", 15);
    simdisk_put(&disk, DISK_SNAP, "snapshot.d", "half a snapshot", 15);
    simdisk_put(&disk, DISK_SNAP, "snapshot.e.gz", "half a snapshot", 15);
    make_plan(1);
    expect("snapshot.2", "log.1");
}
END_TEST

/* Whatever else stands there, by accident or on purpose. */
START_TEST(other_names_stay) {
    static const char *const names[] = {
        "log.1.bak", "log.old", "log.", "log.0x1", "log.01", "log.A", "log.-1", "log.1 ", "logs.1", "log.1.gz", "currentEpoch",
        "snapshot.1.bak", "snapshot.01", "snapshot.1.GZ", "snapshot.1.tmp", "snapshot.1.gz.gz", "snapshot.B", "zabra.synced",
        "zabra.ballast", "zabra.snapshot.1.tmp", "set-aside.log.1.1", "set-aside.damaged.1.1", "acceptedEpoch", "myid",
        "log.ffffffffffffffff", "log.1234567890123456789012345678901234567890123456789012345678901234567890",
        "snapshot.1.a-very-long-suffix-that-does-not-fit-into-any-of-our-own-names-at-all-because-it-is-so-long"};
    static const zxid_t logs[] = {0x10, 0x20, 0x30};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        simdisk_put(&disk, DISK_LOG, names[i], "x", 1);
    put_logs(logs, ARRAY_LEN(logs));
    put_snapshot_file(&disk, 0x8, SNAPSHOT_PLAIN);
    put_snapshot_file(&disk, 0x28, SNAPSHOT_PLAIN);
    make_plan(1);
    expect("snapshot.8", "log.10");
}
END_TEST

/* A copy under another name is no reason to delete the original, or to think that it holds what comes next. */
START_TEST(copies_do_not_count) {
    put_log_file(&disk, 0x10, 0x30, 0);
    put_log_file(&disk, 0x31, 0x40, 0);
    simdisk_put(&disk, DISK_LOG, "log.18.bak", "x", 1);
    simdisk_put(&disk, DISK_SNAP, "snapshot.35.bak", "123456\0\0\0\1/", 11);
    put_snapshot_file(&disk, 0x20, SNAPSHOT_PLAIN);
    make_plan(1);
    expect("", "");
}
END_TEST

/* An empty log with a name before the snapshot's zxid holds nothing; the one before it does. */
START_TEST(empty_logs_do_not_count) {
    put_log_file(&disk, 0x1, 0xf, 0);
    put_log_file(&disk, 0x10, 0x30, 0);
    put_log_file(&disk, 0x1c, 0x1b, 4096);
    simdisk_put(&disk, DISK_LOG, "log.1d", "ZKLG", 4);
    put_snapshot_file(&disk, 0x20, SNAPSHOT_PLAIN);
    make_plan(1);
    expect("", "log.1");
    /* What is torn at its first entry might be anything. */
    simdisk_put(&disk, DISK_LOG, "log.1e", "ZKLG\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0abcdefgh", 28);
    make_plan(1);
    expect("", "log.1 log.10 log.1c log.1d");
}
END_TEST

START_TEST(split_directories) {
    disk.same_dir = false;
    put_log_file(&disk, 1, 4, 0);
    put_log_file(&disk, 5, 9, 0);
    put_snapshot_file(&disk, 3, SNAPSHOT_PLAIN);
    put_snapshot_file(&disk, 7, SNAPSHOT_PLAIN);
    make_plan(1);
    expect("snapshot.3", "log.1");
}
END_TEST

START_TEST(all_is_recoverable_after_it) {
    struct rng rng = {(uint64_t)_i + 1};
    for (int round = 0; round < 100; round++) {
        simdisk_clear(&disk);
        zxid_t z = 1, last;
        put_snapshot_file(&disk, 0, SNAPSHOT_PLAIN);
        for (int i = 0; i < 8; i++, z = last + 1) {
            last = z + (zxid_t)rng_below(&rng, 5);
            put_log_file(&disk, z, last, 0);
            if (rng_below(&rng, 2) == 0)
                put_snapshot_file(&disk, z + (zxid_t)rng_below(&rng, (uint64_t)(last - z) + 1), (enum snapshot_method)rng_below(&rng, 3));
        }
        int keep = 1 + (int)rng_below(&rng, 4);
        make_plan(keep);
        for (int i = 0; i < plan.snapshot_count; i++)
            ck_assert_int_eq(disk.disk.unlink(disk.disk.ctx, DISK_SNAP, plan.snapshots[i]), 0);
        for (int i = 0; i < plan.log_count; i++)
            ck_assert_int_eq(disk.disk.unlink(disk.disk.ctx, DISK_LOG, plan.logs[i]), 0);
        make_plan(keep);
        expect("", "");
        /* From each snapshot that is left. */
        for (int left = 0;; left++) {
            struct list_sink l;
            struct recovery_options o = usual_options();
            struct recovery_result r = recover_list(&disk.disk, &o, &l);
            if (l.snapshot_zxid < 0) {
                ck_assert_int_ge(left, 1);
                break;
            }
            ck_assert_msg(r.status == RECOVERY_OK, "%s", r.message);
            ck_assert_int_eq(l.last, z - 1);
            ck_assert_int_eq(disk.disk.unlink(disk.disk.ctx, DISK_SNAP, r.snapshot_name), 0);
        }
    }
}
END_TEST

START_TEST(disk_errors) {
    static const zxid_t logs[] = {1, 5, 9};
    put_logs(logs, ARRAY_LEN(logs));
    put_snapshot_file(&disk, 3, SNAPSHOT_PLAIN);
    put_snapshot_file(&disk, 7, SNAPSHOT_GZIP);
    for (uint64_t n = 1;; n++) {
        simdisk_clear_faults(&disk);
        disk.counted_ops = SIMDISK_ALL_OPS & ~SIMDISK_BIT(SIMDISK_CLOSE);
        disk.fail_at = n;
        disk.fail_errno = -EIO;
        retention_plan_free(&plan);
        int err = retention_plan_make(&disk.disk, &(struct retention_options){.keep = 1, .known_good = -1}, &plan);
        if (err == 0)
            break;
        ck_assert_int_eq(err, -EIO);
        expect("", "");
    }
    expect("snapshot.3", "log.1");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("retention");
    TCase *tc = tcase_create("plans");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, as_java_did);
    tcase_add_test(tc, the_one_that_was_read_stays);
    tcase_add_test(tc, what_is_being_read_stays);
    tcase_add_test(tc, log_that_begins_right_at_the_snapshot);
    tcase_add_test(tc, fewer_are_kept_for_space);
    tcase_add_test(tc, tails_of_older_logs);
    tcase_add_test(tc, nothing_without_a_snapshot);
    tcase_add_test(tc, incomplete_snapshots_do_not_count);
    tcase_add_test(tc, other_names_stay);
    tcase_add_test(tc, copies_do_not_count);
    tcase_add_test(tc, empty_logs_do_not_count);
    tcase_add_test(tc, split_directories);
    tcase_add_loop_test(tc, all_is_recoverable_after_it, 0, 4);
    tcase_add_test(tc, disk_errors);
    tcase_set_timeout(tc, 120);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
