#include "server/config_lines.h"

/* A blank of the properties grammar, line ends excepted. */
static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\f'; }

struct line_reader line_reader_at(struct slice text) {
    const char *start = text.data != NULL ? text.data : "";
    struct line_reader r = {.p = start, .end = start + text.len, .line = start, .number = 1};
    if (slice_starts(text, SLICE_LIT("\xef\xbb\xbf")))
        r.p += 3;
    return r;
}

/* Takes one line as it stands in the file, without leading blanks and line end. */
static struct slice physical_line(struct line_reader *r) {
    while (r->p < r->end && is_blank(*r->p))
        r->p++;
    const char *start = r->p;
    while (r->p < r->end && *r->p != '\n' && *r->p != '\r')
        r->p++;
    struct slice line = {start, (size_t)(r->p - start)};
    if (r->p < r->end && *r->p++ == '\r' && r->p < r->end && *r->p == '\n')
        r->p++;
    r->number++;
    return line;
}

static bool continues(struct slice line) {
    size_t backslashes = 0;
    while (backslashes < line.len && line.data[line.len - 1 - backslashes] == '\\')
        backslashes++;
    return backslashes % 2 == 1;
}

bool line_next(struct line_reader *r, struct buf *out, int *number) {
    while (r->p < r->end) {
        r->line = r->p;
        *number = r->number;
        struct slice line = physical_line(r);
        if (line.len == 0 || line.data[0] == '#' || line.data[0] == '!')
            continue;
        buf_clear(out);
        while (continues(line)) {
            buf_append(out, line.data, line.len - 1);
            line = r->p < r->end ? physical_line(r) : SLICE_LIT("");
        }
        buf_append(out, line.data, line.len);
        if (out->len != 0)
            return true;
    }
    return false;
}

void line_split(struct slice line, struct slice *name, struct slice *value) {
    const char *p = line.data, *end = p + line.len;
    while (p < end && *p != '=' && *p != ':' && !is_blank(*p))
        p += *p == '\\' && end - p > 1 ? 2 : 1;
    *name = (struct slice){line.data, (size_t)(p - line.data)};
    const char *behind_name = p;
    while (p < end && is_blank(*p))
        p++;
    bool address = p > behind_name && end - p > 1 && p[0] == ':' && p[1] == ':';
    if (p < end && (*p == '=' || *p == ':') && !address)
        p++;
    while (p < end && is_blank(*p))
        p++;
    *value = (struct slice){p, (size_t)(end - p)};
}
