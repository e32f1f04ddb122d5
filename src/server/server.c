#include "server/closer.h"
#include "server/history.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

/* A pause of our own that is longer than this is a stall: nobody must expire for it. */
#define WATCHES_DROPPED_PER_TURN 4096
#define STALL_MS 1500
#define HEARTBEAT_MS 500
/* What gtmk of a fresh ZooKeeper server answers. */
#define TRACE_MASK_DEFAULT 306

/* ------------------------------------------------------------------ life */

static void fill_auth_options(struct auth_options *a, const struct config *c) {
    *a = (struct auth_options){.skip_acl = c->skip_acl,
                               .digest_enabled = c->digest_auth_enabled,
                               .digest_alg = c->digest_auth_alg != NULL ? c->digest_auth_alg : "SHA1",
                               .super_digest = c->super_digest,
                               .ensemble_enabled = c->auth_ensemble_registered,
                               .ensemble_names = c->ensemble_auth_names,
                               .sasl_registered = c->auth_sasl_registered,
                               .any_sasl_user = c->any_sasl_user,
                               .x509_registered = c->auth_x509_registered};
}

void server_new_database(struct server *s, bool empty) {
    struct tree_options options = {.extended_types = s->config->extended_types_enabled,
                                   .emulate_353_ttl = s->config->emulate_353_ttl_nodes,
                                   .digest_enabled = s->config->digest_enabled,
                                   .hash_seed = rng_next(&s->rng)};
    if (s->watches != NULL)
        watches_free(s->watches);
    if (s->tree != NULL)
        tree_free(s->tree);
    s->tree = empty ? tree_new_empty(&options) : tree_new(&options);
    s->watches = watches_new(s->tree);
    sessions_free(&s->sessions);
    sessions_init(&s->sessions, s->config->tick_time_ms, s->config->server_id, s->now);
    s->last_applied = 0;
}

#define COUNTER_LIMIT (INT64_C(0xffffffff) - 100000)
#define LISTING_INLINE_BYTES (128 * 1024)

struct server *server_new(struct config *config, const struct env *env, uint64_t seed, struct now now) {
    struct server *s = mem_calloc(1, sizeof *s);
    s->config = config;
    s->env = *env;
    s->rng.state = seed;
    s->now = now;
    s->last_turn = now.mono;
    s->good_snapshot = -1;
    s->role = &role_standalone;
    s->trace_mask = TRACE_MASK_DEFAULT;
    s->counter_limit = COUNTER_LIMIT;
    s->listing_inline_bytes = LISTING_INLINE_BYTES;
    list_init(&s->conns_all);
    list_init(&s->dirty);
    list_init(&s->paused);
    list_init(&s->outstanding);
    list_init(&s->closers);
    fill_auth_options(&s->auth, config);
    metrics_init(&s->metrics);
    server_new_database(s, false);
    s->snapshotter = snapshotter_new(s);
    s->reaper = reaper_new(s);
    s->diskguard = diskguard_new(s);
    return s;
}

static void free_batch(struct batch *b) {
    if (b == NULL)
        return;
    buf_free(&b->data);
    mem_free(b);
}

static void free_outstanding(struct server *s) {
    struct request *r;
    LIST_FOREACH(r, &s->outstanding, struct request, txn_link) {
        struct batch *b = r->batch;
        prepare_changes_applied(s, r);
        request_done(s, r);
        if (--b->refs == 0)
            free_batch(b);
    }
    if (s->filling != NULL && --s->filling->refs == 0)
        free_batch(s->filling);
    if (s->writing != NULL && --s->writing->refs == 0)
        free_batch(s->writing);
    free_batch(s->spare);
}

void server_free(struct server *s) {
    zassert(list_empty(&s->conns_all));
    snapshotter_free(s->snapshotter);
    reaper_free(s->reaper);
    diskguard_free(s->diskguard);
    closers_free(s);
    free_outstanding(s);
    hmap_free(&s->changes);
    watches_free(s->watches);
    sessions_free(&s->sessions);
    tree_free(s->tree);
    history_free(s->history);
    metrics_free(&s->metrics);
    mem_free(s->slots);
    mem_free(s->free_slots);
    mem_free(s->dropping);
    audience_free(&s->audience);
    buf_free(&s->scratch);
    buf_free(&s->scratch_acl);
    buf_free(&s->reply);
    mem_free(s);
}

void server_fail(struct server *s, const char *fmt, ...) {
    va_list args;
    if (s->state == SERVER_FAILED)
        return;
    va_start(args, fmt);
    vsnprintf(s->failure, sizeof s->failure, fmt, args);
    va_end(args);
    log_error("%s", s->failure);
    s->state = SERVER_FAILED;
    struct conn *c;
    LIST_FOREACH(c, &s->conns_all, struct conn, all_link)
        conn_close_later(c, CONN_CLOSE_NOW);
}

int server_start(struct server *s, struct now now) {
    s->now = now;
    s->last_turn = now.mono;
    int err = snapshotter_first(s);
    if (err != 0)
        return err;
    diskguard_start(s);
    sessions_touch_all(&s->sessions, now);
    s->started = now.mono;
    s->state = SERVER_RUNNING;
    return 0;
}

