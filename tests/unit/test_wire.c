/* src/wire: the jute codec, the shared records, session passwords. Bytes are those of docs/protocol/client-protocol.md. */
#include <check.h>
#include <stdlib.h>

#include "base/rng.h"
#include "wire/records.h"

/* Bytes from hex digits; blanks are skipped. */
static struct buf hex(const char *text) {
    struct buf b = BUF_INIT;
    int high = -1;
    for (; *text; text++) {
        if (*text == ' ')
            continue;
        int digit = *text <= '9' ? *text - '0' : *text - 'a' + 10;
        if (high >= 0)
            buf_append(&b, &(uint8_t){(uint8_t)(high << 4 | digit)}, 1);
        high = high >= 0 ? -1 : digit;
    }
    return b;
}

static struct jute_in reader(const struct buf *b) { return jute_in(b->data, b->len); }

/* Compares with hex digits and frees. */
static void expect_hex(struct buf *b, const char *text) {
    struct buf want = hex(text);
    ck_assert_uint_eq(b->len, want.len);
    ck_assert_mem_eq(b->data, want.data, want.len);
    buf_free(&want);
    buf_free(b);
}

/* ------------------------------------------------------------------ jute */

START_TEST(put_numbers) {
    struct buf b = BUF_INIT;
    jute_put_int(&b, 1);
    jute_put_int(&b, -2);
    jute_put_long(&b, 0x0102030405060708);
    jute_put_long(&b, INT64_MIN);
    jute_put_bool(&b, true);
    jute_put_bool(&b, false);
    expect_hex(&b, "00000001 fffffffe 0102030405060708 8000000000000000 01 00");
}
END_TEST

START_TEST(put_bytes) {
    struct buf b = BUF_INIT;
    jute_put_bytes(&b, SLICE_NULL);
    jute_put_bytes(&b, SLICE_LIT(""));
    jute_put_bytes(&b, SLICE_LIT("/a\0"));
    expect_hex(&b, "ffffffff 00000000 00000003 2f6100");
}
END_TEST

START_TEST(read_back) {
    struct buf b = hex("fffffffe 8000000000000001 00 01 02 ffffffff 00000000 00000002 6869");
    struct jute_in in = reader(&b);
    ck_assert_int_eq(jute_int(&in), -2);
    ck_assert_int_eq(jute_long(&in), INT64_MIN + 1);
    ck_assert(!jute_bool(&in));
    ck_assert(jute_bool(&in));
    ck_assert(jute_bool(&in)); /* any byte but 0 is true */
    ck_assert_ptr_null(jute_bytes(&in).data);
    struct slice empty = jute_bytes(&in);
    ck_assert_ptr_nonnull(empty.data);
    ck_assert_uint_eq(empty.len, 0);
    ck_assert(slice_is(jute_bytes(&in), "hi"));
    ck_assert_uint_eq(jute_left(&in), 0);
    ck_assert(!in.failed);
    buf_free(&b);
}
END_TEST

START_TEST(null_where_it_may_not_be) {
    struct buf b = hex("ffffffff 00000001 61");
    struct jute_in in = reader(&b);
    ck_assert_ptr_null(jute_bytes_not_null(&in).data);
    ck_assert(in.failed);
    ck_assert_ptr_null(jute_bytes(&in).data);
    buf_free(&b);
}
END_TEST

START_TEST(counts_of_vectors) {
    struct buf b = hex("ffffffff fffffffe 80000000 00000000 7fffffff");
    struct jute_in in = reader(&b);
    ck_assert_int_eq(jute_count(&in), -1);
    ck_assert_int_eq(jute_count(&in), 0);
    ck_assert_int_eq(jute_count(&in), 0);
    ck_assert_int_eq(jute_count(&in), 0);
    ck_assert_int_eq(jute_count(&in), INT32_MAX);
    ck_assert(!in.failed);
    buf_free(&b);
}
END_TEST

