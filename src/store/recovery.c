#include "store/recovery.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/recovery_internal.h"
#include "store/rewind.h"

#define CANDIDATES_MAX 100

bool recovery_refuse(struct recovery *r, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->result->message, sizeof r->result->message, fmt, args);
    va_end(args);
    r->result->status = RECOVERY_REFUSED;
    return false;
}

bool recovery_disk_failed(struct recovery *r, int err, const char *what, const char *name) {
    snprintf(r->result->message, sizeof r->result->message, "%s %s failed: %s", what, name, strerror(-err));
    r->result->status = RECOVERY_IO;
    return false;
}

void recovery_tell(struct recovery *r, const char *fmt, ...) {
    char text[400], *message = r->result->message;
    size_t used = strlen(message), size = sizeof r->result->message;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    snprintf(message + used, size - used, "%s%s", used > 0 ? "; " : "", text);
    log_warn("%s%s", text, r->options->dry_run ? " (dry run: nothing was changed)" : "");
}

/* ------------------------------------------------------------------ directories */

static bool has_prefix(const struct store_files *files, const char *prefix) {
    for (int i = 0; i < files->count; i++)
        if (store_name_has_prefix(files->items[i].name, prefix))
            return true;
    return false;
}

/* ZooKeeper refuses mixed-up directories with these words, and for good reason: data would be looked for in one place
 * and written in the other. */
static bool check_split(struct recovery *r) {
    struct store_files snap_dir = {0}, log_dir = {0};
    if (r->options->same_dir)
        return true;
    int err = store_files_list(r->disk, DISK_SNAP, NULL, &snap_dir);
    if (err >= 0)
        err = store_files_list(r->disk, DISK_LOG, NULL, &log_dir);
    const char *wrong = has_prefix(&log_dir, "snapshot") ? "Log directory has snapshot files."
                        : has_prefix(&snap_dir, "log")   ? "Snapshot directory has log files."
                                                         : NULL;
    store_files_free(&snap_dir);
    store_files_free(&log_dir);
    if (err < 0)
        return recovery_disk_failed(r, err, "listing", "the data directories");
    if (wrong != NULL)
        return recovery_refuse(r, "%s Check if dataLogDir and dataDir configuration is correct.", wrong);
    return true;
}

static bool read_directories(struct recovery *r) {
    int err = store_files_list(r->disk, DISK_SNAP, "snapshot", &r->snapshots);
    if (err < 0)
        return recovery_disk_failed(r, err, "listing", "the snapshot directory");
    err = store_files_list(r->disk, DISK_LOG, "log", &r->logs);
    if (err < 0)
        return recovery_disk_failed(r, err, "listing", "the log directory");
    err = synced_position_read(r->disk, &r->side);
    return err == 0 || recovery_disk_failed(r, err, "reading", SIDE_FILE_NAME);
}

/* ------------------------------------------------------------------ snapshots */

/* Files that Java wrote were never synced; once we build on one it must be on the disk. */
static bool sync_snapshot(struct recovery *r, const char *name) {
    const struct disk *d = r->disk;
    if (r->options->dry_run)
        return true;
    int handle = d->open(d->ctx, DISK_SNAP, name, DISK_READ);
    int err = handle < 0 ? handle : disk_fsync(d, handle);
    if (handle >= 0)
        d->close(d->ctx, handle);
    if (err == 0)
        err = disk_sync_dir(d, DISK_SNAP);
    return err == 0 || recovery_disk_failed(r, err, "sync of", name);
}

/* What is known when no snapshot could be loaded. */
struct attempts {
    int count; /* files that looked like a snapshot, and those that the disk did not show */
    int io_err;
    char why[256]; /* what was wrong with the newest */
};

static bool try_snapshot(struct recovery *r, const struct store_file *file, struct attempts *a) {
    struct snapshot_info info;
    r->sink->reset(r->sink->ctx, file->size);
    int err = snapshot_load(r->disk, file->name, &r->sink->snapshot, r->options->max_item_bytes, &info);
    if (err == 0 && r->sink->snapshot_done(r->sink->ctx, file->zxid, &info) == 0)
        return true;
    if (err == 0)
        snprintf(info.error, sizeof info.error, "its content was refused");
    if (++a->count == 1)
        snprintf(a->why, sizeof a->why, "%s: %s", file->name, info.error);
    if (err != 0 && err != -EBADMSG)
        a->io_err = err;
    log_warn("problem reading snap file %s: %s", file->name, info.error);
    return false;
}

