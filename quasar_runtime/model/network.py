"""A quantised vision transformer in memory: what a model file holds, and nothing else.

`quasar_runtime.model.file` reads and writes it, `quasar_runtime.model.validate` proves its ranges,
`quasar_runtime.compiler.compile` turns it into a program. The network is the one of
docs/architecture.md: patch embedding, `depth` pre-norm blocks, a final LayerNorm and the classifier
on CLS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quasar_runtime.isa.interface import HEAD_DIM, PATCH, PATCH_CHANNELS


@dataclass(eq=False)
class Linear:
    """A weight matrix whose rows are 8-bit or 4-bit, with each row's requantisation.

    weights     int8   (rows, inputs)  in [-119, 119] where bits is 8, in [-7, 7] where it is 4
    bits        uint8  (rows,)         8 or 4
    bias        int32  (rows,)         added to the accumulator
    multiplier  uint16 (rows,)         m, below 2^15; 1 for the classifier, whose accumulators leave
    shift       uint8  (rows,)         n, at most 40; 0 for the classifier
    """

    weights: npt.NDArray[np.int8]
    bits: npt.NDArray[np.uint8]
    bias: npt.NDArray[np.int32]
    multiplier: npt.NDArray[np.uint16]
    shift: npt.NDArray[np.uint8]

    @property
    def rows(self) -> int:
        return int(self.weights.shape[0])

    @property
    def inputs(self) -> int:
        return int(self.weights.shape[1])

    @property
    def rows8(self) -> int:
        """How many rows are 8-bit."""
        return int(np.count_nonzero(self.bits == 8))


@dataclass(eq=False)
class Norm:
    """LayerNorm: gain uint16 (width,) below 2^15, shift n in [1, 40], epsilon in [1, 2^32)."""

    gain: npt.NDArray[np.uint16]
    shift: int
    epsilon: int


@dataclass(eq=False)
class Attention:
    """Requantisations of each head, all (heads,).

    score_multiplier uint16, score_shift uint8 (at most 23): score difference to EXP's index
    out_multiplier uint16, out_shift uint8 (at most 40): weighted mean (8 fraction bits) to int8
    """

    score_multiplier: npt.NDArray[np.uint16]
    score_shift: npt.NDArray[np.uint8]
    out_multiplier: npt.NDArray[np.uint16]
    out_shift: npt.NDArray[np.uint8]


@dataclass(eq=False)
class Block:
    """A transformer block.

    qkv's rows are (q of all heads, k of all heads, v of all heads), 64 a head; its results are
    clamped to [-119, 119]. gelu is int8 (256,), indexed by fc1's result + 128, its values in
    [-127, 127].
    """

    norm1: Norm
    qkv: Linear
    attention: Attention
    proj: Linear
    norm2: Norm
    fc1: Linear
    gelu: npt.NDArray[np.int8]
    fc2: Linear

    @property
    def heads(self) -> int:
        return self.qkv.rows // (3 * HEAD_DIM)

    @property
    def mlp(self) -> int:
        return self.fc1.rows


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the square of raw RGB bytes: resize its short side, crop the centre.

    resize      pixels of the short side after the resize
    crop        side of the square: the model's image size
    resampling  'bicubic' or 'bilinear', with antialiasing, as Pillow does it
    """

    resize: int
    crop: int
    resampling: str = "bicubic"


@dataclass(eq=False)
class Model:
    """A whole model. position is int16 (tokens, width): row 0 the CLS token with its position, the
    others the patch positions with the patch embedding's bias; head_scale float32 (classes,) turns
    the classifier's int32 into a logit; labels are (wnid, name), one a class.
    """

    name: str
    preprocessing: Preprocessing
    position: npt.NDArray[np.int16]
    patch: Linear
    blocks: list[Block]
    norm: Norm
    head: Linear
    head_scale: npt.NDArray[np.float32]
    labels: list[tuple[str, str]]
    provenance: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)

    @property
    def image_size(self) -> int:
        return self.preprocessing.crop

    @property
    def tokens(self) -> int:
        return (self.image_size // PATCH) ** 2 + 1

    @property
    def width(self) -> int:
        return int(self.position.shape[1])

    @property
    def depth(self) -> int:
        return len(self.blocks)

    @property
    def classes(self) -> int:
        return self.head.rows

    def __repr__(self) -> str:
        weights = sum(m.weights.size for m in self.linears().values())
        return f"Model({self.name!r}, {self.depth} blocks, width {self.width}, {weights:,} weights)"

    def _repr_html_(self) -> str:
        from quasar_runtime.html import model_html

        return model_html(self)

    def linears(self) -> dict[str, Linear]:
        """Every weight matrix by name, in the order in which it runs."""
        named = {"patch": self.patch}
        for i, block in enumerate(self.blocks):
            for part in ("qkv", "proj", "fc1", "fc2"):
                named[f"blocks.{i}.{part}"] = getattr(block, part)
        named["head"] = self.head
        return named

    def norms(self) -> dict[str, Norm]:
        """Every LayerNorm by name, in the order in which it runs."""
        named = {}
        for i, block in enumerate(self.blocks):
            named[f"blocks.{i}.norm1"] = block.norm1
            named[f"blocks.{i}.norm2"] = block.norm2
        named["norm"] = self.norm
        return named


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
