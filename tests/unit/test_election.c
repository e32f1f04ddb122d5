/* src/quorum/election: rounds, answers and the vote that is kept. See docs/protocol/election.md sections 6 to 8 and 10. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "quorum/election.h"

/* One server with everything that it wanted done, as text: "1:L2 z0 e1 p0" is a LOOKING message to server 1, "=F2" a decision. */
struct world {
    struct election *e;
    struct buf out;
    struct now now;
    bool undelivered, adopt;
    uint64_t connected; /* bit mask of sids */
    struct qconfig *committed, *last_seen;
};

static const char letters[] = "LFED"; /* looking, following, lEading, observing: D for "does not vote" */

static void put_vote(struct buf *b, int64_t leader, int64_t zxid, int64_t epoch, int64_t peer_epoch) {
    const int64_t values[] = {leader, zxid, epoch, peer_epoch};
    static const char *const names[] = {"", " z", " e", " p"};
    for (int i = 0; i < 4; i++)
        if (values[i] == INT64_MIN)
            buf_printf(b, "%sMIN", names[i]);
        else
            buf_printf(b, "%s%lld", names[i], (long long)values[i]);
}

static void on_send(void *ctx, int64_t sid, const struct notification *n) {
    struct world *w = ctx;
    buf_printf(&w->out, "%lld:%c", (long long)sid, letters[n->state]);
    put_vote(&w->out, n->leader, n->zxid, n->election_epoch, n->peer_epoch);
    buf_append(&w->out, "\n", 1);
    struct buf text = BUF_INIT;
    qconfig_text(w->committed, &text);
    ck_assert(slice_eq(n->config, (struct slice){(const char *)text.data, text.len}));
    buf_free(&text);
}

static bool on_delivered(void *ctx) { return !((struct world *)ctx)->undelivered; }
static void on_connect_all(void *ctx) { buf_printf(&((struct world *)ctx)->out, "connect\n"); }
static bool on_connected(void *ctx, int64_t sid) { return (((struct world *)ctx)->connected >> sid & 1) != 0; }

static void on_decided(void *ctx, enum peer_state state, const struct vote *v) {
    struct world *w = ctx;
    buf_printf(&w->out, "=%c", letters[state]);
    put_vote(&w->out, v->leader, v->zxid, v->election_epoch, v->peer_epoch);
    buf_append(&w->out, "\n", 1);
}

static bool on_config(void *ctx, struct qconfig *heard) {
    struct world *w = ctx;
    buf_printf(&w->out, "config %llx\n", (unsigned long long)heard->version);
    return w->adopt;
}

static void on_voter_looking(void *ctx, int64_t sid) {
    buf_printf(&((struct world *)ctx)->out, "disloyal %lld\n", (long long)sid);
}

static const struct election_env env = {on_send,    on_delivered, on_connect_all,  on_connected,
                                        on_decided, on_config,    on_voter_looking};

static struct qconfig *config_of(int voters, int observers, int64_t version) {
    struct buf b = BUF_INIT;
    char error[QCONFIG_ERROR_BYTES];
    for (int i = 1; i <= voters + observers; i++)
        buf_printf(&b, "server.%d=127.0.0.1:%d:%d:%s\n", i, 2000 + i, 3000 + i, i > voters ? "observer" : "participant");
    buf_printf(&b, "version=%llx", (unsigned long long)version);
    struct qconfig *c = qconfig_parse((struct slice){(const char *)b.data, b.len}, true, error, sizeof(error));
    ck_assert_msg(c != NULL, "%s", error);
    buf_free(&b);
    return c;
}

/* Server sid of an ensemble with so many voters and one observer behind them. The final wait is not cut short. */
static struct world *start_with(struct election_options o, struct qconfig *committed, struct qconfig *last_seen) {
    struct world *w = mem_calloc(1, sizeof(*w));
    w->committed = committed;
    w->last_seen = last_seen;
    w->e = election_new(&o, &env, w, committed, last_seen);
    return w;
}

static struct world *start(int64_t sid, int voters) {
    struct election_options o = {.sid = sid, .observer = sid == voters + 1, .no_early_end = true};
    return start_with(o, config_of(voters, 1, 5), NULL);
}

static void stop(struct world *w) {
    election_free(w->e);
    qconfig_unref(w->committed);
    qconfig_unref(w->last_seen);
    buf_free(&w->out);
    mem_free(w);
}

/* Compares what was wanted since the last time. */
static void expect(struct world *w, const char *text) {
    buf_append(&w->out, "", 1);
    ck_assert_str_eq((const char *)w->out.data, text);
    buf_clear(&w->out);
}

