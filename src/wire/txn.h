/* Transaction records as they stand in logs and proposals. See docs/protocol/disk-format.md section 3.
 *
 *   payload = TxnHeader | record | TxnDigest (optional)
 */
#ifndef ZABRA_WIRE_TXN_H
#define ZABRA_WIRE_TXN_H

#include "wire/records.h"

struct txn_header {
    session_id_t client_id;
    int32_t cxid;
    zxid_t zxid;
    int64_t time_ms;
    int32_t type;
};
#define TXN_HEADER_BYTES 32
#define TXN_DIGEST_BYTES 12
#define DIGEST_VERSION 2

/* One decoded record. Slices point into the payload. A multi is decoded by txn_sub_next, one sub-transaction a time. */
struct txn {
    int32_t type;
    struct slice path, data;
    struct slice acl;        /* encoded vector<ACL>, verbatim */
    int32_t version;         /* setData, setACL, check: the new (or checked) version */
    int32_t parent_cversion; /* creates; -1 = unknown */
    bool ephemeral;          /* create, create2 */
    int64_t ttl;             /* createTTL */
    int32_t timeout_ms;      /* createSession */
    int32_t err;             /* error */
    bool has_paths;          /* closeSession: the body was there */
    int32_t count;           /* closeSession: paths; multi: sub-transactions */
    struct slice rest;       /* closeSession: the paths, multi: the sub-transactions, as jute elements */
};

void txn_header_put(struct buf *b, const struct txn_header *h);
struct txn_header txn_header_get(struct jute_in *in);

/* Appends the record that belongs to t->type, without header and digest. For a multi the caller appends count and
 * sub-transactions itself (txn_sub_begin, txn_sub_end). */
void txn_record_put(struct buf *b, const struct txn *t);
void txn_digest_put(struct buf *b, uint64_t digest);

/* Decodes a whole payload. digest_version is 0 if there is none. Returns false if it does not decode (null does not) or its
 * type is unknown. */
bool txn_decode(struct slice payload, struct txn_header *h, struct txn *t, int32_t *digest_version, uint64_t *digest);

/* A sub-transaction of a multi: int type, buffer record. */
size_t txn_sub_begin(struct buf *b, int32_t type);
void txn_sub_end(struct buf *b, size_t start);
/* Takes the next sub-transaction from rest; false at the end or (with *bad set) if it does not decode. */
bool txn_sub_next(struct slice *rest, struct txn *sub, bool *bad);
/* Takes the next string from a list such as closeSession's; false at the end or if it does not decode. */
bool txn_path_next(struct slice *rest, struct slice *path);

#endif
