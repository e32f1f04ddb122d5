#include "bio/config_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/config.h"

struct update {
    bool active, proposed; /* which of the two have come */
    struct buf members;    /* of the active configuration */
    int64_t version;
    bool client_too;
    struct buf proposal; /* empty = none is under way */
};

struct config_files {
    struct job job;
    bool busy, more; /* the job runs; next has come meanwhile */
    void (*submit)(void *ctx, struct job *job);
    void *ctx;
    struct update next;
    char *main_file; /* its real place: a link stays a link */

    /* the job's, while it runs */
    struct update now;
    struct buf dynamic_path; /* with a closing NUL */
    int err;
    char failed[PATH_MAX + 16]; /* at which file */
};

struct config_files *config_files_new(const char *main_file, const char *dynamic_file,
                                      void (*submit)(void *ctx, struct job *job), void *ctx) {
    char path[PATH_MAX];
    struct config_files *f = mem_calloc(1, sizeof *f);
    f->main_file = mem_strdup(realpath(main_file, path) != NULL ? path : main_file);
    if (dynamic_file != NULL) {
        const char *place = realpath(dynamic_file, path) != NULL ? path : dynamic_file;
        buf_append(&f->dynamic_path, place, strlen(place) + 1);
    }
    f->submit = submit;
    f->ctx = ctx;
    return f;
}

void config_files_free(struct config_files *f) {
    if (f == NULL)
        return;
    buf_free(&f->now.members);
    buf_free(&f->now.proposal);
    buf_free(&f->next.members);
    buf_free(&f->next.proposal);
    buf_free(&f->dynamic_path);
    mem_free(f->main_file);
    mem_free(f);
}

/* ------------------------------------------------------------------ files */

static int fail(struct config_files *f, const char *path) {
    f->err = errno != 0 ? -errno : -EIO;
    snprintf(f->failed, sizeof f->failed, "%s", path);
    return f->err;
}

/* like: a file whose mode and owner the new one takes over; NULL = none. */
static bool write_all(int fd, const struct buf *text, const struct stat *like) {
    size_t done = 0;
    while (done < text->len) {
        ssize_t n = write(fd, text->data + done, text->len - done);
        if (n == -1 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    /* To give a file away is for root alone; as our own it is as good. */
    if (like != NULL && (fchmod(fd, like->st_mode & 07777) == -1 || (fchown(fd, like->st_uid, like->st_gid) == -1 && errno != EPERM)))
        return false;
    return fsync(fd) == 0;
}

static bool sync_dir_of(const char *path) {
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (slash == NULL)
        snprintf(dir, sizeof dir, ".");
    else
        slash[slash == dir] = '\0';
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1)
        return false;
    bool fine = fsync(fd) == 0 || errno == EINVAL;
    close(fd);
    return fine;
}

/* Old or new, never half. */
static int replace(struct config_files *f, const char *path, const struct buf *text, const struct stat *like) {
    char tmp[PATH_MAX + 8];
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd == -1)
        return fail(f, tmp);
    bool fine = write_all(fd, text, like);
    int err = errno;
    fine = close(fd) == 0 && fine;
    if (!fine) {
        unlink(tmp);
        errno = err;
        return fail(f, tmp);
    }
    if (rename(tmp, path) == -1 || !sync_dir_of(path))
        return fail(f, path);
    return 0;
}

static int read_file(struct config_files *f, const char *path, struct buf *out, struct stat *st) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;
    if (fd != -1 && fstat(fd, st) == 0) {
        do {
            n = read(fd, buf_tail(out, 65536), 65536);
            out->len += n > 0 ? (size_t)n : 0;
        } while (n > 0 || (n == -1 && errno == EINTR));
    }
    int err = n == -1 ? fail(f, path) : 0;
    if (fd != -1)
        close(fd);
    return err;
}

/* ------------------------------------------------------------------ the job */

/* The file as its owner wrote it is kept aside, once. */
static int back_up(struct config_files *f, const struct buf *text, const struct stat *st) {
    char path[PATH_MAX + 8];
    snprintf(path, sizeof path, "%s.bak", f->main_file);
    return replace(f, path, text, st);
}

static void write_active(struct config_files *f) {
    struct buf old = BUF_INIT, text = BUF_INIT, path = BUF_INIT;
    struct stat st;
    bool first = f->dynamic_path.len == 0;
    config_dynamic_path(f->main_file, first ? NULL : (const char *)f->dynamic_path.data, f->now.version, &path);
    buf_append(&path, "", 1);
    const char *name = (const char *)path.data;
    if (replace(f, name, &f->now.members, NULL) == 0 && read_file(f, f->main_file, &old, &st) == 0 &&
        (!first || back_up(f, &old, &st) == 0)) {
        config_rewrite((struct slice){(const char *)old.data, old.len}, name, f->now.client_too, &text);
        replace(f, f->main_file, &text, &st);
    }
    if (f->err == 0) {
        buf_clear(&f->dynamic_path);
        buf_append(&f->dynamic_path, path.data, path.len);
    }
    buf_free(&old);
    buf_free(&text);
    buf_free(&path);
}

static void proposal_path(const struct config_files *f, char path[PATH_MAX]) {
    snprintf(path, PATH_MAX, "%s.dynamic.next", f->main_file);
}

static void write_proposal(struct config_files *f) {
    char path[PATH_MAX];
    proposal_path(f, path);
    if (f->now.proposal.len != 0)
        replace(f, path, &f->now.proposal, NULL);
    else if (unlink(path) == -1 && errno != ENOENT)
        fail(f, path);
}

static void run(struct job *job, const struct disk *disk) {
    struct config_files *f = CONTAINER_OF(job, struct config_files, job);
    (void)disk;
    f->err = 0;
    if (f->now.active)
        write_active(f);
    if (f->now.proposed)
        write_proposal(f);
}

static void begin(struct config_files *f);

static void done(struct job *job) {
    struct config_files *f = CONTAINER_OF(job, struct config_files, job);
    f->busy = false;
    if (f->err != 0)
        log_error("the configuration is kept, but %s could not be written: %s", f->failed, strerror(-f->err));
    else if (f->now.active)
        log_info("the members now stand in %s", (const char *)f->dynamic_path.data);
    if (f->more)
        begin(f);
}

static void begin(struct config_files *f) {
    struct update empty = {0};
    buf_free(&f->now.members);
    buf_free(&f->now.proposal);
    f->now = f->next;
    f->next = empty;
    f->more = false;
    f->busy = true;
    f->job.run = run;
    f->job.done = done;
    f->submit(f->ctx, &f->job);
}

static void changed(struct config_files *f) {
    f->more = true;
    if (!f->busy)
        begin(f);
}

void config_files_update(struct config_files *f, struct slice members, int64_t version, bool client_too) {
    buf_clear(&f->next.members);
    buf_append(&f->next.members, members.data, members.len);
    f->next.version = version;
    f->next.client_too = client_too;
    f->next.active = true;
    changed(f);
}

void config_files_propose(struct config_files *f, struct slice text) {
    buf_clear(&f->next.proposal);
    buf_append(&f->next.proposal, text.data, text.len);
    f->next.proposed = true;
    changed(f);
}

void config_files_read_proposal(struct config_files *f, struct buf *out) {
    char path[PATH_MAX];
    struct stat st;
    proposal_path(f, path);
    if (read_file(f, path, out, &st) != 0 && f->err != -ENOENT)
        log_warn("%s cannot be read: %s", path, strerror(-f->err));
}
