/* The answers of the four-letter words: plain text in exactly ZooKeeper's shapes, because scripts and monitoring take them
 * apart. Which words may be asked is decided before (net/words.c). See docs/compatibility.md. */
#ifndef ZABRA_ADMIN_WORDS_H
#define ZABRA_ADMIN_WORDS_H

#include "net/answer.h"

/* Appends the answer to out and returns NULL, or returns an answer that is to be given piece by piece: cons, stat, dump.
 * word: one of ZooKeeper's words (an unknown one answers nothing). mask: the argument of stmk.
 *
 * wchs, wchc and wchp are built at once and take time in proportion to the watches, which is why the default whitelist
 * leaves them out. */
struct answer *admin_word(struct server *s, const char *word, int64_t mask, struct buf *out);

#endif
