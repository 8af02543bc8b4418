"""Regions of the activation memory, and who has which while a program is laid out."""

from __future__ import annotations

from dataclasses import dataclass, field

from quasar_runtime.errors import CompileError
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import region_words


@dataclass(frozen=True)
class Region:
    """An ACT region: tokens x channels at word `base`, `pitch` words per token row."""

    base: int
    pitch: int
    tokens: int
    channels: int


@dataclass
class OnChip:
    """First-fit allocator of the activation memory, in words.

    apart: the region freed last is avoided where there is room. The accelerator may still be
    reading it when the next operation writes; only regions that are apart let the two overlap.
    """

    overlay: Overlay
    apart: bool = False
    used: dict[int, int] = field(default_factory=dict)  # base -> end, disjoint
    freed: dict[int, int] = field(default_factory=dict)  # the region freed last
    high_water: int = 0

    def _first_fit(self, words: int, taken: dict[int, int]) -> int:
        base = 0
        for start, end in sorted(taken.items()):
            if base + words <= start:
                break
            base = max(base, end)
        return base

    def allocate(self, name: str, tokens: int, channels: int) -> Region:
        """A region for tokens x channels, or CompileError saying what would be needed."""
        pitch = -(-channels // self.overlay.depth)
        words = region_words(tokens, pitch, self.overlay)
        base = self._first_fit(words, self.used | self.freed if self.apart else self.used)
        if base + words > self.overlay.act_words:
            base = self._first_fit(words, self.used)
        if base + words > self.overlay.act_words:
            raise CompileError(
                f"{name} ({tokens} tokens x {channels} channels) needs the activation memory up to "
                f"word {base + words}, overlay '{self.overlay.name}' has {self.overlay.act_words}"
            )
        self.used[base] = base + words
        self.high_water = max(self.high_water, base + words)
        return Region(base, pitch, tokens, channels)

    def free(self, region: Region) -> None:
        """Give a region's words back."""
        self.freed = {region.base: self.used.pop(region.base)}
