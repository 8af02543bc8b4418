"""What a person wants to know of a model, in ten lines: `quasar models show`."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from quasar_runtime.cli.facts import scalar
from quasar_runtime.errors import CompileError, OverlayError
from quasar_runtime.model.network import Model
from quasar_runtime.model.zoo import RATES_MARK, ZooEntry

if TYPE_CHECKING:
    from quasar_runtime.isa.overlay import Overlay

PREDICTED = "the cycle model, computed now"


def card(model: Model, entry: ZooEntry, path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """Names of facts and what they are; facts that the file does not state are left out."""
    rates, by = _rates(model, entry)
    origin = model.provenance.get("weights")
    origin = origin.get("from") if isinstance(origin, dict) else origin
    facts = [
        ("accuracy", _accuracy(model, entry)),
        ("data", entry.dataset),
        ("speed", rates),
        ("FPS from", by),
        ("size", _size(entry, path)),
        ("input", f"{model.image_size} x {model.image_size} pixels; {model.classes:,} classes"),
        ("precision", _precision(model)),
        ("origin", origin if isinstance(origin, str) else entry.teacher),
        ("licence", entry.licence),
    ]
    return [(name, text) for name, text in facts if text]


def what(entry: ZooEntry) -> str:
    """The summary without its frame rates, which have a line of their own."""
    return entry.summary.partition(RATES_MARK)[0]


def lost(entry: ZooEntry) -> float | None:
    """Points of top-1 that the float network has and the model has not."""
    if entry.top1 is None or entry.teacher_top1 is None:
        return None
    return round(entry.teacher_top1 - entry.top1, 2) + 0.0  # no -0.0


def _accuracy(model: Model, entry: ZooEntry) -> str:
    if entry.top1 is None:
        return "not measured"
    text = f"{entry.top1:.1f} % top-1"
    points = lost(entry)
    if points is not None:
        change = f"{points:.1f} points lost" if points >= 0 else f"{-points:.1f} points gained"
        text += f" (float network {entry.teacher_top1:.1f} %: {change})"
    measured: Any = model.provenance.get("accuracy")
    top5 = measured.get("top5")
    return text + (f", {top5:.1f} % top-5" if isinstance(top5, int | float) else "")


def _rates(model: Model, entry: ZooEntry) -> tuple[str, str]:
    """Frame rates on every overlay, and where they come from."""
    from quasar_runtime.isa.overlay import load_overlay, overlay_names

    overlays: list[str] = []
    with suppress(OverlayError):  # a model needs none to be told
        overlays = overlay_names()
    computed = {
        name: _predicted(model, load_overlay(name))
        for name in overlays
        if name not in entry.frame_rates
    }
    rates = {**entry.frame_rates, **computed}
    order = [*overlays, *(name for name in entry.frame_rates if name not in overlays)]
    text = ", ".join(
        f"{fps:,.0f} FPS on {name}{_target(model, name)}"
        for name in order
        if (fps := rates[name]) is not None
    )
    if too_large := [name for name, fps in computed.items() if fps is None]:
        text += ("; " if text else "") + f"too large for {', '.join(too_large)}"
    sources = [entry.rates_by or "the file does not say"] if entry.frame_rates else []
    if now := [name for name, fps in computed.items() if fps is not None]:
        sources.append(f"{', '.join(now)}: {PREDICTED}" if sources else PREDICTED)
    return text, "; ".join(sources)


def _target(model: Model, overlay: str) -> str:
    """The frame rate that the model was made for, where it was this overlay's."""
    target = model.target
    if not isinstance(target, dict) or target.get("overlay") != overlay or not target.get("fps"):
        return ""
    return f" (target {scalar(target['fps'])})"


def _predicted(model: Model, overlay: Overlay) -> float | None:
    """Images per second by the cycle model; None where the overlay does not hold the model."""
    from quasar_runtime.compiler.compile import compile_model
    from quasar_runtime.cycles.predict import image_fps

    try:
        return image_fps(compile_model(model, overlay))
    except CompileError:
        return None


def _size(entry: ZooEntry, path: str | os.PathLike[str]) -> str:
    return (
        f"{entry.parameters / 1e6:.2f} M parameters, {entry.macs / 1e9:.2f} GMAC per image, "
        f"file {os.path.getsize(path) / 1e6:.1f} MB"
    )


def _precision(model: Model) -> str:
    """Shares of the rows, and of the multiply-accumulates where the file states it."""
    matrices = model.linears().values()
    share = sum(m.rows8 for m in matrices) / sum(m.rows for m in matrices)
    if share in (0, 1):
        return f"all weight rows {8 if share else 4}-bit"
    macs8 = model.provenance.get("macs8")
    work = f" and {100 * macs8:.1f} % of the MACs" if isinstance(macs8, float) else ""
    return f"{100 * share:.1f} % of the weight rows{work} 8-bit, the others 4-bit"
