/* conf, dirs, envi: how the server was set up and what it stands on. */
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "admin/answers.h"
#include "base/version.h"
#include "quorum/quorum.h"

#define UNKNOWN "?"

/* ------------------------------------------------------------------ conf, dirs */

/* As Java's File.getAbsolutePath(): the working directory in front of a relative path, nothing resolved. */
static void put_directory(const char *name, const char *dir, struct buf *out) {
    char cwd[PATH_MAX];
    size_t len = strlen(dir);
    while (len > 1 && dir[len - 1] == '/')
        len--;
    buf_printf(out, "%s=", name);
    if (dir[0] != '/' && getcwd(cwd, sizeof cwd) != NULL)
        buf_printf(out, "%s/", cwd);
    buf_printf(out, "%.*s%sversion-2\n", (int)len, dir, len == 1 && dir[0] == '/' ? "" : "/");
}

/* As with ZooKeeper the last line has no end. */
static void put_member(const struct server *s, struct buf *out) {
    const struct config *c = s->config;
    const struct qserver *self = quorum_self(s->quorum);
    struct slice members = quorum_members_text(s->quorum);
    buf_printf(out, "serverId=%lld\ninitLimit=%d\nsyncLimit=%d\nelectionAlg=%d\n", (long long)self->sid, c->init_limit_ticks,
               c->sync_limit_ticks, c->election_alg);
    buf_printf(out, "electionPort=%d\nquorumPort=%d\npeerType=%d\nmembership: \n", self->addresses[0].election_port,
               self->addresses[0].quorum_port, self->observer);
    buf_append(out, members.data, members.len);
}

/* In an ensemble the members' options follow. */
void conf_conf(struct server *s, struct buf *out) {
    const struct config *c = s->config;
    buf_printf(out, "clientPort=%d\nsecureClientPort=-1\n", c->port > 0 ? c->port : -1);
    put_directory("dataDir", c->data_dir, out);
    buf_printf(out, "dataDirSize=%lld\n", (long long)s->data_dir_bytes);
    put_directory("dataLogDir", c->data_log_dir, out);
    buf_printf(out, "dataLogSize=%lld\n", (long long)s->log_dir_bytes);
    buf_printf(out, "tickTime=%d\nmaxClientCnxns=%d\nminSessionTimeout=%d\nmaxSessionTimeout=%d\n", c->tick_time_ms,
               c->max_client_cnxns, c->min_session_timeout_ms, c->max_session_timeout_ms);
    buf_printf(out, "clientPortListenBacklog=%d\n", c->listen_backlog);
    if (s->quorum != NULL)
        put_member(s, out);
    else
        buf_printf(out, "serverId=0\n");
}

void conf_dirs(struct server *s, struct buf *out) {
    buf_printf(out, "datadir_size: %lld\nlogdir_size: %lld\n", (long long)s->data_dir_bytes, (long long)s->log_dir_bytes);
}

/* ------------------------------------------------------------------ envi */

/* Reads the local file only: a name service could keep the loop waiting. */
static void put_user(struct buf *out) {
    char line[1024];
    struct passwd entry, *found = NULL;
    const char *name = getenv("USER"), *home = getenv("HOME");
    FILE *f = fopen("/etc/passwd", "re");
    while (f != NULL && fgetpwent_r(f, &entry, line, sizeof line, &found) == 0 && entry.pw_uid != getuid())
        found = NULL;
    if (found != NULL) {
        name = found->pw_name;
        home = found->pw_dir;
    }
    buf_printf(out, "user.name=%s\nuser.home=%s\n", name != NULL ? name : UNKNOWN, home != NULL ? home : UNKNOWN);
    if (f != NULL)
        fclose(f);
}

static unsigned long long megabytes(uint64_t count, uint64_t unit) { return count * unit >> 20; }

static void put_memory(const struct server *s, struct buf *out) {
    struct sysinfo info;
    if (sysinfo(&info) != 0)
        return;
    uint64_t max = megabytes(info.totalram, info.mem_unit);
    if (s->config->maxmemory_bytes > 0)
        max = size_min(max, (uint64_t)s->config->maxmemory_bytes >> 20);
    buf_printf(out, "os.memory.free=%lluMB\nos.memory.max=%lluMB\nos.memory.total=%lluMB\n",
               megabytes(info.freeram + info.bufferram, info.mem_unit), (unsigned long long)max,
               megabytes(info.totalram, info.mem_unit));
}

/* All of Java's lines, because readers count on their order; what only a JVM has is <NA>, as Java prints an absent value. */
void conf_envi(struct server *s, struct buf *out) {
    char cwd[PATH_MAX], host[HOST_NAME_MAX + 1] = UNKNOWN;
    struct utsname os = {.sysname = UNKNOWN, .machine = UNKNOWN, .release = UNKNOWN};
    uname(&os);
    gethostname(host, sizeof host);
    host[sizeof host - 1] = '\0';
    const char *tmp = getenv("TMPDIR");
    buf_printf(out, "Environment:\nzookeeper.version=%s\nhost.name=%s\n", ZABRA_FULL_VERSION, host);
    buf_printf(out, "java.version=<NA>\njava.vendor=<NA>\njava.home=<NA>\njava.class.path=<NA>\n"
                    "java.library.path=<NA>\n");
    buf_printf(out, "java.io.tmpdir=%s\njava.compiler=<NA>\n", tmp != NULL ? tmp : "/tmp");
    buf_printf(out, "os.name=%s\nos.arch=%s\nos.version=%s\n", os.sysname,
               strcmp(os.machine, "x86_64") == 0 ? "amd64" : os.machine, os.release);
    put_user(out);
    buf_printf(out, "user.dir=%s\n", getcwd(cwd, sizeof cwd) != NULL ? cwd : UNKNOWN);
    put_memory(s, out);
}
