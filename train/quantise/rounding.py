"""Rounding that minimises the error of a matrix's output, layer after layer.

The inputs a of a matrix are those of the quantised network, so that later layers see the errors of
earlier ones; the targets y are the float network's results.

1. Refit the weights: W = argmin |y - W a - b|^2 with a pull towards the original ones.
2. Round one input after another, and let the later inputs make up for each error e: with H the
   covariance of a and U the upper Cholesky factor of its inverse, rounding input j changes the
   later weights by -e * U[j, j:] / U[j, j] (GPTQ, Frantar et al., 2022). Of several steps per row
   the one with the least error is kept.
3. Go through the integers again, each set to its best value beside the others (coordinate descent).
4. Set the bias so that the mean error is zero.

The target of a matrix that writes to the residual is what the residual lacks. A LayerNorm reads the
residual and divides a token by its deviation, so these errors count relative to the deviation.
Otherwise the few tokens of huge values that some networks use as attention sinks would be all that
counts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from quasar_runtime.isa.arithmetic import WEIGHT4_MAX, WEIGHT8_MAX

from ..networks.folded import BATCH, Folded, patches
from ..networks.integer import add_residual, attend, expand, norm_forward, product
from ..networks.quantised import (
    QuantBlock,
    QuantisedNetwork,
    QuantLinear,
    attention_factors,
    gelu_table,
    norm_gain,
)
from .calibrate import INPUT_OF, mean_square, weight_step

PULL = 1.0
"""Added to the covariance's diagonal in the refit, as a fraction of its mean. It pulls towards the
original weights, most of all in directions in which the inputs vary little."""
DAMPING = 0.1
"""The same in rounding: the cost of an error in directions in which the calibration's inputs do not
vary, but others may."""
REFIT_TOKENS = 16
"""Least number of tokens per input for a refit."""
CELL = 0.4
"""Largest distance of an 8-bit weight from its 4-bit integer, in 4-bit steps."""
COLUMNS = 96
"""Inputs rounded before the later weights are updated."""
STEP_CLIPPINGS = tuple(1 - 0.6 * i / 7 for i in range(8))
"""Candidates for a row's step: fraction of its largest weight that the largest integer means."""
SWEEPS = 3
"""Most sweeps of coordinate descent."""


