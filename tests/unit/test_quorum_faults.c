/* A learner against a leader that does what the test says: wrong packets, packets at the wrong time, links that break and
 * machines that crash between any two steps. */
#include "quorum_help.h"
#include "store/rewind.h"

/* ------------------------------------------------------------------ transactions */

static struct buf payload_of(zxid_t zxid, int32_t type) {
    struct buf b = BUF_INIT, acl = BUF_INIT;
    char path[32];
    snprintf(path, sizeof path, "/z%llx", (unsigned long long)zxid);
    put_open_acl(&acl);
    txn_header_put(&b, &(struct txn_header){.client_id = 0x100, .cxid = 1, .zxid = zxid, .time_ms = 5000, .type = type});
    if (type == OP_CREATE)
        txn_record_put(&b, &(struct txn){.type = type, .path = slice_of(path), .data = SLICE_LIT("data"),
                                         .acl = buf_slice(&acl), .parent_cversion = (int32_t)zxid_counter(zxid)});
    else
        jute_put_bytes(&b, slice_of(path)), jute_put_int(&b, 1);
    buf_free(&acl);
    return b;
}

static void send_txn(int32_t packet, zxid_t zxid, int32_t type) {
    struct buf b = payload_of(zxid, type);
    testpeer_send(p, packet, zxid, buf_slice(&b));
    buf_free(&b);
}

static void propose(zxid_t zxid) { send_txn(PACKET_PROPOSAL, zxid, OP_CREATE); }
static void commit(zxid_t zxid) { testpeer_send(p, PACKET_COMMIT, zxid, SLICE_NULL); }
static void propose_all(zxid_t first, zxid_t last, bool committed) {
    for (zxid_t z = first; z <= last; z++) {
        propose(z);
        if (committed)
            commit(z);
    }
}

static bool has_znode(int sid, zxid_t zxid) {
    char path[32];
    snprintf(path, sizeof path, "/z%llx", (unsigned long long)zxid);
    return tree_find(server_at(sid)->tree, slice_of(path)) != NULL;
}

/* ------------------------------------------------------------------ a leader by hand; member 1 follows */

static void appoint_leader(void) {
    if (p == NULL)
        p = testpeer_new(e, LEADER);
    testensemble_appoint(e, 1, LEADER);
    for (int ms = 0; ms < 5000 && p->link == NULL; ms++)
        run(1);
    ck_assert_ptr_nonnull(p->link);
}

static struct quorum_packet discover(int64_t epoch) {
    appoint_leader();
    testpeer_expect(p, PACKET_FOLLOWERINFO);
    send_leader_info(epoch);
    return testpeer_expect(p, PACKET_ACKEPOCH);
}

static void new_leader(int64_t epoch) { testpeer_send(p, PACKET_NEWLEADER, Z(epoch, 0), SLICE_LIT("server.1=a:1:2\nversion=0")); }
static void expect_ack(zxid_t zxid) { ck_assert_int_eq(testpeer_expect(p, PACKET_ACK).zxid, zxid); }
static void up_to_date(int64_t epoch) {
    testpeer_send(p, PACKET_UPTODATE, -1, SLICE_NULL);
    expect_ack(Z(epoch, 0));
    ck_assert_int_eq(server_at(1)->state, SERVER_RUNNING);
}

/* Gives member 1 a history of this epoch: 1 ... committed, and what is only proposed up to logged. It serves. */
static void give_history(int64_t epoch, int64_t committed, int64_t logged) {
    discover(epoch);
    send_diff(0);
    new_leader(epoch);
    expect_ack(Z(epoch, 0));
    up_to_date(epoch);
    propose_all(Z(epoch, 1), Z(epoch, committed), true);
    propose_all(Z(epoch, committed + 1), Z(epoch, logged), false);
    for (int64_t i = 1; i <= logged; i++)
        expect_ack(Z(epoch, i));
    run(5);
    ck_assert_int_eq(server_at(1)->last_applied, Z(epoch, committed));
}

/* Member 1 alone, with a history of epoch 1. */
static void begin(const char *const *options, int64_t committed, int64_t logged) {
    start(options, 1);
    give_history(1, committed, logged);
}

static void lose_leader(void) {
    testpeer_hang_up(p);
    await_phase(1, QUORUM_LOOKING);
}

/* Up to ACKEPOCH of epoch 2. */
static void meet_next_leader(void) {
    lose_leader();
    discover(2);
}

static void expect_thrown_out(void) {
    testpeer_expect_closed(p);
    await_phase(1, QUORUM_LOOKING);
    ck_assert_int_ne(server_at(1)->state, SERVER_FAILED);
}

static void restart(enum testserver_end how) {
    testensemble_end(e, 1, how);
    testensemble_start(e, 1);
    ck_assert_int_eq(server_at(1)->state, SERVER_WAITING);
}

static void expect_after(enum testserver_end how, zxid_t zxid) {
    restart(how);
    ck_assert_int_eq(server_at(1)->last_applied, zxid);
}

/* -------- discovery */

