/* A member of an ensemble: election, then one of the roles, then election again. One struct quorum belongs to one struct
 * server; nothing below knows how links are made or what time it is. */
#ifndef ZABRA_QUORUM_QUORUM_H
#define ZABRA_QUORUM_QUORUM_H

#include "quorum/link.h"
#include "quorum/qconfig.h"
#include "server/ensemble.h"
#include "store/epoch.h"

struct quorum;

/* Reads the epoch files and gets ready for the first election. s has recovered its database and was started with
 * server_start_member. config: the members, taken over with one reference. links outlive the quorum. NULL, with the reason in
 * error, if the epoch files contradict the database. */
struct quorum *quorum_new(struct server *s, struct qconfig *config, int64_t sid, const struct link_ops *links,
                          void *links_ctx, char *error, size_t error_size);
/* Closes all links. The server must not have orders under way. */
void quorum_free(struct quorum *q);

/* Tells the time before a link tells something. */
void quorum_set_now(struct quorum *q, struct now now);
/* A link was accepted on one of our ports. */
void quorum_accepted(struct quorum *q, enum link_port port, struct link *l);
/* Called once per turn, after server_turn_begin. */
void quorum_turn(struct quorum *q);
/* When quorum_turn wants to be called again at the latest. */
struct monotime quorum_next_wake(const struct quorum *q);

/* For the four-letter words and metrics. */
struct quorum_view {
    const char *state;     /* "leading", "following", "observing", "looking" */
    const char *phase;     /* "discovery", "synchronization", "broadcast"; NULL while looking */
    int64_t epoch;         /* current */
    int64_t leader;        /* sid, -1 = none */
    bool observes;
    int voters;            /* of the committed configuration */
    /* leader: */
    int learners, synced_followers, synced_non_voters, synced_observers;
    int pending_syncs;
    struct monotime leading_since; /* 0 = does not serve yet */
};
void quorum_view(const struct quorum *q, struct quorum_view *v);

/* Our own line, and the text of the committed configuration; valid until the next turn. */
const struct qserver *quorum_self(const struct quorum *q);
struct slice quorum_members_text(const struct quorum *q);

/* The learners of a leader, one by one. */
struct quorum_learner {
    int64_t sid;
    bool observer;
    bool synced;
    uint64_t unsent_bytes;   /* handed to the network and not sent yet */
    int64_t unacknowledged;  /* proposals; of followers that have the history */
};
typedef void quorum_visit(void *ctx, const struct quorum_learner *learner);
/* Nothing happens on a member that does not lead. */
void quorum_each_learner(const struct quorum *q, quorum_visit *visit, void *ctx);

/* A configuration that was proposed, or that a new leader goes by: from now on it counts where quorums are asked for, beside the
 * committed one. Nothing happens without reconfigEnabled, or if it is not newer. */
void quorum_see_config(struct quorum *q, struct slice text);

#endif
