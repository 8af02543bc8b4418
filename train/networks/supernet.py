"""The supernet: every subnet of a space in one set of weights.

A matrix has one master weight per element. A row's 4-bit and 8-bit integers both come from it,
clamp(round(master / step)); each precision has a learned step and bias of its own per row. Narrower
subnets take the first heads, hidden units and channels of an order of importance
(train/quantise/order.py). The 8-bit rows of a matrix are those of the greatest importance, which
train/training/ranking.py renews.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from quasar_runtime.isa.arithmetic import WEIGHT4_MAX, WEIGHT8_MAX
from quasar_runtime.isa.interface import HEAD_DIM, PATCH, PATCH_CHANNELS

from ..spaces.space import MATRICES, SHARES, BlockConfig, Space, Subnet
from . import integer
from .folded import Affine, normed
from .integer import AttentionTensors, Matrix, MlpTensors, Observer, no_observer
from .quantised import (
    QuantBlock,
    QuantisedNetwork,
    QuantLinear,
    attention_factors,
    gelu_table,
    matrix,
    norm_epsilon,
    norm_gain,
)

BIAS_REACH = 50.0
"""Unit of the biases, in full-range weights: the order of magnitude of a row's result."""


class _Round(torch.autograd.Function):
    """clamp(round(x), -limit, limit); the gradient passes up to half a step outside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, limit: Tensor) -> Tensor:
        ctx.save_for_backward(x.abs() <= limit + 0.5)
        return torch.minimum(torch.maximum(x.round(), -limit), limit)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None


@dataclass(frozen=True)
class Rows:
    """A matrix as a subnet has it; gradients flow to the master.

    weight (rows, inputs) integers; step, bias (rows,) real; bits (rows,).
    """

    weight: Tensor
    step: Tensor
    bias: Tensor
    bits: Tensor


def _rename_worth(_module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Read checkpoints of before December 2026, whose buffer `importance` is called `worth`."""
    if f"{prefix}worth" in state:
        state[f"{prefix}importance"] = state.pop(f"{prefix}worth")


class SuperMatrix(nn.Module):
    """The master of a matrix.

    master       (rows, inputs) in units of the row's initial 4-bit range
    steps        (2, rows) log of the change of the 4-bit and the 8-bit step by training
    biases       (2, rows) real bias of either precision, in BIAS_REACH units
    gamma        (rows,) log of the layer scaling, of matrices that write to the residual
    unit         (rows,) real value of master 1
    start        (2, rows) initial real steps
    importance   (rows,) estimated divergence that 8 bits in place of 4 save; the rows with the
                 greatest are 8-bit
    """

    unit: Tensor
    start: Tensor
    importance: Tensor

    def __init__(self, rows: int, inputs: int, *, scaled: bool = False) -> None:
        super().__init__()
        self.master = nn.Parameter(torch.zeros(rows, inputs))
        self.steps = nn.Parameter(torch.zeros(2, rows))
        self.biases = nn.Parameter(torch.zeros(2, rows))
        self.gamma = nn.Parameter(torch.zeros(rows)) if scaled else None
        self.register_buffer("unit", torch.ones(rows))
        self.register_buffer("start", torch.ones(2, rows))
        self.register_buffer("importance", torch.zeros(rows))
        self.register_load_state_dict_pre_hook(_rename_worth)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def fill(
        self, narrow: QuantLinear, wide: QuantLinear, rows: Tensor | slice = slice(None)
    ) -> None:
        """Initialise `rows` from rounding.

        narrow: all rows in 4 bits; wide: all in 8, with weights that round to the 4-bit integers;
        they become the master.
        """
        unit = WEIGHT4_MAX * narrow.step
        self.unit[rows] = unit
        self.start[:, rows] = torch.stack([narrow.step, wide.step])
        real = wide.integers() * wide.step[:, None]
        self.master[rows, : real.shape[1]] = real / unit[:, None]
        self.biases[:, rows] = torch.stack([narrow.bias, wide.bias]) / (BIAS_REACH * unit)

    def rows(self, share8: float, rows: Tensor | slice, inputs: int) -> Rows:
        """The chosen rows of the first `inputs` columns, the most important share8 in 8 bits."""
        importance = self.importance[rows]
        wide = torch.zeros(len(importance), dtype=torch.bool, device=importance.device)
        order = importance.argsort(descending=True, stable=True)
        wide[order[: round(share8 * len(importance))]] = True
        return self.quantise(wide, rows, inputs)

    def quantise(self, wide: Tensor, rows: Tensor | slice, inputs: int) -> Rows:
        """The chosen rows of the first `inputs` columns, those of mask `wide` (rows,) in 8 bits."""
        change = torch.where(wide, self.steps[1, rows], self.steps[0, rows])
        step = torch.where(wide, self.start[1, rows], self.start[0, rows]) * change.exp()
        unit = self.unit[rows]
        limit = torch.where(wide, float(WEIGHT8_MAX), float(WEIGHT4_MAX))
        weight = integer.apply(
            _Round, self.master[rows, :inputs] * (unit / step)[:, None], limit[:, None]
        )
        bias = torch.where(wide, self.biases[1, rows], self.biases[0, rows]) * (BIAS_REACH * unit)
        if self.gamma is not None:
            gamma = self.gamma[rows].exp()
            step, bias = step * gamma, bias * gamma
        return Rows(weight, step, bias, torch.where(wide, 8, 4))


