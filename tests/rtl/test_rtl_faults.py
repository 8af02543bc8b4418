"""Whatever goes wrong ends in an error state with cause and address, and the next run is right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quasar_runtime.devices.base import Device, Job
from quasar_runtime.devices.native.device import NativeDevice
from quasar_runtime.devices.rtl.build import unavailable
from quasar_runtime.devices.rtl.device import MemoryModel, RtlDevice
from quasar_runtime.errors import DeviceFault, DeviceTimeout
from quasar_runtime.isa.interface import Cause, Control, Opcode, Status
from quasar_runtime.isa.overlay import load_overlay
from tests.rtl.rtl_cases import Placed, model_program, place, random_image, run, script_program
from tests.runtime.isa.test_program import LEGAL, MEMORY, field_cases, program, table

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=str(unavailable()))

B64 = load_overlay("b64")
AREA = 2**20
PROGRAM = model_program(11, B64)
"""An ordinary program, whose run after a fault is compared with the reference."""


@pytest.fixture(scope="module")
def rtl():
    with RtlDevice(B64, checked=True) as device:
        yield device


@pytest.fixture(scope="module")
def native():
    with NativeDevice(B64, threads=1) as device:
        yield device


def ordinary(device: RtlDevice) -> Placed:
    return place(device, PROGRAM, random_image(PROGRAM.image_size, 11), 11)


def execute(device: Device, job: Job) -> None:
    device.load(job.program, job.program_bytes, job.count)
    device.submit(job)
    device.wait(20)


def refusal(device: Device, data: np.ndarray, count: int, **sizes: int) -> tuple[int, int, int]:
    """(cause, descriptor, address) with which a device refuses a program."""
    memory = device.allocate(4 * AREA)
    try:
        memory.array[: data.size] = data
        areas = []
        for place_, name in enumerate(("program", "image", "output", "profile")):
            areas += [memory.address + place_ * AREA, sizes.get(name, AREA)]
        job = Job(count, *areas)
        with pytest.raises(DeviceFault) as fault:
            execute(device, job)
        state = fault.value.state
        return state["ERROR_CAUSE"], state["ERROR_DESCRIPTOR"], state["ERROR_ADDRESS_LO"]
    finally:
        device.free(memory)


def bytes_of(*descriptors: dict[str, int], end: bool = True) -> np.ndarray:
    data = np.zeros(AREA, np.uint8)
    rows = table(*descriptors, end=end)
    data[: rows.nbytes] = rows.view(np.uint8)
    return data


FIELDS = list(field_cases())


@pytest.mark.parametrize("name", sorted(LEGAL))
def test_a_field_outside_its_range_is_refused_as_the_engine_does(rtl, native, name):
    for case, field, value, cause in FIELDS:
        if case == name:
            data = bytes_of({**LEGAL[name], field: value})
            found = refusal(rtl, data, 2)
            assert found == refusal(native, data, 2), (field, value)
            assert found[:2] == (cause, 0), (field, value)


@pytest.mark.parametrize("opcode", [0, 8, 255])
def test_an_unknown_operation_is_refused(rtl, native, opcode):
    data = bytes_of({"opcode": opcode})
    assert refusal(rtl, data, 2) == refusal(native, data, 2) == (Cause.BAD_OPCODE, 0, 0)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("requantise", {"rows8": 41}),
        ("logits", {"tokens": 2}),
        ("load_image", {"destination": 4096 - 3 * 96 + 1}),
        ("load_image", {"destination_pitch": 95}),
        ("load_residual", {"destination_pitch": 683}),
        ("load_residual", {"destination_pitch": 7}),
        ("requantise", {"source": 4096 - 3 * 8 + 1}),
        ("requantise", {"source_pitch": 7}),
        ("requantise", {"destination": 4096 - 3 * 5 + 1}),
        ("requantise", {"destination_pitch": 4}),
        ("residual", {"destination_pitch": 683}),
        ("residual", {"destination_pitch": 4}),
        ("logits", {"outputs": 1025, "rows8": 0}),
        ("layernorm", {"source_pitch": 683}),
        ("layernorm", {"source_pitch": 7}),
        ("layernorm", {"destination": 4096 - 3 * 8 + 1}),
        ("layernorm", {"destination_pitch": 7}),
        ("attention", {"source": 4096 - 2 * 48 + 1}),
        ("attention", {"source_pitch": 15}),
        ("attention", {"source_kv": 4096 - 3 * 48 + 1}),
        ("attention", {"kv_pitch": 47}),
        ("attention", {"destination": 4096 - 2 * 16 + 1}),
        ("attention", {"destination_pitch": 15}),
        ("store_logits", {"outputs": 1025}),
        ("store_act", {"source": 4096 - 3 * 8 + 1}),
        ("store_act", {"source_pitch": 7}),
        ("store_residual", {"source_pitch": 683}),
        ("store_residual", {"source_pitch": 7}),
        ("layernorm", {"parameters": 2**32 - 64}),
        ("requantise", {"weights": 2**32 - 64}),
        ("requantise", {"parameters": 2**32 - 64}),
        ("table", {"lookup": 2**32 - 64}),
        ("store_act", {"address": 2**32 - 64}),
    ],
)
def test_a_range_that_reaches_outside_is_refused_as_the_engine_does(rtl, native, name, changes):
    data = bytes_of({**LEGAL[name], **changes})
    found = refusal(rtl, data, 2)
    assert found == refusal(native, data, 2)
    assert found[0] in (Cause.BAD_RANGE, Cause.BAD_FIELD)


@pytest.mark.parametrize(("name", "changes", "area", "end", "message"), MEMORY)
def test_a_memory_range_that_ends_outside_its_area_is_refused(
    rtl, native, name, changes, area, end, message
):
    data = bytes_of({**LEGAL[name], **changes})
    sizes = {area: end - 1}
    found = refusal(rtl, data, 2, **sizes)
    assert found[:2] == (Cause.BAD_RANGE, 0), message
    if name != "load_image" and area == "program":  # the engine sees the others at submit
        assert found == refusal(native, data, 2, **sizes)


def test_a_table_without_an_end_is_refused(rtl):
    data = bytes_of(LEGAL["load_residual"], end=False)
    assert refusal(rtl, data, 1)[:2] == (Cause.NO_END, 1)


def test_the_descriptor_that_is_wrong_is_named(rtl):
    data = bytes_of(LEGAL["load_residual"], LEGAL["load_residual"], {"opcode": 9})
    assert refusal(rtl, data, 4) == (Cause.BAD_OPCODE, 2, 0)


@pytest.mark.parametrize(
    ("name", "parameter", "value", "cause"),
    [
        ("requantise", "channel", 40, Cause.BAD_RANGE),
        ("residual", "multiplier", 2**15, Cause.BAD_FIELD),
        ("logits", "shift", 41, Cause.BAD_FIELD),
        ("layernorm", "gain", 2**15, Cause.BAD_FIELD),
        ("attention", "score_multiplier", 2**15, Cause.BAD_FIELD),
        ("attention", "score_shift", 24, Cause.BAD_FIELD),
        ("attention", "out_multiplier", 2**15, Cause.BAD_FIELD),
        ("attention", "out_shift", 41, Cause.BAD_FIELD),
    ],
)
def test_a_parameter_in_memory_outside_its_range_is_refused(rtl, name, parameter, value, cause):
    data = program({**LEGAL[name], "parameters": 2**16}, **{parameter: value})
    found = refusal(rtl, data, 2)
    assert found[:2] == (cause, 0)
    assert 2**16 <= found[2] < 2**16 + 40 * 16


FAULTS = [
    ("R", "SLVERR", Cause.READ_SLVERR),
    ("R", "DECERR", Cause.READ_DECERR),
    ("B", "SLVERR", Cause.WRITE_SLVERR),
    ("B", "DECERR", Cause.WRITE_DECERR),
    ("AR", "silent", Cause.STALLED),
    ("R", "silent", Cause.STALLED),
    ("AW", "silent", Cause.STALLED),
    ("W", "silent", Cause.STALLED),
    ("B", "silent", Cause.STALLED),
]


@pytest.mark.parametrize(("channel", "response", "cause"), FAULTS)
@pytest.mark.parametrize("seed", range(4))
def test_a_memory_fault_at_any_time_is_reported_and_recovered_from(channel, response, cause, seed):
    rng = np.random.default_rng([seed, cause, ord(channel[0])])
    memory = MemoryModel(backpressure=float(rng.choice([0, 0.4])), seed=seed)
    with RtlDevice(B64, memory=memory, checked=True) as device:
        placed = ordinary(device)
        run(device, placed)
        beats = [n // 16 for n in device.bytes_moved()]
        write = B64.read_ports
        port = 0 if channel in ("AR", "R") else write
        # As many handshakes as a run has on that channel; bursts have up to 32 beats.
        most = {"R": beats[0], "W": beats[write], "AR": beats[0] // 32}.get(channel, 20)
        device.inject(port, channel, int(rng.integers(most)), response)
        device.submit(placed.job)
        with pytest.raises(DeviceFault) as fault:
            device.wait(60)
        state = fault.value.state
        assert Cause(state["ERROR_CAUSE"]) == cause
        address = state["ERROR_ADDRESS_HI"] << 32 | state["ERROR_ADDRESS_LO"]
        first = placed.job.program - placed.areas["program"].start
        assert first <= address < first + placed.memory.size
        device.reset()
        device.clear_faults()
        assert device.state()["STATUS"] == Status.IDLE
        run(device, placed)


@pytest.mark.parametrize("seed", range(12))
def test_a_reset_in_the_middle_of_anything_recovers(seed):
    rng = np.random.default_rng(seed)
    memory = MemoryModel(backpressure=float(rng.choice([0, 0.4])), seed=seed)
    with RtlDevice(B64, memory=memory, checked=True) as device:
        placed = ordinary(device)
        total = run(device, placed)
        for _ in range(4):
            device.cycle_limit = int(rng.integers(1, total))
            device.submit(placed.job)
            with pytest.raises(DeviceTimeout):
                device.wait(60)
            assert device.state()["STATUS"] == Status.IDLE
        device.cycle_limit = None
        assert run(device, placed) > 0


def test_a_start_while_busy_is_flagged_and_the_run_goes_on(rtl):
    placed = ordinary(rtl)
    rtl.submit(placed.job)
    rtl._write("CONTROL", Control.START)
    with pytest.raises(DeviceFault, match="START_WHILE_BUSY"):
        rtl.wait(20)
    while rtl.state()["STATUS"] & Status.BUSY:
        rtl._library.sim_run(rtl._handle, 1000)
        rtl._write("INTERRUPT_STATUS", 3)
    placed.check()
    rtl.reset()
    run(rtl, placed)


def test_memory_that_is_not_there_answers_decerr(rtl):
    placed = ordinary(rtl)
    for area, cause in (("program", "READ"), ("image", "READ"), ("output", "WRITE")):
        rtl.submit(replace(placed.job, **{area: 0x4000_0000}))
        with pytest.raises(DeviceFault, match=f"{cause}_DECERR at 0x4000"):
            rtl.wait(20)
    rtl.submit(replace(placed.job, profile=0x4000_0000))
    with pytest.raises(DeviceFault, match="WRITE_DECERR at 0x4000"):
        rtl.wait(20)
    run(rtl, placed)


def test_programs_after_faults_on_one_device_are_right(rtl):
    """Faults of every kind between programs: nothing of them is left behind."""
    for seed in range(8):
        refusal(rtl, bytes_of({**LEGAL["layernorm"], "shift": 0}), 2)
        program_ = script_program(100 + seed, B64)
        placed = place(rtl, program_, random_image(program_.image_size, seed), seed)
        run(rtl, placed)


def test_an_end_alone_is_a_whole_program(rtl):
    memory = rtl.allocate(4 * AREA)
    memory.array[:64] = table({"opcode": Opcode.END}, end=False).view(np.uint8)
    areas = [value for i in range(4) for value in (memory.address + i * AREA, AREA)]
    rtl.submit(Job(1, *areas))
    rtl.wait(20)
    assert rtl.state()["STATUS"] == Status.IDLE | Status.DONE
    rtl.free(memory)
