/* A long answer to a four-letter word, as net/ takes it from admin/: made piece by piece, so that nobody waits for the whole
 * of it. Whoever makes one embeds this struct. */
#ifndef ZABRA_NET_ANSWER_H
#define ZABRA_NET_ANSWER_H

#include "server/server.h"

struct answer {
    /* Appends what comes next, until the answer ends (then true), out is max bytes long or a little more, or *looks is used
     * up. One is taken off it for each connection, session or znode that is looked at. */
    bool (*next)(struct answer *a, struct buf *out, size_t max, int *looks);
    void (*free)(struct answer *a);
    size_t held_bytes; /* text that is kept for later pieces */
};

/* Answers a word: appends the text and returns NULL, or returns a long answer that is still to be given. mask: of stmk. */
typedef struct answer *word_answer(struct server *s, const char *word, int64_t mask, struct buf *out);

#endif
