"""Whatever goes wrong ends in a typed error, the accelerator idle; the next run is right."""

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest

from quasar_runtime import Session
from quasar_runtime.devices.board.device import BoardDevice
from quasar_runtime.devices.board.hardware import MOST_MISSES
from quasar_runtime.errors import ArenaError, DeviceError, DeviceFault, DeviceTimeout
from quasar_runtime.isa.interface import Cause, Status
from quasar_runtime.model.synthetic import random_model
from tests.board.cases import place

pytest.importorskip("pynq", reason="pynq is not installed here; `make pynq` tests with it")
pytestmark = pytest.mark.board
ADDRESS = 0x8_1234_5678


def start_silent_run(board, device):
    """A run that would never end."""
    placed = place(device, 0)
    placed.flush()
    board.faults.silent = True
    device.submit(placed.job)
    board.faults.silent = False
    return placed


def hold_until_waited_for(board, device, seconds=0.0):
    """Runs do not end before the driver listens for their interrupt, and `seconds` more."""
    hardware, waiting = device._hardware, threading.Event()
    compute, listen = board.accelerator._compute, hardware.listen

    def held():
        if hardware.line is not None:
            assert waiting.wait(10)
            waiting.clear()
            time.sleep(seconds)
        return compute()

    def noticed(timeout):
        waiting.set()
        return listen(timeout)

    board.accelerator._compute = held
    hardware.listen = noticed


# --- errors that the accelerator reports


@pytest.mark.parametrize("cause", [c for c in Cause if c != Cause.NONE])
def test_every_cause_is_a_fault_with_its_name_and_address(board, device, cause):
    placed = place(device, 0)
    board.faults.error = cause, ADDRESS
    with pytest.raises(DeviceFault, match=rf"{cause.name} at {ADDRESS:#x}") as fault:
        placed.run()
    assert fault.value.state["ERROR_CAUSE"] == cause
    board.faults.error = None
    placed.run()


def test_a_refused_program_is_a_fault_and_a_right_one_runs_after_it(device):
    placed = place(device, 0)
    good = placed.area("program").copy()
    placed.area("program")[0] = 99
    placed.flush()
    device.submit(placed.job)
    with pytest.raises(DeviceFault, match="descriptor 0: BAD_OPCODE"):
        device.wait(10)
    placed.area("program")[:] = good
    placed.run()


def test_a_start_during_a_run_is_refused(board, device):
    placed = start_silent_run(board, device)
    with pytest.raises(DeviceError, match="a run is under way"):
        device.submit(placed.job)
    with pytest.raises(DeviceError, match="may use this memory"):
        device.free(placed.memory)
    device.reset()
    placed.run()


# --- an accelerator that says nothing


def test_a_silent_accelerator_ends_at_the_deadline_stopped(board, device):
    placed = start_silent_run(board, device)
    with pytest.raises(DeviceTimeout, match=r"within 0\.12 s .*was stopped") as timeout:
        device.wait(0.12)
    assert timeout.value.state["STATUS"] == Status.BUSY
    assert device.state()["STATUS"] == Status.IDLE
    placed.run()


def test_a_session_reports_the_deadline_and_stays_usable(board, device):
    with Session(random_model(0), device, timeout=0.1) as session:
        picture = np.zeros((20, 20, 3), np.uint8)
        first = session.classify(picture)
        board.faults.silent = True
        with pytest.raises(DeviceTimeout):
            session.classify(picture)
        board.faults.silent = False
        assert np.array_equal(session.classify(picture).logits, first.logits)


def test_an_accelerator_that_no_reset_stops_gets_its_bitstream_anew(board, device):
    placed = start_silent_run(board, device)
    board.faults.wedged = True
    with pytest.raises(DeviceTimeout):
        device.wait(0.05)
    assert board.downloads == 2
    placed.run()


def test_an_accelerator_that_nothing_stops_is_an_error_and_keeps_its_memory(
    board, device, monkeypatch
):
    monkeypatch.setattr("quasar_runtime.devices.board.hardware.RESET_SECONDS", 0.01)
    place(device, 0)
    board.faults.registers["STATUS"] = Status.BUSY
    with pytest.raises(DeviceError, match="power-cycle the board"):
        device.reset()
    with pytest.raises(DeviceError, match="power-cycle the board"):
        device.close()
    assert board.memory.used > 0
    board.faults.registers.clear()
    BoardDevice("b64").close()  # the lock was released all the same


# --- interrupts


def test_lost_interrupts_cost_time_but_no_answer_and_are_then_polled_for(board, device):
    placed = place(device, 0)
    board.uio.deaf = True
    hold_until_waited_for(board, device)
    for _ in range(MOST_MISSES - 1):
        placed.run()
    with pytest.warns(RuntimeWarning, match="without an interrupt at /dev/pts.* polled for"):
        placed.run()
    assert device.describe()["interrupt"].startswith("polled: 3 runs ended without an interrupt")
    placed.run()


