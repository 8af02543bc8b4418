"""Training steps: of a supernet by the sandwich rule (Yu and Huang, 2019), or of fixed subnets.

A step follows from the recipe, the seed and the step's number alone, so that a run that was stopped
and goes on ends with the weights that it would have had.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from ..data.recipe import TrainingRecipe
from ..networks.folded import Folded, patches
from ..networks.supernet import Answer, Supernet
from ..networks.teacher import TeacherTargets, divergence, teacher_forward
from ..spaces.space import Space, Subnet
from .ranking import rank, renew

BETAS = (0.9, 0.99)


def hint_blocks(depth: int) -> tuple[int, ...]:
    """The blocks whose residuals are compared: in the middle and near the end."""
    return tuple(sorted({depth // 2, max(0, depth - 2)}))


def loss_of(
    answer: Answer,
    targets: TeacherTargets | None,
    largest: Tensor | None,
    classes: Tensor | None,
    recipe: TrainingRecipe,
) -> Tensor:
    """The loss of one subnet, weighted as the recipe says.

    targets: None without a teacher; largest: the largest subnet's log-probabilities (N, classes);
    classes: class numbers (N,).
    """
    loss = answer.logits.new_zeros(())
    if targets is not None:
        apart = divergence(answer.logits, targets.log_probabilities, recipe.temperature)
        loss = loss + recipe.teacher * apart
        for i, x in answer.after.items():
            width = x.shape[-1]
            loss = loss + recipe.hint * F.mse_loss(x, targets.residuals[i][..., :width])
    if largest is not None and recipe.inplace:
        loss = loss + recipe.inplace * divergence(answer.logits, largest)
    if classes is not None and recipe.label:
        loss = loss + recipe.label * F.cross_entropy(answer.logits, classes)
    return loss


def sandwich(space: Space, recipe: TrainingRecipe, step: int) -> list[Subnet]:
    """The largest subnet, the smallest, and `random` more; the same in every process."""
    rng = random.Random(f"{recipe.seed} {step}")
    return [
        space.largest(),
        space.smallest(),
        *(space.sample(rng) for _ in range(recipe.random)),
    ]


def kept_tokens(patches: int, recipe: TrainingRecipe, step: int) -> Tensor | None:
    """The tokens that a step keeps, CLS first, ascending, alike in every process; None for all."""
    if recipe.tokens == 1:
        return None
    generator = torch.Generator().manual_seed(recipe.seed + step)
    order = torch.randperm(patches, generator=generator)
    chosen = order[: max(1, round(recipe.tokens * patches))].sort().values
    return torch.cat([torch.zeros(1, dtype=torch.int64), chosen + 1])


def mixed(images: Tensor, recipe: TrainingRecipe, step: int) -> Tensor:
    """uint8 images (N, S, S, 3), each mixed with another one as the recipe says."""
    if not recipe.mixup:
        return images
    rng = random.Random(f"{recipe.seed} {step} mixup")
    share, by = rng.uniform(0, recipe.mixup), rng.randrange(1, max(2, len(images)))
    mixture = torch.lerp(images.float(), images.roll(by, 0).float(), share)
    return mixture.round().to(torch.uint8)


def learning_rate(recipe: TrainingRecipe, step: int) -> float:
    """The learning rate: a linear warm-up, then a cosine to 0."""
    warmup = max(1, round(recipe.warmup * recipe.steps))
    if step < warmup:
        return recipe.rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, recipe.steps - warmup)
    return recipe.rate * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class Process:
    """Which process of how many this is, and the device it computes on."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"

    @classmethod
    def join(cls) -> Process:
        """The process as torchrun's environment says: one per GPU, else on the CPU over gloo."""
        rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        gpu = torch.cuda.is_available()
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if gpu else "cpu"
        if world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if gpu else "gloo")
        return cls(rank, world, device)


def average_gradients(parameters: Iterable[Tensor], world: int) -> None:
    """Replace gradients by the mean over all processes, in one exchange per step.

    A step is several passes through different parts of the weights, whose gradients add up first.
    An exchange per pass, as in DistributedDataParallel, would send them several times and fail on
    the parts that a pass does not touch.
    """
    if world == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= world
    for g, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        g.copy_(part.view_as(g))


