"""The sequence of operations that share the array and the lanes (hw_src/rtl/control/overlap.sv).

Times are cycles since the array's last step. In these terms a search meets few distinct states
between operations; LINEAR costs are memoised by state, shape and neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate

from quasar_runtime.cycles.groups import First, Groups, groups
from quasar_runtime.cycles.linear import Linear, Outcome
from quasar_runtime.cycles.memory import Bursts, ReadAhead, Stock
from quasar_runtime.cycles.norm import Before, Norm
from quasar_runtime.cycles.state import State, horizon_of, state_of
from quasar_runtime.cycles.supply import Entry, Place, place_of
from quasar_runtime.cycles.units import Operation, Timing, parameter_beats
from quasar_runtime.isa.interface import Epilogue, Opcode


def overlaps(work: Sequence[Operation], i: int) -> bool:
    """Whether operation i begins while operation i - 1 runs.

    The rule of overlap.sv for regions as the compiler places them.
    """
    if not i:
        return False
    w, p = work[i], work[i - 1]
    if w.opcode == Opcode.LAYERNORM:
        return p.opcode == Opcode.LINEAR and p.mode == Epilogue.RESIDUAL and w.tokens == p.tokens
    if w.opcode != Opcode.LINEAR:
        return False
    adds = w.mode == Epilogue.RESIDUAL
    if p.opcode == Opcode.LAYERNORM:
        return not adds and w.tokens == p.tokens
    if p.opcode == Opcode.LINEAR:
        return not (adds and p.mode == Epilogue.RESIDUAL)
    return p.opcode == Opcode.ATTENTION


Reading = tuple[float, float, float]
"""(when, row parameters, room for array beats) of a call of `ReadAhead.advance`."""
Begins = tuple[float, float]
"""Earliest begin of a LINEAR and of the LAYERNORM before it."""
START = 0.0, 0.0, ((0.0, 0, 1),), 0, 0.0, 0, None
"""The rest of the state at START: nothing in flight."""


class Chain:
    """The timeline, extended by one operation per call.

    begin, end  of each operation, in cycles since START
    origin      cycles from START to the array's last step; the times below count from there
    state       state of array and lanes after the last operation
    ended       end of the last operation, unless it is a LAYERNORM in flight
    ahead       weights and row parameters read ahead of the next operation
    """

    def __init__(self, work: Sequence[Operation], t: Timing) -> None:
        self.work, self.t = work, t
        self.overlaps = [overlaps(work, i) for i in range(len(work))]
        self.groups = [groups(t, w) if w.opcode == Opcode.LINEAR else None for w in work]
        self.gains = [parameter_beats(w) for w in work]
        self.rows = list(accumulate(self.gains, initial=0))
        self.weights = list(accumulate([g.beats if g else 0 for g in self.groups], initial=0))
        # The queue holds this many further operations: their parameters are read ahead.
        self.rows_known = self.rows[t.QUEUE + 1 :] + self.rows[-1:] * t.QUEUE
        self.weights_known = self.weights[t.QUEUE + 1 :] + self.weights[-1:] * t.QUEUE
        self.begin, self.end = [0.0] * len(work), [0.0] * len(work)
        self.origin = 0.0
        # The first operation begins as if another had just ended.
        self.ended = float(t.FIRST + t.latency - t.GAP)
        self.state = state_of(0.0, 0.0, self.ended, *START)
        self.ahead = ReadAhead(t)
        self.bursts = Bursts(t, work)
        self.places = [self._place(i, g) if g else None for i, g in enumerate(self.groups)]
        self.horizon = horizon_of(t, [p for p in self.places if p])

    def idle(self) -> float:
        """Begin of an operation that does not overlap the one before it."""
        return self.ended + self.t.GAP

    def alone(self, i: int, begin: float, end: float) -> None:
        """Record operation i, which overlaps no other."""
        self.begin[i], self.end[i] = self.origin + begin, self.origin + end
        self.ended = max(end, self.ended)

    def loaded(self, rows: float, beats: float) -> None:
        """The loads have ended: record what was read ahead meanwhile.

        rows   beats of row parameters
        beats  beats of weights on the busiest of their ports
        """
        weights = min(float(self.t.weight_beats), max(0.0, beats) / self.t.part)
        self.ahead.stock = self.ended, rows, weights, weights == self.t.weight_beats
        self.state = state_of(0.0, 0.0, self.ended, *START)

    # ---- ATTENTION

    def attention(self, i: int, cycles: float) -> None:
        """Append an ATTENTION of so many cycles, which has the array to itself."""
        t, state = self.t, self.state
        handed = self.idle()
        end = handed + cycles
        last = end - t.RESULT - t.slots - t.array
        filed = handed + t.HAND
        following, _ = self._following(i)
        taken = float(self.gains[i])
        late = last - t.queued - filed - t.ROWS
        room = t.weight_beats
        if following:
            if late > 0:
                taken += min(following.rows[-1], late)
            room += min(t.ring_free, following.beats)
        room = min(room, self.weights_known[i] - self.weights[i])
        bursts = self.bursts.behind(self.rows[i])
        rows = bursts.asked(taken, self.rows_known[i] - self.rows[i])
        self.ahead.advance(last, rows, float(room))
        self.alone(i, handed, end)
        self._move(i, last)
        self.ended = end - last
        handed, filed = handed - last, filed - last
        passed = tuple([(when - last, groups, n) for when, groups, n in state.passed])
        seen = state.seen
        if handed < -t.asked:
            # All groups were computed when it began; nothing later depends on when.
            passed, seen = ((handed, 0, 1),), 0
        self.state = state_of(
            float(t.slots), filed, self.ended, handed, filed, passed, seen, handed, state.size, None
        )

    # ---- LAYERNORM

    def layernorm(self, i: int) -> None:
        """Append a LAYERNORM, which overlaps the LINEAR before it.

        If the next LINEAR overlaps it too, `linear` decides where it ends.
        """
        t, w = self.t, self.work[i]
        self.ahead.move(0.0, self.gains[i], 0)
        over = self.overlaps[i]
        if over and i + 1 < len(self.work) and self.overlaps[i + 1]:
            return
        state = self.state
        handed = state.hand if over else self.idle()
        before = state.before if over else None
        norm = Norm(t, w.tokens, w.inputs, before or Before(handed, 0.0, (1.0,), (0.0,)))
        end = max(norm.finish(None)[0] + t.NORMED - 1, self.ended + 1)
        self.alone(i, max(handed, self.ended), end)
        filed = handed + t.ROWS + self.gains[i] * t.gain
        self.state = state_of(
            state.pace, max(handed + t.HAND, filed), end, state.end, *state.rest()
        )

    # ---- LINEAR

    def linear(self, i: int) -> None:
        """Append a LINEAR, and settle the end of an overlapped LAYERNORM before it."""
        t, ahead = self.t, self.ahead
        place, horizon = self.places[i], self._horizon(i)
        assert place is not None
        rows_known = min(self.rows_known[i] - self.rows[i], place.rows + t.ROW_BEATS)
        known = self.weights_known[i] - self.weights[i]
        if self.bursts.ends:
            bursts = self.bursts.behind(self.rows[i])
            begins, entry = _entry(self.state, place, rows_known)
            outcome = Linear(place, entry, ahead, bursts, known).outcome(horizon)
        elif ahead.weights >= place.g.beats:
            begins, outcome, calls = _unhindered(self.state, place, rows_known, horizon)
            for now, rows, room in calls:
                ahead.advance(now, rows, min(room, known))
        else:
            known = min(known, place.beats + t.weight_beats)
            begins, outcome, ahead.stock = _supplied(
                self.state, place, rows_known, horizon, ahead.stock, known
            )
        origin = self.origin
        if place.norm:
            self.begin[i - 1], self.end[i - 1] = origin + begins[1], origin + outcome.normed
        begin = max(begins[0], outcome.normed) if place.overlapped else begins[0]
        self.begin[i], self.end[i] = origin + begin, origin + outcome.end
        self.state = outcome.state
        self._move(i, outcome.last)
        self.ended = self.state.end

    def _following(self, i: int) -> tuple[First | None, int]:
        """The LINEAR that may be issued while operation i runs, or None.

        With it the row parameters of the LAYERNORM between the two, in beats.
        """
        j, gains = i + 1, 0
        work, over = self.work, self.overlaps
        if j < len(work) and over[j] and work[j].opcode == Opcode.LAYERNORM:
            gains = self.gains[j]
            j += 1
        if j < len(work) and over[j]:
            g = self.groups[j]
            if g:
                return g.first, gains
        return None, 0

    def _horizon(self, i: int) -> float:
        """The horizon for the LINEAR after LINEAR i.

        None (-inf) with few tokens: then the ring does not fill.
        """
        following = self.groups[i + 1] or (self.groups[i + 2] if i + 2 < len(self.work) else None)
        if following and following.tiles < self.t.fast:
            return -math.inf
        return self.horizon

    def _place(self, i: int, g: Groups) -> Place:
        if not self.overlaps[i]:
            return place_of(self.t, g, False, None, False, False, *self._following(i))
        w, before, norm = self.work[i], self.work[i - 1], None
        if before.opcode == Opcode.LAYERNORM and self.overlaps[i - 1]:
            norm = before.tokens, before.inputs
        tilewise, attention = w.tokens == before.tokens, before.opcode == Opcode.ATTENTION
        return place_of(self.t, g, True, norm, tilewise, attention, *self._following(i))

    def _move(self, i: int, last: float) -> None:
        """Make operation i's last array step the origin of times.

        Count weights and row parameters from the operation after it.
        """
        self.origin += last
        self.ahead.move(last, self.gains[i], self.weights[i + 1] - self.weights[i])


def _entry(state: State, place: Place, rows_known: float) -> tuple[Begins, Entry]:
    """Earliest begins and initial conditions of a LINEAR."""
    t, g = place.t, place.g
    normed, hand = 0.0, state.hand
    if place.norm:
        normed = max(hand, state.end)
        hand += max(t.HAND, t.ROWS + place.norm_gains * t.gain)
    if place.overlapped:
        # At most three operations are in flight, or two.
        handed = max(hand, state.under_way)
        begin = max(float(t.BEHIND), handed + t.STEP)
        filling = max(state.filled, handed + 2)
        if place.attention and not t.ring_free:
            filling = max(filling, begin)
    else:
        handed = state.end + t.GAP
        begin, filling = handed + t.STEP, handed + 2
    filing = handed + t.ROWS + (t.TABLE if g.table else 0)
    filed = begin - max(filing, state.begin) > g.full_rows
    return (handed, normed), Entry(
        begin,
        filing,
        filling,
        filed,
        state.pace,
        state.end,
        state.before if place.norm else None,
        state.size,
        state.passed,
        state.seen,
        rows_known,
    )


class _Plenty(ReadAhead):
    """Memory that delivers all weights at once, and records what is read ahead meanwhile."""

    __slots__ = ("calls",)

    def __init__(self, t: Timing) -> None:
        super().__init__(t, (0.0, 0.0, math.inf, False))
        self.calls: list[Reading] = []

    def advance(self, to: float, rows: float, room: float) -> None:
        self.calls.append((to, rows, room))


@lru_cache(maxsize=65536)
def _unhindered(
    state: State, place: Place, rows_known: float, horizon: float
) -> tuple[Begins, Outcome, tuple[Reading, ...]]:
    """A LINEAR whose weights were all read ahead, and the calls that read further ahead."""
    begins, entry = _entry(state, place, rows_known)
    ahead = _Plenty(place.t)
    outcome = Linear(place, entry, ahead, Bursts(place.t), math.inf).outcome(horizon)
    return begins, outcome, tuple(ahead.calls)


@lru_cache(maxsize=65536)
def _supplied(
    state: State, place: Place, rows_known: float, horizon: float, stock: Stock, known: float
) -> tuple[Begins, Outcome, Stock]:
    """A LINEAR whose weights come from memory, and what has been delivered by its end."""
    begins, entry = _entry(state, place, rows_known)
    ahead = ReadAhead(place.t, stock)
    outcome = Linear(place, entry, ahead, Bursts(place.t), known).outcome(horizon)
    return begins, outcome, ahead.stock
