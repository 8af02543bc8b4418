"""The cycle model: how long the accelerator takes for a program, without simulating it.

Each operation's time follows from its descriptor's fields and the schedule of hw_src/rtl, in closed
form or as a short recurrence; `Timing` holds the latencies that this takes. A second account runs
beside the operations, because they are not independent: weights and row parameters are read ahead
into buffers, and what one operation leaves in them is what the next one starts with.

    LINEAR     groups of ROWS digit rows x tiles of TOKENS tokens x steps of DEPTH inputs, a step a
               cycle; tiles are spaced by the drain of their results when that takes longer than
               their steps; weights, and with few tokens rows' parameters, may come later than that
    LAYERNORM  two passes of 4 cycles a word, overlapped by one tile
    ATTENTION  S0 S1 V0 S2 V1 ... on the array, beside it the copies of K and V and the softmax
    LOAD       as fast as the ports deliver; both loads overlap
    STORE      a 4-byte logit or a 16-byte beat a cycle

`program_cycles` takes a compiled program and sees its rows' true order; `operations_cycles` takes
`operations` of a geometry, for a search: a fraction of a millisecond a subnet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from quasar_runtime import interface as hw
from quasar_runtime.cycles_units import (
    DDR,
    LOADS,
    Ddr,
    Operation,
    Timing,
    attention,
    layernorm,
    linear,
    loads,
    parameter_beats,
    store,
    weight_beats,
)
from quasar_runtime.interface import Epilogue, Opcode, Source
from quasar_runtime.overlay import Overlay
from quasar_runtime.program import Program

__all__ = [
    "DDR",
    "Block",
    "Cycles",
    "Ddr",
    "Operation",
    "image_fps",
    "operations",
    "operations_cycles",
    "program_cycles",
]


class Block(NamedTuple):
    """A block of a geometry: heads, MLP width and how many rows of each matrix are 8-bit."""

    heads: int
    mlp: int
    q8: int = 0
    kv8: int = 0
    proj8: int = 0
    fc1_8: int = 0
    fc2_8: int = 0


@dataclass(frozen=True, eq=False)
class Cycles:
    """Begin and end of every descriptor in cycles since START, as a profile has them, and the cycle
    in which the run ends. The two loads at the start overlap."""

    begin: npt.NDArray[np.float64]
    end: npt.NDArray[np.float64]
    total: float
    clock_mhz: int

    @property
    def spans(self) -> npt.NDArray[np.float64]:
        """Cycles of each descriptor."""
        return self.end - self.begin

    @property
    def fps(self) -> float:
        """Images a second, one after the other."""
        return self.clock_mhz * 1e6 / self.total


def program_cycles(program: Program, ddr: Ddr = DDR) -> Cycles:
    """Cycles of a compiled program, from its descriptors and the order of its weight rows."""
    names = ("mode", "tokens", "keys", "inputs", "outputs", "rows8", "heads", "image_size")
    work = []
    for d in program.descriptors:
        opcode = Opcode(int(d["opcode"]))
        fields = {name: int(d[name]) for name in names}
        paces = _paces(program, d) if opcode == Opcode.LINEAR else None
        work.append(Operation(opcode, **fields, paces=paces))
        if opcode == Opcode.END:
            break
    return operations_cycles(work, program.overlay, ddr)


def image_fps(program: Program, ddr: Ddr = DDR) -> float:
    """Images a second at the overlay's clock."""
    return program_cycles(program, ddr).fps


