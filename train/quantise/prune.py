"""Prune a float network without training: the units that stay make up for those that go.

Without some hidden units or heads a network lacks their contribution through fc2 or proj. Much of
it can be predicted from the units that stay. With x those that stay, y those that go and W the
weights of y: W y ~ W (A^T (x - mean x) + mean y), A = cov(x)^-1 cov(x, y). A goes into the weights
of the same matrix, the constant into its bias.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from quasar_runtime.errors import DataError
from quasar_runtime.isa.interface import HEAD_DIM

from ..networks.folded import Affine, Folded, FoldedBlock
from ..spaces.space import Subnet
from .calibrate import Statistics
from .order import contributions, descending

PRUNING_DAMPING = 0.01
"""Added to the covariance's diagonal, as a fraction of its mean."""


def make_up(matrix: Affine, moment: Tensor, mean: Tensor, kept: Tensor) -> Affine:
    """The matrix on the inputs `kept` alone, with the others' predictable part added.

    moment (inputs, inputs) and mean (inputs,) are of all inputs.
    """
    stays = torch.zeros(len(mean), dtype=torch.bool)
    stays[kept] = True
    gone = (~stays).nonzero()[:, 0]
    covariance = (moment - torch.outer(mean, mean)).double()
    damping = PRUNING_DAMPING * covariance.diagonal().mean()
    inner = covariance[kept][:, kept] + damping * torch.eye(len(kept), dtype=torch.float64)
    told = torch.linalg.solve(inner, covariance[kept][:, gone]).float()
    lost = matrix.weight[:, gone]
    return Affine(
        matrix.weight[:, kept] + lost @ told.t(),
        matrix.bias + lost @ (mean[gone] - told.t() @ mean[kept]),
    )


def prune_heads(block: FoldedBlock, found: Statistics, name: str, heads: int) -> FoldedBlock:
    """The block with its `heads` most important heads."""
    if heads == block.heads:
        return block
    moment, mean = found.moment[f"{name}.attention"], found.mean[f"{name}.attention"]
    importance = contributions(moment, block.proj, found.energy[f"{name}.proj"], HEAD_DIM)
    chosen = descending(importance)[:heads].sort().values
    kept = (chosen[:, None] * HEAD_DIM + torch.arange(HEAD_DIM)).flatten()
    rows = torch.cat([kept + part * block.heads * HEAD_DIM for part in range(3)])
    return replace(
        block,
        qkv=Affine(block.qkv.weight[rows], block.qkv.bias[rows]),
        proj=make_up(block.proj, moment, mean, kept),
    )


def prune_mlp(block: FoldedBlock, found: Statistics, name: str, units: int) -> FoldedBlock:
    """The block with its `units` most important hidden units."""
    if units == len(block.fc1.bias):
        return block
    moment, mean = found.moment[f"{name}.gelu"], found.mean[f"{name}.gelu"]
    importance = contributions(moment, block.fc2, found.energy[f"{name}.fc2"], 1)
    kept = descending(importance)[:units].sort().values
    return replace(
        block,
        fc1=Affine(block.fc1.weight[kept], block.fc1.bias[kept]),
        fc2=make_up(block.fc2, moment, mean, kept),
    )


def prune(folded: Folded, found: Statistics, subnet: Subnet) -> Folded:
    """The network pruned to a subnet's heads and MLP widths, by the statistics of the whole one.

    DataError when the subnet has another width or depth, or more than the network has.
    """
    check_prunes(folded, subnet)
    blocks = []
    for i, (block, choice) in enumerate(zip(folded.blocks, subnet.blocks, strict=True)):
        name = f"blocks.{i}"
        block = prune_heads(block, found, name, choice.heads)
        blocks.append(prune_mlp(block, found, name, choice.mlp))
    return replace(folded, blocks=blocks)


def check_prunes(folded: Folded, subnet: Subnet) -> None:
    """DataError unless `subnet` differs from the network by fewer heads and narrower MLPs alone."""
    width, depth = folded.position.shape[1], len(folded.blocks)
    if (subnet.width, subnet.depth) != (width, depth):
        raise DataError(
            f"the subnet's width and depth are {subnet.width} and {subnet.depth}, the checkpoint's "
            f"{width} and {depth}; narrower or shallower subnets need a supernet's --run"
        )
    for i, (block, choice) in enumerate(zip(folded.blocks, subnet.blocks, strict=True)):
        if choice.heads > block.heads or choice.mlp > len(block.fc1.bias):
            raise DataError(
                f"block {i} of the subnet has {choice.heads} heads and an MLP of {choice.mlp}, the "
                f"checkpoint has {block.heads} and {len(block.fc1.bias)}; choose no more"
            )
