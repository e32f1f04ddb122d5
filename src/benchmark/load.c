#include "benchmark/load.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "benchmark/clock.h"

static struct bench *bench_of(const struct load *l) { return l->pool->bench; }

static bool time_is_up(const struct load *l, int64_t now_ns) {
    return l->duration_ns && now_ns - l->start_ns >= l->duration_ns;
}

static int64_t intended_ns(const struct load *l, uint64_t index) {
    return l->start_ns + (int64_t)((double)index / l->rate * NS_PER_S);
}

static void send_one(struct load *l, struct conn *c, int64_t start_ns) {
    struct op op = {.start_ns = start_ns};
    l->choose(l, l->issued, &op);
    l->issued++;
    conn_send(c, &op);
}

static bool may_issue(struct load *l, int64_t now_ns) {
    if (bench_of(l)->interrupted || time_is_up(l, now_ns))
        l->limit = l->issued;
    return l->issued < l->limit;
}

/* ---- open loop ---- */

static void send_due(struct load *l, struct conn *c, int64_t now_ns) {
    int64_t start_ns = intended_ns(l, l->issued);
    l->send_lag_ns_max = i64_max(l->send_lag_ns_max, now_ns - start_ns);
    send_one(l, c, start_ns);
}

/* Hands the arrivals that are due to connections that have room, round robin. */
static void send_arrivals(struct load *l, int64_t now_ns) {
    uint64_t due = (uint64_t)((double)(now_ns - l->start_ns) / NS_PER_S * l->rate) + 1;
    l->due = due < l->limit ? due : l->limit;
    for (size_t full = 0; l->issued < l->due && full < l->pool->count && may_issue(l, now_ns);) {
        struct conn *c = &l->pool->conns[l->next];
        l->next = (l->next + 1) % l->pool->count;
        if (c->state != CONN_READY || c->inflight >= l->pipeline) {
            full++;
            continue;
        }
        full = 0;
        send_due(l, c, now_ns);
        conn_flush(c);
    }
}

static void arm_timer(struct load *l, int64_t at_ns) {
    struct itimerspec when = {.it_value = {.tv_sec = at_ns / NS_PER_S, .tv_nsec = at_ns % NS_PER_S}};
    timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void on_arrivals(evutil_socket_t fd, short what, void *arg) {
    struct load *l = arg;
    uint64_t count;
    (void)what;
    if (read(fd, &count, sizeof count) == -1)
        return;
    int64_t now_ns = clock_ns();
    send_arrivals(l, now_ns);
    if (may_issue(l, now_ns))
        arm_timer(l, intended_ns(l, l->due));
}

/* libevent's own timers have a resolution of a millisecond, which at thousands of arrivals per second would be most of
 * the latency; a timerfd has nanoseconds. */
static bool start_arrivals(struct load *l) {
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->timer_fd == -1) {
        bench_broken(bench_of(l), "timerfd_create: %s", strerror(errno));
        return false;
    }
    l->arrivals = event_new(bench_of(l)->base, l->timer_fd, EV_READ | EV_PERSIST, on_arrivals, l);
    event_add(l->arrivals, NULL);
    arm_timer(l, l->start_ns);
    return true;
}

/* ---- both ---- */

static void on_reply(struct conn *c, const struct op *op, bool good, int64_t now_ns) {
    struct load *l = c->pool->context;
    uint64_t took = (uint64_t)i64_max(0, now_ns - op->start_ns);
    l->answered++;
    l->errors += !good;
    histogram_add(&l->latency, took);
    histogram_add(request_is_write(op->kind) ? &l->writes : &l->reads, took);
    if (!may_issue(l, now_ns))
        return;
    if (l->rate == 0)
        send_one(l, c, now_ns);
    else if (l->issued < l->due)
        send_due(l, c, now_ns);
}

static const struct conn_handler load_handler = {.on_reply = on_reply};

static bool all_answered(void *arg) {
    struct load *l = arg;
    may_issue(l, clock_ns());
    return l->issued >= l->limit && l->answered == l->issued;
}

static void print_progress(void *arg, struct buf *line) {
    const struct load *l = arg;
    double elapsed = (double)(clock_ns() - l->start_ns) / NS_PER_S;
    buf_printf(line, "%" PRIu64 " done, %.0f per second, p50 %.3f ms, %" PRIu64 " errors", l->answered,
               elapsed > 0 ? (double)l->answered / elapsed : 0,
               (double)histogram_quantile(&l->latency, 0.5) / NS_PER_MS, l->errors);
    if (l->total != UINT64_MAX)
        buf_printf(line, ", %.0f %%", 100 * (double)l->answered / (double)l->total);
}

static void start_closed(struct load *l) {
    for (size_t i = 0; i < l->pool->count; i++) {
        int64_t now_ns = clock_ns();
        for (uint64_t j = 0; j < l->pipeline && may_issue(l, now_ns); j++)
            send_one(l, &l->pool->conns[i], now_ns);
        conn_flush(&l->pool->conns[i]);
    }
}

bool load_run(struct load *l) {
    struct bench *b = bench_of(l);
    l->issued = l->answered = l->errors = l->due = 0;
    l->limit = l->total;
    l->send_lag_ns_max = 0;
    histogram_reset(&l->latency);
    histogram_reset(&l->reads);
    histogram_reset(&l->writes);
    l->pool->handler = &load_handler;
    l->pool->context = l;
    b->progress = print_progress;
    b->progress_arg = l;
    l->start_ns = clock_ns();
    l->arrivals = NULL;
    bool ok = true;
    if (l->rate == 0)
        start_closed(l);
    else
        ok = start_arrivals(l);
    ok = ok && bench_run(b, all_answered, l, 0);
    if (!ok && b->interrupted && !b->broken) {
        b->interrupted = false;
        l->limit = l->issued;
        bench_run(b, all_answered, l, 0);
    }
    if (l->arrivals) {
        event_free(l->arrivals);
        close(l->timer_fd);
    }
    b->progress = NULL;
    return ok;
}
