/* Carries out the durable changes of one server, in the order in which they were ordered: one FIFO, one at a time.
 *
 * The commands are data; logwriter_execute does one over a struct disk and fills in its result. In the server it runs on
 * the log thread (bio/), in the simulator on the simulated disk, with a crash at any call. Any error of an append is fatal
 * for the server, except running out of space (docs/protocol/invariants.md). */
#ifndef ZABRA_STORE_LOGWRITER_H
#define ZABRA_STORE_LOGWRITER_H

#include "base/list.h"
#include "store/disk.h"
#include "store/names.h"

enum log_cmd_type {
    LOG_CMD_APPEND,  /* write entries to the current file (or a new one) and sync */
    LOG_CMD_PUBLISH, /* a finished snapshot gets its name: rename, directory sync */
    LOG_CMD_REMOVE,  /* delete files (retention), directory sync */
    LOG_CMD_ATOMIC,  /* write a small file atomically (epoch files) */
    LOG_CMD_CALL,    /* closes the current log, then calls run: it may change any file; the next APPEND must roll */
};

struct log_cmd {
    struct list link; /* for whoever queues it */
    enum log_cmd_type type;
    void (*done)(struct log_cmd *cmd); /* ATOMIC, CALL: told on completion */
    uint64_t generation; /* of the role that ordered it; a completion of a dead one is dropped */

    /* APPEND */
    bool roll;         /* start a new file, named by first_zxid, before writing */
    bool sparing;      /* space is short: reserve little ahead */
    zxid_t first_zxid, last_zxid;
    struct iovec *iov; /* owned by the issuer; neither side touches it (or its bytes) until completion */
    int iov_count;
    size_t bytes;

    /* PUBLISH: tmp_name -> name in DISK_SNAP. ATOMIC: name and content. REMOVE: names in dir, count of them. */
    enum disk_dir dir;
    char tmp_name[STORE_NAME_MAX], name[STORE_NAME_MAX];
    const void *content;
    size_t content_size;

    /* CALL: 0 or a negative errno; runs where the FIFO is carried out */
    int (*run)(struct log_cmd *cmd, const struct disk *d);
    char (*remove_names)[STORE_NAME_MAX];
    int remove_count;

    /* result */
    int err;               /* 0 or a negative errno; -ENOSPC only if nothing was done and it may be tried again */
    const char *err_what;  /* which step failed, a literal such as "fdatasync" */
    int64_t sync_us;       /* how long the sync of an APPEND took */
    int64_t file_size;     /* of the current log, padding included, after an APPEND */
    int64_t file_position; /* end of the written entries */
};

struct logwriter_options {
    int64_t prealloc_bytes; /* preAllocSize; <= 0 = none */
    bool force_sync;        /* forceSync */
    int64_t side_file_interval_us; /* how often the synced position is noted at the most */
};

struct logwriter;
struct logwriter *logwriter_new(const struct disk *d, const struct logwriter_options *options);
/* Closes the current file; on an orderly stop its unused blocks are given back and the synced position is noted first. */
void logwriter_free(struct logwriter *w, bool orderly);
/* Does the command and fills in its result. An APPEND that fails for lack of space leaves the file as it was before (cut
 * back to the last synced position), so that the same command may be executed again; after any other failure of an
 * APPEND all further ones fail. */
void logwriter_execute(struct logwriter *w, struct log_cmd *cmd);

/* The synced position as noted in the side file: every byte of log_zxid's file below offset, and every older file, was
 * synced; files newer than log_zxid were not written by this program. */
struct synced_position {
    bool known;
    zxid_t log_zxid;
    int64_t offset;
    zxid_t zxid;  /* all transactions up to it were synced, here or in an older log */
    bool orderly; /* noted by an orderly stop: there is nothing behind offset */
};
#define SIDE_FILE_NAME "zabra.synced"
/* Missing or damaged: known = false. Returns 0 or a negative errno for real I/O errors. */
int synced_position_read(const struct disk *d, struct synced_position *out);

#endif
