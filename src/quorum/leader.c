/* The leader: agrees on an epoch with a quorum, brings everybody up to its history, then proposes, counts acknowledgements
 * and commits. Steps: docs/protocol/zab.md sections 6, 7, 10 to 14; what must never happen: section 19.
 *
 * All learners get the same bytes in the same order. A follower acknowledges in order, so one number says all about it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "quorum/quorum_internal.h"
#include "quorum/snapwaits.h"
#include "server/history.h"
#include "store/logfeed.h"
#include "store/snapscan.h"
#include "store/snapshot.h"

#define PACKET_DATA_MAX (1u << 30)
#define HELLO_DATA_MAX 4096u /* of whoever has not said who it is */
#define SNAP_CHUNK_BYTES (256u << 10)
#define SNAP_AHEAD_BYTES (1u << 20)
#define ITEM_MAX (1u << 30)
#define FEED_CHUNK_BYTES (256u << 10)
/* A learner that leaves so much unread comes back when it can keep up, and is fed at its own pace. */
#define UNSENT_MAX (256u << 20)
/* Fewer bytes are cheaper copied than shared. */
#define SHARED_BYTES 2048
#define PING_WAITING 0 /* zxid of pings before UPTODATE; the answer repeats it */
/* A leader that leaves because of its disk lets the others elect one of theirs, and does not do so again for a while. */
#define HAND_OVER_REST_MS 2000
#define HAND_OVER_INTERVAL_MS 60000
/* A learner that has waited in vain for initLimit comes back within initLimit and this time. */
#define COME_BACK_MS 60000

enum member_state {
    MEMBER_HELLO,      /* nothing was heard yet */
    MEMBER_EPOCH,      /* waits for the epoch to be decided */
    MEMBER_EPOCH_SENT, /* LEADERINFO sent */
    MEMBER_EPOCH_ACKED, /* waits until a quorum has */
    MEMBER_SNAP_WAIT,  /* a snapshot is made for it, or it is found out whether one that is there will do */
    MEMBER_SNAP,       /* and sent */
    MEMBER_LOG,        /* history from the log files is looked for, and sent as fast as it reads */
    MEMBER_FEED,       /* the same from memory */
    MEMBER_SYNCING,    /* history and NEWLEADER sent, proposals follow */
    MEMBER_SYNCED,     /* NEWLEADER acknowledged; the leader does not serve yet */
    MEMBER_ACTIVE,
};

/* A snapshot file on its way: one job at a time reads a piece. */
struct sending {
    struct job job;
    struct member *owner; /* NULL: the member has gone */
    char name[STORE_NAME_MAX];
    uint64_t noted; /* which snapshot that is */
    struct snapstream *stream;
    struct snapscan scan;
    struct buf piece;
    bool busy, header_skipped;
    int err;
};

enum sync_kind { SYNC_NONE, SYNC_DIFF, SYNC_SNAP };

/* History from the log files: one job at a time reads a piece and makes packets of it. Behind a snapshot the first piece is read
 * before that is sent, and kept. */
struct reading {
    struct job job;
    struct member *owner; /* NULL: the member has gone */
    struct logfeed *feed;
    struct logfeed_order order;
    struct logfeed_piece piece;
    struct buf packets;
    char snapshot[STORE_NAME_MAX]; /* the logs must not be larger than factor times this; "": that is no matter (any more) */
    double factor;
    char name[STORE_NAME_MAX]; /* behind a snapshot: that one */
    uint64_t noted;
    bool busy;
    bool begun; /* the learner has been told what it gets */
};

/* One connected learner. */
struct member {
    struct list link_in_leader;
    struct leader *leader;
    struct link *link;
    enum member_state state;
    int64_t sid;
    uint64_t origin; /* as owner of sessions; never used twice */
    bool observer;
    enum sync_kind sync; /* is being brought up to date in this way */
    bool streams; /* gets what is proposed and committed from now on */
    struct monotime deadline;
    zxid_t last_zxid;  /* the learner's, from ACKEPOCH */
    bool in_doubt;     /* it says that it has nothing, but may have */
    zxid_t snap_zxid; /* of its snapshot; before there is one: the oldest that will do */
    zxid_t snap_asked; /* a snapshot from here on is as new as it can be */
    zxid_t fed;       /* MEMBER_LOG, MEMBER_FEED: the last one sent, or else where it begins */
    zxid_t acked;     /* counts once NEWLEADER is acknowledged */
    zxid_t lag_zxid; /* a proposal whose acknowledgement is timed; 0 = none */
    struct monotime lag_since;
    uint64_t pings_sent, pings_answered;
    struct sending *sending;
    struct reading *reading;
    bool gone;
};

/* A sync that waits for the confirmation that we still lead. */
struct pending_sync {
    struct list link;
    uint64_t round;
    zxid_t barrier;       /* what was proposed when it came must be committed (and delivered) before */
    bool confirmed;
    uint64_t origin;      /* the member that asks; 0 = a client of ours: */
    struct request *r;    /* NULL: it has gone, or was overtaken */
};

struct leader {
    struct quorum *q;
    struct list members;
    uint64_t next_origin;
    struct buf packet; /* scratch */

    /* discovery */
    int64_t epoch;
    struct voter_set connecting, electing;
    bool epoch_decided, epoch_durable; /* acceptedEpoch is written */
    bool elected, current_durable;     /* a quorum has promised the epoch; currentEpoch is written */
    int64_t own_epoch;                 /* currentEpoch before */
    struct monotime began, setup_deadline;

    /* synchronisation and broadcast */
    zxid_t logs_lack; /* something is missing in the log files behind this one: who is not past it gets a snapshot */
    struct snapwaits snapwaits;
    uint64_t snap_unreadable, snap_alone; /* snapshots_noted: cannot be sent; the log files behind it do not do */
    struct voter_set new_leader;
    bool serving;
    struct monotime serving_since;
    struct list *uncommitted; /* txn_link of the first proposal without a quorum, NULL = none */
    zxid_t own_acked;         /* what our own log has synced */
    zxid_t lag_zxid; /* as in struct member, for our own log */
    struct monotime lag_since;
    struct monotime next_ping;
    bool odd_ping;
    uint64_t round;        /* of pings: the last one begun */
    bool round_wanted;
    struct list syncs;
};

static const struct role_ops role_leader;

static struct server *server_of(const struct leader *l) { return l->q->s; }
static struct now now_of(const struct leader *l) { return l->q->s->now; }

/* To one that has gone, and is still in the list until the next turn, nothing. */
static void send_bytes(struct member *m, const struct buf *b) {
    if (m->gone)
        return;
    m->leader->q->links->send(m->leader->q->links_ctx, m->link, b->data, b->len);
}

/* The same bytes to several: *shared, NULL before the first of them, is theirs in common, unless they are few. To be given back
 * after the last one. */
static void send_in_common(struct member *m, const struct buf *b, struct link_bytes **shared) {
    const struct link_ops *links = m->leader->q->links;
    if (b->len < SHARED_BYTES || links->send_shared == NULL) {
        send_bytes(m, b);
        return;
    }
    if (m->gone)
        return;
    if (*shared == NULL)
        *shared = link_bytes_new(b->data, b->len);
    links->send_shared(m->leader->q->links_ctx, m->link, *shared);
}

static void send_packet(struct member *m, int32_t type, zxid_t zxid, struct slice data) {
    struct buf *b = &m->leader->packet;
    buf_clear(b);
    quorum_packet_put(b, &(struct quorum_packet){.type = type, .zxid = zxid, .data = data});
    send_bytes(m, b);
}

