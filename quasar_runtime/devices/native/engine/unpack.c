/* Load: from a program's packed bytes to what the kernels read. */
#include "arithmetic.h"
#include "machine.h"

#include <stdlib.h>
#include <string.h>

void *q_allocate(size_t bytes) {
    size_t size = (bytes + Q_LANE - 1) / Q_LANE * Q_LANE + Q_LANE;
    void *memory = aligned_alloc(Q_LANE, size);
    if (memory)
        memset(memory, 0, size);
    return memory;
}

static const q_violation FINE = {Q_CAUSE_NONE, 0, 0};
static const q_violation SHORT = {UINT32_MAX, 0, 0};

static q_violation refuse(uint32_t cause, uint64_t offset) {
    return (q_violation){cause, 0, (uint32_t)offset};
}

/* Digit row `digit` of a packed matrix: inputs values in [-8, 7]. The nibble of an even input is
   the low half of its byte. */
static void unpack_digits(const uint8_t *packed, const q_overlay *o, uint32_t inputs,
                          uint32_t digit, int8_t *row) {
    uint32_t steps = (inputs + o->depth - 1) / o->depth, half = o->depth / 2;
    size_t step_bytes = (size_t)o->rows * half;
    const uint8_t *from =
        packed + (size_t)(digit / o->rows) * steps * step_bytes + (size_t)(digit % o->rows) * half;
    for (uint32_t k = 0; k < inputs; k += o->depth, from += step_bytes) {
        uint32_t bytes = inputs - k < o->depth ? (inputs - k) / 2 : half;
        for (uint32_t i = 0; i < bytes; i++) {
            row[k + 2 * i] = (int8_t)(((from[i] & 15) ^ 8) - 8);
            row[k + 2 * i + 1] = (int8_t)(((from[i] >> 4) ^ 8) - 8);
        }
    }
}

/* Weight row `number` of the stream: a digit, or low + 16 * high. */
static void unpack_row(const q_descriptor *d, const q_overlay *overlay, const uint8_t *packed,
                       uint32_t number, int8_t *row, int8_t *high) {
    if (number >= d->rows8) {
        unpack_digits(packed, overlay, d->inputs, d->rows8 + number, row);
        return;
    }
    unpack_digits(packed, overlay, d->inputs, 2 * number, row);
    unpack_digits(packed, overlay, d->inputs, 2 * number + 1, high);
    for (uint32_t k = 0; k < d->inputs; k++)
        row[k] = (int8_t)(row[k] + 16 * high[k]);
}

/* Lay a row into its panel, and its requantisation beside it. */
static void place_row(q_matrix *x, const q_kernels *kernels, const q_row *row, const int8_t *w,
                      uint32_t inputs) {
    uint32_t panel = row->channel / kernels->rows, r = row->channel % kernels->rows;
    uint32_t group = kernels->group, step = kernels->rows * group;
    int8_t *to = x->weights + panel * x->panel_bytes + (size_t)r * group;
    for (uint32_t k = 0; k < inputs; k += group, to += step)
        memcpy(to, w + k, group);
    int64_t sum = 0, magnitude = 0;
    for (uint32_t k = 0; k < inputs; k++) {
        sum += w[k];
        magnitude += abs(w[k]);
    }
    uint32_t c = row->channel;
    x->bias[c] = (int32_t)(uint32_t)((int64_t)row->bias - kernels->sign * sum);
    x->multiplier[c] = row->multiplier;
    x->shift[c] = row->shift;
    x->scale[c] = q_scaled(row->multiplier, row->shift);
    x->valid[panel] |= 1u << r;
    int64_t most = 128 * magnitude + llabs((int64_t)row->bias);
    if (most >= 1 << 24 || (double)most * x->scale[c] >= 1 << 30)
        x->narrow[panel] = 0;
}

