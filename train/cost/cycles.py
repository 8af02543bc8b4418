"""Cycles, frame rate and on-chip memory of a subnet on an overlay.

They follow from dimensions alone, by the cycle model (docs/cycle_model.md): no weights, no program.
A search computes thousands of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from quasar_runtime.cycles.predict import DDR, Ddr, operations, operations_cycles
from quasar_runtime.cycles.predict import Block as Work
from quasar_runtime.files import parse_json, read_text
from quasar_runtime.isa.interface import HEAD_DIM, PATCH, PATCH_CHANNELS
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import region_words

from ..spaces.space import BlockConfig, Space, SpaceError, Subnet

PREFERRED_OVERLAY = "b1024"
"""The overlay of models and searches unless another is named."""
MOST_SUBNET = 2**20
"""Bytes of the largest subnet's JSON."""

CostModel = Callable[[Subnet], "Cost"]
"""The cost of a subnet, as a search takes it."""


@dataclass(frozen=True)
class Need:
    """How much of an on-chip resource a subnet needs, and how much the overlay has."""

    what: str
    needed: int
    available: int


@dataclass(frozen=True)
class Cost:
    """Cycles per image, frames per second at the overlay's clock, and on-chip needs."""

    cycles: float
    fps: float
    needs: tuple[Need, ...]

    @property
    def excess(self) -> float:
        """Fraction by which the worst need exceeds what is available; 0 or less when all fits."""
        return max(n.needed / n.available - 1 for n in self.needs)

    def misfit(self) -> str | None:
        """What does not fit, in words; None when all fits."""
        worst = max(self.needs, key=lambda n: n.needed / n.available)
        if worst.needed <= worst.available:
            return None
        return f"needs {worst.needed} {worst.what}, the overlay has {worst.available}"


@dataclass(frozen=True)
class OverlayCost:
    """The cost of a space's subnets on one overlay: a CostModel. ddr: memory timing."""

    overlay: Overlay
    image_size: int
    classes: int
    ddr: Ddr = DDR

    @classmethod
    def of(cls, space: Space, overlay: Overlay) -> OverlayCost:
        """The cost of a space's subnets on an overlay."""
        return cls(overlay, space.image_size, space.classes)

    def __call__(self, subnet: Subnet) -> Cost:
        """Cycles, frame rate and needs of a subnet."""
        work = operations(
            self.overlay, self.image_size, subnet.width, rows_of(subnet), self.classes
        )
        cycles = operations_cycles(work, self.overlay, self.ddr)
        return Cost(cycles.total, cycles.fps, self.needs(subnet))

    def needs(self, subnet: Subnet) -> tuple[Need, Need, Need]:
        """Peak words of activation and residual memory by the compiler's rules, and logits."""
        o, last = self.overlay, len(subnet.blocks) - 1
        tokens = (self.image_size // PATCH) ** 2 + 1
        blocks = enumerate(subnet.blocks)
        act = max(block_words(o, subnet.width, b, tokens, i == last) for i, b in blocks)
        act = max(act, _words(o, tokens, PATCH_CHANNELS))
        residual = _words(o, tokens, subnet.width)
        return (
            Need("words of activation memory", act, o.act_words),
            Need("words of residual memory", residual, o.res_words),
            Need("logits", self.classes, o.logits),
        )


def rows_of(subnet: Subnet) -> list[Work]:
    """A subnet's blocks as the cycle model takes them, with counts of 8-bit rows.

    A third of QKV's 8-bit rows is taken to be Q's. It matters in the last block alone, where Q is
    computed for one token.
    """
    blocks = []
    for block in subnet.blocks:
        rows = block.rows8(subnet.width)
        q8 = rows["qkv"] // 3
        blocks.append(
            Work(
                block.heads,
                block.mlp,
                q8,
                rows["qkv"] - q8,
                rows["proj"],
                rows["fc1"],
                rows["fc2"],
            )
        )
    return blocks


def block_words(overlay: Overlay, width: int, block: BlockConfig, tokens: int, last: bool) -> int:
    """Peak words of activation memory of one block, by the compiler's first fit.

    LayerNorm's result and Q, K, V lie side by side. Attention's result then takes LayerNorm's
    place, or lies behind them when it is wider. LayerNorm's second result and the hidden layer
    follow.
    """
    channels = block.heads * HEAD_DIM
    asked = 1 if last else tokens
    normed = _words(overlay, tokens, width)
    if last:
        qkv = _words(overlay, tokens, 2 * channels) + _words(overlay, 1, channels)
    else:
        qkv = _words(overlay, tokens, 3 * channels)
    mixed = _words(overlay, asked, channels)
    behind = mixed if mixed > normed else 0
    hidden = _words(overlay, asked, width) + _words(overlay, asked, block.mlp)
    return max(normed + qkv + behind, hidden)


def _words(overlay: Overlay, tokens: int, channels: int) -> int:
    return region_words(tokens, -(-channels // overlay.depth), overlay)


def read_subnet(path: Path) -> Subnet:
    """A subnet from JSON: its own, or a search's candidate ({"subnet": ...}).

    SpaceError when the file holds neither.
    """
    text = read_text(path, SpaceError, MOST_SUBNET)
    said = f"{path} is not a subnet's JSON"
    data = parse_json(text, said, "give what a search wrote", SpaceError)
    return Subnet.from_dict(data["subnet"] if isinstance(data, dict) and "subnet" in data else data)
