/* What /proc tells about the server's processes. */
#ifndef ZABRA_BENCHMARK_PROCSTAT_H
#define ZABRA_BENCHMARK_PROCSTAT_H

#include <stdbool.h>
#include <stdint.h>

struct procstat {
    /* User and system time since the start, counted in two ways: */
    int64_t task_ns; /* of the threads that live, in nanoseconds */
    int64_t tick_ns; /* of all threads there ever were, in clock ticks */
    int64_t resident_bytes;
};

/* Sums over the processes in a comma-separated list of ids. Returns false if one of them cannot be read (text errors
 * included). */
bool procstat_read(const char *pids, struct procstat *sum);

/* CPU time used between two readings. */
int64_t procstat_cpu_ns(const struct procstat *before, const struct procstat *after);

#endif
