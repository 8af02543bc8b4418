"""What every verb of quasar-train shares: one line per error, exit codes, signals, imports.

Exit codes: 1 for input that cannot be used or a failure of the machine, 2 for wrong usage, 130 and
143 after Ctrl-C and TERM, 141 when nobody reads the output any more.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from types import FrameType
from typing import Any

import click

from quasar_runtime.cli import streams
from quasar_runtime.cli.verb import HELP_OPTIONS, Parsed
from quasar_runtime.errors import QuasarError

from ..messages import INSTALL, explained, say

FAILED, INTERRUPTED = 1, 130
TRAINING = ("torch", "safetensors", "tqdm", "yaml")
"""Packages that a verb needs which computes with PyTorch."""
SEARCHING = ("optuna", "tqdm", "yaml")
"""Packages that a search needs, without a supernet."""


GOES_ON = "the same command goes on from the last step that was saved"
"""What an interrupted training says."""


class PackageMissing(QuasarError):
    """A package of the training extra is not installed."""


class Terminated(KeyboardInterrupt):
    """TERM, which ends a command as Ctrl-C does."""


class Verb(Parsed):
    """A verb whose errors are one line, `Error: ...`, and whose packages are imported when it runs.

    kept: what an interrupted verb leaves behind, and how to go on; needs: packages that it needs.
    """

    def __init__(
        self,
        *args: Any,
        kept: str = "nothing was written",
        needs: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("context_settings", HELP_OPTIONS)
        super().__init__(*args, **kwargs)
        self.kept, self.needs = kept, tuple(needs)

    def invoke(self, ctx: click.Context) -> None:
        """Run the verb and exit with its code."""
        streams.complete()
        with _signals(_raise_interrupted, _raise_terminated):
            ctx.exit(self._run(ctx))

    def _run(self, ctx: click.Context) -> int:
        try:
            require(self.needs)
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
        except click.ClickException:
            raise
        except Exception as e:
            reason = explained(e)
            if reason is None:
                raise
            say(f"Error: {reason}")
            return FAILED


def require(needs: Sequence[str]) -> None:
    """Import the packages of a verb. PackageMissing names those that this Python lacks.

    A signal ends the process at once meanwhile: raised inside an import of PyTorch, which takes
    seconds, KeyboardInterrupt would end in a traceback of its own.
    """
    missing = [name for name in needs if not find_spec(name)]
    if missing:
        raise PackageMissing(f"this needs {', '.join(missing)}, not installed here; {INSTALL}")
    with _signals(end_quietly, end_quietly):
        for name in needs:
            importlib.import_module(name)


def end_quietly(number: int, _frame: FrameType | None) -> None:
    """End the process in one line; for the time before a verb has begun."""
    os.write(2, b"Interrupted before it began\n")
    os._exit(128 + number)


def _raise_interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _raise_terminated(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def _signals(interrupted: Any, terminated: Any) -> Iterator[None]:
    """Handle Ctrl-C and TERM meanwhile; a shell's background job goes on ignoring Ctrl-C."""
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        if before[signal.SIGINT] is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, interrupted)
        signal.signal(signal.SIGTERM, terminated)
    except ValueError:  # not the main thread
        before = {}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
