/* The option table: one row per option, in the order of redis-like.conf. The default is parsed as a value from a file
 * would be, so there is one truth about it. To add an option: a field in config.h, a row here, a paragraph in
 * redis-like.conf; the unit tests hold the three together. */
#include "server/config_table.h"

#include "base/strutil.h"

static const struct config_choice loglevel_choices[] = {
    {"debug", LOG_LEVEL_DEBUG},  {"info", LOG_LEVEL_INFO},
    {"warn", LOG_LEVEL_WARN},    {"error", LOG_LEVEL_ERROR},
    {"off", LOG_LEVEL_OFF},      {"trace", LOG_LEVEL_DEBUG},
    {"notice", LOG_LEVEL_INFO},  {"verbose", LOG_LEVEL_INFO},
    {"warning", LOG_LEVEL_WARN}, {NULL, 0},
};
static const struct config_choice compression_choices[] = {
    {"", CONFIG_COMPRESS_NONE}, {"gz", CONFIG_COMPRESS_GZIP}, {"snappy", CONFIG_COMPRESS_SNAPPY}, {NULL, 0}};
static const struct config_choice peer_type_choices[] = {
    {"participant", CONFIG_PEER_PARTICIPANT}, {"observer", CONFIG_PEER_OBSERVER}, {NULL, 0}};
static const struct config_choice client_auth_choices[] = {{"need", 0}, {"want", 0}, {"none", 0}, {NULL, 0}};
static const struct config_choice store_type_choices[] = {{"", 0},       {"JKS", 0},   {"PEM", 0},
                                                          {"PKCS12", 0}, {"BCFKS", 0}, {NULL, 0}};
static const struct config_choice metrics_choices[] = {
    {"org.apache.zookeeper.metrics.impl.DefaultMetricsProvider", 0},
    {"org.apache.zookeeper.metrics.impl.NullMetricsProvider", 0},
    {"org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider", 0},
    {NULL, 0},
};

#define CFG CONFIG_F_CFG
#define PROP CONFIG_F_PROPERTY
#define RAW (CONFIG_F_PROPERTY | CONFIG_F_RAW)
#define OURS 0
#define SIZE CONFIG_F_SIZE
#define NO_ALIAS NULL
#define ALIAS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Offset of a field that must have this type. */
#define FIELD(type, field) _Generic(((struct config *)0)->field, type : offsetof(struct config, field))
#define INT_FIELD(field)                                                                                               \
    .offset = _Generic(((struct config *)0)->field, int                                                                \
                       : offsetof(struct config, field), int64_t                                                       \
                       : offsetof(struct config, field)),                                                              \
    .size = sizeof(((struct config *)0)->field)

/* Rows that do something. */
#define BOOL(field_, name_, aliases_, default_, flags_, doc_)                                                          \
    {                                                                                                                  \
        .name = (name_), .aliases = (aliases_), .type = CONFIG_BOOL, .flags = (flags_), .offset = FIELD(bool, field_), \
        .unit = "", .default_text = (default_), .doc = (doc_)                                                          \
    }
#define INT(field_, name_, aliases_, default_, min_, max_, unit_, flags_, doc_)                                        \
    {                                                                                                                  \
        .name = (name_), .aliases = (aliases_), .type = CONFIG_INT, .flags = (flags_), INT_FIELD(field_),              \
        .min = (min_), .max = (max_), .unit = (unit_), .default_text = (default_), .doc = (doc_)                       \
    }
#define RATIO(field_, name_, aliases_, default_, flags_, doc_)                                                         \
    {                                                                                                                  \
        .name = (name_), .aliases = (aliases_), .type = CONFIG_DOUBLE, .flags = (flags_),                              \
        .offset = FIELD(double, field_), .unit = "0 to 1", .default_text = (default_), .doc = (doc_)                   \
    }
#define TEXT(type_, field_, name_, aliases_, default_, flags_, doc_)                                                   \
    {                                                                                                                  \
        .name = (name_), .aliases = (aliases_), .type = (type_), .flags = (flags_), .offset = FIELD(char *, field_),   \
        .unit = "", .default_text = (default_), .doc = (doc_)                                                          \
    }
#define LIST(field_, name_, aliases_, default_, flags_, doc_)                                                          \
    {                                                                                                                  \
        .name = (name_), .aliases = (aliases_), .type = CONFIG_LIST, .flags = (flags_),                                \
        .offset = FIELD(struct config_list, field_), .unit = "", .default_text = (default_), .doc = (doc_)             \
    }
#define ENUM(field_, ctype_, name_, default_, choices_, flags_, doc_)                                                  \
    {                                                                                                                  \
        .name = (name_), .type = CONFIG_ENUM, .flags = (flags_), .offset = FIELD(ctype_, field_), .unit = "",          \
        .choices = (choices_), .default_text = (default_), .doc = (doc_)                                               \
    }

/* Rows that do something in an ensemble. */
#define PEER_BOOL(field_, name_, default_, flags_, doc_)                                                               \
    {                                                                                                                  \
        .name = (name_), .type = CONFIG_BOOL, .feature = CONFIG_FEATURE_ENSEMBLE, .flags = (flags_),                   \
        .offset = FIELD(bool, field_), .unit = "", .default_text = (default_), .doc = (doc_)                           \
    }
#define PEER_INT(field_, name_, aliases_, default_, min_, max_, unit_, flags_, doc_)                                   \
    {                                                                                                                  \
        .name = (name_), .aliases = (aliases_), .type = CONFIG_INT, .feature = CONFIG_FEATURE_ENSEMBLE,                \
        .flags = (flags_), INT_FIELD(field_), .min = (min_), .max = (max_), .unit = (unit_),                           \
        .default_text = (default_), .doc = (doc_)                                                                      \
    }

/* Rows that are checked and kept as text until their feature is there. */
#define LATER .class = CONFIG_NOT_YET, .offset = CONFIG_NO_FIELD
#define LATER_BOOL(feature_, name_, default_, flags_, doc_)                                                            \
    {                                                                                                                  \
        LATER, .name = (name_), .type = CONFIG_BOOL, .feature = CONFIG_FEATURE_##feature_, .flags = (flags_),          \
               .unit = "", .default_text = (default_), .doc = (doc_)                                                   \
    }
#define LATER_INT(feature_, name_, aliases_, default_, min_, max_, unit_, flags_, doc_)                                \
    {                                                                                                                  \
        LATER, .name = (name_), .aliases = (aliases_), .type = CONFIG_INT, .feature = CONFIG_FEATURE_##feature_,       \
               .flags = (flags_), .size = sizeof(int64_t), .min = (min_), .max = (max_), .unit = (unit_),              \
               .default_text = (default_), .doc = (doc_)                                                               \
    }
