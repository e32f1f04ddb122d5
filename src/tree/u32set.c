/* A single value stands in the set itself. With the second one it gets a table: an unsorted array while it is small, then open
 * addressing with linear probing and backward shift. A large table that has to grow or shrink is
 * moved piecemeal: old and new exist side by side, and each change moves a few slots.
 *
 * Invariants:
 *   1. Each key stands once: in the table, or in the old one that hangs on it.
 *   2. What was moved or removed from an old table leaves MOVED behind, so that searches go on past it.
 *   3. Only one move is under way at a time. A change moves more slots than it can add values, so a move is over long before
 *      the table is full; who resizes earlier finishes it first. */
#include "tree/u32set.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"

#define ARRAY_MAX 14         /* up to here a set is an unsorted array */
#define PIECEMEAL_MIN 32768u /* slots from which on a table is moved piecemeal */
#define MOVE_STEP 16         /* slots moved per change: enough to be done long before the next growth */
#define MOVED 1u             /* was moved or removed; below U32SET_VALUE_MIN */

struct table {
    uint32_t cap;
    uint32_t count;    /* values, those that are still in the old table included */
    uint32_t notes[2]; /* of the owner; the first one counts the calls of u32set_any */
    uint32_t slots[];  /* 0 = free; behind a table of PIECEMEAL_MIN slots or more stands a struct moving */
};
_Static_assert(sizeof(struct table) == 16, "memory targets count on it");

struct moving {
    struct table *old; /* NULL = no move under way */
    uint32_t next;     /* slots of old below this one are done */
};

/* bits: 0 = empty; bit 0 = one value, in the upper half; else a pointer to a table. */
static uint64_t one_bits(uint32_t value) { return (uint64_t)value << 32 | 1; }
static bool is_one(struct u32set s) { return (s.bits & 1) != 0; }
static uint32_t one_of(struct u32set s) { return (uint32_t)(s.bits >> 32); }
static struct table *table_of(struct u32set s) { return is_one(s) ? NULL : (struct table *)(uintptr_t)s.bits; }

static size_t table_bytes(uint32_t cap) {
    size_t moving = cap >= PIECEMEAL_MIN ? sizeof(struct moving) : 0;
    return sizeof(struct table) + cap * sizeof(uint32_t) + moving;
}

static struct table *table_new(uint64_t *bytes, uint32_t cap) {
    struct table *t = mem_calloc(1, table_bytes(cap));
    t->cap = cap;
    *bytes += table_bytes(cap);
    return t;
}

static void table_free(uint64_t *bytes, struct table *t) {
    *bytes -= table_bytes(t->cap);
    mem_free(t);
}

static struct moving moving_of(const struct table *t) {
    struct moving m = {NULL, 0};
    if (UNLIKELY(t->cap >= PIECEMEAL_MIN))
        memcpy(&m, t->slots + t->cap, sizeof m);
    return m;
}

static void moving_store(struct table *t, const struct moving *m) { memcpy(t->slots + t->cap, m, sizeof *m); }

static uint32_t home(uint32_t key, uint32_t cap) {
    key ^= key >> 16;
    key *= 0x7feb352du;
    key ^= key >> 15;
    key *= 0x846ca68bu;
    key ^= key >> 16;
    return (uint32_t)((uint64_t)key * cap >> 32);
}

static uint32_t *table_find(struct table *t, uint32_t key, uint32_t mask) {
    if (t->cap <= ARRAY_MAX) {
        for (uint32_t i = 0; i < t->count; i++)
            if ((t->slots[i] & mask) == key)
                return &t->slots[i];
        return NULL;
    }
    for (uint32_t i = home(key, t->cap); t->slots[i] != 0; i = i + 1 < t->cap ? i + 1 : 0)
        if ((t->slots[i] & mask) == key && t->slots[i] != MOVED)
            return &t->slots[i];
    return NULL;
}

/* The value must not be there yet, and there must be room. Does not count it. */
static void table_insert(struct table *t, uint32_t value, uint32_t mask, uint32_t array_count) {
    if (t->cap <= ARRAY_MAX) {
        t->slots[array_count] = value;
        return;
    }
    uint32_t i = home(value & mask, t->cap);
    while (t->slots[i] != 0)
        i = i + 1 < t->cap ? i + 1 : 0;
    t->slots[i] = value;
}

