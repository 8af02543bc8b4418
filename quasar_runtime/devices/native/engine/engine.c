/* The engine: takes programs and runs, walks descriptors, keeps the registers. */
#include "engine.h"

#include "machine.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct q_engine {
    q_machine m;
    q_descriptor *table; /* as checked at load */
    q_job job;
    uint32_t status; /* q_status */
    q_violation fault;
    uint64_t start_ns, end_ns;
    uint32_t next; /* descriptor */
};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void unload(q_engine *e) {
    for (uint32_t i = 0; i < e->m.count; i++)
        free(e->m.operations[i].memory);
    free(e->m.operations);
    free(e->table);
    free(e->m.act);
    free(e->m.keys);
    e->m.operations = NULL;
    e->table = NULL;
    e->m.act = NULL;
    e->m.keys = NULL;
    e->m.count = 0;
    e->m.program = NULL;
}

q_engine *q_engine_new(const q_overlay *overlay, const char *kernels, uint32_t threads) {
    const q_kernels *set = q_kernels_find(kernels);
    q_engine *e = set && threads >= 1 ? calloc(1, sizeof *e) : NULL;
    if (!e)
        return NULL;
    e->status = Q_STATUS_IDLE;
    e->m.overlay = *overlay;
    e->m.kernels = set;
    e->m.res = q_allocate(2 * (size_t)overlay->res_words * overlay->tokens * overlay->depth);
    e->m.logits = q_allocate(4 * (size_t)overlay->logits);
    e->m.threads = q_allocate((size_t)threads * Q_THREAD_BYTES);
    e->m.pool = q_pool_new(threads, set->enter, set->leave);
    if (!e->m.res || !e->m.logits || !e->m.threads || !e->m.pool) {
        q_engine_free(e);
        return NULL;
    }
    return e;
}

void q_engine_free(q_engine *e) {
    if (!e)
        return;
    unload(e);
    q_pool_free(e->m.pool);
    free(e->m.threads);
    free(e->m.logits);
    free(e->m.res);
    free(e);
}

static int refuse(q_engine *e, q_violation found) {
    e->status = Q_STATUS_ERROR;
    e->fault = found;
    return (int)found.cause;
}

/* ACT, and the panels of K and V, sized for the program. Kernels may read 16 tokens past a region's
   last one (and 64 bytes past a token), so that much slack follows ACT. */
static int allocate_memories(q_engine *e, uint32_t heads, uint32_t pitch) {
    q_machine *m = &e->m;
    const q_overlay *o = &m->overlay;
    size_t act = (size_t)o->act_words * o->tokens * o->depth;
    size_t keys = (size_t)heads * Q_KEYS_BYTES;
    m->act_bytes = act + 16 * (size_t)pitch * o->depth + 2 * Q_LANE;
    m->act = q_allocate(m->act_bytes);
    m->keys = q_allocate(2 * keys + 4 * (size_t)heads * Q_MAX_TOKENS);
    if (!m->act || !m->keys)
        return 0;
    m->values = m->keys + keys;
    m->key_bias = (int32_t *)(void *)(m->values + keys);
    memset(m->act, m->kernels->sign, m->act_bytes);
    return 1;
}

int q_engine_load(q_engine *e, const uint8_t *program, uint64_t bytes, uint32_t count) {
    q_machine *m = &e->m;
    if (e->status & Q_STATUS_BUSY)
        return Q_CAUSE_START_WHILE_BUSY;
    unload(e);
    e->status = Q_STATUS_IDLE;
    e->fault = (q_violation){Q_CAUSE_NONE, 0, 0};
    if ((uint64_t)count * Q_DESCRIPTOR_BYTES > bytes)
        return refuse(e, (q_violation){Q_CAUSE_BAD_RANGE, 0, 0});
    /* A copy, so that what was checked is what runs. */
    e->table = malloc((size_t)count * sizeof *e->table + 1);
    if (!e->table)
        return -1;
    memcpy(e->table, program, (size_t)count * sizeof *e->table);
    q_violation found = q_check(e->table, count, &m->overlay, bytes, UINT64_MAX, UINT64_MAX);
    if (found.cause != Q_CAUSE_NONE) {
        unload(e);
        return refuse(e, found);
    }
    uint32_t heads = 0, pitch = 0, used = found.descriptor + 1;
    m->operations = calloc(used, sizeof *m->operations);
    if (!m->operations) {
        unload(e);
        return -1;
    }
    m->count = used;
    for (uint32_t i = 0; i < used; i++) {
        q_operation *op = &m->operations[i];
        op->d = e->table[i];
        heads = op->d.heads > heads ? op->d.heads : heads;
        pitch = op->d.source_pitch > pitch ? op->d.source_pitch : pitch;
        found = q_prepare(op, &m->overlay, m->kernels, program);
        if (found.cause != Q_CAUSE_NONE) {
            found.descriptor = i;
            unload(e);
            return found.cause == UINT32_MAX ? -1 : refuse(e, found);
        }
    }
    if (!allocate_memories(e, heads, pitch)) {
        unload(e);
        return -1;
    }
    m->program = program;
    m->program_bytes = bytes;
    return Q_CAUSE_NONE;
}

