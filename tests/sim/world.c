/* The loop of the world: virtual time jumps to whatever happens next. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "sim/sim.h"

/* Once faults have ceased everything must be at rest after this much virtual time. */
#define CALM_LIMIT_US 60000000
#define TURNS_AT_ONCE 10000
/* After this a disk that was full must be forgotten: requests that come then must be served. */
#define FULL_FORGOTTEN_US 6000000
#define LAST_OPS 50

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

static int64_t soon(struct sim *sim, int64_t least_us, int64_t most_us) {
    return sim_now(sim) + least_us + (int64_t)rng_below(&sim->rng, (uint64_t)(most_us - least_us));
}

/* ------------------------------------------------------------------ configuration */

static void set_number(struct config *c, const char *name, uint64_t value, struct config_log *log) {
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    config_set(c, name, text, log);
}

/* Everything happens often: rolls, snapshots, retention, small preallocation. */
static void configure(struct sim *sim) {
    static const char *const methods[] = {"", "gz", "snappy"};
    struct config *c = &sim->config;
    struct config_log log = {0};
    struct rng *rng = &sim->rng;
    config_defaults(c);
    config_set(c, "clientPort", "2181", &log);
    config_set(c, "dataDir", "/data", &log);
    config_set(c, "dataLogDir", rng_below(rng, 2) == 0 ? "/data" : "/log", &log);
    config_set(c, "snapshot.compression.method", methods[rng_below(rng, 3)], &log);
    config_set(c, "autopurge.purgeInterval", "1", &log);
    set_number(c, "tickTime", 100 + rng_below(rng, 200), &log);
    set_number(c, "snapCount", 20 + rng_below(rng, 100), &log);
    set_number(c, "preAllocSize", 4 + rng_below(rng, 40), &log);
    set_number(c, "diskReserve", 16384, &log);
    set_number(c, "globalOutstandingLimit", rng_below(rng, 2) == 0 ? 1 + rng_below(rng, 8) : 1000, &log);
    if (rng_below(rng, 3) == 0)
        set_number(c, "txnLogSizeLimitInKb", 20 + rng_below(rng, 100), &log);
    config_validate(c, false, &log);
    for (size_t i = 0; i < log.count; i++)
        if (log.items[i].severity == CONFIG_ERROR)
            sim_fail(sim, "the configuration of the simulator: %s", log.items[i].text);
    config_log_free(&log);
    sim->disk.same_dir = strcmp(c->data_dir, c->data_log_dir) == 0;
}

/* ------------------------------------------------------------------ ends and starts */

static void plan_crash(struct sim *sim) {
    uint64_t kind = rng_below(&sim->rng, 10);
    sim->crash_kind = kind < 7 ? END_POWER_LOSS : kind < 9 ? END_KILL : END_STOP;
    sim->crash_us = sim->calm ? SIM_NEVER : soon(sim, 5000, 1500000);
}

static void free_server(struct sim *sim, bool orderly) {
    sim_links_cut(sim);
    sim_env_abandon(sim);
    logwriter_free(sim->writer, orderly);
    sim->writer = NULL;
    server_free(sim->server);
    sim->server = NULL;
}

/* The machine or the process goes down, right now. */
static void crash(struct sim *sim, enum sim_end kind) {
    static const char *const names[] = {"power loss", "kill", "stop"};
    sim_trace(sim, "%s, synced 0x%llx, ordered 0x%llx", names[kind], (unsigned long long)sim->synced,
              (unsigned long long)model_last(&sim->model));
    sim->disk.dead = true; /* nothing that is still done to it counts */
    free_server(sim, false);
    if (kind == END_POWER_LOSS) {
        sim->counters->power_losses++;
        simdisk_crash(&sim->disk, rng_next(&sim->rng));
    } else {
        sim->counters->kills++;
        simdisk_kill(&sim->disk);
    }
    sim->restart_us = soon(sim, 5000, 300000);
    sim->error_armed = false;
    plan_crash(sim);
}

