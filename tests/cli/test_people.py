"""What verbs print for people: it fits the terminal, and holds no notation of Python's."""

import fcntl
import os
import pty
import re
import struct
import termios
from contextlib import suppress
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from quasar_runtime.cli import terminal
from quasar_runtime.cli.app import quasar
from quasar_runtime.cli.facts import lines as fact_lines
from quasar_runtime.cli.tables import table
from quasar_runtime.cli.terminal import pad, width, wrap
from quasar_runtime.model.file import write_model
from quasar_runtime.model.synthetic import random_model
from tests.cli.conftest import ROOT

REFERENCE = ["--device", "reference", "--overlay", "b64"]
ZOO = ROOT / "model_zoo"
MODELS = sorted(path.stem for path in ZOO.glob("*.safetensors"))
WIDTHS = (50, 80, 120)
PYTHON = re.compile(r"[\[\]{}]|\b(None|True|False|nan|inf)\b|\w+\(\w+=|<[\w.]+ object|'\w+':")
"""Lists, dictionaries, constants, and the repr of objects."""


@pytest.fixture
def printed(call, monkeypatch):
    """The lines that a verb prints on a terminal of some width."""

    def run(columns, *arguments, zoo=None):
        monkeypatch.setattr(terminal, "columns", lambda: columns)
        if zoo:
            monkeypatch.setenv("QUASAR_MODEL_ZOO", str(zoo))
        return call(*arguments).stdout.splitlines()

    return run


def check(lines, columns):
    """Lines fit, but for a word, such as a path, that has no room; none is Python's."""
    assert lines
    for line in lines:
        last = line.split(" ")[-1]
        assert width(line) <= columns or len(last) > columns // 2, line
        assert not PYTHON.search(line), line


# --- every verb


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("options", [["show"], ["show", "--all"]], ids=" ".join)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_of_the_zoo_is_shown_within_the_terminal(printed, model, options, columns):
    check(printed(columns, "models", options[0], model, *options[1:], zoo=ZOO), columns)


@pytest.mark.parametrize("columns", WIDTHS)
def test_the_zoo_is_listed_within_the_terminal(printed, columns):
    lines = printed(columns, "models", "list", zoo=ZOO)
    check(lines, columns)
    assert all(any(line.startswith(model) for line in lines) for model in MODELS)


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize(
    "verb",
    [
        ["inspect", "tiny-w8", "--overlay", "b64"],
        ["inspect", "tiny-w8", "--overlay", "b64", "--each", "--memory", "--descriptors"],
        ["models", "verify"],
        ["overlays", "list"],
        ["overlays", "show", "b1024"],
        ["overlays", "verify"],
        ["devices", "--no-build"],
        ["bench", "-n", "1", "--warmup", "0", *REFERENCE],
        ["bench", "-n", "1", "--warmup", "0", "--each", *REFERENCE],
        ["doctor", "-m", "tiny-w8", "-d", "native", "--overlay", "b64"],
        ["doctor", "-m", "tiny-w8", "-d", "native", "--overlay", "b64", "--all"],
    ],
    ids=lambda verb: " ".join(word for word in verb if word not in REFERENCE[1::2]),
)
def test_every_verb_prints_within_the_terminal(printed, verb, columns):
    check(printed(columns, *verb), columns)


@pytest.mark.parametrize("columns", WIDTHS)
def test_answers_are_printed_within_the_terminal(printed, pictures, columns):
    check(printed(columns, "infer", pictures, "--profile", *REFERENCE), columns)


def test_a_path_too_long_for_the_line_stays_whole(printed, tmp_path):
    path = tmp_path / ("long " * 30 + "猫.png")
    Image.new("RGB", (40, 40)).save(path)
    first, second, *_ = printed(50, "infer", path, *REFERENCE)
    assert first == str(path)
    assert re.fullmatch(r"  \(\d+\.\d ms\)", second)


