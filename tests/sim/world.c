/* The loop of the world: virtual time jumps to whatever happens next. */
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "sim/sim.h"
#include "tree/tree.h"

/* Once faults have ceased everything must be at rest after this much virtual time. */
#define CALM_LIMIT_US 60000000
/* After this a disk that was full must be forgotten: requests that come then must be served. */
#define FULL_FORGOTTEN_US 6000000
#define LAST_OPS 50
/* Faults do not stop an ensemble for ever. */
#define FAULTS_LIMIT_US INT64_C(1800000000)
/* An ensemble needs a leader first, and its members are away now and then. */
#define CALM_LIMIT_MEMBERS_US 120000000

void sim_fail(struct sim *sim, const char *fmt, ...) {
    va_list args;
    if (sim_failed(sim))
        return;
    va_start(args, fmt);
    vsnprintf(sim->failure, sizeof sim->failure, fmt, args);
    va_end(args);
    sim_trace(sim, "FAILED: %s", sim->failure);
}

/* The hash is made of each line even if nobody reads it, so that two runs can be compared. */
void sim_trace(struct sim *sim, const char *fmt, ...) {
    char text[700];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    sim->trace_hash ^= (uint64_t)sim_now(sim);
    for (const char *p = text; *p != '\0'; p++)
        sim->trace_hash = (sim->trace_hash ^ (uint8_t)*p) * 0x100000001b3u;
    if (sim->options.trace)
        printf("%lld.%06lld %s\n", (long long)sim_now(sim) / 1000000, (long long)sim_now(sim) % 1000000, text);
}

bool sim_fault(struct sim *sim, enum sim_fault kind) {
    if (!sim_may(sim, kind))
        return false;
    sim->faults++;
    return true;
}

/* The process gets no processor for a while: nothing may expire for it. */
static void freeze(struct sim *sim) {
    struct sim_node *n = &sim->nodes[0];
    int64_t us = 1600000 + (int64_t)rng_below(&sim->rng, 4000000);
    sim->freeze_us = sim->calm ? SIM_NEVER : sim_soon(sim, 500000, 20000000);
    if (n->server == NULL || !sim_fault(sim, FAULT_PAUSE))
        return;
    sim_trace(sim, "the server stands still for %lld us", (long long)us);
    n->full_seen_us += us; /* it cannot notice that there is space again */
    sim->counters->freezes++;
    sim->now.mono.us += us;
    sim->now.wall_ms = SIM_WALL_MS + mono_ms(sim->now.mono);
    for (size_t i = 0; i < sim->model.session_count; i++) {
        const struct session *live = session_find(&n->server->sessions, sim->model.sessions[i].id);
        if (live != NULL && !live->closing)
            sim->model.sessions[i].touched_us = sim_now(sim);
    }
    n->wake_us = sim_now(sim);
}

/* S23 is broken: this member has what nobody else has. */
static void change_own_tree(struct sim_node *n) {
    struct znode *z = n->served ? tree_find(n->server->tree, SLICE_LIT("/zookeeper/quota")) : NULL;
    for (int i = 0; n->served && i < 4; i++) {
        char path[8];
        snprintf(path, sizeof path, "/n%d", i);
        struct znode *found = tree_find(n->server->tree, slice_of(path));
        z = found != NULL ? found : z;
    }
    if (z != NULL)
        tree_set_data(n->server->tree, z, SLICE_LIT("of our own"), -1, n->server->last_applied, sim_now(n->sim) / 1000);
}

static void call_off_faults(struct sim *sim) {
    sim_trace(sim, "no more faults");
    sim->calm = true;
    sim->calm_since_us = sim_now(sim);
    sim->freeze_us = SIM_NEVER;
    sim_network_calm(sim);
    for (int i = 0; i < sim->node_count; i++)
        sim_node_calm(&sim->nodes[i]);
    if (sim->options.broken == BREAK_OWN_CHANGE)
        change_own_tree(&sim->nodes[sim->node_count - 1]);
}

/* ------------------------------------------------------------------ what happens next */

static int64_t next_moment(const struct sim *sim) {
    int64_t next = i64_min(i64_min(sim->freeze_us, sim->more_us), sim_network_next(sim));
    next = i64_min(next, i64_min(sim_links_next(sim), sim_wires_next(sim)));
    for (int i = 0; i < sim->client_count; i++)
        next = i64_min(next, sim->clients[i].next_us);
    for (int i = 0; i < sim->node_count; i++)
        next = i64_min(next, sim_node_next(&sim->nodes[i]));
    return next;
}

/* The clients get something to do. */
static void give_ops(struct sim *sim, int count) {
    sim->ops_left = count;
    sim->more_us = SIM_NEVER;
    for (int i = 0; i < sim->client_count; i++)
        if (sim->clients[i].state != CLIENT_CONNECTING)
            sim->clients[i].next_us = sim_now(sim);
}