START_TEST(i6_accepted_epoch_is_durable_before_ackepoch) {
    struct quorum_packet packet;
    start(NULL, 1);
    appoint_leader();
    testpeer_expect(p, PACKET_FOLLOWERINFO);
    e->servers[1]->hold_log = true;
    send_leader_info(7);
    ck_assert(!testpeer_next(p, &packet, 100));
    ck_assert_int_eq(epoch_file(1, EPOCH_ACCEPTED), 0);
    e->servers[1]->hold_log = false;
    testpeer_expect(p, PACKET_ACKEPOCH);
    restart(TESTSERVER_POWER_LOSS);
    ck_assert_int_eq(epoch_file(1, EPOCH_ACCEPTED), 7);
    ck_assert_int_eq(epoch_file(1, EPOCH_CURRENT), 0);
}
END_TEST

START_TEST(i6_older_epoch_is_refused) {
    start(NULL, 1);
    discover(7);
    lose_leader();
    appoint_leader();
    testpeer_expect(p, PACKET_FOLLOWERINFO);
    send_leader_info(6);
    expect_thrown_out();
}
END_TEST

START_TEST(i7_same_epoch_is_not_promised_twice) {
    int32_t current;
    start(NULL, 1);
    ck_assert(packet_int_get(discover(7).data, &current));
    ck_assert_int_eq(current, 0);
    lose_leader();
    ck_assert(packet_int_get(discover(7).data, &current));
    ck_assert_int_eq(current, -1);
}
END_TEST

/* -------- NEWLEADER */

START_TEST(i3_newleader_waits_for_history) {
    struct quorum_packet packet;
    struct testserver *ts;
    start(NULL, 1);
    ts = e->servers[1];
    discover(1);
    ts->hold_log = true;
    send_diff(Z(1, 3));
    propose_all(Z(1, 1), Z(1, 3), true);
    propose(Z(1, 4));
    new_leader(1);
    propose(Z(1, 5));
    run(50);
    for (int steps = 0; steps < 20 && server_at(1)->logged < Z(1, 4); steps++) {
        ck_assert(!testpeer_next(p, &packet, 5));
        ck_assert_int_eq(epoch_file(1, EPOCH_CURRENT), 0);
        testserver_do_log(ts);
        run(2);
    }
    /* Now currentEpoch, and only then the acknowledgement. */
    ck_assert(!testpeer_next(p, &packet, 5));
    ck_assert(!has_znode(1, Z(1, 4)));
    ts->hold_log = false;
    expect_ack(Z(1, 0));
    ck_assert_int_eq(epoch_file(1, EPOCH_CURRENT), 1);
    /* I8: of the others only what was not committed yet is acknowledged, and behind it. */
    expect_ack(Z(1, 4));
    expect_ack(Z(1, 5));
    ck_assert_int_eq(server_at(1)->state, SERVER_WAITING);
    up_to_date(1);
}
END_TEST

/* A leader with much history, and a slow disk here. */
START_TEST(history_waits_for_the_disk) {
    struct buf acl = BUF_INIT, b = BUF_INIT;
    struct server *s;
    start(NULL, 1);
    discover(1);
    s = server_at(1);
    put_open_acl(&acl);
    e->servers[1]->hold_log = true;
    send_diff(0);
    char *data = mem_calloc(1, 100000);
    for (zxid_t z = Z(1, 1); z <= Z(1, 300); z++) {
        char path[32];
        snprintf(path, sizeof path, "/z%llx", (unsigned long long)z);
        buf_clear(&b);
        txn_header_put(&b, &(struct txn_header){.client_id = 1, .cxid = 1, .zxid = z, .time_ms = 5000, .type = OP_CREATE});
        txn_record_put(&b, &(struct txn){.type = OP_CREATE, .path = slice_of(path), .data = {data, 100000},
                                         .acl = buf_slice(&acl), .parent_cversion = (int32_t)zxid_counter(z)});
        testpeer_send(p, PACKET_PROPOSAL, z, buf_slice(&b));
        commit(z);
        if (z % 10 == 0)
            run(1);
    }
    mem_free(data);
    buf_free(&acl);
    buf_free(&b);
    new_leader(1);
    /* Longer than it would wait for a leader that says nothing. */
    run(40000);
    ck_assert_int_eq(quorum_at(1)->phase, QUORUM_LEARNING);
    ck_assert_int_lt(s->last_prepared, Z(1, 200));
    ck_assert_int_gt(s->last_prepared, Z(1, 50));
    e->servers[1]->hold_log = false;
    expect_ack(Z(1, 0));
    ck_assert_int_eq(s->logged, Z(1, 300));
    up_to_date(1);
}
END_TEST

/* A crash at every call of the disk: currentEpoch says 2 only if all of the history is there; an ACK has left only then. */
START_TEST(i5_current_epoch_moves_last) {
    bool crashed = true, acked;
    int round = 0;
    for (uint64_t at = 1; crashed; at++, round++) {
        struct quorum_packet packet;
        struct simdisk *disk;
        begin(NULL, 3, 3);
        meet_next_leader();
        disk = disk_of(1);
        simdisk_crash_at(disk, SIMDISK_ALL_OPS, at);
        send_diff(Z(1, 5));
        propose_all(Z(1, 4), Z(1, 5), true);
        new_leader(2);
        acked = testpeer_next(p, &packet, 50);
        crashed = disk->dead || server_at(1)->state == SERVER_FAILED;
        ck_assert(acked || crashed);
        ck_assert(!acked || packet.type == PACKET_ACK);
        restart(at % 2 == 0 ? TESTSERVER_POWER_LOSS : TESTSERVER_KILL);
        if (acked)
            ck_assert_int_eq(quorum_at(1)->epochs.current, 2);
        if (quorum_at(1)->epochs.current == 2)
            ck_assert_int_eq(server_at(1)->last_applied, Z(1, 5));
        ck_assert_int_ge(server_at(1)->last_applied, Z(1, 3));
        ck_assert_int_eq(quorum_at(1)->epochs.accepted, 2);
        teardown();
    }
    ck_assert_int_gt(round, 5);
}
END_TEST

