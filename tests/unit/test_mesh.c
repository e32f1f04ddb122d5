/* src/quorum/mesh: who dials whom, which connection stays, what is sent on it. See docs/protocol/election.md section 2. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "quorum/mesh.h"
#include "wire/election.h"

#define LINKS_MAX 512

/* A link that a test plays the other side of. */
struct fake {
    struct link link;
    struct buf in; /* received, not used up */
    size_t unsent;
    bool used, closed;
};

/* One mesh, and everything that it wanted done, as text. Links have numbers: dialled ones from the dial on, accepted ones from
 * the accept on. */
struct world {
    struct mesh *m;
    struct buf out;
    struct now now;
    struct fake links[LINKS_MAX];
    int count;
    bool refuse_dial;
    struct qconfig *committed, *last_seen;
};

static struct fake *add_link(struct world *w) {
    ck_assert_int_lt(w->count, LINKS_MAX);
    struct fake *f = &w->links[w->count++];
    *f = (struct fake){.used = true};
    snprintf(f->link.peer, sizeof(f->link.peer), "#%d", w->count - 1);
    return f;
}

static int number(const struct world *w, const struct link *l) {
    return (int)(CONTAINER_OF(l, const struct fake, link) - w->links);
}

static struct link *op_dial(void *ctx, const struct link_address *addresses, int count, int64_t timeout_ms,
                            const struct link_events *events, void *owner) {
    struct world *w = ctx;
    ck_assert_int_eq(timeout_ms, 5000);
    buf_printf(&w->out, "dial");
    for (int i = 0; i < count; i++)
        buf_printf(&w->out, " %s:%d", addresses[i].host, addresses[i].port);
    if (w->refuse_dial) {
        buf_printf(&w->out, " fails\n");
        return NULL;
    }
    struct fake *f = add_link(w);
    f->link.events = events;
    f->link.owner = owner;
    buf_printf(&w->out, " #%d\n", number(w, &f->link));
    return &f->link;
}

static void op_send(void *ctx, struct link *l, const void *data, size_t len) {
    struct world *w = ctx;
    const char *bytes = data;
    ck_assert(!CONTAINER_OF(l, struct fake, link)->closed);
    if (be32_load(data) == 0xffffffff)
        buf_printf(&w->out, "#%d hello %d %.*s\n", number(w, l), (int)be64_load(bytes + 8), (int)(len - 20), bytes + 20);
    else
        buf_printf(&w->out, "#%d \"%.*s\"\n", number(w, l), (int)be32_load(data), bytes + 4);
}

static void op_close(void *ctx, struct link *l) {
    struct world *w = ctx;
    struct fake *f = CONTAINER_OF(l, struct fake, link);
    ck_assert(!f->closed);
    f->closed = true;
    buf_printf(&w->out, "close #%d\n", number(w, l));
}

static size_t op_unsent(void *ctx, const struct link *l) {
    (void)ctx;
    return CONTAINER_OF(l, const struct fake, link)->unsent;
}

static void op_pause(void *ctx, struct link *l, bool paused) {
    (void)ctx, (void)l, (void)paused;
    ck_abort_msg("the mesh never pauses");
}

static void op_listen(void *ctx, enum link_port port, bool on) {
    ck_assert_int_eq(port, LINK_ELECTION);
    buf_printf(&((struct world *)ctx)->out, "listen %d\n", on);
}

static const struct link_ops ops = {.dial = op_dial, .send = op_send, .close = op_close, .unsent = op_unsent,
                                    .pause = op_pause, .listen = op_listen};

static void on_frame(void *ctx, int64_t sid, const uint8_t *data, size_t len) {
    buf_printf(&((struct world *)ctx)->out, "from %lld \"%.*s\"\n", (long long)sid, (int)len, (const char *)data);
}

static void on_connection(void *ctx, int64_t sid, bool up) {
    buf_printf(&((struct world *)ctx)->out, "%lld %s\n", (long long)sid, up ? "up" : "down");
}

