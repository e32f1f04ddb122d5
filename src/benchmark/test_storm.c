/* Reconnect storm: many sessions with watches lose their server and come back all at once.
 *
 * 1. Open the clients and set their watches; open a few probes, sessions without watches.
 * 2. Say "ready" and wait until the server goes away. Whoever started us restarts it, or has killed one of several: then
 *    connections that fail go on to the next one.
 * 3. The probes try to connect every few milliseconds. When the first one has its session back, the clock starts.
 * 4. All clients connect at once, resume their sessions and send setWatches2; one that fails tries again a moment
 * later, as any client would. Meanwhile the probes ping: nobody should have to wait for the crowd.
 * 5. When every client has its watches or has lost its session, one znode is changed and the events are counted: the
 *    watches must really be there.
 *
 * The probes run at a higher event priority, and the clients' connects are started a few at a time between other
 * events, so that what the probes measure is the server and not this program's own work. */
#include <stdio.h>

#include "base/mem.h"
#include "benchmark/clock.h"
#include "benchmark/tests.h"
#include "benchmark/watches.h"

#define PROBE_INTERVAL_MS 10
#define RETRY_MS 50
/* Java leaves a client that comes in the middle of its start without an answer for ever: a probe that waits for the
 * server to come back does not wait long for any one attempt. */
#define PROBE_PATIENCE_MS 200
#define CONNECTS_PER_EVENT 16
/* The storm is given up after this many session timeouts. */
#define GIVE_UP_TIMEOUTS 3
#define VERIFY_MS 10000

enum phase { PHASE_PREPARE, PHASE_WAIT, PHASE_STORM, PHASE_VERIFY };

struct storm {
    struct bench *bench;
    enum phase phase;
    struct pool clients, probes;
    struct watches watches;
    bool *back;
    size_t prepared, backs, lost_sessions, retries;
    bool down;
    int64_t down_ns, up_ns;
    int64_t last_probe_ns; /* when the probes' timer ran last; 0 = not in the storm yet */
    int64_t client_lag_ns; /* how late that timer was, at worst: the part of a long ping that may be our own fault */
    int64_t client_cpu_ns; /* at the begin of the storm, then what it took */
    int64_t last_back_ns;  /* when the last client was back, or was told that its session is lost */
    struct histogram back_after, pings;
    /* Clients waiting to connect: a ring of indexes with the time from which on they may. */
    struct waiting {
        uint32_t index;
        int64_t due_ns;
    } * queue;
    size_t queue_front, queued;
    struct event *connect_event, *probe_event;
    uint64_t events, events_expected;
    bool changed; /* the setData of the verification was answered */
};

/* ---- the queue of connects ---- */

static void enqueue(struct storm *s, uint32_t index, int64_t due_ns) {
    s->queue[(s->queue_front + s->queued) % s->clients.count] = (struct waiting){index, due_ns};
    s->queued++;
}

static void schedule_connects(struct storm *s, int64_t now_ns) {
    if (s->queued == 0)
        return;
    int64_t wait_us = i64_max(0, s->queue[s->queue_front].due_ns - now_ns) / NS_PER_US;
    struct timeval when = {.tv_sec = wait_us / 1000000, .tv_usec = wait_us % 1000000};
    event_add(s->connect_event, &when);
}

static void on_connect_event(evutil_socket_t fd, short what, void *arg) {
    struct storm *s = arg;
    int64_t now_ns = clock_ns();
    (void)fd;
    (void)what;
    for (int i = 0; i < CONNECTS_PER_EVENT && s->queued != 0; i++) {
        struct waiting w = s->queue[s->queue_front];
        if (w.due_ns > now_ns)
            break;
        s->queue_front = (s->queue_front + 1) % s->clients.count;
        s->queued--;
        conn_open(&s->clients.conns[w.index]);
    }
    schedule_connects(s, now_ns);
}

/* ---- clients ---- */

