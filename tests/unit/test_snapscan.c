/* Where a snapshot ends in a stream of bytes. */
#include "lib/store_help.h"
#include "store/snapscan.h"
#include "store/snapshot_format.h"

/* In loops: Check writes a message for each assertion that holds. */
#define ENSURE(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            ck_abort_msg("%s", #condition);                                                                            \
    } while (0)

#define ITEM_MAX ((size_t)1 << 20)

static void put_acl(struct buf *b, int64_t id, int entries) {
    struct buf list = BUF_INIT;
    jute_put_int(&list, entries);
    for (int i = 0; i < entries; i++)
        acl_entry_put(&list, &(struct acl_entry){.perms = i, .scheme = slice_of(i % 2 ? "digest" : ""), .id = slice_of("a:b")});
    snapshot_put_acl(b, id, buf_slice(&list));
    buf_free(&list);
}

/* Everything that the walk has to get past, and nothing more. Paths that look like the end mark but for one byte; a data length
 * of 1 behind a "" path, so that five bytes are those of the end mark. */
static void put_tree(struct buf *b, int sessions, int acls, bool nodes) {
    struct node_stat stat = {.czxid = -1, .mzxid = -1, .version = 1, .ctime = 0x0000000100000001};
    snapshot_put_count(b, sessions);
    for (int i = 0; i < sessions; i++)
        snapshot_put_session(b, 1000 + i, 10000);
    snapshot_put_count(b, acls);
    for (int i = 0; i < acls; i++)
        put_acl(b, i, i % 3);
    if (nodes) {
        snapshot_put_node(b, slice_of(""), slice_of("/"), -1, &stat);
        snapshot_put_node(b, slice_of("/a"), SLICE_NULL, 1, &stat);
        snapshot_put_node(b, slice_of("/b"), (struct slice){"", 0}, 1, &stat);
        snapshot_put_node(b, slice_of("/a/long name with / in it"), slice_of("data \0\0\0\1/"), 2, &stat);
        snapshot_put_node(b, slice_of("x"), slice_of("\x01/"), 2, &stat);
        snapshot_put_node(b, slice_of(""), SLICE_NULL, 2, &stat);
        snapshot_put_node(b, slice_of(""), (struct slice){"", 0}, 2, &stat);
    }
    snapshot_put_nodes_end(b);
}

/* Feeds pieces that end at these places; returns how many bytes belong to the snapshot. */
static size_t scan_pieces(const struct buf *b, const size_t *ends, size_t count, struct snapscan *s) {
    size_t at = 0, used = 0;
    snapscan_init(s, ITEM_MAX);
    for (size_t i = 0; i < count && !s->done && !s->failed; i++) {
        size_t len = ends[i] - at;
        uint8_t *copy = mem_alloc(len + 1); /* so that the sanitizer sees a look beyond it */
        uint8_t *exact = len != 0 ? mem_realloc(copy, len) : copy;
        memcpy(exact, b->data + at, len);
        size_t n = snapscan_feed(s, exact, len);
        ck_assert_uint_le(n, len);
        ck_assert(n == len || s->done || s->failed);
        mem_free(exact);
        used += n;
        at = ends[i];
    }
    return used;
}

START_TEST(all_at_once) {
    for (int shape = 0; shape < 12; shape++) {
        struct buf b = BUF_INIT;
        struct snapscan s;
        put_tree(&b, shape % 3, shape % 4, shape % 2 != 0);
        size_t end = b.len;
        buf_append(&b, "\0\0\0\x0a" "BenWasHere", 14);
        ck_assert_uint_eq(scan_pieces(&b, &b.len, 1, &s), end);
        ck_assert(s.done && !s.failed);
        ck_assert_uint_eq(s.nodes, shape % 2 != 0 ? 7 : 0);
        ck_assert_uint_eq(snapscan_feed(&s, b.data, b.len), 0);
        buf_free(&b);
    }
}
END_TEST

START_TEST(every_split_in_two_and_three) {
    struct buf b = BUF_INIT;
    struct snapscan s;
    put_tree(&b, 2, 3, true);
    size_t end = b.len;
    buf_append(&b, "\0\0\0\x01/\0\0\0\x01/", 10);
    for (size_t i = 0; i <= b.len; i++)
        for (size_t k = i; k <= b.len; k++) {
            size_t ends[] = {i, k, b.len};
            ENSURE(scan_pieces(&b, ends, 3, &s) == end);
            ENSURE(s.done && !s.failed);
            ENSURE(s.nodes == 7);
        }
    buf_free(&b);
}
END_TEST

START_TEST(pieces_of_one_size) {
    struct buf b = BUF_INIT;
    put_tree(&b, 2, 5, true);
    size_t end = b.len;
    buf_append(&b, "more", 4);
    for (size_t size = 1; size <= 80; size++) {
        struct snapscan s;
        size_t *ends = mem_alloc((b.len + 1) * sizeof *ends), count = 0;
        for (size_t at = size; at < b.len; at += size)
            ends[count++] = at;
        ends[count++] = b.len;
        ENSURE(scan_pieces(&b, ends, count, &s) == end);
        ENSURE(s.done);
        mem_free(ends);
    }
    buf_free(&b);
}
END_TEST

/* It never ends before its end. */
START_TEST(every_prefix_is_incomplete) {
    struct buf b = BUF_INIT;
    put_tree(&b, 1, 2, true);
    for (size_t len = 0; len < b.len; len++) {
        struct snapscan s;
        ENSURE(scan_pieces(&b, &len, 1, &s) == len);
        ENSURE(!s.done && !s.failed);
    }
    buf_free(&b);
}
END_TEST