/* S13, S14: what was synced is there, what is there was ordered, and nothing in between is missing. */
static void check_recovered(struct sim *sim, const struct recovery_result *result) {
    zxid_t last = sim->server->last_applied, ordered = model_last(&sim->model);
    sim_trace(sim, "recovered up to 0x%llx%s%s", (unsigned long long)last, result->cut ? ", cut: " : "",
              result->cut ? result->message : "");
    sim->counters->recoveries++;
    sim->counters->replayed += result->txns_replayed;
    sim->counters->torn += result->cut;
    if (last < sim->synced || last < sim->shown)
        sim_fail(sim, "S13: the database ends at zxid 0x%llx, but 0x%llx was synced and 0x%llx was shown",
                 (unsigned long long)last, (unsigned long long)sim->synced, (unsigned long long)sim->shown);
    if (last > ordered) {
        sim_fail(sim, "S23: the database ends at zxid 0x%llx, only 0x%llx was ever ordered", (unsigned long long)last,
                 (unsigned long long)ordered);
        return;
    }
    sim->counters->unacked_kept += (uint64_t)i64_max(0, last - sim->synced);
    sim->counters->unacked_lost += (uint64_t)(ordered - last);
    model_rollback(&sim->model, last);
    sim->synced = last;
    sim_check_tree(sim, "after recovery");
    for (size_t i = 0; i < sim->model.session_count; i++)
        sim->model.sessions[i].touched_us = sim_now(sim);
}

/* A start that fails because the disk is full or because the machine goes down again; both are tried once more. */
static void give_up_start(struct sim *sim) {
    bool died = sim->disk.dead;
    sim->disk.dead = true;
    free_server(sim, false);
    if (died && rng_below(&sim->rng, 3) != 0)
        simdisk_crash(&sim->disk, rng_next(&sim->rng));
    else
        simdisk_kill(&sim->disk);
    sim->counters->mid_recovery += died;
    sim->counters->failed_starts += !died;
    sim->restart_us = soon(sim, 5000, 200000);
}

static void start(struct sim *sim) {
    struct recovery_result result;
    struct env env = sim_env(sim);
    struct logwriter_options options = {.prealloc_bytes = sim->config.prealloc_kib * 1024,
                                        .force_sync = true,
                                        .side_file_interval_us = 200000};
    sim->disk.clock_us = sim_now(sim);
    sim->disk.calls = sim->disk.crash_at = 0;
    if (!sim->calm && rng_below(&sim->rng, 4) == 0)
        sim->disk.crash_at = 1 + rng_below(&sim->rng, 12);
    sim->server = server_new(&sim->config, &env, rng_next(&sim->rng), sim->now);
    server_recover(sim->server, &result, sim->now);
    if (result.status != RECOVERY_OK && !sim->disk.dead && !(result.status == RECOVERY_IO && sim->full))
        sim_fail(sim, "S15: recovery refuses: %s", result.message);
    sim->writer = logwriter_new(&sim->disk.disk, &options);
    bool started = result.status == RECOVERY_OK && server_start(sim->server, sim->now) == 0;
    if (sim->disk.dead || !started) {
        if (!sim->disk.dead && !sim->full)
            sim_fail(sim, "the server does not start");
        give_up_start(sim);
        return;
    }
    sim->disk.crash_at = 0;
    sim->wake_us = sim_now(sim);
    check_recovered(sim, &result);
}

static void begin_stop(struct sim *sim) {
    sim_trace(sim, "orderly stop");
    sim->stopping = true;
    server_stop(sim->server, sim->now);
    sim->wake_us = sim_now(sim);
}

static void end_stop(struct sim *sim) {
    bool lost = sim->server->disk_full;
    free_server(sim, !lost);
    simdisk_kill(&sim->disk);
    sim->error_armed = false;
    sim->stopping = false;
    sim->counters->stops++;
    sim->restart_us = soon(sim, 5000, 100000);
    plan_crash(sim);
}

/* ------------------------------------------------------------------ faults */

static void full_disk(struct sim *sim) {
    if (sim->full) {
        sim_trace(sim, "there is space again");
        sim->full = false;
        sim->full_seen_us = sim_now(sim);
        sim->disk.capacity = 0;
        sim->full_us = sim->calm ? SIM_NEVER : soon(sim, 500000, 5000000);
        return;
    }
    sim->full = true;
    sim->disk.capacity = simdisk_used(&sim->disk) + (int64_t)rng_below(&sim->rng, 40000);
    sim->full_us = soon(sim, 100000, 2500000);
    sim->counters->full_periods++;
    sim_trace(sim, "the disk fills up");
}

/* The process gets no processor for a while: nothing may expire for it. */
static void freeze(struct sim *sim) {
    int64_t us = 1600000 + (int64_t)rng_below(&sim->rng, 4000000);
    sim->freeze_us = sim->calm ? SIM_NEVER : soon(sim, 500000, 20000000);
    if (sim->server == NULL)
        return;
    sim_trace(sim, "the server stands still for %lld us", (long long)us);
    sim->full_seen_us += us; /* it cannot notice that there is space again */
    sim->counters->freezes++;
    sim->now.mono.us += us;
    sim->now.wall_ms = SIM_WALL_MS + mono_ms(sim->now.mono);
    for (size_t i = 0; i < sim->model.session_count; i++) {
        const struct session *live = session_find(&sim->server->sessions, sim->model.sessions[i].id);
        if (live != NULL && !live->closing)
            sim->model.sessions[i].touched_us = sim_now(sim);
    }
    sim->wake_us = sim_now(sim);
}

