"""Files and functions that a person can hold: none longer than a few screens, or than one."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ("quasar_runtime", "train", "hw_src")
SUFFIXES = (".py", ".c", ".h", ".sv", ".tcl", ".cpp")
MOST_LINES, SCREEN = 500, 65
EXCEPTIONS = {
    "hw_src/rtl/datapath/datapath.sv": "mostly the wiring of its parts; to be split into bundles",
}
TABLES = {
    "random_model": "one expression per part of a model",
}
"""Functions that list data."""


def sources():
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*")):
            built = "_engine" in path.name or "build" in path.relative_to(ROOT).parts[:-1]
            if path.suffix in SUFFIXES and not built:
                yield path


def test_no_file_is_longer_than_a_few_screens():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources()
        if (lines := len(path.read_text().splitlines())) > MOST_LINES
        and "enerated from" not in path.read_text()[:200]
    }
    assert long.keys() == EXCEPTIONS.keys(), long


@pytest.mark.parametrize("folder", CODE)
def test_no_function_is_longer_than_a_screen(folder):
    long = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > SCREEN and node.name not in TABLES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}, {lines}")
    assert not long, "\n".join(long)
