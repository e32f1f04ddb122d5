/* The log writer, and recovery after it was stopped anywhere: a crash at every call, every call failing, a full disk. What
 * was acknowledged must be there, in order; what was not may be there, whole or not at all. */
#include <errno.h>

#include "lib/store_help.h"
#include "store/sidefile.h"

static struct simdisk disk;

static void setup(void) {
    simdisk_init(&disk, 1);
    disk.same_dir = true;
    put_snapshot_file(&disk, 0, SNAPSHOT_PLAIN);
    simdisk_clear_faults(&disk);
}
static void teardown(void) { simdisk_close(&disk); }

/* ------------------------------------------------------------------ commands */

struct batch {
    struct log_cmd cmd;
    struct buf bytes[3]; /* the pieces of the iovec, cut anywhere */
    struct iovec iov[3];
};

static void batch_init(struct batch *b, zxid_t first, zxid_t last, bool roll, size_t extra) {
    struct buf all = BUF_INIT;
    *b = (struct batch){0};
    for (zxid_t z = first; z <= last; z++)
        put_entry(&all, z, extra);
    b->cmd = (struct log_cmd){.type = LOG_CMD_APPEND, .roll = roll, .first_zxid = first, .last_zxid = last,
                              .iov = b->iov, .iov_count = 3, .bytes = all.len};
    size_t cuts[4] = {0, all.len / 3, all.len / 3 + 1, all.len};
    for (int i = 0; i < 3; i++) {
        buf_append(&b->bytes[i], all.data + cuts[i], cuts[i + 1] - cuts[i]);
        b->iov[i] = (struct iovec){b->bytes[i].data, b->bytes[i].len};
    }
    buf_free(&all);
}

static void batch_close(struct batch *b) {
    for (int i = 0; i < 3; i++)
        buf_free(&b->bytes[i]);
}

static int append_once(struct logwriter *w, zxid_t first, zxid_t last, bool roll, size_t extra) {
    struct batch b;
    batch_init(&b, first, last, roll, extra);
    logwriter_execute(w, &b.cmd);
    ck_assert_int_eq(b.cmd.err != 0, b.cmd.err_what != NULL);
    int err = b.cmd.err;
    batch_close(&b);
    return err;
}

static struct logwriter *new_writer(int64_t prealloc) {
    struct logwriter_options o = {.prealloc_bytes = prealloc, .force_sync = true, .side_file_interval_us = 0};
    return logwriter_new(&disk.disk, &o);
}

static int64_t file_size(const char *name) {
    size_t size = 0;
    mem_free(simdisk_get(&disk, DISK_LOG, name, &size));
    return (int64_t)size;
}

static struct synced_position side(void) {
    struct synced_position p;
    ck_assert_int_eq(synced_position_read(&disk.disk, &p), 0);
    return p;
}

static struct list_sink recover_all(zxid_t expected_last) {
    struct list_sink l;
    struct recovery_options o = usual_options();
    struct recovery_result r = recover_list(&disk.disk, &o, &l);
    ck_assert_msg(r.status == RECOVERY_OK, "%s", r.message);
    ck_assert(!l.wrong);
    ck_assert_int_eq(r.last_zxid, expected_last);
    ck_assert_int_eq(l.last, expected_last);
    return l;
}

/* ------------------------------------------------------------------ plain use */

START_TEST(file_is_as_java_has_it) {
    struct logwriter *w = new_writer(16384);
    struct batch b;
    batch_init(&b, 1, 3, false, 0);
    logwriter_execute(w, &b.cmd);
    ck_assert_int_eq(b.cmd.err, 0);
    ck_assert_int_eq(b.cmd.file_size, 16400);
    ck_assert_int_eq(b.cmd.file_position, 16 + (int64_t)b.cmd.bytes);
    size_t size;
    uint8_t *data = simdisk_get(&disk, DISK_LOG, "log.1", &size);
    ck_assert_uint_eq(size, 16400);
    ck_assert_mem_eq(data, txnlog_header, 16);
    ck_assert_mem_eq(data + 16, b.bytes[0].data, b.bytes[0].len);
    for (size_t i = 16 + b.cmd.bytes; i < size; i++)
        ck_assert_int_eq(data[i], 0);
    mem_free(data);
    batch_close(&b);
    logwriter_free(w, true);
    recover_all(3);
}
END_TEST

/* The rule of disk-format.md section 3.1. */
START_TEST(preallocation_steps) {
    struct logwriter *w = new_writer(16384);
    int64_t expected = 16400;
    for (zxid_t z = 1; z < 200; z++) {
        struct batch b;
        batch_init(&b, z, z, false, 800);
        logwriter_execute(w, &b.cmd);
        ck_assert_int_eq(b.cmd.err, 0);
        if (b.cmd.file_position + 4096 >= expected)
            expected += 16384;
        ck_assert_int_eq(b.cmd.file_size, expected);
        ck_assert_int_eq(file_size("log.1"), expected);
        batch_close(&b);
    }
    ck_assert_int_eq(append_once(w, 200, 200, false, 40000), 0); /* more than a step at once */
    ck_assert_int_eq(file_size("log.1") % 16384, 0);
    logwriter_free(w, true);
    recover_all(200);
}
END_TEST

