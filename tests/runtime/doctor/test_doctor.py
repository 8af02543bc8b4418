"""`quasar doctor` finds what is missing on a made-up board, and wrong bytes on a made-up device."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from quasar_runtime.bitstream.package import write_checksums
from quasar_runtime.cli.app import quasar
from quasar_runtime.devices import catalogue as device_module
from quasar_runtime.devices.reference import executor as reference_module
from quasar_runtime.devices.reference.device import ReferenceDevice
from quasar_runtime.devices.rtl.build import unavailable
from quasar_runtime.doctor import accelerator as doctor_accelerator
from quasar_runtime.doctor import environment as doctor_environment
from quasar_runtime.doctor import examine as doctor
from quasar_runtime.doctor.accelerator import examine_accelerator, loopback
from quasar_runtime.doctor.examine import examine
from quasar_runtime.doctor.finding import Finding, Machine, Status
from quasar_runtime.errors import DeviceError, DeviceFault, OverlayError
from quasar_runtime.isa.overlay import load_overlay, overlay_names
from quasar_runtime.measure.power import LOGIC, PROCESSOR
from quasar_runtime.model.file import write_model
from quasar_runtime.model.synthetic import random_model
from quasar_runtime.model.zoo import build_index
from quasar_runtime.resources import data_folder

B64 = load_overlay("b64")


@pytest.fixture
def tree(tmp_path):
    """The files of a ZCU102 under PYNQ, as far as the checks look at them."""
    files = {
        "proc/device-tree/compatible": "xlnx,zynqmp-zcu102-rev1.0\0xlnx,zynqmp\0",
        "proc/device-tree/model": "ZynqMP ZCU102 Rev1.0\0",
        "proc/meminfo": "MemTotal: 4035488 kB\nCmaTotal: 524288 kB\nCmaFree: 400000 kB\n",
        "sys/class/fpga_manager/fpga0/state": "operating\n",
        "sys/class/uio/uio4/name": "fabric\n",
        "usr/share/xrt": None,
        "etc/profile.d/xrt_setup.sh": "export XILINX_XRT=/usr\n",
        "sys/module/zocl": None,
    }
    for number, chip in enumerate([*PROCESSOR, *LOGIC]):
        files[f"sys/class/hwmon/hwmon{number}/name"] = f"ina226_{chip}\n"
        files[f"sys/class/hwmon/hwmon{number}/power1_input"] = "500000\n"
    for name, text in files.items():
        path = tmp_path / name
        if text is None:
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return tmp_path


@pytest.fixture
def pynq(monkeypatch):
    """Versions of installed packages."""
    versions = {"pynq": "3.0.1", "numpy": "1.26.4", "pillow": "11.0"}
    monkeypatch.setattr(doctor, "_version", versions.get)
    return versions


@pytest.fixture
def alone(monkeypatch):
    """No accelerator is run."""
    monkeypatch.setattr(doctor_accelerator, "examine_accelerator", lambda *a: iter(()))


def findings(tree: Path, user: int = 0, xrt: str | None = "/usr/share/xrt") -> dict[str, Finding]:
    environment = {"XILINX_XRT": xrt} if xrt else {}
    return {f.name: f for f in examine(Machine(tree, environment, user))}


BOARD = ("root", "pynq", "xrt", "fabric", "contiguous", "interrupts", "sensors")


def test_a_board_with_everything_is_well(tree, pynq, alone):
    found = findings(tree)
    assert [found[name].status for name in BOARD] == [Status.OK] * len(BOARD)
    assert "ZCU102" in found["machine"].found
    assert found["contiguous"].found == "390 of 512 MB free"
    assert found["sensors"].found == "18 rails, board 9.00 W, logic 4.00 W"
    assert found["bitstream"].status == Status.FAILED  # of which none can be in the repository
    assert "quasar overlays install" in found["bitstream"].remedy


@pytest.mark.parametrize(
    ("name", "file", "text", "found", "remedy"),
    [
        ("fabric", "sys/class/fpga_manager/fpga0/state", None, "no FPGA manager", "kernel"),
        ("contiguous", "proc/meminfo", "MemTotal: 9 kB\n", "no contiguous memory", "cma="),
        ("contiguous", "proc/meminfo", "CmaFree: 9000 kB\n", "8 of 0 MB free, needed", "close"),
        ("xrt", "sys/module/zocl", None, "zocl is not loaded", "modprobe zocl"),
        ("xrt", "usr/share/xrt", None, "no such folder", "xrt_setup.sh"),
    ],
)
def test_what_is_missing_fails_with_its_remedy(tree, pynq, alone, name, file, text, found, remedy):
    path = tree / file
    if path.is_dir():
        path.rmdir()
    elif text is None:
        path.unlink()
    else:
        path.write_text(text)
    finding = findings(tree)[name]
    assert finding.status == Status.FAILED
    assert found in finding.found
    assert remedy in finding.remedy


def test_what_costs_speed_or_figures_alone_is_a_warning(tree, pynq, alone):
    (tree / "sys/class/uio/uio4/name").unlink()
    (tree / "sys/class/hwmon/hwmon3/power1_input").write_text("?")
    found = findings(tree)
    assert found["interrupts"].status == found["sensors"].status == Status.WARNING
    assert "no generic-uio node" in found["interrupts"].found
    assert "docs/board.md" in found["interrupts"].remedy
    assert "unreadable: VCCPSPLL" in found["sensors"].found


def test_a_node_for_the_interrupt_that_no_driver_took_is_named(tree, pynq, alone):
    node = tree / "proc/device-tree/fabric@a0000000"
    node.mkdir()
    (node / "compatible").write_bytes(b"generic-uio\0")
    assert findings(tree)["interrupts"].found == "uio4 (fabric)"
    (tree / "sys/class/uio/uio4/name").unlink()
    found = findings(tree)["interrupts"]
    assert found.status == Status.WARNING
    assert "fabric@a0000000 of the device tree has no driver" in found.found
    assert "uio_pdrv_genirq.of_id=generic-uio" in found.remedy


def test_user_environment_and_versions_are_looked_at(tree, pynq, alone):
    found = findings(tree, user=1000, xrt=None)
    assert (found["root"].status, found["xrt"].status) == (Status.FAILED, Status.FAILED)
    assert "sudo -E" in found["root"].remedy
    assert found["xrt"].found == "XILINX_XRT is not set"
    assert "sudo -E" in found["xrt"].remedy
    (tree / "etc/profile.d/xrt_setup.sh").unlink()
    assert "install XRT" in findings(tree, xrt=None)["xrt"].remedy
    assert found["python"].status == Status.OK
    pynq["numpy"] = "2.1.0"
    assert "numpy below 2" in findings(tree)["python"].remedy
    pynq["pynq"] = "2.7.0"
    assert findings(tree)["pynq"].remedy == "install 3.0.1 or later"
    del pynq["pynq"]
    assert "pynq_venv.sh" in findings(tree)["pynq"].remedy


def test_a_laptop_is_not_asked_for_a_boards_things(tmp_path, alone):
    found = {f.name: f for f in examine(Machine(tmp_path, {}, 1000))}
    assert {found[name].status for name in BOARD} == {Status.SKIPPED}
    assert found["bitstream"].status == Status.SKIPPED
    assert found["machine"].status == found["python"].status == Status.OK


def test_the_bitstream_that_is_there_is_verified(tree, pynq, alone, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("overlays")
    for name in ("b64", "b1024"):
        (folder / name).mkdir()
        parameters = data_folder("overlays") / name / "overlay.json"
        (folder / name / "overlay.json").write_bytes(parameters.read_bytes())
    for suffix in ("bit", "hwh"):
        (folder / "b64" / f"b64.{suffix}").write_bytes(b"made up")
    write_checksums(folder / "b64")
    monkeypatch.setenv("QUASAR_OVERLAYS", str(folder))
    assert findings(tree)["bitstream"].status == Status.OK
    assert "b64.bit, checksums right" in findings(tree)["bitstream"].found
    (folder / "b64" / "b64.hwh").write_bytes(b"damaged")
    assert findings(tree)["bitstream"].status == Status.FAILED
    assert "b64.hwh has the SHA-256" in findings(tree)["bitstream"].found


# --- the environment


def environment(**variables: str) -> dict[str, Finding]:
    """What is found of the environment alone."""
    machine = Machine(Path("/"), variables, 1000)
    return {check.__name__: check(machine) for check in doctor_environment.CHECKS}


def test_the_environment_of_these_tests_is_well(monkeypatch, tmp_path):
    monkeypatch.setenv("QUASAR_CACHE", str(tmp_path))
    found = environment()
    for name in ("packages", "models", "variables", "temporary"):
        assert found[name].status == Status.OK, found[name]
    assert f"{tmp_path}, 0 simulations of 0 MB" in found["cache"].found


def test_packages_that_are_missing_or_too_old_fail(monkeypatch):
    monkeypatch.setattr(
        doctor_environment.metadata,
        "requires",
        lambda name: ["numpy>=99,<100", "nonesuch>=1", 'torch; extra == "train"', "click"],
    )
    found = environment()["packages"]
    assert found.status == Status.FAILED
    assert "numpy is" in found.found
    assert "needed is 99 or later; nonesuch is missing" in found.found
    assert "torch" not in found.found


def test_a_misspelt_variable_is_told():
    found = environment(QUASAR_CASHE="/x", QUASAR_CACHE="/y")["variables"]
    assert found.status == Status.WARNING
    assert "QUASAR_CASHE: not read by Quasar; did you mean 'QUASAR_CACHE'?" in found.found


@pytest.mark.parametrize("cache", ["/proc/x", "FILE"])
def test_a_cache_that_cannot_be_written_is_a_warning(monkeypatch, tmp_path, cache):
    (tmp_path / "file").touch()
    monkeypatch.setenv("QUASAR_CACHE", cache.replace("FILE", str(tmp_path / "file")))
    found = environment()["cache"]
    assert found.status == Status.WARNING
    assert "set QUASAR_CACHE" in found.remedy


def test_a_temporary_folder_that_is_not_used_is_told():
    found = environment(TMPDIR="/nonexistent")["temporary"]
    assert found.status == Status.WARNING
    assert "TMPDIR is /nonexistent, which cannot be written" in found.found


def test_an_output_without_all_letters_is_told(monkeypatch):
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    found = environment()["letters"]
    assert found.status == Status.WARNING
    assert "output ascii" in found.found


def test_models_that_are_missing_are_named(zoo, tmp_path):
    (tmp_path / "tiny.safetensors").unlink()
    assert "lacks tiny.safetensors" in environment()["models"].found
    (tmp_path / "index.json").unlink()
    assert "QUASAR_MODEL_ZOO" in environment()["models"].remedy


def test_an_engine_older_than_its_sources_is_a_warning(monkeypatch, alone, tmp_path):
    monkeypatch.setattr(doctor_environment, "stale_engine", lambda: "linear.c")
    found = {f.name: f for f in examine(Machine(tmp_path, {}, 1000))}["engine"]
    assert found.status == Status.WARNING
    assert "built before linear.c was changed" in found.found


@pytest.mark.parametrize(
    "error", [RuntimeError("no such thing"), ModuleNotFoundError("No module named 'numpy'")]
)
def test_a_check_that_goes_wrong_is_a_finding_and_not_the_end(monkeypatch, tmp_path, error):
    def wrong(*arguments, **options):
        raise error

    monkeypatch.setattr(doctor_environment, "CHECKS", (wrong,))
    monkeypatch.setattr(doctor_accelerator, "examine_accelerator", wrong)
    monkeypatch.setattr(device_module, "available_devices", wrong)
    found = {f.name: f for f in examine(Machine(tmp_path, {}, 1000))}
    for name in ("wrong", "accelerator"):
        assert found[name].status == Status.FAILED
        assert str(error) in found[name].found
        assert found[name].remedy
    assert found["machine"].status == Status.OK


# --- the accelerator


@pytest.mark.parametrize("name", overlay_names())
def test_the_loopback_brings_everything_back(name):
    overlay = load_overlay(name)
    program, image = loopback(overlay)
    output = reference_module.run(program, image)
    assert program.image_size >= 96
    values = program.data[5 * 64 :]
    assert output.tobytes().endswith(values.tobytes())
    patches = output[: output.size - values.size][768:]  # behind the CLS row
    kept = np.sort(np.maximum(image.reshape(-1), 1).astype(np.int16) - 128)
    assert np.array_equal(np.sort(patches.view(np.int8)[: kept.size]), kept)


class Wrong(ReferenceDevice):
    """A device that goes wrong in a way of its own."""

    name = "rtl"

    def __init__(self, how: str) -> None:
        super().__init__(B64)
        self.how = how

    def wait(self, timeout: float) -> None:
        super().wait(timeout)
        if self.how == "fault":
            raise DeviceFault("the accelerator stopped at descriptor 2: STALLED; check the clock")

    def invalidate(self, memory, offset, size) -> None:
        if self.how == "flip":
            memory.array[offset + 5] ^= 0x10


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    write_model(random_model(1, name="tiny"), tmp_path / "tiny.safetensors")
    build_index(tmp_path)
    monkeypatch.setenv("QUASAR_MODEL_ZOO", str(tmp_path))


def examined(monkeypatch, device) -> dict[str, Finding]:
    def opened(name, *, overlay=None, threads=None):
        if isinstance(device, Exception):
            raise device
        return device if name == "rtl" else original(name, overlay=overlay)

    original = device_module.open_device
    monkeypatch.setattr(device_module, "open_device", opened)
    return {f.name: f for f in examine_accelerator("rtl", "b64", "tiny")}


def test_a_flipped_bit_is_found_and_located(zoo, monkeypatch):
    found = examined(monkeypatch, Wrong("flip"))
    assert found["loopback"].status == found["answer"].status == Status.FAILED
    assert "1 of" in found["loopback"].found
    assert "the first at 5: " in found["loopback"].found
    assert "1 of 10 classes of tiny differ" in found["answer"].found


def test_a_fault_is_a_finding_and_not_the_end(zoo, monkeypatch):
    found = examined(monkeypatch, Wrong("fault"))
    assert found["loopback"].found == "the accelerator stopped at descriptor 2: STALLED"
    assert found["loopback"].remedy == "check the clock"
    assert found["answer"].status == Status.FAILED


@pytest.mark.parametrize(
    "error", [OverlayError("register ARRAY reads 1; rebuild"), DeviceError("busy; wait")]
)
def test_a_device_that_does_not_open_is_a_finding(zoo, monkeypatch, error):
    found = examined(monkeypatch, error)
    assert list(found) == ["accelerator"]
    assert found["accelerator"].status == Status.FAILED
    assert found["accelerator"].remedy in ("rebuild", "wait")


@pytest.mark.parametrize("device", ["native", "rtl"])
def test_the_devices_of_a_laptop_are_well(zoo, device):
    if device == "rtl" and unavailable():
        pytest.skip(unavailable())
    found = list(examine_accelerator(device, "b64", "tiny"))
    assert [(f.name, f.status) for f in found] == [
        ("accelerator", Status.OK),
        ("loopback", Status.OK),
        ("answer", Status.OK),
    ]
    other = "reference" if device == "native" else "native"
    assert f"10 classes of tiny equal the {other} device's" in found[2].found
    assert ("cycles at 300 MHz" in found[2].found) == (device == "rtl")


def test_the_command_prints_findings_and_remedies(zoo):
    options = ["doctor", "--overlay", "b64", "-m", "tiny", "-d", "native"]
    result = CliRunner().invoke(quasar, options)
    assert result.exit_code == 0, result.output
    assert "ok       loopback " in result.output
    found = json.loads(CliRunner().invoke(quasar, [*options, "--json"]).output)
    assert found["ok"] is True
    assert found["findings"][-1] == {
        "name": "answer",
        "status": "ok",
        "found": "10 classes of tiny equal the reference device's",
        "remedy": None,
    }
    assert CliRunner().invoke(quasar, [*options, "-q"]).output == ""


def test_off_a_board_the_command_shows_what_matters_and_counts_the_rest(zoo):
    options = ["doctor", "--overlay", "b64", "-m", "tiny", "-d", "native"]
    lines = CliRunner().invoke(quasar, options).output.splitlines()
    found = json.loads(CliRunner().invoke(quasar, [*options, "--json"]).output)["findings"]
    assert [line for line in lines if line.startswith("skipped")] == []
    assert re.fullmatch(rf"{len(found)} checks: .* skipped; --all shows each", lines[-1])
    every = CliRunner().invoke(quasar, [*options, "--all"]).output
    assert [f["name"] for f in found if f" {f['name']} " not in every] == []


def test_the_command_exits_with_1_when_something_failed(zoo, monkeypatch):
    def broken(*arguments):
        yield Finding("loopback", Status.FAILED, "bytes\ndiffer", "check\nit")
        yield Finding("answer", Status.SKIPPED, "no", None)

    monkeypatch.setattr(doctor, "examine", broken)
    result = CliRunner().invoke(quasar, ["doctor", "-q"])
    assert result.exit_code == 1
    first, second = result.output.splitlines()
    assert first == "failed   loopback     bytes differ"
    assert second.strip() == "-> check it"
    result = CliRunner().invoke(quasar, ["doctor", "--json"])
    assert (result.exit_code, json.loads(result.output)["ok"]) == (1, False)
