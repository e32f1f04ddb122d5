/* Client connections: sockets, framing, sending. See docs/protocol/client-protocol.md section 2. */
#ifndef ZABRA_NET_CLIENT_H
#define ZABRA_NET_CLIENT_H

#include <event2/event_struct.h>
#include <sys/socket.h>

#include "net/net.h"

struct client {
    struct list link;       /* net->clients */
    struct list ready_link; /* net->ready or net->waiting */
    struct net *net;
    struct conn *conn;
    int fd;
    uint64_t address_key; /* for the limit per address */
    struct event read_event, write_event;
    bool reading, writing; /* which of the events are armed */
    bool admitted;         /* the length of the frame at the start of in was looked at */
    bool starved;          /* what is kept cannot be processed before more has come */
    struct buf in;         /* an incomplete frame, or what is not processed yet */
    size_t in_start;       /* bytes of in already processed */
    uint32_t drain;        /* bytes of an oversize frame still to be skipped */
    uint32_t oversize;     /* its length; 0 = none */
    struct word *word;     /* whose answer is given out over several turns, or NULL; see words.c */
    struct monotime accepted;
};

/* Takes the socket over. address: the peer's. */
void client_accept(struct net *net, int fd, const struct sockaddr *address, uint64_t address_key, struct now now);
/* Goes on with what is left over: input behind a pause, output that did not fit into one turn. */
void client_continue(struct client *c, struct now now);
/* Sends what there is, closes if asked, arms events as the connection's state wants. */
void client_settle(struct client *c, struct now now);
/* Closes the socket and frees the client, also in the core. */
void client_close(struct client *c, struct now now);
/* Now and then for each client: buffers of idle connections, time limits of those without a session. */
void client_sweep(struct client *c, struct now now);
/* The client of a connection of the core. */
struct client *client_of(struct conn *conn);

#endif
