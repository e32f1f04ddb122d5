/* The option table, the grammar of configuration files, the command line, and the checks across options. */
#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/strutil.h"
#include "quorum/qconfig.h"
#include "server/config.h"
#include "server/config_table.h"

/* -------- helpers -------- */

static struct config cfg;
static struct config_log msgs;

/* The files that the fake reader knows. */
static struct fake_file {
    const char *path, *text;
    int err;
} files[32];
static size_t file_count;

static void setup(void) {
    config_defaults(&cfg);
    msgs = (struct config_log){0};
    file_count = 0;
}

static void teardown(void) {
    config_free(&cfg);
    config_log_free(&msgs);
}

static void fresh(void) {
    teardown();
    setup();
}

static int fake_read(void *ctx, const char *path, struct buf *out) {
    ck_assert_ptr_eq(ctx, files);
    for (size_t i = 0; i < file_count; i++) {
        if (strcmp(files[i].path, path) == 0) {
            buf_append(out, files[i].text, strlen(files[i].text));
            return files[i].err;
        }
    }
    return -ENOENT;
}

static void add_file(const char *path, const char *text) { files[file_count++] = (struct fake_file){path, text, 0}; }

static void load_path(const char *path) { config_load(&cfg, path, fake_read, files, &msgs); }

/* Loads text as zoo.cfg into a fresh configuration, without validation. */
static void load(const char *text) {
    fresh();
    add_file("zoo.cfg", text);
    load_path("zoo.cfg");
}

/* The same, validated; what is required is there already. */
static void load_checked(const char *text) {
    fresh();
    struct buf all = BUF_INIT;
    buf_printf(&all, "%s\ndataDir=/d\nclientPort=2181\n", text);
    buf_append(&all, "", 1);
    add_file("zoo.cfg", (const char *)all.data);
    load_path("zoo.cfg");
    config_validate(&cfg, false, &msgs);
    buf_free(&all);
}

static bool has_message(enum config_severity severity, const char *part) {
    for (size_t i = 0; i < msgs.count; i++)
        if (msgs.items[i].severity == severity && strstr(msgs.items[i].text, part) != NULL)
            return true;
    return false;
}

static void print_messages(void) {
    for (size_t i = 0; i < msgs.count; i++)
        fprintf(stderr, "  message %d: %s\n", (int)msgs.items[i].severity, msgs.items[i].text);
}

#define ASSERT_MESSAGE(severity, part)                                                                                 \
    do {                                                                                                               \
        if (!has_message((severity), (part))) {                                                                        \
            print_messages();                                                                                          \
            ck_abort_msg("no such message: %s", (part));                                                               \
        }                                                                                                              \
    } while (0)
#define ASSERT_ERROR(part) ASSERT_MESSAGE(CONFIG_ERROR, part)
#define ASSERT_SILENT()                                                                                                \
    do {                                                                                                               \
        if (msgs.count != 0)                                                                                           \
            print_messages();                                                                                          \
        ck_assert_uint_eq(msgs.count, 0);                                                                              \
    } while (0)

/* The present value of an option, by any of its names. The text lives until the next call but three. */
static const char *value_of(const char *name) {
    static char texts[4][4096];
    static unsigned next;
    char *text = texts[next++ % 4];
    const struct config_row *row = config_row_find(name);
    struct buf value = BUF_INIT;
    struct config_description d;
    ck_assert_ptr_nonnull(row);
    config_describe(&cfg, (size_t)(row - config_rows), &d, &value);
    snprintf(text, sizeof texts[0], "%.*s", (int)value.len, value.data != NULL ? (const char *)value.data : "");
    buf_free(&value);
    return text;
}

/* Parses one line and compares the value that it gave to logfile. */
static void assert_logfile(const char *text, const char *expected) {
    load(text);
    ASSERT_SILENT();
    ck_assert_ptr_nonnull(cfg.logfile);
    ck_assert_str_eq(cfg.logfile, expected);
}

/* -------- the table -------- */

START_TEST(names_are_unique) {
    for (size_t i = 0; i < config_row_count; i++) {
        const struct config_row *row = &config_rows[i];
        if (row->flags & CONFIG_F_FAMILY)
            continue;
        ck_assert_msg(config_row_find(row->name) == row, "%s is there twice", row->name);
        for (const char *const *alias = row->aliases; alias != NULL && *alias != NULL; alias++)
            ck_assert_msg(config_row_find(*alias) == row, "%s is there twice", *alias);
        ck_assert_msg(strncmp(row->name, "zookeeper.", 10) != 0, "%s: the prefix is taken off before", row->name);
    }
}
END_TEST

START_TEST(rows_are_complete) {
    for (size_t i = 0; i < config_row_count; i++) {
        const struct config_row *row = &config_rows[i];
        size_t doc = strlen(row->doc);
        ck_assert_msg(doc > 3 && row->doc[doc - 1] == '.', "%s: the description is a sentence", row->name);
        ck_assert_ptr_nonnull(row->unit);
        ck_assert_ptr_nonnull(row->default_text);
        if (row->class == CONFIG_ACTIVE && !(row->flags & CONFIG_F_FAMILY))
            ck_assert_msg(row->offset < sizeof(struct config), "%s has no field", row->name);
        if (row->class == CONFIG_NOT_YET)
            ck_assert_msg(row->feature != CONFIG_FEATURE_NONE, "%s: which feature?", row->name);
        if (row->type == CONFIG_ENUM)
            ck_assert_ptr_nonnull(row->choices);
        if (row->type == CONFIG_INT && row->size == sizeof(int)) {
            ck_assert_msg(row->min >= INT_MIN, "%s: lower bound", row->name);
            ck_assert_msg(row->max <= INT_MAX, "%s: upper bound", row->name);
        }
        if (row->type == CONFIG_INT && row->class == CONFIG_ACTIVE && strcmp(row->name, "port") != 0)
            ck_assert_msg(row->unit[0] != '\0', "%s has no unit", row->name);
        for (size_t k = 0; k < i; k++)
            if (row->offset != CONFIG_NO_FIELD)
                ck_assert_msg(row->offset != config_rows[k].offset, "%s and %s share a field", row->name,
                              config_rows[k].name);
    }
}
END_TEST

START_TEST(defaults_are_the_values_of_a_new_config) {
    for (size_t i = 0; i < config_option_count(); i++) {
        struct config_description d;
        struct buf value = BUF_INIT;
        config_describe(&cfg, i, &d, &value);
        ck_assert_msg(value.len == strlen(d.default_text) &&
                          (value.len == 0 || memcmp(value.data, d.default_text, value.len) == 0),
                      "%s is %.*s, not %s", d.name, (int)value.len, (const char *)value.data, d.default_text);
        ck_assert_ptr_null(d.origin);
        buf_free(&value);
    }
}
END_TEST

/* A text that is allowed and is not the default. */
static const char *other_value(const struct config_row *row, char *buffer, size_t size) {
    switch (row->type) {
    case CONFIG_BOOL:
        if (row->default_text[0] == 'y' || row->default_text[0] == 'n')
            return row->default_text[0] == 'y' ? "no" : "yes";
        return row->default_text[0] == 't' ? "false" : "true";
    case CONFIG_INT:
        snprintf(buffer, size, "%lld", (long long)(atoll(row->default_text) == row->max ? row->min : row->max));
        return buffer;
    case CONFIG_DOUBLE:
        return "0.375";
    case CONFIG_ENUM:
        for (const struct config_choice *choice = row->choices; choice->text != NULL; choice++)
            if (strcmp(choice->text, row->default_text) != 0 && choice->text[0] != '\0')
                return choice->text;
        return NULL;
    case CONFIG_STRING:
    case CONFIG_PATH:
        return "/some/text";
    case CONFIG_LIST:
        return "one,two";
    }
    return NULL;
}

static void set_and_read_back(const struct config_row *row, const char *name) {
    char buffer[32];
    const char *text = other_value(row, buffer, sizeof buffer);
    fresh();
    ck_assert_msg(config_set(&cfg, name, text, &msgs), "%s = %s: %s", name, text, msgs.count ? msgs.items[0].text : "");
    ASSERT_SILENT();
    ck_assert_str_eq(value_of(row->name), row->flags & CONFIG_F_SECRET ? "(set)" : text);
    ck_assert(config_is_set(&cfg, row->name));
    for (size_t i = 0; i < config_row_count; i++)
        ck_assert_msg(&config_rows[i] == row || config_setting_of(&cfg, &config_rows[i])->origin == NULL,
                      "%s set %s, too", name, config_rows[i].name);
    /* And back to the default: nothing of the first value stays. */
    config_set(&cfg, name, row->default_text, &msgs);
    ASSERT_SILENT();
    ck_assert_str_eq(value_of(row->name), row->default_text);
}

START_TEST(every_row_is_set_and_read_back) {
    for (size_t i = 0; i < config_row_count; i++) {
        const struct config_row *row = &config_rows[i];
        char prefixed[128];
        if ((row->flags & CONFIG_F_FAMILY) || strcmp(row->name, "electionAlg") == 0) /* has one value only */
            continue;
        set_and_read_back(row, row->name);
        snprintf(prefixed, sizeof prefixed, "zookeeper.%s", row->name);
        set_and_read_back(row, prefixed);
        for (const char *const *alias = row->aliases; alias != NULL && *alias != NULL; alias++)
            set_and_read_back(row, *alias);
    }
}
END_TEST

