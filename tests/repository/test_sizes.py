"""Files of at most 500 lines, functions that fit a screen.

Generated files are left out. `LARGE` names the exceptions, each with its reason.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("quasar_runtime", "train", "hw_src")
SUFFIXES = {".py", ".c", ".h", ".sv", ".tcl"}
GENERATED = {
    "quasar_runtime/devices/native/engine/quasar_interface.h",
    "hw_src/rtl/generated/quasar_pkg.sv",
}
LINES, SCREEN = 500, 60
LARGE = {"hw_src/rtl/datapath/datapath.sv": "connects every unit; to be split with packed structs"}


def sources(folder: str) -> list[Path]:
    return sorted(p for p in (ROOT / folder).rglob("*") if p.suffix in SUFFIXES and p.is_file())


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def long_functions(text: str) -> Iterator[tuple[str, int]]:
    """Each function of more lines than a screen has, with its length."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > SCREEN:
                yield node.name, lines


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_is_long_but_the_listed(folder):
    lines = {name(p): len(p.read_text().splitlines()) for p in sources(folder)}
    long = {n for n, count in lines.items() if count > LINES and n not in GENERATED}
    assert long == {n for n in LARGE if n.startswith(f"{folder}/")}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_function_is_longer_than_a_screen(folder):
    pages = [p for p in sources(folder) if p.suffix == ".py"]
    assert not [(name(p), *found) for p in pages for found in long_functions(p.read_text())]


def test_a_long_function_is_found():
    def body(lines):
        return "class C:\n    def f(self):\n" + "        pass\n" * (lines - 1)

    assert list(long_functions(body(SCREEN))) == []
    assert list(long_functions(body(SCREEN + 1))) == [("f", SCREEN + 1)]
