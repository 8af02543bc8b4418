"""A drawing as SVG: deterministic bytes, no dependency, legible on dark and on light pages."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

from quasar_runtime.files import replacing

SANS = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
INK, SOFT, RULE, PAPER = "#1f2630", "#59626e", "#d5dae1", "#ffffff"
"""Text, secondary text, grid lines, background."""
STROKE = "#38404a"
"""Of boxes and arrows."""
ARROWHEAD = (
    '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" '
    'markerHeight="8" orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" '
    f'fill="{STROKE}"/></marker></defs>'
)


class Drawing:
    """Shapes in pixels from the top left corner, on a background of its own.

    The background is part of the picture, so that it looks the same on a dark page.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.shapes: list[str] = []

    def add(self, tag: str, content: str = "", /, **attributes: object) -> None:
        """Any element; `_` in an attribute's name stands for `-`."""
        named = "".join(
            f' {name.rstrip("_").replace("_", "-")}="{_shown(value)}"'
            for name, value in attributes.items()
        )
        self.shapes.append(f"<{tag}{named}>{content}</{tag}>" if content else f"<{tag}{named}/>")

    def text(self, x: float, y: float, words: str, **attributes: object) -> None:
        self.add("text", escape(words), x=x, y=y, **{"fill": INK, **attributes})

    def box(self, x: float, y: float, w: float, h: float, **attributes: object) -> None:
        style = {"rx": 6, "fill": "#f3f4f6", "stroke": STROKE, "stroke_width": 1.3}
        self.add("rect", x=x, y=y, width=w, height=h, **{**style, **attributes})

    def line(self, path: str, **attributes: object) -> None:
        self.add("path", d=path, **{"fill": "none", "stroke": RULE, **attributes})

    def block(
        self,
        x: float,
        y: float,
        w: float,
        h: float,
        name: str,
        what: str,
        fill: str,
        dashed: bool = False,
    ) -> None:
        """A box with its name in the middle and, below it, what it is: lines separated by `|`."""
        style = {"stroke_dasharray": "5 4"} if dashed else {}
        self.box(x, y, w, h, fill=fill, **style)
        lines = what.split("|") if what else []
        first = y + h / 2 - 8 * len(lines) + (4 if lines else 5)
        self.text(x + w / 2, first, name, text_anchor="middle", font_size=15)
        for number, line in enumerate(lines):
            below = first + 18 + 15 * number
            self.text(x + w / 2, below, line, text_anchor="middle", fill=SOFT, font_size=11.5)

    def arrow(self, path: str, both: bool = False, **attributes: object) -> None:
        """A line with an arrowhead at its end, or at both ends."""
        heads = {"marker_end": "url(#arrow)", **({"marker_start": "url(#arrow)"} if both else {})}
        self.line(path, **{"stroke": STROKE, "stroke_width": 1.5, **heads, **attributes})

    def __str__(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" role="img" '
            f'font-family="{SANS}" font-size="13">'
        )
        paper = (
            f'<rect x="0.5" y="0.5" width="{self.width - 1}" height="{self.height - 1}" rx="8" '
            f'fill="{PAPER}" stroke="{RULE}"/>'
        )
        arrowhead = [ARROWHEAD] if any("#arrow" in shape for shape in self.shapes) else []
        return "\n".join(
            [
                head,
                f"<title>{escape(self.title)}</title>",
                *arrowhead,
                paper,
                *self.shapes,
                "</svg>\n",
            ]
        )


def write(path: Path, svg: str) -> None:
    """Replace a picture; an interrupted run leaves the old one."""
    with replacing(path) as file:
        file.write(svg.encode())


def _shown(value: object) -> str:
    text = f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
    return escape(text, {'"': "&quot;"})
