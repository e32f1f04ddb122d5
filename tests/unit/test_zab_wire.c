/* src/wire/zab: packets between servers. The bytes are captures of Java servers, in docs/protocol/zab.md's layout. */
#include <check.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "wire/txn.h"
#include "wire/zab.h"

#define MAX_BYTES 1000

/* Bytes from hex digits and "text"; blanks are skipped. */
static struct buf bytes_of(const char *text) {
    struct buf b = BUF_INIT;
    int high = -1;
    for (; *text; text++) {
        if (*text == '"') {
            const char *end = strchr(++text, '"');
            buf_append(&b, text, (size_t)(end - text));
            text = end;
        } else if (*text != ' ') {
            int digit = *text <= '9' ? *text - '0' : *text - 'a' + 10;
            if (high >= 0)
                buf_append(&b, &(uint8_t){(uint8_t)(high << 4 | digit)}, 1);
            high = high >= 0 ? -1 : digit;
        }
    }
    return b;
}

static struct slice whole(const struct buf *b) { return (struct slice){(const char *)b->data, b->len}; }

/* The slice becomes a piece of memory of its own size, so that a sanitizer sees each byte read beyond it. */
static enum packet_result get_exact(const uint8_t *bytes, size_t len, struct quorum_packet *p, size_t *used) {
    uint8_t *own = mem_alloc(len + 1);
    memcpy(own + 1, bytes, len);
    enum packet_result result = quorum_packet_get(own + 1, len, MAX_BYTES, p, used);
    mem_free(own);
    return result;
}

/* One whole packet: decodes, is incomplete at every shorter length (and says that it needs more), prints the same. */
static struct quorum_packet check_packet(const struct buf *b) {
    struct quorum_packet p, shorter;
    size_t used;
    for (size_t len = 0; len < b->len; len++) {
        ck_assert_int_eq(get_exact(b->data, len, &shorter, &used), PACKET_INCOMPLETE);
        ck_assert(used > len && used <= b->len);
    }
    ck_assert_int_eq(quorum_packet_get(b->data, b->len, MAX_BYTES, &p, &used), PACKET_COMPLETE);
    ck_assert_uint_eq(used, b->len);
    struct buf out = BUF_INIT;
    quorum_packet_put(&out, &p);
    ck_assert_uint_eq(out.len, b->len);
    ck_assert_mem_eq(out.data, b->data, b->len);
    buf_free(&out);
    return p;
}

START_TEST(handshake) {
    static const struct {
        const char *bytes;
        int32_t type;
        zxid_t zxid;
        int data_len; /* -1 = null */
    } cases[] = {
        {"0000000b 0000000000000000 00000014 0000000000000001 00010000 0000000000000000 ffffffff", PACKET_FOLLOWERINFO, 0, 20},
        {"00000011 0000000100000000 00000004 00010000 ffffffff", PACKET_LEADERINFO, 0x100000000, 4},
        {"00000012 0000000000000000 00000004 00000000 ffffffff", PACKET_ACKEPOCH, 0, 4},
        {"0000000d 0000000000000000 ffffffff ffffffff", PACKET_DIFF, 0, -1},
        {"0000000a 0000000100000000 00000009 \"version=0\" ffffffff", PACKET_NEWLEADER, 0x100000000, 9},
        {"00000003 0000000100000000 ffffffff ffffffff", PACKET_ACK, 0x100000000, -1},
        {"0000000c ffffffffffffffff ffffffff ffffffff", PACKET_UPTODATE, -1, -1},
        {"00000012 0000000100000009 00000004 ffffffff ffffffff", PACKET_ACKEPOCH, 0x100000009, 4},
        {"00000003 0000000100000001 ffffffff ffffffff", PACKET_ACK, 0x100000001, -1},
        {"00000005 0000000100000001 00000000 ffffffff", PACKET_PING, 0x100000001, 0},
        {"7fffffff 8000000000000000 ffffffff 00000000", INT32_MAX, INT64_MIN, -1}, /* unknown, and an empty authinfo */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = bytes_of(cases[i].bytes);
        struct quorum_packet p = check_packet(&b);
        ck_assert_int_eq(p.type, cases[i].type);
        ck_assert_int_eq(p.zxid, cases[i].zxid);
        ck_assert_int_eq(p.data.data == NULL ? -1 : (int)p.data.len, cases[i].data_len);
        ck_assert((p.authinfo.data != NULL) == (p.type == INT32_MAX));
        buf_free(&b);
    }
}
END_TEST

