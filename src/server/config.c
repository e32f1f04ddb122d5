/* Values of options: parsing them into their fields and printing them, where they came from, and what follows from
 * them. */
#include "server/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/mem.h"
#include "base/strutil.h"
#include "server/config_table.h"

#define MESSAGES_MAX 200 /* a file of garbage must not fill the memory with complaints */
#define REQUEST_BYTES_MAX ((int64_t)1 << 30)

/* Fields of CONFIG_ENUM are written as ints. */
_Static_assert(sizeof(enum log_level) == sizeof(int), "enum size");
_Static_assert(sizeof(enum config_compression) == sizeof(int), "enum size");

const char config_command_origin[] = "command line";

/* -------- messages -------- */

void config_log_free(struct config_log *log) {
    for (size_t i = 0; i < log->count; i++)
        mem_free(log->items[i].text);
    mem_free(log->items);
    *log = (struct config_log){0};
}

static void log_push(struct config_log *log, enum config_severity severity, const char *text, size_t len) {
    if ((log->count & (log->count - 1)) == 0)
        log->items = mem_realloc(log->items, (log->count == 0 ? 1 : log->count * 2) * sizeof *log->items);
    char *copy = mem_alloc(len + 1);
    for (size_t i = 0; i < len; i++)
        copy[i] = (unsigned char)text[i] < 0x20 ? '?' : text[i]; /* one message, one line */
    copy[len] = '\0';
    log->items[log->count++] = (struct config_message){.severity = severity, .text = copy};
}

void config_log_add(struct config_log *log, enum config_severity severity, const char *fmt, ...) {
    if (severity == CONFIG_ERROR)
        log->errors++;
    if (log->count > MESSAGES_MAX)
        return;
    if (log->count == MESSAGES_MAX) {
        static const char more[] = "there are further problems, which are not shown";
        log_push(log, CONFIG_WARNING, more, sizeof more - 1);
        return;
    }
    char text[4096];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    log_push(log, severity, text, n < 0 ? 0 : size_min((size_t)n, sizeof text - 1));
}

/* -------- lists and kept lines -------- */

static void list_clear(struct config_list *list) {
    for (size_t i = 0; i < list->count; i++)
        mem_free(list->items[i]);
    mem_free(list->items);
    *list = (struct config_list){0};
}

static void list_set(struct config_list *list, const char *text) {
    static const char separators[] = ", \t\r\n\f";
    list_clear(list);
    for (const char *p = text + strspn(text, separators); *p != '\0'; p += strspn(p, separators)) {
        size_t len = strcspn(p, separators);
        list->items = mem_realloc(list->items, (list->count + 1) * sizeof *list->items);
        char *item = mem_alloc(len + 1);
        memcpy(item, p, len);
        item[len] = '\0';
        list->items[list->count++] = item;
        p += len;
    }
}

static struct config_entry *entry_find(const struct config *c, const char *name) {
    for (size_t i = 0; i < c->entry_count; i++)
        if (strcmp(c->entries[i].name, name) == 0)
            return &c->entries[i];
    return NULL;
}

void config_entry_put(struct config *c, const char *name, const char *value, const char *origin,
                      enum config_rank rank) {
    struct config_entry *e = entry_find(c, name);
    if (e == NULL) {
        c->entries = mem_realloc(c->entries, (c->entry_count + 1) * sizeof *c->entries);
        e = &c->entries[c->entry_count++];
        *e = (struct config_entry){.name = mem_strdup(name)};
    } else if ((enum config_rank)e->rank > rank) {
        return;
    }
    mem_free(e->value);
    mem_free(e->origin);
    e->value = mem_strdup(value);
    e->origin = mem_strdup(origin);
    e->rank = (int)rank;
}

const char *config_entry_value(const struct config *c, const char *name) {
    const struct config_entry *e = entry_find(c, config_name_strip(name));
    return e != NULL ? e->value : NULL;
}

/* -------- parsing values -------- */

static void *field_of(struct config *c, const struct config_row *row) { return (char *)c + row->offset; }
static const void *field_of_const(const struct config *c, const struct config_row *row) {
    return (const char *)c + row->offset;
}

static bool text_is_one_of(const char *text, const char *const *words, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(text, words[i]) == 0)
            return true;
    return false;
}