static const struct mesh_env env = {on_frame, on_connection};

static struct qconfig *parse(const char *text) {
    char error[QCONFIG_ERROR_BYTES];
    struct qconfig *c = qconfig_parse(slice_of(text), true, error, sizeof(error));
    ck_assert_msg(c != NULL, "%s", error);
    return c;
}

#define MEMBERS "server.1=h1:2001:3001\nserver.2=h2:2002:3002|k2:2002:3012\nserver.3=h3:2003:3003\nserver.4=h4:2004:3004:observer"

static void expect(struct world *w, const char *text) {
    buf_append(&w->out, "", 1);
    ck_assert_str_eq((const char *)w->out.data, text);
    buf_clear(&w->out);
}

static struct world *start_with(struct mesh_options o, const char *committed, const char *last_seen) {
    static const struct link_address own[] = {{"me", 3333}, {"::1", 3334}};
    struct world *w = mem_calloc(1, sizeof(*w));
    o.addresses = own;
    o.address_count = 2;
    w->committed = parse(committed);
    w->last_seen = last_seen != NULL ? parse(last_seen) : NULL;
    w->m = mesh_new(&o, &ops, w, &env, w, w->committed, w->last_seen, w->now);
    expect(w, "listen 1\n");
    return w;
}

static struct world *start(int64_t sid) { return start_with((struct mesh_options){.sid = sid}, MEMBERS, NULL); }

/* Everything that was opened is closed at the end. */
static void stop(struct world *w) {
    mesh_free(w->m);
    for (int i = 0; i < w->count; i++) {
        ck_assert_msg(w->links[i].closed, "link #%d is open", i);
        buf_free(&w->links[i].in);
    }
    qconfig_unref(w->committed);
    qconfig_unref(w->last_seen);
    buf_free(&w->out);
    mem_free(w);
}

static void pass(struct world *w, int64_t ms) {
    w->now.mono = mono_add_ms(w->now.mono, ms);
    mesh_tick(w->m, w->now);
}

static int accepted(struct world *w) {
    struct fake *f = add_link(w);
    mesh_accepted(w->m, &f->link, w->now);
    return w->count - 1;
}

static void opened(struct world *w, int i) { w->links[i].link.events->opened(&w->links[i].link); }

static void ended(struct world *w, int i) {
    struct fake *f = &w->links[i];
    ck_assert(!f->closed);
    f->closed = true;
    f->link.events->closed(&f->link, "told so by the test");
}

static void bytes(struct world *w, int i, const void *data, size_t len) {
    struct fake *f = &w->links[i];
    ck_assert(!f->closed);
    buf_append(&f->in, data, len);
    uint8_t *copy = mem_dup(f->in.data, f->in.len); /* of exactly that size, for the address sanitizer */
    size_t used = f->link.events->received(&f->link, copy, f->in.len);
    mem_free(copy);
    ck_assert_uint_le(used, f->in.len);
    buf_consume(&f->in, used);
}

static void hello(struct world *w, int i, int64_t sid, const char *text) {
    struct buf b = BUF_INIT;
    jute_put_long(&b, HELLO_V1);
    jute_put_long(&b, sid);
    jute_put_bytes(&b, slice_of(text));
    bytes(w, i, b.data, b.len);
    buf_free(&b);
}

static void frame(struct world *w, int i, const char *text) {
    struct buf b = BUF_INIT;
    jute_put_bytes(&b, slice_of(text));
    bytes(w, i, b.data, b.len);
    buf_free(&b);
}

static void say(struct world *w, int64_t sid, const char *text) { mesh_send(w->m, sid, text, strlen(text)); }

/* -------- dialling -------- */

