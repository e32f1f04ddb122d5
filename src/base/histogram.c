#include "base/histogram.h"

#include <string.h>

#define SUB (1u << HISTOGRAM_SUB_BITS)

static unsigned bucket_of(uint64_t value) {
    if (value < SUB)
        return (unsigned)value;
    unsigned shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_SUB_BITS;
    return (shift + 1) * SUB + (unsigned)((value >> shift) & (SUB - 1));
}

static uint64_t bucket_top(unsigned bucket) {
    if (bucket < SUB)
        return bucket;
    unsigned shift = bucket / SUB - 1;
    return (((uint64_t)SUB + bucket % SUB + 1) << shift) - 1;
}

void histogram_reset(struct histogram *h) {
    memset(h, 0, sizeof *h);
    h->min = UINT64_MAX;
}

void histogram_add(struct histogram *h, uint64_t value) {
    h->count++;
    h->sum += value;
    if (value < h->min)
        h->min = value;
    if (value > h->max)
        h->max = value;
    h->buckets[bucket_of(value)]++;
}

uint64_t histogram_quantile(const struct histogram *h, double q) {
    if (h->count == 0)
        return 0;
    uint64_t rank = (uint64_t)(q * (double)h->count);
    if (rank >= h->count)
        rank = h->count - 1;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > rank)
            return bucket_top(i) < h->max ? bucket_top(i) : h->max;
    }
    return h->max;
}

void histogram_merge(struct histogram *h, const struct histogram *other) {
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        h->buckets[i] += other->buckets[i];
    h->count += other->count;
    h->sum += other->sum;
    if (other->count != 0 && other->min < h->min)
        h->min = other->min;
    if (other->max > h->max)
        h->max = other->max;
}