/* Taken apart by the next turn, so that nobody's loop loses the ground. */
static void drop(struct member *m, const char *why) {
    if (m->gone)
        return;
    log_info("learner %" PRId64 " (%s) is dropped: %s", m->sid, m->link != NULL ? m->link->peer : "closed", why);
    m->gone = true;
    m->streams = false;
    if (m->link != NULL)
        m->leader->q->links->close(m->leader->q->links_ctx, m->link);
    m->link = NULL;
}

/* Whoever waits for UPTODATE may be silent (Java's learners are) for as long as a quorum may take. */
static void hear(struct member *m) {
    const struct config *c = server_of(m->leader)->config;
    int64_t ticks = m->state == MEMBER_ACTIVE ? c->sync_limit_ticks : c->init_limit_ticks;
    m->deadline = mono_add_ms(now_of(m->leader).mono, quorum_ticks_ms(m->leader->q, ticks));
}

/* ------------------------------------------------------------------ discovery */

static void send_epoch(struct member *m) {
    struct buf data = BUF_INIT;
    packet_int_put(&data, LEARNER_PROTOCOL_VERSION);
    m->state = MEMBER_EPOCH_SENT;
    send_packet(m, PACKET_LEADERINFO, zxid_make(m->leader->epoch, 0), (struct slice){(const char *)data.data, data.len});
    buf_free(&data);
}

static void count_epoch_ack(struct leader *l, int64_t sid);

static void accepted_written(struct quorum *q) {
    struct leader *l = q->leader;
    struct member *m;
    l->epoch_durable = true;
    count_epoch_ack(l, q->sid);
    log_info("epoch %" PRId64 " is proposed", l->epoch);
    LIST_FOREACH(m, &l->members, struct member, link_in_leader)
        if (m->state == MEMBER_EPOCH && !m->gone)
            send_epoch(m);
}

/* The epoch is one more than any that a member of the quorum has promised to somebody. */
static void propose_epoch(struct leader *l, int64_t sid, int64_t accepted) {
    struct quorum *q = l->q;
    if (l->epoch_decided)
        return;
    if (accepted >= l->epoch)
        l->epoch = accepted + 1;
    l->connecting.committed |= qconfig_voter_bit(q->committed, sid);
    if (!qconfig_is_quorum(q->committed, l->connecting.committed) ||
        (l->connecting.committed & qconfig_voter_bit(q->committed, q->sid)) == 0)
        return;
    l->epoch_decided = true;
    quorum_write_epoch(q, EPOCH_ACCEPTED, l->epoch, accepted_written);
}

static void synchronise(struct member *m);
static void count_new_leader(struct leader *l, int64_t sid);

static void current_written(struct quorum *q) {
    struct leader *l = q->leader;
    struct server *s = q->s;
    struct member *m;
    l->current_durable = true;
    s->last_prepared = zxid_make(l->epoch, 0);
    quorum_first_version(q, l->epoch);
    LIST_FOREACH(m, &l->members, struct member, link_in_leader)
        if (m->state == MEMBER_EPOCH_ACKED && !m->gone)
            synchronise(m);
    count_new_leader(l, q->sid);
}

static void count_epoch_ack(struct leader *l, int64_t sid) {
    struct quorum *q = l->q;
    l->electing.committed |= qconfig_voter_bit(q->committed, sid);
    if (l->elected || !l->epoch_durable || !qconfig_is_quorum(q->committed, l->electing.committed) ||
        (l->electing.committed & qconfig_voter_bit(q->committed, q->sid)) == 0)
        return;
    l->elected = true;
    quorum_write_epoch(q, EPOCH_CURRENT, l->epoch, current_written);
}

/* What this server acknowledged there it may take back now (TRUNC), so that must not count any more; and what is still on its
 * way there must not be taken for an answer to what it gets here. */
static void drop_older_links(struct leader *l, int64_t sid) {
    struct member *m;
    LIST_FOREACH(m, &l->members, struct member, link_in_leader)
        if (m->sid == sid)
            drop(m, "it has a newer connection");
}

/* A voter has promised an epoch to somebody who did not come to lead it. It will never follow a smaller one, so for it, but not
 * again and again, we make place for another; also for one that has to learn like an observer before it votes again. */
static void hear_epoch(struct member *m, int64_t accepted) {
    struct leader *l = m->leader;
    struct quorum *q = l->q;
    int64_t patience_us = quorum_ticks_ms(q, q->s->config->init_limit_ticks) * 1000;
    if (accepted <= l->epoch || qconfig_voter_bit(q->committed, m->sid) == 0)
        return;
    q->epoch_heard = i64_max(q->epoch_heard, accepted);
    if (l->serving && mono_diff_us(now_of(l).mono, l->serving_since) > patience_us)
        quorum_leave(q, "voter %" PRId64 " has accepted epoch %" PRId64 ", ours is %" PRId64, m->sid, accepted, l->epoch);
}

static void take_hello(struct member *m, const struct quorum_packet *p) {
    struct leader *l = m->leader;
    struct learner_info info = learner_info_get(p->data);
    if (p->type != PACKET_FOLLOWERINFO && p->type != PACKET_OBSERVERINFO) {
        drop(m, "its first packet is no FOLLOWERINFO and no OBSERVERINFO");
        return;
    }
    if (!info.has_sid || info.sid < 0 || info.protocol_version < LEARNER_PROTOCOL_VERSION) {
        drop(m, "it speaks a protocol that is too old");
        return;
    }
    if (info.config_version > l->q->committed->version) {
        drop(m, "it has a newer configuration");
        return;
    }
    if (info.sid == l->q->sid || zxid_epoch(p->zxid) >= EPOCH_MAX) {
        drop(m, info.sid == l->q->sid ? "it has our sid" : "it has accepted an impossible epoch");
        return;
    }
    drop_older_links(l, info.sid);
    m->sid = info.sid;
    m->observer = p->type == PACKET_OBSERVERINFO;
    m->state = MEMBER_EPOCH;
    log_info("%s %" PRId64 " connects from %s", m->observer ? "observer" : "follower", m->sid, m->link->peer);
    if (!m->observer)
        propose_epoch(l, m->sid, zxid_epoch(p->zxid));
    else if (!l->epoch_decided && zxid_epoch(p->zxid) >= l->epoch)
        l->epoch = zxid_epoch(p->zxid) + 1;
    if (l->epoch_durable)
        send_epoch(m);
    if (l->epoch_decided)
        hear_epoch(m, zxid_epoch(p->zxid));
}

static void take_epoch_ack(struct member *m, const struct quorum_packet *p) {
    struct leader *l = m->leader;
    struct server *s = server_of(l);
    int32_t current;
    if (p->type != PACKET_ACKEPOCH || !packet_int_get(p->data, &current)) {
        drop(m, "no ACKEPOCH from it");
        return;
    }
    m->last_zxid = p->zxid;
    /* A member whose history cannot be cut where we wanted asks for a snapshot in this way, once it has accepted our epoch. */
    m->in_doubt = current == -1 && p->zxid <= 0;
    m->state = MEMBER_EPOCH_ACKED;
    if (!l->elected && current != -1) {
        /* I9 */
        if (current > l->own_epoch || (current == l->own_epoch && p->zxid > s->last_applied)) {
            drop(m, "it is ahead of us");
            return;
        }
        /* -1: it does not know what it has. */
        if (!m->observer && p->zxid != -1)
            count_epoch_ack(l, m->sid);
    }
    if (l->current_durable)
        synchronise(m);
}

/* ------------------------------------------------------------------ synchronisation */

static void put_proposal(struct buf *b, int32_t type, zxid_t zxid, struct slice payload) {
    quorum_packet_put_head(b, type, zxid, payload.len);
    buf_append(b, payload.data, payload.len);
    quorum_packet_put_tail(b);
}

static void put_commit(struct buf *b, zxid_t zxid) {
    quorum_packet_put(b, &(struct quorum_packet){.type = PACKET_COMMIT, .zxid = zxid});
}

