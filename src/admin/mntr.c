/* mntr: everything there is to monitor, one "zk_<key> TAB <value>" per line, under ZooKeeper's names; what only this
 * server has is called zk_zabra_<key>. Readers look keys up by name.
 *
 * All of it is given at once, when the connections, of which there may be many, have been looked at in slices (net/answer.h).
 *
 * Order: version and state, gauges, gauge sets, counters, counter sets, summaries. In an ensemble peer_state follows
 * server_state, and the gauges of the role follow the others. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "admin/answers.h"
#include "base/mem.h"
#include "base/version.h"
#include "quorum/quorum.h"

/* ------------------------------------------------------------------ lines */

static void put_text(struct buf *out, const char *key, const char *value) { buf_printf(out, "zk_%s\t%s\n", key, value); }

static void put_int(struct buf *out, const char *key, int64_t value) {
    buf_printf(out, "zk_%s\t%lld\n", key, (long long)value);
}

static void put_count(struct buf *out, const char *key, uint64_t value) { put_int(out, key, (int64_t)value); }

static void put_double(struct buf *out, const char *key, double value) {
    buf_printf(out, "zk_%s\t", key);
    str_java_double(out, value);
    buf_append(out, "\n", 1);
}

/* ------------------------------------------------------------------ file descriptors */

#define DESCRIPTORS_COUNTED 4096

/* Since Linux 6.2 the size of the directory is the number of descriptors. Before that they are counted, but not beyond a
 * bound, because that takes time on the loop: above it the connections, which are nearly all of them, are the answer. */
static int64_t open_descriptors(const struct server *s) {
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0)
        return st.st_size;
    DIR *dir = opendir("/proc/self/fd");
    int64_t count = 0;
    while (dir != NULL && count < DESCRIPTORS_COUNTED && readdir(dir) != NULL)
        count++;
    if (dir != NULL)
        closedir(dir);
    if (count == DESCRIPTORS_COUNTED)
        return i64_max(count, (int64_t)s->conn_count);
    return i64_max(0, count - 3); /* ".", ".." and the directory itself */
}

static int64_t max_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return -1;
    return limit.rlim_cur > INT64_MAX ? INT64_MAX : (int64_t)limit.rlim_cur;
}

/* ------------------------------------------------------------------ gauges */

static void put_gauges(const struct server *s, struct buf *out) {
    const struct metrics *m = &s->metrics;
    put_double(out, "avg_latency", stat_mean_ms(m->latency_us.sum, m->latency_us.count));
    put_count(out, "max_latency", m->latency_us.max / 1000);
    put_count(out, "min_latency", m->latency_us.min / 1000);
    put_count(out, "packets_received", m->packets_received);
    put_count(out, "packets_sent", m->packets_sent);
    put_count(out, "num_alive_connections", s->conn_count);
    put_count(out, "outstanding_requests", s->pipeline_count);
    put_int(out, "uptime", mono_diff_us(s->now.mono, s->started) / 1000);
    /* ZooKeeper has the root twice, under "" and under "/". */
    put_count(out, "znode_count", tree_count(s->tree) + 1);
    put_count(out, "watch_count", watch_count(s->watches));
    put_count(out, "ephemerals_count", tree_ephemeral_count(s->tree));
    put_count(out, "approximate_data_size", tree_path_data_bytes(s->tree) + 1);
    put_count(out, "global_sessions", s->sessions.by_id.count);
    put_int(out, "local_sessions", 0);
    put_int(out, "open_file_descriptor_count", open_descriptors(s));
    put_int(out, "max_file_descriptor_count", max_descriptors());
    put_double(out, "connection_drop_probability", s->connect_throttle.drop_chance);
    put_int(out, "last_client_response_size", m->response_last);
    put_int(out, "max_client_response_size", m->response_max);
    put_int(out, "min_client_response_size", m->response_min);
    put_int(out, "outstanding_tls_handshake", 0);
    put_count(out, "auth_failed_count", m->auth_failed);
    /* Counted by ZooKeeper only where TLS is possible. */
    put_int(out, "non_mtls_remote_conn_count", 0);
    put_int(out, "non_mtls_local_conn_count", 0);
}

/* ------------------------------------------------------------------ quotas */

