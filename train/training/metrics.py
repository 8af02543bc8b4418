"""A training's metrics.jsonl: one JSON line per step, and one per evaluation.

Lines are appended; a line that was being written when the process ended does not count.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from quasar_runtime.errors import DataError
from quasar_runtime.files import read_text, replacing

MOST_METRICS = 2**32
"""Largest metrics.jsonl that is read, in bytes."""


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, without a last one that is not whole.

    DataError when there is no such file, or it holds anything else.
    """
    text = read_text(path, most=MOST_METRICS)
    lines = text[: text.rfind("\n") + 1].splitlines()
    try:
        entries = [json.loads(line) for line in lines]
        if not all(isinstance(e, dict) and isinstance(e.get("step"), int) for e in entries):
            raise ValueError("a line without a step")
    except (ValueError, RecursionError) as e:
        raise DataError(f"{path}: damaged ({e}); move it away to go on without it") from None
    return entries


class Log:
    """Metrics as JSON lines; a resumed run drops the lines after its step."""

    def __init__(self, path: Path, step: int) -> None:
        kept = []
        if step and path.exists():
            kept = [entry for entry in read_lines(path) if entry["step"] <= step]
        with replacing(path) as file:
            file.write("".join(json.dumps(entry) + "\n" for entry in kept).encode())
        self.path = path

    def write(self, **entry: Any) -> None:
        """Append a line."""
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as e:
            raise DataError(f"{self.path}: cannot be written ({e.strerror})") from None
