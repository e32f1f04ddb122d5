/* A leader against learners that do what the test says. */
#include "leader_help.h"

/* Whoever has not said that it has the history and its epoch would not be elected for what it acknowledges. */
START_TEST(i11_acks_before_newleader_do_not_count) {
    lead(NULL);
    struct testclient *c = client_by(p);
    q = peer_of(2);
    join(q, 0, 0);
    testpeer_expect(q, PACKET_SNAP);
    testpeer_hang_up(p);
    write_one(c, 1);
    run(30);
    zxid_t zxid = server_at(3)->last_prepared;
    ck_assert_int_eq(server_at(3)->logged, zxid);
    ack(q, zxid);
    ck_assert(!answered(c));
    ack(q, Z(1, 0));
    ck_assert(answered(c));
}
END_TEST

START_TEST(i11_ack_of_what_was_not_proposed) {
    lead(NULL);
    struct testclient *c = client_by(p);
    ack(p, Z(1, 1000));
    testpeer_expect_closed(p);
    write_one(c, 1);
    ck_assert(!answered(c));
}
END_TEST

/* A learner has two links, and what it acknowledged on the older one it has taken back on the newer one. */
START_TEST(i11_acks_of_an_older_link_do_not_count) {
    lead(NULL);
    struct testclient *c = client_by(p);
    struct link *older = p->link;
    write_one(c, 1);
    zxid_t zxid = testpeer_expect(p, PACKET_PROPOSAL).zxid;
    join(p, 1, zxid);
    ck_assert_int_eq(testpeer_expect(p, PACKET_TRUNC).zxid, zxid - 1);
    struct link *newer = p->link;
    p->link = older;
    if (p->closed == 0)
        ack(p, zxid);
    p->link = newer;
    ck_assert(!answered(c));
    ack(p, Z(1, 0));
    ack(p, zxid);
    ck_assert(answered(c));
}
END_TEST

START_TEST(i11_nobody_acknowledges_in_our_name) {
    lead(NULL);
    struct testclient *c = client_by(p);
    q = peer_of(2);
    testpeer_hang_up(p);
    hello_as(q, 3, PACKET_FOLLOWERINFO, 0);
    testpeer_expect_closed(q);
    (void)c;
}
END_TEST

START_TEST(i11_observers_do_not_count) {
    lead(NULL);
    struct testclient *c = client_by(p);
    q = peer_of(2);
    hello_as(q, 2, PACKET_OBSERVERINFO, 0);
    testpeer_expect(q, PACKET_LEADERINFO);
    ack_epoch(q, server_at(3)->last_applied, -1);
    be_synced(q, 1);
    write_one(c, 1);
    zxid_t zxid = testpeer_expect(p, PACKET_PROPOSAL).zxid;
    ack(q, zxid);
    ck_assert(!answered(c));
    ack(p, zxid);
    ck_assert(answered(c));
    ck_assert_int_eq(testpeer_expect(q, PACKET_INFORM).zxid, zxid);
}
END_TEST

/* What is committed and not applied yet must stay in the log of whoever comes back with it. */
START_TEST(i15_trunc_never_takes_back_what_is_committed) {
    lead(OPTIONS("globalOutstandingLimit", "100000"));
    struct testclient *c = client_by(p);
    zxid_t first = server_at(3)->last_applied + 1, last = first + 2500 - 1;
    for (int i = 0; i < 2500; i++)
        write_one(c, i);
    for (zxid_t z = first; z <= last; z++)
        ck_assert_int_eq(testpeer_expect(p, PACKET_PROPOSAL).zxid, z);
    run(100);
    /* By hand, so that nothing is applied between the commit and the decision. */
    struct server *s = server_at(3);
    ck_assert_int_eq(s->logged, last);
    q = peer_of(2);
    join(q, 1, last - 10);
    ack(p, last - 5);
    run(1);
    ck_assert_int_eq(s->committed, last - 5);
    struct quorum_packet packet = testpeer_expect(q, PACKET_DIFF);
    (void)packet;
    packet = testpeer_expect(q, PACKET_PROPOSAL);
    ck_assert_int_eq(packet.zxid, last - 9);
    /* And what is not committed goes. */
    testpeer_hang_up(q);
    join(q, 1, last);
    ck_assert_int_eq(testpeer_expect(q, PACKET_TRUNC).zxid, last - 5);
    /* Java learners break when the COMMIT of a proposal before NEWLEADER comes behind it. */
    testpeer_expect(q, PACKET_NEWLEADER);
    for (zxid_t z = last - 4; z <= last; z++)
        ck_assert_int_eq(testpeer_expect(q, PACKET_PROPOSAL).zxid, z);
}
END_TEST

