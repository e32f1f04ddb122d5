#include "wire/txn.h"

void txn_header_put(struct buf *b, const struct txn_header *h) {
    uint8_t *p = buf_tail(b, TXN_HEADER_BYTES);
    p = be64_store(p, (uint64_t)h->client_id);
    p = be32_store(p, (uint32_t)h->cxid);
    p = be64_store(p, (uint64_t)h->zxid);
    p = be64_store(p, (uint64_t)h->time_ms);
    be32_store(p, (uint32_t)h->type);
    b->len += TXN_HEADER_BYTES;
}

struct txn_header txn_header_get(struct jute_in *in) {
    struct txn_header h;
    h.client_id = jute_long(in);
    h.cxid = jute_int(in);
    h.zxid = jute_long(in);
    h.time_ms = jute_long(in);
    h.type = jute_int(in);
    return h;
}

void txn_record_put(struct buf *b, const struct txn *t) {
    switch (t->type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        jute_put_bytes(b, t->path);
        jute_put_bytes(b, t->data);
        buf_append(b, t->acl.data, t->acl.len);
        if (t->type == OP_CREATE || t->type == OP_CREATE2)
            jute_put_bool(b, t->ephemeral);
        jute_put_int(b, t->parent_cversion);
        if (t->type == OP_CREATE_TTL)
            jute_put_long(b, t->ttl);
        break;
    case OP_DELETE:
    case OP_DELETE_CONTAINER:
        jute_put_bytes(b, t->path);
        break;
    case OP_SET_DATA:
    case OP_RECONFIG:
        jute_put_bytes(b, t->path);
        jute_put_bytes(b, t->data);
        jute_put_int(b, t->version);
        break;
    case OP_SET_ACL:
        jute_put_bytes(b, t->path);
        buf_append(b, t->acl.data, t->acl.len);
        jute_put_int(b, t->version);
        break;
    case OP_CHECK:
        jute_put_bytes(b, t->path);
        jute_put_int(b, t->version);
        break;
    case OP_CREATE_SESSION:
        jute_put_int(b, t->timeout_ms);
        break;
    case OP_CLOSE_SESSION:
        jute_put_int(b, t->count);
        buf_append(b, t->rest.data, t->rest.len);
        break;
    case OP_ERROR:
        jute_put_int(b, t->err);
        break;
    default:
        break;
    }
}

void txn_digest_put(struct buf *b, uint64_t digest) {
    jute_put_int(b, DIGEST_VERSION);
    jute_put_long(b, (int64_t)digest);
}

/* vector<ACL>, verbatim. */
static struct slice take_acl(struct jute_in *in) {
    const uint8_t *start = in->p;
    int32_t count = jute_count(in);
    for (int32_t i = 0; i < count && !in->failed; i++)
        acl_entry_get(in);
    return (struct slice){(const char *)start, (size_t)(in->p - start)};
}

static void take_strings(struct jute_in *in, struct txn *t) {
    const uint8_t *start = in->p + 4;
    t->count = jute_count(in);
    for (int32_t i = 0; i < t->count && !in->failed; i++)
        jute_bytes(in);
    t->rest = (struct slice){(const char *)start, in->failed || t->count <= 0 ? 0 : (size_t)(in->p - start)};
}

/* A closeSession record may be missing (old writers, or closeSessionTxn.enabled=false), with a digest behind it or not.
 * What is left over decides, see docs/protocol/disk-format.md section 3.3. */
static void take_close_session(struct jute_in *in, struct txn *t) {
    size_t left = jute_left(in);
    t->has_paths = false;
    if (left == 0)
        return;
    struct jute_in trial = *in;
    take_strings(&trial, t);
    if (left == TXN_DIGEST_BYTES && be32_load(in->p) == DIGEST_VERSION && (trial.failed || jute_left(&trial) != 0)) {
        t->count = 0;
        t->rest = SLICE_NULL;
        return;
    }
    *in = trial;
    t->has_paths = true;
}

