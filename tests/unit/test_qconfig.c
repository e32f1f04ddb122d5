/* src/quorum/qconfig: the configuration of an ensemble. The text form is that of docs/protocol/zab.md section 17. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "quorum/qconfig.h"

#define THREE "server.1=a:2888:3888:participant\nserver.2=b:2888:3888:participant\nserver.3=c:2888:3888:participant\n"

static char error[QCONFIG_ERROR_BYTES];

static struct qconfig *parse(const char *text) {
    error[0] = '\0';
    struct qconfig *c = qconfig_parse(slice_of(text), true, error, sizeof error);
    ck_assert_msg(c != NULL, "%s: %s", text, error);
    return c;
}

static void refused(const char *text, const char *why) {
    error[0] = '\0';
    struct qconfig *c = qconfig_parse(slice_of(text), true, error, sizeof error);
    ck_assert_msg(c == NULL, "taken: %s", text);
    ck_assert_msg(strstr(error, why) != NULL, "%s: '%s' instead of '%s'", text, error, why);
}

static void expect_text(const struct qconfig *c, const char *text) {
    struct buf out = BUF_INIT;
    qconfig_text(c, &out);
    buf_append(&out, "", 1);
    ck_assert_str_eq((const char *)out.data, text);
    buf_free(&out);
}

/* Parses a text, prints it, compares, and parses that again. */
static void round_trip(const char *text, const char *printed) {
    struct qconfig *c = parse(text), *again = parse(printed);
    expect_text(c, printed);
    expect_text(again, printed);
    ck_assert(qconfig_equal(c, again));
    again->version++;
    ck_assert(qconfig_equal(c, again));
    qconfig_unref(c);
    qconfig_unref(again);
}

/* ------------------------------------------------------------------ text */

START_TEST(text_form) {
    round_trip(THREE "version=100000000", THREE "version=100000000");
    round_trip("server.1=h:1:2", "server.1=h:1:2:participant\nversion=0");
    round_trip("server.1=h:1:2:PARTICIPANT;2181", "server.1=h:1:2:participant;0.0.0.0:2181\nversion=0");
    round_trip("server.1=[::1]:1:2;[fe80::1%eth0]:2181\nserver.200=h:3:4:observer\n",
               "server.1=[::1]:1:2:participant;[fe80::1%eth0]:2181\nserver.200=h:3:4:observer\nversion=0");
    round_trip("server.1=[h]:1:2", "server.1=h:1:2:participant\nversion=0");
    round_trip("version=FF\n\n# a comment\nserver.0=h:1:2\r\n server.10 = i:1:2 \nserver.2=j:1:2\n",
               "server.0=h:1:2:participant\nserver.2=j:1:2:participant\nserver.10=i:1:2:participant\nversion=ff");
    round_trip("server.1=h:+1:0002", "server.1=h:1:2:participant\nversion=0");
}
END_TEST

START_TEST(several_addresses) {
    /* The role may stand at any of them, and is printed once. */
    round_trip("server.1=b:1:2|a:3:4|a:1:4:observer;9\nserver.2=c:1:2",
               "server.1=a:1:4|a:3:4|b:1:2:observer;0.0.0.0:9\nserver.2=c:1:2:participant\nversion=0");
    round_trip("server.1=b:1:2:participant|[::1]:3:4:participant",
               "server.1=[::1]:3:4|b:1:2:participant\nversion=0");
    refused("server.1=a:1:2:participant|b:1:2:observer", "Multiple addresses should have similar roles");
    refused("server.1=a:1:2|a:1:2", "server.1 has the same address twice: a:1:2");
    refused("server.1=a:1:2|", "does not have the form");
    struct buf text = BUF_INIT;
    buf_printf(&text, "server.1=a:1:2");
    for (int i = 1; i <= QUORUM_ADDRESSES_MAX; i++)
        buf_printf(&text, "|h%d:1:2", i);
    buf_append(&text, "", 1);
    refused((const char *)text.data, "server.1 has more than 16 addresses");
    buf_free(&text);
}
END_TEST

