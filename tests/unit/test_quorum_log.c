/* A leader that has to go back to its log files for a learner. Invariants are those of docs/protocol/zab.md section 19. */
#include "leader_help.h"

#define WINDOW 20
#define LARGE 12000 /* bytes of data: 22 such are more than a piece */
#define LOTS (100u << 20) /* so much unread that nothing more is sent for now */

static int made;

static const struct metrics *metrics(void) { return &server_at(LEADER)->metrics; }
static uint64_t log_diffs(void) { return metrics()->log_diffs; }
static uint64_t log_snaps(void) { return metrics()->log_snaps; }
static uint64_t snaps(void) { return metrics()->counters[METRIC_SNAP_COUNT]; }
static zxid_t last_zxid(void) { return server_at(LEADER)->last_applied; }
static zxid_t window_begin(void) { return history_zxid(server_at(LEADER)->history, 0); }

/* Only the last few transactions are kept in memory. */
static void use_window(size_t entries) {
    struct server *s = server_at(LEADER);
    history_free(s->history);
    s->history = history_new(1, entries);
}

static struct testclient *lead_with_short_window(const char *const *options) {
    made = 0;
    lead(options);
    use_window(WINDOW);
    return client_by(p);
}

static void create(struct testclient *c, size_t size) {
    char path[24];
    struct buf *b = testclient_request(c, OP_CREATE);
    struct buf data = BUF_INIT;
    snprintf(path, sizeof path, "/n%d", made++);
    memset(buf_tail(&data, size), 'x', size);
    data.len = size;
    put_create(b, path, buf_slice(&data), CREATE_PERSISTENT);
    testclient_end(c);
    buf_free(&data);
}

/* So many are committed and applied; p has acknowledged them. */
static void write_many(struct testclient *c, int count, size_t size) {
    struct server *s = server_at(LEADER);
    zxid_t wanted = s->last_prepared + count;
    for (int i = 0; i < count; i++)
        create(c, size);
    for (int ms = 0; ms < 10000 && s->last_applied < wanted; ms++) {
        run(1);
        ack(p, s->last_prepared);
    }
    ck_assert_int_eq(s->last_applied, wanted);
    run(5);
    buf_clear(&p->in);
    p->in_start = 0;
    buf_clear(&c->in);
    c->in_start = 0;
}

/* Another role of the same leader, in a later epoch. */
static struct testclient *lead_again(int64_t epoch) {
    if (quorum_at(LEADER)->phase == QUORUM_LEADING)
        quorum_leave(quorum_at(LEADER), "the test says so");
    await_phase(LEADER, QUORUM_LOOKING);
    testensemble_appoint(e, LEADER, LEADER);
    ck_assert_int_eq(discover(p, epoch - 1, last_zxid(), 0), epoch);
    be_synced(p, epoch);
    ack(p, Z(epoch, 0));
    return client_by(p);
}

static void learner_joins(zxid_t zxid) {
    if (q == NULL)
        q = peer_of(2);
    testpeer_hang_up(q);
    join(q, zxid_epoch(last_zxid()), zxid);
}

static void expect_transactions(zxid_t first, zxid_t last) {
    for (zxid_t z = first; z <= last; z++) {
        struct quorum_packet packet = testpeer_expect(q, PACKET_PROPOSAL);
        struct jute_in in = jute_in(packet.data.data, packet.data.len);
        ck_assert_int_eq(packet.zxid, z);
        ck_assert_int_eq(txn_header_get(&in).zxid, z);
        ck_assert_int_eq(testpeer_expect(q, PACKET_COMMIT).zxid, z);
    }
}

static void expect_newleader(void) {
    ck_assert_int_eq(testpeer_expect(q, PACKET_NEWLEADER).zxid, Z(zxid_epoch(server_at(LEADER)->last_prepared), 0));
}

/* The history behind this zxid, all of this epoch, by DIFF. */
static void expect_diff(zxid_t from) {
    testpeer_expect(q, PACKET_DIFF);
    expect_transactions(from + 1, last_zxid());
    expect_newleader();
}

/* It has begun with a DIFF, but the link breaks before there is a hole. Returns the last one that came. */
static zxid_t expect_break(zxid_t from) {
    struct quorum_packet packet;
    testpeer_expect(q, PACKET_DIFF);
    while (testpeer_next(q, &packet, q->link != NULL ? 1000 : 0)) {
        if (packet.type == PACKET_PROPOSAL)
            ck_assert_int_eq(packet.zxid, ++from);
        else
            ck_assert(packet.type == PACKET_COMMIT && packet.zxid == from);
    }
    ck_assert_ptr_null(q->link);
    return from;
}

static void expect_snapshot(void) { ck_assert_int_eq(testpeer_expect(q, PACKET_SNAP).zxid, server_at(LEADER)->good_snapshot); }

/* Has all of the snapshot come? Then what follows it is next. */
static bool snapshot_ends(void) {
    const uint8_t *from = q->in.data + q->in_start;
    size_t len = q->in.len - q->in_start;
    for (size_t i = 0; i + 10 <= len; i++)
        if (memcmp(from + i, "BenWasHere", 10) == 0) {
            q->in_start += i + 10;
            return true;
        }
    return false;
}

static void skip_snapshot(void) {
    for (int ms = 0; ms < 5000; ms++) {
        if (snapshot_ends())
            return;
        run(1);
    }
    ck_abort_msg("the snapshot does not end");
}

/* A member without anything, by its first connection. */
static void newcomer_joins(void) {
    if (q == NULL)
        q = peer_of(2);
    testpeer_hang_up(q);
    hello(q, 0);
    testpeer_expect(q, PACKET_LEADERINFO);
    ack_epoch(q, 0, 0);
}

