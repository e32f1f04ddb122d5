/* Looks up host names in the background.
 *
 * getaddrinfo does it, so that a name means here what it means to every other program of the machine (nsswitch.conf, hosts,
 * search domains, all reread when they change). It can take half a minute when no name server answers: so a look-up has a thread
 * of its own, for neither snapshots nor the end of the program are to wait for it. Each name is looked up by one thread at most,
 * however many ask. The addresses found last are kept for the time when the name servers are gone. */
#ifndef ZABRA_BIO_NAMES_H
#define ZABRA_BIO_NAMES_H

#include <sys/socket.h>

#include "base/list.h"

#define NAMES_ADDRESSES_MAX 8

struct names;

struct names_address {
    struct sockaddr_storage sa; /* the port is 0 */
    socklen_t len;
};

/* Looks up one name; called on a thread of its own. Fills in up to NAMES_ADDRESSES_MAX addresses and returns their number, or 0
 * with the reason in *error (a constant text). */
typedef int names_function(const char *host, struct names_address *out, const char **error);

/* Someone who waits for an answer; embedded in a struct of his. */
struct names_waiter {
    struct list link; /* private */
    /* error NULL: these are the addresses. Otherwise why there is no answer, and the addresses found last time, if any. May ask
     * again and forget any waiter. */
    void (*done)(struct names_waiter *w, const struct names_address *addresses, int count, const char *error);
};

/* lookup NULL: the system's. NULL and errno set if there is no descriptor left. */
struct names *names_new(names_function *lookup);
/* Does not wait for look-ups under way. Nobody may be waiting any more. */
void names_free(struct names *n);

/* Asks for the addresses of a name. The answer comes out of names_collect. w->done is set by the caller. */
void names_ask(struct names *n, const char *host, struct names_waiter *w);
/* No answer will come. Does no harm to one that has been answered, but the waiter must have asked once. */
void names_forget(struct names_waiter *w);
/* The addresses found by the last successful look-up, NULL if there was none. Valid until the next call of names_ask or
 * names_collect. */
const struct names_address *names_known(struct names *n, const char *host, int *count);
/* The address that a text means by itself, without a look-up: IPv4 or IPv6. False if it is none. */
bool names_numeric(const char *text, struct names_address *out);

/* Readable when there are answers. */
int names_fd(const struct names *n);
/* Hands them out. */
void names_collect(struct names *n);

#endif
