/* The data tree: one function per transaction type, look-ups, owners, digest, loading. The apply rules are those of
 * docs/protocol/disk-format.md section 7. */
#include <inttypes.h>
#include <stdio.h>

#include "tree_help.h"

static struct stat_view view(const struct tree *t, const char *path) {
    struct stat_view v;
    ck_assert_ptr_nonnull(get(t, path));
    tree_stat_view(t, get(t, path), &v);
    return v;
}

static struct tree_create create_of(const char *path, struct slice acl, int32_t parent_cversion, zxid_t zxid) {
    return (struct tree_create){
        .path = slice_of(path), .data = SLICE_LIT("x"), .acl = acl, .parent_cversion = parent_cversion, .zxid = zxid};
}

/* ------------------------------------------------------------------ a fresh tree */

START_TEST(fresh) {
    struct tree *t = new_tree();
    ck_assert_uint_eq(tree_count(t), 4);
    ck_assert_uint_eq(tree_digest(t), FRESH_DIGEST);
    ck_assert_int_eq(view(t, "/").cversion, -1);
    ck_assert_int_eq(view(t, "/zookeeper").cversion, -2);
    ck_assert_int_eq(view(t, "/zookeeper").num_children, 2);
    ck_assert_int_eq(view(t, "/zookeeper/config").aversion, -1);
    ck_assert_uint_eq(get(t, "/zookeeper/quota")->acl, ACL_OPEN);
    ck_assert(slice_eq(acl_bytes(tree_acls(t), get(t, "/zookeeper/config")->acl), ACL_READ));
    expect_data(t, "/zookeeper", "");
    ck_assert_uint_eq(znode_descendants(tree_root(t)), 3);
    ck_assert_uint_eq(tree_path_data_bytes(t), strlen("/zookeeper/zookeeper/quota/zookeeper/config"));
    check_tree(t);
    tree_free(t);
}
END_TEST

START_TEST(root_has_two_names) {
    struct tree *t = new_tree();
    ck_assert_ptr_eq(get(t, ""), tree_root(t));
    ck_assert_ptr_eq(get(t, "/"), tree_root(t));
    ck_assert_uint_eq(tree_hash(t, SLICE_LIT("")), tree_hash(t, SLICE_LIT("/")));
    ck_assert_ptr_eq(tree_find_hashed(t, SLICE_NULL, 77), tree_root(t));
    ck_assert_uint_eq(digest_crc(SLICE_LIT("/"), SLICE_LIT("x")), digest_crc(SLICE_LIT(""), SLICE_LIT("x")));
    struct buf b = BUF_INIT;
    znode_path(tree_root(t), &b);
    ck_assert(slice_is(buf_slice(&b), "/"));
    buf_free(&b);
    tree_free(t);
}
END_TEST

START_TEST(find_takes_paths_literally) {
    struct tree *t = new_tree();
    put(t, "/a", "", 1);
    put(t, "/a/b", "", 2);
    static const char *const missing[] = {"a",     "//",  "//a",    "/a/", "/a//b", "/b",
                                          "/a/b/", "a/b", "/a/./b", "/ab", "b",     " "};
    for (size_t i = 0; i < ARRAY_LEN(missing); i++) {
        ck_assert_msg(get(t, missing[i]) == NULL, "%s", missing[i]);
        ck_assert(!znode_path_is(get(t, "/a/b"), slice_of(missing[i])));
    }
    ck_assert_ptr_nonnull(get(t, "/a/b"));
    struct slice path = SLICE_LIT("/a/b");
    ck_assert_ptr_eq(tree_find_hashed(t, path, tree_hash(t, path)), get(t, "/a/b"));
    tree_free(t);
}
END_TEST

/* ------------------------------------------------------------------ create */

START_TEST(create_sets_all) {
    struct tree *t = new_tree();
    ck_assert_int_eq(put(t, "/a", "data", 7), ZK_OK);
    struct stat_view v = view(t, "/a");
    ck_assert(v.czxid == 7 && v.mzxid == 7 && v.pzxid == 7 && v.ctime == 1007 && v.mtime == 1007);
    ck_assert(v.version == 0 && v.cversion == 0 && v.aversion == 0 && v.data_length == 4);
    ck_assert_int_eq(view(t, "/").cversion, 0); /* 2 * 1 creation - 2 children */
    ck_assert_int_eq(view(t, "/").pzxid, 7);
    ck_assert_int_eq(view(t, "/").mzxid, 0);
    check_tree(t);
    tree_free(t);
}
END_TEST

START_TEST(null_data_is_not_empty_data) {
    struct tree *t = new_tree();
    put(t, "/null", NULL, 1);
    put(t, "/empty", "", 2);
    expect_data(t, "/null", NULL);
    expect_data(t, "/empty", "");
    ck_assert_int_eq(view(t, "/null").data_length, 0);
    set(t, "/null", "", 3);
    set(t, "/empty", NULL, 4);
    expect_data(t, "/null", "");
    expect_data(t, "/empty", NULL);
    check_tree(t);
    tree_free(t);
}
END_TEST

