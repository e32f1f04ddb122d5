/* The server core: one struct server holds all state of one ZooKeeper server, and nothing below this line calls the
 * system. Events come in as calls of the functions of this header, with the time as an argument; actions go out through
 * struct env and the connections' output buffers. Ten servers live in one process as easily as one.
 *
 * The way of a write: server_conn_frame → prepare (validated against the tree and the pending changes, encoded once into
 * the batch) → server_turn_end hands the batch to the log writer → server_log_done → commit → apply (tree, watches,
 * reply). Recovery feeds apply with the same bytes. */
#ifndef ZABRA_SERVER_SERVER_H
#define ZABRA_SERVER_SERVER_H

#include "base/rng.h"
#include "server/config.h"
#include "server/conn.h"
#include "server/env.h"
#include "server/events.h"
#include "server/metrics.h"
#include "server/request.h"
#include "server/role.h"
#include "store/recovery.h"
#include "tree/walk.h"
#include "tree/watch.h"

struct change;
struct snapshotter;
struct reaper;
struct diskguard;
struct history;
struct quorum;

enum server_state {
    SERVER_LOADING,
    SERVER_WAITING,  /* a member of an ensemble that has no leader for it: nobody is served */
    SERVER_RUNNING,
    SERVER_STOPPING, /* clients closed, waiting for the log */
    SERVER_FAILED,   /* a durable change failed: the process must exit */
};

/* Token bucket in front of new connections (connection_throttle_*). */
struct connect_throttle {
    int64_t tokens;
    struct monotime filled;
    double drop_chance;
    struct monotime drop_updated;
};

struct server {
    struct config *config;
    struct env env;
    struct auth_options auth;
    struct rng rng;
    struct now now; /* of the current event */
    struct monotime last_turn;
    struct monotime started; /* when it began to serve; 0 = not yet */
    enum server_state state;
    const struct role_ops *role;
    struct quorum *quorum; /* NULL: standalone */
    struct history *history; /* the last committed transactions, for learners; NULL: not kept */
    char failure[256]; /* why it failed */

    /* the database: what a snapshot holds */
    struct tree *tree;
    struct watches *watches;
    struct sessions sessions;
    zxid_t last_applied;
    bool replaying;
    char good_snapshot_name[STORE_NAME_MAX];
    zxid_t good_snapshot; /* the newest that was read to its end or written by this process; -1 = none */
    uint64_t snapshots_noted; /* how often it became another one, or the same one was written anew */
    zxid_t digest_from; /* over a fuzzy snapshot digests are compared from this zxid on */

    /* connections */
    struct conn **slots; /* by conn->slot; NULL = free or dropping */
    uint32_t slot_count, slot_cap;
    uint32_t *free_slots;
    uint32_t free_slot_count;
    uint32_t *dropping; /* slots whose watches are still being taken out */
    uint32_t dropping_count, dropping_cap;
    struct audience audience; /* of the event that is being delivered */
    struct list conns_all, dirty, paused;
    uint64_t conn_count;
    struct connect_throttle connect_throttle;

    /* prepare */
    zxid_t last_prepared;
    uint64_t prepared_digest; /* of the tree as it will be after all prepared transactions */
    struct hmap changes;      /* newest pending change by path hash */
    uint64_t change_count;
    uint64_t pending_ephemerals; /* creations of ephemerals among them */
    struct list closers;         /* struct closer: ends of sessions that are still being prepared */
    struct buf scratch;       /* for one function at a time */
    struct buf scratch_acl;
    int64_t counter_limit;       /* of a zxid: there a leader begins another epoch */
    size_t listing_inline_bytes; /* more bytes of names than this are not encoded at once but as the socket drains */
    struct buf reply;         /* body of the reply to the transaction that is being applied */

