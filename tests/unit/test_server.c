/* The way of requests through the server: order, group commit, pending changes, limits; several servers in one process. */
#include <errno.h>

#include "server_help.h"

static struct testserver *held_server(struct testclient **c) {
    struct testserver *ts = testserver_new(NULL);
    *c = testclient_connect(ts, 10000);
    make(*c, "/a", "0");
    ts->hold_log = true;
    return ts;
}

static void release(struct testserver *ts) {
    ts->hold_log = false;
    testserver_run(ts);
}

/* ------------------------------------------------------------------ several servers */

static void live_apart(int count) {
    struct testserver *ts[10];
    struct testclient *c[10];
    struct tree_sum before;
    char path[16];
    for (int i = 0; i < count; i++) {
        ts[i] = testserver_new(NULL);
        c[i] = testclient_connect(ts[i], 10000);
    }
    before = tree_sum_of(ts[count - 1]->server);
    for (int i = 0; i < count - 1; i++) {
        snprintf(path, sizeof path, "/n%d", i);
        testclient_exists(c[count - 1], path, true);
        expect_result(c[count - 1], ZK_NO_NODE);
        make(c[i], path, path);
    }
    for (int i = 0; i < count - 1; i++)
        for (int j = 0; j < count; j++) {
            snprintf(path, sizeof path, "/n%d", i);
            ck_assert_int_eq(node_at(ts[j], path) != NULL, i == j);
        }
    expect_same_tree(before, tree_sum_of(ts[count - 1]->server));
    ck_assert_str_eq(testclient_events(c[count - 1]), "");
    ts[0]->disk.fail_at = ts[0]->disk.calls + 1;
    ts[0]->disk.fail_errno = -EIO;
    testclient_create(c[0], "/broken", "", CREATE_PERSISTENT);
    testserver_run(ts[0]);
    ck_assert_int_eq(ts[0]->server->state, SERVER_FAILED);
    for (int i = 1; i < count; i++) {
        make(c[i], "/fine", "");
        ck_assert_int_eq(ts[i]->server->state, SERVER_RUNNING);
        testserver_restart(ts[i], TESTSERVER_KILL);
        ck_assert_ptr_nonnull(node_at(ts[i], "/fine"));
    }
    for (int i = 0; i < count; i++)
        testserver_free(ts[i]);
}

START_TEST(two_servers_live_apart) { live_apart(2); }
END_TEST

START_TEST(ten_servers_live_apart) { live_apart(10); }
END_TEST

/* ------------------------------------------------------------------ commit */

START_TEST(a_write_waits_for_its_sync) {
    struct testserver *ts = testserver_new(NULL);
    struct testclient *c = testclient_connect(ts, 10000), *other = testclient_connect(ts, 10000);
    make(c, "/a", "0");
    ts->hold_log = true;
    testclient_set_data(c, "/a", "1");
    testclient_create(c, "/b", "", CREATE_PERSISTENT);
    testserver_run(ts);
    expect_silence(c);
    testclient_get_data(other, "/a", true);
    struct testframe f = testclient_reply(other);
    ck_assert(slice_is(jute_bytes(&f.body), "0"));
    testclient_exists(other, "/b", true);
    expect_result(other, ZK_NO_NODE);
    ck_assert_str_eq(testclient_events(other), "");
    ck_assert(testserver_do_log(ts));
    testserver_run(ts);
    expect_reply(c, 2, ZK_OK);
    expect_reply(c, 3, ZK_OK);
    ck_assert_str_eq(testclient_events(other), "changed /a, created /b");
    testserver_free(ts);
}
END_TEST

START_TEST(reads_wait_behind_own_writes) {
    struct testclient *c;
    struct testserver *ts = held_server(&c);
    testclient_get_data(c, "/a", false);
    struct testframe f = expect_reply(c, 2, ZK_OK);
    testclient_set_data(c, "/a", "1");
    testclient_get_data(c, "/a", false);
    testclient_ping(c);
    testclient_set_data(c, "/a", "2");
    testclient_get_data(c, "/a", false);
    testclient_exists(c, "/nope", false);
    testserver_run(ts);
    expect_silence(c);
    release(ts);
    expect_reply(c, 3, ZK_OK);
    f = expect_reply(c, 4, ZK_OK);
    ck_assert(slice_is(jute_bytes(&f.body), "1"));
    expect_reply(c, XID_PING, ZK_OK);
    expect_reply(c, 5, ZK_OK);
    f = expect_reply(c, 6, ZK_OK);
    ck_assert(slice_is(jute_bytes(&f.body), "2"));
    expect_reply(c, 7, ZK_NO_NODE);
    ck_assert_uint_eq(ts->server->pipeline_count, 0);
    ck_assert_uint_eq(ts->server->queued_bytes, 0);
    testserver_free(ts);
}
END_TEST

