/* One server, or an ensemble, in a simulated world: unchanged server core, quorum, log writer, recovery; virtual time,
 * simulated disks and network, clients with sessions. Everything follows from the seed, so that a failure is replayed by its
 * number.
 *
 *   main.c    command line
 *   script.c  elections and nothing else: what they take, and what they leave behind
 *   mem.c     counts allocations
 *   explore.c many seeds, several processes, the soak, the simulator's own test
 *   world.c   the loop: what happens next; a whole run
 *   node.c    one server: configuration, starts, turns, crashes, faults of its own
 *   first.c   databases that do not begin at nothing
 *   damage.c  disks that lose everything or some bits
 *   env.c     struct env: log commands and jobs take time; deliberate breaches of the safety rules
 *   net.c     connections between members: delay, bandwidth, partitions, breaks
 *   tamper.c  deliberate breaches of the rules of replication: packets that are forged or changed on their way
 *   member.c  who leads, and the account of what is committed
 *   link.c    connections of clients: bytes under way, what a reply may not say before its sync
 *   client.c  clients: what they ask for, and whether the answers are right
 *   request.c requests, and what ZooKeeper's rules say about their results
 *   seen.c    what a client sees of single znodes, for linear.c
 *   watch.c   watches: which events must come, and when
 *   model.c   the account of all transactions; in an ensemble of the committed ones
 *   linear.c  another account, of what the clients saw alone: is there an order that explains it?
 *   check.c   comparison of the whole tree with the model */
#ifndef ZABRA_SIM_SIM_H
#define ZABRA_SIM_SIM_H

#include "lib/simdisk.h"
#include "quorum/quorum.h"
#include "server/server.h"
#include "sim/linear.h"
#include "sim/model.h"

#define SIM_CLIENTS_MAX 64
#define SIM_NODES_MAX 12
#define SIM_NEVER INT64_MAX
#define SIM_TOPS 4 /* /n0, /n1, ... */
#define SIM_WALL_MS 1795221887540 /* the wall clock when the monotonic one stood at 0 */

enum sim_break {
    BREAK_NOTHING,
    BREAK_ACK_BEFORE_SYNC,   /* an append is reported as done before the disk did it */
    BREAK_LOST_SYNC,         /* fdatasync does nothing */
    BREAK_NO_DIR_SYNC,       /* directories are never synced */
    BREAK_REORDERED_BATCHES, /* two batches change places on their way to the disk */
    BREAK_SWAPPED_REPLIES,   /* two replies change places */
    BREAK_LATE_EVENT,        /* an event comes behind the next reply */
    BREAK_OTHER_DATA,        /* a reply holds other data */
    BREAK_OLDER_REPLY,       /* a reply says an older zxid than there was before */
    BREAK_FAST_CLOCK,        /* the server's time runs twice as fast: sessions expire too early */
    BREAK_SLOW_CLOCK,        /* half as fast: too late */
    /* of ensembles */
    BREAK_EARLY_ACK,         /* every member reports its appends as done before its disk did them */
    BREAK_EARLY_NEWLEADER,   /* NEWLEADER is acknowledged before the history is durable */
    BREAK_NO_CURRENT_EPOCH,  /* currentEpoch is not written */
    BREAK_NO_ACCEPTED_EPOCH, /* acceptedEpoch is not written */
    BREAK_NO_QUORUM,         /* proposals are acknowledged before anybody has seen them */
    BREAK_EARLY_COMMIT,      /* each proposal comes with its commit */
    BREAK_NO_TRUNC,          /* a DIFF in place of each TRUNC */
    BREAK_CUT_NOT_SYNCED,    /* a history that is cut or replaced is never synced */
    BREAK_PROMISED_TWICE,    /* who has promised the epoch to another leader before counts all the same */
    BREAK_BLIND_LEADER,      /* elections are decided by lies, and ACKEPOCH says nothing about the history */
    BREAK_NO_PING_ROUND,     /* pings are answered before anybody has seen them: a sync confirms nothing */
    BREAK_WIPED_VOTES,       /* a member whose disk was wiped takes itself for one that has a history */
    BREAK_OWN_CHANGE,        /* a member changes its tree without a transaction */
    BREAK_NO_UPTODATE,       /* learners are never told that they may serve */
    BREAK_COUNT
};

