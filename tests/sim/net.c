/* Connections between members, as TCP makes them: bytes arrive in order, after a while; what is sent into a partition waits
 * until it heals; a connection can break on both sides, and a machine without power tells nobody anything. */
#include <stdio.h>

#include "base/mem.h"
#include "sim/sim.h"
#include "wire/zab.h"

#define QUORUM_PORTS_FROM 1000
#define ELECTION_PORTS_FROM 2000
#define BYTES_PER_MS 10000
#define SLOW_BYTES_PER_MS 50
#define DIAL_AGAIN_US 200000

enum wire_state { WIRE_DIALLING, WIRE_OPEN };

struct flight {
    struct list link;
    int64_t due_us, leave_us;
    bool eof;
    size_t len;
    uint8_t bytes[];
};

/* One side of a connection. */
struct wire {
    struct link link;
    struct list all;
    struct sim_node *node;
    int peer_index;
    enum link_port port;
    enum wire_state state;
    struct wire *peer; /* NULL: it has gone */
    bool gone;         /* of no use any more, freed soon */
    bool paused, again;
    int64_t dial_us, dial_limit_us;
    int64_t broken_us; /* it is told that the connection has broken */
    int64_t hold_us;   /* nothing arrives before */
    int64_t leave_us;  /* when all has left that was sent */
    struct list flights; /* towards us */
    struct buf in;
    struct sim_tamper tamper; /* of what we send */
};

static struct wire *wire_of(struct link *l) { return CONTAINER_OF(l, struct wire, link); }

static struct wire *new_wire(struct sim_node *n, int peer_index, enum link_port port) {
    struct wire *w = mem_calloc(1, sizeof *w);
    w->node = n;
    w->peer_index = peer_index;
    w->port = port;
    w->broken_us = w->dial_us = SIM_NEVER;
    list_init(&w->flights);
    list_push(&n->sim->wires, &w->all);
    snprintf(w->link.peer, sizeof w->link.peer, "s%d", peer_index + 1);
    return w;
}

static void drop_flights(struct wire *w) {
    struct flight *f;
    LIST_FOREACH(f, &w->flights, struct flight, link) {
        list_remove(&f->link);
        mem_free(f);
    }
}

static void free_wire(struct wire *w) {
    drop_flights(w);
    if (w->peer != NULL)
        w->peer->peer = NULL;
    list_remove(&w->all);
    buf_free(&w->in);
    mem_free(w);
}

void sim_wires_sweep(struct sim *sim) {
    struct wire *w;
    LIST_FOREACH(w, &sim->wires, struct wire, all)
        if (w->gone)
            free_wire(w);
}

int sim_wires_count(const struct sim *sim) {
    const struct wire *w;
    int count = 0;
    LIST_FOREACH(w, &sim->wires, const struct wire, all)
        count += !w->gone;
    return count;
}

void sim_wires_free(struct sim *sim) {
    while (!list_empty(&sim->wires))
        free_wire(LIST_FIRST(&sim->wires, struct wire, all));
}

/* ------------------------------------------------------------------ sending */

static bool is_slow(const struct sim_node *n) { return n->slow_until_us > sim_now(n->sim); }

static int64_t delay_us(const struct wire *from) {
    struct sim *sim = from->node->sim;
    if (sim->exact_delay_us != 0)
        return sim->exact_delay_us;
    int64_t us = 20 + (int64_t)rng_below(&sim->rng, (uint64_t)sim->delay_us);
    if (rng_below(&sim->rng, 100) == 0)
        us += (int64_t)rng_below(&sim->rng, 30000);
    if (is_slow(from->node) || is_slow(&sim->nodes[from->peer_index]))
        us += (int64_t)rng_below(&sim->rng, 60000);
    return us;
}

static void fly(struct wire *from, const void *data, size_t len, bool eof) {
    struct sim *sim = from->node->sim;
    struct list *flights = &from->peer->flights;
    struct flight *f = mem_alloc(sizeof *f + len);
    int64_t per_ms = is_slow(from->node) || is_slow(&sim->nodes[from->peer_index]) ? SLOW_BYTES_PER_MS : BYTES_PER_MS;
    from->leave_us = i64_max(from->leave_us, sim_now(sim)) + (int64_t)len * 1000 / per_ms;
    *f = (struct flight){.due_us = from->leave_us + delay_us(from), .leave_us = from->leave_us, .eof = eof, .len = len};
    if (!list_empty(flights))
        f->due_us = i64_max(f->due_us, CONTAINER_OF(flights->prev, struct flight, link)->due_us);
    if (len != 0)
        memcpy(f->bytes, data, len);
    list_push(flights, &f->link);
}

