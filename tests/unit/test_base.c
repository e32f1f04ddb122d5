/* src/base: buffers, hash map, lists, text helpers, histogram, generator. Expected numbers and texts that imitate Java come
 * from a Java 17 run. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/histogram.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/strutil.h"

/* For the long loops: a ck_assert tells the parent process each time that it was there. */
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            ck_abort_msg("%s", #condition);                                                                            \
    } while (0)
#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

/* Compares what is in b with text, and empties b. */
static void expect_text(struct buf *b, const char *text) {
    buf_append(b, "", 1);
    ck_assert_str_eq((const char *)b->data, text);
    buf_free(b);
}

/* ------------------------------------------------------------------ buf */

START_TEST(buf_grows_and_keeps_what_it_has) {
    struct buf b = BUF_INIT;
    for (int i = 0; i < 10000; i++)
        buf_append(&b, &(uint8_t){(uint8_t)i}, 1);
    ck_assert_uint_eq(b.len, 10000);
    ck_assert_uint_ge(b.cap, b.len);
    for (int i = 0; i < 10000; i++)
        EXPECT(b.data[i] == (uint8_t)i);
    buf_clear(&b);
    ck_assert_uint_eq(b.len, 0);
    buf_free(&b);
    ck_assert_ptr_null(b.data);
}
END_TEST

START_TEST(buf_reserve_at_least_doubles) {
    struct buf b = BUF_INIT;
    buf_reserve(&b, 1000);
    size_t cap = b.cap;
    b.len = cap;
    buf_reserve(&b, 1);
    ck_assert_uint_ge(b.cap, cap * 2);
    buf_free(&b);
}
END_TEST

START_TEST(buf_tail_is_where_to_write) {
    struct buf b = BUF_INIT;
    memcpy(buf_tail(&b, 3), "abc", 3);
    b.len += 3;
    buf_append(&b, NULL, 0);
    expect_text(&b, "abc");
}
END_TEST

START_TEST(buf_consume_takes_from_the_front) {
    struct buf b = BUF_INIT;
    buf_append(&b, "0123456789", 10);
    buf_consume(&b, 0);
    buf_consume(&b, 4);
    ck_assert_uint_eq(b.len, 6);
    ck_assert_mem_eq(b.data, "456789", 6);
    buf_consume(&b, 6);
    ck_assert_uint_eq(b.len, 0);
    buf_free(&b);
}
END_TEST

START_TEST(buf_printf_of_any_length) {
    struct buf b = BUF_INIT;
    char expected[2000], piece[700];
    memset(piece, 'x', sizeof piece);
    piece[sizeof piece - 1] = '\0';
    buf_printf(&b, "%s|", piece);
    buf_printf(&b, "%d", 42);
    buf_printf(&b, "%s", "");
    snprintf(expected, sizeof expected, "%s|42", piece);
    expect_text(&b, expected);
}
END_TEST

/* ------------------------------------------------------------------ hmap */

START_TEST(hmap_empty) {
    struct hmap m = {0};
    size_t cursor = 0;
    ck_assert_ptr_null(hmap_get(&m, 0));
    ck_assert_ptr_null(hmap_remove(&m, 7));
    ck_assert_ptr_null(hmap_next(&m, &cursor));
    ck_assert_uint_eq(hmap_bytes(&m), 0);
    hmap_free(&m);
}
END_TEST

START_TEST(hmap_put_returns_the_one_before) {
    struct hmap m = {0};
    int a, b;
    ck_assert_ptr_null(hmap_put(&m, 0, &a));
    ck_assert_ptr_eq(hmap_put(&m, 0, &b), &a);
    ck_assert_uint_eq(m.count, 1);
    ck_assert_ptr_eq(hmap_remove(&m, 0), &b);
    ck_assert_ptr_null(hmap_get(&m, 0));
    ck_assert_uint_eq(m.count, 0);
    hmap_free(&m);
}
END_TEST

