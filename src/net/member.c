#include "net/member.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "net/peers.h"
#include "quorum/quorum.h"

struct member {
    struct net *net;
    struct peers *peers;
    struct quorum *quorum;
};

static void accepted(void *ctx, enum link_port port, struct link *l) {
    struct member *m = ctx;
    quorum_accepted(m->quorum, port, l);
}

static void gave_up(void *ctx, const char *reason) {
    struct member *m = ctx;
    server_fail(m->net->server, "the election port cannot be opened: %s; giving up after %d attempts (electionPortBindRetry)",
                reason, m->net->config->election_bind_retries);
    m->net->exit_status = NET_EXIT_ELECTION_PORT;
}

static void before_event(void *ctx) {
    struct member *m = ctx;
    quorum_set_now(m->quorum, net_turn_now(m->net));
}

/* Where the others connect to. */
static void set_addresses(struct member *m, const struct qserver *self) {
    struct link_address *list = mem_calloc((size_t)self->address_count, sizeof *list);
    for (int port = LINK_ELECTION; port <= LINK_QUORUM; port++) {
        for (int i = 0; i < self->address_count; i++) {
            const struct qaddress *a = &self->addresses[i];
            list[i] = (struct link_address){a->host, port == LINK_QUORUM ? a->quorum_port : a->election_port};
        }
        peers_set_addresses(m->peers, (enum link_port)port, list, self->address_count,
                            m->net->config->quorum_listen_on_all_ips);
    }
    mem_free(list);
}

struct member *member_new(struct net *net, struct qconfig *config, int64_t sid, char *error, size_t error_size) {
    const struct qserver *self = qconfig_find(config, sid);
    struct member *m = mem_calloc(1, sizeof *m);
    m->net = net;
    m->peers = peers_new(net->base, NULL, accepted, m);
    if (self == NULL || m->peers == NULL) {
        snprintf(error, error_size, "%s", self == NULL ? "myid names no server of the configuration" : strerror(errno));
        qconfig_unref(config);
        member_free(m);
        return NULL;
    }
    set_addresses(m, self);
    peers_limit_attempts(m->peers, LINK_ELECTION, net->config->election_bind_retries, gave_up);
    m->quorum = quorum_new(net->server, config, sid, &peers_link_ops, m->peers, error, error_size);
    if (m->quorum == NULL) {
        qconfig_unref(config);
        member_free(m);
        return NULL;
    }
    peers_before_events(m->peers, before_event);
    return m;
}

void member_free(struct member *m) {
    if (m == NULL)
        return;
    quorum_free(m->quorum);
    if (m->peers != NULL)
        peers_free(m->peers);
    mem_free(m);
}
