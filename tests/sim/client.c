/* Clients: connect, ask, compare every answer, lose their connection, come back with their session and their watches, fall
 * silent until the session has expired, and begin anew. */
#include <stdio.h>

#include "base/mem.h"
#include "sim/sim.h"

/* What a session may live beyond its timeout: a bucket, the server's heartbeat, a turn. */
static int64_t expiry_slack_us(const struct sim *sim) { return (2 * sim->nodes[0].config.tick_time_ms + 600) * 1000LL; }

static int64_t pause_us(struct sim_client *c, int64_t most_us) { return 1 + (int64_t)rng_below(&c->rng, (uint64_t)most_us); }

void sim_client_init(struct sim_client *c, struct sim *sim, int id) {
    *c = (struct sim_client){.sim = sim, .id = id, .rng = {rng_next(&sim->rng)}};
    c->timeout_ms = 400 + (int32_t)rng_below(&c->rng, 3000);
    c->pace_us = 2000 + (int64_t)rng_below(&c->rng, rng_below(&c->rng, 3) == 0 ? 10000 : 150000);
    /* Members need time for their troubles, so requests come slowly, at some times of a run. */
    if (sim_is_ensemble(sim))
        c->pace_us *= 1 + (int64_t)rng_below(&c->rng, 60);
    c->reads_only = sim->apart && id % 2 == 0;
    if (sim->apart)
        c->timeout_ms += 5000;
    /* Those who wait are the ones whose connection may be paused for longer than their timeout. */
    c->patience_us = c->timeout_ms * (rng_below(&c->rng, 3) == 0 ? 10000LL : 800LL);
    c->next_us = sim_now(sim) + pause_us(c, 50000);
}

void sim_client_free(struct sim_client *c) {
    mem_free(c->watches);
    mem_free(c->expected);
    mem_free(c->caught_up);
}

bool sim_client_at_rest(const struct sim_client *c) { return c->state == CLIENT_UP && c->request_count == 0; }

static struct sim_request *request_at(struct sim_client *c, int i) {
    return &c->requests[(c->first_request + i) % SIM_WINDOW];
}

/* ------------------------------------------------------------------ connecting */

static void forget_session(struct sim_client *c) {
    c->session = 0;
    c->last_zxid = 0;
    c->fresh_us = 0;
    c->closing = false;
    sim_watch_lost(c, true);
}

static void go_down(struct sim_client *c, int64_t within_us) {
    if (c->link != NULL)
        sim_link_hang_up(c->link);
    c->link = NULL;
    c->request_count = 0;
    sim_watch_lost(c, false);
    c->state = CLIENT_DOWN;
    c->next_us = sim_now(c->sim) + pause_us(c, within_us);
    if (c->closing) /* it may be closed or not; nobody will ask again */
        forget_session(c);
}

void sim_client_cut(struct sim_client *c) {
    sim_trace(c->sim, "client %d: the connection was closed", c->id);
    c->link = NULL;
    if (c->state == CLIENT_SILENT)
        return;
    go_down(c, 100000);
}

static void hang_up(struct sim_client *c) {
    sim_trace(c->sim, "client %d hangs up", c->id);
    c->sim->counters->hang_ups++;
    go_down(c, 150000);
}

static void send_frame(struct sim_client *c, struct buf *frame) {
    sim_link_send(c->link, frame);
    buf_free(frame);
}

static bool is_open(const struct sim_node *n) {
    return n->server != NULL && !n->stopping && n->server->state == SERVER_RUNNING;
}

static void open_link(struct sim_client *c) {
    struct buf frame = BUF_INIT;
    struct sim_node *before = c->node;
    c->node = &c->sim->nodes[rng_below(&c->rng, (uint64_t)c->sim->node_count)];
    bool avoided = c->sim->apart && !c->reads_only && !c->sim->calm && sim_index(c->node) == c->sim->leader;
    if (!is_open(c->node) || avoided) {
        c->next_us = sim_now(c->sim) + pause_us(c, 100000);
        return;
    }
    c->moved = c->session != 0 && before != NULL && before != c->node;
    c->link = sim_link_open(c);
    connect_request_put(&frame, &(struct connect_request){.last_zxid_seen = c->last_zxid,
                                                          .timeout_ms = c->timeout_ms,
                                                          .session_id = c->session,
                                                          .password = {(const char *)c->password, PASSWORD_BYTES},
                                                          .has_read_only = true});
    send_frame(c, &frame);
    c->state = CLIENT_CONNECTING;
    c->next_us = sim_now(c->sim) + c->timeout_ms * 700LL;
}

