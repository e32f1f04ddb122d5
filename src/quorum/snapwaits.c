#include "quorum/snapwaits.h"

#include "base/mem.h"

/* Of more than any ensemble has, the one that came first is forgotten: it only waits longer. */
#define LEARNERS_MAX 256

void snapwaits_init(struct snapwaits *w) {
    list_init(&w->learners);
    w->count = 0;
}

static void forget(struct snapwaits *w, struct snapwait *one) {
    list_remove(&one->link);
    mem_free(one);
    w->count--;
}

void snapwaits_free(struct snapwaits *w) {
    while (!list_empty(&w->learners))
        forget(w, LIST_FIRST(&w->learners, struct snapwait, link));
}

static struct snapwait *find(struct snapwaits *w, int64_t sid) {
    struct snapwait *one;
    LIST_FOREACH(one, &w->learners, struct snapwait, link)
        if (one->sid == sid)
            return one;
    return NULL;
}

const struct snapwait *snapwaits_begin(struct snapwaits *w, const struct snapwait *attempt, int64_t patience_us) {
    struct snapwait *one = find(w, attempt->sid);
    if (one != NULL && mono_diff_us(attempt->last, one->last) > patience_us) {
        forget(w, one);
        one = NULL;
    }
    if (one == NULL) {
        if (w->count == LEARNERS_MAX)
            forget(w, LIST_FIRST(&w->learners, struct snapwait, link));
        one = mem_calloc(1, sizeof *one);
        *one = *attempt;
        list_push(&w->learners, &one->link);
        w->count++;
    }
    one->last = attempt->last;
    return one;
}

void snapwaits_end(struct snapwaits *w, int64_t sid) {
    struct snapwait *one = find(w, sid);
    if (one != NULL)
        forget(w, one);
}