def test_accuracy_is_measured_within_the_terminal(printed, pictures):
    for wnid, name in (("n00000001", "a.png"), ("n00000002", "b.jpg")):
        (pictures / wnid).mkdir()
        (pictures / name).rename(pictures / wnid / name)
    check(printed(50, "eval", pictures, "--per-class", *REFERENCE), 50)


# --- models show and list


@pytest.mark.parametrize("model", MODELS)
def test_a_model_is_told_in_ten_lines(printed, model):
    lines = printed(None, "models", "show", model, zoo=ZOO)
    assert len(lines) <= 10
    names = [line.split("  ")[0] for line in lines[1:]]
    assert names == [
        *("accuracy", "data", "speed", "FPS from", "size", "input", "precision", "origin"),
        "licence",
    ]
    text = "\n".join(lines)
    for part in ("% top-1 (float network", "FPS on b1024", "FPS on b8192", "too large for b64"):
        assert part in text


def test_a_frame_rate_that_the_file_does_not_state_is_computed(printed):
    text = "\n".join(printed(None, "models", "show", "tiny-w8"))
    assert re.search(r"FPS on b64, [\d,]+ FPS on b1024, [\d,]+ FPS on b8192", text)
    assert "FPS from   the cycle model, computed now" in text


def test_a_model_that_states_odd_facts_is_told_too(printed, tmp_path, monkeypatch):
    """What a file says of its origin is free: other types, other overlays."""
    model = random_model(0, name="odd")
    model.provenance = {
        "weights": {"from": 5, "licence": ["x"]},
        "accuracy": "good",
        "frame_rates": {"b4096": 7, "clock_mhz": 300},
        "teacher": "somebody",
        "macs8": "all",
        "subnet": [None, {"a": [True]}, []],
    }
    model.target = {"fps": None}
    write_model(model, tmp_path / "odd.safetensors")
    path = tmp_path / "odd.safetensors"
    for options in ([], ["--all"]):
        lines = printed(60, "models", "show", path, *options)
        check(lines, 60)
        assert "somebody" in "\n".join(lines)
    assert "7 FPS on b4096" in "\n".join(printed(None, "models", "show", path))
    monkeypatch.setenv("QUASAR_OVERLAYS", str(tmp_path / "none"))
    assert "7 FPS on b4096" in "\n".join(printed(None, "models", "show", path))


def test_the_list_has_accuracy_loss_frame_rates_size_and_licence(printed):
    heading, first, *_ = printed(80, "models", "list", zoo=ZOO)
    names = ["model", "top-1", "lost", "FPS b1024", "FPS b8192", "8-bit", "params", "MB", "licence"]
    assert re.split(r"\s\s+", heading) == names
    assert len(re.split(r"\s\s+", first)) == len(names)


# --- help


def groups(command=quasar, path=("quasar",)):
    if isinstance(command, click.Group):
        yield " ".join(path), command
        for name in command.list_commands(click.Context(command)):
            yield from groups(command.get_command(click.Context(command), name), (*path, name))


@pytest.mark.parametrize("name", dict(groups()))
def test_every_summary_fits_its_line(name):
    command = dict(groups())[name]
    context = click.Context(command, info_name=name, terminal_width=80)
    _, _, verbs = command.get_help(context).partition("Verbs:\n")
    assert len(verbs.splitlines()) == len(command.list_commands(context))
    assert "..." not in verbs


def leaves():
    for name, group in groups():
        for word in group.list_commands(click.Context(group)):
            command = group.get_command(click.Context(group), word)
            if not isinstance(command, click.Group):
                yield f"{name} {word}", command


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", dict(leaves()))
def test_help_fits_the_terminal(name, columns):
    context = click.Context(dict(leaves())[name], info_name=name, terminal_width=columns)
    text = context.command.get_help(context)
    assert [line for line in text.splitlines() if len(line) > columns] == []
    assert "<=" not in text  # ranges are words


# --- the terminal