/* What the stream would have brought it, had it been connected all the time (I12): from the history, then from what is
 * committed and not applied, then (followers) from what is proposed. From now on it gets the stream.
 *
 * What is only proposed stands behind NEWLEADER: a Java learner (3.8.0 and older, ZOOKEEPER-4394) breaks the connection, and then
 * its log, when the COMMIT of a proposal before NEWLEADER comes behind it. */
static void send_rest(struct member *m, zxid_t after) {
    struct leader *l = m->leader;
    struct server *s = server_of(l);
    struct buf b = BUF_INIT, config = BUF_INIT;
    struct request *r;
    for (size_t i = history_after(s->history, after); i < history_count(s->history); i++) {
        zxid_t zxid = history_zxid(s->history, i);
        put_proposal(&b, PACKET_PROPOSAL, zxid, history_payload(s->history, i));
        put_commit(&b, zxid);
    }
    LIST_FOREACH(r, &s->outstanding, struct request, txn_link) {
        if (r->zxid <= after || r->zxid > s->committed)
            continue;
        put_proposal(&b, PACKET_PROPOSAL, r->zxid, request_payload(r));
        put_commit(&b, r->zxid);
    }
    qconfig_text(l->q->last_seen, &config);
    quorum_packet_put(&b, &(struct quorum_packet){.type = PACKET_NEWLEADER,
                                                  .zxid = zxid_make(l->epoch, 0),
                                                  .data = {(const char *)config.data, config.len}});
    LIST_FOREACH(r, &s->outstanding, struct request, txn_link)
        if (!m->observer && r->zxid > after && r->zxid > s->committed)
            put_proposal(&b, PACKET_PROPOSAL, r->zxid, request_payload(r));
    send_bytes(m, &b);
    buf_free(&config);
    buf_free(&b);
    m->streams = true;
    m->state = MEMBER_SYNCING;
}

/* What is committed and not applied yet stands behind the history. */
static zxid_t last_committed(const struct server *s) { return s->committed > s->last_applied ? s->committed : s->last_applied; }

/* True if all that follows this zxid is in memory. */
static bool history_reaches(const struct server *s, zxid_t zxid) {
    return zxid == s->last_applied || (history_count(s->history) != 0 && history_zxid(s->history, 0) <= zxid + 1 &&
                                       zxid <= s->last_applied);
}

/* The newest one in our committed history that is not above zxid; zxid itself if that begins an epoch. It is in the learner's
 * log, too, or was in none. -1: it lies before what is in memory. */
static zxid_t common_end(const struct server *s, zxid_t zxid) {
    const struct history *h = s->history;
    zxid_t last = s->last_applied;
    const struct request *r;
    if (zxid_counter(zxid) == 0 && (zxid > last || history_reaches(s, zxid)))
        return zxid;
    if (zxid < last) {
        size_t i = history_after(h, zxid);
        return i > 0 ? history_zxid(h, i - 1) : -1;
    }
    LIST_FOREACH(r, &s->outstanding, const struct request, txn_link)
        if (r->zxid <= zxid && r->zxid <= s->committed)
            last = r->zxid;
    return last;
}

static void try_snapshot(struct member *m);
static void read_logs(struct member *m, zxid_t after, bool begun);

static size_t unsent(const struct member *m) {
    return m->gone ? 0 : m->leader->q->links->unsent(m->leader->q->links_ctx, m->link);
}

/* Whoever has nothing needs a snapshot anyhow. */
static bool logs_may_serve(const struct leader *l, zxid_t after) {
    return server_of(l)->config->snapshot_size_factor >= 0 && after > l->logs_lack;
}

/* While it was sent something, what comes next has left the memory. */
static void fell_behind(struct member *m, zxid_t after, const char *why) {
    if (logs_may_serve(m->leader, after))
        read_logs(m, after, true);
    else
        drop(m, why);
}

/* Sends what follows m->fed, a piece at a time: all of it at once would hold up the clients. */
static void feed(struct member *m) {
    const struct server *s = server_of(m->leader);
    struct buf b = BUF_INIT;
    if (unsent(m) > SNAP_AHEAD_BYTES)
        return;
    if (!history_reaches(s, m->fed)) {
        fell_behind(m, m->fed, "what it lacks is not in memory any more");
        return;
    }
    size_t i = history_after(s->history, m->fed), count = history_count(s->history);
    for (; i < count && b.len < FEED_CHUNK_BYTES; i++) {
        m->fed = history_zxid(s->history, i);
        put_proposal(&b, PACKET_PROPOSAL, m->fed, history_payload(s->history, i));
        put_commit(&b, m->fed);
    }
    send_bytes(m, &b);
    buf_free(&b);
    hear(m);
    if (i == count)
        send_rest(m, m->fed);
}

static void begin_feed(struct member *m, zxid_t after) {
    m->state = MEMBER_FEED;
    m->fed = after;
    if (history_after(server_of(m->leader)->history, after) < history_count(server_of(m->leader)->history))
        feed(m);
    else
        send_rest(m, after);
}

/* Voters are never put off: they are needed, also those that have to learn like observers before they vote again. But they count. */
static bool admit_sync(struct member *m, enum sync_kind kind) {
    struct server *s = server_of(m->leader);
    const struct member *other;
    int running = 0, most = kind == SYNC_SNAP ? s->config->max_snapshot_syncs : s->config->max_diff_syncs;
    m->sync = kind;
    LIST_FOREACH(other, &m->leader->members, const struct member, link_in_leader)
        running += !other->gone && other->sync == kind;
    metric_sample(&s->metrics, kind == SYNC_SNAP ? METRIC_INFLIGHT_SNAP_COUNT : METRIC_INFLIGHT_DIFF_COUNT, (uint64_t)running);
    if (m->observer && qconfig_voter_bit(m->leader->q->committed, m->sid) == 0 && running > most)
        drop(m, kind == SYNC_SNAP ? "leader.maxConcurrentSnapSyncs are being sent a snapshot"
                                  : "leader.maxConcurrentDiffSyncs are being brought up to date");
    return !m->gone;
}

static void announce(struct member *m, int32_t type, zxid_t zxid, const char *name) {
    log_info("learner %" PRId64 " is at 0x%" PRIx64 ", we are at 0x%" PRIx64 ": %s", m->sid, (uint64_t)m->last_zxid,
             (uint64_t)last_committed(server_of(m->leader)), name);
    metric_count(&server_of(m->leader)->metrics, METRIC_DIFF_COUNT, 1);
    send_packet(m, type, zxid, SLICE_NULL);
}

static void send_decision(struct member *m, int32_t type, zxid_t zxid, zxid_t after, const char *name) {
    if (!admit_sync(m, SYNC_DIFF))
        return;
    announce(m, type, zxid, name);
    begin_feed(m, after);
}

/* had: what the learner has in common with us, as far as it knows. */
static void begin_snapshot(struct member *m, zxid_t had) {
    if (!admit_sync(m, SYNC_SNAP))
        return;
    const struct server *s = server_of(m->leader);
    int64_t patience_ms = 2 * quorum_ticks_ms(m->leader->q, s->config->init_limit_ticks) + COME_BACK_MS;
    struct snapwait attempt = {.sid = m->sid, .last = s->now.mono, .asked = s->last_applied, .oldest = last_committed(s)};
    const struct snapwait *w = snapwaits_begin(&m->leader->snapwaits, &attempt, patience_ms * 1000);
    m->state = MEMBER_SNAP_WAIT;
    m->snap_zxid = m->in_doubt ? w->oldest : had;
    m->snap_asked = w->asked;
    try_snapshot(m);
}

/* Section 7. The learner may hold what is proposed and not committed: that goes and comes again, so that it shows to nobody
 * before its commit. What is committed never goes (I15): others may have it from this learner's acknowledgement only. */