/* What may go wrong, with its name for --faults. Crashes are power losses, kills and stops. */
#define SIM_FAULTS(X)                                                                                                  \
    X(CRASH, "crash")                                                                                                  \
    X(DISK_ERROR, "disk-error")                                                                                        \
    X(DISK_FULL, "disk-full")                                                                                          \
    X(DISK_SLOW, "disk-slow")                                                                                          \
    X(DAMAGE, "damage")                                                                                                \
    X(WIPE, "wipe")                                                                                                    \
    X(PARTITION, "partition")                                                                                          \
    X(RESET, "reset")                                                                                                  \
    X(SLOW_PEER, "slow-peer")                                                                                          \
    X(REFUSAL, "refusal")                                                                                              \
    X(PAUSE, "pause")                                                                                                  \
    X(CLOCK, "clock")

enum sim_fault {
#define SIM_FAULT(name, text) FAULT_##name,
    SIM_FAULTS(SIM_FAULT)
#undef SIM_FAULT
    FAULT_COUNT
};
#define SIM_ALL_FAULTS ((1u << FAULT_COUNT) - 1)

struct sim_options {
    uint64_t seed;
    int clients, ops; /* 0 = follows from the seed */
    int servers, observers; /* 0 servers: from the seed, standalone or an ensemble; 1: standalone */
    unsigned faults; /* bits by enum sim_fault */
    bool trace;
    enum sim_break broken;
};

/* A run of an ensemble is at least so long, if its length follows from the seed. */
#define SIM_LEAST_US 60000000
#define SIM_LEAST_OPS 500
#define SIM_LEAST_FAULTS 5

