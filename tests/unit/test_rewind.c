/* Taking back the end of a history, with a crash at every call of the disk. */
#include <errno.h>

#include "lib/store_help.h"
#include "store/listing.h"
#include "store/logwriter.h"
#include "store/rewind.h"

#define E2 INT64_C(0x200000000)

static struct simdisk disk;

static void setup(void) {
    simdisk_init(&disk, 1);
    disk.same_dir = true;
}
static void teardown(void) { simdisk_close(&disk); }

/* Snapshots at 0, 6, 11 and 2:4; transactions 1 to 12 and 2:1 to 2:7 in five logs, one of them with reserved zeros. */
static void fill(void) {
    simdisk_clear(&disk);
    simdisk_clear_faults(&disk);
    put_snapshot_file(&disk, 0, SNAPSHOT_PLAIN);
    put_snapshot_file(&disk, 6, SNAPSHOT_GZIP);
    put_snapshot_file(&disk, 11, SNAPSHOT_PLAIN);
    put_snapshot_file(&disk, E2 + 4, SNAPSHOT_SNAPPY);
    put_log_file(&disk, 1, 4, 0);
    put_log_file(&disk, 5, 9, 0);
    put_log_file(&disk, 10, 12, 4096);
    put_log_file(&disk, E2 + 1, E2 + 3, 0);
    put_log_file(&disk, E2 + 4, E2 + 7, 4096);
    simdisk_sync_all(&disk);
}

static const zxid_t points[] = {0, 1, 3, 4, 5, 6, 9, 10, 11, 12, E2 + 1, E2 + 3, E2 + 4, E2 + 6, E2 + 7};

static zxid_t end_of_history(void) {
    struct list_sink sink;
    struct recovery_options options = usual_options();
    struct recovery_result result = recover_list(&disk.disk, &options, &sink);
    ck_assert_msg(result.status == RECOVERY_OK, "%s", result.message);
    ck_assert(!sink.wrong);
    return sink.last;
}

static void expect_no_snapshot_above(zxid_t to) {
    struct store_files files;
    ck_assert_int_eq(store_files_list(&disk.disk, DISK_SNAP, "snapshot", &files), 0);
    for (int i = 0; i < files.count; i++)
        ck_assert_int_le(files.items[i].zxid, to);
    store_files_free(&files);
}

START_TEST(ends_where_it_should) {
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        fill();
        ck_assert_int_eq(store_rewind(&disk.disk, points[i]), 0);
        simdisk_crash(&disk, i);
        ck_assert_int_eq(end_of_history(), points[i]);
        expect_no_snapshot_above(points[i]);
        /* Again: nothing happens. */
        ck_assert_int_eq(store_rewind(&disk.disk, points[i]), 0);
        ck_assert_int_eq(end_of_history(), points[i]);
    }
    /* A place where there is nothing: what lies below it stays. */
    fill();
    ck_assert_int_eq(store_rewind(&disk.disk, 500), 0);
    ck_assert_int_eq(end_of_history(), 12);
    fill();
    ck_assert_int_eq(store_rewind(&disk.disk, INT64_MAX), 0);
    ck_assert_int_eq(end_of_history(), E2 + 7);
}
END_TEST

START_TEST(crash_anywhere) {
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        bool crashed = true;
        for (uint64_t at = 1; crashed; at++) {
            fill();
            simdisk_crash_at(&disk, SIMDISK_CHANGES, at);
            int err = store_rewind(&disk.disk, points[i]);
            crashed = disk.dead;
            ck_assert(crashed ? err != 0 : err == 0);
            if (at % 4 == 0)
                simdisk_kill(&disk);
            else
                simdisk_crash(&disk, at * 31 + i);
            zxid_t end = end_of_history();
            ck_assert_int_ge(end, points[i]);
            ck_assert_int_le(end, E2 + 7);
            ck_assert_int_eq(store_rewind(&disk.disk, points[i]), 0);
            ck_assert_int_eq(end_of_history(), points[i]);
        }
    }
}
END_TEST