static void add_written(void *ctx, struct simdisk *s, enum simdisk_op op, int64_t bytes) {
    (void)s;
    if (op == SIMDISK_WRITE)
        *(int64_t *)ctx += bytes;
}

/* Small batches overwrite zeros, which one of them has written for many; large ones and those on a full disk write no more
 * than themselves. */
START_TEST(small_batches_find_written_blocks) {
    struct logwriter *w = new_writer(1 << 20);
    int64_t written = 0, entries = 0;
    int filled = 0;
    for (zxid_t z = 1; z <= 400; z++) {
        struct batch b;
        batch_init(&b, z, z, false, 800);
        disk.on_call = add_written;
        disk.on_call_ctx = &written;
        written = 0;
        logwriter_execute(w, &b.cmd);
        entries = b.cmd.file_position;
        filled += written > 2000;
        if (written > 2000)
            ck_assert_int_gt(entries - (int64_t)b.cmd.bytes + written, entries / 65536 * 65536 + 65535);
        batch_close(&b);
    }
    ck_assert_int_eq(filled, (entries + 65535) / 65536);
    for (int sparing = 0; sparing < 2; sparing++) {
        struct batch b;
        batch_init(&b, 401 + sparing, 401 + sparing, false, sparing ? 2000 : 70000);
        b.cmd.sparing = sparing;
        written = 0;
        logwriter_execute(w, &b.cmd);
        ck_assert_int_lt(written, (int64_t)b.cmd.bytes + 200); /* and the side file */
        batch_close(&b);
    }
    disk.on_call = NULL;
    ck_assert_int_eq(file_size("log.1"), (1 << 20) + 16);
    logwriter_free(w, true);
    recover_all(402);
}
END_TEST

START_TEST(no_preallocation) {
    struct logwriter *w = new_writer(_i == 0 ? 0 : -1);
    struct batch b;
    batch_init(&b, 1, 3, false, 0);
    logwriter_execute(w, &b.cmd);
    ck_assert_int_eq(b.cmd.file_size, b.cmd.file_position);
    ck_assert_int_eq(file_size("log.1"), b.cmd.file_position);
    batch_close(&b);
    logwriter_free(w, true);
    recover_all(3);
}
END_TEST

START_TEST(rolls) {
    struct logwriter *w = new_writer(8192);
    ck_assert_int_eq(append_once(w, 1, 3, false, 0), 0);
    ck_assert_int_eq(append_once(w, 4, 5, true, 0), 0);
    ck_assert_int_eq(append_once(w, 6, 6, false, 0), 0);
    ck_assert_int_eq(append_once(w, 7, 9, true, 0), 0);
    logwriter_free(w, true);
    ck_assert(simdisk_exists(&disk, DISK_LOG, "log.1") && simdisk_exists(&disk, DISK_LOG, "log.4") &&
              simdisk_exists(&disk, DISK_LOG, "log.7"));
    struct synced_position p = side();
    ck_assert(p.known && p.orderly);
    ck_assert_int_eq(p.log_zxid, 7);
    ck_assert_int_eq(p.zxid, 9);
    ck_assert_uint_eq(recover_all(9).txns, 9);
    /* A new writer always opens a new file. */
    w = new_writer(8192);
    ck_assert_int_eq(append_once(w, 10, 10, false, 0), 0);
    ck_assert(simdisk_exists(&disk, DISK_LOG, "log.a"));
    logwriter_free(w, false);
    ck_assert(!side().orderly);
    recover_all(10);
}
END_TEST

START_TEST(roll_without_entries) {
    struct logwriter *w = new_writer(8192);
    struct log_cmd cmd = {.type = LOG_CMD_APPEND, .roll = true, .first_zxid = 1};
    logwriter_execute(w, &cmd);
    ck_assert_int_eq(cmd.err, 0);
    ck_assert_int_eq(cmd.file_position, 16);
    logwriter_free(w, true);
    recover_all(0);
    /* The empty one is replaced. */
    w = new_writer(8192);
    ck_assert_int_eq(append_once(w, 1, 2, false, 0), 0);
    logwriter_free(w, true);
    recover_all(2);
}
END_TEST

START_TEST(taken_name_is_refused) {
    struct logwriter *w = new_writer(8192);
    ck_assert_int_eq(append_once(w, 1, 2, false, 0), 0);
    logwriter_free(w, true);
    w = new_writer(8192);
    ck_assert_int_eq(append_once(w, 1, 1, false, 0), -EEXIST);
    ck_assert_int_eq(append_once(w, 3, 3, false, 0), -EIO); /* broken for good */
    logwriter_free(w, true);
    recover_all(2);
}
END_TEST

