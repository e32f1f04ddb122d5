#include "lib/simdisk.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"

/* ------------------------------------------------------------------ files */

enum sector_state {
    CLEAN,
    DIRTY, /* now differs from disk (or may) and the next sync writes it */
    LOST,  /* a sync of it failed: in the cache, but no sync writes it any more */
};

struct sector {
    enum sector_state state;
    uint8_t now[SIMDISK_SECTOR], disk[SIMDISK_SECTOR];
};

/* A sector that has its block but was never written. */
static struct sector reserved;

struct simdisk_inode {
    struct sector **sectors; /* NULL = a hole */
    size_t count;
    int64_t size, disk_size;
    int64_t low_size; /* smallest size since the last sync */
    int links;        /* names, durable or not, and pending changes that mention it */
    int open;
};

struct simdisk_name {
    enum disk_dir dir;
    char *name;
    int inode, disk_inode; /* -1 = no such entry */
};

struct simdisk_change {
    enum disk_dir dir;
    char *from, *to; /* create: from NULL; unlink: to NULL */
    int inode;
};

static size_t sectors_for(int64_t size) { return (size_t)((size + SIMDISK_SECTOR - 1) / SIMDISK_SECTOR); }

static void inode_grow(struct simdisk_inode *f, size_t count) {
    if (count <= f->count)
        return;
    f->sectors = mem_realloc(f->sectors, count * sizeof(struct sector *));
    memset(f->sectors + f->count, 0, (count - f->count) * sizeof(struct sector *));
    f->count = count;
}

static struct sector *sector_for_write(struct simdisk_inode *f, size_t i) {
    if (f->sectors[i] == NULL || f->sectors[i] == &reserved)
        f->sectors[i] = mem_calloc(1, sizeof(struct sector));
    f->sectors[i]->state = DIRTY;
    return f->sectors[i];
}

static void sector_free(struct simdisk_inode *f, size_t i) {
    if (f->sectors[i] != &reserved)
        mem_free(f->sectors[i]);
    f->sectors[i] = NULL;
}

static void inode_free(struct simdisk_inode *f) {
    for (size_t i = 0; i < f->count; i++)
        sector_free(f, i);
    mem_free(f->sectors);
    mem_free(f);
}

static bool has_block(const struct simdisk_inode *f, size_t i) {
    return i < f->count && i < sectors_for(f->size) && f->sectors[i] != NULL;
}

static int64_t inode_used(const struct simdisk_inode *f) {
    int64_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        n += has_block(f, i);
    return n * SIMDISK_SECTOR;
}

int64_t simdisk_used(const struct simdisk *s) {
    int64_t used = 0;
    for (int i = 0; i < s->inode_count; i++)
        if (s->inodes[i] != NULL)
            used += inode_used(s->inodes[i]);
    return used;
}

static void inode_read(const struct simdisk_inode *f, uint8_t *out, size_t size, int64_t offset) {
    while (size > 0) {
        size_t i = (size_t)(offset / SIMDISK_SECTOR), at = (size_t)(offset % SIMDISK_SECTOR);
        size_t n = size_min(size, SIMDISK_SECTOR - at);
        const struct sector *sector = i < f->count ? f->sectors[i] : NULL;
        if (sector != NULL)
            memcpy(out, sector->now + at, n);
        else
            memset(out, 0, n);
        out += n;
        size -= n;
        offset += (int64_t)n;
    }
}

static void inode_write(struct simdisk_inode *f, const uint8_t *data, size_t size, int64_t offset) {
    inode_grow(f, sectors_for(offset + (int64_t)size));
    f->size = i64_max(f->size, offset + (int64_t)size);
    while (size > 0) {
        size_t i = (size_t)(offset / SIMDISK_SECTOR), at = (size_t)(offset % SIMDISK_SECTOR);
        size_t n = size_min(size, SIMDISK_SECTOR - at);
        memcpy(sector_for_write(f, i)->now + at, data, n);
        data += n;
        size -= n;
        offset += (int64_t)n;
    }
}

