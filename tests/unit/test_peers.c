/* Links over real sockets: two peers objects on one loop, and raw sockets where the other side must misbehave. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "lib/store_help.h"
#include "net/peers_internal.h"

#define WAIT_MS 30000
#define DIAL_MS 10000
#define MIB ((size_t)1 << 20)
#define TURN_BYTES ((size_t)256 * 1024)

enum moment { NEVER, OPENED, RECEIVED, ACCEPTED };

/* One end of a link, and what it is to do. */
struct end {
    struct world *world;
    struct peers *peers;
    struct link *link; /* NULL once it is gone */
    bool opened, closed;
    char reason[256];
    struct buf got;
    size_t received; /* bytes used up */
    int calls;
    size_t call_max; /* new bytes in one call */
    size_t shown;    /* bytes shown in the last call and not used up */

    enum moment close_in;
    bool echo;
    bool keep;         /* appends to got; otherwise the pattern is checked */
    bool frames;       /* uses up frames: 4 bytes of length, then as many bytes */
    bool wants;        /* says so with want */
    int pause_after;   /* frames */
    int frame_count;
    const char *greeting; /* sent when opened or accepted */
};

struct world {
    struct event_base *base;
    struct event *tick;
    struct peers *a, *b;  /* b listens */
    int port[2];          /* of b */
    struct end ends[40];  /* accepted by b, in order */
    int end_count;
    struct end template;  /* of accepted ends */
    int refused;          /* accepted links that nobody wanted */
    bool in_dial;
};

static const struct link_ops *const ops = &peers_link_ops;

/* ------------------------------------------------------------------ ends */

/* The bytes of a long transfer: depend on the offset, so that nothing can be lost, doubled or swapped. */
static uint8_t pattern(size_t offset) { return (uint8_t)(offset ^ offset >> 8 ^ offset >> 16 ^ offset >> 24); }

static void on_opened(struct link *l) {
    struct end *e = l->owner;
    ck_assert(!e->world->in_dial);
    ck_assert(!e->opened);
    e->opened = true;
    if (e->greeting != NULL)
        ops->send(e->peers, l, e->greeting, strlen(e->greeting));
    if (e->close_in == OPENED) {
        ops->close(e->peers, l);
        e->link = NULL;
    }
}

static size_t use_frames(struct end *e, const uint8_t *data, size_t len) {
    size_t used = 0;
    while (len - used >= 4) {
        uint32_t n;
        memcpy(&n, data + used, 4);
        n = ntohl(n);
        if (len - used - 4 < n) {
            if (e->wants)
                e->link->want = 4 + n;
            return used;
        }
        used += 4 + n;
        e->frame_count++;
        if (e->pause_after != 0 && e->frame_count % e->pause_after == 0) {
            ops->pause(e->peers, e->link, true);
            return used;
        }
    }
    if (e->wants)
        e->link->want = 4;
    return used;
}

static size_t on_received(struct link *l, const uint8_t *data, size_t len) {
    struct end *e = l->owner;
    size_t used = len;
    ck_assert_ptr_eq(e->link, l);
    ck_assert(!e->closed);
    ck_assert_uint_gt(len, 0);
    ck_assert_uint_ge(len, e->shown);
    e->calls++;
    if (len - e->shown > e->call_max)
        e->call_max = len - e->shown;
    if (e->close_in == RECEIVED) {
        ops->close(e->peers, l);
        e->link = NULL;
        ck_assert_uint_eq(data[len - 1], data[len - 1]); /* still readable */
        return 0;
    }
    if (e->frames)
        used = use_frames(e, data, len);
    else if (e->keep)
        buf_append(&e->got, data, len);
    else
        for (size_t i = 0; i < len; i++)
            if (data[i] != pattern(e->received + i)) /* an assertion for each would take minutes */
                ck_abort_msg("byte %zu is wrong", e->received + i);
    if (e->echo)
        ops->send(e->peers, l, data, len);
    e->received += used;
    e->shown = len - used;
    return used;
}

static void on_closed(struct link *l, const char *reason) {
    struct end *e = l->owner;
    ck_assert(!e->world->in_dial);
    ck_assert_ptr_eq(e->link, l);
    snprintf(e->reason, sizeof e->reason, "%s", reason);
    e->closed = true;
    e->link = NULL;
}

static const struct link_events events = {.opened = on_opened, .received = on_received, .closed = on_closed};

static void on_accepted(void *ctx, enum link_port port, struct link *l) {
    struct world *w = ctx;
    (void)port;
    if (w->template.world == NULL || w->end_count == (int)ARRAY_LEN(w->ends)) {
        w->refused++;
        return;
    }
    struct end *e = &w->ends[w->end_count++];
    *e = w->template;
    e->link = l;
    l->events = &events;
    l->owner = e;
    ck_assert(strncmp(l->peer, "127.0.0.1:", 10) == 0 || strncmp(l->peer, "[::1]:", 6) == 0);
    if (e->greeting != NULL)
        ops->send(e->peers, l, e->greeting, strlen(e->greeting));
    if (e->close_in == ACCEPTED) {
        ops->close(e->peers, l);
        e->link = NULL;
    }
}

/* ------------------------------------------------------------------ the world */

static int socket_at(int port) {
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    ck_assert_int_ne(fd, -1);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ck_assert_int_eq(bind(fd, (void *)&sin, sizeof sin), 0);
    return fd;
}

static int port_of(int fd) {
    struct sockaddr_in sin;
    socklen_t len = sizeof sin;
    ck_assert_int_eq(getsockname(fd, (void *)&sin, &len), 0);
    return ntohs(sin.sin_port);
}

