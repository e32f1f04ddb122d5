/* Where options come from: configuration files, the command line, JVM flags.
 *
 * A file is a Java properties file, byte for byte what a zoo.cfg is:
 *   - a line whose first character behind blanks is # or ! is a comment; empty lines mean nothing;
 *   - a line that ends in an odd number of backslashes goes on in the next one, whose leading blanks do not count;
 *   - the name ends at the first =, : or blank that has no backslash before it; then come blanks, at most one = or :,
 *     blanks, and the value, which is trimmed. One exception: behind a blank, "::" is the start of an IPv6 address;
 *   - \t \n \r \f and \uXXXX (UTF-16) are characters; any other character behind a backslash is itself.
 * Bytes are taken as UTF-8. One thing comes from redis.conf: a value that starts and ends with a double quote and has
 * none between is what stands between them ("" = empty). A # behind a value does not start a comment.
 *
 *     include FILE
 * reads another file in place, relative to the directory of the including one. */
#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/strutil.h"
#include "server/config.h"
#include "server/config_lines.h"
#include "server/config_table.h"

#define INCLUDE_DEPTH_MAX 16
#define FILE_BYTES_MAX ((size_t)16 << 20)

static bool hex4(const char *p, const char *end, uint32_t *unit) {
    int64_t v;
    if (end - p < 4 || p[0] == '+' || p[0] == '-' || !str_hex_to_i64((struct slice){p, 4}, &v))
        return false;
    *unit = (uint32_t)v;
    return true;
}

static void append_utf8(struct buf *out, uint32_t cp) {
    char b[4];
    size_t n = 0;
    if (cp < 0x80) {
        b[n++] = (char)cp;
    } else if (cp < 0x800) {
        b[n++] = (char)(0xc0 | cp >> 6);
        b[n++] = (char)(0x80 | (cp & 63));
    } else if (cp < 0x10000) {
        b[n++] = (char)(0xe0 | cp >> 12);
        b[n++] = (char)(0x80 | (cp >> 6 & 63));
        b[n++] = (char)(0x80 | (cp & 63));
    } else {
        b[n++] = (char)(0xf0 | cp >> 18);
        b[n++] = (char)(0x80 | (cp >> 12 & 63));
        b[n++] = (char)(0x80 | (cp >> 6 & 63));
        b[n++] = (char)(0x80 | (cp & 63));
    }
    buf_append(out, b, n);
}