START_TEST(i13_up_to_date_comes_not_before_newleader_is_done) {
    start(NULL, 1);
    discover(1);
    send_diff(0);
    testpeer_send(p, PACKET_UPTODATE, -1, SLICE_NULL);
    expect_thrown_out();
    discover(2);
    e->servers[1]->hold_log = true;
    send_diff(0);
    new_leader(2);
    testpeer_send(p, PACKET_UPTODATE, -1, SLICE_NULL);
    run(50);
    ck_assert_int_eq(server_at(1)->state, SERVER_WAITING);
    e->servers[1]->hold_log = false;
    expect_thrown_out();
    ck_assert_int_eq(server_at(1)->state, SERVER_WAITING);
}
END_TEST

START_TEST(i3_newleader_of_another_epoch) {
    start(NULL, 1);
    discover(2);
    send_diff(0);
    new_leader(1);
    expect_thrown_out();
}
END_TEST

/* -------- proposals and commits */

START_TEST(i1_acks_follow_the_sync_in_order) {
    struct quorum_packet packet;
    begin(NULL, 2, 2);
    e->servers[1]->hold_log = true;
    propose_all(Z(1, 3), Z(1, 6), false);
    ck_assert(!testpeer_next(p, &packet, 50));
    testserver_do_log(e->servers[1]);
    e->servers[1]->hold_log = false;
    for (int64_t i = 3; i <= 6; i++)
        expect_ack(Z(1, i));
}
END_TEST

/* What is committed before our own sync is applied, and not acknowledged before it. */
START_TEST(i1_commit_before_own_sync) {
    struct quorum_packet packet;
    begin(NULL, 2, 2);
    e->servers[1]->hold_log = true;
    propose_all(Z(1, 3), Z(1, 4), true);
    ck_assert(!testpeer_next(p, &packet, 50));
    ck_assert(has_znode(1, Z(1, 4)));
    ck_assert_int_eq(server_at(1)->logged, Z(1, 2));
    /* A crash now: it was never acknowledged. */
    restart(TESTSERVER_POWER_LOSS);
    ck_assert_int_le(server_at(1)->last_applied, Z(1, 4));
    ck_assert_int_ge(server_at(1)->last_applied, Z(1, 2));
}
END_TEST

START_TEST(i12_gap_ends_the_role) {
    begin(NULL, 2, 2);
    propose(Z(1, 4));
    expect_thrown_out();
    ck_assert_int_eq(server_at(1)->last_applied, Z(1, 2));
    /* Of the sync, too. */
    discover(2);
    send_diff(0);
    propose(Z(1, 4));
    expect_thrown_out();
}
END_TEST

/* Recovery takes an epoch that does not begin at 1 for a log with a hole: such a log must not come about. */
START_TEST(i12_epoch_begins_with_one) {
    begin(NULL, 2, 2);
    meet_next_leader();
    send_diff(0);
    propose(Z(2, 2));
    run(20);
    expect_thrown_out();
    expect_after(TESTSERVER_KILL, Z(1, 2));
}
END_TEST

/* The start would refuse a log that is of a later epoch than any that was accepted. */
START_TEST(i12_proposal_of_a_later_epoch) {
    begin(NULL, 2, 2);
    propose(Z(9, 1));
    run(20);
    expect_thrown_out();
    expect_after(TESTSERVER_KILL, Z(1, 2));
}
END_TEST

START_TEST(i12_repeated_proposal_is_not_logged_again) {
    begin(NULL, 3, 3);
    meet_next_leader();
    send_diff(0);
    propose_all(Z(1, 2), Z(1, 4), true);
    new_leader(2);
    expect_ack(Z(2, 0));
    up_to_date(2);
    run(5);
    ck_assert_int_eq(server_at(1)->last_applied, Z(1, 4));
    expect_after(TESTSERVER_KILL, Z(1, 4));
}
END_TEST

START_TEST(i18_commit_without_proposal) {
    begin(NULL, 2, 2);
    commit(Z(1, 3));
    expect_thrown_out();
}
END_TEST

START_TEST(i18_commit_that_is_not_the_next) {
    begin(NULL, 2, 4);
    commit(Z(1, 4));
    run(5);
    expect_thrown_out();
}
END_TEST

START_TEST(i18_commit_of_before_is_ignored) {
    begin(NULL, 3, 3);
    commit(Z(1, 2));
    propose(Z(1, 4));
    commit(Z(1, 4));
    expect_ack(Z(1, 4));
    run(5);
    ck_assert_int_eq(server_at(1)->last_applied, Z(1, 4));
}
END_TEST

