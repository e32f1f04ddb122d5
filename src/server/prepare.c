/* Turns a write request into a transaction: assigns zxid and time, encodes the record once into the batch, predicts the
 * digest, and proposes it. A request that may not be done becomes an error transaction; that takes a zxid, too
 * (docs/protocol/operations.md section 1). */
#include "server/prepare.h"

#include "base/mem.h"
#include "server/closer.h"
#include "store/txnlog.h"
#include "tree/path.h"

struct draft draft_begin(struct server *s, const struct request *r, int32_t type) {
    struct draft d = {.b = &pipeline_batch(s)->data, .zxid = s->last_prepared + 1};
    d.entry = txnlog_entry_begin(d.b);
    d.header = d.b->len;
    txn_header_put(d.b, &(struct txn_header){.client_id = r->session_id,
                                             .cxid = r->xid,
                                             .zxid = d.zxid,
                                             .time_ms = s->now.wall_ms,
                                             .type = type});
    return d;
}

void draft_fail(struct draft *d, int err) {
    d->b->len = d->header + TXN_HEADER_BYTES;
    jute_patch_int(d->b, d->header + TXN_HEADER_BYTES - 4, OP_ERROR);
    txn_record_put(d->b, &(struct txn){.type = OP_ERROR, .err = err});
}

void draft_propose(struct server *s, struct request *r, struct draft *d, bool with_digest) {
    if (with_digest && s->config->digest_enabled && !s->digest_unknown)
        txn_digest_put(d->b, s->prepared_digest);
    size_t len = d->b->len - d->header;
    txnlog_entry_end(d->b, d->entry);
    s->last_prepared = d->zxid;
    r->zxid = d->zxid;
    pipeline_propose(s, r, d->header, len);
}

/* No server reads back a longer transaction, so it must never be logged. */
static bool draft_too_large(const struct server *s, const struct draft *d) {
    size_t len = d->b->len - d->header + TXN_DIGEST_BYTES;
    return (int64_t)len > i64_max(TXNLOG_JAVA_PAYLOAD_MAX, config_jute_record_max_bytes(s->config));
}

static void prepare_single(struct server *s, struct request *r, struct slice body) {
    struct op op = {.type = r->op, .ttl = -1};
    struct jute_in in = jute_in(body.data, body.len);
    struct txn txn;
    struct draft d = draft_begin(s, r, r->op);
    int err = op_decode(&in, &op) ? op_prepare(s, r, &op, d.zxid, &txn) : ZK_MARSHALLING_ERROR;
    if (err == ZK_OK) {
        txn_record_put(d.b, &txn);
        if (draft_too_large(s, &d)) {
            changes_rollback(s, r);
            err = ZK_BAD_ARGUMENTS;
        }
    }
    if (err != ZK_OK)
        draft_fail(&d, err);
    draft_propose(s, r, &d, err == ZK_OK);
}

/* ------------------------------------------------------------------ multi */

static bool multi_op_allowed(int32_t type) {
    switch (type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
    case OP_DELETE:
    case OP_SET_DATA:
    case OP_CHECK:
        return true;
    default:
        return false;
    }
}

/* Flags that no create of a multi may carry: such a multi does not decode as a whole. */
static bool multi_flags_bad(const struct op *op) {
    if (op->type != OP_CREATE && op->type != OP_CREATE2 && op->type != OP_CREATE_CONTAINER)
        return false;
    return op->flags < CREATE_PERSISTENT || op->flags > CREATE_CONTAINER;
}

/* Takes the next operation; false at the terminator, or (in->failed) if it does not decode. */
static bool multi_next(struct jute_in *in, struct op *op) {
    struct multi_header h = multi_header_get(in);
    if (in->failed || h.done)
        return false;
    *op = (struct op){.type = h.type, .ttl = -1, .in_multi = true};
    if (!multi_op_allowed(h.type) || !op_decode(in, op) || multi_flags_bad(op)) {
        in->failed = true;
        return false;
    }
    op_normalise_for_multi(op);
    return true;
}

static bool multi_decodes(struct slice body) {
    struct jute_in in = jute_in(body.data, body.len);
    struct op op;
    while (multi_next(&in, &op))
        ;
    return !in.failed;
}

bool prepare_multi_any(struct slice body, bool (*test)(int32_t op)) {
    struct jute_in in = jute_in(body.data, body.len);
    struct op op;
    while (multi_next(&in, &op))
        if (test(op.type))
            return true;
    return false;
}

static void put_sub_error(struct buf *b, int err) {
    size_t sub = txn_sub_begin(b, OP_ERROR);
    txn_record_put(b, &(struct txn){.type = OP_ERROR, .err = err});
    txn_sub_end(b, sub);
}

