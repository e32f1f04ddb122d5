/* The real disk, in a directory of its own: each function, then the store's whole way through it. */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bio/posix_disk.h"
#include "lib/store_help.h"
#include "lib/tempdir.h"
#include "store/logwriter.h"
#include "store/retention.h"

static char root[TEMPDIR_BYTES];
static char error[256];
static struct posix_disk *posix;
static const struct disk *d;

static char *in_root(const char *name) { return tempdir_path(root, name); }

static void open_disk(const char *data_dir, const char *log_dir) {
    posix_disk_close(posix);
    posix = posix_disk_open(data_dir, log_dir, true, error, sizeof error);
    ck_assert_msg(posix != NULL, "%s", error);
    d = posix_disk_vtable(posix);
}

static void setup(void) {
    tempdir_make(root);
    open_disk(in_root("data"), NULL);
}

static void teardown(void) {
    posix_disk_close(posix);
    posix = NULL;
    tempdir_remove(root);
}

static int open_file(const char *name, enum disk_open mode) { return d->open(d->ctx, DISK_SNAP, name, mode); }

static void write_file(const char *name, const char *text) {
    int h = open_file(name, DISK_CREATE);
    ck_assert_int_ge(h, 0);
    ck_assert_int_eq(disk_write_all(d, h, text, strlen(text), 0), 0);
    ck_assert_int_eq(d->close(d->ctx, h), 0);
}

static void expect_file(const char *name, const char *text) {
    char data[100];
    int h = open_file(name, DISK_READ);
    ck_assert_int_ge(h, 0);
    ssize_t n = disk_read_full(d, h, data, sizeof data, 0);
    ck_assert_int_eq(n, (ssize_t)strlen(text));
    ck_assert_mem_eq(data, text, strlen(text));
    ck_assert_int_eq(d->close(d->ctx, h), 0);
}

/* ------------------------------------------------------------------ directories */

START_TEST(directories_are_made) {
    struct stat st;
    ck_assert_int_eq(stat(in_root("data/version-2"), &st), 0);
    ck_assert(posix_disk_same_dir(posix));
    open_disk(in_root("a/b//c/"), in_root("x/y"));
    ck_assert(!posix_disk_same_dir(posix));
    ck_assert_int_eq(stat(in_root("a/b/c/version-2"), &st), 0);
    ck_assert_int_eq(stat(in_root("x/y/version-2"), &st), 0);
    /* Another path to the same place. */
    ck_assert_int_eq(symlink(in_root("data"), in_root("link")), 0);
    open_disk(in_root("data"), in_root("link"));
    ck_assert(posix_disk_same_dir(posix));
}
END_TEST

