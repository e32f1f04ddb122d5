/* Filling a tree from a snapshot, and the system nodes that every tree has. */
#include "base/log.h"
#include "tree/path.h"
#include "tree/tree_internal.h"

/* The parent of a path. Children of one parent come one after the other, so the last parent is tried first. */
static struct znode *load_parent_of(struct tree *t, struct slice path) {
    struct slice parent_path = path_parent(path), last = {(const char *)t->load_path.data, t->load_path.len};
    if (t->load_parent != NULL && slice_eq(parent_path, last))
        return t->load_parent;
    struct znode *parent = tree_find(t, parent_path);
    if (parent != NULL) {
        buf_clear(&t->load_path);
        buf_append(&t->load_path, parent_path.data, parent_path.len);
        t->load_parent = parent;
    }
    return parent;
}

/* The root is there from the start; a snapshot only gives it its contents. */
static int load_root(struct tree *t, struct slice data, acl_id_t acl, const struct node_stat *stat) {
    struct znode *n = t->root;
    if (stat->owner != 0)
        return ZK_BAD_ARGUMENTS;
    digest_subtract(t, n);
    tree_replace_data(t, n, SLICE_LIT(""), data);
    tree_set_stat(n, stat);
    acl_ref(t->acls, acl);
    acl_unref(t->acls, n->acl);
    n->acl = acl;
    digest_add(t, n);
    return ZK_OK;
}

int tree_load_node(struct tree *t, struct slice path, struct slice data, acl_id_t acl, const struct node_stat *stat) {
    zassert(t->walk == NULL);
    if (path.len == 0)
        return load_root(t, data, acl, stat);
    if (!tree_path_usable(path) || tree_owner_invalid(t, stat->owner))
        return ZK_BAD_ARGUMENTS;
    uint64_t hash = tree_hash(t, path);
    index_prefetch(&t->index, hash);
    struct znode *parent = load_parent_of(t, path);
    if (parent == NULL)
        return ZK_NO_NODE;
    /* Made before it is known whether it is wanted: meanwhile the slot of the index comes from memory. */
    struct znode *n = tree_make_node(t, parent, path, data, acl, stat);
    if (UNLIKELY(index_find(&t->index, path, hash) != NULL)) {
        znode_free(t, n);
        return ZK_NODE_EXISTS;
    }
    acl_ref(t->acls, acl);
    tree_link_node(t, n, path, hash);
    return ZK_OK;
}

/* world:anyone READ: only a super user may write the configuration. */
static acl_id_t read_only_acl(struct tree *t) {
    struct buf b = BUF_INIT;
    struct acl_entry entry = {PERM_READ, SLICE_LIT("world"), SLICE_LIT("anyone")};
    jute_put_int(&b, 1);
    acl_entry_put(&b, &entry);
    acl_id_t acl = acl_intern(t->acls, (struct slice){(const char *)b.data, b.len});
    buf_free(&b);
    return acl;
}

/* docs/protocol/operations.md section 14. They were never "created": the parents' counters stay. */
void tree_add_system_nodes(struct tree *t) {
    static const char *const paths[] = {"/zookeeper", "/zookeeper/quota", "/zookeeper/config"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct slice path = slice_of(paths[i]);
        if (tree_find(t, path) != NULL)
            continue;
        bool config = slice_is(path, "/zookeeper/config");
        struct node_stat stat = {.aversion = config ? -1 : 0};
        acl_id_t acl = config ? read_only_acl(t) : ACL_OPEN;
        struct znode *n = tree_make_node(t, tree_find(t, path_parent(path)), path, SLICE_LIT(""), acl, &stat);
        tree_link_node(t, n, path, tree_hash(t, path));
    }
}

void tree_load_done(struct tree *t) {
    t->load_parent = NULL;
    buf_free(&t->load_path);
    tree_add_system_nodes(t);
    quota_load(t);
}
