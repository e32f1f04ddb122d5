/* Options of ensembles do what they say, and what members count. */
#include <limits.h>

#include "admin/words.h"
#include "quorum_help.h"
#include "store/rewind.h"

static void put(struct testclient *c, const char *path) {
    testclient_create(c, path, "data", CREATE_PERSISTENT);
    ck_assert_int_eq(testensemble_reply(e, c).err, ZK_OK);
}

static uint64_t counter_at(int sid, enum metric_counter c) { return server_at(sid)->metrics.counters[c]; }
static const struct metric_basic *summary_at(int sid, enum metric_summary s) { return &server_at(sid)->metrics.summaries[s]; }

/* ------------------------------------------------------------------ connecting to the leader */

static int64_t ms_of_connecting(bool silent, const char *const *options) {
    int64_t ms = 0;
    start(options, 1);
    e->cut[1][LEADER] = e->cut[LEADER][1] = silent;
    testensemble_appoint(e, 1, LEADER);
    for (; ms < 60000 && quorum_at(1)->phase == QUORUM_LEARNING && !quorum_at(1)->leaving; ms++)
        run(1);
    teardown();
    return ms;
}

static void expect_about(int64_t ms, int64_t wanted) {
    ck_assert_int_ge(ms, wanted - 200);
    ck_assert_int_le(ms, wanted + 200);
}

START_TEST(limit_of_connecting) {
    const char *const *none = OPTIONS("tickTime", "1000");
    const char *const *four = OPTIONS("tickTime", "1000", "connectToLearnerMasterLimit", "4");
    const char *const *one = OPTIONS("tickTime", "1000", "connectToLearnerMasterLimit", "1");
    expect_about(ms_of_connecting(true, none), 2000);
    expect_about(ms_of_connecting(false, none), 2000);
    expect_about(ms_of_connecting(true, four), 4000);
    expect_about(ms_of_connecting(false, four), 2000); /* whoever refuses for so long will not lead */
    expect_about(ms_of_connecting(true, one), 1000);
    expect_about(ms_of_connecting(false, one), 1000);
}
END_TEST

static int64_t ms_from_learning_to_serving(const char *delay_ms) {
    int64_t ms = 0;
    e = testensemble_new(3, 1, OPTIONS("observer.reconnectDelayMs", delay_ms));
    await_phase(4, QUORUM_LEARNING);
    for (; server_at(4)->state != SERVER_RUNNING; ms++)
        run(1);
    testensemble_elect(e);
    teardown();
    return ms;
}

START_TEST(observers_come_back_at_random) {
    ck_assert_int_le(ms_from_learning_to_serving("0"), 1000);
    int64_t ms = ms_from_learning_to_serving("29989"); /* the seed is always the same */
    ck_assert_int_ge(ms, 1500);
    ck_assert_int_le(ms, 31000);
}
END_TEST

static int64_t ms_of_holding_back(const char *delay_ms) {
    int64_t ms = 0;
    e = testensemble_new(3, 1, OPTIONS("observer.election.DelayMs", delay_ms));
    testensemble_end(e, testensemble_elect(e), TESTSERVER_KILL);
    for (; quorum_at(4)->phase != QUORUM_LOOKING; ms++)
        run(1);
    teardown();
    return ms;
}

START_TEST(observers_leave_voters_alone) {
    ck_assert_int_le(ms_of_holding_back("0"), 50);
    int64_t ms = ms_of_holding_back("20000");
    ck_assert_int_ge(ms, 100);
    ck_assert_int_le(ms, 20100);
}
END_TEST

START_TEST(limits_of_election_connections) {
    e = testensemble_new(3, 0, OPTIONS("cnxTimeout", "1234"));
    testensemble_elect(e);
    ck_assert_int_eq(e->dial_timeout_ms[LINK_ELECTION], 1234);
}
END_TEST

/* ------------------------------------------------------------------ a leader that nobody follows */

