/* What a server orders from the world around it. Each function only enqueues and never calls back; what it leads to
 * arrives later as a call of a server_... function. The real world is bio/ and net/, the simulated one tests/sim.
 *
 * Output to connections needs no function: it stands in struct conn, and the connection is put on server.dirty. */
#ifndef ZABRA_SERVER_ENV_H
#define ZABRA_SERVER_ENV_H

#include "base/list.h"
#include "store/disk.h"
#include "store/logwriter.h"

/* A piece of background work. run is called on a pool thread and touches nothing but the job's own memory and the disk;
 * afterwards done is called on the loop. Embedded in the struct of its owner, who frees it in done. */
struct job {
    struct list link; /* for the queue */
    void (*run)(struct job *job, const struct disk *disk);
    void (*done)(struct job *job);
};

struct qconfig;

struct env {
    void *ctx;
    /* For jobs, and for the synchronous work before the server runs (recovery) and after it has stopped. */
    const struct disk *disk;
    bool same_dir; /* DISK_SNAP and DISK_LOG are one directory, whatever the configured paths look like */
    /* Appends to the one FIFO of durable changes; completion arrives as server_log_done, in order. */
    void (*log_submit)(void *ctx, struct log_cmd *cmd);
    /* Completion arrives as job->done; jobs may overtake each other. */
    void (*job_submit)(void *ctx, struct job *job);
    /* A configuration of the ensemble has become active. It is kept already; this is for the files that people read. NULL =
     * nobody wants to know. */
    void (*config_active)(void *ctx, const struct qconfig *c);
    /* One that is newer than that has been proposed; or (c NULL) none is any more. As above. */
    void (*config_proposed)(void *ctx, const struct qconfig *c);
};

#endif