static bool parse_bool(const struct config_row *row, const char *name, const char *value, bool *out, struct buf *why) {
    static const char *const on[] = {"true", "yes", "on", "1"}, *const off[] = {"false", "no", "off", "0"};
    /* With on, off, 1 or 0 for an option that it parses itself ZooKeeper does not start either. */
    size_t words = row->flags & CONFIG_F_CFG ? 2 : ARRAY_LEN(on);
    bool is_on = text_is_one_of(value, on, words), is_off = text_is_one_of(value, off, words);
    /* What ZooKeeper would take in the opposite sense is refused: skipACL=true leaves ACLs on there, forceSync=false
     * leaves syncs on. */
    if ((row->flags & CONFIG_F_ONLY_YES) && strcasecmp(value, "yes") != 0)
        is_on = false;
    if ((row->flags & CONFIG_F_ONLY_NO) && strcasecmp(value, "no") != 0)
        is_off = false;
    *out = is_on;
    if (is_on || is_off)
        return true;
    if (row->flags & CONFIG_F_CFG)
        buf_printf(why, "Invalid option %.100s for %s. Choose 'true' or 'false.'", value, name);
    else if (row->flags & (CONFIG_F_ONLY_YES | CONFIG_F_ONLY_NO))
        buf_printf(why, "'%.100s' is not allowed: write yes or no (ZooKeeper heeds only the word %s)", value,
                   row->flags & CONFIG_F_ONLY_YES ? "yes" : "no");
    else
        buf_printf(why, "'%.100s' is not allowed: write true or false (or yes, no, on, off, 1, 0)", value);
    return false;
}

/* A number of bytes with a unit as in redis.conf: k = 1000, kb = 1024, and so on. */
static bool parse_size(const char *value, int64_t *out) {
    static const struct {
        const char *suffix;
        int64_t factor;
    } units[] = {{"b", 1},        {"k", 1000},       {"kb", 1024},   {"m", 1000000},
                 {"mb", 1 << 20}, {"g", 1000000000}, {"gb", 1 << 30}};
    size_t digits = strspn(value, "0123456789");
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcasecmp(value + digits, units[i].suffix) == 0)
            return str_to_i64((struct slice){value, digits}, out) &&
                   !__builtin_mul_overflow(*out, units[i].factor, out);
    return false;
}

static void explain_int(const struct config_row *row, struct buf *why) {
    buf_printf(why, "; allowed is a whole number ");
    if (row->min > INT32_MIN)
        buf_printf(why, "from %lld ", (long long)row->min);
    if (row->max < INT64_MAX / 1024)
        buf_printf(why, "%s %lld ", row->min > INT32_MIN ? "to" : "up to", (long long)row->max);
    if (row->unit[0] != '\0')
        buf_printf(why, "(%s%s)", row->unit, row->flags & CONFIG_F_SIZE ? ", or with k, kb, m, mb, g, gb" : "");
    while (why->data[why->len - 1] == ' ')
        why->len--;
}

static bool parse_int(const struct config_row *row, const char *value, int64_t *out, struct buf *why) {
    struct slice text = slice_of(value);
    bool ok = row->flags & CONFIG_F_PROPERTY ? str_decode_i64(text, out) : str_to_i64(text, out);
    if (!ok && (row->flags & CONFIG_F_SIZE))
        ok = parse_size(value, out);
    if (ok && *out >= row->min && *out <= row->max)
        return true;
    if (row->error != NULL) {
        buf_printf(why, "%s", row->error);
        return false;
    }
    if (ok)
        buf_printf(why, "'%.100s' is out of range", value);
    else
        buf_printf(why, "For input string: \"%.100s\"", value);
    explain_int(row, why);
    return false;
}

static bool parse_double(const struct config_row *row, const char *value, double *out, struct buf *why) {
    bool any = row->flags & CONFIG_F_ANY_DOUBLE;
    char *end;
    if (*value != '\0' && value[strspn(value, "0123456789.eE+-")] == '\0') {
        *out = strtod(value, &end);
        if (*end == '\0' && (any ? *out >= -1e9 && *out <= 1e9 : *out >= 0 && *out <= 1))
            return true;
    }
    buf_printf(why, "'%.100s' is not allowed: write a number%s", value, any ? "" : " from 0 to 1");
    return false;
}

static bool parse_choice(const struct config_row *row, const char *value, int *out, struct buf *why) {
    for (const struct config_choice *choice = row->choices; choice->text != NULL; choice++) {
        if (strcasecmp(value, choice->text) == 0) {
            *out = choice->value;
            return true;
        }
    }
    size_t len = row->error != NULL ? strlen(row->error) : 0;
    if (len != 0)
        buf_printf(why, "%s%.100s", row->error, row->error[len - 1] == ' ' ? value : "");
    else
        buf_printf(why, "'%.100s' is not allowed", value);
    buf_printf(why, "; allowed are");
    for (const struct config_choice *choice = row->choices; choice->text != NULL; choice++)
        buf_printf(why, "%s %s", choice == row->choices ? "" : ",",
                   *choice->text != '\0' ? choice->text : "nothing (empty)");
    return false;
}

