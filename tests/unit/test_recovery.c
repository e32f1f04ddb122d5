/* Recovery: real directories of Java ZooKeeper with what Java made of them; damage of all kinds at all places, with and
 * without the side file; missing, repeated and set-aside logs. */
#include <errno.h>
#include <jansson.h>

#include "lib/store_db.h"
#include "lib/store_help.h"
#include "store/sidefile.h"

/* ------------------------------------------------------------------ fixtures */

struct fixture {
    struct simdisk disk;
    struct store_db db;
    struct recovery_options options;
    struct recovery_result result;
    json_t *expected;
};

static void fixture_open(struct fixture *f, const char *name) {
    char path[512];
    simdisk_init(&f->disk, 1);
    f->disk.same_dir = true;
    snprintf(path, sizeof path, FIXTURES "/%s/data/version-2", name);
    ck_assert_int_gt(simdisk_import(&f->disk, DISK_SNAP, path), 0);
    store_db_init(&f->db);
    f->options = store_db_options();
    snprintf(path, sizeof path, FIXTURES "/%s/expected.json", name);
    f->expected = json_load_file(path, 0, NULL);
    ck_assert_ptr_nonnull(f->expected);
}

static void fixture_close(struct fixture *f) {
    json_decref(f->expected);
    store_db_close(&f->db);
    simdisk_close(&f->disk);
}

static void fixture_recover(struct fixture *f) { store_db_recover(&f->db, &f->disk.disk, &f->options, &f->result); }

static int64_t json_int(const json_t *o, const char *key) {
    json_t *v = json_object_get(o, key);
    ck_assert_msg(json_is_integer(v), "%s", key);
    return json_integer_value(v);
}

static void check_stat(const struct tree *t, const struct znode *n, const char *path, const json_t *stat) {
    struct stat_view v;
    tree_stat_view(t, n, &v);
    ck_assert_msg(v.czxid == json_int(stat, "czxid") && v.mzxid == json_int(stat, "mzxid"), "%s: czxid or mzxid", path);
    ck_assert_msg(v.ctime == json_int(stat, "ctime") && v.mtime == json_int(stat, "mtime"), "%s: ctime or mtime", path);
    ck_assert_msg(v.version == json_int(stat, "version"), "%s: version %d", path, v.version);
    ck_assert_msg(v.cversion == json_int(stat, "cversion"), "%s: cversion %d", path, v.cversion);
    ck_assert_msg(v.aversion == json_int(stat, "aversion"), "%s: aversion %d", path, v.aversion);
    ck_assert_msg(v.ephemeral_owner == json_int(stat, "ephemeralOwner"), "%s: owner", path);
    ck_assert_msg(v.data_length == json_int(stat, "dataLength"), "%s: data length %d", path, v.data_length);
    ck_assert_msg(v.num_children == json_int(stat, "numChildren"), "%s: children %d", path, v.num_children);
    ck_assert_msg(v.pzxid == json_int(stat, "pzxid"), "%s: pzxid", path);
}

static void check_data(const struct znode *n, const char *path, const json_t *data) {
    struct slice have = znode_data(n);
    if (json_is_null(data)) {
        ck_assert_msg(have.data == NULL, "%s: data is not null", path);
        return;
    }
    struct buf b = BUF_INIT;
    str_base64(&b, (const uint8_t *)have.data, have.len);
    ck_assert_msg(have.data != NULL && slice_is(buf_slice(&b), json_string_value(data)), "%s: data", path);
    buf_free(&b);
}

static void check_acl(const struct store_db *db, const struct znode *n, const char *path, const json_t *acl) {
    struct slice bytes = acl_bytes(tree_acls(db->tree), n->acl);
    struct jute_in in = jute_in(bytes.data, bytes.len);
    ck_assert_msg(jute_count(&in) == (int32_t)json_array_size(acl), "%s: acl count", path);
    for (size_t i = 0; i < json_array_size(acl); i++) {
        const json_t *want = json_array_get(acl, i);
        struct acl_entry e = acl_entry_get(&in);
        ck_assert_msg(!in.failed && e.perms == json_int(want, "perms"), "%s: acl", path);
        ck_assert_msg(slice_is(e.scheme, json_string_value(json_object_get(want, "scheme"))), "%s: acl", path);
        ck_assert_msg(slice_is(e.id, json_string_value(json_object_get(want, "id"))), "%s: acl", path);
    }
}

/* The nodes that "dump" named, as "\t/path" lines behind "0x<session>:". */
static void check_ephemerals(const struct store_db *db, const json_t *lines) {
    const struct owned *owned = NULL;
    size_t found = 0;
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const char *line = json_string_value(json_array_get(lines, i));
        if (strncmp(line, "0x", 2) == 0) {
            owned = tree_owned_by(db->tree, (session_id_t)strtoull(line, NULL, 16));
            ck_assert_msg(owned != NULL, "session %s owns nothing", line);
        } else if (line[0] == '\t') {
            const struct znode *n = tree_find(db->tree, slice_of(line + 1));
            ck_assert_msg(n != NULL && owned != NULL && znode_owner(n) == owned->owner, "%s", line);
            found++;
        }
    }
    ck_assert_uint_eq(found, tree_ephemeral_count(db->tree));
}

static void check_expected(const struct fixture *f) {
    ck_assert_int_eq(f->db.last_zxid, (zxid_t)strtoull(json_string_value(json_object_get(f->expected, "zxid_after_load")), NULL, 0));
    ck_assert_int_eq(f->result.last_zxid, f->db.last_zxid);
    ck_assert_uint_eq(tree_digest(f->db.tree), (uint64_t)json_int(f->expected, "digest_after_load"));
    /* Java counts the root twice. */
    ck_assert_int_eq((int64_t)tree_count(f->db.tree) + 1, json_int(f->expected, "node_count_after_load"));
    const json_t *nodes = json_object_get(f->expected, "nodes");
    ck_assert_uint_eq(json_array_size(nodes), tree_count(f->db.tree));
    for (size_t i = 0; i < json_array_size(nodes); i++) {
        const json_t *node = json_array_get(nodes, i);
        const char *path = json_string_value(json_object_get(node, "path"));
        const struct znode *n = tree_find(f->db.tree, slice_of(path));
        ck_assert_msg(n != NULL, "%s is missing", path);
        check_data(n, path, json_object_get(node, "data_b64"));
        check_stat(f->db.tree, n, path, json_object_get(node, "stat"));
        check_acl(&f->db, n, path, json_object_get(node, "acl"));
    }
    check_ephemerals(&f->db, json_object_get(f->expected, "ephemerals_after_load"));
    ck_assert_uint_eq(f->db.digest_mismatches, 0);
}

static const struct {
    const char *name;
    bool cut;
} loads[] = {
    {"a-standalone", false},          {"b-torn-tail-truncated", true},   {"b-torn-tail-zero-filled", true},
    {"b-torn-tail-missing-eor", true}, {"b-header-only-last-log", false}, {"d-snapshot-gz", false},
    {"d-snapshot-snappy", false},     {"e-quorum-member", false},
};

START_TEST(java_directory_loads) {
    struct fixture f;
    fixture_open(&f, loads[_i].name);
    fixture_recover(&f);
    ck_assert_msg(f.result.status == RECOVERY_OK, "%s: %s", loads[_i].name, f.result.message);
    ck_assert_int_eq(f.result.cut, loads[_i].cut);
    check_expected(&f);
    ck_assert_uint_gt(f.db.digests_compared, 0);
    /* Once more, over what the first recovery left: the same, and nothing to repair any more. */
    fixture_recover(&f);
    ck_assert_int_eq(f.result.status, RECOVERY_OK);
    ck_assert(!f.result.cut);
    ck_assert_str_eq(f.result.message, "");
    check_expected(&f);
    fixture_close(&f);
}
END_TEST

START_TEST(java_directory_loads_without_a_trace_in_dry_run) {
    struct fixture f;
    fixture_open(&f, loads[_i].name);
    f.options.dry_run = true;
    f.disk.counted_ops = SIMDISK_CHANGES & ~SIMDISK_BIT(SIMDISK_OPEN);
    fixture_recover(&f);
    ck_assert_int_eq(f.result.status, RECOVERY_OK);
    ck_assert_int_eq(f.result.cut, loads[_i].cut);
    ck_assert_uint_eq(f.disk.calls, 0);
    check_expected(&f);
    fixture_close(&f);
}
END_TEST