static void run_faults(struct sim *sim) {
    if (sim->full_us <= sim_now(sim))
        full_disk(sim);
    if (sim->freeze_us <= sim_now(sim))
        freeze(sim);
    if (sim->server == NULL || sim->stopping)
        return;
    if (sim->error_us <= sim_now(sim)) {
        sim_trace(sim, "an error of the disk is near");
        sim->error_us = soon(sim, 1000000, 30000000);
        sim->error_armed = true;
        sim->disk.calls = 0;
        sim->disk.fail_at = 1 + rng_below(&sim->rng, 20);
        sim->disk.fail_errno = -EIO;
    }
    if (sim->crash_us > sim_now(sim))
        return;
    if (sim->crash_kind == END_STOP) {
        sim->crash_us = SIM_NEVER;
        begin_stop(sim);
    } else if (rng_below(&sim->rng, 3) == 0) {
        crash(sim, sim->crash_kind);
    } else {
        /* In the middle of a command: at one of the next changes of the disk. */
        sim->crash_us = SIM_NEVER;
        sim->disk.calls = 0;
        sim->disk.crash_at = 1 + rng_below(&sim->rng, rng_below(&sim->rng, 2) == 0 ? 4 : 40);
    }
}

static void call_off_faults(struct sim *sim) {
    sim_trace(sim, "no more faults");
    sim->calm = true;
    if (sim->full)
        full_disk(sim);
    sim->crash_us = sim->full_us = sim->freeze_us = sim->error_us = SIM_NEVER;
    sim->disk.crash_at = sim->disk.fail_at = 0;
}

/* ------------------------------------------------------------------ turns */

/* The order of the real loop: input and completions, the core's own work, the batch, output. */
static void turn(struct sim *sim) {
    sim->counters->turns++;
    server_turn_begin(sim->server, sim->now);
    server_turn_end(sim->server, sim->now);
    sim_links_settle(sim);
    if (sim->server->state == SERVER_FAILED && !sim->error_armed)
        sim_fail(sim, "the server gave up: %s", sim->server->failure);
    sim->wake_us = i64_max(sim_now(sim), server_next_wake(sim->server).us);
}

/* Everything that the server has to do at this moment. */
static void run_server(struct sim *sim) {
    for (int turns = 0; !sim_failed(sim); turns++) {
        bool any = sim_links_feed(sim);
        any |= sim_env_run(sim);
        if (sim->disk.dead) {
            sim->counters->mid_command++;
            crash(sim, sim->crash_kind == END_STOP ? END_POWER_LOSS : sim->crash_kind);
            return;
        }
        if (!any && sim->wake_us > sim_now(sim))
            return;
        turn(sim);
        if (sim->server->state == SERVER_FAILED && sim->error_armed) {
            /* S6: it ends. What the failed sync should have written may be in the cache and nowhere else: power goes, too. */
            sim->counters->disk_errors++;
            crash(sim, END_POWER_LOSS);
            return;
        }
        if (turns > TURNS_AT_ONCE)
            sim_fail(sim, "the server does not come to rest");
    }
}

static int64_t next_moment(const struct sim *sim) {
    int64_t next = i64_min(sim->full_us, sim->freeze_us);
    next = i64_min(next, sim_links_next(sim));
    for (int i = 0; i < sim->client_count; i++)
        next = i64_min(next, sim->clients[i].next_us);
    if (sim->server == NULL)
        return i64_min(next, sim->restart_us);
    next = i64_min(next, i64_min(sim->wake_us, sim_env_next(sim)));
    return sim->stopping ? next : i64_min(next, i64_min(sim->crash_us, sim->error_us));
}

static void step(struct sim *sim) {
    int64_t next = next_moment(sim);
    if (next > sim_now(sim))
        sim->now.mono.us = next;
    sim->now.wall_ms = SIM_WALL_MS + mono_ms(sim->now.mono);
    run_faults(sim);
    if (sim->server == NULL && sim->restart_us <= sim_now(sim))
        start(sim);
    sim_links_deliver(sim);
    for (int i = 0; i < sim->client_count && !sim_failed(sim); i++)
        sim_client_step(&sim->clients[i]);
    if (sim->server != NULL)
        run_server(sim);
    if (sim->stopping && sim->server == NULL)
        sim->stopping = false; /* it crashed meanwhile */
    if (sim->stopping && server_idle(sim->server) && list_empty(&sim->server->conns_all))
        end_stop(sim);
    sim_links_sweep(sim);
}