static void set_int(struct config *c, const struct config_row *row, int64_t number) {
    if (row->size == sizeof(int))
        *(int *)field_of(c, row) = (int)number;
    else
        *(int64_t *)field_of(c, row) = number;
}

static void set_text(struct config *c, const struct config_row *row, const char *value) {
    char **field = field_of(c, row);
    mem_free(*field);
    *field = *value != '\0' ? mem_strdup(value) : NULL;
}

bool config_row_set(struct config *c, const struct config_row *row, const char *name, const char *value,
                    struct buf *why) {
    bool has_field = row->offset != CONFIG_NO_FIELD;
    bool flag = false;
    int choice = 0;
    int64_t number = 0;
    double ratio = 0;
    switch (row->type) {
    case CONFIG_BOOL:
        if (!parse_bool(row, name, value, &flag, why))
            return false;
        if (has_field)
            *(bool *)field_of(c, row) = flag;
        return true;
    case CONFIG_INT:
        if (!parse_int(row, value, &number, why))
            return false;
        if (has_field)
            set_int(c, row, number);
        return true;
    case CONFIG_DOUBLE:
        if (!parse_double(row, value, &ratio, why))
            return false;
        if (has_field)
            *(double *)field_of(c, row) = ratio;
        return true;
    case CONFIG_ENUM:
        if (!parse_choice(row, value, &choice, why))
            return false;
        if (has_field)
            memcpy(field_of(c, row), &choice, sizeof choice);
        return true;
    case CONFIG_STRING:
    case CONFIG_PATH:
        if (has_field)
            set_text(c, row, value);
        return true;
    case CONFIG_LIST:
        if (has_field)
            list_set(field_of(c, row), value);
        return true;
    }
    return false;
}

/* -------- printing values -------- */

static void append_list(const struct config_list *list, struct buf *out) {
    for (size_t i = 0; i < list->count; i++)
        buf_printf(out, "%s%s", i == 0 ? "" : ",", list->items[i]);
}

static void append_choice(const struct config_row *row, int value, struct buf *out) {
    for (const struct config_choice *choice = row->choices; choice->text != NULL; choice++) {
        if (choice->value == value) {
            buf_printf(out, "%s", choice->text);
            return;
        }
    }
}

/* Booleans are shown in the words of their default: true and false, or yes and no. */
static void append_bool(const struct config_row *row, bool value, struct buf *out) {
    bool words = row->default_text[0] == 'y' || row->default_text[0] == 'n';
    buf_printf(out, "%s", words ? (value ? "yes" : "no") : (value ? "true" : "false"));
}

static void append_family(const struct config *c, const struct config_row *row, struct buf *out) {
    bool first = true;
    for (size_t i = 0; i < c->entry_count; i++) {
        if (config_row_find(c->entries[i].name) != row)
            continue;
        buf_printf(out, "%s%s=%s", first ? "" : " ", c->entries[i].name, c->entries[i].value);
        first = false;
    }
}

void config_row_value(const struct config *c, const struct config_row *row, struct buf *out) {
    if (row->flags & CONFIG_F_FAMILY) {
        append_family(c, row, out);
        return;
    }
    if (row->offset == CONFIG_NO_FIELD) {
        const char *text = config_entry_value(c, row->name);
        buf_printf(out, "%s", text != NULL ? text : row->default_text);
        return;
    }
    const void *field = field_of_const(c, row);
    int choice;
    switch (row->type) {
    case CONFIG_BOOL:
        append_bool(row, *(const bool *)field, out);
        break;
    case CONFIG_INT:
        buf_printf(out, "%lld",
                   row->size == sizeof(int) ? (long long)*(const int *)field : (long long)*(const int64_t *)field);
        break;
    case CONFIG_DOUBLE:
        buf_printf(out, "%.10g", *(const double *)field);
        break;
    case CONFIG_ENUM:
        memcpy(&choice, field, sizeof choice);
        append_choice(row, choice, out);
        break;
    case CONFIG_STRING:
    case CONFIG_PATH:
        if (*(char *const *)field != NULL)
            buf_printf(out, "%s", *(char *const *)field);
        break;
    case CONFIG_LIST:
        append_list(field, out);
        break;
    }
}

size_t config_option_count(void) { return config_row_count; }

