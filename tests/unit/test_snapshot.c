/* Snapshots: Java's bytes, round trips with every method, damage at every byte, a disk that fails. */
#include <errno.h>
#include <zlib.h>

#include "lib/store_help.h"
#include "store/snapshot_format.h"

#define MAX_ITEM ((size_t)16 << 20)

static struct simdisk disk;

static void setup(void) {
    simdisk_init(&disk, 1);
    disk.same_dir = true;
}
static void teardown(void) { simdisk_close(&disk); }

static const enum snapshot_method methods[] = {SNAPSHOT_PLAIN, SNAPSHOT_GZIP, SNAPSHOT_SNAPPY};
static const char *const suffixes[] = {"", ".gz", ".snappy"};

/* ------------------------------------------------------------------ writing down what is parsed */

/* Writes the parsed pieces back through the encoder; the result must be the same stream. */
struct rewriter {
    struct buf head, sessions, acls, nodes;
    int32_t session_count, acl_count;
    uint64_t refuse_at; /* the piece with this number is refused; 0 = none */
    uint64_t pieces;
    uint64_t null_data, longest_path;
};

static int count_piece(struct rewriter *w) { return ++w->pieces == w->refuse_at ? -1 : 0; }

static int rewrite_session(void *ctx, session_id_t id, int32_t timeout_ms) {
    struct rewriter *w = ctx;
    snapshot_put_session(&w->sessions, id, timeout_ms);
    w->session_count++;
    return count_piece(w);
}
static int rewrite_acl(void *ctx, int64_t disk_id, struct slice encoded) {
    struct rewriter *w = ctx;
    snapshot_put_acl(&w->acls, disk_id, encoded);
    w->acl_count++;
    return count_piece(w);
}
static int rewrite_node(void *ctx, struct slice path, struct slice data, int64_t disk_acl, const struct node_stat *stat) {
    struct rewriter *w = ctx;
    snapshot_put_node(&w->nodes, path, data, disk_acl, stat);
    w->null_data += data.data == NULL;
    w->longest_path = size_max(w->longest_path, path.len);
    return count_piece(w);
}

static struct snapshot_sink sink_of(struct rewriter *w) {
    return (struct snapshot_sink){.ctx = w, .session = rewrite_session, .acl = rewrite_acl, .node = rewrite_node};
}

static void rewriter_free(struct rewriter *w) {
    buf_free(&w->head);
    buf_free(&w->sessions);
    buf_free(&w->acls);
    buf_free(&w->nodes);
}

/* The stream up to the end of the nodes. */
static struct buf rewritten(const struct rewriter *w) {
    struct buf b = BUF_INIT;
    snapshot_put_header(&b);
    snapshot_put_count(&b, w->session_count);
    buf_append(&b, w->sessions.data, w->sessions.len);
    snapshot_put_count(&b, w->acl_count);
    buf_append(&b, w->acls.data, w->acls.len);
    buf_append(&b, w->nodes.data, w->nodes.len);
    snapshot_put_nodes_end(&b);
    return b;
}

static int load(const char *name, struct rewriter *w, struct snapshot_info *info) {
    *w = (struct rewriter){.refuse_at = w->refuse_at};
    struct snapshot_sink sink = sink_of(w);
    return snapshot_load(&disk.disk, name, &sink, MAX_ITEM, info);
}

static bool looks_valid(const char *name) {
    int err;
    bool valid = snapshot_looks_valid(&disk.disk, name, &err);
    ck_assert_int_eq(err, 0);
    return valid;
}

/* All of a file's uncompressed stream. */
static struct buf read_stream(const char *name, size_t piece) {
    struct buf b = BUF_INIT;
    int err;
    struct snapstream *s = snapstream_open(&disk.disk, name, &err);
    ck_assert_ptr_nonnull(s);
    ssize_t n;
    while ((n = snapstream_read(s, buf_tail(&b, piece), piece)) > 0)
        b.len += (size_t)n;
    ck_assert_int_eq(n, 0);
    ck_assert_int_eq(snapstream_read(s, buf_tail(&b, 1), 1), 0);
    snapstream_close(s);
    return b;
}

