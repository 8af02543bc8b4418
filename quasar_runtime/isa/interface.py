"""The interface between software and accelerator, written once.

Descriptors, register map, memory map, error causes and constants. `quasar_runtime.isa.emit`
turns this description into `quasar_runtime/devices/native/engine/quasar_interface.h` and
`hw_src/rtl/generated/quasar_pkg.sv`; a test fails when either is stale.

On-chip memories, all in units of one *word* = TOKENS x DEPTH elements of an overlay:

- ACT, int8 activations. A region of T tokens and C channels at word address `base` with pitch P
  (words per token row, at least C / DEPTH) takes ceil(T / TOKENS) * P words: channel c of token t
  is element c % DEPTH of bank t % TOKENS at word base + (t // TOKENS) * P + c // DEPTH. A program
  reads a region only with the base and pitch with which it was written.
- RES, the int16 residual stream: one region at word 0.
- LOGITS, int32.

External memory is addressed through four base registers: PROGRAM (descriptors, weights, parameters,
tables), IMAGE (raw RGB bytes), OUTPUT (logits) and PROFILE (begin and end cycle of every
descriptor). Addresses in descriptors are 32-bit offsets from the base that their field names, so
that a program's bytes do not depend on where it is loaded.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from quasar_runtime.isa import arithmetic

VERSION = (1, 0)
"""(major, minor): a major change breaks programs, a minor one adds to them."""
IDENTITY = 0x5155_4153
"""'QUAS', the first register."""

DESCRIPTOR_BYTES = 64
PROFILE_BYTES = 16
"""A profile entry: begin and end of one descriptor, two little-endian uint64."""
ROW_BYTES = 16
"""A row's parameters: see ROW_DTYPE."""
HEAD_BYTES = 8
"""An attention head's parameters: see HEAD_DTYPE."""
TABLE_BYTES = 256
ALIGNMENT = 64
"""Every offset from PROGRAM is a multiple of this; so is every base register."""
HEAD_DIM = 64
PATCH = 16
PATCH_CHANNELS = 3 * PATCH * PATCH
MAX_TOKENS = 256
MAX_CHANNELS = 4096
"""Most inputs or outputs of a linear operation."""
MAX_WIDTH = 1024
"""Most channels of the residual stream: LayerNorm's sums are sized for it."""
MAX_HEADS = 16
MAX_DESCRIPTORS = 1024
CHANNEL_MULTIPLE = 32
"""Embedding and MLP widths are multiples of this, on every overlay."""


class Opcode(enum.IntEnum):
    """What a descriptor does."""

    LOAD_IMAGE = 1
    LOAD_RESIDUAL = 2
    LINEAR = 3
    LAYERNORM = 4
    ATTENTION = 5
    STORE = 6
    END = 7


class Epilogue(enum.IntEnum):
    """What LINEAR does with a row's accumulator, bias included. (m, n) is the row's own."""

    REQUANTISE = 0  # ACT[destination] = clamp(rs(acc * m, n), clamp)
    TABLE = 1  # ACT[destination] = lookup[clamp(rs(acc * m, n), 127)]
    RESIDUAL = 2  # RES = sat16(RES + sat16(rs(acc * m, n)))
    LOGITS = 3  # LOGITS[channel] = acc


class Source(enum.IntEnum):
    """What STORE writes to OUTPUT + address, rows of `inputs` channels without gaps."""

    LOGITS = 0  # `outputs` int32
    ACT = 1  # tokens x inputs int8
    RESIDUAL = 2  # tokens x inputs int16


class Cause(enum.IntEnum):
    """ERROR_CAUSE: why the accelerator stopped."""

    NONE = 0
    BAD_OPCODE = 1
    BAD_FIELD = 2
    BAD_RANGE = 3  # an on-chip region or a memory range reaches outside
    MISALIGNED = 4
    READ_SLVERR = 5
    READ_DECERR = 6
    WRITE_SLVERR = 7
    WRITE_DECERR = 8
    STALLED = 9  # a memory port did not answer within TIMEOUT
    START_WHILE_BUSY = 10
    NO_END = 11  # the table ran out without END


class Status(enum.IntFlag):
    """Bits of register STATUS."""

    IDLE = 1
    BUSY = 2
    DONE = 4
    ERROR = 8


class Control(enum.IntFlag):
    """Bits of register CONTROL."""

    START = 1
    RESET = 2


@dataclass(frozen=True)
class Field:
    """A descriptor field: `size` bytes at byte `offset`, little-endian, unsigned."""

    name: str
    offset: int
    size: int
    doc: str


