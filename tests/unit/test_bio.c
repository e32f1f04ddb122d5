/* The background threads: everything that is submitted is done once, off the caller's thread, log commands in order, and
 * one wake-up tells of any number of completions. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "bio/bio.h"
#include "lib/store_help.h"

#define JOBS 5000
#define COMMANDS 500
#define WAIT_MS 40000

struct world {
    struct simdisk disk;
    struct logwriter *writer;
    struct bio *bio;
    struct list log_cmds, jobs; /* collected */
};

static void world_open(struct world *w, int threads) {
    struct logwriter_options options = {.prealloc_bytes = 65536, .force_sync = true, .side_file_interval_us = 1000000};
    simdisk_init(&w->disk, 1);
    w->disk.same_dir = true;
    w->writer = logwriter_new(&w->disk.disk, &options);
    w->bio = bio_new(&w->disk.disk, w->writer, threads);
    ck_assert_ptr_nonnull(w->bio);
    list_init(&w->log_cmds);
    list_init(&w->jobs);
}

static void world_end_threads(struct world *w) {
    bio_free(w->bio);
    w->bio = NULL;
}

static void world_close(struct world *w) {
    if (w->bio != NULL)
        world_end_threads(w);
    logwriter_free(w->writer, true);
    simdisk_close(&w->disk);
}

static bool readable(const struct world *w, int timeout_ms) {
    struct pollfd p = {.fd = bio_fd(w->bio), .events = POLLIN};
    return poll(&p, 1, timeout_ms) == 1;
}

static size_t list_length(const struct list *head) {
    size_t n = 0;
    for (const struct list *item = head->next; item != head; item = item->next)
        n++;
    return n;
}

/* Collects until that many of each are there. */
static void collect(struct world *w, size_t commands, size_t jobs) {
    while (list_length(&w->log_cmds) < commands || list_length(&w->jobs) < jobs) {
        ck_assert_msg(readable(w, WAIT_MS), "completions are missing");
        bio_collect(w->bio, &w->log_cmds, &w->jobs);
    }
    ck_assert_uint_eq(list_length(&w->log_cmds), commands);
    ck_assert_uint_eq(list_length(&w->jobs), jobs);
}

/* ------------------------------------------------------------------ jobs */

struct work {
    struct job job;
    atomic_int *counter; /* of all that have run */
    pthread_barrier_t *barrier;
    unsigned sleep_us;
    int runs, dones;
    pthread_t thread;
    bool signals_blocked;
    const struct disk *disk;
};

static void work_run(struct job *job, const struct disk *disk) {
    struct work *work = CONTAINER_OF(job, struct work, job);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    work->signals_blocked = sigismember(&mask, SIGTERM) == 1;
    if (work->sleep_us != 0)
        usleep(work->sleep_us);
    if (work->barrier != NULL)
        pthread_barrier_wait(work->barrier);
    work->runs++;
    work->thread = pthread_self();
    work->disk = disk;
    if (work->counter != NULL)
        atomic_fetch_add(work->counter, 1);
}

static void work_done(struct job *job) { CONTAINER_OF(job, struct work, job)->dones++; }

static void submit_work(struct world *w, struct work *work) {
    work->job.run = work_run;
    work->job.done = work_done;
    list_init(&work->job.link);
    bio_submit_job(w->bio, &work->job);
}

static void call_done(struct world *w) {
    while (!list_empty(&w->jobs)) {
        struct job *job = LIST_FIRST(&w->jobs, struct job, link);
        list_remove(&job->link);
        job->done(job);
    }
}

static void many_jobs(int threads) {
    struct world w;
    atomic_int counter = 0;
    struct work *work = mem_calloc(JOBS, sizeof *work);
    world_open(&w, threads);
    for (int i = 0; i < JOBS; i++) {
        work[i].counter = &counter;
        submit_work(&w, &work[i]);
        if (i % 97 == 0 && readable(&w, 0)) /* collected unasked, a completion may wake later, for nothing */
            bio_collect(w.bio, &w.log_cmds, &w.jobs);
    }
    collect(&w, 0, JOBS);
    call_done(&w);
    ck_assert_int_eq(atomic_load(&counter), JOBS);
    for (int i = 0; i < JOBS; i++) {
        ck_assert_int_eq(work[i].runs, 1);
        ck_assert_int_eq(work[i].dones, 1);
        ck_assert(!pthread_equal(work[i].thread, pthread_self()));
        ck_assert(work[i].signals_blocked);
        ck_assert_ptr_eq(work[i].disk, &w.disk.disk);
    }
    ck_assert(!readable(&w, 0));
    world_close(&w);
    mem_free(work);
}

