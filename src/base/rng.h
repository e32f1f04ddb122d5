/* A small seeded generator (splitmix64). Everything random in the pure floors comes from one of these, so that a run can
 * be replayed from its seed. */
#ifndef ZABRA_BASE_RNG_H
#define ZABRA_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *r) {
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Uniform in [0, bound); 0 for bound 0. */
static inline uint64_t rng_below(struct rng *r, uint64_t bound) { return bound == 0 ? 0 : rng_next(r) % bound; }

/* Uniform in [0, 1). */
static inline double rng_unit(struct rng *r) { return (double)(rng_next(r) >> 11) / 9007199254740992.0; }

#endif
