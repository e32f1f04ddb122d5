/* Whole ensembles in process: the roles, over simulated links, disks and time. The invariants that tests name are those of
 * docs/protocol/zab.md section 19. */
#include <errno.h>

#include "lib/testensemble.h"
#include "quorum/quorum_internal.h"
#include "server_help.h"
#include "store/rewind.h"

/* Writes data of this path through a member, and waits for the reply. */
static void put(struct testensemble *e, struct testclient *c, const char *path) {
    testclient_create(c, path, "data", CREATE_PERSISTENT);
    struct testframe f = testensemble_reply(e, c);
    ck_assert_int_eq(f.err, ZK_OK);
}

START_TEST(three_elect_and_serve) {
    struct testensemble *e = testensemble_new(3, 0, NULL);
    int leader = testensemble_elect(e);
    ck_assert_int_eq(leader, 3);
    for (int sid = 1; sid <= 3; sid++) {
        char path[16];
        struct testclient *c = testensemble_client(e, sid);
        snprintf(path, sizeof path, "/from%d", sid);
        put(e, c, path);
    }
    testensemble_run(e, 50);
    testensemble_expect_equal(e);
    ck_assert_ptr_nonnull(tree_find(e->servers[1]->server->tree, SLICE_LIT("/from3")));
    testensemble_free(e);
}
END_TEST

/* The leader goes, the others go on; it comes back and gets what it missed. */
static void leader_away(enum testserver_end how, int writes) {
    struct testensemble *e = testensemble_new(3, 0, (const char *[]){"snapCount", "100000", NULL});
    int old = testensemble_elect(e);
    struct testclient *c = testensemble_client(e, old == 1 ? 2 : 1);
    put(e, c, "/before");
    testensemble_end(e, old, how);
    int leader = testensemble_elect(e);
    ck_assert_int_ne(leader, old);
    c = testensemble_client(e, leader);
    for (int i = 0; i < writes; i++) {
        char path[24];
        snprintf(path, sizeof path, "/away%d", i);
        put(e, c, path);
    }
    ck_assert_ptr_nonnull(tree_find(e->servers[leader]->server->tree, SLICE_LIT("/before")));
    testensemble_start(e, old);
    testensemble_elect(e);
    ck_assert_int_eq(testensemble_leader(e), leader);
    testensemble_run(e, 100);
    testensemble_expect_equal(e);
    testensemble_free(e);
}

START_TEST(leader_stops_and_comes_back) { leader_away(TESTSERVER_STOP, 10); }
END_TEST

START_TEST(leader_is_killed_and_comes_back) { leader_away(TESTSERVER_KILL, 10); }
END_TEST

START_TEST(leader_loses_power_and_comes_back) { leader_away(TESTSERVER_POWER_LOSS, 10); }
END_TEST

/* What only the dead leader had logged goes when it comes back: TRUNC, or SNAP where another epoch is between. */
START_TEST(divergent_tail_is_forgotten) {
    struct testensemble *e = testensemble_new(3, 0, NULL);
    int old = testensemble_elect(e);
    struct testclient *c = testensemble_client(e, old);
    put(e, c, "/before");
    testensemble_run(e, 50);
    for (int sid = 1; sid <= 3; sid++)
        e->cut[old][sid] = sid != old;
    testclient_create(c, "/lost", "", CREATE_PERSISTENT);
    testensemble_run(e, 20);
    ck_assert_int_gt(e->servers[old]->server->logged, e->servers[old]->server->committed);
    testensemble_end(e, old, TESTSERVER_KILL);
    memset(e->cut, 0, sizeof e->cut);
    int leader = testensemble_elect(e);
    struct testclient *d = testensemble_client(e, leader);
    put(e, d, "/after");
    testensemble_start(e, old);
    testensemble_elect(e);
    testensemble_run(e, 200);
    testensemble_expect_equal(e);
    ck_assert_ptr_null(tree_find(e->servers[old]->server->tree, SLICE_LIT("/lost")));
    ck_assert_ptr_nonnull(tree_find(e->servers[old]->server->tree, SLICE_LIT("/after")));
    testensemble_end(e, old, TESTSERVER_KILL);
    testensemble_start(e, old);
    testensemble_elect(e);
    testensemble_run(e, 200);
    testensemble_expect_equal(e);
    testensemble_free(e);
}
END_TEST

