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
#include "wire/zab.h"

#define TESTENSEMBLE_MAX 9

struct testpeer;

struct testensemble {
    int count; /* members 1 ... count; the last `observers` of them observe */
    struct testserver *servers[TESTENSEMBLE_MAX + 1]; /* by sid */
    bool up[TESTENSEMBLE_MAX + 1];
    int64_t delay_ms;
    size_t unsent; /* bytes that every link says it has not sent yet */
    /* What [from] sends to [to] is lost. Links that have lost something break when the cut is healed. */
    bool cut[TESTENSEMBLE_MAX + 1][TESTENSEMBLE_MAX + 1];
    unsigned shared; /* sends of bytes that go to several */
    struct buf config;
    struct now now;
    struct list links; /* of all members */
    bool listening[TESTENSEMBLE_MAX + 1][2];
    int64_t dial_timeout_ms[2]; /* of the last link that was dialled */
    struct testpeer *peers[TESTENSEMBLE_MAX + 1]; /* in the place of a member that is not up */
};

/* All members are started on empty disks; nobody is elected yet. options as for testserver_new. */
struct testensemble *testensemble_new(int voters, int observers, const char *const *options);
void testensemble_free(struct testensemble *e);
/* Lets time pass. */
void testensemble_run(struct testensemble *e, int64_t ms);
/* One millisecond of the links alone: what arrives is told to the members, which then have no turn. */
void testensemble_run_links(struct testensemble *e);
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

/* ------------------------------------------------------------------ members that do what the test says */

/* In the place of a member that has been ended: one link to or from a real one, and packets by hand. */
struct testpeer {
    struct testensemble *e;
    int sid;
    struct link *link; /* the newest; NULL: there is none (any more) */
    int closed;        /* links that the other side has closed */
    struct buf in;     /* received, not looked at yet: from in_start on */
    size_t in_start;
};

/* Accepts links to its quorum port from now on. */
struct testpeer *testpeer_new(struct testensemble *e, int sid);
void testpeer_free(struct testpeer *p);
/* A link to the quorum port of a member that leads; must succeed. Links of before stay open, unseen. */
void testpeer_dial(struct testpeer *p, int to);
void testpeer_hang_up(struct testpeer *p);
void testpeer_bytes(struct testpeer *p, const void *data, size_t len);
void testpeer_send(struct testpeer *p, int32_t type, zxid_t zxid, struct slice data);
/* The next packet; false if none comes within so many ms. Valid until the next call. */
bool testpeer_next(struct testpeer *p, struct quorum_packet *packet, int64_t ms);
/* The next packet but for PING (and others that are not about history); it must be of this type. */
struct quorum_packet testpeer_expect(struct testpeer *p, int32_t type);
/* Runs until the other side has closed the link; fails if it does not do so at once. */
void testpeer_expect_closed(struct testpeer *p);

/* Makes a member that is looking take a role, without an election: it leads if leader is its own sid. */
void testensemble_appoint(struct testensemble *e, int sid, int leader);

#endif