static void synchronise(struct member *m) {
    struct leader *l = m->leader;
    struct server *s = server_of(l);
    zxid_t peer = m->last_zxid, last = last_committed(s), common = common_end(s, peer);
    bool new_epoch = zxid_counter(peer) == 0;
    if (s->config->force_snapshot_sync) {
        log_info("learner %" PRId64 " gets a snapshot, as configured", m->sid);
    } else if (peer == last || (peer > last && new_epoch)) {
        send_decision(m, PACKET_DIFF, last, last, "DIFF, nothing is missing");
        return;
    } else if (common == peer && peer >= 0) {
        send_decision(m, PACKET_DIFF, last, peer, "DIFF");
        return;
    } else if (peer > last) {
        send_decision(m, PACKET_TRUNC, last, last, "TRUNC");
        return;
    } else if (common == -1 && logs_may_serve(l, peer)) {
        if (admit_sync(m, SYNC_DIFF))
            read_logs(m, peer, false);
        return;
    }
    /* It loses all behind the snapshot until it gets that again: nothing of it may be committed. */
    begin_snapshot(m, common >= 0 ? common : peer);
}

/* ------------------------------------------------------------------ sending from the log files */

static void put_committed(void *ctx, zxid_t zxid, struct slice payload) {
    put_proposal(ctx, PACKET_PROPOSAL, zxid, payload);
    put_commit(ctx, zxid);
}

/* As ZKDatabase.calculateTxnLogSizeLimit has it. 0 = no limit. */
static int64_t limit_of_logs(const struct reading *x, const struct disk *disk) {
    int handle = disk->open(disk->ctx, DISK_SNAP, x->snapshot, DISK_READ);
    if (handle < 0)
        return 0;
    int64_t size = disk->size(disk->ctx, handle);
    disk->close(disk->ctx, handle);
    return size > 0 ? (int64_t)((double)size * x->factor) : 0;
}

static void reading_run(struct job *job, const struct disk *disk) {
    struct reading *x = CONTAINER_OF(job, struct reading, job);
    if (x->snapshot[0] != '\0')
        x->order.max_log_bytes = limit_of_logs(x, disk);
    x->snapshot[0] = '\0';
    x->piece = logfeed_read(x->feed, disk, &x->order, put_committed, &x->packets);
}

static void reading_free(struct reading *x) {
    logfeed_free(x->feed);
    buf_free(&x->packets);
    mem_free(x);
}

static void reading_done(struct job *job);

/* Up to what is applied, hence committed, and synced in our own log. */
static void reading_go_on(struct member *m) {
    struct reading *x = m->reading;
    struct server *s = server_of(m->leader);
    if (x->busy || unsent(m) > SNAP_AHEAD_BYTES)
        return;
    if (x->begun && history_reaches(s, m->fed)) {
        m->reading = NULL;
        reading_free(x);
        begin_feed(m, m->fed);
        return;
    }
    if (x->piece.status == LOGFEED_REACHED) {
        zxid_t upto = i64_min(s->last_applied, s->logged);
        if (upto <= x->order.upto)
            return; /* others were faster than our disk */
        x->order.upto = upto;
    }
    x->busy = true;
    x->job.run = reading_run;
    x->job.done = reading_done;
    s->env.job_submit(s->env.ctx, &x->job);
}

/* limited: by the size of the newest snapshot. */
static struct reading *reading_new(struct member *m, zxid_t after, bool limited) {
    const struct server *s = server_of(m->leader);
    struct reading *x = mem_calloc(1, sizeof *x);
    x->owner = m;
    x->feed = logfeed_new(after);
    x->order = (struct logfeed_order){.upto = -1,
                                      .max_bytes = FEED_CHUNK_BYTES,
                                      .current_log = s->log_first,
                                      .reserved_bytes = s->log_padding};
    x->piece.status = LOGFEED_REACHED;
    x->factor = s->config->snapshot_size_factor;
    if (limited)
        snprintf(x->snapshot, sizeof x->snapshot, "%s", s->good_snapshot_name);
    m->reading = x;
    m->fed = after;
    return x;
}

static void read_logs(struct member *m, zxid_t after, bool begun) {
    reading_new(m, after, !begun)->begun = begun;
    m->state = MEMBER_LOG;
    hear(m);
    reading_go_on(m);
}

/* Before the newest snapshot is sent although what follows it has left the memory: do the log files go on there? */
static void look_behind_snapshot(struct member *m) {
    const struct server *s = server_of(m->leader);
    struct reading *x = reading_new(m, s->good_snapshot, s->good_snapshot < m->snap_asked);
    x->order.all_bytes = true;
    x->noted = s->snapshots_noted;
    snprintf(x->name, sizeof x->name, "%s", s->good_snapshot_name);
    reading_go_on(m);
}

/* I15. The zxid that begins an epoch stands in no log; then it is the one before. */
static bool follows(const struct server *s, zxid_t fed, zxid_t before, zxid_t next) {
    return next == fed + 1 || history_epochs_meet(s->history, fed, next) ||
           (zxid_counter(fed) == 0 && before < fed && history_epochs_meet(s->history, before, next));
}

/* Why this piece cannot be sent; NULL = it can. */
static const char *fault_of(const struct member *m) {
    const struct reading *x = m->reading;
    const struct logfeed_piece *p = &x->piece;
    if (p->status == LOGFEED_FAILED)
        return p->why;
    if (p->count == 0)
        return p->status == LOGFEED_REACHED && !x->begun ? "our own log has not come so far" : NULL;
    if (follows(server_of(m->leader), m->fed, p->before, p->first))
        return NULL;
    return x->begun || p->before == m->fed ? "the logs lack transactions" : "what the learner has is not in the logs";
}

/* Once it is on its way to the learner it cannot be taken back, and what it got is in its log: next time it must not be given a
 * hole, and not be sent here again (I12). */
static void cannot_read(struct member *m, const char *why) {
    struct reading *x = m->reading;
    struct leader *l = m->leader;
    if (x->begun) {
        log_warn("learner %" PRId64 " cannot have what follows 0x%" PRIx64 " from the log files: %s", m->sid, (uint64_t)m->fed,
                 why);
        l->logs_lack = i64_max(l->logs_lack, m->fed);
        drop(m, "what it lacks is neither in memory nor in the log files");
        return;
    }
    m->reading = NULL;
    if (m->state == MEMBER_SNAP_WAIT) {
        log_info("%s is too old for learner %" PRId64 ": %s", x->name, m->sid, why);
        l->snap_alone = x->noted;
    } else {
        log_info("learner %" PRId64 " is at 0x%" PRIx64 ", the log files do not do: %s", m->sid, (uint64_t)m->last_zxid, why);
        begin_snapshot(m, m->last_zxid);
    }
    reading_free(x);
}

static void send_snapshot(struct member *m, zxid_t zxid, const char *name, uint64_t noted);

/* The piece that was read. */
static void reading_send(struct member *m) {
    struct reading *x = m->reading;
    x->begun = true;
    send_bytes(m, &x->packets);
    buf_clear(&x->packets);
    m->fed = x->piece.last;
}

static void reading_done(struct job *job) {
    struct reading *x = CONTAINER_OF(job, struct reading, job);
    struct member *m = x->owner;
    x->busy = false;
    if (m == NULL) {
        reading_free(x);
        return;
    }
    if (m->gone)
        return;
    hear(m);
    const char *fault = fault_of(m);
    if (fault != NULL) {
        cannot_read(m, fault);
        return;
    }
    if (x->piece.count != 0 && m->state == MEMBER_SNAP_WAIT) {
        server_of(m->leader)->metrics.log_snaps++;
        send_snapshot(m, m->fed, x->name, x->noted);
        return;
    }
    if (x->piece.count != 0) {
        if (!x->begun) {
            server_of(m->leader)->metrics.log_diffs++;
            announce(m, PACKET_DIFF, last_committed(server_of(m->leader)), "DIFF, from the log files");
        }
        reading_send(m);
    }
    reading_go_on(m);
}

