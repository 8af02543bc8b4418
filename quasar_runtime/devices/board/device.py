"""The board device: the accelerator on a ZCU102, through PYNQ.

Memory is contiguous and uncached. The CPU only writes programs and images, front to back, and
reads back a few KiB of results, so that a cache saves nothing; and PYNQ 4 can only flush and
invalidate a whole buffer, which would throw away the pixels that a decoder is writing into the next
slot. What is left to do is to drain the CPU's write buffers before a start, which `flush` does.

A run is waited for by interrupt, or by polling where the interrupt cannot be heard. However the
process ends (but for SIGKILL and its like), the accelerator is stopped before its memory is freed.
"""

from __future__ import annotations

import time
import weakref

from quasar_runtime.bitstream import package as overlay_package
from quasar_runtime.bitstream.package import Package, load_package
from quasar_runtime.devices.base import Device, Job, Memory
from quasar_runtime.devices.board.fabric import Fabric, board_of, import_pynq
from quasar_runtime.devices.board.hardware import Hardware
from quasar_runtime.devices.board.lock import BoardLock
from quasar_runtime.devices.registers import AREAS, INTERRUPTS, cycles, fault, write_job
from quasar_runtime.errors import (
    ArenaError,
    DeviceClosed,
    DeviceError,
    DeviceFault,
    DeviceTimeout,
    OverlayError,
)
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Control, Status
from quasar_runtime.isa.overlay import DEFAULT_OVERLAY, Overlay, overlay_names
from quasar_runtime.process import Owner

LOOK = 0.05
"""Seconds between looks at STATUS while waiting for the interrupt."""
SHORTEST_PAUSE, LONGEST_PAUSE = 50e-6, 1e-3
"""Seconds between two looks when polling; the pause doubles from the one to the other."""


