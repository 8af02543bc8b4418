"""Area of an overlay without synthesis: DSP slices, LUTs, flip-flops and block RAMs.

DSP slices and block RAMs are counted from the structure of hw_src/rtl, exactly. LUTs and flip-flops
are sums of a few terms; each term is what one kind of hardware grows with, and its weight is fitted
to the synthesis reports (overlays/*/synth.json, hw_src/synth/shapes.json). All figures are
estimates before placement, as the reports are.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from quasar_runtime.cycles.predict import DDR, Ddr
from quasar_runtime.errors import QuasarError
from quasar_runtime.files import read_object
from quasar_runtime.isa.interface import HEAD_DIM, MAX_CHANNELS, MAX_TOKENS
from quasar_runtime.isa.overlay import Overlay, parse_overlay
from quasar_runtime.resources import data_folder

from ..spaces.space import Space, Subnet
from .cycles import Cost, Need, OverlayCost

PORT_BITS = 128
SCORE_BITS = 21
FABRIC_MACS = 4096
"""Arrays of more MACs per cycle have squares and the softmax's products in LUTs (datapath.sv)."""
RESOURCES = {"dsp": "DSP48E2", "lut": "LUT", "ff": "FF", "bram36": "BRAM36"}
"""Fields of an Area, and their names in the reports."""


class AreaError(QuasarError):
    """A synthesis report or a budget that cannot be used."""


@dataclass(frozen=True)
class Area:
    """DSP48E2 slices, LUTs, flip-flops and block RAMs of 36 kbit."""

    dsp: float
    lut: float
    ff: float
    bram36: float


DEVICE = Area(dsp=2520, lut=274_080, ff=548_160, bram36=912)
"""xczu9eg-ffvb1156-2, the ZCU102's."""


# --- counted ---


