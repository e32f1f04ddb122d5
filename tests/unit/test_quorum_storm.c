/* Whole ensembles under random faults: crashes, power losses, cut and slow links, disks that stand still or are full, roles that
 * end for no reason. Clients write and read all the time. Whatever a client was told must be true on all members at the end, and
 * no epoch has two leaders. STORM_SEED and STORM_RUNS in the environment choose others. */
#include "lib/testensemble.h"
#include "quorum/quorum_internal.h"
#include "server_help.h"

#define RUNS 8
#define STORM_MS 12000
#define ACTORS 6
#define PATHS 4096

struct actor {
    struct testclient *c;
    int path; /* of the request under way, -1 = none */
    bool writes;
};

struct storm {
    struct testensemble *e;
    struct rng rng;
    struct actor actors[ACTORS];
    int made;                /* paths that somebody has tried to create */
    bool promised[PATHS];    /* a client has seen that it is there */
    uint64_t writes, reads, crashes;
    int64_t leader_of[1024]; /* by epoch; 0 = none seen */
};

static void path_text(char out[24], int path) { snprintf(out, 24, "/p%d", path); }
static int random_member(struct storm *x) { return 1 + (int)rng_below(&x->rng, (uint64_t)x->e->count); }

/* ------------------------------------------------------------------ clients */

static void drop_client(struct actor *a) {
    if (a->c != NULL)
        testclient_free(a->c);
    a->c = NULL;
    a->path = -1;
}

static void connect_somewhere(struct storm *x, struct actor *a) {
    int sid = random_member(x);
    if (!x->e->up[sid] || x->e->servers[sid]->server->state != SERVER_RUNNING)
        return;
    a->c = testclient_new(x->e->servers[sid], NULL);
    testclient_send_connect(a->c, 4000);
}

static void ask(struct storm *x, struct actor *a) {
    char path[24];
    if (rng_below(&x->rng, 4) == 0) {
        jute_put_bytes(testclient_request(a->c, OP_SYNC), SLICE_LIT("/"));
        testclient_end(a->c);
    }
    a->writes = x->made == 0 || (rng_below(&x->rng, 3) != 0 && x->made < PATHS);
    a->path = a->writes ? x->made++ : (int)rng_below(&x->rng, (uint64_t)x->made);
    path_text(path, a->path);
    if (a->writes)
        testclient_create(a->c, path, "data", rng_below(&x->rng, 8) == 0 ? CREATE_CONTAINER : CREATE_PERSISTENT);
    else
        testclient_exists(a->c, path, false);
}

static void act(struct storm *x, struct actor *a) {
    struct testframe f;
    if (a->c == NULL || a->c->conn == NULL) {
        drop_client(a);
        connect_somewhere(x, a);
        return;
    }
    if (!a->c->connected) {
        if (a->c->in.len > a->c->in_start && !testclient_take_connect(a->c))
            drop_client(a);
        return;
    }
    if (a->path < 0) {
        ask(x, a);
        return;
    }
    while (a->path >= 0 && testclient_next(a->c, &f)) {
        if (f.xid != a->c->xid)
            continue; /* the sync */
        if (f.err == ZK_OK)
            x->promised[a->path] = true;
        *(a->writes ? &x->writes : &x->reads) += f.err == ZK_OK;
        a->path = -1;
    }
}

/* ------------------------------------------------------------------ faults */

static void crash(struct storm *x, int sid, enum testserver_end how) {
    if (!x->e->up[sid])
        return;
    x->crashes++;
    testensemble_end(x->e, sid, how);
    x->e->servers[sid]->hold_log = x->e->servers[sid]->hold_jobs = false;
}

static void fault(struct storm *x) {
    struct testensemble *e = x->e;
    int sid = random_member(x), other = random_member(x);
    struct testserver *ts = e->servers[sid];
    switch (rng_below(&x->rng, 13)) {
    case 0:
    case 1:
        crash(x, sid, rng_below(&x->rng, 3) == 0 ? TESTSERVER_KILL : TESTSERVER_POWER_LOSS);
        break;
    case 12: /* the whole building */
        for (int i = 1; i <= e->count; i++)
            crash(x, i, TESTSERVER_POWER_LOSS);
        for (int i = 1; i <= e->count; i++)
            if (i != other)
                testensemble_start(e, i);
        break;
    case 2:
    case 3:
    case 4:
        if (!e->up[sid])
            testensemble_start(e, sid);
        break;
    case 5:
        e->cut[sid][other] = true;
        e->cut[other][sid] = rng_below(&x->rng, 2) == 0;
        break;
    case 6:
        memset(e->cut, 0, sizeof e->cut);
        break;
    case 7:
        ts->hold_log = !ts->hold_log;
        break;
    case 8:
        ts->hold_jobs = !ts->hold_jobs;
        break;
    case 9:
        if (e->up[sid] && ts->server->quorum->phase >= QUORUM_LEADING)
            quorum_leave(ts->server->quorum, "the test says so");
        break;
    case 10:
        ts->disk.capacity = ts->disk.capacity != 0 ? 0 : simdisk_used(&ts->disk) + (int64_t)rng_below(&x->rng, 30000);
        break;
    default:
        e->delay_ms = 1 + (int64_t)rng_below(&x->rng, 20);
    }
}

