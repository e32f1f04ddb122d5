/* The uncompressed bytes of a snapshot file, whatever its compression. */
#include <errno.h>
#include <snappy-c.h>
#include <string.h>
#include <zlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/snapshot.h"
#include "store/snapshot_format.h"

#define INPUT_BYTES ((size_t)256 * 1024)
/* Java writes blocks of 32 KiB; anything much larger is not a length. Compressed, one fits into the input. */
#define BLOCK_BYTES_MAX ((size_t)4 * SNAPPY_BLOCK_BYTES)

struct snapstream {
    const struct disk *disk;
    int handle;
    int err; /* sticky */
    enum snapshot_method method;
    int64_t offset; /* in the file, of the next byte to read */
    bool end;       /* of the uncompressed stream */
    /* compressed input: [in_pos, in_len) of input is not used yet */
    uint8_t *input;
    size_t in_pos, in_len;
    bool in_end;
    z_stream z;
    bool z_started;
    bool z_member; /* inside a gzip member */
    bool z_any;    /* there was one */
    /* the current snappy block, uncompressed */
    bool snappy_started;
    uint8_t *block;
    size_t block_pos, block_len;
};

struct snapstream *snapstream_open(const struct disk *d, const char *name, int *err) {
    int handle = d->open(d->ctx, DISK_SNAP, name, DISK_READ);
    *err = handle < 0 ? handle : 0;
    if (handle < 0)
        return NULL;
    struct snapstream *s = mem_calloc(1, sizeof *s);
    s->disk = d;
    s->handle = handle;
    s->method = store_snapshot_method(name);
    if (s->method != SNAPSHOT_PLAIN)
        s->input = mem_alloc(INPUT_BYTES);
    if (s->method == SNAPSHOT_SNAPPY)
        s->block = mem_alloc(BLOCK_BYTES_MAX);
    if (s->method == SNAPSHOT_GZIP) {
        int result = inflateInit2(&s->z, 15 + 16); /* + 16: a gzip header and trailer are expected and checked */
        zassert(result == Z_OK);
        s->z_started = true;
    }
    return s;
}

void snapstream_close(struct snapstream *s) {
    if (s == NULL)
        return;
    if (s->z_started)
        inflateEnd(&s->z);
    s->disk->close(s->disk->ctx, s->handle);
    mem_free(s->input);
    mem_free(s->block);
    mem_free(s);
}

/* Tops up the input; at the end of the file in_end is set. 0 or a negative errno. */
static int refill(struct snapstream *s) {
    memmove(s->input, s->input + s->in_pos, s->in_len - s->in_pos);
    s->in_len -= s->in_pos;
    s->in_pos = 0;
    size_t room = INPUT_BYTES - s->in_len;
    ssize_t n = disk_read_full(s->disk, s->handle, s->input + s->in_len, room, s->offset);
    if (n < 0)
        return (int)n;
    s->in_end = (size_t)n < room;
    s->in_len += (size_t)n;
    s->offset += n;
    return 0;
}

static ssize_t read_plain(struct snapstream *s, void *data, size_t size) {
    ssize_t n = disk_read_full(s->disk, s->handle, data, size, s->offset);
    if (n > 0)
        s->offset += n;
    return n;
}

/* Java's reader takes several members one after the other and ignores what is behind the last; so do we. */
static bool member_begins(const struct snapstream *s) {
    const uint8_t *p = s->input + s->in_pos;
    return s->in_len - s->in_pos >= 2 && p[0] == 0x1f && p[1] == 0x8b;
}

