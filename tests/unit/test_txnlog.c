/* The format of transaction logs: byte for byte, torn and damaged at every place. */
#include <errno.h>
#include <time.h>

#include "lib/store_help.h"

#define MAX_PAYLOAD ((size_t)16 << 20)

static struct simdisk disk;

static void setup(void) {
    simdisk_init(&disk, 1);
    disk.same_dir = true;
}
static void teardown(void) { simdisk_close(&disk); }

static struct txnlog_reader *open_log(const char *name) {
    int err;
    struct txnlog_reader *r = txnlog_reader_open(&disk.disk, name, MAX_PAYLOAD, &err);
    ck_assert_ptr_nonnull(r);
    ck_assert_int_eq(err, 0);
    return r;
}

/* Reads on while there are entries; they must come in a row from first on. */
static struct txnlog_result read_entries(struct txnlog_reader *r, zxid_t first, zxid_t *next) {
    for (*next = first;; (*next)++) {
        struct txnlog_result at = txnlog_reader_next(r);
        if (at.status != TXNLOG_RECORD)
            return at;
        ck_assert_int_eq(txnlog_payload_zxid(at.payload), *next);
        struct buf expected = BUF_INIT;
        put_payload(&expected, *next, (size_t)*next % 5 * 20);
        ck_assert(slice_eq(at.payload, buf_slice(&expected)));
        buf_free(&expected);
    }
}

/* The first entry of a fresh Java server's log, docs/protocol/disk-format.md section 3. */
START_TEST(entry_as_java_writes_it) {
    static const uint8_t java[] = {0x00, 0x00, 0x00, 0x00, 0xb7, 0x95, 0x0a, 0x51, 0x00, 0x00, 0x00, 0x30, 0x01, 0x00, 0x00, 0x1d,
                                   0x3d, 0x42, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01,
                                   0x00, 0x00, 0x01, 0xa1, 0xfb, 0x87, 0x75, 0xa0, 0xff, 0xff, 0xff, 0xf6, 0x00, 0x00, 0x27, 0x10,
                                   0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x51, 0xc6, 0xd6, 0x60, 0x42};
    struct buf b = BUF_INIT;
    buf_append(&b, "xyz", 3); /* an entry may begin anywhere in the buffer */
    size_t start = txnlog_entry_begin(&b);
    txn_header_put(&b, &(struct txn_header){.client_id = 0x0100001d3d420000, .zxid = 1, .time_ms = 0x1a1fb8775a0,
                                            .type = OP_CREATE_SESSION});
    txn_record_put(&b, &(struct txn){.type = OP_CREATE_SESSION, .timeout_ms = 10000});
    txn_digest_put(&b, 1371985504);
    txnlog_entry_end(&b, start);
    ck_assert_uint_eq(b.len, 3 + sizeof java);
    ck_assert_mem_eq(b.data + 3, java, sizeof java);
    buf_free(&b);
}
END_TEST

START_TEST(header_bytes) { ck_assert_mem_eq(txnlog_header, "ZKLG\0\0\0\2\0\0\0\0\0\0\0\0", 16); }
END_TEST

START_TEST(reads_java_logs) {
    static const struct {
        const char *name;
        int entries;
        int64_t end;
    } logs[] = {{"log.1", 15, 0x602}, {"log.10", 18, 0x81d}, {"log.22", 15, 0x650}};
    ck_assert_int_eq(simdisk_import(&disk, DISK_SNAP, FIXTURES "/a-standalone/data/version-2"), 6);
    for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
        struct txnlog_reader *r = open_log(logs[i].name);
        struct txnlog_result at;
        int count = 0;
        while ((at = txnlog_reader_next(r)).status == TXNLOG_RECORD) {
            struct txn_header h;
            struct txn t;
            int32_t version;
            uint64_t digest;
            ck_assert(txn_decode(at.payload, &h, &t, &version, &digest));
            ck_assert_int_eq(version, t.type == OP_ERROR ? 0 : DIGEST_VERSION);
            count++;
        }
        ck_assert_int_eq(at.status, TXNLOG_END);
        ck_assert_int_eq(at.offset, logs[i].end);
        ck_assert_int_eq(count, logs[i].entries);
        ck_assert_int_eq(txnlog_reader_size(r), 16400);
        ck_assert_int_eq(txnlog_reader_data_end(r, at.offset), at.offset);
        txnlog_reader_close(r);
    }
}
END_TEST

