"""Training: of a supernet by the sandwich rule, or of one subnet.

`train.run` and `train.finetune` call it. What a step does follows from the recipe, the seed and the
step's number alone, so that a run that was stopped and goes on ends with the weights that it would
have had.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from ..data.recipe import TrainRecipe
from ..networks.folded import Folded, normed, patches
from ..networks.supernet import Answer, Supernet
from ..spaces.space import Space, Subnet
from .ranking import rank, renew

BETAS = (0.9, 0.99)
BATCH = 32


@dataclass
class Wanted:
    """What the teacher answers: log-probabilities (N, classes), normalised residuals by block."""

    answer: Tensor
    after: dict[int, Tensor]


def hint_blocks(depth: int) -> tuple[int, ...]:
    """The blocks whose results are compared: in the middle and near the end."""
    return tuple(sorted({depth // 2, max(0, depth - 2)}))


@torch.no_grad()
def ask(
    teacher: Folded, activations: Tensor, hints: tuple[int, ...], tokens: Tensor | None = None
) -> Wanted:
    """The teacher's answer, its matrix products in bfloat16; tokens: as for the supernet."""
    if tokens is not None:
        teacher = replace(teacher, position=teacher.position[tokens])
    after = {}
    with torch.autocast(activations.device.type, torch.bfloat16):
        x = teacher.embed(activations)
        for i in range(len(teacher.blocks)):
            x = teacher.block(i, x)
            if i in hints:
                after[i] = normed(x.float())
        logits = teacher.classify(x)
    return Wanted(logits.float().log_softmax(1), after)


def divergence(answer: Tensor, wanted: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(wanted, answer), mean over the batch; wanted as log-probabilities.

    At a temperature T both are divided by it first, and the result multiplied by its square: it
    stays of the same order. For a large T it is half the difference's variance over the classes.
    """
    wanted, answer = (wanted / temperature).log_softmax(1), (answer / temperature).log_softmax(1)
    kl = F.kl_div(answer, wanted, log_target=True, reduction="batchmean")
    return kl * temperature**2


def loss_of(
    answer: Answer,
    wanted: Wanted | None,
    largest: Tensor | None,
    classes: Tensor | None,
    recipe: TrainRecipe,
) -> Tensor:
    """The loss of one subnet's answer. largest: the largest subnet's log-probabilities."""
    loss = answer.logits.new_zeros(())
    if wanted is not None:
        apart = divergence(answer.logits, wanted.answer, recipe.temperature)
        loss = loss + recipe.teacher * apart
        for i, x in answer.after.items():
            width = x.shape[-1]
            loss = loss + recipe.hint * F.mse_loss(x, wanted.after[i][..., :width])
    if largest is not None and recipe.inplace:
        loss = loss + recipe.inplace * divergence(answer.logits, largest)
    if classes is not None and recipe.label:
        loss = loss + recipe.label * F.cross_entropy(answer.logits, classes)
    return loss


def sandwich(space: Space, recipe: TrainRecipe, step: int) -> list[Subnet]:
    """The largest subnet, the smallest, and `random` more; the same in every process."""
    rng = random.Random(f"{recipe.seed} {step}")
    return [
        space.largest(),
        space.smallest(),
        *(space.sample(rng) for _ in range(recipe.random)),
    ]


def kept_tokens(patches: int, recipe: TrainRecipe, step: int) -> Tensor | None:
    """CLS and the patches that a step keeps, ascending, the same in every process; None for all."""
    if recipe.tokens == 1:
        return None
    generator = torch.Generator().manual_seed(recipe.seed + step)
    order = torch.randperm(patches, generator=generator)
    chosen = order[: max(1, round(recipe.tokens * patches))].sort().values
    return torch.cat([torch.zeros(1, dtype=torch.int64), chosen + 1])


def mixed(images: Tensor, recipe: TrainRecipe, step: int) -> Tensor:
    """uint8 images (N, S, S, 3), each with a share of another one, as the recipe says."""
    if not recipe.mixup:
        return images
    rng = random.Random(f"{recipe.seed} {step} mixup")
    share, by = rng.uniform(0, recipe.mixup), rng.randrange(1, max(2, len(images)))
    mixture = torch.lerp(images.float(), images.roll(by, 0).float(), share)
    return mixture.round().to(torch.uint8)


def rate(recipe: TrainRecipe, step: int) -> float:
    """The learning rate: a linear warm-up, then a cosine to 0."""
    warmup = max(1, round(recipe.warmup * recipe.steps))
    if step < warmup:
        return recipe.rate * (step + 1) / warmup
    done = (step - warmup) / max(1, recipe.steps - warmup)
    return recipe.rate * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class Place:
    """Which process of how many this is, and where it computes."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"

    @classmethod
    def join(cls) -> Place:
        """As torchrun says: one process a GPU where there are GPUs, else gloo on CPUs."""
        rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        gpu = torch.cuda.is_available()
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if gpu else "cpu"
        if world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if gpu else "gloo")
        return cls(rank, world, device)


