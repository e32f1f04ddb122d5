/* Fast leader election: the rounds in which the servers of an ensemble agree on a leader. See docs/protocol/election.md
 * sections 6 and 7.
 *
 * A state machine without system calls. What comes in are messages, with the sid of the server that sent them, and the time;
 * what goes out are calls of struct election_env. These only note what is wanted: they never call back into the election.
 * The object lives as long as the server and answers others in every state; when another configuration is activated it is
 * freed and made anew (section 8.2). */
#ifndef ZABRA_QUORUM_ELECTION_H
#define ZABRA_QUORUM_ELECTION_H

#include "quorum/qconfig.h"
#include "wire/election.h"

#define ELECTION_NOBODY INT64_MIN /* leader, zxid and peerEpoch of those who do not stand for themselves */

struct vote {
    int64_t leader;
    zxid_t zxid;            /* last one in the log of that server */
    int64_t election_epoch; /* round, -1 = none */
    int64_t peer_epoch;     /* currentEpoch of that server */
};

struct election_options {
    int64_t sid;
    bool observer;
    bool single_allowed; /* standaloneEnabled is false; for the configurations of others */
    bool no_early_end;   /* the final wait always lasts to its end */
    /* Milliseconds; 0 = default. */
    int64_t min_interval_ms; /* of silence before everybody is told again: 200 */
    int64_t max_interval_ms; /* to which that doubles: 60000; at most 5000 for who takes no part in the rounds of the others */
    int64_t final_wait_ms;   /* for a better vote after a quorum was found: 200 */
};

struct election_env {
    /* Sends a message to another server, in place of an older one that still waits. n is valid during the call. */
    void (*send)(void *ctx, int64_t sid, const struct notification *n);
    /* True if something of what was sent has left (mesh_has_delivered). */
    bool (*delivered)(void *ctx);
    /* Connects to all that something waits for (mesh_connect_all). */
    void (*connect_all)(void *ctx);
    /* True if this server is connected or about to be, so that its vote can be waited for (mesh_expected). */
    bool (*connected)(void *ctx, int64_t sid);
    /* The round has ended: lead, follow or observe. */
    void (*decided)(void *ctx, enum peer_state state, const struct vote *v);
    /* Somebody has a newer committed configuration than we, and we are LOOKING (section 8.2). The callee takes a reference if
     * it wants to keep it. True: this election will be replaced, the message is dropped. */
    bool (*config_heard)(void *ctx, struct qconfig *heard);
    /* A voter is LOOKING although we lead. NULL allowed. */
    void (*voter_looking)(void *ctx, int64_t sid);
};

struct election;

/* committed is needed, last_seen may be NULL; references are taken. LOOKING, but no round is under way. env must outlive it. */
struct election *election_new(const struct election_options *options, const struct election_env *env, void *ctx,
                              struct qconfig *committed, struct qconfig *last_seen);
void election_free(struct election *e); /* NULL allowed */

/* The committed configuration or the one last seen has changed without a new start of the election. Votes of the members
 * that remain are kept. */
void election_set_configs(struct election *e, struct qconfig *committed, struct qconfig *last_seen);
/* Begins a round (and ends one that is under way). zxid is that of the last transaction in the log, durably; -1 if the
 * database is not to be trusted. epoch is the content of the file currentEpoch. May decide at once (an ensemble of one). */
void election_look(struct election *e, zxid_t zxid, int64_t epoch, struct now now);
/* The content of a frame that came from this server, decoded. */
void election_received(struct election *e, int64_t sid, const struct notification *n, struct now now);
/* To be called when the deadline has been reached; harmless at any other time. Also when a connection has ended: the
 * final wait may be for that server alone. */
void election_tick(struct election *e, struct now now);
/* When to tick, INT64_MAX = never. */
struct monotime election_deadline(const struct election *e);

/* A role without a round: the leader was designated, or the election was made anew inside a role. */
void election_serving(struct election *e, enum peer_state state, const struct vote *v);
/* A role has ended and the next round has not begun: others hear LOOKING, what they say is kept for the round. */
void election_leave(struct election *e);
/* The new epoch is established: the leader begins to serve, the learner is up to date (section 7.6). */
void election_set_current_vote(struct election *e, const struct vote *v);

enum peer_state election_state(const struct election *e);
/* What is told when not LOOKING. */
const struct vote *election_current_vote(const struct election *e);
/* The vote stood for in the round that is under way; its election_epoch is the clock. */
struct vote election_proposal(const struct election *e);
int64_t election_clock(const struct election *e);
/* True if we lead and this voter was among those who made us leader. */
bool election_was_supporter(const struct election *e, int64_t sid);

#endif