/* No snapshot of ours reaches that far: the history that is kept is too short. Then the log files help, if they may. */
static void away_for_longer_than_the_window(const char *factor, bool snapshot) {
    struct testensemble *e = testensemble_new(
        3, 0, (const char *[]){"logWindowBytes", "1", "snapCount", "100000", "snapshotSizeFactor", factor, NULL});
    int leader = testensemble_elect(e);
    int away = leader == 1 ? 2 : 1;
    struct testclient *c = testensemble_client(e, leader);
    put(e, c, "/before");
    testensemble_run(e, 50);
    testensemble_end(e, away, TESTSERVER_STOP);
    for (int i = 0; i < 1500; i++) {
        char path[24];
        snprintf(path, sizeof path, "/n%d", i);
        put(e, c, path);
    }
    testensemble_start(e, away);
    testensemble_elect(e);
    testensemble_run(e, 200);
    testensemble_expect_equal(e);
    ck_assert(snapshot == (e->servers[away]->server->good_snapshot >= zxid_make(1, 1000)));
    ck_assert_uint_eq(e->servers[leader]->server->metrics.log_diffs, !snapshot);
    put(e, c, "/later");
    testensemble_run(e, 200);
    testensemble_end(e, away, TESTSERVER_POWER_LOSS);
    testensemble_start(e, away);
    testensemble_elect(e);
    testensemble_run(e, 200);
    testensemble_expect_equal(e);
    testensemble_free(e);
}

START_TEST(member_without_history_gets_a_snapshot) { away_for_longer_than_the_window("-1", true); }
END_TEST
START_TEST(member_without_history_gets_the_logs) { away_for_longer_than_the_window("0.33", false); }
END_TEST

/* A snapshot that cannot be read when it has come: what was there before does not take its place. */
START_TEST(snapshot_that_cannot_be_read) {
    for (unsigned n = 1; n <= 12; n++) {
        struct testensemble *e = testensemble_new(3, 0, (const char *[]){"forceSnapshotSync", "true", NULL});
        int leader = testensemble_elect(e), away = leader == 1 ? 2 : 1;
        struct testserver *ts = e->servers[away];
        struct testclient *c = testensemble_client(e, leader);
        put(e, c, "/before");
        testensemble_run(e, 50);
        testensemble_end(e, away, TESTSERVER_STOP);
        put(e, c, "/away");
        testensemble_start(e, away);
        simdisk_fail(&ts->disk, SIMDISK_BIT(SIMDISK_OPEN), n, -EIO);
        testensemble_run(e, 3000);
        simdisk_clear_faults(&ts->disk);
        if (ts->server->state == SERVER_FAILED) {
            testensemble_end(e, away, TESTSERVER_KILL);
            testensemble_start(e, away);
        }
        testensemble_elect(e);
        put(e, c, "/later");
        testensemble_run(e, 100);
        testensemble_expect_equal(e);
        testensemble_free(e);
    }
}
END_TEST

/* Encoded once: the followers share the proposal, the observers what informs them. */
START_TEST(large_proposals_are_shared) {
    static char data[10001];
    struct testensemble *e = testensemble_new(3, 2, NULL);
    struct testclient *c = testensemble_client(e, testensemble_elect(e));
    put(e, c, "/small");
    ck_assert_uint_eq(e->shared, 0);
    memset(data, 'x', sizeof data - 1);
    testclient_create(c, "/large", data, CREATE_PERSISTENT);
    ck_assert_int_eq(testensemble_reply(e, c).err, ZK_OK);
    testensemble_run(e, 100);
    ck_assert_uint_eq(e->shared, 4);
    testensemble_expect_equal(e);
    testensemble_free(e);
}
END_TEST

