"""The one place that decides what is printed: for people, for programs (--json), or little."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quasar_runtime.cli import streams, terminal

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
        """A line as it is, however long: bare answers and scripts."""
        streams.say(text)

    def text(self, text: str, start: str = "") -> None:
        """Words for people, wrapped at the terminal's width; the lines that follow the first are
        indented as far as `start` goes. A start of more than half the width has its own line.
        """
        columns = terminal.columns()
        if columns is None:
            streams.say(start + text)
            return
        if terminal.width(start) > columns // 2:
            streams.say(start.rstrip())
            start = "  "
        hang = terminal.width(start)
        for i, line in enumerate(terminal.wrap(text, columns - hang)):
            streams.say((" " * hang if i else start) + line)

    def heading(self, text: str, aside: str, indent: str = "  ") -> None:
        """A text that is never broken, such as a path, and what is said of it: in a line of its own
        where the terminal has no room for both.
        """
        columns = terminal.columns()
        if columns is None or terminal.width(f"{text}  {aside}") <= columns:
            streams.say(f"{text}  {aside}")
        else:
            streams.say(text)
            self.text(aside, indent)

    def styled(self, text: str, style: str | None) -> str:
        """`text` in a style of terminal.STYLES, where the terminal has them."""
        return terminal.styled(text, style)

    def warn(self, text: str) -> None:
        """Something that the answer does not show, on stderr."""
        streams.complain("Warning: " + " ".join(text.split()))

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Rows under bold headings, as wide as the terminal at most (`tables`)."""
        from quasar_runtime.cli.tables import table

        is_heading = True
        body = [[str(cell) for cell in row] for row in rows]
        for line in table(headers, body, terminal.columns()):
            streams.say(self.styled(line, "bold") if is_heading else line)
            is_heading = not line

    def pairs(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Names and what is said of them, in two columns, the second one wrapped."""
        found = list(pairs)
        size = max((terminal.width(name) for name, _ in found), default=0)
        for name, text in found:
            self.text(text, terminal.pad(name, size) + "  ")

    def facts(self, facts: Mapping[str, Any]) -> None:
        """All of nested facts, one per line (`facts`)."""
        from quasar_runtime.cli.facts import lines

        for line in lines(facts, terminal.columns()):
            streams.say(line)

    def operations(self, layers: Sequence[LayerTime], each: bool) -> None:
        """The time of the operations: of every kind, or of each one."""
        if each:
            rows = [(layer.name, *_spent([layer])) for layer in layers]
            self.table(["operation", "ms", "share", "MMAC", "GMAC/s"], rows)
            return
        from quasar_runtime.session.results import KINDS, operation_kind

        kinds = {
            kind: [layer for layer in layers if operation_kind(layer.name) == kind]
            for kind in KINDS
        }
        self.table(
            ["operations", "number", "ms", "share", "MMAC", "GMAC/s"],
            [(kind, len(of), *_spent(of)) for kind, of in kinds.items() if of],
        )
        self.text(f"{len(layers)} operations; --each shows every one")

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
        rtl device calls.
        """
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


def _spent(layers: Sequence[LayerTime]) -> tuple[str, str, str, str]:
    """Milliseconds, share of all time, millions of 4-bit MACs and billions of them per second."""
    us, mega = sum(layer.microseconds for layer in layers), sum(la.macs for la in layers) / 1e6
    share = f"{sum(layer.share for layer in layers):.1%}"
    if not mega:
        return f"{us / 1e3:.3f}", share, "-", "-"
    return f"{us / 1e3:.3f}", share, f"{mega:,.2f}", f"{mega / max(us, 1e-3) * 1e3:,.1f}"


def _advance(bar: Any) -> None:
    bar.update()
