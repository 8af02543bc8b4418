"""The zoo: every model of model_zoo/, made again by one command.

    python -m train.zoo [NAME ...] [--data FOLDER] [--out FOLDER] [--runs FOLDER]
                        [--measure | --rates]

A name that holds a frame rate promises it on the overlay b1024 at its clock, by the cycle model
(docs/cycle_model.md): a model that breaks its promise is not written.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import torch

from quasar_runtime.compiler import compile_model
from quasar_runtime.cycles import image_fps
from quasar_runtime.errors import DataError, QuasarError, did_you_mean
from quasar_runtime.model import Model
from quasar_runtime.model_file import read_model, write_model
from quasar_runtime.overlay import load_overlay
from quasar_runtime.zoo import build_index
from train import integer
from train.checkpoint import Checkpoint, load_checkpoint
from train.cost import read_subnet
from train.data import load_labels
from train.export import Recipe, command_line, export, measure, set_up
from train.finetune import command_of, fine_tune
from train.recipe import TrainRecipe
from train.run import Run, load_run
from train.run import set_up as set_up_training
from train.space import Subnet

DEIT = "deit_tiny_patch16_224.safetensors"
AUGREG = "vit_tiny_patch16_224_augreg.safetensors"
IMAGES = "imagenet_train_mix.tar"
SAMPLE = "imagenet_sample"
SUBNETS = Path(__file__).parent / "subnets"
DATASET = "imagenet_sample (1,000 training-split images, one a class; not ImageNet validation)"
PROMISE_OVERLAY = "b1024"
RATED_OVERLAYS = (PROMISE_OVERLAY, "b8192")
RATES_MARK = "; by the cycle model "
"""Between a summary and the frame rates in it."""
RATES_BY = "the cycle model, from START to the interrupt, one image after the other"


@dataclass(frozen=True)
class Trained:
    """Post-training quantisation to the subnet of SUBNETS with the model's name (docs/search.md),
    then fine-tuning by one recipe of train/recipes/ after the other."""

    image_size: int
    recipes: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """A model of the zoo: which checkpoint, how it is quantised or trained, and the frame rate that
    its name promises on PROMISE_OVERLAY."""

    checkpoint: str
    recipe: Recipe | Trained
    fps: int | None = None


STAGES = ("finetune_208", "finetune_208_whole")


def searched(name: str) -> Subnet:
    """The subnet that a search has chosen for a model."""
    return read_subnet(SUBNETS / f"{name}.json")


ZOO = {
    "vit-tiny-w8": Entry(AUGREG, Recipe(1.0)),
    "deit-tiny-w8": Entry(DEIT, Recipe(1.0)),
    "q-vit-100fps": Entry(AUGREG, Recipe(1.0, image_size=240), 100),
    "q-vit-160fps": Entry(AUGREG, Trained(208, STAGES), 160),
    "q-vit-250fps": Entry(AUGREG, Trained(208, STAGES), 250),
}


@cache
def source(path: Path) -> Checkpoint:
    """A checkpoint, read once, so that its own accuracy is measured once."""
    return load_checkpoint(path)


@cache
def resized(checkpoint: Checkpoint, image_size: int) -> Checkpoint:
    """A checkpoint for pictures of a size, made once for the same reason."""
    return checkpoint.resized(image_size)


def made(name: str, checkpoint: Checkpoint, data: Path, runs: Path) -> Model:
    """A model as its entry says, not yet rated nor measured; trainings go on in `runs`."""
    entry, labels = ZOO[name], load_labels(data / "imagenet_classes.json")
    how = entry.recipe
    if isinstance(how, Recipe):
        command = command_line(entry.checkpoint, IMAGES, name, how)
        if how.image_size:
            checkpoint = resized(checkpoint, how.image_size)
        return export(checkpoint, data / IMAGES, labels, how, name, command)[0]
    set_up_training(torch.get_num_threads())
    integer.Fusion.on = True
    mix, checkpoint = searched(name), resized(checkpoint, how.image_size)
    parent: Run | None = None
    for stage in how.recipes:
        folder = runs / f"{name}.{stage}"
        origin = f"--subnet {name}.json " + (
            f"--run {name}.{how.recipes[0]}" if parent else f"--image-size {how.image_size}"
        )
        command = command_of(origin, entry.checkpoint, IMAGES, stage, name)
        recipe = TrainRecipe.load(stage)
        model = fine_tune(
            checkpoint, data / IMAGES, mix, recipe, folder, labels, name, command, parent
        )
        parent = load_run(folder)
    return model


def make(name: str, data: Path, out: Path, runs: Path) -> None:
    """Make one model, measure it on the sample, write it into `out`."""
    entry = ZOO[name]
    model = made(name, source(data / entry.checkpoint), data, runs)
    rate(model, entry.fps)
    gauge(model, data)
    write_model(model, out / f"{name}.safetensors")
    report(name, model)


def gauge(model: Model, data: Path) -> None:
    """Write the model's accuracy on the sample into it, with that of its float network on pictures
    of the same size."""
    checkpoint = source(data / ZOO[model.name].checkpoint)
    measure(model, resized(checkpoint, model.preprocessing.crop), data / SAMPLE, DATASET)


def rate(model: Model, promised: int | None) -> None:
    """Write the model's frame rates into it. DataError when it is slower than promised."""
    rates: dict[str, float] = {}
    for name in RATED_OVERLAYS:
        overlay = load_overlay(name)
        rates[name] = round(image_fps(compile_model(model, overlay)), 1)
        clock = overlay.clock_mhz
    if promised and rates[PROMISE_OVERLAY] < promised:
        raise DataError(
            f"'{model.name}' reaches {rates[PROMISE_OVERLAY]} FPS on {PROMISE_OVERLAY}, its name "
            f"promises {promised}; give it fewer 8-bit rows or a smaller network"
        )
    model.target = {"overlay": PROMISE_OVERLAY, "fps": promised}
    model.provenance["frame_rates"] = {"clock_mhz": clock, "by": RATES_BY, **rates}
    said = ", ".join(f"{fps:.0f} FPS on {name}" for name, fps in rates.items())
    summary = str(model.provenance["summary"]).split(RATES_MARK)[0]
    model.provenance["summary"] = f"{summary}{RATES_MARK}{said}"


