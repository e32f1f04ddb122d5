/* The configuration of one server: every option that means something here, with ZooKeeper's names and defaults.
 *
 * Options come from a table (config_table.c), one row each. A file is a Java properties file, so that a zoo.cfg works
 * unchanged; lines in the manner of redis.conf (`name value`) are the same grammar. Whatever is set twice: the command
 * line beats the file, the file beats -D properties (as in ZooKeeper; but the properties that ZooKeeper reads only from
 * the JVM beat the file), and of two settings in one place the later wins.
 *
 * Pure: files are read through a function of the caller, messages are collected, not logged. Order of use:
 *     config_defaults; config_args and config_jvm_flags; config_load; config_validate;
 * then report the messages, and start only if log.errors is 0. */
#ifndef ZABRA_SERVER_CONFIG_H
#define ZABRA_SERVER_CONFIG_H

#include "base/buf.h"
#include "base/common.h"
#include "base/log.h"
#include "base/strutil.h"

struct config_list {
    char **items;
    size_t count;
};

enum config_peer_type { CONFIG_PEER_PARTICIPANT, CONFIG_PEER_OBSERVER };
enum config_compression { CONFIG_COMPRESS_NONE, CONFIG_COMPRESS_GZIP, CONFIG_COMPRESS_SNAPPY };

/* A line that is kept as text: server.N, group.N, weight.N, authProvider.N, and options that have no field. */
struct config_entry {
    char *name, *value;
    char *origin; /* "zoo.cfg:12" */
    int rank;     /* of the source, see above; private */
};

/* Texts are NULL when empty or unset, and owned by the struct. */
struct config {
    /* general */
    bool daemonize;          /* daemonize: go to the background after start */
    char *pidfile;           /* pidfile: path; NULL = none is written */
    char *logfile;           /* logfile: path; NULL = standard error */
    enum log_level loglevel; /* loglevel */
    bool strict_config;      /* strictConfig: an unknown name is an error */
    int background_threads;  /* backgroundThreads: pool for everything but the log writer */

    /* network */
    struct config_list bind;   /* bind, clientPortAddress: addresses or host names, IPv6 perhaps in brackets; a leading
                                * '-' = go on without it if it is not there; none = all addresses */
    int port;                  /* port, clientPort: 0 = none */
    int listen_backlog;        /* clientPortListenBacklog: -1 = the program's choice */
    int max_client_cnxns;      /* maxClientCnxns: connections per client address; <= 0 = unlimited */
    int max_cnxns;             /* maxCnxns: connections in total; <= 0 = unlimited */
    bool client_tcp_keepalive; /* clientTcpKeepAlive: with the system's times */
    int tcp_keepalive_seconds; /* tcpKeepAliveSeconds: keepalive after this idle time; 0 = clientTcpKeepAlive decides */
    int sessionless_timeout_ms;               /* nio.sessionlessCnxnTimeout: for connections that have no session yet */
    int64_t client_output_buffer_limit_bytes; /* clientOutputBufferLimit: a client that leaves more unread is closed */
    int max_requests_per_turn;                /* maxRequestsPerTurn: of one connection, before others get their turn */
    bool close_on_unknown_opcode;             /* closeOnUnknownOpcode: as Java does; else answered with -6 */

    /* sessions */
    int tick_time_ms;                  /* tickTime */
    int min_session_timeout_ms;        /* minSessionTimeout: -1 until config_resolve makes it 2 ticks */
    int max_session_timeout_ms;        /* maxSessionTimeout: -1 until config_resolve makes it 20 ticks */
    int max_sessions_expired_per_turn; /* maxSessionsExpiredPerTurn */

    /* request limits */
    int64_t jute_maxbuffer_bytes;       /* jute.maxbuffer: the largest request that is carried out */
    int64_t jute_maxbuffer_extra_bytes; /* jute.maxbuffer.extrasize: -1 until config_resolve makes it jute.maxbuffer;
                                         * a Java server reads records up to the sum of both */
    int64_t max_request_bytes; /* maxRequestBytes: a larger frame closes the connection; once resolved at least
                                * jute_maxbuffer_bytes */
    int64_t large_request_max_bytes;       /* largeRequestMaxBytes: of all large requests in flight together */
    int64_t large_request_threshold_bytes; /* largeRequestThreshold: above this a request is large; <= 0 = off */
    int64_t maxmemory_bytes;               /* maxmemory: above it growing writes are refused; 0 = off */
    int global_outstanding_limit;          /* globalOutstandingLimit: requests in the pipeline before reading pauses */
    int request_throttle_max_requests;     /* request_throttle_max_requests: <= 0 = off */
    int request_throttle_stall_time_ms;    /* request_throttle_stall_time */
    bool request_throttle_drop_stale;      /* request_throttle_drop_stale */
    bool request_stale_connection_check;   /* request_stale_connection_check */
    bool request_stale_latency_check;      /* request_stale_latency_check */
    int throttled_op_wait_time_ms;         /* throttled_op_wait_time: <= 0 = off */