FIELDS = (
    Field("opcode", 0, 1, "operation"),
    Field("mode", 1, 1, "LINEAR: epilogue; STORE: source"),
    Field("layer", 2, 2, "layer number, for timing; not interpreted"),
    Field("tokens", 4, 2, "tokens processed; ATTENTION: query tokens"),
    Field("keys", 6, 2, "ATTENTION: tokens of K and V"),
    Field("inputs", 8, 2, "channels read a token"),
    Field("outputs", 10, 2, "rows of the weight matrix; STORE of logits: how many"),
    Field("rows8", 12, 2, "LINEAR: 8-bit rows, which come first; the others are 4-bit"),
    Field("heads", 14, 2, "ATTENTION: heads"),
    Field("source", 16, 4, "ACT word address read; ATTENTION: of Q"),
    Field("source_kv", 20, 4, "ATTENTION: ACT word address of the region that holds K and V"),
    Field("channel_k", 24, 2, "first channel of K in that region"),
    Field("channel_v", 26, 2, "first channel of V in that region"),
    Field("destination", 28, 4, "ACT word address written"),
    Field("source_pitch", 32, 2, "words per token row of the source; ATTENTION: of Q"),
    Field("kv_pitch", 34, 2, "words per token row of the region that holds K and V"),
    Field("destination_pitch", 36, 2, "words per token row of the destination"),
    Field("clamp", 38, 1, "LINEAR: limit of a requantised result"),
    Field("shift", 39, 1, "LAYERNORM: n"),
    Field("weights", 40, 4, "offset from PROGRAM of the packed weights"),
    Field("parameters", 44, 4, "offset from PROGRAM of the row, gain or head parameters"),
    Field("lookup", 48, 4, "offset from PROGRAM of a 256-byte lookup table"),
    Field("address", 52, 4, "offset from PROGRAM (LOAD_RESIDUAL), IMAGE or OUTPUT"),
    Field("epsilon", 56, 4, "LAYERNORM: added to the variance"),
    Field("image_size", 60, 2, "LOAD_IMAGE: side in pixels"),
    Field("reserved", 62, 2, "zero"),
)
FIELD = {f.name: f for f in FIELDS}

DESCRIPTOR_DTYPE = np.dtype(
    {
        "names": [f.name for f in FIELDS],
        "formats": [f"<u{f.size}" for f in FIELDS],
        "offsets": [f.offset for f in FIELDS],
        "itemsize": DESCRIPTOR_BYTES,
    }
)

ROW_DTYPE = np.dtype(
    {
        "names": ["bias", "multiplier", "channel", "shift"],
        "formats": ["<i4", "<u2", "<u2", "u1"],
        "offsets": [0, 4, 6, 8],
        "itemsize": ROW_BYTES,
    }
)
"""Parameters of a weight row: bias added to the accumulator, (m, n), and its output channel."""

HEAD_DTYPE = np.dtype(
    {
        "names": ["score_multiplier", "score_shift", "out_multiplier", "out_shift"],
        "formats": ["<u2", "u1", "<u2", "u1"],
        "offsets": [0, 2, 4, 6],
        "itemsize": HEAD_BYTES,
    }
)
"""Parameters of a head: (m, n) of score differences to EXP's index, and of the weighted mean."""

PROFILE_DTYPE = np.dtype([("begin", "<u8"), ("end", "<u8")])


@dataclass(frozen=True)
class Rule:
    """A field is legal in [low, high] at multiples of `multiple`."""

    low: int
    high: int
    multiple: int = 1


_ANY16, _ANY32 = Rule(0, 2**16 - 1), Rule(0, 2**32 - 1)
_TOKENS = Rule(1, MAX_TOKENS)
_WIDTH = Rule(CHANNEL_MULTIPLE, MAX_WIDTH, CHANNEL_MULTIPLE)
_HEAD_CHANNEL = Rule(0, 3 * MAX_HEADS * HEAD_DIM, HEAD_DIM)
_PITCH = Rule(1, 2**15 - 1)
_WORD = Rule(0, 2**24 - 1)
_OFFSET = Rule(0, 2**32 - ALIGNMENT, ALIGNMENT)

