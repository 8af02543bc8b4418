"""The native engine behind the accelerator's registers.

It runs in a thread of its own from a start until the run's end, as hardware does; whoever drives it
sees nothing but registers, memory and the interrupt.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import numpy as np

from quasar_runtime.devices.base import Job
from quasar_runtime.devices.board_sim.faults import NAMES, Faults
from quasar_runtime.devices.board_sim.memory import SimulatedMemory
from quasar_runtime.devices.native.device import NativeDevice
from quasar_runtime.devices.registers import AREAS, identity
from quasar_runtime.errors import DeviceFault
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Cause, Control, Status
from quasar_runtime.isa.overlay import Overlay

LONGEST_RUN = 3600.0
"""Seconds after which a run of the engine is given up; drivers have deadlines of their own."""


class Accelerator(Protocol):
    """What the simulated board needs of an accelerator."""

    def read(self, offset: int) -> int:
        """A register's value."""

    def write(self, offset: int, value: int) -> None:
        """Write a register."""

    def power_on(self) -> None:
        """As after loading its bitstream."""


class NativeAccelerator:
    """The register file in front of the native engine.

    interrupt  is told the level of the interrupt's line
    """

    def __init__(
        self,
        overlay: Overlay,
        engine: NativeDevice,
        memory: SimulatedMemory,
        faults: Faults,
        interrupt: Callable[[bool], None],
    ) -> None:
        self._overlay, self._engine, self._memory = overlay, engine, memory
        self._faults, self._interrupt = faults, interrupt
        self._lock = threading.RLock()
        self._run: threading.Thread | None = None
        self._stop = threading.Event()
        self._loaded: tuple[int, int, bytes] | None = None
        self._values: dict[str, int] = {}
        self.power_on()

    def power_on(self) -> None:
        """Start anew, as after a download."""
        self._abandon()
        self._faults.wedged = False
        with self._lock:
            self._values = {r.name: 0 for r in hw.REGISTERS} | identity(self._overlay)
            self._values["STATUS"] = Status.IDLE
            self._update_interrupt()

    def read(self, offset: int) -> int:
        """The 32-bit register at a byte offset."""
        with self._lock:
            name = NAMES.get(offset, "")
            return int(self._faults.registers.get(name, self._values.get(name, 0)))

    def write(self, offset: int, value: int) -> None:
        """Write the 32-bit register at a byte offset."""
        name = NAMES.get(offset, "")
        if name == "CONTROL":
            self._control(Control(value))
            return
        with self._lock:
            access = hw.REGISTER[name].access if name else "r"
            if access == "rw":
                self._values[name] = value
            elif access == "w1c":
                self._values[name] &= ~value
            self._update_interrupt()

    def _control(self, value: Control) -> None:
        if value & Control.RESET:
            self._abandon()
            with self._lock:
                self._values["STATUS"] = 0 if self._faults.wedged else Status.IDLE
                self._values["INTERRUPT_STATUS"] = self._values["ERROR_CAUSE"] = 0
                self._update_interrupt()
        elif value & Control.START:
            with self._lock:
                if self._values["STATUS"] & Status.BUSY:
                    self._values["ERROR_CAUSE"] = Cause.START_WHILE_BUSY
                    self._event(Status.BUSY | Status.ERROR, error=True)
                    return
                self._values["STATUS"] = Status.BUSY
                self._values["ERROR_CAUSE"] = 0
                self._stop = threading.Event()
                self._run = threading.Thread(target=self._execute, args=(self._stop,), daemon=True)
            self._run.start()

    def _abandon(self) -> None:
        """End a run without a result."""
        self._stop.set()
        if self._run is not None:
            self._run.join()
            self._run = None

    def _execute(self, stop: threading.Event) -> None:
        """A run, from start to interrupt."""
        if self._faults.silent:
            stop.wait()
            return
        fault = self._faults.error or self._compute()
        with self._lock:
            if stop.is_set():
                return
            if fault is None:
                self._event(Status.IDLE | Status.DONE, error=False)
                return
            cause, address = fault
            self._values["ERROR_CAUSE"] = cause
            self._values["ERROR_ADDRESS_LO"] = address & 0xFFFF_FFFF
            self._values["ERROR_ADDRESS_HI"] = address >> 32
            self._event(Status.ERROR, error=True)

    def _event(self, status: Status, *, error: bool) -> None:
        """A new status, and the interrupt that tells of it."""
        self._values["STATUS"] = status
        self._values["INTERRUPT_STATUS"] |= 2 if error else 1
        self._update_interrupt()

    def _update_interrupt(self) -> None:
        pending = self._values["INTERRUPT_STATUS"] & self._values["INTERRUPT_ENABLE"]
        self._interrupt(bool(pending))

    def _compute(self) -> tuple[Cause, int] | None:
        """The run itself. Returns cause and address where it fails."""
        areas: dict[str, int] = {}
        for area in AREAS:
            address, size = self._area(area)
            found = self._memory.engine_address(address, size)
            if found is None:
                reads = area in ("program", "image")
                return Cause.READ_DECERR if reads else Cause.WRITE_DECERR, address
            areas |= {area: found, f"{area}_bytes": size}
        job = Job(count=self._values["DESCRIPTOR_COUNT"], **areas)
        try:
            self._load(job)
            self._engine.submit(job)
            self._engine.wait(LONGEST_RUN)
        except DeviceFault as fault:
            state = fault.state
            self._values["ERROR_DESCRIPTOR"] = state["ERROR_DESCRIPTOR"]
            return Cause(state["ERROR_CAUSE"]), state["ERROR_ADDRESS_LO"]
        self._finish(job)
        return None

    def _area(self, name: str) -> tuple[int, int]:
        """Physical address and bytes of one of the four areas."""
        low, high, size = (self._values[f"{name.upper()}_{part}"] for part in ("LO", "HI", "BYTES"))
        return high << 32 | low, size

    def _load(self, job: Job) -> None:
        """Have the engine unpack the weights, unless the very same bytes are loaded."""
        found = self._memory.find(*self._area("program"))
        assert found is not None, "the area has been found before"
        buffer, offset = found
        program = buffer.ddr[offset : offset + job.program_bytes].tobytes()
        if (job.program, job.count, program) != self._loaded:
            self._engine.load(job.program, job.program_bytes, job.count)
            self._loaded = (job.program, job.count, program)

    def _finish(self, job: Job) -> None:
        """Times in the accelerator's cycles, and results to where the CPU sees them."""
        per_ns = self._overlay.clock_mhz / 1000
        address, _ = self._area("profile")
        found = self._memory.find(address, job.count * hw.PROFILE_BYTES)
        if found is not None:
            buffer, offset = found
            times = buffer.ddr[offset : offset + job.count * hw.PROFILE_BYTES].view("<u8")
            times[:] = (times * per_ns).astype(np.uint64)
        state = self._engine.state()
        cycles = int((state["CYCLES_HI"] << 32 | state["CYCLES_LO"]) * per_ns)
        self._values["CYCLES_LO"], self._values["CYCLES_HI"] = cycles & 0xFFFF_FFFF, cycles >> 32
        for area in ("output", "profile"):
            self._memory.device_wrote(*self._area(area))
