/* LAYERNORM: the residual's tokens, some an item. */
#include "machine.h"

enum { ITEM_TOKENS = 16 };

typedef struct {
    q_machine *m;
    const q_operation *op;
} q_layernorm_work;

static void tokens_item(void *context, uint32_t item, uint32_t thread) {
    const q_layernorm_work *work = context;
    q_machine *m = work->m;
    const q_descriptor *d = &work->op->d;
    size_t from = q_stride(m, d->source_pitch), to = q_stride(m, d->destination_pitch);
    uint32_t t = item * ITEM_TOKENS, end = t + ITEM_TOKENS;
    (void)thread;
    for (end = end < d->tokens ? end : d->tokens; t < end; t++)
        m->kernels->layernorm(m->res + t * from, &work->op->norm,
                              q_act(m, d->destination) + t * to);
}

void q_layernorm(q_machine *m, const q_operation *op) {
    q_layernorm_work work = {m, op};
    q_pool_run(m->pool, tokens_item, &work, (op->d.tokens + ITEM_TOKENS - 1) / ITEM_TOKENS);
}
