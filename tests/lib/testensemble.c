#include "lib/testensemble.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "quorum/election.h"
#include "quorum/quorum_internal.h"
#include "server/history.h"

#define PORTS_FROM 1000 /* quorum port of sid n: 1000 + n; election port: 2000 + n */
#define PATIENCE_MS 60000
#define CLOSE_MS 1000 /* less than any limit of silence */

#define ENSURE(condition, ...)                                                                                         \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            ck_abort_msg(__VA_ARGS__);                                                                                 \
    } while (0)

/* ------------------------------------------------------------------ links */

enum end_state { END_DIALLING, END_OPEN, END_CLOSED };

struct flight {
    struct list link;
    int64_t due_ms;
    bool eof;
    size_t len;
    uint8_t bytes[];
};

/* One side of a connection. */
struct testlink {
    struct link link;
    struct list all;
    struct testensemble *e;
    int sid, peer_sid;
    enum link_port port;
    enum end_state state;
    struct testlink *peer; /* NULL: it has gone */
    bool gone;             /* closed by its owner, freed soon */
    bool lossy;            /* something that was sent is lost: no connection survives that */
    bool paused, again;
    int64_t due_ms; /* of the answer to the dialling */
    int64_t give_up_ms;
    struct list flights; /* towards us */
    struct buf in;
};

static int64_t now_ms(const struct testensemble *e) { return mono_ms(e->now.mono); }
static bool alive(const struct testensemble *e, int sid) { return e->up[sid] || e->peers[sid] != NULL; }

static struct testlink *new_link(struct testensemble *e, int sid, int peer_sid, enum link_port port) {
    struct testlink *t = mem_calloc(1, sizeof *t);
    t->e = e;
    t->sid = sid;
    t->peer_sid = peer_sid;
    t->port = port;
    list_init(&t->flights);
    list_push(&e->links, &t->all);
    snprintf(t->link.peer, sizeof t->link.peer, "s%d", peer_sid);
    return t;
}

static void free_link(struct testlink *t) {
    struct flight *f;
    LIST_FOREACH(f, &t->flights, struct flight, link)
        mem_free(f);
    if (t->peer != NULL) {
        t->peer->lossy |= t->lossy;
        t->peer->peer = NULL;
    }
    list_remove(&t->all);
    buf_free(&t->in);
    mem_free(t);
}

static void fly(struct testlink *from, const void *data, size_t len, bool eof) {
    struct testensemble *e = from->e;
    from->lossy |= e->cut[from->sid][from->peer_sid];
    if (from->peer == NULL || e->cut[from->sid][from->peer_sid])
        return;
    struct flight *f = mem_alloc(sizeof *f + len);
    *f = (struct flight){.due_ms = now_ms(e) + e->delay_ms, .eof = eof, .len = len};
    if (len != 0)
        memcpy(f->bytes, data, len);
    list_push(&from->peer->flights, &f->link);
}

static struct link *dial(void *ctx, const struct link_address *addresses, int count, int64_t timeout_ms,
                         const struct link_events *events, void *owner) {
    struct testserver *ts = ctx;
    struct testensemble *e = ts->ensemble;
    int port = addresses[0].port;
    (void)count;
    struct testlink *t = new_link(e, ts->sid, port % 1000, port >= 2000 ? LINK_ELECTION : LINK_QUORUM);
    t->link.events = events;
    t->link.owner = owner;
    t->due_ms = now_ms(e) + e->delay_ms;
    t->give_up_ms = now_ms(e) + timeout_ms;
    e->dial_timeout_ms[t->port] = timeout_ms;
    return &t->link;
}

static void send_bytes(void *ctx, struct link *l, const void *data, size_t len) {
    struct testlink *t = CONTAINER_OF(l, struct testlink, link);
    (void)ctx;
    ENSURE(t->state == END_OPEN && !t->gone, "sending on a link that is not open");
    fly(t, data, len, false);
}

