/* See mesh.h. Each link belongs to a struct mesh_link, which is in one of three places: among the unidentified ones, or it is
 * the attempt or the live connection of a peer. */
#include "quorum/mesh.h"

#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/election.h"

#define CONNECT_TIMEOUT_MS 5000
#define HANDSHAKE_TIMEOUT_MS 10000
#define UNIDENTIFIED_MAX 64
#define STRANGERS_MAX 64
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 2000
#define CALL_EXPECTED_MS 200 /* a server that was called, or that called, is about to be connected */
#define FRESH_MS 250         /* a connection that cannot have been lost without notice yet */
#define UNSENT_MAX ((size_t)64 * 1024) /* of a link; above it messages wait, and newer ones take their place */
#define UNSENT_POLL_MS 20
#define LOG_PERIOD_US 60000000

enum link_kind { KIND_UNIDENTIFIED, KIND_ATTEMPT, KIND_LIVE };

struct mesh_link {
    struct list node; /* in mesh.unidentified */
    struct mesh *mesh;
    struct link *link;
    enum link_kind kind;
    struct mesh_peer *peer; /* NULL while unidentified */
    struct monotime deadline; /* of the initial message */
    struct monotime since;    /* live */
};

struct mesh_peer {
    struct list node;
    int64_t sid;
    struct mesh_link *live, *attempt;
    bool used;           /* something was sent or there was a connection: it has a queue */
    bool wanted;         /* to be dialled when the back-off is over */
    bool try_last_seen;  /* the next attempt goes to the address in the last-seen configuration */
    struct buf waiting;  /* the frame that waits, empty = none */
    struct buf last;     /* the frame that was sent last */
    struct buf told;     /* addresses from its initial message, for the next attempt */
    int64_t backoff_ms;
    struct monotime next_dial;
    struct monotime expected_until; /* it was there a moment ago, and one of us is to call the other */
};

struct mesh {
    struct mesh_options options;
    const struct link_ops *links;
    void *links_ctx;
    const struct mesh_env *env;
    void *ctx;
    struct buf hello; /* our initial message */
    struct qconfig *committed, *last_seen;
    struct list peers;
    struct list unidentified; /* oldest first */
    int unidentified_count;
    struct now now;
    struct log_limit own_sid;
};

static const struct link_events events;

/* -------- links -------- */

static struct mesh_link *link_new(struct mesh *m, struct link *l, enum link_kind kind, struct mesh_peer *p) {
    struct mesh_link *ml = mem_calloc(1, sizeof(*ml));
    ml->mesh = m;
    ml->link = l;
    ml->kind = kind;
    ml->peer = p;
    list_init(&ml->node);
    return ml;
}

/* Takes it out of the place where it is, if it is still there: a connection that was replaced must not take the new one
 * with it. */
static void link_detach(struct mesh_link *ml) {
    if (ml->kind == KIND_UNIDENTIFIED) {
        list_remove(&ml->node);
        ml->mesh->unidentified_count--;
    } else if (ml->peer->live == ml) {
        ml->peer->live = NULL;
    } else if (ml->peer->attempt == ml) {
        ml->peer->attempt = NULL;
    }
}

static void link_close(struct mesh_link *ml) {
    struct mesh *m = ml->mesh;
    link_detach(ml);
    m->links->close(m->links_ctx, ml->link);
    mem_free(ml);
}

/* -------- peers -------- */

static struct mesh_peer *find_peer(const struct mesh *m, int64_t sid) {
    struct mesh_peer *p;
    LIST_FOREACH(p, &m->peers, struct mesh_peer, node) {
        if (p->sid == sid)
            return p;
    }
    return NULL;
}

static const struct qserver *configured(const struct qconfig *c, int64_t sid) {
    return c != NULL ? qconfig_find(c, sid) : NULL;
}

static bool is_stranger(const struct mesh *m, int64_t sid) {
    return configured(m->committed, sid) == NULL && configured(m->last_seen, sid) == NULL;
}