START_TEST(i15_snapshot_is_not_older_than_the_learner) {
    lead(NULL);
    struct testclient *c = client_by(p);
    server_at(3)->config->force_snapshot_sync = true;
    for (int i = 0; i < 5; i++) {
        write_one(c, i);
        ack(p, testpeer_expect(p, PACKET_PROPOSAL).zxid);
        testpeer_expect(p, PACKET_COMMIT);
    }
    run(5);
    zxid_t last = server_at(3)->last_applied;
    join(p, 1, last);
    ck_assert_int_ge(testpeer_expect(p, PACKET_SNAP).zxid, last);
}
END_TEST

/* A Java member with an empty directory that may not just begin (db.autocreate=false). */
START_TEST(i15_learner_that_does_not_know_what_it_has) {
    lead(NULL);
    client_by(p);
    q = peer_of(2);
    join(q, 1, -1);
    testpeer_expect(q, PACKET_SNAP);
}
END_TEST

/* Its link breaks while a piece of its snapshot is being read. */
START_TEST(learner_goes_while_its_snapshot_is_read) {
    lead(NULL);
    client_by(p);
    q = peer_of(2);
    join(q, 0, 0);
    for (int i = 0; i < 2000 && server_at(3)->good_snapshot <= 0; i++)
        run(1);
    testpeer_hang_up(q);
    run(5);
    e->servers[3]->hold_jobs = true;
    join(q, 0, 0);
    testpeer_expect(q, PACKET_SNAP);
    testpeer_hang_up(q);
    testensemble_run_links(e);
    e->servers[3]->hold_jobs = false;
    while (testserver_do_job(e->servers[3]))
        ;
    run(10);
    ck_assert_int_eq(server_at(3)->state, SERVER_RUNNING);
}
END_TEST

/* A link breaks, and what its member waits for happens before the leader has its next turn. */
START_TEST(learner_goes_just_before_the_next_step) {
    for (int step = 0; step < 3; step++) {
        begin_to_lead(NULL);
        e->servers[3]->hold_log = true;
        hello(p, 0);
        run(5);
        for (int i = 0; i < step; i++) {
            if (i == 1) {
                testpeer_expect(p, PACKET_LEADERINFO);
                ack_epoch(p, 0, 0);
                run(5);
            }
            while (testserver_do_log(e->servers[3]))
                ;
            run(5);
        }
        testpeer_hang_up(p);
        testensemble_run_links(e);
        while (testserver_do_log(e->servers[3]))
            ;
        e->servers[3]->hold_log = false;
        run(20);
        ck_assert_int_eq(server_at(3)->state, SERVER_WAITING);
        teardown();
    }
}
END_TEST

/* Member 5 has sent NEWLEADER to two of four others. */
static void begin_to_lead_five(struct testpeer *peers[2]) {
    only(5, 0, 5, NULL);
    testensemble_appoint(e, 5, 5);
    for (int i = 0; i < 2; i++) {
        peers[i] = testpeer_new(e, i + 1);
        hello_to(peers[i], 5);
    }
    for (int i = 0; i < 2; i++) {
        testpeer_expect(peers[i], PACKET_LEADERINFO);
        ack_epoch(peers[i], 0, 0);
    }
    for (int i = 0; i < 2; i++) {
        testpeer_expect(peers[i], PACKET_DIFF);
        testpeer_expect(peers[i], PACKET_NEWLEADER);
    }
}

/* The same with the quorum for NEWLEADER, of five. */
START_TEST(learner_goes_just_before_it_is_up_to_date) {
    struct testpeer *peers[2];
    begin_to_lead_five(peers);
    ack(peers[0], Z(1, 0));
    run(5);
    testpeer_hang_up(peers[0]);
    ack(peers[1], Z(1, 0));
    testensemble_run_links(e);
    testpeer_expect(peers[1], PACKET_UPTODATE);
}
END_TEST

