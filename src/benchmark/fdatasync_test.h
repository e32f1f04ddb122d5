/* What the disk alone costs per durable write: append, fdatasync, again. */
#ifndef ZABRA_BENCHMARK_FDATASYNC_TEST_H
#define ZABRA_BENCHMARK_FDATASYNC_TEST_H

#include "benchmark/options.h"

/* Appends records of opt->data_bytes to a preallocated file in opt->fdatasync_dir, opt->requests times or for
 * opt->duration_s, each followed by fdatasync, and reports it like a test. Returns the exit status. */
int fdatasync_test_run(const struct options *opt);

#endif
