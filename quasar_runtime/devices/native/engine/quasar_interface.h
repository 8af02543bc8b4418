/* Generated from quasar_runtime/isa/interface.py by quasar_runtime.isa.emit. */
#ifndef QUASAR_INTERFACE_H
#define QUASAR_INTERFACE_H

#include <stdint.h>

#define Q_IDENTITY 0x51554153u
#define Q_VERSION_MAJOR 1
#define Q_VERSION_MINOR 0
#define Q_DESCRIPTOR_BYTES 64
#define Q_PROFILE_BYTES 16
#define Q_ROW_BYTES 16
#define Q_HEAD_BYTES 8
#define Q_TABLE_BYTES 256
#define Q_ALIGNMENT 64
#define Q_HEAD_DIM 64
#define Q_PATCH 16
#define Q_PATCH_CHANNELS 768
#define Q_MAX_TOKENS 256
#define Q_MAX_CHANNELS 4096
#define Q_MAX_WIDTH 1024
#define Q_MAX_HEADS 16
#define Q_MAX_DESCRIPTORS 1024
#define Q_CHANNEL_MULTIPLE 32
#define Q_ACTIVATION_MAX 127
#define Q_WEIGHT8_MAX 119
#define Q_WEIGHT4_MAX 7
#define Q_MULTIPLIER_MAX 32767
#define Q_SHIFT_MAX 40
#define Q_SCORE_SHIFT_MAX 23
#define Q_NORM_FRACTION 12
#define Q_MEAN_FRACTION 8
#define Q_RSQRT_FIRST 64

enum q_opcode { Q_OPCODE_LOAD_IMAGE = 1, Q_OPCODE_LOAD_RESIDUAL = 2, Q_OPCODE_LINEAR = 3,
Q_OPCODE_LAYERNORM = 4, Q_OPCODE_ATTENTION = 5, Q_OPCODE_STORE = 6, Q_OPCODE_END = 7 };

enum q_epilogue { Q_EPILOGUE_REQUANTISE = 0, Q_EPILOGUE_TABLE = 1, Q_EPILOGUE_RESIDUAL = 2,
Q_EPILOGUE_LOGITS = 3 };

enum q_source { Q_SOURCE_LOGITS = 0, Q_SOURCE_ACT = 1, Q_SOURCE_RESIDUAL = 2 };

enum q_cause { Q_CAUSE_NONE = 0, Q_CAUSE_BAD_OPCODE = 1, Q_CAUSE_BAD_FIELD = 2,
Q_CAUSE_BAD_RANGE = 3, Q_CAUSE_MISALIGNED = 4, Q_CAUSE_READ_SLVERR = 5, Q_CAUSE_READ_DECERR =
6, Q_CAUSE_WRITE_SLVERR = 7, Q_CAUSE_WRITE_DECERR = 8, Q_CAUSE_STALLED = 9,
Q_CAUSE_START_WHILE_BUSY = 10, Q_CAUSE_NO_END = 11 };

enum q_status { Q_STATUS_IDLE = 1, Q_STATUS_BUSY = 2, Q_STATUS_DONE = 4, Q_STATUS_ERROR = 8 };

enum q_control { Q_CONTROL_START = 1, Q_CONTROL_RESET = 2 };

