/* Softmax numerators with AVX-512: the parts that do not depend on how EXP is looked up. To be
   included inside a target (target.h) that has AVX-512 F, BW and VL, after the headers below. */
#ifndef QUASAR_NUMERATORS_AVX512_H
#define QUASAR_NUMERATORS_AVX512_H

#include "vector_avx512.h"

#include <immintrin.h>

/* The first `keys - j` of 16 lanes. */
static inline __mmask16 q_lanes(uint32_t j, uint32_t keys) {
    return j >= keys ? 0 : keys - j >= 16 ? 0xffff : (__mmask16)((1u << (keys - j)) - 1);
}

static inline int32_t q_row_max(const int32_t *s, uint32_t keys) {
    const __m512i least = _mm512_set1_epi32(INT32_MIN);
    __m512i most = least;
    uint32_t j = 0;
    for (; j + 16 <= keys; j += 16)
        most = _mm512_max_epi32(most, _mm512_load_si512(s + j));
    most = _mm512_max_epi32(most, _mm512_mask_load_epi32(least, q_lanes(j, keys), s + j));
    return _mm512_reduce_max_epi32(most);
}

/* (d * m) >> n for d = max - score, as min(255, .) of 16 scores.

   0 <= d < 2^23, so the integer 0x4b000000 + d is, as a float, 2^23 + d. The scale m * 2^-n and
   2^23 * scale are exact floats; one fused multiply-subtract gives d * scale rounded down, whose
   floor is that of the exact product (the argument in epilogue_avx512.c). */
typedef struct {
    __m512i top; /* 0x4b000000 + max */
    __m512 scale, offset;
} q_indexer;

static inline q_indexer q_indexer_of(int32_t max, float scale) {
    return (q_indexer){_mm512_set1_epi32((int32_t)(0x4b000000u + (uint32_t)max)),
                       _mm512_set1_ps(scale), _mm512_set1_ps(8388608.0f * scale)};
}

static inline __m512i q_index(const int32_t *s, const q_indexer *x) {
    __m512 d = _mm512_castsi512_ps(_mm512_sub_epi32(x->top, _mm512_load_si512(s)));
    d = _mm512_fmsub_round_ps(d, x->scale, x->offset, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    return _mm512_cvttps_epi32(_mm512_min_ps(d, _mm512_set1_ps(255)));
}

/* Indices of 64 scores as bytes, those of vectors wholly past `keys` zero. */
static inline __m512i q_indices(const int32_t *s, uint32_t keys, const q_indexer *x) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i none = _mm512_setzero_si512();
    __m512i a = q_index(s, x), b = none, c = none, d = none;
    if (keys > 48) {
        b = q_index(s + 16, x);
        c = q_index(s + 32, x);
        d = q_index(s + 48, x);
    } else {
        if (keys > 16)
            b = q_index(s + 16, x);
        if (keys > 32)
            c = q_index(s + 32, x);
    }
    __m512i packed = _mm512_packus_epi16(_mm512_packus_epi32(a, b), _mm512_packus_epi32(c, d));
    return _mm512_permutexvar_epi32(order, packed);
}

static inline __mmask64 q_bytes(uint32_t keys) {
    return keys >= 64 ? UINT64_MAX : ((__mmask64)1 << keys) - 1;
}

#endif