static void send_request(struct sim_client *c, struct sim_request *r) {
    struct buf frame = BUF_INIT;
    char text[300];
    r->xid = r->op == OP_SET_WATCHES2 ? XID_SET_WATCHES : ++c->xid;
    r->sent_us = sim_now(c->sim);
    r->seen = c->last_zxid;
    r->shown = c->sim->seen;
    c->sim->asked++;
    sim_request_note(c, r);
    sim_request_put(c, r, &frame);
    sim_request_text(r, text, sizeof text);
    sim_trace(c->sim, "client %d asks %s", c->id, text);
    *request_at(c, c->request_count++) = *r;
    send_frame(c, &frame);
}

/* The watches of the session stand in the server only for the connection that set them. */
static void restore_watches(struct sim_client *c) {
    struct sim_request r = {.op = OP_SET_WATCHES2};
    c->event_at = 0;
    if (c->watch_count == 0) {
        c->watches_set = true;
        return;
    }
    send_request(c, &r);
}

static void connected(struct sim_client *c, const struct connect_response *response) {
    struct sim *sim = c->sim;
    const struct model_session *session = model_session(&sim->model, response->session_id);
    if (c->session != 0 && response->session_id != c->session)
        sim_fail(sim, "client %d was given another session than its own", c->id);
    /* Another member may have been told to go on with it right before its end. */
    if (session == NULL || (session->closed != 0 && !sim_is_ensemble(sim))) {
        sim_fail(sim, "client %d was given session 0x%llx, which is not there", c->id,
                 (unsigned long long)response->session_id);
        return;
    }
    sim->counters->renewals += c->session != 0;
    sim->counters->moves += c->moved;
    c->session = response->session_id;
    memcpy(c->password, response->password, PASSWORD_BYTES);
    c->state = CLIENT_UP;
    c->heard_us = sim_now(sim);
    c->next_op_us = sim_now(sim) + pause_us(c, c->pace_us);
    c->next_ping_us = sim_now(sim) + c->timeout_ms * 333LL;
    c->next_us = i64_min(c->next_op_us, c->next_ping_us);
    restore_watches(c);
}

static void connect_answer(struct sim_client *c, struct jute_in in) {
    struct sim *sim = c->sim;
    struct connect_response response;
    if (!connect_response_get(&in, &response)) {
        sim_fail(sim, "client %d got no connect response", c->id);
        return;
    }
    sim_trace(sim, "client %d: session 0x%llx, timeout %d ms", c->id, (unsigned long long)response.session_id,
              response.timeout_ms);
    if (response.timeout_ms > 0) {
        connected(c, &response);
        return;
    }
    const struct model_session *session = model_session(&sim->model, c->session);
    /* In an ensemble the leader decides, and one that has been deposed may not know it yet. */
    const struct server *s = sim_is_ensemble(sim) ? sim_calm_leader(sim) : c->node->server;
    const struct session *live = s != NULL ? session_find(&s->sessions, c->session) : NULL;
    if (session != NULL && session->closed == 0 && live != NULL && !live->closing)
        sim_fail(sim, "session 0x%llx of client %d was refused, but it is not closed", (unsigned long long)c->session, c->id);
    forget_session(c);
    go_down(c, 20000);
}

/* ------------------------------------------------------------------ answers */

static void event_frame(struct sim_client *c, const struct reply_header *h, struct jute_in *in) {
    enum event_type type = (enum event_type)jute_int(in);
    int32_t state = jute_int(in);
    struct slice path = jute_bytes_not_null(in);
    if (in->failed || jute_left(in) != 0 || state != STATE_SYNC_CONNECTED || h->err != 0) {
        sim_fail(c->sim, "client %d got an event that does not decode", c->id);
        return;
    }
    sim_trace(c->sim, "client %d: event %d %.*s at 0x%llx", c->id, (int)type, (int)path.len, path.data,
              (unsigned long long)h->zxid);
    sim_watch_event(c, h->zxid, type, path);
}

static void reply_frame(struct sim_client *c, const struct reply_header *h, struct jute_in in) {
    if (c->request_count == 0) {
        sim_fail(c->sim, "S24: client %d got a reply to %d, and asked for nothing", c->id, h->xid);
        return;
    }
    struct sim_request r = *request_at(c, 0);
    c->first_request = (c->first_request + 1) % SIM_WINDOW;
    c->request_count--;
    sim_trace(c->sim, "client %d: reply to %d at 0x%llx: %d", c->id, h->xid, (unsigned long long)h->zxid, h->err);
    if (r.xid != h->xid) {
        sim_fail(c->sim, "S24: client %d got a reply to %d, the next was to be to %d", c->id, h->xid, r.xid);
        return;
    }
    if (r.op == OP_SET_WATCHES2)
        sim_watch_restored(c, h->zxid, r.seen);
    else
        sim_watch_reply(c, h->zxid);
    sim_request_check(c, &r, h->zxid, h->err, in);
    sim_request_seen(c, &r, h->zxid, h->err, in);
    if (!sim_failed(c->sim))
        sim_watch_register(c, &r, h->zxid, h->err);
}

