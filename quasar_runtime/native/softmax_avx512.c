/* AVX-512 for attention: the softmax's numerators, and K and V into panels. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#include "arithmetic.h"
#include "vector_avx512.h"

#include <assert.h>
#include <immintrin.h>
#include <string.h>

#define DOWN (_MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)

static inline __mmask16 lanes(uint32_t j, uint32_t keys) {
    return j >= keys ? 0 : keys - j >= 16 ? 0xffff : (__mmask16)((1u << (keys - j)) - 1);
}

static inline int32_t row_max(const int32_t *s, uint32_t keys) {
    const __m512i least = _mm512_set1_epi32(INT32_MIN);
    __m512i most = least;
    for (uint32_t j = 0; j < keys; j += 16)
        most = _mm512_max_epi32(most, _mm512_mask_loadu_epi32(least, lanes(j, keys), s + j));
    return _mm512_reduce_max_epi32(most);
}

/* min(255, (d * m) >> n) of 16 scores. d < 2^22 and m * 2^-n are exact floats; their product rounded
   down has the floor of the exact one. */
static inline __m512i index_of(const int32_t *s, __m512i max, __m512 scale) {
    __m512 d = _mm512_cvtepi32_ps(_mm512_sub_epi32(max, _mm512_loadu_si512(s)));
    __m512 x = _mm512_mul_round_ps(d, scale, DOWN);
    return _mm512_cvttps_epi32(_mm512_min_ps(x, _mm512_set1_ps(255)));
}

void q_avx512_numerators(const int32_t *scores, size_t stride, uint32_t tokens, uint32_t keys,
                         uint32_t padded, uint32_t m, uint32_t n, uint8_t *e, size_t e_stride,
                         int32_t *total) {
    assert(padded <= 256 && stride % 64 == 0 && e_stride % 64 == 0);
    const __m512i order =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512 scale = _mm512_set1_ps(q_scaled((int)m, n));
    uint32_t blocks = q_round_up(padded, 64);
    for (uint32_t t = 0; t < tokens; t++) {
        const int32_t *s = scores + t * stride;
        __m512i max = _mm512_set1_epi32(row_max(s, keys));
        for (uint32_t j = 0; j < blocks; j += 64, s += 64) {
            __m512i a = _mm512_packus_epi32(index_of(s, max, scale), index_of(s + 16, max, scale));
            __m512i b =
                _mm512_packus_epi32(index_of(s + 32, max, scale), index_of(s + 48, max, scale));
            __m512i index = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(a, b));
            _mm512_storeu_si512(e + t * e_stride + j, index);
        }
    }
    for (uint32_t j = 0; j < blocks; j += 32)
        q_avx512_lookup(e + j, e_stride, tokens, Q_EXP);
    for (uint32_t t = 0; t < tokens; t++) {
        __m512i sum = _mm512_setzero_si512();
        for (uint32_t j = 0; j < blocks; j += 64) {
            uint8_t *at = e + t * e_stride + j;
            __mmask64 valid = j >= keys        ? 0
                              : keys - j >= 64 ? UINT64_MAX
                                               : ((__mmask64)1 << (keys - j)) - 1;
            __m512i x = _mm512_maskz_loadu_epi8(valid, at);
            sum = _mm512_dpbusd_epi32(sum, x, _mm512_set1_epi8(1));
            _mm512_storeu_si512(at, x);
        }
        total[t] = _mm512_reduce_add_epi32(sum);
    }
}

/* Panels [16 groups][32 keys][4 channels]: a transposition of 4-byte elements. The score's
   accumulator begins at -128 * sum(k), for Q is kept as q + 128. */
void q_avx512_pack_keys(const uint8_t *k, size_t stride, uint32_t keys, int8_t *panels,
                        int32_t *bias) {
    const __m512i sign = _mm512_set1_epi8((char)Q_SIGN_512);
    const __m512i column = _mm512_mullo_epi32(
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
        _mm512_set1_epi32(Q_ROWS_512));
    for (uint32_t j = 0; j < keys; j++) {
        int8_t *to = panels + (size_t)(j / Q_ROWS_512) * Q_ROWS_512 * Q_HEAD_DIM +
                     (j % Q_ROWS_512) * Q_GROUP_512;
        __m512i x = _mm512_xor_si512(_mm512_loadu_si512(k + j * stride), sign);
        __m512i sum = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1), x);
        bias[j] = -Q_SIGN_512 * _mm512_reduce_add_epi32(sum);
        _mm512_i32scatter_epi32(to, column, x, 4);
    }
}

/* Panels [groups][32 channels][4 keys]: the bytes of four keys interleaved. */
void q_avx512_pack_values(const uint8_t *v, size_t stride, uint32_t keys, uint32_t inputs,
                          int8_t *panels) {
    const __m512i sign = _mm512_set1_epi8((char)Q_SIGN_512);
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    uint32_t padded = q_round_up(keys, inputs);
    size_t panel = (size_t)padded * Q_ROWS_512;
    for (uint32_t j = 0; j < padded; j += 4) {
        __m512i x[4];
        for (uint32_t i = 0; i < 4; i++)
            x[i] = j + i < keys
                       ? _mm512_xor_si512(_mm512_loadu_si512(v + (j + i) * stride), sign)
                       : _mm512_setzero_si512();
        /* In each 128-bit lane of 16 channels, channels 0-3, 4-7, 8-11, 12-15 of the four keys. */
        __m512i ab0 = _mm512_unpacklo_epi8(x[0], x[1]), ab1 = _mm512_unpackhi_epi8(x[0], x[1]);
        __m512i cd0 = _mm512_unpacklo_epi8(x[2], x[3]), cd1 = _mm512_unpackhi_epi8(x[2], x[3]);
        __m512i q0 = _mm512_unpacklo_epi16(ab0, cd0), q1 = _mm512_unpackhi_epi16(ab0, cd0);
        __m512i q2 = _mm512_unpacklo_epi16(ab1, cd1), q3 = _mm512_unpackhi_epi16(ab1, cd1);
        /* Lanes (channels 0-15, 16-31, 32-47, 48-63) back into the order of channels. */
        __m512i a = _mm512_permutex2var_epi64(q0, low, q1);  /* 0-7, 16-23 */
        __m512i b = _mm512_permutex2var_epi64(q2, low, q3);  /* 8-15, 24-31 */
        __m512i c = _mm512_permutex2var_epi64(q0, high, q1); /* 32-39, 48-55 */
        __m512i d = _mm512_permutex2var_epi64(q2, high, q3); /* 40-47, 56-63 */
        int8_t *to = panels + (size_t)j * Q_ROWS_512;
        _mm512_storeu_si512(to, _mm512_shuffle_i64x2(a, b, 0x44));
        _mm512_storeu_si512(to + 64, _mm512_shuffle_i64x2(a, b, 0xee));
        _mm512_storeu_si512(to + panel, _mm512_shuffle_i64x2(c, d, 0x44));
        _mm512_storeu_si512(to + panel + 64, _mm512_shuffle_i64x2(c, d, 0xee));
    }
}

int q_avx512_supported(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}
#endif