/* The two that elected it are killed before they can say so, and look for a leader again. */
static uint64_t times_given_up(const char *patience_ms) {
    e = testensemble_new(3, 0, OPTIONS("leader.maxTimeToWaitForEpoch", patience_ms, "tickTime", "2000"));
    await_phase(3, QUORUM_LEADING);
    for (int sid = 1; sid <= 2; sid++)
        testensemble_end(e, sid, TESTSERVER_KILL);
    run(400);
    ck_assert_int_eq(quorum_at(3)->phase, QUORUM_LEADING);
    /* One of them: alone with us it is a quorum, but we do not look. */
    for (int sid = 1; sid <= 2; sid++)
        testensemble_start(e, sid);
    e->cut[1][2] = e->cut[2][1] = true;
    run(3000);
    uint64_t times = counter_at(3, METRIC_QUIT_LEADING_DUE_TO_DISLOYAL_VOTER);
    teardown();
    return times;
}

START_TEST(leader_that_nobody_follows) {
    ck_assert_uint_eq(times_given_up("-1"), 0);
    ck_assert_uint_eq(times_given_up("300"), 1);
    ck_assert_uint_eq(times_given_up("30000"), 0);
}
END_TEST

/* ------------------------------------------------------------------ how many are brought up to date at a time */

static void hello(struct testpeer *by, int64_t sid, int32_t type) {
    struct buf data = BUF_INIT;
    uint8_t none[4];
    learner_info_put(&data, &(struct learner_info){.has_sid = true, .sid = sid, .protocol_version = LEARNER_PROTOCOL_VERSION});
    testpeer_dial(by, 3);
    testpeer_send(by, type, Z(1, 0), buf_slice(&data));
    testpeer_expect(by, PACKET_LEADERINFO);
    be32_store(none, UINT32_MAX);
    testpeer_send(by, PACKET_ACKEPOCH, server_at(3)->last_applied, (struct slice){(const char *)none, 4});
    buf_free(&data);
}

static void sync_limit(const char *name, const char *forced, int32_t decision, enum metric_summary inflight) {
    e = testensemble_new(3, 0, OPTIONS(name, "1", "forceSnapshotSync", forced, "tickTime", "30000"));
    ck_assert_int_eq(testensemble_elect(e), 3);
    testensemble_end(e, 1, TESTSERVER_KILL);
    p = testpeer_new(e, 1);
    hello(p, 7, PACKET_OBSERVERINFO);
    testpeer_expect(p, decision);
    struct link *first = p->link;
    hello(p, 8, PACKET_OBSERVERINFO); /* one too many */
    testpeer_expect_closed(p);
    hello(p, 1, PACKET_OBSERVERINFO); /* a voter is never put off, not even without its history */
    testpeer_expect(p, decision);
    hello(p, 1, PACKET_FOLLOWERINFO);
    testpeer_expect(p, decision);
    run(100);
    ck_assert_ptr_nonnull(p->link);
    testpeer_hang_up(p);
    p->link = first; /* it has what it came for */
    testpeer_send(p, PACKET_ACK, Z(1, 0), SLICE_NULL);
    run(10);
    hello(p, 8, PACKET_OBSERVERINFO);
    testpeer_expect(p, decision);
    ck_assert_uint_ge(summary_at(3, inflight)->max, 2);
}

START_TEST(transactions_for_few_at_a_time) {
    sync_limit("leader.maxConcurrentDiffSyncs", "false", PACKET_DIFF, METRIC_INFLIGHT_DIFF_COUNT);
}
END_TEST

START_TEST(snapshots_for_few_at_a_time) {
    sync_limit("leader.maxConcurrentSnapSyncs", "true", PACKET_SNAP, METRIC_INFLIGHT_SNAP_COUNT);
}
END_TEST

/* ------------------------------------------------------------------ clients */