START_TEST(end_is_sticky) {
    zxid_t next;
    put_log_file(&disk, 5, 9, 2000);
    struct txnlog_reader *r = open_log("log.5");
    struct txnlog_result at = read_entries(r, 5, &next);
    ck_assert_int_eq(next, 10);
    ck_assert_int_eq(at.status, TXNLOG_END);
    ck_assert_int_eq(txnlog_reader_next(r).status, TXNLOG_END);
    ck_assert_int_eq(txnlog_reader_next(r).offset, at.offset);
    txnlog_reader_close(r);
}
END_TEST

START_TEST(missing_file) {
    int err;
    ck_assert_ptr_null(txnlog_reader_open(&disk.disk, "log.7", MAX_PAYLOAD, &err));
    ck_assert_int_eq(err, -ENOENT);
}
END_TEST

/* Cut at every length: the entries before the cut come, then the end or "torn", and nothing else. */
START_TEST(cut_at_every_byte) {
    int64_t offsets[8];
    struct buf whole = make_log(1, 6, 0, offsets);
    for (size_t len = 0; len <= whole.len; len++) {
        zxid_t next;
        simdisk_put(&disk, DISK_LOG, "log.1", whole.data, len);
        struct txnlog_reader *r = open_log("log.1");
        struct txnlog_result at = read_entries(r, 1, &next);
        zxid_t complete = 0;
        while (complete < 6 && offsets[complete + 1] <= (int64_t)len)
            complete++;
        ck_assert_int_eq(next, complete + 1);
        bool boundary = len >= TXNLOG_HEADER_BYTES && offsets[complete] == (int64_t)len;
        /* Up to three bytes of an entry may be zero, as in padding: the checksum is a long. */
        bool zeros = len >= TXNLOG_HEADER_BYTES && (int64_t)len - offsets[complete] <= 4;
        ck_assert_int_eq(at.status, boundary || zeros ? TXNLOG_END : TXNLOG_TORN);
        ck_assert_int_eq(at.offset, len < TXNLOG_HEADER_BYTES ? 0 : offsets[complete]);
        int64_t offset;
        zxid_t zxid;
        ck_assert(!txnlog_reader_resync(r, -1, &offset, &zxid));
        txnlog_reader_close(r);
    }
    buf_free(&whole);
}
END_TEST

/* Every bit of the third of five entries flipped: the first two come, then damage, and the fourth is found behind it. */
START_TEST(every_bit_flipped) {
    int64_t offsets[8];
    struct buf whole = make_log(1, 5, 4096, offsets);
    for (int64_t i = offsets[2] * 8; i < offsets[3] * 8; i++) {
        zxid_t next, zxid;
        int64_t offset;
        whole.data[i / 8] ^= (uint8_t)(1 << i % 8);
        simdisk_put(&disk, DISK_LOG, "log.1", whole.data, whole.len);
        whole.data[i / 8] ^= (uint8_t)(1 << i % 8);
        struct txnlog_reader *r = open_log("log.1");
        struct txnlog_result at = read_entries(r, 1, &next);
        ck_assert_int_eq(next, 3);
        ck_assert_int_eq(at.offset, offsets[2]);
        int64_t byte = i / 8 - offsets[2];
        if (at.status == TXNLOG_DAMAGED && byte >= 12 && i / 8 < offsets[3] - 1)
            ck_assert_int_eq(at.damage, TXNLOG_BAD_CHECKSUM);
        if (i / 8 == offsets[3] - 1)
            ck_assert_int_eq(at.damage, TXNLOG_BAD_END_BYTE);
        ck_assert(at.status == TXNLOG_DAMAGED || (at.status == TXNLOG_TORN && byte >= 8 && byte < 12));
        ck_assert(txnlog_reader_resync(r, -1, &offset, &zxid));
        ck_assert_int_eq(offset, offsets[3]);
        ck_assert_int_eq(zxid, 4);
        /* Only the length word can lead astray. */
        bool skipped = txnlog_reader_skip(r, &zxid);
        ck_assert_int_eq(skipped, byte < 8 || byte >= 12);
        if (skipped)
            ck_assert_int_eq(read_entries(r, 4, &next).status, TXNLOG_END);
        txnlog_reader_close(r);
    }
    buf_free(&whole);
}
END_TEST

