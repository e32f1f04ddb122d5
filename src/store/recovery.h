/* Start-up: which snapshot, which logs, and what to do about damage. See docs/protocol/disk-format.md section 8. */
#ifndef ZABRA_STORE_RECOVERY_H
#define ZABRA_STORE_RECOVERY_H

#include "store/logwriter.h"
#include "store/snapshot.h"
#include "store/txnlog.h"

struct recovery_options {
    bool same_dir;             /* dataDir and dataLogDir are the same: log.* and snapshot.* may stand side by side */
    bool trust_empty_snapshot; /* snapshot.trust.empty */
    bool cut_damaged;          /* recovery.cutDamagedLog: cut instead of refusing, and report */
    bool dry_run;              /* change nothing on disk */
    bool member;               /* of an ensemble: what comes next may be the beginning of an epoch */
    size_t max_item_bytes;     /* sanity bound of one string, buffer or transaction: generous, not jute.maxbuffer */
};

/* What recovery feeds. reset is called before each try of a snapshot (the first one, too): forget all loaded so far.
 * snapshot_bytes is the size of the file, for a guess at what is coming; 0 = none. */
struct recovery_sink {
    void *ctx;
    void (*reset)(void *ctx, int64_t snapshot_bytes);
    struct snapshot_sink snapshot;
    /* The snapshot is complete (or there is none: then info is NULL). zxid: from its name; 0 when empty. */
    int (*snapshot_done)(void *ctx, zxid_t zxid, const struct snapshot_info *info);
    /* One transaction, in order; those at or below the snapshot's zxid are not given. Non-zero, with nothing changed, if it
     * cannot be applied: that is damage like any other, refused or (cut_damaged) cut. */
    int (*txn)(void *ctx, zxid_t zxid, struct slice payload);
};

enum recovery_status {
    RECOVERY_OK,
    RECOVERY_REFUSED, /* data is there but must not be opened as it is; message says file, offset, what to do */
    RECOVERY_IO,      /* the disk failed */
};

struct recovery_result {
    enum recovery_status status;
    char message[512];
    bool fresh;               /* no snapshot and no log: a new database */
    zxid_t snapshot_zxid;     /* -1 = none */
    char snapshot_name[STORE_NAME_MAX];
    zxid_t last_zxid;
    uint64_t txns_replayed;
    int64_t log_bytes;        /* size of the logs behind the snapshot, for the snapshot trigger */
    int64_t snapshot_us, replay_us;
    bool cut;                 /* a tail was cut; message says what */
};

/* Loads everything into sink; repairs what may be repaired (unless dry_run): a torn or unacknowledged tail is cut, an
 * empty or headerless last log and logs behind a cut are set aside under a name that no reader takes for a log. Every
 * repair and every decision is logged. */
void recovery_run(const struct disk *d, const struct recovery_options *options, const struct recovery_sink *sink,
                  struct recovery_result *result);

#endif
