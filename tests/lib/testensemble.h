/* Ensembles in process: test servers (testserver.h) whose quorum code talks over simulated links. Time goes in steps of one
 * millisecond for all of them together; what is sent arrives one step later, or after the delay that was set.
 *
 *     struct testensemble *e = testensemble_new(3, 0, NULL);
 *     struct testserver *leader = testensemble_elect(e);
 *     struct testclient *c = testensemble_client(e, 1);
 *     ...
 *     testensemble_free(e); */
#ifndef ZABRA_TESTS_TESTENSEMBLE_H
#define ZABRA_TESTS_TESTENSEMBLE_H

#include "lib/testserver.h"
#include "quorum/quorum.h"

#define TESTENSEMBLE_MAX 9

struct testensemble {
    int count; /* members 1 ... count; the last `observers` of them observe */
    struct testserver *servers[TESTENSEMBLE_MAX + 1]; /* by sid */
    bool up[TESTENSEMBLE_MAX + 1];
    int64_t delay_ms;
    bool cut[TESTENSEMBLE_MAX + 1][TESTENSEMBLE_MAX + 1]; /* what [from] sends to [to] is lost, silently */
    struct buf config;
    struct now now;
    struct list links; /* of all members */
    bool listening[TESTENSEMBLE_MAX + 1][2];
};

/* All members are started on empty disks; nobody is elected yet. options as for testserver_new. */
struct testensemble *testensemble_new(int voters, int observers, const char *const *options);
void testensemble_free(struct testensemble *e);
/* Lets time pass. */
void testensemble_run(struct testensemble *e, int64_t ms);
/* Until a member leads and all that are up serve; fails after a while. Returns the sid of the leader. */
int testensemble_elect(struct testensemble *e);
/* The member that leads and serves, 0 = none. */
int testensemble_leader(const struct testensemble *e);
/* The links of a member that ends break. */
void testensemble_end(struct testensemble *e, int sid, enum testserver_end how);
void testensemble_start(struct testensemble *e, int sid);
/* Empties the disk of a member that has ended. */
void testensemble_wipe(struct testensemble *e, int sid);
/* A client with a session on this member. */
struct testclient *testensemble_client(struct testensemble *e, int sid);
/* Runs until the reply is there; one must come. */
struct testframe testensemble_reply(struct testensemble *e, struct testclient *c);
/* Fails unless all that are up have the same tree (by digest, count and last zxid). */
void testensemble_expect_equal(struct testensemble *e);

#endif