static int free_port(void) {
    int fd = socket_at(0), port = port_of(fd);
    close(fd);
    return port;
}

/* A raw connection. */
static int raw_connect(int port) {
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_eq(connect(fd, (void *)&sin, sizeof sin), 0);
    return fd;
}

static void reset(int fd) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void on_tick(evutil_socket_t fd, short what, void *ctx) {
    (void)fd;
    (void)what;
    (void)ctx;
}

/* b listens on a port that is free: another process may take one in between. */
static void listen_somewhere(struct world *w, enum link_port port) {
    for (int attempt = 0; attempt < 20 && peers_listening(w->b, port) == 0; attempt++) {
        w->port[port] = free_port();
        struct link_address address = {"127.0.0.1", w->port[port]};
        peers_set_addresses(w->b, port, &address, 1, false);
        ops->listen(w->b, port, true);
    }
    ck_assert_int_eq(peers_listening(w->b, port), 1);
}

static struct world *world_new_with(names_function *lookup) {
    struct world *w = mem_calloc(1, sizeof *w);
    struct timeval tick = {0, 5000};
    signal(SIGPIPE, SIG_IGN);
    w->base = event_base_new();
    w->tick = event_new(w->base, -1, EV_PERSIST, on_tick, NULL);
    event_add(w->tick, &tick);
    w->a = peers_new(w->base, lookup, on_accepted, w);
    w->b = peers_new(w->base, lookup, on_accepted, w);
    for (int i = 0; i < 2; i++)
        listen_somewhere(w, (enum link_port)i);
    w->template = (struct end){.world = w, .peers = w->b, .keep = true};
    return w;
}

static struct world *world_new(void) { return world_new_with(NULL); }

static void world_free(struct world *w) {
    for (int i = 0; i < w->end_count; i++)
        buf_free(&w->ends[i].got);
    if (w->a != NULL)
        peers_free(w->a);
    if (w->b != NULL)
        peers_free(w->b);
    event_free(w->tick);
    event_base_free(w->base);
    mem_free(w);
}

static void turn(struct world *w) { event_base_loop(w->base, EVLOOP_ONCE); }

