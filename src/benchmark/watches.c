#include "benchmark/watches.h"

#include "base/mem.h"

/* ZooKeeper's own clients cut setWatches2 into pieces of this size. */
#define CHUNK_BYTES (128 * 1024)

void watches_init(struct watches *w, struct bench *b, size_t conns) {
    *w = (struct watches){.bench = b, .per_conn = b->opt->watches, .bulk = b->opt->bulk_watches};
    w->progress = mem_calloc(conns, sizeof *w->progress);
}

void watches_free(struct watches *w) { mem_free(w->progress); }

static uint64_t first_key(const struct watches *w, size_t index) {
    return (uint64_t)index * w->per_conn % w->bench->opt->keyspace;
}

static void send_next(struct watches *w, struct conn *c, int64_t now_ns) {
    struct watch_progress *p = &w->progress[c->index];
    struct op op = {.start_ns = now_ns, .name = NAME_KEY, .count = 1, .kind = REQUEST_GET_WATCH};
    op.key = (first_key(w, c->index) + p->sent) % w->bench->opt->keyspace;
    if (w->bulk) {
        uint64_t chunk = CHUNK_BYTES / (w->bench->requests.name_len[NAME_KEY] + 4);
        op.kind = REQUEST_SET_WATCHES;
        op.count = (uint32_t)size_min(chunk, w->per_conn - p->sent);
    }
    p->sent += op.count;
    conn_send(c, &op);
}

static void send_while_room(struct watches *w, struct conn *c, int64_t now_ns) {
    while (c->inflight < w->bench->opt->pipeline && w->progress[c->index].sent < w->per_conn)
        send_next(w, c, now_ns);
}

void watches_begin(struct watches *w, struct conn *c, int64_t now_ns) {
    struct watch_progress *p = &w->progress[c->index];
    w->set -= p->set;
    *p = (struct watch_progress){0};
    if (w->bulk && c->last_zxid == 0) {
        /* setWatches2 must name a zxid that this client has seen, or every znode counts as changed since then. */
        struct op ping = {.start_ns = now_ns, .kind = REQUEST_PING};
        conn_send(c, &ping);
        return;
    }
    send_while_room(w, c, now_ns);
}

bool watches_reply(struct watches *w, struct conn *c, const struct op *op, int64_t now_ns) {
    struct watch_progress *p = &w->progress[c->index];
    if (op->kind == REQUEST_GET_WATCH || op->kind == REQUEST_SET_WATCHES) {
        p->set += op->count;
        w->set += op->count;
    }
    send_while_room(w, c, now_ns);
    return p->set == w->per_conn;
}

bool watches_cover(const struct watches *w, size_t index, uint64_t key) {
    uint64_t keyspace = w->bench->opt->keyspace;
    return (key + keyspace - first_key(w, index)) % keyspace < w->per_conn;
}
