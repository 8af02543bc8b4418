/* AVX-512 LayerNorm of one token, exact in single precision while D * max|x| < 2^23.

   Then S1 and every D * x - S1 are integers below 2^24: exact floats. y * 2^-(k + 12) has 16 bits
   and gain * 2^-shift 15. No channel is further from the mean than sqrt(D - 1) deviations
   (Samuelson), so |t| < 2^12 * sqrt(1023) * (1 + 2^-14) + 1 < 2^17: its clamp to 18 bits never acts,
   and t * gain * 2^-shift < 2^31. So each product, half added and rounded down once, has the floor of
   the exact value (the argument in epilogue_avx512.c). */
#if defined(__x86_64__)
#include "arithmetic.h"
#include "scalar.h"
#include "target.h"
#include "vector_avx512.h"

#include <assert.h>
#include <immintrin.h>

Q_TARGET_BEGIN(Q_AVX512_VNNI)

#define DOWN (_MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)

typedef struct {
    int64_t s1, s2;
    int32_t most; /* largest |x| */
} q_sums;

static inline q_sums sums(const int16_t *x, uint32_t channels) {
    __m512i s1 = _mm512_setzero_si512(), even = s1, odd = s1, most = s1;
    for (uint32_t c = 0; c < channels; c += 32) {
        __m512i v = _mm512_loadu_si512(x + c);
        /* The two squares that madd adds are at most 2^31 together: right as unsigned. */
        __m512i square = _mm512_madd_epi16(v, v);
        s1 = _mm512_add_epi32(s1, _mm512_madd_epi16(v, _mm512_set1_epi16(1)));
        even = _mm512_add_epi64(even, _mm512_and_si512(square, _mm512_set1_epi64(UINT32_MAX)));
        odd = _mm512_add_epi64(odd, _mm512_srli_epi64(square, 32));
        most = _mm512_max_epu16(most, _mm512_abs_epi16(v));
    }
    __m512i pairs = _mm512_max_epu16(most, _mm512_srli_epi32(most, 16));
    pairs = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff));
    return (q_sums){_mm512_reduce_add_epi32(s1),
                    _mm512_reduce_add_epi64(_mm512_add_epi64(even, odd)),
                    _mm512_reduce_max_epi32(pairs)};
}

typedef struct {
    __m512 channels, s1, scale;
} q_token;

/* 16 channels: normalised with 12 fraction bits, then times the gain. */
static inline __m512i normalised(const int16_t *x, const float *gain, const q_token *token) {
    const __m512 half = _mm512_set1_ps(0.5f);
    __m512i wide = _mm512_cvtepi16_epi32(_mm256_loadu_si256((const void *)x));
    __m512 v = _mm512_fmsub_ps(_mm512_cvtepi32_ps(wide), token->channels, token->s1);
    v = _mm512_fmadd_round_ps(v, token->scale, half, DOWN);
    v = _mm512_roundscale_ps(v, _MM_FROUND_TO_NEG_INF);
    v = _mm512_fmadd_round_ps(v, _mm512_loadu_ps(gain), half, DOWN);
    return _mm512_cvt_roundps_epi32(v, DOWN);
}

void q_avx512_layernorm(const int16_t *x, const q_norm *norm, uint8_t *out) {
    uint32_t d = norm->channels;
    assert(d % 32 == 0);
    q_sums s = sums(x, d);
    if ((int64_t)d * s.most >= 1 << 23) {
        q_scalar_layernorm(x, Q_SIGN_512, norm, out);
        return;
    }
    int k;
    uint64_t variance = (uint64_t)((int64_t)d * s.s2 - s.s1 * s.s1 + norm->epsilon);
    uint32_t y = q_reciprocal_sqrt(variance, &k);
    q_token token = {_mm512_set1_ps((float)d), _mm512_set1_ps((float)s.s1),
                     _mm512_set1_ps(q_scaled((int32_t)y, (uint32_t)(k + 24 - Q_NORM_FRACTION)))};
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    for (uint32_t c = 0; c < d; c += 32) {
        __m512i words = _mm512_packs_epi32(normalised(x + c, norm->scale + c, &token),
                                           normalised(x + c + 16, norm->scale + c + 16, &token));
        __m256i r = _mm512_cvtsepi16_epi8(_mm512_permutexvar_epi64(order, words));
        r = _mm256_max_epi8(r, _mm256_set1_epi8(-Q_ACTIVATION_MAX));
        r = _mm256_xor_si256(r, _mm256_set1_epi8((char)Q_SIGN_512));
        _mm256_storeu_si256((void *)(out + c), r);
    }
}

Q_TARGET_END
#endif
