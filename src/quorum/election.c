/* See election.h. Java runs a round in a thread that takes messages off a queue, our own among them. Here a message is taken
 * the moment it arrives, so the queue is empty between two calls, and our own is taken right after the one that caused it. */
#include "quorum/election.h"

#include "base/log.h"
#include "base/mem.h"

#define INTERVAL_MIN_MS 200
#define INTERVAL_MAX_MS 60000
#define ASKING_MAX_MS 5000 /* the same for those who are told nothing that they did not ask for */
#define FINAL_WAIT_MS 200
#define SAME_REPLY_US 50000
#define LOG_PERIOD_US 60000000
#define UNTRUSTED_ZXID (-1)

/* A vote as somebody told it. */
struct heard {
    bool present;
    int32_t state;
    int32_t version; /* of the message; 0 in the round set */
    struct vote vote;
};

struct voter {
    int64_t sid;
    uint64_t committed_bit, last_seen_bit; /* 0: no voter there */
    struct heard in_round;                 /* the round set */
    struct heard outside;                  /* the outside set */
    struct notification held;              /* arrived before the round began, without its configuration */
    struct vote replied;                   /* last answer to a vote of an older round */
    struct monotime replied_at;
    bool has_held;
    bool settled; /* has told in this round that it has a role */
    int64_t round; /* the one that it was LOOKING in last, as far as hear_round was told */
    bool supporter;
};

struct election {
    struct election_options options;
    const struct election_env *env;
    void *ctx;
    struct qconfig *committed, *last_seen;
    struct buf config_text; /* of committed */
    struct voter voters[2 * QUORUM_VOTERS_MAX]; /* of both configurations, ascending */
    int voter_count;
    enum peer_state state;
    bool running;        /* a round is under way; state is LOOKING */
    bool final;          /* the final wait */
    bool has_current;    /* current is set */
    bool own_pending;    /* our own message has been sent to ourselves */
    int64_t clock;
    struct vote initial; /* of this round */
    struct vote proposed, current;
    int64_t interval_ms;
    struct monotime deadline;
    struct log_limit bad_config;
};

/* -------- votes -------- */

static struct vote vote_of(const struct notification *n) {
    return (struct vote){n->leader, n->zxid, n->election_epoch, n->peer_epoch};
}

/* Section 6.2. A majority configuration gives weight to everybody, members of the next one included. */
static bool vote_beats(const struct election *e, const struct vote *a, const struct vote *b) {
    if (e->committed->group_count > 0 && qconfig_weight(e->committed, a->leader) == 0)
        return false;
    if (a->peer_epoch != b->peer_epoch)
        return a->peer_epoch > b->peer_epoch;
    if (a->zxid != b->zxid)
        return a->zxid > b->zxid;
    return a->leader > b->leader;
}

static bool vote_same(const struct vote *a, const struct vote *b) {
    return a->leader == b->leader && a->zxid == b->zxid && a->election_epoch == b->election_epoch &&
           a->peer_epoch == b->peer_epoch;
}

/* Section 6.3. */
static bool heard_equal(const struct heard *a, const struct heard *b) {
    if (a->state == PEER_LOOKING || b->state == PEER_LOOKING)
        return vote_same(&a->vote, &b->vote);
    if ((a->version > 0) != (b->version > 0))
        return a->vote.leader == b->vote.leader;
    return a->vote.leader == b->vote.leader && a->vote.peer_epoch == b->vote.peer_epoch;
}

static const struct heard *heard_of(const struct voter *v, bool outside) { return outside ? &v->outside : &v->in_round; }

/* Section 6.4. */
static bool has_quorum(const struct election *e, bool outside, const struct heard *vote) {
    uint64_t committed = 0, last_seen = 0;
    for (int i = 0; i < e->voter_count; i++) {
        const struct heard *h = heard_of(&e->voters[i], outside);
        if (h->present && heard_equal(h, vote)) {
            committed |= e->voters[i].committed_bit;
            last_seen |= e->voters[i].last_seen_bit;
        }
    }
    if (!qconfig_is_quorum(e->committed, committed))
        return false;
    bool pending = e->last_seen != NULL && e->last_seen->version > e->committed->version;
    return !pending || qconfig_is_quorum(e->last_seen, last_seen);
}

