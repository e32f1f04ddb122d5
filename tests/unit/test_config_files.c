/* zoo.cfg and its dynamic files after a reconfiguration: the text, and the files. */
#include <errno.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "bio/config_files.h"
#include "lib/store_help.h"
#include "lib/tempdir.h"
#include "server/config.h"

/* ------------------------------------------------------------------ the text */

static void expect_rewritten(const char *old, bool client_too, const char *expected) {
    struct buf out = BUF_INIT;
    config_rewrite(slice_of(old), "/etc/zoo.cfg.dynamic.5", client_too, &out);
    buf_append(&out, "", 1);
    ck_assert_str_eq((const char *)out.data, expected);
    buf_free(&out);
}

START_TEST(members_go) {
    expect_rewritten("tickTime=2000\nserver.1=a:1:2\n  server.2 b:1:2;2181\ngroup.1:1:2\nweight.1=3\ndataDir=/d\n", false,
                     "tickTime=2000\ndataDir=/d\ndynamicConfigFile=/etc/zoo.cfg.dynamic.5\n");
    expect_rewritten("peerType=observer\ndynamicConfigFile=/x.1\nzookeeper.peerType=observer\nmaxCnxns=3", false,
                     "maxCnxns=3\ndynamicConfigFile=/etc/zoo.cfg.dynamic.5\n");
    expect_rewritten("", true, "dynamicConfigFile=/etc/zoo.cfg.dynamic.5\n");
}
END_TEST

START_TEST(the_rest_stays_as_it_is) {
    expect_rewritten("# ours\n\n! servers\nserver.1=a:1:2\r\n\tclientPort = 2181 \r\n# last", false,
                     "# ours\n\n! servers\n\tclientPort = 2181 \r\n# last\ndynamicConfigFile=/etc/zoo.cfg.dynamic.5\n");
    expect_rewritten("serverCnxnFactory=x\nmy.server.1=2\nautopurge.purgeInterval=1\\\n  2\n", false,
                     "serverCnxnFactory=x\nmy.server.1=2\nautopurge.purgeInterval=1\\\n  2\n"
                     "dynamicConfigFile=/etc/zoo.cfg.dynamic.5\n");
}
END_TEST

START_TEST(lines_that_go_on) {
    expect_rewritten("server.1=a:\\\n  1:2\na=b\nser\\\n  ver.2=b:1:2\nc=d\\", false,
                     "a=b\nc=d\\\ndynamicConfigFile=/etc/zoo.cfg.dynamic.5\n");
}
END_TEST

START_TEST(client_address) {
    const char *old = "clientPort=2181\nclientPortAddress=::1\nclientPortListenBacklog=5\nserver.1=a:1:2;2181\n";
    expect_rewritten(old, true, "clientPortListenBacklog=5\ndynamicConfigFile=/etc/zoo.cfg.dynamic.5\n");
    expect_rewritten(old, false, "clientPort=2181\nclientPortAddress=::1\nclientPortListenBacklog=5\n"
                                 "dynamicConfigFile=/etc/zoo.cfg.dynamic.5\n");
}
END_TEST