/* Sectors that are cut off stay in memory with their durable content, in case a crash undoes the cut. */
static void inode_truncate(struct simdisk_inode *f, int64_t size) {
    for (size_t i = (size_t)(size / SIMDISK_SECTOR); i < f->count; i++) {
        struct sector *sector = f->sectors[i];
        size_t at = (int64_t)i * SIMDISK_SECTOR < size ? (size_t)(size % SIMDISK_SECTOR) : 0;
        if (sector == &reserved) {
            f->sectors[i] = at == 0 ? NULL : sector;
        } else if (sector != NULL) {
            memset(sector->now + at, 0, SIMDISK_SECTOR - at);
            sector->state = DIRTY;
        }
    }
    f->size = size;
    f->low_size = i64_min(f->low_size, size);
}

static void inode_sync(struct simdisk_inode *f) {
    for (size_t i = 0; i < f->count; i++) {
        struct sector *sector = f->sectors[i];
        if (sector == NULL || sector == &reserved)
            continue;
        if ((int64_t)i * SIMDISK_SECTOR >= f->size) {
            sector_free(f, i);
        } else if (sector->state == DIRTY) {
            memcpy(sector->disk, sector->now, SIMDISK_SECTOR);
            sector->state = CLEAN;
        }
    }
    f->disk_size = f->low_size = f->size;
}

static void inode_sync_failed(struct simdisk *s, struct simdisk_inode *f) {
    for (size_t i = 0; i < f->count; i++) {
        struct sector *sector = f->sectors[i];
        if (sector == NULL || sector == &reserved || sector->state != DIRTY)
            continue;
        if (rng_below(&s->rng, 2) == 0)
            memcpy(sector->disk, sector->now, SIMDISK_SECTOR);
        sector->state = LOST;
    }
}

/* A size between that of the disk and that of the cache. */
static int64_t crashed_size(int64_t from, int64_t to, struct rng *rng) {
    uint64_t choice = rng_below(rng, 3);
    if (choice < 2 || to <= from)
        return choice == 0 ? from : to;
    int64_t grown = from + (int64_t)rng_below(rng, (uint64_t)(to - from) + 1);
    return i64_max(from, grown - grown % SIMDISK_SECTOR);
}

static void inode_crash(struct simdisk_inode *f, struct rng *rng) {
    /* A file that was cut and written again: either the cut is undone with all behind it, or what was cut off is gone and
     * old data does not come back. */
    bool was_cut = f->low_size < f->disk_size, undone = was_cut && rng_below(rng, 2) == 0;
    int64_t size = undone ? f->disk_size : crashed_size(i64_min(f->low_size, f->disk_size), f->size, rng);
    for (size_t i = 0; i < f->count; i++) {
        struct sector *sector = f->sectors[i];
        if (sector == NULL || sector == &reserved)
            continue;
        int64_t start = (int64_t)i * SIMDISK_SECTOR;
        bool behind_cut = was_cut && start + SIMDISK_SECTOR > f->low_size;
        bool kept = sector->state == DIRTY && !(undone && behind_cut) && rng_below(rng, 2) == 0;
        if (sector->state != CLEAN && !kept)
            memcpy(sector->now, sector->disk, SIMDISK_SECTOR);
        if (sector->state != CLEAN && !kept && behind_cut && !undone) {
            size_t at = (size_t)i64_max(f->low_size - start, 0);
            memset(sector->now + at, 0, SIMDISK_SECTOR - at);
        }
    }
    f->size = size;
    inode_grow(f, sectors_for(size));
    struct sector *last = size % SIMDISK_SECTOR != 0 ? f->sectors[size / SIMDISK_SECTOR] : NULL;
    if (last != NULL && last != &reserved)
        memset(last->now + size % SIMDISK_SECTOR, 0, (size_t)(SIMDISK_SECTOR - size % SIMDISK_SECTOR));
    for (size_t i = 0; i < f->count; i++)
        if (f->sectors[i] != NULL && f->sectors[i] != &reserved)
            f->sectors[i]->state = DIRTY;
    inode_sync(f);
}