START_TEST(each_job_runs_once) {
    many_jobs(1);
    many_jobs(4);
}
END_TEST

START_TEST(no_threads_means_one) { many_jobs(0); }
END_TEST

/* They wait for each other, so they end only if they run side by side, and beside the caller. */
START_TEST(jobs_run_in_parallel) {
    struct world w;
    pthread_barrier_t barrier;
    struct work work[3] = {0};
    pthread_barrier_init(&barrier, NULL, 3);
    world_open(&w, 3);
    for (int i = 0; i < 3; i++) {
        work[i].barrier = &barrier;
        submit_work(&w, &work[i]);
    }
    collect(&w, 0, 3);
    ck_assert(!pthread_equal(work[0].thread, work[1].thread));
    ck_assert(!pthread_equal(work[1].thread, work[2].thread));
    world_close(&w);
    pthread_barrier_destroy(&barrier);
}
END_TEST

START_TEST(signals_of_the_caller_stay) {
    struct world w;
    sigset_t mask;
    world_open(&w, 2);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    ck_assert_int_eq(sigismember(&mask, SIGTERM), 0);
    world_close(&w);
}
END_TEST

/* ------------------------------------------------------------------ the log */

struct append {
    struct log_cmd cmd;
    struct buf data;
    struct iovec iov;
};

static void submit_append(struct world *w, struct append *a, zxid_t zxid) {
    put_entry(&a->data, zxid, 10);
    a->iov = (struct iovec){a->data.data, a->data.len};
    a->cmd = (struct log_cmd){.type = LOG_CMD_APPEND,
                              .roll = zxid == 1,
                              .first_zxid = zxid,
                              .last_zxid = zxid,
                              .iov = &a->iov,
                              .iov_count = 1,
                              .bytes = a->data.len};
    list_init(&a->cmd.link);
    bio_submit_log(w->bio, &a->cmd);
}

static void expect_log_in_order(struct world *w, zxid_t last) {
    int err;
    char name[STORE_NAME_MAX];
    store_log_name(name, 1);
    struct txnlog_reader *r = txnlog_reader_open(&w->disk.disk, name, 1 << 20, &err);
    ck_assert_ptr_nonnull(r);
    for (zxid_t z = 1; z <= last; z++) {
        struct txnlog_result result = txnlog_reader_next(r);
        ck_assert_int_eq(result.status, TXNLOG_RECORD);
        ck_assert_int_eq(txnlog_payload_zxid(result.payload), z);
    }
    ck_assert_int_eq(txnlog_reader_next(r).status, TXNLOG_END);
    txnlog_reader_close(r);
}

static void free_appends(struct append *a, size_t count) {
    for (size_t i = 0; i < count; i++)
        buf_free(&a[i].data);
    mem_free(a);
}

START_TEST(log_completions_are_in_order) {
    struct world w;
    struct append *a = mem_calloc(COMMANDS, sizeof *a);
    struct work *work = mem_calloc(COMMANDS, sizeof *work);
    world_open(&w, 2);
    for (int i = 0; i < COMMANDS; i++) {
        submit_append(&w, &a[i], i + 1);
        submit_work(&w, &work[i]);
        if (i % 31 == 0)
            bio_collect(w.bio, &w.log_cmds, &w.jobs);
    }
    collect(&w, COMMANDS, COMMANDS);
    const struct list *item = w.log_cmds.next;
    for (int i = 0; i < COMMANDS; i++, item = item->next) {
        ck_assert_ptr_eq(item, &a[i].cmd.link);
        ck_assert_int_eq(a[i].cmd.err, 0);
    }
    world_end_threads(&w);
    expect_log_in_order(&w, COMMANDS);
    world_close(&w);
    free_appends(a, COMMANDS);
    mem_free(work);
}
END_TEST

static void note_thread(void *ctx, struct simdisk *s, enum simdisk_op op, int64_t bytes) {
    (void)s;
    (void)op;
    (void)bytes;
    *(pthread_t *)ctx = pthread_self();
}

START_TEST(the_log_has_a_thread_of_its_own) {
    struct world w;
    struct append *a = mem_calloc(1, sizeof *a);
    struct work work = {0};
    pthread_t log_thread = pthread_self();
    world_open(&w, 1);
    w.disk.on_call = note_thread;
    w.disk.on_call_ctx = &log_thread;
    submit_work(&w, &work);
    submit_append(&w, a, 1);
    collect(&w, 1, 1);
    world_end_threads(&w);
    ck_assert(!pthread_equal(log_thread, pthread_self()));
    ck_assert(!pthread_equal(log_thread, work.thread));
    w.disk.on_call = NULL;
    world_close(&w);
    free_appends(a, 1);
}
END_TEST

