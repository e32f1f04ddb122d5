/* From proposed to applied: batches for the log, group commit, commit, and the order of replies.
 *
 * One batch is being written while the next one fills; batch N+1 is not handed to the log before batch N's sync has
 * returned, so that after a power loss only the last batch can have holes (docs/protocol/invariants.md). A batch that
 * still grows waits a few turns for the clients that have just been answered: they ask again one after the other, and
 * each sync that they share is one less to pay for. Nothing waits for a timer: while it waits the loop does not sleep, and
 * the first turn that brings nothing ends it. */
#include <errno.h>

#include "base/mem.h"
#include "server/server.h"
#include "store/txnlog.h"

/* Applying stops after this much, so that other connections get their turn; one transaction is never cut. */
#define APPLY_SLICE_TXNS 2048
#define APPLY_SLICE_BYTES (4u << 20)
/* A batch that grows waits for so many turns at the most, and no longer than it is small. */
#define GATHER_TURNS 4
#define GATHER_BYTES (64 * 1024)

struct batch *pipeline_batch(struct server *s) {
    if (s->filling == NULL) {
        struct batch *b = s->spare;
        s->spare = NULL;
        if (b == NULL)
            b = mem_calloc(1, sizeof *b);
        b->refs = 1;
        b->roll = s->roll_next;
        s->roll_next = false;
        s->filling = b;
    }
    return s->filling;
}

#define BATCH_KEEP_BYTES (256 * 1024)

static void batch_unref(struct server *s, struct batch *b) {
    if (--b->refs != 0)
        return;
    if (s->spare == NULL && b->data.cap <= BATCH_KEEP_BYTES) {
        b->data.len = 0;
        b->count = b->gathered = b->gather_turns = 0;
        s->spare = b;
        return;
    }
    buf_free(&b->data);
    mem_free(b);
}

void pipeline_propose(struct server *s, struct request *r, size_t offset, size_t len) {
    struct batch *b = s->filling;
    r->batch = b;
    r->offset = offset;
    r->len = len;
    b->refs++;
    if (b->count++ == 0) {
        b->cmd.first_zxid = r->zxid;
        b->opened = s->now.mono;
    }
    b->cmd.last_zxid = r->zxid;
    list_push(&s->outstanding, &r->txn_link);
    s->outstanding_count++;
    r->charged += len;
    s->queued_bytes += len;
    s->txns_since_snapshot++;
    metric_count(&s->metrics, METRIC_PREP_PROCESSOR_REQUEST_QUEUED, 1);
    metric_count(&s->metrics, METRIC_SYNC_PROCESSOR_REQUEST_QUEUED, 1);
    snapshotter_check_trigger(s);
    if (s->role->proposed != NULL)
        s->role->proposed(s, r);
}

struct slice request_payload(const struct request *r) {
    return (struct slice){(const char *)r->batch->data.data + r->offset, r->len};
}

uint64_t request_age_ms(const struct server *s, const struct request *r) {
    struct slice payload = request_payload(r);
    struct jute_in in = jute_in(payload.data, payload.len);
    return (uint64_t)i64_max(0, s->now.wall_ms - txn_header_get(&in).time_ms);
}

void pipeline_accept(struct server *s, zxid_t zxid, struct slice payload) {
    struct request *r = request_new(s, NULL, REQUEST_WRITE, 0, OP_ERROR, 0);
    struct buf *b = &pipeline_batch(s)->data;
    size_t entry = txnlog_entry_begin(b);
    size_t offset = b->len;
    buf_append(b, payload.data, payload.len);
    txnlog_entry_end(b, entry);
    s->last_prepared = zxid;
    r->zxid = zxid;
    pipeline_propose(s, r, offset, payload.len);
}

static uint64_t ms_since(const struct server *s, struct monotime then) {
    return (uint64_t)i64_max(0, mono_diff_us(s->now.mono, then)) / 1000;
}

static void submit(struct server *s, struct batch *b) {
    s->filling = NULL;
    s->writing = b;
    b->iov = (struct iovec){b->data.data, b->data.len};
    struct log_cmd *cmd = &b->cmd;
    *cmd = (struct log_cmd){.type = LOG_CMD_APPEND,
                            .roll = b->roll,
                            .sparing = diskguard_critical(s),
                            .first_zxid = cmd->first_zxid,
                            .last_zxid = cmd->last_zxid,
                            .iov = &b->iov,
                            .iov_count = 1,
                            .bytes = b->data.len};
    s->env.log_submit(s->env.ctx, cmd);
}

