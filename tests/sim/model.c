#include "sim/model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"

static bool PRINTF_LIKE(2, 3) refuse(struct model *m, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(m->error, sizeof m->error, fmt, args);
    va_end(args);
    return false;
}

/* ------------------------------------------------------------------ nodes */

static uint64_t path_key(const char *path) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *path != '\0'; path++)
        h = (h ^ (uint8_t)*path) * 0x100000001b3u;
    return h;
}

struct model_node *model_find(const struct model *m, const char *path) {
    struct model_node *node = hmap_get(&m->by_path, path_key(path));
    zassert(node == NULL || strcmp(node->path, path) == 0);
    return node;
}

void model_parent(const char *path, char out[MODEL_PATH_MAX]) {
    size_t len = (size_t)(strrchr(path, '/') - path);
    memcpy(out, path, len);
    out[len] = '\0';
    if (len == 0)
        strcpy(out, "/");
}

static struct model_node *make_node(struct model *m, const char *path, struct model_node *parent) {
    struct model_node *node = mem_calloc(1, sizeof *node);
    snprintf(node->path, sizeof node->path, "%s", path);
    node->parent = parent;
    hmap_put(&m->by_path, path_key(path), node);
    m->nodes = mem_realloc(m->nodes, (m->node_count + 1) * sizeof(struct model_node *));
    m->nodes[m->node_count++] = node;
    if (parent != NULL) {
        parent->children = mem_realloc(parent->children, (parent->child_count + 1) * sizeof(struct model_node *));
        parent->children[parent->child_count++] = node;
    }
    return node;
}

const struct model_version *model_at(const struct model_node *node, zxid_t zxid) {
    if (node == NULL)
        return NULL;
    for (size_t i = node->count; i > 0; i--)
        if (node->versions[i - 1].zxid <= zxid)
            return node->versions[i - 1].exists ? &node->versions[i - 1] : NULL;
    return NULL;
}

const struct model_version *model_path_at(const struct model *m, const char *path, zxid_t zxid) {
    return model_at(model_find(m, path), zxid);
}

/* The version of this zxid, to be changed; a copy of the newest one if there is none yet. */
static struct model_version *change(struct model_node *node, zxid_t zxid) {
    if (node->count > 0 && node->versions[node->count - 1].zxid == zxid)
        return &node->versions[node->count - 1];
    node->versions = mem_realloc(node->versions, (node->count + 1) * sizeof *node->versions);
    struct model_version *v = &node->versions[node->count++];
    *v = node->count > 1 ? node->versions[node->count - 2] : (struct model_version){0};
    v->zxid = zxid;
    return v;
}

void model_init(struct model *m) {
    *m = (struct model){0};
    struct model_version *root = change(make_node(m, "/", NULL), 0);
    root->exists = true;
    root->stat.num_children = 1; /* /zookeeper, which nobody here touches */
}

/* As clients see it: what was created and what was deleted, from what is counted, which is what was created. It stays where it is
 * when it cannot count any further. */
static void count_cversion(struct model_version *v) {
    v->stat.cversion = (int32_t)(2 * (uint32_t)v->children_made - (uint32_t)v->stat.num_children);
}

void model_begin_with(struct model *m, zxid_t zxid, const char *path, int64_t time_ms, int32_t children_made) {
    char parent_path[MODEL_PATH_MAX];
    model_parent(path, parent_path);
    struct model_node *parent = model_find(m, parent_path);
    struct model_version *v = change(make_node(m, path, parent), zxid), *p;
    m->base = zxid;
    *v = (struct model_version){.zxid = zxid, .exists = true, .data = SLICE_LIT(""), .children_made = children_made};
    v->stat = (struct stat_view){.czxid = zxid, .mzxid = zxid, .pzxid = zxid, .ctime = time_ms, .mtime = time_ms};
    count_cversion(v);
    p = change(parent, zxid);
    p->stat.num_children++;
    p->children_made++;
    count_cversion(p);
}

void model_free(struct model *m) {
    for (size_t i = 0; i < m->node_count; i++) {
        mem_free(m->nodes[i]->versions);
        mem_free(m->nodes[i]->children);
        mem_free(m->nodes[i]);
    }
    for (size_t i = 0; i < m->txn_count; i++)
        mem_free((void *)(uintptr_t)m->txns[i].payload.data);
    hmap_free(&m->by_path);
    mem_free(m->nodes);
    mem_free(m->txns);
    mem_free(m->events);
    mem_free(m->sessions);
}

static void note_event(struct model *m, zxid_t zxid, enum event_type type, const struct model_node *node) {
    if (m->event_count == m->event_cap) {
        m->event_cap = m->event_cap != 0 ? m->event_cap * 2 : 256;
        m->events = mem_realloc(m->events, m->event_cap * sizeof *m->events);
    }
    m->events[m->event_count++] = (struct model_event){zxid, type, node};
}

