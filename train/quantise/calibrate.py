"""Scales: the real value of 1 in every activation, chosen on calibration images.

Ranges are those of the float network on the images. Each channel of LayerNorm and of V has a scale
of its own, whose inverse goes into the next matrix. Q's and K's channels are balanced against one
another, since only their product counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from quasar_runtime.isa.arithmetic import ACTIVATION_MAX, RESIDUAL_MAX, WEIGHT4_MAX, WEIGHT8_MAX
from quasar_runtime.isa.interface import HEAD_DIM

from ..networks.folded import BATCH, Affine, Folded, FoldedBlock, patches
from ..networks.quantised import QuantBlock, QuantisedNetwork, QuantLinear

INPUT_OF = {"qkv": "norm1", "proj": "attention", "fc1": "norm2", "fc2": "gelu"}
"""The operation whose result each matrix reads."""
GELU_LOW = -0.17
"""Just below GELU's minimum."""
GELU_DEAD = -4.0
"""GELU is 0 to the precision of its output below this; fc1's range ends there."""
EVENNESS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Candidates for the exponent e by which channels are evened: step ~ range^e / weight^(1 - e)."""
RANGE_CLIPPINGS = (1.0, 0.6)
"""Candidates for the fraction of the largest value that fc1's and GELU's ranges keep."""
RESIDUAL_HEADROOM = 1.5
EVENED_SHARE8 = 0.5
"""Fraction of 8-bit rows for which LayerNorm's channels are evened where the mix is still open."""


@dataclass
class Statistics:
    """Statistics of the float network on the calibration images, by operation name.

    high, low  (channels,) extremes
    moment     (channels, channels) mean of x x^T over tokens;  mean (channels,)
    energy     (rows,) of each matrix: squared gradient of the network's output at the row's result,
               summed over tokens, mean over images
    """

    high: dict[str, Tensor] = field(default_factory=dict)
    low: dict[str, Tensor] = field(default_factory=dict)
    moment: dict[str, Tensor] = field(default_factory=dict)
    mean: dict[str, Tensor] = field(default_factory=dict)
    energy: dict[str, Tensor] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)

    def reach(self, name: str) -> Tensor:
        """Largest magnitude of each channel."""
        return torch.maximum(self.high[name], -self.low[name]).clamp(min=1e-6)

    def add(self, name: str, value: Tensor) -> None:
        """Add a batch (N, T, C) or (N, C) of operation `name`."""
        x = value.detach().flatten(0, -2)
        high, low = x.amax(0), x.amin(0)
        self.high[name] = torch.maximum(self.high.get(name, high), high)
        self.low[name] = torch.minimum(self.low.get(name, low), low)
        if name.split(".")[-1] in (*INPUT_OF.values(), "norm"):
            self.moment[name] = self.moment.get(name, 0) + x.t() @ x
            self.mean[name] = self.mean.get(name, 0) + x.sum(0)
            self.tokens[name] = self.tokens.get(name, 0) + len(x)


def matrix_names(depth: int) -> list[str]:
    """The matrices that may have 4-bit rows, in the order in which they run."""
    return [f"blocks.{i}.{part}" for i in range(depth) for part in INPUT_OF]


def matrix_input(name: str) -> str:
    """The operation whose result matrix `name` reads."""
    block, _, part = name.rpartition(".")
    return f"{block}.{INPUT_OF[part]}" if block else "norm"


def observe(folded: Folded, images: Tensor, seed: int) -> Statistics:
    """Run the float network on uint8 images (N, S, S, 3) and gather statistics.

    The output's gradient is that of log p(y) with y drawn from the network's own p. Its square is
    the diagonal of the Fisher information: to second order, the effect of a small error on the
    output's Kullback-Leibler divergence.
    """
    found, generator = Statistics(), torch.Generator().manual_seed(seed)
    rows = matrix_names(len(folded.blocks))
    for start in tqdm(range(0, len(images), BATCH), "calibrate", unit="batch", leave=False):
        batch = patches(images[start : start + BATCH])
        kept: dict[str, Tensor] = {}

        def watch(name: str, value: Tensor, kept: dict[str, Tensor] = kept) -> None:
            found.add(name, value)
            if name in rows or name == "head":
                value.retain_grad()
                kept[name] = value

        x = folded.embed(batch).requires_grad_()
        found.add("embed", x)
        for i in range(len(folded.blocks)):
            x = folded.block(i, x, watch)
            found.add(f"blocks.{i}", x)
        logits = folded.classify(x, watch)
        label = torch.multinomial(logits.detach().softmax(1), 1, generator=generator)[:, 0]
        F.cross_entropy(logits, label, reduction="sum").backward()
        for name, value in kept.items():
            assert value.grad is not None
            energy = value.grad.square().flatten(0, -2).sum(0) / len(images)
            found.energy[name] = found.energy.get(name, 0) + energy
    for name, count in found.tokens.items():
        found.moment[name] /= count
        found.mean[name] /= count
    return found