/* Java refuses these two; we set the useless file aside and say so. */
static const char *const useless_last[] = {"b-empty-last-log", "b-short-header-last-log"};

START_TEST(useless_last_log_is_set_aside) {
    struct fixture f, base;
    fixture_open(&f, useless_last[_i]);
    fixture_open(&base, "b-header-only-last-log"); /* the same data, and an expectation */
    fixture_recover(&f);
    ck_assert_msg(f.result.status == RECOVERY_OK, "%s", f.result.message);
    ck_assert(!f.result.cut);
    ck_assert_ptr_nonnull(strstr(f.result.message, "log.100"));
    ck_assert(!simdisk_exists(&f.disk, DISK_LOG, "log.100"));
    ck_assert(simdisk_exists(&f.disk, DISK_LOG, "set-aside.log.100.1"));
    json_t *expected = f.expected;
    f.expected = base.expected;
    check_expected(&f);
    f.expected = expected;
    fixture_close(&base);
    fixture_close(&f);
}
END_TEST

static const struct {
    const char *name, *what;
} refusals[] = {
    {"c-bad-checksum-middle", "bad checksum"},      {"c-bad-payload-middle", "bad checksum"},
    {"c-bad-eor-middle", "no end of record"},       {"c-huge-length-middle", "impossible length"},
    {"c-minus1-length-middle", "impossible length"},
};

START_TEST(damage_in_the_middle_is_refused) {
    struct fixture f;
    fixture_open(&f, refusals[_i].name);
    f.disk.counted_ops = SIMDISK_CHANGES & ~SIMDISK_BIT(SIMDISK_OPEN);
    fixture_recover(&f);
    ck_assert_int_eq(f.result.status, RECOVERY_REFUSED);
    ck_assert_ptr_nonnull(strstr(f.result.message, "log.1 is damaged at offset 501"));
    ck_assert_ptr_nonnull(strstr(f.result.message, refusals[_i].what));
    ck_assert_ptr_nonnull(strstr(f.result.message, "offset 607"));
    ck_assert_ptr_nonnull(strstr(f.result.message, "recovery.cutDamagedLog"));
    ck_assert_uint_lt(strlen(f.result.message), sizeof f.result.message - 1);
    fixture_close(&f);
}
END_TEST

/* What Java makes of one of them, silently; we only on request, and the lost part is kept. */
START_TEST(damage_in_the_middle_is_cut_on_request) {
    struct fixture f, eor;
    size_t size;
    fixture_open(&f, refusals[_i].name);
    fixture_open(&eor, "c-bad-eor-middle");
    f.options.cut_damaged = true;
    fixture_recover(&f);
    ck_assert_msg(f.result.status == RECOVERY_OK, "%s", f.result.message);
    ck_assert(f.result.cut);
    ck_assert_ptr_nonnull(strstr(f.result.message, "set-aside.damaged.1.1"));
    uint8_t *tail = simdisk_get(&f.disk, DISK_LOG, "set-aside.damaged.1.1", &size);
    ck_assert_uint_eq(size, 0x4b8 - 0x1f5);
    mem_free(tail);
    tail = simdisk_get(&f.disk, DISK_LOG, "log.1", &size);
    ck_assert_uint_eq(size, 0x1f5);
    mem_free(tail);
    json_t *expected = f.expected;
    f.expected = eor.expected;
    check_expected(&f);
    f.expected = expected;
    fixture_close(&eor);
    fixture_close(&f);
}
END_TEST

static void add_fixtures(Suite *suite) {
    TCase *tc = tcase_create("fixtures");
    tcase_add_loop_test(tc, java_directory_loads, 0, (int)ARRAY_LEN(loads));
    tcase_add_loop_test(tc, java_directory_loads_without_a_trace_in_dry_run, 0, (int)ARRAY_LEN(loads));
    tcase_add_loop_test(tc, useless_last_log_is_set_aside, 0, (int)ARRAY_LEN(useless_last));
    tcase_add_loop_test(tc, damage_in_the_middle_is_refused, 0, (int)ARRAY_LEN(refusals));
    tcase_add_loop_test(tc, damage_in_the_middle_is_cut_on_request, 0, (int)ARRAY_LEN(refusals));
    suite_add_tcase(suite, tc);
}

/* ------------------------------------------------------------------ directories made here */

static struct simdisk disk;
static struct recovery_options options;
static struct list_sink sink;
static struct recovery_result result;

static void setup(void) {
    simdisk_init(&disk, 1);
    disk.same_dir = true;
    options = usual_options();
    put_snapshot_file(&disk, 0, SNAPSHOT_PLAIN);
}
static void teardown(void) { simdisk_close(&disk); }

static void start_over(void) {
    bool same = disk.same_dir;
    simdisk_close(&disk);
    setup();
    disk.same_dir = same;
}

static void recover(void) { result = recover_list(&disk.disk, &options, &sink); }

static void expect_ok(zxid_t last, bool cut) {
    ck_assert_msg(result.status == RECOVERY_OK, "%s", result.message);
    ck_assert(!sink.wrong);
    ck_assert_int_eq(sink.last, last);
    ck_assert_int_eq(result.last_zxid, last);
    ck_assert_msg(result.cut == cut, "%s", result.message);
    ck_assert_uint_eq(result.txns_replayed, sink.txns);
    if (cut)
        ck_assert_str_ne(result.message, "");
}

static void expect_refused(const char *text) {
    ck_assert_int_eq(result.status, RECOVERY_REFUSED);
    ck_assert_msg(strstr(result.message, text) != NULL, "\"%s\" is not in: %s", text, result.message);
    ck_assert_uint_lt(strlen(result.message), sizeof result.message - 1);
}

static void put_side_zxid(zxid_t log_zxid, int64_t offset, zxid_t zxid, bool orderly) {
    struct side_file s = SIDE_FILE_CLOSED;
    struct synced_position p = {.known = true, .log_zxid = log_zxid, .offset = offset, .zxid = zxid, .orderly = orderly};
    ck_assert_int_eq(side_file_open(&s, &disk.disk), 0);
    ck_assert_int_eq(side_file_note(&s, &p, true), 0);
    side_file_close(&s);
}

/* With as much as follows from the name of the log. */
static void put_side(zxid_t log_zxid, int64_t offset, bool orderly) {
    zxid_t zxid = offset > TXNLOG_HEADER_BYTES ? log_zxid : zxid_counter(log_zxid) > 1 ? log_zxid - 1 : 0;
    put_side_zxid(log_zxid, offset, zxid, orderly);
}

static size_t size_of(const char *name) {
    size_t size = (size_t)-1;
    mem_free(simdisk_get(&disk, DISK_LOG, name, &size));
    return size;
}

static bool exists(const char *name) { return simdisk_exists(&disk, DISK_LOG, name); }

/* A log from bytes, the first size of them. */
static void put_bytes(const char *name, const struct buf *b, size_t size) {
    simdisk_put(&disk, DISK_LOG, name, b->data, size);
}

/* ------------------------------------------------------------------ one log, damage everywhere */

enum { ENTRIES = 6 };

struct one_log {
    struct buf bytes;
    int64_t offsets[ENTRIES + 1]; /* of entry zxid i + 1; the last one: the end */
};

static struct one_log make_one_log(size_t size) {
    struct one_log l;
    l.bytes = make_log(1, ENTRIES, size, l.offsets);
    return l;
}

static zxid_t entry_at(const struct one_log *l, int64_t offset) {
    zxid_t z = 1;
    while (z <= ENTRIES && l->offsets[z] <= offset)
        z++;
    return z;
}

/* Recovers the damaged log, then once more. bad: the entry that cannot be read (all before it can); synced: entries below this
 * one are vouched for; kept: bytes that are cut off are more than zeros. */
static void check_one_log(const struct one_log *l, const struct buf *damaged, size_t size, zxid_t bad, zxid_t synced, bool side) {
    put_bytes("log.1", damaged, size);
    if (side)
        put_side(1, l->offsets[synced - 1], false);
    recover();
    if (bad > ENTRIES) {
        expect_ok(ENTRIES, false);
    } else if (side ? bad < synced : bad < ENTRIES && size > (size_t)l->offsets[bad]) {
        expect_refused("log.1 is damaged at offset");
        options.cut_damaged = true;
        recover();
        expect_ok(bad - 1, true);
        options.cut_damaged = false;
    } else {
        bool nothing_there = size <= (size_t)l->offsets[bad - 1] + 4;
        expect_ok(bad - 1, !nothing_there);
    }
    zxid_t last = result.last_zxid;
    recover();
    expect_ok(last, false);
    ck_assert_str_eq(result.message, "");
}

