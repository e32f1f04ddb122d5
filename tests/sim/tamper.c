/* What a member in the middle could do to the packets of the quorum port: breaches of the rules of replication, without a
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
}

/* One packet of a leader. */
static void breach(struct sim_node *from, const struct quorum_packet *p, uint8_t *bytes, struct buf *back) {
    switch (from->sim->options.broken) {
    case BREAK_EARLY_NEWLEADER:
        if (p->type == PACKET_NEWLEADER)
            answer(back, PACKET_ACK, p->zxid, SLICE_NULL);
        break;
    case BREAK_NO_QUORUM:
        if (p->type == PACKET_PROPOSAL)
            answer(back, PACKET_ACK, p->zxid, SLICE_NULL);
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

void sim_tamper(struct sim_node *from, struct sim_tamper *state, struct buf *bytes, struct buf *back) {
    size_t pos = 0, used;
    struct quorum_packet p;
    if (state->learner)
        return;
    if (state->in_snapshot) {
        state->in_snapshot = bytes->len != SIGNATURE_BYTES;
        return;
    }
    while (pos < bytes->len &&
           quorum_packet_get(bytes->data + pos, bytes->len - pos, PACKET_DATA_MAX, &p, &used) == PACKET_COMPLETE) {
        count(from, p.type);
        breach(from, &p, bytes->data + pos, back);
        state->in_snapshot = p.type == PACKET_SNAP;
        pos += used;
    }
}
