/* The dangerous integers of the protocol, and the two clocks. */
#ifndef ZABRA_BASE_TYPES_H
#define ZABRA_BASE_TYPES_H

#include <stdint.h>

typedef int64_t zxid_t;       /* transaction id: epoch and counter, see the functions below */
typedef int64_t session_id_t; /* 0 = no session */

/* The only place that knows how a zxid splits into epoch and counter. */
static inline int64_t zxid_epoch(zxid_t zxid) { return (int64_t)((uint64_t)zxid >> 32); }
static inline int64_t zxid_counter(zxid_t zxid) { return zxid & 0xffffffff; }
static inline zxid_t zxid_make(int64_t epoch, int64_t counter) {
    return (zxid_t)((uint64_t)epoch << 32 | (uint64_t)counter);
}

/* A point on the monotonic clock. A struct, so that it cannot be mixed up with wall-clock time or with a duration. */
struct monotime {
    int64_t us;
};

static inline struct monotime mono_add_ms(struct monotime t, int64_t ms) { return (struct monotime){t.us + ms * 1000}; }
static inline int64_t mono_diff_us(struct monotime later, struct monotime earlier) { return later.us - earlier.us; }
static inline int64_t mono_ms(struct monotime t) { return t.us / 1000; }

/* Both clocks as read once per loop turn. Pure code gets them as an argument and never reads a clock itself. */
struct now {
    struct monotime mono;
    int64_t wall_ms; /* milliseconds since 1970 */
};

#endif