class Trainer:
    """A supernet, its moving average, its optimiser and the number of steps taken.

    fixed: the subnets that every step trains, in place of the sandwich rule.
    """

    def __init__(
        self,
        supernet: Supernet,
        teacher: Folded,
        recipe: TrainingRecipe,
        *,
        fixed: list[Subnet] | None = None,
        process: Process | None = None,
    ) -> None:
        self.recipe, self.fixed, self.process = recipe, fixed, process or Process()
        self.supernet = supernet.to(self.process.device)
        self.teacher = teacher.to(self.process.device)
        if self.process.world > 1:
            for value in self.supernet.state_dict().values():
                dist.broadcast(value, 0)
        self.average = {n: p.detach().clone() for n, p in self.supernet.named_parameters()}
        self.optimiser = torch.optim.Adam(
            self.supernet.parameters(), lr=recipe.rate, betas=BETAS, fused=True
        )
        self.hints = hint_blocks(len(teacher.blocks)) if recipe.hint else ()
        self.step = 0

    def subnets(self) -> list[Subnet]:
        """The subnets of this step, the largest first."""
        return self.fixed or sandwich(self.supernet.space, self.recipe, self.step)

    def train_step(self, images: Tensor, classes: Tensor | None = None) -> dict[str, float]:
        """Take one step on uint8 images (N, S, S, 3); returns losses and what else to log.

        classes (N,): class numbers, None without. A parameter that no subnet uses has a gradient of
        0, so that all processes and all steps average the same parameters.
        """
        recipe = self.recipe
        inputs = patches(mixed(images.to(self.process.device), recipe, self.step))
        tokens = kept_tokens(inputs.shape[1] - 1, recipe, self.step)
        if tokens is not None:
            inputs, tokens = inputs[:, tokens], tokens.to(inputs.device)
        targets = None
        if recipe.teacher:
            targets = teacher_forward(self.teacher, inputs, self.hints, tokens)
        self.optimiser.zero_grad(set_to_none=False)
        largest, losses = None, []
        subnets = self.subnets()
        for subnet in subnets:
            hints = self.hints if targets else ()
            answer = self.supernet(inputs, subnet, hints, tokens=tokens)
            loss = loss_of(answer, targets, largest, classes, recipe)
            (loss / len(subnets)).backward()
            losses.append(float(loss.detach()))
            if largest is None:
                largest = answer.logits.detach().log_softmax(1)
        parameters = list(self.supernet.parameters())
        for p in parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        average_gradients(parameters, self.process.world)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, recipe.clip))
        now = learning_rate(recipe, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = now
        self.optimiser.step()
        self.step += 1
        self.update_ema()
        if recipe.rerank and self.step % recipe.rerank == 0:
            self.rerank(images)
        return {
            "largest": losses[0],
            "smallest": losses[min(1, len(losses) - 1)],
            "loss": sum(losses) / len(losses),
            "gradient": norm,
            "rate": now,
        }

    def rerank(self, images: Tensor) -> None:
        """Renew the rows' importance on this step's pictures, alike in every process."""
        space, process = self.supernet.space, self.process
        most = space.largest()
        half = space.shares[len(space.shares) // 2]
        block = most.blocks[0]
        subnet = Subnet.uniform(most.width, most.depth, block.heads, block.mlp, half)
        seed = self.recipe.seed + self.step * process.world + process.rank
        found = rank(self.supernet, subnet, images.to(process.device), seed)
        if process.world > 1:
            for importance in found.values():
                dist.all_reduce(importance)
        renew(self.supernet, found)

    @torch.no_grad()
    def update_ema(self) -> None:
        """Move the average towards the weights; faster in the first steps."""
        keep = min(self.recipe.ema, self.step / (self.step + 10))
        averages = [self.average[n] for n, _ in self.supernet.named_parameters()]
        torch._foreach_lerp_(averages, [p.detach() for p in self.supernet.parameters()], 1 - keep)

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "step": self.step,
            "supernet": self.supernet.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state()`."""
        self.step = state["step"]
        self.supernet.load_state_dict(state["supernet"])
        with torch.no_grad():
            for name, value in state["average"].items():
                self.average[name].copy_(value)
        self.optimiser.load_state_dict(state["optimiser"])

    def averaged(self) -> Supernet:
        """The supernet with the averaged weights."""
        copy = Supernet(self.supernet.space, layer_scaling=self.recipe.layer_scaling)
        copy.load_state_dict({**self.supernet.state_dict(), **self.average})
        return copy.to(self.process.device)
