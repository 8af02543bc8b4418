"""The training loop: views in, steps taken, metrics and state written."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from quasar_runtime.errors import DataError

from ..data.labels import Labels
from ..data.pictures import decoded, in_turn, pictures, to_calibrate_on
from ..data.recipe import TrainingRecipe
from ..data.source import Source
from ..data.views import Augmentation, Batches, Views, load, split
from ..messages import warn_left_out
from ..networks.checkpoint import Checkpoint
from ..networks.teacher import subnet_agreement, teacher_log_probabilities
from ..spaces.space import Space, Subnet
from .folder import held
from .initial import InitialState, check_fits, initial_state
from .metrics import Log
from .run_folder import RunSpec, facts_of, prepare, save_state
from .trainer import Process, Trainer


def calibration(
    checkpoint: Checkpoint, source: Source, names: list[str], recipe: TrainingRecipe
) -> Tensor:
    """Calibration pictures, uint8 (N, S, S, 3), of as many classes of the names as can be."""
    order = in_turn(to_calibrate_on(set(names)), recipe.seed)
    return decoded(source, order, recipe.calibration, checkpoint.preprocessing).images


def views_of(source: Source, names: list[str], size: int, recipe: TrainingRecipe) -> Views:
    """The views that a recipe trains on, (size, size) pixels."""
    how = Augmentation(recipe.scale, colour=recipe.colour)
    return Views(source, names, size, how, recipe.seed)


def check_classes(names: list[str], labels: Labels, recipe: TrainingRecipe) -> None:
    """DataError when a recipe learns from classes and a picture's folder is none of them."""
    known = {wnid for wnid, _ in labels}
    unknown = sorted({n.split("/")[0] for n in names} - known)
    if recipe.label and unknown:
        raise DataError(
            f"the folder {unknown[0]} ({len(unknown)} in all) is no class of the labels, such as "
            f"{labels[0][0]}; a recipe with `label` learns from classes: rename them, or give "
            "--labels"
        )


def sentinels(space: Space) -> dict[str, Subnet]:
    """The subnets that evaluations measure, by name.

    The largest with all rows 8-bit, half of them and none, and the smallest.
    """
    most = space.largest()
    block = most.blocks[0]
    shares = space.shares
    chosen = {"8-bit": shares[-1], "half": shares[len(shares) // 2], "4-bit": shares[0]}
    uniform = {
        name: Subnet.uniform(most.width, most.depth, block.heads, block.mlp, share)
        for name, share in chosen.items()
    }
    return {**uniform, "smallest": space.smallest()}


def evaluate(trainer: Trainer, held_out: Tensor, log: Log) -> None:
    """Log the agreement with the teacher of the averaged weights on uint8 images (N, S, S, 3).

    Measured are the subnets that every step trains; under the sandwich rule the sentinels.
    """
    supernet = trainer.averaged()
    followed = sentinels(supernet.space)
    if trainer.fixed:
        followed = {f"subnet {i}": subnet for i, subnet in enumerate(trainer.fixed)}
    targets = teacher_log_probabilities(trainer.teacher, held_out)
    found = {
        name: subnet_agreement(supernet, subnet, targets, held_out)
        for name, subnet in followed.items()
    }
    log.write(
        step=trainer.step,
        divergence={n: round(f.divergence, 5) for n, f in found.items()},
        agreement={n: round(f.agreement, 5) for n, f in found.items()},
    )


def train(
    trainer: Trainer,
    views: Views,
    held_out: Tensor,
    folder: Path,
    labels: Labels | None = None,
) -> None:
    """Take the steps that are left, and keep metrics and state in `folder`.

    held_out: uint8 images (N, S, S, 3) for evaluations; labels: the classes, None to learn from the
    teacher alone.
    """
    recipe, process = trainer.recipe, trainer.process
    log = Log(folder / "metrics.jsonl", trainer.step) if process.rank == 0 else None
    if log and not trainer.step:
        evaluate(trainer, held_out, log)
    batches = Batches(
        len(views),
        recipe.batch,
        recipe.seed,
        trainer.step,
        recipe.steps,
        process.rank,
        process.world,
    )
    numbers = {wnid: i for i, (wnid, _) in enumerate(labels or [])}
    bar = tqdm(total=recipe.steps, initial=trainer.step, unit="step", disable=log is None)
    began, busy = time.perf_counter(), time.process_time()
    for images, folders, failed in load(views, batches, recipe.workers):
        warn_left_out(failed, str(views.source.path))
        classes = None
        if labels is not None:
            classes = torch.tensor([numbers[f] for f in folders], device=process.device)
        facts = trainer.train_step(images, classes)
        seconds, began = time.perf_counter() - began, time.perf_counter()
        cpu, busy = time.process_time() - busy, time.process_time()
        bar.update()
        bar.set_postfix(loss=f"{facts['loss']:.3f}", refresh=False)
        if log is None:
            continue
        unread = {"left_out": failed} if failed else {}
        log.write(
            step=trainer.step, seconds=round(seconds, 3), cpu=round(cpu, 3), **facts, **unread
        )
        last = trainer.step == recipe.steps
        if trainer.step % recipe.evaluate == 0 or last:
            # Before the state is saved, so that a run that ends between comes back to this step.
            evaluate(trainer, held_out, log)
            began, busy = time.perf_counter(), time.process_time()
        if trainer.step % recipe.save == 0 or last:
            save_state(folder, trainer)


def train_supernet(
    recipe: TrainingRecipe,
    checkpoint: Checkpoint,
    images: Path,
    folder: Path,
    labels: Labels | None = None,
) -> None:
    """Begin the run of a recipe in `folder`, or go on with it, to its last step.

    The checkpoint is resampled to the space's image size. labels: the classes, needed where the
    recipe learns from them. DataError, SpaceError when recipe, space, checkpoint and pictures do
    not go together.
    """
    space, source = Space.load(recipe.space), Source(images)
    checkpoint = checkpoint.resized(space.image_size)
    parts = split(source.names, recipe)

    def begin() -> InitialState:
        seen = calibration(checkpoint, source, parts.train, recipe)
        return initial_state(
            checkpoint, space, seen, recipe.seed, layer_scaling=recipe.layer_scaling
        )

    if labels is not None:
        check_classes(parts.train, labels, recipe)
    check_fits(checkpoint, space)
    spec = RunSpec(space, recipe, facts_of(checkpoint, source))
    process = Process.join()
    with held(folder) if process.rank == 0 else nullcontext():
        trainer = prepare(folder, spec, begin, process)
        views = views_of(source, parts.train, space.image_size, recipe)
        held_out = pictures(source, parts.held_out, checkpoint.preprocessing)
        train(trainer, views, held_out, folder, labels if recipe.label else None)