/* What was reserved is given back by a roll and by an orderly stop, whether it can be or not. */
START_TEST(padding_is_given_back) {
    struct logwriter *w = new_writer(8192);
    ck_assert_int_eq(append_once(w, 1, 3, false, 0), 0);
    ck_assert_int_eq(file_size("log.1"), 8208);
    ck_assert_int_eq(append_once(w, 4, 5, true, 0), 0);
    ck_assert_int_lt(file_size("log.1"), 1000);
    ck_assert_int_eq(file_size("log.4"), 8208);
    simdisk_clear_faults(&disk);
    disk.counted_ops = SIMDISK_BIT(SIMDISK_TRUNCATE);
    disk.fail_at = (uint64_t)_i;
    disk.fail_errno = -EIO;
    logwriter_free(w, true);
    ck_assert_uint_eq(disk.calls, 1);
    ck_assert(side().orderly);
    ck_assert_int_eq(file_size("log.4"), _i == 1 ? 8208 : side().offset);
    simdisk_crash(&disk, 1);
    ck_assert_int_eq(file_size("log.4"), _i == 1 ? 8208 : side().offset);
    recover_all(5);
    ck_assert_int_eq(file_size("log.4"), side().offset);
}
END_TEST

START_TEST(side_file_lags) {
    struct logwriter_options o = {.prealloc_bytes = 8192, .force_sync = true, .side_file_interval_us = 1000};
    struct logwriter *w = logwriter_new(&disk.disk, &o);
    ck_assert(!side().known);
    ck_assert_int_eq(append_once(w, 1, 1, false, 0), 0);
    ck_assert_int_eq(side().offset, 16);
    disk.clock_us += 999;
    ck_assert_int_eq(append_once(w, 2, 2, false, 0), 0);
    ck_assert_int_eq(side().offset, 16);
    disk.clock_us += 1;
    ck_assert_int_eq(append_once(w, 3, 3, false, 0), 0);
    int64_t noted = side().offset;
    ck_assert_int_gt(noted, 16);
    ck_assert_int_eq(append_once(w, 4, 4, false, 0), 0);
    ck_assert_int_eq(side().offset, noted);
    logwriter_free(w, true);
    ck_assert_int_gt(side().offset, noted);
    ck_assert(side().orderly);
}
END_TEST

/* What the side file says about transactions, where a log begins and where an epoch begins. */
START_TEST(side_file_and_zxids) {
    struct logwriter *w = new_writer(8192);
    struct log_cmd open = {.type = LOG_CMD_APPEND, .roll = true};
    put_log_file(&disk, 1, 4, 0);
    open.first_zxid = 5;
    logwriter_execute(w, &open);
    ck_assert_int_eq(side().zxid, 4);
    ck_assert_int_eq(append_once(w, 5, 6, false, 0), 0);
    ck_assert_int_eq(side().zxid, 6);
    open.first_zxid = 0x100000001;
    logwriter_execute(w, &open);
    ck_assert_int_eq(side().zxid, 6);
    logwriter_free(w, false);
    recover_all(6);
    w = new_writer(8192);
    open.first_zxid = 0x200000001;
    logwriter_execute(w, &open);
    ck_assert_int_eq(side().zxid, 0);
    ck_assert_int_eq(append_once(w, 0x200000001, 0x200000003, false, 0), 0);
    ck_assert_int_eq(side().zxid, 0x200000003);
    logwriter_free(w, true);
    recover_all(0x200000003);
}
END_TEST

START_TEST(without_force_sync) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct logwriter_options o = {.prealloc_bytes = 8192, .force_sync = false};
        struct logwriter *w = logwriter_new(&disk.disk, &o);
        ck_assert_int_eq(append_once(w, 1, 3, false, 0), 0);
        ck_assert_int_eq(side().offset, 16); /* nothing is known to be synced */
        ck_assert_int_eq(append_once(w, 4, 5, true, 0), 0);
        ck_assert_int_eq(side().log_zxid, 4);
        logwriter_free(w, false);
        /* The roll has synced what was before it: only 4 and 5 can go. */
        simdisk_crash(&disk, seed);
        struct list_sink l;
        struct recovery_options ro = usual_options();
        struct recovery_result r = recover_list(&disk.disk, &ro, &l);
        ck_assert_msg(r.status == RECOVERY_OK, "%s", r.message);
        ck_assert_int_ge(l.last, 3);
        simdisk_clear(&disk);
        put_snapshot_file(&disk, 0, SNAPSHOT_PLAIN);
    }
    struct logwriter_options o = {.prealloc_bytes = 8192, .force_sync = false};
    struct logwriter *w = logwriter_new(&disk.disk, &o);
    ck_assert_int_eq(append_once(w, 1, 3, false, 0), 0);
    logwriter_free(w, true); /* an orderly stop syncs */
    simdisk_crash(&disk, 3);
    recover_all(3);
}
END_TEST

