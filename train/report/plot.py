"""The curves of a training run."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from quasar_runtime.errors import DataError
from quasar_runtime.files import replacing

from ..training.metrics import read_lines

CURVES = ("largest", "smallest", "loss")
FORMATS = (".svg", ".png")
SMOOTH = 0.95
"""Fraction of the moving average that a step keeps: losses of single steps scatter."""


def smoothed(values: Iterable[float]) -> list[float]:
    """The exponential moving average, begun with the first value."""
    means: list[float] = []
    for value in values:
        means.append(value if not means else SMOOTH * means[-1] + (1 - SMOOTH) * value)
    return means


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl that a run may still write. DataError when there are none."""
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


def plot_metrics(metrics: list[dict[str, Any]], path: Path) -> None:
    """Plot losses, and each evaluated subnet's divergence from the teacher, over steps: SVG or PNG.

    DataError when the file cannot be written.
    """
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
