/* The writer of the log. What must be durable before what (docs/protocol/invariants.md; disk-format.md section 13):
 *
 *   a new file    header, reserved blocks -> fsync -> rename to its name -> directory sync -> side file says so -> fsync;
 *                 only then the first entry. So no log without a header is ever seen, and a log newer than the side
 *                 file's was not written by us.
 *   a batch       written -> fdatasync -> completion; only then the next batch. So only the last batch can have holes.
 *   the side file is told afterwards, now and then, without a sync: it may lag behind, it never runs ahead.
 *
 * A batch that does not fit on the disk is refused before the file is touched if blocks are reserved ahead; otherwise
 * the file is cut back. Any other failure of an append leaves a writer that refuses everything. */
#include "store/logwriter.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/listing.h"
#include "store/sidefile.h"
#include "store/txnlog.h"

#define NEW_LOG_NAME STORE_TMP_PREFIX "log" STORE_TMP_SUFFIX
/* The file is extended when less than this is left behind the entries (docs/protocol/disk-format.md section 3.1). */
#define PREALLOC_MARGIN 4096
/* What is reserved ahead instead of preAllocSize when space is short. */
#define PREALLOC_SPARING (64 * 1024)
/* A batch of less than half of it also fills the blocks up to the next multiple with zeros: see filled_by. */
#define FILL_STEP (64 * 1024)
#define FILL_PIECES 16
/* Pieces of a batch handed to the disk at once. */
#define PIECES 256

struct logwriter {
    const struct disk *disk;
    struct logwriter_options options;
    int file; /* handle of the current log, -1 = none */
    zxid_t log_zxid;
    int64_t size;     /* of the file, padding included */
    int64_t filled;   /* blocks up to here have been written, entries or zeros; behind it they are only reserved */
    int64_t position; /* end of the entries: all before it are written and (force_sync) synced */
    zxid_t last_zxid; /* of these entries; 0 = none yet */
    struct side_file side;
    int64_t noted_us, noted_position;
    bool broken; /* an append failed: nobody knows what is on the disk */
};

static bool out_of_space(int err) { return err == -ENOSPC || err == -EDQUOT; }

static int failed(struct log_cmd *cmd, int err, const char *what) {
    cmd->err = out_of_space(err) ? -ENOSPC : err;
    cmd->err_what = what;
    return cmd->err;
}

struct logwriter *logwriter_new(const struct disk *d, const struct logwriter_options *options) {
    struct logwriter *w = mem_calloc(1, sizeof *w);
    w->disk = d;
    w->options = *options;
    w->file = -1;
    w->side = SIDE_FILE_CLOSED;
    return w;
}

static struct synced_position position_of(const struct logwriter *w, bool orderly) {
    return (struct synced_position){
        .known = true, .log_zxid = w->log_zxid, .offset = w->position, .zxid = w->last_zxid, .orderly = orderly};
}

/* Gives back what was reserved behind the last entry: unlike a sparse tail it takes up real blocks. That this may fail, or
 * be undone by a crash, does no harm. True if the file was cut. */
static bool cut_padding(struct logwriter *w) {
    if (w->size <= w->position)
        return false;
    int err = w->disk->truncate(w->disk->ctx, w->file, w->position);
    if (err != 0)
        log_warn("the space reserved at the end of a finished log could not be given back: %s", strerror(-err));
    else
        w->size = w->position;
    return err == 0;
}

/* The cut comes before the sync: once an orderly end is noted nothing touches the file any more. After a power loss in
 * between, the file ends in zeros or at the cut, and the side file vouches for less than there is. */
static void close_orderly(struct logwriter *w) {
    const char *what = "fdatasync";
    bool cut = cut_padding(w);
    int err = cut || !w->options.force_sync ? disk_fdatasync(w->disk, w->file) : 0;
    if (err == 0) {
        struct synced_position position = position_of(w, true);
        what = SIDE_FILE_NAME;
        err = side_file_note(&w->side, &position, true);
    }
    if (err != 0)
        log_warn("the synced position of the log could not be noted (%s: %s)", what, strerror(-err));
}

void logwriter_free(struct logwriter *w, bool orderly) {
    if (w == NULL)
        return;
    if (w->file >= 0) {
        if (orderly && !w->broken)
            close_orderly(w);
        w->disk->close(w->disk->ctx, w->file);
    }
    side_file_close(&w->side);
    mem_free(w);
}

