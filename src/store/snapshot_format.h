/* Numbers of the snapshot format that its writer and its reader share. See docs/protocol/disk-format.md section 4. */
#ifndef ZABRA_STORE_SNAPSHOT_FORMAT_H
#define ZABRA_STORE_SNAPSHOT_FORMAT_H

#include <stdint.h>

#define SNAPSHOT_MAGIC 0x5a4b534eu /* "ZKSN" */
#define SNAPSHOT_VERSION 2
#define SNAPSHOT_STAT_BYTES 60
#define SNAPSHOT_SEAL_BYTES 13 /* long checksum, ustring "/" */
#define SNAPSHOT_ZXID_BYTES 8
#define SNAPSHOT_DIGEST_BYTES 20 /* long zxid, int version, long digest */

/* Framing of snappy snapshots, section 4.4: this header, then blocks of {int length, compressed bytes}. */
#define SNAPPY_HEADER_BYTES 16
#define SNAPPY_BLOCK_BYTES 32768
extern const uint8_t snappy_header[SNAPPY_HEADER_BYTES];

#endif
