#include "store/disk.h"

#include <errno.h>
#include <stdio.h>

/* No system takes more pieces in one call (IOV_MAX of Linux). */
#define PIECES_MAX 1024

/* Drops the first n bytes from the pieces. */
static void advance(struct iovec **iov, int *count, size_t n) {
    while (*count > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        (*iov)++;
        (*count)--;
    }
    if (n > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
}

int disk_writev_all(const struct disk *d, int handle, struct iovec *iov, int count, int64_t offset) {
    advance(&iov, &count, 0);
    while (count > 0) {
        ssize_t n = d->pwritev(d->ctx, handle, iov, count < PIECES_MAX ? count : PIECES_MAX, offset);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return -EIO; /* a disk that takes nothing and says nothing would keep us here forever */
        offset += n;
        advance(&iov, &count, (size_t)n);
    }
    return 0;
}

int disk_write_all(const struct disk *d, int handle, const void *data, size_t size, int64_t offset) {
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    return disk_writev_all(d, handle, &iov, 1, offset);
}

ssize_t disk_read_full(const struct disk *d, int handle, void *data, size_t size, int64_t offset) {
    size_t done = 0;
    while (done < size) {
        ssize_t n = d->pread(d->ctx, handle, (char *)data + done, size - done, offset + (int64_t)done);
        if (n < 0)
            return n;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static int sync_result(int err) { return err == -ENOSPC || err == -EDQUOT ? -EIO : err; }
int disk_fsync(const struct disk *d, int handle) { return sync_result(d->fsync(d->ctx, handle)); }
int disk_fdatasync(const struct disk *d, int handle) { return sync_result(d->fdatasync(d->ctx, handle)); }
int disk_sync_dir(const struct disk *d, enum disk_dir dir) { return sync_result(d->sync_dir(d->ctx, dir)); }

/* Everything up to, but without, the rename. */
static int write_synced(const struct disk *d, enum disk_dir dir, const char *name, const void *data, size_t size) {
    int handle = d->open(d->ctx, dir, name, DISK_CREATE);
    if (handle < 0)
        return handle;
    int err = disk_write_all(d, handle, data, size, 0);
    if (err == 0)
        err = disk_fsync(d, handle);
    int close_err = d->close(d->ctx, handle);
    return err != 0 ? err : close_err;
}

int disk_write_atomic(const struct disk *d, enum disk_dir dir, const char *name, const void *data, size_t size) {
    char tmp[256];
    if (snprintf(tmp, sizeof tmp, "%s.tmp", name) >= (int)sizeof tmp)
        return -ENAMETOOLONG;
    int err = write_synced(d, dir, tmp, data, size);
    if (err == 0)
        err = d->rename(d->ctx, dir, tmp, name);
    if (err != 0) {
        /* Java takes over the value of a left-over currentEpoch.tmp: half a file must not stay under that name. */
        d->unlink(d->ctx, dir, tmp);
        return err;
    }
    return disk_sync_dir(d, dir);
}
