#include "benchmark/options.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/common.h"
#include "base/strutil.h"

enum kind { KIND_FLAG, KIND_COUNT, KIND_REAL, KIND_TEXT };

struct row {
    const char *name;
    char letter; /* 0 = long form only */
    enum kind kind;
    size_t offset;
    double min, max, initial; /* numbers only */
    const char *argument, *help;
};

#define FIELD(member) offsetof(struct options, member)
#define FLAG(name, letter, member, help) \
    { name, letter, KIND_FLAG, FIELD(member), 0, 0, 0, "", help }
#define COUNT(name, letter, member, min, max, initial, arg, help) \
    { name, letter, KIND_COUNT, FIELD(member), min, max, initial, arg, help }
#define REAL(name, member, min, max, initial, arg, help) \
    { name, 0, KIND_REAL, FIELD(member), min, max, initial, arg, help }
#define TEXT(name, letter, member, arg, help) \
    { name, letter, KIND_TEXT, FIELD(member), 0, 0, 0, arg, help }

static const struct row rows[] = {
    TEXT("servers", 's', servers, "HOST:PORT,...", "servers; connections are spread over them (127.0.0.1:2181)"),
    COUNT("clients", 'c', clients, 1, 1e6, 50, "N", "connections, each with a session of its own"),
    COUNT("requests", 'n', requests, 1, 1e12, 100000, "N", "requests per test"),
    COUNT("data", 'd', data_bytes, 0, 1e6, 100, "BYTES", "size of a znode's data"),
    COUNT("pipeline", 'P', pipeline, 1, 1e5, 1, "N", "outstanding requests per connection"),
    TEXT("tests", 't', tests, "NAME,...", "tests to run, see below"),
    REAL("rate", rate, 0, 1e8, 0, "N",
         "open loop: N arrivals per second in all, latency counted from the intended start (0: closed loop)"),
    REAL("duration", duration_s, 0, 1e6, 0, "S", "measure for S seconds instead of -n requests"),
    REAL("warmup", warmup_s, 0, 1e6, 0, "S", "run the same load for S seconds before, uncounted"),
    COUNT("keyspace", 0, keyspace, 1, 1e9, 1000, "N", "number of znodes that get, set, mixed and watches choose from"),
    COUNT("mix", 0, read_percent, 0, 100, 90, "PERCENT", "reads in the mixed test"),
    COUNT("multi-ops", 0, multi_ops, 1, 10000, 10, "N", "operations per request of the multi test"),
    COUNT("children", 0, children, 0, 1e7, 100, "N", "children of the znode that the children test lists"),
    COUNT("timeout", 0, timeout_ms, 100, 1e8, 30000, "MS",
          "session timeout to ask for; a server silent for the negotiated one is given up"),
    COUNT("fill", 0, fill, 0, 1e9, 0, "N", "create N znodes first and report it as a test (sets --keyspace, too)"),
    COUNT("idle", 0, idle, 0, 1e6, 0, "N", "open N more sessions that only ping, and keep them"),
    REAL("hold", hold_s, -1, 1e7, 0, "S",
         "keep idle sessions and the watches of watch-many for S seconds (-1: until interrupted)"),
    COUNT("watches", 0, watches, 1, 1e7, 100, "N", "watches per connection (watch-many, storm)"),
    FLAG("bulk-watches", 0, bulk_watches, "set them with setWatches2 instead of one getData each"),
    COUNT("probes", 0, probes, 1, 1000, 10, "N", "sessions that ping every 10 ms during a storm"),
    COUNT("seed", 0, seed, 0, 9e15, 1, "N", "of the random choices"),
    TEXT("path-prefix", 0, path_prefix, "PATH", "work under this znode, which must not exist (/zabra-benchmark-<pid>)"),
    FLAG("existing", 0, existing,
         "the znodes under --path-prefix exist already: use them, do not create or delete any"),
    FLAG("keep", 0, keep, "leave the created znodes behind"),
    FLAG("json", 0, json, "print the results as JSON at the end"),
    FLAG("csv", 0, csv, "print the results as comma-separated values"),
    FLAG("quiet", 'q', quiet, "one line per test, no progress"),
    TEXT("server-pid", 0, server_pids, "PID,...", "report CPU time per request and resident size of these processes"),
    COUNT("echo-server", 0, echo_port, 1, 65535, 0, "PORT",
          "do not load anything: answer the tests echo, echo-set and echo-watch on 127.0.0.1"),
    TEXT("echo-sync", 0, echo_sync_dir, "DIR",
         "the echo server appends -d bytes to a file in DIR and syncs before it answers a setData"),
    TEXT("fdatasync-test", 0, fdatasync_dir, "DIR",
         "do not load anything: append -d bytes to a file in DIR and sync, -n times"),
    FLAG("help", 'h', help, "print this"),
    FLAG("version", 0, version, "print the version"),
};

