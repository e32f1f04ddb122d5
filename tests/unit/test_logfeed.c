/* Transactions out of the log files, piece by piece. */
#include <errno.h>

#include "lib/store_help.h"
#include "store/listing.h"
#include "store/logfeed.h"

#define E2 INT64_C(0x200000000)
#define PIECES_MAX 10000

static struct simdisk disk;
static struct logfeed_order order;
static struct logfeed_piece piece; /* the last one */

/* What was read: zxids, and at how many places one does not follow the one before. */
static zxid_t first, last;
static size_t count, gaps, pieces;

static void setup(void) {
    simdisk_init(&disk, 1);
    disk.same_dir = true;
    order = (struct logfeed_order){.upto = INT64_MAX, .max_bytes = 100};
}
static void teardown(void) { simdisk_close(&disk); }

static void take(void *ctx, zxid_t zxid, struct slice payload) {
    struct buf expected = BUF_INIT;
    (void)ctx;
    put_payload(&expected, zxid, (size_t)zxid % 5 * 20);
    ck_assert(slice_eq(payload, buf_slice(&expected)));
    buf_free(&expected);
    gaps += count != 0 && zxid != last + 1;
    first = count++ == 0 ? zxid : first;
    last = zxid;
}

static bool read_one(struct logfeed *f) {
    size_t before = count;
    piece = logfeed_read(f, &disk.disk, &order, take, NULL);
    ck_assert_uint_eq(piece.count, count - before);
    ck_assert(piece.count == 0 || (piece.last == last && piece.last - piece.first + 1 == (zxid_t)piece.count));
    ck_assert((piece.status == LOGFEED_FAILED) == (piece.why != NULL));
    return piece.status == LOGFEED_MORE;
}

static void read_on(struct logfeed *f) {
    for (pieces = 1; read_one(f); pieces++)
        ck_assert_uint_lt(pieces, PIECES_MAX);
}

static void begin(void) { count = gaps = 0; first = last = -1; }

static void read_from(zxid_t after, zxid_t upto) {
    struct logfeed *f = logfeed_new(after);
    order.upto = upto;
    begin();
    read_on(f);
    logfeed_free(f);
}

static void expect(enum logfeed_status status, zxid_t from, zxid_t to) {
    ck_assert_msg(piece.status == status, "status %d: %s", (int)piece.status, piece.why != NULL ? piece.why : "");
    ck_assert_int_eq(first, from);
    ck_assert_int_eq(last, to);
}

static void remove_log(zxid_t zxid) {
    char name[STORE_NAME_MAX];
    store_log_name(name, zxid);
    ck_assert_int_eq(disk.disk.unlink(disk.disk.ctx, DISK_LOG, name), 0);
}

/* 1 to 30, in files from 1, 11 and 21 on, the last one with reserved space; then 2:1 to 2:9. */
static void fill(void) {
    simdisk_clear(&disk);
    put_log_file(&disk, 1, 10, 0);
    put_log_file(&disk, 11, 20, 0);
    put_log_file(&disk, 21, 30, 4096);
    put_log_file(&disk, E2 + 1, E2 + 9, 8192);
}

START_TEST(from_anywhere_to_anywhere) {
    fill();
    for (zxid_t after = 0; after < 30; after++)
        for (zxid_t upto = after + 1; upto <= 30; upto++) {
            read_from(after, upto);
            expect(LOGFEED_REACHED, after + 1, upto);
            ck_assert_uint_eq(gaps, 0);
            ck_assert_int_eq(piece.before, after == 0 ? -1 : after);
            ck_assert_uint_ge(pieces, (size_t)(upto - after) / 2);
        }
    /* All at once. */
    order.max_bytes = 1 << 20;
    read_from(5, 30);
    expect(LOGFEED_REACHED, 6, 30);
    ck_assert_uint_eq(pieces, 1);
    /* Nothing there is wanted, or not yet. */
    read_from(30, 30);
    expect(LOGFEED_REACHED, -1, -1);
    read_from(30, 25);
    expect(LOGFEED_REACHED, -1, -1);
}
END_TEST

