/* The znodes that the tests work on: creates what a test needs, remembers it, and removes it at the end. */
#ifndef ZABRA_BENCHMARK_ZNODES_H
#define ZABRA_BENCHMARK_ZNODES_H

#include "benchmark/bench.h"
#include "benchmark/result.h"

struct znodes {
    struct bench *bench;
    const char *prefix;
    char **dirs; /* the prefix and what lies above it, outermost first, then the parent of the children test */
    size_t dir_count, prefix_count;
    bool *dir_created;
    bool prepared;             /* the prefix exists */
    uint64_t made[NAME_KINDS]; /* znodes 0..made-1 of each kind may exist */
};

void znodes_init(struct znodes *z, struct bench *b, const char *prefix);
void znodes_free(struct znodes *z);

/* Each of these returns as bench_run. With --existing they do nothing. */

/* The keyspace. r = where to report the work, or NULL. */
bool znodes_need_keys(struct znodes *z, struct result *r);
/* The path prefix, with nothing below it. */
bool znodes_need_prefix(struct znodes *z);
/* The parent and its --children children. */
bool znodes_need_children(struct znodes *z);
/* new-0 to new-(count-1). */
bool znodes_need_new(struct znodes *z, uint64_t count);
/* Tells that a test may have created znodes 0..count-1 of this kind. */
void znodes_note(struct znodes *z, enum name_kind name, uint64_t count);
/* Removes all that may exist of this kind. Does nothing with --keep. */
bool znodes_remove(struct znodes *z, enum name_kind name);
/* Removes everything that was created, as far as the server lets us. Does nothing with --keep. */
void znodes_cleanup(struct znodes *z);

#endif
