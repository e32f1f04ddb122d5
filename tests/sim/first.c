/* Databases that do not begin at nothing: with a zxid that is close to the end of its counter, and with parents that have had
 * almost as many children as can be counted. */
#include <stdio.h>

#include "sim/sim.h"
#include "tree/tree.h"

#define LATE_ONE_IN 8

void sim_first_choose(struct sim *sim) {
    struct rng *rng = &sim->rng;
    bool late_zxid = rng_below(rng, LATE_ONE_IN) == 0, late_sequence = rng_below(rng, LATE_ONE_IN) == 0;
    zxid_t zxid = zxid_make(1, 1 + (int64_t)rng_below(rng, 1000));
    /* A server alone counts on into the epoch, leaders begin another one. */
    if (late_zxid)
        zxid = zxid_make(1, INT64_C(0xffffffff) - 1 - (int64_t)rng_below(rng, 300));
    if (rng_below(rng, LATE_ONE_IN) == 0)
        sim->counter_limit = 20 + (int64_t)rng_below(rng, 300);
    if (!late_zxid && !late_sequence)
        return;
    sim->counters->late_starts++;
    for (int i = 0; i < SIM_TOPS; i++) {
        char path[MODEL_PATH_MAX];
        int32_t made = late_sequence ? INT32_MAX - (int32_t)rng_below(rng, 20) : (int32_t)rng_below(rng, 3);
        snprintf(path, sizeof path, "/n%d", i);
        model_begin_with(&sim->model, zxid, path, SIM_WALL_MS, made);
    }
}

/* The child only makes the parent count to where it should be. */
static void make_top(struct server *s, const char *path, zxid_t zxid, int32_t made) {
    static const uint8_t everybody[] = {0, 0, 0, 1, 0, 0, 0, 31, 0, 0, 0, 5, 'w', 'o', 'r', 'l', 'd',
                                        0, 0, 0, 6, 'a', 'n', 'y', 'o', 'n', 'e'};
    struct tree_create c = {.path = slice_of(path),
                            .data = SLICE_LIT(""),
                            .acl = {(const char *)everybody, sizeof everybody},
                            .parent_cversion = -1,
                            .zxid = zxid,
                            .time_ms = SIM_WALL_MS};
    char child[MODEL_PATH_MAX];
    tree_create(s->tree, &c, 0, NULL);
    if (made == 0)
        return;
    snprintf(child, sizeof child, "%s/first", path);
    c.path = slice_of(child);
    c.parent_cversion = made;
    tree_create(s->tree, &c, 0, NULL);
    tree_delete(s->tree, c.path, zxid);
}

void sim_first_put(struct sim_node *n) {
    struct sim *sim = n->sim;
    if (sim->model.base == 0)
        return;
    struct env env = sim_env(n);
    struct server *s = server_new(&n->config, &env, 1, sim_node_now(n));
    for (int i = 0; i < SIM_TOPS; i++) {
        char path[MODEL_PATH_MAX];
        snprintf(path, sizeof path, "/n%d", i);
        make_top(s, path, sim->model.base, model_path_at(&sim->model, path, sim->model.base)->children_made);
    }
    s->last_applied = sim->model.base;
    if (snapshotter_first(s) != 0)
        sim_fail(sim, "the first database of server %d cannot be written", n->sid);
    server_free(s);
    if (sim_is_ensemble(sim)) {
        simdisk_put(&n->disk, DISK_SNAP, EPOCH_CURRENT, "1", 1);
        simdisk_put(&n->disk, DISK_SNAP, EPOCH_ACCEPTED, "1", 1);
    }
    simdisk_kill(&n->disk);
}
