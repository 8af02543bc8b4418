"""One block of device memory, divided with alignment and bounds checks."""

import numpy as np
import pytest

from quasar_runtime.devices.base import Memory
from quasar_runtime.errors import ArenaError
from quasar_runtime.session.arena import Arena


class Ram:
    """The memory half of a device; says what it was asked for."""

    def __init__(self, address=4096, limit=1 << 20):
        self.address, self.limit = address, limit
        self.freed, self.calls = [], []

    def allocate(self, size):
        if size > self.limit:
            raise MemoryError("out of contiguous memory")
        return Memory(np.zeros(size, np.uint8), self.address)

    def free(self, memory):
        self.freed.append(memory)

    def flush(self, memory, offset, size):
        self.calls.append(("flush", offset, size))

    def invalidate(self, memory, offset, size):
        self.calls.append(("invalidate", offset, size))


def test_blocks_are_aligned_disjoint_and_views_of_the_memory():
    arena = Arena(Ram(), 1000)
    blocks = [arena.allocate(f"b{size}", size) for size in (1, 64, 65, 200)]
    assert [b.offset for b in blocks] == [0, 64, 128, 256]
    assert [b.address for b in blocks] == [4096, 4160, 4224, 4352]
    for value, block in enumerate(blocks, 1):
        block.array[:] = value
    assert [int(b.array[0]) for b in blocks] == [1, 2, 3, 4]
    assert arena.free == 1000 - 456


def test_alignment_is_of_the_device_address():
    arena = Arena(Ram(address=4096 + 64), 1024)
    assert arena.allocate("page", 10, alignment=256).address == 4096 + 256


def test_the_last_byte_can_be_had_and_the_next_one_cannot():
    arena = Arena(Ram(), 128)
    arena.allocate("all", 128)
    with pytest.raises(ArenaError, match=r"more needs 1 bytes .* 128 in all and 0 left"):
        arena.allocate("more", 1)


@pytest.mark.parametrize("size", [129, 0, -1])
def test_sizes_that_do_not_fit_say_what_is_needed_and_left(size):
    with pytest.raises(ArenaError, match=f"x needs {size} bytes"):
        Arena(Ram(), 128).allocate("x", size)


@pytest.mark.parametrize("alignment", [0, 3, -64])
def test_alignment_must_be_a_power_of_two(alignment):
    with pytest.raises(ArenaError, match="power of two"):
        Arena(Ram(), 128).allocate("x", 1, alignment)


def test_exhausted_device_is_an_arena_error():
    with pytest.raises(ArenaError, match="2000000 contiguous bytes"):
        Arena(Ram(), 2_000_000)


def test_misaligned_device_memory_is_refused_and_returned():
    ram = Ram(address=4097)
    with pytest.raises(ArenaError, match="multiple of 64"):
        Arena(ram, 128)
    assert len(ram.freed) == 1


def test_transfers_cover_the_block_and_never_more():
    ram = Ram()
    arena = Arena(ram, 256)
    arena.allocate("first", 64)
    block = arena.allocate("second", 100)
    arena.to_device(block)
    arena.from_device(block, 10)
    assert ram.calls == [("flush", 64, 100), ("invalidate", 64, 10)]
    for size in (101, -1):
        with pytest.raises(ArenaError, match="outside"):
            arena.to_device(block, size)


def test_block_of_another_arena_is_refused():
    block = Arena(Ram(), 256).allocate("other", 128)
    with pytest.raises(ArenaError, match="outside"):
        Arena(Ram(), 256).to_device(block)


def test_close_frees_once_and_ends_all_use():
    ram = Ram()
    arena = Arena(ram, 256)
    block = arena.allocate("x", 64)
    arena.close()
    arena.close()
    assert len(ram.freed) == 1
    for use in (lambda: arena.allocate("y", 1), lambda: arena.to_device(block)):
        with pytest.raises(ArenaError, match="closed"):
            use()
