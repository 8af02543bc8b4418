"""Every file, folder and module of the repository that a text names exists."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP = (
    "quasar_runtime|train|hw_src|tests|docs|tools|benchmarks|overlays|model_zoo|notebooks|examples"
)
PATH = re.compile(rf"(?<![\w./$}}<-])(?:{TOP})/[\w.-]+(?:/[\w.-]+)*")
MODULE = re.compile(r"(?<![\w./-])(?:quasar_runtime|quasar_train)(?:\.[A-Za-z_]\w*)+")
NAME = re.compile(r"`([\w-]+\.(?:py|sv|v|c|h|cpp|tcl|sh|xdc|md|yaml|json|svg|css|ipynb))`")
TEXT = {".py", ".sv", ".v", ".c", ".h", ".cpp", ".tcl", ".sh", ".md", ".toml", ".yml", ".yaml", ""}
HISTORY = {"CHANGELOG.md", "docs/results.md", "tests/repository/test_paths.py"}
"""Texts about what was, and this one."""
MADE = {
    "overlay.json", "vivado.tcl", "trace.json", "labels.json", "config.json", "checkpoint.json",
    "settings.tcl", "preprocessor_config.json", "subnet.json", "report.json", "result.json",
    "state.json", "recipe.json", "answers.json", "front.json", "subnet-160fps.json",
}  # fmt: skip
"""Names of files that are made, or that users have."""


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git checkout")
    return listed.stdout.splitlines()


@pytest.fixture(scope="module")
def files():
    return [f for f in tracked() if (ROOT / f).is_file()]


@pytest.fixture(scope="module")
def texts(files):
    """(file, line number, line) of every line that may name something."""
    return [
        (f, number, line)
        for f in files
        if Path(f).suffix in TEXT and f not in HISTORY and not f.startswith(".github")
        for number, line in enumerate((ROOT / f).read_text(errors="replace").splitlines(), 1)
    ]


def known(files: list[str]) -> set[str]:
    return {*files, *(str(p) for f in files for p in Path(f).parents)}


def is_made(path: str) -> bool:
    """Whether a path is made by a build, or stands for any of a kind."""
    last = path.rsplit("/", 1)[-1]
    return bool(
        re.search(r"\bNAME\b|[A-Z]{3,}$|_engine|\.so$|/build/|_data|\.bit|\.hwh|SHA256", path)
        or last in MADE
        or re.search(r"\.(jsonl|pt|db|safetensors|npy|rpt)$", path)
    )


def test_every_path_exists(files, texts):
    exists = known(files)
    wrong = []
    for file, number, line in texts:
        for match in PATH.finditer(line):
            path, after = match[0].rstrip("./"), line[match.end() : match.end() + 1]
            # A pattern, a part of a longer name, or what a test makes for itself.
            if after in ("*", "{", "<", "$") or is_made(path) or file.startswith("tests/"):
                continue
            if path not in exists:
                wrong.append(f"{file}:{number}: {path}")
    assert not wrong, "\n".join(wrong)


def defined(path: Path) -> set[str]:
    """The names that a module defines or imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(a.asname or a.name).split(".")[0] for a in node.names}
    return names


def test_every_module_exists(files, texts):
    exists = known(files)
    wrong = []
    for file, number, line in texts:
        for match in () if file.startswith(("tests/", "train/")) else MODULE.finditer(line):
            parts = match[0].replace("quasar_train", "train").split(".")
            depth = len(parts)
            while "/".join(parts[:depth]) not in exists:
                if "/".join(parts[:depth]) + ".py" in exists:
                    break
                depth -= 1
            module = "/".join(parts[:depth])
            home = ROOT / (f"{module}.py" if f"{module}.py" in exists else f"{module}/__init__.py")
            rest = parts[depth:]
            if rest and rest[0] not in {*defined(home), "_engine", "egg", "__all__", "py"}:
                wrong.append(f"{file}:{number}: {match[0]}")
    assert not wrong, "\n".join(wrong)


def test_every_file_named_in_the_pages_exists(files, texts):
    names = {Path(f).name for f in files}
    wrong = [
        f"{file}:{number}: {name}"
        for file, number, line in texts
        if file.endswith(".md")
        for name in NAME.findall(line)
        if name not in names | MADE
    ]
    assert not wrong, "\n".join(wrong)
