/* K and V of a head into panels, with AVX-512. */
#if defined(__x86_64__)
#include "quasar_interface.h"
#include "target.h"
#include "vector_avx512.h"

#include <immintrin.h>

Q_TARGET_BEGIN(Q_AVX512_VNNI)

enum { LANES = 16 };

/* Transpose 16 x 16 elements of 32 bits: two steps within 128-bit lanes, two across them. */
static inline void transpose(__m512i *x) {
    __m512i y[LANES];
    for (int i = 0; i < LANES; i += 2) {
        y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    for (int i = 0; i < LANES; i += 4) {
        x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
        x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
        x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
        x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
    }
    /* Lane l of x[4 b + c] now holds column 4 l + c of rows 4 b .. 4 b + 3. */
    for (int c = 0; c < 4; c++) {
        __m512i a = _mm512_shuffle_i32x4(x[c], x[4 + c], 0x88);
        __m512i b = _mm512_shuffle_i32x4(x[8 + c], x[12 + c], 0x88);
        __m512i d = _mm512_shuffle_i32x4(x[c], x[4 + c], 0xdd);
        __m512i e = _mm512_shuffle_i32x4(x[8 + c], x[12 + c], 0xdd);
        y[c] = _mm512_shuffle_i32x4(a, b, 0x88);
        y[8 + c] = _mm512_shuffle_i32x4(a, b, 0xdd);
        y[4 + c] = _mm512_shuffle_i32x4(d, e, 0x88);
        y[12 + c] = _mm512_shuffle_i32x4(d, e, 0xdd);
    }
    for (int i = 0; i < LANES; i++)
        x[i] = y[i];
}

/* Panels [16 groups][32 keys][4 channels]: a transposition of 4-byte elements. A score's accumulator
   begins at -128 * sum(k), for Q is kept as q + 128. */
void q_avx512_pack_keys(const uint8_t *k, size_t stride, uint32_t keys, int8_t *panels,
                        int32_t *bias) {
    const __m512i sign = _mm512_set1_epi8((char)Q_SIGN_512), ones = _mm512_set1_epi8(1);
    for (uint32_t j = 0; j < keys; j += LANES) {
        __m512i x[LANES], sum = _mm512_setzero_si512();
        for (uint32_t i = 0; i < LANES; i++)
            x[i] = j + i < keys ? _mm512_xor_si512(_mm512_loadu_si512(k + (j + i) * stride), sign)
                                : _mm512_setzero_si512();
        transpose(x);
        int8_t *to = panels + (size_t)(j / Q_ROWS_512) * Q_ROWS_512 * Q_HEAD_DIM +
                     (j % Q_ROWS_512) * Q_GROUP_512;
        for (int g = 0; g < LANES; g++, to += Q_ROWS_512 * Q_GROUP_512) {
            sum = _mm512_dpbusd_epi32(sum, ones, x[g]);
            _mm512_store_si512(to, x[g]);
        }
        sum = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sum, 7));
        _mm512_store_si512(bias + j, sum);
    }
}

/* Panels [groups][32 channels][4 keys]: the bytes of four keys interleaved. */
void q_avx512_pack_values(const uint8_t *v, size_t stride, uint32_t keys, uint32_t inputs,
                          int8_t *panels) {
    const __m512i sign = _mm512_set1_epi8((char)Q_SIGN_512);
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    uint32_t padded = q_round_up(keys, inputs);
    size_t panel = (size_t)padded * Q_ROWS_512;
    for (uint32_t j = 0; j < padded; j += 4) {
        __m512i x[4];
        for (uint32_t i = 0; i < 4; i++)
            x[i] = j + i < keys ? _mm512_xor_si512(_mm512_loadu_si512(v + (j + i) * stride), sign)
                                : _mm512_setzero_si512();
        /* In each 128-bit lane of 16 channels, channels 0-3, 4-7, 8-11, 12-15 of the four keys. */
        __m512i ab0 = _mm512_unpacklo_epi8(x[0], x[1]), ab1 = _mm512_unpackhi_epi8(x[0], x[1]);
        __m512i cd0 = _mm512_unpacklo_epi8(x[2], x[3]), cd1 = _mm512_unpackhi_epi8(x[2], x[3]);
        __m512i q0 = _mm512_unpacklo_epi16(ab0, cd0), q1 = _mm512_unpackhi_epi16(ab0, cd0);
        __m512i q2 = _mm512_unpacklo_epi16(ab1, cd1), q3 = _mm512_unpackhi_epi16(ab1, cd1);
        /* Lanes (channels 0-15, 16-31, 32-47, 48-63) back into the order of channels. */
        __m512i a = _mm512_permutex2var_epi64(q0, low, q1);  /* 0-7, 16-23 */
        __m512i b = _mm512_permutex2var_epi64(q2, low, q3);  /* 8-15, 24-31 */
        __m512i c = _mm512_permutex2var_epi64(q0, high, q1); /* 32-39, 48-55 */
        __m512i d = _mm512_permutex2var_epi64(q2, high, q3); /* 40-47, 56-63 */
        int8_t *to = panels + (size_t)j * Q_ROWS_512;
        _mm512_storeu_si512(to, _mm512_shuffle_i64x2(a, b, 0x44));
        _mm512_storeu_si512(to + 64, _mm512_shuffle_i64x2(a, b, 0xee));
        _mm512_storeu_si512(to + panel, _mm512_shuffle_i64x2(c, d, 0x44));
        _mm512_storeu_si512(to + panel + 64, _mm512_shuffle_i64x2(c, d, 0xee));
    }
}

Q_TARGET_END
#endif
