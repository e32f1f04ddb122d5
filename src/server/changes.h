/* Pending changes: what the tree will look like once everything that is prepared has been applied.
 *
 * Preparation looks every path up here first. One stack of records per path, the newest on top; a record goes when its
 * transaction is applied, or when its multi fails. See docs/protocol/operations.md section 2. */
#ifndef ZABRA_SERVER_CHANGES_H
#define ZABRA_SERVER_CHANGES_H

#include "server/server.h"

/* A znode as preparation sees it. */
struct view {
    bool exists;
    bool system; /* below /zookeeper: outside the digest */
    struct node_stat stat;
    uint32_t children;
    acl_id_t acl;
    int32_t data_len;
    uint32_t crc; /* of path and data */
    uint64_t hash;
};

/* Looks the path up in the pending changes, then in the tree. Ephemerals of a session whose close is prepared are gone. */
void view_lookup(const struct server *s, struct slice path, struct view *v);
/* The same for a node of the tree that is at hand; v->hash is not set, and a close that is prepared does not count. */
void view_of(const struct server *s, const struct znode *n, struct slice path, struct view *v);
/* What the node contributes to the tree digest. */
uint64_t view_digest(const struct server *s, const struct view *v);
/* Replaces the view of path from zxid on: moves the prepared digest from old to new and pushes a record onto the
 * request's list. Takes no reference on new->acl: the record gets its own. */
void view_change(struct server *s, struct request *r, zxid_t zxid, struct slice path, const struct view *old,
                 const struct view *new);
/* Undoes all records of this request. */
void changes_rollback(struct server *s, struct request *r);
/* Calls visit for the newest record of each path; it must not change anything. */
void changes_each(const struct server *s, void (*visit)(void *ctx, struct slice path, const struct view *v), void *ctx);

#endif