START_TEST(leader_without_clients) {
    e = testensemble_new(3, 0, OPTIONS("leaderServes", "no"));
    int leader = testensemble_elect(e);
    struct testclient *refused = testclient_new(e->servers[leader], NULL);
    testclient_send_connect(refused, 10000);
    run(50);
    ck_assert_ptr_null(refused->conn);
    ck_assert_uint_eq(counter_at(leader, METRIC_CNXN_CLOSED_WITHOUT_ZK_SERVER_RUNNING), 1);
    put(testensemble_client(e, leader == 1 ? 2 : 1), "/through-a-follower");
}
END_TEST

/* World may read and nothing else. */
static void create_protected(struct testclient *c, const char *path) {
    struct buf *b = testclient_request(c, OP_CREATE);
    jute_put_bytes(b, slice_of(path));
    jute_put_bytes(b, SLICE_LIT("x"));
    jute_put_int(b, 1);
    acl_entry_put(b, &(struct acl_entry){.perms = PERM_READ, .scheme = SLICE_LIT("world"), .id = SLICE_LIT("anyone")});
    jute_put_int(b, CREATE_PERSISTENT);
    testclient_end(c);
    ck_assert_int_eq(testensemble_reply(e, c).err, ZK_OK);
}

static void send_set_acl(struct testclient *c, const char *path) {
    struct buf *b = testclient_request(c, OP_SET_ACL);
    jute_put_bytes(b, slice_of(path));
    put_open_acl(b);
    jute_put_int(b, -1);
    testclient_end(c);
}

static void try_everything(struct testclient *c, zxid_t zxid_of_refusal) {
    const struct server *leader = server_at(testensemble_leader(e));
    for (int i = 0; i < 4; i++) {
        zxid_t before = leader->last_prepared;
        if (i == 0)
            testclient_create(c, "/p/child", "", CREATE_PERSISTENT);
        else if (i == 1)
            testclient_set_data(c, "/p", "y");
        else if (i == 2)
            testclient_delete(c, "/p/there");
        else
            send_set_acl(c, "/p");
        struct testframe f = testensemble_reply(e, c);
        ck_assert_int_eq(f.err, ZK_NO_AUTH);
        ck_assert_int_eq(leader->last_prepared, zxid_of_refusal == 0 ? before : before + 1);
        ck_assert_int_eq(f.zxid, zxid_of_refusal == 0 ? 0 : before + 1);
    }
    testclient_set_data(c, "/free", "y"); /* what is allowed still is */
    ck_assert_int_eq(testensemble_reply(e, c).err, ZK_OK);
    testclient_set_data(c, "/missing", "y"); /* and what is not there is the leader's business */
    ck_assert_int_eq(testensemble_reply(e, c).err, ZK_NO_NODE);
}

static void denied(const char *eager, zxid_t zxid_of_refusal) {
    e = testensemble_new(3, 0, OPTIONS("enableEagerACLCheck", eager));
    int leader = testensemble_elect(e);
    struct testclient *c = testensemble_client(e, leader), *d = testensemble_client(e, leader == 1 ? 2 : 1);
    put(c, "/free");
    create_protected(c, "/p");
    run(50);
    try_everything(c, zxid_of_refusal);
    try_everything(d, zxid_of_refusal);
    teardown();
}

START_TEST(denials_without_a_transaction) {
    denied("false", 1);
    denied("true", 0);
}
END_TEST

/* ------------------------------------------------------------------ empty databases */

START_TEST(empty_databases_that_may_not_vote) {
    e = testensemble_new(3, 0, OPTIONS("db.autocreate", "false"));
    run(30000);
    ck_assert_int_eq(testensemble_leader(e), 0);
    /* As the file initialize does, on two of them. */
    for (int sid = 1; sid <= 2; sid++) {
        testensemble_end(e, sid, TESTSERVER_KILL);
        e->servers[sid]->config.db_autocreate = true;
        testensemble_start(e, sid);
    }
    int leader = testensemble_elect(e);
    ck_assert_int_le(leader, 2);
    put(testensemble_client(e, leader), "/x");
    run(2000);
    testensemble_expect_equal(e);
    ck_assert_str_eq(server_at(3)->role->mode, "follower");
    /* The third has a history now, and votes. */
    testensemble_end(e, leader, TESTSERVER_KILL);
    testensemble_elect(e);
}
END_TEST

