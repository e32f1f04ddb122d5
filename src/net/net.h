/* The world around one server: event loop, listeners, client connections, timers and signals on one libevent base. */
#ifndef ZABRA_NET_NET_H
#define ZABRA_NET_NET_H

#include <event2/event.h>

#include "base/list.h"
#include "bio/bio.h"
#include "net/answer.h"

#define NET_READ_BYTES (64 * 1024)

struct client;

/* Exit statuses besides those of main.c. */
#define NET_EXIT_ELECTION_PORT 14 /* as ZooKeeper */

struct net {
    struct event_base *base;
    struct server *server;
    struct bio *bio;
    struct config *config;
    word_answer *answer_word; /* given by main, so that net/ does not know admin/ */

    struct listener *listeners;
    int listener_count;
    struct hmap addresses; /* connections per client address */
    int client_descriptors; /* clients get descriptors below this one; 0 = any */
    uint64_t full_at;       /* connections when accepting paused */
    struct log_limit accept_limit;

    struct peers *peers; /* links with other servers; NULL in a standalone server. Freed by net_free */
    struct event *bio_event, *timer;
    struct monotime timer_at; /* when the timer fires; 0 = not armed */
    struct list clients;      /* struct client */
    struct list ready;        /* clients with input or output left over from the last turn */
    struct list waiting;      /* clients whose next frame is a long one, in the order of their turns */
    struct client *served;    /* the one of them that is being served, or NULL */
    unsigned long_frames;     /* processed in this turn */
    struct list unsettled;    /* struct conn: sends and closes that were too many for their turn */
    struct list words;        /* struct word: long answers under way */
    size_t word_count;
    struct monotime next_sweep;
    struct now turn_now;      /* read once per turn, at its first event; mono 0 = not yet */
    unsigned turn_work;       /* what this turn has done so far: see net_worked */
    bool stop_asked, stop_late; /* late: the deadline has passed */
    int exit_status; /* of the process, if the server has failed; 0 = the usual one */
    struct monotime stop_deadline;
    uint8_t read_buffer[NET_READ_BYTES];
};

/* Both clocks, read now. */
struct now net_now(void);
/* Both clocks as of the first event of this turn. */
struct now net_turn_now(struct net *net);

/* Tells of work done in a callback: one unit for a request, more for a long one. When a turn has done its share, the
 * callbacks that are left wait for the next one, so that replies do not wait for all of them. */
void net_worked(struct net *net, unsigned units);

/* Whether a client's next frame, a long one, may be processed now: long ones of many clients together must not make the short
 * ones of others wait. If not, the client belongs at the end of net->waiting. */
bool net_takes_long(struct net *net, const struct client *c);

/* listeners first, see listener.h. server and bio must outlive it. NULL if libevent cannot be set up. */
struct net *net_new(struct server *server, struct bio *bio, struct config *config, word_answer *answer_word);
void net_free(struct net *net);
/* Runs until the server has stopped. Returns 0 after an orderly stop, -1 if the server failed. */
int net_run(struct net *net);
/* Begins an orderly stop; net_run returns when it is done. */
void net_stop(struct net *net);

#endif
