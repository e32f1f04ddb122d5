/* The answers of the four-letter words, exact where they can be. */
#include <check.h>
#include <limits.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "admin/words.h"
#include "base/mem.h"
#include "base/version.h"
#include "lib/testserver.h"

#define VERSION_LINE "Zookeeper version: 3.9.3-zabra-" PACKAGE_VERSION ", built on 2026-11-21 00:00 UTC\n"
#define NOT_SERVING "This ZooKeeper instance is not currently serving requests"

static struct buf text = BUF_INIT;

static const char *ask_with(struct testserver *ts, const char *word, int64_t mask) {
    buf_clear(&text);
    struct answer *a = admin_word(ts->server, word, mask, &text);
    if (a != NULL) {
        int looks = INT_MAX;
        ck_assert(a->next(a, &text, SIZE_MAX, &looks));
        a->free(a);
    }
    ts->server->metrics.packets_sent++; /* as the shell counts it */
    buf_append(&text, "", 1);
    return (const char *)text.data;
}
static const char *ask(struct testserver *ts, const char *word) { return ask_with(ts, word, 0); }

static void expect_match(const char *have, const char *pattern) {
    regex_t re;
    ck_assert_int_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    ck_assert_msg(regexec(&re, have, 0, NULL, 0) == 0, "---\n%s---\ndoes not match\n%s", have, pattern);
    regfree(&re);
}

static void expect_result(struct testclient *c, int32_t err) { ck_assert_int_eq(testclient_result(c), err); }

static struct testserver *setup(void) {
    setenv("TZ", "UTC", 1);
    tzset();
    return testserver_new(NULL);
}

/* ------------------------------------------------------------------ small ones */

START_TEST(small_words) {
    struct testserver *ts = setup();
    ck_assert_str_eq(ask(ts, "ruok"), "imok");
    ck_assert_str_eq(ask(ts, "isro"), "rw");
    ck_assert_str_eq(ask(ts, "gtmk"), "306");
    ck_assert_str_eq(ask_with(ts, "stmk", 0x32), "50");
    ck_assert_str_eq(ask(ts, "gtmk"), "50");
    ck_assert_str_eq(ask_with(ts, "stmk", -1), "-1");
    ck_assert_str_eq(ask(ts, "nope"), "");
    testserver_free(ts);
}
END_TEST

START_TEST(not_serving) {
    static const enum server_state states[] = {SERVER_LOADING, SERVER_STOPPING, SERVER_FAILED};
    static const char *const words[] = {"conf", "cons", "crst", "dirs", "dump", "mntr", "srst",
                                        "srvr", "stat", "wchc", "wchp", "wchs"};
    struct testserver *ts = setup();
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        ts->server->state = states[i];
        for (size_t w = 0; w < ARRAY_LEN(words); w++)
            ck_assert_str_eq(ask(ts, words[w]), NOT_SERVING "\n");
        ck_assert_str_eq(ask(ts, "hash"), NOT_SERVING);
        ck_assert_str_eq(ask(ts, "isro"), "null");
        ck_assert_str_eq(ask(ts, "ruok"), "imok");
        ck_assert_str_eq(ask(ts, "gtmk"), "306");
        expect_match(ask(ts, "envi"), "^Environment:\n");
    }
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ srvr, stat, cons */

START_TEST(srvr_of_a_fresh_server) {
    struct testserver *ts = setup();
    ck_assert_str_eq(ask(ts, "srvr"), VERSION_LINE "Latency min/avg/max: 0/0.0/0\n"
                                                   "Received: 0\nSent: 0\nConnections: 0\nOutstanding: 0\n"
                                                   "Zxid: 0x0\nMode: standalone\nNode count: 5\n");
    testserver_free(ts);
}
END_TEST

/* Requests whose log takes 3 ms and 29 ms. */
static struct testclient *busy_client(struct testserver *ts) {
    struct testclient *c = testclient_connect(ts, 10000);
    ts->hold_log = true;
    testclient_create(c, "/a", "x", CREATE_PERSISTENT);
    testserver_advance(ts, 3);
    ts->hold_log = false;
    expect_result(c, ZK_OK);
    ts->hold_log = true;
    testclient_set_data(c, "/a", "y");
    testserver_advance(ts, 29);
    ts->hold_log = false;
    expect_result(c, ZK_OK);
    return c;
}

START_TEST(srvr_of_a_used_server) {
    struct testserver *ts = setup();
    busy_client(ts);
    /* Three requests: 0, 3 and 29 ms. */
    ck_assert_str_eq(ask(ts, "srvr"), VERSION_LINE "Latency min/avg/max: 0/10.6667/29\n"
                                                   "Received: 3\nSent: 3\nConnections: 1\nOutstanding: 0\n"
                                                   "Zxid: 0x3\nMode: standalone\nNode count: 6\n");
    testserver_free(ts);
}
END_TEST

START_TEST(stat_lists_clients) {
    struct testserver *ts = setup();
    struct testclient *word;
    busy_client(ts);
    testclient_new(ts, "10.1.2.3");
    word = testclient_new(ts, NULL);
    word->conn->received = 1; /* as the shell counts it */
    buf_append(conn_out(word->conn), "answer", 6);
    ck_assert_str_eq(ask(ts, "stat"), VERSION_LINE "Clients:\n"
                                                   " /127.0.0.1:10000[1](queued=0,recved=3,sent=3)\n"
                                                   " /10.1.2.3:10001[1](queued=0,recved=0,sent=0)\n"
                                                   " /127.0.0.1:10002[0](queued=0,recved=1,sent=0)\n"
                                                   "\n"
                                                   "Latency min/avg/max: 0/10.6667/29\n"
                                                   "Received: 3\nSent: 3\nConnections: 3\nOutstanding: 0\n"
                                                   "Zxid: 0x3\nMode: standalone\nNode count: 6\n");
    testserver_free(ts);
}
END_TEST