/* A snapshot of this zxid, and what is behind it. */
static void expect_snapshot_of(zxid_t zxid) {
    ck_assert_int_eq(testpeer_expect(q, PACKET_SNAP).zxid, zxid);
    skip_snapshot();
    expect_transactions(zxid + 1, last_zxid());
    expect_newleader();
}

static zxid_t make_snapshot(void) {
    struct server *s = server_at(LEADER);
    uint64_t before = s->snapshots_noted;
    snapshotter_request(s);
    for (int ms = 0; ms < 5000 && s->snapshots_noted == before; ms++)
        run(1);
    ck_assert_int_eq(s->good_snapshot, last_zxid());
    return s->good_snapshot;
}

/* ------------------------------------------------------------------ files */

static struct simdisk *disk_of_leader(void) { return disk_of(LEADER); }

/* The n-th log, the oldest is 0. */
static void log_name(char out[STORE_NAME_MAX], int n) {
    struct store_files logs;
    ck_assert_int_eq(store_files_list(&disk_of_leader()->disk, DISK_LOG, "log", &logs), 0);
    ck_assert_int_lt(n, logs.count);
    snprintf(out, STORE_NAME_MAX, "%s", logs.items[n].name);
    store_files_free(&logs);
}

static void remove_log(int n) {
    char name[STORE_NAME_MAX];
    log_name(name, n);
    ck_assert_int_eq(disk_of_leader()->disk.unlink(disk_of_leader()->disk.ctx, DISK_LOG, name), 0);
}

static void roll(void) { server_at(LEADER)->roll_next = true; }

static int64_t entry_of(const char *name, zxid_t zxid) {
    int err;
    struct txnlog_reader *r = txnlog_reader_open(&disk_of_leader()->disk, name, INT32_MAX, &err);
    struct txnlog_result at;
    ck_assert_ptr_nonnull(r);
    do {
        at = txnlog_reader_next(r);
        ck_assert_int_eq(at.status, TXNLOG_RECORD);
    } while (txnlog_payload_zxid(at.payload) != zxid);
    txnlog_reader_close(r);
    return at.offset;
}

/* Flips a bit of this transaction (which is in the n-th log), or zeros the log from there on. */
static void damage(int n, zxid_t zxid, bool zeros) {
    char name[STORE_NAME_MAX];
    uint8_t bytes[64];
    size_t size;
    log_name(name, n);
    int64_t at = entry_of(name, zxid);
    struct disk *d = &disk_of_leader()->disk;
    char *content = simdisk_get(disk_of_leader(), DISK_LOG, name, &size);
    int handle = d->open(d->ctx, DISK_LOG, name, DISK_READWRITE);
    ck_assert_int_ge(handle, 0);
    memcpy(bytes, content + at, sizeof bytes);
    bytes[20] ^= 1;
    if (zeros)
        memset(content + at, 0, size - (size_t)at);
    ck_assert_int_eq(disk_write_all(d, handle, zeros ? content + at : (char *)bytes, zeros ? size - (size_t)at : sizeof bytes, at), 0);
    d->close(d->ctx, handle);
    mem_free(content);
}

/* ------------------------------------------------------------------ DIFF */

START_TEST(logs_and_window_are_one_history) {
    struct testclient *c = lead_with_short_window(NULL);
    write_many(c, 300, 10);
    learner_joins(Z(1, 50));
    expect_diff(Z(1, 50));
    ck_assert_uint_eq(log_diffs(), 1);
    ck_assert_uint_eq(snaps(), 0);
    /* And the stream, to which it belongs from now on. */
    ack(q, Z(1, 0));
    testpeer_expect(q, PACKET_UPTODATE);
    create(c, 10);
    zxid_t zxid = testpeer_expect(q, PACKET_PROPOSAL).zxid;
    ck_assert_int_eq(zxid, last_zxid() + 1);
    ack(q, zxid);
    ck_assert_int_eq(testpeer_expect(q, PACKET_COMMIT).zxid, zxid);
}
END_TEST

/* With everything around the beginning of the window. */
START_TEST(where_the_window_begins) {
    struct testclient *c = lead_with_short_window(NULL);
    write_many(c, 100, 10);
    for (zxid_t z = window_begin() + 2; z >= window_begin() - 3; z--) {
        uint64_t before = log_diffs();
        learner_joins(z);
        expect_diff(z);
        ck_assert_uint_eq(log_diffs() - before, z < window_begin());
    }
    ck_assert_uint_eq(snaps(), 0);
}
END_TEST

START_TEST(several_logs_and_many_pieces) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    for (int i = 0; i < 4; i++) {
        write_many(c, 60, LARGE);
        roll();
    }
    write_many(c, 30, 10);
    for (zxid_t z = Z(1, 2); z < last_zxid(); z += 37) {
        learner_joins(z);
        expect_diff(z);
    }
    ck_assert_uint_eq(snaps(), 0);
}
END_TEST

START_TEST(observers_get_it_too) {
    struct testclient *c = lead_with_short_window(NULL);
    write_many(c, 100, 10);
    q = peer_of(2);
    hello_as(q, 2, PACKET_OBSERVERINFO, 1);
    testpeer_expect(q, PACKET_LEADERINFO);
    ack_epoch(q, Z(1, 7), -1);
    expect_diff(Z(1, 7));
}
END_TEST

START_TEST(epochs_that_meet_in_the_logs) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    write_many(c, 50, 10);
    zxid_t end = last_zxid();
    c = lead_again(4);
    write_many(c, 50, 10);
    learner_joins(Z(1, 20));
    testpeer_expect(q, PACKET_DIFF);
    expect_transactions(Z(1, 21), end);
    expect_transactions(Z(4, 1), last_zxid());
    expect_newleader();
    /* Between the two: nothing has such a zxid, but the history before it ends there. */
    learner_joins(Z(3, 0));
    expect_diff(Z(4, 0));
    learner_joins(Z(4, 0));
    expect_diff(Z(4, 0));
    learner_joins(end);
    expect_diff(Z(4, 0));
    ck_assert_uint_eq(log_diffs(), 4);
    ck_assert_uint_eq(snaps(), 0);
}
END_TEST

