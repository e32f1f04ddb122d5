#include "sim/linear.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* One znode: the search is given up after so many steps, or if more is unknown than fits into the set. */
#define STEPS_MAX 200000
#define UNKNOWN_MAX 60
#define SEEN_BITS 16

void linear_free(struct linear *l) {
    mem_free(l->ops);
    *l = (struct linear){0};
}

size_t linear_add(struct linear *l, const struct linear_op *op) {
    if (l->count == l->cap) {
        l->cap = l->cap != 0 ? l->cap * 2 : 256;
        l->ops = mem_realloc(l->ops, l->cap * sizeof *l->ops);
    }
    l->ops[l->count] = *op;
    return l->count++;
}

void linear_drop(struct linear *l, size_t number) { l->ops[number].path[0] = '\0'; }

/* ------------------------------------------------------------------ the state of a znode */

struct state {
    uint64_t value; /* 0 = it is not there */
    int32_t version;
    bool passes;
};

/* Is this what the operation met? */
static bool meets(const struct state *s, const struct linear_op *op) {
    bool there = s->value != 0;
    if (op->kind == LINEAR_READ)
        return op->value == s->value && (!there || op->version == s->version);
    if (op->err == ZK_NODE_EXISTS)
        return there;
    if (op->err == ZK_NO_NODE)
        return !there;
    bool version_fits = op->version == -1 || op->version == s->version;
    if (op->err == ZK_BAD_VERSION)
        return there && !version_fits;
    return op->kind == LINEAR_CREATE ? !there : there && version_fits;
}

static struct state after(struct state s, const struct linear_op *op) {
    if (op->kind == LINEAR_READ || op->err != ZK_OK)
        return s;
    switch (op->kind) {
    case LINEAR_CREATE:
        return (struct state){.value = op->value, .passes = op->passes};
    case LINEAR_SET:
        s.value = op->value;
        s.version++;
        return s;
    default:
        return (struct state){0};
    }
}

/* ------------------------------------------------------------------ the search */

struct search {
    const struct linear_op **known;   /* answered writes, by zxid */
    const struct linear_op **unknown; /* writes without an answer */
    const struct linear_op **reads;   /* by the time of their answer */
    int known_count, unknown_count, read_count;
    uint64_t *seen; /* places that led nowhere, by hash */
    int64_t steps;
};

/* A place in the search: so many known writes have happened, these unknown ones, these reads. */
struct place {
    int known;
    uint64_t unknown;
    bool *reads;
    int reads_done;
    struct state state;
};

static uint64_t mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static uint64_t hash_of(const struct search *s, const struct place *p) {
    uint64_t h = mix(mix(mix(1, (uint64_t)p->known), p->unknown), p->state.value);
    h = mix(mix(h, (uint64_t)(uint32_t)p->state.version), p->state.passes);
    for (int i = 0; i < s->read_count; i++)
        if (p->reads[i])
            h = mix(h, (uint64_t)i + 1);
    return h != 0 ? h : 1;
}

/* The first answer among all that has not happened yet: nothing that was asked for later may come before it. */
static int64_t first_answer(const struct search *s, const struct place *p) {
    int64_t first_us = INT64_MAX;
    for (int i = p->known; i < s->known_count; i++)
        first_us = first_us < s->known[i]->answered_us ? first_us : s->known[i]->answered_us;
    for (int i = 0; i < s->read_count; i++)
        if (!p->reads[i] && s->reads[i]->answered_us < first_us)
            return s->reads[i]->answered_us;
    return first_us;
}

static bool go_on(struct search *s, const struct place *from);

static bool take(struct search *s, const struct place *from, const struct linear_op *op, int known, uint64_t unknown) {
    if (op != NULL && (op->asked_us > first_answer(s, from) || !meets(&from->state, op)))
        return false;
    struct place next = *from;
    next.known += known;
    next.unknown |= unknown;
    next.state = op != NULL ? after(from->state, op) : (struct state){0};
    next.reads = mem_dup(from->reads, (size_t)s->read_count + 1);
    bool found = go_on(s, &next);
    mem_free(next.reads);
    return found;
}

