/* Watches over the space of the data directories. A ballast file keeps real blocks back, so that session operations,
 * deletes and reads still work when the disk has been filled; and old snapshots and logs are removed as configured.
 * All looks at the disk are jobs, all changes go through the log's FIFO. */
#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "server/server.h"
#include "store/retention.h"

#define BALLAST_NAME "zabra.ballast"
#define LOOK_INTERVAL_MS 1000

/* One look at the disk: orders and findings. The job's own while it is under way. */
struct look {
    struct job job;
    int64_t ballast_bytes;
    bool make_ballast, drop_ballast;
    bool ballast_made;
    int64_t free_log, free_snap;
    int64_t log_bytes, snap_bytes; /* sum of the files' sizes */
};

struct diskguard {
    struct server *s;

    /* free space */
    struct look look;
    bool looking;
    struct monotime next_look;
    bool want_ballast, drop_ballast; /* what the next look shall do */
    bool has_ballast;
    int64_t free_log, free_snap; /* as last seen; -1 = not known */
    bool critical;

    /* retention */
    struct job purge_job;
    bool purging;
    bool purge_wanted;
    struct monotime next_purge;
    struct retention_plan plan;
    zxid_t known_good; /* the job's own while it is under way */
    int plan_err;
    struct log_cmd remove_logs, remove_snapshots;
    int removals_pending;
};

static void look_done(struct job *job);
static void purge_done(struct job *job);

struct diskguard *diskguard_new(struct server *s) {
    struct diskguard *g = mem_calloc(1, sizeof *g);
    g->s = s;
    g->next_look = s->now.mono;
    g->next_purge = s->now.mono;
    g->free_log = g->free_snap = -1;
    return g;
}

void diskguard_free(struct diskguard *g) {
    zassert(!g->looking && !g->purging);
    retention_plan_free(&g->plan);
    mem_free(g);
}

bool diskguard_busy(const struct server *s) {
    const struct diskguard *g = s->diskguard;
    return g->looking || g->purging || g->removals_pending != 0;
}

bool diskguard_critical(const struct server *s) { return s->diskguard->critical; }

int64_t diskguard_free_bytes(const struct server *s, enum disk_dir dir) {
    return dir == DISK_LOG ? s->diskguard->free_log : s->diskguard->free_snap;
}

/* ------------------------------------------------------------------ free space */

static int make_ballast(const struct disk *d, int64_t bytes) {
    int h = d->open(d->ctx, DISK_LOG, BALLAST_NAME, DISK_CREATE);
    if (h < 0)
        return h;
    int err = d->allocate(d->ctx, h, 0, bytes);
    d->close(d->ctx, h);
    if (err != 0)
        d->unlink(d->ctx, DISK_LOG, BALLAST_NAME);
    return err;
}

static void add_size(void *ctx, const char *name, int64_t size) {
    int64_t *sum = ctx;
    (void)name;
    *sum += size;
}

/* A directory that cannot be listed keeps the size it had. */
static void measure(const struct disk *d, enum disk_dir dir, int64_t *bytes) {
    int64_t sum = 0;
    if (d->list(d->ctx, dir, add_size, &sum) == 0)
        *bytes = sum;
}

static void look_run(struct job *job, const struct disk *d) {
    struct look *l = CONTAINER_OF(job, struct look, job);
    if (l->drop_ballast)
        d->unlink(d->ctx, DISK_LOG, BALLAST_NAME);
    l->free_log = d->free_bytes(d->ctx, DISK_LOG);
    l->free_snap = d->free_bytes(d->ctx, DISK_SNAP);
    if (l->make_ballast)
        l->ballast_made = make_ballast(d, l->ballast_bytes) == 0;
    measure(d, DISK_LOG, &l->log_bytes);
    measure(d, DISK_SNAP, &l->snap_bytes);
}

static void look_prepare(struct diskguard *g) {
    struct server *s = g->s;
    g->looking = true;
    g->next_look = mono_add_ms(s->now.mono, LOOK_INTERVAL_MS);
    g->look = (struct look){.job = {.run = look_run, .done = look_done},
                            .ballast_bytes = s->config->disk_reserve_bytes,
                            .make_ballast = g->want_ballast && !g->drop_ballast && !g->has_ballast,
                            .drop_ballast = g->drop_ballast};
    if (g->drop_ballast)
        g->has_ballast = false;
    g->drop_ballast = false;
    g->want_ballast = false;
}

/* Below this much free space (besides the ballast) growing writes are refused; the way back needs twice as much. */
static int64_t critical_mark(const struct server *s) { return s->config->disk_reserve_bytes; }

