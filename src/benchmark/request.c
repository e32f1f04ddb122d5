#include "benchmark/request.h"

#include <stdio.h>

#include "base/mem.h"

static const char *const name_prefixes[NAME_KINDS] = {"/key-", "/new-", "/children/key-"};

void request_digits(char *out, uint64_t value) {
    static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445"
        "46474849505152535455565758596061626364656667686970717273747576777879808182838485868788899091"
        "9293949596979899";
    for (int i = NAME_DIGITS - 2; i >= 0; i -= 2) {
        memcpy(out + i, pairs + value % 100 * 2, 2);
        value /= 100;
    }
}

void request_pattern(uint8_t *data, size_t len) {
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)('a' + i % 26);
}

void request_env_init(struct request_env *env, const char *prefix, size_t data_len, uint64_t keyspace) {
    memset(env, 0, sizeof *env);
    for (int i = 0; i < NAME_KINDS; i++) {
        struct buf path = BUF_INIT;
        buf_printf(&path, "%s%s%0*d", prefix, name_prefixes[i], NAME_DIGITS, 0);
        env->name_len[i] = path.len;
        env->names[i] = (char *)path.data;
    }
    struct buf children = BUF_INIT;
    buf_printf(&children, "%s/children", prefix);
    buf_append(&children, "", 1);
    env->children_path = (char *)children.data;
    env->data = mem_alloc(data_len);
    env->data_len = data_len;
    env->keyspace = keyspace;
    request_pattern(env->data, data_len);
}

void request_env_free(struct request_env *env) {
    for (int i = 0; i < NAME_KINDS; i++)
        mem_free(env->names[i]);
    mem_free(env->children_path);
    mem_free(env->data);
}

struct slice request_path(struct request_env *env, enum name_kind name, uint64_t key) {
    request_digits(env->names[name] + env->name_len[name] - NAME_DIGITS, key);
    return (struct slice){env->names[name], env->name_len[name]};
}

/* Data of the znode whose path was made last. */
static struct slice stamped_data(struct request_env *env, const struct slice *path) {
    if (env->data_len >= NAME_DIGITS)
        memcpy(env->data, path->data + path->len - NAME_DIGITS, NAME_DIGITS);
    return (struct slice){(const char *)env->data, env->data_len};
}

/* ---- bodies of requests ---- */

static void put_nothing(struct request_env *env, struct buf *out, const struct op *op) {
    (void)env;
    (void)out;
    (void)op;
}

static void put_get(struct request_env *env, struct buf *out, const struct op *op) {
    jute_put_bytes(out, request_path(env, op->name, op->key));
    jute_put_bool(out, op->kind == REQUEST_GET_WATCH || op->kind == REQUEST_ECHO_GET_WATCH);
}

static void put_set(struct request_env *env, struct buf *out, const struct op *op) {
    struct slice path = request_path(env, op->name, op->key);
    jute_put_bytes(out, path);
    jute_put_bytes(out, stamped_data(env, &path));
    jute_put_int(out, -1);
}

static void put_create_record(struct buf *out, struct slice path, struct slice data) {
    static const struct acl_entry open_acl = {PERM_ALL, SLICE_LIT("world"), SLICE_LIT("anyone")};
    jute_put_bytes(out, path);
    jute_put_bytes(out, data);
    jute_put_int(out, 1);
    acl_entry_put(out, &open_acl);
    jute_put_int(out, CREATE_PERSISTENT);
}

static void put_create(struct request_env *env, struct buf *out, const struct op *op) {
    struct slice path = request_path(env, op->name, op->key);
    put_create_record(out, path, stamped_data(env, &path));
}

static void put_delete(struct request_env *env, struct buf *out, const struct op *op) {
    jute_put_bytes(out, request_path(env, op->name, op->key));
    jute_put_int(out, -1);
}

static void put_multi(struct request_env *env, struct buf *out, const struct op *op) {
    for (uint32_t i = 0; i < op->count; i++) {
        struct op one = *op;
        one.key = (op->key + i) % env->keyspace;
        multi_header_put(out, (struct multi_header){OP_SET_DATA, false, -1});
        put_set(env, out, &one);
    }
    multi_header_put(out, (struct multi_header){-1, true, -1});
}

static void put_children(struct request_env *env, struct buf *out, const struct op *op) {
    (void)op;
    jute_put_bytes(out, slice_of(env->children_path));
    jute_put_bool(out, false);
}

static void put_set_watches(struct request_env *env, struct buf *out, const struct op *op) {
    jute_put_int(out, (int32_t)op->count);
    for (uint32_t i = 0; i < op->count; i++)
        jute_put_bytes(out, request_path(env, op->name, (op->key + i) % env->keyspace));
    for (int i = 0; i < 4; i++) /* exist, child, persistent and recursive watches: none */
        jute_put_int(out, 0);
}

static void put_add_watch(struct request_env *env, struct buf *out, const struct op *op) {
    jute_put_bytes(out, request_path(env, op->name, op->key));
    jute_put_int(out, ADD_WATCH_PERSISTENT);
}

