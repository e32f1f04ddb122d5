/* The configuration of an ensemble: its members, who votes, and what is a quorum.
 * Text form: docs/protocol/zab.md section 17.1. Immutable once made, shared by reference count. */
#ifndef ZABRA_QUORUM_QCONFIG_H
#define ZABRA_QUORUM_QCONFIG_H

#include "base/buf.h"
#include "base/strutil.h"
#include "base/types.h"

/* A set of voters is a bit mask over their positions in the configuration. */
#define QUORUM_VOTERS_MAX 64
/* A sid is the upper byte of the session ids that its server hands out. */
#define QUORUM_SID_MAX 255
#define QUORUM_ADDRESSES_MAX 16
#define QUORUM_TEXT_BYTES_MAX ((size_t)1 << 20)
/* Enough for every message of this module, with its closing NUL. */
#define QCONFIG_ERROR_BYTES 512

struct qaddress {
    char *host; /* as written, without brackets */
    int quorum_port, election_port;
};

struct qserver {
    int64_t sid;
    bool observer;
    struct qaddress *addresses; /* at least one; in ascending order, so that equal sets are equal arrays */
    int address_count;
    char *client_host; /* without brackets; NULL: none was given; "0.0.0.0" if only a port was */
    int client_port;   /* 0: none was given */
    int group;         /* index into groups, -1 = none: a majority configuration, or an observer */
    int64_t weight;    /* 1 if not given */
    int voter;         /* position among the voters, -1 = observer */
};

struct qgroup {
    int64_t id;
    int64_t weight;  /* sum of its members'; 0: the group does not count */
    uint64_t voters; /* mask */
};

struct qconfig {
    unsigned refs;
    int64_t version;
    struct qserver *servers; /* ascending by sid */
    int server_count, voter_count;
    struct qgroup *groups; /* ascending by id; none: majority */
    int group_count;
};

/* Parses the text form; version absent = 0. Lines of other keys, duplicates and contradictions are refused, and so are
 * configurations without a voter. single_allowed (standaloneEnabled is false): one voter is enough, with or without
 * observers; otherwise there must be two. Returns a configuration with one reference, or NULL with the reason in error.
 * Two servers with one address are not refused: a dead member may still be listed beside its successor. */
struct qconfig *qconfig_parse(struct slice text, bool single_allowed, char *error, size_t error_size);
struct qconfig *qconfig_ref(struct qconfig *c);
void qconfig_unref(struct qconfig *c); /* NULL allowed */
/* A copy with another version. */
struct qconfig *qconfig_with_version(const struct qconfig *c, int64_t version);
/* Appends the text form: servers ascending, the role always, the client address if it was given; groups and weights;
 * version in hex last, without a newline behind it. qconfig_parse gives an equal configuration back. */
void qconfig_text(const struct qconfig *c, struct buf *out);
/* ZooKeeper's notion: both or none hierarchical, and then equal versions, or the same members with the same roles and
 * addresses (and groups and weights). */
bool qconfig_equal(const struct qconfig *a, const struct qconfig *b);

/* NULL if there is no such member. */
const struct qserver *qconfig_find(const struct qconfig *c, int64_t sid);
/* The bit of a voter, 0 for all others. */
uint64_t qconfig_voter_bit(const struct qconfig *c, int64_t sid);
/* Bits that belong to no voter are ignored. */
bool qconfig_is_quorum(const struct qconfig *c, uint64_t voters);
/* 1 for a majority configuration's members, 0 for unknown ones. */
int64_t qconfig_weight(const struct qconfig *c, int64_t sid);

/* -------- line by line -------- */

/* For those whose lines have places of their own, such as zoo.cfg: add them in any order, then finish. */
struct qconfig_draft;

struct qconfig_draft *qconfig_draft_new(void);
void qconfig_draft_free(struct qconfig_draft *d); /* NULL allowed */
/* Adds server.N, group.N, weight.N or version. A value that is refused leaves no trace. */
bool qconfig_draft_add(struct qconfig_draft *d, struct slice key, struct slice value, char *error, size_t error_size);
/* The server of the line that was added last, for questions about just that line; until the next call. */
const struct qserver *qconfig_draft_last(const struct qconfig_draft *d);
/* How many voters and observers have been added. */
void qconfig_draft_count(const struct qconfig_draft *d, int *voters, int *observers);
/* Checks the lines against each other and makes the configuration of them; frees the draft. NULL as qconfig_parse. */
struct qconfig *qconfig_draft_finish(struct qconfig_draft *d, bool single_allowed, char *error, size_t error_size);

#endif
