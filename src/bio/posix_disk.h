/* struct disk over the real system calls. */
#ifndef ZABRA_BIO_POSIX_DISK_H
#define ZABRA_BIO_POSIX_DISK_H

#include "store/disk.h"

struct posix_disk;

/* Opens <data_dir>/version-2 and <log_dir>/version-2 (log_dir NULL: as data_dir). create: missing directories are made,
 * parents included. NULL, with the reason in error, if that cannot be done or another process has them
 * open in this way. */
struct posix_disk *posix_disk_open(const char *data_dir, const char *log_dir, bool create, char *error, size_t error_size);
void posix_disk_close(struct posix_disk *p);
/* Its functions may be called from any thread. */
const struct disk *posix_disk_vtable(const struct posix_disk *p);
/* True if both are the same directory, whatever their paths look like. */
bool posix_disk_same_dir(const struct posix_disk *p);

#endif