/* ------------------------------------------------------------------ what must not be sent */

/* Our log holds what nobody has acknowledged. */
START_TEST(i15_uncommitted_is_not_sent_as_committed) {
    struct testclient *c = lead_with_short_window(NULL);
    struct server *s = server_at(LEADER);
    write_many(c, 100, 10);
    zxid_t committed = last_zxid();
    for (int i = 0; i < 40; i++)
        create(c, 10);
    run(20);
    ck_assert_int_eq(s->logged, committed + 40);
    ck_assert_int_eq(s->committed, committed);
    learner_joins(Z(1, 10));
    expect_diff(Z(1, 10));
    for (zxid_t z = committed + 1; z <= committed + 40; z++)
        ck_assert_int_eq(testpeer_expect(q, PACKET_PROPOSAL).zxid, z);
    ack(p, committed + 40);
    for (zxid_t z = committed + 1; z <= committed + 40; z++)
        ck_assert_int_eq(testpeer_expect(q, PACKET_COMMIT).zxid, z);
}
END_TEST

/* The others have committed more than the window holds before our disk has taken it. */
START_TEST(log_that_lags_behind_the_window) {
    struct testclient *c = lead_with_short_window(NULL);
    struct server *s = server_at(LEADER);
    write_many(c, 60, 10);
    learner_joins(last_zxid());
    expect_diff(last_zxid());
    ack(q, Z(1, 0));
    testpeer_expect(q, PACKET_UPTODATE);
    e->servers[LEADER]->hold_log = true;
    zxid_t logged = s->logged;
    for (int i = 0; i < 60; i++)
        create(c, 10);
    run(10);
    ack(p, logged + 60);
    ack(q, logged + 60);
    run(20);
    ck_assert_int_eq(last_zxid(), logged + 60);
    ck_assert_int_eq(s->logged, logged);
    ck_assert_int_gt(window_begin(), logged + 1);
    testpeer_hang_up(q);
    join(q, 1, Z(1, 10));
    testpeer_expect(q, PACKET_DIFF);
    expect_transactions(Z(1, 11), logged);
    struct quorum_packet packet;
    ck_assert(!testpeer_next(q, &packet, 100));
    e->servers[LEADER]->hold_log = false;
    expect_transactions(logged + 1, logged + 60);
    expect_newleader();
}
END_TEST

/* From a log that lacks its end, two epochs seem to meet. */
START_TEST(i12_lost_end_of_an_epoch) {
    for (int kind = 0; kind < 3; kind++) {
        struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
        write_many(c, 50, 10);
        zxid_t end = last_zxid();
        roll();
        write_many(c, 5, 10);
        quorum_leave(quorum_at(LEADER), "the test says so");
        await_phase(LEADER, QUORUM_LOOKING);
        roll();
        c = lead_again(2);
        write_many(c, 50, 10);
        if (kind == 0)
            remove_log(1);
        else
            damage(kind == 1 ? 1 : 0, kind == 1 ? end + 3 : end - 2, true);
        learner_joins(Z(1, 20));
        zxid_t got = expect_break(Z(1, 20));
        ck_assert_int_eq(got, kind == 0 ? end : kind == 1 ? end + 2 : end - 3);
        learner_joins(got);
        expect_snapshot();
        teardown();
        q = NULL;
    }
}
END_TEST

/* Nobody knows what was between two epochs that were over before this process has begun. */
START_TEST(i12_epochs_from_before_the_last_start) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    write_many(c, 50, 10);
    zxid_t end = last_zxid();
    c = lead_again(2);
    write_many(c, 50, 10);
    make_snapshot();
    testensemble_end(e, LEADER, TESTSERVER_KILL);
    testensemble_start(e, LEADER);
    use_window(WINDOW);
    c = lead_again(3);
    write_many(c, 50, 10);
    learner_joins(Z(1, 20));
    ck_assert_int_eq(expect_break(Z(1, 20)), end);
    learner_joins(end);
    expect_snapshot();
    learner_joins(Z(2, 20));
    testpeer_expect(q, PACKET_DIFF);
}
END_TEST

START_TEST(i15_histories_that_part) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    write_many(c, 50, 10);
    zxid_t end = last_zxid();
    c = lead_again(4);
    write_many(c, 50, 10);
    /* What an older leader proposed and nobody has; an epoch that we know nothing of; nothing at all; it does not know. */
    const zxid_t others[] = {end + 1, end + 30, Z(2, 7), Z(3, 1), Z(0, 5), 0, -1};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        learner_joins(others[i]);
        expect_snapshot();
    }
    ck_assert_uint_eq(log_diffs(), 0);
}
END_TEST

START_TEST(older_than_the_oldest_log) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    write_many(c, 50, 10);
    zxid_t end = last_zxid();
    roll();
    write_many(c, 50, 10);
    learner_joins(end - 1);
    expect_diff(end - 1);
    remove_log(0);
    learner_joins(end - 1);
    expect_snapshot();
    learner_joins(end);
    expect_diff(end);
    remove_log(0);
    learner_joins(end);
    expect_snapshot();
    ck_assert_uint_eq(log_diffs(), 2);
}
END_TEST

START_TEST(i12_damaged_log) {
    struct testclient *c = lead_with_short_window(NULL);
    write_many(c, 100, 10);
    damage(0, Z(1, 60), false);
    learner_joins(Z(1, 20));
    expect_snapshot();
    learner_joins(Z(1, 59));
    expect_snapshot();
    /* Behind the damage nothing is wrong, but it cannot be found either. */
    learner_joins(Z(1, 70));
    expect_snapshot();
    ck_assert_uint_eq(log_diffs(), 0);
}
END_TEST

