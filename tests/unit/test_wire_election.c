/* src/wire/election: the bytes of the election port. See docs/protocol/election.md sections 2 and 5. */
#include <check.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "wire/election.h"

/* For the long loops: a ck_assert tells the parent process each time that it was there. */
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            ck_abort_msg("%s", #condition);                                                                            \
    } while (0)

/* Appends hex digits (blanks between) and, behind a quote, text. */
static struct buf bytes(const char *text) {
    struct buf b = BUF_INIT;
    for (; *text != '\0' && *text != '\''; text++) {
        if (*text == ' ')
            continue;
        char digits[3] = {text[0], text[1], '\0'};
        uint8_t byte = (uint8_t)strtoul(digits, NULL, 16);
        buf_append(&b, &byte, 1);
        text++;
    }
    if (*text == '\'')
        buf_append(&b, text + 1, strlen(text + 1));
    return b;
}

/* From memory of exactly that size, so that the address sanitizer sees a read beyond it. */
static enum hello_result get(const struct buf *b, size_t len, struct hello *h, size_t *used) {
    uint8_t *copy = mem_dup(b->data, len);
    enum hello_result r = hello_get(copy, len, h, used);
    if (r == HELLO_COMPLETE && h->text.data != NULL)
        h->text.data = (const char *)b->data + HELLO_HEADER_BYTES;
    mem_free(copy);
    return r;
}

static enum hello_result get_text(const char *text, struct hello *h) {
    size_t used = 0;
    struct buf b = bytes("ffffffffffff0000 0000000000000001 00000000");
    buf_append(&b, text, strlen(text));
    jute_patch_int(&b, 16, (int32_t)strlen(text));
    enum hello_result r = get(&b, b.len, h, &used);
    h->text.data = text;
    EXPECT(r != HELLO_COMPLETE || used == b.len);
    buf_free(&b);
    return r;
}

/* As sent by a 3.8.0 server with sid 1. */
#define CAPTURED_V1 "ffffffffffff0000 0000000000000001 0000000f 3132372e302e302e313a3233393831"
#define CAPTURED_V2 "ffffffffffff0001 0000000000000001 0000001f '127.0.0.1:23981|127.0.0.2:23981"

START_TEST(captured_messages) {
    struct hello h;
    struct hello_address a[2];
    size_t used = 0;
    struct buf b = bytes(CAPTURED_V1), out = BUF_INIT;
    ck_assert_int_eq(get(&b, b.len, &h, &used), HELLO_COMPLETE);
    ck_assert_uint_eq(used, b.len);
    ck_assert_int_eq(h.version, HELLO_V1);
    ck_assert_int_eq(h.sid, 1);
    struct slice text = h.text;
    ck_assert(hello_next_address(&text, &a[0]));
    ck_assert(slice_is(a[0].host, "127.0.0.1"));
    ck_assert_int_eq(a[0].port, 23981);
    ck_assert(!hello_next_address(&text, &a[1]));
    hello_put(&out, HELLO_V1, 1, a, 1);
    ck_assert_uint_eq(out.len, b.len);
    ck_assert_mem_eq(out.data, b.data, b.len);
    buf_free(&b);
    buf_clear(&out);

    b = bytes(CAPTURED_V2);
    ck_assert_int_eq(get(&b, b.len, &h, &used), HELLO_COMPLETE);
    ck_assert_int_eq(h.version, HELLO_V2);
    text = h.text;
    ck_assert(hello_next_address(&text, &a[0]) && hello_next_address(&text, &a[1]));
    ck_assert(slice_is(a[1].host, "127.0.0.2"));
    hello_put(&out, HELLO_V2, 1, a, 2);
    ck_assert_uint_eq(out.len, b.len);
    ck_assert_mem_eq(out.data, b.data, b.len);
    buf_clear(&out);

    struct buf first = bytes(CAPTURED_V1); /* the first address only */
    hello_put(&out, HELLO_V1, 1, a, 2);
    ck_assert_uint_eq(out.len, first.len);
    ck_assert_mem_eq(out.data, first.data, first.len);
    buf_free(&first);
    buf_free(&b);
    buf_free(&out);
}
END_TEST

