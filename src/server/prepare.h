/* Operations as decoded from a request, alone or inside a multi, their validation, and the transactions that are made of
 * them. Internal to the prepare step. */
#ifndef ZABRA_SERVER_PREPARE_H
#define ZABRA_SERVER_PREPARE_H

#include "server/changes.h"

struct op {
    int32_t type;
    struct slice path, data;
    struct slice acl; /* the raw vector<ACL> of the request */
    int32_t flags;
    int64_t ttl;
    int32_t version;
    bool in_multi;
};

/* Decodes the request record of op->type. False if it does not decode. */
bool op_decode(struct jute_in *in, struct op *op);
/* What a multi makes of an operation's type before it is validated. */
void op_normalise_for_multi(struct op *op);
/* Validates op for transaction zxid and, if it may be done, fills txn (whose slices live until the next operation is
 * prepared) and pushes the pending changes. Returns ZK_OK or the error. */
int op_prepare(struct server *s, struct request *r, const struct op *op, zxid_t zxid, struct txn *txn);

/* ------------------------------------------------------------------ drafts */

/* A transaction that is being encoded at the end of the batch. */
struct draft {
    struct buf *b;
    size_t entry;  /* offset of the log entry */
    size_t header; /* offset of the payload, which begins with the header */
    zxid_t zxid;
};

/* Encodes the header of the next transaction. No other one may be begun before this one is proposed. */
struct draft draft_begin(struct server *s, const struct request *r, int32_t type);
/* Replaces whatever was encoded so far by an error. */
void draft_fail(struct draft *d, int err);
void draft_propose(struct server *s, struct request *r, struct draft *d, bool with_digest);

#endif
