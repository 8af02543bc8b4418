"""The quantised network as a `quasar_runtime.model.Model`: real factors become integers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from quasar_runtime.arithmetic import (
    ACTIVATION_MAX,
    MEAN_FRACTION,
    MULTIPLIER_MAX,
    NORM_FRACTION,
    RESIDUAL_MAX,
    RESIDUAL_MIN,
    SCORE_SHIFT_MAX,
    SHIFT_MAX,
)
from quasar_runtime.errors import ModelValueError
from quasar_runtime.interface import HEAD_DIM
from quasar_runtime.model import Attention, Block, Linear, Model, Norm, Preprocessing
from quasar_runtime.tables import EXP_STEP
from train.checkpoint import EPSILON
from train.network import QuantBlock, QuantisedNetwork, QuantLinear

Reals = npt.NDArray[np.float64]


def array(t: Tensor) -> Reals:
    """A tensor as float64."""
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
    """A matrix whose result i means i * out_step + offset (out_step: one, or one a row)."""
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
    """gain / 2^shift = 1 / (2^12 * channel_step), the largest gain just below 2^15; epsilon in
    units of D^2 times the residual's square."""
    factor = 1 / (2.0**NORM_FRACTION * array(channel_step))
    shift = min(SHIFT_MAX, math.floor(math.log2(MULTIPLIER_MAX / factor.max())))
    gain = np.round(factor * 2.0**shift)
    if shift < 1 or gain.min() < 1:
        raise ModelValueError(
            f"{name}: the channels' gains span {factor.min():g} to {factor.max():g}, more than 15 "
            "bits hold; even the channels less"
        )
    epsilon = EPSILON * (factor.size / residual_step) ** 2
    return Norm(gain.astype(np.uint16), shift, int(np.clip(np.round(epsilon), 1, 2**32 - 1)))


def emit_attention(block: QuantBlock, name: str) -> Attention:
    """Scores: q_step * k_step / 8 nats a unit to steps of EXP. Results: a head's gain."""
    q, k, v = array(block.qkv_step).reshape(3, block.heads, HEAD_DIM)
    mixed = array(block.mixed_step).reshape(block.heads, HEAD_DIM)
    score = requantisation(
        (q * k).mean(1) / math.sqrt(HEAD_DIM) / EXP_STEP, f"{name}.score", SCORE_SHIFT_MAX
    )
    out = requantisation((v / mixed).mean(1) / 2.0**MEAN_FRACTION, f"{name}.out")
    return Attention(*score, *out)


def gelu_table(block: QuantBlock) -> npt.NDArray[np.int8]:
    """table[i + 128] = GELU's integer result for fc1's integer result i."""
    h = torch.arange(-128, 128, dtype=torch.float64) * block.hidden_step + block.hidden_offset
    g = torch.round(F.gelu(h) / block.gelu_step + block.gelu_zero)
    return g.clamp(-ACTIVATION_MAX, ACTIVATION_MAX).numpy().astype(np.int8)


def emit_block(block: QuantBlock, residual_step: float, name: str) -> Block:
    """A block's integers."""
    return Block(
        norm1=emit_norm(block.norm1, residual_step, f"{name}.norm1"),
        qkv=emit_linear(block.qkv, block.qkv_step, f"{name}.qkv"),
        attention=emit_attention(block, name),
        proj=emit_linear(block.proj, residual_step, f"{name}.proj"),
        norm2=emit_norm(block.norm2, residual_step, f"{name}.norm2"),
        fc1=emit_linear(block.fc1, block.hidden_step, f"{name}.fc1", block.hidden_offset),
        gelu=gelu_table(block),
        fc2=emit_linear(block.fc2, residual_step, f"{name}.fc2"),
    )


def emit(
    network: QuantisedNetwork,
    name: str,
    preprocessing: Preprocessing,
    labels: list[tuple[str, str]],
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
