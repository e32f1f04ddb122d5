/* Follower and observer: connects to the leader, is brought up to its history, then logs what is proposed and applies what
 * is committed. Steps and their order: docs/protocol/zab.md sections 5, 6, 10 to 13; what must never happen: section 19.
 *
 * Proposals go to the log as soon as they come, also before NEWLEADER; only the acknowledgements wait. Nothing is
 * acknowledged before NEWLEADER is, and that not before all that came before it is durable and currentEpoch is written. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "quorum/quorum_internal.h"
#include "store/snapscan.h"
#include "store/snapshot.h"

#define CONNECT_FIRST_DELAY_MS 2
/* Whoever was elected and does not listen by then will not lead. */
#define CONNECT_TOTAL_MS 2000
#define PACKET_DATA_MAX (1u << 30)
#define ITEM_MAX (1u << 30)
/* Received and not written yet: above this the link is not read. */
#define SNAP_QUEUE_BYTES (8u << 20)
#define SNAP_CHUNK_BYTES (256u << 10)
/* The same of history that waits for the log. */
#define HISTORY_QUEUE_BYTES (8u << 20)
/* Before a snapshot that did not fit on the disk is asked for again. */
#define SNAP_NO_SPACE_REST_MS 5000

static const char snap_signature[] = "\0\0\0\x0a" "BenWasHere";
#define SNAP_SIGNATURE_BYTES (sizeof snap_signature - 1)

enum learner_state {
    LEARNER_DIALLING,
    LEARNER_RETRYING,
    LEARNER_HELLO,         /* FOLLOWERINFO sent */
    LEARNER_EPOCH_WRITE,   /* the new epoch is promised as soon as acceptedEpoch is durable */
    LEARNER_EPOCH_ACKED,   /* the leader decides how to bring us up to date */
    LEARNER_SNAP,          /* a snapshot is coming */
    LEARNER_SNAP_FINISH,   /* its file is completed */
    LEARNER_RELOAD_WAIT,   /* clients have to go before the database is replaced */
    LEARNER_RELOAD,        /* the database is cut or replaced, and loaded again */
    LEARNER_SYNCING,       /* history comes */
    LEARNER_NEWLEADER,     /* it is complete: waiting until all of it is durable */
    LEARNER_CURRENT_WRITE, /* currentEpoch is written */
    LEARNER_SYNCED,        /* acknowledged; waiting for UPTODATE */
    LEARNER_PROVING,       /* up to date, but not to be trusted yet: does the leader still lead? */
    LEARNER_SERVING,
};

/* A client that wants to go on with a session here. */
struct renewal {
    struct list link;
    session_id_t session;
    int32_t timeout_ms;
    uint32_t slot;
};

/* A sync of a client; the leader answers them in order, without a word about which one. */
struct asked_sync {
    struct list link;
    struct request *r; /* NULL: it has gone, or was overtaken */
    zxid_t zxid;       /* once confirmed: what must be applied before */
};

/* The snapshot on its way into a file: one job at a time works on it. */
struct receiving {
    struct job job;
    struct server *s;
    struct learner *owner; /* NULL: the learner has gone, the job's end cleans up */
    struct snapwriter *writer;
    char name[STORE_NAME_MAX];
    struct buf queued;  /* received, not with the job yet */
    struct buf writing; /* the job's */
    bool busy, end, finish, finished;
    int err;
};

struct learner {
    struct quorum *q;
    int64_t leader_sid;
    bool observes;
    enum learner_state state;
    struct link *link;
    struct monotime deadline; /* without a packet until then the leader is lost */
    struct monotime give_up;  /* when dialling ends */
    struct monotime last_retry; /* who refuses until then does so for good */
    struct monotime retry_at;
    int64_t retry_ms;

    struct monotime sync_began;
    int64_t epoch;
    zxid_t acked;     /* all proposals up to it were acknowledged */
    zxid_t accepted;  /* the newest proposal of this link; 0 = none */
    zxid_t history_end; /* the last one before NEWLEADER */
    bool config_comes; /* NEWLEADER had a configuration, which UPTODATE makes active */
    struct list *uncommitted; /* txn_link of the first proposal without its COMMIT, NULL = none */
    bool acks;        /* NEWLEADER was acknowledged */
    bool held;        /* the link is not read until our disk has caught up */
    zxid_t snap_zxid;
    bool asks_for_snapshot;
    struct snapscan scan;
    size_t signature_seen;
    struct receiving *receiving;
    struct reload *reload;

    struct list renewals;       /* struct renewal */
    struct list syncs, synced;  /* struct asked_sync: asked for; confirmed */
    struct buf touched;         /* session ids */
    struct buf out;             /* scratch for packets */
};

static const struct role_ops role_follower, role_observer;

static struct now now_of(const struct learner *l) { return l->q->s->now; }

/* ------------------------------------------------------------------ sending */

static void flush(struct learner *l) {
    if (l->out.len != 0)
        l->q->links->send(l->q->links_ctx, l->link, l->out.data, l->out.len);
    buf_clear(&l->out);
}