START_TEST(error_anywhere) {
    for (uint64_t at = 1;; at++) {
        fill();
        simdisk_fail(&disk, SIMDISK_ALL_OPS, at, -EIO);
        int err = store_rewind(&disk.disk, 8);
        if (disk.calls < at) {
            ck_assert_int_eq(err, 0);
            break;
        }
        simdisk_clear_faults(&disk);
        zxid_t end = end_of_history();
        ck_assert(err != 0 ? end >= 8 : end == 8);
    }
}
END_TEST

/* Half of it gone, and nothing to go back to: better none of it. */
START_TEST(nothing_goes_without_a_snapshot_to_go_back_to) {
    fill();
    ck_assert_int_eq(disk.disk.unlink(disk.disk.ctx, DISK_SNAP, "snapshot.0"), 0);
    ck_assert_int_eq(store_rewind(&disk.disk, 5), -ENODATA);
    ck_assert_int_eq(end_of_history(), E2 + 7);
    ck_assert(simdisk_exists(&disk, DISK_SNAP, "snapshot.b"));
    simdisk_put(&disk, DISK_SNAP, "snapshot.3", "half a snapshot", 15);
    ck_assert_int_eq(store_rewind(&disk.disk, 5), -ENODATA);
    ck_assert_int_eq(store_rewind(&disk.disk, 6), 0);
    ck_assert_int_eq(end_of_history(), 6);
}
END_TEST

/* As a start without a write leaves it, or a crash of Java. */
START_TEST(logs_without_entries) {
    fill();
    simdisk_put(&disk, DISK_LOG, "log.8", txnlog_header, TXNLOG_HEADER_BYTES);
    simdisk_put(&disk, DISK_LOG, "log.200000009", txnlog_header, TXNLOG_HEADER_BYTES);
    ck_assert_int_eq(store_rewind(&disk.disk, 12), 0);
    ck_assert_int_eq(end_of_history(), 12);
    fill();
    simdisk_put(&disk, DISK_LOG, "log.d", "", 0);
    ck_assert_int_eq(store_rewind(&disk.disk, 14), 0);
    ck_assert_int_eq(end_of_history(), 12);
    ck_assert_int_eq(store_rewind(&disk.disk, 11), 0);
    ck_assert_int_eq(end_of_history(), 11);
}
END_TEST

/* Recovery gets past damage that a snapshot covers, so the cut must get there, too. */
START_TEST(cut_behind_damage_that_is_covered) {
    int64_t offsets[16];
    fill();
    struct buf b = make_log(5, 9, 0, offsets);
    b.data[offsets[0] + 40] ^= 0xff; /* transaction 5; the snapshot at 6 holds it */
    simdisk_put(&disk, DISK_LOG, "log.5", b.data, b.len);
    buf_free(&b);
    ck_assert_int_eq(store_rewind(&disk.disk, 8), 0);
    ck_assert_int_eq(end_of_history(), 8);
}
END_TEST

/* So many transactions of this size in log.1; orderly: the writer ends as at a stop. */
static void write_log(zxid_t count, size_t size, bool orderly) {
    struct logwriter_options options = {.prealloc_bytes = 65536, .force_sync = true};
    struct logwriter *w = logwriter_new(&disk.disk, &options);
    for (zxid_t z = 1; z <= count; z++) {
        struct buf b = BUF_INIT;
        put_entry(&b, z, size);
        struct iovec iov = {b.data, b.len};
        struct log_cmd cmd = {.type = LOG_CMD_APPEND, .roll = z == 1, .first_zxid = z, .last_zxid = z, .iov = &iov,
                              .iov_count = 1, .bytes = b.len};
        logwriter_execute(w, &cmd);
        ck_assert_int_eq(cmd.err, 0);
        buf_free(&b);
    }
    logwriter_free(w, orderly);
}

/* What it vouched for may be gone. */
START_TEST(side_file_goes) {
    struct synced_position position;
    put_snapshot_file(&disk, 0, SNAPSHOT_PLAIN);
    write_log(5, 10, true);
    ck_assert_int_eq(synced_position_read(&disk.disk, &position), 0);
    ck_assert(position.known);
    ck_assert_int_eq(store_rewind(&disk.disk, 3), 0);
    simdisk_crash(&disk, 3);
    ck_assert_int_eq(synced_position_read(&disk.disk, &position), 0);
    ck_assert(!position.known);
    ck_assert_int_eq(end_of_history(), 3);
}
END_TEST