#define LATER_TEXT(feature_, name_, default_, flags_, doc_)                                                            \
    {                                                                                                                  \
        LATER, .name = (name_), .type = CONFIG_STRING, .feature = CONFIG_FEATURE_##feature_, .flags = (flags_),        \
               .unit = "", .default_text = (default_), .doc = (doc_)                                                   \
    }
#define LATER_ENUM(feature_, name_, default_, choices_, error_, doc_)                                                  \
    {                                                                                                                  \
        LATER, .name = (name_), .type = CONFIG_ENUM, .feature = CONFIG_FEATURE_##feature_, .choices = (choices_),      \
               .error = (error_), .unit = "", .default_text = (default_), .doc = (doc_)                                \
    }

/* server.N and the like: lines of the dynamic file. */
#define MEMBERS(name_, doc_)                                                                                           \
    {                                                                                                                  \
        .name = (name_), .type = CONFIG_STRING, .feature = CONFIG_FEATURE_ENSEMBLE, .offset = CONFIG_NO_FIELD,         \
        .flags = CFG | CONFIG_F_FAMILY | CONFIG_F_MEMBERS, .unit = "", .default_text = "", .doc = (doc_)               \
    }

/* Rows that Java needs and we do not: any value will do. */
#define JAVA(name_, default_, doc_)                                                                                    \
    {                                                                                                                  \
        .name = (name_), .type = CONFIG_STRING, .class = CONFIG_MEANINGLESS, .offset = CONFIG_NO_FIELD, .unit = "",    \
        .default_text = (default_), .doc = (doc_)                                                                      \
    }

/* Both TLS contexts have the same options. */
#define TLS_BOTH_TEXT(suffix_, flags_, doc_)                                                                           \
    LATER_TEXT(TLS, "ssl." suffix_, "", (flags_), "Client port: " doc_),                                               \
        LATER_TEXT(TLS, "ssl.quorum." suffix_, "", (flags_), "Server ports: " doc_)
#define TLS_BOTH_BOOL(suffix_, client_, quorum_, doc_)                                                                 \
    LATER_BOOL(TLS, "ssl." suffix_, client_, PROP, "Client port: " doc_),                                              \
        LATER_BOOL(TLS, "ssl.quorum." suffix_, quorum_, PROP, "Server ports: " doc_)
#define TLS_BOTH_STORE(suffix_, doc_)                                                                                  \
    LATER_ENUM(TLS, "ssl." suffix_, "", store_type_choices, "Bad value for zookeeper.ssl." suffix_ ": ",               \
               "Client port: " doc_),                                                                                  \
        LATER_ENUM(TLS, "ssl.quorum." suffix_, "", store_type_choices,                                                 \
                   "Bad value for zookeeper.ssl.quorum." suffix_ ": ", "Server ports: " doc_)

#define SECRET CONFIG_F_SECRET
#define ANY_NEGATIVE INT32_MIN
#define MAX_INT INT32_MAX
#define MAX_LONG INT64_MAX
#define MAX_KIB (INT64_MAX / 1024)
#define MIB ((int64_t)1 << 20)
#define GIB ((int64_t)1 << 30)