/* NULL if this would be one stranger too many. */
static struct mesh_peer *need_peer(struct mesh *m, int64_t sid) {
    struct mesh_peer *p = find_peer(m, sid), *other;
    if (p != NULL)
        return p;
    if (is_stranger(m, sid)) {
        int strangers = 0;
        LIST_FOREACH(other, &m->peers, struct mesh_peer, node) {
            strangers += is_stranger(m, other->sid);
        }
        if (strangers >= m->options.strangers_max)
            return NULL;
    }
    p = mem_calloc(1, sizeof(*p));
    p->sid = sid;
    p->backoff_ms = BACKOFF_MIN_MS;
    list_push(&m->peers, &p->node);
    return p;
}

static void peer_free(struct mesh_peer *p) {
    if (p->live != NULL)
        link_close(p->live);
    if (p->attempt != NULL)
        link_close(p->attempt);
    list_remove(&p->node);
    buf_free(&p->waiting);
    buf_free(&p->last);
    buf_free(&p->told);
    mem_free(p);
}

/* A stranger is remembered as long as it is connected or about to be. */
static void forget_stranger(struct mesh *m, struct mesh_peer *p) {
    if (p->live == NULL && p->attempt == NULL && !p->wanted && is_stranger(m, p->sid))
        peer_free(p);
}

static void tell_connection(struct mesh *m, int64_t sid, bool up) {
    if (m->env->connection != NULL)
        m->env->connection(m->ctx, sid, up);
}

/* -------- sending -------- */

static void flush(struct mesh *m, struct mesh_peer *p) {
    if (p->live == NULL || p->waiting.len == 0 || m->links->unsent(m->links_ctx, p->live->link) > UNSENT_MAX)
        return;
    struct buf sent = p->waiting;
    p->waiting = p->last;
    buf_clear(&p->waiting);
    p->last = sent;
    m->links->send(m->links_ctx, p->live->link, sent.data, sent.len);
}

/* Section 2.4: a connection that both sides will keep. */
static void go_live(struct mesh *m, struct mesh_peer *p, struct mesh_link *ml) {
    bool was_connected = p->live != NULL;
    if (p->live != NULL)
        link_close(p->live);
    ml->kind = KIND_LIVE;
    ml->peer = p;
    ml->since = m->now.mono;
    p->live = ml;
    p->expected_until = m->now.mono; /* it has come; if it goes again nobody waits for it */
    p->used = true;
    p->wanted = false;
    buf_clear(&p->told);
    if (p->waiting.len > 0)
        flush(m, p);
    else if (p->last.len > 0)
        m->links->send(m->links_ctx, ml->link, p->last.data, p->last.len);
    if (!was_connected)
        tell_connection(m, p->sid, true);
}

/* -------- dialling -------- */

static void back_off(struct mesh *m, struct mesh_peer *p) {
    p->next_dial = mono_add_ms(m->now.mono, p->backoff_ms);
    p->backoff_ms = i64_min(2 * p->backoff_ms, BACKOFF_MAX_MS);
}

/* The addresses that the peer told us, if it did. Hosts stand in text. */
static int told_addresses(struct mesh_peer *p, struct buf *text, struct link_address *list, int max) {
    size_t offsets[QUORUM_ADDRESSES_MAX];
    int count = 0;
    struct slice rest = {(const char *)p->told.data, p->told.len};
    struct hello_address a;
    while (count < max && rest.len > 0 && hello_next_address(&rest, &a)) {
        offsets[count] = text->len;
        buf_append(text, a.host.data, a.host.len);
        buf_append(text, "", 1);
        list[count++].port = a.port;
    }
    for (int i = 0; i < count; i++)
        list[i].host = (const char *)text->data + offsets[i];
    buf_clear(&p->told);
    return count;
}

/* Committed and last-seen configuration in turn, if both know the server. */
static int configured_addresses(struct mesh *m, struct mesh_peer *p, struct link_address *list, int max) {
    const struct qserver *s = configured(m->committed, p->sid), *other = configured(m->last_seen, p->sid);
    if (s == NULL || (other != NULL && p->try_last_seen))
        s = other;
    p->try_last_seen = !p->try_last_seen;
    if (s == NULL)
        return 0;
    int count = s->address_count < max ? s->address_count : max;
    for (int i = 0; i < count; i++)
        list[i] = (struct link_address){s->addresses[i].host, s->addresses[i].election_port};
    return count;
}

