/* The configuration of an ensemble: its members, who votes, and what is a quorum.
 * Text form: docs/protocol/zab.md section 17.1. Immutable once made, shared by reference count. */
#ifndef ZABRA_QUORUM_QCONFIG_H
#define ZABRA_QUORUM_QCONFIG_H

#include "base/buf.h"
#include "base/strutil.h"
#include "base/types.h"

/* A set of voters is a bit mask over their positions in the configuration. */
#define QUORUM_VOTERS_MAX 64

struct qaddress {
    char *host; /* as written, without brackets */
    int quorum_port, election_port;
};

struct qserver {
    int64_t sid;
    bool observer;
    struct qaddress *addresses; /* at least one */
    int address_count;
    char *client_host;   /* NULL: none was given */
    int client_port;     /* 0: none was given */
    int64_t group;       /* 0 = none, hierarchical only */
    int64_t weight;      /* 1 if not given */
    int voter;           /* position among the voters, -1 = observer */
};

struct qgroup {
    int64_t id;
    int64_t weight;   /* sum of its members' */
    uint64_t voters;  /* mask */
};

struct qconfig {
    unsigned refs;
    int64_t version;
    struct qserver *servers; /* ascending by sid */
    int server_count, voter_count;
    struct qgroup *groups; /* none: majority */
    int group_count;
};

/* Parses the text form; version absent = 0. single_allowed: a configuration with fewer than two voters is not refused (with
 * observers it still is). Returns a configuration with one reference, or NULL with the reason in error. */
struct qconfig *qconfig_parse(struct slice text, bool single_allowed, char *error, size_t error_size);
struct qconfig *qconfig_ref(struct qconfig *c);
void qconfig_unref(struct qconfig *c); /* NULL allowed */
/* A copy with another version. */
struct qconfig *qconfig_with_version(const struct qconfig *c, int64_t version);
/* Appends the text form: servers ascending, the role always, the client address if it was given; groups and weights;
 * version in hex last, without a newline behind it. */
void qconfig_text(const struct qconfig *c, struct buf *out);
/* ZooKeeper's notion: equal versions, or the same members with the same roles and addresses (and groups and weights). */
bool qconfig_equal(const struct qconfig *a, const struct qconfig *b);

/* NULL if there is no such member. */
const struct qserver *qconfig_find(const struct qconfig *c, int64_t sid);
/* The bit of a voter, 0 for all others. */
uint64_t qconfig_voter_bit(const struct qconfig *c, int64_t sid);
bool qconfig_is_quorum(const struct qconfig *c, uint64_t voters);
/* 1 for a majority configuration's members, 0 for unknown ones. */
int64_t qconfig_weight(const struct qconfig *c, int64_t sid);

#endif
