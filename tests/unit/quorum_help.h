/* What the tests of leader and learner share. Names of tests say which invariant of docs/protocol/zab.md section 19 they are
 * about. */
#ifndef ZABRA_TESTS_QUORUM_HELP_H
#define ZABRA_TESTS_QUORUM_HELP_H

#include <errno.h>

#include "lib/testensemble.h"
#include "quorum/quorum_internal.h"
#include "server/history.h"
#include "server_help.h"

#define Z(epoch, counter) zxid_make(epoch, counter)
#define LEADER 3

static struct testensemble *e;
static struct testpeer *p; /* a member by hand */

static inline struct server *server_at(int sid) { return e->servers[sid]->server; }
static inline struct quorum *quorum_at(int sid) { return server_at(sid)->quorum; }
static inline void run(int64_t ms) { testensemble_run(e, ms); }

static inline void start(const char *const *options, int real) {
    e = testensemble_new(3, 0, options);
    for (int sid = 1; sid <= 3; sid++)
        if (sid != real && real != 0)
            testensemble_end(e, sid, TESTSERVER_KILL);
}

static inline void teardown(void) {
    if (e != NULL)
        testensemble_free(e);
    e = NULL;
    p = NULL;
}

static inline void await_phase(int sid, enum quorum_phase phase) {
    for (int ms = 0; ms < 60000 && quorum_at(sid)->phase != phase; ms++)
        run(1);
    ck_assert_int_eq(quorum_at(sid)->phase, phase);
}

/* What stands in an epoch file, -1 = there is none. */
static inline int64_t epoch_file(int sid, const char *name) {
    size_t size;
    int64_t epoch = -1;
    char *text = simdisk_get(&e->servers[sid]->disk, DISK_SNAP, name, &size);
    if (text != NULL)
        ck_assert(str_to_i64((struct slice){text, size}, &epoch));
    mem_free(text);
    return epoch;
}

/* The ensemble of a test goes with it. */
static inline void add_ensemble_tests(Suite *suite, const char *name, const TTest *const *tests, size_t count) {
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 300);
    tcase_add_checked_fixture(tc, NULL, teardown);
    for (size_t i = 0; i < count; i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(suite, tc);
}
#define ADD_ENSEMBLE(suite, name, ...)                                                                                 \
    add_ensemble_tests(suite, name, (const TTest *const[]){__VA_ARGS__},                                               \
                       ARRAY_LEN(((const TTest *const[]){__VA_ARGS__})))

#endif