class SuperBlock(nn.Module):
    """The master of a block: its matrices, and the scales of `QuantBlock` as buffers.

    ranges  (4,) hidden_step, hidden_offset, gelu_step, gelu_zero
    ratio1, ratio2  (widths,) factor by which a narrower LayerNorm's result is larger, by width
    """

    norm1: Tensor
    norm2: Tensor
    qkv_step: Tensor
    mixed_step: Tensor
    ranges: Tensor
    ratio1: Tensor
    ratio2: Tensor

    def __init__(self, width: int, heads: int, mlp: int, widths: int, scaled: bool) -> None:
        super().__init__()
        channels = heads * HEAD_DIM
        self.qkv = SuperMatrix(3 * channels, width)
        self.proj = SuperMatrix(width, channels, scaled=scaled)
        self.fc1 = SuperMatrix(mlp, width)
        self.fc2 = SuperMatrix(width, mlp, scaled=scaled)
        for name, size in (("norm1", width), ("norm2", width), ("qkv_step", 3 * channels)):
            self.register_buffer(name, torch.ones(size))
        self.register_buffer("mixed_step", torch.ones(channels))
        self.register_buffer("ranges", torch.ones(4, dtype=torch.float64))
        self.register_buffer("ratio1", torch.ones(widths))
        self.register_buffer("ratio2", torch.ones(widths))

    @torch.no_grad()
    def fill(self, narrow: QuantBlock, wide: QuantBlock) -> None:
        """Initialise from rounding; both blocks have the same scales of activations.

        They may have fewer heads and hidden units than this block.
        """
        width = len(self.norm1)
        chosen = self.chosen_rows(wide.heads, len(wide.fc1.bias), width)
        for name, rows in chosen.items():
            getattr(self, name).fill(getattr(narrow, name), getattr(wide, name), rows)
        self.norm1.copy_(wide.norm1)
        self.norm2.copy_(wide.norm2)
        self.qkv_step[chosen["qkv"]] = wide.qkv_step
        self.mixed_step[: wide.heads * HEAD_DIM] = wide.mixed_step
        self.ranges.copy_(
            torch.tensor(
                [wide.hidden_step, wide.hidden_offset, wide.gelu_step, wide.gelu_zero],
                dtype=torch.float64,
            )
        )

    def head_rows(self, heads: int) -> Tensor:
        """The rows of q, k and v that belong to the first heads."""
        each = torch.arange(heads * HEAD_DIM, device=self.norm1.device)
        return torch.cat([each + part * len(self.mixed_step) for part in range(3)])

    def chosen_rows(self, heads: int, mlp: int, width: int) -> dict[str, Tensor | slice]:
        """The rows of each matrix that belong to the first heads, hidden units and channels."""
        return {
            "qkv": self.head_rows(heads),
            "proj": slice(width),
            "fc1": slice(mlp),
            "fc2": slice(width),
        }

    def parts(self, choice: BlockConfig, width: int) -> dict[str, Rows]:
        """The four matrices of a block's choice at a width."""
        rows = self.chosen_rows(choice.heads, choice.mlp, width)
        return {
            name: getattr(self, name).rows(getattr(choice, share), rows[name], shape[1])
            for (name, shape), share in zip(choice.shapes(width).items(), SHARES, strict=True)
        }

    def scales(self, choice: BlockConfig, width: int, which: int) -> QuantBlock:
        """A block with the scales of a choice and no matrices; which: the width's index."""
        block = QuantBlock(choice.heads)
        block.register_buffer("norm1", self.norm1[:width] * self.ratio1[which])
        block.register_buffer("norm2", self.norm2[:width] * self.ratio2[which])
        block.register_buffer("qkv_step", self.qkv_step[self.head_rows(choice.heads)])
        block.register_buffer("mixed_step", self.mixed_step[: choice.heads * HEAD_DIM])
        block.hidden_step, block.hidden_offset, block.gelu_step, zero = self.ranges.tolist()
        block.gelu_zero = round(zero)
        return block


