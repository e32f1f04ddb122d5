/* What recovery changes on disk. Nothing is ever deleted but zeros and our own temporary files: what must go out of the
 * way gets a name that begins with "set-aside" (store/names.h) and stays for the operator, or until retention takes it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/recovery_internal.h"
#include "store/sidefile.h"

#define COPY_BYTES ((size_t)256 * 1024)

static bool out_of_space(int err) { return err == -ENOSPC || err == -EDQUOT; }

/* The first free name of this kind. */
static int free_name(const struct recovery *r, const char *kind, zxid_t zxid, char out[STORE_NAME_MAX]) {
    struct store_files files;
    int err = store_files_list(r->disk, DISK_LOG, NULL, &files);
    if (err < 0)
        return err;
    unsigned n = 0;
    do
        store_aside_name(out, kind, zxid, ++n);
    while (store_files_find(&files, out) != NULL);
    store_files_free(&files);
    return 0;
}

static bool rename_aside(struct recovery *r, int log, char out[STORE_NAME_MAX]) {
    const struct store_file *file = &r->logs.items[log];
    int err = free_name(r, STORE_ASIDE_LOG, file->zxid, out);
    if (err == 0 && !r->options->dry_run)
        err = r->disk->rename(r->disk->ctx, DISK_LOG, file->name, out);
    return err == 0 || recovery_disk_failed(r, err, "renaming", file->name);
}

bool repair_set_aside(struct recovery *r, int log, const char *why) {
    char name[STORE_NAME_MAX];
    if (!rename_aside(r, log, name))
        return false;
    recovery_tell(r, "%s (%lld bytes, %s) holds no transaction and was set aside as %s", r->logs.items[log].name,
                  (long long)r->logs.items[log].size, why, name);
    return true;
}

/* ------------------------------------------------------------------ cutting */

/* Copies [start, end) of one file to offset in another (or itself). */
static int copy_range(const struct disk *d, int from, int64_t start, int64_t end, int to, int64_t offset) {
    uint8_t *bytes = mem_alloc(COPY_BYTES);
    int err = 0;
    while (start < end && err == 0) {
        ssize_t n = disk_read_full(d, from, bytes, (size_t)i64_min(end - start, (int64_t)COPY_BYTES), start);
        err = n < 0 ? (int)n : n == 0 ? -EIO : disk_write_all(d, to, bytes, (size_t)n, offset);
        start += n;
        offset += n;
    }
    mem_free(bytes);
    return err;
}

/* Copies [start, end) of the log into a file of its own, durably. */
static int keep_tail(struct recovery *r, int log_handle, const char *kind, zxid_t zxid, int64_t start, int64_t end,
                     char name[STORE_NAME_MAX]) {
    const struct disk *d = r->disk;
    int err = free_name(r, kind, zxid, name);
    if (err != 0)
        return err;
    int handle = d->open(d->ctx, DISK_LOG, name, DISK_CREATE);
    if (handle < 0)
        return handle;
    err = copy_range(d, log_handle, start, end, handle, 0);
    if (err == 0)
        err = disk_fsync(d, handle);
    d->close(d->ctx, handle);
    if (err != 0) {
        d->unlink(d->ctx, DISK_LOG, name);
        return err;
    }
    return disk_sync_dir(d, DISK_LOG);
}

/* After the cut the side file must not vouch for bytes that are gone. Before it, so that a crash in between leaves the
 * damage to be found again. */
static bool lower_side_file(struct recovery *r, int log, int64_t offset) {
    const struct store_file *file = &r->logs.items[log];
    struct synced_position position = {
        .known = true, .log_zxid = file->zxid, .offset = offset, .zxid = r->result->last_zxid};
    struct side_file side = SIDE_FILE_CLOSED;
    bool below = file->zxid < r->side.log_zxid || (file->zxid == r->side.log_zxid && offset < r->side.offset);
    if (!r->side.known || !below)
        return true;
    int err = side_file_open(&side, r->disk);
    if (err == 0)
        err = side_file_note(&side, &position, true);
    side_file_close(&side);
    if (err != 0)
        return recovery_disk_failed(r, err, "writing", SIDE_FILE_NAME);
    r->side = position;
    return true;
}

