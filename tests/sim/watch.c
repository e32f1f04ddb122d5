/* Watches as a client knows them. From the model's list of events follows which ones must reach it, and each must have come
 * before the first reply that shows its change (S25). */
#include <stdio.h>

#include "base/mem.h"
#include "sim/sim.h"

#define PERSISTENT_PAIR (WATCH_DATA_PERSISTENT | WATCH_CHILD_PERSISTENT)

static const char *event_name(enum event_type type) {
    static const char *const names[] = {
        [EVENT_NODE_CREATED] = "created",
        [EVENT_NODE_DELETED] = "deleted",
        [EVENT_NODE_DATA_CHANGED] = "changed",
        [EVENT_NODE_CHILDREN_CHANGED] = "children",
    };
    return type >= EVENT_NODE_CREATED && type <= EVENT_NODE_CHILDREN_CHANGED ? names[type] : "unknown";
}

/* ------------------------------------------------------------------ which watches there are */

static void add(struct sim_client *c, const char *path, unsigned mode, bool for_missing) {
    for (int i = 0; i < c->watch_count; i++) {
        if (c->watches[i].mode == mode && strcmp(c->watches[i].path, path) == 0) {
            c->watches[i].for_missing = for_missing;
            return;
        }
    }
    c->watches = mem_realloc(c->watches, (size_t)(c->watch_count + 1) * sizeof *c->watches);
    struct sim_watch *w = &c->watches[c->watch_count++];
    *w = (struct sim_watch){.mode = mode, .for_missing = for_missing};
    snprintf(w->path, sizeof w->path, "%s", path);
}

void sim_watch_register(struct sim_client *c, const struct sim_request *r, zxid_t zxid, int32_t err) {
    const struct sim_op *op = &r->parts[0];
    (void)zxid;
    if (r->op == OP_ADD_WATCH && err == ZK_OK)
        add(c, op->path, op->mode == ADD_WATCH_PERSISTENT ? PERSISTENT_PAIR : WATCH_RECURSIVE, false);
    else if (r->op == OP_EXISTS && op->watch)
        add(c, op->path, WATCH_DATA, err == ZK_NO_NODE);
    else if (r->op == OP_GET_DATA && op->watch && err == ZK_OK)
        add(c, op->path, WATCH_DATA, false);
    else if ((r->op == OP_GET_CHILDREN || r->op == OP_GET_CHILDREN2) && op->watch && err == ZK_OK)
        add(c, op->path, WATCH_CHILD, false);
}

static bool covers(const struct sim_watch *w, enum event_type type, const char *path) {
    static const unsigned heard[] = {
        [EVENT_NODE_CREATED] = WATCH_DATA | WATCH_DATA_PERSISTENT,
        [EVENT_NODE_DELETED] = WATCH_DATA | WATCH_DATA_PERSISTENT | WATCH_CHILD | WATCH_CHILD_PERSISTENT,
        [EVENT_NODE_DATA_CHANGED] = WATCH_DATA | WATCH_DATA_PERSISTENT,
        [EVENT_NODE_CHILDREN_CHANGED] = WATCH_CHILD | WATCH_CHILD_PERSISTENT,
    };
    if (w->mode == WATCH_RECURSIVE) {
        size_t len = strlen(w->path);
        return type != EVENT_NODE_CHILDREN_CHANGED && strncmp(path, w->path, len) == 0 &&
               (path[len] == '\0' || path[len] == '/');
    }
    return (w->mode & heard[type]) != 0 && strcmp(w->path, path) == 0;
}

/* True if one of the client's watches hears this event; one-shot watches are spent. */
static bool hears(struct sim_client *c, const struct model_event *e) {
    bool any = false;
    int kept = 0;
    for (int i = 0; i < c->watch_count; i++) {
        struct sim_watch w = c->watches[i];
        bool covered = covers(&w, e->type, e->node->path);
        any |= covered;
        if (!covered || (w.mode != WATCH_DATA && w.mode != WATCH_CHILD))
            c->watches[kept++] = w;
    }
    c->watch_count = kept;
    return any;
}

/* ------------------------------------------------------------------ which events must come */

static void expect(struct model_event **list, int *count, const struct model_event *e) {
    *list = mem_realloc(*list, (size_t)(*count + 1) * sizeof **list);
    (*list)[(*count)++] = *e;
}

/* Takes all events up to zxid into account. */
static void advance(struct sim_client *c, zxid_t zxid) {
    const struct model *m = &c->sim->model;
    for (; c->event_at < m->event_count && m->events[c->event_at].zxid <= zxid; c->event_at++)
        if (c->watches_set && hears(c, &m->events[c->event_at]))
            expect(&c->expected, &c->expected_count, &m->events[c->event_at]);
}

void sim_watch_reply(struct sim_client *c, zxid_t zxid) {
    advance(c, zxid);
    if (c->expected_count == 0)
        return;
    const struct model_event *e = &c->expected[0];
    sim_fail(c->sim, "S25: client %d got a reply at zxid 0x%llx, but not the event '%s %s' of zxid 0x%llx", c->id,
             (unsigned long long)zxid, event_name(e->type), e->node->path, (unsigned long long)e->zxid);
}

