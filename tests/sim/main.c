#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "sim/sim.h"

/* A run as long as this must have seen everything. */
#define RUNS_FOR_COUNTERS 200
/* Real seconds after which a seed is taken for an endless loop. */
#define SEED_SECONDS 120

static const struct {
    const char *name;
    uint64_t within; /* must be caught within so many seeds */
} breaks[BREAK_COUNT] = {
    [BREAK_NOTHING] = {"nothing", 0},
    [BREAK_ACK_BEFORE_SYNC] = {"ack-before-sync", 5},
    [BREAK_LOST_SYNC] = {"lost-sync", 20},
    [BREAK_NO_DIR_SYNC] = {"no-dir-sync", 20},
    [BREAK_REORDERED_BATCHES] = {"reordered-batches", 20},
    [BREAK_EARLY_ACK] = {"early-ack", 5},
    [BREAK_EARLY_NEWLEADER] = {"early-newleader", 50},
    [BREAK_NO_CURRENT_EPOCH] = {"no-current-epoch", 50},
    [BREAK_NO_ACCEPTED_EPOCH] = {"no-accepted-epoch", 50},
    [BREAK_NO_QUORUM] = {"no-quorum", 5},
    [BREAK_NO_TRUNC] = {"no-trunc", 50},
    [BREAK_NO_PING_ROUND] = {"no-ping-round", 150},
};

/* For messages that must come out even when the program dies. */
static char replay_command[200];

static void remember(const struct sim_options *o) {
    int n = snprintf(replay_command, sizeof replay_command, "zabra-sim --seed %llu", (unsigned long long)o->seed);
    if (o->clients > 0)
        n += snprintf(replay_command + n, sizeof replay_command - (size_t)n, " --clients %d", o->clients);
    if (o->servers > 0)
        n += snprintf(replay_command + n, sizeof replay_command - (size_t)n, " --servers %d --observers %d", o->servers,
                      o->observers);
    if (o->ops > 0)
        n += snprintf(replay_command + n, sizeof replay_command - (size_t)n, " --ops %d", o->ops);
    if (o->broken != BREAK_NOTHING)
        snprintf(replay_command + n, sizeof replay_command - (size_t)n, " --break %s", breaks[o->broken].name);
}

static void say(const char *text) {
    ssize_t n = write(STDERR_FILENO, text, strlen(text));
    (void)n;
}

