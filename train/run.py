"""A training run in a folder, from its command to its last step.

recipe.json    the recipe, the checkpoint and the pictures: a run goes on with the same only
last.pt        weights, their average, optimiser and step (tensors and numbers, no code)
metrics.jsonl  one line a step, and one an evaluation
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import torch
import torch.distributed as dist
from torch import Tensor
from tqdm import tqdm

from quasar_runtime.errors import DataError, QuasarError
from quasar_runtime.files import replacing
from quasar_runtime.model import Preprocessing
from train import integer
from train.checkpoint import Checkpoint, load_checkpoint
from train.data import Source, in_turn, load_labels, pictures, to_calibrate_on
from train.evaluate import Nearness
from train.fold import Affine, Folded, FoldedBlock, patches
from train.loop import Place, Trainer, ask, divergence
from train.recipe import TrainRecipe
from train.space import MATRICES, Space, Subnet
from train.start import Start, start
from train.supernet import Supernet
from train.views import Augmentation, Batches, Views, load, split

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
    try:
        facts = json.loads((folder / "recipe.json").read_text())
        saved = torch.load(folder / "last.pt", weights_only=True, map_location="cpu")
    except (OSError, ValueError) as e:
        raise DataError(
            f"{folder} holds no training run that can be read ({e}); make one with train.run"
        ) from None
    recipe = TrainRecipe.parse(f"{folder}/recipe.json", facts.pop("recipe"))
    if recipe.space:
        space = Space.load(recipe.space)
    else:  # a fine-tuning: the space of its one subnet
        subnet = Subnet.from_dict(json.loads((folder / "subnet.json").read_text()))
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


class Log:
    """Metrics as JSON lines; a resumed run drops the lines after the step it goes on from, and one
    that was being written when the run was killed. `evaluated` says whether an evaluation of that
    step is among those kept."""

    def __init__(self, path: Path, step: int) -> None:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [(x, json.loads(x)) for x in lines if x.endswith(b"\n")]
        kept = [(x, entry) for x, entry in whole if entry["step"] <= step]
        with replacing(path) as file:
            file.writelines(x for x, _ in kept)
        self.evaluated = any(e["step"] == step and "divergence" in e for _, e in kept)
        self.path = path

    def write(self, **entry: Any) -> None:
        """Append a line."""
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def save(folder: Path, trainer: Trainer) -> None:
    """Write last.pt; a process killed meanwhile leaves the one before."""
    new = folder / "last.pt.new"
    torch.save({**trainer.state(), "teacher": folded_state(trainer.teacher.to("cpu"))}, new)
    os.replace(new, folder / "last.pt")


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
        "images": source.path.name,
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
        saved = torch.load(last, weights_only=True, map_location="cpu")
        supernet = Supernet(setting.space, layer_scaling=recipe.layer_scaling)
        teacher = folded_from(saved["teacher"])
        trainer = Trainer(supernet, teacher, recipe, fixed=setting.fixed, place=place)
        trainer.restore(saved)
        return trainer
    begun = begin()
    trainer = Trainer(begun.supernet, begun.teacher, recipe, fixed=setting.fixed, place=place)
    if place.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(facts, indent=1))
        save(folder, trainer)
    return trainer


def calibration(
    checkpoint: Checkpoint, source: Source, names: list[str], recipe: TrainRecipe
) -> Tensor:
    """Pictures for scales and rounding, of as many classes of the names to train on as can be."""
    few = in_turn(to_calibrate_on(set(names)), recipe.seed)[: recipe.calibration]
    return pictures(source, few, checkpoint.preprocessing)


def check_same(path: Path, facts: dict[str, Any]) -> None:
    """DataError unless a run was begun with the same recipe, checkpoint and pictures."""
    begun = json.loads(path.read_text())
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
    if log and evaluation_due(recipe, trainer.done) and not log.evaluated:
        evaluate(trainer, held_out, log)  # also where a run was killed after it had saved a step
    batches = Batches(
        len(views), recipe.batch, recipe.seed, trainer.done, recipe.steps, place.rank, place.world
    )
    numbers = {wnid: i for i, (wnid, _) in enumerate(labels or [])}
    bar = tqdm(total=recipe.steps, initial=trainer.done, unit="step", disable=log is None)
    began, busy = time.perf_counter(), time.process_time()
    for images, folders in load(views, batches, recipe.workers):
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
        log.write(step=trainer.done, seconds=round(seconds, 3), cpu=round(cpu, 3), **facts)
        last = trainer.done == recipe.steps
        if trainer.done % recipe.save == 0 or last:
            save(folder, trainer)
        if evaluation_due(recipe, trainer.done):
            evaluate(trainer, held_out, log)
            began, busy = time.perf_counter(), time.process_time()


def evaluation_due(recipe: TrainRecipe, step: int) -> bool:
    """Whether the log has an evaluation after so many steps."""
    return step % recipe.evaluate == 0 or step == recipe.steps


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

    setting = Setting(space, recipe, facts_of(checkpoint, source))
    trainer = prepare(folder, setting, begin, Place.join())
    views = views_of(source, parts.train, space.image_size, recipe)
    held_out = pictures(source, parts.held_out, checkpoint.preprocessing)
    train(trainer, views, held_out, folder, labels if recipe.label else None)


@click.command()
@click.option("--recipe", required=True, help="Of train/recipes/, or a .yaml file.")
@click.option("--checkpoint", type=Path, required=True, help="Float weights, timm's names.")
@click.option("--images", type=Path, required=True, help="ImageFolder or tar of one.")
@click.option("--out", type=Path, required=True, help="The run's folder; a run there goes on.")
@click.option("--preset", help="Preprocessing; default: by the checkpoint's file name.")
@click.option("--labels", type=Path, help="JSON; default: imagenet_classes.json beside --images.")
@click.option("--threads", default=2, show_default=True, help="CPU threads.")
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
    set_up(threads)
    integer.Fusion.on = fuse
    try:
        settings = TrainRecipe.load(recipe)
        known = None
        if settings.label:
            known = load_labels(labels or images.parent / "imagenet_classes.json")
        train_supernet(settings, load_checkpoint(checkpoint, preset), images, out, known)
    except QuasarError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
