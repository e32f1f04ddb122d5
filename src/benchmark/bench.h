/* What all parts of a run share: options, event loop, server addresses, the texts of requests, and the record of what
 * went wrong. */
#ifndef ZABRA_BENCHMARK_BENCH_H
#define ZABRA_BENCHMARK_BENCH_H

#include <event2/event.h>
#include <sys/socket.h>

#include "base/common.h"
#include "base/list.h"
#include "base/rng.h"
#include "benchmark/options.h"
#include "benchmark/request.h"

#define BENCH_READ_BYTES (256 * 1024)

/* Event priorities. Only the probes of a storm run at the higher one, so that the load cannot delay what they measure.
 */
enum { BENCH_PRIORITY_PROBE = 0, BENCH_PRIORITY_LOAD = 1 };

struct server_address {
    struct sockaddr_storage addr;
    socklen_t len;
    char *text; /* as the user gave it */
};

struct bench {
    const struct options *opt;
    struct event_base *base;
    struct server_address *servers;
    size_t server_count;
    struct request_env requests;
    struct rng rng;
    uint8_t *read_buffer; /* BENCH_READ_BYTES, shared by all connections */
    struct list pools;    /* struct pool.link: who wants ticks */
    struct event *tick, *on_int, *on_term;
    const char *doing; /* name of the current step, for messages */
    /* Called on each tick to print a progress line; NULL = nothing to say. */
    void (*progress)(void *arg, struct buf *line);
    void *progress_arg;
    bool progress_shown;
    uint64_t wrong;   /* replies that were wrong and connections that failed, in the whole run */
    bool broken;      /* the current step cannot go on */
    bool interrupted; /* the user wants the current step to end; cleared before cleaning up, so that that can be, too */
    bool ended;       /* the user interrupted at some time: no further steps but cleaning up */
};

/* Builds the loop and looks the servers up. Returns false after printing what is wrong. */
bool bench_init(struct bench *b, const struct options *opt, const char *prefix);
void bench_close(struct bench *b);

/* Counts a wrong reply; the first ones are printed. */
void bench_wrong(struct bench *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* As bench_wrong, and the current step ends. */
void bench_broken(struct bench *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Prints a line for the user (standard error), past the progress line. */
void bench_note(struct bench *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* To be called before a step that cleans up: forgets that the step before broke or was interrupted. */
void bench_begin_cleanup(struct bench *b);

/* Runs the loop until done(arg) says true. Returns false if the step broke, the user interrupted or limit_ms (0 = none)
 * passed before. */
bool bench_run(struct bench *b, bool (*done)(void *arg), void *arg, int64_t limit_ms);
/* Runs the loop for this long. Returns as bench_run. */
bool bench_sleep(struct bench *b, double seconds);
/* Holds as --hold says, after telling the caller on standard error that everything is in place. */
void bench_hold(struct bench *b, const char *what);

#endif