static void send_packet(struct learner *l, int32_t type, zxid_t zxid, struct slice data) {
    quorum_packet_put(&l->out, &(struct quorum_packet){.type = type, .zxid = zxid, .data = data});
    flush(l);
}

/* Of each sync the newest proposal: how long until it could be acknowledged. */
static void note_latency(const struct learner *l, zxid_t zxid) {
    struct server *s = l->q->s;
    for (struct list *each = s->outstanding.prev; each != &s->outstanding; each = each->prev) {
        const struct request *r = CONTAINER_OF(each, struct request, txn_link);
        if (r->zxid == zxid)
            metric_sample(&s->metrics, METRIC_PROPOSAL_ACK_CREATION_LATENCY, request_age_ms(s, r));
        if (r->zxid <= zxid)
            return;
    }
}

/* I1, I2: only what is synced, in order. */
static void send_acks(struct learner *l) {
    struct server *s = l->q->s;
    if (!l->acks || l->observes || l->link == NULL)
        return;
    zxid_t last = s->logged < l->accepted ? s->logged : l->accepted;
    if (l->acked < last)
        note_latency(l, last);
    while (l->acked < last) {
        l->acked++;
        quorum_packet_put(&l->out, &(struct quorum_packet){.type = PACKET_ACK, .zxid = l->acked});
    }
    flush(l);
}

/* ------------------------------------------------------------------ connecting */

static const struct link_events learner_events;

static void dial(struct learner *l) {
    struct quorum *q = l->q;
    const struct qserver *leader = qconfig_find(q->committed, l->leader_sid);
    struct link_address addresses[16];
    int count = 0;
    if (leader == NULL) {
        quorum_leave(q, "the leader, %" PRId64 ", is not in our configuration", l->leader_sid);
        return;
    }
    for (; count < leader->address_count && count < (int)ARRAY_LEN(addresses); count++)
        addresses[count] = (struct link_address){leader->addresses[count].host, leader->addresses[count].quorum_port};
    l->state = LEARNER_DIALLING;
    int64_t left_ms = mono_diff_us(l->give_up, now_of(l).mono) / 1000;
    l->link = q->links->dial(q->links_ctx, addresses, count, i64_max(left_ms, 100), &learner_events, l);
}

static void on_opened(struct link *link) {
    struct learner *l = link->owner;
    struct quorum *q = l->q;
    struct buf data = BUF_INIT;
    learner_info_put(&data, &(struct learner_info){.has_sid = true,
                                                   .sid = q->sid,
                                                   .protocol_version = LEARNER_PROTOCOL_VERSION,
                                                   .config_version = q->committed->version});
    l->state = LEARNER_HELLO;
    l->deadline = mono_add_ms(now_of(l).mono, quorum_ticks_ms(q, q->s->config->init_limit_ticks));
    send_packet(l, l->observes ? PACKET_OBSERVERINFO : PACKET_FOLLOWERINFO, zxid_make(q->epochs.accepted, 0),
                (struct slice){(const char *)data.data, data.len});
    buf_free(&data);
}

static void on_closed(struct link *link, const char *reason) {
    struct learner *l = link->owner;
    l->link = NULL;
    if (l->state != LEARNER_DIALLING) {
        quorum_leave(l->q, "the leader's connection is lost: %s", reason);
        return;
    }
    if (mono_diff_us(l->last_retry, now_of(l).mono) <= 0) {
        quorum_leave(l->q, "the leader, %" PRId64 ", cannot be reached: %s", l->leader_sid, reason);
        return;
    }
    l->state = LEARNER_RETRYING;
    l->retry_at = mono_add_ms(now_of(l).mono, l->retry_ms);
    l->retry_ms = l->retry_ms * 2;
    if (l->retry_ms > l->q->s->config->leader_connect_delay_ms)
        l->retry_ms = i64_max(1, l->q->s->config->leader_connect_delay_ms);
}

/* ------------------------------------------------------------------ discovery */

/* Nobody counts the answer to an epoch that was accepted before, so it may tell of an empty history. */
static void ack_epoch(struct learner *l, int32_t current) {
    struct buf data = BUF_INIT;
    packet_int_put(&data, current);
    l->state = LEARNER_EPOCH_ACKED;
    l->sync_began = now_of(l).mono;
    l->asks_for_snapshot = current == -1 && l->q->snapshot_epoch == l->epoch;
    send_packet(l, PACKET_ACKEPOCH, l->asks_for_snapshot ? 0 : l->q->s->logged,
                (struct slice){(const char *)data.data, data.len});
    buf_free(&data);
}

static void accepted_written(struct quorum *q) { ack_epoch(q->learner, (int32_t)q->epochs.current); }

static void take_leader_info(struct learner *l, const struct quorum_packet *p) {
    struct quorum *q = l->q;
    int64_t epoch = zxid_epoch(p->zxid);
    if (p->type != PACKET_LEADERINFO) {
        quorum_leave(q, "%s from the leader in place of LEADERINFO", packet_name(p->type));
    } else if (epoch < q->epochs.accepted) {
        /* I6 */
        quorum_leave(q, "the leader's epoch, %" PRId64 ", is older than the one that we accepted, %" PRId64, epoch,
                     q->epochs.accepted);
    } else if (epoch == q->epochs.accepted) {
        l->epoch = epoch;
        ack_epoch(l, -1); /* I7 */
    } else {
        l->epoch = epoch;
        l->state = LEARNER_EPOCH_WRITE;
        quorum_write_epoch(q, EPOCH_ACCEPTED, epoch, accepted_written);
    }
}

