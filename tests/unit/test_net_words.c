/* Long answers on their way through the shell: a bounded piece per turn, bounded memory, whatever the clients do. The client
 * that asks is a real socket; the many connections that are listed are none. */
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "admin/words.h"
#include "lib/testserver.h"
#include "net/client.h"
#include "net/words.h"

#define MANY 20000
#define TURNS_MAX 10000
/* What words.c promises. */
#define LOOKS_PER_TURN 1000
#define AHEAD_BYTES (128 * 1024)

struct world {
    struct testserver *ts;
    struct bio *bio;
    struct net *net;
};

static void world_open(struct world *w) {
    w->ts = testserver_new((const char *const[]){"4lw.commands.whitelist", "*", "clientOutputBufferLimit", "1mb", NULL});
    w->bio = bio_new(&w->ts->disk.disk, w->ts->writer, 1);
    w->net = net_new(w->ts->server, w->bio, &w->ts->config, admin_word);
    ck_assert(w->bio != NULL && w->net != NULL);
    for (int i = 0; i < MANY; i++)
        testclient_new(w->ts, NULL);
}

static void world_close(struct world *w) {
    net_free(w->net);
    bio_free(w->bio);
    testserver_free(w->ts);
}

/* One that asks: what it has got so far. */
struct asker {
    int fd;
    struct client *client;
    struct buf text;
    bool closed;
};

static void ask(struct world *w, struct asker *a, const char *word, int socket_bytes) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(0x0a000001)}, .sin_port = htons(99)};
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    ck_assert_int_eq(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &socket_bytes, sizeof socket_bytes), 0);
    client_accept(w->net, fds[0], (struct sockaddr *)(void *)&address, 1, w->ts->now);
    *a = (struct asker){.fd = fds[1], .client = CONTAINER_OF(w->net->clients.prev, struct client, link)};
    ck_assert_int_eq(write(a->fd, word, 4), 4);
}

static void asker_close(struct asker *a) {
    buf_free(&a->text);
    close(a->fd);
}

/* As net_run, without waiting. */
static void turn(struct world *w) {
    struct list *dirty = &w->ts->server->dirty;
    w->net->turn_now.mono.us = 0;
    event_base_loop(w->net->base, EVLOOP_NONBLOCK);
    words_turn(w->net);
    while (!list_empty(dirty)) {
        struct conn *conn = LIST_FIRST(dirty, struct conn, dirty_link);
        list_remove(&conn->dirty_link);
        client_settle(client_of(conn), w->ts->now);
    }
}

/* Takes what has come; returns the number of connections in it. */
static int take(struct asker *a) {
    int listed = 0;
    ssize_t n;
    size_t from = a->text.len;
    while ((n = read(a->fd, buf_tail(&a->text, 65536), 65536)) > 0)
        a->text.len += (size_t)n;
    a->closed = n == 0;
    for (size_t i = from; i < a->text.len; i++)
        listed += a->text.data[i] == '(';
    return listed;
}

static void expect_each_once(struct world *w, const struct asker *a) {
    static int seen[MANY];
    unsigned port;
    memset(seen, 0, sizeof seen);
    for (const char *p = (const char *)a->text.data; (p = strstr(p, " /127.0.0.1:")) != NULL; p++) {
        ck_assert_int_eq(sscanf(p, " /127.0.0.1:%u[1](queued=0,recved=0,sent=0)\n", &port), 1);
        ck_assert(port >= 10000 && port - 10000 < MANY);
        seen[port - 10000]++;
    }
    for (int i = 0; i < MANY; i++)
        ck_assert_int_eq(seen[i], 1);
    ck_assert_uint_eq(w->ts->server->conn_count, MANY);
}

