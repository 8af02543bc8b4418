"""The groups of a LINEAR: ROWS digit rows each, which the array computes one after the other.

The cost of a group is the number of cycles in which its results leave; the channels of its rows
determine it (hw_src/rtl/lanes/row_parameters.sv).
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from quasar_runtime.cycles.units import LOGIT_BANKS, Operation, Timing
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue
from quasar_runtime.isa.program import Program

FINE = 2.0**30
"""Expected cycles are multiples of 1 / FINE: sums of them are exact, in whatever order."""


class First(NamedTuple):
    """The begin of a LINEAR, as far as it matters while the one before it runs.

    rows   rows in the first k groups, for k from 0 to the number of places
    beats  array beats of weights, at most the ring's capacity
    table  whether a lookup table comes before the rows
    """

    rows: tuple[int, ...]
    beats: int
    table: bool


class Groups:
    """A LINEAR's groups; 8-bit rows, two digit rows each, come first.

    count         number of groups
    outputs       rows in all
    beats         array beats of weights in all
    steps, tiles  steps of DEPTH inputs; tiles of TOKENS tokens
    most          largest number of groups in a block
    drain         cycles in which the last group's results leave
    least         minimum of cycles from one group to the next
    most_rows     largest number of rows in a group
    table         whether a lookup table comes before the rows
    adds          whether results are added to the residual
    first         its begin, as the LINEAR before it sees it
    supply        cycles in which memory delivers a group's weights
    lasting       whether memory delivers weights as fast as full blocks use them
    sustained     whether a block's rows are filed while the block before it runs

    With full blocks:
    full, left    groups of the first and of the last block
    middle        cycles per tile in the blocks between
    """

    def __init__(self, t: Timing, w: Operation) -> None:
        o = t.overlay
        self._rows, self._rows8, self.outputs = o.rows, w.rows8, w.outputs
        self.steps, self.tiles = w.inputs // o.depth, -(-w.tokens // o.tokens)
        digits = w.outputs + w.rows8
        self.count = -(-digits // o.rows)
        self.beats = self.count * self.steps
        self.most = max(1, min(t.BLOCK, t.ring // 2 // self.steps))
        self.most_rows = o.rows if w.rows8 < w.outputs else o.rows // 2
        if w.costs is not None:
            self._busy = list(accumulate(w.costs, initial=0))
            self._span = list(accumulate((max(self.steps, c) for c in w.costs), initial=0))
            self.drain = float(w.costs[-1])
            self.least = float(max(self.steps, min(w.costs)))
        else:
            self._span = self._busy = []
            wide = min(self.count, round(2 * w.rows8 / o.rows))
            share = round(64 * w.rows8 / w.outputs)
            p8, c8 = expected(t, self.steps, t.lanes // 2, share)
            p4, c4 = expected(t, self.steps, t.lanes, 64 - share)
            self._kinds = wide, p8, c8, p4, c4
            self.drain = float(-(-((digits - 1) % o.rows + 1) // t.lanes))
            self.least = min(p4, p8)
        rows = self.most_rows if t.shared else 0
        weights = self.steps * t.part
        self.supply = max(
            (weights + rows) / t.port_rate, (weights * t.ports + self.most_rows) / t.memory_rate
        )
        self.lasting = self.tiles * self.least >= self.supply
        self.sustained = self.tiles * self.least >= self.most_rows
        self.full = self.left = min(self.most, self.count)
        self.middle = 0.0
        if self.count > self.full:
            self.left = (self.count - self.full) % self.most or self.most
            self.middle = self.span(self.full, self.count - self.left)
        self.full_rows = self.rows(self.full)
        # The block after which the last places are free, and the rows that are filed after it.
        blocks = max(0, -(-(self.count - t.GROUPS) // self.most))
        self.before_last_rows = self.span(0, min(self.count, blocks * self.most))
        self.last_rows = self.outputs - self.rows(t.GROUPS + (blocks - 1) * self.most)
        self.spread = blocks > 0
        self.table, self.adds = w.mode == Epilogue.TABLE, w.mode == Epilogue.RESIDUAL
        first = range(min(t.GROUPS, self.count) + 1)
        self.first = First(
            tuple([self.rows(k) for k in first]), min(self.beats, t.ring), self.table
        )

    def span(self, first: int, end: int) -> float:
        """Cycles per tile in groups `first` to `end` - 1."""
        if self._span:
            return self._span[end] - self._span[first]
        wide, p8, _, p4, _ = self._kinds
        if first >= wide:
            return (end - first) * p4
        if end <= wide:
            return (end - first) * p8
        return (wide - first) * p8 + (end - wide) * p4

    def busy(self, first: int, end: int) -> float:
        """Cycles per tile in which results of groups `first` to `end` - 1 occupy the lanes."""
        if self._busy:
            return self._busy[end] - self._busy[first]
        wide, _, c8, _, c4 = self._kinds
        count8 = max(0, min(end, wide) - first)
        return count8 * c8 + (end - first - count8) * c4

    def last(self, size: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Paces and costs of the last `size` groups; only their means where they are expected."""
        first, end = self.count - size, self.count
        if self._span:
            span, busy = self._span, self._busy
            return (
                tuple(float(span[k + 1] - span[k]) for k in range(first, end)),
                tuple(float(busy[k + 1] - busy[k]) for k in range(first, end)),
            )
        pace = round(4 * self.span(first, end) / size) / 4
        cost = round(4 * self.busy(first, end) / size) / 4
        return (pace,), (min(cost, pace),)

    def rows(self, groups: int) -> int:
        """Rows in the first `groups` groups."""
        digits = groups * self._rows
        if digits <= 2 * self._rows8:
            return digits // 2
        return min(digits - self._rows8, self.outputs)

    def whole(self, rows: float) -> int:
        """Groups all of whose rows are among the first `rows` rows."""
        if rows >= self.outputs:
            return self.count
        return int(2 * rows if rows <= self._rows8 else rows + self._rows8) // self._rows


