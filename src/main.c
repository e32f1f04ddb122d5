/* zabra-server: options, signals, daemon, and the order in which the parts are put together and taken apart. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "admin/words.h"
#include "base/mem.h"
#include "base/version.h"
#include "bio/config_files.h"
#include "bio/posix_disk.h"
#include "server/ensemble.h"
#include "server/history.h"
#include "store/rewind.h"
#include "net/listener.h"
#include "net/member.h"
#include "net/net.h"
#include "quorum/quorum.h"

/* Room for so many descriptors is made at the start. */
#define DESCRIPTOR_TABLE 32768

/* As ZooKeeper: what a supervisor may react to. */
enum exit_code { EXIT_OK = 0, EXIT_UNEXPECTED = 1, EXIT_BAD_CONFIG = 2, EXIT_DATA_DIR = 3 };

static const char usage[] =
    "zabra-server " PACKAGE_VERSION ": an Apache ZooKeeper server\n"
    "\n"
    "  zabra-server [CONFIG] [--name value ...]\n"
    "\n"
    "  CONFIG            a zoo.cfg, or a file like redis-like.conf\n"
    "  --name value      any option of the configuration, such as --port 2181 --dir /var/lib/zabra\n"
    "  --check-config    read the configuration, say what is wrong with it, print the result, and exit\n"
    "  --version, --help\n";

/* ------------------------------------------------------------------ configuration */

static int read_config_file(void *ctx, const char *path, struct buf *out) {
    (void)ctx;
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return -errno;
    size_t n;
    do {
        n = fread(buf_tail(out, 4096), 1, 4096, f);
        out->len += n;
    } while (n > 0 && out->len < (64u << 20));
    int err = ferror(f) ? -EIO : 0;
    fclose(f);
    return err;
}

static void report(const struct config_log *log, bool to_stderr) {
    static const char *const names[] = {"notice", "warning", "error"};
    for (size_t i = 0; i < log->count; i++) {
        const struct config_message *m = &log->items[i];
        if (to_stderr)
            fprintf(stderr, "%s: %s\n", names[m->severity], m->text);
        else if (m->severity == CONFIG_ERROR)
            log_error("%s", m->text);
        else if (m->severity == CONFIG_WARNING)
            log_warn("%s", m->text);
        else
            log_info("%s", m->text);
    }
}

static void print_config(const struct config *c) {
    struct buf value = BUF_INIT;
    for (size_t i = 0; i < config_option_count(); i++) {
        struct config_description d;
        buf_clear(&value);
        config_describe(c, i, &d, &value);
        if (d.class == CONFIG_ACTIVE)
            printf("%s = %.*s%s%s\n", d.name, (int)value.len, (const char *)value.data, d.origin ? "    # " : "",
                   d.origin ? d.origin : "");
    }
    buf_free(&value);
}

/* ------------------------------------------------------------------ process */

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Each time the kernel doubles the descriptor table of a process with threads, it makes the accept that needs it wait for all
 * CPUs, 10 to 20 ms. Done here, before there are threads, it costs nothing but the table, 8 bytes per descriptor. */
static void grow_descriptor_table(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == -1)
        return;
    int last = limit.rlim_cur < DESCRIPTOR_TABLE ? (int)limit.rlim_cur - 1 : DESCRIPTOR_TABLE - 1;
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, last);
    if (fd != -1)
        close(fd);
}

