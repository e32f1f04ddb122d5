/* The world as the server sees it. Commands of the log are carried out one by one, each with a delay before and after it;
 * jobs take their time independently. So a crash finds commands that were ordered and not done, done and not reported,
 * and (by a count of disk calls) half done. */
#include <errno.h>

#include "base/mem.h"
#include "sim/sim.h"

#define SHADOW_HOLD_US 30000

struct sim_job {
    struct list link;
    struct job *job;
    int64_t due_us;
};

struct sim_shadow {
    struct list link;
    struct log_cmd cmd;
    struct iovec iov;
    int64_t due_us;
};

/* Usually short, sometimes long. */
static int64_t latency(struct sim *sim, int64_t usual_us, int64_t stall_us, unsigned one_in) {
    if (rng_below(&sim->rng, one_in) == 0) {
        sim->counters->disk_stalls++;
        return (int64_t)rng_below(&sim->rng, (uint64_t)stall_us);
    }
    return 20 + (int64_t)rng_below(&sim->rng, (uint64_t)usual_us);
}

/* ------------------------------------------------------------------ orders */

/* S27. A batch may be ordered long after its transactions were decided; the time of that stands in their headers. */
static void watch_sessions(struct sim *sim, const struct txn_header *h) {
    struct model_session *session = model_session(&sim->model, h->client_id);
    int64_t decided_us = (h->time_ms - SIM_WALL_MS) * 1000;
    if (h->type == OP_CREATE_SESSION)
        session->touched_us = decided_us;
    if (h->type != OP_CLOSE_SESSION || h->cxid != 0)
        return;
    sim->counters->expiries++;
    if (decided_us + 999 - session->touched_us < session->timeout_ms * 1000LL || sim_link_is_unread(sim, h->client_id))
        sim_fail(sim, "S27: session 0x%llx expired after %lld us, its timeout is %d ms", (unsigned long long)session->id,
                 (long long)(decided_us - session->touched_us), session->timeout_ms);
}

/* The log has a form of its own on the way to the disk: here the model hears of each transaction. */
static void take_batch(struct sim *sim, const struct log_cmd *cmd) {
    struct slice bytes = {cmd->iov[0].iov_base, cmd->iov[0].iov_len};
    zxid_t zxid = cmd->first_zxid;
    if (sim->appending)
        sim_fail(sim, "S2: batch 0x%llx was ordered before the one in front of it was done", (unsigned long long)zxid);
    sim->appending = true;
    while (bytes.len >= 13) {
        size_t len = be32_load(bytes.data + 8);
        if (len > bytes.len - 13)
            break;
        struct slice payload = {bytes.data + 12, len};
        zxid_t known = model_last(&sim->model);
        bool taken = model_take(&sim->model, payload);
        if (!taken && zxid <= known && cmd->first_zxid == sim->refused_first) {
            /* Growing writes were taken out of a batch that no disk has ever held. */
            sim->counters->batches_shed++;
            model_rollback(&sim->model, zxid - 1);
            known = zxid - 1;
            taken = model_take(&sim->model, payload);
        }
        if (!taken) {
            sim_fail(sim, "transaction 0x%llx was not to be: %s", (unsigned long long)zxid, sim->model.error);
            return;
        }
        if (zxid > known)
            watch_sessions(sim, &sim->model.txns[zxid - 1].header);
        zxid++;
        bytes.data += len + 13;
        bytes.len -= len + 13;
    }
    if (bytes.len != 0 || zxid != cmd->last_zxid + 1)
        sim_fail(sim, "batch 0x%llx does not hold what its command says", (unsigned long long)cmd->first_zxid);
}

static void log_submit(void *ctx, struct log_cmd *cmd) {
    struct sim *sim = ctx;
    if (cmd->type == LOG_CMD_APPEND)
        take_batch(sim, cmd);
    list_init(&cmd->link);
    list_push(&sim->log_cmds, &cmd->link);
    if (!sim->log_busy) {
        sim->log_busy = true;
        sim->log_executed = false;
        sim->log_us = sim_now(sim) + latency(sim, 3000, 600000, 200);
    }
}

