"""The native device: this machine's CPU executes a program's bytes in C.

The engine (quasar_runtime/devices/native) checks descriptors as the accelerator does, unpacks
weights once when a program is loaded, and returns the reference's bytes with every kernel set. A
run begins in `wait`, on the calling thread and threads - 1 helpers, with the interpreter lock
released.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from quasar_runtime.devices.base import Device, Job, Memory
from quasar_runtime.errors import (
    ArenaError,
    DeviceClosed,
    DeviceError,
    DeviceFault,
    DeviceNotFound,
    DeviceTimeout,
    did_you_mean,
)
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Cause
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.process import Owner

# Compiled, so that type checkers and a checkout that is not built yet do not see it.
_engine: Any = importlib.import_module("quasar_runtime.devices.native._engine")
_ffi: Any = _engine.ffi
_lib: Any = _engine.lib

MOST_THREADS = 256
SLICE = 0.05
"""Seconds of work between looks at Python's signals, so that an interrupt is answered."""


def available_kernels() -> list[str]:
    """The kernel sets that this CPU runs, fastest first."""
    names: list[str] = []
    while (name := _lib.q_kernels_name(len(names))) != _ffi.NULL:
        names.append(_ffi.string(name).decode())
    return names


def peak_macs(kernels: str, seconds: float = 0.2) -> float:
    """int8 multiply-accumulates per second of one core.

    Measured by the kernel set's dot product on registers alone; 0.0 where the set has no such
    instruction.
    """
    return float(_lib.q_kernels_peak(kernels.encode(), seconds))


