/* Members whose disk is full or slow: the ensemble goes on, and they come back by themselves. */
#include "quorum_help.h"

#define RESERVE "131072"

static int elect(void) { return testensemble_elect(e); }

static void put(struct testclient *c, const char *path, int32_t err) {
    testclient_create(c, path, "data", CREATE_PERSISTENT);
    ck_assert_int_eq(testensemble_reply(e, c).err, err);
}

/* Sets 2000 bytes so often; returns how often that was refused. */
static int overwrite_at_once(struct testclient *c, int times) {
    static const char data[2000] = "x";
    int refused = 0;
    for (int i = 0; i < times; i++) {
        put_set(testclient_request(c, OP_SET_DATA), "/over", (struct slice){data, sizeof data}, -1);
        testclient_end(c);
    }
    for (int i = 0; i < times; i++) {
        int32_t err = testensemble_reply(e, c).err;
        ck_assert(err == ZK_OK || err == ZK_QUOTA_EXCEEDED);
        refused += err != ZK_OK;
    }
    return refused;
}

static int overwrite(struct testclient *c, int times) {
    int refused = 0;
    for (int i = 0; i < times; i++)
        refused += overwrite_at_once(c, 1);
    return refused;
}

/* So many znodes of 2000 bytes. */
static void put_large(struct testclient *c, int count) {
    for (int i = 0; i < count; i++) {
        char path[16];
        snprintf(path, sizeof path, "/n%d", i);
        put_create(testclient_request(c, OP_CREATE), path, (struct slice){(const char[2000]){"x"}, 2000}, 0);
        testclient_end(c);
        ck_assert_int_eq(testensemble_reply(e, c).err, ZK_OK);
    }
}

/* Three members with a reserve on one disk each; returns the one that leads. */
static int begin(const char *const *options) {
    e = testensemble_new(3, 0, options);
    int leader = elect();
    struct testclient *c = testensemble_client(e, leader);
    put(c, "/over", ZK_OK);
    run(4000);
    for (int sid = 1; sid <= 3; sid++)
        ck_assert(simdisk_exists(disk_of(sid), DISK_LOG, "zabra.ballast"));
    return leader;
}

static void fill(int sid, int64_t left) { disk_of(sid)->capacity = simdisk_used(disk_of(sid)) + left; }
static void release(int sid) { disk_of(sid)->capacity = 0; }

static int64_t epoch_of(int sid) { return quorum_at(sid)->epochs.current; }

static void expect_all_equal(void) {
    elect();
    run(3000);
    testensemble_expect_equal(e);
}

#define ONE_DISK OPTIONS("dataLogDir", "/data", "preAllocSize", "16", "diskReserve", RESERVE, "snapCount", "1000000")

/* It would refuse what the others can take. */
START_TEST(leader_with_a_full_disk_hands_over) {
    int old = begin(ONE_DISK);
    fill(old, 1000);
    run(1500);
    int leader = elect();
    ck_assert_int_ne(leader, old);
    struct testclient *c = testensemble_client(e, leader);
    put(c, "/grows", ZK_OK);
    run(10000);
    ck_assert_int_eq(testensemble_leader(e), leader);
    release(old);
    expect_all_equal();
    ck_assert_int_eq(testensemble_leader(e), leader);
}
END_TEST

/* Where they cannot do without it, it goes on as a server alone would. */
START_TEST(leader_with_a_full_disk_that_is_needed) {
    int old = begin(ONE_DISK), away = old == 1 ? 2 : 1;
    testensemble_end(e, away, TESTSERVER_KILL);
    fill(old, 1000);
    run(10000);
    ck_assert_int_eq(testensemble_leader(e), old);
    struct testclient *c = testensemble_client(e, old);
    put(c, "/grows", ZK_QUOTA_EXCEEDED);
    testclient_delete(c, "/over");
    ck_assert_int_eq(testensemble_reply(e, c).err, ZK_OK);
    testensemble_start(e, away);
    run(5000);
    ck_assert_int_ne(elect(), old);
    release(old);
    expect_all_equal();
}
END_TEST