RULES: dict[Opcode, dict[str, Rule]] = {
    Opcode.LOAD_IMAGE: {
        "layer": _ANY16,
        "destination": _WORD,
        "destination_pitch": _PITCH,
        "address": _OFFSET,
        "image_size": Rule(PATCH, 15 * PATCH, PATCH),
    },
    Opcode.LOAD_RESIDUAL: {
        "layer": _ANY16,
        "tokens": _TOKENS,
        "inputs": _WIDTH,
        "destination_pitch": _PITCH,
        "address": _OFFSET,
    },
    Opcode.LINEAR: {
        "mode": Rule(0, 3),
        "layer": _ANY16,
        "tokens": _TOKENS,
        "inputs": Rule(CHANNEL_MULTIPLE, MAX_CHANNELS, CHANNEL_MULTIPLE),
        "outputs": Rule(1, MAX_CHANNELS),
        "rows8": Rule(0, MAX_CHANNELS),
        "source": _WORD,
        "source_pitch": _PITCH,
        "destination": _WORD,
        "destination_pitch": Rule(0, 2**15 - 1),
        "clamp": Rule(arithmetic.WEIGHT8_MAX, arithmetic.ACTIVATION_MAX, 1),
        "weights": _OFFSET,
        "parameters": _OFFSET,
        "lookup": _OFFSET,
    },
    Opcode.LAYERNORM: {
        "layer": _ANY16,
        "tokens": _TOKENS,
        "inputs": _WIDTH,
        "source_pitch": _PITCH,
        "destination": _WORD,
        "destination_pitch": _PITCH,
        "shift": Rule(1, arithmetic.SHIFT_MAX),
        "parameters": _OFFSET,
        "epsilon": Rule(1, 2**32 - 1),
    },
    Opcode.ATTENTION: {
        "layer": _ANY16,
        "tokens": _TOKENS,
        "keys": _TOKENS,
        "heads": Rule(1, MAX_HEADS),
        "source": _WORD,
        "source_kv": _WORD,
        "channel_k": _HEAD_CHANNEL,
        "channel_v": _HEAD_CHANNEL,
        "destination": _WORD,
        "source_pitch": _PITCH,
        "kv_pitch": _PITCH,
        "destination_pitch": _PITCH,
        "parameters": _OFFSET,
    },
    Opcode.STORE: {
        "mode": Rule(0, 2),
        "layer": _ANY16,
        "tokens": Rule(0, MAX_TOKENS),
        "inputs": Rule(0, MAX_CHANNELS, CHANNEL_MULTIPLE),
        "outputs": Rule(0, MAX_CHANNELS),
        "source": _WORD,
        "source_pitch": Rule(0, 2**15 - 1),
        "address": _OFFSET,
    },
    Opcode.END: {"layer": _ANY16},
}
"""Fields that each operation uses, with their legal values. Every other field must be zero."""


@dataclass(frozen=True)
class Register:
    """A 32-bit AXI4-Lite register at byte `offset`; access is 'r', 'rw' or 'w1c'."""

    name: str
    offset: int
    access: str
    doc: str


REGISTERS = (
    Register("IDENTITY", 0x00, "r", "0x51554153, 'QUAS'"),
    Register("VERSION", 0x04, "r", "interface version: major << 16 | minor"),
    Register("ARRAY", 0x08, "r", "TOKENS | ROWS << 8 | DEPTH << 16"),
    Register("ACT_WORDS", 0x0C, "r", "words of the ACT memory"),
    Register("RES_WORDS", 0x10, "r", "words of the RES memory"),
    Register("LOGITS", 0x14, "r", "entries of the LOGITS memory"),
    Register("CLOCK_KHZ", 0x18, "r", "clock for which the overlay was built; 0: profile in ns"),
    Register("PORTS", 0x1C, "r", "weight read ports"),
    Register("CONTROL", 0x20, "rw", "bit 0 start, bit 1 reset; reads 0"),
    Register("STATUS", 0x24, "r", "bit 0 idle, bit 1 busy, bit 2 done, bit 3 error"),
    Register("ERROR_CAUSE", 0x28, "r", "0, or a cause"),
    Register("ERROR_DESCRIPTOR", 0x2C, "r", "number of the descriptor that stopped it"),
    Register("ERROR_ADDRESS_LO", 0x30, "r", "address or field offset, by cause"),
    Register("ERROR_ADDRESS_HI", 0x34, "r", ""),
    Register("CYCLES_LO", 0x38, "r", "cycles since start; holds at the end"),
    Register("CYCLES_HI", 0x3C, "r", ""),
    Register("INTERRUPT_ENABLE", 0x40, "rw", "bit 0 done, bit 1 error"),
    Register("INTERRUPT_STATUS", 0x44, "w1c", "bit 0 done, bit 1 error"),
    Register("DESCRIPTOR_COUNT", 0x48, "rw", "descriptors in the table at PROGRAM + 0"),
    Register("TIMEOUT", 0x4C, "rw", "cycles a memory port may stall; 0 means never an error"),
    Register("PROGRAM_LO", 0x50, "rw", "base of the program"),
    Register("PROGRAM_HI", 0x54, "rw", ""),
    Register("PROGRAM_BYTES", 0x58, "rw", "its size"),
    Register("IMAGE_LO", 0x60, "rw", "base of the raw RGB image"),
    Register("IMAGE_HI", 0x64, "rw", ""),
    Register("IMAGE_BYTES", 0x68, "rw", "its size"),
    Register("OUTPUT_LO", 0x70, "rw", "base of the output area"),
    Register("OUTPUT_HI", 0x74, "rw", ""),
    Register("OUTPUT_BYTES", 0x78, "rw", "its size"),
    Register("PROFILE_LO", 0x80, "rw", "base of the profile area, 16 bytes per descriptor"),
    Register("PROFILE_HI", 0x84, "rw", ""),
    Register("PROFILE_BYTES", 0x88, "rw", "its size"),
)
REGISTER = {r.name: r for r in REGISTERS}