START_TEST(in_pieces) {
    static const char *const messages[] = {CAPTURED_V1, CAPTURED_V2};
    for (int m = 0; m < 2; m++) {
        struct buf b = bytes(messages[m]);
        size_t whole = b.len, used = 0;
        struct hello h;
        for (size_t len = 0; len < whole; len++)
            ck_assert_int_eq(get(&b, len, &h, &used), HELLO_INCOMPLETE);
        buf_append(&b, "frame", 5); /* what follows is not touched */
        ck_assert_int_eq(get(&b, b.len, &h, &used), HELLO_COMPLETE);
        ck_assert_uint_eq(used, whole);
        buf_free(&b);
    }
}
END_TEST

START_TEST(bare_sid_of_an_old_server) {
    struct hello h;
    size_t used = 0;
    struct buf b = bytes("0000000000000003 00000024");
    for (size_t len = 0; len < 8; len++)
        ck_assert_int_eq(get(&b, len, &h, &used), HELLO_INCOMPLETE);
    ck_assert_int_eq(get(&b, b.len, &h, &used), HELLO_COMPLETE);
    ck_assert_uint_eq(used, 8);
    ck_assert_int_eq(h.sid, 3);
    ck_assert_int_eq(h.version, HELLO_OLD);
    struct hello_address a;
    ck_assert(!hello_next_address(&h.text, &a));
    buf_free(&b);
}
END_TEST

static const char *const malformed[] = {
    "fffffffffffefffe",                                   /* version -65538: refused before anything follows */
    "fffffffffffeffff",
    "ffffffffffff0002",                                   /* version -65534 */
    "ffffffffffffffff",                                   /* -1 */
    "8000000000000000",
    "7fffffffffffffff",                                   /* nobody's sid */
    "ffffffffffff0000 7fffffffffffffff 00000003 'a:1",
    "ffffffffffff0000 ffffffffffffffff 00000003 'a:1",
    "ffffffffffff0000 0000000000000001 00000000",
    "ffffffffffff0000 0000000000000001 ffffffff",
    "ffffffffffff0000 0000000000000001 00000801",
    "ffffffffffff0000 0000000000000001 7fffffff",
};

START_TEST(malformed_headers) {
    struct hello h;
    size_t used = 0;
    struct buf b = bytes(malformed[_i]);
    ck_assert_int_eq(get(&b, b.len, &h, &used), HELLO_MALFORMED);
    buf_free(&b);
}
END_TEST

static const char *const bad_texts[] = {
    "host", "host:", ":3888", "host:x", "host:70000", "host:-1", "host:38 88", "ho st:3888", "::1:3888", "[::1:3888",
    "[]:3888", "[::1]3888", "[[::1]]:3888", "[::1]x:3888", "a:1||b:1", "|a:1", "a:1|b", "a\x7f:1", "a\n:1",
};

START_TEST(malformed_addresses) {
    struct hello h;
    ck_assert_int_eq(get_text(bad_texts[_i], &h), HELLO_MALFORMED);
}
END_TEST

START_TEST(addresses) {
    struct hello h;
    struct hello_address a;
    ck_assert_int_eq(get_text("[2001:db8::1]:3888|0.0.0.0:1|[::]:2|[0:0:0::0]:2|a:0|zk-1.example:+3888|", &h), HELLO_COMPLETE);
    ck_assert(hello_next_address(&h.text, &a));
    ck_assert(slice_is(a.host, "2001:db8::1"));
    ck_assert_int_eq(a.port, 3888);
    ck_assert(hello_next_address(&h.text, &a));
    ck_assert(slice_is(a.host, "zk-1.example"));
    ck_assert(!hello_next_address(&h.text, &a));
    ck_assert_int_eq(get_text("0.0.0.0:3888", &h), HELLO_COMPLETE);
    ck_assert(!hello_next_address(&h.text, &a));
    ck_assert_int_eq(get_text("|", &h), HELLO_COMPLETE);
    ck_assert(!hello_next_address(&h.text, &a));
    ck_assert_int_eq(get_text("[::1]:3888", &h), HELLO_COMPLETE);
    ck_assert(hello_next_address(&h.text, &a));
    struct buf out = BUF_INIT;
    hello_put(&out, HELLO_V2, 9, &a, 1);
    ck_assert_mem_eq(out.data + HELLO_HEADER_BYTES, "[::1]:3888", 10);
    buf_free(&out);
}
END_TEST