/* A part has gone already. It must not come back for the same again and again. */
START_TEST(i12_damage_far_behind) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    write_many(c, 100, LARGE);
    damage(0, Z(1, 70), false);
    learner_joins(Z(1, 5));
    zxid_t got = expect_break(Z(1, 5));
    ck_assert_int_lt(got, Z(1, 70));
    ck_assert_int_gt(got, Z(1, 40));
    learner_joins(got);
    expect_snapshot();
    learner_joins(Z(1, 3));
    expect_snapshot();
    ck_assert_int_eq(server_at(LEADER)->state, SERVER_RUNNING);
}
END_TEST

/* ------------------------------------------------------------------ against the rules of Java's leader */

/* All that is committed; the logs hold it from `logged` on, and the window from `window` on. */
static struct {
    zxid_t txns[200];
    size_t count, logged, window;
} past;

struct choice {
    int32_t type;
    zxid_t kept; /* TRUNC: up to this one */
    zxid_t next; /* DIFF, TRUNC: the first one that follows; 0 = none does */
};

static void note_past(zxid_t first, zxid_t last) {
    for (zxid_t z = first; z <= last; z++)
        past.txns[past.count++] = z;
}

/* LearnerHandler.queueCommittedProposals, over the transactions from i to end. Returns the last one queued. */
static zxid_t java_walk(size_t i, size_t end, zxid_t peer, struct choice *c) {
    zxid_t before = -1, queued = peer;
    for (; i < end; i++) {
        zxid_t zxid = past.txns[i];
        if (zxid < peer) {
            before = zxid;
            continue;
        }
        if (c->type == PACKET_SNAP && zxid == peer) {
            c->type = PACKET_DIFF;
            continue;
        }
        if (c->type == PACKET_SNAP && zxid_counter(peer) != 0 && zxid_epoch(zxid) != zxid_epoch(peer))
            return queued;
        if (c->type == PACKET_SNAP)
            *c = (struct choice){.type = zxid_counter(peer) == 0 ? PACKET_DIFF : PACKET_TRUNC, .kept = before};
        c->next = c->next == 0 ? zxid : c->next;
        queued = zxid;
    }
    return queued;
}

/* LearnerHandler.syncFollower, without a limit on the size of logs; SNAP unless something else is found. Ours alone: logs that begin
 * right behind the learner's last one will do. */
static struct choice java_choice(zxid_t peer) {
    struct choice c = {.type = PACKET_SNAP};
    zxid_t last = past.txns[past.count - 1], begin = past.txns[past.window];
    if (peer == last)
        return (struct choice){.type = PACKET_DIFF};
    if (peer > last && zxid_counter(peer) != 0)
        return (struct choice){.type = PACKET_TRUNC, .kept = last};
    if (peer >= begin) {
        java_walk(past.window, past.count, peer, &c);
    } else if (past.txns[past.logged] <= peer + 1) {
        zxid_t queued = java_walk(past.logged, past.window + 1, peer, &c);
        if (queued < begin)
            return (struct choice){.type = PACKET_SNAP};
        java_walk(past.window, past.count, queued, &c);
    }
    return c;
}

static void compare_choice(zxid_t peer) {
    struct choice c = java_choice(peer);
    learner_joins(peer);
    struct quorum_packet packet = {0};
    ck_assert(testpeer_next(q, &packet, 5000));
    ck_assert_msg(packet.type == c.type, "0x%llx: %d, not %d", (long long)peer, (int)packet.type, (int)c.type);
    if (c.type == PACKET_SNAP) {
        ck_assert_int_ge(packet.zxid, peer); /* what it has, and may be committed, is in there */
        return;
    }
    if (c.type == PACKET_TRUNC)
        ck_assert_int_eq(packet.zxid, c.kept);
    if (c.next != 0)
        ck_assert_int_eq(testpeer_expect(q, PACKET_PROPOSAL).zxid, c.next);
    else
        expect_newleader();
}

/* In a history without gaps TRUNC is nothing but the answer to a learner that is ahead of everything: whoever has something else
 * in an epoch has its end, and what follows here is of another epoch. */
START_TEST(i15_choices_are_those_of_java) {
    past.count = past.logged = 0;
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    write_many(c, 40, 10);
    zxid_t end = last_zxid();
    note_past(Z(1, 1), end);
    c = lead_again(4);
    for (int step = 0; step < 2; step++) { /* epochs meet in the window; behind it, in the logs */
        write_many(c, step == 0 ? 4 : 30, 10);
        past.count = (size_t)zxid_counter(end);
        note_past(Z(4, 1), last_zxid());
        past.window = past.count - history_count(server_at(LEADER)->history);
        ck_assert_int_eq(past.txns[past.window], window_begin());
        for (zxid_t epoch = 0; epoch <= 5; epoch++) {
            zxid_t most = epoch == 1 ? zxid_counter(end) + 2 : epoch == 4 ? zxid_counter(last_zxid()) + 2 : 2;
            for (zxid_t counter = epoch == 5; counter <= most; counter++)
                compare_choice(Z(epoch, counter));
        }
        compare_choice(-1);
    }
}
END_TEST

/* A hole in the logs: Java cuts the learner off in front of it, and with that what is committed. */
START_TEST(i15_no_trunc_into_a_hole) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    write_many(c, 30, 10);
    zxid_t first = last_zxid();
    roll();
    write_many(c, 10, 10);
    zxid_t last = last_zxid();
    roll();
    write_many(c, 40, 10);
    remove_log(1);
    for (zxid_t z = first + 1; z < last; z++) {
        learner_joins(z);
        expect_snapshot();
        ck_assert_int_ge(server_at(LEADER)->good_snapshot, z);
    }
    learner_joins(last);
    expect_diff(last);
}
END_TEST

