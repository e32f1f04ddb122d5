/* Options against each other, and against what this version can do. The texts of errors that ZooKeeper has as well
 * begin with its words, because those are what people search for. */
#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"
#include "base/strutil.h"
#include "quorum/qconfig.h"
#include "server/config.h"
#include "server/config_table.h"

/* What to name for an option that should have been set: the configuration file. */
static const char *nowhere(const struct config *c) {
    return c->main_file != NULL ? c->main_file : config_command_origin;
}

/* Where an option was set: "zoo.cfg:7". */
static const char *place(const struct config *c, const char *name) {
    const char *origin = config_setting_of(c, config_row_find(name))->origin;
    return origin != NULL ? origin : nowhere(c);
}

static bool option_is(const struct config *c, const char *name, const char *text) {
    struct buf value = BUF_INIT;
    config_row_value(c, config_row_find(name), &value);
    bool equal =
        value.len == strlen(text) && (value.len == 0 || strncasecmp((const char *)value.data, text, value.len) == 0);
    buf_free(&value);
    return equal;
}

/* A boolean that is kept as text. */
static bool option_on(const struct config *c, const char *name) {
    return option_is(c, name, "true") || option_is(c, name, "yes") || option_is(c, name, "on") ||
           option_is(c, name, "1");
}

/* -------- members -------- */

/* The client address of the only server line stands for clientPort, if that is not set. */
static void adopt_client_address(struct config *c, const struct config_entry *e, const struct qserver *only,
                                 struct config_log *log) {
    struct buf why = BUF_INIT;
    if (only->client_port == 0)
        return;
    if (c->port != 0) {
        if (c->port != only->client_port)
            config_log_add(log, CONFIG_WARNING, "%s: %s names client port %d, but clientPort is %d (%s): %d is used",
                           e->origin, e->name, only->client_port, c->port, place(c, "clientPort"), c->port);
        return;
    }
    c->port = only->client_port;
    if (strcmp(only->client_host, "0.0.0.0") != 0 && strcmp(only->client_host, "::") != 0)
        config_row_set(c, config_row_find("bind"), "bind", only->client_host, &why);
    buf_free(&why);
}

void config_adopt_self(struct config *c, const struct qserver *self, struct config_log *log) {
    struct config_entry e = {.name = (char *)"our own server line", .origin = (char *)"members", .value = NULL};
    adopt_client_address(c, &e, self, log);
    if (config_is_set(c, "peerType") && (c->peer_type == CONFIG_PEER_OBSERVER) != self->observer)
        config_log_add(log, CONFIG_WARNING, "%s: peerType is %s, but server.%lld is %s in the list of servers, which counts",
                       place(c, "peerType"), c->peer_type == CONFIG_PEER_OBSERVER ? "observer" : "participant",
                       (long long)self->sid, self->observer ? "an observer" : "a participant");
    if (c->port == 0)
        config_log_add(log, CONFIG_ERROR, "members: clientPort is not set, and server.%lld names no client port",
                       (long long)self->sid);
}

static bool is_member(const struct config_entry *e) {
    const struct config_row *row = config_row_find(e->name);
    return row != NULL && (row->flags & CONFIG_F_MEMBERS);
}

void config_members_text(const struct config *c, struct buf *out) {
    int64_t version;
    for (size_t i = 0; i < c->entry_count; i++)
        if (is_member(&c->entries[i]))
            buf_printf(out, "%s=%s\n", c->entries[i].name, c->entries[i].value);
    /* The name of a dynamic file ends in its version, if anything. */
    const char *dot = c->dynamic_config_file != NULL ? strrchr(c->dynamic_config_file, '.') : NULL;
    if (dot != NULL && str_hex_to_i64(slice_of(dot + 1), &version) && version >= 0)
        buf_printf(out, "version=%llx", (unsigned long long)version);
}

/* Adds the line to the draft; what is wrong with it alone goes to log. */
static void add_member(const struct config *c, const struct config_entry *e, struct qconfig_draft *draft,
                       struct config_log *log) {
    char why[QCONFIG_ERROR_BYTES];
    if (!qconfig_draft_add(draft, slice_of(e->name), slice_of(e->value), why, sizeof why)) {
        config_log_add(log, CONFIG_ERROR, "%s: %s: %s", e->origin, e->name, why);
    } else if (strncmp(e->name, "server.", 7) == 0 && qconfig_draft_last(draft)->address_count > 1 &&
               !c->multi_address_enabled) {
        config_log_add(log, CONFIG_ERROR,
                       "%s: %s: Multiple address feature is disabled, but multiple addresses were specified for sid "
                       "%lld",
                       e->origin, e->name, (long long)qconfig_draft_last(draft)->sid);
    }
}

