/* The replay of logs, and what to think of damage in them. The rules (docs/protocol/disk-format.md section 14):
 *
 *   synced      damage below the position that the side file vouches for, or in an older log: committed data is gone.
 *   behind      a valid, needed entry follows in the same file: what lies between is damage, not the end of the log. Only in
 *               the file that the side file names is that normal (the last batch of a crash can have holes).
 *   later       a later log holds entries. If they go on exactly where this one ends, nothing is missing: an earlier
 *               start, ours or Java's, gave this tail up, or a snapshot covers it.
 *
 *   harmless           -> go on with the next log; where an epoch ended there, after cutting the torn tail
 *   nothing synced, nothing behind, nothing later -> the tail is cut
 *   all else           -> refused, unless recovery.cutDamagedLog says to cut there
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "store/recovery_internal.h"

struct later {
    bool found;
    bool clean;  /* nothing is wrong before it in its log */
    zxid_t zxid; /* of the first entry in the later logs that is not in this one */
};

struct replay {
    struct recovery *r;
    int log; /* the one being read: index in r->logs */
    struct txnlog_reader *reader;
    zxid_t last;      /* all up to it is in the sink */
    zxid_t file_last; /* of the last entry read in this log, needed or not; before the first one its name - 1 */
    bool any_next;    /* the next transaction may have any zxid */
    bool stop;        /* what is behind has been cut off */
    uint64_t repeated;
};

enum damage_kind {
    DAMAGE_RECORD,   /* txnlog_result says what */
    DAMAGE_ZEROS,    /* zeros, and something else behind them */
    DAMAGE_TOO_SHORT /* a clean end, but below the synced position */
};

struct damage {
    enum damage_kind kind;
    const char *what;
    int64_t offset;
    bool java_goes_on; /* Java takes such a place for the end of the file */
    bool behind;       /* a valid entry that is still needed follows in the file */
    int64_t behind_offset;
    zxid_t behind_zxid;
    struct later later;
};

enum verdict {
    VERDICT_HARMLESS,
    VERDICT_TRIM, /* the tail of this log is worthless, and the next log is not needed to show it */
    VERDICT_CUT,  /* here the log ends */
    VERDICT_REFUSE
};

#define ADVICE                                                                                                             \
    "Restore the logs from another copy (and remove " SIDE_FILE_NAME "), or set recovery.cutDamagedLog to yes, which "     \
    "cuts here and keeps what it cuts off in a file aside"

static const char *log_name(const struct replay *p) { return p->r->logs.items[p->log].name; }

/* No zxid is ever skipped, and every epoch begins with 1. */
static bool begins_epoch(zxid_t last, zxid_t next) {
    return zxid_epoch(next) > zxid_epoch(last) && zxid_counter(next) == 1;
}

/* A snapshot that could not be loaded, as its name says, holds transactions that would come in between (E30). */
static bool is_bridged(const struct recovery *r, zxid_t last, zxid_t next) {
    for (int i = 0; i < r->snapshots.count; i++) {
        zxid_t zxid = r->snapshots.items[i].zxid;
        if (zxid > last && zxid < next && zxid_counter(zxid) != 0)
            return true;
    }
    return false;
}

static bool epoch_follows(const struct replay *p, zxid_t next) {
    return begins_epoch(p->last, next) && !is_bridged(p->r, p->last, next);
}
static bool follows(const struct replay *p, zxid_t next) { return next == p->last + 1 || epoch_follows(p, next); }

static bool is_side_log(const struct replay *p) {
    char name[STORE_NAME_MAX];
    store_log_name(name, p->r->side.log_zxid);
    return p->r->side.known && strcmp(log_name(p), name) == 0;
}

/* Does the side file vouch for this place? Its header (up to 16) holds nothing that could be lost. */
static bool is_synced(const struct replay *p, int64_t offset) {
    const struct synced_position *side = &p->r->side;
    if (is_side_log(p))
        return side->offset > TXNLOG_HEADER_BYTES && offset < side->offset;
    return side->known && p->r->logs.items[p->log].zxid < side->log_zxid;
}

