/* The data tree: making and freeing it, look-ups, and one function per transaction type. See tree_internal.h for who
 * does what; docs/protocol/disk-format.md section 7 for the apply rules. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/log.h"
#include "base/mem.h"
#include "tree/path.h"
#include "tree/tree_internal.h"

#define MAINTAIN_SLOTS 2048

struct tree *tree_new_empty(const struct tree_options *options) {
    struct tree *t = mem_calloc(1, sizeof *t);
    t->options = *options;
    t->acls = acl_table_new();
    index_init(&t->index);
    t->root = znode_new(t, SLICE_LIT(""), SLICE_LIT(""), 0);
    t->root->hash = (uint32_t)tree_hash(t, SLICE_LIT(""));
    digest_refresh(t, t->root, SLICE_LIT(""));
    digest_add(t, t->root);
    return t;
}

struct tree *tree_new(const struct tree_options *options) {
    struct tree *t = tree_new_empty(options);
    tree_add_system_nodes(t);
    return t;
}

/* Frees the nodes from the last child to the first, so that no stack is needed however deep they are. */
static void free_nodes(struct tree *t) {
    for (struct znode *n = t->root; n != NULL;) {
        struct znode *child = NULL;
        while (child == NULL && n->kids != NULL && n->kids->used > 0)
            child = kids_at(n->kids, --n->kids->used);
        if (child != NULL) {
            n = child;
            continue;
        }
        struct znode *parent = n->parent;
        znode_free(t, n);
        n = parent;
    }
}

void tree_free(struct tree *t) {
    if (t == NULL)
        return;
    zassert(t->walk == NULL);
    zassert(t->listings.count == 0);
    free_nodes(t);
    owned_close(t);
    zassert(t->heap_bytes == 0);
    index_close(&t->index);
    quota_close(t);
    hmap_free(&t->listings);
    acl_table_free(t->acls);
    buf_free(&t->load_path);
    buf_free(&t->scratch);
    mem_free(t);
}

const struct tree_options *tree_options(const struct tree *t) { return &t->options; }
struct acl_table *tree_acls(struct tree *t) { return t->acls; }
struct znode *tree_root(struct tree *t) { return t->root; }
uint64_t tree_digest(const struct tree *t) { return t->digest; }
uint64_t tree_count(const struct tree *t) { return t->index.count + 1; }
uint64_t tree_path_data_bytes(const struct tree *t) { return t->path_data_bytes; }

uint64_t tree_memory(const struct tree *t) {
    size_t tables = hmap_bytes(&t->owners) + hmap_bytes(&t->listings) + quota_bytes(t) + acl_table_bytes(t->acls);
    return sizeof *t + t->heap_bytes + index_bytes(&t->index) + tables + t->load_path.cap + t->scratch.cap;
}

bool tree_maintain(struct tree *t) { return index_maintain(&t->index, MAINTAIN_SLOTS); }
void tree_reserve(struct tree *t, size_t nodes) { index_reserve(&t->index, nodes); }

/* ------------------------------------------------------------------ look-ups */

static bool is_root(struct slice path) { return path.len == 0 || (path.len == 1 && path.data[0] == '/'); }

uint64_t tree_hash(const struct tree *t, struct slice path) {
    return XXH3_64bits_withSeed(path.data, is_root(path) ? 0 : path.len, t->options.hash_seed);
}

struct znode *tree_find_hashed(const struct tree *t, struct slice path, uint64_t hash) {
    return is_root(path) ? t->root : index_find(&t->index, path, hash);
}

struct znode *tree_find(const struct tree *t, struct slice path) {
    return is_root(path) ? t->root : index_find(&t->index, path, tree_hash(t, path));
}

void tree_stat_view(const struct tree *t, const struct znode *n, struct stat_view *out) {
    uint32_t children = znode_children(n);
    int64_t owner = znode_owner(n);
    *out = (struct stat_view){
        .czxid = n->czxid,
        .mzxid = n->mzxid,
        .ctime = n->ctime,
        .mtime = n->mtime,
        .version = n->version,
        /* Creations and deletions of children: each child that is missing was deleted once. May wrap, as in Java. */
        .cversion = (int32_t)(2 * (uint32_t)n->cversion - children),
        .aversion = n->aversion,
        .ephemeral_owner = tree_owner_kind(t, owner) == ZNODE_EPHEMERAL ? owner : 0,
        .data_length = (int32_t)znode_data_size(n),
        .num_children = (int32_t)children,
        .pzxid = n->pzxid,
    };
}

