/* Our own ports. While one is open, each of its addresses is bound; what cannot be bound yet (the old process has not quite gone,
 * the network is not up, the name is unknown) is tried again after retry_ms, names looked up anew. */
#include <errno.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/peers_internal.h"

/* Attempts between two lines in the log. */
#define RETRIES_PER_LINE 30
#define BACKOFF_MS 100
#define BACKLOG 128
/* Accepting pauses for a moment after so many, so that other events get their turn. */
#define ACCEPTS_IN_A_ROW 64
/* Enough for both ports of the largest ensemble; whoever knocks more often is not one of us. */
#define ACCEPTED_MAX 1024
#define SOCKETS_MAX 16

static const char *const port_names[PEER_PORTS] = {[LINK_ELECTION] = "election", [LINK_QUORUM] = "quorum"};

/* One address of a port, as configured. */
struct own_address {
    struct names_waiter waiter;
    struct peer_port *port;
    bool waiting, bound;
    int number;
    unsigned failures; /* in a row */
    char *host;        /* NULL = all addresses */
};

struct own_socket {
    struct names_address address;
    struct evconnlistener *ev;
};

struct peer_port {
    struct peers *peers;
    enum link_port id;
    bool open;
    struct event *retry;   /* of addresses that could not be bound */
    struct event *backoff; /* accepting goes on */
    int in_a_row;
    struct own_address *addresses;
    int address_count;
    struct own_socket sockets[SOCKETS_MAX];
    int socket_count;
};

/* ------------------------------------------------------------------ accepting */

static void stop_accepting(struct peer_port *port, int64_t ms) {
    for (int i = 0; i < port->socket_count; i++)
        evconnlistener_disable(port->sockets[i].ev);
    peer_timer(port->backoff, ms);
}

static void on_backoff(evutil_socket_t fd, short what, void *ctx) {
    struct peer_port *port = ctx;
    (void)fd;
    (void)what;
    port->in_a_row = 0;
    for (int i = 0; i < port->socket_count; i++)
        evconnlistener_enable(port->sockets[i].ev);
}

static int64_t now_us(struct peers *p) {
    struct timeval tv;
    event_base_gettimeofday_cached(p->base, &tv);
    return (int64_t)tv.tv_sec * 1000000 + tv.tv_usec;
}

static void on_error(struct evconnlistener *ev, void *ctx) {
    struct peer_port *port = ctx;
    uint64_t suppressed;
    int err = errno;
    (void)ev;
    if (log_limit_pass(&port->peers->accept_limit, now_us(port->peers), 1000000, &suppressed))
        log_error("accepting connections of other servers pauses: %s", strerror(err));
    stop_accepting(port, BACKOFF_MS);
}

static void on_accept(struct evconnlistener *ev, evutil_socket_t fd, struct sockaddr *address, int len, void *ctx) {
    struct peer_port *port = ctx;
    struct peers *p = port->peers;
    uint64_t suppressed;
    (void)ev;
    (void)len;
    if (++port->in_a_row >= ACCEPTS_IN_A_ROW)
        stop_accepting(port, 1);
    if (p->accepted_count >= ACCEPTED_MAX) {
        if (log_limit_pass(&p->refuse_limit, now_us(p), 1000000, &suppressed))
            log_warn("a connection to the %s port is refused: there are %d of them (%llu more since the last such line)",
                     port_names[port->id], p->accepted_count, (unsigned long long)suppressed);
        close(fd);
        return;
    }
    struct peer *l = peer_new(p);
    l->accepted = true;
    p->accepted_count++;
    if (!peer_attach(l, fd, address))
        log_fatal("out of memory: a link");
    /* This may close the port. */
    peer_announce(l, port->id);
}

/* ------------------------------------------------------------------ binding */

static bool is_open(const struct peer_port *port, const struct names_address *address) {
    for (int i = 0; i < port->socket_count; i++)
        if (evutil_sockaddr_cmp((const void *)&port->sockets[i].address.sa, (const void *)&address->sa, 1) == 0)
            return true;
    return false;
}

