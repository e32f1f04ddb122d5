#include "server/server.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

/* Frames and transactions that wait inside the server: above this, reading pauses. */
#define QUEUED_BYTES_MAX (64u << 20)
/* A pause of our own that is longer than this is a stall: nobody must expire for it. */
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

static void new_database(struct server *s, bool empty) {
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
    sessions_init(&s->sessions, s->config->tick_time_ms, 1, s->now);
    s->last_applied = 0;
}

struct server *server_new(struct config *config, const struct env *env, uint64_t seed, struct now now) {
    struct server *s = mem_calloc(1, sizeof *s);
    s->config = config;
    s->env = *env;
    s->rng.state = seed;
    s->now = now;
    s->last_turn = now.mono;
    s->trace_mask = TRACE_MASK_DEFAULT;
    list_init(&s->conns_all);
    list_init(&s->dirty);
    list_init(&s->paused);
    list_init(&s->outstanding);
    fill_auth_options(&s->auth, config);
    metrics_init(&s->metrics);
    new_database(s, false);
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
    free_outstanding(s);
    hmap_free(&s->changes);
    watches_free(s->watches);
    sessions_free(&s->sessions);
    tree_free(s->tree);
    metrics_free(&s->metrics);
    mem_free(s->slots);
    mem_free(s->free_slots);
    mem_free(s->dropping);
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

/* ------------------------------------------------------------------ recovery */

struct loading {
    struct server *s;
    struct hmap acl_ids; /* disk id + 1 → acl id + 1 as pointer; a reference is held until the nodes are there */
    uint64_t acls_missing;
};

static void loading_drop_acls(struct loading *l) {
    size_t cursor = 0;
    void *value;
    while ((value = hmap_next(&l->acl_ids, &cursor)) != NULL)
        acl_unref(tree_acls(l->s->tree), (acl_id_t)((uintptr_t)value - 1));
    hmap_free(&l->acl_ids);
}

static void load_reset(void *ctx) {
    struct loading *l = ctx;
    loading_drop_acls(l);
    new_database(l->s, true);
}

static int load_session(void *ctx, session_id_t id, int32_t timeout_ms) {
    struct loading *l = ctx;
    struct session *session = session_find(&l->s->sessions, id);
    if (session == NULL)
        session = session_add(&l->s->sessions, id, timeout_ms);
    session->in_db = true;
    return 0;
}

static int load_acl(void *ctx, int64_t disk_id, struct slice encoded) {
    struct loading *l = ctx;
    acl_id_t id = acl_intern(tree_acls(l->s->tree), encoded);
    void *old = hmap_put(&l->acl_ids, (uint64_t)disk_id, (void *)((uintptr_t)id + 1));
    if (old != NULL)
        acl_unref(tree_acls(l->s->tree), (acl_id_t)((uintptr_t)old - 1));
    return 0;
}

/* A list that the snapshot's table lacks (possible in a fuzzy one): nobody but a super user may do anything, until a
 * replayed transaction brings the real list. */
static acl_id_t closed_acl(struct loading *l) {
    struct buf b = BUF_INIT;
    jute_put_int(&b, 1);
    acl_entry_put(&b, &(struct acl_entry){.perms = 0, .scheme = SLICE_LIT("world"), .id = SLICE_LIT("anyone")});
    acl_id_t id = acl_intern(tree_acls(l->s->tree), (struct slice){(const char *)b.data, b.len});
    buf_free(&b);
    l->acls_missing++;
    return id;
}

static int load_node(void *ctx, struct slice path, struct slice data, int64_t disk_acl, const struct node_stat *stat) {
    struct loading *l = ctx;
    if (disk_acl == -1)
        return tree_load_node(l->s->tree, path, data, ACL_OPEN, stat);
    void *known = hmap_get(&l->acl_ids, (uint64_t)disk_acl);
    if (known != NULL)
        return tree_load_node(l->s->tree, path, data, (acl_id_t)((uintptr_t)known - 1), stat);
    acl_id_t closed = closed_acl(l);
    int err = tree_load_node(l->s->tree, path, data, closed, stat);
    acl_unref(tree_acls(l->s->tree), closed);
    return err;
}

static int load_snapshot_done(void *ctx, zxid_t zxid, const struct snapshot_info *info) {
    struct loading *l = ctx;
    struct server *s = l->s;
    if (info == NULL)
        new_database(s, false);
    else
        tree_load_done(s->tree);
    loading_drop_acls(l);
    if (l->acls_missing != 0)
        log_warn("%llu znodes of the snapshot refer to access lists that it does not hold; they are closed to all but super users",
                 (unsigned long long)l->acls_missing);
    s->last_applied = zxid;
    /* Digests of a fuzzy snapshot's replay fit only from the point on that its digest section names. */
    s->digest_from = INT64_MAX;
    if (info != NULL && info->has_digest && info->digest_version == DIGEST_VERSION) {
        s->digest_from = i64_max(info->digest_zxid, zxid + 1);
        if (info->digest_zxid == zxid && s->config->digest_enabled && info->digest != tree_digest(s->tree))
            log_warn("the snapshot's digest is %llu, the loaded tree has %llu", (unsigned long long)info->digest,
                     (unsigned long long)tree_digest(s->tree));
    } else if (info == NULL) {
        s->digest_from = 0;
    }
    return 0;
}

static int load_txn(void *ctx, zxid_t zxid, struct slice payload) {
    struct loading *l = ctx;
    (void)zxid;
    return apply_payload(l->s, payload, NULL) ? 0 : -EBADMSG;
}

/* A TTL znode read without extendedTypesEnabled looks like such an orphan and may have children: then it stays, because
 * what lies below it must not be lost. */
static void drop_orphans_of(struct server *s, session_id_t id) {
    struct owned *owned = tree_owned_by(s->tree, id);
    uint32_t kept = 0;
    log_info("deleting %u ephemeral znodes of session 0x%llx, which is not there any more", owned->count,
             (unsigned long long)id);
    while (owned != NULL && kept < owned->count) {
        struct znode *n = owned->nodes[owned->count - 1 - kept];
        if (znode_children(n) != 0)
            kept++;
        else
            tree_delete_node(s->tree, n, s->last_applied);
        owned = tree_owned_by(s->tree, id);
    }
    if (kept != 0)
        log_warn("%u of them have children and stay; were they TTL znodes (extendedTypesEnabled)?", kept);
}

/* Ephemerals without a session: a fuzzy snapshot can hold them. */
static void drop_orphans(struct server *s) {
    struct buf orphans = BUF_INIT; /* session ids */
    struct owned *owned;
    for (size_t cursor = 0; (owned = tree_owned_next(s->tree, &cursor)) != NULL;)
        if (session_find(&s->sessions, owned->owner) == NULL)
            buf_append(&orphans, &owned->owner, sizeof owned->owner);
    for (size_t at = 0; at < orphans.len; at += sizeof(session_id_t)) {
        session_id_t id;
        memcpy(&id, orphans.data + at, sizeof id);
        drop_orphans_of(s, id);
    }
    buf_free(&orphans);
}

void server_recover(struct server *s, struct recovery_result *result, struct now now) {
    const struct config *c = s->config;
    struct loading l = {.s = s};
    struct recovery_options options = {.same_dir = c->data_log_dir == NULL || strcmp(c->data_dir, c->data_log_dir) == 0,
                                       .trust_empty_snapshot = c->snapshot_trust_empty,
                                       .cut_damaged = c->recovery_cut_damaged_log,
                                       .max_item_bytes = 1u << 30};
    struct recovery_sink sink = {
        .ctx = &l,
        .reset = load_reset,
        .snapshot = {.ctx = &l, .session = load_session, .acl = load_acl, .node = load_node},
        .snapshot_done = load_snapshot_done,
        .txn = load_txn,
    };
    s->now = now;
    s->replaying = true;
    recovery_run(s->env.disk, &options, &sink, result);
    s->replaying = false;
    loading_drop_acls(&l);
    if (result->status != RECOVERY_OK)
        return;
    drop_orphans(s);
    s->digest_from = 0;
    s->last_prepared = s->committed = s->last_applied;
    s->prepared_digest = tree_digest(s->tree);
    s->has_snapshot = result->snapshot_zxid >= 0;
    s->txns_since_snapshot = result->txns_replayed;
    s->log_bytes_since_snapshot = result->log_bytes;
    s->roll_next = true;
    metric_sample(&s->metrics, METRIC_DBINITTIME, (uint64_t)(result->snapshot_us + result->replay_us) / 1000);
    metric_sample(&s->metrics, METRIC_STARTUP_SNAP_LOAD_TIME, (uint64_t)result->snapshot_us / 1000);
    metric_sample(&s->metrics, METRIC_STARTUP_TXNS_LOAD_TIME, (uint64_t)result->replay_us / 1000);
    metric_sample(&s->metrics, METRIC_STARTUP_TXNS_LOADED, result->txns_replayed);
}

int server_start(struct server *s, struct now now) {
    s->now = now;
    s->last_turn = now.mono;
    int err = snapshotter_first(s);
    if (err != 0)
        return err;
    sessions_touch_all(&s->sessions, now);
    s->started = now.mono;
    s->state = SERVER_RUNNING;
    return 0;
}

void server_stop(struct server *s, struct now now) {
    s->now = now;
    if (s->state == SERVER_RUNNING)
        s->state = SERVER_STOPPING;
    struct conn *c;
    LIST_FOREACH(c, &s->conns_all, struct conn, all_link)
        conn_close_later(c, CONN_CLOSE_FLUSH);
}

bool server_idle(const struct server *s) {
    if (snapshotter_busy(s) || diskguard_busy(s))
        return false;
    return s->state == SERVER_FAILED || s->disk_full ||
           (s->writing == NULL && (s->filling == NULL || s->filling->count == 0) && list_empty(&s->outstanding));
}

/* ------------------------------------------------------------------ turns */

static void expire_sessions(struct server *s) {
    /* Bounded by sessions and by what they own, so that a mass expiry is spread over many turns. */
    uint64_t owned_budget = 4096;
    for (int i = 0; i < s->config->max_sessions_expired_per_turn; i++) {
        struct session *session = session_pop_expired(&s->sessions, s->now);
        if (session == NULL)
            return;
        struct conn *c = session->conn;
        if (c != NULL && c->paused) {
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

static void drop_watches(struct server *s) {
    while (s->dropping_count != 0) {
        uint32_t slot = s->dropping[s->dropping_count - 1];
        if (!watch_drop(s->watches, slot, 2000))
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
        reaper_turn(s);
        diskguard_turn(s);
    }
    drop_watches(s);
    tree_maintain(s->tree);
    snapshotter_step(s);
}

void server_turn_end(struct server *s, struct now now) {
    s->now = now;
    pipeline_submit(s);
}

static bool work_waits(const struct server *s) {
    if (s->dropping_count != 0 || snapshotter_has_work(s))
        return true;
    if (list_empty(&s->outstanding))
        return false;
    return LIST_FIRST(&s->outstanding, struct request, txn_link)->zxid <= s->committed;
}

struct monotime server_next_wake(const struct server *s) {
    struct monotime wake = mono_add_ms(s->now.mono, HEARTBEAT_MS);
    if (work_waits(s))
        return s->now.mono;
    if (s->disk_full)
        wake.us = i64_min(wake.us, s->disk_retry.us);
    if (s->state == SERVER_RUNNING) {
        int64_t expiry_ms = expiry_next(&s->sessions.expiry);
        if (expiry_ms < mono_ms(wake) + 1)
            wake.us = i64_min(wake.us, expiry_ms * 1000);
        wake.us = i64_min(wake.us, reaper_next_wake(s).us);
        wake.us = i64_min(wake.us, diskguard_next_wake(s).us);
    }
    return wake;
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
    default:
        diskguard_log_done(s, cmd);
    }
}

/* ------------------------------------------------------------------ limits */

struct server_memory server_memory(const struct server *s) {
    struct server_memory m = {
        .tree = tree_memory(s->tree),
        .watches = watch_memory(s->watches),
        .sessions = s->sessions.by_id.count * sizeof(struct session) + hmap_bytes(&s->sessions.by_id) +
                    s->conn_count * (sizeof(struct conn) + 256),
        .buffers = s->queued_bytes,
        .log_window = (s->filling ? s->filling->data.cap : 0) + (s->writing ? s->writing->data.cap : 0),
    };
    m.total = m.tree + m.watches + m.sessions + m.buffers + m.log_window;
    return m;
}

bool server_refuses_growth(const struct server *s) {
    if (s->disk_full || diskguard_critical(s))
        return true;
    return s->config->maxmemory_bytes > 0 && server_memory(s).total > (uint64_t)s->config->maxmemory_bytes;
}

static bool must_pause(const struct server *s, const struct conn *c) {
    if (c->in_flight == 0)
        return false;
    if (s->pipeline_count > (uint64_t)s->config->global_outstanding_limit || s->queued_bytes > QUEUED_BYTES_MAX)
        return true;
    return s->config->request_throttle_max_requests > 0 &&
           s->pipeline_count >= (uint64_t)s->config->request_throttle_max_requests;
}

static void pause_if_needed(struct server *s, struct conn *c) {
    if (c->paused || !must_pause(s, c))
        return;
    c->paused = true;
    list_push(&s->paused, &c->paused_link);
    if (s->config->request_throttle_max_requests > 0)
        metric_count(&s->metrics, METRIC_REQUEST_THROTTLE_WAIT_COUNT, 1);
    conn_dirty(c);
}

void server_resume_paused(struct server *s) {
    struct conn *c;
    LIST_FOREACH(c, &s->paused, struct conn, paused_link) {
        if (must_pause(s, c))
            continue;
        c->paused = false;
        list_remove(&c->paused_link);
        conn_dirty(c);
    }
}

/* ------------------------------------------------------------------ connections */

static uint32_t take_slot(struct server *s) {
    if (s->free_slot_count != 0)
        return s->free_slots[--s->free_slot_count];
    if (s->slot_count == s->slot_cap) {
        s->slot_cap = s->slot_cap ? s->slot_cap * 2 : 64;
        s->slots = mem_realloc(s->slots, s->slot_cap * sizeof *s->slots);
        s->free_slots = mem_realloc(s->free_slots, s->slot_cap * sizeof *s->free_slots);
        s->dropping = mem_realloc(s->dropping, s->slot_cap * sizeof *s->dropping);
    }
    zassert(s->slot_count < WATCHER_MAX);
    return s->slot_count++;
}

struct conn *server_conn_new(struct server *s, struct slice peer, struct slice ip, bool is_local, struct now now) {
    struct conn *c = mem_calloc(1, sizeof *c);
    s->now = now;
    c->server = s;
    c->is_local = is_local;
    c->slot = take_slot(s);
    s->slots[c->slot] = c;
    list_init(&c->requests);
    list_init(&c->segments);
    list_init(&c->dirty_link);
    list_init(&c->paused_link);
    list_push(&s->conns_all, &c->all_link);
    s->conn_count++;
    identity_set_init(&c->identities);
    identity_add(&c->identities, SLICE_LIT("ip"), ip);
    c->peer = mem_alloc(peer.len + 1);
    memcpy(c->peer, peer.data, peer.len);
    c->peer[peer.len] = '\0';
    c->last_cxid = -1;
    c->last_zxid = -1;
    c->established_wall_ms = now.wall_ms;
    return c;
}

/* Nobody waits for the replies any more; what is proposed goes on, deferred reads do not. */
static void abandon_requests(struct server *s, struct conn *c) {
    struct request *r;
    LIST_FOREACH(r, &c->requests, struct request, conn_link) {
        r->conn = NULL;
        list_remove(&r->conn_link);
        if (r->kind == REQUEST_READ || r->kind == REQUEST_REFUSED)
            request_done(s, r);
    }
    c->in_flight = 0;
}

void server_conn_gone(struct server *s, struct conn *c, struct now now) {
    s->now = now;
    connect_let_go(s, c);
    abandon_requests(s, c);
    conn_drop_output(c);
    list_remove(&c->all_link);
    list_remove(&c->dirty_link);
    list_remove(&c->paused_link);
    s->slots[c->slot] = NULL;
    if (c->has_watches)
        s->dropping[s->dropping_count++] = c->slot;
    else
        s->free_slots[s->free_slot_count++] = c->slot;
    s->conn_count--;
    identity_set_free(&c->identities);
    mem_free(c->peer);
    mem_free(c);
    server_resume_paused(s);
}

/* A client that reconnects must get all its watches back, however many they are. */
static bool is_set_watches(const uint8_t *head) {
    int32_t op = (int32_t)be32_load(head + 4);
    return op == OP_SET_WATCHES || op == OP_SET_WATCHES2;
}

enum frame_verdict server_conn_admits(struct server *s, struct conn *c, int32_t len, const uint8_t *head, size_t head_len) {
    const struct config *cfg = s->config;
    if (len < 0 || len > cfg->max_request_bytes || (!c->connected && len > cfg->jute_maxbuffer_bytes)) {
        log_warn("%s: a frame of %d bytes is not accepted (limit %lld), closing the connection of session 0x%llx", c->peer,
                 len, (long long)cfg->max_request_bytes, (unsigned long long)c->session_id);
        return FRAME_CLOSE;
    }
    if (cfg->large_request_threshold_bytes > 0 && len > cfg->large_request_threshold_bytes &&
        s->large_bytes + (size_t)len > (size_t)cfg->large_request_max_bytes) {
        metric_count(&s->metrics, METRIC_LARGE_REQUESTS_REJECTED, 1);
        log_warn("%s: large requests in flight would exceed %lld bytes, closing", c->peer,
                 (long long)cfg->large_request_max_bytes);
        return FRAME_CLOSE;
    }
    if (len <= cfg->jute_maxbuffer_bytes)
        return FRAME_READ;
    if (head_len < size_min((size_t)len, REQUEST_HEADER_BYTES))
        return FRAME_ASK_AGAIN;
    return len >= REQUEST_HEADER_BYTES && is_set_watches(head) ? FRAME_READ : FRAME_DRAIN;
}

static void handle_auth(struct server *s, struct conn *c, int32_t xid, struct jute_in *in) {
    jute_int(in);
    struct slice scheme = jute_bytes(in);
    struct slice data = jute_bytes(in);
    if (in->failed) {
        conn_close_later(c, CONN_CLOSE_NOW);
        return;
    }
    switch (auth_packet(&s->auth, &c->identities, scheme, data)) {
    case AUTH_OK:
        conn_reply_header(c, xid, 0, ZK_OK);
        break;
    case AUTH_FAILED:
        log_warn("%s: authentication with scheme %.*s failed, closing session 0x%llx's connection", c->peer,
                 (int)scheme.len, scheme.data, (unsigned long long)c->session_id);
        s->metrics.auth_failed++;
        conn_reply_header(c, xid, 0, ZK_AUTH_FAILED);
        conn_close_later(c, CONN_CLOSE_FLUSH);
        break;
    case AUTH_CLOSE_SILENT:
        log_warn("%s asks for another ensemble, closing", c->peer);
        metric_count(&s->metrics, METRIC_ENSEMBLE_AUTH_FAIL, 1);
        conn_close_later(c, CONN_CLOSE_NOW);
        break;
    }
}

/* Without a SASL login of its own a ZooKeeper server answers every token with nothing. */
static void handle_sasl(struct server *s, struct conn *c, int32_t xid, struct jute_in *in) {
    struct slice token = jute_bytes_not_null(in);
    if (in->failed || token.data == NULL) {
        conn_close_later(c, CONN_CLOSE_NOW);
        return;
    }
    struct buf *out = conn_out(c);
    size_t start = frame_begin(out);
    uint8_t *p = buf_tail(out, REPLY_HEADER_BYTES);
    reply_header_store(p, &(struct reply_header){.xid = xid});
    out->len += REPLY_HEADER_BYTES;
    jute_put_int(out, -1);
    frame_end(out, start);
    c->sent++;
    s->metrics.packets_sent++;
    conn_dirty(c);
}

static bool lacks_enforced_auth(const struct server *s, const struct conn *c) {
    const struct config *cfg = s->config;
    if (!cfg->enforce_auth_enabled)
        return false;
    for (size_t i = 0; i < cfg->enforce_auth_schemes.count; i++)
        if (identity_has_scheme(&c->identities, c->identities.count, slice_of(cfg->enforce_auth_schemes.items[i])))
            return false;
    return true;
}

static bool is_write_op(int32_t op) {
    switch (op) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
    case OP_DELETE:
    case OP_SET_DATA:
    case OP_SET_ACL:
    case OP_MULTI:
    case OP_RECONFIG:
    case OP_CLOSE_SESSION:
        return true;
    default:
        return false;
    }
}

/* While memory or disk is short, what could make the database larger is refused before it takes a zxid. */
static bool grows(int32_t op) {
    switch (op) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
    case OP_SET_DATA:
    case OP_SET_ACL:
        return true;
    default:
        return false;
    }
}

static bool request_grows(int32_t op, struct slice body) {
    if (op != OP_MULTI)
        return grows(op);
    return prepare_multi_any(body, grows);
}

static void refuse(struct server *s, struct conn *c, int32_t xid, int32_t op, int32_t error) {
    struct request *r = request_new(s, c, REQUEST_REFUSED, xid, op, 0);
    r->error = error;
    request_run_reads(s, c);
}

static void handle_unknown(struct server *s, struct conn *c, int32_t xid, int32_t op) {
    log_warn("%s: session 0x%llx sent the unknown opcode %d", c->peer, (unsigned long long)c->session_id, op);
    if (s->config->close_on_unknown_opcode) {
        conn_reply_header(c, xid, -1, ZK_UNIMPLEMENTED);
        conn_close_later(c, CONN_CLOSE_FLUSH);
        return;
    }
    refuse(s, c, xid, op, ZK_UNIMPLEMENTED);
}

static void handle_read(struct server *s, struct conn *c, int32_t xid, int32_t op, struct slice body) {
    if (list_empty(&c->requests)) {
        reads_execute(s, c, xid, op, body, c->identities.count);
        metrics_latency(&s->metrics, op, 0);
        return;
    }
    struct request *r = request_new(s, c, REQUEST_READ, xid, op, body.len);
    if (body.len != 0)
        memcpy(r->body, body.data, body.len);
}

static void handle_write(struct server *s, struct conn *c, int32_t xid, int32_t op, struct slice body) {
    if (request_grows(op, body) && server_refuses_growth(s)) {
        uint64_t suppressed;
        if (log_limit_pass(&s->refuse_limit, s->now.mono.us, 10000000, &suppressed))
            log_warn("growing writes are refused: %s (%llu more since the last such line)",
                     s->disk_full || diskguard_critical(s) ? "the disk is full" : "maxmemory is reached",
                     (unsigned long long)suppressed);
        refuse(s, c, xid, op, ZK_QUOTA_EXCEEDED);
        return;
    }
    struct request *r = request_new(s, c, REQUEST_WRITE, xid, op, 0);
    if (s->config->large_request_threshold_bytes > 0 && (int64_t)body.len > s->config->large_request_threshold_bytes) {
        r->large = body.len;
        s->large_bytes += body.len;
    }
    prepare_request(s, r, body);
}

/* Closes a connection without a valid identity. Returns false if the frame is dealt with. */
static bool admitted(struct server *s, struct conn *c, int32_t xid) {
    if (!lacks_enforced_auth(s, c))
        return true;
    log_warn("%s: session 0x%llx must authenticate first (enforce.auth), closing", c->peer,
             (unsigned long long)c->session_id);
    conn_reply_header(c, xid, 0, ZK_SESSION_CLOSED_REQUIRE_AUTH);
    conn_close_later(c, CONN_CLOSE_FLUSH);
    return false;
}

void server_conn_frame(struct server *s, struct conn *c, const uint8_t *frame, size_t len, struct now now) {
    s->now = now;
    c->received++;
    c->last_response_ms = mono_ms(now.mono);
    s->metrics.packets_received++;
    if (len > s->metrics.request_max_bytes)
        s->metrics.request_max_bytes = len;
    if (s->state != SERVER_RUNNING) {
        conn_close_later(c, CONN_CLOSE_NOW);
        return;
    }
    if (!c->connected) {
        connect_frame(s, c, frame, len);
        return;
    }
    struct jute_in in = jute_in(frame, len);
    int32_t xid = jute_int(&in), op = jute_int(&in);
    if (in.failed) {
        log_warn("%s: a frame of %zu bytes has no header, closing", c->peer, len);
        conn_close_later(c, CONN_CLOSE_NOW);
        return;
    }
    if (op == OP_AUTH) {
        handle_auth(s, c, xid, &in);
        return;
    }
    if (op == OP_SASL) {
        handle_sasl(s, c, xid, &in);
        return;
    }
    if (!admitted(s, c, xid))
        return;
    struct session *session = c->session;
    if (session == NULL || session->closing)
        return; /* it ended meanwhile: dropped without a reply, the close follows */
    session_touch(&s->sessions, session, now);
    c->last_op = op;
    if (xid >= 0 || op == OP_CLOSE_SESSION)
        c->last_cxid = xid;
    struct slice body = {(const char *)in.p, jute_left(&in)};
    if (reads_is_read(op))
        handle_read(s, c, xid, op, body);
    else if (is_write_op(op))
        handle_write(s, c, xid, op, body);
    else
        handle_unknown(s, c, xid, op);
    pause_if_needed(s, c);
}

void server_conn_oversize(struct server *s, struct conn *c, const uint8_t *head, size_t head_len, size_t frame_len,
                          struct now now) {
    s->now = now;
    c->received++;
    s->metrics.packets_received++;
    if (frame_len > s->metrics.request_max_bytes)
        s->metrics.request_max_bytes = frame_len;
    struct jute_in in = jute_in(head, head_len);
    int32_t xid = jute_int(&in), op = jute_int(&in);
    int32_t path_len = jute_int(&in);
    size_t shown = in.failed || path_len < 0 ? 0 : size_min((size_t)path_len, jute_left(&in));
    uint64_t suppressed;
    if (log_limit_pass(&s->oversize_limit, now.mono.us, 1000000, &suppressed))
        log_warn("%s: session 0x%llx sent a %s of %zu bytes for %.*s; jute.maxbuffer is %lld, refused", c->peer,
                 (unsigned long long)c->session_id, proto_op_name(op), frame_len, (int)shown, (const char *)in.p,
                 (long long)s->config->jute_maxbuffer_bytes);
    struct session *session = c->session;
    if (session == NULL || session->closing || s->state != SERVER_RUNNING)
        return;
    session_touch(&s->sessions, session, now);
    refuse(s, c, xid, op, ZK_MARSHALLING_ERROR);
}