int q_engine_start(q_engine *e, const q_job *job) {
    q_machine *m = &e->m;
    if (e->status & Q_STATUS_BUSY)
        return Q_CAUSE_START_WHILE_BUSY;
    e->next = 0;
    e->start_ns = e->end_ns = 0;
    e->fault = (q_violation){Q_CAUSE_NONE, 0, 0};
    if (!m->program || m->program != job->program || m->program_bytes != job->program_bytes)
        return refuse(e, (q_violation){Q_CAUSE_BAD_RANGE, 0, 0});
    q_violation found = q_check(e->table, m->count, &m->overlay, job->program_bytes,
                                job->image_bytes, job->output_bytes);
    if (found.cause == Q_CAUSE_NONE && (uint64_t)m->count * Q_PROFILE_BYTES > job->profile_bytes)
        found = (q_violation){Q_CAUSE_BAD_RANGE, 0, 0};
    if (found.cause != Q_CAUSE_NONE)
        return refuse(e, found);
    e->job = *job;
    e->status = Q_STATUS_BUSY;
    return Q_CAUSE_NONE;
}

static void execute(q_engine *e, const q_operation *op) {
    switch (op->d.opcode) {
    case Q_OPCODE_LOAD_IMAGE:
        q_load_image(&e->m, op, e->job.image);
        break;
    case Q_OPCODE_LOAD_RESIDUAL:
        q_load_residual(&e->m, op);
        break;
    case Q_OPCODE_LINEAR:
        q_linear(&e->m, op);
        break;
    case Q_OPCODE_LAYERNORM:
        q_layernorm(&e->m, op);
        break;
    case Q_OPCODE_ATTENTION:
        q_attention(&e->m, op);
        break;
    case Q_OPCODE_STORE:
        q_store(&e->m, op, e->job.output);
        break;
    default:
        break;
    }
}

int q_engine_run(q_engine *e, uint64_t nanoseconds) {
    if (!(e->status & Q_STATUS_BUSY))
        return 0;
    uint64_t now = now_ns(), deadline = now + nanoseconds;
    if (e->next == 0)
        e->start_ns = now;
    q_pool_begin(e->m.pool);
    while (e->next < e->m.count) {
        q_profile entry = {now - e->start_ns, 0};
        execute(e, &e->m.operations[e->next]);
        now = now_ns();
        entry.end = now - e->start_ns;
        memcpy(e->job.profile + (size_t)e->next * sizeof entry, &entry, sizeof entry);
        e->next++;
        if (now >= deadline)
            break;
    }
    q_pool_end(e->m.pool);
    e->end_ns = now;
    if (e->next < e->m.count)
        return Q_RUNNING;
    e->status = Q_STATUS_IDLE | Q_STATUS_DONE;
    return 0;
}

void q_engine_reset(q_engine *e) {
    e->status = Q_STATUS_IDLE;
    e->fault = (q_violation){Q_CAUSE_NONE, 0, 0};
    e->next = 0;
}

static uint32_t half(uint64_t value, int high) {
    return (uint32_t)(high ? value >> 32 : value);
}

uint32_t q_engine_register(const q_engine *e, uint32_t offset) {
    const q_overlay *o = &e->m.overlay;
    switch (offset) {
    case Q_REG_IDENTITY:
        return Q_IDENTITY;
    case Q_REG_VERSION:
        return Q_VERSION_MAJOR << 16 | Q_VERSION_MINOR;
    case Q_REG_ARRAY:
        return o->tokens | o->rows << 8 | o->depth << 16;
    case Q_REG_ACT_WORDS:
        return o->act_words;
    case Q_REG_RES_WORDS:
        return o->res_words;
    case Q_REG_LOGITS:
        return o->logits;
    case Q_REG_PORTS:
        return o->read_ports;
    case Q_REG_STATUS:
        return e->status;
    case Q_REG_ERROR_CAUSE:
        return e->fault.cause;
    case Q_REG_ERROR_DESCRIPTOR:
        return e->fault.cause ? e->fault.descriptor : e->next;
    case Q_REG_ERROR_ADDRESS_LO:
        return e->fault.address;
    case Q_REG_CYCLES_LO:
    case Q_REG_CYCLES_HI:
        return half(e->end_ns - e->start_ns, offset == Q_REG_CYCLES_HI);
    case Q_REG_DESCRIPTOR_COUNT:
        return e->m.count;
    default:
        return 0;
    }
}
