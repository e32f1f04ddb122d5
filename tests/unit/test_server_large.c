/* Large things in slices: thousands of sessions that expire together, long lists of children while they change, one event
 * for very many. */
#include <time.h>

#include "server_help.h"

/* Of the processor, so that others on the machine do not count. */
static int64_t clock_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* What only a person can judge on a machine that is busy with other things; nothing depends on it. */
static void tell(const char *what, int64_t number) {
    if (getenv("TEST_TIMES") != NULL)
        fprintf(stderr, "%s: %lld\n", what, (long long)number);
}

static struct testclient **connect_many(struct testserver *ts, size_t count, const char *ip, int32_t timeout_ms) {
    struct testclient **c = mem_calloc(count, sizeof(struct testclient *));
    for (size_t i = 0; i < count; i++) {
        c[i] = testclient_new(ts, ip);
        testclient_send_connect(c[i], timeout_ms);
    }
    testserver_run(ts);
    for (size_t i = 0; i < count; i++)
        ck_assert(testclient_take_connect(c[i]));
    return c;
}

/* ------------------------------------------------------------------ mass expiry */

#define SESSIONS 5000
#define EPHEMERALS 20

static struct testclient **sessions_with_ephemerals(struct testserver *ts) {
    struct testclient **c = connect_many(ts, SESSIONS, NULL, 4000);
    struct testframe f;
    char path[48];
    for (int i = 0; i < SESSIONS; i++)
        for (int j = 0; j < EPHEMERALS; j++) {
            snprintf(path, sizeof path, "/e/%05d-%02d", i, j);
            testclient_create(c[i], path, "", CREATE_EPHEMERAL);
        }
    testserver_run(ts);
    for (int i = 0; i < SESSIONS; i++)
        for (int j = 0; j < EPHEMERALS; j++)
            ck_assert(testclient_next(c[i], &f) && f.err == ZK_OK);
    ck_assert_uint_eq(znode_children(node_at(ts, "/e")), SESSIONS * EPHEMERALS);
    return c;
}

static uint64_t closing_sessions(const struct testserver *ts) {
    size_t cursor = 0;
    uint64_t count = 0;
    const struct session *session;
    while ((session = hmap_next(&ts->server->sessions.by_id, &cursor)) != NULL)
        count += session->closing;
    return count;
}

struct expiry_run {
    int64_t longest_us;
    uint64_t most_closed;  /* sessions prepared in one turn */
    uint64_t most_deleted; /* znodes deleted in one turn */
    uint64_t turns, pings;
};

static void expiry_turn(struct testserver *ts, struct testclient *other, struct expiry_run *run) {
    uint64_t gone = SESSIONS + 1 - ts->server->sessions.by_id.count + closing_sessions(ts);
    uint64_t nodes = tree_count(ts->server->tree);
    struct testframe f;
    testclient_ping(other);
    int64_t before = clock_us();
    testserver_turn(ts);
    int64_t took = clock_us() - before;
    run->longest_us = i64_max(run->longest_us, took);
    uint64_t closed = SESSIONS + 1 - ts->server->sessions.by_id.count + closing_sessions(ts) - gone;
    run->most_closed = closed > run->most_closed ? closed : run->most_closed;
    uint64_t deleted = nodes - tree_count(ts->server->tree);
    run->most_deleted = deleted > run->most_deleted ? deleted : run->most_deleted;
    run->turns++;
    while (testclient_next(other, &f))
        run->pings += f.xid == XID_PING;
}

