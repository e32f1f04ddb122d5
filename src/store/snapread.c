/* The parser of snapshots. It parses in place in a large window over the uncompressed stream, because start-up time is
 * mostly this loop, and carries the running checksum along whenever the window moves. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/mem.h"
#include "store/snapshot.h"
#include "store/snapshot_format.h"
#include "wire/txn.h"

#define WINDOW_BYTES ((size_t)1024 * 1024)
/* What may stand behind the first seal at the most; more is not a trailer. */
#define TRAILER_BYTES_MAX ((size_t)64 * 1024)

struct parser {
    struct snapstream *stream;
    const struct snapshot_sink *sink;
    struct snapshot_info *info;
    size_t max_item;
    uint8_t *window;
    size_t cap, len;
    size_t pos;      /* parsed so far */
    size_t summed;   /* in the checksum so far */
    int64_t base;    /* offset of the window in the stream */
    uint32_t adler;  /* of the stream up to summed */
    bool end;        /* the stream has no more bytes than those in the window */
};

static int reject(struct parser *p, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int reject(struct parser *p, int err, const char *fmt, ...) {
    char *text = p->info->error;
    size_t size = sizeof p->info->error;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, size, fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < size)
        snprintf(text + n, size - (size_t)n, " at byte %lld of the uncompressed stream",
                 (long long)(p->base + (int64_t)p->pos));
    return err;
}

static size_t left(const struct parser *p) { return p->len - p->pos; }
static const uint8_t *here(const struct parser *p) { return p->window + p->pos; }

static void sum_up(struct parser *p) {
    p->adler = (uint32_t)adler32_z(p->adler, p->window + p->summed, p->pos - p->summed);
    p->summed = p->pos;
}

/* Moves the window on so that want bytes are in it, or fewer if the stream ends. 0 or a negative errno. */
static int fill(struct parser *p, size_t want) {
    sum_up(p);
    memmove(p->window, here(p), left(p));
    p->base += (int64_t)p->pos;
    p->len -= p->pos;
    p->pos = p->summed = 0;
    if (want > p->cap) {
        p->cap = want;
        p->window = mem_realloc(p->window, p->cap);
    }
    while (p->len < want && !p->end) {
        ssize_t n = snapstream_read(p->stream, p->window + p->len, p->cap - p->len);
        if (n < 0)
            return n == -EBADMSG ? reject(p, -EBADMSG, "the compressed data is damaged")
                                 : reject(p, (int)n, "reading failed: %s", strerror((int)-n));
        p->end = n == 0;
        p->len += (size_t)n;
    }
    return 0;
}

/* As fill, but the bytes must be there. */
static int need(struct parser *p, size_t want) {
    if (left(p) >= want)
        return 0;
    int err = fill(p, want);
    if (err == 0 && left(p) < want)
        err = reject(p, -EBADMSG, "the file ends in the middle");
    return err;
}

static int parse_header(struct parser *p) {
    int err = need(p, SNAPSHOT_HEADER_BYTES);
    if (err == 0 && be32_load(here(p)) != SNAPSHOT_MAGIC)
        err = reject(p, -EBADMSG, "no snapshot header");
    p->pos += SNAPSHOT_HEADER_BYTES;
    return err;
}

static int parse_count(struct parser *p, int32_t *count) {
    int err = need(p, 4);
    if (err != 0)
        return err;
    *count = (int32_t)be32_load(here(p));
    p->pos += 4;
    return 0;
}

static int parse_sessions(struct parser *p) {
    int32_t count;
    int err = parse_count(p, &count);
    for (; err == 0 && count > 0; count--) {
        err = need(p, 12);
        if (err != 0)
            break;
        session_id_t id = (session_id_t)be64_load(here(p));
        if (p->sink->session(p->sink->ctx, id, (int32_t)be32_load(here(p) + 8)) != 0)
            return reject(p, -EBADMSG, "session 0x%llx was refused", (unsigned long long)id);
        p->pos += 12;
    }
    return err;
}

/* The length of the ACL vector at the position behind its id; 0 if it is not complete in the window (or broken). */
static size_t acl_length(const struct parser *p) {
    struct jute_in in = jute_in(here(p), left(p));
    jute_long(&in);
    const uint8_t *start = in.p;
    int32_t count = jute_int(&in);
    if (in.failed || count < 0)
        return 0;
    for (; count > 0 && !in.failed; count--)
        acl_entry_get(&in);
    return in.failed ? 0 : (size_t)(in.p - start);
}