/* What does not fit is left out, so that the other side takes the message. */
START_TEST(text_is_bounded) {
    struct hello_address many[300];
    struct hello h;
    size_t used = 0;
    int count = 0;
    for (int i = 0; i < 300; i++)
        many[i] = (struct hello_address){slice_of("zookeeper.example"), 3888};
    struct buf out = BUF_INIT;
    hello_put(&out, HELLO_V2, 1, many, 300);
    ck_assert_int_eq(get(&out, out.len, &h, &used), HELLO_COMPLETE);
    while (hello_next_address(&h.text, &many[0]))
        count++;
    ck_assert_int_eq(count, (HELLO_TEXT_MAX + 1) / 23);
    buf_free(&out);
}
END_TEST

#define CONFIG_TEXT                                                                                                    \
    "server.1=127.0.0.1:23881:23981:participant\nserver.2=127.0.0.1:23882:23982:participant\n"                         \
    "server.3=127.0.0.1:23883:23983:participant\nserver.4=127.0.0.1:23884:23984:observer\nversion=100000000"
#define FIXED_PART "00000001 0000000000000002 0000000100000003 0000000000000004 0000000000000005"

static bool decode(const struct buf *b, size_t len, struct notification *n) {
    uint8_t *copy = mem_dup(b->data, len);
    bool ok = notification_get(copy, len, n);
    if (ok && n->config.data != NULL)
        n->config.data = (const char *)b->data + NOTIFICATION_BYTES;
    mem_free(copy);
    return ok;
}

static void expect_fixed_part(const struct notification *n, int64_t peer_epoch) {
    ck_assert_int_eq(n->state, PEER_FOLLOWING);
    ck_assert_int_eq(n->leader, 2);
    ck_assert_int_eq(n->zxid, 0x100000003);
    ck_assert_int_eq(n->election_epoch, 4);
    ck_assert_int_eq(n->peer_epoch, peer_epoch);
}

START_TEST(notification_of_today) {
    struct notification n;
    struct buf b = bytes(FIXED_PART "00000002 000000c1'" CONFIG_TEXT), out = BUF_INIT;
    b.data[NOTIFICATION_BYTES - 1] = (uint8_t)(b.len - NOTIFICATION_BYTES);
    ck_assert(decode(&b, b.len, &n));
    expect_fixed_part(&n, 5);
    ck_assert_int_eq(n.version, 2);
    ck_assert(slice_is(n.config, CONFIG_TEXT));
    notification_put(&out, &n);
    ck_assert_uint_eq(out.len, b.len);
    ck_assert_mem_eq(out.data, b.data, b.len);
    for (size_t len = 0; len < b.len; len++) /* two lengths are those of older servers */
        ck_assert_int_eq(decode(&b, len, &n), len == 28 || len == 40);
    buf_append(&b, "x", 1); /* more than said: not looked at */
    ck_assert(decode(&b, b.len, &n));
    ck_assert(slice_is(n.config, CONFIG_TEXT));
    buf_free(&b);
    buf_free(&out);
}
END_TEST

START_TEST(historic_lengths) {
    struct notification n;
    struct buf b = bytes(FIXED_PART "12345678 00000000");
    ck_assert(decode(&b, 28, &n));
    expect_fixed_part(&n, 1); /* from the zxid */
    ck_assert_int_eq(n.version, 0);
    ck_assert(decode(&b, 40, &n));
    expect_fixed_part(&n, 5);
    ck_assert_int_eq(n.version, 0);
    ck_assert_ptr_null(n.config.data);
    ck_assert(!decode(&b, 36, &n));
    ck_assert(decode(&b, 44, &n)); /* a version of the future with an empty configuration */
    ck_assert_int_eq(n.version, 0x12345678);
    ck_assert(n.config.data != NULL && n.config.len == 0);
    buf_free(&b);
    b = bytes("00000001 8000000000000000 8000000000000000 ffffffffffffffff");
    ck_assert(decode(&b, b.len, &n));
    ck_assert_int_eq(n.leader, INT64_MIN);
    ck_assert_int_eq(n.peer_epoch, 0x80000000);
    buf_free(&b);
    b = bytes(FIXED_PART "00000001 ffffffff"); /* version 1 has no configuration */
    ck_assert(decode(&b, b.len, &n));
    ck_assert_int_eq(n.version, 1);
    ck_assert_ptr_null(n.config.data);
    b.data[39] = 2;
    ck_assert(!decode(&b, b.len, &n)); /* negative length */
    buf_free(&b);
}
END_TEST