static void dial(struct mesh *m, struct mesh_peer *p) {
    struct link_address list[QUORUM_ADDRESSES_MAX];
    struct buf text = BUF_INIT;
    int count = told_addresses(p, &text, list, (int)ARRAY_LEN(list));
    p->wanted = false;
    if (count == 0)
        count = configured_addresses(m, p, list, (int)ARRAY_LEN(list));
    if (count > 0) {
        struct mesh_link *ml = link_new(m, NULL, KIND_ATTEMPT, p);
        ml->link = m->links->dial(m->links_ctx, list, count, m->options.connect_timeout_ms, &events, ml);
        if (ml->link != NULL) {
            p->attempt = ml;
        } else {
            mem_free(ml);
            back_off(m, p);
        }
    }
    buf_free(&text);
}

static void connect_peer(struct mesh *m, struct mesh_peer *p) {
    if (p->live != NULL || p->attempt != NULL)
        return;
    if (mono_diff_us(m->now.mono, p->next_dial) >= 0)
        dial(m, p);
    else
        p->wanted = true;
}

/* -------- what links have to tell -------- */

static void on_opened(struct link *l) {
    struct mesh_link *ml = l->owner;
    struct mesh *m = ml->mesh;
    struct mesh_peer *p = ml->peer;
    m->links->send(m->links_ctx, l, m->hello.data, m->hello.len);
    p->attempt = NULL;
    if (p->sid < m->options.sid) {
        go_live(m, p, ml);
        return;
    }
    /* The larger sid's connection is the one to keep. It calls back; another signal meanwhile would only disturb that. */
    link_close(ml);
    back_off(m, p);
    p->expected_until = mono_add_ms(m->now.mono, CALL_EXPECTED_MS);
    forget_stranger(m, p);
}

/* From a smaller sid: its connection is only a signal. Two servers that start together dial each other. Then the signal
 * arrives when our own connection stands already, and is ignored; anew is only what may have been lost unseen. */
static void call_back(struct mesh *m, struct mesh_link *ml, const struct hello *h) {
    struct mesh_peer *p = need_peer(m, h->sid);
    if (p != NULL && !(p->live != NULL && mono_diff_us(m->now.mono, p->live->since) < FRESH_MS * 1000)) {
        bool was_connected = p->live != NULL;
        if (p->live != NULL)
            link_close(p->live);
        buf_clear(&p->told);
        if (h->text.len > 0)
            buf_append(&p->told, h->text.data, h->text.len);
        struct monotime soon = mono_add_ms(m->now.mono, BACKOFF_MIN_MS);
        if (mono_diff_us(p->next_dial, soon) > 0)
            p->next_dial = soon;
        p->backoff_ms = BACKOFF_MIN_MS;
        p->expected_until = mono_add_ms(m->now.mono, CALL_EXPECTED_MS);
        p->wanted = true; /* if the attempt under way fails, there is one to the address told */
        connect_peer(m, p);
        if (was_connected)
            tell_connection(m, p->sid, false);
        forget_stranger(m, p);
    }
    link_close(ml);
}

/* From a larger sid: its connection is the one to keep. False if it was closed. */
static bool take_over(struct mesh *m, struct mesh_link *ml, int64_t sid) {
    struct mesh_peer *p = need_peer(m, sid);
    if (p == NULL) {
        link_close(ml);
        return false;
    }
    link_detach(ml);
    if (p->attempt != NULL) /* it would end this connection as soon as it was accepted over there */
        link_close(p->attempt);
    go_live(m, p, ml);
    return true;
}

/* False if the link is not to be read further. */
static bool identify(struct mesh *m, struct mesh_link *ml, const uint8_t *data, size_t len, size_t *used) {
    struct hello h;
    uint64_t suppressed;
    enum hello_result result = hello_get(data, len, &h, used);
    if (result == HELLO_INCOMPLETE) {
        *used = 0;
        return false;
    }
    /* Letters, or the first bytes of TLS, look like the sid of an old server, but not like a small one. */
    if (result == HELLO_MALFORMED || h.sid > QUORUM_SID_MAX) {
        log_debug("election: no initial message from %s, closed", ml->link->peer);
        link_close(ml);
        return false;
    }
    if (h.sid > m->options.sid)
        return take_over(m, ml, h.sid);
    if (h.sid < m->options.sid) {
        call_back(m, ml, &h);
        return false;
    }
    if (log_limit_pass(&m->own_sid, m->now.mono.us, LOG_PERIOD_US, &suppressed))
        log_warn("election: %s has our own server id %lld", ml->link->peer, (long long)h.sid);
    link_close(ml);
    return false;
}

