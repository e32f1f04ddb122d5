#include "benchmark/bench.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "benchmark/clock.h"
#include "benchmark/pool.h"

#define TICK_MS 200
#define PRINTED_MESSAGES 10
/* Load callbacks between two looks for events of the probes. */
#define LOAD_CALLBACKS 32

static bool add_server(struct bench *b, const char *text, size_t len) {
    const char *colon = memrchr(text, ':', len);
    size_t host_len = colon ? (size_t)(colon - text) : len;
    char host[256], port[16] = "2181";
    bool bracketed = host_len >= 2 && text[0] == '[' && text[host_len - 1] == ']';
    if (host_len == 0 || host_len >= sizeof host || (colon && (size_t)(text + len - colon - 1) >= sizeof port)) {
        fprintf(stderr, "zabra-benchmark: \"%.*s\" is not host:port\n", (int)len, text);
        return false;
    }
    snprintf(host, sizeof host, "%.*s", (int)(host_len - (bracketed ? 2 : 0)), text + (bracketed ? 1 : 0));
    if (colon)
        snprintf(port, sizeof port, "%.*s", (int)(text + len - colon - 1), colon + 1);

    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0) {
        fprintf(stderr, "zabra-benchmark: %.*s: %s\n", (int)len, text, gai_strerror(rc));
        return false;
    }
    b->servers = mem_realloc(b->servers, (b->server_count + 1) * sizeof *b->servers);
    struct server_address *s = &b->servers[b->server_count++];
    memset(s, 0, sizeof *s);
    memcpy(&s->addr, found->ai_addr, found->ai_addrlen);
    s->len = found->ai_addrlen;
    s->text = mem_calloc(len + 1, 1);
    memcpy(s->text, text, len);
    freeaddrinfo(found);
    return true;
}

static bool add_servers(struct bench *b, const char *list) {
    while (*list != '\0') {
        size_t len = strcspn(list, ",");
        if (!add_server(b, list, len))
            return false;
        list += len;
        list += *list == ',';
    }
    if (b->server_count == 0)
        fprintf(stderr, "zabra-benchmark: no server is named\n");
    return b->server_count != 0;
}

static void clear_progress(struct bench *b) {
    if (b->progress_shown)
        fputs("\r\033[K", stderr);
    b->progress_shown = false;
}

static void show_progress(struct bench *b) {
    if (b->opt->quiet || b->progress == NULL || !isatty(STDERR_FILENO))
        return;
    struct buf line = BUF_INIT;
    b->progress(b->progress_arg, &line);
    clear_progress(b);
    fprintf(stderr, "%s: %.*s", b->doing, (int)line.len, (const char *)line.data);
    fflush(stderr);
    b->progress_shown = true;
    buf_free(&line);
}

static void on_tick(evutil_socket_t fd, short what, void *arg) {
    struct bench *b = arg;
    struct pool *pool;
    int64_t now = clock_ns();
    (void)fd;
    (void)what;
    LIST_FOREACH(pool, &b->pools, struct pool, link)
    pool_tick(pool, now);
    show_progress(b);
}

static void on_signal(evutil_socket_t fd, short what, void *arg) {
    struct bench *b = arg;
    (void)what;
    b->interrupted = b->ended = true;
    bench_note(b, "%s: ending; once more ends the cleaning up, too", fd == SIGINT ? "interrupted" : "terminated");
}

/* Descriptors for as many connections as the system allows. */
static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static struct event_base *new_base(void) {
    struct event_config *config = event_config_new();
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_max_dispatch_interval(config, NULL, LOAD_CALLBACKS, BENCH_PRIORITY_LOAD);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    if (base)
        event_base_priority_init(base, 2);
    return base;
}

bool bench_init(struct bench *b, const struct options *opt, const char *prefix) {
    memset(b, 0, sizeof *b);
    b->opt = opt;
    b->rng.state = opt->seed;
    b->doing = "start";
    list_init(&b->pools);
    request_env_init(&b->requests, prefix, opt->data_bytes, opt->keyspace);
    b->read_buffer = mem_alloc(BENCH_READ_BYTES);
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    /* The default slack of 50 us would make every arrival of the open loop late. */
    prctl(PR_SET_TIMERSLACK, NS_PER_US, 0, 0, 0);
    if (!add_servers(b, opt->servers))
        return false;
    b->base = new_base();
    if (b->base == NULL) {
        fprintf(stderr, "zabra-benchmark: the event loop cannot be made: %s\n", strerror(errno));
        return false;
    }
    static const struct timeval tick = {.tv_usec = TICK_MS * 1000};
    b->tick = event_new(b->base, -1, EV_PERSIST, on_tick, b);
    b->on_int = evsignal_new(b->base, SIGINT, on_signal, b);
    b->on_term = evsignal_new(b->base, SIGTERM, on_signal, b);
    event_add(b->tick, &tick);
    event_add(b->on_int, NULL);
    event_add(b->on_term, NULL);
    return true;
}

void bench_close(struct bench *b) {
    clear_progress(b);
    if (b->base) {
        event_free(b->tick);
        event_free(b->on_int);
        event_free(b->on_term);
        event_base_free(b->base);
    }
    for (size_t i = 0; i < b->server_count; i++)
        mem_free(b->servers[i].text);
    mem_free(b->servers);
    mem_free(b->read_buffer);
    request_env_free(&b->requests);
    libevent_global_shutdown();
}

static void PRINTF_LIKE(2, 0) print_message(struct bench *b, const char *fmt, va_list args) {
    clear_progress(b);
    fprintf(stderr, "zabra-benchmark: %s: ", b->doing);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
}

void bench_wrong(struct bench *b, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    b->wrong++;
    if (b->wrong <= PRINTED_MESSAGES)
        print_message(b, fmt, args);
    if (b->wrong == PRINTED_MESSAGES)
        fprintf(stderr, "zabra-benchmark: further messages are only counted\n");
    va_end(args);
}

void bench_broken(struct bench *b, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    b->wrong++;
    /* The loss of one connection is mostly the loss of all: say it once. */
    if (!b->broken)
        print_message(b, fmt, args);
    b->broken = true;
    va_end(args);
}

void bench_note(struct bench *b, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    print_message(b, fmt, args);
    va_end(args);
}

void bench_begin_cleanup(struct bench *b) { b->broken = b->interrupted = false; }

bool bench_run(struct bench *b, bool (*done)(void *arg), void *arg, int64_t limit_ms) {
    int64_t end_ns = limit_ms ? clock_ns() + limit_ms * NS_PER_MS : INT64_MAX;
    while (!b->broken && !done(arg)) {
        if (b->interrupted || (limit_ms && clock_ns() > end_ns))
            return false;
        event_base_loop(b->base, EVLOOP_ONCE);
    }
    return !b->broken;
}

static bool time_is_up(void *arg) { return clock_ns() >= *(int64_t *)arg; }

bool bench_sleep(struct bench *b, double seconds) {
    int64_t end_ns = clock_ns() + (int64_t)(seconds * NS_PER_S);
    return bench_run(b, time_is_up, &end_ns, 0);
}

void bench_hold(struct bench *b, const char *what) {
    bench_note(b, "ready: %s", what);
    bench_sleep(b, b->opt->hold_s < 0 ? 1e9 : b->opt->hold_s);
}
