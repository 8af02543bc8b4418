/* Every kernel set of this CPU against the scalar twins, operation by operation, at the values where
   a rounding, a clamp or a precondition decides. Prints nothing and exits with 0 when all agree.

   Built by tests/runtime/devices/test_native_builds.py with the engine's sources. */
#include "arithmetic.h"
#include "engine.h"
#include "scalar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = Q_MOST_TILE_TOKENS, KEYS = Q_MAX_TOKENS, ROUNDS = 400 };

static uint64_t seed = 1;

/* splitmix64: uniform in [low, high]. */
static int64_t uniform(int64_t low, int64_t high) {
    uint64_t x = seed += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    x ^= x >> 31;
    return low + (int64_t)(x % (uint64_t)(high - low + 1));
}

static void expect(const void *got, const void *want, size_t bytes, const q_kernels *k,
                   const char *what, int round) {
    if (memcmp(got, want, bytes)) {
        printf("%s: %s differs from its scalar twin in round %d\n", k->name, what, round);
        exit(1);
    }
}

/* An accumulator beside a tie of rs(acc * m, n), or anything within the limit. */
static int32_t accumulator(int32_t m, uint32_t n, int32_t limit, int32_t results) {
    int64_t tie = 2 * uniform(-results, results) + 1; /* in halves */
    double at = m ? (double)tie * (double)((uint64_t)1 << n) / 2 / m : 0;
    if (at < -limit || at > limit || uniform(0, 3) == 0)
        return (int32_t)uniform(-limit, limit);
    return (int32_t)q_clip((int64_t)at + uniform(-1, 1), -limit, limit);
}

typedef struct {
    int32_t multiplier[Q_MOST_PANEL_ROWS], shift[Q_MOST_PANEL_ROWS];
    float scale[Q_MOST_PANEL_ROWS];
    int32_t acc[TOKENS * Q_MOST_PANEL_ROWS];
    q_panel panel;
} q_case;

/* A panel, narrow or not, and accumulators that keep what it promises. */
static void make_panel(q_case *c, uint32_t rows, int32_t results) {
    int narrow = (int)uniform(0, 3) != 0;
    int32_t limit = narrow ? (1 << 24) - 1 : INT32_MAX;
    for (uint32_t r = 0; r < rows; r++) {
        c->multiplier[r] = (int32_t)uniform(0, 9) ? (int32_t)uniform(1, Q_MULTIPLIER_MAX) : 0;
        c->shift[r] = (int32_t)uniform(narrow ? 10 : 0, Q_SHIFT_MAX);
        c->scale[r] = q_scaled(c->multiplier[r], (uint32_t)c->shift[r]);
        for (uint32_t t = 0; t < TOKENS; t++)
            c->acc[t * rows + r] =
                accumulator(c->multiplier[r], (uint32_t)c->shift[r], limit, results);
    }
    uint32_t all = rows == 32 ? UINT32_MAX : (1u << rows) - 1;
    c->panel = (q_panel){c->multiplier, c->shift, c->scale,
                         uniform(0, 3) ? all : (uint32_t)uniform(0, all), narrow};
}

/* Results, unlike the twin's buffer, keep a pattern where nothing may be written. */
static void test_requantise(const q_kernels *k, int round) {
    static q_case c;
    enum { STRIDE = 48 };
    uint8_t got[TOKENS * STRIDE], want[TOKENS * STRIDE], table[256];
    uint32_t m = (uint32_t)uniform(1, k->tile_tokens);
    int limit = (int)uniform(119, 127), lookup = (int)uniform(0, 1);
    make_panel(&c, k->rows, limit + 3);
    for (int i = 0; i < 256; i++)
        table[i] = (uint8_t)uniform(0, 255);
    memset(got, 0x55, sizeof got);
    memset(want, 0x55, sizeof want);
    k->requantise(c.acc, m, &c.panel, lookup ? 127 : limit, lookup ? table : NULL, got, STRIDE);
    q_scalar_requantise(c.acc, m, k->rows, k->sign, &c.panel, lookup ? 127 : limit,
                        lookup ? table : NULL, want, STRIDE);
    expect(got, want, sizeof got, k, "requantise", round);
}

static void test_residual(const q_kernels *k, int round) {
    static q_case c;
    enum { STRIDE = 40 };
    int16_t got[TOKENS * STRIDE], want[TOKENS * STRIDE];
    uint32_t m = (uint32_t)uniform(1, k->tile_tokens);
    make_panel(&c, k->rows, uniform(0, 1) ? 40000 : 100);
    for (int i = 0; i < TOKENS * STRIDE; i++)
        got[i] = want[i] = (int16_t)uniform(INT16_MIN, INT16_MAX);
    k->residual(c.acc, m, &c.panel, got, STRIDE);
    q_scalar_residual(c.acc, m, k->rows, &c.panel, want, STRIDE);
    expect(got, want, sizeof got, k, "residual", round);
}

