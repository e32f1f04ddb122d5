/* Allocation that never fails: out of memory aborts, by design. Sizes that come from outside are bounded by the caller
 * before they get here. */
#ifndef ZABRA_BASE_MEM_H
#define ZABRA_BASE_MEM_H

#include <stddef.h>

/* As malloc, calloc, realloc; the result is never NULL. Freed with mem_free. */
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1)));
void *mem_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull, alloc_size(1, 2)));
void *mem_realloc(void *ptr, size_t size) __attribute__((returns_nonnull));
/* Copies size bytes of src into new memory. */
void *mem_dup(const void *src, size_t size) __attribute__((malloc, returns_nonnull));
/* Copies a C string into new memory. */
char *mem_strdup(const char *src) __attribute__((malloc, returns_nonnull));
/* NULL is fine. */
void mem_free(void *ptr);

#endif