/* ------------------------------------------------------------------ sending a snapshot */

static void sending_run(struct job *job, const struct disk *disk) {
    struct sending *x = CONTAINER_OF(job, struct sending, job);
    if (x->stream == NULL)
        x->stream = snapstream_open(disk, x->name, &x->err);
    if (x->stream != NULL && !x->header_skipped) {
        uint8_t header[SNAPSHOT_HEADER_BYTES];
        ssize_t n = snapstream_read(x->stream, header, sizeof header);
        x->err = n < 0 ? (int)n : 0;
        x->header_skipped = true;
    }
    while (x->err == 0 && x->piece.len < SNAP_CHUNK_BYTES && !x->scan.done) {
        uint8_t *to = buf_tail(&x->piece, SNAP_CHUNK_BYTES);
        ssize_t n = snapstream_read(x->stream, to, SNAP_CHUNK_BYTES);
        if (n <= 0) {
            x->err = n < 0 ? (int)n : -EBADMSG;
            break;
        }
        x->piece.len += snapscan_feed(&x->scan, to, (size_t)n);
        if (x->scan.failed)
            x->err = -EBADMSG;
    }
}

static void sending_free(struct sending *x) {
    if (x->stream != NULL)
        snapstream_close(x->stream);
    buf_free(&x->piece);
    mem_free(x);
}

static void sending_done(struct job *job);

static void sending_go_on(struct member *m) {
    struct sending *x = m->sending;
    struct server *s = server_of(m->leader);
    if (x->busy || unsent(m) > SNAP_AHEAD_BYTES)
        return;
    x->busy = true;
    x->job.run = sending_run;
    x->job.done = sending_done;
    s->env.job_submit(s->env.ctx, &x->job);
}

static void snapshot_sent(struct member *m) {
    struct server *s = server_of(m->leader);
    struct buf b = BUF_INIT;
    jute_put_bytes(&b, SLICE_LIT("BenWasHere"));
    send_bytes(m, &b);
    buf_free(&b);
    hear(m);
    if (m->reading != NULL) {
        m->state = MEMBER_LOG;
        reading_send(m);
        reading_go_on(m);
    } else if (history_reaches(s, m->snap_zxid)) {
        begin_feed(m, m->snap_zxid);
    } else {
        fell_behind(m, m->snap_zxid, "what follows its snapshot is not in memory any more");
    }
}

static void sending_done(struct job *job) {
    struct sending *x = CONTAINER_OF(job, struct sending, job);
    struct member *m = x->owner;
    x->busy = false;
    if (m == NULL) {
        sending_free(x);
        return;
    }
    if (m->gone)
        return;
    if (x->err != 0) {
        m->leader->snap_unreadable = x->noted;
        drop(m, "its snapshot cannot be read");
        return;
    }
    hear(m);
    send_bytes(m, &x->piece);
    buf_clear(&x->piece);
    if (!x->scan.done) {
        sending_go_on(m);
        return;
    }
    m->sending = NULL;
    sending_free(x);
    snapshot_sent(m);
}

static void send_snapshot(struct member *m, zxid_t zxid, const char *name, uint64_t noted) {
    struct server *s = server_of(m->leader);
    m->state = MEMBER_SNAP;
    m->snap_zxid = zxid;
    log_info("learner %" PRId64 " is at 0x%" PRIx64 ": it gets the snapshot of 0x%" PRIx64 "%s", m->sid, (uint64_t)m->last_zxid,
             (uint64_t)zxid, m->reading != NULL ? ", then what the log files hold behind it" : "");
    metric_count(&s->metrics, METRIC_SNAP_COUNT, 1);
    send_packet(m, PACKET_SNAP, zxid, SLICE_NULL);
    m->sending = mem_calloc(1, sizeof *m->sending);
    m->sending->owner = m;
    m->sending->noted = noted;
    snapscan_init(&m->sending->scan, ITEM_MAX);
    snprintf(m->sending->name, sizeof m->sending->name, "%s", name);
    sending_go_on(m);
}

/* The newest snapshot serves if all that follows it is in memory, or stands in log files that are not too large; otherwise one is
 * made. */
static void try_snapshot(struct member *m) {
    struct leader *l = m->leader;
    struct server *s = server_of(l);
    zxid_t zxid = s->good_snapshot;
    bool fits = zxid >= 0 && zxid >= m->snap_zxid && l->snap_unreadable != s->snapshots_noted;
    hear(m);
    if (m->reading != NULL)
        reading_go_on(m);
    else if (fits && history_reaches(s, zxid))
        send_snapshot(m, zxid, s->good_snapshot_name, s->snapshots_noted);
    else if (fits && logs_may_serve(l, zxid) && l->snap_alone != s->snapshots_noted)
        look_behind_snapshot(m);
    else if (!snapshotter_busy(s))
        snapshotter_request(s);
}

/* ------------------------------------------------------------------ commit */

/* A follower that has not acknowledged NEWLEADER may lack the history, or the epoch with which it would be elected for it. */
static bool has_quorum(const struct leader *l, zxid_t zxid) {
    const struct quorum *q = l->q;
    struct voter_set acks = {0};
    struct member *m;
    if (q->s->logged >= zxid)
        voter_set_add(q, &acks, q->sid);
    LIST_FOREACH(m, &l->members, struct member, link_in_leader)
        if (!m->gone && !m->observer && m->state >= MEMBER_SYNCED && m->acked >= zxid)
            voter_set_add(q, &acks, m->sid);
    return voter_set_is_quorum(q, &acks);
}

static struct member *find_member(const struct leader *l, uint64_t origin);

/* A learner's sync that came before this transaction was proposed is answered before its commit: a Java learner matches what comes
 * back with its oldest own request and never again finds its place when a later one comes first. The commit confirms the sync:
 * a quorum followed us after it had come. */
static void answer_syncs_before(struct leader *l, zxid_t zxid) {
    struct pending_sync *p;
    LIST_FOREACH(p, &l->syncs, struct pending_sync, link) {
        if (p->origin == 0 || p->barrier >= zxid)
            continue;
        struct member *m = find_member(l, p->origin);
        if (m != NULL)
            send_packet(m, PACKET_SYNC, 0, SLICE_NULL);
        list_remove(&p->link);
        mem_free(p);
    }
}

static void publish_commit(struct leader *l, const struct request *r) {
    struct link_bytes *shared = NULL;
    struct buf *b = &l->packet;
    struct member *m;
    answer_syncs_before(l, r->zxid);
    buf_clear(b);
    put_commit(b, r->zxid);
    LIST_FOREACH(m, &l->members, struct member, link_in_leader)
        if (m->streams && !m->observer)
            send_bytes(m, b);
    buf_clear(b);
    LIST_FOREACH(m, &l->members, struct member, link_in_leader) {
        if (!m->streams || !m->observer)
            continue;
        if (b->len == 0)
            put_proposal(b, PACKET_INFORM, r->zxid, request_payload(r));
        send_in_common(m, b, &shared);
    }
    link_bytes_unref(shared);
}

/* I10, I11. */
static void try_commit(struct leader *l) {
    struct server *s = server_of(l);
    while (l->serving && l->uncommitted != NULL) {
        struct request *r = CONTAINER_OF(l->uncommitted, struct request, txn_link);
        if (!has_quorum(l, r->zxid))
            return;
        s->committed = r->zxid;
        metric_count(&s->metrics, METRIC_COMMIT_COUNT, 1);
        metric_sample(&s->metrics, METRIC_QUORUM_ACK_LATENCY, (uint64_t)mono_diff_us(s->now.mono, r->received) / 1000);
        l->uncommitted = r->txn_link.next != &s->outstanding ? r->txn_link.next : NULL;
        publish_commit(l, r);
    }
}

