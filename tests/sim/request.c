/* Requests, and what the rules of ZooKeeper say about their results, given the state right before them. */
#include <stdio.h>

#include "sim/sim.h"

void sim_value_put(struct buf *b, int client, uint32_t value, uint32_t length) {
    size_t start = b->len;
    buf_printf(b, "c%d.%u.", client, value);
    while (b->len - start < length)
        buf_append(b, &(uint8_t){(uint8_t)(value + b->len - start)}, 1);
}

/* ------------------------------------------------------------------ choosing */

static uint64_t dice(struct sim_client *c, uint64_t sides) { return rng_below(&c->rng, sides); }

/* Few names, so that clients meet. half: 0 = all of them, 1 and 2 = disjoint parts that share no parent but the root. */
static void choose_path(struct sim_client *c, int half, char out[MODEL_PATH_MAX]) {
    uint64_t top = half == 0 ? dice(c, 4) : (uint64_t)(half - 1) * 2 + dice(c, 2), depth = dice(c, 10);
    int n = snprintf(out, MODEL_PATH_MAX, "/n%d", (int)top);
    if (depth > 0)
        n += snprintf(out + n, MODEL_PATH_MAX - (size_t)n, "/k%d", (int)dice(c, 6));
    if (depth > 6)
        snprintf(out + n, MODEL_PATH_MAX - (size_t)n, "/x%d", (int)dice(c, 4));
}

static void choose_create(struct sim_client *c, struct sim_op *op) {
    static const int32_t flags[] = {CREATE_PERSISTENT, CREATE_PERSISTENT, CREATE_EPHEMERAL, CREATE_PERSISTENT_SEQUENTIAL,
                                    CREATE_EPHEMERAL_SEQUENTIAL};
    uint64_t kind = dice(c, 12);
    op->op = dice(c, 2) == 0 ? OP_CREATE : OP_CREATE2;
    op->flags = flags[dice(c, ARRAY_LEN(flags))];
    if (kind == 0) {
        op->op = OP_CREATE_CONTAINER;
        op->flags = CREATE_CONTAINER;
    } else if (kind == 1) {
        op->op = OP_CREATE_TTL;
        op->flags = dice(c, 2) == 0 ? CREATE_PERSISTENT_TTL : CREATE_PERSISTENT_SEQUENTIAL_TTL;
        op->ttl_ms = 1 + (int64_t)dice(c, dice(c, 2) == 0 ? 2000 : 30000);
    }
}

static bool is_create(int32_t op) {
    return op == OP_CREATE || op == OP_CREATE2 || op == OP_CREATE_CONTAINER || op == OP_CREATE_TTL;
}

static bool is_sequential(const struct sim_op *op) {
    return is_create(op->op) && (op->flags == CREATE_PERSISTENT_SEQUENTIAL || op->flags == CREATE_EPHEMERAL_SEQUENTIAL ||
                                 op->flags == CREATE_PERSISTENT_SEQUENTIAL_TTL);
}

static bool is_ephemeral(const struct sim_op *op) {
    return is_create(op->op) && (op->flags == CREATE_EPHEMERAL || op->flags == CREATE_EPHEMERAL_SEQUENTIAL);
}

/* What is likely to succeed by what the client has seen, but now and then anything. */
static void choose_write(struct sim_client *c, int half, struct sim_op *op) {
    choose_path(c, half, op->path);
    const struct model_version *v = model_path_at(&c->sim->model, op->path, c->last_zxid);
    uint64_t kind = dice(c, 100);
    op->version = -1;
    op->value = ++c->values;
    op->length = (uint32_t)dice(c, dice(c, 4) == 0 ? 3000 : 200);
    if (dice(c, 5) == 0)
        v = NULL;
    if (v == NULL || kind < 15) {
        choose_create(c, op);
        if (v != NULL && op->op != OP_CREATE_CONTAINER && op->op != OP_CREATE_TTL)
            op->flags |= CREATE_PERSISTENT_SEQUENTIAL;
        char parent[MODEL_PATH_MAX];
        model_parent(op->path, parent);
        if (model_path_at(&c->sim->model, parent, c->last_zxid) == NULL && dice(c, 5) != 0) {
            memcpy(op->path, parent, sizeof parent);
            if (op->op == OP_CREATE_TTL)
                op->op = OP_CREATE;
            op->flags = op->op == OP_CREATE_CONTAINER ? CREATE_CONTAINER : CREATE_PERSISTENT;
        }
    } else if (kind < 70) {
        op->op = OP_SET_DATA;
        op->version = kind < 40 ? v->stat.version : -1;
    } else {
        op->op = OP_DELETE;
        op->version = kind < 75 ? (int32_t)dice(c, 3) : -1;
    }
}