static void job_submit(void *ctx, struct job *job) {
    struct sim *sim = ctx;
    struct sim_job *j = mem_calloc(1, sizeof *j);
    j->job = job;
    j->due_us = sim_now(sim) + latency(sim, 4000, 1500000, 100);
    list_push(&sim->jobs, &j->link);
}

struct env sim_env(struct sim *sim) {
    return (struct env){.ctx = sim, .disk = &sim->disk.disk, .log_submit = log_submit, .job_submit = job_submit};
}

/* ------------------------------------------------------------------ breaking the rules */

static int sync_nothing(void *ctx, int handle) {
    (void)ctx;
    (void)handle;
    return 0;
}

static int sync_no_directory(void *ctx, enum disk_dir dir) {
    (void)ctx;
    (void)dir;
    return 0;
}

void sim_env_break_disk(struct sim *sim) {
    if (sim->options.broken == BREAK_LOST_SYNC)
        sim->disk.disk.fdatasync = sync_nothing;
    if (sim->options.broken == BREAK_NO_DIR_SYNC)
        sim->disk.disk.sync_dir = sync_no_directory;
}

/* Reports the append as done, and keeps a copy that is carried out later. */
static void cast_shadow(struct sim *sim, struct log_cmd *cmd) {
    struct sim_shadow *s = mem_calloc(1, sizeof *s);
    s->cmd = *cmd;
    s->iov = (struct iovec){mem_dup(cmd->iov->iov_base, cmd->iov->iov_len), cmd->iov->iov_len};
    s->cmd.iov = &s->iov;
    s->due_us = sim_now(sim) + (sim->options.broken == BREAK_REORDERED_BATCHES ? SHADOW_HOLD_US : 1000);
    list_init(&s->cmd.link);
    list_push(&sim->shadows, &s->link);
    cmd->err = 0;
    cmd->sync_us = 0;
    /* What the disk would have said; the reordering must be found in what is on the disk. */
    if (sim->options.broken == BREAK_REORDERED_BATCHES)
        sim->synced = cmd->last_zxid;
}

static void drop_shadow(struct sim_shadow *s) {
    list_remove(&s->link);
    mem_free(s->iov.iov_base);
    mem_free(s);
}

static void execute_shadow(struct sim *sim, struct sim_shadow *s) {
    logwriter_execute(sim->writer, &s->cmd);
    if (s->cmd.err == 0)
        sim->synced = i64_max(sim->synced, s->cmd.last_zxid);
    drop_shadow(s);
}

static void execute_shadows(struct sim *sim, bool all) {
    while (!list_empty(&sim->shadows)) {
        struct sim_shadow *first = LIST_FIRST(&sim->shadows, struct sim_shadow, link);
        bool two = first->link.next != &sim->shadows;
        if (!all && first->due_us > sim_now(sim) && !(two && sim->options.broken == BREAK_REORDERED_BATCHES))
            return;
        if (two && sim->options.broken == BREAK_REORDERED_BATCHES)
            execute_shadow(sim, CONTAINER_OF(first->link.next, struct sim_shadow, link));
        execute_shadow(sim, first);
    }
}

static bool is_shadowed(const struct sim *sim, const struct log_cmd *cmd) {
    return cmd->type == LOG_CMD_APPEND &&
           (sim->options.broken == BREAK_ACK_BEFORE_SYNC || sim->options.broken == BREAK_REORDERED_BATCHES);
}

/* ------------------------------------------------------------------ carrying out */

