#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static void *checked(void *ptr, size_t size) {
    if (ptr == NULL && size != 0)
        log_fatal("out of memory: could not allocate %zu bytes", size);
    return ptr;
}

void *mem_alloc(size_t size) { return checked(malloc(size ? size : 1), size); }

void *mem_calloc(size_t count, size_t size) {
    return checked(calloc(count ? count : 1, size ? size : 1), count);
}

void *mem_realloc(void *ptr, size_t size) { return checked(realloc(ptr, size ? size : 1), size); }

void *mem_dup(const void *src, size_t size) {
    void *copy = mem_alloc(size);
    if (size)
        memcpy(copy, src, size);
    return copy;
}

char *mem_strdup(const char *src) { return mem_dup(src, strlen(src) + 1); }

void mem_free(void *ptr) { free(ptr); }
