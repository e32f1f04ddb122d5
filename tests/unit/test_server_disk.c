/* The server and its disk: what is acknowledged is there after any end, logs and snapshots tell the same tree, a disk that
 * is full or fails. */
#include <errno.h>

#include "server_help.h"

/* ------------------------------------------------------------------ a random workload, all kinds of operations */

#define CLIENTS 4

struct load {
    struct testserver *ts;
    struct rng rng;
    struct testclient *clients[CLIENTS];
    uint64_t replies, failures;
    zxid_t answered; /* the newest zxid of a reply */
};

static void load_connect(struct load *l, int i) {
    if (l->clients[i] != NULL)
        testclient_free(l->clients[i]);
    l->clients[i] = testclient_new(l->ts, NULL);
    testclient_send_connect(l->clients[i], 4000 + 8000 * i);
    l->ts->hold_log = false;
    testserver_run(l->ts);
    testclient_take_connect(l->clients[i]);
    ck_assert(l->clients[i]->connected);
}

static void load_init(struct load *l, struct testserver *ts, uint64_t seed) {
    *l = (struct load){.ts = ts, .rng = {seed}};
    for (int i = 0; i < CLIENTS; i++)
        load_connect(l, i);
}

static const char *random_path(struct load *l, char out[64]) {
    unsigned a = (unsigned)rng_below(&l->rng, 8), b = (unsigned)rng_below(&l->rng, 6), d = (unsigned)rng_below(&l->rng, 3);
    switch (rng_below(&l->rng, 4)) {
    case 0:
        snprintf(out, 64, "/n%u", a);
        break;
    case 3:
        snprintf(out, 64, "/n%u/m%u/l%u", a, b, d);
        break;
    default:
        snprintf(out, 64, "/n%u/m%u", a, b);
    }
    return out;
}

static struct slice random_data(struct load *l) {
    static const char text[300] = "some data, some of which is zeros";
    return rng_below(&l->rng, 8) == 0 ? SLICE_NULL : (struct slice){text, rng_below(&l->rng, sizeof text)};
}

static int32_t random_version(struct load *l) { return rng_below(&l->rng, 4) == 0 ? (int32_t)rng_below(&l->rng, 4) : -1; }

static void put_random_acl(struct load *l, struct buf *b) {
    if (rng_below(&l->rng, 2) == 0) {
        put_open_acl(b);
        return;
    }
    char id[16];
    snprintf(id, sizeof id, "10.0.0.%u", (unsigned)rng_below(&l->rng, 20));
    jute_put_int(b, 2);
    acl_entry_put(b, &(struct acl_entry){.perms = PERM_ALL, .scheme = SLICE_LIT("world"), .id = SLICE_LIT("anyone")});
    acl_entry_put(b, &(struct acl_entry){.perms = PERM_READ, .scheme = SLICE_LIT("ip"), .id = slice_of(id)});
}

static void put_random_create(struct load *l, struct buf *b, int32_t op) {
    char path[64];
    static const int32_t flags[] = {CREATE_PERSISTENT, CREATE_PERSISTENT, CREATE_EPHEMERAL, CREATE_PERSISTENT_SEQUENTIAL,
                                    CREATE_EPHEMERAL_SEQUENTIAL};
    jute_put_bytes(b, slice_of(random_path(l, path)));
    jute_put_bytes(b, random_data(l));
    put_random_acl(l, b);
    if (op == OP_CREATE_TTL) {
        jute_put_int(b, CREATE_PERSISTENT_TTL);
        jute_put_long(b, 1000 + (int64_t)rng_below(&l->rng, 5000));
    } else {
        jute_put_int(b, op == OP_CREATE_CONTAINER ? CREATE_CONTAINER : flags[rng_below(&l->rng, ARRAY_LEN(flags))]);
    }
}

static int32_t put_random_op(struct load *l, struct buf *b, int32_t op) {
    char path[64];
    random_path(l, path);
    switch (op) {
    case OP_DELETE:
    case OP_CHECK:
        put_path_version(b, path, random_version(l));
        break;
    case OP_SET_DATA:
        put_set(b, path, random_data(l), random_version(l));
        break;
    case OP_SET_ACL:
        jute_put_bytes(b, slice_of(path));
        put_random_acl(l, b);
        jute_put_int(b, random_version(l));
        break;
    default:
        put_random_create(l, b, op);
    }
    return op;
}

