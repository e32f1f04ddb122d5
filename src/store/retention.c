#include "store/retention.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/listing.h"
#include "store/snapshot.h"

/* Deleting asks for more than reading does: only what we or Java would have named so may go. */
static bool exact_log_name(const struct store_file *file) {
    char name[STORE_NAME_MAX];
    store_log_name(name, file->zxid);
    return strcmp(name, file->name) == 0;
}

static bool exact_snapshot_name(const struct store_file *file) {
    char name[STORE_NAME_MAX];
    store_snapshot_name(name, file->zxid, store_snapshot_method(file->name));
    return strcmp(name, file->name) == 0;
}

/* Index of the oldest of the newest keep snapshots that look valid; -1 if there is none. */
static int oldest_kept(const struct disk *d, const struct store_files *snapshots, int keep, int *err) {
    int oldest = -1;
    *err = 0;
    for (int i = snapshots->count - 1; i >= 0 && keep > 0; i--) {
        if (!exact_snapshot_name(&snapshots->items[i]))
            continue;
        bool valid = snapshot_looks_valid(d, snapshots->items[i].name, err);
        if (*err != 0) /* what cannot be read must not be what the rest is deleted for */
            return -1;
        oldest = valid ? i : oldest;
        keep -= valid;
    }
    return oldest;
}

/* Index of the first log that a snapshot at zxid needs: the newest that begins at or before it, for that one holds what
 * comes right behind the snapshot. A log without entries does not: then it is the one before. tight: a log that begins right
 * behind the snapshot will do, for no older one has anything more. */
static int first_needed(const struct disk *d, const struct store_files *logs, zxid_t zxid, bool tight, int *err) {
    *err = 0;
    for (int i = logs->count - 1; i > 0; i--) {
        if (tight && logs->items[i].zxid == zxid + 1 && exact_log_name(&logs->items[i]))
            return i;
        if (logs->items[i].zxid > zxid || !exact_log_name(&logs->items[i]))
            continue;
        bool has = store_log_has_entries(d, logs->items[i].name, err);
        if (has || *err != 0)
            return *err != 0 ? 0 : i;
    }
    return 0;
}

static void add(char (**names)[STORE_NAME_MAX], int *count, const char *name) {
    *names = mem_realloc(*names, (size_t)(*count + 1) * sizeof **names);
    memcpy((*names)[*count], name, strlen(name) + 1);
    (*count)++;
}

static bool exact_tail_name(const struct store_file *file) {
    char name[STORE_NAME_MAX];
    const char *number = strrchr(file->name, '.');
    store_aside_name(name, STORE_ASIDE_TAIL, file->zxid, (unsigned)strtoul(number + 1, NULL, 10));
    return strcmp(name, file->name) == 0;
}

/* Ends that recovery cut off older logs: nobody will want to look at them when even the logs are gone. */
static int plan_tails(const struct disk *d, zxid_t first_log, struct retention_plan *plan) {
    struct store_files tails;
    int err = store_files_list(d, DISK_LOG, STORE_ASIDE_TAIL, &tails);
    if (err < 0)
        return err;
    for (int i = 0; i < tails.count; i++)
        if (tails.items[i].zxid < first_log && exact_tail_name(&tails.items[i])) {
            add(&plan->logs, &plan->log_count, tails.items[i].name);
            plan->bytes += tails.items[i].size;
        }
    store_files_free(&tails);
    return 0;
}

static int plan_logs(const struct disk *d, zxid_t zxid, bool tight, struct retention_plan *plan) {
    struct store_files logs;
    int err = store_files_list(d, DISK_LOG, "log", &logs);
    if (err < 0)
        return err;
    int first = first_needed(d, &logs, zxid, tight, &err);
    for (int i = 0; i < first; i++)
        if (logs.items[i].zxid < logs.items[first].zxid && exact_log_name(&logs.items[i])) {
            add(&plan->logs, &plan->log_count, logs.items[i].name);
            plan->bytes += logs.items[i].size;
        }
    if (err == 0 && logs.count > 0)
        err = plan_tails(d, logs.items[first].zxid, plan);
    store_files_free(&logs);
    return err;
}

static int make_plan(const struct disk *d, const struct store_files *snapshots, const struct retention_options *o, int keep,
                     bool tight, struct retention_plan *plan) {
    int err;
    *plan = (struct retention_plan){0};
    int oldest = oldest_kept(d, snapshots, keep, &err);
    if (oldest < 0)
        return err;
    zxid_t zxid = snapshots->items[oldest].zxid;
    if (o->known_good >= 0 && o->known_good < zxid)
        zxid = o->known_good;
    if (o->in_use > 0 && o->in_use < zxid)
        zxid = o->in_use;
    for (int i = 0; i < oldest; i++)
        if (snapshots->items[i].zxid < zxid && exact_snapshot_name(&snapshots->items[i])) {
            add(&plan->snapshots, &plan->snapshot_count, snapshots->items[i].name);
            plan->bytes += o->same_disk ? snapshots->items[i].size : 0;
        }
    err = plan_logs(d, zxid, tight, plan);
    if (err != 0)
        retention_plan_free(plan);
    return err;
}

/* The largest number of snapshots whose plan frees so much, if there is one; else the plan stays as it is. */
static int make_tight_plan(const struct disk *d, const struct store_files *snapshots, const struct retention_options *o,
                           int keep, int64_t target, struct retention_plan *plan) {
    struct retention_plan tight;
    for (int k = keep; k >= 1 && plan->bytes < target; k--) {
        int err = make_plan(d, snapshots, o, k, true, &tight);
        if (err != 0)
            return err;
        if (tight.bytes >= target) {
            retention_plan_free(plan);
            *plan = tight;
            return 0;
        }
        retention_plan_free(&tight);
    }
    return 0;
}

int retention_plan_make(const struct disk *d, const struct retention_options *o, struct retention_plan *plan) {
    struct store_files snapshots;
    int keep = o->keep > 1 ? o->keep : 1;
    *plan = (struct retention_plan){0};
    int err = store_files_list(d, DISK_SNAP, "snapshot", &snapshots);
    if (err < 0)
        return err;
    err = make_plan(d, &snapshots, o, keep, false, plan);
    if (err == 0 && o->known_good >= 0)
        err = make_tight_plan(d, &snapshots, o, keep, o->wish_bytes, plan);
    if (err == 0 && o->known_good >= 0)
        err = make_tight_plan(d, &snapshots, o, keep, o->need_bytes, plan);
    store_files_free(&snapshots);
    if (err != 0)
        retention_plan_free(plan);
    return err;
}

void retention_plan_free(struct retention_plan *plan) {
    mem_free(plan->snapshots);
    mem_free(plan->logs);
    *plan = (struct retention_plan){0};
}