static void choose_read(struct sim_client *c, struct sim_op *op) {
    static const int32_t ops[] = {OP_EXISTS, OP_GET_DATA, OP_GET_CHILDREN, OP_GET_CHILDREN2};
    choose_path(c, 0, op->path);
    op->op = ops[dice(c, ARRAY_LEN(ops))];
    op->watch = dice(c, 3) == 0;
    if (dice(c, 12) == 0) {
        op->op = OP_ADD_WATCH;
        op->mode = (int32_t)dice(c, 2);
    } else if (dice(c, sim_is_ensemble(c->sim) ? 4 : 15) == 0) {
        op->op = OP_SYNC;
    } else if (dice(c, 15) == 0) {
        op->op = OP_GET_EPHEMERALS;
        snprintf(op->path, sizeof op->path, "/");
    }
}

static void choose_multi_read(struct sim_client *c, struct sim_request *r) {
    r->op = OP_MULTI_READ;
    r->count = 1 + (int)dice(c, SIM_PARTS);
    for (int i = 0; i < r->count; i++) {
        choose_path(c, 0, r->parts[i].path);
        r->parts[i].op = dice(c, 2) == 0 ? OP_GET_DATA : OP_GET_CHILDREN;
    }
}

void sim_request_choose(struct sim_client *c, struct sim_request *r) {
    uint64_t kind = dice(c, 100);
    *r = (struct sim_request){.count = 1};
    if (kind < 4) {
        choose_multi_read(c, r);
        return;
    }
    if (kind < 30 || c->reads_only) {
        choose_read(c, &r->parts[0]);
    } else if (kind < 85) {
        choose_write(c, 0, &r->parts[0]);
    } else {
        /* The first two have nothing to do with each other, so that each can be judged by the state before the multi. */
        r->count = 2;
        choose_write(c, 1, &r->parts[0]);
        choose_write(c, 2, &r->parts[1]);
        if (dice(c, 3) == 0) {
            r->parts[1].op = OP_CHECK;
            r->parts[1].flags = 0;
        }
    }
    r->op = r->count > 1 ? OP_MULTI : r->parts[0].op;
}

/* ------------------------------------------------------------------ encoding */

static void put_op(const struct sim_client *c, const struct sim_op *op, struct buf *b) {
    struct buf data = BUF_INIT;
    jute_put_bytes(b, slice_of(op->path));
    switch (op->op) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
    case OP_SET_DATA:
        sim_value_put(&data, c->id, op->value, op->length);
        jute_put_bytes(b, (struct slice){(const char *)data.data, data.len});
        if (op->op == OP_SET_DATA) {
            jute_put_int(b, op->version);
            break;
        }
        jute_put_int(b, 1);
        acl_entry_put(b, &(struct acl_entry){.perms = PERM_ALL, .scheme = SLICE_LIT("world"), .id = SLICE_LIT("anyone")});
        jute_put_int(b, op->flags);
        if (op->op == OP_CREATE_TTL)
            jute_put_long(b, op->ttl_ms);
        break;
    case OP_DELETE:
    case OP_CHECK:
        jute_put_int(b, op->version);
        break;
    case OP_ADD_WATCH:
        jute_put_int(b, op->mode);
        break;
    case OP_SYNC:
    case OP_GET_EPHEMERALS:
        break;
    default:
        jute_put_bool(b, op->watch);
    }
    buf_free(&data);
}

