"""Models with random weights, for tests and speed measurements."""

from __future__ import annotations

import numpy as np

from quasar_runtime.images.preprocessing import Preprocessing
from quasar_runtime.isa.interface import HEAD_DIM, PATCH, PATCH_CHANNELS
from quasar_runtime.model.network import Attention, Block, Linear, Model, Norm


def random_model(
    seed: int,
    *,
    image_size: int = 32,
    width: int = 64,
    heads: list[int] | None = None,
    mlp: list[int] | None = None,
    share8: float | None = None,
    classes: int = 10,
    name: str = "synthetic",
) -> Model:
    """A model with synthetic weights of any legal geometry, for tests and speed measurements.

    heads and mlp hold one entry a block. share8 is the share of 8-bit rows in each matrix, or None
    for a different random share in each. Scales are chosen so that values spread over their ranges.
    """
    rng = np.random.default_rng(seed)
    heads, mlp = heads or [1, 2], mlp or [64, 96]
    tokens = (image_size // PATCH) ** 2 + 1

    def linear(rows: int, inputs: int, spread: float, only8: bool = False) -> Linear:
        share = 1.0 if only8 else rng.uniform() if share8 is None else share8
        bits = np.full(rows, 4, np.uint8)
        bits[rng.permutation(rows)[: round(share * rows)]] = 8
        limit = np.where(bits == 8, 119, 7)[:, None]
        weights = rng.integers(-limit, limit + 1, (rows, inputs)).astype(np.int8)
        # A row's accumulator has deviation of about 40 * limit / sqrt(3) * sqrt(inputs).
        real = spread / (40 * limit[:, 0] / np.sqrt(3) * np.sqrt(inputs))
        shift = np.clip(np.floor(np.log2(2.0**15 / real) - 1e-9), 0, 40).astype(np.uint8)
        multiplier = np.minimum(np.round(real * 2.0**shift), 2**15 - 1).astype(np.uint16)
        bias = rng.integers(-2000, 2001, rows).astype(np.int32)
        return Linear(weights, bits, bias, multiplier, shift)

    def norm() -> Norm:
        return Norm(rng.integers(8000, 2**15, width).astype(np.uint16), 21, 2000)

    blocks = []
    for h, hidden in zip(heads, mlp, strict=True):
        attention = Attention(
            rng.integers(2**14, 2**15, h).astype(np.uint16),
            np.full(h, 22, np.uint8),
            rng.integers(2**14, 2**15, h).astype(np.uint16),
            np.full(h, 21, np.uint8),
        )
        gelu = np.clip(rng.integers(-127, 128, 256), -127, 127).astype(np.int8)
        blocks.append(
            Block(
                norm(),
                linear(3 * h * HEAD_DIM, width, 40),
                attention,
                linear(width, h * HEAD_DIM, 400),
                norm(),
                linear(hidden, width, 40),
                gelu,
                linear(width, hidden, 400),
            )
        )
    head = linear(classes, width, 40, only8=True)
    head.multiplier[:], head.shift[:] = 1, 0
    return Model(
        name=name,
        preprocessing=Preprocessing(resize=image_size, crop=image_size),
        position=rng.integers(-800, 801, (tokens, width)).astype(np.int16),
        patch=linear(width, PATCH_CHANNELS, 400, only8=True),
        blocks=blocks,
        norm=norm(),
        head=head,
        head_scale=rng.uniform(1e-5, 2e-5, classes).astype(np.float32),
        labels=[(f"n{i:08d}", f"class {i}") for i in range(classes)],
        provenance={"weights": "synthetic, random"},
    )
