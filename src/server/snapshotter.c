/* Snapshots without fork and without fuzz. In one turn the zxid S, the digest, the sessions and the access lists are
 * captured; then a walk over the tree as it was at S goes on in slices (tree/walk.h). The bytes go in chunks to jobs that
 * compress and write them into a temporary file; the file gets its name through the log's FIFO, behind everything that
 * was logged up to S (docs/protocol/invariants.md).
 *
 * One job is under way at a time, so chunks keep their order; the walk waits when too many of them wait. */
#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "server/server.h"

#define CHUNK_BYTES (128 * 1024)
#define CHUNKS_AHEAD 4
/* Old states that had to be emitted while the disk was too slow: beyond this the snapshot is given up. */
#define QUEUED_BYTES_MAX (64u << 20)
#define NODES_PER_SLICE 256
/* Rough size of a snapshot: what stands in the file for a node besides path and data. */
#define NODE_FILE_OVERHEAD 80
#define SESSION_FILE_BYTES 12
/* Sections, access lists, directory blocks. */
#define SIZE_MARGIN (64u * 1024)

enum snapjob_kind { SNAPJOB_OPEN, SNAPJOB_WRITE, SNAPJOB_SEAL, SNAPJOB_FINISH, SNAPJOB_ABORT };

struct snapjob {
    struct job job;
    struct list link; /* snapshotter->queue */
    struct snapshotter *owner;
    enum snapjob_kind kind;
    struct buf data;
    int64_t size_needed; /* OPEN */
    int err;
};

struct snapshotter {
    struct server *s;
    bool wanted;
    bool aborting;
    struct tree_walk *walk;
    zxid_t zxid;
    uint64_t digest;
    struct monotime started;
    struct buf chunk;
    struct list queue; /* struct snapjob: not submitted yet */
    size_t queue_count, queue_bytes;
    int64_t bytes_to_come; /* about, without compression: what the writer has not been given yet; 0 = it has written all */
    bool job_running;
    struct snapwriter *writer; /* touched by jobs only, one after the other */
    char tmp_name[STORE_NAME_MAX], name[STORE_NAME_MAX];
    int64_t file_size;
    struct log_cmd publish;
    bool finished; /* the file is complete and waits until the log is */
    bool publishing;
    struct log_limit skip_limit;
};

struct snapshotter *snapshotter_new(struct server *s) {
    struct snapshotter *p = mem_calloc(1, sizeof *p);
    p->s = s;
    list_init(&p->queue);
    return p;
}

void snapshotter_free(struct snapshotter *p) {
    zassert(!p->job_running);
    struct snapjob *j;
    LIST_FOREACH(j, &p->queue, struct snapjob, link) {
        list_remove(&j->link);
        buf_free(&j->data);
        mem_free(j);
    }
    if (p->walk != NULL)
        tree_walk_end(p->walk);
    if (p->writer != NULL)
        snapwriter_close(p->writer);
    buf_free(&p->chunk);
    mem_free(p);
}

/* ------------------------------------------------------------------ jobs */

static enum snapshot_method method(const struct config *c) {
    switch (c->snapshot_compression) {
    case CONFIG_COMPRESS_GZIP:
        return SNAPSHOT_GZIP;
    case CONFIG_COMPRESS_SNAPPY:
        return SNAPSHOT_SNAPPY;
    default:
        return SNAPSHOT_PLAIN;
    }
}

/* On a pool thread: touches the job, the writer and names that stay as they are while a job is under way. */
static void run_job(struct job *job, const struct disk *disk) {
    struct snapjob *j = CONTAINER_OF(job, struct snapjob, job);
    struct snapshotter *p = j->owner;
    switch (j->kind) {
    case SNAPJOB_OPEN: {
        int64_t available = disk->free_bytes(disk->ctx, DISK_SNAP);
        if (available >= 0 && available < j->size_needed)
            j->err = -ENOSPC;
        else
            p->writer = snapwriter_open(disk, p->tmp_name, store_snapshot_method(p->name), &j->err);
        break;
    }
    case SNAPJOB_WRITE:
        j->err = snapwriter_write(p->writer, j->data.data, j->data.len);
        break;
    case SNAPJOB_SEAL:
        j->err = snapwriter_seal(p->writer);
        break;
    case SNAPJOB_FINISH:
        j->err = snapwriter_finish(p->writer, &p->file_size);
        snapwriter_close(p->writer);
        p->writer = NULL;
        break;
    case SNAPJOB_ABORT:
        if (p->writer != NULL)
            snapwriter_close(p->writer);
        else
            disk->unlink(disk->ctx, DISK_SNAP, p->tmp_name);
        p->writer = NULL;
        break;
    }
}