static const int32_t multi_ops[] = {OP_CREATE, OP_CREATE2, OP_DELETE, OP_SET_DATA, OP_CHECK, OP_CREATE_TTL, OP_CREATE_CONTAINER};

static void send_random_multi(struct load *l, struct testclient *c) {
    struct buf *b = testclient_request(c, OP_MULTI);
    for (uint64_t n = rng_below(&l->rng, 5); n > 0; n--) {
        int32_t op = multi_ops[rng_below(&l->rng, ARRAY_LEN(multi_ops))];
        multi_op(b, op);
        put_random_op(l, b, op);
    }
    multi_end(c, b);
}

static void send_random(struct load *l) {
    static const int32_t ops[] = {OP_CREATE,  OP_CREATE,   OP_CREATE,   OP_CREATE2,   OP_CREATE_CONTAINER, OP_CREATE_TTL,
                                  OP_DELETE,  OP_DELETE,   OP_SET_DATA, OP_SET_DATA,  OP_SET_ACL,          OP_MULTI,
                                  OP_MULTI,   OP_MULTI,    OP_EXISTS};
    int i = (int)rng_below(&l->rng, CLIENTS);
    if (l->clients[i]->conn == NULL)
        load_connect(l, i);
    struct testclient *c = l->clients[i];
    if (rng_below(&l->rng, 30) == 0) {
        testclient_close_session(c);
        return;
    }
    int32_t op = ops[rng_below(&l->rng, ARRAY_LEN(ops))];
    if (op == OP_MULTI) {
        send_random_multi(l, c);
        return;
    }
    if (op == OP_EXISTS) {
        char path[64];
        testclient_exists(c, random_path(l, path), true);
        return;
    }
    put_random_op(l, testclient_request(c, op), op);
    testclient_end(c);
}

static void take_replies(struct load *l) {
    struct testframe f;
    for (int i = 0; i < CLIENTS; i++)
        while (testclient_next(l->clients[i], &f)) {
            if (f.is_event)
                continue;
            l->replies++;
            l->failures += f.err != ZK_OK;
            l->answered = i64_max(l->answered, f.zxid);
        }
}

/* Turns and operations mixed; the log and the jobs stall at times. */
static void load_run(struct load *l, int operations) {
    for (int i = 0; i < operations; i++) {
        send_random(l);
        if (rng_below(&l->rng, 6) == 0)
            l->ts->hold_log = rng_below(&l->rng, 3) == 0;
        if (rng_below(&l->rng, 6) == 0)
            l->ts->hold_jobs = rng_below(&l->rng, 2) == 0;
        if (rng_below(&l->rng, 3) == 0)
            testserver_turn(l->ts);
        if (rng_below(&l->rng, 50) == 0)
            testserver_advance(l->ts, (int64_t)rng_below(&l->rng, 1500));
        take_replies(l);
    }
}

static void load_settle(struct load *l) {
    l->ts->hold_log = l->ts->hold_jobs = false;
    testserver_run(l->ts);
    take_replies(l);
}

static struct testserver *load_server(const char *compression, const char *snap_count) {
    struct testserver *ts =
        testserver_new(OPTIONS("extendedTypesEnabled", "true", "znode.container.checkIntervalMs", "1000", "tickTime", "1000",
                               "preAllocSize", "64", "snapshot.compression.method", compression, "snapCount", snap_count));
    ck_assert(ts->config.extended_types_enabled);
    return ts;
}

/* ------------------------------------------------------------------ digests and restarts */

START_TEST(digests_of_a_random_workload) {
    struct testserver *ts = load_server("", "100000");
    struct load l;
    load_init(&l, ts, 100 + (uint64_t)_i);
    for (int round = 0; round < 10; round++) {
        load_run(&l, 300);
        load_settle(&l);
        expect_digests_right(ts);
        tree_sum_of(ts->server);
    }
    ck_assert_uint_gt(l.replies, 2000);
    ck_assert_uint_gt(l.replies - l.failures, 500);
    expect_log_makes_tree(ts);
    testserver_free(ts);
}
END_TEST

