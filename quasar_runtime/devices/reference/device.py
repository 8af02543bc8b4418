"""The normative NumPy reference behind the device protocol: slow, for comparison only."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from quasar_runtime.devices.base import Device, Job, Memory
from quasar_runtime.devices.reference.executor import execute
from quasar_runtime.errors import ArenaError, DeviceFault, ProgramError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.process import Owner


class ReferenceDevice(Device):
    """Executes at submit; an address is an offset into the memories handed out, plus one page."""

    name = "reference"
    tick_hz = 1e9

    def __init__(self, overlay: Overlay) -> None:
        self._owner = Owner("reference device")
        self.overlay = overlay
        self._memories: list[Memory] = []
        self._next = 4096

    def allocate(self, size: int) -> Memory:
        """Zeroed memory of `size` bytes."""
        self._owner.require()
        memory = Memory(np.zeros(size, np.uint8), self._next)
        self._next += -(-size // 4096) * 4096
        self._memories.append(memory)
        return memory

    def free(self, memory: Memory) -> None:
        """Give memory back."""
        self._owner.require()
        self._memories.remove(memory)

    def _view(self, address: int, size: int) -> npt.NDArray[np.uint8]:
        for m in self._memories:
            if m.address <= address and address + size <= m.address + m.array.size:
                return m.array[address - m.address : address - m.address + size]
        raise ArenaError(f"{size} bytes at {address:#x} are outside the memory of this device")

    def submit(self, job: Job) -> None:
        """Run the job at once."""
        self._owner.require()
        profile = self._view(job.profile, job.profile_bytes).view(hw.PROFILE_DTYPE)
        start = time.perf_counter_ns()
        last = 0

        def done(number: int) -> None:
            nonlocal last
            now = time.perf_counter_ns() - start
            profile[number] = (last, now)
            last = now

        try:
            execute(
                self.overlay,
                self._view(job.program, job.program_bytes),
                job.count,
                self._view(job.image, job.image_bytes),
                self._view(job.output, job.output_bytes),
                done,
            )
        except ProgramError as e:
            raise DeviceFault(f"the reference refused the program: {e}") from e

    def wait(self, timeout: float) -> None:
        """Nothing to wait for: submit has run to the end."""

    def state(self) -> dict[str, int]:
        """STATUS alone: it is always idle."""
        return {"STATUS": int(hw.Status.IDLE)}

    def reset(self) -> None:
        """Nothing to reset."""

    def close(self) -> None:
        """Forget its memory; may be repeated."""
        if self._owner.is_here():
            self._memories.clear()
