#include "store/rewind.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/strutil.h"
#include "store/listing.h"
#include "store/sidefile.h"
#include "store/snapshot.h"
#include "store/txnlog.h"

/* It may vouch for entries that are about to go. */
static int forget_side_file(const struct disk *d) {
    int err = d->unlink(d->ctx, DISK_LOG, SIDE_FILE_NAME);
    if (err == -ENOENT)
        return 0;
    return err != 0 ? err : disk_sync_dir(d, DISK_LOG);
}

static int remove_snapshots(const struct disk *d, zxid_t to) {
    struct store_files files;
    int err = store_files_list(d, DISK_SNAP, "snapshot", &files);
    if (err < 0)
        return err;
    bool any = false;
    err = 0;
    for (int i = files.count - 1; i >= 0 && files.items[i].zxid > to && err == 0; i--) {
        log_info("removing %s, which is newer than 0x%llx", files.items[i].name, (unsigned long long)to);
        err = d->unlink(d->ctx, DISK_SNAP, files.items[i].name);
        any = true;
    }
    store_files_free(&files);
    return err == 0 && any ? disk_sync_dir(d, DISK_SNAP) : err;
}

/* The offset of the first entry above the zxid; -1 = there is none. last: of what stays before it; -1 = not known. */
static int find_end(const struct disk *d, const char *name, zxid_t to, int64_t *offset, zxid_t *last) {
    int err;
    *offset = -1;
    *last = 0;
    struct txnlog_reader *r = txnlog_reader_open(d, name, INT32_MAX, &err);
    if (r == NULL)
        return err;
    for (;;) {
        struct txnlog_result result = txnlog_reader_next(r);
        if (result.status == TXNLOG_IO) {
            err = result.err;
            break;
        }
        if (result.status != TXNLOG_RECORD) {
            /* Damage that a snapshot covers does not stop recovery, so what is behind it must go, too. */
            zxid_t found;
            *last = -1;
            if (result.status == TXNLOG_END || !txnlog_reader_resync(r, to, offset, &found))
                *offset = -1;
            err = txnlog_reader_err(r);
            break;
        }
        if (txnlog_payload_zxid(result.payload) > to) {
            *offset = result.offset;
            break;
        }
        *last = txnlog_payload_zxid(result.payload);
    }
    txnlog_reader_close(r);
    return err;
}

/* After a failed sync, or a power loss before it, the rest of the block at the cut may be zeros while the file still has its
 * old end: damage with valid entries behind it. The side file says that nothing from there on was promised to anybody. */
static int note_cut(const struct disk *d, zxid_t log_zxid, int64_t offset, zxid_t last) {
    struct side_file side = SIDE_FILE_CLOSED;
    int err = side_file_open(&side, d);
    if (err == 0)
        err = side_file_note(
            &side, &(struct synced_position){.known = true, .log_zxid = log_zxid, .offset = offset, .zxid = last}, true);
    side_file_close(&side);
    return err;
}

static int cut(const struct disk *d, const struct store_file *file, zxid_t to) {
    int64_t offset;
    zxid_t last;
    int err = find_end(d, file->name, to, &offset, &last);
    if (err != 0 || offset < 0)
        return err;
    log_info("cutting %s at offset %lld, behind zxid 0x%llx", file->name, (long long)offset, (unsigned long long)to);
    int handle = d->open(d->ctx, DISK_LOG, file->name, DISK_READWRITE);
    if (handle < 0)
        return handle;
    err = last >= 0 ? note_cut(d, file->zxid, offset, last) : 0;
    if (err == 0)
        err = d->truncate(d->ctx, handle, offset);
    if (err == 0)
        err = disk_fsync(d, handle);
    d->close(d->ctx, handle);
    return err == 0 ? forget_side_file(d) : err;
}

static int cut_logs(const struct disk *d, zxid_t to) {
    struct store_files files;
    int err = store_files_list(d, DISK_LOG, "log", &files);
    if (err < 0)
        return err;
    err = 0;
    for (int i = files.count - 1; i >= 0 && err == 0; i--) {
        const struct store_file *file = &files.items[i];
        if (file->zxid <= to) {
            err = cut(d, file, to);
            break;
        }
        log_info("removing %s, which is newer than 0x%llx", file->name, (unsigned long long)to);
        err = d->unlink(d->ctx, DISK_LOG, file->name);
        if (err == 0)
            err = disk_sync_dir(d, DISK_LOG);
    }
    store_files_free(&files);
    return err;
}

static int rewind_to(const struct disk *d, zxid_t to) {
    int err = forget_side_file(d);
    if (err == 0)
        err = remove_snapshots(d, to);
    return err == 0 ? cut_logs(d, to) : err;
}

/* Without a snapshot that stays, what stays of the logs would be worth nothing. */
static int check_base(const struct disk *d, zxid_t to) {
    struct store_files files;
    int err = store_files_list(d, DISK_SNAP, "snapshot", &files);
    if (err < 0)
        return err;
    bool found = files.count == 0;
    err = 0;
    for (int i = 0; i < files.count && files.items[i].zxid <= to && !found && err == 0; i++)
        found = snapshot_looks_valid(d, files.items[i].name, &err);
    store_files_free(&files);
    if (err == 0 && !found)
        log_error("there is no snapshot at or below 0x%llx to go back to", (unsigned long long)to);
    return err != 0 ? err : found ? 0 : -ENODATA;
}

