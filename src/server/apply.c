/* Applies transactions: the same bytes whether they come from a client of this server, from the log, or (later) from a
 * leader. Rules in docs/protocol/disk-format.md section 7; watch events in operations.md section 12.
 *
 * Events go into the output of their receivers while the transaction is applied, and the reply after all of them: so an
 * event always precedes the reply to its transaction and every reply that shows its effect. */
#include "server/history.h"
#include "server/server.h"
#include "tree/path.h"

struct applying {
    struct server *s;
    struct txn_header h;
    struct buf *body; /* the reply's body is appended here; NULL = nobody waits */
    bool stat_result; /* the result of a create has a Stat */
};

/* ------------------------------------------------------------------ events */

static void fire(const struct applying *a, struct slice path, struct znode *node, enum event_type type, acl_id_t acl) {
    if (!a->s->replaying)
        events_fire(a->s, &(struct watch_event){.zxid = a->h.zxid, .type = type, .path = path, .acl = acl}, node);
}

/* The path of the parent as events name it: "/" for top-level nodes. */
static struct slice event_parent(struct slice path) {
    struct slice parent = path_parent(path);
    return parent.len == 0 ? SLICE_LIT("/") : parent;
}

static void fire_children_changed(const struct applying *a, struct slice path) {
    struct slice parent = event_parent(path);
    struct znode *node = tree_find(a->s->tree, parent);
    if (node != NULL)
        fire(a, parent, node, EVENT_NODE_CHILDREN_CHANGED, node->acl);
}

/* ------------------------------------------------------------------ single changes */

static int64_t owner_of(const struct applying *a, const struct txn *t) {
    switch (t->type) {
    case OP_CREATE_CONTAINER:
        return OWNER_CONTAINER;
    case OP_CREATE_TTL:
        return (int64_t)(0xff00000000000000u | ((uint64_t)t->ttl & 0xffffffffff));
    default:
        return t->ephemeral ? a->h.client_id : 0;
    }
}

static void put_stat(struct applying *a, const struct znode *n) {
    struct stat_view view;
    tree_stat_view(a->s->tree, n, &view);
    stat_view_put(a->body, &view);
}

/* A client with the default jute.maxbuffer cannot read a longer list of children. */
#define CLIENT_LIST_BYTES 1048575

/* One line when a parent's list of children passes half of that. */
static void warn_of_long_list(const struct applying *a, const struct znode *child) {
    const struct kids *kids = child->parent->kids;
    uint64_t bytes = kids->name_bytes + 4 * (uint64_t)kids->live;
    if (bytes < CLIENT_LIST_BYTES / 2 || bytes - (child->name_len + 4) >= CLIENT_LIST_BYTES / 2 || a->s->replaying)
        return;
    struct buf path = BUF_INIT;
    znode_path(child->parent, &path);
    log_warn("the list of children of %.*s (%u) passes half of what a client with default settings can read",
             (int)path.len, (const char *)path.data, kids->live);
    buf_free(&path);
}

static int apply_create(struct applying *a, const struct txn *t) {
    struct server *s = a->s;
    struct tree_create c = {.path = t->path,
                            .data = t->data,
                            .acl = t->acl,
                            .owner = owner_of(a, t),
                            .parent_cversion = t->parent_cversion,
                            .raise_parent_if_exists = t->type == OP_CREATE,
                            .zxid = a->h.zxid,
                            .time_ms = a->h.time_ms};
    struct znode *node;
    if (memchr(t->path.data, '/', t->path.len) == NULL)
        return ZK_BAD_ARGUMENTS;
    int err = tree_create(s->tree, &c, tree_hash(s->tree, t->path), &node);
    if (err != ZK_OK)
        return err;
    warn_of_long_list(a, node);
    fire(a, t->path, node, EVENT_NODE_CREATED, node->acl);
    fire_children_changed(a, t->path);
    if (a->body != NULL) {
        jute_put_bytes(a->body, t->path);
        if (a->stat_result || t->type != OP_CREATE)
            put_stat(a, node);
    }
    return ZK_OK;
}

static int apply_delete(struct applying *a, struct slice path) {
    struct server *s = a->s;
    struct znode *node = tree_find(s->tree, path);
    if (node == NULL || node->parent == NULL || znode_children(node) != 0)
        return tree_delete(s->tree, path, a->h.zxid);
    acl_id_t acl = node->acl;
    acl_ref(tree_acls(s->tree), acl);
    if (node->flags & ZNODE_WATCHED)
        watch_node_leaves(s->watches, node, path);
    tree_delete_node(s->tree, node, a->h.zxid);
    fire(a, path, NULL, EVENT_NODE_DELETED, acl);
    fire_children_changed(a, path);
    acl_unref(tree_acls(s->tree), acl);
    return ZK_OK;
}