static void watch(struct storm *x) {
    for (int sid = 1; sid <= x->e->count; sid++) {
        if (!x->e->up[sid])
            continue;
        const struct server *s = x->e->servers[sid]->server;
        if (s->state == SERVER_FAILED) {
            testensemble_end(x->e, sid, TESTSERVER_KILL);
            continue;
        }
        int64_t epoch = s->quorum->epochs.current;
        if (s->state != SERVER_RUNNING || strcmp(s->role->mode, "leader") != 0 || epoch >= (int64_t)ARRAY_LEN(x->leader_of))
            continue;
        ck_assert_msg(x->leader_of[epoch] == 0 || x->leader_of[epoch] == sid, "epoch %d has the leaders %d and %d", (int)epoch,
                      (int)x->leader_of[epoch], sid);
        x->leader_of[epoch] = sid;
        ck_assert_uint_eq(s->metrics.counters[METRIC_DIGEST_MISMATCHES_COUNT], 0);
    }
}

/* ------------------------------------------------------------------ one run */

static void calm(struct storm *x) {
    struct testensemble *e = x->e;
    memset(e->cut, 0, sizeof e->cut);
    e->delay_ms = 1;
    for (int sid = 1; sid <= e->count; sid++) {
        struct testserver *ts = e->servers[sid];
        ts->hold_log = ts->hold_jobs = false;
        ts->disk.capacity = 0;
        if (!e->up[sid])
            testensemble_start(e, sid);
    }
}

static void check(struct storm *x) {
    struct testensemble *e = x->e;
    for (int sid = 1; sid <= e->count; sid++)
        for (int i = 0; i < x->made; i++) {
            char path[24];
            path_text(path, i);
            if (x->promised[i])
                ck_assert_msg(tree_find(e->servers[sid]->server->tree, slice_of(path)) != NULL, "%s is lost on %d", path, sid);
        }
    testensemble_expect_equal(e);
}

static void run_storm(uint64_t seed, int voters, int observers) {
    static const char *const options[] = {"tickTime", "200", "snapCount", "60", "preAllocSize", "64", "diskReserve", "16kb",
                                          "logWindowBytes", "1", "autopurge.purgeInterval", "1",
                                          "znode.container.checkIntervalMs", "0", NULL};
    struct storm *x = mem_calloc(1, sizeof *x);
    x->rng.state = seed;
    x->e = testensemble_new(voters, observers, options);
    for (int i = 0; i < ACTORS; i++)
        x->actors[i].path = -1;
    for (int ms = 0; ms < STORM_MS; ms++) {
        testensemble_run(x->e, 1);
        watch(x);
        for (int i = 0; i < ACTORS; i++)
            act(x, &x->actors[i]);
        if (ms > 1000 && rng_below(&x->rng, 60) == 0)
            fault(x);
        if (ms % 3000 == 2999)
            calm(x);
    }
    calm(x);
    for (int i = 0; i < ACTORS; i++)
        drop_client(&x->actors[i]);
    testensemble_elect(x->e);
    testensemble_run(x->e, 6000); /* sessions end */
    check(x);
    log_info("seed %llu: %llu writes, %llu reads, %llu crashes", (unsigned long long)seed, (unsigned long long)x->writes,
             (unsigned long long)x->reads, (unsigned long long)x->crashes);
    if (getenv("STORM_SEED") != NULL)
        fprintf(stderr, "seed %llu: %llu writes, %llu reads, %llu crashes\n", (unsigned long long)seed,
                (unsigned long long)x->writes, (unsigned long long)x->reads, (unsigned long long)x->crashes);
    ck_assert_uint_gt(x->writes, 20);
    testensemble_free(x->e);
    mem_free(x);
}

static uint64_t from_environment(const char *name, uint64_t usual) {
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 10) : usual;
}

START_TEST(three) { run_storm(from_environment("STORM_SEED", 1) + (uint64_t)_i, 3, 0); }
END_TEST
START_TEST(five_and_an_observer) { run_storm(from_environment("STORM_SEED", 1) + (uint64_t)_i, 5, 1); }
END_TEST

int main(void) {
    Suite *suite = suite_create("quorum_storm");
    TCase *tc = tcase_create("storm");
    int runs = (int)from_environment("STORM_RUNS", RUNS);
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, three, 0, runs);
    tcase_add_loop_test(tc, five_and_an_observer, 0, runs / 2);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