static void put_create_path(struct request_env *env, struct buf *out, const struct op *op) {
    put_create_record(out, slice_of(env->paths[op->key]), (struct slice){"", 0});
}

static void put_delete_path(struct request_env *env, struct buf *out, const struct op *op) {
    jute_put_bytes(out, slice_of(env->paths[op->key]));
    jute_put_int(out, -1);
}

/* ---- checks of replies ---- */

#define WRONG(env, ...) (snprintf((env)->why, sizeof(env)->why, __VA_ARGS__), (env)->why)

static const char *check_end(struct request_env *env, const struct jute_in *in) {
    if (in->failed)
        return WRONG(env, "the body is too short");
    if (jute_left(in) != 0)
        return WRONG(env, "%zu bytes behind the body", jute_left(in));
    return NULL;
}

static const char *check_nothing(struct request_env *env, const struct op *op, const struct reply_header *header,
                                 struct jute_in *in) {
    (void)op;
    (void)header;
    return check_end(env, in);
}

static const char *check_stat(struct request_env *env, const struct reply_header *header, struct jute_in *in,
                              size_t data_len, struct stat_view *stat) {
    if (!stat_view_get(in, stat))
        return WRONG(env, "the Stat is too short");
    if (stat->data_length != (int32_t)data_len)
        return WRONG(env, "Stat.dataLength is %d, expected %zu", stat->data_length, data_len);
    if (stat->czxid > stat->mzxid || stat->mzxid > header->zxid)
        return WRONG(env, "Stat.czxid 0x%llx, mzxid 0x%llx and the reply's zxid 0x%llx are not in order",
                     (unsigned long long)stat->czxid, (unsigned long long)stat->mzxid,
                     (unsigned long long)header->zxid);
    if (stat->version < 0 || stat->ephemeral_owner != 0)
        return WRONG(env, "Stat.version %d, ephemeralOwner 0x%llx", stat->version,
                     (unsigned long long)stat->ephemeral_owner);
    return NULL;
}

static const char *check_get(struct request_env *env, const struct op *op, const struct reply_header *header,
                             struct jute_in *in) {
    struct slice data = jute_bytes(in), path = request_path(env, op->name, op->key);
    struct stat_view stat;
    if (data.len != env->data_len)
        return WRONG(env, "%zu bytes of data, expected %zu", data.len, env->data_len);
    bool echo = op->kind == REQUEST_ECHO_GET || op->kind == REQUEST_ECHO_GET_WATCH;
    if (!echo && !slice_eq(data, stamped_data(env, &path)))
        return WRONG(env, "the data is not what was written to %.*s", (int)path.len, path.data);
    const char *why = check_stat(env, header, in, env->data_len, &stat);
    return why ? why : check_end(env, in);
}

static const char *check_set_record(struct request_env *env, const struct reply_header *header, struct jute_in *in) {
    struct stat_view stat;
    const char *why = check_stat(env, header, in, env->data_len, &stat);
    if (why == NULL && stat.mzxid != header->zxid)
        why = WRONG(env, "Stat.mzxid 0x%llx is not the transaction's zxid 0x%llx", (unsigned long long)stat.mzxid,
                    (unsigned long long)header->zxid);
    return why;
}

static const char *check_set(struct request_env *env, const struct op *op, const struct reply_header *header,
                             struct jute_in *in) {
    (void)op;
    const char *why = check_set_record(env, header, in);
    return why ? why : check_end(env, in);
}

static const char *check_echoed_path(struct request_env *env, struct jute_in *in, struct slice path) {
    struct slice got = jute_bytes(in);
    if (!slice_eq(got, path))
        return WRONG(env, "the reply names the path \"%.*s\"", (int)size_min(got.len, 100), got.data ? got.data : "");
    return check_end(env, in);
}

static const char *check_create(struct request_env *env, const struct op *op, const struct reply_header *header,
                                struct jute_in *in) {
    (void)header;
    return check_echoed_path(env, in, request_path(env, op->name, op->key));
}

static const char *check_create_path(struct request_env *env, const struct op *op, const struct reply_header *header,
                                     struct jute_in *in) {
    (void)header;
    return check_echoed_path(env, in, slice_of(env->paths[op->key]));
}

static const char *check_multi(struct request_env *env, const struct op *op, const struct reply_header *header,
                               struct jute_in *in) {
    for (uint32_t i = 0; i < op->count; i++) {
        struct multi_header h = multi_header_get(in);
        if (in->failed || h.done || h.type != OP_SET_DATA || h.err != 0)
            return WRONG(env, "result %u of %u has type %d, err %d", i + 1, op->count, h.type, h.err);
        const char *why = check_set_record(env, header, in);
        if (why)
            return why;
    }
    struct multi_header last = multi_header_get(in);
    if (in->failed || !last.done)
        return WRONG(env, "more than %u results", op->count);
    return check_end(env, in);
}

