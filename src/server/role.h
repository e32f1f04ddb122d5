/* What part a server plays: who orders its transactions, and when they are committed. Standalone is an ensemble of one; the
 * other roles stand in quorum/. All calls come from the loop thread. */
#ifndef ZABRA_SERVER_ROLE_H
#define ZABRA_SERVER_ROLE_H

#include "base/strutil.h"
#include "base/types.h"

struct server;
struct conn;
struct request;
struct session;

struct role_ops {
    bool orders;     /* transactions are prepared here, and sessions expire here */
    bool standalone; /* nobody else has seen what is not committed yet */
    const char *mode; /* what srvr and stat say: "standalone", "leader", ... */

    /* Our own log is synced up to zxid. */
    void (*logged)(struct server *s, zxid_t zxid);

    /* orders: the transaction of r was prepared; its payload is request_payload(r). NULL: nothing to do. */
    void (*proposed)(struct server *s, struct request *r);

    /* !orders: a write, createSession or closeSession of a connection of ours goes to the leader; body is what follows the
     * request header. r stays at its place among the connection's requests until its transaction is applied. */
    void (*forward)(struct server *s, struct request *r, struct slice body);

    /* A sync of a client: r (REQUEST_SYNC) is answered by server_synced. It may go earlier: r->keeper is to point to where the
     * role keeps it. NULL: answered at once. */
    void (*sync)(struct server *s, struct request *r);

    /* A client wants to go on with a session on this server: answered by connect_renewed, now or later. NULL: decided from
     * our own table. */
    void (*renew)(struct server *s, struct conn *c, session_id_t id, int32_t timeout_ms);

    /* A snapshot, or the place in the logs, from which on files are being sent to others; 0 = none. NULL: the same. */
    zxid_t (*in_use)(const struct server *s);

    /* A session of a client of ours showed a sign of life. NULL: nothing to do. */
    void (*touched)(struct server *s, struct session *session);
};

extern const struct role_ops role_standalone;
/* A member of an ensemble without a leader: nobody is served. */
extern const struct role_ops role_looking;

#endif