static void start_storm(struct storm *s, int64_t now_ns) {
    s->phase = PHASE_STORM;
    s->up_ns = now_ns;
    s->client_cpu_ns = clock_own_cpu_ns();
    for (size_t i = 0; i < s->clients.count; i++) {
        conn_drop(&s->clients.conns[i]); /* one whose end of stream we have not seen yet */
        enqueue(s, (uint32_t)i, now_ns);
    }
    schedule_connects(s, now_ns);
}

static void on_client_ready(struct conn *c, int64_t now_ns) {
    struct storm *s = c->pool->context;
    if (s->phase == PHASE_STORM)
        watches_begin(&s->watches, c, now_ns);
}

static void on_client_reply(struct conn *c, const struct op *op, bool good, int64_t now_ns) {
    struct storm *s = c->pool->context;
    (void)good;
    if (!watches_reply(&s->watches, c, op, now_ns))
        return;
    if (s->phase == PHASE_PREPARE)
        s->prepared++;
    else if (!s->back[c->index]) {
        s->back[c->index] = true;
        s->backs++;
        s->last_back_ns = now_ns;
        histogram_add(&s->back_after, (uint64_t)(now_ns - s->up_ns));
    }
}

static void on_client_event(struct conn *c, int32_t type, struct slice path, int64_t now_ns) {
    struct storm *s = c->pool->context;
    (void)now_ns;
    if (s->phase == PHASE_VERIFY && type == EVENT_NODE_DATA_CHANGED &&
        slice_eq(path, request_path(&s->bench->requests, NAME_KEY, 0)))
        s->events++;
    else
        bench_wrong(s->bench, "an event of type %d for %.*s", type, (int)path.len, path.data);
}

static void note_down(struct storm *s) {
    if (!s->down)
        s->down_ns = clock_ns();
    s->down = true;
}

static void on_client_lost(struct conn *c, bool expired, const char *why) {
    struct storm *s = c->pool->context;
    if (s->phase == PHASE_PREPARE || s->phase == PHASE_VERIFY)
        bench_broken(s->bench, "connection %u: %s", c->index + 1, why);
    else if (s->phase == PHASE_WAIT)
        note_down(s);
    else if (expired) {
        s->lost_sessions++;
        s->last_back_ns = clock_ns();
    } else {
        if (s->back[c->index]) {
            s->back[c->index] = false;
            s->backs--;
        }
        s->retries++;
        conn_next_server(c);
        int64_t now_ns = clock_ns();
        enqueue(s, c->index, now_ns + RETRY_MS * NS_PER_MS);
        schedule_connects(s, now_ns);
    }
}

static const struct conn_handler client_handler = {
    .on_ready = on_client_ready, .on_reply = on_client_reply, .on_event = on_client_event, .on_lost = on_client_lost};

/* ---- probes ---- */

static void on_probe_ready(struct conn *c, int64_t now_ns) {
    struct storm *s = c->pool->context;
    if (s->phase == PHASE_WAIT && s->down)
        start_storm(s, now_ns);
}

static void on_probe_reply(struct conn *c, const struct op *op, bool good, int64_t now_ns) {
    struct storm *s = c->pool->context;
    (void)good;
    if (op->kind == REQUEST_SET)
        s->changed = true;
    else if (s->phase == PHASE_STORM)
        histogram_add(&s->pings, (uint64_t)(now_ns - op->start_ns));
}

static void on_probe_lost(struct conn *c, bool expired, const char *why) {
    struct storm *s = c->pool->context;
    if (s->phase == PHASE_PREPARE || s->phase == PHASE_VERIFY)
        bench_broken(s->bench, "probe %u: %s", c->index + 1, why);
    else if (expired) {
        s->lost_sessions++;
        conn_forget_session(c);
    }
    conn_next_server(c);
    note_down(s);
}

static const struct conn_handler probe_handler = {
    .on_ready = on_probe_ready, .on_reply = on_probe_reply, .on_lost = on_probe_lost};

