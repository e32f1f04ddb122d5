/* A growable byte buffer. */
#ifndef ZABRA_BASE_BUF_H
#define ZABRA_BASE_BUF_H

#include <string.h>

#include "base/common.h"

struct buf {
    uint8_t *data;
    size_t len; /* bytes used */
    size_t cap; /* bytes allocated */
};

#define BUF_INIT ((struct buf){0})

/* Frees the memory and leaves an empty buffer. */
void buf_free(struct buf *b);
/* Makes room for extra bytes behind len (capacity at least doubles when it grows). */
void buf_reserve(struct buf *b, size_t extra);
void buf_append(struct buf *b, const void *src, size_t size);
/* Appends formatted text, without a closing NUL. */
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Removes size bytes from the front by moving the rest. */
void buf_consume(struct buf *b, size_t size);

/* Makes room and returns where to write; the caller adds to len what it wrote. */
static inline uint8_t *buf_tail(struct buf *b, size_t extra) {
    if (UNLIKELY(b->cap - b->len < extra))
        buf_reserve(b, extra);
    return b->data + b->len;
}
static inline void buf_clear(struct buf *b) { b->len = 0; }

#endif
