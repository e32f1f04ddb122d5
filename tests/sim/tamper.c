/* What somebody in the middle could do to the packets of the quorum port: breaches of the rules of replication, without a
 * line of them in the server. In ordinary runs this only counts. */
#include "quorum/quorum.h"
#include "sim/sim.h"
#include "wire/zab.h"

#define PACKET_DATA_MAX (1u << 30)
/* Ends a snapshot: "BenWasHere" with its length. */
#define SIGNATURE_BYTES 14

static void answer(struct buf *back, int32_t type, zxid_t zxid, struct slice data) {
    quorum_packet_put(back, &(struct quorum_packet){.type = type, .zxid = zxid, .data = data});
}

static void count(struct sim_node *from, int32_t type) {
    struct sim_counters *n = from->sim->counters;
    n->diffs += type == PACKET_DIFF;
    n->truncs += type == PACKET_TRUNC;
    n->snaps += type == PACKET_SNAP;
    const struct metrics *counted = &from->server->metrics;
    n->log_diffs += counted->log_diffs - from->log_diffs;
    n->log_snaps += counted->log_snaps - from->log_snaps;
    from->log_diffs = counted->log_diffs;
    from->log_snaps = counted->log_snaps;
}

/* One packet of a leader. behind: what is to follow it and those that were sent with it. */
static void breach(struct sim_node *from, const struct quorum_packet *p, uint8_t *bytes, struct buf *behind,
                   struct buf *back) {
    switch (from->sim->options.broken) {
    case BREAK_EARLY_NEWLEADER:
        if (p->type == PACKET_NEWLEADER)
            answer(back, PACKET_ACK, p->zxid, SLICE_NULL);
        break;
    case BREAK_NO_QUORUM:
        if (p->type == PACKET_PROPOSAL)
            answer(back, PACKET_ACK, p->zxid, SLICE_NULL);
        break;
    case BREAK_EARLY_COMMIT:
        if (p->type == PACKET_PROPOSAL)
            answer(behind, PACKET_COMMIT, p->zxid, SLICE_NULL);
        break;
    case BREAK_NO_UPTODATE:
        if (p->type == PACKET_UPTODATE)
            be32_store(bytes, PACKET_PING);
        break;
    case BREAK_NO_TRUNC:
        if (p->type == PACKET_TRUNC)
            be32_store(bytes, PACKET_DIFF);
        break;
    case BREAK_NO_PING_ROUND:
        if (p->type == PACKET_PING)
            answer(back, PACKET_PING, p->zxid, SLICE_LIT(""));
        break;
    default:
        break;
    }
}

/* One packet of a learner. */
static void breach_of_learner(const struct sim_node *from, const struct quorum_packet *p, uint8_t *bytes) {
    int32_t epoch;
    if (p->type != PACKET_ACKEPOCH || !packet_int_get(p->data, &epoch))
        return;
    uint8_t *data = bytes + (p->data.data - (const char *)bytes);
    if (from->sim->options.broken == BREAK_BLIND_LEADER && epoch > 0) {
        be64_store(bytes + 4, 0);
        be32_store(data, 0);
    }
    if (from->sim->options.broken == BREAK_PROMISED_TWICE && epoch == -1)
        be32_store(data, 0);
}

static void tamper_learner(const struct sim_node *from, struct buf *bytes) {
    size_t pos = 0, used;
    struct quorum_packet p;
    while (pos < bytes->len &&
           quorum_packet_get(bytes->data + pos, bytes->len - pos, PACKET_DATA_MAX, &p, &used) == PACKET_COMPLETE) {
        breach_of_learner(from, &p, bytes->data + pos);
        pos += used;
    }
}

#define VOTE_BYTES 44
#define VOTE_LEADER 8
#define VOTE_ZXID 16
#define VOTE_PEER_EPOCH 32

void sim_tamper_vote(struct sim_node *from, struct buf *bytes) {
    uint8_t *frame = bytes->data;
    if (from->sim->options.broken != BREAK_BLIND_LEADER || from->sim->leader < 0 || bytes->len < VOTE_BYTES ||
        be32_load(frame) != bytes->len - 4 || be32_load(frame + 4) != 0 || (int64_t)be64_load(frame + VOTE_LEADER) < 0)
        return;
    /* Everybody comes to believe the same, and it is not true. */
    struct rng rng = {be64_load(frame + VOTE_LEADER) + (uint64_t)from->sim->epoch};
    be64_store(frame + VOTE_ZXID, rng_next(&rng) >> 2);
    be64_store(frame + VOTE_PEER_EPOCH, 1 << 20);
}

void sim_tamper(struct sim_node *from, struct sim_tamper *state, struct buf *bytes, struct buf *back) {
    struct buf behind = BUF_INIT;
    size_t pos = 0, used;
    struct quorum_packet p;
    if (state->learner) {
        tamper_learner(from, bytes);
        return;
    }
    if (state->in_snapshot) {
        state->in_snapshot = bytes->len != SIGNATURE_BYTES;
        return;
    }
    while (pos < bytes->len &&
           quorum_packet_get(bytes->data + pos, bytes->len - pos, PACKET_DATA_MAX, &p, &used) == PACKET_COMPLETE) {
        count(from, p.type);
        breach(from, &p, bytes->data + pos, &behind, back);
        state->in_snapshot = p.type == PACKET_SNAP;
        pos += used;
    }
    buf_append(bytes, behind.data, behind.len);
    buf_free(&behind);
}
