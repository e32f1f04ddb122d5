/* The phases of a member: settle, look for a leader, lead or learn, and over again. See docs/protocol/election.md section 9
 * and zab.md sections 4 and 18. */
#include "quorum/quorum.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "quorum/election.h"
#include "quorum/mesh.h"
#include "quorum/quorum_internal.h"
#include "server/history.h"
#include "store/rewind.h"

#define CONFIG_BYTES_MAX (1 << 20)
/* After a role that ended for lack of space. */
#define NO_SPACE_REST_MS 1000
#define CONFIG_AGAIN_MS 1000
#define SWAP_POINTERS(a, b)                                                                                            \
    do {                                                                                                               \
        struct qconfig *swap_ = (a);                                                                                   \
        (a) = (b);                                                                                                     \
        (b) = swap_;                                                                                                   \
    } while (0)

int64_t quorum_ticks_ms(const struct quorum *q, int64_t ticks) { return q->s->config->tick_time_ms * ticks; }

bool quorum_observer(const struct quorum *q) {
    const struct qserver *self = qconfig_find(q->committed, q->sid);
    return self != NULL && self->observer;
}

void voter_set_add(const struct quorum *q, struct voter_set *v, int64_t sid) {
    v->committed |= qconfig_voter_bit(q->committed, sid);
    v->last_seen |= qconfig_voter_bit(q->last_seen, sid);
}

bool voter_set_is_quorum(const struct quorum *q, const struct voter_set *v) {
    return qconfig_is_quorum(q->committed, v->committed) &&
           (q->last_seen->version <= q->committed->version || qconfig_is_quorum(q->last_seen, v->last_seen));
}

void quorum_stand_back(struct quorum *q, int64_t ms) { q->stand_back_ms = i64_max(q->stand_back_ms, ms); }

/* For small files. */
static void reserve_is_needed(struct quorum *q) {
    if (q->s->env.same_dir) /* else it lies on another disk */
        diskguard_no_space(q->s);
}

/* ------------------------------------------------------------------ configurations */

/* Where a member keeps a configuration that is newer than the one in its zoo.cfg. */
#define CONFIG_NAME "zabra.members"

struct config_write {
    struct log_cmd cmd;
    struct quorum *q;
    struct buf text;
};

static void config_written(struct log_cmd *cmd) {
    struct config_write *w = CONTAINER_OF(cmd, struct config_write, cmd);
    struct quorum *q = w->q;
    if (cmd->err == -ENOSPC) {
        log_warn("there is no space for %s: it is tried again", CONFIG_NAME);
        reserve_is_needed(q);
        q->config_due = true;
        q->config_at = mono_add_ms(q->s->now.mono, CONFIG_AGAIN_MS);
    } else if (cmd->err != 0) {
        server_fail(q->s, "%s could not be written: %s", CONFIG_NAME, strerror(-cmd->err));
    }
    buf_free(&w->text);
    mem_free(w);
}

static void write_config(struct quorum *q) {
    struct config_write *w = mem_calloc(1, sizeof *w);
    w->q = q;
    qconfig_text(q->committed, &w->text);
    w->cmd.type = LOG_CMD_ATOMIC;
    w->cmd.dir = DISK_SNAP;
    w->cmd.done = config_written;
    snprintf(w->cmd.name, sizeof w->cmd.name, "%s", CONFIG_NAME);
    w->cmd.content = w->text.data;
    w->cmd.content_size = w->text.len;
    server_order(q->s, &w->cmd);
}

static void write_config_again(struct quorum *q) {
    if (!q->config_due || mono_diff_us(q->config_at, q->s->now.mono) > 0)
        return;
    q->config_due = false;
    write_config(q);
}

static void save_config(struct quorum *q) {
    write_config(q);
    if (q->s->env.config_active != NULL)
        q->s->env.config_active(q->s->env.ctx, q->committed);
}

