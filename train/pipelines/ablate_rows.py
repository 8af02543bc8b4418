"""What row-wise precision gains over whole matrices and over random rows, at equal cycles."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.cycles.predict import program_cycles
from quasar_runtime.errors import DataError
from quasar_runtime.isa.interface import HEAD_DIM
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.model.network import Model

from ..cost.cycles import OverlayCost
from ..cost.loss import EffectLoss
from ..data.labels import Labels
from ..data.source import Source
from ..networks.checkpoint import Checkpoint
from ..networks.folded import fold
from ..networks.teacher import network_agreement
from ..quantise.calibrate import EVENED_SHARE8, build, observe, search_hidden_ranges
from ..quantise.emit import emit
from ..quantise.outlier_units import tame
from ..quantise.quantise import (
    CLIP_IMAGES,
    ROW_GROUP,
    TAME_IMAGES,
    QuantisationRecipe,
    split_pictures,
)
from ..quantise.rounding import round_network
from ..quantise.rows import choose_rows, row_costs, row_effects
from ..report.evaluate import program_accuracy
from ..search.candidates import SearchError
from ..spaces.space import MATRICES, BlockConfig, Subnet

IMAGE_SIZE, CLASSES = 224, 1000
"""Dimensions of the networks whose row effects are compared."""
CYCLE_UNIT = 256
"""Resolution of the knapsack, in cycles."""

Bits = dict[str, Tensor]
"""Bits (rows,), 8 or 4, by matrix."""


@dataclass(frozen=True)
class Outcome:
    """One way of assigning bits.

    cycles, fps: of its program; divergence, agreement: from the float network on held-out pictures;
    top1: percent, None without a sample.
    """

    way: str
    cycles: float
    fps: float
    divergence: float
    agreement: float
    top1: float | None


class Quantiser:
    """A checkpoint calibrated once, to be quantised with any assignment of bits."""

    def __init__(self, checkpoint: Checkpoint, source: Source, labels: Labels) -> None:
        self.checkpoint, self.labels = checkpoint, labels
        recipe = QuantisationRecipe(EVENED_SHARE8)
        pictures = split_pictures(source, checkpoint.preprocessing, recipe)
        self.calibration, self.held_out = pictures.calibration.images, pictures.held_out.images
        few = self.calibration[:TAME_IMAGES]
        self.teacher, self.folded = fold(checkpoint), fold(checkpoint)
        tame(self.folded, observe(self.folded, few, recipe.seed), few)
        found = observe(self.folded, self.calibration, recipe.seed)
        self.network = build(self.folded, found, EVENED_SHARE8)
        search_hidden_ranges(self.network, self.folded, found, self.calibration[:CLIP_IMAGES])
        self.effects = row_effects(self.network, self.folded, found)
        self.costs = row_costs(self.folded)

    def outcome(self, way: str, bits: Bits, overlay: Overlay, sample: Path | None) -> Outcome:
        """Quantise with `bits` and measure on the overlay, the held-out pictures and the sample."""
        network = copy.deepcopy(self.network)
        round_network(network, self.folded, bits, self.calibration)
        near = network_agreement(network, self.teacher, self.held_out)
        model: Model = emit(network, "ablation", self.checkpoint.preprocessing, self.labels)
        cycles = program_cycles(compile_model(model, overlay))
        top1 = program_accuracy(model, sample).top1 if sample else None
        return Outcome(way, cycles.total, cycles.fps, near.divergence, near.agreement, top1)


def subnet_of_bits(bits: Bits) -> Subnet:
    """The subnet with as many 8-bit rows, for its cost."""
    depth = len(bits) // len(MATRICES)
    width = len(bits["blocks.0.proj"])
    blocks = []
    for i in range(depth):
        rows = {m: bits[f"blocks.{i}.{m}"] for m in MATRICES}
        shares = [float((rows[m] == 8).float().mean()) for m in MATRICES]
        blocks.append(BlockConfig(len(rows["qkv"]) // (3 * HEAD_DIM), len(rows["fc1"]), *shares))
    return Subnet(width, tuple(blocks))


def ranked_rows(
    effects: dict[str, Tensor],
    costs: dict[str, int],
    cycles_of: Callable[[Bits], float],
    most: float,
) -> Bits:
    """Row by row in the order of effect per cost: as many 8-bit rows as `most` cycles allow."""
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
    """Whole matrices in 8 bits: the set of greatest effect that takes at most `most` cycles.

    A matrix's 8 bits add cycles that hardly depend on the other matrices: a knapsack problem,
    solved exactly in units of CYCLE_UNIT cycles, each rounded up. SearchError when 4 bits take
    more.
    """
    plain = {name: torch.full((len(e),), 4) for name, e in effects.items()}
    base = cycles_of(plain)
    room = int((most - base) // CYCLE_UNIT)
    if room < 0:
        raise SearchError(f"all rows 4-bit take {base:.0f} cycles, {most:.0f} are allowed")
    best = np.zeros(room + 1)
    taken: list[npt.NDArray[np.bool_]] = []
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
    """As many 8-bit rows in every matrix, drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    return {name: b[torch.randperm(len(b), generator=generator)] for name, b in bits.items()}


def ways(
    effects: dict[str, Tensor], costs: dict[str, int], cost: OverlayCost, fps: float, seed: int
) -> dict[str, Bits]:
    """The three assignments at the cycles of a frame rate, by name."""

    def cycles_of(bits: Bits) -> float:
        return cost(subnet_of_bits(bits)).cycles

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
    """The three assignments, quantised and measured."""
    image, classes = quantiser.checkpoint.image_size, quantiser.checkpoint.classes
    cost = OverlayCost(overlay, image, classes)
    found = ways(quantiser.effects, quantiser.costs, cost, fps, seed)
    return [quantiser.outcome(way, bits, overlay, sample) for way, bits in found.items()]


def outcome_table(outcomes: list[Outcome]) -> str:
    """The outcomes as a Markdown table."""
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


def predicted_table(effects: Path, overlay: Overlay, rates: Sequence[float], seed: int) -> str:
    """What the row effects of a file predict for each frame rate, as Markdown.

    DataError when the network does not fit the overlay.
    """
    loss = EffectLoss.load(effects)
    by_row = {n: torch.from_numpy(e) for n, e in loss.effects.items() if not n.endswith("units")}
    width = len(by_row["blocks.0.proj"])
    subnet = subnet_of_bits({name: torch.full((len(e),), 4) for name, e in by_row.items()})
    costs = {
        f"blocks.{i}.{m}": shape[1]
        for i, block in enumerate(subnet.blocks)
        for m, shape in block.shapes(width).items()
    }
    cost = OverlayCost(overlay, IMAGE_SIZE, CLASSES)
    if misfit := cost(subnet).misfit():
        raise DataError(f"the network that {effects} is of {misfit}")
    found = {fps: ways(by_row, costs, cost, fps, seed) for fps in rates}
    names = list(found[rates[0]])
    lines = ["| FPS | " + " | ".join(names) + " |", "| ---: |" + " ---: |" * len(names)]
    for fps, bits in found.items():
        cells = (f"{lost(b, by_row):.4f}" for b in bits.values())
        lines.append(f"| {fps:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
