"""What can be known of the paths to write before the work."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from quasar_runtime.errors import DataError
from quasar_runtime.files import AnyPath, check_output, existing


def check_file(path: Path, images: Path | None, inputs: Iterable[AnyPath | None]) -> None:
    """DataError unless a file can be written at `path` without harm to what is read.

    Read are the inputs, and the pictures in a folder `images`.
    """
    read = [p for p in (*inputs, images) if p is not None]
    check_output(path, read)
    if images is not None and images.is_dir() and path.exists():
        inside = path.resolve().is_relative_to(images.resolve())
        if inside and path.suffix != ".safetensors":
            raise DataError(f"{path}: lies among the pictures that are read; choose another place")


def check_folder(path: Path) -> None:
    """DataError unless `path` is a folder that can be written to, or can be made."""
    found = existing(path)
    try:
        if not found.is_dir():
            raise DataError(f"{path}: {found} is not a folder; choose another name")
        if not os.access(found, os.W_OK | os.X_OK):
            raise DataError(f"{path}: cannot be written: no permission for {found}")
    except (OSError, ValueError) as e:
        raise DataError(f"{path}: cannot be written ({e})") from None
