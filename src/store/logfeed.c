/* Damage needs no judgement here: where a log cannot be read on, its end is taken to be reached. If anything is lost by that, the
 * next record there is does not follow the last one, or there is none up to the limit. */
#include "store/logfeed.h"

#include "base/mem.h"
#include "store/listing.h"
#include "store/txnlog.h"

/* As in recovery: generous, not jute.maxbuffer. */
#define ITEM_MAX (1u << 30)
/* On the way to the start: after so much the pool's thread is given back for a moment. */
#define SKIP_BYTES (4u << 20)
#define TOO_LARGE "the logs are too large, compared with a snapshot"

struct logfeed {
    zxid_t after, upto;
    zxid_t before;
    zxid_t last;  /* of the last record, wanted or not */
    bool begun;   /* one behind the start was seen */
    char *start;  /* the file that was chosen first */
    zxid_t start_zxid;
    int64_t start_bytes, other_bytes; /* of that, and of those behind it, as far as they are filled */
    char *name;   /* of the present file; NULL: none was chosen yet */
    zxid_t name_zxid;
    struct txnlog_reader *reader; /* of that; NULL: it is used up */
    struct txnlog_result record;  /* if ahead: read, not given yet */
    bool ahead;
    const char *why; /* set: it has failed */
};

struct logfeed *logfeed_new(zxid_t after) {
    struct logfeed *f = mem_calloc(1, sizeof *f);
    f->after = after;
    f->upto = f->before = f->last = -1;
    return f;
}

static void close_file(struct logfeed *f) {
    txnlog_reader_close(f->reader);
    f->reader = NULL;
}

void logfeed_free(struct logfeed *f) {
    if (f == NULL)
        return;
    close_file(f);
    mem_free(f->start);
    mem_free(f->name);
    mem_free(f);
}

static bool fail(struct logfeed *f, const char *why) {
    f->why = why;
    return false;
}

/* ------------------------------------------------------------------ files */

static bool open_file(struct logfeed *f, const struct disk *d, const struct store_file *file) {
    int err;
    char *name = mem_strdup(file->name);
    mem_free(f->name);
    f->name = name;
    f->name_zxid = file->zxid;
    f->reader = txnlog_reader_open(d, f->name, ITEM_MAX, &err);
    return f->reader != NULL || fail(f, "a log cannot be opened, or has just been removed");
}

/* By zxid, then by name, as they are listed. */
static bool comes_before(const struct store_file *file, zxid_t zxid, const char *name) {
    return file->zxid < zxid || (file->zxid == zxid && strcmp(file->name, name) < 0);
}

/* The newest one that begins at or before the start, but before the one tried first; else the oldest. -1 = none. */
static int choose_first(const struct logfeed *f, const struct store_files *logs) {
    int chosen = -1;
    for (int i = 0; i < logs->count; i++) {
        if (f->start != NULL && !comes_before(&logs->items[i], f->start_zxid, f->start))
            break;
        if (chosen < 0 || logs->items[i].zxid <= f->after)
            chosen = i;
    }
    return chosen;
}

static void add_up(struct logfeed *f, const struct store_files *logs, int first, const struct logfeed_order *order) {
    f->start_bytes = f->other_bytes = 0;
    for (int i = first; i < logs->count; i++)
        *(i == first ? &f->start_bytes : &f->other_bytes) +=
            logs->items[i].size - (logs->items[i].zxid == order->current_log ? order->reserved_bytes : 0);
}

/* The file that is read first does not count, as in ZKDatabase.getProposalsFromTxnLog. */
static bool few_enough(const struct logfeed_order *order, int64_t bytes) {
    return order->max_log_bytes == 0 || bytes <= order->max_log_bytes;
}

static bool open_first(struct logfeed *f, const struct disk *d, const struct logfeed_order *order) {
    struct store_files logs;
    if (store_files_list(d, DISK_LOG, "log", &logs) < 0)
        return fail(f, "the logs cannot be listed");
    int first = choose_first(f, &logs);
    bool ok = false;
    if (first < 0) {
        fail(f, "there are no logs");
    } else {
        add_up(f, &logs, first, order);
        ok = few_enough(order, f->other_bytes) ? open_file(f, d, &logs.items[first]) : fail(f, TOO_LARGE);
        mem_free(f->start);
        f->start = mem_strdup(logs.items[first].name);
        f->start_zxid = logs.items[first].zxid;
    }
    store_files_free(&logs);
    return ok;
}