/* Every number is refused just outside its bounds, if these are not those of its type. */
START_TEST(bounds_of_every_int) {
    for (size_t i = 0; i < config_row_count; i++) {
        const struct config_row *row = &config_rows[i];
        char text[32];
        if (row->type != CONFIG_INT)
            continue;
        if (row->max < INT64_MAX) {
            snprintf(text, sizeof text, "%lld", (long long)row->max + 1);
            ck_assert_msg(!config_set(&cfg, row->name, text, &msgs), "%s takes %s", row->name, text);
        }
        snprintf(text, sizeof text, "%lld", (long long)row->min - 1);
        ck_assert_msg(!config_set(&cfg, row->name, text, &msgs), "%s takes %s", row->name, text);
        snprintf(text, sizeof text, "%lld", (long long)row->min);
        ck_assert_msg(config_set(&cfg, row->name, text, &msgs), "%s refuses %s", row->name, text);
    }
}
END_TEST

START_TEST(sizes_of_ints_are_right) {
    config_set(&cfg, "port", "4711", &msgs);
    config_set(&cfg, "maxmemory", "9223372036854775807", &msgs);
    config_set(&cfg, "loglevel", "error", &msgs);
    config_set(&cfg, "snapshot.compression.method", "snappy", &msgs);
    ASSERT_SILENT();
    ck_assert_int_eq(cfg.port, 4711);
    ck_assert_int_eq(cfg.maxmemory_bytes, INT64_MAX);
    ck_assert_int_eq(cfg.loglevel, LOG_LEVEL_ERROR);
    ck_assert_int_eq(cfg.snapshot_compression, CONFIG_COMPRESS_SNAPPY);
    ck_assert_int_eq(cfg.listen_backlog, -1);
    ck_assert_int_eq(cfg.global_outstanding_limit, 1000);
}
END_TEST

/* ZooKeeper's documented defaults, so that a change of the table does not pass unseen. */
START_TEST(defaults_of_zookeeper) {
    ck_assert_int_eq(cfg.tick_time_ms, 3000);
    ck_assert_int_eq(cfg.max_client_cnxns, 60);
    ck_assert_int_eq(cfg.jute_maxbuffer_bytes, 0xfffff);
    ck_assert_int_eq(cfg.snap_count, 100000);
    ck_assert_int_eq(cfg.snap_size_limit_kib, 4194304);
    ck_assert_int_eq(cfg.prealloc_kib, 65536);
    ck_assert_int_eq(cfg.autopurge_purge_interval_hours, 0);
    ck_assert_int_eq(cfg.autopurge_snap_retain_count, 3);
    ck_assert_int_eq(cfg.sessionless_timeout_ms, 10000);
    ck_assert_int_eq(cfg.container_check_interval_ms, 60000);
    ck_assert_int_eq(cfg.container_max_per_minute, 10000);
    ck_assert_int_eq(cfg.large_request_max_bytes, 104857600);
    ck_assert(cfg.force_sync);
    ck_assert(cfg.digest_enabled);
    ck_assert(!cfg.skip_acl);
    ck_assert(!cfg.extended_types_enabled);
    ck_assert_uint_eq(cfg.bind.count, 0);
    ck_assert_double_eq(cfg.connection_throttle_drop_increase, 0.02);
    ck_assert_int_eq(cfg.max_request_bytes, 16 << 20);
}
END_TEST

/* -------- values -------- */

START_TEST(booleans_of_zoo_cfg_are_strict) {
    static const char *const bad[] = {"on", "off", "1", "0", "", "t", "y", "maybe"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char line[64], text[128];
        snprintf(line, sizeof line, "reconfigEnabled=%s", bad[i]);
        load(line);
        snprintf(text, sizeof text,
                 "zoo.cfg:1: reconfigEnabled: Invalid option %s for reconfigEnabled. Choose 'true' or 'false.'",
                 bad[i]);
        ASSERT_ERROR(text);
        ck_assert(!cfg.reconfig_enabled);
    }
    load("reconfigEnabled=TRUE");
    ck_assert(cfg.reconfig_enabled);
    load("reconfigEnabled=Yes\nstandaloneEnabled=no");
    ck_assert(cfg.reconfig_enabled);
    ck_assert(!cfg.standalone_enabled);
    ASSERT_SILENT();
}
END_TEST

START_TEST(other_booleans) {
    static const char *const on[] = {"true", "True", "yes", "YES", "on", "1"}, *const off[] = {"false", "no", "OFF",
                                                                                               "0"};
    for (size_t i = 0; i < ARRAY_LEN(on); i++) {
        fresh();
        ck_assert(config_set(&cfg, "enforceQuota", on[i], &msgs));
        ck_assert(cfg.enforce_quota);
    }
    for (size_t i = 0; i < ARRAY_LEN(off); i++) {
        fresh();
        ck_assert(config_set(&cfg, "digest.enabled", off[i], &msgs));
        ck_assert(!cfg.digest_enabled);
    }
    ck_assert(!config_set(&cfg, "digest.enabled", "ture", &msgs));
    ASSERT_ERROR("digest.enabled: 'ture' is not allowed: write true or false");
    ck_assert(!config_set(&cfg, "digest.enabled", "", &msgs));
}
END_TEST

/* Where one word is all that ZooKeeper heeds, a word that would mean the opposite there is refused. */
START_TEST(skip_acl_and_force_sync) {
    static const char *const doubtful[] = {"true", "on", "1"};
    for (size_t i = 0; i < ARRAY_LEN(doubtful); i++) {
        fresh();
        ck_assert(!config_set(&cfg, "skipACL", doubtful[i], &msgs));
        ck_assert(!cfg.skip_acl);
        ASSERT_ERROR("write yes or no (ZooKeeper heeds only the word yes)");
        ck_assert(config_set(&cfg, "forceSync", doubtful[i], &msgs));
        ck_assert(cfg.force_sync);
    }
    ck_assert(!config_set(&cfg, "forceSync", "false", &msgs));
    ck_assert(cfg.force_sync);
    ck_assert(config_set(&cfg, "forceSync", "NO", &msgs));
    ck_assert(!cfg.force_sync);
    ck_assert(config_set(&cfg, "skipACL", "false", &msgs));
    ck_assert(config_set(&cfg, "skipACL", "Yes", &msgs));
    ck_assert(cfg.skip_acl);
}
END_TEST

START_TEST(numbers) {
    load("tickTime=abc");
    ASSERT_ERROR("zoo.cfg:1: tickTime: For input string: \"abc\"; allowed is a whole number from 0 to 2147483647 (ms)");
    load("clientPort=65536");
    ASSERT_ERROR("zoo.cfg:1: clientPort: '65536' is out of range; allowed is a whole number from 0 to 65535");
    load("tickTime=\n");
    ASSERT_ERROR("For input string: \"\"");
    load("tickTime=2000ms");
    ASSERT_ERROR("For input string: \"2000ms\"");
    load("tickTime=0x10"); /* decimal only, where ZooKeeper parses it itself */
    ASSERT_ERROR("For input string: \"0x10\"");
    load("tickTime=010\nmaxCnxns=0x10\nsnapCount=010");
    ASSERT_SILENT();
    ck_assert_int_eq(cfg.tick_time_ms, 10);
    ck_assert_int_eq(cfg.max_cnxns, 16);
    ck_assert_int_eq(cfg.snap_count, 8);
    load("snapCount=99999999999999999999");
    ASSERT_ERROR("For input string");
    ck_assert_int_eq(cfg.snap_count, 100000);
}
END_TEST

