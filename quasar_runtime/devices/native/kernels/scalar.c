#include "scalar.h"

#include "arithmetic.h"

#include <string.h>

/* out = clamp(rs(acc * m, n), limit): acc * m has at most 47 bits. */
void q_scalar_requantise(const int32_t *acc, uint32_t m, uint32_t rows, uint8_t sign,
                         const q_panel *panel, int limit, const uint8_t *table, uint8_t *out,
                         size_t out_stride) {
    for (uint32_t t = 0; t < m; t++)
        for (uint32_t r = 0; r < rows; r++) {
            if (!(panel->valid >> r & 1))
                continue;
            int64_t product = (int64_t)acc[t * rows + r] * panel->multiplier[r];
            int64_t x = q_clip(q_rs(product, (uint32_t)panel->shift[r]), -limit, limit);
            out[t * out_stride + r] = table ? table[x + 128] : (uint8_t)x ^ sign;
        }
}

/* residual = sat16(residual + sat16(rs(acc * m, n))). */
void q_scalar_residual(const int32_t *acc, uint32_t m, uint32_t rows, const q_panel *panel,
                       int16_t *residual, size_t stride) {
    for (uint32_t t = 0; t < m; t++)
        for (uint32_t r = 0; r < rows; r++) {
            if (!(panel->valid >> r & 1))
                continue;
            int64_t product = (int64_t)acc[t * rows + r] * panel->multiplier[r];
            int64_t delta = q_clip(q_rs(product, (uint32_t)panel->shift[r]), INT16_MIN, INT16_MAX);
            int16_t *to = &residual[t * stride + r];
            *to = (int16_t)q_clip(*to + delta, INT16_MIN, INT16_MAX);
        }
}

/* t = sat18(rs((D * x - S1) * y, k + 12)), out = clamp(rs(t * gain, shift), 127), with
   (y, k) = reciprocal_sqrt(D * S2 - S1^2 + epsilon), below 2^52 for D <= 1024. */
void q_scalar_layernorm(const int16_t *x, uint8_t sign, const q_norm *norm, uint8_t *out) {
    int64_t d = norm->channels, s1 = 0, s2 = 0;
    for (uint32_t c = 0; c < norm->channels; c++) {
        s1 += x[c];
        s2 += (int64_t)x[c] * x[c];
    }
    int k;
    int64_t y = q_reciprocal_sqrt((uint64_t)(d * s2 - s1 * s1 + norm->epsilon), &k);
    uint32_t n = (uint32_t)(k + 24 - Q_NORM_FRACTION);
    for (uint32_t c = 0; c < norm->channels; c++) {
        int64_t t = q_clip(q_rs((d * x[c] - s1) * y, n), -(1 << 17), (1 << 17) - 1);
        int64_t result = q_rs(t * norm->gain[c], norm->shift);
        out[c] = (uint8_t)q_clip(result, -Q_ACTIVATION_MAX, Q_ACTIVATION_MAX) ^ sign;
    }
}

/* e = EXP[min(255, (d * m) >> n)], d = max - score. d is first limited to ceil(255 * 2^n / m), which
   changes no result; then d * m < 255 * 2^n + m < 2^32 for n <= 23. With m = 0 every index is 0. */
void q_scalar_numerators(const int32_t *scores, size_t stride, uint32_t tokens, uint32_t keys,
                         uint32_t padded, uint32_t m, uint32_t n, uint8_t *e, size_t e_stride,
                         int32_t *total) {
    uint32_t most = m ? (uint32_t)((((uint64_t)255 << n) + m - 1) / m) : 0;
    for (uint32_t t = 0; t < tokens; t++) {
        const int32_t *s = scores + t * stride;
        uint8_t *to = e + t * e_stride;
        int32_t max = s[0], sum = 0;
        for (uint32_t j = 1; j < keys; j++)
            max = s[j] > max ? s[j] : max;
        for (uint32_t j = 0; j < keys; j++) {
            uint32_t d = (uint32_t)(max - s[j]);
            uint32_t index = ((d < most ? d : most) * m) >> n;
            to[j] = Q_EXP[index < 255 ? index : 255];
            sum += to[j];
        }
        memset(to + keys, 0, padded - keys);
        total[t] = sum;
    }
}

/* mean = rs(acc * y, k - 8) with (y, k) = reciprocal(total), out = clamp(rs(mean * m, n), 127):
   |acc| < 2^23, mean has 17 bits. */
void q_scalar_mean(const int32_t *acc, uint32_t tokens, uint32_t rows, uint8_t sign,
                   const int32_t *total, uint32_t m, uint32_t n, uint8_t *out, size_t out_stride) {
    for (uint32_t t = 0; t < tokens; t++) {
        uint32_t k;
        int64_t y = q_reciprocal((uint32_t)total[t], &k);
        for (uint32_t r = 0; r < rows; r++) {
            int64_t mean = q_rs(acc[t * rows + r] * y, k - Q_MEAN_FRACTION);
            int64_t x = q_clip(q_rs(mean * m, n), -Q_ACTIVATION_MAX, Q_ACTIVATION_MAX);
            out[t * out_stride + r] = (uint8_t)x ^ sign;
        }
    }
}

void q_scalar_pack_keys(const uint8_t *k, size_t stride, uint32_t keys, uint32_t rows,
                        uint32_t group, int8_t *panels) {
    for (uint32_t j = 0; j < keys; j++) {
        int8_t *to = panels + (size_t)(j / rows) * rows * Q_HEAD_DIM + (j % rows) * group;
        for (uint32_t c = 0; c < Q_HEAD_DIM; c += group)
            memcpy(to + (size_t)c * rows, k + j * stride + c, group);
    }
}

void q_scalar_pack_values(const uint8_t *v, size_t stride, uint32_t keys, uint32_t rows,
                          uint32_t group, uint32_t inputs, int8_t *panels) {
    uint32_t padded = q_round_up(keys, inputs);
    for (uint32_t j = 0; j < padded; j++)
        for (uint32_t c = 0; c < Q_HEAD_DIM; c++) {
            int8_t *panel = panels + (size_t)(c / rows) * rows * padded;
            panel[(size_t)(j / group) * rows * group + (c % rows) * group + j % group] =
                j < keys ? (int8_t)v[j * stride + c] : 0;
        }
}
