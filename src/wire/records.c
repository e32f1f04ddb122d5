#include "wire/records.h"

void stat_view_put(struct buf *b, const struct stat_view *s) {
    uint8_t *p = buf_tail(b, STAT_BYTES);
    p = be64_store(p, (uint64_t)s->czxid);
    p = be64_store(p, (uint64_t)s->mzxid);
    p = be64_store(p, (uint64_t)s->ctime);
    p = be64_store(p, (uint64_t)s->mtime);
    p = be32_store(p, (uint32_t)s->version);
    p = be32_store(p, (uint32_t)s->cversion);
    p = be32_store(p, (uint32_t)s->aversion);
    p = be64_store(p, (uint64_t)s->ephemeral_owner);
    p = be32_store(p, (uint32_t)s->data_length);
    p = be32_store(p, (uint32_t)s->num_children);
    be64_store(p, (uint64_t)s->pzxid);
    b->len += STAT_BYTES;
}

bool stat_view_get(struct jute_in *in, struct stat_view *s) {
    s->czxid = jute_long(in);
    s->mzxid = jute_long(in);
    s->ctime = jute_long(in);
    s->mtime = jute_long(in);
    s->version = jute_int(in);
    s->cversion = jute_int(in);
    s->aversion = jute_int(in);
    s->ephemeral_owner = jute_long(in);
    s->data_length = jute_int(in);
    s->num_children = jute_int(in);
    s->pzxid = jute_long(in);
    return !in->failed;
}

struct acl_entry acl_entry_get(struct jute_in *in) {
    struct acl_entry e;
    e.perms = jute_int(in);
    e.scheme = jute_bytes(in);
    e.id = jute_bytes(in);
    return e;
}

void acl_entry_put(struct buf *b, const struct acl_entry *e) {
    jute_put_int(b, e->perms);
    jute_put_bytes(b, e->scheme);
    jute_put_bytes(b, e->id);
}

struct reply_header reply_header_get(struct jute_in *in) {
    struct reply_header h;
    h.xid = jute_int(in);
    h.zxid = jute_long(in);
    h.err = jute_int(in);
    return h;
}

bool connect_request_get(struct jute_in *in, struct connect_request *r) {
    r->protocol_version = jute_int(in);
    r->last_zxid_seen = jute_long(in);
    r->timeout_ms = jute_int(in);
    r->session_id = jute_long(in);
    r->password = jute_bytes(in);
    r->has_read_only = !in->failed && jute_left(in) > 0;
    r->read_only = r->has_read_only && jute_bool(in);
    return !in->failed;
}

void connect_request_put(struct buf *b, const struct connect_request *r) {
    jute_put_int(b, r->protocol_version);
    jute_put_long(b, r->last_zxid_seen);
    jute_put_int(b, r->timeout_ms);
    jute_put_long(b, r->session_id);
    jute_put_bytes(b, r->password);
    if (r->has_read_only)
        jute_put_bool(b, r->read_only);
}

void connect_response_put(struct buf *b, const struct connect_response *r) {
    jute_put_int(b, r->protocol_version);
    jute_put_int(b, r->timeout_ms);
    jute_put_long(b, r->session_id);
    jute_put_bytes(b, (struct slice){(const char *)r->password, PASSWORD_BYTES});
    if (r->has_read_only)
        jute_put_bool(b, r->read_only);
}

bool connect_response_get(struct jute_in *in, struct connect_response *r) {
    r->protocol_version = jute_int(in);
    r->timeout_ms = jute_int(in);
    r->session_id = jute_long(in);
    struct slice password = jute_bytes(in);
    if (password.len != PASSWORD_BYTES)
        return false;
    memcpy(r->password, password.data, PASSWORD_BYTES);
    r->has_read_only = jute_left(in) > 0;
    r->read_only = r->has_read_only && jute_bool(in);
    return !in->failed;
}

void multi_header_put(struct buf *b, struct multi_header h) {
    jute_put_int(b, h.type);
    jute_put_bool(b, h.done);
    jute_put_int(b, h.err);
}

struct multi_header multi_header_get(struct jute_in *in) {
    struct multi_header h;
    h.type = jute_int(in);
    h.done = jute_bool(in);
    h.err = jute_int(in);
    return h;
}

void session_password(session_id_t id, uint8_t out[PASSWORD_BYTES]) {
    const uint64_t mask = ((uint64_t)1 << 48) - 1, multiplier = 0x5DEECE66D;
    uint64_t s = ((uint64_t)id ^ 0xB3415C00 ^ multiplier) & mask;
    for (int i = 0; i < PASSWORD_BYTES; i += 4) {
        s = (s * multiplier + 0xB) & mask;
        uint32_t r = (uint32_t)(s >> 16);
        for (int j = 0; j < 4; j++)
            out[i + j] = (uint8_t)(r >> (8 * j));
    }
}