void sim_request_put(const struct sim_client *c, const struct sim_request *r, struct buf *frame) {
    jute_put_int(frame, r->xid);
    jute_put_int(frame, r->op);
    if (r->op == OP_SET_WATCHES2) {
        sim_watch_put_lists(c, frame);
    } else if (r->op == OP_MULTI || r->op == OP_MULTI_READ) {
        for (int i = 0; i < r->count; i++) {
            multi_header_put(frame, (struct multi_header){.type = r->parts[i].op, .err = -1});
            put_op(c, &r->parts[i], frame);
        }
        multi_header_put(frame, (struct multi_header){.type = -1, .done = true, .err = -1});
    } else if (r->count > 0) {
        put_op(c, &r->parts[0], frame);
    }
}

void sim_request_text(const struct sim_request *r, char *out, size_t size) {
    int n = snprintf(out, size, "#%d %s", r->xid, proto_op_name(r->op));
    for (int i = 0; i < r->count && n > 0 && (size_t)n < size; i++)
        n += snprintf(out + n, size - (size_t)n, " %s(%s v%d f%d =%u%s)", proto_op_name(r->parts[i].op), r->parts[i].path,
                      r->parts[i].version, r->parts[i].flags, r->parts[i].value, r->parts[i].watch ? " watch" : "");
}

static bool is_write(int32_t op) {
    return is_create(op) || op == OP_SET_DATA || op == OP_DELETE || op == OP_MULTI || op == OP_CLOSE_SESSION;
}

bool sim_request_is_write(const struct sim_request *r) { return is_write(r->op); }

/* ------------------------------------------------------------------ what the rules say */

bool sim_stat_equal(const struct stat_view *a, const struct stat_view *b) {
    return a->czxid == b->czxid && a->mzxid == b->mzxid && a->ctime == b->ctime && a->mtime == b->mtime &&
           a->version == b->version && a->cversion == b->cversion && a->aversion == b->aversion &&
           a->ephemeral_owner == b->ephemeral_owner && a->data_length == b->data_length &&
           a->num_children == b->num_children && a->pzxid == b->pzxid;
}

static int create_rule(const struct sim *sim, const struct sim_op *op, zxid_t before) {
    char parent[MODEL_PATH_MAX], path[MODEL_PATH_MAX + 16];
    model_parent(op->path, parent);
    const struct model_version *above = model_path_at(&sim->model, parent, before);
    if (above == NULL)
        return ZK_NO_NODE;
    snprintf(path, sizeof path, "%s", op->path);
    if (is_sequential(op))
        snprintf(path, sizeof path, "%s%010d", op->path, above->children_made);
    if (model_path_at(&sim->model, path, before) != NULL)
        return ZK_NODE_EXISTS;
    return above->stat.ephemeral_owner != 0 ? ZK_NO_CHILDREN_FOR_EPHEMERALS : ZK_OK;
}

/* The result of one write by the state at before. */
static int rule(const struct sim *sim, const struct sim_op *op, zxid_t before) {
    if (is_create(op->op))
        return create_rule(sim, op, before);
    const struct model_version *v = model_path_at(&sim->model, op->path, before);
    if (v == NULL)
        return ZK_NO_NODE;
    if (op->version != -1 && op->version != v->stat.version)
        return ZK_BAD_VERSION;
    return op->op == OP_DELETE && v->stat.num_children != 0 ? ZK_NOT_EMPTY : ZK_OK;
}

static void wrong(struct sim_client *c, const struct sim_request *r, zxid_t zxid, const char *what) {
    char text[300];
    sim_request_text(r, text, sizeof text);
    sim_fail(c->sim, "client %d, %s at zxid 0x%llx: %s", c->id, text, (unsigned long long)zxid, what);
}

/* ------------------------------------------------------------------ replies to writes */

/* Is the transaction what was asked for? */
static bool txn_fits(const struct sim_client *c, const struct sim_op *op, const struct txn *t) {
    bool sequential = is_sequential(op);
    if (t->type != op->op)
        return false;
    if (sequential ? !slice_starts(t->path, slice_of(op->path)) || t->path.len < strlen(op->path) + 10
                   : !slice_is(t->path, op->path))
        return false;
    if (op->op == OP_DELETE || op->op == OP_CHECK)
        return true;
    struct buf data = BUF_INIT;
    sim_value_put(&data, c->id, op->value, op->length);
    bool same = slice_eq(t->data, (struct slice){(const char *)data.data, data.len});
    buf_free(&data);
    if (op->op == OP_CREATE_CONTAINER || op->op == OP_CREATE_TTL)
        return same && (op->op == OP_CREATE_CONTAINER || t->ttl == op->ttl_ms);
    return same && (op->op == OP_SET_DATA || t->ephemeral == is_ephemeral(op));
}