/* What is opened later must never stand where standard output and error are looked for: a caller may have closed them. */
static void hold_standard_descriptors(void) {
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

/* The parent's part: waits until the child is ready (a byte comes) or has ended (the pipe is closed). */
static int wait_for_child(pid_t pid, int ready) {
    char byte;
    ssize_t n;
    do
        n = read(ready, &byte, 1);
    while (n == -1 && errno == EINTR);
    if (n == 1)
        return EXIT_OK;
    int status = 0;
    pid_t ended;
    do
        ended = waitpid(pid, &status, 0);
    while (ended == -1 && errno == EINTR);
    if (ended == pid && WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return WEXITSTATUS(status);
    if (ended == pid && WIFSIGNALED(status))
        fprintf(stderr, "error: signal %d ended the server before it was ready\n", WTERMSIG(status));
    else
        fprintf(stderr, "error: the server ended before it was ready\n");
    return EXIT_UNEXPECTED;
}

/* Returns in the child only, with the descriptor for tell_parent; -1 (in the parent) if there is none. The parent ends when
 * the child is ready or has failed, with the child's exit code. Until then both write to the same standard error. */
static int daemonize(void) {
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) == -1)
        return -1;
    pid_t pid = fork();
    if (pid == -1)
        return -1;
    if (pid != 0) {
        close(ready[1]);
        _exit(wait_for_child(pid, ready[0]));
    }
    close(ready[0]);
    setsid();
    log_copy_errors(true);
    return ready[1];
}

/* The daemon is ready: it leaves the terminal, and its parent ends with success. */
static void tell_parent(int ready) {
    log_copy_errors(false);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null == -1)
        log_warn("/dev/null cannot be opened, the terminal is kept: %s", strerror(errno));
    for (int fd = 0; null != -1 && fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    if (null != -1)
        close(null);
    if (write(ready, "", 1) != 1)
        log_warn("whoever started this server did not wait until it was ready");
    close(ready);
}

static bool write_pidfile(const char *path) {
    if (path == NULL)
        return true;
    FILE *f = fopen(path, "we");
    if (f == NULL || fprintf(f, "%d\n", (int)getpid()) < 0 || fclose(f) != 0) {
        log_error("the pid file %s cannot be written: %s", path, strerror(errno));
        return false;
    }
    return true;
}

static void tell_supervisor(const char *state) {
#ifdef HAVE_SYSTEMD
    sd_notify(0, state);
#else
    (void)state;
#endif
}

static void on_stop_signal(evutil_socket_t sig, short what, void *ctx) {
    struct net *net = ctx;
    (void)what;
    log_info("signal %d: stopping", (int)sig);
    tell_supervisor("STOPPING=1");
    net_stop(net);
}

static void on_hup(evutil_socket_t sig, short what, void *ctx) {
    (void)sig;
    (void)what;
    (void)ctx;
    if (log_reopen() == -1)
        log_error("the log file cannot be opened again: %s", strerror(errno));
    else
        log_info("signal: log file opened again");
}

/* ------------------------------------------------------------------ running */

struct parts {
    struct posix_disk *files;
    struct logwriter *writer;
    struct bio *bio;
    struct server *server;
    struct net *net;
    struct qconfig *members; /* NULL: standalone */
    struct member *member;
    struct config_files *config_files; /* NULL: they stay as they are */
    struct buf proposal; /* of a configuration, when the last server ended, this one or another */
    int ready; /* where the parent of a daemon waits; -1 = nobody does */
};

static void submit_log(void *ctx, struct log_cmd *cmd) {
    struct parts *p = ctx;
    bio_submit_log(p->bio, cmd);
}

static void submit_job(void *ctx, struct job *job) {
    struct parts *p = ctx;
    bio_submit_job(p->bio, job);
}

static void config_active(void *ctx, const struct qconfig *members) {
    struct parts *p = ctx;
    struct buf text = BUF_INIT;
    const struct qserver *self = qconfig_find(members, p->server->config->server_id);
    if (p->config_files == NULL)
        return;
    qconfig_text(members, &text);
    /* The version, which comes last, is told by the file's name. */
    while (text.len > 0 && text.data[text.len - 1] != '\n')
        text.len--;
    config_files_update(p->config_files, (struct slice){(const char *)text.data, text.len}, members->version,
                        self != NULL && self->client_port != 0);
    buf_free(&text);
}

