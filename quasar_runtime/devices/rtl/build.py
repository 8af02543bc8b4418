"""Building the accelerator's simulation: Verilator turns the RTL into C++, g++ into a library.

Everything is cached by content (`quasar_runtime.cache` says where): a library is named after the
hash of all sources, the overlay's parameters, the flags and the tools. A second process waits for
the first one's build; a build that fails or is interrupted leaves nothing, and one that is killed a
folder that the next one removes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from quasar_runtime.cache import VARIABLE, cache_folder, unusable
from quasar_runtime.devices.rtl.tools import (
    CXX_FLAGS,
    Toolchain,
    missing_tools,
    running,
    toolchain,
    verilator,
)
from quasar_runtime.errors import DeviceError, QuasarError
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.resources import data_folder

RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
TRACES = {"": None, "fst": "verilated_fst_c.cpp", "vcd": "verilated_vcd_c.cpp"}
FAST = ["--x-assign", "fast", "--x-initial", "fast", "--no-assert"]
CHECKED = ["--x-assign", "unique", "--x-initial", "unique", "--assert"]
"""Assertions on, and every register and memory starts with random bits."""

GENERATED = Path("generated") / "quasar_pkg.sv"
"""The package that is generated from the interface, in hw_src/rtl."""

UNIT_BYTES = 4 << 20
"""Most text of Verilator's that is compiled at once: bounds the compiler's memory."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class Build:
    """What is built.

    sources  folder of the SystemVerilog, with subfolders: quasar_top.sv, packages *_pkg.sv, one
             module per file
    trace    '', 'fst' or 'vcd': with the recorder of that format, about a third slower
    checked  with assertions and random first contents, for verification
    """

    overlay: Overlay
    sources: Path
    trace: str = ""
    checked: bool = False

    @property
    def packages(self) -> list[Path]:
        """The generated package first: the others may import it."""
        packages = [p for p in self.files if p.name.endswith("_pkg.sv")]
        if not any(p.name == GENERATED.name for p in packages):  # the tests' stand-ins share it
            packages.append(data_folder("hw_src") / "rtl" / GENERATED)
        return sorted(packages, key=lambda p: (p.name != GENERATED.name, p.name))

    @property
    def files(self) -> list[Path]:
        """Every file of `sources`, by name."""
        return sorted(self.sources.rglob("*.sv"), key=lambda p: p.name)

    @property
    def design(self) -> list[str | Path]:
        """Verilator's arguments that name the sources and set the parameters."""
        top = self.sources / "quasar_top.sv"
        values = [f"-G{name}={value}" for name, value in self.parameters.items()]
        folders = dict.fromkeys([self.sources, *(p.parent for p in self.files)])
        searched = [part for folder in folders for part in ("-y", folder)]
        return ["--top-module", "quasar_top", *values, *searched, *self.packages, top]

    @property
    def parameters(self) -> dict[str, int]:
        """Parameters of module quasar_top."""
        o = self.overlay
        return {
            "TOKENS": o.tokens,
            "ROWS": o.rows,
            "DEPTH": o.depth,
            "ACT_WORDS": o.act_words,
            "RES_WORDS": o.res_words,
            "LOGITS": o.logits,
            "READ_PORTS": o.read_ports,
            "CLOCK_KHZ": o.clock_mhz * 1000,
        }


def unavailable() -> str | None:
    """Why the accelerator cannot be simulated here, or None."""
    folder = data_folder("hw_src")
    for file in (folder / "rtl" / "quasar_top.sv", folder / "sim" / "sim_main.cpp"):
        if not os.path.isfile(file):
            return f"there is no {file}; install Quasar again, or unset QUASAR_HW_SRC"
    return missing_tools()


def standard(overlay: Overlay) -> Build:
    """The build of the accelerator that the rtl device takes when nothing is recorded."""
    return Build(overlay, (data_folder("hw_src") / "rtl").resolve())


def cached(build: Build) -> bool:
    """Whether the cache has the simulation; False where it cannot be built."""
    try:
        return os.path.isfile(_library_path(build, toolchain().target))
    except QuasarError:
        return False