/* Turns until it holds. */
#define run_until(w, condition)                                                                                        \
    do {                                                                                                               \
        int64_t end = now_ms() + WAIT_MS;                                                                              \
        while (!(condition)) {                                                                                         \
            ck_assert_msg(now_ms() < end, "did not happen: %s", #condition);                                           \
            turn(w);                                                                                                   \
        }                                                                                                              \
    } while (0)

static void run_for(struct world *w, int64_t ms) {
    for (int64_t end = now_ms() + ms; now_ms() < end;)
        turn(w);
}

static struct end new_end(struct world *w) { return (struct end){.world = w, .peers = w->a, .keep = true}; }

static void dial_to(struct end *e, const struct link_address *addresses, int count, int64_t timeout_ms) {
    e->world->in_dial = true;
    e->link = ops->dial(e->peers, addresses, count, timeout_ms, &events, e);
    e->world->in_dial = false;
    ck_assert_ptr_nonnull(e->link);
}

static void dial_port(struct end *e, int port) {
    struct link_address address = {"127.0.0.1", port};
    dial_to(e, &address, 1, DIAL_MS);
}

/* A link from e to a new end of b, both open. */
static struct end *connected(struct end *e) {
    struct world *w = e->world;
    int before = w->end_count;
    dial_port(e, w->port[LINK_QUORUM]);
    run_until(w, e->opened && w->end_count > before);
    return &w->ends[before];
}

static void send_pattern(struct end *e, size_t *sent, size_t total) {
    uint8_t piece[65536];
    while (e->link != NULL && *sent < total && ops->unsent(e->peers, e->link) < MIB) {
        size_t n = size_min(sizeof piece, total - *sent);
        for (size_t i = 0; i < n; i++)
            piece[i] = pattern(*sent + i);
        ops->send(e->peers, e->link, piece, n);
        *sent += n;
    }
}

static bool got_is(const struct end *e, const char *text) {
    return e->got.len == strlen(text) && memcmp(e->got.data, text, e->got.len) == 0;
}

static void end_close(struct end *e) {
    if (e->link != NULL)
        ops->close(e->peers, e->link);
    e->link = NULL;
    buf_free(&e->got);
}

/* ------------------------------------------------------------------ tests: talking */

START_TEST(both_ports_and_an_echo) {
    struct world *w = world_new();
    struct end one = new_end(w), two = new_end(w);
    char peer[64];
    w->template.echo = true;
    one.greeting = "to the election port";
    two.greeting = "to the quorum port";
    dial_port(&one, w->port[LINK_ELECTION]);
    dial_port(&two, w->port[LINK_QUORUM]);
    snprintf(peer, sizeof peer, "127.0.0.1:%d", w->port[LINK_ELECTION]);
    ck_assert_str_eq(one.link->peer, peer);
    run_until(w, got_is(&one, one.greeting) && got_is(&two, two.greeting));
    ck_assert_str_eq(one.link->peer, peer);
    ck_assert_uint_eq(ops->unsent(w->a, one.link), 0);
    end_close(&one);
    end_close(&two);
    run_until(w, w->ends[0].closed && w->ends[1].closed);
    ck_assert_str_eq(w->ends[0].reason, "closed by the peer");
    world_free(w);
}
END_TEST

START_TEST(large_transfers_both_ways_with_pauses) {
    struct world *w = world_new();
    struct end e = new_end(w);
    size_t total = 64 * MIB, sent[2] = {0};
    int turns = 0;
    w->template.keep = e.keep = false;
    struct end *other = connected(&e);
    while (other->received < total || e.received < total) {
        send_pattern(&e, &sent[0], total);
        send_pattern(other, &sent[1], total);
        turn(w);
        turns++;
        if (turns % 100 < 10) {
            size_t before = other->received;
            bool paused = turns % 100 != 9;
            ops->pause(w->b, other->link, paused);
            ops->pause(w->a, e.link, turns % 200 != 9);
            turn(w);
            if (paused)
                ck_assert_uint_eq(other->received, before);
        }
        ck_assert_int_lt(turns, 1000000);
    }
    ck_assert_uint_le(e.call_max, TURN_BYTES);
    ck_assert_uint_le(other->call_max, TURN_BYTES);
    /* 4 KiB per turn would be 16384 calls. */
    ck_assert_int_lt(other->calls, 8000);
    end_close(&e);
    world_free(w);
}
END_TEST

static void send_frame(struct end *e, size_t len) {
    uint32_t prefix = htonl((uint32_t)len);
    uint8_t *body = mem_calloc(1, len);
    ops->send(e->peers, e->link, &prefix, 4);
    ops->send(e->peers, e->link, body, len);
    mem_free(body);
}

START_TEST(a_large_frame_is_shown_when_it_is_wanted) {
    struct world *w = world_new();
    struct end e = new_end(w);
    w->template.frames = w->template.wants = true;
    struct end *other = connected(&e);
    send_frame(&e, 10);
    send_frame(&e, 24 * MIB);
    send_frame(&e, 0);
    send_frame(&e, 24 * MIB);
    send_frame(&e, 10);
    run_until(w, other->frame_count == 5);
    ck_assert_uint_eq(other->received, 20 + 20 + 48 * MIB);
    ck_assert_int_le(other->calls, 8);
    /* Without want each piece is shown, and the frame comes all the same. */
    other->wants = false;
    send_frame(&e, 24 * MIB);
    run_until(w, other->frame_count == 6);
    ck_assert_int_gt(other->calls, 20);
    end_close(&e);
    world_free(w);
}
END_TEST

START_TEST(what_a_pause_leaves_over_comes_after_it) {
    struct world *w = world_new();
    struct end e = new_end(w);
    w->template.frames = true;
    w->template.pause_after = 1;
    struct end *other = connected(&e);
    for (int i = 0; i < 10; i++)
        send_frame(&e, 5);
    for (int i = 1; i <= 10; i++) {
        run_until(w, other->frame_count == i);
        run_for(w, 20);
        ck_assert_int_eq(other->frame_count, i);
        ops->pause(w->b, other->link, false);
        ck_assert_int_eq(other->frame_count, i);
        if (i == 5) { /* on and off at once */
            ops->pause(w->b, other->link, true);
            ops->pause(w->b, other->link, false);
        }
    }
    run_for(w, 20);
    ck_assert_int_eq(other->frame_count, 10);
    ck_assert_uint_eq(other->received, 90);
    end_close(&e);
    world_free(w);
}
END_TEST

START_TEST(a_slow_frame_is_a_sign_of_life) {
    struct world *w = world_new();
    const uint8_t prefix[4] = {0, 0, 1, 0};
    w->template.frames = w->template.wants = true;
    int fd = raw_connect(w->port[LINK_QUORUM]);
    run_until(w, w->end_count == 1);
    int64_t begin = now_ms();
    ck_assert_int_eq(send(fd, prefix, 4, 0), 4);
    run_until(w, w->ends[0].calls == 1);
    for (int i = 0; i < 12; i++) {
        ck_assert_int_eq(send(fd, "x", 1, 0), 1);
        run_for(w, 100);
    }
    ck_assert_int_ge(w->ends[0].calls, 2);
    ck_assert_int_le(w->ends[0].calls, 2 + (now_ms() - begin) / 1000);
    ck_assert_int_eq(w->ends[0].frame_count, 0);
    close(fd);
    run_until(w, w->ends[0].closed);
    world_free(w);
}
END_TEST

START_TEST(bytes_one_at_a_time) {
    struct world *w = world_new();
    const char text[] = "every byte comes alone";
    w->template.frames = w->template.wants = true;
    int fd = raw_connect(w->port[LINK_ELECTION]);
    int64_t begin = now_ms();
    run_until(w, w->end_count == 1);
    struct end *e = &w->ends[0];
    for (int round = 0; round < 3; round++) {
        const uint8_t prefix[4] = {0, 0, 0, sizeof text};
        for (size_t i = 0; i < 4 + sizeof text; i++) {
            ck_assert_int_eq(send(fd, i < 4 ? (const void *)&prefix[i] : &text[i - 4], 1, 0), 1);
            ck_assert_int_eq(e->frame_count, round);
            run_for(w, 1);
        }
        run_until(w, e->frame_count == round + 1);
    }
    ck_assert_uint_eq(e->received, 3 * (4 + sizeof text));
    /* One call when the length is there, one when the frame is; the first of all knows nothing yet. */
    ck_assert_int_le(e->calls, 12 + (now_ms() - begin) / 1000);
    close(fd);
    run_until(w, e->closed);
    world_free(w);
}
END_TEST

START_TEST(what_is_sent_together_arrives_together) {
    struct world *w = world_new();
    struct end e = new_end(w);
    char got[64] = "";
    int server = socket_at(0);
    ck_assert_int_eq(listen(server, 5), 0);
    dial_port(&e, port_of(server));
    run_until(w, e.opened);
    int fd = accept(server, NULL, NULL);
    ops->send(w->a, e.link, "one ", 4);
    ops->send(w->a, e.link, "two ", 4);
    ck_assert_uint_eq(ops->unsent(w->a, e.link), 8);
    ops->send(w->a, e.link, "three", 5);
    run_until(w, ops->unsent(w->a, e.link) == 0);
    ck_assert_int_eq(recv(fd, got, sizeof got, 0), 13);
    ck_assert_str_eq(got, "one two three");
    close(fd);
    close(server);
    run_until(w, e.closed);
    world_free(w);
}
END_TEST

START_TEST(bytes_for_several) {
    struct world *w = world_new();
    struct end one = new_end(w), two = new_end(w);
    struct end *first = connected(&one), *second = connected(&two);
    size_t len = 3 * MIB;
    uint8_t *data = mem_alloc(len);
    for (size_t i = 0; i < len; i++)
        data[i] = pattern(i + 1);
    struct link_bytes *b = link_bytes_new(data, len);
    uint8_t before = pattern(0);
    for (struct end *e = &one; e != NULL; e = e == &one ? &two : NULL) {
        ops->send(w->a, e->link, &before, 1);
        ops->send_shared(w->a, e->link, b);
        ops->send(w->a, e->link, "!", 1);
    }
    mem_free(data);
    ck_assert_uint_eq(b->refs, 3);
    run_until(w, first->received == len + 2 && second->received == len + 2);
    ck_assert_uint_eq(first->got.data[0], before);
    ck_assert_int_eq(memcmp(first->got.data + 1, b->data, len), 0);
    ck_assert_uint_eq(first->got.data[len + 1], '!');
    ck_assert_int_eq(memcmp(first->got.data, second->got.data, len + 2), 0);
    run_until(w, b->refs == 1);
    ops->send_shared(w->a, one.link, b);
    ops->send_shared(w->a, two.link, b);
    end_close(&one);
    run_until(w, b->refs == 2 || b->refs == 1); /* delivered although the link is closed */
    world_free(w);
    ck_assert_uint_eq(b->refs, 1);
    link_bytes_unref(b);
}
END_TEST

/* ------------------------------------------------------------------ tests: closing */

static const enum moment moments[] = {OPENED, RECEIVED, ACCEPTED};

START_TEST(closing_inside_an_event) {
    struct world *w = world_new();
    struct end e = new_end(w);
    enum moment moment = moments[_i];
    e.greeting = "hello from the one who dials";
    w->template.greeting = "hello from the one who accepts";
    if (moment == ACCEPTED)
        w->template.close_in = ACCEPTED;
    else
        e.close_in = moment;
    dial_port(&e, w->port[LINK_QUORUM]);
    run_until(w, w->end_count == 1 && (w->ends[0].closed || e.closed));
    /* What had been sent has arrived. */
    if (moment == ACCEPTED) {
        ck_assert(got_is(&e, w->template.greeting));
        ck_assert_str_eq(e.reason, "closed by the peer");
    } else {
        ck_assert(got_is(&w->ends[0], e.greeting));
        ck_assert_str_eq(w->ends[0].reason, "closed by the peer");
    }
    run_for(w, 50);
    ck_assert(!(e.closed && w->ends[0].closed));
    end_close(&e);
    world_free(w);
}
END_TEST

START_TEST(both_close_at_the_same_time) {
    struct world *w = world_new();
    struct end e = new_end(w);
    struct end *other = connected(&e);
    end_close(&e);
    end_close(other);
    run_for(w, 50);
    ck_assert(!e.closed && !other->closed);
    world_free(w);
}
END_TEST

START_TEST(an_accepted_link_that_nobody_wants_is_closed) {
    struct world *w = world_new();
    struct end e = new_end(w);
    w->template.world = NULL;
    dial_port(&e, w->port[LINK_QUORUM]);
    run_until(w, e.closed);
    ck_assert_int_eq(w->refused, 1);
    ck_assert_str_eq(e.reason, "closed by the peer");
    world_free(w);
}
END_TEST

START_TEST(last_words_are_delivered) {
    struct world *w = world_new();
    struct end e = new_end(w);
    size_t sent = 0, total = 3 * MIB;
    e.keep = false;
    struct end *other = connected(&e);
    while (sent < total) {
        uint8_t piece[4096];
        for (size_t i = 0; i < sizeof piece; i++)
            piece[i] = pattern(sent + i);
        ops->send(w->b, other->link, piece, sizeof piece);
        sent += sizeof piece;
    }
    ops->close(w->b, other->link);
    other->link = NULL;
    run_until(w, e.closed);
    ck_assert_uint_eq(e.received, total);
    world_free(w);
}
END_TEST

/* A close with unread bytes would make the kernel reset the connection and throw away what was sent last. */
START_TEST(last_words_are_delivered_although_the_peer_keeps_talking) {
    struct world *w = world_new();
    struct end e = new_end(w);
    size_t sent = 0;
    w->template.keep = false;
    struct end *other = connected(&e);
    w->b->linger_ms = WAIT_MS; /* however slow this machine is */
    ops->pause(w->b, other->link, true);
    send_pattern(&e, &sent, 8 * MIB);
    run_for(w, 20);
    ops->send(w->b, other->link, "goodbye", 7);
    ops->close(w->b, other->link);
    other->link = NULL;
    while (!e.closed) {
        if (e.link != NULL)
            send_pattern(&e, &sent, SIZE_MAX);
        turn(w);
    }
    ck_assert(got_is(&e, "goodbye"));
    buf_free(&e.got);
    world_free(w);
}
END_TEST

START_TEST(a_peer_that_does_not_read_does_not_keep_a_closed_link) {
    struct world *w = world_new();
    struct end e = new_end(w);
    uint8_t *block = mem_calloc(1, 16 * MIB);
    struct end *other = connected(&e);
    ops->pause(w->b, other->link, true);
    ops->send(w->a, e.link, block, 16 * MIB);
    run_for(w, 50);
    w->a->linger_ms = 200;
    ops->close(w->a, e.link);
    e.link = NULL;
    run_for(w, 300);
    ops->pause(w->b, other->link, false);
    run_until(w, other->closed);
    ck_assert_uint_lt(other->got.len, 16 * MIB);
    mem_free(block);
    world_free(w);
}
END_TEST

START_TEST(many_closed_links_do_not_pile_up) {
    struct world *w = world_new();
    struct end e[100];
    int fds[100], server = socket_at(0);
    ck_assert_int_eq(listen(server, 128), 0);
    for (int i = 0; i < 100; i++) {
        e[i] = new_end(w);
        dial_port(&e[i], port_of(server));
        run_until(w, e[i].opened);
        fds[i] = accept(server, NULL, NULL);
        ops->send(w->a, e[i].link, "x", 1);
        run_until(w, ops->unsent(w->a, e[i].link) == 0);
        end_close(&e[i]);
    }
    /* The first are closed for good by now: writing to them twice fails. */
    int gone = 0;
    run_for(w, 10);
    for (int64_t end = now_ms() + WAIT_MS; gone < 36 && now_ms() < end; usleep(1000))
        for (int i = 0; i < 100; i++)
            if (fds[i] != -1 && send(fds[i], "y", 1, 0) == -1) {
                gone++;
                close(fds[i]);
                fds[i] = -1;
            }
    ck_assert_int_ge(gone, 36);
    for (int i = 0; i < 100; i++)
        if (fds[i] != -1)
            close(fds[i]);
    close(server);
    world_free(w);
}
END_TEST

START_TEST(a_reset_is_told) {
    struct world *w = world_new();
    int fd = raw_connect(w->port[LINK_QUORUM]);
    run_until(w, w->end_count == 1);
    reset(fd);
    run_until(w, w->ends[0].closed);
    ck_assert_str_eq(w->ends[0].reason, strerror(ECONNRESET));
    world_free(w);
}
END_TEST

START_TEST(a_reset_while_sending) {
    struct world *w = world_new();
    uint8_t *block = mem_calloc(1, 16 * MIB);
    int fd = raw_connect(w->port[LINK_QUORUM]);
    run_until(w, w->end_count == 1);
    ops->send(w->b, w->ends[0].link, block, 16 * MIB);
    run_for(w, 20);
    ck_assert_uint_gt(ops->unsent(w->b, w->ends[0].link), 0);
    ck_assert_int_eq(send(fd, "last words", 10, 0), 10);
    reset(fd);
    run_until(w, w->ends[0].closed);
    ck_assert_str_ne(w->ends[0].reason, "");
    ck_assert(got_is(&w->ends[0], "last words"));
    mem_free(block);
    world_free(w);
}
END_TEST

START_TEST(a_reset_of_a_closed_link) {
    struct world *w = world_new();
    struct end e = new_end(w);
    int server = socket_at(0);
    uint8_t *block = mem_calloc(1, 16 * MIB);
    ck_assert_int_eq(listen(server, 5), 0);
    dial_port(&e, port_of(server));
    run_until(w, e.opened);
    int fd = accept(server, NULL, NULL);
    ops->send(w->a, e.link, block, 16 * MIB);
    run_for(w, 20);
    end_close(&e);
    reset(fd);
    run_for(w, 50);
    ck_assert(!e.closed);
    close(server);
    mem_free(block);
    world_free(w);
}
END_TEST

/* ------------------------------------------------------------------ tests: dialling */

/* A port whose queue is full: the kernel leaves new connections without an answer. */
struct hole {
    int server, port;
    int clients[8];
};

static struct hole hole_new(void) {
    struct hole h = {.server = socket_at(0)};
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    h.port = port_of(h.server);
    sin.sin_port = htons((uint16_t)h.port);
    ck_assert_int_eq(listen(h.server, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(h.clients); i++) {
        h.clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(h.clients[i], (void *)&sin, sizeof sin) == -1)
            ck_assert_int_eq(errno, EINPROGRESS);
    }
    /* Of a socket that listens these are the connections that wait, and how many may. */
    struct tcp_info info = {0};
    for (int64_t end = now_ms() + WAIT_MS; info.tcpi_unacked <= info.tcpi_sacked; usleep(1000)) {
        socklen_t len = sizeof info;
        ck_assert_int_lt(now_ms(), end);
        ck_assert_int_eq(getsockopt(h.server, IPPROTO_TCP, TCP_INFO, &info, &len), 0);
    }
    return h;
}

static void hole_close(struct hole *h) {
    for (size_t i = 0; i < ARRAY_LEN(h->clients); i++)
        close(h->clients[i]);
    close(h->server);
}

START_TEST(a_closed_port_is_told) {
    struct world *w = world_new();
    struct end e = new_end(w);
    char reason[128];
    int port = free_port();
    dial_port(&e, port);
    run_until(w, e.closed);
    snprintf(reason, sizeof reason, "127.0.0.1:%d: %s", port, strerror(ECONNREFUSED));
    ck_assert_str_eq(e.reason, reason);
    ck_assert(!e.opened);
    world_free(w);
}
END_TEST

START_TEST(a_failure_at_once_is_told_later) {
    struct world *w = world_new();
    struct end e = new_end(w);
    struct link_address address = {"255.255.255.255", 2888};
    dial_to(&e, &address, 1, DIAL_MS);
    ck_assert(!e.closed);
    run_until(w, e.closed);
    ck_assert_ptr_nonnull(strstr(e.reason, "255.255.255.255:2888: "));
    world_free(w);
}
END_TEST

/* Returns how long it took. */
static int64_t dial_in_vain(void) {
    struct world *w = world_new();
    struct end e = new_end(w), cancelled = new_end(w);
    struct hole h = hole_new();
    struct link_address address = {"127.0.0.1", h.port};
    int64_t begin = now_ms();
    dial_to(&e, &address, 1, 300);
    dial_to(&cancelled, &address, 1, 100);
    end_close(&cancelled);
    run_until(w, e.closed);
    int64_t took = now_ms() - begin;
    ck_assert_str_eq(e.reason, "no connection within 300 ms");
    ck_assert(!cancelled.closed);
    hole_close(&h);
    world_free(w);
    return took;
}

/* The machine may stand still during some of them. */
START_TEST(a_dial_without_an_answer_ends_in_time) {
    int64_t least = INT64_MAX;
    for (int i = 0; i < 5 && least > 1000; i++)
        least = i64_min(least, dial_in_vain());
    ck_assert_int_ge(least, 290);
    ck_assert_int_le(least, 1000);
}
END_TEST

START_TEST(of_several_addresses_the_one_that_answers_wins) {
    struct world *w = world_new();
    struct end e = new_end(w);
    struct hole h = hole_new();
    struct link_address addresses[] = {{"127.0.0.1", free_port()}, {"127.0.0.1", h.port}, {"255.255.255.255", 1},
                                       {"127.0.0.1", w->port[LINK_QUORUM]}, {"127.0.0.1", w->port[LINK_QUORUM]}};
    char peer[64];
    e.greeting = "found";
    dial_to(&e, addresses, ARRAY_LEN(addresses), DIAL_MS);
    run_until(w, w->end_count == 1 && got_is(&w->ends[0], "found"));
    snprintf(peer, sizeof peer, "127.0.0.1:%d", w->port[LINK_QUORUM]);
    ck_assert_str_eq(e.link->peer, peer);
    run_for(w, 50);
    ck_assert_int_eq(w->end_count, 1);
    ck_assert(!e.closed);
    end_close(&e);
    hole_close(&h);
    world_free(w);
}
END_TEST

static int open_ends(const struct world *w) {
    int open = 0;
    for (int i = 0; i < w->end_count; i++)
        open += !w->ends[i].closed;
    return open;
}

START_TEST(two_that_answer_leave_one_link) {
    struct world *w = world_new();
    struct end e = new_end(w);
    struct link_address addresses[] = {{"127.0.0.1", w->port[LINK_ELECTION]}, {"127.0.0.1", w->port[LINK_QUORUM]}};
    dial_to(&e, addresses, 2, DIAL_MS);
    run_until(w, e.opened && w->end_count > 0);
    /* The other one is there at once, as a rule: it can also have been given up before the kernel came to answer it. */
    for (int64_t end = now_ms() + 1000; w->end_count < 2 && now_ms() < end;)
        turn(w);
    run_until(w, open_ends(w) == 1);
    run_for(w, 20);
    ck_assert(e.opened && !e.closed);
    ck_assert_int_eq(open_ends(w), 1);
    end_close(&e);
    world_free(w);
}
END_TEST

/* ------------------------------------------------------------------ tests: names */

/* "here" is 127.0.0.1, unless the name servers are gone or hang. */
static atomic_int servers_gone, servers_hang, hanging;

static int fake_lookup(const char *host, struct names_address *out, const char **error) {
    atomic_fetch_add(&hanging, 1);
    while (atomic_load(&servers_hang))
        usleep(1000);
    atomic_fetch_sub(&hanging, 1);
    if (strcmp(host, "here") == 0 && !atomic_load(&servers_gone))
        return names_numeric("127.0.0.1", out);
    *error = "nobody knows it";
    return 0;
}

static void wait_for_threads(void) {
    atomic_store(&servers_hang, 0);
    while (atomic_load(&hanging) > 0)
        usleep(1000);
    usleep(20000);
}

START_TEST(localhost_is_dialled) {
    struct world *w = world_new();
    struct end e = new_end(w);
    struct link_address address = {"localhost", w->port[LINK_QUORUM]};
    w->template.echo = true;
    e.greeting = "by name";
    dial_to(&e, &address, 1, DIAL_MS);
    ck_assert(strncmp(e.link->peer, "localhost:", 10) == 0);
    run_until(w, got_is(&e, "by name"));
    ck_assert(strncmp(e.link->peer, "127.0.0.1:", 10) == 0);
    end_close(&e);
    world_free(w);
}
END_TEST

START_TEST(an_unknown_name_is_told) {
    struct world *w = world_new_with(fake_lookup);
    struct end e = new_end(w);
    struct link_address addresses[] = {{"elsewhere", 2888}, {"here", w->port[LINK_QUORUM]}};
    dial_to(&e, addresses, 1, DIAL_MS);
    run_until(w, e.closed);
    ck_assert_str_eq(e.reason, "the name elsewhere could not be looked up: nobody knows it");
    /* One that is known is enough. */
    e = new_end(w);
    dial_to(&e, addresses, 2, DIAL_MS);
    run_until(w, e.opened);
    end_close(&e);
    world_free(w);
}
END_TEST

START_TEST(a_known_peer_is_found_without_name_servers) {
    struct world *w = world_new_with(fake_lookup);
    struct end e = new_end(w);
    struct link_address address = {"here", w->port[LINK_QUORUM]};
    dial_to(&e, &address, 1, DIAL_MS);
    run_until(w, e.opened);
    end_close(&e);

    atomic_store(&servers_gone, 1);
    e = new_end(w);
    dial_to(&e, &address, 1, DIAL_MS);
    run_until(w, e.opened || e.closed);
    ck_assert(e.opened);
    end_close(&e);
    atomic_store(&servers_gone, 0);

    /* The answer does not come: the old addresses are tried without it. */
    atomic_store(&servers_hang, 1);
    e = new_end(w);
    int64_t begin = now_ms();
    dial_to(&e, &address, 1, WAIT_MS);
    run_until(w, e.opened || e.closed);
    ck_assert(e.opened);
    ck_assert_int_lt(now_ms() - begin, WAIT_MS - 5000);
    end_close(&e);
    world_free(w);
    wait_for_threads();
}
END_TEST

START_TEST(a_look_up_that_hangs_ends_in_time) {
    struct world *w = world_new_with(fake_lookup);
    struct end e = new_end(w);
    struct link_address address = {"here", w->port[LINK_QUORUM]};
    atomic_store(&servers_hang, 1);
    dial_to(&e, &address, 1, 200);
    run_until(w, e.closed);
    ck_assert_str_eq(e.reason, "the name could not be looked up within 200 ms");
    world_free(w);
    wait_for_threads();
}
END_TEST

/* ------------------------------------------------------------------ tests: own ports */

START_TEST(a_closed_port_accepts_nothing_more) {
    struct world *w = world_new();
    struct end e = new_end(w), late = new_end(w);
    struct end *other = connected(&e);
    ops->listen(w->b, LINK_QUORUM, true); /* a second time does no harm */
    ops->listen(w->b, LINK_QUORUM, false);
    ops->listen(w->b, LINK_QUORUM, false);
    ck_assert_int_eq(peers_listening(w->b, LINK_QUORUM), 0);
    dial_port(&late, w->port[LINK_QUORUM]);
    run_until(w, late.closed);
    ck_assert(!e.closed && !other->closed); /* links that are there stay */
    ops->listen(w->b, LINK_QUORUM, true);
    ck_assert_int_eq(peers_listening(w->b, LINK_QUORUM), 1);
    late = new_end(w);
    connected(&late);
    end_close(&late);
    end_close(&e);
    world_free(w);
}
END_TEST

START_TEST(a_port_that_is_taken_is_waited_for) {
    struct world *w = world_new();
    struct end e = new_end(w);
    int taken = socket_at(0);
    ck_assert_int_eq(listen(taken, 1), 0);
    struct link_address address = {"127.0.0.1", port_of(taken)};
    w->b->retry_ms = 50;
    peers_set_addresses(w->b, LINK_QUORUM, &address, 1, false);
    ck_assert_int_eq(peers_listening(w->b, LINK_QUORUM), 0);
    run_for(w, 120);
    ck_assert_int_eq(peers_listening(w->b, LINK_QUORUM), 0);
    close(taken);
    run_until(w, peers_listening(w->b, LINK_QUORUM) == 1);
    w->port[LINK_QUORUM] = address.port;
    connected(&e);
    end_close(&e);
    world_free(w);
}
END_TEST

static void count_up(void *ctx, const char *reason) {
    (void)reason;
    ++*(int *)ctx;
}

START_TEST(a_port_that_stays_taken_is_given_up) {
    struct world *w = world_new();
    int taken = socket_at(0), given_up = 0;
    void *ctx = w->b->ctx;
    ck_assert_int_eq(listen(taken, 1), 0);
    struct link_address address = {"127.0.0.1", port_of(taken)};
    w->b->retry_ms = 20;
    w->b->ctx = &given_up;
    peers_limit_attempts(w->b, LINK_ELECTION, 3, count_up);
    peers_set_addresses(w->b, LINK_QUORUM, &address, 1, false); /* of this one nobody said so */
    run_for(w, 150);
    ck_assert_int_eq(given_up, 0);
    peers_limit_attempts(w->b, LINK_QUORUM, 3, count_up);
    peers_set_addresses(w->b, LINK_QUORUM, &address, 1, false);
    ck_assert_int_eq(given_up, 0);
    run_until(w, given_up == 1);
    run_for(w, 100);
    ck_assert_int_eq(given_up, 1);
    w->b->ctx = ctx;
    close(taken);
    world_free(w);
}
END_TEST

START_TEST(the_other_side_is_watched) {
    struct world *w = world_new();
    struct end e = new_end(w);
    const struct end *other = connected(&e);
    const struct link *links[] = {e.link, other->link};
    for (size_t i = 0; i < ARRAY_LEN(links); i++) {
        int on = 0;
        socklen_t len = sizeof on;
        const struct peer *l = CONTAINER_OF(links[i], const struct peer, link);
        ck_assert_int_eq(getsockopt(bufferevent_getfd(l->bev), SOL_SOCKET, SO_KEEPALIVE, &on, &len), 0);
        ck_assert_int_eq(on, 1);
    }
    end_close(&e);
    world_free(w);
}
END_TEST

START_TEST(all_addresses_or_a_name) {
    struct world *w = world_new();
    struct end e = new_end(w);
    struct link_address address[] = {{"no-such-host.invalid", free_port()}, {"neither.invalid", 0}};
    address[1].port = address[0].port;
    peers_set_addresses(w->b, LINK_QUORUM, address, 2, true);
    ck_assert_int_ge(peers_listening(w->b, LINK_QUORUM), 1);
    ck_assert_int_le(peers_listening(w->b, LINK_QUORUM), 2);
    w->port[LINK_QUORUM] = address[0].port;
    connected(&e);
    end_close(&e);
    address[0] = (struct link_address){"localhost", free_port()};
    peers_set_addresses(w->b, LINK_QUORUM, address, 1, false);
    run_until(w, peers_listening(w->b, LINK_QUORUM) > 0);
    e = new_end(w);
    w->port[LINK_QUORUM] = address[0].port;
    connected(&e);
    end_close(&e);
    world_free(w);
}
END_TEST

/* Descriptors run out while somebody knocks: he is let in when there are some again. */
START_TEST(accepting_waits_for_descriptors) {
    struct rlimit old, low;
    const char *preload = getenv("LD_PRELOAD");
    if (preload != NULL && strstr(preload, "vgpreload") != NULL)
        return; /* valgrind accepts and closes what the limit forbids */
    struct world *w = world_new();
    int fd = raw_connect(w->port[LINK_QUORUM]);
    int next = dup(fd);
    close(next);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)next;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    int64_t begin = now_ms();
    int turns = 0;
    while (now_ms() - begin < 300) {
        turn(w);
        turns++;
    }
    int accepted = w->end_count;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    ck_assert_int_eq(accepted, 0);
    ck_assert_int_lt(turns, 200); /* it does not spin */
    run_until(w, w->end_count == 1);
    close(fd);
    world_free(w);
}
END_TEST

