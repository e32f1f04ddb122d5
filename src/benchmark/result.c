#include "benchmark/result.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "benchmark/clock.h"

struct report {
    const struct options *opt;
    struct buf json; /* the results so far */
    size_t count;
};

struct result *result_new(const char *name, const char *unit) {
    struct result *r = mem_calloc(1, sizeof *r);
    r->name = name;
    r->unit = unit;
    histogram_reset(&r->latency);
    histogram_reset(&r->reads);
    histogram_reset(&r->writes);
    return r;
}

static bool read_server(struct bench *b, struct procstat *stat) {
    if (b->opt->server_pids == NULL)
        return false;
    if (procstat_read(b->opt->server_pids, stat))
        return true;
    bench_wrong(b, "--server-pid %s: no such process, or /proc cannot be read", b->opt->server_pids);
    return false;
}

void result_start(struct bench *b, struct result *r) {
    r->has_server = read_server(b, &r->server_before);
    r->client_cpu_ns = clock_own_cpu_ns();
    r->wall_ns = clock_ns();
}

void result_end(struct bench *b, struct result *r) {
    r->wall_ns = clock_ns() - r->wall_ns;
    r->client_cpu_ns = clock_own_cpu_ns() - r->client_cpu_ns;
    r->has_server = r->has_server && read_server(b, &r->server_after);
}

void result_resident(struct bench *b, struct result *r) {
    struct procstat now;
    if (r->has_server && read_server(b, &now))
        r->server_after.resident_bytes = now.resident_bytes;
}

void result_extra(struct result *r, const char *name, double value) {
    zassert(r->extra_count < RESULT_EXTRAS);
    r->extras[r->extra_count].name = name;
    r->extras[r->extra_count].value = value;
    r->extra_count++;
}

/* ---- derived figures ---- */

static double seconds(const struct result *r) { return (double)r->wall_ns / NS_PER_S; }
static double rate(const struct result *r) { return r->wall_ns ? (double)r->ops / seconds(r) : 0; }
static double mean_ms(const struct histogram *h) {
    return h->count ? (double)h->sum / (double)h->count / NS_PER_MS : 0;
}
static double quantile_ms(const struct histogram *h, double q) { return (double)histogram_quantile(h, q) / NS_PER_MS; }
static double max_ms(const struct histogram *h) { return (double)h->max / NS_PER_MS; }
static double server_cpu_us(const struct result *r) {
    return (double)procstat_cpu_ns(&r->server_before, &r->server_after) / NS_PER_US;
}
static double server_cpu_us_per_op(const struct result *r) { return r->ops ? server_cpu_us(r) / (double)r->ops : 0; }
static double client_busy(const struct result *r) {
    return r->wall_ns ? (double)r->client_cpu_ns / (double)r->wall_ns : 0;
}
static double megabytes(int64_t bytes) { return (double)bytes / 1e6; }

/* ---- text ---- */

static void print_latency(const char *what, const struct histogram *h) {
    printf("  %s (ms): mean %.3f, p50 %.3f, p95 %.3f, p99 %.3f, p99.9 %.3f, max %.3f\n", what, mean_ms(h),
           quantile_ms(h, 0.5), quantile_ms(h, 0.95), quantile_ms(h, 0.99), quantile_ms(h, 0.999), max_ms(h));
}

static void print_quiet(const struct result *r) {
    printf("%s: %.2f %s per second", r->name, rate(r), r->unit);
    if (r->latency.count)
        printf(", p50=%.3f ms", quantile_ms(&r->latency, 0.5));
    if (r->has_server)
        printf(", server CPU %.2f us each", server_cpu_us_per_op(r));
    if (r->errors)
        printf(", %" PRIu64 " ERRORS", r->errors);
    printf("%s\n", r->complete ? "" : " (not complete)");
}

static void print_text(const struct options *opt, const struct result *r) {
    printf("====== %s ======\n", r->name);
    printf("  %" PRIu64 " %s in %.3f seconds%s, %" PRIu64 " errors\n", r->ops, r->unit, seconds(r),
           r->complete ? "" : " (not complete)", r->errors);
    printf("  %" PRIu64 " connections, %" PRIu64 " outstanding each, %" PRIu64 " bytes of data\n", r->clients,
           opt->pipeline, opt->data_bytes);
    printf("  throughput: %.2f %s per second\n", rate(r), r->unit);
    if (r->latency.count)
        print_latency("latency", &r->latency);
    if (r->split && r->reads.count)
        print_latency("reads", &r->reads);
    if (r->split && r->writes.count)
        print_latency("writes", &r->writes);
    for (size_t i = 0; i < r->extra_count; i++)
        printf("  %s: %.6g\n", r->extras[i].name, r->extras[i].value);
    if (r->has_server)
        printf("  server: %.2f us of CPU each (%.0f %% of one CPU), resident %.1f MB, was %.1f MB\n",
               server_cpu_us_per_op(r), 100 * server_cpu_us(r) * NS_PER_US / (double)r->wall_ns,
               megabytes(r->server_after.resident_bytes), megabytes(r->server_before.resident_bytes));
    printf("  this client: %.0f %% of one CPU\n\n", 100 * client_busy(r));
}

