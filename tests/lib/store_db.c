#include "lib/store_db.h"

#include "base/mem.h"

static void drop_acls(struct store_db *db) {
    size_t cursor = 0;
    void *value;
    while ((value = hmap_next(&db->acl_ids, &cursor)) != NULL)
        acl_unref(tree_acls(db->tree), (acl_id_t)((uintptr_t)value - 1));
    hmap_free(&db->acl_ids);
}

static void new_tree_in(struct store_db *db, bool empty) {
    struct tree_options o = {.extended_types = true, .digest_enabled = true, .hash_seed = 7};
    tree_free(db->tree);
    db->tree = empty ? tree_new_empty(&o) : tree_new(&o);
    hmap_free(&db->sessions);
}

/* ------------------------------------------------------------------ loading */

static void on_reset(void *ctx, int64_t snapshot_bytes) {
    (void)snapshot_bytes;
    struct store_db *db = ctx;
    drop_acls(db);
    new_tree_in(db, true);
    db->resets++;
}

static int on_session(void *ctx, session_id_t id, int32_t timeout_ms) {
    struct store_db *db = ctx;
    hmap_put(&db->sessions, (uint64_t)id, (void *)((uintptr_t)(uint32_t)timeout_ms + 1));
    return 0;
}

static int on_acl(void *ctx, int64_t disk_id, struct slice encoded) {
    struct store_db *db = ctx;
    acl_id_t id = acl_intern(tree_acls(db->tree), encoded);
    void *old = hmap_put(&db->acl_ids, (uint64_t)disk_id + 2, (void *)((uintptr_t)id + 1));
    if (old != NULL)
        acl_unref(tree_acls(db->tree), (acl_id_t)((uintptr_t)old - 1));
    return 0;
}

static int on_node(void *ctx, struct slice path, struct slice data, int64_t disk_acl, const struct node_stat *stat) {
    struct store_db *db = ctx;
    if (disk_acl == -1)
        return tree_load_node(db->tree, path, data, ACL_OPEN, stat);
    void *known = hmap_get(&db->acl_ids, (uint64_t)disk_acl + 2);
    if (known == NULL)
        return -1;
    return tree_load_node(db->tree, path, data, (acl_id_t)((uintptr_t)known - 1), stat);
}

static int on_snapshot_done(void *ctx, zxid_t zxid, const struct snapshot_info *info) {
    struct store_db *db = ctx;
    if (info == NULL)
        new_tree_in(db, false);
    else
        tree_load_done(db->tree);
    drop_acls(db);
    db->last_zxid = zxid;
    db->digest_from = 0;
    if (info != NULL && info->has_digest && info->digest_zxid >= zxid)
        db->digest_from = info->digest_zxid;
    return 0;
}

/* ------------------------------------------------------------------ applying */

static int64_t owner_of(const struct txn_header *h, const struct txn *t) {
    if (t->type == OP_CREATE_CONTAINER)
        return OWNER_CONTAINER;
    if (t->type == OP_CREATE_TTL)
        return (int64_t)(0xff00000000000000u | (uint64_t)t->ttl);
    return t->ephemeral ? h->client_id : 0;
}

static void apply_one(struct store_db *db, const struct txn_header *h, const struct txn *t) {
    struct znode *n;
    switch (t->type) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL: {
        struct tree_create c = {.path = t->path,
                                .data = t->data,
                                .acl = t->acl,
                                .owner = owner_of(h, t),
                                .parent_cversion = t->parent_cversion,
                                .raise_parent_if_exists = t->type == OP_CREATE,
                                .zxid = h->zxid,
                                .time_ms = h->time_ms};
        tree_create(db->tree, &c, tree_hash(db->tree, t->path), &n);
        break;
    }
    case OP_DELETE:
    case OP_DELETE_CONTAINER:
        tree_delete(db->tree, t->path, h->zxid);
        break;
    case OP_SET_DATA:
    case OP_RECONFIG:
        n = tree_find(db->tree, t->path);
        if (n != NULL)
            tree_set_data(db->tree, n, t->data, t->version, h->zxid, h->time_ms);
        break;
    case OP_SET_ACL:
        n = tree_find(db->tree, t->path);
        if (n != NULL)
            tree_set_acl(db->tree, n, t->acl, t->version);
        break;
    default:
        break;
    }
}