static struct heard own_heard(const struct election *e) {
    return (struct heard){true, PEER_LOOKING, 0, election_proposal(e)};
}

/* -------- voters -------- */

static struct voter *find_voter(struct election *e, int64_t sid) {
    for (int i = 0; i < e->voter_count; i++)
        if (e->voters[i].sid == sid)
            return &e->voters[i];
    return NULL;
}

/* Merges the voters of a configuration into a list that is ascending. */
static int add_voters(struct voter *list, int count, const struct qconfig *c) {
    for (int i = 0; c != NULL && i < c->server_count; i++) {
        int at = 0;
        if (c->servers[i].observer)
            continue;
        while (at < count && list[at].sid < c->servers[i].sid)
            at++;
        if (at < count && list[at].sid == c->servers[i].sid)
            continue;
        memmove(&list[at + 1], &list[at], (size_t)(count - at) * sizeof(*list));
        list[at] = (struct voter){.sid = c->servers[i].sid};
        count++;
    }
    return count;
}

void election_set_configs(struct election *e, struct qconfig *committed, struct qconfig *last_seen) {
    struct voter fresh[ARRAY_LEN(e->voters)];
    qconfig_ref(committed);
    if (last_seen != NULL)
        qconfig_ref(last_seen);
    int count = add_voters(fresh, add_voters(fresh, 0, committed), last_seen);
    for (int i = 0; i < count; i++) {
        const struct voter *old = find_voter(e, fresh[i].sid);
        if (old != NULL)
            fresh[i] = *old;
        fresh[i].committed_bit = qconfig_voter_bit(committed, fresh[i].sid);
        fresh[i].last_seen_bit = last_seen != NULL ? qconfig_voter_bit(last_seen, fresh[i].sid) : 0;
    }
    memcpy(e->voters, fresh, (size_t)count * sizeof(*fresh));
    e->voter_count = count;
    qconfig_unref(e->committed);
    qconfig_unref(e->last_seen);
    e->committed = committed;
    e->last_seen = last_seen;
    buf_clear(&e->config_text);
    qconfig_text(committed, &e->config_text);
    struct heard own = own_heard(e);
    e->final = e->final && has_quorum(e, false, &own);
}

/* -------- sending -------- */

static struct notification message(const struct election *e, const struct vote *v, int64_t epoch) {
    return (struct notification){(int32_t)e->state,   v->leader,    v->zxid,
                                 epoch,      v->peer_epoch, NOTIFICATION_VERSION,
                                 {(const char *)e->config_text.data, e->config_text.len}};
}

/* Section 7.1. */
static void tell_all(struct election *e) {
    struct notification n = message(e, &e->proposed, e->clock);
    for (int i = 0; i < e->voter_count; i++) {
        if (e->voters[i].sid == e->options.sid)
            e->own_pending = true;
        else
            e->env->send(e->ctx, e->voters[i].sid, &n);
    }
}

/* To somebody who cannot know it. If neither side counts the other as a voter of its own rounds, both would answer each
 * other for ever; the limit makes that a trickle. */
static void reply_proposal(struct election *e, struct voter *v, struct now now) {
    struct vote mine = election_proposal(e);
    if (find_voter(e, e->options.sid) == NULL)
        return;
    if (vote_same(&v->replied, &mine) && mono_diff_us(now.mono, v->replied_at) < SAME_REPLY_US)
        return;
    v->replied = mine;
    v->replied_at = now.mono;
    struct notification n = message(e, &mine, e->clock);
    e->env->send(e->ctx, v->sid, &n);
}

/* -------- the end of a round -------- */

static void decide(struct election *e, const struct heard *winner, bool outside) {
    enum peer_state learning = e->options.observer ? PEER_OBSERVING : PEER_FOLLOWING;
    e->state = winner->vote.leader == e->options.sid ? PEER_LEADING : learning;
    for (int i = 0; i < e->voter_count; i++) {
        const struct heard *h = heard_of(&e->voters[i], outside);
        e->voters[i].supporter = e->state == PEER_LEADING && h->present && heard_equal(h, winner);
    }
    e->running = e->final = e->own_pending = false;
    e->current = winner->vote;
    e->has_current = true;
    e->env->decided(e->ctx, e->state, &e->current);
}

