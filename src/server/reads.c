/* Reads, pings and watch operations: answered at once from the applied tree.
 * See docs/protocol/operations.md sections 11 and 12. */
#include "server/server.h"

/* A reply under construction. Its frame starts in one buffer of the connection and may go on in further segments, when
 * it holds the children of a large znode. */
struct reading {
    struct server *s;
    struct conn *c;
    uint32_t identities;
    struct buf *first; /* where the frame starts, at offset start */
    size_t start;
    struct list *segment_before; /* last segment that existed before this reply */
};

static struct buf *body(struct reading *rd) { return conn_out(rd->c); }

static bool allowed(const struct reading *rd, const struct znode *n, int32_t wanted) {
    return auth_allowed(&rd->s->auth, tree_acls(rd->s->tree), n->acl, wanted, &rd->c->identities, rd->identities);
}

static void put_stat(struct reading *rd, const struct znode *n) {
    struct stat_view view;
    tree_stat_view(rd->s->tree, n, &view);
    stat_view_put(body(rd), &view);
}

static void set_watch(struct reading *rd, struct slice path, struct znode *n, unsigned modes) {
    watch_add(rd->s->watches, rd->c->slot, path, n, modes);
    rd->c->has_watches = true;
}

static void put_children(struct reading *rd, struct znode *n) {
    uint32_t count = znode_children(n);
    metrics_children_size(&rd->s->metrics, count);
    jute_put_int(body(rd), (int32_t)count);
    if (count == 0)
        return;
    if (n->kids->name_bytes + 4 * (uint64_t)count <= rd->s->listing_inline_bytes)
        tree_children_put(n, body(rd));
    else
        conn_add_listing(rd->c, tree_listing_new(rd->s->tree, n));
}

/* What most reads are about. */
struct target {
    struct slice path;
    bool watch;
    struct znode *node;
};

/* Decodes path and (has_watch) watch flag, finds the znode, and asks whether one of the permissions wanted is given. Returns
 * a ZK code; only with ZK_OK is there a node. */
static int find_target(struct reading *rd, struct jute_in *in, bool has_watch, int32_t wanted, struct target *t) {
    t->path = jute_bytes_not_null(in);
    t->watch = has_watch && jute_bool(in);
    if (in->failed)
        return ZK_MARSHALLING_ERROR;
    t->node = tree_find(rd->s->tree, t->path);
    if (t->node == NULL)
        return ZK_NO_NODE;
    return allowed(rd, t->node, wanted) ? ZK_OK : ZK_NO_AUTH;
}

/* ------------------------------------------------------------------ operations: each returns a ZK code */

static int read_exists(struct reading *rd, struct jute_in *in) {
    struct slice path = jute_bytes_not_null(in);
    bool watch = jute_bool(in);
    if (in->failed)
        return ZK_MARSHALLING_ERROR;
    if (memchr(path.data, '\0', path.len) != NULL)
        return ZK_BAD_ARGUMENTS;
    /* Not find_target: a watch is left where there is no znode, too. */
    struct znode *n = tree_find(rd->s->tree, path);
    if (n != NULL && !allowed(rd, n, PERM_READ))
        return ZK_NO_AUTH;
    if (watch)
        set_watch(rd, path, n, WATCH_DATA);
    if (n == NULL)
        return ZK_NO_NODE;
    put_stat(rd, n);
    return ZK_OK;
}

static int read_data(struct reading *rd, struct jute_in *in, bool may_watch) {
    struct target t;
    int err = find_target(rd, in, true, PERM_READ, &t);
    if (err != ZK_OK)
        return err;
    if (t.watch && may_watch)
        set_watch(rd, t.path, t.node, WATCH_DATA);
    jute_put_bytes(body(rd), znode_data(t.node));
    put_stat(rd, t.node);
    return ZK_OK;
}

static int read_children(struct reading *rd, struct jute_in *in, bool with_stat, bool may_watch) {
    struct target t;
    int err = find_target(rd, in, true, PERM_READ, &t);
    if (err != ZK_OK)
        return err;
    if (t.watch && may_watch)
        set_watch(rd, t.path, t.node, WATCH_CHILD);
    put_children(rd, t.node);
    if (with_stat)
        put_stat(rd, t.node);
    return ZK_OK;
}

