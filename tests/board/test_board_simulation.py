"""The simulated board punishes what a board punishes, and PYNQ's own classes work on it."""

import asyncio

import numpy as np
import pytest

from quasar_runtime.bitstream import block_design as design
from quasar_runtime.errors import OverlayError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Control
from quasar_runtime.resources import data_folder

pynq = pytest.importorskip("pynq", reason="pynq is not installed here; `make pynq` tests with it")
pynq_sim = pytest.importorskip("quasar_runtime.devices.board_sim")
pytestmark = pytest.mark.board

WHOLE = tuple(int(n) for n in pynq.__version__.split(".")[:2]) >= (3, 1)


@pytest.fixture
def loop():
    """PYNQ's drivers want an event loop, also where none is used."""
    opened = asyncio.new_event_loop()
    asyncio.set_event_loop(opened)
    yield opened
    for device in pynq.interrupt._InterruptController._uio_devices.values():
        opened.remove_reader(device.uio)


@pytest.fixture
def overlay(board, loop):
    return pynq.Overlay(str(data_folder("overlays") / "b64" / "b64.bit"))


def ddr(board, buffer):
    """What the device sees of a buffer."""
    found = board.memory.find(buffer.device_address, buffer.nbytes)
    assert found is not None
    bo, offset = found
    return bo.ddr[offset : offset + buffer.nbytes]


# --- memory


def test_a_cached_buffer_reaches_the_device_when_it_is_flushed(board):
    buffer = pynq.allocate((64,), "u1", cacheable=1)
    buffer[:] = 7
    assert not (ddr(board, buffer) == 7).any()
    buffer.flush()
    assert (ddr(board, buffer) == 7).all()


def test_a_cached_buffer_shows_the_devices_bytes_when_it_is_invalidated(board):
    buffer = pynq.allocate((64,), "u1", cacheable=1)
    buffer[:] = 0
    buffer.flush()
    ddr(board, buffer)[:] = 9
    board.memory.device_wrote(buffer.device_address, 64)
    assert not buffer.any()
    buffer.invalidate()
    assert (buffer == 9).all()


def test_part_of_a_buffer_is_the_whole_in_newer_pynq(board):
    """Which is why the driver caches nothing: bytes beside an invalidated range are lost."""
    buffer = pynq.allocate((128,), "u1", cacheable=1)
    buffer[:] = 1
    buffer[:64].flush()
    assert (ddr(board, buffer)[64:] == 1).all() == WHOLE
    buffer.flush()
    buffer[:] = 2
    buffer[:64].invalidate()
    assert (buffer[:64] == 1).all()
    assert (buffer[64:] == (1 if WHOLE else 2)).all()


def test_writes_to_an_uncached_buffer_wait_until_something_drains_them(board):
    uncached = pynq.allocate((64,), "u1", cacheable=0)
    fence = pynq.allocate((8,), "u1", cacheable=1)
    uncached[:] = 7
    assert not (ddr(board, uncached) == 7).any()
    fence.flush()
    assert (ddr(board, uncached) == 7).all()
    ddr(board, uncached)[:] = 9
    board.memory.device_wrote(uncached.device_address, 64)
    assert (uncached == 9).all()


def test_draining_leaves_what_the_device_wrote_alone(board):
    buffer = pynq.allocate((64,), "u1", cacheable=0)
    buffer[:] = 1
    buffer.flush()
    ddr(board, buffer)[:32] = 9
    buffer[32:] = 2
    buffer.flush()
    assert ddr(board, buffer).tolist() == [9] * 32 + [2] * 32


def test_fresh_memory_is_not_cleared_lies_high_and_is_used_up(board):
    buffer = pynq.allocate((16,), "u4")
    assert buffer.all()
    assert buffer.device_address >= 2**32
    assert board.memory.used == 4096
    board.memory.limit = 8192
    with pytest.raises(RuntimeError, match="BO allocation failed"):
        pynq.allocate((8192,), "u1")
    buffer.freebuffer()
    buffer.freebuffer()
    assert board.memory.used == 0


def test_what_is_derived_from_a_buffer_frees_nothing(board):
    buffer = pynq.allocate((16,), "u1")
    for derived in (buffer + 1, buffer.copy(), buffer[3:]):
        del derived
    assert board.memory.used == 4096


# --- registers, interrupt, clocks


def test_pynqs_register_map_shows_every_register_of_the_interface(overlay):
    shown = dir(overlay.quasar_0.register_map)
    assert {r.name for r in hw.REGISTERS} <= set(shown)
    assert int(overlay.quasar_0.register_map.IDENTITY) == hw.IDENTITY


def test_pynqs_own_interrupt_class_hears_the_accelerator(overlay, loop):
    async def run():
        registers = overlay.quasar_0.mmio  # opens the UIO file, for the loop that runs
        registers.write(hw.REGISTER["INTERRUPT_ENABLE"].offset, 3)
        waiting = asyncio.ensure_future(overlay.quasar_0.irq.wait())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        registers.write(hw.REGISTER["CONTROL"].offset, int(Control.START))  # of nothing
        await asyncio.wait_for(waiting, 10)
        return registers.read(hw.REGISTER["STATUS"].offset)

    status = loop.run_until_complete(run())
    assert status & hw.Status.ERROR


def test_where_nothing_is_a_read_is_a_bus_error(board, overlay):
    for address in (0x9000_0000, design.REGISTERS_BASE + 2 * design.REGISTERS_RANGE):
        with pytest.raises(OSError, match="bus error"):
            board.read_registers(address, 4)


def test_without_a_bitstream_nothing_answers(board):
    with pytest.raises(OSError, match="bus error"):
        board.read_registers(design.REGISTERS_BASE, 4)


def test_read_only_registers_keep_their_values(board, overlay):
    registers = overlay.quasar_0.mmio
    for register in hw.REGISTERS:
        if register.access == "r":
            before = registers.read(register.offset)
            registers.write(register.offset, 0xFFFF_FFFF)
            assert registers.read(register.offset) == before


def test_afterwards_everything_of_pynqs_is_as_before(monkeypatch):
    monkeypatch.delenv("QUASAR_OVERLAYS", raising=False)
    stock = pynq.interrupt.get_uio_irq
    with pynq_sim.simulated_board("b64") as board:
        assert pynq.Device.active_device is board
        assert pynq.interrupt.get_uio_irq is not stock
    assert pynq.interrupt.get_uio_irq is stock
    assert pynq.Device.__dict__.get("_active_device") is not board
    assert not hasattr(pynq.ps.Clocks, "_real_instance")


def test_an_unknown_accelerator_or_overlay_is_refused():
    for options, match in (
        (("b64", "gpu"), "no accelerator named 'gpu'; known: native, rtl"),
        (("b65", "native"), "no overlay named 'b65'"),
    ):
        with (
            pytest.raises(OverlayError, match=match),
            pynq_sim.simulated_board(options[0], accelerator=options[1]),
        ):
            pass


def test_native_times_are_in_the_accelerators_cycles(board, device):
    from tests.board.cases import place

    placed = place(device, 0)
    placed.run()
    state = device.state()
    cycles = state["CYCLES_HI"] << 32 | state["CYCLES_LO"]
    end = placed.area("profile").view(hw.PROFILE_DTYPE)["end"]
    assert 0 < end[-1] <= cycles
    assert np.all(np.diff(end.astype(np.int64)) >= 0)