/* The quotas of one top-level znode: sums over all quotas within it, as ZooKeeper adds them up. */
struct namespace {
    struct buf name;
    int64_t count_limit, bytes_limit, count_usage, bytes_usage;
};

static int by_name(const void *a, const void *b) {
    const struct namespace *x = a, *y = b;
    int order = memcmp(x->name.data, y->name.data, size_min(x->name.len, y->name.len));
    return order != 0 ? order : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

static int64_t hard_or_soft(int64_t hard, int64_t soft) { return hard > -1 ? hard : soft; }

/* Moves the entries of the same name together; returns how many are left. */
static size_t merge_namespaces(struct namespace *all, size_t count) {
    size_t kept = 0;
    if (count != 0)
        qsort(all, count, sizeof *all, by_name);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || by_name(&all[kept - 1], &all[i]) != 0) {
            all[kept++] = all[i];
            continue;
        }
        struct namespace *into = &all[kept - 1];
        into->count_limit += all[i].count_limit;
        into->bytes_limit += all[i].bytes_limit;
        into->count_usage += all[i].count_usage;
        into->bytes_usage += all[i].bytes_usage;
        buf_free(&all[i].name);
    }
    return kept;
}

static void put_namespace(struct buf *out, const struct namespace *n, const char *key, int64_t value) {
    buf_printf(out, "zk_%.*s_%s\t%lld\n", (int)n->name.len, (const char *)n->name.data, key, (long long)value);
}

/* In proportion to the number of quotas. */
static void put_quotas(const struct server *s, struct buf *out) {
    struct buf found = BUF_INIT; /* struct namespace */
    struct quota_limits limits, usage;
    struct znode *node;
    for (size_t cursor = 0; tree_quota_next(s->tree, &cursor, &node, &limits, &usage);) {
        while (node->parent != NULL && node->parent->parent != NULL)
            node = node->parent;
        if (node->parent == NULL)
            continue; /* a quota of the root belongs to no namespace */
        struct namespace n = {.count_limit = hard_or_soft(limits.count_hard, limits.count),
                              .bytes_limit = hard_or_soft(limits.bytes_hard, limits.bytes),
                              .count_usage = usage.count,
                              .bytes_usage = usage.bytes};
        struct slice name = znode_name(node);
        buf_append(&n.name, name.data, name.len);
        buf_append(&found, &n, sizeof n);
    }
    struct namespace *all = (struct namespace *)(void *)found.data;
    size_t count = merge_namespaces(all, found.len / sizeof *all);
    for (size_t i = 0; i < count; i++) {
        put_namespace(out, &all[i], "quota_count_limit_per_namespace", all[i].count_limit);
        put_namespace(out, &all[i], "quota_bytes_limit_per_namespace", all[i].bytes_limit);
        put_namespace(out, &all[i], "quota_count_usage_per_namespace", all[i].count_usage);
        put_namespace(out, &all[i], "quota_bytes_usage_per_namespace", all[i].bytes_usage);
        buf_free(&all[i].name);
    }
    buf_free(&found);
}

/* ------------------------------------------------------------------ counters, summaries */

static void put_counters(const struct metrics *m, struct buf *out) {
    for (enum metric_counter c = 0; c < METRIC_COUNTER_COUNT; c++)
        put_count(out, metric_counter_name(c), m->counters[c]);
    for (size_t i = 0; i < m->quota_exceeded_count; i++)
        buf_printf(out, "zk_%s_quota_exceeded_error_per_namespace\t%llu\n", m->quota_exceeded[i].name,
                   (unsigned long long)m->quota_exceeded[i].count);
}

static double mean(const struct metric_basic *b) { return b->count != 0 ? (double)b->sum / (double)b->count : 0; }

static void put_basic(const char *name, const struct metric_basic *b, struct buf *out) {
    buf_printf(out, "zk_avg_%s\t", name);
    str_java_double(out, mean(b));
    buf_printf(out, "\nzk_min_%s\t%llu\nzk_max_%s\t%llu\nzk_cnt_%s\t%llu\nzk_sum_%s\t%llu\n", name,
               (unsigned long long)b->min, name, (unsigned long long)b->max, name, (unsigned long long)b->count, name,
               (unsigned long long)b->sum);
}