/* Listed anew each time: logs come and go. */
static bool open_next(struct logfeed *f, const struct disk *d) {
    struct store_files logs;
    bool ok = false;
    if (store_files_list(d, DISK_LOG, "log", &logs) < 0)
        return fail(f, "the logs cannot be listed");
    int i = 0;
    while (i < logs.count && (comes_before(&logs.items[i], f->name_zxid, f->name) || strcmp(logs.items[i].name, f->name) == 0))
        i++;
    if (i < logs.count)
        ok = open_file(f, d, &logs.items[i]);
    else
        fail(f, "the logs end too early");
    store_files_free(&logs);
    return ok;
}

/* The start may stand in the file before the one whose name says so: a log can be empty, or damaged where it begins. */
static bool go_back(struct logfeed *f, const struct disk *d, bool *went) {
    struct store_files logs;
    *went = false;
    if (store_files_list(d, DISK_LOG, "log", &logs) < 0)
        return fail(f, "the logs cannot be listed");
    if (logs.count > 0 && comes_before(&logs.items[0], f->start_zxid, f->start)) {
        close_file(f);
        mem_free(f->name);
        f->name = NULL;
        f->last = -1;
        f->ahead = false;
        *went = true;
    }
    store_files_free(&logs);
    return true;
}

/* ------------------------------------------------------------------ records */

/* f->record becomes the next one. */
static bool advance(struct logfeed *f, const struct disk *d, const struct logfeed_order *order) {
    while (!f->ahead) {
        if (f->reader == NULL && !(f->name == NULL ? open_first(f, d, order) : open_next(f, d)))
            return false;
        f->record = txnlog_reader_next(f->reader);
        f->ahead = f->record.status == TXNLOG_RECORD;
        if (f->record.status == TXNLOG_IO)
            return fail(f, "a log cannot be read");
        if (!f->ahead)
            close_file(f);
    }
    return true;
}

/* What the learner has, and what stands there twice. */
static bool is_skipped(struct logfeed *f, zxid_t zxid) {
    if (zxid > f->after && zxid > f->last)
        return false;
    if (zxid <= f->after)
        f->before = i64_max(f->before, zxid);
    f->last = i64_max(f->last, zxid);
    return true;
}

/* The first record behind the start: is the one before it, or the start itself, to be found at all? */
static bool began_well(struct logfeed *f, const struct disk *d, const struct logfeed_order *order, zxid_t zxid, bool *again) {
    *again = false;
    f->begun = f->before >= 0 || zxid == f->after + 1;
    bool ok = f->begun || go_back(f, d, again);
    f->begun = !*again;
    if (ok && f->begun && order->all_bytes) {
        int64_t rest = strcmp(f->name, f->start) == 0 ? f->start_bytes - f->record.offset : 0;
        ok = few_enough(order, f->other_bytes + rest) || fail(f, TOO_LARGE);
    }
    return ok;
}

static enum logfeed_status read_piece(struct logfeed *f, const struct disk *d, const struct logfeed_order *order,
                                      struct logfeed_piece *piece, logfeed_take *take, void *ctx) {
    size_t skipped = 0, bytes = 0;
    while (f->last < f->upto) {
        bool again = false;
        if (!advance(f, d, order))
            return LOGFEED_FAILED;
        zxid_t zxid = txnlog_payload_zxid(f->record.payload);
        if (is_skipped(f, zxid)) {
            f->ahead = false;
            skipped += f->record.payload.len;
            if (skipped > SKIP_BYTES)
                return LOGFEED_MORE;
            continue;
        }
        if (!f->begun && !began_well(f, d, order, zxid, &again))
            return LOGFEED_FAILED;
        if (again)
            continue;
        if (zxid > f->upto) {
            fail(f, "the logs lack transactions");
            return LOGFEED_FAILED;
        }
        if (piece->count != 0 && zxid != piece->last + 1)
            return LOGFEED_MORE;
        take(ctx, zxid, f->record.payload);
        piece->first = piece->count++ == 0 ? zxid : piece->first;
        piece->last = f->last = zxid;
        f->ahead = false;
        bytes += f->record.payload.len;
        if (bytes >= order->max_bytes)
            break;
    }
    return f->last < f->upto ? LOGFEED_MORE : LOGFEED_REACHED;
}

struct logfeed_piece logfeed_read(struct logfeed *f, const struct disk *d, const struct logfeed_order *order, logfeed_take *take,
                                  void *ctx) {
    struct logfeed_piece piece = {.status = LOGFEED_FAILED, .first = -1, .last = -1};
    if (f->last >= f->upto && order->upto > f->upto) {
        /* What was read ahead then may have been half a batch. */
        f->upto = order->upto;
        if (f->reader != NULL && txnlog_reader_refresh(f->reader) != 0)
            fail(f, "a log cannot be read");
    }
    if (f->why == NULL)
        piece.status = read_piece(f, d, order, &piece, take, ctx);
    piece.before = f->before;
    piece.why = f->why;
    return piece;
}