/* ------------------------------------------------------------------ the database is replaced */

static void pause(struct learner *l, bool on) {
    if (l->link != NULL)
        l->q->links->pause(l->q->links_ctx, l->link, on);
}

/* What stands in our snapshots was never committed, and they do not reach back behind it. */
static void cannot_rewind(struct reload *r, struct learner *l) {
    struct quorum *q = r->s->quorum;
    if (l != NULL) {
        q->snapshot_epoch = l->epoch;
        l->reload = NULL;
        quorum_leave(q, "our history cannot end at 0x%llx: the leader has to send a snapshot", (unsigned long long)r->zxid);
    }
    mem_free(r);
}

static void reload_done(struct log_cmd *cmd) {
    struct reload *r = CONTAINER_OF(cmd, struct reload, cmd);
    struct server *s = r->s;
    struct quorum *q = s->quorum;
    struct learner *l = q->learner;
    bool ours = l != NULL && l->reload == r;
    if (cmd->err == -ENODATA) {
        cannot_rewind(r, ours ? l : NULL);
        return;
    }
    if (cmd->err == -ENOSPC) {
        quorum_reload_later(q, r);
        return;
    }
    if (cmd->err != 0) {
        server_fail(s, "the history could not be brought to 0x%llx: %s", (unsigned long long)r->zxid,
                    r->result.status != RECOVERY_OK && r->result.message[0] ? r->result.message : strerror(-cmd->err));
    } else {
        /* Whether the role has ended or not: this is what stands on the disk now. */
        reload_swap(r);
        /* A Java leader's tree changes while it is sent. Until NEWLEADER it need not be that of any one moment. */
        if (ours && r->tmp_name[0] != '\0')
            s->digest_from = INT64_MAX;
        log_info("the database is at 0x%llx now", (unsigned long long)s->last_applied);
        quorum_reload_config(q);
    }
    zxid_t wanted = r->zxid;
    reload_free(r);
    mem_free(r);
    if (!ours)
        return;
    l->reload = NULL;
    l->state = LEARNER_SYNCING;
    l->deadline = mono_add_ms(s->now.mono, quorum_ticks_ms(q, s->config->init_limit_ticks));
    /* What the leader sends now would not go on where we end. Next time it hears where that is. */
    if (s->last_applied != wanted && zxid_counter(wanted) != 0)
        quorum_leave(q, "our history has no 0x%llx", (unsigned long long)wanted);
    pause(l, false);
}

static void try_reload(struct learner *l) {
    struct server *s = l->q->s;
    if (!reload_possible(s))
        return;
    l->state = LEARNER_RELOAD;
    l->reload->cmd.done = reload_done;
    reload_submit(l->reload);
}

static void start_reload(struct learner *l, zxid_t zxid, const char *tmp_name) {
    l->reload = mem_calloc(1, sizeof *l->reload);
    l->reload->s = l->q->s;
    l->reload->zxid = zxid;
    snprintf(l->reload->tmp_name, sizeof l->reload->tmp_name, "%s", tmp_name);
    l->state = LEARNER_RELOAD_WAIT;
    pause(l, true);
    try_reload(l);
}

/* ------------------------------------------------------------------ a snapshot comes */

static void receiving_run(struct job *job, const struct disk *disk) {
    struct receiving *r = CONTAINER_OF(job, struct receiving, job);
    struct buf header = BUF_INIT;
    int64_t size;
    if (r->writer == NULL && r->err == 0) {
        r->writer = snapwriter_open(disk, r->name, SNAPSHOT_PLAIN, &r->err);
        snapshot_put_header(&header);
        if (r->writer != NULL)
            r->err = snapwriter_write(r->writer, header.data, header.len);
        buf_free(&header);
    }
    if (r->err == 0 && r->writing.len != 0)
        r->err = snapwriter_write(r->writer, r->writing.data, r->writing.len);
    if (r->err == 0 && r->finish) {
        r->err = snapwriter_seal(r->writer);
        if (r->err == 0)
            r->err = snapwriter_finish(r->writer, &size);
        r->finished = r->err == 0;
        snapwriter_close(r->writer);
        r->writer = NULL;
    }
    buf_free(&r->writing);
}

/* The file of a snapshot that nobody needs any more; a job, because it blocks. */
struct discard {
    struct job job;
    struct snapwriter *writer; /* NULL: the file is complete */
    char name[STORE_NAME_MAX];
};

static void discard_run(struct job *job, const struct disk *disk) {
    struct discard *x = CONTAINER_OF(job, struct discard, job);
    if (x->writer != NULL)
        snapwriter_close(x->writer);
    else
        disk->unlink(disk->ctx, DISK_SNAP, x->name);
}

static void discard_done(struct job *job) { mem_free(CONTAINER_OF(job, struct discard, job)); }

