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
    const char *not_serving; /* the answer while the server does not serve; NULL = as ever */
    void (*answer)(struct server *s, struct buf *out);
    struct answer *(*begin)(struct server *s); /* of a long one */
} words[] = {
    {"conf", NOT_SERVING "\n", conf_conf, NULL}, {"cons", NOT_SERVING "\n", NULL, stat_cons},
    {"crst", NOT_SERVING "\n", NULL, stat_crst}, {"dirs", NOT_SERVING "\n", conf_dirs, NULL},
    {"dump", NOT_SERVING "\n", NULL, dump_dump}, {"envi", NULL, conf_envi, NULL},
    {"gtmk", NULL, gtmk, NULL},                  {"hash", NOT_SERVING, hash_hash, NULL},
    {"isro", NULL, isro, NULL},                  {"mntr", NOT_SERVING "\n", NULL, mntr_mntr},
    {"ruok", NULL, ruok, NULL},                  {"srst", NOT_SERVING "\n", stat_srst, NULL},
    {"srvr", NOT_SERVING "\n", stat_srvr, NULL}, {"stat", NOT_SERVING "\n", NULL, stat_stat},
    {"stmk", NULL, gtmk, NULL},                  {"wchc", NOT_SERVING "\n", NULL, dump_wchc},
    {"wchp", NOT_SERVING "\n", NULL, dump_wchp}, {"wchs", NOT_SERVING "\n", NULL, dump_wchs},
};

struct answer *admin_word(struct server *s, const char *word, int64_t mask, struct buf *out) {
    if (strcmp(word, "stmk") == 0)
        s->trace_mask = mask;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(word, words[i].word) != 0)
            continue;
        if (s->state != SERVER_RUNNING && words[i].not_serving != NULL)
            buf_append(out, words[i].not_serving, strlen(words[i].not_serving));
        else if (words[i].begin != NULL)
            return words[i].begin(s);
        else
            words[i].answer(s, out);
        return NULL;
    }
    return NULL;
}
