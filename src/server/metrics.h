/* What the server counts about itself, under ZooKeeper's names. Gauges are not kept here: admin/ reads them off the state.
 *
 * A counter only grows (until srst); a basic summary keeps count, sum, minimum and maximum; an advanced one quantiles,
 * too. Keys that mean nothing in this server (JVM pauses, TLS) are kept at zero, because dashboards look for them. */
#ifndef ZABRA_SERVER_METRICS_H
#define ZABRA_SERVER_METRICS_H

#include "base/histogram.h"
#include "base/strutil.h"
#include "wire/proto.h"

#define METRIC_COUNTERS(X) \
    X(ADD_DEAD_WATCHER_STALL_TIME, add_dead_watcher_stall_time) \
    X(BYTES_RECEIVED_COUNT, bytes_received_count) \
    X(CNXN_CLOSED_WITHOUT_ZK_SERVER_RUNNING, cnxn_closed_without_zk_server_running) \
    X(COMMIT_COUNT, commit_count) \
    X(CONNECTION_DROP_COUNT, connection_drop_count) \
    X(CONNECTION_REJECTED, connection_rejected) \
    X(CONNECTION_REQUEST_COUNT, connection_request_count) \
    X(CONNECTION_REVALIDATE_COUNT, connection_revalidate_count) \
    X(DEAD_WATCHERS_CLEARED, dead_watchers_cleared) \
    X(DEAD_WATCHERS_QUEUED, dead_watchers_queued) \
    X(DIFF_COUNT, diff_count) \
    X(DIGEST_MISMATCHES_COUNT, digest_mismatches_count) \
    X(ENSEMBLE_AUTH_FAIL, ensemble_auth_fail) \
    X(ENSEMBLE_AUTH_SKIP, ensemble_auth_skip) \
    X(ENSEMBLE_AUTH_SUCCESS, ensemble_auth_success) \
    X(INSECURE_ADMIN_COUNT, insecure_admin_count) \
    X(LARGE_REQUESTS_REJECTED, large_requests_rejected) \
    X(LEARNER_COMMIT_RECEIVED_COUNT, learner_commit_received_count) \
    X(LEARNER_PROPOSAL_RECEIVED_COUNT, learner_proposal_received_count) \
    X(LOOKING_COUNT, looking_count) \
    X(OUTSTANDING_CHANGES_QUEUED, outstanding_changes_queued) \
    X(OUTSTANDING_CHANGES_REMOVED, outstanding_changes_removed) \
    X(PREP_PROCESSOR_REQUEST_QUEUED, prep_processor_request_queued) \
    X(PROPOSAL_COUNT, proposal_count) \
    X(QUIT_LEADING_DUE_TO_DISLOYAL_VOTER, quit_leading_due_to_disloyal_voter) \
    X(REQUEST_COMMIT_QUEUED, request_commit_queued) \
    X(REQUEST_THROTTLE_WAIT_COUNT, request_throttle_wait_count) \
    X(REQUESTS_NOT_FORWARDED_TO_COMMIT_PROCESSOR, requests_not_forwarded_to_commit_processor) \
    X(RESPONSE_BYTES, response_bytes) \
    X(RESPONSE_PACKET_CACHE_HITS, response_packet_cache_hits) \
    X(RESPONSE_PACKET_CACHE_MISSES, response_packet_cache_misses) \
    X(RESPONSE_PACKET_GET_CHILDREN_CACHE_HITS, response_packet_get_children_cache_hits) \
    X(RESPONSE_PACKET_GET_CHILDREN_CACHE_MISSES, response_packet_get_children_cache_misses) \
    X(RESTORE_ERROR_COUNT, restore_error_count) \
    X(RESTORE_RATE_LIMITED_COUNT, restore_rate_limited_count) \
    X(REVALIDATE_COUNT, revalidate_count) \
    X(SESSIONLESS_CONNECTIONS_EXPIRED, sessionless_connections_expired) \
    X(SKIP_LEARNER_REQUEST_TO_NEXT_PROCESSOR_COUNT, skip_learner_request_to_next_processor_count) \
    X(SNAP_COUNT, snap_count) \
    X(SNAPSHOT_ERROR_COUNT, snapshot_error_count) \
    X(SNAPSHOT_RATE_LIMITED_COUNT, snapshot_rate_limited_count) \
    X(STALE_REPLIES, stale_replies) \
    X(STALE_REQUESTS, stale_requests) \
    X(STALE_REQUESTS_DROPPED, stale_requests_dropped) \
    X(STALE_SESSIONS_EXPIRED, stale_sessions_expired) \
    X(SYNC_PROCESSOR_REQUEST_QUEUED, sync_processor_request_queued) \
    X(THROTTLED_OPS, throttled_ops) \
    X(TLS_HANDSHAKE_EXCEEDED, tls_handshake_exceeded) \
    X(UNRECOVERABLE_ERROR_COUNT, unrecoverable_error_count) \
    X(UNSUCCESSFUL_HANDSHAKE, unsuccessful_handshake) \
    X(WATCH_BYTES, watch_bytes)

