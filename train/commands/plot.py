"""`quasar-train plot`: the curves of a training run."""

from __future__ import annotations

from pathlib import Path

import click

from quasar_runtime.errors import DataError

from .paths import check_file
from .verb import Verb


@click.command(cls=Verb)
@click.argument("run", type=Path)
@click.option("--out", type=Path, help="SVG or PNG; default: metrics.svg in the run's folder.")
def plot(run: Path, out: Path | None) -> None:
    """Plot the metrics of the training run in folder RUN."""
    from ..report.plot import FORMATS, plot_metrics, read_metrics

    source, path = run / "metrics.jsonl", out or run / "metrics.svg"
    metrics = read_metrics(source)
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path}: expected a name that ends in {' or '.join(FORMATS)}")
    check_file(path, None, [source])
    plot_metrics(metrics, path)