START_TEST(a_bounded_piece_per_turn) {
    struct world w;
    struct asker a;
    int turns = 0;
    world_open(&w);
    ask(&w, &a, "cons", 1 << 20);
    for (; !a.closed; turns++) {
        ck_assert_int_lt(turns, TURNS_MAX);
        turn(&w);
        ck_assert(words_waiting(w.net) == (w.net->word_count != 0));
        ck_assert_int_le(take(&a), LOOKS_PER_TURN);
    }
    ck_assert_int_ge(turns, MANY / LOOKS_PER_TURN);
    ck_assert_int_le(turns, MANY / LOOKS_PER_TURN + 3);
    buf_append(&a.text, "", 1);
    expect_each_once(&w, &a);
    ck_assert_ptr_nonnull(strstr((char *)a.text.data, " /10.0.0.1:99[0](queued=0,recved=1,sent=0)\n\n"));
    ck_assert_uint_eq(w.ts->server->metrics.packets_sent, 1);
    asker_close(&a);
    world_close(&w);
}
END_TEST

START_TEST(many_askers_share_a_turn) {
    struct world w;
    struct asker all[10];
    world_open(&w);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        ask(&w, &all[i], i % 2 != 0 ? "stat" : "cons", 1 << 20);
    for (size_t turns = 0, closed = 0; closed < ARRAY_LEN(all); turns++) {
        int listed = 0;
        ck_assert_uint_lt(turns, TURNS_MAX);
        turn(&w);
        closed = 0;
        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
            listed += take(&all[i]);
            closed += all[i].closed;
            ck_assert(turns < 2 * ARRAY_LEN(all) || all[i].text.len != 0); /* nobody waits for another to end */
        }
        ck_assert_int_le(listed, LOOKS_PER_TURN);
    }
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        asker_close(&all[i]);
    world_close(&w);
}
END_TEST

START_TEST(who_does_not_read_takes_bounded_memory) {
    struct world w;
    struct asker a;
    world_open(&w);
    ask(&w, &a, "cons", 4096);
    for (int i = 0; i < 100; i++)
        turn(&w);
    ck_assert(!words_waiting(w.net)); /* the loop may sleep */
    ck_assert_uint_ge(conn_output_bytes(a.client->conn), AHEAD_BYTES / 2);
    ck_assert_uint_le(a.client->conn->out.len, AHEAD_BYTES + 1000);
    for (int turns = 0; !a.closed; turns++) {
        ck_assert_int_lt(turns, TURNS_MAX);
        take(&a);
        turn(&w);
        if (w.net->word_count != 0)
            ck_assert_uint_le(a.client->conn->out.cap, 3 * AHEAD_BYTES); /* what was sent is forgotten */
    }
    buf_append(&a.text, "", 1);
    expect_each_once(&w, &a);
    asker_close(&a);
    world_close(&w);
}
END_TEST

/* dump keeps text of its own, which counts as unread output. */
START_TEST(the_output_limit_holds) {
    struct world w;
    struct asker a;
    world_open(&w);
    for (int i = 0; i < MANY; i++)
        testclient_new(w.ts, NULL);
    ask(&w, &a, "dump", 4096);
    for (int i = 0; i < 100; i++)
        turn(&w);
    ck_assert(list_empty(&w.net->clients));
    ck_assert_uint_eq(w.net->word_count, 0);
    ck_assert_uint_eq(w.ts->server->conn_count, 2 * MANY);
    asker_close(&a);
    world_close(&w);
}
END_TEST

START_TEST(askers_that_go_away) {
    static const char *const words[] = {"cons", "stat", "dump"};
    struct world w;
    struct asker a;
    world_open(&w);
    for (int i = 0; i < 15; i++) {
        ask(&w, &a, words[i % 3], 4096);
        for (int turns = 0; turns <= i * 3; turns++)
            turn(&w);
        asker_close(&a);
        for (int turns = 0; turns < 100; turns++)
            turn(&w);
        ck_assert_uint_eq(w.net->word_count, 0);
        ck_assert(list_empty(&w.net->clients));
    }
    ask(&w, &a, "cons", 4096); /* the server ends before the answer does */
    turn(&w);
    ck_assert_uint_eq(w.net->word_count, 1);
    world_close(&w);
    asker_close(&a);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("net_words");
    TCase *tc = tcase_create("long answers");
    tcase_add_test(tc, a_bounded_piece_per_turn);
    tcase_add_test(tc, many_askers_share_a_turn);
    tcase_add_test(tc, who_does_not_read_takes_bounded_memory);
    tcase_add_test(tc, the_output_limit_holds);
    tcase_add_test(tc, askers_that_go_away);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
