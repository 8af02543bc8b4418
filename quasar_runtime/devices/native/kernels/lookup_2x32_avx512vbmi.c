/* 256-entry byte tables with VBMI: two permutes of 128 entries and a choice by the top bit. */
#if defined(__x86_64__)
#include "target.h"
#include "vector_avx512.h"

#include <immintrin.h>

Q_TARGET_BEGIN(Q_AVX512_VBMI)

int q_avx512vbmi_supported(void) {
    return __builtin_cpu_supports("avx512vbmi");
}

void q_avx512vbmi_lookup(uint8_t *bytes, size_t stride, uint32_t m, const uint8_t *table) {
    __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
    __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
    for (uint32_t t = 0; t < m; t += 2, bytes += 2 * stride) {
        uint8_t *second = t + 1 < m ? bytes + stride : bytes;
        __m512i x = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)bytes));
        x = _mm512_inserti64x4(x, _mm256_loadu_si256((const void *)second), 1);
        __m512i low = _mm512_permutex2var_epi8(t0, x, t1);
        __m512i high = _mm512_permutex2var_epi8(t2, x, t3);
        x = _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high);
        _mm256_storeu_si256((void *)bytes, _mm512_castsi512_si256(x));
        if (t + 1 < m)
            _mm256_storeu_si256((void *)second, _mm512_extracti64x4_epi64(x, 1));
    }
}

Q_TARGET_END
#endif