START_TEST(sizes) {
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {{"0", 0},        {"1", 1},         {"100b", 100},      {"1k", 1000},       {"1kb", 1024},
                {"2M", 2000000}, {"2mb", 2097152}, {"3g", 3000000000}, {"3GB", 3221225472}};
    static const char *const bad[] = {
        "", "k", "1.5g", "-1k", "1 k", "1t", "9223372036854775807k", "99999999999999999999k", "-1"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_msg(config_set(&cfg, "maxmemory", good[i].text, &msgs), "%s", good[i].text);
        ck_assert_int_eq(cfg.maxmemory_bytes, good[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(!config_set(&cfg, "maxmemory", bad[i], &msgs), "%s", bad[i]);
    ASSERT_ERROR("allowed is a whole number from 0 (bytes, or with k, kb, m, mb, g, gb)");
    ck_assert(config_set(&cfg, "jute.maxbuffer", "0x3fffff", &msgs));
    ck_assert_int_eq(cfg.jute_maxbuffer_bytes, 0x3fffff);
    ck_assert(config_set(&cfg, "jute.maxbuffer", "4mb", &msgs));
    ck_assert_int_eq(cfg.jute_maxbuffer_bytes, 4 << 20);
    ck_assert(!config_set(&cfg, "tickTime", "2k", &msgs)); /* not a number of bytes */
}
END_TEST

START_TEST(ratios) {
    static const char *const bad[] = {"", "-0.1", "1.01", "nan", "inf", "0x1", "0,5", "1e999", ".", "0.5x"};
    ck_assert(config_set(&cfg, "connection_throttle_drop_increase", "1e-3", &msgs));
    ck_assert_double_eq_tol(cfg.connection_throttle_drop_increase, 0.001, 1e-12);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        ck_assert_msg(!config_set(&cfg, "connection_throttle_drop_increase", bad[i], &msgs), "%s", bad[i]);
    ASSERT_ERROR("connection_throttle_drop_increase: '-0.1' is not allowed: write a number from 0 to 1");
}
END_TEST

START_TEST(choices) {
    ck_assert(config_set(&cfg, "loglevel", "VERBOSE", &msgs));
    ck_assert_str_eq(value_of("loglevel"), "info");
    ck_assert(!config_set(&cfg, "loglevel", "loud", &msgs));
    ASSERT_ERROR("loglevel: 'loud' is not allowed; allowed are debug, info, warn, error, off");
    ck_assert(!config_set(&cfg, "snapshot.compression.method", "zstd", &msgs));
    ASSERT_ERROR("allowed are nothing (empty), gz, snappy");
    ck_assert(config_set(&cfg, "snapshot.compression.method", "gz", &msgs));
    ck_assert_int_eq(cfg.snapshot_compression, CONFIG_COMPRESS_GZIP);
    ck_assert(!config_set(&cfg, "peerType", "foo", &msgs));
    ASSERT_ERROR("Unrecognised peertype: foo");
    ck_assert(!config_set(&cfg, "electionAlg", "2", &msgs));
    ASSERT_ERROR("Invalid electionAlg value. Only 3 is supported.");
    ck_assert(config_set(&cfg, "electionAlg", "3", &msgs));
    ck_assert(!config_set(&cfg, "metricsProvider.className", "org.example.Mine", &msgs));
    ASSERT_ERROR("metrics provider class was not found");
    ck_assert(!config_set(&cfg, "ssl.keyStore.type", "pfx", &msgs));
    ASSERT_ERROR("Bad value for zookeeper.ssl.keyStore.type: pfx");
}
END_TEST

START_TEST(lists) {
    load("4lw.commands.whitelist=stat, ruok ,, conf\nbind 127.0.0.1 ::1,10.0.0.1");
    ASSERT_SILENT();
    ck_assert_str_eq(value_of("4lw.commands.whitelist"), "stat,ruok,conf");
    ck_assert_str_eq(value_of("bind"), "127.0.0.1,::1,10.0.0.1");
    ck_assert(config_word_allowed(&cfg, "stat"));
    ck_assert(config_word_allowed(&cfg, "srvr"));
    ck_assert(!config_word_allowed(&cfg, "isro"));
    ck_assert(!config_word_allowed(&cfg, "mntr"));
    load("4lw.commands.whitelist=\nreadonlymode.enabled=true");
    ck_assert_uint_eq(cfg.four_letter_words.count, 0);
    ck_assert(config_word_allowed(&cfg, "srvr"));
    ck_assert(config_word_allowed(&cfg, "isro"));
    ck_assert(!config_word_allowed(&cfg, "ruok"));
    load("4lw.commands.whitelist=*");
    ck_assert(config_word_allowed(&cfg, "wchp"));
    load("");
    ck_assert(config_word_allowed(&cfg, "mntr"));
    ck_assert(!config_word_allowed(&cfg, "dump"));
    load_checked("bind *");
    ck_assert_uint_eq(cfg.bind.count, 0);
    load("bind 1.1.1.1\nclientPortAddress=2.2.2.2 3.3.3.3"); /* the later replaces, it does not add */
    ck_assert_str_eq(value_of("bind"), "2.2.2.2,3.3.3.3");
}
END_TEST

START_TEST(secrets_are_not_shown) {
    load("DigestAuthenticationProvider.superDigest=super:abc=\nssl.keyStore.password=hunter2\n");
    ck_assert_str_eq(cfg.super_digest, "super:abc=");
    ck_assert_str_eq(value_of("DigestAuthenticationProvider.superDigest"), "(set)");
    ck_assert_str_eq(value_of("ssl.keyStore.password"), "(set)");
    config_validate(&cfg, false, &msgs);
    for (size_t i = 0; i < msgs.count; i++)
        ck_assert(strstr(msgs.items[i].text, "hunter2") == NULL && strstr(msgs.items[i].text, "abc=") == NULL);
}
END_TEST

/* -------- the grammar of files -------- */

START_TEST(separators) {
    assert_logfile("logfile=a", "a");
    assert_logfile("logfile:a", "a");
    assert_logfile("logfile a", "a");
    assert_logfile("logfile\ta", "a");
    assert_logfile("logfile\fa", "a");
    assert_logfile("  \t logfile  =  a  \t ", "a");
    assert_logfile("logfile : a", "a");
    assert_logfile("logfile = = a", "= a");
    assert_logfile("logfile=:a", ":a");
    assert_logfile("logfile a=b:c d", "a=b:c d");
    assert_logfile("logfile a b  c", "a b  c");
    assert_logfile("logfile a # no comment", "a # no comment");
    load("logfile");
    ASSERT_SILENT();
    ck_assert_ptr_null(cfg.logfile);
    load("logfile=\nlogfile =\nlogfile  ");
    ASSERT_SILENT();
    ck_assert_ptr_null(cfg.logfile);
}
END_TEST

START_TEST(addresses_behind_a_blank) {
    load("bind ::1");
    ck_assert_str_eq(value_of("bind"), "::1");
    load("bind=::1");
    ck_assert_str_eq(value_of("bind"), "::1");
    load("bind:::1");
    ck_assert_str_eq(value_of("bind"), "::1");
    load("bind ::");
    ck_assert_str_eq(value_of("bind"), "::");
    load("bind : ::1 127.0.0.1");
    ck_assert_str_eq(value_of("bind"), "::1,127.0.0.1");
}
END_TEST

START_TEST(comments_and_empty_lines) {
    load("# tickTime=1\n! tickTime=2\n\n   \n  # tickTime=3\n\t! tickTime=4\n#\n!\n# goes on? \\\ntickTime=5\n");
    ASSERT_SILENT();
    ck_assert_int_eq(cfg.tick_time_ms, 5); /* a comment has no continuation */
}
END_TEST

START_TEST(line_ends) {
    load("tickTime=1\r\nsnapCount=5\rmaxCnxns=7\n\r\n\rlogfile=x");
    ASSERT_SILENT();
    ck_assert_int_eq(cfg.tick_time_ms, 1);
    ck_assert_int_eq(cfg.snap_count, 5);
    ck_assert_int_eq(cfg.max_cnxns, 7);
    ck_assert_str_eq(cfg.logfile, "x");
    load("\r\n\n\rtickTme=1\r\n"); /* each of the three counts once */
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:4: unknown option 'tickTme'");
}
END_TEST

START_TEST(continuations) {
    assert_logfile("logfile=a\\\nb", "ab");
    assert_logfile("logfile=a\\\n   b", "ab");
    assert_logfile("logfile=a\\\r\n\t b\\\r c", "abc");
    assert_logfile("logfile=a\\\n# b", "a# b"); /* a continuation is no comment */
    assert_logfile("log\\\n   file=a", "a");
    assert_logfile("logfile=a\\\\\ntickTime=5", "a\\"); /* an escaped backslash does not continue */
    ck_assert_int_eq(cfg.tick_time_ms, 5);
    assert_logfile("logfile=a\\\\\\\nb", "a\\b");
    assert_logfile("logfile=a\\\n\ntickTime=6", "a"); /* an empty line ends it */
    ck_assert_int_eq(cfg.tick_time_ms, 6);
    assert_logfile("logfile=a\\", "a"); /* nothing to continue with */
    load("\\\n\\\n\ntickTme=1");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:4:");
    load("a=\\\nb\ntickTme=1"); /* a logical line has the number of its first */
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:1:");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:3:");
}
END_TEST

START_TEST(escapes) {
    assert_logfile("logfile=a\\tb\\nc\\rd\\fe", "a\tb\nc\rd\fe");
    assert_logfile("logfile=\\a\\b\\=\\:\\#\\!\\ x\\\"", "ab=:#! x\"");
    assert_logfile("logfile=\\u0041\\u00e9\\u20AC", "A\xc3\xa9\xe2\x82\xac");
    assert_logfile("logfile=\\uD83D\\uDE00", "\xf0\x9f\x98\x80");
    assert_logfile("logfile=\xc3\xa9", "\xc3\xa9");
    assert_logfile("log\\u0066ile=a", "a");
}
END_TEST

START_TEST(escapes_in_names) {
    load("log\\file=a"); /* a form feed */
    ASSERT_MESSAGE(CONFIG_WARNING, "unknown option 'log?ile'");
    load("tick\\ Time=5\ntick\\=Time=6\ntick\\:Time=7");
    ASSERT_MESSAGE(CONFIG_WARNING, "unknown option 'tick Time'");
    ASSERT_MESSAGE(CONFIG_WARNING, "unknown option 'tick=Time'");
    ASSERT_MESSAGE(CONFIG_WARNING, "unknown option 'tick:Time'");
}
END_TEST

START_TEST(bad_escapes) {
    static const char *const bad[] = {"logfile=\\u12", "logfile=\\u12g4", "logfile=\\u", "logfile=\\u+123",
                                      "log\\uzzzz=1"};
    static const char *const halves[] = {"logfile=\\uD83D", "logfile=\\uDE00", "logfile=\\uD83Dx",
                                         "logfile=\\uD83D\\u0041"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        load(bad[i]);
        ASSERT_ERROR("zoo.cfg:1: Malformed \\uxxxx encoding.");
    }
    for (size_t i = 0; i < ARRAY_LEN(halves); i++) {
        load(halves[i]);
        ASSERT_ERROR("zoo.cfg:1: half a character");
    }
    load("logfile=a\\u0000b");
    ASSERT_ERROR("zoo.cfg:1: a NUL character is not allowed");
}
END_TEST

static int read_nul(void *ctx, const char *path, struct buf *out) {
    (void)ctx;
    (void)path;
    buf_append(out, "logfile=a\0b\ntickTime=7", 22);
    return 0;
}

START_TEST(nul_bytes) {
    config_load(&cfg, "zoo.cfg", read_nul, NULL, &msgs);
    ASSERT_ERROR("zoo.cfg:1: a NUL character is not allowed");
    ck_assert_int_eq(cfg.tick_time_ms, 7);
}
END_TEST

START_TEST(quotes) {
    assert_logfile("logfile \"a b\"", "a b");
    assert_logfile("logfile=\" a \"", " a ");
    assert_logfile("logfile \"a", "\"a");
    assert_logfile("logfile a\"", "a\"");
    assert_logfile("logfile a\"b\"", "a\"b\"");
    assert_logfile("logfile \"a\" \"b\"", "\"a\" \"b\""); /* a quote between: not one quoted value */
    assert_logfile("logfile \"", "\"");
    assert_logfile("logfile 'a'", "'a'");
    load("logfile a\nlogfile \"\"");
    ck_assert_ptr_null(cfg.logfile);
    load("tickTime \"2000\"\nbind \"127.0.0.1 ::1\"");
    ASSERT_SILENT();
    ck_assert_int_eq(cfg.tick_time_ms, 2000);
    ck_assert_uint_eq(cfg.bind.count, 2);
}
END_TEST

START_TEST(byte_order_mark_is_skipped) {
    load("\xef\xbb\xbftickTime=5");
    ASSERT_SILENT();
    ck_assert_int_eq(cfg.tick_time_ms, 5);
}
END_TEST

START_TEST(later_duplicates_win) {
    load("tickTime=1\ntickTime=2\nclientPort=5\nport 6\ndir /a\ndataDir=/b");
    ASSERT_SILENT();
    ck_assert_int_eq(cfg.tick_time_ms, 2);
    ck_assert_int_eq(cfg.port, 6);
    ck_assert_str_eq(cfg.data_dir, "/b");
    load("tickTime=1\ntickTime=x"); /* a bad one does not change what was good, but is an error */
    ck_assert_int_eq(cfg.tick_time_ms, 1);
    ck_assert_uint_eq(msgs.errors, 1);
}
END_TEST

START_TEST(prefixed_names_are_the_same_option) {
    load("zookeeper.snapCount=5\nzookeeper.jute.maxbuffer=70000\nzookeeper.4lw.commands.whitelist=*");
    ASSERT_SILENT();
    ck_assert_int_eq(cfg.snap_count, 5);
    ck_assert_int_eq(cfg.jute_maxbuffer_bytes, 70000);
    ck_assert(config_is_set(&cfg, "snapCount"));
    ck_assert(config_is_set(&cfg, "zookeeper.snapCount"));
    ck_assert(!config_is_set(&cfg, "tickTime"));
    ck_assert(!config_is_set(&cfg, "no such option"));
}
END_TEST

START_TEST(names_are_case_sensitive) {
    load("ticktime=5");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:1: unknown option 'ticktime' is ignored; did you mean 'tickTime'?");
    ck_assert_int_eq(cfg.tick_time_ms, 3000);
}
END_TEST

START_TEST(unknown_names) {
    load("a\n\nclientPrt=1\nsomething.quite.different=2\nzookeeper.snapCuont=3\n=4");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:1: unknown option 'a' is ignored");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:3: unknown option 'clientPrt' is ignored; did you mean 'clientPort'?");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:5: unknown option 'snapCuont' is ignored; did you mean 'snapCount'?");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:6: unknown option '' is ignored");
    for (size_t i = 0; i < msgs.count; i++)
        if (strstr(msgs.items[i].text, "different") != NULL)
            ck_assert(strstr(msgs.items[i].text, "did you mean") == NULL);
    ck_assert_uint_eq(msgs.errors, 0);
    ck_assert_uint_eq(msgs.count, 5);
}
END_TEST