/* ------------------------------------------------------------------ directories */

static enum disk_dir real_dir(const struct simdisk *s, enum disk_dir dir) { return s->same_dir ? DISK_SNAP : dir; }

static struct simdisk_name *find_name(const struct simdisk *s, enum disk_dir dir, const char *name) {
    for (int i = 0; i < s->name_count; i++)
        if (s->names[i].dir == real_dir(s, dir) && strcmp(s->names[i].name, name) == 0)
            return &s->names[i];
    return NULL;
}

static struct simdisk_name *make_name(struct simdisk *s, enum disk_dir dir, const char *name) {
    struct simdisk_name *n = find_name(s, dir, name);
    if (n != NULL)
        return n;
    s->names = mem_realloc(s->names, (size_t)(s->name_count + 1) * sizeof *s->names);
    n = &s->names[s->name_count++];
    *n = (struct simdisk_name){real_dir(s, dir), mem_strdup(name), -1, -1};
    return n;
}

static int inode_of(const struct simdisk *s, enum disk_dir dir, const char *name) {
    const struct simdisk_name *n = find_name(s, dir, name);
    return n != NULL ? n->inode : -1;
}

/* Frees the inodes that nothing refers to any more. */
static void collect(struct simdisk *s) {
    for (int i = 0; i < s->inode_count; i++)
        if (s->inodes[i] != NULL)
            s->inodes[i]->links = 0;
    for (int i = 0; i < s->name_count; i++) {
        if (s->names[i].inode >= 0)
            s->inodes[s->names[i].inode]->links++;
        if (s->names[i].disk_inode >= 0)
            s->inodes[s->names[i].disk_inode]->links++;
    }
    for (int i = 0; i < s->change_count; i++)
        if (s->changes[i].inode >= 0)
            s->inodes[s->changes[i].inode]->links++;
    for (int i = 0; i < s->inode_count; i++) {
        if (s->inodes[i] != NULL && s->inodes[i]->links == 0 && s->inodes[i]->open == 0) {
            inode_free(s->inodes[i]);
            s->inodes[i] = NULL;
        }
    }
}

/* The space of a removed file comes back with the unlink, not with the directory sync. */
static int64_t visible_used(const struct simdisk *s) {
    int64_t used = 0;
    for (int i = 0; i < s->inode_count; i++) {
        bool visible = s->inodes[i] != NULL && s->inodes[i]->open > 0;
        for (int j = 0; j < s->name_count && !visible; j++)
            visible = s->names[j].inode == i;
        if (visible)
            used += inode_used(s->inodes[i]);
    }
    return used;
}

/* Forgets names that stand for nothing, now and after a crash. */
static void drop_names(struct simdisk *s) {
    int kept = 0;
    for (int i = 0; i < s->name_count; i++) {
        if (s->names[i].inode >= 0 || s->names[i].disk_inode >= 0)
            s->names[kept++] = s->names[i];
        else
            mem_free(s->names[i].name);
    }
    s->name_count = kept;
}

static int new_inode(struct simdisk *s) {
    int i = 0;
    while (i < s->inode_count && s->inodes[i] != NULL)
        i++;
    if (i == s->inode_count) {
        s->inodes = mem_realloc(s->inodes, (size_t)(s->inode_count + 1) * sizeof *s->inodes);
        s->inode_count++;
    }
    s->inodes[i] = mem_calloc(1, sizeof **s->inodes);
    return i;
}

