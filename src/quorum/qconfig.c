/* See qconfig.h. A configuration comes from files, from other servers and from clients (reconfig), so nothing in its text
 * is believed: numbers have ranges, counts have bounds, and a sid is small enough to index a table. Messages that
 * ZooKeeper has as well begin with its words. */
#include "quorum/qconfig.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/log.h"
#include "base/mem.h"

#define HOST_BYTES_MAX 255
#define WEIGHT_MAX INT32_MAX

/* Lines so far. Servers stand in the order in which they came; groups and weights may come before their servers. */
struct qconfig_draft {
    struct qconfig *config;
    int position[QUORUM_SID_MAX + 1]; /* of a sid in config->servers, -1 = not there */
    int group[QUORUM_SID_MAX + 1];    /* index into config->groups, -1 = none */
    int64_t weight[QUORUM_SID_MAX + 1]; /* -1 = not given */
    bool hierarchical, has_version;
};

struct problem {
    char *text;
    size_t size;
};

#define SLICE_ARG(s) (int)size_min((s).len, 200), (s).data != NULL ? (s).data : ""

static bool refuse(const struct problem *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
static bool refuse(const struct problem *p, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    if (p->size != 0)
        vsnprintf(p->text, p->size, fmt, args);
    va_end(args);
    return false;
}

/* -------- one server line -------- */

static bool bad_shape(struct slice value, const struct problem *p) {
    return refuse(
        p,
        "%.*s does not have the form server_config or server_config;client_config where server_config is the pipe "
        "separated list of host:port:port or host:port:port:type and client_config is port or host:port",
        SLICE_ARG(value));
}

/* Takes the text up to a separator (or the end) off the front. False if there was no separator: it was the last part. */
static bool take_part(struct slice *text, char separator, struct slice *part) {
    const char *end = text->len != 0 ? memchr(text->data, separator, text->len) : NULL;
    if (end == NULL) {
        *part = *text;
        *text = SLICE_NULL;
        return false;
    }
    *part = (struct slice){text->data, (size_t)(end - text->data)};
    *text = (struct slice){end + 1, text->len - part->len - 1};
    return true;
}

static bool port_of(struct slice text, int *port) {
    int64_t v;
    if (!str_to_i64(text, &v) || v < 1 || v > 65535)
        return false;
    *port = (int)v;
    return true;
}

static bool host_fine(struct slice host) {
    if (host.len == 0 || host.len > HOST_BYTES_MAX || !str_utf8_valid((const uint8_t *)host.data, host.len))
        return false;
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.data[i];
        if (c <= ' ' || c == 0x7f || c == '[' || c == ']' || c == '=' || c == ',')
            return false;
    }
    return true;
}

/* Cuts host:a:b:c, whose host may be in brackets. Returns how many parts there are (max + 1: too many), or -1 if it is
 * refused. parts[0] is without brackets. */
static int split_host(struct slice value, struct slice text, struct slice *parts, int max, const struct problem *p) {
    int count = 0;
    bool more = true;
    if (text.len != 0 && text.data[0] == '[') {
        const char *close = memchr(text.data, ']', text.len);
        if (close == NULL) {
            refuse(p, "%.*s starts with '[' but has no matching ']:'", SLICE_ARG(text));
            return -1;
        }
        parts[count++] = (struct slice){text.data + 1, (size_t)(close - text.data) - 1};
        text = (struct slice){close + 1, text.len - (size_t)(close + 1 - text.data)};
        if (text.len == 0 || text.data[0] != ':') {
            bad_shape(value, p);
            return -1;
        }
        text = (struct slice){text.data + 1, text.len - 1};
    }
    while (more && count <= max) {
        struct slice part;
        more = take_part(&text, ':', &part);
        if (count < max)
            parts[count] = part;
        count++;
    }
    return count;
}

static bool role_of(struct slice text, bool *observer, const struct problem *p) {
    *observer = text.len == 8 && strncasecmp(text.data, "observer", 8) == 0;
    if (*observer || (text.len == 11 && strncasecmp(text.data, "participant", 11) == 0))
        return true;
    return refuse(p, "Unrecognised peertype: %.*s (participant and observer are allowed)", SLICE_ARG(text));
}

