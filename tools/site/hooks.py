"""MkDocs hooks: generated reference pages, and pages outside docs/ that the documentation links.

docs/*.md link to files beside docs/ by relative paths, as GitHub shows them. On the site a linked
Markdown file becomes a page under repository/; a link to anything else becomes plain text.
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pymdownx.slugs import slugify

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # mkdocs loads hooks by path

from tools.site import reference  # noqa: E402
from tools.site.lists import reindented  # noqa: E402

OUTSIDE = ("train/README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "hw_src/README.md")
"""Pages beside docs/ that the site always has; others come when a page links to them."""
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
FENCE = re.compile(r"^(```.*?^```|(?: {4}[^\n]*\n)+)", re.M | re.S)
log = logging.getLogger("mkdocs.hooks.quasar")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make anchors of headings as GitHub makes them."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slugify(case="lower")
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference pages, and the linked Markdown files of the repository."""
    for path, text in reference.pages().items():
        files.append(File.generated(config, path, content=text))
    style = (Path(__file__).parent / "site.css").read_text()
    files.append(File.generated(config, "site.css", content=style))
    texts = {
        path: (ROOT / path).read_text(encoding="utf-8")
        for path in _linked(files)
        if path.endswith(".md")
    }
    for path, text in texts.items():
        files.append(File.generated(config, f"repository/{path}", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of docs/ to the pages that stand for them."""
    home = _home(page.file.src_uri)

    def lead(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        path, _, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return match[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(home), path))
        if not (ROOT / place).exists():
            return match[0]  # MkDocs reports it
        inside = place.removeprefix("docs/") if place.startswith("docs/") else f"repository/{place}"
        if picture and not files.get_file_from_path(inside):
            log.warning("%s: the site lacks the picture %s", home, place)
        if not files.get_file_from_path(inside):
            return words
        to = os.path.relpath(inside, posixpath.dirname(page.file.src_uri) or ".")
        return f"{picture}[{words}]({to}{'#' + anchor if anchor else ''})"

    parts = FENCE.split(markdown)
    linked = [part if number % 2 else LINK.sub(lead, part) for number, part in enumerate(parts)]
    return reindented("".join(linked))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Report what GitHub takes for a list or a table and Python-Markdown for a paragraph."""
    for paragraph in re.findall(r"<p>(.*?)</p>", html, re.S):
        if re.search(r"^(?:[-*] |\d+\. |\|.*\|$)", paragraph, re.M):
            log.warning(
                "%s: a blank line is missing before '%s'", page.file.src_uri, paragraph[:60]
            )
    return html


def _home(source: str) -> str:
    """A page's path in the repository."""
    return (
        source.removeprefix("repository/") if source.startswith("repository/") else f"docs/{source}"
    )


def _linked(files: Files) -> list[str]:
    """Paths of the Markdown files outside docs/ that pages link to, and of those these link to."""
    found: dict[str, None] = dict.fromkeys(path for path in OUTSIDE if (ROOT / path).exists())
    queue = [_home(file.src_uri) for file in files.documentation_pages()] + list(found)
    for home in queue:
        if not (ROOT / home).exists():  # generated
            continue
        for _, _, target in LINK.findall((ROOT / home).read_text(encoding="utf-8")):
            path = posixpath.normpath(
                posixpath.join(posixpath.dirname(home), target.partition("#")[0])
            )
            if (
                path.endswith(".md")
                and not path.startswith(("docs/", ".."))
                and path not in found
                and path != "README.md"
                and (ROOT / path).is_file()
            ):
                found[path] = None
                queue.append(path)
    return list(found)