static void job_done(struct job *job);

static void submit_next(struct snapshotter *p) {
    if (p->job_running || list_empty(&p->queue))
        return;
    struct snapjob *j = LIST_FIRST(&p->queue, struct snapjob, link);
    list_remove(&j->link);
    p->queue_count--;
    p->queue_bytes -= j->data.len;
    p->job_running = true;
    p->s->env.job_submit(p->s->env.ctx, &j->job);
}

static struct snapjob *push_job(struct snapshotter *p, enum snapjob_kind kind) {
    struct snapjob *j = mem_calloc(1, sizeof *j);
    j->job.run = run_job;
    j->job.done = job_done;
    j->owner = p;
    j->kind = kind;
    if (kind == SNAPJOB_WRITE) {
        j->data = p->chunk;
        p->chunk = BUF_INIT;
        p->queue_bytes += j->data.len;
    }
    list_push(&p->queue, &j->link);
    p->queue_count++;
    return j;
}

static void flush_chunk(struct snapshotter *p) {
    if (p->chunk.len != 0)
        push_job(p, SNAPJOB_WRITE);
}

/* Drops what waits and tells the last job to remove the file. The walk needs no clean-up. */
static void give_up(struct snapshotter *p, const char *why) {
    if (p->aborting)
        return;
    log_warn("snapshot 0x%llx is given up: %s", (unsigned long long)p->zxid, why);
    p->aborting = true;
    p->finished = false;
    if (p->walk != NULL)
        tree_walk_end(p->walk);
    p->walk = NULL;
    buf_clear(&p->chunk);
    struct snapjob *j;
    LIST_FOREACH(j, &p->queue, struct snapjob, link) {
        list_remove(&j->link);
        buf_free(&j->data);
        mem_free(j);
    }
    p->queue_count = 0;
    p->queue_bytes = 0;
    push_job(p, SNAPJOB_ABORT);
    submit_next(p);
}

static void publish(struct snapshotter *p) {
    p->publishing = true;
    p->publish = (struct log_cmd){.type = LOG_CMD_PUBLISH, .dir = DISK_SNAP};
    snprintf(p->publish.tmp_name, sizeof p->publish.tmp_name, "%s", p->tmp_name);
    snprintf(p->publish.name, sizeof p->publish.name, "%s", p->name);
    p->s->env.log_submit(p->s->env.ctx, &p->publish);
}

/* S7. In an ensemble a transaction can be applied before it is in our own log. When that waits for space, the snapshot may be
 * what makes it: a quorum has what stands in it, and what the log still lacks will follow where the log ends; or, if this
 * process ends before, never (E30). */
static void publish_if_logged(struct snapshotter *p) {
    const struct server *s = p->s;
    bool logged = s->logged >= p->zxid;
    bool instead = s->quorum != NULL && s->disk_full && p->zxid <= s->committed;
    if (!p->finished || (!logged && !instead))
        return;
    p->finished = false;
    publish(p);
}

static void job_done(struct job *job) {
    struct snapjob *j = CONTAINER_OF(job, struct snapjob, job);
    struct snapshotter *p = j->owner;
    int err = j->err;
    enum snapjob_kind kind = j->kind;
    int64_t bytes = (int64_t)j->data.len;
    p->job_running = false;
    buf_free(&j->data);
    mem_free(j);
    if (kind == SNAPJOB_ABORT) {
        p->aborting = false;
        p->bytes_to_come = 0;
    } else if (err == -ENOSPC || err == -EDQUOT) {
        give_up(p, "not enough space on the disk");
    } else if (err != 0) {
        server_fail(p->s, "snapshot 0x%llx could not be written: %s", (unsigned long long)p->zxid, strerror(-err));
        give_up(p, "disk error");
    } else if (kind == SNAPJOB_WRITE) {
        p->bytes_to_come = i64_max(p->bytes_to_come - bytes, 1);
        diskguard_snapshot_grew(p->s, bytes);
    } else if (kind == SNAPJOB_FINISH && !p->aborting) {
        p->finished = true;
        p->bytes_to_come = 0;
        publish_if_logged(p);
    }
    submit_next(p);
}

static void note_good(struct snapshotter *p) {
    p->s->good_snapshot = p->zxid;
    p->s->snapshots_noted++;
    snprintf(p->s->good_snapshot_name, sizeof p->s->good_snapshot_name, "%s", p->name);
}

