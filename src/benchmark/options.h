/* The command line of zabra-benchmark. One table (options.c) holds name, bounds, default and help of every option. */
#ifndef ZABRA_BENCHMARK_OPTIONS_H
#define ZABRA_BENCHMARK_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct options {
    /* what to load */
    const char *servers; /* host:port, comma separated; connections are spread round robin */
    const char *tests;   /* names, comma separated; NULL = the default list */
    uint64_t clients, requests, data_bytes, pipeline;
    double rate;       /* arrivals per second of the open loop; 0 = closed loop */
    double duration_s; /* measure for this long instead of a number of requests; 0 = off */
    double warmup_s;   /* load of the same kind before the measurement, not counted */
    double hold_s;     /* keep idle sessions or watches this long; -1 = until interrupted */
    uint64_t keyspace, read_percent, multi_ops, children;
    uint64_t fill, idle, watches, probes;
    bool bulk_watches; /* set watches with setWatches2 instead of one getData each */
    uint64_t timeout_ms, seed;
    /* znodes */
    const char *path_prefix; /* NULL = a name made of the process id */
    bool existing, keep;
    /* output */
    bool json, csv, quiet;
    const char *server_pids; /* comma separated; NULL = do not look at the server's processes */
    /* other modes */
    uint64_t echo_port;        /* 0 = off */
    const char *echo_sync_dir; /* NULL = the echo server writes nothing */
    const char *fdatasync_dir; /* NULL = off */
    bool help, version;
};

/* Fills in o from the arguments and the defaults. The texts point into argv. Returns false after printing what is wrong
 * to standard error. */
bool options_parse(struct options *o, int argc, char **argv);
/* Prints the option part of the help. */
void options_print(FILE *out);

#endif