static void put_quantiles(const char *name, const struct histogram *h, struct buf *out) {
    static const struct {
        const char *key;
        double q;
    } parts[] = {{"p50", 0.5}, {"p95", 0.95}, {"p99", 0.99}, {"p999", 0.999}};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        buf_printf(out, "zk_%s_%s\t%llu\n", parts[i].key, name,
                   (unsigned long long)(h != NULL ? histogram_quantile(h, parts[i].q) : 0));
}

static void put_summary(const struct metrics *m, enum metric_summary id, struct buf *out) {
    put_basic(metric_summary_name(id), &m->summaries[id], out);
    if (metric_summary_advanced(id))
        put_quantiles(metric_summary_name(id), m->quantiles[id - METRIC_BASIC_COUNT], out);
}

static void put_servers(const struct metrics *m, struct buf *out) {
    char name[64];
    for (size_t i = 0; i < m->ack_latency_count; i++) {
        snprintf(name, sizeof name, "%lld_ack_latency", (long long)m->ack_latency[i]->sid);
        put_basic(name, &m->ack_latency[i]->ms, out);
        put_quantiles(name, &m->ack_latency[i]->quantiles, out);
    }
}

/* ------------------------------------------------------------------ our own */

static void put_operation(struct buf *out, const char *name, const struct metric_basic *us) {
    buf_printf(out, "zk_zabra_op_%s_avg_us\t", name);
    str_java_double(out, mean(us));
    buf_printf(out, "\nzk_zabra_op_%s_max_us\t%llu\nzk_zabra_op_%s_count\t%llu\n", name, (unsigned long long)us->max, name,
               (unsigned long long)us->count);
}

static void put_operations(const struct metrics *m, struct buf *out) {
    struct metric_basic unknown = {0}; /* opcodes without a name, together */
    for (size_t i = 0; i < METRIC_OP_SLOTS && m->ops[i].us.count != 0; i++) {
        const struct metric_basic *us = &m->ops[i].us;
        const char *name = proto_op_name(m->ops[i].op);
        if (strcmp(name, "unknown") != 0) {
            put_operation(out, name, us);
            continue;
        }
        unknown.count += us->count;
        unknown.sum += us->sum;
        unknown.max = size_max(unknown.max, us->max);
    }
    if (unknown.count != 0)
        put_operation(out, "unknown", &unknown);
}

static void put_memory(const struct server *s, uint64_t output_bytes, struct buf *out) {
    struct server_memory memory = server_memory(s);
    put_count(out, "zabra_memory_tree_bytes", memory.tree);
    put_count(out, "zabra_memory_watches_bytes", memory.watches);
    put_count(out, "zabra_memory_sessions_bytes", memory.sessions);
    put_count(out, "zabra_memory_buffers_bytes", memory.buffers);
    put_count(out, "zabra_memory_log_window_bytes", memory.log_window);
    put_count(out, "zabra_memory_total_bytes", memory.total);
    put_int(out, "zabra_memory_max_bytes", s->config->maxmemory_bytes);
    put_count(out, "zabra_output_buffer_bytes", output_bytes);
}

static void put_own(const struct server *s, uint64_t output_bytes, struct buf *out) {
    const struct metrics *m = &s->metrics;
    put_count(out, "zabra_loop_turns", m->turns);
    put_count(out, "zabra_loop_turn_max_us", m->loop_turn_max_us);
    put_double(out, "zabra_fsync_avg_us", mean(&m->fsync_us));
    put_count(out, "zabra_fsync_max_us", m->fsync_us.max);
    put_count(out, "zabra_fsync_count", m->fsync_us.count);
    put_count(out, "zabra_fsync_threshold_exceed_count", m->fsync_threshold_exceeded);
    put_count(out, "zabra_log_diff_count", m->log_diffs);
    put_count(out, "zabra_log_snap_count", m->log_snaps);
    put_count(out, "zabra_request_max_bytes", m->request_max_bytes);
    put_int(out, "zabra_response_max_bytes", i64_max(0, m->response_max));
    put_count(out, "zabra_children_max", m->children_max);
    put_memory(s, output_bytes, out);
    put_int(out, "zabra_data_dir_bytes", s->data_dir_bytes);
    put_int(out, "zabra_log_dir_bytes", s->log_dir_bytes);
    if (diskguard_free_bytes(s, DISK_SNAP) >= 0)
        put_int(out, "zabra_data_disk_free_bytes", diskguard_free_bytes(s, DISK_SNAP));
    if (diskguard_free_bytes(s, DISK_LOG) >= 0)
        put_int(out, "zabra_log_disk_free_bytes", diskguard_free_bytes(s, DISK_LOG));
    put_int(out, "zabra_growth_refused", server_refuses_growth(s));
    put_int(out, "zabra_snapshot_running", snapshotter_busy(s));
    put_operations(m, out);
}