static size_t on_received(struct link *l, const uint8_t *data, size_t len) {
    struct mesh_link *ml = l->owner;
    struct mesh *m = ml->mesh;
    size_t used = 0;
    if (ml->kind == KIND_UNIDENTIFIED && !identify(m, ml, data, len, &used))
        return used;
    struct mesh_peer *p = ml->peer;
    while (len - used >= 4) {
        size_t size = be32_load(data + used);
        if (size == 0 || size > NOTIFICATION_FRAME_MAX) {
            log_info("election: a frame of %zu bytes from server %lld, closed", size, (long long)p->sid);
            int64_t sid = p->sid;
            link_close(ml);
            forget_stranger(m, p);
            tell_connection(m, sid, false);
            return len;
        }
        if (len - used - 4 < size)
            break;
        p->backoff_ms = BACKOFF_MIN_MS;
        m->env->received(m->ctx, p->sid, data + used + 4, size);
        used += 4 + size;
    }
    return used;
}

static void on_closed(struct link *l, const char *reason) {
    struct mesh_link *ml = l->owner;
    struct mesh *m = ml->mesh;
    struct mesh_peer *p = ml->peer;
    bool live = p != NULL && p->live == ml, attempt = p != NULL && p->attempt == ml;
    link_detach(ml);
    mem_free(ml);
    if (p == NULL)
        return;
    log_debug("election: %s server %lld: %s", live ? "lost" : "cannot connect to", (long long)p->sid, reason);
    int64_t sid = p->sid;
    if (attempt) {
        back_off(m, p);
        p->expected_until = m->now.mono;
    }
    forget_stranger(m, p);
    if (live)
        tell_connection(m, sid, false);
}

static const struct link_events events = {on_opened, on_received, on_closed};

void mesh_accepted(struct mesh *m, struct link *l, struct now now) {
    m->now = now;
    if (m->unidentified_count >= m->options.unidentified_max)
        link_close(LIST_FIRST(&m->unidentified, struct mesh_link, node));
    struct mesh_link *ml = link_new(m, l, KIND_UNIDENTIFIED, NULL);
    ml->deadline = mono_add_ms(now.mono, m->options.handshake_timeout_ms);
    list_push(&m->unidentified, &ml->node);
    m->unidentified_count++;
    l->events = &events;
    l->owner = ml;
}

/* -------- from above -------- */

void mesh_send(struct mesh *m, int64_t sid, const void *data, size_t len) {
    zassert(len > 0 && len <= NOTIFICATION_FRAME_MAX);
    if (sid == m->options.sid || (find_peer(m, sid) == NULL && is_stranger(m, sid)))
        return;
    struct mesh_peer *p = need_peer(m, sid);
    buf_clear(&p->waiting);
    jute_put_int(&p->waiting, (int32_t)len);
    buf_append(&p->waiting, data, len);
    p->used = true;
    flush(m, p);
    connect_peer(m, p);
}

void mesh_connect_all(struct mesh *m) {
    struct mesh_peer *p;
    LIST_FOREACH(p, &m->peers, struct mesh_peer, node) {
        if (p->used)
            connect_peer(m, p);
    }
}

void mesh_set_now(struct mesh *m, struct now now) { m->now = now; }

void mesh_tick(struct mesh *m, struct now now) {
    struct mesh_link *ml;
    struct mesh_peer *p;
    m->now = now;
    LIST_FOREACH(ml, &m->unidentified, struct mesh_link, node) {
        if (mono_diff_us(now.mono, ml->deadline) < 0)
            continue;
        log_debug("election: %s did not say who it is, closed", ml->link->peer);
        link_close(ml);
    }
    LIST_FOREACH(p, &m->peers, struct mesh_peer, node) {
        flush(m, p);
        if (p->wanted)
            connect_peer(m, p);
        forget_stranger(m, p);
    }
}