#define CREATE_REQUEST                                                                                                 \
    "00000001 ffffffffffffffff 0000003c 0100001e10150000 00000001 00000001"                                            \
    "00000002 \"/a\" 00000005 \"hello\" 00000001 0000001f 00000005 \"world\" 00000006 \"anyone\" 00000000"            \
    "00000001 00000002 \"ip\" 00000009 \"127.0.0.1\""

START_TEST(forwarded_write) {
    struct buf b = bytes_of(CREATE_REQUEST);
    be32_store(b.data + 12, (uint32_t)(b.len - 16 - 4 - 4 - 2 - 4 - 9));
    struct quorum_packet p = check_packet(&b);
    struct forwarded_request r;
    ck_assert(forwarded_request_get(p.data, &r));
    ck_assert_int_eq(r.session, 0x0100001e10150000);
    ck_assert_int_eq(r.cxid, 1);
    ck_assert_int_eq(r.type, 1);
    ck_assert(slice_starts(r.body, (struct slice){"\0\0\0\2/a", 6}));
    struct slice rest = packet_ids_rest(p.authinfo), scheme, id;
    ck_assert(packet_id_next(&rest, &scheme, &id));
    ck_assert(slice_is(scheme, "ip") && slice_is(id, "127.0.0.1"));
    ck_assert(!packet_id_next(&rest, &scheme, &id));
    /* And built by us. */
    struct buf data = BUF_INIT, ids = BUF_INIT, out = BUF_INIT;
    forwarded_request_put(&data, &r);
    packet_ids_begin(&ids, 1);
    packet_id_put(&ids, SLICE_LIT("ip"), SLICE_LIT("127.0.0.1"));
    quorum_packet_put(&out, &(struct quorum_packet){PACKET_REQUEST, -1, whole(&data), whole(&ids)});
    ck_assert_uint_eq(out.len, b.len);
    ck_assert_mem_eq(out.data, b.data, b.len);
    buf_free(&data);
    buf_free(&ids);
    buf_free(&out);
    buf_free(&b);
}
END_TEST

START_TEST(proposal) {
    struct buf data = bytes_of("0100001e10150000 00000001 0000000100000002 000001a1fb89d03d 00000001"
                               "00000002 \"/a\" 00000005 \"hello\" 00000001 0000001f 00000005 \"world\" 00000006 \"anyone\""
                               "00 00000001 00000002 00000001ebcaab17");
    struct buf b = BUF_INIT;
    quorum_packet_put_head(&b, PACKET_PROPOSAL, 0x100000002, data.len);
    ck_assert_uint_eq(b.len, PACKET_HEAD_BYTES);
    buf_append(&b, data.data, data.len);
    quorum_packet_put_tail(&b);
    ck_assert_uint_eq(b.len, PACKET_HEAD_BYTES + data.len + PACKET_TAIL_BYTES);
    struct quorum_packet p = check_packet(&b);
    ck_assert_int_eq(p.type, PACKET_PROPOSAL);
    struct txn_header h;
    struct txn t;
    int32_t version;
    uint64_t digest;
    ck_assert(txn_decode(p.data, &h, &t, &version, &digest));
    ck_assert_int_eq(h.zxid, p.zxid);
    ck_assert(slice_is(t.path, "/a") && slice_is(t.data, "hello"));
    ck_assert_int_eq(version, 2);
    ck_assert_uint_eq(digest, 0x1ebcaab17);
    ck_assert(!txn_decode(SLICE_NULL, &h, &t, &version, &digest)); /* a PROPOSAL with null data */
    buf_free(&b);
    buf_free(&data);
}
END_TEST