START_TEST(cons_of_one_session) {
    struct testserver *ts = setup();
    struct testclient *c = busy_client(ts);
    char expected[512];
    snprintf(expected, sizeof expected,
             " /127.0.0.1:10000[1](queued=0,recved=3,sent=3,sid=0x%llx,lop=SETD,est=%lld,to=10000,lcxid=0x2,lzxid=0x3,"
             "lresp=1000003,llat=29,minlat=0,avglat=10,maxlat=29)\n\n",
             (unsigned long long)c->session_id, (long long)TESTSERVER_WALL_MS);
    ck_assert_str_eq(ask(ts, "cons"), expected);
    ck_assert_str_eq(ask(ts, "crst"), "Connection stats reset.\n");
    snprintf(expected, sizeof expected,
             " /127.0.0.1:10000[1](queued=0,recved=0,sent=0,sid=0x%llx,lop=NA,est=%lld,to=10000,"
             "lzxid=0xffffffffffffffff,lresp=0,llat=0,minlat=0,avglat=0,maxlat=0)\n\n",
             (unsigned long long)c->session_id, (long long)TESTSERVER_WALL_MS);
    ck_assert_str_eq(ask(ts, "cons"), expected);
    testclient_hang_up(c);
    ck_assert_str_eq(ask(ts, "cons"), "\n");
    testserver_free(ts);
}
END_TEST

START_TEST(cons_shows_what_a_connection_waits_for) {
    struct testserver *ts = testserver_new((const char *[]){"globalOutstandingLimit", "1", NULL});
    struct testclient *c = testclient_connect(ts, 10000);
    ts->hold_log = true;
    for (int i = 0; i < 4; i++)
        testclient_create(c, "/s", "", CREATE_PERSISTENT_SEQUENTIAL);
    testserver_run(ts);
    ck_assert(c->conn->paused);
    expect_match(ask(ts, "cons"), "^ /127.0.0.1:10000\\[0\\]\\(queued=2,recved=3,sent=1,");
    expect_match(ask(ts, "srvr"), "\nOutstanding: 2\n");
    ts->hold_log = false;
    testserver_run(ts);
    expect_match(ask(ts, "cons"), "^ /127.0.0.1:10000\\[1\\]\\(queued=0,recved=5,sent=5,");
    testclient_stall(c, true);
    testclient_ping(c);
    testserver_run(ts);
    expect_match(ask(ts, "cons"), "^ /127.0.0.1:10000\\[5\\]\\(queued=0,recved=6,sent=6,");
    testclient_stall(c, false);
    testserver_run(ts);
    expect_match(ask(ts, "cons"), "^ /127.0.0.1:10000\\[1\\]\\(");
    ts->hold_log = true;
    struct testclient *d = testclient_new(ts, NULL);
    testclient_send_connect(d, 10000);
    testserver_run(ts);
    expect_match(ask(ts, "cons"), "\n /127.0.0.1:10001\\[0\\]\\(queued=0,recved=1,sent=0,sid=");
    testserver_free(ts);
}
END_TEST

