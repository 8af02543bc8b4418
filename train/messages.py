"""One-line messages on stderr, and what an error tells a user."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from quasar_runtime.cli import streams
from quasar_runtime.errors import QuasarError

MOST_WARNINGS = 10
"""Warnings of one kind that are printed one by one; the rest are counted."""
INSTALL = "pip install 'quasar-vit[train]'"
"""What brings the packages that the training tools need."""

_said: set[str] = set()


def say(text: str) -> None:
    """Write one line to stderr, around a progress bar; control characters are escaped."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
    with suppress(ValueError):  # the stream was closed in Python
        streams.complain(line)


def warn(text: str) -> None:
    """Write a warning to stderr, once per process and text."""
    if text not in _said:
        _said.add(text)
        say(f"Warning: {text}")


def forget_warnings() -> None:
    """Allow every warning to be printed once more."""
    _said.clear()


def warn_left_out(reasons: Iterable[str], of: str) -> None:
    """Name what was left out of `of`: the first MOST_WARNINGS one by one, then their number."""
    lines = list(reasons)
    for line in lines[:MOST_WARNINGS]:
        warn(f"{line}; left out")
    if len(lines) > MOST_WARNINGS:
        warn(f"{of}: {len(lines) - MOST_WARNINGS} more left out, {len(lines)} in all")


def explained(error: BaseException) -> str | None:
    """The text of an error that a user or the machine can cause; None for a bug of this project."""
    text = " ".join(str(error).split())
    if isinstance(error, QuasarError):
        return text
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return where + (error.strerror or text)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{error.name} is not installed; {INSTALL}"
    low = text.lower()
    if isinstance(error, MemoryError) or "can't allocate memory" in low or "out of memory" in low:
        return "not enough memory; calibrate on fewer pictures, or use smaller batches"
    if "dataloader worker" in low:
        return (
            f"a process that decodes pictures has ended ({text[:200]}); set `workers: 0` in the "
            "recipe, or give the machine more memory (/dev/shm in a container)"
        )
    return None