/* It takes part in the first epoch, has nothing of it on its disk when it dies, and must not vote for it. */
START_TEST(empty_database_that_dies_on_its_way) {
    e = testensemble_new(3, 0, NULL);
    for (int sid = 1; sid <= 3; sid++)
        testensemble_end(e, sid, TESTSERVER_KILL);
    e->servers[1]->config.db_autocreate = false;
    testensemble_start(e, 1);
    p = testpeer_new(e, 3);
    testensemble_appoint(e, 1, 3);
    struct quorum_packet info = testpeer_expect(p, PACKET_OBSERVERINFO);
    ck_assert_int_eq(info.zxid, 0);
    send_leader_info(1);
    testpeer_expect(p, PACKET_ACKEPOCH);
    testensemble_end(e, 1, TESTSERVER_POWER_LOSS);
    testensemble_start(e, 1);
    ck_assert_int_eq(epoch_file(1, EPOCH_ACCEPTED), 1);
    ck_assert(quorum_untrusted(quorum_at(1)));
}
END_TEST

/* Once it is known that all of it is committed there is a snapshot again. */
START_TEST(logs_without_a_snapshot) {
    e = testensemble_new(3, 0, OPTIONS("snapshot.trust.empty", "true"));
    put(testensemble_client(e, testensemble_elect(e)), "/x");
    run(100);
    for (int sid = 1; sid <= 3; sid++) {
        testensemble_end(e, sid, TESTSERVER_STOP);
        const struct disk *d = &disk_of(sid)->disk;
        ck_assert_int_eq(d->unlink(d->ctx, DISK_SNAP, "snapshot.0"), 0);
    }
    for (int sid = 1; sid <= 3; sid++)
        testensemble_start(e, sid);
    ck_assert_int_eq(server_at(1)->good_snapshot, -1);
    testensemble_elect(e);
    run(1000);
    for (int sid = 1; sid <= 3; sid++) {
        ck_assert_int_ge(server_at(sid)->good_snapshot, Z(1, 1));
        ck_assert_ptr_nonnull(tree_find(server_at(sid)->tree, SLICE_LIT("/x")));
    }
}
END_TEST

/* ------------------------------------------------------------------ observers without a log */

static size_t log_entries(int sid) {
    struct store_files files;
    const struct disk *d = &disk_of(sid)->disk;
    size_t count = 0;
    int err;
    ck_assert_int_ge(store_files_list(d, DISK_LOG, "log", &files), 0);
    for (int i = 0; i < files.count; i++)
        count += store_log_has_entries(d, files.items[i].name, &err);
    store_files_free(&files);
    return count;
}

START_TEST(observer_without_a_log) {
    e = testensemble_new(3, 1, OPTIONS("syncEnabled", "false", "snapCount", "10"));
    int leader = testensemble_elect(e);
    struct testclient *c = testensemble_client(e, 4);
    char path[16];
    for (int i = 0; i < 50; i++) {
        snprintf(path, sizeof path, "/n%d", i);
        put(c, path);
    }
    run(500);
    testensemble_expect_equal(e);
    ck_assert_uint_eq(log_entries(4), 0);
    ck_assert_uint_ge(log_entries(1), 1);
    ck_assert_int_eq(server_at(4)->good_snapshot, 0);
    /* Another leader has only to send what it lacks. */
    testensemble_end(e, leader, TESTSERVER_KILL);
    leader = testensemble_elect(e);
    put(testensemble_client(e, leader), "/more");
    run(100);
    testensemble_expect_equal(e);
    ck_assert_uint_eq(counter_at(leader, METRIC_SNAP_COUNT), 0);
    ck_assert_uint_eq(log_entries(4), 0);
    /* After a start it begins with what is on the disk. */
    testensemble_end(e, 4, TESTSERVER_STOP);
    testensemble_start(e, 4);
    ck_assert_int_eq(server_at(4)->last_applied, 0);
    testensemble_elect(e);
    run(100);
    testensemble_expect_equal(e);
    ck_assert(store_is_marked(&disk_of(4)->disk));
}
END_TEST

