/* The disk as the store sees it: a table of functions, filled by real system calls in the server (bio/posix_disk) and by
 * a simulated disk in tests. Everything that reads or writes files runs over it, so that every crash point and every
 * error can be played. Calls block; the loop thread never makes them once the server runs.
 *
 * All functions return 0 (or a count) or a negative errno. */
#ifndef ZABRA_STORE_DISK_H
#define ZABRA_STORE_DISK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/common.h"

enum disk_dir {
    DISK_SNAP, /* dataDir/version-2 */
    DISK_LOG,  /* dataLogDir/version-2; may be the same directory */
};

enum disk_open {
    DISK_READ = 0,
    DISK_CREATE = 1,    /* write; create, and cut to length 0 if it exists */
    DISK_READWRITE = 2, /* write an existing file */
};

typedef void disk_list_entry(void *ctx, const char *name, int64_t size);

struct disk {
    void *ctx;
    /* >= 0: a handle. */
    int (*open)(void *ctx, enum disk_dir dir, const char *name, enum disk_open mode);
    int (*close)(void *ctx, int handle);
    /* Bytes read or written, which may be fewer than asked for; 0 at the end of file. */
    ssize_t (*pread)(void *ctx, int handle, void *data, size_t size, int64_t offset);
    ssize_t (*pwritev)(void *ctx, int handle, const struct iovec *iov, int count, int64_t offset);
    int (*fdatasync)(void *ctx, int handle);
    int (*fsync)(void *ctx, int handle);
    /* Reserves real blocks for the range and extends the file with zeros. */
    int (*allocate)(void *ctx, int handle, int64_t offset, int64_t size);
    int (*truncate)(void *ctx, int handle, int64_t size);
    int64_t (*size)(void *ctx, int handle);
    int (*rename)(void *ctx, enum disk_dir dir, const char *from, const char *to);
    int (*unlink)(void *ctx, enum disk_dir dir, const char *name);
    int (*sync_dir)(void *ctx, enum disk_dir dir);
    int (*list)(void *ctx, enum disk_dir dir, disk_list_entry *entry, void *entry_ctx);
    /* Bytes available to us on the file system of dir, or a negative errno. */
    int64_t (*free_bytes)(void *ctx, enum disk_dir dir);
    /* Monotonic microseconds, for measuring how long a sync took. */
    int64_t (*clock_us)(void *ctx);
};

/* Writes all of it, retrying short writes. 0 or a negative errno. */
int disk_write_all(const struct disk *d, int handle, const void *data, size_t size, int64_t offset);
/* As disk_write_all for several pieces; the array is used up. */
int disk_writev_all(const struct disk *d, int handle, struct iovec *iov, int count, int64_t offset);
/* Reads up to size bytes, fewer only at the end of file. Returns the count or a negative errno. */
ssize_t disk_read_full(const struct disk *d, int handle, void *data, size_t size, int64_t offset);
/* As the functions of the table, but "no space" becomes EIO: a failed sync must never look like something that may be tried
 * again, because what it should have written may be gone from the cache without being on the disk. */
int disk_fsync(const struct disk *d, int handle);
int disk_fdatasync(const struct disk *d, int handle);
int disk_sync_dir(const struct disk *d, enum disk_dir dir);
/* Creates or replaces a small file so that after a crash either the old or the new content stands under the name:
 * temporary file (name + ".tmp"), fsync, rename, directory sync. */
int disk_write_atomic(const struct disk *d, enum disk_dir dir, const char *name, const void *data, size_t size);

#endif