def average_gradients(parameters: Iterable[Tensor], world: int) -> None:
    """The mean of all processes' gradients, in one exchange a step.

    A step is several passes through different parts of the weights, whose gradients add up first:
    an exchange during each pass, as DistributedDataParallel does it, would send them several times
    and stumble over the parts that a pass does not touch.
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
    """A supernet, its average, its optimiser and the step that it has reached.

    fixed: the subnets that every step trains, in place of the sandwich.
    """

    def __init__(
        self,
        supernet: Supernet,
        teacher: Folded,
        recipe: TrainRecipe,
        *,
        fixed: list[Subnet] | None = None,
        place: Place | None = None,
    ) -> None:
        self.recipe, self.fixed, self.place = recipe, fixed, place or Place()
        self.supernet = supernet.to(self.place.device)
        self.teacher = teacher.to(self.place.device)
        if self.place.world > 1:
            for value in self.supernet.state_dict().values():
                dist.broadcast(value, 0)
        self.average = {n: p.detach().clone() for n, p in self.supernet.named_parameters()}
        self.optimiser = torch.optim.Adam(
            self.supernet.parameters(), lr=recipe.rate, betas=BETAS, fused=True
        )
        self.hints = hint_blocks(len(teacher.blocks)) if recipe.hint else ()
        self.done = 0

    def subnets(self) -> list[Subnet]:
        """What this step trains, the largest first."""
        return self.fixed or sandwich(self.supernet.space, self.recipe, self.done)

    def step(self, images: Tensor, classes: Tensor | None = None) -> dict[str, float]:
        """One step on uint8 images (N, S, S, 3): the losses of its subnets, and what else to log.

        Parameters that a subnet does not use have gradients of 0, not none: all processes and all
        steps exchange and average the same parameters.
        """
        recipe = self.recipe
        inputs = patches(mixed(images.to(self.place.device), recipe, self.done))
        tokens = kept_tokens(inputs.shape[1] - 1, recipe, self.done)
        if tokens is not None:
            inputs, tokens = inputs[:, tokens], tokens.to(inputs.device)
        wanted = ask(self.teacher, inputs, self.hints, tokens) if recipe.teacher else None
        self.optimiser.zero_grad(set_to_none=False)
        largest, losses = None, []
        subnets = self.subnets()
        for subnet in subnets:
            hints = self.hints if wanted else ()
            answer = self.supernet(inputs, subnet, hints, tokens=tokens)
            loss = loss_of(answer, wanted, largest, classes, recipe)
            (loss / len(subnets)).backward()
            losses.append(float(loss.detach()))
            if largest is None:
                largest = answer.logits.detach().log_softmax(1)
        parameters = list(self.supernet.parameters())
        for p in parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        average_gradients(parameters, self.place.world)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, recipe.clip))
        now = rate(recipe, self.done)
        for group in self.optimiser.param_groups:
            group["lr"] = now
        self.optimiser.step()
        self.done += 1
        self.follow()
        if recipe.rerank and self.done % recipe.rerank == 0:
            self.rerank(images)
        return {
            "largest": losses[0],
            "smallest": losses[min(1, len(losses) - 1)],
            "loss": sum(losses) / len(losses),
            "gradient": norm,
            "rate": now,
        }

    def rerank(self, images: Tensor) -> None:
        """Renew the rows' ranking on this step's pictures, the same in every process."""
        space, place = self.supernet.space, self.place
        most = space.largest()
        half = space.shares[len(space.shares) // 2]
        block = most.blocks[0]
        subnet = Subnet.uniform(most.width, most.depth, block.heads, block.mlp, half)
        seed = self.recipe.seed + self.done * place.world + place.rank
        found = rank(self.supernet, subnet, images.to(place.device), seed)
        if place.world > 1:
            for worth in found.values():
                dist.all_reduce(worth)
        renew(self.supernet, found)

    @torch.no_grad()
    def follow(self) -> None:
        """Move the average towards the weights; faster while there is little to average."""
        keep = min(self.recipe.ema, self.done / (self.done + 10))
        averages = [self.average[n] for n, _ in self.supernet.named_parameters()]
        torch._foreach_lerp_(averages, [p.detach() for p in self.supernet.parameters()], 1 - keep)

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "step": self.done,
            "supernet": self.supernet.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        self.done = state["step"]
        self.supernet.load_state_dict(state["supernet"])
        with torch.no_grad():
            for name, value in state["average"].items():
                self.average[name].copy_(value)
        self.optimiser.load_state_dict(state["optimiser"])

    def averaged(self) -> Supernet:
        """The supernet with the averaged weights."""
        copy = Supernet(self.supernet.space, layer_scaling=self.recipe.layer_scaling)
        copy.load_state_dict({**self.supernet.state_dict(), **self.average})
        return copy.to(self.place.device)
