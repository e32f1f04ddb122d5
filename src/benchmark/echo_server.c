#include "benchmark/echo_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "benchmark/request.h"
#include "benchmark/sync_file.h"

#define READ_BYTES (64 * 1024)
#define FRAME_BYTES_MAX (2u << 20)

struct echo_server {
    struct event_base *base;
    uint8_t *read_buffer;
    struct buf get_body, set_body; /* fixed bodies of replies */
    struct buf event;              /* a frame */
    struct list watching;          /* who asked for data with a watch: all of them hear of the next setData */
    struct sync_file *log;         /* NULL = nothing is written */
    int log_error;
    int64_t sessions;
};

struct echo_conn {
    struct echo_server *server;
    int fd;
    struct event *readable, *writable;
    struct buf in, out;
    struct list in_watching;
    bool connected, closing;
};

static void free_conn(struct echo_conn *c) {
    list_remove(&c->in_watching);
    event_free(c->readable);
    event_free(c->writable);
    close(c->fd);
    buf_free(&c->in);
    buf_free(&c->out);
    mem_free(c);
}

/* Returns false when the connection is at its end. */
static bool flush(struct echo_conn *c) {
    if (c->out.len != 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
        if (n == -1 && errno != EAGAIN && errno != EINTR)
            return false;
        if (n > 0)
            buf_consume(&c->out, (size_t)n);
    }
    if (c->out.len != 0) {
        event_add(c->writable, NULL);
        return true;
    }
    return !c->closing;
}

static void answer_connect(struct echo_conn *c, const uint8_t *frame, size_t len) {
    struct jute_in in = jute_in(frame, len);
    struct connect_request request;
    if (!connect_request_get(&in, &request)) {
        c->closing = true;
        return;
    }
    struct connect_response response = {.timeout_ms = request.timeout_ms,
                                        .session_id = request.session_id ? request.session_id : ++c->server->sessions,
                                        .has_read_only = request.has_read_only};
    session_password(response.session_id, response.password);
    size_t start = frame_begin(&c->out);
    connect_response_put(&c->out, &response);
    frame_end(&c->out, start);
    c->connected = true;
}

static void tell_watching(struct echo_server *server, struct slice path) {
    struct buf *event = &server->event;
    buf_clear(event);
    size_t start = frame_begin(event);
    struct reply_header header = {XID_NOTIFICATION, -1, 0};
    reply_header_store(buf_tail(event, REPLY_HEADER_BYTES), &header);
    event->len += REPLY_HEADER_BYTES;
    jute_put_int(event, EVENT_NODE_DATA_CHANGED);
    jute_put_int(event, STATE_SYNC_CONNECTED);
    jute_put_bytes(event, path);
    frame_end(event, start);
    while (!list_empty(&server->watching)) {
        struct echo_conn *c = LIST_FIRST(&server->watching, struct echo_conn, in_watching);
        list_remove(&c->in_watching);
        buf_append(&c->out, event->data, event->len);
        flush(c); /* a broken connection is found when it is read from */
    }
}

/* One list of watchers for all znodes is enough to compare with. */
static void note_watch(struct echo_conn *c, int32_t type, const uint8_t *frame, size_t len) {
    struct list *watching = &c->server->watching;
    if (type == OP_GET_DATA && frame[len - 1] != 0 && list_unlinked(&c->in_watching)) {
        list_push(watching, &c->in_watching);
    } else if (type == OP_SET_DATA && !list_empty(watching)) {
        struct jute_in in = jute_in(frame + REQUEST_HEADER_BYTES, len - REQUEST_HEADER_BYTES);
        struct slice path = jute_bytes_not_null(&in);
        if (!in.failed)
            tell_watching(c->server, path);
    }
}

/* False after an error, which ends the server. */
static bool write_log(struct echo_server *server) {
    if (server->log != NULL && server->log_error == 0)
        server->log_error = sync_file_append(server->log);
    if (server->log_error != 0)
        event_base_loopbreak(server->base);
    return server->log_error == 0;
}

static void answer_request(struct echo_conn *c, const uint8_t *frame, size_t len) {
    if (len < REQUEST_HEADER_BYTES) {
        c->closing = true;
        return;
    }
    int32_t type = (int32_t)be32_load(frame + 4);
    if (type == OP_SET_DATA && !write_log(c->server)) {
        c->closing = true;
        return;
    }
    note_watch(c, type, frame, len);
    const struct buf *body = type == OP_GET_DATA ? &c->server->get_body : &c->server->set_body;
    size_t body_len = type == OP_GET_DATA || type == OP_SET_DATA ? body->len : 0;
    uint8_t *p = buf_tail(&c->out, 4 + REPLY_HEADER_BYTES + body_len);
    struct reply_header header = {(int32_t)be32_load(frame), 1, 0};
    reply_header_store(be32_store(p, (uint32_t)(REPLY_HEADER_BYTES + body_len)), &header);
    if (body_len != 0)
        memcpy(p + 4 + REPLY_HEADER_BYTES, body->data, body_len);
    c->out.len += 4 + REPLY_HEADER_BYTES + body_len;
    c->closing = type == OP_CLOSE_SESSION;
}

