/* Softmax numerators for CPUs with AVX-512 VNNI but without VBMI: indices first, then EXP. */
#if defined(__x86_64__)
#include "arithmetic.h"
#include "target.h"
#include "vector_avx512.h"

#include <assert.h>
#include <immintrin.h>
#include <string.h>

Q_TARGET_BEGIN(Q_AVX512_VNNI)

#include "numerators_avx512.h"

static void indices_first(const int32_t *scores, size_t stride, uint32_t tokens, uint32_t keys,
                          uint32_t padded, float scale, uint8_t *e, size_t e_stride,
                          int32_t *total) {
    for (uint32_t t = 0; t < tokens; t++, scores += stride, e += e_stride) {
        q_indexer indexer = q_indexer_of(q_row_max(scores, keys), scale);
        for (uint32_t j = 0; j < keys; j += 64)
            _mm512_store_si512(e + j, q_indices(scores + j, keys - j, &indexer));
        int32_t sum = 0;
        for (uint32_t j = 0; j < keys; j++)
            sum += e[j] = Q_EXP[e[j]];
        memset(e + keys, 0, padded - keys);
        total[t] = sum;
    }
}

void q_avx512_numerators(const int32_t *scores, size_t stride, uint32_t tokens, uint32_t keys,
                         uint32_t padded, uint32_t m, uint32_t n, uint8_t *e, size_t e_stride,
                         int32_t *total) {
    assert(padded <= 256 && stride % 64 == 0 && e_stride % 64 == 0);
    if (q_avx512vbmi_supported())
        q_avx512vbmi_numerators(scores, stride, tokens, keys, padded, m, n, e, e_stride, total);
    else
        indices_first(scores, stride, tokens, keys, padded, q_scaled((int32_t)m, n), e, e_stride,
                      total);
}

Q_TARGET_END
#endif