START_TEST(to_a_smaller_sid) {
    struct world *w = start(3);
    ck_assert(!mesh_has_delivered(w->m));
    say(w, 1, "a");
    expect(w, "dial h1:3001 #0\n");
    ck_assert(!mesh_connected(w->m, 1) && !mesh_has_delivered(w->m));
    say(w, 1, "b"); /* takes the place of a; there is one attempt */
    opened(w, 0);
    expect(w, "#0 hello 3 me:3333\n#0 \"b\"\n1 up\n");
    ck_assert(mesh_connected(w->m, 1) && mesh_has_delivered(w->m));
    say(w, 1, "c");
    frame(w, 0, "x");
    expect(w, "#0 \"c\"\nfrom 1 \"x\"\n");
    ended(w, 0);
    expect(w, "1 down\n");
    say(w, 1, "d"); /* a connection that ended is made again when there is something to say */
    opened(w, 1);
    expect(w, "dial h1:3001 #1\n#1 hello 3 me:3333\n#1 \"d\"\n1 up\n");
    stop(w);
}
END_TEST

START_TEST(to_a_larger_sid) {
    struct world *w = start(1);
    say(w, 3, "a");
    opened(w, 0);
    expect(w, "dial h3:3003 #0\n#0 hello 1 me:3333\nclose #0\n");
    ck_assert(mesh_expected(w->m, 3) && !mesh_expected(w->m, 2));
    say(w, 3, "b"); /* the other side is about to call: no second signal */
    expect(w, "");
    hello(w, accepted(w), 3, "h3:3003");
    expect(w, "#1 \"b\"\n3 up\n");
    ck_assert_int_eq(mesh_deadline(w->m).us, INT64_MAX);
    stop(w);

    w = start(1); /* it did not call */
    say(w, 3, "a");
    opened(w, 0);
    say(w, 3, "b");
    buf_clear(&w->out);
    pass(w, 99);
    expect(w, "");
    ck_assert_int_eq(mesh_deadline(w->m).us, 100000);
    pass(w, 1);
    expect(w, "dial h3:3003 #1\n");
    stop(w);
}
END_TEST

START_TEST(several_addresses) {
    struct world *w = start_with((struct mesh_options){.sid = 3, .multi_address = true}, MEMBERS, NULL);
    say(w, 2, "a");
    opened(w, 0);
    expect(w, "dial h2:3002 k2:3012 #0\n#0 hello 3 me:3333|[::1]:3334\n#0 \"a\"\n2 up\n");
    stop(w);
}
END_TEST

START_TEST(back_off) {
    struct world *w = start(3);
    int64_t wait = 100;
    say(w, 1, "a");
    expect(w, "dial h1:3001 #0\n");
    for (int i = 0; i < 8; i++) {
        char text[40];
        ended(w, i);
        pass(w, wait - 1);
        say(w, 1, "b"); /* asked for meanwhile: made when the wait is over */
        expect(w, "");
        pass(w, 1);
        snprintf(text, sizeof(text), "dial h1:3001 #%d\n", i + 1);
        expect(w, text);
        wait = i64_min(2 * wait, 2000);
    }
    ended(w, 8);
    pass(w, 100000); /* and not if nobody asks */
    expect(w, "");
    mesh_connect_all(w->m);
    expect(w, "dial h1:3001 #9\n");
    opened(w, 9);
    frame(w, 9, "x");
    ended(w, 9);
    say(w, 1, "c");
    opened(w, 10); /* it has spoken: back to the start */
    ended(w, 10);
    buf_clear(&w->out);
    w->refuse_dial = true;
    say(w, 1, "d");
    expect(w, "dial h1:3001 fails\n");
    w->refuse_dial = false;
    say(w, 1, "e");
    pass(w, 100);
    expect(w, "dial h1:3001 #11\n");
    stop(w);
}
END_TEST

