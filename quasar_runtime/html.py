"""HTML for notebooks: what a Session, a Result, a Profile and a Model show of themselves.

Fragments without scripts or style sheets of their own, legible on light and dark backgrounds.
Everything that comes from files (names, labels, paths) is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape as escape_html
from typing import TYPE_CHECKING

from quasar_runtime.errors import printable

if TYPE_CHECKING:
    from quasar_runtime.model.network import Linear, Model
    from quasar_runtime.session.results import LayerTime, Profile, Result
    from quasar_runtime.session.session import Session

BLUE, ORANGE, GREEN, RED, GREY = "#4c78a8", "#f58518", "#54a24b", "#e45756", "#9a9a9a"
KINDS = {
    "matrices": BLUE,
    "attention": ORANGE,
    "LayerNorm": GREEN,
    "loads and stores": GREY,
}
"""Kinds of operations and their colours, in the profile's picture and in its table."""
PRECISION = {8: ORANGE, 4: BLUE}
"""Colour of an 8-bit and of a 4-bit row."""

_STYLE = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.45"
_CELL = "padding:1px 10px 1px 0;border:none;text-align:{};background:transparent"


def escape(text: str) -> str:
    """Text for HTML; control characters and bytes that no encoding holds as Python escapes them."""
    return escape_html(printable(text))


def operation_kind(name: str) -> str:
    """The kind (a key of KINDS) of an operation by its name in the program."""
    last = name.rsplit(".", 1)[-1]
    if last in ("position", "image", "store", "end"):
        return "loads and stores"
    if last.startswith("norm"):
        return "LayerNorm"
    return "attention" if last.startswith("attention") else "matrices"


def result_html(result: Result) -> str:
    """The classes with bars of their probability, and the times; or why there is no answer."""
    if result.error is not None:
        text = f'<b style="color:{RED}">{escape(str(result.error))}</b>'
        return _box(f"<div>{escape(result.source)}</div>{text}")
    rows = [
        (f"{p.probability:.1%}", _bar(p.probability, BLUE), escape(p.label), _dim(p.wnid))
        for p in result.predictions
    ]
    t = result.times
    times = (
        f"decode {t.decode_ms:.1f} ms, preprocess {t.preprocess_ms:.1f} ms, "
        f"infer {t.infer_ms:.2f} ms"
    )
    return _box(f"<b>{escape(result.source)}</b>{_table(rows, 'rlll')}{_dim(times)}")


def profile_html(profile: Profile) -> str:
    """The operations on a time line, and what each kind of them takes."""
    total = profile.microseconds
    head = f"<b>{len(profile.layers)} operations, {total / 1e3:.3f} ms</b>"
    if not profile.layers:
        return _box(head)
    rows = []
    for kind, colour in KINDS.items():
        layers = [layer for layer in profile.layers if operation_kind(layer.name) == kind]
        spent = sum(layer.microseconds for layer in layers)
        macs = sum(layer.macs for layer in layers)
        rate = f"{macs / spent / 1e3:.1f} GMAC/s" if macs and spent else ""
        share = sum(layer.share for layer in layers)
        if layers:
            rows.append(
                (
                    _swatch(colour) + kind,
                    str(len(layers)),
                    f"{spent / 1e3:.3f} ms",
                    f"{share:.1%}",
                    _bar(share, colour),
                    rate,
                )
            )
    slowest = sorted(profile.layers, key=lambda layer: -layer.microseconds)[:3]
    names = ", ".join(
        f"{escape(layer.name)} {layer.microseconds / 1e3:.3f} ms" for layer in slowest
    )
    return _box(f"{head}{_timeline(profile.layers, total)}{_table(rows, 'lrrrll')}longest: {names}")


def model_html(model: Model) -> str:
    """Geometry, origin, and the precision of every weight row."""
    matrices = model.linears()
    weights = sum(m.weights.size for m in matrices.values())
    blocks = [m for name, m in matrices.items() if name.startswith("blocks.")]
    rows8 = sum(m.rows8 for m in blocks) / max(sum(m.rows for m in blocks), 1)
    facts = [
        ("image", f"{model.image_size} x {model.image_size}, {model.tokens} tokens"),
        ("network", f"{model.depth} blocks, {model.width} channels, {_spread(model)}"),
        ("weights", f"{weights:,}, {rows8:.0%} of the blocks' rows 8-bit"),
        ("classes", f"{model.classes:,}"),
        *_origin(model).items(),
    ]
    table = _table([(_dim(name), escape(text)) for name, text in facts], "ll")
    return _box(f"<b>{escape(model.name)}</b>{table}{precision_svg(matrices)}")


