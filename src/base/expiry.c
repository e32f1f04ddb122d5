#include "base/expiry.h"

#include "base/log.h"
#include "base/mem.h"

struct expiry_bucket {
    struct list elements;
    int64_t deadline_ms;
};

static int64_t round_up(const struct expiry *e, int64_t time_ms) {
    return (time_ms / e->interval_ms + 1) * e->interval_ms;
}

void expiry_init(struct expiry *e, int64_t interval_ms, int64_t now_ms) {
    zassert(interval_ms > 0);
    *e = (struct expiry){.interval_ms = interval_ms};
    e->next_ms = round_up(e, now_ms);
}

void expiry_close(struct expiry *e) {
    struct expiry_bucket *bucket;
    for (size_t cursor = 0; (bucket = hmap_next(&e->buckets, &cursor)) != NULL;)
        mem_free(bucket);
    hmap_free(&e->buckets);
    e->count = 0;
}

void expiry_touch(struct expiry *e, struct expiry_node *node, int64_t now_ms, int64_t timeout_ms) {
    int64_t until_ms = now_ms + timeout_ms;
    /* Still in the interval that ends with the bucket's deadline? No division on the way that every request takes. */
    if (LIKELY(node->bucket != NULL)) {
        int64_t left_ms = node->bucket->deadline_ms - until_ms;
        if (LIKELY(left_ms > 0 && left_ms <= e->interval_ms))
            return;
    }
    expiry_remove(e, node);
    int64_t deadline_ms = round_up(e, until_ms);
    struct expiry_bucket *bucket = hmap_get(&e->buckets, (uint64_t)deadline_ms);
    if (bucket == NULL) {
        bucket = mem_alloc(sizeof *bucket);
        list_init(&bucket->elements);
        bucket->deadline_ms = deadline_ms;
        hmap_put(&e->buckets, (uint64_t)deadline_ms, bucket);
    }
    if (e->count == 0 || deadline_ms < e->next_ms)
        e->next_ms = deadline_ms;
    list_push(&bucket->elements, &node->link);
    node->bucket = bucket;
    e->count++;
}

void expiry_remove(struct expiry *e, struct expiry_node *node) {
    struct expiry_bucket *bucket = node->bucket;
    if (bucket == NULL)
        return;
    list_remove(&node->link);
    node->bucket = NULL;
    e->count--;
    if (list_empty(&bucket->elements)) {
        hmap_remove(&e->buckets, (uint64_t)bucket->deadline_ms);
        mem_free(bucket);
    }
}

/* No bucket ends at next_ms: moves on to one that does. Interval by interval if now is near, else (the clock has jumped,
 * or the next deadline is far away) by a look at all buckets. */
static void advance(struct expiry *e, int64_t now_ms) {
    if ((now_ms - e->next_ms) / e->interval_ms < (int64_t)e->buckets.capacity) {
        e->next_ms += e->interval_ms;
        return;
    }
    const struct expiry_bucket *bucket;
    e->next_ms = INT64_MAX;
    for (size_t cursor = 0; (bucket = hmap_next(&e->buckets, &cursor)) != NULL;)
        e->next_ms = i64_min(e->next_ms, bucket->deadline_ms);
}

struct expiry_node *expiry_pop(struct expiry *e, int64_t now_ms) {
    while (e->count > 0 && e->next_ms <= now_ms) {
        struct expiry_bucket *bucket = hmap_get(&e->buckets, (uint64_t)e->next_ms);
        if (bucket != NULL) {
            struct expiry_node *node = LIST_FIRST(&bucket->elements, struct expiry_node, link);
            expiry_remove(e, node);
            return node;
        }
        advance(e, now_ms);
    }
    return NULL;
}

int64_t expiry_next(const struct expiry *e) { return e->count == 0 ? INT64_MAX : e->next_ms; }

int64_t expiry_deadline(const struct expiry_node *node) {
    zassert(node->bucket != NULL);
    return node->bucket->deadline_ms;
}