static void ping(struct conn *c) {
    struct op op = {.kind = REQUEST_PING, .start_ns = clock_ns()};
    conn_send(c, &op);
    conn_flush(c);
}

/* Every PROBE_INTERVAL_MS: lost probes try again, those that are back ping. */
static void on_probe_event(evutil_socket_t fd, short what, void *arg) {
    struct storm *s = arg;
    int64_t now_ns = clock_ns();
    (void)fd;
    (void)what;
    if (s->last_probe_ns != 0)
        s->client_lag_ns =
            i64_max(s->client_lag_ns, now_ns - s->last_probe_ns - (int64_t)PROBE_INTERVAL_MS * NS_PER_MS);
    s->last_probe_ns = s->phase == PHASE_STORM ? now_ns : 0;
    for (size_t i = 0; i < s->probes.count; i++) {
        struct conn *c = &s->probes.conns[i];
        if (c->state == CONN_READY) {
            if (s->phase == PHASE_STORM)
                ping(c);
            continue;
        }
        if (c->state != CONN_CLOSED && now_ns - c->opened_ns > (int64_t)PROBE_PATIENCE_MS * NS_PER_MS) {
            conn_drop(c);
            conn_next_server(c);
        }
        if (c->state == CONN_CLOSED)
            conn_open(c);
    }
}

/* ---- the course of the test ---- */

static bool all_prepared(void *arg) {
    const struct storm *s = arg;
    return s->prepared == s->clients.count;
}

static bool storm_begun(void *arg) { return ((const struct storm *)arg)->phase == PHASE_STORM; }

static bool storm_over(void *arg) {
    const struct storm *s = arg;
    return s->backs + s->lost_sessions >= s->clients.count;
}

static bool events_arrived(void *arg) {
    const struct storm *s = arg;
    return s->changed && s->events >= s->events_expected;
}

static void print_progress(void *arg, struct buf *line) {
    const struct storm *s = arg;
    static const char *const names[] = {"setting watches", "waiting for the server to be restarted", "storm",
                                        "verifying"};
    buf_printf(line, "%s: %zu of %zu prepared, %zu back", names[s->phase], s->prepared, s->clients.count, s->backs);
}

static bool prepare(struct storm *s) {
    struct bench *b = s->bench;
    if (!pool_open(&s->clients) || !pool_open(&s->probes))
        return false;
    for (size_t i = 0; i < s->clients.count; i++) {
        watches_begin(&s->watches, &s->clients.conns[i], clock_ns());
        conn_flush(&s->clients.conns[i]);
    }
    return bench_run(b, all_prepared, s, 0);
}

static bool storm(struct storm *s) {
    struct bench *b = s->bench;
    static const struct timeval interval = {.tv_usec = PROBE_INTERVAL_MS * 1000};
    s->phase = PHASE_WAIT;
    s->watches.bulk = true; /* this is how clients come back, however they had set them */
    event_add(s->probe_event, &interval);
    bench_note(b, "ready: %zu clients with %llu watches each; restart the server now", s->clients.count,
               (unsigned long long)s->watches.per_conn);
    if (!bench_run(b, storm_begun, s, 0))
        return false;
    bool over = bench_run(b, storm_over, s, GIVE_UP_TIMEOUTS * (int64_t)s->clients.conns[0].timeout_ms);
    s->client_cpu_ns = clock_own_cpu_ns() - s->client_cpu_ns;
    if (over)
        return true;
    if (!b->broken && !b->interrupted)
        bench_broken(b, "only %zu of %zu clients came back, %zu sessions lost", s->backs, s->clients.count,
                     s->lost_sessions);
    return false;
}

static struct conn *ready_probe(struct storm *s) {
    for (size_t i = 0; i < s->probes.count; i++)
        if (s->probes.conns[i].state == CONN_READY)
            return &s->probes.conns[i];
    return NULL;
}