static int bind_socket(const struct names_address *address) {
    int on = 1;
    int fd = socket(address->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->sa.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, (const void *)&address->sa, address->len) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

/* Returns 0 or an errno. */
static int open_socket(struct peer_port *port, const struct names_address *address) {
    char text[64];
    if (is_open(port, address))
        return 0;
    if (port->socket_count == SOCKETS_MAX)
        return ENOBUFS;
    int fd = bind_socket(address);
    if (fd == -1)
        return errno;
    struct own_socket *s = &port->sockets[port->socket_count];
    /* backlog 0: it listens already */
    s->ev = evconnlistener_new(port->peers->base, on_accept, port, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (s->ev == NULL)
        log_fatal("out of memory: a listener");
    evconnlistener_set_error_cb(s->ev, on_error);
    s->address = *address;
    port->socket_count++;
    peer_address_text((const void *)&address->sa, text, sizeof text);
    log_info("listening on %s (%s port)", text, port_names[port->id]);
    return 0;
}

static void failed(struct own_address *a, const char *reason) {
    if (a->failures++ % RETRIES_PER_LINE == 0)
        log_error("cannot listen on %s port %d (%s port): %s; trying again", a->host != NULL ? a->host : "all addresses,",
                  a->number, port_names[a->port->id], reason);
    struct peers *p = a->port->peers;
    int most = p->attempts[a->port->id];
    if (most != 0 && a->failures == (unsigned)most && a->port->socket_count == 0)
        p->gave_up(p->ctx, reason);
    if (!evtimer_pending(a->port->retry, NULL))
        peer_timer(a->port->retry, p->retry_ms);
}

/* One family may be missing on this machine, and a name may have an address that it has not: one socket is enough. But what
 * somebody else has taken is waited for. */
static void open_addresses(struct own_address *a, const struct names_address *list, int count) {
    int opened = 0, other = 0, taken = 0;
    for (int i = 0; i < count; i++) {
        struct names_address address = list[i];
        peer_address_set_port(&address, a->number);
        int err = open_socket(a->port, &address);
        if (err == 0)
            opened++;
        else if (err == EADDRINUSE || err == EACCES)
            taken = err;
        else
            other = err;
    }
    a->bound = opened > 0 && taken == 0;
    if (a->bound)
        a->failures = 0;
    else
        failed(a, strerror(taken != 0 ? taken : other));
}

static void on_name(struct names_waiter *w, const struct names_address *addresses, int count, const char *error) {
    struct own_address *a = CONTAINER_OF(w, struct own_address, waiter);
    a->waiting = false;
    if (count > 0)
        open_addresses(a, addresses, count);
    else
        failed(a, error);
}

static void open_address(struct own_address *a) {
    struct names_address list[2];
    if (a->bound || a->waiting)
        return;
    if (a->host == NULL) {
        names_numeric("::", &list[0]);
        names_numeric("0.0.0.0", &list[1]);
        open_addresses(a, list, 2);
    } else if (names_numeric(a->host, &list[0])) {
        open_addresses(a, list, 1);
    } else {
        a->waiting = true;
        names_ask(a->port->peers->names, a->host, &a->waiter);
    }
}

static void open_all(struct peer_port *port) {
    for (int i = 0; i < port->address_count; i++)
        open_address(&port->addresses[i]);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx) {
    (void)fd;
    (void)what;
    open_all(ctx);
}

/* ------------------------------------------------------------------ ports */

static void close_port(struct peer_port *port) {
    for (int i = 0; i < port->socket_count; i++)
        evconnlistener_free(port->sockets[i].ev);
    for (int i = 0; i < port->address_count; i++) {
        struct own_address *a = &port->addresses[i];
        if (a->waiting)
            names_forget(&a->waiter);
        a->waiting = a->bound = false;
        a->failures = 0;
    }
    port->socket_count = port->in_a_row = 0;
    port->open = false;
    evtimer_del(port->retry);
    evtimer_del(port->backoff);
}

static struct peer_port *port_of(struct peers *p, enum link_port id) {
    struct peer_port *port = p->ports[id];
    if (port != NULL)
        return port;
    port = p->ports[id] = mem_calloc(1, sizeof *port);
    port->peers = p;
    port->id = id;
    port->retry = evtimer_new(p->base, on_retry, port);
    port->backoff = evtimer_new(p->base, on_backoff, port);
    if (port->retry == NULL || port->backoff == NULL)
        log_fatal("out of memory: a timer");
    return port;
}

void peer_listen(void *ctx, enum link_port id, bool on) {
    struct peer_port *port = port_of(ctx, id);
    if (on == port->open)
        return;
    if (!on) {
        close_port(port);
        return;
    }
    port->open = true;
    open_all(port);
}

static void free_addresses(struct own_address *addresses, int count) {
    for (int i = 0; i < count; i++)
        mem_free(addresses[i].host);
    mem_free(addresses);
}

void peers_set_addresses(struct peers *p, enum link_port id, const struct link_address *addresses, int count, bool wildcard) {
    struct peer_port *port = port_of(p, id);
    bool open = port->open;
    close_port(port);
    free_addresses(port->addresses, port->address_count);
    port->addresses = mem_calloc((size_t)count, sizeof *port->addresses);
    port->address_count = count;
    for (int i = 0; i < count; i++)
        port->addresses[i] = (struct own_address){.waiter.done = on_name,
                                                  .port = port,
                                                  .number = addresses[i].port,
                                                  .host = wildcard ? NULL : mem_strdup(addresses[i].host)};
    if (open)
        peer_listen(p, id, true);
}

void peers_limit_attempts(struct peers *p, enum link_port id, int attempts, void (*gave_up)(void *ctx, const char *reason)) {
    p->attempts[id] = attempts;
    p->gave_up = gave_up;
}

int peers_listening(const struct peers *p, enum link_port id) {
    return p->ports[id] != NULL ? p->ports[id]->socket_count : 0;
}

void peer_ports_free(struct peers *p) {
    for (int i = 0; i < PEER_PORTS; i++) {
        struct peer_port *port = p->ports[i];
        if (port == NULL)
            continue;
        close_port(port);
        event_free(port->retry);
        event_free(port->backoff);
        free_addresses(port->addresses, port->address_count);
        mem_free(port);
    }
}