/* ------------------------------------------------------------------ streams made here */

enum trailer { TRAILER_NONE, TRAILER_ZXID, TRAILER_DIGEST, TRAILER_BOTH, TRAILER_OLD_DIGEST, TRAILER_COUNT };

static const struct node_stat some_stat = {.czxid = 1, .mzxid = 2, .pzxid = 9, .ctime = 3, .mtime = 4,
                                           .version = 5, .cversion = 6, .aversion = 7, .owner = 8};

/* Root, and nodes with null, empty, small and large data. */
static struct buf make_nodes(size_t count, size_t large) {
    struct buf b = BUF_INIT;
    struct acl_entry world = {31, SLICE_LIT("world"), SLICE_LIT("anyone")}, read_only = {1, SLICE_LIT("ip"), SLICE_LIT("10.0.0.1")};
    struct buf acl = BUF_INIT;
    jute_put_int(&acl, 2);
    acl_entry_put(&acl, &world);
    acl_entry_put(&acl, &read_only);
    snapshot_put_header(&b);
    snapshot_put_count(&b, 2);
    snapshot_put_session(&b, 0x100002527d10005, 600000);
    snapshot_put_session(&b, -5, 0);
    snapshot_put_count(&b, 1);
    snapshot_put_acl(&b, 1, buf_slice(&acl));
    snapshot_put_node(&b, slice_of(""), slice_of(""), -1, &some_stat);
    for (size_t i = 0; i < count; i++) {
        struct buf path = BUF_INIT, data = BUF_INIT;
        buf_printf(&path, "/node-%zu", i);
        size_t len = i % 50 == 7 ? large : i % 40;
        for (size_t j = 0; j < len; j++)
            buf_append(&data, &(uint8_t){(uint8_t)(i * j * 7 + j / 3)}, 1);
        struct slice value = i % 11 == 3 ? SLICE_NULL : (struct slice){data.data ? (char *)data.data : "", data.len};
        struct node_stat stat = some_stat;
        stat.mzxid = (zxid_t)i * 1000000007;
        snapshot_put_node(&b, buf_slice(&path), value, i % 2 ? 1 : -1, &stat);
        buf_free(&path);
        buf_free(&data);
    }
    snapshot_put_nodes_end(&b);
    buf_free(&acl);
    return b;
}

static int write_sealed(struct snapwriter *w, const struct buf *b, size_t piece) {
    int err = 0;
    for (size_t at = 0; at < b->len && err == 0; at += piece)
        err = snapwriter_write(w, b->data + at, size_min(piece, b->len - at));
    return err != 0 ? err : snapwriter_seal(w);
}

static int write_trailer(struct snapwriter *w, enum trailer trailer) {
    struct buf b = BUF_INIT;
    int err = 0;
    if (trailer == TRAILER_DIGEST || trailer == TRAILER_BOTH) {
        snapshot_put_digest(&b, 0x77, 0x123456789);
        err = write_sealed(w, &b, b.len);
    } else if (trailer == TRAILER_OLD_DIGEST) {
        jute_put_long(&b, 0x77);
        jute_put_int(&b, 1);
        jute_put_bytes(&b, SLICE_LIT("1a2b3c"));
        err = write_sealed(w, &b, b.len);
    }
    buf_clear(&b);
    if (err == 0 && (trailer == TRAILER_ZXID || trailer == TRAILER_BOTH || trailer == TRAILER_OLD_DIGEST)) {
        snapshot_put_last_zxid(&b, 0x78);
        err = write_sealed(w, &b, b.len);
    }
    buf_free(&b);
    return err;
}