/* A start begins where the log ends, and the leader has the rest. */
static void skip_log(struct server *s) {
    struct batch *b = s->filling;
    s->filling = NULL;
    s->roll_next = s->roll_next || b->roll;
    s->unlogged = true;
    s->logged = b->cmd.last_zxid;
    batch_unref(s, b);
    s->role->logged(s, s->logged);
}

static void pipeline_submit(struct server *s) {
    if (s->writing != NULL || s->filling == NULL || s->filling->count == 0 || s->state == SERVER_FAILED)
        return;
    if (s->logless) {
        skip_log(s);
        return;
    }
    if (s->disk_full && mono_diff_us(s->disk_retry, s->now.mono) > 0)
        return;
    metric_sample(&s->metrics, METRIC_SYNC_PROCESSOR_BATCH_SIZE, s->filling->count);
    metric_sample(&s->metrics, METRIC_SYNC_PROCESSOR_QUEUE_SIZE, s->filling->count);
    metric_sample(&s->metrics, METRIC_SYNC_PROCESSOR_QUEUE_TIME_MS, ms_since(s, s->filling->opened));
    submit(s, s->filling);
}

static bool may_gather(const struct server *s) {
    const struct batch *b = s->filling;
    return s->writing == NULL && b != NULL && b->count > b->gathered && b->gather_turns < GATHER_TURNS &&
           b->data.len < GATHER_BYTES && !s->logless && !s->disk_full;
}

void pipeline_turn_end(struct server *s) {
    s->gathering = may_gather(s);
    if (s->gathering) {
        s->filling->gathered = s->filling->count;
        s->filling->gather_turns++;
    } else {
        pipeline_submit(s);
    }
}

bool pipeline_roll(struct server *s) {
    if (s->log_first == s->last_prepared + 1)
        return true;
    if (s->disk_full || s->writing != NULL || (s->filling != NULL && s->filling->count != 0))
        return false;
    zassert(s->role->standalone); /* else which zxid comes next is for a leader to say */
    struct batch *b = pipeline_batch(s);
    b->roll = true;
    b->cmd.first_zxid = s->last_prepared + 1;
    b->cmd.last_zxid = s->last_prepared;
    submit(s, b);
    return false;
}

#define DISK_RETRY_MS 200
/* By then the ballast has been given up, and it was not enough. */
#define SHED_AFTER_TRIES 4

static bool payload_grows(const struct txn *t) {
    struct slice rest = t->rest;
    struct txn sub;
    bool bad, grows = false;
    if (t->type != OP_MULTI)
        return request_op_grows(t->type);
    while (txn_sub_next(&rest, &sub, &bad)) {
        if (sub.type == OP_ERROR)
            return false;
        grows |= request_op_grows(sub.type);
    }
    return grows;
}

/* Encodes the transaction again at the end of the batch: as an error if it grows, else as it is, without its digest. */
static void shed_one(struct server *s, struct request *r, struct batch *to) {
    struct slice payload = request_payload(r);
    struct txn_header h;
    struct txn t;
    int32_t digest_version;
    uint64_t digest;
    bool decoded = txn_decode(payload, &h, &t, &digest_version, &digest);
    zassert(decoded);
    size_t entry = txnlog_entry_begin(&to->data);
    r->offset = to->data.len;
    if (payload_grows(&t)) {
        prepare_changes_applied(s, r);
        h.type = OP_ERROR;
        txn_header_put(&to->data, &h);
        txn_record_put(&to->data, &(struct txn){.type = OP_ERROR, .err = ZK_QUOTA_EXCEEDED});
    } else {
        buf_append(&to->data, payload.data, payload.len - (digest_version != 0 ? TXN_DIGEST_BYTES : 0));
    }
    r->len = to->data.len - r->offset;
    txnlog_entry_end(&to->data, entry);
}

/* More was on its way when the disk filled up than the reserve can take. Nothing of it is on the disk, applied or
 * answered, so what grows can still be refused; the rest keeps its zxids and goes on. The digests behind were predicted
 * with what is now refused: records may do without, and predictions start again once all of this has been applied. */
