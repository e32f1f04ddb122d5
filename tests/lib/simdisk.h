/* A disk in memory, with everything that real ones do to us: it forgets what was not synced, it fills up, it fails, it is
 * slow. One struct simdisk per server.
 *
 * What is durable: a file's content up to its last successful fsync or fdatasync, a directory entry up to the last
 * sync_dir. A crash keeps of the rest any subset: single sectors of 512 bytes, single creates, renames and unlinks; a
 * changed file size is kept, dropped, or (when the file grew) anything between. After a failed sync the data that it should
 * have written is in the cache as before but no later sync writes it, as on Linux. */
#ifndef ZABRA_TESTS_SIMDISK_H
#define ZABRA_TESTS_SIMDISK_H

#include "base/rng.h"
#include "store/disk.h"

#define SIMDISK_SECTOR 512

enum simdisk_op {
    SIMDISK_OPEN,
    SIMDISK_CLOSE,
    SIMDISK_READ,
    SIMDISK_WRITE,
    SIMDISK_SYNC, /* fsync and fdatasync */
    SIMDISK_ALLOCATE,
    SIMDISK_TRUNCATE,
    SIMDISK_SIZE,
    SIMDISK_RENAME,
    SIMDISK_UNLINK,
    SIMDISK_SYNC_DIR,
    SIMDISK_LIST,
    SIMDISK_FREE_BYTES,
    SIMDISK_OP_COUNT
};

#define SIMDISK_BIT(op) (1u << (op))
#define SIMDISK_ALL_OPS ((1u << SIMDISK_OP_COUNT) - 1)
/* Those that change something. */
#define SIMDISK_CHANGES                                                                                                \
    (SIMDISK_BIT(SIMDISK_OPEN) | SIMDISK_BIT(SIMDISK_WRITE) | SIMDISK_BIT(SIMDISK_SYNC) | SIMDISK_BIT(SIMDISK_ALLOCATE) | \
     SIMDISK_BIT(SIMDISK_TRUNCATE) | SIMDISK_BIT(SIMDISK_RENAME) | SIMDISK_BIT(SIMDISK_UNLINK) |                      \
     SIMDISK_BIT(SIMDISK_SYNC_DIR))

struct simdisk_inode;
struct simdisk_name;
struct simdisk_change;

struct simdisk {
    struct disk disk; /* hand this to the code under test; do not move the struct */

    /* May be set at any time. */
    bool same_dir;         /* DISK_SNAP and DISK_LOG are one directory */
    int64_t capacity;      /* bytes that all files may take up; 0 = no limit */
    int64_t clock_us;      /* what clock_us tells; moves by latency only */
    struct rng rng;        /* for short writes and the fate of a failed sync */
    bool short_writes;     /* writes and reads take only part of what is offered, now and then */
    unsigned counted_ops;  /* which operations calls counts; all at first */

    /* Faults. The call with number fail_at (1 = the next one after setting calls to 0) fails with fail_errno (negative), and
     * with fail_forever all later ones of the counted kind. 0 = never. At call crash_at nothing happens any more: it and all
     * later calls return -ESHUTDOWN, until simdisk_crash. */
    uint64_t calls;
    uint64_t fail_at;
    int fail_errno;
    bool fail_forever;
    uint64_t crash_at;
    bool dead;

    /* Called before each call is carried out; may advance clock_us, set dead, and so on. NULL = nothing. */
    void (*on_call)(void *ctx, struct simdisk *s, enum simdisk_op op, int64_t bytes);
    void *on_call_ctx;

    /* inside */
    struct simdisk_inode **inodes;
    int inode_count;
    struct simdisk_name *names;
    int name_count;
    struct simdisk_change *changes; /* of directories, not synced yet, in order */
    int change_count;
    int *handles; /* index of the inode, or -1 */
    int handle_count;
};

void simdisk_init(struct simdisk *s, uint64_t seed);
void simdisk_close(struct simdisk *s);
/* Power loss: what is not durable is kept or lost at random. Handles are gone; faults and the crash mark are cleared. */
void simdisk_crash(struct simdisk *s, uint64_t seed);
/* The process dies, the machine goes on: nothing is lost but the handles. Clears as simdisk_crash. */
void simdisk_kill(struct simdisk *s);
void simdisk_clear_faults(struct simdisk *s);
/* From now on, in place of other faults: the nth of these operations (SIMDISK_BIT) fails; it and all later ones; or there the
 * machine crashes. */
void simdisk_fail(struct simdisk *s, unsigned ops, uint64_t nth, int err);
void simdisk_fail_forever(struct simdisk *s, unsigned ops, uint64_t nth, int err);
void simdisk_crash_at(struct simdisk *s, unsigned ops, uint64_t nth);

/* For tests: straight access, not counted, never failing. */
/* Creates or replaces a file, durably. */
void simdisk_put(struct simdisk *s, enum disk_dir dir, const char *name, const void *data, size_t size);
/* A copy of the content as it is now (not only what is durable), to be freed with mem_free; NULL if there is no such file. */
void *simdisk_get(const struct simdisk *s, enum disk_dir dir, const char *name, size_t *size);
bool simdisk_exists(const struct simdisk *s, enum disk_dir dir, const char *name);
/* Removes all files, durably. */
void simdisk_clear(struct simdisk *s);
/* Makes everything durable that is there. */
void simdisk_sync_all(struct simdisk *s);
/* The n-th file name (n from 0) of a directory by alphabet, or NULL. */
const char *simdisk_nth(const struct simdisk *s, enum disk_dir dir, int n);
int64_t simdisk_used(const struct simdisk *s);
/* Copies the regular files of a real directory into dir, durably. The number of files, or -1 with errno set. */
int simdisk_import(struct simdisk *s, enum disk_dir dir, const char *path);

#endif