static q_violation prepare_linear(q_operation *op, const q_overlay *overlay,
                                  const q_kernels *kernels, const uint8_t *program) {
    const q_descriptor *d = &op->d;
    const q_row *rows = (const void *)(program + d->parameters);
    for (uint32_t i = 0; i < d->outputs; i++) {
        uint64_t at = d->parameters + (uint64_t)i * Q_ROW_BYTES;
        if (rows[i].channel >= d->outputs)
            return refuse(Q_CAUSE_BAD_RANGE, at);
        if (rows[i].multiplier > Q_MULTIPLIER_MAX || rows[i].shift > Q_SHIFT_MAX)
            return refuse(Q_CAUSE_BAD_FIELD, at);
    }
    q_matrix *x = &op->matrix;
    uint32_t inputs = q_round_up(d->inputs, kernels->inputs);
    x->panels = q_round_up(d->outputs, kernels->rows) / kernels->rows;
    x->groups = inputs / kernels->group;
    x->panel_bytes = (size_t)inputs * kernels->rows;
    size_t lanes = (size_t)x->panels * kernels->rows;
    size_t weights = x->panels * x->panel_bytes;
    uint8_t *at = op->memory =
        q_allocate(weights + 16 * lanes + 8 * q_round_up(x->panels, 8) + Q_TABLE_BYTES);
    int8_t *row = malloc(2 * (size_t)d->inputs);
    if (!at || !row) {
        free(row);
        return SHORT;
    }
    x->weights = (int8_t *)at;
    x->bias = (void *)(at += weights);
    x->multiplier = (void *)(at += 4 * lanes);
    x->shift = (void *)(at += 4 * lanes);
    x->scale = (void *)(at += 4 * lanes);
    x->valid = (void *)(at += 4 * lanes);
    x->narrow = at += 4 * q_round_up(x->panels, 8);
    memset(x->narrow, 1, x->panels);
    for (uint32_t i = 0; i < d->outputs; i++) {
        unpack_row(d, overlay, program + d->weights, i, row, row + d->inputs);
        place_row(x, kernels, &rows[i], row, d->inputs);
    }
    free(row);
    if (d->mode == Q_EPILOGUE_TABLE) {
        x->table = at + 4 * q_round_up(x->panels, 8);
        for (int i = 0; i < Q_TABLE_BYTES; i++)
            x->table[i] = program[d->lookup + i] ^ kernels->sign;
    }
    return FINE;
}

static q_violation prepare_layernorm(q_operation *op, const uint8_t *program) {
    const q_descriptor *d = &op->d;
    int32_t *gain = op->memory = q_allocate(8 * (size_t)d->inputs);
    if (!gain)
        return SHORT;
    float *scale = (float *)(void *)(gain + d->inputs);
    op->norm = (q_norm){d->inputs, d->shift, d->epsilon, gain, scale};
    const uint16_t *from = (const void *)(program + d->parameters);
    for (uint32_t c = 0; c < d->inputs; c++) {
        if (from[c] > Q_MULTIPLIER_MAX)
            return refuse(Q_CAUSE_BAD_FIELD, d->parameters + 2 * (uint64_t)c);
        gain[c] = from[c];
        scale[c] = q_scaled(from[c], d->shift);
    }
    return FINE;
}

static q_violation prepare_attention(q_operation *op, const uint8_t *program) {
    const q_descriptor *d = &op->d;
    size_t bytes = (size_t)d->heads * Q_HEAD_BYTES;
    op->heads = op->memory = q_allocate(bytes);
    if (!op->heads)
        return SHORT;
    memcpy(op->heads, program + d->parameters, bytes);
    for (uint32_t i = 0; i < d->heads; i++) {
        const q_head *h = &op->heads[i];
        if (h->score_multiplier > Q_MULTIPLIER_MAX || h->score_shift > Q_SCORE_SHIFT_MAX ||
            h->out_multiplier > Q_MULTIPLIER_MAX || h->out_shift > Q_SHIFT_MAX)
            return refuse(Q_CAUSE_BAD_FIELD, d->parameters + (uint64_t)i * Q_HEAD_BYTES);
    }
    return FINE;
}

q_violation q_prepare(q_operation *op, const q_overlay *overlay, const q_kernels *kernels,
                      const uint8_t *program) {
    switch (op->d.opcode) {
    case Q_OPCODE_LINEAR:
        return prepare_linear(op, overlay, kernels, program);
    case Q_OPCODE_LAYERNORM:
        return prepare_layernorm(op, program);
    case Q_OPCODE_ATTENTION:
        return prepare_attention(op, program);
    default:
        return FINE;
    }
}
