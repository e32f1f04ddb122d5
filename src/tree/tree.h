/* The data tree: znodes, their index by path, owners of ephemerals, quotas and the running digest.
 *
 * Holds applied transactions only. Each change function corresponds to the apply rule of one transaction in
 * docs/protocol/disk-format.md section 7 and keeps to its guards exactly, because replay over a snapshot depends on them.
 * Nothing here validates permissions or versions: that is done before a transaction is made. */
#ifndef ZABRA_TREE_TREE_H
#define ZABRA_TREE_TREE_H

#include "tree/acl.h"
#include "tree/znode.h"
#include "wire/records.h"

struct tree_options {
    bool extended_types;   /* extendedTypesEnabled: owner values 0xff... are TTL nodes */
    bool emulate_353_ttl;  /* emulate353TTLNodes */
    bool digest_enabled;   /* digest.enabled: off = digest stays 0 */
    uint64_t hash_seed;    /* seed of the path hash; never visible outside */
};

struct tree;

/* A fresh tree: root, /zookeeper, /zookeeper/quota, /zookeeper/config. */
struct tree *tree_new(const struct tree_options *options);
/* Only the root, for loading a snapshot: tree_load_node fills it. */
struct tree *tree_new_empty(const struct tree_options *options);
/* Walks and listings must have ended. Touches nothing but the tree, so another thread may do it. NULL is fine. */
void tree_free(struct tree *t);

const struct tree_options *tree_options(const struct tree *t);
struct acl_table *tree_acls(struct tree *t);
struct znode *tree_root(struct tree *t);

/* The hash under which a path is indexed. "" and "/" are the same. */
uint64_t tree_hash(const struct tree *t, struct slice path);
/* NULL if there is none. "" is an alias of the root. */
struct znode *tree_find(const struct tree *t, struct slice path);
/* As tree_find, with the hash at hand. */
struct znode *tree_find_hashed(const struct tree *t, struct slice path, uint64_t hash);

/* What kind of node a stored owner value makes, under the tree's options. */
enum znode_kind tree_owner_kind(const struct tree *t, int64_t owner);
/* The ttl in ms of a TTL owner value, under the tree's options. */
int64_t tree_owner_ttl(const struct tree *t, int64_t owner);
/* True if the value has the extended-type prefix with a feature that is not known (loading must refuse it). */
bool tree_owner_invalid(const struct tree *t, int64_t owner);

/* The stat as clients see it: cversion doubled, owner 0 but for real ephemerals. */
void tree_stat_view(const struct tree *t, const struct znode *n, struct stat_view *out);

/* ------------------------------------------------------------------ changes, one per transaction type */

struct tree_create {
    struct slice path, data, acl; /* acl: encoded vector */
    int64_t owner;
    int32_t parent_cversion; /* -1 = the parent's own + 1 */
    bool raise_parent_if_exists; /* type 1 only: an existing node still raises the parent's cversion */
    zxid_t zxid;
    int64_t time_ms;
};
/* ZK_OK and *created set; ZK_NO_NODE (no parent); ZK_NODE_EXISTS (its ACL is replaced by the transaction's, the parent
 * raised as said, *created stays); ZK_BAD_ARGUMENTS (a path that no node can have: validation was left out, or a
 * component is longer than ZNODE_NAME_MAX). hash: tree_hash of the path, or 0 = not at hand. created may be NULL. */
int tree_create(struct tree *t, const struct tree_create *c, uint64_t hash, struct znode **created);
/* ZK_OK or ZK_NO_NODE; the parent's pzxid moves even when only the node is missing. A node with children (possible only
 * in a corrupt log, or when a fuzzy snapshot already has a later incarnation) is ZK_NOT_EMPTY and stays, while the
 * parent's pzxid moves. ZK_BAD_ARGUMENTS: the root, or a path that no node can have. */
int tree_delete(struct tree *t, struct slice path, zxid_t zxid);
/* The same for a node at hand, which has no children and is not the root. A watched one (ZNODE_WATCHED) must have been
 * given to watch_node_leaves before. */
void tree_delete_node(struct tree *t, struct znode *n, zxid_t zxid);
/* Always ZK_OK. */
int tree_set_data(struct tree *t, struct znode *n, struct slice data, int32_t version, zxid_t zxid, int64_t time_ms);
void tree_set_acl(struct tree *t, struct znode *n, struct slice acl, int32_t version);
/* Marks the node for tree/watch. */
void tree_set_watched(struct znode *n, bool watched);

/* ------------------------------------------------------------------ loading */