START_TEST(fields) {
    struct qconfig *c = parse("server.7=x:5:6:observer\nserver.2=[::1]:1:2;10.0.0.1:2181\nserver.5=y:3:4\nversion=a");
    ck_assert_int_eq(c->version, 10);
    ck_assert_int_eq(c->server_count, 3);
    ck_assert_int_eq(c->voter_count, 2);
    const struct qserver *s = qconfig_find(c, 2);
    ck_assert_str_eq(s->addresses[0].host, "::1");
    ck_assert_int_eq(s->addresses[0].quorum_port, 1);
    ck_assert_int_eq(s->addresses[0].election_port, 2);
    ck_assert_str_eq(s->client_host, "10.0.0.1");
    ck_assert_int_eq(s->client_port, 2181);
    ck_assert_int_eq(s->voter, 0);
    ck_assert_int_eq(qconfig_find(c, 5)->voter, 1);
    ck_assert_ptr_null(qconfig_find(c, 5)->client_host);
    ck_assert_int_eq(qconfig_find(c, 5)->client_port, 0);
    ck_assert(qconfig_find(c, 7)->observer);
    ck_assert_int_eq(qconfig_find(c, 7)->voter, -1);
    for (int64_t sid = -1; sid < 300; sid++)
        ck_assert((qconfig_find(c, sid) != NULL) == (sid == 2 || sid == 5 || sid == 7));
    ck_assert_ptr_null(qconfig_find(c, INT64_MIN));
    ck_assert_uint_eq(qconfig_voter_bit(c, 2), 1);
    ck_assert_uint_eq(qconfig_voter_bit(c, 5), 2);
    ck_assert_uint_eq(qconfig_voter_bit(c, 7), 0);
    ck_assert_uint_eq(qconfig_voter_bit(c, 9), 0);
    ck_assert_int_eq(qconfig_weight(c, 7), 1);
    ck_assert_int_eq(qconfig_weight(c, 9), 0);
    qconfig_unref(c);
}
END_TEST

