/* hash: the tree's digest at the zxids that are divisible by 128, for comparing servers with each other. */
#include "admin/answers.h"

void hash_hash(struct server *s, struct buf *out) {
    uint64_t first = s->digests_seen - size_min(s->digests_seen, ARRAY_LEN(s->digest_log));
    for (uint64_t i = first; i < s->digests_seen; i++) {
        size_t slot = i % ARRAY_LEN(s->digest_log);
        /* A Java long: signed. */
        buf_printf(out, "%llx: %lld\n", (unsigned long long)s->digest_log[slot].zxid,
                   (long long)s->digest_log[slot].digest);
    }
}
