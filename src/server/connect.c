/* Session set-up, renewal and expiry. See docs/protocol/client-protocol.md section 3 and operations.md section 13. */
#include "server/closer.h"

/* ------------------------------------------------------------------ throttle */

enum connect_kind { CONNECT_NEW, CONNECT_RENEW };

static int64_t connect_cost(const struct config *cfg, enum connect_kind kind) {
    if (!cfg->connection_throttle_weight_enabled)
        return 1;
    return kind == CONNECT_NEW ? cfg->connection_throttle_global_session_weight
                               : cfg->connection_throttle_renew_session_weight;
}

/* Random dropping under pressure: the chance rises while tokens are short and falls while there are plenty. */
static bool dropped_at_random(struct server *s, int64_t limit) {
    const struct config *cfg = s->config;
    struct connect_throttle *t = &s->connect_throttle;
    if (cfg->connection_throttle_freeze_time_ms < 0)
        return false;
    if (mono_diff_us(s->now.mono, t->drop_updated) >= cfg->connection_throttle_freeze_time_ms * 1000LL) {
        t->drop_updated = s->now.mono;
        if (t->tokens < limit && (double)t->tokens <= (double)limit * cfg->connection_throttle_decrease_ratio)
            t->drop_chance += cfg->connection_throttle_drop_increase;
        else
            t->drop_chance -= cfg->connection_throttle_drop_decrease;
        t->drop_chance = t->drop_chance < 0 ? 0 : t->drop_chance > 1 ? 1 : t->drop_chance;
    }
    return rng_unit(&s->rng) < t->drop_chance;
}

static bool throttle_admits(struct server *s, enum connect_kind kind) {
    const struct config *cfg = s->config;
    struct connect_throttle *t = &s->connect_throttle;
    if (cfg->connection_throttle_tokens <= 0)
        return true;
    int64_t weight = cfg->connection_throttle_weight_enabled ? cfg->connection_throttle_global_session_weight : 1;
    int64_t limit = cfg->connection_throttle_tokens * weight;
    int64_t fill_us = i64_max(1, cfg->connection_throttle_fill_time_ms) * 1000;
    if (t->filled.us == 0) {
        t->filled = s->now.mono;
        t->tokens = limit;
    }
    int64_t periods = mono_diff_us(s->now.mono, t->filled) / fill_us;
    t->filled.us += periods * fill_us;
    t->tokens = i64_min(limit, t->tokens + i64_min(periods, limit) * cfg->connection_throttle_fill_count * weight);
    if (dropped_at_random(s, limit))
        return false;
    int64_t cost = connect_cost(cfg, kind);
    if (t->tokens < cost) {
        metric_sample(&s->metrics, METRIC_CONNECTION_TOKEN_DEFICIT, (uint64_t)(cost - t->tokens));
        return false;
    }
    t->tokens -= cost;
    return true;
}

/* ------------------------------------------------------------------ set-up */

static void attach(struct server *s, struct conn *c, struct session *session) {
    session->conn = c;
    c->session = session;
    c->session_id = session->id;
    session_touch(&s->sessions, session, s->now);
    if (s->role->touched != NULL)
        s->role->touched(s, session);
}

void connect_let_go(struct server *s, struct conn *c) {
    (void)s;
    if (c->session != NULL) {
        zassert(c->session->conn == c);
        c->session->conn = NULL;
        c->session = NULL;
    }
}

void connect_reply(struct server *s, struct conn *c, struct session *session) {
    struct connect_response response = {.has_read_only = c->has_read_only};
    if (session != NULL) {
        response.timeout_ms = session->live_timeout_ms;
        response.session_id = session->id;
        session_password(session->id, response.password);
    }
    struct buf *out = conn_out(c);
    size_t start = frame_begin(out);
    connect_response_put(out, &response);
    frame_end(out, start);
    c->sent++;
    s->metrics.packets_sent++;
    c->connecting = false;
    c->last_op = OP_CREATE_SESSION;
    if (session != NULL)
        c->connected = true;
    else
        conn_close_later(c, CONN_CLOSE_FLUSH);
    conn_dirty(c);
}

