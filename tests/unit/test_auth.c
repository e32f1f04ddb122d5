/* src/tree/auth: identities, schemes, authorisation, lists in requests and replies. The cases are those of
 * docs/protocol/client-protocol.md section 10 and operations.md section 10. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "tree/auth.h"

#define SUPER_SECRET "super:lK75jTNcA+U9vtVEw5vB51mj/w4="
#define X_Y "x:MEJqKszm5QjsB/DDYgSVr5oDjb4="
#define ALL UINT32_MAX

static struct auth_options options;
static struct identity_set ids;
static struct acl_table *table;
static struct buf list; /* the list that is being built */
static struct buf out;
static struct slice fixed; /* what auth_fix_acl has appended */

static void setup(void) {
    options = (struct auth_options){.digest_enabled = true, .digest_alg = "SHA1"};
    table = acl_table_new();
    identity_set_init(&ids);
    identity_add(&ids, SLICE_LIT("ip"), SLICE_LIT("127.0.0.1"));
    jute_put_int(&list, 0);
}

static void teardown(void) {
    acl_table_free(table);
    identity_set_free(&ids);
    buf_free(&list);
    buf_free(&out);
}

/* ------------------------------------------------------------------ short forms */

/* Appends an entry to the list; id NULL = null. */
static void entry(int32_t perms, const char *scheme, const char *id) {
    struct acl_entry e = {perms, scheme ? slice_of(scheme) : SLICE_NULL, id ? slice_of(id) : SLICE_NULL};
    acl_entry_put(&list, &e);
    jute_patch_int(&list, 0, (int32_t)be32_load(list.data) + 1);
}

static void new_list(void) {
    buf_clear(&list);
    jute_put_int(&list, 0);
}

/* Fixes the list, starts the next one. */
static int fix(void) {
    struct jute_in in = jute_in(list.data, list.len);
    size_t start = out.len;
    int err = auth_fix_acl(&options, &in, &ids, ALL, &out);
    ck_assert(err == ZK_OK || out.len == start);
    ck_assert(err == ZK_MARSHALLING_ERROR || in.p == in.end);
    fixed = (struct slice){(const char *)out.data + start, out.len - start};
    new_list();
    return err;
}

static int fix_one(const char *scheme, const char *id) {
    entry(1, scheme, id);
    return fix();
}

/* The list as it is now equals what the last fix made; starts the next one. */
static void expect_fixed(void) {
    ck_assert_uint_eq(fixed.len, list.len);
    ck_assert_mem_eq(fixed.data, list.data, list.len);
    new_list();
}

/* Is one of the wanted bits allowed by the list? Starts the next one. */
static bool allowed(int32_t wanted) {
    acl_id_t id = acl_intern(table, (struct slice){(const char *)list.data, list.len});
    bool result = auth_allowed(&options, table, id, wanted, &ids, ALL);
    acl_unref(table, id);
    new_list();
    return result;
}

static bool allowed_by(const char *scheme, const char *id) {
    entry(PERM_READ, scheme, id);
    return allowed(PERM_READ);
}

static enum auth_result packet(const char *scheme, const char *data) {
    return auth_packet(&options, &ids, slice_of(scheme), data ? slice_of(data) : SLICE_NULL);
}

static bool has(const char *scheme, const char *id) {
    for (uint32_t i = 0; i < ids.count; i++)
        if (slice_is(ids.entries[i].scheme, scheme) && slice_is(ids.entries[i].id, id))
            return true;
    return false;
}

/* ------------------------------------------------------------------ identities */

START_TEST(identities_are_a_set) {
    identity_add(&ids, SLICE_LIT("digest"), SLICE_LIT("a:b"));
    identity_add(&ids, SLICE_LIT("ip"), SLICE_LIT("127.0.0.1"));
    identity_add(&ids, SLICE_LIT("digest"), SLICE_LIT("a:c"));
    identity_add(&ids, SLICE_LIT("super"), SLICE_LIT(""));
    ck_assert_uint_eq(ids.count, 4);
    ck_assert(slice_is(ids.entries[2].id, "a:c"));
    ck_assert(has("super", ""));
}
END_TEST

