"""The beginning of a fine-tuning: one subnet, from a run or from post-training quantisation."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor

from quasar_runtime.errors import DataError

from ..data.recipe import TrainingRecipe
from ..data.source import Source
from ..data.views import split
from ..networks.checkpoint import Checkpoint
from ..networks.folded import fold
from ..networks.quantised import QuantisedNetwork
from ..networks.supernet import Supernet
from ..quantise.prune import check_prunes
from ..quantise.quantise import Quantised, quantise_on
from ..quantise.rounding import round_network
from ..spaces.space import MATRICES, BlockConfig, Space, Subnet
from .folder import read_json, write_json
from .initial import InitialState
from .run_folder import Run, RunSpec, check_same, facts_of, prepare
from .train import calibration
from .trainer import Trainer


def subnet_of(network: QuantisedNetwork) -> Subnet:
    """The subnet that a quantised network is; shares have four digits, as in spaces."""
    blocks = []
    for block in network.blocks:
        layers = (getattr(block, name) for name in MATRICES)
        shares = (round(float((layer.bits == 8).double().mean()), 4) for layer in layers)
        blocks.append(BlockConfig(block.heads, len(block.fc1.bias), *shares))
    return Subnet(len(network.norm), tuple(blocks))


def bits_of(network: QuantisedNetwork) -> dict[str, Tensor]:
    """The precision (rows,) of each matrix of the blocks, 4 or 8."""
    return {
        f"blocks.{i}.{name}": getattr(block, name).bits
        for i, block in enumerate(network.blocks)
        for name in MATRICES
    }


def from_rounding(
    quantised: Quantised, checkpoint: Checkpoint, images: Tensor, recipe: TrainingRecipe
) -> InitialState:
    """A supernet of one subnet that computes what the quantised network does.

    images: uint8 (N, S, S, 3). The master of a 4-bit weight begins where the output's error puts it
    inside its integer's cell, not in the middle: weights near a border then cross it first.
    """
    network = quantised.network
    space = Space.around(subnet_of(network), checkpoint.image_size, checkpoint.classes)
    supernet = Supernet(space, layer_scaling=recipe.layer_scaling)
    inside = deepcopy(quantised.unrounded)
    every8 = {name: torch.full_like(bits, 8) for name, bits in bits_of(network).items()}
    round_network(inside, quantised.folded, every8, images, network)
    inside.head = network.head
    supernet.fill(network, inside)
    for master, block in zip(supernet.blocks, network.blocks, strict=True):
        chosen = master.chosen_rows(block.heads, len(block.fc1.bias), len(network.norm))
        for name, rows in chosen.items():
            getattr(master, name).importance[rows] = getattr(block, name).bits.float()
    return InitialState(supernet, fold(checkpoint))


def from_checkpoint(
    folder: Path,
    checkpoint: Checkpoint,
    images: Path,
    mix: float | Subnet,
    recipe: TrainingRecipe,
) -> tuple[RunSpec, Trainer]:
    """Begin with post-training quantisation, or go on with what the folder holds.

    mix: as in QuantisationRecipe. DataError when the folder holds another training.
    """
    source = Source(images)
    facts = facts_of(checkpoint, source)
    facts["mix"] = mix.to_dict() if isinstance(mix, Subnet) else mix
    if isinstance(mix, Subnet):
        check_prunes(fold(checkpoint), mix)
    chosen = folder / "subnet.json"
    begun: list[InitialState] = []
    if (folder / "last.pt").exists():
        check_same(folder / "recipe.json", {"recipe": recipe.to_dict(), **facts})
    else:
        parts = split(source.names, recipe)
        few = calibration(checkpoint, source, parts.train, recipe)
        quantised = quantise_on(checkpoint, few, mix, recipe.seed)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(chosen, subnet_of(quantised.network).to_dict())
        begun.append(from_rounding(quantised, checkpoint, few, recipe))
    subnet = Subnet.from_dict(read_json(chosen))
    space = Space.around(subnet, checkpoint.image_size, checkpoint.classes)
    spec = RunSpec(space, recipe, facts, [subnet])
    return spec, prepare(folder, spec, begun.pop)


def from_run(
    folder: Path,
    checkpoint: Checkpoint,
    images: Path,
    parent: Run,
    subnet: Subnet,
    recipe: TrainingRecipe,
) -> tuple[RunSpec, Trainer]:
    """Begin with the weights of a supernet or an earlier fine-tuning, or go on.

    DataError unless `parent` was begun from this checkpoint; SpaceError for a subnet of another
    space.
    """
    parent.supernet.space.check(subnet)
    source = Source(images)
    facts = facts_of(checkpoint, source)
    if parent.facts["sha256"] != checkpoint.sha256:
        raise DataError(
            f"the run was begun from {parent.facts['checkpoint']} with sha256 "
            f"{parent.facts['sha256']}, --checkpoint has {checkpoint.sha256}; give the same file"
        )
    facts |= {"subnet": subnet.to_dict(), "after": parent.recipe.to_dict()}
    spec = RunSpec(parent.supernet.space, recipe, facts, [subnet])
    begun = InitialState(parent.supernet, parent.teacher)
    if (folder / "last.pt").exists():  # another run's subnet.json is not to be overwritten
        check_same(folder / "recipe.json", {"recipe": recipe.to_dict(), **facts})
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "subnet.json", subnet.to_dict())
    return spec, prepare(folder, spec, lambda: begun)