/* ------------------------------------------------------------------ retention, sizes */

START_TEST(logs_go_while_they_are_read) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    write_many(c, 60, LARGE);
    zxid_t end = last_zxid();
    roll();
    write_many(c, 60, LARGE);
    roll();
    write_many(c, 60, LARGE);
    q = peer_of(2);
    e->servers[LEADER]->hold_jobs = true;
    join(q, 1, Z(1, 5));
    run(10);
    while (log_diffs() == 0) {
        ck_assert(testserver_do_job(e->servers[LEADER]));
        run(10);
    }
    remove_log(0);
    remove_log(0);
    e->servers[LEADER]->hold_jobs = false;
    testpeer_expect(q, PACKET_DIFF);
    /* The one that is open is there to its end. */
    expect_transactions(Z(1, 6), end);
    testpeer_expect_closed(q);
    learner_joins(end);
    expect_snapshot();
}
END_TEST

START_TEST(factor) {
    struct testclient *c = lead_with_short_window(NULL);
    write_many(c, 50, 10);
    zxid_t end = last_zxid();
    roll();
    write_many(c, 100, 10);
    /* Two logs, and the second one is larger than a third of the snapshot. The one that is read first does not count. */
    learner_joins(Z(1, 20));
    expect_snapshot();
    learner_joins(end + 5);
    expect_diff(end + 5);
    server_at(LEADER)->config->snapshot_size_factor = 0;
    learner_joins(Z(1, 20));
    expect_diff(Z(1, 20));
    server_at(LEADER)->config->snapshot_size_factor = -1;
    learner_joins(end + 5);
    expect_snapshot();
    ck_assert_uint_eq(log_diffs(), 2);
    /* What is reserved ahead of the second log, a megabyte, is no reason. */
    server_at(LEADER)->config->snapshot_size_factor = 1;
    size_t size;
    struct server *s = server_at(LEADER);
    ck_assert_int_gt(s->log_padding, 500000);
    char *snapshot = simdisk_get(disk_of_leader(), DISK_SNAP, s->good_snapshot_name, &size);
    ck_assert_int_lt((int64_t)size, 500000);
    snapshot = mem_realloc(snapshot, 500000);
    memset(snapshot + size, 0, 500000 - size);
    simdisk_put(disk_of_leader(), DISK_SNAP, s->good_snapshot_name, snapshot, 500000);
    mem_free(snapshot);
    learner_joins(Z(1, 20));
    expect_diff(Z(1, 20));
}
END_TEST

/* ------------------------------------------------------------------ in the middle of other things */

/* The window moves on faster than the learner reads. */
START_TEST(window_runs_away_from_a_learner) {
    struct testclient *c = lead_with_short_window(NULL);
    use_window(1000);
    write_many(c, 200, LARGE);
    e->unsent = LOTS;
    learner_joins(Z(1, 5));
    testpeer_expect(q, PACKET_DIFF);
    use_window(WINDOW);
    write_many(c, 30, 10);
    e->unsent = 0;
    expect_transactions(Z(1, 6), last_zxid());
    expect_newleader();
    ck_assert_uint_eq(log_diffs(), 0);
    /* Without the logs it has to come again. */
    server_at(LEADER)->config->snapshot_size_factor = -1;
    use_window(1000);
    write_many(c, 200, LARGE);
    e->unsent = LOTS;
    learner_joins(last_zxid() - 195);
    testpeer_expect(q, PACKET_DIFF);
    use_window(WINDOW);
    e->unsent = 0;
    testpeer_expect_closed(q);
}
END_TEST

START_TEST(window_runs_away_from_a_snapshot) {
    struct testclient *c = lead_with_short_window(NULL);
    server_at(LEADER)->config->force_snapshot_sync = true;
    write_many(c, 50, 10);
    learner_joins(Z(1, 5));
    zxid_t zxid = testpeer_expect(q, PACKET_SNAP).zxid;
    testpeer_hang_up(q);
    run(10);
    e->servers[LEADER]->hold_jobs = true;
    join(q, 1, Z(1, 5));
    ck_assert_int_eq(testpeer_expect(q, PACKET_SNAP).zxid, zxid);
    write_many(c, 100, 10);
    e->servers[LEADER]->hold_jobs = false;
    skip_snapshot();
    expect_transactions(zxid + 1, last_zxid());
    expect_newleader();
    ck_assert_uint_eq(log_diffs(), 0);
}
END_TEST

static void do_jobs(int count) {
    for (int i = 0; i < count; i++) {
        ck_assert(testserver_do_job(e->servers[LEADER]));
        run(10);
    }
}

/* The learner's link breaks, or the role ends; and then what was ordered for it is done. */
static void end_before_other_jobs(bool link) {
    if (link)
        testpeer_hang_up(q);
    else
        quorum_leave(quorum_at(LEADER), "the test says so");
    run(10);
    e->servers[LEADER]->hold_jobs = false;
    while (testserver_do_job(e->servers[LEADER]))
        ;
    run(10);
    ck_assert_int_eq(server_at(LEADER)->state, link ? SERVER_RUNNING : SERVER_WAITING);
}

/* Its link breaks while a piece is read; and the role ends. */
START_TEST(learner_goes_while_its_logs_are_read) {
    for (int step = 0; step < 4; step++) {
        struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
        write_many(c, 100, LARGE);
        q = peer_of(2);
        e->servers[LEADER]->hold_jobs = true;
        join(q, 1, Z(1, 5));
        run(10);
        do_jobs(step / 2);
        end_before_other_jobs(step % 2 == 0);
        teardown();
        q = NULL;
    }
}
END_TEST

