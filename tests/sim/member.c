/* Members of an ensemble: who leads, what is committed, and whether all agree about it. The model holds the one history that
 * there may be: a transaction is in it from the moment in which a serving member has applied it. */
#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "quorum/quorum_internal.h"
#include "server/history.h"
#include "sim/sim.h"

/* Once faults have ceased: by then there is a leader, and it stays. */
#define SETTLED_US 30000000

int sim_member_start(struct sim_node *n) {
    struct sim *sim = n->sim;
    char error[QCONFIG_ERROR_BYTES];
    int err = server_start_member(n->server, sim_node_now(n));
    if (err != 0)
        return err;
    struct qconfig *config = qconfig_parse((struct slice){(const char *)sim->members.data, sim->members.len}, true, error,
                                           sizeof error);
    if (config == NULL) {
        sim_fail(sim, "the configuration of the members: %s", error);
        return -EINVAL;
    }
    if (quorum_new(n->server, config, n->sid, &sim_wire_ops, n, error, sizeof error) == NULL) {
        qconfig_unref(config);
        if (!n->disk.dead && !n->full)
            sim_fail(sim, "server %d does not start: %s", n->sid, error);
        return -EIO;
    }
    return 0;
}

void sim_member_gone(struct sim_node *n) {
    n->served = n->led = false;
    n->looked = false;
    n->listening[0] = n->listening[1] = false;
}

const struct server *sim_calm_leader(const struct sim *sim) {
    if (!sim->calm || sim_now(sim) - sim->calm_since_us < SETTLED_US || sim->leader < 0)
        return NULL;
    const struct sim_node *n = &sim->nodes[sim->leader];
    return n->led ? n->server : NULL;
}

/* True if the disks of a quorum hold it. */
static bool quorum_has(const struct sim *sim, zxid_t zxid) {
    int count = 0;
    for (int i = 0; i < sim->voters; i++) /* one that has lost it since was worth its acknowledgement */
        count += sim->nodes[i].synced >= zxid || sim->nodes[i].lost_synced >= zxid;
    return count > sim->voters / 2;
}

static unsigned long long hex(zxid_t zxid) { return (unsigned long long)zxid; }

/* ------------------------------------------------------------------ what was ordered */

struct order {
    zxid_t zxid, before; /* and what stands before it in every log */
    size_t len;
    char payload[];
};

static void take_order(struct sim_node *n, zxid_t zxid, struct slice payload) {
    struct sim *sim = n->sim;
    struct order *o = hmap_get(&sim->orders, (uint64_t)zxid);
    if (o == NULL) {
        o = mem_alloc(sizeof *o + payload.len);
        *o = (struct order){.zxid = zxid, .before = n->tail, .len = payload.len};
        memcpy(o->payload, payload.data, payload.len);
        hmap_put(&sim->orders, (uint64_t)zxid, o);
    } else if (!slice_eq(payload, (struct slice){o->payload, o->len})) {
        sim_fail(sim, "server %d logs another transaction 0x%llx than there was", n->sid, hex(zxid));
    } else if (o->before != n->tail) {
        sim_fail(sim, "I12: server %d logs 0x%llx behind 0x%llx, its place is behind 0x%llx", n->sid, hex(zxid), hex(n->tail),
                 hex(o->before));
    }
    n->tail = zxid;
}

void sim_member_batch(struct sim_node *n, const struct log_cmd *cmd) {
    struct slice bytes = {cmd->iov[0].iov_base, cmd->iov[0].iov_len};
    while (bytes.len >= 13) {
        size_t len = be32_load(bytes.data + 8);
        struct jute_in in = jute_in(bytes.data + 12, len);
        struct txn_header h = txn_header_get(&in);
        if (len > bytes.len - 13 || in.failed)
            break;
        /* The same batch again, after the disk was full. */
        if (h.zxid > n->tail)
            take_order(n, h.zxid, (struct slice){bytes.data + 12, len});
        bytes.data += len + 13;
        bytes.len -= len + 13;
    }
    if (bytes.len != 0 || n->tail != cmd->last_zxid)
        sim_fail(n->sim, "batch 0x%llx of server %d does not hold what its command says", hex(cmd->first_zxid), n->sid);
}

