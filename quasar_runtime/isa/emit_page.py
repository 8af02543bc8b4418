"""docs/registers.md: registers, descriptors, parameters and causes as tables, from the description.

`quasar_runtime.isa.emit` writes it beside the C header and the SystemVerilog package.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import numpy as np

from quasar_runtime.isa import interface as hw

OPERATIONS = {
    hw.Opcode.LOAD_IMAGE: "ACT = patches of the raw RGB image, CLS's token zero",
    hw.Opcode.LOAD_RESIDUAL: "RES = int16 values from PROGRAM",
    hw.Opcode.LINEAR: "Activations x weight rows + bias, then the epilogue that `mode` names",
    hw.Opcode.LAYERNORM: "ACT = LayerNorm of RES",
    hw.Opcode.ATTENTION: "ACT = softmax(Q K^T) V of a range of heads",
    hw.Opcode.STORE: "OUTPUT = logits, or a region of ACT or RES",
    hw.Opcode.END: "Waits for every write, then DONE and the interrupt",
}
MODES = {
    hw.Epilogue.REQUANTISE: "ACT = clamp(rs(acc * m, n))",
    hw.Epilogue.TABLE: "ACT = table[clamp(rs(acc * m, n))]",
    hw.Epilogue.RESIDUAL: "RES = sat16(RES + sat16(rs(acc * m, n)))",
    hw.Epilogue.LOGITS: "LOGITS = acc; one token",
}
SOURCES = {
    hw.Source.LOGITS: "`outputs` int32",
    hw.Source.ACT: "tokens x inputs int8",
    hw.Source.RESIDUAL: "tokens x inputs int16",
}
CAUSES = {
    hw.Cause.NONE: ("no error", ""),
    hw.Cause.BAD_OPCODE: ("the opcode is none of the operations", "the field's offset, 0"),
    hw.Cause.BAD_FIELD: (
        "a field, or a row's, gain's or head's parameter, outside its range",
        "the field's offset in the descriptor; the parameter's offset from PROGRAM",
    ),
    hw.Cause.BAD_RANGE: (
        "an on-chip region or a memory range reaches outside, or a row's channel is none",
        "the offset of the field with the base, pitch, count or memory offset; the parameter's "
        "offset; 0 for a program or profile area too small for the table",
    ),
    hw.Cause.MISALIGNED: (
        "an offset or a base register is no multiple of 64",
        "the field's offset; the base",
    ),
    hw.Cause.READ_SLVERR: ("a read was answered SLVERR", "the beat's memory address"),
    hw.Cause.READ_DECERR: ("a read was answered DECERR", "the beat's memory address"),
    hw.Cause.WRITE_SLVERR: ("a write was answered SLVERR", "the burst's memory address"),
    hw.Cause.WRITE_DECERR: ("a write was answered DECERR", "the burst's memory address"),
    hw.Cause.STALLED: (
        "a memory port made no progress for TIMEOUT cycles",
        "the memory address it waits for",
    ),
    hw.Cause.START_WHILE_BUSY: ("START during a run, which goes on undisturbed", "0"),
    hw.Cause.NO_END: ("the table ran out without END", "0"),
}
"""What each cause means, and what ERROR_ADDRESS holds."""


def page(origin: str) -> str:
    """The text of docs/registers.md; `origin` says what it was made from."""
    lines = [f"<!-- {origin} -->", "", "# Registers and descriptors", ""]
    lines += [
        f"Interface version {hw.VERSION[0]}.{hw.VERSION[1]}. What the parts do is in "
        "[hardware.md](hardware.md). `rs(x, n)` is a right shift that rounds half up.",
        "",
        "## Registers",
        "",
        "32 bits each, over AXI4-Lite. Access: r read, rw read and write, w1c write 1 to clear.",
        "",
    ]
    lines += _table(
        ("offset", "name", "access", "meaning"),
        ((f"0x{r.offset:02X}", f"`{r.name}`", r.access, r.doc) for r in hw.REGISTERS),
    )
    lines += ["Bits of those that are more than one number:", ""]
    lines += _table(
        ("register", "bits", "name", "meaning"),
        (
            (f"`{name}`", _span(b.low, b.width), f"`{b.name}`", b.doc)
            for name, bits in hw.BITS.items()
            for b in bits
        ),
    )
    lines += ["## Error causes", ""]
    lines += _table(
        ("cause", "name", "when", "ERROR_ADDRESS"),
        ((str(c.value), f"`{c.name}`", *CAUSES[c]) for c in hw.Cause),
    )
    lines += ["## Descriptors", "", f"{hw.DESCRIPTOR_BYTES} bytes, fields little-endian.", ""]
    lines += _table(
        ("byte", "size", "field", "meaning"),
        ((str(f.offset), str(f.size), f"`{f.name}`", f.doc) for f in hw.FIELDS),
    )
    for opcode, rules in hw.RULES.items():
        lines += [f"### {opcode.value} {opcode.name}", "", OPERATIONS[opcode] + ".", ""]
        lines += _table(
            ("field", "legal values"),
            ((f"`{name}`", _range(rule)) for name, rule in rules.items()),
        )
        if opcode == hw.Opcode.LINEAR:
            lines += _modes(MODES.items())
        if opcode == hw.Opcode.STORE:
            lines += _modes(SOURCES.items())
    lines += ["Fields that an operation does not list must be zero.", ""]
    lines += ["## Parameters in memory", ""]
    lines += ["Those of a weight row, in streaming order:", "", *_layout(hw.ROW_DTYPE)]
    lines += ["Those of an attention head:", "", *_layout(hw.HEAD_DTYPE)]
    lines += ["An entry of the profile, one per descriptor:", "", *_layout(hw.PROFILE_DTYPE)]
    lines += ["LayerNorm's gains are uint16, one per channel; a lookup table is 256 int8.", ""]
    lines += ["## Constants", ""]
    lines += _table(
        ("name", "value"),
        (
            (f"`{name}`", f"0x{value:08X}" if name == "IDENTITY" else str(value))
            for name, value in hw.CONSTANTS.items()
        ),
    )
    return "\n".join(lines)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """A table and the blank line after it."""
    escaped = [tuple(cell.replace("|", "\\|") for cell in row) for row in rows]
    text = [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *escaped)]
    return [*text, ""]


def _modes(modes: Iterable[tuple[enum.IntEnum, str]]) -> list[str]:
    rows = ((str(m.value), f"`{m.name}`", text) for m, text in modes)
    return _table(("mode", "name", "result"), rows)


def _span(low: int, width: int) -> str:
    return str(low) if width == 1 else f"{low} to {low + width - 1}"


def _range(rule: hw.Rule) -> str:
    text = str(rule.low) if rule.low == rule.high else f"{rule.low} to {rule.high}"
    return text + (f", multiples of {rule.multiple}" if rule.multiple > 1 else "")


def _layout(dtype: np.dtype[np.void]) -> list[str]:
    places = {name: entry[1] for name, entry in (dtype.fields or {}).items()}
    fields = sorted(places, key=lambda name: places[name])
    rows = ((str(places[name]), f"`{name}`", dtype[name].name) for name in fields)
    return _table((f"byte of {dtype.itemsize}", "name", "type"), rows)
