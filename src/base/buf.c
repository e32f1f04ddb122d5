#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"

void buf_free(struct buf *b) {
    mem_free(b->data);
    *b = BUF_INIT;
}

void buf_reserve(struct buf *b, size_t extra) {
    zassert(extra <= SIZE_MAX / 4);
    size_t need = b->len + extra;
    if (need <= b->cap)
        return;
    size_t cap = size_max(need, b->cap * 2);
    cap = size_max(cap, 64);
    b->data = mem_realloc(b->data, cap);
    b->cap = cap;
}

void buf_append(struct buf *b, const void *src, size_t size) {
    if (size == 0)
        return;
    memcpy(buf_tail(b, size), src, size);
    b->len += size;
}

void buf_printf(struct buf *b, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    buf_reserve(b, 128);
    int n = vsnprintf((char *)b->data + b->len, b->cap - b->len, fmt, args);
    zassert(n >= 0);
    if ((size_t)n >= b->cap - b->len) {
        buf_reserve(b, (size_t)n + 1);
        vsnprintf((char *)b->data + b->len, b->cap - b->len, fmt, again);
    }
    b->len += (size_t)n;
    va_end(again);
    va_end(args);
}

void buf_consume(struct buf *b, size_t size) {
    zassert(size <= b->len);
    b->len -= size;
    if (b->len != 0)
        memmove(b->data, b->data + size, b->len);
}
