/* zabra-benchmark: a load tool for any ZooKeeper server, in the manner of redis-benchmark.
 *
 * From the bottom up: request.c knows the bytes, conn.c one connection with its session, pool.c many of them, load.c
 * keeps them busy in a closed or open loop, test_*.c are the tests, znodes.c what they need on the server, result.c the
 * figures. One thread, one libevent base, and as little work per request as the checks allow: the tool must be cheaper
 * than the server that it loads.
 *
 * A new test: a row in tests.c and its function, in a test_*.c. A new request: a row in request.c. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "benchmark/echo_server.h"
#include "benchmark/fdatasync_test.h"
#include "benchmark/tests.h"

#ifndef PACKAGE_VERSION
#define PACKAGE_VERSION "unknown"
#endif

static void print_help(void) {
    printf("Usage: zabra-benchmark [options]\n\n");
    options_print(stdout);
    printf("\nTests:\n");
    test_print(stdout);
    printf("\nEvery reply is checked. The exit status is 0 if all was right, 1 if a reply was wrong or a connection\n"
           "failed, 2 for a bad command line. Without -t, --fill and --idle are done alone; without any of the three\n"
           "the default tests run.\n\n"
           "Examples:\n"
           "  zabra-benchmark -t get,set -c 50 -n 100000 -d 100\n"
           "  zabra-benchmark -t mixed --rate 4000 --duration 30 --server-pid 1234 --json\n"
           "  zabra-benchmark --fill 1000000 --keep --path-prefix /big\n"
           "  zabra-benchmark -t watch-many --path-prefix /big --existing --keyspace 1000000 -c 1000 --watches 1000 "
           "--hold -1\n");
}

static void run_steps(struct test_run *run) {
    const struct options *opt = run->bench->opt;
    struct pool idle;
    bool idling = false;
    if (opt->fill != 0)
        fill_run(run);
    if (opt->idle != 0 && !run->bench->broken && !run->bench->ended) {
        idling = true;
        idle_open(run, &idle);
    }
    if ((opt->tests != NULL || (opt->fill == 0 && opt->idle == 0)) && !run->bench->broken)
        test_run_list(run, opt->tests);
    if (idling)
        pool_close(&idle);
    znodes_cleanup(run->znodes);
}

static int run_benchmark(const struct options *opt) {
    struct bench bench;
    struct znodes znodes;
    char own_prefix[64];
    snprintf(own_prefix, sizeof own_prefix, "/zabra-benchmark-%ld", (long)getpid());
    const char *prefix = opt->path_prefix ? opt->path_prefix : own_prefix;
    bool ok = bench_init(&bench, opt, prefix);
    if (ok) {
        znodes_init(&znodes, &bench, prefix);
        struct test_run run = {.bench = &bench, .znodes = &znodes, .report = report_new(opt)};
        run_steps(&run);
        report_end(run.report, bench.wrong);
        znodes_free(&znodes);
        if (bench.wrong != 0)
            fprintf(stderr, "zabra-benchmark: %" PRIu64 " wrong replies or failed connections\n", bench.wrong);
        ok = bench.wrong == 0;
    }
    bench_close(&bench);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv) {
    struct options opt;
    if (!options_parse(&opt, argc, argv))
        return 2;
    if (opt.help) {
        print_help();
        return EXIT_SUCCESS;
    }
    if (opt.version) {
        printf("zabra-benchmark %s\n", PACKAGE_VERSION);
        return EXIT_SUCCESS;
    }
    if (opt.echo_port != 0)
        return echo_server_run((uint16_t)opt.echo_port, opt.data_bytes, opt.echo_sync_dir);
    if (opt.fdatasync_dir != NULL)
        return fdatasync_test_run(&opt);
    if (opt.tests != NULL && !test_list_valid(opt.tests))
        return 2;
    return run_benchmark(&opt);
}