static void mass_expiry(bool slow_log) {
    struct testserver *ts = testserver_new(OPTIONS("tickTime", "2000", "maxClientCnxns", "0", "globalOutstandingLimit", "1000000"));
    struct testclient *other = testclient_connect(ts, 40000);
    make(other, "/e", "");
    struct testclient **c = sessions_with_ephemerals(ts);
    struct expiry_run run = {0};
    testclient_get_children(other, "/none", false);
    expect_result(other, ZK_NO_NODE);
    for (int step = 0; step < 18; step++) {
        ts->now.mono = mono_add_ms(ts->now.mono, 500);
        ts->now.wall_ms += 500;
        ts->hold_log = slow_log && step < 16;
        for (int i = 0; i < 80; i++)
            expiry_turn(ts, other, &run);
    }
    ck_assert_uint_eq(run.pings, run.turns);
    ck_assert_uint_eq(ts->server->sessions.by_id.count, 1);
    ck_assert_uint_eq(znode_children(node_at(ts, "/e")), 0);
    ck_assert_uint_gt(run.most_closed, 0);
    ck_assert_uint_le(run.most_closed, 205); /* 4096 ephemerals a turn, one session more at the most */
    ck_assert_uint_le(run.most_deleted, 8192);
    tell("longest turn of a mass expiry, us", run.longest_us);
    tell("most znodes deleted in one turn", (int64_t)run.most_deleted);
    expect_digests_right(ts);
    for (int i = 0; i < SESSIONS; i++)
        ck_assert_ptr_null(c[i]->conn);
    mem_free(c);
    testserver_free(ts);
}

START_TEST(mass_expiry_in_slices) { mass_expiry(false); }
END_TEST

START_TEST(mass_expiry_with_a_slow_log) { mass_expiry(true); }
END_TEST

/* ------------------------------------------------------------------ long lists */

#define CHILDREN 100000
#define NAMES_MAX (2 * CHILDREN)

struct expected_list {
    zxid_t zxid;
    int32_t count;
    bool there[NAMES_MAX];
};

static void child_path(char out[32], unsigned n) { snprintf(out, 32, "/p/c%06u", n); }

static void make_children(struct testclient *c) {
    char path[32];
    make(c, "/p", "");
    for (unsigned i = 0; i < CHILDREN; i++) {
        child_path(path, i);
        testclient_create(c, path, "", CREATE_PERSISTENT);
    }
    testserver_run(c->ts);
    struct testframe f;
    while (testclient_next(c, &f))
        ck_assert_int_eq(f.err, ZK_OK);
}

static unsigned long child_number(struct slice name) {
    char digits[8] = {0};
    ck_assert_uint_eq(name.len, 7);
    memcpy(digits, name.data + 1, 6);
    return strtoul(digits, NULL, 10);
}

static void expect_state(struct testserver *ts, struct expected_list *e) {
    const struct znode *p = node_at(ts, "/p");
    e->zxid = ts->server->last_applied;
    e->count = (int32_t)znode_children(p);
    memset(e->there, 0, sizeof e->there);
    for (uint32_t i = 0; i < p->kids->used; i++)
        if (((uintptr_t)p->kids->slots[i] & 1) == 0)
            e->there[child_number(znode_name(p->kids->slots[i]))] = true;
}

/* The client takes one piece off the socket. */
static bool take_piece(struct testclient *c) {
    if (!conn_refill(c->conn, 16384))
        return false;
    buf_append(&c->in, c->conn->out.data + c->conn->out_sent, c->conn->out.len - c->conn->out_sent);
    c->conn->out_sent = c->conn->out.len;
    return true;
}

static void random_changes(struct testclient *c, struct rng *rng, int count) {
    char path[32];
    struct testframe f;
    for (int i = 0; i < count; i++) {
        child_path(path, (unsigned)rng_below(rng, NAMES_MAX));
        if (node_at(c->ts, path) != NULL)
            testclient_delete(c, path);
        else
            testclient_create(c, path, "", i % 5 == 0 ? CREATE_EPHEMERAL : CREATE_PERSISTENT);
    }
    testserver_run(c->ts);
    while (testclient_next(c, &f))
        ck_assert(f.err == ZK_OK || f.err == ZK_NODE_EXISTS || f.err == ZK_NO_NODE);
}

static void expect_names(struct jute_in *in, const struct expected_list *e) {
    static bool seen[NAMES_MAX];
    memset(seen, 0, sizeof seen);
    ck_assert_int_eq(jute_int(in), e->count);
    for (int32_t i = 0; i < e->count; i++) {
        unsigned long n = child_number(jute_bytes(in));
        if (!e->there[n] || seen[n])
            ck_abort_msg("c%06lu is listed wrongly", n);
        seen[n] = true;
    }
}