static void config_proposed(void *ctx, const struct qconfig *c) {
    struct parts *p = ctx;
    struct buf text = BUF_INIT;
    if (p->config_files == NULL)
        return;
    if (c != NULL)
        qconfig_text(c, &text);
    config_files_propose(p->config_files, (struct slice){(const char *)text.data, text.len});
    buf_free(&text);
}

static void keep_config_files(struct parts *p, const struct config *c) {
    if (!c->reconfig_enabled)
        return;
    if (!config_can_be_rewritten(c)) {
        log_info("the members are not all told by one configuration file: no file is rewritten by a reconfiguration");
        return;
    }
    p->config_files = config_files_new(c->main_file, c->dynamic_config_file, submit_job, p);
    config_files_read_proposal(p->config_files, &p->proposal);
}

static uint64_t random_seed(void) {
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
        seed = (uint64_t)net_now().mono.us ^ (uint64_t)getpid() << 32;
    return seed;
}

static struct server *make_server(struct config *c, const struct env *env) {
    struct server *s = server_new(c, env, random_seed(), net_now());
    if (c->ensemble)
        s->history = history_new((size_t)c->log_window_bytes, (size_t)c->commit_log_count);
    return s;
}

/* A damaged member does not need its files: the others have all that was ever acknowledged. */
static int start_over(struct server **s, struct config *c, const struct env *env, struct recovery_result *result) {
    log_error("%s", result->message);
    log_warn("this member's history is damaged: it is set aside, and the leader is asked for another one");
    int err = store_abandon(env->disk);
    if (err != 0)
        return err;
    server_free(*s);
    *s = make_server(c, env);
    server_recover(*s, result, net_now());
    return 0;
}

static int recover(struct server **server, struct config *c, const struct env *env) {
    struct recovery_result result;
    server_recover(*server, &result, net_now());
    if (result.status == RECOVERY_REFUSED && c->ensemble && start_over(server, c, env, &result) != 0)
        result.status = RECOVERY_IO;
    struct server *s = *server;
    if (result.status != RECOVERY_OK) {
        log_error("%s", result.message);
        return EXIT_UNEXPECTED;
    }
    log_info("loaded %llu znodes: snapshot 0x%llx in %lld ms, %llu transactions up to zxid 0x%llx in %lld ms",
             (unsigned long long)tree_count(s->tree), (unsigned long long)i64_max(0, result.snapshot_zxid),
             (long long)(result.snapshot_us / 1000), (unsigned long long)result.txns_replayed,
             (unsigned long long)result.last_zxid, (long long)(result.replay_us / 1000));
    return EXIT_OK;
}

/* Becomes a member of the ensemble. */
static bool join(struct parts *p) {
    char error[256];
    p->member = member_new(p->net, qconfig_ref(p->members), p->server->config->server_id, error, sizeof error);
    if (p->member == NULL) {
        log_error("%s", error);
        return false;
    }
    if (p->proposal.len != 0)
        quorum_see_config(p->server->quorum, (struct slice){(const char *)p->proposal.data, p->proposal.len});
    buf_free(&p->proposal);
    return true;
}

/* What comes while nobody looks for it waits (SIG_BLOCK), rather than end the process amid its start or its end. A long load
 * can be stopped: the signals for that are held only where an end needs care. */
static void hold_signals(int how, bool stops) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    if (stops) {
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
    }
    pthread_sigmask(how, &set, NULL);
}

