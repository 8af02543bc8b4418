/* The rule book that every device enforces: quasar_runtime.isa.program.check in C. */
#ifndef QUASAR_CHECK_H
#define QUASAR_CHECK_H

#include "engine.h"
#include "quasar_interface.h"

typedef struct {
    uint32_t cause; /* q_cause */
    uint32_t descriptor;
    uint32_t address; /* byte offset of the field within its descriptor, or, for a parameter, its
                         offset from PROGRAM */
} q_violation;

/* The first violation in a table of `count` descriptors; cause Q_CAUSE_NONE when there is none.
   The table itself must lie inside the program. */
q_violation q_check(const q_descriptor *table, uint32_t count, const q_overlay *overlay,
                    uint64_t program_bytes, uint64_t image_bytes, uint64_t output_bytes);

/* Bytes of a LINEAR descriptor's packed weights. */
uint64_t q_weight_bytes(const q_descriptor *d, const q_overlay *overlay);

#endif
