/* A directory of its own for one test. */
#ifndef ZABRA_TESTS_TEMPDIR_H
#define ZABRA_TESTS_TEMPDIR_H

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEMPDIR_BYTES 64

static inline void tempdir_make(char path[TEMPDIR_BYTES]) {
    const char *tmp = getenv("TMPDIR");
    snprintf(path, TEMPDIR_BYTES, "%s/zabra-test-XXXXXX", tmp != NULL && strlen(tmp) < 40 ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(path));
}

/* A path below it. Valid until the fourth call after this one. */
static inline char *tempdir_path(const char *dir, const char *name) {
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

/* With all that is in it. */
static inline void tempdir_remove(const char *path) {
    DIR *stream = opendir(path);
    const struct dirent *e;
    while (stream != NULL && (e = readdir(stream)) != NULL) {
        char child[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        ck_assert_uint_lt((size_t)snprintf(child, sizeof child, "%s/%s", path, e->d_name), sizeof child);
        if (unlink(child) == -1)
            tempdir_remove(child);
    }
    if (stream != NULL)
        closedir(stream);
    rmdir(path);
}

#endif