/* A descriptor: little-endian, as it lies in memory. */
typedef struct {
    uint8_t opcode; /* 0: operation */
    uint8_t mode; /* 1: LINEAR: epilogue; STORE: source */
    uint16_t layer; /* 2: layer number, for timing; not interpreted */
    uint16_t tokens; /* 4: tokens processed; ATTENTION: query tokens */
    uint16_t keys; /* 6: ATTENTION: tokens of K and V */
    uint16_t inputs; /* 8: channels read a token */
    uint16_t outputs; /* 10: rows of the weight matrix; STORE of logits: how many */
    uint16_t rows8; /* 12: LINEAR: 8-bit rows, which come first; the others are 4-bit */
    uint16_t heads; /* 14: ATTENTION: heads */
    uint32_t source; /* 16: ACT word address read; ATTENTION: of Q */
    uint32_t source_kv; /* 20: ATTENTION: ACT word address of the region that holds K and V */
    uint16_t channel_k; /* 24: first channel of K in that region */
    uint16_t channel_v; /* 26: first channel of V in that region */
    uint32_t destination; /* 28: ACT word address written */
    uint16_t source_pitch; /* 32: words per token row of the source; ATTENTION: of Q */
    uint16_t kv_pitch; /* 34: words per token row of the region that holds K and V */
    uint16_t destination_pitch; /* 36: words per token row of the destination */
    uint8_t clamp; /* 38: LINEAR: limit of a requantised result */
    uint8_t shift; /* 39: LAYERNORM: n */
    uint32_t weights; /* 40: offset from PROGRAM of the packed weights */
    uint32_t parameters; /* 44: offset from PROGRAM of the row, gain or head parameters */
    uint32_t lookup; /* 48: offset from PROGRAM of a 256-byte lookup table */
    uint32_t address; /* 52: offset from PROGRAM (LOAD_RESIDUAL), IMAGE or OUTPUT */
    uint32_t epsilon; /* 56: LAYERNORM: added to the variance */
    uint16_t image_size; /* 60: LOAD_IMAGE: side in pixels */
    uint16_t reserved; /* 62: zero */
} q_descriptor;

/* Parameters of a weight row, and of an attention head. */
typedef struct {
    int32_t bias;
    uint16_t multiplier;
    uint16_t channel;
    uint8_t shift;
    uint8_t reserved9[7];
} q_row;

typedef struct {
    uint16_t score_multiplier;
    uint8_t score_shift;
    uint8_t reserved3[1];
    uint16_t out_multiplier;
    uint8_t out_shift;
    uint8_t reserved7[1];
} q_head;

typedef struct {
    uint64_t begin, end;
} q_profile;

/* Legal values of every field of every operation, in field order: low to high, at
   multiples of `multiple`. A field that an operation does not use must be zero. */