void server_stop(struct server *s, struct now now) {
    s->now = now;
    if (s->state == SERVER_RUNNING || s->state == SERVER_WAITING)
        s->state = SERVER_STOPPING;
    struct conn *c;
    LIST_FOREACH(c, &s->conns_all, struct conn, all_link)
        conn_close_later(c, CONN_CLOSE_FLUSH);
}

void server_hurry(struct server *s) { snapshotter_cancel(s, "the server stops and has no time left"); }

bool server_at_rest(const struct server *s) {
    return !snapshotter_busy(s) && !diskguard_busy(s) && s->orders_pending == 0;
}

bool server_idle(const struct server *s) {
    if (!server_at_rest(s))
        return false;
    /* In an ensemble what is not committed stays in the log: the others decide about it. */
    return s->state == SERVER_FAILED || s->disk_full ||
           (s->writing == NULL && (s->filling == NULL || s->filling->count == 0) &&
            (list_empty(&s->outstanding) || s->quorum != NULL));
}

/* ------------------------------------------------------------------ turns */

static void expire_sessions(struct server *s) {
    /* Bounded by sessions and by what they own, so that a mass expiry is spread over many turns. */
    uint64_t owned_budget = 4096;
    for (int i = 0; s->role->orders && i < s->config->max_sessions_expired_per_turn; i++) {
        struct session *session = session_pop_expired(&s->sessions, s->now);
        if (session == NULL)
            return;
        struct conn *c = session->conn;
        if (c != NULL && (c->paused || c->connecting)) {
            /* We do not read what it may have sent: its unread bytes count as a sign of life. */
            session_touch(&s->sessions, session, s->now);
            continue;
        }
        const struct owned *owned = tree_owned_by(s->tree, session->id);
        uint64_t cost = owned != NULL ? owned->count : 0;
        session_expire(s, session);
        if (cost >= owned_budget)
            return;
        owned_budget -= cost;
    }
}

/* Of connections that have gone: as many in one turn, however many connections they are of. */
static void drop_watches(struct server *s) {
    size_t budget = WATCHES_DROPPED_PER_TURN;
    while (s->dropping_count != 0) {
        uint32_t slot = s->dropping[s->dropping_count - 1];
        if (!watch_drop(s->watches, slot, &budget))
            return;
        s->dropping_count--;
        s->free_slots[s->free_slot_count++] = slot;
    }
}

static void detect_stall(struct server *s) {
    int64_t gap_us = mono_diff_us(s->now.mono, s->last_turn);
    if (gap_us > STALL_MS * 1000LL && s->state == SERVER_RUNNING) {
        log_warn("this server stood still for %lld ms; all sessions get their full timeout again", (long long)(gap_us / 1000));
        sessions_touch_all(&s->sessions, s->now);
    }
    s->last_turn = s->now.mono;
}

void server_turn_begin(struct server *s, struct now now) {
    s->now = now;
    detect_stall(s);
    pipeline_apply(s);
    if (s->state == SERVER_RUNNING) {
        expire_sessions(s);
        closers_turn(s);
        reaper_turn(s);
    }
    if (s->state == SERVER_RUNNING || s->state == SERVER_WAITING)
        diskguard_turn(s);
    drop_watches(s);
    tree_maintain(s->tree);
    snapshotter_step(s);
}

void server_turn_end(struct server *s, struct now now) {
    s->now = now;
    pipeline_turn_end(s);
}

static bool work_waits(const struct server *s) {
    if (s->gathering || s->dropping_count != 0 || snapshotter_has_work(s) || closers_have_work(s))
        return true;
    if (list_empty(&s->outstanding))
        return false;
    return LIST_FIRST(&s->outstanding, struct request, txn_link)->zxid <= s->committed;
}

struct monotime server_next_wake(const struct server *s) {
    struct monotime wake = mono_add_ms(s->now.mono, HEARTBEAT_MS);
    if (work_waits(s))
        return s->now.mono;
    if (s->disk_full && s->writing == NULL)
        wake.us = i64_min(wake.us, s->disk_retry.us);
    if (s->state == SERVER_RUNNING) {
        int64_t expiry_ms = expiry_next(&s->sessions.expiry);
        /* Elsewhere nothing is done about it. */
        if (s->role->orders && expiry_ms < mono_ms(wake) + 1)
            wake.us = i64_min(wake.us, expiry_ms * 1000);
        wake.us = i64_min(wake.us, reaper_next_wake(s).us);
    }
    if (s->state == SERVER_RUNNING || s->state == SERVER_WAITING)
        wake.us = i64_min(wake.us, diskguard_next_wake(s).us);
    return wake;
}

void server_order(struct server *s, struct log_cmd *cmd) {
    s->orders_pending++;
    s->env.log_submit(s->env.ctx, cmd);
}

void server_log_done(struct server *s, struct log_cmd *cmd, struct now now) {
    s->now = now;
    switch (cmd->type) {
    case LOG_CMD_APPEND:
        pipeline_append_done(s, cmd);
        break;
    case LOG_CMD_PUBLISH:
        snapshotter_log_done(s, cmd);
        break;
    case LOG_CMD_ATOMIC:
    case LOG_CMD_CALL:
        s->orders_pending--;
        cmd->done(cmd);
        break;
    default:
        diskguard_log_done(s, cmd);
    }
}