START_TEST(restart_gives_the_same_tree) {
    struct testserver *ts = load_server("", "400");
    struct load l;
    load_init(&l, ts, 200 + (uint64_t)_i);
    for (int round = 0; round < 9; round++) {
        load_run(&l, 200);
        load_settle(&l);
        struct tree_sum before = tree_sum_of(ts->server);
        zxid_t zxid = ts->server->last_applied;
        testserver_restart(ts, (enum testserver_end)(round % 3));
        ck_assert_int_eq(ts->server->last_applied, zxid);
        expect_same_tree(before, tree_sum_of(ts->server));
        expect_digests_right(ts);
        for (int i = 0; i < CLIENTS; i++)
            if (!testclient_reconnect(l.clients[i]))
                load_connect(&l, i);
    }
    expect_log_makes_tree(ts);
    testserver_free(ts);
}
END_TEST

/* In the middle of everything: what was answered is there, and the tree is what some prefix of the log makes. */
START_TEST(sudden_ends_lose_nothing_acknowledged) {
    struct testserver *ts = load_server(_i % 2 == 0 ? "" : "gz", "300");
    struct load l;
    load_init(&l, ts, 300 + (uint64_t)_i);
    for (int round = 0; round < 12; round++) {
        load_run(&l, 150 + round);
        take_replies(&l);
        testserver_restart(ts, round % 2 == 0 ? TESTSERVER_POWER_LOSS : TESTSERVER_KILL);
        ts->hold_log = ts->hold_jobs = false;
        testserver_run(ts);
        ck_assert_int_ge(ts->server->last_applied, l.answered);
        expect_digests_right(ts);
        expect_log_makes_tree(ts);
        for (int i = 0; i < CLIENTS; i++)
            if (!testclient_reconnect(l.clients[i]))
                load_connect(&l, i);
    }
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ snapshots */

struct replay_until {
    struct server *server;
    zxid_t last;
};

static void replay_until(void *ctx, struct slice payload) {
    struct replay_until *r = ctx;
    if (txnlog_payload_zxid(payload) <= r->last)
        ck_assert(apply_payload(r->server, payload, NULL));
}

/* A server that has loaded this snapshot file and nothing else. */
static struct tree_sum load_alone(struct testserver *ts, const char *name, zxid_t zxid) {
    struct simdisk disk;
    struct recovery_result result;
    size_t size;
    void *data = simdisk_get(&ts->disk, DISK_SNAP, name, &size);
    simdisk_init(&disk, 1);
    simdisk_put(&disk, DISK_SNAP, name, data, size);
    struct env env = {.disk = &disk.disk};
    struct server *s = server_new(&ts->config, &env, 5, ts->now);
    server_recover(s, &result, ts->now);
    ck_assert_msg(result.status == RECOVERY_OK, "%s", result.message);
    ck_assert_int_eq(result.snapshot_zxid, zxid);
    ck_assert_int_eq(s->last_applied, zxid);
    struct tree_sum sum = tree_sum_of(s);
    server_free(s);
    simdisk_close(&disk);
    mem_free(data);
    return sum;
}

static struct tree_sum tree_at(struct testserver *ts, zxid_t zxid) {
    struct env env = {.disk = &ts->disk.disk};
    struct replay_until r = {.server = server_new(&ts->config, &env, 7, ts->now), .last = zxid};
    r.server->replaying = true;
    each_logged(&ts->disk.disk, replay_until, &r);
    struct tree_sum sum = tree_sum_of(r.server);
    server_free(r.server);
    return sum;
}

static int expect_snapshots_right(struct testserver *ts) {
    int count = 0;
    const char *name;
    for (int i = 0; (name = simdisk_nth(&ts->disk, DISK_SNAP, i)) != NULL; i++) {
        zxid_t zxid = store_name_zxid(name, "snapshot");
        if (zxid < 0)
            continue;
        expect_same_tree(load_alone(ts, name, zxid), tree_at(ts, zxid));
        count++;
    }
    return count;
}

START_TEST(snapshots_under_changes) {
    static const char *const methods[] = {"", "gz", "snappy"};
    struct testserver *ts = load_server(methods[_i % 3], "150");
    struct load l;
    load_init(&l, ts, 400 + (uint64_t)_i);
    /* Enough znodes for a walk of several slices. */
    char path[64];
    make(l.clients[3], "/many", "");
    for (int i = 0; i < 2000; i++) {
        snprintf(path, sizeof path, "/many/%d", i);
        testclient_create(l.clients[3], path, path, i % 3 == 0 ? CREATE_EPHEMERAL : CREATE_PERSISTENT);
    }
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 60; i++) {
            snprintf(path, sizeof path, "/many/%u", (unsigned)rng_below(&l.rng, 2000));
            if (i % 2 == 0)
                testclient_delete(l.clients[2], path);
            else
                testclient_set_data(l.clients[2], path, "changed");
            snprintf(path, sizeof path, "/many/new-%d-%d", round, i);
            testclient_create(l.clients[2], path, "", CREATE_PERSISTENT);
        }
        load_run(&l, 200);
    }
    load_settle(&l);
    ck_assert_int_ge(expect_snapshots_right(ts), 3);
    testserver_free(ts);
}
END_TEST