/* Whether the roles add up to something: nothing, a standalone server, or an ensemble. */
static bool roles_fine(const struct config *c, int voters, int observers, const struct config_entry *last,
                       struct config_log *log) {
    if (voters == 0 && !c->standalone_enabled)
        config_log_add(log, CONFIG_ERROR, "%s: standaloneEnabled = false then number of participants should be >0",
                       place(c, "standaloneEnabled"));
    else if (voters == 0 && observers != 0)
        config_log_add(log, CONFIG_ERROR, "%s: Observers w/o participants is an invalid configuration", last->origin);
    else if (voters == 1 && observers != 0 && c->standalone_enabled)
        config_log_add(log, CONFIG_ERROR, "%s: Observers w/o quorum is an invalid configuration", last->origin);
    else
        return true;
    return false;
}

static void check_limits(const struct config *c, struct config_log *log) {
    if (c->init_limit_ticks == 0)
        config_log_add(log, CONFIG_ERROR, "%s: initLimit is not set (an ensemble needs it; it is a number of ticks)",
                       place(c, "initLimit"));
    if (c->sync_limit_ticks == 0)
        config_log_add(log, CONFIG_ERROR, "%s: syncLimit is not set (an ensemble needs it; it is a number of ticks)",
                       place(c, "syncLimit"));
    if (c->notification_interval_max_ms < c->notification_interval_min_ms)
        config_log_add(log, CONFIG_WARNING,
                       "%s: fastleader.maxNotificationInterval is below fastleader.minNotificationInterval; %d ms is "
                       "used for both",
                       place(c, "fastleader.maxNotificationInterval"), c->notification_interval_min_ms);
    if (c->commit_log_count < 500)
        config_log_add(log, CONFIG_WARNING, "%s: commitLogCount is raised to 500", place(c, "commitLogCount"));
    if (c->snapshot_size_factor > 1)
        config_log_add(log, CONFIG_WARNING, "%s: snapshotSizeFactor is above 1; 0.33 is used",
                       place(c, "snapshotSizeFactor"));
}

/* last is the last server line. */
static void check_ensemble(struct config *c, const struct qconfig *members, const struct config_entry *last,
                           struct config_log *log) {
    int voters = members->voter_count;
    if (voters > 1 || !c->standalone_enabled) {
        check_limits(c, log);
        config_log_add(log, CONFIG_WARNING,
                       "%s: %s: an ensemble of %d voting server%s: docs/compatibility.md says what this version cannot do yet",
                       last->origin, last->name, voters, voters == 1 ? "" : "s");
        c->ensemble = true;
        return;
    }
    config_log_add(log, CONFIG_NOTICE, "%s: only one server is listed: running standalone, %s is ignored%s",
                   last->origin, last->name,
                   members->servers[0].client_port != 0 ? " but for its client port" : "");
    adopt_client_address(c, last, &members->servers[0], log);
}

static void check_members(struct config *c, struct config_log *log) {
    const struct config_entry *last_server = NULL, *last = NULL;
    struct qconfig_draft *draft = qconfig_draft_new();
    char why[QCONFIG_ERROR_BYTES];
    int voters, observers;
    size_t errors = log->errors;
    for (size_t i = 0; i < c->entry_count; i++) {
        const struct config_entry *e = &c->entries[i];
        if (!is_member(e))
            continue;
        add_member(c, e, draft, log);
        last = e;
        if (strncmp(e->name, "server.", 7) == 0)
            last_server = e;
    }
    qconfig_draft_count(draft, &voters, &observers);
    if (log->errors == errors && roles_fine(c, voters, observers, last_server, log) && voters != 0) {
        struct qconfig *members = qconfig_draft_finish(draft, true, why, sizeof why);
        if (members != NULL)
            check_ensemble(c, members, last_server, log);
        else
            config_log_add(log, CONFIG_ERROR, "%s: %s", last->origin, why);
        qconfig_unref(members);
    } else {
        qconfig_draft_free(draft);
    }
    if (c->dynamic_config_file != NULL && !c->dynamic_file_read)
        config_log_add(log, CONFIG_ERROR, "%s: dynamicConfigFile was set after the files were read",
                       place(c, "dynamicConfigFile"));
}

/* -------- single subjects -------- */

