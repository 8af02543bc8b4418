"""What the terminal on standard output can show: its columns, its colours, letters two wide."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator

COLUMNS = 80
"""Width of a terminal that does not tell its own."""
NARROWEST = 20
"""Narrower terminals get lines of this width."""
STYLES = {"bold": "1", "dim": "2", "green": "32", "yellow": "33", "red": "31"}
"""Names of styles and their ANSI codes."""
ANSI = re.compile("\x1b\\[[0-9]*m")


def columns() -> int | None:
    """Columns of the terminal on standard output: COLUMNS where it is set, else what the terminal
    says. None where standard output is no terminal: files and pipes get whole lines.
    """
    if not sys.stdout.isatty():
        return None
    stated = os.environ.get("COLUMNS", "")
    if stated.isascii() and stated.isdigit() and int(stated[:6]):
        return max(int(stated[:6]), NARROWEST)
    try:
        found = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        found = 0
    return max(found or COLUMNS, NARROWEST)


def styled(text: str, style: str | None) -> str:
    """`text` in one of STYLES, where standard output is a terminal that has colours; NO_COLOR, when
    it is set and not empty, and TERM=dumb turn them off (https://no-color.org).
    """
    if style is None or not text.strip() or not sys.stdout.isatty():
        return text
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m"


def width(text: str) -> int:
    """Columns that a text takes: East Asian wide letters two, combining and invisible ones none."""
    text = ANSI.sub("", text)
    if text.isascii():
        return len(text)
    return sum(map(_letter_width, text))


def _letter_width(letter: str) -> int:
    import unicodedata

    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def pad(text: str, size: int, right: bool = False) -> str:
    """`text` filled with spaces to `size` columns; `right`: the spaces before it."""
    spaces = " " * (size - width(text))
    return spaces + text if right else text + spaces


def wrap(text: str, size: int, split: bool = False) -> list[str]:
    """Lines of at most `size` columns, broken at spaces.

    A longer word, such as a path, stays whole so that it can be copied; `split` breaks it.
    """
    lines = [""]
    for word in text.split(" "):
        for part in _parts(word, size) if split else [word]:
            joined = f"{lines[-1]} {part}" if lines[-1] else part
            if width(joined) <= size or not lines[-1]:
                lines[-1] = joined
            else:
                lines.append(part)
    return lines


def _parts(word: str, size: int) -> Iterator[str]:
    """A word in pieces of at most `size` columns."""
    piece = ""
    for letter in word:
        if width(piece + letter) > size and piece:
            yield piece
            piece = ""
        piece += letter
    yield piece