/* As if the peer had sent it, whatever stands between. */
static void forge(struct wire *to, const struct buf *bytes) {
    struct flight *f = mem_alloc(sizeof *f + bytes->len);
    *f = (struct flight){.due_us = sim_now(to->node->sim), .len = bytes->len};
    memcpy(f->bytes, bytes->data, bytes->len);
    list_insert_before(to->flights.next, &f->link);
}

static void send_bytes(void *ctx, struct link *l, const void *data, size_t len) {
    struct sim_node *n = ctx;
    struct sim *sim = n->sim;
    struct wire *w = wire_of(l);
    struct buf bytes = BUF_INIT, back = BUF_INIT;
    if (w->state != WIRE_OPEN || w->gone)
        sim_fail(sim, "server %d sends on a connection that is not open", n->sid);
    buf_append(&bytes, data, len);
    if (w->port == LINK_QUORUM)
        sim_tamper(n, &w->tamper, &bytes, &back);
    else
        sim_tamper_vote(n, &bytes);
    /* Segments do not keep to the borders of packets. */
    bool whole = bytes.len < 2 || sim->options.broken != BREAK_NOTHING || rng_below(&sim->rng, 8) != 0;
    size_t cut = whole ? bytes.len : 1 + (size_t)rng_below(&sim->rng, bytes.len - 1);
    if (w->peer != NULL)
        fly(w, bytes.data, cut, false);
    if (w->peer != NULL && cut < bytes.len)
        fly(w, bytes.data + cut, bytes.len - cut, false);
    if (back.len != 0)
        forge(w, &back);
    buf_free(&bytes);
    buf_free(&back);
}

static struct link *dial(void *ctx, const struct link_address *addresses, int count, int64_t timeout_ms,
                         const struct link_events *events, void *owner) {
    struct sim_node *n = ctx;
    bool election = addresses[0].port >= ELECTION_PORTS_FROM;
    (void)count;
    struct wire *w = new_wire(n, addresses[0].port - (election ? ELECTION_PORTS_FROM : QUORUM_PORTS_FROM) - 1,
                              election ? LINK_ELECTION : LINK_QUORUM);
    w->link.events = events;
    w->link.owner = owner;
    w->tamper.learner = true;
    w->dial_us = sim_now(n->sim) + 2 * delay_us(w);
    w->dial_limit_us = sim_now(n->sim) + timeout_ms * 1000;
    return &w->link;
}

static void close_wire(void *ctx, struct link *l) {
    struct sim_node *n = ctx;
    struct wire *w = wire_of(l);
    if (w->gone)
        sim_fail(n->sim, "server %d closes a connection twice", n->sid);
    w->gone = true;
    if (w->peer != NULL)
        fly(w, NULL, 0, true);
}

static size_t unsent(void *ctx, const struct link *l) {
    const struct sim_node *n = ctx;
    const struct wire *w = CONTAINER_OF(l, const struct wire, link);
    const struct flight *f;
    size_t bytes = 0;
    if (w->peer == NULL)
        return 0;
    bool is_cut = n->sim->cut[sim_index(n)][w->peer_index];
    LIST_FOREACH(f, &w->peer->flights, const struct flight, link)
        if (is_cut || f->leave_us > sim_now(n->sim))
            bytes += f->len;
    return bytes;
}

static void pause_wire(void *ctx, struct link *l, bool paused) {
    struct wire *w = wire_of(l);
    (void)ctx;
    w->again |= w->paused && !paused;
    w->paused = paused;
}

static void listen_on(void *ctx, enum link_port port, bool on) {
    struct sim_node *n = ctx;
    n->listening[port] = on;
}

const struct link_ops sim_wire_ops = {.dial = dial,
                                      .send = send_bytes,
                                      .close = close_wire,
                                      .unsent = unsent,
                                      .pause = pause_wire,
                                      .listen = listen_on};

/* ------------------------------------------------------------------ what members are told */

static void tell_closed(struct wire *w, const char *why) {
    w->gone = true;
    if (w->link.events != NULL)
        w->link.events->closed(&w->link, why);
}