static int apply_set_data(struct applying *a, const struct txn *t) {
    struct znode *node = tree_find(a->s->tree, t->path);
    if (node == NULL)
        return ZK_NO_NODE;
    int err = tree_set_data(a->s->tree, node, t->data, t->version, a->h.zxid, a->h.time_ms);
    if (err != ZK_OK)
        return err;
    fire(a, t->path, node, EVENT_NODE_DATA_CHANGED, node->acl);
    if (a->body != NULL)
        put_stat(a, node);
    return ZK_OK;
}

static int apply_set_acl(struct applying *a, const struct txn *t) {
    struct znode *node = tree_find(a->s->tree, t->path);
    if (node == NULL)
        return ZK_NO_NODE;
    tree_set_acl(a->s->tree, node, t->acl, t->version);
    if (a->body != NULL)
        put_stat(a, node);
    return ZK_OK;
}

/* One operation, alone or of a multi, with its reply body. */
static int apply_op(struct applying *a, const struct txn *t) {
    switch (t->type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        return apply_create(a, t);
    case OP_DELETE:
    case OP_DELETE_CONTAINER:
        return apply_delete(a, t->path);
    case OP_SET_DATA:
    case OP_RECONFIG:
        return apply_set_data(a, t);
    case OP_SET_ACL:
        return apply_set_acl(a, t);
    case OP_CHECK:
        return ZK_OK;
    case OP_ERROR:
        return t->err;
    default:
        return ZK_UNIMPLEMENTED;
    }
}

/* ------------------------------------------------------------------ multi */

static void put_error_result(struct buf *body, int err) {
    multi_header_put(body, (struct multi_header){.type = OP_ERROR, .err = err});
    jute_put_int(body, err);
}

static int32_t result_type(const struct applying *a, int32_t type) {
    return a->stat_result || type == OP_CREATE_CONTAINER || type == OP_CREATE_TTL ? OP_CREATE2 : type;
}

/* A multi with an error in it changes nothing: everything before the error counts as done with code 0, and is not. */
static void answer_failed_multi(struct buf *body, struct slice rest) {
    struct txn sub;
    bool bad;
    while (txn_sub_next(&rest, &sub, &bad))
        put_error_result(body, sub.type == OP_ERROR ? sub.err : ZK_OK);
}

/* The first error, which is why the others failed. ZK_OK if there is none. */
static int multi_error(struct slice rest, bool *failed) {
    struct txn sub;
    bool bad;
    *failed = false;
    while (txn_sub_next(&rest, &sub, &bad)) {
        if (sub.type != OP_ERROR)
            continue;
        *failed = true;
        return sub.err;
    }
    return ZK_OK;
}

/* The result of a multi as a whole: a moved session's is an error, all other errors are answered one by one. */
static int apply_multi(struct applying *a, const struct txn *t, const struct request *r) {
    struct slice rest = t->rest;
    size_t index = 0;
    struct txn sub;
    bool bad = false, failed;
    int err = multi_error(rest, &failed);
    if (failed) {
        if (a->body != NULL)
            answer_failed_multi(a->body, rest);
    } else {
        while (txn_sub_next(&rest, &sub, &bad)) {
            size_t start = a->body != NULL ? a->body->len : 0;
            a->stat_result = r != NULL && index < r->stat_results.len && r->stat_results.data[index] != 0;
            index++;
            if (a->body != NULL)
                multi_header_put(a->body, (struct multi_header){.type = result_type(a, sub.type)});
            int sub_err = apply_op(a, &sub);
            if (sub_err != ZK_OK && a->body != NULL) {
                a->body->len = start;
                put_error_result(a->body, sub_err);
            }
        }
    }
    if (bad)
        log_error("transaction 0x%llx holds a sub-transaction that does not decode; it and what follows are skipped",
                  (unsigned long long)a->h.zxid);
    if (a->body != NULL)
        multi_header_put(a->body, (struct multi_header){.type = OP_ERROR, .done = true, .err = -1});
    return err == ZK_SESSION_MOVED ? err : ZK_OK;
}

/* ------------------------------------------------------------------ sessions */

static void apply_create_session(struct applying *a, const struct txn *t) {
    struct server *s = a->s;
    struct session *session = session_find(&s->sessions, a->h.client_id);
    if (session == NULL)
        session = session_add(&s->sessions, a->h.client_id, t->timeout_ms);
    session->timeout_ms = t->timeout_ms;
    session->in_db = true;
}

static void apply_close_session(struct applying *a, const struct txn *t, const struct request *r) {
    struct server *s = a->s;
    struct slice rest = t->rest, path;
    while (txn_path_next(&rest, &path)) {
        /* Java deletes what is listed whatever it is by now; only an ephemeral of this session can be listed. */
        if (path.data != NULL && memchr(path.data, '/', path.len) != NULL)
            apply_delete(a, path);
    }
    struct owned *owned;
    struct buf text = BUF_INIT;
    while ((owned = tree_owned_by(s->tree, a->h.client_id)) != NULL && owned->count != 0) {
        buf_clear(&text);
        znode_path(owned->nodes[owned->count - 1], &text);
        apply_delete(a, (struct slice){(const char *)text.data, text.len});
    }
    buf_free(&text);
    struct session *session = session_find(&s->sessions, a->h.client_id);
    if (session == NULL)
        return;
    struct conn *c = session->conn;
    if (c != NULL) {
        session->conn = NULL;
        c->session = NULL;
        conn_close_later(c, r != NULL && r->conn == c ? CONN_CLOSE_FLUSH : CONN_CLOSE_NOW);
    }
    session_remove(&s->sessions, session);
}

