"""Logic levels of mapped modules: the longest path from register to register, across modules.

A level is a LUT or a carry chain entered from the side; wide multiplexers and the carry along a
chain count nothing. What has no registers of its own on the way counts for the LUTs that take as
long: a multiplier without registers MULTIPLIER levels, a block RAM's read without an output
register MEMORY. This is a count on Yosys' netlist, not a timing: nothing is placed.

A module is summarised once (`Arcs`): levels from each input to a register, from a register to each
output, and from inputs to outputs. Its parents take it as a cell.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

Bit = int
Pin = str  # a port and the number of its bit, "data_i:7"

MULTIPLIER = 6
MEMORY = 3
LUT = re.compile(r"LUT[1-6]|INV")
RAM = re.compile(r"RAM\d+[XM]")
WRITE_PIN = re.compile(r"DI|D$|WE|WCLK|CLK")
DSP_REGISTERS = ("AREG", "BREG", "MREG", "PREG")
ROLES = {"CE": " (enable)", "R": " (reset)", "S": " (set)"}


@dataclass(frozen=True)
class Arcs:
    """A module's paths by pin, in levels; `longest` of those that begin and end in registers."""

    longest: int
    path: tuple[str, str]  # what the longest one begins and ends at
    to_register: dict[Pin, int]
    from_register: dict[Pin, int]
    through: dict[Pin, dict[Pin, int]]  # output -> input -> levels
    loops: list[str]


class _Graph:
    """A module's combinational edges, and where paths begin and end."""

    def __init__(self) -> None:
        self.before: dict[Bit, list[tuple[Bit, int]]] = defaultdict(list)
        self.starts: dict[Bit, int] = {}
        self.ends: dict[Bit, int] = {}
        self.start_names: dict[Bit, str] = {}
        self.end_names: dict[Bit, str] = {}

    def edge(self, source: Any, target: Any, levels: int) -> None:
        if isinstance(source, int) and isinstance(target, int):
            self.before[target].append((source, levels))

    def start(self, bit: Any, levels: int, name: str) -> None:
        if isinstance(bit, int) and self.starts.get(bit, -1) < levels:
            self.starts[bit], self.start_names[bit] = levels, name

    def end(self, bit: Any, levels: int, name: str) -> None:
        if isinstance(bit, int) and self.ends.get(bit, -1) < levels:
            self.ends[bit], self.end_names[bit] = levels, name


def _carry(graph: _Graph, pins: dict[str, list[Any]]) -> None:
    """Along the chain nothing, from the side one level, and only upwards."""
    outputs = [(i, bit) for port in ("O", "CO") for i, bit in enumerate(pins.get(port, []))]
    for port in ("CI", "CYINIT", "CI_TOP", "S", "DI"):
        side = port in ("S", "DI")
        for i, source in enumerate(pins.get(port, [])):
            for j, target in outputs:
                if not side or j >= i:
                    graph.edge(source, target, int(side))


