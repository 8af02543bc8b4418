"""The quantised network: calibration and rounding work on it, and it becomes a model file.

It computes what the integer program does (train/networks/integer.py) with a real residual: the
residual is in real units, always on the grid of the int16 stream.
"""

from __future__ import annotations

import math
from collections.abc import MutableSequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quasar_runtime.isa.arithmetic import (
    ACTIVATION_MAX,
    MEAN_FRACTION,
    MULTIPLIER_MAX,
    NORM_FRACTION,
    SCORE_SHIFT_MAX,
    SHIFT_MAX,
    WEIGHT4_MAX,
    WEIGHT8_MAX,
)
from quasar_runtime.isa.interface import HEAD_DIM
from quasar_runtime.isa.tables import EXP_STEP

from . import integer
from .checkpoint import EPSILON
from .folded import Affine
from .integer import AttentionTensors, Matrix, MlpTensors, Observer, no_observer


def multiplier(factor: Tensor, shift_max: int = SHIFT_MAX) -> Tensor:
    """The nearest m * 2^-n with m of 15 bits and n up to shift_max; gradients pass through."""
    exponent = torch.frexp(factor.detach()).exponent
    scale = torch.exp2((15 - exponent).clamp(0, shift_max).to(factor.dtype))
    m = (factor.detach() * scale).round()  # 2^15 stands for 2^14 with one shift less
    m = torch.where(scale > 1, m, m.clamp(max=MULTIPLIER_MAX))
    return factor + (m / scale - factor).detach()


def integer_gain(step: Tensor) -> tuple[Tensor, int]:
    """LayerNorm's (gain, shift) for an output whose unit is `step` (width,) in real value.

    gain / 2^shift = 1 / (2^12 * step), with the largest gain just below 2^15.
    """
    factor = 1 / (2.0**NORM_FRACTION * step.double())
    shift = min(SHIFT_MAX, math.floor(math.log2(MULTIPLIER_MAX / float(factor.max()))))
    return (factor * 2.0**shift).round(), shift


def norm_gain(step: Tensor) -> Tensor:
    """The gain (width,) per unit of the normalised residual that the integers give."""
    gain, shift = integer_gain(step)
    return (gain * 2.0 ** (NORM_FRACTION - shift)).float()


def norm_epsilon(residual_step: float, width: int) -> int:
    """LayerNorm's epsilon in units of width^2 times the squared integer residual."""
    return min(2**32 - 1, max(1, round(EPSILON * (width / residual_step) ** 2)))


def matrix(
    weight: Tensor,
    step: Tensor,
    bias: Tensor,
    unit: Tensor | float,
    offset: float = 0.0,
    zero: int = 0,
) -> Matrix:
    """The matrix of integer weights (rows, inputs) with units `step` (rows,) and a real bias.

    Its result i means i * unit + offset; its input i means (i - zero) units.
    """
    exact = (bias.double() - offset) / step
    rounded = exact + (exact.round() - exact).detach()
    factor = multiplier(step.double() / unit).to(step.dtype)
    return Matrix(weight, rounded.to(step.dtype) - zero * weight.sum(1), factor)


class QuantLinear(nn.Module):
    """y = step * (integers . a - zero point's share) + bias, a integer activations.

    weight  (rows, inputs)  in steps: an integer weight is clamp(round(weight), limit)
    step    (rows,)         real value of integer weight 1 times one unit of activation
    bias    (rows,)         real
    bits    (rows,)         8 or 4
    limit   (rows,)         119 or 7
    zero    the activation integer that means 0
    """

    weight: Tensor
    step: Tensor
    bias: Tensor
    bits: Tensor
    limit: Tensor

    def __init__(self, real: Affine, bits: Tensor, step: Tensor, zero: int = 0) -> None:
        """real: the matrix on integer activations; step (rows,): real value of integer weight 1."""
        super().__init__()
        self.register_buffer("bits", bits.to(torch.uint8))
        limit = torch.where(bits == 8, WEIGHT8_MAX, WEIGHT4_MAX).to(torch.float32)
        self.register_buffer("limit", limit)
        self.register_buffer("weight", real.weight / step[:, None])
        self.register_buffer("step", step.clone())
        self.register_buffer("bias", real.bias.clone())
        self.zero = zero

    def integers(self) -> Tensor:
        """The integer weights, float (rows, inputs)."""
        limit = self.limit[:, None]
        return torch.minimum(torch.maximum(self.weight.round(), -limit), limit)

    def matrix(self, unit: Tensor | float, offset: float = 0.0) -> Matrix:
        """The matrix as the device computes it; its result i means i * unit + offset."""
        return matrix(self.integers(), self.step, self.bias, unit, offset, self.zero)