/* A read that fits now may as well come now: it changes nothing. */
static void take_reads(const struct search *s, struct place *p) {
    for (bool any = true; any;) {
        int64_t first_us = first_answer(s, p);
        any = false;
        for (int i = 0; i < s->read_count; i++) {
            if (p->reads[i] || s->reads[i]->asked_us > first_us || !meets(&p->state, s->reads[i]))
                continue;
            p->reads[i] = any = true;
            p->reads_done++;
        }
    }
}

static bool go_on(struct search *s, const struct place *from) {
    struct place p = *from;
    take_reads(s, &p);
    if (p.known == s->known_count && p.reads_done == s->read_count)
        return true;
    uint64_t hash = hash_of(s, &p), *slot = &s->seen[hash >> (64 - SEEN_BITS)];
    if (*slot == hash || s->steps++ > STEPS_MAX)
        return false;
    if (p.known < s->known_count && take(s, &p, s->known[p.known], 1, 0))
        return true;
    for (int i = 0; i < s->unknown_count; i++)
        if ((p.unknown >> i & 1) == 0 && take(s, &p, s->unknown[i], 0, UINT64_C(1) << i))
            return true;
    if (p.state.passes && take(s, &p, NULL, 0, 0))
        return true;
    *slot = hash;
    return false;
}

/* ------------------------------------------------------------------ one znode after the other */

static int by_path(const void *a, const void *b) {
    const struct linear_op *x = *(const struct linear_op *const *)a, *y = *(const struct linear_op *const *)b;
    int order = strcmp(x->path, y->path);
    if (order == 0) /* writes by zxid, reads by their answer */
        order = (x->zxid > y->zxid) - (x->zxid < y->zxid);
    return order != 0 ? order : (x->answered_us > y->answered_us) - (x->answered_us < y->answered_us);
}

static void sort_in(struct search *s, const struct linear_op *op) {
    if (op->kind == LINEAR_READ)
        s->reads[s->read_count++] = op;
    else if (op->answered_us != INT64_MAX)
        s->known[s->known_count++] = op;
    else
        s->unknown[s->unknown_count++] = op;
}

enum verdict { POSSIBLE, IMPOSSIBLE, TOO_HARD };

static enum verdict check_one(const struct linear_op **ops, size_t count, bool is_there) {
    struct search s = {.known = mem_calloc(count, sizeof *s.known),
                       .unknown = mem_calloc(count, sizeof *s.unknown),
                       .reads = mem_calloc(count, sizeof *s.reads),
                       .seen = mem_calloc((size_t)1 << SEEN_BITS, sizeof *s.seen)};
    struct place start = {.state = {.value = is_there ? LINEAR_FIRST_VALUE : 0}};
    for (size_t i = 0; i < count; i++)
        sort_in(&s, ops[i]);
    start.reads = mem_calloc((size_t)s.read_count + 1, sizeof *start.reads);
    enum verdict verdict = TOO_HARD;
    if (s.unknown_count <= UNKNOWN_MAX)
        verdict = go_on(&s, &start) ? POSSIBLE : s.steps > STEPS_MAX ? TOO_HARD : IMPOSSIBLE;
    mem_free(start.reads);
    mem_free(s.known);
    mem_free(s.unknown);
    mem_free(s.reads);
    mem_free(s.seen);
    return verdict;
}

bool linear_check(struct linear *l, bool tops, const char **path, uint64_t *searched, uint64_t *hard) {
    const struct linear_op **ops = mem_calloc(l->count + 1, sizeof *ops);
    size_t count = 0;
    bool all = true;
    for (size_t i = 0; i < l->count; i++)
        if (l->ops[i].path[0] != '\0')
            ops[count++] = &l->ops[i];
    qsort(ops, count, sizeof *ops, by_path);
    for (size_t from = 0, to; from < count && all; from = to) {
        for (to = from + 1; to < count && strcmp(ops[to]->path, ops[from]->path) == 0; to++)
            ;
        enum verdict verdict = check_one(ops + from, to - from, tops && strchr(ops[from]->path + 1, '/') == NULL);
        (*searched)++;
        *hard += verdict == TOO_HARD;
        all = verdict != IMPOSSIBLE;
        *path = ops[from]->path;
    }
    mem_free(ops);
    return all;
}

/* ------------------------------------------------------------------ its own test */

#define NEVER INT64_MAX