START_TEST(many_pieces) {
    enum { COUNT = 1500 };
    struct logwriter *w = new_writer(8192);
    struct buf all = BUF_INIT;
    struct iovec *iov = mem_calloc(COUNT, sizeof *iov);
    for (zxid_t z = 1; z <= COUNT; z++)
        put_entry(&all, z, 0);
    size_t at = 0;
    for (int i = 0; i < COUNT; i++) {
        size_t n = i == COUNT - 1 ? all.len - at : all.len / COUNT;
        iov[i] = (struct iovec){all.data + at, n};
        at += n;
    }
    struct log_cmd cmd = {.type = LOG_CMD_APPEND, .first_zxid = 1, .last_zxid = COUNT, .iov = iov, .iov_count = COUNT, .bytes = all.len};
    disk.short_writes = true;
    logwriter_execute(w, &cmd);
    ck_assert_int_eq(cmd.err, 0);
    ck_assert_ptr_eq(iov[0].iov_base, all.data); /* untouched */
    logwriter_free(w, true);
    recover_all(COUNT);
    mem_free(iov);
    buf_free(&all);
}
END_TEST

START_TEST(sync_is_timed) {
    struct logwriter *w = new_writer(8192);
    struct batch b;
    batch_init(&b, 1, 1, false, 0);
    logwriter_execute(w, &b.cmd);
    ck_assert_int_eq(b.cmd.sync_us, 0);
    batch_close(&b);
    logwriter_free(w, true);
}
END_TEST

static void slow_sync(void *ctx, struct simdisk *s, enum simdisk_op op, int64_t bytes) {
    (void)ctx;
    (void)bytes;
    if (op == SIMDISK_SYNC)
        s->clock_us += 700;
}

START_TEST(slow_sync_is_told) {
    struct logwriter *w = new_writer(8192);
    struct batch b;
    disk.on_call = slow_sync;
    batch_init(&b, 1, 1, false, 0);
    logwriter_execute(w, &b.cmd);
    ck_assert_int_eq(b.cmd.sync_us, 700);
    batch_close(&b);
    logwriter_free(w, true);
}
END_TEST

START_TEST(removing) {
    struct logwriter *w = new_writer(8192);
    char names[3][STORE_NAME_MAX] = {"log.1", "log.5", "log.7"};
    put_log_file(&disk, 1, 2, 0);
    put_log_file(&disk, 7, 8, 0);
    struct log_cmd cmd = {.type = LOG_CMD_REMOVE, .dir = DISK_LOG, .remove_names = names, .remove_count = 3};
    logwriter_execute(w, &cmd); /* log.5 is not there, which is fine */
    ck_assert_int_eq(cmd.err, 0);
    ck_assert(!simdisk_exists(&disk, DISK_LOG, "log.1") && !simdisk_exists(&disk, DISK_LOG, "log.7"));
    put_log_file(&disk, 1, 2, 0);
    put_log_file(&disk, 7, 8, 0);
    simdisk_clear_faults(&disk);
    disk.fail_at = 1;
    disk.fail_errno = -EACCES;
    logwriter_execute(w, &cmd);
    ck_assert_int_eq(cmd.err, -EACCES);
    ck_assert_str_eq(cmd.err_what, "unlink");
    ck_assert(simdisk_exists(&disk, DISK_LOG, "log.1") && !simdisk_exists(&disk, DISK_LOG, "log.7"));
    logwriter_free(w, true);
}
END_TEST

/* ------------------------------------------------------------------ the script that is stopped everywhere */

#define EPOCH_NAME "currentEpoch"

struct progress {
    zxid_t acked, submitted;
    bool published, epoch_written, removed;
    int fatal; /* the first error that is not "no space" */
};

/* Executes the command; for lack of space a second time. True if it succeeded. */
static bool carry_out(struct logwriter *w, struct log_cmd *cmd, struct progress *p) {
    logwriter_execute(w, cmd);
    if (cmd->err == -ENOSPC && !disk.fail_forever)
        logwriter_execute(w, cmd);
    if (cmd->err != 0 && cmd->err != -ENOSPC && p->fatal == 0)
        p->fatal = cmd->err;
    return cmd->err == 0;
}

static bool step_append(struct logwriter *w, struct progress *p, zxid_t last, bool roll, size_t extra) {
    struct batch b;
    batch_init(&b, p->submitted + 1, last, roll, extra);
    p->submitted = last;
    bool ok = carry_out(w, &b.cmd, p);
    if (ok)
        p->acked = last;
    batch_close(&b);
    return ok;
}

static bool step_publish(struct logwriter *w, struct progress *p, zxid_t zxid) {
    struct log_cmd cmd = {.type = LOG_CMD_PUBLISH, .dir = DISK_SNAP};
    int err = write_small_snapshot(&disk.disk, zxid, SNAPSHOT_GZIP, cmd.name);
    bool space = err == -ENOSPC || err == -EDQUOT;
    if (space && !disk.fail_forever)
        err = write_small_snapshot(&disk.disk, zxid, SNAPSHOT_GZIP, cmd.name);
    if (err != 0 && !space && p->fatal == 0)
        p->fatal = err;
    store_snapshot_tmp_name(cmd.tmp_name, zxid);
    return err == 0 && carry_out(w, &cmd, p);
}