void snapshotter_log_done(struct server *s, struct log_cmd *cmd) {
    struct snapshotter *p = s->snapshotter;
    zassert(cmd == &p->publish);
    p->publishing = false;
    if (cmd->err == -ENOSPC || cmd->err == -EDQUOT) {
        give_up(p, "not enough space on the disk for its name");
        return;
    }
    if (cmd->err != 0) {
        server_fail(s, "snapshot %s could not be published: %s", p->name, strerror(-cmd->err));
        return;
    }
    int64_t ms = mono_diff_us(s->now.mono, p->started) / 1000;
    metric_sample(&s->metrics, METRIC_SNAPSHOTTIME, (uint64_t)i64_max(0, ms));
    note_good(p);
    log_info("%s written: %lld bytes in %lld ms", p->name, (long long)p->file_size, (long long)ms);
    diskguard_purge_soon(s);
}

/* ------------------------------------------------------------------ the walk */

static int64_t disk_acl(acl_id_t id) { return id == ACL_OPEN ? -1 : (int64_t)id; }

static void emit(void *ctx, struct slice path, const struct znode *n) {
    struct snapshotter *p = ctx;
    struct node_stat stat;
    znode_stat(n, &stat);
    snapshot_put_node(&p->chunk, path, znode_data(n), disk_acl(n->acl), &stat);
    if (p->chunk.len >= CHUNK_BYTES)
        flush_chunk(p);
}

static void put_front(struct snapshotter *p) {
    struct server *s = p->s;
    snapshot_put_header(&p->chunk);
    size_t count_at = p->chunk.len;
    int32_t count = 0;
    size_t cursor = 0;
    const struct session *session;
    snapshot_put_count(&p->chunk, 0);
    while ((session = hmap_next(&s->sessions.by_id, &cursor)) != NULL) {
        if (!session->in_db)
            continue;
        snapshot_put_session(&p->chunk, session->id, session->timeout_ms);
        count++;
    }
    jute_patch_int(&p->chunk, count_at, count);
    struct acl_table *acls = tree_acls(s->tree);
    snapshot_put_count(&p->chunk, (int32_t)acl_count(acls));
    for (acl_id_t id = acl_next(acls, 0); id != 0; id = acl_next(acls, id))
        snapshot_put_acl(&p->chunk, disk_acl(id), acl_bytes(acls, id));
}

static void put_end(struct snapshotter *p) {
    const struct config *c = p->s->config;
    snapshot_put_nodes_end(&p->chunk);
    flush_chunk(p);
    push_job(p, SNAPJOB_SEAL);
    if (c->digest_enabled) {
        snapshot_put_digest(&p->chunk, p->zxid, p->digest);
        flush_chunk(p);
        push_job(p, SNAPJOB_SEAL);
    }
    /* A reader of 3.9 tells the two sections apart by its own options only: the second one never stands alone. */
    if (c->digest_enabled && c->serialize_last_processed_zxid) {
        snapshot_put_last_zxid(&p->chunk, p->zxid);
        flush_chunk(p);
        push_job(p, SNAPJOB_SEAL);
    }
    push_job(p, SNAPJOB_FINISH);
}

static void name_files(struct snapshotter *p) {
    struct server *s = p->s;
    p->zxid = s->last_applied;
    p->digest = tree_digest(s->tree);
    p->started = s->now.mono;
    store_snapshot_name(p->name, p->zxid, method(s->config));
    snprintf(p->tmp_name, sizeof p->tmp_name, "zabra.snapshot.%llx.tmp", (unsigned long long)p->zxid);
}

int64_t snapshotter_size_needed(const struct server *s) {
    return (int64_t)(tree_path_data_bytes(s->tree) + tree_count(s->tree) * NODE_FILE_OVERHEAD +
                     s->sessions.by_id.count * SESSION_FILE_BYTES + SIZE_MARGIN);
}

/* When the reserve is all that is left, it is there for the snapshot that makes older logs superfluous. */
static void start(struct snapshotter *p) {
    struct server *s = p->s;
    int64_t keep_free = diskguard_critical(s) ? 0 : s->config->disk_reserve_bytes;
    name_files(p);
    p->walk = tree_walk_begin(s->tree, emit, p);
    zassert(p->walk != NULL);
    struct snapjob *open = push_job(p, SNAPJOB_OPEN);
    p->bytes_to_come = snapshotter_size_needed(s);
    open->size_needed = p->bytes_to_come + keep_free;
    diskguard_snapshot_begun(s, p->zxid);
    put_front(p);
    submit_next(p);
}

bool snapshotter_busy(const struct server *s) {
    const struct snapshotter *p = s->snapshotter;
    return p->walk != NULL || p->job_running || p->finished || p->publishing || p->aborting ||
           !list_empty(&p->queue);
}

void snapshotter_abort(struct server *s, const char *why) {
    struct snapshotter *p = s->snapshotter;
    p->wanted = false;
    if (p->walk != NULL)
        give_up(p, why);
}

