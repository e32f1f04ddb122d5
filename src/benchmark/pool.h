/* A number of connections that are used for the same thing. */
#ifndef ZABRA_BENCHMARK_POOL_H
#define ZABRA_BENCHMARK_POOL_H

#include "benchmark/conn.h"

struct pool {
    struct list link; /* in bench.pools */
    struct bench *bench;
    const struct conn_handler *handler; /* may be replaced at any time */
    void *context;                      /* of the handler */
    struct conn *conns;
    size_t count;
    size_t in_state[CONN_CLOSING + 1]; /* connections in each enum conn_state */
    size_t next_to_open;               /* conns from here on have not been opened by pool_open yet */
    bool opening;
};

/* Makes count closed connections at a priority of BENCH_PRIORITY_.... handler NULL = no event is
 * wanted and a loss breaks the step. */
void pool_init(struct pool *pool, struct bench *b, size_t count, int priority, const struct conn_handler *handler,
               void *context);
/* Opens all, a bounded number at a time, and waits until all have a session. Returns as bench_run. */
bool pool_open(struct pool *pool);
/* Closes the sessions and waits for that, unless the step is broken; frees everything. Handlers are not called. */
void pool_close(struct pool *pool);
/* Pings and time limits of all connections. */
void pool_tick(struct pool *pool, int64_t now_ns);

/* For conn.c: keeps in_state; a connection that became ready lets the next one be opened. */
void pool_state_changed(struct pool *pool, enum conn_state from, enum conn_state to);

#endif