START_TEST(create_refuses) {
    struct tree *t = new_tree();
    put(t, "/a", "", 1);
    uint64_t digest = tree_digest(t);
    static const struct {
        const char *path;
        int err;
    } cases[] = {
        {"/", ZK_NODE_EXISTS},       {"", ZK_NODE_EXISTS},       {"/b/c", ZK_NO_NODE},
        {"/a/b/c", ZK_NO_NODE},      {"a", ZK_BAD_ARGUMENTS},    {"//a", ZK_BAD_ARGUMENTS},
        {"/a/", ZK_BAD_ARGUMENTS},   {"/a//b", ZK_NO_NODE},      {"//", ZK_BAD_ARGUMENTS},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        ck_assert_msg(put(t, cases[i].path, "x", 9) == cases[i].err, "%s", cases[i].path);
    ck_assert_uint_eq(tree_digest(t), digest);
    ck_assert_uint_eq(acl_count(tree_acls(t)), 2); /* ours and that of /zookeeper/config */
    check_tree(t);
    tree_free(t);
}
END_TEST

START_TEST(name_too_long) {
    struct tree *t = new_tree();
    size_t len = ZNODE_NAME_MAX;
    struct buf b = BUF_INIT;
    memset(buf_tail(&b, len + 2), 'n', len + 2);
    b.data[0] = '/';
    struct tree_create c = {.acl = ACL_WORLD, .parent_cversion = -1, .zxid = 1};
    c.path = (struct slice){(const char *)b.data, len + 2};
    ck_assert_int_eq(tree_create(t, &c, 0, NULL), ZK_BAD_ARGUMENTS);
    ck_assert_int_eq(tree_load_node(t, c.path, SLICE_NULL, ACL_OPEN, &(struct node_stat){0}), ZK_BAD_ARGUMENTS);
    c.path.len--;
    ck_assert_int_eq(tree_create(t, &c, 0, NULL), ZK_OK);
    ck_assert_uint_eq(tree_find(t, c.path)->name_len, len);
    ck_assert_int_eq(tree_delete(t, c.path, 2), ZK_OK);
    buf_free(&b);
    tree_free(t);
}
END_TEST

/* The parent's counter and pzxid move together, and only upwards. */
START_TEST(parent_cversion) {
    static const struct {
        int32_t before, given, after;
    } cases[] = {
        {5, -1, 6}, {5, 6, 6}, {5, 9, 9}, {5, 5, 5}, {5, 2, 5}, {INT32_MAX, -1, INT32_MAX}, {-7, -1, -6}, {-7, -3, -3},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct tree *t = tree_new_empty(&(struct tree_options){.digest_enabled = true});
        tree_load_node(t, SLICE_LIT(""), SLICE_LIT(""), ACL_OPEN,
                       &(struct node_stat){.cversion = cases[i].before, .pzxid = 1});
        struct tree_create c = create_of("/n", ACL_WORLD, cases[i].given, 50);
        ck_assert_int_eq(tree_create(t, &c, 0, NULL), ZK_OK);
        ck_assert_int_eq(tree_root(t)->cversion, cases[i].after);
        ck_assert_int_eq(tree_root(t)->pzxid, cases[i].after != cases[i].before ? 50 : 1);
        check_tree(t);
        tree_free(t);
    }
}
END_TEST

START_TEST(create_of_an_existing_node) {
    struct tree *t = new_tree();
    put(t, "/a", "old", 1);
    struct tree_create c = create_of("/a", ACL_WRITE, 10, 20);
    struct znode *n = get(t, "/a"), *created = NULL;
    ck_assert_int_eq(tree_create(t, &c, tree_hash(t, c.path), &created), ZK_NODE_EXISTS);
    ck_assert_ptr_null(created);
    ck_assert(slice_eq(acl_bytes(tree_acls(t), n->acl), ACL_WRITE));
    ck_assert_uint_eq(acl_count(tree_acls(t)), 2); /* the old list is gone */
    ck_assert(n->aversion == 0 && n->czxid == 1);
    expect_data(t, "/a", "old");
    ck_assert(tree_root(t)->cversion == 1 && tree_root(t)->pzxid == 1);
    c.raise_parent_if_exists = true;
    ck_assert_int_eq(tree_create(t, &c, 0, NULL), ZK_NODE_EXISTS);
    ck_assert(tree_root(t)->cversion == 10 && tree_root(t)->pzxid == 20);
    c.parent_cversion = 9;
    c.zxid = 30;
    tree_create(t, &c, 0, NULL);
    ck_assert(tree_root(t)->cversion == 10 && tree_root(t)->pzxid == 20);
    check_tree(t);
    tree_free(t);
}
END_TEST

/* ------------------------------------------------------------------ delete */

START_TEST(delete_moves_only_pzxid) {
    struct tree *t = new_tree();
    put(t, "/a", "", 1);
    put(t, "/a/b", "123", 2);
    ck_assert_int_eq(del(t, "/a/b", 9), ZK_OK);
    ck_assert_ptr_null(get(t, "/a/b"));
    struct znode *a = get(t, "/a");
    ck_assert(a->cversion == 1 && a->pzxid == 9 && a->mzxid == 1);
    ck_assert_int_eq(view(t, "/a").cversion, 2);
    ck_assert_ptr_null(a->kids);
    put(t, "/a/b", "", 10);
    del(t, "/a/b", 5); /* replay: the parent is ahead already */
    ck_assert_int_eq(a->pzxid, 10);
    check_tree(t);
    tree_free(t);
}
END_TEST

START_TEST(delete_of_what_is_missing) {
    struct tree *t = new_tree();
    put(t, "/a", "", 1);
    ck_assert_int_eq(del(t, "/a/b", 8), ZK_NO_NODE);
    ck_assert_int_eq(get(t, "/a")->pzxid, 8);
    ck_assert_int_eq(del(t, "/x/y", 9), ZK_NO_NODE);
    static const char *const bad[] = {"", "/", "a", "//a", "/a/"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(del(t, bad[i], 9) == ZK_BAD_ARGUMENTS, "%s", bad[i]);
    ck_assert_int_eq(tree_root(t)->pzxid, 1);
    check_tree(t);
    tree_free(t);
}
END_TEST

START_TEST(delete_of_a_parent) {
    struct tree *t = new_tree();
    put(t, "/a", "", 1);
    put(t, "/a/b", "", 2);
    ck_assert_int_eq(del(t, "/a", 3), ZK_NOT_EMPTY);
    ck_assert_ptr_nonnull(get(t, "/a"));
    ck_assert_int_eq(tree_root(t)->pzxid, 3);
    check_tree(t);
    tree_free(t);
}
END_TEST

/* A log written by another server may hold transactions that no request leads to. */
START_TEST(delete_of_system_nodes) {
    struct tree *t = new_tree();
    ck_assert_int_eq(del(t, "/zookeeper/config", 1), ZK_OK);
    ck_assert_int_eq(del(t, "/zookeeper/quota", 2), ZK_OK);
    ck_assert_int_eq(del(t, "/zookeeper", 3), ZK_OK);
    ck_assert_uint_eq(tree_count(t), 1);
    check_tree(t);
    put(t, "/zookeeper", "", 4);
    put(t, "/zookeeper/x", "", 5);
    check_tree(t);
    tree_load_done(t);
    ck_assert_uint_eq(tree_count(t), 5);
    check_tree(t);
    tree_free(t);
}
END_TEST

/* ------------------------------------------------------------------ setData, setACL */

START_TEST(set_data_sets_what_it_is_told) {
    struct tree *t = new_tree();
    put(t, "/a", "one", 1);
    ck_assert_int_eq(tree_set_data(t, get(t, "/a"), SLICE_LIT("three"), 17, 5, 77), ZK_OK);
    struct stat_view v = view(t, "/a");
    ck_assert(v.version == 17 && v.mzxid == 5 && v.mtime == 77 && v.czxid == 1 && v.pzxid == 1 && v.data_length == 5);
    tree_set_data(t, get(t, "/zookeeper/config"), SLICE_LIT("version=1"), -1, 6, 78);
    ck_assert_int_eq(view(t, "/zookeeper/config").version, -1);
    check_tree(t);
    tree_free(t);
}
END_TEST

/* Data moves out of the node and back in. */
START_TEST(data_sizes) {
    static const size_t sizes[] = {0,    1,   7,    8,      9,  16,  17,      100,  24, 25, 40,   41,  1000, 1023, 1024,
                                   1025, 500, 4000, 100000, 10, 200, 200000, 2000, 3,  0,  5000, 100, 2600, 5200, 1};
    static char bytes[200000];
    struct rng r = {5};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)rng_next(&r);
    for (int64_t owner = 0; owner < 2; owner++) {
        for (size_t first = 0; first < ARRAY_LEN(sizes); first++) {
            struct tree *t = new_tree();
            struct tree_create c = create_of("/some-node", ACL_WORLD, -1, 1);
            c.owner = owner;
            c.data = (struct slice){bytes, sizes[first]};
            tree_create(t, &c, 0, NULL);
            for (size_t i = first; i < ARRAY_LEN(sizes); i++) {
                struct znode *n = get(t, "/some-node");
                struct slice data = {bytes, sizes[i]};
                tree_set_data(t, n, data, 1, 2, 3);
                ck_assert(slice_eq(znode_data(n), data));
                ck_assert(slice_is(znode_name(n), "some-node"));
                ck_assert_int_eq(znode_owner(n), owner);
                check_tree(t);
            }
            tree_free(t);
        }
    }
}
END_TEST

START_TEST(data_may_come_from_the_node_itself) {
    static const size_t sizes[] = {5, 100, 3000, 90000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct tree *t = new_tree();
        struct buf b = BUF_INIT;
        for (size_t k = 0; k < sizes[i]; k++)
            buf_append(&b, &(char){(char)('a' + k % 26)}, 1);
        put(t, "/n", "", 1);
        struct znode *n = get(t, "/n");
        tree_set_data(t, n, buf_slice(&b), 1, 1, 1);
        tree_set_data(t, n, znode_data(n), 1, 1, 1);
        ck_assert(slice_eq(znode_data(n), buf_slice(&b)));
        struct slice part = {znode_data(n).data + 1, sizes[i] / 3};
        tree_set_data(t, n, part, 1, 1, 1);
        ck_assert(slice_eq(znode_data(n), (struct slice){(const char *)b.data + 1, sizes[i] / 3}));
        buf_free(&b);
        tree_free(t);
    }
}
END_TEST

START_TEST(set_acl_counts_references) {
    struct tree *t = new_tree();
    put(t, "/a", "", 1);
    put(t, "/b", "", 2);
    struct znode *a = get(t, "/a");
    tree_set_acl(t, a, ACL_WRITE, 4);
    ck_assert(slice_eq(acl_bytes(tree_acls(t), a->acl), ACL_WRITE));
    ck_assert(a->aversion == 4 && a->mzxid == 1 && a->version == 0);
    ck_assert_uint_eq(acl_count(tree_acls(t)), 3);
    tree_set_acl(t, a, ACL_WRITE, 5); /* the last reference to a list is exchanged for itself */
    ck_assert(slice_eq(acl_bytes(tree_acls(t), a->acl), ACL_WRITE));
    tree_set_acl(t, a, ACL_WORLD, 6);
    ck_assert_uint_eq(acl_count(tree_acls(t)), 2);
    tree_set_acl(t, tree_root(t), ACL_WRITE, 1);
    del(t, "/a", 3);
    del(t, "/b", 4);
    ck_assert_uint_eq(acl_count(tree_acls(t)), 2);
    check_tree(t);
    tree_free(t);
}
END_TEST

START_TEST(watched_flag) {
    struct tree *t = new_tree();
    put(t, "/a", "x", 1);
    tree_set_watched(get(t, "/a"), true);
    ck_assert_int_ne(get(t, "/a")->flags & ZNODE_WATCHED, 0);
    expect_data(t, "/a", "x");
    tree_set_watched(get(t, "/a"), false);
    ck_assert_int_eq(get(t, "/a")->flags, 0);
    tree_free(t);
}
END_TEST

/* ------------------------------------------------------------------ stat, owners */

START_TEST(seen_cversion) {
    struct tree *t = new_tree();
    put(t, "/a", "", 1);
    char path[32];
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "/a/%d", i);
        put(t, path, "", 2 + i);
    }
    ck_assert_int_eq(view(t, "/a").cversion, 5);
    del(t, "/a/1", 10);
    del(t, "/a/3", 11);
    ck_assert_int_eq(view(t, "/a").cversion, 7);
    ck_assert_int_eq(view(t, "/a").num_children, 3);
    get(t, "/zookeeper/quota")->cversion = INT32_MAX; /* wraps as Java's int does */
    ck_assert_int_eq(view(t, "/zookeeper/quota").cversion, -2);
    tree_free(t);
}
END_TEST

