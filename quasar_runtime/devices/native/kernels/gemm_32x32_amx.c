/* AMX: 32 tokens x 32 rows, four tiles of 16 x 16 accumulators.

   tdpbusd multiplies 16 tokens x 64 unsigned activation bytes by 64 x 16 signed weights, which lie
   in a tile as a panel has them: 16 groups of 4 inputs, 64 bytes of rows. Activations are read in
   place: rows past the last token and inputs past the last channel hold something, but give rows
   that nobody reads and products with zero weights. */
#if defined(__x86_64__)
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* syscall */
#endif
#include "vector_avx512.h"

#include <assert.h>
#include <cpuid.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TOKENS = 32, HALF = 16, ROWS = Q_ROWS_512, INPUTS = 64, STEP = INPUTS * ROWS };

typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} q_tile_config;

/* Instructions instead of intrinsics: GCC 10 has none for AMX. No compiler allocates tiles or
   reorders volatile statements. */
#define LOAD(tile, base, stride)                                                                   \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile                                            \
                     :                                                                             \
                     : "r"((const void *)(base)), "r"((size_t)(stride))                            \
                     : "memory")
#define STORE(tile, base, stride)                                                                  \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)"                                        \
                     :                                                                             \
                     : "r"((void *)(base)), "r"((size_t)(stride))                                  \
                     : "memory")
#define ZERO(tile) __asm__ volatile("tilezero %tmm" #tile)
#define DOT(to, tokens, rows) __asm__ volatile("tdpbusd %tmm" #rows ", %tmm" #tokens ", %tmm" #to)

static void enter(void) {
    static const q_tile_config CONFIG = {
        .palette = 1,
        .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
        .rows = {16, 16, 16, 16, 16, 16, 16, 16},
    };
    __asm__ volatile("ldtilecfg %0" : : "m"(CONFIG));
}

static void leave(void) {
    __asm__ volatile("tilerelease");
}

/* Tiles 0-3 accumulate (token half, row half), 4-5 hold tokens, 6-7 weights. Every row of an
   accumulator begins with the bias: a load of stride 0. */
static void gemm(const uint8_t *a, size_t a_stride, uint32_t m, const int8_t *w, uint32_t groups,
                 const int32_t *bias, int32_t *out, size_t out_stride) {
    assert(m >= 1 && m <= TOKENS && groups % (INPUTS / Q_GROUP_512) == 0);
    const int8_t *end = w + (size_t)groups * ROWS * Q_GROUP_512;
    const int stride = ROWS * Q_GROUP_512;
    const size_t out_bytes = 4 * out_stride;
    LOAD(0, bias, 0);
    LOAD(1, bias + HALF, 0);
    if (m <= HALF) {
        for (; w != end; w += STEP, a += INPUTS) {
            LOAD(4, a, a_stride);
            LOAD(6, w, stride);
            LOAD(7, w + 64, stride);
            DOT(0, 4, 6);
            DOT(1, 4, 7);
        }
        STORE(0, out, out_bytes);
        STORE(1, out + HALF, out_bytes);
        return;
    }
    LOAD(2, bias, 0);
    LOAD(3, bias + HALF, 0);
    for (; w != end; w += STEP, a += INPUTS) {
        LOAD(4, a, a_stride);
        LOAD(6, w, stride);
        LOAD(7, w + 64, stride);
        DOT(0, 4, 6);
        DOT(1, 4, 7);
        LOAD(5, a + HALF * a_stride, a_stride);
        DOT(2, 5, 6);
        DOT(3, 5, 7);
    }
    STORE(0, out, out_bytes);
    STORE(1, out + HALF, out_bytes);
    STORE(2, out + HALF * out_stride, out_bytes);
    STORE(3, out + HALF * out_stride + HALF, out_bytes);
}

static void pack_values(const uint8_t *v, size_t stride, uint32_t keys, int8_t *panels) {
    q_avx512_pack_values(v, stride, keys, INPUTS, panels);
}

/* CPUID leaf 7: __builtin_cpu_supports knows AMX only since GCC 11 and Clang 18. */
static int has_amx(void) {
    enum { AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_TILE) && (d & AMX_INT8);
}

/* Linux lends the tile registers to a process that asks for them, and to its children. Threads that
   ask at the same time get the same answer, and nothing else hangs on it: relaxed. */
static int supported(void) {
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18, UNKNOWN = -1 };
    static atomic_int lent = UNKNOWN;
    int answer = atomic_load_explicit(&lent, memory_order_relaxed);
    if (answer == UNKNOWN) {
        answer = has_amx() && q_avx512_supported() &&
                 syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
        atomic_store_explicit(&lent, answer, memory_order_relaxed);
    }
    return answer;
}

static double peak(uint64_t rounds) {
    enter();
    ZERO(0);
    ZERO(1);
    ZERO(2);
    ZERO(3);
    ZERO(4);
    ZERO(5);
    ZERO(6);
    ZERO(7);
    rounds /= 8;
    for (uint64_t i = 0; i < rounds; i++) {
        DOT(0, 4, 6);
        DOT(1, 4, 7);
        DOT(2, 5, 6);
        DOT(3, 5, 7);
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