START_TEST(hmap_shrinks_again) {
    struct hmap m = {0};
    for (uint64_t key = 0; key < 100000; key++)
        hmap_put(&m, key << 40, &m);
    size_t bytes = hmap_bytes(&m);
    for (uint64_t key = 0; key < 99990; key++)
        EXPECT(hmap_remove(&m, key << 40) == &m);
    ck_assert_uint_lt(hmap_bytes(&m), bytes / 100);
    for (uint64_t key = 99990; key < 100000; key++)
        ck_assert_ptr_eq(hmap_get(&m, key << 40), &m);
    hmap_free(&m);
}
END_TEST

#define MODEL_KEYS 600

/* Few keys, so that every key is added, replaced and removed many times; three shapes of keys. */
START_TEST(hmap_against_a_model) {
    struct hmap m = {0};
    struct rng r = {(uint64_t)_i};
    static int values[MODEL_KEYS];
    void *model[MODEL_KEYS] = {0};
    size_t count = 0;
    for (int step = 0; step < 60000; step++) {
        size_t k = rng_below(&r, MODEL_KEYS), bias = (size_t)step / 5000 % 2;
        uint64_t key = _i == 0 ? k : _i == 1 ? (uint64_t)k << 48 : k * 0x9e3779b97f4a7c15u;
        EXPECT(hmap_get(&m, key) == model[k]);
        if (rng_below(&r, 4) > bias * 2) {
            void *value = &values[rng_below(&r, MODEL_KEYS)];
            EXPECT(hmap_put(&m, key, value) == model[k]);
            count += model[k] == NULL;
            model[k] = value;
        } else {
            EXPECT(hmap_remove(&m, key) == model[k]);
            count -= model[k] != NULL;
            model[k] = NULL;
        }
        EXPECT(m.count == count);
    }
    size_t seen = 0, cursor = 0;
    while (hmap_next(&m, &cursor) != NULL)
        seen++;
    ck_assert_uint_eq(seen, count);
    uint64_t *keys = mem_calloc(count + 1, sizeof *keys);
    hmap_keys(&m, keys);
    for (size_t i = 0; i < count; i++)
        EXPECT(hmap_remove(&m, keys[i]) != NULL);
    ck_assert_uint_eq(m.count, 0);
    mem_free(keys);
    hmap_free(&m);
}
END_TEST

/* ------------------------------------------------------------------ list */

struct item {
    int number;
    struct list link;
};

static void expect_list(struct list *head, const char *digits) {
    struct item *i;
    LIST_FOREACH (i, head, struct item, link) {
        ck_assert_int_eq(i->number, *digits - '0');
        digits++;
    }
    ck_assert_int_eq(*digits, '\0');
}

START_TEST(list_in_order) {
    struct list head;
    struct item items[5] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
    list_init(&head);
    ck_assert(list_empty(&head));
    expect_list(&head, "");
    for (int i = 0; i < 4; i++)
        list_push(&head, &items[i].link);
    list_insert_before(&items[2].link, &items[4].link);
    expect_list(&head, "01423");
    ck_assert_ptr_eq(LIST_FIRST(&head, struct item, link), &items[0]);
    list_remove(&items[0].link);
    list_remove(&items[0].link);
    ck_assert(list_unlinked(&items[0].link));
    ck_assert(!list_unlinked(&items[1].link));
    list_remove(&items[3].link);
    expect_list(&head, "142");
}
END_TEST

START_TEST(list_append_moves_all) {
    struct item items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    struct list a, b;
    list_init(&a);
    list_init(&b);
    list_append(&a, &b);
    ck_assert(list_empty(&a));
    for (int i = 0; i < 4; i++)
        list_push(i < 2 ? &a : &b, &items[i].link);
    list_append(&a, &b);
    expect_list(&a, "0123");
    ck_assert(list_empty(&b));
    list_append(&b, &a);
    expect_list(&b, "0123");
    ck_assert_ptr_eq(b.prev, &items[3].link);
    ck_assert_ptr_eq(items[3].link.prev, &items[2].link);
    ck_assert(list_empty(&a));
}
END_TEST

