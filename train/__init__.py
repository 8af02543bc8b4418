"""Quantisation, search and training with PyTorch; the runtime does not need this package.

`python -m train.NAME` begins here: what is missing is named in one line, and Ctrl-C while PyTorch
is imported (seconds) ends in one line too. From then on `train.command` sees to it.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.util import find_spec

NEEDED = ("torch", "safetensors", "tqdm", "yaml")


def _command() -> str | None:
    """NAME while `python -m train.NAME` is starting, else None."""
    given = sys.orig_argv
    if sys.argv[:1] != ["-m"] or "-m" not in given:
        return None
    package, _, name = "".join(given[given.index("-m") + 1 :][:1]).partition(".")
    return name if package == __name__ else None


def _end_quietly(number: int, _frame: object) -> None:
    os.write(2, b"Interrupted before it began\n")
    os._exit(128 + number)


def _begin(name: str) -> None:
    needed = ("optuna", "tqdm", "yaml") if name == "search" else NEEDED
    missing = [] if name in ("area", "cost", "plot") else [m for m in needed if not find_spec(m)]
    if missing:
        sys.exit(
            f"error: python -m train.{name} needs {', '.join(missing)}, which this Python lacks; "
            "pip install -e '.[train]'"
        )
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end_quietly)
    signal.signal(signal.SIGTERM, _end_quietly)


if (_name := _command()) is not None:
    _begin(_name)
