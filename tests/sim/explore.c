/* Many seeds, in one process or in several; the soak; and the simulator's own test: rules that are broken on purpose, and the
 * same seed twice. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/sim.h"

/* A run as long as this must have seen everything. */
#define RUNS_FOR_COUNTERS 200
/* Seconds of processor time after which a seed is taken for an endless loop. */
#define SEED_SECONDS 120
#define SOAK_ROUND 1000
#define JOBS_MAX 64

static const struct {
    const char *name;
    int servers;
    uint64_t within; /* must be caught within so many seeds */
} breaks[BREAK_COUNT] = {
    [BREAK_NOTHING] = {"nothing", 0, 0},
    [BREAK_ACK_BEFORE_SYNC] = {"ack-before-sync", 1, 5},
    [BREAK_LOST_SYNC] = {"lost-sync", 1, 20},
    [BREAK_NO_DIR_SYNC] = {"no-dir-sync", 1, 20},
    [BREAK_REORDERED_BATCHES] = {"reordered-batches", 1, 20},
    [BREAK_SWAPPED_REPLIES] = {"swapped-replies", 1, 5},
    [BREAK_LATE_EVENT] = {"late-event", 1, 5},
    [BREAK_OTHER_DATA] = {"other-data", 1, 5},
    [BREAK_OLDER_REPLY] = {"older-reply", 1, 5},
    [BREAK_FAST_CLOCK] = {"fast-clock", 1, 20},
    [BREAK_SLOW_CLOCK] = {"slow-clock", 1, 20},
    [BREAK_EARLY_ACK] = {"early-ack", 3, 5},
    [BREAK_EARLY_NEWLEADER] = {"early-newleader", 3, 50},
    [BREAK_NO_CURRENT_EPOCH] = {"no-current-epoch", 3, 50},
    [BREAK_NO_ACCEPTED_EPOCH] = {"no-accepted-epoch", 3, 50},
    [BREAK_NO_QUORUM] = {"no-quorum", 3, 5},
    [BREAK_EARLY_COMMIT] = {"early-commit", 3, 5},
    [BREAK_NO_TRUNC] = {"no-trunc", 3, 50},
    [BREAK_CUT_NOT_SYNCED] = {"cut-not-synced", 3, 300},
    [BREAK_PROMISED_TWICE] = {"promised-twice", 3, 300},
    [BREAK_BLIND_LEADER] = {"blind-leader", 3, 50},
    [BREAK_NO_PING_ROUND] = {"no-ping-round", 3, 1000},
    [BREAK_WIPED_VOTES] = {"wiped-votes", 3, 300},
    [BREAK_OWN_CHANGE] = {"own-change", 3, 5},
    [BREAK_NO_UPTODATE] = {"no-uptodate", 3, 5},
};

const char *sim_break_name(enum sim_break broken) { return breaks[broken].name; }

/* ------------------------------------------------------------------ one seed */

/* For messages that must come out even when the program dies. */
static char replay_command[400];

static void PRINTF_LIKE(1, 2) add_to_replay(const char *fmt, ...) {
    size_t len = strlen(replay_command);
    va_list args;
    va_start(args, fmt);
    vsnprintf(replay_command + len, sizeof replay_command - len, fmt, args);
    va_end(args);
}

static void remember(const struct sim_options *o) {
    static const char *const names[] = {
#define NAME(name, text) text,
        SIM_FAULTS(NAME)
#undef NAME
    };
    const char *before = " --faults ";
    replay_command[0] = '\0';
    add_to_replay("zabra-sim --seed %llu", (unsigned long long)o->seed);
    if (o->clients > 0)
        add_to_replay(" --clients %d", o->clients);
    if (o->servers > 0)
        add_to_replay(" --servers %d --observers %d", o->servers, o->observers);
    if (o->ops > 0)
        add_to_replay(" --ops %d", o->ops);
    if (o->faults == 0)
        add_to_replay(" --faults none");
    for (int f = 0; f < FAULT_COUNT && o->faults != SIM_ALL_FAULTS; f++) {
        if ((o->faults >> f & 1) == 0)
            continue;
        add_to_replay("%s%s", before, names[f]);
        before = ",";
    }
    if (o->broken != BREAK_NOTHING)
        add_to_replay(" --break %s", breaks[o->broken].name);
}