static char *slice_dup(struct slice s) {
    char *text = mem_alloc(s.len + 1);
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    return text;
}

static int address_order(const struct qaddress *a, const struct qaddress *b) {
    int order = strcmp(a->host, b->host);
    if (order == 0)
        order = a->quorum_port - b->quorum_port;
    return order != 0 ? order : a->election_port - b->election_port;
}

/* Puts an address into its place. False if it is there already. */
static bool address_put(struct qserver *s, struct qaddress address) {
    int at = s->address_count;
    for (; at > 0; at--) {
        int order = address_order(&s->addresses[at - 1], &address);
        if (order == 0)
            return false;
        if (order < 0)
            break;
    }
    s->addresses = mem_realloc(s->addresses, (size_t)(s->address_count + 1) * sizeof *s->addresses);
    memmove(s->addresses + at + 1, s->addresses + at, (size_t)(s->address_count - at) * sizeof *s->addresses);
    s->addresses[at] = address;
    s->address_count++;
    return true;
}

/* One host:port:port[:role]. *role_known: an address before this one named the role, which is then s->observer. */
static bool address_parse(struct slice value, struct slice text, struct qserver *s, bool *role_known,
                          const struct problem *p) {
    struct slice parts[4];
    int ports[2], count = split_host(value, text, parts, 4, p);
    bool observer;
    if (count < 0)
        return false;
    if (count < 3 || count > 4 || !host_fine(parts[0]))
        return bad_shape(value, p);
    for (int i = 0; i < 2; i++)
        if (!port_of(parts[i + 1], &ports[i]))
            return refuse(p, "Address unresolved: %.*s:%.*s", SLICE_ARG(parts[0]), SLICE_ARG(parts[i + 1]));
    if (ports[0] == ports[1])
        return refuse(p,
                      "Client and election port must be different! Please update the configuration file on server.%lld",
                      (long long)s->sid);
    if (count == 4) {
        if (!role_of(parts[3], &observer, p))
            return false;
        if (*role_known && observer != s->observer)
            return refuse(p, "Multiple addresses should have similar roles: %.*s", SLICE_ARG(value));
        s->observer = observer;
        *role_known = true;
    }
    if (s->address_count == QUORUM_ADDRESSES_MAX)
        return refuse(p, "server.%lld has more than %d addresses", (long long)s->sid, QUORUM_ADDRESSES_MAX);
    struct qaddress address = {slice_dup(parts[0]), ports[0], ports[1]};
    if (address_put(s, address))
        return true;
    mem_free(address.host);
    return refuse(p, "server.%lld has the same address twice: %.*s", (long long)s->sid, SLICE_ARG(text));
}

/* [host:]port */
static bool client_parse(struct slice value, struct slice text, struct qserver *s, const struct problem *p) {
    struct slice parts[2], host = SLICE_LIT("0.0.0.0");
    int count = split_host(value, text, parts, 2, p);
    if (count < 0)
        return false;
    if (count > 2)
        return bad_shape(value, p);
    if (count == 2)
        host = parts[0];
    if (!port_of(parts[count - 1], &s->client_port))
        return refuse(p, "Address unresolved: %.*s", SLICE_ARG(text));
    if (!host_fine(host))
        return bad_shape(value, p);
    s->client_host = slice_dup(host);
    return true;
}

static void server_clear(struct qserver *s) {
    for (int i = 0; i < s->address_count; i++)
        mem_free(s->addresses[i].host);
    mem_free(s->addresses);
    mem_free(s->client_host);
    *s = (struct qserver){0};
}

/* s->sid is known; the rest is filled in, for server_clear to free. */
static bool server_parse(struct slice value, struct qserver *s, const struct problem *p) {
    struct slice addresses, address, client = value;
    bool has_client = take_part(&client, ';', &addresses), role_known = false, more = true;
    if (has_client && client.len != 0 && memchr(client.data, ';', client.len) != NULL)
        return bad_shape(value, p);
    while (more) {
        more = take_part(&addresses, '|', &address);
        if (!address_parse(value, address, s, &role_known, p))
            return false;
    }
    return !has_client || client_parse(value, client, s, p);
}

/* -------- a draft -------- */

