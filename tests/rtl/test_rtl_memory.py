"""The simulated external memory and the driver, against a stand-in that copies image to output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quasar_runtime.devices.base import Job
from quasar_runtime.devices.rtl.build import missing_tools
from quasar_runtime.devices.rtl.device import FIRST_ADDRESS, MemoryModel, RtlDevice
from quasar_runtime.errors import (
    ArenaError,
    DeviceClosed,
    DeviceError,
    DeviceFault,
    DeviceTimeout,
    OverlayError,
)
from quasar_runtime.isa.interface import Cause
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.resources import data_folder

pytestmark = pytest.mark.skipif(bool(missing_tools()), reason=str(missing_tools()))

STUB = data_folder("hw_src") / "sim" / "stub"
OVERLAY = replace(load_overlay("b64"), name="stub", read_ports=2)
BYTES = 8192


def open_stub(memory: MemoryModel | None = None, **options) -> RtlDevice:
    return RtlDevice(OVERLAY, memory=memory, sources=STUB, checked=True, **options)


def job_of(device: RtlDevice, size: int = BYTES) -> tuple[Job, np.ndarray, np.ndarray]:
    """A copy of random bytes: (job, image, output)."""
    image, output, profile = (device.allocate(n) for n in (size, size, 64))
    image.array[:] = np.random.default_rng(3).integers(0, 256, size)
    areas = (image.address, size, image.address, size, output.address, size, profile.address, 64)
    return Job(1, *areas), image.array, output.array


def copy(memory: MemoryModel, size: int = BYTES) -> int:
    """Cycles of a copy, which is checked."""
    with open_stub(memory) as device:
        job, image, output = job_of(device, size)
        device.submit(job)
        device.wait(20)
        assert np.array_equal(image, output)
        return device.cycles


@pytest.mark.parametrize("latency", [1, 40, 150])
def test_a_burst_waits_for_the_latency_and_then_comes_beat_by_beat(latency):
    bursts, free = BYTES // 256, {"gigabytes": 100.0, "port_gigabytes": 100.0}
    cycles = copy(MemoryModel(latency=latency, **free))
    # AR, 16 R, 16 W beside AW, B: and the latency twice; the profile entry is one more write.
    expected = bursts * (2 * latency + 33) + latency + 2
    assert abs(cycles - expected) <= bursts + 1


@pytest.mark.parametrize("limit", ["gigabytes", "port_gigabytes"])
def test_bandwidth_limits_the_rate(limit):
    free = {"gigabytes": 100.0, "port_gigabytes": 100.0}
    cycles = copy(MemoryModel(latency=1, **{**free, limit: 0.6}))
    # 2 bytes per cycle at 300 MHz: 8 cycles per beat, and every byte is read and written.
    assert 0.8 < cycles / (2 * BYTES / 2) < 1.2


def test_backpressure_changes_no_byte_and_repeats_with_its_seed():
    cycles = [copy(MemoryModel(backpressure=0.5, seed=seed)) for seed in (1, 1, 2)]
    assert cycles[0] == cycles[1] != cycles[2]
    assert copy(MemoryModel()) < cycles[0]


def test_bytes_are_counted_by_port():
    with open_stub() as device:
        job, _, _ = job_of(device)
        device.submit(job)
        device.wait(20)
        assert device.bytes_moved() == [BYTES // 2, BYTES // 2, BYTES + 16]


@pytest.mark.parametrize(
    ("port", "channel", "response", "cause"),
    [
        (0, "R", "SLVERR", Cause.READ_SLVERR),
        (1, "R", "DECERR", Cause.READ_DECERR),
        (2, "B", "SLVERR", Cause.WRITE_SLVERR),
        (2, "B", "DECERR", Cause.WRITE_DECERR),
        (0, "AR", "silent", Cause.STALLED),
        (1, "R", "silent", Cause.STALLED),
        (2, "AW", "silent", Cause.STALLED),
        (2, "W", "silent", Cause.STALLED),
        (2, "B", "silent", Cause.STALLED),
    ],
)
def test_an_injected_fault_becomes_a_typed_error_and_reset_recovers(port, channel, response, cause):
    with open_stub() as device:
        job, image, output = job_of(device)
        device.inject(port, channel, 2, response)
        device.submit(job)
        with pytest.raises(DeviceFault, match=cause.name) as fault:
            device.wait(20)
        assert fault.value.state["ERROR_CAUSE"] == cause
        device.reset()
        device.clear_faults()
        device.submit(job)
        device.wait(20)
        assert np.array_equal(image, output)


@pytest.mark.parametrize(("area", "cause"), [("image", "READ"), ("output", "WRITE")])
def test_outside_the_memories_answers_decerr_and_touches_nothing(area, cause):
    with open_stub() as device:
        job, _, _ = job_of(device)
        end = getattr(job, area) + BYTES
        device.submit(replace(job, **{area: end - 4096}))
        with pytest.raises(DeviceFault, match=f"{cause}_DECERR at {end:#x}"):
            device.wait(20)


def test_deadlines_in_cycles_and_in_seconds():
    for limit, timeout, words in ((500, 20, "500 cycles"), (None, 1e-6, "1e-06 s")):
        with open_stub(cycle_limit=limit) as device:
            job, image, output = job_of(device)
            device.submit(job)
            with pytest.raises(DeviceTimeout, match=words) as late:
                device.wait(timeout)
            assert late.value.state["STATUS"] == 2  # busy, and what the registers said
            assert device.state()["STATUS"] == 1  # reset
            device.cycle_limit = None
            device.submit(job)
            device.wait(20)
            assert np.array_equal(image, output)


def test_one_run_at_a_time_and_none_after_close():
    device = open_stub()
    job, _, _ = job_of(device)
    device.submit(job)
    with pytest.raises(DeviceError, match="under way"):
        device.submit(job)
    device.close()
    device.close()
    with pytest.raises(DeviceClosed):
        device.submit(job)


def test_freed_memory_is_out_of_reach():
    with open_stub() as device:
        job, _, _ = job_of(device)
        output = next(m for m in device._memories if m.address == job.output)
        device.free(output)
        with pytest.raises(ArenaError):
            device.free(output)
        device.submit(job)
        with pytest.raises(DeviceFault, match="WRITE_DECERR"):
            device.wait(20)


def test_addresses_lie_above_4_gib_and_are_aligned():
    with open_stub() as device:
        first, second = device.allocate(100), device.allocate(100)
        assert first.address >= FIRST_ADDRESS > 2**32
        assert first.address % 64 == second.address % 64 == 0
        assert second.address >= first.address + 100


def test_registers_of_another_overlay_are_refused(monkeypatch):
    monkeypatch.setattr("quasar_runtime.devices.rtl.build.Build.parameters", {"TOKENS": 4})
    with pytest.raises(OverlayError, match="ARRAY reads"):
        open_stub()
