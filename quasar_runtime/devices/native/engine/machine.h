/* The engine's inside: a loaded program, the on-chip memories, and one function an operation. */
#ifndef QUASAR_MACHINE_H
#define QUASAR_MACHINE_H

#include "check.h"
#include "engine.h"
#include "kernels.h"
#include "pool.h"

/* A weight matrix as the kernels read it: rows in the order of their output channels, so that
   results are written without scattering; a channel that no row writes is not valid. */
typedef struct {
    int8_t *weights;
    size_t panel_bytes;
    uint32_t panels, groups;
    int32_t *bias; /* with the activations' sign taken out again */
    int32_t *multiplier, *shift;
    float *scale;
    uint32_t *valid; /* a panel */
    uint8_t *narrow; /* a panel */
    uint8_t *table;  /* as activations are kept, or NULL */
} q_matrix;

/* A descriptor and what load made of its parameters; `memory` holds all of that. */
typedef struct {
    q_descriptor d;
    void *memory;
    q_matrix matrix; /* LINEAR */
    q_norm norm;     /* LAYERNORM */
    q_head *heads;   /* ATTENTION */
} q_operation;

typedef struct {
    q_overlay overlay;
    const q_kernels *kernels;
    q_pool *pool;
    q_operation *operations;
    uint32_t count;
    const uint8_t *program;
    uint64_t program_bytes;

    uint8_t *act; /* activations, exclusive-ored with kernels->sign */
    int16_t *res; /* the residual stream */
    int32_t *logits;
    size_t act_bytes; /* slack included */

    /* Scratch. K and V panels of all heads, and for each thread scores, numerators, accumulators. */
    int8_t *keys, *values;
    int32_t *key_bias;
    uint8_t *threads;
} q_machine;

enum {
    Q_SCORES_BYTES = Q_MOST_TILE_TOKENS * Q_MAX_TOKENS * 4,
    Q_NUMERATORS_BYTES = Q_MOST_TILE_TOKENS * Q_MAX_TOKENS,
    Q_ACCUMULATORS = Q_MOST_TILE_TOKENS * Q_MOST_PANEL_ROWS,
    Q_ACCUMULATORS_BYTES = 2 * Q_ACCUMULATORS * 4, /* of two tiles */
    Q_THREAD_BYTES = Q_SCORES_BYTES + Q_NUMERATORS_BYTES + Q_ACCUMULATORS_BYTES,
    Q_KEYS_BYTES = Q_MAX_TOKENS * Q_HEAD_DIM, /* K or V of a head */
};

/* First byte of an ACT region, and bytes from token to token. */
static inline uint8_t *q_act(const q_machine *m, uint32_t base) {
    return m->act + (size_t)base * m->overlay.tokens * m->overlay.depth;
}

static inline size_t q_stride(const q_machine *m, uint32_t pitch) {
    return (size_t)pitch * m->overlay.depth;
}

static inline int32_t *q_scores(const q_machine *m, uint32_t thread) {
    return (int32_t *)(void *)(m->threads + (size_t)thread * Q_THREAD_BYTES);
}

static inline uint8_t *q_numerators(const q_machine *m, uint32_t thread) {
    return m->threads + (size_t)thread * Q_THREAD_BYTES + Q_SCORES_BYTES;
}

static inline int32_t *q_accumulators(const q_machine *m, uint32_t thread) {
    return (int32_t *)(void *)(m->threads + (size_t)thread * Q_THREAD_BYTES + Q_SCORES_BYTES +
                               Q_NUMERATORS_BYTES);
}

/* Zeroed memory on a Q_LANE boundary, NULL when short; freed by free(). */
void *q_allocate(size_t bytes);

/* Unpack what operation `op` reads of the program. Q_CAUSE_NONE; a cause with the offending
   parameter's offset; cause UINT32_MAX when memory is short. */
q_violation q_prepare(q_operation *op, const q_overlay *overlay, const q_kernels *kernels,
                      const uint8_t *program);

void q_load_image(q_machine *m, const q_operation *op, const uint8_t *image);
void q_load_residual(q_machine *m, const q_operation *op);
void q_linear(q_machine *m, const q_operation *op);
void q_layernorm(q_machine *m, const q_operation *op);
void q_attention(q_machine *m, const q_operation *op);
void q_store(q_machine *m, const q_operation *op, uint8_t *output);

#endif
