#include "net/client.h"

#include <errno.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/address.h"
#include "net/listener.h"
#include "net/words.h"

/* Sent to one client before others get their turn. */
#define SEND_PER_TURN_BYTES (512 * 1024)
/* The next piece of a long reply is encoded when less than this is left to send. */
#define REFILL_BYTES (128 * 1024)
/* A client that leaves this much unread is not read from until it has caught up. */
#define OUTPUT_PAUSE_BYTES (1u << 20)
/* The start of an oversize frame that is kept, for the log line: header and the beginning of the path. */
#define OVERSIZE_HEAD_BYTES 256
#define KEEP_OUTPUT_BYTES 16384
/* A request counts as one more for each such piece of it. */
#define LONG_FRAME_BYTES 256
/* From here on a request takes its turn with others of its size: net_takes_long. */
#define WAITING_FRAME_BYTES 2048

/* ------------------------------------------------------------------ framing */

static void arm(struct event *ev, bool *armed, bool want) {
    if (*armed == want)
        return;
    *armed = want;
    if (want)
        event_add(ev, NULL);
    else
        event_del(ev);
}

static void make_ready(struct client *c) {
    if (list_unlinked(&c->ready_link))
        list_push(&c->net->ready, &c->ready_link);
}

/* Nothing more may be taken from this connection's input for now. */
static bool input_blocked(const struct client *c) {
    const struct conn *conn = c->conn;
    return conn->close != CONN_OPEN || conn->paused || conn->connecting || c->word != NULL ||
           conn->out.len - conn->out_sent > OUTPUT_PAUSE_BYTES;
}

/* Skips an oversize frame; returns the bytes taken. */
static size_t take_oversize(struct client *c, const uint8_t *data, size_t len, struct now now) {
    size_t taken = 0;
    if (c->drain == c->oversize) {
        /* At its start: wait for enough to tell whose request it was. */
        size_t head = size_min(c->oversize, OVERSIZE_HEAD_BYTES);
        if (len < head)
            return 0;
        server_conn_oversize(c->net->server, c->conn, data, head, c->oversize, now);
        taken = head;
        c->drain -= (uint32_t)head;
    }
    size_t more = size_min(len - taken, c->drain);
    c->drain -= (uint32_t)more;
    if (c->drain == 0)
        c->oversize = 0;
    return taken + more;
}

/* Looks at the length of the next frame. False: it cannot be taken (yet). */
static bool admit(struct client *c, const uint8_t *data, size_t len) {
    int32_t frame_len = (int32_t)be32_load(data);
    switch (server_conn_admits(c->net->server, c->conn, frame_len, data + 4, len - 4)) {
    case FRAME_READ:
        c->admitted = true;
        return true;
    case FRAME_DRAIN:
        c->oversize = c->drain = (uint32_t)frame_len;
        return true;
    case FRAME_CLOSE:
        conn_close_later(c->conn, CONN_CLOSE_NOW);
        return false;
    default:
        return false; /* its header must come first */
    }
}

/* Handles what stands at data; returns the bytes used up. Stops when the connection may take no more, when its share of
 * the turn is used up, or (c->starved) when bytes are missing. */
static size_t process(struct client *c, const uint8_t *data, size_t len, struct now now) {
    struct server *s = c->net->server;
    size_t used = 0;
    int budget = c->net->config->max_requests_per_turn;
    unsigned work = 0;
    c->starved = false;
    while (!input_blocked(c)) {
        size_t left = len - used;
        c->starved = true;
        if (c->oversize != 0) {
            used += take_oversize(c, data + used, left, now);
            if (c->oversize != 0)
                break;
            continue;
        }
        if (left < 4)
            break;
        if (!c->conn->connected && !c->admitted) {
            enum word_result word = words_try(c, data + used, left);
            if (word == WORD_INCOMPLETE)
                break;
            if (word == WORD_DONE)
                return len;
        }
        if (!c->admitted && !admit(c, data + used, left))
            break;
        if (c->oversize != 0) {
            used += 4;
            continue;
        }
        size_t frame_len = be32_load(data + used);
        if (left - 4 < frame_len)
            break;
        c->starved = false;
        if (budget-- == 0) {
            make_ready(c);
            break;
        }
        if (frame_len >= WAITING_FRAME_BYTES && !net_takes_long(c->net, c)) {
            list_push(&c->net->waiting, &c->ready_link);
            break;
        }
        c->admitted = false;
        work += 1 + (unsigned)(frame_len / LONG_FRAME_BYTES);
        server_conn_frame(s, c->conn, data + used + 4, frame_len, now);
        used += 4 + frame_len;
    }
    net_worked(c->net, work);
    return used;
}

