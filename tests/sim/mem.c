/* In the place of base/mem.c: the same, and it counts what is allocated, so that every run can tell whether it has freed all. */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "sim/sim.h"

static size_t blocks;

size_t sim_mem_blocks(void) { return blocks; }

static void *counted(void *p) {
    if (p == NULL)
        abort();
    blocks++;
    return p;
}

void *mem_alloc(size_t size) { return counted(malloc(size != 0 ? size : 1)); }

void *mem_calloc(size_t count, size_t size) { return counted(calloc(count != 0 ? count : 1, size != 0 ? size : 1)); }

void *mem_realloc(void *ptr, size_t size) {
    blocks -= ptr != NULL;
    return counted(realloc(ptr, size != 0 ? size : 1));
}

void *mem_dup(const void *src, size_t size) {
    void *p = mem_alloc(size);
    if (size != 0)
        memcpy(p, src, size);
    return p;
}

char *mem_strdup(const char *src) { return mem_dup(src, strlen(src) + 1); }

void mem_free(void *ptr) {
    blocks -= ptr != NULL;
    free(ptr);
}
