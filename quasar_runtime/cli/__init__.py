"""The commands `quasar` and `quasar-infer`: they parse, call the library and print.

Verbs are imported when they are used; the library when a verb runs, so that help, completion and
the first answer are quick.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    import click

SIGNAL = 128
"""What a shell adds to a signal's number for the exit code of a command that it ended."""


def main() -> NoReturn:
    """`quasar VERB ...`"""

    def load() -> click.Command:
        from quasar_runtime.cli.app import quasar

        return quasar

    _run("quasar", load)


def infer_main() -> NoReturn:
    """`quasar-infer ...`, the same as `quasar infer ...`."""

    def load() -> click.Command:
        from quasar_runtime.cli.infer import infer

        return infer

    _run("quasar-infer", load)


def _run(name: str, load: Callable[[], click.Command]) -> NoReturn:
    """Run a command and exit. Nothing that a user has ends in a traceback or in click's own exit
    codes: help into a closed pipe, Ctrl-C during an import, a package that is missing.
    """
    from quasar_runtime.cli import limits, streams

    streams.complete()
    limits.respect()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # not under nohup
            signal.signal(number, _terminate)
    try:
        code = _invoke(name, load)
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    except KeyboardInterrupt:
        streams.complain("Interrupted")
        code = SIGNAL + signal.SIGINT
    # A second Ctrl-C ends it at once, without a word of what was being closed.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    sys.exit(streams.finish(code))


def _invoke(name: str, load: Callable[[], click.Command]) -> int:
    """What click's own `main` does, with this command line's exit codes."""
    try:
        import click

        command = load()
    except (ImportError, OSError) as e:
        from quasar_runtime.cli import streams
        from quasar_runtime.cli.messages import missing_package

        said = missing_package(e) if isinstance(e, ImportError) else str(e)
        streams.complain(f"Error: {said}")
        return 1
    from quasar_runtime.cli.verb import reported

    if f"_{name.replace('-', '_').upper()}_COMPLETE" in os.environ:
        command.main(prog_name=name)
    try:
        with reported(), command.make_context(name, sys.argv[1:]) as context:
            command.invoke(context)
    except click.exceptions.Exit as e:
        return e.exit_code
    return 0


def _terminate(number: int, _frame: FrameType | None) -> None:
    """`kill` ends a command as an exit does: a board is stopped and its memory freed."""
    sys.exit(SIGNAL + number)
