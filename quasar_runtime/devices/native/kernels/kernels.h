/* A kernel set: everything in the engine that has a version for an instruction set.

   Weights, and K and V in attention, lie in panels of `rows` rows (R below): for each group of
   `group` inputs (G), R x G bytes, row after row. Inputs are padded with zeros to a multiple of
   `inputs`. Activations lie as the on-chip memory is addressed, [token][channel], each byte
   exclusive-ored with `sign`: a set whose dot product takes unsigned activations keeps a + 128. */
#ifndef QUASAR_KERNELS_H
#define QUASAR_KERNELS_H

#include <stddef.h>
#include <stdint.h>

enum {
    Q_MOST_TILE_TOKENS = 32,
    Q_MOST_PANEL_ROWS = 32,
    Q_LANE = 64, /* alignment of buffers, and slack behind those that are read */
};

/* Requantisation of a panel's rows, each array one entry per row. */
typedef struct {
    const int32_t *multiplier; /* m */
    const int32_t *shift;      /* n */
    const float *scale;        /* m * 2^-n, exact */
    uint32_t valid;            /* bit r: row r exists and is written */
    int narrow;                /* every |acc| < 2^24 and |acc * m * 2^-n| < 2^30 */
} q_panel;

/* LayerNorm over `channels` of int16. */
typedef struct {
    uint32_t channels, shift, epsilon;
    const int32_t *gain;
    const float *scale; /* gain * 2^-shift, exact */
} q_norm;

typedef struct {
    const char *name;
    uint32_t tile_tokens, rows, group, inputs;
    uint8_t sign;
    int (*supported)(void);
    /* Called by each thread around a stretch of work; may be NULL. */
    void (*enter)(void);
    void (*leave)(void);

    /* out[t][r] = bias[r] + sum over k of a[t][k] * w[r][k], in int32 that wraps: m <= tile_tokens
       tokens at a + t * a_stride, one panel of `groups` groups; rows of out lie out_stride apart.
       May read, but not use, 16 tokens for any m <= 16 and 32 for any more; `out` has room for as
       many rows. */
    void (*gemm)(const uint8_t *a, size_t a_stride, uint32_t m, const int8_t *w, uint32_t groups,
                 const int32_t *bias, int32_t *out, size_t out_stride);

    /* out[t][r] = clamp(rs(acc * m, n), limit), through `table` (indexed by result + 128, entries
       as activations are kept) unless it is NULL. acc has rows R apart. */
    void (*requantise)(const int32_t *acc, uint32_t m, const q_panel *panel, int limit,
                       const uint8_t *table, uint8_t *out, size_t out_stride);

    /* residual[t][r] = sat16(residual[t][r] + sat16(rs(acc * m, n))); stride in elements. */
    void (*residual)(const int32_t *acc, uint32_t m, const q_panel *panel, int16_t *residual,
                     size_t stride);

    /* One token: out = LayerNorm of x. */
    void (*layernorm)(const int16_t *x, const q_norm *norm, uint8_t *out);

    /* e[t][j] = EXP[min(255, ((max - s[t][j]) * m) >> n)] for j < keys, 0 for keys <= j < padded;
       total[t] = sum of e[t]. Both strides in elements, multiples of 64. */
    void (*numerators)(const int32_t *scores, size_t stride, uint32_t tokens, uint32_t keys,
                       uint32_t padded, uint32_t m, uint32_t n, uint8_t *e, size_t e_stride,
                       int32_t *total);

    /* out[t][r] = clamp(rs(weighted_mean(acc, total) * m, n), 127), R channels. */
    void (*mean)(const int32_t *acc, uint32_t tokens, const int32_t *total, uint32_t m, uint32_t n,
                 uint8_t *out, size_t out_stride);

    /* K of one head, keys x 64 at `k`: panels of keys, and bias[j] that takes `sign` out again. */
    void (*pack_keys)(const uint8_t *k, size_t stride, uint32_t keys, int8_t *panels,
                      int32_t *bias);
    /* V of one head: panels of channels whose inputs are the keys. */
    void (*pack_values)(const uint8_t *v, size_t stride, uint32_t keys, int8_t *panels);

    /* A register-only loop of `rounds` dot products: the multiply-accumulates it did. */
    double (*peak)(uint64_t rounds);
} q_kernels;

extern const q_kernels q_kernels_scalar;
#if defined(__x86_64__)
extern const q_kernels q_kernels_avx2;
extern const q_kernels q_kernels_avx512vnni;
extern const q_kernels q_kernels_amx;
#elif defined(__aarch64__)
extern const q_kernels q_kernels_neon;
#endif

/* The set of that name if this CPU runs it, else NULL. */
const q_kernels *q_kernels_find(const char *name);

static inline uint32_t q_round_up(uint32_t x, uint32_t multiple) {
    return (x + multiple - 1) / multiple * multiple;
}

#endif
