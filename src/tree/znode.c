/* The memory of one node, and what can be read from it. */
#include <malloc.h>

#include "base/log.h"
#include "base/mem.h"
#include "tree/tree_internal.h"

/* Data above this size always has its own block: a node keeps its size for life, so that large data that has gone small
 * again must not leave a large node behind. */
#define INLINE_MAX 1024

_Static_assert(offsetof(struct znode, tail) == 96, "the memory budget per node counts on this");
_Static_assert(sizeof(struct znode_ext) == 12, "packed");

void *tree_alloc(struct tree *t, size_t size) {
    void *p = mem_alloc(size);
    t->heap_bytes += malloc_usable_size(p) + sizeof(size_t);
    return p;
}

void *tree_realloc(struct tree *t, void *ptr, size_t size) {
    if (ptr != NULL)
        t->heap_bytes -= malloc_usable_size(ptr) + sizeof(size_t);
    void *p = mem_realloc(ptr, size);
    t->heap_bytes += malloc_usable_size(p) + sizeof(size_t);
    return p;
}

void tree_release(struct tree *t, void *ptr) {
    if (ptr != NULL)
        t->heap_bytes -= malloc_usable_size(ptr) + sizeof(size_t);
    mem_free(ptr);
}

static size_t data_offset(const struct znode *n) {
    return offsetof(struct znode, tail) + znode_ext_size(n) + n->name_len;
}
static uint8_t *data_region(struct znode *n) { return n->tail + znode_ext_size(n) + n->name_len; }
static size_t inline_capacity(struct znode *n) { return malloc_usable_size(n) - data_offset(n); }

static void *out_pointer(struct znode *n) {
    void *p;
    memcpy(&p, data_region(n), sizeof p);
    return p;
}

static void copy(void *to, struct slice data) {
    if (data.len)
        memmove(to, data.data, data.len);
}

/* The region behind the name can hold a pointer whatever the data, so that data can move out later. */
struct znode *znode_new(struct tree *t, struct slice name, struct slice data, int64_t owner) {
    zassert(name.len <= ZNODE_NAME_MAX);
    size_t ext = owner != 0 ? sizeof(struct znode_ext) : 0;
    size_t inside = data.len > INLINE_MAX ? sizeof(void *) : size_max(data.len, sizeof(void *));
    struct znode *n = tree_alloc(t, offsetof(struct znode, tail) + ext + name.len + inside);
    *n = (struct znode){.name_len = (uint32_t)name.len & ZNODE_NAME_MAX, .data_len = -1};
    if (owner != 0) {
        n->flags = ZNODE_HAS_EXT;
        *znode_ext(n) = (struct znode_ext){.owner = owner};
    }
    copy(n->tail + ext, name);
    znode_replace_data(t, n, data);
    return n;
}

void znode_free(struct tree *t, struct znode *n) {
    if (n->flags & ZNODE_DATA_OUT)
        tree_release(t, out_pointer(n));
    tree_release(t, n->kids);
    tree_release(t, n);
}

static void store_out(struct tree *t, struct znode *n, struct slice data) {
    void *old = n->flags & ZNODE_DATA_OUT ? out_pointer(n) : NULL;
    size_t cap = old != NULL ? malloc_usable_size(old) : 0;
    if (cap >= data.len && cap / 2 <= data.len) {
        copy(old, data);
        return;
    }
    void *p = tree_alloc(t, data.len);
    copy(p, data);
    memcpy(data_region(n), &p, sizeof p);
    n->flags |= ZNODE_DATA_OUT;
    tree_release(t, old);
}

void znode_replace_data(struct tree *t, struct znode *n, struct slice data) {
    zassert(data.len <= INT32_MAX);
    if (data.len > inline_capacity(n)) {
        store_out(t, n, data);
    } else {
        void *old = n->flags & ZNODE_DATA_OUT ? out_pointer(n) : NULL;
        copy(data_region(n), data);
        n->flags &= (uint32_t)~ZNODE_DATA_OUT & 0xff;
        tree_release(t, old);
    }
    n->data_len = data.data == NULL ? -1 : (int32_t)data.len;
}

/* ------------------------------------------------------------------ reading */

void znode_stat(const struct znode *n, struct node_stat *out) {
    *out = (struct node_stat){
        .czxid = n->czxid,
        .mzxid = n->mzxid,
        .pzxid = n->pzxid,
        .ctime = n->ctime,
        .mtime = n->mtime,
        .version = n->version,
        .cversion = n->cversion,
        .aversion = n->aversion,
        .owner = znode_owner(n),
    };
}

void znode_path(const struct znode *n, struct buf *out) {
    size_t len = 0;
    for (const struct znode *p = n; p->parent != NULL; p = p->parent)
        len += p->name_len + 1u;
    if (len == 0) {
        buf_append(out, "/", 1);
        return;
    }
    uint8_t *end = buf_tail(out, len) + len;
    out->len += len;
    for (const struct znode *p = n; p->parent != NULL; p = p->parent) {
        end -= p->name_len;
        copy(end, znode_name(p));
        *--end = '/';
    }
}

bool znode_path_is(const struct znode *n, struct slice path) {
    if (n->parent == NULL)
        return path.len == 0 || slice_is(path, "/");
    const char *end = path.data + path.len;
    for (; n->parent != NULL; n = n->parent) {
        if ((size_t)(end - path.data) <= n->name_len)
            return false;
        end -= n->name_len;
        if (memcmp(end, znode_name(n).data, n->name_len) != 0 || *--end != '/')
            return false;
    }
    return end == path.data;
}

void tree_set_watched(struct znode *n, bool watched) {
    unsigned flags = watched ? n->flags | ZNODE_WATCHED : n->flags & ~(unsigned)ZNODE_WATCHED;
    n->flags = flags & 0xff;
}
