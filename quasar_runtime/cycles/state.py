"""What operations leave to the next one, in cycles since the array's last step.

In a search many subnets come to the same states, so that what follows from one needs to be computed
once. They are the same only if all that ceased to matter is left out of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from quasar_runtime.cycles.norm import Before
from quasar_runtime.cycles.supply import Passed, Place
from quasar_runtime.cycles.units import Timing

LATER = 0.4
"""Fraction of the horizon after which earlier events are assumed finished."""


class State:
    """What operations leave to the next one. Times are cycles since the array's last step.

    pace        after that step there may be the next group's so much later
    hand        when the next operation may be handed over, if few enough are under way
    end, under_way  end of the last operation, and of the one before it if that is after `hand`
    filled      when the last weights had passed into the ring
    passed, seen  when groups were computed, counted from the last one; of how many of the entries
                filing knows
    begin, size  of the last block
    before      the last LINEAR as a LAYERNORM after it sees it, if it adds to the residual
    """

    __slots__ = (
        "before",
        "begin",
        "end",
        "filled",
        "hand",
        "pace",
        "passed",
        "seen",
        "size",
        "under_way",
    )

    def __init__(
        self,
        pace: float,
        hand: float,
        end: float,
        under_way: float,
        filled: float,
        passed: tuple[Passed, ...],
        seen: int,
        begin: float,
        size: int,
        before: Before | None,
    ) -> None:
        self.pace, self.hand, self.end, self.under_way = pace, hand, end, under_way
        self.filled, self.passed, self.seen = filled, passed, seen
        self.begin, self.size, self.before = begin, size, before

    def rest(self) -> tuple[float, tuple[Passed, ...], int, float, int, Before | None]:
        """What a LAYERNORM leaves as it is."""
        return self.filled, self.passed, self.seen, self.begin, self.size, self.before


state_of = lru_cache(maxsize=65536)(State)
"""The same state for the same values: it is compared by identity."""


class Leaving(NamedTuple):
    """What a LINEAR leaves, as `State` has it; `passed` is not shortened yet."""

    pace: float
    hand: float
    end: float
    under_way: float
    filled: float
    passed: list[Passed]
    seen: int
    begin: float
    size: int
    before: Before | None


def recent(t: Timing, horizon: float, leaving: Leaving) -> State:
    """The state after a LINEAR, without what is too old to matter to the next operation.

    Row parameters taken after the horizon, in places freed by then, have all been taken before
    more places are freed or the next LINEAR begins, and weights fill the ring. So the state treats
    them as taken at the horizon.
    """
    hand, filled, passed = leaving.hand, max(leaving.filled, leaving.hand), leaving.passed
    k = len(passed) - 1
    while k and passed[k][0] > horizon:
        k -= 1
    if passed[k][0] <= horizon and (k + 1 == len(passed) or passed[k + 1][0] >= LATER * horizon):
        hand = max(hand, horizon)
        filled = max(filled, t.filling)
    else:
        while k and passed[k][0] > hand:
            k -= 1
    (when, groups, _), late = passed[k], passed[k + 1 :]
    if not late or late[0][1] - groups <= late[0][2]:
        # It does not matter when, if it was that long ago.
        past = min(horizon, hand)
        when = past if when <= past else when
    return state_of(
        leaving.pace,
        hand,
        leaving.end,
        max(leaving.under_way, hand),
        filled,
        ((when, groups, 1), *late),
        leaving.seen - k if leaving.seen > k else 0,
        max(leaving.begin, -2.0 * t.BLOCK * t.overlay.rows),
        leaving.size,
        leaving.before,
    )


def horizon_of(t: Timing, places: Sequence[Place]) -> float:
    """How long ago has ceased to matter to any of these LINEARs; in steps, so that subnets of a
    space have the same.
    """
    slack = 4 * t.TABLE  # tables, and from one hand-over to the next
    taken = max([p.taken for p in places], default=0) + slack
    asked = t.asked + max([p.rows for p in places], default=0) + slack
    longest = max(taken / (1 - LATER), asked, taken - t.filling)
    return -512.0 * math.ceil(longest / 512)