static char kind_letter(const struct tree *t, int64_t owner) { return "PECT"[tree_owner_kind(t, owner)]; }

START_TEST(owner_kinds) {
    static const struct {
        uint64_t owner;
        const char *kinds; /* letters of kind_letter; for the options plain, extended, emulated */
        bool invalid;
        int64_t ttl;
    } cases[] = {
        {0, "PPP", false, 0},
        {0x8000000000000000, "CCC", false, 0},
        {0x100002527d10005, "EEE", false, 0},
        {0xff00000000000001, "ETT", false, 1},
        {0xff0000ffffffffff, "ETT", false, 0xffffffffff},
        {0xff00010000000001, "EET", true, 1},
        {0xffffff0000000000, "EET", true, 0},
        {0xfe00000000000001, "EET", false, 1},
        {0x8000000000000064, "EET", false, 100},
        {0x7f00000000000001, "EEE", false, 0},
    };
    struct tree *plain = tree_new(&(struct tree_options){.emulate_353_ttl = true});
    struct tree *extended = tree_new(&(struct tree_options){.extended_types = true});
    struct tree *emulated = tree_new(&(struct tree_options){.extended_types = true, .emulate_353_ttl = true});
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t owner = (int64_t)cases[i].owner;
        ck_assert_int_eq(kind_letter(plain, owner), cases[i].kinds[0]);
        ck_assert_int_eq(kind_letter(extended, owner), cases[i].kinds[1]);
        ck_assert_int_eq(kind_letter(emulated, owner), cases[i].kinds[2]);
        ck_assert(!tree_owner_invalid(plain, owner) && !tree_owner_invalid(emulated, owner));
        ck_assert(tree_owner_invalid(extended, owner) == cases[i].invalid);
        ck_assert_int_eq(tree_owner_ttl(emulated, owner), cases[i].ttl);
    }
    tree_free(plain);
    tree_free(extended);
    tree_free(emulated);
}
END_TEST

