"""The engine refuses what program.check refuses: same cause, same descriptor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices.base import Job
from quasar_runtime.devices.native.device import NativeDevice
from quasar_runtime.errors import DeviceFault
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Cause, Opcode
from quasar_runtime.isa.program import Program, check
from quasar_runtime.model.synthetic import random_model
from tests.runtime.devices.native_cases import image_for, overlay, place
from tests.runtime.isa.edges import blamed, edge_cases, table_of

PROGRAM = compile_model(random_model(2, heads=[1], mlp=[64]), overlay(), trace=True)
TABLE_BYTES = PROGRAM.count * hw.DESCRIPTOR_BYTES


class Bench:
    """A device with PROGRAM in its memory, to be changed and tried again and again."""

    def __init__(self) -> None:
        self.device = NativeDevice(PROGRAM.overlay, threads=1, kernels="scalar")
        self.job, _ = place(self.device, PROGRAM, image_for(PROGRAM))
        self.memory = self.device._memories[0].array
        self.table = self.memory[:TABLE_BYTES].view(hw.DESCRIPTOR_DTYPE)

    def refusal(self, job: Job | None = None) -> tuple[Cause, int, int] | None:
        """Cause, descriptor and address with which the memory's program is refused, or None."""
        job = job or self.job
        try:
            self.device.load(job.program, job.program_bytes, job.count)
            self.device.submit(job)
            self.device.wait(10)
        except DeviceFault as e:
            state = e.state
            assert state["STATUS"] == hw.Status.ERROR
            return (
                Cause(state["ERROR_CAUSE"]),
                state["ERROR_DESCRIPTOR"],
                state["ERROR_ADDRESS_LO"],
            )
        return None


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def edges(f: hw.Field) -> st.SearchStrategy[int]:
    """Values around every bound that a rule sets for the field, and any others."""
    most = 2 ** (8 * f.size) - 1
    bounds = {0, 1, 63, 64, most}
    for rules in hw.RULES.values():
        if rule := rules.get(f.name):
            near = (rule.low - 1, rule.low, rule.low + rule.multiple, rule.high, rule.high + 1)
            bounds |= {v for v in near if 0 <= v <= most}
    return st.sampled_from(sorted(bounds)) | st.integers(0, most)


mutations = st.tuples(
    st.integers(0, PROGRAM.count - 1),
    st.sampled_from(hw.FIELDS).flatmap(lambda f: st.tuples(st.just(f.name), edges(f))),
)


@settings(max_examples=600, deadline=None)
@given(mutation=mutations)
def test_mutated_descriptors_are_refused_as_the_rule_book_says(bench: Bench, mutation) -> None:
    number, (name, value) = mutation
    bench.memory[:] = PROGRAM.data
    bench.table[number][name] = value
    expected = check(
        bench.table, PROGRAM.overlay, bench.job.program_bytes, bench.job.image_bytes,
        bench.job.output_bytes,
    )  # fmt: skip
    found = bench.refusal()
    if expected:
        assert found is not None
        assert found[:2] == (expected.cause, expected.descriptor)
    elif found:  # only for a parameter outside its range, at an offset behind the table
        assert found[1] == number
        assert name in ("parameters", "outputs", "mode", "opcode", "inputs", "heads")


