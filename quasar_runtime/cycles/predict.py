"""The cycle model: how long the accelerator takes for a program, without simulating it.

Each operation's time follows from its descriptor's fields and the schedule of hw_src/rtl, in closed
form or as a short recurrence; `Timing` holds the latencies that this takes. A second account runs
beside the operations, because they are not independent: weights and row parameters are read ahead
into buffers, and what one operation leaves in them is what the next one starts with.

    LINEAR     groups of ROWS digit rows x tiles of TOKENS tokens x steps of DEPTH inputs, a step a
               cycle; tiles are spaced by the drain of their results when that takes longer than
               their steps; weights, and with few tokens rows' parameters, may come later than that
    LAYERNORM  two passes of 4 cycles per word, overlapped by one tile
    ATTENTION  S0 S1 V0 S2 V1 ... on the array, beside it the copies of K and V and the softmax
    LOAD       as fast as the ports deliver; both loads overlap
    STORE      a 4-byte logit or a 16-byte beat per cycle

`program_cycles` takes a compiled program and sees its rows' true order; `operations_cycles` takes
`operations` of a geometry, for a search: about a millisecond a subnet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from quasar_runtime.cycles.chain import Chain
from quasar_runtime.cycles.groups import costs
from quasar_runtime.cycles.units import (
    BEAT,
    DDR,
    LOADS,
    Ddr,
    Operation,
    Timing,
    attention,
    first_beats,
    loads,
    store,
)
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue, Opcode, Source
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import Program

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
    in which the run ends. The two loads at the start overlap.
    """

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
    work, t = [], _timing(program.overlay, DDR)
    for d in program.descriptors:
        opcode = Opcode(int(d["opcode"]))
        fields = {name: int(d[name]) for name in names}
        each = costs(program, d, t) if opcode == Opcode.LINEAR else None
        place = int(d["parameters"]) // BEAT
        work.append(Operation(opcode, **fields, costs=each, place=place))
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
    """Cycles of a list of operations that ends in END."""
    return Run(work, _timing(overlay, ddr)).cycles()


class Run:
    """Time passes operation by operation."""

    def __init__(self, work: Sequence[Operation], t: Timing) -> None:
        self.work, self.t, self.chain = work, t, Chain(work, t)

    def cycles(self) -> Cycles:
        t, chain = self.t, self.chain
        for i, w in enumerate(self.work):
            if w.opcode == Opcode.LINEAR:
                chain.linear(i)
            elif w.opcode == Opcode.LAYERNORM:
                chain.layernorm(i)
            elif w.opcode == Opcode.ATTENTION:
                chain.attention(i, attention(t, w.tokens, w.keys, w.heads))
            elif w.opcode in LOADS:
                if not i or self.work[i - 1].opcode not in LOADS:
                    self._loads(i)
            else:
                now = chain.idle()
                spent = store(t, w) if w.opcode == Opcode.STORE else t.latency + t.END
                chain.alone(i, now, now + spent)
        total = chain.end[-1] + t.latency + t.CLOSE
        return Cycles(np.array(chain.begin), np.array(chain.end), total, t.overlay.clock_mhz)

    def _loads(self, i: int) -> None:
        """One load or two that overlap."""
        t, w, chain = self.t, self.work[i], self.chain
        pair = [w, *(v for v in self.work[i + 1 : i + 2] if v.opcode in LOADS)]
        pair = pair[:1] if len(pair) > 1 and pair[1].opcode == w.opcode else pair
        now = chain.idle()
        begins = [now + t.CHECK * k for k in range(len(pair))]
        rows = 0.0 if i else chain.bursts.asked(0.0, chain.rows[min(t.QUEUE, len(self.work))])
        first = rows + (first_beats(t, self.work) if rows and t.overlay.read_ports > 1 else 0)
        ends, busy = loads(t, pair, begins, first)
        for k, begin in enumerate(begins):
            chain.alone(i + k, begin, ends[k])
        last = chain.ended
        chain.loaded(rows, (last - now - t.latency - t.LOAD) * t.rate - busy)


@lru_cache(maxsize=64)
def _timing(overlay: Overlay, ddr: Ddr) -> Timing:
    return Timing(overlay, ddr)
