"""The one place that decides what is printed: for people, for programs (--json), or little."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quasar_runtime.cli import streams

if TYPE_CHECKING:
    from quasar_runtime.devices.rtl.watch import Progress
    from quasar_runtime.session.results import LayerTime


@dataclass(frozen=True)
class Output:
    """json: one JSON value on stdout and nothing else; quiet: only the answer itself."""

    json: bool = False
    quiet: bool = False

    def value(self, value: Any) -> None:
        """The answer for programs."""
        streams.say(json.dumps(value, indent=2, allow_nan=False))

    def line(self, text: str = "") -> None:
        """The answer for people."""
        streams.say(text)

    def note(self, text: str) -> None:
        """What surrounds the answer; left out by --quiet."""
        if not self.quiet:
            streams.say(text)

    def warn(self, text: str) -> None:
        """Something that the answer does not show, on stderr."""
        streams.complain("Warning: " + " ".join(text.split()))

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Columns as wide as their widest cell; numbers to the right."""
        body = [[str(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(headers, *body, strict=True)]
        right = [
            bool(body) and all(row[i][:1].isdigit() or row[i] == "-" for row in body)
            for i in range(len(headers))
        ]
        for row in [list(headers), *body]:
            cells = (
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(row, widths, right, strict=True)
            )
            streams.say("  ".join(cells).rstrip())

    def facts(self, facts: Mapping[str, Any], indent: str = "") -> None:
        """Keys and values, one a line; objects indented under their key."""
        for key, value in facts.items():
            if isinstance(value, Mapping) and value:
                streams.say(f"{indent}{key}:")
                self.facts(value, indent + "  ")
            else:
                shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
                streams.say(f"{indent}{key}: {'-' if shown in ({}, None, '') else shown}")

    def layers(self, layers: Iterable[LayerTime]) -> None:
        """The time of every operation."""
        rows = []
        for layer in layers:
            us, mega = layer.microseconds, layer.macs / 1e6
            speed = f"{mega / max(us, 1e-3) * 1e3:.1f}" if layer.macs else "-"
            rows.append((layer.name, f"{us:.1f}", f"{layer.share:.1%}", f"{mega:.2f}", speed))
        self.table(["operation", "us", "share", "MMAC", "GMAC/s"], rows)

    @property
    def _watched(self) -> bool:
        """Whether bars are shown: at a terminal, unless only the answer is wanted."""
        return not (self.json or self.quiet) and sys.stderr.isatty()

    def step(self, text: str) -> None:
        """A step of something that takes minutes, in place of the step before; '' ends them."""
        if self._watched:
            with suppress(OSError):
                sys.stderr.write(f"\r\x1b[K{text}")
                sys.stderr.flush()

    @contextmanager
    def bar(self, total: int | None, unit: str, done: int = 0) -> Iterator[Callable[[], None]]:
        """A progress bar on stderr when somebody watches it; yields what moves it on by one."""
        if not self._watched:
            yield lambda: None
            return
        from tqdm import tqdm

        with tqdm(total=total, initial=done, unit=f" {unit}", leave=False) as bar:
            yield lambda: _advance(bar)

    @contextmanager
    def cycles(self) -> Iterator[Callable[[Progress], None] | None]:
        """A bar of cycles for each run of a simulation, with the time that is left; yields what the
        rtl device calls."""
        bar = _CycleBar()
        try:
            yield bar if self._watched else None
        finally:
            bar.close()


class _CycleBar:
    """A bar that appears with a run's first cycles and goes with its end."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, progress: Progress) -> None:
        if not progress.running:
            self.close()
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(total=progress.expected, unit=" cycles", unit_scale=True, leave=False)
            self._bar.start_t -= progress.cycles / progress.cycles_per_second
        self._bar.n = progress.cycles
        self._bar.refresh()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _advance(bar: Any) -> None:
    bar.update()
