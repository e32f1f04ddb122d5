/* A request between its arrival and its reply. */
#ifndef ZABRA_SERVER_REQUEST_H
#define ZABRA_SERVER_REQUEST_H

#include "base/list.h"
#include "base/types.h"
#include "store/logwriter.h"
#include "wire/jute.h"

struct conn;
struct change;
struct identity_set;

/* Encoded log entries that are written and synced together; requests hold on to it until they are applied. */
struct batch {
    struct buf data;
    uint32_t refs;   /* requests not applied yet, plus one while it is filled or written */
    uint32_t count;  /* transactions */
    bool roll;       /* starts a new log file */
    struct monotime opened; /* when its first transaction came */
    uint32_t gathered;      /* transactions at the end of the last turn that it waited for more */
    uint32_t gather_turns;  /* how many it has waited */
    struct iovec iov;
    struct log_cmd cmd;
};

enum request_kind {
    REQUEST_READ,    /* waits for writes of its connection that came before */
    REQUEST_REFUSED, /* as a read; the answer is error and nothing else */
    REQUEST_WRITE,   /* proposed as a transaction */
    REQUEST_CONNECT, /* the createSession of a new connection */
    REQUEST_SYNC,    /* a sync that the role has yet to confirm; then it is a read */
};

struct request {
    struct list conn_link; /* conn->requests; unlinked for internal ones and when the connection has gone */
    struct list txn_link;  /* server->outstanding, for proposed ones */
    struct conn *conn;     /* NULL: nobody waits for the reply */
    enum request_kind kind;
    int32_t xid, op;
    int32_t error;       /* of a refused one */
    struct request **keeper; /* SYNC: where the role keeps it; NULL is put there when it goes */
    bool forwarded;      /* was sent to the leader: waits for the transaction with its session and xid */
    uint64_t origin;     /* who asks, see session->owner; 0 = the server itself */
    struct identity_set *remote; /* identities of the client of another member; owned */
    size_t charged;      /* bytes counted in server->queued_bytes */
    size_t large;        /* bytes counted in server->large_bytes */
    uint32_t identities; /* how many of the connection's identities count: those that were there when it was read */
    struct monotime received;

    /* proposed: where its payload stands */
    zxid_t zxid;
    struct batch *batch;
    size_t offset, len;
    struct change *changes; /* its pending change records */
    struct buf stat_results; /* multi: one byte per operation, 1 = a create whose result has a Stat; empty = none */
    session_id_t session_id;

    /* deferred reads: the frame behind the header */
    size_t body_len;
    uint8_t body[];
};

#endif
