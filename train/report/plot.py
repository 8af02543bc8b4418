"""The curves of a training run.

python -m train.report.plot runs/vit_tiny        # writes runs/vit_tiny/metrics.svg
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from quasar_runtime.errors import DataError
from quasar_runtime.files import replacing

from .. import command as cli
from ..training.metrics import read_lines

CURVES = ("largest", "smallest", "loss")
FORMATS = (".svg", ".png")
SMOOTH = 0.95
"""Share of the running mean that a step keeps: single steps' losses jump."""


def smoothed(values: Iterable[float]) -> list[float]:
    """The running mean, weighted towards the last values."""
    means: list[float] = []
    for value in values:
        means.append(value if not means else SMOOTH * means[-1] + (1 - SMOOTH) * value)
    return means


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl that a run goes on writing. DataError when there are none."""
    if not path.is_file():
        raise DataError(f"{path.parent} holds no metrics that can be read (no {path.name})")
    lines = read_lines(path)
    try:
        for line in lines:
            _ = [float(line[name]) for name in CURVES if "loss" in line]
            _ = [float(value) for value in dict(line.get("divergence", {})).values()]
    except (ValueError, KeyError, TypeError) as e:
        raise DataError(f"{path} holds no metrics that can be read ({e!r})") from None
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
    for name in CURVES:
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
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix[1:].lower())
    pyplot.close(figure)
    with replacing(path) as file:
        file.write(picture.getbuffer())


@click.command(cls=cli.Command)
@click.argument("run", type=Path)
@click.option("--out", type=Path, help="SVG or PNG; default: metrics.svg in the run's folder.")
def main(run: Path, out: Path | None) -> None:
    """Plot the metrics of the training run in folder RUN."""
    source, path = run / "metrics.jsonl", out or run / "metrics.svg"
    metrics = read_metrics(source)
    if path.suffix.lower() not in FORMATS:
        raise DataError(f"{path}: expected a name that ends in {' or '.join(FORMATS)}")
    cli.check_file(path, None, [source])
    plot(metrics, path)


if __name__ == "__main__":
    main()
