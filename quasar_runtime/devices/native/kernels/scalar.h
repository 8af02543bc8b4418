/* Scalar twins: the operations of a kernel set in portable C. The SIMD sets fall back on them where
   their preconditions do not hold, and tests compare with them. Names end in what they assume of
   the panel (R rows) and of the activations' sign. */
#ifndef QUASAR_SCALAR_H
#define QUASAR_SCALAR_H

#include "kernels.h"

void q_scalar_requantise(const int32_t *acc, uint32_t m, uint32_t rows, uint8_t sign,
                         const q_panel *panel, int limit, const uint8_t *table, uint8_t *out,
                         size_t out_stride);
void q_scalar_residual(const int32_t *acc, uint32_t m, uint32_t rows, const q_panel *panel,
                       int16_t *residual, size_t stride);
void q_scalar_layernorm(const int16_t *x, uint8_t sign, const q_norm *norm, uint8_t *out);
void q_scalar_numerators(const int32_t *scores, size_t stride, uint32_t tokens, uint32_t keys,
                         uint32_t padded, uint32_t m, uint32_t n, uint8_t *e, size_t e_stride,
                         int32_t *total);
void q_scalar_mean(const int32_t *acc, uint32_t tokens, uint32_t rows, uint8_t sign,
                   const int32_t *total, uint32_t m, uint32_t n, uint8_t *out, size_t out_stride);
/* For sets that keep activations as they are (sign 0). */
void q_scalar_pack_keys(const uint8_t *k, size_t stride, uint32_t keys, uint32_t rows,
                        uint32_t group, int8_t *panels);
void q_scalar_pack_values(const uint8_t *v, size_t stride, uint32_t keys, uint32_t rows,
                          uint32_t group, uint32_t inputs, int8_t *panels);

#endif
