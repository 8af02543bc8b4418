"""Read-ahead from memory: weights and row parameters, each into its own buffers.

The model keeps two sums over the program: array beats of weights and beats of row parameters that
were delivered. Row parameters have priority; weights use the remaining bandwidth while their
buffers have room and their descriptors are queued.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from quasar_runtime.cycles.units import PAGE, Operation, Timing, parameter_beats


class Bursts:
    """The bursts that read row parameters.

    A burst has at most BURST beats, crosses neither an operation's parameters nor a 4 KiB page, and
    is requested once the buffer has room for all of it. Where addresses are unknown, as in a
    search, half a burst is outstanding on average.

    ends    beats of row parameters up to each burst's end; empty where addresses are unknown
    before  beats in front of the first one that counts
    """

    __slots__ = ("before", "ends", "t")

    def __init__(self, t: Timing, work: Sequence[Operation] = ()) -> None:
        self.t, self.before = t, 0
        self.ends: list[int] = []
        if work and all(w.place is not None for w in work):
            self.ends = list(accumulate(self._lengths(work), initial=0))

    def behind(self, rows: int) -> Bursts:
        """The same bursts, counted from after the first `rows` beats."""
        bursts = Bursts(self.t)
        bursts.ends, bursts.before = self.ends, self.before + rows
        return bursts

    def _lengths(self, work: Sequence[Operation]) -> list[int]:
        lengths = []
        for w in work:
            place, left = w.place or 0, parameter_beats(w)
            while left:
                length = min(self.t.BURST, left, PAGE - place % PAGE)
                lengths.append(length)
                place += length
                left -= length
        return lengths

    def asked(self, taken: float, known: float) -> float:
        """Beats requested once `taken` beats left the buffer and `known` beats have descriptors."""
        if not self.ends:
            return min(taken + self.t.ROW_BEATS - self.t.BURST / 2, known)
        most = min(taken + self.t.ROW_BEATS, known) + self.before
        return float(self.ends[bisect_right(self.ends, most) - 1] - self.before)

    def until(self, taken: float) -> float:
        """Beats that still leave the buffer before the next burst is requested."""
        if not self.ends:
            return self.t.BURST / 2
        most = taken + self.t.ROW_BEATS + self.before
        at = bisect_right(self.ends, most)
        return self.ends[at] - most if at < len(self.ends) else 0.0


Stock = tuple[float, float, float, bool]
"""What was delivered: (now, rows, weights, full) of a `ReadAhead`."""


class ReadAhead:
    """What memory has delivered by the cycle `now`.

    weights  array beats of weights
    rows     beats of row parameters
    full     whether the buffers were full then, with no burst in flight
    """

    __slots__ = ("full", "now", "rows", "t", "weights")

    def __init__(self, t: Timing, stock: Stock = (0.0, 0.0, 0.0, False)) -> None:
        self.t = t
        self.now, self.rows, self.weights, self.full = stock

    @property
    def stock(self) -> Stock:
        """All of it as one tuple."""
        return self.now, self.rows, self.weights, self.full

    @stock.setter
    def stock(self, stock: Stock) -> None:
        self.now, self.rows, self.weights, self.full = stock

    def move(self, cycles: float, rows: float, weights: float) -> None:
        """Move the origins of time, row parameters and weights."""
        self.now -= cycles
        self.rows -= rows
        self.weights -= weights

    def at(self, weights: float, rows: float) -> float:
        """Cycle by which `weights` are delivered, after `rows` beats of row parameters."""
        t = self.t
        beats = (weights - self.weights) * t.part
        first = rows - self.rows if rows > self.rows else 0.0
        port = (beats + first if t.shared else beats) / t.port_rate
        memory = (beats * t.ports + first) / t.memory_rate
        delay = t.latency + t.ACCESS if self.full else 0
        return self.now + delay + (port if port > memory else memory)

    def advance(self, to: float, rows: float, room: float) -> None:
        """Deliver until the cycle `to`.

        rows  beats of row parameters requested by then
        room  array beats of weights for which there was room
        """
        t = self.t
        if self.full and room > self.weights:
            self.now += t.latency + t.ACCESS
            self.full = False
        cycles = to - self.now
        if cycles <= 0:
            return
        first = rows - self.rows if rows > self.rows else 0.0
        port = cycles * t.port_rate - (first if t.shared else 0.0)
        memory = (cycles * t.memory_rate - first) / t.ports
        beats = port if port < memory else memory
        self.now = to
        if beats < 0:  # row parameters alone take longer
            self.rows += min(first, cycles * t.port_rate)
            return
        self.rows += first
        self.weights += beats / t.part
        if self.weights >= room:
            self.weights = room
            self.full = True