/* The answer to a connect. */
static void answer_dial(struct wire *w) {
    struct sim *sim = w->node->sim;
    struct sim_node *to = &sim->nodes[w->peer_index];
    int a = sim_index(w->node), b = w->peer_index;
    if (sim->cut[a][b] || sim->cut[b][a] || to->dark || sim_is_paused(to)) {
        w->dial_us = sim_now(sim) + DIAL_AGAIN_US;
        if (w->dial_us > w->dial_limit_us)
            tell_closed(w, "timed out");
        return;
    }
    bool refuses = to->refuses_until_us > sim_now(sim);
    if (refuses || to->server == NULL || to->stopping || !to->listening[w->port]) {
        sim->counters->refusals += refuses;
        tell_closed(w, "refused");
        return;
    }
    struct wire *other = new_wire(to, a, w->port);
    other->state = w->state = WIRE_OPEN;
    other->peer = w;
    w->peer = other;
    to->server->now = sim_node_now(to);
    to->wake_us = sim_now(sim);
    quorum_accepted(to->server->quorum, w->port, &other->link);
    if (!w->gone)
        w->link.events->opened(&w->link);
}

static void show(struct wire *w) {
    struct sim *sim = w->node->sim;
    if (w->in.len == 0 || w->in.len < w->link.want || w->link.events == NULL)
        return;
    w->link.want = 0;
    size_t used = w->link.events->received(&w->link, w->in.data, w->in.len);
    if (used > w->in.len)
        sim_fail(sim, "server %d used more bytes than there were", w->node->sid);
    else
        buf_consume(&w->in, used);
}

static void note_touches_in(struct wire *w, struct slice touches) {
    struct sim *sim = w->node->sim;
    session_id_t id;
    int32_t timeout_ms;
    while (touch_next(&touches, &id, &timeout_ms)) {
        struct model_session *session = model_session(&sim->model, id);
        const struct session *live = session_find(&w->node->server->sessions, id);
        if (session != NULL && live != NULL && !live->closing)
            session->touched_us = sim_now(sim);
    }
}

/* S27: sessions that the leader of all hears of, in the packets that the last bytes have made complete. */
static void note_touches(struct wire *w, size_t last_bytes) {
    struct sim *sim = w->node->sim;
    struct quorum_packet p;
    size_t used, before = w->in.len - last_bytes;
    if (w->port != LINK_QUORUM || sim_index(w->node) != sim->leader || !w->node->led)
        return;
    for (size_t at = 0; quorum_packet_get(w->in.data + at, w->in.len - at, w->in.len, &p, &used) == PACKET_COMPLETE; at += used)
        if (at + used > before && p.type == PACKET_PING && touch_valid(p.data))
            note_touches_in(w, p.data);
}

static bool is_held(const struct wire *w) {
    return w->gone || w->paused || w->hold_us > sim_now(w->node->sim);
}

static int64_t flight_due(const struct wire *w) {
    const struct sim *sim = w->node->sim;
    if (list_empty(&w->flights) || w->gone || w->paused)
        return SIM_NEVER;
    const struct flight *f = LIST_FIRST(&w->flights, const struct flight, link);
    /* What is forged has not left anywhere. */
    if (f->leave_us != 0 && sim->cut[w->peer_index][sim_index(w->node)])
        return SIM_NEVER;
    return i64_max(f->due_us, w->hold_us);
}

static bool deliver(struct wire *w) {
    bool any = false;
    if (w->again && !w->paused) {
        w->again = false;
        show(w);
        any = true;
    }
    while (!is_held(w) && flight_due(w) <= sim_now(w->node->sim)) {
        struct flight *f = LIST_FIRST(&w->flights, struct flight, link);
        list_remove(&f->link);
        any = true;
        if (f->eof) {
            tell_closed(w, "closed by the peer");
        } else {
            buf_append(&w->in, f->bytes, f->len);
            note_touches(w, f->len);
            show(w);
        }
        mem_free(f);
    }
    return any;
}

bool sim_wires_feed(struct sim_node *n) {
    struct wire *w;
    bool any = false;
    n->server->now = sim_node_now(n);
    LIST_FOREACH(w, &n->sim->wires, struct wire, all) {
        if (w->node != n || w->gone)
            continue;
        if (w->state == WIRE_DIALLING && w->dial_us <= sim_now(n->sim)) {
            answer_dial(w);
            any = true;
        } else if (w->broken_us <= sim_now(n->sim)) {
            tell_closed(w, "broken");
            any = true;
        } else if (w->state == WIRE_OPEN) {
            any |= deliver(w);
        }
    }
    return any;
}

