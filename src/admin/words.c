#include "admin/words.h"

#include "admin/answers.h"

#define NOT_SERVING "This ZooKeeper instance is not currently serving requests"

static void ruok(struct server *s, struct buf *out) {
    (void)s;
    buf_printf(out, "imok");
}

static void isro(struct server *s, struct buf *out) { buf_printf(out, s->state == SERVER_RUNNING ? "rw" : "null"); }

static void gtmk(struct server *s, struct buf *out) { buf_printf(out, "%lld", (long long)s->trace_mask); }

static const struct {
    const char *word;
    void (*answer)(struct server *s, struct buf *out);
    const char *not_serving; /* the answer while the server does not serve; NULL = as ever */
} words[] = {
    {"conf", conf_conf, NOT_SERVING "\n"}, {"cons", stat_cons, NOT_SERVING "\n"}, {"crst", stat_crst, NOT_SERVING "\n"},
    {"dirs", conf_dirs, NOT_SERVING "\n"}, {"dump", dump_dump, NOT_SERVING "\n"}, {"envi", conf_envi, NULL},
    {"gtmk", gtmk, NULL},                  {"hash", hash_hash, NOT_SERVING},      {"isro", isro, NULL},
    {"mntr", mntr_mntr, NOT_SERVING "\n"}, {"ruok", ruok, NULL},                  {"srst", stat_srst, NOT_SERVING "\n"},
    {"srvr", stat_srvr, NOT_SERVING "\n"}, {"stat", stat_stat, NOT_SERVING "\n"}, {"stmk", gtmk, NULL},
    {"wchc", dump_wchc, NOT_SERVING "\n"}, {"wchp", dump_wchp, NOT_SERVING "\n"}, {"wchs", dump_wchs, NOT_SERVING "\n"},
};

void admin_word(struct server *s, const char *word, int64_t mask, struct buf *out) {
    if (strcmp(word, "stmk") == 0)
        s->trace_mask = mask;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(word, words[i].word) != 0)
            continue;
        if (s->state != SERVER_RUNNING && words[i].not_serving != NULL)
            buf_append(out, words[i].not_serving, strlen(words[i].not_serving));
        else
            words[i].answer(s, out);
        s->metrics.packets_sent++; /* the next one sees it, as with ZooKeeper */
        return;
    }
}
