#include "tree/path.h"

#include "base/log.h"

/* Length of the allowed character at p, 0 if it is not allowed. The forbidden ranges are those of section 3.2 in UTF-8
 * terms; everything from byte f0 on is forbidden, so three bytes are the most. */
static size_t allowed_char(const uint8_t *p, const uint8_t *end) {
    if (p[0] < 0x80)
        return p[0] >= 0x20 && p[0] != 0x7f;
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        bool ok = end - p >= 2 && (p[1] & 0xc0) == 0x80 && !(p[0] == 0xc2 && p[1] < 0xa0); /* U+0080..U+009F */
        return ok ? 2 : 0;
    }
    if (p[0] < 0xe0 || p[0] > 0xef || end - p < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80)
        return 0;
    uint32_t code = (uint32_t)(p[0] & 15) << 12 | (uint32_t)(p[1] & 63) << 6 | (p[2] & 63);
    bool overlong = code < 0x800, private_use = code >= 0xd800 && code <= 0xf8ff, special = code >= 0xfff0;
    return overlong || private_use || special ? 0 : 3;
}

static bool component_valid(const char *p, size_t len) {
    return len != 0 && !(len == 1 && p[0] == '.') && !(len == 2 && p[0] == '.' && p[1] == '.');
}

bool path_valid(struct slice path) {
    if (path.len == 0 || path.data[0] != '/')
        return false;
    if (path.len == 1)
        return true;
    const char *p = path.data + 1, *end = path.data + path.len, *start = p;
    while (p < end) {
        if (*p == '/') {
            if (!component_valid(start, (size_t)(p - start)))
                return false;
            start = ++p;
            continue;
        }
        size_t n = allowed_char((const uint8_t *)p, (const uint8_t *)end);
        if (n == 0)
            return false;
        p += n;
    }
    return component_valid(start, (size_t)(p - start));
}

static const char *last_slash(struct slice path) {
    const char *p = path.len ? memrchr(path.data, '/', path.len) : NULL;
    zassert(p != NULL);
    return p;
}

struct slice path_parent(struct slice path) {
    return (struct slice){path.data, (size_t)(last_slash(path) - path.data)};
}

struct slice path_name(struct slice path) {
    const char *name = last_slash(path) + 1;
    return (struct slice){name, (size_t)(path.data + path.len - name)};
}

bool path_within(struct slice path, struct slice prefix) {
    if (prefix.len == 0 || slice_is(prefix, "/"))
        return true;
    return slice_starts(path, prefix) && (path.len == prefix.len || path.data[prefix.len] == '/');
}