static int64_t wire_next(const struct wire *w) {
    if (w->gone || w->node->server == NULL || w->node->stopping || sim_is_paused(w->node))
        return SIM_NEVER;
    if (w->state == WIRE_DIALLING)
        return w->dial_us;
    if (w->again && !w->paused)
        return sim_now(w->node->sim);
    return i64_min(w->broken_us, flight_due(w));
}

int64_t sim_wires_next(const struct sim *sim) {
    int64_t next = SIM_NEVER;
    const struct wire *w;
    LIST_FOREACH(w, &sim->wires, const struct wire, all)
        next = i64_min(next, wire_next(w));
    return next;
}

/* ------------------------------------------------------------------ ends */

/* What was under way is lost; each side is told at some time. */
static void break_wire(struct wire *w, int64_t peer_hears_us) {
    if (w->peer == NULL)
        return;
    w->peer->broken_us = peer_hears_us;
    drop_flights(w->peer);
    w->peer->peer = NULL;
    w->peer = NULL;
}

void sim_wires_cut(struct sim_node *n, bool machine) {
    struct sim *sim = n->sim;
    struct wire *w;
    LIST_FOREACH(w, &sim->wires, struct wire, all) {
        if (w->node != n)
            continue;
        /* Peers of a machine without power hear of it when it is up again and knows nothing of the connection. */
        if (machine)
            break_wire(w, n->restart_us + (int64_t)rng_below(&sim->rng, 300000));
        else if (rng_below(&sim->rng, 2) == 0)
            break_wire(w, sim_now(sim) + (int64_t)rng_below(&sim->rng, 2000));
    }
}

/* ------------------------------------------------------------------ faults of the network */

static void heal(struct sim *sim) {
    struct wire *w;
    memset(sim->cut, 0, sizeof sim->cut);
    sim->partitioned = false;
    sim_trace(sim, "the network is whole again");
    /* Retransmission takes its time. */
    LIST_FOREACH(w, &sim->wires, struct wire, all)
        if (!list_empty(&w->flights) && LIST_FIRST(&w->flights, struct flight, link)->due_us <= sim_now(sim))
            w->hold_us = sim_now(sim) + (int64_t)rng_below(&sim->rng, 400000);
}

/* Two sides; one way: what one of them sends does not reach the other. */
static void partition(struct sim *sim) {
    bool one_way = rng_below(&sim->rng, 3) == 0;
    uint64_t mask = rng_next(&sim->rng);
    if (rng_below(&sim->rng, 2) == 0) /* one of them alone, often the leader */
        mask = 1u << (sim->leader >= 0 && rng_below(&sim->rng, 2) == 0 ? (unsigned)sim->leader
                                                                       : rng_below(&sim->rng, (uint64_t)sim->node_count));
    for (int a = 0; a < sim->node_count; a++)
        for (int b = 0; b < sim->node_count; b++)
            sim->cut[a][b] = one_way ? (mask >> a & 1) && !(mask >> b & 1) : (mask >> a & 1) != (mask >> b & 1);
    sim->partitioned = true;
    sim->counters->partitions++;
    sim->counters->one_way += one_way;
    sim_trace(sim, "%s partition, mask 0x%llx", one_way ? "one-way" : "two-way",
              (unsigned long long)(mask & ((1u << sim->node_count) - 1)));
}

static void break_some(struct sim *sim) {
    struct wire *w;
    unsigned one_in = 1 + (unsigned)rng_below(&sim->rng, 6);
    LIST_FOREACH(w, &sim->wires, struct wire, all) {
        if (w->gone || w->peer == NULL || rng_below(&sim->rng, one_in) != 0)
            continue;
        sim_trace(sim, "the connection of servers %d and %d breaks", w->node->sid, w->peer_index + 1);
        sim->counters->resets++;
        w->broken_us = sim_now(sim) + (int64_t)rng_below(&sim->rng, 5000);
        drop_flights(w);
        break_wire(w, sim_now(sim) + (int64_t)rng_below(&sim->rng, 5000));
    }
}

