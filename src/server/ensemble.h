/* What an ensemble asks of the server core: serving in a role, leaving it, and another database in the place of this one. */
#ifndef ZABRA_SERVER_ENSEMBLE_H
#define ZABRA_SERVER_ENSEMBLE_H

#include "server/server.h"

/* Starts as a member: clients are refused until server_serve. 0 or a negative errno. */
int server_start_member(struct server *s, struct now now);
/* Begins to serve clients in this role; each session gets its full timeout again. */
void server_serve(struct server *s, const struct role_ops *role);
/* Takes part without serving clients yet. */
void server_take_role(struct server *s, const struct role_ops *role);
/* Ends service: all client connections close, nothing is prepared any more. What is on its way to the log goes on. May be
 * called from inside of role->proposed. */
void server_leave(struct server *s);
/* Once all that was on its way is in the log, it is applied: then the tree is what a restart would load. True when nothing
 * is under way any more; called again and again until then. */
bool server_settle(struct server *s);

/* Another database: what a rewind or a snapshot from the leader leads to. Made where the FIFO is carried out (it blocks),
 * swapped in by the loop. */
struct reload {
    struct log_cmd cmd;  /* done is the owner's */
    struct server *s;    /* whose configuration and disk it has; nothing else of it is looked at on the way */
    uint64_t seed;
    struct now now;
    zxid_t zxid;         /* where the history is to end */
    char tmp_name[STORE_NAME_MAX]; /* a finished snapshot that takes the place of the history; "": only rewind */
    struct server *loaded;         /* result */
    struct recovery_result result;
};
/* Orders it. Nothing may be on its way to the log. */
void reload_submit(struct reload *r);
/* Puts the loaded database in the place of the present one, which is freed by a job. All clients must be gone. */
void reload_swap(struct reload *r);
/* True if no client connection has a session or watches any more, and no snapshot is being made. */
bool reload_possible(const struct server *s);
/* Frees what reload_swap has not taken. */
void reload_free(struct reload *r);

#endif