/* ------------------------------------------------------------------ single changes */

static bool path_text(struct model *m, struct slice path, char out[MODEL_PATH_MAX]) {
    if (path.len < 2 || path.len >= MODEL_PATH_MAX || path.data[0] != '/')
        return refuse(m, "it holds a path that no client sent");
    memcpy(out, path.data, path.len);
    out[path.len] = '\0';
    return true;
}

static bool apply_create(struct model *m, const struct txn_header *h, const struct txn *t) {
    char path[MODEL_PATH_MAX], parent_path[MODEL_PATH_MAX];
    if (!path_text(m, t->path, path))
        return false;
    model_parent(path, parent_path);
    struct model_node *parent = model_find(m, parent_path), *node = model_find(m, path);
    const struct model_version *above = model_at(parent, h->zxid);
    if (above == NULL)
        return refuse(m, "it creates %s, which has no parent", path);
    if (model_at(node, h->zxid) != NULL)
        return refuse(m, "it creates %s, which is there already", path);
    if (above->stat.ephemeral_owner != 0)
        return refuse(m, "it creates %s below an ephemeral", path);
    if (node == NULL)
        node = make_node(m, path, parent);
    struct model_version *v = change(node, h->zxid);
    *v = (struct model_version){.zxid = h->zxid, .exists = true, .data = t->data, .ttl_ms = t->ttl};
    v->kind = t->type == OP_CREATE_CONTAINER ? MODEL_CONTAINER : t->type == OP_CREATE_TTL ? MODEL_TTL : MODEL_PLAIN;
    v->stat = (struct stat_view){.czxid = h->zxid,
                                 .mzxid = h->zxid,
                                 .pzxid = h->zxid,
                                 .ctime = h->time_ms,
                                 .mtime = h->time_ms,
                                 .ephemeral_owner = t->ephemeral ? h->client_id : 0,
                                 .data_length = (int32_t)t->data.len};
    struct model_version *p = change(parent, h->zxid);
    int32_t made = (int32_t)((uint32_t)p->children_made + 1);
    p->stat.num_children++;
    if (made > p->children_made) {
        p->children_made = made;
        p->stat.pzxid = h->zxid;
    }
    count_cversion(p);
    if (t->parent_cversion != made && strcmp(parent_path, "/") != 0)
        return refuse(m, "it creates %s with parent version %d, not %d", path, t->parent_cversion, made);
    note_event(m, h->zxid, EVENT_NODE_CREATED, node);
    note_event(m, h->zxid, EVENT_NODE_CHILDREN_CHANGED, parent);
    return true;
}

static void delete_node(struct model *m, zxid_t zxid, struct model_node *node) {
    change(node, zxid)->exists = false;
    struct model_version *p = change(node->parent, zxid);
    p->stat.num_children--;
    count_cversion(p);
    p->stat.pzxid = zxid;
    note_event(m, zxid, EVENT_NODE_DELETED, node);
    note_event(m, zxid, EVENT_NODE_CHILDREN_CHANGED, node->parent);
}

static bool apply_delete(struct model *m, const struct txn_header *h, const struct txn *t) {
    char path[MODEL_PATH_MAX];
    if (!path_text(m, t->path, path))
        return false;
    struct model_node *node = model_find(m, path);
    const struct model_version *v = model_at(node, h->zxid);
    if (v == NULL)
        return refuse(m, "it deletes %s, which is not there", path);
    if (v->stat.num_children != 0)
        return refuse(m, "it deletes %s, which has children", path);
    delete_node(m, h->zxid, node);
    return true;
}

/* Only those may go by themselves whose time has come: containers that had a child, TTL nodes that nobody has written to. */
static bool apply_delete_container(struct model *m, const struct txn_header *h, const struct txn *t) {
    char path[MODEL_PATH_MAX];
    if (!path_text(m, t->path, path))
        return false;
    const struct model_version *v = model_at(model_find(m, path), h->zxid);
    if (v == NULL || v->kind == MODEL_PLAIN)
        return refuse(m, "it deletes %s, which is no container and has no time to live", path);
    if (v->kind == MODEL_CONTAINER && v->children_made == 0)
        return refuse(m, "it deletes the container %s, which never had a child", path);
    if (v->kind == MODEL_TTL && h->time_ms - v->stat.mtime <= v->ttl_ms)
        return refuse(m, "it deletes %s after %" PRId64 " ms, its time to live is %" PRId64, path, h->time_ms - v->stat.mtime,
                      v->ttl_ms);
    m->reaped++;
    return apply_delete(m, h, t);
}

