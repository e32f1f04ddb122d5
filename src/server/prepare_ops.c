/* Validation of single operations, in exactly the order of checks of docs/protocol/operations.md sections 3 to 6: the
 * order shows, because only the first error is answered. */
#include <stdio.h>

#include "server/prepare.h"
#include "tree/path.h"

bool op_decode(struct jute_in *in, struct op *op) {
    switch (op->type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL: {
        op->path = jute_bytes_not_null(in);
        op->data = jute_bytes(in);
        const uint8_t *start = in->p;
        auth_skip_acl(in);
        op->acl = (struct slice){(const char *)start, (size_t)(in->p - start)};
        op->flags = jute_int(in);
        op->ttl = op->type == OP_CREATE_TTL ? jute_long(in) : -1;
        break;
    }
    case OP_DELETE:
    case OP_CHECK:
        op->path = jute_bytes_not_null(in);
        op->version = jute_int(in);
        break;
    case OP_SET_DATA:
        op->path = jute_bytes(in);
        op->data = jute_bytes(in);
        op->version = jute_int(in);
        /* A null path alone is a bad argument, inside a multi it does not decode. */
        in->failed |= op->in_multi && op->path.data == NULL;
        break;
    case OP_SET_ACL: {
        op->path = jute_bytes(in);
        const uint8_t *start = in->p;
        auth_skip_acl(in);
        op->acl = (struct slice){(const char *)start, (size_t)(in->p - start)};
        op->version = jute_int(in);
        break;
    }
    default:
        in->failed = true;
    }
    return !in->failed;
}

void op_normalise_for_multi(struct op *op) {
    op->in_multi = true;
    if (op->type == OP_CREATE_TTL && op->flags != CREATE_PERSISTENT_TTL && op->flags != CREATE_PERSISTENT_SEQUENTIAL_TTL) {
        op->type = OP_CREATE;
        op->ttl = -1;
    }
    if ((op->type == OP_CREATE || op->type == OP_CREATE2) && op->flags == CREATE_CONTAINER)
        op->type = OP_CREATE_CONTAINER;
}

/* NULL: the server itself. */
static const struct identity_set *identities(const struct request *r) {
    return r->conn != NULL ? &r->conn->identities : r->remote;
}

static bool allowed(const struct server *s, const struct request *r, acl_id_t acl, int32_t wanted) {
    return auth_allowed(&s->auth, tree_acls(s->tree), acl, wanted, identities(r), r->identities);
}

/* What every path of a write must at least have: a parent, and no NUL. */
static bool path_usable(struct slice path) {
    return path.len > 0 && memchr(path.data, '/', path.len) != NULL && memchr(path.data, '\0', path.len) == NULL;
}

static bool is_system_path(struct slice path) {
    return slice_is(path, "/") || slice_is(path, "/zookeeper") || slice_is(path, "/zookeeper/quota") ||
           slice_is(path, "/zookeeper/config");
}

/* Whoever asks for a session becomes its owner if nobody is; it must ask through one member only. */
static int session_error(struct server *s, const struct request *r) {
    if (r->session_id == 0)
        return ZK_OK;
    struct session *session = session_find(&s->sessions, r->session_id);
    if (session == NULL || session->closing)
        return ZK_SESSION_EXPIRED;
    if (session->owner == 0)
        session->owner = r->origin;
    return session->owner == r->origin ? ZK_OK : ZK_SESSION_MOVED;
}

static int check_quota(struct server *s, struct slice path, int64_t count_diff, int64_t bytes_diff) {
    if (!s->config->enforce_quota)
        return ZK_OK;
    struct quota_check q;
    tree_quota_check(s->tree, path, count_diff, bytes_diff, &q);
    if (q.node == NULL || (!q.count_exceeded && !q.bytes_exceeded && !q.soft_exceeded))
        return ZK_OK;
    uint64_t suppressed;
    bool hard = q.count_exceeded || q.bytes_exceeded;
    if (log_limit_pass(&s->quota_limit, s->now.mono.us, 1000000, &suppressed)) {
        struct buf text = BUF_INIT;
        znode_path(q.node, &text);
        log_warn("quota of %.*s %s: usage %lld, limit %lld (%llu more since the last such line)", (int)text.len,
                 (const char *)text.data, hard ? "exceeded, request refused" : "exceeded (soft limit)",
                 (long long)q.usage, (long long)q.limit,
                 (unsigned long long)suppressed);
        buf_free(&text);
    }
    if (!hard)
        return ZK_OK;
    metrics_quota_exceeded(&s->metrics, path);
    return ZK_QUOTA_EXCEEDED;
}

