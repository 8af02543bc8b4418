"""What it is worth to say row by row which weights have 8 bits.

    python -m train.ablate rows --checkpoint CHECKPOINT --images IMAGES [--evaluate SAMPLE]
    python -m train.ablate predicted EFFECTS

`rows` compares, at equal cycles on an overlay and with the same quantisation otherwise, three ways:
row by row in the order of their effects, whole matrices, and as many random rows. `predicted` does
so by the row effects alone, in seconds. What parts of the training are worth: ablate_training.py.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from torch import Tensor

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.cycles.predict import program_cycles
from quasar_runtime.errors import DataError
from quasar_runtime.files import replacing
from quasar_runtime.isa.interface import HEAD_DIM
from quasar_runtime.isa.overlay import Overlay, load_overlay
from quasar_runtime.model.network import Model

from . import command as cli
from .cost.cycles import OverlayCost
from .data.pictures import LABELS_FILE, Source, labels_for
from .export import CLIP_IMAGES, ROW_GROUP, TAME_IMAGES, Recipe, set_up, split_pictures
from .networks.checkpoint import Checkpoint, load_checkpoint
from .networks.folded import fold
from .predictor import EffectLoss
from .quantise.calibrate import build, observe, search_hidden_ranges
from .quantise.checks import check_evaluation, check_model
from .quantise.emit import emit
from .quantise.massive import tame
from .quantise.rounding import round_network
from .quantise.rows import choose_rows, row_costs, row_effects
from .report.evaluate import nearness, program_accuracy
from .search import SearchError
from .spaces.space import MATRICES, Block, Subnet
from .training.initial import BALANCE

IMAGE_SIZE, CLASSES = 224, 1000
"""Of the networks whose row effects are compared."""
CYCLE_UNIT = 256
"""Cycles are counted in these when whole matrices are packed into a budget."""

Bits = dict[str, Tensor]
"""By matrix, (rows,) of 8 or 4."""


@dataclass(frozen=True)
class Outcome:
    """One way of assigning bits: cycles and fps of its program, divergence from and agreement with
    the float network on held-out pictures, top-1 where a sample was given."""

    way: str
    cycles: float
    fps: float
    divergence: float
    agreement: float
    top1: float | None


class Quantiser:
    """A checkpoint calibrated once; `model` quantises it for any assignment of bits."""

    def __init__(
        self, checkpoint: Checkpoint, source: Source, labels: list[tuple[str, str]]
    ) -> None:
        self.checkpoint, self.labels, recipe = checkpoint, labels, Recipe(BALANCE)
        preprocessing = checkpoint.preprocessing
        found = split_pictures(source, preprocessing, recipe)
        self.calibration, self.held_out = found.calibration.images, found.held_out.images
        few = self.calibration[:TAME_IMAGES]
        self.teacher, self.folded = fold(checkpoint), fold(checkpoint)
        tame(self.folded, observe(self.folded, few, recipe.seed), few)
        found = observe(self.folded, self.calibration, recipe.seed)
        self.network = build(self.folded, found, BALANCE)
        search_hidden_ranges(self.network, self.folded, found, self.calibration[:CLIP_IMAGES])
        self.effects = row_effects(self.network, self.folded, found)
        self.costs = row_costs(self.folded)

    def outcome(self, way: str, bits: Bits, overlay: Overlay, sample: Path | None) -> Outcome:
        """Quantise with `bits` and measure."""
        network = copy.deepcopy(self.network)
        round_network(network, self.folded, bits, self.calibration)
        near = nearness(network, self.teacher, self.held_out)
        model: Model = emit(network, "ablation", self.checkpoint.preprocessing, self.labels)
        cycles = program_cycles(compile_model(model, overlay))
        top1 = program_accuracy(model, sample).top1 if sample else None
        return Outcome(way, cycles.total, cycles.fps, near.divergence, near.agreement, top1)


def subnet_of(bits: Bits) -> Subnet:
    """The subnet that has as many 8-bit rows, for its cost."""
    depth = len(bits) // len(MATRICES)
    width = len(bits["blocks.0.proj"])
    blocks = []
    for i in range(depth):
        rows = {m: bits[f"blocks.{i}.{m}"] for m in MATRICES}
        shares = [float((rows[m] == 8).float().mean()) for m in MATRICES]
        blocks.append(Block(len(rows["qkv"]) // (3 * HEAD_DIM), len(rows["fc1"]), *shares))
    return Subnet(width, tuple(blocks))


def ranked_rows(
    effects: dict[str, Tensor],
    costs: dict[str, int],
    cycles_of: Callable[[Bits], float],
    most: float,
) -> Bits:
    """Row by row: the largest share of 8-bit rows, in the order of effect for cost, that takes at
    most so many cycles."""
    total = sum(len(e) for e in effects.values()) // ROW_GROUP
    low, high = 0, total
    while low < high:
        middle = (low + high + 1) // 2
        bits = choose_rows(effects, costs, middle / total, ROW_GROUP)
        low, high = (middle, high) if cycles_of(bits) <= most else (low, middle - 1)
    return choose_rows(effects, costs, low / total, ROW_GROUP)


def whole_matrices(
    effects: dict[str, Tensor], cycles_of: Callable[[Bits], float], most: float
) -> Bits:
    """Whole matrices in 8 bits: the set with the greatest effect that takes at most so many cycles.

    What a matrix's 8 bits add to the cycles hardly depends on the others': a knapsack, solved
    exactly in units of CYCLE_UNIT cycles, each rounded up.
    """
    plain = {name: torch.full((len(e),), 4) for name, e in effects.items()}
    base = cycles_of(plain)
    room = int((most - base) // CYCLE_UNIT)
    if room < 0:
        raise SearchError(f"all rows 4-bit take {base:.0f} cycles, {most:.0f} are allowed")
    best = np.zeros(room + 1)
    taken: list[np.ndarray] = []
    sizes = []
    for name, effect in effects.items():
        alone = {**plain, name: torch.full((len(effect),), 8)}
        size = -int(-(cycles_of(alone) - base) // CYCLE_UNIT)
        with_it = np.full(room + 1, -np.inf)
        with_it[size:] = best[: room + 1 - size] + float(effect.sum())
        taken.append(with_it > best)
        best = np.maximum(best, with_it)
        sizes.append(size)
    bits, left = dict(plain), room
    for name, take, size in reversed(list(zip(effects, taken, sizes, strict=True))):
        if take[left]:
            bits[name] = torch.full_like(plain[name], 8)
            left -= size
    return bits


def random_rows(bits: Bits, seed: int) -> Bits:
    """As many 8-bit rows in every matrix, any of them."""
    generator = torch.Generator().manual_seed(seed)
    return {name: b[torch.randperm(len(b), generator=generator)] for name, b in bits.items()}


def ways(
    effects: dict[str, Tensor], costs: dict[str, int], cost: OverlayCost, fps: float, seed: int
) -> dict[str, Bits]:
    """The three ways at the cycles of a frame rate."""

    def cycles_of(bits: Bits) -> float:
        return cost(subnet_of(bits)).cycles

    most = cost.overlay.clock_mhz * 1e6 / fps
    ranked = ranked_rows(effects, costs, cycles_of, most)
    return {
        "rows by effect": ranked,
        "whole matrices": whole_matrices(effects, cycles_of, most),
        "as many random rows": random_rows(ranked, seed),
    }


def lost(bits: Bits, effects: dict[str, Tensor]) -> float:
    """The divergence that the 4-bit rows add, by their effects."""
    return sum(float(e[bits[name] == 4].double().sum()) for name, e in effects.items()) / 2


def compare_rows(
    quantiser: Quantiser, overlay: Overlay, fps: float, sample: Path | None, seed: int
) -> list[Outcome]:
    """The three ways, quantised and measured."""
    image, classes = quantiser.checkpoint.image_size, quantiser.checkpoint.classes
    cost = OverlayCost(overlay, image, classes)
    found = ways(quantiser.effects, quantiser.costs, cost, fps, seed)
    return [quantiser.outcome(way, bits, overlay, sample) for way, bits in found.items()]


def table(outcomes: list[Outcome]) -> str:
    """Markdown."""
    lines = [
        "| bits | cycles | FPS | divergence | equal answers | top-1 |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for o in outcomes:
        top1 = "" if o.top1 is None else f"{o.top1:.1f}"
        lines.append(
            f"| {o.way} | {o.cycles:,.0f} | {o.fps:.1f} | {o.divergence:.4f} | "
            f"{100 * o.agreement:.1f} % | {top1} |"
        )
    return "\n".join(lines)


@click.group()
def main() -> None:
    """Measure what a choice of the method is worth."""


@main.command(cls=cli.Command)
@click.option("--checkpoint", type=Path, required=True, help="Float weights, timm's names.")
@click.option("--images", type=Path, required=True, help="ImageFolder or tar of one.")
@click.option("--labels", type=Path, help=f"JSON; default: {LABELS_FILE} beside --images.")
@click.option("--evaluate", type=Path, help="ImageFolder for top-1, of which nothing is chosen.")
@click.option("--overlay", default="b1024", show_default=True)
@click.option(
    "--fps",
    type=cli.POSITIVE,
    default=160.0,
    show_default=True,
    help="Cycles: those of this frame rate.",
)
@click.option("--seed", type=cli.SEED, default=0, show_default=True, help="Of the random rows.")
@click.option("--json", "path", type=Path, help="Write the outcomes here.")
def rows(
    checkpoint: Path,
    images: Path,
    labels: Path | None,
    evaluate: Path | None,
    overlay: str,
    fps: float,
    seed: int,
    path: Path | None,
) -> None:
    """Row-wise mix against whole matrices and against random rows, at equal cycles."""
    set_up()
    if path:
        cli.check_file(path, images, [checkpoint, labels])
    weights = load_checkpoint(checkpoint).resized(None)
    names = labels_for(labels, images, weights.classes)
    check_evaluation(evaluate, None, names)
    shape = load_overlay(check_model(weights, 1.0, names, overlay))
    quantiser = Quantiser(weights, Source(images), names)
    outcomes = compare_rows(quantiser, shape, fps, evaluate, seed)
    click.echo(table(outcomes))
    if path:
        with replacing(path) as file:
            file.write((json.dumps([asdict(o) for o in outcomes], indent=1) + "\n").encode())


@main.command(cls=cli.Command)
@click.argument("effects", type=Path)
@click.option("--overlay", default="b1024", show_default=True)
@click.option(
    "--fps",
    "rates",
    multiple=True,
    type=cli.POSITIVE,
    default=(130.0, 145.0, 160.0, 175.0, 190.0),
)
@click.option("--seed", type=cli.SEED, default=0, show_default=True, help="Of the random rows.")
def predicted(effects: Path, overlay: str, rates: tuple[float, ...], seed: int) -> None:
    """What `rows` compares, as the row EFFECTS of train.predictor predict it: in seconds."""
    shape = load_overlay(overlay)
    loss = EffectLoss.load(effects)
    by_row = {n: torch.from_numpy(e) for n, e in loss.effects.items() if not n.endswith("units")}
    width = len(by_row["blocks.0.proj"])
    subnet = subnet_of({name: torch.full((len(e),), 4) for name, e in by_row.items()})
    costs = {
        f"blocks.{i}.{m}": shape_of[1]
        for i, block in enumerate(subnet.blocks)
        for m, shape_of in block.shapes(width).items()
    }
    cost = OverlayCost(shape, IMAGE_SIZE, CLASSES)
    if misfit := cost(subnet).misfit():
        raise DataError(f"the network that {effects} is of {misfit}")
    found = {fps: ways(by_row, costs, cost, fps, seed) for fps in rates}
    names = list(found[rates[0]])
    click.echo("| FPS | " + " | ".join(names) + " |\n| ---: |" + " ---: |" * len(names))
    for fps, bits in found.items():
        lost = [
            sum(float(e[b[n] == 4].sum()) for n, e in by_row.items()) / 2 for b in bits.values()
        ]
        click.echo(f"| {fps:g} | " + " | ".join(f"{x:.4f}" for x in lost) + " |")


if __name__ == "__main__":
    main()