def on_a_terminal(shell, columns, *arguments, **environment):
    """What a verb writes on a terminal of some columns."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    options = {"stdout": side, "stderr": side, "stdin": side}
    env = {"TERM": "xterm", "NO_COLOR": "", "COLUMNS": "", **environment}
    process = shell(*arguments, env=env, **options)
    os.close(side)
    found = b""
    with suppress(OSError):  # the end of a terminal is an error on Linux
        while data := os.read(main, 65536):
            found += data
    os.close(main)
    assert process.wait(60) == 0
    return found.decode().splitlines()


BOLD = "\x1b[1m"


def test_a_terminal_s_own_width_and_colours_are_used(shell):
    lines = on_a_terminal(shell, 40, "models", "list", QUASAR_MODEL_ZOO=str(ZOO))
    assert 30 < max(map(width, lines)) <= 40
    assert lines[0].startswith(BOLD)


def test_columns_and_no_color_are_respected(shell):
    chosen = {"QUASAR_MODEL_ZOO": str(ZOO), "COLUMNS": "60", "NO_COLOR": "1"}
    lines = on_a_terminal(shell, 200, "models", "list", **chosen)
    assert 50 < max(map(width, lines)) <= 60
    assert "\x1b" not in "".join(lines)
    assert "\x1b" not in "".join(on_a_terminal(shell, 80, "models", "list", TERM="dumb"))


def test_a_pipe_gets_whole_lines_without_colour(shell):
    options = {"env": {"QUASAR_MODEL_ZOO": str(ZOO), "COLUMNS": "40"}}
    text, _ = shell("models", "show", MODELS[0], **options).communicate(timeout=60)
    assert max(map(len, text.splitlines())) > 80
    assert "\x1b" not in text


# --- tables and words


def test_letters_that_are_two_columns_wide_keep_columns_in_line():
    lines = list(table(["label", "number"], [["猫", "1"], ["cat", "12"]], 80))
    assert [line.encode() for line in lines] == [
        b"label  number",
        "猫          1".encode(),
        b"cat        12",
    ]
    assert width("e\u0301") == 1
    assert pad("猫", 4, right=True) == "  猫"


def test_a_table_that_is_too_wide_goes_on_below():
    lines = list(table(["model", "rows", "weights"], [["a", "1", "22,222,222"]], 14))
    assert lines == ["model  rows", "a         1", "", "model     weights", "a      22,222,222"]


def test_nested_facts_are_lines_and_tables():
    facts = {
        "name": None,
        "heads": [3, 3, 3],
        "steps": [0, 1000],
        "share": 0.0016504147788509727,
        "weights": 5647872,
        "fine": True,
        "blocks": [{"mlp": 768, "qkv8": 0.5}, {"mlp": 96, "qkv8": 1.0}],
        "by": {"method_used": "training", "of": []},
    }
    assert list(fact_lines(facts, None)) == [
        "name: -",
        "heads: 3 (3 times)",
        "steps: 0, 1000",
        "share: 0.00165",
        "weights: 5,647,872",
        "fine: yes",
        "blocks",
        "     mlp  qkv8",
        "  0  768   0.5",
        "  1   96     1",
        "by",
        "  method used: training",
        "  of: -",
    ]


WORDS = st.text(st.sampled_from("ab猫\u0301 -"), max_size=60)


@given(WORDS, st.integers(4, 30), st.booleans())
def test_wrapping_loses_nothing_and_fits(text, columns, split):
    lines = wrap(text, columns, split)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    for line in lines:
        assert width(line) <= columns or (not split and " " not in line)


@given(st.lists(st.tuples(WORDS, st.integers(0, 10**9), WORDS), min_size=1), st.integers(40, 90))
def test_tables_lose_nothing_and_fit(rows, columns):
    body = [[a, f"{n:,}", b] for a, n, b in rows]
    lines = list(table(["first", "number", "last"], body, columns))
    assert max(map(width, lines)) <= columns
    letters = sum(len(re.sub(r"\s", "", cell)) for row in body for cell in (row[1], row[2]))
    assert sum(len(re.sub(r"\s", "", line)) for line in lines) >= letters


def test_the_fixture_s_zoo_is_there():
    assert len(MODELS) >= 5
    assert all(Path(ZOO / f"{model}.safetensors").is_file() for model in MODELS)
