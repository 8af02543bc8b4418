"""Candidates of a search, and which of them no other beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quasar_runtime.errors import QuasarError

from ..spaces.space import Subnet

Design = tuple[Subnet, str]
"""A subnet on an overlay, by its name."""


class SearchError(QuasarError):
    """A search that cannot reach what is asked, or whose storage does not go with it."""


@dataclass(frozen=True)
class Candidate:
    """A subnet on an overlay, as the two predictors rate it.

    loss: 0 is best; fps: frames per second at the overlay's clock; cycles: per image.
    """

    subnet: Subnet
    overlay: str
    loss: float
    fps: float
    cycles: float

    def to_dict(self) -> dict[str, Any]:
        """As front.json and a trial's attributes hold it."""
        return {
            "overlay": self.overlay,
            "loss": self.loss,
            "fps": self.fps,
            "cycles": self.cycles,
            "share8": self.subnet.share8(),
            "subnet": self.subnet.to_dict(),
        }


def pareto(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that no other beats in loss and frame rate, fastest first; one of equals."""
    front: list[Candidate] = []
    for c in sorted(candidates, key=lambda c: (-c.fps, c.loss)):
        if not front or c.loss < front[-1].loss:
            front.append(c)
    return front


def choose(front: Sequence[Candidate], fps: float) -> Candidate:
    """The one of least loss that reaches a frame rate. SearchError when none does."""
    fast = [c for c in front if c.fps >= fps]
    if not fast:
        best = max((c.fps for c in front), default=0.0)
        raise SearchError(
            f"no subnet found reaches {fps:g} FPS, the fastest {best:.1f}; search longer, or ask "
            "for less"
        )
    return min(fast, key=lambda c: c.loss)
