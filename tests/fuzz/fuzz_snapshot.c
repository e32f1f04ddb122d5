/* Snapshots from anywhere, with every kind of compression; what parses is loaded into a tree, as at start. */
#include <errno.h>

#include "base/log.h"
#include "lib/store_db.h"
#include "lib/simdisk.h"

#define MAX_ITEM ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is not compressed is sealed here: a fuzzer does not guess checksums. */
static void put_sealed(struct simdisk *s, const uint8_t *data, size_t size) {
    int err;
    int64_t file_size;
    struct snapwriter *w = snapwriter_open(&s->disk, "snapshot.1", SNAPSHOT_PLAIN, &err);
    snapwriter_write(w, data, size);
    snapwriter_seal(w);
    snapwriter_finish(w, &file_size);
    snapwriter_close(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"snapshot.1", "snapshot.1.gz", "snapshot.1.snappy", "snapshot.1"};
    struct simdisk s;
    struct store_db db;
    struct snapshot_info info;
    if (size == 0)
        return 0;
    log_set_level(LOG_LEVEL_OFF);
    simdisk_init(&s, size);
    s.same_dir = true;
    const char *name = names[data[0] % 4];
    if (data[0] % 4 == 3)
        put_sealed(&s, data + 1, size - 1);
    else
        simdisk_put(&s, DISK_SNAP, name, data + 1, size - 1);
    store_db_init(&db);
    db.sink.reset(&db, (int64_t)size);
    int err = snapshot_load(&s.disk, name, &db.sink.snapshot, MAX_ITEM, &info);
    zassert(err == 0 || (err == -EBADMSG && info.error[0] != '\0'));
    if (err == 0)
        db.sink.snapshot_done(&db, 1, &info);
    int look_err;
    snapshot_looks_valid(&s.disk, name, &look_err);
    store_db_close(&db);
    simdisk_close(&s);
    return 0;
}
