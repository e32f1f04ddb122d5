#include "server/events.h"

#include <string.h>

#include "base/mem.h"
#include "server/server.h"

/* Looking through so many words of bits costs less than one event gains. */
#define BIT_WORDS_PER_EVENT 64
/* Connections whose state is fetched into the cache before their turn comes. */
#define FETCH_AHEAD 8
/* Memory for so many watchers is kept. */
#define AUDIENCE_KEEP 65536u

static void add_to_audience(void *ctx, uint32_t watcher) {
    struct audience *a = ctx;
    if (a->count == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 64;
        a->slots = mem_realloc(a->slots, a->cap * sizeof *a->slots);
    }
    a->slots[a->count++] = watcher;
}

/* Watchers come in the order of a hash table. In the order of their slots, which is by and large that of their
 * sockets, what this process and the kernel hold for each stands side by side in memory. */
static void put_in_order(struct audience *a, uint32_t slot_count) {
    size_t words = slot_count / 64 + 1, n = 0;
    if (a->count < 2 || words / BIT_WORDS_PER_EVENT > a->count)
        return;
    if (words > a->bit_words) {
        a->bits = mem_realloc(a->bits, words * sizeof *a->bits);
        memset(a->bits + a->bit_words, 0, (words - a->bit_words) * sizeof *a->bits);
        a->bit_words = words;
    }
    for (size_t i = 0; i < a->count; i++)
        a->bits[a->slots[i] / 64] |= UINT64_C(1) << a->slots[i] % 64;
    for (size_t i = 0; i < words; i++)
        for (; a->bits[i] != 0; a->bits[i] &= a->bits[i] - 1)
            a->slots[n++] = (uint32_t)(i * 64) + (uint32_t)__builtin_ctzll(a->bits[i]);
    zassert(n == a->count);
}

void audience_free(struct audience *a) {
    mem_free(a->slots);
    mem_free(a->bits);
    memset(a, 0, sizeof *a);
}

static void encode(struct buf *frame, const struct watch_event *e) {
    size_t start = frame_begin(frame);
    uint8_t *p = buf_tail(frame, REPLY_HEADER_BYTES);
    reply_header_store(p, &(struct reply_header){.xid = XID_NOTIFICATION, .zxid = e->zxid});
    frame->len += REPLY_HEADER_BYTES;
    jute_put_int(frame, (int32_t)e->type);
    jute_put_int(frame, STATE_SYNC_CONNECTED);
    jute_put_bytes(frame, e->path);
    frame_end(frame, start);
}

/* Is something still to be read on it? A connection that closes gets the replies that it is owed, hence what they
 * show, too. */
static bool wants_events(const struct conn *c) {
    if (c->close == CONN_CLOSE_FLUSH)
        return !list_empty(&c->requests) && !c->mute;
    return c->close == CONN_OPEN;
}

static bool may_be_told(const struct server *s, const struct conn *c, acl_id_t acl) {
    return auth_allowed(&s->auth, tree_acls(s->tree), acl, PERM_READ, &c->identities, c->identities.count);
}

static void deliver(struct server *s, struct conn *c, const struct buf *frame) {
    buf_append(conn_out(c), frame->data, frame->len);
    c->sent++;
    conn_dirty(c);
    s->metrics.packets_sent++;
    metric_count(&s->metrics, METRIC_WATCH_BYTES, frame->len - 4);
}

static void tell(struct server *s, const struct audience *a, const struct watch_event *e) {
    bool world_readable = s->auth.skip_acl || (acl_world_perms(tree_acls(s->tree), e->acl) & PERM_READ) != 0;
    struct buf frame = BUF_INIT; /* the same for all */
    encode(&frame, e);
    for (size_t i = 0; i < a->count; i++) {
        struct conn *c = s->slots[a->slots[i]];
        const struct conn *later = i + FETCH_AHEAD < a->count ? s->slots[a->slots[i + FETCH_AHEAD]] : NULL;
        if (later != NULL) {
            __builtin_prefetch(&later->out);
            __builtin_prefetch(&later->close);
        }
        if (c != NULL && wants_events(c) && (world_readable || may_be_told(s, c, e->acl)))
            deliver(s, c, &frame);
    }
    buf_free(&frame);
}

void events_fire(struct server *s, const struct watch_event *e, struct znode *node) {
    struct audience *a = &s->audience;
    a->count = 0;
    size_t count = watch_fire(s->watches, e->path, node, e->type, add_to_audience, a);
    if (count == 0)
        return;
    put_in_order(a, s->slot_count);
    tell(s, a, e);
    metric_watches_fired(&s->metrics, e->type, count);
    if (a->cap > AUDIENCE_KEEP)
        audience_free(a);
}
