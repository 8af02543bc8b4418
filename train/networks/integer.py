"""The integer arithmetic in PyTorch: the forward pass of a block, and its gradient.

The forward pass computes what `quasar_runtime.isa.arithmetic` does, on the same integers, most of
them in float32. Products and sums are exact. Requantised results are exact but for those so near to
the border between two integers that the 24 bits of a float32 put them on the other side. The
backward pass takes every rounding for the identity (straight-through), stops at the clamps of
activations and runs in bfloat16.

A block is two autograd functions, one per branch, with gradients written out. Activations that wait
for the backward pass are therefore kept as int8, and everything between two matrix products is one
compiled loop over memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from quasar_runtime.isa.arithmetic import (
    ACTIVATION_MAX,
    MEAN_FRACTION,
    NORM_FRACTION,
    RESIDUAL_MAX,
    RESIDUAL_MIN,
    WEIGHT8_MAX,
)
from quasar_runtime.isa.interface import HEAD_DIM
from quasar_runtime.isa.tables import EXP_STEP, RECIPROCAL, RSQRT, RSQRT_FIRST

from ..messages import warn

HALF = torch.bfloat16
EXP_LAST = 255
"""EXP's last index, from which exp(-index * EXP_STEP) is 0."""
SHAPES = 64
"""Most kinds of shapes for which a loop is compiled: one token or many, a slice or a whole."""
F = TypeVar("F", bound=Callable[..., Any])
Observer = Callable[[str, Tensor], None]
"""Called with an operation's name and its value while a network runs."""


def no_observer(name: str, value: Tensor) -> None:
    """Ignore the value."""


class Fusion:
    """Whether `fused` functions are compiled.

    Compiling takes a minute per process, so tests and short runs go without. Both ways compute the
    same up to the order of sums.
    """

    on = False


def fused(function: F) -> F:
    """Compile a function without matrix products into one loop, while `Fusion.on`.

    Where it cannot be compiled, one warning says so, and `Fusion.on` ends.
    """
    compiled: list[Callable[..., Any]] = []

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        if not Fusion.on:
            return function(*arguments)
        if not compiled:
            torch._dynamo.config.recompile_limit = SHAPES
            compiled.append(torch.compile(function, dynamic=True))
        try:
            return compiled[0](*arguments)
        except torch._dynamo.exc.TorchDynamoException as e:
            Fusion.on = False  # no compiler, or one that fails
            reason = next(iter(str(e).splitlines()), type(e).__name__)
            warn(f"PyTorch cannot compile loops here ({reason}); going on without, more slowly")
            return function(*arguments)

    return call  # type: ignore[return-value]


class Matrix(NamedTuple):
    """What a matrix computes: (a . weight + bias) * factor, then rounded and clamped.

    weight (rows, inputs) integers of int8; bias (rows,) integers; factor (rows,); all float32
    """

    weight: Tensor
    bias: Tensor
    factor: Tensor

    def packed(self) -> Matrix:
        """The same matrix with int8 weights."""
        return self._replace(weight=self.weight.to(torch.int8))


EXACT = 2**24 // 127**2
"""Products of int8 operands from -127 to 127 whose sum float32 holds exactly."""


def product(a8: Tensor, w8: Tensor) -> Tensor:
    """int8 a (..., K) times w (R, K) transposed: int32 (..., R), exact."""
    multiply = torch._int_mm if integer_products_are_exact(a8.device) else float_product
    result: Tensor = multiply(a8.flatten(0, -2), w8.t()).unflatten(0, a8.shape[:-1])
    return result


def float_product(a8: Tensor, w8: Tensor) -> Tensor:
    """int8 a (N, K) times w (K, R): int32 (N, R), exact, by float32 sums of at most EXACT terms."""
    parts = zip(a8.split(EXACT, 1), w8.split(EXACT, 0), strict=True)
    products: Iterator[Tensor] = ((a.float() @ w.float()).to(torch.int32) for a, w in parts)
    return functools.reduce(torch.add, products)


