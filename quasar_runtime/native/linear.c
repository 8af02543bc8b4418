/* LINEAR: tiles of tokens against panels of weight rows, each with its epilogue at once. */
#include "machine.h"

typedef struct {
    q_machine *m;
    const q_operation *op;
    uint32_t tile_tokens; /* tokens of an item */
} q_linear_work;

static void write_logits(q_machine *m, const int32_t *acc, uint32_t first, uint32_t valid) {
    for (uint32_t r = 0; r < m->kernels->rows; r++)
        if (valid >> r & 1)
            m->logits[first + r] = acc[r];
}

/* One panel on the tokens of one item. */
static void panel_item(void *context, uint32_t item, uint32_t thread) {
    const q_linear_work *work = context;
    q_machine *m = work->m;
    const q_descriptor *d = &work->op->d;
    const q_matrix *x = &work->op->matrix;
    const q_kernels *k = m->kernels;
    uint32_t p = item % x->panels, first = p * k->rows;
    uint32_t t = item / x->panels * work->tile_tokens, end = t + work->tile_tokens;
    q_panel panel = {x->multiplier + first, x->shift + first, x->scale + first, x->valid[p],
                     x->narrow[p]};
    size_t stride = q_stride(m, d->source_pitch), out = q_stride(m, d->destination_pitch);
    const uint8_t *a = q_act(m, d->source);
    int32_t *acc = q_accumulators(m, thread);
    end = end < d->tokens ? end : d->tokens;
    for (; t < end; t += k->tile_tokens) {
        uint32_t tokens = end - t < k->tile_tokens ? end - t : k->tile_tokens;
        k->gemm(a + t * stride, stride, tokens, x->weights + p * x->panel_bytes, x->groups,
                x->bias + first, acc, k->rows);
        if (d->mode == Q_EPILOGUE_RESIDUAL)
            k->residual(acc, tokens, &panel, m->res + t * out + first, out);
        else if (d->mode == Q_EPILOGUE_LOGITS)
            write_logits(m, acc, first, panel.valid);
        else
            k->requantise(acc, tokens, &panel, d->clamp, x->table,
                          q_act(m, d->destination) + t * out + first, out);
    }
}

/* Items are a panel by all tokens, so that its weights stay in the nearest cache; where that gives
   too few to share, by some of the tokens. */
void q_linear(q_machine *m, const q_operation *op) {
    uint32_t tile = m->kernels->tile_tokens, panels = op->matrix.panels;
    uint32_t tiles = (op->d.tokens + tile - 1) / tile, threads = q_pool_threads(m->pool);
    uint32_t parts = threads > 1 ? (6 * threads + panels - 1) / panels : 1;
    parts = parts < tiles ? parts : tiles;
    uint32_t per_item = (tiles + parts - 1) / parts;
    q_linear_work work = {m, op, per_item * tile};
    q_pool_run(m->pool, panel_item, &work, panels * ((tiles + per_item - 1) / per_item));
}
