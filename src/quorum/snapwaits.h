/* Learners that have asked for a snapshot and were not brought up to date since. One that is made for a learner may take longer than
 * this waits (initLimit): what will do is told by the first of its attempts, or on a busy leader none would ever be new enough for
 * the attempt that finds it. */
#ifndef ZABRA_QUORUM_SNAPWAITS_H
#define ZABRA_QUORUM_SNAPWAITS_H

#include "base/list.h"
#include "base/types.h"

struct snapwaits {
    struct list learners;
    size_t count;
};

struct snapwait {
    struct list link;
    int64_t sid;
    struct monotime last; /* attempt */
    zxid_t asked; /* the last transaction applied at its first attempt */
    zxid_t oldest; /* the last one committed then: enough for whoever does not know what it had */
};

void snapwaits_init(struct snapwaits *w);
void snapwaits_free(struct snapwaits *w);
/* This learner asks for a snapshot, for the first time or again; patience: so long after its last attempt it counts as the first.
 * The result is valid until the next call. */
const struct snapwait *snapwaits_begin(struct snapwaits *w, const struct snapwait *attempt, int64_t patience_us);
/* It has been brought up to date, and acknowledges from now on what later attempts must not lose. */
void snapwaits_end(struct snapwaits *w, int64_t sid);

#endif
