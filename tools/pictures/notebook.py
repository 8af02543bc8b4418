"""The profile that a notebook shows: the HTML of its committed output, in an SVG."""

from __future__ import annotations

import json
from pathlib import Path

from tools.pictures.drawing import Drawing

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "02_where_the_time_goes.ipynb"
CELL = "result.profile"
WIDTH, HEIGHT = 720, 262


def shown() -> tuple[str, str]:
    """Source and HTML output of the cell that ends with CELL. Raises LookupError without one."""
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and source.endswith(CELL):
            for output in cell["outputs"]:
                if html := output.get("data", {}).get("text/html"):
                    return source, "".join(html)
    raise LookupError(f"{NOTEBOOK.name} has no output of '{CELL}'")


def draw() -> str:
    source, html = shown()
    drawing = Drawing(WIDTH, HEIGHT, "The profile of one image in a notebook, operations by kind")
    drawing.box(16, 14, WIDTH - 32, 54, fill="#f3f4f6", stroke="#d5dae1")
    mono = {"font_family": "ui-monospace, Menlo, Consolas, monospace", "font_size": 12.5}
    for row, line in enumerate(source.splitlines()[-2:]):
        drawing.text(30, 36 + 20 * row, line, **mono)
    html = html.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    page = f'<div xmlns="http://www.w3.org/1999/xhtml" style="color:#1f2630">{html}</div>'
    drawing.add("foreignObject", page, x=20, y=80, width=WIDTH - 40, height=HEIGHT - 88)
    return str(drawing)