/* Replaces *config by the saved one if that is newer. */
static void load_config(struct server *s, struct qconfig **config) {
    char error[256];
    struct buf text = BUF_INIT;
    const struct disk *d = s->env.disk;
    int handle = s->config->reconfig_enabled ? d->open(d->ctx, DISK_SNAP, CONFIG_NAME, DISK_READ) : -1;
    if (handle < 0)
        return;
    int64_t size = d->size(d->ctx, handle);
    if (size > 0 && size < CONFIG_BYTES_MAX) {
        ssize_t n = disk_read_full(d, handle, buf_tail(&text, (size_t)size), (size_t)size, 0);
        text.len = n > 0 ? (size_t)n : 0;
    }
    d->close(d->ctx, handle);
    struct qconfig *saved = qconfig_parse((struct slice){(const char *)text.data, text.len}, true, error, sizeof error);
    if (saved == NULL)
        log_warn("%s is not used: %s", CONFIG_NAME, error);
    else if (saved->version > (*config)->version) {
        SWAP_POINTERS(*config, saved);
        if (s->env.config_active != NULL)
            s->env.config_active(s->env.ctx, *config);
    }
    qconfig_unref(saved);
    buf_free(&text);
}

static void show_config(struct quorum *q) {
    struct server *s = q->s;
    struct znode *n = tree_find(s->tree, SLICE_LIT("/zookeeper/config"));
    if (n != NULL)
        tree_set_data(s->tree, n, (struct slice){(const char *)q->config_text.data, q->config_text.len}, -1,
                      q->committed->version, s->now.wall_ms);
}

/* What a reconfiguration has put into the log, committed or not, counts beside the committed configuration after a restart, too
 * (I19): others may have activated it. NULL: nothing newer is there. */
static struct qconfig *config_of_tree(struct quorum *q) {
    char error[256];
    const struct znode *n = tree_find(q->s->tree, SLICE_LIT("/zookeeper/config"));
    if (!q->s->config->reconfig_enabled || n == NULL || n->data_len <= 0)
        return NULL;
    struct qconfig *c = qconfig_parse(znode_data(n), true, error, sizeof error);
    if (c != NULL && c->version > q->committed->version)
        return c;
    qconfig_unref(c);
    return NULL;
}

static void tell_proposed(struct quorum *q, const struct qconfig *c) {
    int64_t version = c != NULL ? c->version : 0;
    if (q->s->env.config_proposed == NULL || version == q->told_proposed)
        return;
    q->told_proposed = version;
    q->s->env.config_proposed(q->s->env.ctx, c);
}

static void use_configs(struct quorum *q) {
    struct qconfig *last_seen = q->last_seen->version > q->committed->version ? q->last_seen : NULL;
    tell_proposed(q, last_seen);
    buf_clear(&q->config_text);
    qconfig_text(q->committed, &q->config_text);
    election_set_configs(q->election, q->committed, last_seen);
    mesh_set_configs(q->mesh, q->committed, last_seen);
}

static void adopt_last_seen(struct quorum *q, struct qconfig *c) {
    qconfig_unref(q->last_seen);
    q->last_seen = qconfig_ref(c);
    use_configs(q);
}

void quorum_reload_config(struct quorum *q) {
    struct qconfig *c = config_of_tree(q);
    adopt_last_seen(q, c != NULL ? c : q->committed);
    qconfig_unref(c);
    show_config(q);
}

void quorum_see_config(struct quorum *q, struct slice text) {
    char error[256];
    if (!q->s->config->reconfig_enabled)
        return;
    struct qconfig *seen = qconfig_parse(text, true, error, sizeof error);
    if (seen == NULL)
        log_warn("a proposed configuration is not understood: %s", error);
    else if (seen->version > q->last_seen->version)
        adopt_last_seen(q, seen);
    qconfig_unref(seen);
}

void quorum_first_version(struct quorum *q, int64_t epoch) {
    if (!q->s->config->reconfig_enabled || q->committed->version != 0 || q->last_seen->version != 0)
        return;
    struct qconfig *first = qconfig_with_version(q->committed, zxid_make(epoch, 0));
    adopt_last_seen(q, first);
    qconfig_unref(first);
}

