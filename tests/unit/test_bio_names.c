/* Names are looked up off the caller's thread, each by one thread at a time, and what was found is remembered. */
#include <poll.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "bio/names.h"
#include "lib/store_help.h"

#define WAIT_MS 40000

/* The world's name servers. Hosts that begin with "slow" wait for the gate; "nowhere" is unknown; others are 10.0.0.<answer>. */
static atomic_int gate_open, lookups, running, running_max, answer;

static int fake_lookup(const char *host, struct names_address *out, const char **error) {
    int now = atomic_fetch_add(&running, 1) + 1, max = atomic_load(&running_max);
    while (now > max && !atomic_compare_exchange_weak(&running_max, &max, now))
        continue;
    atomic_fetch_add(&lookups, 1);
    while (strncmp(host, "slow", 4) == 0 && !atomic_load(&gate_open))
        usleep(1000);
    atomic_fetch_sub(&running, 1);
    if (strncmp(host, "nowhere", 7) == 0 || atomic_load(&answer) == 0) {
        *error = "no such name";
        return 0;
    }
    char text[32];
    snprintf(text, sizeof text, "10.0.0.%d", atomic_load(&answer));
    return names_numeric(text, out);
}

struct asker {
    struct names_waiter waiter;
    struct names *names;
    struct asker *then; /* asked from inside done */
    int answers, count;
    char first[INET6_ADDRSTRLEN], error[64];
};

static void on_done(struct names_waiter *w, const struct names_address *addresses, int count, const char *error) {
    struct asker *a = CONTAINER_OF(w, struct asker, waiter);
    a->answers++;
    a->count = count;
    a->first[0] = a->error[0] = '\0';
    if (count > 0 && addresses[0].sa.ss_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)&addresses[0].sa)->sin_addr, a->first, sizeof a->first);
    if (error != NULL)
        snprintf(a->error, sizeof a->error, "%s", error);
    if (a->then != NULL)
        names_ask(a->names, "again", &a->then->waiter);
}

static struct asker asker(struct names *n) { return (struct asker){.waiter.done = on_done, .names = n}; }

static void wait_for_answers(struct names *n, const struct asker *a, int answers) {
    struct pollfd p = {.fd = names_fd(n), .events = POLLIN};
    while (a->answers < answers) {
        ck_assert_int_eq(poll(&p, 1, WAIT_MS), 1);
        names_collect(n);
    }
}

static struct names *setup(void) {
    atomic_store(&gate_open, 0);
    atomic_store(&lookups, 0);
    atomic_store(&running_max, 0);
    atomic_store(&answer, 1);
    struct names *n = names_new(fake_lookup);
    ck_assert_ptr_nonnull(n);
    return n;
}

START_TEST(a_name_is_answered_once) {
    struct names *n = setup();
    struct asker a = asker(n);
    int count;
    ck_assert_ptr_null(names_known(n, "one", &count));
    names_ask(n, "one", &a.waiter);
    ck_assert_int_eq(a.answers, 0);
    wait_for_answers(n, &a, 1);
    ck_assert_str_eq(a.first, "10.0.0.1");
    ck_assert_str_eq(a.error, "");
    ck_assert_ptr_nonnull(names_known(n, "one", &count));
    ck_assert_int_eq(count, 1);
    names_collect(n);
    ck_assert_int_eq(a.answers, 1);
    names_free(n);
}
END_TEST

START_TEST(names_are_looked_up_each_time) {
    struct names *n = setup();
    struct asker a = asker(n);
    names_ask(n, "one", &a.waiter);
    wait_for_answers(n, &a, 1);
    atomic_store(&answer, 2);
    names_ask(n, "one", &a.waiter);
    wait_for_answers(n, &a, 2);
    ck_assert_str_eq(a.first, "10.0.0.2");
    ck_assert_int_eq(atomic_load(&lookups), 2);
    names_free(n);
}
END_TEST

START_TEST(a_failure_brings_the_last_addresses) {
    struct names *n = setup();
    struct asker a = asker(n), b = asker(n);
    names_ask(n, "one", &a.waiter);
    names_ask(n, "nowhere", &b.waiter);
    wait_for_answers(n, &a, 1);
    wait_for_answers(n, &b, 1);
    ck_assert_int_eq(b.count, 0);
    ck_assert_str_eq(b.error, "no such name");
    atomic_store(&answer, 0);
    names_ask(n, "one", &a.waiter);
    wait_for_answers(n, &a, 2);
    ck_assert_str_eq(a.error, "no such name");
    ck_assert_str_eq(a.first, "10.0.0.1");
    names_free(n);
}
END_TEST

START_TEST(those_who_ask_for_one_name_share_a_thread) {
    struct names *n = setup();
    struct asker a[20];
    for (size_t i = 0; i < ARRAY_LEN(a); i++) {
        a[i] = asker(n);
        names_ask(n, "slow", &a[i].waiter);
    }
    names_forget(&a[3].waiter);
    names_forget(&a[3].waiter);
    atomic_store(&gate_open, 1);
    wait_for_answers(n, &a[19], 1);
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        ck_assert_int_eq(a[i].answers, i == 3 ? 0 : 1);
    ck_assert_int_eq(atomic_load(&lookups), 1);
    names_free(n);
}
END_TEST