@lru_cache(maxsize=32768)
def groups(t: Timing, w: Operation) -> Groups:
    """The groups of a LINEAR, memoised: a search meets the same ones again and again."""
    return Groups(t, w)


def costs(program: Program, d: np.void, t: Timing) -> tuple[int, ...]:
    """The cost of each group of a LINEAR in cycles, from its rows' channels.

    A slot of LANES digit rows leaves in one cycle, unless two of its rows share a memory column or
    a bank of the logits: then it takes LANES cycles.
    """
    o, outputs, rows8 = program.overlay, int(d["outputs"]), int(d["rows8"])
    first = int(d["parameters"])
    rows = program.data[first : first + outputs * hw.ROW_BYTES].view(hw.ROW_DTYPE)
    number = np.arange(outputs)
    slot = np.where(number < rows8, 2 * number, rows8 + number) // t.lanes
    groups = -(-(outputs + rows8) // o.rows)
    banks = LOGIT_BANKS if int(d["mode"]) == Epilogue.LOGITS else o.depth
    counts = np.zeros((groups * t.slots, banks), np.int32)
    np.add.at(counts, (slot, rows["channel"] % banks), 1)
    slow = (counts > 1).any(axis=1)
    each = np.where(counts.any(axis=1), np.where(slow, t.lanes, 1), 0)
    return tuple(each.reshape(groups, -1).sum(axis=1).tolist())


@lru_cache(maxsize=8192)
def expected(t: Timing, steps: int, rows: int, share: int) -> tuple[float, float]:
    """Expected max(steps, cost) and expected cost of a group of randomly chosen rows.

    rows   rows per slot
    share  fraction of all channels that have this precision, in 1/64
    """
    q = clash(t.overlay.depth, rows, share)
    pace = cost = 0.0
    for k in range(t.slots + 1):
        chance = math.comb(t.slots, k) * q**k * (1 - q) ** (t.slots - k)
        cost += chance * (t.slots + k * (t.lanes - 1))
        pace += chance * max(steps, t.slots + k * (t.lanes - 1))
    return round(pace * FINE) / FINE, round(cost * FINE) / FINE


@lru_cache(maxsize=1024)
def clash(depth: int, rows: int, share: int) -> float:
    """Probability that two of `rows` successive rows share a memory column.

    With p = share / 64, the channel of the j-th next row is higher by d with probability
    C(d-1, j-1) p^j (1-p)^(d-j). It clashes where d is a multiple of DEPTH. Clashes are assumed
    independent.
    """
    p = share / 64
    clashes = 0.0
    if 0 < p < 1:
        for j in range(1, rows):
            for d in range(depth, 40 * depth, depth):
                chance = math.comb(d - 1, j - 1) * p**j * (1 - p) ** (d - j)
                clashes += (rows - j) * chance
    return 1 - math.exp(-clashes)