const struct config_row config_rows[] = {
    /* general */
    BOOL(daemonize, "daemonize", NO_ALIAS, "no", OURS, "Run in the background."),
    TEXT(CONFIG_PATH, pidfile, "pidfile", NO_ALIAS, "", OURS, "File that holds the process id while the server runs."),
    TEXT(CONFIG_PATH, logfile, "logfile", NO_ALIAS, "", OURS,
         "File that the log is appended to; SIGHUP opens it again. Empty: standard error."),
    ENUM(loglevel, enum log_level, "loglevel", "info", loglevel_choices, OURS,
         "The least important lines that are logged."),
    BOOL(strict_config, "strictConfig", NO_ALIAS, "no", OURS, "Refuse to start if an option name is unknown."),
    INT(background_threads, "backgroundThreads", NO_ALIAS, "2", 1, 64, "threads", OURS,
        "Threads for snapshots, compression and purging; the log writer has its own."),

    /* network */
    LIST(bind, "bind", ALIAS("clientPortAddress"), "", OURS,
         "Addresses to listen on; empty or *: all. A leading - makes an address optional."),
    INT(port, "port", ALIAS("clientPort"), "0", 0, 65535, "", CFG, "Port for clients; 0: none."),
    INT(listen_backlog, "clientPortListenBacklog", NO_ALIAS, "-1", -1, MAX_INT, "connections", CFG,
        "Connections that wait to be accepted; -1: the program's choice."),
    INT(max_client_cnxns, "maxClientCnxns", NO_ALIAS, "60", ANY_NEGATIVE, MAX_INT, "connections", CFG,
        "Connections from one address; 0: unlimited."),
    INT(max_cnxns, "maxCnxns", NO_ALIAS, "0", ANY_NEGATIVE, MAX_INT, "connections", PROP,
        "Connections in total; 0: unlimited."),
    BOOL(client_tcp_keepalive, "clientTcpKeepAlive", NO_ALIAS, "false", PROP,
         "TCP keepalive on client connections, with the times of the system."),
    INT(tcp_keepalive_seconds, "tcpKeepAliveSeconds", NO_ALIAS, "0", 0, 32767, "s", OURS,
        "TCP keepalive on client connections after this idle time; 0: clientTcpKeepAlive decides."),
    INT(sessionless_timeout_ms, "nio.sessionlessCnxnTimeout", NO_ALIAS, "10000", 1, MAX_INT, "ms", PROP,
        "A connection that has opened no session by then is closed."),
    INT(client_output_buffer_limit_bytes, "clientOutputBufferLimit", NO_ALIAS, "268435456", MIB, 1024 * GIB, "bytes",
        OURS | SIZE, "A client that leaves more than this unread is disconnected."),
    INT(max_requests_per_turn, "maxRequestsPerTurn", NO_ALIAS, "64", 1, 1000000, "requests", OURS,
        "Requests of one connection before the others get their turn."),
    BOOL(close_on_unknown_opcode, "closeOnUnknownOpcode", NO_ALIAS, "no", OURS,
         "Close the connection after an unknown operation, as ZooKeeper does, instead of only answering -6."),

    /* sessions */
    INT(tick_time_ms, "tickTime", NO_ALIAS, "3000", 0, MAX_INT, "ms", CFG,
        "The basic unit of time: sessions expire at its multiples."),
    INT(min_session_timeout_ms, "minSessionTimeout", NO_ALIAS, "-1", -1, MAX_INT, "ms", CFG,
        "The shortest session timeout that a client gets; -1: 2 ticks."),
    INT(max_session_timeout_ms, "maxSessionTimeout", NO_ALIAS, "-1", -1, MAX_INT, "ms", CFG,
        "The longest session timeout that a client gets; -1: 20 ticks."),
    INT(max_sessions_expired_per_turn, "maxSessionsExpiredPerTurn", NO_ALIAS, "100", 1, 1000000, "sessions", OURS,
        "Sessions that expire together are closed in slices of this size."),

    /* request limits */
    INT(jute_maxbuffer_bytes, "jute.maxbuffer", NO_ALIAS, "1048575", 1, MAX_INT, "bytes", RAW | SIZE,
        "The largest request that is carried out; replies, files and transactions have no such limit."),
    INT(jute_maxbuffer_extra_bytes, "jute.maxbuffer.extrasize", NO_ALIAS, "-1", -1, MAX_INT, "bytes", PROP | SIZE,
        "What ZooKeeper adds to jute.maxbuffer when it reads records back; -1: as much again."),
    INT(max_request_bytes, "maxRequestBytes", NO_ALIAS, "16777216", 1024, GIB, "bytes", OURS | SIZE,
        "A request above jute.maxbuffer and up to this is refused with an error; above this the connection is closed."),
    INT(large_request_max_bytes, "largeRequestMaxBytes", NO_ALIAS, "104857600", 1, MAX_INT, "bytes", PROP | SIZE,
        "Bytes of all large requests in flight; a connection that wants more is closed."),
    INT(large_request_threshold_bytes, "largeRequestThreshold", NO_ALIAS, "-1", ANY_NEGATIVE, MAX_INT, "bytes",
        PROP | SIZE, "A longer request counts as large; -1: none does."),
    INT(maxmemory_bytes, "maxmemory", NO_ALIAS, "0", 0, MAX_LONG, "bytes", OURS | SIZE,
        "Above this use of memory writes that grow the data are refused; 0: off."),
    INT(global_outstanding_limit, "globalOutstandingLimit", NO_ALIAS, "1000", 1, MAX_INT, "requests", PROP,
        "With more requests in flight no further ones are read from a busy connection."),
    INT(request_throttle_max_requests, "request_throttle_max_requests", ALIAS("requestThrottleLimit"), "0",
        ANY_NEGATIVE, MAX_INT, "requests", PROP, "With this many requests in flight new ones wait; 0: off."),
    INT(request_throttle_stall_time_ms, "request_throttle_stall_time", ALIAS("requestThrottleStallTime"), "100", 1,
        MAX_INT, "ms", PROP, "How long a request waits before the limit is looked at again."),
    BOOL(request_throttle_drop_stale, "request_throttle_drop_stale", ALIAS("requestThrottleDropStale"), "true", PROP,
         "Drop stale requests that wait, and close their connections."),
    BOOL(request_stale_connection_check, "request_stale_connection_check", ALIAS("requestStaleConnectionCheck"), "true",
         PROP, "A request is stale when its connection is closed."),
    BOOL(request_stale_latency_check, "request_stale_latency_check", ALIAS("requestStaleLatencyCheck"), "false", PROP,
         "A request is stale when it is older than its session timeout."),
    INT(throttled_op_wait_time_ms, "throttled_op_wait_time", ALIAS("throttledOpWaitTime"), "0", ANY_NEGATIVE, MAX_INT,
        "ms", PROP, "A request that waited longer is answered -127 and not carried out; 0: off."),

    /* connection throttle */
    INT(connection_throttle_tokens, "connection_throttle_tokens", ALIAS("connectionMaxTokens"), "0", 0, MAX_INT,
        "tokens", PROP, "Size of the token bucket for new sessions and reconnects; 0: off."),
    INT(connection_throttle_fill_time_ms, "connection_throttle_fill_time", ALIAS("connectionTokenFillTime"), "1", 1,
        MAX_INT, "ms", PROP, "How often the bucket is filled."),
    INT(connection_throttle_fill_count, "connection_throttle_fill_count", ALIAS("connectionTokenFillCount"), "1", 1,
        MAX_INT, "tokens", PROP, "Tokens that each filling adds."),
    INT(connection_throttle_freeze_time_ms, "connection_throttle_freeze_time", ALIAS("connectionFreezeTime"), "-1",
        ANY_NEGATIVE, MAX_INT, "ms", PROP,
        "How often the share of randomly dropped connects is adapted; -1: none are dropped."),
    RATIO(connection_throttle_drop_increase, "connection_throttle_drop_increase", ALIAS("connectionDropIncrease"),
          "0.02", PROP, "What the share grows by when the bucket is empty."),
    RATIO(connection_throttle_drop_decrease, "connection_throttle_drop_decrease", ALIAS("connectionDropDecrease"),
          "0.002", PROP, "What the share shrinks by when the bucket is full enough."),
    RATIO(connection_throttle_decrease_ratio, "connection_throttle_decrease_ratio", ALIAS("connectionDecreaseRatio"),
          "0", PROP, "How full the bucket must be for that."),
    BOOL(connection_throttle_weight_enabled, "connection_throttle_weight_enabled", NO_ALIAS, "false", PROP,
         "Connects cost tokens by their weights, not one each."),
    INT(connection_throttle_global_session_weight, "connection_throttle_global_session_weight", NO_ALIAS, "3", 1,
        MAX_INT, "tokens", PROP, "Weight of a new session."),
    INT(connection_throttle_local_session_weight, "connection_throttle_local_session_weight", NO_ALIAS, "1", 1, MAX_INT,
        "tokens", PROP, "Weight of a new local session."),
    INT(connection_throttle_renew_session_weight, "connection_throttle_renew_session_weight", NO_ALIAS, "2", 1, MAX_INT,
        "tokens", PROP, "Weight of a reconnect."),

    /* storage */
    TEXT(CONFIG_PATH, data_dir, "dir", ALIAS("dataDir"), "", CFG | CONFIG_F_TOLD_PATH,
         "Directory of the snapshots, required; the files are in its version-2."),
    TEXT(CONFIG_PATH, data_log_dir, "dataLogDir", NO_ALIAS, "", CFG | CONFIG_F_TOLD_PATH,
         "Directory of the transaction logs; empty: as dir."),
    BOOL(datadir_autocreate, "datadir.autocreate", NO_ALIAS, "true", PROP,
         "Create the directories if they are missing."),
    BOOL(force_sync, "forceSync", NO_ALIAS, "yes", PROP | CONFIG_F_ONLY_NO,
         "Sync the log before a write is answered; no: a crash of the machine loses answered writes."),
    INT(fsync_warning_threshold_ms, "fsync.warningthresholdms", NO_ALIAS, "1000", 0, MAX_INT, "ms", PROP,
        "A sync that takes longer is told in the log."),
    INT(prealloc_kib, "preAllocSize", NO_ALIAS, "65536", ANY_NEGATIVE, 16777216, "KiB", PROP,
        "Space that is reserved at a time for a log file; 0: none."),
    INT(disk_reserve_bytes, "diskReserve", NO_ALIAS, "4194304", 0, GIB, "bytes", OURS | SIZE,
        "Ballast file that keeps deletes and sessions going when the disk is full; 0: off."),
    INT(log_window_bytes, "logWindowBytes", NO_ALIAS, "67108864", 0, 1024 * GIB, "bytes", OURS | SIZE,
        "Recent transactions kept in memory for servers that catch up."),
    INT(snap_count, "snapCount", NO_ALIAS, "100000", ANY_NEGATIVE, MAX_INT, "transactions", PROP,
        "Transactions between two snapshots: from half of this to all of it, at random."),
    INT(snap_size_limit_kib, "snapSizeLimitInKb", NO_ALIAS, "4194304", ANY_NEGATIVE, MAX_KIB, "KiB", PROP,
        "Log between two snapshots: from half of this to all of it, at random; negative: off."),
    INT(txnlog_size_limit_kib, "txnLogSizeLimitInKb", NO_ALIAS, "-1", ANY_NEGATIVE, MAX_KIB, "KiB", PROP,
        "A log file that is longer is closed and the next one begun; -1: off."),
    ENUM(snapshot_compression, enum config_compression, "snapshot.compression.method", "", compression_choices, PROP,
         "gz or snappy: compress snapshots."),
    BOOL(snapshot_trust_empty, "snapshot.trust.empty", NO_ALIAS, "false", PROP,
         "Open a directory that has logs and no snapshot."),
    BOOL(serialize_last_processed_zxid, "serializeLastProcessedZxid.enabled", NO_ALIAS, "true", PROP,
         "Write the last transaction's id into snapshots, as 3.9 does; 3.8 skips it."),
    BOOL(recovery_cut_damaged_log, "recovery.cutDamagedLog", NO_ALIAS, "no", OURS,
         "Cut a log where it is damaged, with all behind it, instead of refusing to start."),
    INT(autopurge_snap_retain_count, "autopurge.snapRetainCount", NO_ALIAS, "3", ANY_NEGATIVE, MAX_INT, "snapshots",
        CFG, "Snapshots that purging keeps, with the logs that they need; at least 3."),
    INT(autopurge_purge_interval_hours, "autopurge.purgeInterval", NO_ALIAS, "0", ANY_NEGATIVE, MAX_INT, "h", CFG,
        "Hours between two purges; 0: nothing is purged."),

    /* data */
    BOOL(digest_enabled, "digest.enabled", NO_ALIAS, "true", PROP,
         "Digests of the tree in logs and snapshots, compared when they are read."),
    BOOL(close_session_txn_enabled, "closeSessionTxn.enabled", NO_ALIAS, "true", PROP,
         "List the ephemeral znodes in the transaction that closes their session."),
    BOOL(extended_types_enabled, "extendedTypesEnabled", NO_ALIAS, "false", PROP,
         "TTL znodes; turned off again, existing ones are deleted at the next start, as in ZooKeeper."),
    BOOL(emulate_353_ttl_nodes, "emulate353TTLNodes", NO_ALIAS, "false", PROP,
         "The encoding of TTLs of ZooKeeper 3.5.3."),
    BOOL(enforce_quota, "enforceQuota", NO_ALIAS, "false", PROP, "Refuse writes above a hard quota."),
    INT(container_check_interval_ms, "znode.container.checkIntervalMs", NO_ALIAS, "60000", ANY_NEGATIVE, MAX_INT, "ms",
        RAW, "How often empty containers and expired TTL znodes are looked for; 0: never."),
    INT(container_max_per_minute, "znode.container.maxPerMinute", NO_ALIAS, "10000", 1, MAX_INT, "znodes", RAW,
        "How many of them are deleted in a minute at the most."),
    INT(container_max_never_used_interval_ms, "znode.container.maxNeverUsedIntervalMs", NO_ALIAS, "0", 0, MAX_LONG,
        "ms", RAW, "Delete containers that had no child for this long after they were created; 0: never."),

    /* authentication */
    BOOL(skip_acl, "skipACL", NO_ALIAS, "no", PROP | CONFIG_F_ONLY_YES, "Check no ACLs: everybody may do everything."),
    BOOL(digest_auth_enabled, "DigestAuthenticationProvider.enabled", NO_ALIAS, "true", PROP,
         "Authentication by user and password (scheme digest)."),
    TEXT(CONFIG_STRING, digest_auth_alg, "DigestAuthenticationProvider.digestAlg", NO_ALIAS, "SHA1", PROP,
         "Its hash function, by Java's name; a change makes existing digest ACLs useless."),
    TEXT(CONFIG_STRING, super_digest, "DigestAuthenticationProvider.superDigest", NO_ALIAS, "", PROP | SECRET,
         "super:<base64 of the hash of super:password>: who knows the password may do everything."),
    {.name = "authProvider.*",
     .type = CONFIG_STRING,
     .flags = PROP | CONFIG_F_FAMILY,
     .offset = CONFIG_NO_FIELD,
     .unit = "",
     .default_text = "",
     .doc = "Class names of ZooKeeper's authentication providers, authProvider.1 and so on: their schemes are valid in "
            "ACLs."},
    TEXT(CONFIG_STRING, ensemble_auth_names, "ensembleAuthName", NO_ALIAS, "", PROP,
         "Names, between commas, that scheme ensemble takes; empty: any."),
    TEXT(CONFIG_STRING, any_sasl_user, "letAnySaslUserDoX", NO_ALIAS, "", PROP,
         "An id of scheme sasl in an ACL that stands for every SASL user."),
    BOOL(enforce_auth_enabled, "enforce.auth.enabled", NO_ALIAS, "false", PROP,
         "Clients must authenticate with one of the schemes below before anything else."),
    LIST(enforce_auth_schemes, "enforce.auth.schemes", NO_ALIAS, "", PROP, "These schemes, between commas."),

    /* administration */
    LIST(four_letter_words, "4lw.commands.whitelist", NO_ALIAS, "srvr,ruok,stat,mntr,isro,conf", PROP,
         "Four-letter words that are answered, between commas; *: all. srvr always is."),
    BOOL(readonly_mode_enabled, "readonlymode.enabled", NO_ALIAS, "false", RAW,
         "Also allows the word isro; the read-only mode itself is about ensembles."),
    BOOL(reconfig_enabled, "reconfigEnabled", NO_ALIAS, "false", CFG,
         "Decides the error that a reconfig gets from a standalone server."),
    BOOL(standalone_enabled, "standaloneEnabled", NO_ALIAS, "true", CFG,
         "A single server line means a standalone server; false is about ensembles."),

    /* ensembles */
    PEER_INT(init_limit_ticks, "initLimit", NO_ALIAS, "0", 0, MAX_INT, "ticks", CFG,
             "Time that a server has to connect to the leader and to catch up; an ensemble needs it."),
    PEER_INT(sync_limit_ticks, "syncLimit", NO_ALIAS, "0", 0, MAX_INT, "ticks", CFG,
             "Leader and follower give each other up after this silence; an ensemble needs it."),
    PEER_INT(connect_limit_ticks, "connectToLearnerMasterLimit", NO_ALIAS, "0", 0, MAX_INT, "ticks", CFG,
             "Time that a server has to connect to the leader; 0: two seconds, initLimit at the most."),
    {.name = "peerType", .type = CONFIG_ENUM, .feature = CONFIG_FEATURE_ENSEMBLE, .flags = CFG,
     .offset = FIELD(enum config_peer_type, peer_type), .choices = peer_type_choices, .unit = "",
     .error = "Unrecognised peertype: ", .default_text = "participant",
     .doc = "Role of this server, observer for one that does not vote; the server lines are stronger."},
    {.name = "electionAlg", .type = CONFIG_INT, .feature = CONFIG_FEATURE_ENSEMBLE, .flags = CFG,
     INT_FIELD(election_alg), .min = 3, .max = 3, .unit = "number", .default_text = "3",
     .error = "Invalid electionAlg value. Only 3 is supported.", .doc = "The way to elect: there is only this one."},
    PEER_BOOL(quorum_listen_on_all_ips, "quorumListenOnAllIPs", "false", CFG,
              "Listen for other servers on all addresses, not only on those of the own server line."),
    PEER_BOOL(multi_address_enabled, "multiAddress.enabled", "false", CFG,
              "A server line may list several addresses."),
    PEER_INT(election_connect_timeout_ms, "cnxTimeout", NO_ALIAS, "5000", 1, MAX_INT, "ms", PROP,
             "Time to connect to another server's election port."),
    PEER_INT(election_read_timeout_ms, "quorumCnxnTimeoutMs", NO_ALIAS, "-1", -1, MAX_INT, "ms", PROP,
             "A peer on the election port has this long to complete its introduction; -1: syncLimit."),
    PEER_INT(election_bind_retries, "electionPortBindRetry", NO_ALIAS, "3", 0, MAX_INT, "tries", PROP,
             "Tries to open the election port before the server gives up; 0: for ever."),
    PEER_BOOL(election_tcp_keepalive, "tcpKeepAlive", "false", PROP, "TCP keepalive on election connections."),
    PEER_INT(notification_interval_min_ms, "fastleader.minNotificationInterval", NO_ALIAS, "200", 1, MAX_INT, "ms",
             PROP, "A vote that nobody answers is repeated after this time, then after twice of it, and so on."),
    PEER_INT(notification_interval_max_ms, "fastleader.maxNotificationInterval", NO_ALIAS, "60000", 1, MAX_INT, "ms",
             PROP, "The longest time between two of these."),
    PEER_INT(epoch_wait_max_ms, "leader.maxTimeToWaitForEpoch", ALIAS("maxTimeToWaitForEpoch"), "-1", -1, MAX_INT,
             "ms", PROP,
             "A new leader still without a quorum gives up if one of its voters looks for a leader after this; -1: off."),
    PEER_INT(leader_connect_delay_ms, "leaderConnectDelayDuringRetryMs", NO_ALIAS, "100", 0, MAX_INT, "ms", PROP,
             "Pause between two attempts to connect to the leader."),
    PEER_INT(observer_reconnect_delay_ms, "observer.reconnectDelayMs", NO_ALIAS, "0", 0, MAX_INT, "ms", PROP,
             "An observer that lost its leader waits up to this long, at random."),
    PEER_INT(observer_election_delay_ms, "observer.election.DelayMs", NO_ALIAS, "200", 0, MAX_INT, "ms", PROP,
             "An observer that looks for a leader waits up to this long, at random."),
    PEER_BOOL(sync_enabled, "syncEnabled", "true", CFG, "Observers write logs and snapshots."),
    PEER_BOOL(observer_sync_enabled, "observer.syncEnabled", "true", PROP,
              "The same; where both are set this one counts."),
    PEER_BOOL(leader_serves, "leaderServes", "yes", PROP | CONFIG_F_ONLY_NO, "The leader takes clients, too."),
    PEER_INT(commit_log_count, "commitLogCount", NO_ALIAS, "500", ANY_NEGATIVE, MAX_INT, "transactions", PROP,
             "Transactions kept in memory for servers that catch up, 500 at least and logWindowBytes at most."),
    {.name = "snapshotSizeFactor", .type = CONFIG_DOUBLE, .feature = CONFIG_FEATURE_ENSEMBLE,
     .flags = PROP | CONFIG_F_ANY_DOUBLE, .offset = FIELD(double, snapshot_size_factor), .unit = "up to 1",
     .default_text = "0.33",
     .doc = "Log files are sent instead of a snapshot up to this share of its size; negative: never."},
    PEER_BOOL(force_snapshot_sync, "forceSnapshotSync", "false", PROP,
              "A leader sends snapshots where transactions would do; for tests."),
    PEER_INT(max_snapshot_syncs, "leader.maxConcurrentSnapSyncs", ALIAS("maxConcurrentSnapSyncs"), "10", 1, MAX_INT,
             "servers", PROP, "How many servers a leader sends a snapshot at a time."),
    PEER_INT(max_diff_syncs, "leader.maxConcurrentDiffSyncs", ALIAS("maxConcurrentDiffSyncs"), "100", 1, MAX_INT,
             "servers", PROP, "How many servers a leader sends transactions to catch up at a time."),
    PEER_BOOL(enable_eager_acl_check, "enableEagerACLCheck", "false", PROP,
              "A member refuses what its clients may not write before it becomes a transaction."),
    PEER_INT(ack_latency_every, "leader.ackLoggingFrequency", NO_ALIAS, "1000", ANY_NEGATIVE, MAX_INT, "transactions", PROP,
             "Of every so many transactions a leader notes how long each acknowledgement took; 0 or less: of none."),
    PEER_BOOL(db_autocreate, "db.autocreate", "true", PROP,
              "A server whose database is empty may vote; false: only if its directory has a file initialize."),
    MEMBERS("server.*", "server.N=host:port:port[:role][;[host:]port]: a member of the ensemble."),
    MEMBERS("group.*", "group.N=id:id:...: hierarchical quorums."),
    MEMBERS("weight.*", "weight.N=n: votes of a member."),
    {.name = "dynamicConfigFile",
     .type = CONFIG_PATH,
     .feature = CONFIG_FEATURE_ENSEMBLE,
     .flags = CFG | CONFIG_F_TOLD_PATH,
     .offset = FIELD(char *, dynamic_config_file),
     .unit = "",
     .default_text = "",
     .doc = "File with the server lines."},

    /* ensembles: not yet */
    LATER_INT(ENSEMBLE, "observerMasterPort", NO_ALIAS, "0", 0, 65535, "", CFG, "Followers serve observers there."),
    LATER_BOOL(ENSEMBLE, "localSessionsEnabled", "false", CFG, "Sessions that only one member knows."),
    LATER_BOOL(ENSEMBLE, "localSessionsUpgradingEnabled", "false", CFG, "Make them global for ephemerals."),
    LATER_BOOL(ENSEMBLE, "follower.skipLearnerRequestToNextProcessor", "false", PROP, "Observer master tuning."),
    LATER_INT(ENSEMBLE, "observerMaster.sizeLimit", NO_ALIAS, "33554432", 0, MAX_INT, "bytes", PROP | SIZE,
              "Proposals kept for observers."),
    LATER_TEXT(ENSEMBLE, "oraclePath", "", CFG, "Oracle of a two-server quorum."),
    LATER_BOOL(ENSEMBLE, "test.allowDiscontinuousProposals", "false", PROP, "For tests."),
    LATER_TEXT(ENSEMBLE, "testingonly.initialZxid", "", PROP, "For tests."),
    LATER_BOOL(ENSEMBLE, "messageTracker.Enabled", "false", PROP, "Keep the last messages between members."),
    LATER_INT(ENSEMBLE, "messageTracker.BufferSize", NO_ALIAS, "10", 0, MAX_INT, "messages", PROP, "How many."),

    /* TLS: not yet */
    LATER_INT(TLS, "secureClientPort", NO_ALIAS, "0", 0, 65535, "", CFG, "TLS port for clients; 0: none."),
    LATER_TEXT(TLS, "secureClientPortAddress", "", CFG, "Address of the TLS port."),
    TLS_BOTH_TEXT("keyStore.location", PROP, "file with key and certificates."),
    TLS_BOTH_TEXT("keyStore.password", PROP | SECRET, "its password."),
    TLS_BOTH_TEXT("keyStore.passwordPath", PROP, "file with its password."),
    TLS_BOTH_STORE("keyStore.type", "its type; empty: by extension."),
    TLS_BOTH_TEXT("trustStore.location", PROP, "file with trusted certificates."),
    TLS_BOTH_TEXT("trustStore.password", PROP | SECRET, "its password."),
    TLS_BOTH_TEXT("trustStore.passwordPath", PROP, "file with its password."),
    TLS_BOTH_STORE("trustStore.type", "its type; empty: by extension."),
    TLS_BOTH_TEXT("protocol", PROP, "TLS version."),
    TLS_BOTH_TEXT("enabledProtocols", PROP, "TLS versions."),
    TLS_BOTH_TEXT("ciphersuites", PROP, "cipher suites, by Java's names."),
    LATER_ENUM(TLS, "ssl.clientAuth", "need", client_auth_choices, NULL,
               "Client port: whether a certificate is asked for."),
    LATER_ENUM(TLS, "ssl.quorum.clientAuth", "need", client_auth_choices, NULL,
               "Server ports: whether a certificate is asked for."),
    TLS_BOTH_BOOL("hostnameVerification", "true", "true", "check the server's certificate against its name."),
    TLS_BOTH_BOOL("clientHostnameVerification", "false", "true", "check the client's certificate against its address."),
    TLS_BOTH_BOOL("allowReverseDnsLookup", "false", "true", "use reverse DNS for that."),
    TLS_BOTH_BOOL("crl", "false", "false", "check revocation lists."),
    TLS_BOTH_BOOL("ocsp", "false", "false", "check revocation by OCSP."),
    LATER_INT(TLS, "ssl.handshakeDetectionTimeoutMillis", NO_ALIAS, "5000", 1, MAX_INT, "ms", PROP,
              "Client port: time to tell TLS from plain."),
    LATER_INT(TLS, "ssl.quorum.handshakeDetectionTimeoutMillis", NO_ALIAS, "5000", 1, MAX_INT, "ms", PROP,
              "Server ports: time to tell TLS from plain."),
    LATER_TEXT(TLS, "ssl.authProvider", "x509", PROP, "Scheme that judges client certificates."),
    LATER_BOOL(TLS, "sslQuorum", "false", CFG, "TLS between members."),
    LATER_BOOL(TLS, "portUnification", "false", CFG, "Server ports take TLS and plain."),
    LATER_BOOL(TLS, "client.portUnification", "false", PROP, "The client port takes TLS and plain."),
    LATER_BOOL(TLS, "sslQuorumReloadCertFiles", "false", CFG, "Watch the files of the server ports."),
    LATER_BOOL(TLS, "client.certReload", "false", PROP, "Watch the files of the client port."),
    LATER_BOOL(TLS, "fips-mode", "true", PROP, "Leave name checks to the TLS library."),
    LATER_INT(TLS, "netty.server.outstandingHandshake.limit", ALIAS("outstandingHandshake.limit"), "-1", ANY_NEGATIVE,
              MAX_INT, "handshakes", PROP, "Handshakes in flight."),
    LATER_BOOL(TLS, "netty.server.earlyDropSecureConnectionHandshakes", "false", PROP,
               "Drop connects before the handshake."),
    LATER_TEXT(TLS, "X509AuthenticationProvider.superUser", "", PROP, "Certificate subject that may do everything."),

    /* SASL: not yet */
    LATER_TEXT(SASL, "java.security.auth.login.config", "", RAW, "JAAS file."),
    LATER_TEXT(SASL, "SASLAuthenticationProvider.superPassword", "", PROP | SECRET, "Password of user super."),
    LATER_TEXT(SASL, "superUser", "", PROP, "SASL id that may do everything."),
    {LATER, .name = "superUser.*", .type = CONFIG_STRING, .feature = CONFIG_FEATURE_SASL,
     .flags = PROP | CONFIG_F_FAMILY, .unit = "", .default_text = "", .doc = "More of them."},
    LATER_BOOL(SASL, "sessionRequireClientSASLAuth", "false", PROP, "Only SASL clients."),
    LATER_BOOL(SASL, "allowSaslFailedClients", "false", PROP, "Keep a session whose SASL failed."),
    LATER_TEXT(SASL, "sasl.serverconfig", "Server", PROP, "JAAS section."),
    LATER_BOOL(SASL, "requireKerberosConfig", "false", PROP, "Kerberos or nothing."),
    LATER_BOOL(SASL, "kerberos.removeHostFromPrincipal", "false", PROP, "Shorter ids."),
    LATER_BOOL(SASL, "kerberos.removeRealmFromPrincipal", "false", PROP, "Shorter ids."),
    LATER_BOOL(SASL, "kerberos.canonicalizeHostNames", "false", PROP, "Canonical host names of members."),
    LATER_TEXT(SASL, "security.auth_to_local", "DEFAULT", PROP, "Kerberos name rules."),
    LATER_BOOL(SASL, "quorum.auth.enableSasl", "false", CFG, "SASL between members."),
    LATER_BOOL(SASL, "quorum.auth.learnerRequireSasl", "false", CFG, "Learners insist on it."),
    LATER_BOOL(SASL, "quorum.auth.serverRequireSasl", "false", CFG, "Leaders insist on it."),
    LATER_TEXT(SASL, "quorum.auth.learner.saslLoginContext", "QuorumLearner", CFG, "JAAS section."),
    LATER_TEXT(SASL, "quorum.auth.server.saslLoginContext", "QuorumServer", CFG, "JAAS section."),
    LATER_TEXT(SASL, "quorum.auth.kerberos.servicePrincipal", "zkquorum/localhost", CFG, "Principal of members."),

    /* HTTP administration, audit log, metrics: not yet */
    {LATER, .name = "admin.enableServer", .type = CONFIG_BOOL, .feature = CONFIG_FEATURE_HTTP, .flags = PROP,
     .unit = "", .default_text = "true", .neutral = "false", .doc = "The HTTP port."},
    LATER_TEXT(HTTP, "admin.serverAddress", "0.0.0.0", PROP, "Its address."),
    LATER_INT(HTTP, "admin.serverPort", NO_ALIAS, "8080", 0, 65535, "", PROP, "Its number."),
    LATER_INT(HTTP, "admin.idleTimeout", NO_ALIAS, "30000", 0, MAX_INT, "ms", PROP, "Idle connections are closed."),
    LATER_TEXT(HTTP, "admin.commandURL", "/commands", PROP, "Prefix of the commands."),
    LATER_BOOL(HTTP, "admin.portUnification", "false", PROP, "HTTP and HTTPS on one port."),
    LATER_BOOL(HTTP, "admin.forceHttps", "false", PROP, "Only HTTPS."),
    LATER_BOOL(HTTP, "admin.needClientAuth", "false", PROP, "Ask for certificates."),
    LATER_BOOL(HTTP, "admin.snapshot.enabled", "true", PROP, "Command snapshot."),
    LATER_BOOL(HTTP, "admin.restore.enabled", "true", PROP, "Command restore."),
    LATER_INT(HTTP, "admin.rateLimiterIntervalInMS", NO_ALIAS, "300000", 0, MAX_LONG, "ms", PROP,
              "Between two of them."),
    LATER_BOOL(HTTP, "IPAuthenticationProvider.usexforwardedfor", "false", PROP, "Believe X-Forwarded-For."),
    LATER_BOOL(AUDIT, "audit.enable", "false", PROP, "Audit log."),
    LATER_ENUM(METRICS, "metricsProvider.className", "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider",
               metrics_choices, "metrics provider class was not found", "Prometheus, default or null provider."),
    LATER_TEXT(METRICS, "metricsProvider.httpHost", "0.0.0.0", CFG, "Address of the Prometheus port."),
    LATER_INT(METRICS, "metricsProvider.httpPort", NO_ALIAS, "7000", 0, 65535, "", CFG, "Its number."),
    JAVA("metricsProvider.exportJvmInfo", "true", "Metrics of the JVM."),
    JAVA("metricsProvider.numWorkerThreads", "1", "Threads."),
    JAVA("metricsProvider.maxQueueSize", "1000000", "Queue of those threads."),
    JAVA("metricsProvider.workerShutdownTimeoutMs", "1000", "Stop of those threads."),
    {LATER, .name = "metricsProvider.*", .type = CONFIG_STRING, .feature = CONFIG_FEATURE_METRICS,
     .flags = CFG | CONFIG_F_FAMILY, .unit = "", .default_text = "", .doc = "Handed to the provider."},
    LATER_BOOL(PATH_STATS, "pathStats.enabled", "false", PROP, "Statistics of paths in the log."),
    LATER_INT(PATH_STATS, "pathStats.slotCapacity", NO_ALIAS, "60", 1, MAX_INT, "slots", PROP, "Window."),
    LATER_INT(PATH_STATS, "pathStats.slotDuration", NO_ALIAS, "15", 1, MAX_INT, "s", PROP, "Window."),
    LATER_INT(PATH_STATS, "pathStats.maxDepth", NO_ALIAS, "6", 1, MAX_INT, "", PROP, "Depth."),
    LATER_TEXT(PATH_STATS, "pathStats.sampleRate", "0.1", PROP, "Share of requests."),
    LATER_INT(PATH_STATS, "pathStats.topPathMax", NO_ALIAS, "20", 1, MAX_INT, "paths", PROP, "How many."),
    LATER_INT(PATH_STATS, "pathStats.initialDelay", NO_ALIAS, "5", 0, MAX_INT, "min", PROP, "First report."),
    LATER_INT(PATH_STATS, "pathStats.delay", NO_ALIAS, "5", 1, MAX_INT, "min", PROP, "Further reports."),

    /* without a meaning here */
    JAVA("flushDelay", "0", "A sync is never delayed here."),
    JAVA("maxWriteQueuePollTime", "0", "A sync is never delayed here."),
    JAVA("maxBatchSize", "1000", "A batch is what gathers while the one before is synced."),
    JAVA("serverCnxnFactory", "", "There is one network layer."),
    JAVA("nio.numSelectorThreads", "", "One thread owns all state."),
    JAVA("nio.numWorkerThreads", "", "One thread owns all state."),
    JAVA("nio.directBufferBytes", "65536", "Buffers of the JVM."),
    JAVA("nio.shutdownTimeout", "5000", "Threads of the JVM."),
    JAVA("commitProcessor.numWorkerThreads", "", "One thread owns all state."),
    JAVA("commitProcessor.maxReadBatchSize", "-1", "There is no lock to hold."),
    JAVA("commitProcessor.maxCommitBatchSize", "1", "There is no lock to hold."),
    JAVA("commitProcessor.shutdownTimeout", "5000", "Threads of the JVM."),
    JAVA("request_throttler.shutdownTimeout", "10000", "Threads of the JVM."),
    JAVA("quorum.cnxn.threads.size", "20", "Threads of the JVM."),
    JAVA("forward_learner_requests_to_commit_processor_disabled", "false", "There is no commit processor."),
    JAVA("multiAddress.reachabilityCheckEnabled", "true", "All addresses of a server are tried at the same time."),
    JAVA("multiAddress.reachabilityCheckTimeoutMs", "1000", "As multiAddress.reachabilityCheckEnabled."),
    JAVA("leader.closeSocketAsync", "false", "Closing never blocks here."),
    JAVA("learner.closeSocketAsync", "false", "Closing never blocks here."),
    JAVA("learner.asyncSending", "false", "Sending never blocks here."),
    JAVA("leader.nodelay", "true", "Small packets are never held back."),
    JAVA("follower.nodelay", "true", "Small packets are never held back."),
    JAVA("netty.advancedFlowControl.enabled", "false", "There is one network layer."),
    JAVA("advancedFlowControlEnabled", "false", "There is one network layer."),
    JAVA("intBufferStartingSizeBytes", "1024", "Buffers of the JVM."),
    JAVA("maxResponseCacheSize", "400", "Replies are encoded from the tree; there is no cache."),
    JAVA("maxGetChildrenResponseCacheSize", "400", "Replies are encoded from the tree; there is no cache."),
    JAVA("watchManagerName", "", "There is one kind of watch table."),
    JAVA("watcherCleanThreadsNum", "2", "Watches are removed at once."),
    JAVA("watcherCleanThreshold", "1000", "Watches are removed at once."),
    JAVA("watcherCleanIntervalInSeconds", "600", "Watches are removed at once."),
    JAVA("maxInProcessingDeadWatchers", "-1", "Watches are removed at once."),
    JAVA("bitHashCacheSize", "10", "There is one kind of watch table."),
    JAVA("jvm.pause.monitor", "false", "There is no JVM to pause."),
    JAVA("jvm.pause.sleep.time.ms", "500", "There is no JVM to pause."),
    JAVA("jvm.pause.warn-threshold.ms", "10000", "There is no JVM to pause."),
    JAVA("jvm.pause.info-threshold.ms", "1000", "There is no JVM to pause."),
    JAVA("jmx.log4j.disable", "", "There is no JMX."),
    JAVA("jmx.log4j.mbean", "", "There is no JMX."),
    JAVA("admin.httpVersion", "11", "A number of Java's web server."),
    JAVA("audit.impl.class", "", "A Java class."),
    JAVA("ssl.context.supplier.class", "", "A Java class."),
    JAVA("ssl.quorum.context.supplier.class", "", "A Java class."),
    JAVA("ssl.sslProvider", "JDK", "There is one TLS library."),
    JAVA("kerberos.minReLoginTimeMs", "60000", "Kerberos client of the JVM."),
    JAVA("kinit", "/usr/bin/kinit", "Kerberos client of the JVM."),
    JAVA("controllerPort", "", "Java's test controller."),
    JAVA("server.realm", "", "An option of clients."),
    JAVA("server.principal", "", "An option of clients."),
    JAVA("sasl.client", "", "An option of clients."),
    JAVA("sasl.clientconfig", "", "An option of clients."),
    JAVA("sasl.client.username", "", "An option of clients."),
    JAVA("sasl.client.canonicalize.hostname", "", "An option of clients."),
    JAVA("client.secure", "", "An option of clients."),
    JAVA("clientCnxnSocket", "", "An option of clients."),
    JAVA("request.timeout", "", "An option of clients."),
    JAVA("disableAutoWatchReset", "", "An option of clients."),
    JAVA("log.file", "", "Java's logging; see logfile."),
    JAVA("log.dir", "", "Java's logging; see logfile."),
    JAVA("log.threshold", "", "Java's logging; see loglevel."),
    JAVA("log.maxfilesize", "", "Java's logging."),
    JAVA("log.maxbackupindex", "", "Java's logging."),
    JAVA("root.logger", "", "Java's logging; see loglevel."),
    JAVA("console.threshold", "", "Java's logging; see loglevel."),
};
const size_t config_row_count = ARRAY_LEN(config_rows);

