"""'auto' on a board that lacks something: the CPU's answer, and one line that says why."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from quasar_runtime.cli.app import quasar
from quasar_runtime.devices import catalogue as device_module
from quasar_runtime.devices.catalogue import BoardNotUsed, available_devices, open_device
from quasar_runtime.doctor.accelerator import examine_accelerator
from quasar_runtime.doctor.finding import Status
from quasar_runtime.errors import DeviceError, DeviceNotFound
from quasar_runtime.model.file import write_model
from quasar_runtime.model.synthetic import random_model
from quasar_runtime.model.zoo import build_index


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    write_model(random_model(1, name="tiny"), tmp_path / "tiny.safetensors")
    build_index(tmp_path)
    monkeypatch.setenv("QUASAR_MODEL_ZOO", str(tmp_path))


@pytest.fixture
def zynqmp(tmp_path, monkeypatch):
    """This machine is a board, with PYNQ; as far as `lacks` says not."""
    (tmp_path / "compatible").write_bytes(b"xlnx,zynqmp-zcu102-rev1.0\0xlnx,zynqmp\0")
    monkeypatch.setattr(device_module, "COMPATIBLE", tmp_path / "compatible")
    monkeypatch.setitem(
        device_module.KINDS, "board", replace(device_module.KINDS["board"], reason=lambda: None)
    )


@pytest.mark.parametrize(
    ("overlay", "lacks"),
    [(None, "no overlay has a bitstream"), ("b64", "overlay 'b64' has no bitstream")],
)
def test_auto_says_in_one_line_that_it_takes_the_cpu_of_a_board(zynqmp, overlay, lacks):
    with pytest.warns(BoardNotUsed, match=lacks) as noticed, open_device(overlay=overlay) as opened:
        assert opened.name == "native"
    assert len(noticed) == 1
    assert "\n" not in str(noticed[0].message)
    assert "quasar overlays install" in str(noticed[0].message)


def test_a_board_without_a_bitstream_is_not_listed_as_usable(zynqmp):
    (board,) = (d for d in available_devices() if d.name == "board")
    assert not board.available
    assert board.reason.startswith("no overlay has a bitstream; build it with")


def test_auto_takes_the_cpu_where_pynq_finds_no_board(zynqmp, monkeypatch):
    original = open_device

    def without_xrt(name="auto", **options):
        if name == "board":
            raise DeviceNotFound("PYNQ finds no board; source xrt_setup.sh")
        return original(name, **options)

    monkeypatch.setattr(device_module, "open_device", without_xrt)
    monkeypatch.setattr(device_module, "_bitstream_reason", lambda overlay: None)
    with pytest.warns(BoardNotUsed, match="PYNQ finds no board"), original() as opened:
        assert opened.name == "native"


def test_auto_does_not_hide_what_is_wrong_with_a_board(zynqmp, monkeypatch):
    original = open_device

    def busy(name="auto", **options):
        if name == "board":
            raise DeviceError("the board is busy, held by PID 4711; wait")
        return original(name, **options)

    monkeypatch.setattr(device_module, "open_device", busy)
    monkeypatch.setattr(device_module, "_bitstream_reason", lambda overlay: None)
    with pytest.raises(DeviceError, match="held by PID 4711"):
        original()


def test_auto_says_nothing_on_a_laptop(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(device_module, "COMPATIBLE", tmp_path / "none")
    monkeypatch.setattr(device_module, "SIMULATED_BOARD", "QUASAR_NO_SIMULATION")
    with open_device() as opened:
        assert opened.name == "native"
    assert not [w for w in recwarn if isinstance(w.message, BoardNotUsed)]


def test_the_doctor_says_that_the_board_was_not_taken(zynqmp, zoo):
    found = {f.name: f for f in examine_accelerator("auto", None, "tiny")}
    assert found["board"].status == Status.FAILED
    assert found["board"].found == "no overlay has a bitstream"
    assert found["accelerator"].found.startswith("native, ")
    assert found["answer"].status == Status.OK


def test_a_command_prints_the_fallback_as_one_warning(zynqmp, zoo):
    picture = Path(__file__).parents[3] / "examples" / "chelsea.jpg"
    result = CliRunner().invoke(quasar, ["infer", "-m", "tiny", "-q", str(picture)])
    assert result.exit_code == 0, result.output
    (warning,) = (line for line in result.output.splitlines() if "Warning" in line)
    assert warning.startswith("Warning: this board's accelerator cannot be used: no overlay has")