void sim_member_free_orders(struct sim *sim) {
    size_t cursor = 0;
    struct order *o;
    while ((o = hmap_next(&sim->orders, &cursor)) != NULL)
        mem_free(o);
    hmap_free(&sim->orders);
}

/* ------------------------------------------------------------------ what is committed */

/* This member has applied all up to zxid, so it is committed: the model hears of what it does not know yet. */
static void commit(struct sim_node *n, zxid_t zxid) {
    struct sim *sim = n->sim;
    const struct order **chain = NULL;
    size_t count = 0;
    zxid_t known = model_last(&sim->model), at = zxid;
    while (at > known) {
        const struct order *o = hmap_get(&sim->orders, (uint64_t)at);
        if (o == NULL)
            break;
        chain = mem_realloc(chain, (count + 1) * sizeof *chain);
        chain[count++] = o;
        at = o->before;
    }
    if (at != known)
        sim_fail(sim, "server %d has applied 0x%llx, whose history has 0x%llx in the place of the committed 0x%llx", n->sid,
                 hex(zxid), hex(at), hex(known));
    while (count > 0 && !sim_failed(sim)) {
        const struct order *o = chain[--count];
        if (!quorum_has(sim, o->zxid))
            sim_fail(sim, "I11: server %d has applied 0x%llx, which no quorum has on its disks", n->sid, hex(o->zxid));
        else if (!model_take(&sim->model, (struct slice){o->payload, o->len}))
            sim_fail(sim, "transaction 0x%llx of server %d was not to be: %s", hex(o->zxid), n->sid, sim->model.error);
    }
    mem_free(chain);
}

/* Agreement and I14: the history of a member, from i on, is what is committed, without gaps. */
static void check_history(struct sim_node *n, size_t i) {
    struct sim *sim = n->sim;
    const struct history *h = n->server->history;
    for (size_t before = 0; i < history_count(h) && !sim_failed(sim); i++) {
        zxid_t zxid = history_zxid(h, i);
        size_t stands = model_count_to(&sim->model, zxid);
        if (before != 0 && stands != before + 1)
            sim_fail(sim, "I14: the history of server %d lacks something before 0x%llx", n->sid, hex(zxid));
        if (!model_take(&sim->model, history_payload(h, i)))
            sim_fail(sim, "agreement: server %d has applied 0x%llx: %s", n->sid, hex(zxid), sim->model.error);
        before = stands;
    }
}

static void account(struct sim_node *n) {
    struct sim *sim = n->sim;
    struct server *s = n->server;
    zxid_t seen = n->served && n->account != 0 ? sim->model.txns[n->account - 1].header.zxid : 0;
    if (s->last_applied > model_last(&sim->model))
        commit(n, s->last_applied);
    if (!sim_failed(sim))
        check_history(n, n->served ? history_after(s->history, seen) : 0);
    n->account = model_count_to(&sim->model, s->last_applied);
    if (!sim_failed(sim) && s->last_applied > sim->model.base && model_txn_at(&sim->model, s->last_applied) == NULL)
        sim_fail(sim, "server %d is at 0x%llx, which nobody has committed", n->sid, hex(s->last_applied));
}

/* ------------------------------------------------------------------ who leads */

static void check_epoch(struct sim_node *n, int64_t epoch) {
    struct sim *sim = n->sim;
    if ((size_t)epoch >= sim->epoch_count) {
        size_t count = (size_t)epoch + 16;
        sim->epochs = mem_realloc(sim->epochs, count * sizeof *sim->epochs);
        memset(sim->epochs + sim->epoch_count, 0, (count - sim->epoch_count) * sizeof *sim->epochs);
        sim->epoch_count = count;
    }
    if (sim->epochs[epoch] != 0)
        sim_fail(sim, "epoch %lld was led by server %lld, now it is led by server %d", (long long)epoch,
                 (long long)sim->epochs[epoch], n->sid);
    sim->epochs[epoch] = n->sid;
}

