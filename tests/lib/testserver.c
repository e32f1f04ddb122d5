#include "lib/testserver.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "quorum/quorum.h"
#include "server/history.h"

/* No test needs more turns than this without time passing: the server would be spinning. */
#define TURNS_MAX 1000000
#define STEP_MS 500
/* As in net/client.c. */
#define REFILL_BYTES (128 * 1024)
#define OUTPUT_PAUSE_BYTES (1u << 20)
#define OVERSIZE_HEAD_BYTES 256

/* Check counts even a passed assertion and insists on a running test for it; this works without one, too. */
#define ENSURE(condition, ...)                                                                                         \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            ck_abort_msg(__VA_ARGS__);                                                                                 \
    } while (0)

/* ------------------------------------------------------------------ env */

static void submit_log(void *ctx, struct log_cmd *cmd) {
    struct testserver *ts = ctx;
    list_init(&cmd->link);
    list_push(&ts->log_cmds, &cmd->link);
}

static void submit_job(void *ctx, struct job *job) {
    struct testserver *ts = ctx;
    list_init(&job->link);
    list_push(&ts->jobs, &job->link);
}

bool testserver_do_log(struct testserver *ts) {
    if (list_empty(&ts->log_cmds))
        return false;
    struct log_cmd *cmd = LIST_FIRST(&ts->log_cmds, struct log_cmd, link);
    list_remove(&cmd->link);
    logwriter_execute(ts->writer, cmd);
    server_log_done(ts->server, cmd, ts->now);
    return true;
}

bool testserver_do_job(struct testserver *ts) {
    if (list_empty(&ts->jobs))
        return false;
    struct job *job = LIST_FIRST(&ts->jobs, struct job, link);
    list_remove(&job->link);
    job->run(job, &ts->disk.disk);
    job->done(job);
    return true;
}

/* ------------------------------------------------------------------ life */

static void set_options(struct config *c, const char *const *options) {
    struct config_log log = {0};
    config_defaults(c);
    config_set(c, "clientPort", "2181", &log);
    config_set(c, "dataDir", "/data", &log);
    config_set(c, "dataLogDir", "/log", &log);
    config_set(c, "preAllocSize", "1024", &log); /* a sync of the simulated disk looks at every sector of the file */
    config_set(c, "initLimit", "10", &log);
    config_set(c, "syncLimit", "5", &log);
    for (; options != NULL && options[0] != NULL; options += 2)
        config_set(c, options[0], options[1], &log);
    config_validate(c, false, &log);
    for (size_t i = 0; i < log.count; i++)
        ENSURE(log.items[i].severity != CONFIG_ERROR, "%s", log.items[i].text);
    config_log_free(&log);
}

struct testserver *testserver_new(const char *const *options) { return testserver_new_member(options, NULL, 0, NULL); }

