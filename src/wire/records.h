/* Records shared by requests, replies, logs and snapshots. See docs/protocol/client-protocol.md section 6. */
#ifndef ZABRA_WIRE_RECORDS_H
#define ZABRA_WIRE_RECORDS_H

#include "base/types.h"
#include "wire/jute.h"
#include "wire/proto.h"

/* Stat as clients see it. */
struct stat_view {
    zxid_t czxid, mzxid;
    int64_t ctime, mtime;
    int32_t version, cversion, aversion;
    int64_t ephemeral_owner;
    int32_t data_length, num_children;
    zxid_t pzxid;
};

/* 68 bytes. */
void stat_view_put(struct buf *b, const struct stat_view *s);
bool stat_view_get(struct jute_in *in, struct stat_view *s);

/* One entry of an ACL; the slices belong to whoever holds the bytes. */
struct acl_entry {
    int32_t perms;
    struct slice scheme, id;
};

struct acl_entry acl_entry_get(struct jute_in *in);
void acl_entry_put(struct buf *b, const struct acl_entry *e);

struct request_header {
    int32_t xid, type;
};

struct reply_header {
    int32_t xid;
    zxid_t zxid;
    int32_t err;
};

/* 16 bytes at p. */
static inline void reply_header_store(uint8_t *p, const struct reply_header *h) {
    p = be32_store(p, (uint32_t)h->xid);
    p = be64_store(p, (uint64_t)h->zxid);
    be32_store(p, (uint32_t)h->err);
}
struct reply_header reply_header_get(struct jute_in *in);

struct connect_request {
    int32_t protocol_version;
    zxid_t last_zxid_seen;
    int32_t timeout_ms;
    session_id_t session_id;
    struct slice password;
    bool has_read_only; /* the byte was there: clients older than 3.4 do not send it */
    bool read_only;
};
/* False if the payload is too short. */
bool connect_request_get(struct jute_in *in, struct connect_request *r);
void connect_request_put(struct buf *b, const struct connect_request *r);

struct connect_response {
    int32_t protocol_version, timeout_ms;
    session_id_t session_id;
    uint8_t password[PASSWORD_BYTES];
    bool has_read_only, read_only;
};
void connect_response_put(struct buf *b, const struct connect_response *r);
bool connect_response_get(struct jute_in *in, struct connect_response *r);

/* MultiHeader: 9 bytes. */
struct multi_header {
    int32_t type;
    bool done;
    int32_t err;
};
void multi_header_put(struct buf *b, struct multi_header h);
struct multi_header multi_header_get(struct jute_in *in);

/* The password of a session: a fixed function of its id (client-protocol.md section 3.3). */
void session_password(session_id_t id, uint8_t out[PASSWORD_BYTES]);

/* Starts a frame at the end of b (a length that frame_end fills in) and returns its offset. */
static inline size_t frame_begin(struct buf *b) {
    size_t start = b->len;
    jute_put_int(b, 0);
    return start;
}
static inline void frame_end(struct buf *b, size_t start) { jute_patch_int(b, start, (int32_t)(b->len - start - 4)); }

#endif