def test_an_interrupt_heard_in_between_forgives_the_lost_ones(board, device):
    placed = place(device, 0)
    hold_until_waited_for(board, device)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(MOST_MISSES + 1):
            board.uio.deaf = True
            placed.run()
            board.uio.deaf = False
            placed.run()


@pytest.mark.parametrize("call", ["os.write", "os.read"])
def test_a_uio_file_that_fails_is_polled_instead(board, device, monkeypatch, call):
    placed = start_silent_run(board, device)
    device.reset()
    line = device._hardware.line

    def fail(file, _):
        if file == line._file:
            raise OSError("no such device")
        return real(file, _)

    real = getattr(os, call.removeprefix("os."))
    hold_until_waited_for(board, device)
    monkeypatch.setattr(call, fail)
    with pytest.warns(RuntimeWarning, match=r"fails \(no such device\); from here on"):
        placed.run()
    monkeypatch.setattr(call, real)
    assert device.describe()["interrupt"].startswith("polled: the UIO file /dev/pts")
    placed.run()


def test_a_flush_that_xrt_refuses_is_a_device_error(board, device, monkeypatch):
    def fail(*_):
        raise RuntimeError("Flush Failed: 4294967274")

    monkeypatch.setattr(board, "flush", fail)
    with pytest.raises(DeviceError, match=r"XRT cannot flush a buffer \(Flush Failed"):
        place(device, 0).flush()


def test_without_a_uio_file_runs_are_polled_for(board, monkeypatch):
    monkeypatch.setattr("pynq.interrupt.get_uio_irq", lambda irq: None)
    with BoardDevice("b64") as device:
        assert device.describe()["interrupt"] == "polled: Linux has no UIO file for interrupt 121"
        place(device, 0).run()


def test_an_interrupt_that_is_not_the_runs_end_does_not_end_it(board, device):
    placed = start_silent_run(board, device)
    threading.Timer(0.05, lambda: board.uio.set_level(True)).start()
    begin = time.monotonic()
    with pytest.raises(DeviceTimeout):
        device.wait(0.2)
    assert time.monotonic() - begin >= 0.2
    placed.run()


def test_an_earlier_runs_interrupt_is_not_taken_for_this_ones(board, device, monkeypatch):
    placed = place(device, 0)
    placed.run()
    device.submit(placed.job)
    while device.read("STATUS") & Status.BUSY:
        time.sleep(0.001)
    time.sleep(0.05)  # the interrupt has come, and nobody has waited for it
    device.wait(10)
    hold_until_waited_for(board, device, 0.03)
    heard = []
    real = device._hardware.listen
    monkeypatch.setattr(
        device._hardware, "listen", lambda seconds: heard.append(real(seconds)) or heard[-1]
    )
    placed.run()
    assert heard.count(True) <= 1


# --- Ctrl-C, memory


@pytest.mark.parametrize("heard", [True, False])
def test_ctrl_c_in_a_wait_stops_the_accelerator(board, monkeypatch, heard):
    if not heard:
        monkeypatch.setattr("pynq.interrupt.get_uio_irq", lambda irq: None)
    with BoardDevice("b64") as device:
        placed = start_silent_run(board, device)
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            device.wait(30)
        assert device.state()["STATUS"] == Status.IDLE
        placed.run()
    assert board.memory.used == 0


def test_memory_that_is_not_there_is_an_error_with_linuxs_account(board, device):
    board.memory.limit = 1 << 20
    used = board.memory.used
    with pytest.raises(ArenaError, match=r"no 2097152 contiguous bytes .*close other sessions"):
        device.allocate(2 << 20)
    assert board.memory.used == used
    place(device, 0).run()


def test_memory_where_the_ports_do_not_reach_is_refused_and_freed(board, device, monkeypatch):
    used = board.memory.used
    monkeypatch.setattr(board.memory, "_next", 0x10_0000_0000)
    with pytest.raises(ArenaError, match="at 0x1000000000, where the accelerator's ports do not"):
        device.allocate(4096)
    assert board.memory.used == used


def test_closing_returns_every_buffer(board, device):
    for seed in range(3):
        place(device, seed)
    assert board.memory.used > 0
    device.close()
    assert board.memory.used == 0


def test_a_device_that_nobody_holds_any_more_gives_everything_back(board, overlay_name):
    device = BoardDevice(overlay_name)
    device.allocate(100)
    del device
    assert board.memory.used == 0
    BoardDevice(overlay_name).close()


# --- what the simulated board is for


def test_a_forgotten_flush_gives_wrong_bytes(board, device, monkeypatch):
    placed = place(device, 1)
    placed.run()
    placed.area("image")[:] ^= 255
    placed.image = placed.image ^ 255
    monkeypatch.setattr(device, "flush", lambda *_: None)
    with pytest.raises(AssertionError, match="bytes differ"):
        placed.run()
