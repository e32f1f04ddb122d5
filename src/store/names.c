#include "store/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/strutil.h"

void store_log_name(char out[STORE_NAME_MAX], zxid_t zxid) {
    snprintf(out, STORE_NAME_MAX, "log.%" PRIx64, (uint64_t)zxid);
}

void store_snapshot_name(char out[STORE_NAME_MAX], zxid_t zxid, enum snapshot_method method) {
    static const char *const suffixes[] = {[SNAPSHOT_PLAIN] = "", [SNAPSHOT_GZIP] = ".gz", [SNAPSHOT_SNAPPY] = ".snappy"};
    snprintf(out, STORE_NAME_MAX, "snapshot.%" PRIx64 "%s", (uint64_t)zxid, suffixes[method]);
}

void store_aside_name(char out[STORE_NAME_MAX], const char *kind, zxid_t zxid, unsigned number) {
    snprintf(out, STORE_NAME_MAX, "%s.%" PRIx64 ".%u", kind, (uint64_t)zxid, number);
}

void store_snapshot_tmp_name(char out[STORE_NAME_MAX], zxid_t zxid) {
    snprintf(out, STORE_NAME_MAX, STORE_TMP_PREFIX "snapshot.%" PRIx64 STORE_TMP_SUFFIX, (uint64_t)zxid);
}

bool store_name_is_own_tmp(const char *name) {
    size_t len = strlen(name), prefix = strlen(STORE_TMP_PREFIX), suffix = strlen(STORE_TMP_SUFFIX);
    return len > prefix + suffix && memcmp(name, STORE_TMP_PREFIX, prefix) == 0 &&
           strcmp(name + len - suffix, STORE_TMP_SUFFIX) == 0;
}

bool store_name_has_prefix(const char *name, const char *prefix) {
    size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 && name[n] == '.';
}

zxid_t store_name_zxid(const char *name, const char *prefix) {
    if (!store_name_has_prefix(name, prefix))
        return -1;
    const char *hex = name + strlen(prefix) + 1;
    int64_t zxid;
    if (!str_hex_to_i64((struct slice){hex, strcspn(hex, ".")}, &zxid) || zxid < 0)
        return -1;
    return zxid;
}

enum snapshot_method store_snapshot_method(const char *name) {
    const char *dot = strrchr(name, '.');
    if (dot != NULL && strcasecmp(dot, ".gz") == 0)
        return SNAPSHOT_GZIP;
    if (dot != NULL && strcasecmp(dot, ".snappy") == 0)
        return SNAPSHOT_SNAPPY;
    return SNAPSHOT_PLAIN;
}
