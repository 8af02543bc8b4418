"""The board gives the reference's bytes, one run after the other, and takes no wrong jobs."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from quasar_runtime import Session
from quasar_runtime.devices.board.device import BoardDevice
from quasar_runtime.errors import ArenaError, DeviceClosed, DeviceError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Status
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.model.synthetic import random_model
from tests.board.cases import AREAS, place

pytest.importorskip("pynq", reason="pynq is not installed here; `make pynq` tests with it")
pytestmark = pytest.mark.board


def pictures(count):
    rng = np.random.default_rng(5)
    return [rng.integers(0, 256, (40, 60, 3)).astype(np.uint8) for _ in range(count)]


@pytest.mark.parametrize("seed", range(4))
def test_a_random_program_leaves_the_references_bytes(device, seed):
    place(device, seed).run()


def test_programs_take_turns_in_memories_of_their_own(device):
    placed = [place(device, seed) for seed in range(3)]
    for _ in range(3):
        for one in placed:
            one.run()
    for one in placed:
        device.free(one.memory)


def test_a_session_on_the_board_answers_as_the_native_device_does(device):
    model = random_model(3, image_size=32, width=64, heads=[1, 2], mlp=[64, 96], classes=9)
    with Session(model, device) as board, Session(model, "native") as native:
        for found, expected in zip(
            board.stream(pictures(12)), native.stream(pictures(12)), strict=True
        ):
            assert found.error is None
            assert np.array_equal(found.logits, expected.logits)
        assert board.device.tick_hz == device.overlay.clock_mhz * 1e6
        assert all(layer.ticks >= 0 for layer in found.profile.layers)


def test_the_overlay_is_the_boards_own_where_none_is_named(overlay_name):
    with BoardDevice() as device:
        assert device.overlay == load_overlay(overlay_name)


def test_the_four_areas_are_programmed_with_high_and_low_half(device):
    placed = place(device, 1)
    placed.run()
    for area in AREAS:
        low, high = device.read(f"{area.upper()}_LO"), device.read(f"{area.upper()}_HI")
        assert high << 32 | low == getattr(placed.job, area)
        assert device.read(f"{area.upper()}_BYTES") == getattr(placed.job, f"{area}_bytes")


def test_the_next_run_of_a_job_takes_few_accesses_to_registers(board, device, monkeypatch):
    placed = place(device, 1)
    placed.run()
    accesses = []
    for name in ("read_registers", "write_registers"):
        real = getattr(board, name)
        monkeypatch.setattr(
            board, name, lambda a, b, real=real: (accesses.append(a), real(a, b))[1]
        )
    placed.run()
    programmed = [a & 0xFF for a in accesses if hw.REGISTER["PROGRAM_LO"].offset <= a & 0xFF]
    assert programmed == []
    other = place(device, 1)
    accesses.clear()
    other.run()
    assert hw.REGISTER["PROGRAM_LO"].offset in [a & 0xFF for a in accesses]


def test_a_session_finds_the_board_by_name(overlay_name):
    with Session(random_model(0), device="board", overlay=overlay_name) as session:
        assert isinstance(session.device, BoardDevice)
        assert session.classify(pictures(1)[0]).error is None


def test_a_closed_sessions_program_can_still_be_looked_at(device):
    model = random_model(0)
    with Session(model, device) as session:
        data = session.program.data.copy()
    assert np.array_equal(session.program.data, data)


def test_memory_is_zeroed_aligned_and_no_pynq_buffer(device):
    memory = device.allocate(5000)
    assert type(memory.array) is np.ndarray
    assert memory.array.shape == (5000,)
    assert not memory.array.any()
    assert memory.address % 64 == 0


def test_waiting_without_a_run_returns_at_once(device):
    device.wait(0.0)


@pytest.mark.parametrize("area", AREAS)
def test_an_area_outside_the_devices_memory_is_refused(device, area):
    placed = place(device, 0)
    end = placed.memory.address + placed.memory.array.size
    size = getattr(placed.job, f"{area}_bytes")
    for address in (0, placed.memory.address - 64, end - size + 64, end, 2**40):
        with pytest.raises(ArenaError, match=f"{area}: {size} bytes at {address:#x} are outside"):
            device.submit(replace(placed.job, **{area: address}))
    placed.run()


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, 65), (60, 5), (64, 1), (0, -1)])
def test_a_range_outside_the_memory_is_neither_flushed_nor_invalidated(device, offset, size):
    memory = device.allocate(64)
    for move in (device.flush, device.invalidate):
        with pytest.raises(ArenaError, match="reach outside the memory's 64"):
            move(memory, offset, size)


def test_memory_of_another_device_is_refused(device, overlay_name):
    memory = device.allocate(64)
    device.free(memory)
    for move in (device.free, lambda m: device.flush(m, 0, 1)):
        with pytest.raises(ArenaError, match="not from this device's allocate"):
            move(memory)


def test_a_closed_device_says_so(device):
    placed = place(device, 0)
    device.close()
    device.close()
    for use in (
        lambda: device.allocate(64),
        lambda: device.submit(placed.job),
        lambda: device.wait(1),
        device.state,
        device.reset,
        device.describe,
    ):
        with pytest.raises(DeviceClosed, match="open a new one"):
            use()


def test_after_closing_the_board_can_be_opened_again(device, overlay_name):
    place(device, 0).run()
    with pytest.raises(DeviceError, match="held by this process, PID"):
        BoardDevice(overlay_name)
    device.close()
    with BoardDevice(overlay_name) as again:
        place(again, 1).run()


def test_a_reset_leaves_the_accelerator_idle(device):
    device.reset()
    assert device.state()["STATUS"] & Status.IDLE


def test_the_interrupt_is_heard_in_every_run(device):
    placed = place(device, 2)
    before = device.describe()["interrupt"]
    for _ in range(20):
        placed.run()
    assert device.describe()["interrupt"] == before
    assert not before.startswith("polled"), before


def test_runs_can_be_waited_for_where_an_event_loop_is_running(device):
    """As it is in a notebook, where PYNQ's own interrupts cannot be waited for."""

    async def cell():
        place(device, 0).run()

    asyncio.run(cell())


def test_the_device_tells_of_itself(device):
    facts = device.describe()
    assert facts["clock"] == f"{device.overlay.clock_mhz} MHz"
    assert set(facts) == {"pynq", "clock", "pl_clk0", "interrupt", "memory"}