START_TEST(unknown_names_when_strict) {
    load_checked("tickTme=1");
    ck_assert_uint_eq(msgs.errors, 0);
    load_checked("tickTme=1\nstrictConfig yes\ntickTmee=1");
    ck_assert_uint_eq(msgs.errors, 2);
    ASSERT_ERROR("zoo.cfg:1: unknown option 'tickTme'; did you mean 'tickTime'?");
    ASSERT_ERROR("zoo.cfg:3: unknown option 'tickTmee'; did you mean 'tickTime'?");
    load_checked("a is ignored=1\nstrictConfig yes\n=2");
    ck_assert_uint_eq(msgs.errors, 2);
    ASSERT_ERROR("zoo.cfg:1: unknown option 'a'");
    ASSERT_ERROR("zoo.cfg:3: unknown option ''");
    for (size_t i = 0; i < msgs.count; i++)
        ck_assert_ptr_null(strstr(msgs.items[i].text, "is ignored"));
    load("tickTme=1\ndir /d\nport 1");
    config_validate(&cfg, true, &msgs);
    ck_assert_uint_eq(msgs.errors, 1);
}
END_TEST

START_TEST(all_problems_are_collected) {
    load("tickTime=x\nclientPort=y\n\nskipACL=maybe\nloglevel=loud\nfoo=bar\nsnapCount=-");
    ck_assert_uint_eq(msgs.errors, 5);
    ck_assert_uint_eq(msgs.count, 6);
    ASSERT_ERROR("zoo.cfg:1: tickTime");
    ASSERT_ERROR("zoo.cfg:2: clientPort");
    ASSERT_ERROR("zoo.cfg:4: skipACL");
    ASSERT_ERROR("zoo.cfg:5: loglevel");
    ASSERT_ERROR("zoo.cfg:7: snapCount");
}
END_TEST

START_TEST(messages_are_bounded_and_one_line_each) {
    struct buf text = BUF_INIT;
    for (int i = 0; i < 3000; i++)
        buf_printf(&text, "tickTime=x\\n%d\n", i);
    buf_append(&text, "", 1);
    load((const char *)text.data);
    ck_assert_uint_eq(msgs.errors, 3000);
    ck_assert_uint_le(msgs.count, 201);
    ASSERT_MESSAGE(CONFIG_WARNING, "further problems");
    for (size_t i = 0; i < msgs.count; i++)
        ck_assert_ptr_null(strchr(msgs.items[i].text, '\n'));
    buf_clear(&text);
    buf_printf(&text, "tickTime=");
    for (int i = 0; i < 100000; i++)
        buf_append(&text, "y", 1);
    buf_append(&text, "", 1);
    load((const char *)text.data);
    ck_assert_uint_lt(strlen(msgs.items[0].text), 300);
    buf_free(&text);
}
END_TEST

/* -------- includes -------- */

START_TEST(includes) {
    add_file("/etc/z/main.conf", "tickTime 1\ninclude sub/a.conf\nmaxCnxns 1\n");
    add_file("/etc/z/sub/a.conf", "tickTime 2\ninclude b.conf\nmaxCnxns 2\nsnapCount=x\n");
    add_file("/etc/z/sub/b.conf", "include = \"/abs.conf\"\n");
    add_file("/abs.conf", "logfile l\nbad 1\n");
    load_path("/etc/z/main.conf");
    ck_assert_int_eq(cfg.tick_time_ms, 2); /* in place: later than line 1 ... */
    ck_assert_int_eq(cfg.max_cnxns, 1);    /* ... and before line 3 */
    ck_assert_str_eq(cfg.logfile, "l");
    ASSERT_ERROR("/etc/z/sub/a.conf:4: snapCount");
    ASSERT_MESSAGE(CONFIG_WARNING, "/abs.conf:2: unknown option 'bad'");
    ck_assert_uint_eq(msgs.count, 2);
}
END_TEST

START_TEST(include_beside_a_plain_name) {
    add_file("main.conf", "include a.conf");
    add_file("a.conf", "tickTime 2");
    load_path("main.conf");
    ASSERT_SILENT();
    ck_assert_int_eq(cfg.tick_time_ms, 2);
}
END_TEST

START_TEST(the_same_file_may_be_included_twice) {
    add_file("main.conf", "include a.conf\ninclude a.conf");
    add_file("a.conf", "tickTime 2");
    load_path("main.conf");
    ASSERT_SILENT();
}
END_TEST

START_TEST(include_problems) {
    add_file("main.conf", "include\ninclude nowhere.conf\ninclude main.conf\ninclude a.conf\ninclude secret.conf");
    add_file("a.conf", "tickTime 4\ninclude main.conf\ninclude a.conf");
    files[file_count++] = (struct fake_file){"secret.conf", "", -EACCES};
    load_path("main.conf");
    ASSERT_ERROR("main.conf:1: include needs the name of a file");
    ASSERT_ERROR("main.conf:2: nowhere.conf file is missing");
    ASSERT_ERROR("main.conf:3: main.conf is being read already");
    ASSERT_ERROR("a.conf:2: main.conf is being read already");
    ASSERT_ERROR("a.conf:3: a.conf is being read already");
    ASSERT_ERROR("main.conf:5: secret.conf cannot be read: Permission denied");
    ck_assert_uint_eq(msgs.errors, 6);
    ck_assert_int_eq(cfg.tick_time_ms, 4);
}
END_TEST

START_TEST(include_depth) {
    static char paths[20][8], texts[20][40];
    for (int i = 0; i < 20; i++) {
        snprintf(paths[i], sizeof paths[i], "f%d", i);
        snprintf(texts[i], sizeof texts[i], "include f%d\nsnapCount %d", i + 1, i + 10);
        add_file(paths[i], texts[i]);
    }
    load_path("f0");
    ck_assert_uint_eq(msgs.errors, 1);
    ASSERT_ERROR("f16:1: files are included 16 deep");
    ck_assert_int_eq(cfg.snap_count, 10);
}
END_TEST

START_TEST(missing_main_file) {
    load_path("/etc/zoo.cfg");
    ck_assert_uint_eq(msgs.errors, 1);
    ck_assert_str_eq(msgs.items[0].text, "/etc/zoo.cfg file is missing");
}
END_TEST

/* -------- the command line -------- */

static struct config_command run_args(size_t count, const char *const *words) {
    struct config_command command;
    char *argv[16] = {(char *)(uintptr_t) "zabra-server"};
    for (size_t i = 0; i < count; i++)
        argv[i + 1] = (char *)(uintptr_t)words[i];
    config_args(&cfg, (int)count + 1, argv, &command, &msgs);
    return command;
}
#define ARGS(...)                                                                                                      \
    run_args(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), (const char *const[]){__VA_ARGS__})