/* Does it vote in the new configuration, where it did in the old one? */
static bool stays(const struct qconfig *old, const struct qconfig *new, int64_t sid) {
    const struct qserver *a = qconfig_find(old, sid), *b = qconfig_find(new, sid);
    if (b == NULL || b->observer)
        return false;
    if (a == NULL || a->address_count != b->address_count)
        return a == NULL;
    for (int i = 0; i < a->address_count; i++)
        if (a->addresses[i].quorum_port != b->addresses[i].quorum_port || strcmp(a->addresses[i].host, b->addresses[i].host) != 0)
            return false;
    return true;
}

bool quorum_activate_config(struct quorum *q, int64_t designated) {
    struct qconfig *old = q->committed;
    bool observed = quorum_observer(q);
    if (!q->s->config->reconfig_enabled || q->last_seen->version <= old->version)
        return false;
    log_info("configuration %" PRIx64 " is active, before it was %" PRIx64, (uint64_t)q->last_seen->version,
             (uint64_t)old->version);
    q->committed = qconfig_ref(q->last_seen);
    use_configs(q);
    show_config(q);
    save_config(q);
    bool other_leader = designated != -1 ? designated != q->leader_sid : !stays(old, q->committed, q->leader_sid);
    bool other_role = observed != quorum_observer(q);
    bool known = designated != -1 || !other_leader;
    if (q->learner != NULL && (other_leader || other_role) && known)
        q->appointed = designated != -1 ? designated : q->leader_sid;
    qconfig_unref(old);
    return other_leader || other_role;
}

/* ------------------------------------------------------------------ epoch files */

struct epoch_write {
    struct log_cmd cmd;
    struct quorum *q;
    uint64_t generation;
    char text[24];
    int64_t epoch;
    bool current;
    void (*done)(struct quorum *q);
};

static void epoch_written(struct log_cmd *cmd) {
    struct epoch_write *w = CONTAINER_OF(cmd, struct epoch_write, cmd);
    struct quorum *q = w->q;
    bool current = w->generation == q->generation && !q->leaving;
    if (cmd->err == -ENOSPC) {
        /* The file is what it was, and so nothing was promised. */
        reserve_is_needed(q);
        if (current) {
            quorum_stand_back(q, NO_SPACE_REST_MS);
            quorum_leave(q, "there is no space for %s", cmd->name);
        }
    } else if (cmd->err != 0) {
        server_fail(q->s, "%s could not be written: %s", cmd->name, strerror(-cmd->err));
    } else {
        *(w->current ? &q->epochs.current : &q->epochs.accepted) = w->epoch;
        if (current)
            w->done(q);
    }
    mem_free(w);
}

void quorum_write_epoch(struct quorum *q, const char *name, int64_t epoch, void (*done)(struct quorum *q)) {
    /* With the epoch and without the mark it would pass for a member with a history. */
    if (q->marked && !q->mark_written) {
        quorum_leave(q, "%s is not written yet", RESYNC_MARK_NAME);
        return;
    }
    struct epoch_write *w = mem_calloc(1, sizeof *w);
    w->q = q;
    w->generation = q->generation;
    w->epoch = epoch;
    w->current = strcmp(name, EPOCH_CURRENT) == 0;
    w->done = done;
    w->cmd.type = LOG_CMD_ATOMIC;
    w->cmd.dir = DISK_SNAP;
    w->cmd.done = epoch_written;
    snprintf(w->cmd.name, sizeof w->cmd.name, "%s", name);
    w->cmd.content = w->text;
    w->cmd.content_size = (size_t)epoch_text(epoch, w->text);
    server_order(q->s, &w->cmd);
}

/* ------------------------------------------------------------------ election */

static void send_notification(void *ctx, int64_t sid, const struct notification *n) {
    struct quorum *q = ctx;
    struct notification full = *n;
    struct buf b = BUF_INIT;
    full.config = (struct slice){(const char *)q->config_text.data, q->config_text.len};
    notification_put(&b, &full);
    mesh_send(q->mesh, sid, b.data, b.len);
    buf_free(&b);
}

static bool has_delivered(void *ctx) { return mesh_has_delivered(((struct quorum *)ctx)->mesh); }
static void connect_all(void *ctx) { mesh_connect_all(((struct quorum *)ctx)->mesh); }

