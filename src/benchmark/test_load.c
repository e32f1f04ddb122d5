/* The tests that are a plain stream of requests; one row per variant. */
#include "base/mem.h"
#include "benchmark/clock.h"
#include "benchmark/load.h"
#include "benchmark/tests.h"

struct stream {
    struct bench *bench;
    uint64_t first; /* number of the first znode of create */
};

static void choose_random(struct load *l, struct op *op, enum request_kind kind) {
    struct stream *s = l->arg;
    op->kind = kind;
    op->name = NAME_KEY;
    op->key = rng_below(&s->bench->rng, s->bench->opt->keyspace);
}

static void choose_get(struct load *l, uint64_t index, struct op *op) {
    (void)index;
    choose_random(l, op, REQUEST_GET);
}

static void choose_set(struct load *l, uint64_t index, struct op *op) {
    (void)index;
    choose_random(l, op, REQUEST_SET);
}

static void choose_mixed(struct load *l, uint64_t index, struct op *op) {
    struct stream *s = l->arg;
    (void)index;
    bool read = rng_below(&s->bench->rng, 100) < s->bench->opt->read_percent;
    choose_random(l, op, read ? REQUEST_GET : REQUEST_SET);
}

static void choose_create(struct load *l, uint64_t index, struct op *op) {
    struct stream *s = l->arg;
    op->kind = REQUEST_CREATE;
    op->name = NAME_NEW;
    op->key = s->first + index;
}

static void choose_delete(struct load *l, uint64_t index, struct op *op) {
    (void)l;
    op->kind = REQUEST_DELETE;
    op->name = NAME_NEW;
    op->key = index;
}

static void choose_multi(struct load *l, uint64_t index, struct op *op) {
    struct stream *s = l->arg;
    (void)index;
    choose_random(l, op, REQUEST_MULTI);
    op->count = (uint32_t)s->bench->opt->multi_ops;
}

static void choose_children(struct load *l, uint64_t index, struct op *op) {
    struct stream *s = l->arg;
    (void)index;
    op->kind = REQUEST_CHILDREN;
    op->count = (uint32_t)s->bench->opt->children;
}

static void choose_ping(struct load *l, uint64_t index, struct op *op) {
    (void)l;
    (void)index;
    op->kind = REQUEST_PING;
}

static void choose_echo_get(struct load *l, uint64_t index, struct op *op) {
    (void)index;
    choose_random(l, op, REQUEST_ECHO_GET);
}

static void choose_echo_set(struct load *l, uint64_t index, struct op *op) {
    (void)index;
    choose_random(l, op, REQUEST_ECHO_SET);
}

static bool need_nothing(struct test_run *run) {
    (void)run;
    return true;
}
static bool need_prefix(struct test_run *run) { return znodes_need_prefix(run->znodes); }
static bool need_keys(struct test_run *run) { return znodes_need_keys(run->znodes, NULL); }
static bool need_children(struct test_run *run) { return znodes_need_children(run->znodes); }
static bool need_new(struct test_run *run) { return znodes_need_new(run->znodes, run->bench->opt->requests); }

static const struct {
    void (*choose)(struct load *l, uint64_t index, struct op *op);
    bool (*need)(struct test_run *run);
    bool split;   /* report reads and writes apart, too */
    bool uses_up; /* -n znodes were prepared: no warm-up, no --duration */
} variants[] = {
    [LOAD_GET] = {choose_get, need_keys, false, false},
    [LOAD_SET] = {choose_set, need_keys, false, false},
    [LOAD_MIXED] = {choose_mixed, need_keys, true, false},
    [LOAD_CREATE] = {choose_create, need_prefix, false, false},
    [LOAD_DELETE] = {choose_delete, need_new, false, true},
    [LOAD_MULTI] = {choose_multi, need_keys, false, false},
    [LOAD_CHILDREN] = {choose_children, need_children, false, false},
    [LOAD_PING] = {choose_ping, need_nothing, false, false},
    [LOAD_ECHO_GET] = {choose_echo_get, need_nothing, false, false},
    [LOAD_ECHO_SET] = {choose_echo_set, need_nothing, false, false},
};

/* Runs the load for a time (total UINT64_MAX) or a number of requests, and keeps count of what create made. */
static bool run_load(const struct test *test, struct test_run *run, struct load *l, uint64_t total, double duration_s) {
    struct stream *s = l->arg;
    l->total = duration_s > 0 ? UINT64_MAX : total;
    l->duration_ns = (int64_t)(duration_s * NS_PER_S);
    bool ok = load_run(l);
    if (test->variant == LOAD_CREATE) {
        s->first += l->issued;
        znodes_note(run->znodes, NAME_NEW, s->first);
    }
    return ok;
}

static void fill_result(struct result *r, const struct load *l) {
    r->clients = l->pool->count;
    r->ops = l->answered;
    r->errors = l->errors;
    r->latency = l->latency;
    r->reads = l->reads;
    r->writes = l->writes;
    if (l->rate != 0) {
        result_extra(r, "intended_rate", l->rate);
        result_extra(r, "client_send_lag_max_ms", (double)l->send_lag_ns_max / NS_PER_MS);
    }
}

static void measure(const struct test *test, struct test_run *run, struct load *l) {
    const struct options *opt = run->bench->opt;
    bool uses_up = variants[test->variant].uses_up;
    if (opt->warmup_s > 0 && !uses_up && !run_load(test, run, l, 0, opt->warmup_s))
        return;
    struct result *r = result_new(test->name, "requests");
    r->split = variants[test->variant].split;
    result_start(run->bench, r);
    r->complete = run_load(test, run, l, opt->requests, uses_up ? 0 : opt->duration_s);
    result_end(run->bench, r);
    fill_result(r, l);
    if (test->variant == LOAD_DELETE && r->complete && r->errors == 0)
        run->znodes->made[NAME_NEW] = 0;
    report_add(run->report, r);
}

void test_load_run(const struct test *test, struct test_run *run) {
    const struct options *opt = run->bench->opt;
    struct stream s = {.bench = run->bench, .first = run->znodes->made[NAME_NEW]};
    struct pool pool;
    if (!variants[test->variant].need(run))
        return;
    struct load *l = mem_calloc(1, sizeof *l);
    pool_init(&pool, run->bench, opt->clients, BENCH_PRIORITY_LOAD, NULL, NULL);
    l->pool = &pool;
    l->choose = variants[test->variant].choose;
    l->arg = &s;
    l->rate = opt->rate;
    l->pipeline = opt->pipeline;
    if (pool_open(&pool))
        measure(test, run, l);
    pool_close(&pool);
    mem_free(l);
    if (test->variant == LOAD_CREATE && !run->bench->broken && !run->bench->ended)
        znodes_remove(run->znodes, NAME_NEW);
}