START_TEST(arguments) {
    struct config_command command = ARGS("zoo.cfg", "--tickTime", "2000", "--snapCount=7", "--maxCnxns=", "--bind",
                                         "127.0.0.1", "::1", "--clientPortListenBacklog", "-1", "--logfile", "");
    ck_assert_str_eq(command.config_path, "zoo.cfg");
    ck_assert(!command.help && !command.version && !command.check_config);
    ck_assert_int_eq(cfg.tick_time_ms, 2000);
    ck_assert_int_eq(cfg.snap_count, 7);
    ck_assert_str_eq(value_of("bind"), "127.0.0.1,::1");
    ck_assert_uint_eq(msgs.errors, 1);
    ASSERT_ERROR("command line: maxCnxns: For input string: \"\"");
}
END_TEST

START_TEST(argument_switches) {
    struct config_command command = ARGS("--check-config", "zoo.cfg", "--daemonize", "--closeOnUnknownOpcode");
    ASSERT_SILENT();
    ck_assert(command.check_config);
    ck_assert_str_eq(command.config_path, "zoo.cfg");
    ck_assert(cfg.daemonize && cfg.close_on_unknown_opcode);
    ck_assert(ARGS("--help").help);
    ck_assert(ARGS("-h").help);
    ck_assert(ARGS("--version").version);
    ck_assert(ARGS("-v").version);
    command = run_args(0, NULL);
    ck_assert_ptr_null(command.config_path);
    ASSERT_SILENT();
}
END_TEST

START_TEST(argument_problems) {
    ARGS("--tickTme", "5");
    ASSERT_ERROR("command line: unknown option 'tickTme'; did you mean 'tickTime'?");
    ARGS("--tickTimf");
    ASSERT_ERROR("command line: unknown option 'tickTimf'");
    ARGS("--tickTime");
    ASSERT_ERROR("command line: --tickTime needs a value");
    ARGS("--tickTime", "--snapCount", "5");
    ck_assert_int_eq(cfg.snap_count, 5);
    ARGS("-x");
    ASSERT_ERROR("command line: '-x' is not an option");
    ARGS("--include", "a.conf");
    ASSERT_ERROR("command line: include is for configuration files");
    ARGS("zoo.cfg", "other.cfg");
    ASSERT_ERROR("command line: 'other.cfg' is one word too many");
    ARGS("--", "x");
    ASSERT_ERROR("command line: unknown option ''");
}
END_TEST

START_TEST(old_style_arguments) {
    struct config_command command = ARGS("2182", "/var/data", "2500", "7");
    ASSERT_SILENT();
    ck_assert_ptr_null(command.config_path);
    ck_assert_int_eq(cfg.port, 2182);
    ck_assert_str_eq(cfg.data_dir, "/var/data");
    ck_assert_int_eq(cfg.tick_time_ms, 2500);
    ck_assert_int_eq(cfg.max_client_cnxns, 7);
    fresh();
    ARGS("2183", "/d", "--snapCount", "9");
    ASSERT_SILENT();
    ck_assert_int_eq(cfg.port, 2183);
    ck_assert_int_eq(cfg.snap_count, 9);
    fresh();
    ARGS("2183", "/d", "x");
    ASSERT_ERROR("tickTime: For input string: \"x\"");
    ARGS("1", "2", "3", "4", "5", "6");
    ASSERT_ERROR("one word too many");
}
END_TEST

START_TEST(order_of_precedence) {
    ARGS("--snapCount", "1000", "-Dzookeeper.tickTime=1", "-Dzookeeper.forceSync=no", "-Djute.maxbuffer=2000000");
    add_file("zoo.cfg", "snapCount=2000\ntickTime=2\njute.maxbuffer=3000000\nmaxCnxns=3\n");
    load_path("zoo.cfg");
    ASSERT_SILENT();
    ck_assert_int_eq(cfg.snap_count, 1000); /* the command line beats the file */
    ck_assert_int_eq(cfg.tick_time_ms, 2);  /* the file beats -D */
    ck_assert(!cfg.force_sync);
    ck_assert_int_eq(cfg.jute_maxbuffer_bytes, 2000000); /* but not where ZooKeeper heeds only -D */
    ck_assert_int_eq(cfg.max_cnxns, 3);
    config_set(&cfg, "jute.maxbuffer", "4000000", &msgs);
    ck_assert_int_eq(cfg.jute_maxbuffer_bytes, 4000000);
    ck_assert_str_eq(value_of("snapCount"), "1000");
}
END_TEST

START_TEST(an_overruled_value_is_checked_all_the_same) {
    ARGS("--tickTime", "7");
    add_file("zoo.cfg", "tickTime=seven\n");
    load_path("zoo.cfg");
    ASSERT_ERROR("zoo.cfg:1: tickTime");
    ck_assert_int_eq(cfg.tick_time_ms, 7);
}
END_TEST

START_TEST(jvm_flags) {
    config_jvm_flags(
        &cfg, "SERVER_JVMFLAGS",
        "  -Xmx1g -Dzookeeper.snapCount=5 -DtickTime=6\t-Djava.net.preferIPv4Stack=true -Dzookeeper.snapCont=1 "
        "-Dfsync.warningthresholdms=20 -D -Dzookeeper.skipACL -verbose:gc\n",
        &msgs);
    ck_assert_int_eq(cfg.snap_count, 5);
    ck_assert_int_eq(cfg.tick_time_ms, 6);
    ck_assert_int_eq(cfg.fsync_warning_threshold_ms, 20);
    ck_assert_uint_eq(msgs.count, 2);
    ASSERT_MESSAGE(CONFIG_WARNING, "SERVER_JVMFLAGS: unknown option 'snapCont'");
    ASSERT_ERROR("SERVER_JVMFLAGS: skipACL: '' is not allowed");
    config_jvm_flags(&cfg, "JVMFLAGS", NULL, &msgs);
    config_jvm_flags(&cfg, "JVMFLAGS", "", &msgs);
    config_jvm_flags(&cfg, "JVMFLAGS", "-Dzookeeper.snapCount=6", &msgs);
    ck_assert_int_eq(cfg.snap_count, 6);
    ck_assert_uint_eq(msgs.count, 2);
    config_validate(&cfg, false, &msgs);
    ASSERT_MESSAGE(CONFIG_NOTICE,
                   "only in Java are accepted and do nothing: -Djava.net.preferIPv4Stack (SERVER_JVMFLAGS)");
}
END_TEST

/* -------- checks across options -------- */

START_TEST(what_is_required) {
    load("");
    config_validate(&cfg, false, &msgs);
    ASSERT_ERROR("zoo.cfg: dataDir is not set");
    ASSERT_ERROR("zoo.cfg: clientPort is not set");
    ck_assert_uint_eq(msgs.errors, 2);
    load_checked("");
    ASSERT_SILENT();
    load("dataDir=/d\nclientPortAddress=1.2.3.4");
    config_validate(&cfg, false, &msgs);
    ASSERT_ERROR("zoo.cfg:2: clientPortAddress is set but clientPort is not set");
    ck_assert_uint_eq(msgs.errors, 1);
    load("dataDir=/d\nsecureClientPort=2281");
    config_validate(&cfg, false, &msgs);
    ASSERT_ERROR("zoo.cfg:2: clientPort is not set, so there is nothing to listen on (secureClientPort needs TLS");
    load("dataDir=\"\"\nclientPort=1");
    config_validate(&cfg, false, &msgs);
    ASSERT_ERROR("zoo.cfg:1: dataDir is not set");
}
END_TEST

START_TEST(checks_of_times) {
    load_checked("tickTime=0");
    ASSERT_ERROR("zoo.cfg:1: tickTime is not set");
    load_checked("minSessionTimeout=5000\nmaxSessionTimeout=4000");
    ASSERT_ERROR("zoo.cfg:1: minSessionTimeout must not be larger than maxSessionTimeout");
    load_checked("tickTime=2000\nmaxSessionTimeout=3000"); /* the lower bound is 4000 unless set */
    ASSERT_ERROR("zoo.cfg:2: minSessionTimeout must not be larger than maxSessionTimeout (they are 4000 and 3000 ms");
    load_checked("minSessionTimeout=4000\nmaxSessionTimeout=4000");
    ASSERT_SILENT();
}
END_TEST

START_TEST(session_timeouts_follow_the_tick) {
    load_checked("tickTime=2000");
    ck_assert_int_eq(cfg.min_session_timeout_ms, 4000);
    ck_assert_int_eq(cfg.max_session_timeout_ms, 40000);
    config_resolve(&cfg);
    ck_assert_int_eq(cfg.max_session_timeout_ms, 40000);
    load_checked("minSessionTimeout=1\nmaxSessionTimeout=5");
    ck_assert_int_eq(cfg.min_session_timeout_ms, 1);
    ck_assert_int_eq(cfg.max_session_timeout_ms, 5);
    load_checked("tickTime=2147483647");
    ck_assert_int_eq(cfg.min_session_timeout_ms, INT_MAX);
    ck_assert_int_eq(cfg.max_session_timeout_ms, INT_MAX);
}
END_TEST

START_TEST(bounds_of_requests) {
    load_checked("");
    ck_assert_int_eq(cfg.jute_maxbuffer_extra_bytes, 1048575);
    ck_assert_int_eq(config_jute_record_max_bytes(&cfg), 2 * 1048575);
    load_checked("jute.maxbuffer=50mb");
    ASSERT_SILENT();
    ck_assert_int_eq(cfg.max_request_bytes, 50 << 20);
    ck_assert_int_eq(cfg.jute_maxbuffer_extra_bytes, 50 << 20);
    load_checked("jute.maxbuffer=50mb\nmaxRequestBytes=20mb");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:2: maxRequestBytes is below jute.maxbuffer");
    ck_assert_int_eq(cfg.max_request_bytes, 50 << 20);
    load_checked("jute.maxbuffer=2147483647");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:1: jute.maxbuffer is lowered to 1 GiB");
    ck_assert_int_eq(cfg.jute_maxbuffer_bytes, 1 << 30);
    ck_assert_int_eq(cfg.max_request_bytes, 1 << 30);
    ck_assert_int_eq(config_jute_record_max_bytes(&cfg), INT32_MAX);
    load_checked("jute.maxbuffer.extrasize=5");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:1: jute.maxbuffer.extrasize is raised to 1024");
    ck_assert_int_eq(config_jute_record_max_bytes(&cfg), 1048575 + 1024);
}
END_TEST