START_TEST(list_loop_may_remove_the_current_one) {
    struct list head;
    struct item items[4], *i;
    list_init(&head);
    for (int n = 0; n < 4; n++) {
        items[n].number = n;
        list_push(&head, &items[n].link);
    }
    LIST_FOREACH (i, &head, struct item, link)
        if (i->number % 2 == 0)
            list_remove(&i->link);
    expect_list(&head, "13");
}
END_TEST

/* ------------------------------------------------------------------ numbers */

typedef bool parser(struct slice text, int64_t *value);

static void expect_number(parser *parse, const char *text, int64_t expected) {
    int64_t value = 77;
    ck_assert_msg(parse(slice_of(text), &value), "'%s' was refused", text);
    ck_assert_msg(value == expected, "'%s' gave %lld", text, (long long)value);
}

static void expect_no_number(parser *parse, const char *text) {
    int64_t value;
    ck_assert_msg(!parse(slice_of(text), &value), "'%s' was accepted", text);
}

START_TEST(decimal_numbers) {
    expect_number(str_to_i64, "0", 0);
    expect_number(str_to_i64, "-0", 0);
    expect_number(str_to_i64, "+12", 12);
    expect_number(str_to_i64, "0012", 12);
    expect_number(str_to_i64, "9223372036854775807", INT64_MAX);
    expect_number(str_to_i64, "-9223372036854775808", INT64_MIN);
    const char *bad[] = {"",   "-",   "+",  "+-1", "--1", " 1", "1 ",
                         "1a", "0x1", "9223372036854775808", "-9223372036854775809"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_no_number(str_to_i64, bad[i]);
}
END_TEST

START_TEST(decoded_numbers) {
    expect_number(str_decode_i64, "0", 0);
    expect_number(str_decode_i64, "-10", -10);
    expect_number(str_decode_i64, "0x1f", 31);
    expect_number(str_decode_i64, "-0X1F", -31);
    expect_number(str_decode_i64, "#ff", 255);
    expect_number(str_decode_i64, "017", 15);
    expect_number(str_decode_i64, "-0x8000000000000000", INT64_MIN);
    const char *bad[] = {"", "0x", "#", "08", "0x-1", "0x8000000000000000", "1e3"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_no_number(str_decode_i64, bad[i]);
}
END_TEST

START_TEST(hex_numbers) {
    expect_number(str_hex_to_i64, "100000001a", 0x100000001a);
    expect_number(str_hex_to_i64, "-FF", -255);
    expect_number(str_hex_to_i64, "7fffffffffffffff", INT64_MAX);
    expect_number(str_hex_to_i64, "-8000000000000000", INT64_MIN);
    const char *bad[] = {"", "0x1", "8000000000000000", "g", "1 "};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect_no_number(str_hex_to_i64, bad[i]);
}
END_TEST

/* ------------------------------------------------------------------ text */

START_TEST(slices) {
    ck_assert(slice_is(SLICE_LIT("abc"), "abc"));
    ck_assert(!slice_is(SLICE_LIT("abc"), "abcd"));
    ck_assert(slice_eq(SLICE_NULL, SLICE_LIT("")));
    ck_assert(slice_starts(SLICE_LIT("abc"), SLICE_LIT("ab")));
    ck_assert(slice_starts(SLICE_LIT("abc"), SLICE_LIT("")));
    ck_assert(!slice_starts(SLICE_LIT("ab"), SLICE_LIT("abc")));
    ck_assert(slice_eq(SLICE_LIT("a\0b"), (struct slice){"a\0b", 3}));
}
END_TEST

static void expect_base64(const char *text, const char *expected) {
    struct buf b = BUF_INIT;
    str_base64(&b, (const uint8_t *)text, strlen(text));
    expect_text(&b, expected);
}

/* RFC 4648 section 10. */
START_TEST(base64) {
    struct buf b = BUF_INIT;
    expect_base64("", "");
    expect_base64("f", "Zg==");
    expect_base64("fo", "Zm8=");
    expect_base64("foo", "Zm9v");
    expect_base64("foob", "Zm9vYg==");
    expect_base64("fooba", "Zm9vYmE=");
    expect_base64("foobar", "Zm9vYmFy");
    str_base64(&b, BYTES("\xfb\xff\xfe"));
    expect_text(&b, "+//+");
}
END_TEST

#define FFFD "\xef\xbf\xbd"

static const struct {
    const char *in, *out; /* out NULL = the same: well-formed, without characters above U+FFFF */
} echoes[] = {
    {"", NULL},
    {"/a\x7f", NULL},
    {"\xc2\x80\xdf\xbf", NULL},
    {"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf", NULL},
    /* cut off, alone, too long, out of range */
    {"\x80", FFFD},
    {"\xc2", FFFD},
    {"\xc0\x80", FFFD FFFD},
    {"\xc1\xbf", FFFD FFFD},
    {"\xe0\x9f\xbf", FFFD FFFD FFFD},
    {"\xe1\x80", FFFD},
    {"\xe1\x80"
     "A",
     FFFD "A"},
    {"\xf0\x8f\x80\x80", FFFD FFFD FFFD FFFD},
    {"\xf1\x80\x80", FFFD},
    {"\xf1\x80"
     "A",
     FFFD "A"},
    {"\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD},
    {"\xf5\x80", FFFD FFFD},
    {"\xff\xfe", FFFD FFFD},
    /* encoded surrogates: one sequence, whole or cut off */
    {"\xed\xa0\x80", FFFD},
    {"\xed\xbf\xbf\x80", FFFD FFFD},
    {"\xed\xa0\x80\xed\xb0\x80", FFFD FFFD},
    {"\xed\xa0", FFFD},
    {"\xed\xbf"
     "A\"",
     FFFD "A\""},
    {"\xed\xa0\xed\xa0", FFFD FFFD},
    {"\xf3\x13\xc1\xc7\xed\xa0", FFFD "\x13" FFFD FFFD FFFD},
    /* above U+FFFF */
    {"/\xf0\x9f\x98\x80", "/\xed\xa0\xbd\xed\xb8\x80"},
    {"\xf0\x90\x80\x80", "\xed\xa0\x80\xed\xb0\x80"},
    {"\xf4\x8f\xbf\xbf", "\xed\xaf\xbf\xed\xbf\xbf"},
};

START_TEST(java_echo) {
    const char *in = echoes[_i].in, *out = echoes[_i].out != NULL ? echoes[_i].out : in;
    struct buf b = BUF_INIT;
    str_java_echo(&b, (const uint8_t *)in, strlen(in));
    expect_text(&b, out);
    ck_assert_int_eq(str_utf8_valid((const uint8_t *)in, strlen(in)), strstr(out, FFFD) == NULL);
}
END_TEST

START_TEST(java_echo_with_nul) {
    struct buf b = BUF_INIT;
    str_java_echo(&b, BYTES("a\0\xff"));
    ck_assert_uint_eq(b.len, 5);
    ck_assert_mem_eq(b.data, "a\0" FFFD, 5);
    ck_assert(str_utf8_valid(BYTES("a\0b")));
    buf_free(&b);
}
END_TEST

static const struct {
    double value;
    const char *text;
} doubles[] = {
    {0, "0.0"},
    {1, "1.0"},
    {3.60869565, "3.6087"},
    {0.5, "0.5"},
    {100, "100.0"},
    {12.3, "12.3"},
    {0.00004, "0.0"},
    {0.0001, "1.0E-4"},
    {0.00095, "9.0E-4"},
    {0.00096, "0.001"},
    {0.0009, "9.0E-4"},
    {0.001, "0.001"},
    {0.002, "0.002"},
    {9999999.9999, "9999999.9999"},
    {9999999.99999, "1.0E7"},
    {1e7, "1.0E7"},
    {12345678, "1.2345678E7"},
    {123456789.12341, "1.234567891234E8"},
    {7114622106267607.0, "7.114622106267607E15"},
    {1e15, "1.0E15"},
    /* half up, of the exact value: the first two are exact halves, the others lie a little below or above */
    {0.03125, "0.0313"},
    {0.15625, "0.1563"},
    {1.00005, "1.0001"},
    {19.99175, "19.9917"},
    {15.33095, "15.3309"},
    {0.00015, "1.0E-4"},
    {2.00015, "2.0002"},
};

START_TEST(java_double) {
    struct buf b = BUF_INIT;
    str_java_double(&b, doubles[_i].value);
    expect_text(&b, doubles[_i].text);
}
END_TEST

START_TEST(distance) {
    ck_assert_uint_eq(str_distance("tickTime", "tickTime"), 0);
    ck_assert_uint_eq(str_distance("ticktime", "tickTime"), 0);
    ck_assert_uint_eq(str_distance("tickTme", "tickTime"), 1);
    ck_assert_uint_eq(str_distance("", "abc"), 3);
    ck_assert_uint_eq(str_distance("kitten", "sitting"), 3);
    char longer[65] = {0};
    memset(longer, 'a', 64);
    ck_assert_uint_gt(str_distance(longer, "a"), 100);
    longer[63] = '\0';
    ck_assert_uint_eq(str_distance(longer, "a"), 62);
}
END_TEST

/* ------------------------------------------------------------------ histogram, generator */

START_TEST(histogram_of_nothing) {
    struct histogram h;
    histogram_reset(&h);
    ck_assert_uint_eq(histogram_quantile(&h, 0.5), 0);
    ck_assert_uint_eq(h.count, 0);
}
END_TEST

START_TEST(histogram_small_values_are_exact) {
    struct histogram h;
    histogram_reset(&h);
    for (uint64_t v = 0; v < 32; v++)
        histogram_add(&h, v);
    for (uint64_t v = 0; v < 32; v++)
        ck_assert_uint_eq(histogram_quantile(&h, ((double)v + 0.5) / 32), v);
    ck_assert_uint_eq(h.sum, 31 * 16);
    ck_assert_uint_eq(h.min, 0);
    ck_assert_uint_eq(h.max, 31);
}
END_TEST

START_TEST(histogram_quantiles_within_a_bucket) {
    struct histogram h;
    histogram_reset(&h);
    for (uint64_t v = 1; v <= 100000; v++)
        histogram_add(&h, v * 1000);
    for (double q = 0.01; q < 1; q += 0.01) {
        double exact = q * 1e8, got = (double)histogram_quantile(&h, q);
        ck_assert_double_ge(got, exact);
        ck_assert_double_le(got, exact * 1.04);
    }
    ck_assert_uint_eq(histogram_quantile(&h, 1), 100000000);
}
END_TEST

START_TEST(histogram_extremes) {
    struct histogram h;
    histogram_reset(&h);
    for (int i = 0; i < 64; i++) {
        histogram_add(&h, (uint64_t)1 << i);
        histogram_add(&h, ((uint64_t)1 << i) - 1);
    }
    histogram_add(&h, UINT64_MAX);
    ck_assert_uint_eq(histogram_quantile(&h, 1), UINT64_MAX);
    ck_assert_uint_eq(histogram_quantile(&h, 0), 0);
    ck_assert_uint_eq(h.count, 129);
}
END_TEST

START_TEST(histogram_merge_is_adding_all) {
    struct histogram a, b, both;
    struct rng r = {5};
    histogram_reset(&a);
    histogram_reset(&b);
    histogram_reset(&both);
    histogram_merge(&a, &b); /* an empty one changes nothing */
    ck_assert_uint_eq(a.min, UINT64_MAX);
    for (int i = 0; i < 1000; i++) {
        uint64_t value = rng_next(&r) >> rng_below(&r, 64);
        histogram_add(i % 3 ? &a : &b, value);
        histogram_add(&both, value);
    }
    histogram_merge(&b, &a);
    ck_assert_mem_eq(&b, &both, sizeof b);
    histogram_reset(&a);
    histogram_merge(&a, &b);
    ck_assert_mem_eq(&a, &both, sizeof a);
}
END_TEST

/* The published test values of splitmix64 for seed 1234567. */
START_TEST(rng_sequence) {
    struct rng r = {1234567};
    ck_assert_uint_eq(rng_next(&r), 6457827717110365317u);
    ck_assert_uint_eq(rng_next(&r), 3203168211198807973u);
    ck_assert_uint_eq(rng_next(&r), 9817491932198370423u);
}
END_TEST

START_TEST(rng_ranges) {
    struct rng r = {1};
    unsigned counts[10] = {0};
    ck_assert_uint_eq(rng_below(&r, 0), 0);
    ck_assert_uint_eq(rng_below(&r, 1), 0);
    for (int i = 0; i < 10000; i++) {
        counts[rng_below(&r, 10)]++;
        double u = rng_unit(&r);
        EXPECT(u >= 0 && u < 1);
    }
    for (int i = 0; i < 10; i++)
        ck_assert_uint_gt(counts[i], 850);
}
END_TEST

int main(void) {
    Suite *s = suite_create("base");
    TCase *tc = tcase_create("buf");
    tcase_add_test(tc, buf_grows_and_keeps_what_it_has);
    tcase_add_test(tc, buf_reserve_at_least_doubles);
    tcase_add_test(tc, buf_tail_is_where_to_write);
    tcase_add_test(tc, buf_consume_takes_from_the_front);
    tcase_add_test(tc, buf_printf_of_any_length);
    suite_add_tcase(s, tc);

    tc = tcase_create("hmap");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, hmap_empty);
    tcase_add_test(tc, hmap_put_returns_the_one_before);
    tcase_add_test(tc, hmap_shrinks_again);
    tcase_add_loop_test(tc, hmap_against_a_model, 0, 3);
    suite_add_tcase(s, tc);

    tc = tcase_create("list");
    tcase_add_test(tc, list_in_order);
    tcase_add_test(tc, list_append_moves_all);
    tcase_add_test(tc, list_loop_may_remove_the_current_one);
    suite_add_tcase(s, tc);

    tc = tcase_create("strutil");
    tcase_add_test(tc, decimal_numbers);
    tcase_add_test(tc, decoded_numbers);
    tcase_add_test(tc, hex_numbers);
    tcase_add_test(tc, slices);
    tcase_add_test(tc, base64);
    tcase_add_loop_test(tc, java_echo, 0, ARRAY_LEN(echoes));
    tcase_add_test(tc, java_echo_with_nul);
    tcase_add_loop_test(tc, java_double, 0, ARRAY_LEN(doubles));
    tcase_add_test(tc, distance);
    suite_add_tcase(s, tc);

    tc = tcase_create("histogram and rng");
    tcase_add_test(tc, histogram_of_nothing);
    tcase_add_test(tc, histogram_small_values_are_exact);
    tcase_add_test(tc, histogram_quantiles_within_a_bucket);
    tcase_add_test(tc, histogram_extremes);
    tcase_add_test(tc, histogram_merge_is_adding_all);
    tcase_add_test(tc, rng_sequence);
    tcase_add_test(tc, rng_ranges);
    suite_add_tcase(s, tc);

    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
