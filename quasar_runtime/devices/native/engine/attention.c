/* ATTENTION: K and V of each head into panels, then for each tile of queries scores, numerators,
   the value product and its division by the numerators' sum. */
#include "machine.h"

typedef struct {
    q_machine *m;
    const q_operation *op;
} q_attention_work;

static void pack_item(void *context, uint32_t item, uint32_t thread) {
    const q_attention_work *work = context;
    q_machine *m = work->m;
    const q_descriptor *d = &work->op->d;
    size_t stride = q_stride(m, d->kv_pitch), head = item / 2;
    const uint8_t *kv = q_act(m, d->source_kv) + head * Q_HEAD_DIM;
    (void)thread;
    if (item % 2 == 0)
        m->kernels->pack_keys(kv + d->channel_k, stride, d->keys, m->keys + head * Q_KEYS_BYTES,
                              m->key_bias + head * Q_MAX_TOKENS);
    else
        m->kernels->pack_values(kv + d->channel_v, stride, d->keys,
                                m->values + head * Q_KEYS_BYTES);
}

static void query_item(void *context, uint32_t item, uint32_t thread) {
    static const int32_t NO_BIAS[Q_MOST_PANEL_ROWS] __attribute__((aligned(Q_LANE))) = {0};
    const q_attention_work *work = context;
    q_machine *m = work->m;
    const q_descriptor *d = &work->op->d;
    const q_kernels *k = m->kernels;
    uint32_t head = item % d->heads, t = item / d->heads * k->tile_tokens;
    uint32_t tokens = d->tokens - t < k->tile_tokens ? d->tokens - t : k->tile_tokens;
    const q_head *h = &work->op->heads[head];
    size_t stride = q_stride(m, d->source_pitch), out = q_stride(m, d->destination_pitch);
    const uint8_t *q = q_act(m, d->source) + t * stride + head * Q_HEAD_DIM;
    uint8_t *to = q_act(m, d->destination) + t * out + head * Q_HEAD_DIM;
    int32_t *scores = q_scores(m, thread), *acc = q_accumulators(m, thread);
    uint8_t *e = q_numerators(m, thread);
    int32_t total[Q_MOST_TILE_TOKENS];

    const int8_t *keys = m->keys + (size_t)head * Q_KEYS_BYTES;
    const int32_t *bias = m->key_bias + (size_t)head * Q_MAX_TOKENS;
    for (uint32_t j = 0; j < d->keys; j += k->rows)
        k->gemm(q, stride, tokens, keys + (size_t)j * Q_HEAD_DIM, Q_HEAD_DIM / k->group, bias + j,
                scores + j, Q_MAX_TOKENS);
    uint32_t padded = q_round_up(d->keys, k->inputs);
    k->numerators(scores, Q_MAX_TOKENS, tokens, d->keys, padded, h->score_multiplier,
                  h->score_shift, e, Q_MAX_TOKENS, total);
    const int8_t *values = m->values + (size_t)head * Q_KEYS_BYTES;
    for (uint32_t c = 0; c < Q_HEAD_DIM; c += k->rows) {
        k->gemm(e, Q_MAX_TOKENS, tokens, values + (size_t)c * padded, padded / k->group, NO_BIAS,
                acc, k->rows);
        k->mean(acc, tokens, total, h->out_multiplier, h->out_shift, to + c, out);
    }
}

void q_attention(q_machine *m, const q_operation *op) {
    uint32_t tile = m->kernels->tile_tokens;
    q_attention_work work = {m, op};
    uint32_t tiles = (op->d.tokens + tile - 1) / tile;
    q_pool_run(m->pool, pack_item, &work, 2u * op->d.heads);
    q_pool_run(m->pool, query_item, &work, op->d.heads * tiles);
}