START_TEST(checks_of_storage) {
    load_checked("snapSizeLimitInKb=0");
    ASSERT_ERROR("zoo.cfg:1: snapSizeLimitInKb must not be 0");
    load_checked("snapSizeLimitInKb=-5");
    ASSERT_SILENT();
    load_checked("snapCount=1");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:1: snapCount should be 2 or more");
    ck_assert_int_eq(cfg.snap_count, 2);
    load_checked("autopurge.snapRetainCount=1");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:1: Invalid autopurge.snapRetainCount: 1. Defaulting to 3");
    ck_assert_int_eq(cfg.autopurge_snap_retain_count, 3);
    load_checked("forceSync=no");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:1: forceSync is no");
    load_checked("");
    ck_assert_str_eq(cfg.data_log_dir, "/d");
    load_checked("dataLogDir=/l");
    ck_assert_str_eq(cfg.data_log_dir, "/l");
}
END_TEST

START_TEST(relative_paths) {
    load("dataDir=data\nclientPort=1\ndataLogDir=./log\npidfile=p");
    config_validate(&cfg, false, &msgs);
    ck_assert_uint_eq(msgs.count, 1);
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:1: dataDir: data is relative. Prepend ./ to indicate that you're sure!");
}
END_TEST

START_TEST(providers) {
    load_checked("authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n"
                 "authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider\n"
                 "zookeeper.authProvider.3=org.apache.zookeeper.server.auth.EnsembleAuthenticationProvider\n");
    ASSERT_SILENT();
    ck_assert(cfg.auth_sasl_registered && cfg.auth_x509_registered && cfg.auth_ensemble_registered);
    load_checked("authProvider.1=org.example.Mine\nauthProvider.1=org.example.Other");
    ck_assert(!cfg.auth_sasl_registered && !cfg.auth_x509_registered && !cfg.auth_ensemble_registered);
    ck_assert_uint_eq(msgs.count, 1);
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:2: Problems loading org.example.Other");
    ck_assert_str_eq(config_entry_value(&cfg, "authProvider.1"), "org.example.Other");
    ck_assert_str_eq(value_of("authProvider.1"), "authProvider.1=org.example.Other");
    load_checked("secureClientPort=2281");
    ck_assert(cfg.auth_x509_registered);
}
END_TEST

START_TEST(checks_of_authentication) {
    load_checked("DigestAuthenticationProvider.digestAlg=rot13");
    ASSERT_ERROR("zoo.cfg:1: DigestAuthenticationProvider.digestAlg: 'rot13' is not allowed");
    load_checked("DigestAuthenticationProvider.digestAlg=SHA-256");
    ASSERT_SILENT();
    load_checked("DigestAuthenticationProvider.digestAlg=sha");
    ASSERT_SILENT();
    ck_assert_str_eq(cfg.digest_auth_alg, "SHA1");
    load_checked("skipACL=yes");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:1: skipACL is yes");
    load_checked("enforce.auth.enabled=true");
    ASSERT_ERROR("zoo.cfg:1: enforce.auth.enabled is true, so enforce.auth.schemes must be set");
    load_checked("enforce.auth.enabled=true\nenforce.auth.schemes=digest, ip");
    ASSERT_SILENT();
    load_checked("enforce.auth.enabled=true\nenforce.auth.schemes=digest,world,ensemble\n"
                 "DigestAuthenticationProvider.enabled=false");
    ASSERT_ERROR("zoo.cfg:2: Authentication scheme digest is not available.");
    ASSERT_ERROR("zoo.cfg:2: Authentication scheme world is not available.");
    ASSERT_ERROR("zoo.cfg:2: Authentication scheme ensemble is not available.");
    load_checked("enforce.auth.enabled=true\nenforce.auth.schemes=sasl");
    ASSERT_ERROR("zoo.cfg:2: Authentication scheme sasl is not available. (It is not supported yet");
    load_checked("enforce.auth.schemes=sasl"); /* not enabled */
    ASSERT_SILENT();
    load_checked("sessionRequireClientSASLAuth=true"); /* ignoring it would open the server to everybody */
    ASSERT_ERROR("zoo.cfg:1: sessionRequireClientSASLAuth needs SASL");
    load_checked("quorum.auth.serverRequireSasl=true");
    ASSERT_ERROR("zoo.cfg:1: quorum.auth.enableSasl is disabled, so cannot enable quorum.auth.serverRequireSasl");
    load_checked("quorum.auth.enableSasl=true\nquorum.auth.serverRequireSasl=true");
    ASSERT_ERROR(
        "zoo.cfg:2: quorum.auth.learnerRequireSasl is disabled, so cannot enable quorum.auth.serverRequireSasl");
}
END_TEST

START_TEST(secure_address_without_port) {
    load_checked("secureClientPortAddress=1.2.3.4");
    ASSERT_ERROR("zoo.cfg:1: secureClientPortAddress is set but secureClientPort is not set");
}
END_TEST

/* -------- server lines -------- */

START_TEST(several_voters) {
    load_checked("server.1=a:2888:3888\nserver.2=b:2888:3888\nserver.3=c:2888:3888:participant\ninitLimit=10\nsyncLimit=5\n"
                 "localSessionsEnabled=true");
    ASSERT_MESSAGE(CONFIG_WARNING, "by this version; these options have no effect: localSessionsEnabled (zoo.cfg:6)");
    ck_assert_uint_eq(msgs.errors, 0);
    ck_assert(cfg.ensemble);
    ASSERT_MESSAGE(CONFIG_WARNING,
                   "zoo.cfg:3: server.3: an ensemble of 3 voting servers: docs/compatibility.md says what this version cannot do yet");
}
END_TEST

START_TEST(limits_of_an_ensemble) {
    load_checked("server.1=a:2888:3888\nserver.2=b:2888:3888");
    ASSERT_ERROR("zoo.cfg: initLimit is not set");
    ASSERT_ERROR("zoo.cfg: syncLimit is not set");
    load_checked("server.1=a:2888:3888\nserver.2=b:2888:3888\nsyncLimit=5\ninitLimit=0");
    ASSERT_ERROR("zoo.cfg:4: initLimit is not set");
    ck_assert_uint_eq(msgs.errors, 1);
    load_checked("server.1=a:2888:3888\nserver.2=b:2888:3888\nsyncLimit=5\ninitLimit=10\ncommitLogCount=1\n"
                 "snapshotSizeFactor=1.5\nfastleader.minNotificationInterval=100\nfastleader.maxNotificationInterval=10");
    ck_assert_uint_eq(msgs.errors, 0);
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:5: commitLogCount is raised to 500");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:6: snapshotSizeFactor is above 1; 0.33 is used");
    ASSERT_MESSAGE(CONFIG_WARNING, "zoo.cfg:8: fastleader.maxNotificationInterval is below");
    ck_assert_int_eq(cfg.commit_log_count, 500);
    ck_assert_double_eq(cfg.snapshot_size_factor, 0.33);
    ck_assert_int_eq(cfg.notification_interval_max_ms, 100);
}
END_TEST

START_TEST(options_of_ensembles) {
    load("initLimit=10\nsyncLimit=5\ntickTime=2000\npeerType=OBSERVER\nleaderServes=no\nsnapshotSizeFactor=-1\nquorumCnxnTimeoutMs=0\n"
         "syncEnabled=true\nobserver.syncEnabled=false");
    ASSERT_SILENT();
    config_resolve(&cfg);
    ck_assert_int_eq(cfg.init_limit_ticks, 10);
    ck_assert_int_eq(cfg.sync_limit_ticks, 5);
    ck_assert_int_eq(cfg.connect_limit_ticks, 0);
    ck_assert_int_eq(cfg.election_read_timeout_ms, 10000);
    ck_assert_int_eq(cfg.peer_type, CONFIG_PEER_OBSERVER);
    ck_assert_int_eq(cfg.election_alg, 3);
    ck_assert(!cfg.leader_serves);
    ck_assert(cfg.snapshot_size_factor < 0);
    ck_assert(!cfg.sync_enabled);
    load("syncEnabled=false\nconnectToLearnerMasterLimit=3\nquorumCnxnTimeoutMs=7");
    config_resolve(&cfg);
    ck_assert(!cfg.sync_enabled);
    ck_assert_int_eq(cfg.connect_limit_ticks, 3);
    ck_assert_int_eq(cfg.election_read_timeout_ms, 7);
    load("snapshotSizeFactor=much\npeerType=leader\nelectionAlg=1\ninitLimit=-1");
    ASSERT_ERROR("zoo.cfg:1: snapshotSizeFactor: 'much' is not allowed: write a number");
    ASSERT_ERROR("zoo.cfg:2: peerType: Unrecognised peertype: leader");
    ASSERT_ERROR("zoo.cfg:3: electionAlg: Invalid electionAlg value. Only 3 is supported.");
    ASSERT_ERROR("zoo.cfg:4: initLimit: '-1' is out of range");
}
END_TEST

