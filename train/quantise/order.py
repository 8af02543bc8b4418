"""The order of importance in which smaller subnets keep heads, hidden units and channels.

The importance of a head or a hidden unit is the mean square of its contribution to the residual,
each channel weighted with the squared gradient of the network's output there (Fisher information).
That of a channel is its contribution to the matrices that read it, weighted likewise. The network's
output does not depend on the order.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from quasar_runtime.isa.interface import HEAD_DIM

from ..networks.folded import BATCH, Affine, Folded, FoldedBlock, patches
from .calibrate import Statistics


def descending(importance: Tensor) -> Tensor:
    """Indices from the greatest to the least."""
    return importance.argsort(descending=True, stable=True)


def contributions(moment: Tensor, matrix: Affine, energy: Tensor, group: int) -> Tensor:
    """Contribution to the output of each group of `group` inputs of a matrix, (inputs / group,).

    moment (inputs, inputs) of the inputs; energy (rows,) squared gradient at the results.
    """
    weighted = (matrix.weight * energy[:, None]).t() @ matrix.weight
    each = (weighted * moment).unflatten(0, (-1, group)).unflatten(2, (-1, group))
    contribution: Tensor = each.sum((1, 3)).diagonal()
    return contribution


def channel_importance(folded: Folded, found: Statistics) -> Tensor:
    """Importance (width,) of the residual's channels.

    It is the contribution of LayerNorm's results in them to the matrices that read them, over all
    blocks.
    """
    total = torch.zeros(folded.position.shape[1])
    for i, block in enumerate(folded.blocks):
        for norm, part in (("norm1", "qkv"), ("norm2", "fc1")):
            name = f"blocks.{i}."
            matrix = getattr(block, part)
            total += contributions(found.moment[name + norm], matrix, found.energy[name + part], 1)
    return total


def reorder(folded: Folded, found: Statistics) -> Folded:
    """The same network with heads, hidden units and channels in descending importance."""
    channels = descending(channel_importance(folded, found))
    blocks = []
    for i, block in enumerate(folded.blocks):
        name = f"blocks.{i}."
        heads = descending(
            contributions(
                found.moment[f"{name}attention"],
                block.proj,
                found.energy[f"{name}proj"],
                HEAD_DIM,
            )
        )
        units = descending(
            contributions(found.moment[f"{name}gelu"], block.fc2, found.energy[f"{name}fc2"], 1)
        )
        blocks.append(reorder_block(block, channels, heads, units))
    head = Affine(folded.head.weight[:, channels], folded.head.bias)
    return Folded(folded.patch[channels], folded.position[:, channels], blocks, head)


def reorder_block(
    block: FoldedBlock, channels: Tensor, heads: Tensor, units: Tensor
) -> FoldedBlock:
    """A block with its channels, heads and hidden units in new orders."""
    inner = (heads[:, None] * HEAD_DIM + torch.arange(HEAD_DIM)).flatten()
    rows = torch.cat([inner + part * len(inner) for part in range(3)])
    return FoldedBlock(
        qkv=Affine(block.qkv.weight[rows][:, channels], block.qkv.bias[rows]),
        proj=Affine(block.proj.weight[channels][:, inner], block.proj.bias[channels]),
        fc1=Affine(block.fc1.weight[units][:, channels], block.fc1.bias[units]),
        fc2=Affine(block.fc2.weight[channels][:, units], block.fc2.bias[channels]),
    )


@torch.no_grad()
def removal_order(folded: Folded, images: Tensor, most: int) -> Tensor:
    """The order (depth,) in which to leave out up to `most` blocks; the last block never.

    Each time it is the block without which the output on uint8 images (N, S, S, 3) changes least,
    by Kullback-Leibler divergence, after those left out before.
    """
    inputs = patches(images)
    wanted = folded(inputs).log_softmax(1)
    left, out = list(range(len(folded.blocks))), []
    for _ in range(most):
        divergences = []
        for i in left[:-1]:
            kept = Folded(
                folded.patch,
                folded.position,
                [folded.blocks[j] for j in left if j != i],
                folded.head,
            )
            got = kept(inputs).log_softmax(1)
            divergences.append(float(F.kl_div(got, wanted, log_target=True, reduction="sum")))
        out.append(left.pop(min(range(len(divergences)), key=divergences.__getitem__)))
    return torch.tensor(out + left)


@torch.no_grad()
def width_ratios(folded: Folded, images: Tensor, widths: tuple[int, ...]) -> dict[str, Tensor]:
    """Factors (widths,) by which fewer channels make LayerNorm's results larger, by its name.

    The mean over tokens of the deviation over all channels / the deviation over the first.
    """
    sums: dict[str, Tensor] = {}
    count: dict[str, int] = {}

    def add(name: str, x: Tensor) -> None:
        whole = x.std(-1, correction=0)
        ratios = [(whole / x[..., :w].std(-1, correction=0)).sum() for w in widths]
        sums[name] = sums.get(name, torch.zeros(len(widths))) + torch.stack(ratios)
        count[name] = count.get(name, 0) + whole.numel()

    for start in range(0, len(images), BATCH):
        inputs = patches(images[start : start + BATCH])
        x = folded.embed(inputs)
        for i in range(len(folded.blocks)):
            add(f"blocks.{i}.norm1", x)
            kept: dict[str, Tensor] = {}
            after = folded.block(i, x, kept.__setitem__)
            middle = x[:, : after.shape[1]] + kept[f"blocks.{i}.proj"]
            add(f"blocks.{i}.norm2", middle)
            x = after
        add("norm", x[:, 0])
    return {name: total / count[name] for name, total in sums.items()}
