"""The curves of a training run.

python -m train.plot runs/vit_tiny        # writes runs/vit_tiny/metrics.svg
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from quasar_runtime.errors import DataError, QuasarError

SMOOTH = 0.95
"""Share of the running mean that a step keeps: single steps' losses jump."""


def smoothed(values: Iterable[float]) -> list[float]:
    """The running mean, weighted towards the last values."""
    means: list[float] = []
    for value in values:
        means.append(value if not means else SMOOTH * means[-1] + (1 - SMOOTH) * value)
    return means


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl. DataError when there are none."""
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as e:
        raise DataError(f"{path} holds no metrics that can be read ({e})") from None
    if not lines:
        raise DataError(f"{path} holds no step yet")
    return lines


def plot(metrics: list[dict[str, Any]], path: Path) -> None:
    """Losses by step, and each evaluated subnet's divergence from the teacher, as SVG or PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    steps = [m for m in metrics if "loss" in m]
    evaluations = [m for m in metrics if "divergence" in m]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name in ("largest", "smallest", "loss"):
        left.plot([m["step"] for m in steps], smoothed(m[name] for m in steps), label=name)
    left.set(xlabel="step", ylabel="loss, running mean")
    for name in evaluations[-1]["divergence"] if evaluations else ():
        values = [m["divergence"][name] for m in evaluations]
        right.plot([m["step"] for m in evaluations], values, marker=".", label=name)
    right.set(xlabel="step", ylabel="divergence from the teacher, held-out pictures")
    for axes in (left, right):
        axes.set_yscale("log")
        if axes.lines:
            axes.legend()
    figure.savefig(path)
    pyplot.close(figure)


@click.command()
@click.argument("run", type=Path)
@click.option("--out", type=Path, help="SVG or PNG; default: metrics.svg in the run's folder.")
def main(run: Path, out: Path | None) -> None:
    """Plot the metrics of the training run in folder RUN."""
    try:
        plot(read_metrics(run / "metrics.jsonl"), out or run / "metrics.svg")
    except QuasarError as e:
        click.echo(f"error: {e}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