static bool step_epoch(struct logwriter *w, struct progress *p) {
    struct log_cmd cmd = {.type = LOG_CMD_ATOMIC, .dir = DISK_SNAP, .name = EPOCH_NAME, .content = "22222", .content_size = 5};
    return carry_out(w, &cmd, p);
}

static bool step_remove(struct logwriter *w, struct progress *p) {
    char logs[1][STORE_NAME_MAX] = {"log.1"}, snapshots[1][STORE_NAME_MAX] = {"snapshot.0"};
    struct log_cmd cmd = {.type = LOG_CMD_REMOVE, .dir = DISK_SNAP, .remove_names = snapshots, .remove_count = 1};
    if (!carry_out(w, &cmd, p))
        return false;
    cmd.dir = DISK_LOG;
    cmd.remove_names = logs;
    return carry_out(w, &cmd, p);
}

/* Two logs, a snapshot between them, an epoch file, retention. Goes on after "no space" as the server does; ends at the first
 * other error. */
static struct progress play(bool orderly) {
    struct progress p = {0};
    struct logwriter *w = new_writer(4096);
    for (int step = 0; step < 9 && p.fatal == 0; step++) {
        switch (step) {
        case 0: step_append(w, &p, 3, false, 100); break;
        case 1: step_append(w, &p, 4, false, 3000); break;
        case 2: p.epoch_written = step_epoch(w, &p); break;
        case 3: step_append(w, &p, 12, true, 350); break;
        case 4: p.published = p.acked >= 4 && step_publish(w, &p, 4); break;
        case 5: step_append(w, &p, 13, false, 0); break;
        case 6: p.removed = p.published && step_remove(w, &p); break;
        case 7: step_append(w, &p, 20, false, 700); break;
        case 8: step_append(w, &p, 24, true, 500); break;
        }
        /* A batch that found no room is not followed by the next one. */
        if (p.acked != p.submitted)
            break;
    }
    logwriter_free(w, orderly && p.fatal == 0);
    return p;
}

static void prepare_script(uint64_t seed) {
    simdisk_close(&disk);
    simdisk_init(&disk, seed);
    disk.same_dir = true;
    put_snapshot_file(&disk, 0, SNAPSHOT_PLAIN);
    simdisk_put(&disk, DISK_SNAP, EPOCH_NAME, "1", 1);
    simdisk_clear_faults(&disk);
}

static zxid_t check_recovered(const struct progress *p, const char *when, uint64_t n) {
    struct list_sink l;
    struct recovery_options o = usual_options();
    struct recovery_result r = recover_list(&disk.disk, &o, &l);
    ck_assert_msg(r.status == RECOVERY_OK, "%s %d: %s", when, (int)n, r.message);
    ck_assert_msg(!l.wrong, "%s %d: wrong content", when, (int)n);
    ck_assert_msg(l.last >= p->acked && l.last <= p->submitted, "%s %d: zxid %d, acknowledged %d, submitted %d", when, (int)n,
                  (int)l.last, (int)p->acked, (int)p->submitted);
    ck_assert_msg(l.txns == (uint64_t)(l.last - i64_max(l.snapshot_zxid, 0)), "%s %d: not all replayed", when, (int)n);
    if (p->published)
        ck_assert_int_eq(l.snapshot_zxid, 4);
    size_t size;
    char *epoch = simdisk_get(&disk, DISK_SNAP, EPOCH_NAME, &size);
    ck_assert_msg(epoch != NULL, "%s %d: no epoch file", when, (int)n);
    bool old = size == 1 && memcmp(epoch, "1", 1) == 0, new = size == 5 && memcmp(epoch, "22222", 5) == 0;
    ck_assert_msg(new || (old && !p->epoch_written), "%s %d: epoch file", when, (int)n);
    mem_free(epoch);
    for (int i = 0; simdisk_nth(&disk, DISK_LOG, i) != NULL; i++)
        ck_assert_msg(!store_name_is_own_tmp(simdisk_nth(&disk, DISK_LOG, i)), "%s %d: a temporary file is left", when, (int)n);
    return l.last;
}

/* No reader, and least of all Java's, which would not start, ever sees a log without its header. */
static void check_headers(const char *when, uint64_t n) {
    for (int i = 0; simdisk_nth(&disk, DISK_LOG, i) != NULL; i++) {
        const char *name = simdisk_nth(&disk, DISK_LOG, i);
        size_t size;
        if (store_name_zxid(name, "log") < 0)
            continue;
        uint8_t *data = simdisk_get(&disk, DISK_LOG, name, &size);
        ck_assert_msg(size >= TXNLOG_HEADER_BYTES && memcmp(data, txnlog_header, TXNLOG_HEADER_BYTES) == 0,
                      "%s %d: %s has no header", when, (int)n, name);
        mem_free(data);
    }
}

/* The server goes on after recovery, and all is there again. */
static void check_goes_on(zxid_t last, const char *when, uint64_t n) {
    struct progress p = {.acked = last, .submitted = last, .epoch_written = false};
    struct logwriter *w = new_writer(4096);
    ck_assert_msg(step_append(w, &p, last + 2, false, 60), "%s %d: append after recovery: %d", when, (int)n, p.fatal);
    ck_assert(step_append(w, &p, last + 3, true, 60));
    logwriter_free(w, n % 2 == 0);
    simdisk_crash(&disk, n + 77);
    check_recovered(&p, when, n);
}