/* Every byte of every entry, without a side file and with one that vouches for 0 to 6 entries. */
START_TEST(changed_byte) {
    struct one_log l = make_one_log(_i % 2 ? 2048 : 0);
    bool side = _i >= 2;
    zxid_t synced = side ? _i / 2 : 1;
    for (int64_t at = l.offsets[0]; at < l.offsets[ENTRIES]; at++) {
        start_over();
        l.bytes.data[at] ^= (uint8_t)(1 << at % 8);
        check_one_log(&l, &l.bytes, l.bytes.len, entry_at(&l, at), synced, side);
        l.bytes.data[at] ^= (uint8_t)(1 << at % 8);
    }
    buf_free(&l.bytes);
}
END_TEST

/* The same with an entry that is zero as a whole: it looks like the end. */
START_TEST(zeroed_entry) {
    struct one_log l = make_one_log(_i % 2 ? 2048 : 0);
    bool side = _i >= 2;
    zxid_t synced = side ? _i / 2 : 1;
    for (zxid_t z = 1; z < ENTRIES; z++) {
        struct buf damaged = BUF_INIT;
        start_over();
        buf_append(&damaged, l.bytes.data, l.bytes.len);
        memset(damaged.data + l.offsets[z - 1], 0, (size_t)(l.offsets[z] - l.offsets[z - 1]));
        check_one_log(&l, &damaged, damaged.len, z, synced, side);
        buf_free(&damaged);
    }
    buf_free(&l.bytes);
}
END_TEST

START_TEST(cut_at_every_byte) {
    struct one_log l = make_one_log(0);
    bool side = _i >= 1;
    for (size_t size = 0; size <= l.bytes.len; size++) {
        start_over();
        zxid_t complete = entry_at(&l, (int64_t)size) - 1;
        if (size < 16) {
            put_bytes("log.1", &l.bytes, size);
            if (side)
                put_side(1, l.offsets[_i - 1], false);
            recover();
            if (_i > 1) {
                expect_refused("log.1 is damaged at offset 0");
            } else {
                expect_ok(0, false);
                ck_assert(exists("set-aside.log.1.1") && !exists("log.1"));
            }
            continue;
        }
        if (side && complete + 1 < _i) { /* at a boundary it is no cut, but something is missing all the same */
            put_bytes("log.1", &l.bytes, size);
            put_side(1, l.offsets[_i - 1], false);
            recover();
            expect_refused(size == (size_t)l.offsets[complete] ? "it ends too early" : "log.1 is damaged at offset");
            continue;
        }
        put_bytes("log.1", &l.bytes, size);
        if (side)
            put_side(1, l.offsets[_i - 1], false);
        recover();
        expect_ok(complete, (int64_t)size > l.offsets[complete] + 4);
        recover();
        expect_ok(complete, false);
    }
    buf_free(&l.bytes);
}
END_TEST

/* The picture of a crash with preallocation: zeros from some place on. */
START_TEST(zeros_from_every_byte) {
    struct one_log l = make_one_log(4096);
    for (int64_t at = l.offsets[0]; at < l.offsets[ENTRIES]; at++) {
        struct buf damaged = BUF_INIT;
        start_over();
        buf_append(&damaged, l.bytes.data, l.bytes.len);
        memset(damaged.data + at, 0, damaged.len - (size_t)at);
        zxid_t complete = entry_at(&l, at) - 1;
        put_bytes("log.1", &damaged, damaged.len);
        recover();
        bool junk = false;
        for (int64_t i = l.offsets[complete]; i < at; i++)
            junk = junk || damaged.data[i] != 0;
        expect_ok(complete, junk);
        ck_assert_int_eq(exists("set-aside.tail.1.1"), junk);
        buf_free(&damaged);
    }
    buf_free(&l.bytes);
}
END_TEST

START_TEST(tail_is_kept_byte_for_byte) {
    struct one_log l = make_one_log(4096);
    l.bytes.data[l.offsets[5] + 20] ^= 1;
    put_bytes("log.1", &l.bytes, l.bytes.len);
    recover();
    expect_ok(5, true);
    ck_assert_ptr_nonnull(strstr(result.message, "set-aside.tail.1.1"));
    size_t size;
    uint8_t *tail = simdisk_get(&disk, DISK_LOG, "set-aside.tail.1.1", &size);
    ck_assert_uint_eq(size, (size_t)(l.offsets[6] - l.offsets[5]));
    ck_assert_mem_eq(tail, l.bytes.data + l.offsets[5], size);
    mem_free(tail);
    ck_assert_uint_eq(size_of("log.1"), (size_t)l.offsets[5]);
    /* It happens again: another name. */
    put_bytes("log.1", &l.bytes, l.bytes.len);
    recover();
    expect_ok(5, true);
    ck_assert(exists("set-aside.tail.1.2"));
    buf_free(&l.bytes);
}
END_TEST

START_TEST(dry_run_cuts_nothing) {
    struct one_log l = make_one_log(4096);
    l.bytes.data[l.offsets[5] + 20] ^= 1;
    put_bytes("log.1", &l.bytes, l.bytes.len);
    simdisk_put(&disk, DISK_SNAP, "zabra.snapshot.1.tmp", "x", 1);
    options.dry_run = true;
    recover();
    expect_ok(5, true);
    ck_assert_uint_eq(size_of("log.1"), 4096);
    ck_assert(exists("zabra.snapshot.1.tmp"));
    ck_assert(!exists("set-aside.tail.1.1"));
    options.dry_run = false;
    recover();
    ck_assert(!exists("zabra.snapshot.1.tmp"));
    buf_free(&l.bytes);
}
END_TEST

/* After a cut below the synced position the side file must not make the next start fail. */
START_TEST(cut_lowers_the_side_file) {
    struct one_log l = make_one_log(4096);
    struct synced_position p;
    l.bytes.data[l.offsets[2] + 20] ^= 1;
    put_bytes("log.1", &l.bytes, l.bytes.len);
    put_log_file(&disk, 7, 9, 4096);
    put_side(7, 100, true);
    recover();
    expect_refused("log.1 is damaged at offset");
    options.cut_damaged = true;
    recover();
    expect_ok(2, true);
    ck_assert(!exists("log.7") && exists("set-aside.log.7.1"));
    ck_assert_int_eq(synced_position_read(&disk.disk, &p), 0);
    ck_assert(p.known && !p.orderly && p.log_zxid == 1 && p.offset == l.offsets[2]);
    options.cut_damaged = false;
    recover();
    expect_ok(2, false);
    buf_free(&l.bytes);
}
END_TEST

START_TEST(no_room_for_the_tail) {
    struct one_log l = make_one_log(0);
    l.bytes.data[l.offsets[5] + 20] ^= 1;
    put_bytes("log.1", &l.bytes, l.bytes.len);
    disk.capacity = simdisk_used(&disk);
    recover();
    expect_ok(5, true); /* nobody was promised that tail */
    ck_assert(!exists("set-aside.tail.1.1"));
    start_over();
    l.bytes.data[l.offsets[2] + 20] ^= 1;
    put_bytes("log.1", &l.bytes, l.bytes.len);
    disk.capacity = simdisk_used(&disk);
    options.cut_damaged = true;
    recover(); /* but this one is worth something */
    ck_assert_int_eq(result.status, RECOVERY_IO);
    ck_assert_uint_eq(size_of("log.1"), l.bytes.len);
    buf_free(&l.bytes);
}
END_TEST

static void pad(const char *name, int64_t size) {
    int h = disk.disk.open(disk.disk.ctx, DISK_LOG, name, DISK_READWRITE);
    int64_t from = disk.disk.size(disk.disk.ctx, h);
    ck_assert_int_eq(disk.disk.allocate(disk.disk.ctx, h, from, size - from), 0);
    disk.disk.close(disk.disk.ctx, h);
}

/* What was reserved behind the entries is given back, after an orderly end and after a crash; the look at it is needed only
 * once. */
