"""The accuracy/FPS front: the zoo on each overlay, and what others published.

Top-1 of the zoo is on images of ImageNet's training split, published top-1 on the validation set.
The two do not compare, so each has a panel; both share the axis of frame rates.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from quasar_runtime import list_models, load_model
from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.cycles.predict import program_cycles
from quasar_runtime.cycles.units import DDR
from quasar_runtime.errors import CompileError
from quasar_runtime.isa.overlay import load_overlay, overlay_names
from tools.pictures.drawing import INK, PAPER, SOFT, Drawing

PUBLISHED = Path(__file__).resolve().parents[2] / "benchmarks" / "published.json"
COLOURS = ("#1f5fa8", "#b8501c", "#2b7a4b")
"""The overlays', smallest first."""
THEIRS = "#5b3f8c"
WIDTH, LEFT, RIGHT = 900, 150, 870
LOWEST, HIGHEST = 40.0, 10_000.0
"""Frames per second at the ends of the axis."""
TICKS = (50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True)
class ZooPoint:
    """A model on an overlay: frames per second by the cycle model, top-1 in percent."""

    model: str
    overlay: str
    fps: float
    top1: float


@dataclass(frozen=True)
class Published:
    """A published accelerator with one network.

    clock_mhz  None where it was not published
    bits       of weights (W) and activations (A)
    top1       percent on ImageNet's validation set, None where no figure is at hand
    kind       measured (on a board), derived (from a published ratio), recalled (not checked again)
    """

    system: str
    year: int
    board: str
    clock_mhz: float | None
    network: str
    bits: str
    fps: float
    top1: float | None
    kind: str
    source: str


def published_points() -> list[Published]:
    """All points of benchmarks/published.json."""
    return [Published(**point) for point in json.loads(PUBLISHED.read_text())["points"]]


def zoo_points() -> list[ZooPoint]:
    """Every model of the zoo with a measured accuracy, on every overlay that takes it."""
    found = []
    for entry in list_models():
        for name in overlay_names():
            if entry.top1 is None:
                continue
            try:
                program = compile_model(load_model(entry.name), load_overlay(name))
            except CompileError:  # the test overlay is too small for whole models
                continue
            found.append(ZooPoint(entry.name, name, program_cycles(program).fps, entry.top1))
    return found


def front(points: Iterable[ZooPoint]) -> list[ZooPoint]:
    """Those that no other beats in both frame rate and accuracy, slowest first."""
    best: list[ZooPoint] = []
    for point in sorted(points, key=lambda p: (-p.fps, -p.top1)):
        if not best or point.top1 > best[-1].top1:
            best.append(point)
    return best[::-1]


def draw() -> str:
    drawing = Drawing(
        WIDTH, 640, "Accuracy and frame rate: the zoo, simulated, and published systems"
    )
    zoo, published = zoo_points(), published_points()
    _zoo_panel(drawing, zoo)
    _published_panel(drawing, [p for p in published if p.top1 is not None])
    _speed_rows(drawing, [p for p in published if p.top1 is None])
    for tick in TICKS:
        drawing.text(_x(tick), 596, f"{tick:,}", text_anchor="middle", fill=SOFT)
    drawing.text((LEFT + RIGHT) / 2, 620, "frames per second (log scale)", text_anchor="middle")
    return str(drawing)


def _x(fps: float) -> float:
    return LEFT + (RIGHT - LEFT) * math.log(fps / LOWEST) / math.log(HIGHEST / LOWEST)


class _Panel:
    """A grid of top-1 over frames per second between two heights of the drawing."""

    def __init__(self, drawing: Drawing, top: int, bottom: int, low: int, high: int) -> None:
        self.top, self.bottom, self.low, self.high = top, bottom, low, high
        for percent in range(low, high + 1, 2):
            y = self.y(percent)
            drawing.line(f"M{LEFT} {y:.1f} H{RIGHT}")
            drawing.text(LEFT - 10, y + 4, f"{percent} %", text_anchor="end", fill=SOFT)
        for tick in TICKS:
            drawing.line(f"M{_x(tick):.1f} {top} V{bottom}")

    def y(self, percent: float) -> float:
        share = (percent - self.low) / (self.high - self.low)
        return self.bottom - (self.bottom - self.top) * share

    def place(self, point: ZooPoint | Published) -> tuple[float, float]:
        """Where a point with a top-1 lies in the drawing."""
        assert point.top1 is not None
        return _x(point.fps), self.y(point.top1)


