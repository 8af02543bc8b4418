"""Folding: what the hardware does not have is moved into the matrices beside it.

    image mean and deviation   into the patch embedding, whose inputs are raw bytes less 128
    patch bias, CLS, positions into one table of values, the residual's start
    LayerNorm gamma and beta   into the matrix after it
    layer scale                into the matrix before it

The folded network computes what the checkpoint does, in float32. The softmax keeps its 1/sqrt(64),
which becomes part of the scores' requantisation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from quasar_runtime.isa.interface import HEAD_DIM, PATCH, PATCH_CHANNELS

from .checkpoint import EPSILON, Checkpoint
from .integer import Observer, no_observer

BATCH = 32
"""Pictures per forward pass where a whole set is run."""


@dataclass(eq=False)
class Affine:
    """y = x @ weight.T + bias; float32 weight (rows, inputs), bias (rows,)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """x (..., inputs) -> y (..., rows)."""
        return F.linear(x, self.weight, self.bias)


@dataclass(eq=False)
class FoldedBlock:
    """A block's four matrices, with norms and layer scale folded in."""

    qkv: Affine
    proj: Affine
    fc1: Affine
    fc2: Affine

    @property
    def heads(self) -> int:
        """Attention heads, 64 channels each."""
        return self.proj.weight.shape[1] // HEAD_DIM


@dataclass(eq=False)
class Folded:
    """The folded float network.

    patch     float32 (width, 768), inputs ordered (row, column, colour), bytes less 128
    position  float32 (tokens, width), the residual's start
    """

    patch: Tensor
    position: Tensor
    blocks: list[FoldedBlock]
    head: Affine

    def to(self, device: torch.device | str) -> Folded:
        """The same network on another device."""

        def moved(matrix: Affine) -> Affine:
            return Affine(matrix.weight.to(device), matrix.bias.to(device))

        blocks = [FoldedBlock(*(moved(getattr(b, f.name)) for f in fields(b))) for b in self.blocks]
        return Folded(self.patch.to(device), self.position.to(device), blocks, moved(self.head))

    def embed(self, activations: Tensor) -> Tensor:
        """Patches (N, tokens, 768), CLS all zeros -> residual (N, tokens, width)."""
        return F.linear(activations.to(torch.float32), self.patch) + self.position

    def block(self, i: int, x: Tensor, observe: Observer = no_observer) -> Tensor:
        """Block i on the residual; the last one returns CLS alone, as (N, 1, width)."""
        b, name = self.blocks[i], f"blocks.{i}"
        queries = 1 if i == len(self.blocks) - 1 else x.shape[1]
        z = normed(x)
        observe(f"{name}.norm1", z)
        qkv = b.qkv(z)
        observe(f"{name}.qkv", qkv)
        q, k, v = split_heads(qkv, b.heads)
        mixed = F.scaled_dot_product_attention(q[:, :, :queries], k, v).transpose(1, 2).flatten(2)
        observe(f"{name}.attention", mixed)
        y = b.proj(mixed)
        observe(f"{name}.proj", y)
        x = x[:, :queries] + y
        z = normed(x)
        observe(f"{name}.norm2", z)
        h = b.fc1(z)
        observe(f"{name}.fc1", h)
        g = F.gelu(h)
        observe(f"{name}.gelu", g)
        y = b.fc2(g)
        observe(f"{name}.fc2", y)
        return x + y

    def classify(self, x: Tensor, observe: Observer = no_observer) -> Tensor:
        """Residual (N, tokens, width) -> logits (N, classes)."""
        z = normed(x[:, 0])
        observe("norm", z)
        logits = self.head(z)
        observe("head", logits)
        return logits

    def __call__(self, activations: Tensor, observe: Observer = no_observer) -> Tensor:
        """Patches (N, tokens, 768) -> logits (N, classes)."""
        x = self.embed(activations)
        observe("embed", x)
        for i in range(len(self.blocks)):
            x = self.block(i, x, observe)
            observe(f"blocks.{i}", x)
        return self.classify(x, observe)


def split_heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(N, T, 3 * heads * 64) -> q, k, v, each (N, heads, T, 64)."""
    q, k, v = qkv.reshape(*qkv.shape[:2], 3, heads, HEAD_DIM).permute(2, 0, 3, 1, 4)
    return q, k, v


def normed(x: Tensor) -> Tensor:
    """LayerNorm without gamma and beta over the last axis."""
    return F.layer_norm(x, (x.shape[-1],), eps=EPSILON)


def patches(images: Tensor) -> Tensor:
    """uint8 (N, S, S, 3) -> int8 (N, 1 + (S/16)^2, 768): `arithmetic.patches` for a batch."""
    n, size = len(images), images.shape[1]
    side = size // PATCH
    values = (images.clamp(min=1).to(torch.int16) - 128).to(torch.int8)
    tiles = values.reshape(n, side, PATCH, side, PATCH, 3).permute(0, 1, 3, 2, 4, 5)
    tokens = tiles.reshape(n, side * side, PATCH_CHANNELS)
    return torch.cat([torch.zeros(n, 1, PATCH_CHANNELS, dtype=torch.int8), tokens], 1)


def fold_patch(checkpoint: Checkpoint) -> tuple[Tensor, Tensor]:
    """Patch matrix on bytes less 128, and position values.

    (x / 255 - mean) / std = a / (255 std) + (128 / 255 - mean) / std with a = x - 128: the first
    term scales the weights, the second joins the bias.
    """
    t, preset = checkpoint.tensors, checkpoint.preset
    mean, std = torch.tensor(preset.mean), torch.tensor(preset.std)
    weight = t["patch_embed.proj.weight"].permute(0, 2, 3, 1).double()  # (row, column, colour)
    bias = t["patch_embed.proj.bias"].double() + (weight * ((128 / 255 - mean) / std)).sum(
        (1, 2, 3)
    )
    position = t["pos_embed"][0].double()
    position = position + torch.cat(
        [t["cls_token"][0].double(), bias.expand(len(position) - 1, -1)]
    )
    return (weight / (255 * std)).flatten(1).float(), position.float()


def fold_norm(weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor) -> Affine:
    """W (gamma * z + beta) + b = (W gamma) z + (W beta + b)."""
    return Affine(
        (weight.double() * gamma).float(), (weight.double() @ beta.double() + bias).float()
    )


def fold(checkpoint: Checkpoint) -> Folded:
    """The checkpoint's network with everything folded."""
    t = checkpoint.tensors
    patch, position = fold_patch(checkpoint)
    blocks = []
    for i in range(checkpoint.depth):
        b = f"blocks.{i}."

        def matrix(name: str, norm: str, b: str = b) -> Affine:
            return fold_norm(
                t[f"{b}{name}.weight"],
                t[f"{b}{name}.bias"],
                t[f"{b}{norm}.weight"],
                t[f"{b}{norm}.bias"],
            )

        def scaled(name: str, scale: str, b: str = b) -> Affine:
            gamma = t.get(f"{b}{scale}.gamma", torch.ones(checkpoint.width))
            return Affine(t[f"{b}{name}.weight"] * gamma[:, None], t[f"{b}{name}.bias"] * gamma)

        blocks.append(
            FoldedBlock(
                matrix("attn.qkv", "norm1"),
                scaled("attn.proj", "ls1"),
                matrix("mlp.fc1", "norm2"),
                scaled("mlp.fc2", "ls2"),
            )
        )
    head = fold_norm(t["head.weight"], t["head.bias"], t["norm.weight"], t["norm.bias"])
    return Folded(patch, position, blocks, head)