/* The packet says another zxid than what it carries. */
START_TEST(i12_packet_and_header_differ) {
    struct buf b = payload_of(Z(1, 3), OP_CREATE);
    begin(NULL, 2, 2);
    testpeer_send(p, PACKET_PROPOSAL, Z(1, 9), buf_slice(&b));
    buf_free(&b);
    run(20);
    expect_thrown_out();
}
END_TEST

START_TEST(i23_undecodable_proposal_is_not_logged) {
    begin(NULL, 2, 2);
    send_txn(PACKET_PROPOSAL, Z(1, 3), OP_CHECK);
    expect_thrown_out();
    discover(2);
    send_diff(0);
    testpeer_send(p, PACKET_PROPOSAL, Z(1, 3), SLICE_NULL);
    expect_thrown_out();
    expect_after(TESTSERVER_KILL, Z(1, 2));
}
END_TEST

START_TEST(garbage_from_the_leader) {
    struct rng rng = {.state = 5};
    start(NULL, 1);
    for (int round = 0; round < 100; round++) {
        uint8_t bytes[200];
        int64_t epoch = round + 1;
        if (round % 2 == 0) {
            appoint_leader();
        } else {
            discover(epoch);
            if (round % 3 == 0) {
                testpeer_send(p, PACKET_SNAP, 0, SLICE_NULL);
            } else if (round % 5 != 0) {
                send_diff(0);
                new_leader(epoch);
                expect_ack(Z(epoch, 0));
            }
        }
        fill_with_garbage(&rng, bytes, sizeof bytes);
        testpeer_bytes(p, bytes, 1 + rng_below(&rng, sizeof bytes));
        run(3);
        if (p->link != NULL)
            testpeer_hang_up(p);
        await_phase(1, QUORUM_LOOKING);
    }
    ck_assert_int_eq(server_at(1)->last_applied, 0);
}
END_TEST

START_TEST(i16_memory_is_the_log_when_voting) {
    begin(NULL, 2, 5);
    ck_assert(!has_znode(1, Z(1, 5)));
    e->servers[1]->hold_log = true;
    propose_all(Z(1, 6), Z(1, 8), false);
    run(10);
    testpeer_hang_up(p);
    run(100);
    /* Not looking before all is in the log. */
    ck_assert_int_eq(quorum_at(1)->phase, QUORUM_SETTLING);
    e->servers[1]->hold_log = false;
    await_phase(1, QUORUM_LOOKING);
    ck_assert_int_eq(server_at(1)->last_applied, Z(1, 8));
    ck_assert(has_znode(1, Z(1, 8)));
    ck_assert_int_eq(discover(2).zxid, Z(1, 8));
}
END_TEST

/* -------- TRUNC and SNAP */

static void put_snapshot_bytes(struct buf *b, int nodes) {
    struct node_stat zero = {0};
    snapshot_put_count(b, 0);
    snapshot_put_count(b, 0);
    snapshot_put_node(b, slice_of(""), slice_of(""), -1, &zero);
    for (int i = 0; i < nodes; i++) {
        char path[24];
        snprintf(path, sizeof path, "/snap%d", i);
        snapshot_put_node(b, slice_of(path), slice_of("data"), -1, &zero);
    }
    snapshot_put_nodes_end(b);
}

static void send_snapshot(zxid_t zxid) {
    struct buf b = BUF_INIT;
    put_snapshot_bytes(&b, 10);
    jute_put_bytes(&b, SLICE_LIT("BenWasHere"));
    testpeer_send(p, PACKET_SNAP, zxid, SLICE_NULL);
    testpeer_bytes(p, b.data, b.len);
    buf_free(&b);
}

static bool has_snapshot_node(void) { return tree_find(server_at(1)->tree, SLICE_LIT("/snap9")) != NULL; }

START_TEST(i4_trunc_is_durable_before_newleader_is_acknowledged) {
    begin(NULL, 2, 5);
    lose_leader();
    ck_assert(has_znode(1, Z(1, 5)));
    ck_assert_int_eq(discover(2).zxid, Z(1, 5));
    testpeer_send(p, PACKET_TRUNC, Z(1, 3), SLICE_NULL);
    propose_all(Z(2, 1), Z(2, 2), true);
    new_leader(2);
    expect_ack(Z(2, 0));
    up_to_date(2);
    ck_assert(!has_znode(1, Z(1, 4)));
    ck_assert(has_znode(1, Z(1, 3)));
    restart(TESTSERVER_POWER_LOSS);
    ck_assert(!has_znode(1, Z(1, 4)));
    ck_assert(has_znode(1, Z(1, 3)));
    ck_assert_int_eq(server_at(1)->last_applied, Z(2, 2));
}
END_TEST