@dataclass(frozen=True)
class Bits:
    """Bits `low` to `low + width - 1` of a register."""

    name: str
    low: int
    width: int
    doc: str


_EVENTS = (Bits("DONE", 0, 1, "a run ended"), Bits("ERROR", 1, 1, "a run stopped with a cause"))
BITS: dict[str, tuple[Bits, ...]] = {
    "VERSION": (Bits("MINOR", 0, 16, "additions"), Bits("MAJOR", 16, 16, "breaking changes")),
    "ARRAY": (
        Bits("TOKENS", 0, 8, "tokens of the array"),
        Bits("ROWS", 8, 8, "digit rows of the array"),
        Bits("DEPTH", 16, 8, "inputs a cycle"),
    ),
    "CONTROL": (
        Bits("START", 0, 1, "begins a run; clears itself"),
        Bits("RESET", 1, 1, "ends a run and clears errors; clears itself"),
    ),
    "STATUS": (
        Bits("IDLE", 0, 1, "no run, nothing under way"),
        Bits("BUSY", 1, 1, "a run or a reset is under way"),
        Bits("DONE", 2, 1, "the last run ended"),
        Bits("ERROR", 3, 1, "ERROR_CAUSE holds a cause"),
    ),
    "ERROR_CAUSE": (Bits("CAUSE", 0, 8, "0, or why the run stopped"),),
    "INTERRUPT_ENABLE": _EVENTS,
    "INTERRUPT_STATUS": _EVENTS,
}
"""What the bits of a register mean. A register that is missing here is one number."""

CONSTANTS: dict[str, int] = {
    "IDENTITY": IDENTITY,
    "VERSION_MAJOR": VERSION[0],
    "VERSION_MINOR": VERSION[1],
    "DESCRIPTOR_BYTES": DESCRIPTOR_BYTES,
    "PROFILE_BYTES": PROFILE_BYTES,
    "ROW_BYTES": ROW_BYTES,
    "HEAD_BYTES": HEAD_BYTES,
    "TABLE_BYTES": TABLE_BYTES,
    "ALIGNMENT": ALIGNMENT,
    "HEAD_DIM": HEAD_DIM,
    "PATCH": PATCH,
    "PATCH_CHANNELS": PATCH_CHANNELS,
    "MAX_TOKENS": MAX_TOKENS,
    "MAX_CHANNELS": MAX_CHANNELS,
    "MAX_WIDTH": MAX_WIDTH,
    "MAX_HEADS": MAX_HEADS,
    "MAX_DESCRIPTORS": MAX_DESCRIPTORS,
    "CHANNEL_MULTIPLE": CHANNEL_MULTIPLE,
    "ACTIVATION_MAX": arithmetic.ACTIVATION_MAX,
    "WEIGHT8_MAX": arithmetic.WEIGHT8_MAX,
    "WEIGHT4_MAX": arithmetic.WEIGHT4_MAX,
    "MULTIPLIER_MAX": arithmetic.MULTIPLIER_MAX,
    "SHIFT_MAX": arithmetic.SHIFT_MAX,
    "SCORE_SHIFT_MAX": arithmetic.SCORE_SHIFT_MAX,
    "NORM_FRACTION": arithmetic.NORM_FRACTION,
    "MEAN_FRACTION": arithmetic.MEAN_FRACTION,
}