START_TEST(observers_follow) {
    struct testensemble *e = testensemble_new(3, 2, NULL);
    testensemble_elect(e);
    struct testclient *c = testensemble_client(e, 4), *d = testensemble_client(e, 1);
    put(e, c, "/through-observer");
    put(e, d, "/through-voter");
    testensemble_run(e, 50);
    testensemble_expect_equal(e);
    ck_assert_str_eq(e->servers[5]->server->role->mode, "observer");
    /* They do not count: with one voter left nobody leads. */
    int leader = testensemble_leader(e);
    testensemble_end(e, leader, TESTSERVER_KILL);
    testensemble_end(e, leader == 1 ? 2 : 1, TESTSERVER_KILL);
    testensemble_run(e, 30000);
    ck_assert_int_eq(testensemble_leader(e), 0);
    testensemble_free(e);
}
END_TEST

START_TEST(sync_sees_what_was_written_elsewhere) {
    struct testensemble *e = testensemble_new(3, 0, NULL);
    int leader = testensemble_elect(e);
    struct testclient *w = testensemble_client(e, leader), *r = testensemble_client(e, leader == 1 ? 2 : 1);
    for (int i = 0; i < 20; i++) {
        char path[24];
        snprintf(path, sizeof path, "/s%d", i);
        put(e, w, path);
        struct buf *b = testclient_request(r, OP_SYNC);
        jute_put_bytes(b, SLICE_LIT("/"));
        testclient_end(r);
        testclient_exists(r, path, false);
        ck_assert_int_eq(testensemble_reply(e, r).err, ZK_OK);
        ck_assert_int_eq(testensemble_reply(e, r).err, ZK_OK);
    }
    /* On the leader, too: it has to be sure that it still leads. */
    struct buf *b = testclient_request(w, OP_SYNC);
    jute_put_bytes(b, SLICE_LIT("/"));
    testclient_end(w);
    ck_assert_int_eq(testensemble_reply(e, w).err, ZK_OK);
    testensemble_free(e);
}
END_TEST

/* A session that is due to expire is the leader's business: the others must not spin because of it. */
START_TEST(followers_sleep_while_sessions_are_due) {
    struct testensemble *e = testensemble_new(3, 0, NULL);
    int leader = testensemble_elect(e);
    int follower = leader == 1 ? 2 : 1;
    struct server *s = e->servers[follower]->server;
    struct testclient *before = testensemble_client(e, follower), *c = testclient_new(e->servers[leader], NULL);
    c->session_id = before->session_id;
    memcpy(c->password, before->password, PASSWORD_BYTES);
    testclient_hang_up(before);
    testclient_send_connect(c, 10000);
    testensemble_run(e, 50);
    ck_assert(testclient_take_connect(c));
    for (int i = 0; i < 30; i++) {
        testclient_ping(c);
        testensemble_run(e, 1000);
        ck_assert_uint_eq(s->sessions.by_id.count, 1);
        ck_assert(mono_diff_us(server_next_wake(s), s->now.mono) > 0);
    }
    testensemble_free(e);
}
END_TEST

/* A session that a follower could not get made is forgotten with the role, also if its connection was still open then. */
START_TEST(session_that_was_never_made) {
    struct testensemble *e = testensemble_new(3, 0, NULL);
    int leader = testensemble_elect(e), follower = leader == 1 ? 2 : 1;
    struct server *s = e->servers[follower]->server;
    for (int sid = 1; sid <= 3; sid++)
        e->cut[follower][sid] = e->cut[sid][follower] = sid != follower;
    testclient_send_connect(testclient_new(e->servers[follower], NULL), 10000);
    testensemble_run(e, 10);
    ck_assert_uint_eq(s->sessions.by_id.count, 1);
    for (int i = 0; i < 60000 && s->state == SERVER_RUNNING; i++)
        testensemble_run(e, 1);
    ck_assert_uint_eq(s->sessions.by_id.count, 0);
    testensemble_free(e);
}
END_TEST