/* Processes what is kept in c->in. */
static void process_kept(struct client *c, struct now now) {
    size_t len = c->in.len - c->in_start;
    if (len == 0)
        return;
    c->in_start += process(c, c->in.data + c->in_start, len, now);
    if (c->in_start == c->in.len) {
        buf_free(&c->in);
        c->in_start = 0;
    }
}

/* How many bytes the frame at the start of c->in still lacks; 0 = none, or not known yet. */
static size_t bytes_wanted(const struct client *c) {
    size_t kept = c->in.len - c->in_start;
    if (!c->admitted || kept < 4)
        return 0;
    size_t whole = 4 + (size_t)be32_load(c->in.data + c->in_start);
    return whole > kept ? whole - kept : 0;
}

/* Reads behind an incomplete frame, straight to where it belongs. */
static ssize_t read_behind(struct client *c) {
    if (c->in_start != 0) {
        buf_consume(&c->in, c->in_start);
        c->in_start = 0;
    }
    size_t room = size_max(bytes_wanted(c), 4096);
    ssize_t n = recv(c->fd, buf_tail(&c->in, room), room, 0);
    if (n > 0)
        c->in.len += (size_t)n;
    return n;
}

/* Reads once. False: the connection was at its end, and c is gone. */
static bool read_input(struct client *c) {
    struct net *net = c->net;
    struct now now = net_turn_now(net);
    ssize_t n;
    bool kept = c->in.len != 0;
    if (kept)
        n = read_behind(c);
    else
        n = recv(c->fd, net->read_buffer, sizeof net->read_buffer, 0);
    if (n == -1 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n <= 0) {
        client_close(c, now);
        return false;
    }
    metric_count(&net->server->metrics, METRIC_BYTES_RECEIVED_COUNT, (uint64_t)n);
    if (kept) {
        process_kept(c, now);
    } else {
        size_t used = process(c, net->read_buffer, (size_t)n, now);
        buf_append(&c->in, net->read_buffer + used, (size_t)n - used);
    }
    conn_dirty(c->conn);
    return true;
}

static void on_readable(evutil_socket_t fd, short what, void *ctx) {
    struct client *c = ctx;
    (void)fd;
    (void)what;
    if (input_blocked(c) || !list_unlinked(&c->ready_link))
        /* Only now that something has come: most pauses end before, and cost no system call then. */
        arm(&c->read_event, &c->reading, false);
    else
        read_input(c);
}

/* ------------------------------------------------------------------ sending */

enum send_result { SEND_DONE, SEND_BLOCKED, SEND_MORE, SEND_ERROR };

/* The last reply of a connection that closes behind it shares a segment with the end of the stream. */
static int send_flags(const struct conn *conn) {
    return MSG_NOSIGNAL | (conn->close == CONN_CLOSE_FLUSH ? MSG_MORE : 0);
}

static enum send_result send_output(struct client *c) {
    struct conn *conn = c->conn;
    size_t budget = SEND_PER_TURN_BYTES;
    while (conn_refill(conn, REFILL_BYTES)) {
        if (budget == 0)
            return SEND_MORE;
        size_t size = size_min(conn->out.len - conn->out_sent, budget);
        ssize_t n = send(c->fd, conn->out.data + conn->out_sent, size, send_flags(conn));
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1)
            return errno == EAGAIN ? SEND_BLOCKED : SEND_ERROR;
        conn->out_sent += (size_t)n;
        budget -= (size_t)n;
        if ((size_t)n < size)
            return SEND_BLOCKED;
    }
    if (conn->out.cap > KEEP_OUTPUT_BYTES)
        buf_free(&conn->out);
    return SEND_DONE;
}

static void on_writable(evutil_socket_t fd, short what, void *ctx) {
    struct client *c = ctx;
    (void)fd;
    (void)what;
    client_settle(c, net_turn_now(c->net));
}