START_TEST(identities_are_copied) {
    char scheme[] = "digest", id[] = "a:b";
    identity_add(&ids, slice_of(scheme), slice_of(id));
    memset(scheme, 'x', sizeof scheme - 1);
    memset(id, 'x', sizeof id - 1);
    ck_assert(has("digest", "a:b"));
}
END_TEST

START_TEST(only_the_first_ones_count) {
    identity_add(&ids, SLICE_LIT("digest"), SLICE_LIT("a:b"));
    ck_assert(identity_has_scheme(&ids, 2, SLICE_LIT("digest")));
    ck_assert(!identity_has_scheme(&ids, 1, SLICE_LIT("digest")));
    ck_assert(!identity_has_scheme(&ids, 2, SLICE_LIT("sasl")));
    entry(1, "digest", "a:b");
    acl_id_t id = acl_intern(table, (struct slice){(const char *)list.data, list.len});
    ck_assert(auth_allowed(&options, table, id, 1, &ids, 2));
    ck_assert(!auth_allowed(&options, table, id, 1, &ids, 1));
    new_list();
    entry(1, "auth", "");
    struct jute_in in = jute_in(list.data, list.len);
    ck_assert_int_eq(auth_fix_acl(&options, &in, &ids, 1, &out), ZK_INVALID_ACL);
}
END_TEST

START_TEST(user_names) {
    options.sasl_registered = true;
    identity_add(&ids, SLICE_LIT("digest"), SLICE_LIT("bob:hash:x"));
    identity_add(&ids, SLICE_LIT("sasl"), SLICE_LIT("bob@REALM"));
    identity_add(&ids, SLICE_LIT("super"), SLICE_LIT("who"));
    identity_add(&ids, SLICE_LIT("digest"), SLICE_LIT(":hash"));
    static const char *const names[] = {"127.0.0.1", "bob", "bob@REALM", "", ""};
    for (uint32_t i = 0; i < ids.count; i++)
        ck_assert(slice_is(auth_user_name(&options, &ids.entries[i]), names[i]));
    ck_assert_ptr_nonnull(auth_user_name(&options, &ids.entries[3]).data);
    options.sasl_registered = false;
    ck_assert(slice_is(auth_user_name(&options, &ids.entries[2]), ""));
}
END_TEST

START_TEST(known_schemes) {
    struct auth_options none = {0}, all = {.digest_enabled = true, .ensemble_enabled = true, .sasl_registered = true,
                                           .x509_registered = true};
    static const char *const schemes[] = {"digest", "ensemble", "sasl", "x509"};
    static const char *const never[] = {"world", "auth", "super", "key", "IP", ""};
    ck_assert(auth_scheme_known(&none, SLICE_LIT("ip")));
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        ck_assert(!auth_scheme_known(&none, slice_of(schemes[i])));
        ck_assert(auth_scheme_known(&all, slice_of(schemes[i])));
    }
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        ck_assert(!auth_scheme_known(&all, slice_of(never[i])));
}
END_TEST

/* ------------------------------------------------------------------ auth packets */

static void expect_digest(const char *alg, struct slice data, const char *expected) {
    struct buf id = BUF_INIT;
    ck_assert(auth_digest_id(alg, data, &id));
    buf_append(&id, "", 1);
    ck_assert_str_eq((const char *)id.data, expected);
    buf_free(&id);
}