/* A leader that nobody hears confirms nothing, and leaves. */
START_TEST(deposed_leader_confirms_no_sync) {
    struct testensemble *e = testensemble_new(3, 0, NULL);
    int old = testensemble_elect(e);
    struct testclient *c = testensemble_client(e, old);
    put(e, c, "/a");
    for (int sid = 1; sid <= 3; sid++)
        e->cut[old][sid] = e->cut[sid][old] = sid != old;
    struct buf *b = testclient_request(c, OP_SYNC);
    jute_put_bytes(b, SLICE_LIT("/"));
    testclient_end(c);
    struct testframe f;
    for (int i = 0; i < 30000 && c->conn != NULL; i++) {
        testensemble_run(e, 1);
        ck_assert(!testclient_next(c, &f));
    }
    ck_assert_ptr_null(c->conn);
    ck_assert_int_ne(e->servers[old]->server->state, SERVER_RUNNING);
    testensemble_free(e);
}
END_TEST

/* Its connections stay open: that the others do not wait for its vote, too, is what makes the limit. */
START_TEST(silent_leader_is_replaced_in_time) {
    struct testensemble *e = testensemble_new(3, 0, NULL);
    int old = testensemble_elect(e), leader = old;
    const struct config *c = e->servers[old]->server->config;
    int64_t ms = 0, limit_ms = (int64_t)c->sync_limit_ticks * c->tick_time_ms + 100;
    for (int sid = 1; sid <= 3; sid++)
        e->cut[old][sid] = e->cut[sid][old] = sid != old;
    for (; ms <= limit_ms && (leader == old || leader == 0); ms++) {
        testensemble_run(e, 1);
        leader = 0;
        for (int sid = 1; sid <= 3; sid++)
            if (sid != old && e->servers[sid]->server->quorum->leader != NULL && e->servers[sid]->server->state == SERVER_RUNNING)
                leader = sid;
    }
    ck_assert_msg(ms <= limit_ms, "nobody leads after %lld ms", (long long)ms);
    testensemble_free(e);
}
END_TEST

/* A client does not wait for the answer to its sync. */
static void sync_then_write(int (*member)(int leader)) {
    struct testensemble *e = testensemble_new(3, 0, NULL);
    struct testclient *c = testensemble_client(e, member(testensemble_elect(e)));
    for (int i = 0; i < 20; i++) {
        char path[24];
        snprintf(path, sizeof path, "/p%d", i);
        for (int k = 0; k < 1 + i % 3; k++) {
            jute_put_bytes(testclient_request(c, OP_SYNC), SLICE_LIT("/"));
            testclient_end(c);
        }
        testclient_exists(c, path, false);
        testclient_create(c, path, "data", CREATE_PERSISTENT);
        testclient_exists(c, path, false);
        for (int k = 0; k < 1 + i % 3; k++)
            ck_assert_int_eq(testensemble_reply(e, c).err, ZK_OK);
        ck_assert_int_eq(testensemble_reply(e, c).err, ZK_NO_NODE);
        ck_assert_int_eq(testensemble_reply(e, c).err, ZK_OK);
        struct testframe f = testensemble_reply(e, c);
        ck_assert_int_eq(f.err, ZK_OK);
        ck_assert_int_eq(f.xid, c->xid);
    }
    testensemble_free(e);
}

static int the_leader(int leader) { return leader; }
static int a_follower(int leader) { return leader == 1 ? 2 : 1; }

START_TEST(sync_with_a_write_behind_it_on_the_leader) { sync_then_write(the_leader); }
END_TEST
START_TEST(sync_with_a_write_behind_it_on_a_follower) { sync_then_write(a_follower); }
END_TEST

/* More than a member takes at a time, and nothing else happens. */
static void many_syncs(int (*member)(int leader)) {
    struct testensemble *e = testensemble_new(3, 0, (const char *[]){"globalOutstandingLimit", "1", NULL});
    struct testclient *c = testensemble_client(e, member(testensemble_elect(e)));
    for (int i = 0; i < 20; i++) {
        jute_put_bytes(testclient_request(c, OP_SYNC), SLICE_LIT("/"));
        testclient_end(c);
    }
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(testensemble_reply(e, c).err, ZK_OK);
    testensemble_free(e);
}

START_TEST(many_syncs_on_the_leader) { many_syncs(the_leader); }
END_TEST
START_TEST(many_syncs_on_a_follower) { many_syncs(a_follower); }
END_TEST

