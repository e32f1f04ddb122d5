/* One client connection and its session: connecting, frames, the queue of outstanding requests, pings, orderly close.
 *
 * Every frame that arrives is checked here (order of xids, order of zxids, shape through request_check) before the test
 * hears of it through struct conn_handler.
 *
 * States: CLOSED -> HANDSHAKE (from connect() on) -> READY -> CLOSING -> CLOSED; a lost connection goes to CLOSED from
 * anywhere and may be opened again, which resumes its session. */
#ifndef ZABRA_BENCHMARK_CONN_H
#define ZABRA_BENCHMARK_CONN_H

#include <event2/event_struct.h>

#include "benchmark/bench.h"

struct conn;
struct pool;

enum conn_state { CONN_CLOSED, CONN_HANDSHAKE, CONN_READY, CONN_CLOSING };

/* What a test hears. Times are those of the read that brought the bytes. Any call may send on c or close it. */
struct conn_handler {
    /* The session is there, new or resumed. NULL = nothing to do. */
    void (*on_ready)(struct conn *c, int64_t now_ns);
    /* A reply came; good says whether it was right (a wrong one has been counted). NULL = nothing to do. */
    void (*on_reply)(struct conn *c, const struct op *op, bool good, int64_t now_ns);
    /* A watch fired. NULL = events are wrong. */
    void (*on_event)(struct conn *c, int32_t type, struct slice path, int64_t now_ns);
    /* The session was closed as asked. NULL = nothing to do. */
    void (*on_closed)(struct conn *c, int64_t now_ns);
    /* The connection is gone, or could not be made, or (expired) the server did not resume the session. NULL = that
     * breaks the step. */
    void (*on_lost)(struct conn *c, bool expired, const char *why);
};

struct conn {
    struct pool *pool;
    uint32_t index; /* in the pool */
    size_t server;  /* which one it connects to; they are counted round and round */
    int priority;   /* of its events */
    enum conn_state state;
    int fd;              /* -1 = none */
    unsigned generation; /* changes with every close, so that a parser notices a handler that closed under it */
    struct event read_event, write_event;
    struct buf in;  /* the beginning of a frame that is not complete yet */
    struct buf out; /* bytes not accepted by the socket yet, from out_sent on */
    size_t out_sent;
    /* Outstanding requests: a ring of ring_size (a power of two) ops. */
    struct op *ring;
    uint32_t ring_size, ring_front, inflight;
    int32_t last_xid;
    session_id_t session_id; /* 0 = a new session will be asked for */
    uint8_t password[PASSWORD_BYTES];
    int32_t timeout_ms; /* negotiated */
    zxid_t last_zxid;
    int32_t reply_err; /* error code of the reply that is being handled */
    int64_t last_sent_ns, last_heard_ns;
    int64_t opened_ns; /* when connecting began */
    uint64_t user;     /* free for the test */
};

/* The next conn_open tries another server. */
void conn_next_server(struct conn *c);
/* priority is one of BENCH_PRIORITY_... */
void conn_init(struct conn *c, struct pool *pool, uint32_t index, int priority);
/* Frees what the connection holds, closing it without ceremony if it is open. */
void conn_free(struct conn *c);
/* Begins to connect; resumes the session if there is one. */
void conn_open(struct conn *c);
/* Closes the socket at once; the session lives on at the server. */
void conn_drop(struct conn *c);
/* Forgets the session, so that the next conn_open asks for a new one. */
void conn_forget_session(struct conn *c);
/* Queues a request; op->xid is filled in, op->start_ns is the caller's. Bytes leave with conn_flush; inside a handler
 * call that happens by itself. */
void conn_send(struct conn *c, const struct op *op);
void conn_flush(struct conn *c);
/* Queues closeSession; on_closed is called when the server has answered and closed its end. */
void conn_close_session(struct conn *c);
/* Sends a ping if the session needs one, and gives up a server that is silent for too long. */
void conn_tick(struct conn *c, int64_t now_ns);

#endif
