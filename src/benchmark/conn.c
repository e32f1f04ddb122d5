#include "benchmark/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "benchmark/clock.h"
#include "benchmark/pool.h"

/* A sanity bound: the children of a znode with a million of them are 24 MB. */
#define FRAME_BYTES_MAX (512u << 20)
/* A buffer that grew beyond this for one large frame is given back. */
#define KEPT_BUFFER_BYTES (64u * 1024)
#define FIRST_RING_SIZE 4

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

static struct bench *bench_of(const struct conn *c) { return c->pool->bench; }

static const struct server_address *server_of(const struct conn *c) {
    struct bench *b = bench_of(c);
    return &b->servers[c->server % b->server_count];
}

static void set_state(struct conn *c, enum conn_state state) {
    enum conn_state from = c->state;
    c->state = state;
    pool_state_changed(c->pool, from, state);
}

void conn_init(struct conn *c, struct pool *pool, uint32_t index, int priority) {
    memset(c, 0, sizeof *c);
    c->pool = pool;
    c->index = index;
    c->server = index;
    c->priority = priority;
    c->fd = -1;
}

void conn_next_server(struct conn *c) { c->server++; }

void conn_drop(struct conn *c) {
    if (c->state == CONN_CLOSED)
        return;
    if (c->fd != -1) {
        event_del(&c->read_event);
        event_del(&c->write_event);
        close(c->fd);
    }
    c->fd = -1;
    c->generation++;
    c->inflight = 0;
    c->out_sent = 0;
    buf_clear(&c->in);
    buf_clear(&c->out);
    set_state(c, CONN_CLOSED);
}

void conn_free(struct conn *c) {
    conn_drop(c);
    buf_free(&c->in);
    buf_free(&c->out);
    mem_free(c->ring);
    c->ring = NULL;
}

void conn_forget_session(struct conn *c) {
    c->session_id = 0;
    c->last_zxid = 0;
    memset(c->password, 0, sizeof c->password);
}

static void lost(struct conn *c, bool expired, const char *why) {
    void (*handler)(struct conn *, bool, const char *) = c->pool->handler->on_lost;
    uint32_t unanswered = c->inflight;
    conn_drop(c);
    if (handler)
        handler(c, expired, why);
    else
        bench_broken(bench_of(c), "connection %u to %s: %s (%u requests not answered)", c->index + 1,
                     server_of(c)->text, why, unanswered);
}

/* ---- sending ---- */

void conn_flush(struct conn *c) {
    if (c->out_sent == c->out.len || c->state == CONN_CLOSED)
        return;
    ssize_t n = send(c->fd, c->out.data + c->out_sent, c->out.len - c->out_sent, MSG_NOSIGNAL);
    if (n == -1 && errno != EAGAIN && errno != EINTR) {
        lost(c, false, strerror(errno));
        return;
    }
    if (n > 0)
        c->out_sent += (size_t)n;
    if (c->out_sent != c->out.len) {
        event_add(&c->write_event, NULL);
        return;
    }
    c->out_sent = 0;
    buf_clear(&c->out);
    if (c->out.cap > KEPT_BUFFER_BYTES)
        buf_free(&c->out);
}

static void grow_ring(struct conn *c) {
    uint32_t size = c->ring_size ? c->ring_size * 2 : FIRST_RING_SIZE;
    struct op *ring = mem_alloc(size * sizeof *ring);
    for (uint32_t i = 0; i < c->inflight; i++)
        ring[i] = c->ring[(c->ring_front + i) & (c->ring_size - 1)];
    mem_free(c->ring);
    c->ring = ring;
    c->ring_size = size;
    c->ring_front = 0;
}

static int32_t next_xid(struct conn *c, enum request_kind kind) {
    if (kind == REQUEST_PING || kind == REQUEST_KEEPALIVE)
        return XID_PING;
    if (kind == REQUEST_SET_WATCHES)
        return XID_SET_WATCHES;
    c->last_xid = c->last_xid == INT32_MAX ? 1 : c->last_xid + 1;
    return c->last_xid;
}

void conn_send(struct conn *c, const struct op *op) {
    zassert(c->state == CONN_READY);
    if (c->inflight == c->ring_size)
        grow_ring(c);
    struct op *slot = &c->ring[(c->ring_front + c->inflight) & (c->ring_size - 1)];
    *slot = *op;
    slot->xid = next_xid(c, op->kind);
    /* Silence counts from when an answer is owed. A late arrival of the open loop has a start_ns in the past. */
    if (c->inflight++ == 0)
        c->last_heard_ns = i64_max(c->last_heard_ns, op->start_ns);
    c->last_sent_ns = i64_max(c->last_sent_ns, op->start_ns);
    request_put(&bench_of(c)->requests, &c->out, slot, c->last_zxid);
}

void conn_close_session(struct conn *c) {
    struct op op = {.kind = REQUEST_CLOSE, .start_ns = clock_ns()};
    conn_send(c, &op);
    set_state(c, CONN_CLOSING);
}

