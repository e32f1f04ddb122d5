#include "net/words.h"

#define MASK_BYTES 8

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
        net->word_answer(net->server, word, has_mask ? (int64_t)be64_load(data + 4) : 0, out);
    }
    conn_close_later(c->conn, CONN_CLOSE_FLUSH);
    return WORD_DONE;
}