static const char *const faulty[] = {
    "00",                /* half a length */
    "000000",            /* three quarters */
    "00000001",          /* one byte missing */
    "00000005 61626364", /* one byte missing */
    "fffffffe",          /* negative, but not null */
    "80000000",
    "7fffffff 6162",     /* far too long */
};

/* A fault sticks: nothing after it is read, although bytes are left. */
START_TEST(fault_in_a_length) {
    struct buf b = hex(faulty[_i]);
    struct jute_in in = reader(&b);
    ck_assert_ptr_null(jute_bytes(&in).data);
    ck_assert(in.failed);
    ck_assert_int_eq(jute_int(&in), 0);
    ck_assert_int_eq(jute_long(&in), 0);
    ck_assert(!jute_bool(&in));
    ck_assert_ptr_null(jute_take(&in, 0));
    ck_assert(in.failed);
    buf_free(&b);
}
END_TEST

START_TEST(short_numbers) {
    for (size_t len = 0; len < 8; len++) {
        struct jute_in in = jute_in("\0\0\0\1\0\0\0\1", len);
        ck_assert_int_eq(jute_long(&in), 0);
        ck_assert(in.failed);
        in = jute_in("\0\0\0\1\0\0\0\1", len);
        ck_assert_int_eq(jute_int(&in), len >= 4);
        ck_assert_int_eq(in.failed, len < 4);
    }
}
END_TEST

START_TEST(patch_and_frame) {
    struct buf b = BUF_INIT;
    buf_append(&b, "xy", 2);
    size_t start = frame_begin(&b);
    jute_put_int(&b, 7);
    jute_put_bool(&b, true);
    frame_end(&b, start);
    jute_patch_int(&b, start + 4, 9);
    expect_hex(&b, "7879 00000005 00000009 01");
}
END_TEST

/* ------------------------------------------------------------------ records */

START_TEST(stat) {
    struct stat_view s = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, back;
    struct buf b = BUF_INIT;
    stat_view_put(&b, &s);
    ck_assert_uint_eq(b.len, STAT_BYTES);
    struct jute_in in = reader(&b);
    ck_assert(stat_view_get(&in, &back));
    in = jute_in(b.data, b.len - 1);
    ck_assert(!stat_view_get(&in, &(struct stat_view){0}));
    buf_clear(&b);
    stat_view_put(&b, &back);
    expect_hex(&b, "0000000000000001 0000000000000002 0000000000000003 0000000000000004 00000005 00000006 00000007"
                   "0000000000000008 00000009 0000000a 000000000000000b");
}
END_TEST

START_TEST(acl_entry) {
    struct acl_entry e = {31, SLICE_LIT("world"), SLICE_LIT("anyone")};
    struct buf b = BUF_INIT;
    acl_entry_put(&b, &e);
    struct jute_in in = reader(&b);
    struct acl_entry back = acl_entry_get(&in);
    ck_assert_int_eq(back.perms, 31);
    ck_assert(slice_is(back.scheme, "world"));
    ck_assert(slice_is(back.id, "anyone"));
    expect_hex(&b, "0000001f 00000005 776f726c64 00000006 616e796f6e65");
}
END_TEST

START_TEST(reply_header) {
    uint8_t bytes[REPLY_HEADER_BYTES];
    reply_header_store(bytes, &(struct reply_header){-4, 0x100000002, ZK_AUTH_FAILED});
    struct jute_in in = jute_in(bytes, sizeof bytes);
    struct reply_header h = reply_header_get(&in);
    ck_assert_int_eq(h.xid, -4);
    ck_assert_int_eq(h.zxid, 0x100000002);
    ck_assert_int_eq(h.err, -115);
    struct buf b = BUF_INIT;
    buf_append(&b, bytes, sizeof bytes);
    expect_hex(&b, "fffffffc 0000000100000002 ffffff8d");
}
END_TEST

START_TEST(multi_header) {
    struct buf b = BUF_INIT;
    multi_header_put(&b, (struct multi_header){OP_ERROR, true, -1});
    struct jute_in in = reader(&b);
    struct multi_header h = multi_header_get(&in);
    ck_assert_int_eq(h.type, -1);
    ck_assert(h.done);
    ck_assert_int_eq(h.err, -1);
    expect_hex(&b, "ffffffff 01 ffffffff");
}
END_TEST

