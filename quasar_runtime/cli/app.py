"""The `quasar` command: its verbs, each imported when it is asked for."""

from __future__ import annotations

import click

from quasar_runtime import __version__
from quasar_runtime.cli.verb import HELP_OPTIONS, LazyGroup

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


@click.group(
    cls=LazyGroup,
    name="quasar",
    verbs={verb: f"quasar_runtime.cli.{module}" for verb, module in VERBS.items()},
    context_settings=HELP_OPTIONS,
)
@click.version_option(__version__, prog_name="quasar")
def quasar() -> None:
    """Run quantised vision transformers on an FPGA accelerator or on this CPU."""