static void discard_file(struct server *s, struct snapwriter *writer, const char *name) {
    struct discard *x = mem_calloc(1, sizeof *x);
    x->job.run = discard_run;
    x->job.done = discard_done;
    x->writer = writer;
    snprintf(x->name, sizeof x->name, "%s", name);
    s->env.job_submit(s->env.ctx, &x->job);
}

static void receiving_free(struct receiving *r) {
    if (r->writer != NULL || r->finished)
        discard_file(r->s, r->writer, r->name);
    buf_free(&r->queued);
    buf_free(&r->writing);
    mem_free(r);
}

static void receiving_go_on(struct receiving *r);

static void receiving_done(struct job *job) {
    struct receiving *r = CONTAINER_OF(job, struct receiving, job);
    struct learner *l = r->owner;
    r->busy = false;
    if (l == NULL) {
        receiving_free(r);
        return;
    }
    if (l->q->leaving)
        return;
    if (r->err != 0) {
        if (r->err == -ENOSPC || r->err == -EDQUOT)
            quorum_stand_back(l->q, SNAP_NO_SPACE_REST_MS);
        quorum_leave(l->q, "the leader's snapshot cannot be written: %s", strerror(-r->err));
        return;
    }
    if (r->finished) {
        l->receiving = NULL;
        start_reload(l, l->snap_zxid, r->name);
        r->finished = false; /* the file is the reload's now */
        receiving_free(r);
        return;
    }
    receiving_go_on(r);
    if (l->state == LEARNER_SNAP && r->queued.len < SNAP_QUEUE_BYTES / 2)
        pause(l, false);
}

static void receiving_go_on(struct receiving *r) {
    if (r->busy || (r->queued.len < SNAP_CHUNK_BYTES && !r->end))
        return;
    r->busy = true;
    r->writing = r->queued;
    r->queued = BUF_INIT;
    r->finish = r->end;
    r->job.run = receiving_run;
    r->job.done = receiving_done;
    r->s->env.job_submit(r->s->env.ctx, &r->job);
}

static void start_receiving(struct learner *l, zxid_t zxid) {
    log_info("the leader sends a snapshot at 0x%llx", (unsigned long long)zxid);
    l->state = LEARNER_SNAP;
    l->snap_zxid = zxid;
    l->signature_seen = 0;
    snapscan_init(&l->scan, ITEM_MAX);
    l->receiving = mem_calloc(1, sizeof *l->receiving);
    l->receiving->s = l->q->s;
    l->receiving->owner = l;
    snprintf(l->receiving->name, sizeof l->receiving->name, STORE_TMP_PREFIX "received.%" PRIu64 STORE_TMP_SUFFIX,
             l->q->generation);
}

/* Bytes of the stream; returns how many belong to it. */
static size_t take_snapshot(struct learner *l, const uint8_t *data, size_t len) {
    size_t used = 0;
    if (!l->scan.done) {
        used = snapscan_feed(&l->scan, data, len);
        if (l->scan.failed) {
            quorum_leave(l->q, "the leader's snapshot does not decode");
            return used;
        }
        buf_append(&l->receiving->queued, data, used);
        if (l->receiving->queued.len > SNAP_QUEUE_BYTES)
            pause(l, true);
    }
    while (l->scan.done && used < len && l->signature_seen < SNAP_SIGNATURE_BYTES) {
        if (data[used++] != (uint8_t)snap_signature[l->signature_seen++]) {
            quorum_leave(l->q, "the leader's snapshot lacks its signature");
            return used;
        }
    }
    if (l->signature_seen == SNAP_SIGNATURE_BYTES) {
        l->state = LEARNER_SNAP_FINISH;
        l->receiving->end = true;
        pause(l, true);
    }
    receiving_go_on(l->receiving);
    return used;
}

/* ------------------------------------------------------------------ history and proposals */

static void take_sync_decision(struct learner *l, const struct quorum_packet *p) {
    struct server *s = l->q->s;
    if (l->asks_for_snapshot && p->type != PACKET_SNAP) {
        quorum_leave(l->q, "%s from the leader, we need a snapshot", packet_name(p->type));
        return;
    }
    switch (p->type) {
    case PACKET_DIFF:
        l->state = LEARNER_SYNCING;
        break;
    case PACKET_TRUNC:
        log_info("the leader asks to forget all behind 0x%llx; we are at 0x%llx", (unsigned long long)p->zxid,
                 (unsigned long long)s->logged);
        if (p->zxid < 0 || p->zxid > s->last_applied)
            quorum_leave(l->q, "the leader thinks that we have more than we have");
        else if (p->zxid < s->last_applied)
            start_reload(l, p->zxid, "");
        else
            l->state = LEARNER_SYNCING;
        break;
    case PACKET_SNAP:
        if (p->zxid < 0 || zxid_epoch(p->zxid) > l->epoch)
            quorum_leave(l->q, "a snapshot at 0x%llx in epoch %" PRId64, (unsigned long long)p->zxid, l->epoch);
        else
            start_receiving(l, p->zxid);
        break;
    default:
        quorum_leave(l->q, "%s from the leader in place of DIFF, TRUNC or SNAP", packet_name(p->type));
    }
}