START_TEST(i9_who_is_ahead_is_not_led) {
    struct quorum_packet packet;
    begin_to_lead(NULL);
    discover(p, 0, Z(0, 5), 0);
    testpeer_expect_closed(p);
    discover(p, 0, 0, 1);
    testpeer_expect_closed(p);
    /* Counted: neither who says so with -1 nor who does not know what it has. */
    discover(p, 0, 0, -1);
    ck_assert(!testpeer_next(p, &packet, 50));
    discover(p, 0, -1, 0);
    ck_assert(!testpeer_next(p, &packet, 50));
    ck_assert_int_eq(epoch_file(3, EPOCH_CURRENT), 0);
    ck_assert_int_eq(epoch_file(3, EPOCH_ACCEPTED), 1);
}
END_TEST

START_TEST(i10_leader_serves_after_newleader_is_acknowledged) {
    begin_to_lead(NULL);
    hello(p, 4);
    ck_assert_int_eq(testpeer_expect(p, PACKET_LEADERINFO).zxid, Z(5, 0));
    ack_epoch(p, 0, 0);
    testpeer_expect(p, PACKET_DIFF);
    testpeer_expect(p, PACKET_NEWLEADER);
    run(100);
    ck_assert_int_eq(server_at(3)->state, SERVER_WAITING);
    ck_assert_int_eq(epoch_file(3, EPOCH_CURRENT), 5);
    ack(p, Z(4, 0));
    ack(p, 7);
    run(100);
    ck_assert_int_eq(server_at(3)->state, SERVER_WAITING);
}
END_TEST

/* The epoch is one more than what the lower half of a zxid leaves room for. */
START_TEST(i6_impossible_epoch_is_refused) {
    begin_to_lead(NULL);
    hello(p, 0xffffffff);
    testpeer_expect_closed(p);
    hello(p, 0x7fffffff);
    testpeer_expect_closed(p);
    hello(p, 0);
    ck_assert_int_eq(testpeer_expect(p, PACKET_LEADERINFO).zxid, Z(1, 0));
}
END_TEST

/* It refuses us for ever: another epoch lets it in. Not more often than every initLimit. */
static void later_epoch(int32_t type) {
    lead(NULL);
    q = peer_of(2);
    hello_as(q, 2, type, 7);
    ck_assert_int_eq(testpeer_expect(q, PACKET_LEADERINFO).zxid, Z(1, 0));
    run(100);
    ck_assert_int_eq(server_at(3)->state, SERVER_RUNNING);
    ping_for(31, 0);
    hello_as(q, 9, PACKET_OBSERVERINFO, 7);
    run(100);
    ck_assert_int_eq(server_at(3)->state, SERVER_RUNNING);
    hello_as(q, 2, type, 7);
    run(100);
    ck_assert_int_ne(server_at(3)->state, SERVER_RUNNING);
    testensemble_appoint(e, 3, 3);
    hello(p, 1);
    ck_assert_int_eq(testpeer_expect(p, PACKET_LEADERINFO).zxid, Z(8, 0));
}

START_TEST(voter_that_has_accepted_a_later_epoch) { later_epoch(PACKET_FOLLOWERINFO); }
END_TEST

/* Without its history it comes like an observer. */
START_TEST(untrusted_voter_that_has_accepted_a_later_epoch) { later_epoch(PACKET_OBSERVERINFO); }
END_TEST

START_TEST(i11_quorum_without_the_leaders_disk) {
    lead(NULL);
    struct testclient *c = client_by(p);
    q = peer_of(2);
    join(q, 1, server_at(3)->last_applied);
    be_synced(q, 1);
    e->servers[3]->hold_log = true;
    write_one(c, 1);
    zxid_t zxid = testpeer_expect(p, PACKET_PROPOSAL).zxid;
    ack(p, zxid);
    ck_assert(!answered(c));
    ack(q, zxid);
    ck_assert(answered(c));
    ck_assert_int_lt(server_at(3)->logged, zxid);
    e->servers[3]->hold_log = false;
    run(20);
    ck_assert_int_eq(server_at(3)->logged, zxid);
}
END_TEST

static void create_ephemerals(struct testclient *c, int count) {
    for (int i = 0; i < count; i++) {
        char path[24];
        snprintf(path, sizeof path, "/e%d", i);
        testclient_create(c, path, "", CREATE_EPHEMERAL);
    }
    run(100);
    ack(p, server_at(3)->last_prepared);
    run(100);
}

