#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
#define HISTORY_LINES 32

enum log_level log_threshold = LOG_LEVEL_INFO;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *out; /* NULL = standard error */
static char *out_path;
static bool copy_errors;
static char history[HISTORY_LINES][256];
static unsigned history_next;

void log_set_level(enum log_level level) { log_threshold = level; }

bool log_level_parse(const char *text, enum log_level *level) {
    static const struct {
        const char *name;
        enum log_level level;
    } names[] = {{"debug", LOG_LEVEL_DEBUG}, {"trace", LOG_LEVEL_DEBUG},  {"verbose", LOG_LEVEL_INFO},
                 {"info", LOG_LEVEL_INFO},   {"notice", LOG_LEVEL_INFO},  {"warn", LOG_LEVEL_WARN},
                 {"warning", LOG_LEVEL_WARN}, {"error", LOG_LEVEL_ERROR}, {"off", LOG_LEVEL_OFF}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcasecmp(text, names[i].name) == 0) {
            *level = names[i].level;
            return true;
        }
    }
    return false;
}

int log_open(const char *path) {
    FILE *file = NULL;
    if (path != NULL && *path != '\0') {
        file = fopen(path, "ae");
        if (file == NULL)
            return -1;
        setvbuf(file, NULL, _IOLBF, 0);
    }
    pthread_mutex_lock(&lock);
    if (out != NULL)
        fclose(out);
    out = file;
    char *copy = file != NULL ? strdup(path) : NULL;
    free(out_path);
    out_path = copy;
    pthread_mutex_unlock(&lock);
    return 0;
}

int log_reopen(void) {
    pthread_mutex_lock(&lock);
    char *path = out_path != NULL ? strdup(out_path) : NULL;
    pthread_mutex_unlock(&lock);
    int result = path != NULL ? log_open(path) : 0;
    free(path);
    return result;
}

void log_copy_errors(bool on) {
    pthread_mutex_lock(&lock);
    copy_errors = on;
    pthread_mutex_unlock(&lock);
}

static int format_time(char *buf, size_t size) {
    struct timeval tv;
    struct tm tm;
    gettimeofday(&tv, NULL);
    localtime_r(&tv.tv_sec, &tm);
    size_t n = strftime(buf, size, "%Y-%m-%d %H:%M:%S", &tm);
    return (int)n + snprintf(buf + n, size - n, ".%03d", (int)(tv.tv_usec / 1000));
}

static void PRINTF_LIKE(2, 0) write_line(enum log_level level, const char *fmt, va_list args) {
    static const char *const names[] = {"DEBUG", "INFO ", "WARN ", "ERROR", "FATAL"};
    int saved_errno = errno;
    char line[LINE_MAX_BYTES];
    int n = format_time(line, sizeof line);
    n += snprintf(line + n, sizeof line - (size_t)n, " %s ", names[level]);
    int text = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, args);
    size_t len = text < 0 ? (size_t)n : (size_t)n + (size_t)text;
    len = size_min(len, sizeof line - 2);
    /* Paths and ids come from clients: keep a line a line. */
    for (size_t i = (size_t)n; i < len; i++)
        if ((unsigned char)line[i] < 0x20)
            line[i] = '?';
    line[len] = '\n';

    pthread_mutex_lock(&lock);
    snprintf(history[history_next++ % HISTORY_LINES], sizeof history[0], "%.*s", (int)size_min(len, 255), line);
    FILE *file = out != NULL ? out : stderr;
    fwrite(line, 1, len + 1, file);
    if (copy_errors && file != stderr && level >= LOG_LEVEL_ERROR)
        fwrite(line, 1, len + 1, stderr);
    pthread_mutex_unlock(&lock);
    errno = saved_errno;
}

void log_write(enum log_level level, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    write_line(level, fmt, args);
    va_end(args);
}

void log_fatal(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    write_line(LOG_LEVEL_OFF, fmt, args);
    va_end(args);
    abort();
}

void log_assert_failed(const char *expr, const char *file, int line) {
    log_write(LOG_LEVEL_OFF, "broken invariant: %s at %s:%d; the last log lines were:", expr, file, line);
    for (unsigned i = 0; i < HISTORY_LINES; i++) {
        const char *old = history[(history_next + i) % HISTORY_LINES];
        if (*old != '\0')
            fprintf(stderr, "  | %s\n", old);
    }
    abort();
}

bool log_limit_pass(struct log_limit *limit, int64_t now_us, int64_t period_us, uint64_t *suppressed) {
    if (now_us < limit->next_us) {
        limit->suppressed++;
        return false;
    }
    *suppressed = limit->suppressed;
    limit->suppressed = 0;
    limit->next_us = now_us + period_us;
    return true;
}