/* Can it stand in the log behind what is there? Recovery, and everybody who gets it from us, must be able to tell that nothing
 * is missing (I12), and to decode it (I23). */
static bool fits(struct learner *l, zxid_t zxid, const struct txn_header *h, const struct txn *t) {
    zxid_t last = l->q->s->last_prepared;
    const char *why = NULL;
    if (h->zxid != zxid)
        why = "its header says another zxid";
    else if (t->type == OP_CHECK)
        why = "no server can read such a transaction back";
    else if (zxid_epoch(h->zxid) > l->epoch)
        why = "the leader is of an older epoch";
    else if (h->zxid > last + 1 && (zxid_epoch(h->zxid) <= zxid_epoch(last) || zxid_counter(h->zxid) != 1))
        why = "something is missing between";
    if (why != NULL)
        quorum_leave(l->q, "proposal 0x%llx behind 0x%llx: %s", (unsigned long long)zxid, (unsigned long long)last, why);
    return why == NULL;
}

/* One after the other, and none twice. */
static bool accept(struct learner *l, zxid_t zxid, struct slice payload) {
    struct server *s = l->q->s;
    struct txn_header h;
    struct txn t;
    int32_t digest_version;
    uint64_t digest;
    if (payload.data == NULL || !txn_decode(payload, &h, &t, &digest_version, &digest)) {
        quorum_leave(l->q, "a proposal that does not decode");
        return false;
    }
    if (!fits(l, zxid, &h, &t))
        return false;
    if (h.zxid <= s->last_prepared) {
        log_warn("proposal 0x%llx is here already", (unsigned long long)h.zxid);
        return true;
    }
    metric_count(&s->metrics, METRIC_LEARNER_PROPOSAL_RECEIVED_COUNT, 1);
    metric_sample(&s->metrics, METRIC_PROPOSAL_LATENCY, (uint64_t)i64_max(0, s->now.wall_ms - h.time_ms));
    if (t.type == OP_RECONFIG)
        quorum_see_config(l->q, t.data);
    pipeline_accept(s, h.zxid, payload);
    if (l->uncommitted == NULL)
        l->uncommitted = s->outstanding.prev;
    if (zxid_epoch(h.zxid) == l->epoch) {
        if (l->accepted == 0)
            l->acked = h.zxid - 1;
        l->accepted = h.zxid;
    }
    return true;
}

static void commit(struct learner *l, zxid_t zxid) {
    struct server *s = l->q->s;
    struct request *next = l->uncommitted != NULL ? CONTAINER_OF(l->uncommitted, struct request, txn_link) : NULL;
    metric_count(&s->metrics, METRIC_LEARNER_COMMIT_RECEIVED_COUNT, 1);
    if (zxid <= s->committed)
        return;
    /* I18 */
    if (next == NULL || next->zxid != zxid) {
        quorum_leave(l->q, "COMMIT 0x%llx, but 0x%llx is next", (unsigned long long)zxid,
                     (unsigned long long)(next != NULL ? next->zxid : 0));
        return;
    }
    s->committed = zxid;
    metric_sample(&s->metrics, METRIC_COMMIT_PROPAGATION_LATENCY, request_age_ms(s, next));
    l->uncommitted = next->txn_link.next != &s->outstanding ? next->txn_link.next : NULL;
}

static void take_new_leader(struct learner *l, const struct quorum_packet *p) {
    if (zxid_epoch(p->zxid) != l->epoch || zxid_counter(p->zxid) != 0) {
        quorum_leave(l->q, "NEWLEADER 0x%llx in epoch %" PRId64, (unsigned long long)p->zxid, l->epoch);
        return;
    }
    if (p->data.len > 1) {
        quorum_see_config(l->q, p->data);
        l->config_comes = true;
    }
    l->state = LEARNER_NEWLEADER;
    l->history_end = l->q->s->last_prepared;
    /* What the leader had applied while it sent a snapshot was committed before this. */
    if (l->q->s->digest_from == INT64_MAX)
        l->q->s->digest_from = l->q->s->committed + 1;
}

/* I3, I4, I5, I8. */
static void current_written(struct quorum *q) {
    struct learner *l = q->learner;
    struct server *s = q->s;
    l->state = LEARNER_SYNCED;
    l->acks = true;
    if (l->acked < s->committed && zxid_epoch(s->committed) == l->epoch)
        l->acked = s->committed;
    send_packet(l, PACKET_ACK, zxid_make(l->epoch, 0), SLICE_NULL);
    send_acks(l);
}

static void try_new_leader(struct learner *l) {
    struct quorum *q = l->q;
    if (l->state != LEARNER_NEWLEADER || q->s->logged < l->history_end)
        return;
    if (q->epochs.current == l->epoch) {
        current_written(q);
        return;
    }
    l->state = LEARNER_CURRENT_WRITE;
    quorum_write_epoch(q, EPOCH_CURRENT, l->epoch, current_written);
}

/* Whoever has lost its history counts again when it has that of the leader. A leader that has been deposed may not know it, and
 * then its history is not that of all: it has to confirm, as for the sync of a client, that a quorum without us follows it. */
