"""`quasar-train predictor`: measure the row effects that a search takes for its loss."""

from __future__ import annotations

from pathlib import Path

import click

from . import options
from .options import Inputs
from .paths import check_file
from .verb import TRAINING, Verb


@click.command(cls=Verb, needs=TRAINING)
@options.inputs
@click.option("--out", type=Path, required=True, help="The .npz to write.")
@options.image_size
def predictor(inputs: Inputs, out: Path, image_size: int | None) -> None:
    """Measure what 4 bits cost in each row of a checkpoint.

    And what each hidden unit contributes: both are what a search takes for its loss.
    """
    from ..data.source import Source
    from ..networks.precision import configure_torch
    from ..quantise.effects import measure_effects
    from ..quantise.quantise import QuantisationRecipe, split_pictures

    configure_torch()
    check_file(out, inputs.images, [inputs.checkpoint])
    weights = inputs.load(image_size)
    found = split_pictures(Source(inputs.images), weights.preprocessing, QuantisationRecipe(0.5))
    loss = measure_effects(weights, found.calibration.images)
    loss.save(out)
    total = sum(e.sum() for n, e in loss.effects.items() if not n.endswith("units")) / 2
    click.echo(f"{out}: {loss.depth} blocks, divergence {total:.4f} when every row is 4-bit")
