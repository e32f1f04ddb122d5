#include "benchmark/znodes.h"

#include "base/mem.h"
#include "benchmark/clock.h"
#include "benchmark/load.h"

/* Preparation uses connections of its own, few with many requests outstanding each: well below the 1000 outstanding
 * requests at which ZooKeeper stops reading. */
#define PREPARE_CLIENTS 8
#define PREPARE_PIPELINE 64

static void add_dir(struct znodes *z, const char *path, size_t len) {
    z->dirs = mem_realloc(z->dirs, (z->dir_count + 1) * sizeof *z->dirs);
    z->dirs[z->dir_count] = mem_calloc(len + 1, 1);
    memcpy(z->dirs[z->dir_count++], path, len);
}

void znodes_init(struct znodes *z, struct bench *b, const char *prefix) {
    *z = (struct znodes){.bench = b, .prefix = prefix};
    for (const char *p = prefix + 1; *p != '\0'; p++)
        if (*p == '/')
            add_dir(z, prefix, (size_t)(p - prefix));
    add_dir(z, prefix, strlen(prefix));
    z->prefix_count = z->dir_count;
    add_dir(z, b->requests.children_path, strlen(b->requests.children_path));
    z->dir_created = mem_calloc(z->dir_count, sizeof *z->dir_created);
    b->requests.paths = (const char *const *)z->dirs;
}

void znodes_free(struct znodes *z) {
    for (size_t i = 0; i < z->dir_count; i++)
        mem_free(z->dirs[i]);
    mem_free(z->dirs);
    mem_free(z->dir_created);
}

/* ---- single requests, for the directories ---- */

struct call {
    bool done, good;
    int32_t err;
};

static void on_call_reply(struct conn *c, const struct op *op, bool good, int64_t now_ns) {
    struct call *call = c->pool->context;
    (void)op;
    (void)now_ns;
    call->done = true;
    call->good = good;
    call->err = c->reply_err;
}

static const struct conn_handler call_handler = {.on_reply = on_call_reply};

static bool call_done(void *arg) { return ((struct call *)arg)->done; }

/* Sends one request about a directory and waits. Returns false if the reply was not right or the step broke. */
static bool call_dir(struct pool *pool, enum request_kind kind, size_t dir, int32_t tolerated, int32_t *err) {
    struct op op = {.kind = kind, .key = dir, .tolerated = tolerated, .start_ns = clock_ns()};
    struct call state = {0};
    pool->handler = &call_handler;
    pool->context = &state;
    conn_send(&pool->conns[0], &op);
    conn_flush(&pool->conns[0]);
    bool ok = bench_run(pool->bench, call_done, &state, 0);
    *err = state.err;
    return ok && state.good;
}

static bool make_dir(struct znodes *z, struct pool *pool, size_t dir) {
    int32_t err;
    if (z->dir_created[dir])
        return true;
    if (!call_dir(pool, REQUEST_CREATE_PATH, dir, ZK_NODE_EXISTS, &err))
        return false;
    if (err == ZK_NODE_EXISTS && dir == z->prefix_count - 1) {
        bench_broken(z->bench, "%s exists, left by another run perhaps: name another --path-prefix, or say --existing",
                     z->dirs[dir]);
        return false;
    }
    z->dir_created[dir] = err == 0;
    return true;
}

static bool make_prefix(struct znodes *z, struct pool *pool) {
    for (size_t i = 0; !z->prepared && i < z->prefix_count; i++)
        if (!make_dir(z, pool, i))
            return false;
    z->prepared = true;
    return true;
}

static bool remove_dirs(struct znodes *z, struct pool *pool) {
    int32_t err;
    for (size_t i = z->dir_count; i-- > 0;) {
        if (!z->dir_created[i])
            continue;
        /* Others may have put something below the outer ones meanwhile. */
        if (!call_dir(pool, REQUEST_DELETE_PATH, i, i < z->prefix_count - 1 ? ZK_NOT_EMPTY : ZK_NO_NODE, &err))
            return false;
        z->dir_created[i] = false;
    }
    z->prepared = false;
    return true;
}

/* ---- many znodes ---- */

struct range {
    enum request_kind kind;
    enum name_kind name;
    uint64_t first;
    int32_t tolerated;
};

