/* The walk behind snapshots.
 *
 * A node is emitted when the walk comes by, or before it changes if that is earlier; parents always come first, because
 * a change emits all ancestors that were not emitted yet. So every node is emitted in the state of the walk's start.
 *
 * node.mark says what the walk knows of a node: equal to the generation (even) = emitted; the generation + 1 = born
 * during the walk, of no interest with all that is below; anything else = not emitted yet. An emitted node may have
 * children that are not, so the walk enters it all the same.
 *
 * The stack holds the nodes whose children are being visited, a chain from the root. Their vectors are pinned. A node on
 * the stack can only be deleted when it has no children, which means it is the top. */
#include "base/log.h"
#include "base/mem.h"
#include "tree/tree_internal.h"

struct level {
    struct znode *node;
    uint32_t next, end; /* indexes of node's children still to visit; what is behind end was born later */
};

struct ancestor {
    struct znode *node;
    size_t path_len;
};

struct tree_walk {
    struct tree *tree;
    tree_walk_emit *emit;
    void *ctx;
    bool started;
    size_t depth, cap;
    struct level *levels;
    struct buf path; /* of the top of the stack, "" for the root */
    struct buf old_path; /* for walk_emit_old, and its chain of ancestors */
    struct ancestor *chain;
    size_t chain_cap;
};

struct tree_walk *tree_walk_begin(struct tree *t, tree_walk_emit *emit, void *ctx) {
    if (t->walk != NULL)
        return NULL;
    struct tree_walk *w = mem_calloc(1, sizeof *w);
    w->tree = t;
    w->emit = emit;
    w->ctx = ctx;
    t->walk = w;
    t->walk_generation += 2;
    if (t->walk_generation == 0)
        t->walk_generation = 2; /* 0 is the mark of nodes that no walk has seen */
    return w;
}

static void push(struct tree_walk *w, struct znode *n) {
    if (w->depth == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 16;
        w->levels = mem_realloc(w->levels, w->cap * sizeof *w->levels);
    }
    kids_pin(n);
    w->levels[w->depth++] = (struct level){n, 0, n->kids->used};
}

/* Leaves the top of the stack; the caller unpins. */
static struct znode *pop(struct tree_walk *w) {
    struct znode *n = w->levels[--w->depth].node;
    if (n->parent != NULL)
        w->path.len -= n->name_len + 1u;
    return n;
}

static void emit(struct tree_walk *w, struct znode *n, struct slice path) {
    n->mark = w->tree->walk_generation;
    w->emit(w->ctx, path, n);
}

static void visit(struct tree_walk *w, struct znode *n) {
    if (n->mark == (w->tree->walk_generation | 1))
        return;
    size_t parent_len = w->path.len;
    if (n->parent != NULL) {
        struct slice name = znode_name(n);
        buf_append(&w->path, "/", 1);
        buf_append(&w->path, name.data, name.len);
    }
    if (n->mark != w->tree->walk_generation)
        emit(w, n, (struct slice){(const char *)w->path.data, w->path.len});
    if (znode_children(n) != 0)
        push(w, n);
    else
        w->path.len = parent_len;
}

bool tree_walk_step(struct tree_walk *w, size_t max_nodes) {
    if (!w->started && max_nodes > 0) {
        w->started = true;
        max_nodes--;
        visit(w, w->tree->root);
    }
    for (; w->depth > 0 && max_nodes > 0; max_nodes--) {
        struct level *top = &w->levels[w->depth - 1];
        if (top->next == top->end) {
            kids_unpin(w->tree, pop(w));
            continue;
        }
        struct znode *child = kids_at(top->node->kids, top->next++);
        if (child != NULL)
            visit(w, child);
    }
    return w->started && w->depth == 0;
}

void tree_walk_end(struct tree_walk *w) {
    while (w->depth > 0)
        kids_unpin(w->tree, pop(w));
    w->tree->walk = NULL;
    mem_free(w->levels);
    mem_free(w->chain);
    buf_free(&w->path);
    buf_free(&w->old_path);
    mem_free(w);
}

/* Emits n and those of its ancestors that were not emitted, from the top. All their paths are beginnings of n's. */
void walk_emit_old(struct tree_walk *w, struct znode *n) {
    size_t count = 0;
    buf_clear(&w->old_path);
    znode_path(n, &w->old_path);
    size_t len = n->parent != NULL ? w->old_path.len : 0;
    for (struct znode *p = n; p != NULL && p->mark != w->tree->walk_generation; p = p->parent) {
        if (count == w->chain_cap) {
            w->chain_cap = w->chain_cap ? w->chain_cap * 2 : 16;
            w->chain = mem_realloc(w->chain, w->chain_cap * sizeof *w->chain);
        }
        w->chain[count++] = (struct ancestor){p, len};
        len -= p->parent != NULL ? p->name_len + 1u : 0;
    }
    while (count-- > 0)
        emit(w, w->chain[count].node, (struct slice){(const char *)w->old_path.data, w->chain[count].path_len});
}

void walk_node_left(struct tree_walk *w, const struct znode *n) {
    if (w->depth > 0 && w->levels[w->depth - 1].node == n)
        pop(w);
}
