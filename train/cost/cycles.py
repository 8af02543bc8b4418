"""What a subnet costs on an overlay: cycles, frames a second, and whether it fits on the chip.

    python -m train.cost.cycles subnet.json [--overlay b1024] [--space vit_tiny]

From dimensions alone, by the cycle model (docs/cycle_model.md): no weights, no program. A search
asks this thousands of times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from quasar_runtime.cycles.predict import DDR, Ddr, operations, operations_cycles
from quasar_runtime.cycles.predict import Block as Work
from quasar_runtime.files import parse_json, read_text
from quasar_runtime.isa.interface import HEAD_DIM, PATCH, PATCH_CHANNELS
from quasar_runtime.isa.overlay import Overlay, load_overlay
from quasar_runtime.isa.program import region_words

from .. import command as cli
from ..spaces.space import Block, Space, SpaceError, Subnet

MOST_SUBNET = 2**20
"""Bytes of the largest subnet's JSON."""

CostModel = Callable[[Subnet], "Cost"]
"""What a search asks for the cost of a subnet."""


@dataclass(frozen=True)
class Need:
    """How much of something on the chip a subnet takes, and how much the overlay has."""

    what: str
    needed: int
    available: int


@dataclass(frozen=True)
class Cost:
    """cycles of an image, fps at the overlay's clock; needs: what must fit on the chip."""

    cycles: float
    fps: float
    needs: tuple[Need, ...]

    @property
    def excess(self) -> float:
        """By which share the worst need exceeds what there is; 0 or less when all fits."""
        return max(n.needed / n.available - 1 for n in self.needs)

    def misfit(self) -> str | None:
        """What does not fit, in words; None when all does."""
        worst = max(self.needs, key=lambda n: n.needed / n.available)
        if worst.needed <= worst.available:
            return None
        return f"needs {worst.needed} {worst.what}, the overlay has {worst.available}"


@dataclass(frozen=True)
class OverlayCost:
    """The cost of subnets of a space on one overlay with one memory; a CostModel."""

    overlay: Overlay
    image_size: int
    classes: int
    ddr: Ddr = DDR

    @classmethod
    def of(cls, space: Space, overlay: Overlay) -> OverlayCost:
        return cls(overlay, space.image_size, space.classes)

    def __call__(self, subnet: Subnet) -> Cost:
        work = operations(
            self.overlay, self.image_size, subnet.width, rows_of(subnet), self.classes
        )
        cycles = operations_cycles(work, self.overlay, self.ddr)
        return Cost(cycles.total, cycles.fps, self.needs(subnet))

    def needs(self, subnet: Subnet) -> tuple[Need, Need, Need]:
        """What must fit: the compiler's regions at their fullest, and the logits."""
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
    """A subnet's blocks as the cycle model takes them: counts of 8-bit rows in place of shares.

    Of QKV's 8-bit rows a third is taken to be Q's. It matters in the last block alone, where Q is
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


def block_words(overlay: Overlay, width: int, block: Block, tokens: int, last: bool) -> int:
    """Words of activation memory that the compiler's first fit takes up to, for one block.

    First LayerNorm's result and Q, K, V lie side by side; attention's result then goes to
    LayerNorm's place, or behind them when it is wider. Then LayerNorm's and the hidden layer.
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
    """A subnet from JSON: its own, or one that a search has chosen ({"subnet": ...}).

    SpaceError when it is neither.
    """
    text = read_text(path, SpaceError, MOST_SUBNET)
    said = f"{path} is not a subnet's JSON"
    data = parse_json(text, said, "give what a search wrote", SpaceError)
    return Subnet.from_dict(data["subnet"] if isinstance(data, dict) and "subnet" in data else data)


@click.command(cls=cli.Command, help=__doc__)
@click.argument("path", type=Path)
@click.option("--overlay", "names", multiple=True, default=("b1024", "b8192"), show_default=True)
@click.option("--space", "space_name", default="vit_tiny", help="Gives image size and classes.")
def main(path: Path, names: tuple[str, ...], space_name: str) -> None:
    subnet, space = read_subnet(path), Space.load(space_name)
    overlays = [load_overlay(name) for name in names]
    click.echo(f"{subnet.width} wide, {subnet.depth} deep, {100 * subnet.share8():.0f} % in 8 bits")
    for overlay in overlays:
        cost = OverlayCost.of(space, overlay)(subnet)
        click.echo(
            f"{overlay.name}: {cost.cycles:,.0f} cycles, {cost.fps:.1f} FPS; "
            f"{cost.misfit() or 'fits'}"
        )


if __name__ == "__main__":
    main()