/* Clients go, and the role ends, with syncs under way. */
START_TEST(syncs_that_are_never_answered) {
    for (int round = 0; round < 12; round++) {
        struct testensemble *e = testensemble_new(3, 0, NULL);
        int leader = testensemble_elect(e), sid = round % 2 == 0 ? leader : a_follower(leader);
        struct testclient *c = testensemble_client(e, sid);
        for (int sid2 = 1; sid2 <= 3; sid2++)
            e->cut[leader][sid2] = e->cut[sid2][leader] = sid2 != leader && round % 3 != 2;
        for (int i = 0; i < 3; i++) {
            jute_put_bytes(testclient_request(c, OP_SYNC), SLICE_LIT("/"));
            testclient_end(c);
            testclient_create(c, "/s", "data", CREATE_PERSISTENT);
        }
        testensemble_run(e, round % 4);
        if (round % 3 == 0)
            testclient_hang_up(c);
        if (round >= 6)
            quorum_leave(e->servers[sid]->server->quorum, "the test says so");
        testensemble_run(e, round % 5 == 0 ? 20000 : 10);
        testensemble_free(e);
    }
}
END_TEST

START_TEST(session_moves_between_members) {
    struct testensemble *e = testensemble_new(3, 0, NULL);
    testensemble_elect(e);
    struct testclient *a = testensemble_client(e, 1);
    testclient_create(a, "/mine", "", CREATE_EPHEMERAL);
    ck_assert_int_eq(testensemble_reply(e, a).err, ZK_OK);
    testensemble_run(e, 50);
    for (int sid = 2; sid <= 4; sid++) {
        struct testclient *b = testclient_new(e->servers[(sid - 1) % 3 + 1], NULL);
        b->session_id = a->session_id;
        memcpy(b->password, a->password, PASSWORD_BYTES);
        testclient_send_connect(b, 10000);
        testensemble_run(e, 50);
        ck_assert(testclient_take_connect(b));
        ck_assert_int_eq(b->session_id, a->session_id);
        char path[24];
        snprintf(path, sizeof path, "/moved%d", sid);
        put(e, b, path);
        /* The old connection is closed without a reply as soon as it writes. */
        struct testframe f;
        if (a->conn != NULL)
            testclient_create(a, "/old", "", CREATE_PERSISTENT);
        testensemble_run(e, 50);
        ck_assert(!testclient_next(a, &f));
        ck_assert_ptr_null(a->conn);
        ck_assert_ptr_null(tree_find(e->servers[1]->server->tree, SLICE_LIT("/old")));
        a = b;
    }
    ck_assert_ptr_nonnull(tree_find(e->servers[2]->server->tree, SLICE_LIT("/mine")));
    testclient_hang_up(a);
    testensemble_run(e, 25000);
    ck_assert_ptr_null(tree_find(e->servers[2]->server->tree, SLICE_LIT("/mine")));
    testensemble_expect_equal(e);
    testensemble_free(e);
}
END_TEST

/* The only other one that has the last write is away: the two that lack it must not go on without it. */
START_TEST(wiped_voter_elects_nobody) {
    struct testensemble *e = testensemble_new(3, 0, NULL);
    int leader = testensemble_elect(e);
    int wiped = leader == 1 ? 2 : 1, lagging = 6 - leader - wiped;
    testensemble_end(e, lagging, TESTSERVER_STOP);
    struct testclient *c = testensemble_client(e, leader);
    put(e, c, "/acknowledged");
    testensemble_run(e, 50);
    testensemble_end(e, leader, TESTSERVER_KILL);
    testensemble_end(e, wiped, TESTSERVER_KILL);
    testensemble_wipe(e, wiped);
    testensemble_start(e, lagging);
    testensemble_start(e, wiped);
    testensemble_run(e, 60000);
    ck_assert_int_eq(testensemble_leader(e), 0);
    testensemble_end(e, wiped, TESTSERVER_POWER_LOSS);
    testensemble_start(e, wiped);
    testensemble_run(e, 30000);
    ck_assert_int_eq(testensemble_leader(e), 0);
    testensemble_start(e, leader);
    testensemble_elect(e);
    testensemble_run(e, 3000);
    testensemble_expect_equal(e);
    ck_assert_ptr_nonnull(tree_find(e->servers[wiped]->server->tree, SLICE_LIT("/acknowledged")));
    ck_assert_str_eq(e->servers[wiped]->server->role->mode, "follower");
    /* Now its word counts again. */
    testensemble_end(e, lagging, TESTSERVER_KILL);
    testensemble_end(e, leader, TESTSERVER_KILL);
    testensemble_start(e, lagging);
    testensemble_elect(e);
    ck_assert_ptr_nonnull(tree_find(e->servers[lagging]->server->tree, SLICE_LIT("/acknowledged")));
    testensemble_free(e);
}
END_TEST