static void look(struct world *w, zxid_t zxid, int64_t epoch) { election_look(w->e, zxid, epoch, w->now); }

/* "2:L2 z0 e1 p0": from server 2, in the notation of the output; a final v0 makes it a message without a version. */
static void hear(struct world *w, const char *text) {
    long long sid, values[4];
    char state, words[4][24];
    ck_assert_int_eq(sscanf(text, "%lld:%c%23s z%23s e%23s p%23s", &sid, &state, words[0], words[1], words[2], words[3]), 6);
    for (int i = 0; i < 4; i++)
        values[i] = strcmp(words[i], "MIN") == 0 ? INT64_MIN : strtoll(words[i], NULL, 10);
    struct notification n = {(int32_t)(strchr(letters, state) - letters), values[0], values[1], values[2], values[3],
                             strstr(text, "v0") != NULL ? 0 : 2, SLICE_NULL};
    election_received(w->e, sid, &n, w->now);
}

static void pass(struct world *w, int64_t ms) {
    w->now.mono = mono_add_ms(w->now.mono, ms);
    election_tick(w->e, w->now);
}

#define LOOKING(w) ck_assert_int_eq(election_state((w)->e), PEER_LOOKING)

/* -------- captured: section 10 -------- */

START_TEST(capture_first_start) {
    struct world *w = start(1, 3);
    look(w, 0, 0);
    expect(w, "2:L1 z0 e1 p0\n3:L1 z0 e1 p0\n");
    hear(w, "2:L2 z0 e1 p0");
    expect(w, "2:L2 z0 e1 p0\n3:L2 z0 e1 p0\n");
    pass(w, 199);
    expect(w, "");
    pass(w, 1);
    expect(w, "=F2 z0 e1 p0\n");
    election_set_current_vote(w->e, &(struct vote){2, 0, 1, 1});
    hear(w, "3:L3 z0 e1 p0");
    expect(w, "3:F2 z0 e1 p1\n");
    stop(w);

    w = start(2, 3);
    look(w, 0, 0);
    expect(w, "1:L2 z0 e1 p0\n3:L2 z0 e1 p0\n");
    hear(w, "1:L1 z0 e1 p0");
    hear(w, "1:L2 z0 e1 p0");
    expect(w, "");
    pass(w, 200);
    expect(w, "=E2 z0 e1 p0\n");
    ck_assert(election_was_supporter(w->e, 1) && election_was_supporter(w->e, 2) && !election_was_supporter(w->e, 3));
    hear(w, "3:L3 z0 e1 p0");
    expect(w, "disloyal 3\n3:E2 z0 e1 p0\n");
    stop(w);
}
END_TEST

/* The third server first hears messages that are no longer true, then the answers. */
START_TEST(capture_third_server) {
    struct world *w = start(3, 3);
    look(w, 0, 0);
    expect(w, "1:L3 z0 e1 p0\n2:L3 z0 e1 p0\n");
    hear(w, "1:L2 z0 e1 p0");
    hear(w, "2:L2 z0 e1 p0");
    hear(w, "1:F2 z0 e1 p1");
    expect(w, "");
    hear(w, "2:E2 z0 e1 p1");
    expect(w, "=F2 z0 e1 p1\n");
    stop(w);
}
END_TEST

START_TEST(capture_observer) {
    struct world *w = start(4, 3);
    look(w, 0, 0);
    expect(w, "1:LMIN zMIN e1 pMIN\n2:LMIN zMIN e1 pMIN\n3:LMIN zMIN e1 pMIN\n");
    hear(w, "1:F2 z0 e0 p1");
    expect(w, "");
    hear(w, "2:E2 z0 e0 p1");
    expect(w, "=D2 z0 e0 p1\n");
    ck_assert_int_eq(election_clock(w->e), 0);
    hear(w, "1:L1 z0 e1 p0");
    expect(w, "1:D2 z0 e0 p1\n");
    stop(w);

    w = start(2, 3); /* the other side, in every state: the clock, not the epoch of the vote */
    hear(w, "4:LMIN zMIN e1 pMIN");
    expect(w, ""); /* there is no vote yet */
    look(w, 7, 1);
    expect(w, "1:L2 z7 e1 p1\n3:L2 z7 e1 p1\n");
    hear(w, "4:LMIN zMIN e1 pMIN");
    expect(w, "4:L2 z7 e1 p1\n");
    election_serving(w->e, PEER_LEADING, &(struct vote){2, 7, 9, 2});
    hear(w, "4:LMIN zMIN e1 pMIN");
    hear(w, "77:L77 z99 e1 p99");
    hear(w, "4:D2 z0 e1 p1");
    expect(w, "4:E2 z7 e1 p2\n77:E2 z7 e1 p2\n");
    hear(w, "3:L3 z0 e1 p0"); /* to a voter the epoch of the vote */
    expect(w, "disloyal 3\n3:E2 z7 e9 p2\n");
    stop(w);
}
END_TEST