static struct qconfig *config_new(void) {
    struct qconfig *c = mem_calloc(1, sizeof *c);
    c->refs = 1;
    return c;
}

struct qconfig_draft *qconfig_draft_new(void) {
    struct qconfig_draft *d = mem_calloc(1, sizeof *d);
    d->config = config_new();
    for (int sid = 0; sid <= QUORUM_SID_MAX; sid++) {
        d->position[sid] = d->group[sid] = -1;
        d->weight[sid] = -1;
    }
    return d;
}

void qconfig_draft_free(struct qconfig_draft *d) {
    if (d == NULL)
        return;
    qconfig_unref(d->config);
    mem_free(d);
}

static bool sid_of(struct slice text, int64_t *sid, const struct problem *p) {
    if (str_to_i64(text, sid) && *sid >= 0 && *sid <= QUORUM_SID_MAX)
        return true;
    return refuse(p, "For input string: \"%.*s\" (the id of a server is a number from 0 to %d)",
                  (int)size_min(text.len, 60), text.data != NULL ? text.data : "", QUORUM_SID_MAX);
}

static bool draft_server(struct qconfig_draft *d, struct slice id, struct slice value, const struct problem *p) {
    struct qconfig *c = d->config;
    struct qserver s = {.group = -1, .weight = 1, .voter = -1};
    if (!sid_of(id, &s.sid, p))
        return false;
    if (d->position[s.sid] >= 0)
        return refuse(p, "server.%lld is listed twice", (long long)s.sid);
    if (!server_parse(value, &s, p)) {
        server_clear(&s);
        return false;
    }
    if (!s.observer && c->voter_count == QUORUM_VOTERS_MAX) {
        server_clear(&s);
        return refuse(p, "more than %d voting servers are listed", QUORUM_VOTERS_MAX);
    }
    c->voter_count += !s.observer;
    d->position[s.sid] = c->server_count;
    c->servers = mem_realloc(c->servers, (size_t)(c->server_count + 1) * sizeof *c->servers);
    c->servers[c->server_count++] = s;
    return true;
}

/* Reads the members of a group; those of this line only are marked in seen. */
static bool group_members(const struct qconfig_draft *d, struct slice value, bool *seen, const struct problem *p) {
    struct slice part;
    bool more = true;
    while (more) {
        int64_t sid;
        more = take_part(&value, ':', &part);
        if (!sid_of(part, &sid, p))
            return false;
        if (seen[sid] || d->group[sid] >= 0)
            return refuse(p, "Server %lld is in multiple groups", (long long)sid);
        seen[sid] = true;
    }
    return true;
}

static bool draft_group(struct qconfig_draft *d, struct slice id, struct slice value, const struct problem *p) {
    struct qconfig *c = d->config;
    bool seen[QUORUM_SID_MAX + 1] = {false};
    int64_t gid;
    if (!str_to_i64(id, &gid) || gid < 0)
        return refuse(p, "For input string: \"%.*s\" (the id of a group is a number that is not negative)",
                      (int)size_min(id.len, 60), id.data != NULL ? id.data : "");
    for (int i = 0; i < c->group_count; i++)
        if (c->groups[i].id == gid)
            return refuse(p, "group.%lld is listed twice", (long long)gid);
    if (!group_members(d, value, seen, p))
        return false;
    for (int sid = 0; sid <= QUORUM_SID_MAX; sid++)
        if (seen[sid])
            d->group[sid] = c->group_count;
    c->groups = mem_realloc(c->groups, (size_t)(c->group_count + 1) * sizeof *c->groups);
    c->groups[c->group_count++] = (struct qgroup){.id = gid};
    d->hierarchical = true;
    return true;
}

static bool draft_weight(struct qconfig_draft *d, struct slice id, struct slice value, const struct problem *p) {
    int64_t sid, weight;
    if (!sid_of(id, &sid, p))
        return false;
    if (!str_to_i64(value, &weight) || weight < 0 || weight > WEIGHT_MAX)
        return refuse(p, "For input string: \"%.*s\" (a weight is a number from 0 to %d)",
                      (int)size_min(value.len, 60), value.data != NULL ? value.data : "", WEIGHT_MAX);
    if (d->weight[sid] >= 0)
        return refuse(p, "weight.%lld is listed twice", (long long)sid);
    d->weight[sid] = weight;
    d->hierarchical = true;
    return true;
}