START_TEST(relative_path) {
    struct stat st;
    ck_assert_int_eq(chdir(root), 0);
    open_disk("rel", "./rel2");
    ck_assert_int_eq(stat(in_root("rel/version-2"), &st), 0);
    ck_assert_int_eq(stat(in_root("rel2/version-2"), &st), 0);
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(directories_are_not_made) {
    struct stat st;
    ck_assert_ptr_null(posix_disk_open(in_root("new"), NULL, false, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "Missing data directory"));
    ck_assert_ptr_nonnull(strstr(error, "new/version-2"));
    ck_assert_int_eq(stat(in_root("new"), &st), -1);
    posix_disk_close(posix);
    posix = posix_disk_open(in_root("data"), NULL, false, error, sizeof error);
    ck_assert_ptr_nonnull(posix);
    d = posix_disk_vtable(posix);
}
END_TEST

START_TEST(unusable_directories) {
    char *path = in_root("data/version-2");
    write_file("plain", "text");
    ck_assert_ptr_null(posix_disk_open(in_root("data/version-2/plain"), NULL, true, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, strerror(ENOTDIR)));
    if (geteuid() == 0)
        return; /* root may write everywhere */
    ck_assert_int_eq(chmod(path, 0555), 0);
    ck_assert_ptr_null(posix_disk_open(in_root("data"), NULL, true, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, strerror(EACCES)));
    ck_assert_int_eq(chmod(path, 0755), 0);
}
END_TEST

START_TEST(one_server_per_directory) {
    ck_assert_ptr_null(posix_disk_open(in_root("data"), NULL, true, error, sizeof error));
    ck_assert_ptr_nonnull(strstr(error, "in use"));
    ck_assert_ptr_null(posix_disk_open(in_root("other"), in_root("data"), true, error, sizeof error));
    open_disk(in_root("other"), in_root("data"));
}
END_TEST

START_TEST(log_directory_apart) {
    struct stat st;
    open_disk(in_root("data"), in_root("log"));
    int h = d->open(d->ctx, DISK_LOG, "log.1", DISK_CREATE);
    ck_assert_int_ge(h, 0);
    d->close(d->ctx, h);
    ck_assert_int_eq(stat(in_root("log/version-2/log.1"), &st), 0);
    ck_assert_int_eq(d->open(d->ctx, DISK_SNAP, "log.1", DISK_READ), -ENOENT);
}
END_TEST

/* ------------------------------------------------------------------ files */

START_TEST(open_modes) {
    ck_assert_int_eq(open_file("f", DISK_READ), -ENOENT);
    ck_assert_int_eq(open_file("f", DISK_READWRITE), -ENOENT);
    write_file("f", "long text");
    write_file("f", "short");
    expect_file("f", "short");
    int h = open_file("f", DISK_READWRITE);
    ck_assert_int_eq(disk_write_all(d, h, "H", 1, 1), 0);
    ck_assert_int_eq(d->close(d->ctx, h), 0);
    expect_file("f", "sHort");
    h = open_file("f", DISK_READ);
    ck_assert_int_eq(disk_write_all(d, h, "X", 1, 0), -EBADF);
    ck_assert_int_eq(d->fsync(d->ctx, h), 0); /* as recovery does */
    ck_assert_int_eq(d->close(d->ctx, h), 0);
    ck_assert_int_eq(d->close(d->ctx, h), -EBADF);
    ck_assert_int_eq(d->size(d->ctx, h), -EBADF);
    ck_assert_int_eq(d->fdatasync(d->ctx, h), -EBADF);
    ck_assert_int_eq(d->truncate(d->ctx, h, 0), -EBADF);
    ck_assert_int_eq(d->allocate(d->ctx, h, 0, 1), -EBADF);
    char c;
    ck_assert_int_eq(d->pread(d->ctx, h, &c, 1, 0), -EBADF);
}
END_TEST

START_TEST(pieces_and_places) {
    enum { PIECES = 3000 };
    struct iovec *iov = mem_calloc(PIECES, sizeof *iov);
    char *text = mem_alloc(PIECES * 3), *back = mem_alloc(PIECES * 3 + 10);
    for (int i = 0; i < PIECES; i++) {
        memcpy(text + i * 3, (char[]){(char)('a' + i % 26), (char)('0' + i % 10), '.'}, 3);
        iov[i] = (struct iovec){text + i * 3, 3};
    }
    int h = open_file("f", DISK_CREATE);
    ck_assert_int_eq(disk_writev_all(d, h, iov, PIECES, 1000), 0);
    ck_assert_int_eq(d->size(d->ctx, h), 1000 + PIECES * 3);
    ck_assert_int_eq(disk_read_full(d, h, back, PIECES * 3 + 10, 1000), PIECES * 3);
    ck_assert_mem_eq(back, text, PIECES * 3);
    ck_assert_int_eq(disk_read_full(d, h, back, 10, 1000 + PIECES * 3), 0);
    ck_assert_int_eq(disk_read_full(d, h, back, 10, 995), 10);
    ck_assert_mem_eq(back, "\0\0\0\0\0a0.b1", 10);
    ck_assert_int_eq(d->fdatasync(d->ctx, h), 0);
    ck_assert_int_eq(d->close(d->ctx, h), 0);
    mem_free(iov);
    mem_free(text);
    mem_free(back);
}
END_TEST

START_TEST(allocate_and_truncate) {
    struct stat st;
    int h = open_file("f", DISK_CREATE);
    ck_assert_int_eq(disk_write_all(d, h, "abc", 3, 0), 0);
    ck_assert_int_eq(d->allocate(d->ctx, h, 3, 1 << 20), 0);
    ck_assert_int_eq(d->size(d->ctx, h), (1 << 20) + 3);
    ck_assert_int_eq(fstat(h, &st), 0);
    ck_assert_int_ge((int64_t)st.st_blocks * 512, 1 << 20); /* real blocks */
    char data[6];
    ck_assert_int_eq(disk_read_full(d, h, data, 6, 0), 6);
    ck_assert_mem_eq(data, "abc\0\0\0", 6);
    ck_assert_int_eq(d->truncate(d->ctx, h, 2), 0);
    ck_assert_int_eq(d->size(d->ctx, h), 2);
    ck_assert_int_lt(d->allocate(d->ctx, h, 0, INT64_MAX / 2), 0);
    ck_assert_int_eq(d->close(d->ctx, h), 0);
}
END_TEST

struct names {
    int count;
    int64_t bytes;
    bool dots;
};

static void count_name(void *ctx, const char *name, int64_t size) {
    struct names *n = ctx;
    n->count++;
    n->bytes += size;
    n->dots = n->dots || name[0] == '.';
}

START_TEST(names_of_files) {
    struct names n = {0};
    write_file("a", "12345");
    write_file("b", "123");
    ck_assert_int_eq(mkdir(in_root("data/version-2/dir"), 0755), 0);
    ck_assert_int_eq(d->list(d->ctx, DISK_SNAP, count_name, &n), 0);
    ck_assert(n.count == 2 && n.bytes == 8 && !n.dots);
    ck_assert_int_eq(d->rename(d->ctx, DISK_SNAP, "a", "b"), 0);
    expect_file("b", "12345");
    ck_assert_int_eq(d->rename(d->ctx, DISK_SNAP, "a", "c"), -ENOENT);
    ck_assert_int_eq(d->sync_dir(d->ctx, DISK_SNAP), 0);
    ck_assert_int_eq(d->unlink(d->ctx, DISK_SNAP, "b"), 0);
    ck_assert_int_eq(d->unlink(d->ctx, DISK_SNAP, "b"), -ENOENT);
    n = (struct names){0};
    ck_assert_int_eq(d->list(d->ctx, DISK_LOG, count_name, &n), 0);
    ck_assert_int_eq(n.count, 0);
}
END_TEST

START_TEST(space_and_time) {
    ck_assert_int_gt(d->free_bytes(d->ctx, DISK_SNAP), 0);
    int64_t start = d->clock_us(d->ctx);
    usleep(2000);
    ck_assert_int_ge(d->clock_us(d->ctx) - start, 2000);
}
END_TEST

START_TEST(atomic_write) {
    ck_assert_int_eq(disk_write_atomic(d, DISK_SNAP, "currentEpoch", "5", 1), 0);
    expect_file("currentEpoch", "5");
    ck_assert_int_eq(disk_write_atomic(d, DISK_SNAP, "currentEpoch", "17", 2), 0);
    expect_file("currentEpoch", "17");
    ck_assert_int_eq(open_file("currentEpoch.tmp", DISK_READ), -ENOENT);
    char longest[300];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    ck_assert_int_eq(disk_write_atomic(d, DISK_SNAP, longest, "17", 2), -ENAMETOOLONG);
}
END_TEST

/* ------------------------------------------------------------------ the store on it */

START_TEST(write_recover_purge) {
    struct logwriter_options o = {.prealloc_bytes = 1 << 20, .force_sync = true};
    zxid_t z = 1;
    char name[STORE_NAME_MAX];
    for (int start = 0; start < 3; start++) {
        struct logwriter *w = logwriter_new(d, &o);
        struct buf b = BUF_INIT;
        for (int i = 0; i < 10; i++) {
            buf_clear(&b);
            zxid_t first = z;
            for (int j = 0; j < 5; j++)
                put_entry(&b, z++, 100);
            struct iovec iov = {b.data, b.len};
            struct log_cmd cmd = {.type = LOG_CMD_APPEND, .roll = i == 5, .first_zxid = first, .last_zxid = z - 1, .iov = &iov,
                                  .iov_count = 1, .bytes = b.len};
            logwriter_execute(w, &cmd);
            ck_assert_int_eq(cmd.err, 0);
            ck_assert_int_ge(cmd.sync_us, 0);
        }
        struct log_cmd publish = {.type = LOG_CMD_PUBLISH, .dir = DISK_SNAP};
        ck_assert_int_eq(write_small_snapshot(d, z - 7, (enum snapshot_method)start, publish.name), 0);
        store_snapshot_tmp_name(publish.tmp_name, z - 7);
        logwriter_execute(w, &publish);
        ck_assert_int_eq(publish.err, 0);
        logwriter_free(w, start != 1);
        buf_free(&b);
        struct list_sink l;
        struct recovery_options ro = usual_options();
        struct recovery_result r = recover_list(d, &ro, &l);
        ck_assert_msg(r.status == RECOVERY_OK, "%s", r.message);
        ck_assert(!l.wrong);
        ck_assert_int_eq(l.last, z - 1);
        ck_assert_int_eq(l.snapshot_zxid, z - 7);
        ck_assert_uint_eq(l.txns, 6);
    }
    struct retention_plan plan;
    ck_assert_int_eq(retention_plan_make(d, &(struct retention_options){.keep = 1, .known_good = -1}, &plan), 0);
    ck_assert_int_eq(plan.snapshot_count, 2);
    ck_assert_int_eq(plan.log_count, 5);
    store_log_name(name, 1);
    ck_assert_str_eq(plan.logs[0], name);
    retention_plan_free(&plan);
}
END_TEST

START_TEST(java_directory) {
    struct simdisk s;
    struct list_sink l;
    simdisk_init(&s, 1);
    s.same_dir = true;
    ck_assert_int_eq(simdisk_import(&s, DISK_SNAP, FIXTURES "/d-snapshot-gz/data/version-2"), 7);
    for (int i = 0; simdisk_nth(&s, DISK_SNAP, i) != NULL; i++) {
        size_t size;
        const char *name = simdisk_nth(&s, DISK_SNAP, i);
        void *data = simdisk_get(&s, DISK_SNAP, name, &size);
        int h = open_file(name, DISK_CREATE);
        ck_assert_int_eq(disk_write_all(d, h, data, size, 0), 0);
        d->close(d->ctx, h);
        mem_free(data);
    }
    simdisk_close(&s);
    struct recovery_options ro = usual_options();
    struct recovery_result r = recover_list(d, &ro, &l);
    ck_assert_msg(r.status == RECOVERY_OK, "%s", r.message);
    ck_assert_int_eq(l.last, 0x37);
    ck_assert_str_eq(r.snapshot_name, "snapshot.34.gz");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("posix_disk");
    TCase *tc = tcase_create("disk");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, directories_are_made);
    tcase_add_test(tc, relative_path);
    tcase_add_test(tc, directories_are_not_made);
    tcase_add_test(tc, unusable_directories);
    tcase_add_test(tc, one_server_per_directory);
    tcase_add_test(tc, log_directory_apart);
    tcase_add_test(tc, open_modes);
    tcase_add_test(tc, pieces_and_places);
    tcase_add_test(tc, allocate_and_truncate);
    tcase_add_test(tc, names_of_files);
    tcase_add_test(tc, space_and_time);
    tcase_add_test(tc, atomic_write);
    tcase_add_test(tc, write_recover_purge);
    tcase_add_test(tc, java_directory);
    tcase_set_timeout(tc, 120);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
