/* Listening sockets: accepting, limits per address and in total, back-off when descriptors run out. */
#ifndef ZABRA_NET_LISTENER_H
#define ZABRA_NET_LISTENER_H

#include "net/net.h"

/* Opens a socket for each configured address (none: all IPv6 and IPv4 addresses). False (and the reason in the log) if
 * one cannot be opened. */
bool listeners_open(struct net *net);
/* No new connections; those that wait are refused. */
void listeners_close(struct net *net);
/* A client has gone: its address may have another one. */
void listener_release(struct net *net, uint64_t address_key);

#endif
