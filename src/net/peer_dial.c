/* Links on their way. Every address, and every address that a name stands for, is tried at the same time; the first connection
 * wins and the others are dropped.
 *
 * Name servers may be slow or gone while the peers are not: after PATIENCE_MS without an answer, the addresses that the name had
 * last time are tried, too. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/peers_internal.h"

#define ATTEMPTS_MAX 16
#define PATIENCE_MS 500

/* One of the addresses asked for; a name until it is answered. */
struct target {
    struct names_waiter waiter;
    struct peer *peer;
    bool waiting;
    int port;
    char *host;
};

struct attempt {
    struct peer *peer;
    int fd; /* -1 = over */
    struct event *ev;
    struct names_address address;
};

struct dial {
    struct event *patience;
    int64_t timeout_ms;
    int waiting, running; /* targets without an answer, attempts under way */
    char error[192];      /* of the last that failed */
    struct attempt attempts[ATTEMPTS_MAX];
    int attempt_count;
    int target_count;
    struct target targets[];
};

void dial_free(struct peer *l) {
    struct dial *d = l->dial;
    for (int i = 0; i < d->target_count; i++) {
        if (d->targets[i].waiting)
            names_forget(&d->targets[i].waiter);
        mem_free(d->targets[i].host);
    }
    for (int i = 0; i < d->attempt_count; i++) {
        if (d->attempts[i].ev != NULL)
            event_free(d->attempts[i].ev);
        if (d->attempts[i].fd != -1)
            close(d->attempts[i].fd);
    }
    if (d->patience != NULL)
        event_free(d->patience);
    mem_free(d);
    l->dial = NULL;
}

/* If nothing is left to hope for the owner hears it soon, not now: this may be inside peer_dial. */
static void check_hopeless(struct peer *l) {
    if (l->dial->running == 0 && l->dial->waiting == 0)
        peer_timer(l->timer, 0);
}

void dial_ended(struct peer *l) {
    char reason[256];
    const struct dial *d = l->dial;
    if (d->running > 0)
        snprintf(reason, sizeof reason, "no connection within %lld ms", (long long)d->timeout_ms);
    else if (d->waiting > 0)
        snprintf(reason, sizeof reason, "the name could not be looked up within %lld ms", (long long)d->timeout_ms);
    else
        snprintf(reason, sizeof reason, "%s", d->error);
    dial_free(l);
    peer_fail(l, reason);
}

/* ------------------------------------------------------------------ attempts */

static void attempt_failed(struct peer *l, const struct names_address *address, int err) {
    char text[64];
    peer_address_text((const void *)&address->sa, text, sizeof text);
    snprintf(l->dial->error, sizeof l->dial->error, "%s: %s", text, strerror(err));
}

/* A port of our own that nobody listens on can be connected with itself, if the kernel happens to choose it as the source. */
static bool is_connected_with_itself(int fd, const struct names_address *address) {
    struct sockaddr_storage own;
    socklen_t len = sizeof own;
    return getsockname(fd, (void *)&own, &len) == 0 && evutil_sockaddr_cmp((void *)&own, (const void *)&address->sa, 1) == 0;
}