/* Section 2.3. */
START_TEST(two_configurations) {
    struct world *w = start_with((struct mesh_options){.sid = 9}, MEMBERS, MEMBERS "\nserver.5=h5:2005:3005\nversion=7");
    say(w, 5, "a");
    say(w, 77, "a");
    expect(w, "dial h5:3005 #0\n");
    stop(w);

    w = start_with((struct mesh_options){.sid = 9}, "server.1=h1:2001:3001\nserver.2=h2:2002:3002",
                   "server.1=new:2001:3001\nserver.2=h2:2002:3002\nversion=7");
    say(w, 1, "a");
    ended(w, 0);
    say(w, 1, "a");
    pass(w, 100);
    expect(w, "dial h1:3001 #0\ndial new:3001 #1\n");
    qconfig_unref(w->committed);
    w->committed = parse("server.2=h2:2002:3002\nserver.3=h3:2003:3003\nversion=7");
    mesh_set_configs(w->m, w->committed, NULL);
    ended(w, 1);
    say(w, 1, "a"); /* not a member any more */
    pass(w, 10000);
    expect(w, "");
    stop(w);
}
END_TEST

/* -------- being called -------- */

START_TEST(by_a_larger_sid) {
    struct world *w = start(2);
    hello(w, accepted(w), 3, "h3:3003");
    frame(w, 0, "x");
    expect(w, "3 up\nfrom 3 \"x\"\n");
    ck_assert(mesh_has_delivered(w->m)); /* there is a queue, and nothing in it */
    say(w, 3, "a");
    hello(w, accepted(w), 3, "h3:3003"); /* a newer one takes its place; what was sent last is sent again */
    expect(w, "#0 \"a\"\nclose #0\n#1 \"a\"\n");
    ck_assert(mesh_connected(w->m, 3));
    ended(w, 1);
    expect(w, "3 down\n");
    stop(w);
}
END_TEST

/* An attempt of our own would end the connection as soon as it was accepted over there. */
START_TEST(by_a_larger_sid_that_is_being_dialled) {
    struct world *w = start(2);
    say(w, 3, "a");
    hello(w, accepted(w), 3, "h3:3003");
    expect(w, "dial h3:3003 #0\nclose #0\n#1 \"a\"\n3 up\n");
    stop(w);
}
END_TEST

/* Who came when it was called, and went right away, is not waited for. */
START_TEST(called_and_gone_again) {
    struct world *w = start(2);
    say(w, 3, "a");
    opened(w, 0);
    ck_assert(mesh_expected(w->m, 3) && !mesh_connected(w->m, 3));
    hello(w, accepted(w), 3, "h3:3003");
    ck_assert(mesh_expected(w->m, 3) && mesh_connected(w->m, 3));
    ended(w, 1);
    ck_assert(!mesh_connected(w->m, 3));
    ck_assert(!mesh_expected(w->m, 3));
    stop(w);
}
END_TEST

START_TEST(by_a_smaller_sid) {
    struct world *w = start(3);
    hello(w, accepted(w), 1, "elsewhere:1234");
    expect(w, "dial elsewhere:1234 #1\nclose #0\n");
    opened(w, 1);
    say(w, 1, "a");
    expect(w, "#1 hello 3 me:3333\n1 up\n#1 \"a\"\n");
    pass(w, 249);
    hello(w, accepted(w), 1, "h1:3001"); /* crossed with our own call */
    expect(w, "close #2\n");
    pass(w, 1);
    hello(w, accepted(w), 1, "h1:3001"); /* it has restarted, perhaps: the old one goes */
    expect(w, "close #1\ndial h1:3001 #4\n1 down\nclose #3\n");
    ck_assert(!mesh_connected(w->m, 1) && mesh_expected(w->m, 1));
    hello(w, accepted(w), 1, "again:3001"); /* one attempt */
    expect(w, "close #5\n");
    ended(w, 4);
    ck_assert(!mesh_expected(w->m, 1));
    pass(w, 100); /* then the address it told last */
    expect(w, "dial again:3001 #6\n");
    opened(w, 6);
    expect(w, "#6 hello 3 me:3333\n#6 \"a\"\n1 up\n");
    ck_assert(mesh_expected(w->m, 1));
    stop(w);

    w = start(3); /* no address in it: that of the configuration */
    hello(w, accepted(w), 1, "0.0.0.0:1234");
    expect(w, "dial h1:3001 #1\nclose #0\n");
    stop(w);

    w = start(3); /* an old server's bare sid */
    bytes(w, accepted(w), "\0\0\0\0\0\0\0\1", 8);
    expect(w, "dial h1:3001 #1\nclose #0\n");
    stop(w);
}
END_TEST