void sim_step(struct sim *sim) {
    int64_t next = next_moment(sim);
    if (next > sim_now(sim))
        sim->now.mono.us = next;
    sim->now.wall_ms = SIM_WALL_MS + mono_ms(sim->now.mono);
    if (sim->freeze_us <= sim_now(sim))
        freeze(sim);
    if (sim->more_us <= sim_now(sim))
        give_ops(sim, 10 + (int)rng_below(&sim->rng, 60));
    sim_network_step(sim);
    for (int i = 0; i < sim->node_count && !sim_failed(sim); i++)
        sim_node_step(&sim->nodes[i]);
    sim_links_deliver(sim);
    for (int i = 0; i < sim->client_count && !sim_failed(sim); i++)
        sim_client_step(&sim->clients[i]);
    for (int i = 0; i < sim->node_count && !sim_failed(sim); i++)
        sim_node_run(&sim->nodes[i]);
    sim_links_sweep(sim);
    sim_wires_sweep(sim);
}

static bool at_rest(const struct sim *sim) {
    const struct server *s = sim->nodes[0].server;
    bool rest = sim_is_ensemble(sim) ? sim_members_at_rest(sim) : s != NULL && s->last_applied == model_last(&sim->model);
    for (int i = 0; i < sim->client_count && rest; i++)
        rest = sim_client_at_rest(&sim->clients[i]);
    return rest;
}

/* ------------------------------------------------------------------ a whole run */

static void wait_for_rest(struct sim *sim, const char *what) {
    int64_t limit_us = sim_now(sim) + (sim_is_ensemble(sim) ? CALM_LIMIT_MEMBERS_US : CALM_LIMIT_US);
    while (!sim_failed(sim) && !at_rest(sim)) {
        sim_step(sim);
        if (sim_now(sim) > limit_us)
            sim_fail(sim, "no progress once faults have ceased: %s", what);
    }
}

static void pass_time(struct sim *sim, int64_t us) {
    int64_t until_us = sim_now(sim) + us;
    while (!sim_failed(sim) && sim_now(sim) < until_us)
        sim_step(sim);
}

static bool all_up(const struct sim *sim) {
    for (int i = 0; i < sim->node_count; i++)
        if (sim->nodes[i].server == NULL || sim->nodes[i].stopping)
            return false;
    return true;
}

/* All at the same moment, so that everybody's disk has to speak for itself. */
static void restart_all(struct sim *sim, enum sim_end kind) {
    for (int i = 0; i < sim->node_count; i++) {
        struct sim_node *n = &sim->nodes[i];
        if (kind == END_STOP && n->server != NULL && n->server->state == SERVER_RUNNING)
            sim_node_begin_stop(n);
        else if (n->server != NULL)
            sim_node_crash(n, kind == END_STOP ? END_KILL : kind);
    }
    while (!sim_failed(sim) && !all_up(sim))
        sim_step(sim);
}

static void check_trees(struct sim *sim, const char *when) {
    for (int i = 0; i < sim->node_count && !sim_failed(sim); i++)
        sim_check_tree(&sim->nodes[i], when);
    sim->counters->equal_ends += sim_is_ensemble(sim) && !sim_failed(sim);
}

/* A short run of an ensemble says little. If the clients are done too early they rest, and then get more to do. */
static bool is_long_enough(const struct sim *sim) {
    if (!sim_is_ensemble(sim) || sim->options.ops > 0)
        return true;
    return sim_now(sim) - sim->begin_us >= SIM_LEAST_US && sim->asked >= SIM_LEAST_OPS &&
           (sim->faults >= SIM_LEAST_FAULTS || sim->options.faults != SIM_ALL_FAULTS);
}

static void play_faults(struct sim *sim) {
    while (!sim_failed(sim) && (sim->ops_left > 0 || !is_long_enough(sim))) {
        if (sim->ops_left == 0 && sim->more_us == SIM_NEVER)
            sim->more_us = sim_soon(sim, 100000, 6000000);
        sim_step(sim);
        if (sim_now(sim) - sim->begin_us > FAULTS_LIMIT_US)
            sim_fail(sim, "the clients cannot get their work done");
    }
    sim->more_us = SIM_NEVER;
    if (!sim_is_ensemble(sim) || sim_failed(sim))
        return;
    sim->counters->ensembles++;
    sim->counters->virtual_ms += (uint64_t)(sim_now(sim) - sim->begin_us) / 1000;
    sim->counters->asked += (uint64_t)sim->asked;
    sim->counters->faults += (uint64_t)sim->faults;
}

static void check_order(struct sim *sim) {
    const char *path = "";
    if (!sim_failed(sim) && !linear_check(&sim->linear, sim->model.base != 0, &path, &sim->counters->searched,
                                          &sim->counters->too_hard))
        sim_fail(sim, "no order of what the clients saw of %s explains it", path);
}

