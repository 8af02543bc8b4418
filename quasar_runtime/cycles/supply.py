"""The supply of a LINEAR: weights, row parameters and the buffer places that its groups free.

Follows hw_src/rtl/lanes/row_parameters.sv and overlap.sv. Times are cycles since the last array
step before it; row parameters, weights and groups are counted from its first. *Filing* is the
unpacking of row parameters into the groups' places, one row per cycle.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from quasar_runtime.cycles.groups import First, Groups
from quasar_runtime.cycles.memory import Bursts, ReadAhead
from quasar_runtime.cycles.norm import Before, Norm
from quasar_runtime.cycles.units import Timing

Passed = tuple[float, int, int]
"""(when, groups, size): by that cycle the array had computed so many groups, evenly in blocks of
`size` groups since the entry before."""


class Place:
    """A LINEAR and the neighbours that its time depends on.

    overlapped  whether it begins while the operation before it runs
    norm        (tokens, channels) of an overlapped LAYERNORM before it
    tilewise    whether it reads tiles as the operation before it writes them
    attention   whether the operation before it is an ATTENTION
    following   the LINEAR that may be issued meanwhile
    gains       row parameters of the LAYERNORM in front of `following`, in beats

    rows, beats  row parameters and array beats of weights that may be taken by its end
    taken        cycles that filing takes for it and both LAYERNORMs
    """

    def __init__(
        self,
        t: Timing,
        g: Groups,
        overlapped: bool,
        norm: tuple[int, int] | None,
        tilewise: bool,
        attention: bool,
        following: First | None,
        gains: int,
    ) -> None:
        self.t, self.g, self.overlapped, self.norm = t, g, overlapped, norm
        self.tilewise, self.attention = tilewise, attention
        self.following, self.gains = following, gains
        self.norm_gains = norm[1] // 8 if norm else 0
        self.rows, self.beats = g.outputs + gains, g.beats
        if following:
            self.rows += following.rows[-1]
            self.beats += following.beats
        self.taken = g.outputs + (gains + self.norm_gains) * (t.gain + 1)


@lru_cache(maxsize=32768)
def place_of(
    t: Timing,
    g: Groups,
    overlapped: bool,
    norm: tuple[int, int] | None,
    tilewise: bool,
    attention: bool,
    following: First | None,
    gains: int,
) -> Place:
    """Interned places: equal neighbours give the same object, which caches compare by identity."""
    return Place(t, g, overlapped, norm, tilewise, attention, following, gains)


class Entry(NamedTuple):
    """The initial conditions of a LINEAR.

    begin       earliest begin of its first block
    filing      earliest begin of its filing
    filling     when its weights begin to enter the ring
    filed       whether a full block's row parameters are filed at `begin`
    pace        cycles from the last array step until the next group's first step may follow
    end         end of the operation before it, or of the one before its LAYERNORM
    before      the LINEAR before its LAYERNORM, as that one sees it
    size        groups of the last block before it
    passed      when the groups before it were computed
    seen        entries of `passed` that filing has used
    rows_known  row parameters of it and of the operations queued behind it
    """

    begin: float
    filing: float
    filling: float
    filed: bool
    pace: float
    end: float
    before: Before | None
    size: int
    passed: tuple[Passed, ...]
    seen: int
    rows_known: float


class Supply:
    """Weights and row parameters of a running LINEAR.

    filing  begin of its filing; `filed_rows` rows are filed by the cycle `filed_until`
    filed   end of its filing
    end     end of the operation before it
    norm    the LAYERNORM before it while in flight
    """

    def __init__(
        self, place: Place, entry: Entry, ahead: ReadAhead, bursts: Bursts, known: float
    ) -> None:
        self.t, self.g = place.t, place.g
        self.place, self.entry, self.ahead, self.bursts = place, entry, ahead, bursts
        self.known = known
        self.beats = place.beats
        self.passed, self.seen = list(entry.passed), entry.seen
        self.filing = self.filed = self.filed_until = entry.filing
        self.filed_rows = 0.0
        self.end = entry.end
        self.norm: Norm | None = None
        if place.norm and entry.before:
            self.norm = Norm(self.t, *place.norm, entry.before)

    # ---- What is read ahead

    def asked(self, passed: int) -> tuple[int, int]:
        """Row parameters that may be filed once `passed` groups were computed.

        First its own, and once all have places also the next LAYERNORM's; second the next LINEAR's.
        """
        g, place = self.g, self.place
        places = passed + self.t.GROUPS
        if places < g.count:
            return g.rows(places) if places > 0 else 0, 0
        following = place.following
        if not following:
            return g.outputs + place.gains, 0
        rows, left = following.rows, places - g.count
        return g.outputs + place.gains, rows[left if left < len(rows) else -1]

    def advance(self, now: float, passed: int) -> None:
        """Read ahead until `now`, when `passed` groups have been computed."""
        t, bursts, most = self.t, self.bursts, self.entry.rows_known
        # A request waits for the burst in flight on its port.
        late = now - t.queued
        taken = self._taken(late)
        rows = bursts.asked(taken, most)
        if bursts.ends and rows > self.ahead.rows:
            # Of the last burst only the beats delivered since.
            earlier = bursts.asked(self._taken(late - t.BURST), most)
            rows = min(rows, max(earlier, taken + t.ROW_BEATS - t.BURST))
        room: float = passed * self.g.steps + t.ring
        room = (self.beats if self.beats < room else room) + t.weight_beats
        if room > self.known:
            room = self.known
        self.ahead.advance(now, rows, room)

    def _taken(self, now: float) -> float:
        """Row parameters filed by `now`."""
        if now <= self.filing:
            return 0.0
        passed = self.passed
        k = len(passed) - 1
        while k and passed[k][0] > now:
            k -= 1
        own, more = self.asked(self.released(now))
        since = now - passed[k][0]
        if k and since < own + more:
            # Filing of the places freed last began then.
            before, more_before = self.asked(passed[k][1] - passed[k][2])
            own = min(own, int(before + since))
            more = min(more, int(more_before + since))
        rows = min(own, now - self.filing)
        if more:
            rows += max(0.0, min(more, now - self.next_filing()))
        return rows

    def arrival(self, groups: int, passed: float | None = None) -> float:
        """Cycle by which the weights of its first `groups` groups are delivered.

        passed  groups computed when the last row parameters before them are requested; by default
                what follows from the time itself
        """
        t, ahead = self.t, self.ahead
        weights = groups * self.g.steps
        if weights <= ahead.weights:
            return float("-inf")
        if passed is not None:
            return self._behind(weights, int(passed)) + t.ARRIVED
        when = ahead.now + (weights - ahead.weights) * t.part
        seen = -1
        while True:
            # Groups computed meanwhile free places, for which more row parameters are requested.
            computed = self.released(when - t.queued)
            if computed <= seen:
                return when + t.ARRIVED
            seen = computed
            when = self._behind(weights, computed)

    def _behind(self, weights: int, passed: int) -> float:
        """Cycle by which `weights` come, after the row parameters requested before them."""
        t, ahead, bursts, most = self.t, self.ahead, self.bursts, self.entry.rows_known
        own, more = self.asked(passed)
        when = ahead.at(weights, ahead.rows)
        if when > self.filing + bursts.until(0) + t.queued:
            when = ahead.at(weights, bursts.asked(own, most))
        if more and when > self.next_filing() + bursts.until(own) + t.queued:
            when = ahead.at(weights, bursts.asked(own + more, most))
        return when

    def next_filing(self) -> float:
        """Earliest begin of the next LINEAR's filing."""
        t, place = self.t, self.place
        if self.norm:
            return self.norm.last  # the next LINEAR is issued when the LAYERNORM has ended
        taken = self.filing + self.g.outputs
        if place.gains:
            taken += place.gains * t.gain + t.ROWS
        if self.end > taken:
            taken = self.end
        return taken + t.ROWS + (t.TABLE if place.following and place.following.table else 0)

    def released(self, now: float) -> int:
        """Groups computed by `now`; negative while those of the LINEAR before it are computed."""
        passed = self.passed
        for k in range(len(passed) - 1, 0, -1):
            when, groups, size = passed[k]
            if when <= now:
                return groups
            earlier, start, _ = passed[k - 1]
            if earlier <= now:
                blocks = -(-(groups - start) // size)
                return start + int((now - earlier) / (when - earlier) * blocks) * size
        return passed[0][1]

    def release(self, when: float, begin: float, groups: int, size: int) -> None:
        """Record `groups` more groups, computed from `begin` to `when` evenly in blocks."""
        keep = 2
        blocks = -(-groups // size)
        each = (when - begin) / blocks
        when += self.t.array
        last = self.passed[-1][1]
        total = last + groups
        if blocks > keep + 1:
            last += (blocks - keep) * size
            self.passed.append((when - keep * each, last, size))
            blocks = keep
        for k in range(blocks - 1, 0, -1):
            last += size
            self.passed.append((when - k * each, last, size))
        self.passed.append((when, total, size))

    # ---- Filing: one row per cycle, while its group has a place

    def file(self, now: float) -> None:
        """File row parameters until `now`."""
        passed, seen = self.passed, self.seen
        while seen + 1 < len(passed) and passed[seen + 1][0] <= now:
            if passed[seen + 1][0] > self.filed_until and self.filed_rows < self.g.outputs:
                self._file(passed[seen][1], passed[seen + 1][0])
            seen += 1
        self.seen = seen
        if now > self.filed_until and self.filed_rows < self.g.outputs:
            self._file(passed[seen][1], now)

    def _file(self, passed: int, now: float) -> None:
        g = self.g
        rows = self.filed_rows + now - self.filed_until
        places = passed + self.t.GROUPS
        if places < g.count:
            most = g.rows(places) if places > 0 else 0
            if rows > most:
                rows = most if most > self.filed_rows else self.filed_rows
        elif rows >= g.outputs:
            rows = float(g.outputs)
            self.filed = self.filed_until + rows - self.filed_rows
        self.filed_rows, self.filed_until = rows, now

    def filed_when(self, groups: int) -> float:
        """Cycle by which the first `groups` groups' rows are filed, if places are free."""
        return self.filed_until + self.g.rows(groups) - self.filed_rows
