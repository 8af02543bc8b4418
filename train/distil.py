"""Distillation: the quantised network learns to answer as the float one does.

No labels are used. Weights (through their roundings), row scales and biases move to reduce the
Kullback-Leibler divergence of the logits and the difference of the normalised residuals in the
middle and near the end, on random crops and mirror images of the training pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from train.fold import Folded, normed, patches
from train.network import QuantisedNetwork, QuantLinear

BETAS = (0.9, 0.99)
BIAS_REACH = 50.0
"""A row's result is of the order of this many spans: the unit in which biases learn."""


@dataclass(frozen=True)
class Schedule:
    """images: how many are seen in all; batch; rate: Adam's for weights in units of their range,
    falling to zero as a cosine; hint: weight of the residuals' part of the loss."""

    images: int
    batch: int = 16
    rate: float = 5e-4
    hint: float = 1.0
    seed: int = 0

    @property
    def steps(self) -> int:
        return self.images // self.batch


def augment(pictures: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """A crop of `size` at one random place for the batch, each picture mirrored by chance."""
    room = pictures.shape[1] - size
    top, left = torch.randint(0, room + 1, (2,), generator=generator).tolist()
    x = pictures[:, top : top + size, left : left + size]
    mirrored = torch.rand(len(x), generator=generator) < 0.5
    return torch.where(mirrored[:, None, None, None], x.flip(2), x)


def parameter_groups(network: QuantisedNetwork, rate: float) -> list[dict[str, object]]:
    """Weights learn in units of their range, spans and biases in units of the mean span."""
    groups: list[dict[str, object]] = []
    layers = [m for m in network.modules() if isinstance(m, QuantLinear)]
    groups.append({"params": [m.weight for m in layers], "lr": rate})
    for layer in layers:
        span = float(layer.span.detach().abs().mean())
        groups.append({"params": [layer.span], "lr": rate * span})
        groups.append({"params": [layer.bias], "lr": rate * span * BIAS_REACH})
    return groups


def distil(
    network: QuantisedNetwork, teacher: Folded, pictures: Tensor, size: int, schedule: Schedule
) -> list[float]:
    """Train in place on uint8 pictures (N, S, S, 3), S >= size; the loss of every step."""
    generator = torch.Generator().manual_seed(schedule.seed)
    optimiser = torch.optim.Adam(parameter_groups(network, schedule.rate), betas=BETAS)
    decay = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: 0.5 * (1 + math.cos(math.pi * step / schedule.steps)),
    )
    hints = (len(teacher.blocks) // 2, len(teacher.blocks) - 2)
    losses = []
    order = torch.empty(0, dtype=torch.int64)
    progress = tqdm(range(schedule.steps), "distil", unit="step", leave=False)
    for _ in progress:
        if len(order) < schedule.batch:
            order = torch.randperm(len(pictures), generator=generator)
        rows, order = order[: schedule.batch], order[schedule.batch :]
        inputs = patches(augment(pictures[rows], size, generator))
        loss = step_loss(network, teacher, inputs, hints, schedule.hint)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        decay.step()
        losses.append(float(loss.detach()))
        progress.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
    return losses


def step_loss(
    network: QuantisedNetwork, teacher: Folded, inputs: Tensor, hints: tuple[int, ...], hint: float
) -> Tensor:
    """KL(teacher, student) of the logits + hint * mean squared difference of LN(residual)."""
    with torch.no_grad():
        x = teacher.embed(inputs)
        wanted = {}
        for i in range(len(teacher.blocks)):
            x = teacher.block(i, x)
            if i in hints:
                wanted[i] = normed(x)
        target = teacher.classify(x).log_softmax(1)
    x = network.embed(inputs)
    loss = torch.zeros(())
    for i in range(len(network.blocks)):
        x = network.block(i, x)
        if i in hints:
            loss = loss + hint * F.mse_loss(normed(x), wanted[i])
    got = network.classify(x).log_softmax(1)
    return loss + F.kl_div(got, target, log_target=True, reduction="batchmean")