static bool over_output_limit(const struct client *c) {
    size_t bytes = conn_output_bytes(c->conn) + words_held_bytes(c);
    if ((int64_t)bytes <= c->net->config->client_output_buffer_limit_bytes)
        return false;
    log_warn("%s: session 0x%llx leaves %zu bytes unread (clientOutputBufferLimit), closing", c->conn->peer,
             (unsigned long long)c->conn->session_id, bytes);
    return true;
}

void client_settle(struct client *c, struct now now) {
    if (c->conn->close == CONN_CLOSE_NOW) {
        client_close(c, now);
        return;
    }
    enum send_result sent = send_output(c);
    if (sent == SEND_ERROR || (sent == SEND_BLOCKED && over_output_limit(c))) {
        client_close(c, now);
        return;
    }
    if (sent == SEND_DONE && c->conn->close == CONN_CLOSE_FLUSH) {
        client_close(c, now);
        return;
    }
    if (sent == SEND_MORE)
        make_ready(c);
    bool blocked = input_blocked(c);
    if (!blocked && c->in.len != c->in_start && !c->starved)
        make_ready(c); /* input that waited for the end of a pause */
    arm(&c->write_event, &c->writing, sent == SEND_BLOCKED);
    /* What is kept comes first: a client cannot fill our memory faster than it gets its turns. */
    if (!blocked && list_unlinked(&c->ready_link))
        arm(&c->read_event, &c->reading, true);
}

void client_continue(struct client *c, struct now now) {
    if (!input_blocked(c))
        process_kept(c, now);
    client_settle(c, now);
}

/* ------------------------------------------------------------------ life */

struct client *client_of(struct conn *conn) { return conn->shell; }

void client_accept(struct net *net, int fd, const struct sockaddr *address, uint64_t key, struct now now) {
    struct address_text text;
    address_format(address, &text);
    struct client *c = mem_calloc(1, sizeof *c);
    c->net = net;
    c->fd = fd;
    c->address_key = key;
    c->accepted = now.mono;
    c->conn = server_conn_new(net->server, slice_of(text.peer), slice_of(text.ip), text.loopback, now);
    c->conn->shell = c;
    list_push(&net->clients, &c->link);
    list_init(&c->ready_link);
    event_assign(&c->read_event, net->base, fd, EV_READ | EV_PERSIST, on_readable, c);
    event_assign(&c->write_event, net->base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
    /* Most have sent their first request by now. The event comes behind it, or it would be for what is read already. */
    if (read_input(c))
        arm(&c->read_event, &c->reading, true);
}

/* A close that finds input which nobody has read resets the connection, and what is not on its way then is lost. So the last
 * reply leaves before, with the end of the stream. Input that is there is thrown away all the same: after a reset some
 * systems forget even what has arrived. */
static void finish_output(int fd) {
    char waste[4096];
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 64 && recv(fd, waste, sizeof waste, MSG_DONTWAIT) > 0; i++)
        ;
}

void client_close(struct client *c, struct now now) {
    struct net *net = c->net;
    arm(&c->read_event, &c->reading, false);
    arm(&c->write_event, &c->writing, false);
    if (c->conn->close != CONN_OPEN) {
        if (c->conn->session_id != 0)
            metric_count(&net->server->metrics, METRIC_CONNECTION_DROP_COUNT, 1);
        finish_output(c->fd);
    }
    close(c->fd);
    listener_release(net, c->address_key);
    words_end(c);
    server_conn_gone(net->server, c->conn, now);
    list_remove(&c->link);
    list_remove(&c->ready_link);
    buf_free(&c->in);
    mem_free(c);
}

void client_sweep(struct client *c, struct now now) {
    struct conn *conn = c->conn;
    int64_t limit_ms = c->net->config->sessionless_timeout_ms;
    if (!conn->connected && !conn->connecting && limit_ms > 0 &&
        mono_diff_us(now.mono, c->accepted) > limit_ms * 1000) {
        log_info("%s made no session within %lld ms, closing", conn->peer, (long long)limit_ms);
        metric_count(&c->net->server->metrics, METRIC_SESSIONLESS_CONNECTIONS_EXPIRED, 1);
        client_close(c, now);
        return;
    }
    if (conn->out.cap != 0 && conn->out.len == 0)
        buf_free(&conn->out);
}
