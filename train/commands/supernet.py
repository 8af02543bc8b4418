"""`quasar-train supernet`: train all subnets of a space in one set of weights.

On several GPUs: torchrun --nproc-per-node 8 -m quasar_train supernet ... (-m train in a checkout).
"""

from __future__ import annotations

from pathlib import Path

import click

from quasar_runtime.errors import DataError

from . import options
from .options import Compute, Inputs, RecipeOptions
from .paths import check_folder
from .verb import GOES_ON, TRAINING, Verb


@click.command(cls=Verb, needs=TRAINING, kept=GOES_ON)
@options.recipe()
@options.inputs
@click.option("--out", type=Path, required=True, help="The run's folder; a run there goes on.")
@options.labels
@options.compute
def supernet(
    recipe: RecipeOptions, inputs: Inputs, out: Path, labels: Path | None, compute: Compute
) -> None:
    """Train all subnets of a space in one set of weights.

    The same command goes on where a run was stopped.
    """
    from ..data.labels import labels_for
    from ..training.train import train_supernet

    check_folder(out)
    compute.configure()
    settings = recipe.load()
    if not settings.space:
        raise DataError(
            f"recipe {recipe.recipe} names no space; quasar-train finetune trains one subnet"
        )
    weights = inputs.load_own()
    known = labels_for(labels, inputs.images, weights.classes) if settings.label else None
    train_supernet(settings, weights, inputs.images, out, known)
