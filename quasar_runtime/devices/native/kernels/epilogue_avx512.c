/* AVX-512 epilogues: requantisation of 32-row panels and of attention's weighted mean.

   Requantisation in single precision is exact here. For |acc| < 2^24 the conversion to float is
   exact, and so is m * 2^-n (15 bits). One fused multiply-add that rounds towards minus infinity
   gives RD(x) for x = acc * m * 2^-n + 1/2. floor(x) is a float for |x| < 2^24, RD is monotonic and
   RD(x) <= x, so floor(x) <= RD(x) <= x and floor(RD(x)) = floor(x) = rs(acc * m, n). (For n = 0, x
   is an integer and a half, which the floor takes off again.) Beyond 2^24 every float is an integer
   past all clamps, on the right side. Preconditions: q_panel's `narrow`, |x| < 2^31 included. */
#if defined(__x86_64__)
#include "arithmetic.h"
#include "scalar.h"
#include "target.h"
#include "vector_avx512.h"

#include <assert.h>
#include <immintrin.h>

Q_TARGET_BEGIN(Q_AVX512_VNNI)

enum { ROWS = Q_ROWS_512 };
#define DOWN (_MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)

/* rs(acc * m, n) of 16 accumulators: three instructions. */
static inline __m512i scaled(const int32_t *acc, __m512 scale) {
    __m512 x = _mm512_cvtepi32_ps(_mm512_loadu_si512(acc));
    return _mm512_cvt_roundps_epi32(_mm512_fmadd_round_ps(x, scale, _mm512_set1_ps(0.5f), DOWN),
                                    DOWN);
}

/* 32 results a token of two tokens, saturated to int8: first token in the low half. */
static inline __m512i bytes_of(__m512i a0, __m512i a1, __m512i b0, __m512i b1) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i packed = _mm512_packs_epi16(_mm512_packs_epi32(a0, a1), _mm512_packs_epi32(b0, b1));
    return _mm512_permutexvar_epi32(order, packed);
}

void q_avx512_requantise(const int32_t *acc, uint32_t m, const q_panel *panel, int limit,
                         const uint8_t *table, uint8_t *out, size_t out_stride) {
    if (!panel->narrow || (table && panel->valid != UINT32_MAX)) {
        q_scalar_requantise(acc, m, ROWS, Q_SIGN_512, panel, limit, table, out, out_stride);
        return;
    }
    __m512 s0 = _mm512_loadu_ps(panel->scale), s1 = _mm512_loadu_ps(panel->scale + 16);
    __m512i high = _mm512_set1_epi8((char)limit), low = _mm512_set1_epi8((char)-limit);
    __m512i sign = _mm512_set1_epi8((char)Q_SIGN_512);
    uint8_t *to = out;
    for (uint32_t t = 0; t < m; t += 2, to += 2 * out_stride, acc += 2 * ROWS) {
        uint32_t second = t + 1 < m ? ROWS : 0;
        __m512i x = bytes_of(scaled(acc, s0), scaled(acc + 16, s1), scaled(acc + second, s0),
                             scaled(acc + second + 16, s1));
        x = _mm512_min_epi8(_mm512_max_epi8(x, low), high);
        x = _mm512_xor_si512(x, sign);
        _mm256_mask_storeu_epi8(to, panel->valid, _mm512_castsi512_si256(x));
        if (second)
            _mm256_mask_storeu_epi8(to + out_stride, panel->valid, _mm512_extracti64x4_epi64(x, 1));
    }
    if (table)
        q_avx512_lookup(out, out_stride, m, table);
}

void q_avx512_residual(const int32_t *acc, uint32_t m, const q_panel *panel, int16_t *residual,
                       size_t stride) {
    if (!panel->narrow) {
        q_scalar_residual(acc, m, ROWS, panel, residual, stride);
        return;
    }
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    __m512 s0 = _mm512_loadu_ps(panel->scale), s1 = _mm512_loadu_ps(panel->scale + 16);
    for (uint32_t t = 0; t < m; t++, acc += ROWS, residual += stride) {
        __m512i x = _mm512_packs_epi32(scaled(acc, s0), scaled(acc + 16, s1));
        x = _mm512_permutexvar_epi64(order, x);
        __m512i old = _mm512_maskz_loadu_epi16(panel->valid, residual);
        _mm512_mask_storeu_epi16(residual, panel->valid, _mm512_adds_epi16(old, x));
    }
}

/* mean = rs(acc * y, k - 8), then rs(mean * m, n). |acc| <= 128 * total < 2^22 and y * 2^-(k - 8) of
   16 bits is 2^8 / total to within 2^-14, so |mean| < 2^15 + 4: both steps are exact as above, and
   the second product stays below 2^31. */
void q_avx512_mean(const int32_t *acc, uint32_t tokens, const int32_t *total, uint32_t m,
                   uint32_t n, uint8_t *out, size_t out_stride) {
    const __m512 half = _mm512_set1_ps(0.5f), scale = _mm512_set1_ps(q_scaled((int)m, n));
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    for (uint32_t t = 0; t < tokens; t++, acc += ROWS, out += out_stride) {
        uint32_t k, y = q_reciprocal((uint32_t)total[t], &k);
        __m512 divide = _mm512_set1_ps(q_scaled((int32_t)y, k - Q_MEAN_FRACTION));
        __m512i result[2];
        for (int i = 0; i < 2; i++) {
            __m512 x = _mm512_cvtepi32_ps(_mm512_loadu_si512(acc + 16 * i));
            x = _mm512_fmadd_round_ps(x, divide, half, DOWN);
            x = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEG_INF);
            x = _mm512_fmadd_round_ps(x, scale, half, DOWN);
            result[i] = _mm512_cvt_roundps_epi32(x, DOWN);
        }
        __m512i words = _mm512_packs_epi32(result[0], result[1]);
        __m256i x = _mm512_cvtsepi16_epi8(_mm512_permutexvar_epi64(order, words));
        x = _mm256_max_epi8(x, _mm256_set1_epi8(-Q_ACTIVATION_MAX));
        x = _mm256_xor_si256(x, _mm256_set1_epi8((char)Q_SIGN_512));
        _mm256_storeu_si256((void *)out, x);
    }
}

void q_avx512_lookup(uint8_t *bytes, size_t stride, uint32_t m, const uint8_t *table) {
    if (q_avx512vbmi_supported()) {
        q_avx512vbmi_lookup(bytes, stride, m, table);
        return;
    }
    for (uint32_t t = 0; t < m; t++)
        for (uint32_t r = 0; r < ROWS; r++)
            bytes[t * stride + r] = table[bytes[t * stride + r]];
}

Q_TARGET_END
#endif