START_TEST(capture_leader_killed) {
    struct world *w = start(1, 3);
    look(w, 0, 0);
    hear(w, "3:L3 z0 e1 p0");
    pass(w, 200);
    election_set_current_vote(w->e, &(struct vote){3, 0, 1, 1});
    buf_clear(&w->out);
    look(w, 0x100000005, 1);
    expect(w, "2:L1 z4294967301 e2 p1\n3:L1 z4294967301 e2 p1\n");
    ck_assert_int_eq(election_current_vote(w->e)->leader, 3); /* kept until the round is over */
    hear(w, "2:F3 z0 e1 p1");                                 /* has not noticed */
    hear(w, "2:L2 z4294967300 e2 p1"); /* has: it does not know our vote yet */
    expect(w, "2:L1 z4294967301 e2 p1\n");
    hear(w, "2:L1 z4294967301 e2 p1");
    pass(w, 200);
    expect(w, "=E1 z4294967301 e2 p1\n");
    stop(w);
}
END_TEST

/* -------- the order and the counting of votes -------- */

static const struct {
    const char *vote;
    bool better; /* than 2, zxid 10, epoch 3 */
} orders[] = {
    {"1:L1 z0 e1 p4", true},  {"1:L1 z11 e1 p3", true},   {"3:L3 z10 e1 p3", true}, {"1:L2 z10 e1 p3", false},
    {"1:L1 z10 e1 p3", false}, {"3:L3 z9 e1 p3", false},   {"3:L3 z99 e1 p2", false}, {"3:L3 z99 e1 pMIN", false},
    {"3:L3 zMIN e1 p3", false}, {"3:L3 z99 e1 p-1", false},
};

START_TEST(order_of_votes) {
    struct world *w = start(2, 3);
    look(w, 10, 3);
    buf_clear(&w->out);
    hear(w, orders[_i].vote);
    ck_assert_int_eq(w->out.len > 0, orders[_i].better);
    stop(w);
}
END_TEST

/* Section 6.2: who has no weight is never proposed. */
START_TEST(weightless_leader) {
    char error[QCONFIG_ERROR_BYTES];
    struct qconfig *c = qconfig_parse(SLICE_LIT("server.1=h:1:11\nserver.2=h:2:12\nserver.3=h:3:13\ngroup.1=1:2:3\n"
                                                "weight.3=0\nversion=1"),
                                      true, error, sizeof(error));
    ck_assert_msg(c != NULL, "%s", error);
    struct world *w = start_with((struct election_options){.sid = 1, .no_early_end = true}, c, NULL);
    look(w, 0, 0);
    buf_clear(&w->out);
    hear(w, "3:L3 z9 e1 p9");
    hear(w, "2:L9 z9 e1 p9");
    expect(w, "");
    hear(w, "2:L2 z0 e1 p0");
    expect(w, "2:L2 z0 e1 p0\n3:L2 z0 e1 p0\n");
    pass(w, 200);
    expect(w, "=F2 z0 e1 p0\n");
    stop(w);
}
END_TEST

/* Section 6.3: FOLLOWING and LEADING votes need equal leaders and, outside of the round, equal peer epochs. */
START_TEST(equality_of_votes) {
    struct world *w = start(3, 3);
    look(w, 0, 0);
    look(w, 0, 0);
    buf_clear(&w->out);
    hear(w, "1:F2 z5 e7 p1");
    hear(w, "2:E2 z6 e7 p2"); /* another epoch: no quorum */
    LOOKING(w);
    hear(w, "1:F2 z9 e8 p2"); /* zxid and round do not matter */
    expect(w, "=F2 z9 e8 p2\n");
    ck_assert_int_eq(election_clock(w->e), 8);
    stop(w);

    w = start(3, 3);
    look(w, 0, 0);
    buf_clear(&w->out);
    hear(w, "2:E2 z6 e7 p2 v0"); /* one with and one without a version: the leader alone */
    hear(w, "1:F2 z5 e7 p1");
    expect(w, "=F2 z5 e7 p1\n");
    stop(w);

    w = start(3, 3);
    look(w, 0, 0);
    buf_clear(&w->out);
    hear(w, "2:E2 z6 e1 p2"); /* of this round: the leader alone */
    hear(w, "1:F2 z5 e1 p1");
    expect(w, "=F2 z5 e1 p1\n");
    stop(w);
}
END_TEST

