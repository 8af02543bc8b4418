"""`quasar-train zoo`: every model of model_zoo/, made again by one command."""

from __future__ import annotations

from pathlib import Path

import click

from quasar_runtime.errors import DataError, did_you_mean

from .paths import check_folder
from .verb import TRAINING, Verb

KEPT = "the models made so far are written, the same command goes on with a training"


@click.command(cls=Verb, needs=TRAINING, kept=KEPT)
@click.argument("names", nargs=-1)
@click.option(
    "--data",
    type=Path,
    default=Path("../shared/data"),
    show_default=True,
    help="Checkpoints, pictures and labels.",
)
@click.option(
    "--out", type=Path, default=Path("model_zoo"), show_default=True, help="Folder of the models."
)
@click.option(
    "--work",
    type=Path,
    default=Path("runs/zoo"),
    show_default=True,
    help="Folder of the trainings.",
)
@click.option("--measure", "action", flag_value="measure", help="Only measure accuracy again.")
@click.option("--rates", "action", flag_value="rates", help="Only compute frame rates again.")
def zoo(names: tuple[str, ...], data: Path, out: Path, work: Path, action: str | None) -> None:
    """Make the models of the zoo, or NAMES of them, and the index.

    A model that is trained takes an hour; given again, the command goes on where it was stopped.
    """
    from quasar_runtime.model.zoo import build_index

    from ..data.source import Source
    from ..networks.integer import Fusion
    from ..networks.precision import configure_torch
    from ..pipelines.zoo import IMAGES, ZOO, Folders, make, measure_again, rate_again

    configure_torch()
    Fusion.on = True
    for name in names:
        if name not in ZOO:
            raise DataError(
                f"no model '{name}' in the zoo{did_you_mean(name, ZOO)} Known: {', '.join(ZOO)}"
            )
    if not out.is_dir():
        raise DataError(f"{out}: no such folder; make it first")
    check_folder(out)
    check_folder(work)
    if action is None:
        Source(data / IMAGES)
    act = {None: make, "measure": measure_again, "rates": rate_again}[action]
    for name in names or ZOO:
        act(name, Folders(data, out, work))
    build_index(out)
