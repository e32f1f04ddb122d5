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
    ck_assert_ptr_nonnull(strstr(f.result.message, "set-aside.tail.1.1"));
    uint8_t *tail = simdisk_get(&f.disk, DISK_LOG, "set-aside.tail.1.1", &size);
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

int main(void) {
    Suite *suite = suite_create("recovery");
    add_fixtures(suite);
    return run_suite(suite);
}
