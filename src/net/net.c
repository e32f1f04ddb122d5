/* The loop. Each turn: wait for events (not at all if work is left over), run their callbacks, go on with clients that
 * have something left, let the core do its due work, hand the batch to the log, go on with long answers, send what there is.
 * The batch goes before the sending, so that the disk is busy meanwhile. */
#include "net/net.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/client.h"
#include "quorum/quorum.h"
#include "net/listener.h"
#include "net/peers.h"
#include "net/words.h"

#define SWEEP_INTERVAL_MS 500
#define SWEEP_CLIENTS 5000
#define STOP_LIMIT_MS 8000
/* Connections that are sent to, or closed, in one turn. */
#define SETTLED_PER_TURN 512
#define CLOSE_WORK 4 /* in sends */
#define MANY_SENDS 32 /* up to here a connection was mostly in use just now */

static struct monotime mono_now(void) {
    struct timespec mono;
    clock_gettime(CLOCK_MONOTONIC, &mono);
    return (struct monotime){(int64_t)mono.tv_sec * 1000000 + mono.tv_nsec / 1000};
}

struct now net_now(void) {
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    return (struct now){.mono = mono_now(), .wall_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000};
}

struct now net_turn_now(struct net *net) {
    if (net->turn_now.mono.us == 0)
        net->turn_now = net_now();
    return net->turn_now;
}

#define WORK_PER_TURN 4096
#define CALLBACK_WORK 16

void net_worked(struct net *net, unsigned units) {
    net->turn_work += CALLBACK_WORK + units;
    if (net->turn_work >= WORK_PER_TURN)
        event_base_loopbreak(net->base);
}

/* A turn begins no more long frames after this time. */
#define LONG_FRAMES_US 1000

static bool long_frames_over(struct net *net) {
    return net->long_frames > 0 && mono_diff_us(mono_now(), net_turn_now(net).mono) > LONG_FRAMES_US;
}

bool net_takes_long(struct net *net, const struct client *c) {
    if ((net->served != c && !list_empty(&net->waiting)) || long_frames_over(net))
        return false;
    net->long_frames++;
    return true;
}

static void on_bio(evutil_socket_t fd, short what, void *ctx) {
    struct net *net = ctx;
    struct list cmds, jobs;
    struct now now = net_turn_now(net);
    (void)fd;
    (void)what;
    list_init(&cmds);
    list_init(&jobs);
    bio_collect(net->bio, &cmds, &jobs);
    while (!list_empty(&cmds)) {
        struct log_cmd *cmd = LIST_FIRST(&cmds, struct log_cmd, link);
        list_remove(&cmd->link);
        server_log_done(net->server, cmd, now);
    }
    while (!list_empty(&jobs)) {
        struct job *job = LIST_FIRST(&jobs, struct job, link);
        list_remove(&job->link);
        job->done(job);
    }
}

static void on_timer(evutil_socket_t fd, short what, void *ctx) {
    struct net *net = ctx;
    (void)fd;
    (void)what;
    net->timer_at.us = 0;
}

struct net *net_new(struct server *server, struct bio *bio, struct config *config, word_answer *answer_word) {
    struct net *net = mem_calloc(1, sizeof *net);
    struct event_config *ec = event_config_new();
    net->server = server;
    net->bio = bio;
    net->config = config;
    net->answer_word = answer_word;
    list_init(&net->clients);
    list_init(&net->ready);
    list_init(&net->waiting);
    list_init(&net->unsettled);
    list_init(&net->words);
    if (ec != NULL) {
        event_config_set_flag(ec, EVENT_BASE_FLAG_NOLOCK);
        net->base = event_base_new_with_config(ec);
        event_config_free(ec);
    }
    if (net->base == NULL) {
        mem_free(net);
        return NULL;
    }
    net->bio_event = event_new(net->base, bio_fd(bio), EV_READ | EV_PERSIST, on_bio, net);
    net->timer = evtimer_new(net->base, on_timer, net);
    event_add(net->bio_event, NULL);
    return net;
}

void net_free(struct net *net) {
    struct client *c;
    struct now now = net_now();
    listeners_close(net);
    LIST_FOREACH(c, &net->clients, struct client, link)
        client_close(c, now);
    if (net->peers != NULL)
        peers_free(net->peers);
    event_free(net->bio_event);
    event_free(net->timer);
    event_base_free(net->base);
    hmap_free(&net->addresses);
    mem_free(net);
}

void net_stop(struct net *net) {
    struct now now = net_now();
    if (net->stop_asked)
        return;
    net->stop_asked = true;
    net->stop_deadline = mono_add_ms(now.mono, STOP_LIMIT_MS);
    listeners_close(net);
    server_stop(net->server, now);
}

/* ------------------------------------------------------------------ turns */

/* Each client once; what becomes ready meanwhile waits for the next turn. */
static void continue_ready(struct net *net, struct now now) {
    struct list ready;
    list_init(&ready);
    list_append(&ready, &net->ready);
    while (!list_empty(&ready)) {
        struct client *c = LIST_FIRST(&ready, struct client, ready_link);
        list_remove(&c->ready_link);
        client_continue(c, now);
    }
}

