/* The portable kernel set: 4 tokens x 16 rows, no instruction beyond C. */
#include "scalar.h"

#include "quasar_interface.h"

#include <assert.h>

enum { TOKENS = 4, ROWS = 16 };

/* out = bias + a w^T, panel [k][ROWS]. */
static void gemm(const uint8_t *a, size_t a_stride, uint32_t m, const int8_t *w, uint32_t groups,
                 const int32_t *bias, int32_t *out, size_t out_stride) {
    assert(m >= 1 && m <= TOKENS);
    for (uint32_t t = 0; t < m; t++) {
        const int8_t *x = (const int8_t *)a + t * a_stride;
        int32_t acc[ROWS];
        for (int r = 0; r < ROWS; r++)
            acc[r] = bias[r];
        for (uint32_t k = 0; k < groups; k++)
            for (int r = 0; r < ROWS; r++)
                acc[r] += x[k] * w[k * ROWS + r];
        for (int r = 0; r < ROWS; r++)
            out[t * out_stride + r] = acc[r];
    }
}

static void requantise(const int32_t *acc, uint32_t m, const q_panel *panel, int limit,
                       const uint8_t *table, uint8_t *out, size_t out_stride) {
    q_scalar_requantise(acc, m, ROWS, 0, panel, limit, table, out, out_stride);
}

static void residual(const int32_t *acc, uint32_t m, const q_panel *panel, int16_t *to,
                     size_t stride) {
    q_scalar_residual(acc, m, ROWS, panel, to, stride);
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
    q_scalar_pack_keys(k, stride, keys, ROWS, 1, panels);
}

static void pack_values(const uint8_t *v, size_t stride, uint32_t keys, int8_t *panels) {
    q_scalar_pack_values(v, stride, keys, ROWS, 1, 1, panels);
}

static int supported(void) {
    return 1;
}

const q_kernels q_kernels_scalar = {
    .name = "scalar",
    .tile_tokens = TOKENS,
    .rows = ROWS,
    .group = 1,
    .inputs = 1,
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
