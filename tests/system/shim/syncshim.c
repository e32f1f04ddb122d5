/* A preload library between the server and the disk, for tests/system/lib/shim.py. It
 *
 *   records  every call that changes files below SHIM_ROOT, every sync, and every byte sent to clients, in order, in the
 *            file SHIM_TRACE;
 *   fails    the Nth call of one kind: SHIM_FAULT=kind:N:what[:forever], what = an errno by name or "short", kind = the
 *            name of a trace record below;
 *   skips    syncs: SHIM_SKIP, a comma list of fdatasync, fsync, dirsync. They return success and nothing else.
 *   stalls   syncs: they begin only when the file SHIM_STALL does not exist;
 *   holds    the close of each TCP connection until its client has sent something more, or the file SHIM_HOLD does not exist.
 *
 * A record of a change is written when the call has returned, one of a sync before it and behind it, one of a send
 * likewise. So: a change recorded before the beginning of a sync was complete when the sync began, and a send recorded behind the
 * end of a sync may rely on it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { OPEN, CLOSE, WRITE, TRUNCATE, ALLOCATE, RENAME, UNLINK, MKDIR, FDATASYNC, FSYNC, DIRSYNC, SYNCED, SEND, SENT, KINDS };

static const char *const kind_names[KINDS] = {"open",  "close",     "write", "truncate", "allocate", "rename", "unlink",
                                              "mkdir", "fdatasync", "fsync", "dirsync",  "synced",   "send",   "sent"};

struct record {
    uint32_t kind;
    int32_t fd;
    int32_t result; /* of the call, or its negative errno */
    uint32_t flags; /* OPEN */
    int64_t a, b;   /* WRITE: offset, -; TRUNCATE: size, -; ALLOCATE: offset, size */
    uint32_t n1, n2; /* bytes that follow: WRITE, SEND: the data; OPEN, UNLINK, MKDIR: path; RENAME: both paths */
};

#define FDS 65536
static unsigned char tracked[FDS]; /* 1 = below the root */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Held from a change of names, or an open, to its record: another thread's open of the new name is recorded after it. */
static pthread_mutex_t names = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_len;
static int trace = -1;
static bool skip[KINDS];
static int fault_kind = -1, fault_errno, fault_calls;
static long fault_at;
static bool fault_short, fault_forever;
static char stall[PATH_MAX], hold[PATH_MAX];

static void die(const char *what) {
    fprintf(stderr, "syncshim: %s\n", what);
    _exit(99);
}

static int kind_of(const char *name, size_t len) {
    for (int i = 0; i < KINDS; i++)
        if (strlen(kind_names[i]) == len && memcmp(kind_names[i], name, len) == 0)
            return i;
    die("unknown kind");
    return -1;
}

static void parse_fault(char *text) {
    char *kind = strtok(text, ":"), *at = strtok(NULL, ":"), *what = strtok(NULL, ":"), *ever = strtok(NULL, ":");
    if (what == NULL)
        die("SHIM_FAULT is kind:N:what[:forever]");
    fault_kind = kind_of(kind, strlen(kind));
    fault_at = atol(at);
    fault_forever = ever != NULL;
    fault_short = strcmp(what, "short") == 0;
    fault_errno = strcmp(what, "EIO") == 0 ? EIO : strcmp(what, "ENOSPC") == 0 ? ENOSPC : strcmp(what, "EMFILE") == 0 ? EMFILE : 0;
    if (!fault_short && fault_errno == 0)
        die("unknown error");
}

