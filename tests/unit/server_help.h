/* What the tests of the server share: more requests, a look at trees and logs, several operations in one frame. */
#ifndef ZABRA_TESTS_SERVER_HELP_H
#define ZABRA_TESTS_SERVER_HELP_H

#include "lib/store_help.h"
#include "lib/testserver.h"
#include "store/listing.h"

#define OPTIONS(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline void expect_result(struct testclient *c, int32_t err) { ck_assert_int_eq(testclient_result(c), err); }

/* The next reply, which must be to this xid. */
static inline struct testframe expect_reply(struct testclient *c, int32_t xid, int32_t err) {
    struct testframe f = testclient_reply(c);
    ck_assert_msg(f.xid == xid && f.err == err, "xid %d, error %d instead of %d, %d", f.xid, f.err, xid, err);
    return f;
}

static inline void expect_silence(struct testclient *c) {
    struct testframe f;
    ck_assert_msg(!testclient_next(c, &f), "a reply to xid %d", f.xid);
}

static inline struct znode *node_at(const struct testserver *ts, const char *path) {
    return tree_find(ts->server->tree, slice_of(path));
}

static inline void make(struct testclient *c, const char *path, const char *data) {
    testclient_create(c, path, data, CREATE_PERSISTENT);
    expect_result(c, ZK_OK);
}

/* ------------------------------------------------------------------ requests */

static inline void put_open_acl(struct buf *b) {
    jute_put_int(b, 1);
    acl_entry_put(b, &(struct acl_entry){.perms = PERM_ALL, .scheme = SLICE_LIT("world"), .id = SLICE_LIT("anyone")});
}

/* Only sub-bodies: the head of an operation stands before it. */
static inline void put_create(struct buf *b, const char *path, struct slice data, int32_t flags) {
    jute_put_bytes(b, slice_of(path));
    jute_put_bytes(b, data);
    put_open_acl(b);
    jute_put_int(b, flags);
}

static inline void put_path_version(struct buf *b, const char *path, int32_t version) {
    jute_put_bytes(b, slice_of(path));
    jute_put_int(b, version);
}

static inline void put_set(struct buf *b, const char *path, struct slice data, int32_t version) {
    jute_put_bytes(b, slice_of(path));
    jute_put_bytes(b, data);
    jute_put_int(b, version);
}

static inline void send_set(struct testclient *c, const char *path, const char *data, int32_t version) {
    put_set(testclient_request(c, OP_SET_DATA), path, slice_of(data), version);
    testclient_end(c);
}

static inline void multi_op(struct buf *b, int32_t type) {
    multi_header_put(b, (struct multi_header){.type = type, .done = false, .err = -1});
}

static inline void multi_end(struct testclient *c, struct buf *b) {
    multi_header_put(b, (struct multi_header){.type = -1, .done = true, .err = -1});
    testclient_end(c);
}

static inline void send_bad_auth(struct testclient *c) {
    struct buf *b = testclient_begin(c, XID_AUTH, OP_AUTH);
    jute_put_int(b, 0);
    jute_put_bytes(b, SLICE_LIT("no-such-scheme"));
    jute_put_bytes(b, SLICE_LIT("x"));
    testclient_end(c);
}

/* ------------------------------------------------------------------ the whole tree in a few numbers */

/* Does not depend on the order of children, nor on numbers of ACLs. */
struct tree_sum {
    uint64_t nodes, sum;
    uint64_t digest; /* computed anew from all nodes */
};