static int serve(struct parts *p, struct config *c) {
    struct event *signals[3];
    p->net = net_new(p->server, p->bio, c, admin_word);
    if (p->net == NULL) {
        log_error("libevent cannot be set up");
        return EXIT_UNEXPECTED;
    }
    int err = p->members != NULL ? server_start_member(p->server, net_now()) : server_start(p->server, net_now());
    if (err != 0) {
        log_error("the server cannot start: %s", strerror(-err));
        return EXIT_UNEXPECTED;
    }
    if (p->members != NULL && !join(p))
        return EXIT_UNEXPECTED;
    hold_signals(SIG_BLOCK, true);
    if (!listeners_open(p->net) || !write_pidfile(c->pidfile))
        return EXIT_UNEXPECTED;
    signals[0] = evsignal_new(p->net->base, SIGTERM, on_stop_signal, p->net);
    signals[1] = evsignal_new(p->net->base, SIGINT, on_stop_signal, p->net);
    signals[2] = evsignal_new(p->net->base, SIGHUP, on_hup, NULL);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        event_add(signals[i], NULL);
    hold_signals(SIG_UNBLOCK, true);
    log_info("zabra-server %s is ready, pid %d", PACKAGE_VERSION, (int)getpid());
    tell_supervisor("READY=1");
    if (p->ready != -1)
        tell_parent(p->ready);
    int result = net_run(p->net);
    hold_signals(SIG_BLOCK, true);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        event_free(signals[i]);
    if (c->pidfile != NULL)
        unlink(c->pidfile);
    if (result == 0)
        return EXIT_OK;
    return p->net->exit_status != 0 ? p->net->exit_status : EXIT_UNEXPECTED;
}

/* A parent that waits for the log thread must not free what it works on: threads end first, then the core goes. */
static void take_apart(struct parts *p, bool orderly) {
    member_free(p->member);
    if (p->net != NULL)
        net_free(p->net);
    if (p->bio != NULL)
        bio_free(p->bio);
    config_files_free(p->config_files);
    buf_free(&p->proposal);
    if (p->writer != NULL)
        logwriter_free(p->writer, orderly);
    if (p->server != NULL)
        server_free(p->server);
    if (p->files != NULL)
        posix_disk_close(p->files);
    qconfig_unref(p->members);
}

/* dataDir/myid: which of the servers we are. */
static bool read_myid(struct config *c) {
    char path[4096], text[32] = "";
    snprintf(path, sizeof path, "%s/myid", c->data_dir);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        log_error("%s: %s; it holds the number of this server's line (server.N)", path, strerror(errno));
        return false;
    }
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    while (n > 0 && strchr(" \t\r\n", text[n - 1]) != NULL)
        text[--n] = '\0';
    if (!str_to_i64((struct slice){text, n}, &c->server_id) || c->server_id < 0 || c->server_id > 255) {
        log_error("%s: '%s' is no number from 0 to 255", path, text);
        return false;
    }
    return true;
}

static bool read_members(struct parts *p, struct config *c) {
    struct config_log log = {0};
    struct buf text = BUF_INIT;
    char error[256];
    if (!read_myid(c))
        return false;
    config_members_text(c, &text);
    p->members = qconfig_parse((struct slice){(const char *)text.data, text.len}, !c->standalone_enabled, error, sizeof error);
    buf_free(&text);
    if (p->members == NULL) {
        log_error("%s", error);
        return false;
    }
    const struct qserver *self = qconfig_find(p->members, c->server_id);
    if (self == NULL) {
        log_error("My id %lld not in the peer list", (long long)c->server_id);
        return false;
    }
    config_adopt_self(c, self, &log);
    report(&log, false);
    bool fine = log.errors == 0;
    config_log_free(&log);
    return fine;
}

/* Whoever put the file there vouches for an empty database. ZooKeeper's script makes it in dataDir, its server looks for it in
 * dataLogDir. */
static void take_initialize(struct config *c) {
    const char *const dirs[] = {c->data_log_dir, c->data_dir};
    char path[4096];
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        snprintf(path, sizeof path, "%s/initialize", dirs[i]);
        if (unlink(path) == 0) {
            c->db_autocreate = true;
            log_info("%s is removed: an empty database may vote", path);
        } else if (errno != ENOENT) {
            log_warn("%s cannot be removed: %s", path, strerror(errno));
        }
    }
}

