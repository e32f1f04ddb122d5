#include "quorum/link.h"

#include <string.h>

#include "base/mem.h"

struct link_bytes *link_bytes_new(const void *data, size_t len) {
    struct link_bytes *b = mem_alloc(sizeof *b + len);
    b->refs = 1;
    b->len = len;
    memcpy(b->data, data, len);
    return b;
}

void link_bytes_unref(struct link_bytes *b) {
    if (b != NULL && --b->refs == 0)
        mem_free(b);
}
