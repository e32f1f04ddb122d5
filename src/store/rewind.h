/* Takes back the end of a database's history. In an ensemble, what was logged but never committed may have to go when a
 * member joins a leader that does not have it. See docs/protocol/zab.md section 10. */
#ifndef ZABRA_STORE_REWIND_H
#define ZABRA_STORE_REWIND_H

#include "base/types.h"
#include "store/disk.h"

/* Removes snapshots and log entries above the zxid, durably, in an order in which a crash anywhere leaves a database that
 * ends somewhere between: snapshots first, then logs from the newest back. No log may be open. 0 or a negative errno; -ENODATA,
 * and nothing is changed, if no snapshot would be left. */
int store_rewind(const struct disk *d, zxid_t to);
/* Publishes a finished snapshot file that replaces the history: what lies above its zxid goes first. A mark says so until what
 * is older has gone, too: recovery goes on with it after a crash, and does not start from what is older. */
int store_replace(const struct disk *d, const char *tmp_name, zxid_t zxid);
/* Removes what is older than that snapshot, once it has been read: snapshots below it and logs; then the mark. Between them and
 * what follows there is a hole; where an epoch begins no reader would see it. */
int store_forget_older(const struct disk *d, zxid_t zxid);
/* The snapshots below it alone. */
int store_forget_older_snapshots(const struct disk *d, zxid_t zxid);
#define REPLACED_MARK_NAME "zabra.replaced"
/* *zxid: where the mark says that a history was replaced, -1 = there is no mark. 0 or a negative errno. */
int store_replaced(const struct disk *d, zxid_t *zxid);
int store_forget_replaced(const struct disk *d);

/* A member whose history is damaged, or must not be trusted for another reason, is marked: it takes part in no decision until it
 * has been given the history of a leader. The mark is a file. */
#define RESYNC_MARK_NAME "zabra.resync"
/* Marks the database and renames all snapshots and logs so that no reader takes them for ones; they stay for the operator. */
int store_abandon(const struct disk *d);
int store_mark(const struct disk *d);
bool store_is_marked(const struct disk *d);
int store_unmark(const struct disk *d);

#endif
