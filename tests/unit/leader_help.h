/* Learners by hand; member 3 leads. */
#ifndef ZABRA_TESTS_LEADER_HELP_H
#define ZABRA_TESTS_LEADER_HELP_H

#include "quorum_help.h"

static struct testpeer *q; /* beside p */

static inline struct testpeer *peer_of(int sid) {
    if (e->peers[sid] != NULL)
        return e->peers[sid];
    if (e->up[sid])
        testensemble_end(e, sid, TESTSERVER_KILL);
    return testpeer_new(e, sid);
}

static inline void say_hello(struct testpeer *by, int to, int64_t sid, int32_t type, int64_t accepted) {
    struct buf data = BUF_INIT;
    learner_info_put(&data, &(struct learner_info){.has_sid = true, .sid = sid, .protocol_version = LEARNER_PROTOCOL_VERSION});
    testpeer_dial(by, to);
    testpeer_send(by, type, Z(accepted, 0), buf_slice(&data));
    buf_free(&data);
}

static inline void hello_to(struct testpeer *by, int to) { say_hello(by, to, by->sid, PACKET_FOLLOWERINFO, 0); }
static inline void hello_as(struct testpeer *by, int64_t sid, int32_t type, int64_t accepted) {
    say_hello(by, LEADER, sid, type, accepted);
}

static inline void hello(struct testpeer *by, int64_t accepted) { hello_as(by, by->sid, PACKET_FOLLOWERINFO, accepted); }

static inline void ack_epoch(struct testpeer *by, zxid_t zxid, int32_t current) {
    struct buf data = BUF_INIT;
    packet_int_put(&data, current);
    testpeer_send(by, PACKET_ACKEPOCH, zxid, buf_slice(&data));
    buf_free(&data);
}

static inline void ack(struct testpeer *by, zxid_t zxid) { testpeer_send(by, PACKET_ACK, zxid, SLICE_NULL); }

/* Up to and including ACKEPOCH. Returns the epoch that the leader has proposed. */
static inline int64_t discover(struct testpeer *by, int64_t accepted, zxid_t zxid, int32_t current) {
    hello(by, accepted);
    int64_t epoch = zxid_epoch(testpeer_expect(by, PACKET_LEADERINFO).zxid);
    ack_epoch(by, zxid, current);
    return epoch;
}

/* The same, in steady state. */
static inline void join(struct testpeer *by, int64_t accepted, zxid_t zxid) { discover(by, accepted, zxid, -1); }

/* Behind ACKEPOCH: it has all of the history, and may serve. */
static inline void be_synced(struct testpeer *by, int64_t epoch) {
    testpeer_expect(by, PACKET_DIFF);
    testpeer_expect(by, PACKET_NEWLEADER);
    ack(by, Z(epoch, 0));
    testpeer_expect(by, PACKET_UPTODATE);
}

/* Member 3 begins to lead; p is 1. */
static inline void begin_to_lead(const char *const *options) {
    start(options, LEADER);
    p = peer_of(1);
    testensemble_appoint(e, LEADER, LEADER);
}

/* Member 3 leads epoch 1 with the learner p, as 1; nothing was proposed. */
static inline void lead(const char *const *options) {
    begin_to_lead(options);
    ck_assert_int_eq(discover(p, 0, 0, 0), 1);
    be_synced(p, 1);
    ack(p, Z(1, 0));
    ck_assert_int_eq(server_at(3)->state, SERVER_RUNNING);
}

/* p stays a learner for so many seconds. */
static inline void ping_for(int seconds, zxid_t zxid) {
    for (int i = 0; i < seconds; i++) {
        testpeer_send(p, PACKET_PING, zxid, SLICE_NULL);
        run(1000);
    }
}

static inline struct testclient *client(void) {
    struct testclient *c = testclient_new(e->servers[3], NULL);
    testclient_send_connect(c, 10000);
    return c;
}

/* A client of the leader, created with the acknowledgement of p. */
static inline struct testclient *client_by(struct testpeer *by) {
    struct testclient *c = client();
    ack(by, testpeer_expect(by, PACKET_PROPOSAL).zxid);
    testpeer_expect(by, PACKET_COMMIT);
    run(5);
    ck_assert(testclient_take_connect(c));
    return c;
}

static inline void write_one(struct testclient *c, int i) {
    char path[24];
    snprintf(path, sizeof path, "/w%d", i);
    testclient_create(c, path, "data", CREATE_PERSISTENT);
}

static inline bool answered(struct testclient *c) {
    struct testframe f;
    run(20);
    return testclient_next(c, &f);
}

#endif