static void leader_proposed(struct server *s, struct request *r) {
    struct leader *l = s->quorum->leader;
    struct link_bytes *shared = NULL;
    struct member *m;
    struct buf *b = &l->packet;
    if (l->uncommitted == NULL)
        l->uncommitted = &r->txn_link;
    buf_clear(b);
    put_proposal(b, PACKET_PROPOSAL, r->zxid, request_payload(r));
    metric_count(&s->metrics, METRIC_PROPOSAL_COUNT, 1);
    s->metrics.proposal_last = (int64_t)request_payload(r).len;
    if (s->metrics.proposal_min < 0 || s->metrics.proposal_last < s->metrics.proposal_min)
        s->metrics.proposal_min = s->metrics.proposal_last;
    if (s->metrics.proposal_last > s->metrics.proposal_max)
        s->metrics.proposal_max = s->metrics.proposal_last;
    if (l->lag_zxid == 0) {
        l->lag_zxid = r->zxid;
        l->lag_since = s->now.mono;
    }
    LIST_FOREACH(m, &l->members, struct member, link_in_leader) {
        if (!m->streams || m->observer)
            continue;
        send_in_common(m, b, &shared);
        if (m->lag_zxid == 0) {
            m->lag_zxid = r->zxid;
            m->lag_since = s->now.mono;
        }
    }
    link_bytes_unref(shared);
    /* I21. With a margin for what is prepared before service has ended. */
    if (zxid_counter(r->zxid) >= s->counter_limit)
        quorum_leave(s->quorum, "the counter of epoch %" PRId64 " is used up", l->epoch);
}

/* A server has acknowledged what is behind `before`, up to zxid. */
static void note_latency(const struct leader *l, int64_t sid, zxid_t before, zxid_t zxid) {
    struct server *s = server_of(l);
    int64_t every = s->config->ack_latency_every;
    if (every <= 0 || before / every == zxid / every || l->uncommitted == NULL)
        return;
    for (struct list *each = l->uncommitted; each != &s->outstanding; each = each->next) {
        const struct request *r = CONTAINER_OF(each, struct request, txn_link);
        if (r->zxid > zxid)
            return;
        if (r->zxid > before && r->zxid % every == 0)
            metrics_ack_latency(&s->metrics, sid, request_age_ms(s, r));
    }
}

static void leader_logged(struct server *s, zxid_t zxid) {
    struct leader *l = s->quorum->leader;
    if (l == NULL || s->quorum->leaving)
        return;
    note_latency(l, s->quorum->sid, l->own_acked, zxid);
    l->own_acked = zxid;
    if (zxid >= l->lag_zxid)
        l->lag_zxid = 0;
    try_commit(l);
}

/* ------------------------------------------------------------------ beginning to serve */

static void activate(struct member *m) {
    m->state = MEMBER_ACTIVE;
    hear(m);
    send_packet(m, PACKET_UPTODATE, -1, SLICE_NULL);
}

static void count_new_leader(struct leader *l, int64_t sid) {
    struct quorum *q = l->q;
    struct member *m;
    voter_set_add(q, &l->new_leader, sid);
    if (l->serving || !l->current_durable || !voter_set_is_quorum(q, &l->new_leader))
        return;
    l->serving = true;
    l->serving_since = now_of(l).mono;
    log_info("leading epoch %" PRId64, l->epoch);
    quorum_activate_config(q, -1);
    quorum_established(q, l->epoch);
    server_serve(q->s, &role_leader);
    LIST_FOREACH(m, &l->members, struct member, link_in_leader)
        if (m->state == MEMBER_SYNCED && !m->gone)
            activate(m);
}

static void newleader_acked(struct member *m) {
    struct leader *l = m->leader;
    m->state = MEMBER_SYNCED;
    m->sync = SYNC_NONE;
    snapwaits_end(&l->snapwaits, m->sid);
    hear(m);
    m->lag_since = now_of(l).mono;
    if (l->serving)
        activate(m);
    else if (!m->observer)
        count_new_leader(l, m->sid);
    try_commit(l);
}

static void take_ack(struct member *m, zxid_t zxid) {
    struct leader *l = m->leader;
    if (m->state == MEMBER_SYNCING && zxid == zxid_make(l->epoch, 0)) {
        newleader_acked(m);
        return;
    }
    if (zxid_counter(zxid) == 0 || m->observer)
        return;
    if (!m->streams || zxid > server_of(l)->last_prepared) {
        drop(m, "it acknowledges what it was not sent");
        return;
    }
    if (zxid > m->acked) {
        note_latency(l, m->sid, m->acked, zxid);
        m->acked = zxid;
    }
    if (m->lag_zxid != 0 && m->acked >= m->lag_zxid)
        m->lag_zxid = 0;
    try_commit(l);
}

/* ------------------------------------------------------------------ requests of learners */

static struct member *find_member(const struct leader *l, uint64_t origin) {
    struct member *m;
    LIST_FOREACH(m, &l->members, struct member, link_in_leader)
        if (m->origin == origin && !m->gone)
            return m;
    return NULL;
}

static void add_sync(struct leader *l, struct request *r, uint64_t origin) {
    struct pending_sync *p = mem_calloc(1, sizeof *p);
    p->round = l->round + 1;
    p->barrier = server_of(l)->last_prepared;
    p->origin = origin;
    p->r = r;
    if (r != NULL)
        r->keeper = &p->r;
    list_push(&l->syncs, &p->link);
    l->round_wanted = true;
}

static void take_request(struct member *m, const struct quorum_packet *p) {
    struct server *s = server_of(m->leader);
    struct forwarded_request f;
    struct slice rest = packet_ids_rest(p->authinfo), scheme, id;
    int32_t timeout_ms;
    if (s->state != SERVER_RUNNING || !forwarded_request_get(p->data, &f))
        return;
    if (f.type == OP_SYNC) {
        add_sync(m->leader, NULL, m->origin);
        return;
    }
    struct request *r = request_new(s, NULL, f.type == OP_CREATE_SESSION ? REQUEST_CONNECT : REQUEST_WRITE, f.cxid, f.type, 0);
    r->session_id = f.session;
    r->origin = m->origin;
    if (f.type == OP_CREATE_SESSION) {
        struct session *session = session_find(&s->sessions, f.session);
        if (!packet_int_get(f.body, &timeout_ms) || f.session == 0 || timeout_ms <= 0) {
            prepare_error(s, r, ZK_MARSHALLING_ERROR);
            return;
        }
        if (session == NULL)
            session = session_add(&s->sessions, f.session, timeout_ms);
        session->owner = m->origin;
        session->live_timeout_ms = timeout_ms;
        session_touch(&s->sessions, session, s->now);
        prepare_create_session(s, r, timeout_ms);
        return;
    }
    r->remote = mem_alloc(sizeof *r->remote);
    identity_set_init(r->remote);
    while (packet_id_next(&rest, &scheme, &id))
        identity_add(r->remote, scheme, id);
    r->identities = r->remote->count;
    if (server_refuses_growth(s) && request_grows(s, f.type, f.body))
        prepare_error(s, r, ZK_QUOTA_EXCEEDED);
    else
        prepare_request(s, r, f.body);
}

static void take_touches(struct member *m, struct slice data) {
    struct server *s = server_of(m->leader);
    session_id_t id;
    int32_t timeout_ms;
    if (!touch_valid(data))
        return;
    while (touch_next(&data, &id, &timeout_ms)) {
        struct session *session = session_find(&s->sessions, id);
        if (session == NULL || timeout_ms <= 0)
            continue;
        session->live_timeout_ms = timeout_ms;
        session_touch(&s->sessions, session, s->now);
    }
}

