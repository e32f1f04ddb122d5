/* dump, wchs, wchc, wchp: who is there, what they own and what they watch.
 *
 * All of them take time and memory in proportion to what they list. */
#include <stdlib.h>
#include <time.h>

#include "admin/answers.h"
#include "base/mem.h"

/* ------------------------------------------------------------------ things that expire */

/* An element of a queue: a session, or a connection. */
struct expiring {
    int64_t deadline_ms; /* monotonic */
    session_id_t id;
    const struct conn *conn; /* NULL for a session */
};

static int by_deadline(const void *a, const void *b) {
    const struct expiring *x = a, *y = b;
    if (x->deadline_ms != y->deadline_ms)
        return x->deadline_ms < y->deadline_ms ? -1 : 1;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return 0;
}

/* As Java's Date.toString(): Sat Nov 21 00:44:58 UTC 2026, in the local time zone. */
static void put_date(struct buf *out, int64_t wall_ms) {
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char text[64];
    localtime_r(&seconds, &tm);
    size_t len = strftime(text, sizeof text, "%a %b %d %H:%M:%S %Z %Y", &tm);
    buf_append(out, text, len);
}

static void put_element(const struct expiring *e, struct buf *out) {
    if (e->conn != NULL)
        buf_printf(out, "\tip: /%s sessionId: 0x%llx\n", e->conn->peer, (unsigned long long)e->id);
    else
        buf_printf(out, "\t0x%llx\n", (unsigned long long)e->id);
}

/* Sorts the elements and lists them by deadline. */
static void put_sets(const struct server *s, const char *what, struct expiring *elements, size_t count, struct buf *out) {
    size_t sets = 0;
    if (count != 0)
        qsort(elements, count, sizeof *elements, by_deadline);
    for (size_t i = 0; i < count; i++)
        sets += i == 0 || elements[i].deadline_ms != elements[i - 1].deadline_ms;
    buf_printf(out, "%s Sets (%zu)/(%zu):\n", what, sets, count);
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && elements[end].deadline_ms == elements[first].deadline_ms;)
            end++;
        buf_printf(out, "%zu expire at ", end - first);
        put_date(out, s->now.wall_ms + elements[first].deadline_ms - mono_ms(s->now.mono));
        buf_append(out, ":\n", 2);
        for (size_t i = first; i < end; i++)
            put_element(&elements[i], out);
    }
}

static void put_sessions(const struct server *s, struct buf *out) {
    struct expiring *elements = mem_calloc(s->sessions.by_id.count + 1, sizeof *elements);
    const struct session *session;
    size_t count = 0;
    for (size_t cursor = 0; (session = hmap_next(&s->sessions.by_id, &cursor)) != NULL;)
        if (session->expiry.bucket != NULL) /* else it is being closed */
            elements[count++] = (struct expiring){.deadline_ms = expiry_deadline(&session->expiry), .id = session->id};
    put_sets(s, "Session", elements, count, out);
    mem_free(elements);
}

/* A connection goes with its session; one that has none yet, when the time for making one is over. */
static int64_t conn_deadline_ms(const struct server *s, const struct conn *c) {
    int64_t now_ms = mono_ms(s->now.mono), interval_ms = s->config->tick_time_ms;
    if (c->session != NULL && c->session->expiry.bucket != NULL)
        return expiry_deadline(&c->session->expiry);
    if (c->session_id != 0)
        return now_ms;
    int64_t until_ms = now_ms - (s->now.wall_ms - c->established_wall_ms) + s->config->sessionless_timeout_ms;
    /* Rounded up as sessions are, so that they stand together. */
    return (until_ms / interval_ms + 1) * interval_ms;
}

static void put_connections(const struct server *s, struct buf *out) {
    struct expiring *elements = mem_calloc(s->conn_count + 1, sizeof *elements);
    const struct conn *c;
    size_t count = 0;
    LIST_FOREACH(c, &s->conns_all, struct conn, all_link)
        elements[count++] = (struct expiring){.deadline_ms = conn_deadline_ms(s, c), .id = c->session_id, .conn = c};
    put_sets(s, "Connections", elements, count, out);
    mem_free(elements);
}

