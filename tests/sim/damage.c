/* Disks that come back empty, or with bits that have changed where a checksum finds them: the member is brought up to date by
 * the others, and does not vote before. An ensemble survives one such loss at a time. */
#include <stdio.h>

#include "base/mem.h"
#include "sim/sim.h"
#include "store/listing.h"
#include "store/txnlog.h"

#define WIPE_ONE_IN 24
#define DAMAGE_ONE_IN 8

static bool is_voter(const struct sim_node *n) { return n->sid <= n->sim->voters; }

bool sim_damage_is_latent(const struct sim_node *n) {
    return n->flipped[0] != '\0' && simdisk_exists(&n->disk, n->flipped_dir, n->flipped);
}

/* One that has never voted has no history yet, and waits for that of the others. */
static bool another_is_lost(const struct sim_node *n) {
    const struct sim *sim = n->sim;
    for (int i = 0; i < sim->voters; i++)
        if (&sim->nodes[i] != n && (sim->nodes[i].lost || !sim->nodes[i].voted || sim_damage_is_latent(&sim->nodes[i])))
            return true;
    return false;
}

static void begin_loss(struct sim_node *n) {
    if (!n->lost)
        n->restored = false;
    n->lost_synced = i64_max(n->synced, n->lost ? n->lost_synced : 0);
    n->lost = true;
}

void sim_damage_found(struct sim_node *n) {
    sim_trace(n->sim, "%d: it ends: %s", n->sid, n->server->failure);
    begin_loss(n);
}

static void wipe(struct sim_node *n) {
    begin_loss(n);
    n->restored = true;
    n->synced = n->tail = 0;
    n->sim->counters->wipes++;
    sim_trace(n->sim, "%d: the disk is empty", n->sid);
    simdisk_clear(&n->disk);
    /* What a server takes for the files of one that has a history, and may vote. */
    if (n->sim->options.broken == BREAK_WIPED_VOTES) {
        simdisk_put(&n->disk, DISK_SNAP, EPOCH_ACCEPTED, "1", 1);
        simdisk_put(&n->disk, DISK_SNAP, EPOCH_CURRENT, "0", 1);
    }
}

/* Up to where the bytes of a log are known to be synced: what is behind may be taken for a torn tail. */
static int64_t vouched_bytes(const struct sim_node *n, const struct store_file *file) {
    struct synced_position side;
    if (synced_position_read(&n->disk.disk, &side) != 0 || !side.known || file->zxid > side.log_zxid)
        return 0;
    if (file->zxid < side.log_zxid)
        return file->size;
    return side.offset > TXNLOG_HEADER_BYTES ? i64_min(side.offset, file->size) : 0;
}

static void flip_bit(struct sim_node *n, enum disk_dir dir, const char *name, int64_t within) {
    struct sim *sim = n->sim;
    size_t size;
    uint8_t *bytes = simdisk_get(&n->disk, dir, name, &size);
    int64_t at = (int64_t)rng_below(&sim->rng, (uint64_t)within);
    bytes[at] ^= (uint8_t)(1u << rng_below(&sim->rng, 8));
    simdisk_put(&n->disk, dir, name, bytes, size);
    mem_free(bytes);
    n->flipped_dir = dir;
    snprintf(n->flipped, sizeof n->flipped, "%s", name);
    sim->counters->damages++;
    sim_trace(sim, "%d: a bit of %s at %lld has changed", n->sid, name, (long long)at);
}

static void damage(struct sim_node *n) {
    struct sim *sim = n->sim;
    struct store_files files;
    bool log = rng_below(&sim->rng, 3) != 0;
    enum disk_dir dir = log ? DISK_LOG : DISK_SNAP;
    simdisk_sync_all(&n->disk);
    if (store_files_list(&n->disk.disk, dir, log ? "log" : "snapshot", &files) != 0)
        return;
    /* Mostly the newest. */
    int chosen = files.count - 1 - (int)rng_below(&sim->rng, rng_below(&sim->rng, 3) == 0 ? (uint64_t)files.count : 1);
    const struct store_file *file = chosen >= 0 ? &files.items[chosen] : NULL;
    int64_t within = file == NULL ? 0 : log ? vouched_bytes(n, file) : file->size;
    if (within > 0) {
        begin_loss(n);
        flip_bit(n, dir, file->name, within);
    }
    store_files_free(&files);
}

void sim_damage_if_due(struct sim_node *n) {
    struct sim *sim = n->sim;
    if (!sim_is_ensemble(sim) || sim->calm || (is_voter(n) && another_is_lost(n)))
        return;
    bool often = sim->options.broken == BREAK_WIPED_VOTES;
    bool wipes = rng_below(&sim->rng, often ? 4 : WIPE_ONE_IN) == 0;
    if (!wipes && rng_below(&sim->rng, DAMAGE_ONE_IN) != 0)
        return;
    if (!sim_fault(sim, wipes ? FAULT_WIPE : FAULT_DAMAGE))
        return;
    if (wipes)
        wipe(n);
    else
        damage(n);
}

void sim_damage_healed(struct sim_node *n) {
    n->voted = true;
    if (!n->lost)
        return;
    sim_trace(n->sim, "%d: what was lost is healed", n->sid);
    n->sim->counters->healed += n->restored;
    n->lost = n->restored = false;
    n->lost_synced = 0;
}