START_TEST(group_commit) {
    struct testserver *ts = testserver_new(NULL);
    struct testclient *c[20];
    for (int i = 0; i < 20; i++)
        c[i] = testclient_connect(ts, 10000);
    make(c[0], "/a", "");
    ts->hold_log = true;
    testclient_set_data(c[0], "/a", "first");
    testserver_run(ts);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 20; i++)
            testclient_set_data(c[i], "/a", "more");
        testserver_run(ts);
    }
    ck_assert_uint_eq(ts->server->writing->count, 1);
    ck_assert_uint_eq(ts->server->filling->count, 100);
    ck_assert(testserver_do_log(ts));
    testserver_run(ts);
    ck_assert_uint_eq(ts->server->writing->count, 100);
    ck_assert_ptr_null(ts->server->filling);
    ck_assert(!list_empty(&ts->log_cmds));
    ck_assert(testserver_do_log(ts));
    ck_assert(list_empty(&ts->log_cmds));
    testserver_run(ts);
    ck_assert_int_eq(node_at(ts, "/a")->version, 101);
    testserver_free(ts);
}
END_TEST

START_TEST(events_before_replies) {
    struct testserver *ts = testserver_new(NULL);
    struct testclient *c = testclient_connect(ts, 10000), *other = testclient_connect(ts, 10000);
    struct testframe f;
    make(c, "/a", "0");
    testclient_get_data(c, "/a", true);
    expect_result(c, ZK_OK);
    testclient_get_data(other, "/a", true);
    expect_result(other, ZK_OK);
    testclient_set_data(c, "/a", "1");
    testclient_get_data(c, "/a", false);
    testserver_run(ts);
    ck_assert(testclient_next(c, &f) && f.is_event);
    ck_assert(testclient_next(c, &f) && f.xid == 3);
    ck_assert(testclient_next(c, &f) && f.xid == 4);
    /* Who reads the new value has seen the event. */
    testclient_get_data(other, "/a", false);
    testserver_run(ts);
    ck_assert(testclient_next(other, &f) && f.is_event);
    ck_assert(testclient_next(other, &f) && f.xid == 2);
    testserver_free(ts);
}
END_TEST

#define MANY 200