/* The end of a session that is prepared in slices takes the last zxid. */
START_TEST(i21_epoch_changes_before_the_counter_ends) {
    lead(OPTIONS("globalOutstandingLimit", "100000"));
    struct testclient *c = client_by(p);
    struct server *s = server_at(3);
    create_ephemerals(c, 5000);
    ck_assert_int_eq(s->last_applied, s->last_prepared);
    s->last_prepared = s->last_applied = s->committed = s->logged = Z(1, 0xffffffff - 100001);
    testclient_close_session(c);
    run(50);
    ck_assert_int_ne(s->state, SERVER_RUNNING);
    await_phase(3, QUORUM_LOOKING);
    ck_assert_int_eq(s->last_applied, Z(1, 0xffffffff - 100000));
    ck_assert_ptr_null(tree_find(s->tree, SLICE_LIT("/e0")));
}
END_TEST

/* The end of a session is being prepared, in slices, when the role ends: nothing of it has happened. */
START_TEST(session_that_closes_while_the_role_ends) {
    lead(OPTIONS("globalOutstandingLimit", "100000"));
    struct testclient *c = client_by(p);
    struct server *s = server_at(3);
    create_ephemerals(c, 9000);
    zxid_t last = s->last_applied;
    ck_assert_int_eq(last, s->last_prepared);
    testclient_close_session(c);
    testserver_turn(e->servers[3]);
    ck_assert(!list_empty(&s->closers));
    ck_assert_int_eq(s->last_prepared, last);
    quorum_leave(s->quorum, "the test says so");
    await_phase(3, QUORUM_LOOKING);
    ck_assert(list_empty(&s->closers));
    ck_assert_int_eq(s->last_applied, last);
    ck_assert_ptr_nonnull(tree_find(s->tree, SLICE_LIT("/e8999")));
    /* The next leader, which is the same, ends it after its timeout. */
    testensemble_appoint(e, 3, 3);
    discover(p, 1, last, 1);
    be_synced(p, 2);
    ping_for(15, 0);
    ack(p, testpeer_expect(p, PACKET_PROPOSAL).zxid);
    run(100);
    ck_assert_ptr_null(tree_find(s->tree, SLICE_LIT("/e8999")));
    ck_assert_int_eq(s->last_applied, Z(2, 1));
}
END_TEST

START_TEST(i23_nothing_undecodable_is_proposed) {
    struct buf body = BUF_INIT, data = BUF_INIT;
    lead(NULL);
    client_by(p);
    put_path_version(&body, "/", -1);
    static const int32_t types[] = {OP_CHECK, OP_ERROR, OP_DELETE_CONTAINER, 12345, OP_EXISTS, OP_CREATE};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct txn_header h;
        struct txn t;
        int32_t version;
        uint64_t digest;
        zxid_t before = server_at(3)->last_prepared;
        buf_clear(&data);
        forwarded_request_put(&data, &(struct forwarded_request){.session = 5, .cxid = 1, .type = types[i], .body = buf_slice(&body)});
        testpeer_send(p, PACKET_REQUEST, -1, buf_slice(&data));
        struct quorum_packet packet = testpeer_expect(p, PACKET_PROPOSAL);
        ck_assert(txn_decode(packet.data, &h, &t, &version, &digest));
        ck_assert_int_eq(h.type, OP_ERROR);
        ck_assert_int_eq(h.zxid, before + 1);
    }
    buf_free(&body);
    buf_free(&data);
}
END_TEST

/* Java learners match what comes back with their oldest own request. Nobody answers a ping here: the write confirms the sync. */
START_TEST(sync_is_answered_before_the_commit_behind_it) {
    struct buf data = BUF_INIT;
    struct quorum_packet packet;
    lead(NULL);
    struct testclient *c = client_by(p);
    forwarded_request_put(&data, &(struct forwarded_request){.session = 5, .cxid = 1, .type = OP_SYNC, .body = SLICE_LIT("\0\0\0\1/")});
    testpeer_send(p, PACKET_REQUEST, -1, buf_slice(&data));
    run(5);
    write_one(c, 1);
    zxid_t zxid = testpeer_expect(p, PACKET_PROPOSAL).zxid;
    ack(p, zxid);
    int syncs = 0;
    do {
        ck_assert(testpeer_next(p, &packet, 100));
        syncs += packet.type == PACKET_SYNC;
    } while (packet.type != PACKET_COMMIT);
    ck_assert_int_eq(packet.zxid, zxid);
    ck_assert_int_eq(syncs, 1);
    buf_free(&data);
}
END_TEST