void config_describe(const struct config *c, size_t index, struct config_description *out, struct buf *value) {
    static const char *const no_aliases[] = {NULL};
    const struct config_row *row = &config_rows[index];
    *out = (struct config_description){
        .name = row->name,
        .aliases = row->aliases != NULL ? row->aliases : no_aliases,
        .class = row->class,
        .unit = row->unit,
        .default_text = row->default_text,
        .doc = row->doc,
        .origin = config_setting_of(c, row)->origin,
    };
    size_t before = value->len;
    config_row_value(c, row, value);
    if ((row->flags & CONFIG_F_SECRET) && value->len > before) {
        value->len = before;
        buf_printf(value, "(set)");
    }
}

/* -------- one option from anywhere -------- */

struct config_setting *config_setting_of(const struct config *c, const struct config_row *row) {
    return &c->settings[row - config_rows];
}

static void report_unknown(const char *name, const char *origin, enum config_rank rank, struct config_log *log) {
    const char *nearest = log->count < MESSAGES_MAX ? config_name_nearest(name) : NULL;
    /* A name on the command line was typed just now, so it is a slip; real zoo.cfg files are full of old names. */
    enum config_severity severity = rank == CONFIG_RANK_COMMAND ? CONFIG_ERROR : CONFIG_WARNING;
    size_t before = log->count;
    config_log_add(log, severity, "%s: unknown option '%.200s'%s%s%s%s", origin, name,
                   severity == CONFIG_WARNING ? CONFIG_IGNORED : "", nearest != NULL ? "; did you mean '" : "",
                   nearest != NULL ? nearest : "", nearest != NULL ? "'?" : "");
    if (log->count > before && severity == CONFIG_WARNING) {
        log->items[before].ignored_at = (size_t)snprintf(NULL, 0, "%s: unknown option '%.200s'", origin, name);
    }
}

bool config_apply(struct config *c, const char *name, const char *value, const char *origin, enum config_rank rank,
                  struct config_log *log) {
    name = config_name_strip(name);
    const struct config_row *row = config_row_find(name);
    if (row == NULL) {
        report_unknown(name, origin, rank, log);
        return false;
    }
    if (rank == CONFIG_RANK_JVM && (row->flags & CONFIG_F_RAW))
        rank = CONFIG_RANK_JVM_ONLY;
    struct config_setting *setting = config_setting_of(c, row);
    bool family = row->flags & CONFIG_F_FAMILY;
    struct buf why = BUF_INIT;
    /* A value that is overruled is checked all the same: by its row without the field. */
    struct config_row check_only = *row;
    check_only.offset = CONFIG_NO_FIELD;
    bool overruled = !family && setting->rank > rank;
    if (!config_row_set(c, overruled ? &check_only : row, name, value, &why)) {
        config_log_add(log, CONFIG_ERROR, "%s: %s: %.*s", origin, name, (int)why.len, (const char *)why.data);
        buf_free(&why);
        return false;
    }
    buf_free(&why);
    if (overruled)
        return true;
    if (row->offset == CONFIG_NO_FIELD)
        config_entry_put(c, family ? name : row->name, value, origin, rank);
    mem_free(setting->origin);
    mem_free(setting->name);
    *setting = (struct config_setting){.rank = rank, .origin = mem_strdup(origin), .name = mem_strdup(name)};
    return true;
}

bool config_set(struct config *c, const char *name, const char *value, struct config_log *log) {
    return config_apply(c, name, value, config_command_origin, CONFIG_RANK_COMMAND, log);
}

/* -------- life -------- */

void config_defaults(struct config *c) {
    *c = (struct config){.server_id = 1};
    c->settings = mem_calloc(config_row_count, sizeof *c->settings);
    for (size_t i = 0; i < config_row_count; i++) {
        const struct config_row *row = &config_rows[i];
        struct buf why = BUF_INIT;
        if (row->offset != CONFIG_NO_FIELD)
            zassert(config_row_set(c, row, row->name, row->default_text, &why));
        buf_free(&why);
    }
}

void config_free(struct config *c) {
    for (size_t i = 0; i < config_row_count; i++) {
        const struct config_row *row = &config_rows[i];
        if (row->offset != CONFIG_NO_FIELD && (row->type == CONFIG_STRING || row->type == CONFIG_PATH))
            set_text(c, row, "");
        else if (row->offset != CONFIG_NO_FIELD && row->type == CONFIG_LIST)
            list_clear(field_of(c, row));
        mem_free(c->settings[i].origin);
        mem_free(c->settings[i].name);
    }
    for (size_t i = 0; i < c->entry_count; i++) {
        mem_free(c->entries[i].name);
        mem_free(c->entries[i].value);
        mem_free(c->entries[i].origin);
    }
    mem_free(c->entries);
    mem_free(c->settings);
    mem_free(c->main_file);
    *c = (struct config){.server_id = 1};
}