static int write_file(const char *name, const struct buf *nodes, enum trailer trailer, size_t piece) {
    int err;
    int64_t size = 0;
    struct snapwriter *w = snapwriter_open(&disk.disk, name, store_snapshot_method(name), &err);
    if (w == NULL)
        return err;
    err = write_sealed(w, nodes, piece);
    if (err == 0)
        err = write_trailer(w, trailer);
    int finish = snapwriter_finish(w, &size);
    ck_assert(err == 0 || finish != 0);
    snapwriter_close(w);
    if (finish == 0) {
        size_t real;
        void *data = simdisk_get(&disk, DISK_SNAP, name, &real);
        ck_assert_int_eq(size, (int64_t)real);
        mem_free(data);
    }
    return finish;
}

/* ------------------------------------------------------------------ Java's files */

/* Every snapshot of Java: parsed, written again, and the same bytes (a digest section, no last zxid). */
START_TEST(java_snapshots_word_for_word) {
    static const struct {
        const char *fixture, *name;
    } files[] = {
        {"a-standalone", "snapshot.0"},
        {"a-standalone", "snapshot.e"},
        {"a-standalone", "snapshot.20"},
        {"b-torn-tail-truncated", "snapshot.0"},
        {"d-snapshot-gz", "snapshot.30.gz"},
        {"d-snapshot-gz", "snapshot.34.gz"},
        {"d-snapshot-snappy", "snapshot.30.snappy"},
        {"d-snapshot-snappy", "snapshot.34.snappy"},
        {"e-quorum-member", "snapshot.0"},
    };
    char path[512];
    struct rewriter w = {0};
    struct snapshot_info info;
    snprintf(path, sizeof path, FIXTURES "/%s/data/version-2", files[_i].fixture);
    ck_assert_int_gt(simdisk_import(&disk, DISK_SNAP, path), 0);
    ck_assert(looks_valid(files[_i].name));
    ck_assert_msg(load(files[_i].name, &w, &info) == 0, "%s", info.error);
    ck_assert(info.has_digest && info.digest_version == 2 && !info.has_last_zxid);
    struct buf nodes = rewritten(&w), java = read_stream(files[_i].name, 4096), digest = BUF_INIT, ours;
    int err;
    int64_t size;
    struct snapwriter *writer = snapwriter_open(&disk.disk, "again", SNAPSHOT_PLAIN, &err);
    ck_assert_int_eq(write_sealed(writer, &nodes, nodes.len), 0);
    snapshot_put_digest(&digest, info.digest_zxid, info.digest);
    ck_assert_int_eq(write_sealed(writer, &digest, digest.len), 0);
    ck_assert_int_eq(snapwriter_finish(writer, &size), 0);
    snapwriter_close(writer);
    ours = read_stream("again", 100);
    ck_assert(slice_eq(buf_slice(&ours), buf_slice(&java)));
    buf_free(&nodes);
    buf_free(&java);
    buf_free(&digest);
    buf_free(&ours);
    rewriter_free(&w);
}
END_TEST

START_TEST(java_fresh_snapshot_in_detail) {
    struct rewriter w = {0};
    struct snapshot_info info;
    ck_assert_int_gt(simdisk_import(&disk, DISK_SNAP, FIXTURES "/a-standalone/data/version-2"), 0);
    ck_assert_int_eq(load("snapshot.0", &w, &info), 0);
    ck_assert_uint_eq(info.nodes, 4);
    ck_assert_int_eq(info.digest_zxid, 0);
    ck_assert_uint_eq(info.digest, 0);
    ck_assert_int_eq(w.session_count, 0);
    ck_assert_int_eq(w.acl_count, 1);
    ck_assert_uint_eq(w.longest_path, strlen("/zookeeper/config"));
    rewriter_free(&w);
}
END_TEST

/* ------------------------------------------------------------------ round trips */

