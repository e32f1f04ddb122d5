/* src/benchmark: the requests of zabra-benchmark and its checks of replies (every damage must be noticed), and its
 * command line. */
#include <check.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "benchmark/options.h"
#include "benchmark/request.h"

#define DATA_BYTES 20
#define ZXID 0x105

static struct request_env env;
static const char *const paths[] = {"/b"};

static void setup(void) {
    request_env_init(&env, "/b", DATA_BYTES, 10);
    env.paths = paths;
}

static void teardown(void) { request_env_free(&env); }

static void put_stat(struct buf *b, int32_t data_length, int32_t children) {
    struct stat_view stat = {
        .czxid = 2, .mzxid = ZXID, .pzxid = 2, .data_length = data_length, .num_children = children};
    stat_view_put(b, &stat);
}

static void put_set_result(struct buf *b) {
    multi_header_put(b, (struct multi_header){OP_SET_DATA, false, 0});
    put_stat(b, DATA_BYTES, 0);
}

/* Appends the right reply to op, without its header. */
static void put_right_body(struct buf *b, const struct op *op) {
    switch (op->kind) {
    case REQUEST_GET:
        jute_put_bytes(b, SLICE_LIT("0000000000000007qrst"));
        put_stat(b, DATA_BYTES, 0);
        break;
    case REQUEST_SET:
        put_stat(b, DATA_BYTES, 0);
        break;
    case REQUEST_CREATE:
        jute_put_bytes(b, SLICE_LIT("/b/key-0000000000000007"));
        break;
    case REQUEST_CREATE_PATH:
        jute_put_bytes(b, SLICE_LIT("/b"));
        break;
    case REQUEST_MULTI:
        put_set_result(b);
        put_set_result(b);
        multi_header_put(b, (struct multi_header){-1, true, -1});
        break;
    case REQUEST_CHILDREN:
        jute_put_int(b, 2);
        jute_put_bytes(b, SLICE_LIT("key-0000000000000001"));
        jute_put_bytes(b, SLICE_LIT("key-0000000000000000"));
        put_stat(b, 0, 2);
        break;
    case REQUEST_ADD_WATCH:
        jute_put_int(b, 0);
        break;
    default:
        break; /* delete, ping, setWatches2, closeSession: no body */
    }
}

static const char *check_err(const struct op *op, const struct buf *body, size_t len, int32_t err) {
    struct reply_header header = {.xid = 1, .zxid = ZXID, .err = err};
    struct jute_in in = jute_in(body->data, len);
    return request_check(&env, op, &header, &in);
}

static const char *check(const struct op *op, const struct buf *body) { return check_err(op, body, body->len, 0); }

static const enum request_kind kinds[] = {REQUEST_GET,       REQUEST_SET,         REQUEST_CREATE, REQUEST_DELETE,
                                          REQUEST_MULTI,     REQUEST_CHILDREN,    REQUEST_PING,   REQUEST_SET_WATCHES,
                                          REQUEST_ADD_WATCH, REQUEST_CREATE_PATH, REQUEST_CLOSE};

static struct op op_of(enum request_kind kind) {
    return (struct op){
        .kind = kind, .name = NAME_KEY, .key = kind == REQUEST_CREATE_PATH ? 0 : 7, .count = 2, .xid = 1};
}

START_TEST(right_reply_and_every_cut) {
    struct op op = op_of(kinds[_i]);
    struct buf body = BUF_INIT;
    buf_reserve(&body, 1);
    put_right_body(&body, &op);
    ck_assert_ptr_null(check(&op, &body));
    for (size_t len = 0; len < body.len; len++)
        ck_assert_ptr_nonnull(check_err(&op, &body, len, 0));
    jute_put_bool(&body, false);
    ck_assert_ptr_nonnull(check(&op, &body));
    buf_free(&body);
}
END_TEST

START_TEST(error_codes) {
    struct op op = op_of(kinds[_i]);
    struct buf body = BUF_INIT;
    buf_reserve(&body, 1);
    ck_assert_str_eq(check_err(&op, &body, 0, ZK_NO_NODE), "error -101");
    op.tolerated = ZK_NO_NODE;
    ck_assert_ptr_null(check_err(&op, &body, 0, ZK_NO_NODE));
    ck_assert_ptr_nonnull(check_err(&op, &body, 0, ZK_NODE_EXISTS));
    buf_free(&body);
}
END_TEST

/* Flips every byte of the right reply that says something definite. */
static void expect_damage_noticed(enum request_kind kind, size_t from, size_t to) {
    struct op op = op_of(kind);
    struct buf body = BUF_INIT;
    put_right_body(&body, &op);
    for (size_t i = from; i < to; i++) {
        body.data[i] ^= 0x40;
        ck_assert_msg(check(&op, &body) != NULL, "damage at %zu was not noticed", i);
        body.data[i] ^= 0x40;
    }
    buf_free(&body);
}

START_TEST(damaged_data_and_names) {
    expect_damage_noticed(REQUEST_GET, 0, 4 + DATA_BYTES);
    expect_damage_noticed(REQUEST_GET, 4 + DATA_BYTES + 52, 4 + DATA_BYTES + 56); /* Stat.dataLength */
    expect_damage_noticed(REQUEST_SET, 8, 16);                                    /* Stat.mzxid */
    expect_damage_noticed(REQUEST_CREATE, 0, 4 + 23);
    expect_damage_noticed(REQUEST_CHILDREN, 0, 4 + 2 * 24);
    expect_damage_noticed(REQUEST_CHILDREN, 4 + 2 * 24 + 56, 4 + 2 * 24 + 60); /* Stat.numChildren */
    expect_damage_noticed(REQUEST_MULTI, 0, 4);                                /* type of the first result */
    expect_damage_noticed(REQUEST_MULTI, 5, 9);                                /* its error */
}
END_TEST