/* What happened. Those marked MUST have to happen somewhere in a long run, or the run proves little. */
#define SIM_COUNTERS(MUST, ENSEMBLE, MAY)                                                                                        \
    MUST(power_losses, "power losses")                                                                                 \
    MUST(kills, "kills")                                                                                               \
    MUST(stops, "orderly stops")                                                                                       \
    MUST(mid_command, "crashes inside a log command or job")                                                           \
    MUST(mid_recovery, "crashes inside recovery")                                                                      \
    MUST(recoveries, "recoveries")                                                                                     \
    MUST(replayed, "transactions replayed")                                                                            \
    MUST(torn, "torn tails cut")                                                                                       \
    MUST(unacked_kept, "transactions kept without an ack")                                                             \
    MUST(unacked_lost, "transactions lost without an ack")                                                             \
    MUST(snapshots, "snapshots published")                                                                             \
    MUST(rolls, "log rolls")                                                                                           \
    MUST(removed, "files removed by retention")                                                                        \
    MUST(appends, "batches")                                                                                           \
    MUST(full_periods, "ENOSPC periods")                                                                               \
    MUST(full_appends, "appends that found no space")                                                                  \
    MUST(refused, "writes refused for lack of space")                                                                  \
    MUST(disk_errors, "ends after an error of the disk")                                                               \
    MUST(freezes, "stalls of the server")                                                                              \
    MUST(disk_stalls, "stalls of the disk")                                                                            \
    MUST(hang_ups, "connections broken")                                                                               \
    MUST(renewals, "sessions renewed")                                                                                 \
    MUST(expiries, "sessions expired")                                                                                 \
    MUST(closes, "sessions closed")                                                                                    \
    MUST(acked, "writes acknowledged")                                                                                 \
    MUST(errors, "error transactions acknowledged")                                                                    \
    MUST(multis, "multis done")                                                                                        \
    MUST(failed_multis, "multis failed")                                                                               \
    MUST(sequential, "sequential creates")                                                                             \
    MUST(ephemerals, "ephemerals created")                                                                             \
    MUST(late_starts, "databases that begin near the end of a counter")                                                \
    MUST(containers, "containers created")                                                                             \
    MUST(ttl_nodes, "TTL nodes created")                                                                               \
    MUST(reaped, "containers and TTL nodes that went")                                                                 \
    MUST(multi_reads, "multiReads compared")                                                                           \
    MUST(sliced, "replies sent in slices")                                                                             \
    MUST(searched, "znodes whose history was searched for an order")                                                   \
    MUST(reads, "reads compared")                                                                                      \
    MUST(events, "watch events compared")                                                                              \
    MUST(set_watches, "setWatches")                                                                                    \
    MUST(caught_up, "events of setWatches")                                                                            \
    MUST(trees, "whole trees compared")                                                                                \
    ENSEMBLE(ensembles, "ensembles")                                                                                   \
    ENSEMBLE(virtual_ms, "ms of virtual time in ensembles")                                                            \
    ENSEMBLE(asked, "requests in ensembles")                                                                           \
    ENSEMBLE(faults, "faults in ensembles")                                                                            \
    ENSEMBLE(elections, "elections")                                                                                   \
    ENSEMBLE(leaders, "leaders established")                                                                           \
    ENSEMBLE(roll_overs, "epochs that ended with their counter")                                                       \
    ENSEMBLE(step_downs, "step-downs")                                                                                 \
    ENSEMBLE(diffs, "DIFF")                                                                                            \
    ENSEMBLE(log_diffs, "DIFF from log files")                                                                         \
    ENSEMBLE(truncs, "TRUNC")                                                                                          \
    ENSEMBLE(snaps, "SNAP")                                                                                            \
    ENSEMBLE(log_snaps, "SNAP that log files follow")                                                                  \
    ENSEMBLE(partitions, "partitions")                                                                                 \
    ENSEMBLE(one_way, "one-way partitions")                                                                            \
    ENSEMBLE(slow_peers, "slow peers")                                                                                 \
    ENSEMBLE(resets, "connections between members broken")                                                             \
    ENSEMBLE(refusals, "connections between members refused")                                                          \
    ENSEMBLE(pauses, "processes paused")                                                                               \
    ENSEMBLE(clock_jumps, "jumps of a wall clock")                                                                     \
    ENSEMBLE(member_power_losses, "power losses of members")                                                           \
    ENSEMBLE(member_kills, "members killed")                                                                           \
    ENSEMBLE(member_full, "ENOSPC periods of members")                                                                 \
    ENSEMBLE(slow_disks, "slow disks")                                                                                 \
    ENSEMBLE(wipes, "disks wiped")                                                                                     \
    ENSEMBLE(damages, "bits flipped on disks")                                                                         \
    ENSEMBLE(found_damage, "damaged histories set aside")                                                              \
    ENSEMBLE(healed, "lost histories healed")                                                                          \
    ENSEMBLE(moves, "sessions moved to another member")                                                                \
    ENSEMBLE(syncs, "syncs compared")                                                                                  \
    ENSEMBLE(forwarded, "writes acknowledged by followers and observers")                                              \
    ENSEMBLE(equal_ends, "ensembles that ended with equal trees")                                                      \
    MAY(batches_shed, "transactions replaced because the disk was full")                                               \
    MAY(failed_starts, "starts given up on a full disk")                                                               \
    MAY(too_hard, "searches for an order given up")                                                                    \
    MAY(hand_overs, "leaders that handed over because of their disk")                                                  \
    MAY(turns, "turns")

struct sim_counters {
#define SIM_FIELD(name, text) uint64_t name;
    SIM_COUNTERS(SIM_FIELD, SIM_FIELD, SIM_FIELD)
#undef SIM_FIELD
};

struct sim;
struct sim_node;
struct sim_link;

/* ------------------------------------------------------------------ clients */

#define SIM_WINDOW 8
#define SIM_PARTS 3

/* One operation of a request. */
struct sim_op {
    int32_t op;
    char path[MODEL_PATH_MAX];
    int32_t version, flags;
    int64_t ttl_ms;
    uint32_t value; /* its data is a function of client, this number, and length */
    uint32_t length;
    bool watch;
    int32_t mode; /* addWatch */
    size_t seen; /* number of what the client saw of it, for the search; counted from 1 */
};

struct sim_request {
    int32_t xid, op;
    struct sim_op parts[SIM_PARTS]; /* more than one: a multi */
    int count;
    int64_t sent_us;
    zxid_t seen;  /* setWatches: what the client had seen */
    zxid_t shown; /* what anybody had seen when it was sent */
};

