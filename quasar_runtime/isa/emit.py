"""Generate the C header, the SystemVerilog package and the page of registers and descriptors
from `quasar_runtime.isa.interface`.

python -m quasar_runtime.isa.emit           rewrite them, in a source checkout
python -m quasar_runtime.isa.emit --check   exit 1 when one is stale
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from quasar_runtime.isa import interface as hw
from quasar_runtime.isa import tables
from quasar_runtime.isa.emit_page import page

ROOT = Path(__file__).resolve().parents[2]
C_HEADER = Path("quasar_runtime/devices/native/engine/quasar_interface.h")
SV_PACKAGE = Path("hw_src/rtl/generated/quasar_pkg.sv")
PAGE = Path("docs/registers.md")
ORIGIN = "Generated from quasar_runtime/isa/interface.py by quasar_runtime.isa.emit."
ENUMS: tuple[tuple[str, Iterable[Any]], ...] = (
    ("OPCODE", hw.Opcode),
    ("EPILOGUE", hw.Epilogue),
    ("SOURCE", hw.Source),
    ("CAUSE", hw.Cause),
)
FLAGS: tuple[tuple[str, Iterable[Any]], ...] = (
    ("STATUS", hw.Status),
    ("CONTROL", hw.Control),
)
TABLES = (
    ("EXP", tables.EXP, 7, "EXP[i] = round(127 exp(-i / 45))"),
    ("RSQRT", tables.RSQRT, 16, "RSQRT[j] ~ 2^15 / sqrt((j + 64.5) / 64)"),
    ("RECIPROCAL", tables.RECIPROCAL, 16, "RECIPROCAL[j] ~ 2^15 / ((j + 256.5) / 256)"),
)


def c_header() -> str:
    """The text of quasar_interface.h."""
    lines = [f"/* {ORIGIN} */", "#ifndef QUASAR_INTERFACE_H", "#define QUASAR_INTERFACE_H", ""]
    lines += ["#include <stdint.h>", ""]
    lines += [f"#define Q_{name} {_c_number(value)}" for name, value in hw.CONSTANTS.items()]
    lines += [f"#define Q_RSQRT_FIRST {tables.RSQRT_FIRST}", ""]
    for prefix, members in (*ENUMS, *FLAGS):
        entries = ", ".join(f"Q_{prefix}_{m.name} = {m.value}" for m in members)
        lines += _wrap(f"enum q_{prefix.lower()} {{ {entries} }};"), ""
    lines += ["/* A descriptor: little-endian, as it lies in memory. */", "typedef struct {"]
    lines += [f"    uint{f.size * 8}_t {f.name}; /* {f.offset}: {f.doc} */" for f in hw.FIELDS]
    lines += ["} q_descriptor;", ""]
    lines += ["/* Parameters of a weight row, and of an attention head. */"]
    lines += _c_struct("q_row", hw.ROW_DTYPE.fields or {}, hw.ROW_BYTES)
    lines += _c_struct("q_head", hw.HEAD_DTYPE.fields or {}, hw.HEAD_BYTES)
    lines += ["typedef struct {", "    uint64_t begin, end;", "} q_profile;", ""]
    lines += [
        "/* Legal values of every field of every operation, in field order: low to high, at",
        "   multiples of `multiple`. A field that an operation does not use must be zero. */",
        "typedef struct {",
        "    uint8_t opcode, offset, size;",
        "    uint32_t low, high, multiple;",
        "} q_rule;",
        "static const q_rule Q_RULES[] = {",
    ]
    for opcode, rules in hw.RULES.items():
        for f in hw.FIELDS[1:]:
            r = rules.get(f.name, hw.Rule(0, 0))
            lines.append(
                f"    {{Q_OPCODE_{opcode.name}, {f.offset}, {f.size}, {r.low}u, {r.high}u, "
                f"{r.multiple}u}}, /* {f.name} */"
            )
    lines += ["};", ""]
    lines += [f"#define Q_REG_{r.name} 0x{r.offset:02X}" for r in hw.REGISTERS]
    for name, values, bits, doc in TABLES:
        kind = "uint8_t" if bits <= 8 else "uint16_t"
        lines += ["", f"/* {doc} */", f"static const {kind} Q_{name}[{len(values)}] = {{"]
        lines += [_wrap(", ".join(str(v) for v in values), "    "), "};"]
    return "\n".join([*lines, "", "#endif", ""])


def sv_package() -> str:
    """The text of quasar_pkg.sv."""
    lines = [f"// {ORIGIN}", "", "package quasar_pkg;", ""]
    for name, value in hw.CONSTANTS.items():
        lines.append(f"  localparam int unsigned {name} = {_sv_number(value)};")
    lines += [f"  localparam int unsigned RSQRT_FIRST = {tables.RSQRT_FIRST};", ""]
    for prefix, members in ENUMS:
        width = 8
        entries = ", ".join(f"{prefix}_{m.name} = {width}'d{m.value}" for m in members)
        lines += [
            _wrap(f"typedef enum logic [{width - 1}:0] {{ {entries} }} {prefix.lower()}_e;", "  "),
            "",
        ]
    for prefix, flags in FLAGS:
        lines += [
            f"  localparam int unsigned {prefix}_{m.name}_BIT = {m.value.bit_length() - 1};"
            for m in flags
        ]
    lines += ["", "  // A descriptor; byte 0 of memory is bits 7:0.", "  typedef struct packed {"]
    lines += [
        f"    logic [{f.size * 8 - 1}:0] {f.name};  // byte {f.offset}: {f.doc}"
        for f in reversed(hw.FIELDS)
    ]
    lines += ["  } descriptor_t;", ""]
    lines += ["  // Parameters of a weight row; byte 0 of memory is bits 7:0."]
    lines += _sv_struct("row_t", hw.ROW_DTYPE.fields or {}, hw.ROW_BYTES)
    lines += ["  // Parameters of an attention head."]
    lines += _sv_struct("head_t", hw.HEAD_DTYPE.fields or {}, hw.HEAD_BYTES)
    lines += _sv_rules()
    lines += [
        f"  localparam logic [7:0] REG_{r.name} = 8'h{r.offset:02X};  // {r.access} {r.doc}"
        for r in hw.REGISTERS
    ]
    for name, values, bits, doc in TABLES:
        lines += [
            "",
            f"  // {doc}. An array, which tools map as a ROM.",
            f"  localparam logic [{bits - 1}:0] {name}[{len(values)}] = '{{",
            _wrap(", ".join(f"{bits}'d{v}" for v in values), "    "),
            "  };",
        ]
    return "\n".join([*(line.rstrip() for line in lines), "", "endpackage", ""])


def _sv_rules() -> list[str]:
    """A function that finds the first field of a descriptor outside its range."""
    lines = [
        "  typedef struct packed {",
        "    cause_e cause;",
        "    logic [7:0] offset;  // of the field, in bytes",
        "  } violation_t;",
        "",
        "  // The first field outside its range, in field order; CAUSE_NONE when all are legal.",
        "  // The layer number may be anything, so that its bits stay unused here.",
        "  // verilator lint_off UNUSEDSIGNAL",
        "  function automatic violation_t check_fields(input descriptor_t d);",
        "    check_fields = '{cause: CAUSE_NONE, offset: 8'd0};",
        "    case (d.opcode)",
    ]
    for opcode, rules in hw.RULES.items():
        lines.append(f"      OPCODE_{opcode.name}: begin")
        for f in reversed(hw.FIELDS[1:]):  # the last assignment wins: the first field is reported
            r, width = rules.get(f.name, hw.Rule(0, 0)), f.size * 8
            misaligned = "MISALIGNED" if r.multiple == hw.ALIGNMENT else "BAD_FIELD"
            if r.multiple > 1:
                test = f"(d.{f.name} % {width}'d{r.multiple}) != {width}'d0"
                lines.append(_sv_report(test, misaligned, f.offset))
            tests = [f"d.{f.name} < {width}'d{r.low}"] if r.low else []
            if r.high < 2**width - 1:
                tests.append(f"d.{f.name} > {width}'d{r.high}")
            if tests:
                lines.append(_sv_report(" || ".join(tests), "BAD_FIELD", f.offset))
        lines.append("      end")
    lines += [
        "      default: check_fields = '{cause: CAUSE_BAD_OPCODE, offset: 8'd0};",
        "    endcase",
        "  endfunction",
        "  // verilator lint_on UNUSEDSIGNAL",
        "",
    ]
    return lines


def _sv_report(test: str, cause: str, offset: int) -> str:
    return f"        if ({test}) check_fields = '{{cause: CAUSE_{cause}, offset: 8'd{offset}}};"


def _c_number(value: int) -> str:
    return f"0x{value:08X}u" if value >= 2**31 or value == hw.IDENTITY else str(value)


def _sv_number(value: int) -> str:
    return f"32'h{value:08X}" if value >= 2**31 or value == hw.IDENTITY else str(value)


def _layout(fields: Any, size: int) -> list[tuple[str, int, int, bool]]:
    """(name, offset, bytes, signed) of a dtype's fields in order, gaps named 'reserved<offset>'."""
    result, at = [], 0
    for offset, name, dtype in sorted((o, n, d) for n, (d, o) in fields.items()):
        if offset > at:
            result.append((f"reserved{at}", at, offset - at, False))
        result.append((name, offset, dtype.itemsize, dtype.kind == "i"))
        at = offset + dtype.itemsize
    if at < size:
        result.append((f"reserved{at}", at, size - at, False))
    return result