/* Who was silent as the leader may be so for long, and its connection may seem alive: it is not waited for. */
static bool is_expected(void *ctx, int64_t sid) {
    const struct quorum *q = ctx;
    return sid != q->silent_sid && mesh_expected(q->mesh, sid);
}

static void decided(void *ctx, enum peer_state state, const struct vote *v) {
    struct quorum *q = ctx;
    q->decided = true;
    q->decided_state = (int)state;
    q->leader_sid = v->leader;
}

/* Taken over by the next turn: the election must not change while it tells. */
static bool config_heard(void *ctx, struct qconfig *heard) {
    struct quorum *q = ctx;
    if (!q->s->config->reconfig_enabled)
        return false;
    qconfig_unref(q->heard);
    q->heard = qconfig_ref(heard);
    return true;
}

static void adopt_heard(struct quorum *q) {
    struct qconfig *heard = q->heard;
    q->heard = NULL;
    if (q->phase == QUORUM_LOOKING && !q->decided && heard->version > q->committed->version) {
        log_info("another member knows a newer configuration");
        adopt_last_seen(q, heard);
        quorum_activate_config(q, -1);
        q->phase = QUORUM_SETTLING;
    }
    qconfig_unref(heard);
}

static void voter_looking(void *ctx, int64_t sid) {
    struct quorum *q = ctx;
    if (q->leader != NULL && !q->leaving && election_was_supporter(q->election, sid))
        leader_supporter_looking(q->leader, sid);
}

static const struct election_env election_env = {.send = send_notification,
                                                 .delivered = has_delivered,
                                                 .connect_all = connect_all,
                                                 .connected = is_expected,
                                                 .decided = decided,
                                                 .config_heard = config_heard,
                                                 .voter_looking = voter_looking};

static void begin_round(struct quorum *q);
static int run_mark(struct log_cmd *cmd, const struct disk *d);
static void order_marking(struct quorum *q, int (*run)(struct log_cmd *cmd, const struct disk *d));

/* Somebody else has a history. If we have none, ours was lost, or we are new: either way our word must not count. Once we
 * have an epoch with others, that is the beginning of ours. A role that is on its way to one is given up: it would vote. */
static void note_history(struct quorum *q, int64_t sid, const struct notification *n) {
    if (q->s->last_applied != 0 || q->epochs.accepted != 0)
        q->no_history = false;
    if (quorum_untrusted(q) || !q->no_history || sid == q->sid || (n->zxid <= 0 && n->peer_epoch <= 0))
        return;
    log_warn("server %" PRId64 " has a history and we have none: no vote until we have been brought up to date", sid);
    q->history_seen = true;
    /* Before any epoch file says otherwise: those make a new start look like one with a history. */
    order_marking(q, run_mark);
    q->marked = true;
    if (q->phase == QUORUM_LOOKING)
        begin_round(q);
    else if (q->leader != NULL || q->learner != NULL)
        quorum_leave(q, "our history is to come first");
}

static void notification_received(void *ctx, int64_t sid, const uint8_t *data, size_t len) {
    struct quorum *q = ctx;
    struct notification n;
    if (!notification_get(data, len, &n))
        return;
    if (sid == q->silent_sid)
        q->silent_sid = -1;
    note_history(q, sid, &n);
    election_received(q->election, sid, &n, q->s->now);
}

/* The final wait may have been for that server alone. */
static void connection_changed(void *ctx, int64_t sid, bool up) {
    struct quorum *q = ctx;
    (void)sid;
    if (!up)
        election_tick(q->election, q->s->now);
}

static const struct mesh_env mesh_env = {.received = notification_received, .connection = connection_changed};

void quorum_established(struct quorum *q, int64_t epoch) {
    struct vote v = *election_current_vote(q->election);
    struct metrics *metrics = &q->s->metrics;
    uint64_t gap_ms = (uint64_t)mono_diff_us(q->s->now.mono, q->unavailable_since) / 1000;
    metric_sample(metrics, METRIC_UNAVAILABLE_TIME, gap_ms);
    if (q->leader != NULL)
        metric_sample(metrics, METRIC_LEADER_UNAVAILABLE_TIME, gap_ms);
    v.peer_epoch = epoch; /* I20 */
    election_set_current_vote(q->election, &v);
}