static void note_change(struct simdisk *s, enum disk_dir dir, const char *from, const char *to, int inode) {
    s->changes = mem_realloc(s->changes, (size_t)(s->change_count + 1) * sizeof *s->changes);
    s->changes[s->change_count++] = (struct simdisk_change){
        real_dir(s, dir), from != NULL ? mem_strdup(from) : NULL, to != NULL ? mem_strdup(to) : NULL, inode};
}

static void forget_changes(struct simdisk *s, enum disk_dir dir, bool all) {
    int kept = 0;
    for (int i = 0; i < s->change_count; i++) {
        if (!all && s->changes[i].dir != real_dir(s, dir)) {
            s->changes[kept++] = s->changes[i];
            continue;
        }
        mem_free(s->changes[i].from);
        mem_free(s->changes[i].to);
    }
    s->change_count = kept;
}

/* ------------------------------------------------------------------ the calls */

/* 0, or the error with which the call ends before it has begun. */
static int enter(struct simdisk *s, enum simdisk_op op, int64_t bytes) {
    if (!s->dead && s->on_call != NULL)
        s->on_call(s->on_call_ctx, s, op, bytes);
    if (s->dead)
        return -ESHUTDOWN;
    if (!(s->counted_ops & SIMDISK_BIT(op)))
        return 0;
    s->calls++;
    if (s->crash_at != 0 && s->calls >= s->crash_at) {
        s->dead = true;
        return -ESHUTDOWN;
    }
    if (s->fail_at != 0 && (s->calls == s->fail_at || (s->fail_forever && s->calls > s->fail_at)))
        return s->fail_errno;
    return 0;
}

static struct simdisk_inode *inode_at(const struct simdisk *s, int handle) {
    zassert(handle >= 0 && handle < s->handle_count);
    zassert(s->handles[handle] >= 0);
    return s->inodes[s->handles[handle]];
}

static int sim_open(void *ctx, enum disk_dir dir, const char *name, enum disk_open mode) {
    struct simdisk *s = ctx;
    int err = enter(s, SIMDISK_OPEN, 0);
    if (err != 0)
        return err;
    int inode = inode_of(s, dir, name);
    if (inode < 0 && mode != DISK_CREATE)
        return -ENOENT;
    if (inode < 0) {
        inode = new_inode(s);
        make_name(s, dir, name)->inode = inode;
        note_change(s, dir, NULL, name, inode);
    } else if (mode == DISK_CREATE) {
        inode_truncate(s->inodes[inode], 0);
    }
    int handle = 0;
    while (handle < s->handle_count && s->handles[handle] >= 0)
        handle++;
    if (handle == s->handle_count) {
        s->handles = mem_realloc(s->handles, (size_t)(s->handle_count + 1) * sizeof *s->handles);
        s->handle_count++;
    }
    s->handles[handle] = inode;
    s->inodes[inode]->open++;
    return handle;
}

static int sim_close(void *ctx, int handle) {
    struct simdisk *s = ctx;
    int err = enter(s, SIMDISK_CLOSE, 0);
    inode_at(s, handle)->open--;
    s->handles[handle] = -1;
    collect(s);
    return err;
}

static ssize_t sim_pread(void *ctx, int handle, void *data, size_t size, int64_t offset) {
    struct simdisk *s = ctx;
    int err = enter(s, SIMDISK_READ, (int64_t)size);
    const struct simdisk_inode *f = inode_at(s, handle);
    if (err != 0)
        return err;
    if (offset >= f->size)
        return 0;
    size = (size_t)i64_min((int64_t)size, f->size - offset);
    if (s->short_writes && size > 1 && rng_below(&s->rng, 4) == 0)
        size = 1 + (size_t)rng_below(&s->rng, size);
    inode_read(f, data, size, offset);
    return (ssize_t)size;
}

