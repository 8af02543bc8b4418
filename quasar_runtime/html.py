"""Fragments of HTML for notebooks: boxes, tables, bars.

Without scripts or style sheets of their own, legible on light and dark backgrounds. What comes from
files (names, labels, paths) must pass through `escape` or `dim`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape as escape_html

from quasar_runtime.errors import printable

BLUE, ORANGE, GREEN, RED, GREY = "#4c78a8", "#f58518", "#54a24b", "#e45756", "#9a9a9a"

_STYLE = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.45"
_CELL = "padding:1px 10px 1px 0;border:none;text-align:{};background:transparent"


def escape(text: str) -> str:
    """Text for HTML; control characters and bytes that no encoding holds as Python escapes them."""
    return escape_html(printable(text))


def box(content: str) -> str:
    """A whole fragment in the notebook's own letters."""
    return f'<div style="{_STYLE}">{content}</div>'


def table(rows: Iterable[Sequence[str]], align: str) -> str:
    """Rows of HTML cells; align has 'l' or 'r' for each column."""
    sides = {"l": "left", "r": "right"}
    lines = "".join(
        '<tr style="background:transparent">'
        + "".join(
            f'<td style="{_CELL.format(sides[a])}">{cell}</td>'
            for a, cell in zip(align, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<table style="border:none;margin:4px 0;font-size:13px">{lines}</table>'


def bar(share: float, colour: str) -> str:
    """A bar of `share` (clipped to [0, 1]) of 160 pixels."""
    width = round(160 * min(max(share, 0.0), 1.0))
    return (
        f'<div style="width:160px"><div style="width:{width}px;height:11px;background:{colour}">'
        "</div></div>"
    )


def swatch(colour: str) -> str:
    """A square of a colour, for legends."""
    return (
        f'<span style="display:inline-block;width:11px;height:11px;background:{colour};'
        'margin-right:5px"></span>'
    )


def dim(text: str) -> str:
    """Escaped text in the background."""
    return f'<span style="opacity:0.65">{escape(text)}</span>'
