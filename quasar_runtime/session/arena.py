"""One block of device memory, divided once.

The session asks the device for a single contiguous allocation and lays program, output, profile and
image slots into it. Nothing is returned piece by piece, so nothing can fragment or leak: closing
the arena returns the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quasar_runtime.devices.base import Device, Memory
from quasar_runtime.errors import ArenaError
from quasar_runtime.isa import interface as hw


def aligned(size: int, alignment: int = hw.ALIGNMENT) -> int:
    """size rounded up to a multiple of alignment."""
    return -(-size // alignment) * alignment


@dataclass(frozen=True, eq=False)
class Block:
    """A range of the arena.

    offset   bytes from the arena's begin
    array    uint8 (size,), what the CPU sees
    address  what the device sees
    """

    name: str
    offset: int
    array: npt.NDArray[np.uint8]
    address: int

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.array.size)


class Arena:
    """`size` bytes of a device's memory, handed out from front to back.

    ArenaError when the device cannot give them, or gives an address that is not aligned.
    """

    def __init__(self, device: Device, size: int) -> None:
        if size < 1:
            raise ArenaError(f"an arena of {size} bytes; expected at least 1")
        self._device = device
        self._memory: Memory | None = None
        try:
            memory = device.allocate(size)
        except (MemoryError, OSError) as e:
            raise ArenaError(
                f"the device has no {size} contiguous bytes ({e}); close other sessions, or use a "
                "smaller model or ring"
            ) from e
        self._memory = memory
        self._used = 0
        if memory.array.size < size or memory.address % hw.ALIGNMENT:
            self.close()
            raise ArenaError(
                f"the device gave {memory.array.size} bytes at {memory.address:#x}, expected "
                f"{size} at a multiple of {hw.ALIGNMENT}"
            )

    @property
    def size(self) -> int:
        """Bytes; 0 once it is freed."""
        return 0 if self._memory is None else int(self._memory.array.size)

    @property
    def free(self) -> int:
        """Bytes not yet handed out."""
        return self.size - self._used

    def allocate(self, name: str, size: int, alignment: int = hw.ALIGNMENT) -> Block:
        """The next `size` bytes at a multiple of `alignment`.

        ArenaError with the bytes needed and left when they do not fit.
        """
        memory = self._open()
        if alignment < 1 or alignment & (alignment - 1):
            raise ArenaError(f"{name}: alignment {alignment}, expected a power of two")
        # The device's address has to be aligned, not the offset.
        offset = aligned(memory.address + self._used, alignment) - memory.address
        if size < 1 or offset + size > self.size:
            raise ArenaError(
                f"{name} needs {size} bytes at offset {offset} of the arena, which has "
                f"{self.size} in all and {self.free} left; allocate a larger one"
            )
        self._used = offset + size
        return Block(name, offset, memory.array[offset : offset + size], memory.address + offset)

    def to_device(self, block: Block, size: int | None = None) -> None:
        """Make the first `size` bytes (default: all) that the CPU wrote visible to the device."""
        self._device.flush(self._open(), block.offset, self._checked(block, size))

    def from_device(self, block: Block, size: int | None = None) -> None:
        """Make the first `size` bytes (default: all) that the device wrote visible to the CPU."""
        self._device.invalidate(self._open(), block.offset, self._checked(block, size))

    def close(self) -> None:
        """Return the memory to the device. May be called twice."""
        memory, self._memory = self._memory, None
        if memory is not None:
            self._device.free(memory)

    def _open(self) -> Memory:
        if self._memory is None:
            raise ArenaError("the arena is closed; open a new session")
        return self._memory

    def _checked(self, block: Block, size: int | None) -> int:
        size = block.size if size is None else size
        if not 0 <= size <= block.size or block.offset + block.size > self._used:
            raise ArenaError(
                f"{size} bytes of {block.name} ({block.size} at offset {block.offset}) lie outside "
                f"what was allocated ({self._used} bytes)"
            )
        return size