/* 40 entries in one log, more than one to a sector. */
static void write_long_log(void) {
    simdisk_clear(&disk);
    simdisk_clear_faults(&disk);
    put_snapshot_file(&disk, 0, SNAPSHOT_PLAIN);
    write_log(40, 150, false);
    simdisk_sync_all(&disk);
}

/* The sync of the cut fails, and power goes: the rest of the sector at the cut may be zeros while the file still has its old
 * end. */
START_TEST(cut_that_cannot_be_synced) {
    for (uint64_t seed = 1; seed <= 40; seed++) {
        for (uint64_t at = 1;; at++) {
            write_long_log();
            simdisk_fail(&disk, SIMDISK_BIT(SIMDISK_SYNC), at, -EIO);
            int err = store_rewind(&disk.disk, 20);
            bool failed = disk.calls >= at;
            ck_assert(failed ? err != 0 : err == 0);
            simdisk_crash(&disk, seed * 1000 + at);
            zxid_t end = end_of_history();
            ck_assert_int_ge(end, 20);
            ck_assert_int_le(end, 40);
            ck_assert_int_eq(store_rewind(&disk.disk, 20), 0);
            ck_assert_int_eq(end_of_history(), 20);
            if (!failed)
                break;
        }
    }
}
END_TEST

static void make_tmp(zxid_t zxid) {
    char name[STORE_NAME_MAX], tmp[STORE_NAME_MAX];
    ck_assert_int_eq(write_small_snapshot(&disk.disk, zxid, SNAPSHOT_PLAIN, name), 0);
    store_snapshot_tmp_name(tmp, zxid);
    ck_assert_int_eq(disk.disk.rename(disk.disk.ctx, DISK_SNAP, tmp, STORE_TMP_PREFIX "received" STORE_TMP_SUFFIX), 0);
    simdisk_sync_all(&disk);
}

START_TEST(replaced_with_a_crash_anywhere) {
    static const zxid_t ends[] = {8, 12, E2 + 5, E2 + 40};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        bool crashed = true;
        for (uint64_t at = 1; crashed; at++) {
            fill();
            make_tmp(ends[i]);
            simdisk_crash_at(&disk, SIMDISK_CHANGES, at);
            int err = store_replace(&disk.disk, STORE_TMP_PREFIX "received" STORE_TMP_SUFFIX, ends[i]);
            if (err == 0 && !disk.dead)
                err = store_forget_older(&disk.disk, ends[i]);
            crashed = disk.dead;
            ck_assert(crashed ? err != 0 : err == 0);
            if (at % 4 == 0)
                simdisk_kill(&disk);
            else
                simdisk_crash(&disk, at * 17 + i);
            zxid_t end = end_of_history();
            ck_assert_int_ge(end, ends[i] < E2 + 7 ? ends[i] : E2 + 7);
            ck_assert_int_le(end, E2 + 40);
        }
        ck_assert_int_eq(end_of_history(), ends[i]);
    }
}
END_TEST

/* A crash before the older history has gone: it goes with the next start. If the snapshot cannot be read any more the older
 * history is none to start from: between it and the logs that follow there may be a hole that nobody sees. */
START_TEST(older_files_go_after_a_crash) {
    struct list_sink sink;
    struct recovery_options options = usual_options();
    for (int damaged = 0; damaged < 2; damaged++) {
        fill();
        make_tmp(E2 + 40);
        ck_assert_int_eq(store_replace(&disk.disk, STORE_TMP_PREFIX "received" STORE_TMP_SUFFIX, E2 + 40), 0);
        simdisk_crash(&disk, 1);
        if (damaged) {
            simdisk_put(&disk, DISK_SNAP, "snapshot.200000028", "ZKSN", 4);
            ck_assert_int_eq(recover_list(&disk.disk, &options, &sink).status, RECOVERY_REFUSED);
            ck_assert(simdisk_exists(&disk, DISK_LOG, "log.1"));
            continue;
        }
        ck_assert_int_eq(end_of_history(), E2 + 40);
        ck_assert(!simdisk_exists(&disk, DISK_LOG, "log.1"));
        ck_assert(!simdisk_exists(&disk, DISK_SNAP, "snapshot.b"));
        ck_assert(!simdisk_exists(&disk, DISK_SNAP, REPLACED_MARK_NAME));
    }
}
END_TEST

