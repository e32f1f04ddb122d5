/* Hash map from a 64-bit key to a pointer (open addressing, linear probing, no tombstones).
 *
 * Growth rehashes at once, so it is for tables of up to some hundred thousand entries (sessions, owners, pending
 * changes); the znode table, which can be a hundred times larger, has its own incremental one. */
#ifndef ZABRA_BASE_HMAP_H
#define ZABRA_BASE_HMAP_H

#include "base/common.h"

struct hmap_slot {
    uint64_t key;
    void *value; /* NULL = free slot */
};

struct hmap {
    struct hmap_slot *slots; /* a power of two, or NULL when never used */
    size_t capacity;
    size_t count;
};

void hmap_free(struct hmap *m);
/* NULL if absent. */
void *hmap_get(const struct hmap *m, uint64_t key);
/* Stores value (not NULL) under key and returns the one that was there, or NULL. */
void *hmap_put(struct hmap *m, uint64_t key, void *value);
/* Removes and returns the value, or NULL if absent. */
void *hmap_remove(struct hmap *m, uint64_t key);
/* Iteration in no particular order: start with *cursor = 0; NULL at the end. The map must not change meanwhile. */
void *hmap_next(const struct hmap *m, size_t *cursor);
/* Copies all keys, m->count of them, in no particular order. */
void hmap_keys(const struct hmap *m, uint64_t *keys);
/* Bytes of memory held. */
static inline size_t hmap_bytes(const struct hmap *m) { return m->capacity * sizeof(struct hmap_slot); }

#endif