static void say(const char *text) {
    ssize_t n = write(STDERR_FILENO, text, strlen(text));
    (void)n;
}

static void on_death(int signal_number) {
    say(signal_number == SIGPROF ? "\nendless loop; replay: " : "\nthe program died; replay: ");
    say(replay_command);
    say(" --trace\n");
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static bool play(const struct sim_options *options, struct sim_counters *counters, char failure[512], uint64_t *hash) {
    signal(SIGABRT, on_death);
    signal(SIGPROF, on_death);
    signal(SIGSEGV, on_death);
    remember(options);
    setitimer(ITIMER_PROF, &(struct itimerval){.it_value = {.tv_sec = SEED_SECONDS}}, NULL);
    bool passed = sim_run(options, counters, failure, hash);
    setitimer(ITIMER_PROF, &(struct itimerval){0}, NULL);
    return passed;
}

static void print_counters(const struct sim_counters *n) {
#define PRINT(name, text) printf("  %-40s %llu\n", text, (unsigned long long)n->name);
    SIM_COUNTERS(PRINT, PRINT, PRINT)
#undef PRINT
}

/* What never happened was not tested. */
static bool all_happened(const struct sim_counters *n, bool alone, bool ensembles) {
    bool all = true;
#define CHECK(wanted, name, text)                                                                                      \
    if ((wanted) && n->name == 0) {                                                                                    \
        printf("did not happen at all: %s\n", text);                                                                   \
        all = false;                                                                                                   \
    }
#define MUST(name, text) CHECK(alone, name, text)
#define ENSEMBLE(name, text) CHECK(ensembles, name, text)
#define MAY(name, text)
    SIM_COUNTERS(MUST, ENSEMBLE, MAY)
#undef MUST
#undef ENSEMBLE
#undef MAY
#undef CHECK
    return all;
}

int sim_one_seed(const struct sim_options *options) {
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

/* ------------------------------------------------------------------ many seeds */

struct total {
    uint64_t passed, failed;
    struct sim_counters counters;
};

static volatile sig_atomic_t stopping;

static void on_stop(int signal_number) {
    (void)signal_number;
    stopping = 1;
}

static void play_some(struct sim_options options, uint64_t first, uint64_t runs, uint64_t step, struct total *total) {
    for (uint64_t i = 0; i < runs && !stopping; i += step) {
        char failure[512];
        uint64_t hash;
        options.seed = first + i;
        if (play(&options, &total->counters, failure, &hash)) {
            total->passed++;
            continue;
        }
        total->failed++;
        printf("seed %llu FAILED: %s\n  replay: %s --trace\n", (unsigned long long)options.seed, failure, replay_command);
        fflush(stdout);
    }
}

/* A process that plays its share and writes down what came of it. Its reading end, or -1. */
static int start_job(const struct sim_options *options, uint64_t first, uint64_t runs, uint64_t step, pid_t *pid) {
    int ends[2];
    if (pipe(ends) != 0)
        return -1;
    fflush(stdout);
    *pid = fork();
    if (*pid != 0) {
        close(ends[1]);
        if (*pid > 0)
            return ends[0];
        close(ends[0]);
        return -1;
    }
    struct total total = {0};
    close(ends[0]);
    play_some(*options, first, runs, step, &total);
    ssize_t n = write(ends[1], &total, sizeof total);
    fflush(stdout);
    _exit(n == (ssize_t)sizeof total ? EXIT_SUCCESS : EXIT_FAILURE);
}

static void add_total(struct total *sum, const struct total *t) {
    sum->passed += t->passed;
    sum->failed += t->failed;
#define ADD(name, text) sum->counters.name += t->counters.name;
    SIM_COUNTERS(ADD, ADD, ADD)
#undef ADD
}

/* False, and nothing is added, if the process did not come to its end. */
static bool end_job(int end, pid_t pid, struct total *sum) {
    struct total t;
    size_t got = 0;
    ssize_t n = 0;
    int status = 0;
    while (got < sizeof t && ((n = read(end, (char *)&t + got, sizeof t - got)) > 0 || (n == -1 && errno == EINTR)))
        got += n > 0 ? (size_t)n : 0;
    close(end);
    while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
        ;
    if (got != sizeof t || status != 0)
        return false;
    add_total(sum, &t);
    return true;
}

static void play_many(const struct sim_options *options, uint64_t first, uint64_t runs, int jobs, struct total *total) {
    int ends[JOBS_MAX];
    pid_t pids[JOBS_MAX];
    if (jobs <= 1) {
        play_some(*options, first, runs, 1, total);
        return;
    }
    for (int i = 0; i < jobs; i++) {
        uint64_t offset = (uint64_t)i;
        ends[i] = runs > offset ? start_job(options, first + offset, runs - offset, (uint64_t)jobs, &pids[i]) : -2;
    }
    for (int i = 0; i < jobs; i++) {
        if (ends[i] == -2 || (ends[i] >= 0 && end_job(ends[i], pids[i], total)))
            continue;
        printf("one of the processes did not come to its end\n");
        total->failed++;
    }
}

int sim_many_seeds(const struct sim_options *options, uint64_t first, uint64_t runs, int jobs) {
    struct total total = {0};
    jobs = jobs > JOBS_MAX ? JOBS_MAX : jobs;
    play_many(options, first, runs, jobs, &total);
    print_counters(&total.counters);
    bool counts = runs >= RUNS_FOR_COUNTERS && options->faults == SIM_ALL_FAULTS && options->ops == 0;
    bool ok = total.failed == 0 &&
              (!counts || all_happened(&total.counters, options->servers <= 1, options->servers != 1));
    printf("%llu passed, %llu failed\n", (unsigned long long)total.passed, (unsigned long long)total.failed);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int sim_soak(const struct sim_options *options, uint64_t first, int jobs) {
    struct total total = {0};
    jobs = jobs > JOBS_MAX ? JOBS_MAX : jobs;
    signal(SIGINT, on_stop);
    signal(SIGTERM, on_stop);
    printf("from seed %llu on, until SIGINT or SIGTERM\n", (unsigned long long)first);
    for (uint64_t at = first; !stopping; at += SOAK_ROUND) {
        play_many(options, at, SOAK_ROUND, jobs, &total);
        printf("%llu passed, %llu failed, %llu hours of virtual time in ensembles\n", (unsigned long long)total.passed,
               (unsigned long long)total.failed, (unsigned long long)total.counters.virtual_ms / 3600000);
        fflush(stdout);
    }
    print_counters(&total.counters);
    printf("%llu passed, %llu failed\n", (unsigned long long)total.passed, (unsigned long long)total.failed);
    return total.failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ------------------------------------------------------------------ the simulator's own test */

static bool is_caught(enum sim_break broken) {
    for (uint64_t seed = 1; seed <= breaks[broken].within; seed++) {
        struct sim_counters counters = {0};
        struct sim_options options = {
            .seed = seed, .broken = broken, .servers = breaks[broken].servers, .faults = SIM_ALL_FAULTS};
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
        struct sim_options options = {.seed = seed, .faults = SIM_ALL_FAULTS};
        char failure[512];
        play(&options, &counters, failure, &hashes[i]);
    }
    if (hashes[0] != hashes[1])
        printf("seed %llu: the same seed, another trace\n", (unsigned long long)seed);
    return hashes[0] == hashes[1];
}

int sim_self_test(void) {
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
    bool orders = linear_self_test();
    passed += orders;
    failed += !orders;
    printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