/* A file as the snapshot writer makes it, with what stands behind the tree there. */
START_TEST(files_of_the_writer) {
    for (int method = 0; method < 3; method++) {
        struct simdisk disk;
        struct buf tree = BUF_INIT, out = BUF_INIT, more = BUF_INIT;
        struct snapscan s;
        int err;
        int64_t size;
        char name[STORE_NAME_MAX];
        simdisk_init(&disk, 1);
        disk.same_dir = true;
        store_snapshot_name(name, 9, (enum snapshot_method)method);
        snapshot_put_header(&tree);
        put_tree(&tree, 300, 100, false);
        tree.len -= 5; /* the end mark: more comes */
        for (int i = 0; i < 3000; i++) {
            char path[32];
            struct node_stat stat = {.czxid = i};
            snprintf(path, sizeof path, "/node%d", i);
            snapshot_put_node(&tree, slice_of(path), slice_of(i % 7 == 0 ? "" : "some data"), i % 5, &stat);
        }
        snapshot_put_nodes_end(&tree);
        struct snapwriter *w = snapwriter_open(&disk.disk, name, (enum snapshot_method)method, &err);
        ck_assert_ptr_nonnull(w);
        ck_assert_int_eq(snapwriter_write(w, tree.data, tree.len), 0);
        ck_assert_int_eq(snapwriter_seal(w), 0);
        snapshot_put_digest(&more, 9, 77);
        ck_assert_int_eq(snapwriter_write(w, more.data, more.len), 0);
        ck_assert_int_eq(snapwriter_seal(w), 0);
        ck_assert_int_eq(snapwriter_finish(w, &size), 0);
        snapwriter_close(w);
        struct snapstream *in = snapstream_open(&disk.disk, name, &err);
        ck_assert_ptr_nonnull(in);
        uint8_t piece[777];
        ck_assert_int_eq(snapstream_read(in, piece, SNAPSHOT_HEADER_BYTES), SNAPSHOT_HEADER_BYTES);
        snapscan_init(&s, ITEM_MAX);
        while (!s.done) {
            ssize_t n = snapstream_read(in, piece, sizeof piece);
            ck_assert_int_gt(n, 0);
            size_t used = snapscan_feed(&s, piece, (size_t)n);
            ck_assert(!s.failed);
            buf_append(&out, piece, used);
        }
        ck_assert_uint_eq(s.nodes, 3000);
        ck_assert_uint_eq(out.len, tree.len - SNAPSHOT_HEADER_BYTES);
        ck_assert_mem_eq(out.data, tree.data + SNAPSHOT_HEADER_BYTES, out.len);
        snapstream_close(in);
        buf_free(&tree);
        buf_free(&out);
        buf_free(&more);
        simdisk_close(&disk);
    }
}
END_TEST

/* Hostile numbers at every place, in every piece size: it fails or goes on, and stays within its bytes. */
START_TEST(hostile_numbers) {
    static const uint32_t numbers[] = {0x80000000, 0xfffffffe, 0xffffffff, 0x7fffffff, 0x00100001, 0x00100000, 1, 0};
    struct buf b = BUF_INIT;
    put_tree(&b, 2, 3, true);
    buf_append(&b, "rest", 4);
    for (size_t at = 0; at + 4 <= b.len; at++) {
        uint32_t before = be32_load(b.data + at);
        for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
            be32_store(b.data + at, numbers[i]);
            for (size_t size = 1; size < 30; size += 7) {
                struct snapscan s;
                size_t pos = 0;
                snapscan_init(&s, ITEM_MAX);
                while (pos < b.len && !s.done && !s.failed) {
                    size_t len = size_min(size, b.len - pos), n = snapscan_feed(&s, b.data + pos, len);
                    ENSURE(n <= len);
                    ENSURE(n == len || s.done || s.failed);
                    pos += n;
                }
                ENSURE(s.skip <= ITEM_MAX);
                ENSURE(s.held_count < sizeof s.held);
            }
        }
        be32_store(b.data + at, before);
    }
    buf_free(&b);
}
END_TEST

START_TEST(impossible_lengths_fail_at_once) {
    static const int32_t bad[] = {-2, INT32_MIN, (int32_t)ITEM_MAX + 1, INT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct snapscan s;
        struct buf b = BUF_INIT;
        snapshot_put_count(&b, 0);
        snapshot_put_count(&b, 0);
        jute_put_int(&b, bad[i]);
        buf_append(&b, "x", 1);
        scan_pieces(&b, &b.len, 1, &s);
        ck_assert(s.failed && !s.done);
        b.len -= 5;
        jute_put_bytes(&b, slice_of("/a"));
        jute_put_int(&b, bad[i]);
        scan_pieces(&b, &b.len, 1, &s);
        ck_assert(s.failed);
        b.len -= 4;
        jute_put_int(&b, -1); /* null data */
        scan_pieces(&b, &b.len, 1, &s);
        ck_assert(!s.failed);
        buf_free(&b);
    }
    /* A path is never null. */
    struct snapscan s;
    struct buf b = BUF_INIT;
    snapshot_put_count(&b, 0);
    snapshot_put_count(&b, 0);
    jute_put_int(&b, -1);
    buf_append(&b, "x", 1);
    scan_pieces(&b, &b.len, 1, &s);
    ck_assert(s.failed);
    buf_free(&b);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("snapscan");
    TCase *tc = tcase_create("snapscan");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, all_at_once);
    tcase_add_test(tc, every_split_in_two_and_three);
    tcase_add_test(tc, pieces_of_one_size);
    tcase_add_test(tc, every_prefix_is_incomplete);
    tcase_add_test(tc, files_of_the_writer);
    tcase_add_test(tc, hostile_numbers);
    tcase_add_test(tc, impossible_lengths_fail_at_once);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