START_TEST(script_without_faults) {
    prepare_script(1);
    struct progress p = play(true);
    ck_assert_int_eq(p.acked, 24);
    ck_assert(p.published && p.removed && p.epoch_written && p.fatal == 0);
    ck_assert_int_eq(check_recovered(&p, "no fault", 0), 24);
    ck_assert(!simdisk_exists(&disk, DISK_LOG, "log.1"));
    simdisk_crash(&disk, 1);
    ck_assert_int_eq(check_recovered(&p, "crash after the end", 0), 24);
}
END_TEST

START_TEST(crash_at_every_call) {
    const uint64_t seeds = 12;
    for (uint64_t n = 1;; n++) {
        bool reached = false;
        for (uint64_t seed = 1; seed <= seeds; seed++) {
            prepare_script(seed);
            disk.short_writes = seed % 4 == 0;
            disk.counted_ops = SIMDISK_CHANGES;
            disk.crash_at = n;
            struct progress p = play(true);
            reached = disk.dead;
            simdisk_crash(&disk, n * 1000 + seed);
            check_headers("crash at", n);
            zxid_t last = check_recovered(&p, "crash at", n);
            if (seed % 3 == 0)
                check_goes_on(last, "after a crash at", n);
        }
        if (!reached)
            break;
        ck_assert_uint_lt(n, 1000);
    }
}
END_TEST

/* The process is killed, the machine lives; what a restart shows to clients must then survive a power loss. */
START_TEST(kill_then_power_loss) {
    for (uint64_t n = 1;; n++) {
        prepare_script(n);
        disk.counted_ops = SIMDISK_CHANGES;
        disk.crash_at = n;
        struct progress p = play(true);
        bool reached = disk.dead;
        simdisk_kill(&disk);
        zxid_t shown = check_recovered(&p, "kill at", n);
        simdisk_crash(&disk, n);
        p.acked = shown;
        check_recovered(&p, "power loss after a kill at", n);
        if (!reached)
            break;
    }
}
END_TEST

/* Recovery itself is stopped at every call, by a crash or by an error, and done again. */
START_TEST(crash_in_recovery) {
    for (uint64_t n = 1; n < 200; n += 3) {
        struct progress p;
        bool reached = true;
        for (uint64_t m = 1; reached; m++) {
            struct list_sink l;
            struct recovery_options o = usual_options();
            prepare_script(n);
            disk.counted_ops = SIMDISK_CHANGES;
            disk.crash_at = n;
            p = play(false);
            simdisk_crash(&disk, n * 31 + m);
            disk.counted_ops = SIMDISK_CHANGES;
            disk.crash_at = m;
            struct recovery_result r = recover_list(&disk.disk, &o, &l);
            reached = disk.dead;
            /* In the very last step, the giving back of unused space, it does not matter. */
            ck_assert_msg(r.status == RECOVERY_OK || (reached && r.status == RECOVERY_IO), "crash at %d, then at %d: %s", (int)n,
                          (int)m, r.message);
            simdisk_crash(&disk, m);
            check_recovered(&p, "crash in recovery at", m);
        }
    }
}
END_TEST

/* The n-th call fails once, or from then on. */
static const struct {
    int err;
    bool forever;
} faults[] = {{-ENOSPC, false}, {-ENOSPC, true}, {-EDQUOT, false}, {-EIO, false}, {-EIO, true}, {-EACCES, false}};

START_TEST(every_call_fails) {
    for (uint64_t n = 1;; n++) {
        prepare_script(n);
        disk.counted_ops = SIMDISK_CHANGES;
        disk.fail_at = n;
        disk.fail_errno = faults[_i].err;
        disk.fail_forever = faults[_i].forever;
        struct progress p = play(true);
        bool reached = disk.calls >= n;
        bool space = faults[_i].err != -EIO && faults[_i].err != -EACCES;
        /* Out of space once: everything was tried again and is there, unless it was a sync that failed. */
        if (space && !faults[_i].forever && p.fatal == 0)
            ck_assert_msg(p.acked == 24 && p.epoch_written, "fault at %d", (int)n);
        if (p.fatal != 0)
            ck_assert_int_eq(p.fatal, space ? -EIO : faults[_i].err);
        simdisk_clear_faults(&disk);
        check_headers("fault at", n);
        if (!faults[_i].forever) /* Java would take over its value */
            ck_assert(!simdisk_exists(&disk, DISK_SNAP, EPOCH_NAME ".tmp"));
        if (n % 2)
            simdisk_crash(&disk, n);
        else
            simdisk_kill(&disk);
        zxid_t last = check_recovered(&p, "fault at", n);
        check_goes_on(last, "after a fault at", n);
        if (!reached)
            break;
    }
}
END_TEST

