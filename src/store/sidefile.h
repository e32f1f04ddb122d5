/* The side file: how far the log is known to be synced (struct synced_position in logwriter.h).
 *
 * Two slots in two pages, written in turn, each with a sequence number and a checksum, so that a crash while one is
 * written leaves the other. See docs/protocol/disk-format.md section 13. */
#ifndef ZABRA_STORE_SIDEFILE_H
#define ZABRA_STORE_SIDEFILE_H

#include "store/logwriter.h"

struct side_file {
    const struct disk *disk;
    int handle; /* -1 = not open */
    uint64_t sequence;
};

#define SIDE_FILE_CLOSED ((struct side_file){.handle = -1})

/* Opens it for writing; creates it (durably) if it is missing. 0 or a negative errno. */
int side_file_open(struct side_file *s, const struct disk *d);
/* Notes the position in the older slot; durable: and syncs. It must be a true lower bound already. */
int side_file_note(struct side_file *s, const struct synced_position *position, bool durable);
void side_file_close(struct side_file *s);

#endif
