"""Check the links inside the Markdown files, without network: python tools/links.py

Every relative target must exist, and every `#anchor` must be a heading of the page that it names,
by the rules with which GitHub makes anchors.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = {".git", "build", "runs", "node_modules"}
FENCE = re.compile(r"^ *```.*?^ *```", re.M | re.S)
SPAN = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(\s*<?([^()\s<>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.M)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")


def pages(root: Path = ROOT) -> list[Path]:
    """All Markdown files but those of environments and builds."""
    return sorted(
        path
        for path in root.rglob("*.md")
        if not any(p in LEFT_OUT or p.startswith(".venv") for p in path.relative_to(root).parts)
    )


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings; a repeated one has -1, -2, ... behind it."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


def broken(page: Path, root: Path = ROOT) -> list[str]:
    """The page's links that lead nowhere, each with what it lacks."""
    text = SPAN.sub("", FENCE.sub("", page.read_text(encoding="utf-8")))
    found = []
    for target in LINK.findall(text):
        if SCHEME.match(target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.is_relative_to(root):
            found.append(f"{target}: outside the repository")
        elif not there.exists():
            found.append(f"{target}: no such file")
        elif anchor and (there.suffix != ".md" or anchor not in anchors(there)):
            found.append(f"{target}: no such heading")
    return found


def main() -> int:
    problems = [f"{page.relative_to(ROOT)}: {what}" for page in pages() for what in broken(page)]
    print("\n".join(problems) or f"{len(pages())} pages, every link leads somewhere")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