/* ------------------------------------------------------------------ whole transactions */

static void check_digest(struct server *s, zxid_t zxid, uint64_t expected) {
    if (!s->config->digest_enabled || zxid < s->digest_from || tree_digest(s->tree) == expected)
        return;
    metric_count(&s->metrics, METRIC_DIGEST_MISMATCHES_COUNT, 1);
    uint64_t suppressed;
    if (log_limit_pass(&s->digest_limit, s->now.mono.us, 60000000, &suppressed))
        log_error("the tree's digest after transaction 0x%llx is %llu, its record says %llu (%llu more such since the last line)",
                  (unsigned long long)zxid, (unsigned long long)tree_digest(s->tree), (unsigned long long)expected,
                  (unsigned long long)suppressed);
}

static void note_digest(struct server *s, zxid_t zxid) {
    if (zxid % 128 != 0)
        return;
    size_t i = s->digests_seen++ % ARRAY_LEN(s->digest_log);
    s->digest_log[i].zxid = zxid;
    s->digest_log[i].digest = tree_digest(s->tree);
}

static void send_reply(struct server *s, struct request *r, int32_t err) {
    struct conn *c = r->conn;
    struct buf *out = conn_out(c);
    size_t body = err == ZK_OK ? s->reply.len : 0;
    uint8_t *p = buf_tail(out, 4 + REPLY_HEADER_BYTES + body);
    p = be32_store(p, (uint32_t)(REPLY_HEADER_BYTES + body));
    reply_header_store(p, &(struct reply_header){.xid = r->xid, .zxid = r->zxid, .err = err});
    if (body != 0)
        memcpy(p + REPLY_HEADER_BYTES, s->reply.data, body);
    out->len += 4 + REPLY_HEADER_BYTES + body;
    c->sent++;
    c->last_zxid = r->zxid;
    s->metrics.packets_sent++;
    metrics_response_size(&s->metrics, REPLY_HEADER_BYTES + body);
    conn_dirty(c);
}

static void answer(struct server *s, struct request *r, int err) {
    struct conn *c = r->conn;
    if (c == NULL || c->close == CONN_CLOSE_NOW || c->mute)
        return;
    if (r->kind == REQUEST_CONNECT) {
        connect_reply(s, c, session_find(&s->sessions, r->session_id));
        return;
    }
    if (err == ZK_SESSION_MOVED) {
        log_info("%s: session 0x%llx has moved to another server, closing", c->peer, (unsigned long long)r->session_id);
        conn_close_later(c, CONN_CLOSE_NOW);
        return;
    }
    send_reply(s, r, err);
    if (r->op == OP_CLOSE_SESSION)
        conn_close_later(c, CONN_CLOSE_FLUSH);
}

#define REPLY_KEEP_BYTES (64 * 1024)

bool apply_payload(struct server *s, struct slice payload, struct request *r) {
    struct applying a = {.s = s};
    struct txn t;
    int32_t digest_version;
    uint64_t digest = 0;
    int err = ZK_OK;
    if (!txn_decode(payload, &a.h, &t, &digest_version, &digest))
        return false;
    if (r != NULL && r->conn != NULL && r->kind == REQUEST_WRITE) {
        buf_clear(&s->reply);
        a.body = &s->reply;
    }
    switch (t.type) {
    case OP_MULTI:
        err = apply_multi(&a, &t, r);
        break;
    case OP_CREATE_SESSION:
        apply_create_session(&a, &t);
        break;
    case OP_CLOSE_SESSION:
        apply_close_session(&a, &t, r);
        break;
    default:
        err = apply_op(&a, &t);
    }
    if (s->history != NULL && zxid_epoch(a.h.zxid) > zxid_epoch(s->last_applied))
        history_note_epoch(s->history, s->last_applied, a.h.zxid);
    if (a.h.zxid > s->last_applied)
        s->last_applied = a.h.zxid;
    if (s->history != NULL)
        history_append(s->history, a.h.zxid, payload);
    if (digest_version == DIGEST_VERSION)
        check_digest(s, a.h.zxid, digest);
    note_digest(s, a.h.zxid);
    if (!s->replaying)
        metric_sample(&s->metrics, METRIC_PROPAGATION_LATENCY, (uint64_t)i64_max(0, s->now.wall_ms - a.h.time_ms));
    if (r != NULL)
        answer(s, r, err);
    if (s->reply.cap > REPLY_KEEP_BYTES)
        buf_free(&s->reply);
    return true;
}