START_TEST(owner_shown_for_ephemerals_only) {
    struct tree *t = new_tree();
    put_owned(t, "/e", "", 0x1234, 1);
    put_owned(t, "/c", "", OWNER_CONTAINER, 2);
    put_owned(t, "/t", "", (int64_t)0xff00000000000064, 3);
    put(t, "/p", "", 4);
    ck_assert_int_eq(view(t, "/e").ephemeral_owner, 0x1234);
    ck_assert_int_eq(view(t, "/c").ephemeral_owner, 0);
    ck_assert_int_eq(view(t, "/t").ephemeral_owner, 0);
    ck_assert_int_eq(view(t, "/p").ephemeral_owner, 0);
    ck_assert_int_eq(znode_owner(get(t, "/t")), (int64_t)0xff00000000000064);
    check_tree(t);
    tree_free(t);
}
END_TEST

START_TEST(owned_lists) {
    struct tree *t = new_tree();
    char path[32];
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "/e%d", i);
        put_owned(t, path, "", 1 + i % 3, i);
    }
    put_owned(t, "/c", "", OWNER_CONTAINER, 200);
    put_owned(t, "/t", "", (int64_t)0xff00000000000001, 201);
    ck_assert_uint_eq(tree_owned_by(t, 1)->count, 34);
    ck_assert_uint_eq(tree_owner_count(t), 3);
    ck_assert_uint_eq(tree_ephemeral_count(t), 100);
    ck_assert_ptr_eq(tree_containers(t)->nodes[0], get(t, "/c"));
    ck_assert_ptr_eq(tree_ttl_nodes(t)->nodes[0], get(t, "/t"));
    ck_assert_ptr_null(tree_owned_by(t, 9));
    for (struct owned *o; (o = tree_owned_by(t, 2)) != NULL;) {
        tree_delete_node(t, o->nodes[o->count / 2], 300);
        check_tree(t);
    }
    ck_assert_uint_eq(tree_ephemeral_count(t), 67);
    del(t, "/c", 301);
    del(t, "/t", 302);
    ck_assert(tree_containers(t)->count == 0 && tree_ttl_nodes(t)->count == 0);
    tree_free(t);
}
END_TEST

