/* The background threads: one log writer, which carries out the durable changes in order, and a small pool for the rest.
 *
 * The loop submits; completions gather in a list, and a file descriptor becomes readable once per gathering, so that a
 * batch of completions costs one wake-up. The threads touch nothing but the submitted command or job and the disk. */
#ifndef ZABRA_BIO_BIO_H
#define ZABRA_BIO_BIO_H

#include "server/env.h"

struct bio;

/* writer: used by the log thread only from now on. NULL and errno set if there is no descriptor left; a thread
 * that cannot be started ends the process. */
struct bio *bio_new(const struct disk *disk, struct logwriter *writer, int pool_threads);
/* Finishes everything that was submitted, then ends the threads. Completions that were not collected are dropped. */
void bio_free(struct bio *b);

void bio_submit_log(struct bio *b, struct log_cmd *cmd);
void bio_submit_job(struct bio *b, struct job *job);

/* Readable when there are completions. */
int bio_fd(const struct bio *b);
/* Moves all completions since the last call to the two lists (heads that the caller has initialised): log commands in the
 * order in which they were submitted. */
void bio_collect(struct bio *b, struct list *log_cmds, struct list *jobs);

#endif
