"""Every path of the repository that a page, a comment, a docstring or a script names exists."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [
    "quasar_runtime",
    "train",
    "hw_src",
    "tests",
    "docs",
    "tools",
    "benchmarks",
    "examples",
    "notebooks",
]
SUFFIXES = (".py", ".md", ".c", ".h", ".sv", ".sh", ".tcl", ".toml", ".in", ".yml", ".ipynb")
PATH = re.compile(rf"(?<![\w./$}}<-])((?:{'|'.join(FOLDERS)})/[\w./*{{}},-]*[\w*}}/])")
DOTTED = re.compile(r"(?<![\w./])(quasar_runtime(?:\.[a-z_][a-z_0-9]*)+)")
BASENAME = re.compile(r"`(\w+\.(?:py|sv|c|h))`")
PLACEHOLDER = re.compile(r"NAME|\{\w+\}")
ELSEWHERE = {"quasar_runtime/_data", "train/n00000003/a.jpg"}
"""A folder of the wheel, and a folder that a test makes."""


def exists(path: str) -> bool:
    """Whether a path does, with every one of {a,b} and at least one file of a *."""
    if choice := re.search(r"\{([^}]*)\}", path):
        begin, end = path[: choice.start()], path[choice.end() :]
        return all(exists(begin + one + end) for one in choice[1].split(","))
    return any(ROOT.glob(path.rstrip("/"))) if "*" in path else (ROOT / path).exists()


def defined(name: str) -> bool:
    """Whether a dotted name is a module's, or one that the source of its module has."""
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        folder = ROOT.joinpath(*parts[:k])
        for file in (folder.with_suffix(".py"), folder / "__init__.py"):
            if file.is_file():
                return k == len(parts) or bool(re.search(rf"\b{parts[k]}\b", file.read_text()))
    return False


def missing(text: str, page: bool, names: set[str]) -> Iterator[tuple[int, str]]:
    """Line and name of all that does not exist; `names` are the basenames that a page may use."""
    for number, line in enumerate(text.splitlines(), 1):
        paths = (p for p in PATH.findall(line) if p not in ELSEWHERE and not PLACEHOLDER.search(p))
        yield from ((number, p) for p in paths if not exists(p))
        yield from ((number, d) for d in DOTTED.findall(line) if not defined(d))
        yield from ((number, b) for b in BASENAME.findall(line) if page and b not in names)


def pages() -> list[Path]:
    found = [p for p in ROOT.iterdir() if p.suffix in SUFFIXES or p.name == "Makefile"]
    for folder in FOLDERS:
        for place, folders, files in os.walk(ROOT / folder):
            folders[:] = [f for f in folders if f[0] != "." and f not in ("build", "__pycache__")]
            found += [Path(place, f) for f in files if f.endswith(SUFFIXES)]
    return sorted(p for p in found if p != Path(__file__).resolve())


def test_every_path_that_is_named_exists():
    all_pages = pages()
    names = {p.name for p in all_pages}
    found = [
        f"{page.relative_to(ROOT)}:{line}: {name}"
        for page in all_pages
        for line, name in missing(page.read_text(), page.suffix == ".md", names)
    ]
    assert not found, "\n".join(found)


def test_a_path_that_does_not_exist_is_found():
    text = "see docs/api.md, quasar_runtime.isa.program and `program.py`\n"
    assert not list(missing(text, True, {"program.py"}))
    bad = "docs/none.md\nquasar_runtime.device.base\n`none.py`\ntests/{rtl,none}/*.py\n"
    assert [n for n, _ in missing(bad, True, set())] == [1, 2, 3, 4]
