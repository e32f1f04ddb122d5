/* Deletes containers that lost their last child and TTL znodes whose time is over. Candidates are found in the tree's own
 * sets, a slice per turn, and deleted one by one at no more than znode.container.maxPerMinute.
 * See docs/protocol/operations.md section 6. */
#include "base/mem.h"
#include "server/changes.h"
#include "server/server.h"

#define CANDIDATES_PER_TURN 1024

struct candidate {
    struct list link;
    size_t len;
    char path[];
};

struct reaper {
    struct server *s;
    struct monotime next_round, next_delete;
    bool scanning;
    bool scanning_ttl; /* second half of a round */
    uint32_t position; /* in the set that is being looked through */
    struct list candidates;
};

struct reaper *reaper_new(struct server *s) {
    struct reaper *p = mem_calloc(1, sizeof *p);
    p->s = s;
    p->next_round = mono_add_ms(s->now.mono, s->config->container_check_interval_ms);
    list_init(&p->candidates);
    return p;
}

void reaper_free(struct reaper *p) {
    struct candidate *c;
    LIST_FOREACH(c, &p->candidates, struct candidate, link)
        mem_free(c);
    mem_free(p);
}

static bool container_is_due(const struct server *s, const struct node_stat *stat) {
    int64_t never_used_ms = s->config->container_max_never_used_interval_ms;
    return stat->cversion > 0 || (never_used_ms > 0 && s->now.wall_ms - stat->mtime > never_used_ms);
}

static bool is_due(const struct server *s, const struct node_stat *stat, uint32_t children) {
    enum znode_kind kind = tree_owner_kind(s->tree, stat->owner);
    if (children != 0)
        return false;
    if (kind == ZNODE_CONTAINER)
        return container_is_due(s, stat);
    return kind == ZNODE_TTL && s->now.wall_ms - stat->mtime > tree_owner_ttl(s->tree, stat->owner);
}

/* It may have been used since it was found, or another znode may stand in its place: also by what is pending. */
static bool is_still_due(const struct server *s, struct slice path) {
    struct view v;
    view_lookup(s, path, &v);
    return v.exists && is_due(s, &v.stat, v.children);
}

static void add_candidate(struct reaper *p, const struct znode *n) {
    struct buf path = BUF_INIT;
    znode_path(n, &path);
    struct candidate *c = mem_alloc(sizeof *c + path.len);
    c->len = path.len;
    memcpy(c->path, path.data, path.len);
    list_push(&p->candidates, &c->link);
    buf_free(&path);
}

/* A deletion meanwhile moves the last znode of the set into a place already passed: it is found in the next round. */
static void scan(struct reaper *p) {
    struct server *s = p->s;
    for (int i = 0; i < CANDIDATES_PER_TURN; i++) {
        const struct owned *set = p->scanning_ttl ? tree_ttl_nodes(s->tree) : tree_containers(s->tree);
        if (set == NULL || p->position >= set->count) {
            p->position = 0;
            if (p->scanning_ttl) {
                p->scanning = false;
                return;
            }
            p->scanning_ttl = true;
            continue;
        }
        const struct znode *n = set->nodes[p->position++];
        struct node_stat stat;
        znode_stat(n, &stat);
        if (is_due(s, &stat, znode_children(n)))
            add_candidate(p, n);
    }
}

void reaper_turn(struct server *s) {
    struct reaper *p = s->reaper;
    const struct config *c = s->config;
    if (c->container_check_interval_ms <= 0 || !s->role->orders)
        return;
    if (p->scanning)
        scan(p);
    if (!list_empty(&p->candidates)) {
        if (mono_diff_us(p->next_delete, s->now.mono) > 0)
            return;
        struct candidate *first = LIST_FIRST(&p->candidates, struct candidate, link);
        list_remove(&first->link);
        struct slice path = {first->path, first->len};
        if (is_still_due(s, path))
            prepare_delete_container(s, path);
        mem_free(first);
        p->next_delete = s->now.mono;
        p->next_delete.us += 60000000 / i64_max(1, c->container_max_per_minute);
        return;
    }
    if (!p->scanning && mono_diff_us(p->next_round, s->now.mono) <= 0) {
        p->scanning = true;
        p->scanning_ttl = false;
        p->position = 0;
        p->next_round = mono_add_ms(s->now.mono, c->container_check_interval_ms);
    }
}

struct monotime reaper_next_wake(const struct server *s) {
    const struct reaper *p = s->reaper;
    if (s->config->container_check_interval_ms <= 0 || !s->role->orders)
        return (struct monotime){INT64_MAX};
    if (p->scanning)
        return s->now.mono;
    return list_empty(&p->candidates) ? p->next_round : p->next_delete;
}
