#include "server/closer.h"

#include "base/mem.h"
#include "server/prepare.h"
#include "store/txnlog.h"
#include "tree/path.h"

/* Znodes that are collected in one turn, for all closing sessions together. */
#define NODES_PER_TURN 4096
/* A look at all pending changes is affordable up to so many of them; with more the close waits until they are applied. */
#define CHANGES_SCAN_MAX 1024
#define RESTARTS_MAX 3

/* A znode that loses children. */
struct parent {
    struct parent *collision; /* other path with the same hash */
    uint32_t lost;
    size_t path_len;
    char path[];
};

struct closer {
    struct list link; /* server->closers */
    struct request *r;
    session_id_t session;
    zxid_t barrier; /* nothing is collected before this has been applied; 0 = at once */
    int restarts;

    /* what has been collected */
    uint32_t position; /* in the set of owned znodes */
    uint64_t version;  /* of that set */
    bool touched;      /* a prepared change has made it invalid */
    struct buf paths;  /* as in the record */
    int32_t count;
    uint64_t digest; /* sum of what goes */
    struct hmap parents;
    struct parent *last_parent; /* siblings tend to follow each other */
};

/* ------------------------------------------------------------------ what is collected */

static void forget(struct closer *c) {
    struct parent *p, *next;
    size_t cursor = 0;
    while ((p = hmap_next(&c->parents, &cursor)) != NULL) {
        for (; p != NULL; p = next) {
            next = p->collision;
            mem_free(p);
        }
    }
    hmap_free(&c->parents);
    buf_free(&c->paths);
    c->parents = (struct hmap){0};
    c->last_parent = NULL;
    c->position = 0;
    c->count = 0;
    c->digest = 0;
    c->touched = false;
}

static struct slice parent_path(const struct parent *p) { return (struct slice){p->path, p->path_len}; }

static void loses_child(struct server *s, struct closer *c, struct slice path) {
    struct parent *p = c->last_parent;
    if (p == NULL || !slice_eq(parent_path(p), path)) {
        uint64_t hash = tree_hash(s->tree, path);
        struct parent *head = hmap_get(&c->parents, hash);
        for (p = head; p != NULL && !slice_eq(parent_path(p), path); p = p->collision)
            ;
        if (p == NULL) {
            p = mem_alloc(sizeof *p + path.len);
            *p = (struct parent){.collision = head, .path_len = path.len};
            memcpy(p->path, path.data, path.len);
            hmap_put(&c->parents, hash, p);
        }
        c->last_parent = p;
    }
    p->lost++;
}

static void collect(struct server *s, struct closer *c, struct slice path) {
    /* What does not fit is deleted on apply all the same, as still owned by the session. */
    if (TXN_HEADER_BYTES + 4 + c->paths.len + 4 + path.len + TXN_DIGEST_BYTES <= TXNLOG_JAVA_PAYLOAD_MAX) {
        jute_put_bytes(&c->paths, path);
        c->count++;
    }
    loses_child(s, c, path_parent(path));
}

/* Collects up to *budget more of the znodes in the tree; true at the end. */
static bool collect_owned(struct server *s, struct closer *c, uint32_t *budget) {
    const struct owned *owned = tree_owned_by(s->tree, c->session);
    struct buf path = BUF_INIT;
    if (owned == NULL)
        return true;
    c->version = owned->version;
    for (; c->position < owned->count && *budget > 0; c->position++, --*budget) {
        const struct znode *n = owned->nodes[c->position];
        struct view v;
        buf_clear(&path);
        znode_path(n, &path);
        struct slice text = {(const char *)path.data, path.len};
        view_of(s, n, text, &v);
        if (!v.exists || v.stat.owner != c->session)
            continue;
        collect(s, c, text);
        c->digest += view_digest(s, &v);
    }
    buf_free(&path);
    return c->position >= owned->count;
}

/* Creations that are prepared but not applied. */
struct created {
    const struct server *s;
    session_id_t session;
    struct buf paths; /* as jute strings */
};

static void note_created(void *ctx, struct slice path, const struct view *v) {
    struct created *created = ctx;
    if (!v->exists || v->stat.owner != created->session)
        return;
    /* The applied tree may hold another one of that name, whose deletion is pending, too. */
    const struct znode *n = tree_find(created->s->tree, path);
    if (n == NULL || znode_owner(n) != created->session)
        jute_put_bytes(&created->paths, path);
}

