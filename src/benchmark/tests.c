#include "benchmark/tests.h"

#include <string.h>

static const struct test tests[] = {
    {"get", "getData of random znodes of the keyspace", test_load_run, LOAD_GET, true},
    {"set", "setData on random znodes of the keyspace", test_load_run, LOAD_SET, true},
    {"mixed", "both, --mix percent of them getData", test_load_run, LOAD_MIXED, true},
    {"create", "creates znodes", test_load_run, LOAD_CREATE, true},
    {"delete", "deletes znodes that were created before", test_load_run, LOAD_DELETE, true},
    {"multi", "one transaction of --multi-ops setData", test_load_run, LOAD_MULTI, true},
    {"children", "getChildren2 of a znode with --children children", test_load_run, LOAD_CHILDREN, true},
    {"watch", "one event to all connections: wall time from the setData to the last event", test_watch_run,
     WATCH_ONE_SHOT, true},
    {"watch-rearm", "the same, each connection sets its watch again at once; wall time until all have", test_watch_run,
     WATCH_REARM, false},
    {"watch-persistent", "as watch, with persistent watches", test_watch_run, WATCH_PERSISTENT, false},
    {"connect", "opens and closes sessions", test_connect_run, 0, true},
    {"ping", "pings", test_load_run, LOAD_PING, false},
    {"watch-many", "sets --watches data watches per connection and holds them", test_watch_many_run, 0, false},
    {"storm", "connections with --watches watches each; you restart the server; all reconnect at once", test_storm_run,
     0, false},
    {"echo", "requests as in get to an --echo-server", test_load_run, LOAD_ECHO_GET, false},
    {"echo-set", "requests as in set to an --echo-server", test_load_run, LOAD_ECHO_SET, false},
    {"echo-watch", "as watch, with an --echo-server", test_watch_run, WATCH_ECHO, false},
};

/* The row of a name of len bytes, or NULL. */
static const struct test *find(const char *name, size_t len) {
    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        if (strlen(tests[i].name) == len && memcmp(tests[i].name, name, len) == 0)
            return &tests[i];
    return NULL;
}

void test_print(FILE *out) {
    for (size_t i = 0; i < ARRAY_LEN(tests); i++)
        fprintf(out, "  %-18s %s%s\n", tests[i].name, tests[i].help, tests[i].by_default ? "" : " (not by default)");
}

/* Takes the next name of a list; NULL at the end. */
static const char *next_name(const char **list, size_t *len) {
    *list += **list == ',';
    const char *name = *list;
    *len = strcspn(name, ",");
    *list += *len;
    return *len ? name : NULL;
}

bool test_list_valid(const char *list) {
    size_t len;
    for (const char *name = next_name(&list, &len); name != NULL; name = next_name(&list, &len)) {
        if (find(name, len) == NULL) {
            fprintf(stderr, "zabra-benchmark: there is no test \"%.*s\"; there are:\n", (int)len, name);
            test_print(stderr);
            return false;
        }
    }
    return true;
}

static void run_one(const struct test *test, struct test_run *run) {
    struct bench *b = run->bench;
    if (b->ended)
        return;
    b->doing = test->name;
    test->run(test, run);
}

void test_run_list(struct test_run *run, const char *list) {
    size_t len;
    if (list == NULL) {
        for (size_t i = 0; i < ARRAY_LEN(tests); i++)
            if (tests[i].by_default && !run->bench->broken)
                run_one(&tests[i], run);
        return;
    }
    for (const char *name = next_name(&list, &len); name != NULL && !run->bench->broken; name = next_name(&list, &len))
        run_one(find(name, len), run);
}