static ssize_t read_gzip(struct snapstream *s, void *data, size_t size) {
    uInt wanted = (uInt)size_min(size, INT32_MAX);
    s->z.next_out = data;
    s->z.avail_out = wanted;
    while (s->z.avail_out > 0) {
        if (s->in_len - s->in_pos < 2 && !s->in_end) {
            int err = refill(s);
            if (err != 0)
                return err;
        }
        if (!s->z_member) {
            if (!member_begins(s)) {
                if (!s->z_any)
                    return -EBADMSG;
                s->end = true;
                break;
            }
            inflateReset(&s->z);
            s->z_member = s->z_any = true;
        }
        s->z.next_in = s->input + s->in_pos;
        s->z.avail_in = (uInt)(s->in_len - s->in_pos);
        int result = inflate(&s->z, Z_NO_FLUSH);
        s->in_pos = s->in_len - s->z.avail_in;
        if (result == Z_STREAM_END)
            s->z_member = false;
        else if (result != Z_OK)
            return -EBADMSG; /* damaged, or (Z_BUF_ERROR) the file ends inside a member */
    }
    return (ssize_t)(wanted - s->z.avail_out);
}

/* Takes n bytes of input, which stay valid until the next call. NULL with *err = 0 if the file ends before any of them. */
static const uint8_t *take_input(struct snapstream *s, size_t n, int *err) {
    *err = 0;
    if (s->in_len - s->in_pos < n && !s->in_end)
        *err = refill(s);
    size_t have = s->in_len - s->in_pos;
    if (*err == 0 && have < n && have > 0)
        *err = -EBADMSG;
    if (*err != 0 || (have == 0 && n > 0))
        return NULL;
    const uint8_t *p = s->input + s->in_pos;
    s->in_pos += n;
    return p;
}

/* Decompresses the next block. 1, or 0 at the end of the file, or a negative errno. */
static int next_block(struct snapstream *s) {
    int err;
    const uint8_t *p = take_input(s, 4, &err);
    while (p != NULL && memcmp(p, snappy_header, 4) == 0) {
        /* Streams one after the other repeat the header. */
        p = take_input(s, SNAPPY_HEADER_BYTES - 4, &err);
        if (p == NULL)
            return err != 0 ? err : -EBADMSG;
        p = take_input(s, 4, &err);
    }
    if (p == NULL)
        return err;
    uint32_t len = be32_load(p);
    if (len > snappy_max_compressed_length(BLOCK_BYTES_MAX))
        return -EBADMSG;
    p = take_input(s, len, &err);
    if (p == NULL)
        return err != 0 ? err : -EBADMSG;
    size_t size;
    if (snappy_uncompressed_length((const char *)p, len, &size) != SNAPPY_OK || size > BLOCK_BYTES_MAX ||
        snappy_uncompress((const char *)p, len, (char *)s->block, &size) != SNAPPY_OK)
        return -EBADMSG;
    s->block_pos = 0;
    s->block_len = size;
    return 1;
}

static ssize_t read_snappy(struct snapstream *s, void *data, size_t size) {
    if (!s->snappy_started) {
        int err;
        const uint8_t *p = take_input(s, SNAPPY_HEADER_BYTES, &err);
        if (p == NULL || memcmp(p, snappy_header, 8) != 0)
            return err != 0 ? err : -EBADMSG;
        s->snappy_started = true;
    }
    size_t done = 0;
    while (done < size) {
        if (s->block_pos == s->block_len) {
            int more = next_block(s);
            if (more < 0)
                return more;
            s->end = more == 0;
            if (s->end)
                break;
        }
        size_t n = size_min(size - done, s->block_len - s->block_pos);
        memcpy((char *)data + done, s->block + s->block_pos, n);
        s->block_pos += n;
        done += n;
    }
    return (ssize_t)done;
}

ssize_t snapstream_read(struct snapstream *s, void *data, size_t size) {
    if (s->err != 0 || s->end || size == 0)
        return s->err;
    ssize_t n;
    switch (s->method) {
    case SNAPSHOT_GZIP:
        n = read_gzip(s, data, size);
        break;
    case SNAPSHOT_SNAPPY:
        n = read_snappy(s, data, size);
        break;
    default:
        n = read_plain(s, data, size);
    }
    if (n < 0)
        s->err = (int)n;
    return n;
}
