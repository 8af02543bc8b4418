"""The standard streams as they come: closed, full, read by nobody, or of an encoding that lacks a
letter.

A closed stream becomes the null device, as `2>/dev/null` would have made it: whoever closes one
does not want it. What cannot be written to an open one is lost, and an error.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, TextIO

from quasar_runtime.errors import DataError, QuasarError

PIPE_CLOSED = 141
"""Exit code when whoever read the output has left, as a shell gives it for SIGPIPE."""
CHOSEN = ("replace", "ignore", "xmlcharrefreplace", "namereplace")
"""Ways of writing a letter that the encoding lacks which only PYTHONIOENCODING can ask for."""


class OutputLost(QuasarError):
    """Standard output cannot be written: its disk is full, or it is not open for writing."""


def complete() -> None:
    """Open what is closed of the standard streams on the null device, and have letters that an
    encoding lacks written as escapes.

    Without it the next file that is opened would become descriptor 0, 1 or 2, and receive what
    libraries and child processes write there.
    """
    for number in range(3):
        if not _is_open(number):
            with suppress(OSError):  # no /dev; the lowest number that is free is this one
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdout is None:
        sys.stdout = _null()
    if sys.stderr is None:
        sys.stderr = _null()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors not in CHOSEN:
            stream.reconfigure(errors="backslashreplace")


def standard_input() -> BinaryIO:
    """Standard input's bytes. DataError when it is closed."""
    stream: TextIO | None = sys.stdin
    if stream is None:
        raise DataError("-: standard input is closed; pipe a picture into it, or name a file")
    return stream.buffer


def say(text: str, end: str = "\n") -> None:
    """Write to standard output, at once. OutputLost when that fails; BrokenPipeError when nobody
    reads it.
    """
    with written():
        sys.stdout.write(text + end)
        sys.stdout.flush()


@contextmanager
def written() -> Iterator[None]:
    """While standard output is written: an error of it is OutputLost, unless nobody reads it."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as e:
        _discard(sys.stdout)
        raise OutputLost(_lost(e)) from None


def complain(text: str) -> None:
    """Write a line to standard error, around a progress bar; lost where that cannot be written."""
    progress = sys.modules.get("tqdm")
    try:
        if progress is not None:
            progress.tqdm.write(text, file=sys.stderr)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)


def finish(code: int) -> int:
    """Write what is still to be written, and the exit code that a command then has: `code` unless
    its output is lost.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
        code = code or PIPE_CLOSED
    except OSError as e:
        _discard(sys.stdout)
        complain(f"Error: {_lost(e)}")
        code = code or 1
    try:
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)
    return code


def nobody_reads() -> int:
    """The exit code after a BrokenPipeError; what is left of the output goes nowhere."""
    _discard(sys.stdout)
    return PIPE_CLOSED


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _lost(e: OSError) -> str:
    return f"standard output cannot be written ({e.strerror or e}); the answer is not complete"


def _discard(stream: TextIO) -> None:
    """Let what the stream holds, and all that follows, go nowhere: Python flushes it again at its
    exit, and would complain.
    """
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def _null() -> TextIO:
    try:
        return open(os.devnull, "w", encoding="utf-8")
    except OSError:
        return io.StringIO()