static bool draft_version(struct qconfig_draft *d, struct slice value, const struct problem *p) {
    int64_t version;
    if (!str_hex_to_i64(value, &version) || version < 0)
        return refuse(p, "For input string: \"%.*s\" (a version is a hexadecimal number that is not negative)",
                      (int)size_min(value.len, 60), value.data != NULL ? value.data : "");
    if (d->has_version)
        return refuse(p, "version is given twice");
    d->config->version = version;
    d->has_version = true;
    return true;
}

bool qconfig_draft_add(struct qconfig_draft *d, struct slice key, struct slice value, char *error, size_t error_size) {
    static const struct {
        struct slice prefix;
        bool (*add)(struct qconfig_draft *d, struct slice id, struct slice value, const struct problem *p);
    } kinds[] = {{{"server.", 7}, draft_server}, {{"group.", 6}, draft_group}, {{"weight.", 7}, draft_weight}};
    struct problem p = {error, error_size};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (slice_starts(key, kinds[i].prefix))
            return kinds[i].add(d, (struct slice){key.data + kinds[i].prefix.len, key.len - kinds[i].prefix.len}, value,
                                &p);
    if (slice_is(key, "version"))
        return draft_version(d, value, &p);
    return refuse(&p, "Unrecognised parameter: %.*s", SLICE_ARG(key));
}

const struct qserver *qconfig_draft_last(const struct qconfig_draft *d) {
    zassert(d->config->server_count > 0);
    return &d->config->servers[d->config->server_count - 1];
}

void qconfig_draft_count(const struct qconfig_draft *d, int *voters, int *observers) {
    *voters = d->config->voter_count;
    *observers = d->config->server_count - d->config->voter_count;
}

/* -------- the whole -------- */

static bool check_voters(const struct qconfig *c, bool single_allowed, const struct problem *p) {
    bool observers = c->server_count > c->voter_count;
    if (c->voter_count == 0)
        return refuse(p, "%s", observers ? "Observers w/o participants is an invalid configuration"
                                         : "no server is listed");
    if (c->voter_count == 1 && !single_allowed)
        return refuse(p, "%s", observers ? "Observers w/o quorum is an invalid configuration"
                                         : "only one voting server is listed");
    return true;
}

/* Groups and weights name servers that there are, and every voter is in a group. */
static bool check_groups(const struct qconfig_draft *d, const struct problem *p) {
    const struct qconfig *c = d->config;
    for (int sid = 0; sid <= QUORUM_SID_MAX; sid++) {
        const struct qserver *s = d->position[sid] >= 0 ? &c->servers[d->position[sid]] : NULL;
        if (d->group[sid] >= 0 && (s == NULL || s->observer))
            return refuse(p, "group.%lld names server %d, which is %s", (long long)c->groups[d->group[sid]].id, sid,
                          s == NULL ? "not listed" : "an observer");
        if (d->weight[sid] >= 0 && s == NULL)
            return refuse(p, "weight.%d is about a server that is not listed", sid);
        if (d->hierarchical && s != NULL && !s->observer && d->group[sid] < 0)
            return refuse(p, "Server %d is not in a group", sid);
    }
    return true;
}

static int server_order(const void *a, const void *b) {
    const struct qserver *x = a, *y = b;
    return (x->sid > y->sid) - (x->sid < y->sid);
}