START_TEST(digest_ids) {
    expect_digest("SHA1", SLICE_LIT("super:secret"), SUPER_SECRET);
    expect_digest("SHA1", SLICE_LIT("x:y"), X_Y);
    expect_digest("SHA1", SLICE_LIT("nocolon"), "nocolon:Ra+cHr2ZoHvBjtNArFGNGlVie4g=");
    expect_digest("SHA1", SLICE_LIT(""), ":2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
    expect_digest("SHA1", SLICE_LIT("a:b:c"), "a:cLzgnoJ6mP5qz3w+mwvPE2vDgu0=");
    expect_digest("SHA-256", SLICE_LIT("super:test"), "super:wjySwxg860UATFtciuZ1lpzrCHrPeov6SPu/ZD56uig=");
}
END_TEST

/* As Java reads it: bytes that are no UTF-8 count as U+FFFD, characters above U+FFFF as they are. */
START_TEST(digest_of_other_encodings) {
    expect_digest("SHA1", SLICE_LIT("a:\xff\xfe"), "a:ZgxFPZMnN3d5KQRd7MadIhzOOm4=");
    expect_digest("SHA1", SLICE_LIT("a:\xef\xbf\xbd\xef\xbf\xbd"), "a:ZgxFPZMnN3d5KQRd7MadIhzOOm4=");
    expect_digest("SHA1", SLICE_LIT("\xf0\x9f\x98\x80:\xf0\x9f\x98\x80"), "\xf0\x9f\x98\x80:q5W1pUIW5fJjEdtOfUgxSCj35pk=");
    expect_digest("SHA1", SLICE_LIT("\xf0\x9f\x98\x80\xff:x"), "\xf0\x9f\x98\x80\xef\xbf\xbd:EwS+IYVUMC6C6MOH7LgtPfSl478=");
}
END_TEST

START_TEST(digest_unknown_hash) {
    struct buf id = BUF_INIT;
    ck_assert(!auth_digest_id("SHA0815", SLICE_LIT("a:b"), &id));
    ck_assert_uint_eq(id.len, 0);
    options.digest_alg = "SHA0815";
    ck_assert_int_eq(packet("digest", "a:b"), AUTH_FAILED);
    buf_free(&id);
}
END_TEST

START_TEST(digest_packet_adds) {
    ck_assert_int_eq(packet("digest", "x:y"), AUTH_OK);
    ck_assert(has("digest", X_Y));
    ck_assert_int_eq(packet("digest", "x:y"), AUTH_OK);
    ck_assert_uint_eq(ids.count, 2);
    ck_assert_int_eq(packet("digest", ""), AUTH_OK);
    ck_assert_uint_eq(ids.count, 3);
}
END_TEST

START_TEST(digest_packet_of_the_super_user) {
    options.super_digest = SUPER_SECRET;
    ck_assert_int_eq(packet("digest", "super:wrong"), AUTH_OK);
    ck_assert(!has("super", ""));
    ck_assert_int_eq(packet("digest", "super:secret"), AUTH_OK);
    ck_assert(has("super", ""));
    ck_assert(has("digest", SUPER_SECRET));
}
END_TEST

START_TEST(packets_that_fail) {
    options.sasl_registered = options.x509_registered = true;
    ck_assert_int_eq(packet("digest", NULL), AUTH_FAILED);
    static const char *const schemes[] = {"world", "auth", "super", "sasl", "x509", "ensemble", "Digest", ""};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        ck_assert_int_eq(packet(schemes[i], "a:b"), AUTH_FAILED);
    ck_assert_int_eq(auth_packet(&options, &ids, SLICE_NULL, SLICE_LIT("a:b")), AUTH_FAILED);
    options.digest_enabled = false;
    ck_assert_int_eq(packet("digest", "a:b"), AUTH_FAILED);
    ck_assert_uint_eq(ids.count, 1);
}
END_TEST

START_TEST(ip_packet_adds_nothing) {
    ck_assert_int_eq(packet("ip", "1.2.3.4"), AUTH_OK);
    ck_assert_int_eq(packet("ip", NULL), AUTH_OK);
    ck_assert_uint_eq(ids.count, 1);
}
END_TEST

START_TEST(ensemble_packets) {
    options.ensemble_enabled = true;
    ck_assert_int_eq(packet("ensemble", "any"), AUTH_OK);
    options.ensemble_names = "blue, green ,\tred";
    ck_assert_int_eq(packet("ensemble", ""), AUTH_OK);
    ck_assert_int_eq(packet("ensemble", NULL), AUTH_OK);
    ck_assert_int_eq(packet("ensemble", "blue"), AUTH_OK);
    ck_assert_int_eq(packet("ensemble", "green"), AUTH_OK);
    ck_assert_int_eq(packet("ensemble", "red"), AUTH_OK);
    ck_assert_int_eq(packet("ensemble", "re"), AUTH_CLOSE_SILENT);
    ck_assert_int_eq(packet("ensemble", "blue, green"), AUTH_CLOSE_SILENT);
    ck_assert_uint_eq(ids.count, 1);
}
END_TEST

/* ------------------------------------------------------------------ valid ACL ids */

static const struct {
    const char *scheme, *id;
    bool valid;
} id_cases[] = {
    {"world", "anyone", true},
    {"world", "x", false},
    {"world", "", false},
    {"super", "", false},
    {"nobody", "x", false},
    {"", "", false},
    {"ensemble", "blue", false},
    /* digest: two parts, trailing empty ones dropped */
    {"digest", "a:b", true},
    {"digest", ":b", true},
    {"digest", "a:b:", true},
    {"digest", "a:b::", true},
    {"digest", "", false},
    {"digest", ":", false},
    {"digest", "a", false},
    {"digest", "a:", false},
    {"digest", "a:b:c", false},
    {"digest", "::b", false},
    /* ip, version 4 */
    {"ip", "127.0.0.1", true},
    {"ip", "010.+1.-0.255", true},
    {"ip", "10.0.0.0/8", true},
    {"ip", "10.0.0.0/0", true},
    {"ip", "10.0.0.0/+8", true},
    {"ip", "10.0.0.0/032", true},
    {"ip", "", false},
    {"ip", "/8", false},
    {"ip", "10", false},
    {"ip", "10.0.0", false},
    {"ip", "10.0.0.0.0", false},
    {"ip", "10.0.0.", false},
    {"ip", ".0.0.0", false},
    {"ip", "10.0.0.256", false},
    {"ip", "10.0.0.-1", false},
    {"ip", "10.0.0.a", false},
    {"ip", "10.0.0. 1", false},
    {"ip", "10.0.0.0/", false},
    {"ip", "10.0.0.0/33", false},
    {"ip", "10.0.0.0/-1", false},
    {"ip", "10.0.0.0/8/8", false},
    {"ip", "10.0.0.0/4294967304", false},
    /* ip, version 6 */
    {"ip", "0:0:0:0:0:0:0:1", true},
    {"ip", "::1", true},
    {"ip", "::", true},
    {"ip", "1::", true},
    {"ip", "2001:DB8::8a2e:370:7334", true},
    {"ip", "1:2:3:4:5:6::8", true},
    {"ip", "fe80::/64", true},
    {"ip", "fe80::/128", true},
    {"ip", "::/0", true},
    {"ip", "fe80::/129", false},
    {"ip", "1", false},
    {"ip", "1:2", false},
    {"ip", "1::2:", false},
    {"ip", ":1::2", false},
    {"ip", ":1::2:", false},
    {"ip", "1:2:3:4:5:6:7:8:", false},
    {"ip", "1:2:3:4:5:6:7:8:9", false},
    {"ip", "1:2::3:4:5:6:7:8", false},
    {"ip", "1::2::", false},
    {"ip", ":::", false},
    {"ip", "1:abcdf::", false},
    {"ip", "efgh::", false},
    {"ip", "1:: ", false},
    {"ip", "::ffff:1.2.3.4", false},
    {"ip", "fe80::1%eth0", false},
    /* sasl */
    {"sasl", "bob", true},
    {"sasl", "", true},
    {"sasl", "a/b", true},
    {"sasl", "a/b/c", true},
    {"sasl", "a/b@R", true},
    {"sasl", "a@R", true},
    {"sasl", "@", true},
    {"sasl", "a@b@c", false},
    {"sasl", "a/b/c@R", false},
    {"sasl", "a@R/b", false},
    /* x509 */
    {"x509", "CN=a,O=b", true},
    {"x509", "a", false},
    {"x509", "", false},
};

START_TEST(validity_of_ids) {
    options.sasl_registered = options.x509_registered = options.ensemble_enabled = true;
    int err = fix_one(id_cases[_i].scheme, id_cases[_i].id);
    ck_assert_msg(err == (id_cases[_i].valid ? ZK_OK : ZK_INVALID_ACL), "%s:%s gave %d", id_cases[_i].scheme,
                  id_cases[_i].id, err);
}
END_TEST

START_TEST(schemes_that_are_not_registered) {
    options.digest_enabled = false;
    ck_assert_int_eq(fix_one("digest", "a:b"), ZK_INVALID_ACL);
    ck_assert_int_eq(fix_one("sasl", "bob"), ZK_INVALID_ACL);
    ck_assert_int_eq(fix_one("x509", "CN=a"), ZK_INVALID_ACL);
    ck_assert_int_eq(fix_one("ip", "1.2.3.4"), ZK_OK);
}
END_TEST

/* ------------------------------------------------------------------ lists of create and setACL */

START_TEST(list_is_kept_as_it_is) {
    entry(255, "world", "anyone");
    entry(0, "ip", "10.0.0.0/8");
    entry(-1, "digest", "a:b");
    struct buf copy = BUF_INIT;
    buf_append(&copy, list.data, list.len);
    ck_assert_int_eq(fix(), ZK_OK);
    ck_assert(slice_eq(fixed, (struct slice){(const char *)copy.data, copy.len}));
    buf_free(&copy);
}
END_TEST

START_TEST(list_empty_or_null) {
    ck_assert_int_eq(fix(), ZK_INVALID_ACL);
    jute_patch_int(&list, 0, -1);
    ck_assert_int_eq(fix(), ZK_INVALID_ACL);
    jute_patch_int(&list, 0, -7);
    ck_assert_int_eq(fix(), ZK_INVALID_ACL);
}
END_TEST

START_TEST(list_duplicates_are_dropped) {
    entry(1, "ip", "1.1.1.1");
    entry(2, "ip", "1.1.1.1");
    entry(1, "ip", "1.1.1.1");
    entry(1, "world", "anyone");
    entry(2, "ip", "1.1.1.1");
    ck_assert_int_eq(fix(), ZK_OK);
    entry(1, "ip", "1.1.1.1");
    entry(2, "ip", "1.1.1.1");
    entry(1, "world", "anyone");
    expect_fixed();
}
END_TEST

START_TEST(list_of_very_many) {
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 50000; i++) {
            char id[20];
            snprintf(id, sizeof id, "10.%d.%d.%d", i / 65536, i / 256 % 256, i % 256);
            entry(1, "ip", id);
        }
    }
    ck_assert_int_eq(fix(), ZK_OK);
    ck_assert_uint_eq(be32_load(fixed.data), 50000);
}
END_TEST