static void renew(struct server *s, struct conn *c, const struct connect_request *req, int32_t timeout_ms) {
    struct session *session = session_find(&s->sessions, req->session_id);
    uint8_t password[PASSWORD_BYTES];
    metric_count(&s->metrics, METRIC_CONNECTION_REVALIDATE_COUNT, 1);
    /* Whoever holds the session's connection loses it, even before the password is looked at: ZooKeeper's order. */
    if (session != NULL && session->conn != NULL) {
        struct conn *old = session->conn;
        log_info("session 0x%llx: %s comes from %s now, closing the old connection", (unsigned long long)session->id,
                 old->peer, c->peer);
        connect_let_go(s, old);
        conn_close_later(old, CONN_CLOSE_NOW);
    }
    session_password(req->session_id, password);
    bool asks = s->role->renew != NULL;
    bool password_fits = req->password.len == PASSWORD_BYTES && memcmp(req->password.data, password, PASSWORD_BYTES) == 0;
    if (!password_fits)
        log_info("session 0x%llx of %s cannot be renewed: wrong password", (unsigned long long)req->session_id, c->peer);
    if (asks && password_fits)
        s->role->renew(s, c, req->session_id, timeout_ms);
    else
        connect_renewed(s, c, req->session_id, timeout_ms,
                        password_fits && session != NULL && !session->closing && session->in_db);
}

void connect_renewed(struct server *s, struct conn *c, session_id_t id, int32_t timeout_ms, bool valid) {
    struct session *session = session_find(&s->sessions, id);
    if (!valid) {
        log_info("session 0x%llx of %s cannot be renewed", (unsigned long long)id, c->peer);
        connect_reply(s, c, NULL);
        return;
    }
    /* The leader may know a session whose createSession has not come here yet. */
    if (session == NULL)
        session = session_add(&s->sessions, id, timeout_ms);
    if (session->conn != NULL) {
        struct conn *old = session->conn;
        connect_let_go(s, old);
        conn_close_later(old, CONN_CLOSE_NOW);
    }
    session->live_timeout_ms = timeout_ms;
    session->owner = OWNER_SELF;
    attach(s, c, session);
    connect_reply(s, c, session);
}

static void create(struct server *s, struct conn *c, int32_t timeout_ms) {
    struct session *session = session_add(&s->sessions, session_next_id(&s->sessions), timeout_ms);
    attach(s, c, session);
    struct request *r = request_new(s, c, REQUEST_CONNECT, 0, OP_CREATE_SESSION, 0);
    session->owner = OWNER_SELF;
    if (s->role->orders) {
        prepare_create_session(s, r, timeout_ms);
        return;
    }
    uint8_t body[4];
    be32_store(body, (uint32_t)timeout_ms);
    r->forwarded = true;
    s->role->forward(s, r, (struct slice){(const char *)body, sizeof body});
}

void connect_frame(struct server *s, struct conn *c, const uint8_t *frame, size_t len) {
    const struct config *cfg = s->config;
    struct connect_request req;
    struct jute_in in = jute_in(frame, len);
    metric_count(&s->metrics, METRIC_CONNECTION_REQUEST_COUNT, 1);
    if (!connect_request_get(&in, &req)) {
        log_info("%s: %zu bytes that are no connect request, closing", c->peer, len);
        conn_close_later(c, CONN_CLOSE_NOW);
        return;
    }
    if (!throttle_admits(s, req.session_id == 0 ? CONNECT_NEW : CONNECT_RENEW)) {
        metric_count(&s->metrics, METRIC_CONNECTION_REJECTED, 1);
        conn_close_later(c, CONN_CLOSE_NOW);
        return;
    }
    if (req.last_zxid_seen > s->last_applied) {
        log_info("%s has seen zxid 0x%llx, this server is at 0x%llx only: closing, it must try another server", c->peer,
                 (unsigned long long)req.last_zxid_seen, (unsigned long long)s->last_applied);
        conn_close_later(c, CONN_CLOSE_NOW);
        return;
    }
    int32_t timeout_ms = req.timeout_ms;
    if (timeout_ms < cfg->min_session_timeout_ms)
        timeout_ms = cfg->min_session_timeout_ms;
    if (timeout_ms > cfg->max_session_timeout_ms)
        timeout_ms = cfg->max_session_timeout_ms;
    c->has_read_only = req.has_read_only;
    c->connecting = true;
    if (req.session_id == 0)
        create(s, c, timeout_ms);
    else
        renew(s, c, &req, timeout_ms);
}

void session_expire(struct server *s, struct session *session) {
    log_info("session 0x%llx expired after %d ms without a sign of life%s%s", (unsigned long long)session->id,
             session->live_timeout_ms, session->conn != NULL ? ", closing " : "",
             session->conn != NULL ? session->conn->peer : "");
    metric_count(&s->metrics, METRIC_STALE_SESSIONS_EXPIRED, 1);
    struct request *r = request_new(s, NULL, REQUEST_WRITE, 0, OP_CLOSE_SESSION, 0);
    r->session_id = session->id;
    closer_start(s, r, session);
}