struct sim_watch {
    char path[MODEL_PATH_MAX];
    unsigned mode;    /* WATCH_DATA, WATCH_CHILD, the persistent pair, or WATCH_RECURSIVE */
    bool for_missing; /* data watch on a path that was empty */
};

enum sim_client_state {
    CLIENT_DOWN,       /* will connect at next_us */
    CLIENT_CONNECTING, /* waits for the answer until next_us */
    CLIENT_UP,
    CLIENT_SILENT, /* sends nothing until its session has expired */
};

struct sim_client {
    struct sim *sim;
    int id;
    struct rng rng;
    enum sim_client_state state;
    struct sim_link *link;
    int64_t next_us; /* when it acts next */
    int64_t next_op_us, next_ping_us, heard_us, pace_us, patience_us;

    struct sim_node *node; /* where it is connected, or was */
    bool moved;            /* another one than before */
    bool reads_only;
    session_id_t session;
    int32_t timeout_ms;
    uint8_t password[PASSWORD_BYTES];
    zxid_t last_zxid;
    int64_t fresh_us; /* when the newest answered request was sent that brought the session up to date; 0 = none */
    int32_t xid;
    uint32_t values;
    bool closing; /* a closeSession is under way */

    struct sim_request requests[SIM_WINDOW];
    int first_request, request_count;

    struct sim_watch *watches;
    int watch_count;
    bool watches_set;     /* those of the list stand in the server */
    size_t event_at;      /* events of the model before it are dealt with */
    struct model_event *expected; /* must come before any reply that shows them */
    int expected_count;
    struct model_event *caught_up; /* came without a zxid */
    int caught_up_count;
    zxid_t last_event_zxid;
};

/* ------------------------------------------------------------------ the world */

/* Bytes under way, in either direction. */
struct sim_packet {
    struct list link;
    int64_t due_us;
    bool is_end; /* to the client: the server has closed */
    size_t len;
    uint8_t bytes[];
};

struct sim_link {
    struct list link;
    struct sim *sim;
    struct sim_node *node;
    struct conn *conn;         /* NULL: the server's end is closed */
    struct sim_client *client; /* NULL: the client's end is closed */
    int number;
    struct list to_server, to_client; /* struct sim_packet */
    int64_t hang_up_us;               /* the server hears of the client's end */
    bool reply_sent, reply_seen;      /* of the connect request */
    struct buf partial;               /* a frame whose rest has not been sent yet */
    int64_t drain_us;                 /* when the socket takes more */
    struct buf held;                  /* a frame that comes later than it should (deliberate breaches) */
};

enum sim_end { END_POWER_LOSS, END_KILL, END_STOP };

struct sim_shadow; /* of a log command that was reported too early */

/* One server with its machine. */
struct sim_node {
    struct sim *sim;
    int sid; /* 1, 2, ... */
    struct simdisk disk;
    struct config config;
    struct server *server; /* NULL: it is down */
    struct logwriter *writer;
    int64_t restart_us;
    bool stopping;
    zxid_t synced;     /* all up to it was synced, as the disk tells */
    bool cutting;      /* the history is being cut or replaced */
    int64_t wake_us;   /* when the server wants its next turn */
    int64_t paused_us; /* the process gets no processor until then */
    int64_t wall_ms;   /* how far its wall clock is off */

    /* env.c */
    struct list log_cmds, jobs; /* struct log_cmd, struct sim_job */
    bool log_busy, log_executed;
    int64_t log_us;
    struct list shadows;
    bool appending;
    zxid_t refused_first; /* first zxid of the last batch that found no space: until it is written it may change */

    /* faults */
    int64_t crash_us, full_us;
    enum sim_end crash_kind;
    bool error_armed; /* a call of the disk will fail */
    int64_t error_us;
    bool full;
    int64_t full_seen_us; /* last moment at which the disk was short of space */
    int64_t slow_disk_us, slow_disk_until_us;
    bool voted;       /* it has served at least once */
    bool lost;        /* its disk has lost something, and it has not voted since */
    bool restored;    /* and it was found to be so */
    char flipped[48]; /* a file in which a bit has changed; it may be needed only when the history is cut */
    enum disk_dir flipped_dir;
    zxid_t lost_synced; /* how far it was synced before */

