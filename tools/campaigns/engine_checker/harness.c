/* libFuzzer's target for the checks of a program: what they accept is run.

   An input is a header (input_header below) and the beginning of a program; the rest of the program
   is zero. The areas of a program that is accepted are made as small as the checks still accept, so
   AddressSanitizer reports whatever it reads or writes outside them. The engine's own memories have slack
   behind them that kernels may read; that nothing is written there is checked after the run.

   The mutator knows descriptors: half of its mutations set a field to an end of its legal range, to
   something between or just outside, copy a descriptor over another or change an operation.

   tools/campaigns/engine.py builds and runs it. engine.c is included for the engine's inside. */
#include "engine.c"

#include <stdio.h>

typedef struct {
    uint8_t overlay, kernels, threads, count_above; /* count_above: descriptors, times 256 */
    uint8_t count, short_run, reserved[2];
    uint32_t program_bytes, image_bytes, output_bytes; /* modulo MOST_BYTES */
    uint32_t profile_bytes;
} input_header;

enum { MOST_BYTES = 1 << 18, SHORT_RUN = 400000, LONG_RUN = 8000000, MOST_TABLE = 64 };

static const q_overlay OVERLAYS[] = {
    {1, 2, 8, 8192, 4096, 16, 1}, {2, 4, 8, 4096, 2048, 1024, 1}, {4, 16, 16, 300, 200, 100, 1},
    {8, 64, 32, 64, 40, 1000, 2}, {16, 128, 32, 40, 33, 7, 4},    {4, 16, 16, 1024, 700, 4096, 1},
    {1, 1, 16, 9000, 9000, 1, 1}, {16, 2, 8, 257, 256, 64, 1},
};

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

static uint64_t state;

static uint32_t uniform(uint32_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((state >> 33) % below);
}

/* A value at, between or just outside the bounds of a rule. */
static uint32_t value_for(const q_rule *rule) {
    uint64_t span = ((uint64_t)rule->high - rule->low) / rule->multiple + 1;
    uint64_t some = span < 64 ? span : 64;
    switch (uniform(8)) {
    case 0:
        return rule->low;
    case 1:
        return rule->high;
    case 2:
        return rule->low - 1;
    case 3:
        return rule->high + 1;
    case 4:
        return (uint32_t)(rule->low + rule->multiple * (span * uniform(1 << 16) >> 16));
    default: /* small values fit into memories */
        return rule->low + rule->multiple * uniform((uint32_t)some);
    }
}

static void mutate_field(q_descriptor *d) {
    const size_t rules = sizeof Q_RULES / sizeof *Q_RULES;
    for (int tries = 0; tries < 256; tries++) {
        const q_rule *rule = &Q_RULES[uniform((uint32_t)rules)];
        if (rule->opcode != d->opcode || (rule->low == rule->high && uniform(32)))
            continue;
        uint32_t value = value_for(rule);
        memcpy((uint8_t *)d + rule->offset, &value, rule->size);
        return;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    state = seed;
    q_descriptor *table = (void *)(data + sizeof(input_header));
    if (size < sizeof(input_header) + sizeof *table || uniform(2))
        return LLVMFuzzerMutate(data, size, most);
    uint32_t count = (uint32_t)((size - sizeof(input_header)) / sizeof *table);
    count = count < MOST_TABLE ? count : MOST_TABLE;
    for (uint32_t changes = 1 + uniform(3); changes; changes--) {
        q_descriptor d, other;
        uint32_t i = uniform(count), j = uniform(count);
        memcpy(&d, &table[i], sizeof d);
        memcpy(&other, &table[j], sizeof other);
        uint32_t what = uniform(16);
        if (what == 0)
            d = other;
        else if (what == 1)
            d.opcode = (uint8_t)(1 + uniform(Q_OPCODE_END));
        else
            mutate_field(&d);
        memcpy(&table[i], &d, sizeof d);
    }
    return size;
}

/* Multiply-accumulates, or as much work as they are. */
static uint64_t work_of(const q_descriptor *d) {
    if (d->opcode == Q_OPCODE_LINEAR)
        return (uint64_t)d->tokens * d->inputs * d->outputs;
    if (d->opcode == Q_OPCODE_ATTENTION)
        return 2ull * d->tokens * d->keys * d->heads * Q_HEAD_DIM;
    return (uint64_t)d->tokens * d->inputs + d->image_size * d->image_size;
}

static uint8_t *area(uint64_t size) {
    void *memory = NULL;
    if (posix_memalign(&memory, Q_ALIGNMENT, size))
        abort();
    memset(memory, 0x5a, size);
    return memory;
}

static void expect(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "SUMMARY: harness: %s\n", what);
        abort();
    }
}