START_TEST(srst_sets_the_server_to_zero) {
    struct testserver *ts = setup();
    busy_client(ts);
    ck_assert_str_eq(ask(ts, "srst"), "Server stats reset.\n");
    ck_assert_str_eq(ask(ts, "srvr"), VERSION_LINE "Latency min/avg/max: 0/0.0/0\n"
                                                   "Received: 0\nSent: 1\nConnections: 1\nOutstanding: 0\n"
                                                   "Zxid: 0x3\nMode: standalone\nNode count: 6\n");
    expect_match(ask(ts, "mntr"), "\nzk_cnt_fsynctime\t0\n");
    expect_match(ask(ts, "mntr"), "\nzk_last_client_response_size\t-1\n");
    expect_match(ask(ts, "cons"), "recved=3,sent=3");
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ conf, dirs, envi */

START_TEST(conf_as_configured) {
    struct testserver *ts = testserver_new((const char *[]){"clientPort", "22201", "tickTime", "1000", "maxClientCnxns", "7",
                                                            "dataDir", "/var/lib/zk//", NULL});
    expect_match(ask(ts, "conf"), "^clientPort=22201\nsecureClientPort=-1\n"
                                  "dataDir=/var/lib/zk/version-2\ndataDirSize=[0-9]+\n"
                                  "dataLogDir=/log/version-2\ndataLogSize=[0-9]+\n"
                                  "tickTime=1000\nmaxClientCnxns=7\nminSessionTimeout=2000\nmaxSessionTimeout=20000\n"
                                  "clientPortListenBacklog=-1\nserverId=0\n$");
    testserver_free(ts);
}
END_TEST

START_TEST(conf_of_a_relative_directory) {
    struct testserver *ts = testserver_new((const char *[]){"dataDir", "./data", "dataLogDir", "./data", NULL});
    expect_match(ask(ts, "conf"), "\ndataDir=/[^\n]*/\\./data/version-2\n");
    testserver_free(ts);
}
END_TEST

static int64_t sum_of_files(const struct testserver *ts, enum disk_dir dir) {
    int64_t sum = 0;
    const char *name;
    for (int i = 0; (name = simdisk_nth(&ts->disk, dir, i)) != NULL; i++) {
        size_t size;
        mem_free(simdisk_get(&ts->disk, dir, name, &size));
        sum += (int64_t)size;
    }
    return sum;
}

START_TEST(directory_sizes) {
    struct testserver *ts = setup();
    char expected[128];
    int64_t fresh = sum_of_files(ts, DISK_SNAP);
    ck_assert_int_gt(fresh, 0);
    testserver_advance(ts, 1100);
    snprintf(expected, sizeof expected, "datadir_size: %lld\nlogdir_size: %lld\n", (long long)fresh,
             (long long)sum_of_files(ts, DISK_LOG));
    ck_assert_str_eq(ask(ts, "dirs"), expected);
    busy_client(ts);
    testserver_advance(ts, 1100);
    int64_t log = sum_of_files(ts, DISK_LOG);
    ck_assert_int_ge(log, 1024 * 1024);
    snprintf(expected, sizeof expected, "datadir_size: %lld\nlogdir_size: %lld\n", (long long)fresh, (long long)log);
    ck_assert_str_eq(ask(ts, "dirs"), expected);
    snprintf(expected, sizeof expected, "\ndataDirSize=%lld\n[^\n]*\ndataLogSize=%lld\n", (long long)fresh, (long long)log);
    expect_match(ask(ts, "conf"), expected);
    testserver_free(ts);
}
END_TEST

START_TEST(one_directory_for_both) {
    struct testserver *ts = testserver_new((const char *[]){"dataLogDir", "/data", "preAllocSize", "64", NULL});
    busy_client(ts);
    testserver_advance(ts, 1100);
    long long both = sum_of_files(ts, DISK_LOG);
    char expected[128];
    snprintf(expected, sizeof expected, "datadir_size: %lld\nlogdir_size: %lld\n", both, both);
    ck_assert_str_eq(ask(ts, "dirs"), expected);
    testserver_free(ts);
}
END_TEST

START_TEST(envi_in_the_order_of_java) {
    struct testserver *ts = setup();
    expect_match(ask(ts, "envi"),
                 "^Environment:\nzookeeper\\.version=3\\.9\\.3-[^\n]*\nhost\\.name=[^\n]+\njava\\.version=[^\n]*\n"
                 "java\\.vendor=[^\n]*\njava\\.home=[^\n]*\njava\\.class\\.path=[^\n]*\njava\\.library\\.path=[^\n]*\n"
                 "java\\.io\\.tmpdir=[^\n]*\njava\\.compiler=<NA>\nos\\.name=Linux\nos\\.arch=[^\n]+\n"
                 "os\\.version=[0-9][^\n]*\nuser\\.name=[^\n]+\nuser\\.home=/[^\n]*\nuser\\.dir=/[^\n]*\n"
                 "os\\.memory\\.free=[0-9]+MB\nos\\.memory\\.max=[0-9]+MB\nos\\.memory\\.total=[0-9]+MB\n$");
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ dump */

START_TEST(dump_of_nothing) {
    struct testserver *ts = setup();
    ck_assert_str_eq(ask(ts, "dump"), "SessionTracker dump:\nSession Sets (0)/(0):\nephemeral nodes dump:\n"
                                      "Sessions with Ephemerals (0):\nConnections dump:\nConnections Sets (0)/(0):\n");
    testserver_free(ts);
}
END_TEST

START_TEST(dump_of_sessions) {
    struct testserver *ts = setup();
    struct testclient *a = testclient_connect(ts, 10000), *b = testclient_connect(ts, 20000);
    struct testclient *d = testclient_connect(ts, 10000);
    testclient_create(b, "/e", "", CREATE_EPHEMERAL);
    expect_result(b, ZK_OK);
    testclient_hang_up(d); /* its session goes on */
    testclient_new(ts, "10.1.2.3");
    char expected[2048];
    unsigned long long ida = (unsigned long long)a->session_id, idb = (unsigned long long)b->session_id;
    unsigned long long idd = (unsigned long long)d->session_id;
    /* 00:44:47.540, where the monotonic clock is at 1000000 ms; deadlines are multiples of tickTime, 3000 ms. */
    /* Within a set, order is arbitrary. */
    snprintf(expected, sizeof expected, "\n\t0x%llx\n\t0x%llx\n", idd, ida);
    bool swapped = strstr(ask(ts, "dump"), expected) != NULL;
    snprintf(expected, sizeof expected,
             "SessionTracker dump:\n"
             "Session Sets (2)/(3):\n"
             "2 expire at Sat Nov 21 00:44:58 UTC 2026:\n"
             "\t0x%llx\n"
             "\t0x%llx\n"
             "1 expire at Sat Nov 21 00:45:10 UTC 2026:\n"
             "\t0x%llx\n"
             "ephemeral nodes dump:\n"
             "Sessions with Ephemerals (1):\n"
             "0x%llx:\n"
             "\t/e\n"
             "Connections dump:\n"
             "Connections Sets (2)/(3):\n"
             "2 expire at Sat Nov 21 00:44:58 UTC 2026:\n"
             "\tip: /127.0.0.1:10000 sessionId: 0x%llx\n"
             "\tip: /10.1.2.3:10003 sessionId: 0x0\n"
             "1 expire at Sat Nov 21 00:45:10 UTC 2026:\n"
             "\tip: /127.0.0.1:10001 sessionId: 0x%llx\n",
             swapped ? idd : ida, swapped ? ida : idd, idb, idb, ida, idb);
    ck_assert_str_eq(ask(ts, "dump"), expected);
    /* Without a sign of life they go, with what they own. */
    testserver_advance(ts, 30000);
    expect_match(ask(ts, "dump"), "\nSession Sets \\(0\\)/\\(0\\):\nephemeral nodes dump:\n"
                                  "Sessions with Ephemerals \\(0\\):\nConnections dump:\n");
    testserver_free(ts);
}
END_TEST

START_TEST(dump_in_local_time) {
    struct testserver *ts = setup();
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    testclient_connect(ts, 10000);
    expect_match(ask(ts, "dump"), "\n1 expire at Sat Nov 21 01:44:58 CET 2026:\n");
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ long answers in pieces */

#define MANY 5000

/* The next piece of an answer; false at its end. Checks that it is bounded in both ways. */
static bool next_piece(struct answer *a, struct buf *all, size_t max, int looks) {
    struct buf piece = BUF_INIT;
    int left = looks;
    int connections = 0; /* of cons and stat */
    bool done = a->next(a, &piece, max, &left);
    for (size_t i = 0; i + 1 < piece.len; i++)
        connections += memcmp(piece.data + i, " /", 2) == 0 && (i == 0 || piece.data[i - 1] == '\n');
    ck_assert_int_le(connections, looks);
    ck_assert_uint_le(piece.len, max + 1000);
    ck_assert(done || left <= 0 || piece.len >= max);
    buf_append(all, piece.data, piece.len);
    buf_free(&piece);
    return !done;
}

static void many_connections(struct testserver *ts) {
    for (int i = 0; i < MANY; i++)
        testclient_new(ts, NULL);
}

static struct session *many_sessions(struct testserver *ts) {
    struct sessions *sessions = &ts->server->sessions;
    struct session *last = NULL;
    for (int i = 0; i < MANY; i++) {
        last = session_add(sessions, session_next_id(sessions), 4000 + i % 7 * 5000);
        session_touch(sessions, last, ts->now);
    }
    return last;
}

START_TEST(pieces_make_the_whole) {
    static const char *const words[] = {"cons", "stat", "dump", "crst"};
    struct testserver *ts = setup();
    many_connections(ts);
    many_sessions(ts);
    struct testclient *c = testclient_connect(ts, 10000);
    for (int i = 0; i < 300; i++)
        testclient_create(c, "/e", "", CREATE_EPHEMERAL_SEQUENTIAL);
    testserver_run(ts);
    for (size_t w = 0; w < ARRAY_LEN(words); w++) {
        struct buf all = BUF_INIT;
        struct answer *a = admin_word(ts->server, words[w], 0, &all);
        int pieces = 1;
        for (; next_piece(a, &all, w == 0 ? 2000 : 100000, 100); pieces++)
            ;
        ck_assert_int_ge(pieces, MANY / 100);
        ck_assert_uint_eq(a->held_bytes, 0);
        a->free(a);
        buf_append(&all, "", 1);
        ck_assert_msg(strcmp((const char *)all.data, ask(ts, words[w])) == 0, "%s", words[w]);
        buf_free(&all);
    }
    testserver_free(ts);
}
END_TEST

/* How often the line with this beginning is there. */
static int times(const struct buf *all, const char *beginning) {
    int n = 0;
    size_t len = strlen(beginning);
    for (size_t at = 0; at + len <= all->len;) {
        n += memcmp(all->data + at, beginning, len) == 0;
        const uint8_t *end = memchr(all->data + at, '\n', all->len - at);
        at = end != NULL ? (size_t)(end - all->data) + 1 : all->len;
    }
    return n;
}

START_TEST(connections_come_and_go_meanwhile) {
    static const char *const words[] = {"cons", "dump"};
    for (size_t w = 0; w < ARRAY_LEN(words); w++) {
        struct testserver *ts = setup();
        struct testclient *clients[2000], *c;
        for (size_t i = 0; i < ARRAY_LEN(clients); i++)
            clients[i] = testclient_new(ts, NULL);
        struct buf all = BUF_INIT;
        struct answer *a = admin_word(ts->server, words[w], 0, &all);
        size_t gone = 0;
        while (next_piece(a, &all, 4000, 100)) {
            for (int i = 0; i < 10 && gone < ARRAY_LEN(clients); i++, gone += 3) {
                testclient_free(clients[gone]); /* listed, or not yet */
                clients[gone] = NULL;
                testclient_new(ts, "10.0.0.1");
            }
        }
        ck_assert_uint_gt(gone, 200);
        a->free(a);
        for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
            char line[64];
            snprintf(line, sizeof line, w == 0 ? " /%s[" : "\tip: /%s ", clients[i] != NULL ? clients[i]->conn->peer : "");
            if (clients[i] != NULL)
                ck_assert_int_eq(times(&all, line), 1);
        }
        LIST_FOREACH(c, &ts->clients, struct testclient, link) { /* the new ones, at most */
            char line[64];
            snprintf(line, sizeof line, w == 0 ? " /%s[" : "\tip: /%s ", c->conn->peer);
            ck_assert_int_le(times(&all, line), 1);
        }
        buf_free(&all);
        testserver_free(ts);
    }
}
END_TEST

/* They are touched, removed and added while they are gathered; the figures fit what is listed. */
START_TEST(sessions_come_and_go_meanwhile) {
    struct testserver *ts = setup();
    struct sessions *sessions = &ts->server->sessions;
    struct buf all = BUF_INIT;
    session_id_t first = many_sessions(ts)->id - MANY + 1;
    struct answer *a = admin_word(ts->server, "dump", 0, &all);
    struct now later = ts->now;
    for (int removed = 0; next_piece(a, &all, 4000, 100);) {
        later.mono.us += 400000;
        for (int i = 0; i < 20 && removed < MANY; i++, removed += 3)
            session_remove(sessions, session_find(sessions, first + removed));
        for (int i = 0; i < 200; i++)
            session_touch(sessions, session_add(sessions, session_next_id(sessions), 4000), later);
        for (int i = 0; i < MANY; i += 2)
            if (session_find(sessions, first + i) != NULL)
                session_touch(sessions, session_find(sessions, first + i), later);
    }
    a->free(a);
    buf_append(&all, "", 1);
    int sets, count, lines = 0, times_in_sets = 0;
    ck_assert_int_eq(sscanf((char *)all.data, "SessionTracker dump:\nSession Sets (%d)/(%d):", &sets, &count), 2);
    *strstr((char *)all.data, "ephemeral nodes dump:") = '\0';
    for (char *p = (char *)all.data; (p = strchr(p, '\n')) != NULL && *++p != '\0';) {
        int n;
        lines += *p == '\t';
        if (*p != '\t' && sscanf(p, "%d expire at", &n) == 1) {
            times_in_sets += n;
            sets--;
        }
    }
    ck_assert_int_eq(lines, count);
    ck_assert_int_eq(times_in_sets, count);
    ck_assert_int_eq(sets, 0);
    for (int i = 0; i < MANY; i++) {
        char line[40];
        snprintf(line, sizeof line, "\t0x%llx\n", (unsigned long long)(first + i));
        if (i % 97 == 1 && i % 3 != 0)
            ck_assert_int_eq(times(&all, line), 1);
    }
    buf_free(&all);
    testserver_free(ts);
}
END_TEST

/* What is kept for an answer that is given up goes with it. */
START_TEST(an_answer_is_given_up) {
    struct testserver *ts = setup();
    many_connections(ts);
    many_sessions(ts);
    for (int pieces = 0; pieces < 150; pieces += 7) {
        struct buf all = BUF_INIT;
        struct answer *a = admin_word(ts->server, "dump", 0, &all);
        for (int i = 0; i < pieces && next_piece(a, &all, 2000, 100); i++)
            ;
        a->free(a);
        buf_free(&all);
    }
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ watches */

START_TEST(watches_of_nobody) {
    struct testserver *ts = setup();
    ck_assert_str_eq(ask(ts, "wchs"), "0 connections watching 0 paths\nTotal watches:0\n");
    ck_assert_str_eq(ask(ts, "wchc"), "\n");
    ck_assert_str_eq(ask(ts, "wchp"), "\n");
    testserver_free(ts);
}
END_TEST

START_TEST(watches_in_pieces) {
    static const char *const words[] = {"wchs", "wchp", "wchc"};
    struct testserver *ts = setup();
    struct testclient *a = testclient_connect(ts, 10000), *b = testclient_connect(ts, 10000);
    for (int i = 0; i < 3000; i++) {
        char path[16];
        snprintf(path, sizeof path, "/%d", i);
        watch_add(ts->server->watches, a->conn->slot, slice_of(path), NULL, WATCH_DATA);
        watch_add(ts->server->watches, b->conn->slot, slice_of(path), NULL, i % 2 ? WATCH_DATA : WATCH_CHILD);
    }
    a->conn->has_watches = b->conn->has_watches = true;
    for (size_t w = 0; w < ARRAY_LEN(words); w++) {
        struct buf all = BUF_INIT;
        struct answer *answer = admin_word(ts->server, words[w], 0, &all);
        int pieces = 1;
        while (next_piece(answer, &all, 2000, 100))
            pieces++;
        ck_assert_int_ge(pieces, 4500 / 100);
        answer->free(answer);
        buf_append(&all, "", 1);
        ck_assert_msg(strcmp((const char *)all.data, ask(ts, words[w])) == 0, "%s", words[w]);
        buf_free(&all);
    }
    ck_assert_str_eq(ask(ts, "wchs"), "2 connections watching 3000 paths\nTotal watches:4500\n");
    testserver_free(ts);
}
END_TEST

/* A connection goes while its watches are listed, and another one gets its slot. */
START_TEST(watchers_come_and_go_meanwhile) {
    struct testserver *ts = setup();
    struct testclient *a = testclient_connect(ts, 10000);
    struct buf all = BUF_INIT;
    char title[40];
    for (int i = 0; i < 500; i++) {
        char path[16];
        snprintf(path, sizeof path, "/%d", i);
        watch_add(ts->server->watches, a->conn->slot, slice_of(path), NULL, WATCH_DATA);
    }
    a->conn->has_watches = true;
    struct answer *wchc = admin_word(ts->server, "wchc", 0, &all), *wchp = admin_word(ts->server, "wchp", 0, &all);
    ck_assert(next_piece(wchc, &all, 100000, 100));
    ck_assert(next_piece(wchp, &all, 100000, 100));
    uint32_t slot = a->conn->slot;
    testclient_hang_up(a);
    testserver_run(ts);
    struct testclient *b = testclient_connect(ts, 10000);
    ck_assert_uint_eq(b->conn->slot, slot);
    size_t before = all.len;
    while (next_piece(wchc, &all, 100000, 100))
        ;
    while (next_piece(wchp, &all, 100000, 100))
        ;
    ck_assert_uint_eq(all.len, before + 2); /* two newlines */
    snprintf(title, sizeof title, "0x%llx", (unsigned long long)b->session_id);
    ck_assert_int_eq(times(&all, title), 0);
    wchc->free(wchc);
    wchp->free(wchp);
    buf_free(&all);
    testserver_free(ts);
}
END_TEST

START_TEST(watches_of_data_only) {
    struct testserver *ts = setup();
    struct testclient *a = testclient_connect(ts, 10000), *b = testclient_connect(ts, 10000);
    struct testclient *child = testclient_connect(ts, 10000);
    char expected[512];
    unsigned long long ida = (unsigned long long)a->session_id, idb = (unsigned long long)b->session_id;
    testclient_create(a, "/a", "", CREATE_PERSISTENT);
    expect_result(a, ZK_OK);
    testclient_get_data(a, "/a", true);
    expect_result(a, ZK_OK);
    testclient_exists(b, "/none", true);
    expect_result(b, ZK_NO_NODE);
    testclient_get_children(child, "/a", true);
    expect_result(child, ZK_OK);
    ck_assert_str_eq(ask(ts, "wchs"), "2 connections watching 2 paths\nTotal watches:2\n");
    snprintf(expected, sizeof expected, "0x%llx\n\t/a\n0x%llx\n\t/none\n\n", ida, idb);
    ck_assert_str_eq(ask(ts, "wchc"), expected);
    snprintf(expected, sizeof expected, "/a\n\t0x%llx\n/none\n\t0x%llx\n\n", ida, idb);
    ck_assert_str_eq(ask(ts, "wchp"), expected);
    testclient_add_watch(b, "/a", ADD_WATCH_PERSISTENT_RECURSIVE);
    expect_result(b, ZK_OK);
    ck_assert_str_eq(ask(ts, "wchs"), "2 connections watching 2 paths\nTotal watches:3\n");
    expect_match(ask(ts, "wchp"), "^/a\n\t0x[0-9a-f]+\n\t0x[0-9a-f]+\n/none\n\t0x[0-9a-f]+\n\n$");
    expect_match(ask(ts, "mntr"), "\nzk_watch_count\t4\n");
    testclient_set_data(a, "/a", "x");
    expect_result(a, ZK_OK);
    ck_assert_str_eq(testclient_events(a), "changed /a");
    snprintf(expected, sizeof expected, "/a\n\t0x%llx\n/none\n\t0x%llx\n\n", idb, idb);
    ck_assert_str_eq(ask(ts, "wchp"), expected);
    testclient_hang_up(b);
    ck_assert_str_eq(ask(ts, "wchp"), "\n");
    ck_assert_str_eq(ask(ts, "wchc"), "\n");
    testserver_run(ts);
    ck_assert_str_eq(ask(ts, "wchs"), "0 connections watching 0 paths\nTotal watches:0\n");
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ mntr */

/* The value of a key, or NULL; there must be one such line at most. */
static const char *value_of(const char *all, const char *key) {
    static char value[256];
    char pattern[160];
    snprintf(pattern, sizeof pattern, "\nzk_%s\t", key);
    const char *at = strstr(all, pattern);
    if (at == NULL)
        return NULL;
    at += strlen(pattern);
    ck_assert_msg(strstr(at, pattern) == NULL, "%s is there twice", key);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\n"), at);
    return value;
}

static void expect_value(struct testserver *ts, const char *key, const char *value) {
    const char *have = value_of(ask(ts, "mntr"), key);
    ck_assert_msg(have != NULL, "%s is missing", key);
    ck_assert_msg(strcmp(have, value) == 0, "%s is %s, not %s", key, have, value);
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

START_TEST(mntr_is_well_formed) {
    struct testserver *ts = setup();
    struct testclient *c = busy_client(ts);
    for (int32_t op = 1000; op < 1003; op++) { /* opcodes without a name */
        testclient_request(c, op);
        testclient_end(c);
        expect_result(c, ZK_UNIMPLEMENTED);
    }
    ask(ts, "mntr");
    char *keys[2000];
    size_t count = 0;
    expect_match((char *)text.data, "^zk_version\t3\\.9\\.3-zabra-[^\n]*\nzk_server_state\tstandalone\n");
    for (char *line = strtok((char *)text.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        ck_assert_uint_lt(count, ARRAY_LEN(keys));
        if (count > 1)
            expect_match(line, "^zk_[a-zA-Z0-9_]+\t-?[0-9]+(\\.[0-9]{1,4})?(E-?[0-9]+)?$");
        keys[count++] = line;
        *strchr(line, '\t') = '\0';
    }
    qsort(keys, count, sizeof *keys, by_text);
    for (size_t i = 1; i < count; i++)
        ck_assert_str_ne(keys[i - 1], keys[i]);
    testserver_free(ts);
}
END_TEST

static void expect_key(const char *all, const char *prefix, const char *name) {
    char key[128];
    snprintf(key, sizeof key, "%s%s", prefix, name);
    ck_assert_msg(value_of(all, key) != NULL, "%s is missing", key);
}

START_TEST(mntr_has_the_whole_catalogue) {
    static const char *const gauges[] = {"avg_latency", "max_latency", "min_latency", "packets_received", "packets_sent",
        "num_alive_connections", "outstanding_requests", "uptime", "znode_count", "watch_count", "ephemerals_count",
        "approximate_data_size", "global_sessions", "local_sessions", "open_file_descriptor_count",
        "max_file_descriptor_count", "connection_drop_probability", "last_client_response_size",
        "max_client_response_size", "min_client_response_size", "outstanding_tls_handshake", "auth_failed_count",
        "non_mtls_remote_conn_count", "non_mtls_local_conn_count"};
    static const char *const absent[] = {"peer_state", "quorum_size", "synced_observers", "learners", "leader_uptime",
        "synced_followers", "pending_syncs", "last_proposal_size", "observer_master_id"};
    static const char *const parts[] = {"avg_", "min_", "max_", "cnt_", "sum_", "p50_", "p95_", "p99_", "p999_"};
    struct testserver *ts = setup();
    const char *all = ask(ts, "mntr");
    for (size_t i = 0; i < ARRAY_LEN(gauges); i++)
        expect_key(all, "", gauges[i]);
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        ck_assert_ptr_null(value_of(all, absent[i]));
    for (enum metric_counter m = 0; m < METRIC_COUNTER_COUNT; m++)
        expect_key(all, "", metric_counter_name(m));
    for (enum metric_summary m = 0; m < METRIC_SUMMARY_COUNT; m++) {
        for (size_t i = 0; i < (metric_summary_advanced(m) ? 9 : 5); i++)
            expect_key(all, parts[i], metric_summary_name(m));
        if (!metric_summary_advanced(m)) {
            char key[128];
            snprintf(key, sizeof key, "p50_%s", metric_summary_name(m));
            ck_assert_ptr_null(value_of(all, key));
        }
    }
    testserver_free(ts);
}
END_TEST

START_TEST(mntr_counts) {
    struct testserver *ts = setup();
    struct testclient *c = busy_client(ts);
    testclient_create(c, "/e", "12345", CREATE_EPHEMERAL);
    expect_result(c, ZK_OK);
    testserver_advance(ts, 1468);
    expect_value(ts, "avg_latency", "8.0");
    expect_value(ts, "max_latency", "29");
    expect_value(ts, "packets_received", "4");
    expect_value(ts, "num_alive_connections", "1");
    expect_value(ts, "uptime", "1500");
    expect_value(ts, "znode_count", "7");
    expect_value(ts, "ephemerals_count", "1");
    expect_value(ts, "approximate_data_size", "54"); /* of 44 for the system nodes, /a, y, /e, 12345 */
    expect_value(ts, "global_sessions", "1");
    expect_value(ts, "connection_drop_probability", "0.0");
    expect_value(ts, "last_client_response_size", "22");
    expect_value(ts, "max_client_response_size", "84");
    expect_value(ts, "cnt_fsynctime", "4");
    expect_value(ts, "cnt_updatelatency", "4");
    expect_value(ts, "sum_updatelatency", "32");
    expect_value(ts, "p99_updatelatency", "29");
    expect_value(ts, "avg_sync_processor_batch_size", "1.0");
    expect_value(ts, "connection_request_count", "1");
    expect_value(ts, "zabra_op_create_count", "2");
    expect_value(ts, "zabra_op_create_avg_us", "1500.0");
    expect_value(ts, "zabra_op_create_max_us", "3000");
    expect_value(ts, "zabra_op_setData_max_us", "29000");
    expect_value(ts, "zabra_output_buffer_bytes", "0");
    expect_value(ts, "zabra_snapshot_running", "0");
    expect_value(ts, "zabra_growth_refused", "0");
    expect_match(value_of(ask(ts, "mntr"), "max_file_descriptor_count"), "^[1-9][0-9]+$");
    expect_match(value_of(ask(ts, "mntr"), "open_file_descriptor_count"), "^[1-9][0-9]*$");
    expect_match(value_of(ask(ts, "mntr"), "zabra_memory_tree_bytes"), "^[1-9][0-9]+$");
    expect_match(value_of(ask(ts, "mntr"), "zabra_log_disk_free_bytes"), "^[1-9][0-9]+$");
    testclient_stall(c, true);
    testclient_ping(c);
    testserver_run(ts);
    expect_value(ts, "zabra_output_buffer_bytes", "20");
    testserver_free(ts);
}
END_TEST

/* Connections come and go meanwhile; those that stay are counted once. */
START_TEST(mntr_in_slices) {
    struct testserver *ts = setup();
    struct testclient *clients[100];
    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i] = testclient_new(ts, NULL);
        testclient_stall(clients[i], true);
        buf_append(conn_out(clients[i]->conn), "1234567890", 10);
    }
    for (int slice = 1; slice <= 100; slice += 33) {
        struct buf out = BUF_INIT;
        struct answer *a = admin_word(ts->server, "mntr", 0, &out);
        ck_assert_ptr_nonnull(a);
        int turns = 1, looks = slice;
        for (; !a->next(a, &out, 1, &looks); turns++) {
            ck_assert_int_eq(looks, 0);
            ck_assert_uint_eq(out.len, 0);
            looks = slice;
        }
        ck_assert_int_eq(turns, (100 + slice - 1) / slice);
        a->free(a);
        buf_append(&out, "", 1);
        ck_assert_str_eq(value_of((char *)out.data, "zabra_output_buffer_bytes"), "1000");
        buf_free(&out);
    }
    struct answer *a = admin_word(ts->server, "mntr", 0, &text);
    int looks = 50;
    buf_clear(&text);
    ck_assert(!a->next(a, &text, 1, &looks));
    for (size_t i = 0; i < ARRAY_LEN(clients); i += 2)
        testclient_hang_up(clients[i]);
    looks = 50;
    ck_assert(a->next(a, &text, 1, &looks));
    a->free(a);
    buf_append(&text, "", 1);
    ck_assert_str_eq(value_of((char *)text.data, "zabra_output_buffer_bytes"), "750");
    testserver_free(ts);
}
END_TEST

static void expect_quota(struct testserver *ts, const char *name, const char *count_limit, const char *bytes_limit,
                         const char *count_usage, const char *bytes_usage) {
    char key[128];
    snprintf(key, sizeof key, "%s_quota_count_limit_per_namespace", name);
    expect_value(ts, key, count_limit);
    snprintf(key, sizeof key, "%s_quota_bytes_limit_per_namespace", name);
    expect_value(ts, key, bytes_limit);
    snprintf(key, sizeof key, "%s_quota_count_usage_per_namespace", name);
    expect_value(ts, key, count_usage);
    snprintf(key, sizeof key, "%s_quota_bytes_usage_per_namespace", name);
    expect_value(ts, key, bytes_usage);
}

static void make(struct testclient *c, const char *path, const char *data) {
    testclient_create(c, path, data, CREATE_PERSISTENT);
    expect_result(c, ZK_OK);
}

START_TEST(mntr_quotas) {
    struct testserver *ts = testserver_new((const char *[]){"enforceQuota", "true", NULL});
    struct testclient *c = testclient_connect(ts, 10000);
    ck_assert_ptr_null(strstr(ask(ts, "mntr"), "quota_"));
    make(c, "/q", "abc");
    make(c, "/q/sub", "");
    make(c, "/r", "");
    make(c, "/zookeeper/quota/q", "");
    make(c, "/zookeeper/quota/q/zookeeper_limits", "count=5,bytes=-1=;byteHardLimit=100;countHardLimit=2");
    make(c, "/zookeeper/quota/q/zookeeper_stats", "count=2,bytes=3");
    make(c, "/zookeeper/quota/r", "");
    make(c, "/zookeeper/quota/r/zookeeper_limits", "count=7,bytes=-1");
    make(c, "/zookeeper/quota/r/zookeeper_stats", "count=1,bytes=0");
    expect_quota(ts, "q", "2", "100", "2", "3");
    expect_quota(ts, "r", "7", "-1", "1", "0");
    ck_assert_ptr_null(strstr(ask(ts, "mntr"), "quota_exceeded"));
    testclient_create(c, "/q/more", "", CREATE_PERSISTENT);
    expect_result(c, ZK_QUOTA_EXCEEDED);
    expect_value(ts, "q_quota_exceeded_error_per_namespace", "1");
    /* Quotas within one namespace are added up. */
    make(c, "/r/s", "");
    make(c, "/r/s/t", "");
    make(c, "/zookeeper/quota/r/s", "");
    make(c, "/zookeeper/quota/r/s/zookeeper_limits", "count=11,bytes=31");
    make(c, "/zookeeper/quota/r/s/zookeeper_stats", "count=2,bytes=0");
    expect_quota(ts, "r", "18", "30", "5", "0");
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ hash */

START_TEST(hash_every_128) {
    struct testserver *ts = setup();
    struct testclient *c = testclient_connect(ts, 10000);
    char expected[128];
    uint64_t digest = 0;
    ck_assert_str_eq(ask(ts, "hash"), "");
    for (int i = 0; i < 200; i++) {
        testclient_create(c, "/s", "", CREATE_PERSISTENT_SEQUENTIAL);
        expect_result(c, ZK_OK);
        if (ts->server->last_applied == 128)
            digest = tree_digest(ts->server->tree);
    }
    snprintf(expected, sizeof expected, "80: %llu\n", (unsigned long long)digest);
    ck_assert_str_eq(ask(ts, "hash"), expected);
    /* They are there after a restart, too, because the log is applied again. */
    testserver_restart(ts, TESTSERVER_KILL);
    ck_assert_str_eq(ask(ts, "hash"), expected);
    testserver_free(ts);
}
END_TEST

START_TEST(hash_keeps_the_newest) {
    struct testserver *ts = setup();
    struct server *s = ts->server;
    for (int i = 0; i < 1500; i++) {
        s->digest_log[i % 1024].zxid = (i + 1) * 128;
        s->digest_log[i % 1024].digest = i == 1499 ? UINT64_MAX : (uint64_t)i;
        s->digests_seen++;
    }
    ask(ts, "hash");
    size_t lines = 0;
    for (size_t i = 0; i < text.len; i++)
        lines += text.data[i] == '\n';
    ck_assert_uint_eq(lines, 1024);
    expect_match((char *)text.data, "^ee80: 476\nef00: 477\n");
    expect_match((char *)text.data, "\n2ee00: -1\n$");
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ the test servers themselves */

START_TEST(several_servers_in_one_process) {
    struct testserver *one = setup(), *two = testserver_new((const char *[]){"clientPort", "2182", NULL});
    struct testclient *a = testclient_connect(one, 10000), *b = testclient_connect(two, 10000);
    make(a, "/one", "");
    make(b, "/two", "");
    make(b, "/three", "");
    testclient_exists(a, "/two", false);
    expect_result(a, ZK_NO_NODE);
    expect_match(ask(one, "srvr"), "\nZxid: 0x2\n");
    expect_match(ask(two, "srvr"), "\nZxid: 0x3\n");
    ask_with(one, "stmk", 1);
    ck_assert_str_eq(ask(two, "gtmk"), "306");
    testserver_free(one);
    testclient_exists(b, "/two", false);
    expect_result(b, ZK_OK);
    testserver_free(two);
}
END_TEST

START_TEST(servers_come_back) {
    static const enum testserver_end ends[] = {TESTSERVER_STOP, TESTSERVER_KILL, TESTSERVER_POWER_LOSS};
    struct testserver *ts = setup();
    struct testclient *c = testclient_connect(ts, 10000);
    session_id_t id = c->session_id;
    make(c, "/kept", "");
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        ts->hold_log = true; /* not acknowledged when the end comes */
        testclient_create(c, "/unsure", "", CREATE_EPHEMERAL);
        testserver_run(ts);
        testserver_restart(ts, ends[i]);
        ck_assert_ptr_null(c->conn);
        ts->hold_log = false;
        ck_assert(testclient_reconnect(c));
        ck_assert_int_eq(c->session_id, id);
        testclient_exists(c, "/kept", false);
        expect_result(c, ZK_OK);
        testclient_exists(c, "/unsure", false);
        expect_result(c, ends[i] == TESTSERVER_STOP ? ZK_OK : ZK_NO_NODE);
        if (ends[i] == TESTSERVER_STOP) {
            testclient_delete(c, "/unsure");
            expect_result(c, ZK_OK);
        }
    }
    testserver_advance(ts, 60000);
    ck_assert(!testclient_reconnect(c)); /* expired */
    testserver_free(ts);
}
END_TEST

START_TEST(events_precede_replies) {
    struct testserver *ts = setup();
    struct testclient *c = testclient_connect(ts, 10000), *d = testclient_connect(ts, 10000);
    testclient_exists(c, "/a", true);
    expect_result(c, ZK_NO_NODE);
    testclient_get_children(c, "/", true);
    expect_result(c, ZK_OK);
    make(d, "/a", "");
    testclient_delete(d, "/a");
    expect_result(d, ZK_OK);
    ck_assert_str_eq(testclient_events(c), "created /a, children /");
    ck_assert_str_eq(testclient_events(c), "");
    testclient_close_session(d);
    expect_result(d, ZK_OK);
    ck_assert_ptr_null(d->conn);
    testserver_free(ts);
}
END_TEST

/* ------------------------------------------------------------------ */

static void add(Suite *suite, const char *name, const TTest *const *tests, size_t count) {
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 60);
    for (size_t i = 0; i < count; i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(suite, tc);
}
#define ADD(suite, name, ...)                                                                                          \
    add(suite, name, (const TTest *const[]){__VA_ARGS__}, ARRAY_LEN(((const TTest *const[]){__VA_ARGS__})))

int main(void) {
    Suite *suite = suite_create("words");
    ADD(suite, "small", small_words, not_serving);
    ADD(suite, "stat", srvr_of_a_fresh_server, srvr_of_a_used_server, stat_lists_clients, cons_of_one_session,
        cons_shows_what_a_connection_waits_for, srst_sets_the_server_to_zero);
    ADD(suite, "conf", conf_as_configured, conf_of_a_relative_directory, directory_sizes, one_directory_for_both,
        envi_in_the_order_of_java);
    ADD(suite, "dump", dump_of_nothing, dump_of_sessions, dump_in_local_time, watches_of_nobody, watches_of_data_only,
        watches_in_pieces, watchers_come_and_go_meanwhile);
    ADD(suite, "pieces", pieces_make_the_whole, connections_come_and_go_meanwhile, sessions_come_and_go_meanwhile,
        an_answer_is_given_up);
    ADD(suite, "mntr", mntr_is_well_formed, mntr_has_the_whole_catalogue, mntr_counts, mntr_in_slices,
        mntr_quotas);
    ADD(suite, "hash", hash_every_128, hash_keeps_the_newest);
    ADD(suite, "testserver", several_servers_in_one_process, servers_come_back, events_precede_replies);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    buf_free(&text);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