#define METRIC_BASIC_SUMMARIES(X) \
    X(COMMIT_COMMIT_PROC_REQ_QUEUED, commit_commit_proc_req_queued) \
    X(COMMIT_PROCESS_TIME, commit_process_time) \
    X(CONCURRENT_REQUEST_PROCESSING_IN_COMMIT_PROCESSOR, concurrent_request_processing_in_commit_processor) \
    X(CONNECTION_TOKEN_DEFICIT, connection_token_deficit) \
    X(DBINITTIME, dbinittime) \
    X(ELECTION_TIME, election_time) \
    X(FOLLOWER_SYNC_TIME, follower_sync_time) \
    X(FSYNCTIME, fsynctime) \
    X(INFLIGHT_DIFF_COUNT, inflight_diff_count) \
    X(INFLIGHT_SNAP_COUNT, inflight_snap_count) \
    X(LEADER_UNAVAILABLE_TIME, leader_unavailable_time) \
    X(LEARNER_REQUEST_PROCESSOR_QUEUE_SIZE, learner_request_processor_queue_size) \
    X(NETTY_QUEUED_BUFFER_CAPACITY, netty_queued_buffer_capacity) \
    X(NODE_CHANGED_WATCH_COUNT, node_changed_watch_count) \
    X(NODE_CHILDREN_WATCH_COUNT, node_children_watch_count) \
    X(NODE_CREATED_WATCH_COUNT, node_created_watch_count) \
    X(NODE_DELETED_WATCH_COUNT, node_deleted_watch_count) \
    X(OBSERVER_SYNC_TIME, observer_sync_time) \
    X(PENDING_SESSION_QUEUE_SIZE, pending_session_queue_size) \
    X(PREP_PROCESS_TIME, prep_process_time) \
    X(PREP_PROCESSOR_QUEUE_SIZE, prep_processor_queue_size) \
    X(PROPOSAL_PROCESS_TIME, proposal_process_time) \
    X(READ_COMMIT_PROC_ISSUED, read_commit_proc_issued) \
    X(READ_COMMIT_PROC_REQ_QUEUED, read_commit_proc_req_queued) \
    X(READS_AFTER_WRITE_IN_SESSION_QUEUE, reads_after_write_in_session_queue) \
    X(READS_ISSUED_FROM_SESSION_QUEUE, reads_issued_from_session_queue) \
    X(REQUESTS_IN_SESSION_QUEUE, requests_in_session_queue) \
    X(RESTORE_TIME, restore_time) \
    X(SESSION_QUEUES_DRAINED, session_queues_drained) \
    X(SNAPSHOTTIME, snapshottime) \
    X(SOCKET_CLOSING_TIME, socket_closing_time) \
    X(STARTUP_SNAP_LOAD_TIME, startup_snap_load_time) \
    X(STARTUP_TXNS_LOAD_TIME, startup_txns_load_time) \
    X(STARTUP_TXNS_LOADED, startup_txns_loaded) \
    X(SYNC_PROCESS_TIME, sync_process_time) \
    X(SYNC_PROCESSOR_BATCH_SIZE, sync_processor_batch_size) \
    X(SYNC_PROCESSOR_QUEUE_SIZE, sync_processor_queue_size) \
    X(TIME_WAITING_EMPTY_POOL_IN_COMMIT_PROCESSOR_READ_MS, time_waiting_empty_pool_in_commit_processor_read_ms) \
    X(UNAVAILABLE_TIME, unavailable_time) \
    X(WRITE_BATCH_TIME_IN_COMMIT_PROCESSOR, write_batch_time_in_commit_processor) \
    X(WRITE_COMMIT_PROC_ISSUED, write_commit_proc_issued) \
    X(WRITE_COMMIT_PROC_REQ_QUEUED, write_commit_proc_req_queued)

#define METRIC_ADVANCED_SUMMARIES(X) \
    X(CLOSE_SESSION_PREP_TIME, close_session_prep_time) \
    X(COMMIT_PROPAGATION_LATENCY, commit_propagation_latency) \
    X(DEAD_WATCHERS_CLEANER_LATENCY, dead_watchers_cleaner_latency) \
    X(JVM_PAUSE_TIME_MS, jvm_pause_time_ms) \
    X(LOCAL_WRITE_COMMITTED_TIME_MS, local_write_committed_time_ms) \
    X(OM_COMMIT_PROCESS_TIME_MS, om_commit_process_time_ms) \
    X(OM_PROPOSAL_PROCESS_TIME_MS, om_proposal_process_time_ms) \
    X(PREP_PROCESSOR_QUEUE_TIME_MS, prep_processor_queue_time_ms) \
    X(PROPAGATION_LATENCY, propagation_latency) \
    X(PROPOSAL_ACK_CREATION_LATENCY, proposal_ack_creation_latency) \
    X(PROPOSAL_LATENCY, proposal_latency) \
    X(QUORUM_ACK_LATENCY, quorum_ack_latency) \
    X(READ_COMMITPROC_TIME_MS, read_commitproc_time_ms) \
    X(READ_FINAL_PROC_TIME_MS, read_final_proc_time_ms) \
    X(READLATENCY, readlatency) \
    X(REQUEST_THROTTLE_QUEUE_TIME_MS, request_throttle_queue_time_ms) \
    X(SERVER_WRITE_COMMITTED_TIME_MS, server_write_committed_time_ms) \
    X(SYNC_PROCESSOR_QUEUE_AND_FLUSH_TIME_MS, sync_processor_queue_and_flush_time_ms) \
    X(SYNC_PROCESSOR_QUEUE_FLUSH_TIME_MS, sync_processor_queue_flush_time_ms) \
    X(SYNC_PROCESSOR_QUEUE_TIME_MS, sync_processor_queue_time_ms) \
    X(UPDATELATENCY, updatelatency) \
    X(WRITE_COMMITPROC_TIME_MS, write_commitproc_time_ms) \
    X(WRITE_FINAL_PROC_TIME_MS, write_final_proc_time_ms)

