#include "benchmark/procstat.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/common.h"
#include "benchmark/clock.h"

/* Reads a whole small file into text, NUL-terminated. */
static bool read_file(const char *path, char *text, size_t size) {
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t n = fread(text, 1, size - 1, file);
    text[n] = '\0';
    fclose(file);
    return n != 0;
}

/* utime and stime: complete (threads that ended are in it), but in clock ticks. */
static int64_t cpu_from_stat(long pid) {
    char path[64], text[1024];
    unsigned long user, system;
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    if (!read_file(path, text, sizeof text))
        return -1;
    /* The command's name may contain anything, so count fields from its closing parenthesis on. */
    const char *p = strrchr(text, ')');
    if (p == NULL || sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return -1;
    return (int64_t)(user + system) * (NS_PER_S / sysconf(_SC_CLK_TCK));
}

/* The scheduler's own count in nanoseconds, of the threads that live. */
static int64_t cpu_from_tasks(long pid) {
    char path[320], text[128];
    int64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%ld/task", pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return -1;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        int64_t run_ns;
        snprintf(path, sizeof path, "/proc/%ld/task/%s/schedstat", pid, entry->d_name);
        if (entry->d_name[0] != '.' && read_file(path, text, sizeof text) && sscanf(text, "%" SCNd64, &run_ns) == 1)
            sum += run_ns;
    }
    closedir(dir);
    return sum;
}

static int64_t resident(long pid) {
    char path[64], text[4096];
    int64_t kilobytes;
    snprintf(path, sizeof path, "/proc/%ld/status", pid);
    if (!read_file(path, text, sizeof text))
        return -1;
    const char *line = strstr(text, "\nVmRSS:");
    if (line == NULL || sscanf(line, "\nVmRSS: %" SCNd64, &kilobytes) != 1)
        return -1;
    return kilobytes * 1024;
}

bool procstat_read(const char *pids, struct procstat *sum) {
    *sum = (struct procstat){0};
    while (*pids != '\0') {
        char *end;
        long pid = strtol(pids, &end, 10);
        if (end == pids || (*end != '\0' && *end != ','))
            return false;
        int64_t ticks = cpu_from_stat(pid), tasks = cpu_from_tasks(pid), memory = resident(pid);
        if (ticks < 0 || tasks < 0 || memory < 0)
            return false;
        sum->tick_ns += ticks;
        sum->task_ns += tasks;
        sum->resident_bytes += memory;
        pids = *end == ',' ? end + 1 : end;
    }
    return true;
}

int64_t procstat_cpu_ns(const struct procstat *before, const struct procstat *after) {
    int64_t ticks = after->tick_ns - before->tick_ns, tasks = after->task_ns - before->task_ns;
    /* Two readings of two numbers (user and system time) that were each rounded down. */
    int64_t rounding = 2 * NS_PER_S / sysconf(_SC_CLK_TCK);
    /* A larger difference means that a thread ended between the readings and took its count with it. */
    return ticks - tasks > rounding ? ticks : tasks;
}
