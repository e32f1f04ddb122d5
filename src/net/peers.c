/* Open links.
 *
 * Reading. A bufferevent of libevent 2.1 reads 4 KiB per turn, whatever it is told. That is one turn of the loop, with all it
 * does before sleep, for every 4 KiB of a snapshot. So when it has read as much, the rest is fetched from the socket right behind
 * it, TURN_BYTES at most; the bytes of both go into one contiguous buffer of ours. Bytes are moved in it only when a frame has
 * been used up, and the owner is called only when it has what it wants: a large frame costs its length, once.
 *
 * Writing. A bufferevent waits until its socket is writable, which is two changes of the poll set and a turn for each write. So
 * what is sent in a turn is written at its end (peers_flush), and only what the socket does not take is left to the bufferevent.
 *
 * Closing. A socket that is closed while unread bytes are there makes the kernel reset the connection, and the peer may lose what
 * was sent last. So a closed link lingers: see enum peer_state. Its owner has nothing more to do with it. */
#include "net/peers.h"

#include <errno.h>
#include <event2/buffer.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/net.h"
#include "net/peers_internal.h"

/* Of one link, in one turn. */
#define TURN_BYTES ((size_t)256 * 1024)
#define CHUNK_BYTES ((size_t)64 * 1024)
/* What a bufferevent reads at once: if it got less there is no more. */
#define BUFFEREVENT_READ_BYTES 4096
#define KEPT_BYTES ((size_t)64 * 1024)
/* A frame that is not complete is shown so often nevertheless. */
#define SHOW_MS 1000
#define LINGER_MS 2000
#define RETRY_MS 1000
#define LINGERING_MAX 64
/* A peer whose machine has gone says nothing more: it is noticed after IDLE + PROBES * INTERVAL seconds. */
#define KEEPALIVE_IDLE 30
#define KEEPALIVE_INTERVAL 10
#define KEEPALIVE_PROBES 3

static struct peer *peer_of(struct link *l) { return CONTAINER_OF(l, struct peer, link); }

void peer_timer(struct event *timer, int64_t ms) {
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(timer, &tv);
}

/* ------------------------------------------------------------------ addresses */

void peer_address_set_port(struct names_address *a, int port) {
    if (a->sa.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&a->sa)->sin6_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in *)(void *)&a->sa)->sin_port = htons((uint16_t)port);
}

void peer_address_text(const struct sockaddr *sa, char *out, size_t size) {
    char text[INET6_ADDRSTRLEN] = "?";
    if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)sa;
        evutil_inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
        snprintf(out, size, "[%s]:%d", text, ntohs(in6->sin6_port));
    } else {
        const struct sockaddr_in *in = (const void *)sa;
        evutil_inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
        snprintf(out, size, "%s:%d", text, ntohs(in->sin_port));
    }
}

/* ------------------------------------------------------------------ life of a link */

void peer_free(struct peer *l) {
    struct peers *p = l->peers;
    zassert(!l->busy);
    if (l->dial != NULL)
        dial_free(l);
    if (l->bev != NULL)
        bufferevent_free(l->bev);
    event_free(l->timer);
    p->accepted_count -= l->accepted;
    p->lingering_count -= !list_unlinked(&l->in_lingering);
    list_remove(&l->in_links);
    list_remove(&l->in_lingering);
    list_remove(&l->in_unflushed);
    buf_free(&l->in);
    mem_free(l);
}

void peer_before_event(struct peer *l) {
    if (l->peers->before_event != NULL)
        l->peers->before_event(l->peers->ctx);
}

void peers_before_events(struct peers *p, void (*before)(void *ctx)) { p->before_event = before; }

void peer_fail(struct peer *l, const char *reason) {
    zassert(!l->busy);
    zassert(l->state == PEER_DIALLING || l->state == PEER_OPEN);
    l->state = PEER_GONE;
    log_debug("the link with %s has ended: %s", l->link.peer, reason);
    peer_before_event(l);
    l->busy = true;
    l->link.events->closed(&l->link, reason);
    l->busy = false;
    peer_free(l);
}