enum metric_counter {
#define X(id, name) METRIC_##id,
    METRIC_COUNTERS(X)
#undef X
    METRIC_COUNTER_COUNT
};
enum metric_summary {
#define X(id, name) METRIC_##id,
    METRIC_BASIC_SUMMARIES(X)
    METRIC_BASIC_COUNT, /* the advanced ones follow */
    METRIC_BEFORE_ADVANCED = METRIC_BASIC_COUNT - 1,
    METRIC_ADVANCED_SUMMARIES(X)
#undef X
    METRIC_SUMMARY_COUNT
};

struct metric_basic {
    uint64_t count, sum, min, max;
};

/* Operations whose latency is counted one by one, under their protocol names. */
#define METRIC_OP_SLOTS 32

struct metrics {
    uint64_t counters[METRIC_COUNTER_COUNT];
    struct metric_basic summaries[METRIC_SUMMARY_COUNT];
    /* quantiles of the advanced ones, allocated with the first sample; index 0 is METRIC_BASIC_COUNT */
    struct histogram *quantiles[METRIC_SUMMARY_COUNT - METRIC_BASIC_COUNT];

    uint64_t packets_received, packets_sent;
    struct metric_basic latency_us; /* of all requests */
    struct {
        int32_t op;
        struct metric_basic us;
    } ops[METRIC_OP_SLOTS];
    int64_t response_last, response_min, response_max; /* bytes; -1 before the first */
    int64_t proposal_last, proposal_min, proposal_max; /* the same of a leader's proposals */
    uint64_t auth_failed;
    uint64_t fsync_threshold_exceeded;
    /* of a leader: how long acknowledgements take, by the server that sends them */
    struct metric_of_server {
        int64_t sid;
        struct metric_basic ms;
        struct histogram quantiles;
    } **ack_latency;
    size_t ack_latency_count;
    /* our own */
    uint64_t request_max_bytes, children_max;
    uint64_t loop_turn_max_us; /* longest turn of the event loop */
    uint64_t turns;
    struct metric_basic fsync_us;
    uint64_t log_diffs; /* of the DIFFs, those that began with the log files */
    uint64_t log_snaps; /* of the SNAPs, those that log files followed, so that no new snapshot was needed */
    /* refusals by hard quota, by top-level znode */
    struct metric_namespace {
        char *name;
        uint64_t count;
    } *quota_exceeded;
    size_t quota_exceeded_count;
};

void metrics_init(struct metrics *m);
void metrics_free(struct metrics *m);
/* What srst does: counters and summaries to zero. */
void metrics_reset(struct metrics *m);

static inline void metric_count(struct metrics *m, enum metric_counter c, uint64_t n) { m->counters[c] += n; }
/* Adds a sample to a basic or advanced summary. */
void metric_sample(struct metrics *m, enum metric_summary s, uint64_t value);
void metric_basic_add(struct metric_basic *b, uint64_t value);
/* Name and kind of a summary or counter, for those who print them. */
const char *metric_counter_name(enum metric_counter c);
const char *metric_summary_name(enum metric_summary s);
static inline bool metric_summary_advanced(enum metric_summary s) { return s >= METRIC_BASIC_COUNT; }
/* Quantile of an advanced summary; 0 when empty. */
uint64_t metric_quantile(const struct metrics *m, enum metric_summary s, double q);

/* Latency of one answered request. */
void metrics_latency(struct metrics *m, int32_t op, uint64_t us);
/* One turn of the event loop, without the wait. */
void metrics_turn(struct metrics *m, uint64_t us);
void metrics_response_size(struct metrics *m, uint64_t bytes);
void metrics_children_size(struct metrics *m, uint32_t count);
void metric_watches_fired(struct metrics *m, enum event_type type, uint64_t count);
void metrics_quota_exceeded(struct metrics *m, struct slice path);
void metrics_ack_latency(struct metrics *m, int64_t sid, uint64_t ms);

#endif
