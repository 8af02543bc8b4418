/* What the AVX-512 kernel sets (32-row panels, activations kept as a + 128) have in common. */
#ifndef QUASAR_VECTOR_AVX512_H
#define QUASAR_VECTOR_AVX512_H

#include "kernels.h"

enum { Q_ROWS_512 = 32, Q_GROUP_512 = 4, Q_SIGN_512 = 128 };

int q_avx512_supported(void);

void q_avx512_requantise(const int32_t *acc, uint32_t m, const q_panel *panel, int limit,
                         const uint8_t *table, uint8_t *out, size_t out_stride);
void q_avx512_residual(const int32_t *acc, uint32_t m, const q_panel *panel, int16_t *residual,
                       size_t stride);
void q_avx512_layernorm(const int16_t *x, const q_norm *norm, uint8_t *out);
void q_avx512_numerators(const int32_t *scores, size_t stride, uint32_t tokens, uint32_t keys,
                         uint32_t padded, uint32_t m, uint32_t n, uint8_t *e, size_t e_stride,
                         int32_t *total);
void q_avx512vbmi_numerators(const int32_t *scores, size_t stride, uint32_t tokens, uint32_t keys,
                             uint32_t padded, uint32_t m, uint32_t n, uint8_t *e, size_t e_stride,
                             int32_t *total);
void q_avx512_mean(const int32_t *acc, uint32_t tokens, const int32_t *total, uint32_t m,
                   uint32_t n, uint8_t *out, size_t out_stride);
void q_avx512_pack_keys(const uint8_t *k, size_t stride, uint32_t keys, int8_t *panels,
                        int32_t *bias);
/* As kernels.h has it, with inputs padded to a multiple of `inputs`. */
void q_avx512_pack_values(const uint8_t *v, size_t stride, uint32_t keys, uint32_t inputs,
                          int8_t *panels);

/* bytes[i] = table[bytes[i]] on m rows of 32 bytes. */
void q_avx512_lookup(uint8_t *bytes, size_t stride, uint32_t m, const uint8_t *table);
int q_avx512vbmi_supported(void);
void q_avx512vbmi_lookup(uint8_t *bytes, size_t stride, uint32_t m, const uint8_t *table);

/* The register-only loop of vpdpbusd. */
double q_avx512_peak(uint64_t rounds);
/* The 12x32 micro-kernel, for any m up to 12. */
void q_avx512_gemm(const uint8_t *a, size_t a_stride, uint32_t m, const int8_t *w, uint32_t groups,
                   const int32_t *bias, int32_t *out, size_t out_stride);

#endif
