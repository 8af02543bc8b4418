"""A quantised vision transformer in memory: what a model file holds, and nothing else.

`quasar_runtime.model.file` reads and writes it, `quasar_runtime.model.validate` proves its ranges,
`quasar_runtime.compiler.compile` turns it into a program. The network is the one of
docs/architecture.md: patch embedding, `depth` pre-norm blocks, a final LayerNorm and the classifier
on CLS.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from quasar_runtime.html import BLUE, ORANGE, box, dim, escape, swatch, table
from quasar_runtime.images.preprocessing import Preprocessing
from quasar_runtime.isa.interface import HEAD_DIM, PATCH

PRECISION = {8: ORANGE, 4: BLUE}
"""Colour of an 8-bit and of a 4-bit row."""


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
        """Output channels."""
        return int(self.weights.shape[0])

    @property
    def inputs(self) -> int:
        """Input channels."""
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

    qkv's rows are (q of all heads, k of all heads, v of all heads), 64 per head; its results are
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
        """Attention heads of 64 channels."""
        return self.qkv.rows // (3 * HEAD_DIM)

    @property
    def mlp(self) -> int:
        """Hidden channels of the MLP."""
        return self.fc1.rows


@dataclass(eq=False)
class Model:
    """A whole model. position is int16 (tokens, width): row 0 the CLS token with its position, the
    others the patch positions with the patch embedding's bias; head_scale float32 (classes,) turns
    the classifier's int32 into a logit; labels are (wnid, name), one per class.
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
        """Pixels of the square's side."""
        return self.preprocessing.crop

    @property
    def tokens(self) -> int:
        """Patches and CLS."""
        return (self.image_size // PATCH) ** 2 + 1

    @property
    def width(self) -> int:
        """Channels of the residual stream."""
        return int(self.position.shape[1])

    @property
    def depth(self) -> int:
        """Blocks."""
        return len(self.blocks)

    @property
    def classes(self) -> int:
        """Classes of the classifier."""
        return self.head.rows

    def __repr__(self) -> str:
        weights = sum(m.weights.size for m in self.linears().values())
        return f"Model({self.name!r}, {self.depth} blocks, width {self.width}, {weights:,} weights)"

    def _repr_html_(self) -> str:
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


def model_html(model: Model) -> str:
    """Geometry, origin, and the precision of every weight row."""
    matrices = model.linears()
    weights = sum(m.weights.size for m in matrices.values())
    blocks = [m for name, m in matrices.items() if name.startswith("blocks.")]
    rows8 = sum(m.rows8 for m in blocks) / max(sum(m.rows for m in blocks), 1)
    facts = [
        ("image", f"{model.image_size} x {model.image_size}, {model.tokens} tokens"),
        ("network", f"{model.depth} blocks, {model.width} channels, {_spread(model)}"),
        ("weights", f"{weights:,}, {rows8:.0%} of the blocks' rows 8-bit"),
        ("classes", f"{model.classes:,}"),
        *_origin(model).items(),
    ]
    rows = table([(dim(name), escape(text)) for name, text in facts], "ll")
    return box(f"<b>{escape(model.name)}</b>{rows}{precision_svg(matrices)}")


def precision_svg(matrices: dict[str, Linear]) -> str:
    """An SVG picture: a column a matrix, as wide as it has weights, its 8-bit rows at the foot.

    The coloured areas are therefore the shares of the weights that are 8-bit and 4-bit.
    """
    total = sum(m.weights.size for m in matrices.values())
    width, height, at = 640.0, 80.0, 0.0
    parts = []
    for name, m in matrices.items():
        w = width * m.weights.size / max(total, 1)
        top = height * (1 - m.rows8 / max(m.rows, 1))
        title = f"<title>{escape(name)}: {m.rows8} of {m.rows} rows 8-bit</title>"
        for y, h, bits in ((0.0, top, 4), (top, height - top, 8)):
            if h > 0:
                parts.append(
                    f'<rect x="{at:.2f}" y="{y:.2f}" width="{max(w - 0.6, 0.3):.2f}" '
                    f'height="{h:.2f}" fill="{PRECISION[bits]}">{title}</rect>'
                )
        at += w
    legend = f"{swatch(PRECISION[8])}8-bit rows {swatch(PRECISION[4])}4-bit rows, a column a matrix"
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" style="width:100%;max-width:640px" '
        f'role="img" aria-label="precision of the rows">{"".join(parts)}</svg>'
        f"<div>{legend}</div>"
    )


def _spread(model: Model) -> str:
    """Heads and MLP widths: one number where all blocks agree, else the range."""

    def span(values: Iterable[int]) -> str:
        found = sorted(set(values))
        return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"

    heads, mlp = (b.heads for b in model.blocks), (b.mlp for b in model.blocks)
    return f"{span(heads)} heads, MLP {span(mlp)}"


def _origin(model: Model) -> dict[str, str]:
    """Teacher and measured accuracy, where the file tells them."""
    found, accuracy = {}, model.provenance.get("accuracy")
    if isinstance(model.provenance.get("teacher"), str):
        found["from"] = model.provenance["teacher"]
    if isinstance(accuracy, dict) and isinstance(accuracy.get("top1"), (int, float)):
        found["top-1"] = f"{accuracy['top1']:.1f} % on {accuracy.get('dataset', 'unnamed images')}"
    return found