def session_html(session: Session) -> str:
    """Model, device and overlay, and what the program takes of memory."""
    program, device = session.program, session.device
    overlay = device.overlay
    facts = [
        ("device", ", ".join([device.name, *(f"{k} {v}" for k, v in device.describe().items())])),
        (
            "overlay",
            f"{overlay.name}: {overlay.macs:,} 4-bit MACs a cycle, {overlay.clock_mhz} MHz",
        ),
        ("program", f"{program.count} operations, {program.data.size / 1e6:.1f} MB"),
        ("picture", f"{program.image_size} x {program.image_size}"),
    ]
    table = _table([(_dim(name), escape(text)) for name, text in facts], "ll")
    return _box(f"<b>{escape(session.name)}</b>{table}")


def precision_svg(matrices: dict[str, Linear]) -> str:
    """An SVG picture: a column a matrix, as wide as it has weights, its 8-bit rows at the foot.

    The coloured areas are therefore the shares of the weights that are 8-bit and 4-bit.
    """
    total = sum(m.weights.size for m in matrices.values())
    width, height, at = 640.0, 80.0, 0.0
    parts = []
    for name, m in matrices.items():
        w = width * m.weights.size / max(total, 1)
        top = height * (1 - m.rows8 / max(m.rows, 1))
        title = f"<title>{escape(name)}: {m.rows8} of {m.rows} rows 8-bit</title>"
        for y, h, bits in ((0.0, top, 4), (top, height - top, 8)):
            if h > 0:
                parts.append(
                    f'<rect x="{at:.2f}" y="{y:.2f}" width="{max(w - 0.6, 0.3):.2f}" '
                    f'height="{h:.2f}" fill="{PRECISION[bits]}">{title}</rect>'
                )
        at += w
    legend = (
        f"{_swatch(PRECISION[8])}8-bit rows {_swatch(PRECISION[4])}4-bit rows, a column a matrix"
    )
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" style="width:100%;max-width:640px" '
        f'role="img" aria-label="precision of the rows">{"".join(parts)}</svg>'
        f"<div>{legend}</div>"
    )


def _timeline(layers: Sequence[LayerTime], total: float) -> str:
    width, height = 640.0, 26.0
    scale = width / max(total, 1e-9)
    rectangles = "".join(
        f'<rect x="{layer.begin_us * scale:.2f}" y="0" '
        f'width="{max(layer.microseconds * scale, 0.2):.2f}" height="{height:.0f}" '
        f'fill="{KINDS[operation_kind(layer.name)]}">'
        f"<title>{escape(layer.name)}: {layer.microseconds:.1f} us</title></rect>"
        for layer in layers
    )
    return (
        f'<div><svg viewBox="0 0 {width:.0f} {height:.0f}" style="width:100%;max-width:640px" '
        f'role="img" aria-label="operations over time">{rectangles}</svg></div>'
    )


def _spread(model: Model) -> str:
    """Heads and MLP widths: one number where all blocks agree, else the range."""

    def span(values: Iterable[int]) -> str:
        found = sorted(set(values))
        return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"

    heads, mlp = (b.heads for b in model.blocks), (b.mlp for b in model.blocks)
    return f"{span(heads)} heads, MLP {span(mlp)}"


def _origin(model: Model) -> dict[str, str]:
    """Teacher and measured accuracy, where the file tells them."""
    found, accuracy = {}, model.provenance.get("accuracy")
    if isinstance(model.provenance.get("teacher"), str):
        found["from"] = model.provenance["teacher"]
    if isinstance(accuracy, dict) and isinstance(accuracy.get("top1"), (int, float)):
        found["top-1"] = f"{accuracy['top1']:.1f} % on {accuracy.get('dataset', 'unnamed images')}"
    return found


def _box(content: str) -> str:
    return f'<div style="{_STYLE}">{content}</div>'


def _table(rows: Iterable[Sequence[str]], align: str) -> str:
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


def _bar(share: float, colour: str) -> str:
    width = round(160 * min(max(share, 0.0), 1.0))
    return (
        f'<div style="width:160px"><div style="width:{width}px;height:11px;background:{colour}">'
        "</div></div>"
    )


def _swatch(colour: str) -> str:
    return (
        f'<span style="display:inline-block;width:11px;height:11px;background:{colour};'
        'margin-right:5px"></span>'
    )


def _dim(text: str) -> str:
    return f'<span style="opacity:0.65">{escape(text)}</span>'
