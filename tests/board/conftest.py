"""The driver's tests run on a board where there is one, else on the simulated one.

`pytest -m board` runs them alone. Tests that take the `board` fixture put faults in, or look behind
the driver; they need the simulated one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from quasar_runtime.isa.overlay import overlay_names

COMPATIBLE = Path("/proc/device-tree/compatible")
ON_BOARD = COMPATIBLE.exists() and b"zynqmp" in COMPATIBLE.read_bytes()


@pytest.fixture(autouse=True)
def own_lock(tmp_path, monkeypatch):
    """Test runs at the same time do not wait for one another; a real board is there only once."""
    if not ON_BOARD:
        monkeypatch.setattr("quasar_runtime.devices.board.lock.lock_folder", lambda: tmp_path)
        monkeypatch.setattr("quasar_runtime.devices.board_sim.board.tag", lambda: "simulated")


@pytest.fixture
def overlay_name():
    """The overlay that the board carries; where there is none, a simulated board of b64."""
    if ON_BOARD:
        from quasar_runtime.bitstream.package import load_package

        yield [name for name in overlay_names() if load_package(name).bitstream][-1]
        return
    from quasar_runtime.devices.board_sim import simulated_board

    with simulated_board("b64"):
        yield "b64"


@pytest.fixture
def board(overlay_name):
    """The simulated board behind the driver."""
    if ON_BOARD:
        pytest.skip("faults can be put into the simulated board only")
    from pynq import Device

    return Device.active_device


@pytest.fixture
def device(overlay_name):
    from quasar_runtime.devices.board.device import BoardDevice

    with BoardDevice(overlay_name) as opened:
        yield opened
