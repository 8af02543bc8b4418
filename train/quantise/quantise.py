"""Post-training quantisation of a float checkpoint, without labels.

fold -> tame outlier units -> calibrate scales -> choose 8-bit rows -> round. docs/accuracy.md says
what each step gains.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from quasar_runtime.errors import DataError
from quasar_runtime.images.preprocessing import Preprocessing

from ..data.pictures import (
    Decoded,
    calibration_prefixes,
    classes_apart,
    decoded,
    in_turn,
    to_calibrate_on,
)
from ..data.source import Source
from ..networks.checkpoint import Checkpoint
from ..networks.folded import Folded, fold
from ..networks.quantised import QuantisedNetwork
from ..networks.teacher import TeacherAgreement, network_agreement
from ..spaces.space import Subnet
from .calibrate import build, observe, search_hidden_ranges
from .outlier_units import TamedUnit, tame
from .prune import check_prunes, prune
from .rounding import round_network
from .rows import choose_rows, choose_rows_of, row_costs, row_effects

TAME_IMAGES = 32
CLIP_IMAGES = 32
HELD_OUT = 128
HELD_OUT_CLASSES = 0.125
"""Fraction of the classes that are held out, so that a network is measured on classes that it was
not calibrated on."""
ROW_GROUP = 32
"""Rows of a matrix that change precision together: the digit rows of the widest array, `b8192`."""


@dataclass(frozen=True)
class QuantisationRecipe:
    """How a checkpoint is quantised.

    mix          fraction of the blocks' rows that are 8-bit, 0 to 1; or a subnet: the checkpoint is
                 pruned to it, and each matrix has the subnet's fraction
    calibration  pictures for scales and rounding
    seed         of every random choice
    image_size   pixels of the pictures' sides; None for the checkpoint's own
    """

    mix: float | Subnet
    calibration: int = 512
    seed: int = 0
    image_size: int | None = None


@dataclass(frozen=True)
class CalibrationSplit:
    """Pictures to calibrate on and pictures to measure on; no class is in both.

    prefixes: what file names of calibration pictures begin with.
    """

    calibration: Decoded
    held_out: Decoded
    prefixes: tuple[str, ...]


@dataclass(frozen=True)
class QuantisationReport:
    """What quantisation found.

    clipped: fraction of the range kept, by block; final: on the held-out pictures; macs8: fraction
    of the blocks' multiply-accumulates with 8-bit weights.
    """

    pictures: CalibrationSplit
    tamed: list[TamedUnit]
    clipped: dict[int, float]
    final: TeacherAgreement
    macs8: float


class Quantised(NamedTuple):
    """Results of `quantise_on`.

    unrounded: the quantised network before rounding; folded: the float network that was rounded,
    with tamed units and pruned; clipped: fraction of the range kept, by block.
    """

    network: QuantisedNetwork
    unrounded: QuantisedNetwork
    folded: Folded
    tamed: list[TamedUnit]
    clipped: dict[int, float]


def split_pictures(
    source: Source, how: Preprocessing, recipe: QuantisationRecipe
) -> CalibrationSplit:
    """Draw and decode the calibration pictures and the held-out ones with the recipe's seed.

    DataError when all pictures are of one class, or when none of either kind can be read.
    """
    used, apart = split_names(source, recipe)
    return CalibrationSplit(
        decoded(source, in_turn(used, recipe.seed), recipe.calibration, how),
        decoded(source, in_turn(apart, recipe.seed), HELD_OUT, how),
        calibration_prefixes(source.names),
    )


def split_names(source: Source, recipe: QuantisationRecipe) -> tuple[list[str], list[str]]:
    """(names to calibrate on, names held out). DataError when all pictures are of one class."""
    used, apart = classes_apart(to_calibrate_on(source.names), HELD_OUT_CLASSES, recipe.seed)
    if not apart:
        raise DataError(
            f"all pictures of {source.path.name} are of one class; add pictures of another: "
            "calibration and measurement use different classes"
        )
    return used, apart


def check_recipe(recipe: QuantisationRecipe) -> None:
    """DataError for a fraction outside 0 to 1, or no calibration pictures."""
    if not isinstance(recipe.mix, Subnet) and not 0 <= recipe.mix <= 1:
        raise DataError(f"the share of 8-bit rows is {recipe.mix}, allowed are 0 to 1")
    if recipe.calibration < 1:
        raise DataError(f"{recipe.calibration} pictures to calibrate on; give 1 at least")


def quantise(
    checkpoint: Checkpoint, images: Path | Source, recipe: QuantisationRecipe
) -> tuple[QuantisedNetwork, QuantisationReport]:
    """Quantise a checkpoint on pictures of `images`.

    DataError for a recipe, a subnet or pictures that cannot be used.
    """
    check_recipe(recipe)
    if isinstance(recipe.mix, Subnet):
        check_prunes(fold(checkpoint), recipe.mix)
    source = images if isinstance(images, Source) else Source(images)
    found = split_pictures(source, checkpoint.preprocessing, recipe)
    made = quantise_on(checkpoint, found.calibration.images, recipe.mix, recipe.seed)
    final = network_agreement(made.network, fold(checkpoint), found.held_out.images)
    report = QuantisationReport(found, made.tamed, made.clipped, final, macs8(made.network))
    return made.network, report


def quantise_on(
    checkpoint: Checkpoint, images: Tensor, mix: float | Subnet, seed: int
) -> Quantised:
    """Quantise a checkpoint on uint8 images (N, S, S, 3); mix: as in QuantisationRecipe."""
    folded = fold(checkpoint)
    found = observe(folded, images[:TAME_IMAGES], seed)
    tamed = tame(folded, found, images[:TAME_IMAGES])
    found = observe(folded, images, seed)
    if isinstance(mix, Subnet):
        folded = prune(folded, found, mix)
        found = observe(folded, images, seed)
    network = build(folded, found, mix.share8() if isinstance(mix, Subnet) else mix)
    clipped = search_hidden_ranges(network, folded, found, images[:CLIP_IMAGES])
    effects = row_effects(network, folded, found)
    if isinstance(mix, Subnet):
        bits = choose_rows_of(effects, mix)
    else:
        bits = choose_rows(effects, row_costs(folded), mix, ROW_GROUP)
    unrounded = deepcopy(network)
    round_network(network, folded, bits, images)
    return Quantised(network, unrounded, folded, tamed, clipped)


def macs8(network: QuantisedNetwork) -> float:
    """Fraction of the blocks' weights in 8-bit rows, so of the multiply-accumulates per token."""
    wide = total = 0
    for block in network.blocks:
        for layer in (block.qkv, block.proj, block.fc1, block.fc2):
            rows, inputs = layer.weight.shape
            wide += int((layer.bits == 8).sum()) * inputs
            total += rows * inputs
    return wide / total


def rows8(subnet: Subnet) -> float:
    """Fraction of the blocks' rows that are 8-bit."""
    rows = sum(n for b in subnet.blocks for n, _ in b.shapes(subnet.width).values())
    return sum(n for b in subnet.blocks for n in b.rows8(subnet.width).values()) / rows
