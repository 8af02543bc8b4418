"""One process at a time has the board, and however it ends, it leaves the board in order."""

import fcntl
import gc
import os
import signal
import subprocess
import sys

import pytest

from quasar_runtime.devices.board import lock as board_lock
from quasar_runtime.devices.board.device import BoardDevice
from quasar_runtime.devices.board.lock import BoardLock
from quasar_runtime.errors import DeviceClosed, DeviceError
from tests.board.cases import place

pytest.importorskip("pynq", reason="pynq is not installed here; `make pynq` tests with it")
pytestmark = pytest.mark.board

OPEN = """
import sys, time, weakref
from contextlib import ExitStack
from pathlib import Path
from quasar_runtime.devices.board import lock as board_lock
from quasar_runtime.devices.board.device import BoardDevice
from quasar_runtime.devices.board_sim import board as module, simulated_board

def report():
    status = board.accelerator.read(0x24)
    print("memory", board.memory.used, "status", status, flush=True)

folder = {folder!r}
if folder:
    board_lock.lock_folder = lambda: Path(folder)
    module.tag = lambda: "simulated"
    stack = ExitStack()
    board = stack.enter_context(simulated_board("b64"))
    # At exit finalizers run last made first: the device's, the report, the board's.
    weakref.finalize(board, stack.close)
    weakref.finalize(board, report)
try:
    device = BoardDevice({overlay!r})
except Exception as e:
    print(type(e).__name__, e)
    sys.exit(1)
print("open", flush=True)
"""
SILENT_RUN = """
from quasar_runtime.devices.base import Job
board.faults.silent = True
memory = device.allocate(4096)
a = memory.address
device.submit(Job(1, a, 64, a + 64, 64, a + 128, 64, a + 192, 64))
assert board.accelerator.read(0x24) == 2, "the run is under way"
"""
CTRL_C = """
import os, signal, threading
threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
"""


@pytest.fixture
def script(overlay_name, tmp_path):
    """Starts another process with the board's device open in it."""
    started = []
    simulated = board_lock.lock_folder() == tmp_path

    def start(more=""):
        opening = OPEN.format(folder=str(tmp_path) if simulated else "", overlay=overlay_name)
        process = subprocess.Popen(
            [sys.executable, "-c", opening + more],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_second_process_is_told_who_holds_the_board(device, script):
    output, _ = script().communicate(timeout=60)
    assert output.startswith(f"DeviceError the board is busy, held by PID {os.getpid()} ("), output


def test_the_board_is_free_when_its_process_was_killed(overlay_name, script):
    process = script("time.sleep(60)")
    assert process.stdout.readline() == "open\n"
    with pytest.raises(DeviceError, match=f"held by PID {process.pid}"):
        BoardDevice(overlay_name)
    process.kill()
    process.wait()
    with BoardDevice(overlay_name) as device:
        place(device, 0).run()


def test_a_process_that_ends_without_closing_leaves_all_in_order(board, script):
    output, _ = script(SILENT_RUN).communicate(timeout=60)
    assert output == "open\nmemory 0 status 1\n"
    BoardDevice("b64").close()


def test_an_exception_that_nobody_catches_leaves_all_in_order(board, script):
    output, _ = script(SILENT_RUN + "raise ValueError('oops')").communicate(timeout=60)
    assert "ValueError: oops" in output
    assert output.endswith("memory 0 status 1\n")


def test_ctrl_c_in_a_wait_that_nobody_catches_leaves_all_in_order(board, script):
    output, _ = script(SILENT_RUN + CTRL_C + "device.wait(30)").communicate(timeout=60)
    assert "KeyboardInterrupt" in output
    assert output.endswith("memory 0 status 1\n")


def test_a_simulated_board_of_the_environment_outlives_the_devices_on_it(tmp_path):
    code = """
import weakref
weakref.finalize(weakref, print, "end")
from quasar_runtime import Session
from quasar_runtime.model.synthetic import random_model
import numpy as np
session = Session(random_model(0), device="board", overlay="b64")
print(session.classify(np.zeros((8, 8, 3), np.uint8)).error)
"""
    environment = {**os.environ, "QUASAR_SIMULATED_BOARD": "native", "TMPDIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60,
        env=environment,
    )  # fmt: skip
    assert (found.stdout, found.returncode) == ("None\nend\n", 0)
    assert "Error" not in found.stderr
    assert not list(tmp_path.iterdir()), "files were left behind"


def test_a_child_on_the_environments_simulated_board_opens_its_own_and_leaves_its_parents(tmp_path):
    code = """
import os, signal, sys
import numpy as np
from quasar_runtime import Session
from quasar_runtime.errors import DeviceError
from quasar_runtime.model.synthetic import random_model
picture = np.zeros((8, 8, 3), np.uint8)
session = Session(random_model(0), device="board", overlay="b64")
expected = session.classify(picture).logits.tolist()
child = os.fork()
if child == 0:
    signal.alarm(60)
    with Session(random_model(0), device="board", overlay="b64") as own:
        assert own.classify(picture).logits.tolist() == expected
    sys.exit(0)
print(os.waitpid(child, 0)[1], session.classify(picture).logits.tolist() == expected)
session.close()
with Session(random_model(0), device="board", overlay="b64") as again:
    print(again.classify(picture).logits.tolist() == expected)
"""
    environment = {**os.environ, "QUASAR_SIMULATED_BOARD": "native", "TMPDIR": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
        env=environment,
    )  # fmt: skip
    assert (found.stdout, found.returncode) == ("0 True\nTrue\n", 0), found.stderr
    assert not list(tmp_path.iterdir()), "files were left behind"


def test_a_lock_that_was_removed_while_it_was_taken_is_none(monkeypatch, tmp_path):
    path = tmp_path / "quasar-x.lock"
    real, seen = fcntl.flock, []

    def flock(file, operation):
        real(file, operation)
        seen.append(file)
        if len(seen) == 1:
            path.unlink()

    monkeypatch.setattr("fcntl.flock", flock)
    monkeypatch.setattr(board_lock, "lock_folder", lambda: tmp_path)
    lock = BoardLock("x")
    assert len(seen) == 2
    assert path.read_text() == str(os.getpid())
    lock.release()
    assert not path.exists()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_leaves_its_parents_board_alone(board, device):
    placed = place(device, 0)
    used = board.memory.used
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        with pytest.raises(DeviceClosed, match=r"this board device belongs to another process"):
            device.reset()
        with pytest.raises(DeviceClosed, match=r"open one after the fork"):
            device.allocate(64)
        device.close()
        gc.collect()
        os._exit(0 if board.memory.used == used else 1)  # PYNQ's buffers free themselves
    assert os.waitpid(child, 0)[1] == 0
    with pytest.raises(DeviceError, match="busy"):
        BoardLock(board.tag)
    placed.run()


def test_a_lock_that_cannot_be_opened_says_whose_it_is(monkeypatch, tmp_path):
    monkeypatch.setattr("quasar_runtime.devices.board.lock.lock_folder", lambda: tmp_path / "none")
    with pytest.raises(DeviceError, match=r"quasar-x\.lock cannot be opened .*sudo -E"):
        BoardLock("x")


def test_the_lock_files_text_may_be_anything(tmp_path):
    lock = BoardLock("x")
    path = board_lock.lock_folder() / "quasar-x.lock"
    for text, shown in (("", "another process"), ("?", "another process"), ("999999999", "PID 9")):
        path.write_text(text)
        with pytest.raises(DeviceError, match=f"busy, held by {shown}"):
            BoardLock("x")
    lock.release()
    BoardLock("x").release()
