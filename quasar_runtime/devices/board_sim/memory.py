"""Memory as two things: what the DDR holds, and what the CPU sees of it.

A cached buffer's shadow is a cache that never evicts: the CPU's writes stay in it until flushed,
and the device's results are not seen until invalidated. Of an uncached buffer, the CPU sees the DDR
at once, but its writes wait in a write buffer until something drains it: any flush does.

PYNQ before 3.1 flushes and invalidates the range that it is asked for, later ones the whole
buffer, so that an invalidate also throws away what was written beside the range.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from quasar_runtime.devices.base import Device as Engine
from quasar_runtime.devices.base import Memory

PAGE = 4096
FIRST_ADDRESS = 0x8_0000_0000
"""The upper DDR: addresses that need their high half."""
UNWRITTEN = 0xA5
"""What fresh memory holds: contiguous memory is not cleared."""
FREED = 0xDD
"""What freed memory holds. On a board, touching it ends the process."""
Bytes = npt.NDArray[np.uint8]


@dataclass(eq=False)
class BufferObject:
    """An allocation: `address` is physical; `cpu` and `ddr` are uint8 of a multiple of PAGE."""

    address: int
    cpu: Bytes
    cacheable: bool
    memory: Memory
    ddr: Bytes = field(init=False)
    drained: Bytes = field(init=False)

    def __post_init__(self) -> None:
        self.ddr = self.memory.array
        self.drained = self.cpu.copy()

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.cpu.size)


class SimulatedMemory:
    """The DDR, whose bytes lie where `engine` reaches them.

    ranged    whether flush and invalidate keep to their range, or take the whole buffer
    physical  whether the engine's addresses are physical ones already

    `limit` is how many bytes can be allocated.
    """

    def __init__(self, engine: Engine, *, ranged: bool, physical: bool = False) -> None:
        self._engine, self._ranged, self._physical = engine, ranged, physical
        self.limit = 512 << 20
        self.closed = False
        self.objects: list[BufferObject] = []
        self._next = FIRST_ADDRESS

    def allocate(self, size: int, cacheable: bool) -> BufferObject:
        """RuntimeError, as PYNQ's, when there is not enough left."""
        room = -(-size // PAGE) * PAGE
        if self.used + room > self.limit:
            raise RuntimeError(f"BO allocation failed: {room} bytes, {self.limit - self.used} left")
        memory = self._engine.allocate(room)
        memory.array[:] = UNWRITTEN
        cpu = np.full(room, UNWRITTEN, np.uint8)
        address = memory.address if self._physical else self._next
        found = BufferObject(address, cpu, cacheable, memory)
        self._next += room + PAGE  # what lies between is nobody's
        self.objects.append(found)
        return found

    def free(self, freed: BufferObject) -> None:
        """May come late, when the board has been closed: buffers go when nobody has them."""
        self.objects.remove(freed)
        freed.cpu[:] = FREED
        if not self.closed:
            self._engine.free(freed.memory)

    @property
    def used(self) -> int:
        """Bytes allocated."""
        return sum(o.size for o in self.objects)

    def flush(self, buffer: BufferObject, offset: int, size: int) -> None:
        """Clean the cache. Its barrier also drains what is written to uncached memory."""
        part = slice(offset, offset + size) if self._ranged else slice(None)
        if buffer.cacheable:
            buffer.ddr[part] = buffer.cpu[part]
        for other in self.objects:
            if not other.cacheable and not np.array_equal(other.cpu, other.drained):
                now = other.cpu.copy()  # other threads go on writing
                written = now != other.drained
                other.ddr[written] = now[written]
                other.drained = now

    def invalidate(self, buffer: BufferObject, offset: int, size: int) -> None:
        """Let the CPU see what the accelerator wrote."""
        part = slice(offset, offset + size) if self._ranged else slice(None)
        if buffer.cacheable:
            buffer.cpu[part] = buffer.ddr[part]

    def device_wrote(self, address: int, size: int) -> None:
        """The device has written there: uncached, it is seen at once."""
        found = self.find(address, size)
        if found is not None and not found[0].cacheable:
            buffer, first = found
            part = slice(first, first + size)
            buffer.cpu[part] = buffer.drained[part] = buffer.ddr[part]

    def find(self, address: int, size: int) -> tuple[BufferObject, int] | None:
        """The buffer that holds a range of physical addresses, and the offset in it."""
        for buffer in self.objects:
            if buffer.address <= address and address + size <= buffer.address + buffer.size:
                return buffer, address - buffer.address
        return None

    def engine_address(self, address: int, size: int) -> int | None:
        """What the engine calls a physical address; None where there is no memory."""
        found = self.find(address, size)
        return None if found is None else found[0].memory.address + found[1]
