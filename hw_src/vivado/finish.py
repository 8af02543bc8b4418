"""Check what Vivado built and put it into the overlay's folder, with checksums.

python -m hw_src.vivado.finish b1024 build/vivado/b1024
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from quasar_runtime.bitstream import block_design as bd
from quasar_runtime.bitstream import handoff as hwh
from quasar_runtime.bitstream.package import load_package, verify_package, write_checksums
from quasar_runtime.errors import OverlayError, QuasarError
from quasar_runtime.isa.overlay import Overlay

REPORTS = ("timing.rpt", "utilization.rpt", "utilization_tree.rpt")


def check_handoff(text: str, overlay: Overlay) -> None:
    """Compare a handoff of Vivado's with the one that the descriptions give.

    Raises OverlayError with the first of its facts that differ: cells, address map, registers and
    their fields, interrupts.
    """
    found, expected = facts(text), facts(hwh.generate(overlay))
    for topic, wanted in expected.items():
        missing = wanted - found[topic]
        # Vivado may list the interconnects' own parts beside our cells.
        extra = set() if topic == "cells" else found[topic] - wanted
        if missing or extra:
            raise OverlayError(
                f"the handoff's {topic} differ from the description: "
                f"missing {sorted(missing)[:3]}, not expected {sorted(extra)[:3]}; "
                "block_design.tcl and quasar_runtime/bitstream/block_design.py disagree"
            )


def facts(text: str) -> dict[str, set[tuple[object, ...]]]:
    """What matters to a driver, by topic."""
    modules = {
        m.attrib["INSTANCE"]: m for m in ElementTree.fromstring(text.encode()).iter("MODULE")
    }
    ours = [modules[name] for name in (bd.PROCESSOR, bd.ACCELERATOR) if name in modules]
    registers = modules.get(bd.ACCELERATOR, Element("MODULE"))
    return {
        "cells": {(m.get("INSTANCE"), m.get("VLNV")) for m in modules.values()},
        "addresses": {_range(m, r) for m in ours for r in m.iter("MEMRANGE")},
        "registers": {_register(r) for r in registers.iter("REGISTER")},
        "fields": {_field(r, f) for r in registers.iter("REGISTER") for f in r.iter("FIELD")},
        "interrupts": {
            (m.get("INSTANCE"), p.get("NAME"), c.get("INSTANCE"), c.get("PORT"))
            for m in modules.values()
            for p in m.iter("PORT")
            if p.get("NAME") in ("irq", "intr", "pl_ps_irq0")
            for c in p.iter("CONNECTION")
        },
    }


def _range(module: Element, r: Element) -> tuple[object, ...]:
    a = r.attrib
    span = (int(a["BASEVALUE"], 16), int(a["HIGHVALUE"], 16))
    return (module.get("INSTANCE"), a["MASTERBUSINTERFACE"], a["INSTANCE"], *span)


def _properties(element: Element) -> dict[str, str]:
    return {p.attrib["NAME"]: p.attrib["VALUE"] for p in element.findall("PROPERTY")}


def _register(register: Element) -> tuple[object, ...]:
    p = _properties(register)
    return register.get("NAME"), int(p["ADDRESS_OFFSET"], 0), p["ACCESS"]


def _field(register: Element, field: Element) -> tuple[object, ...]:
    p = _properties(field)
    return (register.get("NAME"), field.get("NAME"), int(p["BIT_OFFSET"]), int(p["BIT_WIDTH"]))


def finish(name: str, built: Path) -> None:
    """Copy bitstream, handoff and reports from `built` to the overlay's folder."""
    package = load_package(name)
    check_handoff((built / f"{name}.hwh").read_text(encoding="utf-8"), package.overlay)
    for file in (f"{name}.bit", f"{name}.hwh", *REPORTS):
        shutil.copyfile(built / file, package.folder / file)
    write_checksums(package.folder)
    verify_package(load_package(name))
    print(f"{package.folder}: {name}.bit, {name}.hwh, SHA256SUMS, {', '.join(REPORTS)}")


def main() -> int:
    """Finish the build that the command line names; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("overlay", help="its name")
    parser.add_argument("folder", type=Path, help="what Vivado built: .bit, .hwh and reports")
    given = parser.parse_args()
    try:
        finish(given.overlay, given.folder)
    except QuasarError as e:
        print(f"Error: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