/* The body of one successful write. */
static bool body_fits(const struct sim *sim, const struct txn *t, zxid_t zxid, struct jute_in *body) {
    char path[MODEL_PATH_MAX];
    struct stat_view stat;
    snprintf(path, sizeof path, "%.*s", (int)t->path.len, t->path.data);
    const struct model_version *v = model_path_at(&sim->model, path, zxid);
    if (is_create(t->type)) {
        if (!slice_eq(jute_bytes(body), t->path))
            return false;
        if (t->type == OP_CREATE)
            return true;
    }
    if (t->type == OP_DELETE)
        return v == NULL;
    if (t->type == OP_CHECK)
        return true;
    return stat_view_get(body, &stat) && v != NULL && sim_stat_equal(&stat, &v->stat);
}

static void count_op(struct sim_counters *n, const struct sim_op *op) {
    n->sequential += is_sequential(op);
    n->ephemerals += is_ephemeral(op);
    n->containers += op->op == OP_CREATE_CONTAINER;
    n->ttl_nodes += op->op == OP_CREATE_TTL;
}

/* Growing writes may be refused while the disk is short of space, and a little longer. When this one was decided nobody tells
 * here, but it was not before it was sent. */
static bool may_be_refused(const struct sim *sim, const struct sim_request *r) {
    for (int i = 0; i < sim->node_count; i++)
        if (sim->nodes[i].full || r->sent_us - sim->nodes[i].full_seen_us < 5000000)
            return true;
    return false;
}

/* The session went on elsewhere, or has ended, while the request was on its way to the leader. */
static bool came_too_late(const struct sim_client *c, const struct txn *t, int32_t err) {
    return sim_is_ensemble(c->sim) && (err == ZK_SESSION_MOVED || err == ZK_SESSION_EXPIRED) && t->type == OP_ERROR &&
           t->err == err;
}

static void check_multi(struct sim_client *c, const struct sim_request *r, const struct txn *t, zxid_t zxid,
                        struct jute_in *body) {
    struct slice rest = t->rest;
    struct txn sub;
    bool bad = false, failed = false;
    int first_error = -1;
    for (int i = 0; i < r->count; i++) {
        if (!txn_sub_next(&rest, &sub, &bad)) {
            wrong(c, r, zxid, "the transaction holds too few operations");
            return;
        }
        if (sub.type == OP_ERROR && first_error < 0)
            first_error = i;
        if (sub.type == OP_ERROR)
            failed = true;
    }
    rest = t->rest;
    for (int i = 0; i < r->count && txn_sub_next(&rest, &sub, &bad); i++) {
        struct multi_header h = multi_header_get(body);
        if (sub.type == OP_ERROR && (sub.err == ZK_SESSION_MOVED || sub.err == ZK_SESSION_EXPIRED) && sim_is_ensemble(c->sim))
            return;
        int expected = !failed || i < first_error ? ZK_OK
                       : i == first_error         ? rule(c->sim, &r->parts[i], zxid - 1)
                                                  : ZK_RUNTIME_INCONSISTENCY;
        if (!failed) {
            if (rule(c->sim, &r->parts[i], zxid - 1) != ZK_OK)
                wrong(c, r, zxid, "a multi succeeded that had to fail");
            if (sub.type == OP_CREATE2)
                wrong(c, r, zxid, "a create2 inside a multi, which ZooKeeper before 3.8.2 cannot read");
            if (r->parts[i].op == OP_CREATE2 && sub.type == OP_CREATE)
                sub.type = OP_CREATE2;
            if (!txn_fits(c, &r->parts[i], &sub) || !body_fits(c->sim, &sub, zxid, body))
                wrong(c, r, zxid, "a part of the multi is not what was asked for");
            count_op(c->sim->counters, &r->parts[i]);
        } else if (h.type != OP_ERROR || jute_int(body) != h.err ||
                   (h.err != expected && !(h.err == ZK_QUOTA_EXCEEDED && may_be_refused(c->sim, r)))) {
            wrong(c, r, zxid, "a part of the failed multi has another error than it should");
        }
    }
    if (!multi_header_get(body).done || body->failed)
        wrong(c, r, zxid, "the reply to the multi does not end");
    c->sim->counters->failed_multis += failed;
    c->sim->counters->multis += !failed;
}

