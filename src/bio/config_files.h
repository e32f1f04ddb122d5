/* zoo.cfg and its dynamic files, rewritten in the background when another configuration of the ensemble becomes active: see
 * docs/protocol/zab.md section 17.7. What the server itself goes by is kept elsewhere; a file that cannot be written is told and
 * tried again with the next configuration. */
#ifndef ZABRA_BIO_CONFIG_FILES_H
#define ZABRA_BIO_CONFIG_FILES_H

#include "base/strutil.h"
#include "server/env.h"

struct config_files;

/* main_file: the configuration that was read. dynamic_file: the one that it names, or NULL. submit: where jobs go. */
struct config_files *config_files_new(const char *main_file, const char *dynamic_file,
                                      void (*submit)(void *ctx, struct job *job), void *ctx);
/* NULL allowed. Nobody may be at its job any more. */
void config_files_free(struct config_files *f);
/* members: the lines of the dynamic file. client_too: they tell this server's client address, so zoo.cfg need not. The newest call
 * wins. */
void config_files_update(struct config_files *f, struct slice members, int64_t version, bool client_too);
/* text: a configuration that was proposed, with its version; empty = none is under way. Until it is active it stands in a file of its
 * own. */
void config_files_propose(struct config_files *f, struct slice text);
/* Appends what stands in that file at a start, perhaps from another server; nothing if there is none. Blocking. */
void config_files_read_proposal(struct config_files *f, struct buf *out);

#endif