/* Whatever the disk says to the job: a snapshot, or a link that breaks, and the leader leads on. */
START_TEST(errors_of_the_disk) {
    const unsigned reads =
        SIMDISK_BIT(SIMDISK_OPEN) | SIMDISK_BIT(SIMDISK_READ) | SIMDISK_BIT(SIMDISK_SIZE) | SIMDISK_BIT(SIMDISK_LIST);
    uint64_t failures = 0;
    for (uint64_t n = 1; n < 12; n++) {
        struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
        write_many(c, 60, LARGE);
        struct simdisk *d = disk_of_leader();
        q = peer_of(2);
        join(q, 1, Z(1, 5));
        simdisk_fail(d, reads, n, -EIO);
        run(50);
        simdisk_clear_faults(d);
        failures += q->link == NULL || snaps() != 0;
        if (q->link == NULL)
            ck_assert_uint_eq(log_diffs(), 1);
        ck_assert_int_eq(server_at(LEADER)->state, SERVER_RUNNING);
        teardown();
        q = NULL;
    }
    ck_assert_uint_ge(failures, 4);
}
END_TEST

/* ------------------------------------------------------------------ a snapshot, then log files */

START_TEST(snapshot_logs_and_window_are_one_history) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    write_many(c, 50, 10);
    zxid_t zxid = make_snapshot();
    uint64_t noted = server_at(LEADER)->snapshots_noted;
    for (int i = 0; i < 3; i++) {
        write_many(c, 100, i == 1 ? LARGE : 10);
        if (i == 1)
            roll();
        newcomer_joins();
        expect_snapshot_of(zxid);
    }
    ck_assert_uint_eq(server_at(LEADER)->snapshots_noted, noted);
    ck_assert_uint_eq(snaps(), 3);
    ck_assert_uint_eq(log_snaps(), 3);
    /* And the stream. */
    ack(q, Z(1, 0));
    testpeer_expect(q, PACKET_UPTODATE);
    create(c, 10);
    ck_assert_int_eq(testpeer_expect(q, PACKET_PROPOSAL).zxid, last_zxid() + 1);
}
END_TEST

/* Around the place where the window goes on behind the snapshot. */
START_TEST(snapshot_where_the_window_begins) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    write_many(c, 50, 10);
    zxid_t zxid = make_snapshot();
    write_many(c, WINDOW - 2, 10);
    for (int i = 0; i < 5; i++) {
        uint64_t before = log_snaps();
        newcomer_joins();
        expect_snapshot_of(zxid);
        ck_assert_uint_eq(log_snaps() - before, window_begin() > zxid + 1);
        testpeer_hang_up(q);
        write_many(c, 1, 10);
    }
    ck_assert_uint_eq(log_snaps(), 2);
}
END_TEST

START_TEST(snapshot_at_the_end_of_an_epoch) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    write_many(c, 50, 10);
    zxid_t zxid = make_snapshot();
    c = lead_again(4);
    write_many(c, 50, 10);
    newcomer_joins();
    ck_assert_int_eq(testpeer_expect(q, PACKET_SNAP).zxid, zxid);
    skip_snapshot();
    expect_transactions(Z(4, 1), last_zxid());
    expect_newleader();
    ck_assert_uint_eq(log_snaps(), 1);
}
END_TEST

/* Too much to be sent and replayed: a new snapshot is better. In one log or in several. */
START_TEST(snapshot_that_is_too_old) {
    for (int rolls = 0; rolls < 2; rolls++) {
        struct testclient *c = lead_with_short_window(NULL);
        write_many(c, 60, LARGE);
        zxid_t zxid = make_snapshot();
        write_many(c, 16, LARGE);
        if (rolls != 0)
            roll();
        write_many(c, 10, 10);
        newcomer_joins();
        expect_snapshot_of(zxid);
        ck_assert_uint_eq(log_snaps(), 1);
        testpeer_hang_up(q);
        write_many(c, 10, LARGE);
        newcomer_joins();
        expect_snapshot_of(last_zxid());
        ck_assert_uint_eq(log_snaps(), 1);
        testpeer_hang_up(q);
        server_at(LEADER)->config->snapshot_size_factor = -1;
        write_many(c, 30, 10);
        newcomer_joins();
        expect_snapshot_of(last_zxid());
        ck_assert_uint_eq(log_snaps(), 1);
        teardown();
        q = NULL;
    }
}
END_TEST

/* Under load a snapshot is soon too old again. The next one would be, too. */
START_TEST(snapshot_that_was_made_for_it) {
    struct testclient *c = lead_with_short_window(NULL);
    write_many(c, 60, 10);
    e->servers[LEADER]->hold_jobs = true;
    newcomer_joins();
    run(10);
    zxid_t zxid = last_zxid();
    while (testserver_do_job(e->servers[LEADER]) && !snapshotter_busy(server_at(LEADER)))
        run(1);
    write_many(c, 60, LARGE);
    e->servers[LEADER]->hold_jobs = false;
    expect_snapshot_of(zxid);
    ck_assert_uint_eq(log_snaps(), 1);
}
END_TEST

/* A learner without its history gives up before the snapshot for it is there. What is as new as its first attempt will do for the
 * next ones: what it acknowledges counts only once it has the history again. After that, or much later, it may be another loss. */
