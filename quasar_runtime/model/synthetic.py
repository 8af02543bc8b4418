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

    heads and mlp hold one entry per block. share8 is the share of 8-bit rows in each matrix, or
    None for a different random share in each. Scales are chosen so that values spread over
    their ranges.
    """
    rng = np.random.default_rng(seed)
    heads, mlp = heads or [1, 2], mlp or [64, 96]
    tokens = (image_size // PATCH) ** 2 + 1
    blocks = [_block(rng, width, h, m, share8) for h, m in zip(heads, mlp, strict=True)]
    head = _linear(rng, classes, width, 40, 1.0)
    head.multiplier[:], head.shift[:] = 1, 0
    return Model(
        name=name,
        preprocessing=Preprocessing(resize=image_size, crop=image_size),
        position=rng.integers(-800, 801, (tokens, width)).astype(np.int16),
        patch=_linear(rng, width, PATCH_CHANNELS, 400, 1.0),
        blocks=blocks,
        norm=_norm(rng, width),
        head=head,
        head_scale=rng.uniform(1e-5, 2e-5, classes).astype(np.float32),
        labels=[(f"n{i:08d}", f"class {i}") for i in range(classes)],
        provenance={"weights": "synthetic, random"},
    )


def _block(
    rng: np.random.Generator, width: int, heads: int, hidden: int, share8: float | None
) -> Block:
    # The draws' order is part of what a seed means.
    attention = Attention(
        rng.integers(2**14, 2**15, heads).astype(np.uint16),
        np.full(heads, 22, np.uint8),
        rng.integers(2**14, 2**15, heads).astype(np.uint16),
        np.full(heads, 21, np.uint8),
    )
    gelu = np.clip(rng.integers(-127, 128, 256), -127, 127).astype(np.int8)
    return Block(
        _norm(rng, width),
        _linear(rng, 3 * heads * HEAD_DIM, width, 40, share8),
        attention,
        _linear(rng, width, heads * HEAD_DIM, 400, share8),
        _norm(rng, width),
        _linear(rng, hidden, width, 40, share8),
        gelu,
        _linear(rng, width, hidden, 400, share8),
    )


def _linear(
    rng: np.random.Generator, rows: int, inputs: int, spread: float, share8: float | None
) -> Linear:
    """A linear layer whose outputs have a standard deviation of about `spread`."""
    share = rng.uniform() if share8 is None else share8
    bits = np.full(rows, 4, np.uint8)
    bits[rng.permutation(rows)[: round(share * rows)]] = 8
    limit = np.where(bits == 8, 119, 7)[:, None]
    weights = rng.integers(-limit, limit + 1, (rows, inputs)).astype(np.int8)
    # A row's accumulator has a standard deviation of about 40 * limit / sqrt(3) * sqrt(inputs).
    real = spread / (40 * limit[:, 0] / np.sqrt(3) * np.sqrt(inputs))
    shift = np.clip(np.floor(np.log2(2.0**15 / real) - 1e-9), 0, 40).astype(np.uint8)
    multiplier = np.minimum(np.round(real * 2.0**shift), 2**15 - 1).astype(np.uint16)
    bias = rng.integers(-2000, 2001, rows).astype(np.int32)
    return Linear(weights, bits, bias, multiplier, shift)


def _norm(rng: np.random.Generator, width: int) -> Norm:
    return Norm(rng.integers(8000, 2**15, width).astype(np.uint16), 21, 2000)