static int parse_acls(struct parser *p) {
    int32_t count;
    int err = parse_count(p, &count);
    for (; err == 0 && count > 0; count--) {
        size_t len = acl_length(p);
        while (len == 0) {
            size_t had = left(p);
            if (had > p->max_item)
                return reject(p, -EBADMSG, "an access control list is broken");
            err = fill(p, had * 2 + 64);
            if (err != 0)
                return err;
            len = acl_length(p);
            if (len == 0 && left(p) == had)
                return reject(p, -EBADMSG, "the access control lists end in the middle");
        }
        int64_t id = (int64_t)be64_load(here(p));
        if (p->sink->acl(p->sink->ctx, id, (struct slice){(const char *)here(p) + 8, len}) != 0)
            return reject(p, -EBADMSG, "access control list %lld was refused", (long long)id);
        p->pos += 8 + len;
    }
    return err;
}

static struct node_stat stat_load(const uint8_t *b) {
    return (struct node_stat){
        .czxid = (zxid_t)be64_load(b),
        .mzxid = (zxid_t)be64_load(b + 8),
        .ctime = (int64_t)be64_load(b + 16),
        .mtime = (int64_t)be64_load(b + 24),
        .version = (int32_t)be32_load(b + 32),
        .cversion = (int32_t)be32_load(b + 36),
        .aversion = (int32_t)be32_load(b + 40),
        .owner = (int64_t)be64_load(b + 44),
        .pzxid = (zxid_t)be64_load(b + 52),
    };
}

/* One node. 0; 1 = that was the end mark; a negative errno. */
static int parse_node(struct parser *p) {
    for (;;) {
        const uint8_t *b = here(p);
        size_t have = left(p), want = 5;
        if (have >= want) {
            size_t path_len = be32_load(b);
            if (UNLIKELY(path_len > p->max_item))
                return reject(p, -EBADMSG, "impossible path length %d", (int)(uint32_t)path_len);
            if (UNLIKELY(path_len == 1 && b[4] == '/')) {
                p->pos += 5;
                return 1;
            }
            want = 4 + path_len + 4;
            if (have >= want) {
                uint32_t data_word = be32_load(b + 4 + path_len);
                size_t data_len = data_word == UINT32_MAX ? 0 : data_word;
                if (UNLIKELY(data_len > p->max_item))
                    return reject(p, -EBADMSG, "impossible data length %d", (int)data_word);
                const uint8_t *data = b + want;
                want += data_len + 8 + SNAPSHOT_STAT_BYTES;
                if (LIKELY(have >= want)) {
                    struct slice path = {(const char *)b + 4, path_len};
                    struct slice value = {data_word == UINT32_MAX ? NULL : (const char *)data, data_len};
                    struct node_stat stat = stat_load(data + data_len + 8);
                    int64_t acl = (int64_t)be64_load(data + data_len);
                    if (UNLIKELY(p->sink->node(p->sink->ctx, path, value, acl, &stat) != 0))
                        return reject(p, -EBADMSG, "node \"%.*s\" was refused", (int)size_min(path_len, 60), path.data);
                    p->pos += want;
                    return 0;
                }
            }
        }
        int err = need(p, want);
        if (err != 0)
            return err;
    }
}

static int parse_nodes(struct parser *p) {
    int result;
    while ((result = parse_node(p)) == 0)
        p->info->nodes++;
    return result < 0 ? result : 0;
}

static int parse_seal(struct parser *p, int number) {
    sum_up(p);
    int err = need(p, SNAPSHOT_SEAL_BYTES);
    if (err != 0)
        return err;
    uint32_t expected = p->adler;
    if (be64_load(here(p)) != expected)
        return reject(p, -EBADMSG, "checksum %d does not match", number);
    /* The string behind it has no meaning and is not looked at, as in Java; only "/" was ever written. */
    size_t text = be32_load(here(p) + 8);
    if (text != 1)
        return reject(p, -EBADMSG, "checksum %d does not end as it must", number);
    p->pos += SNAPSHOT_SEAL_BYTES;
    return 0;
}