/* ---- CSV ---- */

static void print_csv_header(void) {
    printf("test,clients,ops,errors,seconds,ops_per_second,mean_ms,p50_ms,p95_ms,p99_ms,p999_ms,max_ms,"
           "server_cpu_us_per_op,server_rss_before,server_rss_after,client_busy,complete\n");
}

static void print_csv(const struct result *r) {
    printf("%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.6f,%.2f,%.6f,%.6f,%.6f,%.6f,%.6f,%.6f,", r->name, r->clients,
           r->ops, r->errors, seconds(r), rate(r), mean_ms(&r->latency), quantile_ms(&r->latency, 0.5),
           quantile_ms(&r->latency, 0.95), quantile_ms(&r->latency, 0.99), quantile_ms(&r->latency, 0.999),
           max_ms(&r->latency));
    if (r->has_server)
        printf("%.4f,%" PRId64 ",%" PRId64, server_cpu_us_per_op(r), r->server_before.resident_bytes,
               r->server_after.resident_bytes);
    else
        printf(",,");
    printf(",%.4f,%d\n", client_busy(r), r->complete);
}

/* ---- JSON ---- */

static void json_latency(struct buf *out, const char *name, const struct histogram *h) {
    buf_printf(out,
               ", \"%s\": {\"count\": %" PRIu64
               ", \"mean_ms\": %.6f, \"p50_ms\": %.6f, \"p95_ms\": %.6f, \"p99_ms\": %.6f"
               ", \"p999_ms\": %.6f, \"max_ms\": %.6f}",
               name, h->count, mean_ms(h), quantile_ms(h, 0.5), quantile_ms(h, 0.95), quantile_ms(h, 0.99),
               quantile_ms(h, 0.999), max_ms(h));
}

static void json_result(struct buf *out, const struct result *r) {
    buf_printf(out,
               "{\"test\": \"%s\", \"complete\": %s, \"clients\": %" PRIu64 ", \"ops\": %" PRIu64
               ", \"errors\": %" PRIu64 ", \"seconds\": %.6f, \"ops_per_second\": %.2f, \"client_busy\": %.4f",
               r->name, r->complete ? "true" : "false", r->clients, r->ops, r->errors, seconds(r), rate(r),
               client_busy(r));
    json_latency(out, "latency", &r->latency);
    if (r->split) {
        json_latency(out, "reads", &r->reads);
        json_latency(out, "writes", &r->writes);
    }
    for (size_t i = 0; i < r->extra_count; i++)
        buf_printf(out, ", \"%s\": %.15g", r->extras[i].name, r->extras[i].value);
    if (r->has_server)
        buf_printf(out,
                   ", \"server_cpu_us\": %.3f, \"server_cpu_us_per_op\": %.4f, \"server_rss_before\": %" PRId64
                   ", \"server_rss_after\": %" PRId64,
                   server_cpu_us(r), server_cpu_us_per_op(r), r->server_before.resident_bytes,
                   r->server_after.resident_bytes);
    buf_printf(out, "}");
}

/* ---- the report ---- */

struct report *report_new(const struct options *opt) {
    struct report *report = mem_calloc(1, sizeof *report);
    report->opt = opt;
    if (opt->csv)
        print_csv_header();
    return report;
}

void report_add(struct report *report, struct result *r) {
    if (report->opt->json) {
        buf_printf(&report->json, "%s\n    ", report->count ? "," : "");
        json_result(&report->json, r);
    } else if (report->opt->csv)
        print_csv(r);
    else if (report->opt->quiet)
        print_quiet(r);
    else
        print_text(report->opt, r);
    fflush(stdout);
    report->count++;
    mem_free(r);
}

void report_end(struct report *report, uint64_t wrong) {
    const struct options *opt = report->opt;
    if (opt->json)
        printf("{\"clients\": %" PRIu64 ", \"pipeline\": %" PRIu64 ", \"data_bytes\": %" PRIu64
               ", \"keyspace\": %" PRIu64 ", \"rate\": %.15g, \"wrong\": %" PRIu64 ", \"tests\": [%.*s%s]}\n",
               opt->clients, opt->pipeline, opt->data_bytes, opt->keyspace, opt->rate, wrong, (int)report->json.len,
               report->json.data ? (const char *)report->json.data : "", report->count ? "\n" : "");
    fflush(stdout);
    buf_free(&report->json);
    mem_free(report);
}
