/* Quotas: which paths have one, what is used of them, and whether a change would exceed one.
 *
 * A path is armed by its limits node below /zookeeper/quota, whether or not the path itself exists, now or later; so
 * armed paths stand in a table by their text. The node at an armed path, if it exists, carries ZNODE_QUOTA and stands in
 * a second table, so that accounting finds the deepest quota over a node by following parents.
 *
 * The stats node is looked up each time: clients create and delete it as they like. See docs/protocol/operations.md
 * section 9; what is in it that does not parse is replaced by the true usage. */
#include "base/log.h"
#include "base/mem.h"
#include "tree/path.h"
#include "tree/tree_internal.h"

#define QUOTA_ROOT "/zookeeper/quota"
#define LIMITS_NAME "zookeeper_limits"
#define STATS_NAME "zookeeper_stats"

struct quota {
    struct quota *chain;  /* next with the same key in by_path */
    struct znode *limits; /* the node whose existence arms the quota */
    size_t index;         /* own position in entries */
    uint64_t key;
    uint64_t stats_hash;
    size_t path_len;
    size_t stats_path_len;
    char *stats_path; /* QUOTA_ROOT, then the armed path, then the name of the stats node */
};

static struct slice quota_path(const struct quota *q) {
    return (struct slice){q->stats_path + sizeof QUOTA_ROOT - 1, q->path_len};
}
static struct slice quota_stats_path(const struct quota *q) {
    return (struct slice){q->stats_path, q->stats_path_len};
}

/* ------------------------------------------------------------------ the text of limits and stats */

enum { GIVES_COUNT = 1, GIVES_BYTES = 2, GIVES_USAGE = 3 };

/* Returns which part of a usage the pair gives, 0 for none. */
static unsigned parse_pair(struct quota_limits *q, struct slice pair) {
    const char *eq = pair.len ? memchr(pair.data, '=', pair.len) : NULL;
    if (eq == NULL)
        return 0;
    struct slice key = {pair.data, (size_t)(eq - pair.data)};
    struct slice text = {eq + 1, pair.len - key.len - 1};
    /* Java writes "bytes=10=;key=1": what follows a second equals sign does not count. */
    const char *end = text.len ? memchr(text.data, '=', text.len) : NULL;
    if (end != NULL)
        text.len = (size_t)(end - text.data);
    int64_t value;
    bool is_number = str_to_i64(text, &value);
    if (!is_number)
        value = -1;
    if (slice_is(key, "count"))
        q->count = value;
    else if (slice_is(key, "bytes"))
        q->bytes = value;
    else if (slice_is(key, "countHardLimit"))
        q->count_hard = value;
    else if (slice_is(key, "byteHardLimit"))
        q->bytes_hard = value;
    if (!is_number)
        return 0;
    return slice_is(key, "count") ? GIVES_COUNT : slice_is(key, "bytes") ? GIVES_BYTES : 0;
}

static unsigned parse(struct quota_limits *q, struct slice text) {
    unsigned given = 0;
    size_t start = 0;
    *q = (struct quota_limits){-1, -1, -1, -1};
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.data[i] != ',' && text.data[i] != ';')
            continue;
        given |= parse_pair(q, (struct slice){text.data + start, i - start});
        start = i + 1;
    }
    return given;
}

struct quota_limits quota_parse(struct slice text) {
    struct quota_limits q;
    parse(&q, text);
    return q;
}

void quota_format(struct buf *out, const struct quota_limits *q) {
    buf_printf(out, "count=%lld,bytes=%lld", (long long)q->count, (long long)q->bytes);
    if (q->count_hard != -1 || q->bytes_hard != -1)
        buf_printf(out, "=;byteHardLimit=%lld;countHardLimit=%lld", (long long)q->bytes_hard, (long long)q->count_hard);
}

/* ------------------------------------------------------------------ the table of armed paths */

