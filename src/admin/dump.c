/* dump, wchs, wchc, wchp: who is there, what they own and what they watch.
 *
 * dump is a long answer. Its lists of sessions and of connections are sorted by deadline and begin with how many there are, so
 * each is gathered, as text, before it is given out. Sessions and owners are gathered by id: the ids are copied at once, which
 * costs some nanoseconds for each, and looked up piece by piece; who has gone by then is left out. Connections are gathered
 * by slot, as for cons.
 *
 * The watches are long answers, too. wchs and wchp go path by path, and copy the watchers of a path when its turn comes; wchc goes
 * connection by connection, and copies the numbers of what it watches. */
#include <stdlib.h>
#include <time.h>

#include "admin/answers.h"
#include "base/mem.h"

/* Text is worth one look for each such piece of it. */
#define LOOK_BYTES 256
/* Sessions of a learner are listed in order up to this many: sorting them is one go. */
#define SORTED_MAX 10000

/* ------------------------------------------------------------------ things that expire */

/* The lines of what expires at the same time. */
struct set {
    int64_t deadline_ms; /* monotonic */
    size_t count;
    struct buf lines;
};

struct sets {
    struct hmap by_deadline; /* struct set */
    struct set **sorted;     /* NULL while they are gathered; those before next have been given out and freed */
    size_t count, next;
    size_t elements;
    size_t given; /* bytes of the next one */
};

static void sets_add(struct sets *sets, int64_t deadline_ms, struct slice line) {
    struct set *set = hmap_get(&sets->by_deadline, (uint64_t)deadline_ms);
    if (set == NULL) {
        set = mem_calloc(1, sizeof *set);
        set->deadline_ms = deadline_ms;
        hmap_put(&sets->by_deadline, (uint64_t)deadline_ms, set);
    }
    buf_append(&set->lines, line.data, line.len);
    set->count++;
    sets->elements++;
}

static int by_deadline(const void *a, const void *b) {
    const struct set *x = *(struct set *const *)a, *y = *(struct set *const *)b;
    return x->deadline_ms < y->deadline_ms ? -1 : x->deadline_ms > y->deadline_ms;
}

/* Nothing more is added. There are at most as many sets as ticks in the longest session timeout. */
static void sets_sort(struct sets *sets) {
    struct set *set;
    sets->sorted = mem_calloc(sets->by_deadline.count + 1, sizeof *sets->sorted);
    for (size_t cursor = 0; (set = hmap_next(&sets->by_deadline, &cursor)) != NULL;)
        sets->sorted[sets->count++] = set;
    if (sets->count != 0)
        qsort(sets->sorted, sets->count, sizeof *sets->sorted, by_deadline);
    hmap_free(&sets->by_deadline);
}

static void set_free(struct set *set) {
    buf_free(&set->lines);
    mem_free(set);
}