static void answer_frames(struct echo_conn *c, const uint8_t *data, size_t len) {
    bool kept = c->in.len != 0;
    size_t used = 0;
    if (kept) {
        buf_append(&c->in, data, len);
        data = c->in.data;
        len = c->in.len;
    }
    while (!c->closing && len - used >= 4) {
        size_t size = be32_load(data + used);
        c->closing = size > FRAME_BYTES_MAX;
        if (c->closing || len - used - 4 < size)
            break;
        if (c->connected)
            answer_request(c, data + used + 4, size);
        else
            answer_connect(c, data + used + 4, size);
        used += 4 + size;
    }
    if (kept)
        buf_consume(&c->in, used);
    else
        buf_append(&c->in, data + used, len - used);
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    struct echo_conn *c = arg;
    (void)what;
    ssize_t n = recv(fd, c->server->read_buffer, READ_BYTES, 0);
    if (n == -1 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        answer_frames(c, c->server->read_buffer, (size_t)n);
    if (n <= 0 || !flush(c))
        free_conn(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
    struct echo_conn *c = arg;
    (void)fd;
    (void)what;
    if (!flush(c))
        free_conn(c);
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *addr, int len, void *arg) {
    struct echo_server *server = arg;
    static const int on = 1;
    (void)listener;
    (void)addr;
    (void)len;
    struct echo_conn *c = mem_calloc(1, sizeof *c);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->server = server;
    c->fd = fd;
    list_init(&c->in_watching);
    c->readable = event_new(server->base, fd, EV_READ | EV_PERSIST, on_readable, c);
    c->writable = event_new(server->base, fd, EV_WRITE, on_writable, c);
    event_add(c->readable, NULL);
}

static void on_signal(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    event_base_loopbreak(((struct echo_server *)arg)->base);
}

static void make_bodies(struct echo_server *server, size_t data_len) {
    struct stat_view stat = {.czxid = 1, .mzxid = 1, .pzxid = 1, .data_length = (int32_t)data_len};
    uint8_t *data = mem_alloc(data_len);
    request_pattern(data, data_len);
    jute_put_bytes(&server->get_body, (struct slice){(const char *)data, data_len});
    stat_view_put(&server->get_body, &stat);
    stat_view_put(&server->set_body, &stat);
    mem_free(data);
}

/* Returns false after a message. */
static bool serve(struct echo_server *server, uint16_t port) {
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct evconnlistener *listener =
        evconnlistener_new_bind(server->base, on_accept, server, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE, -1,
                                (const struct sockaddr *)&addr, sizeof addr);
    if (listener == NULL) {
        fprintf(stderr, "zabra-benchmark: 127.0.0.1:%u cannot be listened on: %s\n", port, strerror(errno));
        return false;
    }
    struct event *on_int = evsignal_new(server->base, SIGINT, on_signal, server);
    struct event *on_term = evsignal_new(server->base, SIGTERM, on_signal, server);
    event_add(on_int, NULL);
    event_add(on_term, NULL);
    fprintf(stderr, "zabra-benchmark: echo server on 127.0.0.1:%u\n", port);
    event_base_dispatch(server->base);
    event_free(on_int);
    event_free(on_term);
    evconnlistener_free(listener);
    if (server->log_error != 0)
        fprintf(stderr, "zabra-benchmark: writing a setData: %s\n", strerror(server->log_error));
    return server->log_error == 0;
}

int echo_server_run(uint16_t port, size_t data_len, const char *sync_dir) {
    struct echo_server server = {0};
    struct sync_file log;
    if (sync_dir != NULL) {
        int err = sync_file_open(&log, sync_dir, data_len);
        if (err != 0) {
            fprintf(stderr, "zabra-benchmark: no file can be made in %s: %s\n", sync_dir, strerror(err));
            return 1;
        }
        server.log = &log;
    }
    signal(SIGPIPE, SIG_IGN);
    list_init(&server.watching);
    server.base = event_base_new();
    server.read_buffer = mem_alloc(READ_BYTES);
    make_bodies(&server, data_len);
    bool good = serve(&server, port);
    event_base_free(server.base);
    mem_free(server.read_buffer);
    buf_free(&server.get_body);
    buf_free(&server.set_body);
    buf_free(&server.event);
    if (server.log != NULL)
        sync_file_close(server.log);
    return good ? 0 : 1;
}
