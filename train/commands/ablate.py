"""`quasar-train ablate`: what a choice of the method gains, all else equal.

quasar-train ablate rows --checkpoint CHECKPOINT --images IMAGES [--evaluate SAMPLE]
quasar-train ablate predicted EFFECTS
quasar-train ablate training --checkpoint CHECKPOINT --images IMAGES --out FOLDER
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from quasar_runtime.cli.verb import HELP_OPTIONS, VerbGroup
from quasar_runtime.errors import DataError

from ..pipelines.variants import VARIANTS
from . import options
from .options import Inputs, RecipeOptions
from .paths import check_file, check_folder
from .verb import TRAINING, Verb

overlay_option = click.option(
    "--overlay", default="b1024", show_default=True, help="Overlay whose cycles count."
)
seed_option = click.option(
    "--seed", type=options.SEED, default=0, show_default=True, help="Seed of the random rows."
)


@click.group(cls=VerbGroup, context_settings=HELP_OPTIONS)
def ablate() -> None:
    """Measure what a choice of the method gains."""


@ablate.command(cls=Verb, needs=TRAINING)
@options.inputs
@options.labels
@click.option("--evaluate", type=Path, help="ImageFolder for top-1; nothing is chosen by it.")
@overlay_option
@click.option(
    "--fps",
    type=options.POSITIVE,
    default=160.0,
    show_default=True,
    help="Frame rate whose cycles all may take.",
)
@seed_option
@click.option("--json", "path", type=Path, help="Write the outcomes here.")
def rows(
    inputs: Inputs,
    labels: Path | None,
    evaluate: Path | None,
    overlay: str,
    fps: float,
    seed: int,
    path: Path | None,
) -> None:
    """Measure a row-wise mix beside whole matrices and random rows.

    All three take the cycles of one frame rate.
    """
    from quasar_runtime.files import replacing
    from quasar_runtime.isa.overlay import load_overlay

    from ..data.labels import labels_for
    from ..data.source import Source
    from ..networks.precision import configure_torch
    from ..pipelines.ablate_rows import Quantiser, compare_rows, outcome_table
    from ..quantise.checks import check_evaluation, check_model

    configure_torch()
    if path:
        check_file(path, inputs.images, [inputs.checkpoint, labels])
    weights = inputs.load(None)
    names = labels_for(labels, inputs.images, weights.classes)
    check_evaluation(evaluate, None, names)
    shape = load_overlay(check_model(weights, 1.0, names, overlay))
    quantiser = Quantiser(weights, Source(inputs.images), names)
    outcomes = compare_rows(quantiser, shape, fps, evaluate, seed)
    click.echo(outcome_table(outcomes))
    if path:
        with replacing(path) as file:
            file.write((json.dumps([asdict(o) for o in outcomes], indent=1) + "\n").encode())


@ablate.command(cls=Verb, needs=TRAINING)
@click.argument("effects", type=Path)
@overlay_option
@click.option(
    "--fps",
    "rates",
    multiple=True,
    type=options.POSITIVE,
    default=(130.0, 145.0, 160.0, 175.0, 190.0),
    show_default=True,
    help="Frame rate; may be repeated.",
)
@seed_option
def predicted(effects: Path, overlay: str, rates: tuple[float, ...], seed: int) -> None:
    """Predict what `rows` measures, in seconds.

    EFFECTS is a file of `quasar-train predictor`.
    """
    from quasar_runtime.isa.overlay import load_overlay

    from ..pipelines.ablate_rows import predicted_table

    click.echo(predicted_table(effects, load_overlay(overlay), rates, seed))


@ablate.command(
    cls=Verb, needs=TRAINING, kept="the runs that ended are in the folder, without a table"
)
@options.inputs
@options.recipe("ablation")
@click.option("--out", type=Path, required=True, help="A new folder, with one run per variant.")
@options.labels
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(VARIANTS)),
    metavar="VARIANT",
    help=f"May be repeated; default: all of {', '.join(VARIANTS)}.",
)
def training(
    inputs: Inputs,
    recipe: RecipeOptions,
    out: Path,
    labels: Path | None,
    only: tuple[str, ...],
) -> None:
    """Compare short supernet runs that differ in one thing each."""
    from ..data.labels import labels_for
    from ..networks.precision import configure_torch
    from ..pipelines.ablate_training import Bench, variant_table
    from ..spaces.space import Space

    configure_torch(gpu_tf32=True)
    if out.exists():
        raise DataError(f"{out} exists; choose another folder")
    check_folder(out)
    settings = recipe.load()
    weights = inputs.load(Space.load(settings.space).image_size)
    names = labels_for(labels, inputs.images, weights.classes)
    bench = Bench.make(weights, inputs.images, settings, names)
    found = {}
    for number, name in enumerate(only or VARIANTS):
        found[name] = bench.run(VARIANTS[name], out / str(number))
        click.echo(variant_table({name: found[name]}), err=True)
    click.echo(variant_table(found))
