"""What a user sees of a simulation: its waves, its progress, its deadline, and its one build."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.cycles.predict import program_cycles
from quasar_runtime.devices.rtl import build as rtl_build
from quasar_runtime.devices.rtl.build import Build, Tools, cached, library, missing_tools
from quasar_runtime.devices.rtl.device import SLACK
from quasar_runtime.devices.rtl.watch import Progress, Waves
from quasar_runtime.errors import DeviceClosed, DeviceError, DeviceTimeout
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Control
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.model.synthetic import random_model
from tests.rtl.rtl_cases import script_program
from tests.rtl.test_rtl_memory import OVERLAY, STUB, job_of, open_stub
from tests.rtl.vcd import read_vcd

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason=str(missing_tools()))

B64 = load_overlay("b64")
BYTES = 2048
CYCLE, EDGE = 10, 5
"""In units of the file's time: a cycle, and its rising edge."""


def record(path: Path, begin: int, end: int, **options) -> np.ndarray:
    """Waves of a copy; returns the bytes that it copied."""
    with open_stub(waves=Waves(path, begin, end, **options)) as device:
        job, image, _ = job_of(device, BYTES)
        device.submit(job)
        device.wait(20)
    return image


# --- waves


@pytest.fixture(scope="module")
def waves(tmp_path_factory):
    path = tmp_path_factory.mktemp("waves") / "copy.vcd"
    return record(path, 0, 3000), read_vcd(path)


def test_a_cycle_is_a_nanosecond_of_the_files_time(waves):
    _, vcd = waves
    assert vcd.timescale == "100ps"
    clock = vcd.changes[vcd.find("clk_i")]
    assert clock[:4] == [(0, 0), (EDGE, 1), (CYCLE, 0), (CYCLE + EDGE, 1)]
    assert len(clock) > 2 * 2500


def test_the_window_begins_with_the_start(waves):
    _, vcd = waves
    valid, address, data = (vcd.find(f"s_axil_{n}") for n in ("awvalid", "awaddr", "wdata"))
    first = next(time for time, value in vcd.changes[valid] if value)
    assert first < 4 * CYCLE
    assert vcd.at(address, first) == hw.REGISTER["CONTROL"].offset
    assert vcd.at(data, first) == Control.START


def test_recorded_values_are_those_of_the_run(waves):
    """The beats that the waves show on the write port, in order, are the bytes that were copied."""
    image, vcd = waves
    names = [vcd.find(f"m_axi_{n}") for n in ("wvalid", "wready", "wdata")]
    beats = []
    for cycle in range(3000):
        valid, ready, data = (vcd.at(name, cycle * CYCLE) for name in names)
        if valid and ready:
            beats.append(data.to_bytes(16, "little"))
    assert len(beats) == BYTES // 16 + 1  # and the profile entry
    assert b"".join(beats[:-1]) == image.tobytes()


def test_a_window_holds_its_cycles_and_no_others(tmp_path):
    record(tmp_path / "window.vcd", 100, 200)
    clock = read_vcd(tmp_path / "window.vcd")
    times = [time for time, _ in clock.changes[clock.find("clk_i")]]
    assert (times[0], times[-1]) == (100 * CYCLE, 199 * CYCLE + EDGE)


def test_fst_holds_the_same_window(tmp_path):
    if not Path("/usr/include/lz4.h").is_file():
        pytest.skip("Verilator's FST recorder needs lz4.h; install liblz4-dev")
    record(tmp_path / "waves.bin", 100, 200, format="fst")
    kind, size, begin, end, e = struct.unpack_from(">BQQQd", (tmp_path / "waves.bin").read_bytes())
    assert (kind, size) == (0, 329)  # the header block
    assert (begin, end) == (100 * CYCLE, 199 * CYCLE + EDGE)
    assert e != 0


def test_a_window_after_the_run_holds_nothing(tmp_path):
    with open_stub(waves=Waves(tmp_path / "late.vcd", 10**6, 10**6 + 10)) as device:
        job, _, _ = job_of(device)
        device.submit(job)
        device.wait(20)
    assert device.waves_recorded == 0