static void send_reconfig(int32_t packet, zxid_t zxid, const char *members, int64_t designated) {
    struct buf b = BUF_INIT;
    uint8_t sid[8];
    if (packet == PACKET_INFORM_AND_ACTIVATE) {
        be64_store(sid, (uint64_t)designated);
        buf_append(&b, sid, sizeof sid);
    }
    put_reconfig(&b, zxid, members);
    testpeer_send(p, packet, zxid, buf_slice(&b));
    buf_free(&b);
}

/* The learner takes a role under p, which leads epoch 1 as server 3 with these members. */
static void follow(int sid, int32_t hello_type, struct slice members) {
    p = testpeer_new(e, 3);
    testensemble_appoint(e, sid, 3);
    testpeer_expect(p, hello_type);
    send_leader_info(1);
    testpeer_expect(p, PACKET_ACKEPOCH);
    send_diff(0);
    testpeer_send(p, PACKET_NEWLEADER, Z(1, 0), members);
    testpeer_expect(p, PACKET_ACK);
    testpeer_send(p, PACKET_UPTODATE, -1, SLICE_NULL);
}

static void serve_under(int sid, int32_t hello_type) {
    follow(sid, hello_type, SLICE_NULL);
    testpeer_expect(p, PACKET_ACK);
}

#define MEMBER_1 "server.1=s1:1001:2001:participant"
#define MEMBER_2 "server.2=s2:1002:2002:participant"
#define MEMBER_3 "server.3=s3:1003:2003:participant"
#define MEMBER_4 "server.4=s4:1004:2004:participant"

/* Its log would have a gap, so it goes back to what is there, and votes only once it has the history on its disk. */
START_TEST(observer_without_a_log_becomes_a_voter) {
    only(3, 1, 4, OPTIONS("syncEnabled", "false", "reconfigEnabled", "true"));
    serve_under(4, PACKET_OBSERVERINFO);
    ck_assert(server_at(4)->logless);
    send_reconfig(PACKET_INFORM_AND_ACTIVATE, Z(1, 1), MEMBER_1 "\n" MEMBER_2 "\n" MEMBER_3 "\n" MEMBER_4, 3);
    for (int ms = 0; ms < 1000 && p->closed == 0; ms++)
        run(1);
    await_phase(4, QUORUM_LEARNING); /* without an election */
    ck_assert_int_eq(server_at(4)->last_applied, 0);
    ck_assert(!server_at(4)->unlogged && !server_at(4)->logless);
    ck_assert(quorum_untrusted(quorum_at(4)));
    testpeer_expect(p, PACKET_OBSERVERINFO);
}
END_TEST

/* ------------------------------------------------------------------ a designated leader */

START_TEST(designated_leader_leads_at_once) {
    uint8_t sid[8];
    only(3, 0, 1, OPTIONS("reconfigEnabled", "true"));
    serve_under(1, PACKET_FOLLOWERINFO);
    send_reconfig(PACKET_PROPOSAL, Z(1, 1), MEMBER_1 "\n" MEMBER_2, -1);
    testpeer_expect(p, PACKET_ACK);
    uint64_t looked = counter_at(1, METRIC_LOOKING_COUNT);
    be64_store(sid, 1);
    testpeer_send(p, PACKET_COMMIT_AND_ACTIVATE, Z(1, 1), (struct slice){(const char *)sid, 8});
    await_phase(1, QUORUM_LEADING); /* there is nobody to elect it */
    ck_assert_uint_eq(counter_at(1, METRIC_LOOKING_COUNT), looked);
    ck_assert_int_eq(server_at(1)->last_applied, Z(1, 1));
    /* If nobody follows there is an election after all. */
    await_phase(1, QUORUM_LOOKING);
}
END_TEST

