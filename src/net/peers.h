/* Connections to the other servers of the ensemble: the real links behind quorum/link.h, as bufferevents on the loop's base.
 *
 * Nothing here knows what is said over them. Own ports are listened on, and links dialled, as the struct link_ops below is told
 * to; an accepted link is handed to the function given at the creation. */
#ifndef ZABRA_NET_PEERS_H
#define ZABRA_NET_PEERS_H

#include <event2/event.h>

#include "bio/names.h"
#include "quorum/link.h"

struct peers;

/* Takes an accepted link by setting l->events and l->owner, or closes it. One that is left without events is closed. */
typedef void peers_accepted(void *ctx, enum link_port port, struct link *l);

/* base must outlive it. lookup: for names, NULL = the system's. NULL and errno set if there is no descriptor left. SIGPIPE has to
 * be ignored by the program. */
struct peers *peers_new(struct event_base *base, names_function *lookup, peers_accepted *accepted, void *ctx);
/* Called with the same ctx before each event of a link and each accepted one: those who hear them have to know the time. */
void peers_before_events(struct peers *p, void (*before)(void *ctx));
/* Ports and links are closed without events; what is queued is written as far as the kernel takes it at once. Not to be called
 * in an event of a link. The sockets are closed in the next turn of the base or by event_base_free. */
void peers_free(struct peers *p);

/* To be called at the end of a turn of the loop: writes what was sent in it, for each link at once. A loop that does not call it
 * writes a turn later. */
void peers_flush(struct peers *p);

/* Where to listen; a port that is open is opened anew. wildcard: on all addresses of the machine, on the ports of these. The
 * addresses are copied. */
void peers_set_addresses(struct peers *p, enum link_port port, const struct link_address *addresses, int count, bool wildcard);
/* After so many attempts without a socket on this port gave_up is called (0 = never, the default). Not inside of peers_new. */
void peers_limit_attempts(struct peers *p, enum link_port port, int attempts, void (*gave_up)(void *ctx, const char *reason));
/* Sockets that listen on this port now; 0 while it is closed, or taken by someone else. */
int peers_listening(const struct peers *p, enum link_port port);

/* What quorum/ calls; ctx is the struct peers. */
extern const struct link_ops peers_link_ops;

#endif
