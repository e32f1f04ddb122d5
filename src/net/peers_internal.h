/* What the files of peers share: peers.c has open links, peer_dial.c those on their way, peer_listen.c our own ports. */
#ifndef ZABRA_NET_PEERS_INTERNAL_H
#define ZABRA_NET_PEERS_INTERNAL_H

#include <event2/bufferevent.h>

#include "base/buf.h"
#include "base/log.h"
#include "net/peers.h"

#define PEER_PORTS 2

struct peer_port;
struct dial;

struct peers {
    struct event_base *base;
    struct names *names;
    struct event *names_event;
    peers_accepted *accepted;
    void (*before_event)(void *ctx); /* NULL allowed */
    void *ctx;
    struct list links;     /* struct peer, all of them */
    struct list lingering; /* of these, the ones closed by their owner, oldest first */
    struct list unflushed; /* those with something to write that peers_flush has not seen yet */
    struct event *flush_event; /* for a loop that does not call it */
    int accepted_count, lingering_count;
    int linger_ms; /* a closed link has so long to deliver what is queued */
    int retry_ms;  /* between attempts to open a port */
    int attempts[PEER_PORTS]; /* of them, before gave_up is called; 0 = as many as it takes */
    void (*gave_up)(void *ctx, const char *reason);
    struct peer_port *ports[PEER_PORTS];
    struct log_limit accept_limit, refuse_limit;
};

/*  DIALLING -> OPEN -> LINGERING -> freed    closed by the owner: what is queued leaves, then our end is shut, then we wait for
 *                                            the peer's end; all of this within linger_ms
 *      |         +-> GONE -> freed           failed, or closed by the peer: told by closed
 *      +-> GONE                              could not be connected, or closed by the owner */
enum peer_state { PEER_DIALLING, PEER_OPEN, PEER_LINGERING, PEER_GONE };

struct peer {
    struct link link; /* first */
    struct peers *peers;
    struct list in_links, in_lingering, in_unflushed;
    enum peer_state state;
    bool accepted, paused, shut;
    bool busy; /* an event of it is being handled: it must not be freed */
    struct bufferevent *bev; /* NULL while dialling. It writes (EV_WRITE is enabled) only what the socket did not take at once */
    struct event *timer;     /* DIALLING: end of the attempt; OPEN: what is left over is handed out; LINGERING: end of patience */
    struct dial *dial;       /* NULL unless dialling */
    struct buf in;           /* bytes [start, len) are not used up */
    size_t start;
    int64_t shown_ms;        /* when the owner was last called */
};

/* A new link without a socket, dialling. */
struct peer *peer_new(struct peers *p);
/* fd (nonblocking, connected) becomes the link's. False if libevent has no memory; then the caller keeps fd. */
bool peer_attach(struct peer *l, int fd, const struct sockaddr *address);
/* Tells the owner and frees the link. */
void peer_fail(struct peer *l, const char *reason);
/* To be called before each event of an owner. */
void peer_before_event(struct peer *l);
/* Hands an accepted link over; it may be closed afterwards. */
void peer_announce(struct peer *l, enum link_port port);
void peer_free(struct peer *l);

struct link *peer_dial(void *ctx, const struct link_address *addresses, int count, int64_t timeout_ms,
                       const struct link_events *events, void *owner);
/* The attempt is over: time is up, or all addresses have failed. */
void dial_ended(struct peer *l);
void dial_free(struct peer *l);

void peer_listen(void *ctx, enum link_port port, bool on);
void peer_ports_free(struct peers *p);

/* Sets the port of an address. */
void peer_address_set_port(struct names_address *a, int port);
/* "1.2.3.4:2888" or "[::1]:2888". */
void peer_address_text(const struct sockaddr *sa, char *out, size_t size);
void peer_timer(struct event *timer, int64_t ms);

#endif