/* Not in the order in which they began to watch, nor in that of a hash table: it is that of their sockets. */
START_TEST(event_for_many_in_the_order_of_connections) {
    struct testserver *ts = testserver_new(NULL);
    struct testclient *writer = testclient_connect(ts, 10000), *watchers[MANY];
    make(writer, "/a", "0");
    for (size_t i = 0; i < MANY; i++)
        watchers[i] = testclient_connect(ts, 10000);
    for (size_t i = 0; i < MANY; i++) {
        testclient_get_data(watchers[i * 37 % MANY], "/a", true);
        expect_result(watchers[i * 37 % MANY], ZK_OK);
    }
    ts->hold_log = true;
    testclient_set_data(writer, "/a", "1");
    testserver_run(ts);
    ck_assert(testserver_do_log(ts) && ts->server->last_applied == ts->server->last_prepared);
    const struct list *at = ts->server->dirty.next;
    for (size_t i = 0; i < MANY; i++, at = at->next)
        ck_assert_ptr_eq(CONTAINER_OF(at, struct conn, dirty_link), watchers[i]->conn);
    release(ts);
    for (size_t i = 0; i < MANY; i++)
        ck_assert_str_eq(testclient_events(watchers[i]), "changed /a");
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ pending changes */

START_TEST(pending_create_delete_create) {
    struct testclient *c;
    struct testserver *ts = held_server(&c);
    testclient_create(c, "/p", "1", CREATE_PERSISTENT);
    testclient_create(c, "/p", "x", CREATE_PERSISTENT);
    testclient_create(c, "/p/k", "", CREATE_PERSISTENT);
    testclient_delete(c, "/p");
    testclient_delete(c, "/p/k");
    testclient_delete(c, "/p");
    testclient_delete(c, "/p");
    testclient_create(c, "/p/k", "", CREATE_PERSISTENT);
    testclient_create(c, "/p", "2", CREATE_PERSISTENT);
    testserver_run(ts);
    ck_assert_ptr_null(node_at(ts, "/p"));
    ck_assert_uint_gt(ts->server->change_count, 0);
    release(ts);
    static const int32_t expected[] = {ZK_OK, ZK_NODE_EXISTS, ZK_OK,      ZK_NOT_EMPTY, ZK_OK,
                                       ZK_OK, ZK_NO_NODE,     ZK_NO_NODE, ZK_OK};
    for (int32_t i = 0; i < 9; i++)
        expect_reply(c, i + 2, expected[i]);
    ck_assert(slice_is(znode_data(node_at(ts, "/p")), "2"));
    ck_assert_int_eq(node_at(ts, "/p")->cversion, 0);
    ck_assert_uint_eq(ts->server->change_count, 0);
    expect_digests_right(ts);
    testserver_free(ts);
}
END_TEST

START_TEST(pending_versions) {
    struct testclient *c;
    struct testserver *ts = held_server(&c);
    for (int32_t v = 0; v < 5; v++)
        send_set(c, "/a", "x", v);
    send_set(c, "/a", "late", 3);
    put_path_version(testclient_request(c, OP_DELETE), "/a", 4);
    testclient_end(c);
    put_path_version(testclient_request(c, OP_DELETE), "/a", 5);
    testclient_end(c);
    send_set(c, "/a", "gone", -1);
    testserver_run(ts);
    release(ts);
    for (int32_t v = 0; v < 5; v++)
        expect_reply(c, v + 2, ZK_OK);
    expect_reply(c, 7, ZK_BAD_VERSION);
    expect_reply(c, 8, ZK_BAD_VERSION);
    expect_reply(c, 9, ZK_OK);
    expect_reply(c, 10, ZK_NO_NODE);
    expect_digests_right(ts);
    testserver_free(ts);
}
END_TEST

/* The tree stops counting there, and with it the digest that goes with each transaction. */
START_TEST(sequence_at_its_end) {
    static const int32_t results[] = {ZK_OK, ZK_OK, ZK_NODE_EXISTS, ZK_NODE_EXISTS};
    struct testclient *c;
    struct testserver *ts = held_server(&c);
    struct tree_create last = {
        .path = SLICE_LIT("/a/b"), .data = SLICE_LIT(""), .acl = SLICE_LIT(""), .parent_cversion = INT32_MAX - 1, .zxid = 1};
    ck_assert_int_eq(tree_create(ts->server->tree, &last, 0, NULL), ZK_OK);
    ts->server->prepared_digest = tree_digest(ts->server->tree);
    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        testclient_create(c, "/a/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    testserver_run(ts);
    release(ts);
    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        ck_assert_int_eq(testclient_reply(c).err, results[i]);
    ck_assert_ptr_nonnull(node_at(ts, "/a/s-2147483646"));
    ck_assert_ptr_nonnull(node_at(ts, "/a/s-2147483647"));
    ck_assert_int_eq(node_at(ts, "/a")->cversion, INT32_MAX);
    expect_digests_right(ts);
    testserver_free(ts);
}
END_TEST

/* A container that is due, and another znode in its place before its end is decided. */
START_TEST(container_with_a_pending_successor) {
    struct testserver *ts = testserver_new(OPTIONS("znode.container.checkIntervalMs", "1000"));
    struct testclient *c = testclient_connect(ts, 10000);
    put_create(testclient_request(c, OP_CREATE_CONTAINER), "/c", SLICE_LIT(""), CREATE_CONTAINER);
    testclient_end(c);
    expect_result(c, ZK_OK);
    make(c, "/c/x", "");
    testclient_delete(c, "/c/x");
    expect_result(c, ZK_OK);
    ts->hold_log = true;
    testclient_delete(c, "/c");
    testclient_create(c, "/c", "stays", CREATE_PERSISTENT);
    testserver_run(ts);
    testserver_advance(ts, 2500);
    release(ts);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(testclient_reply(c).err, ZK_OK);
    testserver_advance(ts, 2500);
    ck_assert_ptr_nonnull(node_at(ts, "/c"));
    expect_digests_right(ts);
    testserver_free(ts);
}
END_TEST

START_TEST(not_empty_with_pending_children) {
    struct testclient *c;
    struct testserver *ts = held_server(&c);
    testclient_create(c, "/a/k", "", CREATE_EPHEMERAL);
    testclient_delete(c, "/a");
    testclient_create(c, "/a/k/below", "", CREATE_PERSISTENT);
    testclient_delete(c, "/a/k");
    testclient_delete(c, "/a");
    release(ts);
    expect_reply(c, 2, ZK_OK);
    expect_reply(c, 3, ZK_NOT_EMPTY);
    expect_reply(c, 4, ZK_NO_CHILDREN_FOR_EPHEMERALS);
    expect_reply(c, 5, ZK_OK);
    expect_reply(c, 6, ZK_OK);
    expect_digests_right(ts);
    testserver_free(ts);
}
END_TEST

static void send_failing_multi(struct testclient *c) {
    struct buf *b = testclient_request(c, OP_MULTI);
    multi_op(b, OP_CREATE);
    put_create(b, "/a/s-", SLICE_NULL, CREATE_PERSISTENT_SEQUENTIAL);
    multi_op(b, OP_CREATE);
    put_create(b, "/m", SLICE_NULL, CREATE_PERSISTENT);
    multi_op(b, OP_SET_DATA);
    put_set(b, "/a", SLICE_LIT("multi"), -1);
    multi_op(b, OP_CHECK);
    put_path_version(b, "/a", 77);
    multi_op(b, OP_DELETE);
    put_path_version(b, "/a", -1);
    multi_end(c, b);
}

static void expect_sequence(struct testclient *c, int32_t xid, const char *path) {
    struct testframe f = expect_reply(c, xid, ZK_OK);
    struct slice name = jute_bytes(&f.body);
    ck_assert_msg(slice_is(name, path), "%.*s", (int)name.len, name.data);
}

START_TEST(failed_multi_leaves_no_trace) {
    struct testclient *c;
    struct testserver *ts = held_server(&c);
    testclient_create(c, "/a/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    send_set(c, "/a", "1", 0);
    testserver_run(ts);
    uint64_t changes = ts->server->change_count, digest = ts->server->prepared_digest;
    send_failing_multi(c);
    testserver_run(ts);
    ck_assert_uint_eq(ts->server->change_count, changes);
    ck_assert_uint_eq(ts->server->prepared_digest, digest);
    testclient_create(c, "/a/s-", "", CREATE_PERSISTENT_SEQUENTIAL);
    testclient_exists(c, "/m", false);
    testclient_create(c, "/m", "", CREATE_PERSISTENT);
    send_set(c, "/a", "2", 1);
    release(ts);
    expect_sequence(c, 2, "/a/s-0000000000");
    expect_reply(c, 3, ZK_OK);
    struct testframe f = expect_reply(c, 4, ZK_OK);
    static const int32_t errors[] = {0, 0, 0, ZK_BAD_VERSION, ZK_RUNTIME_INCONSISTENCY};
    for (int i = 0; i < 5; i++) {
        struct multi_header h = multi_header_get(&f.body);
        ck_assert_int_eq(h.type, OP_ERROR);
        ck_assert_int_eq(jute_int(&f.body), errors[i]);
    }
    expect_sequence(c, 5, "/a/s-0000000001");
    expect_reply(c, 6, ZK_NO_NODE);
    expect_reply(c, 7, ZK_OK);
    expect_reply(c, 8, ZK_OK);
    ck_assert_uint_eq(znode_children(node_at(ts, "/a")), 2);
    expect_digests_right(ts);
    expect_log_makes_tree(ts);
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ close */

START_TEST(close_deletes_pipelined_ephemerals) {
    struct testclient *c;
    struct testserver *ts = held_server(&c);
    session_id_t id = c->session_id;
    testclient_create(c, "/e1", "", CREATE_EPHEMERAL);
    testclient_create(c, "/a/e2", "", CREATE_EPHEMERAL);
    testclient_create(c, "/a/s-", "", CREATE_EPHEMERAL_SEQUENTIAL);
    testclient_create(c, "/stays", "", CREATE_PERSISTENT);
    testclient_close_session(c);
    testclient_create(c, "/late", "", CREATE_PERSISTENT);
    release(ts);
    for (int32_t xid = 2; xid <= 6; xid++)
        expect_reply(c, xid, ZK_OK);
    expect_silence(c);
    ck_assert_ptr_null(c->conn);
    ck_assert_ptr_null(session_find(&ts->server->sessions, id));
    ck_assert_ptr_null(node_at(ts, "/e1"));
    ck_assert_ptr_null(node_at(ts, "/late"));
    ck_assert_uint_eq(znode_children(node_at(ts, "/a")), 0);
    ck_assert_ptr_nonnull(node_at(ts, "/stays"));
    expect_digests_right(ts);
    expect_log_makes_tree(ts);
    testserver_free(ts);
}
END_TEST

/* A path that was another kind of node when it was last applied. */
START_TEST(close_after_delete_and_create_of_a_path) {
    struct testserver *ts = testserver_new(NULL);
    struct testclient *c = testclient_connect(ts, 10000), *other = testclient_connect(ts, 10000);
    make(other, "/d", "");
    make(other, "/d/e", "was persistent");
    ts->hold_log = true;
    testclient_delete(c, "/d/e");
    testclient_create(c, "/d/e", "ephemeral now", CREATE_EPHEMERAL);
    testclient_close_session(c);
    testserver_run(ts);
    testclient_delete(other, "/d");
    testserver_run(ts);
    release(ts);
    expect_result(other, ZK_OK);
    ck_assert_ptr_null(node_at(ts, "/d"));
    expect_digests_right(ts);
    expect_log_makes_tree(ts);
    testserver_free(ts);
}
END_TEST

START_TEST(close_beside_changes_of_others) {
    struct testserver *ts = testserver_new(NULL);
    struct testclient *c = testclient_connect(ts, 10000), *other = testclient_connect(ts, 10000);
    make(other, "/d", "");
    testclient_create(c, "/d/mine", "", CREATE_EPHEMERAL);
    testclient_create(c, "/d/theirs", "", CREATE_EPHEMERAL);
    testclient_create(c, "/d/changed", "", CREATE_EPHEMERAL);
    for (int32_t xid = 1; xid <= 3; xid++)
        expect_reply(c, xid, ZK_OK);
    ts->hold_log = true;
    testclient_delete(other, "/d/theirs");
    testclient_create(other, "/d/theirs", "", CREATE_EPHEMERAL);
    testclient_set_data(other, "/d/changed", "new");
    testserver_run(ts);
    testclient_close_session(c);
    testserver_run(ts);
    testclient_set_data(other, "/d/changed", "too late");
    testclient_create(other, "/d/mine", "again", CREATE_PERSISTENT);
    testclient_delete(other, "/d/mine");
    testclient_create(other, "/d/mine", "again", CREATE_PERSISTENT);
    release(ts);
    for (int32_t xid = 2; xid <= 4; xid++)
        expect_reply(other, xid, ZK_OK);
    expect_reply(other, 5, ZK_NO_NODE);
    for (int32_t xid = 6; xid <= 8; xid++)
        expect_reply(other, xid, ZK_OK);
    ck_assert_uint_eq(znode_children(node_at(ts, "/d")), 2);
    expect_digests_right(ts);
    expect_log_makes_tree(ts);
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ close in slices */

#define MANY_OWNED 30000

/* c owns MANY_OWNED ephemerals below /d0 to /d2, all applied. */
static struct testserver *owning_server(struct testclient **c, struct testclient **other) {
    struct testserver *ts = testserver_new((const char *[]){"snapCount", "1000000", NULL});
    *c = testclient_connect(ts, 10000);
    *other = testclient_connect(ts, 40000);
    char path[32];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "/d%d", i);
        make(*other, path, "");
    }
    for (int i = 0; i < MANY_OWNED; i++) {
        snprintf(path, sizeof path, "/d%d/e%d", i % 3, i);
        testclient_create(*c, path, "", CREATE_EPHEMERAL);
        if (i % 1000 == 999)
            testserver_run(ts);
    }
    for (int32_t xid = 1; xid <= MANY_OWNED; xid++)
        expect_reply(*c, xid, ZK_OK);
    return ts;
}

static void expect_all_closed(struct testserver *ts, session_id_t id, uint32_t others_below_d0) {
    ck_assert_ptr_null(session_find(&ts->server->sessions, id));
    ck_assert_ptr_null(tree_owned_by(ts->server->tree, id));
    ck_assert_uint_eq(znode_children(node_at(ts, "/d0")), others_below_d0);
    ck_assert_uint_eq(znode_children(node_at(ts, "/d1")), 0);
    ck_assert_uint_eq(znode_children(node_at(ts, "/d2")), 0);
    expect_digests_right(ts);
    expect_log_makes_tree(ts);
}

START_TEST(close_of_many_goes_in_slices) {
    struct testclient *c, *other;
    struct testserver *ts = owning_server(&c, &other);
    session_id_t id = c->session_id;
    testclient_close_session(c);
    testserver_turn(ts);
    int32_t served = 0;
    while (!list_empty(&ts->server->closers)) {
        testclient_create(other, served == 0 ? "/d0/other" : "/d0/other/x", "", CREATE_PERSISTENT);
        testserver_turn(ts);
        served++;
        ck_assert_int_lt(served, 100);
    }
    ck_assert_int_ge(served, MANY_OWNED / 4096 - 1);
    testserver_run(ts);
    expect_reply(c, MANY_OWNED + 1, ZK_OK);
    ck_assert_ptr_null(c->conn);
    expect_all_closed(ts, id, 1);
    testserver_free(ts);
}
END_TEST

/* What others do to the znodes meanwhile is neither lost nor done twice. */
START_TEST(close_in_slices_beside_changes_of_its_znodes) {
    struct testclient *c, *other;
    struct testserver *ts = owning_server(&c, &other);
    session_id_t id = c->session_id;
    testclient_close_session(c);
    testserver_turn(ts);
    testserver_turn(ts);
    ck_assert(!list_empty(&ts->server->closers));
    testclient_set_data(other, "/d0/e3", "changed");
    testclient_delete(other, "/d0/e6");
    testclient_create(other, "/d0/e6", "theirs", CREATE_EPHEMERAL);
    testclient_delete(other, "/d0/e9");
    testserver_run(ts);
    ck_assert(list_empty(&ts->server->closers));
    for (int32_t xid = 4; xid <= 7; xid++)
        expect_reply(other, xid, ZK_OK);
    expect_all_closed(ts, id, 1);
    ck_assert_int_eq(znode_owner(node_at(ts, "/d0/e6")), other->session_id);
    testserver_free(ts);
}
END_TEST

/* A change that leaves the set of what the session owns as it is. */
START_TEST(close_in_slices_beside_a_change_of_data) {
    struct testclient *c, *other;
    struct testserver *ts = owning_server(&c, &other);
    session_id_t id = c->session_id;
    testclient_close_session(c);
    testserver_turn(ts);
    testserver_turn(ts);
    ck_assert(!list_empty(&ts->server->closers));
    testclient_set_data(other, "/d0/e3", "changed");
    testserver_run(ts);
    expect_reply(other, 4, ZK_OK);
    expect_all_closed(ts, id, 0);
    testserver_free(ts);
}
END_TEST

/* Somebody who never stops changing what the session owns cannot keep it open. */
START_TEST(close_in_slices_comes_to_an_end) {
    struct testclient *c, *other;
    struct testserver *ts = owning_server(&c, &other);
    session_id_t id = c->session_id;
    int turns = 0;
    testclient_close_session(c);
    for (; session_find(&ts->server->sessions, id) != NULL; turns++) {
        ck_assert_int_lt(turns, 100);
        testclient_set_data(other, "/d0/e3", "changed");
        testserver_turn(ts);
    }
    ck_assert_int_gt(turns, 3);
    expect_all_closed(ts, id, 0);
    testserver_free(ts);
}
END_TEST

START_TEST(close_in_slices_ends_with_the_server) {
    struct testclient *c, *other;
    struct testserver *ts = owning_server(&c, &other);
    session_id_t id = c->session_id;
    testclient_close_session(c);
    testserver_turn(ts);
    testserver_turn(ts);
    ck_assert(!list_empty(&ts->server->closers));
    testserver_restart(ts, TESTSERVER_STOP);
    ck_assert_ptr_nonnull(session_find(&ts->server->sessions, id));
    testserver_advance(ts, 12000);
    expect_all_closed(ts, id, 0);
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ limits */

START_TEST(outstanding_limit_pauses) {
    struct testserver *ts = testserver_new(OPTIONS("globalOutstandingLimit", "10"));
    struct testclient *c = testclient_connect(ts, 10000), *other = testclient_connect(ts, 10000);
    make(c, "/a", "");
    ts->hold_log = true;
    for (int i = 0; i < 100; i++)
        testclient_set_data(c, "/a", "x");
    testserver_run(ts);
    ck_assert(c->conn->paused);
    ck_assert_uint_eq(ts->server->pipeline_count, 11);
    ck_assert_uint_lt(c->out_start, c->out.len);
    /* Whoever has nothing under way is served, one request at a time. */
    testclient_get_data(other, "/a", false);
    expect_result(other, ZK_OK);
    testclient_set_data(other, "/a", "y");
    testclient_set_data(other, "/a", "z");
    testserver_run(ts);
    ck_assert(other->conn->paused);
    release(ts);
    for (int32_t i = 0; i < 100; i++)
        expect_reply(c, i + 2, ZK_OK);
    expect_reply(other, 2, ZK_OK);
    expect_reply(other, 3, ZK_OK);
    ck_assert(!c->conn->paused && list_empty(&ts->server->paused));
    ck_assert_uint_eq(ts->server->pipeline_count, 0);
    testserver_free(ts);
}
END_TEST

START_TEST(paused_resume_when_the_others_hang_up) {
    struct testserver *ts = testserver_new(OPTIONS("globalOutstandingLimit", "10"));
    struct testclient *c = testclient_connect(ts, 10000), *other = testclient_connect(ts, 10000);
    ts->hold_log = true;
    for (int i = 0; i < 50; i++) {
        testclient_set_data(c, "/none", "x");
        testclient_set_data(other, "/none", "y");
    }
    testserver_run(ts);
    testclient_free(c);
    release(ts);
    for (int32_t i = 0; i < 50; i++)
        expect_reply(other, i + 1, ZK_NO_NODE);
    ck_assert_uint_eq(ts->server->pipeline_count, 0);
    ck_assert_uint_eq(ts->server->queued_bytes, 0);
    testserver_free(ts);
}
END_TEST

static void send_big_set(struct testclient *c, const char *path, size_t size) {
    char *data = mem_calloc(1, size);
    put_set(testclient_request(c, OP_SET_DATA), path, (struct slice){data, size}, -1);
    testclient_end(c);
    mem_free(data);
}

START_TEST(oversize_frames) {
    struct testclient *c;
    struct testserver *ts = held_server(&c);
    send_set(c, "/a", "1", -1);
    send_big_set(c, "/a", 2 << 20);
    send_set(c, "/a", "2", -1);
    testserver_run(ts);
    expect_silence(c);
    release(ts);
    expect_reply(c, 2, ZK_OK);
    expect_reply(c, 3, ZK_MARSHALLING_ERROR);
    expect_reply(c, 4, ZK_OK);
    ck_assert(slice_is(znode_data(node_at(ts, "/a")), "2"));
    struct testclient *raw = testclient_new(ts, NULL);
    send_big_set(raw, "/a", 2 << 20);
    testserver_run(ts);
    ck_assert_ptr_null(raw->conn);
    send_big_set(c, "/a", 17 << 20);
    testserver_run(ts);
    ck_assert_ptr_null(c->conn);
    ck_assert(testclient_reconnect(c));
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ connections that end */

START_TEST(hang_up_with_requests_in_flight) {
    struct testserver *ts = testserver_new(NULL);
    struct testclient *c = testclient_connect(ts, 10000), *other = testclient_connect(ts, 10000);
    ts->hold_log = true;
    testclient_create(c, "/w", "", CREATE_PERSISTENT);
    testclient_get_data(c, "/w", true);
    testclient_create(c, "/e", "", CREATE_EPHEMERAL);
    testclient_get_children(c, "/", true);
    testserver_run(ts);
    testclient_hang_up(c);
    release(ts);
    ck_assert_ptr_nonnull(node_at(ts, "/w"));
    ck_assert_ptr_nonnull(node_at(ts, "/e"));
    ck_assert_uint_eq(ts->server->pipeline_count, 0);
    ck_assert_uint_eq(ts->server->queued_bytes, 0);
    testclient_set_data(other, "/w", "x");
    expect_result(other, ZK_OK);
    ck_assert(testclient_reconnect(c));
    ck_assert_str_eq(testclient_events(c), "");
    testserver_free(ts);
}
END_TEST

/* A connection that is to be closed but cannot be flushed yet still has requests under way. */
START_TEST(closing_connection_with_requests_in_flight) {
    struct testserver *ts = testserver_new(NULL);
    struct testclient *c = testclient_connect(ts, 10000), *other = testclient_connect(ts, 10000);
    testclient_stall(c, true);
    testclient_exists(c, "/", false);
    testserver_run(ts);
    ts->hold_log = true;
    testclient_create(c, "/w1", "", CREATE_PERSISTENT);
    testclient_exists(c, "/w1", false);
    testclient_create(c, "/w2", "", CREATE_PERSISTENT);
    send_bad_auth(c);
    testserver_run(ts);
    ck_assert_int_eq(c->conn->close, CONN_CLOSE_FLUSH);
    release(ts);
    ck_assert_ptr_nonnull(node_at(ts, "/w1"));
    ck_assert_ptr_nonnull(node_at(ts, "/w2"));
    testclient_stall(c, false);
    testserver_run(ts);
    ck_assert_ptr_null(c->conn);
    make(other, "/after", "");
    ck_assert_uint_eq(ts->server->pipeline_count, 0);
    testserver_free(ts);
}
END_TEST

/* The output is still being sent when the connection closes: a read is not answered then, and what is behind it is not either. */
START_TEST(closing_connection_with_a_read_between_writes) {
    struct testclient *c;
    struct testserver *ts = held_server(&c);
    testclient_create(c, "/first", "", CREATE_PERSISTENT);
    testclient_exists(c, "/a", false);
    testclient_create(c, "/second", "", CREATE_PERSISTENT);
    testserver_run(ts);
    c->conn->close = CONN_CLOSE_FLUSH; /* and nobody has looked at it yet */
    release(ts);
    expect_reply(c, 2, ZK_OK);
    expect_silence(c);
    ck_assert_ptr_nonnull(node_at(ts, "/second"));
    testserver_free(ts);
}
END_TEST

/* S25: the reply that is still owed shows a change that the client watches. */
START_TEST(closing_connection_with_an_event_before_a_reply) {
    struct testclient *c;
    struct testframe f;
    struct testserver *ts = held_server(&c);
    testclient_get_data(c, "/a", true);
    expect_result(c, ZK_OK);
    testclient_set_data(c, "/a", "new");
    testserver_run(ts);
    c->conn->close = CONN_CLOSE_FLUSH;
    release(ts);
    ck_assert(testclient_next(c, &f));
    ck_assert(f.is_event && f.type == EVENT_NODE_DATA_CHANGED);
    ck_assert(testclient_next(c, &f));
    ck_assert(!f.is_event);
    ck_assert_int_eq(f.err, ZK_OK);
    testserver_free(ts);
}
END_TEST

START_TEST(session_moves_with_requests_in_flight) {
    struct testserver *ts = testserver_new(NULL);
    struct testclient *c = testclient_connect(ts, 10000), *thief = testclient_new(ts, NULL);
    ts->hold_log = true;
    testclient_create(c, "/w1", "", CREATE_PERSISTENT);
    testclient_exists(c, "/w1", false);
    testclient_create(c, "/e2", "", CREATE_EPHEMERAL);
    testserver_run(ts);
    thief->session_id = c->session_id;
    memcpy(thief->password, c->password, PASSWORD_BYTES);
    testclient_send_connect(thief, 10000);
    testserver_run(ts);
    ck_assert(testclient_take_connect(thief));
    ck_assert_ptr_null(c->conn);
    release(ts);
    testclient_exists(thief, "/e2", false);
    expect_result(thief, ZK_OK);
    testclient_close_session(thief);
    expect_result(thief, ZK_OK);
    ck_assert_ptr_null(node_at(ts, "/e2"));
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ which writes share a sync */

static const struct log_cmd *ordered(const struct testserver *ts) {
    return list_empty(&ts->log_cmds) ? NULL : LIST_FIRST(&ts->log_cmds, struct log_cmd, link);
}

static int transactions_of(const struct log_cmd *cmd) { return (int)(cmd->last_zxid - cmd->first_zxid) + 1; }

/* Who asks while a batch still grows shares its sync; the first turn that brings nothing ends the wait. */
START_TEST(a_batch_that_grows_waits_for_the_next_turn) {
    struct testclient *c;
    struct testserver *ts = held_server(&c);
    struct testclient *other = testclient_new(ts, NULL);
    testclient_create(c, "/first", "", CREATE_PERSISTENT);
    ck_assert(testserver_turn(ts)); /* wants another one at once */
    ck_assert_ptr_null(ordered(ts));
    testclient_send_connect(other, 10000);
    ck_assert(testserver_turn(ts));
    ck_assert_ptr_null(ordered(ts));
    testserver_turn(ts);
    ck_assert_ptr_nonnull(ordered(ts));
    ck_assert_int_eq(transactions_of(ordered(ts)), 2);
    release(ts);
    expect_result(c, ZK_OK);
    ck_assert(testclient_take_connect(other));
    testserver_free(ts);
}
END_TEST

/* However many more come: what came first is not held up by them. */
START_TEST(a_batch_waits_a_few_turns_at_the_most) {
    struct testclient *c;
    struct testserver *ts = held_server(&c);
    int turns = 0;
    for (; ordered(ts) == NULL && turns < 100; turns++) {
        testclient_set_data(c, "/a", "x");
        testserver_turn(ts);
    }
    ck_assert_int_eq(turns, 5);
    ck_assert_int_eq(transactions_of(ordered(ts)), 5);
    testserver_free(ts);
}
END_TEST

/* Its sync takes long enough as it is. */
START_TEST(a_large_batch_does_not_wait) {
    static char data[100000];
    struct testclient *c;
    struct testserver *ts = held_server(&c);
    memset(data, 'x', sizeof data - 1);
    testclient_set_data(c, "/a", data);
    testserver_turn(ts);
    ck_assert_ptr_nonnull(ordered(ts));
    testserver_free(ts);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("server");
    ADD(suite, "several", two_servers_live_apart, ten_servers_live_apart);
    ADD(suite, "commit", a_write_waits_for_its_sync, reads_wait_behind_own_writes, group_commit, events_before_replies,
        event_for_many_in_the_order_of_connections);
    ADD(suite, "gather", a_batch_that_grows_waits_for_the_next_turn, a_batch_waits_a_few_turns_at_the_most,
        a_large_batch_does_not_wait);
    ADD(suite, "pending", pending_create_delete_create, pending_versions, sequence_at_its_end,
        container_with_a_pending_successor, not_empty_with_pending_children, failed_multi_leaves_no_trace);
    ADD(suite, "close", close_deletes_pipelined_ephemerals, close_after_delete_and_create_of_a_path,
        close_beside_changes_of_others, close_of_many_goes_in_slices, close_in_slices_beside_changes_of_its_znodes,
        close_in_slices_beside_a_change_of_data, close_in_slices_comes_to_an_end, close_in_slices_ends_with_the_server);
    ADD(suite, "limits", outstanding_limit_pauses, paused_resume_when_the_others_hang_up, oversize_frames);
    ADD(suite, "ends", hang_up_with_requests_in_flight, closing_connection_with_requests_in_flight,
        closing_connection_with_a_read_between_writes, closing_connection_with_an_event_before_a_reply,
        session_moves_with_requests_in_flight);
    return run_suite(suite);
}