/* From the last one back, so that a crash in between leaves no hole in the row. */
static bool set_later_aside(struct recovery *r, int log) {
    for (int i = r->logs.count - 1; i > log; i--) {
        char name[STORE_NAME_MAX];
        if (!rename_aside(r, i, name))
            return false;
        recovery_tell(r, "%s was set aside as %s", r->logs.items[i].name, name);
    }
    int err = r->options->dry_run ? 0 : disk_sync_dir(r->disk, DISK_LOG);
    return err == 0 || recovery_disk_failed(r, err, "sync of", "the log directory");
}

/* Cuts the file itself; kept: the name of the copy, "" = there was nothing but zeros or no room. */
static bool cut_file(struct recovery *r, int log, int64_t offset, int64_t data_end, bool keep, char kept[STORE_NAME_MAX]) {
    const struct disk *d = r->disk;
    const struct store_file *file = &r->logs.items[log];
    int handle = d->open(d->ctx, DISK_LOG, file->name, DISK_READWRITE);
    if (handle < 0)
        return recovery_disk_failed(r, handle, "opening", file->name);
    const char *kind = keep ? STORE_ASIDE_DAMAGED : STORE_ASIDE_TAIL;
    int err = data_end > offset ? keep_tail(r, handle, kind, file->zxid, offset, data_end, kept) : 0;
    if (err != 0 || data_end <= offset)
        kept[0] = '\0';
    if (!keep && out_of_space(err)) {
        log_warn("no space to keep the %lld bytes that are cut off %s", (long long)(data_end - offset), file->name);
        err = 0;
    }
    if (err == 0)
        err = d->truncate(d->ctx, handle, offset);
    if (err == 0)
        err = disk_fsync(d, handle);
    d->close(d->ctx, handle);
    return err == 0 || recovery_disk_failed(r, err, "cutting", file->name);
}

static void tell_cut(struct recovery *r, int log, int64_t offset, const char *why, const char *kept) {
    r->result->cut = true;
    recovery_tell(r, "%s was cut at offset %lld, behind zxid 0x%llx (%s)%s%s", r->logs.items[log].name, (long long)offset,
                  (unsigned long long)r->result->last_zxid, why, kept[0] != '\0' ? "; what was cut off is kept in " : "", kept);
}

bool repair_trim(struct recovery *r, int log, int64_t offset, int64_t data_end, const char *why) {
    char kept[STORE_NAME_MAX] = "";
    if (!r->options->dry_run && !cut_file(r, log, offset, data_end, false, kept))
        return false;
    tell_cut(r, log, offset, why, kept);
    return true;
}

bool repair_cut(struct recovery *r, int log, int64_t offset, int64_t data_end, bool keep, const char *why) {
    char kept[STORE_NAME_MAX] = "";
    bool whole = offset < TXNLOG_HEADER_BYTES; /* not even a header would be left */
    if (!r->options->dry_run && !lower_side_file(r, log, offset))
        return false;
    if (!set_later_aside(r, log))
        return false;
    if (whole ? !rename_aside(r, log, kept)
              : !r->options->dry_run && !cut_file(r, log, offset, data_end, keep, kept))
        return false;
    tell_cut(r, log, offset, why, kept);
    return true;
}

/* ------------------------------------------------------------------ syncing, cleaning */

/* The logs that may hold bytes which are not on the disk: those that the side file does not vouch for. */
static bool may_be_unsynced(const struct recovery *r, const struct store_file *file) {
    if (!r->side.known)
        return true;
    return file->zxid > r->side.log_zxid || (file->zxid == r->side.log_zxid && !r->side.orderly);
}

