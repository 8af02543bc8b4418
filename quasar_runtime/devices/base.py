"""What every device offers: memory, a start with four base addresses, a bounded wait, registers.

A device knows no model. The session writes programs and images into memory that the device
allocated, submits, waits, and reads the output and profile areas.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import NoReturn, Protocol

import numpy as np
import numpy.typing as npt

from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.process import refuse_to_copy


@dataclass(frozen=True, eq=False)
class Memory:
    """Contiguous memory that the device can reach.

    array    uint8, what the CPU sees
    address  what is written to the device's base registers; a multiple of 64
    """

    array: npt.NDArray[np.uint8]
    address: int


class Area(Protocol):
    """A part of a device's memory: a Memory, or a block of one."""

    @property
    def array(self) -> npt.NDArray[np.uint8]:
        """What the CPU sees, uint8."""

    @property
    def address(self) -> int:
        """What the device sees."""


@dataclass(frozen=True)
class Job:
    """One run: device addresses and sizes in bytes of the four areas, and the table's length.

    `of` makes one of areas that are filled by what they hold.
    """

    count: int
    program: int
    program_bytes: int
    image: int
    image_bytes: int
    output: int
    output_bytes: int
    profile: int
    profile_bytes: int

    @classmethod
    def of(cls, count: int, program: Area, image: Area, output: Area, profile: Area) -> Job:
        """A job of `count` descriptors on four whole areas."""
        areas = (program, image, output, profile)
        return cls(count, *(value for a in areas for value in (a.address, int(a.array.size))))


class Device(ABC):
    """A running accelerator, or its equal. Not thread-safe: one job at a time.

    It belongs to the process that opened it: in a forked child every call raises DeviceClosed, but
    close, which does nothing there.

    name       'native', 'rtl' or 'board'
    overlay    the parameters for which programs must be compiled
    tick_hz    ticks per second of the profile area: the accelerator's clock, or 1e9 for nanoseconds
    timeout    seconds that a run may take where nobody says how many; infinite for a simulation,
               which has a deadline in cycles
    """

    name: str
    overlay: Overlay
    tick_hz: float
    timeout: float = 30.0

    @abstractmethod
    def allocate(self, size: int) -> Memory:
        """`size` bytes of contiguous memory, zeroed. Freed by close at the latest."""

    @abstractmethod
    def free(self, memory: Memory) -> None:
        """Return memory from allocate."""

    def load(self, program: int, program_bytes: int, count: int) -> None:  # noqa: B027
        """Called after a program's bytes at this device address were written or changed.

        The native engine unpacks weights here; others need nothing. DeviceFault when the program
        is refused.
        """

    def flush(self, memory: Memory, offset: int, size: int) -> None:  # noqa: B027
        """Make what the CPU wrote visible to the device."""

    def invalidate(self, memory: Memory, offset: int, size: int) -> None:  # noqa: B027
        """Make what the device wrote visible to the CPU."""

    @abstractmethod
    def submit(self, job: Job) -> None:
        """Start a run. DeviceError when one is under way."""

    @abstractmethod
    def wait(self, timeout: float) -> None:
        """Wait until the run ends, at most `timeout` seconds.

        DeviceTimeout past it, with the registers' state, the accelerator stopped and reset;
        DeviceFault when it ended in its error state.
        """

    @property
    def cycles(self) -> int | None:
        """Cycles of the accelerator's last run, None on a device that counts none."""
        return None

    @abstractmethod
    def state(self) -> dict[str, int]:
        """Registers by name (those of access 'r' and 'rw' that say how it stands)."""

    @abstractmethod
    def reset(self) -> None:
        """Back to idle from any state."""

    @abstractmethod
    def close(self) -> None:
        """Stop and free everything. May be called twice."""

    def describe(self) -> dict[str, str]:
        """Facts for people: kernels, threads, versions."""
        return {}

    def __reduce__(self) -> NoReturn:
        raise refuse_to_copy(self)

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