static struct buf stream_of(struct testserver *ts, const char *name, size_t piece) {
    struct buf out = BUF_INIT;
    int err = 0;
    ssize_t n;
    struct snapstream *stream = snapstream_open(&ts->disk.disk, name, &err);
    ck_assert_ptr_nonnull(stream);
    while ((n = snapstream_read(stream, buf_tail(&out, piece), piece)) > 0)
        out.len += (size_t)n;
    ck_assert_int_eq(n, 0);
    snapstream_close(stream);
    return out;
}

/* The newest snapshot of the same workload under each method, as for a link to another server. */
static struct buf newest_snapshot(const char *method, const char *suffix, zxid_t *zxid) {
    struct testserver *ts = load_server(method, "100000");
    struct load l;
    load_init(&l, ts, 500);
    for (int i = 0; i < 1000; i++) {
        send_random(&l);
        testserver_run(ts);
        take_replies(&l);
    }
    snapshotter_request(ts->server);
    testserver_run(ts);
    *zxid = ts->server->last_applied;
    char name[STORE_NAME_MAX];
    store_snapshot_name(name, *zxid, store_snapshot_method(suffix));
    ck_assert(simdisk_exists(&ts->disk, DISK_SNAP, name));
    struct buf whole = stream_of(ts, name, 1 << 20), pieces = stream_of(ts, name, 777);
    ck_assert_uint_eq(whole.len, pieces.len);
    ck_assert_mem_eq(whole.data, pieces.data, whole.len);
    if (suffix[8] == '\0') {
        size_t size;
        void *file = simdisk_get(&ts->disk, DISK_SNAP, name, &size);
        ck_assert_uint_eq(size, whole.len);
        ck_assert_mem_eq(file, whole.data, size);
        mem_free(file);
    }
    buf_free(&pieces);
    testserver_free(ts);
    return whole;
}

START_TEST(snapshots_can_be_streamed) {
    zxid_t zxid[3];
    struct buf plain = newest_snapshot("", "snapshot", &zxid[0]);
    struct buf gzip = newest_snapshot("gz", "snapshot.0.gz", &zxid[1]);
    struct buf snappy = newest_snapshot("snappy", "snapshot.0.snappy", &zxid[2]);
    ck_assert_int_eq(zxid[0], zxid[1]);
    ck_assert_int_eq(zxid[0], zxid[2]);
    ck_assert_uint_gt(plain.len, 1000);
    ck_assert_uint_eq(plain.len, gzip.len);
    ck_assert_uint_eq(plain.len, snappy.len);
    ck_assert_mem_eq(plain.data, gzip.data, plain.len);
    ck_assert_mem_eq(plain.data, snappy.data, plain.len);
    buf_free(&plain);
    buf_free(&gzip);
    buf_free(&snappy);
}
END_TEST

/* ------------------------------------------------------------------ a full disk */

static void send_large_creates(struct testclient *c, int first, int count) {
    static const char data[10000] = "x";
    char path[32];
    for (int i = first; i < first + count; i++) {
        snprintf(path, sizeof path, "/big%d", i);
        put_create(testclient_request(c, OP_CREATE), path, (struct slice){data, sizeof data}, CREATE_PERSISTENT);
        testclient_end(c);
    }
}