/* ------------------------------------------------------------------ reserving blocks */

static int64_t prealloc_target(int64_t size, int64_t end, int64_t prealloc) {
    while (prealloc > 0 && end + PREALLOC_MARGIN >= size)
        size = end > size ? end + prealloc - (end + prealloc) % prealloc : size + prealloc;
    return size;
}

/* Extends the file to target; on failure it is as before. */
static int extend(struct logwriter *w, int file, int64_t *size, int64_t target) {
    int err = w->disk->allocate(w->disk->ctx, file, *size, target - *size);
    if (err == 0) {
        *size = target;
        return 0;
    }
    int cut = w->disk->truncate(w->disk->ctx, file, *size); /* some file systems leave what they got */
    return cut != 0 ? (out_of_space(cut) ? -EIO : cut) : err;
}

/* Reserves blocks ahead of end, as many as wanted or as there are. Failing that, -ENOSPC; if the file reaches up to end
 * as it is, that is no failure. */
static int reserve(struct logwriter *w, int file, int64_t *size, int64_t end, bool sparing) {
    int64_t step = w->options.prealloc_bytes;
    int64_t target = prealloc_target(*size, end, sparing ? i64_min(step, PREALLOC_SPARING) : step);
    if (target == *size)
        return 0;
    /* Take at most half of what is left, so that snapshots and epoch files can still be written. */
    int64_t free = w->disk->free_bytes(w->disk->ctx, DISK_LOG);
    int64_t half = *size + (free >= 0 ? free / 2 : target);
    half -= half % PREALLOC_MARGIN;
    target = i64_min(target, half);
    if (target > end && target > *size) {
        int err = extend(w, file, size, target);
        if (!out_of_space(err))
            return err;
    }
    return end > *size ? extend(w, file, size, end) : 0;
}

/* ------------------------------------------------------------------ a new file */

/* Opening a log under a name that is taken replaces that file, which is right only if nothing is in it. */
static int check_name_free(const struct disk *d, const char *name) {
    int err;
    bool taken = store_log_has_entries(d, name, &err);
    if (err == -ENOENT)
        return 0;
    return err == 0 && taken ? -EEXIST : err;
}

/* Writes the header, reserves blocks, and syncs. */
static int fill_new_file(struct logwriter *w, struct log_cmd *cmd, int file, int64_t *size) {
    int err = disk_write_all(w->disk, file, txnlog_header, TXNLOG_HEADER_BYTES, 0);
    if (err != 0)
        return failed(cmd, err, "write of the log header");
    *size = TXNLOG_HEADER_BYTES;
    err = reserve(w, file, size, TXNLOG_HEADER_BYTES, cmd->sparing);
    if (err != 0)
        return failed(cmd, err, "preallocation");
    err = disk_fsync(w->disk, file);
    return err != 0 ? failed(cmd, err, "fsync of a new log") : 0;
}

static int create_log(struct logwriter *w, struct log_cmd *cmd, const char *name, int64_t *size) {
    const struct disk *d = w->disk;
    int file = d->open(d->ctx, DISK_LOG, NEW_LOG_NAME, DISK_CREATE);
    if (file < 0)
        return failed(cmd, file, "open of a new log");
    int err = fill_new_file(w, cmd, file, size);
    if (err == 0) {
        err = d->rename(d->ctx, DISK_LOG, NEW_LOG_NAME, name);
        if (err == 0)
            return file;
        failed(cmd, err, "rename of a new log");
    }
    d->close(d->ctx, file);
    d->unlink(d->ctx, DISK_LOG, NEW_LOG_NAME);
    return cmd->err;
}

/* Everything that must be durable before the first entry of the file. */
static int announce_log(struct logwriter *w, struct log_cmd *cmd) {
    int err = disk_sync_dir(w->disk, DISK_LOG);
    if (err != 0)
        return failed(cmd, err, "sync of the log directory");
    struct synced_position position = {.known = true, .log_zxid = cmd->first_zxid, .offset = TXNLOG_HEADER_BYTES};
    /* No zxid is ever skipped; only where an epoch begins the one before is not known by that. */
    position.zxid = zxid_counter(cmd->first_zxid) > 1 ? cmd->first_zxid - 1 : w->last_zxid;
    err = side_file_note(&w->side, &position, true);
    return err != 0 ? failed(cmd, err, "write of " SIDE_FILE_NAME) : 0;
}

