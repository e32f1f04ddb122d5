/* The whole tree and all sessions against the model. */
#include <stdio.h>

#include "sim/sim.h"
#include "tree/tree.h"

/* The root, /zookeeper, /zookeeper/config, /zookeeper/quota. */
#define SYSTEM_NODES 4

static bool same_node(struct sim *sim, const struct model_node *node, const struct model_version *v) {
    const struct znode *n = tree_find(sim->server->tree, slice_of(node->path));
    struct stat_view stat;
    if (n == NULL || v == NULL)
        return n == NULL && v == NULL;
    tree_stat_view(sim->server->tree, n, &stat);
    return slice_eq(znode_data(n), v->data) && sim_stat_equal(&stat, &v->stat);
}

static void check_sessions(struct sim *sim, const char *when) {
    size_t live = 0;
    for (size_t i = 0; i < sim->model.session_count; i++) {
        const struct model_session *m = &sim->model.sessions[i];
        const struct session *session = session_find(&sim->server->sessions, m->id);
        if ((session != NULL && session->in_db) != (m->closed == 0))
            sim_fail(sim, "%s: session 0x%llx is %s", when, (unsigned long long)m->id,
                     m->closed == 0 ? "lost" : "there, although it was closed");
        live += m->closed == 0;
    }
    if (sim->server->sessions.by_id.count != live)
        sim_fail(sim, "%s: there are %zu sessions, not %zu", when, sim->server->sessions.by_id.count, live);
}

/* The digest that was recorded with the last transaction that has one. Error transactions have none and change nothing;
 * others lack it only where growing writes were taken out from under them on a full disk. */
static void check_digest(struct sim *sim, const char *when, zxid_t zxid) {
    for (; zxid > 0; zxid--) {
        const struct model_txn *txn = &sim->model.txns[zxid - 1];
        if (!txn->has_digest && txn->header.type != OP_ERROR)
            return;
        if (!txn->has_digest)
            continue;
        if (txn->digest != tree_digest(sim->server->tree))
            sim_fail(sim, "S22: %s: the digest of the tree is not that of zxid 0x%llx", when, (unsigned long long)zxid);
        return;
    }
}

void sim_check_tree(struct sim *sim, const char *when) {
    zxid_t zxid = sim->server->last_applied;
    size_t live = SYSTEM_NODES;
    sim->counters->trees++;
    for (size_t i = 0; i < sim->model.node_count; i++) {
        const struct model_node *node = sim->model.nodes[i];
        const struct model_version *v = model_at(node, zxid);
        if (node->parent == NULL)
            continue;
        live += v != NULL;
        if (!same_node(sim, node, v))
            sim_fail(sim, "%s: %s is not what it was at zxid 0x%llx", when, node->path, (unsigned long long)zxid);
    }
    if (tree_count(sim->server->tree) != live)
        sim_fail(sim, "%s: the tree has %llu nodes at zxid 0x%llx, not %zu", when,
                 (unsigned long long)tree_count(sim->server->tree), (unsigned long long)zxid, live);
    check_sessions(sim, when);
    check_digest(sim, when, zxid);
    if (sim->server->metrics.counters[METRIC_DIGEST_MISMATCHES_COUNT] != 0)
        sim_fail(sim, "S22: %s: a digest did not fit when its transaction was applied", when);
}
