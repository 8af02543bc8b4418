"""Tables that fit the terminal: text is wrapped in its cell, and columns that still find no room
follow in a second table below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from quasar_runtime.cli.terminal import pad, width, wrap

NUMBER = re.compile(r"[-+]?\d[\d.,]*( ?(%|M|MHz|MB|ms|W))?")
GAP = "  "
LEAST = 16
"""Columns to which a cell of text is narrowed before the table is parted."""

Rows = Sequence[Sequence[str]]


def table(headers: Sequence[str], rows: Rows, columns: int | None) -> Iterator[str]:
    """The lines of a table; the first line is its headings, and so is one after an empty line.

    Columns are as wide as their widest cell and numbers are set to the right. `columns` is the
    terminal's width, None for lines of any length.
    """
    right = [_is_numbers([row[i] for row in rows]) for i in range(len(headers))]
    full = [max(map(width, column)) for column in zip(headers, *rows, strict=True)]
    narrow = full if columns is None else _narrowed(full, right, columns)
    for number, part in enumerate(_parted(narrow, columns)):
        if number:
            yield ""
        widths = narrow if columns is None else _widened(narrow, full, part, columns)
        for row in (headers, *rows):
            yield from _row(row, widths, right, part)


def _is_numbers(cells: Sequence[str]) -> bool:
    """Whether a column is one of numbers: '-' stands for one that there is not."""
    return any(cell != "-" for cell in cells) and all(
        cell in ("-", "") or NUMBER.fullmatch(cell) for cell in cells
    )


def _narrowed(widths: Sequence[int], right: Sequence[bool], columns: int) -> list[int]:
    """The widths after columns of text, the widest first, have given what the table is too wide."""
    narrow = list(widths)
    for i in sorted(range(len(widths)), key=lambda i: -widths[i]):
        excess = sum(narrow) + len(GAP) * (len(narrow) - 1) - columns
        if excess > 0 and not right[i]:
            narrow[i] = max(narrow[i] - excess, min(narrow[i], LEAST))
    return narrow


def _widened(
    widths: Sequence[int], full: Sequence[int], part: Sequence[int], columns: int
) -> list[int]:
    """The widths after the columns of a part have taken the room that it leaves."""
    wide = list(widths)
    for i in part:
        room = columns - sum(wide[j] for j in part) - len(GAP) * (len(part) - 1)
        wide[i] = min(full[i], wide[i] + max(room, 0))
    return wide


def _parted(widths: Sequence[int], columns: int | None) -> list[list[int]]:
    """Numbers of the columns of each part: every part begins with the first column."""
    parts, used = [[0]], widths[0]
    for i in range(1, len(widths)):
        used += len(GAP) + widths[i]
        if columns is not None and used > columns and len(parts[-1]) > 1:
            parts.append([0])
            used = widths[0] + len(GAP) + widths[i]
        parts[-1].append(i)
    return parts


def _row(
    row: Sequence[str], widths: Sequence[int], right: Sequence[bool], part: Sequence[int]
) -> Iterator[str]:
    """A row's lines: as many as its longest cell takes."""
    cells = {i: [row[i]] if right[i] else wrap(row[i], widths[i], split=True) for i in part}
    for line in range(max(map(len, cells.values()))):
        shown = (
            pad(cell[line] if line < len(cell) else "", widths[i], right[i])
            for i, cell in cells.items()
        )
        yield GAP.join(shown).rstrip()
