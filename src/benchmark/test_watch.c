/* Fan-out: all connections watch one znode; a further connection sets its data; the wall time of a round runs from the
 * sending of that setData to the last event, or, with re-arming, until every connection has its watch again. */
#include "benchmark/clock.h"
#include "benchmark/pool.h"
#include "benchmark/tests.h"

struct fanout {
    struct bench *bench;
    int variant;
    struct pool watchers, writer;
    uint64_t round;
    /* Of the current round. */
    int64_t start_ns, last_event_ns, last_armed_ns;
    size_t events, armed;
    bool answered; /* the setData */
};

static const enum request_kind arming[] = {[WATCH_ONE_SHOT] = REQUEST_GET_WATCH,
                                           [WATCH_REARM] = REQUEST_GET_WATCH,
                                           [WATCH_PERSISTENT] = REQUEST_ADD_WATCH,
                                           [WATCH_ECHO] = REQUEST_ECHO_GET_WATCH};

static void arm(struct fanout *f, struct conn *c, int64_t now_ns) {
    struct op op = {.kind = arming[f->variant], .name = NAME_KEY, .start_ns = now_ns};
    conn_send(c, &op);
}

static void arm_all(struct fanout *f) {
    for (size_t i = 0; i < f->watchers.count; i++) {
        arm(f, &f->watchers.conns[i], clock_ns());
        conn_flush(&f->watchers.conns[i]);
    }
}

static void on_watcher_reply(struct conn *c, const struct op *op, bool good, int64_t now_ns) {
    struct fanout *f = c->pool->context;
    (void)op;
    (void)good;
    f->armed++;
    f->last_armed_ns = now_ns;
}

static void on_event(struct conn *c, int32_t type, struct slice path, int64_t now_ns) {
    struct fanout *f = c->pool->context;
    if (type != EVENT_NODE_DATA_CHANGED || !slice_eq(path, request_path(&f->bench->requests, NAME_KEY, 0))) {
        bench_wrong(f->bench, "event of type %d for %.*s", type, (int)path.len, path.data);
        return;
    }
    if (c->user == f->round) {
        bench_wrong(f->bench, "connection %u got the event twice", c->index + 1);
        return;
    }
    c->user = f->round;
    f->events++;
    f->last_event_ns = now_ns;
    if (f->variant == WATCH_REARM)
        arm(f, c, now_ns);
    else if (f->variant != WATCH_PERSISTENT && f->events == f->watchers.count)
        arm_all(f); /* not before the last event, so that it is no part of what is measured */
}

static void on_writer_reply(struct conn *c, const struct op *op, bool good, int64_t now_ns) {
    struct fanout *f = c->pool->context;
    (void)op;
    (void)good;
    (void)now_ns;
    f->answered = true;
}

static const struct conn_handler watcher_handler = {.on_reply = on_watcher_reply, .on_event = on_event};
static const struct conn_handler writer_handler = {.on_reply = on_writer_reply};

static bool all_armed(void *arg) {
    const struct fanout *f = arg;
    return f->armed == f->watchers.count;
}

static bool round_done(void *arg) {
    const struct fanout *f = arg;
    return f->answered && f->events == f->watchers.count && f->armed == f->watchers.count;
}

static bool run_round(struct fanout *f) {
    struct op set = {.kind = f->variant == WATCH_ECHO ? REQUEST_ECHO_SET : REQUEST_SET, .name = NAME_KEY};
    f->round++;
    f->events = 0;
    f->armed = f->variant == WATCH_PERSISTENT ? f->watchers.count : 0;
    f->answered = false;
    f->start_ns = set.start_ns = clock_ns();
    conn_send(&f->writer.conns[0], &set);
    conn_flush(&f->writer.conns[0]);
    if (bench_run(f->bench, round_done, f, (int64_t)f->bench->opt->timeout_ms))
        return true;
    if (!f->bench->broken && !f->bench->interrupted)
        bench_broken(f->bench, "only %zu of %zu events arrived", f->events, f->watchers.count);
    return false;
}

static void measure(const struct test *test, struct test_run *run, struct fanout *f) {
    const struct options *opt = run->bench->opt;
    int64_t warm_ns = clock_ns() + (int64_t)(opt->warmup_s * NS_PER_S);
    while (clock_ns() < warm_ns)
        if (!run_round(f))
            return;

    struct result *r = result_new(test->name, "events");
    uint64_t rounds = opt->requests / f->watchers.count, done = 0;
    int64_t end_ns = clock_ns() + (int64_t)(opt->duration_s * NS_PER_S);
    rounds += rounds == 0;
    r->complete = true;
    result_start(run->bench, r);
    while (opt->duration_s > 0 ? clock_ns() < end_ns : done < rounds) {
        r->complete = run_round(f);
        if (!r->complete)
            break;
        done++;
        histogram_add(&r->latency,
                      (uint64_t)((f->variant == WATCH_REARM ? f->last_armed_ns : f->last_event_ns) - f->start_ns));
    }
    result_end(run->bench, r);
    r->clients = f->watchers.count;
    r->ops = done * f->watchers.count;
    result_extra(r, "rounds", (double)done);
    report_add(run->report, r);
}

void test_watch_run(const struct test *test, struct test_run *run) {
    struct bench *b = run->bench;
    struct fanout f = {.bench = b, .variant = test->variant};
    if (test->variant != WATCH_ECHO && !znodes_need_keys(run->znodes, NULL))
        return;
    pool_init(&f.watchers, b, b->opt->clients, BENCH_PRIORITY_LOAD, &watcher_handler, &f);
    pool_init(&f.writer, b, 1, BENCH_PRIORITY_LOAD, &writer_handler, &f);
    if (pool_open(&f.watchers) && pool_open(&f.writer)) {
        arm_all(&f);
        if (bench_run(b, all_armed, &f, 0))
            measure(test, run, &f);
    }
    pool_close(&f.writer);
    pool_close(&f.watchers);
}