START_TEST(many_who_knock_are_let_in) {
    struct world *w = world_new();
    int fds[120];
    w->template.world = NULL;
    for (int i = 0; i < 120; i++)
        fds[i] = raw_connect(w->port[i % 2]);
    run_until(w, w->refused == 120);
    for (int i = 0; i < 120; i++)
        close(fds[i]);
    world_free(w);
}
END_TEST

START_TEST(the_end_with_everything_under_way) {
    struct world *w = world_new_with(fake_lookup);
    struct end open = new_end(w), dialling = new_end(w), asking = new_end(w), lingering = new_end(w), paused = new_end(w);
    struct hole h = hole_new();
    struct link_address hole = {"127.0.0.1", h.port}, name = {"here", h.port};
    uint8_t *block = mem_calloc(1, 8 * MIB);
    struct end *other = connected(&lingering);
    ops->pause(w->b, other->link, true);
    ops->send(w->a, lingering.link, block, 8 * MIB);
    connected(&open);
    struct end *third = connected(&paused);
    ops->send(w->a, open.link, "not sent yet", 12);
    ops->pause(w->b, third->link, true);
    ops->send(w->a, paused.link, block, MIB);
    run_for(w, 10);
    end_close(&lingering);
    atomic_store(&servers_hang, 1);
    dial_to(&dialling, &hole, 1, DIAL_MS);
    dial_to(&asking, &name, 1, DIAL_MS);
    ops->pause(w->b, third->link, false);
    ops->send(w->a, open.link, "last words", 10);
    peers_free(w->a);
    w->a = NULL;
    run_until(w, w->ends[1].closed);
    ck_assert(got_is(&w->ends[1], "not sent yetlast words"));
    ck_assert(!open.closed && !dialling.closed && !asking.closed && !lingering.closed);
    mem_free(block);
    hole_close(&h);
    world_free(w);
    wait_for_threads();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("peers");
    TCase *tc = tcase_create("peers");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, both_ports_and_an_echo);
    tcase_add_test(tc, large_transfers_both_ways_with_pauses);
    tcase_add_test(tc, a_large_frame_is_shown_when_it_is_wanted);
    tcase_add_test(tc, what_a_pause_leaves_over_comes_after_it);
    tcase_add_test(tc, a_slow_frame_is_a_sign_of_life);
    tcase_add_test(tc, bytes_one_at_a_time);
    tcase_add_test(tc, what_is_sent_together_arrives_together);
    tcase_add_test(tc, bytes_for_several);
    tcase_add_loop_test(tc, closing_inside_an_event, 0, (int)ARRAY_LEN(moments));
    tcase_add_test(tc, both_close_at_the_same_time);
    tcase_add_test(tc, an_accepted_link_that_nobody_wants_is_closed);
    tcase_add_test(tc, last_words_are_delivered);
    tcase_add_test(tc, last_words_are_delivered_although_the_peer_keeps_talking);
    tcase_add_test(tc, a_peer_that_does_not_read_does_not_keep_a_closed_link);
    tcase_add_test(tc, many_closed_links_do_not_pile_up);
    tcase_add_test(tc, a_reset_is_told);
    tcase_add_test(tc, a_reset_while_sending);
    tcase_add_test(tc, a_reset_of_a_closed_link);
    tcase_add_test(tc, a_closed_port_is_told);
    tcase_add_test(tc, a_failure_at_once_is_told_later);
    tcase_add_test(tc, a_dial_without_an_answer_ends_in_time);
    tcase_add_test(tc, of_several_addresses_the_one_that_answers_wins);
    tcase_add_test(tc, two_that_answer_leave_one_link);
    tcase_add_test(tc, localhost_is_dialled);
    tcase_add_test(tc, an_unknown_name_is_told);
    tcase_add_test(tc, a_known_peer_is_found_without_name_servers);
    tcase_add_test(tc, a_look_up_that_hangs_ends_in_time);
    tcase_add_test(tc, a_closed_port_accepts_nothing_more);
    tcase_add_test(tc, a_port_that_is_taken_is_waited_for);
    tcase_add_test(tc, a_port_that_stays_taken_is_given_up);
    tcase_add_test(tc, the_other_side_is_watched);
    tcase_add_test(tc, all_addresses_or_a_name);
    tcase_add_test(tc, accepting_waits_for_descriptors);
    tcase_add_test(tc, many_who_knock_are_let_in);
    tcase_add_test(tc, the_end_with_everything_under_way);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
