"""LINEAR and LAYERNORM, which overlap: hw_src/rtl/linear_unit.sv, overlap.sv, row_parameters.sv.

A LINEAR is taken block by block. A block is as large as half of the weights' ring allows and as
weights and row parameters are there when it begins, at least one group, which then waits for its
own; its pass over the tokens takes its groups' paces times the tiles. With enough tokens weights
and row parameters come faster than they are used up, and all blocks are full: then only the first
and the last one matter. With few, blocks are single groups, as fast as memory or filing allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from quasar_runtime.cycles_groups import Groups, groups
from quasar_runtime.cycles_memory import Bursts, ReadAhead
from quasar_runtime.cycles_norm import After, Before, Norm
from quasar_runtime.cycles_units import Operation, Timing, parameter_beats
from quasar_runtime.interface import Epilogue, Opcode


def overlaps(work: Sequence[Operation], i: int) -> bool:
    """Whether an operation begins while the one before it runs: overlap.sv, for the compiler's
    regions."""
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


class Chain:
    """The operations that the array and the lanes take one after the other, and what they leave to
    the next one.

    handed    when each was handed over to its unit
    end       when each one's last result was written
    last      the array's last step; `pace` cycles later there may be the next group's
    filed     when the last row parameter was taken
    filled    when the last weights had passed into the ring
    passed    groups of all LINEARs whose last tile has left the array, as (when, groups, size):
              evenly in blocks of that size since the entry before; `seen` of them by filing
    filing    when the present LINEAR's row parameters are taken, or `filed_rows` of them until
              `filed_until`; `filling` is when its weights begin to pass into the ring
    total     groups of the LINEARs before it
    before    the last LINEAR as the LAYERNORM after it sees it, and the LAYERNORM under way
    """

    def __init__(self, work: Sequence[Operation], t: Timing) -> None:
        self.work, self.t = work, t
        self.overlaps = [overlaps(work, i) for i in range(len(work))]
        self.groups = [groups(t, w) if w.opcode == Opcode.LINEAR else None for w in work]
        self.rows = list(accumulate([parameter_beats(w) for w in work], initial=0))
        self.weights = list(accumulate([g.beats if g else 0 for g in self.groups], initial=0))
        self.handed, self.end = [0.0] * len(work), [0.0] * len(work)
        # Of the operations queued while each is under way: their parameters are read ahead.
        self.rows_known = self.rows[t.QUEUE + 1 :] + self.rows[-1:] * t.QUEUE
        self.weights_known = self.weights[t.QUEUE + 1 :] + self.weights[-1:] * t.QUEUE
        self.followers = [self._follower(i) for i in range(len(work))]
        self.ahead = ReadAhead(t)
        self.bursts = Bursts(t, work)
        self.last = self.pace = self.filed = self.filled = 0.0
        self.passed: list[tuple[float, int, int]] = [(0.0, 0, 1)]
        self.total = self.seen = 0
        self.filing = self.filling = self.filed_rows = self.filed_until = 0.0
        self.before_begin, self.before_size = 0.0, 0
        self.before: Before | None = None
        self.norm: Norm | None = None

    # ---- What is read ahead

    def _follower(self, i: int) -> tuple[Groups | None, int, int]:
        """(groups of the LINEAR that may be handed over while operation i runs; the last operation
        whose weights may then pass; row parameters of the LAYERNORM between)."""
        j, gains = i + 1, 0
        work, over = self.work, self.overlaps
        if j < len(work) and over[j] and work[j].opcode == Opcode.LAYERNORM:
            gains = parameter_beats(work[j])
            j += 1
        if j < len(work) and over[j] and work[j].opcode == Opcode.LINEAR:
            return self.groups[j], j, gains
        return None, i, gains

    def asked(self, i: int, g: Groups, passed: int) -> tuple[int, int]:
        """Row parameters that are taken when so many groups of LINEAR i have been computed: (its
        own that places allow, and with all of them the next LAYERNORM's; the next LINEAR's)."""
        places = passed + self.t.GROUPS
        if places < g.count:
            return g.rows(places) if places > 0 else 0, 0
        following, _, gains = self.followers[i]
        if not following:
            return g.outputs + gains, 0
        left = places - g.count
        return g.outputs + gains, following.rows(
            left if left < following.count else following.count
        )

    def advance(self, i: int, g: Groups, now: float, passed: int) -> None:
        """Read ahead until `now`, when `passed` groups of LINEAR i have been computed."""
        t, bursts, most = self.t, self.bursts, self.rows_known[i]
        # A request waits for what is under way on its port.
        late = now - t.queued
        taken = self._taken(i, g, late)
        rows = bursts.asked(taken, most)
        if bursts.ends and rows > self.ahead.rows:
            # Of the last burst only as much as has come since.
            earlier = bursts.asked(self._taken(i, g, late - t.BURST), most)
            rows = min(rows, max(earlier, taken + t.ROW_BEATS - t.BURST))
        room: float = self.weights[i] + passed * g.steps + t.ring
        last = self.weights[self.followers[i][1] + 1]
        room = (last if last < room else room) + t.weight_beats
        if room > self.weights_known[i]:
            room = self.weights_known[i]
        self.ahead.advance(now, rows, room)

    def _taken(self, i: int, g: Groups, now: float) -> float:
        """Row parameters taken until `now`, while LINEAR i is under way."""
        rows = float(self.rows[i])
        if now <= self.filing:
            return rows
        passed = self.passed
        k = len(passed) - 1
        while k and passed[k][0] > now:
            k -= 1
        own, more = self.asked(i, g, self.released(now) - self.total)
        since = now - passed[k][0]
        if k and since < own + more:
            # The places that came last are filled since then.
            before, more_before = self.asked(i, g, passed[k][1] - passed[k][2] - self.total)
            own = min(own, int(before + since))
            more = min(more, int(more_before + since))
        rows += min(own, now - self.filing)
        if more:
            rows += max(0.0, min(more, now - self.next_filing(i, g)))
        return rows

    def arrival(self, i: int, g: Groups, groups: int, passed: float | None = None) -> float:
        """When the weights of LINEAR i's first so many groups have come, if `passed` of them have
        been computed when the last of the row parameters before them are asked for."""
        t, ahead = self.t, self.ahead
        weights = self.weights[i] + groups * g.steps
        if weights <= ahead.weights:
            return 0.0
        if passed is not None:
            return self._behind(i, g, weights, int(passed)) + t.ARRIVED
        when = ahead.now + (weights - ahead.weights) * t.part
        seen = -1
        while True:
            # What is computed meanwhile makes room for more row parameters.
            computed = self.released(when - t.queued) - self.total
            if computed <= seen:
                return when + t.ARRIVED
            seen = computed
            when = self._behind(i, g, weights, computed)

    def _behind(self, i: int, g: Groups, weights: int, passed: int) -> float:
        """When so many weights have come, behind the row parameters asked for before them."""
        t, ahead, bursts = self.t, self.ahead, self.bursts
        most, rows = self.rows_known[i], self.rows[i]
        own, more = self.asked(i, g, passed)
        when = ahead.at(weights, ahead.rows)
        if when > self.filing + bursts.until(rows) + t.queued:
            when = ahead.at(weights, bursts.asked(rows + own, most))
        if more and when > self.next_filing(i, g) + bursts.until(rows + own) + t.queued:
            when = ahead.at(weights, bursts.asked(rows + own + more, most))
        return when

    def next_filing(self, i: int, g: Groups) -> float:
        """When the row parameters of the LINEAR after LINEAR i are taken at the earliest."""
        t = self.t
        if self.norm:
            return self.norm.last  # it is handed over when that is over
        _, j, gains = self.followers[i]
        taken = self.filing + g.outputs + (gains * t.gain + t.ROWS if gains else 0)
        if i and self.end[i - 1] > taken:
            taken = self.end[i - 1]
        return taken + t.ROWS + (t.TABLE if self.work[j].mode == Epilogue.TABLE else 0)

    def released(self, now: float) -> int:
        """Groups computed by then, of all LINEARs."""
        passed = self.passed
        for k in range(len(passed) - 1, 0, -1):
            when, groups, size = passed[k]
            if when <= now:
                return groups
            earlier, start, _ = passed[k - 1]
            if earlier <= now:
                blocks = -(-(groups - start) // size)
                return start + int((now - earlier) / (when - earlier) * blocks) * size
        return 0

    def release(self, when: float, begin: float, groups: int, size: int) -> None:
        """So many more groups have been computed evenly, in blocks of that size, since `begin`."""
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

    # ---- Filing: row parameters are taken, a row a cycle, while there are places for their groups

    def file(self, g: Groups, now: float) -> None:
        """Take the present LINEAR's row parameters until `now`."""
        passed, seen = self.passed, self.seen
        while seen + 1 < len(passed) and passed[seen + 1][0] <= now:
            if passed[seen + 1][0] > self.filed_until and self.filed_rows < g.outputs:
                self._file(g, passed[seen][1], passed[seen + 1][0])
            seen += 1
        self.seen = seen
        if now > self.filed_until and self.filed_rows < g.outputs:
            self._file(g, passed[seen][1], now)

    def _file(self, g: Groups, passed: int, now: float) -> None:
        rows = self.filed_rows + now - self.filed_until
        places = passed + self.t.GROUPS - self.total
        if places < g.count:
            most = g.rows(places) if places > 0 else 0
            if rows > most:
                rows = most if most > self.filed_rows else self.filed_rows
        elif rows >= g.outputs:
            rows = float(g.outputs)
            self.filed = self.filed_until + rows - self.filed_rows
        self.filed_rows, self.filed_until = rows, now

    def filed_when(self, g: Groups, groups: int) -> float:
        """When the first so many groups' row parameters are there, if places are free."""
        return self.filed_until + g.rows(groups) - self.filed_rows

    # ---- Operations

    def loaded(self, end: float, rows: float, beats: float) -> None:
        """The image is there: row parameters and beats of weights on a port that came beside it."""
        ahead, t = self.ahead, self.t
        ahead.now, ahead.rows = end, rows
        ahead.weights = min(float(t.weight_beats), max(0.0, beats) / t.part)
        ahead.full = ahead.weights == t.weight_beats

    def attention(self, i: int, cycles: float) -> None:
        """An ATTENTION, which has the array alone."""
        t = self.t
        self.end[i] = self.handed[i] + cycles
        self.last = self.end[i] - t.RESULT - t.slots - t.array
        self.pace = float(t.slots)
        self.filed = self.filled = self.handed[i] + t.HAND
        following, j, _ = self.followers[i]
        taken = float(self.rows[i + 1])
        late = self.last - t.queued - self.filed - t.ROWS
        if following and late > 0:
            taken += min(following.rows(min(t.GROUPS, following.count)), late)
        passed = min(self.weights[i] + t.ring_free, self.weights[j + 1])
        room = min(passed + t.weight_beats, self.weights_known[i])
        rows = self.bursts.asked(taken, self.rows_known[i])
        self.ahead.advance(self.last, rows, float(room))

    def layernorm(self, i: int) -> None:
        """A LAYERNORM beside the LINEAR before it. Where it ends is known once the one after it has
        begun."""
        t, w = self.t, self.work[i]
        under_way = self.end[i - 3] if i > 2 else 0.0
        self.handed[i] = max(self.handed[i - 1] + t.HAND, self.filed, under_way)
        self.filed = self.handed[i] + t.ROWS + parameter_beats(w) * t.gain
        if not self.overlaps[i] or self.before is None:
            alone = Before(self.handed[i], 0.0, (1.0,), (0.0,))
            self._normalised(i, Norm(t, w.tokens, w.inputs, alone).finish(None)[0])
            return
        self.norm = Norm(t, w.tokens, w.inputs, self.before)
        if i + 1 == len(self.work) or not self.overlaps[i + 1]:
            self._normalised(i, self.norm.finish(None)[0])

    def _normalised(self, i: int, used: float) -> None:
        self.end[i] = max(used + self.t.NORMED - 1, self.end[i - 1] + 1)
        self.norm = None

    def linear(self, i: int) -> None:
        """A LINEAR, and where the LAYERNORM before it ends."""
        t, w, g = self.t, self.work[i], self.groups[i]
        assert g is not None
        begin = self._hand_over(i)
        ample = self._ample(i, g, begin)
        if not ample:
            begin = self._begin(i, g, begin)
        if self.norm:
            begin = max(begin, self.norm.first + t.NORMED + 2)
        if ample:
            size, first = g.full, max(begin + g.steps - 1, self.last + self.pace)
        else:
            size, first, _ = self._block(i, g, begin, 0)
        period, rest = g.span(0, size), g.span(0, size - 1)
        if self.norm:
            after = After(first, period, g.busy(0, size), g.steps)
            used, last = self.norm.finish(after)
            self._normalised(i - 1, used)
            last += rest
        else:
            last = first + (g.tiles - 1) * period + rest
            if self.overlaps[i] and w.tokens == self.work[i - 1].tokens:
                # The last tile is read when it is written.
                last = max(last, self.end[i - 1] + (1 if g.tiles > 1 else 2) + g.steps + rest)
        if ample:
            last, size = self._ample_blocks(i, g, last)
        else:
            self.release(last, last - g.tiles * period, size, size)
            last, size = self._blocks(i, g, last, size, size)
        self.last, self.pace = last, g.drain
        self.total += g.count
        end = last + t.array + t.RESULT + g.drain
        self.end[i] = max(end, self.end[i - 1] + 1) if i else end
        self.before = Before(end, g.span(g.count - size, g.count), *g.last(size))

    def _hand_over(self, i: int) -> float:
        """When LINEAR i is handed over, filing and filling begin; returns when it may begin."""
        t, w = self.t, self.work[i]
        before = self.filed = self.filed if self.overlaps[i] else 0.0
        begin, filling = self.last + t.BEHIND, self.filled
        if self.overlaps[i]:
            k = i - 3 if self.norm else i - 2  # at most three are under way, or two
            under_way = self.end[k] if k >= 0 else 0.0
            self.handed[i] = max(self.handed[i - 1] + t.HAND, before, under_way)
        else:
            begin = filling = 0.0
        handed = self.handed[i]
        begin = max(begin, handed + t.STEP)
        self.filling = max(filling, handed + 2)
        if not t.ring_free and i and self.work[i - 1].opcode == Opcode.ATTENTION:
            self.filling = max(self.filling, begin)
        table = t.TABLE if w.mode == Epilogue.TABLE else 0
        self.filing = max(before, handed + t.ROWS) + table
        self.filed_rows, self.filed_until = 0.0, self.filing
        return begin

    def _ample(self, i: int, g: Groups, begin: float) -> bool:
        """Whether weights and row parameters are there for full blocks throughout."""
        full = g.full
        if not g.sustained or self.before_size + full > self.t.GROUPS:
            return False
        filing = self.filing if self.filing > self.before_begin else self.before_begin
        if begin - filing <= g.full_rows or begin - self.filling < full * g.steps * self.t.fast:
            return False
        if self.ahead.weights - self.weights[i] < full * g.steps:
            return False
        if g.lasting:
            return True
        rest = g.count - full
        return self._come(i, g, g.count, rest) <= begin + g.tiles * g.span(0, rest)

    def _ample_blocks(self, i: int, g: Groups, last: float) -> tuple[float, int]:
        """Full blocks behind the first one of which nothing waits: (last step, groups of the last
        block)."""
        t, count, tiles, left, passed = self.t, g.count, g.tiles, g.left, self.passed
        first = begin = last - tiles * g.span(0, g.full)
        total = self.total + count
        if count > left:
            begin = last + tiles * g.middle
            passed.append((begin + t.array, total - left, g.most))
            last = begin + tiles * g.span(count - left, count)
        passed.append((last + t.array, total, left))
        # Filing waits for the places of blocks, before this LINEAR and then in it.
        self.filed = self.filing + g.outputs
        if g.spread:
            self.filed = max(self.filed, first + tiles * g.before_last_rows + g.last_rows)
        elif count > t.GROUPS - self.before_size:
            free = g.rows(t.GROUPS - self.before_size)
            self.filed = max(self.filed, first + g.outputs - free)
        self.before_begin, self.before_size = begin, left
        self.filled = self.filling + t.fast * g.beats
        self.advance(i, g, last, count - left)
        return last, left

    def _full(self, i: int, g: Groups, last: float, size: int, done: int) -> tuple[float, int]:
        """All blocks behind `done` groups, of which the last block had `size`, each full but the
        last one: (last step, groups of the last block)."""
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
                    places = min(count, groups + self.t.GROUPS - self.total)
                    self.seen, self.filed_rows, self.filed_until = known, g.rows(places), when
                    self.filed = when
            begin, last = last, last + tiles * g.span(full, count)
            self.release(last, begin, left, left)
        self.before_begin, self.before_size = begin, left
        self.advance(i, g, last, count - left)
        self.file(g, last)
        if self.filed_rows < g.outputs:
            self.filed = self.filed_when(g, count)
        self.filled = self.filling + self.t.fast * count * g.steps
        return last, left

    def _begin(self, i: int, g: Groups, begin: float) -> float:
        """When the first block may begin: its first group's row parameters and its first weights
        are there."""
        t = self.t
        self.file(g, begin - 1)
        if g.whole(self.filed_rows) < 1:
            begin = max(begin, self.filed_when(g, 1) + 1)
        self.advance(i, g, begin, 0)
        if self.ahead.weights <= self.weights[i]:
            begin = max(begin, self.ahead.at(self.weights[i] + 1, 0) + t.ARRIVED)
        return max(begin, self.filling + t.fast)

    def _block(self, i: int, g: Groups, begin: float, done: int) -> tuple[int, float, bool]:
        """(groups, last step of the first tile's first group, whether it is waited for) of the
        block that begins then, behind `done` groups."""
        t, steps = self.t, g.steps
        self.advance(i, g, begin - t.ARRIVED, done)
        self.file(g, begin - 1)
        weights = min(
            (begin - self.filling) / t.fast,
            self.ahead.weights - self.weights[i],
            done * steps + t.ring,
        )
        there = min(g.whole(self.filed_rows), int(weights) // steps if weights > 0 else 0)
        first = max(begin + steps - 1, self.last + self.pace)
        if there > done:
            return min(there - done, g.most, g.count - done), first, False
        come = self._come(i, g, done + 1, None)
        return 1, max(first, come), come > first

    def _come(self, i: int, g: Groups, groups: int, passed: float | None) -> float:
        """When weights and row parameters of LINEAR i's first so many groups are there."""
        filled = self.filling + groups * g.steps * self.t.fast
        return max(filled, self.arrival(i, g, groups, passed), self.filed_when(g, groups))

    def _blocks(self, i: int, g: Groups, last: float, size: int, done: int) -> tuple[float, int]:
        """All blocks behind `done` groups, of which the last block had `size`, as what is there
        allows: (last step, groups of the last block)."""
        tiles = g.tiles
        begin = last - tiles * g.span(0, size)
        if tiles == 1 and done < g.count:
            # In whatever blocks: nothing waits for a tile but the last one.
            last, done = self._scarce(i, g, last, done, g.count)
        while done < g.count:
            self.last, self.pace = last, g.span(done - 1, done)
            size, first, waits = self._block(i, g, last + 1, done)
            begin = last
            last = first + tiles * g.span(done, done + size) - g.span(done + size - 1, done + size)
            done += size
            self.release(last, begin, size, size)
            if waits and g.count - done > 5:
                last, done = self._scarce(i, g, last, done, g.count - 2)
            elif size == g.most and g.lasting and g.sustained:
                return self._full(i, g, last, size, done)
        self.before_begin, self.before_size = begin, size
        self.advance(i, g, last, g.count - size)
        self.file(g, last)
        if self.filed_rows < g.outputs:
            self.filed = self.filed_when(g, g.count)
        come = self.arrival(i, g, g.count) - self.t.ARRIVED
        self.filled = max(self.filling + self.t.fast * g.count * g.steps, min(last, come))
        return last, size

    def _scarce(self, i: int, g: Groups, last: float, done: int, end: int) -> tuple[float, int]:
        """Single groups up to `end` that each wait for weights or row parameters: (last step,
        groups done)."""
        t, tiles = self.t, g.tiles
        groups = end - done
        others = (tiles - 1) * g.span(end - 1, end)
        issued = last + tiles * g.span(done, end)
        now = max(issued, self._come(i, g, end, end - 1) + others)
        each = (now - last) / groups
        if now > issued:
            # What is asked for late comes after these weights.
            late = min(groups, t.queued / each)
            now = max(issued, self._come(i, g, end, end - 1 - late) + others)
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