/* A failed command is a completion as any other. */
START_TEST(errors_come_back) {
    struct world w;
    struct append *a = mem_calloc(2, sizeof *a);
    world_open(&w, 1);
    w.disk.fail_at = 1;
    w.disk.fail_errno = -EIO;
    submit_append(&w, &a[0], 1);
    submit_append(&w, &a[1], 2);
    collect(&w, 2, 0);
    ck_assert_int_eq(a[0].cmd.err, -EIO);
    ck_assert_int_ne(a[1].cmd.err, 0);
    world_close(&w);
    free_appends(a, 2);
}
END_TEST

/* ------------------------------------------------------------------ waking, ending */

START_TEST(one_wake_up_per_gathering) {
    enum { THREADS = 3, ROUND = 100 + THREADS };
    struct world w;
    atomic_int counter = 0;
    pthread_barrier_t barrier;
    struct work *work = mem_calloc(3 * ROUND, sizeof *work);
    pthread_barrier_init(&barrier, NULL, THREADS);
    world_open(&w, THREADS);
    for (int round = 0; round < 3; round++) {
        ck_assert(!readable(&w, 0));
        for (int i = 0; i < ROUND; i++) {
            struct work *one = &work[ROUND * round + i];
            one->counter = &counter;
            one->barrier = i < 100 ? NULL : &barrier; /* all threads meet: the completions before are done with */
            submit_work(&w, one);
        }
        while (atomic_load(&counter) < ROUND * (round + 1))
            usleep(1000);
        uint64_t wakes = 0;
        ck_assert_int_eq(read(bio_fd(w.bio), &wakes, sizeof wakes), sizeof wakes);
        ck_assert_uint_eq(wakes, 1);
        bio_collect(w.bio, &w.log_cmds, &w.jobs);
        collect(&w, 0, ROUND); /* the last of them may have been late */
        call_done(&w);
    }
    world_close(&w);
    pthread_barrier_destroy(&barrier);
    mem_free(work);
}
END_TEST

START_TEST(collecting_nothing_is_fine) {
    struct world w;
    world_open(&w, 1);
    bio_collect(w.bio, &w.log_cmds, &w.jobs);
    bio_collect(w.bio, &w.log_cmds, &w.jobs);
    collect(&w, 0, 0);
    world_close(&w);
}
END_TEST

START_TEST(free_finishes_what_was_submitted) {
    struct world w;
    atomic_int counter = 0;
    struct append *a = mem_calloc(COMMANDS, sizeof *a);
    struct work *work = mem_calloc(50, sizeof *work);
    world_open(&w, 2);
    for (int i = 0; i < 50; i++) {
        work[i].counter = &counter;
        work[i].sleep_us = 1000;
        submit_work(&w, &work[i]);
    }
    for (int i = 0; i < COMMANDS; i++)
        submit_append(&w, &a[i], i + 1);
    world_end_threads(&w);
    ck_assert_int_eq(atomic_load(&counter), 50);
    for (int i = 0; i < 50; i++)
        ck_assert_int_eq(work[i].runs, 1);
    expect_log_in_order(&w, COMMANDS);
    world_close(&w);
    free_appends(a, COMMANDS);
    mem_free(work);
}
END_TEST

/* Jobs are submitted one at a time to sleeping threads, which is where a lost wake-up would show. */
START_TEST(no_wake_up_is_lost) {
    struct world w;
    struct work work = {0};
    world_open(&w, 2);
    for (int i = 0; i < 2000; i++) {
        submit_work(&w, &work);
        collect(&w, 0, 1);
        call_done(&w);
        ck_assert_int_eq(work.runs, i + 1);
    }
    world_close(&w);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("bio");
    TCase *tc = tcase_create("bio");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, each_job_runs_once);
    tcase_add_test(tc, no_threads_means_one);
    tcase_add_test(tc, jobs_run_in_parallel);
    tcase_add_test(tc, signals_of_the_caller_stay);
    tcase_add_test(tc, log_completions_are_in_order);
    tcase_add_test(tc, the_log_has_a_thread_of_its_own);
    tcase_add_test(tc, errors_come_back);
    tcase_add_test(tc, one_wake_up_per_gathering);
    tcase_add_test(tc, collecting_nothing_is_fine);
    tcase_add_test(tc, free_finishes_what_was_submitted);
    tcase_add_test(tc, no_wake_up_is_lost);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