START_TEST(header_damage) {
    struct buf whole = make_log(1, 5, 4096, NULL);
    for (int i = 0; i < 16; i++) {
        int64_t offset;
        zxid_t zxid;
        whole.data[i] ^= 0x10;
        simdisk_put(&disk, DISK_LOG, "log.1", whole.data, whole.len);
        whole.data[i] ^= 0x10;
        struct txnlog_reader *r = open_log("log.1");
        struct txnlog_result at = txnlog_reader_next(r);
        if (i < 4) {
            ck_assert_int_eq(at.damage, TXNLOG_BAD_MAGIC);
            ck_assert_int_eq(at.offset, 0);
            ck_assert(txnlog_reader_resync(r, -1, &offset, &zxid));
            ck_assert_int_eq(offset, 16);
        } else { /* version and dbid are not looked at */
            ck_assert_int_eq(at.status, TXNLOG_RECORD);
        }
        txnlog_reader_close(r);
    }
    buf_free(&whole);
}
END_TEST

START_TEST(zero_hole) {
    int64_t offsets[8], offset;
    zxid_t next, zxid;
    struct buf whole = make_log(1, 5, 4096, offsets);
    memset(whole.data + offsets[2], 0, (size_t)(offsets[3] - offsets[2]));
    simdisk_put(&disk, DISK_LOG, "log.1", whole.data, whole.len);
    struct txnlog_reader *r = open_log("log.1");
    struct txnlog_result at = read_entries(r, 1, &next);
    ck_assert_int_eq(at.status, TXNLOG_END);
    ck_assert_int_eq(at.offset, offsets[2]);
    ck_assert_int_eq(txnlog_reader_data_end(r, at.offset), offsets[5]);
    ck_assert(txnlog_reader_resync(r, -1, &offset, &zxid));
    ck_assert_int_eq(offset, offsets[3]);
    txnlog_reader_close(r);
    buf_free(&whole);
}
END_TEST

/* A node may hold a copy of an old log: that is no sign of something lost. */
START_TEST(older_entries_in_data_do_not_count) {
    struct buf b = make_log(50, 51, 0, NULL), old = make_log(1, 3, 0, NULL);
    int64_t offset;
    zxid_t next, zxid;
    buf_append(&b, "\0\0\0\0torn", 8);
    buf_append(&b, old.data, old.len);
    simdisk_put(&disk, DISK_LOG, "log.32", b.data, b.len);
    struct txnlog_reader *r = open_log("log.32");
    read_entries(r, 50, &next);
    ck_assert_int_eq(next, 52);
    ck_assert(!txnlog_reader_resync(r, 51, &offset, &zxid));
    txnlog_reader_close(r);
    buf_free(&b);
    buf_free(&old);
}
END_TEST

START_TEST(lengths_are_bounded) {
    static const uint32_t lengths[] = {0xffffffff, 0x80000000, 0x7fffffff, 16u << 20, (16u << 20) + 1, 31, 1};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct buf b = make_log(1, 1, 0, NULL);
        size_t at = b.len;
        put_entry(&b, 2, 0);
        jute_patch_int(&b, at + 8, (int32_t)lengths[i]);
        simdisk_put(&disk, DISK_LOG, "log.1", b.data, b.len);
        struct txnlog_reader *r = open_log("log.1");
        txnlog_reader_next(r);
        struct txnlog_result bad = txnlog_reader_next(r);
        ck_assert_int_eq(bad.status, lengths[i] == 16u << 20 ? TXNLOG_TORN : TXNLOG_DAMAGED);
        ck_assert_int_eq(bad.damage, lengths[i] == 16u << 20 ? TXNLOG_BAD_NONE : TXNLOG_BAD_LENGTH);
        txnlog_reader_close(r);
        buf_free(&b);
    }
}
END_TEST

/* Entries larger than what is read at once, and short reads. */
START_TEST(large_entries) {
    struct buf b = BUF_INIT;
    buf_append(&b, txnlog_header, TXNLOG_HEADER_BYTES);
    static const size_t extras[] = {10, 300000, 0, 1000000, 70000, 262144};
    for (size_t i = 0; i < ARRAY_LEN(extras); i++)
        put_entry(&b, (zxid_t)i + 1, extras[i]);
    simdisk_put(&disk, DISK_LOG, "log.1", b.data, b.len);
    disk.short_writes = true;
    struct txnlog_reader *r = open_log("log.1");
    for (size_t i = 0; i < ARRAY_LEN(extras); i++) {
        struct buf expected = BUF_INIT;
        put_payload(&expected, (zxid_t)i + 1, extras[i]);
        struct txnlog_result at = txnlog_reader_next(r);
        ck_assert_int_eq(at.status, TXNLOG_RECORD);
        ck_assert(slice_eq(at.payload, buf_slice(&expected)));
        buf_free(&expected);
    }
    ck_assert_int_eq(txnlog_reader_next(r).status, TXNLOG_END);
    txnlog_reader_close(r);
    buf_free(&b);
}
END_TEST