static void take_revalidation(struct member *m, struct slice data) {
    struct server *s = server_of(m->leader);
    struct buf reply = BUF_INIT;
    session_id_t id;
    int32_t timeout_ms;
    metric_count(&s->metrics, METRIC_REVALIDATE_COUNT, 1);
    if (!revalidate_get(data, &id, &timeout_ms))
        return;
    struct session *session = session_find(&s->sessions, id);
    bool valid = session != NULL && !session->closing && m->leader->serving;
    if (valid) {
        if (session->conn != NULL) {
            struct conn *old = session->conn;
            connect_let_go(s, old);
            conn_close_later(old, CONN_CLOSE_NOW);
        }
        session->owner = m->origin;
        session->live_timeout_ms = timeout_ms;
        session_touch(&s->sessions, session, s->now);
    }
    revalidate_reply_put(&reply, id, valid);
    send_packet(m, PACKET_REVALIDATE, -1, (struct slice){(const char *)reply.data, reply.len});
    buf_free(&reply);
}

/* ------------------------------------------------------------------ pings and syncs */

/* Keeps those here who have their history and wait for UPTODATE: no round, and answers do not count. */
static void ping_waiting(struct leader *l) {
    struct member *m;
    LIST_FOREACH(m, &l->members, struct member, link_in_leader)
        if (!m->gone && (m->state == MEMBER_SYNCING || m->state == MEMBER_SYNCED))
            send_packet(m, PACKET_PING, PING_WAITING, SLICE_NULL);
}

static void begin_round(struct leader *l) {
    struct member *m;
    l->round++;
    l->round_wanted = false;
    buf_clear(&l->packet);
    quorum_packet_put(&l->packet,
                      &(struct quorum_packet){.type = PACKET_PING, .zxid = server_of(l)->last_prepared});
    LIST_FOREACH(m, &l->members, struct member, link_in_leader) {
        /* Before UPTODATE some learners ignore pings, others answer them: so those are others. */
        if (m->gone || m->state != MEMBER_ACTIVE)
            continue;
        m->pings_sent++;
        send_bytes(m, &l->packet);
    }
}

/* Whoever has answered a ping of this round, or of a later one, still followed us when it came. All pings are answered, in
 * order, and each round sends one to everybody who is active: so what a member has yet to answer counts back from the newest
 * round. */
static bool round_confirmed(const struct leader *l, uint64_t round) {
    struct voter_set set = {0};
    struct member *m;
    voter_set_add(l->q, &set, l->q->sid);
    LIST_FOREACH(m, &l->members, struct member, link_in_leader) {
        uint64_t behind = m->pings_sent - m->pings_answered;
        if (!m->gone && !m->observer && m->state == MEMBER_ACTIVE && m->pings_answered != 0 && l->round - behind >= round)
            voter_set_add(l->q, &set, m->sid);
    }
    return voter_set_is_quorum(l->q, &set);
}

static void answer_syncs(struct leader *l) {
    struct server *s = server_of(l);
    while (!list_empty(&l->syncs)) {
        struct pending_sync *p = LIST_FIRST(&l->syncs, struct pending_sync, link);
        p->confirmed = p->confirmed || (p->round <= l->round && round_confirmed(l, p->round));
        zxid_t reached = p->origin == 0 ? s->last_applied : s->committed;
        if (!p->confirmed || (p->barrier > reached && zxid_counter(p->barrier) != 0))
            return;
        list_remove(&p->link);
        if (p->r != NULL) {
            p->r->keeper = NULL;
            server_synced(s, p->r);
        } else if (p->origin != 0) {
            struct member *m = find_member(l, p->origin);
            if (m != NULL)
                send_packet(m, PACKET_SYNC, 0, SLICE_NULL);
        }
        mem_free(p);
    }
}

static void leader_sync(struct server *s, struct request *r) { add_sync(s->quorum->leader, r, 0); }

/* ------------------------------------------------------------------ links */

static void take_packet(struct member *m, const struct quorum_packet *p) {
    switch (m->state) {
    case MEMBER_HELLO:
        take_hello(m, p);
        return;
    case MEMBER_EPOCH_SENT:
        take_epoch_ack(m, p);
        return;
    default:
        break;
    }
    switch (p->type) {
    case PACKET_ACK:
        take_ack(m, p->zxid);
        break;
    case PACKET_PING:
        if (m->pings_answered < m->pings_sent && p->zxid != PING_WAITING)
            m->pings_answered++;
        take_touches(m, p->data);
        break;
    case PACKET_REQUEST:
        take_request(m, p);
        break;
    case PACKET_REVALIDATE:
        take_revalidation(m, p->data);
        break;
    default:
        log_warn("%s (%d) from learner %" PRId64 " is ignored", packet_name(p->type), (int)p->type, m->sid);
    }
}

static size_t on_received(struct link *link, const uint8_t *data, size_t len) {
    struct member *m = link->owner;
    size_t pos = 0;
    hear(m);
    while (pos < len && !m->gone && !m->leader->q->leaving) {
        struct quorum_packet p;
        size_t used;
        size_t max = m->state == MEMBER_HELLO ? HELLO_DATA_MAX : PACKET_DATA_MAX;
        enum packet_result result = quorum_packet_get(data + pos, len - pos, max, &p, &used);
        if (result == PACKET_MALFORMED)
            drop(m, "what it sends does not decode");
        if (result == PACKET_INCOMPLETE)
            link->want = used;
        if (result != PACKET_COMPLETE)
            break;
        take_packet(m, &p);
        pos += used;
    }
    return pos;
}

static void on_closed(struct link *link, const char *reason) {
    struct member *m = link->owner;
    m->link = NULL;
    drop(m, reason);
}

static const struct link_events member_events = {.received = on_received, .closed = on_closed};

void leader_accepted(struct leader *l, struct link *link) {
    struct member *m = mem_calloc(1, sizeof *m);
    m->leader = l;
    m->link = link;
    m->sid = -1;
    m->origin = l->next_origin++;
    link->events = &member_events;
    link->owner = m;
    list_push(&l->members, &m->link_in_leader);
    hear(m);
}

static void member_free(struct member *m) {
    list_remove(&m->link_in_leader);
    if (m->link != NULL)
        m->leader->q->links->close(m->leader->q->links_ctx, m->link);
    if (m->sending != NULL) {
        m->sending->owner = NULL;
        if (!m->sending->busy)
            sending_free(m->sending);
    }
    if (m->reading != NULL) {
        m->reading->owner = NULL;
        if (!m->reading->busy)
            reading_free(m->reading);
    }
    mem_free(m);
}

/* ------------------------------------------------------------------ the role */

static zxid_t leader_in_use(const struct server *s) {
    const struct leader *l = s->quorum->leader;
    const struct member *m;
    zxid_t oldest = 0;
    if (l == NULL)
        return 0;
    LIST_FOREACH(m, &l->members, const struct member, link_in_leader) {
        zxid_t from = m->state == MEMBER_SNAP ? m->snap_zxid : m->fed;
        bool reads = m->state == MEMBER_SNAP || m->state == MEMBER_LOG || m->state == MEMBER_FEED || m->reading != NULL;
        if (!m->gone && reads && from > 0)
            oldest = oldest == 0 ? from : i64_min(oldest, from);
    }
    return oldest;
}

static const struct role_ops role_leader = {.orders = true,
                                            .mode = "leader",
                                            .logged = leader_logged,
                                            .proposed = leader_proposed,
                                            .sync = leader_sync,
                                            .in_use = leader_in_use};