/* A piece never holds a gap: whoever knows better says what is one. */
START_TEST(gap_begins_a_piece) {
    fill();
    order.max_bytes = 1 << 20;
    read_from(25, E2 + 9);
    expect(LOGFEED_REACHED, 26, E2 + 9);
    ck_assert_uint_eq(pieces, 2);
    ck_assert_int_eq(piece.first, E2 + 1);
    ck_assert_uint_eq(gaps, 1);
    /* A zxid that begins an epoch is in no log. */
    read_from(E2, E2 + 9);
    expect(LOGFEED_REACHED, E2 + 1, E2 + 9);
    ck_assert_int_eq(piece.before, 30);
    read_from(E2 + 12, 2 * E2);
    expect(LOGFEED_FAILED, -1, -1);
    /* Nor is what a learner has that nobody committed. */
    read_from(33, E2 + 9);
    expect(LOGFEED_REACHED, E2 + 1, E2 + 9);
    ck_assert_int_eq(piece.before, 30);
    remove_log(11);
    read_from(5, 30);
    expect(LOGFEED_REACHED, 6, 30);
    ck_assert_uint_eq(gaps, 1);
}
END_TEST

START_TEST(logs_that_begin_too_late) {
    fill();
    remove_log(1);
    read_from(5, 30);
    expect(LOGFEED_REACHED, 11, 30);
    ck_assert_int_eq(piece.before, -1);
    read_from(10, 30);
    expect(LOGFEED_REACHED, 11, 30);
    ck_assert_int_eq(piece.before, -1);
    read_from(11, 30);
    expect(LOGFEED_REACHED, 12, 30);
    ck_assert_int_eq(piece.before, 11);
    simdisk_clear(&disk);
    read_from(5, 30);
    expect(LOGFEED_FAILED, -1, -1);
}
END_TEST

/* A log without entries, or one that is damaged where it begins, stands in the way to the one that has what is looked for. */
START_TEST(empty_logs_and_copies) {
    struct buf copy = make_log(1, 10, 0, NULL);
    fill();
    remove_log(11);
    remove_log(21);
    put_log_file(&disk, 11, 30, 0);
    simdisk_put(&disk, DISK_LOG, "log.f", txnlog_header, TXNLOG_HEADER_BYTES);
    simdisk_put(&disk, DISK_LOG, "log.10", "ZK", 2);
    simdisk_put(&disk, DISK_LOG, "log.1.bak", copy.data, copy.len);
    read_from(16, 30);
    expect(LOGFEED_REACHED, 17, 30);
    ck_assert_int_eq(piece.before, 16);
    read_from(3, E2 + 2);
    expect(LOGFEED_REACHED, 4, E2 + 2);
    ck_assert_uint_eq(gaps, 1);
    buf_free(&copy);
}
END_TEST

/* What cannot be read is as if it were not there. */
START_TEST(damage_anywhere) {
    int64_t offsets[11];
    struct buf log = make_log(11, 20, 0, offsets);
    for (size_t i = 0; i < 10; i++) {
        for (int64_t at = offsets[i]; at < offsets[i + 1]; at += 3) {
            fill();
            log.data[at] ^= 0x55;
            simdisk_put(&disk, DISK_LOG, "log.b", log.data, log.len);
            log.data[at] ^= 0x55;
            read_from(5, 30);
            expect(LOGFEED_REACHED, 6, 30);
            ck_assert_uint_eq(gaps, 1);
            ck_assert_uint_eq(count, 25 - (10 - i));
        }
        fill();
        simdisk_put(&disk, DISK_LOG, "log.b", log.data, (size_t)offsets[i] + 5);
        read_from(5, 30);
        expect(LOGFEED_REACHED, 6, 30);
        ck_assert_uint_eq(count, 25 - (10 - i));
    }
    /* At the end nothing comes behind it. */
    fill();
    remove_log(21);
    remove_log(E2 + 1);
    simdisk_put(&disk, DISK_LOG, "log.b", log.data, (size_t)offsets[7] + 5);
    read_from(5, 20);
    expect(LOGFEED_FAILED, 6, 17);
    buf_free(&log);
}
END_TEST