static void check_write(struct sim_client *c, const struct sim_request *r, zxid_t zxid, int32_t err, struct jute_in *body) {
    struct sim *sim = c->sim;
    struct txn_header h;
    struct txn t;
    int32_t digest_version;
    uint64_t digest;
    const struct model_txn *txn = model_txn_at(&sim->model, zxid);
    bool own = txn != NULL && txn->header.client_id == c->session && txn->header.cxid == r->xid;
    if (err == ZK_QUOTA_EXCEEDED) {
        sim->counters->refused++;
        if (!may_be_refused(sim, r))
            wrong(c, r, zxid, "refused for lack of space, but there is enough");
        return;
    }
    if (!own || !txn_decode(txn->payload, &h, &t, &digest_version, &digest)) {
        wrong(c, r, zxid, "the transaction of this zxid is not that of this request");
        return;
    }
    if (zxid <= r->shown)
        wrong(c, r, zxid, "it was asked for when more than this had been seen: real time and zxids disagree");
    if (came_too_late(c, &t, err))
        return;
    sim->counters->forwarded += sim_is_ensemble(sim) && sim_index(c->node) != sim->leader;
    sim->counters->acked += err == ZK_OK;
    sim->counters->errors += err != ZK_OK;
    if (r->op == OP_CLOSE_SESSION) {
        sim->counters->closes++;
        if (err != ZK_OK || t.type != OP_CLOSE_SESSION)
            wrong(c, r, zxid, "the session was not closed");
    } else if (r->op == OP_MULTI) {
        if (err != ZK_OK || t.type != OP_MULTI)
            wrong(c, r, zxid, "a multi fails only in its parts");
        else
            check_multi(c, r, &t, zxid, body);
    } else if (err != rule(sim, &r->parts[0], zxid - 1)) {
        wrong(c, r, zxid, "another result than the state before allows");
    } else if (err != ZK_OK ? t.type != OP_ERROR : !txn_fits(c, &r->parts[0], &t) || !body_fits(sim, &t, zxid, body)) {
        wrong(c, r, zxid, "the transaction or the reply is not what was asked for");
    } else if (err == ZK_OK) {
        count_op(sim->counters, &r->parts[0]);
    }
}

/* ------------------------------------------------------------------ replies to reads */

/* The names are the children at that zxid, each once. */
static bool children_fit(struct sim *sim, const struct sim_op *op, const struct model_version *v, zxid_t zxid,
                         struct jute_in *body) {
    int32_t count = jute_int(body);
    uint64_t stamp = ++sim->model.stamp;
    if (count != v->stat.num_children)
        return false;
    for (int32_t i = 0; i < count; i++) {
        char path[2 * MODEL_PATH_MAX];
        struct slice name = jute_bytes(body);
        if (name.data == NULL || name.len >= MODEL_PATH_MAX)
            return false;
        snprintf(path, sizeof path, "%s/%.*s", op->path, (int)name.len, name.data);
        struct model_node *child = model_find(&sim->model, path);
        if (model_at(child, zxid) == NULL || child->stamp == stamp)
            return false;
        child->stamp = stamp;
    }
    return true;
}

static bool ephemerals_fit(const struct sim_client *c, zxid_t zxid, struct jute_in *body) {
    struct sim *sim = c->sim;
    int32_t count = jute_int(body), expected = 0;
    uint64_t stamp = ++sim->model.stamp;
    for (int32_t i = 0; i < count; i++) {
        char path[MODEL_PATH_MAX];
        struct slice text = jute_bytes(body);
        snprintf(path, sizeof path, "%.*s", (int)text.len, text.data);
        struct model_node *node = model_find(&sim->model, path);
        if (node == NULL || node->stamp == stamp)
            return false;
        node->stamp = stamp;
    }
    for (size_t i = 0; i < sim->model.node_count; i++) {
        const struct model_version *v = model_at(sim->model.nodes[i], zxid);
        bool mine = v != NULL && v->stat.ephemeral_owner == c->session;
        expected += mine;
        if (mine != (sim->model.nodes[i]->stamp == stamp))
            return false;
    }
    return count == expected && !body->failed;
}