static int run(struct config *c, int ready) {
    struct parts p = {.ready = ready};
    char error[256];
    int code = EXIT_UNEXPECTED;
    p.files = posix_disk_open(c->data_dir, c->data_log_dir, c->datadir_autocreate, error, sizeof error);
    if (p.files == NULL) {
        log_error("%s", error);
        return EXIT_DATA_DIR;
    }
    const struct disk *disk = posix_disk_vtable(p.files);
    struct env env = {.ctx = &p,
                      .disk = disk,
                      .same_dir = posix_disk_same_dir(p.files),
                      .log_submit = submit_log,
                      .job_submit = submit_job,
                      .config_active = config_active,
                      .config_proposed = config_proposed};
    struct logwriter_options options = {.prealloc_bytes = c->prealloc_kib * 1024,
                                        .force_sync = c->force_sync,
                                        .side_file_interval_us = 1000000};
    if (c->ensemble && !read_members(&p, c)) {
        take_apart(&p, false);
        return EXIT_BAD_CONFIG;
    }
    if (c->ensemble) {
        take_initialize(c);
        keep_config_files(&p, c);
    }
    p.server = make_server(c, &env);
    code = recover(&p.server, c, &env);
    if (code == EXIT_OK) {
        p.writer = logwriter_new(disk, &options);
        p.bio = bio_new(disk, p.writer, c->background_threads);
        code = p.bio != NULL ? serve(&p, c) : EXIT_UNEXPECTED;
    }
    take_apart(&p, code == EXIT_OK);
    log_info("zabra-server has stopped%s", code == EXIT_OK ? "" : " because of an error");
    return code;
}

static int start(int argc, char **argv, struct config *c, struct config_log *log) {
    struct config_command command;
    config_defaults(c);
    config_args(c, argc, argv, &command, log);
    if (command.help || argc < 2) {
        fputs(usage, command.help ? stdout : stderr);
        return command.help ? EXIT_OK : EXIT_BAD_CONFIG;
    }
    if (command.version) {
        printf("zabra-server %s (protocol of ZooKeeper %s)\n", PACKAGE_VERSION, ZABRA_COMPAT_VERSION);
        return EXIT_OK;
    }
    config_jvm_flags(c, "SERVER_JVMFLAGS", getenv("SERVER_JVMFLAGS"), log);
    config_jvm_flags(c, "JVMFLAGS", getenv("JVMFLAGS"), log);
    config_load(c, command.config_path, read_config_file, NULL, log);
    config_validate(c, command.check_config, log);
    if (command.check_config || log->errors != 0) {
        report(log, true);
        if (log->errors == 0)
            print_config(c);
        return log->errors == 0 ? EXIT_OK : EXIT_BAD_CONFIG;
    }
    log_set_level(c->loglevel);
    if (log_open(c->logfile) == -1) {
        fprintf(stderr, "error: the log file %s cannot be opened: %s\n", c->logfile, strerror(errno));
        return EXIT_BAD_CONFIG;
    }
    int ready = -1;
    if (c->daemonize && (ready = daemonize()) == -1) {
        log_error("cannot go to the background: %s", strerror(errno));
        return EXIT_UNEXPECTED;
    }
    log_info("zabra-server %s starts, data in %s%s%s", PACKAGE_VERSION, c->data_dir,
             strcmp(c->data_dir, c->data_log_dir) != 0 ? ", log in " : "",
             strcmp(c->data_dir, c->data_log_dir) != 0 ? c->data_log_dir : "");
    report(log, false);
    raise_descriptor_limit();
    grow_descriptor_table();
    signal(SIGPIPE, SIG_IGN);
    hold_signals(SIG_BLOCK, false);
    return run(c, ready);
}

int main(int argc, char **argv) {
    struct config c;
    struct config_log log = {0};
    hold_standard_descriptors();
    int code = start(argc, argv, &c, &log);
    config_log_free(&log);
    config_free(&c);
    return code;
}
