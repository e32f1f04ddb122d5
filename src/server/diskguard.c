/* Watches over the space of the data directories. A ballast file keeps real blocks back, so that session operations,
 * deletes and reads still work when the disk has been filled; and old snapshots and logs are removed as configured.
 * All looks at the disk are jobs, all changes go through the log's FIFO.
 *
 * A disk that our own logs have filled, with retention on, is freed in these steps, as many as are needed:
 *   purge      what retention removes anyway; fewer snapshots are kept if that, and only that, ends the emergency
 *   roll       the log goes on in a new file, so that a snapshot can make all older ones superfluous
 *   snapshot   it may use the reserve, and the ballast if it does not fit otherwise; then the next purge
 * Roll and snapshot come earlier if the tree is so large that later there would be no room for it. */
#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "server/server.h"
#include "store/retention.h"

#define BALLAST_NAME "zabra.ballast"
#define LOOK_INTERVAL_MS 1000
/* Between snapshots that are taken because the disk is full; one that was given up did nothing, and is soon tried again. */
#define RESCUE_INTERVAL_MS 60000
#define RESCUE_AGAIN_MS 1000
/* With retention on, a disk that is still full after so long is full of other things than our own old files. */
#define RESCUE_TIME_MS 5000

/* One look at the disk: orders and findings. The job's own while it is under way. */
struct look {
    struct job job;
    int64_t ballast_bytes;
    bool make_ballast, drop_ballast;
    bool ballast_made;
    int64_t free_log, free_snap;
    int64_t log_bytes, snap_bytes; /* sum of the files' sizes */
};

enum rescue {
    RESCUE_NONE,
    RESCUE_ROLL,     /* waits for a new log, and for all before it to be applied */
    RESCUE_SNAPSHOT, /* waits for a look that says whether there is room for it */
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
    bool missed; /* space was missing where it was needed, since then there was never enough */
    struct monotime critical_since;
    uint64_t looks_begun, looks_done, look_wanted; /* numbers: what the wanted one saw is needed to go on */

    /* a snapshot against a full disk */
    enum rescue rescue;
    enum server_state state; /* in which it was begun */
    bool no_roll; /* there is no space even for an empty log */
    zxid_t roll_from;
    struct monotime next_rescue;
    bool rescuing;        /* the last snapshot was asked for by a rescue */
    zxid_t rescue_over;   /* the last one that succeeded before it */
    int64_t logged_bytes; /* taken by the log since the last snapshot that succeeded was begun */
    zxid_t logged_from;   /* that snapshot */
    int64_t meanwhile_bytes; /* the same of the one under way, which may be finished by now */
    zxid_t meanwhile_from;