/* ------------------------------------------------------------------ phases */

void quorum_leave(struct quorum *q, const char *fmt, ...) {
    char reason[256];
    va_list args;
    if (q->leaving)
        return;
    va_start(args, fmt);
    vsnprintf(reason, sizeof reason, fmt, args);
    va_end(args);
    log_warn("%s ends: %s", q->leader != NULL ? "leading" : "following", reason);
    q->leaving = true;
    q->served = q->s->state == SERVER_RUNNING;
    if (q->served)
        q->unavailable_since = q->s->now.mono;
    /* Nothing more is prepared or answered, not even in this turn. */
    server_leave(q->s);
}

#define FRUITLESS_FREE 2
#define FRUITLESS_DELAY_MS 50
#define FRUITLESS_DOUBLINGS 4

/* Whoever cannot come to terms with the leader that all others have would otherwise ask it again a hundred times a second. */
static void slow_down(struct quorum *q) {
    q->fruitless = q->served ? 0 : q->fruitless + 1;
    int more = q->fruitless - FRUITLESS_FREE;
    int64_t delay_ms = more > 0 ? FRUITLESS_DELAY_MS << (more < FRUITLESS_DOUBLINGS ? more : FRUITLESS_DOUBLINGS) : 0;
    /* Observers leave the voters alone while these elect. */
    if (quorum_observer(q) && q->appointed == -1)
        delay_ms = i64_max(delay_ms, (int64_t)rng_below(&q->s->rng, (uint64_t)q->s->config->observer_election_delay_ms));
    q->look_at = mono_add_ms(q->s->now.mono, i64_max(delay_ms, q->stand_back_ms));
    q->stand_back_ms = 0;
}

static void leave_role(struct quorum *q) {
    if (q->leader != NULL)
        leader_free(q->leader);
    if (q->learner != NULL)
        learner_free(q->learner);
    q->leader = NULL;
    q->learner = NULL;
    q->leader_sid = -1;
    q->leaving = false;
    slow_down(q);
    q->generation++;
    q->phase = QUORUM_SETTLING;
    election_leave(q->election);
}

/* A voter that has lost what it once acknowledged must not help to elect someone who lacks it, too. It can only join a leader
 * that others have made. An ensemble in which nobody has a history is a new one. */
bool quorum_untrusted(const struct quorum *q) {
    return q->marked || (q->no_history && (q->history_seen || !q->s->config->db_autocreate));
}

struct marking {
    struct log_cmd cmd;
    struct quorum *q;
    bool marks;
};

#define DISK_AGAIN_MS 100

static void marking_done(struct log_cmd *cmd) {
    struct marking *m = CONTAINER_OF(cmd, struct marking, cmd);
    struct quorum *q = m->q;
    if (cmd->err == -ENOSPC && m->marks) {
        /* It is tried again. No epoch is written before, so a new start will find nothing, as this one did. */
        reserve_is_needed(q);
        q->mark_due = true;
        q->look_at = mono_add_ms(q->s->now.mono, DISK_AGAIN_MS);
        if (q->leader != NULL || q->learner != NULL)
            quorum_leave(q, "there is no space for %s", RESYNC_MARK_NAME);
        else if (q->phase == QUORUM_LOOKING)
            q->phase = QUORUM_SETTLING;
    } else if (cmd->err != 0) {
        server_fail(q->s, "%s could not be written: %s", RESYNC_MARK_NAME, strerror(-cmd->err));
    } else {
        q->mark_written = m->marks;
    }
    mem_free(m);
}

static int run_mark(struct log_cmd *cmd, const struct disk *d) {
    (void)cmd;
    return store_mark(d);
}

static int run_unmark(struct log_cmd *cmd, const struct disk *d) {
    (void)cmd;
    return store_unmark(d);
}