START_TEST(garbage_from_a_learner) {
    struct rng rng = {.state = 7};
    lead(NULL);
    q = peer_of(2);
    for (int round = 0; round < 200; round++) {
        uint8_t bytes[200];
        if (round % 3 == 0) {
            testpeer_dial(q, LEADER);
        } else {
            join(q, 1, round % 3 == 1 ? server_at(3)->last_applied : 0);
            if (round % 2 == 0)
                ack(q, Z(1, 0));
        }
        fill_with_garbage(&rng, bytes, sizeof bytes);
        if (rng_below(&rng, 2) == 0)
            be32_store(bytes, (uint32_t)rng_below(&rng, 20));
        testpeer_bytes(q, bytes, 1 + rng_below(&rng, sizeof bytes));
        run(3);
        if (q->link != NULL)
            testpeer_hang_up(q);
        run(3);
    }
    ck_assert_int_eq(server_at(3)->state, SERVER_RUNNING);
}
END_TEST

/* Before it has said who it is nobody can make us keep a gigabyte for it. */
START_TEST(large_first_packet) {
    uint8_t head[16] = {0};
    lead(NULL);
    q = peer_of(2);
    testpeer_dial(q, LEADER);
    be32_store(head, PACKET_FOLLOWERINFO);
    be32_store(head + 12, 1 << 29);
    testpeer_bytes(q, head, sizeof head);
    testpeer_expect_closed(q);
}
END_TEST

/* Whoever is ready early waits for the others as long as the leader does. */
START_TEST(early_learner_is_kept_until_a_quorum_follows) {
    struct testpeer *peers[2];
    begin_to_lead_five(peers);
    ack(peers[0], Z(1, 0));
    run(17000); /* syncLimit is 15 s */
    /* It has heard from the leader, so that it does not leave either. */
    struct quorum_packet packet;
    ck_assert(testpeer_next(peers[0], &packet, 0));
    ck_assert_int_eq(packet.type, PACKET_PING);
    ck_assert_ptr_nonnull(peers[0]->link);
    ack(peers[1], Z(1, 0));
    testpeer_expect(peers[0], PACKET_UPTODATE);
}
END_TEST

/* What was proposed while it got its history is timed from the moment on from which it can be acknowledged. */
START_TEST(slow_history_is_no_lag) {
    lead(NULL);
    struct testclient *c = client_by(p);
    q = peer_of(2);
    join(q, 1, server_at(3)->last_applied);
    testpeer_expect(q, PACKET_DIFF);
    testpeer_expect(q, PACKET_NEWLEADER);
    write_one(c, 1);
    zxid_t zxid = testpeer_expect(p, PACKET_PROPOSAL).zxid;
    ack(p, zxid);
    ping_for(17, zxid);
    ack(q, Z(1, 0));
    run(50);
    ck_assert_ptr_nonnull(q->link);
    ack(q, zxid);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quorum_leader");
    ADD_ENSEMBLE(suite, "lead", i9_who_is_ahead_is_not_led, i10_leader_serves_after_newleader_is_acknowledged,
        i6_impossible_epoch_is_refused, voter_that_has_accepted_a_later_epoch,
        untrusted_voter_that_has_accepted_a_later_epoch, i11_acks_before_newleader_do_not_count,
        i11_ack_of_what_was_not_proposed, i11_acks_of_an_older_link_do_not_count, i11_nobody_acknowledges_in_our_name,
        i11_observers_do_not_count, i11_quorum_without_the_leaders_disk, i15_trunc_never_takes_back_what_is_committed,
        i15_snapshot_is_not_older_than_the_learner, i15_learner_that_does_not_know_what_it_has, learner_goes_while_its_snapshot_is_read,
        learner_goes_just_before_the_next_step, learner_goes_just_before_it_is_up_to_date,
        i21_epoch_changes_before_the_counter_ends, session_that_closes_while_the_role_ends,
        i23_nothing_undecodable_is_proposed, sync_is_answered_before_the_commit_behind_it, garbage_from_a_learner,
        large_first_packet, early_learner_is_kept_until_a_quorum_follows, slow_history_is_no_lag);
    return run_suite(suite);
}