/* ------------------------------------------------------------------ digest */

START_TEST(crc_is_that_of_zlib) {
    uint8_t bytes[400];
    struct rng r = {1};
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)rng_next(&r);
    for (size_t at = 0; at < 17; at++)
        for (size_t path_len = 2; path_len < 80; path_len += 1 + path_len / 20)
            for (size_t data_len = 0; data_len < 300; data_len += 1 + data_len / 30) {
                struct slice path = {(char *)bytes + at, path_len}, data = {(char *)bytes + at + path_len, data_len};
                uint32_t want = (uint32_t)crc32(0, bytes + at, (uInt)(path_len + data_len));
                ck_assert_uint_eq(digest_crc(path, data), want);
            }
    ck_assert_uint_eq(digest_crc(SLICE_LIT(""), SLICE_NULL), 0);
    ck_assert_uint_eq(digest_crc(SLICE_LIT("/a"), SLICE_NULL), crc32(0, (const Bytef *)"/a", 2));
}
END_TEST

START_TEST(node_digest_of_every_field) {
    struct rng r = {2};
    for (int i = 0; i < 1000; i++) {
        struct node_stat s = {
            .czxid = (int64_t)rng_next(&r), .mzxid = (int64_t)rng_next(&r),     .pzxid = (int64_t)rng_next(&r),
            .ctime = (int64_t)rng_next(&r), .mtime = (int64_t)rng_next(&r),     .version = (int32_t)rng_next(&r),
            .cversion = (int32_t)rng_next(&r), .aversion = (int32_t)rng_next(&r), .owner = (int64_t)rng_next(&r)};
        struct slice path = SLICE_LIT("/some/path"), data = SLICE_LIT("some data");
        ck_assert_uint_eq(digest_node(digest_crc(path, data), &s), reference_digest(path, data, &s));
    }
}
END_TEST

START_TEST(system_nodes_are_not_in_the_digest) {
    struct tree *t = new_tree();
    put(t, "/zookeeper/x", "1", 5);
    uint64_t digest = tree_digest(t);
    ck_assert_uint_ne(digest, FRESH_DIGEST); /* /zookeeper itself counts */
    set(t, "/zookeeper/x", "2", 6);
    put(t, "/zookeeper/x/y", "2", 7);
    tree_set_acl(t, get(t, "/zookeeper/x"), ACL_READ, 3);
    ck_assert_uint_eq(tree_digest(t), digest);
    put(t, "/zookeeperx", "", 8);
    ck_assert_uint_ne(tree_digest(t), digest);
    put(t, "/a", "", 8);
    put(t, "/a/zookeeper", "", 8);
    put(t, "/a/zookeeper/b", "", 8);
    check_tree(t);
    tree_free(t);
}
END_TEST