START_TEST(refusals) {
    static const char *const cases[][2] = {
        {"server.1", "Unrecognised parameter: server.1"},
        {"serverx.1=a:1:2", "Unrecognised parameter: serverx.1"},
        {"clientPort=2181", "Unrecognised parameter: clientPort"},
        {"=", "Unrecognised parameter: "},
        {"server.=a:1:2", "For input string: \"\""},
        {"server.x=a:1:2", "For input string: \"x\""},
        {"server.-1=a:1:2", "For input string: \"-1\""},
        {"server.256=a:1:2", "from 0 to 255"},
        {"server.18446744073709551617=a:1:2", "For input string"},
        {"server.1=a:1:2\nserver.1=b:1:2", "server.1 is listed twice"},
        {"server.1=a:1:2\nserver.01=b:1:2", "server.1 is listed twice"},
        {"server.1=", "does not have the form"},
        {"server.1=a", "does not have the form"},
        {"server.1=a:1", "does not have the form"},
        {"server.1=:1:2", "does not have the form"},
        {"server.1=[]:1:2", "does not have the form"},
        {"server.1=[::1]", "does not have the form"},
        {"server.1=[::1]x:1:2", "does not have the form"},
        {"server.1=::1:1:2:3", "does not have the form"},
        {"server.1=a b:1:2", "does not have the form"},
        {"server.1=a:1:2:participant:", "does not have the form"},
        {"server.1=a:1:2;1;2", "does not have the form"},
        {"server.1=a:1:2;:1", "does not have the form"},
        {"server.1=a:1:2;", "Address unresolved: "},
        {"server.1=a:1:2;0", "Address unresolved: 0"},
        {"server.1=[::1:1:2", "[::1:1:2 starts with '[' but has no matching ']:'"},
        {"server.1=a:0:2", "Address unresolved: a:0"},
        {"server.1=a:1:65536", "Address unresolved: a:65536"},
        {"server.1=a:-1:2", "Address unresolved: a:-1"},
        {"server.1=a:1:2x", "Address unresolved: a:2x"},
        {"server.1=a:1:4294967298", "Address unresolved"},
        {"server.1=a:1:1", "Client and election port must be different!"},
        {"server.1=a:1:2:leader", "Unrecognised peertype: leader"},
        {"server.1=a:1:2:", "Unrecognised peertype: "},
        {"server.1=a:1:2\nversion=", "For input string: \"\""},
        {"server.1=a:1:2\nversion=-1", "For input string: \"-1\""},
        {"server.1=a:1:2\nversion=0x1", "For input string: \"0x1\""},
        {"server.1=a:1:2\nversion=ffffffffffffffff", "For input string"},
        {"server.1=a:1:2\nversion=1\nversion=1", "version is given twice"},
        {"", "no server is listed"},
        {"version=1", "no server is listed"},
        {"server.1=a:1:2:observer", "Observers w/o participants is an invalid configuration"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        refused(cases[i][0], cases[i][1]);
    ck_assert_ptr_null(qconfig_parse(SLICE_NULL, true, error, sizeof error));
    ck_assert_str_eq(error, "no server is listed");
}
END_TEST

START_TEST(one_voter) {
    ck_assert_ptr_null(qconfig_parse(SLICE_LIT("server.1=a:1:2"), false, error, sizeof error));
    ck_assert_str_eq(error, "only one voting server is listed");
    ck_assert_ptr_null(qconfig_parse(SLICE_LIT("server.1=a:1:2\nserver.2=b:1:2:observer"), false, error, sizeof error));
    ck_assert_str_eq(error, "Observers w/o quorum is an invalid configuration");
    struct qconfig *c = parse("server.1=a:1:2\nserver.2=b:1:2:observer");
    ck_assert(qconfig_is_quorum(c, 1));
    ck_assert(!qconfig_is_quorum(c, 0));
    ck_assert(!qconfig_is_quorum(c, 2)); /* a bit of nobody */
    qconfig_unref(c);
    c = qconfig_parse(SLICE_LIT("server.1=a:1:2\nserver.2=b:1:2"), false, error, sizeof error);
    ck_assert_ptr_nonnull(c);
    qconfig_unref(c);
}
END_TEST

START_TEST(bounds) {
    struct buf text = BUF_INIT;
    for (int i = 0; i < QUORUM_VOTERS_MAX; i++)
        buf_printf(&text, "server.%d=h%d:1:2\n", i, i);
    for (int i = QUORUM_VOTERS_MAX; i <= QUORUM_SID_MAX; i++)
        buf_printf(&text, "server.%d=h%d:1:2:observer\n", i, i);
    size_t len = text.len;
    struct qconfig *c = qconfig_parse((struct slice){(const char *)text.data, len}, false, error, sizeof error);
    ck_assert_ptr_nonnull(c);
    ck_assert_int_eq(c->server_count, 256);
    ck_assert(!qconfig_is_quorum(c, UINT32_MAX));
    ck_assert(qconfig_is_quorum(c, (uint64_t)UINT32_MAX << 1 | 1));
    ck_assert(qconfig_is_quorum(c, UINT64_MAX));
    qconfig_unref(c);
    buf_clear(&text);
    for (int i = 0; i <= QUORUM_VOTERS_MAX; i++)
        buf_printf(&text, "server.%d=h%d:1:2\n", i, i);
    buf_append(&text, "", 1);
    refused((const char *)text.data, "more than 64 voting servers are listed");
    buf_clear(&text);
    buf_printf(&text, "server.1=%0256d:1:2", 0);
    buf_append(&text, "", 1);
    refused((const char *)text.data, "does not have the form");
    buf_clear(&text);
    buf_reserve(&text, QUORUM_TEXT_BYTES_MAX + 1);
    memset(text.data, '\n', QUORUM_TEXT_BYTES_MAX + 1);
    ck_assert_ptr_null(qconfig_parse((struct slice){(const char *)text.data, QUORUM_TEXT_BYTES_MAX + 1}, true, error,
                                     sizeof error));
    ck_assert(strstr(error, "longer than") != NULL);
    buf_free(&text);
    /* A message that does not fit is cut. */
    char small[8];
    ck_assert_ptr_null(qconfig_parse(SLICE_LIT("server.1=a"), true, small, sizeof small));
    ck_assert_str_eq(small, "a does ");
    ck_assert_ptr_null(qconfig_parse(SLICE_LIT("server.1=a"), true, NULL, 0));
}
END_TEST

/* ------------------------------------------------------------------ quorums */

START_TEST(majority) {
    struct qconfig *c = parse(THREE);
    static const bool quorum[8] = {false, false, false, true, false, true, true, true};
    for (uint64_t set = 0; set < 8; set++)
        ck_assert(qconfig_is_quorum(c, set) == quorum[set]);
    ck_assert(!qconfig_is_quorum(c, ~(uint64_t)7 | 1));
    qconfig_unref(c);
    c = parse("server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2");
    ck_assert(!qconfig_is_quorum(c, 3));
    ck_assert(qconfig_is_quorum(c, 7));
    qconfig_unref(c);
}
END_TEST

static uint64_t set_of(const struct qconfig *c, const char *sids) {
    uint64_t set = 0;
    for (; *sids != '\0'; sids++)
        set |= qconfig_voter_bit(c, *sids - '0');
    return set;
}

#define NINE                                                                                                           \
    "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2\nserver.5=e:1:2\nserver.6=f:1:2\n"                 \
    "server.7=g:1:2\nserver.8=h:1:2\nserver.9=i:1:2\n"

START_TEST(hierarchical) {
    struct qconfig *c = parse("group.1=1:2:3\n" NINE "group.3=7:8:9\ngroup.2=6:5:4\n");
    ck_assert_int_eq(c->group_count, 3);
    ck_assert_int_eq(c->groups[1].id, 2);
    ck_assert_int_eq(c->groups[1].weight, 3);
    ck_assert_uint_eq(c->groups[1].voters, set_of(c, "456"));
    ck_assert(qconfig_is_quorum(c, set_of(c, "1245")));
    ck_assert(qconfig_is_quorum(c, set_of(c, "4578")));
    ck_assert(!qconfig_is_quorum(c, set_of(c, "123")));
    ck_assert(!qconfig_is_quorum(c, set_of(c, "12347"))); /* five of nine, but only one group */
    ck_assert(!qconfig_is_quorum(c, 0));
    qconfig_unref(c);
    /* Weights: 1 alone has more than half of its group; group 3 does not count. */
    c = parse(NINE "group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\nweight.1=5\nweight.7=0\nweight.8=0\nweight.9=0\n");
    ck_assert_int_eq(qconfig_weight(c, 1), 5);
    ck_assert_int_eq(qconfig_weight(c, 2), 1);
    ck_assert_int_eq(qconfig_weight(c, 7), 0);
    ck_assert(qconfig_is_quorum(c, set_of(c, "145")));
    ck_assert(!qconfig_is_quorum(c, set_of(c, "2345"))); /* two of seven in group 1 */
    ck_assert(!qconfig_is_quorum(c, set_of(c, "1789")));
    qconfig_unref(c);
}
END_TEST

START_TEST(hierarchical_text) {
    round_trip("group.5=2\nserver.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\ngroup.0=1\nweight.2=3\nversion=5",
               "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nserver.3=c:1:2:observer\n"
               "group.0=1\ngroup.5=2\nweight.1=1\nweight.2=3\nversion=5");
    static const char *const cases[][2] = {
        {"server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1", "Server 2 is not in a group"},
        {"server.1=a:1:2\nweight.1=1", "Server 1 is not in a group"},
        {"server.1=a:1:2\ngroup.1=1\ngroup.2=1", "Server 1 is in multiple groups"},
        {"server.1=a:1:2\ngroup.1=1:1", "Server 1 is in multiple groups"},
        {"server.1=a:1:2\ngroup.1=1\ngroup.1=2", "group.1 is listed twice"},
        {"server.1=a:1:2\ngroup.1=1:2", "group.1 names server 2, which is not listed"},
        {"server.1=a:1:2\nserver.2=a:1:2:observer\ngroup.1=1:2", "group.1 names server 2, which is an observer"},
        {"server.1=a:1:2\ngroup.1=", "For input string: \"\""},
        {"server.1=a:1:2\ngroup.1=1:", "For input string: \"\""},
        {"server.1=a:1:2\ngroup.1=1:256", "For input string: \"256\""},
        {"server.1=a:1:2\ngroup.-1=1", "For input string: \"-1\""},
        {"server.1=a:1:2\ngroup.x=1", "For input string: \"x\""},
        {"server.1=a:1:2\ngroup.1=1\nweight.1=-1", "For input string: \"-1\""},
        {"server.1=a:1:2\ngroup.1=1\nweight.1=2147483648", "For input string: \"2147483648\""},
        {"server.1=a:1:2\ngroup.1=1\nweight.2=1", "weight.2 is about a server that is not listed"},
        {"server.1=a:1:2\ngroup.1=1\nweight.1=1\nweight.01=1", "weight.1 is listed twice"},
        {"server.1=a:1:2\ngroup.1=1\nweight.1=", "For input string: \"\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        refused(cases[i][0], cases[i][1]);
}
END_TEST

/* ------------------------------------------------------------------ equality, copies */

START_TEST(equality) {
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {THREE "version=1", THREE "version=2", true},
        {THREE "version=1", "server.1=z:1:2\nversion=1", true}, /* nothing but the version is looked at */
        {THREE "version=1", "server.1=z:1:2\nversion=2", false},
        {"server.1=a:1:2\nversion=1", "server.1=a:1:3\nversion=2", false},
        {"server.1=a:1:2\nversion=1", "server.1=a:3:2\nversion=2", false},
        {"server.1=a:1:2\nversion=1", "server.1=b:1:2\nversion=2", false},
        {"server.1=a:1:2\nversion=1", "server.1=a:1:2;5\nversion=2", false},
        {"server.1=a:1:2;6\nversion=1", "server.1=a:1:2;5\nversion=2", false},
        {"server.1=a:1:2;h:5\nversion=1", "server.1=a:1:2;5\nversion=2", false},
        {"server.1=a:1:2;0.0.0.0:5\nversion=1", "server.1=a:1:2;5\nversion=2", true},
        {"server.1=a:1:2|b:1:2\nversion=1", "server.1=b:1:2|a:1:2\nversion=2", true},
        {"server.1=a:1:2|b:1:2\nversion=1", "server.1=a:1:2\nversion=2", false},
        {THREE "server.4=d:1:2\nversion=1", THREE "server.4=d:1:2:observer\nversion=2", false},
        {THREE "server.4=d:1:2\nversion=1", THREE "server.5=d:1:2\nversion=2", false},
        {"server.1=a:1:2\nversion=1", "server.1=a:1:2\ngroup.1=1\nversion=1", false},
        {"server.1=a:1:2\ngroup.1=1\nversion=1", "server.1=a:1:2\ngroup.2=1\nversion=2", false},
        {"server.1=a:1:2\ngroup.1=1\nversion=1", "server.1=a:1:2\ngroup.1=1\nweight.1=2\nversion=2", false},
        {"server.1=a:1:2\ngroup.1=1\nversion=1", "server.1=a:1:2\ngroup.1=1\nweight.1=1\nversion=2", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct qconfig *a = parse(cases[i].a), *b = parse(cases[i].b);
        ck_assert_msg(qconfig_equal(a, b) == cases[i].equal, "%s and %s", cases[i].a, cases[i].b);
        ck_assert(qconfig_equal(b, a) == cases[i].equal);
        qconfig_unref(a);
        qconfig_unref(b);
    }
}
END_TEST

START_TEST(copies) {
    struct qconfig *c = parse("server.1=a:1:2|b:1:2;5\nserver.2=c:1:2\ngroup.1=1:2\nversion=1");
    struct qconfig *copy = qconfig_with_version(c, 0x20);
    ck_assert_ptr_eq(qconfig_ref(c), c);
    qconfig_unref(c);
    ck_assert(qconfig_equal(c, copy));
    qconfig_unref(c);
    expect_text(copy, "server.1=a:1:2|b:1:2:participant;0.0.0.0:5\nserver.2=c:1:2:participant\ngroup.1=1:2\n"
                      "weight.1=1\nweight.2=1\nversion=20");
    ck_assert(qconfig_is_quorum(copy, 3));
    qconfig_unref(copy);
    qconfig_unref(NULL);
}
END_TEST

START_TEST(drafts) {
    struct qconfig_draft *d = qconfig_draft_new();
    int voters, observers;
    ck_assert(qconfig_draft_add(d, SLICE_LIT("server.2"), SLICE_LIT("b:1:2:observer;7"), error, sizeof error));
    ck_assert_int_eq(qconfig_draft_last(d)->sid, 2);
    ck_assert_int_eq(qconfig_draft_last(d)->client_port, 7);
    ck_assert(!qconfig_draft_add(d, SLICE_LIT("server.1"), SLICE_LIT("a:1:2;x"), error, sizeof error));
    ck_assert(qconfig_draft_add(d, SLICE_LIT("server.1"), SLICE_LIT("a:1:2"), error, sizeof error));
    ck_assert(!qconfig_draft_add(d, SLICE_LIT("group.1"), SLICE_LIT("1:x"), error, sizeof error));
    ck_assert(qconfig_draft_add(d, SLICE_LIT("group.1"), SLICE_LIT("1"), error, sizeof error));
    qconfig_draft_count(d, &voters, &observers);
    ck_assert_int_eq(voters, 1);
    ck_assert_int_eq(observers, 1);
    struct qconfig *c = qconfig_draft_finish(d, true, error, sizeof error);
    ck_assert_ptr_nonnull(c);
    ck_assert_int_eq(c->servers[0].sid, 1);
    qconfig_unref(c);
    d = qconfig_draft_new();
    ck_assert_ptr_null(qconfig_draft_finish(d, true, error, sizeof error));
    qconfig_draft_free(NULL);
}
END_TEST

/* ------------------------------------------------------------------ any bytes */

/* Whatever is taken prints as a text that is taken again and prints the same. */
static void try_text(const char *text, size_t len) {
    struct qconfig *c = qconfig_parse((struct slice){text, len}, true, error, sizeof error);
    if (c == NULL) {
        ck_assert(memchr(error, '\0', sizeof error) != NULL);
        return;
    }
    struct buf first = BUF_INIT, second = BUF_INIT;
    qconfig_text(c, &first);
    struct qconfig *again =
        qconfig_parse((struct slice){(const char *)first.data, first.len}, true, error, sizeof error);
    ck_assert_msg(again != NULL, "%.*s: %s", (int)first.len, (const char *)first.data, error);
    qconfig_text(again, &second);
    ck_assert(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
    qconfig_unref(c);
    qconfig_unref(again);
    buf_free(&first);
    buf_free(&second);
}

START_TEST(mutations) {
    static const char seed_text[] = "server.1=a:1:2:participant;2181\nserver.2=[::1]:3:4|c:1:2;[::]:5\n"
                                    "server.3=d:5:6:observer\ngroup.1=1:2\nweight.1=3\nversion=1f";
    static const char alphabet[] = ":;|=[]\n.,0129-+ao\xff";
    struct rng rng = {1};
    for (int round = 0; round < 20000; round++) {
        char *text = mem_dup(seed_text, sizeof seed_text - 1);
        size_t len = rng_below(&rng, 3) != 0 ? sizeof seed_text - 1 : rng_below(&rng, sizeof seed_text);
        for (int changes = (int)rng_below(&rng, 4); changes > 0 && len != 0; changes--)
            text[rng_below(&rng, len)] = alphabet[rng_below(&rng, sizeof alphabet - 1)];
        try_text(text, len);
        mem_free(text);
    }
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("qconfig");
    tcase_add_test(tc, text_form);
    tcase_add_test(tc, several_addresses);
    tcase_add_test(tc, fields);
    tcase_add_test(tc, refusals);
    tcase_add_test(tc, one_voter);
    tcase_add_test(tc, bounds);
    tcase_add_test(tc, majority);
    tcase_add_test(tc, hierarchical);
    tcase_add_test(tc, hierarchical_text);
    tcase_add_test(tc, equality);
    tcase_add_test(tc, copies);
    tcase_add_test(tc, drafts);
    tcase_add_test(tc, mutations);
    Suite *suite = suite_create("qconfig");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