    /* retention */
    struct job purge_job;
    bool purging;
    bool purge_wanted;
    struct monotime next_purge;
    struct retention_plan plan;
    struct retention_options options; /* the job's own while it is under way */
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
    g->next_rescue = s->now.mono;
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

static bool purge_enabled(const struct config *c) { return c->autopurge_purge_interval_hours > 0; }

bool diskguard_hopeless(const struct server *s) {
    const struct diskguard *g = s->diskguard;
    int64_t patience_us = purge_enabled(s->config) ? RESCUE_TIME_MS * INT64_C(1000) : 0;
    return g->critical && mono_diff_us(s->now.mono, g->critical_since) >= patience_us;
}

/* Below this much free space (besides the ballast) growing writes are refused; the way back needs twice as much. */
static int64_t critical_mark(const struct server *s) { return s->config->disk_reserve_bytes; }

/* Has so much been logged since the last snapshot that another one is worth its space? */
static bool snapshot_pays(const struct diskguard *g) { return g->logged_bytes > snapshotter_size_needed(g->s); }

/* The same with room for the snapshot that frees the disk, as long as it is not written: writes must not take its space. */
static int64_t mark_now(const struct diskguard *g) {
    const struct server *s = g->s;
    int64_t mark = critical_mark(s);
    if (mark <= 0 || !s->env.same_dir || !purge_enabled(s->config))
        return mark;
    if (snapshotter_busy(s)) /* which does not help against what is logged behind its beginning */
        return mark + snapshotter_bytes_to_come(s) +
               (g->meanwhile_bytes > snapshotter_size_needed(s) ? snapshotter_size_needed(s) : 0);
    return mark + (g->rescue != RESCUE_NONE || snapshot_pays(g) ? snapshotter_size_needed(s) : 0);
}

/* Looks as soon as possible; look_fresh is true when that look is done. */
static void look_again(struct diskguard *g) {
    g->next_look = g->s->now.mono;
    g->look_wanted = g->looks_begun + 1;
}

static bool look_fresh(const struct diskguard *g) { return g->looks_done >= g->look_wanted; }

static void become_critical(struct diskguard *g) {
    log_error("only %lld bytes are left on the log's disk: growing writes are refused, reads and deletes go on",
              (long long)g->free_log);
    g->critical = true;
    g->critical_since = g->s->now.mono;
    diskguard_purge_soon(g->s);
}

/* A disk can be filled in less time than passes between two looks, and a look may have to wait for a thread: it is counted
 * along, and the next look sets it right. */
static void used(struct diskguard *g, int64_t bytes) {
    if (g->free_log < 0)
        return;
    g->free_log = i64_max(g->free_log - bytes, 0);
    if (!g->critical && g->free_log < mark_now(g)) {
        become_critical(g);
        look_again(g);
    }
}

void diskguard_snapshot_grew(struct server *s, int64_t bytes) {
    if (s->env.same_dir)
        used(s->diskguard, bytes);
}

void diskguard_snapshot_begun(struct server *s, zxid_t zxid) {
    struct diskguard *g = s->diskguard;
    g->meanwhile_bytes = 0;
    g->meanwhile_from = zxid;
}

/* Is there another good snapshot than before? */
static void follow_snapshot(struct diskguard *g) {
    zxid_t good = g->s->good_snapshot;
    if (g->logged_from == good)
        return;
    g->logged_bytes = g->meanwhile_from == good ? g->meanwhile_bytes : 0;
    g->logged_from = good;
}

void diskguard_log_grew(struct server *s, int64_t bytes, bool new_file) {
    struct diskguard *g = s->diskguard;
    follow_snapshot(g);
    g->logged_bytes += bytes;
    g->meanwhile_bytes += bytes;
    if (new_file && g->critical) /* it may make older ones superfluous */
        diskguard_purge_soon(s);
    used(g, bytes);
}

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
    if (l->make_ballast)
        l->ballast_made = make_ballast(d, l->ballast_bytes) == 0;
    l->free_log = d->free_bytes(d->ctx, DISK_LOG);
    l->free_snap = d->free_bytes(d->ctx, DISK_SNAP);
    measure(d, DISK_LOG, &l->log_bytes);
    measure(d, DISK_SNAP, &l->snap_bytes);
}

