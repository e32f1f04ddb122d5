/* A file as a log: records are appended to it, each with an fdatasync. */
#ifndef ZABRA_BENCHMARK_SYNC_FILE_H
#define ZABRA_BENCHMARK_SYNC_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct sync_file {
    int fd;
    uint8_t *record;
    size_t len; /* of record */
    off_t offset;
};

/* Makes a preallocated file without a name in dir, for records of len bytes, at least one. Returns 0 or an errno, and then
 * there is nothing to close. */
int sync_file_open(struct sync_file *f, const char *dir, size_t len);
/* Appends a record and syncs; begins again at the start when the file is full. Returns 0 or an errno. */
int sync_file_append(struct sync_file *f);
void sync_file_close(struct sync_file *f);

#endif
