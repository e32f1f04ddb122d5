/* A server as a member of an ensemble: its links, its ports, and the time for what they tell. */
#ifndef ZABRA_NET_MEMBER_H
#define ZABRA_NET_MEMBER_H

#include "net/net.h"
#include "quorum/qconfig.h"

struct member;

/* Opens the election port and takes part from the next turn on. The server was started with server_start_member. config: taken
 * over with one reference. NULL, with the reason in error, if that is impossible. */
struct member *member_new(struct net *net, struct qconfig *config, int64_t sid, char *error, size_t error_size);
/* Closes all links; before the loop goes, and behind the last completion. NULL allowed. */
void member_free(struct member *m);

#endif