class BoardDevice(Device):
    """The accelerator on this machine's board.

    overlay  name or Overlay; by default b1024 where its bitstream is there, else the largest that
             has one

    Opening takes the board for this process, loads the bitstream and checks that it is the
    overlay's. Raises DeviceNotFound without PYNQ or a board, OverlayError when there is no
    bitstream or it is another's, DeviceError when the board is busy or the bitstream cannot be
    loaded; nothing is kept then.
    """

    name = "board"

    def __init__(self, overlay: str | Overlay | None = None) -> None:
        self._owner = Owner("board device")
        package = _package(overlay)
        bitstream = overlay_package.bitstream(package.name)
        self.overlay = package.overlay
        self.tick_hz = self.overlay.clock_mhz * 1e6
        pynq = import_pynq()
        board = board_of(pynq)
        self._pynq = str(pynq.__version__)
        self._running = False
        self._values: dict[str, int] = {}
        self._hardware = Hardware(BoardLock(str(board.tag)))
        self._finish = weakref.finalize(self, self._hardware.close)
        try:
            self._hardware.open(Fabric(pynq, board, self.overlay, bitstream))
        except BaseException:
            self.close()
            raise

    def allocate(self, size: int) -> Memory:
        """`size` bytes, zeroed. The array must not be touched after `free` or `close`.

        ArenaError when the board has no such contiguous memory.
        """
        return self._open().allocate(size)

    def free(self, memory: Memory) -> None:
        """Return memory from allocate. DeviceError while a run is under way."""
        hardware = self._open()
        if memory not in hardware.buffers:
            raise ArenaError(f"memory at {memory.address:#x} is not from this device's allocate")
        if self._running and self.read("STATUS") & Status.BUSY:
            raise DeviceError("a run is under way and may use this memory; wait for it, or reset")
        hardware.free(memory)

    def flush(self, memory: Memory, offset: int, size: int) -> None:
        """Drain the CPU's write buffers. ArenaError for a range outside `memory`."""
        self._open().check_range(memory, offset, size)
        self._hardware.drain()

    def invalidate(self, memory: Memory, offset: int, size: int) -> None:
        """Nothing to do, since nothing is cached. ArenaError for a range outside `memory`."""
        self._open().check_range(memory, offset, size)

    def submit(self, job: Job) -> None:
        """Write the job's registers and start.

        DeviceError while another run is under way, ArenaError when one of the areas is not inside
        memory of this device.
        """
        hardware = self._open()
        for area in AREAS:
            hardware.check_area(area, getattr(job, area), getattr(job, f"{area}_bytes"))
        status = self.read("STATUS")
        if status & Status.BUSY:
            raise DeviceError("a run is under way; wait for it, or reset", self.state())
        if status & Status.ERROR:
            self.reset()
        write_job(self._set, job)
        hardware.arm()
        self._running = True
        self.write("CONTROL", Control.START)

    def wait(self, timeout: float) -> None:
        """Wait until the run ends.

        DeviceTimeout when that takes more than `timeout` seconds, DeviceFault when it ended in the
        error state. Also after Ctrl-C the accelerator is stopped.
        """
        self._open()
        if not self._running:
            return
        try:
            status = self._wait_until(time.monotonic() + timeout)
        except BaseException:
            self.reset()
            raise
        if status & Status.BUSY:
            state = self.state()
            self.reset()
            raise DeviceTimeout(
                f"the run did not end within {timeout:g} s (at descriptor "
                f"{state['ERROR_DESCRIPTOR']} of {state['DESCRIPTOR_COUNT']}, {cycles(state)} "
                "cycles) and was stopped; allow more time, or look into docs/board.md",
                state,
            )
        self._running = False
        if status & Status.ERROR:
            state = self.state()
            raise DeviceFault(fault(state), state)

    def state(self) -> dict[str, int]:
        """Every register by name."""
        return {register.name: self.read(register.name) for register in hw.REGISTERS}

    def reset(self) -> None:
        """Idle, by the CONTROL register, or where that does not help by loading the bitstream."""
        self._values.clear()
        self._open().stop()
        self._running = False

    def read(self, register: str) -> int:
        """A register's value, by its name in docs/registers.md."""
        return self._open().fabric.read(register)

    def write(self, register: str, value: int) -> None:
        """Write a register, by its name in docs/registers.md."""
        self._open().fabric.write(register, value)

    def close(self) -> None:
        """Stop the accelerator and free its memory; may be repeated."""
        self._finish()

    def describe(self) -> dict[str, str]:
        """Facts for people: bitstream, clock, interrupt, buffers."""
        hardware = self._open()
        used = sum(memory.array.size for memory in hardware.buffers)
        return {
            "pynq": self._pynq,
            "clock": f"{self.overlay.clock_mhz} MHz",
            "pl_clk0": f"{hardware.fabric.clock_mhz:g} MHz read back",
            "interrupt": hardware.line.path if hardware.line else f"polled: {hardware.silence}",
            "memory": f"{used} bytes",
        }

    def _set(self, register: str, value: int) -> None:
        """Write a register, unless it has the value: from one run to the next, few change, and an
        access from Python takes as long as thousands of the accelerator's cycles.
        """
        if hw.REGISTER[register].access == "rw" and self._values.get(register) == value:
            return
        self.write(register, value)
        self._values[register] = value

    def _wait_until(self, deadline: float) -> int:
        """Wait until the run is over, or until the deadline. Returns STATUS."""
        hardware, pause = self._open(), SHORTEST_PAUSE
        while (status := self.read("STATUS")) & Status.BUSY:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if hardware.line is None:
                time.sleep(min(pause, left))
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            heard = hardware.listen(min(LOOK, left))
            status = self.read("STATUS")
            if not status & Status.BUSY:
                hardware.count_interrupt(heard)
                break
            if heard:  # not the run's end: listen again
                self.write("INTERRUPT_STATUS", INTERRUPTS)
                hardware.arm()
        return status

    def _open(self) -> Hardware:
        self._owner.require()
        if not self._finish.alive:
            raise DeviceClosed("the board device is closed; open a new one")
        return self._hardware


def _package(overlay: str | Overlay | None) -> Package:
    """The package whose bitstream is to be loaded."""
    if isinstance(overlay, Overlay):
        package = load_package(overlay.name)
        if package.overlay != overlay:
            raise OverlayError(
                f"{package.folder} has other parameters than the overlay '{overlay.name}' that was "
                "given; a bitstream exists for the folder's only: open the board by name"
            )
        return package
    if overlay is not None:
        return load_package(overlay)
    packages = {name: load_package(name) for name in overlay_names()}
    built = [p for p in packages.values() if p.bitstream is not None]
    default = packages.get(DEFAULT_OVERLAY)
    if default in built:
        return default
    if not built:
        raise OverlayError(
            f"no overlay has a bitstream: {overlay_package.how_to_get(DEFAULT_OVERLAY)}"
        )
    return built[-1]