static void look_done(struct job *job) {
    struct look *l = CONTAINER_OF(job, struct look, job);
    struct diskguard *g = CONTAINER_OF(l, struct diskguard, look);
    struct server *s = g->s;
    int64_t mark = critical_mark(s);
    g->looking = false;
    g->has_ballast |= l->ballast_made;
    g->free_log = i64_max(l->free_log, -1);
    g->free_snap = i64_max(l->free_snap, -1);
    s->log_dir_bytes = l->log_bytes;
    s->data_dir_bytes = l->snap_bytes;
    if (mark <= 0 || g->free_log < 0) {
        g->critical = g->critical && s->disk_full;
        return;
    }
    bool critical = g->free_log < (g->critical ? 2 * mark : mark) || s->disk_full;
    if (critical && !g->critical) {
        log_error("only %lld bytes are left on the log's disk: growing writes are refused, reads and deletes go on",
                  (long long)g->free_log);
        diskguard_purge_soon(s);
    } else if (!critical && g->critical) {
        log_info("the log's disk has %lld bytes free again: writes are served", (long long)g->free_log);
    }
    g->critical = critical;
    if (!critical && !g->has_ballast && g->free_log > 3 * mark)
        g->want_ballast = true;
}

void diskguard_start(struct server *s) {
    struct diskguard *g = s->diskguard;
    g->want_ballast = s->config->disk_reserve_bytes > 0;
    look_prepare(g);
    look_run(&g->look.job, s->env.disk);
    look_done(&g->look.job);
}

void diskguard_no_space(struct server *s) {
    struct diskguard *g = s->diskguard;
    if (!g->critical)
        log_error("the log's disk is full: giving up the reserve of %lld bytes; growing writes are refused",
                  (long long)s->config->disk_reserve_bytes);
    g->critical = true;
    g->drop_ballast = true;
    g->next_look = s->now.mono;
    diskguard_purge_soon(s);
}

/* ------------------------------------------------------------------ retention */

void diskguard_purge_soon(struct server *s) { s->diskguard->purge_wanted = true; }

static void purge_run(struct job *job, const struct disk *d) {
    struct diskguard *g = CONTAINER_OF(job, struct diskguard, purge_job);
    g->plan_err = retention_plan_make(d, g->s->config->autopurge_snap_retain_count, g->known_good, &g->plan);
}

static void order_removal(struct diskguard *g, struct log_cmd *cmd, enum disk_dir dir, char (*names)[STORE_NAME_MAX],
                          int count) {
    if (count == 0)
        return;
    *cmd = (struct log_cmd){.type = LOG_CMD_REMOVE, .dir = dir, .remove_names = names, .remove_count = count};
    g->removals_pending++;
    g->s->env.log_submit(g->s->env.ctx, cmd);
}

static void purge_done(struct job *job) {
    struct diskguard *g = CONTAINER_OF(job, struct diskguard, purge_job);
    g->purging = false;
    if (g->plan_err != 0) {
        log_warn("old snapshots and logs could not be looked for: %s", strerror(-g->plan_err));
        return;
    }
    order_removal(g, &g->remove_snapshots, DISK_SNAP, g->plan.snapshots, g->plan.snapshot_count);
    order_removal(g, &g->remove_logs, DISK_LOG, g->plan.logs, g->plan.log_count);
    if (g->removals_pending == 0)
        retention_plan_free(&g->plan);
}

void diskguard_log_done(struct server *s, struct log_cmd *cmd) {
    struct diskguard *g = s->diskguard;
    zassert(cmd == &g->remove_logs || cmd == &g->remove_snapshots);
    if (cmd->err != 0)
        log_warn("an old file could not be removed: %s", strerror(-cmd->err));
    if (--g->removals_pending == 0)
        retention_plan_free(&g->plan);
}

/* ------------------------------------------------------------------ turn */

static bool purge_enabled(const struct config *c) { return c->autopurge_purge_interval_hours > 0; }

void diskguard_turn(struct server *s) {
    struct diskguard *g = s->diskguard;
    if (!g->looking && mono_diff_us(g->next_look, s->now.mono) <= 0) {
        look_prepare(g);
        s->env.job_submit(s->env.ctx, &g->look.job);
    }
    if (!purge_enabled(s->config) || g->purging || g->removals_pending != 0)
        return;
    bool due = mono_diff_us(g->next_purge, s->now.mono) <= 0;
    if (!due && !g->purge_wanted)
        return;
    g->purge_wanted = false;
    g->next_purge = mono_add_ms(s->now.mono, s->config->autopurge_purge_interval_hours * 3600000LL);
    g->purging = true;
    g->known_good = s->good_snapshot;
    g->purge_job.run = purge_run;
    g->purge_job.done = purge_done;
    s->env.job_submit(s->env.ctx, &g->purge_job);
}

struct monotime diskguard_next_wake(const struct server *s) {
    const struct diskguard *g = s->diskguard;
    return g->looking ? (struct monotime){INT64_MAX} : g->next_look;
}