/* How many of the bytes at offset have a block or can get one. */
static size_t room_for(const struct simdisk *s, const struct simdisk_inode *f, int64_t offset, size_t size) {
    if (s->capacity <= 0 || size == 0)
        return size;
    int64_t spare = (s->capacity - visible_used(s)) / SIMDISK_SECTOR;
    for (int64_t at = offset; at < offset + (int64_t)size;) {
        size_t i = (size_t)(at / SIMDISK_SECTOR);
        if (!has_block(f, i) && --spare < 0)
            return (size_t)(at - offset);
        at = (int64_t)(i + 1) * SIMDISK_SECTOR;
    }
    return size;
}

static ssize_t sim_pwritev(void *ctx, int handle, const struct iovec *iov, int count, int64_t offset) {
    struct simdisk *s = ctx;
    size_t size = 0, done = 0;
    for (int i = 0; i < count; i++)
        size += iov[i].iov_len;
    int err = enter(s, SIMDISK_WRITE, (int64_t)size);
    struct simdisk_inode *f = inode_at(s, handle);
    if (err != 0)
        return err;
    if (s->short_writes && size > 1 && rng_below(&s->rng, 2) == 0)
        size = 1 + (size_t)rng_below(&s->rng, size);
    size_t room = room_for(s, f, offset, size);
    if (room == 0 && size > 0)
        return -ENOSPC;
    for (int i = 0; i < count && done < room; i++) {
        size_t n = size_min(iov[i].iov_len, room - done);
        if (n > 0)
            inode_write(f, iov[i].iov_base, n, offset + (int64_t)done);
        done += n;
    }
    return (ssize_t)done;
}

static int sim_sync(void *ctx, int handle) {
    struct simdisk *s = ctx;
    int err = enter(s, SIMDISK_SYNC, 0);
    struct simdisk_inode *f = inode_at(s, handle);
    if (err == 0)
        inode_sync(f);
    else if (!s->dead)
        inode_sync_failed(s, f);
    return err;
}

static int sim_allocate(void *ctx, int handle, int64_t offset, int64_t size) {
    struct simdisk *s = ctx;
    int err = enter(s, SIMDISK_ALLOCATE, size);
    struct simdisk_inode *f = inode_at(s, handle);
    if (err != 0)
        return err;
    if (room_for(s, f, offset, (size_t)size) < (size_t)size)
        return -ENOSPC;
    inode_grow(f, sectors_for(offset + size));
    for (size_t i = (size_t)(offset / SIMDISK_SECTOR); i < sectors_for(offset + size); i++)
        if (f->sectors[i] == NULL)
            f->sectors[i] = &reserved;
    f->size = i64_max(f->size, offset + size);
    return 0;
}

static int sim_truncate(void *ctx, int handle, int64_t size) {
    struct simdisk *s = ctx;
    int err = enter(s, SIMDISK_TRUNCATE, size);
    struct simdisk_inode *f = inode_at(s, handle);
    if (err == 0)
        inode_truncate(f, size);
    return err;
}

static int64_t sim_size(void *ctx, int handle) {
    struct simdisk *s = ctx;
    int err = enter(s, SIMDISK_SIZE, 0);
    return err != 0 ? err : inode_at(s, handle)->size;
}

static int sim_rename(void *ctx, enum disk_dir dir, const char *from, const char *to) {
    struct simdisk *s = ctx;
    int err = enter(s, SIMDISK_RENAME, 0);
    if (err != 0)
        return err;
    int inode = inode_of(s, dir, from);
    if (inode < 0)
        return -ENOENT;
    find_name(s, dir, from)->inode = -1;
    make_name(s, dir, to)->inode = inode;
    note_change(s, dir, from, to, inode);
    return 0;
}

static int sim_unlink(void *ctx, enum disk_dir dir, const char *name) {
    struct simdisk *s = ctx;
    int err = enter(s, SIMDISK_UNLINK, 0);
    if (err != 0)
        return err;
    struct simdisk_name *n = find_name(s, dir, name);
    if (n == NULL || n->inode < 0)
        return -ENOENT;
    note_change(s, dir, name, NULL, n->inode);
    n->inode = -1;
    return 0;
}