START_TEST(round_trip) {
    enum snapshot_method method = methods[_i / TRAILER_COUNT];
    enum trailer trailer = (enum trailer)(_i % TRAILER_COUNT);
    char name[STORE_NAME_MAX];
    struct buf nodes = make_nodes(400, 70000);
    store_snapshot_name(name, 0x77, method);
    disk.short_writes = true;
    ck_assert_int_eq(write_file(name, &nodes, trailer, 1000), 0);
    ck_assert(looks_valid(name));
    struct rewriter w = {0};
    struct snapshot_info info;
    ck_assert_msg(load(name, &w, &info) == 0, "%s", info.error);
    struct buf again = rewritten(&w);
    ck_assert(slice_eq(buf_slice(&again), buf_slice(&nodes)));
    ck_assert_uint_eq(info.nodes, 401);
    ck_assert_uint_gt(w.null_data, 0);
    ck_assert_int_eq(info.has_digest, trailer == TRAILER_DIGEST || trailer == TRAILER_BOTH);
    ck_assert_int_eq(info.has_last_zxid, trailer == TRAILER_ZXID || trailer == TRAILER_BOTH || trailer == TRAILER_OLD_DIGEST);
    if (info.has_digest) {
        ck_assert_int_eq(info.digest_zxid, 0x77);
        ck_assert_uint_eq(info.digest, 0x123456789);
    }
    if (info.has_last_zxid)
        ck_assert_int_eq(info.last_zxid, 0x78);
    static const size_t trailer_bytes[] = {0, 21, 33, 54, 12 + 10 + 13 + 21};
    struct buf stream = read_stream(name, 333);
    ck_assert_uint_eq(stream.len, nodes.len + 13 + trailer_bytes[trailer]);
    buf_free(&stream);
    buf_free(&again);
    buf_free(&nodes);
    rewriter_free(&w);
}
END_TEST

/* Items around the size of the parser's window. */
START_TEST(large_items) {
    static const size_t sizes[] = {1048576 - 200, 1048576 - 100, 1048576, 1048577, 3000000};
    struct buf nodes = make_nodes(60, sizes[_i]);
    ck_assert_int_eq(write_file("snapshot.1", &nodes, TRAILER_BOTH, 1 << 20), 0);
    struct rewriter w = {0};
    struct snapshot_info info;
    ck_assert_msg(load("snapshot.1", &w, &info) == 0, "%s", info.error);
    struct buf again = rewritten(&w);
    ck_assert(slice_eq(buf_slice(&again), buf_slice(&nodes)));
    buf_free(&again);
    buf_free(&nodes);
    rewriter_free(&w);
}
END_TEST

/* An access list that is cut by the window's edge, again and again. */
START_TEST(many_access_lists) {
    struct buf nodes = BUF_INIT, acl = BUF_INIT;
    struct node_stat stat = {0};
    jute_put_int(&acl, 40);
    for (int i = 0; i < 40; i++)
        acl_entry_put(&acl, &(struct acl_entry){31, SLICE_LIT("digest"), SLICE_LIT("somebody:fyVmFCwVbTJYrznoSu1koqYEYF0=")});
    snapshot_put_header(&nodes);
    snapshot_put_count(&nodes, 0);
    snapshot_put_count(&nodes, 1500);
    for (int i = 1; i <= 1500; i++)
        snapshot_put_acl(&nodes, i, buf_slice(&acl));
    snapshot_put_node(&nodes, slice_of(""), slice_of(""), -1, &stat);
    snapshot_put_nodes_end(&nodes);
    ck_assert_int_eq(write_file("snapshot.1", &nodes, TRAILER_BOTH, nodes.len), 0);
    struct rewriter w = {0};
    struct snapshot_info info;
    ck_assert_msg(load("snapshot.1", &w, &info) == 0, "%s", info.error);
    ck_assert_int_eq(w.acl_count, 1500);
    struct buf again = rewritten(&w);
    ck_assert(slice_eq(buf_slice(&again), buf_slice(&nodes)));
    buf_free(&again);
    buf_free(&nodes);
    buf_free(&acl);
    rewriter_free(&w);
}
END_TEST

/* ------------------------------------------------------------------ framing */