static int read_acl(struct reading *rd, struct jute_in *in) {
    struct target t;
    int err = find_target(rd, in, false, PERM_READ | PERM_ADMIN, &t);
    if (err != ZK_OK)
        return err;
    struct slice acl = acl_bytes(tree_acls(rd->s->tree), t.node->acl);
    if (allowed(rd, t.node, PERM_ADMIN))
        buf_append(body(rd), acl.data, acl.len);
    else
        auth_mask_acl(acl, body(rd));
    put_stat(rd, t.node);
    return ZK_OK;
}

static int read_all_children_number(struct reading *rd, struct jute_in *in) {
    struct target t;
    int err = find_target(rd, in, false, PERM_READ, &t);
    if (err == ZK_OK)
        jute_put_int(body(rd), (int32_t)znode_descendants(t.node));
    return err;
}

static bool is_blank(struct slice text) {
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.data[i] > ' ')
            return false;
    return true;
}

static int read_ephemerals(struct reading *rd, struct jute_in *in) {
    struct slice prefix = jute_bytes(in);
    if (in->failed)
        return ZK_MARSHALLING_ERROR;
    bool all = is_blank(prefix) || slice_is(prefix, "/");
    const struct owned *owned = tree_owned_by(rd->s->tree, rd->c->session_id);
    struct buf *b = body(rd);
    size_t count_at = b->len;
    int32_t count = 0;
    jute_put_int(b, 0);
    for (uint32_t i = 0; owned != NULL && i < owned->count; i++) {
        size_t start = frame_begin(b);
        znode_path(owned->nodes[i], b);
        struct slice path = {(const char *)b->data + start + 4, b->len - start - 4};
        if (all || slice_starts(path, prefix)) {
            frame_end(b, start);
            count++;
        } else {
            b->len = start;
        }
    }
    jute_patch_int(b, count_at, count);
    return ZK_OK;
}

static int read_sync(struct reading *rd, struct jute_in *in) {
    struct slice path = jute_bytes(in);
    if (in->failed)
        return ZK_MARSHALLING_ERROR;
    if (path.data == NULL) {
        jute_put_int(body(rd), -1);
        return ZK_OK;
    }
    struct buf *b = body(rd);
    size_t start = frame_begin(b);
    str_java_echo(b, (const uint8_t *)path.data, path.len);
    frame_end(b, start);
    return ZK_OK;
}

static int read_who_am_i(struct reading *rd) {
    struct buf *b = body(rd);
    jute_put_int(b, (int32_t)rd->identities);
    for (uint32_t i = 0; i < rd->identities; i++) {
        const struct identity *id = &rd->c->identities.entries[i];
        jute_put_bytes(b, id->scheme);
        jute_put_bytes(b, auth_user_name(&rd->s->auth, id));
    }
    return ZK_OK;
}

/* ------------------------------------------------------------------ multiRead */

static bool multi_read_decodes(struct jute_in in) {
    for (;;) {
        struct multi_header h = multi_header_get(&in);
        if (!in.failed && h.done)
            return true;
        if (h.type != OP_GET_DATA && h.type != OP_GET_CHILDREN)
            return false;
        jute_bytes_not_null(&in);
        jute_bool(&in);
        if (in.failed)
            return false;
    }
}

static int read_multi(struct reading *rd, struct jute_in *in) {
    if (!multi_read_decodes(*in))
        return ZK_MARSHALLING_ERROR;
    for (struct multi_header h; h = multi_header_get(in), !h.done;) {
        struct buf *b = body(rd);
        size_t at = b->len;
        multi_header_put(b, (struct multi_header){.type = h.type});
        int err = h.type == OP_GET_DATA ? read_data(rd, in, false) : read_children(rd, in, false, false);
        if (err != ZK_OK) {
            b->len = at;
            multi_header_put(b, (struct multi_header){.type = OP_ERROR, .err = err});
            jute_put_int(b, err);
        }
        if (conn_output_bytes(rd->c) > (size_t)rd->s->config->client_output_buffer_limit_bytes)
            break; /* the connection is about to be closed for it */
    }
    multi_header_put(body(rd), (struct multi_header){.type = OP_ERROR, .done = true, .err = -1});
    return ZK_OK;
}

/* ------------------------------------------------------------------ watch operations */

