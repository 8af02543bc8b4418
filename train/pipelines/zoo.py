"""The zoo: how every model of model_zoo/ is made.

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
from quasar_runtime.errors import DataError
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.model.file import read_model, write_model
from quasar_runtime.model.network import Model
from quasar_runtime.model.zoo import RATES_MARK

from ..cost.cycles import PREFERRED_OVERLAY, read_subnet
from ..data import LABELS_FILE
from ..data.labels import Labels, load_labels
from ..data.recipe import TrainingRecipe
from ..networks.checkpoint import Checkpoint, load_checkpoint
from ..quantise.checks import check_evaluation
from ..quantise.quantise import QuantisationRecipe
from ..report.finish import keep, measure
from ..report.provenance import export_command, finetune_command
from .export import ModelFacts, export_model
from .finetune import FineTuning, finetune_model

DEIT = "deit_tiny_patch16_224.safetensors"
AUGREG = "vit_tiny_patch16_224_augreg.safetensors"
IMAGES = "imagenet_train_mix.tar"
SAMPLE = "imagenet_sample"
SUBNETS = Path(__file__).parents[1] / "subnets"
DATASET = "imagenet_sample (1,000 training-split images, one a class; not ImageNet validation)"
RATED_OVERLAYS = (PREFERRED_OVERLAY, "b8192")
RATES_BY = "the cycle model, from START to the interrupt, one image after the other"


@dataclass(frozen=True)
class Entry:
    """How a model of the zoo is made.

    checkpoint: file name; recipe: of its quantisation; fps: frames per second that its name
    promises on PREFERRED_OVERLAY; training: a recipe of train/recipes/, None without training.
    """

    checkpoint: str
    recipe: QuantisationRecipe
    fps: int | None = None
    training: str | None = None


def searched(name: str, image_size: int) -> QuantisationRecipe:
    """The recipe of a subnet that a search has chosen (docs/search.md)."""
    return QuantisationRecipe(read_subnet(SUBNETS / f"{name}.json"), image_size=image_size)


ZOO = {
    "vit-tiny-w8": Entry(AUGREG, QuantisationRecipe(1.0)),
    "deit-tiny-w8": Entry(DEIT, QuantisationRecipe(1.0)),
    "q-vit-100fps": Entry(AUGREG, QuantisationRecipe(1.0, image_size=240), 100),
    "q-vit-160fps": Entry(AUGREG, searched("q-vit-160fps", 208), 160),
    "q-vit-250fps": Entry(AUGREG, searched("q-vit-250fps", 208), 250, "finetune_208"),
}


@cache
def checkpoint_for(path: Path, image_size: int | None) -> Checkpoint:
    """A checkpoint at an image size (None: its own); cached, as its accuracy is by identity."""
    return load_checkpoint(path).resized(image_size)


@dataclass(frozen=True)
class Folders:
    """data: checkpoints, pictures and labels; out: the zoo; work: trainings in progress."""

    data: Path
    out: Path
    work: Path


def make(name: str, folders: Folders) -> None:
    """Make one model, measure it on the sample and write it. DataError for a broken promise."""
    entry, data = ZOO[name], folders.data
    checkpoint = checkpoint_for(data / entry.checkpoint, entry.recipe.image_size)
    labels = load_labels(data / LABELS_FILE)
    check_evaluation(data / SAMPLE, DATASET, labels)
    if entry.training:
        model = trained(name, checkpoint, data / IMAGES, labels, folders.work / name)
    else:
        command = export_command(entry.checkpoint, IMAGES, name, entry.recipe)
        facts = ModelFacts(name, labels, command)
        model, _ = export_model(checkpoint, data / IMAGES, entry.recipe, facts)
    rate(model, entry.fps)
    measure(model, checkpoint, data / SAMPLE, DATASET)
    keep(model, folders.out / f"{name}.safetensors")
    report_accuracy(name, model)


def trained(name: str, checkpoint: Checkpoint, images: Path, labels: Labels, folder: Path) -> Model:
    """A model quantised and fine-tuned, or the rest of a training that `folder` holds."""
    entry = ZOO[name]
    recipe = TrainingRecipe.load(str(entry.training))
    job = FineTuning(checkpoint, images, entry.recipe.mix, recipe, folder)
    origin = f"--subnet {name}.json --image-size {entry.recipe.image_size}"
    command = finetune_command(origin, entry.checkpoint, images.name, str(entry.training), name)
    return finetune_model(job, ModelFacts(name, labels, command))


def rate(model: Model, promised: int | None) -> None:
    """Write the model's frames per second into it. DataError when slower than promised."""
    rates: dict[str, float] = {}
    for name in RATED_OVERLAYS:
        overlay = load_overlay(name)
        rates[name] = round(image_fps(compile_model(model, overlay)), 1)
        clock = overlay.clock_mhz
    if promised and rates[PREFERRED_OVERLAY] < promised:
        raise DataError(
            f"'{model.name}' reaches {rates[PREFERRED_OVERLAY]} FPS on {PREFERRED_OVERLAY}, its "
            f"name promises {promised}; give it fewer 8-bit rows or a smaller network"
        )
    model.target = {"overlay": PREFERRED_OVERLAY, "fps": promised}
    model.provenance["frame_rates"] = {"clock_mhz": clock, "by": RATES_BY, **rates}
    said = ", ".join(f"{fps:.0f} FPS on {name}" for name, fps in rates.items())
    summary = str(model.provenance["summary"]).split(RATES_MARK)[0]
    model.provenance["summary"] = f"{summary}{RATES_MARK}{said}"


def rate_again(name: str, folders: Folders) -> None:
    """Rate a model of the zoo again, and write the figures into it."""
    path = folders.out / f"{name}.safetensors"
    model = read_model(path)
    rate(model, ZOO[name].fps)
    write_model(model, path)
    click.echo(f"{name}: {model.provenance['summary']}")


def measure_again(name: str, folders: Folders) -> None:
    """Measure a model of the zoo again, and write the figures into it."""
    path = folders.out / f"{name}.safetensors"
    model = read_model(path)
    entry, data = ZOO[name], folders.data
    checkpoint = checkpoint_for(data / entry.checkpoint, entry.recipe.image_size)
    measure(model, checkpoint, data / SAMPLE, DATASET)
    write_model(model, path)
    report_accuracy(name, model)


def report_accuracy(name: str, model: Model) -> None:
    """Print one line on a model's accuracy."""
    facts = model.provenance["accuracy"]
    click.echo(f"{name}: top-1 {facts['top1']:.1f} % (float {facts['teacher_top1']:.1f})")