const char *config_name_strip(const char *name) {
    static const char prefix[] = "zookeeper.";
    return strncmp(name, prefix, sizeof prefix - 1) == 0 ? name + sizeof prefix - 1 : name;
}

static bool row_has_name(const struct config_row *row, const char *name) {
    if (strcmp(row->name, name) == 0)
        return true;
    for (const char *const *alias = row->aliases; alias != NULL && *alias != NULL; alias++)
        if (strcmp(*alias, name) == 0)
            return true;
    return false;
}

static bool row_has_member(const struct config_row *row, const char *name) {
    size_t prefix = strlen(row->name) - 1; /* without the star */
    return strncmp(row->name, name, prefix) == 0 && name[prefix] != '\0';
}

const struct config_row *config_row_find(const char *name) {
    for (size_t i = 0; i < config_row_count; i++)
        if (!(config_rows[i].flags & CONFIG_F_FAMILY) && row_has_name(&config_rows[i], name))
            return &config_rows[i];
    /* Exact names first: metricsProvider.httpPort is not just any member of its family. */
    for (size_t i = 0; i < config_row_count; i++)
        if ((config_rows[i].flags & CONFIG_F_FAMILY) && row_has_member(&config_rows[i], name))
            return &config_rows[i];
    return NULL;
}

static void nearer(const char *wanted, const char *candidate, const char **best, unsigned *best_distance) {
    size_t a = strlen(wanted), b = strlen(candidate);
    if (size_max(a, b) - size_min(a, b) >= *best_distance)
        return; /* the distance is at least that */
    unsigned distance = str_distance(wanted, candidate);
    if (distance < *best_distance) {
        *best_distance = distance;
        *best = candidate;
    }
}

const char *config_name_nearest(const char *name) {
    const char *best = NULL;
    unsigned distance = (unsigned)size_min(strlen(name) / 3, 6) + 1; /* further away it is no help */
    for (size_t i = 0; i < config_row_count; i++) {
        nearer(name, config_rows[i].name, &best, &distance);
        for (const char *const *alias = config_rows[i].aliases; alias != NULL && *alias != NULL; alias++)
            nearer(name, *alias, &best, &distance);
    }
    return best;
}