/* Catch-up events of setWatches carry no zxid and are not filtered. They stand before the reply's frame. */
static void catch_up_event(struct reading *rd, enum event_type type, struct slice path) {
    struct buf *b = body(rd);
    size_t start = frame_begin(b);
    uint8_t *p = buf_tail(b, REPLY_HEADER_BYTES);
    reply_header_store(p, &(struct reply_header){.xid = XID_NOTIFICATION, .zxid = -1});
    b->len += REPLY_HEADER_BYTES;
    jute_put_int(b, (int32_t)type);
    jute_put_int(b, STATE_SYNC_CONNECTED);
    jute_put_bytes(b, path);
    frame_end(b, start);
    rd->c->sent++;
    rd->s->metrics.packets_sent++;
}

enum watch_list { LIST_DATA, LIST_EXIST, LIST_CHILD, LIST_PERSISTENT, LIST_RECURSIVE, LIST_COUNT };

static void restore_watch(struct reading *rd, enum watch_list list, struct slice path, zxid_t seen) {
    struct znode *n = tree_find(rd->s->tree, path);
    switch (list) {
    case LIST_DATA:
        if (n == NULL)
            catch_up_event(rd, EVENT_NODE_DELETED, path);
        else if (n->mzxid > seen)
            catch_up_event(rd, EVENT_NODE_DATA_CHANGED, path);
        else
            set_watch(rd, path, n, WATCH_DATA);
        break;
    case LIST_EXIST:
        if (n != NULL)
            catch_up_event(rd, EVENT_NODE_CREATED, path);
        else
            set_watch(rd, path, n, WATCH_DATA);
        break;
    case LIST_CHILD:
        if (n == NULL)
            catch_up_event(rd, EVENT_NODE_DELETED, path);
        else if (n->pzxid > seen)
            catch_up_event(rd, EVENT_NODE_CHILDREN_CHANGED, path);
        else
            set_watch(rd, path, n, WATCH_CHILD);
        break;
    case LIST_PERSISTENT:
        set_watch(rd, path, n, WATCH_DATA_PERSISTENT | WATCH_CHILD_PERSISTENT);
        break;
    default:
        set_watch(rd, path, n, WATCH_RECURSIVE);
    }
}

/* True if the body holds lists complete vectors without a null in them. */
static bool watch_lists_decode(struct jute_in in, int lists) {
    jute_long(&in);
    for (int i = 0; i < lists; i++) {
        int32_t count = jute_count(&in);
        if (count == -1)
            return false;
        for (int32_t k = 0; k < count && !in.failed; k++)
            jute_bytes_not_null(&in);
    }
    return !in.failed;
}

static int read_set_watches(struct reading *rd, struct jute_in *in, int lists) {
    if (!watch_lists_decode(*in, lists))
        return ZK_MARSHALLING_ERROR;
    zxid_t seen = jute_long(in);
    for (int list = 0; list < lists; list++) {
        int32_t count = jute_count(in);
        for (int32_t i = 0; i < count; i++)
            restore_watch(rd, (enum watch_list)list, jute_bytes(in), seen);
    }
    return ZK_OK;
}

static int read_add_watch(struct reading *rd, struct jute_in *in) {
    struct slice path = jute_bytes_not_null(in);
    int32_t mode = jute_int(in);
    if (in->failed || (mode != ADD_WATCH_PERSISTENT && mode != ADD_WATCH_PERSISTENT_RECURSIVE))
        return ZK_MARSHALLING_ERROR;
    set_watch(rd, path, tree_find(rd->s->tree, path),
              mode == ADD_WATCH_PERSISTENT ? WATCH_DATA_PERSISTENT | WATCH_CHILD_PERSISTENT : WATCH_RECURSIVE);
    jute_put_int(body(rd), 0);
    return ZK_OK;
}

/* The modes that a watcher type looks at; 0 = no such type. */
static unsigned watcher_type_modes(int32_t type, bool remove) {
    switch (type) {
    case WATCHER_CHILDREN:
        return WATCH_CHILD;
    case WATCHER_DATA:
        return WATCH_DATA;
    case WATCHER_ANY:
        return WATCH_ALL;
    case WATCHER_PERSISTENT:
        return remove ? WATCH_DATA_PERSISTENT | WATCH_CHILD_PERSISTENT : WATCH_DATA_PERSISTENT;
    case WATCHER_RECURSIVE:
        return WATCH_RECURSIVE;
    default:
        return 0;
    }
}

static int read_check_watches(struct reading *rd, struct jute_in *in, bool remove) {
    struct slice path = jute_bytes_not_null(in);
    int32_t type = jute_int(in);
    unsigned modes = watcher_type_modes(type, remove);
    if (in->failed || modes == 0)
        return ZK_MARSHALLING_ERROR;
    unsigned found = remove ? watch_remove(rd->s->watches, rd->c->slot, path, modes)
                            : watch_get(rd->s->watches, rd->c->slot, path) & modes;
    return found != 0 ? ZK_OK : ZK_NO_WATCHER;
}

