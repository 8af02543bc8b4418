/* The engine's public face: what quasar_runtime.devices.native.device and the test runner call. */
#ifndef QUASAR_ENGINE_H
#define QUASAR_ENGINE_H

#include <stdint.h>

/* What an engine must know of the overlay for which programs are compiled. */
typedef struct {
    uint32_t tokens, rows, depth; /* the array */
    uint32_t act_words, res_words, logits;
    uint32_t read_ports;
} q_overlay;

/* The four areas of a run, and the length of the descriptor table. */
typedef struct {
    uint32_t count;
    const uint8_t *program;
    uint64_t program_bytes;
    const uint8_t *image;
    uint64_t image_bytes;
    uint8_t *output;
    uint64_t output_bytes;
    uint8_t *profile;
    uint64_t profile_bytes;
} q_job;

typedef struct q_engine q_engine;

/* Name of the i-th kernel set that this CPU runs, best first; NULL past the last. */
const char *q_kernels_name(uint32_t i);

/* An idle engine, or NULL when memory is short or `kernels` is not one that this CPU runs.
   It has threads - 1 helper threads besides the one that calls q_engine_run. */
q_engine *q_engine_new(const q_overlay *overlay, const char *kernels, uint32_t threads);
void q_engine_free(q_engine *engine);

/* Check a program and unpack its weights. 0, or the q_cause for which it is refused (the registers
   then hold it too); -1 when memory is short. Not while a run is under way. */
int q_engine_load(q_engine *engine, const uint8_t *program, uint64_t bytes, uint32_t count);

/* Take a run of the loaded program: 0, or the q_cause for which it is refused. */
int q_engine_start(q_engine *engine, const q_job *job);

/* Work on the run for about `nanoseconds`, looking at the clock between descriptors. 0 when it has
   ended or none was under way, else Q_RUNNING: call again. */
enum { Q_RUNNING = 1 };
int q_engine_run(q_engine *engine, uint64_t nanoseconds);

/* Back to idle from any state; what was loaded stays loaded. */
void q_engine_reset(q_engine *engine);

/* The register at `offset` of the register map; 0 where there is none. */
uint32_t q_engine_register(const q_engine *engine, uint32_t offset);

/* Multiply-accumulates a second of a kernel set's dot-product instruction on registers alone, one
   thread; 0 where the set has no such loop. Takes about `seconds`. */
double q_kernels_peak(const char *kernels, double seconds);

#endif
