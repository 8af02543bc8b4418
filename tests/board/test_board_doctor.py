"""`quasar doctor` on a board: it opens, its clock is read back, bytes and an answer come back."""

from __future__ import annotations

import pytest

from quasar_runtime.doctor.accelerator import examine_accelerator
from quasar_runtime.doctor.finding import Status
from quasar_runtime.model.file import write_model
from quasar_runtime.model.synthetic import random_model
from quasar_runtime.model.zoo import build_index

pytest.importorskip("pynq", reason="pynq is not installed here; `make pynq` tests with it")
pytestmark = pytest.mark.board


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    write_model(random_model(1, name="tiny"), tmp_path / "tiny.safetensors")
    build_index(tmp_path)
    monkeypatch.setenv("QUASAR_MODEL_ZOO", str(tmp_path))


def test_a_board_is_well(overlay_name, zoo):
    found = {f.name: f for f in examine_accelerator("board", overlay_name, "tiny")}
    assert {f.status for f in found.values()} == {Status.OK}
    assert list(found) == ["accelerator", "clock", "loopback", "answer"]
    assert f"overlay {overlay_name}" in found["accelerator"].found
    assert "read back" in found["clock"].found
    assert "equal the native device's" in found["answer"].found


def test_a_board_that_is_busy_is_a_finding(device, overlay_name, zoo):
    (found,) = examine_accelerator("board", overlay_name, "tiny")
    assert found.status == Status.FAILED
    assert "the board is busy, held by this process" in found.found
    assert found.remedy == "wait until it ends, or stop it"