/* ------------------------------------------------------------------ ephemerals */

static void put_ephemerals(const struct server *s, struct buf *out) {
    const struct owned *owned;
    buf_printf(out, "Sessions with Ephemerals (%llu):\n", (unsigned long long)tree_owner_count(s->tree));
    for (size_t cursor = 0; (owned = tree_owned_next(s->tree, &cursor)) != NULL;) {
        buf_printf(out, "0x%llx:\n", (unsigned long long)owned->owner);
        for (uint32_t i = 0; i < owned->count; i++) {
            buf_append(out, "\t", 1);
            znode_path(owned->nodes[i], out);
            buf_append(out, "\n", 1);
        }
    }
}

void dump_dump(struct server *s, struct buf *out) {
    buf_printf(out, "SessionTracker dump:\n");
    put_sessions(s, out);
    buf_printf(out, "ephemeral nodes dump:\n");
    put_ephemerals(s, out);
    buf_printf(out, "Connections dump:\n");
    put_connections(s, out);
}

/* ------------------------------------------------------------------ watches */

#define DATA_MODES (WATCH_DATA | WATCH_DATA_PERSISTENT | WATCH_RECURSIVE)

struct watcher_set {
    uint8_t *bits;
    uint64_t count;
};

static void note_watcher(void *ctx, struct slice path, uint32_t watcher, unsigned modes) {
    struct watcher_set *set = ctx;
    (void)path;
    (void)modes;
    uint8_t bit = (uint8_t)(1u << watcher % 8);
    if (set->bits[watcher / 8] & bit)
        return;
    set->bits[watcher / 8] |= bit;
    set->count++;
}

void dump_wchs(struct server *s, struct buf *out) {
    struct watcher_set set = {.bits = mem_calloc(s->slot_count / 8 + 1, 1)};
    watch_each(s->watches, note_watcher, &set);
    buf_printf(out, "%llu connections watching %llu paths\nTotal watches:%llu\n", (unsigned long long)set.count,
               (unsigned long long)watch_path_count(s->watches), (unsigned long long)watch_data_count(s->watches));
    mem_free(set.bits);
}

struct listing {
    const struct server *s;
    struct buf *out;
    bool titled;     /* the line above the entries is there */
    struct buf path; /* wchp: the path that was listed last */
};

static void put_path_of_session(void *ctx, struct slice path, uint32_t watcher, unsigned modes) {
    struct listing *l = ctx;
    if ((modes & DATA_MODES) == 0)
        return;
    if (!l->titled)
        buf_printf(l->out, "0x%llx\n", (unsigned long long)l->s->slots[watcher]->session_id);
    l->titled = true;
    buf_append(l->out, "\t", 1);
    buf_append(l->out, path.data, path.len);
    buf_append(l->out, "\n", 1);
}

void dump_wchc(struct server *s, struct buf *out) {
    const struct conn *c;
    LIST_FOREACH(c, &s->conns_all, struct conn, all_link) {
        struct listing l = {.s = s, .out = out};
        if (c->has_watches)
            watch_each_of(s->watches, c->slot, put_path_of_session, &l);
    }
    buf_append(out, "\n", 1);
}

static void put_session_of_path(void *ctx, struct slice path, uint32_t watcher, unsigned modes) {
    struct listing *l = ctx;
    const struct conn *c = l->s->slots[watcher];
    (void)modes;
    if (c == NULL)
        return; /* it has gone, and its watches are about to follow */
    struct slice last = {(const char *)l->path.data, l->path.len};
    if (!l->titled || !slice_eq(path, last)) {
        buf_clear(&l->path);
        buf_append(&l->path, path.data, path.len);
        buf_append(l->out, path.data, path.len);
        buf_append(l->out, "\n", 1);
        l->titled = true;
    }
    buf_printf(l->out, "\t0x%llx\n", (unsigned long long)c->session_id);
}

void dump_wchp(struct server *s, struct buf *out) {
    struct listing l = {.s = s, .out = out};
    watch_each(s->watches, put_session_of_path, &l);
    buf_free(&l.path);
    buf_append(out, "\n", 1);
}
