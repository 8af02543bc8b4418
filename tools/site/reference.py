"""The reference pages, made from the code: every verb's --help, every public name."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click

WIDTH = 80
"""Columns of the terminal for which help is formatted."""
COMMANDS = (
    ("quasar", "quasar_runtime.cli.app", "quasar"),
    ("quasar-train", "train.commands.app", "quasar_train"),
)
"""Each command with the module and the name of its group."""
GROUPS = (
    ("The class to begin with", ("Session",)),
    ("Results", ("Result", "Prediction", "Times", "Profile", "LayerTime")),
    (
        "Models and devices",
        ("Model", "load_model", "list_models", "open_device", "available_devices"),
    ),
    ("Pictures", ("list_pictures", "Listing", "Skipped")),
)
"""Order of the public names on their page; the others, the errors, follow."""


def pages() -> dict[str, str]:
    """Path under docs/ and Markdown of each page."""
    return {"reference/cli.md": cli_page(), "reference/api.md": api_page()}


def cli_page() -> str:
    """`--help` of every verb of every command."""
    parts = [
        "# Every verb's `--help`\n",
        "Generated from the commands. [Command line](../cli.md) explains `quasar`,\n"
        "[Training](../../train/README.md) `quasar-train`.\n",
    ]
    for name, module, group in COMMANDS:
        for words, command in verbs(name, getattr(importlib.import_module(module), group)):
            parts += [f"## `{words}`\n", f"```text\n{help_of(words, command)}\n```\n"]
    return "\n".join(parts)


def verbs(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, each with the words that call it."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=name)
        for word in command.list_commands(context):
            below = command.get_command(context, word)
            if below and not below.hidden:
                yield from verbs(f"{name} {word}", below)


def help_of(name: str, command: click.Command) -> str:
    """What `NAME --help` prints on a terminal of WIDTH columns."""
    context = click.Context(
        command,
        info_name=name,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    return command.get_help(context)


def api_page() -> str:
    """Every public name of quasar_runtime with its docstring."""
    package = importlib.import_module("quasar_runtime")
    names = [name for name in package.__all__ if not name.startswith("__")]
    named = [name for _, group in GROUPS for name in group]
    others = sorted(set(names) - set(named))
    parts = [
        "# Python names\n",
        "Every public name, from its docstring; import them from `quasar_runtime`. "
        "[Python API](../api.md) explains them.\n",
    ]
    for title, group in (*GROUPS, ("Errors", tuple(others))):
        parts.append(f"## {title}\n")
        parts += [f"::: {_home(package, name)}\n" for name in group if name in names]
    return "\n".join(parts)


def _home(package: object, name: str) -> str:
    """Dotted path of the definition behind a public name."""
    value = getattr(package, name)
    return f"{value.__module__}.{value.__qualname__}"
