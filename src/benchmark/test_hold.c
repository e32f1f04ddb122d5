/* Steps that put something into the server and leave it there, so that its memory can be measured: znodes (--fill),
 * idle sessions (--idle), watches (watch-many). */
#include <stdio.h>

#include "benchmark/clock.h"
#include "benchmark/tests.h"
#include "benchmark/watches.h"

void fill_run(struct test_run *run) {
    run->bench->doing = "fill";
    struct result *r = result_new("fill", "znodes");
    znodes_need_keys(run->znodes, r);
    if (r->complete && run->bench->opt->tests == NULL && run->bench->opt->idle == 0 && run->bench->opt->hold_s != 0) {
        bench_hold(run->bench, "the znodes are there");
        result_resident(run->bench, r);
    }
    report_add(run->report, r);
}

/* ---- idle sessions ---- */

static void on_idle_ready(struct conn *c, int64_t now_ns) {
    struct result *r = c->pool->context;
    histogram_add(&r->latency, (uint64_t)(now_ns - c->opened_ns));
}

static const struct conn_handler idle_handler = {.on_ready = on_idle_ready};

bool idle_open(struct test_run *run, struct pool *pool) {
    struct bench *b = run->bench;
    struct result *r = result_new("idle", "sessions");
    b->doing = "idle";
    pool_init(pool, b, b->opt->idle, BENCH_PRIORITY_LOAD, &idle_handler, r);
    result_start(b, r);
    r->complete = pool_open(pool);
    result_end(b, r);
    r->clients = r->ops = pool->in_state[CONN_READY];
    if (r->complete && b->opt->tests == NULL && b->opt->hold_s != 0) {
        bench_hold(b, "the idle sessions are open");
        result_resident(b, r);
    }
    bool ok = r->complete;
    pool->context = NULL;
    report_add(run->report, r);
    return ok;
}

/* ---- many watches ---- */

struct many {
    struct watches watches;
    struct histogram *latency;
};

static void on_watch_reply(struct conn *c, const struct op *op, bool good, int64_t now_ns) {
    struct many *m = c->pool->context;
    (void)good;
    histogram_add(m->latency, (uint64_t)(now_ns - op->start_ns));
    watches_reply(&m->watches, c, op, now_ns);
}

static const struct conn_handler watch_handler = {.on_reply = on_watch_reply};

static bool all_set(void *arg) {
    const struct many *m = arg;
    return m->watches.set == m->watches.per_conn * m->watches.bench->opt->clients;
}

static void print_progress(void *arg, struct buf *line) {
    const struct many *m = arg;
    buf_printf(line, "%llu watches set", (unsigned long long)m->watches.set);
}

static void set_and_hold(struct many *m, struct pool *pool, struct result *r) {
    struct bench *b = pool->bench;
    b->progress = print_progress;
    b->progress_arg = m;
    for (size_t i = 0; i < pool->count; i++) {
        watches_begin(&m->watches, &pool->conns[i], clock_ns());
        conn_flush(&pool->conns[i]);
    }
    r->complete = bench_run(b, all_set, m, 0);
    result_end(b, r);
    r->ops = m->watches.set;
    b->progress = NULL;
    if (r->complete && b->opt->hold_s != 0) {
        bench_hold(b, "the watches are set");
        result_resident(b, r);
    }
}

void test_watch_many_run(const struct test *test, struct test_run *run) {
    struct bench *b = run->bench;
    struct many m;
    struct pool pool;
    if (!znodes_need_keys(run->znodes, NULL))
        return;
    struct result *r = result_new(test->name, "watches");
    m.latency = &r->latency;
    watches_init(&m.watches, b, b->opt->clients);
    pool_init(&pool, b, b->opt->clients, BENCH_PRIORITY_LOAD, &watch_handler, &m);
    r->clients = pool.count;
    if (pool_open(&pool)) {
        /* The sessions are open: what the server's memory grows by from here on is the watches. */
        result_start(b, r);
        set_and_hold(&m, &pool, r);
    }
    pool_close(&pool);
    watches_free(&m.watches);
    report_add(run->report, r);
}