static void ask_for_proof(struct learner *l) {
    struct buf data = BUF_INIT, body = BUF_INIT;
    jute_put_bytes(&body, SLICE_LIT("/"));
    forwarded_request_put(&data, &(struct forwarded_request){
                                     .type = OP_SYNC, .body = {(const char *)body.data, body.len}});
    l->state = LEARNER_PROVING;
    send_packet(l, PACKET_REQUEST, -1, (struct slice){(const char *)data.data, data.len});
    buf_free(&data);
    buf_free(&body);
}

static void take_up_to_date(struct learner *l) {
    struct quorum *q = l->q;
    if (l->state != LEARNER_SYNCED) {
        quorum_leave(q, "UPTODATE comes too early");
        return;
    }
    if (l->config_comes && quorum_activate_config(q, -1)) {
        quorum_leave(q, "another configuration is active");
        return;
    }
    if (l->observes && !quorum_observer(q)) {
        ask_for_proof(l);
        return;
    }
    l->state = LEARNER_SERVING;
    quorum_established(q, l->epoch);
    metric_sample(&q->s->metrics, l->observes ? METRIC_OBSERVER_SYNC_TIME : METRIC_FOLLOWER_SYNC_TIME,
                  (uint64_t)mono_diff_us(now_of(l).mono, l->sync_began) / 1000);
    server_serve(q->s, quorum_observer(q) ? &role_observer : &role_follower);
    send_packet(l, PACKET_ACK, zxid_make(l->epoch, 0), SLICE_NULL);
}

/* ------------------------------------------------------------------ in service */

static void answer_ping(struct learner *l, zxid_t zxid) {
    struct sessions *sessions = &l->q->s->sessions;
    struct buf data = BUF_INIT;
    for (size_t at = 0; at < l->touched.len; at += sizeof(session_id_t)) {
        session_id_t id;
        memcpy(&id, l->touched.data + at, sizeof id);
        struct session *session = session_find(sessions, id);
        if (session == NULL || !session->reported)
            continue;
        session->reported = false;
        touch_put(&data, id, session->live_timeout_ms);
    }
    buf_clear(&l->touched);
    send_packet(l, PACKET_PING, zxid, (struct slice){data.data != NULL ? (const char *)data.data : "", data.len});
    buf_free(&data);
}

static void take_renewal(struct learner *l, struct slice data) {
    struct server *s = l->q->s;
    session_id_t id;
    bool valid;
    struct renewal *r;
    if (!revalidate_reply_get(data, &id, &valid))
        return;
    LIST_FOREACH(r, &l->renewals, struct renewal, link) {
        if (r->session != id)
            continue;
        struct conn *c = s->slots[r->slot];
        if (c != NULL && c->connecting && c->session_id == id)
            connect_renewed(s, c, id, r->timeout_ms, valid);
        list_remove(&r->link);
        mem_free(r);
        return;
    }
}

static void take_sync(struct learner *l) {
    if (l->state == LEARNER_PROVING) {
        quorum_trust(l->q);
        return;
    }
    if (list_empty(&l->syncs))
        return;
    struct asked_sync *a = LIST_FIRST(&l->syncs, struct asked_sync, link);
    list_remove(&a->link);
    a->zxid = l->q->s->committed;
    list_push(&l->synced, &a->link);
}

static void answer_synced(struct learner *l) {
    while (!list_empty(&l->synced)) {
        struct asked_sync *a = LIST_FIRST(&l->synced, struct asked_sync, link);
        if (a->zxid > l->q->s->last_applied)
            return;
        list_remove(&a->link);
        if (a->r != NULL) {
            a->r->keeper = NULL;
            server_synced(l->q->s, a->r);
        }
        mem_free(a);
    }
}

/* A committed reconfiguration. An observer gets its transaction in the same packet. */
static void take_activation(struct learner *l, const struct quorum_packet *p) {
    int64_t designated;
    struct slice txn;
    if (!activation_get(p->data, &designated, &txn)) {
        quorum_leave(l->q, "%s does not decode", packet_name(p->type));
        return;
    }
    if (p->type == PACKET_INFORM_AND_ACTIVATE && !accept(l, p->zxid, txn))
        return;
    commit(l, p->zxid);
    if (!l->q->leaving && quorum_activate_config(l->q, designated))
        quorum_leave(l->q, "another configuration is active");
}

static void take_stream_packet(struct learner *l, const struct quorum_packet *p) {
    switch (p->type) {
    case PACKET_PROPOSAL:
        accept(l, p->zxid, p->data);
        break;
    case PACKET_COMMIT:
        commit(l, p->zxid);
        break;
    case PACKET_INFORM:
        if (accept(l, p->zxid, p->data))
            commit(l, p->zxid);
        break;
    case PACKET_COMMIT_AND_ACTIVATE:
    case PACKET_INFORM_AND_ACTIVATE:
        take_activation(l, p);
        break;
    case PACKET_NEWLEADER:
        if (l->state == LEARNER_SYNCING)
            take_new_leader(l, p);
        break;
    case PACKET_UPTODATE:
        if (l->state != LEARNER_SERVING)
            take_up_to_date(l);
        break;
    case PACKET_PING:
        if (l->state >= LEARNER_SYNCED)
            answer_ping(l, p->zxid);
        break;
    case PACKET_REVALIDATE:
        take_renewal(l, p->data);
        break;
    case PACKET_SYNC:
        take_sync(l);
        break;
    default:
        log_warn("%s (%d) from the leader is ignored", packet_name(p->type), (int)p->type);
    }
}

