/* A database for tests of the store: a tree and the timeouts of its sessions, filled by recovery. The rules of apply are
 * those of docs/protocol/disk-format.md section 7, written down once more and without the server around them. */
#ifndef ZABRA_TESTS_STORE_DB_H
#define ZABRA_TESTS_STORE_DB_H

#include "base/hmap.h"
#include "store/recovery.h"
#include "tree/tree.h"

struct store_db {
    struct tree *tree;
    struct hmap sessions; /* id → timeout + 1 as pointer */
    struct hmap acl_ids;  /* disk id + 2 → acl id + 1 as pointer */
    zxid_t last_zxid;
    zxid_t digest_from; /* transactions below it are not compared: the snapshot was fuzzy */
    uint64_t digests_compared, digest_mismatches;
    uint64_t resets, txns;
    struct recovery_sink sink; /* hand this to recovery_run */
};

void store_db_init(struct store_db *db);
void store_db_close(struct store_db *db);
/* As a server after recovery: ephemerals without a session go. */
void store_db_drop_orphans(struct store_db *db);

/* recovery_run with the usual options, and store_db_drop_orphans. */
void store_db_recover(struct store_db *db, const struct disk *d, const struct recovery_options *options,
                      struct recovery_result *result);
/* What tests start from: same directory, a bound of 64 MiB. */
struct recovery_options store_db_options(void);

#endif