/* A crash at any call of the disk, until the first proposals of the new epoch are in the log. */
START_TEST(i4_trunc_and_a_crash) {
    bool crashed = true;
    int round = 0;
    for (uint64_t at = 1; crashed; at++, round++) {
        struct simdisk *disk;
        begin(NULL, 2, 5);
        meet_next_leader();
        disk = disk_of(1);
        simdisk_crash_at(disk, SIMDISK_CHANGES, at);
        testpeer_send(p, PACKET_TRUNC, Z(1, 3), SLICE_NULL);
        run(50);
        if (!disk->dead && server_at(1)->state != SERVER_FAILED && p->link != NULL) {
            propose_all(Z(2, 1), Z(2, 2), true);
            new_leader(2);
            run(50);
        }
        crashed = disk->dead || server_at(1)->state == SERVER_FAILED;
        restart(at % 3 == 0 ? TESTSERVER_KILL : TESTSERVER_POWER_LOSS);
        zxid_t last = server_at(1)->last_applied;
        ck_assert_msg(last == Z(1, 3) || last == Z(1, 4) || last == Z(1, 5) || last == Z(2, 1) || last == Z(2, 2),
                      "it ends at 0x%llx", (unsigned long long)last);
        if (zxid_epoch(last) == 2)
            ck_assert(!has_znode(1, Z(1, 4)));
        teardown();
    }
    ck_assert_int_gt(round, 8);
}
END_TEST

/* The leader thinks that we have something that we lack: without a look at it what is missing would go unnoticed. */
START_TEST(i15_trunc_to_what_is_not_there) {
    begin(NULL, 2, 2);
    meet_next_leader();
    testpeer_send(p, PACKET_TRUNC, Z(1, 7), SLICE_NULL);
    run(20);
    expect_thrown_out();
    discover(3);
    send_diff(0);
    propose_all(Z(2, 1), Z(2, 3), true);
    new_leader(3);
    expect_ack(Z(3, 0));
    lose_leader();
    discover(4);
    testpeer_send(p, PACKET_TRUNC, Z(1, 5), SLICE_NULL);
    run(50);
    expect_thrown_out();
    ck_assert_int_eq(server_at(1)->last_applied, Z(1, 2));
}
END_TEST

START_TEST(i4_snapshot_replaces_the_history) {
    begin(NULL, 3, 3);
    meet_next_leader();
    send_snapshot(Z(2, 9));
    propose_all(Z(2, 10), Z(2, 11), true);
    new_leader(2);
    expect_ack(Z(2, 0));
    up_to_date(2);
    ck_assert(has_snapshot_node());
    ck_assert(!has_znode(1, Z(1, 3)));
    restart(TESTSERVER_POWER_LOSS);
    ck_assert(has_snapshot_node());
    ck_assert(!has_znode(1, Z(1, 3)));
    ck_assert_int_eq(server_at(1)->last_applied, Z(2, 11));
}
END_TEST

/* A leader that came to nothing sent a snapshot with transactions that no quorum ever had, and what stood before it is gone. */
START_TEST(i15_trunc_behind_all_snapshots) {
    int32_t current;
    begin(NULL, 3, 3);
    meet_next_leader();
    send_snapshot(Z(2, 9));
    new_leader(2);
    expect_ack(Z(2, 0));
    lose_leader();
    discover(3);
    testpeer_send(p, PACKET_TRUNC, Z(1, 3), SLICE_NULL);
    expect_thrown_out();
    ck_assert_int_eq(server_at(1)->last_applied, Z(2, 9));
    /* It asks for a snapshot, in an answer that does not count, and takes nothing else. */
    for (int i = 0; i < 2; i++) {
        struct quorum_packet ack = discover(3);
        ck_assert_int_eq(ack.zxid, 0);
        ck_assert(packet_int_get(ack.data, &current));
        ck_assert_int_eq(current, -1);
        if (i == 0) {
            send_diff(0);
            expect_thrown_out();
        }
    }
    send_snapshot(Z(1, 4));
    propose_all(Z(3, 1), Z(3, 2), true);
    new_leader(3);
    expect_ack(Z(3, 0));
    up_to_date(3);
    expect_after(TESTSERVER_POWER_LOSS, Z(3, 2));
}
END_TEST

static void expect_no_tmp(void) {
    const char *name;
    for (int n = 0; (name = simdisk_nth(disk_of(1), DISK_SNAP, n)) != NULL; n++)
        ck_assert_msg(strstr(name, "received") == NULL, "%s is left over", name);
}

/* Half of it, a wrong end, impossible lengths: the database is what it was. */
START_TEST(i16_broken_snapshot_changes_nothing) {
    begin(NULL, 3, 3);
    struct buf good = BUF_INIT;
    put_snapshot_bytes(&good, 3000);
    for (int round = 0; round < 4; round++) {
        if (round == 0)
            lose_leader();
        discover(2 + round);
        testpeer_send(p, PACKET_SNAP, Z(2 + round, 9), SLICE_NULL);
        size_t half = good.len / 2;
        uint8_t wrong[] = {0, 0, 0, 10, 'B', 'e', 'n', 'W', 'a', 's', 'N', 'o', 't'}, huge[] = {0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff};
        if (round == 0) {
            testpeer_bytes(p, good.data, half);
            run(5);
            lose_leader();
        } else if (round == 1) {
            testpeer_bytes(p, good.data, good.len);
            testpeer_bytes(p, wrong, sizeof wrong);
            expect_thrown_out();
        } else if (round == 2) {
            testpeer_bytes(p, good.data, 8);
            memset(huge, 0x7f, 4);
            testpeer_bytes(p, huge, sizeof huge);
            expect_thrown_out();
        } else {
            e->servers[1]->hold_jobs = true;
            testpeer_bytes(p, good.data, good.len);
            run(5);
            lose_leader();
            e->servers[1]->hold_jobs = false;
            run(20);
        }
        ck_assert(has_znode(1, Z(1, 3)));
        ck_assert_int_eq(server_at(1)->last_applied, Z(1, 3));
    }
    buf_free(&good);
    expect_no_tmp();
    expect_after(TESTSERVER_KILL, Z(1, 3));
    ck_assert_int_eq(discover(9).zxid, Z(1, 3));
}
END_TEST

