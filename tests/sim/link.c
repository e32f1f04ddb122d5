/* Connections between clients and the server. Each direction is a queue of frames that arrive in order, after a while; a
 * connection that breaks loses what is under way. */
#include <stdio.h>

#include "base/mem.h"
#include "sim/sim.h"

#define REFILL_BYTES (128 * 1024)

static int64_t arrival(struct sim *sim, const struct list *queue) {
    int64_t due_us = sim_now(sim) + 30 + (int64_t)rng_below(&sim->rng, rng_below(&sim->rng, 20) == 0 ? 20000 : 800);
    if (!list_empty(queue))
        due_us = i64_max(due_us, CONTAINER_OF(queue->prev, struct sim_packet, link)->due_us);
    return due_us;
}

static void push_packet(struct sim *sim, struct list *queue, const uint8_t *bytes, size_t len, bool is_end) {
    struct sim_packet *p = mem_alloc(sizeof *p + len);
    p->due_us = arrival(sim, queue);
    p->is_end = is_end;
    p->len = len;
    if (len > 0)
        memcpy(p->bytes, bytes, len);
    list_push(queue, &p->link);
}

static void drop_packet(struct sim_packet *p) {
    list_remove(&p->link);
    mem_free(p);
}

static void drop_packets(struct list *queue) {
    while (!list_empty(queue))
        drop_packet(LIST_FIRST(queue, struct sim_packet, link));
}

static void free_link(struct sim_link *l) {
    drop_packets(&l->to_server);
    drop_packets(&l->to_client);
    list_remove(&l->link);
    buf_free(&l->held);
    buf_free(&l->partial);
    mem_free(l);
}

void sim_links_sweep(struct sim *sim) {
    struct sim_link *l;
    LIST_FOREACH(l, &sim->links, struct sim_link, link)
        if (l->conn == NULL && l->client == NULL)
            free_link(l);
}

struct sim_link *sim_link_open(struct sim_client *c) {
    struct sim *sim = c->sim;
    struct sim_node *n = c->node;
    struct sim_link *l = mem_calloc(1, sizeof *l);
    char peer[64];
    snprintf(peer, sizeof peer, "127.0.0.1:%d", 10000 + sim->links_made % 50000);
    l->sim = sim;
    l->node = n;
    l->client = c;
    l->number = ++sim->links_made;
    l->hang_up_us = l->drain_us = SIM_NEVER;
    list_init(&l->to_server);
    list_init(&l->to_client);
    list_push(&sim->links, &l->link);
    l->conn = server_conn_new(n->server, slice_of(peer), SLICE_LIT("127.0.0.1"), true, sim_node_now(n));
    l->conn->shell = l;
    return l;
}

void sim_link_send(struct sim_link *l, const struct buf *frame) {
    if (l->conn != NULL)
        push_packet(l->sim, &l->to_server, frame->data, frame->len, false);
}

void sim_link_hang_up(struct sim_link *l) {
    struct sim *sim = l->sim;
    l->client = NULL;
    drop_packets(&l->to_client);
    if (l->conn == NULL)
        return;
    /* What was sent arrives, or it is lost with the connection. */
    if (rng_below(&sim->rng, 2) == 0)
        drop_packets(&l->to_server);
    l->hang_up_us = arrival(sim, &l->to_server) + (int64_t)rng_below(&sim->rng, 3000);
    if (rng_below(&sim->rng, 10) == 0)
        l->hang_up_us += 400000; /* nobody told the server */
}

static void server_end_closes(struct sim_link *l) {
    server_conn_gone(l->node->server, l->conn, sim_node_now(l->node));
    l->conn = NULL;
    l->drain_us = SIM_NEVER;
    buf_clear(&l->partial);
    drop_packets(&l->to_server);
    if (l->client != NULL)
        push_packet(l->sim, &l->to_client, NULL, 0, true);
}

static void settle(struct sim_link *l);

/* ------------------------------------------------------------------ to the server */

static bool input_blocked(const struct conn *conn) {
    return conn->close != CONN_OPEN || conn->paused || conn->connecting;
}

static int64_t link_next(const struct sim_link *l) {
    bool server_acts = l->conn != NULL && !sim_is_paused(l->node);
    int64_t next = server_acts ? i64_min(l->hang_up_us, l->drain_us) : SIM_NEVER;
    if (!list_empty(&l->to_client))
        next = i64_min(next, LIST_FIRST(&l->to_client, struct sim_packet, link)->due_us);
    if (server_acts && !list_empty(&l->to_server) && !input_blocked(l->conn))
        next = i64_min(next, LIST_FIRST(&l->to_server, struct sim_packet, link)->due_us);
    return next;
}