static void shed_growth(struct server *s, struct batch *b) {
    struct batch *to = mem_calloc(1, sizeof *to);
    struct request *r;
    to->refs = 1;
    to->roll = b->roll;
    to->count = b->count;
    to->cmd = b->cmd;
    to->opened = b->opened;
    LIST_FOREACH(r, &s->outstanding, struct request, txn_link) {
        if (r->batch != b)
            continue; /* committed already, not applied yet */
        shed_one(s, r, to);
        r->batch = to;
        to->refs++;
        b->refs--;
    }
    log_warn("the disk is full and its reserve is used up: writes under way that grow are refused (%zu bytes, %zu are left)",
             b->data.len, to->data.len);
    zassert(b->refs == 1);
    batch_unref(s, b);
    s->filling = to;
    s->digest_unknown = true;
    s->no_space_tries = 0;
}

/* No space: the same batch is tried again until there is some. Reads, pings and connections go on meanwhile. */
static void append_found_no_space(struct server *s) {
    struct batch *b = s->writing;
    s->writing = NULL;
    s->disk_full = true;
    diskguard_no_space(s);
    s->disk_retry = mono_add_ms(s->now.mono, DISK_RETRY_MS);
    uint64_t suppressed;
    if (log_limit_pass(&s->full_limit, s->now.mono.us, 10000000, &suppressed))
        log_error("the log's disk is full: writes wait, reads go on; trying again every %d ms", DISK_RETRY_MS);
    if (s->filling != NULL) {
        /* Both batches become one, so that order and the one-batch rule hold. */
        struct batch *f = s->filling;
        size_t base = b->data.len;
        buf_append(&b->data, f->data.data, f->data.len);
        b->count += f->count;
        b->cmd.last_zxid = f->cmd.last_zxid;
        struct request *r;
        LIST_FOREACH(r, &s->outstanding, struct request, txn_link) {
            if (r->batch == f) {
                r->batch = b;
                r->offset += base;
                b->refs++;
                f->refs--;
            }
        }
        s->roll_next = s->roll_next || f->roll;
        zassert(f->refs == 1);
        batch_unref(s, f);
    }
    s->filling = b;
    if (s->role->standalone && s->config->disk_reserve_bytes > 0 && ++s->no_space_tries == SHED_AFTER_TRIES)
        shed_growth(s, b);
}

/* A new log without a transaction is not worth a reserve: the roll is left to the next batch. */
static void roll_found_no_space(struct server *s) {
    s->writing = NULL;
    if (s->filling != NULL)
        s->filling->roll = true;
    else
        s->roll_next = true;
    diskguard_no_space(s);
}

void pipeline_append_done(struct server *s, struct log_cmd *cmd) {
    struct batch *b = s->writing;
    zassert(b != NULL && cmd == &b->cmd);
    if (b->count == 0 && (cmd->err == -ENOSPC || cmd->err == -EDQUOT)) {
        roll_found_no_space(s);
        batch_unref(s, b);
        return;
    }
    if (cmd->err == -ENOSPC || cmd->err == -EDQUOT) {
        append_found_no_space(s);
        return;
    }
    if (cmd->err != 0) {
        server_fail(s, "the transaction log could not be written (%s: %s); acknowledged writes are safe, the server stops",
                    cmd->err_what != NULL ? cmd->err_what : "write", strerror(-cmd->err));
        return;
    }
    if (s->disk_full) {
        s->disk_full = false;
        s->no_space_tries = 0;
        diskguard_space_again(s);
        log_info("the log's disk takes writes again");
    }
    s->writing = NULL;
    s->log_bytes_since_snapshot += (int64_t)cmd->bytes;
    diskguard_log_grew(s, cmd->file_size - (cmd->roll ? s->log_padding : s->log_file_size), cmd->roll);
    s->log_file_size = cmd->file_size;
    s->log_padding = cmd->file_size - cmd->file_position;
    s->log_first = cmd->roll ? cmd->first_zxid : s->log_first;
    if (s->config->txnlog_size_limit_kib > 0 && cmd->file_size > s->config->txnlog_size_limit_kib * 1024)
        s->roll_next = true;
    metric_sample(&s->metrics, METRIC_FSYNCTIME, (uint64_t)cmd->sync_us / 1000);
    metric_sample(&s->metrics, METRIC_SYNC_PROCESSOR_QUEUE_FLUSH_TIME_MS, (uint64_t)cmd->sync_us / 1000);
    if (b->count != 0)
        metric_sample(&s->metrics, METRIC_SYNC_PROCESSOR_QUEUE_AND_FLUSH_TIME_MS, ms_since(s, b->opened));
    metric_basic_add(&s->metrics.fsync_us, (uint64_t)cmd->sync_us);
    if (cmd->sync_us / 1000 > s->config->fsync_warning_threshold_ms) {
        s->metrics.fsync_threshold_exceeded++;
        uint64_t suppressed;
        if (log_limit_pass(&s->slow_sync_limit, s->now.mono.us, 1000000, &suppressed))
            log_warn("syncing the transaction log took %lld ms, writes waited for it (file size %lld bytes)",
                     (long long)(cmd->sync_us / 1000), (long long)cmd->file_size);
    }
    s->logged = cmd->last_zxid;
    batch_unref(s, b);
    s->role->logged(s, s->logged);
    pipeline_apply(s);
}

