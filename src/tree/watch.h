/* Watches: who wants to hear about which path. See docs/protocol/operations.md section 12.
 *
 * A watcher is the slot number of a connection. A path has one entry, a set of (watcher, modes) words of 32 bits; each
 * watcher has the set of entries it stands in, so that it can leave. An entry refers to the znode where there is one and
 * owns a copy of the path where there is none. */
#ifndef ZABRA_TREE_WATCH_H
#define ZABRA_TREE_WATCH_H

#include "tree/tree.h"

#define WATCHER_BITS 27
#define WATCHER_MAX (1u << WATCHER_BITS)

enum watch_modes {
    WATCH_DATA = 1,             /* one-shot, set by getData and exists */
    WATCH_CHILD = 2,            /* one-shot, set by getChildren */
    WATCH_DATA_PERSISTENT = 4,  /* the two halves of addWatch mode 0 */
    WATCH_CHILD_PERSISTENT = 8,
    WATCH_RECURSIVE = 16,       /* addWatch mode 1 */
    WATCH_ALL = 31,
};

struct watches;

struct watches *watches_new(struct tree *t);
/* Does not touch the tree, which may be gone already; flags that stay behind in its znodes do no harm. */
void watches_free(struct watches *w);

/* Adds modes for the watcher at path (node: the znode there, or NULL). The path is not validated; "" never fires. */
void watch_add(struct watches *w, uint32_t watcher, struct slice path, struct znode *node, unsigned modes);
/* The modes that the watcher has at exactly this path; 0 = none. */
unsigned watch_get(const struct watches *w, uint32_t watcher, struct slice path);
/* Takes modes away; returns those that were there. */
unsigned watch_remove(struct watches *w, uint32_t watcher, struct slice path, unsigned modes);

typedef void watch_deliver(void *ctx, uint32_t watcher);
/* Delivers one event to each watcher that it concerns, once per watcher, and spends one-shot watches:
 * created and data changed look at data modes of path, children changed at child modes, deleted at both; for all but
 * children changed recursive watches of path and of every ancestor count, too. node: the znode at path if it is (still)
 * in the tree, else NULL. Returns the number of deliveries. deliver must not add or remove watches. The events of a change
 * must be fired before the next change of the tree: that a znode is not flagged is taken to mean that nobody watches it. */
size_t watch_fire(struct watches *w, struct slice path, struct znode *node, enum event_type type, watch_deliver *deliver,
                  void *ctx);
/* To be called before a watched znode leaves the tree: its entry gets its own copy of the path. */
void watch_node_leaves(struct watches *w, struct znode *node, struct slice path);

/* The watcher is gone. Frees its watches piecemeal: at most *budget per call, which is taken off it; true when none is left
 * and the slot may be used again. Until then its remaining entries are still delivered, and the caller ignores them. */
bool watch_drop(struct watches *w, uint32_t watcher, size_t *budget);

/* Figures: counts as mntr and wchs want them (data and child modes; see admin words). */
uint64_t watch_count(const struct watches *w);      /* watches: per (path, watcher) one for data modes, one for child modes */
uint64_t watch_path_count(const struct watches *w); /* paths with at least one data mode */
uint64_t watch_data_count(const struct watches *w); /* (path, watcher) pairs with a data mode */
uint64_t watch_memory(const struct watches *w);     /* bytes held */

/* Iteration for wchs, wchp and wchc, in pieces: watches may come and go between two calls, and a path that stays watched all the
 * time is met once.
 *
 * By path: the next one with data modes. The cursor begins at 0; false at the end. Looks at no more than *looks entries (one is
 * taken off for each); when these are used up words is empty. Otherwise it has one struct watch_word for each watcher with a
 * data mode; path and words are replaced. */
struct watch_word {
    uint32_t watcher;
    unsigned modes;
};
bool watch_next(const struct watches *w, uint64_t *cursor, int *looks, struct buf *path, struct buf *words);
/* By watcher: replaces ids (of uint32_t) by the numbers of what it watches now, whatever the modes. */
void watch_ids(const struct watches *w, uint32_t watcher, struct buf *ids);
/* The modes of the watcher at one of these, 0 if it is gone; replaces path. */
unsigned watch_of_id(const struct watches *w, uint32_t id, uint32_t watcher, struct buf *path);

#endif
