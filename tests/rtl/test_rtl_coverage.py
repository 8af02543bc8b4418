"""What the accelerator's tests reach: every bin of every field, every cause, every operation.

python -m pytest -s tests/rtl/test_rtl_coverage.py        prints the tables
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from quasar_runtime.devices.rtl.build import unavailable
from quasar_runtime.devices.rtl.device import MemoryModel, RtlDevice
from quasar_runtime.errors import DeviceFault
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Cause, Control, Status
from quasar_runtime.isa.overlay import load_overlay
from tests.rtl.rtl_cases import (
    model_program,
    place,
    random_image,
    random_memory,
    run,
    script_program,
)
from tests.rtl.rtl_coverage import all_bins, covered, kind_of, kinds, report
from tests.rtl.rtl_extremes import programs
from tests.rtl.test_rtl_faults import FAULTS, bytes_of, ordinary, refusal
from tests.rtl.test_rtl_random import BATCH, SEEDS
from tests.runtime.isa.test_program import LEGAL

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=str(unavailable()))

B64 = load_overlay("b64")
DIRECTED = programs(B64)
STALL_CYCLES = 2000


@pytest.mark.parametrize("name", DIRECTED)
def test_programs_at_the_ends_of_fields_give_the_reference_s_bytes(name):
    rng = np.random.default_rng(len(name))
    for memory in (MemoryModel(latency=1), random_memory(rng)):
        with RtlDevice(B64, memory=memory, checked=True) as device:
            program = DIRECTED[name]
            run(device, place(device, program, random_image(program.image_size, 3), 3))


def test_every_bin_of_every_field_is_used_by_a_program_that_is_compared():
    random: Counter[tuple[str, str, str]] = Counter()
    for seeds, make in ((SEEDS[0::2], model_program), (SEEDS[1::2], script_program)):
        for seed in [s + i for s in seeds if s < 200 for i in range(BATCH)]:
            random += covered(make(seed, B64))
    directed = sum((covered(p) for p in DIRECTED.values()), Counter())
    print("\n" + report(random, directed))
    missed = [b for b in all_bins() if not random[b] + directed[b]]
    assert not missed
    assert len(all_bins()) > 250


def test_the_coverage_of_a_program_tells_its_bins_apart():
    """An image alone uses its own operation's bins, and no end of a field that it does not have."""
    found = covered(DIRECTED["images"])
    assert {kind for kind, _, _ in found} == {"LOAD_IMAGE", "STORE ACT", "END"}
    assert found["LOAD_IMAGE", "image_size", "most"] == 1
    assert found["LOAD_IMAGE", "image_size", "least"] == 2
    assert found["LOAD_IMAGE", "destination", "last"] == 1
    assert not found["LOAD_IMAGE", "image_size", "typical"]


# --- Causes


def fault_of(device: RtlDevice, job) -> dict[str, int]:
    """The registers after a run that must end in a fault, whose error names the cause."""
    device.submit(job)
    with pytest.raises(DeviceFault) as fault:
        device.wait(60)
    assert Cause(fault.value.state["ERROR_CAUSE"]).name in str(fault.value)
    return fault.value.state


def descriptor_faults() -> dict[str, tuple[Cause, tuple[int, int, int]]]:
    """What a device says of descriptors that are wrong in each way."""
    legal, found = LEGAL["layernorm"], {}
    cases = {
        "unknown opcode": ([{"opcode": 99}], True, Cause.BAD_OPCODE),
        "field above its range": ([{**legal, "inputs": 1056}], True, Cause.BAD_FIELD),
        "field not a multiple": ([{**legal, "inputs": 48}], True, Cause.BAD_FIELD),
        "field that must be zero": ([{**legal, "heads": 1}], True, Cause.BAD_FIELD),
        "offset not a multiple of 64": ([{**legal, "parameters": 96}], True, Cause.MISALIGNED),
        "region outside ACT": ([{**legal, "destination": 4090}], True, Cause.BAD_RANGE),
        "region outside RES": ([{**legal, "source_pitch": 1500}], True, Cause.BAD_RANGE),
        "memory range outside": ([{**legal, "parameters": 2**31}], True, Cause.BAD_RANGE),
        "no END": ([legal], False, Cause.NO_END),
    }
    for name, (descriptors, end, cause) in cases.items():
        found[name] = cause, (bytes_of(*descriptors, end=end), len(descriptors) + end)
    return found


