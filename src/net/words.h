/* Four-letter words: commands in place of the first frame. See docs/protocol/client-protocol.md section 2.1. */
#ifndef ZABRA_NET_WORDS_H
#define ZABRA_NET_WORDS_H

#include "net/client.h"

enum word_result {
    WORD_NONE,       /* these bytes are a frame length */
    WORD_INCOMPLETE, /* a word whose argument is still to come */
    WORD_DONE,       /* answered; the connection closes after the answer */
};

/* Looks at the first bytes (at least 4) of a connection that has no session yet. */
enum word_result words_try(struct client *c, const uint8_t *data, size_t len);

#endif
