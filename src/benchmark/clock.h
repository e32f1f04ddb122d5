/* The monotonic clock in nanoseconds, for the benchmark only (the server reads its clock once per loop turn). */
#ifndef ZABRA_BENCHMARK_CLOCK_H
#define ZABRA_BENCHMARK_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_US 1000
#define NS_PER_MS 1000000
#define NS_PER_S 1000000000

static inline int64_t clock_read_ns(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static inline int64_t clock_ns(void) { return clock_read_ns(CLOCK_MONOTONIC); }
/* CPU time that this process has used. */
static inline int64_t clock_own_cpu_ns(void) { return clock_read_ns(CLOCK_PROCESS_CPUTIME_ID); }

#endif
