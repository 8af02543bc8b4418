"""The files of a training's folder: each appears whole or not at all.

A run that is killed at any moment can therefore go on. metrics.jsonl: train/training/metrics.py.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from quasar_runtime.errors import DataError
from quasar_runtime.files import open_regular, read_object, replacing


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make the folder and lock it against other trainings. DataError when one is at work in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise DataError(f"{folder}: cannot be written ({e.strerror})") from None
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"{folder}: another training is at work in it; wait for it, or choose another "
                "folder"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(file)


def write_json(path: Path, value: object) -> None:
    """Write a whole JSON file. DataError when that cannot be."""
    with replacing(path) as file:
        file.write(json.dumps(value, indent=1).encode())


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a run's folder. DataError when it is absent or damaged."""
    return read_object(path, "is damaged", "remove the folder to begin again")


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write a whole file of tensors and plain values. DataError when that cannot be."""
    memory = io.BytesIO()
    torch.save(state, memory)
    with replacing(path) as file:
        file.write(memory.getbuffer())


def read_state(path: Path) -> dict[str, Any]:
    """The state that `write_state` wrote. DataError when absent or damaged; no code is run."""
    with open_regular(path) as file:
        try:
            state = torch.load(file, weights_only=True, map_location="cpu")
        except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError):
            state = None
    if not isinstance(state, dict) or not {"step", "supernet", "average", "teacher"} <= set(state):
        raise DataError(f"{path}: damaged, or no training's; remove the folder to begin again")
    return state
