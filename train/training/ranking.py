"""Renew the rows' importance during training: what 8 bits in place of 4 save at the output now.

A change D of a row's weights changes the output's divergence by 1/2 E[(g . D)^2] to second order,
with g the gradient of log p(y) by the row's weights and y drawn from the network's own p (Fisher
information). D is the row's 4-bit value less its 8-bit value.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..networks.folded import patches
from ..networks.supernet import BIAS_REACH, SuperMatrix, Supernet
from ..spaces.space import Subnet

PICTURES = 2
"""Pictures per gradient: a sum over them estimates E only on average, so few are better."""
KEEP = 0.5
"""Fraction of the former importance that stays: one batch of pictures is a rough estimate."""


@torch.no_grad()
def squared_effect(matrix: SuperMatrix) -> Tensor:
    """(g . D)^2 of every row, from the gradients of a backward pass."""
    every = torch.ones(len(matrix.importance), dtype=torch.bool, device=matrix.importance.device)
    inputs = matrix.master.shape[1]
    narrow = matrix.quantise(~every, slice(None), inputs)
    wide = matrix.quantise(every, slice(None), inputs)
    change = narrow.weight * narrow.step[:, None] - wide.weight * wide.step[:, None]
    assert matrix.master.grad is not None
    assert matrix.biases.grad is not None
    effect = (matrix.master.grad * change).sum(1)
    effect += matrix.biases.grad.sum(0) / BIAS_REACH * (narrow.bias - wide.bias)
    return (effect / matrix.unit).square()


def rank(supernet: Supernet, subnet: Subnet, images: Tensor, seed: int) -> dict[str, Tensor]:
    """The importance (rows,) of every row by matrix, mean 1, on uint8 images (N, S, S, 3).

    Rows that the subnet lacks have 0. Gradients are cleared.
    """
    generator = torch.Generator(supernet.norm.device).manual_seed(seed)
    found = {n: torch.zeros_like(m.importance) for n, m in supernet.matrices().items()}
    for few in images.split(PICTURES):
        supernet.zero_grad(set_to_none=False)
        logits = supernet(patches(few), subnet).logits
        label = torch.multinomial(logits.detach().softmax(1), 1, generator=generator)[:, 0]
        F.cross_entropy(logits, label, reduction="sum").backward()
        for name, matrix in supernet.matrices().items():
            found[name] += squared_effect(matrix)
    supernet.zero_grad(set_to_none=False)
    return {name: x / x.mean().clamp(min=1e-30) for name, x in found.items()}


def renew(supernet: Supernet, found: dict[str, Tensor]) -> None:
    """Move every matrix's importance towards what was found."""
    for name, matrix in supernet.matrices().items():
        former = matrix.importance / matrix.importance.mean().clamp(min=1e-30)
        matrix.importance.copy_(KEEP * former + (1 - KEEP) * found[name])