void sim_client_frame(struct sim_client *c, const uint8_t *frame, size_t len, bool is_connect) {
    struct jute_in in = jute_in(frame, len);
    c->heard_us = sim_now(c->sim);
    if (is_connect) {
        connect_answer(c, in);
        return;
    }
    struct reply_header h = reply_header_get(&in);
    if (in.failed) {
        sim_fail(c->sim, "client %d got a frame without a header", c->id);
        return;
    }
    if (h.xid != XID_NOTIFICATION && h.zxid < c->last_zxid)
        sim_fail(c->sim, "S28: client %d got a reply at zxid 0x%llx and had seen 0x%llx", c->id, (unsigned long long)h.zxid,
                 (unsigned long long)c->last_zxid);
    if (h.xid == XID_NOTIFICATION)
        event_frame(c, &h, &in);
    else if (h.xid == XID_PING)
        sim_watch_reply(c, h.zxid);
    else
        reply_frame(c, &h, in);
    c->last_zxid = i64_max(c->last_zxid, h.zxid);
    c->sim->seen = i64_max(c->sim->seen, h.zxid);
}

/* ------------------------------------------------------------------ acting */

/* S30 and the duty to expire: a session that nobody touches must end soon after its timeout. */
static void wait_for_expiry(struct sim_client *c) {
    struct sim *sim = c->sim;
    const struct model_session *session = model_session(&sim->model, c->session);
    c->next_us = sim_now(sim) + 50000;
    if (session == NULL || session->closed != 0) {
        sim_trace(sim, "client %d: the session has expired", c->id);
        forget_session(c);
        go_down(c, 20000);
        return;
    }
    const struct server *s = sim_is_ensemble(sim) ? sim_calm_leader(sim) : sim->nodes[0].server;
    if (s == NULL || c->node->stopping)
        return;
    const struct session *live = session_find(&s->sessions, c->session);
    /* One on a follower is not touched, as far as the leader goes, before the next ping. */
    if (live != NULL && !live->closing && session->touched_us != 0 &&
        sim_now(sim) - session->touched_us > session->timeout_ms * 1000LL + expiry_slack_us(sim))
        sim_fail(sim, "session 0x%llx of client %d has not expired after %lld us (timeout %d ms)",
                 (unsigned long long)c->session, c->id, (long long)(sim_now(sim) - session->touched_us), session->timeout_ms);
}

static void fall_silent(struct sim_client *c) {
    sim_trace(c->sim, "client %d falls silent", c->id);
    if (rng_below(&c->rng, 2) == 0) {
        sim_link_hang_up(c->link);
        c->link = NULL;
    }
    c->state = CLIENT_SILENT;
    c->next_us = sim_now(c->sim) + 50000;
}

static void next_operation(struct sim_client *c) {
    struct sim_request r;
    uint64_t what = rng_below(&c->rng, 300);
    c->next_op_us = sim_now(c->sim) + (rng_below(&c->rng, 3) == 0 ? 1 : pause_us(c, 2 * c->pace_us));
    if (c->request_count == SIM_WINDOW || c->closing || c->sim->ops_left == 0)
        return;
    c->sim->ops_left--;
    if (what < 5) {
        hang_up(c);
    } else if (what < 7) {
        fall_silent(c);
    } else if (what < 8) {
        r = (struct sim_request){.op = OP_CLOSE_SESSION};
        c->closing = true;
        send_request(c, &r);
    } else {
        sim_request_choose(c, &r);
        send_request(c, &r);
    }
}

static void ping(struct sim_client *c) {
    struct buf frame = BUF_INIT;
    c->next_ping_us = sim_now(c->sim) + c->timeout_ms * 333LL;
    jute_put_int(&frame, XID_PING);
    jute_put_int(&frame, OP_PING);
    send_frame(c, &frame);
}

static void act(struct sim_client *c) {
    struct sim *sim = c->sim;
    if (sim_now(sim) - c->heard_us > c->patience_us) {
        hang_up(c); /* the server does not answer: try again */
        return;
    }
    if (c->next_ping_us <= sim_now(sim))
        ping(c);
    if (c->next_op_us <= sim_now(sim))
        next_operation(c);
    if (c->state == CLIENT_UP)
        c->next_us = i64_min(sim->ops_left > 0 ? c->next_op_us : SIM_NEVER, c->next_ping_us);
}

void sim_client_step(struct sim_client *c) {
    if (c->next_us > sim_now(c->sim))
        return;
    switch (c->state) {
    case CLIENT_DOWN:
        open_link(c);
        break;
    case CLIENT_CONNECTING:
        hang_up(c);
        break;
    case CLIENT_UP:
        act(c);
        break;
    case CLIENT_SILENT:
        wait_for_expiry(c);
        break;
    }
}
