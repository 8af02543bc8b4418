/* Operations that move bytes: image and position values in, results out. */
#include "machine.h"

#include <string.h>

/* ACT[destination] = patches. A byte x becomes max(x, 1) - 128; token 0 (CLS) is all zeros; token
   1 + i holds patch i in raster order, its channels ordered as the bytes lie in memory. */
void q_load_image(q_machine *m, const q_operation *op, const uint8_t *image) {
    enum { LINE = 3 * Q_PATCH };
    uint32_t side = op->d.image_size / Q_PATCH;
    size_t stride = q_stride(m, op->d.destination_pitch), line_bytes = (size_t)side * LINE;
    uint8_t *token = q_act(m, op->d.destination);
    uint8_t flip = 128 ^ m->kernels->sign;
    memset(token, m->kernels->sign, Q_PATCH_CHANNELS);
    for (uint32_t i = 0; i < side * side; i++) {
        token += stride;
        const uint8_t *from =
            image + op->d.address + (i / side) * Q_PATCH * line_bytes + (i % side) * LINE;
        for (uint32_t y = 0; y < Q_PATCH; y++, from += line_bytes)
            for (uint32_t x = 0; x < LINE; x++)
                token[y * LINE + x] = (uint8_t)((from[x] ? from[x] : 1) ^ flip);
    }
}

/* RES = position values, int16. */
void q_load_residual(q_machine *m, const q_operation *op) {
    size_t stride = q_stride(m, op->d.destination_pitch), bytes = 2 * (size_t)op->d.inputs;
    for (uint32_t t = 0; t < op->d.tokens; t++)
        memcpy(m->res + t * stride, m->program + op->d.address + t * bytes, bytes);
}

/* OUTPUT[address] = logits, or a region of ACT or RES without gaps. */
void q_store(q_machine *m, const q_operation *op, uint8_t *output) {
    uint8_t *to = output + op->d.address;
    size_t stride = q_stride(m, op->d.source_pitch), channels = op->d.inputs;
    if (op->d.mode == Q_SOURCE_LOGITS) {
        memcpy(to, m->logits, 4 * (size_t)op->d.outputs);
        return;
    }
    for (uint32_t t = 0; t < op->d.tokens; t++) {
        if (op->d.mode == Q_SOURCE_RESIDUAL) {
            memcpy(to + t * 2 * channels, m->res + t * stride, 2 * channels);
            continue;
        }
        const uint8_t *from = q_act(m, op->d.source) + t * stride;
        for (size_t c = 0; c < channels; c++)
            to[t * channels + c] = from[c] ^ m->kernels->sign;
    }
}