static void take_packet(struct learner *l, const struct quorum_packet *p) {
    switch (l->state) {
    case LEARNER_HELLO:
        take_leader_info(l, p);
        break;
    case LEARNER_EPOCH_ACKED:
        take_sync_decision(l, p);
        break;
    default:
        take_stream_packet(l, p);
        try_new_leader(l);
    }
}

/* What comes now must wait until the disk has done its part. */
static bool busy(const struct learner *l) {
    return l->state == LEARNER_EPOCH_WRITE || l->state == LEARNER_SNAP_FINISH || l->state == LEARNER_RELOAD_WAIT ||
           l->state == LEARNER_RELOAD;
}

/* A leader sends what stands in its log files, which may be more than memory. */
static bool is_flooded(const struct learner *l) {
    const struct batch *waits = l->q->s->filling;
    return l->state == LEARNER_SYNCING && waits != NULL && waits->data.len > HISTORY_QUEUE_BYTES;
}

static void heard(struct learner *l) {
    const struct config *c = l->q->s->config;
    int64_t ticks = l->acks ? c->sync_limit_ticks : c->init_limit_ticks;
    l->deadline = mono_add_ms(now_of(l).mono, quorum_ticks_ms(l->q, ticks));
}

static size_t on_received(struct link *link, const uint8_t *data, size_t len) {
    struct learner *l = link->owner;
    size_t pos = 0;
    heard(l);
    while (pos < len && !l->q->leaving && !busy(l) && !l->held) {
        if (l->state == LEARNER_SNAP) {
            pos += take_snapshot(l, data + pos, len - pos);
            continue;
        }
        struct quorum_packet p;
        size_t used;
        enum packet_result result = quorum_packet_get(data + pos, len - pos, PACKET_DATA_MAX, &p, &used);
        if (result == PACKET_MALFORMED) {
            quorum_leave(l->q, "what the leader sends does not decode");
            break;
        }
        if (result == PACKET_INCOMPLETE) {
            link->want = used;
            break;
        }
        take_packet(l, &p);
        pos += used;
        l->held = !l->q->leaving && is_flooded(l);
        if (l->held)
            pause(l, true);
    }
    return pos;
}

static const struct link_events learner_events = {.opened = on_opened, .received = on_received, .closed = on_closed};

/* ------------------------------------------------------------------ the role */

static struct learner *learner_of(struct server *s) { return s->quorum->learner; }

static void learner_logged(struct server *s, zxid_t zxid) {
    struct learner *l = learner_of(s);
    (void)zxid;
    if (l == NULL || s->quorum->leaving)
        return;
    try_new_leader(l);
    send_acks(l);
}

static void put_request(struct learner *l, const struct request *r, struct slice body, bool with_ids) {
    struct buf data = BUF_INIT, ids = BUF_INIT;
    forwarded_request_put(&data, &(struct forwarded_request){
                                     .session = r->session_id, .cxid = r->xid, .type = r->op, .body = body});
    if (with_ids) {
        packet_ids_begin(&ids, (int32_t)r->identities);
        for (uint32_t i = 0; i < r->identities; i++)
            packet_id_put(&ids, r->conn->identities.entries[i].scheme, r->conn->identities.entries[i].id);
    }
    quorum_packet_put(&l->out, &(struct quorum_packet){.type = PACKET_REQUEST,
                                                       .zxid = -1,
                                                       .data = {(const char *)data.data, data.len},
                                                       .authinfo = {(const char *)ids.data, ids.len}});
    buf_free(&data);
    buf_free(&ids);
    flush(l);
}

static void learner_forward(struct server *s, struct request *r, struct slice body) {
    struct learner *l = learner_of(s);
    if (l->link != NULL && !s->quorum->leaving)
        put_request(l, r, body, r->op != OP_CREATE_SESSION);
}

static void learner_sync(struct server *s, struct request *r) {
    struct learner *l = learner_of(s);
    struct asked_sync *a = mem_calloc(1, sizeof *a);
    a->r = r;
    r->keeper = &a->r;
    list_push(&l->syncs, &a->link);
    if (l->link != NULL && !s->quorum->leaving)
        put_request(l, r, (struct slice){(const char *)r->body, r->body_len}, true);
}

static void learner_renew(struct server *s, struct conn *c, session_id_t id, int32_t timeout_ms) {
    struct learner *l = learner_of(s);
    struct renewal *r = mem_calloc(1, sizeof *r);
    struct buf data = BUF_INIT;
    r->session = id;
    r->timeout_ms = timeout_ms;
    r->slot = c->slot;
    c->session_id = id;
    list_push(&l->renewals, &r->link);
    revalidate_put(&data, id, timeout_ms);
    if (l->link != NULL && !s->quorum->leaving)
        send_packet(l, PACKET_REVALIDATE, -1, (struct slice){(const char *)data.data, data.len});
    buf_free(&data);
}

