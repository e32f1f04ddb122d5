/* Writes one snapshot file. What comes in is summed up for the seals, compressed if wanted, gathered, written. */
#include <errno.h>
#include <snappy-c.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/snapshot.h"
#include "store/snapshot_format.h"

/* Synced in portions: a sync of the log has to wait for one of them at the most. */
#define SYNC_BYTES ((int64_t)1024 * 1024)

struct snapwriter {
    const struct disk *disk;
    char name[STORE_NAME_MAX];
    enum snapshot_method method;
    int handle;
    int err; /* sticky */
    bool finished;
    uint32_t adler; /* of all that came in */
    int64_t offset, synced;
    uint8_t *output; /* gathered, to be written at offset */
    size_t output_len;
    z_stream z;
    gz_header z_header;
    bool z_started;
    uint8_t *block; /* snappy: the block that fills up */
    size_t block_len;
};

static int flush(struct snapwriter *w) {
    int err = disk_write_all(w->disk, w->handle, w->output, w->output_len, w->offset);
    if (err != 0)
        return err;
    w->offset += (int64_t)w->output_len;
    w->output_len = 0;
    if (w->offset - w->synced >= SYNC_BYTES) {
        err = disk_fdatasync(w->disk, w->handle);
        w->synced = w->offset;
    }
    return err;
}

static int put(struct snapwriter *w, const void *data, size_t size) {
    while (size > 0) {
        size_t n = size_min(size, SNAPWRITER_OUTPUT_BYTES - w->output_len);
        memcpy(w->output + w->output_len, data, n);
        w->output_len += n;
        data = (const char *)data + n;
        size -= n;
        if (w->output_len == SNAPWRITER_OUTPUT_BYTES) {
            int err = flush(w);
            if (err != 0)
                return err;
        }
    }
    return 0;
}

static int put_gzip(struct snapwriter *w, const void *data, size_t size, int mode) {
    zassert(size <= UINT32_MAX);
    w->z.next_in = (Bytef *)(uintptr_t)data;
    w->z.avail_in = (uInt)size;
    int result;
    do {
        w->z.next_out = w->output + w->output_len;
        w->z.avail_out = (uInt)(SNAPWRITER_OUTPUT_BYTES - w->output_len);
        result = deflate(&w->z, mode);
        zassert(result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR);
        w->output_len = SNAPWRITER_OUTPUT_BYTES - w->z.avail_out;
        if (w->output_len == SNAPWRITER_OUTPUT_BYTES) {
            int err = flush(w);
            if (err != 0)
                return err;
        }
    } while (w->z.avail_in > 0 || (mode == Z_FINISH && result != Z_STREAM_END));
    return 0;
}

static int put_block(struct snapwriter *w) {
    char out[4 + 32 + SNAPPY_BLOCK_BYTES + SNAPPY_BLOCK_BYTES / 6];
    size_t len = sizeof out - 4;
    snappy_status status = snappy_compress((const char *)w->block, w->block_len, out + 4, &len);
    zassert(status == SNAPPY_OK);
    be32_store((uint8_t *)out, (uint32_t)len);
    w->block_len = 0;
    return put(w, out, 4 + len);
}

static int put_snappy(struct snapwriter *w, const void *data, size_t size) {
    while (size > 0) {
        size_t n = size_min(size, SNAPPY_BLOCK_BYTES - w->block_len);
        memcpy(w->block + w->block_len, data, n);
        w->block_len += n;
        data = (const char *)data + n;
        size -= n;
        if (w->block_len == SNAPPY_BLOCK_BYTES) {
            int err = put_block(w);
            if (err != 0)
                return err;
        }
    }
    return 0;
}

static void start_gzip(struct snapwriter *w) {
    /* As Java writes it: no name, no time, "unknown" system. */
    w->z_header = (gz_header){.os = 255};
    int result = deflateInit2(&w->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    zassert(result == Z_OK);
    w->z_started = true;
    deflateSetHeader(&w->z, &w->z_header);
}

struct snapwriter *snapwriter_open(const struct disk *d, const char *tmp_name, enum snapshot_method method, int *err) {
    zassert(strlen(tmp_name) < STORE_NAME_MAX);
    int handle = d->open(d->ctx, DISK_SNAP, tmp_name, DISK_CREATE);
    *err = handle < 0 ? handle : 0;
    if (handle < 0)
        return NULL;
    struct snapwriter *w = mem_calloc(1, sizeof *w);
    w->disk = d;
    snprintf(w->name, sizeof w->name, "%s", tmp_name);
    w->method = method;
    w->handle = handle;
    w->adler = 1;
    w->output = mem_alloc(SNAPWRITER_OUTPUT_BYTES);
    if (method == SNAPSHOT_GZIP) {
        start_gzip(w);
    } else if (method == SNAPSHOT_SNAPPY) {
        w->block = mem_alloc(SNAPPY_BLOCK_BYTES);
        put(w, snappy_header, SNAPPY_HEADER_BYTES);
    }
    return w;
}

int snapwriter_write(struct snapwriter *w, const void *data, size_t size) {
    zassert(!w->finished);
    if (w->err != 0 || size == 0)
        return w->err;
    w->adler = (uint32_t)adler32_z(w->adler, data, size);
    switch (w->method) {
    case SNAPSHOT_GZIP:
        w->err = put_gzip(w, data, size, Z_NO_FLUSH);
        break;
    case SNAPSHOT_SNAPPY:
        w->err = put_snappy(w, data, size);
        break;
    case SNAPSHOT_PLAIN:
        w->err = put(w, data, size);
        break;
    }
    return w->err;
}

int snapwriter_seal(struct snapwriter *w) {
    uint8_t seal[SNAPSHOT_SEAL_BYTES], *p = be64_store(seal, w->adler);
    p = be32_store(p, 1);
    *p = '/';
    return snapwriter_write(w, seal, sizeof seal);
}

int snapwriter_finish(struct snapwriter *w, int64_t *size) {
    zassert(!w->finished);
    if (w->err == 0 && w->method == SNAPSHOT_GZIP)
        w->err = put_gzip(w, NULL, 0, Z_FINISH);
    if (w->err == 0 && w->method == SNAPSHOT_SNAPPY && w->block_len > 0)
        w->err = put_block(w);
    if (w->err == 0)
        w->err = flush(w);
    if (w->err == 0)
        w->err = disk_fsync(w->disk, w->handle);
    *size = w->offset;
    w->finished = w->err == 0;
    return w->err;
}

void snapwriter_close(struct snapwriter *w) {
    if (w == NULL)
        return;
    w->disk->close(w->disk->ctx, w->handle);
    if (!w->finished)
        w->disk->unlink(w->disk->ctx, DISK_SNAP, w->name);
    if (w->z_started)
        deflateEnd(&w->z);
    mem_free(w->output);
    mem_free(w->block);
    mem_free(w);
}