int64_t sim_links_next(const struct sim *sim) {
    int64_t next = SIM_NEVER;
    const struct sim_link *l;
    LIST_FOREACH(l, &sim->links, struct sim_link, link)
        next = i64_min(next, link_next(l));
    return next;
}

/* A frame that the server has taken is a sign of life of its session, unless that is ending already. Those of other members
 * become one when the leader hears of them. */
static void note_touch(struct sim_link *l) {
    if (sim_is_ensemble(l->sim) && sim_index(l->node) != l->sim->leader)
        return;
    struct model_session *session = model_session(&l->sim->model, l->conn->session_id);
    if (session != NULL && l->conn->session != NULL && !l->conn->session->closing)
        session->touched_us = sim_now(l->sim);
}

bool sim_link_is_unread(const struct sim *sim, session_id_t session) {
    const struct sim_link *l;
    LIST_FOREACH(l, &sim->links, struct sim_link, link)
        if (l->conn != NULL && l->conn->session != NULL && l->conn->session_id == session && l->conn->paused &&
            !list_empty(&l->to_server) && LIST_FIRST(&l->to_server, struct sim_packet, link)->due_us <= sim_now(sim))
            return true;
    return false;
}

static bool feed(struct sim_link *l) {
    struct sim *sim = l->sim;
    bool any = false;
    while (l->conn != NULL && !list_empty(&l->to_server) && !input_blocked(l->conn)) {
        struct sim_packet *p = LIST_FIRST(&l->to_server, struct sim_packet, link);
        if (p->due_us > sim_now(sim))
            break;
        if (server_conn_admits(l->node->server, l->conn, (int32_t)p->len, p->bytes, p->len) != FRAME_READ)
            sim_fail(sim, "a frame of %zu bytes was not admitted", p->len);
        else
            server_conn_frame(l->node->server, l->conn, p->bytes, p->len, sim_node_now(l->node));
        note_touch(l);
        drop_packet(p);
        any = true;
    }
    return any;
}

bool sim_links_feed(struct sim_node *n) {
    struct sim_link *l;
    bool any = false;
    LIST_FOREACH(l, &n->sim->links, struct sim_link, link) {
        if (l->node != n)
            continue;
        any |= feed(l);
        if (l->conn != NULL && l->drain_us <= sim_now(n->sim))
            settle(l);
        if (l->conn != NULL && l->hang_up_us <= sim_now(n->sim)) {
            server_end_closes(l);
            any = true;
        }
    }
    return any;
}

/* ------------------------------------------------------------------ to the client */

/* S1: nothing that leaves may speak of what is not on the disk. */
static void check_durable(struct sim_link *l, const uint8_t *frame, size_t len) {
    struct sim *sim = l->sim;
    struct jute_in in = jute_in(frame, len);
    zxid_t zxid;
    if (!l->reply_sent) {
        struct connect_response response;
        l->reply_sent = true;
        if (!connect_response_get(&in, &response) || response.timeout_ms == 0)
            return;
        const struct model_session *session = model_session(&sim->model, response.session_id);
        if (session == NULL) {
            sim_fail(sim, "a client was given session 0x%llx, which no transaction made",
                     (unsigned long long)response.session_id);
            return;
        }
        zxid = session->created;
    } else {
        zxid = reply_header_get(&in).zxid;
    }
    /* In an ensemble the model holds what a quorum has synced. */
    zxid_t safe = sim_is_ensemble(sim) ? model_last(&sim->model) : l->node->synced;
    if (zxid > safe)
        sim_fail(sim, "S1: a frame that shows zxid 0x%llx left when only 0x%llx was synced", (unsigned long long)zxid,
                 (unsigned long long)safe);
    sim->shown = i64_max(sim->shown, zxid);
}

/* ------------------------------------------------------------------ breaking the rules */

static bool happens(struct sim_link *l, enum sim_break rule, unsigned one_in) {
    return l->sim->options.broken == rule && rng_below(&l->sim->rng, one_in) == 0;
}