static void expect_list(struct testclient *c, const struct expected_list *e, int32_t op) {
    struct testframe f;
    ck_assert(testclient_next(c, &f));
    ck_assert_int_eq(f.xid, c->xid);
    ck_assert_int_eq(f.zxid, e->zxid);
    ck_assert_int_eq(f.err, ZK_OK);
    if (op == OP_MULTI_READ)
        ck_assert_int_eq(multi_header_get(&f.body).type, OP_GET_CHILDREN);
    expect_names(&f.body, e);
    if (op == OP_GET_CHILDREN2) {
        struct stat_view stat;
        ck_assert(stat_view_get(&f.body, &stat));
        ck_assert_int_eq(stat.num_children, e->count);
    }
    if (op == OP_MULTI_READ)
        ck_assert(multi_header_get(&f.body).done);
    ck_assert(!f.body.failed);
    ck_assert_uint_eq(jute_left(&f.body), 0);
    /* What was asked for later comes behind it. */
    ck_assert(testclient_next(c, &f));
    ck_assert_int_eq(f.xid, XID_PING);
    expect_silence(c);
}

static void ask_for_list(struct testclient *c, int32_t op) {
    struct buf *b = testclient_request(c, op);
    if (op == OP_MULTI_READ)
        multi_op(b, OP_GET_CHILDREN);
    jute_put_bytes(b, SLICE_LIT("/p"));
    jute_put_bool(b, false);
    if (op == OP_MULTI_READ)
        multi_end(c, b);
    else
        testclient_end(c);
    testclient_ping(c);
}

#define LISTERS 4

START_TEST(lists_while_children_change) {
    static const int32_t ops[LISTERS] = {OP_GET_CHILDREN2, OP_GET_CHILDREN, OP_MULTI_READ, OP_GET_CHILDREN2};
    static struct expected_list expected[LISTERS];
    struct testserver *ts = testserver_new(OPTIONS("globalOutstandingLimit", "1000000"));
    struct testclient *writer = testclient_connect(ts, 40000), *c[LISTERS], *leaver = testclient_connect(ts, 40000);
    struct rng rng = {77};
    make_children(writer);
    random_changes(writer, &rng, 3000);
    for (int i = 0; i < LISTERS; i++) {
        c[i] = testclient_connect(ts, 40000);
        testclient_stall(c[i], true);
    }
    testclient_stall(leaver, true);
    ask_for_list(leaver, OP_GET_CHILDREN2);
    for (int i = 0; i < LISTERS; i++) {
        ask_for_list(c[i], ops[i]);
        testserver_run(ts);
        expect_state(ts, &expected[i]);
        random_changes(writer, &rng, 2000);
        for (int j = 0; j <= i; j++)
            take_piece(c[j]);
    }
    testclient_free(leaver);
    for (bool any = true; any;) {
        any = false;
        for (int i = 0; i < LISTERS; i++)
            any |= take_piece(c[i]);
        random_changes(writer, &rng, 300);
    }
    for (int i = 0; i < LISTERS; i++)
        expect_list(c[i], &expected[i], ops[i]);
    expect_digests_right(ts);
    testserver_free(ts);
}
END_TEST

