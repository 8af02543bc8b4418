"""Measure, without training, what 4-bit rows and missing hidden units cost (train/cost/loss.py)."""

from __future__ import annotations

from torch import Tensor

from ..cost.loss import EffectLoss
from ..networks.checkpoint import Checkpoint
from ..networks.folded import fold
from .calibrate import EVENED_SHARE8, build, observe
from .order import contributions, descending
from .outlier_units import tame
from .quantise import TAME_IMAGES
from .rows import row_effects


def measure_effects(checkpoint: Checkpoint, pictures: Tensor, seed: int = 0) -> EffectLoss:
    """The effects of a float checkpoint on calibration pictures, uint8 (N, S, S, 3)."""
    folded, few = fold(checkpoint), pictures[:TAME_IMAGES]
    tame(folded, observe(folded, few, seed), few)
    found = observe(folded, pictures, seed)
    effects = row_effects(build(folded, found, EVENED_SHARE8), folded, found)
    for i, block in enumerate(folded.blocks):
        moment, energy = found.moment[f"blocks.{i}.gelu"], found.energy[f"blocks.{i}.fc2"]
        units = contributions(moment, block.fc2, energy, 1)
        order = descending(units)
        effects[f"blocks.{i}.units"] = units[order]
        effects[f"blocks.{i}.fc1"] = effects[f"blocks.{i}.fc1"][order]
    return EffectLoss({name: effect.numpy() for name, effect in effects.items()})