/* Leaves them empty, for other elements. */
static void sets_clear(struct sets *sets) {
    struct set *set;
    for (size_t cursor = 0; (set = hmap_next(&sets->by_deadline, &cursor)) != NULL;)
        set_free(set);
    hmap_free(&sets->by_deadline);
    for (size_t i = sets->next; i < sets->count; i++)
        set_free(sets->sorted[i]);
    mem_free(sets->sorted);
    *sets = (struct sets){0};
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

/* ------------------------------------------------------------------ dump, step by step */

struct dump {
    struct answer answer;
    const struct server *s;
    bool follows;     /* sessions expire elsewhere: they are listed with their timeouts */
    size_t step;
    bool begun;       /* the step */
    struct now now;   /* when the step began */
    struct sets sets;
    uint64_t *ids;    /* of sessions or owners */
    size_t id_count, id_next;
    uint32_t left;    /* ephemerals of the owner whose turn it is, not listed yet */
    uint32_t slot;    /* of the connection that is next */
    struct buf line;  /* for one function at a time */
};

static void gather(struct dump *d, int64_t deadline_ms) {
    sets_add(&d->sets, deadline_ms, (struct slice){(const char *)d->line.data, d->line.len});
    d->answer.held_bytes += d->line.len;
    buf_clear(&d->line);
}

static void free_ids(struct dump *d) {
    mem_free(d->ids);
    d->ids = NULL;
    d->id_count = d->id_next = 0;
}

static int by_id(const void *a, const void *b) {
    const session_id_t x = *(const session_id_t *)a, y = *(const session_id_t *)b;
    return x < y ? -1 : x > y;
}

static void begin_sessions(struct dump *d, struct buf *out) {
    const struct sessions *sessions = &d->s->sessions;
    buf_printf(out, "SessionTracker dump:\n");
    d->id_count = sessions->by_id.count;
    d->ids = mem_alloc((d->id_count + 1) * sizeof *d->ids);
    hmap_keys(&sessions->by_id, d->ids);
    if (!d->follows)
        return;
    buf_printf(out, "Global Sessions(%zu):\n", d->id_count);
    if (d->id_count <= SORTED_MAX)
        qsort(d->ids, d->id_count, sizeof *d->ids, by_id);
}

static bool gather_sessions(struct dump *d, struct buf *out, size_t max, int *looks) {
    const struct sessions *sessions = &d->s->sessions;
    if (!d->begun)
        begin_sessions(d, out);
    for (; d->id_next < d->id_count; d->id_next++) {
        if (*looks <= 0 || (d->follows && out->len >= max))
            return false;
        --*looks;
        const struct session *session = session_find(sessions, (session_id_t)d->ids[d->id_next]);
        if (d->follows) {
            if (session != NULL)
                buf_printf(out, "0x%llx\t%dms\n", (unsigned long long)session->id, session->timeout_ms);
            continue;
        }
        if (session == NULL || session->expiry.bucket == NULL)
            continue; /* it has gone, or is being closed */
        buf_printf(&d->line, "\t0x%llx\n", (unsigned long long)session->id);
        gather(d, expiry_deadline(&session->expiry));
    }
    free_ids(d);
    return true;
}

static bool give_sets(struct dump *d, const char *what, struct buf *out, size_t max, int *looks) {
    struct sets *sets = &d->sets;
    if (sets->sorted == NULL) {
        sets_sort(sets);
        buf_printf(out, "%s Sets (%zu)/(%zu):\n", what, sets->count, sets->elements);
    }
    for (; sets->next < sets->count; sets->next++) {
        struct set *set = sets->sorted[sets->next];
        if (*looks <= 0 || out->len >= max)
            return false;
        if (sets->given == 0) {
            buf_printf(out, "%zu expire at ", set->count);
            put_date(out, d->now.wall_ms + set->deadline_ms - mono_ms(d->now.mono));
            buf_append(out, ":\n", 2);
        }
        size_t n = out->len < max ? size_min(max - out->len, set->lines.len - sets->given) : 0;
        buf_append(out, set->lines.data + sets->given, n);
        d->answer.held_bytes -= n;
        sets->given += n;
        *looks -= 1 + (int)(n / LOOK_BYTES);
        if (sets->given < set->lines.len)
            return false;
        sets->given = 0;
        set_free(set);
    }
    sets_clear(sets);
    return true;
}

static bool give_sessions(struct dump *d, struct buf *out, size_t max, int *looks) {
    return d->follows || give_sets(d, "Session", out, max, looks);
}

/* From the last to the first, because a deletion moves the last into the hole: so what stays is never missed. */
static bool give_ephemerals_of(struct dump *d, const struct owned *owned, struct buf *out, size_t max, int *looks) {
    for (d->left = d->left < owned->count ? d->left : owned->count; d->left > 0; d->left--) {
        if (*looks <= 0 || out->len >= max)
            return false;
        --*looks;
        buf_append(out, "\t", 1);
        znode_path(owned->nodes[d->left - 1], out);
        buf_append(out, "\n", 1);
    }
    return true;
}

static bool give_ephemerals(struct dump *d, struct buf *out, size_t max, int *looks) {
    const struct tree *tree = d->s->tree;
    if (!d->begun) {
        d->id_count = tree_owner_count(tree);
        buf_printf(out, "ephemeral nodes dump:\nSessions with Ephemerals (%zu):\n", d->id_count);
        d->ids = mem_alloc((d->id_count + 1) * sizeof *d->ids);
        tree_owner_ids(tree, d->ids);
    }
    for (; d->id_next < d->id_count; d->id_next++) {
        if (*looks <= 0 || out->len >= max)
            return false;
        --*looks;
        const struct owned *owned = tree_owned_by(tree, (session_id_t)d->ids[d->id_next]);
        if (owned == NULL) {
            d->left = 0;
            continue;
        }
        if (d->left == 0) {
            buf_printf(out, "0x%llx:\n", (unsigned long long)owned->owner);
            d->left = owned->count;
        }
        if (!give_ephemerals_of(d, owned, out, max, looks))
            return false;
    }
    free_ids(d);
    return true;
}

/* A connection goes with its session; one that has none yet, when the time for making one is over. */
static int64_t conn_deadline_ms(const struct dump *d, const struct conn *c) {
    const struct config *config = d->s->config;
    int64_t now_ms = mono_ms(d->now.mono), interval_ms = config->tick_time_ms;
    if (c->session != NULL && c->session->expiry.bucket != NULL)
        return expiry_deadline(&c->session->expiry);
    if (c->session_id != 0)
        return now_ms;
    int64_t until_ms = now_ms - (d->now.wall_ms - c->established_wall_ms) + config->sessionless_timeout_ms;
    /* Rounded up as sessions are, so that they stand together. */
    return (until_ms / interval_ms + 1) * interval_ms;
}

static bool gather_connections(struct dump *d, struct buf *out, size_t max, int *looks) {
    (void)max;
    if (!d->begun)
        buf_printf(out, "Connections dump:\n");
    for (; d->slot < d->s->slot_count; d->slot++) {
        if (*looks <= 0)
            return false;
        --*looks;
        const struct conn *c = d->s->slots[d->slot];
        if (c == NULL)
            continue;
        buf_printf(&d->line, "\tip: /%s sessionId: 0x%llx\n", c->peer, (unsigned long long)c->session_id);
        gather(d, conn_deadline_ms(d, c));
    }
    return true;
}

static bool give_connections(struct dump *d, struct buf *out, size_t max, int *looks) {
    return give_sets(d, "Connections", out, max, looks);
}

static bool next_of_dump(struct answer *a, struct buf *out, size_t max, int *looks) {
    static bool (*const steps[])(struct dump *d, struct buf *out, size_t max, int *looks) = {
        gather_sessions, give_sessions, give_ephemerals, gather_connections, give_connections};
    struct dump *d = CONTAINER_OF(a, struct dump, answer);
    for (; d->step < ARRAY_LEN(steps); d->step++) {
        if (!d->begun)
            d->now = d->s->now;
        bool done = steps[d->step](d, out, max, looks);
        d->begun = !done;
        if (!done)
            return false;
    }
    return true;
}

static void free_dump(struct answer *a) {
    struct dump *d = CONTAINER_OF(a, struct dump, answer);
    sets_clear(&d->sets);
    free_ids(d);
    buf_free(&d->line);
    mem_free(d);
}

struct answer *dump_dump(struct server *s) {
    struct dump *d = mem_calloc(1, sizeof *d);
    *d = (struct dump){.answer = {.next = next_of_dump, .free = free_dump}, .s = s, .follows = !s->role->orders};
    return &d->answer;
}

/* ------------------------------------------------------------------ watches */

#define DATA_MODES (WATCH_DATA | WATCH_DATA_PERSISTENT | WATCH_RECURSIVE)

/* wchs and wchp: path by path. */
struct by_path {
    struct answer answer;
    const struct server *s;
    uint64_t cursor;
    struct buf path;  /* wchp: is given out with its watchers */
    bool titled;      /* it has been */
    struct buf words; /* these: struct watch_word */
    size_t next;      /* of them */
    struct buf seen;  /* wchs: a bit per slot */
    uint64_t watchers; /* bits that are set */
};

static size_t word_count(const struct by_path *l) { return l->words.len / sizeof(struct watch_word); }

static struct watch_word next_word(struct by_path *l) {
    struct watch_word word;
    memcpy(&word, l->words.data + l->next++ * sizeof word, sizeof word);
    return word;
}

/* Whatever follows the watchers at hand. False at the end, or (*waits) if this turn is over. */
static bool next_path(struct by_path *l, int *looks, bool *waits) {
    l->next = 0;
    l->titled = *waits = false;
    if (!watch_next(l->s->watches, &l->cursor, looks, &l->path, &l->words))
        return false;
    *waits = l->words.len == 0;
    l->answer.held_bytes = l->path.len + l->words.len + l->seen.len;
    return !*waits;
}

static void note_watcher(struct by_path *l, uint32_t watcher) {
    size_t byte = watcher / 8;
    uint8_t bit = (uint8_t)(1u << watcher % 8);
    if (byte >= l->seen.len) {
        size_t more = byte + 1 - l->seen.len;
        memset(buf_tail(&l->seen, more), 0, more);
        l->seen.len += more;
    }
    l->watchers += (l->seen.data[byte] & bit) == 0;
    l->seen.data[byte] |= bit;
}

static bool next_of_wchs(struct answer *a, struct buf *out, size_t max, int *looks) {
    struct by_path *l = CONTAINER_OF(a, struct by_path, answer);
    bool waits;
    (void)max;
    do {
        for (; l->next < word_count(l); --*looks) {
            if (*looks <= 0)
                return false;
            note_watcher(l, next_word(l).watcher);
        }
    } while (next_path(l, looks, &waits));
    if (waits)
        return false;
    buf_printf(out, "%llu connections watching %llu paths\nTotal watches:%llu\n", (unsigned long long)l->watchers,
               (unsigned long long)watch_path_count(l->s->watches), (unsigned long long)watch_data_count(l->s->watches));
    return true;
}

/* A watcher that has gone, and whose watches are about to follow, is none. */
static bool next_of_wchp(struct answer *a, struct buf *out, size_t max, int *looks) {
    struct by_path *l = CONTAINER_OF(a, struct by_path, answer);
    bool waits;
    do {
        for (; l->next < word_count(l); --*looks) {
            if (*looks <= 0 || out->len >= max)
                return false;
            const struct conn *c = l->s->slots[next_word(l).watcher];
            if (c == NULL)
                continue;
            if (!l->titled)
                buf_printf(out, "%.*s\n", (int)l->path.len, (const char *)l->path.data);
            l->titled = true;
            buf_printf(out, "\t0x%llx\n", (unsigned long long)c->session_id);
        }
    } while (next_path(l, looks, &waits));
    if (waits)
        return false;
    buf_append(out, "\n", 1);
    return true;
}

static void free_by_path(struct answer *a) {
    struct by_path *l = CONTAINER_OF(a, struct by_path, answer);
    buf_free(&l->path);
    buf_free(&l->words);
    buf_free(&l->seen);
    mem_free(l);
}

static struct answer *by_path(const struct server *s, bool (*next)(struct answer *a, struct buf *out, size_t max, int *looks)) {
    struct by_path *l = mem_calloc(1, sizeof *l);
    *l = (struct by_path){.answer = {.next = next, .free = free_by_path}, .s = s};
    return &l->answer;
}

struct answer *dump_wchs(struct server *s) { return by_path(s, next_of_wchs); }
struct answer *dump_wchp(struct server *s) { return by_path(s, next_of_wchp); }

/* wchc: connection by connection, by slot. */
struct by_conn {
    struct answer answer;
    const struct server *s;
    uint32_t slot;
    session_id_t session; /* whose turn it is; another connection may come to have its slot */
    bool begun, titled;   /* it; and the line above its paths is there */
    struct buf ids;       /* what it watched when its turn came */
    size_t next;
    struct buf path;
};

/* False if there is more to say about this connection. */
static bool give_watches(struct by_conn *l, const struct conn *c, struct buf *out, size_t max, int *looks) {
    if (!l->begun) {
        watch_ids(l->s->watches, c->slot, &l->ids);
        l->session = c->session_id;
        l->begun = true;
        l->titled = false;
        l->next = 0;
        l->answer.held_bytes = l->ids.len;
    }
    for (; l->session == c->session_id && l->next < l->ids.len / sizeof(uint32_t); l->next++, --*looks) {
        uint32_t id;
        if (*looks <= 0 || out->len >= max)
            return false;
        memcpy(&id, l->ids.data + l->next * sizeof id, sizeof id);
        if ((watch_of_id(l->s->watches, id, c->slot, &l->path) & DATA_MODES) == 0)
            continue;
        if (!l->titled)
            buf_printf(out, "0x%llx\n", (unsigned long long)l->session);
        l->titled = true;
        buf_printf(out, "\t%.*s\n", (int)l->path.len, (const char *)l->path.data);
    }
    return true;
}

static bool next_of_wchc(struct answer *a, struct buf *out, size_t max, int *looks) {
    struct by_conn *l = CONTAINER_OF(a, struct by_conn, answer);
    for (; l->slot < l->s->slot_count; l->slot++) {
        const struct conn *c = l->s->slots[l->slot];
        if (*looks <= 0 || out->len >= max)
            return false;
        --*looks;
        if (c != NULL && c->has_watches && !give_watches(l, c, out, max, looks))
            return false;
        l->begun = false;
    }
    buf_append(out, "\n", 1);
    return true;
}

static void free_by_conn(struct answer *a) {
    struct by_conn *l = CONTAINER_OF(a, struct by_conn, answer);
    buf_free(&l->ids);
    buf_free(&l->path);
    mem_free(l);
}

struct answer *dump_wchc(struct server *s) {
    struct by_conn *l = mem_calloc(1, sizeof *l);
    *l = (struct by_conn){.answer = {.next = next_of_wchc, .free = free_by_conn}, .s = s};
    return &l->answer;
}
