/* AVX2: 6 tokens x 16 rows, 12 accumulators, and epilogues in double precision.

   vpmaddwd adds two products of int16, exactly. Activations are widened to int16 once a stretch of
   inputs, so that a broadcast of 32 bits brings two of them. */
#if defined(__x86_64__)
#include "arithmetic.h"
#include "scalar.h"
#include "target.h"

#include <assert.h>
#include <immintrin.h>

Q_TARGET_BEGIN(Q_AVX2)

enum { TOKENS = 6, ROWS = 16, GROUP = 2, STRETCH = 512 };

Q_INLINE void tile(const int tokens, const int16_t (*x)[STRETCH], const int8_t *w, uint32_t groups,
                   const int32_t *from, size_t from_stride, int32_t *out, size_t out_stride) {
    __m256i acc[TOKENS][2];
    Q_UNROLL(6)
    for (int t = 0; t < tokens; t++) {
        acc[t][0] = _mm256_loadu_si256((const void *)(from + t * from_stride));
        acc[t][1] = _mm256_loadu_si256((const void *)(from + t * from_stride + 8));
    }
    for (uint32_t g = 0; g < groups; g++, w += ROWS * GROUP) {
        __m256i w0 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)w));
        __m256i w1 = _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)(w + 16)));
        Q_UNROLL(6)
        for (int t = 0; t < tokens; t++) {
            int32_t pair;
            __builtin_memcpy(&pair, &x[t][2 * g], 4);
            __m256i a = _mm256_set1_epi32(pair);
            acc[t][0] = _mm256_add_epi32(acc[t][0], _mm256_madd_epi16(a, w0));
            acc[t][1] = _mm256_add_epi32(acc[t][1], _mm256_madd_epi16(a, w1));
        }
    }
    Q_UNROLL(6)
    for (int t = 0; t < tokens; t++) {
        _mm256_storeu_si256((void *)(out + t * out_stride), acc[t][0]);
        _mm256_storeu_si256((void *)(out + t * out_stride + 8), acc[t][1]);
    }
}

static void widen(const uint8_t *a, size_t stride, uint32_t tokens, uint32_t inputs,
                  int16_t (*x)[STRETCH]) {
    for (uint32_t t = 0; t < tokens; t++)
        for (uint32_t k = 0; k < inputs; k += 16) {
            __m128i bytes = _mm_loadu_si128((const void *)(a + t * stride + k));
            _mm256_storeu_si256((void *)&x[t][k], _mm256_cvtepi8_epi16(bytes));
        }
}

static void gemm(const uint8_t *a, size_t a_stride, uint32_t m, const int8_t *w, uint32_t groups,
                 const int32_t *bias, int32_t *out, size_t out_stride) {
    assert(m >= 1 && m <= TOKENS);
    int16_t x[TOKENS][STRETCH] __attribute__((aligned(64)));
    const int32_t *from = bias;
    size_t from_stride = 0;
    while (groups) {
        uint32_t some = groups < STRETCH / GROUP ? groups : STRETCH / GROUP;
        widen(a, a_stride, m, some * GROUP, x);
#define TILE(n)                                                                                    \
    case n:                                                                                        \
        tile(n, x, w, some, from, from_stride, out, out_stride);                                   \
        break;
        switch (m) { TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) }
        groups -= some;
        a += STRETCH;
        w += STRETCH * ROWS;
        from = out;
        from_stride = out_stride;
    }
}

/* rs(acc * m, n) of four accumulators, limited to +-limit. acc * m has at most 47 bits and
   acc * m * 2^-n + 1/2 at most 48, so the fused multiply-add in double is exact and its floor is
   the rounded shift (for n = 0 the floor takes the half off again). */
static inline __m128i scaled(__m128i acc, __m128 scale, __m256d limit) {
    __m256d x =
        _mm256_fmadd_pd(_mm256_cvtepi32_pd(acc), _mm256_cvtps_pd(scale), _mm256_set1_pd(0.5));
    x = _mm256_floor_pd(x);
    x = _mm256_max_pd(_mm256_min_pd(x, limit), _mm256_sub_pd(_mm256_setzero_pd(), limit));
    return _mm256_cvtpd_epi32(x);
}