/* ------------------------------------------------------------------ dispatch */

bool reads_is_read(int32_t op) {
    switch (op) {
    case OP_EXISTS:
    case OP_GET_DATA:
    case OP_GET_ACL:
    case OP_GET_CHILDREN:
    case OP_GET_CHILDREN2:
    case OP_SYNC:
    case OP_PING:
    case OP_CHECK_WATCHES:
    case OP_REMOVE_WATCHES:
    case OP_MULTI_READ:
    case OP_SET_WATCHES:
    case OP_SET_WATCHES2:
    case OP_GET_EPHEMERALS:
    case OP_GET_ALL_CHILDREN_NUMBER:
    case OP_ADD_WATCH:
    case OP_WHO_AM_I:
        return true;
    default:
        return false;
    }
}

static int execute(struct reading *rd, int32_t op, struct jute_in *in) {
    switch (op) {
    case OP_EXISTS:
        return read_exists(rd, in);
    case OP_GET_DATA:
        return read_data(rd, in, true);
    case OP_GET_ACL:
        return read_acl(rd, in);
    case OP_GET_CHILDREN:
        return read_children(rd, in, false, true);
    case OP_GET_CHILDREN2:
        return read_children(rd, in, true, true);
    case OP_SYNC:
        return read_sync(rd, in);
    case OP_CHECK_WATCHES:
        return read_check_watches(rd, in, false);
    case OP_REMOVE_WATCHES:
        return read_check_watches(rd, in, true);
    case OP_MULTI_READ:
        return read_multi(rd, in);
    case OP_GET_EPHEMERALS:
        return read_ephemerals(rd, in);
    case OP_GET_ALL_CHILDREN_NUMBER:
        return read_all_children_number(rd, in);
    case OP_ADD_WATCH:
        return read_add_watch(rd, in);
    case OP_WHO_AM_I:
        return read_who_am_i(rd);
    default:
        return ZK_UNIMPLEMENTED;
    }
}

static void reply_begin(struct reading *rd) {
    rd->segment_before = rd->c->segments.prev;
    rd->first = body(rd);
    rd->start = rd->first->len;
    rd->first->len = rd->start;
    buf_tail(rd->first, 4 + REPLY_HEADER_BYTES);
    rd->first->len += 4 + REPLY_HEADER_BYTES;
}

static void reply_end(struct reading *rd, int32_t xid, zxid_t zxid, int err) {
    if (err != ZK_OK)
        rd->first->len = rd->start + 4 + REPLY_HEADER_BYTES;
    uint64_t len = rd->first->len - rd->start - 4;
    for (struct list *l = rd->segment_before->next; l != &rd->c->segments; l = l->next) {
        const struct conn_segment *seg = CONTAINER_OF(l, struct conn_segment, link);
        len += seg->bytes.len;
        if (seg->listing != NULL)
            len += tree_listing_name_bytes(seg->listing) + 4 * (uint64_t)tree_listing_count(seg->listing);
    }
    uint8_t *p = be32_store(rd->first->data + rd->start, (uint32_t)len);
    reply_header_store(p, &(struct reply_header){.xid = xid, .zxid = zxid, .err = err});
    rd->c->sent++;
    rd->s->metrics.packets_sent++;
    metrics_response_size(&rd->s->metrics, len);
}

void reads_execute(struct server *s, struct conn *c, int32_t xid, int32_t op, struct slice request_body,
                   uint32_t identities) {
    struct reading rd = {.s = s, .c = c, .identities = identities};
    struct jute_in in = jute_in(request_body.data, request_body.len);
    zxid_t zxid = s->last_applied;
    c->last_zxid = zxid;
    conn_dirty(c);
    if (op == OP_PING) {
        conn_reply_header(c, XID_PING, zxid, ZK_OK);
        return;
    }
    if (op == OP_SET_WATCHES || op == OP_SET_WATCHES2) {
        int err = read_set_watches(&rd, &in, op == OP_SET_WATCHES ? LIST_PERSISTENT : LIST_COUNT);
        conn_reply_header(c, xid, zxid, err);
        return;
    }
    reply_begin(&rd);
    int err = execute(&rd, op, &in);
    reply_end(&rd, xid, zxid, err);
}