static int parse_digest(struct parser *p) {
    int err = need(p, 8 + 4);
    if (err != 0)
        return err;
    struct snapshot_info *info = p->info;
    info->digest_zxid = (zxid_t)be64_load(here(p));
    info->digest_version = (int32_t)be32_load(here(p) + 8);
    p->pos += 8 + 4;
    if (info->digest_version < DIGEST_VERSION) {
        /* Pre-releases of 3.6 wrote text here, of a digest that nobody computes any more. */
        err = need(p, 4);
        size_t len = err == 0 ? be32_load(here(p)) : 0;
        if (err == 0)
            err = len > TRAILER_BYTES_MAX ? reject(p, -EBADMSG, "impossible length") : need(p, 4 + len);
        p->pos += err == 0 ? 4 + len : 0;
    } else {
        err = need(p, 8);
        info->has_digest = err == 0;
        info->digest = err == 0 ? be64_load(here(p)) : 0;
        p->pos += err == 0 ? 8 : 0;
    }
    return err != 0 ? err : parse_seal(p, 2);
}

/* Which of the optional sections are there follows from the number of bytes left (section 4.1): a server's own settings
 * say nothing about who wrote the file. */
static int parse_trailer(struct parser *p) {
    const size_t last_zxid_bytes = SNAPSHOT_ZXID_BYTES + SNAPSHOT_SEAL_BYTES;
    int err = fill(p, TRAILER_BYTES_MAX);
    if (err != 0)
        return err;
    if (left(p) >= TRAILER_BYTES_MAX)
        return reject(p, -EBADMSG, "too much behind the nodes");
    if (left(p) != 0 && left(p) != last_zxid_bytes)
        err = parse_digest(p);
    if (err == 0 && left(p) == last_zxid_bytes) {
        p->info->has_last_zxid = true;
        p->info->last_zxid = (zxid_t)be64_load(here(p));
        p->pos += SNAPSHOT_ZXID_BYTES;
        err = parse_seal(p, 3);
    }
    if (err == 0 && left(p) != 0)
        err = reject(p, -EBADMSG, "%zu bytes too many", left(p));
    return err;
}

static int parse(struct parser *p) {
    int err = parse_header(p);
    if (err == 0)
        err = parse_sessions(p);
    if (err == 0)
        err = parse_acls(p);
    if (err == 0)
        err = parse_nodes(p);
    if (err == 0)
        err = parse_seal(p, 1);
    if (err == 0)
        err = parse_trailer(p);
    return err;
}

int snapshot_load(const struct disk *d, const char *name, const struct snapshot_sink *sink, size_t max_item,
                  struct snapshot_info *info) {
    int err;
    *info = (struct snapshot_info){0};
    struct parser p = {.sink = sink, .info = info, .max_item = size_min(max_item, INT32_MAX), .adler = 1};
    p.stream = snapstream_open(d, name, &err);
    if (p.stream == NULL)
        return reject(&p, err, "opening failed: %s", strerror(-err));
    p.cap = WINDOW_BYTES;
    p.window = mem_alloc(p.cap);
    err = parse(&p);
    mem_free(p.window);
    snapstream_close(p.stream);
    return err;
}

bool snapshot_looks_valid(const struct disk *d, const char *name, int *err) {
    static const uint8_t plain_end[] = {0, 0, 0, 1, '/'}, gzip_start[] = {0x1f, 0x8b};
    int handle = d->open(d->ctx, DISK_SNAP, name, DISK_READ);
    *err = handle < 0 ? handle : 0;
    if (handle < 0)
        return false;
    const uint8_t *expected = plain_end;
    size_t size = sizeof plain_end;
    int64_t offset = 0, file_size = d->size(d->ctx, handle);
    switch (store_snapshot_method(name)) {
    case SNAPSHOT_GZIP:
        expected = gzip_start;
        size = sizeof gzip_start;
        break;
    case SNAPSHOT_SNAPPY:
        expected = snappy_header;
        size = 8;
        break;
    case SNAPSHOT_PLAIN:
        offset = file_size - (int64_t)size;
        break;
    }
    uint8_t found[8];
    ssize_t n = file_size < 0 ? (ssize_t)file_size : file_size < 10 ? 0 : disk_read_full(d, handle, found, size, offset);
    d->close(d->ctx, handle);
    *err = n < 0 ? (int)n : 0;
    return n == (ssize_t)size && memcmp(found, expected, size) == 0;
}