/* A frame behind the connect response. True: it is held back, or has been sent changed. */
static bool breach(struct sim_link *l, const uint8_t *frame, size_t size) {
    bool is_event = (int32_t)be32_load(frame) == XID_NOTIFICATION, is_reply = (int32_t)be32_load(frame) > 0;
    if (l->held.len != 0) {
        push_packet(l->sim, &l->to_client, frame, size, false);
        if (is_reply) {
            push_packet(l->sim, &l->to_client, l->held.data, l->held.len, false);
            buf_clear(&l->held);
        }
        return true;
    }
    if ((is_reply && happens(l, BREAK_SWAPPED_REPLIES, 20)) || (is_event && happens(l, BREAK_LATE_EVENT, 5))) {
        buf_append(&l->held, frame, size);
        return true;
    }
    bool other = is_reply && size > REPLY_HEADER_BYTES && happens(l, BREAK_OTHER_DATA, 20);
    bool older = is_reply && happens(l, BREAK_OLDER_REPLY, 20);
    if (!other && !older)
        return false;
    uint8_t *changed = mem_dup(frame, size);
    if (other)
        changed[REPLY_HEADER_BYTES + rng_below(&l->sim->rng, size - REPLY_HEADER_BYTES)] ^= 1;
    if (older)
        be64_store(changed + 4, be64_load(changed + 4) - 2);
    push_packet(l->sim, &l->to_client, changed, size, false);
    mem_free(changed);
    return true;
}

/* ------------------------------------------------------------------ the server's output */

static void emit_frame(struct sim_link *l, const uint8_t *frame, size_t size) {
    bool is_first = !l->reply_sent;
    check_durable(l, frame, size);
    bool broken = !is_first && l->client != NULL && size >= REPLY_HEADER_BYTES && breach(l, frame, size);
    if (l->client != NULL && !broken)
        push_packet(l->sim, &l->to_client, frame, size, false);
}

/* Takes what the socket has been given; the rest of a frame may come later. */
static void emit(struct sim_link *l, const uint8_t *bytes, size_t len) {
    buf_append(&l->partial, bytes, len);
    while (l->partial.len >= 4 && be32_load(l->partial.data) <= l->partial.len - 4) {
        size_t size = be32_load(l->partial.data);
        emit_frame(l, l->partial.data + 4, size);
        buf_consume(&l->partial, 4 + size);
    }
}

/* All that there is, or name by name (S26): meanwhile the tree changes. True if something is left. */
static bool drain(struct sim_link *l) {
    struct conn *conn = l->conn;
    while (conn_refill(conn, l->sim->slices ? 1 : REFILL_BYTES)) {
        emit(l, conn->out.data + conn->out_sent, conn->out.len - conn->out_sent);
        conn->out_sent = conn->out.len;
        if (l->sim->slices && !list_empty(&conn->segments)) {
            l->drain_us = sim_now(l->sim) + (int64_t)rng_below(&l->sim->rng, 3000);
            l->sim->counters->sliced++;
            return true;
        }
    }
    if (l->partial.len != 0)
        sim_fail(l->sim, "half a frame was sent");
    return false;
}

static void settle(struct sim_link *l) {
    struct conn *conn = l->conn;
    l->drain_us = SIM_NEVER;
    bool left = conn->close != CONN_CLOSE_NOW && drain(l);
    if (conn->close == CONN_CLOSE_NOW || (conn->close == CONN_CLOSE_FLUSH && !left))
        server_end_closes(l);
}

void sim_links_settle(struct sim_node *n) {
    struct list *dirty = &n->server->dirty;
    while (!list_empty(dirty)) {
        struct conn *conn = LIST_FIRST(dirty, struct conn, dirty_link);
        list_remove(&conn->dirty_link);
        settle(conn->shell);
    }
}

static void deliver(struct sim_link *l) {
    while (l->client != NULL && !list_empty(&l->to_client)) {
        struct sim_packet *p = LIST_FIRST(&l->to_client, struct sim_packet, link);
        struct sim_client *c = l->client;
        if (p->due_us > sim_now(l->sim))
            return;
        list_remove(&p->link);
        if (p->is_end) {
            l->client = NULL;
            sim_client_cut(c);
        } else {
            bool is_connect = !l->reply_seen;
            l->reply_seen = true;
            sim_client_frame(c, p->bytes, p->len, is_connect);
        }
        mem_free(p);
    }
}

void sim_links_deliver(struct sim *sim) {
    struct sim_link *l;
    LIST_FOREACH(l, &sim->links, struct sim_link, link)
        deliver(l);
}

/* ------------------------------------------------------------------ the end */

void sim_links_cut(struct sim_node *n) {
    struct sim_link *l;
    LIST_FOREACH(l, &n->sim->links, struct sim_link, link)
        if (l->conn != NULL && l->node == n)
            server_end_closes(l);
}

void sim_links_free(struct sim *sim) {
    while (!list_empty(&sim->links))
        free_link(LIST_FIRST(&sim->links, struct sim_link, link));
}