/* The stored owner value of the node that this create makes: section 3.4. */
static int64_t create_owner(const struct op *op, session_id_t session) {
    switch (op->type) {
    case OP_CREATE_CONTAINER:
        return OWNER_CONTAINER;
    case OP_CREATE_TTL:
        return (int64_t)(0xff00000000000000u | (uint64_t)op->ttl);
    default:
        return op->flags == CREATE_EPHEMERAL || op->flags == CREATE_EPHEMERAL_SEQUENTIAL ? session : 0;
    }
}

static bool is_sequential(int32_t flags) {
    return flags == CREATE_PERSISTENT_SEQUENTIAL || flags == CREATE_EPHEMERAL_SEQUENTIAL ||
           flags == CREATE_PERSISTENT_SEQUENTIAL_TTL;
}

static int check_create_flags(const struct server *s, const struct op *op) {
    const int64_t ttl_max = 0xffffffffff;
    bool ttl_flags = op->flags == CREATE_PERSISTENT_TTL || op->flags == CREATE_PERSISTENT_SEQUENTIAL_TTL;
    if (op->flags < 0 || op->flags > CREATE_PERSISTENT_SEQUENTIAL_TTL)
        return ZK_BAD_ARGUMENTS;
    if (ttl_flags && !s->config->extended_types_enabled)
        return ZK_UNIMPLEMENTED;
    if (ttl_flags ? op->ttl <= 0 || op->ttl > ttl_max : op->ttl >= 0)
        return ZK_BAD_ARGUMENTS;
    /* createTTL without a TTL flag has no meaning that could be stored. */
    if (op->type == OP_CREATE_TTL && !ttl_flags)
        return ZK_BAD_ARGUMENTS;
    return ZK_OK;
}

/* The change of a node that comes, and of its parent, whose new cversion is returned. */
static int32_t change_for_create(struct server *s, struct request *r, const struct op *op, zxid_t zxid, struct slice path,
                                 struct slice acl, const struct view *node, const struct view *parent) {
    struct view new_parent = *parent, new_node = *node;
    int32_t counted = (int32_t)((uint32_t)parent->stat.cversion + 1);
    new_parent.children++;
    /* Behind 2147483647 the tree does not count any further (raise_parent in tree.c), and the digest is to be that of the tree. */
    if (counted > parent->stat.cversion) {
        new_parent.stat.cversion = counted;
        new_parent.stat.pzxid = zxid;
    }
    view_change(s, r, zxid, path_parent(path), parent, &new_parent);

    new_node.exists = true;
    new_node.stat = (struct node_stat){.czxid = zxid,
                                       .mzxid = zxid,
                                       .pzxid = zxid,
                                       .ctime = s->now.wall_ms,
                                       .mtime = s->now.wall_ms,
                                       .owner = create_owner(op, r->session_id)};
    new_node.children = 0;
    new_node.data_len = op->data.data == NULL ? -1 : (int32_t)op->data.len;
    new_node.crc = digest_crc(path, op->data);
    new_node.acl = acl_intern(tree_acls(s->tree), acl);
    view_change(s, r, zxid, path, node, &new_node);
    acl_unref(tree_acls(s->tree), new_node.acl);
    return counted;
}

