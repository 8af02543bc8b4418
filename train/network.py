"""The quantised network in PyTorch: the integer arithmetic with straight-through gradients.

The forward pass computes what `quasar_runtime.arithmetic` does, on integers kept in float tensors:
weights, activations, LayerNorm's and GELU's outputs and the residual are rounded and clamped as the
device does. Three things are approximated: requantisation uses the real factor in place of (m, n),
the softmax is exact instead of a table of 7 bits, and attention's products run in bfloat16. The
integer program is what is measured; this network is what calibration, rounding and distillation
work on. Gradients pass roundings as if they were not there, and stop at clamps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from quasar_runtime.arithmetic import (
    ACTIVATION_MAX,
    RESIDUAL_MAX,
    RESIDUAL_MIN,
    WEIGHT4_MAX,
    WEIGHT8_MAX,
)
from quasar_runtime.interface import HEAD_DIM
from train.fold import Affine, Folded, Observer, no_observer, normed, split_heads


class _RoundClamp(torch.autograd.Function):
    """clamp(round(x), low, high); the gradient passes where x lies inside."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, low: float, high: float) -> Tensor:
        y = x.round().clamp_(low, high)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward((x >= low - 0.5) & (x <= high + 0.5))
        return y

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None


def round_clamp(x: Tensor, limit: float) -> Tensor:
    """clamp(round(x), -limit, limit), straight through."""
    return _RoundClamp.apply(x, -limit, limit)


class _IntegerMatmul(torch.autograd.Function):
    """a (..., K) times w (R, K) transposed, both holding integers of int8: exact in the forward
    pass, bfloat16 in the backward pass."""

    @staticmethod
    def forward(ctx: FunctionCtx, a: Tensor, w: Tensor) -> Tensor:
        a8, w8 = a.to(torch.int8).flatten(0, -2), w.to(torch.int8)
        ctx.save_for_backward(a8, w8)
        return torch._int_mm(a8, w8.t()).to(torch.float32).unflatten(0, a.shape[:-1])

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a8, w8 = ctx.saved_tensors
        g = gradient.flatten(0, -2).to(torch.bfloat16)
        to_a = to_w = None
        if ctx.needs_input_grad[0]:
            to_a = (g @ w8.to(torch.bfloat16)).to(torch.float32).unflatten(0, gradient.shape[:-1])
        if ctx.needs_input_grad[1]:
            to_w = (g.t() @ a8.to(torch.bfloat16)).to(torch.float32)
        return to_a, to_w


class QuantLinear(nn.Module):
    """y = step * (round(weight * limit) . a - zero point's share) + bias, a integer activations.

    weight  (rows, inputs)  in units of the row's full range: an integer weight is
                            clamp(round(weight * limit), limit), limit 7 or 119
    span    (rows,)         real value of a full-range weight times one unit of activation
    bias    (rows,)         real
    bits    (rows,)         8 or 4
    zero    the activation integer that means 0
    """

    weight: nn.Parameter
    span: nn.Parameter
    bias: nn.Parameter
    bits: Tensor
    limit: Tensor

    def __init__(self, real: Affine, bits: Tensor, step: Tensor, zero: int = 0) -> None:
        """real: the matrix on integer activations; step (rows,): real value of integer weight 1."""
        super().__init__()
        self.register_buffer("bits", bits.to(torch.uint8))
        limit = torch.where(bits == 8, WEIGHT8_MAX, WEIGHT4_MAX).to(torch.float32)
        self.register_buffer("limit", limit)
        self.weight = nn.Parameter(real.weight / (step * limit)[:, None])
        self.span = nn.Parameter(step * limit)
        self.bias = nn.Parameter(real.bias.clone())
        self.zero = zero

    @property
    def step(self) -> Tensor:
        """Real value of integer weight 1 on one unit of activation, (rows,)."""
        return self.span / self.limit

    def integers(self) -> Tensor:
        """The integer weights, float (rows, inputs)."""
        limit = self.limit[:, None]
        scaled = self.weight * limit
        return torch.minimum(torch.maximum(round_clamp(scaled, WEIGHT8_MAX), -limit), limit)

    def forward(self, a: Tensor) -> Tensor:
        w = self.integers()
        offset = self.bias - self.step * self.zero * w.sum(1) if self.zero else self.bias
        return _IntegerMatmul.apply(a, w) * self.step + offset