    /* connection throttle */
    int connection_throttle_tokens;                /* connection_throttle_tokens: 0 = off */
    int connection_throttle_fill_time_ms;          /* connection_throttle_fill_time */
    int connection_throttle_fill_count;            /* connection_throttle_fill_count: tokens per fill time */
    int connection_throttle_freeze_time_ms;        /* connection_throttle_freeze_time: random dropping; < 0 = off */
    double connection_throttle_drop_increase;      /* connection_throttle_drop_increase: 0 to 1 */
    double connection_throttle_drop_decrease;      /* connection_throttle_drop_decrease: 0 to 1 */
    double connection_throttle_decrease_ratio;     /* connection_throttle_decrease_ratio: 0 to 1 */
    bool connection_throttle_weight_enabled;       /* connection_throttle_weight_enabled */
    int connection_throttle_global_session_weight; /* tokens of a new session, if weights are on */
    int connection_throttle_local_session_weight;  /* tokens of a local session */
    int connection_throttle_renew_session_weight;  /* tokens of a reconnect */

    /* storage */
    char *data_dir;                 /* dir, dataDir: required */
    char *data_log_dir;             /* dataLogDir: NULL until config_resolve makes it data_dir */
    bool datadir_autocreate;        /* datadir.autocreate: create missing directories */
    bool force_sync;                /* forceSync: sync before a write is answered */
    int fsync_warning_threshold_ms; /* fsync.warningthresholdms: slower syncs are told */
    int64_t prealloc_kib;           /* preAllocSize: KiB of log reserved at a time; <= 0 = none */
    int64_t disk_reserve_bytes;     /* diskReserve: ballast file for a full disk; 0 = off */
    int64_t log_window_bytes;       /* logWindowBytes: recent transactions kept in memory */
    int snap_count;                 /* snapCount: transactions between snapshots, >= 2 once resolved */
    int64_t snap_size_limit_kib;    /* snapSizeLimitInKb: log between snapshots; < 0 = off */
    int64_t txnlog_size_limit_kib;  /* txnLogSizeLimitInKb: a log file is rolled at this size; <= 0 = off */
    enum config_compression snapshot_compression; /* snapshot.compression.method */
    bool snapshot_trust_empty;                    /* snapshot.trust.empty: logs without a snapshot may be opened */
    bool serialize_last_processed_zxid; /* serializeLastProcessedZxid.enabled: third section of a snapshot (3.9) */
    bool recovery_cut_damaged_log;      /* recovery.cutDamagedLog: cut where the log is damaged instead of refusing */
    int autopurge_snap_retain_count;    /* autopurge.snapRetainCount: >= 3 once resolved */
    int autopurge_purge_interval_hours; /* autopurge.purgeInterval: <= 0 = off */

    /* data */
    bool digest_enabled;             /* digest.enabled: tree digests in logs and snapshots */
    bool close_session_txn_enabled;  /* closeSessionTxn.enabled: the deleted ephemerals are listed in the transaction */
    bool extended_types_enabled;     /* extendedTypesEnabled: TTL znodes */
    bool emulate_353_ttl_nodes;      /* emulate353TTLNodes: the old TTL encoding */
    bool enforce_quota;              /* enforceQuota: hard quotas refuse */
    int container_check_interval_ms; /* znode.container.checkIntervalMs: <= 0 = off */
    int container_max_per_minute;    /* znode.container.maxPerMinute: deletions */
    int64_t container_max_never_used_interval_ms; /* znode.container.maxNeverUsedIntervalMs: 0 = never */

    /* authentication */
    bool skip_acl;            /* skipACL: no ACL is checked */
    bool digest_auth_enabled; /* DigestAuthenticationProvider.enabled */
    char *digest_auth_alg;    /* DigestAuthenticationProvider.digestAlg: such as SHA1 or SHA-256; OpenSSL knows it */
    char *super_digest;       /* DigestAuthenticationProvider.superDigest */
    bool auth_sasl_registered;               /* authProvider.N names the SASL provider */
    bool auth_x509_registered;               /* authProvider.N names the X509 provider, or there is a secure port */
    bool auth_ensemble_registered;           /* authProvider.N names the ensemble provider */
    char *ensemble_auth_names;               /* ensembleAuthName: comma list */
    char *any_sasl_user;                     /* letAnySaslUserDoX */
    bool enforce_auth_enabled;               /* enforce.auth.enabled: a session must authenticate */
    struct config_list enforce_auth_schemes; /* enforce.auth.schemes */

