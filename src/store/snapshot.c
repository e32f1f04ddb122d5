#include "store/snapshot.h"

#include <string.h>

#include "store/snapshot_format.h"
#include "wire/txn.h"

const uint8_t snappy_header[SNAPPY_HEADER_BYTES] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1};

void snapshot_put_header(struct buf *b) {
    jute_put_int(b, (int32_t)SNAPSHOT_MAGIC);
    jute_put_int(b, SNAPSHOT_VERSION);
    jute_put_long(b, -1); /* dbid, as Java writes it */
}

void snapshot_put_count(struct buf *b, int32_t count) { jute_put_int(b, count); }

void snapshot_put_session(struct buf *b, session_id_t id, int32_t timeout_ms) {
    jute_put_long(b, id);
    jute_put_int(b, timeout_ms);
}

void snapshot_put_acl(struct buf *b, int64_t disk_id, struct slice encoded) {
    jute_put_long(b, disk_id);
    buf_append(b, encoded.data, encoded.len);
}

void snapshot_put_node(struct buf *b, struct slice path, struct slice data, int64_t disk_acl, const struct node_stat *stat) {
    uint8_t *p = buf_tail(b, 4 + path.len + 4 + data.len + 8 + SNAPSHOT_STAT_BYTES), *start = p;
    p = be32_store(p, (uint32_t)path.len);
    if (path.len > 0)
        memcpy(p, path.data, path.len);
    p += path.len;
    p = be32_store(p, data.data == NULL ? UINT32_MAX : (uint32_t)data.len);
    if (data.len > 0)
        memcpy(p, data.data, data.len);
    p += data.len;
    p = be64_store(p, (uint64_t)disk_acl);
    p = be64_store(p, (uint64_t)stat->czxid);
    p = be64_store(p, (uint64_t)stat->mzxid);
    p = be64_store(p, (uint64_t)stat->ctime);
    p = be64_store(p, (uint64_t)stat->mtime);
    p = be32_store(p, (uint32_t)stat->version);
    p = be32_store(p, (uint32_t)stat->cversion);
    p = be32_store(p, (uint32_t)stat->aversion);
    p = be64_store(p, (uint64_t)stat->owner);
    p = be64_store(p, (uint64_t)stat->pzxid);
    b->len += (size_t)(p - start);
}

void snapshot_put_nodes_end(struct buf *b) { jute_put_bytes(b, SLICE_LIT("/")); }

void snapshot_put_digest(struct buf *b, zxid_t zxid, uint64_t digest) {
    jute_put_long(b, zxid);
    jute_put_int(b, DIGEST_VERSION);
    jute_put_long(b, (int64_t)digest);
}

void snapshot_put_last_zxid(struct buf *b, zxid_t zxid) { jute_put_long(b, zxid); }
