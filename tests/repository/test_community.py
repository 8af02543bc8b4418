"""The files that hosting sites and tools read: citation, continuous integration, pre-commit."""

import re
from pathlib import Path

import pytest

import quasar_runtime

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"


def test_the_citation_has_the_packages_version():
    text = (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^version: {re.escape(quasar_runtime.__version__)}$", text, re.M)


def test_continuous_integration_calls_targets_of_the_makefile():
    targets = set(re.findall(r"^([\w-]+(?: [\w-]+)*):", (ROOT / "Makefile").read_text(), re.M))
    known = {word for line in targets for word in line.split()}
    called = re.findall(r"run: make ([\w-]+)", "".join(p.read_text() for p in WORKFLOWS.iterdir()))
    assert called
    assert set(called) <= known


def test_actions_are_named_by_their_major_version():
    used = re.findall(r"uses: (\S+)", "".join(p.read_text() for p in WORKFLOWS.iterdir()))
    assert used
    assert [use for use in used if not re.fullmatch(r"actions/[\w-]+@v\d+", use)] == []


def test_pre_commit_calls_the_tools_of_the_test_environment():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    tools = re.findall(r"entry: \.venv/bin/(\S+)", hooks)
    assert set(tools) == {"ruff", "mypy", "clang-format"}
    assert "repo: local" in hooks
    assert "rev:" not in hooks, "versions are stated in pyproject.toml"


def test_yaml_is_well_formed():
    yaml = pytest.importorskip("yaml", reason="not installed: pip install pyyaml")
    for path in [*ROOT.glob(".github/**/*.yml"), *ROOT.glob("*.yml"), ROOT / "CITATION.cff"]:
        assert yaml.safe_load(path.read_text()), path.name
    assert yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]


def test_issue_templates_have_a_name_and_say_what_they_are_for():
    templates = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md"))
    assert {path.stem for path in templates} == {"bug", "board", "model"}
    for path in templates:
        assert re.match(r"---\nname: .+\nabout: .+\nlabels: .+\n---\n", path.read_text())
