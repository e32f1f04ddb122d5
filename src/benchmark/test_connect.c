/* Churn: every connection opens a session, closes it orderly, and begins again. One operation is the whole cycle, from
 * connect() until the server has answered closeSession and closed its end. */
#include "base/mem.h"
#include "benchmark/clock.h"
#include "benchmark/pool.h"
#include "benchmark/tests.h"

struct churn {
    struct bench *bench;
    uint64_t started, finished, limit;
    int64_t end_ns; /* start no more then; 0 = no such limit */
    struct histogram latency;
};

static void start_cycle(struct churn *churn, struct conn *c) {
    if (churn->bench->interrupted || (churn->end_ns && clock_ns() >= churn->end_ns))
        churn->limit = churn->started;
    if (churn->started >= churn->limit)
        return;
    churn->started++;
    conn_open(c);
}

static void on_ready(struct conn *c, int64_t now_ns) {
    (void)now_ns;
    conn_close_session(c);
}

static void on_closed(struct conn *c, int64_t now_ns) {
    struct churn *churn = c->pool->context;
    churn->finished++;
    histogram_add(&churn->latency, (uint64_t)(now_ns - c->opened_ns));
    start_cycle(churn, c);
}

static const struct conn_handler handler = {.on_ready = on_ready, .on_closed = on_closed};

static bool all_finished(void *arg) {
    const struct churn *churn = arg;
    return churn->finished == churn->started;
}

static bool run_churn(struct churn *churn, struct pool *pool, uint64_t cycles, double duration_s) {
    churn->started = churn->finished = 0;
    churn->limit = duration_s > 0 ? UINT64_MAX : cycles;
    churn->end_ns = duration_s > 0 ? clock_ns() + (int64_t)(duration_s * NS_PER_S) : 0;
    histogram_reset(&churn->latency);
    for (size_t i = 0; i < pool->count; i++)
        start_cycle(churn, &pool->conns[i]);
    return bench_run(churn->bench, all_finished, churn, 0);
}

static void measure(const struct test *test, struct test_run *run, struct churn *churn, struct pool *pool) {
    const struct options *opt = run->bench->opt;
    if (opt->warmup_s > 0 && !run_churn(churn, pool, 0, opt->warmup_s))
        return;
    struct result *r = result_new(test->name, "sessions");
    result_start(run->bench, r);
    r->complete = run_churn(churn, pool, opt->requests, opt->duration_s);
    result_end(run->bench, r);
    r->clients = pool->count;
    r->ops = churn->finished;
    r->latency = churn->latency;
    report_add(run->report, r);
}

void test_connect_run(const struct test *test, struct test_run *run) {
    struct pool pool;
    struct churn *churn = mem_calloc(1, sizeof *churn);
    churn->bench = run->bench;
    pool_init(&pool, run->bench, run->bench->opt->clients, BENCH_PRIORITY_LOAD, &handler, churn);
    measure(test, run, churn, &pool);
    pool_close(&pool);
    mem_free(churn);
}
