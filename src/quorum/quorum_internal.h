/* What the parts of a member share: quorum.c (phases, election, epoch files), learner.c, leader.c. */
#ifndef ZABRA_QUORUM_INTERNAL_H
#define ZABRA_QUORUM_INTERNAL_H

#include "quorum/quorum.h"
#include "wire/zab.h"

struct leader;
struct learner;

enum quorum_phase {
    QUORUM_SETTLING, /* what was on its way is logged and applied, clients leave */
    QUORUM_LOOKING,
    QUORUM_LEADING,
    QUORUM_LEARNING,
};

struct quorum {
    struct server *s;
    int64_t sid;
    struct qconfig *committed, *last_seen;
    int64_t told_proposed; /* version of the last seen one as env->config_proposed was told; 0 = none */
    struct qconfig *heard; /* a newer one, from another member; not taken over yet */
    struct qconfig *own; /* from our own file: where we listen, should the others not list us any more */
    struct buf config_text; /* of the committed one */
    const struct link_ops *links;
    void *links_ctx;
    struct epochs epochs;

    enum quorum_phase phase;
    uint64_t generation; /* of the role; completions of an older one are dropped */
    bool leaving;        /* the role has ended; quorum_turn takes it apart */
    bool served;         /* it had begun to serve */
    int fruitless;       /* roles in a row that had not */
    struct monotime look_at; /* after these, not sooner */
    int64_t stand_back_ms;   /* nor within this time after the end of the role: others can do better */
    struct monotime handed_over; /* when a leader last left because of its disk; 0 = never */
    bool config_due;         /* there was no space for the file of the configuration: again at config_at */
    struct monotime config_at;
    int64_t epoch_heard; /* the newest that a learner of ours has accepted, though not from us */
    struct leader *leader;
    struct learner *learner;

    bool election_observes; /* the role that the election was made for */
    struct election *election;
    struct mesh *mesh;
    int64_t snapshot_epoch; /* the leader of this epoch has to send a snapshot: we cannot go back as far as it asked */
    /* This member has lost its history, or never had one: see untrusted() in quorum.c. */
    bool no_history, marked, history_seen;
    struct reload *reload; /* one for which there was no space, to be tried again at reload_at; NULL = none */
    struct monotime reload_at;
    bool mark_written, mark_due; /* the mark is on the disk; is to be written again */

    int64_t leader_sid; /* -1 = none */
    int64_t silent_sid; /* the leader that was last given up because it was silent, until it says something; -1 = none */
    int64_t appointed;  /* whom a reconfiguration makes the leader of the next role, without an election; -1 = nobody */
    bool decided;       /* the election has ended; quorum_turn takes the role */
    int decided_state;  /* enum peer_state */
    struct monotime looking_since;
    struct monotime unavailable_since; /* the start, or the end of the last role that served */
};

/* The role has failed or ended: logged with the reason, carried out by the next quorum_turn. */
void quorum_leave(struct quorum *q, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* When this role ends, others get so much time to elect one of theirs. */
void quorum_stand_back(struct quorum *q, int64_t ms);
/* Writes an epoch file (EPOCH_ACCEPTED or EPOCH_CURRENT); done is called once it is durable, unless the role has ended. */
void quorum_write_epoch(struct quorum *q, const char *name, int64_t epoch, void (*done)(struct quorum *q));
/* The history of this epoch is ours: what we tell those who look for a leader. */
void quorum_established(struct quorum *q, int64_t epoch);
/* A leader whose configuration has no version yet gives it one, which its first quorum agrees on. */
void quorum_first_version(struct quorum *q, int64_t epoch);
/* The last seen configuration is committed. True if our own role, or the leader (designated: -1 = not told), is another one in
 * it, so that this role must end. */
bool quorum_activate_config(struct quorum *q, int64_t designated);
/* The database was loaded: what it holds newer than the committed configuration is the last seen one. */
void quorum_reload_config(struct quorum *q);
bool quorum_observer(const struct quorum *q);
/* It follows like an observer, whatever it is configured as, until it has a history again. */
bool quorum_untrusted(const struct quorum *q);
/* The history of a leader is here, durably: it may vote again, in a role of its own. */
void quorum_trust(struct quorum *q);
/* The disk is full: half of it may be done, so nobody is voted for before all of it is. Takes it over. */
void quorum_reload_later(struct quorum *q, struct reload *r);
/* True if the voters of the set are a quorum of the committed configuration, and of the last seen one if that is newer. */
struct voter_set {
    uint64_t committed, last_seen;
};
void voter_set_add(const struct quorum *q, struct voter_set *v, int64_t sid);
bool voter_set_is_quorum(const struct quorum *q, const struct voter_set *v);
/* tickTime times this many, in ms. */
int64_t quorum_ticks_ms(const struct quorum *q, int64_t ticks);

/* learner.c */
struct learner *learner_new(struct quorum *q, int64_t leader_sid);
void learner_free(struct learner *l);
void learner_turn(struct learner *l);
struct monotime learner_next_wake(const struct learner *l);
const char *learner_phase(const struct learner *l);

/* leader.c */
struct leader *leader_new(struct quorum *q);
void leader_free(struct leader *l);
void leader_accepted(struct leader *l, struct link *link);
void leader_turn(struct leader *l);
struct monotime leader_next_wake(const struct leader *l);
void leader_view(const struct leader *l, struct quorum_view *v);
void leader_each_learner(const struct leader *l, quorum_visit *visit, void *ctx);
/* One of those who elected us looks for a leader again. */
void leader_supporter_looking(struct leader *l, int64_t sid);

#endif
