"""An SVG of an image's operations over time: the whole run, its begin and its end enlarged.

`draw` takes one run of `benchmarks/rtl_cycles.py --json`.
"""

from __future__ import annotations

from typing import Any

COLOURS = {
    "load": ("#f2d7a7", "loads"),
    "linear": ("#a9c6e8", "LINEAR"),
    "attention": ("#b7dbc3", "ATTENTION"),
    "norm": ("#e3b3b8", "LAYERNORM"),
    "end": ("#c9c3dd", "STORE, END"),
}
GROUP = {"position": "load", "image": "load", "attention": "attention", "norm": "norm"}
GROUP |= {"store": "end", "end": "end"}
LEFT, WIDTH, BAR = 20, 960, 34
LETTER = 6.0  # width of a letter of 12 px


def bar(
    operations: list[dict[str, Any]], begin: int, end: int, y: int, labels: bool
) -> tuple[list[str], list[str]]:
    """Rectangles and names of the operations between two cycles. The first two, LOAD_RESIDUAL and
    LOAD_IMAGE, overlap: each takes half the height."""
    scale = WIDTH / (end - begin)
    shapes, texts = [], []
    for number, o in enumerate(operations):
        first, last = max(o["begin"], begin), min(o["end"], end)
        if first >= last:
            continue
        x, width = LEFT + (first - begin) * scale, (last - first) * scale
        half = o["kind"] in ("position", "image")
        top = y + (BAR / 2 if half and number else 0)
        height = BAR / 2 if half else BAR
        colour = COLOURS[GROUP.get(o["kind"], "linear")][0]
        stroke = ' stroke="#ffffff" stroke-width="0.6"' if labels else ""
        shapes.append(
            f'    <rect x="{x:.1f}" y="{top:g}" width="{max(width, 0.3):.1f}" height="{height:g}" '
            f'fill="{colour}"{stroke}/>'
        )
        name = o["name"].split(".")[-1]
        cycles = f"{o['end'] - o['begin']:,}"
        if labels and width > LETTER * max(len(name), len(cycles)) + 6 and not half:
            middle = x + width / 2
            texts.append(f'    <text x="{middle:.1f}" y="{y + 15}">{name}</text>')
            texts.append(f'    <text x="{middle:.1f}" y="{y + 29}" class="s">{cycles}</text>')
    return shapes, texts


def scale_lines(begin: int, end: int, y: int) -> list[str]:
    """The cycles at both ends of a bar."""
    return [
        f'    <text x="{LEFT}" y="{y}" class="s" text-anchor="start">{begin:,}</text>',
        f'    <text x="{LEFT + WIDTH}" y="{y}" class="s" text-anchor="end">{end:,} cycles</text>',
    ]


def zoom(begin: int, end: int, cycles: int, top: int, bottom: int) -> str:
    """The wedge from a part of the upper bar to a lower bar."""
    a, b = (LEFT + x * WIDTH / cycles for x in (begin, end))
    return (
        f'    <path d="M{a:.1f} {top} L{LEFT} {bottom} H{LEFT + WIDTH} L{b:.1f} {top} z" '
        'fill="#f3f4f6"/>'
    )


def draw(run: dict[str, Any]) -> str:
    """The SVG's text."""
    operations, cycles = run["operations"], run["cycles"]
    blocks = [o["name"].rsplit(".", 1)[0] for o in operations if o["name"].startswith("blocks.")]
    first = max(o["end"] for o in operations if o["name"].startswith(blocks[0] + "."))
    last = min(o["begin"] for o in operations if o["name"].startswith(blocks[-1] + "."))
    rows = ((0, cycles, 62), (0, first, 152), (last, cycles, 242))
    texts = []
    shapes = [zoom(0, first, cycles, 62 + BAR, 152)]
    for begin, end, y in rows:
        some, names = bar(operations, begin, end, y, labels=y > 62)
        shapes += some
        texts += names + scale_lines(begin, end, y + BAR + 14)
    x = LEFT
    for colour, name in COLOURS.values():
        shapes.append(f'    <rect x="{x}" y="14" width="14" height="14" fill="{colour}"/>')
        texts.append(f'    <text x="{x + 20}" y="26" text-anchor="start">{name}</text>')
        x += 60 + int(7 * len(name))
    for y, text in (
        (56, f"{run['model']} on {run['overlay']}: an image"),
        (146, "loads, patch embedding, first block"),
        (236, "last block (one query), classifier, store, end"),
    ):
        texts.append(f'    <text x="{LEFT}" y="{y}" text-anchor="start">{text}</text>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 2 * LEFT} 305" '
            'font-family="Helvetica, Arial, sans-serif" font-size="12">',
            "  <style>.s { font-size: 11px; fill: #59626e; }</style>",
            f"  <title>{run['model']} on {run['overlay']}, {cycles:,} cycles</title>",
            f'  <rect width="{WIDTH + 2 * LEFT}" height="305" fill="#ffffff"/>',
            "  <g>",
            *shapes,
            "  </g>",
            '  <g fill="#1f2630" text-anchor="middle">',
            *texts,
            "  </g>",
            "</svg>",
            "",
        ]
    )
