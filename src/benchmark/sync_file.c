#include "benchmark/sync_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "benchmark/request.h"

/* As much as ZooKeeper's log reserves at a time. */
#define FILE_BYTES (64 << 20)

int sync_file_open(struct sync_file *f, const char *dir, size_t len) {
    struct buf path = BUF_INIT;
    buf_printf(&path, "%s/zabra-benchmark-XXXXXX", dir);
    buf_append(&path, "", 1);
    int fd = mkostemp((char *)path.data, O_CLOEXEC), err = errno;
    if (fd != -1)
        err = unlink((char *)path.data) == -1 ? errno : posix_fallocate(fd, 0, FILE_BYTES);
    buf_free(&path);
    if (err != 0) {
        if (fd != -1)
            close(fd);
        return err;
    }
    *f = (struct sync_file){.fd = fd, .len = size_max(len, 1)};
    f->record = mem_alloc(f->len);
    request_pattern(f->record, f->len);
    return 0;
}

int sync_file_append(struct sync_file *f) {
    if (f->offset + (off_t)f->len > FILE_BYTES)
        f->offset = 0;
    ssize_t n = pwrite(f->fd, f->record, f->len, f->offset);
    if (n == -1)
        return errno;
    if ((size_t)n != f->len)
        return ENOSPC;
    f->offset += n;
    return fdatasync(f->fd) == -1 ? errno : 0;
}

void sync_file_close(struct sync_file *f) {
    close(f->fd);
    mem_free(f->record);
}
