/* The tests that -t names. */
#ifndef ZABRA_BENCHMARK_TESTS_H
#define ZABRA_BENCHMARK_TESTS_H

#include <stdio.h>

#include "benchmark/pool.h"
#include "benchmark/result.h"
#include "benchmark/znodes.h"

/* What a test works with. */
struct test_run {
    struct bench *bench;
    struct znodes *znodes;
    struct report *report;
};

struct test {
    const char *name, *help;
    void (*run)(const struct test *test, struct test_run *run);
    int variant; /* tells apart tests that share a function */
    bool by_default;
};

/* One line per test, for --help. */
void test_print(FILE *out);
/* False, after a message, if a name of the comma-separated list is unknown. */
bool test_list_valid(const char *list);
/* Runs the tests of a valid list (NULL = the default ones) until one breaks or the user interrupts. */
void test_run_list(struct test_run *run, const char *list);

/* Requests in a closed or open loop (test_load.c). The variants: */
enum {
    LOAD_GET,
    LOAD_SET,
    LOAD_MIXED,
    LOAD_CREATE,
    LOAD_DELETE,
    LOAD_MULTI,
    LOAD_CHILDREN,
    LOAD_PING,
    LOAD_ECHO_GET,
    LOAD_ECHO_SET
};
void test_load_run(const struct test *test, struct test_run *run);

/* One event to many connections (test_watch.c). */
enum { WATCH_ONE_SHOT, WATCH_REARM, WATCH_PERSISTENT, WATCH_ECHO };
void test_watch_run(const struct test *test, struct test_run *run);

/* Sessions opened and closed (test_connect.c). */
void test_connect_run(const struct test *test, struct test_run *run);

/* Many watches, to look at the server's memory (test_hold.c). */
void test_watch_many_run(const struct test *test, struct test_run *run);
/* --idle: opens the sessions and reports them; the caller closes the pool in the end. Returns as bench_run. */
bool idle_open(struct test_run *run, struct pool *pool);
/* --fill: as a test of its own. */
void fill_run(struct test_run *run);

/* Reconnect storm (test_storm.c). */
void test_storm_run(const struct test *test, struct test_run *run);

#endif
