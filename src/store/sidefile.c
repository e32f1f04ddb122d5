#include "store/sidefile.h"

#include <errno.h>
#include <zlib.h>

#include "base/log.h"
#include "wire/jute.h"

#define SLOT_COUNT 2
#define SLOT_DISTANCE 4096 /* a page each: no write of one can tear the other */
#define SLOT_MAGIC 0x5a53594eu /* "ZSYN" */
#define SLOT_VERSION 1

/* int magic, int version, long sequence, long zxid of the log's name, long offset, long last zxid, int flags, int CRC-32 of
 * all before */
#define SLOT_BYTES 48
#define FLAG_ORDERLY 1

static uint32_t slot_crc(const uint8_t *slot) { return (uint32_t)crc32_z(0, slot, SLOT_BYTES - 4); }

static void slot_store(uint8_t *slot, uint64_t sequence, const struct synced_position *position) {
    uint8_t *p = be32_store(slot, SLOT_MAGIC);
    p = be32_store(p, SLOT_VERSION);
    p = be64_store(p, sequence);
    p = be64_store(p, (uint64_t)position->log_zxid);
    p = be64_store(p, (uint64_t)position->offset);
    p = be64_store(p, (uint64_t)position->zxid);
    p = be32_store(p, position->orderly ? FLAG_ORDERLY : 0);
    be32_store(p, slot_crc(slot));
}

static bool slot_load(const uint8_t *slot, uint64_t *sequence, struct synced_position *position) {
    if (be32_load(slot) != SLOT_MAGIC || be32_load(slot + 4) != SLOT_VERSION ||
        be32_load(slot + SLOT_BYTES - 4) != slot_crc(slot))
        return false;
    *sequence = be64_load(slot + 8);
    *position = (struct synced_position){
        .known = true,
        .log_zxid = (zxid_t)be64_load(slot + 16),
        .offset = (int64_t)be64_load(slot + 24),
        .zxid = (zxid_t)be64_load(slot + 32),
        .orderly = (be32_load(slot + 40) & FLAG_ORDERLY) != 0,
    };
    return true;
}

/* The newest valid slot; sequence 0 and known = false if there is none. */
static int read_slots(const struct disk *d, int handle, uint64_t *sequence, struct synced_position *position) {
    *sequence = 0;
    *position = (struct synced_position){.known = false};
    for (int i = 0; i < SLOT_COUNT; i++) {
        uint8_t slot[SLOT_BYTES];
        uint64_t found;
        struct synced_position candidate;
        ssize_t n = disk_read_full(d, handle, slot, sizeof slot, (int64_t)i * SLOT_DISTANCE);
        if (n < 0)
            return (int)n;
        if (n == SLOT_BYTES && slot_load(slot, &found, &candidate) && found > *sequence) {
            *sequence = found;
            *position = candidate;
        }
    }
    return 0;
}

int synced_position_read(const struct disk *d, struct synced_position *out) {
    *out = (struct synced_position){.known = false};
    int handle = d->open(d->ctx, DISK_LOG, SIDE_FILE_NAME, DISK_READ);
    if (handle == -ENOENT)
        return 0;
    if (handle < 0)
        return handle;
    uint64_t sequence;
    int err = read_slots(d, handle, &sequence, out);
    d->close(d->ctx, handle);
    return err;
}

/* Both slots are written once, so that noting a position later needs no new block on a full disk. */
static int create(struct side_file *s) {
    static const uint8_t zeros[SLOT_COUNT * SLOT_DISTANCE];
    const struct disk *d = s->disk;
    s->handle = d->open(d->ctx, DISK_LOG, SIDE_FILE_NAME, DISK_CREATE);
    if (s->handle < 0)
        return s->handle;
    s->sequence = 0;
    int err = disk_write_all(d, s->handle, zeros, sizeof zeros, 0);
    if (err == 0)
        err = disk_fsync(d, s->handle);
    return err != 0 ? err : disk_sync_dir(d, DISK_LOG);
}

int side_file_open(struct side_file *s, const struct disk *d) {
    struct synced_position position;
    int err;
    s->disk = d;
    s->handle = d->open(d->ctx, DISK_LOG, SIDE_FILE_NAME, DISK_READWRITE);
    if (s->handle == -ENOENT)
        err = create(s);
    else
        err = s->handle < 0 ? s->handle : read_slots(d, s->handle, &s->sequence, &position);
    if (err != 0)
        side_file_close(s);
    return err;
}

int side_file_note(struct side_file *s, const struct synced_position *position, bool durable) {
    uint8_t slot[SLOT_BYTES];
    zassert(s->handle >= 0);
    slot_store(slot, ++s->sequence, position);
    int64_t offset = (int64_t)(s->sequence % SLOT_COUNT) * SLOT_DISTANCE;
    int err = disk_write_all(s->disk, s->handle, slot, sizeof slot, offset);
    if (err == 0 && durable)
        err = disk_fsync(s->disk, s->handle);
    if (err != 0)
        s->sequence--; /* the next try goes to the same slot again: the other one is still good */
    return err;
}

void side_file_close(struct side_file *s) {
    if (s->handle >= 0)
        s->disk->close(s->disk->ctx, s->handle);
    s->handle = -1;
}