START_TEST(auth_becomes_the_identities) {
    packet("digest", "x:y");
    identity_add(&ids, SLICE_LIT("super"), SLICE_LIT(""));
    identity_add(&ids, SLICE_LIT("sasl"), SLICE_LIT("bob"));
    identity_add(&ids, SLICE_LIT("x509"), SLICE_LIT("CN=a"));
    identity_add(&ids, SLICE_LIT("digest"), SLICE_LIT("odd"));
    options.sasl_registered = options.x509_registered = true;
    entry(1, "world", "anyone");
    entry(6, "auth", "ignored");
    ck_assert_int_eq(fix(), ZK_OK);
    entry(1, "world", "anyone");
    entry(6, "digest", X_Y);
    entry(6, "sasl", "bob");
    entry(6, "x509", "CN=a");
    entry(6, "digest", "odd"); /* not validated again */
    expect_fixed();
}
END_TEST

/* ip does not count as proved; sasl and digest only if they have a provider. */
START_TEST(auth_without_anybody) {
    ck_assert_int_eq(fix_one("auth", ""), ZK_INVALID_ACL);
    identity_add(&ids, SLICE_LIT("sasl"), SLICE_LIT("bob"));
    identity_add(&ids, SLICE_LIT("digest"), SLICE_LIT("a:b"));
    options.digest_enabled = false;
    ck_assert_int_eq(fix_one("auth", ""), ZK_INVALID_ACL);
    options.digest_enabled = true;
    ck_assert_int_eq(fix_one("auth", ""), ZK_OK);
}
END_TEST