typedef struct {
    uint8_t opcode, offset, size;
    uint32_t low, high, multiple;
} q_rule;
static const q_rule Q_RULES[] = {
    {Q_OPCODE_LOAD_IMAGE, 1, 1, 0u, 0u, 1u}, /* mode */
    {Q_OPCODE_LOAD_IMAGE, 2, 2, 0u, 65535u, 1u}, /* layer */
    {Q_OPCODE_LOAD_IMAGE, 4, 2, 0u, 0u, 1u}, /* tokens */
    {Q_OPCODE_LOAD_IMAGE, 6, 2, 0u, 0u, 1u}, /* keys */
    {Q_OPCODE_LOAD_IMAGE, 8, 2, 0u, 0u, 1u}, /* inputs */
    {Q_OPCODE_LOAD_IMAGE, 10, 2, 0u, 0u, 1u}, /* outputs */
    {Q_OPCODE_LOAD_IMAGE, 12, 2, 0u, 0u, 1u}, /* rows8 */
    {Q_OPCODE_LOAD_IMAGE, 14, 2, 0u, 0u, 1u}, /* heads */
    {Q_OPCODE_LOAD_IMAGE, 16, 4, 0u, 0u, 1u}, /* source */
    {Q_OPCODE_LOAD_IMAGE, 20, 4, 0u, 0u, 1u}, /* source_kv */
    {Q_OPCODE_LOAD_IMAGE, 24, 2, 0u, 0u, 1u}, /* channel_k */
    {Q_OPCODE_LOAD_IMAGE, 26, 2, 0u, 0u, 1u}, /* channel_v */
    {Q_OPCODE_LOAD_IMAGE, 28, 4, 0u, 16777215u, 1u}, /* destination */
    {Q_OPCODE_LOAD_IMAGE, 32, 2, 0u, 0u, 1u}, /* source_pitch */
    {Q_OPCODE_LOAD_IMAGE, 34, 2, 0u, 0u, 1u}, /* kv_pitch */
    {Q_OPCODE_LOAD_IMAGE, 36, 2, 1u, 32767u, 1u}, /* destination_pitch */
    {Q_OPCODE_LOAD_IMAGE, 38, 1, 0u, 0u, 1u}, /* clamp */
    {Q_OPCODE_LOAD_IMAGE, 39, 1, 0u, 0u, 1u}, /* shift */
    {Q_OPCODE_LOAD_IMAGE, 40, 4, 0u, 0u, 1u}, /* weights */
    {Q_OPCODE_LOAD_IMAGE, 44, 4, 0u, 0u, 1u}, /* parameters */
    {Q_OPCODE_LOAD_IMAGE, 48, 4, 0u, 0u, 1u}, /* lookup */
    {Q_OPCODE_LOAD_IMAGE, 52, 4, 0u, 4294967232u, 64u}, /* address */
    {Q_OPCODE_LOAD_IMAGE, 56, 4, 0u, 0u, 1u}, /* epsilon */
    {Q_OPCODE_LOAD_IMAGE, 60, 2, 16u, 240u, 16u}, /* image_size */
    {Q_OPCODE_LOAD_IMAGE, 62, 2, 0u, 0u, 1u}, /* reserved */
    {Q_OPCODE_LOAD_RESIDUAL, 1, 1, 0u, 0u, 1u}, /* mode */
    {Q_OPCODE_LOAD_RESIDUAL, 2, 2, 0u, 65535u, 1u}, /* layer */
    {Q_OPCODE_LOAD_RESIDUAL, 4, 2, 1u, 256u, 1u}, /* tokens */
    {Q_OPCODE_LOAD_RESIDUAL, 6, 2, 0u, 0u, 1u}, /* keys */
    {Q_OPCODE_LOAD_RESIDUAL, 8, 2, 32u, 1024u, 32u}, /* inputs */
    {Q_OPCODE_LOAD_RESIDUAL, 10, 2, 0u, 0u, 1u}, /* outputs */
    {Q_OPCODE_LOAD_RESIDUAL, 12, 2, 0u, 0u, 1u}, /* rows8 */
    {Q_OPCODE_LOAD_RESIDUAL, 14, 2, 0u, 0u, 1u}, /* heads */
    {Q_OPCODE_LOAD_RESIDUAL, 16, 4, 0u, 0u, 1u}, /* source */
    {Q_OPCODE_LOAD_RESIDUAL, 20, 4, 0u, 0u, 1u}, /* source_kv */
    {Q_OPCODE_LOAD_RESIDUAL, 24, 2, 0u, 0u, 1u}, /* channel_k */
    {Q_OPCODE_LOAD_RESIDUAL, 26, 2, 0u, 0u, 1u}, /* channel_v */
    {Q_OPCODE_LOAD_RESIDUAL, 28, 4, 0u, 0u, 1u}, /* destination */
    {Q_OPCODE_LOAD_RESIDUAL, 32, 2, 0u, 0u, 1u}, /* source_pitch */
    {Q_OPCODE_LOAD_RESIDUAL, 34, 2, 0u, 0u, 1u}, /* kv_pitch */
    {Q_OPCODE_LOAD_RESIDUAL, 36, 2, 1u, 32767u, 1u}, /* destination_pitch */
    {Q_OPCODE_LOAD_RESIDUAL, 38, 1, 0u, 0u, 1u}, /* clamp */
    {Q_OPCODE_LOAD_RESIDUAL, 39, 1, 0u, 0u, 1u}, /* shift */
    {Q_OPCODE_LOAD_RESIDUAL, 40, 4, 0u, 0u, 1u}, /* weights */
    {Q_OPCODE_LOAD_RESIDUAL, 44, 4, 0u, 0u, 1u}, /* parameters */
    {Q_OPCODE_LOAD_RESIDUAL, 48, 4, 0u, 0u, 1u}, /* lookup */
    {Q_OPCODE_LOAD_RESIDUAL, 52, 4, 0u, 4294967232u, 64u}, /* address */
    {Q_OPCODE_LOAD_RESIDUAL, 56, 4, 0u, 0u, 1u}, /* epsilon */
    {Q_OPCODE_LOAD_RESIDUAL, 60, 2, 0u, 0u, 1u}, /* image_size */
    {Q_OPCODE_LOAD_RESIDUAL, 62, 2, 0u, 0u, 1u}, /* reserved */
    {Q_OPCODE_LINEAR, 1, 1, 0u, 3u, 1u}, /* mode */
    {Q_OPCODE_LINEAR, 2, 2, 0u, 65535u, 1u}, /* layer */
    {Q_OPCODE_LINEAR, 4, 2, 1u, 256u, 1u}, /* tokens */
    {Q_OPCODE_LINEAR, 6, 2, 0u, 0u, 1u}, /* keys */
    {Q_OPCODE_LINEAR, 8, 2, 32u, 4096u, 32u}, /* inputs */
    {Q_OPCODE_LINEAR, 10, 2, 1u, 4096u, 1u}, /* outputs */
    {Q_OPCODE_LINEAR, 12, 2, 0u, 4096u, 1u}, /* rows8 */
    {Q_OPCODE_LINEAR, 14, 2, 0u, 0u, 1u}, /* heads */
    {Q_OPCODE_LINEAR, 16, 4, 0u, 16777215u, 1u}, /* source */
    {Q_OPCODE_LINEAR, 20, 4, 0u, 0u, 1u}, /* source_kv */
    {Q_OPCODE_LINEAR, 24, 2, 0u, 0u, 1u}, /* channel_k */
    {Q_OPCODE_LINEAR, 26, 2, 0u, 0u, 1u}, /* channel_v */
    {Q_OPCODE_LINEAR, 28, 4, 0u, 16777215u, 1u}, /* destination */
    {Q_OPCODE_LINEAR, 32, 2, 1u, 32767u, 1u}, /* source_pitch */
    {Q_OPCODE_LINEAR, 34, 2, 0u, 0u, 1u}, /* kv_pitch */
    {Q_OPCODE_LINEAR, 36, 2, 0u, 32767u, 1u}, /* destination_pitch */
    {Q_OPCODE_LINEAR, 38, 1, 119u, 127u, 1u}, /* clamp */
    {Q_OPCODE_LINEAR, 39, 1, 0u, 0u, 1u}, /* shift */
    {Q_OPCODE_LINEAR, 40, 4, 0u, 4294967232u, 64u}, /* weights */
    {Q_OPCODE_LINEAR, 44, 4, 0u, 4294967232u, 64u}, /* parameters */
    {Q_OPCODE_LINEAR, 48, 4, 0u, 4294967232u, 64u}, /* lookup */
    {Q_OPCODE_LINEAR, 52, 4, 0u, 0u, 1u}, /* address */
    {Q_OPCODE_LINEAR, 56, 4, 0u, 0u, 1u}, /* epsilon */
    {Q_OPCODE_LINEAR, 60, 2, 0u, 0u, 1u}, /* image_size */
    {Q_OPCODE_LINEAR, 62, 2, 0u, 0u, 1u}, /* reserved */
    {Q_OPCODE_LAYERNORM, 1, 1, 0u, 0u, 1u}, /* mode */
    {Q_OPCODE_LAYERNORM, 2, 2, 0u, 65535u, 1u}, /* layer */
    {Q_OPCODE_LAYERNORM, 4, 2, 1u, 256u, 1u}, /* tokens */
    {Q_OPCODE_LAYERNORM, 6, 2, 0u, 0u, 1u}, /* keys */
    {Q_OPCODE_LAYERNORM, 8, 2, 32u, 1024u, 32u}, /* inputs */
    {Q_OPCODE_LAYERNORM, 10, 2, 0u, 0u, 1u}, /* outputs */
    {Q_OPCODE_LAYERNORM, 12, 2, 0u, 0u, 1u}, /* rows8 */
    {Q_OPCODE_LAYERNORM, 14, 2, 0u, 0u, 1u}, /* heads */
    {Q_OPCODE_LAYERNORM, 16, 4, 0u, 0u, 1u}, /* source */
    {Q_OPCODE_LAYERNORM, 20, 4, 0u, 0u, 1u}, /* source_kv */
    {Q_OPCODE_LAYERNORM, 24, 2, 0u, 0u, 1u}, /* channel_k */
    {Q_OPCODE_LAYERNORM, 26, 2, 0u, 0u, 1u}, /* channel_v */
    {Q_OPCODE_LAYERNORM, 28, 4, 0u, 16777215u, 1u}, /* destination */
    {Q_OPCODE_LAYERNORM, 32, 2, 1u, 32767u, 1u}, /* source_pitch */
    {Q_OPCODE_LAYERNORM, 34, 2, 0u, 0u, 1u}, /* kv_pitch */
    {Q_OPCODE_LAYERNORM, 36, 2, 1u, 32767u, 1u}, /* destination_pitch */
    {Q_OPCODE_LAYERNORM, 38, 1, 0u, 0u, 1u}, /* clamp */
    {Q_OPCODE_LAYERNORM, 39, 1, 1u, 40u, 1u}, /* shift */
    {Q_OPCODE_LAYERNORM, 40, 4, 0u, 0u, 1u}, /* weights */
    {Q_OPCODE_LAYERNORM, 44, 4, 0u, 4294967232u, 64u}, /* parameters */
    {Q_OPCODE_LAYERNORM, 48, 4, 0u, 0u, 1u}, /* lookup */
    {Q_OPCODE_LAYERNORM, 52, 4, 0u, 0u, 1u}, /* address */
    {Q_OPCODE_LAYERNORM, 56, 4, 1u, 4294967295u, 1u}, /* epsilon */
    {Q_OPCODE_LAYERNORM, 60, 2, 0u, 0u, 1u}, /* image_size */
    {Q_OPCODE_LAYERNORM, 62, 2, 0u, 0u, 1u}, /* reserved */
    {Q_OPCODE_ATTENTION, 1, 1, 0u, 0u, 1u}, /* mode */
    {Q_OPCODE_ATTENTION, 2, 2, 0u, 65535u, 1u}, /* layer */
    {Q_OPCODE_ATTENTION, 4, 2, 1u, 256u, 1u}, /* tokens */
    {Q_OPCODE_ATTENTION, 6, 2, 1u, 256u, 1u}, /* keys */
    {Q_OPCODE_ATTENTION, 8, 2, 0u, 0u, 1u}, /* inputs */
    {Q_OPCODE_ATTENTION, 10, 2, 0u, 0u, 1u}, /* outputs */
    {Q_OPCODE_ATTENTION, 12, 2, 0u, 0u, 1u}, /* rows8 */
    {Q_OPCODE_ATTENTION, 14, 2, 1u, 16u, 1u}, /* heads */
    {Q_OPCODE_ATTENTION, 16, 4, 0u, 16777215u, 1u}, /* source */
    {Q_OPCODE_ATTENTION, 20, 4, 0u, 16777215u, 1u}, /* source_kv */
    {Q_OPCODE_ATTENTION, 24, 2, 0u, 3072u, 64u}, /* channel_k */
    {Q_OPCODE_ATTENTION, 26, 2, 0u, 3072u, 64u}, /* channel_v */
    {Q_OPCODE_ATTENTION, 28, 4, 0u, 16777215u, 1u}, /* destination */
    {Q_OPCODE_ATTENTION, 32, 2, 1u, 32767u, 1u}, /* source_pitch */
    {Q_OPCODE_ATTENTION, 34, 2, 1u, 32767u, 1u}, /* kv_pitch */
    {Q_OPCODE_ATTENTION, 36, 2, 1u, 32767u, 1u}, /* destination_pitch */
    {Q_OPCODE_ATTENTION, 38, 1, 0u, 0u, 1u}, /* clamp */
    {Q_OPCODE_ATTENTION, 39, 1, 0u, 0u, 1u}, /* shift */
    {Q_OPCODE_ATTENTION, 40, 4, 0u, 0u, 1u}, /* weights */
    {Q_OPCODE_ATTENTION, 44, 4, 0u, 4294967232u, 64u}, /* parameters */
    {Q_OPCODE_ATTENTION, 48, 4, 0u, 0u, 1u}, /* lookup */
    {Q_OPCODE_ATTENTION, 52, 4, 0u, 0u, 1u}, /* address */
    {Q_OPCODE_ATTENTION, 56, 4, 0u, 0u, 1u}, /* epsilon */
    {Q_OPCODE_ATTENTION, 60, 2, 0u, 0u, 1u}, /* image_size */
    {Q_OPCODE_ATTENTION, 62, 2, 0u, 0u, 1u}, /* reserved */
    {Q_OPCODE_STORE, 1, 1, 0u, 2u, 1u}, /* mode */
    {Q_OPCODE_STORE, 2, 2, 0u, 65535u, 1u}, /* layer */
    {Q_OPCODE_STORE, 4, 2, 0u, 256u, 1u}, /* tokens */
    {Q_OPCODE_STORE, 6, 2, 0u, 0u, 1u}, /* keys */
    {Q_OPCODE_STORE, 8, 2, 0u, 4096u, 32u}, /* inputs */
    {Q_OPCODE_STORE, 10, 2, 0u, 4096u, 1u}, /* outputs */
    {Q_OPCODE_STORE, 12, 2, 0u, 0u, 1u}, /* rows8 */
    {Q_OPCODE_STORE, 14, 2, 0u, 0u, 1u}, /* heads */
    {Q_OPCODE_STORE, 16, 4, 0u, 16777215u, 1u}, /* source */
    {Q_OPCODE_STORE, 20, 4, 0u, 0u, 1u}, /* source_kv */
    {Q_OPCODE_STORE, 24, 2, 0u, 0u, 1u}, /* channel_k */
    {Q_OPCODE_STORE, 26, 2, 0u, 0u, 1u}, /* channel_v */
    {Q_OPCODE_STORE, 28, 4, 0u, 0u, 1u}, /* destination */
    {Q_OPCODE_STORE, 32, 2, 0u, 32767u, 1u}, /* source_pitch */
    {Q_OPCODE_STORE, 34, 2, 0u, 0u, 1u}, /* kv_pitch */
    {Q_OPCODE_STORE, 36, 2, 0u, 0u, 1u}, /* destination_pitch */
    {Q_OPCODE_STORE, 38, 1, 0u, 0u, 1u}, /* clamp */
    {Q_OPCODE_STORE, 39, 1, 0u, 0u, 1u}, /* shift */
    {Q_OPCODE_STORE, 40, 4, 0u, 0u, 1u}, /* weights */
    {Q_OPCODE_STORE, 44, 4, 0u, 0u, 1u}, /* parameters */
    {Q_OPCODE_STORE, 48, 4, 0u, 0u, 1u}, /* lookup */
    {Q_OPCODE_STORE, 52, 4, 0u, 4294967232u, 64u}, /* address */
    {Q_OPCODE_STORE, 56, 4, 0u, 0u, 1u}, /* epsilon */
    {Q_OPCODE_STORE, 60, 2, 0u, 0u, 1u}, /* image_size */
    {Q_OPCODE_STORE, 62, 2, 0u, 0u, 1u}, /* reserved */
    {Q_OPCODE_END, 1, 1, 0u, 0u, 1u}, /* mode */
    {Q_OPCODE_END, 2, 2, 0u, 65535u, 1u}, /* layer */
    {Q_OPCODE_END, 4, 2, 0u, 0u, 1u}, /* tokens */
    {Q_OPCODE_END, 6, 2, 0u, 0u, 1u}, /* keys */
    {Q_OPCODE_END, 8, 2, 0u, 0u, 1u}, /* inputs */
    {Q_OPCODE_END, 10, 2, 0u, 0u, 1u}, /* outputs */
    {Q_OPCODE_END, 12, 2, 0u, 0u, 1u}, /* rows8 */
    {Q_OPCODE_END, 14, 2, 0u, 0u, 1u}, /* heads */
    {Q_OPCODE_END, 16, 4, 0u, 0u, 1u}, /* source */
    {Q_OPCODE_END, 20, 4, 0u, 0u, 1u}, /* source_kv */
    {Q_OPCODE_END, 24, 2, 0u, 0u, 1u}, /* channel_k */
    {Q_OPCODE_END, 26, 2, 0u, 0u, 1u}, /* channel_v */
    {Q_OPCODE_END, 28, 4, 0u, 0u, 1u}, /* destination */
    {Q_OPCODE_END, 32, 2, 0u, 0u, 1u}, /* source_pitch */
    {Q_OPCODE_END, 34, 2, 0u, 0u, 1u}, /* kv_pitch */
    {Q_OPCODE_END, 36, 2, 0u, 0u, 1u}, /* destination_pitch */
    {Q_OPCODE_END, 38, 1, 0u, 0u, 1u}, /* clamp */
    {Q_OPCODE_END, 39, 1, 0u, 0u, 1u}, /* shift */
    {Q_OPCODE_END, 40, 4, 0u, 0u, 1u}, /* weights */
    {Q_OPCODE_END, 44, 4, 0u, 0u, 1u}, /* parameters */
    {Q_OPCODE_END, 48, 4, 0u, 0u, 1u}, /* lookup */
    {Q_OPCODE_END, 52, 4, 0u, 0u, 1u}, /* address */
    {Q_OPCODE_END, 56, 4, 0u, 0u, 1u}, /* epsilon */
    {Q_OPCODE_END, 60, 2, 0u, 0u, 1u}, /* image_size */
    {Q_OPCODE_END, 62, 2, 0u, 0u, 1u}, /* reserved */
};