static bool parse_child(struct slice name, uint64_t *key) {
    int64_t value;
    if (name.len != 4 + NAME_DIGITS || memcmp(name.data, "key-", 4) != 0)
        return false;
    if (!str_to_i64((struct slice){name.data + 4, NAME_DIGITS}, &value) || value < 0)
        return false;
    *key = (uint64_t)value;
    return true;
}

/* Count, range and sum of the numbers: enough to notice a missing or doubled child without a bitmap per reply. */
static const char *check_children(struct request_env *env, const struct op *op, const struct reply_header *header,
                                  struct jute_in *in) {
    (void)header;
    int32_t count = jute_count(in);
    uint64_t sum = 0, key;
    struct stat_view stat;
    if (count != (int32_t)op->count)
        return WRONG(env, "%d children, expected %u", count, op->count);
    for (int32_t i = 0; i < count; i++) {
        struct slice name = jute_bytes(in);
        if (!parse_child(name, &key) || key >= op->count)
            return WRONG(env, "a child named \"%.*s\"", (int)size_min(name.len, 100), name.data ? name.data : "");
        sum += key;
    }
    if (sum != (uint64_t)op->count * (op->count - (op->count != 0)) / 2)
        return WRONG(env, "a child is missing and another one is there twice");
    if (!stat_view_get(in, &stat) || stat.num_children != count)
        return WRONG(env, "Stat.numChildren is %d with %d children", stat.num_children, count);
    return check_end(env, in);
}

static const char *check_add_watch(struct request_env *env, const struct op *op, const struct reply_header *header,
                                   struct jute_in *in) {
    (void)op;
    (void)header;
    int32_t err = jute_int(in);
    if (err != 0)
        return WRONG(env, "the body says err %d", err);
    return check_end(env, in);
}

/* ---- the table ---- */

static const struct {
    const char *name;
    int32_t opcode;
    bool is_write;
    void (*put)(struct request_env *env, struct buf *out, const struct op *op);
    const char *(*check)(struct request_env *env, const struct op *op, const struct reply_header *header,
                         struct jute_in *in);
} kinds[REQUEST_KINDS] = {
    [REQUEST_GET] = {"getData", OP_GET_DATA, false, put_get, check_get},
    [REQUEST_GET_WATCH] = {"getData with watch", OP_GET_DATA, false, put_get, check_get},
    [REQUEST_SET] = {"setData", OP_SET_DATA, true, put_set, check_set},
    [REQUEST_CREATE] = {"create", OP_CREATE, true, put_create, check_create},
    [REQUEST_DELETE] = {"delete", OP_DELETE, true, put_delete, check_nothing},
    [REQUEST_MULTI] = {"multi", OP_MULTI, true, put_multi, check_multi},
    [REQUEST_CHILDREN] = {"getChildren2", OP_GET_CHILDREN2, false, put_children, check_children},
    [REQUEST_SET_WATCHES] = {"setWatches2", OP_SET_WATCHES2, false, put_set_watches, check_nothing},
    [REQUEST_ADD_WATCH] = {"addWatch", OP_ADD_WATCH, false, put_add_watch, check_add_watch},
    [REQUEST_CREATE_PATH] = {"create", OP_CREATE, true, put_create_path, check_create_path},
    [REQUEST_DELETE_PATH] = {"delete", OP_DELETE, true, put_delete_path, check_nothing},
    [REQUEST_ECHO_GET] = {"getData", OP_GET_DATA, false, put_get, check_get},
    [REQUEST_ECHO_GET_WATCH] = {"getData with watch", OP_GET_DATA, false, put_get, check_get},
    [REQUEST_ECHO_SET] = {"setData", OP_SET_DATA, true, put_set, check_set},
    [REQUEST_PING] = {"ping", OP_PING, false, put_nothing, check_nothing},
    [REQUEST_KEEPALIVE] = {"ping", OP_PING, false, put_nothing, check_nothing},
    [REQUEST_CLOSE] = {"closeSession", OP_CLOSE_SESSION, true, put_nothing, check_nothing},
};

void request_put(struct request_env *env, struct buf *out, const struct op *op, zxid_t last_zxid) {
    size_t start = frame_begin(out);
    jute_put_int(out, op->xid);
    jute_put_int(out, kinds[op->kind].opcode);
    if (op->kind == REQUEST_SET_WATCHES)
        jute_put_long(out, last_zxid);
    kinds[op->kind].put(env, out, op);
    frame_end(out, start);
}

const char *request_check(struct request_env *env, const struct op *op, const struct reply_header *header,
                          struct jute_in *body) {
    if (header->err != 0 && header->err == op->tolerated)
        return NULL;
    if (header->err != 0)
        return WRONG(env, "error %d", header->err);
    return kinds[op->kind].check(env, op, header, body);
}

bool request_is_write(enum request_kind kind) { return kinds[kind].is_write; }
const char *request_name(enum request_kind kind) { return kinds[kind].name; }