static void take_sub_txns(struct jute_in *in, struct txn *t) {
    t->count = jute_count(in);
    const uint8_t *start = in->p;
    for (int32_t i = 0; i < t->count && !in->failed; i++) {
        jute_int(in);
        jute_bytes_not_null(in);
    }
    t->rest = (struct slice){(const char *)start, (size_t)(in->p - start)};
}

/* top: a record of a whole transaction, where type 1 may lack its last field (before 3.4). */
static bool record_get(struct jute_in *in, struct txn *t, bool top) {
    switch (t->type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        t->path = jute_bytes_not_null(in);
        t->data = jute_bytes(in);
        t->acl = take_acl(in);
        if (t->type == OP_CREATE || t->type == OP_CREATE2)
            t->ephemeral = jute_bool(in);
        if (t->type == OP_CREATE && top && !in->failed && jute_left(in) == 0)
            t->parent_cversion = -1;
        else
            t->parent_cversion = jute_int(in);
        if (t->type == OP_CREATE_TTL)
            t->ttl = jute_long(in);
        break;
    case OP_DELETE:
    case OP_DELETE_CONTAINER:
        t->path = jute_bytes_not_null(in);
        break;
    case OP_SET_DATA:
    case OP_RECONFIG:
        t->path = jute_bytes_not_null(in);
        t->data = jute_bytes(in);
        t->version = jute_int(in);
        break;
    case OP_SET_ACL:
        t->path = jute_bytes_not_null(in);
        t->acl = take_acl(in);
        t->version = jute_int(in);
        break;
    case OP_CHECK:
        t->path = jute_bytes_not_null(in);
        t->version = jute_int(in);
        break;
    case OP_CREATE_SESSION:
        t->timeout_ms = jute_int(in);
        break;
    case OP_CLOSE_SESSION:
        take_close_session(in, t);
        break;
    case OP_ERROR:
        t->err = jute_int(in);
        break;
    case OP_MULTI:
        take_sub_txns(in, t);
        break;
    default:
        return false;
    }
    return !in->failed;
}

bool txn_decode(struct slice payload, struct txn_header *h, struct txn *t, int32_t *digest_version, uint64_t *digest) {
    /* Another server may send null for a transaction; no arithmetic is done on that. */
    struct jute_in in = jute_in(payload.data != NULL ? payload.data : (const char *)h, payload.len);
    *h = txn_header_get(&in);
    *t = (struct txn){.type = h->type};
    *digest_version = 0;
    if (in.failed || !record_get(&in, t, true))
        return false;
    if (jute_left(&in) >= TXN_DIGEST_BYTES) {
        *digest_version = jute_int(&in);
        *digest = (uint64_t)jute_long(&in);
    }
    return true;
}

size_t txn_sub_begin(struct buf *b, int32_t type) {
    jute_put_int(b, type);
    return frame_begin(b);
}

void txn_sub_end(struct buf *b, size_t start) { frame_end(b, start); }

bool txn_sub_next(struct slice *rest, struct txn *sub, bool *bad) {
    *bad = false;
    if (rest->len == 0)
        return false;
    struct jute_in in = jute_in(rest->data, rest->len);
    *sub = (struct txn){.type = jute_int(&in)};
    struct slice record = jute_bytes_not_null(&in);
    if (!in.failed) {
        *rest = (struct slice){(const char *)in.p, jute_left(&in)};
        in = jute_in(record.data, record.len);
        if (sub->type != OP_MULTI && record_get(&in, sub, false))
            return true;
    }
    *bad = true;
    return false;
}

bool txn_path_next(struct slice *rest, struct slice *path) {
    if (rest->len == 0)
        return false;
    struct jute_in in = jute_in(rest->data, rest->len);
    *path = jute_bytes(&in);
    if (in.failed)
        return false;
    *rest = (struct slice){(const char *)in.p, jute_left(&in)};
    return true;
}
