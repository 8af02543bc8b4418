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
    LOGIT_BANKS,
    Ddr,
    Operation,
    Start,
    Timing,
    attention,
    drained,
    flow,
    layernorm,
    layernorm_between,
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
    """Cycles of a list of operations that ends in END."""
    return _Run(work, _timing(overlay, ddr)).cycles()


class _Run:
    """Time passes operation by operation.

    end        when an operation's last result is written
    issued     when the array had its last step: the next LINEAR may follow there
    filed      when the last row parameter was taken: the next operation's follow there
    filled     when the last weights had passed into the ring
    handed     when it was handed over to its unit
    stock      how many array beats of weights lie buffered. They grow by what the ports deliver
               beyond the row parameters read ahead, up to the buffers' size; a LINEAR takes its
               own
    """

    def __init__(self, work: Sequence[Operation], t: Timing) -> None:
        self.work, self.t = work, t
        parameters = [parameter_beats(w) for w in work]
        ahead = [sum(parameters[i : i + t.QUEUE]) for i in range(len(work) + 1)]
        self.first_rows = min(t.ROW_BEATS, ahead[0])
        if t.overlay.read_ports > 1:
            self.first_rows += t.AHEAD
        # Row parameters fetched during an operation: what is consumed, less what is there already.
        # The buffers hold them; and so do places for groups, once LINEARs have begun.
        places = [self._places(w) for w in work]
        begun = [any(places[:i]) for i in range(len(work) + 1)]
        held = [
            min(ahead[i], t.ROW_BEATS + (max(places[i - 1 : i + 1]) if begun[i] else 0))
            for i in range(len(work) + 1)
        ]
        self.rows = [max(0, p + held[i + 1] - held[i]) for i, p in enumerate(parameters)]
        self.weights = [weight_beats(t.overlay, w) for w in work]
        self.ready = [sum(self.weights[i : i + t.QUEUE]) for i in range(len(work) + 1)]
        self.begin, self.end = [0.0] * len(work), [0.0] * len(work)
        self.issued = self.filed = self.filled = self.handed = self.stock = self.stall = 0.0

    def _places(self, w: Operation) -> int:
        """Row parameters of an operation that are filed ahead."""
        if w.opcode != Opcode.LINEAR:
            return 0
        wide = 2 * w.rows8 > w.outputs
        return min(w.outputs, self.t.GROUPS * self.t.overlay.rows // (2 if wide else 1))

    def cycles(self) -> Cycles:
        t, now = self.t, float(self.t.FIRST + self.t.latency)
        for i, w in enumerate(self.work):
            if w.opcode in LOADS:
                if not i or self.work[i - 1].opcode not in LOADS:
                    now = self._loads(i, now)
                continue
            # The loads' later end, which need not be that of the second one.
            before = self.end[i - 1] if i and self.work[i - 1].opcode not in LOADS else now - t.GAP
            lapped = self._overlaps(i)
            if not lapped:
                self.handed = self.issued = before + t.GAP
                self.filed = self.handed + t.ROWS
            self.begin[i] = before if lapped else self.handed
            self.end[i], used = self._one(i, w, lapped)
            rows = self.rows[i]
            lag = self._lag(i)
            come = t.delivered(max(0.0, self.end[i] - before - lag), rows)
            # The ring takes the weights of the next LINEAR alone.
            ring = t.ring if w.opcode != Opcode.ATTENTION else t.ring_free
            limit = t.weight_beats + min(ring, max(self.weights[i + 1 : i + 3], default=0))
            self.stock = min(limit, self.ready[i + 1], max(0.0, self.stock - used + come))
        total = self.end[-1] + t.latency + t.CLOSE
        return Cycles(np.array(self.begin), np.array(self.end), total, t.overlay.clock_mhz)

    def _overlaps(self, i: int) -> bool:
        """Whether an operation begins while the one before it runs: overlap.sv, for the compiler's
        regions."""
        if not i:
            return False
        w, p = self.work[i], self.work[i - 1]
        adds = w.opcode == Opcode.LINEAR and w.mode == Epilogue.RESIDUAL
        before_adds = p.opcode == Opcode.LINEAR and p.mode == Epilogue.RESIDUAL
        if w.opcode == Opcode.LAYERNORM:
            return before_adds and w.tokens == p.tokens
        if w.opcode != Opcode.LINEAR:
            return False
        if p.opcode == Opcode.LAYERNORM:
            return not adds and w.tokens == p.tokens
        return p.opcode in (Opcode.LINEAR, Opcode.ATTENTION) and not (adds and before_adds)

    def _lag(self, i: int) -> int:
        """With full buffers nothing is under way."""
        full = self.stock >= min(self.t.weight_beats, self.ready[i])
        return self.t.latency + self.t.ACCESS if full else 0

    def _one(self, i: int, w: Operation, lapped: bool) -> tuple[float, int]:
        """(end, array beats of weights used) of an operation."""
        t, begin = self.t, self.begin[i]
        if w.opcode == Opcode.LINEAR:
            return self._linear(i, w, lapped)
        self.stall = 0.0
        if w.opcode == Opcode.LAYERNORM:
            if not lapped:
                return begin + layernorm(t, w.tokens, w.inputs), 0
            room = self.end[i - 3] if i > 2 else 0.0
            self.handed = max(self.handed + t.HAND, self.filed, room)
            self.filed = max(self.filed, self.handed + t.ROWS) + w.inputs / 8
            after = self.work[i + 1]
            follows = i + 1 < len(self.work) and self._overlaps(i + 1)
            around = flow(t, self.work[i - 1], True), flow(t, after, False) if follows else None
            end, self.stall = layernorm_between(t, w.tokens, w.inputs, *around)
            return max(self.end[i - 1] + 1, self.issued + end), 0
        if w.opcode == Opcode.ATTENTION:
            span = attention(t, w.tokens, w.keys, w.heads)
            self.issued = begin + span - t.array - t.slots - t.RESULT
            return begin + span, 0
        if w.opcode == Opcode.STORE:
            return begin + store(t, w), 0
        return begin + t.latency + t.END, 0

    def _linear(self, i: int, w: Operation, lapped: bool) -> tuple[float, int]:
        t, table = self.t, self.t.TABLE if w.mode == Epilogue.TABLE else 0
        if lapped:
            after_norm = self.work[i - 1].opcode == Opcode.LAYERNORM
            # Three may be under way, but two behind a LINEAR or ATTENTION.
            room = self.end[i - 3] if after_norm and i > 2 else self.end[i - 2] if i > 1 else 0.0
            self.handed = max(self.handed + t.HAND, self.filed, room)
            begin = max(self.issued + t.BEHIND, self.handed + t.STEP) + self.stall
        else:
            begin = self.handed + t.STEP
        filing = max(self.filed, self.handed + t.ROWS) + table
        after_attention = lapped and self.work[i - 1].opcode == Opcode.ATTENTION
        filling = max(self.filled, self.handed + 2)
        if after_attention and not t.ring_free:
            filling = max(filling, begin)
        self.filled = filling + t.fast * weight_beats(t.overlay, w)
        start = Start(max(0.0, begin - filling), filing - begin)
        span, used = linear(t, w, self.stock, self.rows[i], self._lag(i), start)
        self.issued = begin + span
        self.filed = max(filing + w.outputs, self.issued - t.GROUPS * span)
        self.stall = 0.0
        return max(self.issued + drained(t, w), self.end[i - 1] + 1), used

    def _loads(self, i: int, now: float) -> float:
        """One load or two that overlap; returns when they are done."""
        t, w = self.t, self.work[i]
        pair = [w, *(v for v in self.work[i + 1 : i + 2] if v.opcode in LOADS)]
        pair = pair[:1] if len(pair) > 1 and pair[1].opcode == w.opcode else pair
        begins = [now + t.CHECK * k for k in range(len(pair))]
        rows = 0 if i else self.first_rows
        ends, busy = loads(t, pair, begins, rows)
        self.begin[i : i + len(pair)], self.end[i : i + len(pair)] = begins, ends
        last = max(ends)
        free = (last + t.GAP - now - t.latency) * t.rate - busy
        self.stock = min(t.weight_beats, self.stock + max(0.0, free) / t.part)
        return last + t.GAP


@lru_cache(maxsize=64)
def _timing(overlay: Overlay, ddr: Ddr) -> Timing:
    return Timing(overlay, ddr)


def _paces(program: Program, d: np.void) -> tuple[float, float]:
    """Mean cycles between tiles in groups of 8-bit and of 4-bit rows, from the rows' channels.

    A slot of digit rows leaves in one cycle unless two of them share a memory column, or a bank of
    the logits: then each takes its own. A tile takes as long as its slots or its steps.
    """
    o, outputs, rows8 = program.overlay, int(d["outputs"]), int(d["rows8"])
    t = _timing(o, DDR)
    first = int(d["parameters"])
    rows = program.data[first : first + outputs * hw.ROW_BYTES].view(hw.ROW_DTYPE)
    number = np.arange(outputs)
    slot = np.where(number < rows8, 2 * number, rows8 + number) // t.lanes
    groups = -(-(outputs + rows8) // o.rows)
    banks = LOGIT_BANKS if int(d["mode"]) == Epilogue.LOGITS else o.depth
    counts = np.zeros((groups * t.slots, banks), np.int32)
    np.add.at(counts, (slot, rows["channel"] % banks), 1)
    slow = (counts > 1).any(axis=1)
    costs = np.where(counts.any(axis=1), np.where(slow, t.lanes, 1), 0)
    spacing = np.maximum(costs.reshape(groups, -1).sum(axis=1), int(d["inputs"]) // o.depth)
    wide = min(groups, round(2 * rows8 / o.rows))
    overall = float(spacing.mean())
    return (
        float(spacing[:wide].mean()) if wide else overall,
        float(spacing[wide:].mean()) if wide < groups else overall,
    )
