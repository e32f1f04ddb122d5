#include "base/hmap.h"

#include "base/log.h"
#include "base/mem.h"

static size_t home(const struct hmap *m, uint64_t key) {
    /* Fibonacci hashing spreads the consecutive ids that sessions have. */
    return (size_t)((key ^ key >> 32) * 0x9e3779b97f4a7c15u >> 20) & (m->capacity - 1);
}

void hmap_free(struct hmap *m) {
    mem_free(m->slots);
    *m = (struct hmap){0};
}

static struct hmap_slot *find(const struct hmap *m, uint64_t key) {
    size_t i = home(m, key);
    while (m->slots[i].value != NULL && m->slots[i].key != key)
        i = (i + 1) & (m->capacity - 1);
    return &m->slots[i];
}

void *hmap_get(const struct hmap *m, uint64_t key) { return m->count == 0 ? NULL : find(m, key)->value; }

static void resize(struct hmap *m, size_t capacity) {
    struct hmap old = *m;
    m->slots = mem_calloc(capacity, sizeof *m->slots);
    m->capacity = capacity;
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].value != NULL)
            *find(m, old.slots[i].key) = old.slots[i];
    mem_free(old.slots);
}

void *hmap_put(struct hmap *m, uint64_t key, void *value) {
    zassert(value != NULL);
    if ((m->count + 1) * 4 > m->capacity * 3)
        resize(m, m->capacity ? m->capacity * 2 : 16);
    struct hmap_slot *slot = find(m, key);
    void *old = slot->value;
    m->count += old == NULL;
    *slot = (struct hmap_slot){key, value};
    return old;
}

void *hmap_remove(struct hmap *m, uint64_t key) {
    if (m->count == 0)
        return NULL;
    struct hmap_slot *slot = find(m, key);
    void *old = slot->value;
    if (old == NULL)
        return NULL;
    /* Close the gap: move back every later entry of the run that may stand nearer to its home. */
    size_t gap = (size_t)(slot - m->slots), mask = m->capacity - 1;
    for (size_t i = (gap + 1) & mask; m->slots[i].value != NULL; i = (i + 1) & mask) {
        size_t want = home(m, m->slots[i].key);
        if (((i - want) & mask) >= ((i - gap) & mask)) {
            m->slots[gap] = m->slots[i];
            gap = i;
        }
    }
    m->slots[gap].value = NULL;
    m->count--;
    if (m->count * 8 < m->capacity && m->capacity > 64)
        resize(m, m->capacity / 2);
    return old;
}

void *hmap_next(const struct hmap *m, size_t *cursor) {
    while (*cursor < m->capacity) {
        void *value = m->slots[(*cursor)++].value;
        if (value != NULL)
            return value;
    }
    return NULL;
}

void hmap_keys(const struct hmap *m, uint64_t *keys) {
    size_t n = 0;
    for (size_t i = 0; i < m->capacity; i++)
        if (m->slots[i].value != NULL)
            keys[n++] = m->slots[i].key;
}