/* Nothing above the limit is looked at: it may be half written. */
START_TEST(log_that_is_being_written) {
    int64_t offsets[41];
    struct buf log = make_log(1, 40, 0, offsets);
    struct logfeed *f = logfeed_new(3);
    int handle = disk.disk.open(disk.disk.ctx, DISK_LOG, "log.1", DISK_CREATE);
    ck_assert_int_ge(handle, 0);
    ck_assert_int_eq(disk.disk.allocate(disk.disk.ctx, handle, 0, (int64_t)log.len + 1000), 0);
    begin();
    int64_t written = 0;
    for (zxid_t upto = 1; upto <= 40; upto++) {
        int64_t half = upto < 40 ? (offsets[upto] + offsets[upto + 1]) / 2 : offsets[40];
        ck_assert_int_eq(disk_write_all(&disk.disk, handle, log.data + written, (size_t)(half - written), written), 0);
        written = half;
        order.upto = upto;
        read_on(f);
        ck_assert_int_eq(piece.status, LOGFEED_REACHED);
        ck_assert_int_eq(last, upto > 3 ? upto : -1);
    }
    /* It goes on in another file, which was not there when this one was opened. */
    put_log_file(&disk, 41, 50, 0);
    order.upto = 50;
    read_on(f);
    expect(LOGFEED_REACHED, 4, 50);
    ck_assert_uint_eq(gaps, 0);
    disk.disk.close(disk.disk.ctx, handle);
    logfeed_free(f);
    buf_free(&log);
}
END_TEST

START_TEST(limit_is_raised_once_it_is_reached) {
    fill();
    struct logfeed *f = logfeed_new(3);
    begin();
    order.upto = 25;
    ck_assert(read_one(f));
    order.upto = 28;
    read_on(f);
    expect(LOGFEED_REACHED, 4, 25);
    read_on(f);
    expect(LOGFEED_REACHED, 4, 28);
    logfeed_free(f);
}
END_TEST

static int64_t size_of(const char *name) {
    size_t size;
    void *content = simdisk_get(&disk, DISK_LOG, name, &size);
    ck_assert_ptr_nonnull(content);
    mem_free(content);
    return (int64_t)size;
}

/* As Java: the first one does not count. What is reserved in the last one does not either. */
START_TEST(size_of_logs) {
    fill();
    int64_t behind_1 = size_of("log.b") + size_of("log.15") + size_of("log.200000001");
    for (int i = 0; i < 2; i++) {
        order.max_log_bytes = behind_1 - i;
        read_from(5, 30);
        expect(i == 0 ? LOGFEED_REACHED : LOGFEED_FAILED, i == 0 ? 6 : -1, i == 0 ? 30 : -1);
    }
    order.current_log = E2 + 1;
    order.reserved_bytes = 1;
    read_from(5, 30);
    expect(LOGFEED_REACHED, 6, 30);
    order.max_log_bytes = 1;
    read_from(E2 + 1, E2 + 9);
    expect(LOGFEED_REACHED, E2 + 2, E2 + 9);
    order.max_log_bytes = 0;
    read_from(5, 30);
    expect(LOGFEED_REACHED, 6, 30);
}
END_TEST

/* Behind a snapshot all counts, but only from there on. */
START_TEST(size_of_logs_from_the_start_on) {
    int64_t offsets[11];
    struct buf log = make_log(1, 10, 0, offsets);
    fill();
    int64_t behind_1 = size_of("log.b") + size_of("log.15") + size_of("log.200000001");
    order.all_bytes = true;
    for (zxid_t after = 1; after <= 10; after++)
        for (int i = 0; i < 2; i++) { /* from 10 on the first one holds nothing of it */
            order.max_log_bytes = behind_1 + (after < 10 ? offsets[10] - offsets[after] : 0) - i;
            read_from(after, 30);
            expect(i == 0 ? LOGFEED_REACHED : LOGFEED_FAILED, i == 0 ? after + 1 : -1, i == 0 ? 30 : -1);
        }
    order.max_log_bytes = 0;
    read_from(1, 30);
    expect(LOGFEED_REACHED, 2, 30);
    /* In the newest one, without what is reserved in it. */
    buf_free(&log);
    log = make_log(E2 + 1, E2 + 9, 0, offsets);
    order.current_log = E2 + 1;
    order.reserved_bytes = size_of("log.200000001") - offsets[9];
    order.max_log_bytes = offsets[9] - offsets[4];
    read_from(E2 + 4, E2 + 9);
    expect(LOGFEED_REACHED, E2 + 5, E2 + 9);
    read_from(E2 + 3, E2 + 9);
    expect(LOGFEED_FAILED, -1, -1);
    /* Where it is looked for in older ones, too. */
    order.reserved_bytes = 0;
    order.max_log_bytes = behind_1;
    simdisk_put(&disk, DISK_LOG, "log.a", txnlog_header, TXNLOG_HEADER_BYTES);
    read_from(9, 30);
    expect(LOGFEED_FAILED, -1, -1);
    order.max_log_bytes += TXNLOG_HEADER_BYTES + size_of("log.1");
    read_from(9, 30);
    expect(LOGFEED_REACHED, 10, 30);
    buf_free(&log);
}
END_TEST

