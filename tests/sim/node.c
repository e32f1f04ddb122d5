/* One server: its configuration, its starts and ends, its turns, and the faults of its disk. */
#include <errno.h>
#include <stdio.h>

#include "server/history.h"
#include "sim/sim.h"
#include "store/rewind.h"

#define TURNS_AT_ONCE 10000

int64_t sim_soon(struct sim *sim, int64_t least_us, int64_t most_us) {
    return sim_now(sim) + least_us + (int64_t)rng_below(&sim->rng, (uint64_t)(most_us - least_us));
}

/* ------------------------------------------------------------------ configuration */

static void set_number(struct config *c, const char *name, uint64_t value, struct config_log *log) {
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    config_set(c, name, text, log);
}

/* In some runs so little history is kept in memory that the log files are needed. */
static bool has_short_history(const struct sim *sim) {
    struct rng rng = {sim->options.seed ^ 0x686973746f7279};
    return rng_below(&rng, 2) == 0;
}

static void configure_member(struct sim_node *n, struct config *c, struct config_log *log) {
    struct rng *rng = &n->sim->rng;
    set_number(c, "initLimit", 10 + rng_below(rng, 20), log);
    set_number(c, "syncLimit", 4 + rng_below(rng, 10), log);
    if (rng_below(rng, 8) == 0)
        config_set(c, "forceSnapshotSync", "true", log);
    if (rng_below(rng, 4) == 0)
        config_set(c, "syncEnabled", "false", log); /* of those that observe */
    if (rng_below(rng, 4) == 0) {
        config_set(c, "leader.maxConcurrentSnapSyncs", "1", log);
        config_set(c, "leader.maxConcurrentDiffSyncs", "1", log);
    }
    if (rng_below(rng, 4) == 0)
        config_set(c, "enableEagerACLCheck", "true", log);
    set_number(c, "leader.ackLoggingFrequency", rng_below(rng, 5), log);
    if (has_short_history(n->sim))
        config_set(c, "snapshotSizeFactor", n->sid % 3 == 0 ? "0.9" : "0", log);
    if (n->sim->options.seed % 3 == 0)
        config_set(c, "autopurge.purgeInterval", "0", log);
    c->server_id = n->sid;
}

/* Everything happens often: rolls, snapshots, retention, small preallocation. tickTime is that of all. */
static void configure(struct sim_node *n) {
    static const char *const methods[] = {"", "gz", "snappy"};
    struct sim *sim = n->sim;
    struct config *c = &n->config;
    struct config_log log = {0};
    struct rng *rng = &sim->rng;
    config_defaults(c);
    config_set(c, "clientPort", "2181", &log);
    config_set(c, "dataDir", "/data", &log);
    config_set(c, "dataLogDir", rng_below(rng, 2) == 0 ? "/data" : "/log", &log);
    config_set(c, "snapshot.compression.method", methods[rng_below(rng, 3)], &log);
    config_set(c, "autopurge.purgeInterval", "1", &log);
    set_number(c, "tickTime", n->sid == 1 ? 100 + rng_below(rng, 200) : (uint64_t)sim->nodes[0].config.tick_time_ms, &log);
    set_number(c, "snapCount", 20 + rng_below(rng, 100), &log);
    set_number(c, "preAllocSize", 4 + rng_below(rng, 40), &log);
    set_number(c, "diskReserve", 16384, &log);
    set_number(c, "globalOutstandingLimit", rng_below(rng, 2) == 0 ? 1 + rng_below(rng, 8) : 1000, &log);
    config_set(c, "extendedTypesEnabled", "true", &log);
    set_number(c, "znode.container.checkIntervalMs", 200 + rng_below(rng, 3000), &log);
    if (rng_below(rng, 3) == 0)
        set_number(c, "txnLogSizeLimitInKb", 20 + rng_below(rng, 100), &log);
    if (sim_is_ensemble(sim))
        configure_member(n, c, &log);
    config_validate(c, false, &log);
    for (size_t i = 0; i < log.count; i++)
        if (log.items[i].severity == CONFIG_ERROR)
            sim_fail(sim, "the configuration of the simulator: %s", log.items[i].text);
    config_log_free(&log);
    n->disk.same_dir = strcmp(c->data_dir, c->data_log_dir) == 0;
}