static void close_link(void *ctx, struct link *l) {
    struct testlink *t = CONTAINER_OF(l, struct testlink, link);
    (void)ctx;
    ENSURE(!t->gone, "a link is closed twice");
    fly(t, NULL, 0, true);
    t->gone = true;
}

static size_t unsent(void *ctx, const struct link *l) {
    const struct testserver *ts = ctx;
    (void)l;
    return ts->ensemble->unsent;
}

static void pause_link(void *ctx, struct link *l, bool paused) {
    struct testlink *t = CONTAINER_OF(l, struct testlink, link);
    (void)ctx;
    t->again |= t->paused && !paused;
    t->paused = paused;
}

static void listen_on(void *ctx, enum link_port port, bool on) {
    struct testserver *ts = ctx;
    struct testensemble *e = ts->ensemble;
    e->listening[ts->sid][port] = on;
}

static void send_shared(void *ctx, struct link *l, struct link_bytes *b) {
    CONTAINER_OF(l, struct testlink, link)->e->shared++;
    send_bytes(ctx, l, b->data, b->len);
}

static const struct link_ops ops = {.dial = dial, .send = send_bytes, .send_shared = send_shared, .close = close_link, .unsent = unsent,
                                    .pause = pause_link, .listen = listen_on};

static void tell_closed(struct testlink *t, const char *why) {
    t->state = END_CLOSED;
    t->gone = true;
    if (t->link.events != NULL && alive(t->e, t->sid))
        t->link.events->closed(&t->link, why);
}

static void peer_accepted(struct testpeer *p, struct link *l);

static void answer_dial(struct testlink *t) {
    struct testensemble *e = t->e;
    int to = t->peer_sid;
    if (e->cut[t->sid][to] || e->cut[to][t->sid]) {
        if (now_ms(e) >= t->give_up_ms) /* nobody answers */
            tell_closed(t, "timed out");
        return;
    }
    if (to < 1 || to > e->count || !alive(e, to) || !e->listening[to][t->port]) {
        tell_closed(t, "refused");
        return;
    }
    struct testlink *other = new_link(e, to, t->sid, t->port);
    other->state = t->state = END_OPEN;
    other->peer = t;
    t->peer = other;
    if (e->peers[to] != NULL)
        peer_accepted(e->peers[to], &other->link);
    else
        quorum_accepted(e->servers[to]->server->quorum, t->port, &other->link);
    t->link.events->opened(&t->link);
}

static void show(struct testlink *t) {
    if (t->in.len == 0)
        return;
    size_t used = t->link.events->received(&t->link, t->in.data, t->in.len);
    ENSURE(used <= t->in.len, "more was used than there was");
    buf_consume(&t->in, used);
}

static void deliver(struct testlink *t) {
    struct flight *f;
    if (t->again) {
        t->again = false;
        show(t);
    }
    LIST_FOREACH(f, &t->flights, struct flight, link) {
        if (t->gone || t->paused || f->due_ms > now_ms(t->e))
            return;
        list_remove(&f->link);
        if (f->eof) {
            mem_free(f);
            tell_closed(t, "closed by the peer");
            return;
        }
        buf_append(&t->in, f->bytes, f->len);
        mem_free(f);
        show(t);
    }
}

/* After a cut that has been healed the two sides find out. */
static bool breaks(const struct testlink *t) {
    bool lossy = t->lossy || (t->peer != NULL && t->peer->lossy);
    return t->state == END_OPEN && lossy && !t->e->cut[t->sid][t->peer_sid] && !t->e->cut[t->peer_sid][t->sid];
}

static void move_links(struct testensemble *e) {
    struct testlink *t;
    LIST_FOREACH(t, &e->links, struct testlink, all) {
        if (!t->gone && alive(e, t->sid)) {
            if (t->state == END_DIALLING && t->due_ms <= now_ms(e))
                answer_dial(t);
            else if (breaks(t))
                tell_closed(t, "reset");
            else if (t->state == END_OPEN)
                deliver(t);
        }
    }
    LIST_FOREACH(t, &e->links, struct testlink, all)
        if (t->gone)
            free_link(t);
}