/* With reconfigEnabled the first leader gives the configuration a version; without it stays at 0. */
static void expect_config(const char *enabled, const char *last_line) {
    struct testensemble *e = testensemble_new(3, 1, (const char *[]){"reconfigEnabled", enabled, NULL});
    testensemble_elect(e);
    testensemble_run(e, 100);
    for (int sid = 1; sid <= 4; sid++) {
        struct slice text = znode_data(tree_find(e->servers[sid]->server->tree, SLICE_LIT("/zookeeper/config")));
        ck_assert_uint_gt(text.len, strlen(last_line));
        ck_assert_int_eq(memcmp(text.data + text.len - strlen(last_line), last_line, strlen(last_line)), 0);
    }
    testensemble_expect_equal(e);
    testensemble_free(e);
}

/* The others cannot do without it any more, but do not keep a leader for long. It has been alone before, so it asks less and less
 * often; all that it is told of is that there is another election. */
START_TEST(wiped_voter_between_many_elections) {
    struct testensemble *e = testensemble_new(3, 0, NULL);
    int leader = testensemble_elect(e), wiped = leader == 1 ? 2 : 1;
    put(e, testensemble_client(e, leader), "/acknowledged");
    testensemble_end(e, wiped, TESTSERVER_KILL);
    testensemble_wipe(e, wiped);
    testensemble_start(e, wiped);
    for (int sid = 1; sid <= 3; sid++)
        e->cut[sid][wiped] = e->cut[wiped][sid] = sid != wiped;
    ck_assert_int_eq(store_mark(&e->servers[wiped]->disk.disk), 0);
    testensemble_end(e, wiped, TESTSERVER_KILL);
    testensemble_start(e, wiped);
    testensemble_run(e, 30000);
    memset(e->cut, 0, sizeof e->cut);
    int elections = 0;
    while (e->servers[wiped]->server->state != SERVER_RUNNING) {
        ck_assert_int_lt(++elections, 10);
        leader = testensemble_leader(e);
        if (leader != 0)
            quorum_leave(e->servers[leader]->server->quorum, "the test wants another election");
        testensemble_run(e, 3000);
    }
    testensemble_elect(e);
    testensemble_run(e, 3000);
    testensemble_expect_equal(e);
    testensemble_free(e);
}
END_TEST

/* It cannot note that it must not vote: it goes on trying, and promises nothing before. */
START_TEST(wiped_voter_with_a_full_disk) {
    struct testensemble *e = testensemble_new(3, 0, NULL);
    int leader = testensemble_elect(e), wiped = leader == 1 ? 2 : 1;
    struct testclient *c = testensemble_client(e, leader);
    put(e, c, "/acknowledged");
    testensemble_end(e, wiped, TESTSERVER_KILL);
    testensemble_wipe(e, wiped);
    testensemble_start(e, wiped);
    struct simdisk *disk = &e->servers[wiped]->disk;
    simdisk_fail_forever(disk, SIMDISK_BIT(SIMDISK_WRITE), 1, -ENOSPC);
    testensemble_run(e, 2000);
    ck_assert_int_eq(e->servers[wiped]->server->state, SERVER_WAITING);
    ck_assert(!store_is_marked(&disk->disk));
    ck_assert_int_eq(e->servers[wiped]->server->quorum->epochs.accepted, 0);
    simdisk_clear_faults(disk);
    testensemble_run(e, 5000);
    testensemble_expect_equal(e);
    ck_assert_str_eq(e->servers[wiped]->server->role->mode, "follower");
    ck_assert(!store_is_marked(&disk->disk));
    testensemble_free(e);
}
END_TEST

