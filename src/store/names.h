/* Names of log and snapshot files. See docs/protocol/disk-format.md section 1. */
#ifndef ZABRA_STORE_NAMES_H
#define ZABRA_STORE_NAMES_H

#include "base/types.h"
#include "base/common.h"

#define STORE_NAME_MAX 48

enum snapshot_method { SNAPSHOT_PLAIN, SNAPSHOT_GZIP, SNAPSHOT_SNAPPY };

/* What recovery takes out of the way: <kind>.<hex of the log's name>.<number>. */
#define STORE_ASIDE_LOG "set-aside.log"         /* a log that holds nothing, or behind a cut */
#define STORE_ASIDE_TAIL "set-aside.tail"       /* the end of a log that was never acknowledged; retention removes it */
#define STORE_ASIDE_DAMAGED "set-aside.damaged" /* the end of a log with what may have been acknowledged */
void store_aside_name(char out[STORE_NAME_MAX], const char *kind, zxid_t zxid, unsigned number);
/* log.<hex> */
void store_log_name(char out[STORE_NAME_MAX], zxid_t zxid);
/* snapshot.<hex>, with .gz or .snappy */
void store_snapshot_name(char out[STORE_NAME_MAX], zxid_t zxid, enum snapshot_method method);
/* Where a snapshot is written before it gets its name: a name that no reader takes for a snapshot (Java takes
 * snapshot.<hex>.tmp for one). Start-up removes what is left of such files. */
void store_snapshot_tmp_name(char out[STORE_NAME_MAX], zxid_t zxid);
#define STORE_TMP_PREFIX "zabra."
#define STORE_TMP_SUFFIX ".tmp"
/* True for a temporary file of ours, whatever for. */
bool store_name_is_own_tmp(const char *name);
/* True if the name begins with the prefix and a dot, whether a zxid follows or not. */
bool store_name_has_prefix(const char *name, const char *prefix);
/* The zxid of a name with this prefix ("log" or "snapshot"), parsed as Java does: the second dot-separated part is a
 * signed hex number and what follows is ignored. -1 if the name is none of ours. */
zxid_t store_name_zxid(const char *name, const char *prefix);
/* By the last dot-separated part of the name, any case; unknown = plain. */
enum snapshot_method store_snapshot_method(const char *name);

#endif