/* The newest that can be read wins. NULL if there is none. */
static const struct store_file *load_snapshot(struct recovery *r, struct attempts *a) {
    *a = (struct attempts){0};
    for (int i = r->snapshots.count - 1; i >= 0 && a->count < CANDIDATES_MAX; i--) {
        const struct store_file *file = &r->snapshots.items[i];
        int err;
        if (!snapshot_looks_valid(r->disk, file->name, &err) && err == 0)
            log_warn("%s is not a complete snapshot and is ignored", file->name);
        else if (try_snapshot(r, file, a))
            return file;
    }
    return NULL;
}

static bool any_log_entries(struct recovery *r, bool *any) {
    *any = false;
    for (int i = 0; i < r->logs.count && !*any; i++) {
        int err;
        *any = store_log_has_entries(r->disk, r->logs.items[i].name, &err);
        if (err != 0)
            return recovery_disk_failed(r, err, "reading", r->logs.items[i].name);
    }
    return true;
}

/* No snapshot could be loaded: a new database, or one that has lost something. */
static bool start_without_snapshot(struct recovery *r, const struct attempts *a) {
    bool any;
    if (a->io_err != 0)
        return recovery_disk_failed(r, a->io_err, "reading", "the snapshots");
    if (a->count > 0)
        return recovery_refuse(r, "Not able to find valid snapshots: none of %d can be read (%s); restore one from a backup "
                                  "or from another server", a->count, a->why);
    if (!any_log_entries(r, &any))
        return false;
    if (any && !r->options->trust_empty_snapshot)
        return recovery_refuse(r, "No snapshot found, but there are log entries. Something is broken! Restore the snapshot, "
                                  "or, if there never was one (ZooKeeper 3.4), set snapshot.trust.empty to yes");
    const struct store_file *newest = r->snapshots.count > 0 ? &r->snapshots.items[r->snapshots.count - 1] : NULL;
    if (!any && newest != NULL && newest->zxid > 0 && !r->options->trust_empty_snapshot)
        return recovery_refuse(r, "%s is not a complete snapshot, and there is no other and no log; restore one, or remove "
                                  "the file to start with an empty database", newest->name);
    r->sink->reset(r->sink->ctx, 0);
    if (r->sink->snapshot_done(r->sink->ctx, 0, NULL) != 0)
        return recovery_refuse(r, "an empty database was refused");
    r->no_start = true;
    r->result->fresh = !any;
    if (any)
        log_warn("no snapshot found: replaying all logs onto an empty tree (snapshot.trust.empty)");
    return true;
}

/* A snapshot of a leader took the place of the history, and a crash kept the older one from going. It is none to start from. */
static bool check_replaced(struct recovery *r, zxid_t loaded) {
    int err = store_replaced(r->disk, &r->replaced);
    if (err != 0 && err != -EBADMSG)
        return recovery_disk_failed(r, err, "reading", REPLACED_MARK_NAME);
    for (int i = 0; i < r->snapshots.count; i++)
        r->replacement |= r->snapshots.items[i].zxid == r->replaced;
    if (err == 0 && (!r->replacement || r->replaced < 0 || r->replaced <= loaded))
        return true;
    return recovery_refuse(r, "The snapshot at zxid 0x%llx took the place of an older history, and it cannot be read. Restore it, "
                              "or, to start from the older history, remove " REPLACED_MARK_NAME,
                           (unsigned long long)r->replaced);
}

/* Before the crash it had not been published, or it is there and what is older has to go. */
static bool finish_replacing(struct recovery *r) {
    if (r->replaced < 0 || r->options->dry_run)
        return true;
    int err = r->replacement ? store_forget_older(r->disk, r->replaced) : store_forget_replaced(r->disk);
    return err == 0 || recovery_disk_failed(r, err, "removing", "an older history");
}

/* The snapshot of a member may be ahead of its log (E30), and then an epoch may begin in the log: who started from an older
 * snapshot would not see that something is missing in between. Where a transaction right behind the snapshot shows it, or the
 * logs hold the snapshot's last one, there is no such hole; and no transaction has the zxid at which an epoch begins. */
