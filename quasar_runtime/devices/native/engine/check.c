/* Checks of a descriptor table, in the order of quasar_runtime.isa.program.check: opcode, field ranges
   in field order, then on-chip regions and memory ranges. */
#include "check.h"

#include <stddef.h>
#include <string.h>

typedef struct {
    const q_descriptor *d;
    const q_overlay *overlay;
    uint64_t program, image, output;
    q_violation *found;
} q_context;

static void report(q_context *c, uint32_t cause, uint32_t address) {
    if (c->found->cause == Q_CAUSE_NONE) {
        c->found->cause = cause;
        c->found->address = address;
    }
}

static void within(q_context *c, uint64_t end, uint64_t size, uint32_t field) {
    if (end > size)
        report(c, Q_CAUSE_BAD_RANGE, field);
}

/* A region of `tokens` tokens from word `base`: its pitch must hold the channels, its end must lie
   in a memory of `words` words. */
static void region(q_context *c, uint64_t base, uint32_t tokens, uint32_t pitch, uint32_t channels,
                   uint32_t words, uint32_t field) {
    uint64_t rows = (tokens + c->overlay->tokens - 1) / c->overlay->tokens;
    if ((uint64_t)pitch * c->overlay->depth < channels)
        report(c, Q_CAUSE_BAD_RANGE, field);
    within(c, base + rows * pitch, words, field);
}

#define FIELD(name) ((uint32_t)offsetof(q_descriptor, name))
#define ACT(name, tokens, pitch, channels)                                                         \
    region(c, d->name, tokens, d->pitch, channels, c->overlay->act_words, FIELD(name))
#define RES(pitch, channels)                                                                       \
    region(c, 0, d->tokens, d->pitch, channels, c->overlay->res_words, FIELD(pitch))

uint64_t q_weight_bytes(const q_descriptor *d, const q_overlay *overlay) {
    uint64_t steps = (d->inputs + overlay->depth - 1) / overlay->depth;
    uint64_t groups = (d->outputs + d->rows8 + overlay->rows - 1) / overlay->rows;
    return groups * steps * overlay->rows * overlay->depth / 2;
}

static void check_linear(q_context *c) {
    const q_descriptor *d = c->d;
    if (d->rows8 > d->outputs) {
        report(c, Q_CAUSE_BAD_FIELD, FIELD(rows8));
        return;
    }
    if (d->mode == Q_EPILOGUE_LOGITS && d->tokens != 1) {
        report(c, Q_CAUSE_BAD_FIELD, FIELD(tokens));
        return;
    }
    ACT(source, d->tokens, source_pitch, d->inputs);
    if (d->mode == Q_EPILOGUE_RESIDUAL)
        RES(destination_pitch, d->outputs);
    else if (d->mode == Q_EPILOGUE_LOGITS)
        within(c, d->outputs, c->overlay->logits, FIELD(outputs));
    else
        ACT(destination, d->tokens, destination_pitch, d->outputs);
    within(c, d->weights + q_weight_bytes(d, c->overlay), c->program, FIELD(weights));
    within(c, d->parameters + (uint64_t)d->outputs * Q_ROW_BYTES, c->program, FIELD(parameters));
    if (d->mode == Q_EPILOGUE_TABLE)
        within(c, (uint64_t)d->lookup + Q_TABLE_BYTES, c->program, FIELD(lookup));
}

static void check_attention(q_context *c) {
    const q_descriptor *d = c->d;
    uint32_t channels = d->heads * Q_HEAD_DIM;
    ACT(source, d->tokens, source_pitch, channels);
    ACT(source_kv, d->keys, kv_pitch, d->channel_k + channels);
    ACT(source_kv, d->keys, kv_pitch, d->channel_v + channels);
    ACT(destination, d->tokens, destination_pitch, channels);
    within(c, d->parameters + (uint64_t)d->heads * Q_HEAD_BYTES, c->program, FIELD(parameters));
}

static void check_store(q_context *c) {
    const q_descriptor *d = c->d;
    uint64_t bytes;
    if (d->mode == Q_SOURCE_LOGITS) {
        within(c, d->outputs, c->overlay->logits, FIELD(outputs));
        bytes = 4 * (uint64_t)d->outputs;
    } else if (d->mode == Q_SOURCE_ACT) {
        ACT(source, d->tokens, source_pitch, d->inputs);
        bytes = (uint64_t)d->tokens * d->inputs;
    } else {
        RES(source_pitch, d->inputs);
        bytes = 2 * (uint64_t)d->tokens * d->inputs;
    }
    within(c, d->address + bytes, c->output, FIELD(address));
}

static void check_ranges(q_context *c) {
    const q_descriptor *d = c->d;
    switch (d->opcode) {
    case Q_OPCODE_LOAD_IMAGE: {
        uint32_t side = d->image_size / Q_PATCH;
        ACT(destination, side * side + 1, destination_pitch, Q_PATCH_CHANNELS);
        within(c, d->address + (uint64_t)d->image_size * d->image_size * 3, c->image,
               FIELD(address));
        break;
    }
    case Q_OPCODE_LOAD_RESIDUAL:
        RES(destination_pitch, d->inputs);
        within(c, d->address + (uint64_t)d->tokens * d->inputs * 2, c->program, FIELD(address));
        break;
    case Q_OPCODE_LINEAR:
        check_linear(c);
        break;
    case Q_OPCODE_LAYERNORM:
        RES(source_pitch, d->inputs);
        ACT(destination, d->tokens, destination_pitch, d->inputs);
        within(c, d->parameters + (uint64_t)d->inputs * 2, c->program, FIELD(parameters));
        break;
    case Q_OPCODE_ATTENTION:
        check_attention(c);
        break;
    case Q_OPCODE_STORE:
        check_store(c);
        break;
    default:
        break;
    }
}

static uint32_t read_field(const q_descriptor *d, const q_rule *rule) {
    uint32_t value = 0;
    memcpy(&value, (const uint8_t *)d + rule->offset, rule->size);
    return value;
}

static void check_fields(q_context *c) {
    int known = 0;
    for (size_t i = 0; i < sizeof Q_RULES / sizeof *Q_RULES; i++) {
        const q_rule *rule = &Q_RULES[i];
        if (rule->opcode != c->d->opcode)
            continue;
        known = 1;
        uint32_t value = read_field(c->d, rule);
        if (value < rule->low || value > rule->high)
            report(c, Q_CAUSE_BAD_FIELD, rule->offset);
        else if (value % rule->multiple)
            report(c, rule->multiple == Q_ALIGNMENT ? Q_CAUSE_MISALIGNED : Q_CAUSE_BAD_FIELD,
                   rule->offset);
    }
    if (!known)
        c->found->cause = Q_CAUSE_BAD_OPCODE;
}

q_violation q_check(const q_descriptor *table, uint32_t count, const q_overlay *overlay,
                    uint64_t program_bytes, uint64_t image_bytes, uint64_t output_bytes) {
    q_violation found = {Q_CAUSE_NONE, 0, 0};
    q_context c = {NULL, overlay, program_bytes, image_bytes, output_bytes, &found};
    for (uint32_t i = 0; i < count; i++) {
        c.d = &table[i];
        found.descriptor = i;
        check_fields(&c);
        if (found.cause == Q_CAUSE_NONE)
            check_ranges(&c);
        if (found.cause != Q_CAUSE_NONE || table[i].opcode == Q_OPCODE_END)
            return found;
    }
    found = (q_violation){Q_CAUSE_NO_END, count, 0};
    return found;
}
