#include "benchmark/fdatasync_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "benchmark/clock.h"
#include "benchmark/request.h"
#include "benchmark/result.h"

/* As much as ZooKeeper's log reserves at a time; the file is written again from its start when it is full. */
#define FILE_BYTES (64 << 20)

static int open_file(const char *dir) {
    struct buf path = BUF_INIT;
    buf_printf(&path, "%s/zabra-benchmark-XXXXXX", dir);
    buf_append(&path, "", 1);
    int fd = mkostemp((char *)path.data, O_CLOEXEC);
    if (fd != -1)
        unlink((char *)path.data);
    buf_free(&path);
    return fd;
}

/* Returns 0 or an errno. */
static int append_and_sync(int fd, const uint8_t *record, size_t len, off_t offset) {
    ssize_t n = pwrite(fd, record, len, offset);
    if (n == -1)
        return errno;
    if ((size_t)n != len)
        return ENOSPC;
    return fdatasync(fd) == -1 ? errno : 0;
}

static int measure(const struct options *opt, int fd, struct result *r) {
    size_t len = opt->data_bytes ? opt->data_bytes : 1;
    uint8_t *record = mem_alloc(len);
    request_pattern(record, len);
    int err = posix_fallocate(fd, 0, FILE_BYTES);
    int64_t start_ns = clock_ns(), now_ns = start_ns, end_ns = start_ns + (int64_t)(opt->duration_s * NS_PER_S);
    off_t offset = 0;
    while (err == 0 && (opt->duration_s > 0 ? now_ns < end_ns : r->ops < opt->requests)) {
        int64_t before_ns = clock_ns();
        err = append_and_sync(fd, record, len, offset);
        now_ns = clock_ns();
        histogram_add(&r->latency, (uint64_t)(now_ns - before_ns));
        r->ops += err == 0;
        offset = offset + 2 * (off_t)len > FILE_BYTES ? 0 : offset + (off_t)len;
    }
    r->wall_ns = now_ns - start_ns;
    r->complete = err == 0;
    mem_free(record);
    return err;
}

int fdatasync_test_run(const struct options *opt) {
    int fd = open_file(opt->fdatasync_dir);
    if (fd == -1) {
        fprintf(stderr, "zabra-benchmark: no file can be made in %s: %s\n", opt->fdatasync_dir, strerror(errno));
        return 1;
    }
    struct report *report = report_new(opt);
    struct result *r = result_new("fdatasync", "writes");
    r->client_cpu_ns = clock_own_cpu_ns();
    int err = measure(opt, fd, r);
    r->client_cpu_ns = clock_own_cpu_ns() - r->client_cpu_ns;
    close(fd);
    report_add(report, r);
    report_end(report, err != 0);
    if (err != 0)
        fprintf(stderr, "zabra-benchmark: writing in %s: %s\n", opt->fdatasync_dir, strerror(err));
    return err != 0;
}