static int group_order(const void *a, const void *b) {
    const struct qgroup *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int group_index(const struct qconfig *c, int64_t id) {
    int i = 0;
    while (c->groups[i].id != id)
        i++;
    return i;
}

/* Brings everything into its order and fills in what follows from it. */
static void settle(const struct qconfig_draft *d) {
    struct qconfig *c = d->config;
    int voter = 0;
    int64_t group_ids[QUORUM_SID_MAX + 1];
    for (int i = 0; i < c->group_count; i++)
        group_ids[i] = c->groups[i].id;
    qsort(c->servers, (size_t)c->server_count, sizeof *c->servers, server_order);
    if (c->group_count != 0)
        qsort(c->groups, (size_t)c->group_count, sizeof *c->groups, group_order);
    for (int i = 0; i < c->server_count; i++) {
        struct qserver *s = &c->servers[i];
        if (d->weight[s->sid] >= 0)
            s->weight = d->weight[s->sid];
        if (s->observer)
            continue;
        s->voter = voter++;
        if (d->group[s->sid] < 0)
            continue;
        s->group = group_index(c, group_ids[d->group[s->sid]]);
        c->groups[s->group].weight += s->weight;
        c->groups[s->group].voters |= (uint64_t)1 << s->voter;
    }
}

struct qconfig *qconfig_draft_finish(struct qconfig_draft *d, bool single_allowed, char *error, size_t error_size) {
    struct problem p = {error, error_size};
    struct qconfig *c = NULL;
    if (check_voters(d->config, single_allowed, &p) && check_groups(d, &p)) {
        settle(d);
        c = qconfig_ref(d->config);
    }
    qconfig_draft_free(d);
    return c;
}

static struct slice trim(struct slice s) {
    while (s.len != 0 && (unsigned char)s.data[0] <= ' ')
        s = (struct slice){s.data + 1, s.len - 1};
    while (s.len != 0 && (unsigned char)s.data[s.len - 1] <= ' ')
        s.len--;
    return s;
}

struct qconfig *qconfig_parse(struct slice text, bool single_allowed, char *error, size_t error_size) {
    struct problem p = {error, error_size};
    struct qconfig_draft *d;
    bool more = true;
    if (text.len > QUORUM_TEXT_BYTES_MAX) {
        refuse(&p, "the configuration is longer than %zu bytes", QUORUM_TEXT_BYTES_MAX);
        return NULL;
    }
    d = qconfig_draft_new();
    while (more) {
        struct slice line, key;
        more = take_part(&text, '\n', &line);
        line = trim(line);
        if (line.len == 0 || line.data[0] == '#')
            continue;
        struct slice value = line;
        bool fine = take_part(&value, '=', &key);
        if (!fine)
            refuse(&p, "Unrecognised parameter: %.*s", SLICE_ARG(line));
        if (!fine || !qconfig_draft_add(d, trim(key), trim(value), error, error_size)) {
            qconfig_draft_free(d);
            return NULL;
        }
    }
    return qconfig_draft_finish(d, single_allowed, error, error_size);
}

struct qconfig *qconfig_ref(struct qconfig *c) {
    c->refs++;
    return c;
}

void qconfig_unref(struct qconfig *c) {
    if (c == NULL || --c->refs != 0)
        return;
    for (int i = 0; i < c->server_count; i++)
        server_clear(&c->servers[i]);
    mem_free(c->servers);
    mem_free(c->groups);
    mem_free(c);
}

struct qconfig *qconfig_with_version(const struct qconfig *c, int64_t version) {
    struct qconfig *copy = config_new();
    copy->version = version;
    copy->server_count = c->server_count;
    copy->voter_count = c->voter_count;
    copy->group_count = c->group_count;
    copy->servers = mem_dup(c->servers, (size_t)c->server_count * sizeof *c->servers);
    if (c->group_count != 0)
        copy->groups = mem_dup(c->groups, (size_t)c->group_count * sizeof *c->groups);
    for (int i = 0; i < c->server_count; i++) {
        struct qserver *s = &copy->servers[i];
        s->addresses = mem_dup(s->addresses, (size_t)s->address_count * sizeof *s->addresses);
        for (int k = 0; k < s->address_count; k++)
            s->addresses[k].host = mem_strdup(s->addresses[k].host);
        if (s->client_host != NULL)
            s->client_host = mem_strdup(s->client_host);
    }
    return copy;
}

/* -------- text -------- */

static void put_host(const char *host, struct buf *out) {
    buf_printf(out, strchr(host, ':') != NULL ? "[%s]" : "%s", host);
}

static void put_server(const struct qserver *s, struct buf *out) {
    buf_printf(out, "server.%lld=", (long long)s->sid);
    for (int i = 0; i < s->address_count; i++) {
        if (i != 0)
            buf_append(out, "|", 1);
        put_host(s->addresses[i].host, out);
        buf_printf(out, ":%d:%d", s->addresses[i].quorum_port, s->addresses[i].election_port);
    }
    buf_printf(out, ":%s", s->observer ? "observer" : "participant");
    if (s->client_host != NULL) {
        buf_append(out, ";", 1);
        put_host(s->client_host, out);
        buf_printf(out, ":%d", s->client_port);
    }
    buf_append(out, "\n", 1);
}

static void put_groups(const struct qconfig *c, struct buf *out) {
    for (int g = 0; g < c->group_count; g++) {
        char separator = '=';
        buf_printf(out, "group.%lld", (long long)c->groups[g].id);
        for (int i = 0; i < c->server_count; i++) {
            if (c->servers[i].group != g)
                continue;
            buf_printf(out, "%c%lld", separator, (long long)c->servers[i].sid);
            separator = ':';
        }
        buf_append(out, "\n", 1);
    }
    for (int i = 0; c->group_count != 0 && i < c->server_count; i++) {
        const struct qserver *s = &c->servers[i];
        if (!s->observer || s->weight != 1)
            buf_printf(out, "weight.%lld=%lld\n", (long long)s->sid, (long long)s->weight);
    }
}

void qconfig_text(const struct qconfig *c, struct buf *out) {
    for (int i = 0; i < c->server_count; i++)
        put_server(&c->servers[i], out);
    put_groups(c, out);
    buf_printf(out, "version=%llx", (unsigned long long)c->version);
}

/* -------- questions -------- */

static bool server_equal(const struct qserver *a, const struct qserver *b) {
    if (a->sid != b->sid || a->observer != b->observer || a->address_count != b->address_count ||
        a->client_port != b->client_port || (a->client_host == NULL) != (b->client_host == NULL) ||
        a->group != b->group || a->weight != b->weight)
        return false;
    for (int i = 0; i < a->address_count; i++)
        if (address_order(&a->addresses[i], &b->addresses[i]) != 0)
            return false;
    return a->client_host == NULL || strcmp(a->client_host, b->client_host) == 0;
}

bool qconfig_equal(const struct qconfig *a, const struct qconfig *b) {
    if ((a->group_count == 0) != (b->group_count == 0))
        return false;
    if (a->version == b->version)
        return true;
    if (a->server_count != b->server_count || a->group_count != b->group_count)
        return false;
    for (int i = 0; i < a->group_count; i++)
        if (a->groups[i].id != b->groups[i].id)
            return false;
    for (int i = 0; i < a->server_count; i++)
        if (!server_equal(&a->servers[i], &b->servers[i]))
            return false;
    return true;
}

const struct qserver *qconfig_find(const struct qconfig *c, int64_t sid) {
    int low = 0, high = c->server_count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (c->servers[middle].sid == sid)
            return &c->servers[middle];
        if (c->servers[middle].sid < sid)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

uint64_t qconfig_voter_bit(const struct qconfig *c, int64_t sid) {
    const struct qserver *s = qconfig_find(c, sid);
    return s != NULL && s->voter >= 0 ? (uint64_t)1 << s->voter : 0;
}

/* A majority of the groups that have weight, each with more than half of its own. */
static bool is_hierarchical_quorum(const struct qconfig *c, uint64_t voters) {
    int groups = 0, won = 0;
    for (int g = 0; g < c->group_count; g++) {
        int64_t sum = 0;
        for (int i = 0; i < c->server_count; i++) {
            const struct qserver *s = &c->servers[i];
            if (s->group == g && (voters >> s->voter & 1))
                sum += s->weight;
        }
        groups += c->groups[g].weight != 0;
        won += sum > c->groups[g].weight / 2;
    }
    return won > groups / 2;
}

bool qconfig_is_quorum(const struct qconfig *c, uint64_t voters) {
    uint64_t all = c->voter_count == 64 ? UINT64_MAX : ((uint64_t)1 << c->voter_count) - 1;
    if (c->group_count != 0)
        return is_hierarchical_quorum(c, voters);
    return __builtin_popcountll(voters & all) > c->voter_count / 2;
}

int64_t qconfig_weight(const struct qconfig *c, int64_t sid) {
    const struct qserver *s = qconfig_find(c, sid);
    return s == NULL ? 0 : c->group_count == 0 ? 1 : s->weight;
}
