/* The scalar arithmetic that every kernel set falls back on; quasar_runtime/isa/arithmetic.py defines
   it. Right shifts of negative numbers are arithmetic (GCC and Clang), sums wrap (-fwrapv). */
#ifndef QUASAR_ARITHMETIC_H
#define QUASAR_ARITHMETIC_H

#include "quasar_interface.h"

#include <string.h>

/* rs(x, n) = floor((x + 2^(n-1)) / 2^n), rs(x, 0) = x; n in [0, 62]. */
static inline int64_t q_rs(int64_t x, uint32_t n) {
    return n ? (x + ((int64_t)1 << (n - 1))) >> n : x;
}

static inline int64_t q_clip(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}

/* (y, k) with y * 2^-(k + 24) ~ 1 / sqrt(v), v in [1, 2^52): a normalised table, one Newton step. */
static inline uint32_t q_reciprocal_sqrt(uint64_t v, int *k) {
    int bits = 64 - __builtin_clzll(v);
    *k = (bits - 17) >> 1;
    uint64_t z = *k >= 0 ? v >> 2 * *k : v << -2 * *k;
    uint64_t y0 = Q_RSQRT[(z >> 10) - Q_RSQRT_FIRST];
    uint64_t h = (3 * ((uint64_t)1 << 33) - z * ((y0 * y0) >> 13)) >> 16;
    return (uint32_t)((y0 * h) >> 17);
}

/* (y, k) with y * 2^-k ~ 1 / s, s in [1, 2^16). */
static inline uint32_t q_reciprocal(uint32_t s, uint32_t *k) {
    uint32_t length = 32 - (uint32_t)__builtin_clz(s);
    uint64_t z = (uint64_t)s << (16 - length);
    uint64_t y0 = Q_RECIPROCAL[(z >> 7) & 255];
    *k = length + 15;
    return (uint32_t)((y0 * ((((uint64_t)1 << 31) - z * y0) >> 14)) >> 15);
}

/* x * 2^-n, exact in float for |x| < 2^24 and n <= 40. */
static inline float q_scaled(int32_t x, uint32_t n) {
    uint32_t bits = (127 - n) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return (float)x * power;
}

#endif