static void test_layernorm(const q_kernels *k, int round) {
    static int16_t x[Q_MAX_WIDTH];
    static int32_t gain[Q_MAX_WIDTH];
    static float scale[Q_MAX_WIDTH];
    static uint8_t got[Q_MAX_WIDTH], want[Q_MAX_WIDTH];
    uint32_t d = 32 * (uint32_t)uniform(1, Q_MAX_WIDTH / 32);
    uint32_t shift = (uint32_t)(uniform(0, 2) ? uniform(14, 24) : uniform(1, Q_SHIFT_MAX));
    int64_t spread = uniform(0, 1) ? 1 << uniform(0, 15) : 200;
    q_norm norm = {d, shift, (uint32_t)uniform(1, UINT32_MAX), gain, scale};
    for (uint32_t c = 0; c < d; c++) {
        x[c] = (int16_t)uniform(-spread, spread - 1);
        gain[c] = (int32_t)uniform(0, Q_MULTIPLIER_MAX);
        scale[c] = q_scaled(gain[c], shift);
    }
    /* One channel apart from all others: a normalised value near the square root of D. */
    if (uniform(0, 1)) {
        int16_t rest = (int16_t)uniform(-100, 100);
        for (uint32_t c = 0; c < d; c++)
            x[c] = rest;
        x[uniform(0, d - 1)] = (int16_t)(uniform(0, 1) ? INT16_MIN : uniform(200, INT16_MAX));
        norm.epsilon = 1;
    }
    k->layernorm(x, &norm, got);
    q_scalar_layernorm(x, k->sign, &norm, want);
    expect(got, want, d, k, "layernorm", round);
}

static void test_numerators(const q_kernels *k, int round) {
    static int32_t scores[TOKENS * KEYS] __attribute__((aligned(64)));
    static uint8_t got[TOKENS * KEYS] __attribute__((aligned(64))), want[TOKENS * KEYS];
    int32_t got_total[TOKENS], want_total[TOKENS];
    uint32_t tokens = (uint32_t)uniform(1, k->tile_tokens), keys = (uint32_t)uniform(1, KEYS);
    uint32_t padded = q_round_up(keys, k->inputs), n = (uint32_t)uniform(0, Q_SCORE_SHIFT_MAX);
    uint32_t m = uniform(0, 9) ? (uint32_t)uniform(1, Q_MULTIPLIER_MAX) : 0;
    for (uint32_t t = 0; t < tokens; t++)
        for (uint32_t j = 0; j < KEYS; j++) {
            /* d beside the first that gives an index. */
            int64_t d = m ? ((uniform(0, 256) << n) + m - 1) / m + uniform(-1, 1) : 0;
            scores[t * KEYS + j] =
                d < 0 || d > 2000000 ? -(int32_t)uniform(0, 2000000) : -(int32_t)d;
        }
    for (uint32_t t = 0; t < tokens; t++)
        scores[t * KEYS + uniform(0, keys - 1)] = 0;
    k->numerators(scores, KEYS, tokens, keys, padded, m, n, got, KEYS, got_total);
    q_scalar_numerators(scores, KEYS, tokens, keys, padded, m, n, want, KEYS, want_total);
    expect(got_total, want_total, 4 * tokens, k, "sum of numerators", round);
    for (uint32_t t = 0; t < tokens; t++)
        expect(got + t * KEYS, want + t * KEYS, padded, k, "numerators", round);
}

static void test_mean(const q_kernels *k, int round) {
    enum { STRIDE = 48 };
    static int32_t acc[TOKENS * Q_MOST_PANEL_ROWS];
    uint8_t got[TOKENS * STRIDE] = {0}, want[TOKENS * STRIDE] = {0};
    int32_t total[TOKENS];
    uint32_t tokens = (uint32_t)uniform(1, k->tile_tokens);
    uint32_t m = (uint32_t)uniform(0, Q_MULTIPLIER_MAX), n = (uint32_t)uniform(0, Q_SHIFT_MAX);
    for (uint32_t t = 0; t < tokens; t++) {
        total[t] = (int32_t)uniform(127, 127 * Q_MAX_TOKENS);
        for (uint32_t r = 0; r < k->rows; r++)
            acc[t * k->rows + r] =
                (int32_t)uniform(-128, 128) * total[t] / 4 * (int32_t)uniform(1, 4);
    }
    k->mean(acc, tokens, total, m, n, got, STRIDE);
    q_scalar_mean(acc, tokens, k->rows, k->sign, total, m, n, want, STRIDE);
    expect(got, want, sizeof got, k, "mean", round);
}

int main(void) {
    const char *name;
    for (uint32_t i = 0; (name = q_kernels_name(i)) != NULL; i++) {
        const q_kernels *k = q_kernels_find(name);
        for (int round = 0; round < ROUNDS; round++) {
            test_requantise(k, round);
            test_residual(k, round);
            test_layernorm(k, round);
            test_numerators(k, round);
            test_mean(k, round);
        }
    }
    return 0;
}