class QuantBlock(nn.Module):
    """A block: four matrices and the scales of the activations between them.

    norm1, norm2  (width,)              real value of 1 in LayerNorm's output, a channel
    qkv_step      (3 * heads * 64,)     real value of 1 in q, k and v, a channel
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

    def queries(self, z: Tensor, count: int) -> Tensor:
        """Normalised residual to attention's integer output of the first `count` tokens."""
        unit = self.qkv_step
        qkv = round_clamp(self.qkv(z) / unit, WEIGHT8_MAX) * unit
        q, k, v = split_heads(qkv.to(torch.bfloat16), self.heads)
        mixed = F.scaled_dot_product_attention(q[:, :, :count], k, v)
        mixed = mixed.to(torch.float32).transpose(1, 2).flatten(2)
        return round_clamp(mixed / self.mixed_step, ACTIVATION_MAX)

    def hidden(self, z: Tensor) -> Tensor:
        """Normalised residual to GELU's integer output."""
        h = (self.fc1(z) - self.hidden_offset) / self.hidden_step
        h = round_clamp(h, ACTIVATION_MAX) * self.hidden_step + self.hidden_offset
        return round_clamp(F.gelu(h) / self.gelu_step + self.gelu_zero, ACTIVATION_MAX)


class QuantisedNetwork(nn.Module):
    """The whole network.

    residual_step  real value of 1 in the residual stream
    position       (tokens, width) real, what the residual starts with
    norm           (width,) real value of 1 in the final LayerNorm's output, a channel
    """

    norm: Tensor

    def __init__(self, folded: Folded, residual_step: float) -> None:
        super().__init__()
        self.residual_step = residual_step
        self.position = nn.Parameter(folded.position.clone())
        self.patch: QuantLinear
        self.blocks = nn.ModuleList(QuantBlock(b.heads) for b in folded.blocks)
        self.head: QuantLinear

    def residual(self, x: Tensor) -> Tensor:
        """x on the grid of the int16 residual."""
        unit = self.residual_step
        return _RoundClamp.apply(x / unit, RESIDUAL_MIN, RESIDUAL_MAX) * unit

    def embed(self, activations: Tensor) -> Tensor:
        """Patches int8 (N, tokens, 768) -> residual (N, tokens, width)."""
        return self.residual(self.patch(activations) + self.position)

    def block(self, i: int, x: Tensor, observe: Observer = no_observer) -> Tensor:
        """Block i on the residual; the last one returns CLS alone, as (N, 1, width).

        observe('blocks.N.qkv', a) and so on see the integer inputs of the four matrices.
        """
        b, name = self.blocks[i], f"blocks.{i}"
        count = 1 if i == len(self.blocks) - 1 else x.shape[1]
        z = round_clamp(normed(x) / b.norm1, ACTIVATION_MAX)
        observe(f"{name}.qkv", z)
        mixed = b.queries(z, count)
        observe(f"{name}.proj", mixed)
        x = self.residual(x[:, :count] + b.proj(mixed))
        z = round_clamp(normed(x) / b.norm2, ACTIVATION_MAX)
        observe(f"{name}.fc1", z)
        hidden = b.hidden(z)
        observe(f"{name}.fc2", hidden)
        return self.residual(x + b.fc2(hidden))

    def classify(self, x: Tensor, observe: Observer = no_observer) -> Tensor:
        """Residual (N, tokens, width) -> logits (N, classes)."""
        z = round_clamp(normed(x[:, 0]) / self.norm, ACTIVATION_MAX)
        observe("head", z)
        return self.head(z)

    def forward(self, activations: Tensor, observe: Observer = no_observer) -> Tensor:
        """Patches int8 (N, tokens, 768) -> logits (N, classes)."""
        x = self.embed(activations)
        for i in range(len(self.blocks)):
            x = self.block(i, x, observe)
        return self.classify(x, observe)


def head_columns(heads: int, values: Tensor) -> Tensor:
    """One value a head (heads,) repeated for its 64 channels."""
    return values.repeat_interleave(HEAD_DIM)