START_TEST(gzip_as_java_writes_it) {
    size_t size;
    struct buf nodes = make_nodes(5, 10);
    ck_assert_int_eq(write_file("snapshot.1.gz", &nodes, TRAILER_BOTH, nodes.len), 0);
    uint8_t *data = simdisk_get(&disk, DISK_SNAP, "snapshot.1.gz", &size);
    ck_assert_mem_eq(data, "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff", 10);
    struct buf stream = read_stream("snapshot.1.gz", 100);
    uint32_t expected[2] = {htole32((uint32_t)crc32_z(0, stream.data, stream.len)), htole32((uint32_t)stream.len)};
    ck_assert_mem_eq(data + size - 8, expected, 8);
    mem_free(data);
    buf_free(&stream);
    buf_free(&nodes);
}
END_TEST

START_TEST(snappy_blocks) {
    size_t size, blocks = 0;
    struct buf nodes = make_nodes(300, 70000);
    ck_assert_int_eq(write_file("snapshot.1.snappy", &nodes, TRAILER_BOTH, 777), 0);
    uint8_t *data = simdisk_get(&disk, DISK_SNAP, "snapshot.1.snappy", &size);
    ck_assert_mem_eq(data, "\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16);
    size_t at = 16;
    while (at < size) {
        at += 4 + be32_load(data + at);
        blocks++;
    }
    ck_assert_uint_eq(at, size);
    ck_assert_uint_eq(blocks, (nodes.len + 13 + 54 + 32767) / 32768);
    mem_free(data);
    buf_free(&nodes);
}
END_TEST

/* Java reads several compressed streams in one file as one. */
START_TEST(streams_one_after_the_other) {
    struct buf nodes = make_nodes(100, 3000), half = {nodes.data, nodes.len / 2, 0}, expected, twice = BUF_INIT;
    for (int i = 0; i < 2; i++) {
        size_t size;
        char name[32];
        snprintf(name, sizeof name, "x%s", suffixes[_i]);
        ck_assert_int_eq(write_file(name, &half, TRAILER_NONE, half.len), 0);
        uint8_t *data = simdisk_get(&disk, DISK_SNAP, name, &size);
        buf_append(&twice, data, size);
        mem_free(data);
    }
    char name[32];
    snprintf(name, sizeof name, "x%s", suffixes[_i]);
    expected = read_stream(name, 5000);
    size_t one = expected.len;
    buf_append(&expected, buf_tail(&expected, one) - one, one);
    if (_i == 1)
        buf_append(&twice, "trailing", 8); /* Java ignores what is no gzip member */
    simdisk_put(&disk, DISK_SNAP, name, twice.data, twice.len);
    struct buf stream = read_stream(name, 100);
    ck_assert(slice_eq(buf_slice(&stream), buf_slice(&expected)));
    buf_free(&stream);
    buf_free(&expected);
    buf_free(&twice);
    buf_free(&nodes);
}
END_TEST

START_TEST(quick_look) {
    static const struct {
        const char *name, *bytes;
        size_t size;
        bool valid;
    } cases[] = {
        {"snapshot.1", "12345\0\0\0\1/", 10, true},
        {"snapshot.1", "1234\0\0\0\1/", 9, false},
        {"snapshot.1", "12345\0\0\0\1.", 10, false},
        {"snapshot.1", "", 0, false},
        {"snapshot.1.gz", "\x1f\x8b\x08\0\0\0\0\0\0\0", 10, true},
        {"snapshot.1.gz", "\x1f\x8c\x08\0\0\0\0\0\0\0", 10, false},
        {"snapshot.1.gz", "\x1f", 1, false},
        {"snapshot.1.snappy", "\x82SNAPPY\0\0\0", 10, true},
        {"snapshot.1.snappy", "\x82SNAPPX\0\0\0", 10, false},
        {"snapshot.1.snappy", "\x82SNA", 4, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        simdisk_put(&disk, DISK_SNAP, cases[i].name, cases[i].bytes, cases[i].size);
        ck_assert_msg(looks_valid(cases[i].name) == cases[i].valid, "case %zu", i);
    }
    int err;
    ck_assert(!snapshot_looks_valid(&disk.disk, "snapshot.2", &err));
    ck_assert_int_eq(err, -ENOENT);
}
END_TEST

/* ------------------------------------------------------------------ damage */

/* A small file cut at every length, and with every byte changed: rejected, or (where nothing depends on the byte) read as
 * what was written. */
static void check_damaged(const char *name, const struct buf *file, const struct buf *nodes, bool may_be_equal) {
    struct rewriter w = {0};
    struct snapshot_info info;
    simdisk_put(&disk, DISK_SNAP, name, file->data, file->len);
    int err = load(name, &w, &info);
    ck_assert(err == 0 || err == -EBADMSG);
    ck_assert_int_eq(err == 0, info.error[0] == '\0');
    if (err == 0) {
        ck_assert(may_be_equal);
        struct buf again = rewritten(&w);
        ck_assert(slice_eq(buf_slice(&again), buf_slice(nodes)));
        buf_free(&again);
    }
    looks_valid(name);
    rewriter_free(&w);
}

START_TEST(cut_at_every_byte) {
    char name[STORE_NAME_MAX];
    struct buf nodes = make_nodes(12, 300), file = BUF_INIT;
    store_snapshot_name(name, 1, methods[_i]);
    ck_assert_int_eq(write_file(name, &nodes, TRAILER_BOTH, nodes.len), 0);
    file.data = simdisk_get(&disk, DISK_SNAP, name, &file.len);
    size_t whole = file.len;
    /* Plain: without sections that are optional the file is complete. Compressed: the end is checked by the framing; a
     * snappy block ends where a section cannot. */
    for (file.len = 0; file.len < whole; file.len++) {
        size_t missing = whole - file.len;
        check_damaged(name, &file, &nodes, methods[_i] == SNAPSHOT_PLAIN && (missing == 54 || missing == 21));
    }
    mem_free(file.data);
    buf_free(&nodes);
}
END_TEST

START_TEST(every_bit_flipped) {
    char name[STORE_NAME_MAX];
    struct buf nodes = make_nodes(12, 300), file = BUF_INIT;
    store_snapshot_name(name, 1, methods[_i]);
    ck_assert_int_eq(write_file(name, &nodes, TRAILER_BOTH, nodes.len), 0);
    file.data = simdisk_get(&disk, DISK_SNAP, name, &file.len);
    size_t equal_from = methods[_i] == SNAPSHOT_PLAIN ? file.len - 1 : 0; /* the string of the last seal */
    for (size_t i = 0; i < file.len * 8; i++) {
        file.data[i / 8] ^= (uint8_t)(1 << i % 8);
        check_damaged(name, &file, &nodes, i / 8 >= equal_from);
        file.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    mem_free(file.data);
    buf_free(&nodes);
}
END_TEST

START_TEST(more_bytes_are_refused) {
    struct buf nodes = make_nodes(3, 30), file = BUF_INIT;
    for (enum trailer trailer = TRAILER_NONE; trailer < TRAILER_COUNT; trailer++) {
        ck_assert_int_eq(write_file("snapshot.1", &nodes, trailer, nodes.len), 0);
        file.data = simdisk_get(&disk, DISK_SNAP, "snapshot.1", &file.len);
        file.cap = file.len;
        for (size_t extra = 1; extra < 100; extra++) {
            memset(buf_tail(&file, 1), (int)extra, 1);
            file.len++;
            check_damaged("snapshot.1", &file, &nodes, false);
        }
        memset(buf_tail(&file, 200000), 0, 200000);
        file.len += 200000;
        check_damaged("snapshot.1", &file, &nodes, false);
        buf_free(&file);
    }
    buf_free(&nodes);
}
END_TEST

START_TEST(random_bytes) {
    struct rng rng = {5};
    struct buf file = BUF_INIT;
    for (int i = 0; i < 300; i++) {
        char name[STORE_NAME_MAX];
        enum snapshot_method method = methods[i % 3];
        store_snapshot_name(name, 1, method);
        buf_clear(&file);
        if (method == SNAPSHOT_PLAIN)
            snapshot_put_header(&file);
        else if (method == SNAPSHOT_GZIP)
            buf_append(&file, "\x1f\x8b\x08\0\0\0\0\0\0\xff", 10);
        else
            buf_append(&file, snappy_header, SNAPPY_HEADER_BYTES);
        for (size_t n = (size_t)rng_below(&rng, 2000); n > 0; n--) {
            uint8_t byte = (uint8_t)(rng_below(&rng, 3) == 0 ? rng_next(&rng) : 0);
            buf_append(&file, &byte, 1);
        }
        struct rewriter w = {0};
        struct snapshot_info info;
        simdisk_put(&disk, DISK_SNAP, name, file.data, file.len);
        ck_assert_int_eq(load(name, &w, &info), -EBADMSG);
        rewriter_free(&w);
    }
    buf_free(&file);
}
END_TEST

START_TEST(items_are_bounded) {
    struct buf nodes = make_nodes(60, 70000);
    struct rewriter w = {0};
    struct snapshot_info info;
    struct snapshot_sink sink = sink_of(&w);
    ck_assert_int_eq(write_file("snapshot.1", &nodes, TRAILER_BOTH, nodes.len), 0);
    ck_assert_int_eq(snapshot_load(&disk.disk, "snapshot.1", &sink, 70000, &info), 0);
    ck_assert_int_eq(snapshot_load(&disk.disk, "snapshot.1", &sink, 69999, &info), -EBADMSG);
    ck_assert_ptr_nonnull(strstr(info.error, "impossible data length 70000 at byte "));
    buf_free(&nodes);
    rewriter_free(&w);
}
END_TEST

START_TEST(refused_pieces) {
    struct buf nodes = make_nodes(10, 100);
    struct snapshot_info info;
    ck_assert_int_eq(write_file("snapshot.1", &nodes, TRAILER_BOTH, nodes.len), 0);
    for (uint64_t n = 1; n <= 14; n++) { /* two sessions, one list, eleven nodes */
        struct rewriter w = {.refuse_at = n};
        ck_assert_int_eq(load("snapshot.1", &w, &info), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(info.error, "refused at byte"));
        rewriter_free(&w);
    }
    buf_free(&nodes);
}
END_TEST

START_TEST(missing_snapshot) {
    struct rewriter w = {0};
    struct snapshot_info info;
    int err;
    ck_assert_int_eq(load("snapshot.1", &w, &info), -ENOENT);
    ck_assert_ptr_null(snapstream_open(&disk.disk, "snapshot.1", &err));
    ck_assert_int_eq(err, -ENOENT);
}
END_TEST

/* ------------------------------------------------------------------ a disk that fails */

START_TEST(read_errors) {
    char name[STORE_NAME_MAX];
    struct buf nodes = make_nodes(400, 70000);
    store_snapshot_name(name, 1, methods[_i]);
    ck_assert_int_eq(write_file(name, &nodes, TRAILER_BOTH, nodes.len), 0);
    for (uint64_t n = 1;; n++) {
        struct rewriter w = {0};
        struct snapshot_info info;
        simdisk_clear_faults(&disk);
        disk.fail_at = n;
        disk.fail_errno = -EIO;
        int err = load(name, &w, &info);
        rewriter_free(&w);
        if (err == 0) /* the failure hit the close, or nothing any more */
            break;
        ck_assert_int_eq(err, -EIO);
        ck_assert_uint_gt(strlen(info.error), 5);
    }
    buf_free(&nodes);
}
END_TEST

/* Whatever call fails, and how: an error and no file, or a good file. */
START_TEST(write_errors) {
    char name[STORE_NAME_MAX];
    struct buf nodes = make_nodes(200, 200000);
    int err = _i / 3 % 2 ? -EIO : -ENOSPC;
    bool forever = _i / 6;
    store_snapshot_name(name, 1, methods[_i % 3]);
    for (uint64_t n = 1;; n++) {
        simdisk_clear_faults(&disk);
        disk.counted_ops = SIMDISK_CHANGES & ~SIMDISK_BIT(SIMDISK_UNLINK);
        disk.fail_at = n;
        disk.fail_errno = err;
        disk.fail_forever = forever;
        int result = write_file(name, &nodes, TRAILER_BOTH, 5000);
        bool reached = disk.calls >= n;
        simdisk_clear_faults(&disk);
        ck_assert_int_eq(result != 0, reached);
        ck_assert_int_eq(simdisk_exists(&disk, DISK_SNAP, name), !reached);
        if (!reached)
            break;
        ck_assert(result == err || result == -EIO); /* a sync never reports "no space" */
    }
    struct rewriter w = {0};
    struct snapshot_info info;
    ck_assert_int_eq(load(name, &w, &info), 0);
    buf_free(&nodes);
    rewriter_free(&w);
}
END_TEST

START_TEST(full_disk) {
    char name[STORE_NAME_MAX];
    struct buf nodes = make_nodes(200, 20000);
    store_snapshot_name(name, 1, methods[_i]);
    for (disk.capacity = 0x400; disk.capacity < 0x40000; disk.capacity += 0x4000) {
        int err = write_file(name, &nodes, TRAILER_BOTH, 5000);
        ck_assert(err == 0 || err == -ENOSPC);
        ck_assert_int_eq(err == 0, simdisk_exists(&disk, DISK_SNAP, name));
        simdisk_clear(&disk);
    }
    buf_free(&nodes);
}
END_TEST

START_TEST(given_up) {
    int err;
    struct buf nodes = make_nodes(20, 20000);
    struct snapwriter *w = snapwriter_open(&disk.disk, "x.tmp", methods[_i], &err);
    ck_assert_int_eq(snapwriter_write(w, nodes.data, nodes.len), 0);
    snapwriter_close(w);
    ck_assert(!simdisk_exists(&disk, DISK_SNAP, "x.tmp"));
    snapwriter_close(NULL);
    snapstream_close(NULL);
    buf_free(&nodes);
}
END_TEST

static void add_formats(Suite *suite) {
    TCase *tc = tcase_create("formats");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, java_snapshots_word_for_word, 0, 9);
    tcase_add_test(tc, java_fresh_snapshot_in_detail);
    tcase_add_loop_test(tc, round_trip, 0, 3 * TRAILER_COUNT);
    tcase_add_loop_test(tc, large_items, 0, 5);
    tcase_add_test(tc, many_access_lists);
    tcase_add_test(tc, gzip_as_java_writes_it);
    tcase_add_test(tc, snappy_blocks);
    tcase_add_loop_test(tc, streams_one_after_the_other, 1, 3);
    tcase_add_test(tc, quick_look);
    tcase_set_timeout(tc, 120);
    suite_add_tcase(suite, tc);
}

static void add_damage(Suite *suite) {
    TCase *tc = tcase_create("damage");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, cut_at_every_byte, 0, 3);
    tcase_add_loop_test(tc, every_bit_flipped, 0, 3);
    tcase_add_test(tc, more_bytes_are_refused);
    tcase_add_test(tc, random_bytes);
    tcase_add_test(tc, items_are_bounded);
    tcase_add_test(tc, refused_pieces);
    tcase_add_test(tc, missing_snapshot);
    tcase_add_loop_test(tc, read_errors, 0, 3);
    tcase_add_loop_test(tc, write_errors, 0, 12);
    tcase_add_loop_test(tc, full_disk, 0, 3);
    tcase_add_loop_test(tc, given_up, 0, 3);
    tcase_set_timeout(tc, 300);
    suite_add_tcase(suite, tc);
}

int main(void) {
    Suite *suite = suite_create("snapshot");
    add_formats(suite);
    add_damage(suite);
    return run_suite(suite);
}
