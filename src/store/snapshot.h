/* The snapshot format: encoding of its pieces, and a parser. See docs/protocol/disk-format.md section 4.
 *
 * Encoding appends the uncompressed bytes of one piece to a buffer. The seals need the running checksum of the whole
 * stream, which only the one who writes the stream knows: see snapwriter.h. */
#ifndef ZABRA_STORE_SNAPSHOT_H
#define ZABRA_STORE_SNAPSHOT_H

#include "store/disk.h"
#include "store/names.h"
#include "tree/tree.h"

#define SNAPSHOT_HEADER_BYTES 16

void snapshot_put_header(struct buf *b);
void snapshot_put_count(struct buf *b, int32_t count); /* of sessions, then of ACLs */
void snapshot_put_session(struct buf *b, session_id_t id, int32_t timeout_ms);
void snapshot_put_acl(struct buf *b, int64_t disk_id, struct slice encoded);
/* path "" for the root; disk_acl -1 = open. */
void snapshot_put_node(struct buf *b, struct slice path, struct slice data, int64_t disk_acl, const struct node_stat *stat);
void snapshot_put_nodes_end(struct buf *b);
void snapshot_put_digest(struct buf *b, zxid_t zxid, uint64_t digest);
void snapshot_put_last_zxid(struct buf *b, zxid_t zxid);

/* Where a parsed snapshot goes. A function returns 0 to go on; anything else rejects the file. */
struct snapshot_sink {
    void *ctx;
    int (*session)(void *ctx, session_id_t id, int32_t timeout_ms);
    int (*acl)(void *ctx, int64_t disk_id, struct slice encoded);
    int (*node)(void *ctx, struct slice path, struct slice data, int64_t disk_acl, const struct node_stat *stat);
};

struct snapshot_info {
    bool has_digest;
    zxid_t digest_zxid;
    int32_t digest_version;
    uint64_t digest;
    bool has_last_zxid;
    zxid_t last_zxid;
    uint64_t nodes;
    char error[160]; /* why it was rejected: what and at which byte of the uncompressed stream */
};

/* Reads the uncompressed stream of a snapshot file, whatever its compression (by name). Also what feeds a link. */
struct snapstream;
struct snapstream *snapstream_open(const struct disk *d, const char *name, int *err);
/* Bytes read (0 = end), or a negative errno (-EBADMSG: the compressed stream is damaged). */
ssize_t snapstream_read(struct snapstream *s, void *data, size_t size);
void snapstream_close(struct snapstream *s);

/* Parses the whole file, seals included. 0, or a negative errno / -EBADMSG with info->error filled. max_item bounds a
 * single string or buffer. */
int snapshot_load(const struct disk *d, const char *name, const struct snapshot_sink *sink, size_t max_item,
                  struct snapshot_info *info);
/* The quick look before a file is opened at all (disk-format.md section 4.3). *err: 0, or a negative errno if the disk
 * failed to show it (then false, but that says nothing about the file). */
bool snapshot_looks_valid(const struct disk *d, const char *name, int *err);

/* Writes a stream into a temporary file in the snapshot directory, computing seals, compressing. Runs in a job. */
struct snapwriter;
/* So much of the output may wait in memory until it is written. */
#define SNAPWRITER_OUTPUT_BYTES ((size_t)256 * 1024)
struct snapwriter *snapwriter_open(const struct disk *d, const char *tmp_name, enum snapshot_method method, int *err);
int snapwriter_write(struct snapwriter *w, const void *data, size_t size);
int snapwriter_seal(struct snapwriter *w);
/* Flushes and fsyncs; *size is the size of the file. The file still has its temporary name. */
int snapwriter_finish(struct snapwriter *w, int64_t *size);
/* Closes and frees; without a finish before it the file is unlinked. */
void snapwriter_close(struct snapwriter *w);

#endif
