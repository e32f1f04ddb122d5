/* Watch events: a change, and who is told of it. See docs/protocol/operations.md section 12. */
#ifndef ZABRA_SERVER_EVENTS_H
#define ZABRA_SERVER_EVENTS_H

#include "base/types.h"
#include "tree/tree.h"
#include "wire/proto.h"

struct server;

struct watch_event {
    zxid_t zxid;
    enum event_type type;
    struct slice path;
    acl_id_t acl; /* of the znode: who may not read it is told nothing */
};

/* The watchers of one change. The memory is kept for the next one; zero-initialise. */
struct audience {
    uint32_t *slots; /* of their connections */
    size_t count, cap;
    uint64_t *bits; /* one for each slot; all 0 between two uses */
    size_t bit_words;
};

/* Tells the watchers of the path and takes their one-shot watches: the event goes to the end of the output of each
 * connection. node: the znode if it is in the tree, else NULL. */
void events_fire(struct server *s, const struct watch_event *e, struct znode *node);
/* Frees the memory and leaves it empty. */
void audience_free(struct audience *a);

#endif