/* Each of them tries once, then one stays. */
START_TEST(all_disks_are_full) {
    begin(ONE_DISK);
    for (int sid = 1; sid <= 3; sid++)
        fill(sid, 20000);
    run(30000);
    int leader = elect();
    int64_t epoch = epoch_of(leader);
    ck_assert_int_le(epoch, 5);
    run(25000);
    ck_assert_int_eq(testensemble_leader(e), leader);
    ck_assert_int_eq(epoch_of(leader), epoch);
    struct testclient *c = testensemble_client(e, leader);
    put(c, "/grows", ZK_QUOTA_EXCEEDED);
    testclient_delete(c, "/over");
    ck_assert_int_eq(testensemble_reply(e, c).err, ZK_OK);
    for (int sid = 1; sid <= 3; sid++)
        release(sid);
    run(3000);
    c = testensemble_client(e, elect());
    put(c, "/grows", ZK_OK);
    expect_all_equal();
}
END_TEST

/* Its clients' writes are in the others' logs. */
START_TEST(follower_with_a_full_disk_refuses_nothing) {
    int leader = begin(ONE_DISK), full = leader == 1 ? 2 : 1;
    struct testclient *c = testensemble_client(e, full);
    fill(full, 30000);
    run(1500);
    ck_assert(diskguard_critical(server_at(full)));
    put(c, "/grows", ZK_OK);
    struct testclient *other = testensemble_client(e, leader);
    ck_assert_int_eq(overwrite(other, 200), 0); /* more than there is room for, reserve included */
    run(30000);
    ck_assert_int_eq(server_at(full)->state, SERVER_WAITING);
    ck_assert_int_eq(testensemble_leader(e), leader);
    release(full);
    expect_all_equal();
    ck_assert_int_eq(testensemble_leader(e), leader);
}
END_TEST

/* With retention on, members free a disk that their logs have filled, in whatever role. */
START_TEST(full_disks_of_logs) {
    int leader = begin(OPTIONS("dataLogDir", "/data", "preAllocSize", "16", "diskReserve", RESERVE, "snapCount", "1000000",
                               "autopurge.purgeInterval", "1"));
    struct testclient *c = testensemble_client(e, leader);
    for (int sid = 1; sid <= 3; sid++)
        fill(sid, 400000);
    run(2000);
    for (int round = 0; round < 3; round++) {
        ck_assert_int_le(overwrite(c, 400), 10); /* twice the space there is */
        run(2000);
        for (int sid = 1; sid <= 3; sid++) {
            ck_assert(!server_at(sid)->disk_full);
            ck_assert(!simdisk_exists(disk_of(sid), DISK_LOG, "log.100000001"));
            ck_assert_int_gt(server_at(sid)->good_snapshot, 0);
        }
    }
    ck_assert_int_eq(testensemble_leader(e), leader);
    ck_assert_int_eq(epoch_of(leader), 1);
    for (int sid = 1; sid <= 3; sid++)
        testensemble_end(e, sid, TESTSERVER_POWER_LOSS);
    for (int sid = 1; sid <= 3; sid++)
        testensemble_start(e, sid);
    expect_all_equal();
}
END_TEST

/* It has space again, and the others go on filling it: there is no time to wait for the next regular look. */
START_TEST(full_disk_of_logs_again_at_once) {
    int leader = begin(OPTIONS("dataLogDir", "/data", "preAllocSize", "16", "diskReserve", RESERVE, "snapCount", "1000000",
                               "autopurge.purgeInterval", "1"));
    int full = leader == 1 ? 2 : 1;
    struct testserver *ts = e->servers[full];
    struct testclient *c = testensemble_client(e, leader);
    fill(full, 900000);
    /* A log that may go when there is an emergency. */
    ck_assert_int_eq(overwrite(c, 160), 0);
    ts->server->roll_next = true;
    ck_assert_int_eq(overwrite(c, 1), 0);
    snapshotter_request(ts->server);
    run(2000);
    ck_assert_int_gt(ts->server->good_snapshot, 0);
    /* A large batch shows that the disk will soon be full. The new log that it asks for finds no space with the next one. */
    ts->hold_log = true;
    for (int batch = 0; batch < 2; batch++) {
        ck_assert_int_eq(overwrite_at_once(c, 4), 0);
        ck_assert_int_eq(overwrite_at_once(c, 150), 0);
        ck_assert(testserver_do_log(ts));
        run(1);
    }
    ts->hold_log = false;
    for (int ms = 0; ms < 100 && !ts->server->disk_full; ms++)
        run(1);
    ck_assert(ts->server->disk_full);
    for (int ms = 0; ms < 1000 && ts->server->disk_full; ms++)
        run(1);
    int64_t since = e->now.mono.us;
    for (int i = 0; i < 300; i++) {
        ck_assert_int_eq(overwrite_at_once(c, 4), 0);
        ck_assert_msg(!ts->server->disk_full, "full again after %d ms", (int)(e->now.mono.us - since) / 1000);
    }
    ck_assert_int_eq(ts->server->state, SERVER_RUNNING);
    ck_assert_int_eq(epoch_of(full), 1);
}
END_TEST