/* Whether nobody is left whose better vote could still arrive. Only in the final wait: a quorum is there. */
static bool all_connected_agree(const struct election *e) {
    struct heard own = own_heard(e);
    for (int i = 0; i < e->voter_count; i++) {
        const struct voter *v = &e->voters[i];
        if (v->sid != e->options.sid && !(v->in_round.present && heard_equal(&v->in_round, &own)) &&
            e->env->connected(e->ctx, v->sid))
            return false;
    }
    return true;
}

static void wait_finally(struct election *e, struct now now) {
    struct heard own = own_heard(e);
    e->final = true;
    e->deadline = mono_add_ms(now.mono, e->options.final_wait_ms);
    if (!e->options.no_early_end && all_connected_agree(e))
        decide(e, &own, false);
}

/* -------- a message in a round, section 7.3 -------- */

static void take_looking(struct election *e, struct voter *v, const struct notification *n, struct now now) {
    struct vote vote = vote_of(n);
    if (n->election_epoch < e->clock)
        return;
    if (n->election_epoch > e->clock) {
        e->clock = n->election_epoch;
        for (int i = 0; i < e->voter_count; i++)
            e->voters[i].in_round.present = false;
        e->proposed = vote_beats(e, &vote, &e->initial) ? vote : e->initial;
        tell_all(e);
    } else if (vote_beats(e, &vote, &e->proposed)) {
        e->proposed = vote;
        tell_all(e);
    }
    v->in_round = (struct heard){true, PEER_LOOKING, 0, vote};
    struct heard own = own_heard(e);
    if (has_quorum(e, false, &own))
        wait_finally(e, now);
}

/* Who follows us while we are not to be trusted has not noticed that we have ended: it was what we had before that made us lead. */
static bool leader_agrees(struct election *e, bool outside, const struct notification *n) {
    if (n->leader == e->options.sid)
        return e->initial.zxid != UNTRUSTED_ZXID && e->clock == n->election_epoch;
    const struct heard *h = heard_of(find_voter(e, n->leader), outside);
    return h->present && h->state == PEER_LEADING;
}

static void take_settled(struct election *e, struct voter *v, const struct notification *n) {
    struct heard h = {true, n->state, n->version, vote_of(n)};
    if (n->election_epoch == e->clock) {
        v->in_round = h;
        v->in_round.version = 0;
        if (has_quorum(e, false, &h) && leader_agrees(e, false, n)) {
            decide(e, &h, false);
            return;
        }
    }
    v->outside = h;
    if (has_quorum(e, true, &h) && leader_agrees(e, true, n)) {
        e->clock = n->election_epoch;
        decide(e, &h, true);
    }
}

/* During the final wait only a better vote is looked at. An equal one is noted, for the early end. */
static void take_finally(struct election *e, struct voter *v, const struct notification *n, struct now now) {
    struct heard h = {true, n->state, 0, vote_of(n)}, own = own_heard(e);
    if (n->state == PEER_LOOKING && heard_equal(&h, &own))
        v->in_round = h;
    wait_finally(e, now);
}

/* Whoever must not vote takes no part in the rounds of the others, and hears of their result only if it asks. A round that begins
 * will soon be over: time to ask. And rounds that follow each other must not put that off for ever. */
static void hear_round(struct election *e, struct voter *v, const struct notification *n, struct now now) {
    if (e->initial.zxid != UNTRUSTED_ZXID || v->sid == e->options.sid || n->election_epoch == v->round)
        return;
    v->round = n->election_epoch;
    e->interval_ms = e->options.min_interval_ms;
    e->deadline.us = i64_min(e->deadline.us, mono_add_ms(now.mono, e->interval_ms).us);
}

static void take(struct election *e, struct voter *v, const struct notification *n, struct now now) {
    struct vote vote = vote_of(n);
    if (n->state == PEER_LOOKING && (e->initial.zxid == UNTRUSTED_ZXID || n->zxid == UNTRUSTED_ZXID)) {
        hear_round(e, v, n, now);
        return;
    }
    if (e->final && !vote_beats(e, &vote, &e->proposed)) {
        take_finally(e, v, n, now);
        return;
    }
    e->final = false;
    e->deadline = mono_add_ms(now.mono, e->interval_ms);
    if (find_voter(e, n->leader) == NULL)
        return;
    if (n->state == PEER_LOOKING)
        take_looking(e, v, n, now);
    else if (n->state == PEER_FOLLOWING || n->state == PEER_LEADING)
        take_settled(e, v, n);
}