def run_with_a_fork(path: Path, fork: bool) -> bytes:
    """Waves of a copy in whose middle a child is forked, which closes the device and exits."""
    with open_stub(waves=Waves(path, 0, 3000)) as device:
        job, _, _ = job_of(device, BYTES)
        device.submit(job)
        device._simulate(0)
        child = os.fork() if fork else None
        if child == 0:
            signal.alarm(60)
            for use in (device.state, device.reset, lambda: device.allocate(64)):
                with pytest.raises(DeviceClosed, match="this rtl device belongs to another"):
                    use()
            device.close()
            ctypes.CDLL(None).exit(0)  # writes out what C's files still hold
        if child is not None:
            assert os.waitpid(child, 0)[1] == 0
        device.wait(20)
    return path.read_bytes()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("suffix", ["vcd", "fst"])
def test_a_forked_child_adds_nothing_to_its_parents_waves(tmp_path, suffix):
    alone, forked = (run_with_a_fork(tmp_path / f"{fork}.{suffix}", fork) for fork in (False, True))
    if suffix == "vcd":  # an FST file holds the time of its making
        assert forked == alone
    assert len(forked) == len(alone)


def test_waves_that_cannot_be_are_refused_before_anything_is_built(tmp_path):
    with pytest.raises(DeviceError, match=r"out\.txt: waves are written as \.vcd or \.fst"):
        Waves(Path("out.txt"), 0, 10)
    for begin, end in ((5, 5), (-1, 5), (9, 3)):
        with pytest.raises(DeviceError, match="is empty"):
            Waves(Path("out.vcd"), begin, end)
    with pytest.raises(DeviceError, match="none is no such folder"):
        open_stub(waves=Waves(tmp_path / "none" / "out.vcd", 0, 10))


# --- progress and deadlines


def test_progress_tells_the_cycles_and_the_end():
    seen: list[Progress] = []
    with open_stub(progress=seen.append) as device:
        job, _, _ = job_of(device)
        device.submit(job)
        device.wait(20)
        cycles = [p.cycles for p in seen]
        assert cycles == sorted(cycles)
        assert abs(cycles[-1] - device.cycles) < 100
    assert [p.running for p in seen] == [True] * (len(seen) - 1) + [False]
    assert seen[-1].cycles_per_second > 0
    assert seen[-1].expected is None


def test_a_loaded_program_is_predicted_and_bounds_its_run():
    program = compile_model(random_model(3), OVERLAY)
    seen: list[Progress] = []
    with open_stub(progress=seen.append) as device:
        memory = device.allocate(program.data.size)
        memory.array[:] = program.data
        device.load(memory.address, program.data.size, program.count)
        job, _, _ = job_of(device, 2**24)  # the stand-in copies far longer than that
        device.submit(replace(job, program=memory.address))
        expected = int(program_cycles(program).total)
        words = f"within {SLACK * expected} cycles .* predicted {expected} in all"
        with pytest.raises(DeviceTimeout, match=words):
            device.wait(60)
        assert {p.expected for p in seen} == {expected}
        device.submit(job)  # another program, of which nothing is known
        device.cycle_limit = 700
        with pytest.raises(DeviceTimeout, match="within 700 cycles"):
            device.wait(60)


@pytest.mark.parametrize("seed", range(25))
def test_any_legal_program_can_be_predicted(seed):
    program = script_program(seed, B64)
    assert program_cycles(program).total > 0


# --- the build


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.setenv("QUASAR_CACHE", str(tmp_path / "cache"))
    return Build(OVERLAY, STUB)


def files(tmp_path: Path) -> list[str]:
    """What the cache holds besides locks."""
    folder = tmp_path / "cache" / "rtl"
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock")


