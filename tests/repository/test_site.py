"""The documentation's site: what `make docs` makes of docs/*.md and of the code."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from quasar_runtime.cli.app import quasar
from tools.site import reference
from tools.site.lists import reindented
from train.commands.app import quasar_train

ROOT = Path(__file__).resolve().parents[2]
INSTALLED = all(importlib.util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings"))
without_mkdocs = pytest.mark.skipif(not INSTALLED, reason="not installed: pip install -e '.[docs]'")


@pytest.mark.parametrize(
    ("github", "python_markdown"),
    [
        ("- a\n  b", "- a\n    b"),
        ("1. a\n   - b\n     c", "1. a\n    - b\n        c"),
        ("1. a\n\n       code", "1. a\n\n        code"),
        ("words\n- a", "words\n\n- a"),
        ("- a\n- b\n\nwords", "- a\n- b\n\nwords"),
        ("    code\n\n- a", "    code\n\n- a"),
        ("```\n  - a\n```", "```\n  - a\n```"),
    ],
)
def test_lists_are_written_as_python_markdown_reads_them(github: str, python_markdown: str):
    assert reindented(github) == python_markdown


def test_every_page_is_in_the_sites_navigation():
    named = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    docs = ROOT / "docs"
    assert {p.relative_to(docs).as_posix() for p in docs.rglob("*.md")} == {
        name for name in named if not name.startswith(("repository/", "reference/"))
    }


def test_the_reference_has_every_verb_and_every_public_name():
    import quasar_runtime

    verbs = [
        words
        for name, group in (("quasar", quasar), ("quasar-train", quasar_train))
        for words, _ in reference.verbs(name, group)
    ]
    page = reference.cli_page()
    assert {"quasar models list", "quasar-train search"} <= set(verbs)
    assert [name for name in verbs if f"## `{name}`\n" not in page] == []
    runtime, _, _ = page.partition("## `quasar-train`")  # its lists of choices are wider
    assert max(map(len, runtime.splitlines())) <= reference.WIDTH
    homes = re.findall(r"^::: (\S+)$", reference.api_page(), re.M)
    names = {name for name in quasar_runtime.__all__ if name != "__version__"}
    assert {home.rsplit(".", 1)[1] for home in homes} == names


@without_mkdocs
def test_columns_of_names_become_a_list():
    from tools.site.columns import listed

    text = "What it is.\n\nname  of the model\nsize  its bytes,\n      all of them\n\nMore."
    assert (
        listed(text)
        == "What it is.\n\n- `name`: of the model\n- `size`: its bytes, all of them\n\nMore."
    )
    assert listed("Two sentences.  No columns.") == "Two sentences.  No columns."


@without_mkdocs
def test_the_site_is_built_without_a_warning_and_fetches_nothing(tmp_path: Path):
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        resources = re.findall(
            r"<(?:script|img|iframe)[^>]* src=\"?([^\" >]+)|<link[^>]* href=\"?([^\" >]+)",
            page.read_text(),
        )
        for resource in filter(None, sum(resources, ())):
            assert not re.match(r"(?:https?:)?//", resource), f"{page.name} fetches {resource}"