class QuantBlock(nn.Module):
    """A block: four matrices and the scales of the activations between them.

    norm1, norm2  (width,)              real value of 1 in LayerNorm's output, per channel
    qkv_step      (3 * heads * 64,)     real value of 1 in q, k and v, per channel
    mixed_step    (heads * 64,)         real value of 1 in attention's output
    hidden_step, hidden_offset          fc1's result i means i * step + offset
    gelu_step, gelu_zero                GELU's result g means (g - zero) * step
    """

    norm1: Tensor
    norm2: Tensor
    qkv_step: Tensor
    mixed_step: Tensor

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.hidden_step = self.gelu_step = 1.0
        self.hidden_offset = 0.0
        self.gelu_zero = 0
        self.qkv: QuantLinear
        self.proj: QuantLinear
        self.fc1: QuantLinear
        self.fc2: QuantLinear

    def attention_tensors(self, residual_step: float) -> AttentionTensors:
        """The attention branch's operands."""
        score, mean = attention_factors(self.qkv_step, self.mixed_step)
        return AttentionTensors(
            norm_gain(self.norm1),
            score,
            mean,
            self.qkv.matrix(self.qkv_step),
            self.proj.matrix(residual_step),
        )

    def mlp_tensors(self, residual_step: float) -> MlpTensors:
        """The MLP branch's operands."""
        table, slope = gelu_table(self)
        return MlpTensors(
            norm_gain(self.norm2),
            table.to(torch.int8),
            slope,
            self.fc1.matrix(self.hidden_step, self.hidden_offset),
            self.fc2.matrix(residual_step),
        )


def attention_factors(qkv_step: Tensor, mixed_step: Tensor) -> tuple[Tensor, Tensor]:
    """(score, mean), each (heads, 1, 1): steps of EXP per unit of q . k; result per unit of V."""
    q, k, v = qkv_step.reshape(3, -1, HEAD_DIM).double()
    mixed = mixed_step.reshape(-1, HEAD_DIM).double()
    score = multiplier((q * k).mean(1) / math.sqrt(HEAD_DIM) / EXP_STEP, SCORE_SHIFT_MAX)
    mean = multiplier((v / mixed).mean(1) * 2.0**-MEAN_FRACTION) * 2.0**MEAN_FRACTION
    return score.float()[:, None, None], mean.float()[:, None, None]


def gelu_table(block: QuantBlock) -> tuple[Tensor, Tensor]:
    """(table, slope), each (256,): GELU's integer result and its derivative, by fc1's result + 128.

    The derivative is 0 where either integer is at its limit, as it is for clamps.
    """
    i = torch.arange(-128, 128, dtype=torch.float64)
    h = i * block.hidden_step + block.hidden_offset
    g = torch.round(F.gelu(h) / block.gelu_step + block.gelu_zero)
    g = g.clamp(-ACTIVATION_MAX, ACTIVATION_MAX)
    normal = torch.exp(-0.5 * h * h) / math.sqrt(2 * math.pi)
    derivative = torch.special.ndtr(h) + h * normal
    inside = (i.abs() < ACTIVATION_MAX) & (g < ACTIVATION_MAX)
    slope = derivative * inside * block.hidden_step / block.gelu_step
    return g, slope.float()


class QuantisedNetwork(nn.Module):
    """The quantised network of a whole ViT.

    residual_step  real value of 1 in the residual stream
    position       (tokens, width) real, the residual's start
    norm           (width,) real value of 1 in the final LayerNorm's output, per channel
    """

    position: Tensor
    norm: Tensor

    def __init__(self, position: Tensor, heads: list[int], residual_step: float) -> None:
        super().__init__()
        self.residual_step = residual_step
        self.register_buffer("position", position.clone())
        self.patch: QuantLinear
        blocks = nn.ModuleList(QuantBlock(h) for h in heads)
        self.blocks: MutableSequence[QuantBlock] = blocks  # type: ignore[assignment]
        self.head: QuantLinear

    @property
    def epsilon(self) -> int:
        """LayerNorm's epsilon in integer units: see `norm_epsilon`."""
        return norm_epsilon(self.residual_step, self.position.shape[1])

    def integers(self, x: Tensor) -> Tensor:
        """A real residual as integers of the stream."""
        return (x / self.residual_step).round()

    def embed(self, activations: Tensor) -> Tensor:
        """Patches int8 (N, tokens, 768) -> residual (N, tokens, width)."""
        unit = self.residual_step
        patch = self.patch.matrix(unit)
        # In float64, as the model file's positions are: where they are near a half, float32 would
        # round some the other way, and the network would not be its program.
        start = ((self.position + self.patch.bias).double() / unit).round().float()
        patch = patch._replace(bias=torch.zeros_like(patch.bias))
        return integer.embed(activations, start, patch) * unit

    def block(self, i: int, x: Tensor, observe: Observer = no_observer) -> Tensor:
        """Block i on the residual; the last one returns CLS alone, as (N, 1, width).

        observe('blocks.N.qkv', a) and so on see the int8 inputs of the four matrices.
        """
        b, unit, epsilon = self.blocks[i], self.residual_step, self.epsilon
        count = 1 if i == len(self.blocks) - 1 else x.shape[1]

        def watch(name: str, value: Tensor) -> None:
            observe(f"blocks.{i}.{name}", value)

        y = integer.attention_branch(
            self.integers(x), b.attention_tensors(unit), epsilon, count, watch
        )
        return integer.mlp_branch(y, b.mlp_tensors(unit), epsilon, watch) * unit

    def classify(self, x: Tensor, observe: Observer = no_observer) -> Tensor:
        """Residual (N, tokens, width) -> logits (N, classes)."""
        head = self.head.matrix(1.0)._replace(factor=self.head.step)
        return integer.classify(
            self.integers(x[:, 0]), norm_gain(self.norm), head, self.epsilon, observe
        )

    def forward(self, activations: Tensor, observe: Observer = no_observer) -> Tensor:
        """Patches int8 (N, tokens, 768) -> logits (N, classes)."""
        x = self.embed(activations)
        for i in range(len(self.blocks)):
            x = self.block(i, x, observe)
        return self.classify(x, observe)
