/* Text helpers: numbers, hex, base64, UTF-8. No locale, no allocation unless said. */
#ifndef ZABRA_BASE_STRUTIL_H
#define ZABRA_BASE_STRUTIL_H

#include "base/buf.h"
#include "base/common.h"

/* A piece of text or bytes that belongs to somebody else. data NULL = null (length 0). */
struct slice {
    const char *data;
    size_t len;
};

#define SLICE_NULL ((struct slice){NULL, 0})
#define SLICE_LIT(text) ((struct slice){(text), sizeof(text) - 1})
static inline struct slice slice_of(const char *text) { return (struct slice){text, strlen(text)}; }
static inline bool slice_eq(struct slice a, struct slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
static inline bool slice_is(struct slice a, const char *text) { return slice_eq(a, slice_of(text)); }
static inline bool slice_starts(struct slice a, struct slice prefix) {
    return a.len >= prefix.len && memcmp(a.data, prefix.data, prefix.len) == 0;
}

/* Whole-text decimal parse with optional sign, as Java's Long.parseLong (a leading + is fine, blanks are not). */
bool str_to_i64(struct slice text, int64_t *value);
/* As str_to_i64, but also 0x... and 0... octal, as Java's Long.decode. */
bool str_decode_i64(struct slice text, int64_t *value);
/* Hex without prefix into a signed 64-bit number, as Java's Long.parseLong(s, 16): values above 2^63-1 are refused. */
bool str_hex_to_i64(struct slice text, int64_t *value);
/* Appends the standard base64 (with padding) of size bytes. */
void str_base64(struct buf *out, const uint8_t *data, size_t size);
/* True if the bytes are well-formed UTF-8 in the sense that Java decodes them without replacement. */
bool str_utf8_valid(const uint8_t *data, size_t size);
/* Appends text as Java would send it back after reading it: malformed sequences become U+FFFD and characters above
 * U+FFFF two 3-byte surrogates. */
void str_java_echo(struct buf *out, const uint8_t *data, size_t size);
/* Appends the number as Java prints a double rounded to 4 decimals: 0.0, 3.6087, 1.0E7. */
void str_java_double(struct buf *out, double value);
/* Edit distance of two short texts, for "did you mean"; texts over 63 bytes give a large number. */
unsigned str_distance(const char *a, const char *b);

#endif