/* It has begun to serve as the leader: everything that was committed in older epochs must be there (I9, I10), and sessions start
 * over. It may have been deposed already, by a leader of a newer epoch, and not know it. */
static void established(struct sim_node *n, int64_t epoch) {
    struct sim *sim = n->sim;
    size_t count = model_count_to(&sim->model, zxid_make(epoch, 0));
    zxid_t committed = count != 0 ? sim->model.txns[count - 1].header.zxid : 0;
    sim_trace(sim, "server %d leads epoch %lld at 0x%llx", n->sid, (long long)epoch, hex(n->server->last_applied));
    check_epoch(n, epoch);
    if (n->server->last_applied < committed)
        sim_fail(sim, "server %d leads epoch %lld from 0x%llx on, but 0x%llx was committed before", n->sid, (long long)epoch,
                 hex(n->server->last_applied), hex(committed));
    sim->counters->leaders++;
    sim->counters->roll_overs += committed != 0 && zxid_counter(committed) >= n->server->counter_limit;
    n->ordered = n->server->last_applied;
    if (epoch < sim->epoch)
        return;
    sim->epoch = epoch;
    sim->leader = sim_index(n);
    for (size_t i = 0; i < sim->model.session_count; i++)
        sim->model.sessions[i].touched_us = sim_now(sim);
}

/* S27, as the leader orders the end of a session. */
static void check_expiry(struct sim_node *n, const struct txn_header *h) {
    struct sim *sim = n->sim;
    const struct model_session *session = model_session(&sim->model, h->client_id);
    if (h->type != OP_CLOSE_SESSION || h->cxid != 0)
        return;
    sim->counters->expiries++;
    if (session == NULL || session->touched_us == 0)
        return;
    if (sim_now(sim) - session->touched_us < session->timeout_ms * 1000LL)
        sim_fail(sim, "S27: session 0x%llx expired after %lld us, its timeout is %d ms", hex(session->id),
                 (long long)(sim_now(sim) - session->touched_us), session->timeout_ms);
}

static void look_at_orders(struct sim_node *n) {
    struct request *r;
    LIST_FOREACH(r, &n->server->outstanding, struct request, txn_link) {
        if (r->zxid <= n->ordered)
            continue;
        n->ordered = r->zxid;
        struct jute_in in = jute_in(request_payload(r).data, request_payload(r).len);
        struct txn_header h = txn_header_get(&in);
        if (sim_index(n) == n->sim->leader)
            check_expiry(n, &h);
    }
}

void sim_member_account(struct sim_node *n) {
    struct sim *sim = n->sim;
    struct server *s = n->server;
    struct quorum_view v;
    quorum_view(s->quorum, &v);
    bool looks = strcmp(v.state, "looking") == 0;
    sim->counters->elections += n->looked && !looks;
    if (looks && !n->looked)
        n->looking_us = sim_now(sim);
    if (!looks && n->looked)
        n->decided_us = sim_now(sim);
    n->looked = looks;
    bool serves = s->state == SERVER_RUNNING, leads = serves && s->role->orders;
    sim->counters->step_downs += n->led && !leads;
    sim->counters->hand_overs += n->led && !leads && s->quorum->handed_over.us == s->now.mono.us;
    if (serves) {
        sim_damage_healed(n);
        account(n);
        if (leads && !n->led && !sim_failed(sim))
            established(n, v.epoch);
        if (leads)
            look_at_orders(n);
    }
    if (n->served != serves)
        sim_trace(sim, "server %d %s, %s", n->sid, serves ? "serves" : "does not serve", s->role->mode);
    n->served = serves;
    n->led = leads;
}

bool sim_members_at_rest(const struct sim *sim) {
    for (int i = 0; i < sim->node_count; i++) {
        const struct sim_node *n = &sim->nodes[i];
        if (n->server == NULL || !n->served || n->server->last_applied != model_last(&sim->model))
            return false;
    }
    return true;
}