def rate_again(name: str, data: Path, out: Path, _: Path) -> None:
    """Rate a model that `out` holds, and write the figures into it."""
    path = out / f"{name}.safetensors"
    model = read_model(path)
    rate(model, ZOO[name].fps)
    write_model(model, path)
    click.echo(f"{name}: {model.provenance['summary']}")


def measure_again(name: str, data: Path, out: Path, _: Path) -> None:
    """Measure a model that `out` holds, and write the figures into it."""
    path = out / f"{name}.safetensors"
    model = read_model(path)
    gauge(model, data)
    write_model(model, path)
    report(name, model)


def report(name: str, model: Model) -> None:
    """One line on a model's accuracy."""
    facts = model.provenance["accuracy"]
    click.echo(f"{name}: top-1 {facts['top1']:.1f} % (float {facts['teacher_top1']:.1f})")


ACTIONS = {None: make, "measure": measure_again, "rates": rate_again}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--data", type=Path, default=Path("../shared/data"), show_default=True)
@click.option("--out", type=Path, default=Path("model_zoo"), show_default=True)
@click.option("--runs", type=Path, default=Path("runs"), show_default=True, help="Trainings.")
@click.option("--threads", default=2, show_default=True, help="CPU threads of a training.")
@click.option("--measure", "action", flag_value="measure", help="Only their accuracy again.")
@click.option("--rates", "action", flag_value="rates", help="Only their frame rates again.")
def main(
    names: tuple[str, ...], data: Path, out: Path, runs: Path, threads: int, action: str | None
) -> None:
    """Make the zoo's models, or those of these NAMES, and the index."""
    set_up()
    torch.set_num_threads(threads)
    try:
        for name in names:
            if name not in ZOO:
                raise DataError(
                    f"no model '{name}' in the zoo{did_you_mean(name, ZOO)} Known: {', '.join(ZOO)}"
                )
        for name in names or ZOO:
            ACTIONS[action](name, data, out, runs)
        build_index(out)
    except QuasarError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