/* ------------------------------------------------------------------ ends and starts */

static void plan_crash(struct sim_node *n) {
    struct sim *sim = n->sim;
    uint64_t kind = rng_below(&sim->rng, 10);
    n->crash_kind = kind < 7 ? END_POWER_LOSS : kind < 9 ? END_KILL : END_STOP;
    n->crash_us = sim->calm ? SIM_NEVER : sim_soon(sim, 5000, sim_is_ensemble(sim) ? 12000000 : 1500000);
}

static void free_server(struct sim_node *n, bool orderly) {
    sim_links_cut(n);
    sim_env_abandon(n);
    quorum_free(n->server->quorum);
    sim_env_abandon(n);
    logwriter_free(n->writer, orderly);
    n->writer = NULL;
    server_free(n->server);
    n->server = NULL;
    n->paused_us = 0;
    sim_member_gone(n);
}

void sim_node_crash(struct sim_node *n, enum sim_end kind) {
    static const char *const names[] = {"power loss", "kill", "stop"};
    struct sim *sim = n->sim;
    bool ensemble = sim_is_ensemble(sim);
    sim_trace(sim, "%d: %s, synced 0x%llx, ordered 0x%llx", n->sid, names[kind], (unsigned long long)n->synced,
              (unsigned long long)model_last(&sim->model));
    n->restart_us = sim_soon(sim, 5000, rng_below(&sim->rng, 4) == 0 && ensemble ? 5000000 : 300000);
    n->dark = kind == END_POWER_LOSS;
    sim_wires_cut(n, n->dark);
    n->disk.dead = true; /* nothing that is still done to it counts */
    free_server(n, false);
    n->stopping = false;
    if (kind == END_POWER_LOSS) {
        sim->counters->power_losses++;
        sim->counters->member_power_losses += ensemble;
        simdisk_crash(&n->disk, rng_next(&sim->rng));
    } else {
        sim->counters->kills++;
        sim->counters->member_kills += ensemble;
        simdisk_kill(&n->disk);
    }
    n->error_armed = false;
    sim_damage_if_due(n);
    plan_crash(n);
}

/* S13, S14: what was synced is there, what is there was ordered, and nothing in between is missing. */
static void check_recovered(struct sim_node *n, const struct recovery_result *result) {
    struct sim *sim = n->sim;
    zxid_t last = n->server->last_applied, ordered = model_last(&sim->model);
    sim_trace(sim, "%d: recovered up to 0x%llx%s%s", n->sid, (unsigned long long)last, result->cut ? ", cut: " : "",
              result->cut ? result->message : "");
    sim->counters->recoveries++;
    sim->counters->replayed += result->txns_replayed;
    sim->counters->torn += result->cut;
    zxid_t shown = sim_is_ensemble(sim) ? 0 : sim->shown;
    /* S15: what was lost is all there after all, or it was found, and the member knows that it must not vote. */
    bool found = n->lost && (last == 0 || store_is_marked(&n->disk.disk));
    if ((last < n->synced && !n->cutting && !found) || last < shown)
        sim_fail(sim, "S13: the database of server %d ends at zxid 0x%llx, but 0x%llx was synced and 0x%llx was shown", n->sid,
                 (unsigned long long)last, (unsigned long long)n->synced, (unsigned long long)shown);
    zxid_t synced = n->synced;
    n->synced = n->tail = last;
    n->cutting = false;
    if (sim_is_ensemble(sim))
        return;
    if (last > ordered) {
        sim_fail(sim, "S23: the database ends at zxid 0x%llx, only 0x%llx was ever ordered", (unsigned long long)last,
                 (unsigned long long)ordered);
        return;
    }
    sim->counters->unacked_kept += (uint64_t)i64_max(0, last - synced);
    sim->counters->unacked_lost += (uint64_t)(ordered - last);
    model_rollback(&sim->model, last);
    sim_check_tree(n, "after recovery");
    for (size_t i = 0; i < sim->model.session_count; i++)
        sim->model.sessions[i].touched_us = sim_now(sim);
}