/* LOOKING votes of this round count for a leader that has just been elected, if all of the vote is equal. */
START_TEST(looking_votes_count_for_a_new_leader) {
    struct world *w = start(1, 5);
    look(w, 0, 0);
    hear(w, "5:L5 z0 e1 p0");
    buf_clear(&w->out);
    hear(w, "4:L5 z0 e1 p0");
    LOOKING(w);
    pass(w, 100);
    hear(w, "2:F5 z0 e1 p0"); /* not looked at in the final wait */
    hear(w, "5:E5 z0 e1 p0");
    LOOKING(w);
    pass(w, 199);
    LOOKING(w);
    pass(w, 1);
    expect(w, "=F5 z0 e1 p0\n");
    stop(w);

    w = start(1, 5);
    look(w, 0, 0);
    hear(w, "5:L5 z0 e1 p0");
    buf_clear(&w->out);
    hear(w, "5:E5 z0 e1 p0"); /* with our own that makes two */
    LOOKING(w);
    hear(w, "2:F5 z0 e1 p0");
    expect(w, "=F5 z0 e1 p0\n");
    stop(w);
}
END_TEST

/* Section 7.3: followers alone do not make a leader, it has to say so itself. */
START_TEST(leader_has_to_agree) {
    struct world *w = start(1, 5);
    look(w, 0, 0);
    buf_clear(&w->out);
    hear(w, "2:F5 z0 e4 p1");
    hear(w, "3:F5 z0 e4 p1");
    hear(w, "4:F5 z0 e4 p1");
    hear(w, "5:L5 z0 e1 p1");
    LOOKING(w);
    hear(w, "5:F5 z0 e4 p1"); /* not even when it is there, but not as leader */
    LOOKING(w);
    buf_clear(&w->out);
    hear(w, "5:E5 z0 e4 p1");
    expect(w, "=F5 z0 e4 p1\n");
    stop(w);

    w = start(2, 3); /* others say that I lead: only in the round in which I am */
    look(w, 0, 0);
    buf_clear(&w->out);
    hear(w, "1:F2 z0 e4 p1");
    hear(w, "3:F2 z0 e4 p1");
    expect(w, "");
    hear(w, "1:F2 z0 e1 p0");
    hear(w, "3:F2 z0 e1 p0");
    expect(w, "=E2 z0 e1 p0\n");
    stop(w);
}
END_TEST

/* Leaders and senders outside of both configurations. */
START_TEST(only_valid_voters) {
    struct world *w = start(1, 3);
    look(w, 0, 0);
    buf_clear(&w->out);
    hear(w, "2:L4 z9 e1 p9"); /* an observer, a stranger, nobody */
    hear(w, "3:L77 z9 e1 p9");
    hear(w, "3:LMIN z9 e1 p9");
    expect(w, "");
    hear(w, "77:L3 z9 e1 p9");
    expect(w, "77:L1 z0 e1 p0\n");
    ck_assert_int_eq(election_proposal(w->e).leader, 1);
    hear(w, "77:F3 z9 e1 p9"); /* not a question */
    hear(w, "1:L3 z9 e1 p9");  /* our own sid on a connection */
    struct notification strange = {9, 3, 9, 1, 9, 2, SLICE_NULL};
    election_received(w->e, 2, &strange, w->now);
    hear(w, "2:D3 z9 e1 p9");
    expect(w, "");
    LOOKING(w);
    stop(w);
}
END_TEST

/* -------- rounds -------- */

/* After a jump of the clock the message competes with the first vote, not with what had been adopted meanwhile. */
START_TEST(newer_round) {
    struct world *w = start(2, 5);
    look(w, 10, 1);
    hear(w, "3:L3 z50 e1 p1");
    buf_clear(&w->out);
    hear(w, "1:L1 z5 e4 p1");
    expect(w, "1:L2 z10 e4 p1\n3:L2 z10 e4 p1\n4:L2 z10 e4 p1\n5:L2 z10 e4 p1\n");
    ck_assert_int_eq(election_clock(w->e), 4);
    hear(w, "5:L3 z50 e4 p1"); /* votes of the round before are forgotten: no quorum yet */
    hear(w, "5:L3 z50 e4 p1");
    buf_clear(&w->out);
    pass(w, 200);
    LOOKING(w);
    stop(w);

    w = start(3, 5); /* the same for those with a role: here the leader alone would be compared */
    look(w, 0, 1);
    hear(w, "1:F5 z0 e1 p1");
    hear(w, "2:F5 z0 e1 p1");
    hear(w, "4:L4 z0 e4 p1");
    hear(w, "5:E5 z0 e4 p2");
    LOOKING(w);
    stop(w);

    w = start(2, 3);
    look(w, 10, 1);
    buf_clear(&w->out);
    hear(w, "1:L1 z11 e9 p1");
    expect(w, "1:L1 z11 e9 p1\n3:L1 z11 e9 p1\n");
    pass(w, 200);
    expect(w, "=F1 z11 e9 p1\n");
    stop(w);
}
END_TEST