static bool take(struct model_event *list, int *count, zxid_t zxid, enum event_type type, struct slice path) {
    for (int i = 0; i < *count; i++) {
        if (list[i].zxid != zxid || list[i].type != type || !slice_is(path, list[i].node->path))
            continue;
        memmove(&list[i], &list[i + 1], (size_t)(*count - i - 1) * sizeof *list);
        (*count)--;
        return true;
    }
    return false;
}

void sim_watch_event(struct sim_client *c, zxid_t zxid, enum event_type type, struct slice path) {
    struct sim *sim = c->sim;
    if (zxid == -1) {
        char text[MODEL_PATH_MAX];
        snprintf(text, sizeof text, "%.*s", (int)path.len, path.data);
        struct model_event e = {.zxid = -1, .type = type, .node = model_find(&sim->model, text)};
        if (e.node == NULL || c->watches_set)
            sim_fail(sim, "client %d: event '%s %s' without a zxid, and no setWatches to answer", c->id, event_name(type), text);
        else
            expect(&c->caught_up, &c->caught_up_count, &e);
        return;
    }
    advance(c, zxid);
    sim->counters->events++;
    if (zxid < c->last_event_zxid)
        sim_fail(sim, "S25: client %d got an event of zxid 0x%llx behind one of 0x%llx", c->id, (unsigned long long)zxid,
                 (unsigned long long)c->last_event_zxid);
    c->last_event_zxid = zxid;
    if (!take(c->expected, &c->expected_count, zxid, type, path))
        sim_fail(sim, "client %d got the event '%s %.*s' of zxid 0x%llx, for which it has no watch", c->id, event_name(type),
                 (int)path.len, path.data, (unsigned long long)zxid);
}

/* ------------------------------------------------------------------ setWatches */

enum watch_list { LIST_DATA, LIST_EXIST, LIST_CHILD, LIST_PERSISTENT, LIST_RECURSIVE, LIST_COUNT };

static enum watch_list list_of(const struct sim_watch *w) {
    switch (w->mode) {
    case WATCH_DATA:
        return w->for_missing ? LIST_EXIST : LIST_DATA;
    case WATCH_CHILD:
        return LIST_CHILD;
    case WATCH_RECURSIVE:
        return LIST_RECURSIVE;
    default:
        return LIST_PERSISTENT;
    }
}

void sim_watch_put_lists(const struct sim_client *c, struct buf *b) {
    jute_put_long(b, c->last_zxid);
    for (int list = 0; list < LIST_COUNT; list++) {
        size_t at = b->len;
        int32_t count = 0;
        jute_put_int(b, 0);
        for (int i = 0; i < c->watch_count; i++) {
            if ((int)list_of(&c->watches[i]) != list)
                continue;
            jute_put_bytes(b, slice_of(c->watches[i].path));
            count++;
        }
        jute_patch_int(b, at, count);
    }
}

/* The event that setWatches must bring for a watch; false: the watch stands again. */
static bool missed(const struct sim *sim, const struct sim_watch *w, zxid_t zxid, zxid_t seen, enum event_type *type) {
    const struct model_version *v = model_path_at(&sim->model, w->path, zxid);
    switch (list_of(w)) {
    case LIST_EXIST:
        *type = EVENT_NODE_CREATED;
        return v != NULL;
    case LIST_DATA:
        *type = v == NULL ? EVENT_NODE_DELETED : EVENT_NODE_DATA_CHANGED;
        return v == NULL || v->stat.mzxid > seen;
    case LIST_CHILD:
        *type = v == NULL ? EVENT_NODE_DELETED : EVENT_NODE_CHILDREN_CHANGED;
        return v == NULL || v->stat.pzxid > seen;
    default:
        return false;
    }
}

void sim_watch_restored(struct sim_client *c, zxid_t zxid, zxid_t seen) {
    struct sim *sim = c->sim;
    int kept = 0;
    sim->counters->set_watches++;
    for (int i = 0; i < c->watch_count; i++) {
        struct sim_watch w = c->watches[i];
        enum event_type type;
        if (!missed(sim, &w, zxid, seen, &type)) {
            c->watches[kept++] = w;
            continue;
        }
        sim->counters->caught_up++;
        if (!take(c->caught_up, &c->caught_up_count, -1, type, slice_of(w.path)))
            sim_fail(sim, "client %d: setWatches at zxid 0x%llx (seen 0x%llx) did not bring '%s %s'", c->id,
                     (unsigned long long)zxid, (unsigned long long)seen, event_name(type), w.path);
    }
    c->watch_count = kept;
    if (c->caught_up_count != 0)
        sim_fail(sim, "client %d: setWatches at zxid 0x%llx (seen 0x%llx) brought '%s %s', which was not missed", c->id,
                 (unsigned long long)zxid, (unsigned long long)seen, event_name(c->caught_up[0].type),
                 c->caught_up[0].node->path);
    advance(c, zxid);
    c->watches_set = true;
}

void sim_watch_lost(struct sim_client *c, bool forget) {
    c->expected_count = c->caught_up_count = 0;
    c->last_event_zxid = 0;
    c->watches_set = false;
    if (forget)
        c->watch_count = 0;
}
