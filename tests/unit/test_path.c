/* Rules for paths: docs/protocol/operations.md section 3.2. */
#include <check.h>
#include <stdlib.h>

#include "tree/path.h"

static void expect(struct slice path, bool valid) {
    ck_assert_msg(path_valid(path) == valid, "%.*s: valid should be %d", (int)path.len, path.data, valid);
}
#define VALID(text) expect(SLICE_LIT(text), true)
#define INVALID(text) expect(SLICE_LIT(text), false)

/* Puts the bytes into every place of a component. */
static void expect_bytes(const char *bytes, size_t len, bool valid) {
    static const char *const around[][2] = {{"/", ""}, {"/a", ""}, {"/", "z"}, {"/x/a", "z/y"}, {"/..", ""}};
    for (size_t i = 0; i < ARRAY_LEN(around); i++) {
        struct buf b = BUF_INIT;
        buf_append(&b, around[i][0], strlen(around[i][0]));
        buf_append(&b, bytes, len);
        buf_append(&b, around[i][1], strlen(around[i][1]));
        expect((struct slice){(const char *)b.data, b.len}, valid);
        buf_free(&b);
    }
}
#define CHAR_OK(text) expect_bytes((text), sizeof(text) - 1, true)
#define CHAR_BAD(text) expect_bytes((text), sizeof(text) - 1, false)

START_TEST(structure) {
    VALID("/");
    VALID("/a");
    VALID("/a/b/c");
    VALID("/zookeeper/quota");
    INVALID("");
    ck_assert(!path_valid(SLICE_NULL));
    INVALID("a");
    INVALID("a/b");
    INVALID("/a/");
    INVALID("//");
    INVALID("//a");
    INVALID("/a//b");
    INVALID("/a/b//");
}
END_TEST

START_TEST(dots) {
    INVALID("/.");
    INVALID("/..");
    INVALID("/./a");
    INVALID("/../a");
    INVALID("/a/./b");
    INVALID("/a/../b");
    INVALID("/a/.");
    INVALID("/a/..");
    VALID("/...");
    VALID("/..a");
    VALID("/a..");
    VALID("/.a");
    VALID("/a.");
    VALID("/a/.../b");
}
END_TEST

START_TEST(control_bytes) {
    for (int c = 1; c < 0x80; c++) {
        char byte = (char)c;
        if (c != '/' && c != '.')
            expect_bytes(&byte, 1, c >= 0x20 && c != 0x7f);
    }
    CHAR_BAD("\0");
    INVALID("/a\0b");
}
END_TEST

START_TEST(two_bytes) {
    CHAR_BAD("\xc2\x80");
    CHAR_BAD("\xc2\x9f");
    CHAR_OK("\xc2\xa0");
    CHAR_OK("\xc3\xa4");
    CHAR_OK("\xdf\xbf");
    CHAR_BAD("\xc0\x80"); /* overlong */
    CHAR_BAD("\xc1\xbf");
    CHAR_BAD("\xc2");
    CHAR_BAD("\xc2 ");
    CHAR_BAD("\xc2\xc2\xa0");
    CHAR_BAD("\x80");
    CHAR_BAD("\xbf");
}
END_TEST

START_TEST(three_bytes) {
    CHAR_BAD("\xe0\x80\x80"); /* overlong */
    CHAR_BAD("\xe0\x9f\xbf");
    CHAR_OK("\xe0\xa0\x80");
    CHAR_OK("\xe2\x82\xac");
    CHAR_OK("\xec\xbf\xbf");
    CHAR_OK("\xed\x9f\xbf");  /* U+D7FF */
    CHAR_BAD("\xed\xa0\x80"); /* U+D800 */
    CHAR_BAD("\xed\xbf\xbf");
    CHAR_BAD("\xee\x80\x80"); /* U+E000 */
    CHAR_BAD("\xef\xa3\xbf"); /* U+F8FF */
    CHAR_OK("\xef\xa4\x80");  /* U+F900 */
    CHAR_OK("\xef\xbf\xaf");  /* U+FFEF */
    CHAR_BAD("\xef\xbf\xb0"); /* U+FFF0 */
    CHAR_BAD("\xef\xbf\xbd"); /* U+FFFD */
    CHAR_BAD("\xef\xbf\xbf");
    CHAR_BAD("\xe2\x82");
    CHAR_BAD("\xe2");
    CHAR_BAD("\xe2\x82 ");
    CHAR_BAD("\xe2 \xac");
}
END_TEST

START_TEST(four_bytes) {
    CHAR_BAD("\xf0\x9f\x98\x80");
    for (int c = 0xf0; c <= 0xff; c++) {
        char bytes[4] = {(char)c, '\x90', '\x80', '\x80'};
        expect_bytes(bytes, 4, false);
        expect_bytes(bytes, 1, false);
    }
}
END_TEST

START_TEST(no_length_limit) {
    struct buf b = BUF_INIT;
    for (int i = 0; i < 500000; i++)
        buf_append(&b, "/a", 2);
    expect((struct slice){(const char *)b.data, b.len}, true);
    buf_append(&b, "/", 1);
    expect((struct slice){(const char *)b.data, b.len}, false);
    buf_free(&b);
}
END_TEST

START_TEST(parent_and_name) {
    static const char *const cases[][3] = {
        {"/a", "", "a"},         {"/a/b", "/a", "b"}, {"/", "", ""},
        {"/a/b/", "/a/b", ""}, {"x/y", "x", "y"},   {"//a", "/", "a"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ck_assert(slice_is(path_parent(slice_of(cases[i][0])), cases[i][1]));
        ck_assert(slice_is(path_name(slice_of(cases[i][0])), cases[i][2]));
    }
}
END_TEST

START_TEST(within) {
    static const struct {
        const char *path, *prefix;
        bool within;
    } cases[] = {
        {"/a/b", "/a", true},  {"/a", "/a", true},  {"/ab", "/a", false}, {"/a", "/a/b", false}, {"/b", "/a", false},
        {"/a/b/c", "/a", true}, {"/", "/", true},    {"/a", "/", true},    {"/", "/a", false},    {"", "/", true},
        {"/a/bc", "/a/b", false}, {"/a", "", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        ck_assert_msg(path_within(slice_of(cases[i].path), slice_of(cases[i].prefix)) == cases[i].within, "%s in %s",
                      cases[i].path, cases[i].prefix);
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("path");
    tcase_add_test(tc, structure);
    tcase_add_test(tc, dots);
    tcase_add_test(tc, control_bytes);
    tcase_add_test(tc, two_bytes);
    tcase_add_test(tc, three_bytes);
    tcase_add_test(tc, four_bytes);
    tcase_add_test(tc, no_length_limit);
    tcase_add_test(tc, parent_and_name);
    tcase_add_test(tc, within);
    Suite *suite = suite_create("path");
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
