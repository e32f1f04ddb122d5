#include "net/listener.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/client.h"

#define BACKOFF_MS 100
#define ACCEPTS_PER_TURN 100
#define LOOK_FOR_MORE_AFTER 8
/* Descriptors that clients never get, at most: the next log and snapshot must be opened whatever they do. */
#define RESERVED_DESCRIPTORS 32
#define DEFAULT_BACKLOG 1024

struct listener {
    struct net *net;
    int fd;
    int share;  /* connections that it accepts when it is next asked to */
    int single; /* how often in a row it has accepted one */
    struct event *ready;
    struct event *retry; /* switches ready on again after descriptors ran out */
};

static uint64_t mix(uint64_t a, uint64_t b) { return (a ^ b) * 0x9e3779b97f4a7c15u; }

/* One key per address, the port left out; IPv4 and its IPv6 form are one. */
static uint64_t address_key(const struct sockaddr *sa) {
    if (sa->sa_family == AF_INET)
        return mix(4, ((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr) | 1;
    const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(a)) {
        uint32_t v4;
        memcpy(&v4, a->s6_addr + 12, 4);
        return mix(4, v4) | 1;
    }
    uint64_t high, low;
    memcpy(&high, a->s6_addr, 8);
    memcpy(&low, a->s6_addr + 8, 8);
    return mix(mix(6, high), low) | 1;
}

/* The count is kept in the pointer itself. */
static uintptr_t address_count(struct net *net, uint64_t key) { return (uintptr_t)hmap_get(&net->addresses, key); }

void listener_release(struct net *net, uint64_t key) {
    uintptr_t count = address_count(net, key);
    if (count > 1)
        hmap_put(&net->addresses, key, (void *)(count - 1));
    else
        hmap_remove(&net->addresses, key);
}

static const char *over_limit(struct net *net, uint64_t key) {
    const struct config *c = net->config;
    if (c->max_client_cnxns > 0 && address_count(net, key) >= (uintptr_t)c->max_client_cnxns)
        return "maxClientCnxns";
    if (c->max_cnxns > 0 && net->server->conn_count >= (uint64_t)c->max_cnxns)
        return "maxCnxns";
    return NULL;
}

/* Set on the listening socket: connections inherit them, which costs no system call for each. */
static void set_options(const struct config *c, int fd) {
    int on = 1, defer_s = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* The client speaks first: a connection is ready when its first bytes are, or after a while without. So it is accepted
     * and read from in one go. */
    setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &defer_s, sizeof defer_s);
    if (!c->client_tcp_keepalive && c->tcp_keepalive_seconds <= 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (c->tcp_keepalive_seconds > 0) {
        int idle = c->tcp_keepalive_seconds, interval = idle / 3 > 0 ? idle / 3 : 1, probes = 3;
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    }
}

/* All listeners stop for a while, and as long as there are full_at connections or more. Whoever waits stays in the queue of
 * the kernel. */
static void pause_accepting(struct net *net, const char *why, uint64_t full_at) {
    struct timeval tv = {0, BACKOFF_MS * 1000};
    uint64_t suppressed;
    if (log_limit_pass(&net->accept_limit, net_now().mono.us, 1000000, &suppressed))
        log_error("accepting connections pauses: %s", why);
    net->full_at = full_at;
    for (int i = 0; i < net->listener_count; i++) {
        event_del(net->listeners[i].ready);
        evtimer_add(net->listeners[i].retry, &tv);
    }
}

static void on_retry(evutil_socket_t fd, short what, void *ctx) {
    struct listener *l = ctx;
    struct timeval tv = {0, BACKOFF_MS * 1000};
    (void)fd;
    (void)what;
    if (l->net->server->conn_count >= l->net->full_at)
        evtimer_add(l->retry, &tv);
    else
        event_add(l->ready, NULL);
}

/* False: none is let in for now. */
static bool let_in(struct net *net, int fd, const struct sockaddr *address) {
    struct now now = net_turn_now(net);
    uint64_t key = address_key(address), suppressed, others = net->server->conn_count;
    const char *limit = over_limit(net, key);
    if (limit != NULL) {
        if (log_limit_pass(&net->accept_limit, now.mono.us, 1000000, &suppressed))
            log_warn("a connection is refused: %s is reached (%llu more since the last such line)", limit,
                     (unsigned long long)suppressed);
        metric_count(&net->server->metrics, METRIC_CONNECTION_REJECTED, 1);
        close(fd);
        return true;
    }
    hmap_put(&net->addresses, key, (void *)(address_count(net, key) + 1));
    client_accept(net, fd, address, key, now);
    if (net->client_descriptors == 0 || fd < net->client_descriptors - 1)
        return true;
    pause_accepting(net, "no descriptors are left for more clients (ulimit -n)", others + 1);
    return false;
}

/* The error is that of one connection, which is no longer there. */
static bool gone_wrong(int err) {
    static const int network[] = {ECONNABORTED, EINTR,  EPROTO,       ENETDOWN,   ENETUNREACH,
                                  EHOSTDOWN,    ENONET, EHOSTUNREACH, EOPNOTSUPP, ENOPROTOOPT};
    for (size_t i = 0; i < sizeof network / sizeof *network; i++)
        if (network[i] == err)
            return true;
    return false;
}

enum accepted { ACCEPTED, ACCEPTED_NONE, ACCEPTED_LAST };

static enum accepted accept_one(struct listener *l) {
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    int fd = accept4(l->fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd != -1)
        return let_in(l->net, fd, (struct sockaddr *)&address) ? ACCEPTED : ACCEPTED_LAST;
    if (errno == EAGAIN)
        return ACCEPTED_NONE;
    if (gone_wrong(errno))
        return ACCEPTED;
    pause_accepting(l->net, strerror(errno), UINT64_MAX);
    return ACCEPTED_LAST;
}

/* To ask for a connection when none waits costs nearly as much as to accept one, and so does a turn for each of many. So a
 * listener takes one, looks for a second now and then, and as long as it finds all that it asks for it asks for twice as many. */
static void on_ready(evutil_socket_t fd, short what, void *ctx) {
    struct listener *l = ctx;
    (void)fd;
    (void)what;
    for (int i = 0; i < l->share; i++) {
        enum accepted got = accept_one(l);
        if (got == ACCEPTED)
            continue;
        l->share = got == ACCEPTED_NONE && i > 1 ? i : 1;
        return;
    }
    if (l->share > 1 || ++l->single == LOOK_FOR_MORE_AFTER) {
        l->share = l->share * 2 < ACCEPTS_PER_TURN ? l->share * 2 : ACCEPTS_PER_TURN;
        l->single = 0;
    }
}

static int open_socket(const struct config *c, const struct addrinfo *ai) {
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, ai->ai_protocol);
    int on = 1;
    if (fd == -1)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    set_options(c, fd);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == -1) {
        int err = errno;
        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

static bool listen_on(struct net *net, int fd) {
    int backlog = net->config->listen_backlog > 0 ? net->config->listen_backlog : DEFAULT_BACKLOG;
    if (listen(fd, backlog) == -1) {
        int err = errno;
        close(fd);
        errno = err;
        return false;
    }
    /* A first request is acknowledged with its reply, as later ones are, not by a packet of its own. (listen resets this.) */
    int off = 0;
    setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off);
    net->listeners = mem_realloc(net->listeners, (size_t)(net->listener_count + 1) * sizeof *net->listeners);
    net->listeners[net->listener_count++] = (struct listener){.net = net, .fd = fd, .share = 1};
    return true;
}