static int64_t told; /* the version of the configuration that is proposed; -1 = none */

static void tell(void *ctx, const struct qconfig *c) {
    (void)ctx;
    told = c != NULL ? c->version : -1;
}

/* For the file in which others look for it, from its proposal on until it is active. */
START_TEST(a_proposed_configuration_is_told) {
    uint8_t sid[8];
    only(3, 0, 1, OPTIONS("reconfigEnabled", "true"));
    serve_under(1, PACKET_FOLLOWERINFO);
    server_at(1)->env.config_proposed = tell;
    told = 0;
    send_reconfig(PACKET_PROPOSAL, Z(1, 1), MEMBER_1 "\n" MEMBER_2, -1);
    testpeer_expect(p, PACKET_ACK);
    ck_assert_int_eq(told, Z(1, 1));
    be64_store(sid, 1);
    testpeer_send(p, PACKET_COMMIT_AND_ACTIVATE, Z(1, 1), (struct slice){(const char *)sid, 8});
    await_phase(1, QUORUM_LEADING);
    ck_assert_int_eq(told, -1);
}
END_TEST

START_TEST(designated_leader_is_followed_at_once) {
    uint8_t sid[8];
    only(3, 0, 1, OPTIONS("reconfigEnabled", "true"));
    serve_under(1, PACKET_FOLLOWERINFO);
    send_reconfig(PACKET_PROPOSAL, Z(1, 1), MEMBER_1 "\n" MEMBER_2, -1);
    testpeer_expect(p, PACKET_ACK);
    be64_store(sid, 2);
    testpeer_send(p, PACKET_COMMIT_AND_ACTIVATE, Z(1, 1), (struct slice){(const char *)sid, 8});
    testpeer_expect_closed(p);
    testpeer_free(p);
    p = testpeer_new(e, 2);
    ck_assert_int_eq(testpeer_expect(p, PACKET_FOLLOWERINFO).zxid, Z(1, 0));
    ck_assert_int_eq(quorum_at(1)->leader_sid, 2);
    testpeer_hang_up(p);
    await_phase(1, QUORUM_LOOKING);
}
END_TEST

/* As ZooKeeper does: nobody designated it, so there is an election. */
START_TEST(leader_that_moves) {
    only(3, 0, 1, OPTIONS("reconfigEnabled", "true"));
    follow(1, PACKET_FOLLOWERINFO, SLICE_LIT(MEMBER_1 "\n" MEMBER_2 "\nserver.3=s3:1033:2003:participant\nversion=100000000"));
    testpeer_expect_closed(p);
    await_phase(1, QUORUM_LOOKING);
    testpeer_free(p);
    teardown();
    only(3, 0, 1, OPTIONS("reconfigEnabled", "true"));
    follow(1, PACKET_FOLLOWERINFO, SLICE_LIT(MEMBER_1 "\nserver.2=s2:1022:2002:participant\n" MEMBER_3 "\nversion=100000000"));
    testpeer_expect(p, PACKET_ACK);
    run(100);
    ck_assert_int_eq(server_at(1)->state, SERVER_RUNNING);
    ck_assert_int_eq(quorum_at(1)->committed->version, Z(1, 0));
}
END_TEST

/* ------------------------------------------------------------------ what is counted */

static char *mntr(int sid) {
    struct buf text = BUF_INIT;
    int looks = INT_MAX;
    struct answer *a = admin_word(server_at(sid), "mntr", 0, &text);
    ck_assert(a->next(a, &text, SIZE_MAX, &looks));
    a->free(a);
    buf_append(&text, "", 1);
    return (char *)text.data;
}

static int64_t value(const char *text, const char *key) {
    char line[80];
    int64_t v = INT64_MIN;
    snprintf(line, sizeof line, "\nzk_%s\t", key);
    const char *at = strstr(text, line);
    if (at != NULL)
        v = atoll(at + strlen(line));
    return v;
}