/* Neither the epoch file of the next start nor recovery could make sense of it. */
START_TEST(i4_snapshot_of_a_later_epoch) {
    begin(NULL, 3, 3);
    meet_next_leader();
    send_snapshot(Z(3, 9));
    run(50);
    expect_thrown_out();
    expect_after(TESTSERVER_KILL, Z(1, 3));
}
END_TEST

/* What was before must not come back if the snapshot cannot be read some day: between the two there is a hole that no reader
 * can see where an epoch begins. */
START_TEST(i4_nothing_older_is_left_behind_a_snapshot) {
    struct simdisk *disk;
    size_t size;
    start(NULL, 1);
    disk = disk_of(1);
    give_history(1, 3, 3);
    lose_leader();
    discover(3);
    send_snapshot(Z(2, 9));
    propose_all(Z(3, 1), Z(3, 2), true);
    new_leader(3);
    expect_ack(Z(3, 0));
    testensemble_end(e, 1, TESTSERVER_KILL);
    uint8_t *bytes = simdisk_get(disk, DISK_SNAP, "snapshot.200000009", &size);
    ck_assert_ptr_nonnull(bytes);
    memset(bytes + size / 2, 0xff, 60);
    simdisk_put(disk, DISK_SNAP, "snapshot.200000009", bytes, size);
    mem_free(bytes);
    e->servers[1]->now = e->now;
    ck_assert(!testserver_start(e->servers[1]));
}
END_TEST

START_TEST(i4_snapshot_and_a_crash) {
    bool crashed = true;
    int round = 0;
    for (uint64_t at = 1; crashed; at++, round++) {
        struct simdisk *disk;
        struct quorum_packet packet;
        bool acked = false;
        begin(NULL, 3, 3);
        meet_next_leader();
        disk = disk_of(1);
        simdisk_crash_at(disk, SIMDISK_CHANGES, at);
        send_snapshot(Z(1, 9));
        run(50);
        if (p->link != NULL) {
            propose_all(Z(2, 1), Z(2, 2), true);
            new_leader(2);
            acked = testpeer_next(p, &packet, 50);
        }
        crashed = disk->dead || server_at(1)->state == SERVER_FAILED;
        restart(at % 3 == 0 ? TESTSERVER_KILL : TESTSERVER_POWER_LOSS);
        zxid_t last = server_at(1)->last_applied;
        ck_assert_msg(last == Z(1, 3) || last == Z(1, 9) || last == Z(2, 1) || last == Z(2, 2), "it ends at 0x%llx",
                      (unsigned long long)last);
        ck_assert(has_snapshot_node() == (last != Z(1, 3)));
        if (acked)
            ck_assert_int_eq(last, Z(2, 2));
        teardown();
    }
    ck_assert_int_gt(round, 12);
}
END_TEST

/* The role ends while the database is being replaced: the next one begins with what is there then. */
START_TEST(i16_role_ends_during_a_reload) {
    begin(NULL, 2, 5);
    meet_next_leader();
    e->servers[1]->hold_log = true;
    testpeer_send(p, PACKET_TRUNC, Z(1, 3), SLICE_NULL);
    run(20);
    quorum_leave(quorum_at(1), "the test says so");
    run(100);
    ck_assert_int_eq(quorum_at(1)->phase, QUORUM_SETTLING);
    e->servers[1]->hold_log = false;
    await_phase(1, QUORUM_LOOKING);
    ck_assert_int_eq(server_at(1)->last_applied, Z(1, 3));
    ck_assert_int_eq(discover(3).zxid, Z(1, 3));
    /* And at once another. */
    send_snapshot(Z(2, 9));
    new_leader(3);
    expect_ack(Z(3, 0));
    up_to_date(3);
    ck_assert(has_snapshot_node());
}
END_TEST

/* A snapshot that is complete just when the role ends must not start a reload any more. */
START_TEST(i16_role_ends_while_a_snapshot_is_finished) {
    begin(NULL, 3, 3);
    meet_next_leader();
    e->servers[1]->hold_jobs = true;
    send_snapshot(Z(2, 9));
    run(20);
    quorum_leave(quorum_at(1), "the test says so");
    testserver_do_job(e->servers[1]);
    e->servers[1]->hold_jobs = false;
    await_phase(1, QUORUM_LOOKING);
    ck_assert_int_eq(server_at(1)->last_applied, Z(1, 3));
    ck_assert_int_eq(discover(3).zxid, Z(1, 3));
    expect_no_tmp();
}
END_TEST

/* -------- configurations */

static void propose_config(zxid_t zxid) {
    struct buf b = BUF_INIT;
    put_reconfig(&b, zxid, "server.1=s1:1001:2001:participant\nserver.3=s3:1003:2003:participant");
    testpeer_send(p, PACKET_PROPOSAL, zxid, buf_slice(&b));
    buf_free(&b);
}

