/* What the tree must look like: an independent account of all transactions that the server gave to its log, with every
 * version of every znode, so that a reply can be compared with the state at the zxid in its header.
 *
 * The model knows nothing of the server's tree. It applies the rules of ZooKeeper as a client sees them (cversion counts
 * every change of the children, for example) and refuses a transaction that these rules do not allow. */
#ifndef ZABRA_SIM_MODEL_H
#define ZABRA_SIM_MODEL_H

#include "base/hmap.h"
#include "wire/txn.h"

#define MODEL_PATH_MAX 64

enum model_kind { MODEL_PLAIN, MODEL_CONTAINER, MODEL_TTL };

struct model_version {
    zxid_t zxid; /* holds from here on */
    bool exists;
    enum model_kind kind;
    int64_t ttl_ms;
    struct slice data; /* stands in the payload of the transaction */
    struct stat_view stat;
    int32_t children_made; /* what names of sequential children count by */
};

struct model_node {
    char path[MODEL_PATH_MAX];
    struct model_node *parent;    /* NULL for the root */
    struct model_node **children; /* all that ever were */
    size_t child_count;
    struct model_version *versions;
    size_t count;
    uint64_t stamp; /* for whoever counts nodes */
};

struct model_txn {
    struct slice payload; /* owned */
    struct txn_header header;
    bool has_digest;
    uint64_t digest;
};

struct model_event {
    zxid_t zxid;
    enum event_type type;
    const struct model_node *node;
};

struct model_session {
    session_id_t id;
    int32_t timeout_ms;
    zxid_t created, closed; /* closed 0 = it lives */
    int32_t last_cxid;
    int64_t touched_us;
};

struct model {
    struct hmap by_path;
    struct model_node **nodes;
    size_t node_count;
    zxid_t base; /* where the first database stands */
    struct model_txn *txns; /* ascending; without gaps within an epoch */
    size_t txn_count, txn_cap;
    struct model_event *events;
    size_t event_count, event_cap;
    struct model_session *sessions;
    size_t session_count;
    uint64_t stamp;
    uint64_t reaped; /* containers and TTL nodes that the server has deleted */
    bool ensemble; /* what a request meets may have changed on its way: errors may come for sessions that are not there */
    char error[256]; /* why the last transaction was refused */
};

void model_init(struct model *m);
void model_free(struct model *m);
/* Before the first transaction: the database begins at this zxid, with this node, below which so many have been created. */
void model_begin_with(struct model *m, zxid_t zxid, const char *path, int64_t time_ms, int32_t children_made);
static inline zxid_t model_last(const struct model *m) {
    return m->txn_count != 0 ? m->txns[m->txn_count - 1].header.zxid : m->base;
}
/* How many transactions there are up to zxid. */
size_t model_count_to(const struct model *m, zxid_t zxid);
/* NULL if there is none with this zxid. */
const struct model_txn *model_txn_at(const struct model *m, zxid_t zxid);
/* The next transaction, or one that is known already (then it must be the same bytes). False: see error. */
bool model_take(struct model *m, struct slice payload);
/* Forgets all transactions above last. */
void model_rollback(struct model *m, zxid_t last);

struct model_node *model_find(const struct model *m, const char *path);
/* The state at a zxid; NULL if there was no such node then. node NULL is fine. */
const struct model_version *model_at(const struct model_node *node, zxid_t zxid);
const struct model_version *model_path_at(const struct model *m, const char *path, zxid_t zxid);
struct model_session *model_session(const struct model *m, session_id_t id);
/* The parent's path: "/" for top-level nodes. */
void model_parent(const char *path, char out[MODEL_PATH_MAX]);

#endif