START_TEST(digest_switched_off) {
    struct tree *t = tree_new(&(struct tree_options){.digest_enabled = false});
    put(t, "/a", "1", 1);
    set(t, "/a", "2", 2);
    tree_set_acl(t, get(t, "/a"), ACL_READ, 3);
    ck_assert_uint_eq(tree_digest(t), 0);
    del(t, "/a", 3);
    ck_assert_uint_eq(tree_digest(t), 0);
    check_tree(t);
    tree_free(t);
}
END_TEST

/* ------------------------------------------------------------------ size */

static const char *numbered(char *path, uint64_t i) {
    snprintf(path, 32, "/p/%" PRIu64, i * 0x9e3779b97f4a7c15u);
    return path;
}

/* The index grows and shrinks while every node stays to be found; nothing comes back that was deleted. */
START_TEST(index_grows_and_shrinks) {
    enum { NODES = 30000, PROBES = 4 };
    struct tree *t = new_tree();
    struct rng r = {3};
    char path[32];
    put(t, "/p", "", 1);
    for (uint64_t i = 0; i < NODES; i++) {
        put(t, numbered(path, i), "", 2);
        for (int k = 0; k < PROBES; k++)
            ck_assert_ptr_nonnull(get(t, numbered(path, rng_below(&r, i + 1))));
        ck_assert_ptr_null(get(t, numbered(path, i + 1 + rng_below(&r, 1000))));
        if (i % 50 == 0)
            tree_maintain(t);
    }
    uint64_t full = tree_memory(t);
    check_tree(t);
    for (uint64_t i = 0; i < NODES; i++) {
        ck_assert_int_eq(del(t, numbered(path, i), 3), ZK_OK);
        ck_assert_ptr_null(get(t, numbered(path, rng_below(&r, i + 1))));
        for (int k = 0; k < PROBES && i + 1 < NODES; k++)
            ck_assert_ptr_nonnull(get(t, numbered(path, i + 1 + rng_below(&r, NODES - i - 1))));
    }
    while (tree_maintain(t))
        ;
    ck_assert_uint_lt(tree_memory(t), full / 1000);
    check_tree(t);
    tree_free(t);
}
END_TEST

/* Creations and deletions take turns around the size where the table is resized. */
START_TEST(index_goes_to_and_fro) {
    struct tree *t = new_tree();
    struct rng r = {4};
    char path[32];
    uint64_t first = 0, next = 0;
    put(t, "/p", "", 1);
    for (int turn = 0; turn < 30; turn++) {
        uint64_t goal = rng_below(&r, turn % 2 ? 400 : 20000);
        while (next - first < goal)
            put(t, numbered(path, next++), "", 2);
        while (next - first > goal)
            ck_assert_int_eq(del(t, numbered(path, first++), 3), ZK_OK);
        for (uint64_t i = first; i < next; i++)
            ck_assert_ptr_nonnull(get(t, numbered(path, i)));
        if (rng_below(&r, 3) == 0)
            while (tree_maintain(t))
                ;
    }
    check_tree(t);
    tree_free(t);
}
END_TEST

/* Small tables, so that a resize often ends where the ring of the old table closes; nobody helps by tree_maintain. */
START_TEST(index_is_right_at_every_step) {
    enum { NAMES = 200, STEPS = 600 };
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct tree *t = tree_new(&(struct tree_options){.hash_seed = seed});
        struct rng r = {seed};
        bool there[NAMES] = {false};
        char path[32];
        put(t, "/p", "", 1);
        for (int step = 0; step < STEPS; step++) {
            uint64_t i = rng_below(&r, NAMES);
            bool growing = step / 150 % 2 == 0;
            if (there[i] == growing && rng_below(&r, 8) > 0)
                continue;
            ck_assert_int_eq(there[i] ? del(t, numbered(path, i), 3) : put(t, numbered(path, i), "", 2), ZK_OK);
            there[i] = !there[i];
            for (uint64_t k = 0; k < NAMES; k++)
                ck_assert((get(t, numbered(path, k)) != NULL) == there[k]);
        }
        tree_free(t);
    }
}
END_TEST

START_TEST(reserve_changes_nothing_but_room) {
    struct tree *t = new_tree();
    char path[32];
    tree_reserve(t, 1000000);
    ck_assert_uint_lt(tree_memory(t), 500000); /* room is only taken when it is used */
    put(t, "/p", "", 1);
    for (uint64_t i = 0; i < 100; i++)
        put(t, numbered(path, i), "", 2);
    tree_reserve(t, 10);
    tree_reserve(t, 3000000);
    for (uint64_t i = 0; i < 100; i++)
        ck_assert_ptr_nonnull(get(t, numbered(path, i)));
    check_tree(t);
    tree_free(t);
}
END_TEST