/* A start that fails because the disk is full or because the machine goes down again; both are tried once more. */
static void give_up_start(struct sim_node *n) {
    struct sim *sim = n->sim;
    bool died = n->disk.dead;
    n->disk.dead = true;
    free_server(n, false);
    if (died && rng_below(&sim->rng, 3) != 0)
        simdisk_crash(&n->disk, rng_next(&sim->rng));
    else
        simdisk_kill(&n->disk);
    sim->counters->mid_recovery += died;
    sim->counters->failed_starts += !died;
    n->restart_us = sim_soon(sim, 5000, 200000);
}

/* Short enough that members that were away for a while need a snapshot, or the log files. */
static size_t history_count_min(struct sim *sim) {
    size_t count = 250 + (size_t)rng_below(&sim->rng, 250);
    return has_short_history(sim) ? count / 16 : count;
}

static void make_server(struct sim_node *n) {
    struct sim *sim = n->sim;
    struct env env = sim_env(n);
    n->server = server_new(&n->config, &env, rng_next(&sim->rng), sim_node_now(n));
    if (sim_is_ensemble(sim))
        n->server->history = history_new(1, history_count_min(sim));
    if (sim->counter_limit != 0)
        n->server->counter_limit = sim->counter_limit;
    if (sim->slices)
        n->server->listing_inline_bytes = 0;
}

/* As the program itself: a damaged member does not need its files. */
static void recover(struct sim_node *n, struct recovery_result *result) {
    struct sim *sim = n->sim;
    make_server(n);
    server_recover(n->server, result, sim_node_now(n));
    if (result->status != RECOVERY_REFUSED || !n->lost || n->disk.dead)
        return;
    sim_trace(sim, "%d: %s", n->sid, result->message);
    sim->counters->found_damage++;
    n->restored = true;
    if (store_abandon(&n->disk.disk) != 0) {
        result->status = RECOVERY_IO;
        return;
    }
    server_free(n->server);
    make_server(n);
    server_recover(n->server, result, sim_node_now(n));
}

static void start(struct sim_node *n) {
    struct sim *sim = n->sim;
    struct recovery_result result;
    struct logwriter_options options = {.prealloc_bytes = n->config.prealloc_kib * 1024,
                                        .force_sync = true,
                                        .side_file_interval_us = 200000};
    bool ensemble = sim_is_ensemble(sim);
    n->disk.clock_us = sim_now(sim);
    n->disk.calls = n->disk.crash_at = 0;
    n->dark = false;
    n->log_diffs = n->log_snaps = 0;
    if (!sim->calm && rng_below(&sim->rng, 4) == 0 && sim_may(sim, FAULT_CRASH))
        n->disk.crash_at = 1 + rng_below(&sim->rng, 12);
    recover(n, &result);
    if (result.status != RECOVERY_OK && !n->disk.dead && !(result.status == RECOVERY_IO && n->full))
        sim_fail(sim, "S15: recovery of server %d refuses: %s", n->sid, result.message);
    n->writer = logwriter_new(&n->disk.disk, &options);
    bool started = result.status == RECOVERY_OK &&
                   (ensemble ? sim_member_start(n) : server_start(n->server, sim_node_now(n))) == 0;
    if (n->disk.dead || !started) {
        if (!n->disk.dead && !n->full)
            sim_fail(sim, "server %d does not start", n->sid);
        give_up_start(n);
        return;
    }
    n->disk.crash_at = 0;
    n->wake_us = sim_now(sim);
    check_recovered(n, &result);
}

void sim_node_begin_stop(struct sim_node *n) {
    sim_trace(n->sim, "%d: orderly stop", n->sid);
    n->stopping = true;
    server_stop(n->server, sim_node_now(n));
    n->wake_us = sim_now(n->sim);
}

static void end_stop(struct sim_node *n) {
    struct sim *sim = n->sim;
    bool lost = n->server->disk_full;
    free_server(n, !lost);
    simdisk_kill(&n->disk);
    n->error_armed = false;
    n->stopping = false;
    sim->counters->stops++;
    n->restart_us = sim_soon(sim, 5000, 100000);
    plan_crash(n);
}

/* ------------------------------------------------------------------ faults */