static void order_marking(struct quorum *q, int (*run)(struct log_cmd *cmd, const struct disk *d)) {
    struct marking *m = mem_calloc(1, sizeof *m);
    m->q = q;
    m->marks = run == run_mark;
    m->cmd.type = LOG_CMD_CALL;
    m->cmd.run = run;
    m->cmd.done = marking_done;
    server_order(q->s, &m->cmd);
}

void quorum_trust(struct quorum *q) {
    if (q->marked)
        order_marking(q, run_unmark);
    q->marked = q->no_history = false;
    quorum_leave(q, "our history is complete again, from now on we vote");
}

void quorum_reload_later(struct quorum *q, struct reload *r) {
    uint64_t suppressed;
    if (log_limit_pass(&q->s->full_limit, q->s->now.mono.us, 10000000, &suppressed))
        log_warn("there is no space to bring the history to 0x%" PRIx64 ": it is tried again", (uint64_t)r->zxid);
    reload_free(r);
    reserve_is_needed(q);
    q->s->half_reloaded = true;
    q->reload = r;
    q->reload_at = mono_add_ms(q->s->now.mono, DISK_AGAIN_MS);
}

static void reload_again(struct quorum *q) {
    struct reload *r = q->reload;
    if (r == NULL || mono_diff_us(q->reload_at, q->s->now.mono) > 0)
        return;
    q->reload = NULL;
    q->s->half_reloaded = false;
    reload_submit(r);
}

static void begin_round(struct quorum *q) {
    zxid_t zxid = quorum_untrusted(q) && !quorum_observer(q) ? -1 : q->s->last_applied;
    q->decided = false;
    election_look(q->election, zxid, q->epochs.current, q->s->now);
}

const struct qserver *quorum_self(const struct quorum *q) {
    const struct qserver *self = qconfig_find(q->committed, q->sid);
    return self != NULL ? self : qconfig_find(q->own, q->sid);
}

struct slice quorum_members_text(const struct quorum *q) {
    return (struct slice){(const char *)q->config_text.data, q->config_text.len};
}

static void start_election(struct quorum *q) {
    const struct config *c = q->s->config;
    const struct qserver *self = quorum_self(q);
    struct link_address *own = mem_calloc((size_t)self->address_count, sizeof *own);
    for (int i = 0; i < self->address_count; i++)
        own[i] = (struct link_address){self->addresses[i].host, self->addresses[i].election_port};
    struct mesh_options mesh = {.sid = q->sid,
                                .addresses = own,
                                .address_count = self->address_count,
                                .multi_address = c->multi_address_enabled,
                                .connect_timeout_ms = c->election_connect_timeout_ms,
                                .handshake_timeout_ms = i64_max(c->election_read_timeout_ms, 0)};
    struct election_options election = {.sid = q->sid,
                                        .observer = self->observer,
                                        .min_interval_ms = c->notification_interval_min_ms,
                                        .max_interval_ms = c->notification_interval_max_ms};
    q->election_observes = self->observer;
    q->election = election_new(&election, &election_env, q, q->committed, NULL);
    q->mesh = mesh_new(&mesh, q->links, q->links_ctx, &mesh_env, q, q->committed, NULL, q->s->now);
    mem_free(own);
}

/* An observer may do without a log. What it has acknowledged as an epoch says nothing about what is on its disk, so it must
 * never vote for that. */
static bool keeps_no_log(const struct quorum *q) { return quorum_observer(q) && !q->s->config->sync_enabled; }

/* Before an epoch file makes it look as if there were a history. */
static void mark_if_needed(struct quorum *q) {
    if (q->marked || !(quorum_observer(q) ? keeps_no_log(q) : quorum_untrusted(q)))
        return;
    order_marking(q, run_mark);
    q->marked = true;
}

static void own_disk_loaded(struct log_cmd *cmd) {
    struct reload *r = CONTAINER_OF(cmd, struct reload, cmd);
    struct server *s = r->s;
    if (cmd->err == -ENOSPC) {
        quorum_reload_later(s->quorum, r);
        return;
    }
    if (cmd->err != 0) {
        server_fail(s, "what is on the disk could not be loaded: %s",
                    r->result.status != RECOVERY_OK && r->result.message[0] ? r->result.message : strerror(-cmd->err));
    } else {
        reload_swap(r);
        quorum_reload_config(s->quorum);
    }
    reload_free(r);
    mem_free(r);
}

