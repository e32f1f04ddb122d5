/* Which files may go. See docs/protocol/disk-format.md section 10. */
#ifndef ZABRA_STORE_RETENTION_H
#define ZABRA_STORE_RETENTION_H

#include "store/disk.h"
#include "store/names.h"

struct retention_plan {
    char (*snapshots)[STORE_NAME_MAX]; /* names to delete in the snapshot directory */
    int snapshot_count;
    char (*logs)[STORE_NAME_MAX]; /* names to delete in the log directory */
    int log_count;
};

/* Reads both directories and decides: the newest keep valid snapshots stay, with every log that the oldest of them needs.
 * Files whose names do not parse exactly as ours, and everything newer than the oldest kept snapshot, are never touched;
 * without a valid snapshot nothing is. Returns 0 or a negative errno. Runs in a job. */
int retention_plan_make(const struct disk *d, int keep, struct retention_plan *plan);
void retention_plan_free(struct retention_plan *plan);

#endif