START_TEST(acknowledgements_are_timed) {
    e = testensemble_new(3, 0, OPTIONS("leader.ackLoggingFrequency", "2"));
    int leader = testensemble_elect(e);
    struct testclient *c = testensemble_client(e, leader);
    char path[16], key[40];
    for (int i = 0; i < 20; i++) {
        snprintf(path, sizeof path, "/n%d", i);
        put(c, path);
    }
    char *text = mntr(leader);
    /* What was committed without it is not counted, as in ZooKeeper. */
    int64_t all = 0;
    for (int sid = 1; sid <= 3; sid++) {
        snprintf(key, sizeof key, "cnt_%d_ack_latency", sid);
        int64_t count = value(text, key);
        ck_assert_int_le(count, 10);
        all += i64_max(count, 0);
        snprintf(key, sizeof key, "p99_%d_ack_latency", sid);
        ck_assert_int_eq(count < 0, value(text, key) < 0);
    }
    ck_assert_int_ge(all, 20);
    mem_free(text);
    teardown();
    e = testensemble_new(3, 0, OPTIONS("leader.ackLoggingFrequency", "0"));
    leader = testensemble_elect(e);
    put(testensemble_client(e, leader), "/n");
    ck_assert_uint_eq(server_at(leader)->metrics.ack_latency_count, 0);
}
END_TEST

START_TEST(members_count) {
    e = testensemble_new(3, 1, NULL);
    int leader = testensemble_elect(e), follower = leader == 1 ? 2 : 1;
    struct testclient *c = testensemble_client(e, follower);
    put(c, "/a");
    run(50);
    for (int sid = 1; sid <= 4; sid++) {
        char *text = mntr(sid);
        bool leads = sid == leader, observes = sid == 4;
        ck_assert_int_eq(value(text, "cnt_follower_sync_time"), !leads && !observes);
        ck_assert_int_eq(value(text, "cnt_observer_sync_time"), observes);
        ck_assert_int_eq(value(text, "cnt_unavailable_time"), 1);
        ck_assert_int_eq(value(text, "cnt_leader_unavailable_time"), leads);
        ck_assert_int_eq(value(text, "quorum_size"), 3);
        ck_assert_int_eq(value(text, "request_commit_queued"), 2);
        ck_assert_int_eq(value(text, "cnt_commit_propagation_latency"), leads ? 0 : 2);
        ck_assert_int_eq(value(text, "cnt_proposal_ack_creation_latency") >= 1, !leads && !observes);
        ck_assert_int_ge(value(text, "cnt_sync_processor_queue_and_flush_time_ms"), 1);
        ck_assert_int_eq(value(text, "learners"), leads ? 3 : INT64_MIN);
        ck_assert_int_eq(value(text, "zabra_learner_4_unsent_bytes"), leads ? 0 : INT64_MIN);
        ck_assert_int_eq(value(text, "zabra_learner_4_unacknowledged"), INT64_MIN);
        char key[60];
        snprintf(key, sizeof key, "zabra_learner_%d_unacknowledged", follower);
        ck_assert_int_eq(value(text, key), leads ? 0 : INT64_MIN);
        mem_free(text);
    }
    /* One that does not answer any more. */
    e->cut[follower][leader] = true;
    put(testensemble_client(e, leader), "/b");
    run(20);
    char *text = mntr(leader), key[60];
    snprintf(key, sizeof key, "zabra_learner_%d_unacknowledged", follower);
    ck_assert_int_eq(value(text, key), 2);
    mem_free(text);
}
END_TEST

static char *answer(int sid, const char *word) {
    struct buf text = BUF_INIT;
    int looks = INT_MAX;
    struct answer *a = admin_word(server_at(sid), word, 0, &text);
    if (a != NULL) {
        ck_assert(a->next(a, &text, SIZE_MAX, &looks));
        a->free(a);
    }
    buf_append(&text, "", 1);
    return (char *)text.data;
}