/* ------------------------------------------------------------------ members */

static bool start_member(struct testserver *ts) {
    struct testensemble *e = ts->ensemble;
    char error[256];
    if (server_start_member(ts->server, ts->now) != 0)
        return false;
    struct qconfig *config = qconfig_parse((struct slice){(const char *)e->config.data, e->config.len}, true, error, sizeof error);
    ENSURE(config != NULL, "%s", error);
    e->up[ts->sid] = true;
    ENSURE(quorum_new(ts->server, config, ts->sid, &ops, ts, error, sizeof error) != NULL, "%s", error);
    return true;
}

struct testensemble *testensemble_new(int voters, int observers, const char *const *options) {
    struct testensemble *e = mem_calloc(1, sizeof *e);
    e->count = voters + observers;
    e->delay_ms = 1;
    e->now = (struct now){.mono = {1000000000}, .wall_ms = TESTSERVER_WALL_MS};
    list_init(&e->links);
    for (int sid = 1; sid <= e->count; sid++)
        buf_printf(&e->config, "server.%d=s%d:%d:%d:%s\n", sid, sid, PORTS_FROM + sid, 2 * PORTS_FROM + sid,
                   sid <= voters ? "participant" : "observer");
    for (int sid = 1; sid <= e->count; sid++)
        e->servers[sid] = testserver_new_member(options, e, sid, start_member);
    return e;
}

void testensemble_end(struct testensemble *e, int sid, enum testserver_end how) {
    struct testlink *t;
    testserver_end(e->servers[sid], how);
    e->up[sid] = false;
    e->listening[sid][0] = e->listening[sid][1] = false;
    LIST_FOREACH(t, &e->links, struct testlink, all) {
        if (t->sid != sid)
            continue;
        if (!t->gone)
            fly(t, NULL, 0, true);
        free_link(t);
    }
}

void testensemble_wipe(struct testensemble *e, int sid) {
    struct testserver *ts = e->servers[sid];
    bool same_dir = ts->disk.same_dir;
    simdisk_close(&ts->disk);
    simdisk_init(&ts->disk, 1);
    ts->disk.same_dir = same_dir;
}

void testensemble_start(struct testensemble *e, int sid) {
    e->servers[sid]->now = e->now;
    ENSURE(testserver_start(e->servers[sid]), "%s", e->servers[sid]->recovered.message);
}

void testensemble_free(struct testensemble *e) {
    for (int sid = 1; sid <= e->count; sid++) {
        testserver_free(e->servers[sid]);
        if (e->peers[sid] != NULL)
            testpeer_free(e->peers[sid]);
    }
    while (!list_empty(&e->links))
        free_link(LIST_FIRST(&e->links, struct testlink, all));
    buf_free(&e->config);
    mem_free(e);
}

/* ------------------------------------------------------------------ time */

void testensemble_run_links(struct testensemble *e) {
    e->now.mono.us += 1000;
    e->now.wall_ms++;
    for (int sid = 1; sid <= e->count; sid++) {
        if (!e->up[sid])
            continue;
        e->servers[sid]->now = e->now;
        quorum_set_now(e->servers[sid]->server->quorum, e->now);
    }
    move_links(e);
}

void testensemble_run(struct testensemble *e, int64_t ms) {
    for (; ms > 0; ms--) {
        testensemble_run_links(e);
        for (int sid = 1; sid <= e->count; sid++)
            for (int turns = 0; e->up[sid] && turns < 20 && testserver_turn(e->servers[sid]); turns++)
                ;
    }
}

