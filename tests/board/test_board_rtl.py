"""The driver on the accelerator's own registers: the Verilated RTL below PYNQ."""

import os
import signal

import pytest

from quasar_runtime.devices.board.device import BoardDevice
from quasar_runtime.devices.registers import cycles
from quasar_runtime.devices.rtl.build import unavailable
from quasar_runtime.errors import DeviceFault, DeviceTimeout
from quasar_runtime.isa.interface import Status
from tests.board.cases import place

pytest.importorskip("pynq", reason="pynq is not installed here; `make pynq` tests with it")
pynq_sim = pytest.importorskip("quasar_runtime.devices.board_sim")
pytestmark = [
    pytest.mark.board,
    pytest.mark.skipif(bool(unavailable()), reason=str(unavailable())),
]
LONG = 120.0


@pytest.fixture
def board():
    with pynq_sim.simulated_board("b64", accelerator="rtl") as simulated:
        yield simulated


@pytest.fixture
def device(board):
    with BoardDevice("b64") as opened:
        yield opened


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_programs_leave_the_references_bytes(device, seed):
    placed = place(device, seed)
    placed.run(LONG)
    placed.run(LONG)
    assert not device.describe()["interrupt"].startswith("polled")
    assert placed.area("profile").view("<u8").max() <= cycles(device.state())


def test_memory_that_answers_with_an_error_is_a_fault_with_its_address(board, device):
    placed = place(device, 0)
    board.engine.inject(0, "R", 40, "SLVERR")
    with pytest.raises(DeviceFault, match="READ_SLVERR at 0x8") as fault:
        placed.run(LONG)
    assert fault.value.state["STATUS"] == Status.ERROR
    board.engine.clear_faults()
    placed.run(LONG)


def test_memory_that_falls_silent_is_a_stall(board, device):
    placed = place(device, 0)
    board.engine.inject(0, "AR", 5, "silent")
    with pytest.raises(DeviceFault, match="STALLED at 0x8"):
        placed.run(LONG)
    board.engine.clear_faults()
    placed.run(LONG)


def test_a_deadline_and_a_reset_in_a_run_leave_it_idle(device):
    placed = place(device, 1)
    placed.flush()
    device.submit(placed.job)
    with pytest.raises(DeviceTimeout, match="was stopped"):
        device.wait(0.0)
    assert device.state()["STATUS"] == Status.IDLE
    device.submit(placed.job)
    device.reset()
    placed.run(LONG)


def test_ctrl_c_in_a_run_leaves_it_idle(device, monkeypatch):
    placed = place(device, 1)
    placed.flush()
    device.submit(placed.job)
    monkeypatch.setattr("select.select", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        device.wait(LONG)
    monkeypatch.undo()
    assert device.state()["STATUS"] == Status.IDLE
    placed.run(LONG)


def test_a_refused_program_is_a_fault(device):
    placed = place(device, 0)
    placed.area("program")[0] = 99
    placed.flush()
    device.submit(placed.job)
    with pytest.raises(DeviceFault, match="descriptor 0: BAD_OPCODE"):
        device.wait(LONG)
