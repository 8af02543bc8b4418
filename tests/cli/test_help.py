"""Every verb has help, JSON and documentation, and completes in a shell."""

import re
from pathlib import Path

import click
import pytest

from quasar_runtime.cli.app import quasar

ROOT = Path(__file__).resolve().parents[2]


# --- completion


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_serves_every_command(call, shell_name):
    script = call("completion", shell_name).stdout
    assert f"_QUASAR_COMPLETE={shell_name}_complete" in script
    assert f"_QUASAR_INFER_COMPLETE={shell_name}_complete" in script
    assert f"_QUASAR_TRAIN_COMPLETE={shell_name}_complete" in script


def complete(shell, words):
    environment = {
        "_QUASAR_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    out, err = shell(env=environment).communicate(timeout=60)
    assert err == ""
    return [line.partition(",")[2] for line in out.splitlines()]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["quasar", "mo"], ["models"]),
        (["quasar", "infer", "--model", "q"], ["q-vit-160fps"]),
        (["quasar", "inspect", "t"], ["tiny-w8"]),
        (["quasar", "infer", "--device", "re"], ["reference"]),
        (["quasar", "infer", "--overlay", "b1"], ["b1024"]),
        (["quasar", "models", "sh"], ["show"]),
    ],
)
def test_verbs_models_devices_and_overlays_complete(shell, words, found):
    assert complete(shell, words) == found


# --- help and documentation


def commands(command=quasar, path=("quasar",)):
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*path, name))


COMMANDS = dict(commands())


def section(name):
    """What docs/cli.md says under the heading of a command."""
    text = (ROOT / "docs/cli.md").read_text()
    found = re.search(rf"^##+ `{re.escape(name)}`$(.*?)(?=^##+ `|\Z)", text, re.M | re.S)
    assert found, f"docs/cli.md has no heading for `{name}`"
    return found.group(1)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help_and_documentation(name):
    command = COMMANDS[name]
    assert command.help
    if isinstance(command, click.Group):
        return
    documented = section(name)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]} has no help"
            assert f"`{parameter.opts[0]}" in documented, f"{parameter.opts[0]} not in docs/cli.md"


@pytest.mark.parametrize("name", [n for n, c in COMMANDS.items() if not isinstance(c, click.Group)])
def test_every_verb_has_json(name):
    assert "--json" in {o for p in COMMANDS[name].params for o in p.opts}


def test_documentation_names_no_option_that_does_not_exist():
    for name, command in COMMANDS.items():
        if isinstance(command, click.Group):
            continue
        known = {o for p in command.params for o in p.opts}
        table = [line for line in section(name).splitlines() if line.startswith("| `-")]
        for option in (
            o for line in table for o in re.findall(r"`(--?[a-z-]+)", line.split("|")[1])
        ):
            assert option in known, f"{name}: {option}"