START_TEST(padding_is_given_back) {
    struct one_log l = make_one_log(0);
    put_bytes("log.1", &l.bytes, l.bytes.len);
    put_side(1, _i == 0 ? l.offsets[ENTRIES] : l.offsets[2], _i == 0);
    pad("log.1", 16 << 20);
    simdisk_clear_faults(&disk);
    options.dry_run = true;
    recover();
    expect_ok(ENTRIES, false);
    ck_assert_uint_eq(size_of("log.1"), 16 << 20);
    options.dry_run = false;
    recover();
    expect_ok(ENTRIES, false);
    ck_assert_str_eq(result.message, "");
    ck_assert_uint_eq(size_of("log.1"), (size_t)l.offsets[ENTRIES]);
    disk.counted_ops = SIMDISK_BIT(SIMDISK_READ);
    disk.calls = 0;
    recover();
    expect_ok(ENTRIES, false);
    ck_assert_uint_lt(disk.calls, 20); /* 64 and more with the padding */
    buf_free(&l.bytes);
}
END_TEST

/* It is no reason not to start, and a crash meanwhile does no harm. */
START_TEST(padding_that_stays) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct buf b = make_log(1, 5, 4096, NULL);
        start_over();
        put_bytes("log.1", &b, b.len);
        put_side(1, 16, false);
        simdisk_clear_faults(&disk);
        disk.counted_ops = SIMDISK_BIT(SIMDISK_TRUNCATE);
        disk.fail_at = seed % 2;
        disk.fail_errno = -ENOSPC;
        recover();
        ck_assert_uint_eq(disk.calls, 1);
        expect_ok(5, false);
        ck_assert_int_eq(size_of("log.1") == 4096, seed % 2);
        simdisk_crash(&disk, seed);
        recover();
        expect_ok(5, false);
        buf_free(&b);
    }
}
END_TEST

/* ------------------------------------------------------------------ several logs */

/* Appends the torn beginning of an entry. */
static void put_torn_log(const char *name, zxid_t first, zxid_t last, size_t torn, size_t size) {
    struct buf b = make_log(first, last, 0, NULL), next = BUF_INIT;
    put_entry(&next, last + 1, 50);
    buf_append(&b, next.data, size_min(torn, next.len - 1));
    if (size > b.len) {
        memset(buf_tail(&b, size - b.len), 0, size - b.len);
        b.len = size;
    }
    simdisk_put(&disk, DISK_LOG, name, b.data, b.len);
    buf_free(&b);
    buf_free(&next);
}

/* Of all logs that are read, one without entries included; a log that ends in damage stays as it is. */
START_TEST(padding_of_several_logs) {
    struct buf a = make_log(1, 3, 0, NULL), c = make_log(7, 9, 0, NULL), none = make_log(10, 9, 0, NULL);
    put_bytes("log.1", &a, a.len);
    put_torn_log("log.4", 4, 6, 60, 0);
    put_bytes("log.7", &c, c.len);
    put_bytes("log.a", &none, none.len);
    const char *const names[] = {"log.1", "log.4", "log.7", "log.a"};
    const size_t sizes[] = {a.len, 1 << 16, c.len, none.len};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        pad(names[i], 1 << 16);
    put_side(10, 16, false);
    for (int round = 0; round < 2; round++) {
        recover();
        expect_ok(9, false);
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            ck_assert_msg(size_of(names[i]) == sizes[i], "%s has %zu bytes", names[i], size_of(names[i]));
    }
    buf_free(&a);
    buf_free(&c);
    buf_free(&none);
}
END_TEST

/* Java leaves a torn tail as it is and goes on in the next log; what it gave up has the same zxid there. */
START_TEST(tail_given_up_earlier) {
    for (size_t torn = 1; torn < 140; torn += 3) {
        start_over();
        put_torn_log("log.1", 1, 5, torn, _i % 2 ? 4096 : 0);
        put_log_file(&disk, 6, 9, 4096);
        if (_i >= 2)
            put_side(6, 16, false); /* we have written since: then log.1 is vouched for as a whole */
        recover();
        expect_ok(9, false);
        ck_assert_uint_eq(sink.txns, 9);
    }
}
END_TEST

START_TEST(damaged_entry_given_up_earlier) {
    struct one_log l = make_one_log(4096);
    l.bytes.data[l.offsets[5] + 20] ^= 1;
    put_bytes("log.1", &l.bytes, l.bytes.len);
    put_log_file(&disk, 6, 9, 4096);
    recover();
    expect_ok(9, false);
    buf_free(&l.bytes);
}
END_TEST

START_TEST(damaged_end_before_a_later_log) {
    struct one_log l = make_one_log(4096);
    int64_t at = l.offsets[5] + 20;
    for (int side = 0; side < 2; side++) {
        start_over();
        l.bytes.data[at] ^= 1;
        put_bytes("log.1", &l.bytes, l.bytes.len);
        put_log_file(&disk, 7, 9, 4096);
        if (side)
            put_side(7, 16, false);
        recover();
        expect_refused("a later log goes on with zxid 0x7");
        options.cut_damaged = true;
        recover();
        expect_ok(5, true);
        ck_assert(exists("set-aside.log.7.1") && exists("set-aside.damaged.1.1"));
        l.bytes.data[at] ^= 1;
    }
    buf_free(&l.bytes);
}
END_TEST

START_TEST(missing_log) {
    put_log_file(&disk, 1, 5, 0);
    put_log_file(&disk, 8, 9, 4096);
    recover();
    expect_refused("log.8 at offset 16: transactions between zxid 0x5 and 0x8 are missing");
    ck_assert_ptr_nonnull(strstr(result.message, "recovery.cutDamagedLog"));
    options.cut_damaged = true;
    recover();
    expect_ok(5, true);
    ck_assert_uint_eq(size_of("log.8"), 16);
    ck_assert(exists("set-aside.damaged.8.1"));
    options.cut_damaged = false;
    recover();
    expect_ok(5, false);
}
END_TEST

START_TEST(missing_first_log) {
    put_log_file(&disk, 6, 9, 0);
    recover();
    expect_refused("transactions between zxid 0x0 and 0x6 are missing");
    put_snapshot_file(&disk, 4, SNAPSHOT_PLAIN);
    recover();
    expect_refused("transactions between zxid 0x4 and 0x6 are missing");
    put_snapshot_file(&disk, 5, SNAPSHOT_SNAPPY);
    recover();
    expect_ok(9, false);
    ck_assert_uint_eq(sink.txns, 4);
    put_snapshot_file(&disk, 7, SNAPSHOT_GZIP);
    recover();
    expect_ok(9, false);
    ck_assert_uint_eq(sink.txns, 2);
}
END_TEST

START_TEST(gap_within_a_log) {
    struct buf b = make_log(1, 3, 0, NULL);
    put_entry(&b, 5, 0);
    simdisk_put(&disk, DISK_LOG, "log.1", b.data, b.len);
    recover();
    expect_refused("transactions between zxid 0x3 and 0x5 are missing");
    buf_free(&b);
}
END_TEST

#define EPOCH1 0x100000001
#define EPOCH3 0x300000001

START_TEST(epochs) {
    put_log_file(&disk, 1, 5, 0);
    put_log_file(&disk, EPOCH1, EPOCH1 + 3, 4096);
    put_log_file(&disk, EPOCH3, EPOCH3 + 1, 4096);
    recover();
    expect_ok(EPOCH3 + 1, false);
    ck_assert_uint_eq(sink.txns, 5 + 4 + 2);
    put_log_file(&disk, EPOCH3 + 0x100000001, EPOCH3 + 0x100000002, 0); /* counter 2 */
    recover();
    expect_refused("are missing");
}
END_TEST

START_TEST(snapshot_at_the_start_of_an_epoch) {
    put_snapshot_file(&disk, 0x100000000, SNAPSHOT_PLAIN);
    put_log_file(&disk, EPOCH1, EPOCH1 + 3, 4096);
    recover();
    expect_ok(EPOCH1 + 3, false);
}
END_TEST

static bool snapshot_exists(zxid_t zxid) {
    char name[STORE_NAME_MAX];
    store_snapshot_name(name, zxid, SNAPSHOT_PLAIN);
    return simdisk_exists(&disk, DISK_SNAP, name);
}

/* Transactions 1 to 4 in the log, and snapshots at 0, 2 and 7. */
static void put_snapshot_ahead(void) {
    start_over();
    options.member = true;
    put_snapshot_file(&disk, 2, SNAPSHOT_PLAIN);
    put_log_file(&disk, 1, 4, 0);
    put_snapshot_file(&disk, 7, SNAPSHOT_PLAIN);
}

