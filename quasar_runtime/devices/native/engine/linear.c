/* LINEAR: tiles of tokens against panels of weight rows, each with its epilogue at once. */
#include "machine.h"

enum { ITEM_PANELS = 2 }; /* of 32 rows: a cache line of results, written by one thread */

typedef struct {
    q_machine *m;
    const q_operation *op;
    uint32_t tokens; /* of a thread's stretch */
    uint32_t groups; /* of ITEM_PANELS panels */
} q_linear_work;

static void write_logits(q_machine *m, const int32_t *acc, uint32_t first, uint32_t valid) {
    for (uint32_t r = 0; r < m->kernels->rows; r++)
        if (valid >> r & 1)
            m->logits[first + r] = acc[r];
}

typedef struct {
    q_machine *m;
    const q_descriptor *d;
    const uint8_t *table;
    q_panel rows;
    uint32_t first; /* output channel of the panel's first row */
} q_target;

static void epilogue(const q_target *to, const int32_t *acc, uint32_t t, uint32_t tokens) {
    q_machine *m = to->m;
    const q_descriptor *d = to->d;
    size_t out = q_stride(m, d->destination_pitch), at = t * out + to->first;
    if (d->mode == Q_EPILOGUE_RESIDUAL)
        m->kernels->residual(acc, tokens, &to->rows, m->res + at, out);
    else if (d->mode == Q_EPILOGUE_LOGITS)
        write_logits(m, acc, to->first, to->rows.valid);
    else
        m->kernels->requantise(acc, tokens, &to->rows, d->clamp, to->table,
                               q_act(m, d->destination) + at, out);
}

/* Part `part` of `parts` of a panel that will be read next. */
static void prefetch(const int8_t *panel, size_t bytes, uint32_t part, uint32_t parts) {
    size_t lines = bytes / Q_LANE, end = lines * (part + 1) / parts;
    for (size_t i = lines * part / parts; i < end; i++)
        __builtin_prefetch(panel + i * Q_LANE, 0, 2);
}

/* One panel on tokens begin .. end - 1. A tile's epilogue comes after the next tile's products are
   under way, so that an array of multipliers beside the vector units works at the same time. */
static void do_panel(const q_linear_work *work, uint32_t p, uint32_t begin, uint32_t end,
                     uint32_t thread) {
    q_machine *m = work->m;
    const q_descriptor *d = &work->op->d;
    const q_matrix *x = &work->op->matrix;
    const q_kernels *k = m->kernels;
    uint32_t first = p * k->rows;
    q_target to = {
        m,
        d,
        x->table,
        {x->multiplier + first, x->shift + first, x->scale + first, x->valid[p], x->narrow[p]},
        first};
    size_t stride = q_stride(m, d->source_pitch);
    const uint8_t *a = q_act(m, d->source);
    const int8_t *w = x->weights + p * x->panel_bytes;
    int32_t *acc = q_accumulators(m, thread), *previous = acc + Q_ACCUMULATORS;
    uint32_t tile = k->tile_tokens, tiles = (end - begin + tile - 1) / tile;
    for (uint32_t i = 0, t = begin; i < tiles; i++, t += tile) {
        k->gemm(a + t * stride, stride, end - t < tile ? end - t : tile, w, x->groups,
                x->bias + first, acc, k->rows);
        if (p + 1 < x->panels)
            prefetch(w + x->panel_bytes, x->panel_bytes, i, tiles);
        if (i)
            epilogue(&to, previous, t - tile, tile);
        int32_t *swap = acc;
        acc = previous;
        previous = swap;
    }
    uint32_t last = begin + (tiles - 1) * tile;
    epilogue(&to, previous, last, end - last);
}

static void panels_item(void *context, uint32_t item, uint32_t thread) {
    const q_linear_work *work = context;
    uint32_t begin = item / work->groups * work->tokens, end = begin + work->tokens;
    uint32_t p = item % work->groups * ITEM_PANELS, stop = p + ITEM_PANELS;
    uint32_t tokens = work->op->d.tokens, panels = work->op->matrix.panels;
    for (stop = stop < panels ? stop : panels; p < stop; p++)
        do_panel(work, p, begin, end < tokens ? end : tokens, thread);
}

/* A panel meets all tokens of a thread's stretch while its weights are in the nearest cache. */
void q_linear(q_machine *m, const q_operation *op) {
    uint32_t tokens = op->d.tokens, tile = m->kernels->tile_tokens;
    uint32_t tiles = (tokens + tile - 1) / tile, threads = q_pool_threads(m->pool);
    uint32_t stretches = threads < tiles ? threads : tiles;
    q_linear_work work = {m, op, (tokens + stretches - 1) / stretches,
                          (op->matrix.panels + ITEM_PANELS - 1) / ITEM_PANELS};
    stretches = (tokens + work.tokens - 1) / work.tokens;
    q_pool_run(m->pool, panels_item, &work, stretches * work.groups);
}