def test_two_builds_of_the_same_at_once_are_one(build, tmp_path, monkeypatch):
    begun, release, steps, made = threading.Event(), threading.Event(), [], []

    def slow(tools, build, work):
        begun.set()
        assert release.wait(20)
        (work / "made.so").write_bytes(b"library")
        return work / "made.so"

    def second(line):
        steps.append(line)
        if "waiting" in line:
            release.set()

    monkeypatch.setattr(Tools, "build", slow)
    threads = [
        threading.Thread(target=lambda report=report: made.append(library(build, report)))
        for report in (lambda line: None, second)
    ]
    threads[0].start()
    assert begun.wait(20)
    assert not cached(build)
    begun.clear()
    threads[1].start()
    for thread in threads:
        thread.join(20)
    assert not begun.is_set()
    assert made[0] == made[1]
    assert files(tmp_path) == [made[0].name]
    assert cached(build)
    assert "waiting for another process" in steps[0]
    assert steps[-1] == ""


def test_a_build_that_fails_leaves_nothing_and_says_why(build, tmp_path):
    sources = tmp_path / "rtl"
    sources.mkdir()
    (sources / "quasar_top.sv").write_text("module quasar_top (input logic clk_i;\nendmodule\n")
    steps: list[str] = []
    with pytest.raises(DeviceError, match=r"verilator_bin exited with 1: .*syntax error"):
        library(replace(build, sources=sources), steps.append)
    assert files(tmp_path) == []
    assert "translating the RTL" in steps[0]
    assert steps[-1] == ""


def compiler(path: Path, what: str) -> None:
    """A compiler that says what it compiles for, and instead of compiling does something else."""
    path.write_text(f'#!/bin/sh\ncase "$*" in *-dM*) exec g++ "$@";; esac\n{what}\n')
    path.chmod(0o755)


@pytest.mark.parametrize("header", ["lz4.h", "zlib.h"])
def test_missing_headers_of_fst_are_named_with_their_packages(build, tmp_path, monkeypatch, header):
    message = f"fatal error: {header}: No such file or directory"
    compiler(tmp_path / "g++", f'echo "{message}" >&2\nexit 1')
    monkeypatch.setenv("CXX", str(tmp_path / "g++"))
    with pytest.raises(DeviceError, match=r"liblz4-dev and zlib1g-dev or use VCD"):
        library(replace(build, trace="fst"), lambda line: None)


BUILDING = """
import sys
from pathlib import Path
from dataclasses import replace
from quasar_runtime.devices.rtl.build import Build, library
from quasar_runtime.isa.overlay import load_overlay
overlay = replace(load_overlay("b64"), name="stub", read_ports=2)
library(Build(overlay, Path(sys.argv[1])), lambda line: None)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_build_that_is_interrupted_leaves_no_library(build, tmp_path, monkeypatch, how):
    started = tmp_path / "started"
    os.mkfifo(started)
    compiler(tmp_path / "g++", f'echo $$ > "{started}"\nexec sleep 300')
    monkeypatch.setenv("CXX", str(tmp_path / "g++"))
    command = [sys.executable, "-c", BUILDING, str(STUB)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        child = int(started.read_text())  # is there once the compiler runs
        process.send_signal(how)
    left = files(tmp_path)
    assert not [name for name in left if name.endswith((".so", ".o"))]
    if how == signal.SIGINT:
        assert left == []
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
    else:
        os.kill(child, signal.SIGKILL)
        assert len(left) == 1
        compiler(tmp_path / "g++", "exit 1")
        with pytest.raises(DeviceError, match=r"g\+\+ exited with 1"):
            library(build, lambda line: None)
        assert files(tmp_path) == []


def test_a_killed_builds_compiler_that_lives_on_cannot_write_into_the_next_build(tmp_path):
    with rtl_build._work(tmp_path / "b64.build") as killed:
        (killed / "half.o").touch()
        with rtl_build._work(tmp_path / "b64.build") as fresh:
            assert not killed.exists()
            assert fresh != killed
            assert list(fresh.iterdir()) == []
    assert list(tmp_path.iterdir()) == []
