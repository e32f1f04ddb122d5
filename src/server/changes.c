#include "server/changes.h"

#include "base/mem.h"
#include "server/closer.h"

struct change {
    struct change *next_of_request;
    struct change *older, *newer; /* other records of the same path */
    struct change *collision;     /* other path with the same hash; only in the newest record of a path */
    zxid_t zxid;
    uint64_t digest_delta; /* what it added to the prepared digest */
    bool new_ephemeral;    /* counted in server->pending_ephemerals */
    struct view view;      /* holds a reference on view.acl if it exists */
    size_t path_len;
    char path[];
};

static struct slice change_path(const struct change *c) { return (struct slice){c->path, c->path_len}; }

static struct change *find(const struct server *s, uint64_t hash, struct slice path) {
    struct change *c = hmap_get(&s->changes, hash);
    while (c != NULL && !slice_eq(change_path(c), path))
        c = c->collision;
    return c;
}

/* Puts c where old stands among the newest records of this hash (old NULL: adds it; c NULL: takes old out). */
static void replace_newest(struct server *s, uint64_t hash, struct change *old, struct change *c) {
    struct change *head = hmap_get(&s->changes, hash);
    if (old == NULL) {
        c->collision = head;
        head = c;
    } else {
        struct change *next = old->collision;
        old->collision = NULL;
        if (c != NULL)
            c->collision = next;
        struct change *put = c != NULL ? c : next;
        if (head == old) {
            head = put;
        } else {
            struct change *before = head;
            while (before->collision != old)
                before = before->collision;
            before->collision = put;
        }
    }
    if (head != NULL)
        hmap_put(&s->changes, hash, head);
    else
        hmap_remove(&s->changes, hash);
}

static void view_of_node(const struct znode *n, struct view *v) {
    znode_stat(n, &v->stat);
    v->exists = true;
    v->system = (n->flags & ZNODE_SYSTEM) != 0;
    v->children = znode_children(n);
    v->acl = n->acl;
    v->data_len = n->data_len;
    v->crc = n->crc;
}

void view_lookup(const struct server *s, struct slice path, struct view *v) {
    /* "/" and "" are one node; the table uses the empty path as the tree does. */
    if (path.len == 1 && path.data[0] == '/')
        path.len = 0;
    uint64_t hash = tree_hash(s->tree, path);
    struct change *c = s->change_count != 0 ? find(s, hash, path) : NULL;
    if (c != NULL) {
        *v = c->view;
    } else {
        const struct znode *n = tree_find_hashed(s->tree, path, hash);
        if (n != NULL)
            view_of_node(n, v);
        else
            *v = (struct view){.exists = false, .system = slice_starts(path, SLICE_LIT("/zookeeper/"))};
    }
    v->hash = hash;
    if (v->exists && v->stat.owner != 0 && tree_owner_kind(s->tree, v->stat.owner) == ZNODE_EPHEMERAL) {
        const struct session *owner = session_find(&s->sessions, v->stat.owner);
        if (owner != NULL && owner->close_prepared)
            v->exists = false;
    }
}

void view_of(const struct server *s, const struct znode *n, struct slice path, struct view *v) {
    const struct change *c = s->change_count != 0 ? find(s, tree_hash(s->tree, path), path) : NULL;
    if (c != NULL)
        *v = c->view;
    else
        view_of_node(n, v);
}

uint64_t view_digest(const struct server *s, const struct view *v) {
    if (!v->exists || v->system || !tree_options(s->tree)->digest_enabled)
        return 0;
    return digest_node(v->crc, &v->stat);
}

void view_change(struct server *s, struct request *r, zxid_t zxid, struct slice path, const struct view *old,
                 const struct view *new) {
    if (path.len == 1 && path.data[0] == '/')
        path.len = 0;
    struct change *c = mem_alloc(sizeof *c + path.len);
    struct change *top = find(s, old->hash, path);
    *c = (struct change){.next_of_request = r->changes, .older = top, .zxid = zxid, .view = *new, .path_len = path.len};
    c->view.hash = old->hash;
    memcpy(c->path, path.data, path.len);
    c->digest_delta = view_digest(s, new) - view_digest(s, old);
    s->prepared_digest += c->digest_delta;
    c->new_ephemeral = !old->exists && new->exists && tree_owner_kind(s->tree, new->stat.owner) == ZNODE_EPHEMERAL;
    s->pending_ephemerals += c->new_ephemeral;
    if (c->view.exists)
        acl_ref(tree_acls(s->tree), c->view.acl);
    if (top != NULL)
        top->newer = c;
    replace_newest(s, old->hash, top, c);
    r->changes = c;
    s->change_count++;
    closers_note_change(s, old, new);
    metric_count(&s->metrics, METRIC_OUTSTANDING_CHANGES_QUEUED, 1);
}

static void change_unlink(struct server *s, struct change *c) {
    if (c->older != NULL)
        c->older->newer = c->newer;
    if (c->newer != NULL)
        c->newer->older = c->older;
    else
        replace_newest(s, c->view.hash, c, c->older);
    if (c->view.exists)
        acl_unref(tree_acls(s->tree), c->view.acl);
    s->pending_ephemerals -= c->new_ephemeral;
    mem_free(c);
    s->change_count--;
    metric_count(&s->metrics, METRIC_OUTSTANDING_CHANGES_REMOVED, 1);
}

void changes_rollback(struct server *s, struct request *r) {
    while (r->changes != NULL) {
        struct change *c = r->changes;
        r->changes = c->next_of_request;
        s->prepared_digest -= c->digest_delta;
        change_unlink(s, c);
    }
}

void prepare_changes_applied(struct server *s, struct request *r) {
    while (r->changes != NULL) {
        struct change *c = r->changes;
        r->changes = c->next_of_request;
        change_unlink(s, c);
    }
}

void changes_each(const struct server *s, void (*visit)(void *ctx, struct slice path, const struct view *v), void *ctx) {
    size_t cursor = 0;
    const struct change *c;
    while ((c = hmap_next(&s->changes, &cursor)) != NULL)
        for (; c != NULL; c = c->collision)
            visit(ctx, change_path(c), &c->view);
}