/* Takes the XXXX of \uXXXX at *p, and a second \uXXXX if the first is the upper half of a character. */
static const char *unescape_unicode(const char **p, const char *end, struct buf *out) {
    uint32_t cp, low;
    if (!hex4(*p, end, &cp))
        return "Malformed \\uxxxx encoding.";
    *p += 4;
    if (cp >= 0xd800 && cp < 0xe000) {
        if (cp >= 0xdc00 || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u' || !hex4(*p + 2, end, &low) ||
            low < 0xdc00 || low > 0xdfff)
            return "half a character in a \\uxxxx encoding";
        *p += 6;
        cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(out, cp);
    return NULL;
}

/* Appends text with its escapes resolved and a closing NUL. Returns NULL, or what is wrong. */
static const char *unescape(struct slice text, struct buf *out) {
    for (const char *p = text.data, *end = p + text.len; p < end;) {
        char c = *p++;
        if (c == '\\' && p < end) {
            c = *p++;
            if (c == 'u') {
                const char *problem = unescape_unicode(&p, end, out);
                if (problem != NULL)
                    return problem;
                continue;
            }
            c = c == 't' ? '\t' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 'f' ? '\f' : c;
        }
        buf_append(out, &c, 1);
    }
    if (out->len != 0 && memchr(out->data, '\0', out->len) != NULL)
        return "a NUL character is not allowed";
    buf_append(out, "", 1);
    return NULL;
}

/* Trims as Java's String.trim does. In place; returns the start. */
static char *trim(char *text) {
    while (*text != '\0' && (unsigned char)*text <= ' ')
        text++;
    size_t len = strlen(text);
    while (len != 0 && (unsigned char)text[len - 1] <= ' ')
        len--;
    text[len] = '\0';
    return text;
}

static char *unquote(char *value) {
    size_t len = strlen(value);
    if (len < 2 || value[0] != '"' || strchr(value + 1, '"') != value + len - 1)
        return value;
    value[len - 1] = '\0';
    return value + 1;
}

/* -------- files -------- */

struct loader {
    struct config *config;
    config_read_file *read;
    void *ctx;
    struct config_log *log;
    bool dynamic; /* reading the file of dynamicConfigFile */
};

/* The files that are being read, innermost first. */
struct open_file {
    const char *path;
    const struct open_file *includer;
    int depth;
};

static void load_file(struct loader *l, const char *path, const char *included_at, const struct open_file *includer);

/* A path as written in a file, relative to the directory of that file. */
static char *path_beside(const char *file, const char *path) {
    const char *slash = strrchr(file, '/');
    if (path[0] == '/' || slash == NULL)
        return mem_strdup(path);
    size_t dir = (size_t)(slash - file) + 1, len = strlen(path);
    char *joined = mem_alloc(dir + len + 1);
    memcpy(joined, file, dir);
    memcpy(joined + dir, path, len + 1);
    return joined;
}

static void include(struct loader *l, const char *value, const char *origin, const struct open_file *file) {
    if (*value == '\0') {
        config_log_add(l->log, CONFIG_ERROR, "%s: include needs the name of a file", origin);
        return;
    }
    char *path = path_beside(file->path, value);
    bool fine = true;
    if (file->depth >= INCLUDE_DEPTH_MAX) {
        config_log_add(l->log, CONFIG_ERROR, "%s: files are included %d deep; no more is allowed", origin,
                       INCLUDE_DEPTH_MAX);
        fine = false;
    }
    for (const struct open_file *f = file; fine && f != NULL; f = f->includer) {
        if (strcmp(f->path, path) == 0) {
            config_log_add(l->log, CONFIG_ERROR,
                           "%s: %s is being read already: files must not include each other in a circle", origin, path);
            fine = false;
        }
    }
    if (fine)
        load_file(l, path, origin, file);
    mem_free(path);
}

static void apply_dynamic(struct loader *l, const char *name, const char *value, const char *origin) {
    const struct config_row *row = config_row_find(name);
    if (strcmp(name, "version") == 0)
        config_log_add(l->log, CONFIG_ERROR, "%s: dynamic file shouldn't have version inside", origin);
    else if (row == NULL || !(row->flags & CONFIG_F_MEMBERS))
        config_log_add(l->log, CONFIG_ERROR,
                       "%s: Unrecognised parameter: %.200s (only server.N, group.N and weight.N are allowed here)",
                       origin, name);
    else
        config_apply(l->config, name, value, origin, CONFIG_RANK_FILE, l->log);
}

static void apply_line(struct loader *l, struct slice line, int number, const struct open_file *file) {
    struct buf origin = BUF_INIT, name = BUF_INIT, value = BUF_INIT;
    struct slice raw_name, raw_value;
    buf_printf(&origin, "%s:%d", file->path, number);
    buf_append(&origin, "", 1);
    const char *where = (const char *)origin.data;
    line_split(line, &raw_name, &raw_value);
    const char *problem = unescape(raw_name, &name);
    if (problem == NULL)
        problem = unescape(raw_value, &value);
    if (problem != NULL) {
        config_log_add(l->log, CONFIG_ERROR, "%s: %s", where, problem);
    } else {
        const char *key = trim((char *)name.data), *text = unquote(trim((char *)value.data));
        if (l->dynamic)
            apply_dynamic(l, key, text, where);
        else if (strcmp(key, "include") == 0)
            include(l, text, where, file);
        else
            config_apply(l->config, key, text, where, CONFIG_RANK_FILE, l->log);
    }
    buf_free(&origin);
    buf_free(&name);
    buf_free(&value);
}

/* included_at: where the file is named, or NULL for the main file. */
static void load_file(struct loader *l, const char *path, const char *included_at, const struct open_file *includer) {
    struct buf text = BUF_INIT, line = BUF_INIT;
    const char *at = included_at != NULL ? included_at : "", *colon = included_at != NULL ? ": " : "";
    int err = l->read(l->ctx, path, &text);
    if (err == -ENOENT)
        config_log_add(l->log, CONFIG_ERROR, "%s%s%s file is missing", at, colon, path);
    else if (err < 0)
        config_log_add(l->log, CONFIG_ERROR, "%s%s%s cannot be read: %s", at, colon, path, strerror(-err));
    else if (text.len > FILE_BYTES_MAX)
        config_log_add(l->log, CONFIG_ERROR, "%s%s%s is too long for a configuration (more than %zu bytes)", at, colon,
                       path, FILE_BYTES_MAX);
    if (err >= 0 && text.len <= FILE_BYTES_MAX) {
        struct open_file file = {path, includer, includer != NULL ? includer->depth + 1 : 0};
        struct line_reader r = line_reader_at((struct slice){(const char *)text.data, text.len});
        int number;
        while (line_next(&r, &line, &number))
            apply_line(l, (struct slice){(const char *)line.data, line.len}, number, &file);
    }
    buf_free(&text);
    buf_free(&line);
}

static void load_dynamic(struct loader *l) {
    struct config *c = l->config;
    const char *at = config_setting_of(c, config_row_find("dynamicConfigFile"))->origin;
    for (size_t i = 0; i < c->entry_count; i++) {
        const struct config_row *row = config_row_find(c->entries[i].name);
        if (row != NULL && (row->flags & CONFIG_F_MEMBERS))
            config_log_add(l->log, CONFIG_ERROR, "%s: parameter: %s must be in a separate dynamic config file",
                           c->entries[i].origin, c->entries[i].name);
    }
    l->dynamic = true;
    load_file(l, c->dynamic_config_file, at, NULL);
    c->dynamic_file_read = true;
}

void config_load(struct config *c, const char *path, config_read_file *read, void *ctx, struct config_log *log) {
    struct loader l = {c, read, ctx, log, false};
    if (path != NULL) {
        mem_free(c->main_file);
        c->main_file = mem_strdup(path);
        load_file(&l, path, NULL, NULL);
    }
    if (c->dynamic_config_file != NULL)
        load_dynamic(&l);
}

/* -------- JVM properties -------- */

/* word = name=value, what stands behind -D. */
static void apply_property(struct config *c, const char *word, const char *origin, struct config_log *log) {
    size_t len = strcspn(word, "=");
    char *name = mem_dup(word, strlen(word) + 1);
    const char *value = word[len] == '=' ? word + len + 1 : "";
    name[len] = '\0';
    const char *stripped = config_name_strip(name);
    if (stripped != name || config_row_find(name) != NULL) {
        config_apply(c, stripped, value, origin, CONFIG_RANK_JVM, log);
    } else {
        /* A property of the JVM or of a library: it joins the one notice about such things. */
        struct buf entry = BUF_INIT;
        buf_printf(&entry, "-D%s", name);
        buf_append(&entry, "", 1);
        config_entry_put(c, (const char *)entry.data, value, origin, CONFIG_RANK_JVM);
        buf_free(&entry);
    }
    mem_free(name);
}

void config_jvm_flags(struct config *c, const char *origin, const char *flags, struct config_log *log) {
    static const char blanks[] = " \t\r\n";
    for (const char *p = flags != NULL ? flags + strspn(flags, blanks) : ""; *p != '\0'; p += strspn(p, blanks)) {
        size_t len = strcspn(p, blanks);
        if (len > 2 && p[0] == '-' && p[1] == 'D') {
            char *word = mem_dup(p + 2, len - 1);
            word[len - 2] = '\0';
            apply_property(c, word, origin, log);
            mem_free(word);
        }
        p += len;
    }
}

/* -------- command line -------- */

struct args {
    char *const *argv;
    int argc, at;
};

static bool next_is_value(const struct args *a) { return a->at < a->argc && strncmp(a->argv[a->at], "--", 2) != 0; }

/* The value of "--name" from the words behind it: all of them for a list, one for the rest, none if a boolean stands
 * alone. False if one is missing. */
static bool gather_value(struct args *a, const struct config_row *row, struct buf *value) {
    if (!next_is_value(a)) {
        buf_append(value, "yes", 4);
        return row == NULL || row->type == CONFIG_BOOL; /* an unknown name is reported as such */
    }
    buf_printf(value, "%s", a->argv[a->at++]);
    while (row != NULL && row->type == CONFIG_LIST && next_is_value(a) && strncmp(a->argv[a->at], "-D", 2) != 0)
        buf_printf(value, " %s", a->argv[a->at++]);
    buf_append(value, "", 1);
    return true;
}

static void apply_argument(struct config *c, struct args *a, const char *arg, struct config_log *log) {
    size_t len = strcspn(arg, "=");
    char *name = mem_dup(arg, strlen(arg) + 1);
    name[len] = '\0';
    if (arg[len] == '=') {
        config_apply(c, name, arg + len + 1, config_command_origin, CONFIG_RANK_COMMAND, log);
    } else if (strcmp(name, "include") == 0) {
        config_log_add(log, CONFIG_ERROR, "%s: include is for configuration files", config_command_origin);
    } else {
        const struct config_row *row = config_row_find(config_name_strip(name));
        struct buf value = BUF_INIT;
        if (gather_value(a, row, &value))
            config_apply(c, name, (const char *)value.data, config_command_origin, CONFIG_RANK_COMMAND, log);
        else
            config_log_add(log, CONFIG_ERROR, "%s: --%s needs a value", config_command_origin, name);
        buf_free(&value);
    }
    mem_free(name);
}

/* Words that are neither options nor their values: one configuration file, or ZooKeeper's old style. */
static void apply_words(struct config *c, const char *const *words, size_t count, struct config_command *out,
                        struct config_log *log) {
    static const char *const old_style[] = {"clientPort", "dataDir", "tickTime", "maxClientCnxns"};
    int64_t port;
    if (count == 1) {
        out->config_path = words[0];
    } else if (count > 1 && count <= ARRAY_LEN(old_style) && str_to_i64(slice_of(words[0]), &port)) {
        for (size_t i = 0; i < count; i++)
            config_apply(c, old_style[i], words[i], config_command_origin, CONFIG_RANK_COMMAND, log);
    } else if (count > 1) {
        config_log_add(log, CONFIG_ERROR,
                       "%s: '%.200s' is one word too many; allowed are one configuration file, or <port> <dataDir> "
                       "[tickTime] [maxClientCnxns]",
                       config_command_origin, words[1]);
    }
}

void config_args(struct config *c, int argc, char *const *argv, struct config_command *out, struct config_log *log) {
    struct args a = {argv, argc, 1};
    const char *words[5];
    size_t count = 0;
    *out = (struct config_command){0};
    while (a.at < argc) {
        const char *arg = argv[a.at++];
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
            out->help = true;
        else if (strcmp(arg, "--version") == 0 || strcmp(arg, "-v") == 0)
            out->version = true;
        else if (strcmp(arg, "--check-config") == 0)
            out->check_config = true;
        else if (strncmp(arg, "--", 2) == 0)
            apply_argument(c, &a, arg + 2, log);
        else if (strncmp(arg, "-D", 2) == 0 && arg[2] != '\0')
            apply_property(c, arg + 2, config_command_origin, log);
        else if (arg[0] == '-')
            config_log_add(log, CONFIG_ERROR, "%s: '%.200s' is not an option; options begin with -- or -D, see --help",
                           config_command_origin, arg);
        else if (count < ARRAY_LEN(words))
            words[count++] = arg;
    }
    apply_words(c, words, count, out, log);
}
