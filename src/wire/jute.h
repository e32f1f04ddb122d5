/* The jute encoding: big-endian integers, length-prefixed strings and buffers (length -1 = null).
 * See docs/protocol/client-protocol.md section 1.
 *
 * Reading is bounds-checked with a sticky error: after the first fault every read gives zeros and nulls, and the caller
 * asks once at the end. Strings and buffers are slices into the input. */
#ifndef ZABRA_WIRE_JUTE_H
#define ZABRA_WIRE_JUTE_H

#include <endian.h>
#include <string.h>

#include "base/buf.h"
#include "base/strutil.h"

struct jute_in {
    const uint8_t *p, *end;
    bool failed;
};

static inline struct jute_in jute_in(const void *data, size_t len) {
    return (struct jute_in){data, (const uint8_t *)data + len, false};
}
static inline size_t jute_left(const struct jute_in *in) { return (size_t)(in->end - in->p); }

/* Takes n raw bytes; NULL (and the error set) if fewer are left. */
static inline const uint8_t *jute_take(struct jute_in *in, size_t n) {
    if (UNLIKELY(in->failed || jute_left(in) < n)) {
        in->failed = true;
        return NULL;
    }
    const uint8_t *p = in->p;
    in->p += n;
    return p;
}

static inline uint32_t be32_load(const void *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return be32toh(v);
}
static inline uint64_t be64_load(const void *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return be64toh(v);
}
static inline uint8_t *be32_store(uint8_t *p, uint32_t v) {
    v = htobe32(v);
    memcpy(p, &v, 4);
    return p + 4;
}
static inline uint8_t *be64_store(uint8_t *p, uint64_t v) {
    v = htobe64(v);
    memcpy(p, &v, 8);
    return p + 8;
}

static inline int32_t jute_int(struct jute_in *in) {
    const uint8_t *p = jute_take(in, 4);
    return p ? (int32_t)be32_load(p) : 0;
}
static inline int64_t jute_long(struct jute_in *in) {
    const uint8_t *p = jute_take(in, 8);
    return p ? (int64_t)be64_load(p) : 0;
}
static inline bool jute_bool(struct jute_in *in) {
    const uint8_t *p = jute_take(in, 1);
    return p && *p != 0;
}
/* A buffer or string. data = NULL for null (and after an error); an empty one has data != NULL. */
static inline struct slice jute_bytes(struct jute_in *in) {
    int32_t len = jute_int(in);
    if (len == -1)
        return SLICE_NULL;
    if (UNLIKELY(len < 0)) {
        in->failed = true;
        return SLICE_NULL;
    }
    const uint8_t *p = jute_take(in, (size_t)len);
    return p ? (struct slice){(const char *)p, (size_t)len} : SLICE_NULL;
}
/* As jute_bytes, but null is an error, too. */
static inline struct slice jute_bytes_not_null(struct jute_in *in) {
    struct slice s = jute_bytes(in);
    if (s.data == NULL)
        in->failed = true;
    return s;
}
/* The count of a vector: -1 = null, other negative counts read as 0. */
static inline int32_t jute_count(struct jute_in *in) {
    int32_t n = jute_int(in);
    return n < -1 ? 0 : n;
}

static inline void jute_put_int(struct buf *b, int32_t v) {
    be32_store(buf_tail(b, 4), (uint32_t)v);
    b->len += 4;
}
static inline void jute_put_long(struct buf *b, int64_t v) {
    be64_store(buf_tail(b, 8), (uint64_t)v);
    b->len += 8;
}
static inline void jute_put_bool(struct buf *b, bool v) {
    *buf_tail(b, 1) = v;
    b->len += 1;
}
/* data = NULL writes null. */
static inline void jute_put_bytes(struct buf *b, struct slice s) {
    if (s.data == NULL) {
        jute_put_int(b, -1);
        return;
    }
    uint8_t *p = be32_store(buf_tail(b, 4 + s.len), (uint32_t)s.len);
    memcpy(p, s.data, s.len);
    b->len += 4 + s.len;
}
/* Overwrites four bytes written before, such as a count or length that is known only now. */
static inline void jute_patch_int(struct buf *b, size_t offset, int32_t v) { be32_store(b->data + offset, (uint32_t)v); }

#endif