/* A null configuration is an empty one on the wire. */
START_TEST(notification_without_configuration) {
    struct buf out = BUF_INIT, b = bytes(FIXED_PART "00000002 00000000");
    struct notification n;
    ck_assert(decode(&b, b.len, &n));
    n.config = SLICE_NULL;
    notification_put(&out, &n);
    ck_assert_uint_eq(out.len, NOTIFICATION_BYTES);
    ck_assert_mem_eq(out.data, b.data, b.len);
    buf_free(&out);
    buf_free(&b);
}
END_TEST

/* What decodes is encoded to the same and decodes again. */
static void random_hello(struct rng *rng, struct buf *b) {
    static const char letters[] = "a1:|[].0 \n";
    buf_clear(b);
    jute_put_long(b, rng_below(rng, 8) == 0 ? (int64_t)rng_next(rng) : HELLO_V1 + (int64_t)rng_below(rng, 2));
    jute_put_long(b, (int64_t)rng_below(rng, 300));
    size_t len = rng_below(rng, 16);
    jute_put_int(b, (int32_t)(len + (rng_below(rng, 4) == 0)));
    for (size_t i = 0; i < len; i++)
        buf_append(b, &letters[rng_below(rng, rng_below(rng, 3) == 0 ? 10 : 4)], 1);
    struct hello h, h2;
    struct hello_address a[20];
    size_t used = 0, used2 = 0;
    if (get(b, b->len, &h, &used) != HELLO_COMPLETE || h.version == HELLO_OLD)
        return;
    EXPECT(used <= b->len);
    int count = 0;
    for (struct slice text = h.text; count < 20 && hello_next_address(&text, &a[count]);)
        count++;
    if (count == 0)
        return;
    struct buf out = BUF_INIT;
    hello_put(&out, HELLO_V2, h.sid, a, count);
    EXPECT(get(&out, out.len, &h2, &used2) == HELLO_COMPLETE && used2 == out.len && h2.sid == h.sid);
    struct hello_address again;
    for (int i = 0; i < count; i++)
        EXPECT(hello_next_address(&h2.text, &again) && again.port == a[i].port && slice_eq(again.host, a[i].host));
    EXPECT(!hello_next_address(&h2.text, &again));
    buf_free(&out);
}

START_TEST(random_bytes) {
    struct rng rng = {11};
    struct buf b = BUF_INIT;
    struct notification n;
    for (int i = 0; i < 100000; i++) {
        random_hello(&rng, &b);
        buf_clear(&b);
        size_t len = rng_below(&rng, 60);
        for (size_t k = 0; k < len; k++) {
            uint8_t byte = rng_below(&rng, 3) == 0 ? (uint8_t)rng_next(&rng) : (uint8_t)rng_below(&rng, 4);
            buf_append(&b, &byte, 1);
        }
        if (decode(&b, b.len, &n) && n.version > 1)
            EXPECT(n.config.len <= b.len - NOTIFICATION_BYTES);
    }
    buf_free(&b);
}
END_TEST

int main(void) {
    Suite *s = suite_create("wire/election");
    TCase *hello = tcase_create("initial message");
    tcase_add_test(hello, captured_messages);
    tcase_add_test(hello, in_pieces);
    tcase_add_test(hello, bare_sid_of_an_old_server);
    tcase_add_loop_test(hello, malformed_headers, 0, (int)ARRAY_LEN(malformed));
    tcase_add_loop_test(hello, malformed_addresses, 0, (int)ARRAY_LEN(bad_texts));
    tcase_add_test(hello, addresses);
    tcase_add_test(hello, text_is_bounded);
    suite_add_tcase(s, hello);
    TCase *notification = tcase_create("notification");
    tcase_add_test(notification, notification_of_today);
    tcase_add_test(notification, historic_lengths);
    tcase_add_test(notification, notification_without_configuration);
    tcase_add_test(notification, random_bytes);
    suite_add_tcase(s, notification);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
