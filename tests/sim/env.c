/* The world as the server sees it. Commands of the log are carried out one by one, each with a delay before and after it;
 * jobs take their time independently. So a crash finds commands that were ordered and not done, done and not reported,
 * and (by a count of disk calls) half done. */
#include <errno.h>

#include "base/mem.h"
#include "sim/sim.h"

#define SHADOW_HOLD_US 30000
#define SLOW_TIMES 40

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

/* Usually short, sometimes long; for a while always long. */
static int64_t latency(struct sim_node *n, int64_t usual_us, int64_t stall_us, unsigned one_in) {
    struct sim *sim = n->sim;
    bool stalls = rng_below(&sim->rng, one_in) == 0 && sim_may(sim, FAULT_DISK_SLOW);
    if (stalls) {
        sim->counters->disk_stalls++;
        return (int64_t)rng_below(&sim->rng, (uint64_t)stall_us);
    }
    int64_t us = 20 + (int64_t)rng_below(&sim->rng, (uint64_t)usual_us);
    return n->slow_disk_until_us > sim_now(sim) ? us * SLOW_TIMES : us;
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
static void take_batch(struct sim_node *n, const struct log_cmd *cmd) {
    struct sim *sim = n->sim;
    struct slice bytes = {cmd->iov[0].iov_base, cmd->iov[0].iov_len};
    zxid_t zxid = cmd->first_zxid;
    while (bytes.len >= 13) {
        size_t len = be32_load(bytes.data + 8);
        if (len > bytes.len - 13)
            break;
        struct slice payload = {bytes.data + 12, len};
        zxid_t known = model_last(&sim->model);
        bool taken = model_take(&sim->model, payload);
        if (!taken && zxid <= known && cmd->first_zxid == n->refused_first) {
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
            watch_sessions(sim, &model_txn_at(&sim->model, zxid)->header);
        zxid++;
        bytes.data += len + 13;
        bytes.len -= len + 13;
    }
    if (bytes.len != 0 || zxid != cmd->last_zxid + 1)
        sim_fail(sim, "batch 0x%llx does not hold what its command says", (unsigned long long)cmd->first_zxid);
}

static void log_submit(void *ctx, struct log_cmd *cmd) {
    struct sim_node *n = ctx;
    if (cmd->type == LOG_CMD_APPEND && n->appending)
        sim_fail(n->sim, "S2: server %d: batch 0x%llx was ordered before the one in front of it was done", n->sid,
                 (unsigned long long)cmd->first_zxid);
    n->appending |= cmd->type == LOG_CMD_APPEND;
    if (cmd->type == LOG_CMD_APPEND && sim_is_ensemble(n->sim))
        sim_member_batch(n, cmd);
    else if (cmd->type == LOG_CMD_APPEND)
        take_batch(n, cmd);
    list_init(&cmd->link);
    list_push(&n->log_cmds, &cmd->link);
    if (!n->log_busy) {
        n->log_busy = true;
        n->log_executed = false;
        n->log_us = sim_now(n->sim) + latency(n, 3000, 600000, 200);
    }
}

static void job_submit(void *ctx, struct job *job) {
    struct sim_node *n = ctx;
    struct sim_job *j = mem_calloc(1, sizeof *j);
    j->job = job;
    j->due_us = sim_now(n->sim) + latency(n, 4000, 1500000, 100);
    list_push(&n->jobs, &j->link);
}

struct env sim_env(struct sim_node *n) {
    return (struct env){.ctx = n,
                        .disk = &n->disk.disk,
                        .same_dir = n->disk.same_dir,
                        .log_submit = log_submit,
                        .job_submit = job_submit};
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

void sim_env_break_disk(struct sim_node *n) {
    if (n->sim->options.broken == BREAK_LOST_SYNC)
        n->disk.disk.fdatasync = sync_nothing;
    if (n->sim->options.broken == BREAK_NO_DIR_SYNC)
        n->disk.disk.sync_dir = sync_no_directory;
}

static bool breaks(const struct sim_node *n, enum sim_break rule) { return n->sim->options.broken == rule; }

/* Reports the append as done, and keeps a copy that is carried out later. */
static void cast_shadow(struct sim_node *n, struct log_cmd *cmd) {
    struct sim_shadow *s = mem_calloc(1, sizeof *s);
    s->cmd = *cmd;
    s->iov = (struct iovec){mem_dup(cmd->iov->iov_base, cmd->iov->iov_len), cmd->iov->iov_len};
    s->cmd.iov = &s->iov;
    s->due_us = sim_now(n->sim) + (breaks(n, BREAK_REORDERED_BATCHES) ? SHADOW_HOLD_US : 1000);
    list_init(&s->cmd.link);
    list_push(&n->shadows, &s->link);
    cmd->err = 0;
    cmd->sync_us = 0;
    /* What the disk would have said; the reordering must be found in what is on the disk. */
    if (breaks(n, BREAK_REORDERED_BATCHES))
        n->synced = cmd->last_zxid;
}

static void drop_shadow(struct sim_shadow *s) {
    list_remove(&s->link);
    mem_free(s->iov.iov_base);
    mem_free(s);
}

static void execute_shadow(struct sim_node *n, struct sim_shadow *s) {
    logwriter_execute(n->writer, &s->cmd);
    if (s->cmd.err == 0)
        n->synced = i64_max(n->synced, s->cmd.last_zxid);
    drop_shadow(s);
}

static void execute_shadows(struct sim_node *n, bool all) {
    while (!list_empty(&n->shadows)) {
        struct sim_shadow *first = LIST_FIRST(&n->shadows, struct sim_shadow, link);
        bool two = first->link.next != &n->shadows;
        if (!all && first->due_us > sim_now(n->sim) && !(two && breaks(n, BREAK_REORDERED_BATCHES)))
            return;
        if (two && breaks(n, BREAK_REORDERED_BATCHES))
            execute_shadow(n, CONTAINER_OF(first->link.next, struct sim_shadow, link));
        execute_shadow(n, first);
    }
}

static bool is_shadowed(const struct sim_node *n, const struct log_cmd *cmd) {
    return cmd->type == LOG_CMD_APPEND && (breaks(n, BREAK_ACK_BEFORE_SYNC) || breaks(n, BREAK_REORDERED_BATCHES) ||
                                           breaks(n, BREAK_EARLY_ACK));
}

static bool is_left_out(const struct sim_node *n, const struct log_cmd *cmd) {
    if (cmd->type != LOG_CMD_ATOMIC)
        return false;
    return (breaks(n, BREAK_NO_CURRENT_EPOCH) && strcmp(cmd->name, EPOCH_CURRENT) == 0) ||
           (breaks(n, BREAK_NO_ACCEPTED_EPOCH) && strcmp(cmd->name, EPOCH_ACCEPTED) == 0);
}

/* ------------------------------------------------------------------ carrying out */

static void count_done(struct sim_node *node, const struct log_cmd *cmd) {
    struct sim_counters *n = node->sim->counters;
    if (cmd->type == LOG_CMD_APPEND)
        node->refused_first = cmd->err == -ENOSPC ? cmd->first_zxid : 0;
    if (cmd->type == LOG_CMD_APPEND && cmd->err == -ENOSPC) {
        n->full_appends++;
        node->full_seen_us = sim_now(node->sim);
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

static void execute_unsynced(struct sim_node *n, struct log_cmd *cmd) {
    struct disk whole = n->disk.disk;
    n->disk.disk.fsync = n->disk.disk.fdatasync = sync_nothing;
    n->disk.disk.sync_dir = sync_no_directory;
    logwriter_execute(n->writer, cmd);
    n->disk.disk = whole;
}

static void execute(struct sim_node *n, struct log_cmd *cmd) {
    if (is_shadowed(n, cmd)) {
        cast_shadow(n, cmd);
        return;
    }
    execute_shadows(n, true);
    n->cutting |= cmd->type == LOG_CMD_CALL;
    if (is_left_out(n, cmd))
        cmd->err = 0;
    else if (cmd->type == LOG_CMD_CALL && breaks(n, BREAK_CUT_NOT_SYNCED))
        execute_unsynced(n, cmd);
    else
        logwriter_execute(n->writer, cmd);
    if (cmd->type == LOG_CMD_APPEND && cmd->err == 0)
        n->synced = cmd->last_zxid;
    sim_trace(n->sim, "%d: log: command %d up to zxid 0x%llx: %d", n->sid, (int)cmd->type,
              (unsigned long long)cmd->last_zxid, cmd->err);
}

/* True if the command was reported. */
static bool run_log(struct sim_node *n) {
    struct log_cmd *cmd = LIST_FIRST(&n->log_cmds, struct log_cmd, link);
    if (!n->log_executed) {
        n->log_executed = true;
        n->log_us = sim_now(n->sim) + latency(n, 300, 50000, 50);
        execute(n, cmd);
        return false;
    }
    list_remove(&cmd->link);
    n->log_busy = !list_empty(&n->log_cmds);
    n->log_executed = false;
    n->log_us = sim_now(n->sim) + latency(n, 3000, 600000, 200);
    if (cmd->type == LOG_CMD_APPEND)
        n->appending = false;
    bool cut = cmd->type == LOG_CMD_CALL && cmd->err == 0;
    count_done(n, cmd);
    server_log_done(n->server, cmd, sim_node_now(n));
    if (cut) {
        /* With a batch under way it was another call. */
        if (n->server->writing == NULL && (n->server->filling == NULL || n->server->filling->count == 0))
            n->synced = n->tail = n->server->logged;
        n->cutting = false;
    }
    return true;
}

static bool run_jobs(struct sim_node *n) {
    struct sim_job *j;
    bool any = false;
    LIST_FOREACH(j, &n->jobs, struct sim_job, link) {
        if (j->due_us > sim_now(n->sim))
            continue;
        struct job *job = j->job;
        job->run(job, &n->disk.disk);
        if (n->disk.dead) {
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

int64_t sim_env_next(const struct sim_node *n) {
    int64_t next = n->log_busy ? n->log_us : SIM_NEVER;
    const struct sim_job *j;
    LIST_FOREACH(j, &n->jobs, struct sim_job, link)
        next = i64_min(next, j->due_us);
    if (!list_empty(&n->shadows))
        next = i64_min(next, LIST_FIRST(&n->shadows, struct sim_shadow, link)->due_us);
    return next;
}

bool sim_env_run(struct sim_node *n) {
    bool any = false;
    n->disk.clock_us = sim_now(n->sim);
    execute_shadows(n, false);
    if (n->log_busy && n->log_us <= sim_now(n->sim))
        any = run_log(n);
    if (!n->disk.dead)
        any |= run_jobs(n);
    return any;
}

static void end_jobs(struct sim_node *n) {
    while (!list_empty(&n->jobs)) {
        struct sim_job *j = LIST_FIRST(&n->jobs, struct sim_job, link);
        struct job *job = j->job;
        bool was_run = j->due_us == SIM_NEVER;
        list_remove(&j->link);
        mem_free(j);
        if (!was_run)
            job->run(job, &n->disk.disk);
        job->done(job);
    }
}

void sim_env_abandon(struct sim_node *n) {
    struct log_cmd *cmd;
    end_jobs(n);
    while (!list_empty(&n->shadows))
        drop_shadow(LIST_FIRST(&n->shadows, struct sim_shadow, link));
    /* Whoever ordered them frees them; of some that is the completion. */
    LIST_FOREACH(cmd, &n->log_cmds, struct log_cmd, link) {
        list_remove(&cmd->link);
        cmd->err = -EIO;
        if (cmd->type == LOG_CMD_ATOMIC || cmd->type == LOG_CMD_CALL)
            cmd->done(cmd);
    }
    n->log_busy = n->appending = n->log_executed = false;
    end_jobs(n);
}