/* Duplicates are dropped before the expansion, not after it. */
START_TEST(auth_twice) {
    identity_add(&ids, SLICE_LIT("digest"), SLICE_LIT("a:b"));
    entry(1, "auth", "");
    entry(1, "auth", "");
    entry(1, "auth", "other");
    ck_assert_int_eq(fix(), ZK_OK);
    entry(1, "digest", "a:b");
    entry(1, "digest", "a:b");
    expect_fixed();
}
END_TEST

START_TEST(auth_must_not_explode) {
    char id[200];
    memset(id, 'x', sizeof id);
    for (int i = 0; i < 1000; i++) {
        id[0] = (char)('a' + i % 26);
        id[1] = (char)('a' + i / 26);
        identity_add(&ids, SLICE_LIT("digest"), (struct slice){id, sizeof id});
    }
    for (int i = 0; i < 3; i++)
        entry(i, "auth", "");
    ck_assert_int_eq(fix(), ZK_OK);
    for (int i = 0; i < 10000; i++)
        entry(i, "auth", "");
    ck_assert_int_eq(fix(), ZK_INVALID_ACL);
    ck_assert_uint_lt(out.cap, 8 << 20);
}
END_TEST

START_TEST(list_one_bad_entry_is_enough) {
    buf_append(&out, "before", 6);
    entry(1, "world", "anyone");
    entry(1, "digest", "bad");
    entry(1, "ip", "1.1.1.1");
    ck_assert_int_eq(fix(), ZK_INVALID_ACL);
    ck_assert_uint_eq(out.len, 6);
}
END_TEST