def _zoo_panel(drawing: Drawing, points: list[ZooPoint]) -> None:
    clocks = sorted({load_overlay(p.overlay).clock_mhz for p in points})
    clock = " or ".join(f"{mhz:g}" for mhz in clocks)
    drawing.text(
        LEFT, 30, "Quasar's zoo, simulated: no board has run it", font_weight="bold", font_size=15
    )
    drawing.text(
        LEFT,
        49,
        f"cycle model at {clock} MHz, memory {DDR.latency} cycles and {DDR.gigabytes:g} GB/s; "
        "top-1 on 1,000 images of ImageNet's training split, not validation",
        fill=SOFT,
        font_size=12,
    )
    panel = _Panel(drawing, 62, 262, 76, 84)
    names = sorted({p.overlay for p in points}, key=lambda name: load_overlay(name).macs)
    for colour, name in zip(COLOURS, names, strict=False):
        mine = [p for p in points if p.overlay == name]
        path = " L".join(f"{_x(p.fps):.1f} {panel.y(p.top1):.1f}" for p in front(mine))
        drawing.line(f"M{path}", stroke=colour, stroke_width=2, stroke_opacity=0.55)
        for point in mine:
            drawing.add("circle", cx=_x(point.fps), cy=panel.y(point.top1), r=5.5, fill=colour)
            below = point.model.startswith(("vit-", "deit-"))
            _label(
                drawing,
                _x(point.fps) + (-8 if below else 8),
                panel.y(point.top1) + (17 if below else -7),
                point.model,
                text_anchor="end" if below else "start",
            )
        last = front(mine)[-1]
        drawing.text(
            _x(last.fps) + 12,
            panel.y(last.top1) + 15,
            name,
            fill=colour,
            font_weight="bold",
            font_size=14,
        )


def _published_panel(drawing: Drawing, points: list[Published]) -> None:
    drawing.text(LEFT, 304, "Published by others, on boards", font_weight="bold", font_size=15)
    drawing.text(
        LEFT,
        323,
        "top-1 on ImageNet's validation set; filled: measured on a board, hollow: derived from a "
        "published ratio or recalled",
        fill=SOFT,
        font_size=12,
    )
    panel = _Panel(drawing, 336, 496, 70, 82)
    for points_of_one in _by_machine(points):
        path = " L".join("{:.1f} {:.1f}".format(*panel.place(p)) for p in points_of_one)
        drawing.line(f"M{path}", stroke=THEIRS, stroke_width=2, stroke_opacity=0.45)
        for point in points_of_one:
            _mark(drawing, *panel.place(point), point.kind)
        _describe(drawing, panel, points_of_one[0])


def _by_machine(points: list[Published]) -> list[list[Published]]:
    """Points of the same system and board together: several networks on one accelerator."""
    groups: dict[tuple[str, str], list[Published]] = {}
    for point in points:
        groups.setdefault((point.system, point.board), []).append(point)
    return list(groups.values())


def _describe(drawing: Drawing, panel: _Panel, point: Published) -> None:
    """Two lines beside a point: whose it is, and on what."""
    x, y = panel.place(point)
    leftwards = x > (LEFT + RIGHT) * 0.7
    style = {"text_anchor": "end" if leftwards else "start"}
    x += -11 if leftwards else 11
    clock = f", {point.clock_mhz} MHz" if point.clock_mhz else ""
    _label(drawing, x, y - 6, f"{point.system}, {point.network}", **style)
    details = f"{point.board}{clock}, {point.bits}"
    _label(drawing, x, y + 7, details, fill=SOFT, font_size=11, **style)


def _speed_rows(drawing: Drawing, points: list[Published]) -> None:
    """Systems with a published frame rate and no published top-1 at hand: a row each."""
    systems = sorted({p.system for p in points})
    for row, system in enumerate(systems):
        y = 520 + 20 * row
        drawing.line(f"M{LEFT} {y} H{RIGHT}")
        drawing.text(LEFT - 10, y + 4, system, text_anchor="end", fill=SOFT, font_size=12)
        for point in (p for p in points if p.system == system):
            _mark(drawing, _x(point.fps), y, point.kind)
            _label(drawing, _x(point.fps) + 10, y + 4, f"{point.network}", font_size=11)
    drawing.text(RIGHT, 514, "frame rate only", text_anchor="end", fill=SOFT, font_size=11)


def _mark(drawing: Drawing, x: float, y: float, kind: str) -> None:
    filled = kind == "measured"
    drawing.add(
        "path",
        d=f"M{x - 6:.1f} {y:.1f} L{x:.1f} {y - 6:.1f} L{x + 6:.1f} {y:.1f} L{x:.1f} {y + 6:.1f} Z",
        fill=THEIRS if filled else PAPER,
        stroke=THEIRS,
        stroke_width=1.6,
    )


def _label(drawing: Drawing, x: float, y: float, words: str, **attributes: object) -> None:
    """Text with a halo, so that grid and lines do not cross it."""
    halo = {"stroke": PAPER, "stroke_width": 3, "paint_order": "stroke", "fill": INK}
    drawing.text(x, y, words, **{**halo, "font_size": 12, **attributes})