/* Changes one watched znode: every client that is back and watches it must hear of it, once. */
static void verify(struct storm *s) {
    struct bench *b = s->bench;
    struct conn *c = ready_probe(s);
    if (c == NULL) {
        bench_broken(b, "no probe is connected after the storm");
        return;
    }
    s->phase = PHASE_VERIFY;
    event_del(s->probe_event);
    for (size_t i = 0; i < s->clients.count; i++)
        s->events_expected += s->back[i] && watches_cover(&s->watches, i, 0);
    struct op set = {.kind = REQUEST_SET, .name = NAME_KEY, .start_ns = clock_ns()};
    conn_send(c, &set);
    conn_flush(c);
    bench_run(b, events_arrived, s, VERIFY_MS);
    if (!b->broken && !b->interrupted && s->events != s->events_expected)
        bench_wrong(b, "after the storm a change of a znode made %llu events, expected %llu",
                    (unsigned long long)s->events, (unsigned long long)s->events_expected);
}

static double ms(int64_t ns) { return (double)ns / NS_PER_MS; }

static void report(const struct test *test, struct test_run *run, const struct storm *s, bool complete) {
    struct result *r = result_new(test->name, "sessions");
    r->complete = complete;
    r->clients = s->clients.count;
    r->ops = s->backs;
    r->errors = s->lost_sessions;
    r->wall_ns = i64_max(0, s->last_back_ns - s->up_ns);
    r->client_cpu_ns = s->client_cpu_ns;
    r->latency = s->back_after;
    result_extra(r, "session_timeout_ms", s->clients.conns[0].timeout_ms);
    result_extra(r, "down_ms", ms(s->up_ns - s->down_ns));
    result_extra(r, "all_back_ms", ms(r->wall_ns));
    result_extra(r, "lost_sessions", (double)s->lost_sessions);
    result_extra(r, "retries", (double)s->retries);
    result_extra(r, "watches", (double)(s->watches.per_conn * s->clients.count));
    result_extra(r, "pings", (double)s->pings.count);
    result_extra(r, "ping_p50_ms", ms((int64_t)histogram_quantile(&s->pings, 0.5)));
    result_extra(r, "ping_p99_ms", ms((int64_t)histogram_quantile(&s->pings, 0.99)));
    result_extra(r, "ping_max_ms", ms((int64_t)s->pings.max));
    result_extra(r, "client_lag_max_ms", ms(s->client_lag_ns));
    result_extra(r, "verified_events", (double)s->events);
    report_add(run->report, r);
}

void test_storm_run(const struct test *test, struct test_run *run) {
    struct bench *b = run->bench;
    size_t clients = b->opt->clients;
    if (!znodes_need_keys(run->znodes, NULL))
        return;
    struct storm *s = mem_calloc(1, sizeof *s);
    s->bench = b;
    s->back = mem_calloc(clients, sizeof *s->back);
    s->queue = mem_calloc(clients, sizeof *s->queue);
    histogram_reset(&s->back_after);
    histogram_reset(&s->pings);
    watches_init(&s->watches, b, clients);
    pool_init(&s->clients, b, clients, BENCH_PRIORITY_LOAD, &client_handler, s);
    pool_init(&s->probes, b, b->opt->probes, BENCH_PRIORITY_PROBE, &probe_handler, s);
    s->connect_event = event_new(b->base, -1, 0, on_connect_event, s);
    s->probe_event = event_new(b->base, -1, EV_PERSIST, on_probe_event, s);
    event_priority_set(s->connect_event, BENCH_PRIORITY_LOAD);
    event_priority_set(s->probe_event, BENCH_PRIORITY_PROBE);
    b->progress = print_progress;
    b->progress_arg = s;

    bool complete = prepare(s) && storm(s);
    event_del(s->connect_event);
    if (complete)
        verify(s);
    b->progress = NULL;
    report(test, run, s, complete);

    event_free(s->connect_event);
    event_free(s->probe_event);
    pool_close(&s->probes);
    pool_close(&s->clients);
    watches_free(&s->watches);
    mem_free(s->back);
    mem_free(s->queue);
    mem_free(s);
}
