/* Sets of 32-bit values for which each byte counts: 8 bytes and no allocation for an empty set or a single value, about 6 bytes
 * a value in large ones. Nothing is ever rehashed in one go, however large the set.
 *
 * A value has a key, the bits of it that a mask selects, and a set has one value per key. The mask is an argument and must
 * always be the same for a set. Values are at least U32SET_VALUE_MIN, and their keys are spread by a hash.
 *
 * bytes: the owner's count of the memory that its sets hold; kept up to date by what allocates and frees. */
#ifndef ZABRA_TREE_U32SET_H
#define ZABRA_TREE_U32SET_H

#include "base/common.h"

#define U32SET_VALUE_MIN 2u

/* Zero-initialise. */
struct u32set {
    uint64_t bits; /* private */
};

static inline bool u32set_is_empty(struct u32set s) { return s.bits == 0; }
uint32_t u32set_count(struct u32set s);
/* The value with this key, or 0. */
uint32_t u32set_get(struct u32set s, uint32_t key, uint32_t mask);
/* Adds the value, in the place of one with the same key if there is one. */
void u32set_put(uint64_t *bytes, struct u32set *s, uint32_t value, uint32_t mask);
/* Returns the value that was there, or 0. Does not make the set smaller: one event can take values out of thousands of sets. */
uint32_t u32set_remove(uint64_t *bytes, struct u32set *s, uint32_t key, uint32_t mask);
/* Gives memory back if few values are left. */
void u32set_shrink_if_needed(uint64_t *bytes, struct u32set *s, uint32_t mask);
/* Leaves it empty. */
void u32set_free(uint64_t *bytes, struct u32set *s);
/* Any one value, 0 if the set is empty. Removing one after the other takes constant time each. Uses the first note. */
uint32_t u32set_any(uint64_t *bytes, struct u32set *s, uint32_t mask);
/* Iteration: start with *cursor = 0; 0 at the end. The set must not change meanwhile. */
uint32_t u32set_next(struct u32set s, uint64_t *cursor);
/* Replaces each value by what change returns for it, which must have the same key. */
typedef uint32_t u32set_change(void *ctx, uint32_t value);
void u32set_map(struct u32set *s, u32set_change *change, void *ctx);

/* Two numbers that the owner may keep with a set that has more than one value. They begin at 0 and stay through growing and
 * shrinking; NULL while there is no room for them, and then u32set_single tells all there is to know. */
uint32_t *u32set_notes(struct u32set s);
/* The value of a set without notes; 0 if it is empty, or has notes. */
uint32_t u32set_single(struct u32set s);

/* What u32set_remove of the key will need is fetched into the cache: first of any key, a little later of this one. */
void u32set_prefetch(struct u32set s);
void u32set_prefetch_key(struct u32set s, uint32_t key);

#endif