static void close_created(struct server *s, struct closer *c, zxid_t zxid) {
    struct created created = {.s = s, .session = c->session};
    changes_each(s, note_created, &created);
    struct slice rest = {(const char *)created.paths.data, created.paths.len}, path;
    while (txn_path_next(&rest, &path)) {
        struct view v, gone;
        view_lookup(s, path, &v);
        collect(s, c, path);
        gone = v;
        gone.exists = false;
        view_change(s, c->r, zxid, path, &v, &gone);
    }
    buf_free(&created.paths);
}

/* ------------------------------------------------------------------ the transaction */

/* The pzxid of a parent moves once, its child count by all that go. */
static void change_parent(struct server *s, struct request *r, zxid_t zxid, const struct parent *p) {
    struct view old, changed;
    view_lookup(s, parent_path(p), &old);
    if (!old.exists)
        return;
    changed = old;
    if (zxid > changed.stat.pzxid)
        changed.stat.pzxid = zxid;
    changed.children -= p->lost;
    view_change(s, r, zxid, parent_path(p), &old, &changed);
}

static void propose(struct server *s, struct closer *c) {
    struct session *session = session_find(&s->sessions, c->session);
    struct draft d = draft_begin(s, c->r, OP_CLOSE_SESSION);
    if (c->barrier == 0 && s->pending_ephemerals != 0)
        close_created(s, c, d.zxid);
    s->prepared_digest -= c->digest;
    size_t cursor = 0;
    const struct parent *p;
    while ((p = hmap_next(&c->parents, &cursor)) != NULL)
        for (; p != NULL; p = p->collision)
            change_parent(s, c->r, d.zxid, p);
    /* Without the list everybody deletes what is still owned, as in old versions. A digest would be taken for it then. */
    bool listed = s->config->close_session_txn_enabled;
    if (listed) {
        jute_put_int(d.b, c->count);
        buf_append(d.b, c->paths.data, c->paths.len);
    }
    session->close_prepared = true;
    draft_propose(s, c->r, &d, listed);
    forget(c);
}

/* ------------------------------------------------------------------ slices */

static bool waits(const struct server *s, const struct closer *c) { return s->last_applied < c->barrier; }

/* True when the transaction has been proposed. */
static bool step(struct server *s, struct closer *c, uint32_t *budget) {
    const struct owned *owned = tree_owned_by(s->tree, c->session);
    bool changed = c->position != 0 && (owned == NULL || owned->version != c->version);
    if (c->touched || changed) {
        forget(c);
        c->restarts++;
    }
    uint32_t all = UINT32_MAX;
    if (!collect_owned(s, c, c->restarts > RESTARTS_MAX ? &all : budget))
        return false;
    propose(s, c);
    return true;
}

void closer_start(struct server *s, struct request *r, struct session *session) {
    struct closer c = {.r = r, .session = session->id};
    const struct owned *owned = tree_owned_by(s->tree, session->id);
    uint32_t budget = NODES_PER_TURN;
    session->closing = true;
    expiry_remove(&s->sessions.expiry, &session->expiry);
    if (s->pending_ephemerals != 0 && s->change_count > CHANGES_SCAN_MAX)
        c.barrier = s->last_prepared;
    if (c.barrier == 0 && (owned == NULL || owned->count <= budget)) {
        step(s, &c, &budget);
        return;
    }
    struct closer *kept = mem_alloc(sizeof *kept);
    *kept = c;
    list_push(&s->closers, &kept->link);
}

void closers_turn(struct server *s) {
    uint32_t budget = NODES_PER_TURN;
    while (!list_empty(&s->closers) && budget > 0) {
        struct closer *c = LIST_FIRST(&s->closers, struct closer, link);
        if (waits(s, c) || !step(s, c, &budget))
            return;
        list_remove(&c->link);
        mem_free(c);
    }
}

bool closers_have_work(const struct server *s) {
    return !list_empty(&s->closers) && s->state == SERVER_RUNNING &&
           !waits(s, LIST_FIRST(&s->closers, struct closer, link));
}

void closers_note_change(struct server *s, const struct view *old, const struct view *new) {
    struct closer *c;
    LIST_FOREACH(c, &s->closers, struct closer, link)
        if ((old->exists && old->stat.owner == c->session) || (new->exists && new->stat.owner == c->session))
            c->touched = true;
}

void closers_free(struct server *s) {
    struct closer *c;
    LIST_FOREACH(c, &s->closers, struct closer, link) {
        forget(c);
        list_remove(&c->link);
        request_done(s, c->r);
        mem_free(c);
    }
}