def library(build: Build, report: Report) -> Path:
    """The shared library of a build, made when the cache has none.

    `report` gets a line for each step, again every second with the time that has gone by, and an
    empty one at the end. DeviceNotFound when a tool is missing or does not work, DeviceError when
    one fails, with the first of its errors, and when the cache cannot be written.
    """
    tools = toolchain()
    result = _library_path(build, tools.target)
    if os.path.isfile(result):
        return result
    steps = Steps(build.overlay.name, report)
    try:
        return _made(build, tools, result, steps)
    except OSError as e:
        raise unusable(e, cache_folder()) from None
    finally:
        steps.end()


def _made(build: Build, tools: Toolchain, result: Path, steps: Steps) -> Path:
    """The library, built unless another process has done so meanwhile."""
    with _locked(result.with_suffix(".lock"), steps):
        if not result.is_file():
            with _work(result.with_suffix(".build")) as work:
                copied = _snapshot(build, work)
                result = _library_path(copied, tools.target)
                os.replace(Tools(tools, result.parent, steps).build(copied, work), result)
    return result


def _library_path(build: Build, target: str) -> Path:
    """Where the cache keeps a build, named after its content."""
    name = f"{build.overlay.name}{'-checked' if build.checked else ''}"
    name += f"-{build.trace}" if build.trace else ""
    return cache_folder() / "rtl" / f"{name}-{_fingerprint(build, target)}.so"