/* Long frames that had to wait, as far as the time of the turn goes, and one in any case. */
static void continue_waiting(struct net *net, struct now now) {
    while (!list_empty(&net->waiting) && !long_frames_over(net)) {
        struct client *c = LIST_FIRST(&net->waiting, struct client, ready_link);
        list_remove(&c->ready_link);
        net->served = c;
        client_continue(c, now);
        net->served = NULL;
    }
}

/* Sends and closes until the list is empty or the limit is reached; returns what was done. */
static unsigned settle_some(struct list *dirty, unsigned limit, struct now now) {
    unsigned work = 0;
    while (!list_empty(dirty) && work < limit) {
        struct conn *conn = LIST_FIRST(dirty, struct conn, dirty_link);
        /* What the next ones need is fetched ahead. The list's head is in no connection, but fetching does no harm. */
        if (work >= MANY_SENDS) {
            const struct list *second = conn->dirty_link.next;
            const struct conn *next = CONTAINER_OF(second, struct conn, dirty_link);
            const struct conn *later = CONTAINER_OF(second->next, struct conn, dirty_link);
            if (second != dirty) {
                const struct client *c = next->shell;
                __builtin_prefetch(&c->fd);
                __builtin_prefetch(&c->in);
                __builtin_prefetch(next->out.data);
            }
            __builtin_prefetch(&later->shell);
            __builtin_prefetch(&later->close);
        }
        work += conn->close != CONN_OPEN ? CLOSE_WORK : 1;
        list_remove(&conn->dirty_link);
        client_settle(client_of(conn), now);
    }
    return work;
}

/* Sends and closes. What is too much for one turn, an event for thousands, waits in net->unsettled, and later replies pass
 * it. True if there is some. */
static bool settle_dirty(struct net *net, struct now now) {
    struct list *dirty = &net->server->dirty;
    unsigned work = settle_some(dirty, SETTLED_PER_TURN, now);
    settle_some(&net->unsettled, work < SETTLED_PER_TURN / 2 ? SETTLED_PER_TURN - work : SETTLED_PER_TURN / 2, now);
    list_append(&net->unsettled, dirty);
    return !list_empty(&net->unsettled);
}

/* A share of the clients each time, in rotation. */
static void sweep(struct net *net, struct now now) {
    if (mono_diff_us(net->next_sweep, now.mono) > 0)
        return;
    net->next_sweep = mono_add_ms(now.mono, SWEEP_INTERVAL_MS);
    for (uint64_t i = size_min(net->server->conn_count, SWEEP_CLIENTS); i > 0 && !list_empty(&net->clients); i--) {
        struct client *c = LIST_FIRST(&net->clients, struct client, link);
        list_remove(&c->link);
        list_push(&net->clients, &c->link);
        client_sweep(c, now);
    }
}

static void arm_timer(struct net *net, struct monotime wake, struct now now) {
    /* An earlier alarm than needed does no harm: it is left as it is. */
    if (net->timer_at.us != 0 && net->timer_at.us <= wake.us)
        return;
    int64_t us = i64_max(0, mono_diff_us(wake, now.mono));
    struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};
    net->timer_at = wake;
    evtimer_add(net->timer, &tv);
}

/* When time is up nobody outside is waited for any more, nor is what is not logged yet. What other threads do for the server
 * is: somebody has to take it back, and ending them takes as long. */
static bool stopped(struct net *net, struct now now) {
    struct server *s = net->server;
    if (net->stop_asked && !net->stop_late && mono_diff_us(now.mono, net->stop_deadline) > 0) {
        net->stop_late = true;
        log_warn("stopping takes too long: connections and what is not logged are given up");
        server_hurry(s);
    }
    if (s->state == SERVER_FAILED)
        return server_idle(s);
    if (!net->stop_asked)
        return false;
    return net->stop_late ? server_at_rest(s) : server_idle(s) && list_empty(&net->clients);
}

int net_run(struct net *net) {
    struct server *s = net->server;
    int flags = EVLOOP_ONCE | EVLOOP_NONBLOCK;
    for (;;) {
        net->turn_now.mono.us = 0;
        net->turn_work = net->long_frames = 0;
        event_base_loop(net->base, flags);
        struct monotime begin = net_turn_now(net).mono;
        struct now now = net_now();
        continue_ready(net, now);
        continue_waiting(net, now);
        server_turn_begin(s, now);
        if (s->quorum != NULL)
            quorum_turn(s->quorum);
        server_turn_end(s, now);
        if (net->peers != NULL)
            peers_flush(net->peers);
        words_turn(net);
        bool more = settle_dirty(net, now);
        sweep(net, now);
        if (s->state == SERVER_FAILED && !net->stop_asked)
            net_stop(net);
        now.mono = mono_now();
        metrics_turn(&s->metrics, (uint64_t)mono_diff_us(now.mono, begin));
        if (stopped(net, now))
            break;
        struct monotime wake = server_next_wake(s);
        if (s->quorum != NULL)
            wake.us = i64_min(wake.us, quorum_next_wake(s->quorum).us);
        if (more || !list_empty(&net->ready) || !list_empty(&net->waiting) || !list_empty(&s->dirty) ||
            words_waiting(net) || wake.us <= now.mono.us) {
            flags = EVLOOP_ONCE | EVLOOP_NONBLOCK;
        } else {
            flags = EVLOOP_ONCE;
            arm_timer(net, wake, now);
        }
    }
    return s->state == SERVER_FAILED ? -1 : 0;
}