static void full_disk(struct sim_node *n) {
    struct sim *sim = n->sim;
    if (n->full) {
        sim_trace(sim, "%d: there is space again", n->sid);
        n->full = false;
        n->full_seen_us = sim_now(sim);
        n->disk.capacity = 0;
        n->full_us = sim->calm ? SIM_NEVER : sim_soon(sim, 500000, sim_is_ensemble(sim) ? 60000000 : 5000000);
        return;
    }
    if (!sim_fault(sim, FAULT_DISK_FULL)) {
        n->full_us = SIM_NEVER;
        return;
    }
    n->full = true;
    n->disk.capacity = simdisk_used(&n->disk) + (int64_t)rng_below(&sim->rng, 40000);
    n->full_us = sim_soon(sim, 100000, sim_is_ensemble(sim) ? 8000000 : 2500000);
    sim->counters->full_periods++;
    sim->counters->member_full += sim_is_ensemble(sim);
    sim_trace(sim, "%d: the disk fills up", n->sid);
}

static void slow_disk(struct sim_node *n) {
    struct sim *sim = n->sim;
    n->slow_disk_us = sim_soon(sim, 2000000, 60000000);
    if (!sim_fault(sim, FAULT_DISK_SLOW))
        return;
    n->slow_disk_until_us = sim_soon(sim, 200000, 6000000);
    sim->counters->slow_disks++;
    sim_trace(sim, "%d: the disk is slow", n->sid);
}

static void failing_disk(struct sim_node *n) {
    struct sim *sim = n->sim;
    n->error_us = sim_soon(sim, 1000000, 30000000);
    if (!sim_fault(sim, FAULT_DISK_ERROR))
        return;
    sim_trace(sim, "%d: an error of the disk is near", n->sid);
    n->error_armed = true;
    n->disk.calls = 0;
    n->disk.fail_at = 1 + rng_below(&sim->rng, 20);
    n->disk.fail_errno = -EIO;
}

static void run_faults(struct sim_node *n) {
    struct sim *sim = n->sim;
    if (n->full_us <= sim_now(sim))
        full_disk(n);
    if (n->slow_disk_us <= sim_now(sim))
        slow_disk(n);
    if (n->server == NULL || n->stopping)
        return;
    if (n->error_us <= sim_now(sim))
        failing_disk(n);
    if (n->crash_us > sim_now(sim))
        return;
    if (!sim_fault(sim, FAULT_CRASH)) {
        n->crash_us = SIM_NEVER;
        return;
    }
    if (n->crash_kind == END_STOP && (n->server->state == SERVER_RUNNING || !sim_is_ensemble(sim))) {
        n->crash_us = SIM_NEVER;
        sim_node_begin_stop(n);
    } else if (n->crash_kind == END_STOP || rng_below(&sim->rng, 3) == 0) {
        sim_node_crash(n, n->crash_kind == END_STOP ? END_KILL : n->crash_kind);
    } else {
        /* In the middle of a command: at one of the next changes of the disk. */
        n->crash_us = SIM_NEVER;
        n->disk.calls = 0;
        n->disk.crash_at = 1 + rng_below(&sim->rng, rng_below(&sim->rng, 2) == 0 ? 4 : 40);
    }
}

void sim_node_calm(struct sim_node *n) {
    if (n->full)
        full_disk(n);
    n->crash_us = n->full_us = n->error_us = n->slow_disk_us = SIM_NEVER;
    n->slow_disk_until_us = 0;
    n->disk.crash_at = n->disk.fail_at = 0;
}

/* ------------------------------------------------------------------ turns */

/* When the server's clock shows this. */
static int64_t world_us(const struct sim_node *n, int64_t server_us) {
    int64_t since_us = server_us - n->sim->begin_us;
    if (server_us >= INT64_MAX / 4)
        return SIM_NEVER;
    if (n->sim->options.broken == BREAK_FAST_CLOCK)
        return n->sim->begin_us + (since_us + 1) / 2;
    return n->sim->options.broken == BREAK_SLOW_CLOCK ? n->sim->begin_us + since_us * 2 : server_us;
}