static void check_listening(const struct config *c, struct config_log *log) {
    bool secure = !option_is(c, "secureClientPort", "0");
    if (c->port == 0 && c->bind.count != 0)
        config_log_add(log, CONFIG_ERROR, "%s: clientPortAddress is set but clientPort is not set (%s needs port)",
                       place(c, "bind"), config_setting_of(c, config_row_find("bind"))->name);
    else if (c->port == 0 && !c->ensemble)
        config_log_add(log, CONFIG_ERROR,
                       "%s: clientPort is not set, so there is nothing to listen on%s; set port (1 to 65535)",
                       secure ? place(c, "secureClientPort") : nowhere(c),
                       secure ? " (secureClientPort needs TLS, which is not supported yet by this version)" : "");
    if (!secure && !option_is(c, "secureClientPortAddress", ""))
        config_log_add(log, CONFIG_ERROR, "%s: secureClientPortAddress is set but secureClientPort is not set",
                       place(c, "secureClientPortAddress"));
}

static void check_times(const struct config *c, struct config_log *log) {
    if (c->tick_time_ms == 0) {
        config_log_add(log, CONFIG_ERROR, "%s: tickTime is not set (0 is not allowed; it is a number of ms)",
                       place(c, "tickTime"));
        return;
    }
    int64_t low = c->min_session_timeout_ms, high = c->max_session_timeout_ms;
    if (low == -1)
        low = 2 * (int64_t)c->tick_time_ms;
    if (high == -1)
        high = 20 * (int64_t)c->tick_time_ms;
    if (low > high)
        config_log_add(
            log, CONFIG_ERROR,
            "%s: minSessionTimeout must not be larger than maxSessionTimeout (they are %lld and %lld ms; unset, they "
            "are 2 and 20 times tickTime)",
            place(c, config_is_set(c, "minSessionTimeout") ? "minSessionTimeout" : "maxSessionTimeout"), (long long)low,
            (long long)high);
}

static void check_storage(const struct config *c, struct config_log *log) {
    if (c->data_dir == NULL)
        config_log_add(log, CONFIG_ERROR,
                       "%s: dataDir is not set (it is the directory of the data; dir is another name for it)",
                       place(c, "dataDir"));
    if (c->snap_size_limit_kib == 0)
        config_log_add(log, CONFIG_ERROR, "%s: snapSizeLimitInKb must not be 0; a negative number switches it off",
                       place(c, "snapSizeLimitInKb"));
    if (c->snap_count < 2)
        config_log_add(log, CONFIG_WARNING, "%s: snapCount should be 2 or more; 2 is used", place(c, "snapCount"));
    if (c->autopurge_snap_retain_count < 3)
        config_log_add(log, CONFIG_WARNING, "%s: Invalid autopurge.snapRetainCount: %d. Defaulting to 3",
                       place(c, "autopurge.snapRetainCount"), c->autopurge_snap_retain_count);
    if (!c->force_sync)
        config_log_add(log, CONFIG_WARNING,
                       "%s: forceSync is no: a crash of the machine loses writes that were answered",
                       place(c, "forceSync"));
}

static void check_requests(const struct config *c, struct config_log *log) {
    if (c->jute_maxbuffer_bytes > (int64_t)1 << 30)
        config_log_add(log, CONFIG_WARNING,
                       "%s: jute.maxbuffer is lowered to 1 GiB, the largest request that this server reads",
                       place(c, "jute.maxbuffer"));
    else if (config_is_set(c, "maxRequestBytes") && c->max_request_bytes < c->jute_maxbuffer_bytes)
        config_log_add(log, CONFIG_WARNING, "%s: maxRequestBytes is below jute.maxbuffer; %lld is used",
                       place(c, "maxRequestBytes"), (long long)c->jute_maxbuffer_bytes);
    if (c->jute_maxbuffer_extra_bytes != -1 && c->jute_maxbuffer_extra_bytes < 1024)
        config_log_add(log, CONFIG_WARNING, "%s: jute.maxbuffer.extrasize is raised to 1024",
                       place(c, "jute.maxbuffer.extrasize"));
}

static void check_paths(const struct config *c, struct config_log *log) {
    for (size_t i = 0; i < config_row_count; i++) {
        const struct config_row *row = &config_rows[i];
        const struct config_setting *setting = config_setting_of(c, row);
        if (!(row->flags & CONFIG_F_TOLD_PATH) || setting->rank == CONFIG_RANK_DEFAULT)
            continue;
        const char *path = *(char *const *)(const void *)((const char *)c + row->offset);
        if (path != NULL && path[0] != '/' && path[0] != '.')
            config_log_add(log, CONFIG_WARNING, "%s: %s: %.200s is relative. Prepend ./ to indicate that you're sure!",
                           setting->origin, setting->name, path);
    }
}

/* -------- authentication -------- */

