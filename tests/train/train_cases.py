"""Small supernets, and the integer arithmetic of a model layer by layer."""

from __future__ import annotations

from copy import deepcopy
from functools import cache

import numpy as np
import numpy.typing as npt
import torch

from quasar_runtime.isa import arithmetic as ar
from quasar_runtime.model.network import Linear, Model
from tests.train.export_cases import CLASSES, SIZE, random_checkpoint, random_images
from train.spaces.space import BlockConfig, Space, Subnet
from train.training.initial import InitialState, initial_state

SPACE = Space.parse(
    "small",
    {
        "image_size": SIZE,
        "classes": CLASSES,
        "widths": [32, 64],
        "depths": [2, 3],
        "heads": [1, 2],
        "mlp": [64, 96],
        "shares": [0, 0.5, 1],
    },
)
MIXED = Subnet(64, (BlockConfig(2, 96, 0.5, 0, 1, 0.5), BlockConfig(1, 64, 0, 0.5, 0.5, 1)))
"""A subnet of SPACE with every kind of choice in it."""


@cache
def _begun() -> InitialState:
    checkpoint = random_checkpoint(0, depth=3, heads=2)
    return initial_state(checkpoint, SPACE, random_images(24, seed=1), 0)


def small_start() -> InitialState:
    """A supernet of SPACE from a random checkpoint; a copy, free to be trained."""
    begun = _begun()
    return InitialState(deepcopy(begun.supernet), begun.teacher)


def result(a: npt.NDArray[np.int64], linear: Linear, limit: int) -> npt.NDArray[np.int64]:
    """A matrix's requantised result."""
    acc = ar.matmul(a, linear.weights) + linear.bias
    return ar.requantise(acc, linear.multiplier, linear.shift, limit)


def integer_activations(
    model: Model, image: npt.NDArray[np.uint8]
) -> dict[str, npt.NDArray[np.int64]]:
    """The inputs of every matrix, and 'logits' (accumulators), in the normative arithmetic."""
    seen = {}
    a = ar.patches(image)
    acc = ar.matmul(a, model.patch.weights) + model.patch.bias
    x = ar.add_residual(
        model.position.astype(np.int64), acc, model.patch.multiplier, model.patch.shift
    )
    for i, b in enumerate(model.blocks):
        count = 1 if i == model.depth - 1 else len(x)
        z = ar.layernorm(x, b.norm1.gain.astype(np.int64), b.norm1.shift, b.norm1.epsilon)
        seen[f"blocks.{i}.qkv"] = z
        q, k, v = result(z, b.qkv, ar.WEIGHT8_MAX).reshape(len(z), 3, b.heads, 64).swapaxes(0, 1)
        at = b.attention
        mixed = np.concatenate(
            [
                ar.attention_head(
                    q[:count, h],
                    k[:, h],
                    v[:, h],
                    (int(at.score_multiplier[h]), int(at.score_shift[h])),
                    (int(at.out_multiplier[h]), int(at.out_shift[h])),
                )
                for h in range(b.heads)
            ],
            1,
        )
        seen[f"blocks.{i}.proj"] = mixed
        x = add(x[:count], mixed, b.proj)
        z = ar.layernorm(x, b.norm2.gain.astype(np.int64), b.norm2.shift, b.norm2.epsilon)
        seen[f"blocks.{i}.fc1"] = z
        g = ar.lookup(result(z, b.fc1, ar.ACTIVATION_MAX), b.gelu.astype(np.int64))
        seen[f"blocks.{i}.fc2"] = g
        x = add(x, g, b.fc2)
    z = ar.layernorm(x, model.norm.gain.astype(np.int64), model.norm.shift, model.norm.epsilon)
    seen["head"] = z[:1]
    seen["logits"] = ar.matmul(z[:1], model.head.weights) + model.head.bias
    return seen


def add(
    x: npt.NDArray[np.int64], a: npt.NDArray[np.int64], linear: Linear
) -> npt.NDArray[np.int64]:
    """The residual after a matrix has written to it."""
    acc = ar.matmul(a, linear.weights) + linear.bias
    return ar.add_residual(x, acc, linear.multiplier, linear.shift)


def generator(seed: int) -> torch.Generator:
    """A seeded source of random numbers."""
    return torch.Generator().manual_seed(seed)
