/* What servers say to each other on the election port. See docs/protocol/election.md sections 2.2, 2.5 and 5.
 *
 * Decoders take bytes from outside: they check everything and allocate nothing. Slices point into the input. */
#ifndef ZABRA_WIRE_ELECTION_H
#define ZABRA_WIRE_ELECTION_H

#include "base/types.h"
#include "wire/jute.h"

/* ---------------------------------------------------------------- the initial message */

#define HELLO_OLD INT64_C(0)       /* of our own making: no version was sent, the first number was the sid */
#define HELLO_V1 INT64_C(-65536)   /* one address */
#define HELLO_V2 INT64_C(-65535)   /* any number of them */
#define HELLO_TEXT_MAX 2048        /* bytes of addresses */
#define HELLO_HEADER_BYTES 20

struct hello_address {
    struct slice host; /* without brackets */
    int port;
};

struct hello {
    int64_t version;
    int64_t sid;       /* never negative */
    struct slice text; /* the addresses, all well-formed; null in an old peer's message */
};

enum hello_result { HELLO_INCOMPLETE, HELLO_COMPLETE, HELLO_MALFORMED };

/* Reads an initial message from the bytes that have arrived so far. Complete: h is filled and used has its length; what
 * follows are frames. Malformed: no further bytes can mend it, the connection is to be closed. */
enum hello_result hello_get(const uint8_t *data, size_t len, struct hello *h, size_t *used);
/* Takes the next address that can be dialled off the front of text (start with hello.text); false at the end. Those that
 * name no host in particular (0.0.0.0, ::) or port 0 are passed over. */
bool hello_next_address(struct slice *text, struct hello_address *a);
/* Appends a whole initial message; it has to leave in one piece. With HELLO_V1 only the first address is written, and the
 * version is one of the two. There is at least one; what would go beyond HELLO_TEXT_MAX is left out. */
void hello_put(struct buf *out, int64_t version, int64_t sid, const struct hello_address *addresses, int count);

/* ---------------------------------------------------------------- notifications */

#define NOTIFICATION_FRAME_MAX (512 * 1024) /* bytes behind the length */
#define NOTIFICATION_BYTES 44               /* without the configuration */
#define NOTIFICATION_VERSION 2              /* what we send */

/* As on the wire. */
enum peer_state { PEER_LOOKING = 0, PEER_FOLLOWING = 1, PEER_LEADING = 2, PEER_OBSERVING = 3 };

struct notification {
    int32_t state; /* enum peer_state if the sender is sane; not checked by the decoder */
    int64_t leader;
    zxid_t zxid;
    int64_t election_epoch;
    int64_t peer_epoch;
    int32_t version;     /* 0: none was sent */
    struct slice config; /* null below version 2 */
};

/* Decodes the content of a frame, all historic lengths. False: it is to be ignored, the connection stays. */
bool notification_get(const void *data, size_t len, struct notification *n);
/* Appends the content of a frame, always with NOTIFICATION_VERSION. A null configuration is sent as an empty one. */
void notification_put(struct buf *out, const struct notification *n);

#endif