def lanes(o: Overlay) -> int:
    """Digit rows per cycle through the epilogue."""
    return min(max(o.depth // 4, 2), 8)


def exponents(o: Overlay) -> int:
    """Keys per cycle through the softmax."""
    usual = 8 if o.depth >= 32 else o.depth // 8
    return max(usual, o.rows * o.depth // (2 * HEAD_DIM))


def weight_lanes(o: Overlay) -> int:
    """Read ports that carry weights."""
    return o.read_ports if o.rows * o.depth // 2 // o.read_ports >= 256 else 1


def products(o: Overlay) -> int:
    """Products per cycle of LAYERNORM's squares and of the softmax."""
    return o.tokens * (lanes(o) + exponents(o))


def fabric(o: Overlay) -> int:
    """Products that are built in LUTs: all of them where the array is large."""
    return products(o) if o.tokens * o.rows * o.depth > FABRIC_MACS else 0


def dsp(o: Overlay) -> int:
    """DSP48E2 slices.

    The array's multipliers, four products each; two per epilogue lane and token; LAYERNORM's
    squares and the softmax's products where the array leaves enough; and 15 of roots, addresses and
    checks.
    """
    inferred = products(o) - fabric(o)
    return o.tokens * o.rows * o.depth // 4 + 2 * o.tokens * lanes(o) + inferred + 15


def block_rams(width: int, words: int) -> float:
    """BRAM36 of a memory with a read and a write port, in the arrangement that takes least.

    A block of 18 kbit counts half.
    """
    shapes = [(36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)]
    return min(-(-width // w) * -(-words // n) for w, n in shapes) / 2


def bram36(o: Overlay) -> float:
    """Block RAMs.

    Counted are the weights' ring, logits (four banks), residual and activations, the softmax's
    scores, the lanes' tables, LAYERNORM's gains, and the ports' FIFOs.
    """
    head = 2 * MAX_TOKENS * HEAD_DIM // (o.rows * o.depth)  # beats of a head's K, and of its V
    beats = max(2 * MAX_CHANNELS // o.depth, 4 * head)
    ring = o.rows * block_rams(4 * o.depth, beats)
    column = block_rams(16, o.res_words) + block_rams(8, o.act_words)
    images = 2 if o.depth == 32 else 1
    positions = 2 if o.depth == 32 and o.read_ports > 1 and o.tokens > 1 else 1
    readers = (1 + images + positions) * block_rams(PORT_BITS, 512)
    if weight_lanes(o) == 1:
        readers += block_rams(PORT_BITS, 1024)
    else:
        readers += weight_lanes(o) * block_rams(PORT_BITS, 512)
        readers += block_rams(4 * o.rows * o.depth, 1024)
    scores = block_rams(o.tokens * exponents(o) * SCORE_BITS, 2 * MAX_TOKENS // exponents(o))
    tables = o.tokens * lanes(o) * block_rams(8, 256) + block_rams(16 * lanes(o), 512)
    logits = 4 * block_rams(32, -(-o.logits // 4))
    return ring + logits + o.tokens * o.depth * column + scores + tables + readers


# --- fitted ---

CONTROL = "control, descriptors, registers"
COLUMN = "a column of on-chip memory"
WAY = "a way from a lane to a column of a token"
DIGIT = "a digit of a beat of weights"
Terms = dict[str, Callable[[Overlay], float]]
LUT_TERMS: Terms = {
    CONTROL: lambda o: 1,
    "an accumulator": lambda o: o.tokens * o.rows,
    COLUMN: lambda o: o.tokens * o.depth,
    WAY: lambda o: o.tokens * lanes(o) * o.depth,
    DIGIT: lambda o: o.rows * o.depth,
}
"""What LUTs grow with. Terms were chosen by how well the others predict a shape left out."""
FF_TERMS: Terms = {
    CONTROL: lambda o: 1,
    "a level of an accumulator's sum": lambda o: o.tokens * o.rows * math.log2(o.depth),
    COLUMN: lambda o: o.tokens * o.depth,
    WAY: lambda o: o.tokens * lanes(o) * o.depth,
    DIGIT: lambda o: o.rows * o.depth,
    "a token": lambda o: o.tokens,
}
"""What flip-flops grow with."""
FABRIC_LUT, FABRIC_FF = 169, 145
"""LUTs and flip-flops per product: `fabric_multiplier` in overlays/b8192/synth.md."""


@dataclass(frozen=True)
class AreaModel:
    """The terms' weights; a callable Overlay -> Area."""

    lut: Mapping[str, float]
    ff: Mapping[str, float]

    def __call__(self, overlay: Overlay) -> Area:
        """The area of an overlay, before placement."""

        def total(weights: Mapping[str, float], terms: Terms) -> float:
            return sum(weight * terms[term](overlay) for term, weight in weights.items())

        lut = total(self.lut, LUT_TERMS) + FABRIC_LUT * fabric(overlay)
        ff = total(self.ff, FF_TERMS) + FABRIC_FF * fabric(overlay)
        return Area(dsp(overlay), lut, ff, bram36(overlay))


Report = tuple[Overlay, Area]


def fit_area(reports: Sequence[Report]) -> AreaModel:
    """The weights with the least squared relative error, none negative."""
    products = np.array([fabric(o) for o, _ in reports])

    def weights(terms: Terms, totals: list[float], product: float) -> dict[str, float]:
        counted = np.array([[term(o) for term in terms.values()] for o, _ in reports], np.float64)
        rest = np.array(totals) - product * products
        solution = non_negative(counted / rest[:, None], np.ones(len(reports)))
        return dict(zip(terms, solution.tolist(), strict=True))

    return AreaModel(
        weights(LUT_TERMS, [area.lut for _, area in reports], FABRIC_LUT),
        weights(FF_TERMS, [area.ff for _, area in reports], FABRIC_FF),
    )


def non_negative(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """argmin |a x - b| over x >= 0, by Lawson and Hanson's active sets (1974)."""
    x = np.zeros(a.shape[1])
    free = np.zeros(a.shape[1], bool)
    scale = np.linalg.norm(a, axis=0)
    a = a / scale
    while True:
        gradient = a.T @ (b - a @ x)
        if free.all() or gradient[~free].max() < 1e-9:
            return np.asarray(x / scale)
        free[np.argmax(np.where(free, -np.inf, gradient))] = True
        while True:
            z = np.zeros_like(x)
            z[free] = np.linalg.lstsq(a[:, free], b, rcond=None)[0]
            if (z[free] > 0).all():
                x = z
                break
            out = free & (z <= 0)
            step = (x[out] / (x[out] - z[out])).min()
            x = x + step * (z - x)
            free &= x > 1e-12
            x[~free] = 0


def read_reports(root: Path | None = None) -> list[Report]:
    """The synthesis reports of a checkout at `root`, None for those that the package has.

    Only the reports of the RTL that most of them are of count: when the RTL changes, not all are
    made again at once. AreaError when there are too few, or one is malformed.
    """

    def read(path: Path) -> dict[str, Any]:
        return read_object(path, "is not a synthesis report", "make it again", AreaError)

    overlays = root / "overlays" if root else data_folder("overlays")
    found = [(path, read(path)) for path in sorted(overlays.glob("*/synth.json"))]
    shapes = (root / "hw_src" if root else data_folder("hw_src")) / "synth" / "shapes.json"
    if shapes.is_file():
        found += [(shapes, shape) for shape in read(shapes).get("shapes", ())]
    reports = [(data.get("rtl"), _report(path, data)) for path, data in found]
    newest, _ = Counter(rtl for rtl, _ in reports).most_common(1)[0] if reports else (None, 0)
    chosen = [report for rtl, report in reports if rtl == newest]
    least = max(len(LUT_TERMS), len(FF_TERMS)) + 1
    if len(chosen) < least:
        raise AreaError(
            f"{len(chosen)} synthesis reports of the same RTL in {overlays.parent}, the model "
            f"takes {least}; make more by python -m hw_src.synth.shapes"
        )
    return chosen


def _report(path: Path, data: Mapping[str, Any]) -> Report:
    try:
        overlay = parse_overlay(json.dumps(data["overlay"]), str(path))
        totals = data["totals"]
        return overlay, Area(**{field: totals[name] for field, name in RESOURCES.items()})
    except (KeyError, TypeError) as e:
        raise AreaError(f"{path} is not a synthesis report ({e!r}); make it again") from None


@cache
def area_model() -> AreaModel:
    """The area model fitted to the reports that the package has."""
    return fit_area(read_reports())


# --- the search's side ---


def shapes(clock_mhz: int, read_ports: int, logits: int) -> list[Overlay]:
    """Every array shape that the RTL takes, without memories; named TxRxD."""
    found = []
    for tokens in (2, 4, 8):
        for depth in (8, 16, 32):
            for rows in (4, 8, 16, 32, 64):
                o = Overlay(
                    f"{tokens}x{rows}x{depth}",
                    tokens,
                    rows,
                    depth,
                    clock_mhz,
                    0,
                    0,
                    logits,
                    read_ports,
                )
                fits = 2 * tokens <= rows <= 2 * depth and rows % lanes(o) == 0
                if fits and (rows // 2) % exponents(o) == 0:
                    found.append(o)
    return found


@dataclass(frozen=True)
class ShapeCost:
    """The cost of subnets on an array whose memories are sized for each: a CostModel.

    Its needs are the device's resources.
    """

    shape: Overlay
    image_size: int
    classes: int
    budget: Area
    model: AreaModel
    ddr: Ddr = DDR

    def overlay(self, subnet: Subnet) -> Overlay:
        """The shape with as much memory as the subnet needs."""
        act, res, _ = OverlayCost(self.shape, self.image_size, self.classes).needs(subnet)
        return replace(self.shape, act_words=act.needed, res_words=res.needed)

    def __call__(self, subnet: Subnet) -> Cost:
        """Cycles and frame rate of a subnet on the shape, and its needs beside the budget."""
        overlay = self.overlay(subnet)
        cost = OverlayCost(overlay, self.image_size, self.classes, self.ddr)(subnet)
        area = self.model(overlay)
        needs = tuple(
            Need(name, round(getattr(area, field)), round(getattr(self.budget, field)))
            for field, name in RESOURCES.items()
        )
        return replace(cost, needs=needs)


def overlay_text(overlay: Overlay) -> str:
    """An overlay's parameters as overlay.json holds them."""
    return json.dumps(asdict(overlay), indent=2) + "\n"


def parse_budget(text: str) -> Area:
    """The budget of a text such as 'dsp=600,lut=100000,bram36=300'; the ZCU102's own otherwise.

    AreaError for anything else.
    """
    known = [f.name for f in fields(Area)]
    values: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        plain = value.isascii() and value.replace(".", "", 1).isdigit()
        if name not in known or name in values or not plain or float(value) <= 0:
            raise AreaError(
                f"'{part}' in the budget; expected {', '.join(known)} with a number, such as "
                "dsp=600,lut=100000"
            )
        values[name] = float(value)
    return replace(DEVICE, **values)


def shape_costs(space: Space, budget: Area, clock_mhz: int = 300) -> dict[str, ShapeCost]:
    """The costs of the arrays on which the space's smallest subnet keeps the budget, by name.

    AreaError when there is no such array.
    """
    model = area_model()
    found = {}
    for shape in shapes(clock_mhz, read_ports=2, logits=-(-space.classes // 1024) * 1024):
        cost = ShapeCost(shape, space.image_size, space.classes, budget, model)
        if cost(space.smallest()).excess <= 0:
            found[shape.name] = cost
    if not found:
        raise AreaError(
            f"no array fits {budget} with the smallest subnet of space '{space.name}'; allow more"
        )
    return found
