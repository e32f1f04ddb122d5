#include "wire/zab.h"

#include "base/log.h"

const char *packet_name(int32_t type) {
    static const char *const names[] = {
        "unknown", "REQUEST", "PROPOSAL", "ACK", "COMMIT", "PING", "REVALIDATE", "SYNC", "INFORM",
        "COMMITANDACTIVATE", "NEWLEADER", "FOLLOWERINFO", "UPTODATE", "DIFF", "TRUNC", "SNAP", "OBSERVERINFO",
        "LEADERINFO", "ACKEPOCH", "INFORMANDACTIVATE",
    };
    return names[type > 0 && type < (int32_t)ARRAY_LEN(names) ? type : 0];
}

/* -------- packets -------- */

/* Walks the strings of a vector<Id> by their lengths. *at is behind the count, and behind the last id at the end; what is
 * needed at the least if the bytes run out. */
static enum packet_result skip_ids(const uint8_t *bytes, size_t len, size_t max_bytes, int32_t count, size_t *at) {
    size_t start = *at;
    for (int32_t i = 0; i < 2 * count; i++) {
        if (len - *at < 4) {
            *at += 4;
            return PACKET_INCOMPLETE;
        }
        int32_t string = (int32_t)be32_load(bytes + *at);
        if (string < 0 || (size_t)string > max_bytes || *at - start + 4 + (size_t)string > max_bytes)
            return PACKET_MALFORMED;
        *at += 4 + (size_t)string;
        if (*at > len)
            return PACKET_INCOMPLETE;
    }
    return PACKET_COMPLETE;
}

enum packet_result quorum_packet_get(const uint8_t *bytes, size_t len, size_t max_bytes, struct quorum_packet *p,
                                     size_t *used) {
    *used = len < PACKET_HEAD_BYTES ? PACKET_HEAD_BYTES : PACKET_BYTES_MIN;
    if (len < PACKET_HEAD_BYTES)
        return PACKET_INCOMPLETE;
    int32_t data_len = (int32_t)be32_load(bytes + 12);
    if (data_len < -1 || (data_len > 0 && (size_t)data_len > max_bytes))
        return PACKET_MALFORMED;
    size_t at = PACKET_HEAD_BYTES + (data_len > 0 ? (size_t)data_len : 0);
    *used = at + 4;
    if (len < at + 4)
        return PACKET_INCOMPLETE;
    size_t authinfo = at;
    int32_t count = (int32_t)be32_load(bytes + at);
    if (count < -1 || count > PACKET_IDS_MAX)
        return PACKET_MALFORMED;
    at += 4;
    if (count > 0) {
        enum packet_result result = skip_ids(bytes, len, max_bytes, count, &at);
        *used = at;
        if (result != PACKET_COMPLETE)
            return result;
    }
    p->type = (int32_t)be32_load(bytes);
    p->zxid = (zxid_t)be64_load(bytes + 4);
    p->data = data_len < 0 ? SLICE_NULL : (struct slice){(const char *)bytes + PACKET_HEAD_BYTES, (size_t)data_len};
    p->authinfo = count < 0 ? SLICE_NULL : (struct slice){(const char *)bytes + authinfo, at - authinfo};
    return PACKET_COMPLETE;
}

void quorum_packet_put_head(struct buf *b, int32_t type, zxid_t zxid, size_t data_len) {
    zassert(data_len <= INT32_MAX);
    uint8_t *p = buf_tail(b, PACKET_HEAD_BYTES);
    p = be32_store(p, (uint32_t)type);
    p = be64_store(p, (uint64_t)zxid);
    be32_store(p, (uint32_t)data_len);
    b->len += PACKET_HEAD_BYTES;
}

void quorum_packet_put_tail(struct buf *b) { jute_put_int(b, -1); }

void quorum_packet_put(struct buf *b, const struct quorum_packet *p) {
    zassert(p->data.len <= INT32_MAX);
    jute_put_int(b, p->type);
    jute_put_long(b, p->zxid);
    jute_put_bytes(b, p->data);
    if (p->authinfo.data != NULL)
        buf_append(b, p->authinfo.data, p->authinfo.len);
    else
        quorum_packet_put_tail(b);
}

/* -------- authinfo -------- */

void packet_ids_begin(struct buf *b, int32_t count) { jute_put_int(b, count); }