/* An older round: answered, not counted; the same answer not twice at once. */
START_TEST(older_round) {
    struct world *w = start(2, 3);
    look(w, 10, 1);
    look(w, 10, 1);
    buf_clear(&w->out);
    hear(w, "3:L3 z99 e1 p1");
    expect(w, "3:L2 z10 e2 p1\n");
    hear(w, "3:L3 z99 e1 p1");
    expect(w, "");
    pass(w, 50);
    hear(w, "3:L3 z99 e1 p1");
    expect(w, "3:L2 z10 e2 p1\n");
    hear(w, "1:L1 z20 e2 p1");
    buf_clear(&w->out);
    hear(w, "3:L3 z99 e1 p1"); /* another proposal */
    expect(w, "3:L1 z20 e2 p1\n");
    stop(w);

    w = start(4, 3); /* who is no voter has nothing to say */
    look(w, 10, 1);
    look(w, 10, 1);
    buf_clear(&w->out);
    hear(w, "3:L3 z99 e1 p1");
    expect(w, "");
    stop(w);
}
END_TEST

/* It was told while it still had a role, so it has to be told again. */
START_TEST(voter_that_looks_later) {
    struct world *w = start(3, 5);
    look(w, 0, 1);
    buf_clear(&w->out);
    hear(w, "1:F5 z0 e1 p1");
    hear(w, "2:F5 z0 e1 p1");
    hear(w, "4:F5 z0 e1 p1");
    expect(w, "");
    hear(w, "1:L1 z0 e1 p1");
    expect(w, "1:L3 z0 e1 p1\n");
    hear(w, "1:L2 z0 e1 p1"); /* once */
    hear(w, "2:L3 z0 e1 p1"); /* knows it */
    expect(w, "");
    hear(w, "4:L4 z0 e1 p1"); /* better: all are told */
    expect(w, "1:L4 z0 e1 p1\n2:L4 z0 e1 p1\n4:L4 z0 e1 p1\n5:L4 z0 e1 p1\n");
    stop(w);
}
END_TEST

START_TEST(final_wait) {
    struct world *w = start(1, 3);
    look(w, 0, 0);
    hear(w, "2:L2 z0 e1 p0");
    buf_clear(&w->out);
    pass(w, 150);
    hear(w, "2:L2 z0 e1 p0"); /* a duplicate starts it again */
    pass(w, 150);
    expect(w, "");
    hear(w, "3:L3 z0 e1 p0"); /* a better one ends it and is taken */
    expect(w, "2:L3 z0 e1 p0\n3:L3 z0 e1 p0\n");
    pass(w, 199); /* with our own: a quorum again */
    expect(w, "");
    pass(w, 1);
    expect(w, "=F3 z0 e1 p0\n");
    ck_assert_int_eq(election_deadline(w->e).us, INT64_MAX);
    stop(w);

    w = start(1, 3); /* a newer round that is not better is not looked at; one that is, is */
    look(w, 5, 1);
    hear(w, "2:L1 z5 e1 p1");
    buf_clear(&w->out);
    hear(w, "3:L3 z4 e7 p1");
    expect(w, "");
    ck_assert_int_eq(election_clock(w->e), 1);
    hear(w, "3:L3 z5 e7 p1");
    expect(w, "2:L3 z5 e7 p1\n3:L3 z5 e7 p1\n");
    stop(w);
}
END_TEST

