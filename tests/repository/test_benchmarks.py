"""Every benchmark's --help says what it measures, and describes each option."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