/* Errors are left to the bufferevent, too: it tells them as events. */
static void write_out(struct peer *l) {
    struct evbuffer *output = bufferevent_get_output(l->bev);
    list_remove(&l->in_unflushed);
    if ((bufferevent_get_enabled(l->bev) & EV_WRITE) != 0 || evbuffer_get_length(output) == 0)
        return;
    evbuffer_unfreeze(output, 1); /* a bufferevent keeps others from taking bytes off its output */
    evbuffer_write_atmost(output, bufferevent_getfd(l->bev), (ev_ssize_t)TURN_BYTES);
    evbuffer_freeze(output, 1);
    if (evbuffer_get_length(output) > 0)
        bufferevent_enable(l->bev, EV_WRITE);
}

void peers_flush(struct peers *p) {
    if (list_empty(&p->unflushed))
        return;
    evtimer_del(p->flush_event);
    while (!list_empty(&p->unflushed))
        write_out(LIST_FIRST(&p->unflushed, struct peer, in_unflushed));
}

static void on_flush(evutil_socket_t fd, short what, void *ctx) {
    (void)fd;
    (void)what;
    peers_flush(ctx);
}

static void flush_later(struct peer *l) {
    if (list_empty(&l->peers->unflushed))
        peer_timer(l->peers->flush_event, 0);
    if (list_unlinked(&l->in_unflushed))
        list_push(&l->peers->unflushed, &l->in_unflushed);
}

static void discard(struct peer *l) {
    struct evbuffer *input = bufferevent_get_input(l->bev);
    evbuffer_drain(input, evbuffer_get_length(input));
}

/* Everything that was sent has left: the peer sees the end. */
static void shut(struct peer *l) {
    if (!l->shut)
        shutdown(bufferevent_getfd(l->bev), SHUT_WR);
    l->shut = true;
}

static void linger(struct peer *l) {
    struct peers *p = l->peers;
    struct peer *oldest;
    l->state = PEER_LINGERING;
    LIST_FOREACH(oldest, &p->lingering, struct peer, in_lingering) {
        if (p->lingering_count >= LINGERING_MAX && !oldest->busy)
            peer_free(oldest);
    }
    list_push(&p->lingering, &l->in_lingering);
    p->lingering_count++;
    discard(l);
    bufferevent_enable(l->bev, EV_READ);
    peer_timer(l->timer, p->linger_ms);
    write_out(l);
    if (evbuffer_get_length(bufferevent_get_output(l->bev)) == 0)
        shut(l);
}

static void peer_close(void *ctx, struct link *link) {
    struct peer *l = peer_of(link);
    (void)ctx;
    if (l->state == PEER_DIALLING) {
        zassert(!l->busy);
        l->state = PEER_GONE;
        peer_free(l);
        return;
    }
    zassert(l->state == PEER_OPEN);
    linger(l);
}

/* ------------------------------------------------------------------ bytes that arrive */

static void *room_for(struct peer *l, size_t size) {
    if (l->start == l->in.len) {
        buf_clear(&l->in);
        l->start = 0;
    } else if (l->start > 0 && l->in.cap - l->in.len < size) {
        buf_consume(&l->in, l->start);
        l->start = 0;
    }
    return buf_tail(&l->in, size);
}

/* Returns 0 or the errno of a connection that has failed. The end of the connection is left for the bufferevent to see. */
static int fetch(struct peer *l) {
    struct evbuffer *input = bufferevent_get_input(l->bev);
    size_t got = evbuffer_get_length(input);
    if (got > 0) {
        evbuffer_remove(input, room_for(l, got), got);
        l->in.len += got;
    }
    bool more = got >= BUFFEREVENT_READ_BYTES;
    while (more && got < TURN_BYTES) {
        size_t size = size_min(CHUNK_BYTES, TURN_BYTES - got);
        ssize_t n = recv(bufferevent_getfd(l->bev), room_for(l, size), size, 0);
        if (n == -1 && errno != EAGAIN && errno != EINTR)
            return errno;
        more = n == (ssize_t)size;
        if (n > 0) {
            got += (size_t)n;
            l->in.len += (size_t)n;
        }
    }
    return 0;
}