/* Resync over a large damaged entry, whose bytes are like anything. */
START_TEST(resync_far_away) {
    int64_t offset;
    zxid_t zxid;
    struct buf b = make_log(1, 1, 0, NULL);
    size_t damaged = b.len;
    put_entry(&b, 2, 900000);
    size_t behind = b.len;
    put_entry(&b, 3, 0);
    b.data[damaged + 5000] ^= 1;
    simdisk_put(&disk, DISK_LOG, "log.1", b.data, b.len);
    struct txnlog_reader *r = open_log("log.1");
    txnlog_reader_next(r);
    ck_assert_int_eq(txnlog_reader_next(r).damage, TXNLOG_BAD_CHECKSUM);
    ck_assert(txnlog_reader_resync(r, -1, &offset, &zxid));
    ck_assert_int_eq(offset, (int64_t)behind);
    ck_assert_int_eq(zxid, 3);
    txnlog_reader_close(r);
    buf_free(&b);
}
END_TEST

START_TEST(padding_is_looked_through_quickly) {
    int64_t offset;
    zxid_t zxid, next;
    struct buf b = make_log(1, 3, 0, NULL);
    simdisk_put(&disk, DISK_LOG, "log.1", b.data, b.len);
    int h = disk.disk.open(disk.disk.ctx, DISK_LOG, "log.1", DISK_READWRITE);
    ck_assert_int_eq(disk.disk.allocate(disk.disk.ctx, h, 0, 64 << 20), 0);
    struct txnlog_reader *r = open_log("log.1");
    read_entries(r, 1, &next);
    clock_t start = clock();
    ck_assert(!txnlog_reader_resync(r, -1, &offset, &zxid));
    ck_assert_int_eq(txnlog_reader_data_end(r, (int64_t)b.len), (int64_t)b.len);
    /* Byte by byte it would take much longer, whatever the machine and the sanitizer. */
    ck_assert_int_lt((clock() - start) / (CLOCKS_PER_SEC / 1000), 5000);
    txnlog_reader_close(r);
    buf_free(&b);
}
END_TEST

START_TEST(disk_errors_are_told) {
    put_log_file(&disk, 1, 5, 4096);
    for (uint64_t n = 1; n < 20; n++) {
        int err;
        zxid_t next, zxid;
        int64_t offset;
        simdisk_clear_faults(&disk);
        disk.counted_ops = SIMDISK_BIT(SIMDISK_OPEN) | SIMDISK_BIT(SIMDISK_SIZE) | SIMDISK_BIT(SIMDISK_READ);
        disk.fail_at = n;
        disk.fail_errno = -EIO;
        struct txnlog_reader *r = txnlog_reader_open(&disk.disk, "log.1", MAX_PAYLOAD, &err);
        if (r == NULL) {
            ck_assert_int_eq(err, -EIO);
            ck_assert_uint_le(n, 2);
            continue;
        }
        struct txnlog_result at = read_entries(r, 1, &next);
        ck_assert(at.status == TXNLOG_IO || next == 6);
        if (at.status == TXNLOG_IO)
            ck_assert_int_eq(at.err, -EIO);
        txnlog_reader_resync(r, -1, &offset, &zxid);
        txnlog_reader_data_end(r, 16);
        ck_assert_int_eq(txnlog_reader_err(r), disk.calls >= n ? -EIO : 0);
        txnlog_reader_close(r);
    }
}
END_TEST

START_TEST(damage_texts) {
    for (enum txnlog_damage d = TXNLOG_BAD_NONE; d <= TXNLOG_BAD_MAGIC; d++)
        ck_assert_uint_gt(strlen(txnlog_damage_text(d)), 5);
    ck_assert_int_eq(txnlog_payload_zxid(SLICE_LIT("too short")), -1);
}
END_TEST

/* ------------------------------------------------------------------ names */