#define Q_REG_IDENTITY 0x00
#define Q_REG_VERSION 0x04
#define Q_REG_ARRAY 0x08
#define Q_REG_ACT_WORDS 0x0C
#define Q_REG_RES_WORDS 0x10
#define Q_REG_LOGITS 0x14
#define Q_REG_CLOCK_KHZ 0x18
#define Q_REG_PORTS 0x1C
#define Q_REG_CONTROL 0x20
#define Q_REG_STATUS 0x24
#define Q_REG_ERROR_CAUSE 0x28
#define Q_REG_ERROR_DESCRIPTOR 0x2C
#define Q_REG_ERROR_ADDRESS_LO 0x30
#define Q_REG_ERROR_ADDRESS_HI 0x34
#define Q_REG_CYCLES_LO 0x38
#define Q_REG_CYCLES_HI 0x3C
#define Q_REG_INTERRUPT_ENABLE 0x40
#define Q_REG_INTERRUPT_STATUS 0x44
#define Q_REG_DESCRIPTOR_COUNT 0x48
#define Q_REG_TIMEOUT 0x4C
#define Q_REG_PROGRAM_LO 0x50
#define Q_REG_PROGRAM_HI 0x54
#define Q_REG_PROGRAM_BYTES 0x58
#define Q_REG_IMAGE_LO 0x60
#define Q_REG_IMAGE_HI 0x64
#define Q_REG_IMAGE_BYTES 0x68
#define Q_REG_OUTPUT_LO 0x70
#define Q_REG_OUTPUT_HI 0x74
#define Q_REG_OUTPUT_BYTES 0x78
#define Q_REG_PROFILE_LO 0x80
#define Q_REG_PROFILE_HI 0x84
#define Q_REG_PROFILE_BYTES 0x88

