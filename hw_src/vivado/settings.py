"""What the Tcl needs to know of an overlay, from the descriptions: a Tcl list of keys and values.

python hw_src/vivado/settings.py OVERLAY [--jobs N] > settings.tcl
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from quasar_runtime.bitstream import block_design as bd
from quasar_runtime.bitstream import handoff as hwh
from quasar_runtime.errors import QuasarError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.overlay import Overlay, load_overlay

Value: TypeAlias = "str | int | list[Value]"

ACCESS = {"r": "read-only", "rw": "read-write", "w1c": "read-write"}
WRITTEN = {"r": "modify", "rw": "modify", "w1c": "oneToClear"}


def settings(overlay: Overlay, jobs: int) -> dict[str, Value]:
    """Every key that build.tcl reads."""
    return {
        "vivado": bd.VIVADO,
        "part": bd.PART,
        "board": bd.BOARD,
        "overlay": overlay.name,
        "design": bd.DESIGN,
        "processor": bd.PROCESSOR,
        "accelerator": bd.ACCELERATOR,
        "accelerator_vlnv": bd.ACCELERATOR_VLNV,
        "controller": bd.INTERRUPT_CONTROLLER,
        "parameters": _flat(
            (f"CONFIG.{name}", str(value))
            for name, value in hwh.accelerator_parameters(overlay).items()
        ),
        "hp_ports": [hp for _, hp in bd.memory_ports(overlay)],
        "pl_clock_mhz": bd.PL_CLOCK_MHZ,
        "clock_mhz": overlay.clock_mhz,
        "registers_base": f"0x{bd.REGISTERS_BASE:X}",
        "controller_base": f"0x{bd.INTERRUPT_CONTROLLER_BASE:X}",
        "registers_range": f"0x{bd.REGISTERS_RANGE:X}",
        "memory_windows": _flat(
            (name, f"0x{base:X}", f"0x{size:X}")
            for name, (base, size) in (("DDR_LOW", bd.DDR_LOW), ("DDR_HIGH", bd.DDR_HIGH))
        ),
        "registers": _flat(_register(register) for register in hw.REGISTERS),
        "jobs": jobs,
    }


def _register(r: hw.Register) -> tuple[Value, ...]:
    """name, offset, access, modified write value, description, (name, low, width, text) a field."""
    fields = _flat((b.name, b.low, b.width, b.doc) for b in hw.BITS.get(r.name, ()))
    return r.name, f"0x{r.offset:02X}", ACCESS[r.access], WRITTEN[r.access], r.doc, fields


def _flat(rows: Iterable[Iterable[Value]]) -> list[Value]:
    return [value for row in rows for value in row]


def tcl(value: Value) -> str:
    """One element of a Tcl list."""
    if isinstance(value, list):
        return "{" + " ".join(tcl(v) for v in value) + "}"
    text = str(value)
    assert not set(text) & set("\\{}"), f"cannot quote {text!r}"
    return "{" + text + "}"


def main() -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("overlay")
    parser.add_argument("--jobs", type=int, default=4, help="Vivado's parallel jobs")
    arguments = parser.parse_args()
    try:
        found = settings(load_overlay(arguments.overlay), arguments.jobs)
    except QuasarError as e:
        print(f"Error: {e}", file=sys.stderr)
        return 1
    for key, value in found.items():
        print(key, tcl(value))
    return 0


if __name__ == "__main__":
    sys.exit(main())
