"""Imports run downwards: a module imports only its own folder and the folders below.

`ORDER` lists the folders of a package from the bottom up. "" stands for the modules beside the
folders, which every folder may import and which import no folder. Every import counts: lazy ones,
those of TYPE_CHECKING, relative ones, and import_module("..."). No two modules may import each
other, not even by way of others.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDER = {
    "quasar_runtime": (
        "",
        "isa",
        "images",
        "cycles",
        "bitstream",
        "model",
        "compiler",
        "devices",
        "session",
        "measure",
        "doctor",
        "cli",
    ),
    "train": (
        "",
        "data",
        "spaces",
        "networks",
        "cost",
        "search",
        "quantise",
        "training",
        "report",
        "pipelines",
        "commands",
    ),
}
FOREIGN = ("train", "quasar_train", "tests", "hw_src", "tools", "benchmarks")
"""What the runtime must not import: it is installed without these."""
PUBLIC = {"__version__"}
"""What a module may take from its package's __init__, which imports from every folder."""


@dataclass(frozen=True)
class Import:
    """`module` imports `target`, at `place` (file:line). `name` is what it takes, or ''."""

    module: str
    target: str
    name: str
    place: str


class Package:
    """The modules of a package and what they import of each other."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root, name
        self.modules = {dotted(path.relative_to(root)): path for path in files(root / name)}
        self.imports = [i for m in self.modules for i in self._imports(m)]
        self.inner = [i for i in self.imports if i.target in self.modules and i.target != i.module]

    def folder(self, module: str) -> str | None:
        """The folder of a module, '' beside the folders, None of what stands above them all."""
        parts = module.split(".")
        if len(parts) == 1 or parts[1] == "__main__":
            return None
        return parts[1] if (self.root / self.name / parts[1]).is_dir() else ""

    def _imports(self, module: str) -> Iterator[Import]:
        path = self.modules[module]
        here = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text())):
            place = f"{path.relative_to(self.root)}:{getattr(node, 'lineno', 0)}"
            for target, name in targets(node, here):
                # What is imported from a folder may be a module of it.
                inner = f"{target}.{name}"
                yield Import(module, inner if inner in self.modules else target, name, place)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def targets(node: ast.AST, here: str) -> Iterator[tuple[str, str]]:
    """The modules that a node imports, each with the name that it takes of it ('' for all)."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, "") for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        up = here.split(".")[: len(here.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*up, *([node.module] if node.module else [])])
        yield from ((base, alias.name) for alias in node.names)
    elif isinstance(node, ast.Call) and "import_module" in ast.dump(node.func):
        yield from ((str(a.value), "") for a in node.args[:1] if isinstance(a, ast.Constant))


def upward(package: Package, order: tuple[str, ...]) -> list[str]:
    """The imports of a folder above, and those of the package itself but for PUBLIC."""
    found = []
    for i in package.inner:
        folder, target = package.folder(i.module), package.folder(i.target)
        if folder is None:
            continue
        if target is None:
            if i.name not in PUBLIC:
                found.append(
                    f"{i.place}: {i.module} imports {i.target}, which imports every folder"
                )
        elif order.index(target) > order.index(folder):
            found.append(f"{i.place}: {i.module} imports {i.target}, which is above it")
    return found


def circles(package: Package) -> list[str]:
    """Every import that is part of a circle. The package's __init__ and __main__ are above all."""
    edges: dict[str, set[str]] = {m: set() for m in package.modules}
    imports = [i for i in package.inner if None not in map(package.folder, (i.module, i.target))]
    for i in imports:
        edges[i.module].add(i.target)
    reached = {m: reach(edges, m) for m in edges}
    return [
        f"{i.place}: {i.module} imports {i.target}, which imports it again"
        for i in imports
        if i.module in reached[i.target]
    ]


def reach(edges: dict[str, set[str]], start: str) -> set[str]:
    """All modules that `start` imports, directly or not."""
    seen: set[str] = set()
    new = [start]
    while new:
        more = edges[new.pop()] - seen
        seen |= more
        new += more
    return seen


@pytest.fixture(scope="module")
def package():
    return cache(lambda name: Package(ROOT, name))


@pytest.mark.parametrize("name", ORDER)
def test_every_folder_has_its_place(name, package):
    folders = {package(name).folder(module) for module in package(name).modules}
    assert folders - {None} <= set(ORDER[name])


@pytest.mark.parametrize("name", ORDER)
def test_no_module_imports_upwards(name, package):
    assert not (found := upward(package(name), ORDER[name])), "\n".join(found)


@pytest.mark.parametrize("name", ORDER)
def test_no_circle(name, package):
    assert not (found := circles(package(name))), "\n".join(found)


def test_the_runtime_imports_only_itself(package):
    found = [i for i in package("quasar_runtime").imports if i.target.split(".")[0] in FOREIGN]
    assert not found, "\n".join(f"{i.place}: {i.target}" for i in found)


def test_mypy_sees_every_folder_of_its_packages():
    """`mypy -p` passes silently over a folder without `__init__.py`."""
    line = re.search(r"^packages = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.M)
    assert line
    names = re.findall(r'"(\w+)"', line[1])
    assert {"quasar_runtime", "train", "hw_src"} <= set(names)
    folders = {path.parent for name in names for path in (ROOT / name).rglob("*.py")}
    assert not [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").is_file()]


MADE_UP = {
    "p/__init__.py": "from p.high.door import open\n__version__ = '1'\n",
    "p/root.py": "",
    "p/low/__init__.py": "",
    "p/low/a.py": "import p.root\nfrom p.low import b\n",
    "p/low/b.py": "",
    "p/high/__init__.py": "",
    "p/high/door.py": "from p import __version__\nfrom ..low.a import x\n",
}


@pytest.mark.parametrize(
    ("path", "source", "message"),
    [
        ("p/low/b.py", "import p.high.door\n", "p/low/b.py:1: p.low.b imports p.high.door"),
        ("p/low/b.py", "\nfrom ..high import door\n", "p/low/b.py:2: p.low.b imports p.high.door"),
        ("p/low/b.py", "def f():\n    from p.high.door import x\n", "p/low/b.py:2: "),
        ("p/low/b.py", "if TYPE_CHECKING:\n    from p.high.door import x\n", "p/low/b.py:2: "),
        ("p/low/b.py", "importlib.import_module('p.high.door')\n", "p/low/b.py:1: "),
        ("p/low/b.py", "from p import open\n", "p/low/b.py:1: p.low.b imports p, which imports"),
        ("p/root.py", "from .low.b import x\n", "p/root.py:1: p.root imports p.low.b"),
    ],
    ids=["plain", "relative", "lazy", "typing", "by name", "package", "beside the folders"],
)
def test_an_upward_import_is_found(path, source, message, tmp_path):
    assert not upward(made_up(tmp_path / "good"), ("", "low", "high"))
    found = upward(made_up(tmp_path / "bad", {path: source}), ("", "low", "high"))
    assert [line.startswith(message) for line in found] == [True], found


def test_a_circle_in_a_folder_is_found(tmp_path):
    assert not circles(made_up(tmp_path / "good"))
    bad = {"p/low/b.py": "from .c import x\n", "p/low/c.py": "def f():\n    import p.low.a\n"}
    places = [line.split(": ")[0] for line in circles(made_up(tmp_path / "bad", bad))]
    assert places == ["p/low/a.py:2", "p/low/b.py:1", "p/low/c.py:2"]


def made_up(root: Path, changed: dict[str, str] | None = None) -> Package:
    for path, text in {**MADE_UP, **(changed or {})}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return Package(root, "p")