START_TEST(list_with_nulls) {
    ck_assert_int_eq(fix_one(NULL, "x"), ZK_INVALID_ACL);
    ck_assert_int_eq(fix_one("world", NULL), ZK_MARSHALLING_ERROR);
    ck_assert_int_eq(fix_one("digest", NULL), ZK_MARSHALLING_ERROR);
    ck_assert_int_eq(fix_one("ip", NULL), ZK_MARSHALLING_ERROR);
    ck_assert_int_eq(fix_one("nonsense", NULL), ZK_INVALID_ACL);
    ck_assert_int_eq(fix_one(NULL, NULL), ZK_INVALID_ACL);
}
END_TEST

START_TEST(list_that_runs_out) {
    entry(1, "world", "anyone");
    entry(1, "ip", "1.1.1.1");
    struct jute_in in;
    for (size_t len = 0; len < list.len; len++) {
        in = jute_in(list.data, len);
        ck_assert_int_eq(auth_fix_acl(&options, &in, &ids, ALL, &out), ZK_MARSHALLING_ERROR);
        ck_assert(in.failed);
        in = jute_in(list.data, len);
        auth_skip_acl(&in);
        ck_assert(in.failed);
    }
    jute_patch_int(&list, 0, INT32_MAX);
    ck_assert_int_eq(fix(), ZK_MARSHALLING_ERROR);
    ck_assert_uint_eq(out.len, 0);
}
END_TEST

START_TEST(reader_stands_behind_the_list) {
    entry(1, "world", "anyone");
    size_t len = list.len;
    jute_put_int(&list, 42);
    struct jute_in in = jute_in(list.data, list.len), again = in;
    ck_assert_int_eq(auth_fix_acl(&options, &in, &ids, ALL, &out), ZK_OK);
    ck_assert_ptr_eq(in.p, list.data + len);
    auth_skip_acl(&again);
    ck_assert_int_eq(jute_int(&again), 42);
    ck_assert(!again.failed);
}
END_TEST

/* ------------------------------------------------------------------ the check */

START_TEST(check_world) {
    entry(PERM_READ | PERM_CREATE, "world", "anyone");
    ck_assert(allowed(PERM_READ));
    entry(PERM_READ | PERM_CREATE, "world", "anyone");
    ck_assert(!allowed(PERM_WRITE));
    entry(PERM_READ, "world", "anyone");
    ck_assert(allowed(PERM_READ | PERM_ADMIN)); /* any of them suffices */
    ck_assert(!allowed_by("world", "x"));
}
END_TEST

START_TEST(check_open_null_and_empty) {
    ck_assert(auth_allowed(&options, table, ACL_OPEN, PERM_ADMIN, &ids, ALL));
    ck_assert(allowed(PERM_ADMIN));
    jute_patch_int(&list, 0, -1);
    ck_assert(allowed(PERM_ADMIN));
}
END_TEST

START_TEST(check_skipped) {
    entry(PERM_ALL, "digest", "a:b");
    acl_id_t id = acl_intern(table, (struct slice){(const char *)list.data, list.len});
    ck_assert(!auth_allowed(&options, table, id, PERM_READ, &ids, ALL));
    ck_assert(auth_allowed(&options, table, id, PERM_READ, NULL, 0));
    identity_add(&ids, SLICE_LIT("super"), SLICE_LIT("CN=admin"));
    ck_assert(auth_allowed(&options, table, id, PERM_READ, &ids, ALL));
    ck_assert(!auth_allowed(&options, table, id, PERM_READ, &ids, 1));
    options.skip_acl = true;
    ck_assert(auth_allowed(&options, table, id, PERM_READ, &ids, 0));
}
END_TEST