START_TEST(i15_snapshot_that_is_there_at_the_next_attempt) {
    struct testclient *c = lead_with_short_window(NULL);
    struct server *s = server_at(LEADER);
    write_many(c, 60, 10);
    zxid_t zxid = last_zxid();
    e->servers[LEADER]->hold_jobs = true;
    learner_joins(0);
    for (int ms = 0; ms < 1000 && !snapshotter_busy(s); ms++)
        run(1);
    ck_assert(snapshotter_busy(s));
    testpeer_hang_up(q);
    write_many(c, 60, LARGE);
    e->servers[LEADER]->hold_jobs = false;
    for (int i = 0; i < 2; i++) {
        learner_joins(0);
        expect_snapshot_of(zxid);
    }
    ack(q, Z(1, 0));
    testpeer_expect(q, PACKET_UPTODATE);
    for (int i = 0; i < 2; i++) {
        testpeer_hang_up(q);
        write_many(c, 60, 10);
        for (int seconds = 0; seconds < i * 150; seconds++) {
            ack(p, s->last_prepared); /* the client's session ends meanwhile */
            ping_for(1, last_zxid());
        }
        learner_joins(0);
        expect_snapshot_of(last_zxid());
    }
}
END_TEST

/* The same for one that has lost all: its first attempt, before it has promised this epoch, says so without a doubt. */
START_TEST(i15_snapshot_that_a_newcomer_has_waited_for) {
    struct testclient *c = lead_with_short_window(NULL);
    struct server *s = server_at(LEADER);
    write_many(c, 60, LARGE);
    zxid_t zxid = last_zxid();
    e->servers[LEADER]->hold_jobs = true;
    newcomer_joins();
    for (int ms = 0; ms < 1000 && !snapshotter_busy(s); ms++) {
        testserver_do_job(e->servers[LEADER]);
        run(1);
    }
    ck_assert(snapshotter_busy(s));
    testpeer_hang_up(q);
    write_many(c, 10, 10);
    e->servers[LEADER]->hold_jobs = false;
    learner_joins(0);
    expect_snapshot_of(zxid);
}
END_TEST

/* It would be without the rest for a while, and others may have committed that because it has it. */
START_TEST(i15_snapshot_before_what_the_learner_has) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    write_many(c, 50, 10);
    zxid_t zxid = make_snapshot();
    write_many(c, 50, 10);
    /* It asks for a snapshot because it cannot do what we wanted. */
    learner_joins(0);
    expect_snapshot_of(last_zxid());
    testpeer_hang_up(q);
    write_many(c, 50, 10);
    zxid_t second = server_at(LEADER)->good_snapshot;
    ck_assert_int_gt(second, zxid);
    /* The log files do not do. */
    damage(0, second + 10, false);
    learner_joins(second + 5);
    expect_snapshot_of(last_zxid());
    /* By option. */
    testpeer_hang_up(q);
    write_many(c, 50, 10);
    server_at(LEADER)->config->force_snapshot_sync = true;
    learner_joins(last_zxid() - 30);
    expect_snapshot_of(last_zxid());
    ck_assert_uint_eq(log_snaps(), 0);
}
END_TEST

START_TEST(i15_snapshot_for_a_history_that_parts) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    write_many(c, 50, 10);
    zxid_t zxid = make_snapshot();
    write_many(c, 10, 10);
    c = lead_again(4);
    write_many(c, 50, 10);
    newcomer_joins();
    ck_assert_int_eq(testpeer_expect(q, PACKET_SNAP).zxid, zxid);
    /* This one may have what comes right behind that. */
    learner_joins(Z(3, 7));
    expect_snapshot_of(last_zxid());
}
END_TEST

START_TEST(i12_logs_behind_the_snapshot_lack_something) {
    for (int kind = 0; kind < 3; kind++) {
        struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
        write_many(c, 50, 10);
        zxid_t zxid = make_snapshot();
        roll();
        write_many(c, 30, 10);
        roll();
        write_many(c, 30, 10);
        if (kind == 0)
            remove_log(1);
        else
            damage(1, zxid + 1, kind == 1);
        newcomer_joins();
        expect_snapshot_of(last_zxid());
        ck_assert_uint_eq(log_snaps(), 0);
        teardown();
        q = NULL;
    }
}
END_TEST

/* The snapshot and a part have gone already. */
START_TEST(i12_damage_far_behind_the_snapshot) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
    write_many(c, 20, 10);
    zxid_t zxid = make_snapshot();
    write_many(c, 100, LARGE);
    damage(0, zxid + 70, false);
    newcomer_joins();
    ck_assert_int_eq(testpeer_expect(q, PACKET_SNAP).zxid, zxid);
    skip_snapshot();
    struct quorum_packet packet;
    zxid_t got = zxid;
    while (testpeer_next(q, &packet, q->link != NULL ? 1000 : 0))
        got = packet.type == PACKET_PROPOSAL ? packet.zxid : got;
    ck_assert_ptr_null(q->link);
    ck_assert_int_gt(got, zxid);
    ck_assert_int_lt(got, zxid + 70);
    learner_joins(got);
    expect_snapshot_of(last_zxid());
    testpeer_hang_up(q);
    write_many(c, 30, 10);
    newcomer_joins();
    ck_assert_int_gt(testpeer_expect(q, PACKET_SNAP).zxid, got);
}
END_TEST

/* It must not come back for the same again and again. */
START_TEST(snapshot_that_cannot_be_read) {
    for (int behind = 0; behind < 2; behind++) {
        struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
        struct server *s = server_at(LEADER);
        write_many(c, 50, 10);
        zxid_t zxid = make_snapshot();
        write_many(c, behind * 50 + 1, 10);
        simdisk_put(disk_of_leader(), DISK_SNAP, s->good_snapshot_name, "ZKSN", 4);
        newcomer_joins();
        ck_assert_int_eq(testpeer_expect(q, PACKET_SNAP).zxid, zxid);
        testpeer_expect_closed(q);
        newcomer_joins();
        expect_snapshot_of(last_zxid());
        ck_assert_int_eq(s->state, SERVER_RUNNING);
        teardown();
        q = NULL;
    }
}
END_TEST

