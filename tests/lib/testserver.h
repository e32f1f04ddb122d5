/* Servers in process: real server core and log writer over a simulated disk, clients that speak frames instead of sockets,
 * time that moves only when told. Nothing is global (the log's level aside), so any number of them live side by side.
 *
 *     struct testserver *ts = testserver_new((const char *[]){"tickTime", "1000", NULL});
 *     struct testclient *c = testclient_connect(ts, 10000);
 *     testclient_create(c, "/a", "data", CREATE_PERSISTENT);
 *     ck_assert_int_eq(testclient_result(c), ZK_OK);
 *     testserver_free(ts);
 *
 * What must hold for the helpers themselves fails the running Check test. TEST_LOG=1 in the environment shows the log. */
#ifndef ZABRA_TESTS_TESTSERVER_H
#define ZABRA_TESTS_TESTSERVER_H

#include "lib/simdisk.h"
#include "server/server.h"

#define TESTSERVER_WALL_MS 1795221887540 /* when time begins: Sat Nov 21 00:44:47 UTC 2026 */

struct testensemble;

struct testserver {
    struct server *server; /* look at anything */
    struct testensemble *ensemble; /* NULL: standalone */
    int sid;
    bool (*start_member)(struct testserver *ts);
    struct config config;
    struct now now;
    struct simdisk disk; /* faults may be set at any time */
    uint64_t seed;

    /* Ordered, not carried out yet. While held they stay, and testserver_do_log and _do_job carry them out one by one. */
    struct list log_cmds, jobs;
    bool hold_log, hold_jobs;

    struct recovery_result recovered; /* what the last start found */
    struct logwriter *writer;
    struct list clients, senders; /* struct testclient */
    uint32_t clients_made;
};

/* A server that is running on an empty disk. options: name, value, ..., NULL; NULL = all defaults, but for preAllocSize, which
 * is 1 MiB, and two data directories, /data and /log (on the simulated disk). */
struct testserver *testserver_new(const char *const *options);
/* A member of an ensemble (testensemble.h); start_member starts what testserver_start has recovered. */
struct testserver *testserver_new_member(const char *const *options, struct testensemble *e, int sid,
                                         bool (*start_member)(struct testserver *ts));
/* Frees the server as it is, with all its clients. */
void testserver_free(struct testserver *ts);

enum testserver_end {
    TESTSERVER_STOP,       /* orderly */
    TESTSERVER_KILL,       /* the process dies: what is on its way to the disk is lost */
    TESTSERVER_POWER_LOSS, /* and what was not synced is lost at random */
};
/* Ends the server; its clients lose their connections but stay, see testclient_reconnect. */
void testserver_end(struct testserver *ts, enum testserver_end how);
/* Starts it again. Returns false if recovery refuses (see ts->recovered); then only testserver_end and _free may follow. */
bool testserver_start(struct testserver *ts);
/* The two in one; the start must succeed. */
void testserver_restart(struct testserver *ts, enum testserver_end how);

/* One turn of the loop: takes what clients have sent, lets the server work, hands out its output, carries out what it has
 * ordered. False if there was nothing to do and nothing is left to do at this time. */
bool testserver_turn(struct testserver *ts);
/* Turns until nothing is left to do at this time. */
void testserver_run(struct testserver *ts);
/* Lets time pass, with turns whenever the server asks for one. */
void testserver_advance(struct testserver *ts, int64_t ms);
/* Carries out the oldest ordered command or job; false if there is none. */
bool testserver_do_log(struct testserver *ts);
bool testserver_do_job(struct testserver *ts);

/* ------------------------------------------------------------------ clients */

struct testclient {
    struct list link, send_link;
    struct testserver *ts;
    struct conn *conn; /* NULL: the connection is closed */
    bool stalled;      /* see testclient_stall */
    struct buf out;    /* sent, not taken by the server yet: from out_start on */
    size_t out_start;
    struct buf in; /* received, not looked at yet: from in_start on */
    size_t in_start;
    struct buf events, events_shown;

    bool connected; /* the server has accepted the session */
    session_id_t session_id;
    int32_t timeout_ms;
    uint8_t password[PASSWORD_BYTES];
    int32_t xid;       /* of the last request */
    size_t frame_start; /* of the request under construction */
};

/* A reply or an event. Slices are valid until the server runs again. */
struct testframe {
    int32_t xid;
    zxid_t zxid;
    int32_t err;
    struct jute_in body;
    bool is_event;
    enum event_type type;
    struct slice path;
};

/* A connection without a session. ip NULL = 127.0.0.1. */
struct testclient *testclient_new(struct testserver *ts, const char *ip);
/* With a session; must succeed. */
struct testclient *testclient_connect(struct testserver *ts, int32_t timeout_ms);
/* Sends a ConnectRequest for the session of c, or a new one if it has none. */
void testclient_send_connect(struct testclient *c, int32_t timeout_ms);
/* Takes the answer to it; false if it was refused, or the connection closed. */
bool testclient_take_connect(struct testclient *c);
/* Opens a new connection for the session (a present one is dropped); false if the server does not renew it. */
bool testclient_reconnect(struct testclient *c);
/* Drops the connection, without a closeSession. */
void testclient_hang_up(struct testclient *c);
/* The same, and frees c. */
void testclient_free(struct testclient *c);
/* While stalled it does not read: the server keeps the output. */
void testclient_stall(struct testclient *c, bool stalled);

/* Requests are sent, and taken by the server when it runs. begin ... end is any request: the body is appended between. */
struct buf *testclient_begin(struct testclient *c, int32_t xid, int32_t op);
void testclient_end(struct testclient *c);
/* With the next xid. */
struct buf *testclient_request(struct testclient *c, int32_t op);
/* One frame of any content. */
void testclient_send(struct testclient *c, const void *data, size_t len);

void testclient_create(struct testclient *c, const char *path, const char *data, int32_t flags);
void testclient_delete(struct testclient *c, const char *path);
void testclient_set_data(struct testclient *c, const char *path, const char *data);
void testclient_exists(struct testclient *c, const char *path, bool watch);
void testclient_get_data(struct testclient *c, const char *path, bool watch);
void testclient_get_children(struct testclient *c, const char *path, bool watch);
void testclient_add_watch(struct testclient *c, const char *path, enum add_watch_mode mode);
void testclient_ping(struct testclient *c);
void testclient_close_session(struct testclient *c);

/* The next frame that was received; false if there is none. Does not run the server. */
bool testclient_next(struct testclient *c, struct testframe *f);
/* Runs the server and returns the next reply; there must be one. Events before it are kept for testclient_events. */
struct testframe testclient_reply(struct testclient *c);
/* The error of the last request, whose reply must be the next one. */
int32_t testclient_result(struct testclient *c);
/* Runs the server and returns the events since the last call: "created /a, children /". No reply may be left over. Valid
 * until the next call. */
const char *testclient_events(struct testclient *c);

#endif