START_TEST(one_voter_is_standalone) {
    load_checked("server.1=a:2888:3888");
    ck_assert_uint_eq(msgs.errors, 0);
    ASSERT_MESSAGE(CONFIG_NOTICE, "zoo.cfg:1: only one server is listed: running standalone, server.1 is ignored");
    load_checked("server.1=a:2888:3888\nstandaloneEnabled=false");
    ASSERT_MESSAGE(CONFIG_WARNING,
        "server.1: an ensemble of 1 voting server: docs/compatibility.md says what this version cannot do yet");
    load_checked("standaloneEnabled=false");
    ASSERT_ERROR("zoo.cfg:1: standaloneEnabled = false then number of participants should be >0");
    load_checked("server.1=a:2888:3888\nserver.2=b:2888:3888:OBSERVER");
    ASSERT_ERROR("Observers w/o quorum is an invalid configuration");
    load_checked("server.2=b:2888:3888:observer");
    ASSERT_ERROR("Observers w/o participants is an invalid configuration");
}
END_TEST

START_TEST(client_part_of_the_only_server) {
    load("dataDir=/d\nserver.1=a:2888:3888;2191");
    config_validate(&cfg, false, &msgs);
    ck_assert_uint_eq(msgs.errors, 0);
    ck_assert_int_eq(cfg.port, 2191);
    ck_assert_uint_eq(cfg.bind.count, 0);
    load("dataDir=/d\nserver.1=[fe80::1]:2888:3888:participant;[::1]:2191");
    config_validate(&cfg, false, &msgs);
    ck_assert_uint_eq(msgs.errors, 0);
    ck_assert_int_eq(cfg.port, 2191);
    ck_assert_str_eq(value_of("bind"), "::1");
    load("dataDir=/d\nserver.1=a:2888:3888;0.0.0.0:2191");
    config_validate(&cfg, false, &msgs);
    ck_assert_uint_eq(cfg.bind.count, 0);
    load_checked("server.1=a:2888:3888;1.2.3.4:2191");
    ASSERT_MESSAGE(CONFIG_WARNING, "server.1 names client port 2191, but clientPort is 2181 (zoo.cfg:3): 2181 is used");
    ck_assert_int_eq(cfg.port, 2181);
}
END_TEST

START_TEST(bad_server_lines) {
    static const struct {
        const char *line, *error;
    } cases[] = {
        {"server.x=a:2888:3888", "server.x: For input string: \"x\""},
        {"server.1=a:2888", "a:2888 does not have the form server_config or server_config;client_config"},
        {"server.1=", "does not have the form"},
        {"server.1=;", "does not have the form"},
        {"server.1=a:1:2:participant:x", "does not have the form"},
        {"server.1=a:1:2;1;2", "does not have the form"},
        {"server.1=a:1:2;h:1:2", "does not have the form"},
        {"server.1=a:x:3888", "Address unresolved: a:x"},
        {"server.1=a:2888:70000", "Address unresolved: a:70000"},
        {"server.1=a:2888:3888;abc", "Address unresolved: abc"},
        {"server.1=a:2888:3888;", "Address unresolved: "},
        {"server.1=a:2888:3888:voter", "Unrecognised peertype: voter"},
        {"server.1=a:2888:2888",
         "Client and election port must be different! Please update the configuration file on server.1"},
        {"server.1=a:1:2|b:1:2",
         "Multiple address feature is disabled, but multiple addresses were specified for sid 1"},
        {"server.1=[::1:2888:3888", "[::1:2888:3888 starts with '[' but has no matching ']:'"},
        {"multiAddress.enabled=true\nserver.1=a:1:2:participant|b:1:2:observer",
         "Multiple addresses should have similar roles"},
        {"multiAddress.enabled=true\nserver.1=|", "does not have the form"},
        {"server.256=a:1:2", "zoo.cfg:1: server.256: For input string: \"256\""},
        {"server.1=a:1:2\nserver.01=b:1:2", "zoo.cfg:2: server.01: server.1 is listed twice"},
        {"server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1", "zoo.cfg:3: Server 2 is not in a group"},
        {"server.1=a:1:2\ngroup.1=x", "zoo.cfg:2: group.1: For input string: \"x\""},
        {"server.1=a:1:2\nweight.1=-1", "zoo.cfg:2: weight.1: For input string: \"-1\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        load_checked(cases[i].line);
        ASSERT_ERROR(cases[i].error);
    }
    load_checked("multiAddress.enabled=true\nserver.1=a:1:2|b:1:2;2181");
    ck_assert_uint_eq(msgs.errors, 0);
}
END_TEST

START_TEST(dynamic_file) {
    add_file("zoo.cfg", "dataDir=/d\nclientPort=2181\ndynamicConfigFile=./zoo.cfg.dynamic\n");
    add_file("./zoo.cfg.dynamic", "server.1=a:2888:3888:participant;2181\nserver.2=b:2888:3888:participant;2181\n");
    load_path("zoo.cfg");
    config_validate(&cfg, false, &msgs);
    ASSERT_MESSAGE(CONFIG_WARNING, "./zoo.cfg.dynamic:2: server.2: an ensemble of 2 voting servers");
    ck_assert_str_eq(config_entry_value(&cfg, "server.1"), "a:2888:3888:participant;2181");
}
END_TEST

/* What the files say about members, as the ensemble's own parser takes it. */
START_TEST(members_text) {
    add_file("zoo.cfg", "dataDir=/d\nclientPort=2181\ndynamicConfigFile=/zoo.cfg.dynamic.10000000f\n");
    add_file("/zoo.cfg.dynamic.10000000f", "server.2=b:1:2\nserver.1=a:1:2:participant;2181\ngroup.7=1:2\nweight.2=3\n");
    load_path("zoo.cfg");
    config_validate(&cfg, false, &msgs);
    struct buf text = BUF_INIT, again = BUF_INIT;
    char why[QCONFIG_ERROR_BYTES];
    config_members_text(&cfg, &text);
    struct qconfig *members = qconfig_parse((struct slice){(const char *)text.data, text.len}, false, why, sizeof why);
    ck_assert_ptr_nonnull(members);
    qconfig_text(members, &again);
    ck_assert(slice_is((struct slice){(const char *)again.data, again.len},
                       "server.1=a:1:2:participant;0.0.0.0:2181\nserver.2=b:1:2:participant\n"
                       "group.7=1:2\nweight.1=1\nweight.2=3\nversion=10000000f"));
    qconfig_unref(members);
    buf_free(&text);
    buf_free(&again);
    load_checked("");
    config_members_text(&cfg, &text);
    ck_assert_uint_eq(text.len, 0);
}
END_TEST

START_TEST(dynamic_file_problems) {
    add_file("zoo.cfg", "server.1=a:2888:3888\ndynamicConfigFile=/x\nweight.1=2\n");
    add_file("/x", "clientPort=1\nversion=100000000\ngroup.1=1:2\ntickTme=5\ninclude zoo.cfg\n");
    load_path("zoo.cfg");
    ASSERT_ERROR("zoo.cfg:1: parameter: server.1 must be in a separate dynamic config file");
    ASSERT_ERROR("zoo.cfg:3: parameter: weight.1 must be in a separate dynamic config file");
    ASSERT_ERROR("/x:1: Unrecognised parameter: clientPort");
    ASSERT_ERROR("/x:2: dynamic file shouldn't have version inside");
    ASSERT_ERROR("/x:4: Unrecognised parameter: tickTme");
    ASSERT_ERROR("/x:5: Unrecognised parameter: include");
    ck_assert_uint_eq(msgs.errors, 6);
    ck_assert_int_eq(cfg.port, 0);
    load("dynamicConfigFile=/nowhere");
    ASSERT_ERROR("zoo.cfg:1: /nowhere file is missing");
    fresh();
    config_set(&cfg, "dynamicConfigFile", "/x", &msgs);
    config_validate(&cfg, false, &msgs);
    ASSERT_ERROR("command line: dynamicConfigFile was set after the files were read");
}
END_TEST

/* -------- options without effect -------- */

START_TEST(options_of_later_versions_are_told) {
    load_checked("initLimit=10\nsyncLimit=5\nssl.keyStore.location=/k\nsecureClientPort=2281\naudit.enable=true\n"
                 "superUser.1=bob\nadmin.serverPort=9090\n"
                 "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n"
                 "metricsProvider.foo=1\npathStats.enabled=true");
    ck_assert_uint_eq(msgs.errors, 0);
    ASSERT_MESSAGE(CONFIG_NOTICE, "options of ensembles, which have no effect on a standalone server: initLimit "
                                  "(zoo.cfg:1), syncLimit (zoo.cfg:2)");
    ASSERT_MESSAGE(CONFIG_WARNING,
                   "TLS is not supported yet by this version; these options have no effect: secureClientPort "
                   "(zoo.cfg:4), ssl.keyStore.location (zoo.cfg:3)");
    ASSERT_MESSAGE(CONFIG_WARNING,
                   "SASL is not supported yet by this version; these options have no effect: superUser.1 (zoo.cfg:6)");
    ASSERT_MESSAGE(CONFIG_NOTICE,
                   "the HTTP admin port is not supported yet by this version; these options have no effect: "
                   "admin.serverPort (zoo.cfg:7)");
    ASSERT_MESSAGE(CONFIG_WARNING,
                   "audit log is not supported yet by this version; these options have no effect: audit.enable");
    ASSERT_MESSAGE(CONFIG_WARNING, "metricsProvider.className (zoo.cfg:8), metricsProvider.foo (zoo.cfg:9)");
    ASSERT_MESSAGE(CONFIG_NOTICE, "pathStats.enabled (zoo.cfg:10)");
    ck_assert_uint_eq(msgs.count, 7);
}
END_TEST

START_TEST(nothing_is_told_where_nothing_is_missing) {
    load_checked(
        "initLimit=0\npeerType=participant\nelectionAlg=3\nadmin.enableServer=false\nsslQuorum=false\n"
        "audit.enable=false\nmetricsProvider.className=org.apache.zookeeper.metrics.impl.DefaultMetricsProvider");
    ASSERT_SILENT();
    load_checked("admin.enableServer=true");
    ASSERT_MESSAGE(CONFIG_NOTICE, "admin.enableServer (zoo.cfg:1)");
}
END_TEST

START_TEST(values_of_later_versions_are_checked_and_kept) {
    load("admin.serverPort=x\ninitLimit=ten\nssl.crl=perhaps\nssl.quorum.clientAuth=NEED\nsecureClientPort=2281");
    ASSERT_ERROR("zoo.cfg:1: admin.serverPort");
    ASSERT_ERROR("zoo.cfg:2: initLimit: For input string: \"ten\"");
    ASSERT_ERROR("zoo.cfg:3: ssl.crl");
    ck_assert_uint_eq(msgs.count, 3);
    ck_assert_str_eq(config_entry_value(&cfg, "secureClientPort"), "2281");
    ck_assert_str_eq(config_entry_value(&cfg, "zookeeper.secureClientPort"), "2281");
    ck_assert_ptr_null(config_entry_value(&cfg, "admin.serverPort"));
}
END_TEST

START_TEST(options_of_the_jvm_are_told_in_one_line) {
    load_checked("jvm.pause.monitor=true\nnio.numWorkerThreads=7\nserverCnxnFactory=org.example.Any\nflushDelay=5\n"
                 "maxBatchSize=whatever\nkinit=/bin/kinit");
    ck_assert_uint_eq(msgs.count, 1);
    ck_assert_int_eq(msgs.items[0].severity, CONFIG_NOTICE);
    ck_assert_ptr_nonnull(strstr(msgs.items[0].text, "nio.numWorkerThreads (zoo.cfg:2)"));
    ck_assert_ptr_nonnull(strstr(msgs.items[0].text, "maxBatchSize (zoo.cfg:5)"));
    ck_assert_ptr_nonnull(strstr(msgs.items[0].text, "jvm.pause.monitor (zoo.cfg:1)"));
}
END_TEST

/* -------- whole files -------- */

START_TEST(a_typical_zoo_cfg) {
    load("# http://hadoop.apache.org/zookeeper/docs/current/zookeeperAdmin.html\n"
         "\n"
         "# The number of milliseconds of each tick\n"
         "tickTime=2000\n"
         "# ticks of the initial synchronization\n"
         "initLimit=10\n"
         "# ticks between a request and its acknowledgement\n"
         "syncLimit=5\n"
         "# the directory where the snapshot is stored.\n"
         "dataDir=/var/lib/zookeeper\n"
         "# Place the dataLogDir to a separate physical disc for better performance\n"
         "# dataLogDir=/disk2/zookeeper\n"
         "\n"
         "# the port at which the clients will connect\n"
         "clientPort=2181\n"
         "\n"
         "# specify all zookeeper servers\n"
         "#server.1=zookeeper1:2888:3888\n"
         "#server.2=zookeeper2:2888:3888\n"
         "\n"
         "# To avoid seeks ZooKeeper allocates space in the transaction log file in\n"
         "# blocks of preAllocSize kilobytes.\n"
         "#preAllocSize=65536\n"
         "#snapCount=1000\n"
         "#traceFile=/var/log/zookeeper/trace\n"
         "#leaderServes=yes\n"
         "autopurge.purgeInterval=24\n"
         "autopurge.snapRetainCount=5\n"
         "maxClientCnxns=0\n"
         "4lw.commands.whitelist=stat, ruok, conf, isro, mntr\n"
         "admin.enableServer=false\n"
         "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n"
         "metricsProvider.httpPort=7000\n"
         "metricsProvider.exportJvmInfo=true\n");
    config_validate(&cfg, false, &msgs);
    ck_assert_uint_eq(msgs.errors, 0);
    ck_assert_uint_eq(msgs.count, 3); /* ensembles, Prometheus, the JVM */
    ck_assert_int_eq(cfg.port, 2181);
    ck_assert_str_eq(cfg.data_dir, "/var/lib/zookeeper");
    ck_assert_str_eq(cfg.data_log_dir, "/var/lib/zookeeper");
    ck_assert_int_eq(cfg.min_session_timeout_ms, 4000);
    ck_assert_int_eq(cfg.autopurge_purge_interval_hours, 24);
    ck_assert_int_eq(cfg.autopurge_snap_retain_count, 5);
    ck_assert_int_eq(cfg.max_client_cnxns, 0);
    ck_assert(config_word_allowed(&cfg, "mntr"));
    ck_assert(!config_word_allowed(&cfg, "cons"));
}
END_TEST

/* The file that is shipped, from the source tree. */
static char *shipped_file(void) {
    const char *dir = getenv("srcdir");
    char path[1024];
    snprintf(path, sizeof path, "%s/redis-like.conf", dir != NULL ? dir : ".");
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s is not there", path);
    char *text = mem_calloc(1, 1 << 20);
    ck_assert_uint_gt(fread(text, 1, (1 << 20) - 1, f), 0);
    fclose(f);
    return text;
}

START_TEST(shipped_file_is_fine) {
    char *text = shipped_file();
    fresh();
    add_file("redis-like.conf", text);
    load_path("redis-like.conf");
    config_validate(&cfg, true, &msgs);
    ASSERT_SILENT();
    ck_assert_int_eq(cfg.port, 2181);
    ck_assert_str_eq(cfg.data_dir, "./data");
    ck_assert_int_eq(cfg.autopurge_purge_interval_hours, 1);
    ck_assert_int_eq(cfg.autopurge_snap_retain_count, 3);
    ck_assert_str_eq(value_of("bind"), "127.0.0.1,-::1");
    mem_free(text);
}
END_TEST

/* The row whose main name is the first word of the line, or NULL. */
static const struct config_row *row_of_line(const char *line) {
    char name[128];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(line, " \n"), line);
    const struct config_row *row = config_row_find(name);
    return row != NULL && strcmp(row->name, name) == 0 ? row : NULL;
}