/* Adds a node as read from a snapshot. A parent must come before its children; the root (path "") only sets the root's
 * fields. acl: the tree takes a reference of its own, so a loader gives its own back at the end. Returns ZK_OK,
 * ZK_NO_NODE (parent not read yet), ZK_NODE_EXISTS, or ZK_BAD_ARGUMENTS (invalid owner value, or a path that no node can
 * have; characters are not checked). Fast when siblings come together. */
int tree_load_node(struct tree *t, struct slice path, struct slice data, acl_id_t acl, const struct node_stat *stat);
/* After the last node: adds /zookeeper/config and the other system nodes if they are missing, arms the quotas and
 * recomputes their usage. */
void tree_load_done(struct tree *t);
/* A hint of how many nodes are coming. */
void tree_reserve(struct tree *t, size_t nodes);

/* ------------------------------------------------------------------ ephemerals, containers, TTL nodes */

/* The nodes owned by one session (or all containers, or all TTL nodes). Order is arbitrary; deleting one moves the last
 * into its place. */
struct owned {
    int64_t owner;
    uint64_t version; /* another one, never seen before, after each change of the set (sessions' only) */
    uint32_t count, cap;
    struct znode **nodes;
};
/* NULL if the session owns nothing. */
struct owned *tree_owned_by(const struct tree *t, session_id_t session);
const struct owned *tree_containers(const struct tree *t);
const struct owned *tree_ttl_nodes(const struct tree *t);
/* Iteration over the sessions that own something: start with *cursor = 0, NULL at the end. */
struct owned *tree_owned_next(const struct tree *t, size_t *cursor);
/* Copies the ids of these sessions, tree_owner_count(t) of them. */
void tree_owner_ids(const struct tree *t, uint64_t *ids);

/* ------------------------------------------------------------------ figures */

uint64_t tree_digest(const struct tree *t);
uint64_t tree_count(const struct tree *t);           /* nodes, the root once */
uint64_t tree_ephemeral_count(const struct tree *t);
uint64_t tree_owner_count(const struct tree *t);     /* sessions with ephemerals */
uint64_t tree_path_data_bytes(const struct tree *t); /* sum of path and data lengths: approximate_data_size */
uint64_t tree_memory(const struct tree *t);          /* bytes held, tables included */

/* Gives a started resize of the index a share of work; true if there is more to do. Called each loop turn. */
bool tree_maintain(struct tree *t);

/* ------------------------------------------------------------------ quotas (docs/protocol/operations.md section 9) */

struct quota_check {
    bool count_exceeded, bytes_exceeded; /* a hard limit would be exceeded: refuse */
    bool soft_exceeded;                  /* a soft limit would be exceeded: warn */
    const struct znode *node;            /* the node whose quota it is; NULL = no quota, or it does not exist yet */
    int64_t limit, usage;                /* of the first limit exceeded (hard before soft); usage after the change */
};
/* Would a change of (count_diff, bytes_diff) at path exceed the deepest armed quota? Usage is that of the applied tree. */
void tree_quota_check(const struct tree *t, struct slice path, int64_t count_diff, int64_t bytes_diff,
                      struct quota_check *out);
/* Text of limits and stats nodes; -1 = not given. Reads tolerantly: what does not parse counts as not given. */
struct quota_limits {
    int64_t count, bytes, count_hard, bytes_hard;
};
struct quota_limits quota_parse(struct slice text);
void quota_format(struct buf *out, const struct quota_limits *q);
/* Iteration over nodes with an armed quota for the per-namespace metrics: start with *cursor = 0. usage is read from the
 * stats node (missing: -1). False at the end. */
bool tree_quota_next(const struct tree *t, size_t *cursor, struct znode **node, struct quota_limits *limits,
                     struct quota_limits *usage);

/* ------------------------------------------------------------------ listing of children in slices */

/* The child set of one node at the moment of the start, given out piecemeal while the tree goes on changing: a child that
 * is deleted before its turn is remembered, one that is created later is left out. */
struct tree_listing;
struct tree_listing *tree_listing_new(struct tree *t, struct znode *parent);
uint32_t tree_listing_count(const struct tree_listing *l);      /* children at the start */
uint64_t tree_listing_name_bytes(const struct tree_listing *l); /* sum of their name lengths */
/* Appends names as jute strings until at least max_bytes were added or the end is reached; true at the end. */
bool tree_listing_next(struct tree_listing *l, struct buf *out, size_t max_bytes);
/* At any time, also before the end. */
void tree_listing_free(struct tree_listing *l);

/* Appends all names at once as jute strings. */
void tree_children_put(const struct znode *n, struct buf *out);

#endif