START_TEST(logs_that_are_removed_meanwhile) {
    fill();
    order.max_bytes = 1;
    struct logfeed *f = logfeed_new(3);
    begin();
    order.upto = 30;
    ck_assert(read_one(f));
    remove_log(1); /* it is open */
    while (last < 10)
        ck_assert(read_one(f));
    remove_log(11);
    remove_log(21);
    read_on(f);
    expect(LOGFEED_FAILED, 4, 10);
    logfeed_free(f);
    /* And those that are there cannot be opened. */
    fill();
    f = logfeed_new(3);
    begin();
    while (last < 10)
        ck_assert(read_one(f));
    simdisk_fail(&disk, SIMDISK_BIT(SIMDISK_OPEN), 1, -ENOENT);
    read_on(f);
    expect(LOGFEED_FAILED, 4, 10);
    /* It stays so. */
    read_on(f);
    expect(LOGFEED_FAILED, 4, 10);
    logfeed_free(f);
}
END_TEST

/* Whatever call of the disk fails: no gap, and an end. */
START_TEST(errors_of_the_disk) {
    bool failed = true;
    for (uint64_t n = 1; failed; n++) {
        fill();
        simdisk_clear_faults(&disk);
        simdisk_fail_forever(&disk, SIMDISK_ALL_OPS & ~SIMDISK_BIT(SIMDISK_CLOSE), n, -EIO);
        read_from(5, 30);
        failed = piece.status == LOGFEED_FAILED;
        ck_assert_uint_eq(gaps, 0);
        ck_assert(failed || last == 30);
        ck_assert_uint_lt(n, 100);
    }
    simdisk_clear_faults(&disk);
}
END_TEST

/* A long way to the start is gone in steps. */
START_TEST(skips_in_steps) {
    struct buf log = BUF_INIT;
    buf_append(&log, txnlog_header, TXNLOG_HEADER_BYTES);
    for (zxid_t z = 1; z <= 12; z++)
        put_entry(&log, z, z < 12 ? (size_t)1 << 20 : 12 % 5 * 20);
    simdisk_put(&disk, DISK_LOG, "log.1", log.data, log.len);
    buf_free(&log);
    struct logfeed *f = logfeed_new(11);
    order.upto = 12;
    begin();
    for (pieces = 0; read_one(f); pieces++)
        ck_assert_uint_eq(piece.count, 0);
    ck_assert_int_eq(piece.status, LOGFEED_REACHED);
    ck_assert_int_eq(last, 12);
    ck_assert_uint_ge(pieces, 2);
    logfeed_free(f);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("logfeed");
    TCase *tc = tcase_create("logfeed");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, from_anywhere_to_anywhere);
    tcase_add_test(tc, gap_begins_a_piece);
    tcase_add_test(tc, logs_that_begin_too_late);
    tcase_add_test(tc, empty_logs_and_copies);
    tcase_add_test(tc, damage_anywhere);
    tcase_add_test(tc, log_that_is_being_written);
    tcase_add_test(tc, limit_is_raised_once_it_is_reached);
    tcase_add_test(tc, size_of_logs);
    tcase_add_test(tc, size_of_logs_from_the_start_on);
    tcase_add_test(tc, logs_that_are_removed_meanwhile);
    tcase_add_test(tc, errors_of_the_disk);
    tcase_add_test(tc, skips_in_steps);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