/* The first valid entry in one log with a zxid above. */
static void find_entry_above(struct txnlog_reader *reader, zxid_t above, struct later *out) {
    int64_t offset;
    for (;;) {
        struct txnlog_result at = txnlog_reader_next(reader);
        if (at.status != TXNLOG_RECORD) {
            out->found = txnlog_reader_resync(reader, above, &offset, &out->zxid);
            return;
        }
        out->zxid = txnlog_payload_zxid(at.payload);
        out->found = out->clean = out->zxid > above;
        if (out->found)
            return;
    }
}

/* The first entry in the later logs that comes after those read here. (A copy of a log under another name, such as
 * log.1.bak, repeats them.) False if the disk failed. */
static bool find_later(struct replay *p, struct later *later) {
    struct recovery *r = p->r;
    *later = (struct later){0};
    for (int i = p->log + 1; i < r->logs.count && !later->found; i++) {
        int err;
        const char *name = r->logs.items[i].name;
        struct txnlog_reader *reader = txnlog_reader_open(r->disk, name, r->options->max_item_bytes, &err);
        if (reader == NULL)
            return recovery_disk_failed(r, err, "opening", name);
        find_entry_above(reader, p->file_last, later);
        err = txnlog_reader_err(reader);
        txnlog_reader_close(reader);
        if (err != 0)
            return recovery_disk_failed(r, err, "reading", name);
    }
    return true;
}

/* Does what comes after this log show that it cannot hold anything that is needed and was not read? All of its entries are
 * below the first of the next log (unless that was lost, too); the side file knows where that began even if nothing was
 * written to it. */
static bool goes_on(const struct replay *p, const struct later *later) {
    zxid_t side_log = p->r->side.known ? p->r->side.log_zxid : -1;
    if (later->clean && later->zxid <= p->last + 1)
        return true;
    return !is_side_log(p) && side_log > p->file_last && side_log <= p->last + 1;
}

static enum verdict judge(const struct replay *p, const struct damage *d) {
    bool side_log = is_side_log(p), synced = is_synced(p, d->offset);
    bool behind_matters = d->behind && (!side_log || synced);
    if (goes_on(p, &d->later) && !behind_matters)
        return VERDICT_HARMLESS;
    if (!d->later.found && !synced && (!d->behind || side_log))
        return VERDICT_CUT;
    /* The tail of one epoch was given up, or truncated on a leader's word, and the next epoch followed. Once we write a log
     * of our own the side file vouches for this one: what is torn now must not be found then. */
    if (!d->behind && d->later.found && epoch_follows(p, d->later.zxid) && d->java_goes_on) {
        if (d->kind == DAMAGE_TOO_SHORT)
            return VERDICT_HARMLESS;
        if (!synced)
            return VERDICT_TRIM;
    }
    return VERDICT_REFUSE;
}

static bool refuse_damage(struct replay *p, const struct damage *d) {
    char consequence[128];
    if (d->behind)
        snprintf(consequence, sizeof consequence, "a valid entry (zxid 0x%llx) follows at offset %lld",
                 (unsigned long long)d->behind_zxid, (long long)d->behind_offset);
    else if (d->later.found)
        snprintf(consequence, sizeof consequence, "a later log goes on with zxid 0x%llx",
                 (unsigned long long)d->later.zxid);
    else
        snprintf(consequence, sizeof consequence, "all up to offset %lld was synced and acknowledged",
                 (long long)(is_side_log(p) ? p->r->side.offset : txnlog_reader_size(p->reader)));
    return recovery_refuse(p->r, "%s is damaged at offset %lld, behind zxid 0x%llx: %s, and %s. " ADVICE, log_name(p),
                           (long long)d->offset, (unsigned long long)p->last, d->what, consequence);
}

static bool cut_here(struct replay *p, int64_t offset, bool keep, const char *why) {
    int64_t end = txnlog_reader_data_end(p->reader, offset);
    if (txnlog_reader_err(p->reader) != 0)
        return recovery_disk_failed(p->r, txnlog_reader_err(p->reader), "reading", log_name(p));
    p->stop = true;
    return repair_cut(p->r, p->log, offset, end, keep, why);
}