static int count_logs(void) {
    struct store_files logs;
    ck_assert_int_eq(store_files_list(&disk_of_leader()->disk, DISK_LOG, "log", &logs), 0);
    int count = logs.count;
    store_files_free(&logs);
    return count;
}

/* Three newer ones make this snapshot and its logs superfluous, but for the learner that is being sent them. */
START_TEST(nothing_is_purged_that_is_being_sent) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0", "autopurge.purgeInterval", "1"));
    write_many(c, 60, LARGE);
    zxid_t zxid = make_snapshot();
    for (int i = 0; i < 3; i++) {
        roll();
        write_many(c, 30, LARGE);
    }
    for (int part = 0; part < 2; part++) { /* of its way: the snapshot, the logs */
        e->servers[LEADER]->hold_jobs = true;
        newcomer_joins();
        do {
            testserver_do_job(e->servers[LEADER]);
            run(1);
        } while (log_snaps() == (uint64_t)part);
        ck_assert_int_eq(testpeer_expect(q, PACKET_SNAP).zxid, zxid);
        while (part == 1 && !snapshot_ends()) {
            testserver_do_job(e->servers[LEADER]);
            run(1);
        }
        e->unsent = LOTS;
        e->servers[LEADER]->hold_jobs = false;
        for (int i = 0; i < 4; i++) {
            roll();
            write_many(c, 30, LARGE);
            make_snapshot();
            run(100);
        }
        e->unsent = 0;
        if (part == 0)
            skip_snapshot();
        expect_transactions(zxid + 1, last_zxid());
        expect_newleader();
        ck_assert_int_ge(count_logs(), 5);
        /* Now it may go. */
        zxid = make_snapshot();
        run(100);
        ck_assert_int_le(count_logs(), 5);
        roll();
        write_many(c, 60, LARGE);
    }
    ck_assert_uint_eq(log_snaps(), 2);
}
END_TEST

/* The disk counts for more: it begins again. */
START_TEST(what_is_being_sent_goes_when_space_is_short) {
    struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0", "autopurge.purgeInterval", "1", "dataLogDir",
        "/data", "preAllocSize", "16", "diskReserve", "2mb", "snapCount", "1000000"));
    write_many(c, 60, 10);
    zxid_t zxid = make_snapshot();
    roll();
    write_many(c, 30, 10);
    roll();
    write_many(c, 30, LARGE);
    e->servers[LEADER]->hold_jobs = true;
    newcomer_joins();
    do {
        testserver_do_job(e->servers[LEADER]);
        run(1);
    } while (log_snaps() == 0);
    ck_assert_int_eq(testpeer_expect(q, PACKET_SNAP).zxid, zxid);
    e->unsent = LOTS;
    e->servers[LEADER]->hold_jobs = false;
    disk_of_leader()->capacity = simdisk_used(disk_of_leader()) + (7 << 19); /* more than the reserve, not twice as much */
    for (int i = 0; i < 4; i++) {
        roll();
        write_many(c, 20, 10);
        make_snapshot();
        run(3000); /* it looks at the disk now and then */
    }
    ck_assert_int_le(count_logs(), 4);
    ck_assert_int_eq(server_at(LEADER)->state, SERVER_RUNNING);
    disk_of_leader()->capacity = 0;
    e->unsent = 0;
    testpeer_expect_closed(q);
    newcomer_joins();
    ck_assert_int_gt(testpeer_expect(q, PACKET_SNAP).zxid, zxid);
    skip_snapshot();
}
END_TEST

START_TEST(newcomer_goes_while_its_snapshot_is_chosen_or_sent) {
    for (int step = 0; step < 10; step++) {
        struct testclient *c = lead_with_short_window(OPTIONS("snapshotSizeFactor", "0"));
        write_many(c, 60, LARGE);
        make_snapshot();
        write_many(c, 60, LARGE);
        q = peer_of(2);
        e->servers[LEADER]->hold_jobs = true;
        newcomer_joins();
        run(10);
        do_jobs(step / 2);
        ck_assert_uint_eq(log_snaps(), step >= 2);
        end_before_other_jobs(step % 2 == 0);
        teardown();
        q = NULL;
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quorum_log");
    ADD_ENSEMBLE(suite, "log", logs_and_window_are_one_history, where_the_window_begins, several_logs_and_many_pieces,
        observers_get_it_too, epochs_that_meet_in_the_logs, i15_uncommitted_is_not_sent_as_committed,
        log_that_lags_behind_the_window, i12_lost_end_of_an_epoch, i12_epochs_from_before_the_last_start,
        i15_histories_that_part, i15_choices_are_those_of_java, i15_no_trunc_into_a_hole, older_than_the_oldest_log,
        i12_damaged_log, i12_damage_far_behind, logs_go_while_they_are_read, factor, window_runs_away_from_a_learner,
        window_runs_away_from_a_snapshot, learner_goes_while_its_logs_are_read, errors_of_the_disk);
    ADD_ENSEMBLE(suite, "snapshot", snapshot_logs_and_window_are_one_history, snapshot_where_the_window_begins,
        snapshot_at_the_end_of_an_epoch, snapshot_that_is_too_old, snapshot_that_was_made_for_it,
        i15_snapshot_before_what_the_learner_has, i15_snapshot_that_is_there_at_the_next_attempt,
        i15_snapshot_that_a_newcomer_has_waited_for,
        i15_snapshot_for_a_history_that_parts, i12_logs_behind_the_snapshot_lack_something, i12_damage_far_behind_the_snapshot,
        snapshot_that_cannot_be_read, nothing_is_purged_that_is_being_sent,
        what_is_being_sent_goes_when_space_is_short, newcomer_goes_while_its_snapshot_is_chosen_or_sent);
    return run_suite(suite);
}