static void expect_served_but_not_growing(struct testclient *c) {
    testclient_exists(c, "/", false);
    expect_result(c, ZK_OK);
    testclient_ping(c);
    expect_reply(c, XID_PING, ZK_OK);
    testclient_create(c, "/more", "", CREATE_PERSISTENT);
    expect_result(c, ZK_QUOTA_EXCEEDED);
}

/* Takes replies to the creates 0 ... 39, which may have been refused; returns how many were served. */
static int take_served(struct testclient *c, bool served[40]) {
    struct testframe f;
    int count = 0;
    testserver_run(c->ts);
    while (testclient_next(c, &f)) {
        ck_assert(f.err == ZK_OK || f.err == ZK_QUOTA_EXCEEDED);
        served[f.xid - 1] = f.err == ZK_OK;
        count += f.err == ZK_OK;
    }
    return count;
}

static void expect_large_ones(struct testserver *ts, const bool served[40]) {
    char path[32];
    for (int i = 0; i < 40; i++) {
        snprintf(path, sizeof path, "/big%d", i);
        ck_assert_msg(!served[i] || node_at(ts, path) != NULL, "%s is lost", path);
    }
}

/* Without a reserve nothing can be written until there is space again. */
START_TEST(full_disk_without_reserve) {
    struct testserver *ts = testserver_new(OPTIONS("preAllocSize", "64", "diskReserve", "0"));
    struct testclient *c = testclient_connect(ts, 60000), *other = testclient_connect(ts, 60000);
    ts->disk.capacity = simdisk_used(&ts->disk) + 250000;
    /* Separate batches, so that some of them still fit. */
    for (int i = 0; i < 40; i++) {
        send_large_creates(c, i, 1);
        testserver_turn(ts);
    }
    bool served[40] = {false};
    int answered = take_served(c, served);
    ck_assert_int_gt(answered, 5);
    ck_assert_int_lt(answered, 40);
    ck_assert(ts->server->disk_full);
    expect_served_but_not_growing(other);
    testserver_advance(ts, 3000);
    ck_assert_int_eq(take_served(c, served), 0);
    expect_served_but_not_growing(other);
    ts->disk.capacity = 0;
    testserver_advance(ts, 3000);
    ck_assert_int_ge(take_served(c, served), 1);
    ck_assert(list_empty(&c->conn->requests));
    ck_assert(!ts->server->disk_full);
    make(other, "/grows", "");
    expect_digests_right(ts);
    testserver_restart(ts, TESTSERVER_POWER_LOSS);
    expect_large_ones(ts, served);
    expect_log_makes_tree(ts);
    testserver_free(ts);
}
END_TEST

START_TEST(full_disk_and_an_end) {
    struct testserver *ts = testserver_new(OPTIONS("preAllocSize", "64", "diskReserve", "0"));
    struct testclient *c = testclient_connect(ts, 60000);
    ts->disk.capacity = simdisk_used(&ts->disk) + 150000 + 777 * _i;
    for (int i = 0; i < 40; i++) {
        send_large_creates(c, i, 1);
        testserver_turn(ts);
    }
    bool served[40] = {false};
    ck_assert_int_lt(take_served(c, served), 40);
    testserver_end(ts, (enum testserver_end)(_i % 3));
    ts->disk.capacity = 0;
    ck_assert(testserver_start(ts));
    expect_large_ones(ts, served);
    expect_log_makes_tree(ts);
    c = testclient_connect(ts, 10000);
    make(c, "/grows", "");
    testserver_free(ts);
}
END_TEST

/* The reserve is given up for what was accepted already; deletes go on, growing writes come back with the space. */
START_TEST(full_disk_with_reserve) {
    struct testserver *ts = testserver_new(OPTIONS("preAllocSize", "64", "diskReserve", "1048576"));
    struct testclient *c = testclient_connect(ts, 60000), *other = testclient_connect(ts, 60000);
    testserver_advance(ts, 3000);
    ck_assert(simdisk_exists(&ts->disk, DISK_LOG, "zabra.ballast"));
    make(other, "/old", "");
    ts->disk.capacity = simdisk_used(&ts->disk) + 100000;
    send_large_creates(c, 0, 30);
    testserver_run(ts);
    ck_assert(ts->server->disk_full);
    expect_served_but_not_growing(other);
    testserver_advance(ts, 1500);
    ck_assert(!simdisk_exists(&ts->disk, DISK_LOG, "zabra.ballast"));
    bool served[40] = {false};
    ck_assert_int_eq(take_served(c, served), 30);
    expect_served_but_not_growing(other);
    testclient_delete(other, "/old");
    expect_result(other, ZK_OK);
    struct testclient *third = testclient_connect(ts, 10000);
    testclient_close_session(third);
    expect_result(third, ZK_OK);
    ts->disk.capacity = 0;
    testserver_advance(ts, 3000);
    make(other, "/grows", "");
    testserver_advance(ts, 3000);
    ck_assert(simdisk_exists(&ts->disk, DISK_LOG, "zabra.ballast"));
    testserver_restart(ts, TESTSERVER_KILL);
    expect_large_ones(ts, served);
    testserver_free(ts);
}
END_TEST

