/* Any bytes on the election port: an initial message and the frames behind it, as they come and in pieces. What decodes
 * does so whatever way the bytes were cut, and survives being encoded and decoded again. */
#include <stdlib.h>

#include "wire/election.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

static void check_hello(const struct hello *h, struct buf *out) {
    struct hello again;
    struct hello_address a, b;
    struct slice text = h->text, text_again;
    size_t used = 0;
    while (hello_next_address(&text, &a)) {
        MUST(a.host.len > 0 && a.port > 0 && a.port <= 65535);
        buf_clear(out);
        hello_put(out, HELLO_V1, h->sid, &a, 1);
        if (out->len == HELLO_HEADER_BYTES) /* longer by its brackets or the way the port was written */
            continue;
        MUST(hello_get(out->data, out->len, &again, &used) == HELLO_COMPLETE && used == out->len && again.sid == h->sid);
        text_again = again.text;
        MUST(hello_next_address(&text_again, &b) && b.port == a.port && slice_eq(a.host, b.host));
    }
}

static void check_notification(const struct notification *n, struct buf *out) {
    struct notification again;
    buf_clear(out);
    notification_put(out, n);
    MUST(notification_get(out->data, out->len, &again));
    MUST(again.state == n->state && again.leader == n->leader && again.zxid == n->zxid);
    MUST(again.election_epoch == n->election_epoch && again.peer_epoch == n->peer_epoch);
    MUST(slice_eq(again.config, n->config));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct hello h;
    struct notification n;
    size_t used = 0, at = 0;
    struct buf out = BUF_INIT;
    enum hello_result result = hello_get(data, size, &h, &used);
    if (result == HELLO_COMPLETE) {
        check_hello(&h, &out);
        at = used;
    }
    for (size_t len = 0; len < size_min(size, 200); len++) {
        enum hello_result part = hello_get(data, len, &h, &used);
        MUST(part == HELLO_INCOMPLETE || part == result);
        MUST(part != HELLO_COMPLETE || used <= len);
    }
    while (size - at >= 4) {
        size_t len = size_min(be32_load(data + at), size - at - 4);
        if (notification_get(data + at + 4, len, &n))
            check_notification(&n, &out);
        at += 4 + len;
    }
    buf_free(&out);
    return 0;
}