    /* administration */
    struct config_list four_letter_words; /* 4lw.commands.whitelist; "*" = all; see config_word_allowed */
    bool readonly_mode_enabled;           /* readonlymode.enabled: so far it only allows the word isro */
    bool reconfig_enabled;                /* reconfigEnabled: decides the error that a reconfig gets */

    /* ensembles: of no effect on a standalone server */
    bool ensemble;                        /* several servers are listed: config_members_text says which */
    int64_t server_id;                    /* content of the file myid, by whoever reads it; 1 on a standalone server */
    bool standalone_enabled;              /* standaloneEnabled */
    char *dynamic_config_file;            /* dynamicConfigFile */
    bool enable_eager_acl_check;          /* enableEagerACLCheck: writes are refused before they take a zxid */
    int init_limit_ticks;                 /* initLimit: 0 = unset, which an ensemble does not accept */
    int sync_limit_ticks;                 /* syncLimit: as initLimit */
    int connect_limit_ticks;              /* connectToLearnerMasterLimit: 0 = two seconds, initLimit at the most */
    enum config_peer_type peer_type;      /* peerType: what the members say is stronger */
    int election_alg;                     /* electionAlg: always 3 */
    bool quorum_listen_on_all_ips;        /* quorumListenOnAllIPs: election and quorum port */
    bool multi_address_enabled;           /* multiAddress.enabled: a member may have several addresses */
    int election_connect_timeout_ms;      /* cnxTimeout: for connecting to an election port */
    int election_read_timeout_ms;         /* quorumCnxnTimeoutMs: -1 or 0 until config_resolve makes it syncLimit */
    int election_bind_retries;            /* electionPortBindRetry: 0 = for ever */
    bool election_tcp_keepalive;          /* tcpKeepAlive: on election connections */
    int notification_interval_min_ms;     /* fastleader.minNotificationInterval */
    int notification_interval_max_ms;     /* fastleader.maxNotificationInterval: once resolved at least the minimum */
    int epoch_wait_max_ms;                /* leader.maxTimeToWaitForEpoch: -1 = off */
    int leader_connect_delay_ms;          /* leaderConnectDelayDuringRetryMs: between two attempts */
    int observer_reconnect_delay_ms;      /* observer.reconnectDelayMs: at most, at random */
    int observer_election_delay_ms;       /* observer.election.DelayMs: at most, at random */
    bool sync_enabled;                    /* syncEnabled: observers write logs; resolved with the next one */
    bool observer_sync_enabled;           /* observer.syncEnabled: if it was set, it is the value of sync_enabled */
    bool leader_serves;                   /* leaderServes: a leader takes clients */
    int commit_log_count;                 /* commitLogCount: transactions for learners in memory; resolved >= 500 */
    double snapshot_size_factor;          /* snapshotSizeFactor: of the snapshot, log that may be sent; < 0 = none */
    bool force_snapshot_sync;             /* forceSnapshotSync: a leader sends nothing but snapshots */
    int max_snapshot_syncs;               /* leader.maxConcurrentSnapSyncs: learners at a time */
    int max_diff_syncs;                   /* leader.maxConcurrentDiffSyncs: learners at a time */
    int ack_latency_every;                /* leader.ackLoggingFrequency: transactions per sample; <= 0 = off */
    bool db_autocreate;                   /* db.autocreate: a member with an empty database may vote */

    struct config_entry *entries; /* lines kept as text, in order of first appearance */
    size_t entry_count;
    struct config_setting *settings; /* private: where each row of the table was set */
    char *main_file;                 /* private: the file of config_load, for messages */
    bool dynamic_file_read;          /* private */
};

/* -------- messages -------- */

enum config_severity { CONFIG_NOTICE, CONFIG_WARNING, CONFIG_ERROR };

struct config_message {
    enum config_severity severity;
    size_t ignored_at; /* private: of an unknown name, where the text says that it is ignored; 0 = of anything else */
    char *text;        /* begins with file and line where there is one; the value of a secret is never in it */
};