START_TEST(early_end) {
    struct election_options o = {.sid = 1};
    struct world *w = start_with(o, config_of(3, 1, 5), NULL);
    w->connected = 1 << 2;
    look(w, 0, 0);
    buf_clear(&w->out);
    hear(w, "2:L2 z0 e1 p0");
    expect(w, "2:L2 z0 e1 p0\n3:L2 z0 e1 p0\n=F2 z0 e1 p0\n");
    stop(w);

    w = start_with(o, config_of(3, 1, 5), NULL);
    w->connected = 1 << 2 | 1 << 3;
    look(w, 0, 0);
    hear(w, "2:L2 z0 e1 p0");
    buf_clear(&w->out);
    pass(w, 5);
    expect(w, "");
    hear(w, "3:L2 z0 e1 p0"); /* now all have spoken */
    expect(w, "=F2 z0 e1 p0\n");
    stop(w);

    w = start_with(o, config_of(3, 1, 5), NULL);
    w->connected = 1 << 2 | 1 << 3;
    look(w, 0, 0);
    hear(w, "2:L2 z0 e1 p0");
    buf_clear(&w->out);
    w->connected = 1 << 2; /* the other one went */
    pass(w, 5);
    expect(w, "=F2 z0 e1 p0\n");
    stop(w);

    o.single_allowed = true;
    w = start_with(o, config_of(1, 0, 0), NULL); /* an ensemble of one */
    look(w, 3, 1);
    expect(w, "=E1 z3 e1 p1\n");
    stop(w);
}
END_TEST

/* Section 7.4. */
START_TEST(silence) {
    struct world *w = start(1, 3);
    int64_t interval = 200;
    look(w, 0, 0);
    buf_clear(&w->out);
    for (int i = 0; i < 12; i++) {
        w->undelivered = i == 2;
        ck_assert_int_eq(mono_diff_us(election_deadline(w->e), w->now.mono), interval * 1000);
        pass(w, interval - 1);
        expect(w, "");
        pass(w, 1);
        expect(w, i == 2 ? "connect\n" : "2:L1 z0 e1 p0\n3:L1 z0 e1 p0\n");
        interval = interval == 51200 ? 60000 : i64_min(interval * 2, 60000);
    }
    pass(w, 59000);
    hear(w, "2:L1 z0 e0 p0"); /* any message starts the interval again */
    buf_clear(&w->out);
    pass(w, 59999);
    expect(w, "");
    look(w, 0, 0);
    ck_assert_int_eq(mono_diff_us(election_deadline(w->e), w->now.mono), 200000);
    stop(w);

    for (int joins = 0; joins < 2; joins++) { /* nobody tells an observer anything, or one that is not listed: it asks every 5 s at least */
        w = joins ? start_with((struct election_options){.sid = 9}, config_of(3, 0, 5), NULL) : start(4, 3);
        look(w, 0, 0);
        for (int i = 0; i < 20; i++)
            pass(w, mono_diff_us(election_deadline(w->e), w->now.mono) / 1000);
        ck_assert_int_eq(mono_diff_us(election_deadline(w->e), w->now.mono), 5000000);
        stop(w);
    }
}
END_TEST

/* Section 6.1: -1 means that the database is not to be trusted. */
START_TEST(untrusted_database) {
    struct world *w = start(1, 3);
    look(w, -1, 0);
    expect(w, "2:L1 z-1 e1 p0\n3:L1 z-1 e1 p0\n");
    hear(w, "2:L2 z0 e1 p0");
    hear(w, "3:L2 z0 e1 p0");
    expect(w, "");
    hear(w, "2:E2 z0 e1 p1");
    hear(w, "3:F2 z0 e1 p1");
    expect(w, "=F2 z0 e1 p1\n");
    stop(w);

    /* Who has not noticed yet that it is gone follows it: as it was, not as it is. */
    w = start(1, 3);
    look(w, -1, 0);
    buf_clear(&w->out);
    hear(w, "2:F1 z0 e1 p1");
    hear(w, "3:F1 z0 e1 p1");
    expect(w, "");
    LOOKING(w);
    hear(w, "3:E3 z9 e2 p2");
    hear(w, "2:F3 z9 e2 p2");
    expect(w, "=F3 z9 e2 p2\n");
    stop(w);

    w = start(1, 3);
    look(w, 0, 0);
    buf_clear(&w->out);
    hear(w, "2:L2 z-1 e9 p9");
    hear(w, "3:L3 z-1 e9 p9");
    expect(w, "");
    ck_assert_int_eq(election_clock(w->e), 1);
    stop(w);
}
END_TEST

/* How often everybody is told in so many ms; *first: when that began. */
static int times_told(struct world *w, int64_t ms, int64_t *first) {
    int times = 0;
    *first = -1;
    for (int64_t at = 1; at <= ms; at++) {
        pass(w, 1);
        if (w->out.len == 0)
            continue;
        expect(w, "2:L1 z-1 e1 p0\n3:L1 z-1 e1 p0\n");
        *first = times++ == 0 ? at : *first;
    }
    return times;
}