void snapshotter_cancel(struct server *s, const char *why) {
    struct snapshotter *p = s->snapshotter;
    p->wanted = false;
    if (snapshotter_busy(s) && !p->publishing)
        give_up(p, why);
}

int64_t snapshotter_bytes_to_come(const struct server *s) {
    const struct snapshotter *p = s->snapshotter;
    int64_t all = snapshotter_size_needed(s);
    if (p->aborting || p->bytes_to_come == 0)
        return p->aborting ? all : 0;
    return i64_min(all, p->bytes_to_come + (int64_t)SNAPWRITER_OUTPUT_BYTES);
}

void snapshotter_request(struct server *s) { s->snapshotter->wanted = true; }

bool snapshotter_has_work(const struct server *s) {
    const struct snapshotter *p = s->snapshotter;
    if (p->wanted && !snapshotter_busy(s))
        return true;
    return p->walk != NULL && p->queue_count < CHUNKS_AHEAD;
}

void snapshotter_step(struct server *s) {
    struct snapshotter *p = s->snapshotter;
    if (s->state == SERVER_STOPPING || s->state == SERVER_FAILED) {
        publish_if_logged(p);
        p->wanted = false;
        if (p->walk != NULL || (p->finished && (s->state == SERVER_FAILED || s->disk_full)))
            give_up(p, "the server stops");
        return;
    }
    publish_if_logged(p);
    if (p->wanted && !snapshotter_busy(s)) {
        p->wanted = false;
        start(p);
    }
    if (p->walk != NULL && p->queue_bytes > QUEUED_BYTES_MAX) {
        give_up(p, "too many changes while the disk is slow");
        return;
    }
    if (p->walk == NULL || p->queue_count >= CHUNKS_AHEAD)
        return;
    if (tree_walk_step(p->walk, NODES_PER_SLICE)) {
        tree_walk_end(p->walk);
        p->walk = NULL;
        put_end(p);
    }
    submit_next(p);
}

/* ------------------------------------------------------------------ when */

static void next_thresholds(struct server *s) {
    uint64_t half = (uint64_t)s->config->snap_count / 2;
    int64_t half_bytes = s->config->snap_size_limit_kib * 512;
    s->snapshot_at_txns = half + rng_below(&s->rng, half);
    s->snapshot_at_bytes = half_bytes + (int64_t)rng_below(&s->rng, (uint64_t)i64_max(0, half_bytes));
}

/* Before a role has begun nobody knows whether the tree is committed (E27). On a full disk diskguard decides: a roll would
 * take space, and a snapshot is worth it only if something can go then. */
void snapshotter_check_trigger(struct server *s) {
    if (diskguard_critical(s) || s->state == SERVER_WAITING || s->logless)
        return;
    if (s->snapshot_at_txns == 0)
        next_thresholds(s);
    bool by_count = s->txns_since_snapshot > s->snapshot_at_txns;
    bool by_bytes = s->config->snap_size_limit_kib > 0 && s->log_bytes_since_snapshot > s->snapshot_at_bytes;
    if (!by_count && !by_bytes)
        return;
    s->txns_since_snapshot = 0;
    s->log_bytes_since_snapshot = 0;
    s->roll_next = true;
    next_thresholds(s);
    if (snapshotter_busy(s))
        log_warn("the last snapshot is not finished yet, skipping one");
    else
        snapshotter_request(s);
}

/* Everything at once, for a database that has no snapshot yet. */
int snapshotter_first(struct server *s) {
    struct snapshotter *p = s->snapshotter;
    if (s->good_snapshot >= 0)
        return 0;
    const struct disk *d = s->env.disk;
    name_files(p);
    p->walk = tree_walk_begin(s->tree, emit, p);
    push_job(p, SNAPJOB_OPEN);
    put_front(p);
    while (!tree_walk_step(p->walk, NODES_PER_SLICE))
        ;
    tree_walk_end(p->walk);
    p->walk = NULL;
    put_end(p);
    int err = 0;
    struct snapjob *j;
    LIST_FOREACH(j, &p->queue, struct snapjob, link) {
        if (err == 0) {
            run_job(&j->job, d);
            err = j->err;
        }
        list_remove(&j->link);
        buf_free(&j->data);
        mem_free(j);
    }
    p->queue_count = 0;
    p->queue_bytes = 0;
    if (err == 0)
        err = d->rename(d->ctx, DISK_SNAP, p->tmp_name, p->name);
    if (err == 0)
        err = d->sync_dir(d->ctx, DISK_SNAP);
    if (err != 0)
        log_error("the first snapshot, %s, could not be written: %s", p->name, strerror(-err));
    else
        note_good(p);
    return err;
}