/* E30. A member whose disk was full has published a snapshot ahead of its log, and an epoch begins. Once it has started from that
 * snapshot there is no start from an older one. */
START_TEST(snapshot_ahead_of_the_log) {
    bool written = _i % 2 != 0, lost = _i >= 2;
    put_snapshot_ahead();
    if (written)
        put_log_file(&disk, EPOCH1, EPOCH1 + 3, 0);
    recover();
    expect_ok(written ? EPOCH1 + 3 : 7, false);
    if (!written)
        put_log_file(&disk, EPOCH1, EPOCH1 + 3, 0);
    if (lost)
        disk.disk.unlink(disk.disk.ctx, DISK_SNAP, "snapshot.7");
    else
        simdisk_put(&disk, DISK_SNAP, "snapshot.7", "ZKSN", 4);
    recover();
    ck_assert_int_eq(result.status, RECOVERY_REFUSED);
}
END_TEST

/* They stay where nothing is hidden, and where nothing may be changed. */
START_TEST(older_snapshots_stay) {
    static const struct {
        zxid_t snapshot, first, last; /* transactions of another log; 0 = none */
        bool member, dry_run;
    } cases[] = {{5, 0, 0, true, false}, {3, 0, 0, true, false},          {7, 8, 9, true, false}, {3, EPOCH1, EPOCH1 + 2, true, false},
                 {7, 0, 0, true, true},  {EPOCH1 - 1, 0, 0, true, false}, {7, 0, 0, false, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        start_over();
        options.member = cases[i].member;
        options.dry_run = cases[i].dry_run;
        put_log_file(&disk, 1, 5, 0);
        put_snapshot_file(&disk, cases[i].snapshot, SNAPSHOT_PLAIN);
        if (cases[i].first != 0)
            put_log_file(&disk, cases[i].first, cases[i].last, 0);
        recover();
        ck_assert_msg(result.status == RECOVERY_OK, "%s", result.message);
        ck_assert_msg(snapshot_exists(0), "case %zu", i);
    }
}
END_TEST

START_TEST(older_snapshots_go_with_a_crash_anywhere) {
    bool crashed = true;
    for (uint64_t at = 1; crashed; at++) {
        put_snapshot_ahead();
        simdisk_crash_at(&disk, SIMDISK_ALL_OPS, at);
        recover();
        crashed = disk.dead;
        simdisk_crash(&disk, at);
        ck_assert(crashed || (!snapshot_exists(0) && !snapshot_exists(2)));
        recover();
        expect_ok(7, false);
        ck_assert(!snapshot_exists(0) && !snapshot_exists(2));
    }
}
END_TEST

/* E30. The name of a snapshot that cannot be read says how far there was something. */
START_TEST(damaged_snapshot_before_a_new_epoch) {
    put_log_file(&disk, 1, 4, 0);
    simdisk_put(&disk, DISK_SNAP, "snapshot.7", "ZKSN", 4);
    recover();
    expect_ok(4, false);
    put_log_file(&disk, EPOCH1, EPOCH1 + 3, 0);
    recover();
    expect_refused("transactions between zxid 0x4 and 0x100000001 are missing");
    simdisk_put(&disk, DISK_SNAP, "snapshot.4", "ZKSN", 4);
    simdisk_put(&disk, DISK_SNAP, "snapshot.100000000", "ZKSN", 4);
    disk.disk.unlink(disk.disk.ctx, DISK_SNAP, "snapshot.7");
    recover();
    expect_ok(EPOCH1 + 3, false);
    simdisk_put(&disk, DISK_SNAP, "snapshot.7", "ZKSN", 4);
    options.cut_damaged = true;
    recover();
    expect_ok(4, true);
}
END_TEST

/* The end of an epoch, and the next one follows: nothing says what is missing. A torn tail is taken for what it is, as in
 * Java; damage that Java would refuse is refused, and so is anything that was vouched for. */
START_TEST(damage_before_a_new_epoch) {
    put_torn_log("log.1", 1, 5, 60, 4096);
    put_log_file(&disk, EPOCH1, EPOCH1 + 3, 4096);
    put_side(EPOCH1, 16, false);
    recover();
    expect_refused("a later log goes on with zxid 0x100000001");

    start_over();
    put_torn_log("log.1", 1, 5, 60, 4096);
    put_log_file(&disk, EPOCH1, EPOCH1 + 3, 4096);
    recover();
    expect_ok(EPOCH1 + 3, true);
    ck_assert(exists("set-aside.tail.1.1") && exists("log.100000001"));
    /* We write a log of our own, and the old one is not found torn. */
    put_log_file(&disk, EPOCH1 + 4, EPOCH1 + 5, 4096);
    put_side(EPOCH1 + 4, 16, false);
    recover();
    expect_ok(EPOCH1 + 5, false);
    ck_assert_str_eq(result.message, "");

    struct one_log l = make_one_log(4096);
    start_over();
    l.bytes.data[l.offsets[5] + 20] ^= 1;
    put_bytes("log.1", &l.bytes, l.bytes.len);
    put_log_file(&disk, EPOCH1, EPOCH1 + 3, 4096);
    recover();
    expect_refused("bad checksum");
    /* A hole that looks like the end. */
    memset(l.bytes.data + l.offsets[2], 0, (size_t)(l.offsets[3] - l.offsets[2]));
    l.bytes.data[l.offsets[5] + 20] ^= 1;
    put_bytes("log.1", &l.bytes, l.bytes.len);
    recover();
    expect_refused("zeros where an entry should be");
    buf_free(&l.bytes);
}
END_TEST

/* A Java follower that was told to truncate cuts our log at an entry, and goes on in the leader's epoch. */
START_TEST(truncated_by_java) {
    struct one_log l = make_one_log(0);
    put_bytes("log.1", &l.bytes, (size_t)l.offsets[3]);
    put_side(1, l.offsets[6], false);
    recover();
    expect_refused("it ends too early");
    put_log_file(&disk, EPOCH1, EPOCH1 + 3, 4096);
    recover();
    expect_ok(EPOCH1 + 3, false);
    buf_free(&l.bytes);
}
END_TEST

START_TEST(java_went_on_after_us) {
    struct one_log l = make_one_log(4096);
    put_bytes("log.1", &l.bytes, l.bytes.len);
    put_side(1, l.offsets[4], false);
    put_log_file(&disk, 7, 9, 4096); /* newer than what the side file knows */
    recover();
    expect_ok(9, false);
    /* We crashed with holes in the last batch, Java started there and took zxid 6 again. */
    l.bytes.data[l.offsets[4] + 5] ^= 1;
    put_bytes("log.1", &l.bytes, l.bytes.len);
    put_log_file(&disk, 5, 9, 4096);
    disk.disk.unlink(disk.disk.ctx, DISK_LOG, "log.7");
    recover();
    expect_ok(9, false);
    /* The same damage, but Java's log shows that something is missing. */
    disk.disk.unlink(disk.disk.ctx, DISK_LOG, "log.5");
    put_log_file(&disk, 7, 9, 4096);
    recover();
    expect_refused("log.1 is damaged");
    /* Damage in Java's own log: the side file does not speak of it. */
    start_over();
    put_log_file(&disk, 1, 6, 4096);
    put_side(1, 16, false);
    struct buf b = make_log(7, 9, 4096, NULL);
    b.data[40] ^= 1;
    simdisk_put(&disk, DISK_LOG, "log.7", b.data, b.len);
    recover();
    expect_refused("log.7 is damaged at offset 16");
    buf_free(&b);
    buf_free(&l.bytes);
}
END_TEST

/* That a later log goes on is believed only if nothing is wrong with its beginning: it may be cut in the end. */
START_TEST(damaged_logs_prove_nothing) {
    struct one_log l = make_one_log(4096);
    struct buf later = make_log(3, 6, 0, NULL);
    memset(l.bytes.data + l.offsets[2], 0, (size_t)(l.offsets[3] - l.offsets[2]));
    put_bytes("log.1", &l.bytes, l.bytes.len);
    put_bytes("log.3", &later, later.len);
    recover();
    expect_ok(6, false);
    later.data[0] = 'X';
    put_bytes("log.3", &later, later.len);
    recover();
    expect_refused("log.1 is damaged at offset");
    options.cut_damaged = true;
    recover();
    expect_ok(2, true);
    options.cut_damaged = false;
    recover();
    expect_ok(2, false);
    buf_free(&later);
    buf_free(&l.bytes);
}
END_TEST

START_TEST(copies_are_skipped) {
    struct one_log l = make_one_log(4096);
    put_bytes("log.1", &l.bytes, l.bytes.len);
    put_bytes("log.1.bak", &l.bytes, l.bytes.len);
    put_log_file(&disk, 7, 9, 4096);
    recover();
    expect_ok(9, false);
    ck_assert_uint_eq(sink.txns, 9);
    /* A copy can stand in for what the original lost. */
    put_bytes("log.1", &l.bytes, (size_t)l.offsets[3] + 20);
    recover();
    expect_ok(9, false);
    ck_assert_uint_eq(sink.txns, 9);
    /* But one that holds no more does not make the loss harmless. */
    start_over();
    put_bytes("log.1", &l.bytes, (size_t)l.offsets[3] + 20);
    put_bytes("log.1.bak", &l.bytes, (size_t)l.offsets[3]);
    put_side(1, l.offsets[6], false);
    recover();
    expect_refused("log.1 is damaged");
    buf_free(&l.bytes);
}
END_TEST

START_TEST(missing_last_log) {
    put_log_file(&disk, 1, 6, 4096);
    put_side(7, 300, false);
    recover();
    expect_refused("ends at zxid 0x6, but all up to 0x7");
    /* Nothing was in it. */
    put_side(7, 16, false);
    recover();
    expect_ok(6, false);
    /* But something was in the one before it. */
    put_side(8, 16, false);
    recover();
    expect_refused("ends at zxid 0x6, but all up to 0x7");
    put_log_file(&disk, 8, 7, 4096); /* a header */
    recover();
    expect_refused("ends at zxid 0x6, but all up to 0x7");
    /* The end of an epoch says nothing. */
    put_side(0x100000001, 16, false);
    recover();
    expect_ok(6, false);
    put_side(0x100000002, 16, false);
    recover();
    expect_refused("ends at zxid 0x6, but all up to 0x100000001");
    options.cut_damaged = true;
    recover();
    expect_ok(6, false);
    ck_assert_ptr_nonnull(strstr(result.message, "are lost"));
    options.cut_damaged = false;
    recover();
    expect_ok(6, false);
    ck_assert(!exists(SIDE_FILE_NAME));
    /* A snapshot holds it all, or not all. */
    put_side_zxid(7, 300, 9, false);
    put_snapshot_file(&disk, 9, SNAPSHOT_PLAIN);
    recover();
    expect_ok(9, false);
    put_side_zxid(7, 400, 10, false);
    recover();
    expect_refused("ends at zxid 0x9, but all up to 0xa");
}
END_TEST

/* A log that was opened and never written to may have a name far ahead; the records that follow are in an older one. */
START_TEST(empty_log_with_a_high_name) {
    put_log_file(&disk, 1, 40, 8192);
    put_log_file(&disk, 0x20, 0x1f, 4096);
    recover();
    expect_ok(40, false);
    put_snapshot_file(&disk, 0x24, SNAPSHOT_PLAIN);
    recover();
    expect_ok(40, false);
    ck_assert_uint_eq(sink.txns, 4);
}
END_TEST

START_TEST(useless_logs_in_the_middle) {
    static const char zeros[5000];
    put_log_file(&disk, 1, 5, 4096);
    simdisk_put(&disk, DISK_LOG, "log.3", "", 0);
    simdisk_put(&disk, DISK_LOG, "log.4", zeros, sizeof zeros);
    simdisk_put(&disk, DISK_LOG, "log.5", "ZKLG\0\0", 6);
    put_log_file(&disk, 6, 9, 4096);
    simdisk_put(&disk, DISK_LOG, "log.20", zeros, 16);
    recover();
    expect_ok(9, false);
    ck_assert(exists("set-aside.log.3.1") && exists("set-aside.log.4.1") && exists("set-aside.log.5.1") &&
              exists("set-aside.log.20.1"));
    recover();
    expect_ok(9, false);
    ck_assert_str_eq(result.message, "");
}
END_TEST

START_TEST(bad_header) {
    struct one_log l = make_one_log(4096);
    l.bytes.data[0] = 'X';
    put_bytes("log.1", &l.bytes, l.bytes.len);
    recover();
    expect_refused("log.1 is damaged at offset 0, behind zxid 0x0: no log header, and a valid entry (zxid 0x1) follows at offset 16");
    options.cut_damaged = true;
    recover();
    expect_ok(0, true);
    ck_assert(exists("set-aside.log.1.1") && !exists("log.1"));
    buf_free(&l.bytes);
}
END_TEST

/* Damage in entries that the snapshot holds is of no concern as long as it is clear that it ends before the first one that is
 * needed. */
START_TEST(damage_that_a_snapshot_covers) {
    struct one_log l = make_one_log(4096);
    put_snapshot_file(&disk, 4, SNAPSHOT_PLAIN);
    for (int64_t at = l.offsets[0]; at < l.offsets[4]; at++) {
        l.bytes.data[at] ^= 2;
        put_bytes("log.1", &l.bytes, l.bytes.len);
        l.bytes.data[at] ^= 2;
        int64_t within = at - l.offsets[entry_at(&l, at) - 1];
        recover();
        if (within < 8 || within >= 12)
            expect_ok(ENTRIES, false);
        else
            expect_refused("log.1 is damaged");
    }
    /* With all of the log covered, any damage is. */
    put_snapshot_file(&disk, 6, SNAPSHOT_PLAIN);
    put_log_file(&disk, 7, 9, 0);
    for (int64_t at = l.offsets[0]; at < l.offsets[6]; at++) {
        l.bytes.data[at] ^= 2;
        put_bytes("log.1", &l.bytes, l.bytes.len);
        l.bytes.data[at] ^= 2;
        recover();
        expect_ok(9, false);
    }
    buf_free(&l.bytes);
}
END_TEST

START_TEST(transaction_that_cannot_be_applied) {
    struct fixture f;
    struct buf b = BUF_INIT;
    fixture_open(&f, "a-standalone");
    buf_append(&b, txnlog_header, TXNLOG_HEADER_BYTES);
    size_t start = txnlog_entry_begin(&b);
    txn_header_put(&b, &(struct txn_header){.zxid = 0x31, .type = 99});
    txnlog_entry_end(&b, start);
    simdisk_put(&f.disk, DISK_LOG, "log.31", b.data, b.len);
    fixture_recover(&f);
    ck_assert_int_eq(f.result.status, RECOVERY_REFUSED);
    ck_assert_ptr_nonnull(strstr(f.result.message, "log.31 at offset 16: transaction 0x31 cannot be applied. "));
    f.options.cut_damaged = true;
    fixture_recover(&f);
    ck_assert_msg(f.result.status == RECOVERY_OK, "%s", f.result.message);
    ck_assert(f.result.cut);
    check_expected(&f);
    buf_free(&b);
    fixture_close(&f);
}
END_TEST

/* ------------------------------------------------------------------ snapshots and directories */

START_TEST(new_database) {
    simdisk_clear(&disk);
    recover();
    expect_ok(0, false);
    ck_assert(result.fresh);
    ck_assert_int_eq(result.snapshot_zxid, -1);
    ck_assert_int_eq(sink.snapshot_zxid, -1);
    ck_assert_uint_eq(sink.resets, 1);
    /* Logs without entries and half a first snapshot do not make it an old one. */
    put_log_file(&disk, 1, 0, 4096);
    simdisk_put(&disk, DISK_LOG, "log.2", "", 0);
    simdisk_put(&disk, DISK_SNAP, "snapshot.0", "ZKSN", 4);
    recover();
    expect_ok(0, false);
    ck_assert(result.fresh);
    /* Half of any other snapshot does. */
    simdisk_put(&disk, DISK_SNAP, "snapshot.5", "ZKSN", 4);
    recover();
    expect_refused("snapshot.5 is not a complete snapshot");
}
END_TEST

START_TEST(logs_without_snapshot) {
    simdisk_clear(&disk);
    put_log_file(&disk, 3, 6, 4096);
    recover();
    expect_refused("No snapshot found, but there are log entries. Something is broken!");
    options.trust_empty_snapshot = true;
    recover();
    expect_ok(6, false);
    ck_assert(!result.fresh);
    ck_assert_int_eq(sink.snapshot_zxid, -1);
    ck_assert_uint_eq(sink.txns, 4);
}
END_TEST

START_TEST(damaged_snapshot_falls_back) {
    char name[STORE_NAME_MAX];
    enum snapshot_method method = (enum snapshot_method)_i;
    size_t size;
    put_log_file(&disk, 1, 5, 0);
    put_log_file(&disk, 6, 9, 0);
    put_snapshot_file(&disk, 7, method);
    store_snapshot_name(name, 7, method);
    recover();
    expect_ok(9, false);
    ck_assert_str_eq(result.snapshot_name, name);
    ck_assert_int_eq(result.snapshot_zxid, 7);
    ck_assert_uint_eq(sink.resets, 1);
    uint8_t *data = simdisk_get(&disk, DISK_SNAP, name, &size);
    data[30] ^= 1;
    simdisk_put(&disk, DISK_SNAP, name, data, size);
    recover();
    expect_ok(9, false);
    ck_assert_str_eq(result.snapshot_name, "snapshot.0");
    ck_assert_uint_eq(sink.resets, 2);
    ck_assert_uint_eq(sink.txns, 9);
    /* The logs that the older one needs are gone. */
    disk.disk.unlink(disk.disk.ctx, DISK_LOG, "log.1");
    recover();
    expect_refused("transactions between zxid 0x0 and 0x6 are missing");
    /* No other snapshot. */
    disk.disk.unlink(disk.disk.ctx, DISK_SNAP, "snapshot.0");
    recover();
    expect_refused("Not able to find valid snapshots");
    ck_assert_ptr_nonnull(strstr(result.message, name));
    options.trust_empty_snapshot = true;
    recover();
    expect_refused("Not able to find valid snapshots");
    mem_free(data);
}
END_TEST

static int refuse_first_done(void *ctx, zxid_t zxid, const struct snapshot_info *info) {
    struct list_sink *l = ctx;
    return zxid == 7 ? -1 : list_done(l, zxid, info);
}

START_TEST(refused_content_falls_back) {
    put_log_file(&disk, 1, 9, 0);
    put_snapshot_file(&disk, 7, SNAPSHOT_PLAIN);
    sink = new_list_sink();
    sink.sink.ctx = &sink;
    sink.sink.snapshot_done = refuse_first_done;
    recovery_run(&disk.disk, &options, &sink.sink, &result);
    ck_assert_int_eq(result.status, RECOVERY_OK);
    ck_assert_int_eq(result.snapshot_zxid, 0);
    ck_assert_uint_eq(sink.txns, 9);
}
END_TEST

START_TEST(log_bytes_behind_the_snapshot) {
    struct one_log l = make_one_log(4096);
    put_bytes("log.1", &l.bytes, l.bytes.len);
    recover();
    ck_assert_int_eq(result.log_bytes, l.offsets[6] - 16);
    put_snapshot_file(&disk, 4, SNAPSHOT_PLAIN);
    recover();
    ck_assert_int_eq(result.log_bytes, l.offsets[6] - l.offsets[4]);
    buf_free(&l.bytes);
}
END_TEST

START_TEST(split_directories) {
    disk.same_dir = false;
    simdisk_clear(&disk);
    put_snapshot_file(&disk, 0, SNAPSHOT_PLAIN);
    put_log_file(&disk, 1, 5, 0);
    options.same_dir = false;
    recover();
    expect_ok(5, false);
    simdisk_put(&disk, DISK_LOG, "snapshot.old", "", 0);
    recover();
    expect_refused("Log directory has snapshot files. Check if dataLogDir and dataDir configuration is correct.");
    disk.disk.unlink(disk.disk.ctx, DISK_LOG, "snapshot.old");
    simdisk_put(&disk, DISK_SNAP, "log.1", "", 0);
    recover();
    expect_refused("Snapshot directory has log files. Check if dataLogDir and dataDir configuration is correct.");
    disk.disk.unlink(disk.disk.ctx, DISK_SNAP, "log.1");
    simdisk_put(&disk, DISK_LOG, "zabra.log.tmp", "", 0);
    simdisk_put(&disk, DISK_SNAP, "zabra.snapshot.5.tmp", "", 0);
    simdisk_put(&disk, DISK_SNAP, "currentEpoch.tmp", "7", 1);
    simdisk_put(&disk, DISK_SNAP, "snapshot.9.tmp", "", 0);
    simdisk_put(&disk, DISK_LOG, "zabra.ballast", "", 0);
    recover();
    expect_ok(5, false);
    ck_assert(!simdisk_exists(&disk, DISK_LOG, "zabra.log.tmp") && !simdisk_exists(&disk, DISK_SNAP, "zabra.snapshot.5.tmp"));
    ck_assert(simdisk_exists(&disk, DISK_SNAP, "currentEpoch.tmp") && simdisk_exists(&disk, DISK_SNAP, "snapshot.9.tmp"));
    ck_assert(simdisk_exists(&disk, DISK_LOG, "zabra.ballast"));
}
END_TEST

/* What Java wrote was never synced. Once a server of ours has shown it to somebody, it must stay. */
START_TEST(what_was_read_is_durable) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct buf b = make_log(6, 9, 4096, NULL);
        char name[STORE_NAME_MAX], tmp[STORE_NAME_MAX];
        size_t size;
        start_over();
        simdisk_clear(&disk);
        put_snapshot_file(&disk, 5, SNAPSHOT_PLAIN);
        uint8_t *snapshot = simdisk_get(&disk, DISK_SNAP, "snapshot.5", &size);
        simdisk_clear(&disk);
        store_snapshot_name(name, 5, SNAPSHOT_PLAIN);
        store_snapshot_tmp_name(tmp, 5);
        int h = disk.disk.open(disk.disk.ctx, DISK_SNAP, name, DISK_CREATE);
        ck_assert_int_eq(disk_write_all(&disk.disk, h, snapshot, size, 0), 0);
        disk.disk.close(disk.disk.ctx, h);
        h = disk.disk.open(disk.disk.ctx, DISK_LOG, "log.6", DISK_CREATE);
        ck_assert_int_eq(disk_write_all(&disk.disk, h, b.data, b.len, 0), 0);
        disk.disk.close(disk.disk.ctx, h);
        recover();
        expect_ok(9, false);
        simdisk_crash(&disk, seed);
        recover();
        expect_ok(9, false);
        mem_free(snapshot);
        buf_free(&b);
    }
}
END_TEST

