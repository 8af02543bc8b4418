"""The end of a command that makes a model: written first, then measured.

Neither a full disk nor a data set that has gone away then costs the model.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from quasar_runtime.errors import DataError, ModelFileError, QuasarError
from quasar_runtime.model.file import write_model
from quasar_runtime.model.network import Model

from ..messages import explained
from ..networks.checkpoint import Checkpoint
from .evaluate import Accuracy, program_accuracy, teacher_accuracy


def keep(model: Model, out: Path) -> None:
    """Write a model, or else into the system's folder for temporary files.

    DataError then says where it is.
    """
    try:
        write_model(model, out)
    except ModelFileError as e:
        try:
            other = Path(tempfile.mkdtemp(prefix="quasar-")) / out.name
            write_model(model, other)
        except (QuasarError, OSError):
            raise e from None
        raise DataError(f"{e}; the model that was made is kept in {other}") from None


def keep_and_measure(
    model: Model, out: Path, checkpoint: Checkpoint, folder: Path | None, dataset: str | None
) -> None:
    """Write a model, measure it on `folder` if there is one, and write the figures into it.

    DataError when it cannot be measured; the file without figures stays.
    """
    keep(model, out)
    if folder is None:
        return
    try:
        measure(model, checkpoint, folder, dataset or folder.absolute().name)
    except Exception as e:
        reason = explained(e)
        if reason is None:
            raise
        raise DataError(f"{reason}; the model is in {out}, without its accuracy") from None
    keep(model, out)


def accuracy_facts(model: Accuracy, teacher: Accuracy, dataset: str) -> dict[str, Any]:
    """The accuracy entry of a model's provenance."""
    return {
        "dataset": dataset,
        "images": model.images,
        "top1": model.top1,
        "top5": model.top5,
        "teacher_top1": teacher.top1,
        "teacher_top5": teacher.top5,
        "measured_with": "the integer program",
    }


def measure(model: Model, checkpoint: Checkpoint, folder: Path, dataset: str) -> None:
    """Add the integer program's and the teacher's accuracy on `folder` to the provenance."""
    teacher = teacher_accuracy(checkpoint, folder, tuple(model.labels))
    model.provenance["accuracy"] = accuracy_facts(program_accuracy(model, folder), teacher, dataset)


def report(model: Model, out: Path) -> None:
    """Print one or two lines on a model that was made."""
    held = model.provenance["held_out"]
    click.echo(
        f"{out}: {100 * held['agreement_with_teacher']:.1f} % equal answers on held-out pictures, "
        f"KL {held['kl_to_teacher']:.4f}"
    )
    if facts := model.provenance.get("accuracy"):
        click.echo(
            f"top-1 {facts['top1']:.1f} %, top-5 {facts['top5']:.1f} % of {facts['images']} images "
            f"(float {facts['teacher_top1']:.1f}, {facts['teacher_top5']:.1f})"
        )