/* After an error the writer does nothing more, whatever comes. */
START_TEST(broken_writer_stays_broken) {
    struct logwriter *w = new_writer(4096);
    ck_assert_int_eq(append_once(w, 1, 2, false, 0), 0);
    simdisk_clear_faults(&disk);
    disk.counted_ops = SIMDISK_BIT(SIMDISK_SYNC);
    disk.fail_at = 1;
    disk.fail_errno = -EIO;
    ck_assert_int_eq(append_once(w, 3, 3, false, 0), -EIO);
    simdisk_clear_faults(&disk);
    disk.counted_ops = SIMDISK_CHANGES;
    ck_assert_int_eq(append_once(w, 3, 3, false, 0), -EIO);
    ck_assert_int_eq(append_once(w, 4, 4, true, 0), -EIO);
    ck_assert_uint_eq(disk.calls, 0);
    logwriter_free(w, true);
    ck_assert(!side().orderly);
}
END_TEST

/* ------------------------------------------------------------------ a full disk */

START_TEST(smaller_preallocation) {
    disk.capacity = simdisk_used(&disk) + 64 * 1024;
    struct logwriter *w = new_writer(1 << 20);
    ck_assert_int_eq(append_once(w, 1, 2, false, 0), 0);
    int64_t size = file_size("log.1");
    ck_assert_int_gt(size, 16 * 1024);
    ck_assert_int_lt(size, 48 * 1024); /* about half of what there was, so that others can write, too */
    logwriter_free(w, true);
    recover_all(2);
}
END_TEST

static void fail_truncate(void *ctx, struct simdisk *s, enum simdisk_op op, int64_t bytes) {
    (void)ctx;
    (void)bytes;
    if (op == SIMDISK_TRUNCATE) {
        s->fail_at = s->calls + 1;
        s->fail_errno = -ENOSPC;
    }
}

/* If not even the cut works, nobody knows what the file looks like: that is no matter of space any more. */
START_TEST(cut_after_full_disk_fails) {
    struct logwriter *w = new_writer(_i == 0 ? 8192 : 0);
    ck_assert_int_eq(append_once(w, 1, 2, false, 0), 0);
    disk.capacity = simdisk_used(&disk);
    disk.on_call = fail_truncate;
    ck_assert_int_eq(append_once(w, 3, 3, false, 20000), -EIO);
    disk.on_call = NULL;
    ck_assert_int_eq(append_once(w, 3, 3, false, 0), -EIO);
    logwriter_free(w, true);
    simdisk_clear_faults(&disk);
    recover_all(2);
}
END_TEST

START_TEST(full_disk_and_space_again) {
    static uint8_t ballast[32 * 1024];
    simdisk_put(&disk, DISK_LOG, "ballast", ballast, sizeof ballast);
    disk.capacity = simdisk_used(&disk) + 100 * 1024;
    struct logwriter *w = new_writer(_i == 0 ? 65536 : 0);
    zxid_t z = 1;
    int err;
    for (err = 0; err == 0; z += err == 0)
        err = append_once(w, z, z, z % 50 == 0, 500);
    ck_assert_int_eq(err, -ENOSPC);
    ck_assert_int_gt(z, 30);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(append_once(w, z, z, z % 50 == 0, 40000), -ENOSPC);
    /* A roll into nothing leaves nothing behind. */
    disk.capacity = simdisk_used(&disk);
    ck_assert_int_eq(append_once(w, z, z, true, 500), -ENOSPC);
    char name[STORE_NAME_MAX];
    store_log_name(name, z);
    ck_assert(!simdisk_exists(&disk, DISK_LOG, name) || file_size(name) >= 16);
    ck_assert(!simdisk_exists(&disk, DISK_LOG, "zabra.log.tmp"));
    struct list_sink l;
    struct recovery_options o = usual_options();
    o.dry_run = true;
    struct recovery_result r = recover_list(&disk.disk, &o, &l);
    ck_assert_int_eq(r.status, RECOVERY_OK);
    ck_assert_int_eq(l.last, z - 1);
    ck_assert(!r.cut);
    disk.disk.unlink(disk.disk.ctx, DISK_LOG, "ballast");
    for (int i = 0; i < 20; i++, z++)
        ck_assert_int_eq(append_once(w, z, z, i % 10 == 5, 500), 0);
    logwriter_free(w, true);
    disk.capacity = 0;
    simdisk_crash(&disk, 9);
    recover_all(z - 1);
}
END_TEST

/* ------------------------------------------------------------------ the side file */

