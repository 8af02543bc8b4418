"""The accelerator's block diagram; what it counts is read from the RTL."""

from __future__ import annotations

import re
from pathlib import Path

from quasar_runtime.resources import data_folder
from tools.pictures.drawing import SOFT, Drawing

CONTROL, COMPUTE, MEMORY, OUTSIDE = "#f3f4f6", "#e6f0ea", "#e5edf7", "#ffffff"
"""Colours, as docs/hardware.md names them: grey, green, blue; white is outside the accelerator."""
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")


def constant(file: str, name: str) -> int:
    """The value of a parameter in a file of hw_src/rtl."""
    text = (Path(data_folder("hw_src")) / "rtl" / file).read_text()
    found = re.search(rf"\b{name} = (\d+)", text)
    if found is None:
        raise ValueError(f"{file} has no constant {name}")
    return int(found[1])


def draw() -> str:
    queue = constant("control/descriptor_fetch.sv", "QUEUE")
    concurrent = 2 ** constant("datapath/datapath_pkg.sv", "TAG_BITS") - 1
    group = constant("datapath/datapath_pkg.sv", "ROW_GROUPS")
    port = constant("memory/axi_reader.sv", "PORT_BITS")
    d = Drawing(1290, 790, "The accelerator: control, memories and the datapath")
    d.box(585, 115, 685, 640, fill="none", stroke="#9aa3ae", stroke_dasharray="5 4")
    d.text(1256, 137, "datapath", text_anchor="end", fill=SOFT, font_size=12)
    _control(d, queue, port)
    _datapath(d, group)
    d.arrow("M535 48 H920 V115")
    words = f"up to {WORDS[concurrent]} operations concurrently"
    d.text(728, 40, words, text_anchor="middle", fill=SOFT, font_size=12)
    return str(d)


def _control(d: Drawing, queue: int, port: int) -> None:
    d.block(15, 30, 113, 60, "host", "driver", OUTSIDE)
    d.block(175, 30, 113, 60, "registers", "AXI4-Lite", CONTROL)
    d.block(345, 30, 190, 60, "sequencer", "dispatch, faults, cycles", CONTROL)
    what = "descriptors,|weights,|parameters,|image; logits,|profile"
    d.block(15, 150, 113, 605, "memory", what, OUTSIDE)
    d.block(175, 150, 113, 455, "read ports", f"AXI4, {port} bit,|bursts by|priority", CONTROL)
    d.block(345, 150, 190, 60, "weight stream", "prefetched across LINEARs", CONTROL)
    what = f"range check, queue of {queue}"
    d.block(345, 257, 190, 60, "descriptor fetch", what, CONTROL)
    d.block(345, 364, 190, 60, "image, position loads", "write ACT and RES", CONTROL)
    d.block(345, 545, 190, 60, "parameter unit", "rows, heads, gains, tables", CONTROL)
    d.block(175, 656, 113, 99, "write port", f"AXI4, {port} bit", CONTROL)
    d.block(345, 656, 190, 44, "store unit", "words to beats", CONTROL)
    d.block(345, 711, 190, 44, "profile writer", "", CONTROL)
    for path in ("M128 60 H175", "M288 60 H345"):
        d.arrow(path, both=True)
    for path in (
        *("M128 378 H175", "M288 180 H345", "M288 287 H345", "M288 394 H345", "M288 575 H345"),
        *("M535 287 H560 V76 H535", "M535 180 H610", "M535 394 H585", "M535 575 H610"),
        *("M345 678 H288", "M345 733 H288", "M175 705 H128", "M1050 689 H560 V678 H535"),
    ):
        d.arrow(path)
    d.text(815, 682, "ACT, RES, LOGITS", text_anchor="middle", fill=SOFT, font_size=12)


def _datapath(d: Drawing, groups: int) -> None:
    d.block(610, 150, 175, 60, "weight memory", "ring of array beats", MEMORY)
    d.block(830, 150, 175, 60, "K, V fill", "values to digits", COMPUTE)
    d.block(1050, 150, 175, 60, "ACT", "int8, TOKENS banks", MEMORY)
    what = "TOKENS x ROWS x DEPTH|packed multipliers,|output-stationary"
    d.block(610, 257, 175, 108, "array", what, COMPUTE)
    d.block(830, 257, 175, 46, "linear, attention unit", "", COMPUTE)
    d.block(1050, 318, 175, 60, "softmax", "exp table, reciprocal", COMPUTE)
    d.block(610, 420, 175, 60, "drain", "digits joined, bias added", COMPUTE)
    d.block(830, 420, 175, 60, "epilogue lanes", "requantise, GELU table", COMPUTE)
    d.block(1050, 420, 175, 60, "write-back", "residual added", COMPUTE)
    what = f"{groups} groups, by digit row"
    d.block(610, 545, 175, 60, "row parameters", what, MEMORY)
    d.block(830, 545, 175, 60, "LAYERNORM unit", "sums, 1/sqrt, second pass", COMPUTE)
    d.block(1050, 545, 175, 60, "RES", "int16, TOKENS banks", MEMORY)
    d.block(1050, 656, 175, 52, "LOGITS", "int32", MEMORY)
    for path in (
        *("M1050 180 H1005", "M830 180 H785", "M697 210 V257", "M1090 210 V234 H753 V257"),
        *("M830 280 H785", "M785 332 H1050", "M1050 354 H785", "M697 365 V420", "M785 450 H830"),
        *("M1005 450 H1050", "M697 545 V480", "M785 575 H830", "M1050 575 H1005", "M917 545 V480"),
        *("M1117 480 V545", "M1158 545 V480", "M1225 442 H1250 V180 H1225"),
        "M1005 466 H1028 V672 H1050",
    ):
        d.arrow(path)
    for x, y, word in (
        *((685, 238, "W"), (920, 228, "X"), (920, 326, "scores"), (920, 371, "numerators")),
        *((672, 396, "sums"), (808, 567, "gains")),
    ):
        d.text(x, y, word, text_anchor="middle", fill=SOFT, font_size=12)