__attribute__((constructor)) static void begin(void) {
    const char *s = getenv("SHIM_ROOT");
    if (s == NULL || strlen(s) >= sizeof root)
        die("SHIM_ROOT is missing");
    root_len = strlen(strcpy(root, s));
    if ((s = getenv("SHIM_TRACE")) != NULL) {
        trace = (int)syscall(SYS_openat, AT_FDCWD, s, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        if (trace == -1)
            die("the trace cannot be opened");
    }
    if ((s = getenv("SHIM_SKIP")) != NULL) {
        for (; *s != '\0'; s += *s == ',') {
            size_t n = strcspn(s, ",");
            skip[kind_of(s, n)] = true;
            s += n;
        }
    }
    if ((s = getenv("SHIM_STALL")) != NULL)
        snprintf(stall, sizeof stall, "%s", s);
    if ((s = getenv("SHIM_HOLD")) != NULL)
        snprintf(hold, sizeof hold, "%s", s);
    if ((s = getenv("SHIM_FAULT")) != NULL)
        parse_fault(strdup(s));
}

/* ------------------------------------------------------------------ recording */

static void record(enum kind kind, int fd, long result, uint32_t flags, int64_t a, int64_t b, const void *p1, size_t n1,
                   const void *p2, size_t n2) {
    int saved = errno;
    struct record r = {kind, fd, (int32_t)(result == -1 ? -saved : result), flags, a, b, (uint32_t)n1, (uint32_t)n2};
    struct iovec iov[3] = {{&r, sizeof r}, {(void *)(uintptr_t)p1, n1}, {(void *)(uintptr_t)p2, n2}};
    if (trace != -1) {
        pthread_mutex_lock(&lock);
        long n = syscall(SYS_writev, trace, iov, 3);
        pthread_mutex_unlock(&lock);
        if (n != (long)(sizeof r + n1 + n2))
            die("the trace cannot be written");
    }
    errno = saved;
}

static bool is_tracked(int fd) { return fd >= 0 && fd < FDS && __atomic_load_n(&tracked[fd], __ATOMIC_SEQ_CST); }

static void track(int fd, bool on) {
    if (fd >= FDS)
        die("too many descriptors");
    __atomic_store_n(&tracked[fd], on, __ATOMIC_SEQ_CST);
}

/* The absolute path of name seen from dir; false if it is not below the root. */
static bool path_of(int dir, const char *name, char out[PATH_MAX]) {
    char base[64], at[PATH_MAX] = "";
    if (name[0] != '/') {
        snprintf(base, sizeof base, dir == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", dir);
        ssize_t n = readlink(base, at, sizeof at - 1);
        if (n < 0)
            return false;
        at[n] = '\0';
    }
    if (snprintf(out, PATH_MAX, "%s%s%s", at, name[0] == '/' ? "" : "/", name) >= PATH_MAX)
        die("a path is too long");
    return strncmp(out, root, root_len) == 0 && (out[root_len] == '/' || out[root_len] == '\0');
}

enum fault { FAULT_NONE, FAULT_ERROR, FAULT_SHORT };

/* Is it this call's turn? Sets errno for an error. */
static enum fault fault_now(enum kind kind) {
    if ((int)kind != fault_kind)
        return FAULT_NONE;
    long n = __atomic_add_fetch(&fault_calls, 1, __ATOMIC_SEQ_CST);
    if (fault_forever ? n < fault_at : n != fault_at)
        return FAULT_NONE;
    if (fault_short)
        return FAULT_SHORT;
    errno = fault_errno;
    return FAULT_ERROR;
}

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) {
    void *p = dlsym(RTLD_NEXT, name);
    if (p == NULL)
        die(name);
    return p;
}

/* ------------------------------------------------------------------ files */

static int shim_open(int dir, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    if (!path_of(dir, name, path))
        return (int)syscall(SYS_openat, dir, name, flags, mode);
    pthread_mutex_lock(&names);
    int fd = fault_now(OPEN) == FAULT_ERROR ? -1 : (int)syscall(SYS_openat, dir, name, flags, mode);
    if (fd >= 0)
        track(fd, true);
    record(OPEN, fd, fd, (uint32_t)flags, 0, 0, path, strlen(path), NULL, 0);
    pthread_mutex_unlock(&names);
    return fd;
}

static mode_t mode_of(int flags, va_list args) { return flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0; }

#define OPEN_AT(function)                                                                                                  \
    int function(int dir, const char *name, int flags, ...) {                                                              \
        va_list args;                                                                                                      \
        va_start(args, flags);                                                                                             \
        mode_t mode = mode_of(flags, args);                                                                                \
        va_end(args);                                                                                                      \
        return shim_open(dir, name, flags, mode);                                                                          \
    }
OPEN_AT(openat)
OPEN_AT(openat64)

#define OPEN_HERE(function)                                                                                                \
    int function(const char *name, int flags, ...) {                                                                       \
        va_list args;                                                                                                      \
        va_start(args, flags);                                                                                             \
        mode_t mode = mode_of(flags, args);                                                                                \
        va_end(args);                                                                                                      \
        return shim_open(AT_FDCWD, name, flags, mode);                                                                     \
    }
OPEN_HERE(open)
OPEN_HERE(open64)

static bool is_connection(int fd) {
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.ss_family != AF_UNIX;
}

/* Also told of sockets: their numbers are used again. */
int close(int fd) {
    if (hold[0] != '\0' && is_connection(fd))
        while (access(hold, F_OK) == 0 && poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 10) == 0)
            ;
    if (fd == trace && fd != -1)
        return 0;
    if (fd >= 0 && fd < FDS)
        track(fd, false);
    record(CLOSE, fd, 0, 0, 0, 0, NULL, 0, NULL, 0);
    return (int)syscall(SYS_close, fd);
}