START_TEST(paths_of_dynamic_files) {
    static const struct {
        const char *main, *before, *expected;
    } cases[] = {{"/e/zoo.cfg", NULL, "/e/zoo.cfg.dynamic.1f00000002"},
                 {"/e/zoo.cfg", "/e/zoo.cfg.dynamic.100000000", "/e/zoo.cfg.dynamic.1f00000002"},
                 {"/e/zoo.cfg", "/f/members", "/f/members.1f00000002"},
                 {"/e/zoo.cfg", "/f.d/members.txt", "/f.d/members.txt.1f00000002"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out = BUF_INIT;
        config_dynamic_path(cases[i].main, cases[i].before, 0x1f00000002, &out);
        buf_append(&out, "", 1);
        ck_assert_str_eq((const char *)out.data, cases[i].expected);
        buf_free(&out);
    }
}
END_TEST

/* ------------------------------------------------------------------ the files */

static char root[TEMPDIR_BYTES];
static struct job *submitted;
static int submissions;

static void submit(void *ctx, struct job *job) {
    (void)ctx;
    ck_assert_ptr_null(submitted);
    submitted = job;
    submissions++;
}

/* As the pool does. */
static void run_job(void) {
    struct job *job = submitted;
    submitted = NULL;
    job->run(job, NULL);
    job->done(job);
}

static const char *in_root(const char *name) { return tempdir_path(root, name); }

static void put(const char *name, const char *text) {
    FILE *f = fopen(in_root(name), "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static void expect_file(const char *name, const char *text) {
    char got[1024];
    FILE *f = fopen(in_root(name), "re");
    ck_assert_msg(f != NULL, "%s is missing", name);
    got[fread(got, 1, sizeof got - 1, f)] = '\0';
    fclose(f);
    ck_assert_str_eq(got, text);
}

/* zoo.cfg: these lines, and the name of the dynamic file. */
static void expect_static(const char *lines, const char *dynamic) {
    char text[512];
    snprintf(text, sizeof text, "%sdynamicConfigFile=%s/%s\n", lines, root, dynamic);
    expect_file("zoo.cfg", text);
}

static void setup(void) {
    tempdir_make(root);
    submitted = NULL;
    submissions = 0;
}

static void teardown(void) { tempdir_remove(root); }

START_TEST(first_and_next) {
    struct stat st;
    put("zoo.cfg", "server.1=a:1:2\ntickTime=9\n");
    ck_assert_int_eq(chmod(in_root("zoo.cfg"), 0640), 0);
    struct config_files *f = config_files_new(in_root("zoo.cfg"), NULL, submit, NULL);
    config_files_update(f, SLICE_LIT("server.1=a:1:2:participant\n"), 0x100000000, false);
    run_job();
    expect_static("tickTime=9\n", "zoo.cfg.dynamic.100000000");
    expect_file("zoo.cfg.dynamic.100000000", "server.1=a:1:2:participant\n");
    expect_file("zoo.cfg.bak", "server.1=a:1:2\ntickTime=9\n");
    ck_assert_int_eq(stat(in_root("zoo.cfg"), &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0640);
    config_files_update(f, SLICE_LIT("server.2=b:1:2:participant\n"), 0x100000003, false);
    run_job();
    expect_static("tickTime=9\n", "zoo.cfg.dynamic.100000003");
    expect_file("zoo.cfg.bak", "server.1=a:1:2\ntickTime=9\n");
    config_files_free(f);
}
END_TEST

START_TEST(only_the_newest_is_written) {
    put("zoo.cfg", "tickTime=9\n");
    put("members.1", "server.1=a:1:2\n");
    struct config_files *f = config_files_new(in_root("zoo.cfg"), in_root("members.1"), submit, NULL);
    config_files_update(f, SLICE_LIT("two\n"), 2, false);
    config_files_update(f, SLICE_LIT("three\n"), 3, false);
    config_files_update(f, SLICE_LIT("four\n"), 4, false);
    run_job();
    run_job();
    ck_assert_ptr_null(submitted);
    ck_assert_int_eq(submissions, 2);
    expect_file("members.2", "two\n");
    expect_file("members.4", "four\n");
    ck_assert_int_eq(access(in_root("members.3"), F_OK), -1);
    ck_assert_int_eq(access(in_root("zoo.cfg.bak"), F_OK), -1);
    expect_static("tickTime=9\n", "members.4");
    config_files_free(f);
}
END_TEST

START_TEST(a_link_stays_a_link) {
    struct stat st;
    ck_assert_int_eq(mkdir(in_root("real"), 0755), 0);
    put("real/zoo.cfg", "server.1=a:1:2\n");
    ck_assert_int_eq(symlink("real/zoo.cfg", in_root("zoo.cfg")), 0);
    struct config_files *f = config_files_new(in_root("zoo.cfg"), NULL, submit, NULL);
    config_files_update(f, SLICE_LIT("one\n"), 1, false);
    run_job();
    ck_assert_int_eq(lstat(in_root("zoo.cfg"), &st), 0);
    ck_assert(S_ISLNK(st.st_mode));
    expect_static("", "real/zoo.cfg.dynamic.1");
    config_files_free(f);
}
END_TEST

/* Nothing is half done: zoo.cfg never names a file that is not there. */
START_TEST(what_cannot_be_written) {
    put("zoo.cfg", "server.1=a:1:2\n");
    ck_assert_int_eq(mkdir(in_root("zoo.cfg.dynamic.1.tmp"), 0755), 0);
    struct config_files *f = config_files_new(in_root("zoo.cfg"), NULL, submit, NULL);
    config_files_update(f, SLICE_LIT("one\n"), 1, false);
    run_job();
    expect_file("zoo.cfg", "server.1=a:1:2\n");
    ck_assert_int_eq(mkdir(in_root("zoo.cfg.bak"), 0755), 0);
    config_files_update(f, SLICE_LIT("two\n"), 2, false);
    run_job();
    expect_file("zoo.cfg", "server.1=a:1:2\n");
    ck_assert_int_eq(rmdir(in_root("zoo.cfg.bak")), 0);
    config_files_update(f, SLICE_LIT("three\n"), 3, false);
    run_job();
    expect_static("", "zoo.cfg.dynamic.3");
    expect_file("zoo.cfg.bak", "server.1=a:1:2\n");
    config_files_free(f);
}
END_TEST

/* A proposal has a file of its own until it is active, which a start finds. */
START_TEST(proposals) {
    struct buf found = BUF_INIT;
    put("zoo.cfg", "server.1=a:1:2\n");
    struct config_files *f = config_files_new(in_root("zoo.cfg"), NULL, submit, NULL);
    config_files_read_proposal(f, &found);
    ck_assert_uint_eq(found.len, 0);
    config_files_propose(f, SLICE_LIT("server.1=b:1:2:participant\nversion=1"));
    run_job();
    expect_file("zoo.cfg.dynamic.next", "server.1=b:1:2:participant\nversion=1");
    expect_file("zoo.cfg", "server.1=a:1:2\n");
    config_files_read_proposal(f, &found);
    ck_assert(slice_eq((struct slice){(const char *)found.data, found.len}, SLICE_LIT("server.1=b:1:2:participant\nversion=1")));
    config_files_propose(f, (struct slice){NULL, 0});
    config_files_update(f, SLICE_LIT("server.1=b:1:2:participant\n"), 1, false);
    run_job();
    run_job();
    ck_assert_ptr_null(submitted);
    ck_assert_int_eq(access(in_root("zoo.cfg.dynamic.next"), F_OK), -1);
    expect_file("zoo.cfg.dynamic.1", "server.1=b:1:2:participant\n");
    config_files_propose(f, (struct slice){NULL, 0}); /* there is none */
    /* Both at once, and the files of the active one cannot be written. */
    ck_assert_int_eq(mkdir(in_root("zoo.cfg.dynamic.2.tmp"), 0755), 0);
    config_files_update(f, SLICE_LIT("two\n"), 2, false);
    config_files_propose(f, SLICE_LIT("three\nversion=3"));
    run_job();
    run_job();
    expect_file("zoo.cfg.dynamic.next", "three\nversion=3");
    buf_free(&found);
    config_files_free(f);
}
END_TEST

int main(void) {
    Suite *s = suite_create("config_files");
    TCase *text = tcase_create("text"), *files = tcase_create("files");
    tcase_add_test(text, members_go);
    tcase_add_test(text, the_rest_stays_as_it_is);
    tcase_add_test(text, lines_that_go_on);
    tcase_add_test(text, client_address);
    tcase_add_test(text, paths_of_dynamic_files);
    tcase_add_checked_fixture(files, setup, teardown);
    tcase_add_test(files, first_and_next);
    tcase_add_test(files, only_the_newest_is_written);
    tcase_add_test(files, a_link_stays_a_link);
    tcase_add_test(files, proposals);
    tcase_add_test(files, what_cannot_be_written);
    suite_add_tcase(s, text);
    suite_add_tcase(s, files);
    return run_suite(s);
}