static void set_count(struct options *o, const struct row *row, uint64_t value) {
    memcpy((char *)o + row->offset, &value, sizeof value);
}
static void set_real(struct options *o, const struct row *row, double value) {
    memcpy((char *)o + row->offset, &value, sizeof value);
}
static void set_text(struct options *o, const struct row *row, const char *value) {
    memcpy((char *)o + row->offset, &value, sizeof value);
}
static void set_flag(struct options *o, const struct row *row) { *((char *)o + row->offset) = 1; }

static bool set_value(struct options *o, const struct row *row, const char *text) {
    if (row->kind == KIND_TEXT) {
        set_text(o, row, text);
        return true;
    }
    int64_t count = 0;
    double real = 0;
    bool good;
    if (row->kind == KIND_COUNT) {
        good = str_to_i64(slice_of(text), &count);
        real = (double)count;
    } else {
        char *end;
        real = strtod(text, &end);
        good = end != text && *end == '\0';
    }
    if (!good || !(real >= row->min && real <= row->max)) {
        fprintf(stderr, "zabra-benchmark: --%s %s: a number from %.15g to %.15g is wanted\n", row->name, text, row->min,
                row->max);
        return false;
    }
    if (row->kind == KIND_COUNT)
        set_count(o, row, (uint64_t)count);
    else
        set_real(o, row, real);
    return true;
}

/* Finds the row of an argument and the value that is part of it (--name=value, -n100), or NULL. */
static const struct row *find_row(const char *argument, const char **attached) {
    *attached = NULL;
    if (argument[0] != '-' || argument[1] == '\0')
        return NULL;
    bool is_long = argument[1] == '-';
    const char *equals = is_long ? strchr(argument, '=') : NULL;
    size_t len = equals ? (size_t)(equals - argument - 2) : strlen(argument) - (is_long ? 2 : 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (is_long && strlen(rows[i].name) == len && memcmp(rows[i].name, argument + 2, len) == 0) {
            *attached = equals ? equals + 1 : NULL;
            return &rows[i];
        }
        if (!is_long && rows[i].letter == argument[1]) {
            *attached = argument[2] != '\0' ? argument + 2 : NULL;
            return &rows[i];
        }
    }
    return NULL;
}

static void set_defaults(struct options *o) {
    memset(o, 0, sizeof *o);
    o->servers = "127.0.0.1:2181";
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].kind == KIND_COUNT)
            set_count(o, &rows[i], (uint64_t)rows[i].initial);
        else if (rows[i].kind == KIND_REAL)
            set_real(o, &rows[i], rows[i].initial);
    }
}

static bool check_together(struct options *o, bool keyspace_given) {
    const char *wrong = NULL;
    if (o->fill != 0 && !keyspace_given)
        o->keyspace = o->fill;
    if (o->json && o->csv)
        wrong = "--json and --csv exclude each other";
    else if (o->echo_sync_dir != NULL && o->echo_port == 0)
        wrong = "--echo-sync needs --echo-server";
    else if (o->existing && o->path_prefix == NULL)
        wrong = "--existing needs --path-prefix";
    else if (o->existing && o->fill != 0)
        wrong = "--existing and --fill exclude each other";
    else if (o->path_prefix && (o->path_prefix[0] != '/' || o->path_prefix[1] == '\0'))
        wrong = "--path-prefix must begin with / and name a znode";
    else if (o->path_prefix && o->path_prefix[strlen(o->path_prefix) - 1] == '/')
        wrong = "--path-prefix must not end with /";
    if (wrong)
        fprintf(stderr, "zabra-benchmark: %s\n", wrong);
    return wrong == NULL;
}

bool options_parse(struct options *o, int argc, char **argv) {
    bool keyspace_given = false;
    set_defaults(o);
    for (int i = 1; i < argc; i++) {
        const char *value;
        const struct row *row = find_row(argv[i], &value);
        if (row == NULL || (row->kind == KIND_FLAG && value != NULL)) {
            fprintf(stderr, "zabra-benchmark: unknown option %s (see --help)\n", argv[i]);
            return false;
        }
        if (row->kind == KIND_FLAG) {
            set_flag(o, row);
            continue;
        }
        if (value == NULL && i + 1 < argc)
            value = argv[++i];
        if (value == NULL) {
            fprintf(stderr, "zabra-benchmark: --%s needs a value\n", row->name);
            return false;
        }
        if (!set_value(o, row, value))
            return false;
        keyspace_given = keyspace_given || row->offset == FIELD(keyspace);
    }
    return check_together(o, keyspace_given);
}

void options_print(FILE *out) {
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        char left[64];
        char letter[8] = "    ";
        if (row->letter)
            snprintf(letter, sizeof letter, "-%c, ", row->letter);
        snprintf(left, sizeof left, "%s--%s %s", letter, row->name, row->argument);
        fprintf(out, "  %-34s %s", left, row->help);
        if ((row->kind == KIND_COUNT || row->kind == KIND_REAL) && row->initial != 0)
            fprintf(out, " (%.15g)", row->initial);
        fputc('\n', out);
    }
}
