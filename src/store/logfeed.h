/* Reads transactions out of the log files in order, a piece at a time: for a learner that lacks more than is in memory. All of it
 * blocks, so it is for jobs, one at a time for each feed.
 *
 * The log that is being written may be among them: nothing above a limit is looked at. */
#ifndef ZABRA_STORE_LOGFEED_H
#define ZABRA_STORE_LOGFEED_H

#include "base/strutil.h"
#include "base/types.h"
#include "store/disk.h"

struct logfeed;

struct logfeed_order {
    zxid_t upto;      /* all up to it is synced; raised once LOGFEED_REACHED was returned, not before */
    size_t max_bytes; /* a piece ends with the record that reaches this */
    /* Only looked at until the first record is given: */
    int64_t max_log_bytes; /* of the files behind the one that is read first; 0 = any number */
    bool all_bytes;        /* also of what that one holds behind the start */
    zxid_t current_log;    /* zxid in the name of the one that is being written, and */
    int64_t reserved_bytes; /* how much of it is reserved and holds nothing */
};

enum logfeed_status {
    LOGFEED_MORE,    /* call again, whether this piece holds anything or not */
    LOGFEED_REACHED, /* that was all up to the limit */
    LOGFEED_FAILED,  /* for good; see why */
};

/* Records that follow each other without a gap, each with the zxid of the one before plus one. Whether the first one follows what
 * was read before is for the caller to say, who knows where epochs ended: a gap begins a new piece. */
struct logfeed_piece {
    enum logfeed_status status;
    size_t count;
    zxid_t first, last;
    zxid_t before;    /* the newest one in the logs that is not behind the start; -1 = none */
    const char *why;
};

typedef void logfeed_take(void *ctx, zxid_t zxid, struct slice payload);

/* Of what stands behind `after` in the logs. */
struct logfeed *logfeed_new(zxid_t after);
void logfeed_free(struct logfeed *f); /* NULL allowed */
struct logfeed_piece logfeed_read(struct logfeed *f, const struct disk *d, const struct logfeed_order *order, logfeed_take *take,
                                  void *ctx);

#endif