/* Everything there is to say about a configuration, in order. Zero-initialise. */
struct config_log {
    struct config_message *items;
    size_t count;
    size_t errors; /* how many of them are CONFIG_ERROR */
};
void config_log_free(struct config_log *log);

/* -------- life -------- */

/* Fills c with the built-in defaults (c is not read before). */
void config_defaults(struct config *c);
void config_free(struct config *c);

/* Appends the content of the file to out. Returns 0 or a negative errno. */
typedef int config_read_file(void *ctx, const char *path, struct buf *out);

/* Reads a configuration file with its includes (relative to the including file) and the file named by
 * dynamicConfigFile. path NULL: only the latter, if one was set. All problems go to log; what is fine is taken over. */
void config_load(struct config *c, const char *path, config_read_file *read, void *ctx, struct config_log *log);

/* What the command line asks for besides options. */
struct config_command {
    const char *config_path; /* points into argv, or NULL */
    bool help, version, check_config;
};
/* [CONFIG] [--name value | --name=value | -Dname=value | --check-config | --help | --version] ..., or in ZooKeeper's
 * old style <port> <dataDir> [tickTime] [maxClientCnxns]. argv[0] is skipped. */
void config_args(struct config *c, int argc, char *const *argv, struct config_command *out, struct config_log *log);

/* Takes the -Dname=value words of what ZooKeeper's scripts keep in SERVER_JVMFLAGS and JVMFLAGS; other words mean
 * nothing here. origin is the name of the variable; flags NULL is fine. */
void config_jvm_flags(struct config *c, const char *origin, const char *flags, struct config_log *log);

/* Sets one option as the command line would. Returns false (and says why in log) if the name or the value is wrong. */
bool config_set(struct config *c, const char *name, const char *value, struct config_log *log);

/* Puts the values that depend on others in place: session timeouts, log directory, request bounds. May be called again.
 */
void config_resolve(struct config *c);

/* Checks options against each other, then resolves; adds the notices about options that have no effect. strict: unknown
 * names are errors (--check-config; strictConfig asks for the same). Call once, at the end. */
void config_validate(struct config *c, bool strict, struct config_log *log);

/* -------- questions -------- */

/* The largest string, buffer or transaction that a Java server with this configuration reads back. */
int64_t config_jute_record_max_bytes(const struct config *c);
/* True if the four-letter word may be answered. */
bool config_word_allowed(const struct config *c, const char *word);
/* True if the option was set in any place. */
bool config_is_set(const struct config *c, const char *name);
/* The value of a line that is kept as text, or NULL. */
const char *config_entry_value(const struct config *c, const char *name);

/* Appends the lines server.N, group.N and weight.N in the text form of a qconfig, and the version that the name of the
 * dynamic file ends in, if it does. Once validated they parse. */
void config_members_text(const struct config *c, struct buf *out);
/* On a member: the client address of its own line stands for clientPort, if that is not set. */
struct qserver;
void config_adopt_self(struct config *c, const struct qserver *self, struct config_log *log);

/* -------- rewriting -------- */

/* True if a rewritten main file would say the same: all lines about members stand in it or in the dynamic file it names. */
bool config_can_be_rewritten(const struct config *c);
/* The text of the main file once the members stand in the dynamic file at this path: docs/protocol/zab.md section 17.7. client_too:
 * the client address stands there, too. What stays, stays as it is, comments included. */
void config_rewrite(struct slice old, const char *dynamic_path, bool client_too, struct buf *out);
/* The path for a dynamic file of this version: that of the one before (NULL = none) with another version at its end, or else that
 * of the main file with .dynamic and the version. */
void config_dynamic_path(const char *main_path, const char *dynamic_path, int64_t version, struct buf *out);

enum config_class {
    CONFIG_ACTIVE,      /* does what it says */
    CONFIG_NOT_YET,     /* accepted; what it is about is not in this version */
    CONFIG_MEANINGLESS, /* accepted; there is nothing here that it could set (threads, caches and classes of the JVM) */
};

/* One row of the table as a reader sees it. */
struct config_description {
    const char *name;           /* the name that redis-like.conf uses */
    const char *const *aliases; /* other names, NULL-terminated */
    enum config_class class;
    const char *unit;         /* "ms", "bytes", ..., or "" */
    const char *default_text; /* "" = unset */
    const char *doc;          /* one sentence */
    const char *origin;       /* where it was set, or NULL = nowhere */
};

size_t config_option_count(void);
/* Describes row index and appends its present value as text to value (secrets as "(set)"). */
void config_describe(const struct config *c, size_t index, struct config_description *out, struct buf *value);

#endif
