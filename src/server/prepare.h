/* Operations as decoded from a request, alone or inside a multi, and their validation. Internal to the prepare step. */
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

#endif
