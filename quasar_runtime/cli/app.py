"""The `quasar` command: its verbs, each imported when it is asked for."""

from __future__ import annotations

import importlib

import click

from quasar_runtime import __version__

VERBS = {
    "infer": "infer",
    "bench": "bench",
    "eval": "evaluate",
    "models": "models",
    "inspect": "inspect",
    "devices": "devices",
    "completion": "completion",
}
"""Verb -> its module in quasar_runtime.cli; the command is what bears the module's name there."""


class LazyGroup(click.Group):
    """A group that imports a verb's module only when the verb is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = VERBS.get(cmd_name)
        if module is None:
            return None
        command = getattr(importlib.import_module(f"quasar_runtime.cli.{module}"), module)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from quasar_runtime.errors import did_you_mean

            hint = did_you_mean(args[0], VERBS) or f" Verbs: {', '.join(VERBS)}"
            raise click.UsageError(f"no verb '{args[0]}'{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, name="quasar", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="quasar")
def quasar() -> None:
    """Quantised vision transformers on an FPGA accelerator, or on this machine's CPU."""
