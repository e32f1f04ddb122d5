#include "bio/posix_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define SUB_DIR "version-2"

struct posix_disk {
    struct disk disk; /* its ctx is this struct */
    char *path[2];    /* of the version-2 directories, by enum disk_dir */
    int fd[2];        /* of the same, -1 = not open */
    bool same_dir;
};

static int dir_fd(void *ctx, enum disk_dir dir) { return ((const struct posix_disk *)ctx)->fd[dir]; }

/* The value of a call, or its negative errno. */
static int result_of(int value) { return value == -1 ? -errno : value; }

static int posix_open(void *ctx, enum disk_dir dir, const char *name, enum disk_open mode) {
    static const int flags[] = {
        [DISK_READ] = O_RDONLY, [DISK_CREATE] = O_RDWR | O_CREAT | O_TRUNC, [DISK_READWRITE] = O_RDWR};
    int fd;
    do
        fd = openat(dir_fd(ctx, dir), name, flags[mode] | O_CLOEXEC, 0644);
    while (fd == -1 && errno == EINTR);
    return result_of(fd);
}

static int posix_close(void *ctx, int handle) {
    (void)ctx;
    /* After EINTR Linux has closed the descriptor all the same. */
    return close(handle) == -1 && errno != EINTR ? -errno : 0;
}

static ssize_t posix_pread(void *ctx, int handle, void *data, size_t size, int64_t offset) {
    ssize_t n;
    (void)ctx;
    do
        n = pread(handle, data, size, offset);
    while (n == -1 && errno == EINTR);
    return n == -1 ? -errno : n;
}

static ssize_t posix_pwritev(void *ctx, int handle, const struct iovec *iov, int count, int64_t offset) {
    ssize_t n;
    (void)ctx;
    do
        n = pwritev(handle, iov, count, offset);
    while (n == -1 && errno == EINTR);
    return n == -1 ? -errno : n;
}

/* No retry here, whatever the error: after a failed sync the next one may succeed without having written anything. */
static int posix_fdatasync(void *ctx, int handle) {
    (void)ctx;
    return result_of(fdatasync(handle));
}

static int posix_fsync(void *ctx, int handle) {
    (void)ctx;
    return result_of(fsync(handle));
}

/* For file systems that cannot reserve: zeros take up blocks, too. */
static int write_zeros(int handle, int64_t offset, int64_t size) {
    static const char zeros[64 * 1024];
    while (size > 0) {
        ssize_t n = pwrite(handle, zeros, (size_t)i64_min(size, (int64_t)sizeof zeros), offset);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? -EIO : -errno;
        offset += n;
        size -= n;
    }
    return 0;
}

static int posix_allocate(void *ctx, int handle, int64_t offset, int64_t size) {
    int err;
    (void)ctx;
    do
        err = posix_fallocate(handle, offset, size); /* returns the error and does not set errno */
    while (err == EINTR);
    return err == EOPNOTSUPP ? write_zeros(handle, offset, size) : -err;
}

static int posix_truncate(void *ctx, int handle, int64_t size) {
    int result;
    (void)ctx;
    do
        result = ftruncate(handle, size);
    while (result == -1 && errno == EINTR);
    return result_of(result);
}

static int64_t posix_size(void *ctx, int handle) {
    struct stat st;
    (void)ctx;
    return fstat(handle, &st) == -1 ? -errno : (int64_t)st.st_size;
}

static int posix_rename(void *ctx, enum disk_dir dir, const char *from, const char *to) {
    return result_of(renameat(dir_fd(ctx, dir), from, dir_fd(ctx, dir), to));
}

static int posix_unlink(void *ctx, enum disk_dir dir, const char *name) {
    return result_of(unlinkat(dir_fd(ctx, dir), name, 0));
}

static int posix_sync_dir(void *ctx, enum disk_dir dir) {
    /* Some file systems cannot sync a directory and say EINVAL: there is nothing more that could be done. */
    return fsync(dir_fd(ctx, dir)) == -1 && errno != EINVAL ? -errno : 0;
}