def weight_step(real: Tensor, limit: Tensor, importance: Tensor) -> Tensor:
    """A step per row (rows,) for `real` (rows, inputs) and `limit` (rows,).

    Of a grid of clippings it is the one with the least squared rounding error, inputs weighted by
    `importance` (inputs,).
    """
    reach = real.abs().amax(1).clamp(min=1e-8)
    best = torch.full_like(reach, torch.inf)
    step = reach / limit
    for share in torch.linspace(1.0, 0.35, 27).tolist():
        candidate = share * reach / limit
        error = (rounded(real, candidate, limit) - real).square() @ importance
        step = torch.where(error < best, candidate, step)
        best = torch.minimum(best, error)
    return step


def rounded(real: Tensor, step: Tensor, limit: Tensor) -> Tensor:
    """The nearest representable weights, in real value."""
    q = (real / step[:, None]).round()
    return torch.maximum(torch.minimum(q, limit[:, None]), -limit[:, None]) * step[:, None]


def mean_square(weight: Tensor, moment: Tensor) -> Tensor:
    """Mean square of the result of each row of `weight` (rows, inputs), (rows,)."""
    return ((weight @ moment) * weight).sum(1)


def rounding_noise(real: Tensor, limit: float, moment: Tensor) -> Tensor:
    """Mean squared error (rows,) that rounding to [-limit, limit] causes at the output."""
    limits = torch.full((len(real),), limit)
    step = weight_step(real, limits, moment.diagonal())
    return mean_square(rounded(real, step, limits) - real, moment)


def norm_steps(
    reach: Tensor, matrix: Affine, moment: Tensor, energy: Tensor, share8: float
) -> Tensor:
    """Steps (width,) of a LayerNorm's output.

    Of the candidates of EVENNESS they are those with the least effect of the rounding of weights
    and activations together.
    """
    peak = matrix.weight.abs().amax(0).clamp(min=1e-6)
    best, chosen = torch.inf, torch.empty(0)
    for evenness in EVENNESS:
        step = reach**evenness / peak ** (1 - evenness)
        step = step * (reach / step).max() / ACTIVATION_MAX
        step = torch.maximum(step, step.max() / 64)
        real, scaled = matrix.weight * step, moment / torch.outer(step, step)
        noise = (real.square() / 12).sum(1)
        for limit, part in ((WEIGHT8_MAX, share8), (WEIGHT4_MAX, 1 - share8)):
            if part > 0:
                noise = noise + part * rounding_noise(real, limit, scaled)
        total = float((noise * energy).sum())
        if total < best:
            best, chosen = total, step
    return chosen


def attention_steps(found: Statistics, name: str, heads: int) -> tuple[Tensor, Tensor]:
    """(qkv_step (3 * heads * 64,), mixed_step (heads * 64,)).

    Q's and K's steps multiply to one value per head and give both the same range. V's steps give
    every channel the full range. The output has V's steps over the largest gain that keeps it in
    range.
    """
    q, k, v = found.reach(f"{name}.qkv").reshape(3, heads, HEAD_DIM)
    common = (q * k).sqrt().amax(1, keepdim=True) / WEIGHT8_MAX
    balance = (q / k).sqrt()
    v_step = v / WEIGHT8_MAX
    mixed = found.reach(f"{name}.attention").reshape(heads, HEAD_DIM)
    gain = ACTIVATION_MAX / (mixed / v_step).amax(1, keepdim=True)
    steps = torch.stack([common * balance, common / balance, v_step])
    return steps.flatten(), (v_step / gain).flatten()


def set_ranges(block: QuantBlock, low: float, high: float) -> None:
    """Set the ranges of fc1's and GELU's results.

    fc1's cover [low, high], but nothing below where GELU is flat. GELU's have the same top, where
    GELU is the identity.
    """
    low, high = max(low, GELU_DEAD), max(high, 0.1)
    block.hidden_step = (high - low) / (2 * ACTIVATION_MAX)
    block.hidden_offset = (high + low) / 2
    block.gelu_step = (high - GELU_LOW) / (2 * ACTIVATION_MAX)
    block.gelu_zero = round(-ACTIVATION_MAX - GELU_LOW / block.gelu_step)