static bool hash_known(const char *name) {
    static const char *const names[] = {"MD5",      "SHA",      "SHA1",     "SHA-1",       "SHA-224",
                                        "SHA-256",  "SHA-384",  "SHA-512",  "SHA-512/224", "SHA-512/256",
                                        "SHA3-224", "SHA3-256", "SHA3-384", "SHA3-512"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static void check_providers(const struct config *c, struct config_log *log) {
    static const char *const known[] = {"SASLAuthenticationProvider", "X509AuthenticationProvider",
                                        "EnsembleAuthenticationProvider", "DigestAuthenticationProvider",
                                        "IPAuthenticationProvider"};
    for (size_t i = 0; i < c->entry_count; i++) {
        const struct config_entry *e = &c->entries[i];
        const char *dot = strrchr(e->value, '.');
        bool fine = false;
        if (strncmp(e->name, "authProvider.", 13) != 0)
            continue;
        for (size_t k = 0; k < ARRAY_LEN(known); k++)
            fine = fine || (dot != NULL && strcmp(dot + 1, known[k]) == 0);
        if (!fine)
            config_log_add(log, CONFIG_WARNING,
                           "%s: Problems loading %.200s: this server has no such authentication provider", e->origin,
                           e->value);
    }
}

static void check_enforcement(const struct config *c, struct config_log *log) {
    const char *origin = place(c, "enforce.auth.schemes");
    if (option_on(c, "sessionRequireClientSASLAuth"))
        config_log_add(log, CONFIG_ERROR,
                       "%s: sessionRequireClientSASLAuth needs SASL, which is not supported yet by this version",
                       place(c, "sessionRequireClientSASLAuth"));
    if (!c->enforce_auth_enabled)
        return;
    if (c->enforce_auth_schemes.count == 0)
        config_log_add(log, CONFIG_ERROR, "%s: enforce.auth.enabled is true, so enforce.auth.schemes must be set",
                       place(c, "enforce.auth.enabled"));
    for (size_t i = 0; i < c->enforce_auth_schemes.count; i++) {
        const char *scheme = c->enforce_auth_schemes.items[i];
        if (strcmp(scheme, "sasl") == 0 || strcmp(scheme, "x509") == 0)
            config_log_add(log, CONFIG_ERROR,
                           "%s: Authentication scheme %s is not available. (It is not supported yet by this version.)",
                           origin, scheme);
        else if (strcmp(scheme, "ip") != 0 && !(strcmp(scheme, "digest") == 0 && c->digest_auth_enabled) &&
                 !(strcmp(scheme, "ensemble") == 0 && c->auth_ensemble_registered))
            config_log_add(log, CONFIG_ERROR, "%s: Authentication scheme %.60s is not available.", origin, scheme);
    }
}

static void check_authentication(const struct config *c, struct config_log *log) {
    static const char *const quorum_sasl[][2] = {{"quorum.auth.serverRequireSasl", "quorum.auth.enableSasl"},
                                                 {"quorum.auth.learnerRequireSasl", "quorum.auth.enableSasl"},
                                                 {"quorum.auth.serverRequireSasl", "quorum.auth.learnerRequireSasl"}};
    check_providers(c, log);
    check_enforcement(c, log);
    if (c->digest_auth_alg == NULL || !hash_known(c->digest_auth_alg))
        config_log_add(
            log, CONFIG_ERROR,
            "%s: DigestAuthenticationProvider.digestAlg: '%.60s' is not allowed: write MD5, SHA1, SHA-224, SHA-256, "
            "SHA-384, SHA-512 or SHA3-256",
            place(c, "DigestAuthenticationProvider.digestAlg"), c->digest_auth_alg != NULL ? c->digest_auth_alg : "");
    for (size_t i = 0; i < ARRAY_LEN(quorum_sasl); i++)
        if (option_on(c, quorum_sasl[i][0]) && !option_on(c, quorum_sasl[i][1]))
            config_log_add(log, CONFIG_ERROR, "%s: %s is disabled, so cannot enable %s", place(c, quorum_sasl[i][0]),
                           quorum_sasl[i][1], quorum_sasl[i][0]);
    if (c->skip_acl)
        config_log_add(log, CONFIG_WARNING, "%s: skipACL is yes: ACLs are not checked", place(c, "skipACL"));
}

/* -------- options without effect -------- */

static void append_place(struct buf *list, const char *name, const char *origin) {
    buf_printf(list, "%s%s (%s)", list->len == 0 ? "" : ", ", name, origin);
}

/* Adds to list where this row was set, unless to what makes no difference. */
static void append_row(const struct config *c, const struct config_row *row, struct buf *list) {
    const struct config_setting *setting = config_setting_of(c, row);
    if (row->flags & CONFIG_F_FAMILY) {
        for (size_t i = 0; i < c->entry_count; i++)
            if (config_row_find(c->entries[i].name) == row)
                append_place(list, c->entries[i].name, c->entries[i].origin);
        return;
    }
    if (setting->rank == CONFIG_RANK_DEFAULT)
        return;
    if (row->class != CONFIG_MEANINGLESS &&
        option_is(c, row->name, row->neutral != NULL ? row->neutral : row->default_text))
        return;
    append_place(list, setting->name, setting->origin);
}

static void tell_not_yet(const struct config *c, struct config_log *log) {
    static const struct {
        enum config_severity severity;
        const char *text;
    } features[CONFIG_FEATURE_COUNT] = {
        [CONFIG_FEATURE_ENSEMBLE] = {CONFIG_NOTICE,
                                     "options of ensembles, which have no effect on a standalone server"},
        [CONFIG_FEATURE_TLS] = {CONFIG_WARNING,
                                "TLS is not supported yet by this version; these options have no effect"},
        [CONFIG_FEATURE_SASL] = {CONFIG_WARNING,
                                 "SASL is not supported yet by this version; these options have no effect"},
        [CONFIG_FEATURE_HTTP] =
            {CONFIG_NOTICE, "the HTTP admin port is not supported yet by this version; these options have no effect"},
        [CONFIG_FEATURE_AUDIT] = {CONFIG_WARNING,
                                  "the audit log is not supported yet by this version; these options have no effect"},
        [CONFIG_FEATURE_METRICS] = {CONFIG_WARNING,
                                    "Prometheus metrics are not supported yet by this version; these options "
                                    "have no effect"},
        [CONFIG_FEATURE_PATH_STATS] = {CONFIG_NOTICE,
                                       "path statistics are not supported yet by this version; these options "
                                       "have no effect"},
    };
    for (int f = CONFIG_FEATURE_NONE + 1; f < CONFIG_FEATURE_COUNT; f++) {
        struct buf list = BUF_INIT;
        bool member = f == CONFIG_FEATURE_ENSEMBLE && c->ensemble;
        for (size_t i = 0; i < config_row_count; i++)
            if ((int)config_rows[i].feature == f && (!member || config_rows[i].class == CONFIG_NOT_YET))
                append_row(c, &config_rows[i], &list);
        if (list.len != 0)
            config_log_add(log, member ? CONFIG_WARNING : features[f].severity, "%s: %.*s",
                           member ? "not supported yet by this version; these options have no effect" : features[f].text,
                           (int)size_min(list.len, 3500), (const char *)list.data);
        buf_free(&list);
    }
}

static void tell_meaningless(const struct config *c, struct config_log *log) {
    struct buf list = BUF_INIT;
    for (size_t i = 0; i < config_row_count; i++)
        if (config_rows[i].class == CONFIG_MEANINGLESS)
            append_row(c, &config_rows[i], &list);
    for (size_t i = 0; i < c->entry_count; i++)
        if (strncmp(c->entries[i].name, "-D", 2) == 0)
            append_place(&list, c->entries[i].name, c->entries[i].origin);
    if (list.len != 0)
        config_log_add(log, CONFIG_NOTICE, "options that have a meaning only in Java are accepted and do nothing: %.*s",
                       (int)size_min(list.len, 3500), (const char *)list.data);
    buf_free(&list);
}

/* What was a warning becomes an error, and no longer says that the option is ignored. */
static void refuse_unknown(struct config_log *log) {
    size_t skip = strlen(CONFIG_IGNORED);
    for (size_t i = 0; i < log->count; i++) {
        struct config_message *m = &log->items[i];
        if (m->ignored_at == 0)
            continue;
        char *at = m->text + size_min(m->ignored_at, strlen(m->text));
        if (strncmp(at, CONFIG_IGNORED, skip) == 0)
            memmove(at, at + skip, strlen(at + skip) + 1);
        m->ignored_at = 0;
        m->severity = CONFIG_ERROR;
        log->errors++;
    }
}

void config_validate(struct config *c, bool strict, struct config_log *log) {
    if (strict || c->strict_config)
        refuse_unknown(log);
    check_members(c, log);
    check_listening(c, log);
    check_times(c, log);
    check_storage(c, log);
    check_requests(c, log);
    check_paths(c, log);
    config_resolve(c);
    check_authentication(c, log);
    tell_not_yet(c, log);
    tell_meaningless(c, log);
}
