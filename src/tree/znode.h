/* The memory of one znode. Everybody may look through the functions below; only tree/ changes anything.
 *
 * One allocation: the fixed part, for other than plain persistent nodes a struct znode_ext, the name (its own component
 * only), and the data if it fits, else a pointer to it. The fixed part is 96 bytes so that a znode with a 20-byte name
 * and 100 bytes of data takes 224 bytes of the C library's heap. */
#ifndef ZABRA_TREE_ZNODE_H
#define ZABRA_TREE_ZNODE_H

#include "base/strutil.h"
#include "base/types.h"
#include "tree/acl.h"

enum znode_flags {
    ZNODE_HAS_EXT = 1,  /* ephemeral, container or TTL: a struct znode_ext precedes the name */
    ZNODE_DATA_OUT = 2, /* behind the name stands a pointer to the data instead of the data */
    ZNODE_SYSTEM = 4,   /* below /zookeeper: not part of the digest */
    ZNODE_WATCHED = 8,  /* tree/watch has an entry that refers to this node */
    ZNODE_QUOTA = 16,   /* a quota is armed for this path */
};

/* The children of one parent. A child knows its position, so that a listing or a snapshot walk has a cursor. Deletion
 * moves the last child into the hole, unless pins say that somebody has a cursor here: then the hole stays until later. */
struct kids {
    uint32_t live;        /* children */
    uint32_t used;        /* slots in use, holes included */
    uint32_t cap;         /* slots allocated */
    uint32_t pins;        /* cursors standing in this vector */
    uint32_t first_hole;  /* index + 1 of the newest hole, 0 = none; a hole is an odd number, see kids.c */
    uint64_t name_bytes;  /* sum of the children's name lengths */
    uint64_t descendants; /* nodes below, all levels */
    uint64_t data_bytes;  /* sum of the data lengths of all of them */
    struct znode *slots[];
};

struct znode {
    struct znode *parent; /* NULL for the root */
    struct kids *kids;    /* NULL as long as there never was a child */
    zxid_t czxid, mzxid, pzxid;
    int64_t ctime, mtime;
    int32_t version;
    int32_t cversion; /* as persisted: counts creations of children */
    int32_t aversion;
    uint32_t crc;  /* CRC-32 of path and data: the digest of the node continues from here over the stat */
    uint32_t hash; /* low half of the hash of the full path */
    uint32_t pos;  /* own index in parent->kids */
    acl_id_t acl;
    uint32_t mark;    /* even generation of the last snapshot walk that has emitted this node; odd: born during it */
    int32_t data_len; /* -1 = null */
    uint32_t name_len : 24;
    uint32_t flags : 8;
    uint8_t tail[];
};

struct znode_ext {
    int64_t owner; /* session id, or the special values of docs/protocol/operations.md section 7 */
    uint32_t pos;  /* own index in the owner's list of nodes */
} __attribute__((packed));

enum znode_kind { ZNODE_PERSISTENT, ZNODE_EPHEMERAL, ZNODE_CONTAINER, ZNODE_TTL };
#define OWNER_CONTAINER INT64_MIN
#define ZNODE_NAME_MAX 0xffffffu /* bytes of one component */

/* The stat fields as they are stored in snapshots and enter the digest. */
struct node_stat {
    zxid_t czxid, mzxid, pzxid;
    int64_t ctime, mtime;
    int32_t version, cversion, aversion;
    int64_t owner;
};

static inline uint32_t znode_ext_size(const struct znode *n) {
    return n->flags & ZNODE_HAS_EXT ? (uint32_t)sizeof(struct znode_ext) : 0;
}
static inline struct slice znode_name(const struct znode *n) {
    return (struct slice){(const char *)n->tail + znode_ext_size(n), n->name_len};
}
static inline int64_t znode_owner(const struct znode *n) {
    return n->flags & ZNODE_HAS_EXT ? ((const struct znode_ext *)(const void *)n->tail)->owner : 0;
}
static inline struct slice znode_data(const struct znode *n) {
    if (n->data_len < 0)
        return SLICE_NULL;
    const uint8_t *inline_data = n->tail + znode_ext_size(n) + n->name_len, *data = inline_data;
    if (n->flags & ZNODE_DATA_OUT)
        memcpy(&data, inline_data, sizeof data);
    return (struct slice){(const char *)data, (size_t)n->data_len};
}
static inline uint32_t znode_children(const struct znode *n) { return n->kids ? n->kids->live : 0; }
static inline uint64_t znode_descendants(const struct znode *n) { return n->kids ? n->kids->descendants : 0; }

/* The stored stat. */
void znode_stat(const struct znode *n, struct node_stat *out);
/* Appends the full path ("/" for the root). */
void znode_path(const struct znode *n, struct buf *out);
/* True if the node's full path equals path (which is not normalised; "/" is the root). */
bool znode_path_is(const struct znode *n, struct slice path);

/* CRC-32 over path and data, the root's path being empty: what znode.crc holds. data.data may be NULL. */
uint32_t digest_crc(struct slice path, struct slice data);
/* The version-2 digest of a node from that CRC and its stat (docs/protocol/disk-format.md section 5). */
uint32_t digest_node(uint32_t crc, const struct node_stat *stat);

#endif