static bool at_rest(const struct sim *sim) {
    if (sim->server == NULL || sim->server->last_applied != model_last(&sim->model))
        return false;
    for (int i = 0; i < sim->client_count; i++)
        if (!sim_client_at_rest(&sim->clients[i]))
            return false;
    return true;
}

/* ------------------------------------------------------------------ a whole run */

static void wait_for_rest(struct sim *sim, const char *what) {
    int64_t limit_us = sim_now(sim) + CALM_LIMIT_US;
    while (!sim_failed(sim) && !at_rest(sim)) {
        step(sim);
        if (sim_now(sim) > limit_us)
            sim_fail(sim, "no progress once faults have ceased: %s", what);
    }
}

static void pass_time(struct sim *sim, int64_t us) {
    int64_t until_us = sim_now(sim) + us;
    while (!sim_failed(sim) && sim_now(sim) < until_us)
        step(sim);
}

static void restart(struct sim *sim, enum sim_end kind) {
    if (kind == END_STOP) {
        begin_stop(sim);
        while (sim->stopping && !sim_failed(sim))
            step(sim);
    } else {
        crash(sim, kind);
    }
    while (!sim_failed(sim) && sim->server == NULL)
        step(sim);
}

static void play(struct sim *sim) {
    while (!sim_failed(sim) && sim->ops_left > 0)
        step(sim);
    if (sim_failed(sim))
        return;
    call_off_faults(sim);
    wait_for_rest(sim, "not all requests are answered");
    pass_time(sim, FULL_FORGOTTEN_US);
    sim->ops_left = LAST_OPS;
    for (int i = 0; i < sim->client_count; i++)
        sim->clients[i].next_us = sim_now(sim);
    while (!sim_failed(sim) && sim->ops_left > 0)
        step(sim);
    wait_for_rest(sim, "not all of the last requests are answered");
    if (!sim_failed(sim))
        sim_check_tree(sim, "at the end");
    for (int kind = END_POWER_LOSS; kind <= END_STOP && !sim_failed(sim); kind++)
        restart(sim, (enum sim_end)kind);
    wait_for_rest(sim, "the clients do not come back");
}

static void begin(struct sim *sim, const struct sim_options *options, struct sim_counters *counters) {
    *sim = (struct sim){.options = *options, .rng = {options->seed * 0x9e3779b97f4a7c15u + 1}, .counters = counters};
    sim->trace_hash = 0xcbf29ce484222325u;
    sim->now = (struct now){.mono = {1000000000}, .wall_ms = SIM_WALL_MS + 1000000};
    list_init(&sim->log_cmds);
    list_init(&sim->jobs);
    list_init(&sim->shadows);
    list_init(&sim->links);
    model_init(&sim->model);
    simdisk_init(&sim->disk, rng_next(&sim->rng));
    sim->disk.counted_ops = SIMDISK_CHANGES;
    sim->disk.short_writes = rng_below(&sim->rng, 4) == 0;
    sim_env_break_disk(sim);
    configure(sim);
    sim->client_count = options->clients > 0 ? options->clients : 5 + (int)rng_below(&sim->rng, 16);
    sim->ops_left = options->ops > 0 ? options->ops : 400 + (int)rng_below(&sim->rng, 1600);
    sim->clients = mem_calloc((size_t)sim->client_count, sizeof *sim->clients);
    for (int i = 0; i < sim->client_count; i++)
        sim_client_init(&sim->clients[i], sim, i + 1);
    sim->restart_us = sim_now(sim);
    sim->full_seen_us = INT64_MIN / 2;
    sim->full_us = soon(sim, 200000, 5000000);
    sim->freeze_us = soon(sim, 500000, 20000000);
    sim->error_us = soon(sim, 500000, 20000000);
    plan_crash(sim);
}

static void end(struct sim *sim) {
    sim->disk.dead = true;
    if (sim->server != NULL)
        free_server(sim, false);
    for (int i = 0; i < sim->client_count; i++)
        sim_client_free(&sim->clients[i]);
    mem_free(sim->clients);
    sim_links_free(sim);
    model_free(&sim->model);
    simdisk_close(&sim->disk);
    config_free(&sim->config);
}

bool sim_run(const struct sim_options *options, struct sim_counters *counters, char failure[512], uint64_t *trace_hash) {
    struct sim sim;
    begin(&sim, options, counters);
    if (!sim_failed(&sim))
        play(&sim);
    memcpy(failure, sim.failure, sizeof sim.failure);
    *trace_hash = sim.trace_hash;
    end(&sim);
    return failure[0] == '\0';
}