START_TEST(check_digest) {
    packet("digest", "x:y");
    ck_assert(allowed_by("digest", X_Y));
    ck_assert(!allowed_by("digest", "x:other"));
    ck_assert(!allowed_by("digest", ""));
    ck_assert(!allowed_by("sasl", X_Y));
    options.digest_enabled = false;
    ck_assert(!allowed_by("digest", X_Y));
}
END_TEST

START_TEST(check_permissions_are_those_of_the_matching_entry) {
    packet("digest", "x:y");
    entry(PERM_ALL, "digest", "somebody:else");
    entry(PERM_READ, "digest", X_Y);
    entry(PERM_CREATE, "world", "anyone");
    acl_id_t id = acl_intern(table, (struct slice){(const char *)list.data, list.len});
    ck_assert(auth_allowed(&options, table, id, PERM_READ, &ids, ALL));
    ck_assert(auth_allowed(&options, table, id, PERM_CREATE, &ids, ALL));
    ck_assert(!auth_allowed(&options, table, id, PERM_DELETE, &ids, ALL));
    ck_assert(!auth_allowed(&options, table, id, 0, &ids, ALL));
}
END_TEST

START_TEST(check_sasl) {
    identity_add(&ids, SLICE_LIT("sasl"), SLICE_LIT("bob"));
    ck_assert(!allowed_by("sasl", "bob"));
    options.sasl_registered = true;
    ck_assert(allowed_by("sasl", "bob"));
    ck_assert(!allowed_by("sasl", "alice"));
    options.any_sasl_user = "alice";
    ck_assert(allowed_by("sasl", "alice"));
    ck_assert(!allowed_by("sasl", "carol"));
    identity_add(&ids, SLICE_LIT("sasl"), SLICE_LIT("super"));
    ck_assert(allowed_by("sasl", "carol"));
}
END_TEST

START_TEST(check_x509) {
    identity_add(&ids, SLICE_LIT("x509"), SLICE_LIT("CN=a,O=b"));
    options.x509_registered = true;
    ck_assert(allowed_by("x509", "CN=a,O=b"));
    ck_assert(!allowed_by("x509", "CN=a,O=c"));
}
END_TEST

static const struct {
    const char *peer, *id;
    bool match;
} ip_cases[] = {
    {"127.0.0.1", "127.0.0.1", true},
    {"127.0.0.1", "127.000.+0.01", true},
    {"127.0.0.1", "127.0.0.2", false},
    {"127.0.0.1", "127.0.0.0/8", true},
    {"127.0.0.1", "127.255.255.255/8", true}, /* host bits are masked on both sides */
    {"128.0.0.1", "127.0.0.0/8", false},
    {"10.1.2.3", "10.1.2.4/29", true},
    {"10.1.2.3", "10.1.2.4/30", false},
    {"10.1.2.3", "10.1.2.2/31", true},
    {"10.1.2.3", "10.1.2.3/32", true},
    {"10.1.2.3", "99.99.99.99/0", true},
    {"10.1.2.3", "::/0", false},
    {"0:0:0:0:0:0:0:1", "::1", true},
    {"0:0:0:0:0:0:0:1", "0000::0001/128", true},
    {"0:0:0:0:0:0:0:1", "::2", false},
    {"0:0:0:0:0:0:0:1", "0.0.0.0/0", false},
    {"2001:db8:0:0:0:0:0:5", "2001:db8::/32", true},
    {"2001:db9:0:0:0:0:0:5", "2001:db8::/32", false},
    {"2001:db9:0:0:0:0:0:5", "2001:db8::/31", true},
    {"fe80:0:0:0:0:0:0:1%2", "fe80::/10", false}, /* a zone matches nothing */
    {"localhost", "127.0.0.1", false},
    {"127.0.0.1", "nonsense", false},
};

START_TEST(check_ip) {
    identity_set_free(&ids);
    identity_add(&ids, SLICE_LIT("ip"), slice_of(ip_cases[_i].peer));
    ck_assert_msg(allowed_by("ip", ip_cases[_i].id) == ip_cases[_i].match, "%s and %s", ip_cases[_i].peer, ip_cases[_i].id);
}
END_TEST