def _c_struct(name: str, fields: Any, size: int) -> list[str]:
    lines = ["typedef struct {"]
    for field, _, width, signed in _layout(fields, size):
        if field.startswith("reserved"):
            lines.append(f"    uint8_t {field}[{width}];")
        else:
            lines.append(f"    {'' if signed else 'u'}int{width * 8}_t {field};")
    return [*lines, f"}} {name};", ""]


def _sv_struct(name: str, fields: Any, size: int) -> list[str]:
    lines = ["  typedef struct packed {"]
    for field, _, width, signed in reversed(_layout(fields, size)):
        lines.append(f"    logic {'signed ' if signed else ''}[{width * 8 - 1}:0] {field};")
    return [*lines, f"  }} {name};", ""]


def _wrap(text: str, indent: str = "", width: int = 96) -> str:
    lines, line = [], indent
    for word in text.split():
        if len(line) + len(word) + 1 > width and line.strip():
            lines.append(line.rstrip())
            line = indent
        line += word + " "
    return "\n".join([*lines, line.rstrip()])


def outputs() -> Iterable[tuple[Path, str]]:
    """(path from the repository's root, text) of every generated file."""
    yield C_HEADER, c_header()
    yield SV_PACKAGE, sv_package()
    yield PAGE, page(ORIGIN)


def main(arguments: list[str]) -> int:
    """Write the generated files, or with --check report the stale ones; returns the exit code."""
    stale = 0
    for path, text in outputs():
        target = ROOT / path
        if "--check" not in arguments:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        elif not target.is_file() or target.read_text(encoding="utf-8") != text:
            print(f"{path} is stale: run python -m quasar_runtime.isa.emit")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