static int result_of(const struct attempt *a) {
    int err = 0;
    socklen_t len = sizeof err;
    if (getsockopt(a->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1)
        return errno;
    return err == 0 && is_connected_with_itself(a->fd, &a->address) ? ECONNREFUSED : err;
}

static void on_connected(evutil_socket_t fd, short what, void *ctx) {
    struct attempt *a = ctx;
    struct peer *l = a->peer;
    int err = result_of(a);
    (void)what;
    if (err == 0) {
        struct names_address address = a->address;
        event_del(a->ev);
        a->fd = -1;
        if (!peer_attach(l, fd, (const void *)&address.sa))
            log_fatal("out of memory: a link");
        evtimer_del(l->timer);
        dial_free(l);
        l->busy = true;
        peer_before_event(l);
        l->link.events->opened(&l->link);
        l->busy = false;
        return;
    }
    attempt_failed(l, &a->address, err);
    event_free(a->ev);
    close(a->fd);
    a->ev = NULL;
    a->fd = -1;
    l->dial->running--;
    check_hopeless(l);
}

static bool is_tried(const struct dial *d, const struct names_address *address) {
    for (int i = 0; i < d->attempt_count; i++)
        if (evutil_sockaddr_cmp((const void *)&d->attempts[i].address.sa, (const void *)&address->sa, 1) == 0)
            return true;
    return false;
}

static void try_address(struct peer *l, const struct names_address *to, int port) {
    struct dial *d = l->dial;
    struct names_address address = *to;
    peer_address_set_port(&address, port);
    if (d->attempt_count == ATTEMPTS_MAX || is_tried(d, &address))
        return;
    struct attempt *a = &d->attempts[d->attempt_count++];
    *a = (struct attempt){.peer = l, .address = address};
    a->fd = socket(address.sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (a->fd == -1) {
        attempt_failed(l, &address, errno);
        return;
    }
    if (connect(a->fd, (const void *)&address.sa, address.len) == -1 && errno != EINPROGRESS) {
        attempt_failed(l, &address, errno);
        close(a->fd);
        a->fd = -1;
        return;
    }
    a->ev = event_new(l->peers->base, a->fd, EV_WRITE, on_connected, a);
    if (a->ev == NULL)
        log_fatal("out of memory: an event");
    event_add(a->ev, NULL);
    d->running++;
}

/* ------------------------------------------------------------------ names */

static void on_name(struct names_waiter *w, const struct names_address *addresses, int count, const char *error) {
    struct target *t = CONTAINER_OF(w, struct target, waiter);
    struct peer *l = t->peer;
    t->waiting = false;
    l->dial->waiting--;
    if (error != NULL && count > 0)
        log_debug("the name %s could not be looked up: %s; its last addresses are tried", t->host, error);
    else if (error != NULL)
        snprintf(l->dial->error, sizeof l->dial->error, "the name %.100s could not be looked up: %s", t->host, error);
    for (int i = 0; i < count; i++)
        try_address(l, &addresses[i], t->port);
    check_hopeless(l);
}

static void try_known(struct target *t) {
    int count;
    const struct names_address *known = names_known(t->peer->peers->names, t->host, &count);
    for (int i = 0; known != NULL && i < count; i++)
        try_address(t->peer, &known[i], t->port);
}

static void on_patience(evutil_socket_t fd, short what, void *ctx) {
    struct peer *l = ctx;
    struct dial *d = l->dial;
    (void)fd;
    (void)what;
    for (int i = 0; i < d->target_count; i++)
        if (d->targets[i].waiting)
            try_known(&d->targets[i]);
}

static void start_target(struct peer *l, struct target *t) {
    struct names_address address;
    if (names_numeric(t->host, &address)) {
        try_address(l, &address, t->port);
        return;
    }
    t->waiting = true;
    t->waiter.done = on_name;
    l->dial->waiting++;
    names_ask(l->peers->names, t->host, &t->waiter);
}

struct link *peer_dial(void *ctx, const struct link_address *addresses, int count, int64_t timeout_ms,
                       const struct link_events *events, void *owner) {
    struct peer *l = peer_new(ctx);
    struct dial *d = mem_calloc(1, sizeof *d + (size_t)count * sizeof d->targets[0]);
    zassert(count > 0 && timeout_ms > 0);
    l->link.events = events;
    l->link.owner = owner;
    l->dial = d;
    d->timeout_ms = timeout_ms;
    d->target_count = count;
    bool v6 = strchr(addresses[0].host, ':') != NULL;
    snprintf(l->link.peer, sizeof l->link.peer, v6 ? "[%.48s]:%d" : "%.48s:%d", addresses[0].host, addresses[0].port);
    peer_timer(l->timer, timeout_ms);
    for (int i = 0; i < count; i++) {
        d->targets[i] = (struct target){.peer = l, .port = addresses[i].port, .host = mem_strdup(addresses[i].host)};
        start_target(l, &d->targets[i]);
    }
    if (d->waiting > 0) {
        d->patience = evtimer_new(l->peers->base, on_patience, l);
        if (d->patience == NULL)
            log_fatal("out of memory: a timer");
        peer_timer(d->patience, PATIENCE_MS);
    }
    check_hopeless(l);
    return &l->link;
}
