/* A pre-order walk over the whole tree in slices that sees it exactly as it was at the start.
 *
 * Before a node changes or goes, the tree asks the walk: if it has not been emitted yet it is emitted now, in its old
 * state, its unvisited ancestors before it. Nodes born during the walk are marked at birth. Marks are generation numbers,
 * so an aborted walk leaves nothing to clean up. At most one walk runs per tree. */
#ifndef ZABRA_TREE_WALK_H
#define ZABRA_TREE_WALK_H

#include "tree/tree.h"

/* Receives each node once, parents before children. path is "" for the root. Must not change the tree. */
typedef void tree_walk_emit(void *ctx, struct slice path, const struct znode *n);

struct tree_walk;

/* NULL if one is running already. */
struct tree_walk *tree_walk_begin(struct tree *t, tree_walk_emit *emit, void *ctx);
/* Visits up to max_nodes nodes; true when the walk has reached its end (then only tree_walk_end is left to call). */
bool tree_walk_step(struct tree_walk *w, size_t max_nodes);
/* Ends the walk, finished or not, and frees it. */
void tree_walk_end(struct tree_walk *w);

#endif
