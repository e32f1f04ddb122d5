/* Drives a pool of open connections with a stream of requests, in one of two ways:
 *
 * - closed loop: every connection keeps `pipeline` requests outstanding;
 * - open loop (rate != 0): requests arrive at a fixed rate whether or not the server keeps up, and the latency of each
 *   counts from when it should have been sent. A closed loop stops asking while the server stalls and so hides the
 * stall (coordinated omission); this one does not. */
#ifndef ZABRA_BENCHMARK_LOAD_H
#define ZABRA_BENCHMARK_LOAD_H

#include "base/histogram.h"
#include "benchmark/pool.h"

struct load {
    /* To be set by the caller. */
    struct pool *pool; /* open; its handler and context are replaced */
    /* Fills in kind, name, key, count and tolerated of the index-th request. */
    void (*choose)(struct load *l, uint64_t index, struct op *op);
    void *arg;           /* for choose */
    uint64_t total;      /* requests */
    int64_t duration_ns; /* stop after this time instead; 0 = off */
    double rate;
    uint64_t pipeline;
    /* Results. */
    uint64_t issued, answered, errors;
    int64_t start_ns;
    struct histogram latency, reads, writes;
    int64_t send_lag_ns_max; /* open loop: how late the client itself was, at worst */
    /* Private. */
    uint64_t due;   /* open loop: arrivals so far */
    size_t next;    /* open loop: connection to try first */
    uint64_t limit; /* of issued; lowered when the time is up */
    struct event *arrivals;
    int timer_fd;
};

/* Runs until everything is answered. Returns as bench_run; after an interruption, what was sent is still waited for. */
bool load_run(struct load *l);

#endif
