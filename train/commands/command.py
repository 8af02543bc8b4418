"""What the training commands share: an end in one line whatever happens, options' ranges, warnings,
and what can be known of paths before the work.

Exit codes: 1 what was given cannot be used, or something failed; 2 wrong usage; 130 and 143 ended
by Ctrl-C or TERM; 141 nobody reads the output any more.
"""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import click

from quasar_runtime.cli import streams
from quasar_runtime.errors import DataError, QuasarError
from quasar_runtime.files import AnyPath, check_output, existing

FAILED, INTERRUPTED = 1, 130
MOST_SEED = 2**32 - 1
MOST_WARNINGS = 10
"""Of one kind that are printed one by one."""


class Terminated(KeyboardInterrupt):
    """TERM, which ends a command as Ctrl-C does."""


class Command(click.Command):
    """A training command: every error that a user can cause is one line.

    kept: what an interrupted command leaves behind, and how to go on.
    """

    def __init__(self, *args: Any, kept: str = "nothing was written", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kept = kept

    def invoke(self, ctx: click.Context) -> None:
        streams.complete()
        with _signals():
            ctx.exit(self._run(ctx))

    def _run(self, ctx: click.Context) -> int:
        try:
            super().invoke(ctx)
            sys.stdout.flush()
            return 0
        except click.exceptions.Exit as e:
            return e.exit_code
        except KeyboardInterrupt as e:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            terminated = isinstance(e, Terminated)
            say(f"{'Terminated' if terminated else 'Interrupted'}: {self.kept}")
            return 128 + signal.SIGTERM if terminated else INTERRUPTED
        except BrokenPipeError:
            return streams.nobody_reads()
        except Exception as e:
            reason = explained(e)
            if reason is None:
                raise
            say(f"error: {reason}")
            return FAILED


def explained(error: BaseException) -> str | None:
    """What an error says to a user; None for a fault of this project's own."""
    text = " ".join(str(error).split())
    if isinstance(error, QuasarError):
        return text
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return where + (error.strerror or text)
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{error.name} is not installed; pip install -e '.[train]'"
    low = text.lower()
    if isinstance(error, MemoryError) or "can't allocate memory" in low or "out of memory" in low:
        return "not enough memory; calibrate on fewer pictures, or use smaller batches"
    if "dataloader worker" in low:
        return (
            f"a process that decodes pictures has ended ({text[:200]}); set `workers: 0` in the "
            "recipe, or give the machine more memory (/dev/shm in a container)"
        )
    return None


def say(text: str) -> None:
    """One line on stderr, beside the progress bar, whatever the text holds."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
    with suppress(ValueError):  # a stream that was closed in Python
        streams.complain(line)


_said: set[str] = set()


def warn(text: str) -> None:
    """A warning on stderr, each once."""
    if text not in _said:
        _said.add(text)
        say(f"warning: {text}")


def warn_left_out(what: Iterable[str], of: str) -> None:
    """Name what was left out and why, the first ones one by one."""
    lines = list(what)
    for line in lines[:MOST_WARNINGS]:
        warn(f"{line}; left out")
    if len(lines) > MOST_WARNINGS:
        warn(f"{of}: {len(lines) - MOST_WARNINGS} more left out, {len(lines)} in all")


def _raise_terminated(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def _signals() -> Iterator[None]:
    """Ctrl-C and TERM end the command; a shell's background job goes on ignoring Ctrl-C."""
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        if before[signal.SIGINT] is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, _raise_terminated)
    except ValueError:  # not the main thread
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- options ---


class Number(click.FloatRange):
    """A finite number in a range."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            finite = math.isfinite(float(value))
        except (TypeError, ValueError):
            finite = True  # click's own message
        if not finite:
            self.fail(f"{value} is not a finite number.", param, ctx)
        return float(super().convert(value, param, ctx))


SHARE = Number(0, 1)
POSITIVE = Number(0, min_open=True)
COUNT = click.IntRange(1)
SEED = click.IntRange(0, MOST_SEED)
THREADS = click.IntRange(1, 1024)


def check_words(option: str, text: str | None, longest: int) -> str | None:
    """A user's own words for a file. DataError unless they are printable and not too many."""
    if text is not None and not (1 <= len(text) <= longest and text.isprintable()):
        raise DataError(f"{option} is {text[:60]!r}, expected 1 to {longest} printable characters")
    return text


# --- paths ---


def check_file(path: Path, images: Path | None, inputs: Iterable[AnyPath | None]) -> None:
    """DataError unless a file can be written at `path` without harm to what is read: the inputs,
    and the pictures in a folder `images`."""
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