static void learner_touched(struct server *s, struct session *session) {
    struct learner *l = learner_of(s);
    if (session->reported)
        return;
    session->reported = true;
    buf_append(&l->touched, &session->id, sizeof session->id);
}

static const struct role_ops role_follower = {.mode = "follower",
                                              .logged = learner_logged,
                                              .forward = learner_forward,
                                              .sync = learner_sync,
                                              .renew = learner_renew,
                                              .touched = learner_touched};
static const struct role_ops role_observer = {.mode = "observer",
                                              .logged = learner_logged,
                                              .forward = learner_forward,
                                              .sync = learner_sync,
                                              .renew = learner_renew,
                                              .touched = learner_touched};

/* ------------------------------------------------------------------ life */

/* Without a limit of its own, connecting must not take so long that another election is better. */
static void limit_connecting(struct learner *l, int64_t delay_ms) {
    const struct config *c = l->q->s->config;
    int64_t limit_ms = quorum_ticks_ms(l->q, c->connect_limit_ticks > 0 ? c->connect_limit_ticks : c->init_limit_ticks);
    int64_t retries_ms = i64_min(limit_ms, CONNECT_TOTAL_MS);
    l->retry_at = mono_add_ms(now_of(l).mono, delay_ms);
    l->last_retry = mono_add_ms(l->retry_at, retries_ms);
    l->give_up = c->connect_limit_ticks > 0 ? mono_add_ms(l->retry_at, limit_ms) : l->last_retry;
}

struct learner *learner_new(struct quorum *q, int64_t leader_sid) {
    struct learner *l = mem_calloc(1, sizeof *l);
    bool observer = quorum_observer(q);
    uint64_t delay_ms = observer ? rng_below(&q->s->rng, (uint64_t)q->s->config->observer_reconnect_delay_ms) : 0;
    l->q = q;
    l->leader_sid = leader_sid;
    l->observes = observer || quorum_untrusted(q);
    l->retry_ms = CONNECT_FIRST_DELAY_MS;
    limit_connecting(l, (int64_t)delay_ms);
    list_init(&l->renewals);
    list_init(&l->syncs);
    list_init(&l->synced);
    q->learner = l;
    server_take_role(q->s, l->observes ? &role_observer : &role_follower);
    l->state = LEARNER_RETRYING;
    if (delay_ms == 0)
        dial(l);
    return l;
}

/* Their connections close. */
static void free_syncs(struct list *syncs) {
    struct asked_sync *a;
    LIST_FOREACH(a, syncs, struct asked_sync, link) {
        if (a->r != NULL) {
            a->r->kind = REQUEST_READ;
            a->r->keeper = NULL;
        }
        mem_free(a);
    }
}

void learner_free(struct learner *l) {
    struct renewal *r;
    if (l->link != NULL)
        l->q->links->close(l->q->links_ctx, l->link);
    LIST_FOREACH(r, &l->renewals, struct renewal, link) {
        list_remove(&r->link);
        mem_free(r);
    }
    free_syncs(&l->syncs);
    free_syncs(&l->synced);
    if (l->receiving != NULL) {
        l->receiving->owner = NULL;
        if (!l->receiving->busy)
            receiving_free(l->receiving);
    }
    /* One that is under way is finished by its completion. */
    if (l->reload != NULL && l->state == LEARNER_RELOAD_WAIT) {
        if (l->reload->tmp_name[0] != '\0')
            discard_file(l->q->s, NULL, l->reload->tmp_name);
        mem_free(l->reload);
    }
    buf_free(&l->touched);
    buf_free(&l->out);
    mem_free(l);
}

void learner_turn(struct learner *l) {
    struct now now = now_of(l);
    answer_synced(l);
    if (l->held) {
        heard(l);
        l->held = is_flooded(l);
        if (!l->held)
            pause(l, false);
    }
    if (l->state == LEARNER_RETRYING && mono_diff_us(now.mono, l->retry_at) >= 0)
        dial(l);
    else if (l->state == LEARNER_RELOAD_WAIT)
        try_reload(l);
    bool waits = l->state != LEARNER_DIALLING && l->state != LEARNER_RETRYING && !busy(l);
    if (waits && mono_diff_us(now.mono, l->deadline) >= 0) {
        l->q->silent_sid = l->leader_sid;
        quorum_leave(l->q, "nothing was heard from the leader");
    }
}

struct monotime learner_next_wake(const struct learner *l) {
    if (l->state == LEARNER_RETRYING)
        return l->retry_at;
    if (l->state == LEARNER_DIALLING)
        return (struct monotime){INT64_MAX}; /* the link tells, in any case */
    if (l->state == LEARNER_RELOAD_WAIT)
        return mono_add_ms(now_of(l).mono, 1);
    if (busy(l))
        return (struct monotime){INT64_MAX};
    return l->deadline;
}

const char *learner_phase(const struct learner *l) {
    if (l->state == LEARNER_SERVING)
        return "broadcast";
    return l->state < LEARNER_EPOCH_ACKED ? "discovery" : "synchronization";
}