static void check_read(struct sim_client *c, const struct sim_request *r, zxid_t zxid, int32_t err, struct jute_in *body) {
    const struct sim_op *op = &r->parts[0];
    const struct model_version *v = model_path_at(&c->sim->model, op->path, zxid);
    struct stat_view stat;
    bool fits = true, needs_node = op->op != OP_SYNC && op->op != OP_ADD_WATCH && op->op != OP_GET_EPHEMERALS;
    c->sim->counters->reads++;
    if (err != (needs_node && v == NULL ? ZK_NO_NODE : ZK_OK)) {
        wrong(c, r, zxid, "the node is there and is not");
        return;
    }
    if (err != ZK_OK)
        return;
    if (op->op == OP_GET_DATA)
        fits = slice_eq(jute_bytes(body), v->data);
    else if (op->op == OP_GET_CHILDREN || op->op == OP_GET_CHILDREN2)
        fits = children_fit(c->sim, op, v, zxid, body);
    else if (op->op == OP_SYNC)
        fits = slice_is(jute_bytes(body), op->path);
    else if (op->op == OP_GET_EPHEMERALS)
        fits = ephemerals_fit(c, zxid, body);
    if (op->op == OP_SYNC) {
        c->sim->counters->syncs += sim_is_ensemble(c->sim);
        if (zxid < r->shown)
            wrong(c, r, zxid, "a sync that does not bring what had been seen when it was asked for");
    }
    if (!fits)
        wrong(c, r, zxid, "the answer is not the state at its zxid");
    bool has_stat = op->op == OP_EXISTS || op->op == OP_GET_DATA || op->op == OP_GET_CHILDREN2;
    if (has_stat && (!stat_view_get(body, &stat) || !sim_stat_equal(&stat, &v->stat)))
        wrong(c, r, zxid, "the stat is not that of its zxid");
}

/* All parts show the tree at one zxid, that of the header. */
static void check_multi_read(struct sim_client *c, const struct sim_request *r, zxid_t zxid, struct jute_in *body) {
    c->sim->counters->multi_reads++;
    for (int i = 0; i < r->count; i++) {
        const struct sim_op *op = &r->parts[i];
        const struct model_version *v = model_path_at(&c->sim->model, op->path, zxid);
        struct multi_header h = multi_header_get(body);
        struct stat_view stat;
        bool fits;
        if (v == NULL)
            fits = h.type == OP_ERROR && h.err == ZK_NO_NODE && jute_int(body) == ZK_NO_NODE;
        else if (op->op == OP_GET_DATA)
            fits = h.type == op->op && slice_eq(jute_bytes(body), v->data) && stat_view_get(body, &stat) &&
                   sim_stat_equal(&stat, &v->stat);
        else
            fits = h.type == op->op && children_fit(c->sim, op, v, zxid, body);
        if (!fits)
            wrong(c, r, zxid, "a part of the multiRead is not the state at its zxid");
    }
    if (!multi_header_get(body).done || body->failed)
        wrong(c, r, zxid, "the reply to the multiRead does not end");
}

void sim_request_check(struct sim_client *c, const struct sim_request *r, zxid_t zxid, int32_t err, struct jute_in body) {
    if (r->op == OP_SET_WATCHES2) {
        if (err != ZK_OK)
            wrong(c, r, zxid, "setWatches failed");
        return;
    }
    if (r->op == OP_MULTI_READ) {
        if (err != ZK_OK)
            wrong(c, r, zxid, "a multiRead failed as a whole");
        else
            check_multi_read(c, r, zxid, &body);
    } else if (sim_request_is_write(r))
        check_write(c, r, zxid, err, &body);
    else
        check_read(c, r, zxid, err, &body);
}
