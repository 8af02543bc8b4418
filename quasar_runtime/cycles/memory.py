"""What is read ahead from memory: weights into buffers and row parameters into theirs.

Two sums run through the whole program: array beats of weights and beats of row parameters, as
delivered so far. Row parameters go first; weights take what the ports have left, as long as the
buffers behind them have room and their descriptors are queued.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from quasar_runtime.cycles.units import PAGE, Operation, Timing, parameter_beats


class Bursts:
    """The bursts in which row parameters are read: of at most BURST beats, within an operation's
    and within a page, each asked for as soon as the buffer has room for all of it. Without knowing
    where they lie: half a burst is missing on average.

    ends    row parameters up to each burst's end, empty when that is not known
    before  how many of them are not counted
    """

    __slots__ = ("before", "ends", "t")

    def __init__(self, t: Timing, work: Sequence[Operation] = ()) -> None:
        self.t, self.before = t, 0
        self.ends: list[int] = []
        if work and all(w.place is not None for w in work):
            self.ends = list(accumulate(self._lengths(work), initial=0))

    def behind(self, rows: int) -> Bursts:
        """The same, counted from behind so many row parameters."""
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
        """How many have been asked for when so many were taken and so many are known of."""
        if not self.ends:
            return min(taken + self.t.ROW_BEATS - self.t.BURST / 2, known)
        most = min(taken + self.t.ROW_BEATS, known) + self.before
        return float(self.ends[bisect_right(self.ends, most) - 1] - self.before)

    def until(self, taken: float) -> float:
        """How many more are taken until the next burst is asked for."""
        if not self.ends:
            return self.t.BURST / 2
        most = taken + self.t.ROW_BEATS + self.before
        at = bisect_right(self.ends, most)
        return self.ends[at] - most if at < len(self.ends) else 0.0


Stock = tuple[float, float, float, bool]
"""What has come from memory: (now, rows, weights, full) of a `ReadAhead`."""


class ReadAhead:
    """Array beats of weights (`weights`) and beats of row parameters (`rows`) that have come from
    memory by the time `now`; `full`: then the buffers were, and nothing was under way.
    """

    __slots__ = ("full", "now", "rows", "t", "weights")

    def __init__(self, t: Timing, stock: Stock = (0.0, 0.0, 0.0, False)) -> None:
        self.t = t
        self.now, self.rows, self.weights, self.full = stock

    @property
    def stock(self) -> Stock:
        """What has been read ahead so far."""
        return self.now, self.rows, self.weights, self.full

    @stock.setter
    def stock(self, stock: Stock) -> None:
        self.now, self.rows, self.weights, self.full = stock

    def move(self, cycles: float, rows: float, weights: float) -> None:
        """Count all from there."""
        self.now -= cycles
        self.rows -= rows
        self.weights -= weights

    def at(self, weights: float, rows: float) -> float:
        """When so many weights will have come, if so many row parameters come before them."""
        t = self.t
        beats = (weights - self.weights) * t.part
        first = rows - self.rows if rows > self.rows else 0.0
        port = (beats + first if t.shared else beats) / t.port_rate
        memory = (beats * t.ports + first) / t.memory_rate
        delay = t.latency + t.ACCESS if self.full else 0
        return self.now + delay + (port if port > memory else memory)

    def advance(self, to: float, rows: float, room: float) -> None:
        """Time goes on: so many row parameters have been asked for by then, and there has been room
        for so many weights.
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
        if beats < 0:  # the row parameters take longer than that
            self.rows += min(first, cycles * t.port_rate)
            return
        self.rows += first
        self.weights += beats / t.part
        if self.weights >= room:
            self.weights = room
            self.full = True