/* ------------------------------------------------------------------ the disk fails, and chance */

/* True if the bytes stand in the file, from offset on. */
static bool file_holds(const char *name, const uint8_t *bytes, size_t size, size_t offset) {
    size_t file = 0;
    uint8_t *data = simdisk_get(&disk, DISK_LOG, name, &file);
    bool holds = data != NULL && file >= offset + size && memcmp(data + offset, bytes, size) == 0;
    mem_free(data);
    return holds;
}

/* A cut on request that a crash interrupts: nothing that is cut off is ever lost, and until the cut is complete it is the damage
 * that is found again, nothing more confusing. */
START_TEST(crash_while_cutting) {
    bool reached = true;
    for (uint64_t n = 1; reached; n++) {
        for (uint64_t seed = 0; seed < 30; seed++) {
            struct one_log l = make_one_log(4096);
            struct buf later = make_log(7, 9, 0, NULL), last = make_log(10, 12, 0, NULL);
            size_t tail = (size_t)(l.offsets[6] - l.offsets[2]);
            start_over();
            l.bytes.data[l.offsets[2] + 20] ^= 1;
            put_bytes("log.1", &l.bytes, l.bytes.len);
            put_bytes("log.7", &later, later.len);
            put_bytes("log.a", &last, last.len);
            put_side(10, 16, false);
            simdisk_clear_faults(&disk);
            disk.counted_ops = SIMDISK_CHANGES;
            disk.crash_at = n;
            options.cut_damaged = true;
            recover();
            reached = disk.dead;
            simdisk_crash(&disk, n * 100 + seed);
            ck_assert(file_holds("log.7", later.data, later.len, 0) || file_holds("set-aside.log.7.1", later.data, later.len, 0));
            ck_assert(file_holds("log.a", last.data, last.len, 0) || file_holds("set-aside.log.a.1", last.data, last.len, 0));
            ck_assert_msg(file_holds("log.1", l.bytes.data, (size_t)l.offsets[6], 0) ||
                              file_holds("set-aside.damaged.1.1", l.bytes.data + l.offsets[2], tail, 0),
                          "crash at %d", (int)n);
            options.cut_damaged = false;
            recover();
            if (result.status != RECOVERY_OK)
                expect_refused("log.1 is damaged at offset");
            options.cut_damaged = true;
            recover();
            ck_assert_msg(result.status == RECOVERY_OK, "%s", result.message);
            ck_assert_int_eq(sink.last, 2);
            buf_free(&l.bytes);
            buf_free(&later);
            buf_free(&last);
        }
    }
}
END_TEST

