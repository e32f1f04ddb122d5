/* Four-letter words: commands in place of the first frame. See docs/protocol/client-protocol.md section 2.1.
 *
 * An answer whose length depends on how many connections or sessions there are is given out over several turns, so that
 * nobody waits for it. */
#ifndef ZABRA_NET_WORDS_H
#define ZABRA_NET_WORDS_H

#include "net/client.h"

enum word_result {
    WORD_NONE,       /* these bytes are a frame length */
    WORD_INCOMPLETE, /* a word whose argument is still to come */
    WORD_DONE,       /* answered, or about to be; the connection closes after the answer */
};

/* Looks at the first bytes (at least 4) of a connection that has no session yet. */
enum word_result words_try(struct client *c, const uint8_t *data, size_t len);
/* Once per turn: goes on with the answers under way, a bounded piece for all of them together. */
void words_turn(struct net *net);
/* True if words_turn could do something right now. */
bool words_waiting(const struct net *net);
/* Gives up the rest of an answer, if one is under way. */
void words_end(struct client *c);
/* Bytes of text kept for the rest of it. */
size_t words_held_bytes(const struct client *c);

#endif