static void close_current(struct logwriter *w) {
    cut_padding(w);
    w->disk->close(w->disk->ctx, w->file);
    w->file = -1;
}

/* Until the new file is complete the old one stays the current one: a roll that lacks space can be tried again. */
static int roll(struct logwriter *w, struct log_cmd *cmd) {
    const struct disk *d = w->disk;
    char name[STORE_NAME_MAX];
    int64_t size = 0;
    store_log_name(name, cmd->first_zxid);
    int err = w->side.handle < 0 ? side_file_open(&w->side, d) : 0;
    if (err != 0)
        return failed(cmd, err, "open of " SIDE_FILE_NAME);
    err = check_name_free(d, name);
    if (err != 0)
        return failed(cmd, err, "look at an older log of the same name");
    /* The side file is about to say that all older files are synced. */
    err = w->file >= 0 && !w->options.force_sync ? disk_fdatasync(d, w->file) : 0;
    if (err != 0)
        return failed(cmd, err, "fdatasync of the log");
    int file = create_log(w, cmd, name, &size);
    if (file < 0)
        return file;
    err = announce_log(w, cmd);
    if (err != 0) {
        /* The file that stays behind is a log without entries, which every reader takes for what it is. */
        d->close(d->ctx, file);
        return err;
    }
    if (w->file >= 0)
        close_current(w);
    w->file = file;
    w->log_zxid = cmd->first_zxid;
    w->last_zxid = zxid_counter(cmd->first_zxid) > 1 ? cmd->first_zxid - 1 : w->last_zxid;
    w->size = size;
    w->filled = w->position = w->noted_position = TXNLOG_HEADER_BYTES;
    w->noted_us = d->clock_us(d->ctx);
    log_info("new log %s", name);
    return 0;
}

/* ------------------------------------------------------------------ a batch */

/* How far a batch that ends at end fills its file. The first write to a reserved block changes the file's map of blocks,
 * which its sync must then write as well: on file systems with a journal that doubles what it costs. Zeros for some pages
 * ahead make most syncs of small batches overwrites. */
static int64_t filled_by(const struct logwriter *w, const struct log_cmd *cmd, int64_t end) {
    if (end <= w->filled)
        return w->filled;
    if (cmd->bytes >= FILL_STEP / 2 || cmd->sparing)
        return end;
    return i64_max(end, i64_min(w->size, (end + FILL_STEP - 1) / FILL_STEP * FILL_STEP));
}

/* Returns the number of pieces. */
static int put_zeros(struct iovec *pieces, int64_t size) {
    static char zeros[FILL_STEP / FILL_PIECES];
    int count = 0;
    for (; size > 0; size -= (int64_t)pieces[count++].iov_len)
        pieces[count] = (struct iovec){zeros, size_min(sizeof zeros, (size_t)size)};
    return count;
}

/* Writes the batch behind the position, from a copy of the pieces, so that the command can be executed again. */
static int write_batch(struct logwriter *w, const struct log_cmd *cmd) {
    struct iovec pieces[PIECES + FILL_PIECES];
    int64_t offset = w->position, end = offset + (int64_t)cmd->bytes, filled = filled_by(w, cmd, end);
    for (int done = 0; done < cmd->iov_count;) {
        int count = cmd->iov_count - done < PIECES ? cmd->iov_count - done : PIECES;
        int64_t bytes = 0;
        for (int i = 0; i < count; i++) {
            pieces[i] = cmd->iov[done + i];
            bytes += (int64_t)pieces[i].iov_len;
        }
        done += count;
        if (done == cmd->iov_count && filled > w->filled)
            count += put_zeros(pieces + count, filled - end);
        int err = disk_writev_all(w->disk, w->file, pieces, count, offset);
        if (err != 0)
            return err;
        offset += bytes;
    }
    zassert(offset == end);
    w->filled = filled;
    return 0;
}

/* Undoes what a failed write left. The file then ends at the last synced entry. */
static int cut_back(struct logwriter *w) {
    int err = w->disk->truncate(w->disk->ctx, w->file, w->position);
    if (err == 0)
        w->size = w->filled = w->position;
    return out_of_space(err) ? -EIO : err;
}

