/* Finds the end of a snapshot's tree in a stream of bytes that come in pieces of any size: sessions, access lists and znodes
 * up to and including the mark behind the last znode. On a link nothing else tells where a snapshot ends.
 * Layout: docs/protocol/disk-format.md section 4, without the file header. */
#ifndef ZABRA_STORE_SNAPSCAN_H
#define ZABRA_STORE_SNAPSCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct snapscan {
    int state;
    int64_t left;      /* elements of the current list */
    int64_t entries;   /* of the current access list */
    size_t skip;       /* bytes that belong to the current piece and say nothing */
    uint8_t held[12];  /* the start of a piece that came in parts */
    size_t held_count;
    bool failed;       /* impossible lengths */
    bool done;
    uint64_t nodes;
    size_t max_item;   /* the longest string or buffer that is believed */
};

void snapscan_init(struct snapscan *s, size_t max_item);
/* Looks at more bytes. Returns how many of them belong to the snapshot: fewer than len only if s->done (or s->failed) is set. */
size_t snapscan_feed(struct snapscan *s, const void *data, size_t len);

#endif