/* Takes a slot's value out. In a table every later one of the run that may stand nearer to its home moves back. */
static void table_erase(struct table *t, uint32_t *slot, uint32_t mask) {
    uint32_t gap = (uint32_t)(slot - t->slots), cap = t->cap;
    if (cap <= ARRAY_MAX) {
        t->slots[gap] = t->slots[t->count - 1];
        t->slots[t->count - 1] = 0;
        return;
    }
    for (uint32_t i = gap + 1 < cap ? gap + 1 : 0; t->slots[i] != 0; i = i + 1 < cap ? i + 1 : 0) {
        uint32_t want = home(t->slots[i] & mask, cap);
        uint32_t from_want = i >= want ? i - want : i + cap - want;
        uint32_t from_gap = i >= gap ? i - gap : i + cap - gap;
        if (from_want >= from_gap) {
            t->slots[gap] = t->slots[i];
            gap = i;
        }
    }
    t->slots[gap] = 0;
}

static bool table_full(const struct table *t) {
    return t->cap <= ARRAY_MAX ? t->count == t->cap : t->count >= (uint64_t)t->cap * 4 / 5;
}

/* A capacity for count values and some more: loads stay between 0.64 and 0.8, in large tables, where each growth means a
 * lot of moving, between 0.53 and 0.8. All are 2 modulo 4: that fits the size classes of allocators. */
static uint32_t roomy_cap(uint32_t count) {
    if (count <= ARRAY_MAX)
        return count <= 2 ? 2 : (count + 1) / 4 * 4 + 2;
    uint64_t cap = count < PIECEMEAL_MIN * 4 / 5 ? (uint64_t)count * 25 / 16 : (uint64_t)count * 15 / 8;
    zassert(cap < UINT32_MAX - 8);
    return (uint32_t)cap / 4 * 4 + 6;
}

static void move_some(uint64_t *bytes, struct table *t, uint32_t mask, uint32_t max_slots) {
    struct moving m = moving_of(t);
    if (LIKELY(m.old == NULL))
        return;
    for (; max_slots > 0 && m.next < m.old->cap; max_slots--, m.next++) {
        uint32_t value = m.old->slots[m.next];
        if (value > MOVED) {
            table_insert(t, value, mask, 0);
            m.old->slots[m.next] = MOVED;
        }
    }
    if (m.next == m.old->cap) {
        table_free(bytes, m.old);
        m.old = NULL;
    }
    moving_store(t, &m);
}

/* Replaces the table by one of another capacity. */
static void resize(uint64_t *bytes, struct u32set *s, uint32_t cap, uint32_t mask) {
    struct table *old = table_of(*s), *t;
    move_some(bytes, old, mask, UINT32_MAX);
    t = table_new(bytes, cap);
    t->count = old->count;
    memcpy(t->notes, old->notes, sizeof t->notes);
    s->bits = (uintptr_t)t;
    if (cap >= PIECEMEAL_MIN) {
        moving_store(t, &(struct moving){old, 0});
        return;
    }
    uint32_t n = 0;
    for (uint32_t i = 0; i < old->cap; i++)
        if (old->slots[i] != 0)
            table_insert(t, old->slots[i], mask, n++);
    table_free(bytes, old);
}

uint32_t u32set_get(struct u32set s, uint32_t key, uint32_t mask) {
    if (is_one(s))
        return (one_of(s) & mask) == key ? one_of(s) : 0;
    if (s.bits == 0)
        return 0;
    struct table *t = table_of(s);
    const uint32_t *slot = table_find(t, key, mask);
    if (slot == NULL) {
        struct moving m = moving_of(t);
        slot = m.old != NULL ? table_find(m.old, key, mask) : NULL;
    }
    return slot != NULL ? *slot : 0;
}

void u32set_put(uint64_t *bytes, struct u32set *s, uint32_t value, uint32_t mask) {
    uint32_t key = value & mask;
    if (s->bits == 0 || (is_one(*s) && (one_of(*s) & mask) == key)) {
        s->bits = one_bits(value);
        return;
    }
    struct table *t = table_of(*s);
    if (t == NULL) {
        t = table_new(bytes, roomy_cap(2));
        t->slots[t->count++] = one_of(*s);
        s->bits = (uintptr_t)t;
    }
    uint32_t *slot = table_find(t, key, mask);
    struct moving m = moving_of(t);
    if (slot == NULL && m.old != NULL)
        slot = table_find(m.old, key, mask);
    if (slot != NULL) {
        *slot = value;
        return;
    }
    if (table_full(t)) {
        resize(bytes, s, roomy_cap(t->count + 1), mask);
        t = table_of(*s);
    }
    table_insert(t, value, mask, t->count);
    t->count++;
    move_some(bytes, t, mask, MOVE_STEP);
}

void u32set_free(uint64_t *bytes, struct u32set *s) {
    struct table *t = table_of(*s);
    s->bits = 0;
    if (t == NULL)
        return;
    struct moving m = moving_of(t);
    if (m.old != NULL)
        table_free(bytes, m.old);
    table_free(bytes, t);
}

