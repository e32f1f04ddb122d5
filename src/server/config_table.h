/* The option table and what the config_*.c files share. Nothing outside of them includes this. */
#ifndef ZABRA_SERVER_CONFIG_TABLE_H
#define ZABRA_SERVER_CONFIG_TABLE_H

#include "server/config.h"

enum config_type {
    CONFIG_BOOL,   /* bool */
    CONFIG_INT,    /* int or int64_t, by size */
    CONFIG_DOUBLE, /* double */
    CONFIG_STRING, /* char *, NULL for an empty value */
    CONFIG_PATH,   /* as CONFIG_STRING */
    CONFIG_ENUM,   /* an enum, by choices */
    CONFIG_LIST,   /* struct config_list: items between commas and blanks */
};

enum {
    CONFIG_F_CFG = 1 << 0,      /* ZooKeeper parses it in zoo.cfg itself: true or false, decimal numbers, loud errors */
    CONFIG_F_PROPERTY = 1 << 1, /* ZooKeeper reads it as a property: numbers may be 0x... and 0... */
    CONFIG_F_RAW = 1 << 2,      /* ... and only from the JVM: so -D beats the file */
    CONFIG_F_SIZE = 1 << 3,     /* bytes: suffixes k, kb, m, mb, g, gb as in Redis */
    CONFIG_F_ONLY_YES = 1 << 4, /* ZooKeeper takes yes as on and everything else as off */
    CONFIG_F_ONLY_NO = 1 << 5,  /* ZooKeeper takes no as off and everything else as on */
    CONFIG_F_SECRET = 1 << 6,   /* the value is never shown */
    CONFIG_F_FAMILY = 1 << 7,   /* name ends in ".*" and stands for all names with this prefix, kept as text */
    CONFIG_F_MEMBERS = 1 << 8,  /* belongs into the dynamic file, if there is one */
    CONFIG_F_TOLD_PATH = 1 << 9, /* ZooKeeper warns if the path is relative without ./ */
    CONFIG_F_ANY_DOUBLE = 1 << 10, /* a double of any size and sign */
};

/* What an option that is not implemented yet belongs to: one message for each. Options of ensembles stay there when they
 * are, because a standalone server has no use for them. */
enum config_feature {
    CONFIG_FEATURE_NONE,
    CONFIG_FEATURE_ENSEMBLE,
    CONFIG_FEATURE_TLS,
    CONFIG_FEATURE_SASL,
    CONFIG_FEATURE_HTTP,
    CONFIG_FEATURE_AUDIT,
    CONFIG_FEATURE_METRICS,
    CONFIG_FEATURE_PATH_STATS,
    CONFIG_FEATURE_COUNT,
};

struct config_choice {
    const char *text;
    int value;
};

#define CONFIG_NO_FIELD SIZE_MAX

struct config_row {
    const char *name;
    const char *const *aliases; /* NULL-terminated, or NULL */
    enum config_type type;
    enum config_class class;
    enum config_feature feature;
    unsigned flags;
    size_t offset;                       /* of the field in struct config; CONFIG_NO_FIELD: checked and kept as text */
    size_t size;                         /* of an int */
    int64_t min, max;                    /* of an int; a double is 0 to 1 */
    const struct config_choice *choices; /* of an enum, up to text NULL; the first text of a value is the one shown */
    const char *error; /* ZooKeeper's words for a bad value, or NULL; the value is added behind a closing ": " */
    const char *unit;
    const char *default_text;
    const char *neutral; /* not implemented yet, and set to this: nothing is missing. NULL = the default */
    const char *doc;
};

extern const struct config_row config_rows[];
extern const size_t config_row_count;

/* The row of a name, alias or family member, without a "zookeeper." prefix; NULL if there is none. */
const struct config_row *config_row_find(const char *name);
/* The known name that is most like this one, or NULL if none is near. */
const char *config_name_nearest(const char *name);
/* name without a leading "zookeeper.". */
const char *config_name_strip(const char *name);

/* -------- config.c -------- */

/* Where values come from, weakest first: a weaker source never overwrites a stronger one. */
enum config_rank { CONFIG_RANK_DEFAULT, CONFIG_RANK_JVM, CONFIG_RANK_FILE, CONFIG_RANK_JVM_ONLY, CONFIG_RANK_COMMAND };

struct config_setting {
    enum config_rank rank;
    char *origin;
    char *name; /* as it was written, without prefix */
};

struct config_setting *config_setting_of(const struct config *c, const struct config_row *row);
/* Parses value and stores it in the field or as text. False, with the reason in why, if it is not allowed. */
bool config_row_set(struct config *c, const struct config_row *row, const char *name, const char *value,
                    struct buf *why);
/* Appends the present value; secrets, too. */
void config_row_value(const struct config *c, const struct config_row *row, struct buf *out);
/* Keeps name = value as text; the later replaces. */
void config_entry_put(struct config *c, const char *name, const char *value, const char *origin, enum config_rank rank);

/* One option from anywhere: finds the row, checks, stores, remembers the origin, reports. Returns false if the value
 * was refused or the name is unknown (which is a warning, or an error for CONFIG_RANK_COMMAND). */
bool config_apply(struct config *c, const char *name, const char *value, const char *origin, enum config_rank rank,
                  struct config_log *log);

/* What a warning about an unknown name says behind the name. */
#define CONFIG_IGNORED " is ignored"

extern const char config_command_origin[]; /* "command line" */

void config_log_add(struct config_log *log, enum config_severity severity, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
