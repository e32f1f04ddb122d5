/* Expiry by bucket: elements whose deadlines fall into the same interval stand in one bucket, so that moving a deadline
 * costs nothing most of the time. See docs/protocol/operations.md section 13. */
#ifndef ZABRA_BASE_EXPIRY_H
#define ZABRA_BASE_EXPIRY_H

#include "base/hmap.h"
#include "base/list.h"

struct expiry_bucket;

/* Lives inside the element. Zero-initialise. */
struct expiry_node {
    struct list link;
    struct expiry_bucket *bucket; /* NULL = not queued */
};

struct expiry {
    int64_t interval_ms;
    int64_t next_ms;     /* deadline of the earliest bucket that may be due */
    struct hmap buckets; /* by deadline */
    size_t count;        /* elements queued */
};

/* interval_ms > 0; now_ms is any monotonic millisecond clock. */
void expiry_init(struct expiry *e, int64_t interval_ms, int64_t now_ms);
/* Frees the buckets; elements still queued are simply forgotten. */
void expiry_close(struct expiry *e);
/* Moves the element to the bucket of ((now + timeout) / interval + 1) * interval. */
void expiry_touch(struct expiry *e, struct expiry_node *node, int64_t now_ms, int64_t timeout_ms);
/* Takes the element out; harmless if it is not queued. */
void expiry_remove(struct expiry *e, struct expiry_node *node);
/* Takes out one element whose deadline is not after now; NULL if there is none. */
struct expiry_node *expiry_pop(struct expiry *e, int64_t now_ms);
/* The earliest time at which expiry_pop may have something, or INT64_MAX. */
int64_t expiry_next(const struct expiry *e);
/* The deadline of a queued element. */
int64_t expiry_deadline(const struct expiry_node *node);

#endif
