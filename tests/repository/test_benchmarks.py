<<<<<<< HEAD
"""What a user gets wrong in a script of benchmarks/ is one line, as everywhere."""

from __future__ import annotations

import os
=======
"""Every benchmark's --help says what it measures, and describes each option."""

import importlib.util
import re
>>>>>>> main
import subprocess
import sys
from pathlib import Path

import pytest

<<<<<<< HEAD
ROOT = Path(__file__).resolve().parents[2]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("native_speed", ["--model", "tiny-w9"], "tiny-w9"),
        ("native_speed", ["--overlay", "b1023"], "b1023"),
        ("native_speed", ["--kernels", "sse9"], "sse9"),
        ("rtl_cycles", ["deit-tiny:4", "--timeline", "nowhere/x.svg"], "nowhere/x.svg: cannot be"),
        ("rtl_cycles", ["--overlay", "b1023"], "b1023"),
        ("native_builds", ["docs"], "docs: no measurement"),
    ],
)
def test_an_error_of_the_user_is_one_line(script, arguments, message):
    process = run(script, *arguments)
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("cycle_model", ["--overlay", "b1023"], "b1023"),
        ("cycle_model", ["--plot", "nowhere/x.svg"], "nowhere/x.svg: cannot be"),
    ],
)
def test_an_error_of_the_user_is_one_line_where_pytorch_is(script, arguments, message):
    pytest.importorskip("torch")
    test_an_error_of_the_user_is_one_line(script, arguments, message)


@pytest.mark.parametrize(
    ("script", "option"),
    [("native_speed", "--rounds"), ("decoding", "--pictures"), ("native_speed", "--threads")],
)
def test_a_count_is_at_least_one(script, option):
    process = run(script, option, "0")
    assert process.returncode == 2
    assert "0 is not in the range x>=1" in process.stderr
=======
FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
COMMANDS = sorted(p.stem for p in FOLDER.glob("*.py") if "__main__" in p.read_text())


def help_of(name: str) -> str:
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", "--help"],
        env={"PYTHONPATH": str(FOLDER.parent), "COLUMNS": "100", "LC_ALL": "C.UTF-8"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_is_measured_and_how_to_call_it(name: str):
    first = (FOLDER / f"{name}.py").read_text().split('"""')[1].splitlines()[0]
    shown = help_of(name)
    assert first in shown
    assert f"python benchmarks/{name}.py" in shown
    options = re.split(r"\n +(?=-)", shown[shown.lower().index("options:") :])[1:]
    described = [re.split(r"\s{2,}", option.strip(), maxsplit=1)[1:] for option in options]
    assert options
    assert all(words and not words[0].startswith("[default") for words in described), options


def test_a_docstrings_lines_stay_as_they_are_in_help():
    spec = importlib.util.spec_from_file_location("helptext", FOLDER / "helptext.py")
    assert spec
    assert spec.loader
    helptext = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(helptext)
    assert helptext.kept("a\nb\n\n    c") == "\b\na\nb\n\n\b\n    c"
    assert helptext.kept(None) == "\b\n"
>>>>>>> main
