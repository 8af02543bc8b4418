"""Lists as GitHub reads them, written as Python-Markdown reads them.

GitHub takes what is indented as far as an item's text for a part of the item, and lets a list
follow a paragraph at once. Python-Markdown wants four spaces per level and a blank line before.
"""

from __future__ import annotations

import re

MARKER = re.compile(r"(?:[-*+]|\d{1,3}[.)]) +(?=\S)")
LEVEL = 4


def reindented(markdown: str) -> str:
    """The same text with the items' parts indented by LEVEL spaces for each list they are in."""
    lines: list[str] = []
    offsets: list[int] = []  # where the text of the open items begins, outermost first
    fence = False
    for line in markdown.split("\n"):
        words = line.lstrip(" ")
        if not words:
            lines.append("")
            continue
        indent = len(line) - len(words)
        lazy = not fence and lines and lines[-1] and not MARKER.match(words)
        while offsets and indent < offsets[-1] and not (lazy and offsets):
            offsets.pop()
        base = offsets[-1] if offsets else 0
        extra = max(indent - base, 0)
        marker = None if fence or extra >= LEVEL else MARKER.match(words)
        if marker and not offsets and lines and lines[-1] and not _in_list(lines):
            lines.append("")
        lines.append(" " * (LEVEL * len(offsets) + extra) + words)
        if marker:
            offsets.append(indent + marker.end())
        fence ^= words.startswith("```")
    return "\n".join(lines)


def _in_list(lines: list[str]) -> bool:
    """Whether the last line belongs to an item: the list goes on with its next one."""
    for line in reversed(lines):
        if not line:
            return False
        if MARKER.match(line.lstrip(" ")):
            return True
        if not line.startswith(" "):
            return False
    return False
