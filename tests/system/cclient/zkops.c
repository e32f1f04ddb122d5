/* Apache's C client (multi-threaded) does all it can against a server:
 *
 *   zkops HOST:PORT CASE ROOT
 *
 * ROOT is an empty node for this case alone. Each check that fails prints one line; the status is 1 if any did. The case
 * restart prints "restart" and waits for a line on standard input; the case sessions reads the session that it takes over
 * from there. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zookeeper/zookeeper.h>

#define WAIT_SECONDS 10
#define PATH_SIZE 256

static int failures;
static const char *host, *root;

#define CHECK(condition)                                                                                                   \
    do {                                                                                                                   \
        if (!(condition)) {                                                                                                \
            printf("line %d: %s\n", __LINE__, #condition);                                                                 \
            failures++;                                                                                                    \
        }                                                                                                                  \
    } while (0)

/* Compares a result code. */
#define RC(want, call)                                                                                                     \
    do {                                                                                                                   \
        int rc_ = (call);                                                                                                  \
        if (rc_ != (want)) {                                                                                               \
            printf("line %d: %s is %d (%s) and not %s\n", __LINE__, #call, rc_, zerror(rc_), #want);                       \
            failures++;                                                                                                    \
        }                                                                                                                  \
    } while (0)

/* ROOT/name, in one of several buffers in turn. */
static const char *at(const char *name) {
    static char paths[16][PATH_SIZE];
    static unsigned next;
    char *path = paths[next++ % 16];
    snprintf(path, PATH_SIZE, "%s%s%s", root, name[0] ? "/" : "", name);
    return path;
}

/* ------------------------------------------------------------------ waiting */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static struct timespec deadline(void) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += WAIT_SECONDS;
    return ts;
}

/* What a watcher has seen. */
struct seen {
    int count, type, state;
    char path[PATH_SIZE];
};