START_TEST(data_of_another_znode) {
    struct op op = op_of(REQUEST_GET);
    struct buf body = BUF_INIT;
    jute_put_bytes(&body, SLICE_LIT("0000000000000008qrst"));
    put_stat(&body, DATA_BYTES, 0);
    ck_assert_str_eq(check(&op, &body), "the data is not what was written to /b/key-0000000000000007");
    buf_free(&body);
}
END_TEST

START_TEST(doubled_child) {
    struct op op = op_of(REQUEST_CHILDREN);
    struct buf body = BUF_INIT;
    jute_put_int(&body, 2);
    jute_put_bytes(&body, SLICE_LIT("key-0000000000000001"));
    jute_put_bytes(&body, SLICE_LIT("key-0000000000000001"));
    put_stat(&body, 0, 2);
    ck_assert_str_eq(check(&op, &body), "a child is missing and another one is there twice");
    buf_free(&body);
}
END_TEST

START_TEST(frame_of_a_get) {
    static const uint8_t want[] = {0, 0, 0, 36, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 23};
    struct op op = op_of(REQUEST_GET);
    struct buf out = BUF_INIT;
    request_put(&env, &out, &op, 0);
    ck_assert_uint_eq(out.len, 40);
    ck_assert_mem_eq(out.data, want, sizeof want);
    ck_assert_mem_eq(out.data + sizeof want, "/b/key-0000000000000007", 24); /* and watch = 0 */
    buf_free(&out);
}
END_TEST

START_TEST(watches_wrap_at_the_keyspace) {
    struct op op = {.kind = REQUEST_SET_WATCHES, .name = NAME_KEY, .key = 9, .count = 2, .xid = XID_SET_WATCHES};
    struct buf out = BUF_INIT;
    request_put(&env, &out, &op, ZXID);
    struct jute_in in = jute_in(out.data, out.len);
    ck_assert_uint_eq((size_t)jute_int(&in), out.len - 4);
    ck_assert_int_eq(jute_int(&in), XID_SET_WATCHES);
    ck_assert_int_eq(jute_int(&in), OP_SET_WATCHES2);
    ck_assert_int_eq(jute_long(&in), ZXID);
    ck_assert_int_eq(jute_count(&in), 2);
    ck_assert(slice_is(jute_bytes(&in), "/b/key-0000000000000009"));
    ck_assert(slice_is(jute_bytes(&in), "/b/key-0000000000000000"));
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(jute_count(&in), 0);
    ck_assert(!in.failed && jute_left(&in) == 0);
    buf_free(&out);
}
END_TEST

START_TEST(digits) {
    char text[NAME_DIGITS + 1] = "";
    request_digits(text, 1234567890123456);
    ck_assert_str_eq(text, "1234567890123456");
    request_digits(text, 0);
    ck_assert_str_eq(text, "0000000000000000");
}
END_TEST

#define PARSE(o, ...)                                                              \
    options_parse(o, (int)ARRAY_LEN(((char *[]){"zabra-benchmark", __VA_ARGS__})), \
                  (char *[]){"zabra-benchmark", __VA_ARGS__})

START_TEST(option_forms) {
    struct options o;
    ck_assert(PARSE(&o, "-c", "7", "-n100", "--rate=2.5", "--mix", "50", "-q", "--hold", "-1"));
    ck_assert_uint_eq(o.clients, 7);
    ck_assert_uint_eq(o.requests, 100);
    ck_assert_double_eq(o.rate, 2.5);
    ck_assert_uint_eq(o.read_percent, 50);
    ck_assert(o.quiet && !o.json);
    ck_assert_double_eq(o.hold_s, -1);
    ck_assert_uint_eq(o.data_bytes, 100); /* a default */
    ck_assert(PARSE(&o, "--fill", "5000"));
    ck_assert_uint_eq(o.keyspace, 5000);
    ck_assert(PARSE(&o, "--fill", "5000", "--keyspace", "10"));
    ck_assert_uint_eq(o.keyspace, 10);
}
END_TEST

static char *const faulty_options[][3] = {
    {"-x"},
    {"--nothing"},
    {"-c"},
    {"-c", "0"},
    {"-c", "abc"},
    {"-n", ""},
    {"--rate", "-1"},
    {"--quiet=1"},
    {"--mix", "101"},
    {"--existing"},
    {"--path-prefix", "a"},
    {"--path-prefix", "/a/"},
    {"--rate", "nan"},
    {"--json", "--csv"},
    {"get"},
};

START_TEST(option_faults) {
    struct options o;
    char *argv[] = {"zabra-benchmark", faulty_options[_i][0], faulty_options[_i][1]};
    ck_assert(freopen("/dev/null", "w", stderr) != NULL); /* the complaints are expected */
    ck_assert(!options_parse(&o, argv[2] ? 3 : 2, argv));
}
END_TEST

int main(void) {
    Suite *s = suite_create("benchmark");
    TCase *tc = tcase_create("requests");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, right_reply_and_every_cut, 0, ARRAY_LEN(kinds));
    tcase_add_loop_test(tc, error_codes, 0, ARRAY_LEN(kinds));
    tcase_add_test(tc, damaged_data_and_names);
    tcase_add_test(tc, data_of_another_znode);
    tcase_add_test(tc, doubled_child);
    tcase_add_test(tc, frame_of_a_get);
    tcase_add_test(tc, watches_wrap_at_the_keyspace);
    tcase_add_test(tc, digits);
    suite_add_tcase(s, tc);

    tc = tcase_create("options");
    tcase_add_test(tc, option_forms);
    tcase_add_loop_test(tc, option_faults, 0, ARRAY_LEN(faulty_options));
    suite_add_tcase(s, tc);

    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
