/* The main file after a reconfiguration. */
#include <inttypes.h>

#include "base/mem.h"
#include "base/strutil.h"
#include "server/config.h"
#include "server/config_lines.h"
#include "server/config_table.h"

static bool in_main_file(const struct config *c, const char *origin) {
    size_t len = strlen(c->main_file);
    return origin != NULL && strncmp(origin, c->main_file, len) == 0 && origin[len] == ':';
}

bool config_can_be_rewritten(const struct config *c) {
    if (c->main_file == NULL)
        return false;
    if (c->dynamic_config_file != NULL)
        return in_main_file(c, config_setting_of(c, config_row_find("dynamicConfigFile"))->origin);
    for (size_t i = 0; i < c->entry_count; i++) {
        const struct config_row *row = config_row_find(c->entries[i].name);
        if (row != NULL && (row->flags & CONFIG_F_MEMBERS) && !in_main_file(c, c->entries[i].origin))
            return false;
    }
    return true;
}

static bool is_moved(struct slice name, bool client_too) {
    char *text = mem_alloc(name.len + 1);
    memcpy(text, name.data, name.len);
    text[name.len] = '\0';
    const char *stripped = config_name_strip(text);
    const struct config_row *row = config_row_find(stripped);
    bool client = strcmp(stripped, "clientPort") == 0 || strcmp(stripped, "clientPortAddress") == 0;
    bool moved = (client_too && client) || (row != NULL && ((row->flags & CONFIG_F_MEMBERS) || strcmp(row->name, "peerType") == 0 ||
                                                            strcmp(row->name, "dynamicConfigFile") == 0));
    mem_free(text);
    return moved;
}

void config_rewrite(struct slice old, const char *dynamic_path, bool client_too, struct buf *out) {
    struct line_reader r = line_reader_at(old);
    struct buf line = BUF_INIT;
    struct slice name, value;
    int number;
    const char *from = old.data;
    while (line_next(&r, &line, &number)) {
        line_split((struct slice){(const char *)line.data, line.len}, &name, &value);
        /* Comments and empty lines before it belong to the file, whatever becomes of the line. */
        const char *to = is_moved(name, client_too) ? r.line : r.p;
        buf_append(out, from, (size_t)(to - from));
        from = r.p;
    }
    if (from != NULL)
        buf_append(out, from, (size_t)(r.end - from));
    if (out->len != 0 && out->data[out->len - 1] != '\n')
        buf_append(out, "\n", 1);
    buf_append(out, "dynamicConfigFile=", 18);
    for (const char *p = dynamic_path; *p != '\0'; p++)
        buf_append(out, *p == '\\' ? "\\\\" : p, *p == '\\' ? 2 : 1);
    buf_append(out, "\n", 1);
    buf_free(&line);
}

void config_dynamic_path(const char *main_path, const char *dynamic_path, int64_t version, struct buf *out) {
    int64_t before;
    const char *dot = dynamic_path != NULL ? strrchr(dynamic_path, '.') : NULL;
    if (dynamic_path == NULL)
        buf_printf(out, "%s.dynamic", main_path);
    else if (dot != NULL && str_hex_to_i64(slice_of(dot + 1), &before))
        buf_append(out, dynamic_path, (size_t)(dot - dynamic_path));
    else
        buf_append(out, dynamic_path, strlen(dynamic_path));
    buf_printf(out, ".%" PRIx64, (uint64_t)version);
}
