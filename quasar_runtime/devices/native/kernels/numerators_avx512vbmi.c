/* Softmax numerators, a token at a time, EXP looked up with two VBMI permutes. */
#if defined(__x86_64__)
#include "arithmetic.h"
#include "target.h"
#include "vector_avx512.h"

#include <assert.h>
#include <immintrin.h>

Q_TARGET_BEGIN(Q_AVX512_VBMI)

#include "numerators_avx512.h"

void q_avx512vbmi_numerators(const int32_t *scores, size_t stride, uint32_t tokens, uint32_t keys,
                             uint32_t padded, uint32_t m, uint32_t n, uint8_t *e, size_t e_stride,
                             int32_t *total) {
    assert(padded <= 256 && stride % 64 == 0 && e_stride % 64 == 0);
    (void)padded; /* whole vectors are written, zero past the keys */
    const __m512i t0 = _mm512_loadu_si512(Q_EXP), t1 = _mm512_loadu_si512(Q_EXP + 64);
    const __m512i t2 = _mm512_loadu_si512(Q_EXP + 128), t3 = _mm512_loadu_si512(Q_EXP + 192);
    const float scale = q_scaled((int32_t)m, n);
    for (uint32_t t = 0; t < tokens; t++, scores += stride, e += e_stride) {
        q_indexer indexer = q_indexer_of(q_row_max(scores, keys), scale);
        __m512i sum = _mm512_setzero_si512();
        uint32_t j = 0;
        for (; j < keys; j += 64) {
            __m512i x = q_indices(scores + j, keys - j, &indexer);
            __m512i low = _mm512_permutex2var_epi8(t0, x, t1);
            __m512i high = _mm512_permutex2var_epi8(t2, x, t3);
            x = _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high);
            x = _mm512_maskz_mov_epi8(q_bytes(keys - j), x);
            sum = _mm512_dpbusd_epi32(sum, x, _mm512_set1_epi8(1));
            _mm512_store_si512(e + j, x);
        }
        total[t] = _mm512_reduce_add_epi32(sum);
    }
}

Q_TARGET_END
#endif
