/* A connection to another server of the ensemble, as the state machines see it. net/ makes links of bufferevents, the
 * simulator of its queue. */
#ifndef ZABRA_QUORUM_LINK_H
#define ZABRA_QUORUM_LINK_H

#include "base/common.h"

enum link_port { LINK_ELECTION, LINK_QUORUM };

struct link_address {
    const char *host;
    int port;
};

struct link;

/* What a link's owner wants to hear. The owner is free to close the link in any of these calls but closed. */
struct link_events {
    /* A dialled link is connected: it may be sent on. */
    void (*opened)(struct link *l);
    /* Bytes are there, together with those that were left over last time. Returns how many were used up. Everything that is
     * complete is to be taken now: the next call comes when more has arrived (or after a pause), not because of what was left.
     * One that needs a certain number of bytes sets link->want, so that it is not called for every piece of a large frame. */
    size_t (*received)(struct link *l, const uint8_t *data, size_t len);
    /* The peer closed it, it failed, or it could not be connected (reason, for the log). It is gone after the return. Not
     * called for links that their owner closes. */
    void (*closed)(struct link *l, const char *reason);
};

/* Bytes that several links send: whoever holds a reference may read them, the last one to give it back frees them. */
struct link_bytes {
    unsigned refs;
    size_t len;
    uint8_t data[];
};

/* A copy of the bytes, with one reference. */
struct link_bytes *link_bytes_new(const void *data, size_t len);
/* NULL allowed. */
void link_bytes_unref(struct link_bytes *b);

/* Embedded by whoever provides links. */
struct link {
    const struct link_events *events;
    void *owner;
    size_t want;   /* set in received: the next call comes when so many bytes are there, counted from the first that was not
                    * used up, but while bytes arrive at least once a second: the peer is alive. Holds for one call, 0 again
                    * before each; 0 = as soon as there is anything new. The owner has checked that it is a sane length: so
                    * much may be kept in memory */
    char peer[64]; /* printable address of the other side; of one that is being dialled, the first address as it was given */
};

/* Provided by the world; each function only enqueues and never calls back. */
struct link_ops {
    /* Connects to one of the addresses, whichever answers first; the names are looked up each time. What comes of it is
     * told by opened or closed. timeout_ms bounds the attempt, the look-up included. The addresses are copied. */
    struct link *(*dial)(void *ctx, const struct link_address *addresses, int count, int64_t timeout_ms,
                         const struct link_events *events, void *owner);
    /* Copies the bytes; they leave in order, later. Not before the link is open. What is sent within one call of an event
     * leaves in one segment if it fits. */
    void (*send)(void *ctx, struct link *l, const void *data, size_t len);
    /* As send, but takes a reference instead of a copy, until the bytes have left. NULL = there is only send. */
    void (*send_shared)(void *ctx, struct link *l, struct link_bytes *b);
    /* What was sent before is still delivered if that works without waiting long. No more events come, and the link is
     * not to be used again; inside an event of this link it stays readable until the return. */
    void (*close)(void *ctx, struct link *l);
    /* Bytes that were sent and have not left yet. */
    size_t (*unsent)(void *ctx, const struct link *l);
    /* No bytes are read, and no received comes, while paused; nor is it noticed then that the peer has closed it. What was
     * left over comes again after the pause. */
    void (*pause)(void *ctx, struct link *l, bool paused);
    /* Opens or closes a port of our own. Accepted links arrive as quorum_accepted calls, none after the port was closed;
     * links accepted before stay. A port that is taken is tried again until it is free. */
    void (*listen)(void *ctx, enum link_port port, bool on);
};

#endif
