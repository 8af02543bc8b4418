"""The native device's life: jobs, deadlines, interrupts, refusals of use, closing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices.base import Job
from quasar_runtime.devices.native.device import NativeDevice, available_kernels, peak_macs
from quasar_runtime.devices.reference import executor as reference
from quasar_runtime.errors import (
    ArenaError,
    DeviceClosed,
    DeviceError,
    DeviceNotFound,
    DeviceTimeout,
)
from quasar_runtime.isa import interface as hw
from quasar_runtime.model.synthetic import random_model
from tests.runtime.devices.native_cases import image_for, overlay, place

PROGRAM = compile_model(random_model(4, image_size=64), overlay())
IMAGE = image_for(PROGRAM)


@pytest.fixture(params=[1, 3])
def device(request) -> Iterator[NativeDevice]:
    with NativeDevice(PROGRAM.overlay, threads=request.param) as d:
        yield d


def prepared(device: NativeDevice) -> tuple[Job, np.ndarray]:
    """A loaded job and its output area."""
    job, _ = place(device, PROGRAM, IMAGE)
    device.load(job.program, job.program_bytes, job.count)
    return job, device._memories[-2].array


def assert_runs(device: NativeDevice, job: Job, output: np.ndarray) -> None:
    output[:] = 0
    device.submit(job)
    device.wait(60)
    np.testing.assert_array_equal(output, reference.run(PROGRAM, IMAGE))


def test_memory_is_zeroed_and_on_a_64_byte_boundary(device: NativeDevice) -> None:
    for size in (1, 64, 1000):
        memory = device.allocate(size)
        assert memory.address % 64 == 0
        assert memory.address == memory.array.ctypes.data
        assert memory.array.size == size
        assert not memory.array.any()


def test_a_run_leaves_output_and_idle_registers(device: NativeDevice) -> None:
    job, output = prepared(device)
    assert_runs(device, job, output)
    state = device.state()
    assert state["STATUS"] == hw.Status.IDLE | hw.Status.DONE
    assert state["IDENTITY"] == hw.IDENTITY
    assert state["ACT_WORDS"] == PROGRAM.overlay.act_words
    assert state["CLOCK_KHZ"] == 0
    assert state["ERROR_CAUSE"] == 0


def test_profile_holds_contiguous_nanoseconds_from_the_start(device: NativeDevice) -> None:
    job, output = prepared(device)
    before = time.monotonic_ns()
    assert_runs(device, job, output)
    elapsed = time.monotonic_ns() - before
    profile = device._memories[-1].array.view(hw.PROFILE_DTYPE)
    assert profile["begin"][0] == 0
    assert (profile["begin"] <= profile["end"]).all()
    assert (profile["begin"][1:] == profile["end"][:-1]).all()
    assert 0 < profile["end"][-1] < elapsed
    state = device.state()
    assert state["CYCLES_LO"] + (state["CYCLES_HI"] << 32) == profile["end"][-1]


def test_submit_loads_a_program_that_was_not_loaded(device: NativeDevice) -> None:
    job, _ = place(device, PROGRAM, IMAGE)
    assert_runs(device, job, device._memories[-2].array)


def test_another_program_at_the_same_address_runs_after_load(device: NativeDevice) -> None:
    job, output = prepared(device)
    assert_runs(device, job, output)
    other = compile_model(random_model(5, image_size=64), PROGRAM.overlay)
    assert other.data.size <= PROGRAM.data.size + 10**6
    memory = device.allocate(other.data.size)
    memory.array[:] = other.data
    device.load(memory.address, other.data.size, other.count)
    device.submit(
        replace(job, count=other.count, program=memory.address, program_bytes=other.data.size)
    )
    device.wait(60)
    np.testing.assert_array_equal(output, reference.run(other, IMAGE))
    assert_runs(device, job, output)


def test_a_second_submit_while_busy_is_refused_and_harms_nothing(device: NativeDevice) -> None:
    job, output = prepared(device)
    device.submit(job)
    with pytest.raises(DeviceError, match="under way"):
        device.submit(job)
    with pytest.raises(DeviceError, match="under way"):
        device.load(job.program, job.program_bytes, job.count)
    device.wait(60)
    np.testing.assert_array_equal(output, reference.run(PROGRAM, IMAGE))


def test_wait_without_a_run_returns(device: NativeDevice) -> None:
    device.wait(0)
    prepared(device)
    device.wait(0)


def test_a_deadline_stops_the_run_and_the_device_goes_on(device: NativeDevice) -> None:
    job, output = prepared(device)
    for timeout in (0, 1e-9):
        device.submit(job)
        with pytest.raises(DeviceTimeout, match="allow more time") as caught:
            device.wait(timeout)
        assert caught.value.state["STATUS"] == hw.Status.BUSY
        assert caught.value.state["DESCRIPTOR_COUNT"] == PROGRAM.count
        assert device.state()["STATUS"] == hw.Status.IDLE
    assert_runs(device, job, output)


def test_an_interrupt_stops_the_run_and_the_device_goes_on() -> None:
    slow = compile_model(
        random_model(1, image_size=240, width=512, heads=[8] * 3, mlp=[2048] * 3),
        overlay(8, 32, 32),
    )
    with NativeDevice(slow.overlay, threads=2, kernels="scalar") as device:
        job, _ = place(device, slow, image_for(slow))
        device.load(job.program, job.program_bytes, job.count)
        device.submit(job)
        import _thread

        timer = threading.Timer(0.1, _thread.interrupt_main)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            device.wait(60)
        timer.join()
        assert device.state()["STATUS"] == hw.Status.IDLE
        device.submit(job)
        device.reset()
        assert device.state()["STATUS"] == hw.Status.IDLE


@pytest.mark.parametrize("area", ["program", "image", "output", "profile"])
def test_areas_outside_the_devices_memory_are_refused(device: NativeDevice, area: str) -> None:
    job, output = prepared(device)
    size = getattr(job, f"{area}_bytes")
    for wrong in (
        {area: 4096},
        {f"{area}_bytes": size + 65536},
        {area: getattr(job, area) + 1, f"{area}_bytes": size - 1},
    ):
        with pytest.raises(ArenaError, match=area):
            device.submit(replace(job, **wrong))
    assert_runs(device, job, output)


def test_freed_memory_cannot_be_used(device: NativeDevice) -> None:
    job, _ = prepared(device)
    memory = device._memories[0]
    device.free(memory)
    with pytest.raises(ArenaError):
        device.submit(job)
    with pytest.raises(ArenaError, match="not from this device"):
        device.free(memory)


def test_close_frees_may_be_repeated_and_ends_all_use() -> None:
    device = NativeDevice(PROGRAM.overlay)
    job, _ = prepared(device)
    device.submit(job)
    device.close()
    device.close()
    for use in (lambda: device.submit(job), lambda: device.wait(1), device.state, device.reset):
        with pytest.raises(DeviceClosed):
            use()
    with pytest.raises(DeviceClosed):
        device.allocate(64)


def test_threads_end_with_the_device() -> None:
    def count() -> int:
        return int(next(x for x in open("/proc/self/status") if x.startswith("Threads")).split()[1])

    before = count()
    with NativeDevice(PROGRAM.overlay, threads=1):
        assert count() == before
    with NativeDevice(PROGRAM.overlay, threads=5):
        assert count() == before + 4
    deadline = time.monotonic() + 10  # Linux counts a thread a little longer than its end
    while count() != before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert count() == before


@pytest.mark.parametrize("threads", [0, -1, 257])
def test_a_thread_count_out_of_range_is_refused(threads: int) -> None:
    with pytest.raises(DeviceError, match="1 to 256"):
        NativeDevice(PROGRAM.overlay, threads=threads)


def test_unknown_kernels_are_refused_with_what_is_available() -> None:
    with pytest.raises(DeviceNotFound, match=r"Available: .*scalar"):
        NativeDevice(PROGRAM.overlay, kernels="scaler")


def test_describe_names_kernels_and_threads() -> None:
    with NativeDevice(PROGRAM.overlay, threads=2) as device:
        facts = device.describe()
    assert facts["kernels"] == available_kernels()[0]
    assert facts["threads"] == "2"
    assert facts["available"] == ", ".join(available_kernels())


def test_peak_is_measured_where_a_set_has_a_dot_product() -> None:
    for kernels in available_kernels():
        peak = peak_macs(kernels, 0.01)
        assert peak == 0.0 if kernels in ("scalar", "neon") else peak > 1e8