struct monotime mesh_deadline(const struct mesh *m) {
    int64_t first = INT64_MAX;
    struct mesh_link *ml;
    struct mesh_peer *p;
    LIST_FOREACH(ml, &m->unidentified, struct mesh_link, node) {
        first = i64_min(first, ml->deadline.us);
    }
    LIST_FOREACH(p, &m->peers, struct mesh_peer, node) {
        if (p->wanted && p->live == NULL && p->attempt == NULL)
            first = i64_min(first, p->next_dial.us);
        if (p->live != NULL && p->waiting.len > 0)
            first = i64_min(first, mono_add_ms(m->now.mono, UNSENT_POLL_MS).us);
    }
    return (struct monotime){first};
}

bool mesh_connected(const struct mesh *m, int64_t sid) {
    const struct mesh_peer *p = find_peer(m, sid);
    return p != NULL && p->live != NULL;
}

bool mesh_expected(const struct mesh *m, int64_t sid) {
    const struct mesh_peer *p = find_peer(m, sid);
    return p != NULL && (p->live != NULL || mono_diff_us(m->now.mono, p->expected_until) < 0);
}

bool mesh_has_delivered(const struct mesh *m) {
    const struct mesh_peer *p;
    LIST_FOREACH(p, &m->peers, struct mesh_peer, node) {
        if (p->used && p->waiting.len == 0)
            return true;
    }
    return false;
}

int mesh_unidentified(const struct mesh *m) { return m->unidentified_count; }

void mesh_set_configs(struct mesh *m, struct qconfig *committed, struct qconfig *last_seen) {
    struct mesh_peer *p;
    qconfig_ref(committed);
    if (last_seen != NULL)
        qconfig_ref(last_seen);
    qconfig_unref(m->committed);
    qconfig_unref(m->last_seen);
    m->committed = committed;
    m->last_seen = last_seen;
    LIST_FOREACH(p, &m->peers, struct mesh_peer, node) {
        forget_stranger(m, p);
    }
}

struct mesh *mesh_new(const struct mesh_options *options, const struct link_ops *links, void *links_ctx,
                      const struct mesh_env *env, void *ctx, struct qconfig *committed, struct qconfig *last_seen,
                      struct now now) {
    struct hello_address own[QUORUM_ADDRESSES_MAX];
    struct mesh *m = mem_calloc(1, sizeof(*m));
    m->options = *options;
    if (m->options.connect_timeout_ms == 0)
        m->options.connect_timeout_ms = CONNECT_TIMEOUT_MS;
    if (m->options.handshake_timeout_ms == 0)
        m->options.handshake_timeout_ms = HANDSHAKE_TIMEOUT_MS;
    if (m->options.unidentified_max == 0)
        m->options.unidentified_max = UNIDENTIFIED_MAX;
    if (m->options.strangers_max == 0)
        m->options.strangers_max = STRANGERS_MAX;
    zassert(options->address_count > 0);
    int count = options->address_count < QUORUM_ADDRESSES_MAX ? options->address_count : QUORUM_ADDRESSES_MAX;
    for (int i = 0; i < count; i++)
        own[i] = (struct hello_address){slice_of(options->addresses[i].host), options->addresses[i].port};
    hello_put(&m->hello, options->multi_address ? HELLO_V2 : HELLO_V1, options->sid, own, count);
    m->options.addresses = NULL;
    m->links = links;
    m->links_ctx = links_ctx;
    m->env = env;
    m->ctx = ctx;
    m->now = now;
    list_init(&m->peers);
    list_init(&m->unidentified);
    mesh_set_configs(m, committed, last_seen);
    links->listen(links_ctx, LINK_ELECTION, true);
    return m;
}

void mesh_free(struct mesh *m) {
    struct mesh_link *ml;
    struct mesh_peer *p;
    if (m == NULL)
        return;
    LIST_FOREACH(ml, &m->unidentified, struct mesh_link, node) {
        link_close(ml);
    }
    LIST_FOREACH(p, &m->peers, struct mesh_peer, node) {
        peer_free(p);
    }
    m->links->listen(m->links_ctx, LINK_ELECTION, false);
    qconfig_unref(m->committed);
    qconfig_unref(m->last_seen);
    buf_free(&m->hello);
    mem_free(m);
}