def job_faults(job) -> dict[str, tuple[Cause, object]]:
    """Jobs that are refused before anything is read."""
    return {
        "program not aligned": (Cause.MISALIGNED, replace(job, program=job.program + 16)),
        "image not aligned": (Cause.MISALIGNED, replace(job, image=job.image + 4)),
        "output not aligned": (Cause.MISALIGNED, replace(job, output=job.output + 32)),
        "profile not aligned": (Cause.MISALIGNED, replace(job, profile=job.profile + 16)),
        "bad length: table": (Cause.BAD_RANGE, replace(job, program_bytes=64 * job.count - 1)),
        "bad length: profile": (Cause.BAD_RANGE, replace(job, profile_bytes=16 * job.count - 1)),
        "no memory there, read": (Cause.READ_DECERR, replace(job, image=0x4000_0000)),
        "no memory there, write": (Cause.WRITE_DECERR, replace(job, output=0x4000_0000)),
    }


def test_every_cause_is_reported_becomes_its_typed_error_and_is_recovered_from(monkeypatch):
    monkeypatch.setattr("quasar_runtime.devices.registers.STALL_CYCLES", STALL_CYCLES)
    seen: dict[str, Cause] = {}
    ports = replace(B64, name="b64x2", read_ports=2)
    with RtlDevice(ports, checked=True) as device:
        for name, (cause, (data, count)) in descriptor_faults().items():
            seen[name] = Cause(refusal(device, data, count)[0])
            assert seen[name] == cause, name
        placed = ordinary(device)
        for name, (cause, job) in job_faults(placed.job).items():
            seen[name] = Cause(fault_of(device, job)["ERROR_CAUSE"])
            assert seen[name] == cause, name
        for channel, response, cause in FAULTS:
            for port in range(ports.read_ports) if "R" in channel else [ports.read_ports]:
                device.inject(port, channel, 5 if channel == "R" else 1, response)
                name = f"{response} on {channel} of port {port}"
                seen[name] = Cause(fault_of(device, placed.job)["ERROR_CAUSE"])
                assert seen[name] == cause, name
                device.reset()
                device.clear_faults()
                run(device, placed)
        device.submit(placed.job)
        device._write("CONTROL", Control.START)
        with pytest.raises(DeviceFault, match="START_WHILE_BUSY") as fault:
            device.wait(60)
        seen["START while busy"] = Cause(fault.value.state["ERROR_CAUSE"])
        device.reset()
        run(device, placed)
    print("\ncauses: what was done, what was reported")
    print("\n".join(f"{name:<32}{cause.name}" for name, cause in seen.items()))
    assert set(seen.values()) == set(Cause) - {Cause.NONE}


# --- Resets


def test_a_reset_in_the_middle_of_each_operation_recovers():
    """Of each kind the longest: as it begins, halfway, and before it ends."""
    program = model_program(11, B64)
    done: Counter[str] = Counter()
    with RtlDevice(B64, checked=True) as device:
        placed = place(device, program, random_image(program.image_size, 4), 4)
        run(device, placed)
        entries = placed.array("profile").view(hw.PROFILE_DTYPE)
        begin, end = (entries[name].astype(int) for name in ("begin", "end"))
        longest: dict[str, int] = {}
        for number, d in enumerate(program.descriptors):
            best = longest.setdefault(kind_of(d), number)
            if end[number] - begin[number] > end[best] - begin[best]:
                longest[kind_of(d)] = number
        for kind, number in longest.items():
            middle = (begin[number] + end[number]) // 2
            for moment in (begin[number] + 1, middle, max(middle, end[number] - 20)):
                placed.array("profile")[:] = 0
                device.submit(placed.job)
                device._library.sim_run(device._handle, int(moment))
                device.reset()
                assert device.state()["STATUS"] == Status.IDLE
                assert not entries["end"][number], "it had ended"
                done[kind] += 1
            assert number < 3 or entries["end"][: number - 1].all(), "those before it had not"
            run(device, placed)
    print("\nresets in the middle: " + ", ".join(f"{kind} {n}" for kind, n in done.items()))
    assert set(done) == {kind for kind, _ in kinds()}