/* Whichever call fails: never a database with less in it. */
START_TEST(every_call_fails) {
    const int errors[] = {-EIO, -EMFILE, -ENOSPC};
    for (uint64_t n = 1;; n++) {
        start_over();
        put_snapshot_file(&disk, 3, SNAPSHOT_GZIP);
        put_torn_log("log.1", 1, 5, 100, 4096);
        put_log_file(&disk, 6, 8, 4096);
        put_torn_log("log.9", 9, 12, 60, 4096);
        simdisk_put(&disk, DISK_SNAP, "zabra.snapshot.9.tmp", "x", 1);
        put_side(9, 16, false);
        simdisk_clear_faults(&disk);
        disk.fail_at = n;
        disk.fail_errno = errors[_i % 3];
        disk.fail_forever = _i >= 3;
        recover();
        bool reached = disk.calls >= n;
        if (result.status == RECOVERY_OK)
            expect_ok(12, true);
        else
            ck_assert_str_ne(result.message, "");
        simdisk_clear_faults(&disk);
        recover();
        ck_assert_msg(result.status == RECOVERY_OK, "after a fault at %d: %s", (int)n, result.message);
        ck_assert_int_eq(sink.last, 12);
        if (!reached)
            break;
    }
}
END_TEST

/* Several logs, random damage: never a crash of ours, never transactions out of order, and with the side file never fewer than
 * it vouches for without a word. */
