"""The one place that decides what is printed: for people, for programs (--json), or little."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

Item = TypeVar("Item")


@dataclass(frozen=True)
class Output:
    """json: one JSON value on stdout and nothing else; quiet: only the answer itself."""

    json: bool = False
    quiet: bool = False

    def value(self, value: Any) -> None:
        """The answer for programs."""
        click.echo(json.dumps(value, indent=2, allow_nan=False))

    def line(self, text: str = "") -> None:
        """The answer for people."""
        click.echo(text)

    def note(self, text: str) -> None:
        """What surrounds the answer; left out by --quiet."""
        if not self.quiet:
            click.echo(text)

    def warn(self, text: str) -> None:
        """Something that the answer does not show, on stderr."""
        click.echo("Warning: " + " ".join(text.split()), err=True)

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
            click.echo("  ".join(cells).rstrip())

    def progress(
        self, items: Iterable[Item], total: int | None, unit: str, done: int = 0
    ) -> Iterator[Item]:
        """items, with a progress bar on stderr when somebody watches it."""
        if self.quiet or not sys.stderr.isatty():
            yield from items
            return
        from tqdm import tqdm

        with tqdm(items, total=total, initial=done, unit=f" {unit}", leave=False) as bar:
            yield from bar
