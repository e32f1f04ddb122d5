/* Transaction logs from anywhere: the reader, what looks behind damage, the decoder of transactions, and a whole recovery,
 * first as it is and then with the option that cuts. */
#include "base/log.h"
#include "lib/simdisk.h"
#include "store/recovery.h"
#include "store/txnlog.h"

#define MAX_ITEM ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(struct slice payload) {
    struct txn_header h;
    struct txn t, sub;
    int32_t version;
    uint64_t digest;
    bool bad;
    struct slice path;
    if (!txn_decode(payload, &h, &t, &version, &digest))
        return;
    if (t.type == OP_MULTI)
        while (txn_sub_next(&t.rest, &sub, &bad))
            ;
    else if (t.type == OP_CLOSE_SESSION)
        while (txn_path_next(&t.rest, &path))
            ;
}

static void read_all(const struct disk *d) {
    int err;
    int64_t offset;
    zxid_t zxid;
    struct txnlog_reader *r = txnlog_reader_open(d, "log.1", MAX_ITEM, &err);
    struct txnlog_result at;
    do {
        at = txnlog_reader_next(r);
        if (at.status == TXNLOG_RECORD)
            decode(at.payload);
    } while (at.status == TXNLOG_RECORD || txnlog_reader_skip(r, &zxid));
    if (txnlog_reader_resync(r, -1, &offset, &zxid))
        zassert(offset > at.offset && offset < txnlog_reader_size(r));
    zassert(txnlog_reader_data_end(r, at.offset) >= at.offset);
    txnlog_reader_close(r);
}

static void on_reset(void *ctx, int64_t snapshot_bytes) {
    (void)snapshot_bytes;
    *(zxid_t *)ctx = 0;
}
static int on_done(void *ctx, zxid_t zxid, const struct snapshot_info *info) {
    (void)info;
    *(zxid_t *)ctx = zxid;
    return 0;
}
static int on_txn(void *ctx, zxid_t zxid, struct slice payload) {
    zassert(zxid > *(zxid_t *)ctx);
    *(zxid_t *)ctx = zxid;
    decode(payload);
    return 0;
}

static struct recovery_result recover(const struct disk *d, bool cut) {
    zxid_t last = 0;
    struct recovery_result result;
    struct recovery_options o = {
        .same_dir = true, .trust_empty_snapshot = true, .cut_damaged = cut, .max_item_bytes = MAX_ITEM};
    struct recovery_sink sink = {.ctx = &last, .reset = on_reset, .snapshot_done = on_done, .txn = on_txn};
    recovery_run(d, &o, &sink, &result);
    zassert(result.status != RECOVERY_OK || result.last_zxid == last);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct simdisk s;
    log_set_level(LOG_LEVEL_OFF);
    simdisk_init(&s, size);
    s.same_dir = true;
    /* The first byte says where a second log begins, so that what comes later is tried, too. */
    size_t cut = size > 0 ? size_min(data[0] * (size_t)16, size) : 0;
    simdisk_put(&s, DISK_LOG, "log.1", data + (size > 0), size - (size > 0));
    read_all(&s.disk);
    if (cut > 1) {
        simdisk_put(&s, DISK_LOG, "log.1", data + 1, cut - 1);
        simdisk_put(&s, DISK_LOG, "log.3", data + cut, size - cut);
    }
    struct recovery_result first = recover(&s.disk, false);
    zassert(first.status != RECOVERY_IO);
    struct recovery_result second = recover(&s.disk, true);
    zassert(second.status != RECOVERY_IO && (first.status != RECOVERY_OK || second.last_zxid == first.last_zxid));
    /* After the option nothing is left to refuse but what cannot be applied. */
    zassert(second.status == RECOVERY_OK && recover(&s.disk, false).status == RECOVERY_OK);
    simdisk_close(&s);
    return 0;
}