/* A leader that refuses what would make the next transaction makes one itself. */
START_TEST(full_disk_of_logs_of_a_leader_alone) {
    int leader = begin(OPTIONS("dataLogDir", "/data", "preAllocSize", "16", "diskReserve", RESERVE, "snapCount", "1000000",
                               "autopurge.purgeInterval", "1"));
    struct testclient *c = testensemble_client(e, leader);
    testensemble_end(e, leader == 1 ? 2 : 1, TESTSERVER_KILL);
    ck_assert_int_eq(overwrite(c, 300), 0);
    fill(leader, 50000);
    run(30000);
    ck_assert(!diskguard_critical(server_at(leader)));
    put(testensemble_client(e, leader), "/grows", ZK_OK);
    ck_assert_int_eq(testensemble_leader(e), leader);
}
END_TEST

/* One whose logs have filled its disk faster than it could free it has no role, and gets none without space. It helps itself all the
 * same, where it stands or after a new start. */
static void stuck_by_logs(bool ends) {
    int leader = begin(OPTIONS("dataLogDir", "/data", "preAllocSize", "16", "diskReserve", RESERVE, "snapCount", "1000000",
                               "autopurge.purgeInterval", "1", "txnLogSizeLimitInKb", "100"));
    int full = leader == 1 ? 2 : 1;
    struct testclient *c = testensemble_client(e, leader);
    fill(full, 400000);
    run(2000);
    e->servers[full]->hold_jobs = true;
    ck_assert_int_eq(overwrite(c, 400), 0);
    ck_assert(server_at(full)->disk_full);
    run(20000);
    ck_assert_int_eq(server_at(full)->state, SERVER_WAITING);
    if (ends)
        testensemble_end(e, full, TESTSERVER_POWER_LOSS);
    e->servers[full]->hold_jobs = false;
    if (ends)
        testensemble_start(e, full);
    run(20000);
    expect_all_equal();
    ck_assert_int_eq(testensemble_leader(e), leader);
    ck_assert(!simdisk_exists(disk_of(full), DISK_LOG, "log.100000001"));
}

START_TEST(member_that_is_stuck_by_its_logs) { stuck_by_logs(false); }
END_TEST

START_TEST(member_that_starts_on_a_disk_full_of_logs) { stuck_by_logs(true); }
END_TEST

/* Commits do without it at once; later another one leads, so that memory does not fill with what the disk does not take. */
START_TEST(leader_with_a_disk_that_stands_still) {
    int old = begin(OPTIONS("dataLogDir", "/data", "diskReserve", RESERVE, "tickTime", "1000", "syncLimit", "5"));
    struct testclient *c = testensemble_client(e, old == 1 ? 2 : 1);
    e->servers[old]->hold_log = true;
    put(c, "/with-two-disks", ZK_OK);
    run(4000);
    ck_assert_int_eq(testensemble_leader(e), old);
    put(c, "/again", ZK_OK);
    run(4000);
    int leader = testensemble_leader(e);
    ck_assert(leader != 0 && leader != old);
    put(testensemble_client(e, leader), "/under-another", ZK_OK);
    run(60000);
    ck_assert_int_eq(testensemble_leader(e), leader);
    e->servers[old]->hold_log = false;
    expect_all_equal();
}
END_TEST

/* S7, E30. While its log waits for space it has published a snapshot of what is committed. It starts from that, with a hole in its
 * log that an epoch's beginning hides; so it must never start from an older one again. */
static void refuse_room_for_a_log(int sid) {
    struct simdisk *disk = disk_of(sid);
    server_at(sid)->roll_next = true;
    simdisk_fail_forever(disk, SIMDISK_BIT(SIMDISK_ALLOCATE), 1, -ENOSPC);
}