/* Its call ends a long wait. */
START_TEST(call_shortens_the_back_off) {
    struct world *w = start(3);
    say(w, 1, "a");
    for (int i = 0; i < 6; i++) {
        ended(w, i);
        say(w, 1, "a");
        pass(w, 2000);
    }
    ended(w, 6);
    buf_clear(&w->out);
    hello(w, accepted(w), 1, "h1:3001");
    expect(w, "close #7\n");
    pass(w, 100);
    expect(w, "dial h1:3001 #8\n");
    stop(w);
}
END_TEST

START_TEST(own_sid) {
    struct world *w = start(3);
    hello(w, accepted(w), 3, "h3:3003");
    say(w, 3, "a");
    expect(w, "close #0\n");
    stop(w);
}
END_TEST

START_TEST(strangers) {
    struct world *w = start_with((struct mesh_options){.sid = 3, .strangers_max = 2}, MEMBERS, NULL);
    say(w, 77, "a"); /* nobody knows where it is */
    expect(w, "");
    hello(w, accepted(w), 77, "joiner:1"); /* larger: this connection */
    say(w, 77, "a");
    frame(w, 0, "x");
    expect(w, "77 up\n#0 \"a\"\nfrom 77 \"x\"\n");
    hello(w, accepted(w), 0, "joiner:2"); /* smaller: the address that it told */
    opened(w, 2);
    say(w, 0, "b");
    expect(w, "dial joiner:2 #2\nclose #1\n#2 hello 3 me:3333\n0 up\n#2 \"b\"\n");
    hello(w, accepted(w), 78, "joiner:3"); /* too many */
    hello(w, accepted(w), 1, "h1:1");      /* not a stranger */
    expect(w, "close #3\ndial h1:1 #5\nclose #4\n");
    ended(w, 0); /* it is forgotten, so there is room */
    hello(w, accepted(w), 78, "joiner:3");
    expect(w, "77 down\n78 up\n");
    ended(w, 2);
    say(w, 0, "c");
    expect(w, "0 down\n");
    hello(w, accepted(w), 0, "0.0.0.0:0"); /* no address, not configured: nothing can be done */
    expect(w, "close #7\n");
    stop(w);
}
END_TEST

/* -------- frames -------- */

START_TEST(in_pieces) {
    struct world *w = start(2);
    struct buf b = BUF_INIT;
    int i = accepted(w);
    jute_put_long(&b, HELLO_V1);
    jute_put_long(&b, 3);
    jute_put_bytes(&b, SLICE_LIT("h3:3003"));
    jute_put_bytes(&b, SLICE_LIT("one"));
    jute_put_bytes(&b, SLICE_LIT("two"));
    for (size_t k = 0; k < b.len; k++)
        bytes(w, i, b.data + k, 1);
    expect(w, "3 up\nfrom 3 \"one\"\nfrom 3 \"two\"\n");
    i = accepted(w);
    bytes(w, i, b.data, b.len); /* all at once */
    expect(w, "close #0\nfrom 3 \"one\"\nfrom 3 \"two\"\n");
    buf_free(&b);
    stop(w);
}
END_TEST

START_TEST(bounds_of_frames) {
    static const int32_t lengths[] = {0, -1, NOTIFICATION_FRAME_MAX + 1, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct world *w = start(2);
        uint8_t length[4];
        be32_store(length, (uint32_t)lengths[i]);
        hello(w, accepted(w), i % 2 == 0 ? 3 : 77, "h3:3003");
        buf_clear(&w->out);
        bytes(w, 0, length, 4);
        expect(w, i % 2 == 0 ? "close #0\n3 down\n" : "close #0\n77 down\n");
        stop(w);
    }
    struct world *w = start(2);
    uint8_t *whole = mem_calloc(1, 4 + NOTIFICATION_FRAME_MAX);
    be32_store(whole, NOTIFICATION_FRAME_MAX);
    hello(w, accepted(w), 3, "h3:3003");
    bytes(w, 0, whole, 4 + NOTIFICATION_FRAME_MAX);
    expect(w, "3 up\nfrom 3 \"\"\n");
    mem_free(whole);
    stop(w);
}
END_TEST

