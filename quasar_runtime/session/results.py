"""What a session answers: predictions, logits, and where the time went."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from quasar_runtime.errors import ImageError
from quasar_runtime.html import BLUE, GREEN, GREY, ORANGE, RED, bar, box, dim, escape, swatch, table
from quasar_runtime.isa import interface as hw

KINDS = {
    "matrices": BLUE,
    "attention": ORANGE,
    "LayerNorm": GREEN,
    "loads and stores": GREY,
}
"""Kinds of operations and their colours, in the profile's picture and in its table."""


@dataclass(frozen=True)
class Prediction:
    """A class and how likely it is: softmax of the logits, in [0, 1]."""

    index: int
    wnid: str
    label: str
    probability: float

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints of it; see docs/cli.md."""
        return {
            "index": self.index,
            "wnid": self.wnid,
            "label": self.label,
            "probability": self.probability,
        }


@dataclass(frozen=True)
class Times:
    """Milliseconds that a picture took. Decoding of the next pictures overlaps inference."""

    decode_ms: float = 0.0
    preprocess_ms: float = 0.0
    infer_ms: float = 0.0

    def as_dict(self) -> dict[str, float]:
        """What `--json` prints of it, in milliseconds."""
        return {
            "decode_ms": round(self.decode_ms, 4),
            "preprocess_ms": round(self.preprocess_ms, 4),
            "infer_ms": round(self.infer_ms, 4),
        }


@dataclass(frozen=True)
class LayerTime:
    """One operation of the program.

    begin_us, microseconds  when it began, counted from the first one, and how long it took
    ticks                   the same in the device's own unit
    macs                    useful 4-bit multiply-accumulates, an 8-bit one counting two
    share                   of the sum of all operations' times, in [0, 1]
    """

    name: str
    ticks: int
    begin_us: float
    microseconds: float
    macs: int
    share: float

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints of it; see docs/cli.md."""
        return {
            "name": self.name,
            "ticks": self.ticks,
            "begin_us": round(self.begin_us, 3),
            "microseconds": round(self.microseconds, 3),
            "macs": self.macs,
            "share": round(self.share, 6),
        }


@dataclass(frozen=True, eq=False)
class Profile:
    """The time of every operation, as the device wrote it to the profile area.

    entries  interface.PROFILE_DTYPE, one per operation: begin and end in ticks
    tick_hz  ticks per second: the accelerator's clock, 1e9 on the native device
    """

    names: tuple[str, ...]
    macs: tuple[int, ...]
    entries: npt.NDArray[np.void]
    tick_hz: float

    @cached_property
    def layers(self) -> tuple[LayerTime, ...]:
        """One entry per operation, in the order in which they run."""
        begin = self.entries["begin"].astype(np.int64)
        ticks = self.entries["end"].astype(np.int64) - begin
        begin -= begin.min(initial=begin[0] if begin.size else 0)
        total, us = max(int(ticks.sum()), 1), 1e6 / self.tick_hz
        return tuple(
            LayerTime(name, int(t), float(b * us), float(t * us), macs, float(t / total))
            for name, macs, b, t in zip(self.names, self.macs, begin, ticks, strict=True)
        )

    @property
    def microseconds(self) -> float:
        """From the first operation's begin to the last one's end."""
        if not self.entries.size:
            return 0.0
        span = int(self.entries["end"].max()) - int(self.entries["begin"].min())
        return span * 1e6 / self.tick_hz

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints of it; see docs/cli.md."""
        return {
            "tick_hz": self.tick_hz,
            "microseconds": round(self.microseconds, 3),
            "layers": [layer.as_dict() for layer in self.layers],
        }

    def _repr_html_(self) -> str:
        return profile_html(self)

    def __repr__(self) -> str:
        return f"Profile({len(self.names)} operations, {self.microseconds / 1e3:.3f} ms)"


def no_logits() -> npt.NDArray[np.float32]:
    """The logits of a picture that has none: float32 (0,)."""
    return np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class Result:
    """The answer for one picture.

    source       its path as it was given, or a description such as '<uint8 array 480x640x3>'; of a
                 path that is no text, os.fsencode gives the bytes
    predictions  the most likely classes, best first; empty when the picture could not be read
    logits       float32 (classes,)
    profile      time of every operation, None when the picture could not be read
    cycles       the accelerator's for the whole picture, None on a device that counts none
    error        why there is no answer, else None
    """

    source: str
    predictions: tuple[Prediction, ...] = ()
    logits: npt.NDArray[np.float32] = field(default_factory=no_logits)
    profile: Profile | None = None
    cycles: int | None = None
    times: Times = Times()
    error: ImageError | None = None

    @property
    def top1(self) -> Prediction:
        """The most likely class. Raises `error` where there is one."""
        if self.error is not None:
            raise self.error
        return self.predictions[0]

    def as_dict(self) -> dict[str, Any]:
        """What `quasar infer --json` prints of it; see docs/cli.md."""
        return {
            "source": self.source,
            "error": None if self.error is None else str(self.error),
            "predictions": [p.as_dict() for p in self.predictions],
            "times": self.times.as_dict(),
            "cycles": self.cycles,
        }

    def _repr_html_(self) -> str:
        return result_html(self)

    def __repr__(self) -> str:
        if self.error is not None:
            return f"Result({self.source!r}, error={str(self.error)!r})"
        top = ", ".join(f"{p.label} {p.probability:.1%}" for p in self.predictions[:3])
        return f"Result({self.source!r}: {top}; {self.times.infer_ms:.2f} ms)"


def rank(
    logits: npt.NDArray[np.float32], labels: list[tuple[str, str]], top: int
) -> tuple[Prediction, ...]:
    """The `top` most likely classes of float32 (classes,) logits; ties go to the lower index.

    labels are (wnid, name), one per class.
    """
    shifted = np.exp(logits.astype(np.float64) - logits.max())
    probability = shifted / shifted.sum()
    best = np.argsort(-logits, kind="stable")[:top]
    return tuple(
        Prediction(int(i), labels[i][0], labels[i][1], float(probability[i])) for i in best
    )


def profile_entries(raw: npt.NDArray[np.uint8]) -> npt.NDArray[np.void]:
    """The profile area's bytes as entries, copied."""
    entries: npt.NDArray[np.void] = raw.copy().view(hw.PROFILE_DTYPE)
    return entries