START_TEST(configuration_gets_a_version) {
    expect_config("true", "\nversion=100000000");
    expect_config("false", "\nversion=0");
}
END_TEST

/* What a member becomes part of is its history, too, even if nothing was ever written. */
START_TEST(first_followers_have_a_history) {
    struct testensemble *e = testensemble_new(3, 0, NULL);
    int leader = testensemble_elect(e);
    int early = leader == 1 ? 2 : 1;
    e->cut[leader][early] = e->cut[early][leader] = true;
    testensemble_run(e, 15000); /* it looks for a leader, the other one still follows */
    ck_assert_int_ne(e->servers[early]->server->state, SERVER_RUNNING);
    testensemble_end(e, leader, TESTSERVER_KILL);
    memset(e->cut, 0, sizeof e->cut);
    ck_assert_int_ne(testensemble_elect(e), leader);
    testensemble_free(e);
}
END_TEST

/* Megabytes of history go to a learner in pieces; what is written meanwhile comes behind them, in order. */
START_TEST(long_history_is_fed_in_pieces) {
    struct testensemble *e = testensemble_new(3, 1, (const char *[]){"snapCount", "100000", NULL});
    int leader = testensemble_elect(e);
    int away = leader == 1 ? 2 : 1;
    char path[24], data[100001];
    memset(data, 'x', sizeof data - 1);
    data[sizeof data - 1] = '\0';
    struct testclient *c = testensemble_client(e, leader);
    put(e, c, "/before");
    testensemble_run(e, 50);
    testensemble_end(e, away, TESTSERVER_STOP);
    testensemble_end(e, 4, TESTSERVER_STOP);
    for (int i = 0; i < 40; i++) {
        snprintf(path, sizeof path, "/big%d", i);
        testclient_create(c, path, data, CREATE_PERSISTENT);
        ck_assert_int_eq(testensemble_reply(e, c).err, ZK_OK);
    }
    testensemble_start(e, away);
    testensemble_start(e, 4);
    const struct server *s = e->servers[away]->server;
    zxid_t end = e->servers[leader]->server->last_applied, seen = s->last_prepared;
    int pieces = 0;
    for (int i = 0; s->state != SERVER_RUNNING; i++) {
        ck_assert_int_lt(i, 10000);
        snprintf(path, sizeof path, "/meanwhile%d", i);
        put(e, c, path);
        pieces += s->last_prepared != seen && s->last_prepared < end;
        seen = s->last_prepared;
    }
    ck_assert_int_ge(pieces, 2); /* of one piece nothing would show before its end */
    testensemble_elect(e);
    testensemble_run(e, 100);
    testensemble_expect_equal(e);
    testensemble_free(e);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quorum");
    ADD(suite, "serve", three_elect_and_serve, observers_follow, large_proposals_are_shared, sync_sees_what_was_written_elsewhere,
        followers_sleep_while_sessions_are_due, session_that_was_never_made,
        sync_with_a_write_behind_it_on_the_leader, sync_with_a_write_behind_it_on_a_follower,
        many_syncs_on_the_leader, many_syncs_on_a_follower,
        syncs_that_are_never_answered, deposed_leader_confirms_no_sync, silent_leader_is_replaced_in_time,
        configuration_gets_a_version, session_moves_between_members);
    ADD(suite, "away", first_followers_have_a_history, long_history_is_fed_in_pieces, leader_stops_and_comes_back,
        leader_is_killed_and_comes_back, leader_loses_power_and_comes_back,
        divergent_tail_is_forgotten, wiped_voter_elects_nobody, wiped_voter_between_many_elections, wiped_voter_with_a_full_disk,
        member_without_history_gets_a_snapshot,
        member_without_history_gets_the_logs, snapshot_that_cannot_be_read);
    return run_suite(suite);
}
