"""A LINEAR: hw_src/rtl/datapath/linear_unit.sv, overlap.sv, row_parameters.sv.

A LINEAR runs block by block; a block is a number of groups that pass over all tiles of tokens
together. Half of the weights' ring bounds its size, and so do the weights and row parameters that
are there when it begins. A block of one group may begin before they are, and waits. With enough
tokens weights and row parameters arrive faster than they are used: all blocks are full, and only
the first and the last one need a computation. With few tokens blocks are single groups, paced by
memory or by filing.
"""

from __future__ import annotations

from typing import NamedTuple

from quasar_runtime.cycles.memory import Bursts, ReadAhead
from quasar_runtime.cycles.norm import After, Before, normalised
from quasar_runtime.cycles.state import Leaving, State, recent
from quasar_runtime.cycles.supply import Entry, Place, Supply


class Outcome(NamedTuple):
    """The result of a LINEAR.

    last    the array's last step
    normed  end of the LAYERNORM before it, or of the operation before it
    end     its own end
    state   the state after it
    """

    last: float
    normed: float
    end: float
    state: State


class Linear(Supply):
    """A running LINEAR.

    last         the array's last step so far; the next group may follow `pace` cycles on
    begin, size  begin and groups of the present block
    """

    def __init__(
        self, place: Place, entry: Entry, ahead: ReadAhead, bursts: Bursts, known: float
    ) -> None:
        super().__init__(place, entry, ahead, bursts, known)
        self.filling, self.filled = entry.filling, 0.0
        self.last, self.pace = 0.0, entry.pace
        self.begin, self.size = 0.0, 0

    def outcome(self, horizon: float) -> Outcome:
        """Run it, and the LAYERNORM before it, to the end.

        Events before the horizon do not affect the next LINEAR.
        """
        t, g, place = self.t, self.g, self.place
        begin = self.entry.begin
        ample = self._ample(begin)
        if not ample:
            begin = self._begin(begin)
        if self.norm:
            begin = max(begin, self.norm.first + t.NORMED + 2)
        if ample:
            size, first = g.full, max(begin + g.steps - 1, self.last + self.pace)
        else:
            size, first, _ = self._block(begin, 0)
        period, rest = g.span(0, size), g.span(0, size - 1)
        if place.norm and self.entry.before:
            after = After(first, period, g.busy(0, size), g.steps)
            used, last = normalised(t, *place.norm, self.entry.before, after)
            self.end, self.norm = max(used + t.NORMED - 1, self.end + 1), None
            last += rest
        else:
            last = first + (g.tiles - 1) * period + rest
            if place.tilewise:
                # The last tile is read when it is written.
                last = max(last, self.end + (1 if g.tiles > 1 else 2) + g.steps + rest)
        if ample:
            last, size = self._ample_blocks(last)
        else:
            self.release(last, last - g.tiles * period, size, size)
            last, size = self._blocks(last, size, size)
        end = max(last + t.array + t.RESULT + g.drain, self.end + 1)
        before = None
        if g.adds:
            before = Before(end - last, g.span(g.count - size, g.count), *g.last(size))
        leaving = Leaving(
            pace=g.drain,
            hand=max(self.filed, self.entry.filing - t.ROWS + t.HAND) - last,
            end=end - last,
            under_way=self.end - last,
            filled=self.filled - last,
            passed=[(when - last, groups - g.count, n) for when, groups, n in self.passed],
            seen=self.seen,
            begin=self.begin - last,
            size=size,
            before=before,
        )
        state = recent(t, horizon, leaving)
        return Outcome(last, self.end, end, state)

    def _ample(self, begin: float) -> bool:
        """Whether weights and row parameters arrive in time for full blocks throughout."""
        g, full = self.g, self.g.full
        if not g.sustained or self.entry.size + full > self.t.GROUPS:
            return False
        weights = min((begin - self.filling) / self.t.fast, self.ahead.weights)
        if not self.entry.filed or weights < full * g.steps:
            return False
        if g.lasting:
            return True
        rest = g.count - full
        return self._come(g.count, rest) <= begin + g.tiles * g.span(0, rest)

    def _ample_blocks(self, last: float) -> tuple[float, int]:
        """Run all blocks after the first, none of which waits.

        Returns the array's last step and the groups of the last block.
        """
        g = self.g
        t, count, tiles, left, passed = self.t, g.count, g.tiles, g.left, self.passed
        first = begin = last - tiles * g.span(0, g.full)
        if count > left:
            begin = last + tiles * g.middle
            passed.append((begin + t.array, count - left, g.most))
            last = begin + tiles * g.span(count - left, count)
        passed.append((last + t.array, count, left))
        # Filing waits for the places of blocks, before this LINEAR and then in it.
        self.filed = self.filing + g.outputs
        if g.spread:
            self.filed = max(self.filed, first + tiles * g.before_last_rows + g.last_rows)
        elif count > t.GROUPS - self.entry.size:
            free = g.rows(t.GROUPS - self.entry.size)
            self.filed = max(self.filed, first + g.outputs - free)
        self.begin, self.size = begin, left
        self.filled = self.filling + t.fast * g.beats
        self.advance(last, count - left)
        return last, left

    def _full(self, last: float, size: int, done: int) -> tuple[float, int]:
        """Run the blocks after `done` groups, all full but the last; the block before has `size`.

        Returns the array's last step and the groups of the last block.
        """
        g = self.g
        count, tiles, most = g.count, g.tiles, g.most
        left = size
        begin = last - tiles * g.span(done - size, done)
        if done < count:
            left = (count - done) % most or most
            full = count - left
            if full > done:
                begin, last = last, last + tiles * g.span(done, full)
                known = len(self.passed)
                self.release(last, begin, full - done, most)
                when, groups, _ = self.passed[known]
                if groups - self.passed[known - 1][1] > most:
                    # Filing kept up with all blocks that the entry stands for.
                    places = min(count, groups + self.t.GROUPS)
                    self.seen, self.filed_rows, self.filed_until = known, g.rows(places), when
                    self.filed = when
            begin, last = last, last + tiles * g.span(full, count)
            self.release(last, begin, left, left)
        self.begin, self.size = begin, left
        self.advance(last, count - left)
        self.file(last)
        if self.filed_rows < g.outputs:
            self.filed = self.filed_when(count)
        self.filled = self.filling + self.t.fast * count * g.steps
        return last, left

    def _begin(self, begin: float) -> float:
        """Earliest begin of the first block: its first group filed, its first weights there."""
        t, g = self.t, self.g
        self.file(begin - 1)
        if g.whole(self.filed_rows) < 1:
            begin = max(begin, self.filed_when(1) + 1)
        self.advance(begin, 0)
        if self.ahead.weights <= 0:
            begin = max(begin, self.ahead.at(1, self.ahead.rows) + t.ARRIVED)
        return max(begin, self.filling + t.fast)

    def _block(self, begin: float, done: int) -> tuple[int, float, bool]:
        """The block that begins then, after `done` groups.

        Returns its groups, the last step of its first tile's first group, and whether that waits.
        """
        t, g, steps = self.t, self.g, self.g.steps
        self.advance(begin - t.ARRIVED, done)
        self.file(begin - 1)
        filled = (begin - self.filling) / t.fast
        weights = min(filled, self.ahead.weights, done * steps + t.ring)
        there = min(g.whole(self.filed_rows), int(weights) // steps if weights > 0 else 0)
        first = max(begin + steps - 1, self.last + self.pace)
        if there > done:
            return min(there - done, g.most, g.count - done), first, False
        come = self._come(done + 1, None)
        return 1, max(first, come), come > first

    def _come(self, groups: int, passed: float | None) -> float:
        """Cycle by which weights and row parameters of its first `groups` groups are there."""
        g = self.g
        filled = self.filling + groups * g.steps * self.t.fast
        return max(filled, self.arrival(groups, passed), self.filed_when(groups))

    def _blocks(self, last: float, size: int, done: int) -> tuple[float, int]:
        """Run the blocks after `done` groups, as large as supply allows.

        size  groups of the block before them

        Returns the array's last step and the groups of the last block.
        """
        g, tiles = self.g, self.g.tiles
        begin = last - tiles * g.span(0, size)
        if tiles == 1 and done < g.count:
            # One tile: how groups form blocks makes no difference.
            last, done = self._scarce(last, done, g.count)
        while done < g.count:
            self.last, self.pace = last, g.span(done - 1, done)
            size, first, waits = self._block(last + 1, done)
            begin = last
            last = first + tiles * g.span(done, done + size) - g.span(done + size - 1, done + size)
            done += size
            self.release(last, begin, size, size)
            if waits and g.count - done > 5:
                last, done = self._scarce(last, done, g.count - 2)
            elif size == g.most and g.lasting and g.sustained:
                return self._full(last, size, done)
        self.begin, self.size = begin, size
        self.advance(last, g.count - size)
        self.file(last)
        if self.filed_rows < g.outputs:
            self.filed = self.filed_when(g.count)
        come = self.arrival(g.count) - self.t.ARRIVED
        self.filled = max(self.filling + self.t.fast * g.count * g.steps, min(last, come))
        return last, size

    def _scarce(self, last: float, done: int, end: int) -> tuple[float, int]:
        """Run single groups up to `end`, each of which waits for weights or row parameters.

        Returns the array's last step and the groups done.
        """
        t, g, tiles = self.t, self.g, self.g.tiles
        groups = end - done
        others = (tiles - 1) * g.span(end - 1, end)
        issued = last + tiles * g.span(done, end)
        now = max(issued, self._come(end, end - 1) + others)
        each = (now - last) / groups
        if now > issued:
            # Row parameters requested late arrive after these weights.
            late = min(groups, t.queued / each)
            now = max(issued, self._come(end, end - 1 - late) + others)
            each = (now - last) / groups
        filed = g.rows(min(g.count, end - 1 + t.GROUPS))
        rows = min(self.filed_rows + now - self.filed_until, float(filed))
        if rows >= g.outputs:
            free = now - (end - 1 + t.GROUPS - g.count) * each
            self.filed = max(free, self.filed_until + g.outputs - self.filed_rows)
        self.filed_rows, self.filed_until = max(rows, self.filed_rows), now
        self.release(now, last, groups, 1)
        self.seen = len(self.passed) - 2
        return now, end