static int prepare_create(struct server *s, struct request *r, const struct op *op, zxid_t zxid, struct txn *txn) {
    int err = check_create_flags(s, op);
    if (err != ZK_OK)
        return err;
    err = session_error(s, r);
    if (err != ZK_OK)
        return err;
    if (!path_usable(op->path))
        return ZK_BAD_ARGUMENTS;

    buf_clear(&s->scratch_acl);
    struct jute_in acl_in = jute_in(op->acl.data, op->acl.len);
    err = auth_fix_acl(&s->auth, &acl_in, identities(r), r->identities, &s->scratch_acl);
    if (err != ZK_OK)
        return err;
    struct slice acl = {(const char *)s->scratch_acl.data, s->scratch_acl.len};

    struct view parent, node;
    view_lookup(s, path_parent(op->path), &parent);
    if (!parent.exists)
        return ZK_NO_NODE;
    if (!allowed(s, r, parent.acl, PERM_CREATE))
        return ZK_NO_AUTH;

    struct slice path = op->path;
    if (is_sequential(op->flags)) {
        buf_clear(&s->scratch);
        buf_append(&s->scratch, path.data, path.len);
        buf_printf(&s->scratch, "%010d", parent.stat.cversion);
        path = (struct slice){(const char *)s->scratch.data, s->scratch.len};
    }
    if (!path_valid(path) || path_name(path).len > ZNODE_NAME_MAX || slice_is(path, "/zookeeper/quota/zookeeper_limits"))
        return ZK_BAD_ARGUMENTS;
    view_lookup(s, path, &node);
    if (node.exists)
        return ZK_NODE_EXISTS;
    if (tree_owner_kind(s->tree, parent.stat.owner) == ZNODE_EPHEMERAL)
        return ZK_NO_CHILDREN_FOR_EPHEMERALS;
    err = check_quota(s, path, 1, (int64_t)op->data.len);
    if (err != ZK_OK)
        return err;

    int32_t parent_cversion = change_for_create(s, r, op, zxid, path, acl, &node, &parent);
    *txn = (struct txn){.type = op->type,
                        .path = path,
                        .data = op->data,
                        .acl = acl,
                        .ephemeral = op->flags == CREATE_EPHEMERAL || op->flags == CREATE_EPHEMERAL_SEQUENTIAL,
                        .parent_cversion = parent_cversion,
                        .ttl = op->ttl};
    return ZK_OK;
}

/* The change of a node that goes, and of its parent. */
static void change_for_delete(struct server *s, struct request *r, zxid_t zxid, struct slice path, const struct view *node,
                              const struct view *parent) {
    struct view new_parent = *parent, gone = *node;
    if (zxid > new_parent.stat.pzxid)
        new_parent.stat.pzxid = zxid;
    new_parent.children--;
    view_change(s, r, zxid, path_parent(path), parent, &new_parent);
    gone.exists = false;
    view_change(s, r, zxid, path, node, &gone);
}

static int prepare_delete(struct server *s, struct request *r, const struct op *op, zxid_t zxid, struct txn *txn) {
    struct view parent, node;
    int err = session_error(s, r);
    if (err != ZK_OK)
        return err;
    if (!path_usable(op->path) || is_system_path(op->path))
        return ZK_BAD_ARGUMENTS;
    view_lookup(s, path_parent(op->path), &parent);
    if (!parent.exists)
        return ZK_NO_NODE;
    if (!allowed(s, r, parent.acl, PERM_DELETE))
        return ZK_NO_AUTH;
    view_lookup(s, op->path, &node);
    if (!node.exists)
        return ZK_NO_NODE;
    if (op->version != -1 && op->version != node.stat.version)
        return ZK_BAD_VERSION;
    if (node.children != 0)
        return ZK_NOT_EMPTY;
    change_for_delete(s, r, zxid, op->path, &node, &parent);
    *txn = (struct txn){.type = OP_DELETE, .path = op->path};
    return ZK_OK;
}

/* Only the server's own reaper sends this: neither session nor permissions are looked at. */
static int prepare_container_delete(struct server *s, struct request *r, const struct op *op, zxid_t zxid, struct txn *txn) {
    struct view parent, node;
    if (!path_usable(op->path) || is_system_path(op->path))
        return ZK_BAD_ARGUMENTS;
    view_lookup(s, op->path, &node);
    if (!node.exists)
        return ZK_NO_NODE;
    if (node.children != 0)
        return ZK_NOT_EMPTY;
    if (tree_owner_kind(s->tree, node.stat.owner) == ZNODE_EPHEMERAL)
        return ZK_BAD_VERSION;
    view_lookup(s, path_parent(op->path), &parent);
    if (!parent.exists)
        return ZK_NO_NODE;
    change_for_delete(s, r, zxid, op->path, &node, &parent);
    *txn = (struct txn){.type = OP_DELETE_CONTAINER, .path = op->path};
    return ZK_OK;
}

static int prepare_set_data(struct server *s, struct request *r, const struct op *op, zxid_t zxid, struct txn *txn) {
    struct view node;
    int err = session_error(s, r);
    if (err != ZK_OK)
        return err;
    if (!path_valid(op->path))
        return ZK_BAD_ARGUMENTS;
    view_lookup(s, op->path, &node);
    if (!node.exists)
        return ZK_NO_NODE;
    if (!allowed(s, r, node.acl, PERM_WRITE))
        return ZK_NO_AUTH;
    int64_t old_len = node.data_len < 0 ? 0 : node.data_len;
    err = check_quota(s, op->path, 0, (int64_t)op->data.len - old_len);
    if (err != ZK_OK)
        return err;
    if (op->version != -1 && op->version != node.stat.version)
        return ZK_BAD_VERSION;

    struct view new = node;
    new.stat.version = (int32_t)((uint32_t)node.stat.version + 1);
    new.stat.mtime = s->now.wall_ms;
    new.stat.mzxid = zxid;
    new.data_len = op->data.data == NULL ? -1 : (int32_t)op->data.len;
    new.crc = digest_crc(slice_is(op->path, "/") ? SLICE_LIT("") : op->path, op->data);
    view_change(s, r, zxid, op->path, &node, &new);
    *txn = (struct txn){.type = OP_SET_DATA, .path = op->path, .data = op->data, .version = new.stat.version};
    return ZK_OK;
}