START_TEST(names_written) {
    char name[STORE_NAME_MAX];
    store_log_name(name, 0x1000000d1);
    ck_assert_str_eq(name, "log.1000000d1");
    store_log_name(name, 0);
    ck_assert_str_eq(name, "log.0");
    store_log_name(name, -1);
    ck_assert_str_eq(name, "log.ffffffffffffffff");
    store_snapshot_name(name, 0xab, SNAPSHOT_PLAIN);
    ck_assert_str_eq(name, "snapshot.ab");
    store_snapshot_name(name, 0xab, SNAPSHOT_GZIP);
    ck_assert_str_eq(name, "snapshot.ab.gz");
    store_snapshot_name(name, 0xab, SNAPSHOT_SNAPPY);
    ck_assert_str_eq(name, "snapshot.ab.snappy");
    store_snapshot_tmp_name(name, INT64_MAX);
    ck_assert_str_eq(name, "zabra.snapshot.7fffffffffffffff.tmp");
}
END_TEST

START_TEST(names_read) {
    static const struct {
        const char *name, *prefix;
        zxid_t zxid;
    } cases[] = {
        {"log.1", "log", 1},
        {"log.0", "log", 0},
        {"log.1000000D1", "log", 0x1000000d1},
        {"log.1.bak", "log", 1},
        {"snapshot.99.bak", "snapshot", 0x99},
        {"snapshot.34.snappy", "snapshot", 0x34},
        {"log.7fffffffffffffff", "log", INT64_MAX},
        {"log.ffffffffffffffff", "log", -1},
        {"log.-5", "log", -1},
        {"log", "log", -1},
        {"log.", "log", -1},
        {"log..1", "log", -1},
        {"log.old", "log", -1},
        {"log.1x", "log", -1},
        {"log.0x1", "log", -1},
        {"catalog.1", "log", -1},
        {"logs.1", "log", -1},
        {"log.1", "snapshot", -1},
        {"set-aside.log.1.1", "log", -1},
        {"zabra.snapshot.1.tmp", "snapshot", -1},
        {"zabra.synced", "log", -1},
        {"", "log", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        ck_assert_msg(store_name_zxid(cases[i].name, cases[i].prefix) == cases[i].zxid, "%s", cases[i].name);
    ck_assert(store_name_has_prefix("log.old", "log"));
    ck_assert(!store_name_has_prefix("log", "log"));
    ck_assert(store_name_is_own_tmp("zabra.snapshot.5.tmp"));
    ck_assert(!store_name_is_own_tmp("snapshot.5.tmp"));
    ck_assert(!store_name_is_own_tmp("zabra.synced"));
    ck_assert(!store_name_is_own_tmp("currentEpoch.tmp"));
    ck_assert(!store_name_is_own_tmp("zabra.tmp"));
}
END_TEST

START_TEST(methods_read) {
    ck_assert_int_eq(store_snapshot_method("snapshot.1"), SNAPSHOT_PLAIN);
    ck_assert_int_eq(store_snapshot_method("snapshot.1.gz"), SNAPSHOT_GZIP);
    ck_assert_int_eq(store_snapshot_method("snapshot.1.GZ"), SNAPSHOT_GZIP);
    ck_assert_int_eq(store_snapshot_method("snapshot.1.Snappy"), SNAPSHOT_SNAPPY);
    ck_assert_int_eq(store_snapshot_method("snapshot.1.gz.bak"), SNAPSHOT_PLAIN);
    ck_assert_int_eq(store_snapshot_method("snapshot"), SNAPSHOT_PLAIN);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("txnlog");
    TCase *tc = tcase_create("entries");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, entry_as_java_writes_it);
    tcase_add_test(tc, header_bytes);
    tcase_add_test(tc, reads_java_logs);
    tcase_add_test(tc, end_is_sticky);
    tcase_add_test(tc, missing_file);
    tcase_add_test(tc, cut_at_every_byte);
    tcase_add_test(tc, every_bit_flipped);
    tcase_add_test(tc, header_damage);
    tcase_add_test(tc, zero_hole);
    tcase_add_test(tc, older_entries_in_data_do_not_count);
    tcase_add_test(tc, lengths_are_bounded);
    tcase_add_test(tc, large_entries);
    tcase_add_test(tc, resync_far_away);
    tcase_add_test(tc, padding_is_looked_through_quickly);
    tcase_add_test(tc, disk_errors_are_told);
    tcase_add_test(tc, damage_texts);
    tcase_set_timeout(tc, 120);
    suite_add_tcase(suite, tc);
    tc = tcase_create("names");
    tcase_add_test(tc, names_written);
    tcase_add_test(tc, names_read);
    tcase_add_test(tc, methods_read);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
