/* The answers of the four-letter words: plain text in exactly ZooKeeper's shapes, because scripts and monitoring take them
 * apart. Which words may be asked is decided before (net/words.c). See docs/compatibility.md. */
#ifndef ZABRA_ADMIN_WORDS_H
#define ZABRA_ADMIN_WORDS_H

#include "server/server.h"

/* Appends the answer to out. word: one of ZooKeeper's words (an unknown one answers nothing). mask: the argument of stmk.
 *
 * The text is built at once. cons, stat, dump, wchs, wchc and wchp take time in proportion to connections, sessions or
 * watches, which is why the default whitelist leaves all of them but stat out. */
void admin_word(struct server *s, const char *word, int64_t mask, struct buf *out);

#endif