static void play(struct sim *sim) {
    play_faults(sim);
    if (sim_failed(sim))
        return;
    call_off_faults(sim);
    wait_for_rest(sim, "not all requests are answered");
    pass_time(sim, FULL_FORGOTTEN_US);
    give_ops(sim, LAST_OPS);
    while (!sim_failed(sim) && sim->ops_left > 0)
        sim_step(sim);
    wait_for_rest(sim, "not all of the last requests are answered");
    if (!sim_failed(sim))
        check_trees(sim, "at the end");
    for (int kind = END_POWER_LOSS; kind <= END_STOP && !sim_failed(sim); kind++)
        restart_all(sim, (enum sim_end)kind);
    wait_for_rest(sim, "the clients do not come back");
    if (!sim_failed(sim))
        check_trees(sim, "after the last restarts");
    check_order(sim);
}

/* An ensemble of this seed, or a server alone. */
static void choose_members(struct sim *sim) {
    int servers = sim->options.servers, observers = sim->options.observers;
    if (servers == 0) {
        struct rng rng = {sim->options.seed ^ 0x656e73656d626c65};
        bool alone = rng_below(&rng, 4) == 0;
        servers = alone ? 1 : rng_below(&rng, 3) != 0 ? 3 : rng_below(&rng, 3) != 0 ? 5 : 4 + (int)rng_below(&rng, 4);
        observers = alone || rng_below(&rng, 3) != 0 ? 0 : 1 + (int)rng_below(&rng, 2);
    }
    sim->voters = servers;
    sim->node_count = servers + observers;
    for (int sid = 1; sid <= sim->node_count; sid++)
        buf_printf(&sim->members, "server.%d=s%d:%d:%d:%s\n", sid, sid, 1000 + sid, 2000 + sid,
                   sid <= servers ? "participant" : "observer");
}

void sim_begin(struct sim *sim, const struct sim_options *options, struct sim_counters *counters) {
    *sim = (struct sim){.options = *options, .rng = {options->seed * 0x9e3779b97f4a7c15u + 1}, .counters = counters};
    sim->trace_hash = 0xcbf29ce484222325u;
    sim->now = (struct now){.mono = {1000000000}, .wall_ms = SIM_WALL_MS + 1000000};
    sim->begin_us = sim_now(sim);
    sim->more_us = SIM_NEVER;
    sim->leader = -1;
    choose_members(sim);
    list_init(&sim->links);
    model_init(&sim->model);
    sim->model.ensemble = sim_is_ensemble(sim);
    sim_network_init(sim);
    sim_first_choose(sim);
    for (int i = 0; i < sim->node_count; i++)
        sim_node_init(&sim->nodes[i], sim, i + 1);
    sim->slices = rng_below(&sim->rng, 3) == 0;
    sim->apart = sim_is_ensemble(sim) && (rng_below(&sim->rng, 4) == 0 || options->broken == BREAK_NO_PING_ROUND);
    sim->client_count = options->clients > 0 ? options->clients : 5 + (int)rng_below(&sim->rng, 16);
    sim->ops_left = options->ops > 0 ? options->ops : 400 + (int)rng_below(&sim->rng, sim_is_ensemble(sim) ? 800 : 1600);
    sim->clients = mem_calloc((size_t)sim->client_count, sizeof *sim->clients);
    for (int i = 0; i < sim->client_count; i++)
        sim_client_init(&sim->clients[i], sim, i + 1);
    sim->freeze_us = sim_is_ensemble(sim) ? SIM_NEVER : sim_soon(sim, 500000, 20000000);
}

void sim_end(struct sim *sim) {
    for (int i = 0; i < sim->node_count; i++)
        sim_node_free(&sim->nodes[i]);
    for (int i = 0; i < sim->client_count; i++)
        sim_client_free(&sim->clients[i]);
    mem_free(sim->clients);
    sim_links_free(sim);
    sim_wires_free(sim);
    model_free(&sim->model);
    linear_free(&sim->linear);
    buf_free(&sim->members);
    sim_member_free_orders(sim);
    mem_free(sim->epochs);
}

bool sim_run(const struct sim_options *options, struct sim_counters *counters, char failure[512], uint64_t *trace_hash) {
    struct sim sim;
    size_t blocks = sim_mem_blocks();
    sim_begin(&sim, options, counters);
    if (!sim_failed(&sim))
        play(&sim);
    memcpy(failure, sim.failure, sizeof sim.failure);
    *trace_hash = sim.trace_hash;
    counters->reaped += sim.model.reaped;
    sim_end(&sim);
    if (failure[0] == '\0' && sim_mem_blocks() != blocks)
        snprintf(failure, sizeof sim.failure, "%zd blocks of memory were not freed", (ssize_t)(sim_mem_blocks() - blocks));
    return failure[0] == '\0';
}
