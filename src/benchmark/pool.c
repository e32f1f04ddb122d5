#include "benchmark/pool.h"

#include "base/mem.h"

/* Connections that pool_open has under way at a time: fewer than the 50 that Java's accept queue holds, beyond which a
 * connect waits a second for the kernel to try again. */
#define OPENING_MAX 32

static void on_event_ignored(struct conn *c, int32_t type, struct slice path, int64_t now_ns) {
    (void)c;
    (void)type;
    (void)path;
    (void)now_ns;
}

static void on_lost_while_closing(struct conn *c, bool expired, const char *why) {
    (void)expired;
    bench_wrong(c->pool->bench, "closing a session: %s", why);
}

static const struct conn_handler silent_handler;
static const struct conn_handler closing_handler = {.on_event = on_event_ignored, .on_lost = on_lost_while_closing};

void pool_init(struct pool *pool, struct bench *b, size_t count, int priority, const struct conn_handler *handler,
               void *context) {
    *pool =
        (struct pool){.bench = b, .handler = handler ? handler : &silent_handler, .context = context, .count = count};
    pool->conns = mem_calloc(count, sizeof *pool->conns);
    pool->in_state[CONN_CLOSED] = count;
    for (size_t i = 0; i < count; i++)
        conn_init(&pool->conns[i], pool, (uint32_t)i, priority);
    list_push(&b->pools, &pool->link);
}

static void open_more(struct pool *pool) {
    while (pool->next_to_open < pool->count && pool->in_state[CONN_HANDSHAKE] < OPENING_MAX)
        conn_open(&pool->conns[pool->next_to_open++]);
}

void pool_state_changed(struct pool *pool, enum conn_state from, enum conn_state to) {
    pool->in_state[from]--;
    pool->in_state[to]++;
    if (pool->opening && to == CONN_READY)
        open_more(pool);
}

static bool all_ready(void *arg) {
    const struct pool *pool = arg;
    return pool->in_state[CONN_READY] == pool->count;
}

bool pool_open(struct pool *pool) {
    pool->opening = true;
    open_more(pool);
    bool ok = bench_run(pool->bench, all_ready, pool, 0);
    pool->opening = false;
    return ok;
}

static bool none_open(void *arg) {
    const struct pool *pool = arg;
    return pool->in_state[CONN_CLOSED] == pool->count;
}

void pool_close(struct pool *pool) {
    struct bench *b = pool->bench;
    pool->handler = &closing_handler;
    if (!b->broken) {
        b->interrupted = false;
        for (size_t i = 0; i < pool->count; i++) {
            if (pool->conns[i].state == CONN_READY)
                conn_close_session(&pool->conns[i]);
            else if (pool->conns[i].state != CONN_CLOSING)
                conn_drop(&pool->conns[i]);
            conn_flush(&pool->conns[i]);
        }
        bench_run(b, none_open, pool, 0);
    }
    for (size_t i = 0; i < pool->count; i++)
        conn_free(&pool->conns[i]);
    list_remove(&pool->link);
    mem_free(pool->conns);
}

void pool_tick(struct pool *pool, int64_t now_ns) {
    for (size_t i = 0; i < pool->count; i++)
        conn_tick(&pool->conns[i], now_ns);
}
