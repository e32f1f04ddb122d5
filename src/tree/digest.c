/* CRC-32 of nodes. Every change of a node takes two over its stat and one over path and data, always of a few dozen
 * bytes; zlib is slow at that size, so where the processor can multiply without carry that is used. */
#include <zlib.h>

#include "tree/tree_internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define CRC_FOLD_MIN 16

/* Folding as in "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Gopal et al., Intel, 2009),
 * 16 bytes a step, with the constants of the bit-reflected CRC-32. */
__attribute__((target("pclmul,sse4.1"))) static __m128i fold(__m128i sum, __m128i next) {
    const __m128i k = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    __m128i low = _mm_clmulepi64_si128(sum, k, 0x00), high = _mm_clmulepi64_si128(sum, k, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* 128 bits to 64, then Barrett reduction to 32. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t reduce(__m128i sum) {
    const __m128i k = _mm_set_epi64x(0x0ccaa009e, 0x163cd6124), poly = _mm_set_epi64x(0x1f7011641, 0x1db710641);
    const __m128i mask = _mm_set_epi32(0, -1, 0, -1);
    sum = _mm_xor_si128(_mm_srli_si128(sum, 8), _mm_clmulepi64_si128(sum, k, 0x10));
    sum = _mm_xor_si128(_mm_srli_si128(sum, 4), _mm_clmulepi64_si128(_mm_and_si128(sum, mask), k, 0x00));
    __m128i q = _mm_and_si128(_mm_clmulepi64_si128(_mm_and_si128(sum, mask), poly, 0x10), mask);
    sum = _mm_xor_si128(sum, _mm_clmulepi64_si128(q, poly, 0x00));
    return (uint32_t)_mm_extract_epi32(sum, 1);
}

/* Shuffle masks: read 16 - n bytes into this one moves bytes up by n, read 16 + n bytes into it down by n. */
#define MASK_NONE 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128
static const uint8_t shift_masks[48] = {MASK_NONE, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, MASK_NONE};

__attribute__((target("pclmul,sse4.1"))) static __m128i load(const uint8_t *p) {
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* size >= CRC_FOLD_MIN. The message is taken as if zeros stood before it, so that it ends with a full block: zeros do
 * not count as long as the initial value is put where the message begins (it may reach into the second block). */
__attribute__((target("pclmul,sse4.1"))) static uint32_t crc_fold(uint32_t crc, const uint8_t *p, size_t size) {
    size_t pad = -size & 15, first = 16 - pad;
    __m128i up = load(shift_masks + 16 - pad), start = _mm_cvtsi32_si128((int)~crc);
    __m128i sum = _mm_shuffle_epi8(_mm_xor_si128(load(p), start), up);
    if (first < size)
        sum = fold(sum, _mm_xor_si128(load(p + first), _mm_shuffle_epi8(start, load(shift_masks + 16 + first))));
    for (size_t i = first + 16; i < size; i += 16)
        sum = fold(sum, load(p + i));
    return ~reduce(sum);
}

static bool can_fold(void) { return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1"); }
#endif

static uint32_t crc_update(uint32_t crc, const void *data, size_t size) {
#if defined(__x86_64__)
    if (size >= CRC_FOLD_MIN && can_fold())
        return crc_fold(crc, data, size);
#endif
    return size == 0 ? crc : (uint32_t)crc32_z(crc, data, size);
}

uint32_t digest_crc(struct slice path, struct slice data) {
    /* Java's root has the empty path, whatever a client calls it. */
    uint32_t crc = slice_is(path, "/") ? 0 : crc_update(0, path.data, path.len);
    return crc_update(crc, data.data, data.len);
}

uint32_t digest_node(uint32_t crc, const struct node_stat *stat) {
    uint8_t bytes[60], *p = bytes;
    /* pzxid is the third here, unlike in the persisted stat. */
    p = be64_store(p, (uint64_t)stat->czxid);
    p = be64_store(p, (uint64_t)stat->mzxid);
    p = be64_store(p, (uint64_t)stat->pzxid);
    p = be64_store(p, (uint64_t)stat->ctime);
    p = be64_store(p, (uint64_t)stat->mtime);
    p = be32_store(p, (uint32_t)stat->version);
    p = be32_store(p, (uint32_t)stat->cversion);
    p = be32_store(p, (uint32_t)stat->aversion);
    be64_store(p, (uint64_t)stat->owner);
    return crc_update(crc, bytes, sizeof bytes);
}

void digest_refresh(const struct tree *t, struct znode *n, struct slice path) {
    if (t->options.digest_enabled)
        n->crc = digest_crc(path, znode_data(n));
}

uint32_t digest_share(const struct tree *t, const struct znode *n) {
    if (!t->options.digest_enabled || n->flags & ZNODE_SYSTEM)
        return 0;
    struct node_stat stat;
    znode_stat(n, &stat);
    return digest_node(n->crc, &stat);
}