static int note_position(struct logwriter *w, struct log_cmd *cmd, int64_t now_us) {
    if (!w->options.force_sync || w->noted_position == w->position ||
        now_us - w->noted_us < w->options.side_file_interval_us)
        return 0;
    struct synced_position position = position_of(w, false);
    int err = side_file_note(&w->side, &position, false);
    w->noted_us = now_us;
    w->noted_position = w->position;
    if (out_of_space(err)) /* possible where files are not overwritten in place; the old position stays true */
        return 0;
    return err != 0 ? failed(cmd, err, "write of " SIDE_FILE_NAME) : 0;
}

static int append(struct logwriter *w, struct log_cmd *cmd) {
    const struct disk *d = w->disk;
    int err = 0;
    if (cmd->roll || w->file < 0)
        err = roll(w, cmd);
    if (err != 0 || cmd->bytes == 0)
        return err;
    int64_t end = w->position + (int64_t)cmd->bytes;
    err = reserve(w, w->file, &w->size, end, cmd->sparing);
    if (err != 0)
        return failed(cmd, err, "preallocation");
    err = write_batch(w, cmd);
    if (err != 0) {
        int cut_err = out_of_space(err) ? cut_back(w) : 0;
        return cut_err != 0 ? failed(cmd, cut_err, "ftruncate after a full disk") : failed(cmd, err, "write");
    }
    int64_t start_us = d->clock_us(d->ctx);
    err = w->options.force_sync ? disk_fdatasync(d, w->file) : 0;
    if (err != 0)
        return failed(cmd, err, "fdatasync");
    int64_t now_us = d->clock_us(d->ctx);
    cmd->sync_us = now_us - start_us;
    w->position = end;
    w->last_zxid = cmd->last_zxid;
    w->size = i64_max(w->size, end);
    return note_position(w, cmd, now_us);
}

static void execute_append(struct logwriter *w, struct log_cmd *cmd) {
    if (w->broken) {
        failed(cmd, -EIO, "an earlier append");
        return;
    }
    append(w, cmd);
    w->broken = cmd->err != 0 && cmd->err != -ENOSPC;
    cmd->file_size = w->size;
    cmd->file_position = w->position;
}

/* ------------------------------------------------------------------ the other commands */

static void execute_publish(struct logwriter *w, struct log_cmd *cmd) {
    const struct disk *d = w->disk;
    int err = d->rename(d->ctx, DISK_SNAP, cmd->tmp_name, cmd->name);
    if (err != 0) {
        failed(cmd, err, "rename");
        return;
    }
    err = disk_sync_dir(d, DISK_SNAP);
    if (err != 0)
        failed(cmd, err, "sync of the snapshot directory");
}

/* Goes on after a failure: the more files go the better, and the first error is reported. */
static void execute_remove(struct logwriter *w, struct log_cmd *cmd) {
    const struct disk *d = w->disk;
    for (int i = 0; i < cmd->remove_count; i++) {
        int err = d->unlink(d->ctx, cmd->dir, cmd->remove_names[i]);
        if (err == 0) {
            log_info("removed %s", cmd->remove_names[i]);
        } else if (err != -ENOENT) {
            log_warn("could not remove %s: %s", cmd->remove_names[i], strerror(-err));
            if (cmd->err == 0)
                failed(cmd, err, "unlink");
        }
    }
    int err = disk_sync_dir(d, cmd->dir);
    if (err != 0)
        failed(cmd, err, "directory sync");
}

void logwriter_execute(struct logwriter *w, struct log_cmd *cmd) {
    cmd->err = 0;
    cmd->err_what = NULL;
    cmd->sync_us = cmd->file_size = cmd->file_position = 0;
    switch (cmd->type) {
    case LOG_CMD_APPEND:
        execute_append(w, cmd);
        break;
    case LOG_CMD_PUBLISH:
        execute_publish(w, cmd);
        break;
    case LOG_CMD_REMOVE:
        execute_remove(w, cmd);
        break;
    case LOG_CMD_CALL: {
        if (w->file >= 0)
            close_current(w);
        side_file_close(&w->side);
        w->side = SIDE_FILE_CLOSED;
        w->last_zxid = 0; /* may be gone, and must not be vouched for */
        int err = cmd->run(cmd, w->disk);
        if (err != 0)
            failed(cmd, err, "call");
        break;
    }
    case LOG_CMD_ATOMIC: {
        int err = disk_write_atomic(w->disk, cmd->dir, cmd->name, cmd->content, cmd->content_size);
        if (err != 0)
            failed(cmd, err, "atomic write");
        break;
    }
    }
}