/* EXP[i] = round(127 exp(-i / 45)) */
static const uint8_t Q_EXP[256] = {
    127, 124, 121, 119, 116, 114, 111, 109, 106, 104, 102, 99, 97, 95, 93, 91, 89, 87, 85, 83,
    81, 80, 78, 76, 75, 73, 71, 70, 68, 67, 65, 64, 62, 61, 60, 58, 57, 56, 55, 53, 52, 51, 50,
    49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 37, 36, 35, 34, 33, 33, 32, 31, 31, 30,
    29, 29, 28, 27, 27, 26, 26, 25, 25, 24, 23, 23, 22, 22, 21, 21, 21, 20, 20, 19, 19, 18, 18,
    18, 17, 17, 16, 16, 16, 15, 15, 15, 14, 14, 14, 13, 13, 13, 13, 12, 12, 12, 12, 11, 11, 11,
    11, 10, 10, 10, 10, 9, 9, 9, 9, 9, 8, 8, 8, 8, 8, 8, 7, 7, 7, 7, 7, 7, 6, 6, 6, 6, 6, 6, 6,
    6, 5, 5, 5, 5, 5, 5, 5, 5, 5, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 3, 3, 3,
    3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0
};

/* RSQRT[j] ~ 2^15 / sqrt((j + 64.5) / 64) */
static const uint16_t Q_RSQRT[192] = {
    32641, 32391, 32146, 31907, 31673, 31445, 31221, 31002, 30787, 30577, 30371, 30169, 29972,
    29778, 29587, 29401, 29217, 29038, 28861, 28688, 28518, 28350, 28186, 28024, 27866, 27709,
    27556, 27405, 27256, 27110, 26966, 26825, 26686, 26548, 26413, 26280, 26149, 26020, 25893,
    25767, 25644, 25522, 25402, 25283, 25167, 25051, 24938, 24826, 24715, 24606, 24498, 24392,
    24287, 24184, 24081, 23980, 23881, 23782, 23685, 23589, 23494, 23400, 23307, 23216, 23125,
    23036, 22947, 22860, 22774, 22688, 22604, 22520, 22437, 22356, 22275, 22195, 22116, 22037,
    21960, 21883, 21808, 21732, 21658, 21585, 21512, 21440, 21368, 21298, 21228, 21159, 21090,
    21022, 20955, 20888, 20822, 20757, 20692, 20628, 20564, 20501, 20439, 20377, 20316, 20255,
    20195, 20135, 20076, 20017, 19959, 19902, 19845, 19788, 19732, 19676, 19621, 19566, 19512,
    19458, 19405, 19352, 19299, 19247, 19196, 19144, 19093, 19043, 18993, 18943, 18894, 18845,
    18797, 18749, 18701, 18653, 18606, 18560, 18513, 18467, 18422, 18376, 18331, 18287, 18242,
    18198, 18155, 18111, 18068, 18025, 17983, 17941, 17899, 17857, 17816, 17775, 17734, 17694,
    17654, 17614, 17574, 17535, 17496, 17457, 17418, 17380, 17342, 17304, 17267, 17229, 17192,
    17155, 17119, 17082, 17046, 17010, 16974, 16939, 16904, 16869, 16834, 16799, 16765, 16731,
    16697, 16663, 16629, 16596, 16563, 16530, 16497, 16465, 16432, 16400
};

