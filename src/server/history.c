#include "server/history.h"

#include <string.h>

#include "base/log.h"
#include "base/mem.h"

struct entry {
    zxid_t zxid;
    char *payload;
    size_t len;
};

/* A ring that doubles when it is full. */
struct history {
    struct entry *ring;
    size_t cap, first, count;
    size_t bytes, max_bytes, min_count;
    struct {
        zxid_t last, next;
    } epochs[HISTORY_EPOCHS];
    size_t epochs_noted; /* ever */
};

struct history *history_new(size_t max_bytes, size_t min_count) {
    struct history *h = mem_calloc(1, sizeof *h);
    h->max_bytes = max_bytes;
    h->min_count = min_count;
    return h;
}

static struct entry *at(const struct history *h, size_t i) { return &h->ring[(h->first + i) & (h->cap - 1)]; }

static void drop_first(struct history *h) {
    struct entry *e = at(h, 0);
    h->bytes -= e->len;
    mem_free(e->payload);
    h->first = (h->first + 1) & (h->cap - 1);
    h->count--;
}

void history_clear(struct history *h) {
    while (h->count != 0)
        drop_first(h);
}

void history_free(struct history *h) {
    if (h == NULL)
        return;
    history_clear(h);
    mem_free(h->ring);
    mem_free(h);
}

static void grow(struct history *h) {
    size_t cap = h->cap != 0 ? h->cap * 2 : 1024;
    struct entry *ring = mem_alloc(cap * sizeof *ring);
    for (size_t i = 0; i < h->count; i++)
        ring[i] = *at(h, i);
    mem_free(h->ring);
    h->ring = ring;
    h->cap = cap;
    h->first = 0;
}

void history_append(struct history *h, zxid_t zxid, struct slice payload) {
    if (h->count != 0) {
        zxid_t last = at(h, h->count - 1)->zxid;
        if (zxid <= last)
            return;
        if (zxid != last + 1 && zxid_epoch(zxid) == zxid_epoch(last))
            history_clear(h);
    }
    if (h->count == h->cap)
        grow(h);
    struct entry e = {.zxid = zxid, .payload = mem_alloc(payload.len + 1), .len = payload.len};
    memcpy(e.payload, payload.data, payload.len);
    h->count++;
    *at(h, h->count - 1) = e;
    h->bytes += payload.len;
    while (h->bytes > h->max_bytes && h->count > h->min_count)
        drop_first(h);
}

size_t history_count(const struct history *h) { return h->count; }
zxid_t history_zxid(const struct history *h, size_t i) { return at(h, i)->zxid; }
struct slice history_payload(const struct history *h, size_t i) {
    const struct entry *e = at(h, i);
    return (struct slice){e->payload, e->len};
}

size_t history_after(const struct history *h, zxid_t zxid) {
    size_t low = 0, high = h->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (at(h, middle)->zxid > zxid)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

void history_note_epoch(struct history *h, zxid_t last, zxid_t next) {
    size_t i = h->epochs_noted++ % HISTORY_EPOCHS;
    h->epochs[i].last = last;
    h->epochs[i].next = next;
}

bool history_epochs_meet(const struct history *h, zxid_t last, zxid_t next) {
    for (size_t i = 0; i < size_min(h->epochs_noted, HISTORY_EPOCHS); i++)
        if (h->epochs[i].last == last && h->epochs[i].next == next)
            return true;
    return false;
}

size_t history_bytes(const struct history *h) { return h->bytes + h->cap * sizeof *h->ring; }
