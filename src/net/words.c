#include "net/words.h"

#include "base/mem.h"

#define MASK_BYTES 8
/* Connections, sessions or znodes looked at per turn for all answers together: about a millisecond. */
#define LOOKS_PER_TURN 1000
/* An answer goes on when less than this is left to send. */
#define AHEAD_BYTES (128 * 1024)

/* A word whose answer is given out over several turns. */
struct word {
    struct list link; /* net->words */
    struct client *client;
    struct answer *answer;
};

static const char *const known[] = {"conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "isro", "mntr", "ruok",
                                    "srst", "srvr", "stat", "stmk", "wchc", "wchp", "wchs", "hash"};

/* What a telnet client sends for an interrupt. */
static const uint8_t telnet_close[4] = {0xff, 0xf4, 0xff, 0xfd};

static const char *find(const uint8_t *data) {
    if (memcmp(data, telnet_close, 4) == 0)
        return "telnet close";
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (memcmp(data, known[i], 4) == 0)
            return known[i];
    return NULL;
}

/* ------------------------------------------------------------------ long answers */

static void begin(struct client *c, struct answer *answer) {
    struct word *w = mem_calloc(1, sizeof *w);
    *w = (struct word){.client = c, .answer = answer};
    list_push(&c->net->words, &w->link);
    c->net->word_count++;
    c->word = w;
}

void words_end(struct client *c) {
    struct word *w = c->word;
    if (w == NULL)
        return;
    w->answer->free(w->answer);
    list_remove(&w->link);
    c->net->word_count--;
    c->word = NULL;
    mem_free(w);
}

size_t words_held_bytes(const struct client *c) { return c->word != NULL ? c->word->answer->held_bytes : 0; }

static bool has_room(const struct word *w) {
    const struct conn *conn = w->client->conn;
    return conn->close == CONN_OPEN && conn->out.len - conn->out_sent < AHEAD_BYTES;
}

static void go_on(struct word *w, int *looks) {
    struct client *c = w->client;
    conn_forget_sent(c->conn);
    bool done = w->answer->next(w->answer, conn_out(c->conn), AHEAD_BYTES, looks);
    conn_dirty(c->conn);
    if (!done)
        return;
    words_end(c);
    c->net->server->metrics.packets_sent++;
    conn_close_later(c->conn, CONN_CLOSE_FLUSH);
}

/* Each word once, in rotation. */
void words_turn(struct net *net) {
    int looks = LOOKS_PER_TURN;
    for (size_t n = net->word_count; n > 0 && looks > 0; n--) {
        struct word *w = LIST_FIRST(&net->words, struct word, link);
        list_remove(&w->link);
        list_push(&net->words, &w->link);
        if (has_room(w))
            go_on(w, &looks);
    }
}

bool words_waiting(const struct net *net) {
    for (const struct list *l = net->words.next; l != &net->words; l = l->next)
        if (has_room(CONTAINER_OF(l, struct word, link)))
            return true;
    return false;
}

/* ------------------------------------------------------------------ what was asked */

enum word_result words_try(struct client *c, const uint8_t *data, size_t len) {
    const char *word = find(data);
    struct net *net = c->net;
    if (word == NULL)
        return WORD_NONE;
    bool allowed = config_word_allowed(net->config, word);
    bool has_mask = strcmp(word, "stmk") == 0;
    if (has_mask && allowed && len < 4 + MASK_BYTES)
        return WORD_INCOMPLETE;
    c->conn->received++;
    net->server->metrics.packets_received++;
    struct buf *out = conn_out(c->conn);
    if (!allowed) {
        log_info("%s: the word %s is not in 4lw.commands.whitelist", c->conn->peer, word);
        buf_printf(out, "%s is not executed because it is not in the whitelist.\n", word);
    } else if (memcmp(data, telnet_close, 4) != 0) {
        struct answer *answer = net->answer_word(net->server, word, has_mask ? (int64_t)be64_load(data + 4) : 0, out);
        if (answer != NULL) {
            begin(c, answer);
            return WORD_DONE;
        }
        net->server->metrics.packets_sent++; /* the next one sees it, as with ZooKeeper */
    }
    conn_close_later(c->conn, CONN_CLOSE_FLUSH);
    return WORD_DONE;
}
