"""Links inside the Markdown files lead to files and headings that exist."""

from pathlib import Path

import pytest

from tools import links


def test_every_link_leads_somewhere():
    found = [
        f"{p.relative_to(links.ROOT)}: {what}" for p in links.pages() for what in links.broken(p)
    ]
    assert not found, "\n".join(found)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "other.md").write_text("# One `two`, three!\n\n## Again\n\n## Again\n")
    return tmp_path / "page.md"


@pytest.mark.parametrize(
    "link",
    ["other.md", "other.md#one-two-three", "other.md#again-1", "#here", "https://a.example/b"],
)
def test_a_good_link_is_taken(page: Path, link: str):
    page.write_text(f"# Here\n\n[words]({link})\n")
    assert links.broken(page, page.parent) == []


@pytest.mark.parametrize("link", ["none.md", "other.md#again-2", "#there", "../outside.md"])
def test_a_broken_link_is_named(page: Path, link: str):
    page.write_text(f"# Here\n\n![words]({link})\n")
    assert [found.partition(": ")[0] for found in links.broken(page, page.parent)] == [link]


def test_what_code_shows_is_no_link(page: Path):
    page.write_text("`[words](none.md)`\n\n```\n[words](none.md)\n```\n")
    assert links.broken(page, page.parent) == []