static void expect_text(int sid, const char *word, const char *part) {
    char *text = answer(sid, word);
    ck_assert_msg(strstr(text, part) != NULL, "%s of %d:\n%s\nlacks:\n%s", word, sid, text, part);
    mem_free(text);
}

static void expect_end(int sid, const char *word, const char *end) {
    char *text = answer(sid, word);
    ck_assert_uint_gt(strlen(text), strlen(end));
    ck_assert_str_eq(text + strlen(text) - strlen(end), end);
    mem_free(text);
}

START_TEST(words_of_members) {
    e = testensemble_new(3, 1, OPTIONS("reconfigEnabled", "true"));
    int leader = testensemble_elect(e), follower = leader == 1 ? 2 : 1;
    const struct testclient *b = testensemble_client(e, 4), *a = testensemble_client(e, follower);
    char sessions[200];
    run(50);
    session_id_t first = a->session_id < b->session_id ? a->session_id : b->session_id;
    snprintf(sessions, sizeof sessions, "SessionTracker dump:\nGlobal Sessions(2):\n0x%llx\t10000ms\n0x%llx\t10000ms\nephemeral nodes",
             (unsigned long long)first, (unsigned long long)(first == a->session_id ? b->session_id : a->session_id));
    expect_text(follower, "dump", sessions);
    expect_text(4, "dump", sessions);
    expect_text(leader, "dump", "SessionTracker dump:\nSession Sets (");
    expect_end(4, "conf", "\nserverId=4\ninitLimit=10\nsyncLimit=5\nelectionAlg=3\nelectionPort=2004\nquorumPort=1004\npeerType=1\n"
                          "membership: \nserver.1=s1:1001:2001:participant\nserver.2=s2:1002:2002:participant\n"
                          "server.3=s3:1003:2003:participant\nserver.4=s4:1004:2004:observer\nversion=100000000");
    expect_text(leader, "conf", "\npeerType=0\nmembership: \n");
    expect_text(leader, "srvr", "\nMode: leader\nNode count: 5\nProposal sizes last/min/max: 48/48/48\n");
    expect_end(follower, "srvr", "\nMode: follower\nNode count: 5\n");
    expect_text(4, "stat", "\nMode: observer\n");
}
END_TEST

START_TEST(renewals_are_counted) {
    e = testensemble_new(3, 0, NULL);
    int leader = testensemble_elect(e), follower = leader == 1 ? 2 : 1;
    struct testclient *c = testensemble_client(e, follower);
    testclient_hang_up(c);
    struct testclient *again = testclient_new(e->servers[follower], NULL);
    again->session_id = c->session_id;
    memcpy(again->password, c->password, sizeof again->password);
    testclient_send_connect(again, 10000);
    run(50);
    ck_assert(testclient_take_connect(again));
    ck_assert_uint_eq(counter_at(leader, METRIC_REVALIDATE_COUNT), 1);
    ck_assert_uint_eq(counter_at(follower, METRIC_CONNECTION_REVALIDATE_COUNT), 1);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quorum_options");
    ADD_ENSEMBLE(suite, "connections", limit_of_connecting, observers_come_back_at_random, observers_leave_voters_alone,
        limits_of_election_connections);
    ADD_ENSEMBLE(suite, "leader", leader_that_nobody_follows, transactions_for_few_at_a_time, snapshots_for_few_at_a_time);
    ADD_ENSEMBLE(suite, "clients", leader_without_clients, denials_without_a_transaction);
    ADD_ENSEMBLE(suite, "data", empty_databases_that_may_not_vote, empty_database_that_dies_on_its_way,
        logs_without_a_snapshot, observer_without_a_log, observer_without_a_log_becomes_a_voter);
    ADD_ENSEMBLE(suite, "reconfiguration", a_proposed_configuration_is_told, designated_leader_leads_at_once,
        designated_leader_is_followed_at_once, leader_that_moves);
    ADD_ENSEMBLE(suite, "figures", acknowledgements_are_timed, members_count, words_of_members,
        renewals_are_counted);
    return run_suite(suite);
}