/* Overwrites a node so often; returns how often it was served. */
static int overwrite(struct testclient *c, int times) {
    static const char data[2000] = "x";
    int served = 0;
    for (int i = 0; i < times; i++) {
        struct testframe f;
        put_set(testclient_request(c, OP_SET_DATA), "/over", (struct slice){data, sizeof data}, -1);
        testclient_end(c);
        testserver_run(c->ts);
        while (testclient_next(c, &f)) {
            ck_assert(f.err == ZK_OK || f.err == ZK_QUOTA_EXCEEDED);
            served += f.err == ZK_OK;
        }
    }
    return served;
}

/* A server that frees its disk of its own logs, and has its reserve. */
static struct testserver *with_retention(struct testclient **c) {
    struct testserver *ts = testserver_new(OPTIONS("preAllocSize", "16", "diskReserve", "131072", "snapCount", "1000000",
                                                   "autopurge.purgeInterval", "1"));
    *c = testclient_connect(ts, 600000);
    make(*c, "/over", "");
    testserver_advance(ts, 2000);
    return ts;
}

/* A disk that the log has filled is freed by a new log and a snapshot, again and again. */
START_TEST(full_disk_of_logs) {
    struct testclient *c;
    struct testserver *ts = with_retention(&c);
    ts->disk.capacity = simdisk_used(&ts->disk) + 400000;
    testserver_advance(ts, 2000);
    for (int round = 0; round < 3; round++) {
        ck_assert_int_gt(overwrite(c, 400), 390); /* twice the space there is */
        ck_assert(!ts->server->disk_full);
        ck_assert(!simdisk_exists(&ts->disk, DISK_LOG, "log.1"));
        ck_assert_int_gt(ts->server->good_snapshot, 0);
        make(c, round == 0 ? "/a" : round == 1 ? "/b" : "/c", "");
    }
    zxid_t last = ts->server->last_applied;
    testserver_restart(ts, TESTSERVER_POWER_LOSS);
    ck_assert_int_eq(ts->server->last_applied, last);
    ck_assert_ptr_nonnull(node_at(ts, "/c"));
    expect_digests_right(ts);
    testserver_free(ts);
}
END_TEST

/* The snapshot that was to free the disk found no space: it is tried again as soon as there may be some. */
START_TEST(full_disk_of_logs_and_a_snapshot_given_up) {
    struct testclient *c;
    struct testserver *ts = with_retention(&c);
    ts->disk.capacity = simdisk_used(&ts->disk) + 400000;
    testserver_advance(ts, 2000);
    zxid_t log = ts->server->log_first;
    while (ts->server->log_first == log) {
        put_set(testclient_request(c, OP_SET_DATA), "/over", (struct slice){(const char[2000]){0}, 2000}, -1);
        testclient_end(c);
        while (testserver_turn(ts) && ts->server->log_first == log)
            ;
    }
    simdisk_fail_forever(&ts->disk, SIMDISK_BIT(SIMDISK_OPEN), 1, -ENOSPC);
    testserver_run(ts);
    ck_assert_int_eq(ts->server->good_snapshot, 0);
    simdisk_clear_faults(&ts->disk);
    testserver_advance(ts, 3000);
    ck_assert_int_gt(ts->server->good_snapshot, 0);
    ck_assert(!simdisk_exists(&ts->disk, DISK_LOG, "log.1"));
    testserver_free(ts);
}
END_TEST

#define ONE_DIRECTORY                                                                                                  \
    OPTIONS("dataLogDir", "/data", "preAllocSize", "16", "diskReserve", "131072", "snapCount", "1000000",              \
            "autopurge.purgeInterval", "1")

