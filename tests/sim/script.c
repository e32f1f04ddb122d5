/* One election after the other, with nothing else going on: how long they take, and that nothing is left behind. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "sim/sim.h"

#define DELAY_US 1000
#define LIMIT_US 30000
#define PATIENCE_US 60000000
/* After so many all that grows has grown: histories, tables, files. */
#define WARM_UP 200
/* Blocks of memory more or less: it depends on who leads. */
#define SLACK_BLOCKS 300

struct elections {
    struct sim sim;
    struct sim_counters counters;
    int voters;
    int64_t *took_us;
    int count, wanted;
};

static bool all_serve(const struct sim *sim) {
    for (int i = 0; i < sim->node_count; i++)
        if (!sim->nodes[i].served)
            return false;
    return true;
}

/* Everybody who is up has looked since then, and has found somebody. */
static bool all_decided(const struct sim *sim, const struct sim_node *dead, int64_t since_us) {
    for (int i = 0; i < sim->node_count; i++) {
        const struct sim_node *n = &sim->nodes[i];
        if (n != dead && (n->looked || n->looking_us < since_us))
            return false;
    }
    return true;
}

static void serve(struct sim *sim) {
    int64_t limit_us = sim_now(sim) + PATIENCE_US;
    while (!sim_failed(sim) && !all_serve(sim)) {
        sim_step(sim);
        if (sim_now(sim) > limit_us)
            sim_fail(sim, "not all members serve after an election");
    }
}

/* From the moment in which the last of the others begins to look to that in which the last of them has decided. */
static int64_t one_election(struct sim *sim) {
    struct sim_node *dead = &sim->nodes[sim->leader];
    int64_t since_us = sim_now(sim), looking_us = 0, decided_us = 0;
    sim_node_crash(dead, END_KILL);
    dead->restart_us = SIM_NEVER;
    while (!sim_failed(sim) && !all_decided(sim, dead, since_us)) {
        sim_step(sim);
        if (sim_now(sim) > since_us + PATIENCE_US)
            sim_fail(sim, "no election after the end of the leader");
    }
    for (int i = 0; i < sim->node_count; i++) {
        const struct sim_node *n = &sim->nodes[i];
        if (n == dead)
            continue;
        looking_us = i64_max(looking_us, n->looking_us);
        decided_us = i64_max(decided_us, n->decided_us);
    }
    sim_trace(sim, "an election took %lld us", (long long)(decided_us - looking_us));
    dead->restart_us = sim_now(sim);
    serve(sim);
    return decided_us - looking_us;
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void check_left_over(struct sim *sim, size_t blocks, int wires) {
    size_t blocks_now = sim_mem_blocks();
    int wires_now = sim_wires_count(sim);
    if (blocks_now > blocks + SLACK_BLOCKS)
        sim_fail(sim, "%zu blocks of memory have become %zu", blocks, blocks_now);
    if (wires_now > wires)
        sim_fail(sim, "%d connections between members have become %d", wires, wires_now);
}

static bool play(struct elections *e, bool trace) {
    struct sim *sim = &e->sim;
    struct sim_options options = {.seed = (uint64_t)e->voters, .servers = e->voters, .clients = 1, .ops = 1, .trace = trace};
    size_t blocks = 0;
    int wires = 0;
    sim_begin(sim, &options, &e->counters);
    sim->exact_delay_us = DELAY_US;
    sim->ops_left = 0;
    serve(sim);
    while (!sim_failed(sim) && e->count < e->wanted) {
        if (e->count == WARM_UP) {
            blocks = sim_mem_blocks();
            wires = sim_wires_count(sim);
        }
        e->took_us[e->count++] = one_election(sim);
        if (e->count % 1000 == 0 && e->count > WARM_UP)
            check_left_over(sim, blocks, wires);
    }
    qsort(e->took_us, (size_t)e->count, sizeof *e->took_us, compare);
    int64_t longest_us = e->took_us[e->count - 1];
    if (longest_us > LIMIT_US)
        sim_fail(sim, "an election took %lld us, the limit is %d", (long long)longest_us, LIMIT_US);
    bool passed = !sim_failed(sim);
    printf("%d members: %d elections, median %.1f ms, longest %.1f ms, %zu blocks of memory, %d connections%s%s\n", e->voters,
           e->count, (double)e->took_us[e->count / 2] / 1000, (double)longest_us / 1000, sim_mem_blocks(), sim_wires_count(sim),
           passed ? "" : ": FAILED: ", sim->failure);
    sim_end(sim);
    return passed;
}

int sim_elections(uint64_t count, bool trace) {
    static const int sizes[] = {3, 5, 7, 9};
    int passed = 0;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct elections *e = mem_calloc(1, sizeof *e);
        e->voters = sizes[i];
        /* Most of them where they are cheap. */
        e->wanted = (int)(i == 0 ? count - count / 10 * (ARRAY_LEN(sizes) - 1) : count / 10);
        e->took_us = mem_calloc((size_t)e->wanted + 1, sizeof *e->took_us);
        passed += e->wanted > 0 && play(e, trace);
        mem_free(e->took_us);
        mem_free(e);
    }
    printf("%d passed, %d failed\n", passed, (int)ARRAY_LEN(sizes) - passed);
    return passed == (int)ARRAY_LEN(sizes) ? EXIT_SUCCESS : EXIT_FAILURE;
}