#define CONNECT_REQUEST "00000000 0000000100000002 00002710 01000024aa7e0000 00000010 20b1e5de2d5c041bfe782813be00bae8"

static void get_connect(const char *text, struct connect_request *r, bool expected) {
    struct buf b = hex(text);
    struct jute_in in = reader(&b);
    ck_assert_int_eq(connect_request_get(&in, r), expected);
    buf_free(&b);
}

START_TEST(connect_request_with_and_without_the_last_byte) {
    struct connect_request r;
    get_connect(CONNECT_REQUEST "01", &r, true);
    ck_assert(r.has_read_only);
    ck_assert(r.read_only);
    get_connect(CONNECT_REQUEST "00 ffff", &r, true);
    ck_assert(r.has_read_only);
    ck_assert(!r.read_only);
    get_connect(CONNECT_REQUEST, &r, true);
    ck_assert(!r.has_read_only);
    ck_assert(!r.read_only);
    ck_assert_int_eq(r.last_zxid_seen, 0x100000002);
    ck_assert_int_eq(r.timeout_ms, 10000);
    ck_assert_int_eq(r.session_id, 0x01000024aa7e0000);
}
END_TEST

START_TEST(connect_request_odd_passwords) {
    struct connect_request r;
    get_connect("00000000 0000000000000000 00002710 0000000000000000 ffffffff", &r, true);
    ck_assert_ptr_null(r.password.data);
    get_connect("00000000 0000000000000000 00002710 0000000000000000 00000000 01", &r, true);
    ck_assert_uint_eq(r.password.len, 0);
    ck_assert(r.read_only);
    /* 44 bytes of ff: the password length is -1, the rest is not looked at */
    get_connect("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", &r, true);
    ck_assert_ptr_null(r.password.data);
}
END_TEST

START_TEST(connect_request_cut_off_anywhere) {
    struct buf b = hex(CONNECT_REQUEST);
    for (size_t len = 0; len < b.len; len++) {
        struct connect_request r;
        struct jute_in in = jute_in(b.data, len);
        ck_assert(!connect_request_get(&in, &r));
    }
    buf_free(&b);
}
END_TEST

START_TEST(connect_request_there_and_back) {
    struct connect_request r = {0, 5, 4000, 0, SLICE_LIT("0123456789abcdef"), true, true}, back;
    struct buf b = BUF_INIT;
    connect_request_put(&b, &r);
    ck_assert_uint_eq(b.len, 45);
    struct jute_in in = reader(&b);
    ck_assert(connect_request_get(&in, &back));
    ck_assert_int_eq(back.timeout_ms, 4000);
    ck_assert(slice_eq(back.password, r.password));
    ck_assert(back.read_only);
    b.len = 0;
    r.has_read_only = false;
    connect_request_put(&b, &r);
    ck_assert_uint_eq(b.len, 44);
    buf_free(&b);
}
END_TEST

/* The captured frame of client-protocol.md section 3.2. */
START_TEST(connect_response) {
    struct connect_response r = {.timeout_ms = 10000, .session_id = 0x01000024aa7e0000, .has_read_only = true}, back;
    struct buf b = BUF_INIT;
    session_password(r.session_id, r.password);
    size_t start = frame_begin(&b);
    connect_response_put(&b, &r);
    frame_end(&b, start);
    struct jute_in in = jute_in(b.data + 4, b.len - 4);
    ck_assert(connect_response_get(&in, &back));
    ck_assert_int_eq(back.timeout_ms, 10000);
    ck_assert_int_eq(back.session_id, r.session_id);
    ck_assert_mem_eq(back.password, r.password, PASSWORD_BYTES);
    ck_assert(back.has_read_only);
    expect_hex(&b, "00000025 00000000 00002710 01000024aa7e0000 00000010 20b1e5de2d5c041bfe782813be00bae8 00");
}
END_TEST

