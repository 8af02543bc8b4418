"""The initial state of a supernet: a checkpoint, ordered, calibrated, rounded to 4 and 8 bits."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from quasar_runtime.errors import DataError

from ..networks.checkpoint import Checkpoint
from ..networks.folded import Folded, fold
from ..networks.supernet import Supernet
from ..quantise.calibrate import EVENED_SHARE8, build, observe, search_hidden_ranges
from ..quantise.order import removal_order, reorder, width_ratios
from ..quantise.outlier_units import tame
from ..quantise.quantise import CLIP_IMAGES, TAME_IMAGES
from ..quantise.rounding import round_network
from ..quantise.rows import row_effects
from ..spaces.space import Space

ORDER_IMAGES = 64


@dataclass(eq=False)
class InitialState:
    """The supernet and its teacher: the float network, its channels in the same order."""

    supernet: Supernet
    teacher: Folded


def check_fits(checkpoint: Checkpoint, space: Space) -> None:
    """DataError unless the checkpoint is the space's largest network."""
    most = space.largest()
    block = most.blocks[0]
    t = checkpoint.tensors
    wanted = {
        "image size": (space.image_size, checkpoint.image_size),
        "classes": (space.classes, checkpoint.classes),
        "width": (most.width, checkpoint.width),
        "depth": (most.depth, checkpoint.depth),
        "attention channels": (64 * block.heads, t["blocks.0.attn.proj.weight"].shape[1]),
        "MLP width": (block.mlp, t["blocks.0.mlp.fc1.weight"].shape[0]),
    }
    for what, (of_space, of_checkpoint) in wanted.items():
        if of_space != of_checkpoint:
            raise DataError(
                f"the {what} of {checkpoint.file} is {of_checkpoint}, the largest network of space "
                f"'{space.name}' has {of_space}; choose a space around the checkpoint"
            )


def initial_state(
    checkpoint: Checkpoint, space: Space, images: Tensor, seed: int, *, layer_scaling: bool = True
) -> InitialState:
    """A supernet whose largest subnets are the checkpoint's, from uint8 images (N, S, S, 3)."""
    check_fits(checkpoint, space)
    teacher, folded = fold(checkpoint), fold(checkpoint)
    found = observe(folded, images[:TAME_IMAGES], seed)
    if space.widths[1:] or space.heads[1:] or space.hidden(space.widths[-1])[1:]:
        found = observe(folded, images[:ORDER_IMAGES], seed)
        teacher, folded = reorder(teacher, found), reorder(folded, found)
        found = observe(folded, images[:TAME_IMAGES], seed)
    tame(folded, found, images[:TAME_IMAGES])
    found = observe(folded, images, seed)
    wide = build(folded, found, EVENED_SHARE8)
    search_hidden_ranges(wide, folded, found, images[:CLIP_IMAGES])
    effects = row_effects(wide, folded, found)
    narrow = deepcopy(wide)
    round_network(narrow, folded, {n: torch.full(e.shape, 4) for n, e in effects.items()}, images)
    every8 = {n: torch.full(e.shape, 8) for n, e in effects.items()}
    round_network(wide, folded, every8, images, narrow)
    supernet = Supernet(space, layer_scaling=layer_scaling)
    supernet.fill(narrow, wide)
    for name, matrix in supernet.matrices().items():
        matrix.importance.copy_(effects[name])
    order_subnets(supernet, folded, images)
    return InitialState(supernet, teacher)


@torch.no_grad()
def order_subnets(supernet: Supernet, folded: Folded, images: Tensor) -> None:
    """Set which blocks smaller depths leave out, and LayerNorm's ratios of smaller widths."""
    space = supernet.space
    most = space.depths[-1] - space.depths[0]
    supernet.removal.copy_(removal_order(folded, images[:ORDER_IMAGES], most))
    ratios = width_ratios(folded, images[:ORDER_IMAGES], space.widths)
    for i, block in enumerate(supernet.blocks):
        block.ratio1.copy_(ratios[f"blocks.{i}.norm1"])
        block.ratio2.copy_(ratios[f"blocks.{i}.norm2"])
    supernet.ratio.copy_(ratios["norm"])
