#include "store/snapscan.h"

#include <string.h>

#include "base/common.h"
#include "store/snapshot_format.h"
#include "wire/jute.h"

enum state { SESSION_COUNT, SESSION, ACL_COUNT, ACL_HEAD, ACL_PERMS, ACL_SCHEME, ACL_ID, NODE_PATH, NODE_DATA, NODE_STAT };

void snapscan_init(struct snapscan *s, size_t max_item) {
    memset(s, 0, sizeof *s);
    s->state = SESSION_COUNT;
    s->max_item = max_item;
}

/* How many bytes must be seen at once in this state. */
static size_t wanted(enum state state) {
    switch (state) {
    case SESSION:
        return 12;
    case ACL_HEAD:
        return 12;
    case NODE_PATH:
        return 5; /* the length, and the only character that the end mark has; the data's length follows a "" path, too */
    default:
        return 4;
    }
}

static void skip_item(struct snapscan *s, int32_t len) {
    if (len < -1 || (len > 0 && (size_t)len > s->max_item))
        s->failed = true;
    else
        s->skip = len > 0 ? (size_t)len : 0;
}

static void next_acl(struct snapscan *s) {
    if (--s->left > 0)
        s->state = ACL_HEAD;
    else
        s->state = NODE_PATH;
}

/* Takes what stands at p; returns how many of the bytes wanted it used. */
static size_t take(struct snapscan *s, const uint8_t *p) {
    int32_t word = (int32_t)be32_load(p);
    switch ((enum state)s->state) {
    case SESSION_COUNT:
        s->left = word;
        s->state = word > 0 ? SESSION : ACL_COUNT;
        return 4;
    case SESSION:
        if (--s->left == 0)
            s->state = ACL_COUNT;
        return 12;
    case ACL_COUNT:
        s->left = word;
        s->state = word > 0 ? ACL_HEAD : NODE_PATH;
        return 4;
    case ACL_HEAD:
        s->entries = (int32_t)be32_load(p + 8);
        s->state = ACL_PERMS;
        if (s->entries <= 0)
            next_acl(s);
        return 12;
    case ACL_PERMS:
        s->state = ACL_SCHEME;
        return 4;
    case ACL_SCHEME:
        skip_item(s, word);
        s->state = ACL_ID;
        return 4;
    case ACL_ID:
        skip_item(s, word);
        s->state = ACL_PERMS;
        if (--s->entries == 0)
            next_acl(s);
        return 4;
    case NODE_PATH:
        if (word == 1 && p[4] == '/') {
            s->done = true;
            return 5;
        }
        if (word < 0)
            s->failed = true;
        skip_item(s, word);
        s->nodes++;
        s->state = NODE_DATA;
        return 4;
    case NODE_DATA:
        skip_item(s, word);
        s->state = NODE_STAT;
        return 4;
    case NODE_STAT:
        s->skip = 8 + SNAPSHOT_STAT_BYTES - 4;
        s->state = NODE_PATH;
        return 4;
    }
    return 0;
}

/* Bytes that were held back are followed by new ones; what take leaves of them is held again. */
static size_t feed_held(struct snapscan *s, const uint8_t *p, size_t len) {
    size_t want = wanted((enum state)s->state);
    size_t more = size_min(want - s->held_count, len);
    memcpy(s->held + s->held_count, p, more);
    s->held_count += more;
    if (s->held_count < want)
        return more;
    size_t used = take(s, s->held);
    size_t rest = s->held_count - used;
    memmove(s->held, s->held + used, rest);
    s->held_count = rest;
    /* A byte behind the length of a path belongs to the path. */
    size_t skipped = size_min(rest, s->skip);
    memmove(s->held, s->held + skipped, rest - skipped);
    s->held_count -= skipped;
    s->skip -= skipped;
    return more;
}

size_t snapscan_feed(struct snapscan *s, const void *data, size_t len) {
    const uint8_t *p = data;
    size_t pos = 0;
    while (pos < len && !s->done && !s->failed) {
        size_t skip = size_min(s->skip, len - pos);
        if (skip != 0) {
            pos += skip;
            s->skip -= skip;
            continue;
        }
        if (s->held_count != 0 || len - pos < wanted((enum state)s->state))
            pos += feed_held(s, p + pos, len - pos);
        else
            pos += take(s, p + pos);
    }
    return pos;
}