/* ------------------------------------------------------------------ requests */

struct request *request_new(struct server *s, struct conn *c, enum request_kind kind, int32_t xid, int32_t op,
                            size_t body_len) {
    struct request *r = mem_alloc(sizeof *r + body_len);
    *r = (struct request){.conn = c,
                          .kind = kind,
                          .xid = xid,
                          .op = op,
                          .received = s->now.mono,
                          .charged = body_len,
                          .body_len = body_len};
    s->queued_bytes += body_len;
    list_init(&r->conn_link);
    list_init(&r->txn_link);
    if (c != NULL) {
        r->identities = c->identities.count;
        r->session_id = c->session_id;
        list_push(&c->requests, &r->conn_link);
        r->origin = OWNER_SELF;
        if (xid > 0)
            c->in_flight++;
    }
    s->pipeline_count++;
    return r;
}

static void record_latency(struct server *s, struct conn *c, const struct request *r) {
    uint64_t us = (uint64_t)i64_max(0, mono_diff_us(s->now.mono, r->received));
    metrics_latency(&s->metrics, r->op, us);
    c->latency_last_us = (uint32_t)size_min(us, UINT32_MAX);
    if (c->latency_count++ == 0 || c->latency_last_us < c->latency_min_us)
        c->latency_min_us = c->latency_last_us;
    if (c->latency_last_us > c->latency_max_us)
        c->latency_max_us = c->latency_last_us;
    c->latency_sum_us += us;
}

void request_done(struct server *s, struct request *r) {
    if (r->conn != NULL) {
        record_latency(s, r->conn, r);
        if (r->xid > 0)
            r->conn->in_flight--;
    }
    list_remove(&r->conn_link);
    list_remove(&r->txn_link);
    if (r->keeper != NULL)
        *r->keeper = NULL;
    s->pipeline_count--;
    s->queued_bytes -= r->charged;
    s->large_bytes -= r->large;
    buf_free(&r->stat_results);
    if (r->remote != NULL) {
        identity_set_free(r->remote);
        mem_free(r->remote);
    }
    mem_free(r);
}

void server_synced(struct server *s, struct request *r) {
    r->kind = REQUEST_READ;
    if (r->conn == NULL)
        request_done(s, r);
    else
        request_run_reads(s, r->conn);
    /* Nothing need be applied for a long time. */
    server_resume_paused(s);
}

static zxid_t refusal_zxid(const struct server *s, const struct request *r) {
    switch (r->error) {
    case ZK_UNIMPLEMENTED:
        return -1;
    case ZK_NO_AUTH: /* enableEagerACLCheck */
        return 0;
    default:
        return s->last_applied;
    }
}

void request_run_reads(struct server *s, struct conn *c) {
    while (!list_empty(&c->requests)) {
        struct request *r = LIST_FIRST(&c->requests, struct request, conn_link);
        if (r->kind != REQUEST_READ && r->kind != REQUEST_REFUSED)
            break;
        /* Nobody is answered on a connection that closes, but what is behind goes on. */
        c->mute |= c->close != CONN_OPEN;
        if (c->close == CONN_OPEN && r->kind == REQUEST_REFUSED)
            conn_reply_header(c, r->xid, refusal_zxid(s, r), r->error);
        else if (c->close == CONN_OPEN)
            reads_execute(s, c, r->xid, r->op, (struct slice){(const char *)r->body, r->body_len}, r->identities);
        request_done(s, r);
    }
}