/* A tail that Java gave up before the next epoch began. */
static bool trim_here(struct replay *p, const struct damage *d) {
    char why[160];
    int64_t end = txnlog_reader_data_end(p->reader, d->offset);
    if (txnlog_reader_err(p->reader) != 0)
        return recovery_disk_failed(p->r, txnlog_reader_err(p->reader), "reading", log_name(p));
    snprintf(why, sizeof why, "%s; the torn end of an epoch, the next one follows", d->what);
    return repair_trim(p->r, p->log, d->offset, end, why);
}

/* Decides about a place where the log does not go on as it should. True: go on with the next log (or end, if p->stop). */
static bool on_damage(struct replay *p, struct damage *d) {
    /* What a snapshot holds already (up to last) need not be there. */
    d->behind = txnlog_reader_resync(p->reader, p->last, &d->behind_offset, &d->behind_zxid);
    if (txnlog_reader_err(p->reader) != 0)
        return recovery_disk_failed(p->r, txnlog_reader_err(p->reader), "reading", log_name(p));
    if (!find_later(p, &d->later))
        return false;
    char why[192];
    enum verdict verdict = judge(p, d);
    if (verdict != VERDICT_REFUSE && d->offset == 0 && !d->behind)
        return repair_set_aside(p->r, p->log, d->what);
    switch (verdict) {
    case VERDICT_HARMLESS:
        log_warn("%s is readable up to offset %lld only (%s), but nothing is missing: the next log goes on there, or a "
                 "snapshot holds it", log_name(p), (long long)d->offset, d->what);
        return true;
    case VERDICT_TRIM:
        return trim_here(p, d);
    case VERDICT_CUT:
        snprintf(why, sizeof why, "%s; an unacknowledged tail", d->what);
        return cut_here(p, d->offset, false, why);
    case VERDICT_REFUSE:
        break;
    }
    if (!p->r->options->cut_damaged)
        return refuse_damage(p, d);
    snprintf(why, sizeof why, "%s; cut because recovery.cutDamagedLog is set, committed transactions may be lost", d->what);
    return cut_here(p, d->offset, true, why);
}

/* The log ends where it should. What follows is looked at before it is ever cut off: it must be nothing but zeros. */
static bool ends_well(struct replay *p, int64_t offset) {
    if (offset >= TXNLOG_HEADER_BYTES && txnlog_reader_size(p->reader) > offset && !p->r->options->dry_run &&
        txnlog_reader_data_end(p->reader, offset) == offset && txnlog_reader_err(p->reader) == 0)
        p->r->ends[p->log] = offset;
    return true;
}

/* A log that ends cleanly: is that where it must end? */
static bool on_end(struct replay *p, int64_t offset) {
    const struct synced_position *side = &p->r->side;
    bool side_log = is_side_log(p);
    if (side_log && side->orderly && offset == side->offset)
        return ends_well(p, offset);
    if (side_log && is_synced(p, offset)) {
        struct damage d = {DAMAGE_TOO_SHORT, .what = "it ends too early", .offset = offset};
        d.java_goes_on = offset == txnlog_reader_size(p->reader);
        return on_damage(p, &d);
    }
    struct later later;
    if (!find_later(p, &later))
        return false;
    if (goes_on(p, &later))
        return ends_well(p, offset);
    int64_t end = txnlog_reader_data_end(p->reader, offset);
    if (txnlog_reader_err(p->reader) != 0)
        return recovery_disk_failed(p->r, txnlog_reader_err(p->reader), "reading", log_name(p));
    if (end == offset)
        return ends_well(p, offset);
    struct damage d = {DAMAGE_ZEROS, .what = "zeros where an entry should be", .offset = offset, .java_goes_on = true};
    return on_damage(p, &d);
}

/* An entry that a snapshot covers may be damaged: what comes right behind it shows that nothing is missing. */
static bool covered(struct replay *p, const struct txnlog_result *at) {
    zxid_t next;
    if (at->damage != TXNLOG_BAD_CHECKSUM && at->damage != TXNLOG_BAD_END_BYTE)
        return false;
    if (!txnlog_reader_skip(p->reader, &next) || next > p->last + 1)
        return false;
    log_warn("%s is damaged at offset %lld (%s), in an entry that is not needed", log_name(p), (long long)at->offset,
             txnlog_damage_text(at->damage));
    return true;
}

