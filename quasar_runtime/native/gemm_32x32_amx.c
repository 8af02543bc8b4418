/* AMX: 32 tokens x 32 rows, four tiles of 16 x 16 accumulators.

   tdpbusd multiplies 16 tokens x 64 unsigned activation bytes by 64 x 16 signed weights, which lie
   in a tile as a panel has them: 16 groups of 4 inputs, 64 bytes of rows. Activations are read in
   place: rows past the last token and inputs past the last channel hold something, but give rows
   that nobody reads and products with zero weights. */
#if defined(__x86_64__)
#define _GNU_SOURCE
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,amx-tile,amx-int8")
#include "vector_avx512.h"

#include <assert.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TOKENS = 32, HALF = 16, ROWS = Q_ROWS_512, INPUTS = 64, STEP = INPUTS * ROWS };

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} q_tile_config;

static void enter(void) {
    static const q_tile_config CONFIG = {
        .palette = 1,
        .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
        .rows = {16, 16, 16, 16, 16, 16, 16, 16},
    };
    _tile_loadconfig(&CONFIG);
}

static void leave(void) {
    _tile_release();
}

/* Tiles 0-3 accumulate (token half, row half), 4-5 hold tokens, 6-7 weights. Every row of an
   accumulator begins with the bias: a load of stride 0. */
static void gemm(const uint8_t *a, size_t a_stride, uint32_t m, const int8_t *w, uint32_t groups,
                 const int32_t *bias, int32_t *out, size_t out_stride) {
    assert(m >= 1 && m <= TOKENS && groups % (INPUTS / Q_GROUP_512) == 0);
    const int8_t *end = w + (size_t)groups * ROWS * Q_GROUP_512;
    const int stride = ROWS * Q_GROUP_512;
    const size_t out_bytes = 4 * out_stride;
    _tile_loadd(0, bias, 0);
    _tile_loadd(1, bias + HALF, 0);
    if (m <= HALF) {
        for (; w != end; w += STEP, a += INPUTS) {
            _tile_loadd(4, a, a_stride);
            _tile_loadd(6, w, stride);
            _tile_loadd(7, w + 64, stride);
            _tile_dpbusd(0, 4, 6);
            _tile_dpbusd(1, 4, 7);
        }
        _tile_stored(0, out, out_bytes);
        _tile_stored(1, out + HALF, out_bytes);
        return;
    }
    _tile_loadd(2, bias, 0);
    _tile_loadd(3, bias + HALF, 0);
    for (; w != end; w += STEP, a += INPUTS) {
        _tile_loadd(4, a, a_stride);
        _tile_loadd(6, w, stride);
        _tile_loadd(7, w + 64, stride);
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_loadd(5, a + HALF * a_stride, a_stride);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(0, out, out_bytes);
    _tile_stored(1, out + HALF, out_bytes);
    _tile_stored(2, out + HALF * out_stride, out_bytes);
    _tile_stored(3, out + HALF * out_stride + HALF, out_bytes);
}

static void pack_values(const uint8_t *v, size_t stride, uint32_t keys, int8_t *panels) {
    q_avx512_pack_values(v, stride, keys, INPUTS, panels);
}

/* Linux lends the tile registers to a process that asks for them once. */
static int supported(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    static int lent = -1;
    if (lent < 0)
        lent = __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-int8") &&
               q_avx512_supported() &&
               syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
    return lent;
}

static double peak(uint64_t rounds) {
    enter();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    rounds /= 8;
    for (uint64_t i = 0; i < rounds; i++) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    leave();
    return (double)rounds * 4 * 16 * 16 * 64;
}

const q_kernels q_kernels_amx = {
    .name = "amx",
    .tile_tokens = TOKENS,
    .rows = ROWS,
    .group = Q_GROUP_512,
    .inputs = INPUTS,
    .sign = Q_SIGN_512,
    .supported = supported,
    .enter = enter,
    .leave = leave,
    .gemm = gemm,
    .requantise = q_avx512_requantise,
    .residual = q_avx512_residual,
    .layernorm = q_avx512_layernorm,
    .numerators = q_avx512_numerators,
    .mean = q_avx512_mean,
    .pack_keys = q_avx512_pack_keys,
    .pack_values = pack_values,
    .peak = peak,
};
#endif