START_TEST(random_damage) {
    struct rng rng = {(uint64_t)_i + 1};
    for (int round = 0; round < 300; round++) {
        start_over();
        zxid_t firsts[] = {1, 7, 12, 20}, synced = 0;
        for (int i = 0; i < 4; i++)
            put_log_file(&disk, firsts[i], i < 3 ? firsts[i + 1] - 1 : 25, rng_below(&rng, 2) ? 4096 : 0);
        if (rng_below(&rng, 3) == 0)
            put_snapshot_file(&disk, (zxid_t)rng_below(&rng, 26), (enum snapshot_method)rng_below(&rng, 3));
        bool side = rng_below(&rng, 2) == 0;
        if (side) {
            int64_t offsets[8];
            struct buf b = make_log(20, 25, 0, offsets);
            buf_free(&b);
            synced = 19 + (zxid_t)rng_below(&rng, 7);
            put_side(20, offsets[synced - 19], false);
        }
        for (uint64_t n = 1 + rng_below(&rng, 3); n > 0; n--) {
            char name[STORE_NAME_MAX];
            size_t size;
            store_log_name(name, firsts[rng_below(&rng, 4)]);
            uint8_t *data = simdisk_get(&disk, DISK_LOG, name, &size);
            size_t at = (size_t)rng_below(&rng, size_max(size, 1)), len = (size_t)rng_below(&rng, 700);
            switch (rng_below(&rng, 4)) {
            case 0: size = at; break;
            case 1: memset(data + at, 0, size_min(len, size - at)); break;
            case 2: data[at] ^= (uint8_t)(1 + rng_below(&rng, 255)); break;
            default: /* no constant bytes: Adler-32 is easily fooled by those */
                for (size_t i = at; i < size && i < at + len % 20; i++)
                    data[i] = (uint8_t)rng_next(&rng);
                        }
            simdisk_put(&disk, DISK_LOG, name, data, size);
            mem_free(data);
            if (size == 0)
                break;
        }
        options.cut_damaged = rng_below(&rng, 4) == 0;
        recover();
        ck_assert(result.status != RECOVERY_IO);
        if (result.status != RECOVERY_OK)
            continue;
        ck_assert(!sink.wrong);
        ck_assert_uint_eq(sink.txns, (uint64_t)(sink.last - i64_max(sink.snapshot_zxid, 0)));
        if (!options.cut_damaged) {
            ck_assert(sink.last == 25 || result.cut || !side || sink.last >= synced);
            ck_assert_msg(!side || sink.last >= synced, "round %d: %d of %d", round, (int)sink.last, (int)synced);
        }
        /* The same again; what a log that is now set aside had proven harmless may be cut. */
        zxid_t last = sink.last;
        options.cut_damaged = false;
        for (int i = 0; i < 4; i++) {
            recover();
            expect_ok(last, result.cut);
        }
        ck_assert(!result.cut);
    }
}
END_TEST

static void add_one_log(Suite *suite) {
    TCase *tc = tcase_create("one log");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, changed_byte, 0, 16);
    tcase_add_loop_test(tc, zeroed_entry, 0, 16);
    tcase_add_loop_test(tc, cut_at_every_byte, 0, 8);
    tcase_add_test(tc, zeros_from_every_byte);
    tcase_add_test(tc, tail_is_kept_byte_for_byte);
    tcase_add_test(tc, dry_run_cuts_nothing);
    tcase_add_test(tc, cut_lowers_the_side_file);
    tcase_add_test(tc, no_room_for_the_tail);
    tcase_add_loop_test(tc, padding_is_given_back, 0, 2);
    tcase_add_test(tc, padding_that_stays);
    tcase_set_timeout(tc, 300);
    suite_add_tcase(suite, tc);
}

static void add_several_logs(Suite *suite) {
    TCase *tc = tcase_create("several logs");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, padding_of_several_logs);
    tcase_add_loop_test(tc, tail_given_up_earlier, 0, 4);
    tcase_add_test(tc, damaged_entry_given_up_earlier);
    tcase_add_test(tc, damaged_end_before_a_later_log);
    tcase_add_test(tc, missing_log);
    tcase_add_test(tc, missing_first_log);
    tcase_add_test(tc, gap_within_a_log);
    tcase_add_test(tc, epochs);
    tcase_add_test(tc, snapshot_at_the_start_of_an_epoch);
    tcase_add_loop_test(tc, snapshot_ahead_of_the_log, 0, 4);
    tcase_add_test(tc, older_snapshots_stay);
    tcase_add_test(tc, older_snapshots_go_with_a_crash_anywhere);
    tcase_add_test(tc, damaged_snapshot_before_a_new_epoch);
    tcase_add_test(tc, damage_before_a_new_epoch);
    tcase_add_test(tc, truncated_by_java);
    tcase_add_test(tc, java_went_on_after_us);
    tcase_add_test(tc, damaged_logs_prove_nothing);
    tcase_add_test(tc, copies_are_skipped);
    tcase_add_test(tc, missing_last_log);
    tcase_add_test(tc, empty_log_with_a_high_name);
    tcase_add_test(tc, useless_logs_in_the_middle);
    tcase_add_test(tc, bad_header);
    tcase_add_test(tc, damage_that_a_snapshot_covers);
    tcase_add_test(tc, transaction_that_cannot_be_applied);
    tcase_set_timeout(tc, 300);
    suite_add_tcase(suite, tc);
}

static void add_directories(Suite *suite) {
    TCase *tc = tcase_create("directories");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, new_database);
    tcase_add_test(tc, logs_without_snapshot);
    tcase_add_loop_test(tc, damaged_snapshot_falls_back, 0, 3);
    tcase_add_test(tc, refused_content_falls_back);
    tcase_add_test(tc, log_bytes_behind_the_snapshot);
    tcase_add_test(tc, split_directories);
    tcase_add_test(tc, what_was_read_is_durable);
    tcase_add_test(tc, crash_while_cutting);
    tcase_add_loop_test(tc, every_call_fails, 0, 6);
    tcase_add_loop_test(tc, random_damage, 0, 10);
    tcase_set_timeout(tc, 300);
    suite_add_tcase(suite, tc);
}

int main(void) {
    Suite *suite = suite_create("recovery");
    add_fixtures(suite);
    add_one_log(suite);
    add_several_logs(suite);
    add_directories(suite);
    return run_suite(suite);
}
