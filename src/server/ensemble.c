#include "server/ensemble.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "server/closer.h"
#include "server/history.h"
#include "store/rewind.h"

int server_start_member(struct server *s, struct now now) {
    s->now = now;
    s->last_turn = now.mono;
    s->started = now.mono;
    s->role = &role_looking;
    s->state = SERVER_WAITING;
    int err = s->good_snapshot < 0 && s->last_applied == 0 ? snapshotter_first(s) : 0;
    if (err == 0)
        diskguard_start(s);
    return err;
}

void server_take_role(struct server *s, const struct role_ops *role) { s->role = role; }

void server_serve(struct server *s, const struct role_ops *role) {
    size_t cursor = 0;
    struct session *session;
    s->role = role;
    while ((session = hmap_next(&s->sessions.by_id, &cursor)) != NULL) {
        session->owner = 0;
        session->reported = false;
        session->closing = session->close_prepared = false;
    }
    sessions_touch_all(&s->sessions, s->now);
    s->last_turn = s->now.mono;
    s->state = SERVER_RUNNING;
    /* Logs without one were taken as they are (snapshot.trust.empty). */
    if (s->good_snapshot < 0)
        snapshotter_request(s);
    log_info("serving clients, %s", role->mode);
}

void server_leave(struct server *s) {
    struct conn *c;
    if (s->state == SERVER_RUNNING) {
        s->state = SERVER_WAITING;
        log_info("not serving clients any more");
    }
    s->role = &role_looking;
    snapshotter_abort(s, "the server leaves its role");
    LIST_FOREACH(c, &s->conns_all, struct conn, all_link)
        conn_close_later(c, CONN_CLOSE_NOW);
}

/* Sessions whose creation never became a transaction. Connections that still speak for one are closing. */
static void drop_unborn_sessions(struct server *s) {
    struct buf ids = BUF_INIT;
    size_t cursor = 0;
    struct session *session;
    while ((session = hmap_next(&s->sessions.by_id, &cursor)) != NULL)
        if (!session->in_db)
            buf_append(&ids, &session->id, sizeof session->id);
    for (size_t at = 0; at < ids.len; at += sizeof(session_id_t)) {
        session_id_t id;
        memcpy(&id, ids.data + at, sizeof id);
        session = session_find(&s->sessions, id);
        if (session->conn != NULL)
            connect_let_go(s, session->conn);
        session_remove(&s->sessions, session);
    }
    buf_free(&ids);
}

bool server_settle(struct server *s) {
    closers_free(s);
    bool filling = s->filling != NULL && s->filling->count != 0;
    if (s->writing != NULL || filling)
        return false;
    s->committed = s->last_prepared;
    if (pipeline_apply(s) || !list_empty(&s->outstanding) || snapshotter_busy(s))
        return false;
    drop_unborn_sessions(s);
    s->last_prepared = s->committed = s->logged = s->last_applied;
    s->prepared_digest = tree_digest(s->tree);
    s->digest_unknown = false;
    return true;
}

/* ------------------------------------------------------------------ another database */

static int run_reload(struct log_cmd *cmd, const struct disk *d) {
    struct reload *r = CONTAINER_OF(cmd, struct reload, cmd);
    const struct server *s = r->s;
    int err = r->tmp_name[0] != '\0' ? store_replace(d, r->tmp_name, r->zxid) : store_rewind(d, r->zxid);
    if (err != 0)
        return err;
    r->loaded = server_new(s->config, &s->env, r->seed, r->now);
    r->loaded->history = history_new((size_t)s->config->log_window_bytes, HISTORY_MIN_COUNT);
    server_recover(r->loaded, &r->result, r->now);
    if (r->result.status != RECOVERY_OK)
        return -EIO;
    if (r->tmp_name[0] == '\0')
        return 0;
    /* One that cannot be read must not be replaced by what was there before. */
    return r->loaded->good_snapshot == r->zxid ? store_forget_older(d, r->zxid) : -EIO;
}

void reload_submit(struct reload *r) {
    r->cmd.type = LOG_CMD_CALL;
    r->cmd.run = run_reload;
    r->seed = rng_next(&r->s->rng);
    r->now = r->s->now;
    server_order(r->s, &r->cmd);
}

bool reload_possible(const struct server *s) {
    struct conn *c;
    if (s->dropping_count != 0 || snapshotter_busy(s) || !list_empty(&s->outstanding))
        return false;
    LIST_FOREACH(c, &s->conns_all, struct conn, all_link)
        if (c->session != NULL || c->has_watches || !list_empty(&c->segments))
            return false;
    return true;
}

struct disposal {
    struct job job;
    struct server *old;
};

static void run_disposal(struct job *job, const struct disk *disk) {
    (void)disk;
    server_free(CONTAINER_OF(job, struct disposal, job)->old);
}

static void disposal_done(struct job *job) { mem_free(CONTAINER_OF(job, struct disposal, job)); }

#define SWAP(type, a, b)                                                                                               \
    do {                                                                                                               \
        type swap_ = (a);                                                                                              \
        (a) = (b);                                                                                                     \
        (b) = swap_;                                                                                                   \
    } while (0)

void reload_swap(struct reload *r) {
    struct server *s = r->s, *from = r->loaded;
    int64_t next_id = s->sessions.next_id;
    SWAP(struct tree *, s->tree, from->tree);
    SWAP(struct watches *, s->watches, from->watches);
    SWAP(struct sessions, s->sessions, from->sessions);
    SWAP(struct history *, s->history, from->history);
    s->sessions.next_id = i64_max(next_id, s->sessions.next_id);
    s->last_applied = s->last_prepared = s->logged = s->committed = from->last_applied;
    s->prepared_digest = from->prepared_digest;
    s->digest_unknown = false;
    s->digest_from = from->digest_from;
    s->good_snapshot = from->good_snapshot;
    s->snapshots_noted++;
    memcpy(s->good_snapshot_name, from->good_snapshot_name, sizeof s->good_snapshot_name);
    s->txns_since_snapshot = from->txns_since_snapshot;
    s->log_bytes_since_snapshot = from->log_bytes_since_snapshot;
    s->roll_next = true;
    s->unlogged = false;
    struct disposal *d = mem_calloc(1, sizeof *d);
    d->job.run = run_disposal;
    d->job.done = disposal_done;
    d->old = from;
    r->loaded = NULL;
    s->env.job_submit(s->env.ctx, &d->job);
}

void reload_free(struct reload *r) {
    if (r->loaded != NULL)
        server_free(r->loaded);
    r->loaded = NULL;
}
