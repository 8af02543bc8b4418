"""A training run in a folder, from its command to its last step.

recipe.json    the recipe, the checkpoint and the pictures: a run goes on with the same only
last.pt        weights, their average, optimiser and step (tensors and numbers, no code)
metrics.jsonl  one line a step, and one an evaluation
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm

from quasar_runtime.errors import DataError
from quasar_runtime.images.preprocessing import Preprocessing

from . import command as cli
from .data.pictures import (
    LABELS_FILE,
    Source,
    decoded,
    in_turn,
    labels_for,
    pictures,
    to_calibrate_on,
)
from .data.recipe import TrainRecipe
from .data.views import Augmentation, Batches, Views, load, split
from .networks import integer
from .networks.checkpoint import Checkpoint, load_checkpoint
from .networks.folded import Affine, Folded, FoldedBlock, patches
from .networks.supernet import Supernet
from .quantise.checks import file_word
from .report.evaluate import Nearness
from .spaces.space import MATRICES, Space, Subnet
from .training.folder import held, read_json, read_state, write_json, write_state
from .training.initial import Start, check_fits, start
from .training.metrics import Log
from .training.trainer import Place, Trainer, ask, divergence

BATCH = 32


def set_up(threads: int) -> None:
    """CPU threads, and bfloat16 inside float32 matrix products where the CPU has them: exact for
    the integers, and quick."""
    torch.set_num_threads(threads)
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    torch.set_float32_matmul_precision("high")


def folded_state(folded: Folded) -> dict[str, Any]:
    """A folded network's tensors."""
    blocks = [
        {name: [getattr(b, name).weight, getattr(b, name).bias] for name in MATRICES}
        for b in folded.blocks
    ]
    head = [folded.head.weight, folded.head.bias]
    return {"patch": folded.patch, "position": folded.position, "blocks": blocks, "head": head}


def folded_from(state: dict[str, Any]) -> Folded:
    """The inverse of `folded_state`."""
    blocks = [FoldedBlock(**{k: Affine(*v) for k, v in b.items()}) for b in state["blocks"]]
    return Folded(state["patch"], state["position"], blocks, Affine(*state["head"]))


@dataclass(eq=False)
class Run:
    """What a run's folder holds: the averaged supernet, the teacher, the recipe and the facts
    (checkpoint, its sha256, pictures, preprocessing) that its models' provenance names."""

    supernet: Supernet
    teacher: Folded
    recipe: TrainRecipe
    facts: dict[str, Any]
    step: int

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures are brought to the network's size."""
        return Preprocessing(**self.facts["preprocessing"])


def load_run(folder: Path) -> Run:
    """The present state of a run or a fine-tuning, also while it goes on. DataError where there is
    none."""
    for name in ("recipe.json", "last.pt"):
        if not (folder / name).is_file():
            raise DataError(f"{folder} holds no training run (no {name}); make one with train.run")
    facts, saved = read_json(folder / "recipe.json"), read_state(folder / "last.pt")
    try:
        return _run_of(folder, facts, saved)
    except (KeyError, TypeError, AttributeError, RuntimeError) as e:
        raise DataError(
            f"{folder}: its files do not belong together ({' '.join(str(e).split())[:200]}); make "
            "the run again with train.run"
        ) from None


def _run_of(folder: Path, facts: dict[str, Any], saved: dict[str, Any]) -> Run:
    recipe = TrainRecipe.parse(f"{folder}/recipe.json", facts.pop("recipe"))
    if recipe.space:
        space = Space.load(recipe.space)
    else:  # a fine-tuning: the space of its one subnet
        subnet = Subnet.from_dict(read_json(folder / "subnet.json"))
        classes = len(saved["supernet"]["head.worth"])
        space = Space.around(subnet, facts["preprocessing"]["crop"], classes)
    supernet = Supernet(space, layer_scaling=recipe.layer_scaling)
    supernet.load_state_dict({**saved["supernet"], **saved["average"]})
    return Run(supernet, folded_from(saved["teacher"]), recipe, facts, saved["step"])


def answers(teacher: Folded, images: Tensor) -> Tensor:
    """The float network's log-probabilities (N, classes) on uint8 images (N, S, S, 3)."""
    device = teacher.position.device
    parts = (patches(part.to(device)) for part in images.split(BATCH))
    return torch.cat([ask(teacher, inputs, ()).answer for inputs in parts])


@torch.no_grad()
def nearness(supernet: Supernet, subnet: Subnet, wanted: Tensor, images: Tensor) -> Nearness:
    """A subnet beside the float network, whose `answers` on uint8 images (N, S, S, 3) are given."""
    device = supernet.norm.device
    parts = (patches(part.to(device)) for part in images.split(BATCH))
    got = torch.cat([supernet(inputs, subnet).logits for inputs in parts])
    equal = (got.argmax(1) == wanted.argmax(1)).double().mean()
    return Nearness(float(divergence(got, wanted)), float(equal))