/* -------- what follows from the values -------- */

static int ticks(const struct config *c, int count) {
    return (int)i64_min((int64_t)c->tick_time_ms * count, INT32_MAX);
}

static bool provider_listed(const struct config *c, const char *class) {
    for (size_t i = 0; i < c->entry_count; i++) {
        const char *dot = strrchr(c->entries[i].value, '.');
        if (strncmp(c->entries[i].name, "authProvider.", 13) == 0 && dot != NULL && strcmp(dot + 1, class) == 0)
            return true;
    }
    return false;
}

static void resolve_ensemble(struct config *c) {
    if (c->election_read_timeout_ms <= 0)
        c->election_read_timeout_ms = ticks(c, c->sync_limit_ticks);
    if (c->notification_interval_max_ms < c->notification_interval_min_ms)
        c->notification_interval_max_ms = c->notification_interval_min_ms;
    if (config_is_set(c, "observer.syncEnabled"))
        c->sync_enabled = c->observer_sync_enabled;
    if (c->commit_log_count < 500)
        c->commit_log_count = 500;
    if (c->snapshot_size_factor > 1)
        c->snapshot_size_factor = 0.33;
}

void config_resolve(struct config *c) {
    if (c->min_session_timeout_ms == -1)
        c->min_session_timeout_ms = ticks(c, 2);
    if (c->max_session_timeout_ms == -1)
        c->max_session_timeout_ms = ticks(c, 20);
    if (c->data_log_dir == NULL && c->data_dir != NULL)
        c->data_log_dir = mem_strdup(c->data_dir);
    if (c->bind.count == 1 && strcmp(c->bind.items[0], "*") == 0)
        list_clear(&c->bind);
    c->jute_maxbuffer_bytes = i64_min(c->jute_maxbuffer_bytes, REQUEST_BYTES_MAX);
    if (c->jute_maxbuffer_extra_bytes == -1)
        c->jute_maxbuffer_extra_bytes = c->jute_maxbuffer_bytes;
    c->jute_maxbuffer_extra_bytes = i64_max(c->jute_maxbuffer_extra_bytes, 1024);
    c->max_request_bytes = i64_max(c->max_request_bytes, c->jute_maxbuffer_bytes);
    if (c->snap_count < 2)
        c->snap_count = 2;
    if (c->autopurge_snap_retain_count < 3)
        c->autopurge_snap_retain_count = 3;
    if (c->digest_auth_alg != NULL && strcasecmp(c->digest_auth_alg, "SHA") == 0) {
        mem_free(c->digest_auth_alg); /* only Java knows it by this name */
        c->digest_auth_alg = mem_strdup("SHA1");
    }
    resolve_ensemble(c);
    c->auth_sasl_registered = provider_listed(c, "SASLAuthenticationProvider");
    c->auth_ensemble_registered = provider_listed(c, "EnsembleAuthenticationProvider");
    /* ZooKeeper registers x509 by itself where there is a secure port. */
    const char *secure_port = config_entry_value(c, "secureClientPort");
    c->auth_x509_registered =
        provider_listed(c, "X509AuthenticationProvider") || (secure_port != NULL && strcmp(secure_port, "0") != 0);
}

int64_t config_jute_record_max_bytes(const struct config *c) {
    int64_t extra = c->jute_maxbuffer_extra_bytes == -1 ? c->jute_maxbuffer_bytes : c->jute_maxbuffer_extra_bytes;
    return i64_min(c->jute_maxbuffer_bytes + i64_max(extra, 1024), INT32_MAX);
}

bool config_word_allowed(const struct config *c, const char *word) {
    if (strcmp(word, "srvr") == 0 || (c->readonly_mode_enabled && strcmp(word, "isro") == 0))
        return true;
    for (size_t i = 0; i < c->four_letter_words.count; i++)
        if (strcmp(c->four_letter_words.items[i], "*") == 0 || strcmp(c->four_letter_words.items[i], word) == 0)
            return true;
    return false;
}

bool config_is_set(const struct config *c, const char *name) {
    const struct config_row *row = config_row_find(config_name_strip(name));
    return row != NULL && config_setting_of(c, row)->rank != CONFIG_RANK_DEFAULT;
}