static void network_fault(struct sim *sim) {
    static const enum sim_fault kinds[] = {FAULT_PARTITION, FAULT_PARTITION, FAULT_RESET, FAULT_SLOW_PEER, FAULT_REFUSAL};
    struct sim_node *n = &sim->nodes[rng_below(&sim->rng, (uint64_t)sim->node_count)];
    enum sim_fault kind = kinds[rng_below(&sim->rng, ARRAY_LEN(kinds))];
    switch (sim_fault(sim, kind) ? kind : FAULT_COUNT) {
    case FAULT_PARTITION:
        partition(sim);
        sim->network_us = sim_soon(sim, 50000, rng_below(&sim->rng, 3) == 0 ? 8000000 : 2000000);
        return;
    case FAULT_RESET:
        break_some(sim);
        break;
    case FAULT_SLOW_PEER:
        n->slow_until_us = sim_soon(sim, 200000, 3000000);
        sim->counters->slow_peers++;
        sim_trace(sim, "server %d has a slow network", n->sid);
        break;
    case FAULT_REFUSAL:
        n->refuses_until_us = sim_soon(sim, 100000, 1500000);
        break_some(sim);
        sim_trace(sim, "server %d refuses connections", n->sid);
        break;
    default:
        break;
    }
    sim->delay_us = 100 + (int64_t)rng_below(&sim->rng, rng_below(&sim->rng, 4) == 0 ? 20000 : 2000);
    sim->network_us = sim_soon(sim, 100000, 4000000);
}

static void pause_one(struct sim *sim) {
    struct sim_node *n = &sim->nodes[rng_below(&sim->rng, (uint64_t)sim->node_count)];
    sim->pause_us = sim_soon(sim, 500000, 12000000);
    if (n->server == NULL || !sim_fault(sim, FAULT_PAUSE))
        return;
    n->paused_us = sim_soon(sim, 10000, rng_below(&sim->rng, 2) == 0 ? 500000 : 6000000);
    sim->counters->pauses++;
    sim_trace(sim, "server %d stands still for %lld us", n->sid, (long long)(n->paused_us - sim_now(sim)));
}

static void jump_clock(struct sim *sim) {
    struct sim_node *n = &sim->nodes[rng_below(&sim->rng, (uint64_t)sim->node_count)];
    int64_t ms = (int64_t)rng_below(&sim->rng, rng_below(&sim->rng, 2) == 0 ? 7200000 : 2000);
    sim->jump_us = sim_soon(sim, 500000, 12000000);
    if (!sim_fault(sim, FAULT_CLOCK))
        return;
    n->wall_ms += rng_below(&sim->rng, 2) == 0 ? ms : -ms;
    sim->counters->clock_jumps++;
    sim_trace(sim, "the wall clock of server %d is %lld ms off", n->sid, (long long)n->wall_ms);
}

void sim_network_init(struct sim *sim) {
    list_init(&sim->wires);
    sim->delay_us = 100 + (int64_t)rng_below(&sim->rng, 3000);
    sim->network_us = sim->pause_us = sim->jump_us = SIM_NEVER;
    if (!sim_is_ensemble(sim))
        return;
    sim->network_us = sim_soon(sim, 500000, 4000000);
    sim->pause_us = sim_soon(sim, 500000, 12000000);
    sim->jump_us = sim_soon(sim, 500000, 12000000);
}

int64_t sim_network_next(const struct sim *sim) {
    return i64_min(sim->network_us, i64_min(sim->pause_us, sim->jump_us));
}

void sim_network_step(struct sim *sim) {
    if (sim->network_us <= sim_now(sim) && sim->partitioned) {
        heal(sim);
        sim->network_us = sim_soon(sim, 100000, 4000000);
    } else if (sim->network_us <= sim_now(sim)) {
        network_fault(sim);
    }
    if (sim->pause_us <= sim_now(sim))
        pause_one(sim);
    if (sim->jump_us <= sim_now(sim))
        jump_clock(sim);
}

void sim_network_calm(struct sim *sim) {
    if (sim->partitioned)
        heal(sim);
    for (int i = 0; i < sim->node_count; i++)
        sim->nodes[i].slow_until_us = sim->nodes[i].refuses_until_us = sim->nodes[i].paused_us = 0;
    sim->network_us = sim->pause_us = sim->jump_us = SIM_NEVER;
}
