#include "store/epoch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/strutil.h"

int epoch_text(int64_t epoch, char out[24]) { return snprintf(out, 24, "%" PRId64, epoch); }

/* 0, -ENOENT, -EBADMSG or another negative errno. */
static int read_one(const struct disk *d, const char *name, int64_t *epoch) {
    char text[32];
    int handle = d->open(d->ctx, DISK_SNAP, name, DISK_READ);
    if (handle < 0)
        return handle;
    ssize_t n = disk_read_full(d, handle, text, sizeof text - 1, 0);
    d->close(d->ctx, handle);
    if (n < 0)
        return (int)n;
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r' || text[n - 1] == ' '))
        n--;
    text[n] = '\0';
    return str_to_i64((struct slice){text, (size_t)n}, epoch) && *epoch >= 0 && *epoch <= EPOCH_MAX ? 0 : -EBADMSG;
}

static int read_or_make(const struct disk *d, const char *name, int64_t missing, int64_t *epoch) {
    int err = read_one(d, name, epoch);
    if (err != -ENOENT)
        return err;
    char text[24];
    *epoch = missing;
    return disk_write_atomic(d, DISK_SNAP, name, text, (size_t)epoch_text(missing, text));
}

int epochs_read(const struct disk *d, zxid_t last_zxid, struct epochs *out, char *error, size_t error_size) {
    int64_t of_log = zxid_epoch(last_zxid), left;
    const char *name = EPOCH_CURRENT;
    int err = read_or_make(d, name, of_log, &out->current);
    if (err == 0) {
        name = EPOCH_ACCEPTED;
        err = read_or_make(d, name, i64_max(of_log, out->current), &out->accepted);
    }
    if (err != 0) {
        snprintf(error, error_size, "%s cannot be read: %s", name, err == -EBADMSG ? "it holds no epoch" : "disk error");
        return err;
    }
    /* A crash between the sync of the new file and its rename. */
    if (of_log > out->current && read_one(d, EPOCH_CURRENT ".tmp", &left) == 0 && left >= of_log) {
        char text[24];
        out->current = left;
        err = disk_write_atomic(d, DISK_SNAP, EPOCH_CURRENT, text, (size_t)epoch_text(left, text));
        if (err != 0) {
            snprintf(error, error_size, "%s cannot be written", EPOCH_CURRENT);
            return err;
        }
    }
    /* With the epoch accepted, this is a crash between the history of that epoch and the file that says it is complete: the
     * member goes on in the old one. Otherwise nobody knows where the transactions come from. */
    if (of_log > out->current && of_log > out->accepted) {
        snprintf(error, error_size, "The current epoch, %" PRId64 ", is older than the last zxid, 0x%" PRIx64, out->current,
                 (uint64_t)last_zxid);
        return -EBADMSG;
    }
    if (out->accepted < out->current) {
        snprintf(error, error_size, "The accepted epoch, %" PRId64 ", is less than the current epoch, %" PRId64,
                 out->accepted, out->current);
        return -EBADMSG;
    }
    return 0;
}
