"""The Verilated RTL as the board's accelerator: its registers and its interrupt, cycle by cycle."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from quasar_runtime.devices.board_sim.faults import NAMES, Faults
from quasar_runtime.devices.board_sim.memory import SimulatedMemory
from quasar_runtime.devices.rtl.device import RtlDevice
from quasar_runtime.isa.interface import Control, Status

CYCLES = 500
"""Cycles between two looks at whether somebody wants to use the registers."""
IDLE_CYCLES = 20
"""Cycles that pass with every access to a register, so that what it starts begins."""


class RtlEngine(RtlDevice):
    """The simulation, stepped by hand instead of by `wait`."""

    def register(self, name: str) -> int:
        """A register by name."""
        return self._read(name)

    def set_register(self, name: str, value: int) -> None:
        """Write a register by name."""
        self._write(name, value)

    def advance(self, cycles: int) -> bool:
        """Let time pass. Returns the level of the interrupt's line."""
        handle = self._require_open()
        self._checked(self._library.sim_run(handle, cycles))
        return bool(self._library.sim_irq(handle))

    def reset_line(self) -> None:
        """Hold the reset line for 16 cycles."""
        self._checked(self._library.sim_reset(self._require_open(), 16))


class RtlAccelerator:
    """The RTL's own registers; a thread is its clock while a run is under way."""

    def __init__(
        self,
        engine: RtlEngine,
        memory: SimulatedMemory,
        faults: Faults,
        interrupt: Callable[[bool], None],
    ) -> None:
        self._engine, self._memory = engine, memory
        self._faults, self._interrupt = faults, interrupt
        self._lock = threading.Lock()
        self._clock: threading.Thread | None = None
        self._stop = threading.Event()

    def power_on(self) -> None:
        """Start anew, as after a download."""
        self._stop.set()
        if self._clock is not None:
            self._clock.join()
        self._faults.wedged = False
        with self._lock:
            self._engine.reset_line()
            self._interrupt(self._engine.advance(IDLE_CYCLES))

    def read(self, offset: int) -> int:
        """The 32-bit register at a byte offset."""
        name = NAMES.get(offset)
        with self._lock:
            value = 0 if name is None else self._engine.register(name)
        if name == "STATUS" and self._faults.wedged:
            return 0
        return self._faults.registers.get(name or "", value)

    def write(self, offset: int, value: int) -> None:
        """Write the 32-bit register at a byte offset."""
        name = NAMES.get(offset)
        if name is None:
            return
        with self._lock:
            self._engine.set_register(name, value)
            self._interrupt(self._engine.advance(IDLE_CYCLES))
        if name == "CONTROL" and value & (Control.START | Control.RESET):
            self._start_clock()

    def _start_clock(self) -> None:
        if self._clock is None or not self._clock.is_alive():
            self._stop.clear()
            self._clock = threading.Thread(target=self._tick, daemon=True)
            self._clock.start()

    def _tick(self) -> None:
        """Until nothing is under way."""
        while not self._stop.is_set():
            with self._lock:
                level = self._engine.advance(CYCLES)
                if not self._engine.register("STATUS") & Status.BUSY:
                    self._results()
                    self._interrupt(level)
                    return
                self._interrupt(level)
            time.sleep(0)  # whoever waits for the lock gets it

    def _results(self) -> None:
        for area in ("OUTPUT", "PROFILE"):
            low, high, size = (
                self._engine.register(f"{area}_{part}") for part in ("LO", "HI", "BYTES")
            )
            self._memory.device_wrote(high << 32 | low, size)