/* FNV-1a, because the keys of all beginnings of a path can be had in one pass over it. */
#define KEY_START 0xcbf29ce484222325u
static uint64_t key_step(uint64_t key, char c) { return (key ^ (uint8_t)c) * 0x100000001b3u; }

static struct quota *lookup_key(const struct tree *t, uint64_t key, struct slice path) {
    struct quota *q = hmap_get(&t->quotas.by_path, key);
    while (q != NULL && !slice_eq(quota_path(q), path))
        q = q->chain;
    return q;
}

static uint64_t key_of(struct slice path) {
    uint64_t key = KEY_START;
    for (size_t i = 0; i < path.len; i++)
        key = key_step(key, path.data[i]);
    return key;
}

static struct quota *lookup(const struct tree *t, struct slice path) {
    if (t->quotas.count == 0 || path.len > t->quotas.path_len_max)
        return NULL;
    return lookup_key(t, key_of(path), path);
}

/* The deepest armed path that is path or an ancestor of it. None of them has to exist. */
static struct quota *lookup_deepest(const struct tree *t, struct slice path) {
    struct quota *found = NULL;
    uint64_t key = KEY_START;
    if (t->quotas.count == 0)
        return NULL;
    for (size_t i = 0; i <= path.len && i <= t->quotas.path_len_max; i++) {
        if (i > 0 && (i == path.len || path.data[i] == '/')) {
            struct quota *q = lookup_key(t, key, (struct slice){path.data, i});
            found = q != NULL ? q : found;
        }
        if (i < path.len)
            key = key_step(key, path.data[i]);
    }
    return found;
}

static uint64_t node_key(const struct znode *n) { return (uintptr_t)n; }

static void flag_node(struct tree *t, struct quota *q, struct znode *n) {
    n->flags |= ZNODE_QUOTA;
    hmap_put(&t->quotas.by_node, node_key(n), q);
}

static void unflag_node(struct tree *t, struct znode *n) {
    n->flags &= (unsigned)~ZNODE_QUOTA & 0xff;
    hmap_remove(&t->quotas.by_node, node_key(n));
}

static void arm(struct tree *t, struct slice path, struct znode *limits) {
    struct quota_set *set = &t->quotas;
    struct quota *q = mem_calloc(1, sizeof *q);
    struct buf b = BUF_INIT;
    buf_append(&b, QUOTA_ROOT, sizeof QUOTA_ROOT - 1);
    buf_append(&b, path.data, path.len);
    buf_append(&b, "/" STATS_NAME, sizeof "/" STATS_NAME - 1);
    q->stats_path = (char *)b.data;
    q->stats_path_len = b.len;
    q->path_len = path.len;
    q->stats_hash = tree_hash(t, quota_stats_path(q));
    q->limits = limits;
    q->key = key_of(quota_path(q));
    q->chain = hmap_put(&set->by_path, q->key, q);
    if (set->count == set->cap) {
        set->cap = set->cap ? set->cap * 2 : 8;
        set->entries = mem_realloc(set->entries, set->cap * sizeof(struct quota *));
    }
    q->index = set->count;
    set->entries[set->count++] = q;
    set->path_len_max = size_max(set->path_len_max, path.len);
    struct znode *n = tree_find(t, quota_path(q));
    if (n != NULL)
        flag_node(t, q, n);
}

static void free_quota(struct quota *q) {
    mem_free(q->stats_path);
    mem_free(q);
}

static void disarm(struct tree *t, struct quota *q) {
    struct quota_set *set = &t->quotas;
    struct znode *n = tree_find(t, quota_path(q));
    if (n != NULL)
        unflag_node(t, n);
    struct quota *first = hmap_get(&set->by_path, q->key);
    if (first != q) {
        while (first->chain != q)
            first = first->chain;
        first->chain = q->chain;
    } else if (q->chain != NULL) {
        hmap_put(&set->by_path, q->key, q->chain);
    } else {
        hmap_remove(&set->by_path, q->key);
    }
    set->entries[q->index] = set->entries[--set->count];
    set->entries[q->index]->index = q->index;
    if (set->count == 0)
        set->path_len_max = 0;
    free_quota(q);
}