static void send_connect_request(struct conn *c) {
    size_t start = frame_begin(&c->out);
    struct connect_request request = {.last_zxid_seen = c->last_zxid,
                                      .timeout_ms = (int32_t)bench_of(c)->opt->timeout_ms,
                                      .session_id = c->session_id,
                                      .password = {(const char *)c->password, PASSWORD_BYTES},
                                      .has_read_only = true};
    connect_request_put(&c->out, &request);
    frame_end(&c->out, start);
    conn_flush(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    conn_flush(arg);
}

void conn_open(struct conn *c) {
    const struct server_address *server = server_of(c);
    zassert(c->state == CONN_CLOSED);
    set_state(c, CONN_HANDSHAKE);
    c->opened_ns = c->last_heard_ns = c->last_sent_ns = clock_ns();
    c->fd = socket(server->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd == -1) {
        lost(c, false, strerror(errno));
        return;
    }
    static const int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct event_base *base = bench_of(c)->base;
    /* Edge-triggered: otherwise epoll looks at each socket once more to see that its input is gone. */
    event_assign(&c->read_event, base, c->fd, EV_READ | EV_CLOSED | EV_PERSIST | EV_ET, on_readable, c);
    event_assign(&c->write_event, base, c->fd, EV_WRITE | EV_ET, on_writable, c);
    event_priority_set(&c->read_event, c->priority);
    event_priority_set(&c->write_event, c->priority);
    if (connect(c->fd, (const struct sockaddr *)&server->addr, server->len) == -1 && errno != EINPROGRESS) {
        lost(c, false, strerror(errno));
        return;
    }
    /* A near server has mostly accepted by now, so the request is tried at once; if it has not, or refuses, write and
     * read will tell. */
    event_add(&c->read_event, NULL);
    send_connect_request(c);
}

/* ---- receiving ---- */

static void handle_connect_response(struct conn *c, const uint8_t *data, size_t len, int64_t now_ns) {
    struct jute_in in = jute_in(data, len);
    struct connect_response r;
    bool good = connect_response_get(&in, &r) && jute_left(&in) == 0;
    if (!good || r.timeout_ms < 0 || r.protocol_version != 0) {
        lost(c, false, "the server's ConnectResponse makes no sense");
        return;
    }
    if (r.timeout_ms == 0 || r.session_id == 0) {
        lost(c, true, "the server says that the session has expired");
        return;
    }
    if (c->session_id != 0 && r.session_id != c->session_id) {
        lost(c, true, "the server resumed another session than the one asked for");
        return;
    }
    c->session_id = r.session_id;
    c->timeout_ms = r.timeout_ms;
    memcpy(c->password, r.password, PASSWORD_BYTES);
    set_state(c, CONN_READY);
    if (c->pool->handler->on_ready)
        c->pool->handler->on_ready(c, now_ns);
}

static void handle_event(struct conn *c, struct jute_in *in, int64_t now_ns) {
    int32_t type = jute_int(in), state = jute_int(in);
    struct slice path = jute_bytes_not_null(in);
    if (in->failed || jute_left(in) != 0 || state != STATE_SYNC_CONNECTED || type < EVENT_NODE_CREATED ||
        type > EVENT_NODE_CHILDREN_CHANGED)
        bench_wrong(bench_of(c), "a watch event that makes no sense (type %d, state %d)", type, state);
    else if (c->pool->handler->on_event)
        c->pool->handler->on_event(c, type, path, now_ns);
    else
        bench_wrong(bench_of(c), "a watch event that nobody asked for (type %d, %.*s)", type, (int)path.len, path.data);
}

/* Takes the request that this reply must belong to. False after a reply that breaks the order: nothing behind it can be
 * understood. */
static bool take_op(struct conn *c, const struct reply_header *header, struct op *op) {
    if (c->inflight == 0) {
        bench_wrong(bench_of(c), "reply with xid %d, but no request is outstanding", header->xid);
        lost(c, false, "given up after a reply out of order");
        return false;
    }
    *op = c->ring[c->ring_front];
    if (header->xid != op->xid) {
        bench_wrong(bench_of(c), "reply with xid %d, but the oldest request is %s with xid %d", header->xid,
                    request_name(op->kind), op->xid);
        lost(c, false, "given up after a reply out of order");
        return false;
    }
    c->ring_front = (c->ring_front + 1) & (c->ring_size - 1);
    c->inflight--;
    return true;
}

static void handle_reply(struct conn *c, const struct reply_header *header, struct jute_in *in, int64_t now_ns) {
    struct op op;
    if (!take_op(c, header, &op))
        return;
    c->reply_err = header->err;
    const char *why = request_check(&bench_of(c)->requests, &op, header, in);
    if (why)
        bench_wrong(bench_of(c), "reply to %s, xid %d: %s", request_name(op.kind), op.xid, why);
    if (header->zxid < c->last_zxid)
        bench_wrong(bench_of(c), "reply to %s: zxid 0x%llx after 0x%llx", request_name(op.kind),
                    (unsigned long long)header->zxid, (unsigned long long)c->last_zxid);
    else
        c->last_zxid = header->zxid;
    if (op.kind == REQUEST_KEEPALIVE)
        return;
    if (op.kind == REQUEST_CLOSE)
        conn_forget_session(c);
    else if (c->pool->handler->on_reply)
        c->pool->handler->on_reply(c, &op, why == NULL, now_ns);
}

static void handle_frame(struct conn *c, const uint8_t *data, size_t len, int64_t now_ns) {
    if (c->state == CONN_HANDSHAKE) {
        handle_connect_response(c, data, len, now_ns);
        return;
    }
    struct jute_in in = jute_in(data, len);
    struct reply_header header = reply_header_get(&in);
    if (in.failed) {
        bench_wrong(bench_of(c), "a frame of %zu bytes", len);
        lost(c, false, "a frame is too short for a reply");
    } else if (header.xid == XID_NOTIFICATION)
        handle_event(c, &in, now_ns);
    else
        handle_reply(c, &header, &in, now_ns);
}

/* Handles the complete frames in data; the rest is kept in c->in (where data may already be). */
static void handle_bytes(struct conn *c, const uint8_t *data, size_t len, int64_t now_ns) {
    unsigned generation = c->generation;
    bool kept = c->in.len != 0;
    size_t used = 0;
    if (kept) {
        buf_append(&c->in, data, len);
        data = c->in.data;
        len = c->in.len;
    }
    while (len - used >= 4) {
        size_t size = be32_load(data + used);
        if (size > FRAME_BYTES_MAX) {
            lost(c, false, "a frame of more than 512 MB");
            return;
        }
        if (len - used - 4 < size)
            break;
        handle_frame(c, data + used + 4, size, now_ns);
        if (c->generation != generation)
            return;
        used += 4 + size;
    }
    if (!kept)
        buf_append(&c->in, data + used, len - used);
    else
        buf_consume(&c->in, used);
    if (c->in.len == 0 && c->in.cap > KEPT_BUFFER_BYTES)
        buf_free(&c->in);
}

static void handle_end(struct conn *c, const char *why) {
    bool orderly = c->state == CONN_CLOSING && c->inflight == 0;
    if (!orderly) {
        lost(c, false, why);
        return;
    }
    conn_drop(c);
    if (c->pool->handler->on_closed)
        c->pool->handler->on_closed(c, clock_ns());
}

/* Returns the number of bytes read; 0: no more for now, or the connection's end has been handled. */
static size_t read_some(struct conn *c) {
    struct bench *b = bench_of(c);
    unsigned generation = c->generation;
    ssize_t n;
    do
        n = recv(c->fd, b->read_buffer, BENCH_READ_BYTES, 0);
    while (n == -1 && errno == EINTR);
    if (n == -1) {
        if (errno != EAGAIN)
            handle_end(c, strerror(errno));
        return 0;
    }
    if (n == 0) {
        handle_end(c, c->state == CONN_HANDSHAKE
                          ? "closed by the server instead of opening a session (is a limit such as "
                            "maxClientCnxns reached?)"
                          : "closed by the server");
        return 0;
    }
    int64_t now_ns = clock_ns();
    c->last_heard_ns = now_ns;
    handle_bytes(c, b->read_buffer, (size_t)n, now_ns);
    return c->generation == generation ? (size_t)n : 0;
}

/* No event comes for what is there already: it is read to its end. A piece smaller than the buffer is known to be the last,
 * unless the server's end is here, too, or expected right behind the reply to closeSession. */
static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct conn *c = arg;
    unsigned generation = c->generation;
    size_t n;
    (void)fd;
    do
        n = read_some(c);
    while (n == BENCH_READ_BYTES || (n != 0 && (what & EV_CLOSED || (c->state == CONN_CLOSING && c->inflight == 0))));
    if (c->generation == generation)
        conn_flush(c);
}

void conn_tick(struct conn *c, int64_t now_ns) {
    int64_t timeout_ns =
        (c->state == CONN_READY || c->state == CONN_CLOSING ? c->timeout_ms : (int64_t)bench_of(c)->opt->timeout_ms) *
        NS_PER_MS;
    if (c->state == CONN_CLOSED)
        return;
    bool waiting = c->state != CONN_READY || c->inflight != 0;
    if (waiting && now_ns - c->last_heard_ns > timeout_ns) {
        lost(c, false, "the server did not answer for the whole session timeout");
        return;
    }
    if (c->state == CONN_READY && now_ns - c->last_sent_ns > timeout_ns / 3) {
        struct op op = {.kind = REQUEST_KEEPALIVE, .start_ns = now_ns};
        conn_send(c, &op);
        conn_flush(c);
    }
}
