/* Connections and their frames: who is let in, what is done with each request, when reading pauses. */
#include "server/server.h"

#include "base/mem.h"

/* Frames and transactions that wait inside the server: above this, reading pauses. */
#define QUEUED_BYTES_MAX (64u << 20)
/* Nobody proves to be more than this many users on one connection. */
#define IDENTITIES_MAX 1000

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

/* A learner has to log what the others take, whatever it refuses itself: it is for the leader to say. */
static bool disk_refuses(const struct server *s) { return s->role->orders && (s->disk_full || diskguard_critical(s)); }

bool server_refuses_growth(const struct server *s) {
    if (disk_refuses(s))
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
    if (s->config->request_throttle_max_requests > 0) {
        metric_count(&s->metrics, METRIC_REQUEST_THROTTLE_WAIT_COUNT, 1);
        c->throttled_since = s->now.mono;
    }
    conn_dirty(c);
}

void server_resume_paused(struct server *s) {
    struct conn *c;
    LIST_FOREACH(c, &s->paused, struct conn, paused_link) {
        if (must_pause(s, c))
            continue;
        c->paused = false;
        if (c->throttled_since.us != 0)
            c->throttle_wait_us = mono_diff_us(s->now.mono, c->throttled_since) + 1;
        c->throttled_since.us = 0;
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
        if (r->kind == REQUEST_READ || r->kind == REQUEST_REFUSED || r->kind == REQUEST_SYNC || r->forwarded)
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
    enum auth_result result = AUTH_FAILED;
    if (c->identities.count < IDENTITIES_MAX)
        result = auth_packet(&s->auth, &c->identities, scheme, data);
    switch (result) {
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

/* While memory or disk is short, what could make the database larger is refused before it takes a zxid. In the log even a
 * setData that does not lengthen takes its space, which is needed for the ends of sessions, deletes and a snapshot. */
bool request_op_grows(int32_t op) {
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

bool request_grows(const struct server *s, int32_t op, struct slice body) {
    if (op == OP_MULTI)
        return prepare_multi_any(body, request_op_grows);
    if (op != OP_SET_DATA || disk_refuses(s))
        return request_op_grows(op);
    struct jute_in in = jute_in(body.data, body.len);
    struct slice path = jute_bytes_not_null(&in), data = jute_bytes(&in);
    const struct znode *n = in.failed ? NULL : tree_find(s->tree, path);
    return n != NULL && (int64_t)data.len > n->data_len;
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
    bool asks = op == OP_SYNC && s->role->sync != NULL;
    if (list_empty(&c->requests) && !asks) {
        reads_execute(s, c, xid, op, body, c->identities.count);
        metrics_latency(&s->metrics, op, 0);
        return;
    }
    struct request *r = request_new(s, c, asks ? REQUEST_SYNC : REQUEST_READ, xid, op, body.len);
    if (body.len != 0)
        memcpy(r->body, body.data, body.len);
    if (asks)
        s->role->sync(s, r);
}

/* On a learner. A body that does not decode stays here: leaders have been seen to stumble over such requests. */
static void forward(struct server *s, struct conn *c, int32_t xid, int32_t op, struct slice body) {
    struct buf stat_results = BUF_INIT;
    if (!prepare_decodes(op, body, &stat_results)) {
        buf_free(&stat_results);
        refuse(s, c, xid, op, ZK_MARSHALLING_ERROR);
        return;
    }
    struct request *r = request_new(s, c, REQUEST_WRITE, xid, op, 0);
    r->forwarded = true;
    r->stat_results = stat_results;
    s->role->forward(s, r, body);
}

static void handle_write(struct server *s, struct conn *c, int32_t xid, int32_t op, struct slice body) {
    if (server_refuses_growth(s) && request_grows(s, op, body)) {
        uint64_t suppressed;
        if (log_limit_pass(&s->refuse_limit, s->now.mono.us, 10000000, &suppressed))
            log_warn("growing writes are refused: %s (%llu more since the last such line)",
                     disk_refuses(s) ? "the disk is full" : "maxmemory is reached",
                     (unsigned long long)suppressed);
        refuse(s, c, xid, op, ZK_QUOTA_EXCEEDED);
        return;
    }
    if (s->config->enable_eager_acl_check && !s->role->standalone && prepare_denied(s, c, op, body)) {
        refuse(s, c, xid, op, ZK_NO_AUTH);
        return;
    }
    if (!s->role->orders) {
        forward(s, c, xid, op, body);
        return;
    }
    struct request *r = request_new(s, c, REQUEST_WRITE, xid, op, 0);
    if (s->config->large_request_threshold_bytes > 0 && (int64_t)body.len > s->config->large_request_threshold_bytes) {
        r->large = body.len;
        s->large_bytes += body.len;
    }
    prepare_request(s, r, body);
}

/* The first request behind a throttle pause may have waited too long. False: it is dealt with. */
static bool throttle_passes(struct server *s, struct conn *c, int32_t xid, int32_t op, const struct session *session) {
    const struct config *cfg = s->config;
    int64_t ms = c->throttle_wait_us / 1000;
    c->throttle_wait_us = 0;
    metric_sample(&s->metrics, METRIC_REQUEST_THROTTLE_QUEUE_TIME_MS, (uint64_t)ms);
    if (op == OP_PING || op == OP_CLOSE_SESSION)
        return true;
    if (cfg->request_stale_latency_check && ms > session->live_timeout_ms) {
        metric_count(&s->metrics, METRIC_STALE_REQUESTS, 1);
        if (cfg->request_throttle_drop_stale) {
            metric_count(&s->metrics, METRIC_STALE_REQUESTS_DROPPED, 1);
            conn_close_later(c, CONN_CLOSE_NOW);
            return false;
        }
    }
    if (cfg->throttled_op_wait_time_ms <= 0 || ms <= cfg->throttled_op_wait_time_ms)
        return true;
    metric_count(&s->metrics, METRIC_THROTTLED_OPS, 1);
    refuse(s, c, xid, op, ZK_THROTTLED_OP);
    return false;
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

/* A leader that is to have no clients of its own. */
static bool leads_only(const struct server *s) {
    return s->role->orders && !s->role->standalone && !s->config->leader_serves;
}

void server_conn_frame(struct server *s, struct conn *c, const uint8_t *frame, size_t len, struct now now) {
    s->now = now;
    c->received++;
    c->last_response_ms = mono_ms(now.mono);
    s->metrics.packets_received++;
    if (len > s->metrics.request_max_bytes)
        s->metrics.request_max_bytes = len;
    if (s->state != SERVER_RUNNING || leads_only(s)) {
        metric_count(&s->metrics, METRIC_CNXN_CLOSED_WITHOUT_ZK_SERVER_RUNNING, 1);
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
    if (s->role->touched != NULL)
        s->role->touched(s, session);
    c->last_op = op;
    if (xid >= 0 || op == OP_CLOSE_SESSION)
        c->last_cxid = xid;
    if (UNLIKELY(c->throttle_wait_us != 0) && !throttle_passes(s, c, xid, op, session))
        return;
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
