"""The block diagram at the head of README: from a checkpoint to an answer, and the accelerator.

Sizes come from the overlays and from the interface that hardware and runtime share.
"""

from __future__ import annotations

from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.overlay import Overlay, load_overlay
from tools.pictures.drawing import SOFT, Drawing

FILE, TOOL, DEVICE, UNIT = "#f3f4f6", "#e6f0ea", "#e5edf7", "#fbf1e6"
"""Colours: data, a tool, a device, a part of the accelerator."""
SHOWN = ("b1024", "b8192")


def draw() -> str:
    drawing = Drawing(
        900, 520, "Quasar: from a checkpoint to an answer, and the accelerator inside"
    )
    _toolchain(drawing)
    _devices(drawing)
    _accelerator(drawing)
    return str(drawing)


def _toolchain(drawing: Drawing) -> None:
    drawing.block(20, 22, 140, 52, "float checkpoint", "DeiT, ViT", FILE)
    drawing.arrow("M160 48 H196")
    drawing.block(196, 22, 170, 52, "train/", "search, quantise, tune", TOOL)
    drawing.arrow("M366 48 H402")
    drawing.block(402, 22, 140, 52, "model file", "rows of 4 and 8 bits", FILE)
    drawing.arrow("M542 48 H578")
    drawing.block(578, 22, 140, 52, "compiler", "order, memory, packing", TOOL)
    drawing.arrow("M718 48 H754")
    words = f"{hw.DESCRIPTOR_BYTES}-byte descriptors"
    drawing.block(754, 22, 126, 52, "program", words, FILE)


def _devices(drawing: Drawing) -> None:
    drawing.arrow("M817 74 V98 H105 V122")
    for x in (323, 541):
        drawing.arrow(f"M{x} 98 V122")
    drawing.arrow("M817 98 V122")
    drawing.block(20, 122, 170, 52, "native", "the CPU: C and SIMD", DEVICE)
    drawing.block(238, 122, 170, 52, "reference", "NumPy, normative", DEVICE)
    drawing.block(456, 122, 170, 52, "rtl", "the RTL, cycle by cycle", DEVICE)
    drawing.block(710, 122, 170, 52, "board", "ZCU102: not run yet", "#ffffff", dashed=True)
    drawing.text(
        450,
        198,
        "the same program and the same bytes on every device",
        text_anchor="middle",
        fill=SOFT,
    )


def _accelerator(drawing: Drawing) -> None:
    drawing.box(20, 216, 860, 284, fill="none", stroke="#9aa3ae", stroke_dasharray="5 4")
    drawing.line("M626 148 H668 V216 M710 148 H668", stroke="#9aa3ae", stroke_dasharray="5 4")
    drawing.text(36, 240, "The accelerator", font_weight="bold")
    sizes = ", ".join(_size(load_overlay(name)) for name in SHOWN)
    words = f"4-bit MACs per cycle, tokens x rows x inputs: {sizes}"
    drawing.text(150, 240, words, fill=SOFT, font_size=12)
    drawing.block(40, 262, 150, 52, "registers", "AXI4-Lite, interrupt", UNIT)
    drawing.block(40, 342, 150, 52, "sequencer", "fetches and checks", UNIT)
    drawing.block(40, 422, 150, 52, "read and write ports", "AXI4, to DDR4", UNIT)
    drawing.block(262, 262, 150, 52, "weight stream", "rows by precision", UNIT)
    drawing.block(262, 342, 150, 52, "activations", "int8, on chip", UNIT)
    drawing.block(262, 422, 150, 52, "residual", "int16, on chip", UNIT)
    drawing.block(486, 292, 160, 72, "array", "4-bit products,|two per 8-bit row", UNIT)
    drawing.block(486, 422, 160, 52, "LayerNorm", "integer, 1/sqrt table", UNIT)
    drawing.block(720, 292, 140, 72, "lanes", "requantise, GELU,|residual, softmax", UNIT)
    drawing.arrow("M115 314 V342")
    drawing.arrow("M190 448 H226 V288 H262")
    drawing.arrow("M226 368 H262")
    drawing.arrow("M412 288 H449 V316 H486")
    drawing.arrow("M412 362 H449 V342 H486")
    drawing.arrow("M646 328 H720")
    drawing.arrow("M790 364 V490 H337 V474")
    drawing.arrow("M790 394 H430 V376 H412")
    drawing.arrow("M412 448 H486")
    drawing.arrow("M566 422 V394")


def _size(overlay: Overlay) -> str:
    shape = f"{overlay.tokens} x {overlay.rows} x {overlay.depth}"
    return f"{overlay.name} {shape} = {overlay.macs:,}"
