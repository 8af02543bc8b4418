"""The command `quasar-train`: its verbs, each imported when it is named."""

from __future__ import annotations

import importlib
import signal
import sys
from typing import NoReturn

import click

from quasar_runtime import __version__
from quasar_runtime.cli import streams
from quasar_runtime.cli.verb import HELP_OPTIONS, VerbGroup

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


class LazyGroup(VerbGroup):
    """A group that imports a verb's module only when the verb is named; PyTorch when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order in which they are used."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb of a name, None when there is none."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f".{cmd_name}", __package__)
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, name="quasar-train", context_settings=HELP_OPTIONS)
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