/* Every implemented option is there once: at its default and commented out, or set to something else. */
START_TEST(shipped_file_lists_every_option_with_its_default) {
    char *text = shipped_file();
    unsigned *seen = mem_calloc(config_row_count, sizeof *seen);
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        bool commented = strncmp(line, "# ", 2) == 0;
        const char *setting = commented ? line + 2 : line;
        const struct config_row *row = row_of_line(setting);
        ck_assert_msg(strlen(line) <= 80 || row != NULL || setting[0] == ' ', "too long: %s", line);
        if (row == NULL) {
            ck_assert_msg(line[0] == '#', "not an option: %s", line);
            continue;
        }
        load(setting);
        ASSERT_SILENT();
        bool is_default = strcmp(value_of(row->name), row->default_text) == 0;
        ck_assert_msg(is_default == commented, "%s: the default is '%s'", line, row->default_text);
        ck_assert_msg(row->class == CONFIG_ACTIVE, "%s does nothing", row->name);
        seen[row - config_rows]++;
    }
    for (size_t i = 0; i < config_row_count; i++)
        if (config_rows[i].class == CONFIG_ACTIVE && !(config_rows[i].flags & CONFIG_F_FAMILY))
            ck_assert_msg(seen[i] == 1, "%s is in redis-like.conf %u times", config_rows[i].name, seen[i]);
    mem_free(seen);
    mem_free(text);
}
END_TEST

static Suite *config_suite(void) {
    Suite *s = suite_create("config");
    const struct {
        const char *name;
        const TTest *tests[32]; /* up to the first NULL */
    } cases[] = {
        {"table",
         {names_are_unique, rows_are_complete, defaults_are_the_values_of_a_new_config, every_row_is_set_and_read_back,
          bounds_of_every_int, sizes_of_ints_are_right, defaults_of_zookeeper}},
        {"values",
         {booleans_of_zoo_cfg_are_strict, other_booleans, skip_acl_and_force_sync, numbers, sizes, ratios, choices,
          lists, secrets_are_not_shown}},
        {"grammar",
         {separators, addresses_behind_a_blank, comments_and_empty_lines, line_ends, continuations, escapes,
          escapes_in_names, bad_escapes, nul_bytes, quotes, byte_order_mark_is_skipped, later_duplicates_win,
          prefixed_names_are_the_same_option, names_are_case_sensitive, unknown_names, unknown_names_when_strict,
          all_problems_are_collected, messages_are_bounded_and_one_line_each}},
        {"includes",
         {includes, include_beside_a_plain_name, the_same_file_may_be_included_twice, include_problems, include_depth,
          missing_main_file}},
        {"arguments",
         {arguments, argument_switches, argument_problems, old_style_arguments, order_of_precedence,
          an_overruled_value_is_checked_all_the_same, jvm_flags}},
        {"checks",
         {what_is_required, checks_of_times, session_timeouts_follow_the_tick, bounds_of_requests, checks_of_storage,
          relative_paths, providers, checks_of_authentication, secure_address_without_port}},
        {"members",
         {several_voters, limits_of_an_ensemble, options_of_ensembles, one_voter_is_standalone,
          client_part_of_the_only_server, bad_server_lines, dynamic_file, members_text, dynamic_file_problems}},
        {"notices",
         {options_of_later_versions_are_told, nothing_is_told_where_nothing_is_missing,
          values_of_later_versions_are_checked_and_kept, options_of_the_jvm_are_told_in_one_line}},
        {"files", {a_typical_zoo_cfg, shipped_file_is_fine, shipped_file_lists_every_option_with_its_default}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        TCase *tc = tcase_create(cases[i].name);
        tcase_add_checked_fixture(tc, setup, teardown);
        tcase_set_timeout(tc, 60);
        for (size_t k = 0; cases[i].tests[k] != NULL; k++)
            tcase_add_test(tc, cases[i].tests[k]);
        suite_add_tcase(s, tc);
    }
    return s;
}

int main(void) {
    SRunner *runner = srunner_create(config_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