@functools.cache
def integer_products_are_exact(device: torch.device) -> bool:
    """Whether PyTorch's int8 products are exact on a device.

    Without VNNI an x86 CPU adds two products in 16 bits, which saturate: oneDNN's result is then
    wrong by much.
    """
    for rows, inputs, outputs in ((1, 64, 32), (32, 768, 192), (197, 1024, 64)):
        sign = torch.where(torch.arange(inputs, device=device) % 4 < 2, 1, -1)
        a8 = (127 * sign).to(torch.int8).expand(rows, inputs).contiguous()
        w8 = (127 * sign).to(torch.int8).expand(outputs, inputs).contiguous().t()
        if not bool((torch._int_mm(a8, w8) == 127 * 127 * inputs).all()):
            return False
    return True


def inputs_gradient(g: Tensor, m: Matrix) -> Tensor:
    """g (..., R) of a matrix's results -> bfloat16 (..., K) of its activations."""
    return g @ (m.weight * m.factor[:, None]).to(HALF)


def matrix_gradients(g: Tensor, a8: Tensor, m: Matrix) -> tuple[Tensor, Tensor, Tensor]:
    """bfloat16 g (..., R) of the results y = (a . w + bias) * factor -> those of w, bias, factor.

    dL/dfactor = sum_t g (a . w + bias) = sum_k w (g^T a) + bias sum_t g: no accumulator is kept.
    """
    g = g.flatten(0, -2)
    raw = (g.t() @ a8.flatten(0, -2).to(HALF)).float()
    total = (g.new_ones(1, len(g)) @ g)[0].float()
    return split_gradient(raw, total, m.weight, m.bias, m.factor)