struct slice tree_scratch_path(struct tree *t, const struct znode *n) {
    buf_clear(&t->scratch);
    znode_path(n, &t->scratch);
    return (struct slice){(const char *)t->scratch.data, t->scratch.len};
}

/* ------------------------------------------------------------------ linking and unlinking */

static void change_begin(struct tree *t, struct znode *n) {
    walk_before_change(t, n);
    digest_subtract(t, n);
}
static void change_end(struct tree *t, const struct znode *n) { digest_add(t, n); }

void tree_set_stat(struct znode *n, const struct node_stat *s) {
    n->czxid = s->czxid;
    n->mzxid = s->mzxid;
    n->pzxid = s->pzxid;
    n->ctime = s->ctime;
    n->mtime = s->mtime;
    n->version = s->version;
    n->cversion = s->cversion;
    n->aversion = s->aversion;
}

/* Below /zookeeper, which itself is an ordinary node for the digest. */
static bool below_system(const struct tree *t, const struct znode *parent) {
    return parent->flags & ZNODE_SYSTEM || (parent->parent == t->root && slice_is(znode_name(parent), "zookeeper"));
}

void tree_count_ancestors(struct znode *n, int64_t nodes, int64_t data_bytes) {
    for (struct znode *p = n->parent; p != NULL; p = p->parent) {
        p->kids->descendants += (uint64_t)nodes;
        p->kids->data_bytes += (uint64_t)data_bytes;
    }
}

struct znode *tree_make_node(struct tree *t, struct znode *parent, struct slice path, struct slice data, acl_id_t acl,
                             const struct node_stat *stat) {
    struct znode *n = znode_new(t, path_name(path), data, stat->owner);
    tree_set_stat(n, stat);
    n->parent = parent;
    n->acl = acl;
    n->mark = walk_birth_mark(t);
    if (below_system(t, parent))
        n->flags |= ZNODE_SYSTEM;
    digest_refresh(t, n, path);
    return n;
}

void tree_link_node(struct tree *t, struct znode *n, struct slice path, uint64_t hash) {
    n->hash = (uint32_t)hash;
    kids_add(t, n);
    index_insert(&t->index, n, hash);
    if (n->flags & ZNODE_HAS_EXT)
        owned_add(t, n);
    tree_count_ancestors(n, 1, znode_data_size(n));
    t->path_data_bytes += path.len + (uint64_t)znode_data_size(n);
    digest_add(t, n);
}

static size_t path_length(const struct znode *n) {
    size_t len = 0;
    for (; n->parent != NULL; n = n->parent)
        len += n->name_len + 1u;
    return len;
}

/* Takes the node out of everything and frees it. */
static void detach(struct tree *t, struct znode *n) {
    digest_subtract(t, n);
    t->path_data_bytes -= path_length(n) + (uint64_t)znode_data_size(n);
    tree_count_ancestors(n, -1, -znode_data_size(n));
    if (n->flags & ZNODE_HAS_EXT)
        owned_remove(t, n);
    index_remove(&t->index, n);
    if (t->walk != NULL)
        walk_node_left(t->walk, n);
    kids_remove(t, n);
    acl_unref(t->acls, n->acl);
    t->load_parent = NULL;
    znode_free(t, n);
}

/* "//a" is refused because "/" is another name of the root, so that its parent would be found. All other malformed
 * paths fail by themselves. */
bool tree_path_usable(struct slice path) {
    if (path.len < 2 || path.data[0] != '/' || path.data[1] == '/')
        return false;
    size_t name_len = path_name(path).len;
    return name_len != 0 && name_len <= ZNODE_NAME_MAX;
}

/* ------------------------------------------------------------------ transactions */

/* The parent's side of a creation. Only ever upwards: replay over a fuzzy snapshot meets a parent that is ahead. */
static void raise_parent(struct tree *t, struct znode *parent, const struct tree_create *c) {
    int32_t cversion = c->parent_cversion;
    if (cversion == -1)
        cversion = (int32_t)((uint32_t)parent->cversion + 1);
    if (cversion <= parent->cversion)
        return;
    change_begin(t, parent);
    parent->cversion = cversion;
    parent->pzxid = c->zxid;
    change_end(t, parent);
}

