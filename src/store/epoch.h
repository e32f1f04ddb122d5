/* The two epoch files of a member of an ensemble. See docs/protocol/zab.md section 4. */
#ifndef ZABRA_STORE_EPOCH_H
#define ZABRA_STORE_EPOCH_H

#include "base/types.h"
#include "store/disk.h"

#define EPOCH_ACCEPTED "acceptedEpoch" /* the newest epoch that a leader has been promised */
#define EPOCH_CURRENT "currentEpoch"   /* the epoch whose history this database holds */
/* ACKEPOCH tells an epoch as a signed int. */
#define EPOCH_MAX INT64_C(0x7fffffff)

struct epochs {
    int64_t accepted, current;
};

/* Reads both; one that is missing is made from the epoch of the last logged transaction, durably. Contradictions are refused:
 * -EBADMSG with the reason in error. 0 or a negative errno otherwise. */
int epochs_read(const struct disk *d, zxid_t last_zxid, struct epochs *out, char *error, size_t error_size);
/* The content of a file; returns its length. */
int epoch_text(int64_t epoch, char out[24]);

#endif
