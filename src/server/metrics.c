#include "server/metrics.h"

#include "base/mem.h"

static const char *const counter_names[] = {
#define X(id, name) #name,
    METRIC_COUNTERS(X)
#undef X
};
static const char *const summary_names[] = {
#define X(id, name) #name,
    METRIC_BASIC_SUMMARIES(X) METRIC_ADVANCED_SUMMARIES(X)
#undef X
};

const char *metric_counter_name(enum metric_counter c) { return counter_names[c]; }
const char *metric_summary_name(enum metric_summary s) { return summary_names[s]; }

void metrics_init(struct metrics *m) {
    *m = (struct metrics){.response_last = -1,
                          .response_min = -1,
                          .response_max = -1,
                          .proposal_last = -1,
                          .proposal_min = -1,
                          .proposal_max = -1};
}

static void free_parts(struct metrics *m) {
    for (size_t i = 0; i < ARRAY_LEN(m->quantiles); i++)
        mem_free(m->quantiles[i]);
    for (size_t i = 0; i < m->quota_exceeded_count; i++)
        mem_free(m->quota_exceeded[i].name);
    mem_free(m->quota_exceeded);
    for (size_t i = 0; i < m->ack_latency_count; i++)
        mem_free(m->ack_latency[i]);
    mem_free(m->ack_latency);
}

void metrics_free(struct metrics *m) { free_parts(m); }

void metrics_reset(struct metrics *m) {
    free_parts(m);
    metrics_init(m);
}

void metric_basic_add(struct metric_basic *b, uint64_t value) {
    if (b->count++ == 0 || value < b->min)
        b->min = value;
    if (value > b->max)
        b->max = value;
    b->sum += value;
}

void metric_sample(struct metrics *m, enum metric_summary s, uint64_t value) {
    metric_basic_add(&m->summaries[s], value);
    if (!metric_summary_advanced(s))
        return;
    struct histogram **h = &m->quantiles[s - METRIC_BASIC_COUNT];
    if (*h == NULL) {
        *h = mem_alloc(sizeof **h);
        histogram_reset(*h);
    }
    histogram_add(*h, value);
}

uint64_t metric_quantile(const struct metrics *m, enum metric_summary s, double q) {
    const struct histogram *h = m->quantiles[s - METRIC_BASIC_COUNT];
    return h != NULL ? histogram_quantile(h, q) : 0;
}

/* A write is what takes a zxid; everything else that a client sends is a read. */
static bool is_write(int32_t op) {
    switch (op) {
    case OP_CREATE:
    case OP_CREATE2:
    case OP_CREATE_CONTAINER:
    case OP_CREATE_TTL:
    case OP_DELETE:
    case OP_DELETE_CONTAINER:
    case OP_SET_DATA:
    case OP_SET_ACL:
    case OP_MULTI:
    case OP_RECONFIG:
    case OP_CREATE_SESSION:
    case OP_CLOSE_SESSION:
        return true;
    default:
        return false;
    }
}

void metrics_latency(struct metrics *m, int32_t op, uint64_t us) {
    metric_basic_add(&m->latency_us, us);
    if (op != OP_PING)
        metric_sample(m, is_write(op) ? METRIC_UPDATELATENCY : METRIC_READLATENCY, us / 1000);
    for (size_t i = 0; i < METRIC_OP_SLOTS; i++) {
        if (m->ops[i].us.count == 0) {
            if (strcmp(proto_op_name(op), "unknown") == 0)
                return; /* junk must not take the slots of real operations */
            m->ops[i].op = op;
        }
        if (m->ops[i].op == op) {
            metric_basic_add(&m->ops[i].us, us);
            return;
        }
    }
}

void metrics_turn(struct metrics *m, uint64_t us) {
    m->turns++;
    if (us > m->loop_turn_max_us)
        m->loop_turn_max_us = us;
}

void metrics_response_size(struct metrics *m, uint64_t bytes) {
    m->response_last = (int64_t)bytes;
    if (m->response_min < 0 || m->response_last < m->response_min)
        m->response_min = m->response_last;
    if (m->response_last > m->response_max)
        m->response_max = m->response_last;
    metric_count(m, METRIC_RESPONSE_BYTES, bytes);
}

void metrics_children_size(struct metrics *m, uint32_t count) {
    if (count > m->children_max)
        m->children_max = count;
}

void metric_watches_fired(struct metrics *m, enum event_type type, uint64_t count) {
    static const enum metric_summary by_type[] = {
        [EVENT_NODE_CREATED] = METRIC_NODE_CREATED_WATCH_COUNT,
        [EVENT_NODE_DELETED] = METRIC_NODE_DELETED_WATCH_COUNT,
        [EVENT_NODE_DATA_CHANGED] = METRIC_NODE_CHANGED_WATCH_COUNT,
        [EVENT_NODE_CHILDREN_CHANGED] = METRIC_NODE_CHILDREN_WATCH_COUNT,
    };
    metric_sample(m, by_type[type], count);
}

void metrics_quota_exceeded(struct metrics *m, struct slice path) {
    struct slice top = {path.data + 1, path.len == 0 ? 0 : path.len - 1};
    const char *slash = top.len != 0 ? memchr(top.data, '/', top.len) : NULL;
    if (slash != NULL)
        top.len = (size_t)(slash - top.data);
    for (size_t i = 0; i < m->quota_exceeded_count; i++) {
        if (slice_is(top, m->quota_exceeded[i].name)) {
            m->quota_exceeded[i].count++;
            return;
        }
    }
    m->quota_exceeded = mem_realloc(m->quota_exceeded, (m->quota_exceeded_count + 1) * sizeof *m->quota_exceeded);
    struct metric_namespace *entry = &m->quota_exceeded[m->quota_exceeded_count++];
    entry->name = mem_alloc(top.len + 1);
    if (top.len != 0)
        memcpy(entry->name, top.data, top.len);
    entry->name[top.len] = '\0';
    entry->count = 1;
}

static struct metric_of_server *ack_latency_of(struct metrics *m, int64_t sid) {
    for (size_t i = 0; i < m->ack_latency_count; i++)
        if (m->ack_latency[i]->sid == sid)
            return m->ack_latency[i];
    struct metric_of_server *fresh = mem_alloc(sizeof *fresh);
    fresh->sid = sid;
    fresh->ms = (struct metric_basic){0};
    histogram_reset(&fresh->quantiles);
    m->ack_latency = mem_realloc(m->ack_latency, (m->ack_latency_count + 1) * sizeof(struct metric_of_server *));
    m->ack_latency[m->ack_latency_count++] = fresh;
    return fresh;
}

void metrics_ack_latency(struct metrics *m, int64_t sid, uint64_t ms) {
    struct metric_of_server *of = ack_latency_of(m, sid);
    metric_basic_add(&of->ms, ms);
    histogram_add(&of->quantiles, ms);
}
