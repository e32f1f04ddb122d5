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
static inline struct simdisk *disk_of(int sid) { return &e->servers[sid]->disk; }
static inline void run(int64_t ms) { testensemble_run(e, ms); }

/* Of so many members only this one runs; 0 = all. */
static inline void only(int voters, int observers, int real, const char *const *options) {
    e = testensemble_new(voters, observers, options);
    for (int sid = 1; sid <= voters + observers; sid++)
        if (sid != real && real != 0)
            testensemble_end(e, sid, TESTSERVER_KILL);
}

static inline void start(const char *const *options, int real) { only(3, 0, real, options); }

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
    char *text = simdisk_get(disk_of(sid), DISK_SNAP, name, &size);
    if (text != NULL)
        ck_assert(str_to_i64((struct slice){text, size}, &epoch));
    mem_free(text);
    return epoch;
}

/* By p, as the leader. */
static inline void send_leader_info(int64_t epoch) {
    uint8_t version[4];
    be32_store(version, LEARNER_PROTOCOL_VERSION);
    testpeer_send(p, PACKET_LEADERINFO, Z(epoch, 0), (struct slice){(const char *)version, 4});
}

static inline void send_diff(zxid_t zxid) { testpeer_send(p, PACKET_DIFF, zxid, SLICE_NULL); }

/* The transaction that makes these the members. */
static inline void put_reconfig(struct buf *b, zxid_t zxid, const char *members) {
    struct buf text = BUF_INIT;
    buf_printf(&text, "%s\nversion=%llx", members, (unsigned long long)zxid);
    txn_header_put(b, &(struct txn_header){.client_id = 0x100, .cxid = 1, .zxid = zxid, .time_ms = 5000, .type = OP_RECONFIG});
    txn_record_put(b, &(struct txn){.type = OP_RECONFIG, .path = SLICE_LIT("/zookeeper/config"), .data = buf_slice(&text),
                                    .version = -1});
    buf_free(&text);
}

/* Mostly zeros, as lengths and types are. */
static inline void fill_with_garbage(struct rng *rng, uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(rng_below(rng, 4) != 0 ? 0 : rng_next(rng));
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