int testensemble_leader(const struct testensemble *e) {
    for (int sid = 1; sid <= e->count; sid++)
        if (e->up[sid] && e->servers[sid]->server->state == SERVER_RUNNING &&
            strcmp(e->servers[sid]->server->role->mode, "leader") == 0)
            return sid;
    return 0;
}

int testensemble_elect(struct testensemble *e) {
    for (int64_t ms = 0; ms < PATIENCE_MS; ms += 10) {
        bool all = testensemble_leader(e) != 0;
        for (int sid = 1; sid <= e->count && all; sid++)
            all = !e->up[sid] || e->servers[sid]->server->state == SERVER_RUNNING;
        if (all)
            return testensemble_leader(e);
        testensemble_run(e, 10);
    }
    struct buf text = BUF_INIT;
    for (int sid = 1; sid <= e->count; sid++)
        if (e->up[sid])
            buf_printf(&text, "%s%d: state %d, phase %d", sid > 1 ? "; " : "", sid, (int)e->servers[sid]->server->state,
                       (int)e->servers[sid]->server->quorum->phase);
    ck_abort_msg("nobody leads, or not all follow: %.*s", (int)text.len, (const char *)text.data);
    return 0;
}

struct testclient *testensemble_client(struct testensemble *e, int sid) {
    struct testclient *c = testclient_new(e->servers[sid], NULL);
    testclient_send_connect(c, 10000);
    for (int64_t ms = 0; ms < PATIENCE_MS && !c->connected; ms++) {
        testensemble_run(e, 1);
        if (c->in.len > c->in_start)
            ENSURE(testclient_take_connect(c), "the session was refused");
    }
    ENSURE(c->connected, "no session");
    return c;
}

struct testframe testensemble_reply(struct testensemble *e, struct testclient *c) {
    struct testframe f = {0};
    for (int64_t ms = 0; ms < PATIENCE_MS; ms++) {
        if (testclient_next(c, &f) && !f.is_event)
            return f;
        testensemble_run(e, 1);
    }
    ck_abort_msg("no reply");
    return f;
}

void testensemble_expect_equal(struct testensemble *e) {
    const struct server *first = NULL;
    for (int sid = 1; sid <= e->count; sid++) {
        const struct server *s = e->up[sid] ? e->servers[sid]->server : NULL;
        if (s == NULL)
            continue;
        if (first == NULL)
            first = s;
        ck_assert_int_eq(s->last_applied, first->last_applied);
        ck_assert_uint_eq(tree_digest(s->tree), tree_digest(first->tree));
        ck_assert_uint_eq(tree_count(s->tree), tree_count(first->tree));
        ck_assert_uint_eq(s->sessions.by_id.count, first->sessions.by_id.count);
    }
}

/* ------------------------------------------------------------------ members that do what the test says */

static void peer_opened(struct link *l) { (void)l; }

static size_t peer_received(struct link *l, const uint8_t *data, size_t len) {
    struct testpeer *p = l->owner;
    if (p->link == l)
        buf_append(&p->in, data, len);
    return len;
}

static void peer_closed(struct link *l, const char *reason) {
    struct testpeer *p = l->owner;
    (void)reason;
    p->closed++;
    if (p->link == l)
        p->link = NULL;
}

static const struct link_events peer_events = {.opened = peer_opened, .received = peer_received, .closed = peer_closed};

static void peer_takes(struct testpeer *p, struct link *l) {
    l->events = &peer_events;
    l->owner = p;
    p->link = l;
    buf_clear(&p->in);
    p->in_start = 0;
}

static void peer_accepted(struct testpeer *p, struct link *l) { peer_takes(p, l); }

struct testpeer *testpeer_new(struct testensemble *e, int sid) {
    struct testpeer *p = mem_calloc(1, sizeof *p);
    ENSURE(!e->up[sid] && e->peers[sid] == NULL, "there is one");
    p->e = e;
    p->sid = sid;
    e->peers[sid] = p;
    e->listening[sid][LINK_QUORUM] = true;
    return p;
}

