/* Start-up: feeds what recovery reads into the tree, the sessions and apply. */
#include "server/server.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"

struct loading {
    struct server *s;
    struct hmap acl_ids; /* disk id + 1 → acl id + 1 as pointer; a reference is held until the nodes are there */
    uint64_t acls_missing;
};

static void loading_drop_acls(struct loading *l) {
    size_t cursor = 0;
    void *value;
    while ((value = hmap_next(&l->acl_ids, &cursor)) != NULL)
        acl_unref(tree_acls(l->s->tree), (acl_id_t)((uintptr_t)value - 1));
    hmap_free(&l->acl_ids);
}

/* Rough size of a znode in a plain snapshot. Too small a guess costs some rehashing, too large a one memory. */
#define BYTES_PER_NODE_GUESS 256

static void load_reset(void *ctx, int64_t snapshot_bytes) {
    struct loading *l = ctx;
    loading_drop_acls(l);
    server_new_database(l->s, true);
    tree_reserve(l->s->tree, (size_t)snapshot_bytes / BYTES_PER_NODE_GUESS);
}

static int load_session(void *ctx, session_id_t id, int32_t timeout_ms) {
    struct loading *l = ctx;
    struct session *session = session_find(&l->s->sessions, id);
    if (session == NULL)
        session = session_add(&l->s->sessions, id, timeout_ms);
    session->in_db = true;
    return 0;
}

static int load_acl(void *ctx, int64_t disk_id, struct slice encoded) {
    struct loading *l = ctx;
    acl_id_t id = acl_intern(tree_acls(l->s->tree), encoded);
    void *old = hmap_put(&l->acl_ids, (uint64_t)disk_id, (void *)((uintptr_t)id + 1));
    if (old != NULL)
        acl_unref(tree_acls(l->s->tree), (acl_id_t)((uintptr_t)old - 1));
    return 0;
}

/* A list that the snapshot's table lacks (possible in a fuzzy one): nobody but a super user may do anything, until a
 * replayed transaction brings the real list. */
static acl_id_t closed_acl(struct loading *l) {
    struct buf b = BUF_INIT;
    jute_put_int(&b, 1);
    acl_entry_put(&b, &(struct acl_entry){.perms = 0, .scheme = SLICE_LIT("world"), .id = SLICE_LIT("anyone")});
    acl_id_t id = acl_intern(tree_acls(l->s->tree), (struct slice){(const char *)b.data, b.len});
    buf_free(&b);
    l->acls_missing++;
    return id;
}

static int load_node(void *ctx, struct slice path, struct slice data, int64_t disk_acl, const struct node_stat *stat) {
    struct loading *l = ctx;
    if (disk_acl == -1)
        return tree_load_node(l->s->tree, path, data, ACL_OPEN, stat);
    void *known = hmap_get(&l->acl_ids, (uint64_t)disk_acl);
    if (known != NULL)
        return tree_load_node(l->s->tree, path, data, (acl_id_t)((uintptr_t)known - 1), stat);
    acl_id_t closed = closed_acl(l);
    int err = tree_load_node(l->s->tree, path, data, closed, stat);
    acl_unref(tree_acls(l->s->tree), closed);
    return err;
}

static int load_snapshot_done(void *ctx, zxid_t zxid, const struct snapshot_info *info) {
    struct loading *l = ctx;
    struct server *s = l->s;
    if (info == NULL)
        server_new_database(s, false);
    else
        tree_load_done(s->tree);
    loading_drop_acls(l);
    if (l->acls_missing != 0)
        log_warn("%llu znodes of the snapshot refer to access lists that it does not hold; they are closed to all but super users",
                 (unsigned long long)l->acls_missing);
    s->last_applied = zxid;
    /* Digests of a fuzzy snapshot's replay fit only from the point on that its digest section names. */
    s->digest_from = INT64_MAX;
    if (info != NULL && info->has_digest && info->digest_version == DIGEST_VERSION) {
        s->digest_from = i64_max(info->digest_zxid, zxid + 1);
        if (info->digest_zxid == zxid && s->config->digest_enabled && info->digest != tree_digest(s->tree))
            log_warn("the snapshot's digest is %llu, the loaded tree has %llu", (unsigned long long)info->digest,
                     (unsigned long long)tree_digest(s->tree));
    } else if (info == NULL) {
        s->digest_from = 0;
    }
    return 0;
}

