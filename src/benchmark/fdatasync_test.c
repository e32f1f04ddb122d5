#include "benchmark/fdatasync_test.h"

#include <stdio.h>
#include <string.h>

#include "benchmark/clock.h"
#include "benchmark/result.h"
#include "benchmark/sync_file.h"

static int measure(const struct options *opt, struct sync_file *f, struct result *r) {
    int err = 0;
    int64_t start_ns = clock_ns(), now_ns = start_ns, end_ns = start_ns + (int64_t)(opt->duration_s * NS_PER_S);
    while (err == 0 && (opt->duration_s > 0 ? now_ns < end_ns : r->ops < opt->requests)) {
        int64_t before_ns = clock_ns();
        err = sync_file_append(f);
        now_ns = clock_ns();
        histogram_add(&r->latency, (uint64_t)(now_ns - before_ns));
        r->ops += err == 0;
    }
    r->wall_ns = now_ns - start_ns;
    r->complete = err == 0;
    return err;
}

int fdatasync_test_run(const struct options *opt) {
    struct sync_file file;
    int err = sync_file_open(&file, opt->fdatasync_dir, opt->data_bytes);
    if (err != 0) {
        fprintf(stderr, "zabra-benchmark: no file can be made in %s: %s\n", opt->fdatasync_dir, strerror(err));
        return 1;
    }
    struct report *report = report_new(opt);
    struct result *r = result_new("fdatasync", "writes");
    r->client_cpu_ns = clock_own_cpu_ns();
    err = measure(opt, &file, r);
    r->client_cpu_ns = clock_own_cpu_ns() - r->client_cpu_ns;
    sync_file_close(&file);
    report_add(report, r);
    report_end(report, err != 0);
    if (err != 0)
        fprintf(stderr, "zabra-benchmark: writing in %s: %s\n", opt->fdatasync_dir, strerror(err));
    return err != 0;
}
