"""Outlier units: the few hidden units of an MLP that reach tens of times further than the others.

They act as switches: far below zero on almost all tokens, and hundreds on the few tokens that the
network uses as attention sinks ("massive activations", Sun et al., 2024). One table and one scale
serve a whole layer, so an outlier unit would leave the others a handful of steps. An outlier unit
is replaced by gelu(h) ~ gain * gelu(slope * (h - threshold)), whose range is like the other units':
slope and threshold go into fc1's row, the gain into fc2's column.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..networks.folded import BATCH, Folded, patches
from .calibrate import Statistics

OUTLIER_RATIO = 4.0
"""A unit is an outlier when it reaches this many times as far as the reference unit."""
REFERENCE = 0.99
"""The reference unit: this fraction of the layer's units reach less far."""
ROOM = 1.5
"""Reach of a tamed unit, in reaches of the reference unit."""
MAGNITUDE = 0.5
"""Fraction of its size that a tamed unit keeps: a sink need only be large, and a smaller one leaves
the residual and fc2's rows more precision."""
FLOOR = 0.1
"""Errors are relative to the unit's result plus this many reaches of the reference unit."""


@dataclass(frozen=True)
class TamedUnit:
    """A unit of a block's MLP in which gelu(h) became gain * gelu(slope * (h - threshold)).

    reach: its largest result before; error: mean squared relative error.
    """

    block: int
    unit: int
    reach: float
    threshold: float
    slope: float
    gain: float
    error: float


def switch(h: Tensor, reach: float, floor: float) -> tuple[float, float, float, float]:
    """(threshold, slope, gain, error) for a unit's inputs h (samples,).

    The gain minimises the squared error over (|gelu(h)| + floor), on a grid of thresholds; the
    slope puts the largest input at `reach`. The weighting keeps the many tokens on which the unit
    is off at 0; the size of the few others matters less.
    """
    g, top = F.gelu(h), float(h.max())
    weight = 1 / (g.abs() + floor)
    best = (0.0, 1.0, 1.0, torch.inf)
    for share in torch.linspace(0.05, 0.75, 29).tolist():
        threshold = share * top
        slope = reach / (top - threshold)
        s = F.gelu(slope * (h - threshold)) * weight
        gain = float((s @ (g * weight)) / (s @ s))
        error = float((gain * s - g * weight).square().mean())
        if error < best[3]:
            best = (threshold, slope, gain, error)
    return best


def outlier_units(high: Tensor, reference: float) -> list[int]:
    """The units whose largest GELU result, in `high` (units,), is far beyond the reference's."""
    units: list[int] = (high > OUTLIER_RATIO * reference).nonzero()[:, 0].tolist()
    return units


@torch.no_grad()
def tame(folded: Folded, found: Statistics, images: Tensor) -> list[TamedUnit]:
    """Rewrite the outlier units of a folded network in place; returns them."""
    tamed: list[TamedUnit] = []
    for i, block in enumerate(folded.blocks):
        high = found.high[f"blocks.{i}.gelu"]
        reference = float(high.quantile(REFERENCE))
        units = outlier_units(high, reference)
        if not units:
            continue
        samples = torch.cat(hidden_inputs(folded, i, images))
        for unit in units:
            threshold, slope, gain, error = switch(
                samples[:, unit], ROOM * reference, FLOOR * reference
            )
            block.fc1.weight[unit] *= slope
            block.fc1.bias[unit] = slope * (block.fc1.bias[unit] - threshold)
            block.fc2.weight[:, unit] *= MAGNITUDE * gain
            tamed.append(TamedUnit(i, unit, float(high[unit]), threshold, slope, gain, error))
    return tamed


def hidden_inputs(folded: Folded, i: int, images: Tensor) -> list[Tensor]:
    """fc1's results in block i, (samples, units) for each batch of images."""
    kept: list[Tensor] = []

    def watch(name: str, value: Tensor) -> None:
        if name == f"blocks.{i}.fc1":
            kept.append(value.flatten(0, 1))

    for start in range(0, len(images), BATCH):
        folded(patches(images[start : start + BATCH]), watch)
    return kept