static int load_txn(void *ctx, zxid_t zxid, struct slice payload) {
    struct loading *l = ctx;
    (void)zxid;
    return apply_payload(l->s, payload, NULL) ? 0 : -EBADMSG;
}

/* A TTL znode read without extendedTypesEnabled looks like such an orphan and may have children: then it stays, because
 * what lies below it must not be lost. */
static void drop_orphans_of(struct server *s, session_id_t id) {
    struct owned *owned = tree_owned_by(s->tree, id);
    uint32_t kept = 0;
    log_info("deleting %u ephemeral znodes of session 0x%llx, which is not there any more", owned->count,
             (unsigned long long)id);
    while (owned != NULL && kept < owned->count) {
        struct znode *n = owned->nodes[owned->count - 1 - kept];
        if (znode_children(n) != 0)
            kept++;
        else
            tree_delete_node(s->tree, n, s->last_applied);
        owned = tree_owned_by(s->tree, id);
    }
    if (kept != 0)
        log_warn("%u of them have children and stay; were they TTL znodes (extendedTypesEnabled)?", kept);
}

/* Ephemerals without a session: a fuzzy snapshot can hold them. */
static void drop_orphans(struct server *s) {
    struct buf orphans = BUF_INIT; /* session ids */
    struct owned *owned;
    for (size_t cursor = 0; (owned = tree_owned_next(s->tree, &cursor)) != NULL;)
        if (session_find(&s->sessions, owned->owner) == NULL)
            buf_append(&orphans, &owned->owner, sizeof owned->owner);
    for (size_t at = 0; at < orphans.len; at += sizeof(session_id_t)) {
        session_id_t id;
        memcpy(&id, orphans.data + at, sizeof id);
        drop_orphans_of(s, id);
    }
    buf_free(&orphans);
}

void server_recover(struct server *s, struct recovery_result *result, struct now now) {
    const struct config *c = s->config;
    struct loading l = {.s = s};
    struct recovery_options options = {.same_dir = s->env.same_dir || c->data_log_dir == NULL || strcmp(c->data_dir, c->data_log_dir) == 0,
                                       .trust_empty_snapshot = c->snapshot_trust_empty,
                                       .cut_damaged = c->recovery_cut_damaged_log,
                                       .member = s->history != NULL,
                                       .max_item_bytes = 1u << 30};
    struct recovery_sink sink = {
        .ctx = &l,
        .reset = load_reset,
        .snapshot = {.ctx = &l, .session = load_session, .acl = load_acl, .node = load_node},
        .snapshot_done = load_snapshot_done,
        .txn = load_txn,
    };
    s->now = now;
    s->replaying = true;
    recovery_run(s->env.disk, &options, &sink, result);
    s->replaying = false;
    loading_drop_acls(&l);
    if (result->status != RECOVERY_OK)
        return;
    drop_orphans(s);
    s->digest_from = 0;
    s->last_prepared = s->logged = s->committed = s->last_applied;
    s->prepared_digest = tree_digest(s->tree);
    s->good_snapshot = result->snapshot_zxid;
    s->snapshots_noted++;
    snprintf(s->good_snapshot_name, sizeof s->good_snapshot_name, "%s", result->snapshot_name);
    s->txns_since_snapshot = result->txns_replayed;
    s->log_bytes_since_snapshot = result->log_bytes;
    s->roll_next = true;
    metric_sample(&s->metrics, METRIC_DBINITTIME, (uint64_t)(result->snapshot_us + result->replay_us) / 1000);
    metric_sample(&s->metrics, METRIC_STARTUP_SNAP_LOAD_TIME, (uint64_t)result->snapshot_us / 1000);
    metric_sample(&s->metrics, METRIC_STARTUP_TXNS_LOAD_TIME, (uint64_t)result->replay_us / 1000);
    metric_sample(&s->metrics, METRIC_STARTUP_TXNS_LOADED, result->txns_replayed);
}
