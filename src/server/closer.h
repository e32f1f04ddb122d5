/* The end of a session: the transaction that deletes its ephemerals, prepared in slices.
 *
 * While a session is closing nothing is prepared for it any more, but others may still change or delete what it owns. What a
 * slice has collected is therefore valid only as long as nobody touches a znode of the session; else the collection
 * starts over, and after a few times it is done in one go. See docs/protocol/operations.md section 13. */
#ifndef ZABRA_SERVER_CLOSER_H
#define ZABRA_SERVER_CLOSER_H

#include "server/changes.h"

/* Begins to prepare the closeSession of a session that is not closing yet; r is its request. A session with few ephemerals is
 * done when this returns, another one is left to closers_turn. */
void closer_start(struct server *s, struct request *r, struct session *session);
/* Goes on with the sessions that are closing, for a bounded number of znodes. */
void closers_turn(struct server *s);
/* True if closers_turn could do something right now. */
bool closers_have_work(const struct server *s);
/* Told by the pending changes: a view was replaced. */
void closers_note_change(struct server *s, const struct view *old, const struct view *new);
/* Forgets those that are not done; no connection may be left. */
void closers_free(struct server *s);

#endif
