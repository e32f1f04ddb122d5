/* The requests that the benchmark sends, and the strict check of what comes back. One row per kind in request.c.
 *
 * Znode names are fixed-width: a kind's prefix and 16 decimal digits, 20 bytes in all. Data is a fixed pattern that
 * begins with the digits of its znode (if it is at least 16 bytes long), so that a get shows whose data it got. */
#ifndef ZABRA_BENCHMARK_REQUEST_H
#define ZABRA_BENCHMARK_REQUEST_H

#include "base/buf.h"
#include "wire/records.h"

#define NAME_DIGITS 16

/* Where a numbered znode lives below the path prefix. */
enum name_kind {
    NAME_KEY,   /* key-N: what get, set, mixed, multi and the watches use */
    NAME_NEW,   /* new-N: what create makes and delete removes */
    NAME_CHILD, /* children/key-N */
    NAME_KINDS
};

enum request_kind {
    REQUEST_GET,
    REQUEST_GET_WATCH,
    REQUEST_SET,
    REQUEST_CREATE,
    REQUEST_DELETE,
    REQUEST_MULTI,       /* count setData operations on consecutive znodes, wrapping at the keyspace */
    REQUEST_CHILDREN,    /* lists the parent of NAME_CHILD, which has count children */
    REQUEST_SET_WATCHES, /* setWatches2 with data watches on count consecutive znodes, wrapping at the keyspace */
    REQUEST_ADD_WATCH,   /* persistent */
    REQUEST_CREATE_PATH, /* key = index into request_env.paths */
    REQUEST_DELETE_PATH,
    REQUEST_ECHO_GET, /* as get and set, but the reply is only checked for its shape */
    REQUEST_ECHO_GET_WATCH,
    REQUEST_ECHO_SET,
    REQUEST_PING,
    REQUEST_KEEPALIVE, /* a ping that the connection sent by itself */
    REQUEST_CLOSE,
    REQUEST_KINDS
};

/* One request in flight. */
struct op {
    int64_t start_ns; /* when it was sent; in the open loop, when it should have been */
    uint64_t key;
    uint32_t count; /* see request_kind */
    int32_t xid;
    enum request_kind kind;
    enum name_kind name;
    int32_t tolerated; /* an error code that is as good as success, such as ZK_NO_NODE when cleaning up; 0 = none */
};

/* What the texts of requests are made of. */
struct request_env {
    char *names[NAME_KINDS]; /* full paths; the last NAME_DIGITS bytes are overwritten for each request */
    size_t name_len[NAME_KINDS];
    char *children_path;
    const char *const *paths; /* of the ..._PATH kinds; owned by the caller */
    uint8_t *data;
    size_t data_len;
    uint64_t keyspace;
    char why[200]; /* text of the last failed check */
};

void request_env_init(struct request_env *env, const char *prefix, size_t data_len, uint64_t keyspace);
void request_env_free(struct request_env *env);

/* The path of a numbered znode. Valid until the next call that uses env. */
struct slice request_path(struct request_env *env, enum name_kind name, uint64_t key);
/* Appends the whole frame of op to out. last_zxid is what a setWatches2 tells that the client has seen. */
void request_put(struct request_env *env, struct buf *out, const struct op *op, zxid_t last_zxid);
/* Checks the reply to op, header already read. Returns NULL if it is right, else what is wrong (valid until the next
 * check). A tolerated error counts as right. */
const char *request_check(struct request_env *env, const struct op *op, const struct reply_header *header,
                          struct jute_in *body);
/* True for kinds that change the tree: they are reported apart from reads. */
bool request_is_write(enum request_kind kind);
const char *request_name(enum request_kind kind);

/* Writes the NAME_DIGITS decimal digits of value, without a closing NUL. */
void request_digits(char *out, uint64_t value);
/* Fills data with the pattern that every znode of the benchmark holds. */
void request_pattern(uint8_t *data, size_t len);

#endif