@dataclass
class Answer:
    """logits (N, classes); after {block: normalised residual (N, T, width)} for the hints."""

    logits: Tensor
    after: dict[int, Tensor] = field(default_factory=dict)


class Supernet(nn.Module):
    """All subnets of a space.

    residual_step  real value of 1 in the residual stream
    position       (tokens, width) in units of the residual, its start
    norm           (width,) real value of 1 in the final LayerNorm's output; ratio (widths,)
    removal        (depth,) the order in which smaller depths leave blocks out; never the last block
    """

    residual_step: Tensor
    norm: Tensor
    ratio: Tensor
    removal: Tensor

    def __init__(self, space: Space, *, layer_scaling: bool = True) -> None:
        super().__init__()
        self.space = space
        most = space.largest()
        block, width = most.blocks[0], most.width
        tokens = (space.image_size // PATCH) ** 2 + 1
        widths = len(space.widths)
        self.position = nn.Parameter(torch.zeros(tokens, width))
        self.patch = SuperMatrix(width, PATCH_CHANNELS)
        blocks = nn.ModuleList(
            SuperBlock(width, block.heads, block.mlp, widths, layer_scaling) for _ in most.blocks
        )
        self.blocks: Sequence[SuperBlock] = blocks  # type: ignore[assignment]
        self.head = SuperMatrix(space.classes, width)
        self.register_buffer("residual_step", torch.ones((), dtype=torch.float64))
        self.register_buffer("norm", torch.ones(width))
        self.register_buffer("ratio", torch.ones(widths))
        self.register_buffer("removal", torch.arange(most.depth))
        self._constants: dict[tuple[int, int, int], tuple[Tensor, ...]] = {}

    @torch.no_grad()
    def fill(self, narrow: QuantisedNetwork, wide: QuantisedNetwork) -> None:
        """Initialise from rounding: narrow has all rows of the blocks in 4 bits, wide in 8."""
        self.residual_step.fill_(wide.residual_step)
        self.position.copy_((wide.position + wide.patch.bias) / self.residual_step)
        self.patch.fill(wide.patch, wide.patch)
        self.head.fill(wide.head, wide.head)
        self.norm.copy_(wide.norm)
        for block, n, w in zip(self.blocks, narrow.blocks, wide.blocks, strict=True):
            block.fill(n, w)

    def kept(self, depth: int) -> list[int]:
        """The blocks of a subnet of this depth, in the order in which they run."""
        left_out = set(self.removal[: len(self.blocks) - depth].tolist())
        return [i for i in range(len(self.blocks)) if i not in left_out]

    def forward(
        self,
        activations: Tensor,
        subnet: Subnet,
        hints: Sequence[int] = (),
        observe: Observer = no_observer,
        tokens: Tensor | None = None,
    ) -> Answer:
        """Patches int8 (N, tokens, 768) -> an answer.

        hints: blocks whose results are kept; tokens: which tokens `activations` are, ascending,
        None for all.
        """
        width, unit = subnet.width, float(self.residual_step)
        epsilon = norm_epsilon(unit, width)
        kept = self.kept(subnet.depth)
        position = self.position[:, :width]
        if tokens is not None:
            position = position[tokens]
        x = integer.embed(activations, position, self.patch_matrix(width))
        after = {}
        for place, (i, choice) in enumerate(zip(kept, subnet.blocks, strict=True)):
            count = 1 if place == len(kept) - 1 else x.shape[1]
            watch = _named(observe, place)
            attention, mlp = self.block_tensors(i, choice, width, unit)
            x = integer.attention_branch(x, attention, epsilon, count, watch)
            x = integer.mlp_branch(x, mlp, epsilon, watch)
            if i in hints:
                after[i] = normed(x)
        rows = self.head.rows(1.0, slice(None), width)
        head = matrix(rows.weight, rows.step, rows.bias, 1.0)._replace(factor=rows.step)
        gain = norm_gain(self.norm[:width] * self.ratio[self.space.widths.index(width)])
        return Answer(integer.classify(x[:, 0], gain, head, epsilon, observe), after)

    def patch_matrix(self, width: int) -> Matrix:
        """The patch embedding without its bias, which is in the positions."""
        rows = self.patch.rows(1.0, slice(width), PATCH_CHANNELS)
        unit = float(self.residual_step)
        return matrix(rows.weight, rows.step, torch.zeros_like(rows.bias), unit)

    def block_tensors(
        self, i: int, choice: BlockConfig, width: int, unit: float
    ) -> tuple[AttentionTensors, MlpTensors]:
        """The operands of the branches of block i."""
        block = self.blocks[i]
        which = self.space.widths.index(width)
        scales = block.scales(choice, width, which)
        key = (i, choice.heads, width)
        if key not in self._constants:
            table, slope = gelu_table(scales)
            device = self.norm.device
            self._constants[key] = (
                norm_gain(scales.norm1),
                norm_gain(scales.norm2),
                *attention_factors(scales.qkv_step, scales.mixed_step),
                table.to(device, torch.int8),
                slope.to(device),
            )
        gain1, gain2, score, mean, table, slope = self._constants[key]
        rows = block.parts(choice, width)

        def made(name: str, out: Tensor | float, offset: float = 0.0, zero: int = 0) -> Matrix:
            r = rows[name]
            return matrix(r.weight, r.step, r.bias, out, offset, zero)

        qkv, proj = made("qkv", scales.qkv_step), made("proj", unit)
        fc1 = made("fc1", scales.hidden_step, scales.hidden_offset)
        fc2 = made("fc2", unit, 0.0, scales.gelu_zero)
        return (
            AttentionTensors(gain1, score, mean, qkv, proj),
            MlpTensors(gain2, table, slope, fc1, fc2),
        )

    @torch.no_grad()
    def extract(self, subnet: Subnet) -> QuantisedNetwork:
        """A subnet as a quantised network of its own."""
        width = subnet.width
        which = self.space.widths.index(width)
        unit = float(self.residual_step)
        heads = [b.heads for b in subnet.blocks]
        position = (self.position[:, :width] + 0.5).floor() * unit
        network = QuantisedNetwork(position, heads, unit)
        patch = self.patch.rows(1.0, slice(width), PATCH_CHANNELS)
        network.patch = _linear(patch)
        network.patch.bias.zero_()
        for j, (i, choice) in enumerate(zip(self.kept(subnet.depth), subnet.blocks, strict=True)):
            block = self.blocks[i].scales(choice, width, which)
            for name, rows in self.blocks[i].parts(choice, width).items():
                setattr(block, name, _linear(rows, block.gelu_zero if name == "fc2" else 0))
            network.blocks[j] = block
        network.register_buffer("norm", self.norm[:width] * self.ratio[which])
        network.head = _linear(self.head.rows(1.0, slice(None), width))
        return network

    def matrices(self) -> dict[str, SuperMatrix]:
        """The matrices that may have 4-bit rows, by name."""
        return {
            f"blocks.{i}.{name}": getattr(block, name)
            for i, block in enumerate(self.blocks)
            for name in MATRICES
        }


def _linear(rows: Rows, zero: int = 0) -> QuantLinear:
    real = Affine(rows.weight * rows.step[:, None], rows.bias)
    return QuantLinear(real, rows.bits, rows.step, zero)


def _named(observe: Observer, place: int) -> Callable[[str, Tensor], None]:
    return lambda name, value: observe(f"blocks.{place}.{name}", value)
