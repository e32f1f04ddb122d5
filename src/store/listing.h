/* What stands in a directory, as far as its names concern us. */
#ifndef ZABRA_STORE_LISTING_H
#define ZABRA_STORE_LISTING_H

#include "store/disk.h"
#include "store/names.h"

struct store_file {
    zxid_t zxid;
    int64_t size;
    char *name; /* may be longer than any of our own */
};

struct store_files {
    struct store_file *items; /* by ascending zxid, then by name */
    int count, cap;
};

/* The files of the directory whose names have this prefix and a zxid; with prefix NULL all files, each with zxid -1. 0 or
 * a negative errno. */
int store_files_list(const struct disk *d, enum disk_dir dir, const char *prefix, struct store_files *out);
void store_files_free(struct store_files *files);
/* NULL if there is none. */
const struct store_file *store_files_find(const struct store_files *files, const char *name);

/* True if the log holds at least one entry, intact or not: more than a header and zeros. err gets a negative errno. */
bool store_log_has_entries(const struct disk *d, const char *name, int *err);

#endif
