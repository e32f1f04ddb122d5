/* What the parts of recovery share: recovery.c (directories, snapshots), replay.c (logs and verdicts on damage),
 * repair.c (changes on disk). */
#ifndef ZABRA_STORE_RECOVERY_INTERNAL_H
#define ZABRA_STORE_RECOVERY_INTERNAL_H

#include "store/listing.h"
#include "store/recovery.h"

struct recovery {
    const struct disk *disk;
    const struct recovery_options *options;
    const struct recovery_sink *sink;
    struct recovery_result *result;
    struct synced_position side;
    struct store_files snapshots, logs;
    int first_log; /* of logs: those before it are not needed */
    int64_t *ends; /* by index in logs: where the entries end, if nothing but zeros follows; 0 = no zeros, or not known */
    int64_t side_log_end; /* where the entries end in the log that the side file names; 0 = not read */
    zxid_t replaced;  /* a snapshot at this zxid was to take the place of what is older; -1 = none, or all that is done */
    bool replacement; /* and it is there */
    zxid_t first_replayed; /* 0 = nothing was */
    bool base_logged; /* the last transaction of the snapshot stands in the logs, too */
    bool no_start; /* no snapshot: the logs may begin anywhere (snapshot.trust.empty) */
};

/* Ends the recovery. For use as a value: both return false. */
bool recovery_refuse(struct recovery *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool recovery_disk_failed(struct recovery *r, int err, const char *what, const char *name);
/* Adds a sentence to the result's message and logs it: something was (dry run: would be) repaired. */
void recovery_tell(struct recovery *r, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Replays all logs from first_log on. False if the recovery has ended without success. */
bool recovery_replay(struct recovery *r);

/* Takes what is at offset and behind it out of the way: later logs are renamed, the tail of this one is copied to a file of
 * its own (unless it is nothing but zeros) and cut off. why: for the message. keep: no cut if the copy fails. */
bool repair_cut(struct recovery *r, int log, int64_t offset, int64_t data_end, bool keep, const char *why);
/* Cuts off only this log's tail, which is known to be worthless; later logs stay. */
bool repair_trim(struct recovery *r, int log, int64_t offset, int64_t data_end, const char *why);
/* Renames a log so that no reader takes it for one. */
bool repair_set_aside(struct recovery *r, int log, const char *why);
/* Makes durable what was read and might not be: a server that was killed leaves written, unsynced bytes behind, and one
 * whose sync failed leaves bytes in the cache that no sync writes any more. */
bool repair_sync(struct recovery *r);
/* Cuts off the zeros behind logs that ended well. Not before repair_sync; nothing is appended to any of them again. */
void repair_give_back(struct recovery *r);
/* The side file speaks of logs that are gone, and that was accepted. */
bool repair_forget_side_file(struct recovery *r);
/* Removes left-over temporary files of ours. */
bool repair_remove_tmp(struct recovery *r);

#endif
