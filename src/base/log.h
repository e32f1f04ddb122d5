/* The log of the program: one line per event with time, level and text, to standard error or a file.
 *
 * The one piece of global state (there is one log per process, whatever the number of servers in it). Thread safe. The
 * last lines are kept in memory and printed by a failed zassert. */
#ifndef ZABRA_BASE_LOG_H
#define ZABRA_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/common.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR, LOG_LEVEL_OFF };

extern enum log_level log_threshold; /* read by the macros below; set with log_set_level */

/* Lines below this level are dropped. */
void log_set_level(enum log_level level);
/* Parses debug, info (also notice, verbose), warn(ing), error, off. Returns false for anything else. */
bool log_level_parse(const char *text, enum log_level *level);
/* Appends to this file from now on; NULL or "" = standard error. Returns 0, or -1 with errno set (and goes on as before). */
int log_open(const char *path);
/* Opens the file of the last log_open again (after a rotation). Returns as log_open. */
int log_reopen(void);
/* From now on errors go to standard error as well, if the log is a file: somebody waits there for the start. */
void log_copy_errors(bool on);
/* Writes one line whatever the threshold. Keeps errno. */
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Writes one line and aborts the process. For broken invariants and exhausted memory only. */
void log_fatal(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));

#define LOG_AT(level, ...)                                                                                             \
    do {                                                                                                               \
        if ((level) >= log_threshold)                                                                                  \
            log_write((level), __VA_ARGS__);                                                                           \
    } while (0)
#define log_debug(...) LOG_AT(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) LOG_AT(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warn(...) LOG_AT(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_error(...) LOG_AT(LOG_LEVEL_ERROR, __VA_ARGS__)

/* Lets one message through per period and counts the others. Zero-initialise. */
struct log_limit {
    int64_t next_us;
    uint64_t suppressed;
};
/* True if a line may be written now; *suppressed is then the number held back since the last one. Time is any
 * monotonic microsecond count that the caller has at hand. */
bool log_limit_pass(struct log_limit *limit, int64_t now_us, int64_t period_us, uint64_t *suppressed);

/* Aborts with the expression, the place and the last log lines if a cheap invariant is broken, in release builds too.
 * Never used on bytes that came from outside. */
#define zassert(expr)                                                                                                  \
    do {                                                                                                               \
        if (UNLIKELY(!(expr)))                                                                                         \
            log_assert_failed(#expr, __FILE__, __LINE__);                                                              \
    } while (0)
void log_assert_failed(const char *expr, const char *file, int line) __attribute__((noreturn, cold));

#endif