static int sim_sync_dir(void *ctx, enum disk_dir dir) {
    struct simdisk *s = ctx;
    int err = enter(s, SIMDISK_SYNC_DIR, 0);
    if (err != 0)
        return err;
    for (int i = 0; i < s->name_count; i++)
        if (s->names[i].dir == real_dir(s, dir))
            s->names[i].disk_inode = s->names[i].inode;
    forget_changes(s, dir, false);
    drop_names(s);
    collect(s);
    return 0;
}

static int sim_list(void *ctx, enum disk_dir dir, disk_list_entry *entry, void *entry_ctx) {
    struct simdisk *s = ctx;
    int err = enter(s, SIMDISK_LIST, 0);
    if (err != 0)
        return err;
    for (int i = 0; i < s->name_count; i++)
        if (s->names[i].dir == real_dir(s, dir) && s->names[i].inode >= 0)
            entry(entry_ctx, s->names[i].name, s->inodes[s->names[i].inode]->size);
    return 0;
}

static int64_t sim_free_bytes(void *ctx, enum disk_dir dir) {
    struct simdisk *s = ctx;
    (void)dir;
    int err = enter(s, SIMDISK_FREE_BYTES, 0);
    if (err != 0)
        return err;
    return s->capacity <= 0 ? INT64_MAX / 2 : i64_max(s->capacity - visible_used(s), 0);
}

static int64_t sim_clock_us(void *ctx) { return ((const struct simdisk *)ctx)->clock_us; }

static const struct disk functions = {
    .open = sim_open,
    .close = sim_close,
    .pread = sim_pread,
    .pwritev = sim_pwritev,
    .fdatasync = sim_sync,
    .fsync = sim_sync,
    .allocate = sim_allocate,
    .truncate = sim_truncate,
    .size = sim_size,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .sync_dir = sim_sync_dir,
    .list = sim_list,
    .free_bytes = sim_free_bytes,
    .clock_us = sim_clock_us,
};

/* ------------------------------------------------------------------ the test's side */

void simdisk_init(struct simdisk *s, uint64_t seed) {
    *s = (struct simdisk){.disk = functions, .rng = {seed}, .counted_ops = SIMDISK_ALL_OPS};
    s->disk.ctx = s;
}

void simdisk_clear_faults(struct simdisk *s) {
    s->calls = s->fail_at = s->crash_at = 0;
    s->fail_forever = s->dead = false;
    s->fail_errno = 0;
}

void simdisk_fail(struct simdisk *s, unsigned ops, uint64_t nth, int err) {
    simdisk_clear_faults(s);
    s->counted_ops = ops;
    s->fail_at = nth;
    s->fail_errno = err;
}

void simdisk_fail_forever(struct simdisk *s, unsigned ops, uint64_t nth, int err) {
    simdisk_fail(s, ops, nth, err);
    s->fail_forever = true;
}

void simdisk_crash_at(struct simdisk *s, unsigned ops, uint64_t nth) {
    simdisk_clear_faults(s);
    s->counted_ops = ops;
    s->crash_at = nth;
}

static void drop_handles(struct simdisk *s) {
    s->handle_count = 0;
    for (int i = 0; i < s->inode_count; i++)
        if (s->inodes[i] != NULL)
            s->inodes[i]->open = 0;
}

void simdisk_kill(struct simdisk *s) {
    drop_handles(s);
    simdisk_clear_faults(s);
    collect(s);
}

void simdisk_sync_all(struct simdisk *s) {
    for (int i = 0; i < s->inode_count; i++)
        if (s->inodes[i] != NULL)
            inode_sync(s->inodes[i]);
    for (int i = 0; i < s->name_count; i++)
        s->names[i].disk_inode = s->names[i].inode;
    forget_changes(s, DISK_SNAP, true);
    drop_names(s);
    collect(s);
}

