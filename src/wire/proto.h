/* Numbers of the client protocol: opcodes, error codes, flags. See docs/protocol/client-protocol.md. */
#ifndef ZABRA_WIRE_PROTO_H
#define ZABRA_WIRE_PROTO_H

#include <stdint.h>

enum opcode {
    OP_NOTIFICATION = 0,
    OP_CREATE = 1,
    OP_DELETE = 2,
    OP_EXISTS = 3,
    OP_GET_DATA = 4,
    OP_SET_DATA = 5,
    OP_GET_ACL = 6,
    OP_SET_ACL = 7,
    OP_GET_CHILDREN = 8,
    OP_SYNC = 9,
    OP_PING = 11,
    OP_GET_CHILDREN2 = 12,
    OP_CHECK = 13,
    OP_MULTI = 14,
    OP_CREATE2 = 15,
    OP_RECONFIG = 16,
    OP_CHECK_WATCHES = 17,
    OP_REMOVE_WATCHES = 18,
    OP_CREATE_CONTAINER = 19,
    OP_DELETE_CONTAINER = 20,
    OP_CREATE_TTL = 21,
    OP_MULTI_READ = 22,
    OP_AUTH = 100,
    OP_SET_WATCHES = 101,
    OP_SASL = 102,
    OP_GET_EPHEMERALS = 103,
    OP_GET_ALL_CHILDREN_NUMBER = 104,
    OP_SET_WATCHES2 = 105,
    OP_ADD_WATCH = 106,
    OP_WHO_AM_I = 107,
    OP_CREATE_SESSION = -10,
    OP_CLOSE_SESSION = -11,
    OP_ERROR = -1,
};

/* The codes that travel in ReplyHeader.err; our own functions use them as results, too. */
enum zk_error {
    ZK_OK = 0,
    ZK_RUNTIME_INCONSISTENCY = -2,
    ZK_MARSHALLING_ERROR = -5,
    ZK_UNIMPLEMENTED = -6,
    ZK_BAD_ARGUMENTS = -8,
    ZK_UNKNOWN_SESSION = -12,
    ZK_NEW_CONFIG_NO_QUORUM = -13,
    ZK_RECONFIG_IN_PROGRESS = -14,
    ZK_NO_NODE = -101,
    ZK_NO_AUTH = -102,
    ZK_BAD_VERSION = -103,
    ZK_NO_CHILDREN_FOR_EPHEMERALS = -108,
    ZK_NODE_EXISTS = -110,
    ZK_NOT_EMPTY = -111,
    ZK_SESSION_EXPIRED = -112,
    ZK_INVALID_ACL = -114,
    ZK_AUTH_FAILED = -115,
    ZK_SESSION_MOVED = -118,
    ZK_NOT_READ_ONLY = -119,
    ZK_EPHEMERAL_ON_LOCAL_SESSION = -120,
    ZK_NO_WATCHER = -121,
    ZK_RECONFIG_DISABLED = -123,
    ZK_SESSION_CLOSED_REQUIRE_AUTH = -124,
    ZK_QUOTA_EXCEEDED = -125,
    ZK_THROTTLED_OP = -127,
};

enum { XID_NOTIFICATION = -1, XID_PING = -2, XID_AUTH = -4, XID_SET_WATCHES = -8 };

enum { PERM_READ = 1, PERM_WRITE = 2, PERM_CREATE = 4, PERM_DELETE = 8, PERM_ADMIN = 16, PERM_ALL = 31 };

enum create_flags {
    CREATE_PERSISTENT = 0,
    CREATE_EPHEMERAL = 1,
    CREATE_PERSISTENT_SEQUENTIAL = 2,
    CREATE_EPHEMERAL_SEQUENTIAL = 3,
    CREATE_CONTAINER = 4,
    CREATE_PERSISTENT_TTL = 5,
    CREATE_PERSISTENT_SEQUENTIAL_TTL = 6,
};

enum event_type {
    EVENT_NODE_CREATED = 1,
    EVENT_NODE_DELETED = 2,
    EVENT_NODE_DATA_CHANGED = 3,
    EVENT_NODE_CHILDREN_CHANGED = 4,
};
enum { STATE_SYNC_CONNECTED = 3 };

enum watcher_type { WATCHER_CHILDREN = 1, WATCHER_DATA = 2, WATCHER_ANY = 3, WATCHER_PERSISTENT = 4, WATCHER_RECURSIVE = 5 };
enum add_watch_mode { ADD_WATCH_PERSISTENT = 0, ADD_WATCH_PERSISTENT_RECURSIVE = 1 };

#define PASSWORD_BYTES 16
#define STAT_BYTES 68
#define REPLY_HEADER_BYTES 16
#define REQUEST_HEADER_BYTES 8

/* The name for logs and statistics, such as "create2"; "unknown" for others. */
const char *proto_op_name(int32_t op);
/* The four-letter code that `cons` prints, such as CREA; "NA" for others. */
const char *proto_op_code(int32_t op);

#endif
