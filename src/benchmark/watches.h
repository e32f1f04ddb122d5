/* Sets many data watches per connection: connection i watches the --watches consecutive znodes of the keyspace from
 * i * --watches on (wrapping). With a keyspace of at least clients x watches they are all distinct; with a small one
 * many sessions watch the same znodes. */
#ifndef ZABRA_BENCHMARK_WATCHES_H
#define ZABRA_BENCHMARK_WATCHES_H

#include "benchmark/pool.h"

struct watches {
    struct bench *bench;
    uint64_t per_conn;
    bool bulk; /* setWatches2, otherwise one getData each */
    struct watch_progress {
        uint64_t sent, set;
    } * progress; /* per connection */
    uint64_t set; /* of all connections */
};

void watches_init(struct watches *w, struct bench *b, size_t conns);
void watches_free(struct watches *w);
/* Begins (again) to set the watches of an open connection. */
void watches_begin(struct watches *w, struct conn *c, int64_t now_ns);
/* To be called with every reply. Returns true when the last watch of this connection is set. */
bool watches_reply(struct watches *w, struct conn *c, const struct op *op, int64_t now_ns);
/* True if connection index watches the znode with this number. */
bool watches_cover(const struct watches *w, size_t index, uint64_t key);

#endif