/* RECIPROCAL[j] ~ 2^15 / ((j + 256.5) / 256) */
static const uint16_t Q_RECIPROCAL[256] = {
    32704, 32577, 32451, 32326, 32202, 32079, 31957, 31835, 31715, 31596, 31477, 31359, 31242,
    31127, 31011, 30897, 30784, 30671, 30560, 30449, 30339, 30229, 30121, 30013, 29906, 29800,
    29694, 29589, 29485, 29382, 29280, 29178, 29077, 28976, 28876, 28777, 28679, 28581, 28484,
    28388, 28292, 28197, 28103, 28009, 27916, 27823, 27731, 27640, 27549, 27459, 27369, 27280,
    27192, 27104, 27016, 26930, 26844, 26758, 26673, 26588, 26504, 26421, 26338, 26255, 26174,
    26092, 26011, 25931, 25851, 25771, 25693, 25614, 25536, 25459, 25382, 25305, 25229, 25153,
    25078, 25003, 24929, 24855, 24782, 24709, 24636, 24564, 24492, 24421, 24350, 24280, 24210,
    24140, 24071, 24002, 23933, 23865, 23797, 23730, 23663, 23597, 23530, 23465, 23399, 23334,
    23269, 23205, 23141, 23077, 23014, 22951, 22888, 22826, 22764, 22703, 22641, 22580, 22520,
    22459, 22399, 22340, 22280, 22221, 22163, 22104, 22046, 21988, 21931, 21874, 21817, 21760,
    21704, 21648, 21592, 21537, 21482, 21427, 21372, 21318, 21264, 21210, 21157, 21103, 21050,
    20998, 20945, 20893, 20841, 20790, 20738, 20687, 20636, 20586, 20535, 20485, 20435, 20385,
    20336, 20287, 20238, 20189, 20141, 20092, 20044, 19997, 19949, 19902, 19855, 19808, 19761,
    19715, 19668, 19622, 19577, 19531, 19486, 19441, 19396, 19351, 19306, 19262, 19218, 19174,
    19130, 19087, 19043, 19000, 18957, 18915, 18872, 18830, 18787, 18745, 18704, 18662, 18621,
    18579, 18538, 18497, 18457, 18416, 18376, 18336, 18296, 18256, 18216, 18177, 18138, 18098,
    18059, 18021, 17982, 17944, 17905, 17867, 17829, 17791, 17754, 17716, 17679, 17642, 17605,
    17568, 17531, 17494, 17458, 17422, 17386, 17350, 17314, 17278, 17243, 17207, 17172, 17137,
    17102, 17067, 17033, 16998, 16964, 16930, 16895, 16862, 16828, 16794, 16760, 16727, 16694,
    16661, 16628, 16595, 16562, 16529, 16497, 16464, 16432, 16400
};

#endif