static void choose_in_range(struct load *l, uint64_t index, struct op *op) {
    const struct range *range = l->arg;
    op->kind = range->kind;
    op->name = range->name;
    op->key = range->first + index;
    op->tolerated = range->tolerated;
}

static bool run_range(struct pool *pool, struct range *range, uint64_t count, struct result *r) {
    struct load *l = mem_calloc(1, sizeof *l);
    l->pool = pool;
    l->choose = choose_in_range;
    l->arg = range;
    l->total = count;
    l->pipeline = PREPARE_PIPELINE;
    if (r)
        result_start(pool->bench, r);
    bool ok = load_run(l);
    if (r) {
        result_end(pool->bench, r);
        r->clients = pool->count;
        r->ops = l->answered;
        r->errors = l->errors;
        r->latency = l->latency;
        r->complete = ok;
    }
    ok = ok && l->errors == 0;
    mem_free(l);
    return ok;
}

/* Opens the pool of the preparation; the caller closes it whatever the result. */
static bool open_pool(struct znodes *z, struct pool *pool) {
    pool_init(pool, z->bench, PREPARE_CLIENTS, BENCH_PRIORITY_LOAD, &call_handler, NULL);
    return pool_open(pool);
}

/* Creates znodes until count of this kind are there. */
static bool make(struct znodes *z, enum name_kind name, uint64_t count, struct result *r) {
    struct pool pool;
    if (z->bench->opt->existing || (z->prepared && z->made[name] >= count))
        return true;
    bool ok = open_pool(z, &pool) && make_prefix(z, &pool);
    if (ok && name == NAME_CHILD)
        ok = make_dir(z, &pool, z->prefix_count);
    if (ok && z->made[name] < count) {
        struct range range = {.kind = REQUEST_CREATE, .name = name, .first = z->made[name]};
        uint64_t missing = count - z->made[name];
        z->made[name] = count;
        ok = run_range(&pool, &range, missing, r);
    }
    pool_close(&pool);
    return ok;
}

bool znodes_need_keys(struct znodes *z, struct result *r) { return make(z, NAME_KEY, z->bench->opt->keyspace, r); }
bool znodes_need_prefix(struct znodes *z) { return make(z, NAME_KEY, 0, NULL); }
bool znodes_need_children(struct znodes *z) { return make(z, NAME_CHILD, z->bench->opt->children, NULL); }
bool znodes_need_new(struct znodes *z, uint64_t count) { return make(z, NAME_NEW, count, NULL); }

void znodes_note(struct znodes *z, enum name_kind name, uint64_t count) {
    if (z->made[name] < count)
        z->made[name] = count;
}

static bool remove_kind(struct znodes *z, struct pool *pool, enum name_kind name) {
    struct range range = {.kind = REQUEST_DELETE, .name = name, .tolerated = ZK_NO_NODE};
    if (z->made[name] != 0 && !run_range(pool, &range, z->made[name], NULL))
        return false;
    z->made[name] = 0;
    return true;
}

static bool nothing_to_remove(const struct znodes *z) {
    bool any = false;
    for (size_t i = 0; i < z->dir_count; i++)
        any = any || z->dir_created[i];
    for (int i = 0; i < NAME_KINDS; i++)
        any = any || z->made[i] != 0;
    return !any || z->bench->opt->keep;
}

bool znodes_remove(struct znodes *z, enum name_kind name) {
    struct pool pool;
    if (z->bench->opt->keep || z->made[name] == 0)
        return true;
    bool ok = open_pool(z, &pool) && remove_kind(z, &pool, name);
    pool_close(&pool);
    return ok;
}

void znodes_cleanup(struct znodes *z) {
    struct pool pool;
    if (nothing_to_remove(z))
        return;
    z->bench->doing = "cleaning up";
    bench_begin_cleanup(z->bench);
    bool ok = open_pool(z, &pool);
    for (int i = 0; ok && i < NAME_KINDS; i++)
        ok = remove_kind(z, &pool, (enum name_kind)i);
    ok = ok && remove_dirs(z, &pool);
    pool_close(&pool);
    if (!ok)
        bench_note(z->bench, "not everything below %s could be removed", z->prefix);
}