def sentinels(space: Space) -> dict[str, Subnet]:
    """The subnets that evaluations follow: the largest with all rows 8-bit, half, and 4-bit, and
    the smallest."""
    most = space.largest()
    block = most.blocks[0]
    shares = space.shares
    chosen = {"8-bit": shares[-1], "half": shares[len(shares) // 2], "4-bit": shares[0]}
    uniform = {
        name: Subnet.uniform(most.width, most.depth, block.heads, block.mlp, share)
        for name, share in chosen.items()
    }
    return {**uniform, "smallest": space.smallest()}


def save(folder: Path, trainer: Trainer) -> None:
    """Write last.pt; a process killed meanwhile leaves the one before."""
    state = {**trainer.state(), "teacher": folded_state(trainer.teacher.to("cpu"))}
    write_state(folder / "last.pt", state)


@dataclass(frozen=True)
class Setting:
    """What a run is about: the space, the subnets that every step trains (none: the sandwich), and
    the facts that identify it, beside the recipe."""

    space: Space
    recipe: TrainRecipe
    facts: dict[str, Any]
    fixed: list[Subnet] | None = None


def facts_of(checkpoint: Checkpoint, source: Source) -> dict[str, Any]:
    """What a run's folder says of its origin."""
    how = checkpoint.preprocessing
    return {
        "checkpoint": checkpoint.file,
        "sha256": checkpoint.sha256,
        "images": file_word(source.path),
        "preprocessing": {"resize": how.resize, "crop": how.crop},
    }


def prepare(
    folder: Path, setting: Setting, begin: Callable[[], Start], place: Place | None = None
) -> Trainer:
    """The trainer as the folder has it, or as it begins.

    DataError when the folder holds a run with another recipe or another origin.
    """
    place = place or Place()
    recipe = setting.recipe
    facts = json.loads(json.dumps({"recipe": recipe.to_dict(), **setting.facts}))
    path, last = folder / "recipe.json", folder / "last.pt"
    goes_on = last.exists()
    if place.world > 1:
        dist.barrier()  # before any process writes the file
    if goes_on:
        check_same(path, facts)
        saved = read_state(last)
        try:
            supernet = Supernet(setting.space, layer_scaling=recipe.layer_scaling)
            teacher = folded_from(saved["teacher"])
            trainer = Trainer(supernet, teacher, recipe, fixed=setting.fixed, place=place)
            trainer.restore(saved)
        except (KeyError, TypeError, RuntimeError, ValueError, AttributeError) as e:
            raise DataError(
                f"{last}: not this run's ({' '.join(str(e).split())[:200]}); remove the folder to "
                "begin again"
            ) from None
        return trainer
    begun = begin()
    trainer = Trainer(begun.supernet, begun.teacher, recipe, fixed=setting.fixed, place=place)
    if place.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, facts)
        save(folder, trainer)
    return trainer


def calibration(
    checkpoint: Checkpoint, source: Source, names: list[str], recipe: TrainRecipe
) -> Tensor:
    """Pictures for scales and rounding, of as many classes of the names to train on as can be."""
    order = in_turn(to_calibrate_on(set(names)), recipe.seed)
    return decoded(source, order, recipe.calibration, checkpoint.preprocessing).images


def check_same(path: Path, facts: dict[str, Any]) -> None:
    """DataError unless a run was begun with the same recipe, checkpoint and pictures."""
    begun = read_json(path)
    if not isinstance(begun.get("recipe"), dict):
        raise DataError(f"{path}: damaged; remove the folder to begin again")
    flat_old, flat_new = ({**x.pop("recipe"), **x} for x in (begun, json.loads(json.dumps(facts))))
    for key, value in flat_new.items():
        if flat_old.get(key) != value:
            raise DataError(
                f"{path.parent} was begun with {key} = {flat_old.get(key)!r}, now it is {value!r}; "
                "go on with the same, or choose another --out"
            )


def views_of(source: Source, names: list[str], size: int, recipe: TrainRecipe) -> Views:
    """The views that a recipe trains on."""
    how = Augmentation(recipe.scale, colour=recipe.colour)
    return Views(source, names, size, how, recipe.seed)


def train(
    trainer: Trainer,
    views: Views,
    held_out: Tensor,
    folder: Path,
    labels: list[tuple[str, str]] | None = None,
) -> None:
    """Take the steps that are left."""
    recipe, place = trainer.recipe, trainer.place
    log = Log(folder / "metrics.jsonl", trainer.done) if place.rank == 0 else None
    if log and not trainer.done:
        evaluate(trainer, held_out, log)
    batches = Batches(
        len(views), recipe.batch, recipe.seed, trainer.done, recipe.steps, place.rank, place.world
    )
    numbers = {wnid: i for i, (wnid, _) in enumerate(labels or [])}
    bar = tqdm(total=recipe.steps, initial=trainer.done, unit="step", disable=log is None)
    began, busy = time.perf_counter(), time.process_time()
    for images, folders, failed in load(views, batches, recipe.workers):
        cli.warn_left_out(failed, str(views.source.path))
        classes = None
        if labels is not None:
            classes = torch.tensor([numbers[f] for f in folders], device=place.device)
        facts = trainer.step(images, classes)
        seconds, began = time.perf_counter() - began, time.perf_counter()
        cpu, busy = time.process_time() - busy, time.process_time()
        bar.update()
        bar.set_postfix(loss=f"{facts['loss']:.3f}", refresh=False)
        if log is None:
            continue
        unread = {"left_out": failed} if failed else {}
        log.write(
            step=trainer.done, seconds=round(seconds, 3), cpu=round(cpu, 3), **facts, **unread
        )
        last = trainer.done == recipe.steps
        if trainer.done % recipe.evaluate == 0 or last:  # before saving: a run that ends in
            evaluate(trainer, held_out, log)  # between comes back to this step
            began, busy = time.perf_counter(), time.process_time()
        if trainer.done % recipe.save == 0 or last:
            save(folder, trainer)


def check_classes(names: list[str], labels: list[tuple[str, str]], recipe: TrainRecipe) -> None:
    """DataError where a recipe learns from classes and a picture's folder is none of them."""
    known = {wnid for wnid, _ in labels}
    unknown = sorted({n.split("/")[0] for n in names} - known)
    if recipe.label and unknown:
        raise DataError(
            f"the folder {unknown[0]} ({len(unknown)} in all) is no class of the labels, such as "
            f"{labels[0][0]}; a recipe with `label` learns from classes: rename them, or give "
            "--labels"
        )


def evaluate(trainer: Trainer, held_out: Tensor, log: Log) -> None:
    """Log the trained subnets' nearness to the teacher with the averaged weights; of a sandwich,
    the sentinels'."""
    supernet = trainer.averaged()
    followed = sentinels(supernet.space)
    if trainer.fixed:
        followed = {f"subnet {i}": subnet for i, subnet in enumerate(trainer.fixed)}
    wanted = answers(trainer.teacher, held_out)
    found = {
        name: nearness(supernet, subnet, wanted, held_out) for name, subnet in followed.items()
    }
    log.write(
        step=trainer.done,
        divergence={n: round(f.divergence, 5) for n, f in found.items()},
        agreement={n: round(f.agreement, 5) for n, f in found.items()},
    )


def train_supernet(
    recipe: TrainRecipe,
    checkpoint: Checkpoint,
    images: Path,
    folder: Path,
    labels: list[tuple[str, str]] | None = None,
) -> None:
    """Begin the run of a recipe in `folder`, or go on with it, to its last step.

    The checkpoint serves pictures of the space's size. labels: the classes, needed where the
    recipe learns from them. DataError, SpaceError for what does not go together.
    """
    space, source = Space.load(recipe.space), Source(images)
    checkpoint = checkpoint.resized(space.image_size)
    parts = split(source.names, recipe)

    def begin() -> Start:
        seen = calibration(checkpoint, source, parts.train, recipe)
        return start(checkpoint, space, seen, recipe.seed, layer_scaling=recipe.layer_scaling)

    if labels is not None:
        check_classes(parts.train, labels, recipe)
    check_fits(checkpoint, space)
    setting = Setting(space, recipe, facts_of(checkpoint, source))
    place = Place.join()
    with held(folder) if place.rank == 0 else nullcontext():
        trainer = prepare(folder, setting, begin, place)
        views = views_of(source, parts.train, space.image_size, recipe)
        held_out = pictures(source, parts.held_out, checkpoint.preprocessing)
        train(trainer, views, held_out, folder, labels if recipe.label else None)


GOES_ON = "the same command goes on from the last step that was saved"


@click.command(cls=cli.Command, kept=GOES_ON)
@click.option("--recipe", required=True, help="Of train/recipes/, or a .yaml file.")
@click.option("--checkpoint", type=Path, required=True, help="Float weights, timm's names.")
@click.option("--images", type=Path, required=True, help="ImageFolder or tar of one.")
@click.option("--out", type=Path, required=True, help="The run's folder; a run there goes on.")
@click.option("--preset", help="Preprocessing; default: by the checkpoint's file name.")
@click.option("--labels", type=Path, help=f"JSON; default: {LABELS_FILE} beside --images.")
@click.option("--threads", type=cli.THREADS, default=2, show_default=True, help="CPU threads.")
@click.option("--fuse/--no-fuse", default=True, help="Compile the elementwise loops (a minute).")
def main(
    recipe: str,
    checkpoint: Path,
    images: Path,
    out: Path,
    preset: str | None,
    labels: Path | None,
    threads: int,
    fuse: bool,
) -> None:
    """Train a supernet; the same command goes on where a run was stopped."""
    cli.check_folder(out)
    set_up(threads)
    integer.Fusion.on = fuse
    settings = TrainRecipe.load(recipe)
    if not settings.space:
        raise DataError(f"recipe {recipe} names no space; train.finetune trains one subnet")
    weights = load_checkpoint(checkpoint, preset)
    known = labels_for(labels, images, weights.classes) if settings.label else None
    train_supernet(settings, weights, images, out, known)


if __name__ == "__main__":
    main()
