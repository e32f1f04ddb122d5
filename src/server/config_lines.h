/* Lines of a properties file: the grammar is told in config_parse.c. */
#ifndef ZABRA_SERVER_CONFIG_LINES_H
#define ZABRA_SERVER_CONFIG_LINES_H

#include "base/buf.h"
#include "base/strutil.h"

struct line_reader {
    const char *p, *end;
    const char *line; /* where the last logical line begins in the text, leading blanks included */
    int number;       /* of the line at p, from 1 */
};

/* At the first line, behind the mark that some editors put before UTF-8. */
struct line_reader line_reader_at(struct slice text);
/* The next line with something in it, continuations joined and escapes as they are. False at the end. */
bool line_next(struct line_reader *r, struct buf *out, int *number);
/* Cuts a logical line into name and value, escapes as they are. */
void line_split(struct slice line, struct slice *name, struct slice *value);

#endif
