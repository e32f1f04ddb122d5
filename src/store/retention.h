/* Which files may go. See docs/protocol/disk-format.md section 10. */
#ifndef ZABRA_STORE_RETENTION_H
#define ZABRA_STORE_RETENTION_H

#include "store/disk.h"
#include "store/names.h"

struct retention_options {
    int keep;           /* the newest so many valid snapshots stay */
    zxid_t known_good;  /* a snapshot that was read to its end, or written by this process; -1 = none */
    zxid_t in_use;      /* a snapshot, or the place in the logs, from which on somebody still reads; 0 = none */
    int64_t need_bytes; /* > 0: so much is needed on the log's disk; then fewer stay if, and only if, that yields it */
    int64_t wish_bytes; /* the same; if it cannot be had, need_bytes counts */
    bool same_disk;     /* what snapshots take up is on the log's disk, too */
};

struct retention_plan {
    char (*snapshots)[STORE_NAME_MAX]; /* names to delete in the snapshot directory */
    int snapshot_count;
    char (*logs)[STORE_NAME_MAX]; /* names to delete in the log directory */
    int log_count;
    int64_t bytes; /* that this frees on the log's disk, by the sizes of the files */
};

/* Reads both directories and decides: the newest valid snapshots stay, with every log that the oldest of them needs; the tails
 * that recovery cut off older logs go with these. What is in_use counts as one more that is kept. Files whose names do not parse
 * exactly as ours, and everything newer than the oldest kept snapshot, are never touched; without a valid snapshot nothing is.
 * Valid means what can be told from outside, so the snapshot known_good stays with what it needs, too, and fewer than keep stay
 * only if it is among them. Returns 0 or a negative errno. Runs in a job. */
int retention_plan_make(const struct disk *d, const struct retention_options *options, struct retention_plan *plan);
void retention_plan_free(struct retention_plan *plan);

#endif