/* Not part of u32set_remove: one event can take values out of thousands of sets, and must not resize them all. */
void u32set_shrink_if_needed(uint64_t *bytes, struct u32set *s, uint32_t mask) {
    struct table *t = table_of(*s);
    if (t == NULL)
        return;
    if (t->count == 1 && t->cap <= ARRAY_MAX) {
        uint32_t value = t->slots[0];
        u32set_free(bytes, s);
        s->bits = one_bits(value);
    } else if ((uint64_t)t->count * 4 < t->cap && t->cap > 2 && moving_of(t).old == NULL) {
        resize(bytes, s, roomy_cap(t->count <= ARRAY_MAX ? t->count : t->count / 5 * 8), mask);
    }
}

uint32_t u32set_remove(uint64_t *bytes, struct u32set *s, uint32_t key, uint32_t mask) {
    uint32_t value = 0;
    if (is_one(*s)) {
        value = u32set_get(*s, key, mask);
        if (value != 0)
            s->bits = 0;
        return value;
    }
    struct table *t = table_of(*s);
    uint32_t *slot = t != NULL ? table_find(t, key, mask) : NULL;
    if (slot != NULL) {
        value = *slot;
        table_erase(t, slot, mask);
    } else if (t != NULL) {
        struct moving m = moving_of(t);
        slot = m.old != NULL ? table_find(m.old, key, mask) : NULL;
        if (slot == NULL)
            return 0;
        value = *slot;
        *slot = MOVED;
    }
    if (value == 0)
        return 0;
    if (--t->count == 0)
        u32set_free(bytes, s);
    else
        move_some(bytes, t, mask, MOVE_STEP);
    return value;
}

/* Not simply the next one in the table: a table is nearly sorted by hash, and what is left of it after a removal from one end
 * would crowd into one end of a smaller table. */
uint32_t u32set_any(uint64_t *bytes, struct u32set *s, uint32_t mask) {
    struct table *t = table_of(*s);
    if (t == NULL)
        return is_one(*s) ? one_of(*s) : 0;
    struct moving m = moving_of(t);
    if (m.old != NULL) {
        while (m.next < m.old->cap && m.old->slots[m.next] <= MOVED)
            m.next++;
        moving_store(t, &m);
        if (m.next < m.old->cap)
            return m.old->slots[m.next];
        move_some(bytes, t, mask, 1); /* nothing left in it: ends the move */
    }
    uint32_t i = home(++t->notes[0], t->cap);
    while (t->slots[i] == 0)
        i = i + 1 < t->cap ? i + 1 : 0;
    return t->slots[i];
}

uint32_t u32set_next(struct u32set s, uint64_t *cursor) {
    if (is_one(s))
        return (*cursor)++ == 0 ? one_of(s) : 0;
    const struct table *t = table_of(s);
    while (t != NULL && *cursor < t->cap) {
        uint32_t value = t->slots[(*cursor)++];
        if (value != 0)
            return value;
    }
    struct moving m = {NULL, 0};
    if (t != NULL)
        m = moving_of(t);
    while (m.old != NULL && *cursor - t->cap < m.old->cap) {
        uint32_t value = m.old->slots[(*cursor)++ - t->cap];
        if (value > MOVED)
            return value;
    }
    return 0;
}

static void map_table(struct table *t, u32set_change *change, void *ctx) {
    for (uint32_t i = 0; i < t->cap; i++)
        if (t->slots[i] > MOVED)
            t->slots[i] = change(ctx, t->slots[i]);
}

void u32set_map(struct u32set *s, u32set_change *change, void *ctx) {
    struct table *t = table_of(*s);
    if (is_one(*s)) {
        s->bits = one_bits(change(ctx, one_of(*s)));
    } else if (t != NULL) {
        struct moving m = moving_of(t);
        map_table(t, change, ctx);
        if (m.old != NULL)
            map_table(m.old, change, ctx);
    }
}

uint32_t u32set_count(struct u32set s) { return is_one(s) ? 1 : s.bits == 0 ? 0 : table_of(s)->count; }

uint32_t u32set_single(struct u32set s) { return is_one(s) ? one_of(s) : 0; }

uint32_t *u32set_notes(struct u32set s) {
    struct table *t = table_of(s);
    return t != NULL ? t->notes : NULL;
}

void u32set_prefetch(struct u32set s) { __builtin_prefetch(table_of(s)); }

void u32set_prefetch_key(struct u32set s, uint32_t key) {
    const struct table *t = table_of(s);
    if (t != NULL && t->cap > ARRAY_MAX)
        __builtin_prefetch(&t->slots[home(key, t->cap)]);
}