static void take_own(struct election *e, struct now now) {
    while (e->running && e->own_pending) {
        struct notification n = message(e, &e->proposed, e->clock);
        e->own_pending = false;
        take(e, find_voter(e, e->options.sid), &n, now);
    }
}

/* -------- a message in any state, section 7.2 -------- */

/* True if the message is to be dropped because the election starts anew. */
static bool hear_config(struct election *e, int64_t sid, struct slice text, struct now now) {
    char error[QCONFIG_ERROR_BYTES];
    uint64_t suppressed;
    struct slice own = {(const char *)e->config_text.data, e->config_text.len};
    if (text.len == 0 || slice_eq(text, own))
        return false;
    struct qconfig *heard = qconfig_parse(text, e->options.single_allowed, error, sizeof(error));
    if (heard == NULL) {
        if (log_limit_pass(&e->bad_config, now.mono.us, LOG_PERIOD_US, &suppressed))
            log_warn("election: configuration from server %lld is not understood: %s", (long long)sid, error);
        return false;
    }
    bool restart = heard->version > e->committed->version && e->env->config_heard(e->ctx, heard);
    qconfig_unref(heard);
    return restart;
}

static void reply_to_non_voter(struct election *e, int64_t sid, const struct notification *n) {
    if (n->state != PEER_LOOKING || !e->has_current)
        return;
    struct notification reply = message(e, &e->current, e->clock);
    e->env->send(e->ctx, sid, &reply);
}

static void received_looking(struct election *e, struct voter *v, const struct notification *n, struct now now) {
    if (!e->running) {
        v->held = *n;
        v->held.config = SLICE_NULL;
        v->has_held = true;
        return;
    }
    if (n->state == PEER_LOOKING && n->election_epoch < e->clock)
        reply_proposal(e, v, now);
    /* What we told all reached it in its role, and it will not be told again before 200 ms have passed. */
    bool missed_it = v->settled && n->state == PEER_LOOKING;
    v->settled = n->state != PEER_LOOKING;
    take(e, v, n, now);
    bool told = e->own_pending;
    take_own(e, now);
    if (missed_it && !told && e->running && n->election_epoch == e->clock && n->leader != e->proposed.leader)
        reply_proposal(e, v, now);
}

void election_received(struct election *e, int64_t sid, const struct notification *n, struct now now) {
    if (sid == e->options.sid)
        return; /* not from ourselves: those never leave this file */
    if (e->state == PEER_LOOKING && n->version > 1 && hear_config(e, sid, n->config, now))
        return;
    struct voter *v = find_voter(e, sid);
    if (v == NULL) {
        reply_to_non_voter(e, sid, n);
        return;
    }
    if (n->state < PEER_LOOKING || n->state > PEER_OBSERVING)
        return;
    if (e->state == PEER_LOOKING) {
        received_looking(e, v, n, now);
    } else if (n->state == PEER_LOOKING) {
        if (e->state == PEER_LEADING && e->env->voter_looking != NULL)
            e->env->voter_looking(e->ctx, sid);
        struct notification reply = message(e, &e->current, e->current.election_epoch);
        e->env->send(e->ctx, sid, &reply);
    }
}

/* -------- rounds -------- */

/* Section 6.1. */
static struct vote first_vote(const struct election *e, zxid_t zxid, int64_t epoch) {
    bool voter = qconfig_voter_bit(e->committed, e->options.sid) != 0, observer = e->options.observer;
    return (struct vote){.leader = voter ? e->options.sid : ELECTION_NOBODY,
                         .zxid = observer ? ELECTION_NOBODY : zxid,
                         .election_epoch = -1,
                         .peer_epoch = observer ? ELECTION_NOBODY : epoch};
}

