"""The command `quasar-train`: its verbs, each imported when it is named."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

import click

from quasar_runtime import __version__
from quasar_runtime.cli import streams
from quasar_runtime.cli.verb import HELP_OPTIONS, LazyGroup

from .verb import end_quietly

VERBS = (
    "export",
    "supernet",
    "predictor",
    "search",
    "finetune",
    "cost",
    "plot",
    "zoo",
    "ablate",
)
"""Each is a module of this folder; the command is what bears the module's name there."""


@click.group(
    cls=LazyGroup,
    name="quasar-train",
    verbs={name: f"{__package__}.{name}" for name in VERBS},
    context_settings=HELP_OPTIONS,
)
@click.version_option(__version__, prog_name="quasar-train")
def quasar_train() -> None:
    """Quantise, search and train vision transformers for the accelerator."""


def main() -> NoReturn:
    """Run `quasar-train VERB ...` and exit with its code."""
    streams.complete()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end_quietly)
    signal.signal(signal.SIGTERM, end_quietly)
    code = 0
    try:
        quasar_train.main(prog_name="quasar-train")
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1
    except streams.OutputLost as e:
        streams.complain(f"Error: {e}")
        code = 1
    sys.exit(streams.finish(code))