static bool on_gap(struct replay *p, const struct txnlog_result *at, zxid_t zxid) {
    char why[160];
    snprintf(why, sizeof why, "transactions between zxid 0x%llx and 0x%llx are missing", (unsigned long long)p->last,
             (unsigned long long)zxid);
    if (p->r->options->cut_damaged)
        return cut_here(p, at->offset, true, why);
    return recovery_refuse(p->r, "%s at offset %lld: %s: a log is missing or was replaced. " ADVICE, log_name(p),
                           (long long)at->offset, why);
}

static bool on_bad_txn(struct replay *p, const struct txnlog_result *at, zxid_t zxid) {
    char why[80];
    snprintf(why, sizeof why, "transaction 0x%llx cannot be applied", (unsigned long long)zxid);
    if (p->r->options->cut_damaged)
        return cut_here(p, at->offset, true, why);
    return recovery_refuse(p->r, "%s at offset %lld: %s. " ADVICE, log_name(p), (long long)at->offset, why);
}

static bool take_record(struct replay *p, const struct txnlog_result *at) {
    struct recovery *r = p->r;
    zxid_t zxid = txnlog_payload_zxid(at->payload);
    p->file_last = zxid;
    r->base_logged |= zxid == r->result->snapshot_zxid;
    if (zxid <= p->last && !p->any_next) {
        p->repeated += zxid > r->result->snapshot_zxid && r->result->txns_replayed > 0;
        return true;
    }
    if (!p->any_next && !follows(p, zxid))
        return on_gap(p, at, zxid);
    if (r->sink->txn(r->sink->ctx, zxid, at->payload) != 0)
        return on_bad_txn(p, at, zxid);
    p->any_next = false;
    p->last = r->result->last_zxid = zxid;
    if (r->result->txns_replayed++ == 0)
        r->first_replayed = zxid;
    r->result->log_bytes += (int64_t)at->payload.len + TXNLOG_ENTRY_OVERHEAD;
    return true;
}

/* Reads p->reader to where it ends. False if the recovery has ended without success. */
static bool replay_log(struct replay *p) {
    for (;;) {
        struct txnlog_result at = txnlog_reader_next(p->reader);
        struct damage d = {DAMAGE_RECORD, .offset = at.offset, .what = txnlog_damage_text(at.damage)};
        if (at.status != TXNLOG_RECORD && is_side_log(p))
            p->r->side_log_end = at.offset;
        switch (at.status) {
        case TXNLOG_RECORD:
            if (!take_record(p, &at) || p->stop)
                return p->stop && p->r->result->status == RECOVERY_OK;
            break;
        case TXNLOG_END:
            return on_end(p, at.offset);
        case TXNLOG_TORN:
            d.java_goes_on = true;
            return on_damage(p, &d);
        case TXNLOG_DAMAGED:
            if (covered(p, &at))
                break;
            d.java_goes_on = at.damage == TXNLOG_BAD_END_BYTE;
            return on_damage(p, &d);
        case TXNLOG_IO:
            return recovery_disk_failed(p->r, at.err, "reading", log_name(p));
        }
    }
}

bool recovery_replay(struct recovery *r) {
    struct replay p = {.r = r, .last = i64_max(r->result->snapshot_zxid, 0), .any_next = r->no_start};
    bool ok = true;
    for (p.log = r->first_log; ok && !p.stop && p.log < r->logs.count; p.log++) {
        int err;
        p.repeated = 0;
        p.file_last = r->logs.items[p.log].zxid - 1;
        p.reader = txnlog_reader_open(r->disk, log_name(&p), r->options->max_item_bytes, &err);
        if (p.reader == NULL)
            return recovery_disk_failed(r, err, "opening", log_name(&p));
        ok = replay_log(&p);
        if (p.repeated > 0)
            log_warn("%s repeats %llu transactions of other logs; they were skipped", log_name(&p),
                     (unsigned long long)p.repeated);
        txnlog_reader_close(p.reader);
    }
    return ok;
}