int store_rewind(const struct disk *d, zxid_t to) {
    int err = check_base(d, to);
    return err == 0 ? rewind_to(d, to) : err;
}

int store_replace(const struct disk *d, const char *tmp_name, zxid_t zxid) {
    char name[STORE_NAME_MAX];
    int err = rewind_to(d, zxid);
    if (err != 0)
        return err;
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64, zxid);
    err = disk_write_atomic(d, DISK_SNAP, REPLACED_MARK_NAME, text, (size_t)len);
    if (err != 0)
        return err;
    store_snapshot_name(name, zxid, SNAPSHOT_PLAIN);
    err = d->rename(d->ctx, DISK_SNAP, tmp_name, name);
    return err == 0 ? disk_sync_dir(d, DISK_SNAP) : err;
}

static bool is_older_snapshot(const struct store_file *f, zxid_t zxid) { return f->zxid < zxid; }
static bool is_older_log(const struct store_file *f, zxid_t zxid) { return f->zxid <= zxid; }

static int forget_in(const struct disk *d, enum disk_dir dir, const char *prefix,
                     bool (*older)(const struct store_file *f, zxid_t zxid), zxid_t zxid) {
    struct store_files files;
    int err = store_files_list(d, dir, prefix, &files);
    if (err < 0)
        return err;
    bool any = false;
    err = 0;
    for (int i = 0; i < files.count && err == 0; i++) {
        if (!older(&files.items[i], zxid))
            continue;
        log_info("removing %s: the snapshot at 0x%llx takes its place", files.items[i].name, (unsigned long long)zxid);
        err = d->unlink(d->ctx, dir, files.items[i].name);
        any = true;
    }
    store_files_free(&files);
    return err == 0 && any ? disk_sync_dir(d, dir) : err;
}

int store_forget_older_snapshots(const struct disk *d, zxid_t zxid) {
    return forget_in(d, DISK_SNAP, "snapshot", is_older_snapshot, zxid);
}

int store_forget_older(const struct disk *d, zxid_t zxid) {
    int err = store_forget_older_snapshots(d, zxid);
    if (err == 0)
        err = forget_in(d, DISK_LOG, "log", is_older_log, zxid);
    return err == 0 ? store_forget_replaced(d) : err;
}

int store_replaced(const struct disk *d, zxid_t *zxid) {
    char text[24];
    *zxid = -1;
    int handle = d->open(d->ctx, DISK_SNAP, REPLACED_MARK_NAME, DISK_READ);
    if (handle < 0)
        return handle == -ENOENT ? 0 : handle;
    ssize_t n = disk_read_full(d, handle, text, sizeof text, 0);
    d->close(d->ctx, handle);
    if (n < 0)
        return (int)n;
    return str_to_i64((struct slice){text, (size_t)n}, zxid) && *zxid >= 0 ? 0 : -EBADMSG;
}

int store_forget_replaced(const struct disk *d) {
    int err = d->unlink(d->ctx, DISK_SNAP, REPLACED_MARK_NAME);
    return err == 0 || err == -ENOENT ? disk_sync_dir(d, DISK_SNAP) : err;
}

/* ------------------------------------------------------------------ histories that are not to be trusted */

static int abandon_files(const struct disk *d, enum disk_dir dir, const char *prefix) {
    struct store_files files;
    int err = store_files_list(d, dir, prefix, &files);
    if (err < 0)
        return err;
    err = 0;
    for (int i = 0; i < files.count && err == 0; i++) {
        struct buf name = BUF_INIT;
        buf_printf(&name, "set-aside.%s", files.items[i].name);
        buf_append(&name, "", 1);
        log_warn("%s is set aside as %s", files.items[i].name, (const char *)name.data);
        err = d->rename(d->ctx, dir, files.items[i].name, (const char *)name.data);
        buf_free(&name);
    }
    store_files_free(&files);
    return err == 0 ? disk_sync_dir(d, dir) : err;
}

int store_mark(const struct disk *d) { return disk_write_atomic(d, DISK_SNAP, RESYNC_MARK_NAME, "1", 1); }

int store_abandon(const struct disk *d) {
    int err = store_mark(d);
    if (err == 0)
        err = forget_side_file(d);
    if (err == 0)
        err = abandon_files(d, DISK_LOG, "log");
    return err == 0 ? abandon_files(d, DISK_SNAP, "snapshot") : err;
}

bool store_is_marked(const struct disk *d) {
    int handle = d->open(d->ctx, DISK_SNAP, RESYNC_MARK_NAME, DISK_READ);
    if (handle < 0)
        return false;
    d->close(d->ctx, handle);
    return true;
}

int store_unmark(const struct disk *d) {
    int err = d->unlink(d->ctx, DISK_SNAP, RESYNC_MARK_NAME);
    return err == 0 || err == -ENOENT ? disk_sync_dir(d, DISK_SNAP) : err;
}
