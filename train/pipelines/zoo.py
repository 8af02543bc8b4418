"""The zoo: every model of model_zoo/, made again by one command.

    python -m train.zoo [NAME ...] [--data FOLDER] [--out FOLDER] [--measure | --rates]

A name that holds a frame rate promises it on the overlay b1024 at its clock, by the cycle model
(docs/cycle_model.md): a model that breaks its promise is not written.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.cycles.predict import image_fps
from quasar_runtime.errors import DataError, did_you_mean
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.model.file import read_model, write_model
from quasar_runtime.model.network import Model
from quasar_runtime.model.zoo import build_index

from . import command as cli
from . import finetune
from .cost.cycles import read_subnet
from .data.pictures import LABELS_FILE, load_labels
from .data.recipe import TrainRecipe
from .data.source import Source
from .export import Recipe, command_line, export, set_up
from .networks import integer
from .networks.checkpoint import Checkpoint, load_checkpoint
from .quantise.checks import check_evaluation
from .report.finish import keep, measure

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
class Entry:
    """A model of the zoo: which checkpoint, how it is quantised, the frame rate that its name
    promises on PROMISE_OVERLAY, and the recipe of train/recipes/ by which it is trained after that
    (None: it is not)."""

    checkpoint: str
    recipe: Recipe
    fps: int | None = None
    training: str | None = None


def searched(name: str, image_size: int) -> Recipe:
    """The recipe of the subnet that a search has chosen for a model (docs/search.md)."""
    return Recipe(read_subnet(SUBNETS / f"{name}.json"), image_size=image_size)


ZOO = {
    "vit-tiny-w8": Entry(AUGREG, Recipe(1.0)),
    "deit-tiny-w8": Entry(DEIT, Recipe(1.0)),
    "q-vit-100fps": Entry(AUGREG, Recipe(1.0, image_size=240), 100),
    "q-vit-160fps": Entry(AUGREG, searched("q-vit-160fps", 208), 160),
    "q-vit-250fps": Entry(AUGREG, searched("q-vit-250fps", 208), 250, "finetune_208"),
}


@cache
def source(path: Path, image_size: int | None) -> Checkpoint:
    """A checkpoint for pictures of a size (None: its own), made once, so that its own accuracy is
    measured once."""
    return load_checkpoint(path).resized(image_size)


def make(name: str, data: Path, out: Path, work: Path) -> None:
    """Make one model, measure it on the sample, write it into `out`; trainings live in `work`."""
    entry = ZOO[name]
    checkpoint = source(data / entry.checkpoint, entry.recipe.image_size)
    labels = load_labels(data / LABELS_FILE)
    check_evaluation(data / SAMPLE, DATASET, labels)
    if entry.training:
        model = trained(name, checkpoint, data / IMAGES, labels, work / name)
    else:
        command = command_line(entry.checkpoint, IMAGES, name, entry.recipe)
        model, _ = export(checkpoint, data / IMAGES, labels, entry.recipe, name, command)
    rate(model, entry.fps)
    measure(model, checkpoint, data / SAMPLE, DATASET)
    keep(model, out / f"{name}.safetensors")
    report(name, model)


def trained(
    name: str, checkpoint: Checkpoint, images: Path, labels: list[tuple[str, str]], folder: Path
) -> Model:
    """A model quantised and trained as train.finetune does it, or the rest of a training that
    `folder` holds."""
    entry = ZOO[name]
    recipe = TrainRecipe.load(str(entry.training))
    setting, trainer = finetune.from_checkpoint(
        folder, checkpoint, images, entry.recipe.mix, recipe
    )
    origin = f"--subnet {name}.json --image-size {entry.recipe.image_size}"
    command = finetune.command_line(
        origin, entry.checkpoint, images.name, str(entry.training), name
    )
    return finetune.finish(checkpoint, images, setting, trainer, folder, labels, name, command)


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


def rate_again(name: str, data: Path, out: Path, work: Path) -> None:
    """Rate a model that `out` holds, and write the figures into it."""
    path = out / f"{name}.safetensors"
    model = read_model(path)
    rate(model, ZOO[name].fps)
    write_model(model, path)
    click.echo(f"{name}: {model.provenance['summary']}")


def measure_again(name: str, data: Path, out: Path, work: Path) -> None:
    """Measure a model that `out` holds, and write the figures into it."""
    path = out / f"{name}.safetensors"
    model = read_model(path)
    entry = ZOO[name]
    checkpoint = source(data / entry.checkpoint, entry.recipe.image_size)
    measure(model, checkpoint, data / SAMPLE, DATASET)
    write_model(model, path)
    report(name, model)


def report(name: str, model: Model) -> None:
    """One line on a model's accuracy."""
    facts = model.provenance["accuracy"]
    click.echo(f"{name}: top-1 {facts['top1']:.1f} % (float {facts['teacher_top1']:.1f})")


ACTIONS = {None: make, "measure": measure_again, "rates": rate_again}


KEPT = "the models made so far are written, the same command goes on with a training"


@click.command(cls=cli.Command, kept=KEPT)
@click.argument("names", nargs=-1)
@click.option("--data", type=Path, default=Path("../shared/data"), show_default=True)
@click.option("--out", type=Path, default=Path("model_zoo"), show_default=True)
@click.option(
    "--work", type=Path, default=Path("runs/zoo"), show_default=True, help="Of the trainings."
)
@click.option("--measure", "action", flag_value="measure", help="Only their accuracy again.")
@click.option("--rates", "action", flag_value="rates", help="Only their frame rates again.")
def main(names: tuple[str, ...], data: Path, out: Path, work: Path, action: str | None) -> None:
    """Make the zoo's models, or those of these NAMES, and the index.

    A model that is trained takes an hour; given again, the command goes on where it was stopped.
    """
    set_up()
    integer.Fusion.on = True
    for name in names:
        if name not in ZOO:
            raise DataError(
                f"no model '{name}' in the zoo{did_you_mean(name, ZOO)} Known: {', '.join(ZOO)}"
            )
    if not out.is_dir():
        raise DataError(f"{out}: no such folder; make it first")
    cli.check_folder(out)
    cli.check_folder(work)
    if action is None:
        Source(data / IMAGES)
    for name in names or ZOO:
        ACTIONS[action](name, data, out, work)
    build_index(out)


if __name__ == "__main__":
    main()