static void delete_owned(struct store_db *db, session_id_t id, zxid_t zxid) {
    struct owned *owned;
    while ((owned = tree_owned_by(db->tree, id)) != NULL && owned->count > 0)
        tree_delete_node(db->tree, owned->nodes[owned->count - 1], zxid);
}

static void apply_close_session(struct store_db *db, const struct txn_header *h, const struct txn *t) {
    struct slice rest = t->rest, path;
    while (txn_path_next(&rest, &path))
        tree_delete(db->tree, path, h->zxid);
    delete_owned(db, h->client_id, h->zxid);
    hmap_remove(&db->sessions, (uint64_t)h->client_id);
}

static void apply_multi(struct store_db *db, const struct txn_header *h, const struct txn *t) {
    struct slice rest = t->rest;
    struct txn sub;
    bool bad, failed = false;
    while (txn_sub_next(&rest, &sub, &bad))
        failed = failed || sub.type == OP_ERROR;
    rest = t->rest;
    while (!failed && txn_sub_next(&rest, &sub, &bad))
        apply_one(db, h, &sub);
}

static int on_txn(void *ctx, zxid_t zxid, struct slice payload) {
    struct store_db *db = ctx;
    struct txn_header h;
    struct txn t;
    int32_t digest_version;
    uint64_t digest = 0;
    if (!txn_decode(payload, &h, &t, &digest_version, &digest) || h.zxid != zxid)
        return -1;
    if (t.type == OP_CREATE_SESSION)
        on_session(db, h.client_id, t.timeout_ms);
    else if (t.type == OP_CLOSE_SESSION)
        apply_close_session(db, &h, &t);
    else if (t.type == OP_MULTI)
        apply_multi(db, &h, &t);
    else
        apply_one(db, &h, &t);
    db->last_zxid = zxid;
    db->txns++;
    if (digest_version == DIGEST_VERSION && zxid >= db->digest_from) {
        db->digests_compared++;
        db->digest_mismatches += digest != tree_digest(db->tree);
    }
    return 0;
}

/* ------------------------------------------------------------------ the test's side */

void store_db_init(struct store_db *db) {
    *db = (struct store_db){0};
    db->sink = (struct recovery_sink){
        .ctx = db,
        .reset = on_reset,
        .snapshot = {.ctx = db, .session = on_session, .acl = on_acl, .node = on_node},
        .snapshot_done = on_snapshot_done,
        .txn = on_txn,
    };
    new_tree_in(db, true);
}

void store_db_close(struct store_db *db) {
    drop_acls(db);
    tree_free(db->tree);
    hmap_free(&db->sessions);
}

void store_db_drop_orphans(struct store_db *db) {
    for (size_t cursor = 0;;) {
        struct owned *owned = tree_owned_next(db->tree, &cursor);
        if (owned == NULL)
            return;
        if (owned->count == 0 || hmap_get(&db->sessions, (uint64_t)owned->owner) != NULL)
            continue;
        delete_owned(db, owned->owner, db->last_zxid);
        cursor = 0;
    }
}

struct recovery_options store_db_options(void) {
    return (struct recovery_options){.same_dir = true, .max_item_bytes = (size_t)64 << 20};
}

void store_db_recover(struct store_db *db, const struct disk *d, const struct recovery_options *options,
                      struct recovery_result *result) {
    recovery_run(d, options, &db->sink, result);
    if (result->status == RECOVERY_OK)
        store_db_drop_orphans(db);
}