/* readdir's descriptors */
int closedir(DIR *d) {
    track(dirfd(d), false);
    record(CLOSE, dirfd(d), 0, 0, 0, 0, NULL, 0, NULL, 0);
    return REAL(closedir)(d);
}

static ssize_t shim_pwritev(int fd, const struct iovec *iov, int count, off_t offset) {
    size_t total = 0, at = 0;
    for (int i = 0; i < count; i++)
        total += iov[i].iov_len;
    char *data = malloc(total + 1);
    for (int i = 0; i < count; i++) {
        memcpy(data + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    enum fault fault = fault_now(WRITE);
    if (fault == FAULT_SHORT && total > 1)
        total /= 2;
    ssize_t n = fault == FAULT_ERROR ? -1 : syscall(SYS_pwrite64, fd, data, total, offset);
    record(WRITE, fd, n, 0, offset, 0, data, n > 0 ? (size_t)n : 0, NULL, 0);
    int saved = errno;
    free(data);
    errno = saved;
    return n;
}

#define PWRITEV(function)                                                                                                  \
    ssize_t function(int fd, const struct iovec *iov, int count, off_t offset) {                                           \
        if (!is_tracked(fd))                                                                                               \
            return syscall(SYS_pwritev, fd, iov, (long)count, (long)offset, 0L);                                           \
        return shim_pwritev(fd, iov, count, offset);                                                                       \
    }
PWRITEV(pwritev)
PWRITEV(pwritev64)

#define PWRITE(function)                                                                                                   \
    ssize_t function(int fd, const void *data, size_t size, off_t offset) {                                                \
        struct iovec iov = {(void *)(uintptr_t)data, size};                                                                \
        return is_tracked(fd) ? shim_pwritev(fd, &iov, 1, offset) : syscall(SYS_pwrite64, fd, data, size, offset);         \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

/* Sequential writes to a tracked file are not expected; a server that makes them must not slip through. */
ssize_t write(int fd, const void *data, size_t size) {
    if (is_tracked(fd))
        die("write() to a file of the data directory: teach the shim");
    return syscall(SYS_write, fd, data, size);
}

ssize_t writev(int fd, const struct iovec *iov, int count) {
    if (is_tracked(fd))
        die("writev() to a file of the data directory: teach the shim");
    return syscall(SYS_writev, fd, iov, (long)count);
}

#define TRUNCATE_TO(function)                                                                                              \
    int function(int fd, off_t size) {                                                                                     \
        if (!is_tracked(fd))                                                                                               \
            return (int)syscall(SYS_ftruncate, fd, size);                                                                  \
        int n = fault_now(TRUNCATE) == FAULT_ERROR ? -1 : (int)syscall(SYS_ftruncate, fd, size);                           \
        record(TRUNCATE, fd, n, 0, size, 0, NULL, 0, NULL, 0);                                                             \
        return n;                                                                                                          \
    }
TRUNCATE_TO(ftruncate)
TRUNCATE_TO(ftruncate64)

/* The error is the result, as the standard has it. */
#define ALLOCATE_BYTES(function)                                                                                           \
    int function(int fd, off_t offset, off_t size) {                                                                       \
        if (!is_tracked(fd))                                                                                               \
            return syscall(SYS_fallocate, fd, 0, offset, size) == -1 ? errno : 0;                                          \
        int n = fault_now(ALLOCATE) == FAULT_ERROR ? -1 : (int)syscall(SYS_fallocate, fd, 0, offset, size);                \
        record(ALLOCATE, fd, n, 0, offset, size, NULL, 0, NULL, 0);                                                        \
        return n == -1 ? errno : 0;                                                                                        \
    }
ALLOCATE_BYTES(posix_fallocate)
ALLOCATE_BYTES(posix_fallocate64)

int fallocate(int fd, int mode, off_t offset, off_t size) {
    if (is_tracked(fd))
        die("fallocate() in the data directory: teach the shim");
    return (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

/* ------------------------------------------------------------------ names */

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    char a[PATH_MAX], b[PATH_MAX];
    bool ours = path_of(from_dir, from, a);
    if (!path_of(to_dir, to, b) && !ours)
        return (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
    pthread_mutex_lock(&names);
    int n = fault_now(RENAME) == FAULT_ERROR ? -1 : (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
    record(RENAME, -1, n, 0, 0, 0, a, strlen(a), b, strlen(b));
    pthread_mutex_unlock(&names);
    return n;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int unlinkat(int dir, const char *name, int flags) {
    char path[PATH_MAX];
    if (!path_of(dir, name, path))
        return (int)syscall(SYS_unlinkat, dir, name, flags);
    pthread_mutex_lock(&names);
    int n = fault_now(UNLINK) == FAULT_ERROR ? -1 : (int)syscall(SYS_unlinkat, dir, name, flags);
    record(UNLINK, -1, n, 0, 0, 0, path, strlen(path), NULL, 0);
    pthread_mutex_unlock(&names);
    return n;
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

int mkdir(const char *name, mode_t mode) {
    char path[PATH_MAX];
    if (!path_of(AT_FDCWD, name, path))
        return (int)syscall(SYS_mkdirat, AT_FDCWD, name, mode);
    pthread_mutex_lock(&names);
    int n = fault_now(MKDIR) == FAULT_ERROR ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, name, mode);
    record(MKDIR, -1, n, 0, 0, 0, path, strlen(path), NULL, 0);
    pthread_mutex_unlock(&names);
    return n;
}

/* ------------------------------------------------------------------ syncs */

static int shim_sync(enum kind kind, int fd, long number) {
    if (skip[kind])
        return 0;
    while (stall[0] != '\0' && access(stall, F_OK) == 0)
        usleep(1000);
    record(kind, fd, 0, 0, 0, 0, NULL, 0, NULL, 0);
    int n = fault_now(kind) == FAULT_ERROR ? -1 : (int)syscall(number, fd);
    record(SYNCED, fd, n, 0, kind, 0, NULL, 0, NULL, 0);
    return n;
}

int fdatasync(int fd) { return is_tracked(fd) ? shim_sync(FDATASYNC, fd, SYS_fdatasync) : (int)syscall(SYS_fdatasync, fd); }

int fsync(int fd) {
    struct stat st;
    if (!is_tracked(fd))
        return (int)syscall(SYS_fsync, fd);
    return shim_sync(fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) ? DIRSYNC : FSYNC, fd, SYS_fsync);
}

/* ------------------------------------------------------------------ replies */

ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to, socklen_t len) {
    record(SEND, fd, 0, 0, 0, 0, data, size, NULL, 0);
    ssize_t n = syscall(SYS_sendto, fd, data, size, flags, to, len);
    record(SENT, fd, n, 0, 0, 0, NULL, 0, NULL, 0);
    return n;
}

ssize_t send(int fd, const void *data, size_t size, int flags) { return sendto(fd, data, size, flags, NULL, 0); }

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags) {
    (void)fd, (void)msg, (void)flags;
    die("sendmsg(): teach the shim");
    return -1;
}
