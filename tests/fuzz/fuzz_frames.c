/* Any bytes as the frames of clients, fed to a server in this process: no crash, and every reply stream is well framed.
 *
 * The first byte picks how: bits 0-1 connections (1 to 4), bit 2 no handshake, bit 3 the bytes are a raw stream with its own
 * lengths, bit 4 the log is slow, bit 5 clients read slowly, bit 6 connections hang up at times, bit 7 the server restarts at
 * the end. Otherwise each frame is: one byte for the connection and the turns behind it, one for the length, the content. */
#include <stdlib.h>

#include "base/mem.h"
#include "lib/testserver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CONNECTIONS_MAX 4
#define INPUT_MAX 65536
#define TURNS_MAX 20000

enum mode {
    MODE_CONNECTIONS = 3,
    MODE_NO_HANDSHAKE = 4,
    MODE_RAW = 8,
    MODE_SLOW_LOG = 16,
    MODE_SLOW_READER = 32,
    MODE_HANG_UP = 64,
    MODE_RESTART = 128,
};

struct fuzz {
    struct testserver *ts;
    struct testclient *clients[CONNECTIONS_MAX];
    bool greeted[CONNECTIONS_MAX]; /* the answer to the handshake has been taken */
    int count;
    uint8_t mode;
};

#define MUST(condition)                                                                                                \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            abort();                                                                                                   \
    } while (0)

/* Whole frames only; the first one of a connection without a session is the connect response. */
static void check_stream(struct fuzz *f, int i) {
    struct testclient *c = f->clients[i];
    while (c->in.len - c->in_start >= 4) {
        size_t left = c->in.len - c->in_start, len = be32_load(c->in.data + c->in_start);
        MUST(len <= left - 4);
        struct jute_in in = jute_in(c->in.data + c->in_start + 4, len);
        if (!f->greeted[i]) {
            struct connect_response response;
            MUST(connect_response_get(&in, &response));
            f->greeted[i] = true;
        } else {
            MUST(len >= REPLY_HEADER_BYTES);
            struct reply_header h = reply_header_get(&in);
            MUST(h.err == ZK_OK || jute_left(&in) == 0 || h.xid == XID_NOTIFICATION);
        }
        c->in_start += 4 + len;
    }
    MUST(c->in.len == c->in_start || c->stalled);
}

static void run(struct fuzz *f, int turns) {
    for (int i = 0; i < turns && testserver_turn(f->ts); i++)
        ;
    MUST(f->ts->server->state != SERVER_FAILED);
    for (int i = 0; i < f->count; i++)
        check_stream(f, i);
}

static void open_all(struct fuzz *f) {
    int count = 1 + (f->mode & MODE_CONNECTIONS);
    for (int i = 0; i < count; i++) {
        f->clients[f->count++] = testclient_new(f->ts, NULL);
        if (f->mode & MODE_NO_HANDSHAKE)
            continue;
        testclient_send_connect(f->clients[i], 10000);
        run(f, TURNS_MAX);
    }
}

static void feed_raw(struct fuzz *f, const uint8_t *data, size_t size) {
    for (int i = 0; size != 0; i = (i + 1) % f->count) {
        struct testclient *c = f->clients[i];
        size_t n = f->count == 1 ? size : size_min(size, 40);
        buf_append(&c->out, data, n);
        if (list_unlinked(&c->send_link))
            list_push(&f->ts->senders, &c->send_link);
        data += n;
        size -= n;
        run(f, 3);
    }
}

static void feed_frames(struct fuzz *f, const uint8_t *data, size_t size) {
    while (size > 2) {
        uint8_t how = data[0];
        size_t len = size_min(data[1], size - 2);
        struct testclient *c = f->clients[how % f->count];
        if (c->conn != NULL)
            testclient_send(c, data + 2, len);
        data += 2 + len;
        size -= 2 + len;
        if (f->mode & MODE_SLOW_LOG)
            f->ts->hold_log = (how & 16) != 0;
        if (f->mode & MODE_SLOW_READER)
            testclient_stall(c, (how & 32) != 0);
        if (f->mode & MODE_HANG_UP && how >> 6 == 3)
            testclient_hang_up(c);
        run(f, how & 8 ? 0 : 3);
        if ((how & 0xf0) == 0x50)
            testserver_advance(f->ts, 1000);
    }
}

static void finish(struct fuzz *f) {
    f->ts->hold_log = f->ts->hold_jobs = false;
    for (int i = 0; i < f->count; i++)
        testclient_stall(f->clients[i], false);
    run(f, TURNS_MAX);
    struct server *s = f->ts->server;
    MUST(s->metrics.counters[METRIC_DIGEST_MISMATCHES_COUNT] == 0);
    MUST(s->prepared_digest == tree_digest(s->tree));
    MUST(s->change_count == 0 && s->pipeline_count == 0 && s->queued_bytes == 0 && s->large_bytes == 0);
    if (f->mode & MODE_RESTART) {
        uint64_t digest = tree_digest(s->tree), nodes = tree_count(s->tree);
        testserver_restart(f->ts, TESTSERVER_POWER_LOSS);
        MUST(tree_digest(f->ts->server->tree) == digest && tree_count(f->ts->server->tree) == nodes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const options[] = {"extendedTypesEnabled", "true", "snapCount",   "20",    "preAllocSize", "16",
                                          "jute.maxbuffer",       "200",  "enforceQuota", "true", "diskReserve",  "0",
                                          NULL};
    if (size < 2 || size > INPUT_MAX)
        return 0;
    struct fuzz f = {.mode = data[0]};
    f.ts = testserver_new(options);
    open_all(&f);
    if (f.mode & MODE_RAW)
        feed_raw(&f, data + 1, size - 1);
    else
        feed_frames(&f, data + 1, size - 1);
    finish(&f);
    testserver_free(f.ts);
    return 0;
}