/* At most 150 bytes over name and data: the budget, as the C library counts. */
START_TEST(memory_per_node) {
    enum { NODES = 200000 };
    struct tree *t = new_tree();
    char path[64], data[101];
    memset(data, 'd', 100);
    data[100] = '\0';
    uint64_t before = tree_memory(t);
    put(t, "/p", "", 1);
    for (int i = 0; i < NODES; i++) {
        snprintf(path, sizeof path, "/p/node-name-%010d", i);
        put(t, path, data, 2);
    }
    ck_assert_uint_le((tree_memory(t) - before) / NODES, 20 + 100 + 150);
    tree_free(t);
}
END_TEST

START_TEST(deep_path) {
    enum { DEPTH = 6000 };
    struct tree *t = new_tree();
    struct buf b = BUF_INIT, out = BUF_INIT;
    struct tree_create c = {.data = SLICE_LIT("d"), .acl = ACL_WORLD, .parent_cversion = -1, .zxid = 1};
    for (int i = 0; i < DEPTH; i++) {
        buf_append(&b, "/a", 2);
        c.path = buf_slice(&b);
        ck_assert_int_eq(tree_create(t, &c, 0, NULL), ZK_OK);
    }
    struct znode *n = tree_find(t, c.path);
    znode_path(n, &out);
    ck_assert(slice_eq(buf_slice(&out), c.path));
    ck_assert_uint_eq(znode_descendants(tree_root(t)), DEPTH + 3);
    ck_assert_uint_eq(tree_root(t)->kids->data_bytes, DEPTH);
    struct tree *copy = copy_tree(t);
    ck_assert_uint_eq(tree_digest(copy), tree_digest(t));
    for (int i = 0; i < DEPTH / 2; i++, b.len -= 2)
        ck_assert_int_eq(tree_delete(t, buf_slice(&b), 2), ZK_OK);
    ck_assert_uint_eq(tree_count(t), 4 + DEPTH / 2);
    buf_free(&b);
    buf_free(&out);
    tree_free(copy);
    tree_free(t);
}
END_TEST

/* ------------------------------------------------------------------ loading */

static int load(struct tree *t, const char *path, int64_t owner) {
    struct node_stat stat = {.czxid = 1, .cversion = 3, .owner = owner};
    return tree_load_node(t, slice_of(path), SLICE_LIT("d"), ACL_OPEN, &stat);
}