static void hand_out(struct peer *l) {
    size_t len = l->in.len - l->start;
    if (l->state != PEER_OPEN || l->paused || len == 0)
        return;
    /* Over a slow line a large frame takes longer than a peer may be silent. */
    int64_t now_ms = mono_ms(net_now().mono);
    if (len < l->link.want && now_ms - l->shown_ms < SHOW_MS)
        return;
    l->shown_ms = now_ms;
    l->link.want = 0;
    peer_before_event(l);
    l->busy = true;
    size_t used = l->link.events->received(&l->link, l->in.data + l->start, len);
    l->busy = false;
    if (l->state != PEER_OPEN)
        return;
    zassert(used <= len);
    l->start += used;
    if (l->start == l->in.len && l->in.cap > KEPT_BYTES) {
        buf_free(&l->in);
        l->start = 0;
    }
}

static void on_read(struct bufferevent *bev, void *ctx) {
    struct peer *l = ctx;
    (void)bev;
    if (l->state == PEER_LINGERING) {
        discard(l);
        return;
    }
    int err = fetch(l);
    hand_out(l);
    if (err != 0 && l->state == PEER_OPEN)
        peer_fail(l, strerror(err));
}

static void on_drained(struct bufferevent *bev, void *ctx) {
    struct peer *l = ctx;
    bufferevent_disable(bev, EV_WRITE);
    if (l->state == PEER_LINGERING)
        shut(l);
}

static void on_event(struct bufferevent *bev, short what, void *ctx) {
    struct peer *l = ctx;
    int err = EVUTIL_SOCKET_ERROR();
    (void)bev;
    if (l->state == PEER_OPEN && (what & BEV_EVENT_WRITING) != 0 && !l->paused) {
        /* What the peer said before it went may still be there. */
        ssize_t n = recv(bufferevent_getfd(l->bev), room_for(l, CHUNK_BYTES), CHUNK_BYTES, 0);
        l->in.len += n > 0 ? (size_t)n : 0;
        hand_out(l);
    }
    if (l->state == PEER_OPEN)
        peer_fail(l, (what & BEV_EVENT_EOF) != 0 ? "closed by the peer" : strerror(err));
    else
        peer_free(l);
}

static void on_timer(evutil_socket_t fd, short what, void *ctx) {
    struct peer *l = ctx;
    (void)fd;
    (void)what;
    if (l->state == PEER_DIALLING)
        dial_ended(l);
    else if (l->state == PEER_LINGERING)
        peer_free(l);
    else
        hand_out(l);
}

/* ------------------------------------------------------------------ beginning of a link */