void quota_close(struct tree *t) {
    for (size_t i = 0; i < t->quotas.count; i++)
        free_quota(t->quotas.entries[i]);
    hmap_free(&t->quotas.by_path);
    hmap_free(&t->quotas.by_node);
    mem_free(t->quotas.entries);
}

size_t quota_bytes(const struct tree *t) {
    const struct quota_set *set = &t->quotas;
    return hmap_bytes(&set->by_path) + hmap_bytes(&set->by_node) + set->cap * sizeof(struct quota *) +
           set->count * (sizeof(struct quota) + 2 * sizeof QUOTA_ROOT);
}

/* ------------------------------------------------------------------ accounting */

static struct quota_limits usage_of(const struct tree *t, struct slice path) {
    const struct znode *n = tree_find(t, path);
    struct quota_limits usage = {0, 0, -1, -1};
    if (n != NULL) {
        usage.count = 1 + (int64_t)znode_descendants(n);
        usage.bytes = znode_data_size(n) + (n->kids ? (int64_t)n->kids->data_bytes : 0);
    }
    return usage;
}

/* In place: no stat change, no version, no watch. The walk has to know all the same. */
static void write_stats(struct tree *t, struct znode *stats, struct slice path, const struct quota_limits *usage) {
    struct buf text = BUF_INIT;
    quota_format(&text, usage);
    walk_before_change(t, stats);
    tree_replace_data(t, stats, path, (struct slice){(const char *)text.data, text.len});
    buf_free(&text);
}

void quota_account(struct tree *t, const struct quota *q, int64_t count_diff, int64_t bytes_diff) {
    struct znode *stats = tree_find_hashed(t, quota_stats_path(q), q->stats_hash);
    if (stats == NULL)
        return;
    struct quota_limits usage;
    if (parse(&usage, znode_data(stats)) != GIVES_USAGE) {
        usage = usage_of(t, quota_path(q));
    } else {
        usage.count = (int64_t)((uint64_t)usage.count + (uint64_t)count_diff);
        usage.bytes = (int64_t)((uint64_t)usage.bytes + (uint64_t)bytes_diff);
    }
    write_stats(t, stats, quota_stats_path(q), &usage);
}

struct quota *quota_over(const struct tree *t, const struct znode *n) {
    if (LIKELY(t->quotas.count == 0))
        return NULL;
    while (n != NULL && (n->flags & ZNODE_QUOTA) == 0)
        n = n->parent;
    return n == NULL ? NULL : hmap_get(&t->quotas.by_node, node_key(n));
}

/* If path is that of a node called name below QUOTA_ROOT, gives the path whose quota it belongs to. The root has none:
 * Java's quota of the root does not work, either. */
static bool belongs_to(struct slice path, const char *name, struct slice *target) {
    size_t root_len = sizeof QUOTA_ROOT - 1;
    if (!slice_is(path_name(path), name) || !path_within(path, SLICE_LIT(QUOTA_ROOT)))
        return false;
    struct slice parent = path_parent(path);
    if (parent.len <= root_len)
        return false;
    *target = (struct slice){parent.data + root_len, parent.len - root_len};
    return true;
}

void quota_node_created(struct tree *t, struct znode *n, struct slice path) {
    struct slice target;
    if (n->flags & ZNODE_SYSTEM) {
        if (belongs_to(path, LIMITS_NAME, &target)) {
            arm(t, target, n);
        } else if (belongs_to(path, STATS_NAME, &target)) {
            struct quota_limits usage = usage_of(t, target);
            write_stats(t, n, path, &usage);
        }
    }
    struct quota *q = lookup(t, path);
    if (q != NULL && (n->flags & ZNODE_QUOTA) == 0)
        flag_node(t, q, n);
    q = quota_over(t, n);
    if (q != NULL)
        quota_account(t, q, 1, znode_data_size(n));
}

