/* What the tests of the store share: transactions with a known content, a small snapshot, a sink that keeps the list. */
#ifndef ZABRA_TESTS_STORE_HELP_H
#define ZABRA_TESTS_STORE_HELP_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "lib/simdisk.h"
#include "store/recovery.h"
#include "store/snapshot.h"
#include "store/txnlog.h"

#ifndef TEST_DATA_DIR
#define TEST_DATA_DIR "tests/data"
#endif
#define FIXTURES TEST_DATA_DIR "/java-3.8.0"

static inline struct slice buf_slice(const struct buf *b) { return (struct slice){(const char *)b->data, b->len}; }

/* ------------------------------------------------------------------ transactions */

/* setData of a path and a value that follow from the zxid; extra bytes of data. */
static inline void put_payload(struct buf *b, zxid_t zxid, size_t extra) {
    char path[32];
    struct buf data = BUF_INIT;
    snprintf(path, sizeof path, "/n%llx", (unsigned long long)zxid);
    buf_printf(&data, "value of %llx", (unsigned long long)zxid);
    for (size_t i = 0; i < extra; i++)
        buf_append(&data, &(uint8_t){(uint8_t)(1 + (i * 31 + (size_t)zxid) % 255)}, 1);
    txn_header_put(b, &(struct txn_header){.client_id = 0x100, .cxid = (int32_t)zxid, .zxid = zxid, .time_ms = 5000 + zxid,
                                           .type = OP_SET_DATA});
    txn_record_put(b, &(struct txn){.type = OP_SET_DATA, .path = slice_of(path), .data = buf_slice(&data), .version = 1});
    txn_digest_put(b, (uint64_t)zxid * 3);
    buf_free(&data);
}

static inline void put_entry(struct buf *b, zxid_t zxid, size_t extra) {
    size_t start = txnlog_entry_begin(b);
    put_payload(b, zxid, extra);
    txnlog_entry_end(b, start);
}

/* A log with the transactions first to last, and zeros behind them up to size. offsets (may be NULL): where each entry begins
 * and the last one ends. */
static inline struct buf make_log(zxid_t first, zxid_t last, size_t size, int64_t *offsets) {
    struct buf b = BUF_INIT;
    buf_append(&b, txnlog_header, TXNLOG_HEADER_BYTES);
    for (zxid_t z = first; z <= last; z++) {
        if (offsets != NULL)
            *offsets++ = (int64_t)b.len;
        put_entry(&b, z, (size_t)z % 5 * 20);
    }
    if (offsets != NULL)
        *offsets = (int64_t)b.len;
    if (size > b.len) {
        memset(buf_tail(&b, size - b.len), 0, size - b.len);
        b.len = size;
    }
    return b;
}

static inline void put_log_file(struct simdisk *s, zxid_t first, zxid_t last, size_t size) {
    char name[STORE_NAME_MAX];
    struct buf b = make_log(first, last, size, NULL);
    store_log_name(name, first);
    simdisk_put(s, DISK_LOG, name, b.data, b.len);
    buf_free(&b);
}

/* ------------------------------------------------------------------ snapshots */

static inline int write_small_snapshot(const struct disk *d, zxid_t zxid, enum snapshot_method method,
                                       char name[STORE_NAME_MAX]) {
    struct buf b = BUF_INIT;
    struct node_stat zero = {0};
    int err;
    int64_t size;
    char tmp[STORE_NAME_MAX];
    store_snapshot_name(name, zxid, method);
    store_snapshot_tmp_name(tmp, zxid);
    snapshot_put_header(&b);
    snapshot_put_count(&b, 0);
    snapshot_put_count(&b, 0);
    snapshot_put_node(&b, slice_of(""), slice_of(""), -1, &zero);
    snapshot_put_nodes_end(&b);
    struct snapwriter *w = snapwriter_open(d, tmp, method, &err);
    if (w == NULL) {
        buf_free(&b);
        return err;
    }
    snapwriter_write(w, b.data, b.len);
    snapwriter_seal(w);
    buf_clear(&b);
    snapshot_put_digest(&b, zxid, 77);
    snapwriter_write(w, b.data, b.len);
    snapwriter_seal(w);
    err = snapwriter_finish(w, &size);
    snapwriter_close(w);
    buf_free(&b);
    return err;
}

static inline void put_snapshot_file(struct simdisk *s, zxid_t zxid, enum snapshot_method method) {
    char name[STORE_NAME_MAX], tmp[STORE_NAME_MAX];
    ck_assert_int_eq(write_small_snapshot(&s->disk, zxid, method, name), 0);
    store_snapshot_tmp_name(tmp, zxid);
    ck_assert_int_eq(s->disk.rename(s->disk.ctx, DISK_SNAP, tmp, name), 0);
    simdisk_sync_all(s);
}

/* ------------------------------------------------------------------ a sink that keeps the list */

struct list_sink {
    struct recovery_sink sink;
    zxid_t snapshot_zxid; /* -1 = none */
    zxid_t last;
    uint64_t txns;
    uint64_t resets;
    bool wrong; /* a payload was not what its zxid says */
};

static inline void list_reset(void *ctx, int64_t snapshot_bytes) {
    (void)snapshot_bytes;
    struct list_sink *l = ctx;
    l->resets++;
    l->txns = 0;
    l->last = 0;
}
static inline int list_session(void *ctx, session_id_t id, int32_t timeout_ms) {
    (void)ctx;
    (void)id;
    (void)timeout_ms;
    return 0;
}
static inline int list_acl(void *ctx, int64_t disk_id, struct slice encoded) {
    (void)ctx;
    (void)disk_id;
    (void)encoded;
    return 0;
}
static inline int list_node(void *ctx, struct slice path, struct slice data, int64_t disk_acl, const struct node_stat *stat) {
    (void)ctx;
    (void)path;
    (void)data;
    (void)disk_acl;
    (void)stat;
    return 0;
}
static inline int list_done(void *ctx, zxid_t zxid, const struct snapshot_info *info) {
    struct list_sink *l = ctx;
    l->snapshot_zxid = info != NULL ? zxid : -1;
    l->last = zxid;
    return 0;
}
static inline int list_txn(void *ctx, zxid_t zxid, struct slice payload) {
    struct list_sink *l = ctx;
    struct txn_header h;
    struct txn t;
    int32_t version;
    uint64_t digest = 0;
    char path[32];
    snprintf(path, sizeof path, "/n%llx", (unsigned long long)zxid);
    if (!txn_decode(payload, &h, &t, &version, &digest) || h.zxid != zxid || digest != (uint64_t)zxid * 3 ||
        !slice_is(t.path, path))
        l->wrong = true;
    l->txns++;
    l->last = zxid;
    return 0;
}

static inline struct list_sink new_list_sink(void) {
    return (struct list_sink){.snapshot_zxid = -1,
                              .sink = {.reset = list_reset,
                                       .snapshot = {.session = list_session, .acl = list_acl, .node = list_node},
                                       .snapshot_done = list_done,
                                       .txn = list_txn}};
}

static inline struct recovery_options usual_options(void) {
    return (struct recovery_options){.same_dir = true, .max_item_bytes = (size_t)16 << 20};
}

static inline struct recovery_result recover_list(const struct disk *d, const struct recovery_options *options,
                                                  struct list_sink *l) {
    struct recovery_result result;
    *l = new_list_sink();
    l->sink.ctx = l;
    recovery_run(d, options, &l->sink, &result);
    return result;
}

static inline int run_suite(Suite *suite) {
    log_set_level(getenv("TEST_LOG") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_OFF);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
