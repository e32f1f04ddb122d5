/* The connections of the election port: one per pair of servers, made when there is something to say. See
 * docs/protocol/election.md section 2.
 *
 * Without system calls: it works on links (link.h). Time is that of the last call that had it, so mesh_tick comes first in a
 * turn in which links have something to tell. When another configuration is activated the mesh is freed and made anew; then
 * all connections end. */
#ifndef ZABRA_QUORUM_MESH_H
#define ZABRA_QUORUM_MESH_H

#include "base/types.h"
#include "quorum/link.h"
#include "quorum/qconfig.h"

struct mesh_options {
    int64_t sid;
    const struct link_address *addresses; /* our own election addresses, at least one; copied */
    int address_count;
    bool multi_address; /* tell all of them, not just the first */
    /* 0 = default */
    int64_t connect_timeout_ms;   /* 5000 */
    int64_t handshake_timeout_ms; /* for the initial message, 10000 */
    int unidentified_max;         /* accepted links whose initial message has not arrived: 64 */
    int strangers_max;            /* sids outside of the configurations: 64 */
};

/* These may send, connect and ask, but not accept, tick, change configurations or free the mesh. */
struct mesh_env {
    /* The content of a frame, valid during the call. */
    void (*received)(void *ctx, int64_t sid, const uint8_t *data, size_t len);
    /* A connection is there or has ended. Not called when a new one takes the place of another. NULL allowed. */
    void (*connection)(void *ctx, int64_t sid, bool up);
};

struct mesh;

/* Opens the election port. References to the configurations are taken, last_seen may be NULL; links and env must outlive it. */
struct mesh *mesh_new(const struct mesh_options *options, const struct link_ops *links, void *links_ctx,
                      const struct mesh_env *env, void *ctx, struct qconfig *committed, struct qconfig *last_seen,
                      struct now now);
/* Closes all links and the port. NULL allowed. */
void mesh_free(struct mesh *m);

/* Where servers are has changed, without a new start of the election. Connections stay. */
void mesh_set_configs(struct mesh *m, struct qconfig *committed, struct qconfig *last_seen);
/* Takes over a link to the election port. */
void mesh_accepted(struct mesh *m, struct link *l, struct now now);
/* Sends the content of a frame (copied), up to 512 KiB, in place of an older one that still waits. Connects if necessary. What
 * goes to a sid that is neither configured nor connected is dropped. */
void mesh_send(struct mesh *m, int64_t sid, const void *data, size_t len);
/* Connects to every server that something was sent to. */
void mesh_connect_all(struct mesh *m);

/* Only tells the time: for what links tell between two turns. */
void mesh_set_now(struct mesh *m, struct now now);
/* To be called first in a turn, and when the deadline has been reached. */
void mesh_tick(struct mesh *m, struct now now);
/* When to tick, INT64_MAX = never. */
struct monotime mesh_deadline(const struct mesh *m);

bool mesh_connected(const struct mesh *m, int64_t sid);
/* True also if it was there a moment ago and the connection is being made: something may soon be heard of it. */
bool mesh_expected(const struct mesh *m, int64_t sid);
/* True if there is a destination for which nothing waits. */
bool mesh_has_delivered(const struct mesh *m);
/* Accepted links that have not said who they are. */
int mesh_unidentified(const struct mesh *m);

#endif