    /* log */
    struct batch *filling; /* the batch that grows while another is written; NULL = none */
    struct batch *writing;
    struct batch *spare;
    bool gathering; /* the batch waits for the next turn, which may bring more */
    bool logless;          /* an observer that keeps nothing on its disk (syncEnabled) */
    bool unlogged;         /* so the disk lacks some of what is in memory */
    unsigned orders_pending; /* LOG_CMD_ATOMIC and _CALL under way */
    bool roll_next;        /* the next batch starts a new log file */
    uint64_t txns_since_snapshot, snapshot_at_txns;
    int64_t log_bytes_since_snapshot, snapshot_at_bytes;
    int64_t log_file_size, log_padding; /* of the current log; and what of it is reserved behind the entries */
    zxid_t log_first;      /* zxid in the name of the newest log that this process made; 0 = none yet */
    bool half_reloaded;    /* there was no space to bring the history to where it is to end: the tree is not what the disk holds */
    bool disk_full;        /* the last append found no space: its batch is tried again from time to time */
    struct monotime disk_retry;
    unsigned no_space_tries;
    bool digest_unknown;   /* what was shed makes predictions wrong until everything prepared has been applied */

    /* commit and apply */
    struct list outstanding; /* struct request by zxid: prepared, not applied */
    uint64_t outstanding_count;
    zxid_t logged;    /* synced in our own log */
    zxid_t committed;
    size_t queued_bytes; /* frames and transactions held for requests that are not answered */
    size_t large_bytes;  /* of them, in large requests */
    uint64_t pipeline_count; /* requests read and not answered */

    struct snapshotter *snapshotter;
    struct reaper *reaper;
    struct diskguard *diskguard;
    int64_t data_dir_bytes, log_dir_bytes; /* sizes of the directories as diskguard saw them last */
    struct metrics metrics;
    int64_t trace_mask; /* of gtmk and stmk: kept for those who ask, it steers nothing */
    uint64_t digests_seen; /* entries of digest_log ever written */
    struct {
        zxid_t zxid;
        uint64_t digest;
    } digest_log[1024];
    struct log_limit digest_limit, slow_sync_limit, full_limit, quota_limit, refuse_limit, oversize_limit;
};

/* ------------------------------------------------------------------ life */

/* config and env->disk outlive the server. seed: of everything random in it. */
struct server *server_new(struct config *config, const struct env *env, uint64_t seed, struct now now);
/* Frees everything; connections must have been taken away with server_conn_gone. */
void server_free(struct server *s);
/* Loads the database from disk (blocking; before the loop runs). Afterwards the server is ready for server_start. */
void server_recover(struct server *s, struct recovery_result *result, struct now now);
/* Begins to serve: expiry clocks start. A fresh database gets its first snapshot before this returns (blocking).
 * 0, or a negative errno. */
int server_start(struct server *s, struct now now);
/* Orderly stop: closes all connections; server_idle tells when the log is synced and nothing is left to wait for. */
void server_stop(struct server *s, struct now now);
bool server_idle(const struct server *s);
/* The stop takes too long: a snapshot that is being made is given up. */
void server_hurry(struct server *s);
/* No job and no command of the server's is with another thread: its parts are freed only then. (A batch may be.) */
bool server_at_rest(const struct server *s);

/* ------------------------------------------------------------------ events */

/* A socket was accepted. peer: printable "address:port" (copied); ip: the address as ZooKeeper writes it. */
struct conn *server_conn_new(struct server *s, struct slice peer, struct slice ip, bool is_local, struct now now);
/* The socket is gone: frees conn. Requests in flight go on without a reply. */
void server_conn_gone(struct server *s, struct conn *c, struct now now);
/* What to do with a frame of this length, asked as soon as the length is known. head: what has arrived of it so far. */
enum frame_verdict {
    FRAME_READ,
    FRAME_ASK_AGAIN, /* its header must be there first (REQUEST_HEADER_BYTES) */
    FRAME_DRAIN, /* over jute.maxbuffer: skip it but for its first bytes, then call server_conn_oversize */
    FRAME_CLOSE, /* not to be had; the reason has been logged */
};
enum frame_verdict server_conn_admits(struct server *s, struct conn *c, int32_t len, const uint8_t *head, size_t head_len);
/* One complete frame (without its length). The connection may be closing or paused afterwards. */
void server_conn_frame(struct server *s, struct conn *c, const uint8_t *frame, size_t len, struct now now);
/* A frame longer than jute.maxbuffer was drained unread but for its first bytes: answered with an error. */
void server_conn_oversize(struct server *s, struct conn *c, const uint8_t *head, size_t head_len, size_t frame_len,
                          struct now now);