/* It is told of nothing but the beginning of each round. Even if one follows the other it hears who leads. */
START_TEST(untrusted_asks_after_each_round) {
    struct world *w = start(1, 3);
    char text[32];
    int64_t first;
    look(w, -1, 0);
    buf_clear(&w->out);
    ck_assert_int_eq(times_told(w, 6200, &first), 5);
    ck_assert_int_eq(times_told(w, 50000, &first), 10); /* every 5 s */
    for (int round = 5; round < 30; round++) {
        snprintf(text, sizeof text, "2:L2 z7 e%d p1", round);
        hear(w, text);
        pass(w, 50);
        hear(w, text); /* twice */
        ck_assert_int_eq(times_told(w, 4950, &first), 4);
        ck_assert_int_eq(first, 150);
    }
    hear(w, "2:E2 z7 e29 p1");
    hear(w, "3:F2 z7 e29 p1");
    expect(w, "=F2 z7 e29 p1\n");
    stop(w);
}
END_TEST

/* Those who may vote are not kept from anything by one who may not. */
START_TEST(untrusted_delays_nobody) {
    struct world *w = start(1, 3);
    look(w, 0, 0);
    buf_clear(&w->out);
    for (int i = 0; i < 199; i++) {
        pass(w, 1);
        hear(w, "2:L2 z-1 e1 p9");
    }
    expect(w, "");
    pass(w, 1);
    expect(w, "2:L1 z0 e1 p0\n3:L1 z0 e1 p0\n");
    hear(w, "3:L1 z0 e1 p0");
    for (int i = 0; i < 199; i++) {
        pass(w, 1);
        hear(w, "2:L2 z-1 e1 p9");
    }
    expect(w, "");
    pass(w, 1);
    expect(w, "=E1 z0 e1 p0\n");
    stop(w);
}
END_TEST

START_TEST(heard_before_the_round) {
    struct world *w = start(1, 3);
    hear(w, "2:L2 z0 e1 p0");
    hear(w, "3:F2 z0 e1 p0");
    expect(w, "");
    look(w, 0, 0);
    expect(w, "2:L1 z0 e1 p0\n3:L1 z0 e1 p0\n2:L2 z0 e1 p0\n3:L2 z0 e1 p0\n");
    pass(w, 200);
    expect(w, "=F2 z0 e1 p0\n");
    ck_assert_int_eq(election_deadline(w->e).us, INT64_MAX);
    election_leave(w->e);
    LOOKING(w);
    hear(w, "2:L2 z0 e2 p0");
    hear(w, "2:L2 z8 e2 p0"); /* the newer one counts */
    look(w, 0, 0);
    buf_clear(&w->out);
    pass(w, 200);
    expect(w, "=F2 z8 e2 p0\n");
    stop(w);
}
END_TEST

/* -------- configurations -------- */

START_TEST(pending_configuration) {
    struct qconfig *next = config_of(5, 0, 9);
    struct world *w = start_with((struct election_options){.sid = 1, .no_early_end = true}, config_of(3, 0, 5), next);
    look(w, 0, 0);
    expect(w, "2:L1 z0 e1 p0\n3:L1 z0 e1 p0\n4:L1 z0 e1 p0\n5:L1 z0 e1 p0\n");
    hear(w, "3:L3 z0 e1 p0"); /* a quorum of the committed one */
    buf_clear(&w->out);
    pass(w, 200);
    expect(w, "2:L3 z0 e1 p0\n3:L3 z0 e1 p0\n4:L3 z0 e1 p0\n5:L3 z0 e1 p0\n");
    hear(w, "4:L3 z0 e1 p0"); /* and of the next one */
    pass(w, 200);
    expect(w, "=F3 z0 e1 p0\n");
    stop(w);

    w = start_with((struct election_options){.sid = 1, .no_early_end = true}, config_of(3, 0, 5), config_of(5, 0, 4));
    look(w, 0, 0); /* an older one does not count, but its voters are told */
    hear(w, "3:L3 z0 e1 p0");
    buf_clear(&w->out);
    pass(w, 200);
    expect(w, "=F3 z0 e1 p0\n");
    stop(w);
}
END_TEST