/* A server whose tree needs more room than the reserve, and whose log so much that a snapshot pays. Jobs are held. */
static struct testserver *with_much_log(void) {
    struct testserver *ts = testserver_new(ONE_DIRECTORY);
    struct testclient *c = testclient_connect(ts, 600000);
    send_large_creates(testclient_connect(ts, 600000), 0, 100);
    make(c, "/over", "");
    ck_assert_int_eq(overwrite(c, 800), 800);
    testserver_advance(ts, 2000);
    ck_assert(!diskguard_critical(ts->server));
    ts->hold_jobs = true;
    return ts;
}

static void begin_snapshot(struct testserver *ts) {
    snapshotter_request(ts->server);
    testserver_turn(ts);
}

/* Almost room for a snapshot and the reserve. */
static void leave_too_little(struct testserver *ts) {
    ts->disk.capacity = simdisk_used(&ts->disk) + 131072 + snapshotter_size_needed(ts->server) - 20000;
}

/* A second after the last one, so that there is a look at the disk between any two. */
static void do_a_job(struct testserver *ts) {
    ts->now.mono = mono_add_ms(ts->now.mono, 1000);
    testserver_turn(ts);
    testserver_do_job(ts);
    testserver_turn(ts);
}

static void expect_refusal_to_the_end(struct testserver *ts) {
    int jobs = 0;
    for (; snapshotter_busy(ts->server); jobs++) {
        do_a_job(ts);
        ck_assert_msg(jobs == 0 || diskguard_critical(ts->server) || ts->server->good_snapshot > 0, "served after %d jobs", jobs);
    }
    ck_assert_int_ge(jobs, 2);
}

/* What waits for a job to write it still needs its space. */
START_TEST(room_for_what_is_left_of_a_snapshot) {
    struct testserver *ts = with_much_log();
    begin_snapshot(ts);
    do_a_job(ts); /* there is a file */
    leave_too_little(ts);
    expect_refusal_to_the_end(ts);
    ts->hold_jobs = false;
    testserver_advance(ts, 1000);
    ck_assert_int_gt(ts->server->good_snapshot, 0);
    testserver_free(ts);
}
END_TEST

/* The next one needs it while the one that was given up goes away. */
START_TEST(room_for_the_next_snapshot) {
    struct testserver *ts = with_much_log();
    begin_snapshot(ts);
    leave_too_little(ts);
    expect_refusal_to_the_end(ts);
    ck_assert_int_eq(ts->server->good_snapshot, 0);
    testserver_free(ts);
}
END_TEST

/* Tree and log grow while it is written: it will not be the one that frees the disk. */
START_TEST(room_for_the_snapshot_behind_one) {
    struct testserver *ts = testserver_new(ONE_DIRECTORY);
    struct testclient *c = testclient_connect(ts, 600000);
    make(c, "/over", "");
    ts->disk.capacity = simdisk_used(&ts->disk) + 3000000;
    testserver_advance(ts, 2000);
    ts->hold_jobs = true;
    begin_snapshot(ts);
    send_large_creates(testclient_connect(ts, 600000), 0, 50);
    ck_assert_int_lt(overwrite(c, 2000), 2000);
    ck_assert(diskguard_critical(ts->server));
    ts->hold_jobs = false;
    for (int i = 0; i < 10; i++) {
        testserver_advance(ts, 3000);
        ck_assert(!diskguard_critical(ts->server));
        ck_assert_int_gt(overwrite(c, 400), 100);
    }
    testserver_free(ts);
}
END_TEST

/* The room that is left when an empty log is to be made: whatever it is, nothing is lost and nothing stops. */
START_TEST(full_disk_of_logs_at_any_size) {
    for (int64_t room = 0; room < 120000; room += 7000) {
        struct testclient *c;
        struct testserver *ts = with_retention(&c);
        struct testclient *other = testclient_connect(ts, 600000);
        overwrite(c, 100);
        ts->disk.capacity = simdisk_used(&ts->disk) + room;
        overwrite(c, 100);
        testserver_advance(ts, 5000);
        ck_assert_int_eq(ts->server->state, SERVER_RUNNING);
        testclient_exists(other, "/over", false);
        expect_result(other, ZK_OK);
        zxid_t last = ts->server->last_applied;
        testserver_restart(ts, TESTSERVER_POWER_LOSS);
        ck_assert_int_ge(ts->server->last_applied, last);
        expect_digests_right(ts);
        testserver_free(ts);
    }
}
END_TEST