struct leader *leader_new(struct quorum *q) {
    struct leader *l = mem_calloc(1, sizeof *l);
    l->q = q;
    l->epoch = -1;
    l->own_epoch = q->epochs.current;
    l->next_origin = OWNER_SELF + 1;
    list_init(&l->members);
    list_init(&l->syncs);
    snapwaits_init(&l->snapwaits);
    l->began = q->s->now.mono;
    l->setup_deadline = mono_add_ms(q->s->now.mono, quorum_ticks_ms(q, q->s->config->init_limit_ticks));
    l->next_ping = mono_add_ms(q->s->now.mono, q->s->config->tick_time_ms / 2);
    q->leader = l;
    q->links->listen(q->links_ctx, LINK_QUORUM, true);
    propose_epoch(l, q->sid, i64_max(q->epochs.accepted, q->epoch_heard));
    count_epoch_ack(l, q->sid);
    return l;
}

void leader_free(struct leader *l) {
    struct member *m;
    struct pending_sync *p;
    l->q->links->listen(l->q->links_ctx, LINK_QUORUM, false);
    LIST_FOREACH(m, &l->members, struct member, link_in_leader)
        member_free(m);
    LIST_FOREACH(p, &l->syncs, struct pending_sync, link) {
        if (p->r != NULL) {
            p->r->kind = REQUEST_READ;
            p->r->keeper = NULL;
        }
        mem_free(p);
    }
    snapwaits_free(&l->snapwaits);
    buf_free(&l->packet);
    mem_free(l);
}

void leader_supporter_looking(struct leader *l, int64_t sid) {
    struct quorum *q = l->q;
    int64_t patience_ms = q->s->config->epoch_wait_max_ms;
    if (l->epoch_decided || patience_ms < 0 || mono_diff_us(q->s->now.mono, l->began) < patience_ms * 1000)
        return;
    metric_count(&q->s->metrics, METRIC_QUIT_LEADING_DUE_TO_DISLOYAL_VOTER, 1);
    quorum_leave(q, "voter %" PRId64 " looks for a leader again (leader.maxTimeToWaitForEpoch)", sid);
}

static bool heard_from_quorum(const struct leader *l, bool with_us) {
    struct voter_set set = {0};
    struct member *m;
    if (with_us)
        voter_set_add(l->q, &set, l->q->sid);
    LIST_FOREACH(m, &l->members, struct member, link_in_leader)
        if (!m->gone && !m->observer && m->state >= MEMBER_SYNCED)
            voter_set_add(l->q, &set, m->sid);
    return voter_set_is_quorum(l->q, &set);
}

static int64_t lag_limit_us(const struct leader *l) {
    return quorum_ticks_ms(l->q, server_of(l)->config->sync_limit_ticks) * 1000;
}

/* Commits need no disk of ours, but memory holds what it does not take; and without space we refuse in everybody's name what
 * grows. If the others can do without us, one of them leads better. */
static void hand_over(struct leader *l) {
    struct quorum *q = l->q;
    struct monotime now = now_of(l).mono;
    bool slow = l->lag_zxid != 0 && mono_diff_us(now, l->lag_since) > lag_limit_us(l);
    if ((!slow && !diskguard_hopeless(q->s)) || !heard_from_quorum(l, false))
        return;
    if (q->handed_over.us != 0 && mono_diff_us(now, q->handed_over) < HAND_OVER_INTERVAL_MS * INT64_C(1000))
        return; /* perhaps theirs is no better */
    q->handed_over = now;
    quorum_stand_back(q, HAND_OVER_REST_MS);
    quorum_leave(q, "our disk is %s, and the others can do without it", slow ? "too slow" : "full");
}

static void check_members(struct leader *l) {
    struct monotime now = now_of(l).mono;
    struct member *m;
    LIST_FOREACH(m, &l->members, struct member, link_in_leader) {
        if (!m->gone && mono_diff_us(now, m->deadline) >= 0)
            drop(m, "nothing was heard from it");
        if (!m->gone && m->state >= MEMBER_SYNCED && m->lag_zxid != 0 && mono_diff_us(now, m->lag_since) > lag_limit_us(l))
            drop(m, "it does not acknowledge");
        if (m->streams && unsent(m) > UNSENT_MAX)
            drop(m, "it does not read");
        if (m->gone)
            member_free(m);
        else if (m->state == MEMBER_LOG)
            reading_go_on(m);
        else if (m->state == MEMBER_FEED)
            feed(m);
        else if (m->state == MEMBER_SNAP_WAIT)
            try_snapshot(m);
        else if (m->state == MEMBER_SNAP)
            sending_go_on(m);
    }
}

static void tick(struct leader *l) {
    struct quorum *q = l->q;
    if (mono_diff_us(now_of(l).mono, l->next_ping) < 0)
        return;
    l->next_ping = mono_add_ms(now_of(l).mono, i64_max(1, server_of(l)->config->tick_time_ms / 2));
    ping_waiting(l);
    if (!l->serving)
        return;
    begin_round(l);
    l->odd_ping = !l->odd_ping;
    if (!l->odd_ping && !heard_from_quorum(l, true))
        quorum_leave(q, "no quorum of synced followers is left");
}

void leader_turn(struct leader *l) {
    check_members(l);
    if (!l->serving && mono_diff_us(now_of(l).mono, l->setup_deadline) >= 0) {
        quorum_leave(l->q, "no quorum followed in time");
        return;
    }
    tick(l);
    if (l->serving)
        hand_over(l);
    if (l->round_wanted && !l->q->leaving)
        begin_round(l);
    answer_syncs(l);
}

struct monotime leader_next_wake(const struct leader *l) {
    struct monotime wake = l->next_ping;
    const struct member *m;
    if (l->round_wanted)
        return now_of(l).mono;
    if (!l->serving)
        wake.us = i64_min(wake.us, l->setup_deadline.us);
    LIST_FOREACH(m, &l->members, const struct member, link_in_leader) {
        wake.us = i64_min(wake.us, m->deadline.us);
        if (m->gone)
            return now_of(l).mono;
        if (m->state >= MEMBER_SNAP_WAIT && m->state <= MEMBER_FEED)
            wake.us = i64_min(wake.us, now_of(l).mono.us + 5000);
    }
    return wake;
}

void leader_view(const struct leader *l, struct quorum_view *v) {
    const struct member *m;
    v->phase = l->serving ? "broadcast" : l->current_durable ? "synchronization" : "discovery";
    v->leading_since = l->serving_since;
    LIST_FOREACH(m, &l->members, const struct member, link_in_leader) {
        if (m->gone || m->state == MEMBER_HELLO)
            continue;
        bool synced = m->state == MEMBER_ACTIVE, votes = qconfig_voter_bit(l->q->committed, m->sid) != 0;
        v->learners++;
        v->synced_followers += !m->observer && synced && votes;
        v->synced_non_voters += !m->observer && synced && !votes;
        v->synced_observers += m->observer && synced;
    }
    for (const struct list *p = l->syncs.next; p != &l->syncs; p = p->next)
        v->pending_syncs++;
}

void leader_each_learner(const struct leader *l, quorum_visit *visit, void *ctx) {
    const struct member *m;
    zxid_t last = server_of(l)->last_prepared;
    LIST_FOREACH(m, &l->members, const struct member, link_in_leader) {
        if (m->gone || m->state == MEMBER_HELLO)
            continue;
        struct quorum_learner view = {.sid = m->sid,
                                      .observer = m->observer,
                                      .synced = m->state == MEMBER_ACTIVE,
                                      .unsent_bytes = unsent(m)};
        if (!m->observer && m->state >= MEMBER_SYNCED)
            view.unacknowledged = last - (m->acked > zxid_make(l->epoch, 0) ? m->acked : zxid_make(l->epoch, 0));
        visit(ctx, &view);
    }
}