def test_descriptors_at_every_edge_are_decided_as_the_rule_book_says(bench: Bench) -> None:
    job = Job(2, *[getattr(bench.job, f) for f in Job.__dataclass_fields__ if f != "count"])
    sizes = (job.program_bytes, job.image_bytes, job.output_bytes)
    seen = set()
    for fields in edge_cases():
        table = table_of(fields)
        expected = check(table, PROGRAM.overlay, *sizes)
        bench.memory[:] = 0
        bench.table[:2] = table
        found = bench.refusal(job)
        if expected is None:
            # What it computes on zeros may still hold a parameter outside its range: gains, scores.
            assert found is None or found[0] in (Cause.BAD_FIELD, Cause.BAD_RANGE), (fields, found)
        else:
            assert found is not None, (fields, expected)
            assert found[:2] == (expected.cause, expected.descriptor), (fields, expected)
            assert blamed(expected) in (None, found[2] % hw.DESCRIPTOR_BYTES), (fields, expected)
        seen.add(expected.cause if expected else Cause.NONE)
    causes = (Cause.NONE, Cause.BAD_OPCODE, Cause.BAD_FIELD, Cause.BAD_RANGE, Cause.MISALIGNED)
    assert seen >= set(causes)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(min_size=64, max_size=640))
def test_random_bytes_are_refused_as_the_rule_book_says(bench: Bench, data: bytes) -> None:
    bench.memory[:] = 0
    bench.memory[: len(data)] = np.frombuffer(data, np.uint8)
    bench.memory[: len(data) : 64] %= 9
    count = len(data) // 64
    job = Job(count, *[getattr(bench.job, f) for f in Job.__dataclass_fields__ if f != "count"])
    table = bench.memory[: count * 64].view(hw.DESCRIPTOR_DTYPE)
    expected = check(table, PROGRAM.overlay, job.program_bytes, job.image_bytes, job.output_bytes)
    found = bench.refusal(job)
    assert expected
    assert found
    assert found[:2] == (expected.cause, expected.descriptor)


def linears(program: Program) -> list[int]:
    return [i for i, d in enumerate(program.descriptors) if d["opcode"] == Opcode.LINEAR]


@pytest.mark.parametrize(
    ("name", "value", "cause"),
    [
        ("channel", 2**15, Cause.BAD_RANGE),
        ("multiplier", 2**15, Cause.BAD_FIELD),
        ("shift", 41, Cause.BAD_FIELD),
    ],
)
def test_a_row_parameter_outside_its_range_is_refused(bench: Bench, name, value, cause) -> None:
    bench.memory[:] = PROGRAM.data
    number = linears(PROGRAM)[1]
    at = int(PROGRAM.descriptors[number]["parameters"]) + 3 * hw.ROW_BYTES
    bench.memory[at : at + hw.ROW_BYTES].view(hw.ROW_DTYPE)[name] = value
    assert bench.refusal() == (cause, number, at)


def test_the_last_legal_channel_is_the_number_of_outputs_less_one(bench: Bench) -> None:
    bench.memory[:] = PROGRAM.data
    number = linears(PROGRAM)[1]
    d = PROGRAM.descriptors[number]
    row = bench.memory[int(d["parameters"]) :][: hw.ROW_BYTES].view(hw.ROW_DTYPE)
    row["channel"] = d["outputs"] - 1
    assert bench.refusal() is None
    row["channel"] = d["outputs"]
    assert bench.refusal() == (Cause.BAD_RANGE, number, int(d["parameters"]))


def test_a_table_without_end_is_refused(bench: Bench) -> None:
    bench.memory[:] = PROGRAM.data
    job = Job(PROGRAM.count - 1, *list(vars(bench.job).values())[1:])
    assert bench.refusal(job)[:2] == (Cause.NO_END, PROGRAM.count - 1)


def test_a_table_that_reaches_past_the_program_is_refused(bench: Bench) -> None:
    bench.memory[:] = PROGRAM.data
    job = Job(2**20, *list(vars(bench.job).values())[1:])
    assert bench.refusal(job)[0] == Cause.BAD_RANGE


@pytest.mark.parametrize("area", ["image", "output", "profile"])
def test_an_area_that_is_too_small_is_refused(bench: Bench, area: str) -> None:
    bench.memory[:] = PROGRAM.data
    fields = dict(vars(bench.job))
    fields[f"{area}_bytes"] -= 64
    assert bench.refusal(Job(**fields))[0] == Cause.BAD_RANGE
    assert bench.refusal() is None
