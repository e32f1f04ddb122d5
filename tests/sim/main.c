#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "sim/sim.h"

struct command_line {
    struct sim_options options;
    uint64_t runs, first, jobs, elections;
    bool soak, self_test;
};

static const char *const fault_names[FAULT_COUNT] = {
#define NAME(name, text) [FAULT_##name] = text,
    SIM_FAULTS(NAME)
#undef NAME
};

static void usage(FILE *out) {
    fputs("zabra-sim --seed N [--trace] [--break NAME] [OPTION ...]   play one seed\n"
          "zabra-sim --runs N [--first SEED] [--jobs N] [OPTION ...]  play many, in so many processes\n"
          "zabra-sim --soak [--first SEED] [--jobs N] [OPTION ...]    play until a signal ends it\n"
          "zabra-sim --elections N                                    elections in ensembles of 3, 5, 7 and 9, and what they take\n"
          "zabra-sim --self-test                                      break every rule; each must be noticed\n"
          "Options, which otherwise follow from the seed:\n"
          "  --servers N      1: one server alone; more: voters of an ensemble\n"
          "  --observers N    further members, with --servers (all together at most 12)\n"
          "  --clients N, --ops N\n"
          "  --faults LIST    none, all, or some of:",
          out);
    for (int f = 0; f < FAULT_COUNT; f++)
        fprintf(out, "%s%s", f == 0 ? " " : ",", fault_names[f]);
    fputs("\nSIM_LOG=1 in the environment shows the servers' logs on standard error.\nNAME:", out);
    for (int b = BREAK_NOTHING + 1; b < BREAK_COUNT; b++)
        fprintf(out, " %s", sim_break_name((enum sim_break)b));
    fputs("\n", out);
}

static enum sim_break break_of(const char *name) {
    for (int b = BREAK_NOTHING + 1; b < BREAK_COUNT; b++)
        if (strcmp(sim_break_name((enum sim_break)b), name) == 0)
            return (enum sim_break)b;
    fprintf(stderr, "zabra-sim: there is no rule %s\n", name);
    exit(2);
}

static unsigned fault_bit(const char *name, size_t len) {
    for (int f = 0; f < FAULT_COUNT; f++)
        if (strlen(fault_names[f]) == len && memcmp(fault_names[f], name, len) == 0)
            return 1u << f;
    fprintf(stderr, "zabra-sim: there is no fault %.*s\n", (int)len, name);
    exit(2);
}

static unsigned faults_of(const char *list) {
    unsigned faults = 0;
    if (strcmp(list, "none") == 0)
        return 0;
    if (strcmp(list, "all") == 0)
        return SIM_ALL_FAULTS;
    for (;;) {
        size_t len = strcspn(list, ",");
        faults |= fault_bit(list, len);
        if (list[len] == '\0')
            return faults;
        list += len + 1;
    }
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

/* False: there is no such option. */
static bool take_number(struct command_line *line, const char *option, const char *value) {
    struct sim_options *o = &line->options;
    static const char *const names[] = {"--seed", "--runs", "--first", "--jobs", "--elections"};
    uint64_t *const longs[] = {&o->seed, &line->runs, &line->first, &line->jobs, &line->elections};
    static const char *const small_names[] = {"--clients", "--servers", "--observers", "--ops"};
    int *const ints[] = {&o->clients, &o->servers, &o->observers, &o->ops};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(option, names[i]) == 0) {
            *longs[i] = number(option, value);
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(small_names); i++) {
        if (strcmp(option, small_names[i]) == 0) {
            *ints[i] = (int)number(option, value);
            return true;
        }
    }
    return false;
}

static void parse(struct command_line *line, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i], *value = argv[i + 1];
        if (strcmp(option, "--self-test") == 0) {
            line->self_test = true;
        } else if (strcmp(option, "--soak") == 0) {
            line->soak = true;
        } else if (strcmp(option, "--trace") == 0) {
            line->options.trace = true;
        } else if (strcmp(option, "--help") == 0) {
            usage(stdout);
            exit(EXIT_SUCCESS);
        } else if (strcmp(option, "--break") == 0 && value != NULL) {
            line->options.broken = break_of(argv[++i]);
        } else if (strcmp(option, "--faults") == 0 && value != NULL) {
            line->options.faults = faults_of(argv[++i]);
        } else if (take_number(line, option, value)) {
            i++;
        } else {
            usage(stderr);
            exit(2);
        }
    }
}

int main(int argc, char **argv) {
    struct command_line line = {.options = {.seed = 1, .faults = SIM_ALL_FAULTS}};
    log_set_level(getenv("SIM_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_OFF);
    parse(&line, argc, argv);
    const struct sim_options *o = &line.options;
    if (o->servers + o->observers > SIM_NODES_MAX || (o->observers > 0 && o->servers < 2)) {
        usage(stderr);
        return 2;
    }
    if (line.elections > 0)
        return sim_elections(line.elections, o->trace);
    if (line.self_test)
        return sim_self_test();
    /* Another soak, other seeds. */
    if (line.soak)
        return sim_soak(o, line.first != 0 ? line.first : (uint64_t)time(NULL) * 1000000, (int)line.jobs);
    return line.runs > 0 ? sim_many_seeds(o, line.first != 0 ? line.first : 1, line.runs, (int)line.jobs) : sim_one_seed(o);
}
