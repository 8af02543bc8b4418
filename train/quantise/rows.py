"""Choose the 8-bit rows: those whose 8 bits save the most error at the output for their cost.

An 8-bit row costs twice a 4-bit row's multiplications, so a row of many inputs has to save more
than one of few.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quasar_runtime.errors import DataError
from quasar_runtime.isa.arithmetic import WEIGHT4_MAX, WEIGHT8_MAX

from ..networks.folded import Folded
from ..networks.quantised import QuantisedNetwork
from ..spaces.space import Subnet
from .calibrate import INPUT_OF, Statistics, input_step, matrix_input, rounding_noise, scaled


def row_effects(network: QuantisedNetwork, folded: Folded, found: Statistics) -> dict[str, Tensor]:
    """By matrix, (rows,): the effect at the network's output of 4 bits in place of 8.

    It is the squared rounding error in the row's result times the squared gradient of the network's
    output there.
    """
    effects = {}
    for i, (block, source) in enumerate(zip(network.blocks, folded.blocks, strict=True)):
        for part in INPUT_OF:
            name = f"blocks.{i}.{part}"
            step = input_step(block, part)
            real = scaled(getattr(source, part), step).weight
            unit = torch.as_tensor(step).expand(real.shape[1])
            moment = found.moment[matrix_input(name)] / torch.outer(unit, unit)
            noise4 = rounding_noise(real, WEIGHT4_MAX, moment)
            noise8 = rounding_noise(real, WEIGHT8_MAX, moment)
            effects[name] = found.energy[name] * (noise4 - noise8)
    return effects


def choose_rows(
    effects: dict[str, Tensor], costs: dict[str, int], share8: float, group: int = 1
) -> dict[str, Tensor]:
    """Bits (rows,) by matrix: 8 for the rows with the greatest effect per cost, 4 for the others.

    share8: fraction of all rows in 8 bits; costs: inputs of a row, by matrix. A matrix's rows, in
    the order of their effects, change precision `group` at a time, and the share is met to the
    nearest group: an array of R digit rows takes as long for a group that is not full. DataError
    when share8 is outside 0 to 1.
    """
    if not 0 <= share8 <= 1:
        raise DataError(f"the share of 8-bit rows is {share8}, allowed are 0 to 1")
    units: list[tuple[float, str, Tensor]] = []
    for name, effect in effects.items():
        rows = effect.argsort(descending=True, stable=True).split(group)
        units += [(float(effect[r].mean()) / costs[name], name, r) for r in rows]
    units.sort(key=lambda unit: -unit[0])
    bits = {name: torch.full((len(effect),), 4) for name, effect in effects.items()}
    wanted = round(share8 * sum(len(effect) for effect in effects.values()))
    for _, name, rows in units:
        if 2 * wanted < len(rows):
            break
        bits[name][rows] = 8
        wanted -= len(rows)
    return bits


def choose_rows_of(effects: dict[str, Tensor], subnet: Subnet) -> dict[str, Tensor]:
    """Bits (rows,) by matrix: the rows of greatest effect in 8 bits, as many as the subnet says."""
    bits = {}
    for i, block in enumerate(subnet.blocks):
        for part, count in block.rows8(subnet.width).items():
            name = f"blocks.{i}.{part}"
            bits[name] = torch.full((len(effects[name]),), 4)
            bits[name][effects[name].argsort(descending=True, stable=True)[:count]] = 8
    return bits


def row_costs(folded: Folded) -> dict[str, int]:
    """Inputs of each matrix of the blocks: a row's multiplications per token."""
    return {
        f"blocks.{i}.{part}": getattr(block, part).weight.shape[1]
        for i, block in enumerate(folded.blocks)
        for part in INPUT_OF
    }