def _dsp(graph: _Graph, pins: dict[str, list[Any]], parameters: dict[str, str]) -> None:
    """A multiplier: with registers a start and an end, without any an edge."""

    def has(register: str) -> bool:
        return int(parameters.get(register, "1"), 2) > 0

    combinational = not any(map(has, DSP_REGISTERS))
    operands = [bit for port in ("A", "B", "C", "D") for bit in pins.get(port, [])]
    results = [bit for port in ("P", "CARRYOUT") for bit in pins.get(port, [])]
    for bit in operands:
        graph.end(bit, 0 if has("AREG") and has("BREG") else MULTIPLIER // 2, "DSP48E2")
        for result in results if combinational else []:
            graph.edge(bit, result, MULTIPLIER)
    if not combinational:
        for bit in results:
            graph.start(bit, 0 if has("PREG") else MULTIPLIER // 2, "DSP48E2")


def _primitive(
    graph: _Graph, kind: str, cell: dict[str, Any], outputs: list[str], names: dict[Bit, str]
) -> None:
    """A cell of the device; a flip-flop goes by its output's name."""
    pins: dict[str, list[Any]] = cell["connections"]
    inputs = [port for port in pins if port not in outputs]
    results = [bit for port in outputs for bit in pins[port]]
    if kind.startswith("CARRY"):
        _carry(graph, pins)
    elif kind == "DSP48E2":
        _dsp(graph, pins, cell["parameters"])
    elif LUT.fullmatch(kind) or kind.startswith("MUXF"):
        for port in inputs:
            for result in results:
                graph.edge(pins[port][0], result, 0 if kind.startswith("MUXF") else 1)
    else:  # whatever has state
        reads = RAM.match(kind) or kind.startswith("SRL")
        name = next((names[bit] for bit in results if bit in names), kind)
        for bit in results:
            start = MEMORY if kind.startswith("RAMB") else 1 if reads else 0
            graph.start(bit, start, names.get(bit, kind))
        for port in inputs:
            role = ROLES.get(port, "") if kind.startswith("FD") else ""
            for bit in pins[port]:
                graph.end(bit, 0, name + role)
                if reads and not WRITE_PIN.match(port):
                    for result in results:
                        graph.edge(bit, result, 1)


def _child(graph: _Graph, name: str, arcs: Arcs, pins: dict[str, list[Any]]) -> None:
    """An instance of another module."""

    def bit(pin: Pin) -> Any:
        port, number = pin.rsplit(":", 1)
        return pins[port][int(number)]

    for pin, levels in arcs.to_register.items():
        graph.end(bit(pin), levels, f"{name}.{pin}")
    for pin, levels in arcs.from_register.items():
        graph.start(bit(pin), levels, f"{name}.{pin}")
    for output, sources in arcs.through.items():
        for pin, levels in sources.items():
            graph.edge(bit(pin), bit(output), levels)


def _order(graph: _Graph, bits: list[Bit]) -> tuple[list[Bit], list[Bit]]:
    """Bits with those they depend on first, and bits on loops."""
    order: list[Bit] = []
    loops: list[Bit] = []
    state: dict[Bit, int] = {}  # 1 under way, 2 done
    for first in bits:
        stack = [(first, iter(graph.before.get(first, ())))] if first not in state else []
        state.setdefault(first, 1)
        while stack:
            bit, rest = stack[-1]
            for source, _ in rest:
                if source not in state:
                    state[source] = 1
                    stack.append((source, iter(graph.before.get(source, ()))))
                    break
                if state[source] == 1:
                    loops.append(source)
            else:
                state[bit] = 2
                order.append(bit)
                stack.pop()
    return order, loops


def analyse(netlist: dict[str, Any], children: dict[str, Arcs]) -> Arcs:
    """A module's arcs from its mapped netlist (`ports`, `cells`, `names` of registers' bits)."""
    graph = _Graph()
    names = {int(bit): name for bit, name in netlist.get("names", {}).items()}
    for name, cell in netlist["cells"].items():
        kind = cell["type"]
        if kind in children:
            _child(graph, name, children[kind], cell["connections"])
        else:
            outputs = [p for p, d in cell["port_directions"].items() if d == "output"]
            outputs = [p for p in outputs if p in cell["connections"]]
            _primitive(graph, kind, cell, outputs, names)
    inputs: dict[Bit, Pin] = {}
    outputs_: dict[Pin, Bit] = {}
    for port, what in netlist["ports"].items():
        for i, bit in enumerate(what["bits"]):
            if isinstance(bit, int) and what["direction"] == "input":
                inputs[bit] = f"{port}:{i}"
            elif isinstance(bit, int):
                outputs_[f"{port}:{i}"] = bit
    order, loops = _order(graph, [*graph.ends, *outputs_.values()])
    forward, origin = _from_registers(graph, order)
    reached = [(forward[bit] + levels, bit) for bit, levels in graph.ends.items() if bit in forward]
    longest, last = max(reached, default=(0, -1))
    first = origin.get(last, -1)
    # An input that is an output as well, or a register's, has no path of its own.
    through = _through(graph, order, inputs, outputs_)
    return Arcs(
        longest=longest,
        path=(graph.start_names.get(first, ""), graph.end_names.get(last, "")),
        to_register=_to_registers(graph, order, inputs),
        from_register={p: forward[b] for p, b in outputs_.items() if b in forward},
        through=through,
        loops=sorted({names.get(bit, str(bit)) for bit in loops}),
    )


def _from_registers(graph: _Graph, order: list[Bit]) -> tuple[dict[Bit, int], dict[Bit, Bit]]:
    """Levels from a register to each bit that one reaches, and the bit where that path begins."""
    levels: dict[Bit, int] = {}
    origin: dict[Bit, Bit] = {}
    for bit in order:
        if bit in graph.starts:
            levels[bit], origin[bit] = graph.starts[bit], bit
        for source, step in graph.before.get(bit, ()):
            if source in levels and levels[source] + step > levels.get(bit, -1):
                levels[bit], origin[bit] = levels[source] + step, origin[source]
    return levels, origin


def _to_registers(graph: _Graph, order: list[Bit], inputs: dict[Bit, Pin]) -> dict[Pin, int]:
    """Levels from each input to a register, of those that reach one."""
    levels = dict(graph.ends)
    for bit in reversed(order):
        if bit in levels:
            for source, step in graph.before.get(bit, ()):
                levels[source] = max(levels[bit] + step, levels.get(source, 0))
    return {pin: levels[bit] for bit, pin in inputs.items() if bit in levels}


def _through(
    graph: _Graph, order: list[Bit], inputs: dict[Bit, Pin], outputs: dict[Pin, Bit]
) -> dict[Pin, dict[Pin, int]]:
    """Levels from inputs to outputs."""
    wanted = set()
    waiting = list(outputs.values())
    while waiting:
        bit = waiting.pop()
        if bit not in wanted:
            wanted.add(bit)
            waiting += [source for source, _ in graph.before.get(bit, ())]
    reach: dict[Bit, dict[Pin, int]] = {}
    for bit in order:
        if bit not in wanted:
            continue
        found = {inputs[bit]: 0} if bit in inputs else {}
        for source, step in graph.before.get(bit, ()):
            for pin, levels in reach.get(source, {}).items():
                found[pin] = max(levels + step, found.get(pin, 0))
        reach[bit] = found
    return {pin: reach[bit] for pin, bit in outputs.items() if reach.get(bit)}