static void count_done(struct sim *sim, const struct log_cmd *cmd) {
    struct sim_counters *n = sim->counters;
    if (cmd->type == LOG_CMD_APPEND)
        sim->refused_first = cmd->err == -ENOSPC ? cmd->first_zxid : 0;
    if (cmd->type == LOG_CMD_APPEND && cmd->err == -ENOSPC) {
        n->full_appends++;
        sim->full_seen_us = sim_now(sim);
    } else if (cmd->err != 0) {
        return;
    }
    switch (cmd->type) {
    case LOG_CMD_APPEND:
        n->appends++;
        n->rolls += cmd->roll && cmd->err == 0;
        break;
    case LOG_CMD_PUBLISH:
        n->snapshots++;
        break;
    case LOG_CMD_REMOVE:
        n->removed += (uint64_t)cmd->remove_count;
        break;
    default:
        break;
    }
}

static void execute(struct sim *sim, struct log_cmd *cmd) {
    if (is_shadowed(sim, cmd)) {
        cast_shadow(sim, cmd);
        return;
    }
    execute_shadows(sim, true);
    logwriter_execute(sim->writer, cmd);
    if (cmd->type == LOG_CMD_APPEND && cmd->err == 0)
        sim->synced = i64_max(sim->synced, cmd->last_zxid);
    sim_trace(sim, "log: command %d up to zxid 0x%llx: %d", (int)cmd->type, (unsigned long long)cmd->last_zxid, cmd->err);
}

/* True if the command was reported. */
static bool run_log(struct sim *sim) {
    struct log_cmd *cmd = LIST_FIRST(&sim->log_cmds, struct log_cmd, link);
    if (!sim->log_executed) {
        sim->log_executed = true;
        sim->log_us = sim_now(sim) + latency(sim, 300, 50000, 50);
        execute(sim, cmd);
        return false;
    }
    list_remove(&cmd->link);
    sim->log_busy = !list_empty(&sim->log_cmds);
    sim->log_executed = false;
    sim->log_us = sim_now(sim) + latency(sim, 3000, 600000, 200);
    if (cmd->type == LOG_CMD_APPEND)
        sim->appending = false;
    count_done(sim, cmd);
    server_log_done(sim->server, cmd, sim->now);
    return true;
}

static bool run_jobs(struct sim *sim) {
    struct sim_job *j;
    bool any = false;
    LIST_FOREACH(j, &sim->jobs, struct sim_job, link) {
        if (j->due_us > sim_now(sim))
            continue;
        struct job *job = j->job;
        job->run(job, &sim->disk.disk);
        if (sim->disk.dead) {
            j->due_us = SIM_NEVER; /* the machine is down before anybody hears of it */
            return any;
        }
        list_remove(&j->link);
        mem_free(j);
        job->done(job);
        any = true;
    }
    return any;
}

int64_t sim_env_next(const struct sim *sim) {
    int64_t next = sim->log_busy ? sim->log_us : SIM_NEVER;
    const struct sim_job *j;
    LIST_FOREACH(j, &sim->jobs, struct sim_job, link)
        next = i64_min(next, j->due_us);
    if (!list_empty(&sim->shadows))
        next = i64_min(next, LIST_FIRST(&sim->shadows, struct sim_shadow, link)->due_us);
    return next;
}

bool sim_env_run(struct sim *sim) {
    bool any = false;
    sim->disk.clock_us = sim_now(sim);
    execute_shadows(sim, false);
    if (sim->log_busy && sim->log_us <= sim_now(sim))
        any = run_log(sim);
    if (!sim->disk.dead)
        any |= run_jobs(sim);
    return any;
}

void sim_env_abandon(struct sim *sim) {
    while (!list_empty(&sim->jobs)) {
        struct sim_job *j = LIST_FIRST(&sim->jobs, struct sim_job, link);
        struct job *job = j->job;
        bool was_run = j->due_us == SIM_NEVER;
        list_remove(&j->link);
        mem_free(j);
        if (!was_run)
            job->run(job, &sim->disk.disk);
        job->done(job);
    }
    while (!list_empty(&sim->shadows))
        drop_shadow(LIST_FIRST(&sim->shadows, struct sim_shadow, link));
    list_init(&sim->log_cmds); /* whoever ordered them frees them */
    sim->log_busy = sim->appending = false;
}
