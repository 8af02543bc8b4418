"""What a design must not contain.

Latches, conflicting or missing drivers, loops, paths of too many levels, memories in the wrong kind
of cell, logic that nothing reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from hw_src.synth.levels import RAM, Arcs
from hw_src.synth.netlist import Module, memories

TOP = "quasar_top"
LEVELS = 8
"""Most logic levels between registers: 300 MHz before placement, docs/hardware-timing.md."""

ROOM = "whoever writes has counted the room (an assertion says so)"
PASSES = "of LayerNorm's two passes only one needs it"
PASS_OUTPUTS = ("reading_o", "phase_o", "word_o")
CASCADES = {
    **dict.fromkeys(("packed_dot", "separated_dot", "two_dot"), "dsp"),
    "dual_dot": "controlled_dsp",
}
INTENDED = {
    **{(cascade, dsp, "p_o"): "only the last sum leaves it" for cascade, dsp in CASCADES.items()},
    **{(c, dsp, "cascade_o"): "the last has nothing above it" for c, dsp in CASCADES.items()},
    **{(c, "lane_tree", "carry_o"): "a lane without" for c in ("two_cell", "separated_cell")},
    ("requantise", "dsp", "cascade_o"): "no cascade",
    ("softmax", "dsp", "cascade_o"): "no cascade",
    ("read_client", "fifo", "ready_o"): ROOM,
    ("read_client", "fifo_block", "ready_o"): ROOM,
    ("weight_stream", "fifo", "ready_o"): ROOM,
    ("weight_stream", "fifo", "valid_o"): "a LINEAR that begins was announced (an assertion)",
    ("prefetch", "fifo", "ready_o"): ROOM,
    ("store_unit", "fifo", "ready_o"): ROOM,
    **{("layernorm_unit", "norm_words", port): PASSES for port in PASS_OUTPUTS},
    ("store_unit", "fifo", "valid_o"): "an answer comes to a request (an assertion)",
    ("descriptor_fetch", "read_client", "job_ready_o"): "one table, one job",
}
"""Outputs that nothing reads, and why: (module, module inside, port) -> reason."""


def problems(module: Module, result: dict[str, Any], modules: dict[str, Module]) -> list[str]:
    """Everything that is wrong with one mapped module."""
    netlist = result["netlist"]
    cells = Counter(cell["type"] for cell in netlist["cells"].values())
    found = [*result["source"], *result["mapped"], *_latches(cells)]
    found += [
        *_memories(module, cells),
        *_removed(module, cells),
        *_unread(module, netlist, modules),
    ]
    return [f"{module.plain}: {text}" for text in dict.fromkeys(found)]


def paths(module: Module, arcs: Arcs) -> list[str]:
    """What is wrong with a module's paths, those through its children included."""
    found = [f"combinational loop at {net}" for net in arcs.loops]
    if arcs.longest > LEVELS:
        begin, end = arcs.path
        found.append(f"{arcs.longest} levels from {begin} to {end}, more than {LEVELS}")
    if module.plain == TOP:
        # IHI 0022, "Handshake process": a manager or subordinate has no such path.
        found += [
            f"a path without a register from {source} to {target}"
            for target, sources in arcs.through.items()
            for source in sources
        ]
    return [f"{module.plain}: {text}" for text in found]


def _latches(cells: Counter[str]) -> Iterator[str]:
    for cell, number in cells.items():
        if cell.startswith(("LD", "$_DLATCH", "$dlatch")):
            yield f"{number} latches ({cell})"


def _memories(module: Module, cells: Counter[str]) -> Iterator[str]:
    """Each memory lies where its ram_style says, and no memory elsewhere."""
    styles = {style for _, style, _ in memories(module.body)}
    distributed = any(RAM.match(cell) and not cell.startswith("RAMB") for cell in cells)
    block = any(cell.startswith("RAMB") for cell in cells)
    for name, style, bits in memories(module.body):
        if style not in ("block", "distributed"):
            yield f"memory {name} of {bits} bits has no ram_style"
        elif not (block if style == "block" else distributed):
            yield f"memory {name} of {bits} bits is not in {style} memory"
    if distributed and "distributed" not in styles:
        yield "distributed memory where none was asked for"
    if block and "block" not in styles:
        yield "block memory where none was asked for"


def _removed(module: Module, cells: Counter[str]) -> Iterator[str]:
    """Instances that synthesis dropped since nothing reads their outputs."""
    for child, number in module.children.items():
        if cells[child] != number:
            yield f"{number - cells[child]} of {number} instances of {child} are unused"


def _unread(module: Module, netlist: dict[str, Any], modules: dict[str, Module]) -> Iterator[str]:
    """Outputs of instances of which nothing reads any bit."""
    read = {
        bit
        for cell in netlist["cells"].values()
        for port, bits in cell["connections"].items()
        if cell["port_directions"][port] != "output"
        for bit in bits
    }
    read |= {
        bit
        for port in netlist["ports"].values()
        if port["direction"] == "output"
        for bit in port["bits"]
    }
    for cell in netlist["cells"].values():
        if cell["type"] not in modules:
            continue
        plain = modules[cell["type"]].plain
        for port, bits in cell["connections"].items():
            unread = cell["port_directions"][port] == "output" and not read & set(bits)
            if unread and (module.plain, plain, port) not in INTENDED:
                yield f"nothing reads output {port} of {plain}"