void packet_id_put(struct buf *b, struct slice scheme, struct slice id) {
    jute_put_bytes(b, scheme);
    jute_put_bytes(b, id);
}

struct slice packet_ids_rest(struct slice authinfo) {
    return authinfo.len < 4 ? SLICE_NULL : (struct slice){authinfo.data + 4, authinfo.len - 4};
}

bool packet_id_next(struct slice *rest, struct slice *scheme, struct slice *id) {
    if (rest->len == 0)
        return false;
    struct jute_in in = jute_in(rest->data, rest->len);
    *scheme = jute_bytes_not_null(&in);
    *id = jute_bytes_not_null(&in);
    *rest = in.failed ? SLICE_NULL : (struct slice){(const char *)in.p, jute_left(&in)};
    return !in.failed;
}

/* -------- data of single packets -------- */

/* Null reads as empty, and never does arithmetic on a null pointer. */
static struct jute_in reader(struct slice data) {
    static const uint8_t nothing[LEARNER_INFO_BYTES];
    return data.data != NULL ? jute_in(data.data, data.len) : jute_in(nothing, 0);
}

void learner_info_put(struct buf *b, const struct learner_info *l) {
    jute_put_long(b, l->sid);
    jute_put_int(b, l->protocol_version);
    jute_put_long(b, l->config_version);
}

struct learner_info learner_info_get(struct slice data) {
    struct learner_info l = {.protocol_version = 1};
    struct jute_in in = reader(data);
    l.has_sid = data.len >= 8;
    if (data.len >= 8)
        l.sid = jute_long(&in);
    if (data.len >= 12)
        l.protocol_version = jute_int(&in);
    if (data.len >= LEARNER_INFO_BYTES)
        l.config_version = jute_long(&in);
    return l;
}

void forwarded_request_put(struct buf *b, const struct forwarded_request *r) {
    jute_put_long(b, r->session);
    jute_put_int(b, r->cxid);
    jute_put_int(b, r->type);
    if (r->body.len != 0)
        buf_append(b, r->body.data, r->body.len);
}

bool forwarded_request_get(struct slice data, struct forwarded_request *r) {
    struct jute_in in = reader(data);
    r->session = jute_long(&in);
    r->cxid = jute_int(&in);
    r->type = jute_int(&in);
    r->body = (struct slice){(const char *)in.p, jute_left(&in)};
    return !in.failed;
}

#define TOUCH_BYTES 12

void touch_put(struct buf *b, session_id_t session, int32_t timeout_ms) {
    jute_put_long(b, session);
    jute_put_int(b, timeout_ms);
}

bool touch_valid(struct slice data) { return data.data != NULL && data.len % TOUCH_BYTES == 0; }

bool touch_next(struct slice *rest, session_id_t *session, int32_t *timeout_ms) {
    if (rest->len < TOUCH_BYTES)
        return false;
    struct jute_in in = reader(*rest);
    *session = jute_long(&in);
    *timeout_ms = jute_int(&in);
    *rest = (struct slice){(const char *)in.p, jute_left(&in)};
    return true;
}

void revalidate_put(struct buf *b, session_id_t session, int32_t timeout_ms) { touch_put(b, session, timeout_ms); }

bool revalidate_get(struct slice data, session_id_t *session, int32_t *timeout_ms) {
    return touch_next(&data, session, timeout_ms);
}

void revalidate_reply_put(struct buf *b, session_id_t session, bool valid) {
    jute_put_long(b, session);
    jute_put_bool(b, valid);
}

bool revalidate_reply_get(struct slice data, session_id_t *session, bool *valid) {
    struct jute_in in = reader(data);
    *session = jute_long(&in);
    *valid = jute_bool(&in);
    return !in.failed;
}

void packet_int_put(struct buf *b, int32_t value) { jute_put_int(b, value); }

bool packet_int_get(struct slice data, int32_t *value) {
    struct jute_in in = reader(data);
    *value = jute_int(&in);
    return !in.failed;
}

void activation_put(struct buf *b, int64_t designated) { jute_put_long(b, designated); }

bool activation_get(struct slice data, int64_t *designated, struct slice *rest) {
    struct jute_in in = reader(data);
    *designated = jute_long(&in);
    *rest = (struct slice){(const char *)in.p, jute_left(&in)};
    return !in.failed;
}