def round_columns(
    weight: Tensor, covariance: Tensor, step: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Integer weights (rows, inputs) for real ones, with the least error at the output.

    low, high: bounds of the integers, broadcast to (rows, inputs).
    """
    order = covariance.diagonal().argsort(descending=True)
    w = weight[:, order].double()
    low, high = (x.double().expand_as(weight)[:, order] for x in (low, high))
    h = covariance[order][:, order].double()
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    step = step.double()
    q = torch.empty_like(w)
    for first in range(0, w.shape[1], COLUMNS):
        last = min(first + COLUMNS, w.shape[1])
        errors = torch.empty(len(w), last - first, dtype=torch.float64)
        for j in range(first, last):
            nearest = (w[:, j] / step).round()
            q[:, j] = torch.minimum(torch.maximum(nearest, low[:, j]), high[:, j])
            errors[:, j - first] = (w[:, j] - q[:, j] * step) / upper[j, j]
            w[:, j + 1 : last] -= errors[:, j - first, None] * upper[j, j + 1 : last]
        w[:, last:] -= errors @ upper[first:last, last:]
    result = torch.empty_like(q)
    result[:, order] = q
    return result.float()


def best_step(integers: Tensor, weight: Tensor, covariance: Tensor, otherwise: Tensor) -> Tensor:
    """The steps (rows,) of least error for these integers; `otherwise` where none is positive."""
    seen = integers.double() @ covariance
    with_weight, with_itself = (seen * weight).sum(1), (seen * integers).sum(1)
    good = (with_weight > 0) & (with_itself > 0)
    return torch.where(good, with_weight / with_itself, otherwise.double()).float()


def round_freely(weight: Tensor, covariance: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
    """(integers (rows, inputs), steps (rows,)) for real weights in float64.

    The integers stay within `limit` (rows,). Of STEP_CLIPPINGS each row has the one of least error.
    """
    reach = weight.abs().amax(1).clamp(min=1e-8).float()
    tried, bound = len(STEP_CLIPPINGS), limit[:, None]
    every = weight.repeat(tried, 1)
    step = (torch.tensor(STEP_CLIPPINGS)[:, None] * reach / limit).flatten()
    bounds = bound.repeat(tried, 1)
    integers = round_columns(every, covariance, step, -bounds, bounds)
    step = best_step(integers, every, covariance, step)
    error = mean_square(integers * step[:, None] - every, covariance)
    least = error.unflatten(0, (tried, -1)).argmin(0) * len(weight) + torch.arange(len(weight))
    best, chosen = integers[least], step[least]
    for _ in range(SWEEPS):
        chosen = best_step(best, weight, covariance, chosen)
        again = descend(best, weight, covariance, chosen, -bound, bound)
        if torch.equal(again, best):
            break
        best = again
    return best, chosen


def descend(
    integers: Tensor, weight: Tensor, covariance: Tensor, step: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """The integers (rows, inputs) after coordinate descent.

    One input after the other is set to the integer between low and high of least error beside the
    others.
    """
    q, step, diagonal = integers.double(), step.double(), covariance.diagonal()
    low, high = (x.double().expand_as(q) for x in (low, high))
    slope = (q * step[:, None] - weight) @ covariance
    for j in diagonal.argsort(descending=True).tolist():
        wanted = (q[:, j] - slope[:, j] / (step * diagonal[j])).round()
        change = torch.minimum(torch.maximum(wanted, low[:, j]), high[:, j]) - q[:, j]
        slope += (change * step)[:, None] * covariance[j]
        q[:, j] += change
    return q.float()


def cells(narrow: QuantLinear, step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(step (rows,), low, high (rows, inputs)) of 8-bit weights that round to `narrow`'s integers.

    step: the given steps, larger where the cell of a 4-bit integer would be out of reach; low,
    high: bounds as 8-bit integers. A row that `narrow` has in 8 bits keeps its integers.
    """
    q = narrow.integers()
    nearest = (q.abs() - CELL).amax(1).clamp(min=0) * narrow.step
    step = torch.maximum(step, nearest / (WEIGHT8_MAX - 1))
    ratio = (narrow.step / step)[:, None]
    low = torch.where(q > -WEIGHT4_MAX, ((q - CELL) * ratio).ceil(), -torch.inf)
    high = torch.where(q < WEIGHT4_MAX, ((q + CELL) * ratio).floor(), torch.inf)
    limit = float(WEIGHT8_MAX)
    low, high = low.clamp(-limit, limit), high.clamp(-limit, limit)
    kept = narrow.bits == 8
    step = torch.where(kept, narrow.step, step)
    kept = kept[:, None]
    return step, torch.where(kept, q, low), torch.where(kept, q, high)


def token_weights(residual: Tensor) -> Tensor:
    """The weight (N, T) of a token's squared error in the residual (N, T, width), 1 on average.

    It is one over the token's variance, by which LayerNorm divides.
    """
    weight = 1 / residual.var(-1).clamp(min=1e-6)
    return weight / weight.mean()


def round_matrix(
    layer: QuantLinear,
    a: Tensor,
    y: Tensor,
    bits: Tensor,
    narrow: QuantLinear | None = None,
    weight: Tensor | None = None,
) -> None:
    """Round a matrix in place, for integer inputs a (N, T, K) and targets y (N, T, R).

    bits (R,): precision of each row. narrow: the same matrix in 4 bits, to whose integers the 8-bit
    weights are to round; its own 8-bit rows keep weights and bias. weight (N, T): of a token's
    squared error, 1 on average; None for all alike.
    """
    a, y = a.flatten(0, -2).float() - layer.zero, y.flatten(0, -2)
    w = torch.ones(len(a), 1) if weight is None else weight.flatten()[:, None]
    mean_a, mean_y = (w * a).mean(0), (w * y).mean(0)
    a, y = a - mean_a, y - mean_y
    covariance = ((w * a).t() @ a / len(a)).double()
    unit = covariance.diagonal().mean().clamp(min=1e-6)
    real = (layer.weight * layer.step[:, None]).double()
    if len(a) >= REFIT_TOKENS * a.shape[1]:
        wanted = ((w * y).t() @ a / len(a)).double() + PULL * unit * real
        held = covariance + PULL * unit * torch.eye(len(covariance), dtype=torch.float64)
        real = torch.linalg.solve(held, wanted.t()).t()
    covariance.diagonal().add_(DAMPING * unit)
    layer.bits.copy_(bits)
    layer.limit.copy_(torch.where(bits == 8, float(WEIGHT8_MAX), float(WEIGHT4_MAX)))
    if narrow is None:
        integers, step = round_freely(real, covariance, layer.limit)
    else:
        step = weight_step(real.float(), layer.limit, covariance.diagonal().float())
        step, low, high = cells(narrow, step)
        integers = round_columns(real, covariance, step, low, high)
        integers = descend(integers, real, covariance, step, low, high)
    layer.step.copy_(step)
    layer.weight.copy_(integers)
    layer.bias.copy_(mean_y - step * (integers @ mean_a))
    if narrow is not None:
        layer.bias.copy_(torch.where(narrow.bits == 8, narrow.bias, layer.bias))


@torch.no_grad()
def round_network(
    network: QuantisedNetwork,
    folded: Folded,
    bits: dict[str, Tensor],
    images: Tensor,
    narrow: QuantisedNetwork | None = None,
) -> None:
    """Round every matrix in the order in which it runs, on uint8 images (N, S, S, 3).

    bits: (rows,) by matrix. narrow: the network in 4 bits, to whose integers all weights of the
    blocks are to round.
    """
    wanted: dict[str, Tensor] = {}

    def batches(function, *values: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        parts = [
            function(*(v[s : s + BATCH] for v in values)) for s in range(0, len(images), BATCH)
        ]
        return torch.cat(parts)

    inputs = patches(images)
    x_float = batches(folded.embed, inputs)
    x = batches(network.embed, inputs)
    for i in tqdm(range(len(network.blocks)), "round", unit="block", leave=False):
        count = 1 if i == len(network.blocks) - 1 else x.shape[1]
        seen: dict[str, list[Tensor]] = {p: [] for p in INPUT_OF}

        def watch(n: str, value: Tensor, seen: dict[str, list[Tensor]] = seen) -> None:
            part = n.rpartition(".")[2]
            if part in seen:
                seen[part].append(value)

        after = batches(lambda v, i=i: folded.block(i, v, watch), x_float)
        wanted = {part: torch.cat(values) for part, values in seen.items()}
        middle = x_float[:, :count] + wanted["proj"]

        of_block = {part: bits[f"blocks.{i}.{part}"] for part in INPUT_OF}
        small = narrow.blocks[i] if narrow else None
        x = round_attention(network, i, x, wanted, middle, of_block, small)
        x = round_mlp(network, i, x, wanted["fc1"], after, of_block, small)
        x_float = after
    z8, _, _ = norm_forward(network.integers(x[:, 0]), norm_gain(network.norm), network.epsilon)
    round_matrix(network.head, z8, folded.classify(x_float), network.head.bits.clone())


def round_attention(
    network: QuantisedNetwork,
    i: int,
    x: Tensor,
    wanted: dict[str, Tensor],
    middle: Tensor,
    bits: dict[str, Tensor],
    narrow: QuantBlock | None,
) -> Tensor:
    """Round block i's qkv and proj; returns the residual after them.

    wanted: the float results by matrix; middle: the target of the residual.
    """
    block, unit, count = network.blocks[i], network.residual_step, middle.shape[1]
    z8, _, _ = norm_forward(network.integers(x), norm_gain(block.norm1), network.epsilon)
    round_matrix(block.qkv, z8, wanted["qkv"], bits["qkv"], narrow.qkv if narrow else None)
    qkv = block.qkv.matrix(block.qkv_step).packed()
    score, mean = attention_factors(block.qkv_step, block.mixed_step)
    mixed8 = torch.cat([attend(part, qkv, score, mean, count)[3] for part in z8.split(BATCH)])
    lacking, weight = middle - x[:, :count], token_weights(middle)
    round_matrix(block.proj, mixed8, lacking, bits["proj"], narrow.proj if narrow else None, weight)
    proj = block.proj.matrix(unit).packed()
    start = network.integers(x[:, :count])
    return add_residual(start, product(mixed8, proj.weight), proj.bias, proj.factor) * unit


def round_mlp(
    network: QuantisedNetwork,
    i: int,
    x: Tensor,
    hidden: Tensor,
    after: Tensor,
    bits: dict[str, Tensor],
    narrow: QuantBlock | None,
) -> Tensor:
    """Round block i's fc1 and fc2; returns the residual after them.

    hidden: fc1's float results; after: the target of the residual.
    """
    block, unit = network.blocks[i], network.residual_step
    z8, _, _ = norm_forward(network.integers(x), norm_gain(block.norm2), network.epsilon)
    round_matrix(block.fc1, z8, hidden, bits["fc1"], narrow.fc1 if narrow else None)
    fc1 = block.fc1.matrix(block.hidden_step, block.hidden_offset).packed()
    table = gelu_table(block)[0].to(torch.int8)
    u8 = torch.cat([expand(part, fc1, table)[1] for part in z8.split(BATCH)])
    round_matrix(
        block.fc2, u8, after - x, bits["fc2"], narrow.fc2 if narrow else None, token_weights(after)
    )
    fc2 = block.fc2.matrix(unit).packed()
    return add_residual(network.integers(x), product(u8, fc2.weight), fc2.bias, fc2.factor) * unit
