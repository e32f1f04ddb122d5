/* The whole tree and all sessions against the model. */
#include <stdio.h>

#include "sim/sim.h"
#include "tree/tree.h"

/* The root, /zookeeper, /zookeeper/config, /zookeeper/quota. */
#define SYSTEM_NODES 4

static bool same_node(const struct sim_node *n, const struct model_node *node, const struct model_version *v) {
    const struct znode *z = tree_find(n->server->tree, slice_of(node->path));
    struct stat_view stat;
    if (z == NULL || v == NULL)
        return z == NULL && v == NULL;
    tree_stat_view(n->server->tree, z, &stat);
    return slice_eq(znode_data(z), v->data) && sim_stat_equal(&stat, &v->stat);
}

static void check_sessions(struct sim_node *n, const char *when, zxid_t zxid) {
    struct sim *sim = n->sim;
    size_t live = 0;
    for (size_t i = 0; i < sim->model.session_count; i++) {
        const struct model_session *m = &sim->model.sessions[i];
        const struct session *session = session_find(&n->server->sessions, m->id);
        bool lives = m->created <= zxid && (m->closed == 0 || m->closed > zxid);
        if ((session != NULL && session->in_db) != lives)
            sim_fail(sim, "%s: server %d: session 0x%llx is %s", when, n->sid, (unsigned long long)m->id,
                     lives ? "lost" : "there, although it was closed");
        live += lives;
    }
    if (n->server->sessions.by_id.count != live)
        sim_fail(sim, "%s: server %d: there are %zu sessions, not %zu", when, n->sid, n->server->sessions.by_id.count, live);
}

/* The digest that was recorded with the last transaction that has one. Error transactions have none and change nothing;
 * others lack it only where growing writes were taken out from under them on a full disk. */
static void check_digest(struct sim_node *n, const char *when, zxid_t zxid) {
    struct sim *sim = n->sim;
    for (size_t i = model_count_to(&sim->model, zxid); i > 0; i--) {
        const struct model_txn *txn = &sim->model.txns[i - 1];
        if (!txn->has_digest && txn->header.type != OP_ERROR)
            return;
        if (!txn->has_digest)
            continue;
        if (txn->digest != tree_digest(n->server->tree))
            sim_fail(sim, "S22: %s: server %d: the digest of the tree is not that of zxid 0x%llx", when, n->sid,
                     (unsigned long long)txn->header.zxid);
        return;
    }
}

void sim_check_tree(struct sim_node *n, const char *when) {
    struct sim *sim = n->sim;
    zxid_t zxid = n->server->last_applied;
    size_t live = SYSTEM_NODES;
    sim->counters->trees++;
    for (size_t i = 0; i < sim->model.node_count; i++) {
        const struct model_node *node = sim->model.nodes[i];
        const struct model_version *v = model_at(node, zxid);
        if (node->parent == NULL)
            continue;
        live += v != NULL;
        if (!same_node(n, node, v))
            sim_fail(sim, "%s: server %d: %s is not what it was at zxid 0x%llx", when, n->sid, node->path,
                     (unsigned long long)zxid);
    }
    if (tree_count(n->server->tree) != live)
        sim_fail(sim, "%s: server %d: the tree has %llu nodes at zxid 0x%llx, not %zu", when, n->sid,
                 (unsigned long long)tree_count(n->server->tree), (unsigned long long)zxid, live);
    check_sessions(n, when, zxid);
    check_digest(n, when, zxid);
    if (n->server->metrics.counters[METRIC_DIGEST_MISMATCHES_COUNT] != 0)
        sim_fail(sim, "S22: %s: server %d: a digest did not fit when its transaction was applied", when, n->sid);
}
