/* DESIGN
 *
 * Two queues with a mutex and a semaphore each: log commands have one consumer, so their order is the order of
 * submission; jobs have several, and no order. Completions of both go to one pair of lists under a third mutex; whoever
 * finds the lists empty writes the eventfd, so that the loop wakes once however many arrive before it looks.
 *
 * Posting a semaphore is a system call only when a consumer sleeps: under load the log thread finds its next command
 * without one. */
#include "bio/bio.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

struct queue {
    pthread_mutex_t lock;
    sem_t filled; /* one for each item, and one for each consumer that is to end */
    struct list items;
};

struct bio {
    const struct disk *disk;
    struct logwriter *writer;
    struct queue log, jobs;
    pthread_t log_thread;
    pthread_t *pool;
    int pool_size;

    pthread_mutex_t done_lock;
    struct list done_log, done_jobs;
    bool signalled;
    int event_fd;
};

static void queue_init(struct queue *q) {
    pthread_mutex_init(&q->lock, NULL);
    sem_init(&q->filled, 0, 0);
    list_init(&q->items);
}

static void queue_destroy(struct queue *q) {
    pthread_mutex_destroy(&q->lock);
    sem_destroy(&q->filled);
}

static void queue_push(struct queue *q, struct list *item) {
    pthread_mutex_lock(&q->lock);
    list_push(&q->items, item);
    pthread_mutex_unlock(&q->lock);
    sem_post(&q->filled);
}

/* NULL: the queue is empty and the consumer is to end. */
static struct list *queue_pop(struct queue *q) {
    struct list *item = NULL;
    while (sem_wait(&q->filled) == -1)
        zassert(errno == EINTR);
    pthread_mutex_lock(&q->lock);
    if (!list_empty(&q->items)) {
        item = q->items.next;
        list_remove(item);
    }
    pthread_mutex_unlock(&q->lock);
    return item;
}

static void queue_stop(struct queue *q, int consumers) {
    for (int i = 0; i < consumers; i++)
        sem_post(&q->filled);
}

static void complete(struct bio *b, struct list *done, struct list *item) {
    pthread_mutex_lock(&b->done_lock);
    list_push(done, item);
    bool wake = !b->signalled;
    b->signalled = true;
    pthread_mutex_unlock(&b->done_lock);
    if (wake) {
        uint64_t one = 1;
        ssize_t n = write(b->event_fd, &one, sizeof one);
        zassert(n == sizeof one);
    }
}

static void *log_main(void *arg) {
    struct bio *b = arg;
    struct list *item;
    while ((item = queue_pop(&b->log)) != NULL) {
        logwriter_execute(b->writer, CONTAINER_OF(item, struct log_cmd, link));
        complete(b, &b->done_log, item);
    }
    return NULL;
}

static void *pool_main(void *arg) {
    struct bio *b = arg;
    struct list *item;
    /* Compression and parsing must not take the processor away from the loop. On Linux this is the thread's own value. */
    if (setpriority(PRIO_PROCESS, 0, 10) == -1)
        log_debug("a background thread keeps its priority");
    while ((item = queue_pop(&b->jobs)) != NULL) {
        struct job *job = CONTAINER_OF(item, struct job, link);
        job->run(job, b->disk);
        complete(b, &b->done_jobs, item);
    }
    return NULL;
}

static int start_threads(struct bio *b, int pool_threads) {
    int err = pthread_create(&b->log_thread, NULL, log_main, b);
    if (err != 0)
        return err;
    b->pool = mem_calloc((size_t)pool_threads, sizeof *b->pool);
    for (int i = 0; i < pool_threads; i++) {
        err = pthread_create(&b->pool[i], NULL, pool_main, b);
        if (err != 0)
            return err;
        b->pool_size++;
    }
    return 0;
}

struct bio *bio_new(const struct disk *disk, struct logwriter *writer, int pool_threads) {
    struct bio *b = mem_calloc(1, sizeof *b);
    b->disk = disk;
    b->writer = writer;
    b->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (b->event_fd == -1) {
        mem_free(b);
        return NULL;
    }
    queue_init(&b->log);
    queue_init(&b->jobs);
    pthread_mutex_init(&b->done_lock, NULL);
    list_init(&b->done_log);
    list_init(&b->done_jobs);
    /* Signals are for the loop thread. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int err = start_threads(b, pool_threads < 1 ? 1 : pool_threads);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (err != 0)
        log_fatal("a background thread could not be started: %s", strerror(err));
    return b;
}

void bio_free(struct bio *b) {
    queue_stop(&b->log, 1);
    queue_stop(&b->jobs, b->pool_size);
    pthread_join(b->log_thread, NULL);
    for (int i = 0; i < b->pool_size; i++)
        pthread_join(b->pool[i], NULL);
    queue_destroy(&b->log);
    queue_destroy(&b->jobs);
    pthread_mutex_destroy(&b->done_lock);
    close(b->event_fd);
    mem_free(b->pool);
    mem_free(b);
}

void bio_submit_log(struct bio *b, struct log_cmd *cmd) { queue_push(&b->log, &cmd->link); }

void bio_submit_job(struct bio *b, struct job *job) { queue_push(&b->jobs, &job->link); }

int bio_fd(const struct bio *b) { return b->event_fd; }

static void move_all(struct list *from, struct list *to) {
    while (!list_empty(from)) {
        struct list *item = from->next;
        list_remove(item);
        list_push(to, item);
    }
}

void bio_collect(struct bio *b, struct list *log_cmds, struct list *jobs) {
    uint64_t count;
    ssize_t n = read(b->event_fd, &count, sizeof count);
    zassert(n == sizeof count || errno == EAGAIN);
    pthread_mutex_lock(&b->done_lock);
    b->signalled = false;
    move_all(&b->done_log, log_cmds);
    move_all(&b->done_jobs, jobs);
    pthread_mutex_unlock(&b->done_lock);
}
