"""Every `quasar` command that README and docs show is one that the command line takes."""

import re
import shlex
from contextlib import suppress
from pathlib import Path

import click
import pytest

from quasar_runtime.cli.app import quasar

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WORD = r"(?:sudo (?:-E )?(?:env \S+ )?|QUASAR_\w+=\S+ )*"


def shown(page: Path) -> list[str]:
    """Commands in a page's code blocks, fenced or indented, and in its tables and sentences."""
    text = page.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [line for line in text.splitlines() if line.startswith("    ")]
    lines += re.findall(r"`(quasar(?:-infer)? [^`]+)`", text)
    found = [re.match(rf"\s*{WORD}(quasar(?:-infer)? .*)", line) for line in lines]
    return sorted({match[1] for match in found if match})


CASES = [(page.name, command) for page in PAGES for command in shown(page)]


def test_commands_are_found():
    assert len(CASES) > 40
    assert ("README.md", "quasar models list") in CASES


@pytest.mark.parametrize(("page", "line"), CASES, ids=[f"{p}: {c}" for p, c in CASES])
def test_a_documented_command_is_valid(page, line):
    line = re.split(r"\s[|>]", line)[0]
    words = [w for w in shlex.split(line, comments=True) if not re.fullmatch(r"\[.*\]|.*\.\.\.", w)]
    name, *arguments = [word.split("|")[0] for word in words]  # bash|zsh|fish: one of them
    arguments = arguments if name == "quasar" else ["infer", *arguments]
    command: click.Command = quasar
    while isinstance(command, click.Group) and arguments:
        first = arguments.pop(0)
        if first == "VERB":
            return  # stands for any
        found = command.get_command(click.Context(command), first)
        assert found, f"{page}: no verb '{first}'"
        command = found
    if arguments and not isinstance(command, click.Group):
        with suppress(click.MissingParameter):  # sentences leave out what is not their subject
            command.make_context(name, arguments)  # UsageError when an option or value is wrong