static int posix_list(void *ctx, enum disk_dir dir, disk_list_entry *entry, void *entry_ctx) {
    int fd = openat(dir_fd(ctx, dir), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
    DIR *stream = fd == -1 ? NULL : fdopendir(fd);
    if (stream == NULL) {
        err = -errno;
        if (fd != -1)
            close(fd);
        return err;
    }
    for (;;) {
        struct stat st;
        errno = 0;
        const struct dirent *e = readdir(stream);
        if (e == NULL) {
            err = -errno;
            break;
        }
        if (fstatat(fd, e->d_name, &st, 0) == -1) {
            if (errno == ENOENT) /* went away meanwhile */
                continue;
            err = -errno;
            break;
        }
        if (S_ISREG(st.st_mode))
            entry(entry_ctx, e->d_name, (int64_t)st.st_size);
    }
    closedir(stream);
    return err;
}

static int64_t posix_free_bytes(void *ctx, enum disk_dir dir) {
    struct statvfs fs;
    int result;
    do
        result = fstatvfs(dir_fd(ctx, dir), &fs);
    while (result == -1 && errno == EINTR);
    return result == -1 ? -errno : (int64_t)fs.f_bavail * (int64_t)fs.f_frsize;
}

static int64_t posix_clock_us(void *ctx) {
    struct timespec ts;
    (void)ctx;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* ------------------------------------------------------------------ opening */

static char *version_2_path(const char *dir) {
    size_t size = strlen(dir) + sizeof "/" SUB_DIR;
    char *path = mem_alloc(size);
    snprintf(path, size, "%s/" SUB_DIR, dir);
    return path;
}

static int sync_at(int fd, const char *dir) {
    int handle = openat(fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (handle == -1)
        return errno == EACCES ? 0 : -errno; /* not even readable for us: then we have not made anything in it either */
    int err = fsync(handle) == -1 && errno != EINVAL ? -errno : 0;
    close(handle);
    return err;
}

/* mkdir for one part of a path, which is synced into its parent. */
static int make_dir(char *path) {
    if (mkdir(path, 0755) == -1)
        return errno == EEXIST || errno == EISDIR ? 0 : -errno;
    char *slash = strrchr(path, '/');
    if (slash == NULL)
        return sync_at(AT_FDCWD, ".");
    if (slash == path)
        return sync_at(AT_FDCWD, "/");
    *slash = '\0';
    int err = sync_at(AT_FDCWD, path);
    *slash = '/';
    return err;
}

/* mkdir -p. path is changed and restored. */
static int make_dirs(char *path) {
    for (char *p = path + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char saved = *p;
        *p = '\0';
        int err = make_dir(path);
        *p = saved;
        if (err != 0 || saved == '\0')
            return err;
    }
}

static int open_dir(struct posix_disk *p, enum disk_dir dir, bool create) {
    int err = create ? make_dirs(p->path[dir]) : 0;
    if (err != 0)
        return err;
    p->fd[dir] = open(p->path[dir], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->fd[dir] == -1 || faccessat(p->fd[dir], ".", W_OK, AT_EACCESS) == -1)
        return -errno;
    /* Again, for a directory that was made shortly before a crash: it must be there before a file in it is. */
    return sync_at(p->fd[dir], "..");
}

static void describe(char *error, size_t size, const char *path, int err, bool create) {
    if (err == -ENOENT && !create) /* ZooKeeper's words */
        snprintf(error, size,
                 "Missing data directory %s, automatic data directory creation is disabled (zookeeper.datadir.autocreate is "
                 "false). Please create this directory manually.", path);
    else
        snprintf(error, size, "the data directory %s cannot be used: %s", path, strerror(-err));
}

static const struct disk functions = {
    .open = posix_open,
    .close = posix_close,
    .pread = posix_pread,
    .pwritev = posix_pwritev,
    .fdatasync = posix_fdatasync,
    .fsync = posix_fsync,
    .allocate = posix_allocate,
    .truncate = posix_truncate,
    .size = posix_size,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .sync_dir = posix_sync_dir,
    .list = posix_list,
    .free_bytes = posix_free_bytes,
    .clock_us = posix_clock_us,
};

/* Two servers in one directory would destroy each other's logs. The lock goes with the process, however it ends. */
static bool lock_dirs(const struct posix_disk *p, char *error, size_t size) {
    for (int i = 0; i < (p->same_dir ? 1 : 2); i++) {
        if (flock(p->fd[i], LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK) {
            snprintf(error, size, "the data directory %s is in use by another zabra-server", p->path[i]);
            return false;
        }
    }
    return true;
}

struct posix_disk *posix_disk_open(const char *data_dir, const char *log_dir, bool create, char *error, size_t error_size) {
    struct posix_disk *p = mem_calloc(1, sizeof *p);
    struct stat snap, log;
    *p = (struct posix_disk){.disk = functions, .fd = {-1, -1}};
    p->disk.ctx = p;
    p->path[DISK_SNAP] = version_2_path(data_dir);
    p->path[DISK_LOG] = version_2_path(log_dir != NULL ? log_dir : data_dir);
    for (enum disk_dir dir = DISK_SNAP; dir <= DISK_LOG; dir++) {
        int err = open_dir(p, dir, create);
        if (err != 0) {
            describe(error, error_size, p->path[dir], err, create);
            posix_disk_close(p);
            return NULL;
        }
    }
    p->same_dir = fstat(p->fd[DISK_SNAP], &snap) == 0 && fstat(p->fd[DISK_LOG], &log) == 0 &&
                  snap.st_dev == log.st_dev && snap.st_ino == log.st_ino;
    if (!lock_dirs(p, error, error_size)) {
        posix_disk_close(p);
        return NULL;
    }
    return p;
}

void posix_disk_close(struct posix_disk *p) {
    if (p == NULL)
        return;
    for (int i = 0; i < 2; i++) {
        if (p->fd[i] != -1)
            close(p->fd[i]);
        mem_free(p->path[i]);
    }
    mem_free(p);
}

const struct disk *posix_disk_vtable(const struct posix_disk *p) { return &p->disk; }
bool posix_disk_same_dir(const struct posix_disk *p) { return p->same_dir; }
