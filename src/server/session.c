#include "server/session.h"

#include "base/log.h"
#include "base/mem.h"

void sessions_init(struct sessions *s, int64_t tick_ms, int64_t server_id, struct now now) {
    *s = (struct sessions){0};
    expiry_init(&s->expiry, tick_ms, mono_ms(now.mono));
    /* Server id in the top byte, then 40 bits of a millisecond clock: ZooKeeper's layout, but from the wall clock, so
     * that a reboot does not lead back to ids that were in use before. */
    uint64_t start = (((uint64_t)now.wall_ms << 24) >> 8) | (uint64_t)server_id << 56;
    if (start == (uint64_t)INT64_MIN)
        start++;
    s->next_id = (int64_t)start;
}

void sessions_free(struct sessions *s) {
    size_t cursor = 0;
    struct session *session;
    while ((session = hmap_next(&s->by_id, &cursor)) != NULL)
        mem_free(session);
    hmap_free(&s->by_id);
    expiry_close(&s->expiry);
}

struct session *session_find(const struct sessions *s, session_id_t id) { return hmap_get(&s->by_id, (uint64_t)id); }

session_id_t session_next_id(struct sessions *s) {
    while (session_find(s, s->next_id) != NULL)
        s->next_id++;
    return s->next_id++;
}

struct session *session_add(struct sessions *s, session_id_t id, int32_t timeout_ms) {
    struct session *session = mem_calloc(1, sizeof *session);
    session->id = id;
    session->timeout_ms = session->live_timeout_ms = timeout_ms;
    void *old = hmap_put(&s->by_id, (uint64_t)id, session);
    zassert(old == NULL);
    return session;
}

void session_remove(struct sessions *s, struct session *session) {
    zassert(session->conn == NULL);
    expiry_remove(&s->expiry, &session->expiry);
    hmap_remove(&s->by_id, (uint64_t)session->id);
    mem_free(session);
}

void session_touch(struct sessions *s, struct session *session, struct now now) {
    if (!session->closing)
        expiry_touch(&s->expiry, &session->expiry, mono_ms(now.mono), session->live_timeout_ms);
}

void sessions_touch_all(struct sessions *s, struct now now) {
    size_t cursor = 0;
    struct session *session;
    while ((session = hmap_next(&s->by_id, &cursor)) != NULL)
        session_touch(s, session, now);
}

struct session *session_pop_expired(struct sessions *s, struct now now) {
    struct expiry_node *node = expiry_pop(&s->expiry, mono_ms(now.mono));
    return node != NULL ? CONTAINER_OF(node, struct session, expiry) : NULL;
}