START_TEST(side_file_damaged) {
    struct side_file s = SIDE_FILE_CLOSED;
    ck_assert_int_eq(side_file_open(&s, &disk.disk), 0);
    for (int64_t i = 1; i <= 5; i++)
        ck_assert_int_eq(side_file_note(&s, &(struct synced_position){.known = true, .log_zxid = i, .offset = i * 100}, i == 3), 0);
    side_file_close(&s);
    size_t size;
    uint8_t *data = simdisk_get(&disk, DISK_LOG, SIDE_FILE_NAME, &size);
    /* Whichever byte of the newer slot is wrong, the older one counts; both wrong: nothing is known. */
    for (size_t i = 4096; i < 4096 + 48; i++) {
        data[i] ^= 4;
        simdisk_put(&disk, DISK_LOG, SIDE_FILE_NAME, data, size);
        ck_assert_int_eq(side().log_zxid, 4);
        data[7] ^= 1;
        simdisk_put(&disk, DISK_LOG, SIDE_FILE_NAME, data, size);
        ck_assert(!side().known);
        data[7] ^= 1;
        data[i] ^= 4;
    }
    for (size_t len = 0; len < size; len += 97) {
        simdisk_put(&disk, DISK_LOG, SIDE_FILE_NAME, data, len);
        ck_assert_int_eq(side().known, len >= 48);
        /* And it can be written again. */
        ck_assert_int_eq(side_file_open(&s, &disk.disk), 0);
        ck_assert_int_eq(side_file_note(&s, &(struct synced_position){.known = true, .log_zxid = 9, .offset = 99}, true), 0);
        side_file_close(&s);
        ck_assert_int_eq(side().log_zxid, 9);
    }
    mem_free(data);
}
END_TEST

/* After a failed write the next one goes to the same slot: the other holds the position that is true. */
START_TEST(side_file_keeps_the_good_slot) {
    struct side_file s = SIDE_FILE_CLOSED;
    struct synced_position p = {.known = true, .log_zxid = 1, .offset = 100};
    ck_assert_int_eq(side_file_open(&s, &disk.disk), 0);
    for (int i = 0; i < 6; i++) {
        p.offset += 100;
        ck_assert_int_eq(side_file_note(&s, &p, true), 0);
        simdisk_clear_faults(&disk);
        disk.fail_at = i % 3 == 0 ? 2 : 1; /* the write, or the sync behind it */
        disk.fail_errno = -EIO;
        ck_assert_int_eq(side_file_note(&s, &p, true), -EIO);
    }
    simdisk_clear_faults(&disk);
    ck_assert_int_eq(side_file_note(&s, &p, true), 0);
    side_file_close(&s);
    size_t size;
    uint8_t *data = simdisk_get(&disk, DISK_LOG, SIDE_FILE_NAME, &size);
    int64_t a = (int64_t)be64_load(data + 8), b = (int64_t)be64_load(data + 4096 + 8);
    ck_assert(a == b + 1 || b == a + 1);
    mem_free(data);
}
END_TEST

START_TEST(side_file_survives_crashes) {
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct side_file s = SIDE_FILE_CLOSED;
        simdisk_clear(&disk);
        ck_assert_int_eq(side_file_open(&s, &disk.disk), 0);
        ck_assert_int_eq(side_file_note(&s, &(struct synced_position){.known = true, .log_zxid = 5, .offset = 16}, true), 0);
        for (int64_t i = 1; i <= (int64_t)(seed % 7); i++)
            ck_assert_int_eq(side_file_note(&s, &(struct synced_position){.known = true, .log_zxid = 5, .offset = i * 100}, false), 0);
        simdisk_crash(&disk, seed);
        struct synced_position p = side();
        ck_assert(p.known && p.log_zxid == 5 && p.offset >= 16);
    }
}
END_TEST

static void add_use(Suite *suite) {
    TCase *tc = tcase_create("use");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, file_is_as_java_has_it);
    tcase_add_test(tc, preallocation_steps);
    tcase_add_test(tc, small_batches_find_written_blocks);
    tcase_add_loop_test(tc, no_preallocation, 0, 2);
    tcase_add_test(tc, rolls);
    tcase_add_test(tc, roll_without_entries);
    tcase_add_test(tc, taken_name_is_refused);
    tcase_add_loop_test(tc, padding_is_given_back, 0, 2);
    tcase_add_test(tc, side_file_lags);
    tcase_add_test(tc, side_file_and_zxids);
    tcase_add_test(tc, without_force_sync);
    tcase_add_test(tc, many_pieces);
    tcase_add_test(tc, sync_is_timed);
    tcase_add_test(tc, slow_sync_is_told);
    tcase_add_test(tc, removing);
    tcase_add_test(tc, side_file_damaged);
    tcase_add_test(tc, side_file_keeps_the_good_slot);
    tcase_add_test(tc, side_file_survives_crashes);
    suite_add_tcase(suite, tc);
}

int main(void) {
    Suite *suite = suite_create("logwriter");
    add_use(suite);
    TCase *tc = tcase_create("faults");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, script_without_faults);
    tcase_add_test(tc, crash_at_every_call);
    tcase_add_test(tc, kill_then_power_loss);
    tcase_add_test(tc, crash_in_recovery);
    tcase_add_loop_test(tc, every_call_fails, 0, (int)ARRAY_LEN(faults));
    tcase_add_test(tc, broken_writer_stays_broken);
    tcase_add_test(tc, smaller_preallocation);
    tcase_add_loop_test(tc, cut_after_full_disk_fails, 0, 2);
    tcase_add_loop_test(tc, full_disk_and_space_again, 0, 2);
    tcase_set_timeout(tc, 300);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