void testpeer_free(struct testpeer *p) {
    struct testensemble *e = p->e;
    struct testlink *t;
    e->peers[p->sid] = NULL;
    e->listening[p->sid][LINK_QUORUM] = false;
    LIST_FOREACH(t, &e->links, struct testlink, all) {
        if (t->sid != p->sid)
            continue;
        if (!t->gone)
            fly(t, NULL, 0, true);
        free_link(t);
    }
    buf_free(&p->in);
    mem_free(p);
}

void testpeer_dial(struct testpeer *p, int to) {
    struct testensemble *e = p->e;
    struct testlink *t = new_link(e, p->sid, to, LINK_QUORUM);
    t->due_ms = now_ms(e) + e->delay_ms;
    t->give_up_ms = INT64_MAX;
    peer_takes(p, &t->link);
    for (int ms = 0; ms < 1000 && t->state == END_DIALLING; ms++)
        testensemble_run(e, 1);
    ENSURE(p->link != NULL && t->state == END_OPEN, "the link is not accepted");
}

void testpeer_hang_up(struct testpeer *p) {
    if (p->link != NULL)
        close_link(NULL, p->link);
    p->link = NULL;
}

void testpeer_bytes(struct testpeer *p, const void *data, size_t len) {
    ENSURE(p->link != NULL, "there is no link");
    send_bytes(NULL, p->link, data, len);
}

void testpeer_send(struct testpeer *p, int32_t type, zxid_t zxid, struct slice data) {
    struct buf b = BUF_INIT;
    quorum_packet_put(&b, &(struct quorum_packet){.type = type, .zxid = zxid, .data = data});
    testpeer_bytes(p, b.data, b.len);
    buf_free(&b);
}

bool testpeer_next(struct testpeer *p, struct quorum_packet *packet, int64_t ms) {
    size_t used;
    for (;; ms--) {
        enum packet_result result = quorum_packet_get(p->in.data + p->in_start, p->in.len - p->in_start, 1 << 24, packet, &used);
        ENSURE(result != PACKET_MALFORMED, "a packet that does not decode");
        if (result == PACKET_COMPLETE) {
            p->in_start += used;
            return true;
        }
        if (ms <= 0)
            return false;
        testensemble_run(p->e, 1);
    }
}

struct quorum_packet testpeer_expect(struct testpeer *p, int32_t type) {
    struct quorum_packet packet;
    while (testpeer_next(p, &packet, PATIENCE_MS)) {
        if (packet.type == PACKET_PING && type != PACKET_PING)
            continue;
        ENSURE(packet.type == type, "%s 0x%llx instead of %s", packet_name(packet.type), (unsigned long long)packet.zxid,
               packet_name(type));
        return packet;
    }
    ck_abort_msg("no %s%s", packet_name(type), p->link == NULL ? ": the link is closed" : "");
}

void testpeer_expect_closed(struct testpeer *p) {
    for (int64_t ms = 0; ms < CLOSE_MS && p->link != NULL; ms++)
        testensemble_run(p->e, 1);
    ENSURE(p->link == NULL, "the link stays open");
}

void testensemble_appoint(struct testensemble *e, int sid, int leader) {
    struct quorum *q = e->servers[sid]->server->quorum;
    for (int64_t ms = 0; ms < PATIENCE_MS && q->phase != QUORUM_LOOKING; ms++)
        testensemble_run(e, 1);
    ENSURE(q->phase == QUORUM_LOOKING && !q->decided, "it is not looking");
    struct vote v = {.leader = leader, .zxid = q->s->last_applied, .election_epoch = 1, .peer_epoch = q->epochs.current};
    q->decided = true;
    q->decided_state = leader == sid ? PEER_LEADING : PEER_FOLLOWING;
    q->leader_sid = leader;
    election_serving(q->election, q->decided_state == PEER_LEADING ? PEER_LEADING : PEER_FOLLOWING, &v);
    testensemble_run(e, 1);
}