static void look_prepare(struct diskguard *g) {
    struct server *s = g->s;
    g->looking = true;
    g->looks_begun++;
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


static void look_done(struct job *job) {
    struct look *l = CONTAINER_OF(job, struct look, job);
    struct diskguard *g = CONTAINER_OF(l, struct diskguard, look);
    struct server *s = g->s;
    int64_t mark = critical_mark(s);
    g->looking = false;
    g->looks_done++;
    g->has_ballast |= l->ballast_made;
    g->free_log = i64_max(l->free_log, -1);
    g->free_snap = i64_max(l->free_snap, -1);
    s->log_dir_bytes = l->log_bytes;
    s->data_dir_bytes = l->snap_bytes;
    if (mark <= 0 || g->free_log < 0) {
        g->critical = g->missed = g->critical && s->disk_full;
        return;
    }
    int64_t wanted = i64_max(g->critical ? 2 * mark : mark, mark_now(g));
    bool critical = g->free_log < wanted || s->disk_full;
    if (critical && !g->critical) {
        become_critical(g);
    } else if (!critical && g->critical) {
        log_info("the log's disk has %lld bytes free again: writes are served", (long long)g->free_log);
        g->next_look = s->now.mono; /* for the ballast */
    }
    g->critical = critical;
    g->missed = g->missed && critical;
    if (!critical && !g->has_ballast && g->free_log > 3 * mark)
        g->want_ballast = true;
}

void diskguard_start(struct server *s) {
    struct diskguard *g = s->diskguard;
    g->want_ballast = s->config->disk_reserve_bytes > 0;
    g->logged_bytes = s->log_bytes_since_snapshot;
    g->logged_from = s->good_snapshot;
    look_prepare(g);
    look_run(&g->look.job, s->env.disk);
    look_done(&g->look.job);
}

void diskguard_no_space(struct server *s) {
    struct diskguard *g = s->diskguard;
    if (!g->critical) {
        log_error("the log's disk is full: giving up the reserve of %lld bytes; growing writes are refused",
                  (long long)s->config->disk_reserve_bytes);
        g->critical_since = s->now.mono;
    }
    g->critical = g->missed = true;
    g->drop_ballast = true;
    g->next_look = s->now.mono;
    diskguard_purge_soon(s);
    if (g->rescue == RESCUE_ROLL) {
        g->rescue = RESCUE_NONE;
        g->no_roll = !g->has_ballast;
        g->next_rescue = mono_add_ms(s->now.mono, LOOK_INTERVAL_MS);
    }
}

/* What the log was given may be used up before the next regular look, and a rescue that has missed its space needs no rest. */
void diskguard_space_again(struct server *s) {
    struct diskguard *g = s->diskguard;
    look_again(g);
    if (mono_diff_us(g->next_rescue, s->now.mono) <= LOOK_INTERVAL_MS * INT64_C(1000))
        g->next_rescue = s->now.mono;
}

/* ------------------------------------------------------------------ retention */

/* Between two roles nothing is removed: what the tree holds may have to be taken back (E27). But without space there will be no
 * other role; should it come to that, the next leader's snapshot takes the place of ours. */
static bool may_remove(const struct diskguard *g) {
    const struct server *s = g->s;
    bool stuck = s->state == SERVER_WAITING && g->missed && s->role == &role_looking && s->orders_pending == 0 && !s->half_reloaded;
    return s->state == SERVER_RUNNING || stuck;
}

void diskguard_purge_soon(struct server *s) {
    s->diskguard->purge_wanted = true;
}

static void purge_run(struct job *job, const struct disk *d) {
    struct diskguard *g = CONTAINER_OF(job, struct diskguard, purge_job);
    g->plan_err = retention_plan_make(d, &g->options, &g->plan);
}

static void order_removal(struct diskguard *g, struct log_cmd *cmd, enum disk_dir dir, char (*names)[STORE_NAME_MAX],
                          int count) {
    if (count == 0)
        return;
    *cmd = (struct log_cmd){.type = LOG_CMD_REMOVE, .dir = dir, .remove_names = names, .remove_count = count};
    g->removals_pending++;
    g->s->env.log_submit(g->s->env.ctx, cmd);
}

/* The next look tells whether it was enough. */
static void purge_over(struct diskguard *g) {
    retention_plan_free(&g->plan);
    if (g->critical)
        look_again(g);
}

static void purge_done(struct job *job) {
    struct diskguard *g = CONTAINER_OF(job, struct diskguard, purge_job);
    g->purging = false;
    if (g->plan_err == 0 && g->s->state == SERVER_WAITING && !may_remove(g)) {
        retention_plan_free(&g->plan); /* the role has ended meanwhile: another time */
        g->purge_wanted = true;
        return;
    }
    if (g->plan_err != 0) {
        log_warn("old snapshots and logs could not be looked for: %s", strerror(-g->plan_err));
        return;
    }
    order_removal(g, &g->remove_snapshots, DISK_SNAP, g->plan.snapshots, g->plan.snapshot_count);
    order_removal(g, &g->remove_logs, DISK_LOG, g->plan.logs, g->plan.log_count);
    if (g->removals_pending == 0)
        purge_over(g);
}

void diskguard_log_done(struct server *s, struct log_cmd *cmd) {
    struct diskguard *g = s->diskguard;
    zassert(cmd == &g->remove_logs || cmd == &g->remove_snapshots);
    if (cmd->err != 0)
        log_warn("an old file could not be removed: %s", strerror(-cmd->err));
    if (--g->removals_pending == 0)
        purge_over(g);
}

/* ------------------------------------------------------------------ a disk full of our own logs */

static bool purge_pending(const struct diskguard *g) {
    return g->purge_wanted || g->purging || g->removals_pending != 0;
}

/* Would a snapshot have room if so many bytes more were free on the log's disk? */
static bool snapshot_fits(const struct diskguard *g, int64_t more) {
    int64_t free = g->s->env.same_dir ? g->free_log + more : g->free_snap;
    return free < 0 || snapshotter_size_needed(g->s) <= free;
}

static int64_t ballast_bytes(const struct diskguard *g) { return g->has_ballast ? critical_mark(g->s) : 0; }

/* Soon a snapshot would not fit any more. A member of an ensemble cannot slow down the others meanwhile, so it begins when as much
 * is left as has been logged. */
static bool low(const struct diskguard *g) {
    const struct server *s = g->s;
    int64_t mark = 2 * critical_mark(s) + snapshotter_size_needed(s);
    if (!s->role->standalone)
        mark = i64_max(mark, g->logged_bytes);
    return s->env.same_dir && g->free_log >= 0 && snapshot_pays(g) && g->free_log < mark;
}

/* Is there room for what others are being sent, until they have it? Otherwise they begin again, with another snapshot. */
static bool has_room(const struct diskguard *g) {
    return !g->critical && (g->free_log < 0 || g->free_log >= 2 * critical_mark(g->s) + snapshotter_size_needed(g->s));
}

static void rescue_begin(struct diskguard *g) {
    struct server *s = g->s;
    bool changed = s->last_applied > s->good_snapshot;
    if (purge_pending(g) || !look_fresh(g) || mono_diff_us(g->next_rescue, s->now.mono) > 0)
        return;
    if (!changed && s->log_first == s->last_prepared + 1)
        return; /* nothing can be gained any more */
    if (changed && !snapshot_fits(g, s->log_padding + ballast_bytes(g)))
        return;
    log_info("the disk %s full: a new log and a snapshot, so that older ones can go", g->critical ? "is still" : "will soon be");
    s->txns_since_snapshot = 0;
    s->log_bytes_since_snapshot = 0;
    g->next_rescue = mono_add_ms(s->now.mono, g->critical ? RESCUE_INTERVAL_MS : LOOK_INTERVAL_MS);
    g->rescue = RESCUE_ROLL;
    g->roll_from = s->log_first;
    if (s->filling != NULL)
        s->filling->roll = true;
    else
        s->roll_next = true;
}

/* Is there a new log? A member of an ensemble begins it with the next transaction, whose zxid nobody knows before; a leader that
 * refuses what grows may have to wait long for one, so it makes one that does nothing. */
static bool rolled(struct diskguard *g) {
    struct server *s = g->s;
    if (s->log_first != g->roll_from)
        return true;
    if (s->role->standalone)
        return pipeline_roll(s);
    if (s->role->orders && list_empty(&s->outstanding))
        prepare_error(s, request_new(s, NULL, REQUEST_WRITE, 0, OP_ERROR, 0), ZK_QUOTA_EXCEEDED);
    return false;
}

/* Has everything up to the new log been applied? Then a snapshot of now needs nothing older. What a member may still have to take
 * back is not applied, and stays in the logs. */
static bool rescue_rolled(struct diskguard *g) {
    struct server *s = g->s;
    if (s->disk_full || g->no_roll || s->state == SERVER_WAITING) /* what is older than the last log can go all the same */
        return true;
    return rolled(g) && s->last_applied + 1 >= s->log_first;
}

/* The ballast makes room if that is needed; then another look tells how much. */
static void rescue_snapshot(struct diskguard *g) {
    struct server *s = g->s;
    if (!look_fresh(g))
        return;
    if (s->last_applied <= s->good_snapshot) {
        g->rescue = RESCUE_NONE;
        diskguard_purge_soon(s);
    } else if (snapshot_fits(g, 0)) {
        g->rescue = RESCUE_NONE;
        g->rescuing = true;
        g->rescue_over = s->good_snapshot;
        snapshotter_request(s);
    } else if (g->has_ballast && g->free_log < critical_mark(s) && snapshot_fits(g, ballast_bytes(g))) {
        log_warn("giving up the reserve of %lld bytes for a snapshot", (long long)critical_mark(s));
        g->drop_ballast = true;
        look_again(g);
    } else {
        g->rescue = RESCUE_NONE;
    }
}

/* A disk that fills up faster than a slow machine writes the snapshot. What grows is refused by now. */
static void rescue_ended(struct diskguard *g) {
    struct server *s = g->s;
    g->rescuing = false;
    if (s->good_snapshot <= g->rescue_over)
        g->next_rescue.us = i64_min(g->next_rescue.us, mono_add_ms(s->now.mono, RESCUE_AGAIN_MS).us);
}

static void rescue_turn(struct diskguard *g) {
    struct server *s = g->s;
    if (!g->critical && g->rescue == RESCUE_NONE && !low(g)) {
        g->no_roll = false;
        g->next_rescue = s->now.mono;
    } else if (snapshotter_busy(s)) {
        return;
    } else if (g->rescue == RESCUE_NONE) {
        if (g->rescuing)
            rescue_ended(g);
        rescue_begin(g);
    } else if (g->rescue == RESCUE_SNAPSHOT) {
        rescue_snapshot(g);
    } else if (rescue_rolled(g)) {
        g->rescue = RESCUE_SNAPSHOT;
        look_again(g);
    }
}

/* ------------------------------------------------------------------ turn */

/* What a purge on a full disk shall yield: the end of the emergency, and room for the next snapshot. */
static void purge_for_space(const struct diskguard *g, struct retention_options *o) {
    const struct server *s = g->s;
    if (!g->critical || g->free_log < 0)
        return;
    o->need_bytes = i64_max(2 * critical_mark(s), 1) - g->free_log;
    if (o->need_bytes > 0 || !snapshot_fits(g, 0))
        o->wish_bytes = o->need_bytes + snapshotter_size_needed(s);
}

static void purge_start(struct diskguard *g) {
    struct server *s = g->s;
    g->purge_wanted = false;
    g->next_purge = mono_add_ms(s->now.mono, s->config->autopurge_purge_interval_hours * 3600000LL);
    g->purging = true;
    g->options = (struct retention_options){.keep = s->config->autopurge_snap_retain_count,
                                            .known_good = s->good_snapshot,
                                            .in_use = has_room(g) && s->role->in_use != NULL ? s->role->in_use(s) : 0,
                                            .same_disk = s->env.same_dir};
    purge_for_space(g, &g->options);
    g->purge_job.run = purge_run;
    g->purge_job.done = purge_done;
    s->env.job_submit(s->env.ctx, &g->purge_job);
}

void diskguard_turn(struct server *s) {
    struct diskguard *g = s->diskguard;
    if (!g->looking && mono_diff_us(g->next_look, s->now.mono) <= 0) {
        look_prepare(g);
        s->env.job_submit(s->env.ctx, &g->look.job);
    }
    if (g->state != s->state) { /* what was under way has been given up */
        g->state = s->state;
        g->rescue = RESCUE_NONE;
        g->next_rescue = s->now.mono;
    }
    if (!purge_enabled(s->config) || !may_remove(g))
        return;
    follow_snapshot(g);
    rescue_turn(g);
    if (g->critical && !look_fresh(g))
        return;
    if (!g->purging && g->removals_pending == 0 && (g->purge_wanted || mono_diff_us(g->next_purge, s->now.mono) <= 0))
        purge_start(g);
}

struct monotime diskguard_next_wake(const struct server *s) {
    const struct diskguard *g = s->diskguard;
    return g->looking ? (struct monotime){INT64_MAX} : g->next_look;
}