START_TEST(configurations_change_in_a_round) {
    struct world *w = start(1, 3);
    look(w, 0, 0);
    hear(w, "3:L3 z0 e1 p0");
    buf_clear(&w->out);
    qconfig_unref(w->committed);
    w->committed = config_of(5, 0, 7);
    election_set_configs(w->e, w->committed, NULL);
    hear(w, "2:L3 z0 e1 p0"); /* the votes before are still there */
    pass(w, 200);
    expect(w, "=F3 z0 e1 p0\n");
    hear(w, "5:L5 z0 e1 p0");
    expect(w, "5:F3 z0 e1 p0\n");
    stop(w);

    w = start(1, 3); /* in the final wait: the quorum of before is none now */
    look(w, 0, 0);
    hear(w, "3:L3 z0 e1 p0");
    qconfig_unref(w->committed);
    w->committed = config_of(5, 0, 7);
    election_set_configs(w->e, w->committed, NULL);
    buf_clear(&w->out);
    pass(w, 200);
    LOOKING(w);
    stop(w);
}
END_TEST

static void hear_with_config(struct world *w, const char *text) {
    struct notification n = {PEER_LOOKING, 3, 9, 1, 0, 2, slice_of(text)};
    election_received(w->e, 3, &n, w->now);
}

#define NEWER "server.1=127.0.0.1:2001:3001:participant\nserver.3=127.0.0.1:2003:3003:participant\nversion=6"
#define OLDER "server.1=127.0.0.1:2001:3001:participant\nserver.3=127.0.0.1:2003:3003:participant\nversion=4"

/* Section 8.2. */
START_TEST(gossip) {
    struct world *w = start(1, 3);
    look(w, 0, 0);
    buf_clear(&w->out);
    w->adopt = true;
    hear_with_config(w, NEWER); /* the vote is dropped */
    expect(w, "config 6\n");
    w->adopt = false;
    hear_with_config(w, NEWER);
    expect(w, "config 6\n2:L3 z9 e1 p0\n3:L3 z9 e1 p0\n");
    hear_with_config(w, OLDER);
    hear_with_config(w, "");
    hear_with_config(w, "version=");
    hear_with_config(w, "server.1=x\nversion=99");
    expect(w, "");
    election_serving(w->e, PEER_FOLLOWING, &(struct vote){3, 9, 1, 1});
    hear_with_config(w, NEWER); /* not in a role */
    expect(w, "3:F3 z9 e1 p1\n");
    stop(w);

    w = start(1, 3); /* from somebody who is no voter, too, and before the round */
    struct notification n = {PEER_LOOKING, 3, 9, 1, 0, 2, SLICE_LIT(NEWER)};
    w->adopt = true;
    election_received(w->e, 77, &n, w->now);
    expect(w, "config 6\n");
    stop(w);
}
END_TEST

/* Section 8.5: a participant that is in no configuration stands for nobody and follows. */
START_TEST(joiner) {
    struct world *w = start_with((struct election_options){.sid = 9, .no_early_end = true}, config_of(3, 0, 5), NULL);
    look(w, 12, 2);
    expect(w, "1:LMIN z12 e1 p2\n2:LMIN z12 e1 p2\n3:LMIN z12 e1 p2\n");
    hear(w, "1:F3 z0 e5 p1");
    hear(w, "3:E3 z0 e5 p1");
    expect(w, "=F3 z0 e5 p1\n");
    stop(w);
}
END_TEST

int main(void) {
    Suite *s = suite_create("quorum/election");
    TCase *t = tcase_create("captured");
    tcase_add_test(t, capture_first_start);
    tcase_add_test(t, capture_third_server);
    tcase_add_test(t, capture_observer);
    tcase_add_test(t, capture_leader_killed);
    suite_add_tcase(s, t);
    t = tcase_create("votes");
    tcase_add_loop_test(t, order_of_votes, 0, (int)ARRAY_LEN(orders));
    tcase_add_test(t, weightless_leader);
    tcase_add_test(t, equality_of_votes);
    tcase_add_test(t, looking_votes_count_for_a_new_leader);
    tcase_add_test(t, leader_has_to_agree);
    tcase_add_test(t, only_valid_voters);
    suite_add_tcase(s, t);
    t = tcase_create("rounds");
    tcase_add_test(t, newer_round);
    tcase_add_test(t, older_round);
    tcase_add_test(t, voter_that_looks_later);
    tcase_add_test(t, final_wait);
    tcase_add_test(t, early_end);
    tcase_add_test(t, silence);
    tcase_add_test(t, untrusted_database);
    tcase_add_test(t, untrusted_asks_after_each_round);
    tcase_add_test(t, untrusted_delays_nobody);
    tcase_add_test(t, heard_before_the_round);
    suite_add_tcase(s, t);
    t = tcase_create("configurations");
    tcase_add_test(t, pending_configuration);
    tcase_add_test(t, configurations_change_in_a_round);
    tcase_add_test(t, gossip);
    tcase_add_test(t, joiner);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
