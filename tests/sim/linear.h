/* What the clients saw of each znode, and whether there is an order of all of it that explains it: without the model, without
 * a look into any server. After Wing and Gong, "Testing and verifying concurrent objects" (1993).
 *
 * Acknowledged writes stand in the order of their zxids. A read counts from the moment in which its session asked for the last
 * thing that brought it up to date (a sync, a write). A write without an answer may have happened at any time since, or never. */
#ifndef ZABRA_SIM_LINEAR_H
#define ZABRA_SIM_LINEAR_H

#include "base/types.h"
#include "sim/model.h"

enum linear_kind { LINEAR_CREATE, LINEAR_SET, LINEAR_DELETE, LINEAR_READ };

#define LINEAR_FIRST_VALUE 1 /* of a znode that was there from the beginning */

struct linear_op {
    enum linear_kind kind;
    char path[MODEL_PATH_MAX];
    int64_t asked_us, answered_us; /* INT64_MAX: never */
    zxid_t zxid;      /* of an acknowledged write */
    int32_t err;      /* ZK_OK, or why not: then it says something about the state and does not change it */
    int32_t version;  /* writes: the wanted one, -1 = any. Reads: the one that was there */
    uint64_t value;   /* unique among all writes; reads: 0 = there was no znode */
    bool passes;      /* creates: the znode may go by itself (ephemeral, container, time to live) */
};

struct linear {
    struct linear_op *ops;
    size_t count, cap;
};

void linear_free(struct linear *l);
/* The number of the operation, for linear_at. */
size_t linear_add(struct linear *l, const struct linear_op *op);
static inline struct linear_op *linear_at(struct linear *l, size_t number) { return &l->ops[number]; }
/* That it turned out to say nothing. */
void linear_drop(struct linear *l, size_t number);
/* False: there is no such order for *path. tops: the children of the root have been there from the beginning. *hard counts the
 * znodes for which the search was given up. */
bool linear_check(struct linear *l, bool tops, const char **path, uint64_t *searched, uint64_t *hard);
/* Histories by hand: which are possible and which are not. */
bool linear_self_test(void);

#endif
