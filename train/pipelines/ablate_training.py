"""What parts of the training are worth: short supernet runs that differ in one thing each.

    python -m train.ablate_training --checkpoint CHECKPOINT --images IMAGES --out FOLDER

All begin with the same rounded networks and see the same pictures in the same order; what they
reach is the divergence from the teacher on pictures that none has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import torch
from torch import Tensor

from quasar_runtime.errors import DataError

from . import command as cli
from .data.pictures import LABELS_FILE, Source, labels_for, pictures
from .data.recipe import TrainRecipe
from .data.views import Views, split
from .networks.checkpoint import Checkpoint, load_checkpoint
from .networks.supernet import Supernet
from .report.evaluate import Nearness
from .run import answers, calibration, check_classes, nearness, sentinels, set_up, train, views_of
from .spaces.space import Space
from .training.initial import Start, start
from .training.trainer import Trainer

THREADS = 2


@dataclass(frozen=True)
class Variant:
    """A run that differs from the recipe: other settings of it, random 8-bit rows, or `alone`, one
    of the sentinels trained by itself with weights of its own."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    random_rows: bool = False
    alone: str | None = None


VARIANTS = {
    "as it is": Variant(),
    "no layer scaling": Variant({"layer_scaling": False}),
    "random 8-bit rows": Variant(random_rows=True),
    "classes in place of the teacher": Variant({"teacher": 0.0, "hint": 0.0, "label": 1.0}),
    "weights of its own: 8-bit": Variant(alone="8-bit"),
    "weights of its own: half": Variant(alone="half"),
    "weights of its own: 4-bit": Variant(alone="4-bit"),
}


@dataclass(eq=False)
class Bench:
    """What all variants share: the beginning, the pictures and the recipe."""

    begun: Start
    recipe: TrainRecipe
    views: Views
    held_out: Tensor
    labels: list[tuple[str, str]]

    @classmethod
    def make(
        cls,
        checkpoint: Checkpoint,
        images: Path,
        recipe: TrainRecipe,
        labels: list[tuple[str, str]],
    ) -> Bench:
        source = Source(images)
        parts = split(source.names, recipe)
        check_classes(parts.train, labels, replace(recipe, label=1.0))
        space = Space.load(recipe.space)
        images_seen = calibration(checkpoint, source, parts.train, recipe)
        begun = start(checkpoint, space, images_seen, recipe.seed)
        held_out = pictures(source, parts.held_out, checkpoint.preprocessing)
        views = views_of(source, parts.train, space.image_size, recipe)
        return cls(begun, recipe, views, held_out, labels)

    def run(self, variant: Variant, folder: Path) -> dict[str, Nearness]:
        """Train a variant; the nearness of the sentinels that it trains."""
        recipe = replace(self.recipe, **variant.changes)
        supernet = Supernet(Space.load(recipe.space), layer_scaling=recipe.layer_scaling)
        state = self.begun.supernet.state_dict()
        supernet.load_state_dict({name: state[name].clone() for name in supernet.state_dict()})
        if variant.random_rows:
            generator = torch.Generator().manual_seed(recipe.seed)
            for matrix in supernet.matrices().values():
                matrix.worth.copy_(torch.rand(matrix.worth.shape, generator=generator))
        followed = sentinels(supernet.space)
        if variant.alone is not None:
            followed = {variant.alone: followed[variant.alone]}
        fixed = list(followed.values()) if variant.alone else None
        trainer = Trainer(supernet, self.begun.teacher, recipe, fixed=fixed)
        folder.mkdir(parents=True)
        train(trainer, self.views, self.held_out, folder, self.labels if recipe.label else None)
        averaged, wanted = trainer.averaged(), answers(trainer.teacher, self.held_out)
        return {
            name: nearness(averaged, subnet, wanted, self.held_out)
            for name, subnet in followed.items()
        }


def table(found: Mapping[str, Mapping[str, Nearness]]) -> str:
    """Markdown: divergence (equal answers) of each sentinel."""
    names = list(dict.fromkeys(name for near in found.values() for name in near))
    lines = ["| run | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    for variant, near in found.items():
        cells = [
            f"{near[n].divergence:.4f} ({100 * near[n].agreement:.1f} %)" if n in near else ""
            for n in names
        ]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@click.command(cls=cli.Command, kept="the runs that ended are in the folder, without a table")
@click.option("--checkpoint", type=Path, required=True, help="Float weights, timm's names.")
@click.option("--images", type=Path, required=True, help="ImageFolder or tar of one.")
@click.option("--out", type=Path, required=True, help="A new folder, one run a variant in it.")
@click.option("--labels", type=Path, help=f"JSON; default: {LABELS_FILE} beside --images.")
@click.option("--recipe", default="vit_tiny", show_default=True, help="Of train/recipes/.")
@click.option(
    "--views", type=cli.COUNT, default=3200, show_default=True, help="Pictures that each run sees."
)
@click.option("--only", multiple=True, type=click.Choice(list(VARIANTS)), help="Default: all.")
def main(
    checkpoint: Path,
    images: Path,
    out: Path,
    labels: Path | None,
    recipe: str,
    views: int,
    only: tuple[str, ...],
) -> None:
    """Short supernet runs that differ in one thing each, on the pictures that they hold out."""
    set_up(THREADS)
    if out.exists():
        raise DataError(f"{out} exists; choose another folder")
    cli.check_folder(out)
    settings = TrainRecipe.load(recipe, views=views)
    size = Space.load(settings.space).image_size
    weights = load_checkpoint(checkpoint).resized(size)
    names = labels_for(labels, images, weights.classes)
    bench = Bench.make(weights, images, settings, names)
    found = {}
    for number, name in enumerate(only or VARIANTS):
        found[name] = bench.run(VARIANTS[name], out / str(number))
        click.echo(table({name: found[name]}), err=True)
    click.echo(table(found))


if __name__ == "__main__":
    main()