static inline void results(const int32_t *acc, const float *scale, __m256d limit, __m128i *to) {
    for (int i = 0; i < ROWS / 4; i++)
        to[i] = scaled(_mm_loadu_si128((const void *)(acc + 4 * i)), _mm_loadu_ps(scale + 4 * i),
                       limit);
}

static void requantise(const int32_t *acc, uint32_t m, const q_panel *panel, int limit,
                       const uint8_t *table, uint8_t *out, size_t out_stride) {
    if (panel->valid != 0xffff) {
        q_scalar_requantise(acc, m, ROWS, 0, panel, limit, table, out, out_stride);
        return;
    }
    __m256d most = _mm256_set1_pd(limit);
    for (uint32_t t = 0; t < m; t++, acc += ROWS, out += out_stride) {
        __m128i x[4];
        results(acc, panel->scale, most, x);
        __m128i bytes = _mm_packs_epi16(_mm_packs_epi32(x[0], x[1]), _mm_packs_epi32(x[2], x[3]));
        _mm_storeu_si128((void *)out, bytes);
        for (int r = 0; table && r < ROWS; r++)
            out[r] = table[out[r] ^ 128];
    }
}

/* The residual's clamp of the delta to [-2^15, 2^15) is that of the pack: the limit here is only to
   keep the conversion to int32 in range. */
static void residual(const int32_t *acc, uint32_t m, const q_panel *panel, int16_t *to,
                     size_t stride) {
    if (panel->valid != 0xffff) {
        q_scalar_residual(acc, m, ROWS, panel, to, stride);
        return;
    }
    __m256d most = _mm256_set1_pd(1 << 20);
    for (uint32_t t = 0; t < m; t++, acc += ROWS, to += stride) {
        __m128i x[4], *at = (__m128i *)(void *)to;
        results(acc, panel->scale, most, x);
        for (int i = 0; i < 2; i++) {
            __m128i delta = _mm_packs_epi32(x[2 * i], x[2 * i + 1]);
            _mm_storeu_si128(at + i, _mm_adds_epi16(_mm_loadu_si128(at + i), delta));
        }
    }
}

static void layernorm(const int16_t *x, const q_norm *norm, uint8_t *out) {
    q_scalar_layernorm(x, 0, norm, out);
}

static void mean(const int32_t *acc, uint32_t tokens, const int32_t *total, uint32_t m, uint32_t n,
                 uint8_t *out, size_t out_stride) {
    q_scalar_mean(acc, tokens, ROWS, 0, total, m, n, out, out_stride);
}

static void pack_keys(const uint8_t *k, size_t stride, uint32_t keys, int8_t *panels,
                      int32_t *bias) {
    (void)bias; /* stays zero */
    q_scalar_pack_keys(k, stride, keys, ROWS, GROUP, panels);
}

static void pack_values(const uint8_t *v, size_t stride, uint32_t keys, int8_t *panels) {
    q_scalar_pack_values(v, stride, keys, ROWS, GROUP, 16, panels);
}

static int supported(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static double peak(uint64_t rounds) {
    for (uint64_t i = 0; i < rounds; i++) {
#define DOT(n) "vpmaddwd %%ymm14, %%ymm15, %%ymm13\n\tvpaddd %%ymm13, %%ymm" #n ", %%ymm" #n "\n\t"
        __asm__ volatile(DOT(0) DOT(1) DOT(2) DOT(3) DOT(4) DOT(5) DOT(6) DOT(7)
                         :
                         :
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm13");
    }
    return (double)rounds * 8 * 16;
}

const q_kernels q_kernels_avx2 = {
    .name = "avx2",
    .tile_tokens = TOKENS,
    .rows = ROWS,
    .group = GROUP,
    .inputs = 16,
    .supported = supported,
    .gemm = gemm,
    .requantise = requantise,
    .residual = residual,
    .layernorm = layernorm,
    .numerators = q_scalar_numerators,
    .mean = mean,
    .pack_keys = pack_keys,
    .pack_values = pack_values,
    .peak = peak,
};

Q_TARGET_END
#endif