/* The entries that the side file does not vouch for may have been in the batch whose sync failed. Then they are in the
 * cache, and a sync says that all is well, but they are on no disk: they have to be written again. */
static int sync_log(const struct recovery *r, const struct store_file *file) {
    const struct disk *d = r->disk;
    char side_name[STORE_NAME_MAX];
    store_log_name(side_name, r->side.log_zxid);
    bool rewrite = r->side.known && strcmp(file->name, side_name) == 0 && r->side_log_end > r->side.offset;
    int handle = d->open(d->ctx, DISK_LOG, file->name, rewrite ? DISK_READWRITE : DISK_READ);
    if (handle == -ENOENT) /* was set aside */
        return 0;
    if (handle < 0)
        return handle;
    int err = rewrite ? copy_range(d, handle, r->side.offset, r->side_log_end, handle, r->side.offset) : 0;
    if (out_of_space(err)) { /* where files are not overwritten in place; a full disk must not keep us from starting */
        log_warn("no space to write the last entries of %s again", file->name);
        err = 0;
    }
    if (err == 0)
        err = disk_fsync(d, handle);
    d->close(d->ctx, handle);
    return err;
}

bool repair_sync(struct recovery *r) {
    if (r->options->dry_run || r->logs.count == 0)
        return true;
    for (int i = r->first_log; i < r->logs.count; i++) {
        const struct store_file *file = &r->logs.items[i];
        int err = may_be_unsynced(r, file) ? sync_log(r, file) : 0;
        if (err != 0)
            return recovery_disk_failed(r, err, "sync of", file->name);
    }
    int err = disk_sync_dir(r->disk, DISK_LOG);
    return err == 0 || recovery_disk_failed(r, err, "sync of", "the log directory");
}

/* A server that did not stop in order leaves all that it had reserved behind its last entry, as real blocks. A cut that
 * fails, or that a crash undoes, leaves zeros, as before. */
static int give_back(const struct disk *d, const char *name, int64_t end) {
    int handle = d->open(d->ctx, DISK_LOG, name, DISK_READWRITE);
    if (handle < 0)
        return handle;
    int err = d->truncate(d->ctx, handle, end);
    d->close(d->ctx, handle);
    return err;
}

void repair_give_back(struct recovery *r) {
    for (int i = r->first_log; i < r->logs.count && !r->options->dry_run; i++) {
        int err = r->ends[i] != 0 ? give_back(r->disk, r->logs.items[i].name, r->ends[i]) : 0;
        if (err != 0)
            log_warn("the space reserved at the end of %s could not be given back: %s", r->logs.items[i].name, strerror(-err));
    }
}

bool repair_forget_side_file(struct recovery *r) {
    int err = r->disk->unlink(r->disk->ctx, DISK_LOG, SIDE_FILE_NAME);
    if (err == 0)
        err = disk_sync_dir(r->disk, DISK_LOG);
    return err == 0 || recovery_disk_failed(r, err, "removing", SIDE_FILE_NAME);
}

static bool remove_tmp_in(struct recovery *r, enum disk_dir dir) {
    struct store_files files;
    int err = store_files_list(r->disk, dir, NULL, &files);
    if (err < 0)
        return recovery_disk_failed(r, err, "listing", "the data directory");
    for (int i = 0; i < files.count && err == 0; i++) {
        if (!store_name_is_own_tmp(files.items[i].name))
            continue;
        log_info("removing %s, left over from a crash", files.items[i].name);
        err = r->disk->unlink(r->disk->ctx, dir, files.items[i].name);
        if (err == -ENOENT) /* both directories may be the same */
            err = 0;
    }
    store_files_free(&files);
    return err == 0 || recovery_disk_failed(r, err, "removing", "a temporary file");
}

bool repair_remove_tmp(struct recovery *r) {
    return r->options->dry_run || (remove_tmp_in(r, DISK_SNAP) && remove_tmp_in(r, DISK_LOG));
}
