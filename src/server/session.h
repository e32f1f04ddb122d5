/* Sessions: who they are, until when they live, which connection speaks for them.
 * See docs/protocol/operations.md section 13. */
#ifndef ZABRA_SERVER_SESSION_H
#define ZABRA_SERVER_SESSION_H

#include "base/expiry.h"
#include "base/hmap.h"
#include "base/types.h"

struct conn;

struct session {
    struct expiry_node expiry;
    session_id_t id;
    struct conn *conn;       /* the connection that speaks for it, or NULL */
    int32_t timeout_ms;      /* as created; what the snapshot holds */
    int32_t live_timeout_ms; /* as last negotiated */
    uint64_t owner;          /* leader: who asks for it, OWNER_SELF or the id of a member's link; 0 = not known yet */
    bool reported;           /* learner: stands in the table of touched sessions */
    bool in_db;              /* its createSession has been applied */
    bool closing;            /* no more requests; a closeSession is or will be proposed */
    bool close_prepared;     /* its ephemerals count as deleted for whoever prepares from now on */
};

#define OWNER_SELF 1u

struct sessions {
    struct hmap by_id;
    struct expiry expiry;
    int64_t next_id;
};

struct server;

/* tick_ms is the bucket width. */
void sessions_init(struct sessions *s, int64_t tick_ms, int64_t server_id, struct now now);
void sessions_free(struct sessions *s);
struct session *session_find(const struct sessions *s, session_id_t id);
/* A new id, never used before by this server. */
session_id_t session_next_id(struct sessions *s);
/* Adds a session (not yet in the database); the id must be new. */
struct session *session_add(struct sessions *s, session_id_t id, int32_t timeout_ms);
/* Forgets it; its connection must have let go before. */
void session_remove(struct sessions *s, struct session *session);
/* Pushes its expiry; a closing session is left alone. */
void session_touch(struct sessions *s, struct session *session, struct now now);
/* All sessions start over with their full timeout: after a start or a stall of our own. */
void sessions_touch_all(struct sessions *s, struct now now);
/* One session whose time has come, taken off the expiry queue; NULL if there is none. */
struct session *session_pop_expired(struct sessions *s, struct now now);

#endif