static inline uint64_t hash_bytes(uint64_t h, const void *data, size_t len) {
    const uint8_t *p = data;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static inline void tree_sum_node(struct tree *t, const struct znode *n, struct tree_sum *sum) {
    struct buf path = BUF_INIT;
    struct node_stat stat;
    struct slice data = znode_data(n), acl = acl_bytes(tree_acls(t), n->acl);
    znode_path(n, &path);
    znode_stat(n, &stat);
    int64_t fields[] = {stat.czxid,    stat.mzxid,   stat.pzxid, stat.ctime, stat.mtime, stat.version,
                        stat.cversion, stat.aversion, stat.owner, n->data_len};
    uint64_t h = hash_bytes(0xcbf29ce484222325u, path.data, path.len);
    h = hash_bytes(h, fields, sizeof fields);
    h = data.len != 0 ? hash_bytes(h, data.data, data.len) : h;
    sum->sum += hash_bytes(h, acl.data, acl.len);
    sum->nodes++;
    struct slice digest_path = {(const char *)path.data, n->parent == NULL ? 0 : path.len};
    if ((n->flags & ZNODE_SYSTEM) == 0)
        sum->digest += digest_node(digest_crc(digest_path, data), &stat);
    buf_free(&path);
    for (uint32_t i = 0; n->kids != NULL && i < n->kids->used; i++)
        if (((uintptr_t)n->kids->slots[i] & 1) == 0)
            tree_sum_node(t, n->kids->slots[i], sum);
}

static inline struct tree_sum tree_sum_of(struct server *s) {
    struct tree_sum sum = {0};
    size_t cursor = 0;
    const struct session *session;
    tree_sum_node(s->tree, tree_root(s->tree), &sum);
    ck_assert_uint_eq(sum.nodes, tree_count(s->tree));
    if (tree_options(s->tree)->digest_enabled)
        ck_assert_uint_eq(sum.digest, tree_digest(s->tree));
    while ((session = hmap_next(&s->sessions.by_id, &cursor)) != NULL)
        if (session->in_db)
            sum.sum += hash_bytes((uint64_t)session->timeout_ms, &session->id, sizeof session->id);
    return sum;
}

static inline void expect_same_tree(struct tree_sum a, struct tree_sum b) {
    ck_assert_uint_eq(a.nodes, b.nodes);
    ck_assert_uint_eq(a.digest, b.digest);
    ck_assert_uint_eq(a.sum, b.sum);
}

static inline void expect_digests_right(const struct testserver *ts) {
    ck_assert_uint_eq(ts->server->prepared_digest, tree_digest(ts->server->tree));
    ck_assert_uint_eq(ts->server->metrics.counters[METRIC_DIGEST_MISMATCHES_COUNT], 0);
}

/* ------------------------------------------------------------------ logs */

/* Calls visit for every transaction of the logs on this disk, in order; returns how many there are. */
static inline uint64_t each_logged(const struct disk *d, void (*visit)(void *ctx, struct slice payload), void *ctx) {
    struct store_files files = {0};
    uint64_t count = 0;
    ck_assert_int_eq(store_files_list(d, DISK_LOG, "log", &files), 0);
    for (int i = 0; i < files.count; i++) {
        int err;
        struct txnlog_reader *r = txnlog_reader_open(d, files.items[i].name, 1 << 24, &err);
        ck_assert_ptr_nonnull(r);
        struct txnlog_result result;
        while ((result = txnlog_reader_next(r)).status == TXNLOG_RECORD) {
            visit(ctx, result.payload);
            count++;
        }
        ck_assert_int_eq(result.status, TXNLOG_END);
        txnlog_reader_close(r);
    }
    store_files_free(&files);
    return count;
}

/* Applies each record to a server of its own and compares the digest that it carries with the one of the tree then. */
struct log_replay {
    struct server *server;
    uint64_t with_digest;
};

static inline void replay_one(void *ctx, struct slice payload) {
    struct log_replay *l = ctx;
    struct txn_header h;
    struct txn t;
    int32_t version;
    uint64_t digest = 0;
    ck_assert(txn_decode(payload, &h, &t, &version, &digest));
    ck_assert_int_eq(h.zxid, l->server->last_applied + 1);
    ck_assert(apply_payload(l->server, payload, NULL));
    if (version != DIGEST_VERSION)
        return;
    l->with_digest++;
    ck_assert_msg(digest == tree_digest(l->server->tree), "digest of transaction %lld, type %d", (long long)h.zxid, h.type);
}

/* All logs from the beginning must still be there. */
static inline void expect_log_makes_tree(struct testserver *ts) {
    struct env env = {.disk = &ts->disk.disk};
    struct log_replay l = {.server = server_new(&ts->config, &env, 99, ts->now)};
    l.server->replaying = true;
    ck_assert_uint_eq(each_logged(&ts->disk.disk, replay_one, &l), (uint64_t)ts->server->last_applied);
    ck_assert_uint_gt(l.with_digest, 0);
    expect_same_tree(tree_sum_of(l.server), tree_sum_of(ts->server));
    server_free(l.server);
}

/* ------------------------------------------------------------------ */

static inline void add_tests(Suite *suite, const char *name, const TTest *const *tests, size_t count) {
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 300);
    for (size_t i = 0; i < count; i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(suite, tc);
}
#define ADD(suite, name, ...)                                                                                          \
    add_tests(suite, name, (const TTest *const[]){__VA_ARGS__}, ARRAY_LEN(((const TTest *const[]){__VA_ARGS__})))

#endif