static void on_death(int signal_number) {
    say(signal_number == SIGALRM ? "\nendless loop; replay: " : "\nthe program died; replay: ");
    say(replay_command);
    say(" --trace\n");
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void usage(FILE *out) {
    fputs("zabra-sim --seed N [--trace] [--break NAME] [OPTION ...]   play one seed\n"
          "zabra-sim --runs N [--first SEED] [OPTION ...]             play many\n"
          "zabra-sim --self-test                                      break every rule; each must be noticed\n"
          "Options, which otherwise follow from the seed:\n"
          "  --servers N      1: one server alone; more: voters of an ensemble\n"
          "  --observers N    further members, with --servers (all together at most 12)\n"
          "  --clients N, --ops N\n"
          "SIM_LOG=1 in the environment shows the servers' logs on standard error.\n"
          "NAME:",
          out);
    for (int b = BREAK_NOTHING + 1; b < BREAK_COUNT; b++)
        fprintf(out, " %s", breaks[b].name);
    fputs("\n",
          out);
}

static bool play(const struct sim_options *options, struct sim_counters *counters, char failure[512], uint64_t *hash) {
    remember(options);
    alarm(SEED_SECONDS);
    bool passed = sim_run(options, counters, failure, hash);
    alarm(0);
    return passed;
}

static void print_counters(const struct sim_counters *n) {
#define PRINT(name, text) printf("  %-40s %llu\n", text, (unsigned long long)n->name);
    SIM_COUNTERS(PRINT, PRINT, PRINT)
#undef PRINT
}

/* What never happened was not tested. */
static bool all_happened(const struct sim_counters *n) {
    bool all = true;
#define MUST(name, text)                                                                                               \
    if (n->name == 0) {                                                                                                \
        printf("did not happen at all: %s\n", text);                                                                   \
        all = false;                                                                                                   \
    }
#define MAY(name, text)
    SIM_COUNTERS(MUST, MUST, MAY)
#undef MUST
#undef MAY
    return all;
}

static int one_seed(const struct sim_options *options) {
    struct sim_counters counters = {0};
    char failure[512];
    uint64_t hash;
    bool passed = play(options, &counters, failure, &hash);
    print_counters(&counters);
    printf("trace %016llx\n", (unsigned long long)hash);
    if (!passed)
        printf("seed %llu FAILED: %s\n", (unsigned long long)options->seed, failure);
    printf("%d passed, %d failed\n", passed, !passed);
    return passed ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int many_seeds(struct sim_options options, uint64_t first, uint64_t runs) {
    struct sim_counters counters = {0};
    uint64_t failed = 0;
    for (uint64_t i = 0; i < runs; i++) {
        char failure[512];
        uint64_t hash;
        options.seed = first + i;
        if (play(&options, &counters, failure, &hash))
            continue;
        failed++;
        printf("seed %llu FAILED: %s\n  replay: %s --trace\n", (unsigned long long)options.seed, failure, replay_command);
        fflush(stdout);
    }
    print_counters(&counters);
    bool ok = failed == 0 && (runs < RUNS_FOR_COUNTERS || all_happened(&counters));
    printf("%llu passed, %llu failed\n", (unsigned long long)(runs - failed), (unsigned long long)failed);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool is_caught(enum sim_break broken) {
    for (uint64_t seed = 1; seed <= breaks[broken].within; seed++) {
        struct sim_counters counters = {0};
        struct sim_options options = {.seed = seed, .broken = broken, .servers = broken < BREAK_FIRST_OF_ENSEMBLES ? 1 : 3};
        char failure[512];
        uint64_t hash;
        if (!play(&options, &counters, failure, &hash)) {
            printf("%s: caught by seed %llu (limit %llu): %s\n", breaks[broken].name, (unsigned long long)seed,
                   (unsigned long long)breaks[broken].within, failure);
            return true;
        }
    }
    printf("%s: NOT caught by %llu seeds\n", breaks[broken].name, (unsigned long long)breaks[broken].within);
    return false;
}

static bool is_deterministic(uint64_t seed) {
    uint64_t hashes[2];
    for (int i = 0; i < 2; i++) {
        struct sim_counters counters = {0};
        struct sim_options options = {.seed = seed};
        char failure[512];
        play(&options, &counters, failure, &hashes[i]);
    }
    if (hashes[0] != hashes[1])
        printf("seed %llu: the same seed, another trace\n", (unsigned long long)seed);
    return hashes[0] == hashes[1];
}

static int self_test(void) {
    int passed = 0, failed = 0;
    for (int b = BREAK_NOTHING + 1; b < BREAK_COUNT; b++) {
        bool caught = is_caught((enum sim_break)b);
        passed += caught;
        failed += !caught;
    }
    for (uint64_t seed = 1; seed <= 5; seed++) {
        bool same = is_deterministic(seed);
        passed += same;
        failed += !same;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static enum sim_break break_of(const char *name) {
    for (int b = BREAK_NOTHING + 1; b < BREAK_COUNT; b++)
        if (strcmp(breaks[b].name, name) == 0)
            return (enum sim_break)b;
    fprintf(stderr, "zabra-sim: there is no rule %s\n", name);
    exit(2);
}

static uint64_t number(const char *option, const char *text) {
    char *end;
    uint64_t value = text != NULL ? strtoull(text, &end, 0) : 0;
    if (text == NULL || *text == '\0' || *end != '\0') {
        fprintf(stderr, "zabra-sim: %s needs a number\n", option);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv) {
    struct sim_options options = {.seed = 1};
    uint64_t runs = 0, first = 1;
    log_set_level(getenv("SIM_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_OFF);
    signal(SIGABRT, on_death);
    signal(SIGALRM, on_death);
    signal(SIGSEGV, on_death);
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i], *value = argv[i + 1];
        if (strcmp(option, "--self-test") == 0)
            return self_test();
        if (strcmp(option, "--trace") == 0) {
            options.trace = true;
            continue;
        }
        if (strcmp(option, "--help") == 0) {
            usage(stdout);
            return EXIT_SUCCESS;
        }
        i++;
        if (strcmp(option, "--seed") == 0) {
            options.seed = number(option, value);
        } else if (strcmp(option, "--runs") == 0) {
            runs = number(option, value);
        } else if (strcmp(option, "--first") == 0) {
            first = number(option, value);
        } else if (strcmp(option, "--clients") == 0) {
            options.clients = (int)number(option, value);
        } else if (strcmp(option, "--servers") == 0) {
            options.servers = (int)number(option, value);
        } else if (strcmp(option, "--observers") == 0) {
            options.observers = (int)number(option, value);
        } else if (strcmp(option, "--ops") == 0) {
            options.ops = (int)number(option, value);
        } else if (strcmp(option, "--break") == 0 && value != NULL) {
            options.broken = break_of(value);
        } else {
            usage(stderr);
            return 2;
        }
    }
    if (options.servers + options.observers > SIM_NODES_MAX || (options.observers > 0 && options.servers < 2)) {
        usage(stderr);
        return 2;
    }
    return runs > 0 ? many_seeds(options, first, runs) : one_seed(&options);
}