START_TEST(several_in_a_row) {
    struct buf b = bytes_of("00000003 0000000100000001 ffffffff ffffffff 00000005 0000000100000001 00000000 ffffffff 0000");
    struct quorum_packet p;
    size_t used, at = 0;
    ck_assert_int_eq(quorum_packet_get(b.data, b.len, MAX_BYTES, &p, &used), PACKET_COMPLETE);
    ck_assert_uint_eq(used, 20);
    at += used;
    ck_assert_int_eq(quorum_packet_get(b.data + at, b.len - at, MAX_BYTES, &p, &used), PACKET_COMPLETE);
    ck_assert_int_eq(p.type, PACKET_PING);
    at += used;
    ck_assert_int_eq(quorum_packet_get(b.data + at, b.len - at, MAX_BYTES, &p, &used), PACKET_INCOMPLETE);
    ck_assert_uint_eq(used, PACKET_HEAD_BYTES);
    buf_free(&b);
}
END_TEST

START_TEST(malformed) {
#define HEAD "00000001 0000000000000001 "
    static const struct {
        const char *bytes;
        size_t needed; /* bytes that show it */
    } cases[] = {
        {HEAD "fffffffe", 16},
        {HEAD "80000000", 16},
        {HEAD "7fffffff", 16},
        {HEAD "000003e9", 16},
        {HEAD "ffffffff fffffffe", 20},
        {HEAD "ffffffff 80000000", 20},
        {HEAD "ffffffff 7fffffff", 20},
        {HEAD "ffffffff 00001001", 20},
        {HEAD "00000001 00 fffffffe", 21},
        {HEAD "ffffffff 00000001 ffffffff", 24},
        {HEAD "ffffffff 00000001 80000000", 24},
        {HEAD "ffffffff 00000001 000003e9", 24},
        {HEAD "ffffffff 00000001 000003e5", 24}, /* with the length before it, more than the bound */
        {HEAD "ffffffff 00000001 00000001 \"x\" ffffffff", 29},
        {HEAD "ffffffff 00000001 00000001 \"x\" 000003e4", 29},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = bytes_of(cases[i].bytes);
        struct quorum_packet p;
        size_t used;
        for (size_t len = 0; len <= b.len; len++)
            ck_assert_int_eq(get_exact(b.data, len, &p, &used), len < cases[i].needed ? PACKET_INCOMPLETE : PACKET_MALFORMED);
        buf_free(&b);
    }
}
END_TEST

START_TEST(bounds) {
    struct buf b = bytes_of(HEAD "000003e8"), ids = BUF_INIT;
    struct quorum_packet p;
    size_t used;
    ck_assert_int_eq(quorum_packet_get(b.data, b.len, MAX_BYTES, &p, &used), PACKET_INCOMPLETE);
    ck_assert_uint_eq(used, 16 + 1000 + 4);
    ck_assert_int_eq(quorum_packet_get(b.data, b.len, 0, &p, &used), PACKET_MALFORMED);
    buf_free(&b);
    /* The most identities that are taken, by count and by size. */
    packet_ids_begin(&ids, PACKET_IDS_MAX);
    for (int i = 0; i < PACKET_IDS_MAX; i++)
        packet_id_put(&ids, SLICE_LIT("i"), SLICE_LIT(""));
    quorum_packet_put(&b, &(struct quorum_packet){PACKET_REQUEST, 0, SLICE_NULL, whole(&ids)});
    ck_assert_int_eq(quorum_packet_get(b.data, b.len, 9 * PACKET_IDS_MAX, &p, &used), PACKET_COMPLETE);
    ck_assert_int_eq(quorum_packet_get(b.data, b.len, 9 * PACKET_IDS_MAX - 1, &p, &used), PACKET_MALFORMED);
    struct slice rest = packet_ids_rest(p.authinfo), scheme, id;
    int count = 0;
    while (packet_id_next(&rest, &scheme, &id))
        count++;
    ck_assert_int_eq(count, PACKET_IDS_MAX);
    buf_free(&b);
    buf_free(&ids);
    rest = packet_ids_rest(SLICE_NULL);
    ck_assert(!packet_id_next(&rest, &scheme, &id));
}
END_TEST