static bool apply_set_data(struct model *m, const struct txn_header *h, const struct txn *t) {
    char path[MODEL_PATH_MAX];
    if (!path_text(m, t->path, path))
        return false;
    struct model_node *node = model_find(m, path);
    if (model_at(node, h->zxid) == NULL)
        return refuse(m, "it sets the data of %s, which is not there", path);
    struct model_version *v = change(node, h->zxid);
    v->data = t->data;
    v->stat.version++;
    v->stat.mzxid = h->zxid;
    v->stat.mtime = h->time_ms;
    v->stat.data_length = (int32_t)t->data.len;
    if (t->version != v->stat.version)
        return refuse(m, "it makes version %d of %s, not %d", t->version, path, v->stat.version);
    note_event(m, h->zxid, EVENT_NODE_DATA_CHANGED, node);
    return true;
}

static bool apply_op(struct model *m, const struct txn_header *h, const struct txn *t) {
    switch (t->type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
        return apply_create(m, h, t);
    case OP_DELETE:
        return apply_delete(m, h, t);
    case OP_SET_DATA:
        return apply_set_data(m, h, t);
    case OP_CHECK:
    case OP_ERROR:
        return true;
    default:
        return refuse(m, "it has type %d, which no client asked for", t->type);
    }
}

static bool apply_multi(struct model *m, const struct txn_header *h, const struct txn *t) {
    struct slice rest = t->rest;
    struct txn sub;
    bool bad = false;
    while (txn_sub_next(&rest, &sub, &bad))
        if (sub.type == OP_ERROR)
            return true; /* nothing of it counts */
    rest = t->rest;
    while (txn_sub_next(&rest, &sub, &bad))
        if (!apply_op(m, h, &sub))
            return false;
    return !bad || refuse(m, "its multi does not decode");
}

/* ------------------------------------------------------------------ sessions */

struct model_session *model_session(const struct model *m, session_id_t id) {
    for (size_t i = 0; i < m->session_count; i++)
        if (m->sessions[i].id == id)
            return &m->sessions[i];
    return NULL;
}

static bool create_session(struct model *m, const struct txn_header *h, const struct txn *t) {
    if (model_session(m, h->client_id) != NULL)
        return refuse(m, "it creates session 0x%" PRIx64 " again", (uint64_t)h->client_id);
    m->sessions = mem_realloc(m->sessions, (m->session_count + 1) * sizeof *m->sessions);
    m->sessions[m->session_count++] =
        (struct model_session){.id = h->client_id, .timeout_ms = t->timeout_ms, .created = h->zxid};
    return true;
}

static bool lists(const struct txn *t, const char *path) {
    struct slice rest = t->rest, listed;
    while (txn_path_next(&rest, &listed))
        if (slice_is(listed, path))
            return true;
    return false;
}

static bool close_session(struct model *m, const struct txn_header *h, const struct txn *t) {
    struct model_session *session = model_session(m, h->client_id);
    const struct model_node *missing = NULL;
    if (session == NULL || session->closed != 0)
        return refuse(m, "it closes session 0x%" PRIx64 ", which is not there", (uint64_t)h->client_id);
    session->closed = h->zxid;
    int32_t deleted = 0;
    for (size_t i = 0; i < m->node_count; i++) {
        const struct model_version *v = model_at(m->nodes[i], h->zxid);
        if (v == NULL || v->stat.ephemeral_owner != h->client_id)
            continue;
        if (!lists(t, m->nodes[i]->path))
            missing = m->nodes[i];
        delete_node(m, h->zxid, m->nodes[i]);
        deleted++;
    }
    if (missing != NULL)
        return refuse(m, "it closes session 0x%" PRIx64 " and does not list its ephemeral %s", (uint64_t)h->client_id,
                      missing->path);
    return deleted == t->count || refuse(m, "it lists %d ephemerals, the session has %d", t->count, deleted);
}

/* ------------------------------------------------------------------ transactions */

/* It came too late: the session went on elsewhere, or has ended. */
static bool is_late(const struct txn *t) {
    struct slice rest = t->rest;
    struct txn sub;
    bool bad = false;
    if (t->type == OP_ERROR)
        return t->err == ZK_SESSION_EXPIRED || t->err == ZK_SESSION_MOVED;
    while (t->type == OP_MULTI && txn_sub_next(&rest, &sub, &bad))
        if (sub.type == OP_ERROR && is_late(&sub))
            return true;
    return false;
}

/* Refused by the leader, for lack of space, long after the client went on elsewhere. */
static bool is_refused_late(const struct model_session *session, const struct txn_header *h, const struct txn *t) {
    return t->type == OP_ERROR && t->err == ZK_QUOTA_EXCEEDED && session != NULL && h->cxid <= session->last_cxid;
}