static void on_event(zhandle_t *zh, int type, int state, const char *path, void *ctx) {
    struct seen *seen = ctx;
    (void)zh;
    if (type == ZOO_SESSION_EVENT)
        return; /* told to every watcher */
    pthread_mutex_lock(&lock);
    seen->count++;
    seen->type = type;
    seen->state = state;
    snprintf(seen->path, sizeof seen->path, "%s", path);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static bool wait_seen(struct seen *seen, int count) {
    struct timespec until = deadline();
    pthread_mutex_lock(&lock);
    while (seen->count < count && pthread_cond_timedwait(&changed, &lock, &until) == 0)
        ;
    bool ok = seen->count == count;
    pthread_mutex_unlock(&lock);
    return ok;
}

static bool saw(struct seen *seen, int count, int type, const char *path) {
    return wait_seen(seen, count) && seen->type == type && strcmp(seen->path, path) == 0;
}

/* Session states, by the handle's own watcher. */
struct session {
    int connected; /* times */
    int expired;
};

static void on_session(zhandle_t *zh, int type, int state, const char *path, void *ctx) {
    struct session *s = ctx;
    (void)zh, (void)path;
    if (type != ZOO_SESSION_EVENT)
        return;
    pthread_mutex_lock(&lock);
    if (state == ZOO_CONNECTED_STATE)
        s->connected++;
    if (state == ZOO_EXPIRED_SESSION_STATE)
        s->expired++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static bool wait_count(const int *counter, int count) {
    struct timespec until = deadline();
    pthread_mutex_lock(&lock);
    while (*counter < count && pthread_cond_timedwait(&changed, &lock, &until) == 0)
        ;
    bool ok = *counter >= count;
    pthread_mutex_unlock(&lock);
    return ok;
}

static zhandle_t *open_session(struct session *s, const clientid_t *id) {
    *s = (struct session){0};
    zhandle_t *zh = zookeeper_init2(host, on_session, 20000, id, s, 0, NULL);
    if (zh == NULL || !wait_count(&s->connected, 1)) {
        printf("no connection\n");
        exit(1);
    }
    return zh;
}

/* What a completion has been given. */
struct done {
    int count, rc;
    struct Stat stat;
    char value[PATH_SIZE];
    int value_len;
};

static void complete(struct done *d, int rc, const char *value, int len, const struct Stat *stat) {
    pthread_mutex_lock(&lock);
    d->count++;
    d->rc = rc;
    if (stat != NULL)
        d->stat = *stat;
    if (value != NULL && len < PATH_SIZE)
        memcpy(d->value, value, (size_t)len);
    d->value_len = len;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void on_void(int rc, const void *d) { complete((struct done *)d, rc, NULL, 0, NULL); }
static void on_stat(int rc, const struct Stat *stat, const void *d) { complete((struct done *)d, rc, NULL, 0, stat); }
static void on_data(int rc, const char *value, int len, const struct Stat *stat, const void *d) {
    complete((struct done *)d, rc, value, len, stat);
}
static void on_string(int rc, const char *value, const void *d) {
    complete((struct done *)d, rc, value, value != NULL ? (int)strlen(value) + 1 : 0, NULL);
}
static void on_string_stat(int rc, const char *value, const struct Stat *stat, const void *d) {
    complete((struct done *)d, rc, value, value != NULL ? (int)strlen(value) + 1 : 0, stat);
}
static void on_strings(int rc, const struct String_vector *v, const void *d) {
    complete((struct done *)d, rc, NULL, v != NULL ? v->count : -1, NULL);
}
static void on_strings_stat(int rc, const struct String_vector *v, const struct Stat *stat, const void *d) {
    complete((struct done *)d, rc, NULL, v != NULL ? v->count : -1, stat);
}
static void on_acl(int rc, struct ACL_vector *acl, struct Stat *stat, const void *d) {
    complete((struct done *)d, rc, NULL, acl != NULL ? acl->count : -1, stat);
}

/* The result of an asynchronous call. */
static int finish(struct done *d, int started) {
    if (started != ZOK)
        return started;
    return wait_count(&d->count, 1) ? d->rc : ZOPERATIONTIMEOUT;
}

#define ASYNC(want, d, call)                                                                                               \
    do {                                                                                                                   \
        (d) = (struct done){0};                                                                                            \
        RC(want, finish(&(d), call));                                                                                      \
    } while (0)

/* ------------------------------------------------------------------ cases */

static void case_create(zhandle_t *zh) {
    char path[PATH_SIZE];
    struct Stat stat;
    RC(ZOK, zoo_create(zh, at("p"), "data", 4, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, path, sizeof path));
    CHECK(strcmp(path, at("p")) == 0);
    RC(ZOK, zoo_create(zh, at("null"), NULL, -1, &ZOO_READ_ACL_UNSAFE, ZOO_PERSISTENT, NULL, 0));
    RC(ZOK, zoo_create(zh, at("empty"), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, path, sizeof path));
    RC(ZOK, zoo_create(zh, at("s-"), "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL, path, sizeof path));
    CHECK(strcmp(path, at("s-0000000003")) == 0);
    RC(ZOK, zoo_create(zh, at("e"), "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, path, sizeof path));
    RC(ZOK, zoo_create(zh, at("es-"), "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL_SEQUENTIAL, path, 12));
    CHECK(strlen(path) == 11); /* cut to fit */
    RC(ZOK, zoo_create(zh, at("c"), "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_CONTAINER, path, sizeof path));
    RC(ZOK, zoo_create_ttl(zh, at("ttl"), "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 100000, path, sizeof path));
    RC(ZOK, zoo_create2(zh, at("p2"), "12", 2, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, path, sizeof path, &stat));
    CHECK(stat.dataLength == 2 && stat.czxid == stat.mzxid && stat.version == 0);
    RC(ZOK, zoo_create2(zh, at("e2"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, path, sizeof path, &stat));
    CHECK(stat.ephemeralOwner == zoo_client_id(zh)->client_id);
    RC(ZOK, zoo_create2(zh, at("c2"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_CONTAINER, path, sizeof path, &stat));
    RC(ZOK, zoo_create2_ttl(zh, at("ttl2-"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL_WITH_TTL, 1000, path,
                            sizeof path, &stat));
    CHECK(strcmp(path, at("ttl2-0000000011")) == 0 && stat.ephemeralOwner == 0);
    RC(ZNODEEXISTS, zoo_create(zh, at("p"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    RC(ZNONODE, zoo_create(zh, at("no/p"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    RC(ZNOCHILDRENFOREPHEMERALS, zoo_create(zh, at("e/p"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    RC(ZOK, zoo_exists(zh, at("null"), 0, &stat));
    CHECK(stat.dataLength == 0);
}

static void case_read_write(zhandle_t *zh) {
    char data[PATH_SIZE];
    int len = sizeof data;
    struct Stat stat, stat2;
    struct String_vector children;
    RC(ZOK, zoo_create(zh, at("a"), "one", 3, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    RC(ZOK, zoo_get(zh, at("a"), 0, data, &len, &stat));
    CHECK(len == 3 && memcmp(data, "one", 3) == 0 && stat.version == 0);
    RC(ZOK, zoo_set(zh, at("a"), "two!", 4, 0));
    RC(ZBADVERSION, zoo_set(zh, at("a"), "x", 1, 0));
    RC(ZOK, zoo_set2(zh, at("a"), NULL, -1, 1, &stat));
    CHECK(stat.version == 2 && stat.dataLength == 0);
    len = sizeof data;
    RC(ZOK, zoo_get(zh, at("a"), 0, data, &len, &stat));
    CHECK(len == -1);
    RC(ZNONODE, zoo_get(zh, at("none"), 0, data, &len, &stat));
    RC(ZNONODE, zoo_exists(zh, at("none"), 0, &stat));
    RC(ZNONODE, zoo_set(zh, at("none"), "x", 1, -1));
    for (int i = 0; i < 3; i++)
        RC(ZOK, zoo_create(zh, at("a/k"), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL, NULL, 0));
    RC(ZOK, zoo_get_children(zh, at("a"), 0, &children));
    CHECK(children.count == 3);
    deallocate_String_vector(&children);
    RC(ZOK, zoo_get_children2(zh, at("a"), 0, &children, &stat));
    RC(ZOK, zoo_exists(zh, at("a"), 0, &stat2));
    CHECK(children.count == 3 && stat.numChildren == 3 && stat.pzxid == stat2.pzxid && stat.cversion == stat2.cversion &&
          stat.mzxid == stat2.mzxid);
    deallocate_String_vector(&children);
    RC(ZNONODE, zoo_get_children(zh, at("none"), 0, &children));
    RC(ZNOTEMPTY, zoo_delete(zh, at("a"), -1));
    RC(ZBADVERSION, zoo_delete(zh, at("a/k0000000000"), 5));
    RC(ZOK, zoo_delete(zh, at("a/k0000000000"), 0));
    RC(ZNONODE, zoo_delete(zh, at("a/k0000000000"), 0));
    /* The last byte that fits. */
    size_t size = 1000 * 1000;
    char *big = malloc(size), *back = malloc(size);
    memset(big, 'b', size);
    RC(ZOK, zoo_set(zh, at("a"), big, (int)size, -1));
    len = (int)size;
    RC(ZOK, zoo_get(zh, at("a"), 0, back, &len, &stat));
    CHECK(len == (int)size && memcmp(big, back, size) == 0);
    free(big);
    free(back);
    RC(ZOK, zoo_set(zh, at("a"), "", 0, -1));
}

static void case_acl(zhandle_t *zh) {
    struct ACL list[] = {{ZOO_PERM_READ, {"world", "anyone"}}, {ZOO_PERM_ALL, {"ip", "127.0.0.1"}}};
    struct ACL_vector acl = {2, list}, got;
    struct Stat stat;
    struct done d;
    RC(ZOK, zoo_create(zh, at("a"), "", 0, &acl, 0, NULL, 0));
    RC(ZOK, zoo_get_acl(zh, at("a"), &got, &stat));
    CHECK(got.count == 2 && strcmp(got.data[1].id.scheme, "ip") == 0 && got.data[0].perms == ZOO_PERM_READ);
    deallocate_ACL_vector(&got);
    RC(ZINVALIDACL, zoo_create(zh, at("no"), "", 0, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    ASYNC(ZOK, d, zoo_add_auth(zh, "digest", "bob:secret", 10, on_void, &d));
    RC(ZOK, zoo_set_acl(zh, at("a"), 0, &ZOO_CREATOR_ALL_ACL));
    RC(ZBADVERSION, zoo_set_acl(zh, at("a"), 0, &ZOO_OPEN_ACL_UNSAFE));
    RC(ZOK, zoo_get_acl(zh, at("a"), &got, &stat));
    CHECK(got.count == 1 && strcmp(got.data[0].id.id, "bob:fyVmFCwVbTJYrznoSu1koqYEYF0=") == 0 && stat.aversion == 1);
    deallocate_ACL_vector(&got);
    struct session other;
    zhandle_t *stranger = open_session(&other, NULL);
    RC(ZNOAUTH, zoo_set(stranger, at("a"), "x", 1, -1));
    RC(ZNOAUTH, zoo_create(stranger, at("a/b"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    char data[16];
    int len = sizeof data;
    RC(ZNOAUTH, zoo_get(stranger, at("a"), 0, data, &len, NULL));
    ASYNC(ZAUTHFAILED, d, zoo_add_auth(stranger, "nonsense", "x", 1, on_void, &d));
    CHECK(zoo_state(stranger) == ZOO_AUTH_FAILED_STATE);
    zookeeper_close(stranger);
    RC(ZOK, zoo_set(zh, at("a"), "x", 1, -1));
}

static void case_multi(zhandle_t *zh) {
    zoo_op_t ops[5];
    zoo_op_result_t results[5];
    char path[PATH_SIZE];
    struct Stat stat = {0};
    zoo_create_op_init(&ops[0], at("m"), "v", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    zoo_create_op_init(&ops[1], at("m/s"), "v", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL, path, sizeof path);
    zoo_check_op_init(&ops[2], at("m"), 0);
    zoo_set_op_init(&ops[3], at("m"), "w", 1, 0, &stat);
    zoo_delete_op_init(&ops[4], at("m/s0000000000"), -1);
    RC(ZOK, zoo_multi(zh, 5, ops, results));
    CHECK(strcmp(path, at("m/s0000000000")) == 0 && stat.version == 1);
    for (int i = 0; i < 5; i++)
        RC(ZOK, results[i].err);
    zoo_create_op_init(&ops[0], at("never"), "v", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0);
    zoo_check_op_init(&ops[1], at("m"), 0);
    zoo_delete_op_init(&ops[2], at("m"), -1);
    RC(ZBADVERSION, zoo_multi(zh, 3, ops, results));
    CHECK(results[0].err == ZOK && results[1].err == ZBADVERSION && results[2].err == ZRUNTIMEINCONSISTENCY);
    RC(ZNONODE, zoo_exists(zh, at("never"), 0, &stat));
    RC(ZOK, zoo_multi(zh, 0, ops, results));
}

static void case_async(zhandle_t *zh) {
    struct done d;
    ASYNC(ZOK, d, zoo_acreate(zh, at("a"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, on_string, &d));
    CHECK(strcmp(d.value, at("a")) == 0);
    ASYNC(ZOK, d, zoo_acreate2(zh, at("b"), "12", 2, &ZOO_OPEN_ACL_UNSAFE, 0, on_string_stat, &d));
    CHECK(d.stat.dataLength == 2);
    ASYNC(ZOK, d, zoo_acreate_ttl(zh, at("t"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 99999, on_string, &d));
    ASYNC(ZOK, d, zoo_acreate2_ttl(zh, at("t2"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 99999, on_string_stat, &d));
    ASYNC(ZOK, d, zoo_aexists(zh, at("a"), 0, on_stat, &d));
    ASYNC(ZNONODE, d, zoo_aexists(zh, at("none"), 0, on_stat, &d));
    ASYNC(ZOK, d, zoo_aset(zh, at("a"), "new", 3, -1, on_stat, &d));
    CHECK(d.stat.version == 1);
    ASYNC(ZOK, d, zoo_aget(zh, at("a"), 0, on_data, &d));
    CHECK(d.value_len == 3 && memcmp(d.value, "new", 3) == 0);
    ASYNC(ZOK, d, zoo_aget_children(zh, at(""), 0, on_strings, &d));
    CHECK(d.value_len == 4);
    ASYNC(ZOK, d, zoo_aget_children2(zh, at(""), 0, on_strings_stat, &d));
    CHECK(d.value_len == 4 && d.stat.numChildren == 4);
    ASYNC(ZOK, d, zoo_aset_acl(zh, at("a"), -1, (struct ACL_vector *)&ZOO_READ_ACL_UNSAFE, on_void, &d));
    ASYNC(ZOK, d, zoo_aget_acl(zh, at("a"), on_acl, &d));
    CHECK(d.value_len == 1 && d.stat.aversion == 1);
    ASYNC(ZOK, d, zoo_async(zh, at("a"), on_string, &d));
    CHECK(strcmp(d.value, at("a")) == 0);
    zoo_op_t op;
    zoo_op_result_t result;
    zoo_delete_op_init(&op, at("b"), -1);
    ASYNC(ZOK, d, zoo_amulti(zh, 1, &op, &result, on_void, &d));
    ASYNC(ZNONODE, d, zoo_adelete(zh, at("b"), -1, on_void, &d));
    /* Many in flight. */
    struct done many = {0};
    for (int i = 0; i < 2000; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        RC(ZOK, zoo_acreate(zh, at(name), "x", 1, &ZOO_OPEN_ACL_UNSAFE, 0, on_string, &many));
    }
    CHECK(wait_count(&many.count, 2000) && many.rc == ZOK);
    CHECK(strcmp(many.value, at("n1999")) == 0);
}

static void case_watches(zhandle_t *zh) {
    struct seen data = {0}, exist = {0}, child = {0}, child2 = {0}, twice = {0};
    char buf[16];
    int len = sizeof buf;
    struct Stat stat;
    struct String_vector names;
    RC(ZOK, zoo_create(zh, at("w"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    RC(ZOK, zoo_wget(zh, at("w"), on_event, &data, buf, &len, &stat));
    RC(ZOK, zoo_wget(zh, at("w"), on_event, &twice, buf, &len, &stat));
    RC(ZNONODE, zoo_wexists(zh, at("new"), on_event, &exist, &stat));
    RC(ZOK, zoo_wget_children(zh, at("w"), on_event, &child, &names));
    deallocate_String_vector(&names);
    RC(ZOK, zoo_wget_children2(zh, at("w"), on_event, &child2, &names, &stat));
    deallocate_String_vector(&names);
    RC(ZOK, zoo_set(zh, at("w"), "2", 1, -1));
    CHECK(saw(&data, 1, ZOO_CHANGED_EVENT, at("w")));
    CHECK(saw(&twice, 1, ZOO_CHANGED_EVENT, at("w")));
    RC(ZOK, zoo_set(zh, at("w"), "3", 1, -1)); /* nobody watches any more */
    RC(ZOK, zoo_create(zh, at("new"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    CHECK(saw(&exist, 1, ZOO_CREATED_EVENT, at("new")));
    RC(ZOK, zoo_create(zh, at("w/k"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    CHECK(saw(&child, 1, ZOO_CHILD_EVENT, at("w")));
    CHECK(saw(&child2, 1, ZOO_CHILD_EVENT, at("w")));
    RC(ZOK, zoo_wexists(zh, at("w/k"), on_event, &exist, &stat));
    RC(ZOK, zoo_wget_children(zh, at("w/k"), on_event, &child, &names));
    RC(ZOK, zoo_delete(zh, at("w/k"), -1));
    CHECK(saw(&exist, 2, ZOO_DELETED_EVENT, at("w/k")));
    CHECK(saw(&child, 2, ZOO_DELETED_EVENT, at("w/k")));
    CHECK(wait_seen(&data, 1) && data.state == ZOO_CONNECTED_STATE);
    len = sizeof buf;
    struct seen config = {0};
    RC(ZOK, zoo_wgetconfig(zh, on_event, &config, buf, &len, &stat));
}

static void case_remove_watches(zhandle_t *zh) {
    struct seen one = {0}, two = {0}, kids = {0};
    struct Stat stat;
    struct String_vector names;
    struct done d;
    RC(ZOK, zoo_create(zh, at("w"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    RC(ZOK, zoo_wexists(zh, at("w"), on_event, &one, &stat));
    RC(ZOK, zoo_wexists(zh, at("w"), on_event, &two, &stat));
    RC(ZOK, zoo_wget_children(zh, at("w"), on_event, &kids, &names));
    RC(ZOK, zoo_remove_watches(zh, at("w"), ZWATCHTYPE_DATA, on_event, &one, 0));
    RC(ZNOWATCHER, zoo_remove_watches(zh, at("w"), ZWATCHTYPE_DATA, on_event, &one, 0));
    RC(ZOK, zoo_set(zh, at("w"), "2", 1, -1));
    CHECK(saw(&two, 1, ZOO_CHANGED_EVENT, at("w")));
    CHECK(one.type != ZOO_CHANGED_EVENT);
    ASYNC(ZOK, d, zoo_aremove_watches(zh, at("w"), ZWATCHTYPE_CHILD, on_event, &kids, 0, (void_completion_t *)on_void, &d));
    RC(ZOK, zoo_create(zh, at("w/k"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    RC(ZOK, zoo_wexists(zh, at("w"), on_event, &one, &stat));
    RC(ZOK, zoo_wget_children(zh, at("w"), on_event, &kids, &names));
    deallocate_String_vector(&names);
    RC(ZOK, zoo_remove_all_watches(zh, at("w"), ZWATCHTYPE_ANY, 0));
    RC(ZNOWATCHER, zoo_remove_all_watches(zh, at("w"), ZWATCHTYPE_ANY, 0));
    RC(ZOK, zoo_set(zh, at("w"), "3", 1, -1));
    RC(ZOK, zoo_delete(zh, at("w/k"), -1));
    CHECK(one.type != ZOO_CHANGED_EVENT && kids.type != ZOO_CHILD_EVENT);
}

static void case_config(zhandle_t *zh) {
    char buf[1024];
    int len = sizeof buf;
    struct Stat stat;
    RC(ZOK, zoo_getconfig(zh, 0, buf, &len, &stat));
    CHECK(len <= 0);
    RC(ZRECONFIGDISABLED, zoo_reconfig(zh, "server.2=127.0.0.1:1:2;3", NULL, NULL, -1, buf, &len, &stat));
}

/* The session that the driver tells on standard input: number and password, in hex. */
static clientid_t read_session(void) {
    clientid_t id = {0};
    unsigned long long number;
    char passwd[2 * sizeof id.passwd + 1];
    CHECK(scanf("%llx %32s", &number, passwd) == 2);
    id.client_id = (int64_t)number;
    for (size_t i = 0; i < sizeof id.passwd; i++) {
        unsigned byte;
        CHECK(sscanf(passwd + 2 * i, "%2x", &byte) == 1);
        id.passwd[i] = (char)byte;
    }
    return id;
}

/* A handle for a session that cannot be renewed. */
static void refused(const clientid_t *id) {
    struct session s = {0};
    zhandle_t *zh = zookeeper_init2(host, on_session, 20000, id, &s, 0, NULL);
    CHECK(wait_count(&s.expired, 1));
    CHECK(is_unrecoverable(zh) == ZINVALIDSTATE);
    RC(ZINVALIDSTATE, zoo_set(zh, at("x"), "", 0, -1));
    zookeeper_close(zh);
}

static void case_sessions(zhandle_t *zh) {
    struct session s;
    struct Stat stat;
    clientid_t id = *zoo_client_id(zh);
    CHECK(id.client_id != 0 && zoo_recv_timeout(zh) > 0 && zoo_state(zh) == ZOO_CONNECTED_STATE);
    CHECK(is_unrecoverable(zh) == ZOK && strcmp(zoo_get_current_server(zh), host) == 0);
    id = read_session();
    zhandle_t *heir = open_session(&s, &id);
    CHECK(zoo_client_id(heir)->client_id == id.client_id);
    RC(ZOK, zoo_exists(heir, at("e"), 0, &stat));
    CHECK(stat.ephemeralOwner == id.client_id);
    RC(ZOK, zookeeper_close(heir));
    RC(ZNONODE, zoo_exists(zh, at("e"), 0, &stat));
    refused(&id);
    /* A wrong password is no session. As with Java it ends the owner's connection, but not the owner's session. */
    id.client_id = zoo_client_id(zh)->client_id;
    refused(&id);
    int rc;
    do
        rc = zoo_exists(zh, at(""), 0, &stat);
    while (rc == ZCONNECTIONLOSS);
    RC(ZOK, rc);
    CHECK(zoo_client_id(zh)->client_id == id.client_id);
}

/* Session, ephemerals, watches and identity survive a restart of the server. */
static void case_restart(zhandle_t *zh) {
    struct seen data = {0}, exist = {0}, child = {0}, missed = {0};
    char buf[16];
    int len = sizeof buf;
    struct Stat stat;
    struct String_vector names;
    struct done d;
    struct session s;
    zhandle_t *mine = open_session(&s, NULL);
    int64_t id = zoo_client_id(mine)->client_id;
    ASYNC(ZOK, d, zoo_add_auth(mine, "digest", "bob:secret", 10, on_void, &d));
    RC(ZOK, zoo_create(mine, at("own"), "1", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    RC(ZOK, zoo_create(mine, at("e"), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0));
    RC(ZOK, zoo_create(mine, at("w"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    RC(ZOK, zoo_create(mine, at("missed"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    RC(ZOK, zoo_wget(mine, at("w"), on_event, &data, buf, &len, &stat));
    RC(ZOK, zoo_wexists(mine, at("missed"), on_event, &missed, &stat));
    RC(ZNONODE, zoo_wexists(mine, at("new"), on_event, &exist, &stat));
    RC(ZOK, zoo_wget_children(mine, at("w"), on_event, &child, &names));
    deallocate_String_vector(&names);
    int connected = s.connected;
    printf("restart\n");
    fflush(stdout);
    CHECK(fgets(buf, sizeof buf, stdin) != NULL);
    CHECK(wait_count(&s.connected, connected + 1));
    CHECK(zoo_client_id(mine)->client_id == id);
    RC(ZOK, zoo_exists(mine, at("e"), 0, &stat));
    CHECK(stat.ephemeralOwner == id);
    len = sizeof buf;
    RC(ZOK, zoo_get(mine, at("own"), 0, buf, &len, &stat)); /* authenticated again */
    CHECK(saw(&missed, 1, ZOO_CHANGED_EVENT, at("missed"))); /* set by the driver between the two */
    RC(ZOK, zoo_set(mine, at("w"), "2", 1, -1));
    CHECK(saw(&data, 1, ZOO_CHANGED_EVENT, at("w")));
    RC(ZOK, zoo_create(mine, at("w/k"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    CHECK(saw(&child, 1, ZOO_CHILD_EVENT, at("w")));
    RC(ZOK, zoo_create(mine, at("new"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    CHECK(saw(&exist, 1, ZOO_CREATED_EVENT, at("new")));
    RC(ZOK, zoo_delete(mine, at("own"), -1));
    zookeeper_close(mine);
    (void)zh;
}

static const struct {
    const char *name;
    void (*run)(zhandle_t *zh);
} cases[] = {
    {"create", case_create},   {"read_write", case_read_write}, {"acl", case_acl},
    {"multi", case_multi},     {"async", case_async},           {"watches", case_watches},
    {"config", case_config},   {"remove_watches", case_remove_watches}, {"sessions", case_sessions},
    {"restart", case_restart},
};

int main(int argc, char **argv) {
    struct session s;
    if (argc != 4)
        return 2;
    host = argv[1];
    root = argv[3];
    zoo_set_debug_level(0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (strcmp(cases[i].name, argv[2]) != 0)
            continue;
        zhandle_t *zh = open_session(&s, NULL);
        cases[i].run(zh);
        RC(ZOK, zookeeper_close(zh));
        printf("%s\n", failures == 0 ? "ok" : "failed");
        return failures == 0 ? 0 : 1;
    }
    printf("no such case\n");
    return 2;
}
