"""The front that a search has found: front.json, a subnet per target, and a plot."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from quasar_runtime.files import replacing

from ..messages import INSTALL, warn
from ..spaces.space import Space
from .candidates import Candidate, choose
from .study import SearchSettings


def save_front(
    front: Sequence[Candidate], settings: SearchSettings, space: Space, folder: Path
) -> None:
    """Write front.json, subnet-<target>fps.json for each target that is reached, and front.svg.

    DataError when one cannot be written.
    """
    reached = [t for t in settings.targets if any(c.fps >= t for c in front)]
    chosen = {f"{t:g}": choose(front, t) for t in reached}
    data = {
        "space": space.name,
        "trials": settings.trials,
        "seed": settings.seed,
        "chosen": {target: c.to_dict() for target, c in chosen.items()},
        "front": [c.to_dict() for c in front],
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "front.json", json.dumps(data, indent=1) + "\n")
    for target, c in chosen.items():
        write_text(folder / f"subnet-{target}fps.json", json.dumps(c.to_dict(), indent=1) + "\n")
    try:
        plot_front(front, chosen, folder / "front.svg")
    except ImportError:
        warn(f"matplotlib is not installed: no front.svg; {INSTALL}")


def write_text(path: Path, text: str) -> None:
    """Write a whole file. DataError when that cannot be."""
    with replacing(path) as file:
        file.write(text.encode())


def plot_front(front: Sequence[Candidate], chosen: Mapping[str, Candidate], path: Path) -> None:
    """Plot loss over frames per second, with the candidate chosen for each target, as SVG."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "quasar"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name in sorted({c.overlay for c in front}):
        mine = [c for c in front if c.overlay == name]
        axes.plot([c.fps for c in mine], [c.loss for c in mine], ".", label=name)
    for target, c in chosen.items():
        axes.axvline(float(target), color="0.85", zorder=0)
        axes.plot([c.fps], [c.loss], "o", mfc="none", mec="black")
        axes.annotate(f"{target} FPS", (c.fps, c.loss), (4, 6), textcoords="offset points")
    axes.set(xlabel="frames per second", ylabel="loss")
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    with replacing(path) as file:
        file.write(picture.getbuffer())