struct testserver *testserver_new_member(const char *const *options, struct testensemble *e, int sid,
                                         bool (*start_member)(struct testserver *ts)) {
    struct testserver *ts = mem_calloc(1, sizeof *ts);
    ts->ensemble = e;
    ts->sid = sid;
    ts->start_member = start_member;
    log_set_level(getenv("TEST_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_OFF);
    ts->now = (struct now){.mono = {1000000000}, .wall_ms = TESTSERVER_WALL_MS};
    ts->seed = 1;
    list_init(&ts->log_cmds);
    list_init(&ts->jobs);
    list_init(&ts->clients);
    list_init(&ts->senders);
    set_options(&ts->config, options);
    if (e != NULL)
        ts->config.server_id = sid;
    simdisk_init(&ts->disk, 1);
    ts->disk.same_dir = strcmp(ts->config.data_dir, ts->config.data_log_dir) == 0;
    ENSURE(testserver_start(ts), "%s", ts->recovered.message);
    return ts;
}

bool testserver_start(struct testserver *ts) {
    struct env env = {.ctx = ts,
                      .disk = &ts->disk.disk,
                      .same_dir = ts->disk.same_dir,
                      .log_submit = submit_log,
                      .job_submit = submit_job};
    struct logwriter_options options = {.prealloc_bytes = ts->config.prealloc_kib * 1024,
                                        .force_sync = ts->config.force_sync,
                                        .side_file_interval_us = 1000000};
    ENSURE(ts->server == NULL, "it is running");
    ts->server = server_new(&ts->config, &env, ts->seed++, ts->now);
    if (ts->ensemble != NULL)
        ts->server->history = history_new((size_t)ts->config.log_window_bytes, HISTORY_MIN_COUNT);
    server_recover(ts->server, &ts->recovered, ts->now);
    if (ts->recovered.status != RECOVERY_OK)
        return false;
    ts->writer = logwriter_new(env.disk, &options);
    if (ts->start_member != NULL)
        return ts->start_member(ts);
    if (server_start(ts->server, ts->now) != 0)
        return false;
    testserver_run(ts);
    return true;
}

/* Jobs own what they work on until they are done, so they are finished even for a dead server. */
static void drain_jobs(struct testserver *ts) {
    while (testserver_do_job(ts))
        ;
}

/* What was allocated for an order is freed by its completion. */
static void fail_orders(struct testserver *ts) {
    struct log_cmd *cmd;
    LIST_FOREACH(cmd, &ts->log_cmds, struct log_cmd, link) {
        list_remove(&cmd->link);
        cmd->err = -EIO;
        if (cmd->type == LOG_CMD_ATOMIC || cmd->type == LOG_CMD_CALL)
            cmd->done(cmd);
    }
}

static void take_apart(struct testserver *ts, bool orderly) {
    struct testclient *c;
    if (ts->server == NULL)
        return;
    LIST_FOREACH(c, &ts->clients, struct testclient, link)
        testclient_hang_up(c);
    drain_jobs(ts);
    fail_orders(ts);
    drain_jobs(ts);
    quorum_free(ts->server->quorum);
    drain_jobs(ts);
    logwriter_free(ts->writer, orderly);
    ts->writer = NULL;
    server_free(ts->server);
    ts->server = NULL;
}

static void stop(struct testserver *ts) {
    ts->hold_log = ts->hold_jobs = false;
    server_stop(ts->server, ts->now);
    testserver_run(ts);
    for (int i = 0; i < 100 && !server_idle(ts->server); i++)
        testserver_advance(ts, STEP_MS);
    ENSURE(server_idle(ts->server), "the server does not stop");
}

void testserver_end(struct testserver *ts, enum testserver_end how) {
    if (ts->server != NULL && how == TESTSERVER_STOP && ts->server->state == SERVER_RUNNING)
        stop(ts);
    if (how != TESTSERVER_STOP)
        ts->disk.dead = true; /* nothing that is still done to it counts */
    take_apart(ts, how == TESTSERVER_STOP && ts->server != NULL && ts->server->state != SERVER_FAILED);
    if (how == TESTSERVER_KILL)
        simdisk_kill(&ts->disk);
    else if (how == TESTSERVER_POWER_LOSS)
        simdisk_crash(&ts->disk, ts->seed++);
}

void testserver_restart(struct testserver *ts, enum testserver_end how) {
    testserver_end(ts, how);
    ENSURE(testserver_start(ts), "%s", ts->recovered.message);
}

void testserver_free(struct testserver *ts) {
    struct testclient *c;
    take_apart(ts, false);
    LIST_FOREACH(c, &ts->clients, struct testclient, link)
        testclient_free(c);
    simdisk_close(&ts->disk);
    config_free(&ts->config);
    mem_free(ts);
}

/* ------------------------------------------------------------------ turns */

static bool input_blocked(const struct conn *conn) {
    return conn->close != CONN_OPEN || conn->paused || conn->connecting ||
           conn->out.len - conn->out_sent > OUTPUT_PAUSE_BYTES;
}

/* One frame that was sent. Returns the bytes taken; 0 = it is not complete. */
static size_t take_frame(struct testclient *c, const uint8_t *data, size_t len) {
    struct server *s = c->ts->server;
    int32_t frame_len = (int32_t)be32_load(data);
    enum frame_verdict verdict = server_conn_admits(s, c->conn, frame_len, data + 4, len - 4);
    if (verdict == FRAME_CLOSE) {
        conn_close_later(c->conn, CONN_CLOSE_NOW);
        return len;
    }
    size_t size = (size_t)frame_len;
    if (verdict == FRAME_ASK_AGAIN || len - 4 < size)
        return 0;
    if (verdict == FRAME_DRAIN)
        server_conn_oversize(s, c->conn, data + 4, size_min(size, OVERSIZE_HEAD_BYTES), size, c->ts->now);
    else
        server_conn_frame(s, c->conn, data + 4, size, c->ts->now);
    return 4 + size;
}

static bool feed(struct testclient *c) {
    bool any = false;
    for (int budget = c->ts->config.max_requests_per_turn; budget > 0; budget--) {
        size_t left = c->out.len - c->out_start;
        if (c->conn == NULL || left < 4 || input_blocked(c->conn))
            break;
        size_t taken = take_frame(c, c->out.data + c->out_start, left);
        if (taken == 0)
            break;
        c->out_start += taken;
        any = true;
    }
    if (c->conn == NULL || c->out_start == c->out.len) {
        buf_clear(&c->out);
        c->out_start = 0;
        list_remove(&c->send_link);
    }
    return any;
}

static bool over_output_limit(const struct testclient *c) {
    return (int64_t)conn_output_bytes(c->conn) > c->ts->config.client_output_buffer_limit_bytes;
}

/* Takes the output of a connection and closes it if it is to be closed. */
static void settle(struct testclient *c) {
    struct conn *conn = c->conn;
    if (conn->close != CONN_CLOSE_NOW && !c->stalled) {
        while (conn_refill(conn, REFILL_BYTES)) {
            buf_append(&c->in, conn->out.data + conn->out_sent, conn->out.len - conn->out_sent);
            conn->out_sent = conn->out.len;
        }
        buf_free(&conn->out);
        conn->out_sent = 0;
    }
    bool flushed = conn->out.len == 0 && list_empty(&conn->segments);
    if (conn->close == CONN_CLOSE_NOW || (conn->close == CONN_CLOSE_FLUSH && flushed) || over_output_limit(c))
        testclient_hang_up(c);
}

static bool settle_dirty(struct testserver *ts) {
    bool any = false;
    while (!list_empty(&ts->server->dirty)) {
        struct conn *conn = LIST_FIRST(&ts->server->dirty, struct conn, dirty_link);
        list_remove(&conn->dirty_link);
        settle(conn->shell);
        any = true;
    }
    return any;
}

bool testserver_turn(struct testserver *ts) {
    struct testclient *c;
    bool any = false;
    LIST_FOREACH(c, &ts->senders, struct testclient, send_link)
        any |= feed(c);
    server_turn_begin(ts->server, ts->now);
    if (ts->server->quorum != NULL)
        quorum_turn(ts->server->quorum);
    server_turn_end(ts->server, ts->now);
    any |= settle_dirty(ts);
    any |= !ts->hold_log && testserver_do_log(ts);
    any |= !ts->hold_jobs && testserver_do_job(ts);
    return any || !list_empty(&ts->server->dirty) || server_next_wake(ts->server).us <= ts->now.mono.us;
}

void testserver_run(struct testserver *ts) {
    for (int turns = 0; testserver_turn(ts); turns++)
        ENSURE(turns < TURNS_MAX, "the server does not come to rest");
}

static void step_to(struct testserver *ts, struct monotime to) {
    int64_t from_ms = mono_ms(ts->now.mono);
    ts->now.mono = to;
    ts->now.wall_ms += mono_ms(to) - from_ms;
}

void testserver_advance(struct testserver *ts, int64_t ms) {
    struct monotime end = mono_add_ms(ts->now.mono, ms);
    testserver_run(ts);
    while (ts->now.mono.us < end.us) {
        /* In small steps, or the server would take it for a stall of its own. */
        struct monotime next = mono_add_ms(ts->now.mono, STEP_MS);
        next.us = i64_min(next.us, i64_min(end.us, server_next_wake(ts->server).us));
        step_to(ts, next);
        testserver_run(ts);
    }
}

/* ------------------------------------------------------------------ connections */

static void open_connection(struct testclient *c, const char *ip) {
    struct testserver *ts = c->ts;
    char peer[80];
    snprintf(peer, sizeof peer, "%s:%u", ip, 10000 + ts->clients_made++ % 50000);
    c->conn = server_conn_new(ts->server, slice_of(peer), slice_of(ip), strncmp(ip, "127.", 4) == 0, ts->now);
    c->conn->shell = c;
}

struct testclient *testclient_new(struct testserver *ts, const char *ip) {
    struct testclient *c = mem_calloc(1, sizeof *c);
    c->ts = ts;
    list_push(&ts->clients, &c->link);
    list_init(&c->send_link);
    open_connection(c, ip != NULL ? ip : "127.0.0.1");
    return c;
}

void testclient_hang_up(struct testclient *c) {
    if (c->conn == NULL)
        return;
    server_conn_gone(c->ts->server, c->conn, c->ts->now);
    c->conn = NULL;
    c->connected = false;
}

void testclient_free(struct testclient *c) {
    testclient_hang_up(c);
    list_remove(&c->link);
    list_remove(&c->send_link);
    buf_free(&c->out);
    buf_free(&c->in);
    buf_free(&c->events);
    buf_free(&c->events_shown);
    mem_free(c);
}

void testclient_stall(struct testclient *c, bool stalled) {
    c->stalled = stalled;
    if (c->conn != NULL)
        conn_dirty(c->conn);
}

void testclient_send_connect(struct testclient *c, int32_t timeout_ms) {
    struct buf b = BUF_INIT;
    connect_request_put(&b, &(struct connect_request){.timeout_ms = timeout_ms,
                                                      .session_id = c->session_id,
                                                      .password = {(const char *)c->password, PASSWORD_BYTES},
                                                      .has_read_only = true});
    testclient_send(c, b.data, b.len);
    buf_free(&b);
}

/* The next received frame, as it is. */
static bool next_raw(struct testclient *c, struct jute_in *frame) {
    size_t left = c->in.len - c->in_start;
    if (left == 0) {
        buf_clear(&c->in);
        c->in_start = 0;
        return false;
    }
    size_t len = left >= 4 ? be32_load(c->in.data + c->in_start) : SIZE_MAX;
    ENSURE(left >= 4 && len <= left - 4, "half a frame was sent");
    *frame = jute_in(c->in.data + c->in_start + 4, len);
    c->in_start += 4 + len;
    return true;
}

bool testclient_take_connect(struct testclient *c) {
    struct connect_response response;
    struct jute_in frame;
    if (!next_raw(c, &frame))
        return false;
    ENSURE(connect_response_get(&frame, &response), "no connect response");
    if (response.timeout_ms <= 0)
        return false;
    c->connected = true;
    c->session_id = response.session_id;
    c->timeout_ms = response.timeout_ms;
    memcpy(c->password, response.password, PASSWORD_BYTES);
    return true;
}

struct testclient *testclient_connect(struct testserver *ts, int32_t timeout_ms) {
    struct testclient *c = testclient_new(ts, NULL);
    testclient_send_connect(c, timeout_ms);
    testserver_run(ts);
    ENSURE(testclient_take_connect(c), "no session");
    return c;
}

bool testclient_reconnect(struct testclient *c) {
    testclient_hang_up(c);
    buf_clear(&c->in);
    buf_clear(&c->out);
    c->in_start = c->out_start = 0;
    open_connection(c, "127.0.0.1");
    testclient_send_connect(c, c->timeout_ms);
    testserver_run(c->ts);
    return testclient_take_connect(c);
}

/* ------------------------------------------------------------------ requests */

static void frame_sent(struct testclient *c) {
    if (list_unlinked(&c->send_link))
        list_push(&c->ts->senders, &c->send_link);
}

void testclient_send(struct testclient *c, const void *data, size_t len) {
    jute_put_int(&c->out, (int32_t)len);
    buf_append(&c->out, data, len);
    frame_sent(c);
}

struct buf *testclient_begin(struct testclient *c, int32_t xid, int32_t op) {
    c->frame_start = frame_begin(&c->out);
    jute_put_int(&c->out, xid);
    jute_put_int(&c->out, op);
    return &c->out;
}

void testclient_end(struct testclient *c) {
    frame_end(&c->out, c->frame_start);
    frame_sent(c);
}

struct buf *testclient_request(struct testclient *c, int32_t op) { return testclient_begin(c, ++c->xid, op); }

static struct slice text_or_null(const char *text) { return text != NULL ? slice_of(text) : SLICE_NULL; }

void testclient_create(struct testclient *c, const char *path, const char *data, int32_t flags) {
    bool container = flags == CREATE_CONTAINER;
    struct buf *b = testclient_request(c, container ? OP_CREATE_CONTAINER : OP_CREATE);
    jute_put_bytes(b, slice_of(path));
    jute_put_bytes(b, text_or_null(data));
    jute_put_int(b, 1);
    acl_entry_put(b, &(struct acl_entry){.perms = PERM_ALL, .scheme = SLICE_LIT("world"), .id = SLICE_LIT("anyone")});
    jute_put_int(b, flags);
    testclient_end(c);
}

void testclient_delete(struct testclient *c, const char *path) {
    struct buf *b = testclient_request(c, OP_DELETE);
    jute_put_bytes(b, slice_of(path));
    jute_put_int(b, -1);
    testclient_end(c);
}

void testclient_set_data(struct testclient *c, const char *path, const char *data) {
    struct buf *b = testclient_request(c, OP_SET_DATA);
    jute_put_bytes(b, slice_of(path));
    jute_put_bytes(b, text_or_null(data));
    jute_put_int(b, -1);
    testclient_end(c);
}

static void send_read(struct testclient *c, int32_t op, const char *path, bool watch) {
    struct buf *b = testclient_request(c, op);
    jute_put_bytes(b, slice_of(path));
    jute_put_bool(b, watch);
    testclient_end(c);
}

void testclient_exists(struct testclient *c, const char *path, bool watch) { send_read(c, OP_EXISTS, path, watch); }
void testclient_get_data(struct testclient *c, const char *path, bool watch) { send_read(c, OP_GET_DATA, path, watch); }
void testclient_get_children(struct testclient *c, const char *path, bool watch) {
    send_read(c, OP_GET_CHILDREN, path, watch);
}

void testclient_add_watch(struct testclient *c, const char *path, enum add_watch_mode mode) {
    struct buf *b = testclient_request(c, OP_ADD_WATCH);
    jute_put_bytes(b, slice_of(path));
    jute_put_int(b, (int32_t)mode);
    testclient_end(c);
}

void testclient_ping(struct testclient *c) {
    testclient_begin(c, XID_PING, OP_PING);
    testclient_end(c);
}

void testclient_close_session(struct testclient *c) {
    testclient_request(c, OP_CLOSE_SESSION);
    testclient_end(c);
}

/* ------------------------------------------------------------------ answers */

bool testclient_next(struct testclient *c, struct testframe *f) {
    struct jute_in in;
    if (!next_raw(c, &in))
        return false;
    struct reply_header h = reply_header_get(&in);
    ENSURE(!in.failed, "a frame without header");
    *f = (struct testframe){.xid = h.xid, .zxid = h.zxid, .err = h.err, .body = in, .is_event = h.xid == XID_NOTIFICATION};
    if (f->is_event) {
        f->type = (enum event_type)jute_int(&in);
        int32_t state = jute_int(&in);
        f->path = jute_bytes_not_null(&in);
        ENSURE(!in.failed && jute_left(&in) == 0 && state == STATE_SYNC_CONNECTED, "a bad event");
    }
    return true;
}

static void keep_event(struct testclient *c, const struct testframe *f) {
    static const char *const names[] = {
        [EVENT_NODE_CREATED] = "created",
        [EVENT_NODE_DELETED] = "deleted",
        [EVENT_NODE_DATA_CHANGED] = "changed",
        [EVENT_NODE_CHILDREN_CHANGED] = "children",
    };
    ENSURE(f->type >= EVENT_NODE_CREATED && f->type <= EVENT_NODE_CHILDREN_CHANGED, "event type %d", (int)f->type);
    buf_printf(&c->events, "%s%s %.*s", c->events.len != 0 ? ", " : "", names[f->type], (int)f->path.len, f->path.data);
}

struct testframe testclient_reply(struct testclient *c) {
    struct testframe f;
    testserver_run(c->ts);
    while (testclient_next(c, &f)) {
        if (!f.is_event)
            return f;
        keep_event(c, &f);
    }
    ck_abort_msg("no reply%s", c->conn == NULL ? ": the connection is closed" : "");
}

int32_t testclient_result(struct testclient *c) {
    struct testframe f = testclient_reply(c);
    ENSURE(f.xid == c->xid, "the reply is to xid %d, not %d", f.xid, c->xid);
    return f.err;
}

const char *testclient_events(struct testclient *c) {
    struct testframe f;
    testserver_run(c->ts);
    while (testclient_next(c, &f)) {
        ENSURE(f.is_event, "a reply is left over: xid %d", f.xid);
        keep_event(c, &f);
    }
    struct buf text = c->events;
    c->events = c->events_shown;
    c->events_shown = text;
    buf_clear(&c->events);
    buf_append(&c->events_shown, "", 1);
    return (const char *)c->events_shown.data;
}