/* One znode, x. Times in the order in which they are written; W = write with its zxid, R = read of a value. */
#define CREATE(asked, answered, z, v) {LINEAR_CREATE, "/x", asked, answered, z, ZK_OK, -1, v, false}
#define FLEETING(asked, answered, z, v) {LINEAR_CREATE, "/x", asked, answered, z, ZK_OK, -1, v, true}
#define SET(asked, answered, z, v) {LINEAR_SET, "/x", asked, answered, z, ZK_OK, -1, v, false}
#define SET_IF(asked, answered, z, v, version) {LINEAR_SET, "/x", asked, answered, z, ZK_OK, version, v, false}
#define DELETE(asked, answered, z) {LINEAR_DELETE, "/x", asked, answered, z, ZK_OK, -1, 0, false}
#define NO_NODE(asked, answered, z) {LINEAR_SET, "/x", asked, answered, z, ZK_NO_NODE, -1, 99, false}
#define READ(asked, answered, v, version) {LINEAR_READ, "/x", asked, answered, 0, ZK_OK, version, v, false}

bool linear_self_test(void) {
    static const struct {
        const char *what;
        bool possible;
        struct linear_op ops[6];
        int count;
    } cases[] = {
        {"one after the other", true, {CREATE(1, 2, 1, 10), SET(3, 4, 2, 11), READ(5, 6, 11, 1)}, 3},
        {"a stale read", false, {CREATE(1, 2, 1, 10), SET(3, 4, 2, 11), READ(5, 6, 10, 0)}, 3},
        {"a read beside the write", true, {CREATE(1, 2, 1, 10), SET(3, 7, 2, 11), READ(5, 6, 10, 0)}, 3},
        {"reads that go back", false, {CREATE(1, 2, 1, 10), SET(3, 9, 2, 11), READ(4, 5, 11, 1), READ(6, 7, 10, 0)}, 4},
        {"a lost write", false, {CREATE(1, 2, 1, 10), READ(5, 6, 0, 0)}, 2},
        {"zxids against the time", false, {CREATE(1, 2, 1, 10), SET(3, 4, 3, 11), SET(5, 6, 2, 12)}, 3},
        {"unknown, and it happened", true, {CREATE(1, 2, 1, 10), SET(3, NEVER, 0, 11), READ(8, 9, 11, 1)}, 3},
        {"unknown, and it did not happen", true, {CREATE(1, 2, 1, 10), SET(3, NEVER, 0, 11), READ(8, 9, 10, 0)}, 3},
        {"unknown, and it happened twice", false, {CREATE(1, 2, 1, 10), SET(3, NEVER, 0, 11), READ(8, 9, 11, 2)}, 3},
        {"unknown, and taken back", false,
         {CREATE(1, 2, 1, 10), SET(3, NEVER, 0, 11), READ(4, 5, 11, 1), READ(8, 9, 10, 0)}, 4},
        {"unknown, before it was asked for", false, {CREATE(1, 2, 1, 10), READ(3, 4, 11, 1), SET(5, NEVER, 0, 11)}, 3},
        {"unknown, between known ones", true,
         {CREATE(1, 2, 1, 10), SET(3, NEVER, 0, 11), SET_IF(4, 5, 2, 12, 1), READ(8, 9, 12, 2)}, 4},
        {"a version that never was", false, {CREATE(1, 2, 1, 10), SET_IF(4, 5, 2, 12, 1)}, 2},
        {"no node where one is", false, {CREATE(1, 2, 1, 10), NO_NODE(4, 5, 2)}, 2},
        {"no node behind a delete", true, {CREATE(1, 2, 1, 10), DELETE(3, NEVER, 0), NO_NODE(4, 5, 2)}, 3},
        {"what may go by itself", true, {FLEETING(1, 2, 1, 10), READ(4, 5, 10, 0), READ(6, 7, 0, 0)}, 3},
        {"and does not come back", false, {FLEETING(1, 2, 1, 10), READ(4, 5, 0, 0), READ(6, 7, 10, 0)}, 3},
    };
    bool all = true;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct linear l = {0};
        const char *path;
        uint64_t searched = 0, hard = 0;
        for (int k = 0; k < cases[i].count; k++)
            linear_add(&l, &cases[i].ops[k]);
        bool right = linear_check(&l, false, &path, &searched, &hard) == cases[i].possible && hard == 0;
        if (!right)
            printf("linear: %s: taken for %s\n", cases[i].what, cases[i].possible ? "impossible" : "possible");
        all &= right;
        linear_free(&l);
    }
    return all;
}