struct quota *quota_node_leaves(struct tree *t, struct znode *n) {
    struct slice target, name = znode_name(n);
    if (LIKELY(t->quotas.count == 0))
        return NULL;
    bool limits = n->flags & ZNODE_SYSTEM && slice_is(name, LIMITS_NAME);
    if (limits && belongs_to(tree_scratch_path(t, n), LIMITS_NAME, &target)) {
        struct quota *q = lookup(t, target);
        if (q != NULL && q->limits == n)
            disarm(t, q);
    }
    struct quota *q = quota_over(t, n);
    if (n->flags & ZNODE_QUOTA)
        unflag_node(t, n);
    return q;
}

void quota_load(struct tree *t) {
    const struct znode *top = tree_find(t, SLICE_LIT(QUOTA_ROOT));
    struct slice target;
    for (struct znode *n = tree_next(top, top); n != NULL; n = tree_next(n, top)) {
        if (znode_children(n) != 0 || !belongs_to(tree_scratch_path(t, n), LIMITS_NAME, &target))
            continue;
        if (lookup(t, target) == NULL)
            arm(t, target, n);
    }
    for (size_t i = 0; i < t->quotas.count; i++) {
        const struct quota *q = t->quotas.entries[i];
        struct znode *stats = tree_find_hashed(t, quota_stats_path(q), q->stats_hash);
        struct quota_limits usage = usage_of(t, quota_path(q));
        if (stats != NULL)
            write_stats(t, stats, quota_stats_path(q), &usage);
    }
}

/* ------------------------------------------------------------------ checking and showing */

/* One of the two limits: a hard limit stands in for the soft one. */
static void check_one(struct quota_check *out, int64_t soft, int64_t hard, int64_t usage, int64_t diff, bool *exceeded) {
    bool is_hard = hard > -1;
    int64_t limit = is_hard ? hard : soft;
    if (diff == 0 || limit <= -1)
        return;
    usage = (int64_t)((uint64_t)usage + (uint64_t)diff);
    if (usage <= limit)
        return;
    /* A hard limit is the news, even if a soft one was met first. */
    bool refused = out->count_exceeded || out->bytes_exceeded;
    if (!refused && (is_hard || !out->soft_exceeded)) {
        out->limit = limit;
        out->usage = usage;
    }
    if (is_hard)
        *exceeded = true;
    else
        out->soft_exceeded = true;
}

void tree_quota_check(const struct tree *t, struct slice path, int64_t count_diff, int64_t bytes_diff,
                      struct quota_check *out) {
    *out = (struct quota_check){0};
    const struct quota *q = lookup_deepest(t, path);
    if (q == NULL)
        return;
    const struct znode *stats = tree_find_hashed(t, quota_stats_path(q), q->stats_hash);
    if (stats == NULL)
        return;
    out->node = tree_find(t, quota_path(q));
    struct quota_limits limits = quota_parse(znode_data(q->limits)), usage;
    if (parse(&usage, znode_data(stats)) != GIVES_USAGE)
        usage = usage_of(t, quota_path(q));
    check_one(out, limits.count, limits.count_hard, usage.count, count_diff, &out->count_exceeded);
    check_one(out, limits.bytes, limits.bytes_hard, usage.bytes, bytes_diff, &out->bytes_exceeded);
}

bool tree_quota_next(const struct tree *t, size_t *cursor, struct znode **node, struct quota_limits *limits,
                     struct quota_limits *usage) {
    while (*cursor < t->quotas.count) {
        const struct quota *q = t->quotas.entries[(*cursor)++];
        *node = tree_find(t, quota_path(q));
        if (*node == NULL)
            continue;
        const struct znode *stats = tree_find_hashed(t, quota_stats_path(q), q->stats_hash);
        *limits = quota_parse(znode_data(q->limits));
        *usage = stats != NULL ? quota_parse(znode_data(stats)) : (struct quota_limits){-1, -1, -1, -1};
        return true;
    }
    return false;
}