START_TEST(learner_infos) {
    struct buf b = BUF_INIT;
    learner_info_put(&b, &(struct learner_info){true, 3, LEARNER_PROTOCOL_VERSION, 0x100000000});
    ck_assert_uint_eq(b.len, LEARNER_INFO_BYTES);
    for (size_t len = 0; len <= b.len; len++) {
        struct learner_info l = learner_info_get((struct slice){(const char *)b.data, len});
        ck_assert(l.has_sid == (len >= 8));
        ck_assert_int_eq(l.sid, len >= 8 ? 3 : 0);
        ck_assert_int_eq(l.protocol_version, len >= 12 ? LEARNER_PROTOCOL_VERSION : 1);
        ck_assert_int_eq(l.config_version, len >= 20 ? 0x100000000 : 0);
    }
    jute_put_int(&b, 7);
    ck_assert_int_eq(learner_info_get(whole(&b)).config_version, 0x100000000);
    ck_assert(!learner_info_get(SLICE_NULL).has_sid);
    buf_free(&b);
}
END_TEST

START_TEST(touches) {
    struct buf b = BUF_INIT;
    session_id_t session;
    int32_t timeout_ms;
    touch_put(&b, 0x0100001e10150000, 10000);
    touch_put(&b, -1, -1);
    ck_assert_uint_eq(b.len, 24);
    struct slice rest = whole(&b);
    ck_assert(touch_valid(rest));
    ck_assert(touch_next(&rest, &session, &timeout_ms));
    ck_assert_int_eq(session, 0x0100001e10150000);
    ck_assert_int_eq(timeout_ms, 10000);
    ck_assert(touch_next(&rest, &session, &timeout_ms));
    ck_assert_int_eq(session, -1);
    ck_assert(!touch_next(&rest, &session, &timeout_ms));
    ck_assert(touch_valid(SLICE_LIT("")));
    ck_assert(!touch_valid(SLICE_NULL));
    ck_assert(!touch_valid((struct slice){(const char *)b.data, 23}));
    buf_free(&b);
}
END_TEST

START_TEST(small_bodies) {
    struct buf b = BUF_INIT;
    session_id_t session;
    int32_t number;
    int64_t designated;
    bool valid;
    struct slice rest;
    revalidate_put(&b, 0x0100001e10150000, 30000);
    ck_assert_uint_eq(b.len, 12);
    ck_assert(revalidate_get(whole(&b), &session, &number));
    ck_assert_int_eq(session, 0x0100001e10150000);
    ck_assert_int_eq(number, 30000);
    ck_assert(!revalidate_get((struct slice){(const char *)b.data, 11}, &session, &number));
    ck_assert(!revalidate_get(SLICE_NULL, &session, &number));
    buf_clear(&b);
    revalidate_reply_put(&b, 5, true);
    ck_assert_uint_eq(b.len, 9);
    ck_assert(revalidate_reply_get(whole(&b), &session, &valid));
    ck_assert(session == 5 && valid);
    ck_assert(!revalidate_reply_get((struct slice){(const char *)b.data, 8}, &session, &valid));
    buf_clear(&b);
    packet_int_put(&b, -1);
    ck_assert(packet_int_get(whole(&b), &number));
    ck_assert_int_eq(number, -1);
    ck_assert(!packet_int_get((struct slice){(const char *)b.data, 3}, &number));
    ck_assert(!packet_int_get(SLICE_NULL, &number));
    buf_clear(&b);
    activation_put(&b, 2);
    ck_assert(activation_get(whole(&b), &designated, &rest));
    ck_assert(designated == 2 && rest.len == 0);
    buf_append(&b, "txn", 3);
    ck_assert(activation_get(whole(&b), &designated, &rest) && slice_is(rest, "txn"));
    ck_assert(!activation_get((struct slice){(const char *)b.data, 7}, &designated, &rest));
    buf_free(&b);
}
END_TEST