/* host NULL = all addresses, IPv6 and IPv4; then one of the two families may be missing on this machine. optional: a
 * failure is worth a remark only. */
static bool open_address(struct net *net, const char *host, bool optional) {
    enum log_level level = optional ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list;
    char port[16];
    int opened = 0, last_error = 0;
    snprintf(port, sizeof port, "%d", net->config->port);
    int err = getaddrinfo(host, port, &hints, &list);
    if (err != 0) {
        log_write(level, "the address %s to listen on is unknown: %s", host != NULL ? host : "*", gai_strerror(err));
        return false;
    }
    for (const struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next) {
        int fd = open_socket(net->config, ai);
        if (fd != -1 && listen_on(net, fd))
            opened++;
        else
            last_error = errno;
    }
    freeaddrinfo(list);
    bool address_taken = last_error == EADDRINUSE || last_error == EACCES;
    if (opened == 0 || address_taken) {
        log_write(level, "cannot listen on %s port %d: %s", host != NULL ? host : "*", net->config->port, strerror(last_error));
        return false;
    }
    log_info("listening on %s port %d", host != NULL ? host : "all addresses,", net->config->port);
    return true;
}

/* An item of bind: "-ADDRESS" may be missing on this machine, an IPv6 address may stand in brackets. */
static bool open_item(struct net *net, const char *item) {
    bool optional = item[0] == '-';
    char host[256];
    item += optional;
    size_t len = strlen(item);
    if (item[0] == '[' && len > 1 && item[len - 1] == ']') {
        item++;
        len -= 2;
    }
    snprintf(host, sizeof host, "%.*s", (int)len, item);
    return open_address(net, host, optional) || optional;
}

bool listeners_open(struct net *net) {
    const struct config_list *bind_to = &net->config->bind;
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < INT_MAX)
        net->client_descriptors = (int)files.rlim_cur - (int)size_min(files.rlim_cur / 8, RESERVED_DESCRIPTORS);
    if (net->config->port == 0)
        return true;
    if (bind_to->count == 0 && !open_address(net, NULL, false))
        return false;
    for (size_t i = 0; i < bind_to->count; i++)
        if (!open_item(net, bind_to->items[i]))
            return false;
    if (net->listener_count == 0) {
        log_error("none of the addresses in bind can be listened on");
        return false;
    }
    for (int i = 0; i < net->listener_count; i++) {
        struct listener *l = &net->listeners[i];
        l->ready = event_new(net->base, l->fd, EV_READ | EV_PERSIST, on_ready, l);
        l->retry = evtimer_new(net->base, on_retry, l);
        event_add(l->ready, NULL);
    }
    return true;
}

void listeners_close(struct net *net) {
    for (int i = 0; i < net->listener_count; i++) {
        struct listener *l = &net->listeners[i];
        if (l->ready != NULL)
            event_free(l->ready);
        if (l->retry != NULL)
            event_free(l->retry);
        close(l->fd);
    }
    mem_free(net->listeners);
    net->listeners = NULL;
    net->listener_count = 0;
}
