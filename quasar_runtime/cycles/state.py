"""The pipeline's state between two operations, in cycles since the array's last step.

A search meets few distinct states, so the operations that follow one are memoised by it. To keep
them few, a state leaves out every event that is too old to affect what follows.
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
    """The state between two operations. Times are cycles since the array's last step.

    pace         cycles until the next group's first step may follow
    hand         when the next operation may be issued, if few enough are in flight
    end          end of the last operation
    under_way    end of the operation before it, if later than `hand`
    filled       when the last weights had entered the ring
    passed       when groups were computed, counted from the last one
    seen         entries of `passed` that row-parameter filing has used
    begin, size  begin and groups of the last block
    before       the last LINEAR, if it adds to the residual, as a LAYERNORM after it sees it
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
        """The part of the state that a LAYERNORM does not change."""
        return self.filled, self.passed, self.seen, self.begin, self.size, self.before


state_of = lru_cache(maxsize=65536)(State)
"""Interned states: equal values give the same object, which caches compare by identity."""


class Leaving(NamedTuple):
    """The state after a LINEAR, with `passed` in full length."""

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
    """The state after a LINEAR, without events that are too old to affect the next operation.

    Row parameters that are taken after the horizon, into places freed before it, are all taken
    before further places are freed or the next LINEAR begins; weights fill the ring by then. The
    state therefore records them as taken at the horizon.
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
        # Older than the horizon: the exact time has no effect.
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
    """The horizon: events before it affect none of these LINEARs. Negative cycles.

    Rounded to multiples of 512, so that the subnets of a space share it.
    """
    slack = 4 * t.TABLE  # tables, and from one hand-over to the next
    taken = max([p.taken for p in places], default=0) + slack
    asked = t.asked + max([p.rows for p in places], default=0) + slack
    longest = max(taken / (1 - LATER), asked, taken - t.filling)
    return -512.0 * math.ceil(longest / 512)