/* A crash right after the mark: nothing was replaced. */
START_TEST(mark_without_its_snapshot) {
    fill();
    simdisk_put(&disk, DISK_SNAP, REPLACED_MARK_NAME, "99", 2);
    ck_assert_int_eq(end_of_history(), E2 + 7);
    ck_assert(simdisk_exists(&disk, DISK_LOG, "log.1"));
    ck_assert(!simdisk_exists(&disk, DISK_SNAP, REPLACED_MARK_NAME));
}
END_TEST

START_TEST(older_files_go) {
    fill();
    simdisk_put(&disk, DISK_SNAP, "other.1", "x", 1);
    make_tmp(E2 + 4);
    ck_assert_int_eq(store_replace(&disk.disk, STORE_TMP_PREFIX "received" STORE_TMP_SUFFIX, E2 + 4), 0);
    ck_assert_int_eq(store_forget_older(&disk.disk, E2 + 4), 0);
    struct store_files files;
    ck_assert_int_eq(store_files_list(&disk.disk, DISK_LOG, "log", &files), 0);
    ck_assert_int_eq(files.count, 0);
    store_files_free(&files);
    ck_assert_int_eq(store_files_list(&disk.disk, DISK_SNAP, "snapshot", &files), 0);
    for (int i = 0; i < files.count; i++)
        ck_assert_int_eq(files.items[i].zxid, E2 + 4);
    ck_assert_int_ge(files.count, 1);
    store_files_free(&files);
    ck_assert(simdisk_exists(&disk, DISK_SNAP, "other.1"));
    ck_assert_int_eq(end_of_history(), E2 + 4);
}
END_TEST

START_TEST(marks) {
    ck_assert(!store_is_marked(&disk.disk));
    ck_assert_int_eq(store_mark(&disk.disk), 0);
    simdisk_crash(&disk, 1);
    ck_assert(store_is_marked(&disk.disk));
    ck_assert_int_eq(store_unmark(&disk.disk), 0);
    simdisk_crash(&disk, 1);
    ck_assert(!store_is_marked(&disk.disk));
    ck_assert_int_eq(store_unmark(&disk.disk), 0);
}
END_TEST

/* Marked before anything is set aside: in between it must not pass for a member without history that may vote. */
START_TEST(abandoned_with_a_crash_anywhere) {
    bool crashed = true;
    for (uint64_t at = 1; crashed; at++) {
        fill();
        simdisk_crash_at(&disk, SIMDISK_CHANGES, at);
        int err = store_abandon(&disk.disk);
        crashed = disk.dead;
        ck_assert(crashed ? err != 0 : err == 0);
        if (at % 3 == 0)
            simdisk_kill(&disk);
        else
            simdisk_crash(&disk, at);
        bool whole = simdisk_exists(&disk, DISK_SNAP, "snapshot.b") && simdisk_exists(&disk, DISK_LOG, "log.1") &&
                     simdisk_exists(&disk, DISK_LOG, "log.200000004");
        ck_assert(whole || store_is_marked(&disk.disk));
    }
    ck_assert_int_eq(end_of_history(), 0);
    ck_assert(simdisk_exists(&disk, DISK_SNAP, "set-aside.snapshot.b"));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("rewind");
    TCase *tc = tcase_create("rewind");
    tcase_set_timeout(tc, 120);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, ends_where_it_should);
    tcase_add_test(tc, crash_anywhere);
    tcase_add_test(tc, error_anywhere);
    tcase_add_test(tc, nothing_goes_without_a_snapshot_to_go_back_to);
    tcase_add_test(tc, logs_without_entries);
    tcase_add_test(tc, cut_behind_damage_that_is_covered);
    tcase_add_test(tc, side_file_goes);
    tcase_add_test(tc, cut_that_cannot_be_synced);
    tcase_add_test(tc, replaced_with_a_crash_anywhere);
    tcase_add_test(tc, older_files_go);
    tcase_add_test(tc, older_files_go_after_a_crash);
    tcase_add_test(tc, mark_without_its_snapshot);
    tcase_add_test(tc, marks);
    tcase_add_test(tc, abandoned_with_a_crash_anywhere);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