/* Others may have activated what is only in our log: without it two leaders could have quorums. */
START_TEST(i19_logged_reconfiguration_counts_after_a_restart) {
    begin(OPTIONS("reconfigEnabled", "yes"), 2, 2);
    propose_config(Z(1, 3));
    expect_ack(Z(1, 3));
    ck_assert_int_eq(quorum_at(1)->last_seen->version, Z(1, 3));
    restart(TESTSERVER_POWER_LOSS);
    ck_assert_int_lt(quorum_at(1)->committed->version, Z(1, 3));
    ck_assert_int_eq(quorum_at(1)->last_seen->version, Z(1, 3));
    /* And goes with the transaction. */
    discover(2);
    testpeer_send(p, PACKET_TRUNC, Z(1, 2), SLICE_NULL);
    run(50);
    ck_assert_int_eq(server_at(1)->last_applied, Z(1, 2));
    ck_assert_int_lt(quorum_at(1)->last_seen->version, Z(1, 3));
}
END_TEST

/* -------- disks */

START_TEST(i24_failed_sync_is_the_end) {
    struct quorum_packet packet;
    begin(NULL, 2, 2);
    struct simdisk *disk = disk_of(1);
    simdisk_fail(disk, SIMDISK_BIT(SIMDISK_SYNC), 1, -EIO);
    propose(Z(1, 3));
    ck_assert(!testpeer_next(p, &packet, 100));
    ck_assert_int_eq(server_at(1)->state, SERVER_FAILED);
}
END_TEST

/* A batch that finds no space keeps the role from ending quite; with space everything goes on. */
START_TEST(i16_full_disk_while_settling) {
    begin(OPTIONS("diskReserve", "0"), 2, 2);
    struct simdisk *disk = disk_of(1);
    simdisk_fail_forever(disk, SIMDISK_BIT(SIMDISK_WRITE), 1, -ENOSPC);
    propose_all(Z(1, 3), Z(1, 4), false);
    run(50);
    testpeer_hang_up(p);
    run(3000);
    ck_assert_int_eq(quorum_at(1)->phase, QUORUM_SETTLING);
    simdisk_clear_faults(disk);
    await_phase(1, QUORUM_LOOKING);
    ck_assert_int_eq(server_at(1)->last_applied, Z(1, 4));
}
END_TEST

/* The ballast is there for this case. */
START_TEST(i16_ballast_helps_to_settle) {
    begin(OPTIONS("diskReserve", "1mb", "preAllocSize", "64"), 2, 2);
    struct simdisk *disk = disk_of(1);
    run(3000);
    ck_assert(simdisk_exists(disk, DISK_LOG, "zabra.ballast"));
    disk->capacity = simdisk_used(disk) + 4096;
    struct buf b = BUF_INIT, data = BUF_INIT;
    memset(buf_tail(&data, 400000), 'x', 400000);
    data.len = 400000;
    txn_header_put(&b, &(struct txn_header){.client_id = 0x100, .cxid = 1, .zxid = Z(1, 3), .type = OP_SET_DATA});
    txn_record_put(&b, &(struct txn){.type = OP_SET_DATA, .path = SLICE_LIT("/z100000001"), .data = buf_slice(&data), .version = 1});
    e->servers[1]->hold_log = true;
    testpeer_send(p, PACKET_PROPOSAL, Z(1, 3), buf_slice(&b));
    buf_free(&b);
    buf_free(&data);
    run(5);
    testpeer_hang_up(p);
    run(5);
    ck_assert_int_eq(server_at(1)->state, SERVER_WAITING);
    e->servers[1]->hold_log = false;
    await_phase(1, QUORUM_LOOKING);
    ck_assert_int_eq(server_at(1)->last_applied, Z(1, 3));
}
END_TEST

/* No space for an epoch file: nothing was promised, nothing is lost, the server stays. */
START_TEST(full_disk_for_an_epoch_file) {
    start(NULL, 1);
    appoint_leader();
    testpeer_expect(p, PACKET_FOLLOWERINFO);
    struct simdisk *disk = disk_of(1);
    simdisk_fail(disk, SIMDISK_BIT(SIMDISK_WRITE), 1, -ENOSPC);
    send_leader_info(7);
    run(20);
    expect_thrown_out();
    discover(7);
    ck_assert_int_eq(epoch_file(1, EPOCH_ACCEPTED), 7);
}
END_TEST

/* Half of a cut may be done: the member neither ends nor votes, and goes on when there is space. */
START_TEST(full_disk_for_a_cut) {
    begin(NULL, 2, 5);
    meet_next_leader();
    struct simdisk *disk = disk_of(1);
    simdisk_fail_forever(disk, SIMDISK_BIT(SIMDISK_WRITE), 1, -ENOSPC);
    testpeer_send(p, PACKET_TRUNC, Z(1, 3), SLICE_NULL);
    run(500);
    ck_assert_int_eq(server_at(1)->state, SERVER_WAITING);
    ck_assert_int_eq(server_at(1)->last_applied, Z(1, 5));
    simdisk_clear_faults(disk);
    run(500);
    ck_assert_int_eq(server_at(1)->last_applied, Z(1, 3));
    ck_assert(!has_znode(1, Z(1, 4)));
}
END_TEST