def build(folded: Folded, found: Statistics, share8: float) -> QuantisedNetwork:
    """The quantised network with calibrated scales, weights rounded to nearest, all rows 8-bit."""
    stream = ["embed", *(f"blocks.{i}" for i in range(len(folded.blocks)))]
    reach = max(float(found.reach(name).max()) for name in stream)
    heads = [b.heads for b in folded.blocks]
    step = RESIDUAL_HEADROOM * reach / RESIDUAL_MAX
    network = QuantisedNetwork(folded.position, heads, step)
    width = folded.position.shape[1]
    network.patch = linear8(
        Affine(folded.patch, torch.zeros(width)), torch.ones(folded.patch.shape[1])
    )
    for i, (block, source) in enumerate(zip(network.blocks, folded.blocks, strict=True)):
        name = f"blocks.{i}"
        for norm, part in (("norm1", "qkv"), ("norm2", "fc1")):
            steps = norm_steps(
                found.reach(f"{name}.{norm}"),
                getattr(source, part),
                found.moment[f"{name}.{norm}"],
                found.energy[f"{name}.{part}"],
                share8,
            )
            block.register_buffer(norm, steps)
        qkv_step, mixed_step = attention_steps(found, name, block.heads)
        block.register_buffer("qkv_step", qkv_step)
        block.register_buffer("mixed_step", mixed_step)
        set_ranges(
            block, float(found.low[f"{name}.fc1"].min()), float(found.high[f"{name}.fc1"].max())
        )
        attach(block, source, found, name)
    steps = norm_steps(
        found.reach("norm"), folded.head, found.moment["norm"], found.energy["head"], 1.0
    )
    network.register_buffer("norm", steps)
    network.head = linear8(scaled(folded.head, steps), found.moment["norm"].diagonal() / steps**2)
    return network


def scaled(matrix: Affine, step: Tensor | float) -> Affine:
    """The matrix on integer activations whose unit is `step` in real value."""
    return Affine(matrix.weight * step, matrix.bias)


@torch.no_grad()
def search_hidden_ranges(
    network: QuantisedNetwork, folded: Folded, found: Statistics, images: Tensor
) -> dict[int, float]:
    """Clip fc1's and GELU's ranges where that brings the output nearer to the float network's.

    Block by block, of RANGE_CLIPPINGS the fraction of the largest value with the least
    Kullback-Leibler divergence of the logits on uint8 images (N, S, S, 3). The logits decide,
    because no error measured in the layer itself tells how much a range's tails matter. Returns the
    fractions by block.
    """
    inputs, depth = patches(images), len(folded.blocks)
    wanted = folded(inputs).log_softmax(1)
    chosen = {}
    x = network.embed(inputs)
    for i, block in enumerate(tqdm(network.blocks, "clip", unit="block", leave=False)):
        name = f"blocks.{i}"
        low, high = float(found.low[f"{name}.fc1"].min()), float(found.high[f"{name}.fc1"].max())
        best = torch.inf
        for share in RANGE_CLIPPINGS:
            set_ranges(block, low, share * high)
            attach(block, folded.blocks[i], found, name)
            y = x
            for j in range(i, depth):
                y = network.block(j, y)
            got = network.classify(y).log_softmax(1)
            divergence = float(F.kl_div(got, wanted, log_target=True, reduction="batchmean"))
            if divergence < best:
                best, chosen[i] = divergence, share
        set_ranges(block, low, chosen[i] * high)
        attach(block, folded.blocks[i], found, name)
        x = network.block(i, x)
    return chosen


def input_step(block: QuantBlock, part: str) -> Tensor | float:
    """The unit, in real value, of the input of a block's matrix."""
    steps: dict[str, Tensor | float] = {
        "qkv": block.norm1,
        "proj": block.mixed_step,
        "fc1": block.norm2,
        "fc2": block.gelu_step,
    }
    return steps[part]


def attach(block: QuantBlock, source: FoldedBlock, found: Statistics, name: str) -> None:
    """Set a block's matrices, 8-bit and rounded to nearest, for its present scales."""
    for part in INPUT_OF:
        step = input_step(block, part)
        importance = found.moment[matrix_input(f"{name}.{part}")].diagonal()
        matrix = linear8(
            scaled(getattr(source, part), step),
            importance / step**2,
            block.gelu_zero if part == "fc2" else 0,
        )
        setattr(block, part, matrix)


def linear8(real: Affine, importance: Tensor, zero: int = 0) -> QuantLinear:
    """An 8-bit matrix rounded to nearest."""
    bits = torch.full((len(real.weight),), 8)
    limit = torch.full((len(real.weight),), float(WEIGHT8_MAX))
    return QuantLinear(real, bits, weight_step(real.weight, limit, importance), zero)
