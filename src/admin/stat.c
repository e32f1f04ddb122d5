/* srvr, stat, cons: figures of the server and of its connections; crst and srst set them to zero.
 *
 * The connection that asks is one among the others, without a session. The list of connections is a long answer. Its cursor
 * is a slot number: connections may come and go meanwhile, and those that stay are listed once. */
#include "admin/answers.h"
#include "base/mem.h"
#include "base/version.h"

const char *stat_mode(const struct server *s) { return s->role->mode; }

double stat_mean_ms(uint64_t sum_us, uint64_t count) {
    return count == 0 ? 0 : (double)sum_us / 1000 / (double)count;
}

/* ------------------------------------------------------------------ connections */

static bool has_output(const struct conn *c) { return c->out_sent < c->out.len || !list_empty(&c->segments); }

/* What the connection is watched for: 1 = to be read, 4 = to be written. */
static unsigned interest_ops(const struct conn *c) {
    unsigned ops = 0;
    /* What has sent something without a session is a word: nothing more is read from it, and this may be its answer. */
    if (!c->connected && !c->connecting && c->received != 0)
        return 0;
    if (c->close == CONN_OPEN && !c->paused && !c->connecting)
        ops |= 1;
    /* Output of this turn is on its way as soon as the connection's turn comes; only a rest waits for the socket. */
    if (has_output(c) && (c->out_sent != 0 || list_unlinked(&c->dirty_link)))
        ops |= 4;
    return ops;
}

static void put_session(const struct conn *c, struct buf *out) {
    buf_printf(out, ",sid=0x%llx,lop=%s,est=%lld,to=%d", (unsigned long long)c->session_id, proto_op_code(c->last_op),
               (long long)c->established_wall_ms, c->session != NULL ? c->session->live_timeout_ms : 0);
    if (c->last_cxid >= 0)
        buf_printf(out, ",lcxid=0x%x", (unsigned)c->last_cxid);
    uint64_t mean_us = c->latency_count != 0 ? c->latency_sum_us / c->latency_count : 0;
    buf_printf(out, ",lzxid=0x%llx,lresp=%lld,llat=%u,minlat=%u,avglat=%llu,maxlat=%u",
               (unsigned long long)c->last_zxid, (long long)c->last_response_ms, c->latency_last_us / 1000,
               c->latency_min_us / 1000, (unsigned long long)(mean_us / 1000), c->latency_max_us / 1000);
}

static void put_connection(const struct conn *c, bool brief, struct buf *out) {
    buf_printf(out, " /%s[%x](queued=%u,recved=%llu,sent=%llu", c->peer, interest_ops(c), c->in_flight,
               (unsigned long long)c->received, (unsigned long long)c->sent);
    if (!brief && c->session_id != 0)
        put_session(c, out);
    buf_append(out, ")\n", 2);
}

static void reset_connection(struct conn *c) {
    c->received = c->sent = 0;
    c->last_op = OP_NOTIFICATION; /* shown as NA */
    c->last_cxid = -1;
    c->last_zxid = -1;
    c->last_response_ms = 0;
    c->latency_count = c->latency_sum_us = 0;
    c->latency_last_us = c->latency_min_us = c->latency_max_us = 0;
}

/* ------------------------------------------------------------------ the server */

static void put_version(struct buf *out) { buf_printf(out, "Zookeeper version: %s\n", ZABRA_FULL_VERSION); }

static void put_server(const struct server *s, struct buf *out) {
    const struct metrics *m = &s->metrics;
    buf_printf(out, "Latency min/avg/max: %llu/", (unsigned long long)(m->latency_us.min / 1000));
    str_java_double(out, stat_mean_ms(m->latency_us.sum, m->latency_us.count));
    buf_printf(out, "/%llu\n", (unsigned long long)(m->latency_us.max / 1000));
    buf_printf(out, "Received: %llu\nSent: %llu\nConnections: %llu\nOutstanding: %llu\n",
               (unsigned long long)m->packets_received, (unsigned long long)m->packets_sent,
               (unsigned long long)s->conn_count, (unsigned long long)s->pipeline_count);
    buf_printf(out, "Zxid: 0x%llx\nMode: %s\n", (unsigned long long)s->last_applied, stat_mode(s));
    /* ZooKeeper has the root twice, under "" and under "/". */
    buf_printf(out, "Node count: %llu\n", (unsigned long long)tree_count(s->tree) + 1);
    if (s->quorum != NULL && s->role->orders)
        buf_printf(out, "Proposal sizes last/min/max: %lld/%lld/%lld\n", (long long)m->proposal_last,
                   (long long)m->proposal_min, (long long)m->proposal_max);
}

void stat_srvr(struct server *s, struct buf *out) {
    put_version(out);
    put_server(s, out);
}

void stat_srst(struct server *s, struct buf *out) {
    metrics_reset(&s->metrics);
    buf_printf(out, "Server stats reset.\n");
}

/* ------------------------------------------------------------------ lists of connections */

struct conn_list {
    struct answer answer;
    const struct server *s;
    bool brief;    /* stat: without sessions, between the version and the figures of the server */
    bool begun;
    uint32_t slot; /* of the connection that is next */
};

static bool next_connections(struct answer *a, struct buf *out, size_t max, int *looks) {
    struct conn_list *l = CONTAINER_OF(a, struct conn_list, answer);
    if (l->brief && !l->begun) {
        put_version(out);
        buf_printf(out, "Clients:\n");
    }
    l->begun = true;
    for (; l->slot < l->s->slot_count; l->slot++) {
        if (*looks <= 0 || out->len >= max)
            return false;
        --*looks;
        const struct conn *c = l->s->slots[l->slot];
        if (c != NULL)
            put_connection(c, l->brief, out);
    }
    buf_append(out, "\n", 1);
    if (l->brief)
        put_server(l->s, out);
    return true;
}

static void free_connections(struct answer *a) { mem_free(CONTAINER_OF(a, struct conn_list, answer)); }

static struct answer *list_connections(const struct server *s, bool brief) {
    struct conn_list *l = mem_calloc(1, sizeof *l);
    *l = (struct conn_list){.answer = {.next = next_connections, .free = free_connections}, .s = s, .brief = brief};
    return &l->answer;
}

static bool reset_connections(struct answer *a, struct buf *out, size_t max, int *looks) {
    struct conn_list *l = CONTAINER_OF(a, struct conn_list, answer);
    (void)max;
    for (; l->slot < l->s->slot_count; l->slot++) {
        if (*looks <= 0)
            return false;
        --*looks;
        struct conn *c = l->s->slots[l->slot];
        if (c != NULL)
            reset_connection(c);
    }
    buf_printf(out, "Connection stats reset.\n");
    return true;
}

struct answer *stat_crst(struct server *s) {
    struct answer *a = list_connections(s, true);
    a->next = reset_connections;
    return a;
}

struct answer *stat_cons(struct server *s) { return list_connections(s, false); }
struct answer *stat_stat(struct server *s) { return list_connections(s, true); }