static bool close_way_back(struct recovery *r) {
    zxid_t base = r->result->snapshot_zxid;
    if (!r->options->member || r->options->dry_run || base < 0 || zxid_counter(base) == 0 || r->base_logged ||
        r->first_replayed == base + 1)
        return true;
    log_info("the logs do not lead up to %s", r->result->snapshot_name);
    int err = store_forget_older_snapshots(r->disk, base);
    return err == 0 || recovery_disk_failed(r, err, "removing", "older snapshots");
}

static bool load(struct recovery *r) {
    struct attempts attempts;
    int64_t start_us = r->disk->clock_us(r->disk->ctx);
    const struct store_file *file = load_snapshot(r, &attempts);
    if (!check_replaced(r, file != NULL ? file->zxid : -1))
        return false;
    if (file == NULL)
        return start_without_snapshot(r, &attempts);
    r->result->snapshot_us = r->disk->clock_us(r->disk->ctx) - start_us;
    r->result->snapshot_zxid = r->result->last_zxid = file->zxid;
    snprintf(r->result->snapshot_name, sizeof r->result->snapshot_name, "%.*s", STORE_NAME_MAX - 1, file->name);
    log_info("loaded %s in %lld ms", file->name, (long long)(r->result->snapshot_us / 1000));
    return sync_snapshot(r, file->name);
}

/* ------------------------------------------------------------------ logs */

/* All logs that begin behind the snapshot, and the one before them, which holds what came right after it. A log without
 * entries (left by a start without a write) does not count as that one. */
static bool choose_logs(struct recovery *r) {
    const struct store_files *logs = &r->logs;
    int first = 0;
    while (first + 1 < logs->count && logs->items[first + 1].zxid <= r->result->snapshot_zxid)
        first++;
    while (first > 0 && first < logs->count) {
        int err;
        bool has = store_log_has_entries(r->disk, logs->items[first].name, &err);
        if (err != 0)
            return recovery_disk_failed(r, err, "reading", logs->items[first].name);
        if (has)
            break;
        first--;
    }
    while (first > 0 && logs->items[first - 1].zxid == logs->items[first].zxid)
        first--;
    r->first_log = first;
    return true;
}

/* What is missing at the end leaves no gap that replay could see, but the side file knows how far there was something. */
static bool check_end(struct recovery *r) {
    zxid_t reached = r->side.zxid, last = r->result->last_zxid;
    if (!r->side.known || last >= reached)
        return true;
    if (!r->options->cut_damaged)
        return recovery_refuse(r, "The database ends at zxid 0x%llx, but all up to 0x%llx at least was acknowledged: a log "
                                  "is missing or was cut. Restore it, or, to go on without it, remove " SIDE_FILE_NAME,
                               (unsigned long long)last, (unsigned long long)reached);
    recovery_tell(r, "the database ends at zxid 0x%llx, transactions up to 0x%llx at least are lost",
                  (unsigned long long)last, (unsigned long long)reached);
    r->side.known = false;
    return r->options->dry_run || repair_forget_side_file(r);
}

static bool replay(struct recovery *r) {
    int64_t start_us = r->disk->clock_us(r->disk->ctx);
    r->ends = mem_calloc((size_t)r->logs.count + 1, sizeof *r->ends);
    if (!choose_logs(r) || !recovery_replay(r) || !check_end(r) || !repair_sync(r))
        return false;
    repair_give_back(r);
    r->result->replay_us = r->disk->clock_us(r->disk->ctx) - start_us;
    log_info("replayed %llu transactions in %lld ms, last zxid 0x%llx", (unsigned long long)r->result->txns_replayed,
             (long long)(r->result->replay_us / 1000), (unsigned long long)r->result->last_zxid);
    return true;
}

void recovery_run(const struct disk *d, const struct recovery_options *options, const struct recovery_sink *sink,
                  struct recovery_result *result) {
    struct recovery r = {.disk = d, .options = options, .sink = sink, .result = result};
    *result = (struct recovery_result){.status = RECOVERY_OK, .snapshot_zxid = -1};
    bool ok = check_split(&r) && read_directories(&r) && repair_remove_tmp(&r) && load(&r) && replay(&r) &&
              close_way_back(&r) && finish_replacing(&r);
    zassert(ok == (result->status == RECOVERY_OK));
    store_files_free(&r.snapshots);
    store_files_free(&r.logs);
    mem_free(r.ends);
}
