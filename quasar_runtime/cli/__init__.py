"""The commands `quasar` and `quasar-infer`: they parse, call the library and print.

Verbs are imported when they are used; the library when a verb runs, so that help, completion and
the first answer are quick.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

TERMINATED = 143


def main() -> None:
    """`quasar VERB ...`"""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        from quasar_runtime.cli.app import quasar

        quasar(prog_name="quasar")
    except KeyboardInterrupt:  # before a verb ran, which handles its own
        _interrupted()


def infer_main() -> None:
    """`quasar-infer ...`, the same as `quasar infer ...`."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        from quasar_runtime.cli.infer import infer

        infer(prog_name="quasar-infer")
    except KeyboardInterrupt:
        _interrupted()


def _terminate(_number: int, _frame: FrameType | None) -> None:
    """`kill` ends a command as an exit does: a board is stopped and its memory freed."""
    sys.exit(TERMINATED)


def _interrupted() -> None:
    sys.stderr.write("Interrupted\n")
    sys.exit(130)