void simdisk_crash(struct simdisk *s, uint64_t seed) {
    struct rng rng = {seed};
    drop_handles(s);
    simdisk_clear_faults(s);
    for (int i = 0; i < s->name_count; i++)
        s->names[i].inode = s->names[i].disk_inode;
    for (int i = 0; i < s->change_count; i++) {
        const struct simdisk_change c = s->changes[i];
        if (rng_below(&rng, 2) == 0)
            continue;
        /* "from" may stand for another file by now, if what came before was lost. */
        if (c.from != NULL && inode_of(s, c.dir, c.from) == c.inode)
            find_name(s, c.dir, c.from)->inode = -1;
        if (c.to != NULL)
            make_name(s, c.dir, c.to)->inode = c.inode;
    }
    for (int i = 0; i < s->inode_count; i++)
        if (s->inodes[i] != NULL)
            inode_crash(s->inodes[i], &rng);
    simdisk_sync_all(s);
}

void simdisk_put(struct simdisk *s, enum disk_dir dir, const char *name, const void *data, size_t size) {
    int inode = new_inode(s);
    struct simdisk_name *n = make_name(s, dir, name);
    n->inode = n->disk_inode = inode;
    inode_write(s->inodes[inode], data, size, 0);
    inode_sync(s->inodes[inode]);
    collect(s);
}

bool simdisk_exists(const struct simdisk *s, enum disk_dir dir, const char *name) { return inode_of(s, dir, name) >= 0; }

void *simdisk_get(const struct simdisk *s, enum disk_dir dir, const char *name, size_t *size) {
    int inode = inode_of(s, dir, name);
    if (inode < 0)
        return NULL;
    *size = (size_t)s->inodes[inode]->size;
    uint8_t *data = mem_alloc(*size);
    inode_read(s->inodes[inode], data, *size, 0);
    return data;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *simdisk_nth(const struct simdisk *s, enum disk_dir dir, int n) {
    const char **names = mem_alloc((size_t)(s->name_count + 1) * sizeof *names);
    int count = 0;
    for (int i = 0; i < s->name_count; i++)
        if (s->names[i].dir == real_dir(s, dir) && s->names[i].inode >= 0)
            names[count++] = s->names[i].name;
    if (count > 0)
        qsort(names, (size_t)count, sizeof *names, compare_names);
    const char *name = n < count ? names[n] : NULL;
    mem_free(names);
    return name;
}

void simdisk_clear(struct simdisk *s) {
    for (int i = 0; i < s->name_count; i++)
        mem_free(s->names[i].name);
    s->name_count = 0;
    forget_changes(s, DISK_SNAP, true);
    drop_handles(s);
    collect(s);
}

void simdisk_close(struct simdisk *s) {
    simdisk_clear(s);
    mem_free(s->names);
    mem_free(s->changes);
    mem_free(s->inodes);
    mem_free(s->handles);
}

static bool import_file(struct simdisk *s, enum disk_dir dir, const char *path, const char *name) {
    char full[4096];
    struct stat st;
    if (snprintf(full, sizeof full, "%s/%s", path, name) >= (int)sizeof full || stat(full, &st) == -1)
        return false;
    FILE *file = S_ISREG(st.st_mode) ? fopen(full, "rbe") : NULL;
    if (file == NULL)
        return !S_ISREG(st.st_mode);
    size_t size = (size_t)st.st_size;
    uint8_t *data = mem_alloc(size);
    bool ok = fread(data, 1, size, file) == size;
    fclose(file);
    if (ok)
        simdisk_put(s, dir, name, data, size);
    mem_free(data);
    return ok;
}

int simdisk_import(struct simdisk *s, enum disk_dir dir, const char *path) {
    DIR *stream = opendir(path);
    if (stream == NULL)
        return -1;
    int count = 0;
    const struct dirent *e;
    while ((e = readdir(stream)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        if (!import_file(s, dir, path, e->d_name)) {
            closedir(stream);
            return -1;
        }
        count++;
    }
    closedir(stream);
    return count;
}