/* The order of the real loop: input and completions, the core's own work, the batch, output. */
static void turn(struct sim_node *n) {
    struct sim *sim = n->sim;
    struct server *s = n->server;
    sim->counters->turns++;
    server_turn_begin(s, sim_node_now(n));
    if (s->quorum != NULL)
        quorum_turn(s->quorum);
    server_turn_end(s, sim_node_now(n));
    if (s->quorum != NULL)
        sim_member_account(n);
    sim_links_settle(n);
    if (s->state == SERVER_FAILED && !n->error_armed && !n->disk.dead && !sim_damage_is_latent(n))
        sim_fail(sim, "server %d gave up: %s", n->sid, s->failure);
    n->wake_us = world_us(n, server_next_wake(s).us);
    if (s->quorum != NULL)
        n->wake_us = i64_min(n->wake_us, world_us(n, quorum_next_wake(s->quorum).us));
    n->wake_us = i64_max(sim_now(sim), n->wake_us);
}

void sim_node_run(struct sim_node *n) {
    struct sim *sim = n->sim;
    for (int turns = 0; n->server != NULL && !sim_is_paused(n) && !sim_failed(sim); turns++) {
        bool any = n->server->quorum != NULL && !n->stopping && sim_wires_feed(n);
        any |= sim_links_feed(n);
        any |= sim_env_run(n);
        if (n->disk.dead) {
            sim->counters->mid_command++;
            sim_node_crash(n, n->crash_kind == END_STOP ? END_POWER_LOSS : n->crash_kind);
            return;
        }
        if (!any && n->wake_us > sim_now(sim))
            break;
        turn(n);
        if (n->server->state == SERVER_FAILED && !n->error_armed && sim_damage_is_latent(n)) {
            sim_damage_found(n);
            sim_node_crash(n, END_KILL);
            return;
        }
        if (n->server->state == SERVER_FAILED && n->error_armed) {
            /* S6: it ends. What the failed sync should have written may be in the cache and nowhere else: power goes, too. */
            sim->counters->disk_errors++;
            sim_node_crash(n, END_POWER_LOSS);
            return;
        }
        if (turns > TURNS_AT_ONCE)
            sim_fail(sim, "server %d does not come to rest", n->sid);
    }
    if (n->server != NULL && n->stopping && !sim_is_paused(n) && server_idle(n->server) && list_empty(&n->server->conns_all))
        end_stop(n);
}

int64_t sim_node_next(const struct sim_node *n) {
    int64_t next = i64_min(n->full_us, n->slow_disk_us);
    if (n->server == NULL)
        return i64_min(next, n->restart_us);
    if (!n->stopping)
        next = i64_min(next, i64_min(n->crash_us, n->error_us));
    return i64_min(next, sim_is_paused(n) ? n->paused_us : i64_min(n->wake_us, sim_env_next(n)));
}

void sim_node_step(struct sim_node *n) {
    run_faults(n);
    if (n->server == NULL && n->restart_us <= sim_now(n->sim))
        start(n);
}

void sim_node_init(struct sim_node *n, struct sim *sim, int sid) {
    bool ensemble = sim_is_ensemble(sim);
    *n = (struct sim_node){.sim = sim, .sid = sid};
    list_init(&n->log_cmds);
    list_init(&n->jobs);
    list_init(&n->shadows);
    simdisk_init(&n->disk, rng_next(&sim->rng));
    n->disk.counted_ops = SIMDISK_CHANGES;
    n->disk.short_writes = rng_below(&sim->rng, 4) == 0;
    sim_env_break_disk(n);
    configure(n);
    sim_first_put(n);
    n->restart_us = sim_now(sim);
    n->full_seen_us = INT64_MIN / 2;
    n->full_us = ensemble ? sim_soon(sim, 1000000, 60000000) : sim_soon(sim, 200000, 5000000);
    n->slow_disk_us = sim_soon(sim, 2000000, 60000000);
    n->error_us = sim_soon(sim, 500000, ensemble ? 60000000 : 20000000);
    plan_crash(n);
}

void sim_node_free(struct sim_node *n) {
    n->disk.dead = true;
    if (n->server != NULL)
        free_server(n, false);
    simdisk_close(&n->disk);
    config_free(&n->config);
}
