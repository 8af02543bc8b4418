"""What mapped modules take, and the sum over the tree of instances."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from hw_src.synth.netlist import Module

DEVICE = {"DSP48E2": 2520, "LUT": 274_080, "FF": 548_160, "CARRY8": 34_260, "BRAM36": 912}
"""xczu9eg-ffvb1156-2."""
KINDS = ("DSP48E2", "LUT", "FF", "CARRY8", "RAMB36", "RAMB18", "LUTRAM", "SRL")
LUTRAM = {
    **{"RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8, "RAM128X1S": 2, "RAM256X1S": 4},
    **{"RAM32X1S": 1, "RAM64X1S": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4},
    **{"RAM256X1D": 8, "RAM512X1S": 8, "RAM32X2S": 2, "RAM32X16DR8": 8, "RAM64X8SW": 8},
}
"""LUTs of a distributed RAM."""
NO_AREA = ("MUXF7", "MUXF8", "MUXF9")
"""Multiplexers that every slice has beside its LUTs."""

Counts = Counter[str]


class UnknownCell(ValueError):
    """A primitive for which there is no column."""


def kind(cell: str) -> tuple[str, float]:
    """The column of a primitive and how much of it one is; raises UnknownCell."""
    if cell == "DSP48E2":
        return "DSP48E2", 1
    if cell == "INV" or re.fullmatch(r"LUT[1-6](_2)?", cell):
        return "LUT", 1
    if re.fullmatch(r"FD[RSCP]E", cell):
        return "FF", 1
    if cell in ("CARRY8", "CARRY4"):
        return "CARRY8", 1 if cell == "CARRY8" else 0.5
    if cell in ("RAMB36E2", "RAMB18E2"):
        return cell[:-2], 1
    if re.fullmatch(r"SRL16E|SRLC16E|SRLC32E", cell):
        return "SRL", 1
    if cell in LUTRAM:
        return "LUTRAM", LUTRAM[cell]
    raise UnknownCell(f"cell {cell} is none of the primitives that are counted")


def own(netlist: dict[str, Any], modules: dict[str, Module]) -> Counts:
    """A module's primitives without those of its children; LUT includes LUTRAM and SRL."""
    counts: Counts = Counter()
    for cell in netlist["cells"].values():
        if cell["type"] in modules or cell["type"] in NO_AREA:
            continue
        column, amount = kind(cell["type"])
        counts[column] += amount  # type: ignore[assignment]  # halves of a CARRY8
        if column in ("LUTRAM", "SRL"):
            counts["LUT"] += amount  # type: ignore[assignment]
    return counts


def total(modules: dict[str, Module], owned: dict[str, Counts]) -> dict[str, Counts]:
    """Each module's primitives with all that is in it; `modules` has children first."""
    totals: dict[str, Counts] = {}
    for name, module in modules.items():
        counts = Counter(owned[name])
        for child, number in module.children.items():
            for column, amount in totals[child].items():
                counts[column] += number * amount
        totals[name] = counts
    return totals


def as_json(counts: Counts) -> dict[str, float]:
    """All columns, whole numbers where they are, block RAM also in units of 36 kbit."""
    figures: dict[str, float] = {column: counts[column] for column in KINDS}
    figures["BRAM36"] = counts["RAMB36"] + counts["RAMB18"] / 2
    return {k: int(v) if v == int(v) else v for k, v in figures.items()}