static int prepare_set_acl(struct server *s, struct request *r, const struct op *op, zxid_t zxid, struct txn *txn) {
    struct view node;
    int err = session_error(s, r);
    if (err != ZK_OK)
        return err;
    if (!path_valid(op->path))
        return ZK_BAD_ARGUMENTS;
    buf_clear(&s->scratch_acl);
    struct jute_in acl_in = jute_in(op->acl.data, op->acl.len);
    err = auth_fix_acl(&s->auth, &acl_in, identities(r), r->identities, &s->scratch_acl);
    if (err != ZK_OK)
        return err;
    view_lookup(s, op->path, &node);
    if (!node.exists)
        return ZK_NO_NODE;
    if (!allowed(s, r, node.acl, PERM_ADMIN))
        return ZK_NO_AUTH;
    if (op->version != -1 && op->version != node.stat.aversion)
        return ZK_BAD_VERSION;

    struct slice acl = {(const char *)s->scratch_acl.data, s->scratch_acl.len};
    struct view new = node;
    new.stat.aversion = (int32_t)((uint32_t)node.stat.aversion + 1);
    new.acl = acl_intern(tree_acls(s->tree), acl);
    view_change(s, r, zxid, op->path, &node, &new);
    acl_unref(tree_acls(s->tree), new.acl);
    *txn = (struct txn){.type = OP_SET_ACL, .path = op->path, .acl = acl, .version = new.stat.aversion};
    return ZK_OK;
}

static int prepare_check(struct server *s, struct request *r, const struct op *op, struct txn *txn) {
    struct view node;
    int err = session_error(s, r);
    if (err != ZK_OK)
        return err;
    if (!path_valid(op->path))
        return ZK_BAD_ARGUMENTS;
    view_lookup(s, op->path, &node);
    if (!node.exists)
        return ZK_NO_NODE;
    if (!allowed(s, r, node.acl, PERM_READ))
        return ZK_NO_AUTH;
    if (op->version != -1 && op->version != node.stat.version)
        return ZK_BAD_VERSION;
    *txn = (struct txn){.type = OP_CHECK, .path = op->path, .version = (int32_t)((uint32_t)node.stat.version + 1)};
    return ZK_OK;
}

bool prepare_denied(const struct server *s, const struct conn *c, int32_t type, struct slice body) {
    struct op op = {.type = type, .ttl = -1};
    struct jute_in in = jute_in(body.data, body.len);
    int32_t wanted = type == OP_DELETE ? PERM_DELETE : type == OP_SET_DATA ? PERM_WRITE : type == OP_SET_ACL ? PERM_ADMIN : PERM_CREATE;
    bool on_parent = type == OP_CREATE || type == OP_CREATE2 || type == OP_DELETE;
    if (!on_parent && type != OP_SET_DATA && type != OP_SET_ACL)
        return false;
    if (!op_decode(&in, &op) || !path_usable(op.path))
        return false;
    const struct znode *n = tree_find(s->tree, on_parent ? path_parent(op.path) : op.path);
    return n != NULL && !auth_allowed(&s->auth, tree_acls(s->tree), n->acl, wanted, &c->identities, c->identities.count);
}

int op_prepare(struct server *s, struct request *r, const struct op *op, zxid_t zxid, struct txn *txn) {
    switch (op->type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        return prepare_create(s, r, op, zxid, txn);
    case OP_DELETE:
        return prepare_delete(s, r, op, zxid, txn);
    case OP_DELETE_CONTAINER:
        return prepare_container_delete(s, r, op, zxid, txn);
    case OP_SET_DATA:
        return prepare_set_data(s, r, op, zxid, txn);
    case OP_SET_ACL:
        return prepare_set_acl(s, r, op, zxid, txn);
    case OP_CHECK:
        return prepare_check(s, r, op, txn);
    default:
        return ZK_UNIMPLEMENTED;
    }
}