START_TEST(load_refuses) {
    struct tree *t = tree_new_empty(&(struct tree_options){.extended_types = true, .digest_enabled = true});
    ck_assert_int_eq(load(t, "", 0), ZK_OK);
    ck_assert_int_eq(load(t, "", 1), ZK_BAD_ARGUMENTS);
    ck_assert_int_eq(load(t, "/a/b", 0), ZK_NO_NODE);
    ck_assert_int_eq(load(t, "/a", 0), ZK_OK);
    ck_assert_int_eq(load(t, "/a", 0), ZK_NODE_EXISTS);
    ck_assert_int_eq(load(t, "/a/b", 0), ZK_OK);
    ck_assert_int_eq(load(t, "/a/b", 0), ZK_NODE_EXISTS);
    ck_assert_int_eq(load(t, "/a/c/d", 0), ZK_NO_NODE);
    ck_assert_int_eq(load(t, "/a/e", (int64_t)0xff00010000000000), ZK_BAD_ARGUMENTS);
    static const char *const bad[] = {"/", "a", "//a", "/a/", "//"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(load(t, bad[i], 0) == ZK_BAD_ARGUMENTS, "%s", bad[i]);
    ck_assert_int_eq(load(t, "/a//b", 0), ZK_NO_NODE);
    ck_assert_uint_eq(tree_count(t), 3);
    check_tree(t);
    tree_free(t); /* without tree_load_done, as after a bad snapshot */
}
END_TEST

START_TEST(load_adds_system_nodes) {
    struct tree *t = tree_new_empty(&(struct tree_options){.digest_enabled = true});
    tree_load_done(t);
    ck_assert_uint_eq(tree_count(t), 4);
    ck_assert_uint_eq(tree_digest(t), FRESH_DIGEST);
    ck_assert_int_eq(get(t, "/zookeeper/config")->aversion, -1);
    check_tree(t);
    tree_free(t);
    t = tree_new_empty(&(struct tree_options){.digest_enabled = true});
    load(t, "", 0);
    load(t, "/zookeeper", 0);
    load(t, "/zookeeper/quota", 0);
    tree_load_done(t);
    ck_assert_int_eq(get(t, "/zookeeper")->cversion, 3);
    expect_data(t, "/zookeeper/quota", "d");
    ck_assert_uint_eq(tree_count(t), 4);
    check_tree(t);
    tree_free(t);
}
END_TEST

START_TEST(load_remembers_the_right_parent) {
    struct tree *t = tree_new_empty(&(struct tree_options){.digest_enabled = true});
    static const char *const paths[] = {"/a", "/a/x", "/a/y", "/ab", "/ab/x", "/a/z", "/a/z/x", "/b", "/a/z/y", "/ab/y"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        ck_assert_int_eq(load(t, paths[i], 0), ZK_OK);
    ck_assert_uint_eq(znode_children(get(t, "/a")), 3);
    ck_assert_uint_eq(znode_children(get(t, "/ab")), 2);
    ck_assert_int_eq(del(t, "/a/z/x", 1), ZK_OK);
    ck_assert_int_eq(del(t, "/a/z/y", 1), ZK_OK);
    ck_assert_int_eq(del(t, "/a/z", 1), ZK_OK);
    ck_assert_int_eq(load(t, "/a/z/w", 0), ZK_NO_NODE);
    check_tree(t);
    tree_free(t);
}
END_TEST

START_TEST(load_gives_the_same_tree) {
    struct tree *t = new_tree();
    put(t, "/a", "1", 1);
    put_owned(t, "/a/e", NULL, 77, 2);
    put_owned(t, "/a/c", "", OWNER_CONTAINER, 3);
    put_owned(t, "/a/c/t", "ttl", (int64_t)0xff00000000000009, 4);
    tree_set_acl(t, get(t, "/a"), ACL_WRITE, 2);
    set(t, "/", "root data", 5);
    struct tree *copy = copy_tree(t);
    check_tree(copy);
    ck_assert_uint_eq(tree_digest(copy), tree_digest(t));
    ck_assert_uint_eq(tree_count(copy), tree_count(t));
    ck_assert_uint_eq(tree_owned_by(copy, 77)->count, 1);
    ck_assert_uint_eq(acl_count(tree_acls(copy)), acl_count(tree_acls(t)));
    expect_data(copy, "/a/e", NULL);
    expect_data(copy, "/", "root data");
    tree_free(copy);
    tree_free(t);
}
END_TEST

/* ------------------------------------------------------------------ */

static void add_changes(Suite *suite) {
    TCase *tc = tcase_create("changes");
    tcase_add_test(tc, fresh);
    tcase_add_test(tc, root_has_two_names);
    tcase_add_test(tc, find_takes_paths_literally);
    tcase_add_test(tc, create_sets_all);
    tcase_add_test(tc, null_data_is_not_empty_data);
    tcase_add_test(tc, create_refuses);
    tcase_add_test(tc, name_too_long);
    tcase_add_test(tc, parent_cversion);
    tcase_add_test(tc, create_of_an_existing_node);
    tcase_add_test(tc, delete_moves_only_pzxid);
    tcase_add_test(tc, delete_of_what_is_missing);
    tcase_add_test(tc, delete_of_a_parent);
    tcase_add_test(tc, delete_of_system_nodes);
    tcase_add_test(tc, set_data_sets_what_it_is_told);
    tcase_add_test(tc, data_sizes);
    tcase_add_test(tc, data_may_come_from_the_node_itself);
    tcase_add_test(tc, set_acl_counts_references);
    tcase_add_test(tc, watched_flag);
    tcase_set_timeout(tc, 120);
    suite_add_tcase(suite, tc);
}

static void add_owners_and_digest(Suite *suite) {
    TCase *tc = tcase_create("owners and digest");
    tcase_add_test(tc, seen_cversion);
    tcase_add_test(tc, owner_kinds);
    tcase_add_test(tc, owner_shown_for_ephemerals_only);
    tcase_add_test(tc, owned_lists);
    tcase_add_test(tc, crc_is_that_of_zlib);
    tcase_add_test(tc, node_digest_of_every_field);
    tcase_add_test(tc, system_nodes_are_not_in_the_digest);
    tcase_add_test(tc, digest_switched_off);
    tcase_set_timeout(tc, 120);
    suite_add_tcase(suite, tc);
}

static void add_size_and_loading(Suite *suite) {
    TCase *tc = tcase_create("size and loading");
    tcase_add_test(tc, index_grows_and_shrinks);
    tcase_add_test(tc, index_goes_to_and_fro);
    tcase_add_test(tc, index_is_right_at_every_step);
    tcase_add_test(tc, reserve_changes_nothing_but_room);
    tcase_add_test(tc, memory_per_node);
    tcase_add_test(tc, deep_path);
    tcase_add_test(tc, load_refuses);
    tcase_add_test(tc, load_adds_system_nodes);
    tcase_add_test(tc, load_remembers_the_right_parent);
    tcase_add_test(tc, load_gives_the_same_tree);
    tcase_set_timeout(tc, 300); /* valgrind */
    suite_add_tcase(suite, tc);
}

int main(void) {
    Suite *suite = suite_create("tree");
    add_changes(suite);
    add_owners_and_digest(suite);
    add_size_and_loading(suite);
    return run_suite(suite);
}