/* A member that does not vote is brought up to date by somebody who may have been deposed. */
START_TEST(trust_comes_with_a_leader_that_still_leads) {
    begin(NULL, 2, 2);
    lose_leader();
    struct simdisk *disk = disk_of(1);
    testensemble_end(e, 1, TESTSERVER_KILL);
    ck_assert_int_eq(store_mark(&disk->disk), 0);
    testensemble_start(e, 1);
    appoint_leader();
    testpeer_expect(p, PACKET_OBSERVERINFO);
    send_leader_info(2);
    testpeer_expect(p, PACKET_ACKEPOCH);
    send_diff(Z(1, 2));
    new_leader(2);
    expect_ack(Z(2, 0));
    testpeer_send(p, PACKET_UPTODATE, -1, SLICE_NULL);
    testpeer_expect(p, PACKET_REQUEST);
    run(200);
    ck_assert(store_is_marked(&disk->disk));
    ck_assert_int_eq(quorum_at(1)->phase, QUORUM_LEARNING);
    testpeer_send(p, PACKET_SYNC, 0, SLICE_NULL);
    expect_thrown_out();
    ck_assert(!store_is_marked(&disk->disk));
}
END_TEST

/* E27 */
START_TEST(nothing_is_written_or_purged_from_an_uncommitted_tree) {
    start(OPTIONS("snapCount", "4", "autopurge.purgeInterval", "1"), 1);
    discover(1);
    send_diff(0);
    propose_all(Z(1, 1), Z(1, 40), false);
    run(100);
    ck_assert_int_eq(server_at(1)->good_snapshot, 0);
    new_leader(1);
    expect_ack(Z(1, 0));
    run(100);
    ck_assert_int_eq(server_at(1)->good_snapshot, 0);
    for (int64_t i = 1; i <= 40; i++)
        commit(Z(1, i));
    testpeer_send(p, PACKET_UPTODATE, -1, SLICE_NULL);
    run(100);
    propose_all(Z(1, 41), Z(1, 60), true);
    run(100);
    ck_assert_int_gt(server_at(1)->good_snapshot, 0);
}
END_TEST

/* S7: the snapshot of what is applied and not in the log yet waits for its name. */
START_TEST(snapshot_waits_for_the_log) {
    begin(NULL, 2, 2);
    struct testserver *ts = e->servers[1];
    ts->hold_log = true;
    propose(Z(1, 3));
    commit(Z(1, 3));
    run(5);
    propose(Z(1, 4));
    commit(Z(1, 4));
    run(5);
    ck_assert(has_znode(1, Z(1, 4)));
    snapshotter_request(ts->server);
    run(20);
    while (testserver_do_log(ts)) {
        bool named = simdisk_exists(&ts->disk, DISK_SNAP, "snapshot.100000004");
        ck_assert(!named || ts->server->logged >= Z(1, 4));
        run(2);
    }
    ts->hold_log = false;
    run(20);
    ck_assert(simdisk_exists(&ts->disk, DISK_SNAP, "snapshot.100000004"));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quorum_faults");
    ADD_ENSEMBLE(suite, "discovery", i6_accepted_epoch_is_durable_before_ackepoch, i6_older_epoch_is_refused,
        i7_same_epoch_is_not_promised_twice);
    ADD_ENSEMBLE(suite, "newleader", i3_newleader_waits_for_history, history_waits_for_the_disk, i5_current_epoch_moves_last,
        i13_up_to_date_comes_not_before_newleader_is_done, i3_newleader_of_another_epoch);
    ADD_ENSEMBLE(suite, "stream", i1_acks_follow_the_sync_in_order, i1_commit_before_own_sync, i12_gap_ends_the_role,
        i12_epoch_begins_with_one, i12_proposal_of_a_later_epoch, i12_repeated_proposal_is_not_logged_again,
        i18_commit_without_proposal, i18_commit_that_is_not_the_next, i18_commit_of_before_is_ignored,
        i12_packet_and_header_differ, i23_undecodable_proposal_is_not_logged, garbage_from_the_leader,
        i16_memory_is_the_log_when_voting);
    ADD_ENSEMBLE(suite, "replace", i4_trunc_is_durable_before_newleader_is_acknowledged, i4_trunc_and_a_crash,
        i15_trunc_to_what_is_not_there, i15_trunc_behind_all_snapshots, i4_snapshot_replaces_the_history,
        i16_broken_snapshot_changes_nothing, i4_snapshot_of_a_later_epoch, i4_nothing_older_is_left_behind_a_snapshot,
        i4_snapshot_and_a_crash, i16_role_ends_during_a_reload, i16_role_ends_while_a_snapshot_is_finished);
    ADD_ENSEMBLE(suite, "config", i19_logged_reconfiguration_counts_after_a_restart);
    ADD_ENSEMBLE(suite, "disk", i24_failed_sync_is_the_end, i16_full_disk_while_settling, i16_ballast_helps_to_settle,
        full_disk_for_an_epoch_file, full_disk_for_a_cut, trust_comes_with_a_leader_that_still_leads,
        nothing_is_written_or_purged_from_an_uncommitted_tree, snapshot_waits_for_the_log);
    return run_suite(suite);
}
