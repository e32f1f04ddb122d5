/* What a test measured, and how it is printed: text, CSV or JSON. */
#ifndef ZABRA_BENCHMARK_RESULT_H
#define ZABRA_BENCHMARK_RESULT_H

#include "base/histogram.h"
#include "benchmark/bench.h"
#include "benchmark/procstat.h"

#define RESULT_EXTRAS 16

struct result {
    const char *name;
    const char *unit; /* what ops counts, in the plural: "requests" */
    uint64_t ops, errors;
    uint64_t clients;
    struct histogram latency; /* nanoseconds; may be empty */
    struct histogram reads, writes;
    bool split; /* reads and writes are filled, too */
    /* From result_start to result_end. */
    int64_t wall_ns, client_cpu_ns;
    bool has_server;
    struct procstat server_before, server_after;
    /* More numbers, named as in the JSON. */
    struct {
        const char *name;
        double value;
    } extras[RESULT_EXTRAS];
    size_t extra_count;
    bool complete; /* the test ran to its end */
};

/* Allocates an empty result; freed by report_add, which every test calls in the end. */
struct result *result_new(const char *name, const char *unit);
/* Brackets the measured part: takes the times and the state of the server's processes. */
void result_start(struct bench *b, struct result *r);
void result_end(struct bench *b, struct result *r);
/* Looks at the resident size of the server's processes once more, after they were left alone for a while. */
void result_resident(struct bench *b, struct result *r);
/* Adds another number. name must live on. */
void result_extra(struct result *r, const char *name, double value);

struct report;
struct report *report_new(const struct options *opt);
/* Prints r at once (text, CSV) or keeps it for the end (JSON). Takes r over. */
void report_add(struct report *report, struct result *r);
/* Prints what comes at the end and frees the report. wrong = bench.wrong. */
void report_end(struct report *report, uint64_t wrong);

#endif