/* A list from a damaged file: no reading behind the end, nothing allowed by what is missing. */
START_TEST(check_cut_list) {
    packet("digest", "x:y");
    entry(1, "digest", X_Y);
    for (size_t len = 4; len < list.len; len++) {
        acl_id_t id = acl_intern(table, (struct slice){(const char *)list.data, len});
        ck_assert(!auth_allowed(&options, table, id, 1, &ids, ALL));
        acl_unref(table, id);
    }
}
END_TEST

/* ------------------------------------------------------------------ getACL */

START_TEST(masked) {
    entry(1, "digest", "bob:hash");
    entry(2, "world", "anyone");
    entry(3, "digest", "a:b:c");
    entry(4, "sasl", "a:b");
    entry(5, "digest", ":hash");
    entry(6, "digest", "none");
    auth_mask_acl((struct slice){(const char *)list.data, list.len}, &out);
    fixed = (struct slice){(const char *)out.data, out.len};
    new_list();
    entry(1, "digest", "bob:x");
    entry(2, "world", "anyone");
    entry(3, "digest", "a:x");
    entry(4, "sasl", "a:b");
    entry(5, "digest", ":x");
    entry(6, "digest", "none");
    expect_fixed();
}
END_TEST

START_TEST(masked_cut_list) {
    entry(1, "digest", "bob:hash");
    entry(1, "digest", "joe:hash");
    auth_mask_acl((struct slice){(const char *)list.data, list.len - 1}, &out);
    fixed = (struct slice){(const char *)out.data, out.len};
    new_list();
    entry(1, "digest", "bob:x");
    expect_fixed();
}
END_TEST

static void add_identities(Suite *s) {
    TCase *tc = tcase_create("identities");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, identities_are_a_set);
    tcase_add_test(tc, identities_are_copied);
    tcase_add_test(tc, only_the_first_ones_count);
    tcase_add_test(tc, user_names);
    tcase_add_test(tc, known_schemes);
    suite_add_tcase(s, tc);

    tc = tcase_create("packets");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, digest_ids);
    tcase_add_test(tc, digest_of_other_encodings);
    tcase_add_test(tc, digest_unknown_hash);
    tcase_add_test(tc, digest_packet_adds);
    tcase_add_test(tc, digest_packet_of_the_super_user);
    tcase_add_test(tc, packets_that_fail);
    tcase_add_test(tc, ip_packet_adds_nothing);
    tcase_add_test(tc, ensemble_packets);
    suite_add_tcase(s, tc);
}

static void add_lists(Suite *s) {
    TCase *tc = tcase_create("lists");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, validity_of_ids, 0, ARRAY_LEN(id_cases));
    tcase_add_test(tc, schemes_that_are_not_registered);
    tcase_add_test(tc, list_is_kept_as_it_is);
    tcase_add_test(tc, list_empty_or_null);
    tcase_add_test(tc, list_duplicates_are_dropped);
    tcase_add_test(tc, list_of_very_many);
    tcase_add_test(tc, auth_becomes_the_identities);
    tcase_add_test(tc, auth_without_anybody);
    tcase_add_test(tc, auth_twice);
    tcase_add_test(tc, auth_must_not_explode);
    tcase_add_test(tc, list_one_bad_entry_is_enough);
    tcase_add_test(tc, list_with_nulls);
    tcase_add_test(tc, list_that_runs_out);
    tcase_add_test(tc, reader_stands_behind_the_list);
    tcase_add_test(tc, masked);
    tcase_add_test(tc, masked_cut_list);
    suite_add_tcase(s, tc);
}

static void add_check(Suite *s) {
    TCase *tc = tcase_create("check");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, check_world);
    tcase_add_test(tc, check_open_null_and_empty);
    tcase_add_test(tc, check_skipped);
    tcase_add_test(tc, check_digest);
    tcase_add_test(tc, check_permissions_are_those_of_the_matching_entry);
    tcase_add_test(tc, check_sasl);
    tcase_add_test(tc, check_x509);
    tcase_add_loop_test(tc, check_ip, 0, ARRAY_LEN(ip_cases));
    tcase_add_test(tc, check_cut_list);
    suite_add_tcase(s, tc);
}

int main(void) {
    Suite *s = suite_create("auth");
    add_identities(s);
    add_lists(s);
    add_check(s);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
