/* NEON for ARMv8.0 (Cortex-A53): 4 tokens x 8 rows, in two halves of 4 x 4 accumulators.

   smull and smlal add two products of 8 bits in int16: 2 * 127 * 127 < 2^15, for neither activations
   nor weights reach -128. sadalp adds the pairs into int32. Inputs lie in groups of 16. */
#if defined(__aarch64__)
#include "arithmetic.h"
#include "scalar.h"
#include "target.h"

#include <arm_neon.h>
#include <assert.h>

enum { TOKENS = 4, ROWS = 8, GROUP = 16, HALF = 4 };

Q_INLINE void tile(const int tokens, const int8_t *a, size_t stride, const int8_t *w,
                   uint32_t groups, const int32_t *bias, int32_t *out, size_t out_stride) {
    int32x4_t acc[TOKENS][HALF];
    Q_UNROLL(4)
    for (int t = 0; t < tokens; t++) {
        Q_UNROLL(4)
        for (int r = 0; r < HALF; r++)
            acc[t][r] = vdupq_n_s32(0);
    }
    for (uint32_t g = 0; g < groups; g++, a += GROUP, w += ROWS * GROUP) {
        int8x16_t row[HALF];
        Q_UNROLL(4)
        for (int r = 0; r < HALF; r++)
            row[r] = vld1q_s8(w + r * GROUP);
        Q_UNROLL(4)
        for (int t = 0; t < tokens; t++) {
            int8x16_t x = vld1q_s8(a + t * stride);
            Q_UNROLL(4)
            for (int r = 0; r < HALF; r++) {
                int16x8_t two = vmull_s8(vget_low_s8(x), vget_low_s8(row[r]));
                acc[t][r] = vpadalq_s16(acc[t][r], vmlal_high_s8(two, x, row[r]));
            }
        }
    }
    Q_UNROLL(4)
    for (int t = 0; t < tokens; t++) {
        int32x4_t pairs0 = vpaddq_s32(acc[t][0], acc[t][1]);
        int32x4_t pairs1 = vpaddq_s32(acc[t][2], acc[t][3]);
        int32x4_t sums = vaddq_s32(vpaddq_s32(pairs0, pairs1), vld1q_s32(bias));
        vst1q_s32(out + t * out_stride, sums);
    }
}

static void gemm(const uint8_t *a, size_t a_stride, uint32_t m, const int8_t *w, uint32_t groups,
                 const int32_t *bias, int32_t *out, size_t out_stride) {
    assert(m >= 1 && m <= TOKENS);
    const int8_t *x = (const int8_t *)a;
    for (int r = 0; r < ROWS; r += HALF, w += HALF * GROUP, bias += HALF, out += HALF) {
#define TILE(n)                                                                                    \
    case n:                                                                                        \
        tile(n, x, a_stride, w, groups, bias, out, out_stride);                                    \
        break;
        switch (m) { TILE(1) TILE(2) TILE(3) TILE(4) }
    }
}

/* rs(acc * m, n) of four accumulators, saturated to int32: srshl by -n rounds half up exactly so. */
static inline int32x4_t scaled(const int32_t *acc, const q_panel *panel, int r) {
    int32x4_t x = vld1q_s32(acc), m = vld1q_s32(panel->multiplier + r);
    int32x4_t n = vnegq_s32(vld1q_s32(panel->shift + r));
    int64x2_t low = vmull_s32(vget_low_s32(x), vget_low_s32(m));
    int64x2_t high = vmull_high_s32(x, m);
    low = vrshlq_s64(low, vmovl_s32(vget_low_s32(n)));
    high = vrshlq_s64(high, vmovl_high_s32(n));
    return vcombine_s32(vqmovn_s64(low), vqmovn_s64(high));
}

static inline int16x8_t words(const int32_t *acc, const q_panel *panel) {
    return vcombine_s16(vqmovn_s32(scaled(acc, panel, 0)), vqmovn_s32(scaled(acc + 4, panel, 4)));
}

static void requantise(const int32_t *acc, uint32_t m, const q_panel *panel, int limit,
                       const uint8_t *table, uint8_t *out, size_t out_stride) {
    if (panel->valid != 0xff) {
        q_scalar_requantise(acc, m, ROWS, 0, panel, limit, table, out, out_stride);
        return;
    }
    int8x8_t high = vdup_n_s8((int8_t)limit), low = vdup_n_s8((int8_t)-limit);
    for (uint32_t t = 0; t < m; t++, acc += ROWS, out += out_stride) {
        int8x8_t x = vmin_s8(vmax_s8(vqmovn_s16(words(acc, panel)), low), high);
        vst1_s8((int8_t *)out, x);
        for (int r = 0; table && r < ROWS; r++)
            out[r] = table[out[r] ^ 128];
    }
}

static void residual(const int32_t *acc, uint32_t m, const q_panel *panel, int16_t *to,
                     size_t stride) {
    if (panel->valid != 0xff) {
        q_scalar_residual(acc, m, ROWS, panel, to, stride);
        return;
    }
    for (uint32_t t = 0; t < m; t++, acc += ROWS, to += stride)
        vst1q_s16(to, vqaddq_s16(vld1q_s16(to), words(acc, panel)));
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
    q_scalar_pack_values(v, stride, keys, ROWS, GROUP, GROUP, panels);
}

static int supported(void) {
    return 1; /* every ARMv8 has it */
}

const q_kernels q_kernels_neon = {
    .name = "neon",
    .tile_tokens = TOKENS,
    .rows = ROWS,
    .group = GROUP,
    .inputs = GROUP,
    .supported = supported,
    .gemm = gemm,
    .requantise = requantise,
    .residual = residual,
    .layernorm = layernorm,
    .numerators = q_scalar_numerators,
    .mean = mean,
    .pack_keys = pack_keys,
    .pack_values = pack_values,
};
#endif