/* ------------------------------------------------------------------ a broken disk */

static void fail_from_now(struct testserver *ts, enum simdisk_op op, uint64_t nth) {
    simdisk_fail(&ts->disk, SIMDISK_BIT(op), nth, -EIO);
}

START_TEST(disk_error_fails_the_server) {
    static const enum simdisk_op ops[] = {SIMDISK_WRITE, SIMDISK_SYNC};
    struct testserver *ts = testserver_new(NULL);
    struct testclient *c = testclient_connect(ts, 10000), *other = testclient_connect(ts, 10000);
    make(c, "/a", "safe");
    fail_from_now(ts, ops[_i], 1);
    testclient_create(c, "/lost", "", CREATE_PERSISTENT);
    testclient_exists(c, "/lost", false);
    testclient_exists(other, "/lost", true);
    testserver_run(ts);
    ck_assert_int_eq(ts->server->state, SERVER_FAILED);
    ck_assert(ts->server->failure[0] != '\0');
    expect_silence(c);
    ck_assert_ptr_null(c->conn);
    ck_assert_ptr_null(other->conn);
    ck_assert(server_idle(ts->server));
    testserver_restart(ts, TESTSERVER_STOP);
    ck_assert(slice_is(znode_data(node_at(ts, "/a")), "safe"));
    expect_digests_right(ts);
    testserver_free(ts);
}
END_TEST

/* Like load_connect, but the disk may fail meanwhile. */
static void try_to_connect(struct load *l) {
    for (int i = 0; i < CLIENTS; i++) {
        if (l->clients[i]->conn != NULL)
            continue;
        testclient_free(l->clients[i]);
        l->clients[i] = testclient_new(l->ts, NULL);
        testclient_send_connect(l->clients[i], 10000);
        testserver_run(l->ts);
        testclient_take_connect(l->clients[i]);
    }
}

static void run_into_fault(struct load *l) {
    for (int i = 0; i < 400; i++) {
        try_to_connect(l);
        if (l->ts->server->state != SERVER_RUNNING)
            return;
        send_random(l);
        testserver_turn(l->ts);
        take_replies(l);
    }
}

/* At every call: the server goes on, or fails and comes back with everything that it has acknowledged. */
START_TEST(disk_error_at_any_call) {
    for (uint64_t nth = 1; nth < 60; nth++) {
        struct testserver *ts = load_server("", "120");
        struct load l;
        load_init(&l, ts, 600 + nth);
        simdisk_fail(&ts->disk, SIMDISK_CHANGES, nth * 3, _i == 0 ? -EIO : -ENOSPC);
        run_into_fault(&l);
        testserver_restart(ts, nth % 2 == 0 ? TESTSERVER_POWER_LOSS : TESTSERVER_KILL);
        ck_assert_int_ge(ts->server->last_applied, l.answered);
        expect_digests_right(ts);
        testserver_free(ts);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("server_disk");
    TCase *tc = tcase_create("random");
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, digests_of_a_random_workload, 0, 5);
    tcase_add_loop_test(tc, restart_gives_the_same_tree, 0, 4);
    tcase_add_loop_test(tc, sudden_ends_lose_nothing_acknowledged, 0, 6);
    tcase_add_loop_test(tc, snapshots_under_changes, 0, 6);
    tcase_add_loop_test(tc, full_disk_and_an_end, 0, 12);
    tcase_add_loop_test(tc, disk_error_fails_the_server, 0, 2);
    tcase_add_loop_test(tc, disk_error_at_any_call, 0, 2);
    suite_add_tcase(suite, tc);
    ADD(suite, "disk", snapshots_can_be_streamed, full_disk_without_reserve, full_disk_with_reserve,
        full_disk_of_logs, full_disk_of_logs_and_a_snapshot_given_up, full_disk_of_logs_at_any_size,
        room_for_what_is_left_of_a_snapshot, room_for_the_next_snapshot, room_for_the_snapshot_behind_one);
    return run_suite(suite);
}
