/* Packets between the servers of an ensemble, on the quorum port. See docs/protocol/zab.md sections 2, 3 and 9.
 *
 * Decoders give slices into the bytes that they were given. */
#ifndef ZABRA_WIRE_ZAB_H
#define ZABRA_WIRE_ZAB_H

#include "base/types.h"
#include "wire/jute.h"

enum packet_type {
    PACKET_REQUEST = 1,
    PACKET_PROPOSAL = 2,
    PACKET_ACK = 3,
    PACKET_COMMIT = 4,
    PACKET_PING = 5,
    PACKET_REVALIDATE = 6,
    PACKET_SYNC = 7,
    PACKET_INFORM = 8,
    PACKET_COMMIT_AND_ACTIVATE = 9,
    PACKET_NEWLEADER = 10,
    PACKET_FOLLOWERINFO = 11,
    PACKET_UPTODATE = 12,
    PACKET_DIFF = 13,
    PACKET_TRUNC = 14,
    PACKET_SNAP = 15,
    PACKET_OBSERVERINFO = 16,
    PACKET_LEADERINFO = 17,
    PACKET_ACKEPOCH = 18,
    PACKET_INFORM_AND_ACTIVATE = 19,
};

#define PACKET_BYTES_MIN 20
/* Identities in one authinfo; a packet with more is malformed, so a sender has to stay below. */
#define PACKET_IDS_MAX 4096
#define LEARNER_PROTOCOL_VERSION 0x10000
#define LEARNER_INFO_BYTES 20

/* For logs, such as PROPOSAL; "unknown" for others. */
const char *packet_name(int32_t type);

struct quorum_packet {
    int32_t type; /* enum packet_type, or unknown: the decoder does not look at it */
    zxid_t zxid;
    struct slice data;     /* data NULL = null */
    struct slice authinfo; /* the encoded vector<Id> with its count; data NULL = null */
};

enum packet_result {
    PACKET_COMPLETE,
    PACKET_INCOMPLETE, /* so far nothing is wrong */
    PACKET_MALFORMED,  /* whatever follows: the connection is of no use any more */
};

/* Decodes the packet that begins at bytes. *used is how long it is; if INCOMPLETE, how many bytes are needed at the least
 * before it makes sense to ask again. Lengths below -1, above max_bytes (of the data, or of the whole authinfo), null
 * schemes and null ids are MALFORMED, as soon as they are seen. The work does not depend on how long the data are. */
enum packet_result quorum_packet_get(const uint8_t *bytes, size_t len, size_t max_bytes, struct quorum_packet *p,
                                     size_t *used);
void quorum_packet_put(struct buf *b, const struct quorum_packet *p);

/* A packet whose data stand elsewhere: head, data_len bytes by the caller, tail (which is a null authinfo). */
#define PACKET_HEAD_BYTES 16
#define PACKET_TAIL_BYTES 4
void quorum_packet_put_head(struct buf *b, int32_t type, zxid_t zxid, size_t data_len);
void quorum_packet_put_tail(struct buf *b);

/* -------- authinfo -------- */

/* Begins an authinfo of count identities, which follow with packet_id_put. */
void packet_ids_begin(struct buf *b, int32_t count);
void packet_id_put(struct buf *b, struct slice scheme, struct slice id);
/* Walks the identities of an authinfo that quorum_packet_get has decoded. rest is set up by packet_ids_rest (empty for
 * null); false at the end. */
struct slice packet_ids_rest(struct slice authinfo);
bool packet_id_next(struct slice *rest, struct slice *scheme, struct slice *id);

/* -------- data of single packets; the get functions return false if they are too short -------- */

/* FOLLOWERINFO, OBSERVERINFO */
struct learner_info {
    bool has_sid;
    int64_t sid;
    int32_t protocol_version; /* 1 if absent */
    int64_t config_version;   /* 0 if absent */
};
void learner_info_put(struct buf *b, const struct learner_info *l);
/* By length; null and anything else is fine. */
struct learner_info learner_info_get(struct slice data);

/* REQUEST */
struct forwarded_request {
    session_id_t session;
    int32_t cxid, type;
    struct slice body; /* empty if there is none */
};
void forwarded_request_put(struct buf *b, const struct forwarded_request *r);
bool forwarded_request_get(struct slice data, struct forwarded_request *r);

/* PING of a learner: a list of sessions that were heard, timeouts in ms. */
void touch_put(struct buf *b, session_id_t session, int32_t timeout_ms);
/* False if data cannot be such a list: null, or cut in the middle of an entry. */
bool touch_valid(struct slice data);
bool touch_next(struct slice *rest, session_id_t *session, int32_t *timeout_ms);

/* REVALIDATE, from the learner and back */
void revalidate_put(struct buf *b, session_id_t session, int32_t timeout_ms);
bool revalidate_get(struct slice data, session_id_t *session, int32_t *timeout_ms);
void revalidate_reply_put(struct buf *b, session_id_t session, bool valid);
bool revalidate_reply_get(struct slice data, session_id_t *session, bool *valid);

/* LEADERINFO: protocol version. ACKEPOCH: current epoch or -1. */
void packet_int_put(struct buf *b, int32_t value);
bool packet_int_get(struct slice data, int32_t *value);

/* COMMITANDACTIVATE, INFORMANDACTIVATE: sid of the designated leader; of the latter, a transaction follows in rest. */
void activation_put(struct buf *b, int64_t designated);
bool activation_get(struct slice data, int64_t *designated, struct slice *rest);

#endif
