/* The last committed transactions, kept so that a learner that was away for a while can be given what it missed.
 * Without gaps within an epoch, ascending. */
#ifndef ZABRA_SERVER_HISTORY_H
#define ZABRA_SERVER_HISTORY_H

#include "base/strutil.h"
#include "base/types.h"

/* As ZooKeeper's committedLog. */
#define HISTORY_MIN_COUNT 500

struct history;

/* Keeps as many of the newest as fit into max_bytes, and never fewer than min_count. */
struct history *history_new(size_t max_bytes, size_t min_count);
void history_free(struct history *h); /* NULL allowed */
void history_clear(struct history *h);
/* Copies the payload. One that is already there, or older, is ignored; a gap within an epoch makes all before it go. */
void history_append(struct history *h, zxid_t zxid, struct slice payload);
size_t history_count(const struct history *h);
/* The i-th, oldest first. The payload is valid until the next append or clear. */
zxid_t history_zxid(const struct history *h, size_t i);
struct slice history_payload(const struct history *h, size_t i);
/* The position of the first one with a larger zxid; the count if there is none. */
size_t history_after(const struct history *h, zxid_t zxid);
size_t history_bytes(const struct history *h);

/* How many ends of epochs are remembered, also when the transactions around them are not here any more. */
#define HISTORY_EPOCHS 64
/* The transaction that follows `last` is `next`, the first one of a later epoch. */
void history_note_epoch(struct history *h, zxid_t last, zxid_t next);
/* True if one was noted like this. Zxids alone do not tell whether something is missing between two epochs. */
bool history_epochs_meet(const struct history *h, zxid_t last, zxid_t next);

#endif
