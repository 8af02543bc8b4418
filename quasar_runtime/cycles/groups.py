"""The groups of a LINEAR: ROWS digit rows each, which the array takes one after the other for every
tile of tokens. What a group costs is set by its rows' channels
(hw_src/rtl/lanes/row_parameters.sv).
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
    """What of a LINEAR matters while the one before it runs.

    rows   rows in none, in the first one, in the first two groups, as far as there are places
    beats  array beats of weights, as far as the ring has room
    table  whether a table comes before the rows
    """

    rows: tuple[int, ...]
    beats: int
    table: bool


class Groups:
    """A LINEAR's groups: 8-bit rows, two digit rows each, come first.

    count         how many
    outputs       rows of all
    beats         array beats of weights of all
    steps, tiles  steps of DEPTH inputs; tiles of TOKENS tokens
    most          groups that share a pass over the tokens at most
    drain         cycles in which the last group's results leave
    least         least cycles from a group to the next
    most_rows     most rows of a group
    table         whether a table comes before the rows
    adds          whether results are added to the residual
    first         what matters of it before it begins
    supply        cycles in which a group's weights come from memory
    lasting       they come as fast as full blocks use them up
    sustained     so do the row parameters: a block's are filed while the one before is under way

    In full blocks:
    full, left    groups of the first and of the last one
    middle        cycles of a tile in those between
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
        # Behind which block the last places come free, and how many rows are filed there at last.
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
        """Cycles that a tile takes in these groups."""
        if self._span:
            return self._span[end] - self._span[first]
        wide, p8, _, p4, _ = self._kinds
        if first >= wide:
            return (end - first) * p4
        if end <= wide:
            return (end - first) * p8
        return (wide - first) * p8 + (end - wide) * p4

    def busy(self, first: int, end: int) -> float:
        """Cycles in which a tile's results in these groups take the lanes."""
        if self._busy:
            return self._busy[end] - self._busy[first]
        wide, _, c8, _, c4 = self._kinds
        count8 = max(0, min(end, wide) - first)
        return count8 * c8 + (end - first - count8) * c4

    def last(self, size: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Paces and costs of the last so many groups; of expected ones their means, once."""
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
        """Rows in the first so many groups."""
        digits = groups * self._rows
        if digits <= 2 * self._rows8:
            return digits // 2
        return min(digits - self._rows8, self.outputs)

    def whole(self, rows: float) -> int:
        """Groups whose rows are all among the first so many."""
        if rows >= self.outputs:
            return self.count
        return int(2 * rows if rows <= self._rows8 else rows + self._rows8) // self._rows


@lru_cache(maxsize=32768)
def groups(t: Timing, w: Operation) -> Groups:
    """The groups of a LINEAR; a search asks for the same ones again and again."""
    return Groups(t, w)


def costs(program: Program, d: np.void, t: Timing) -> tuple[int, ...]:
    """Cycles in which the results of each group of a LINEAR leave, from its rows' channels.

    A slot of digit rows leaves in one cycle unless two of them share a memory column, or a bank of
    the logits: then each takes its own.
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
    """Means of max(steps, cost) and of cost of a group when a slot's `rows` rows are neighbours
    among a random share / 64 of all channels.
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
    """Probability that two of so many neighbouring rows share a memory column.

    j rows further on, the channel is d higher with probability C(d-1, j-1) p^j (1-p)^(d-j): a clash
    where d is a multiple of DEPTH. Clashes are taken as independent.
    """
    p = share / 64
    clashes = 0.0
    if 0 < p < 1:
        for j in range(1, rows):
            for d in range(depth, 40 * depth, depth):
                chance = math.comb(d - 1, j - 1) * p**j * (1 - p) ** (d - j)
                clashes += (rows - j) * chance
    return 1 - math.exp(-clashes)