@contextmanager
def _work(folder: Path) -> Iterator[Path]:
    """An empty folder to build in, named `folder` and something new, which goes afterwards.

    The lock beside it is held: others of that name were left by builds that were killed, and go.
    Its own is new, as such a build's compiler may live on for a while, and then writes what it has
    compiled to the path that it was given.
    """
    for left in folder.parent.glob(f"{folder.name}*"):
        shutil.rmtree(left, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


class Steps:
    """The steps of a build as lines: which one, and for how long the build has been at work."""

    def __init__(self, overlay: str, report: Report) -> None:
        self._head = f"rtl: building the simulation of '{overlay}', "
        self._report = report
        self._begin = time.monotonic()
        self._step = ""

    def __call__(self, step: str) -> None:
        """Begin a step."""
        self._step = step
        self.tick()

    def tick(self) -> None:
        """Say the step again, with the time."""
        self._report(f"{self._head}{time.monotonic() - self._begin:.0f} s: {self._step}")

    def end(self) -> None:
        """Clear the line that was reported last."""
        if self._step:
            self._report("")


def _snapshot(build: Build, work: Path) -> Build:
    """The build on a copy of its sources, which nobody edits while it is built."""
    sources = work / "rtl"
    sources.mkdir()
    for path in {*build.files, *build.packages}:
        shutil.copyfile(path, sources / path.name)
    return replace(build, sources=sources)


def _units(work: Path) -> list[Path]:
    """Verilator's files as fewer translation units: most of a small file's time goes into
    Verilator's headers. once*.cpp holds what runs before the first cycle.
    """
    files = sorted(work.glob("Vquasar*.cpp"))
    once = [path for path in files if "__Slow" in path.name or "__Syms" in path.name]
    units = []
    for name, members in (("once", once), ("cycle", [p for p in files if p not in once])):
        parts: list[list[Path]] = [[]]
        size = 0
        for path in members:
            size += path.stat().st_size
            if size > UNIT_BYTES and parts[-1]:
                parts.append([])
                size = path.stat().st_size
            parts[-1].append(path)
        for number, part in enumerate(parts):
            unit = work / f"{name}{number}.cpp"
            unit.write_text("".join(f'#include "{path.name}"\n' for path in part))
            units.append(unit)
    return units


def lint_command(build: Build) -> tuple[list[str], dict[str, str]]:
    """Verilator's lint of a build's sources with every warning: (command, environment)."""
    folder, waivers = verilator(), data_folder("hw_src") / "lint.vlt"
    command = [folder / "bin" / "verilator_bin", "--lint-only", "-Wall", waivers, *build.design]
    return [str(part) for part in command], {**os.environ, "VERILATOR_ROOT": str(folder)}


@dataclass(frozen=True)
class Tools:
    """The tools of a machine, and where their results are kept."""

    chain: Toolchain
    folder: Path
    step: Steps

    def build(self, build: Build, work: Path) -> Path:
        """Verilate, compile and link in the folder `work`; returns the library there."""
        sim = data_folder("hw_src") / "sim"
        self.step("translating the RTL to C++")
        command: list[str | Path] = [self.chain.verilator / "bin" / "verilator_bin"]
        command += ["--cc", "--prefix", "Vquasar", "-Mdir", work, "-O3", "--output-split", "20000"]
        command += ["--no-timing", "-Wno-lint", "-Wno-style"]
        command += CHECKED if build.checked else FAST
        command += [f"--trace-{build.trace}"] if build.trace else []
        command += build.design
        self._run(command, work)
        flags = [*CXX_FLAGS, f"-I{work}", f"-I{sim}"]
        if build.trace:
            flags.append(f"-DTRACE_{build.trace.upper()}")
        sources = [*_units(work), sim / "sim_main.cpp"]
        objects = []
        for number, source in enumerate(sources, 1):
            self.step(f"compiling part {number} of {len(sources)}")
            # What runs once, before the first cycle, need not be fast; a checked build runs a few
            # short programs. -O2 and -O3 compile for twice as long as -O1, for no faster a run.
            level = "-Og" if build.checked else "-O1"
            level = "-O0" if source.name.startswith("once") else level
            objects.append(self._compile(source, work, [level, *flags]))
        runtime = [*RUNTIME, TRACES[build.trace]]
        objects += [self._runtime(name) for name in runtime if name]
        made = work / "simulation.so"
        libraries = ["-pthread", *(["-llz4", "-lz"] if build.trace == "fst" else [])]
        self._run([*self.chain.compiler, "-shared", "-o", made, *objects, *libraries], work)
        return made

    def _runtime(self, name: str) -> Path:
        """An object of Verilator's own runtime, compiled once a machine."""
        result = self.folder / f"{Path(name).stem}-{self.chain.target}.o"
        with _locked(result.with_suffix(".lock"), self.step):
            if not result.is_file():
                self.step(f"compiling {name}")
                with _work(result.with_suffix(".build")) as work:
                    source = self.chain.verilator / "include" / name
                    os.replace(self._compile(source, work, ["-O2", *CXX_FLAGS]), result)
        return result

    def _compile(self, source: Path, work: Path, flags: list[str]) -> Path:
        result = work / f"{source.stem}.o"
        include = self.chain.verilator / "include"
        includes = [f"-I{include}", f"-I{include / 'vltstd'}"]
        self._run([*self.chain.compiler, *flags, *includes, "-c", source, "-o", result], work)
        return result

    def _run(self, command: list[str | Path], work: Path) -> None:
        messages = work / "messages.txt"
        with (
            messages.open("w") as stderr,
            running(
                [str(part) for part in command],
                cwd=work,
                env={**self.chain.environment, "TMPDIR": str(work)},  # goes when the work ends
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            ) as process,
        ):
            while not _ended(process):
                self.step.tick()
        if process.returncode:
            raise DeviceError(
                f"building the simulation failed: {Path(command[0]).name} exited with "
                f"{process.returncode}: {_first_errors(messages.read_text(errors='replace'))}"
            )


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended, after at most a second."""
    try:
        process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return False
    return True


def _first_errors(text: str) -> str:
    """What went wrong, from a tool's messages."""
    lines = [line for line in text.splitlines() if "rror" in line]
    if any("lz4.h" in line or "zlib.h" in line for line in lines):
        return "FST needs the headers of lz4 and zlib; install liblz4-dev and zlib1g-dev or use VCD"
    if full := next((line for line in text.splitlines() if "No space left" in line), None):
        return f"{full}; make room, or set {VARIABLE} to a folder that has some"
    return "; ".join(lines[:3]) or text[-400:]


def _fingerprint(build: Build, target: str) -> str:
    """A hash of everything that a library depends on."""
    digest = hashlib.sha256(
        f"{target} {build.parameters} {build.trace} {build.checked} {FAST} {CHECKED}".encode()
    )
    sim = data_folder("hw_src") / "sim"
    files = {*build.files, *build.packages, sim / "sim_main.cpp", *sim.glob("*.h")}
    try:
        for path in [Path(__file__), *sorted(files, key=lambda p: p.name)]:
            data = path.read_bytes()
            digest.update(f"\n{path.name} {len(data)}\n".encode() + data)
    except OSError as e:
        raise DeviceError(
            f"{e.filename}: {e.strerror}; the simulation is built from it: install Quasar again"
        ) from None
    return digest.hexdigest()[:20]


@contextmanager
def _locked(path: Path, step: Steps) -> Iterator[None]:
    """Hold a file lock: other processes that build the same thing wait. A killed process holds
    none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        while not _lock(file):
            step("waiting for another process that builds it")
            time.sleep(0.2)
        yield  # closing the file unlocks it


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
