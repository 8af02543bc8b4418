/* AVX-512 VNNI: 12 tokens x 32 rows, 24 accumulators.

   vpdpbusd multiplies unsigned by signed bytes and adds four products to an int32 without
   saturation. The activations, kept as a + 128, are the unsigned side; the rows' biases have
   128 * sum(w) taken off. Each step of four inputs loads two vectors of weights and broadcasts
   twelve times four activation bytes for 24 dot products: the loads stay behind them. */
#if defined(__x86_64__)
#include "target.h"
#include "vector_avx512.h"

#include <assert.h>
#include <immintrin.h>
#include <string.h>

Q_TARGET_BEGIN(Q_AVX512_VNNI)

enum { TOKENS = 12, ROWS = Q_ROWS_512 };

Q_INLINE void tile(const int tokens, const uint8_t *a, size_t stride, const int8_t *w,
                   uint32_t groups, const int32_t *bias, int32_t *out, size_t out_stride) {
    /* Token t is at base[t / 3] + (t % 3) * stride: few enough registers for addresses. */
    const uint8_t *base[4] = {a, a + 3 * stride, a + 6 * stride, a + 9 * stride};
    __m512i acc[TOKENS][2];
    Q_UNROLL(12)
    for (int t = 0; t < tokens; t++) {
        acc[t][0] = _mm512_load_si512(bias);
        acc[t][1] = _mm512_load_si512(bias + 16);
    }
    Q_UNROLL_BY(2)
    for (uint32_t g = 0; g < groups; g++, w += ROWS * 4) {
        __m512i w0 = _mm512_load_si512(w), w1 = _mm512_load_si512(w + 64);
        Q_UNROLL(12)
        for (int t = 0; t < tokens; t++) {
            int32_t four;
            memcpy(&four, base[t / 3] + (t % 3) * stride, 4);
            __m512i x = _mm512_set1_epi32(four);
            acc[t][0] = _mm512_dpbusd_epi32(acc[t][0], x, w0);
            acc[t][1] = _mm512_dpbusd_epi32(acc[t][1], x, w1);
        }
        Q_UNROLL(4)
        for (int i = 0; i < 4; i++)
            base[i] += 4;
    }
    Q_UNROLL(12)
    for (int t = 0; t < tokens; t++) {
        _mm512_storeu_si512(out + t * out_stride, acc[t][0]);
        _mm512_storeu_si512(out + t * out_stride + 16, acc[t][1]);
    }
}

void q_avx512_gemm(const uint8_t *a, size_t a_stride, uint32_t m, const int8_t *w, uint32_t groups,
                   const int32_t *bias, int32_t *out, size_t out_stride) {
    assert(m >= 1 && m <= TOKENS);
    assert((uintptr_t)w % 64 == 0 && (uintptr_t)bias % 64 == 0);
#define TILE(n)                                                                                    \
    case n:                                                                                        \
        tile(n, a, a_stride, w, groups, bias, out, out_stride);                                    \
        break;
    switch (m) {
        /* clang-format off */
        TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
        TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
        /* clang-format on */
    }
}

int q_avx512_supported(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

static void pack_values(const uint8_t *v, size_t stride, uint32_t keys, int8_t *panels) {
    q_avx512_pack_values(v, stride, keys, Q_GROUP_512, panels);
}

double q_avx512_peak(uint64_t rounds) {
    for (uint64_t i = 0; i < rounds; i++) {
#define DOT(n) "vpdpbusd %%zmm30, %%zmm31, %%zmm" #n "\n\t"
        __asm__ volatile(DOT(0) DOT(1) DOT(2) DOT(3) DOT(4) DOT(5) DOT(6) DOT(7) DOT(8) DOT(9)
                             DOT(10) DOT(11) DOT(12) DOT(13) DOT(14) DOT(15)
                         :
                         :
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                           "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    }
    return (double)rounds * 16 * 64;
}

const q_kernels q_kernels_avx512vnni = {
    .name = "avx512vnni",
    .tile_tokens = TOKENS,
    .rows = ROWS,
    .group = Q_GROUP_512,
    .inputs = Q_GROUP_512,
    .sign = Q_SIGN_512,
    .supported = q_avx512_supported,
    .gemm = q_avx512_gemm,
    .requantise = q_avx512_requantise,
    .residual = q_avx512_residual,
    .layernorm = q_avx512_layernorm,
    .numerators = q_avx512_numerators,
    .mean = q_avx512_mean,
    .pack_keys = q_avx512_pack_keys,
    .pack_values = pack_values,
    .peak = q_avx512_peak,
};

Q_TARGET_END
#endif