class NativeDevice(Device):
    """The engine behind the device protocol.

    threads  threads that work on a run, by default the physical cores this process may use
    kernels  'amx', 'avx512vnni', 'avx2', 'neon' or 'scalar'; by default the fastest here

    DeviceNotFound for a kernel set that this CPU does not run, DeviceError for a thread count
    outside 1 to 256 or when memory is short.
    """

    name = "native"
    tick_hz = 1e9

    def __init__(
        self, overlay: Overlay, *, threads: int | None = None, kernels: str | None = None
    ) -> None:
        self._owner = Owner("native device")
        self.overlay = overlay
        self.threads = _cores() if threads is None else threads
        self.kernels = available_kernels()[0] if kernels is None else kernels
        self._memories: list[Memory] = []
        self._loaded: tuple[int, int, int] | None = None
        self._engine: Any = None
        if not 1 <= self.threads <= MOST_THREADS:
            raise DeviceError(f"{self.threads} threads; allowed are 1 to {MOST_THREADS}")
        known = available_kernels()
        if self.kernels not in known:
            raise DeviceNotFound(
                f"no kernels named '{self.kernels}' on this CPU"
                f"{did_you_mean(self.kernels, known)} Available: {', '.join(known)}"
            )
        fields = ("tokens", "rows", "depth", "act_words", "res_words", "logits", "read_ports")
        parameters = _ffi.new("q_overlay *", {f: getattr(overlay, f) for f in fields})
        self._engine = _lib.q_engine_new(parameters, self.kernels.encode(), self.threads)
        if self._engine == _ffi.NULL:
            self._engine = None
            raise DeviceError(
                f"the engine cannot start {self.threads} threads or is out of memory; "
                "use fewer threads"
            )

    def allocate(self, size: int) -> Memory:
        """Zeroed memory of `size` bytes, aligned to 64."""
        self._require_open()
        room = np.zeros(size + hw.ALIGNMENT, np.uint8)
        start = -room.ctypes.data % hw.ALIGNMENT
        memory = Memory(room[start : start + size], room.ctypes.data + start)
        self._memories.append(memory)
        return memory

    def free(self, memory: Memory) -> None:
        """Give memory back; ArenaError if it is not this device's."""
        self._require_open()
        if memory not in self._memories:
            raise ArenaError(f"memory at {memory.address:#x} is not from this device's allocate")
        if self._loaded and memory.address <= self._loaded[0] < memory.address + memory.array.size:
            self._loaded = None
        self._memories.remove(memory)

    def load(self, program: int, program_bytes: int, count: int) -> None:
        """Check the descriptors and unpack the weights. DeviceFault when it is refused."""
        engine = self._require_open()
        self._loaded = None
        cause = _lib.q_engine_load(
            engine, self._pointer(program, program_bytes, "program"), program_bytes, count
        )
        if cause < 0:
            raise DeviceError("no memory for the program's weights; close other models")
        if cause == Cause.START_WHILE_BUSY:
            raise DeviceError("a run is under way; wait for it, or reset", self.state())
        self._raise_fault(cause)
        self._loaded = (program, program_bytes, count)

    def submit(self, job: Job) -> None:
        """Take a run, which `wait` carries out. Loads the program if it was not loaded before.

        DeviceError while another is under way, DeviceFault when the program is refused, ArenaError
        when one of the areas is not inside memory of this device.
        """
        engine = self._require_open()
        if self._busy():
            raise DeviceError("a run is under way; wait for it, or reset", self.state())
        areas = {
            name: self._pointer(getattr(job, name), getattr(job, f"{name}_bytes"), name)
            for name in ("program", "image", "output", "profile")
        }
        if self._loaded != (job.program, job.program_bytes, job.count):
            self.load(job.program, job.program_bytes, job.count)
        sizes = {f"{name}_bytes": getattr(job, f"{name}_bytes") for name in areas}
        c_job = _ffi.new("q_job *", {"count": job.count, **areas, **sizes})
        self._raise_fault(_lib.q_engine_start(engine, c_job))

    def wait(self, timeout: float) -> None:
        """Carry out the run, looking at the clock between descriptors.

        DeviceTimeout when `timeout` seconds are over, the engine reset. An interrupt (Ctrl-C) also
        leaves it reset.
        """
        engine = self._require_open()
        if not self._busy():
            return
        deadline = time.monotonic() + timeout
        try:
            while (left := deadline - time.monotonic()) > 0:
                if _lib.q_engine_run(engine, int(min(left, SLICE) * 1e9)) == 0:
                    return
            state = self.state()
        except BaseException:
            self.reset()
            raise
        self.reset()
        raise DeviceTimeout(
            f"the run did not end within {timeout:g} s (stopped at descriptor "
            f"{state['ERROR_DESCRIPTOR']} of {state['DESCRIPTOR_COUNT']}); allow more time",
            state,
        )

    def state(self) -> dict[str, int]:
        """Every register by name."""
        engine = self._require_open()
        return {r.name: int(_lib.q_engine_register(engine, r.offset)) for r in hw.REGISTERS}

    def reset(self) -> None:
        """End a run in progress; the engine is idle afterwards."""
        _lib.q_engine_reset(self._require_open())

    def close(self) -> None:
        """Join the helper threads and free the memory; may be repeated."""
        if not self._owner.is_here():
            return  # the engine's helper threads are the parent's: joining them would never end
        if self._engine is not None:
            _lib.q_engine_free(self._engine)
            self._engine = None
        self._memories.clear()

    def describe(self) -> dict[str, str]:
        """Facts for people: kernels and threads."""
        return {
            "kernels": self.kernels,
            "threads": str(self.threads),
            "available": ", ".join(available_kernels()),
        }

    def _require_open(self) -> Any:
        self._owner.require()
        if self._engine is None:
            raise DeviceClosed("the native device is closed; open another")
        return self._engine

    def _busy(self) -> bool:
        status = _lib.q_engine_register(self._engine, hw.REGISTER["STATUS"].offset)
        return bool(status & hw.Status.BUSY)

    def _pointer(self, address: int, size: int, what: str) -> Any:
        """A C pointer to `size` bytes of this device's memory."""
        for m in self._memories:
            if m.address <= address and address + size <= m.address + m.array.size:
                break
        else:
            raise ArenaError(
                f"{what}: {size} bytes at {address:#x} are outside the memory of this device; "
                "use addresses from its allocate"
            )
        if address % hw.ALIGNMENT:
            raise ArenaError(
                f"{what}: address {address:#x} is not a multiple of {hw.ALIGNMENT} bytes"
            )
        return _ffi.cast("uint8_t *", address)

    def _raise_fault(self, cause: int) -> None:
        if cause == Cause.NONE:
            return
        state = self.state()
        raise DeviceFault(
            f"descriptor {state['ERROR_DESCRIPTOR']} was refused: {Cause(cause).name} at offset "
            f"{state['ERROR_ADDRESS_LO']}; compile the program for overlay '{self.overlay.name}'",
            state,
        )


def _cores() -> int:
    """Physical cores that this process may run on: hyperthreads of one core count once."""
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    if affinity is None:
        return os.cpu_count() or 1
    return len({_siblings(cpu) for cpu in affinity(0)})


def _siblings(cpu: int) -> str:
    """The hyperthreads that share a core with this one, or itself where the system does not say."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return path.read_text().strip()
    except OSError:
        return str(cpu)