/* It is no observer any more: its log must have no gap. */
static void back_to_own_disk(struct quorum *q) {
    struct server *s = q->s;
    if (!reload_possible(s))
        return;
    log_info("0x%" PRIx64 " is not in the log: back to what is", (uint64_t)s->last_applied);
    struct reload *r = mem_calloc(1, sizeof *r);
    r->s = s;
    r->zxid = s->last_applied;
    r->cmd.done = own_disk_loaded;
    reload_submit(r);
}

/* A reconfiguration has said who leads. If that comes to nothing there is an election after all. */
static bool follow_appointed(struct quorum *q) {
    int64_t sid = q->appointed;
    q->appointed = -1;
    if (sid == -1 || qconfig_voter_bit(q->committed, sid) == 0 || (sid == q->sid && quorum_untrusted(q)))
        return false;
    struct vote v = {.leader = sid,
                     .zxid = q->s->last_applied,
                     .election_epoch = election_clock(q->election),
                     .peer_epoch = q->epochs.current};
    enum peer_state state = sid == q->sid ? PEER_LEADING : quorum_observer(q) ? PEER_OBSERVING : PEER_FOLLOWING;
    log_info("server %" PRId64 " leads, says the new configuration", sid);
    election_serving(q->election, state, &v);
    decided(q, state, &v);
    return true;
}

static void look(struct quorum *q) {
    struct server *s = q->s;
    if (s->orders_pending != 0 || q->reload != NULL || !server_settle(s) || mono_diff_us(q->look_at, s->now.mono) > 0)
        return;
    if (q->mark_due) {
        q->mark_due = false;
        order_marking(q, run_mark);
        return;
    }
    if (s->unlogged && !keeps_no_log(q)) {
        back_to_own_disk(q);
        return;
    }
    if (quorum_observer(q) != q->election_observes) {
        mesh_free(q->mesh);
        election_free(q->election);
        start_election(q);
        use_configs(q);
    }
    q->phase = QUORUM_LOOKING;
    q->looking_since = s->now.mono;
    if (follow_appointed(q))
        return;
    metric_count(&s->metrics, METRIC_LOOKING_COUNT, 1);
    log_info("looking for a leader, at 0x%" PRIx64 " of epoch %" PRId64, (uint64_t)s->last_applied, q->epochs.current);
    begin_round(q);
}

static void take_role(struct quorum *q) {
    struct metrics *metrics = &q->s->metrics;
    q->decided = false;
    q->s->logless = keeps_no_log(q);
    metric_sample(metrics, METRIC_ELECTION_TIME, (uint64_t)mono_diff_us(q->s->now.mono, q->looking_since) / 1000);
    if (q->decided_state == PEER_LEADING) {
        q->phase = QUORUM_LEADING;
        log_info("elected");
        leader_new(q);
    } else {
        q->phase = QUORUM_LEARNING;
        mark_if_needed(q);
        log_info("%s %" PRId64, q->decided_state == PEER_OBSERVING ? "observing" : "following", q->leader_sid);
        learner_new(q, q->leader_sid);
    }
}

void quorum_turn(struct quorum *q) {
    struct server *s = q->s;
    if (s->state == SERVER_STOPPING || s->state == SERVER_FAILED)
        return;
    reload_again(q);
    write_config_again(q);
    mesh_tick(q->mesh, s->now);
    election_tick(q->election, s->now);
    if (q->leader != NULL && !q->leaving)
        leader_turn(q->leader);
    if (q->learner != NULL && !q->leaving)
        learner_turn(q->learner);
    if (q->heard != NULL)
        adopt_heard(q);
    if (q->leaving)
        leave_role(q);
    if (q->phase == QUORUM_SETTLING)
        look(q);
    if (q->phase == QUORUM_LOOKING && q->decided)
        take_role(q);
}