static void set_options(int fd) {
    int on = 1, idle = KEEPALIVE_IDLE, interval = KEEPALIVE_INTERVAL, probes = KEEPALIVE_PROBES;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

struct peer *peer_new(struct peers *p) {
    struct peer *l = mem_calloc(1, sizeof *l);
    l->peers = p;
    l->state = PEER_DIALLING;
    l->timer = evtimer_new(p->base, on_timer, l);
    if (l->timer == NULL)
        log_fatal("out of memory: a timer");
    list_push(&p->links, &l->in_links);
    list_init(&l->in_lingering);
    list_init(&l->in_unflushed);
    return l;
}

bool peer_attach(struct peer *l, int fd, const struct sockaddr *address) {
    zassert(l->bev == NULL);
    l->bev = bufferevent_socket_new(l->peers->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (l->bev == NULL)
        return false;
    set_options(fd);
    peer_address_text(address, l->link.peer, sizeof l->link.peer);
    bufferevent_setcb(l->bev, on_read, on_drained, on_event, l);
    bufferevent_set_max_single_write(l->bev, TURN_BYTES);
    bufferevent_enable(l->bev, EV_READ);
    bufferevent_disable(l->bev, EV_WRITE);
    l->state = PEER_OPEN;
    return true;
}

void peer_announce(struct peer *l, enum link_port port) {
    peer_before_event(l);
    l->busy = true;
    l->peers->accepted(l->peers->ctx, port, &l->link);
    l->busy = false;
    if (l->state == PEER_OPEN && l->link.events == NULL)
        linger(l);
}

static void peer_send(void *ctx, struct link *link, const void *data, size_t len) {
    struct peer *l = peer_of(link);
    (void)ctx;
    zassert(l->state == PEER_OPEN);
    if (bufferevent_write(l->bev, data, len) != 0)
        log_fatal("out of memory: %zu bytes for %s", len, l->link.peer);
    flush_later(l);
}

static void bytes_left(const void *data, size_t len, void *ctx) {
    (void)data;
    (void)len;
    link_bytes_unref(ctx);
}

static void peer_send_shared(void *ctx, struct link *link, struct link_bytes *b) {
    struct peer *l = peer_of(link);
    (void)ctx;
    zassert(l->state == PEER_OPEN);
    b->refs++;
    if (evbuffer_add_reference(bufferevent_get_output(l->bev), b->data, b->len, bytes_left, b) != 0)
        log_fatal("out of memory: %zu bytes for %s", b->len, l->link.peer);
    flush_later(l);
}

static size_t peer_unsent(void *ctx, const struct link *link) {
    const struct peer *l = CONTAINER_OF(link, const struct peer, link);
    (void)ctx;
    return l->bev == NULL ? 0 : evbuffer_get_length(bufferevent_get_output(l->bev));
}

static void peer_pause(void *ctx, struct link *link, bool paused) {
    struct peer *l = peer_of(link);
    (void)ctx;
    zassert(l->state == PEER_OPEN);
    if (l->paused == paused)
        return;
    l->paused = paused;
    if (paused) {
        bufferevent_disable(l->bev, EV_READ);
        return;
    }
    bufferevent_enable(l->bev, EV_READ);
    if (l->in.len > l->start)
        peer_timer(l->timer, 0);
}

const struct link_ops peers_link_ops = {.dial = peer_dial,
                                        .send = peer_send,
                                        .send_shared = peer_send_shared,
                                        .close = peer_close,
                                        .unsent = peer_unsent,
                                        .pause = peer_pause,
                                        .listen = peer_listen};

/* ------------------------------------------------------------------ all of them */

static void on_names(evutil_socket_t fd, short what, void *ctx) {
    struct peers *p = ctx;
    (void)fd;
    (void)what;
    names_collect(p->names);
}

struct peers *peers_new(struct event_base *base, names_function *lookup, peers_accepted *accepted, void *ctx) {
    struct names *names = names_new(lookup);
    if (names == NULL)
        return NULL;
    struct peers *p = mem_calloc(1, sizeof *p);
    p->base = base;
    p->names = names;
    p->accepted = accepted;
    p->ctx = ctx;
    p->linger_ms = LINGER_MS;
    p->retry_ms = RETRY_MS;
    list_init(&p->links);
    list_init(&p->lingering);
    list_init(&p->unflushed);
    p->flush_event = evtimer_new(base, on_flush, p);
    p->names_event = event_new(base, names_fd(names), EV_READ | EV_PERSIST, on_names, p);
    if (p->names_event == NULL || p->flush_event == NULL)
        log_fatal("out of memory: an event");
    event_add(p->names_event, NULL);
    return p;
}

void peers_free(struct peers *p) {
    struct peer *l;
    peer_ports_free(p);
    LIST_FOREACH(l, &p->links, struct peer, in_links) {
        if (l->bev != NULL)
            write_out(l);
        peer_free(l);
    }
    event_free(p->flush_event);
    event_free(p->names_event);
    names_free(p->names);
    mem_free(p);
}