static void note_stat_result(struct buf *results, int32_t index) {
    size_t more = (size_t)index + 1 - results->len;
    memset(buf_tail(results, more), 0, more);
    results->len += more;
    results->data[index] = 1;
}

static void prepare_multi(struct server *s, struct request *r, struct slice body) {
    struct draft d = draft_begin(s, r, OP_MULTI);
    if (!multi_decodes(body)) {
        draft_fail(&d, ZK_MARSHALLING_ERROR);
        draft_propose(s, r, &d, false);
        return;
    }
    size_t count_at = d.b->len;
    int32_t count = 0;
    int failed = ZK_OK;
    jute_put_int(d.b, 0);
    struct jute_in in = jute_in(body.data, body.len);
    struct op op;
    for (; multi_next(&in, &op); count++) {
        if (failed != ZK_OK) {
            put_sub_error(d.b, ZK_RUNTIME_INCONSISTENCY);
            continue;
        }
        struct txn txn;
        failed = op_prepare(s, r, &op, d.zxid, &txn);
        if (failed == ZK_OK && txn.type == OP_CREATE2) {
            /* ZooKeeper before 3.8.2 cannot read it inside a multi. As a transaction it is the same as a create. */
            txn.type = OP_CREATE;
            note_stat_result(&r->stat_results, count);
        }
        if (failed != ZK_OK) {
            /* What was prepared before stays in the record as it is; the error tells everybody not to apply it. */
            changes_rollback(s, r);
            put_sub_error(d.b, failed);
            continue;
        }
        size_t sub = txn_sub_begin(d.b, txn.type);
        txn_record_put(d.b, &txn);
        txn_sub_end(d.b, sub);
    }
    jute_patch_int(d.b, count_at, count);
    bool too_large = draft_too_large(s, &d);
    if (too_large) {
        changes_rollback(s, r);
        draft_fail(&d, ZK_BAD_ARGUMENTS);
    }
    draft_propose(s, r, &d, !too_large);
}

/* ------------------------------------------------------------------ sessions */

void prepare_error(struct server *s, struct request *r, int32_t error) {
    struct draft d = draft_begin(s, r, OP_ERROR);
    draft_fail(&d, error);
    draft_propose(s, r, &d, false);
}

void prepare_create_session(struct server *s, struct request *r, int32_t timeout_ms) {
    struct draft d = draft_begin(s, r, OP_CREATE_SESSION);
    txn_record_put(d.b, &(struct txn){.type = OP_CREATE_SESSION, .timeout_ms = timeout_ms});
    draft_propose(s, r, &d, true);
}

static void prepare_close(struct server *s, struct request *r) {
    struct session *session = session_find(&s->sessions, r->session_id);
    if (session == NULL || session->closing) {
        prepare_error(s, r, ZK_SESSION_EXPIRED);
        return;
    }
    closer_start(s, r, session);
}

/* ------------------------------------------------------------------ entry points */

/* A standalone server knows no reconfiguration: only the error that ZooKeeper gives. */
static void prepare_reconfig(struct server *s, struct request *r) {
    prepare_error(s, r, s->config->reconfig_enabled ? ZK_UNIMPLEMENTED : ZK_RECONFIG_DISABLED);
}

bool prepare_decodes(int32_t type, struct slice body, struct buf *stat_results) {
    struct jute_in in = jute_in(body.data, body.len);
    struct op op = {.type = type, .ttl = -1};
    switch (type) {
    case OP_CLOSE_SESSION:
    case OP_RECONFIG:
        return true;
    case OP_MULTI:
        if (!multi_decodes(body))
            return false;
        for (int32_t i = 0; multi_next(&in, &op); i++)
            if (op.type == OP_CREATE2)
                note_stat_result(stat_results, i);
        return true;
    default:
        return op_decode(&in, &op);
    }
}

void prepare_request(struct server *s, struct request *r, struct slice body) {
    switch (r->op) {
    case OP_MULTI:
        prepare_multi(s, r, body);
        break;
    case OP_CLOSE_SESSION:
        prepare_close(s, r);
        break;
    case OP_RECONFIG:
        prepare_reconfig(s, r);
        break;
    default:
        prepare_single(s, r, body);
    }
}

void prepare_delete_container(struct server *s, struct slice path) {
    struct request *r = request_new(s, NULL, REQUEST_WRITE, 0, OP_DELETE_CONTAINER, 0);
    struct op op = {.type = OP_DELETE_CONTAINER, .path = path};
    struct txn txn;
    struct draft d = draft_begin(s, r, OP_DELETE_CONTAINER);
    int err = op_prepare(s, r, &op, d.zxid, &txn);
    if (err == ZK_OK)
        txn_record_put(d.b, &txn);
    else
        draft_fail(&d, err);
    draft_propose(s, r, &d, err == ZK_OK);
}