/* A command given to env->log_submit is done. */
void server_log_done(struct server *s, struct log_cmd *cmd, struct now now);
/* Called at the start of each loop turn: due expiry, timers, slices of running walks. */
void server_turn_begin(struct server *s, struct now now);
/* Called at the end of each loop turn, before sleep: hands the batch to the log, or keeps it for the next turn. */
void server_turn_end(struct server *s, struct now now);
/* When server_turn_begin wants to be called again at the latest; the past = work is waiting now. */
struct monotime server_next_wake(const struct server *s);

/* ------------------------------------------------------------------ between the parts of the core */

/* server.c */
void server_fail(struct server *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Orders an ATOMIC or CALL; cmd->done is told. */
void server_order(struct server *s, struct log_cmd *cmd);
/* Starts over with a fresh tree, or (empty) with only a root for a snapshot to fill; no sessions. */
void server_new_database(struct server *s, bool empty);
/* frames.c */
void server_resume_paused(struct server *s);
/* True if growing writes must be refused now (memory or disk). */
bool server_refuses_growth(const struct server *s);
/* Bytes held by category, for maxmemory and mntr. */
struct server_memory {
    uint64_t tree, watches, sessions, buffers, log_window, total;
};
struct server_memory server_memory(const struct server *s);

/* pipeline.c: batches, commit, the order of applying */
struct batch *pipeline_batch(struct server *s);
/* Registers a prepared request whose payload is the last entry of the batch. */
void pipeline_propose(struct server *s, struct request *r, size_t offset, size_t len);
/* Hands the batch to the log, unless one is being written or it is worth waiting for more. */
void pipeline_turn_end(struct server *s);
/* The log goes on in a new file with the next transaction; the file is made at once, if nothing is under way. False: not yet.
 * Standalone only. */
bool pipeline_roll(struct server *s);
void pipeline_append_done(struct server *s, struct log_cmd *cmd);
/* Applies committed transactions for a bounded time; true if more are waiting. */
bool pipeline_apply(struct server *s);
struct request *request_new(struct server *s, struct conn *c, enum request_kind kind, int32_t xid, int32_t op, size_t body_len);
/* The transaction of a proposed request, as it stands in the log. Valid until it is applied. */
struct slice request_payload(const struct request *r);
/* By the clocks of both: how long ago the leader prepared it, in ms; never negative. */
uint64_t request_age_ms(const struct server *s, const struct request *r);
/* Takes over a transaction that the leader has ordered: it goes to the log, and is applied once it is committed. */
void pipeline_accept(struct server *s, zxid_t zxid, struct slice payload);
/* A sync of role->sync is confirmed: it is answered behind what came before it. It and others may be gone afterwards. */
void server_synced(struct server *s, struct request *r);
/* Unlinks and frees it; records the latency if it was answered. */
void request_done(struct server *s, struct request *r);
/* Answers the deferred reads at the head of the queue. */
void request_run_reads(struct server *s, struct conn *c);

/* frames.c: true if a request of this kind can make the database larger. */
bool request_op_grows(int32_t op);
/* The same for a request with its body. */
bool request_grows(const struct server *s, int32_t op, struct slice body);

/* prepare.c: makes one transaction (or an error transaction) out of a request and proposes it. */
void prepare_request(struct server *s, struct request *r, struct slice body);
/* The request becomes an error transaction. */
void prepare_error(struct server *s, struct request *r, int32_t error);
void prepare_create_session(struct server *s, struct request *r, int32_t timeout_ms);
/* True if test holds for the type of one of the operations of an encoded multi. */
bool prepare_multi_any(struct slice body, bool (*test)(int32_t op));
/* True if the body of a write request of this type decodes. stat_results: as in struct request, for a multi. */
bool prepare_decodes(int32_t type, struct slice body, struct buf *stat_results);
/* True if the client may not write this, as far as the applied tree says (enableEagerACLCheck). */
bool prepare_denied(const struct server *s, const struct conn *c, int32_t type, struct slice body);
/* The server's own delete of a container or TTL node. */
void prepare_delete_container(struct server *s, struct slice path);
/* Forgets the pending changes of a request that has been applied. */
void prepare_changes_applied(struct server *s, struct request *r);

/* apply.c */
/* Applies one transaction to the database; r is the request that waits for it, or NULL. Returns false if the payload does
 * not decode. */
bool apply_payload(struct server *s, struct slice payload, struct request *r);

/* reads.c: answers a read, ping or watch operation from the applied tree. */
void reads_execute(struct server *s, struct conn *c, int32_t xid, int32_t op, struct slice body, uint32_t identities);
bool reads_is_read(int32_t op);

/* connect.c */
void connect_frame(struct server *s, struct conn *c, const uint8_t *frame, size_t len);
/* Sends the ConnectResponse; session NULL = not valid, then the connection closes. */
void connect_reply(struct server *s, struct conn *c, struct session *session);
/* Marks the session closing and queues its closeSession. */
void session_expire(struct server *s, struct session *session);
void connect_let_go(struct server *s, struct conn *c);
/* The answer to role->renew. */
void connect_renewed(struct server *s, struct conn *c, session_id_t id, int32_t timeout_ms, bool valid);

/* snapshotter.c: snapshots by a sliced walk, written by jobs, published through the log's FIFO. */
struct snapshotter *snapshotter_new(struct server *s);
/* No job may be under way any more. */
void snapshotter_free(struct snapshotter *p);
/* Asks for a snapshot of the tree as it is at the next turn, unless one is being made. */
void snapshotter_request(struct server *s);
/* Starts what was asked for; one slice of a running walk. */
void snapshotter_step(struct server *s);
/* True if snapshotter_step could do something right now. */
bool snapshotter_has_work(const struct server *s);
/* True while a walk, a job or a publication is under way. */
bool snapshotter_busy(const struct server *s);
/* Gives up what is being made, as long as the tree is walked for it. */
void snapshotter_abort(struct server *s, const char *why);
/* The same up to the moment in which it is published. */
void snapshotter_cancel(struct server *s, const char *why);
void snapshotter_log_done(struct server *s, struct log_cmd *cmd);
/* Called for each proposed transaction: is it time to roll the log and take a snapshot? */
void snapshotter_check_trigger(struct server *s);
/* About as many bytes as a snapshot of the tree takes without compression, rather more than less. */
int64_t snapshotter_size_needed(const struct server *s);
/* What of it the one under way has still to write; while one that was given up goes away, what the next one takes. */
int64_t snapshotter_bytes_to_come(const struct server *s);
/* At start: makes sure that there is a snapshot before there is a log. Blocking. 0 or a negative errno. */
int snapshotter_first(struct server *s);

/* reaper.c: deletes empty containers and expired TTL nodes. */
struct reaper *reaper_new(struct server *s);
void reaper_free(struct reaper *p);
void reaper_turn(struct server *s);
struct monotime reaper_next_wake(const struct server *s);

/* diskguard.c: free space, the ballast file, and retention of old files. */
struct diskguard *diskguard_new(struct server *s);
void diskguard_free(struct diskguard *g);
/* The first look, and the ballast: blocking, before the server serves. */
void diskguard_start(struct server *s);
void diskguard_turn(struct server *s);
struct monotime diskguard_next_wake(const struct server *s);
void diskguard_log_done(struct server *s, struct log_cmd *cmd);
bool diskguard_busy(const struct server *s);
/* Bytes available on the disk of dir as last seen; -1 = not known. */
int64_t diskguard_free_bytes(const struct server *s, enum disk_dir dir);
/* Space is so short that growing writes must be refused. */
bool diskguard_critical(const struct server *s);
/* The same, and the server cannot help itself. */
bool diskguard_hopeless(const struct server *s);
/* The files of the log take up so many bytes more, in a new file or not. */
void diskguard_log_grew(struct server *s, int64_t bytes, bool new_file);
/* A snapshot of this zxid is begun. */
void diskguard_snapshot_begun(struct server *s, zxid_t zxid);
/* So many bytes of it have been written. */
void diskguard_snapshot_grew(struct server *s, int64_t bytes);
/* An append found no space: the ballast is given up. */
void diskguard_no_space(struct server *s);
/* Now one was taken again. */
void diskguard_space_again(struct server *s);
/* A look at old files is due, because a snapshot was published. */
void diskguard_purge_soon(struct server *s);

#endif