/* Section 7, rule 3: a fuzzy snapshot may have the node with an ACL that its table missed. */
static void create_again(struct tree *t, struct znode *n, acl_id_t acl, const struct tree_create *c) {
    if (acl != n->acl)
        walk_before_change(t, n);
    acl_unref(t->acls, n->acl);
    n->acl = acl;
    if (c->raise_parent_if_exists && n->parent != NULL)
        raise_parent(t, n->parent, c);
}

int tree_create(struct tree *t, const struct tree_create *c, uint64_t hash, struct znode **created) {
    if (!tree_path_usable(c->path))
        return is_root(c->path) ? ZK_NODE_EXISTS : ZK_BAD_ARGUMENTS;
    struct znode *parent = tree_find(t, path_parent(c->path));
    if (parent == NULL)
        return ZK_NO_NODE;
    if (hash == 0)
        hash = tree_hash(t, c->path);
    acl_id_t acl = acl_intern(t->acls, c->acl);
    struct znode *n = index_find(&t->index, c->path, hash);
    if (n != NULL) {
        create_again(t, n, acl, c);
        return ZK_NODE_EXISTS;
    }
    raise_parent(t, parent, c);
    struct node_stat stat = {
        .czxid = c->zxid,
        .mzxid = c->zxid,
        .pzxid = c->zxid,
        .ctime = c->time_ms,
        .mtime = c->time_ms,
        .owner = c->owner,
    };
    n = tree_make_node(t, parent, c->path, c->data, acl, &stat);
    tree_link_node(t, n, c->path, hash);
    quota_node_created(t, n, c->path);
    if (created != NULL)
        *created = n;
    return ZK_OK;
}

static void raise_pzxid(struct tree *t, struct znode *n, zxid_t zxid) {
    if (zxid <= n->pzxid)
        return;
    change_begin(t, n);
    n->pzxid = zxid;
    change_end(t, n);
}

void tree_delete_node(struct tree *t, struct znode *n, zxid_t zxid) {
    zassert(n != t->root);
    zassert(znode_children(n) == 0);
    zassert((n->flags & ZNODE_WATCHED) == 0); /* else tree/watch would go on pointing at it */
    walk_before_change(t, n);
    raise_pzxid(t, n->parent, zxid);
    int64_t size = znode_data_size(n);
    struct quota *quota = quota_node_leaves(t, n);
    detach(t, n);
    if (quota != NULL)
        quota_account(t, quota, -1, -size);
}

int tree_delete(struct tree *t, struct slice path, zxid_t zxid) {
    if (!tree_path_usable(path))
        return ZK_BAD_ARGUMENTS;
    struct znode *parent = tree_find(t, path_parent(path));
    if (parent == NULL)
        return ZK_NO_NODE;
    struct znode *n = tree_find(t, path);
    if (n != NULL && znode_children(n) == 0) {
        tree_delete_node(t, n, zxid);
        return ZK_OK;
    }
    raise_pzxid(t, parent, zxid);
    return n != NULL ? ZK_NOT_EMPTY : ZK_NO_NODE;
}

int64_t tree_replace_data(struct tree *t, struct znode *n, struct slice path, struct slice data) {
    int64_t growth = (int64_t)data.len - znode_data_size(n);
    znode_replace_data(t, n, data);
    digest_refresh(t, n, path);
    tree_count_ancestors(n, 0, growth);
    t->path_data_bytes += (uint64_t)growth;
    return growth;
}

int tree_set_data(struct tree *t, struct znode *n, struct slice data, int32_t version, zxid_t zxid, int64_t time_ms) {
    change_begin(t, n);
    struct slice path = t->options.digest_enabled ? tree_scratch_path(t, n) : SLICE_NULL;
    int64_t growth = tree_replace_data(t, n, path, data);
    n->version = version;
    n->mzxid = zxid;
    n->mtime = time_ms;
    change_end(t, n);
    struct quota *quota = growth != 0 ? quota_over(t, n) : NULL;
    if (quota != NULL)
        quota_account(t, quota, 0, growth);
    return ZK_OK;
}

void tree_set_acl(struct tree *t, struct znode *n, struct slice acl, int32_t version) {
    change_begin(t, n);
    acl_id_t id = acl_intern(t->acls, acl); /* before the old one goes: it may be the same */
    acl_unref(t->acls, n->acl);
    n->acl = id;
    n->aversion = version;
    change_end(t, n);
}