START_TEST(connect_response_faults) {
    struct connect_response r;
    struct buf b = hex("00000000 00002710 01000024aa7e0000 0000000f 20b1e5de2d5c041bfe782813be00ba 00");
    struct jute_in in = reader(&b);
    ck_assert(!connect_response_get(&in, &r));
    in = jute_in(b.data, 10);
    ck_assert(!connect_response_get(&in, &r));
    buf_free(&b);
}
END_TEST

/* client-protocol.md section 3.3. */
START_TEST(passwords) {
    struct buf b = BUF_INIT;
    session_password(0x01000024aa7e0000, buf_tail(&b, PASSWORD_BYTES));
    b.len = PASSWORD_BYTES;
    expect_hex(&b, "20b1e5de2d5c041bfe782813be00bae8");
    session_password(0x01000024aa7e0001, buf_tail(&b, PASSWORD_BYTES));
    b.len = PASSWORD_BYTES;
    expect_hex(&b, "33d2dfdecda7e35ff3bb8f3e9289ceb5");
}
END_TEST

START_TEST(op_names) {
    ck_assert_str_eq(proto_op_name(OP_CREATE2), "create2");
    ck_assert_str_eq(proto_op_name(OP_CLOSE_SESSION), "closeSession");
    ck_assert_str_eq(proto_op_name(12345), "unknown");
    ck_assert_str_eq(proto_op_code(OP_CREATE), "CREA");
    ck_assert_str_eq(proto_op_code(OP_CREATE_SESSION), "SESS");
    ck_assert_str_eq(proto_op_code(12345), "NA");
}
END_TEST

/* Whatever the bytes are, no reader looks behind the end (the sanitizers watch) and none goes on after a fault. */
START_TEST(random_bytes) {
    struct rng r = {(uint64_t)_i};
    for (int round = 0; round < 2000; round++) {
        size_t len = (size_t)rng_below(&r, 80);
        uint8_t *bytes = malloc(len + !len); /* exactly as long, so that one byte too far is seen */
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)(rng_below(&r, 3) ? 0 : rng_next(&r));
        struct jute_in in = jute_in(bytes, len);
        for (int i = 0; i < 20 && !in.failed; i++) {
            switch (rng_below(&r, 5)) {
            case 0:
                acl_entry_get(&in);
                break;
            case 1:
                jute_bytes(&in);
                break;
            case 2:
                multi_header_get(&in);
                break;
            case 3:
                jute_count(&in);
                break;
            default:
                stat_view_get(&in, &(struct stat_view){0});
            }
            if (in.p < bytes || in.p > bytes + len)
                ck_abort_msg("the reader left its bytes");
        }
        free(bytes);
    }
}
END_TEST

int main(void) {
    Suite *s = suite_create("wire");
    TCase *tc = tcase_create("jute");
    tcase_add_test(tc, put_numbers);
    tcase_add_test(tc, put_bytes);
    tcase_add_test(tc, read_back);
    tcase_add_test(tc, null_where_it_may_not_be);
    tcase_add_test(tc, counts_of_vectors);
    tcase_add_loop_test(tc, fault_in_a_length, 0, ARRAY_LEN(faulty));
    tcase_add_test(tc, short_numbers);
    tcase_add_test(tc, patch_and_frame);
    tcase_add_loop_test(tc, random_bytes, 0, 5);
    suite_add_tcase(s, tc);

    tc = tcase_create("records");
    tcase_add_test(tc, stat);
    tcase_add_test(tc, acl_entry);
    tcase_add_test(tc, reply_header);
    tcase_add_test(tc, multi_header);
    tcase_add_test(tc, connect_request_with_and_without_the_last_byte);
    tcase_add_test(tc, connect_request_odd_passwords);
    tcase_add_test(tc, connect_request_cut_off_anywhere);
    tcase_add_test(tc, connect_request_there_and_back);
    tcase_add_test(tc, connect_response);
    tcase_add_test(tc, connect_response_faults);
    tcase_add_test(tc, passwords);
    tcase_add_test(tc, op_names);
    suite_add_tcase(s, tc);

    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