START_TEST(threads_are_bounded_and_nobody_is_forgotten) {
    struct names *n = setup();
    struct asker a[40];
    char name[16];
    for (int i = 0; i < 40; i++) {
        a[i] = asker(n);
        snprintf(name, sizeof name, "slow%d", i);
        names_ask(n, name, &a[i].waiter);
    }
    names_forget(&a[30].waiter); /* still waits for a thread: none is started for it */
    atomic_store(&gate_open, 1);
    for (int i = 0; i < 40; i++)
        if (i != 30)
            wait_for_answers(n, &a[i], 1);
    ck_assert_int_le(atomic_load(&running_max), 4);
    ck_assert_int_eq(atomic_load(&lookups), 39);
    names_ask(n, "slow30", &a[30].waiter);
    wait_for_answers(n, &a[30], 1);
    names_free(n);
}
END_TEST

START_TEST(asking_and_forgetting_inside_an_answer) {
    struct names *n = setup();
    struct asker a = asker(n), b = asker(n), c = asker(n);
    a.then = &b;
    b.then = &c;
    names_ask(n, "again", &a.waiter);
    wait_for_answers(n, &c, 1);
    ck_assert_int_eq(a.answers + b.answers + c.answers, 3);
    names_free(n);
}
END_TEST

START_TEST(what_is_remembered_has_a_bound) {
    struct names *n = setup();
    struct asker a = asker(n);
    char name[16];
    int count;
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "host%d", i);
        names_ask(n, name, &a.waiter);
        wait_for_answers(n, &a, i + 1);
        if (i % 50 == 0) {
            names_ask(n, "host0", &a.waiter); /* in use: it stays */
            names_forget(&a.waiter);
        }
    }
    ck_assert_ptr_nonnull(names_known(n, "host299", &count));
    ck_assert_ptr_nonnull(names_known(n, "host0", &count));
    ck_assert_ptr_null(names_known(n, "host1", &count));
    names_free(n);
}
END_TEST

START_TEST(the_end_does_not_wait_for_look_ups) {
    struct names *n = setup();
    struct asker a = asker(n), b = asker(n), c = asker(n);
    names_ask(n, "slow", &a.waiter);
    names_ask(n, "quick", &b.waiter);
    names_ask(n, "quicker", &c.waiter);
    while (atomic_load(&lookups) < 3 || atomic_load(&running) > 1)
        usleep(1000);
    names_forget(&a.waiter);
    names_forget(&b.waiter);
    names_forget(&c.waiter);
    names_free(n);
    ck_assert_int_eq(a.answers, 0);
    ck_assert_int_eq(atomic_load(&running), 1);
    atomic_store(&gate_open, 1);
    while (atomic_load(&running) > 0)
        usleep(1000);
    usleep(20000); /* for the sanitizers: the thread frees what is left */
}
END_TEST

START_TEST(the_systems_names) {
    setenv("RES_OPTIONS", "timeout:1 attempts:1", 1); /* name servers may be out of reach here */
    struct names *n = names_new(NULL);
    struct asker a = asker(n), b = asker(n);
    names_ask(n, "localhost", &a.waiter);
    names_ask(n, "no-such-host.invalid", &b.waiter);
    wait_for_answers(n, &a, 1);
    wait_for_answers(n, &b, 1);
    ck_assert_int_ge(a.count, 1);
    ck_assert_str_eq(a.error, "");
    ck_assert_int_eq(b.count, 0);
    ck_assert_str_ne(b.error, "");
    names_free(n);
}
END_TEST

START_TEST(numeric_addresses) {
    struct names_address a;
    ck_assert(names_numeric("127.0.0.1", &a));
    ck_assert_int_eq(a.sa.ss_family, AF_INET);
    ck_assert(names_numeric("::1", &a));
    ck_assert_int_eq(a.sa.ss_family, AF_INET6);
    ck_assert(!names_numeric("localhost", &a));
    ck_assert(!names_numeric("[::1]", &a));
    ck_assert(!names_numeric("300.0.0.1", &a));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("names");
    TCase *tc = tcase_create("names");
    tcase_set_timeout(tc, 120);
    tcase_add_test(tc, a_name_is_answered_once);
    tcase_add_test(tc, names_are_looked_up_each_time);
    tcase_add_test(tc, a_failure_brings_the_last_addresses);
    tcase_add_test(tc, those_who_ask_for_one_name_share_a_thread);
    tcase_add_test(tc, threads_are_bounded_and_nobody_is_forgotten);
    tcase_add_test(tc, asking_and_forgetting_inside_an_answer);
    tcase_add_test(tc, what_is_remembered_has_a_bound);
    tcase_add_test(tc, the_end_does_not_wait_for_look_ups);
    tcase_add_test(tc, the_systems_names);
    tcase_add_test(tc, numeric_addresses);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