    /* member.c, net.c */
    bool listening[2]; /* by enum link_port */
    bool dark;         /* without power: nobody refuses a connection */
    bool served;       /* it was serving at the end of its last turn */
    bool led, looked;
    int64_t looking_us, decided_us; /* when it began to look, and when it had found somebody */
    zxid_t tail;       /* the last transaction that it has given to its log */
    size_t account;    /* transactions of the model that it has applied, counted from the first; while served */
    zxid_t ordered;    /* the newest transaction of this leader that was looked at */
    uint64_t log_diffs, log_snaps; /* that this process has counted */
    int64_t slow_until_us, refuses_until_us;
};

struct sim {
    struct sim_options options;
    struct rng rng;
    struct now now;
    struct sim_counters *counters;
    char failure[512]; /* "" = all is well */
    uint64_t trace_hash;

    struct sim_node nodes[SIM_NODES_MAX];
    int node_count, voters;
    struct buf members; /* their configuration */
    struct model model;
    struct linear linear;
    zxid_t shown; /* highest zxid in any output */
    zxid_t seen;  /* and in what has reached a client */

    struct list links;
    int links_made;
    struct sim_client *clients;
    int client_count;
    int ops_left;
    int asked, faults;
    int64_t begin_us, more_us; /* when the clients get more to do; SIM_NEVER = they have something, or are done */

    int64_t counter_limit; /* with so many transactions an epoch ends; 0 = with as many as there can be */
    bool slices; /* replies with names of children leave name by name */
    bool calm; /* no more faults */
    int64_t calm_since_us;
    int64_t freeze_us; /* standalone: the whole world waits for the server */

    /* ensembles */
    struct list wires;             /* connections between members */
    bool cut[SIM_NODES_MAX][SIM_NODES_MAX]; /* what [from] sends to [to] waits, by index */
    bool partitioned;
    int64_t network_us;            /* the next fault of the network, or the end of a partition */
    int64_t pause_us, jump_us;
    bool apart;                    /* who writes stays away from the leader: so it does not notice that it is none any more */
    int64_t delay_us;              /* of a link between members, usually */
    int64_t exact_delay_us;        /* or always */
    int leader;                    /* index of the one with the newest epoch; -1 = none yet */
    int64_t epoch;                 /* and that epoch */
    struct hmap orders;            /* every transaction that any member has given to its log, by zxid */
    int64_t *epochs;               /* leader by epoch, sid */
    size_t epoch_count;
};

static inline int64_t sim_now(const struct sim *sim) { return sim->now.mono.us; }
static inline bool sim_is_ensemble(const struct sim *sim) { return sim->node_count > 1; }
static inline int sim_index(const struct sim_node *n) { return n->sid - 1; }
/* Time as this server sees it. */
static inline struct now sim_node_now(const struct sim_node *n) {
    int64_t us = n->sim->now.mono.us, begin_us = n->sim->begin_us;
    if (n->sim->options.broken == BREAK_FAST_CLOCK)
        us = begin_us + (us - begin_us) * 2;
    else if (n->sim->options.broken == BREAK_SLOW_CLOCK)
        us = begin_us + (us - begin_us) / 2;
    return (struct now){.mono = {us}, .wall_ms = n->sim->now.wall_ms + n->wall_ms};
}
static inline bool sim_is_paused(const struct sim_node *n) { return n->paused_us > sim_now(n->sim); }

/* explore.c */
const char *sim_break_name(enum sim_break broken);
int sim_one_seed(const struct sim_options *options);
/* Seeds first, first + 1, ..., in that many processes. Exit status. */
int sim_many_seeds(const struct sim_options *options, uint64_t first, uint64_t runs, int jobs);
/* Until a signal ends it. */
int sim_soak(const struct sim_options *options, uint64_t first, int jobs);
int sim_self_test(void);