/* The parent itself goes while its children are being listed. */
START_TEST(list_of_a_parent_that_goes) {
    static struct expected_list expected;
    struct testserver *ts = testserver_new(OPTIONS("globalOutstandingLimit", "1000000"));
    struct testclient *writer = testclient_connect(ts, 40000), *c = testclient_connect(ts, 40000);
    char path[32];
    make_children(writer);
    testclient_stall(c, true);
    ask_for_list(c, OP_GET_CHILDREN2);
    testserver_run(ts);
    expect_state(ts, &expected);
    take_piece(c);
    for (unsigned i = 0; i < CHILDREN; i++) {
        child_path(path, i);
        testclient_delete(writer, path);
    }
    testclient_delete(writer, "/p");
    testserver_run(ts);
    ck_assert_ptr_null(node_at(ts, "/p"));
    while (take_piece(c))
        ;
    expect_list(c, &expected, OP_GET_CHILDREN2);
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ one event for very many */

#define READERS 90000
#define STRANGERS 10000

static void create_for_ip(struct testclient *c, const char *path, const char *ip) {
    struct buf *b = testclient_request(c, OP_CREATE);
    jute_put_bytes(b, slice_of(path));
    jute_put_bytes(b, SLICE_LIT("0"));
    jute_put_int(b, 1);
    acl_entry_put(b, &(struct acl_entry){.perms = PERM_ALL, .scheme = SLICE_LIT("ip"), .id = slice_of(ip)});
    jute_put_int(b, CREATE_PERSISTENT);
    testclient_end(c);
    expect_result(c, ZK_OK);
}

static void expect_events_of_all(struct testclient **c, size_t count, const char *path) {
    struct testframe f;
    for (size_t i = 0; i < count; i++) {
        while (path != NULL) {
            ck_assert_msg(testclient_next(c[i], &f), "client %zu got no event", i);
            if (f.is_event)
                break;
        }
        if (path != NULL)
            ck_assert(f.type == EVENT_NODE_DATA_CHANGED && slice_is(f.path, path));
        while (testclient_next(c[i], &f))
            ck_assert_msg(!f.is_event, "client %zu got an event too many", i);
    }
}

START_TEST(event_for_100000_watchers) {
    struct testserver *ts = testserver_new(OPTIONS("maxClientCnxns", "0", "globalOutstandingLimit", "1000000"));
    struct testclient *writer = testclient_new(ts, "10.0.0.1");
    testclient_send_connect(writer, 40000);
    testserver_run(ts);
    ck_assert(testclient_take_connect(writer));
    create_for_ip(writer, "/w", "10.0.0.1");
    create_for_ip(writer, "/few", "10.0.0.1");
    struct testclient **readers = connect_many(ts, READERS, "10.0.0.1", 40000);
    struct testclient **strangers = connect_many(ts, STRANGERS, "10.0.0.2", 40000);
    /* Few among many are not put in order. */
    testclient_get_data(readers[40000], "/few", true);
    testclient_get_data(readers[500], "/few", true);
    testserver_run(ts);
    testclient_set_data(writer, "/few", "1");
    expect_result(writer, ZK_OK);
    expect_events_of_all((struct testclient *[]){readers[500], readers[40000]}, 2, "/few");
    for (size_t i = 0; i < READERS; i++) {
        if (i % 3 == 0)
            testclient_add_watch(readers[i], i % 2 == 0 ? "/" : "/w", i % 2 == 0 ? ADD_WATCH_PERSISTENT_RECURSIVE : ADD_WATCH_PERSISTENT);
        else
            testclient_get_data(readers[i], "/w", true);
    }
    for (size_t i = 0; i < STRANGERS; i++)
        testclient_add_watch(strangers[i], i % 2 == 0 ? "/" : "/w", i % 2 == 0 ? ADD_WATCH_PERSISTENT_RECURSIVE : ADD_WATCH_PERSISTENT);
    testserver_run(ts);
    testclient_set_data(writer, "/w", "1");
    int64_t before = clock_us();
    expect_result(writer, ZK_OK);
    tell("one event to 90,000, us", clock_us() - before);
    expect_events_of_all(readers, READERS, "/w");
    expect_events_of_all(strangers, STRANGERS, NULL);
    testclient_set_data(writer, "/w", "2");
    expect_result(writer, ZK_OK);
    struct testframe f;
    for (size_t i = 0; i < READERS; i++)
        ck_assert_int_eq(testclient_next(readers[i], &f), i % 3 == 0);
    expect_events_of_all(strangers, STRANGERS, NULL);
    mem_free(readers);
    mem_free(strangers);
    testserver_free(ts);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("server_large");
    ADD(suite, "expiry", mass_expiry_in_slices, mass_expiry_with_a_slow_log);
    ADD(suite, "lists", lists_while_children_change, list_of_a_parent_that_goes);
    ADD(suite, "events", event_for_100000_watchers);
    return run_suite(suite);
}