static bool apply(struct model *m, const struct txn_header *h, const struct txn *t) {
    struct model_session *session = model_session(m, h->client_id);
    if (t->type == OP_CREATE_SESSION)
        return create_session(m, h, t);
    if (t->type == OP_DELETE_CONTAINER)
        return apply_delete_container(m, h, t);
    if (t->type == OP_ERROR && h->client_id == 0)
        return true; /* a container that has got a child meanwhile */
    if (m->ensemble && (is_late(t) || is_refused_late(session, h, t)))
        return true; /* perhaps behind newer ones */
    if (m->ensemble && h->client_id == 0 && t->type == OP_ERROR)
        return true; /* a leader needed one, to begin a new log with */
    if (session == NULL || (session->closed != 0 && t->type != OP_ERROR))
        return refuse(m, "it has type %d, request %d, and belongs to session 0x%" PRIx64 ", which is not there", t->type,
                      h->cxid, (uint64_t)h->client_id);
    if (m->ensemble && t->type == OP_ERROR && t->err == ZK_QUOTA_EXCEEDED && h->cxid <= session->last_cxid)
        return true; /* on a full disk that is said before anybody asks where the session is now */
    if (h->cxid > 0) {
        if (h->cxid <= session->last_cxid)
            return refuse(m, "request %d of session 0x%" PRIx64 " comes behind request %d", h->cxid, (uint64_t)h->client_id,
                          session->last_cxid);
        session->last_cxid = h->cxid;
    }
    if (t->type == OP_CLOSE_SESSION)
        return close_session(m, h, t);
    return t->type == OP_MULTI ? apply_multi(m, h, t) : apply_op(m, h, t);
}

size_t model_count_to(const struct model *m, zxid_t zxid) {
    size_t low = 0, high = m->txn_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->txns[middle].header.zxid > zxid)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

const struct model_txn *model_txn_at(const struct model *m, zxid_t zxid) {
    size_t count = model_count_to(m, zxid);
    return count != 0 && m->txns[count - 1].header.zxid == zxid ? &m->txns[count - 1] : NULL;
}

bool model_take(struct model *m, struct slice payload) {
    struct model_txn txn = {0};
    struct txn t;
    int32_t digest_version;
    if (!txn_decode(payload, &txn.header, &t, &digest_version, &txn.digest))
        return refuse(m, "it does not decode");
    zxid_t zxid = txn.header.zxid;
    if (zxid >= 1 && zxid <= model_last(m)) {
        const struct model_txn *known = model_txn_at(m, zxid);
        return known != NULL ? slice_eq(payload, known->payload) || refuse(m, "it was another one before")
                             : refuse(m, "there was none before");
    }
    bool new_epoch = m->ensemble && zxid_epoch(zxid) > zxid_epoch(model_last(m)) && zxid_counter(zxid) == 1;
    if (zxid != model_last(m) + 1 && !new_epoch)
        return refuse(m, "the one before it was 0x%" PRIx64, (uint64_t)model_last(m));
    txn.has_digest = digest_version == DIGEST_VERSION;
    txn.payload = (struct slice){mem_dup(payload.data, payload.len), payload.len};
    txn_decode(txn.payload, &txn.header, &t, &digest_version, &txn.digest);
    if (m->txn_count == m->txn_cap) {
        m->txn_cap = m->txn_cap != 0 ? m->txn_cap * 2 : 256;
        m->txns = mem_realloc(m->txns, m->txn_cap * sizeof *m->txns);
    }
    m->txns[m->txn_count++] = txn;
    return apply(m, &txn.header, &t);
}

static void rollback_sessions(struct model *m, zxid_t last) {
    size_t kept = 0;
    for (size_t i = 0; i < m->session_count; i++) {
        struct model_session s = m->sessions[i];
        if (s.created > last)
            continue;
        if (s.closed > last)
            s.closed = 0;
        s.last_cxid = 0;
        m->sessions[kept++] = s;
    }
    m->session_count = kept;
    for (size_t i = 0; i < m->txn_count; i++) {
        struct model_session *s = model_session(m, m->txns[i].header.client_id);
        if (s != NULL && m->txns[i].header.cxid > s->last_cxid)
            s->last_cxid = m->txns[i].header.cxid;
    }
}

void model_rollback(struct model *m, zxid_t last) {
    for (; m->txn_count > 0 && model_last(m) > last; m->txn_count--)
        mem_free((void *)(uintptr_t)m->txns[m->txn_count - 1].payload.data);
    for (size_t i = 0; i < m->node_count; i++)
        while (m->nodes[i]->count > 0 && m->nodes[i]->versions[m->nodes[i]->count - 1].zxid > last)
            m->nodes[i]->count--;
    while (m->event_count > 0 && m->events[m->event_count - 1].zxid > last)
        m->event_count--;
    rollback_sessions(m, last);
}