def operations(
    overlay: Overlay, image_size: int, width: int, blocks: Sequence[Block], classes: int
) -> list[Operation]:
    """The operations of a geometry, in the compiler's order."""
    matrix, norm = Opcode.LINEAR, Opcode.LAYERNORM
    tokens = (image_size // hw.PATCH) ** 2 + 1
    add, quantise, table = Epilogue.RESIDUAL, Epilogue.REQUANTISE, Epilogue.TABLE
    work = [
        Operation(Opcode.LOAD_RESIDUAL, tokens=tokens, inputs=width),
        Operation(Opcode.LOAD_IMAGE, image_size=image_size),
        Operation(matrix, add, tokens, 0, hw.PATCH_CHANNELS, width, width),
    ]
    for number, b in enumerate(blocks):
        last = number == len(blocks) - 1
        asked, channels = 1 if last else tokens, b.heads * hw.HEAD_DIM
        work.append(Operation(norm, tokens=tokens, inputs=width))
        if last:
            work.append(Operation(matrix, quantise, tokens, 0, width, 2 * channels, b.kv8))
            work.append(Operation(matrix, quantise, 1, 0, width, channels, b.q8))
        else:
            work.append(Operation(matrix, quantise, tokens, 0, width, 3 * channels, b.q8 + b.kv8))
        work += [
            Operation(Opcode.ATTENTION, tokens=asked, keys=tokens, heads=b.heads),
            Operation(matrix, add, asked, 0, channels, width, b.proj8),
            Operation(norm, tokens=asked, inputs=width),
            Operation(matrix, table, asked, 0, width, b.mlp, b.fc1_8),
            Operation(matrix, add, asked, 0, b.mlp, width, b.fc2_8),
        ]
    work += [
        Operation(norm, tokens=1, inputs=width),
        Operation(matrix, Epilogue.LOGITS, 1, 0, width, classes, classes),
        Operation(Opcode.STORE, Source.LOGITS, outputs=classes),
        Operation(Opcode.END),
    ]
    return work


def operations_cycles(work: Sequence[Operation], overlay: Overlay, ddr: Ddr = DDR) -> Cycles:
    """Cycles of a list of operations that ends in END.

    `stock` is how many array beats of weights lie buffered when an operation begins. While an
    operation runs they grow by what the ports deliver beyond the row parameters read ahead, up to
    the buffers' size; a LINEAR takes its own from them.
    """
    t = _timing(overlay, ddr)
    parameters = [parameter_beats(w) for w in work]
    ahead = [sum(parameters[i : i + t.QUEUE]) for i in range(len(work) + 1)]
    weights = [weight_beats(overlay, w) for w in work]
    ready = [sum(weights[i : i + t.QUEUE]) for i in range(len(work) + 1)]
    begin, end = [0.0] * len(work), [0.0] * len(work)
    now = float(t.FIRST + t.latency)
    stock = 0.0
    for i, w in enumerate(work):
        op = w.opcode
        if op in LOADS:
            if i and work[i - 1].opcode in LOADS:
                continue  # done with the one before
            pair = [w] + [v for v in work[i + 1 : i + 2] if v.opcode in LOADS and v.opcode != op]
            begin[i : i + len(pair)] = [now + t.CHECK * k for k in range(len(pair))]
            rows = 0 if i else min(t.ROW_BEATS, ahead[0])
            end[i : i + len(pair)], busy = loads(t, pair, begin[i : i + len(pair)], rows)
            now = max(end[i : i + len(pair)]) + t.GAP
            free = (now - begin[i] - t.latency) * t.rate - busy
            stock = min(t.weight_beats, stock + max(0.0, free) / t.part)
            continue
        begin[i] = now
        # Row parameters fetched meanwhile: what is consumed, less what need not be replaced.
        rows = parameters[i] + min(t.ROW_BEATS, ahead[i + 1]) - min(t.ROW_BEATS, ahead[i])
        rows = max(0, rows)
        # With full buffers nothing is under way.
        lag = t.latency + t.ACCESS if stock >= min(t.weight_beats, ready[i]) else 0
        if op == Opcode.LINEAR:
            span, used = linear(t, w, stock, rows, lag)
        elif op == Opcode.LAYERNORM:
            span, used = layernorm(t, w.tokens, w.inputs), 0
        elif op == Opcode.ATTENTION:
            span, used = attention(t, w.tokens, w.keys, w.heads), 0
        elif op == Opcode.STORE:
            span, used = store(t, w), 0
        else:
            span, used = t.latency + t.END, 0
        come = t.delivered(span + t.GAP - lag, rows)
        stock = min(t.weight_beats, ready[i + 1], max(0.0, stock - used + come))
        end[i] = now + span
        now = end[i] + t.GAP
    total = end[-1] + t.latency + t.CLOSE
    return Cycles(np.array(begin), np.array(end), total, overlay.clock_mhz)


@lru_cache(maxsize=64)
def _timing(overlay: Overlay, ddr: Ddr) -> Timing:
    return Timing(overlay, ddr)


def _paces(program: Program, d: np.void) -> tuple[float, float]:
    """Mean cycles between tiles in groups of 8-bit and of 4-bit rows, from the rows' channels.

    A slot of digit rows leaves in one cycle unless two of them share a memory column or the
    destination takes one at a time: then each takes its own. A tile takes as long as its slots or
    its steps.
    """
    o, outputs, rows8 = program.overlay, int(d["outputs"]), int(d["rows8"])
    t = _timing(o, DDR)
    first = int(d["parameters"])
    rows = program.data[first : first + outputs * hw.ROW_BYTES].view(hw.ROW_DTYPE)
    number = np.arange(outputs)
    slot = np.where(number < rows8, 2 * number, rows8 + number) // t.lanes
    groups = -(-(outputs + rows8) // o.rows)
    counts = np.zeros((groups * t.slots, o.depth), np.int32)
    np.add.at(counts, (slot, rows["channel"] % o.depth), 1)
    slow = (counts > 1).any(axis=1) | (int(d["mode"]) == Epilogue.LOGITS)
    costs = np.where(counts.any(axis=1), np.where(slow, t.lanes, 1), 0)
    spacing = np.maximum(costs.reshape(groups, -1).sum(axis=1), int(d["inputs"]) // o.depth)
    wide = min(groups, round(2 * rows8 / o.rows))
    overall = float(spacing.mean())
    return (
        float(spacing[:wide].mean()) if wide else overall,
        float(spacing[wide:].mean()) if wide < groups else overall,
    )
