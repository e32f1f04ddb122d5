/* Counts values in buckets of about 3 % width, so that percentiles of millions of samples cost a few kilobytes. */
#ifndef ZABRA_BASE_HISTOGRAM_H
#define ZABRA_BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 5
#define HISTOGRAM_BUCKETS ((65 - HISTOGRAM_SUB_BITS) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t count, sum, min, max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_reset(struct histogram *h);
void histogram_add(struct histogram *h, uint64_t value);
/* The value below which the fraction q (0 to 1) of the samples lies, within the width of a bucket; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *h, double q);
/* Adds all samples of other. */
void histogram_merge(struct histogram *h, const struct histogram *other);

#endif
