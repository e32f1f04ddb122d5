/* A client connection as the server core sees it: who is there, what was asked, what is to be sent.
 *
 * The shell (net/, or a simulator) owns the socket: it frames the input, calls server_conn_frame, and sends what stands
 * in the output. A connection with new output, or one that is to be closed, paused or resumed, is on server->dirty. */
#ifndef ZABRA_SERVER_CONN_H
#define ZABRA_SERVER_CONN_H

#include "base/list.h"
#include "base/types.h"
#include "server/session.h"
#include "tree/auth.h"
#include "tree/tree.h"

enum conn_close {
    CONN_OPEN,
    CONN_CLOSE_FLUSH, /* send the output first */
    CONN_CLOSE_NOW,
};

/* One frame that was answered late, piece by piece: the children of a large znode, then a fixed tail. */
struct conn_segment {
    struct list link;
    struct tree_listing *listing; /* NULL: only bytes */
    struct buf bytes;             /* behind the listing */
};

struct conn {
    /* What an event for thousands needs of each comes first, together. */
    struct server *server;
    void *shell;            /* of whoever owns the socket */
    struct list dirty_link; /* server->dirty */
    struct buf out;         /* to be sent first */
    size_t out_sent;        /* bytes of out that the socket took already */
    struct list segments;   /* struct conn_segment: to be sent after out */
    struct list requests;   /* struct request: not answered yet, in order of arrival */
    enum conn_close close;
    uint32_t slot;          /* index in server->slots; the watcher id */
    bool connected;         /* a ConnectRequest was accepted: frames have headers from now on */
    bool connecting;        /* session set-up is under way: nothing is read meanwhile */
    bool has_read_only;     /* the ConnectRequest had its last byte */
    bool paused;            /* the core wants no more input for now */
    bool has_watches;
    bool mute;              /* a request was left without an answer, as the connection closes: so are all behind it (S24) */
    bool is_local;          /* the peer is on this machine */
    uint64_t sent;          /* packets, for cons and stat */

    uint32_t in_flight;     /* requests with a positive xid */
    struct list all_link;   /* server->conns_all */
    struct list paused_link; /* server->paused */
    struct monotime throttled_since; /* paused by request_throttle_max_requests; 0 = not */
    int64_t throttle_wait_us;        /* how long that took, for the first request behind it */
    struct session *session;
    session_id_t session_id; /* stays after the session has gone */
    struct identity_set identities;

    /* for cons, stat and the log */
    char *peer;            /* "127.0.0.1:34166", owned */
    uint64_t received;
    int32_t last_op, last_cxid;
    zxid_t last_zxid;
    int64_t established_wall_ms, last_response_ms;
    uint64_t latency_count, latency_sum_us;
    uint32_t latency_last_us, latency_min_us, latency_max_us;
};

/* The buffer to which the next reply or event is appended. The caller marks the connection dirty afterwards. */
struct buf *conn_out(struct conn *c);
/* Puts it on server->dirty. */
void conn_dirty(struct conn *c);
/* Drops the bytes of c->out that were sent: for whoever goes on appending while the socket takes from the front. */
void conn_forget_sent(struct conn *c);
/* Moves the next piece into c->out if less than low_water bytes are left to be sent there. True if c->out has something
 * to send. Called by whoever sends. */
bool conn_refill(struct conn *c, size_t low_water);
/* Bytes of output held in memory for this connection. */
size_t conn_output_bytes(const struct conn *c);
/* Appends a frame: header and nothing else. */
void conn_reply_header(struct conn *c, int32_t xid, zxid_t zxid, int32_t err);
/* The children of a large znode follow next in the output; what is appended later goes behind them. */
struct conn_segment *conn_add_listing(struct conn *c, struct tree_listing *listing);
/* Frees all output. */
void conn_drop_output(struct conn *c);
/* Asks the shell to close it; how = CONN_CLOSE_FLUSH or CONN_CLOSE_NOW (which wins over the other). */
void conn_close_later(struct conn *c, enum conn_close how);

#endif