void election_look(struct election *e, zxid_t zxid, int64_t epoch, struct now now) {
    e->state = PEER_LOOKING;
    e->running = true;
    e->final = false;
    if (!e->has_current)
        e->current = (struct vote){e->options.sid, zxid, -1, epoch};
    e->has_current = true;
    for (int i = 0; i < e->voter_count; i++)
        e->voters[i].in_round.present = e->voters[i].outside.present = e->voters[i].settled = e->voters[i].supporter = false;
    e->clock++;
    e->initial = e->proposed = first_vote(e, zxid, epoch);
    e->interval_ms = e->options.min_interval_ms;
    e->deadline = mono_add_ms(now.mono, e->interval_ms);
    tell_all(e);
    take_own(e, now);
    for (int i = 0; i < e->voter_count; i++) {
        bool has_held = e->voters[i].has_held;
        e->voters[i].has_held = false;
        if (has_held && e->running)
            received_looking(e, &e->voters[i], &e->voters[i].held, now);
    }
}

static int64_t max_interval_ms(const struct election *e) {
    int64_t sid = e->options.sid;
    bool votes = qconfig_voter_bit(e->committed, sid) != 0 || (e->last_seen != NULL && qconfig_voter_bit(e->last_seen, sid) != 0);
    bool asks = !votes || e->initial.zxid == UNTRUSTED_ZXID;
    int64_t asking_ms = i64_max(ASKING_MAX_MS, e->options.min_interval_ms);
    return asks ? i64_min(e->options.max_interval_ms, asking_ms) : e->options.max_interval_ms;
}

void election_tick(struct election *e, struct now now) {
    if (!e->running)
        return;
    struct heard own = own_heard(e);
    bool due = mono_diff_us(now.mono, e->deadline) >= 0;
    if (e->final) {
        if (due || (!e->options.no_early_end && all_connected_agree(e)))
            decide(e, &own, false);
        return;
    }
    if (!due)
        return;
    if (e->env->delivered(e->ctx))
        tell_all(e);
    else
        e->env->connect_all(e->ctx);
    e->interval_ms = i64_min(2 * e->interval_ms, max_interval_ms(e));
    e->deadline = mono_add_ms(now.mono, e->interval_ms);
    take_own(e, now);
}

struct monotime election_deadline(const struct election *e) {
    return e->running ? e->deadline : (struct monotime){INT64_MAX};
}

/* -------- the rest -------- */

struct election *election_new(const struct election_options *options, const struct election_env *env, void *ctx,
                              struct qconfig *committed, struct qconfig *last_seen) {
    struct election *e = mem_calloc(1, sizeof(*e));
    e->options = *options;
    if (e->options.min_interval_ms == 0)
        e->options.min_interval_ms = INTERVAL_MIN_MS;
    if (e->options.max_interval_ms == 0)
        e->options.max_interval_ms = INTERVAL_MAX_MS;
    if (e->options.final_wait_ms == 0)
        e->options.final_wait_ms = FINAL_WAIT_MS;
    e->env = env;
    e->ctx = ctx;
    e->state = PEER_LOOKING;
    e->initial = e->proposed = (struct vote){-1, -1, -1, 0};
    election_set_configs(e, committed, last_seen);
    return e;
}

void election_free(struct election *e) {
    if (e == NULL)
        return;
    qconfig_unref(e->committed);
    qconfig_unref(e->last_seen);
    buf_free(&e->config_text);
    mem_free(e);
}

void election_leave(struct election *e) {
    e->running = e->final = e->own_pending = false;
    e->state = PEER_LOOKING;
    for (int i = 0; i < e->voter_count; i++)
        e->voters[i].has_held = false;
}

void election_serving(struct election *e, enum peer_state state, const struct vote *v) {
    zassert(state != PEER_LOOKING);
    election_leave(e);
    e->state = state;
    election_set_current_vote(e, v);
}

void election_set_current_vote(struct election *e, const struct vote *v) {
    e->current = *v;
    e->has_current = true;
}

enum peer_state election_state(const struct election *e) { return e->state; }
const struct vote *election_current_vote(const struct election *e) { return &e->current; }
int64_t election_clock(const struct election *e) { return e->clock; }

struct vote election_proposal(const struct election *e) {
    return (struct vote){e->proposed.leader, e->proposed.zxid, e->clock, e->proposed.peer_epoch};
}

bool election_was_supporter(const struct election *e, int64_t sid) {
    for (int i = 0; i < e->voter_count; i++)
        if (e->voters[i].sid == sid)
            return e->voters[i].supporter;
    return false;
}
