"""Which overlays take a model, before it is made or compiled: room on the chip is all that counts.

The compiler's own layout decides, so that what is said here is what compiling says later. It takes
milliseconds, for a model in memory or for a mere `Geometry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quasar_runtime.compiler.layout import plan
from quasar_runtime.errors import CompileError, OverlayError
from quasar_runtime.images.preprocessing import Preprocessing
from quasar_runtime.isa.interface import HEAD_DIM, PATCH, PATCH_CHANNELS
from quasar_runtime.isa.overlay import Overlay, load_overlay, overlay_names
from quasar_runtime.model.network import Attention, Block, Linear, Model, Norm


@dataclass(frozen=True)
class Geometry:
    """A network's dimensions: what decides whether an overlay has room for it.

    image_size  pixels of the square's side, a multiple of 16
    width       channels of the residual stream
    heads, mlp  heads, and hidden channels, of every block
    classes     of the classifier
    """

    image_size: int
    width: int
    heads: tuple[int, ...]
    mlp: tuple[int, ...]
    classes: int


def overlays_that_take(model: Model | Geometry) -> list[str]:
    """Names of the overlays that have room for a model, smallest array first.

    OverlayError when no overlay can be read.
    """
    return [name for name in overlay_names() if misfit(model, load_overlay(name)) is None]


def misfit(model: Model | Geometry, overlay: Overlay) -> str | None:
    """Why an overlay has no room for a model: what is needed and what it has; None when it fits."""
    try:
        plan(model if isinstance(model, Model) else _hollow(model), overlay)
    except CompileError as e:
        return str(e)
    return None


def advice(model: Model | Geometry, overlay: Overlay) -> str:
    """What to do about a model that does not fit `overlay`: the overlay to take, or that there is
    none.
    """
    try:
        others = [name for name in overlays_that_take(model) if name != overlay.name]
    except OverlayError:
        others = []
    if others:
        return f"--overlay {others[0]} takes it"
    return "no other overlay takes it; use a smaller model, picture or number of classes"


def _hollow(geometry: Geometry) -> Model:
    """A model of that geometry whose arrays take no memory; for the layout alone."""
    g = geometry
    tokens = (g.image_size // PATCH) ** 2 + 1

    def linear(rows: int, inputs: int) -> Linear:
        weights = _zeros(np.int8, rows, inputs)
        bits, bias = _zeros(np.uint8, rows), _zeros(np.int32, rows)
        return Linear(weights, bits, bias, _zeros(np.uint16, rows), bits)

    norm = Norm(_zeros(np.uint16, g.width), 1, 1)

    def block(heads: int, mlp: int) -> Block:
        shifts, multipliers = _zeros(np.uint8, heads), _zeros(np.uint16, heads)
        channels = heads * HEAD_DIM
        return Block(
            norm,
            linear(3 * channels, g.width),
            Attention(multipliers, shifts, multipliers, shifts),
            linear(g.width, channels),
            norm,
            linear(mlp, g.width),
            _zeros(np.int8, 256),
            linear(g.width, mlp),
        )

    return Model(
        name="geometry",
        preprocessing=Preprocessing(g.image_size, g.image_size),
        position=_zeros(np.int16, tokens, g.width),
        patch=linear(g.width, PATCH_CHANNELS),
        blocks=[block(heads, mlp) for heads, mlp in zip(g.heads, g.mlp, strict=True)],
        norm=norm,
        head=linear(g.classes, g.width),
        head_scale=_zeros(np.float32, g.classes),
        labels=[],
    )


def _zeros(kind: npt.DTypeLike, *shape: int) -> Any:
    """Zeros of any shape in the memory of one."""
    return np.broadcast_to(np.zeros((), kind), shape)