START_TEST(requests_without_a_body) {
    struct buf b = bytes_of("0100001e10150000 00000007 fffffff5");
    struct forwarded_request r;
    ck_assert(forwarded_request_get(whole(&b), &r));
    ck_assert_int_eq(r.type, OP_CLOSE_SESSION);
    ck_assert_uint_eq(r.body.len, 0);
    for (size_t len = 0; len < b.len; len++)
        ck_assert(!forwarded_request_get((struct slice){(const char *)b.data, len}, &r));
    ck_assert(!forwarded_request_get(SLICE_NULL, &r));
    buf_free(&b);
}
END_TEST

START_TEST(names) {
    ck_assert_str_eq(packet_name(PACKET_REQUEST), "REQUEST");
    ck_assert_str_eq(packet_name(PACKET_NEWLEADER), "NEWLEADER");
    ck_assert_str_eq(packet_name(PACKET_INFORM_AND_ACTIVATE), "INFORMANDACTIVATE");
    ck_assert_str_eq(packet_name(0), "unknown");
    ck_assert_str_eq(packet_name(20), "unknown");
    ck_assert_str_eq(packet_name(INT32_MIN), "unknown");
}
END_TEST

/* Any bytes, and captured ones with some changed: each prefix is INCOMPLETE until the verdict, and the verdict stays. */
START_TEST(any_bytes) {
    struct rng rng = {1};
    struct buf seed_bytes = bytes_of(CREATE_REQUEST);
    be32_store(seed_bytes.data + 12, (uint32_t)(seed_bytes.len - 16 - 4 - 4 - 2 - 4 - 9));
    for (int round = 0; round < 3000; round++) {
        uint8_t bytes[160];
        size_t len = rng_below(&rng, sizeof bytes), used;
        struct quorum_packet p;
        if (rng_below(&rng, 2) == 0) {
            for (size_t i = 0; i < len; i++)
                bytes[i] = (uint8_t)(rng_below(&rng, 2) == 0 ? rng_next(&rng) : rng_below(&rng, 3));
        } else {
            len = size_min(len, seed_bytes.len);
            memcpy(bytes, seed_bytes.data, len);
            for (int changes = 3; changes > 0 && len != 0; changes--)
                bytes[rng_below(&rng, len)] = (uint8_t)rng_next(&rng);
        }
        enum packet_result verdict = PACKET_INCOMPLETE;
        for (size_t n = 0; n <= len; n++) {
            enum packet_result now = get_exact(bytes, n, &p, &used);
            ck_assert(verdict == PACKET_INCOMPLETE || now == verdict);
            ck_assert(now == PACKET_MALFORMED || (now == PACKET_COMPLETE ? used <= n : used > n));
            verdict = now;
        }
    }
    buf_free(&seed_bytes);
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("zab");
    tcase_add_test(tc, handshake);
    tcase_add_test(tc, forwarded_write);
    tcase_add_test(tc, proposal);
    tcase_add_test(tc, several_in_a_row);
    tcase_add_test(tc, malformed);
    tcase_add_test(tc, bounds);
    tcase_add_test(tc, learner_infos);
    tcase_add_test(tc, touches);
    tcase_add_test(tc, small_bodies);
    tcase_add_test(tc, requests_without_a_body);
    tcase_add_test(tc, names);
    tcase_add_test(tc, any_bytes);
    Suite *suite = suite_create("zab");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