static void put_peer_state(const struct quorum_view *v, struct buf *out) {
    buf_printf(out, "zk_peer_state\t%s%s%s\n", v->state, v->phase != NULL ? " - " : "",
               v->phase != NULL ? v->phase : "");
    if (v->observes)
        put_int(out, "observer_master_id", v->leader);
}

/* Of members; a leader has more. */
static void put_role_gauges(const struct server *s, const struct quorum_view *v, struct buf *out) {
    put_int(out, "quorum_size", v->voters);
    if (!s->role->orders)
        return;
    put_int(out, "learners", v->learners);
    put_int(out, "synced_followers", v->synced_followers);
    put_int(out, "synced_non_voting_followers", v->synced_non_voters);
    put_int(out, "synced_observers", v->synced_observers);
    put_int(out, "pending_syncs", v->pending_syncs);
    put_int(out, "leader_uptime", mono_diff_us(s->now.mono, v->leading_since) / 1000);
    put_int(out, "last_proposal_size", s->metrics.proposal_last);
    put_int(out, "min_proposal_size", s->metrics.proposal_min);
    put_int(out, "max_proposal_size", s->metrics.proposal_max);
}

static void put_learner(void *ctx, const struct quorum_learner *l) {
    struct buf *out = ctx;
    buf_printf(out, "zk_zabra_learner_%lld_unsent_bytes\t%llu\n", (long long)l->sid, (unsigned long long)l->unsent_bytes);
    if (!l->observer)
        buf_printf(out, "zk_zabra_learner_%lld_unacknowledged\t%lld\n", (long long)l->sid, (long long)l->unacknowledged);
}

static void put_all(const struct server *s, uint64_t output_bytes, struct buf *out) {
    struct quorum_view view;
    put_text(out, "version", ZABRA_FULL_VERSION);
    put_text(out, "server_state", stat_mode(s));
    if (s->quorum != NULL) {
        quorum_view(s->quorum, &view);
        put_peer_state(&view, out);
    }
    put_gauges(s, out);
    if (s->quorum != NULL)
        put_role_gauges(s, &view, out);
    put_quotas(s, out);
    put_counters(&s->metrics, out);
    for (enum metric_summary id = 0; id < METRIC_SUMMARY_COUNT; id++)
        put_summary(&s->metrics, id, out);
    put_servers(&s->metrics, out);
    put_own(s, output_bytes, out);
    if (s->quorum != NULL)
        quorum_each_learner(s->quorum, put_learner, out);
}

/* ------------------------------------------------------------------ the answer */

struct mntr {
    struct answer answer;
    const struct server *s;
    uint32_t slot; /* of the connection that is next */
    uint64_t output_bytes; /* of those before it */
};

static bool next_of_mntr(struct answer *a, struct buf *out, size_t max, int *looks) {
    struct mntr *m = CONTAINER_OF(a, struct mntr, answer);
    (void)max;
    for (; m->slot < m->s->slot_count; m->slot++) {
        if (*looks <= 0)
            return false;
        --*looks;
        const struct conn *c = m->s->slots[m->slot];
        if (c != NULL)
            m->output_bytes += conn_output_bytes(c);
    }
    put_all(m->s, m->output_bytes, out);
    return true;
}

static void free_mntr(struct answer *a) { mem_free(CONTAINER_OF(a, struct mntr, answer)); }

struct answer *mntr_mntr(struct server *s) {
    struct mntr *m = mem_calloc(1, sizeof *m);
    *m = (struct mntr){.answer = {.next = next_of_mntr, .free = free_mntr}, .s = s};
    return &m->answer;
}
