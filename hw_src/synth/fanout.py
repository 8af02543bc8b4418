"""The nets that drive most, across modules, counted on the mapped netlist.

    python -m hw_src.synth.fanout b8192          the nets of more than LOADS loads
    python -m hw_src.synth.fanout b8192 200      of more than 200

A load is an input of a LUT, of a register (its data, enable or reset), of a memory or of a
multiplier; clocks are left out. Nothing is placed: Vivado duplicates registers and gives resets and
enables of thousands of loads a clock buffer, which is not counted here.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw_src.synth import netlist, synth, yosys
from hw_src.synth.levels import LUT, Pin

LOADS = 500
CLOCK = re.compile(r"CLK|WCLK|CLKA.*|CLKB.*|CLKARDCLK|CLKBWRCLK")
CONTROL = ("CE", "R", "S")
REGISTER = re.compile(r"FD|RAM|SRL|DSP")


@dataclass(frozen=True)
class Net:
    """What drives a net and how many inputs it drives, of which enables and resets."""

    module: str
    name: str
    register: bool
    loads: int
    control: int


@dataclass(frozen=True)
class Loads:
    """The loads that a module adds to the nets of its ports, and the nets that end inside it.

    inputs   (all loads, those on enables and resets) inside the module, per input pin
    outputs  the driver of each output pin, with the loads that it has inside
    nets     nets that end inside, with how often each occurs
    """

    inputs: dict[Pin, tuple[int, int]]
    outputs: dict[Pin, Net]
    nets: Counter[Net]


def _pins(cell: dict[str, Any], direction: str) -> Iterator[tuple[str, int, int]]:
    """(port, number, bit) of a cell's inputs or outputs."""
    for port, bits in cell["connections"].items():
        if cell["port_directions"][port] == direction:
            yield from ((port, i, bit) for i, bit in enumerate(bits) if isinstance(bit, int))


def analyse(plain: str, mapped: dict[str, Any], children: dict[str, Loads], least: int) -> Loads:
    """A module's loads from its mapped netlist; `nets` has those of `least` loads or more."""
    names = {int(bit): name for bit, name in mapped.get("names", {}).items()}
    loads: Counter[int] = Counter()
    control: Counter[int] = Counter()
    drivers: dict[int, tuple[str, str, bool, int, int]] = {}
    nets: Counter[Net] = Counter()
    for name, cell in mapped["cells"].items():
        child = children.get(cell["type"])
        if child:
            nets += child.nets
        for port, i, bit in _pins(cell, "input"):
            kind = cell["type"]
            inside = child.inputs.get(f"{port}:{i}", (0, 0)) if child else (1, 0)
            if not child and (CLOCK.fullmatch(port) or (port == "C" and kind.startswith("FD"))):
                continue
            if not child and kind.startswith("FD") and port in CONTROL:
                inside = (1, 1)
            loads[bit] += inside[0]
            control[bit] += inside[1]
        for port, i, bit in _pins(cell, "output"):
            driver = child.outputs.get(f"{port}:{i}") if child else None
            if driver:
                what = (driver.module, driver.name, driver.register, driver.loads, driver.control)
            else:
                register = bool(REGISTER.match(cell["type"])) and not LUT.fullmatch(cell["type"])
                what = (plain, names.get(bit, name), register, 0, 0)
            drivers[bit] = what
    ports = mapped["ports"]
    pins = {
        direction: {
            f"{port}:{i}": bit
            for port, what in ports.items()
            if what["direction"] == direction
            for i, bit in enumerate(what["bits"])
            if isinstance(bit, int)
        }
        for direction in ("input", "output")
    }
    found = {
        bit: Net(module, name, register, loads[bit] + inside, control[bit] + inside_control)
        for bit, (module, name, register, inside, inside_control) in drivers.items()
    }
    leaving = set(pins["output"].values())
    nets += Counter(n for b, n in found.items() if n.loads >= least and b not in leaving)
    return Loads(
        inputs={pin: (loads[bit], control[bit]) for pin, bit in pins["input"].items()},
        outputs={pin: found[bit] for pin, bit in pins["output"].items() if bit in found},
        nets=nets,
    )


def highest(overlay: dict[str, Any], top: str, least: int) -> list[tuple[Net, int]]:
    """(net, how many there are) of a design, the highest fan-out first."""
    modules = netlist.distinct(synth.elaborated(overlay, top), top)
    yosys.map_modules(modules, synth.say)
    found: dict[str, Loads] = {}
    for name, module in modules.items():
        mapped = yosys.mapped(module, modules)["netlist"]
        found[name] = analyse(module.plain, mapped, found, least)
    last = next(reversed(found.values()))
    return sorted(last.nets.items(), key=lambda item: -item[0].loads)


def table(nets: list[tuple[Net, int]]) -> str:
    """Nets of one register array in one line: the highest of them."""
    lines: dict[tuple[str, str, bool], list[int]] = {}
    for net, number in nets:
        key = (net.module, re.sub(r"\[\d+\]$", "", net.name), net.register)
        line = lines.setdefault(key, [0, net.loads, net.control])
        line[0] += number
    return "\n".join(
        f"{loads:7,} loads ({control:6,} enables, resets) {number:6,} x {module}.{name}"
        f"{'' if register else '  (logic)'}"
        for (module, name, register), (number, loads, control) in lines.items()
    )


def main() -> int:
    """Print the nets with the highest fan-out; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("overlay", nargs="?", default="b1024", help="a name, or an overlay.json")
    parser.add_argument("loads", nargs="?", type=int, default=LOADS)
    parser.add_argument("--top", default="quasar_top", help="a module alone")
    given = parser.parse_args()
    named = synth.OVERLAYS / given.overlay / "overlay.json"
    source = named if named.exists() else Path(given.overlay)
    print(table(highest(json.loads(source.read_text()), given.top, given.loads)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