static void expect_untouched(const void *memory, size_t used, size_t size, uint8_t value,
                             const char *what) {
    for (size_t i = used; i < size; i++)
        expect(((const uint8_t *)memory)[i] == value, what);
}

/* Descriptors until the end, or until one is too much work. */
static void run(q_engine *e, uint64_t most) {
    uint64_t done = 0;
    int running = 1;
    while (running) {
        done += work_of(&e->m.operations[e->next].d);
        if (done > most)
            break;
        running = q_engine_run(e, 0) == Q_RUNNING;
    }
    const q_machine *m = &e->m;
    size_t word = (size_t)m->overlay.tokens * m->overlay.depth;
    expect_untouched(m->act, m->overlay.act_words * word, m->act_bytes, m->kernels->sign,
                     "written behind ACT");
    expect_untouched(m->res, 2 * m->overlay.res_words * word,
                     2 * m->overlay.res_words * word + Q_LANE, 0, "written behind RES");
    expect_untouched(m->logits, 4 * m->overlay.logits, 4 * m->overlay.logits + Q_LANE, 0,
                     "written behind the logits");
    q_engine_reset(e);
}

/* Bytes of the areas of a job. */
enum { PROGRAM, IMAGE, OUTPUT, AREAS };

static q_violation check(const q_descriptor *table, uint32_t count, const q_overlay *overlay,
                         const uint64_t *sizes) {
    if ((uint64_t)count * Q_DESCRIPTOR_BYTES > sizes[PROGRAM])
        return (q_violation){Q_CAUSE_BAD_RANGE, 0, 0};
    return q_check(table, count, overlay, sizes[PROGRAM], sizes[IMAGE], sizes[OUTPUT]);
}

/* The smallest sizes, one after the other, with which the table is accepted. */
static void tighten(const q_descriptor *table, uint32_t count, const q_overlay *overlay,
                    uint64_t *sizes) {
    for (int i = 0; i < AREAS; i++) {
        uint64_t low = 0, high = sizes[i]; /* high is accepted */
        while (low < high) {
            sizes[i] = low + (high - low) / 2;
            if (check(table, count, overlay, sizes).cause == Q_CAUSE_NONE)
                high = sizes[i];
            else
                low = sizes[i] + 1;
        }
        sizes[i] = high;
    }
}

static uint32_t number_of_sets(void) {
    uint32_t sets = 0;
    while (q_kernels_name(sets))
        sets++;
    return sets;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input_header h;
    if (size < sizeof h)
        return 0;
    memcpy(&h, data, sizeof h);
    data += sizeof h;
    size -= sizeof h;
    uint32_t count = h.count | (uint32_t)h.count_above << 8;
    const q_overlay *overlay = &OVERLAYS[h.overlay % (sizeof OVERLAYS / sizeof *OVERLAYS)];
    uint64_t sizes[AREAS] = {h.program_bytes % MOST_BYTES, h.image_bytes % MOST_BYTES,
                             h.output_bytes % MOST_BYTES};
    uint64_t profile_bytes = h.profile_bytes % MOST_BYTES;
    uint8_t *whole = calloc(1, MOST_BYTES);
    expect(whole != NULL, "no memory");
    memcpy(whole, data, size < MOST_BYTES ? size : MOST_BYTES);
    q_violation found = check((const void *)whole, count, overlay, sizes);
    if (found.cause == Q_CAUSE_NONE) {
        tighten((const void *)whole, count, overlay, sizes);
        if (profile_bytes > (found.descriptor + 1) * Q_PROFILE_BYTES)
            profile_bytes = (found.descriptor + 1) * Q_PROFILE_BYTES;
    }
    uint8_t *program = area(sizes[PROGRAM]), *image = area(sizes[IMAGE]);
    uint8_t *output = area(sizes[OUTPUT]), *profile = area(profile_bytes);
    memcpy(program, whole, sizes[PROGRAM]);
    free(whole);
    q_job job = {count,  program,       sizes[PROGRAM], image,        sizes[IMAGE],
                 output, sizes[OUTPUT], profile,        profile_bytes};

    const char *kernels = q_kernels_name(h.kernels % number_of_sets());
    q_engine *e = q_engine_new(overlay, kernels, h.threads % 16 ? 1 : 2);
    expect(e != NULL, "no engine");
    int cause = q_engine_load(e, program, sizes[PROGRAM], count);
    expect(cause >= 0, "no memory for a small program");
    expect(!cause == !(q_engine_register(e, Q_REG_STATUS) & Q_STATUS_ERROR), "cause and status");
    if (!cause && !q_engine_start(e, &job))
        run(e, h.short_run ? SHORT_RUN : LONG_RUN);
    q_engine_free(e);
    free(program);
    free(image);
    free(output);
    free(profile);
    return 0;
}