/* A peer that does not read: the newest message waits. */
START_TEST(peer_that_does_not_read) {
    struct world *w = start(2);
    hello(w, accepted(w), 3, "h3:3003");
    w->links[0].unsent = 65537;
    say(w, 3, "a");
    say(w, 3, "b");
    expect(w, "3 up\n");
    ck_assert(!mesh_has_delivered(w->m));
    ck_assert_int_eq(mesh_deadline(w->m).us, 20000);
    w->links[0].unsent = 65536;
    pass(w, 20);
    expect(w, "#0 \"b\"\n");
    stop(w);
}
END_TEST

/* -------- who does not say who he is -------- */

START_TEST(garbage) {
    static const struct slice inputs[] = {
        SLICE_LIT("GET / HTTP/1.1\r\n\r\n"),
        SLICE_LIT("\xff\xff\xff\xff\xff\xff\x00\x02"),
        SLICE_LIT("\x16\x03\x01\x02\x00\x01\x00\x01"),
        SLICE_LIT("\0\0\0\0\0\0\1\0"), /* 256: no session id has room for it */
    };
    for (size_t i = 0; i < ARRAY_LEN(inputs); i++) {
        struct world *w = start(2);
        bytes(w, accepted(w), inputs[i].data, inputs[i].len);
        expect(w, "close #0\n");
        ck_assert_int_eq(mesh_unidentified(w->m), 0);
        stop(w);
    }
}
END_TEST

START_TEST(silent_peers) {
    struct world *w = start_with((struct mesh_options){.sid = 2, .unidentified_max = 3, .handshake_timeout_ms = 700}, MEMBERS, NULL);
    for (int i = 0; i < 4; i++) {
        accepted(w);
        pass(w, 100);
    }
    expect(w, "close #0\n"); /* the oldest had to go */
    ck_assert_int_eq(mesh_unidentified(w->m), 3);
    ck_assert_int_eq(mesh_deadline(w->m).us, 800000);
    bytes(w, 2, "\xff\xff\xff\xff\xff\xff\0\0\0", 9);
    ended(w, 3);
    pass(w, 399);
    expect(w, "");
    pass(w, 1);
    expect(w, "close #1\n");
    hello(w, accepted(w), 3, "h3:3003");
    pass(w, 100);
    expect(w, "3 up\nclose #2\n");
    pass(w, 100000); /* who has said it may be silent */
    expect(w, "");
    stop(w);
}
END_TEST

int main(void) {
    Suite *s = suite_create("quorum/mesh");
    TCase *t = tcase_create("dialling");
    tcase_add_test(t, to_a_smaller_sid);
    tcase_add_test(t, to_a_larger_sid);
    tcase_add_test(t, several_addresses);
    tcase_add_test(t, back_off);
    tcase_add_test(t, two_configurations);
    suite_add_tcase(s, t);
    t = tcase_create("being called");
    tcase_add_test(t, by_a_larger_sid);
    tcase_add_test(t, by_a_larger_sid_that_is_being_dialled);
    tcase_add_test(t, called_and_gone_again);
    tcase_add_test(t, by_a_smaller_sid);
    tcase_add_test(t, call_shortens_the_back_off);
    tcase_add_test(t, own_sid);
    tcase_add_test(t, strangers);
    suite_add_tcase(s, t);
    t = tcase_create("frames");
    tcase_add_test(t, in_pieces);
    tcase_add_test(t, bounds_of_frames);
    tcase_add_test(t, peer_that_does_not_read);
    suite_add_tcase(s, t);
    t = tcase_create("unidentified");
    tcase_add_test(t, garbage);
    tcase_add_test(t, silent_peers);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
