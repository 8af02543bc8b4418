"""Griffe extension: docstrings that list names in columns become Markdown lists.

latency    cycles to the first beat,
           of a read
"""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ROW = re.compile(r"^(?P<name>[\w*.,/`\[\]-]+(?: ?[,/] ?[\w*.`]+)*) {2,}(?P<what>\S.*)$")


class Columns(Extension):
    """Rewrites docstrings as they are collected."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = listed(obj.docstring.value)


def listed(text: str) -> str:
    """The text with rows `name  what` and their continuations as a list."""
    lines: list[str] = []
    within = False
    for line in text.splitlines():
        row = ROW.match(line)
        if row:
            if not within and lines and lines[-1]:
                lines.append("")
            lines.append(f"- `{row['name'].strip('`')}`: {row['what']}")
            within = True
        elif within and line.startswith("  "):
            lines[-1] += " " + line.strip()
        else:
            if within and line:
                lines.append("")
            within = False
            lines.append(line)
    return "\n".join(lines)
