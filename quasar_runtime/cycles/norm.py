"""LAYERNORM, overlapped with the LINEAR before it and the LINEAR after it, tile by tile.

Follows hw_src/rtl/lanes/layernorm_unit.sv, norm_words.sv and overlap.sv:

    before     its last block adds to the residual for the last time, one tile per `period` cycles
    LAYERNORM  sums of a tile once it is written, square roots, then the tile's words on the lanes
    after      its first block reads a tile once it is normalised

Results of both LINEARs have priority on the lanes. So LAYERNORM either falls behind the LINEAR
before, or runs at full speed while the LINEAR after waits for it; its end depends on all three.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from quasar_runtime.cycles.units import Timing

EVEN = 13
"""Tiles that are at least computed one by one: so few have no common pace."""


class Before(NamedTuple):
    """The last block of the LINEAR before.

    written  when its last tile is written
    period   cycles from tile to tile
    paces    cycles per tile of each of its groups
    costs    cycles per tile in which each group's results occupy the lanes
    """

    written: float
    period: float
    paces: tuple[float, ...]
    costs: tuple[float, ...]


class After(NamedTuple):
    """The first block of the LINEAR after.

    first   last step of its first tile's first group
    period  cycles from tile to tile
    busy    of those, the cycles in which its results occupy the lanes
    steps   steps of a group
    """

    first: float
    period: float
    busy: float
    steps: int


@lru_cache(maxsize=4096)
def beside(t: Timing, paces: tuple[float, ...], costs: tuple[float, ...]) -> float:
    """Fraction of cycles in which the lanes serve LAYERNORM beside a LINEAR with these groups.

    The LINEAR's results occupy the lanes, and ADDED cycles later the port of RES, which reads the
    residual that they are added to. LAYERNORM holds two words: one occupies the lanes for `phases`
    cycles while the other is read. A word is read as soon as there is room for it. So a cycle that
    the port loses is lost on the lanes, unless the wait for the lanes is longer.
    """
    if all(cost >= pace for pace, cost in zip(paces, costs, strict=True)):
        return 0.0
    period = sum(paces)
    begins = [sum(paces[:k]) for k in range(len(paces))]
    # Occupied intervals within a period.
    taken = [(b, b + c) for b, c in zip(begins, costs, strict=True)]

    def free(now: float) -> tuple[float, float]:
        """The first free cycle from `now` on, and the length of that free interval."""
        while True:
            at = now % period
            for begin, end in taken:
                if at < begin:
                    return now, begin - at
                if at < end:
                    now += end - at
                    break
            else:
                return now, period - at

    room = used = 0.0  # when the next word may be read; when the one before has been used
    other = 0.0
    seen: dict[tuple[float, float], tuple[int, float]] = {}
    for word in range(400):
        state = used % period, used - room
        if state in seen:
            earlier, begin = seen[state]
            return (word - earlier) * t.phases / (used - begin)
        seen[state] = word, used
        read, _ = free(room - t.ADDED)
        now, left = max(read + t.ADDED + t.WORD, used), float(t.phases)
        while left > 0:
            now, some = free(now)
            step = min(left, some)
            now += step
            left -= step
        room, other, used = other, now, now
    return 400 * t.phases / used


class _Start(NamedTuple):
    """The first tile of a LAYERNORM; times count from when the LINEAR before writes its last tile.

    sums    when the tile's sums are complete
    began   when its words begin on the lanes
    used    when they have passed the lanes
    share   fraction of the lanes' cycles for LAYERNORM until that LINEAR has ended
    slower  factor by which sums take longer until then; 0 if they wait for its end
    """

    sums: float
    began: float
    used: float
    share: float
    slower: float


@lru_cache(maxsize=32768)
def _start(
    t: Timing,
    tiles: int,
    cycles: float,
    period: float,
    paces: tuple[float, ...],
    costs: tuple[float, ...],
) -> _Start:
    share, busy, whole = beside(t, paces, costs), sum(costs), sum(paces)
    # Two words are held; a read waits for the port, half of a group's cost on average.
    slower = 1 + busy / whole * (busy / len(costs) + 1) / (4 * t.phases) if busy < whole else 0.0
    taken = 2.0 - t.RESULT
    sums = _sums(t, t.READ - (tiles - 1) * period, cycles, taken, slower)
    began = sums + t.summed + t.roots
    return _Start(sums, began, _passed(began, cycles, taken, share), share, slower)


def _sums(t: Timing, begin: float, cycles: float, taken: float, slower: float) -> float:
    """When a tile's sums are complete.

    They share the port of RES with the residual additions, which occupy the lanes until `taken`.
    """
    free = taken + t.ADDED
    if begin >= free:
        return begin + cycles
    if not slower:
        return free + t.READ + cycles
    if begin + cycles * slower <= free:
        return begin + cycles * slower
    return free + cycles - (free - begin) / slower


def _passed(begin: float, cycles: float, taken: float, share: float) -> float:
    """When a tile that begins then has passed the lanes.

    Until `taken` the LINEAR before leaves it the fraction `share` of the lanes' cycles, then all.
    """
    if begin >= taken:
        return begin + cycles
    if cycles <= (taken - begin) * share:
        return begin + cycles / share
    return taken + cycles - (taken - begin) * share


class Norm:
    """A LAYERNORM: `first` is when its first tile is normalised, `finish` gives the last one.

    A tile is normalised when its last word has passed the lanes.
    """

    __slots__ = (
        "began",
        "cycles",
        "first",
        "last",
        "period",
        "share",
        "slower",
        "sums",
        "t",
        "taken",
        "tiles",
        "used",
        "written",
    )

    def __init__(self, t: Timing, tokens: int, channels: int, before: Before) -> None:
        written, self.period, paces, costs = before
        self.t, self.written = t, written
        self.tiles = -(-tokens // t.overlay.tokens)
        self.cycles = float(t.phases * (channels // t.overlay.depth))
        sums, began, used, self.share, self.slower = _start(
            t, self.tiles, self.cycles, self.period, paces, costs
        )
        self.taken = written - t.RESULT + 2  # the lanes until then
        self.sums, self.began = written + sums, written + began
        self.first = self.used = written + used
        self.last = written + self.cycles  # ends no earlier

    def _skip(self) -> int:
        """Compute at once the evenly spaced tiles before the LINEAR after interferes.

        Returns the next tile's number.
        """
        t = self.t
        if not self.share or self.used >= self.taken:
            return 1
        each = max(self.cycles / self.share, t.roots + 1.0)
        if each > self.period:
            # Behind: as fast as the lanes allow.
            done = min(self.tiles - 1, int((self.taken - self.used) / each))
            if done < 2:
                return 1
            self.began += done * each
            self.used += done * each
            self.sums = self.began - t.summed - t.roots
        else:
            behind = 2 * self.cycles + each + t.summed + t.roots + 2 * t.NORMED
            done = self.tiles - 2 - int(behind / self.period)
            if done < 2:
                return 1
            self.began += done * self.period
            self.used += done * self.period
            self.sums += done * self.period
        return done + 1

    def finish(self, after: After | None) -> tuple[float, float]:
        """When the last tile is normalised, and when the LINEAR after issues it.

        The latter is the last step of the last tile's first group in that LINEAR's first block.
        """
        t, cycles = self.t, self.cycles
        tile, tiles, own = self._skip(), self.tiles, self.period
        beside = _Beside(t, after, tile) if after else None
        roots, port = t.summed + t.roots, self.taken + t.ADDED
        written = self.written - (tiles - 1) * own + t.READ
        earlier = -1e18  # begin of the tile before the last one
        while tile < tiles:
            begin = max(written + tile * own, self.sums, earlier + 1)
            if begin >= port:
                self.sums = begin + cycles
            else:
                self.sums = _sums(t, begin, cycles, self.taken, self.slower)
            seen = max(self.sums + roots, self.began + 1 + t.roots, self.used)
            earlier, self.began = self.began, seen
            # The tile's words, in the cycles that the lanes are free.
            if seen < self.taken or not beside:
                self.used = _passed(seen, cycles, self.taken, self.share)
                if self.used > self.taken > seen and beside:
                    left = self.used - self.taken
                    self.used = beside.passed(self.taken, left)
            else:
                self.used = beside.passed(seen, cycles)
            tile += 1
            if not beside:
                continue
            beside.take(self.used)
            if self.began > port and tiles - tile > EVEN:
                # The LINEAR before has ended.
                even, each = beside.even(self.used, tiles - tile, cycles)
                if even > 1:
                    self.used += even * each
                    self.began = self.used - each
                    earlier, self.sums = self.began - each, self.used - roots
                    tile += even
        return self.used, beside.issue if beside else self.used


@lru_cache(maxsize=32768)
def normalised(
    t: Timing, tokens: int, channels: int, before: Before, after: After
) -> tuple[float, float]:
    """`Norm.finish` of a LAYERNORM between two LINEARs."""
    return Norm(t, tokens, channels, before).finish(after)


class _Beside:
    """The first block of the LINEAR after, while LAYERNORM runs.

    issue  last step of the first group of its last tile so far
    taken  intervals in which its results use the lanes
    """

    __slots__ = ("after", "at", "issue", "lead", "share", "t", "taken", "to_lanes", "waits")

    def __init__(self, t: Timing, after: After, tiles: int) -> None:
        self.t, self.after = t, after
        self.share = 1 - after.busy / after.period
        self.lead = after.steps + float(t.NORMED)  # from a tile normalised to its last step
        self.to_lanes = t.array + 2.0
        self.issue = after.first + (tiles - 1) * after.period
        lanes = after.first + self.to_lanes
        self.taken = [(lanes, self.issue + self.to_lanes + after.period)]
        self.at, self.waits = 0, False

    def passed(self, now: float, left: float) -> float:
        """When the lanes have been free for `left` cycles from `now` on."""
        taken, at = self.taken, self.at
        while at < len(taken):
            begin, end = taken[at]
            if end <= now:
                at += 1
                continue
            if begin >= now + left:
                break
            if begin > now:
                left -= begin - now
                now = begin
            free = (end - now) * self.share
            if free >= left:
                self.at = at
                return now + left / self.share
            left -= free
            now = end
        self.at = at
        return now + left

    def take(self, used: float) -> None:
        """Issue the next tile, which is normalised at `used`."""
        period = self.after.period
        self.waits = self.issue + period < used + self.lead
        self.issue = used + self.lead if self.waits else self.issue + period
        end = self.issue + self.to_lanes + period
        if self.waits:
            self.taken.append((self.issue + self.to_lanes, end))
        else:
            self.taken[-1] = (self.taken[-1][0], end)

    def even(self, used: float, left: int, cycles: float) -> tuple[int, float]:
        """Issue the evenly spaced tiles among the `left` that remain.

        Returns their number and the cycles from one to the next. Where each is waited for, the last
        ones are left out: they end before results of earlier tiles reach the lanes.
        """
        after, roots, period = self.after, self.t.roots + 1.0, self.after.period
        each = max(cycles / self.share, roots) if self.share > 0 else 1e9
        if self.waits and each > period:
            each = period = max(cycles + after.busy, roots)
            even = left - 1 - int((self.lead + self.to_lanes + after.period) / each)
        else:
            slack = self.issue + period - used - each - self.lead
            if slack < 0:
                return 0, each
            even = left if each <= period else min(left, int(slack / (each - period)))
        if even > 1:
            self.issue += even * period
            lanes = [self.issue - k * period + self.to_lanes for k in range(min(even, 4))]
            self.at, self.taken = 0, [(b, b + after.period) for b in reversed(lanes)]
        return even, each