/* script.c */
/* That many elections, in ensembles of 3, 5, 7 and 9. Exit status. */
int sim_elections(uint64_t count, bool trace);

/* mem.c */
size_t sim_mem_blocks(void);

/* world.c */
/* Plays one seed to its end. False: failure says why. */
bool sim_run(const struct sim_options *options, struct sim_counters *counters, char failure[512], uint64_t *trace_hash);
/* The same in steps: to whatever happens next. */
void sim_begin(struct sim *sim, const struct sim_options *options, struct sim_counters *counters);
void sim_step(struct sim *sim);
void sim_end(struct sim *sim);
/* The first failure of a run; later ones are dropped. */
void sim_fail(struct sim *sim, const char *fmt, ...) PRINTF_LIKE(2, 3);
void sim_trace(struct sim *sim, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline bool sim_failed(const struct sim *sim) { return sim->failure[0] != '\0'; }

/* A fault of this kind is due. False: it is not to happen in this run. */
bool sim_fault(struct sim *sim, enum sim_fault kind);
static inline bool sim_may(const struct sim *sim, enum sim_fault kind) { return sim->options.faults >> kind & 1; }

/* A moment between least and most from now. */
int64_t sim_soon(struct sim *sim, int64_t least_us, int64_t most_us);

/* node.c */
void sim_node_init(struct sim_node *n, struct sim *sim, int sid);
void sim_node_free(struct sim_node *n);
/* The machine (power loss) or the process goes down, right now. */
void sim_node_crash(struct sim_node *n, enum sim_end kind);
void sim_node_begin_stop(struct sim_node *n);
/* When something happens to it or in it. */
int64_t sim_node_next(const struct sim_node *n);
/* Faults that are due, starts and stops. */
void sim_node_step(struct sim_node *n);
/* Everything that it has to do at this moment. */
void sim_node_run(struct sim_node *n);
void sim_node_calm(struct sim_node *n);

/* first.c */
/* Once per run; the model learns of it. */
void sim_first_choose(struct sim *sim);
/* Before the first start of a member. */
void sim_first_put(struct sim_node *n);

/* damage.c */
/* The server is down: perhaps its disk has lost something, too. Never those of two voters at the same time. */
void sim_damage_if_due(struct sim_node *n);
/* A bit has changed in a file that is still there. */
bool sim_damage_is_latent(const struct sim_node *n);
/* The server has ended because of it; the next start sets the history aside. */
void sim_damage_found(struct sim_node *n);
/* The member votes (again): it has the history of all others. */
void sim_damage_healed(struct sim_node *n);

/* env.c */
struct env sim_env(struct sim_node *n);
/* Before the first start: takes functions of the disk away, if the run is to break a rule. */
void sim_env_break_disk(struct sim_node *n);
/* The next moment at which a command or job has something to do. */
int64_t sim_env_next(const struct sim_node *n);
/* Carries out what is due. True if a completion was given to the server. */
bool sim_env_run(struct sim_node *n);
/* For a server that is about to be freed: its jobs end without effect, its commands have failed. */
void sim_env_abandon(struct sim_node *n);

/* member.c */
/* server_start for a member. 0 or a negative errno. */
int sim_member_start(struct sim_node *n);
/* A batch for the log of a member. */
void sim_member_batch(struct sim_node *n, const struct log_cmd *cmd);
void sim_member_free_orders(struct sim *sim);
/* Called after each turn, before its output leaves. */
void sim_member_account(struct sim_node *n);
/* The leader, once faults have ceased long ago and nothing can depose it; else NULL. */
const struct server *sim_calm_leader(const struct sim *sim);
/* The server is gone. */
void sim_member_gone(struct sim_node *n);
/* True if one leads and all others follow, or observe, up to the end. */
bool sim_members_at_rest(const struct sim *sim);

/* net.c */
extern const struct link_ops sim_wire_ops;
int64_t sim_wires_next(const struct sim *sim);
/* Carries what is due to this member; true if there was anything. */
bool sim_wires_feed(struct sim_node *n);
/* The member has gone; its machine, too (power loss). */
void sim_wires_cut(struct sim_node *n, bool machine);
void sim_wires_sweep(struct sim *sim);
int sim_wires_count(const struct sim *sim);
void sim_wires_free(struct sim *sim);
/* Partitions, slow peers, breaks, pauses, clocks. */
void sim_network_init(struct sim *sim);
int64_t sim_network_next(const struct sim *sim);
void sim_network_step(struct sim *sim);
void sim_network_calm(struct sim *sim);

/* tamper.c. Bytes on their way from a member to another one, on the quorum port. */
struct sim_tamper {
    bool learner; /* it is a learner that sends */
    bool in_snapshot;
};
/* Changes them; what is forged is appended to the bytes that go back. */
void sim_tamper_vote(struct sim_node *from, struct buf *bytes); /* on the election port */
void sim_tamper(struct sim_node *from, struct sim_tamper *state, struct buf *bytes, struct buf *back);

/* link.c */
struct sim_link *sim_link_open(struct sim_client *c);
void sim_link_send(struct sim_link *l, const struct buf *frame);
/* The client's end closes. */
void sim_link_hang_up(struct sim_link *l);
/* True if the connection of this session holds bytes that the server does not want to read for now. */
bool sim_link_is_unread(const struct sim *sim, session_id_t session);
int64_t sim_links_next(const struct sim *sim);
/* Gives due requests to the server; true if there were any. */
bool sim_links_feed(struct sim_node *n);
/* Gives due replies to the clients. */
void sim_links_deliver(struct sim *sim);
/* Takes the server's output; closes what is to be closed. */
void sim_links_settle(struct sim_node *n);
/* The server is gone: all connections end. */
void sim_links_cut(struct sim_node *n);
/* Frees those that both ends have closed. */
void sim_links_sweep(struct sim *sim);
void sim_links_free(struct sim *sim);

/* client.c */
void sim_client_init(struct sim_client *c, struct sim *sim, int id);
void sim_client_free(struct sim_client *c);
/* Acts, if it is time to. */
void sim_client_step(struct sim_client *c);
/* A frame has arrived; is_connect: the answer to the connect request. */
void sim_client_frame(struct sim_client *c, const uint8_t *frame, size_t len, bool is_connect);
/* The server has closed the connection. */
void sim_client_cut(struct sim_client *c);
/* True if nothing is under way and the client is connected. */
bool sim_client_at_rest(const struct sim_client *c);

/* request.c */
void sim_value_put(struct buf *b, int client, uint32_t value, uint32_t length);
/* Chooses the next request. */
void sim_request_choose(struct sim_client *c, struct sim_request *r);
void sim_request_put(const struct sim_client *c, const struct sim_request *r, struct buf *frame);
void sim_request_text(const struct sim_request *r, char *out, size_t size);
bool sim_request_is_write(const struct sim_request *r);
/* Compares a reply with the model. */
void sim_request_check(struct sim_client *c, const struct sim_request *r, zxid_t zxid, int32_t err, struct jute_in body);
/* What the client will see, and has seen, of each znode: for the search at the end. */
void sim_request_note(struct sim_client *c, struct sim_request *r);
void sim_request_seen(struct sim_client *c, const struct sim_request *r, zxid_t zxid, int32_t err, struct jute_in body);
bool sim_stat_equal(const struct stat_view *a, const struct stat_view *b);

/* watch.c */
/* A read that was answered at zxid leaves its watch. */
void sim_watch_register(struct sim_client *c, const struct sim_request *r, zxid_t zxid, int32_t err);
/* The client has heard of zxid: all events up to it must have come. */
void sim_watch_reply(struct sim_client *c, zxid_t zxid);
void sim_watch_event(struct sim_client *c, zxid_t zxid, enum event_type type, struct slice path);
/* The lists for setWatches2. */
void sim_watch_put_lists(const struct sim_client *c, struct buf *b);
/* It was answered at zxid. */
void sim_watch_restored(struct sim_client *c, zxid_t zxid, zxid_t seen);
/* The connection is gone; with forget the session, too. */
void sim_watch_lost(struct sim_client *c, bool forget);

/* check.c */
/* The server's tree and sessions at its last zxid against the model. */
void sim_check_tree(struct sim_node *n, const char *when);

#endif