@fused
def split_gradient(
    raw: Tensor, total: Tensor, w8: Tensor, bias: Tensor, factor: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of weight, bias and factor from raw = g^T a and total = sum_t g."""
    return raw * factor[:, None], total * factor, (raw * w8).sum(1) + bias * total


@fused
def requantise(acc: Tensor, bias: Tensor, factor: Tensor, limit: float) -> Tensor:
    """clamp(round((acc + bias) * factor)) as int8, halves up."""
    y = (acc + bias.double()) * factor.double()
    return (y + 0.5).floor().clamp(-limit, limit).to(torch.int8)


@fused
def add_residual(x: Tensor, acc: Tensor, bias: Tensor, factor: Tensor) -> Tensor:
    """sat16(x + sat16(round((acc + bias) * factor))), float32."""
    y = (acc + bias.double()) * factor.double()
    delta = (y + 0.5).floor().clamp(RESIDUAL_MIN, RESIDUAL_MAX).float()
    return (x + delta).clamp(RESIDUAL_MIN, RESIDUAL_MAX)


def bit_length(x: Tensor) -> Tensor:
    """Bits of int64 x >= 1."""
    return torch.frexp(x.double()).exponent.to(torch.int64)


@functools.cache
def tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """RSQRT and RECIPROCAL on a device."""
    return torch.as_tensor(RSQRT, device=device), torch.as_tensor(RECIPROCAL, device=device)


def reciprocal_sqrt(v: Tensor) -> Tensor:
    """y * 2^-(k + 24) ~ 1 / sqrt(v) of `arithmetic.reciprocal_sqrt`, int64 -> float64."""
    k = (bit_length(v) - 17) >> 1
    z = torch.where(k >= 0, v >> (2 * k).clamp(min=0), v << (-2 * k).clamp(min=0))
    y = tables(v.device)[0][(z >> 10) - RSQRT_FIRST]
    y = (y * ((3 * 2**33 - z * ((y * y) >> 13)) >> 16)) >> 17
    return y * torch.exp2(-(k + 24).double())


def reciprocal(s: Tensor) -> Tensor:
    """y * 2^-k ~ 1 / s of `arithmetic.reciprocal`, int64 -> float64."""
    length = bit_length(s)
    z = s << (16 - length)
    y = tables(s.device)[1][(z >> 7) & 255]
    y = (y * ((2**31 - z * y) >> 14)) >> 15
    return y * torch.exp2(-(length + 15).double())


@fused
def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over D of integers x (..., D) and of their squares, each (..., 1); exact."""
    return x.sum(-1, keepdim=True), (x.double() * x).sum(-1, keepdim=True)


@fused
def normalise(x: Tensor, total: Tensor, rate: Tensor, gain: Tensor) -> Tensor:
    """(D * x - total) * rate to 12 fraction bits, times gain, as an int8 activation."""
    y = ((x * x.shape[-1] - total).double() * rate * 2.0**NORM_FRACTION + 0.5).floor()
    z = (y * (gain * 2.0**-NORM_FRACTION) + 0.5).floor()
    return z.clamp(-ACTIVATION_MAX, ACTIVATION_MAX).to(torch.int8)


def norm_forward(x: Tensor, gain: Tensor, epsilon: int) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNorm of integers x (..., D): (int8 activations, mean (..., 1), 1/deviation (..., 1)).

    epsilon as in `arithmetic.layernorm`, in units of D^2 x^2.
    """
    d = x.shape[-1]
    total, squares = moments(x)
    v = d * squares.to(torch.int64) - total.to(torch.int64).square() + epsilon
    rate = reciprocal_sqrt(v)
    return normalise(x, total, rate, gain), total / d, (rate * d).float()


@fused
def norm_backward(
    g: Tensor, z8: Tensor, x: Tensor, gain: Tensor, mean: Tensor, rate: Tensor
) -> Tensor:
    """g (..., D) of the activations -> that of x.

    With y = (x - mean) * rate and h = g * gain: rate * (h - mean(h) - y * mean(h * y)).
    """
    y = (x - mean) * rate
    h = g * gain * (z8.abs() < ACTIVATION_MAX)
    return rate * (h - h.mean(-1, keepdim=True) - y * (h * y).mean(-1, keepdim=True))


@fused
def inside(g: Tensor, y8: Tensor, limit: float) -> Tensor:
    """g where y8 is not at its limit, bfloat16."""
    return (g * (y8.abs() < limit)).to(HALF)


@fused
def lookup(i8: Tensor, table: Tensor) -> Tensor:
    """table[i + 128]."""
    return table[i8.to(torch.int32) + 128]


@fused
def lookup_backward(g: Tensor, i8: Tensor, slope: Tensor) -> Tensor:
    """g times the table's slope, bfloat16."""
    return (g * slope[i8.to(torch.int32) + 128]).to(HALF)


@fused
def numerators(s: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (N, H, Q, T) -> EXP[min(255, floor((max - s) * score))] and its sum."""
    index = ((s.amax(-1, keepdim=True) - s).double() * score.double()).floor()
    index = index.clamp(max=EXP_LAST).float()
    e = (127.0 * torch.exp(-index * EXP_STEP) + 0.5).floor()
    return e, e.sum(-1, keepdim=True)


@fused
def weighted_mean(acc: Tensor, inverse: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """acc * inverse with 8 fraction bits, and the activation clamp(round(mean * gain)), int8."""
    mean = (acc.double() * inverse.double() * 2.0**MEAN_FRACTION + 0.5).floor()
    mean = mean * 2.0**-MEAN_FRACTION
    mixed = (mean * gain + 0.5).floor().clamp(-ACTIVATION_MAX, ACTIVATION_MAX)
    return mean.to(HALF), mixed.to(torch.int8)


@fused
def probabilities(e: Tensor, inverse: Tensor) -> Tensor:
    """e * inverse, bfloat16."""
    return (e * inverse).to(HALF)


@fused
def softmax_backward(p: Tensor, g: Tensor, shift: Tensor, score: Tensor) -> Tensor:
    """p * (g - sum(p * g)) * score * EXP_STEP: the gradient of the scores, bfloat16."""
    return (p * (g - shift) * (score * EXP_STEP)).to(HALF)


class AttentionTensors(NamedTuple):
    """The operands of an attention branch.

    gain   (width,) LayerNorm's result per unit of the normalised residual
    qkv, proj
    score  (heads, 1, 1) steps of EXP per unit of q . k
    mean   (heads, 1, 1) result per unit of the weighted mean of V
    """

    gain: Tensor
    score: Tensor
    mean: Tensor
    qkv: Matrix
    proj: Matrix


class MlpTensors(NamedTuple):
    """The operands of an MLP branch; table and slope (256,) by fc1's result + 128."""

    gain: Tensor
    table: Tensor
    slope: Tensor
    fc1: Matrix
    fc2: Matrix


@fused
def heads_first(qkv8: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """int8 (N, T, 3 * H * 64) -> q, k, v, each (N, H, T, 64) of `dtype`, contiguous."""
    n, t, _ = qkv8.shape
    parts = qkv8.view(n, t, 3, -1, HEAD_DIM).permute(2, 0, 3, 1, 4)
    return parts.contiguous().to(dtype).unbind(0)


def tokens_first(parts: tuple[Tensor, ...], tokens: int) -> Tensor:
    """q, k, v (N, H, up to T, 64) -> (N, T, 3 * H * 64), 0 where a part has fewer tokens."""
    n, heads, _, channels = parts[0].shape
    result = parts[0].new_zeros(n, tokens, 3, heads, channels)
    for i, part in enumerate(parts):
        result[:, : part.shape[2], i] = part.transpose(1, 2)
    return result.flatten(2)


def attend(
    z8: Tensor, qkv: Matrix, score: Tensor, mean: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Attention of the first `count` tokens to all, from LayerNorm's result.

    Returns int8 qkv (N, T, 3 * H * 64), bfloat16 probabilities (N, H, count, T) and weighted mean
    of V (N, H, count, 64), and the activation, int8 (N, count, H * 64).
    """
    qkv8 = requantise(product(z8, qkv.weight), qkv.bias, qkv.factor, WEIGHT8_MAX)
    q, k, v = heads_first(qkv8, torch.float32)
    e, total = numerators(q[:, :, :count] @ k.mT, score)
    inverse = reciprocal(total.to(torch.int64)).float()
    average, mixed = weighted_mean(e @ v, inverse, mean)
    return qkv8, probabilities(e, inverse), average, mixed.transpose(1, 2).flatten(2)


def expand(z8: Tensor, fc1: Matrix, table: Tensor) -> tuple[Tensor, Tensor]:
    """fc1's result and GELU's from LayerNorm's result, both int8 (N, T, hidden)."""
    h8 = requantise(product(z8, fc1.weight), fc1.bias, fc1.factor, ACTIVATION_MAX)
    return h8, lookup(h8, table)


class _AttentionBranch(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, epsilon: int, count: int, observe: Observer, *tensors: Tensor
    ) -> Tensor:
        gain, score, mean = tensors[:3]
        qkv, proj = Matrix(*tensors[3:6]).packed(), Matrix(*tensors[6:]).packed()
        z8, centre, rate = norm_forward(x, gain, epsilon)
        observe("qkv", z8)
        qkv8, p, average, mixed8 = attend(z8, qkv, score, mean, count)
        observe("proj", mixed8)
        ctx.save_for_backward(
            x, centre, rate, z8, qkv8, p, average, mixed8, gain, score, mean, *qkv, *proj
        )
        return add_residual(x[:, :count], product(mixed8, proj.weight), proj.bias, proj.factor)

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, centre, rate, z8, qkv8, p, average, mixed8, gain, score, mean, *rest = ctx.saved_tensors
        qkv, proj = Matrix(*rest[:3]), Matrix(*rest[3:])
        n, t, _ = x.shape
        count = gy.shape[1]
        g = gy.to(HALF)
        of_proj = matrix_gradients(g, mixed8, proj)
        g = inside(inputs_gradient(g, proj), mixed8, ACTIVATION_MAX)
        g = (g.view(n, count, -1, HEAD_DIM).transpose(1, 2) * mean.to(HALF)).contiguous()
        q, k, v = heads_first(qkv8, HALF)
        to_v = p.mT @ g
        shift = (g * average).sum(-1, keepdim=True)
        to_s = softmax_backward(p, g @ v.mT, shift, score)
        to_q = to_s @ k
        to_k = to_s.mT @ q[:, :, :count]
        g = tokens_first((to_q, to_k, to_v), t)
        g = inside(g, qkv8, WEIGHT8_MAX)
        of_qkv = matrix_gradients(g, z8, qkv)
        gx = norm_backward(inputs_gradient(g, qkv), z8, x, gain, centre, rate)
        gx[:, :count] += gy
        return gx, None, None, None, None, None, None, *of_qkv, *of_proj


class _MlpBranch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, epsilon: int, observe: Observer, *tensors: Tensor) -> Tensor:
        gain, table, slope = tensors[:3]
        fc1, fc2 = Matrix(*tensors[3:6]).packed(), Matrix(*tensors[6:]).packed()
        z8, centre, rate = norm_forward(x, gain, epsilon)
        observe("fc1", z8)
        h8, u8 = expand(z8, fc1, table)
        observe("fc2", u8)
        ctx.save_for_backward(x, centre, rate, z8, h8, u8, gain, slope, *fc1, *fc2)
        return add_residual(x, product(u8, fc2.weight), fc2.bias, fc2.factor)

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, centre, rate, z8, h8, u8, gain, slope, *rest = ctx.saved_tensors
        fc1, fc2 = Matrix(*rest[:3]), Matrix(*rest[3:])
        g = gy.to(HALF)
        of_fc2 = matrix_gradients(g, u8, fc2)
        g = lookup_backward(inputs_gradient(g, fc2), h8, slope)
        of_fc1 = matrix_gradients(g, z8, fc1)
        gx = gy + norm_backward(inputs_gradient(g, fc1), z8, x, gain, centre, rate)
        return gx, None, None, None, None, None, *of_fc1, *of_fc2


class _Embedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a8: Tensor, position: Tensor, *tensors: Tensor) -> Tensor:
        patch = Matrix(*tensors).packed()
        ctx.save_for_backward(a8, *patch)
        start = (position + 0.5).floor().clamp(RESIDUAL_MIN, RESIDUAL_MAX)
        return add_residual(start, product(a8, patch.weight), patch.bias, patch.factor)

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        a8, *patch = ctx.saved_tensors
        return None, gy.sum(0), *matrix_gradients(gy.to(HALF), a8, Matrix(*patch))


class _Classifier(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, epsilon: int, observe: Observer, gain: Tensor, *tensors: Tensor
    ) -> Tensor:
        head = Matrix(*tensors).packed()
        z8, centre, rate = norm_forward(x, gain, epsilon)
        observe("head", z8)
        ctx.save_for_backward(x, centre, rate, z8, gain, *head)
        return (product(z8, head.weight) + head.bias) * head.factor

    @staticmethod
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, centre, rate, z8, gain, *rest = ctx.saved_tensors
        head = Matrix(*rest)
        g = gy.to(HALF)
        gx = norm_backward(inputs_gradient(g, head), z8, x, gain, centre, rate)
        return gx, None, None, None, *matrix_gradients(g, z8, head)


def apply(function: type[torch.autograd.Function], *arguments: Any) -> Tensor:
    """The result of a function with a gradient of its own; PyTorch has no types for it."""
    result: Tensor = function.apply(*arguments)
    return result


def embed(a8: Tensor, position: Tensor, patch: Matrix) -> Tensor:
    """Patches int8 (N, T, 768), position (T, width) in units of the residual -> residual."""
    return apply(_Embedding, a8, position, *patch)


def attention_branch(
    x: Tensor, b: AttentionTensors, epsilon: int, count: int, observe: Observer = no_observer
) -> Tensor:
    """Integer residual (N, T, width) -> that of the first `count` tokens after the branch."""
    return apply(
        _AttentionBranch, x, epsilon, count, observe, b.gain, b.score, b.mean, *b.qkv, *b.proj
    )


def mlp_branch(x: Tensor, b: MlpTensors, epsilon: int, observe: Observer = no_observer) -> Tensor:
    """Integer residual (N, T, width) -> that after the branch."""
    return apply(_MlpBranch, x, epsilon, observe, b.gain, b.table, b.slope, *b.fc1, *b.fc2)


def classify(
    x: Tensor, gain: Tensor, head: Matrix, epsilon: int, observe: Observer = no_observer
) -> Tensor:
    """CLS's residual (N, width) -> logits (N, classes); the head's factor is a logit's unit."""
    return apply(_Classifier, x, epsilon, observe, gain, *head)