struct monotime quorum_next_wake(const struct quorum *q) {
    if (q->s->state == SERVER_STOPPING || q->s->state == SERVER_FAILED)
        return (struct monotime){INT64_MAX};
    struct monotime wake = mesh_deadline(q->mesh);
    wake.us = i64_min(wake.us, election_deadline(q->election).us);
    if (q->reload != NULL)
        wake.us = i64_min(wake.us, q->reload_at.us);
    if (q->config_due)
        wake.us = i64_min(wake.us, q->config_at.us);
    if (q->leaving || q->decided)
        wake.us = i64_min(wake.us, q->s->now.mono.us + 1000);
    else if (q->phase == QUORUM_SETTLING)
        wake.us = i64_min(wake.us, i64_max(q->look_at.us, q->s->now.mono.us + 1000));
    if (q->leader != NULL)
        wake.us = i64_min(wake.us, leader_next_wake(q->leader).us);
    if (q->learner != NULL)
        wake.us = i64_min(wake.us, learner_next_wake(q->learner).us);
    return wake;
}

void quorum_set_now(struct quorum *q, struct now now) {
    q->s->now = now;
    mesh_set_now(q->mesh, now);
}

void quorum_accepted(struct quorum *q, enum link_port port, struct link *l) {
    if (port == LINK_ELECTION)
        mesh_accepted(q->mesh, l, q->s->now);
    else if (q->leader != NULL && !q->leaving)
        leader_accepted(q->leader, l);
    else
        q->links->close(q->links_ctx, l);
}

/* ------------------------------------------------------------------ life */

struct quorum *quorum_new(struct server *s, struct qconfig *config, int64_t sid, const struct link_ops *links,
                          void *links_ctx, char *error, size_t error_size) {
    struct epochs epochs;
    if (qconfig_find(config, sid) == NULL) {
        snprintf(error, error_size, "server %" PRId64 " is not listed", sid);
        return NULL;
    }
    if (epochs_read(s->env.disk, s->last_applied, &epochs, error, error_size) != 0)
        return NULL;
    struct quorum *q = mem_calloc(1, sizeof *q);
    q->s = s;
    q->sid = sid;
    q->own = qconfig_ref(config);
    load_config(s, &config);
    q->committed = config;
    q->last_seen = qconfig_ref(config);
    q->links = links;
    q->links_ctx = links_ctx;
    q->epochs = epochs;
    q->leader_sid = q->silent_sid = q->appointed = -1;
    q->unavailable_since = s->now.mono;
    q->phase = QUORUM_SETTLING;
    q->no_history = s->last_applied == 0 && epochs.accepted == 0;
    q->marked = q->mark_written = store_is_marked(s->env.disk);
    s->quorum = q;
    start_election(q);
    quorum_reload_config(q);
    return q;
}

void quorum_free(struct quorum *q) {
    if (q == NULL)
        return;
    if (q->leader != NULL)
        leader_free(q->leader);
    if (q->learner != NULL)
        learner_free(q->learner);
    q->leader = NULL;
    q->learner = NULL;
    mem_free(q->reload);
    mesh_free(q->mesh);
    election_free(q->election);
    buf_free(&q->config_text);
    qconfig_unref(q->committed);
    qconfig_unref(q->last_seen);
    qconfig_unref(q->own);
    qconfig_unref(q->heard);
    q->s->quorum = NULL;
    mem_free(q);
}

void quorum_view(const struct quorum *q, struct quorum_view *v) {
    *v = (struct quorum_view){.state = "looking",
                              .epoch = q->epochs.current,
                              .leader = q->leader_sid,
                              .observes = quorum_observer(q),
                              .voters = q->committed->voter_count};
    if (q->leader != NULL) {
        v->state = "leading";
        leader_view(q->leader, v);
    } else if (q->learner != NULL) {
        v->state = v->observes ? "observing" : "following";
        v->phase = learner_phase(q->learner);
    }
}

void quorum_each_learner(const struct quorum *q, quorum_visit *visit, void *ctx) {
    if (q->leader != NULL)
        leader_each_learner(q->leader, visit, ctx);
}