def operation_kind(name: str) -> str:
    """The kind (a key of KINDS) of an operation by its name in the program."""
    last = name.rsplit(".", 1)[-1]
    if last in ("position", "image", "store", "end"):
        return "loads and stores"
    if last.startswith("norm"):
        return "LayerNorm"
    return "attention" if last.startswith("attention") else "matrices"


def result_html(result: Result) -> str:
    """The classes with bars of their probability, and the times; or why there is no answer."""
    if result.error is not None:
        text = f'<b style="color:{RED}">{escape(str(result.error))}</b>'
        return box(f"<div>{escape(result.source)}</div>{text}")
    rows = [
        (f"{p.probability:.1%}", bar(p.probability, BLUE), escape(p.label), dim(p.wnid))
        for p in result.predictions
    ]
    t = result.times
    times = (
        f"decode {t.decode_ms:.1f} ms, preprocess {t.preprocess_ms:.1f} ms, "
        f"infer {t.infer_ms:.2f} ms"
    )
    return box(f"<b>{escape(result.source)}</b>{table(rows, 'rlll')}{dim(times)}")


def profile_html(profile: Profile) -> str:
    """The operations on a time line, and what each kind of them takes."""
    total = profile.microseconds
    head = f"<b>{len(profile.layers)} operations, {total / 1e3:.3f} ms</b>"
    if not profile.layers:
        return box(head)
    rows = []
    for kind, colour in KINDS.items():
        layers = [layer for layer in profile.layers if operation_kind(layer.name) == kind]
        spent = sum(layer.microseconds for layer in layers)
        macs = sum(layer.macs for layer in layers)
        rate = f"{macs / spent / 1e3:.1f} GMAC/s" if macs and spent else ""
        share = sum(layer.share for layer in layers)
        if layers:
            rows.append(
                (
                    swatch(colour) + kind,
                    str(len(layers)),
                    f"{spent / 1e3:.3f} ms",
                    f"{share:.1%}",
                    bar(share, colour),
                    rate,
                )
            )
    slowest = sorted(profile.layers, key=lambda layer: -layer.microseconds)[:3]
    names = ", ".join(
        f"{escape(layer.name)} {layer.microseconds / 1e3:.3f} ms" for layer in slowest
    )
    return box(f"{head}{_timeline(profile.layers, total)}{table(rows, 'lrrrll')}longest: {names}")


def _timeline(layers: Sequence[LayerTime], total: float) -> str:
    width, height = 640.0, 26.0
    scale = width / max(total, 1e-9)
    rectangles = "".join(
        f'<rect x="{layer.begin_us * scale:.2f}" y="0" '
        f'width="{max(layer.microseconds * scale, 0.2):.2f}" height="{height:.0f}" '
        f'fill="{KINDS[operation_kind(layer.name)]}">'
        f"<title>{escape(layer.name)}: {layer.microseconds:.1f} us</title></rect>"
        for layer in layers
    )
    return (
        f'<div><svg viewBox="0 0 {width:.0f} {height:.0f}" style="width:100%;max-width:640px" '
        f'role="img" aria-label="operations over time">{rectangles}</svg></div>'
    )
