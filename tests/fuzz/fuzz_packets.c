/* Any bytes as the stream of another server: each packet decodes to the same however its bytes arrive, prints as it came,
 * and what is in it is read. The first byte picks the bound on lengths. */
#include <stdlib.h>

#include "quorum/qconfig.h"
#include "wire/txn.h"
#include "wire/zab.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PREFIXES_MAX 200

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

static void check_prefixes(const uint8_t *bytes, size_t len, size_t max_bytes, enum packet_result result, size_t used) {
    size_t whole = result == PACKET_COMPLETE ? used : len;
    for (size_t n = 0; n < whole && n < PREFIXES_MAX; n++) {
        struct quorum_packet p;
        size_t needed;
        enum packet_result now = quorum_packet_get(bytes, n, max_bytes, &p, &needed);
        MUST(now == PACKET_INCOMPLETE || (now == PACKET_MALFORMED && result == PACKET_MALFORMED));
        MUST(now != PACKET_INCOMPLETE || (needed > n && (result != PACKET_COMPLETE || needed <= used)));
    }
}

static void read_txn(struct slice payload) {
    struct txn_header h;
    struct txn t, sub;
    int32_t version;
    uint64_t digest;
    bool bad;
    struct slice path;
    if (!txn_decode(payload, &h, &t, &version, &digest))
        return;
    if (t.type == OP_MULTI)
        while (txn_sub_next(&t.rest, &sub, &bad))
            ;
    else if (t.type == OP_CLOSE_SESSION)
        while (txn_path_next(&t.rest, &path))
            ;
}

static void read_config(struct slice text) {
    char error[QCONFIG_ERROR_BYTES];
    struct buf once = BUF_INIT, twice = BUF_INIT;
    struct qconfig *c = qconfig_parse(text, true, error, sizeof error);
    if (c == NULL)
        return;
    qconfig_text(c, &once);
    struct qconfig *again = qconfig_parse((struct slice){(const char *)once.data, once.len}, true, error, sizeof error);
    MUST(again != NULL && qconfig_equal(c, again));
    qconfig_text(again, &twice);
    MUST(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
    MUST(!qconfig_is_quorum(c, 0) && qconfig_weight(c, c->servers[0].sid) >= 0);
    qconfig_unref(c);
    qconfig_unref(again);
    buf_free(&once);
    buf_free(&twice);
}

static void read_data(const struct quorum_packet *p) {
    struct forwarded_request r;
    struct slice rest = p->data;
    session_id_t session;
    int32_t number;
    int64_t designated;
    bool valid;
    size_t count = 0;
    switch (p->type) {
    case PACKET_REQUEST:
        MUST(forwarded_request_get(p->data, &r) == (p->data.len >= 16));
        break;
    case PACKET_PROPOSAL:
    case PACKET_INFORM:
        read_txn(p->data);
        break;
    case PACKET_PING:
        while (touch_next(&rest, &session, &number))
            count++;
        MUST(count == p->data.len / 12);
        break;
    case PACKET_REVALIDATE:
        revalidate_get(p->data, &session, &number);
        revalidate_reply_get(p->data, &session, &valid);
        break;
    case PACKET_NEWLEADER:
        read_config(p->data);
        break;
    case PACKET_FOLLOWERINFO:
    case PACKET_OBSERVERINFO:
        learner_info_get(p->data);
        break;
    case PACKET_LEADERINFO:
    case PACKET_ACKEPOCH:
        packet_int_get(p->data, &number);
        break;
    case PACKET_COMMIT_AND_ACTIVATE:
    case PACKET_INFORM_AND_ACTIVATE:
        if (activation_get(p->data, &designated, &rest))
            read_txn(rest);
        break;
    default:
        break;
    }
}

static void check_packet(const uint8_t *bytes, const struct quorum_packet *p, size_t used) {
    struct buf out = BUF_INIT;
    struct slice rest = packet_ids_rest(p->authinfo), scheme, id;
    int32_t count = 0;
    quorum_packet_put(&out, p);
    MUST(out.len == used && memcmp(out.data, bytes, used) == 0);
    buf_free(&out);
    while (packet_id_next(&rest, &scheme, &id))
        count++;
    MUST(count == (p->authinfo.data == NULL ? 0 : (int32_t)be32_load(p->authinfo.data)));
    read_data(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0)
        return 0;
    size_t max_bytes = data[0] < 128 ? (size_t)1 << 20 : data[0] - 128u;
    for (size_t at = 1; at < size;) {
        struct quorum_packet p;
        size_t used;
        enum packet_result result = quorum_packet_get(data + at, size - at, max_bytes, &p, &used);
        check_prefixes(data + at, size - at, max_bytes, result, used);
        if (result != PACKET_COMPLETE)
            break;
        check_packet(data + at, &p, used);
        at += used;
    }
    return 0;
}
