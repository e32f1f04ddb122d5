/* One function per four-letter word, for the table in words.c. They append to out, or begin a long answer; the server is
 * running unless said otherwise. To add a word: a function here, a row there, and its name in net/words.c. */
#ifndef ZABRA_ADMIN_ANSWERS_H
#define ZABRA_ADMIN_ANSWERS_H

#include "net/answer.h"

/* stat.c: the server and its connections. */
void stat_srvr(struct server *s, struct buf *out);
struct answer *stat_stat(struct server *s);
struct answer *stat_cons(struct server *s);
struct answer *stat_crst(struct server *s);
void stat_srst(struct server *s, struct buf *out);
/* What this server is just now: the text behind "Mode:". */
const char *stat_mode(const struct server *s);
/* A sum of us over count requests as mean milliseconds. */
double stat_mean_ms(uint64_t sum_us, uint64_t count);

/* dump.c: sessions, ephemerals, watches. */
struct answer *dump_dump(struct server *s);
struct answer *dump_wchs(struct server *s);
struct answer *dump_wchc(struct server *s);
struct answer *dump_wchp(struct server *s);

/* conf.c: configuration, directories and environment. */
void conf_conf(struct server *s, struct buf *out);
void conf_dirs(struct server *s, struct buf *out);
void conf_envi(struct server *s, struct buf *out); /* in any state of the server */

/* mntr.c, hash.c */
struct answer *mntr_mntr(struct server *s);
void hash_hash(struct server *s, struct buf *out);

#endif
