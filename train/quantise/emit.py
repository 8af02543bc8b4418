"""Emit the quantised network as a `quasar_runtime` model: real factors become integers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from torch import Tensor

from quasar_runtime.errors import ModelValueError
from quasar_runtime.images.preprocessing import Preprocessing
from quasar_runtime.isa.arithmetic import (
    ACTIVATION_MAX,
    MEAN_FRACTION,
    MULTIPLIER_MAX,
    RESIDUAL_MAX,
    RESIDUAL_MIN,
    SCORE_SHIFT_MAX,
    SHIFT_MAX,
)
from quasar_runtime.isa.interface import HEAD_DIM
from quasar_runtime.isa.tables import EXP_STEP
from quasar_runtime.model.network import Attention, Block, Linear, Model, Norm

from ..data.labels import Labels
from ..networks.quantised import (
    QuantBlock,
    QuantisedNetwork,
    QuantLinear,
    gelu_table,
    integer_gain,
    norm_epsilon,
)

Reals = npt.NDArray[np.float64]


def array(t: Tensor) -> Reals:
    """A tensor as a float64 array."""
    return t.detach().double().numpy()


def requantisation(
    factor: Reals, name: str, shift_max: int = SHIFT_MAX
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
    """factor ~ m * 2^-n with m in [2^14, 2^15), or less where n would exceed shift_max.

    ModelValueError when a factor is not finite, not positive, or 2^15 and more.
    """
    bad = ~(np.isfinite(factor) & (factor > 0) & (factor < MULTIPLIER_MAX))
    if bad.any():
        raise ModelValueError(
            f"{name}: a requantisation factor is {factor[bad][0]:g}, allowed are 0 to "
            f"{MULTIPLIER_MAX}; calibrate on more or other images"
        )
    shift = np.clip(14 - np.floor(np.log2(factor)), 0, shift_max)
    m = np.round(factor * 2.0**shift)
    over = (m > MULTIPLIER_MAX) & (shift > 0)
    shift = shift - over
    m = np.minimum(np.round(factor * 2.0**shift), MULTIPLIER_MAX)
    return m.astype(np.uint16), shift.astype(np.uint8)


def emit_linear(
    layer: QuantLinear, out_step: Tensor | float, name: str, offset: float = 0.0
) -> Linear:
    """A matrix whose result i means i * out_step + offset; out_step: one, or (rows,).

    ModelValueError when a bias or a factor does not fit its field.
    """
    step = array(layer.step)
    factor, negative = np.abs(step), step < 0
    weights = array(layer.integers())
    weights[negative] *= -1
    bias = np.round((array(layer.bias) - offset) / factor - layer.zero * weights.sum(1))
    room = 2**31 - 1 - ACTIVATION_MAX * np.abs(weights).sum(1)
    if (np.abs(bias) > room).any():
        worst = int(np.argmax(np.abs(bias) - room))
        raise ModelValueError(
            f"{name}: row {worst}'s bias is {bias[worst]:.0f} units of its accumulator, allowed up "
            f"to {room[worst]:.0f}; the row's weights are almost zero"
        )
    unit = array(out_step) if isinstance(out_step, Tensor) else out_step
    multiplier, shift = requantisation(factor / unit, name)
    return Linear(
        weights.astype(np.int8),
        layer.bits.numpy().astype(np.uint8),
        bias.astype(np.int32),
        multiplier,
        shift,
    )


def emit_norm(channel_step: Tensor, residual_step: float, name: str) -> Norm:
    """LayerNorm's integers; epsilon in units of D^2 times the residual's square.

    ModelValueError when the channels' gains span more than 15 bits.
    """
    gain, shift = integer_gain(channel_step)
    if shift < 1 or gain.min() < 1:
        raise ModelValueError(
            f"{name}: the channels' steps span {channel_step.min():g} to {channel_step.max():g}, "
            "more than a gain of 15 bits holds; even the channels less"
        )
    epsilon = norm_epsilon(residual_step, gain.numel())
    return Norm(gain.numpy().astype(np.uint16), shift, epsilon)


def emit_attention(block: QuantBlock, name: str) -> Attention:
    """Attention's integers: scores in steps of EXP, results with a gain per head."""
    q, k, v = array(block.qkv_step).reshape(3, block.heads, HEAD_DIM)
    mixed = array(block.mixed_step).reshape(block.heads, HEAD_DIM)
    score = requantisation(
        (q * k).mean(1) / math.sqrt(HEAD_DIM) / EXP_STEP, f"{name}.score", SCORE_SHIFT_MAX
    )
    out = requantisation((v / mixed).mean(1) / 2.0**MEAN_FRACTION, f"{name}.out")
    return Attention(*score, *out)


def emit_block(block: QuantBlock, residual_step: float, name: str) -> Block:
    """A block's integers. ModelValueError when one does not fit its field."""
    return Block(
        norm1=emit_norm(block.norm1, residual_step, f"{name}.norm1"),
        qkv=emit_linear(block.qkv, block.qkv_step, f"{name}.qkv"),
        attention=emit_attention(block, name),
        proj=emit_linear(block.proj, residual_step, f"{name}.proj"),
        norm2=emit_norm(block.norm2, residual_step, f"{name}.norm2"),
        fc1=emit_linear(block.fc1, block.hidden_step, f"{name}.fc1", block.hidden_offset),
        gelu=gelu_table(block)[0].numpy().astype(np.int8),
        fc2=emit_linear(block.fc2, residual_step, f"{name}.fc2"),
    )


def emit(
    network: QuantisedNetwork,
    name: str,
    preprocessing: Preprocessing,
    labels: Labels,
) -> Model:
    """The integer model. ModelValueError when a factor does not fit its field."""
    step = network.residual_step
    patch = emit_linear(network.patch, step, "patch")
    patch.bias[:] = 0
    position = network.position + network.patch.bias
    head = emit_linear(network.head, 1.0, "head")
    scale = np.abs(array(network.head.step))
    head.multiplier[:], head.shift[:] = 1, 0
    return Model(
        name=name,
        preprocessing=preprocessing,
        position=np.clip(np.round(array(position) / step), RESIDUAL_MIN, RESIDUAL_MAX).astype(
            np.int16
        ),
        patch=patch,
        blocks=[emit_block(block, step, f"blocks.{i}") for i, block in enumerate(network.blocks)],
        norm=emit_norm(network.norm, step, "norm"),
        head=head,
        head_scale=scale.astype(np.float32),
        labels=labels,
    )
