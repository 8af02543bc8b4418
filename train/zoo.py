"""The zoo: every model of model_zoo/, made again by one command.

    python -m train.zoo [NAME ...] [--data FOLDER] [--out FOLDER] [--measure]

The names that hold a frame rate are the paper's targets, not measurements: see FPS_NOTE.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from quasar_runtime.errors import DataError, QuasarError, did_you_mean
from quasar_runtime.model import Model
from quasar_runtime.model_file import read_model, write_model
from quasar_runtime.zoo import build_index
from train.checkpoint import Checkpoint, load_checkpoint
from train.data import load_labels
from train.export import Recipe, command_line, export, measure, set_up

DEIT = "deit_tiny_patch16_224.safetensors"
AUGREG = "vit_tiny_patch16_224_augreg.safetensors"
IMAGES = "imagenet_train_mix.tar"
SAMPLE = "imagenet_sample"
DATASET = "imagenet_sample (1,000 training-split images, one a class; not ImageNet validation)"
FPS_NOTE = (
    "the frame rate in the name is the published design's that this mix of rows stands for; no "
    "frame rate has been measured for this model"
)


@dataclass(frozen=True)
class Entry:
    """A model of the zoo: which checkpoint, and how it is quantised."""

    checkpoint: str
    recipe: Recipe

    @property
    def named_by_rate(self) -> bool:
        """Whether the model's name holds a frame rate."""
        return 0 < self.recipe.share8 < 1


ZOO = {
    "vit-tiny-w8": Entry(AUGREG, Recipe(1.0)),
    "deit-tiny-w8": Entry(DEIT, Recipe(1.0)),
    "deit-tiny-w4": Entry(DEIT, Recipe(0.0)),
    "q-vit-100fps": Entry(AUGREG, Recipe(0.8)),
    "q-vit-160fps": Entry(AUGREG, Recipe(0.5)),
    "q-vit-250fps": Entry(AUGREG, Recipe(0.25)),
}


@cache
def source(path: Path) -> Checkpoint:
    """A checkpoint, read once, so that its own accuracy is measured once."""
    return load_checkpoint(path)


def make(name: str, data: Path, out: Path) -> None:
    """Make one model, measure it on the sample, write it into `out`."""
    entry = ZOO[name]
    checkpoint = source(data / entry.checkpoint)
    command = command_line(entry.checkpoint, IMAGES, name, entry.recipe)
    labels = load_labels(data / "imagenet_classes.json")
    model, _ = export(checkpoint, data / IMAGES, labels, entry.recipe, name, command)
    if entry.named_by_rate:
        model.target["note"] = FPS_NOTE
        model.provenance["summary"] += "; the name's frame rate is not measured"
    measure(model, checkpoint, data / SAMPLE, DATASET)
    write_model(model, out / f"{name}.safetensors")
    report(name, model)


def measure_again(name: str, data: Path, out: Path) -> None:
    """Measure a model that `out` holds, and write the figures into it."""
    path = out / f"{name}.safetensors"
    model = read_model(path)
    measure(model, source(data / ZOO[name].checkpoint), data / SAMPLE, DATASET)
    write_model(model, path)
    report(name, model)


def report(name: str, model: Model) -> None:
    """One line on a model's accuracy."""
    facts = model.provenance["accuracy"]
    click.echo(f"{name}: top-1 {facts['top1']:.1f} % (float {facts['teacher_top1']:.1f})")


@click.command()
@click.argument("names", nargs=-1)
@click.option("--data", type=Path, default=Path("../shared/data"), show_default=True)
@click.option("--out", type=Path, default=Path("model_zoo"), show_default=True)
@click.option("--measure", "only_measure", is_flag=True, help="Only measure the files again.")
def main(names: tuple[str, ...], data: Path, out: Path, only_measure: bool) -> None:
    """Make the zoo's models, or those of these NAMES, and the index."""
    set_up()
    try:
        for name in names:
            if name not in ZOO:
                raise DataError(
                    f"no model '{name}' in the zoo{did_you_mean(name, ZOO)} Known: {', '.join(ZOO)}"
                )
        for name in names or ZOO:
            (measure_again if only_measure else make)(name, data, out)
        build_index(out)
    except QuasarError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