static void snapshot_ahead(bool lost) {
    int leader = begin(OPTIONS("dataLogDir", "/data", "preAllocSize", "16", "diskReserve", RESERVE, "snapCount", "1000000",
                               "autopurge.purgeInterval", "1"));
    int full = leader == 1 ? 2 : 1;
    struct testclient *c = testensemble_client(e, leader);
    struct simdisk *disk = disk_of(full);
    char name[STORE_NAME_MAX];
    ck_assert(simdisk_exists(disk, DISK_SNAP, "snapshot.0"));
    refuse_room_for_a_log(full);
    put(c, "/not-in-its-log", ZK_OK);
    put(c, "/nor-this", ZK_OK);
    run(2000);
    ck_assert(server_at(full)->disk_full);
    snapshotter_request(server_at(full));
    run(2000);
    zxid_t ahead = server_at(full)->good_snapshot;
    ck_assert_int_gt(ahead, server_at(full)->logged);
    testensemble_end(e, full, TESTSERVER_POWER_LOSS);
    testensemble_end(e, leader, TESTSERVER_KILL);
    simdisk_clear_faults(disk);
    testensemble_start(e, full);
    leader = elect();
    ck_assert_int_gt(epoch_of(leader), 1);
    put(testensemble_client(e, leader), "/next-epoch", ZK_OK);
    run(1000);
    ck_assert_int_gt(server_at(full)->logged, ahead);
    testensemble_end(e, full, TESTSERVER_KILL);
    store_snapshot_name(name, ahead, SNAPSHOT_PLAIN);
    ck_assert(simdisk_exists(disk, DISK_SNAP, name));
    if (lost)
        disk->disk.unlink(disk->disk.ctx, DISK_SNAP, name);
    else
        simdisk_put(disk, DISK_SNAP, name, "ZKSN", 4);
    e->servers[full]->now = e->now;
    bool started = testserver_start(e->servers[full]);
    ck_assert_msg(!started || tree_find(server_at(full)->tree, SLICE_LIT("/nor-this")) != NULL,
                  "it believes that it has all up to 0x%llx", (unsigned long long)server_at(full)->last_applied);
    ck_assert(!started);
}

START_TEST(snapshot_ahead_of_the_log_is_damaged) { snapshot_ahead(false); }
END_TEST

START_TEST(snapshot_ahead_of_the_log_is_lost) { snapshot_ahead(true); }
END_TEST

START_TEST(configuration_without_space) {
    e = testensemble_new(3, 0, OPTIONS("reconfigEnabled", "true"));
    struct simdisk *disk = disk_of(1);
    for (int ms = 0; ms < 20000 && epoch_file(1, EPOCH_CURRENT) != 1; ms++)
        run(1);
    simdisk_fail_forever(disk, SIMDISK_BIT(SIMDISK_WRITE), 1, -ENOSPC);
    elect();
    run(5000);
    ck_assert_int_eq(server_at(1)->state, SERVER_RUNNING);
    ck_assert(!simdisk_exists(disk, DISK_SNAP, "zabra.members"));
    simdisk_clear_faults(disk);
    run(2000);
    ck_assert(simdisk_exists(disk, DISK_SNAP, "zabra.members"));
    testensemble_expect_equal(e);
}
END_TEST

/* The leader's snapshot has no room: it is asked for again, but not all the time. */
START_TEST(snapshot_that_does_not_fit) {
    int leader = begin(ONE_DISK), wiped = leader == 1 ? 2 : 1;
    struct testclient *c = testensemble_client(e, leader);
    testensemble_end(e, wiped, TESTSERVER_KILL);
    testensemble_wipe(e, wiped);
    ck_assert_int_eq(overwrite(c, 50), 0);
    put_large(c, 100);
    testensemble_start(e, wiped);
    fill(wiped, 100000);
    run(30000);
    ck_assert_int_eq(server_at(wiped)->state, SERVER_WAITING);
    uint64_t sent = server_at(leader)->metrics.counters[METRIC_SNAP_COUNT];
    ck_assert_int_gt((int)sent, 1);
    ck_assert_int_lt((int)sent, 10);
    release(wiped);
    run(6000);
    expect_all_equal();
}
END_TEST

int main(void) {
    Suite *suite = suite_create("quorum_disk");
    ADD_ENSEMBLE(suite, "full", leader_with_a_full_disk_hands_over, leader_with_a_full_disk_that_is_needed, all_disks_are_full,
                 follower_with_a_full_disk_refuses_nothing, full_disks_of_logs, full_disk_of_logs_again_at_once,
                 full_disk_of_logs_of_a_leader_alone, member_that_is_stuck_by_its_logs, member_that_starts_on_a_disk_full_of_logs,
                 snapshot_ahead_of_the_log_is_damaged, snapshot_ahead_of_the_log_is_lost, configuration_without_space,
                 snapshot_that_does_not_fit);
    ADD_ENSEMBLE(suite, "slow", leader_with_a_disk_that_stands_still);
    return run_suite(suite);
}
