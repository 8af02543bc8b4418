"""The `quasar` command: its verbs, each imported when it is asked for."""

from __future__ import annotations

import importlib

import click

from quasar_runtime import __version__
from quasar_runtime.cli.verb import HELP_OPTIONS, VerbGroup

VERBS = {
    "infer": "infer",
    "bench": "bench",
    "eval": "evaluate",
    "models": "models",
    "inspect": "inspect",
    "overlays": "overlays",
    "devices": "devices",
    "doctor": "doctor",
    "completion": "completion",
}
"""Verb -> its module in quasar_runtime.cli; the command is what bears the module's name there."""


class LazyGroup(VerbGroup):
    """A group that imports a verb's module only when the verb is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the verbs, in the order of `--help`."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb, imported now; None for an unknown name."""
        module = VERBS.get(cmd_name)
        if module is None:
            return None
        command = getattr(importlib.import_module(f"quasar_runtime.cli.{module}"), module)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, name="quasar", context_settings=HELP_OPTIONS)
@click.version_option(__version__, prog_name="quasar")
def quasar() -> None:
    """Run quantised vision transformers on an FPGA accelerator or on this CPU."""