/* ------------------------------------------------------------------ apply */

/* On a learner: the request of a client of ours that this transaction answers, or NULL. */
static struct request *find_forwarded(const struct server *s, const struct request *r) {
    struct jute_in in = jute_in(r->batch->data.data + r->offset, r->len);
    struct txn_header h = txn_header_get(&in);
    const struct session *session = session_find(&s->sessions, h.client_id);
    struct request *first = NULL, *each;
    if (session == NULL || session->conn == NULL)
        return NULL;
    LIST_FOREACH(each, &session->conn->requests, struct request, conn_link)
        if (each->forwarded) {
            first = each;
            break;
        }
    if (first == NULL || first->xid != h.cxid || (first->op == OP_CREATE_SESSION) != (h.type == OP_CREATE_SESSION))
        return NULL;
    first->zxid = r->zxid;
    return first;
}

/* Before the write stand syncs that nobody has confirmed yet, and what waits for them. The write confirms them: it was
 * proposed behind them and has a quorum, so nobody else led when they came. */
static void answer_before(struct server *s, struct conn *c, const struct request *waiting) {
    while (c->requests.next != &waiting->conn_link) {
        struct request *first = LIST_FIRST(&c->requests, struct request, conn_link);
        if (first->kind == REQUEST_SYNC)
            first->kind = REQUEST_READ;
        zassert(first->kind == REQUEST_READ || first->kind == REQUEST_REFUSED);
        request_run_reads(s, c);
    }
}

static void apply_first(struct server *s) {
    struct request *r = LIST_FIRST(&s->outstanding, struct request, txn_link);
    struct request *forwarded = s->role->orders ? NULL : find_forwarded(s, r);
    struct request *waiting = forwarded != NULL ? forwarded : r;
    struct conn *c = waiting->conn;
    struct batch *b = r->batch;
    if (c != NULL)
        answer_before(s, c, waiting);
    zassert(r->zxid == s->last_applied + 1 || zxid_epoch(r->zxid) > zxid_epoch(s->last_applied));
    bool decoded = apply_payload(s, request_payload(r), waiting);
    zassert(decoded);
    prepare_changes_applied(s, r);
    s->outstanding_count--;
    batch_unref(s, b);
    request_done(s, r);
    if (forwarded != NULL)
        request_done(s, forwarded);
    if (c != NULL)
        request_run_reads(s, c);
}

/* In an ensemble: what was committed and waited, and what of it was applied in this turn. */
static void note_applied(struct server *s, uint64_t waiting, uint64_t applied) {
    if (s->quorum == NULL || applied == 0)
        return;
    metric_count(&s->metrics, METRIC_REQUEST_COMMIT_QUEUED, applied);
    metric_sample(&s->metrics, METRIC_WRITE_COMMIT_PROC_REQ_QUEUED, waiting);
    metric_sample(&s->metrics, METRIC_COMMIT_COMMIT_PROC_REQ_QUEUED, applied);
    metric_sample(&s->metrics, METRIC_WRITE_COMMIT_PROC_ISSUED, applied);
}

bool pipeline_apply(struct server *s) {
    /* Bounded by count and bytes rather than by a clock, which the core does not read. */
    size_t bytes = 0;
    unsigned count = 0;
    uint64_t waiting = s->outstanding_count, applied = 0;
    while (!list_empty(&s->outstanding)) {
        struct request *r = LIST_FIRST(&s->outstanding, struct request, txn_link);
        if (r->zxid > s->committed)
            break;
        if (count >= APPLY_SLICE_TXNS || bytes > APPLY_SLICE_BYTES) {
            note_applied(s, waiting, applied);
            return true;
        }
        uint64_t nodes = tree_count(s->tree);
        bytes += r->len;
        applied++;
        apply_first(s);
        /* The end of a session is one small transaction that can delete many znodes. */
        uint64_t left = tree_count(s->tree);
        count += 1 + (unsigned)(left < nodes ? nodes - left : 0);
    }
    if (s->digest_unknown && list_empty(&s->outstanding)) {
        s->digest_unknown = false;
        s->prepared_digest = tree_digest(s->tree);
    }
    note_applied(s, waiting, applied);
    if (count != 0)
        server_resume_paused(s);
    return false;
}
