"""The datapath alone under Verilator, against the reference, byte for byte."""

from __future__ import annotations

import numpy as np
import pytest

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices.reference import executor as reference
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Cause, Opcode
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.model.network import Model
from quasar_runtime.model.synthetic import random_model
from tests.rtl.rtl_units import datapath_bench as bench


def subnet(seed: int) -> Model:
    """A random legal model: one to three blocks, 2 to 50 tokens, any mix of rows."""
    rng = np.random.default_rng(seed)
    blocks = int(rng.integers(1, 4))
    return random_model(
        seed,
        image_size=16 * int(rng.integers(1, 8)) if seed % 4 else 32,
        width=32 * int(rng.integers(1, 7)),
        heads=[int(h) for h in rng.integers(1, 4, blocks)],
        mlp=[32 * int(m) for m in rng.integers(1, 9, blocks)],
        share8=[None, 0.0, 1.0, 0.5][seed % 4],
        classes=int(rng.integers(1, 200)),
    )


def picture(side: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


def compare(overlay_name: str, seed: int, gap_percent: int, structural: bool = False) -> None:
    """Run one subnet on a fresh datapath and compare every traced operation."""
    overlay = load_overlay(overlay_name)
    program = compile_model(subnet(seed), overlay, trace=True)
    image = picture(program.image_size, seed)
    b = bench.Bench(overlay, seed=seed, gap_percent=gap_percent, structural=structural)
    got = b.run(program, image)
    b.close()
    assert got.status == "done", f"{got.status} at {program.names[got.descriptor]}"
    wanted = reference.run(program, image)
    for name, trace in program.traces.items():
        size = trace.shape[0] * trace.shape[1] * np.dtype(trace.dtype).itemsize
        at = slice(trace.offset, trace.offset + size)
        assert np.array_equal(got.output[at], wanted[at]), f"{name} of subnet {seed}"
    assert np.array_equal(got.output, wanted)


def test_packed_multipliers_give_exact_sums_for_all_inputs() -> None:
    cases, wrong = bench.dot_exhaustive("packed_dot", latency=6, bias=4096, seed=1)
    assert cases == 16 * 15 * 255 * 255
    assert wrong == 0


@pytest.mark.parametrize(("inputs", "addend"), [(0, 1), (1, 0), (2, 2), (2, 3), (1, 4)])
def test_multiplier_behaves_as_the_primitive_that_synthesis_instantiates(
    inputs: int, addend: int
) -> None:
    behaviour, primitive = (
        bench.dsp_outputs(inputs, addend, 20_000, primitive=primitive)[8:]
        for primitive in (False, True)
    )
    assert np.array_equal(behaviour, primitive)
    assert len(np.unique(behaviour)) > 10_000


@pytest.mark.parametrize("depth", [8, 16, 32])
@pytest.mark.parametrize("structural", [False, True])
def test_array_and_its_plain_twin_give_exact_sums(depth: int, structural: bool) -> None:
    assert bench.array_random(depth, depth, 20_000, structural=structural) == 0


@pytest.mark.parametrize("seed", range(40))
def test_random_subnets_equal_the_reference(seed: int) -> None:
    compare("b64", seed, gap_percent=[0, 20, 60][seed % 3])


@pytest.mark.parametrize("seed", range(100, 110))
def test_random_subnets_equal_the_reference_on_b1024(seed: int) -> None:
    compare("b1024", seed, gap_percent=[0, 30][seed % 2])


@pytest.mark.parametrize("seed", range(200, 203))
def test_packed_multipliers_run_whole_subnets(seed: int) -> None:
    compare("b64", seed, gap_percent=10, structural=True)


def test_an_image_follows_another_on_the_same_datapath() -> None:
    overlay = load_overlay("b64")
    b = bench.Bench(overlay, seed=5)
    for seed in (1, 2, 1):
        program = compile_model(subnet(seed), overlay, trace=True)
        image = picture(program.image_size, seed)
        assert np.array_equal(b.run(program, image).output, reference.run(program, image))
    b.close()


def test_array_is_busy_in_linear_layers() -> None:
    """No bubble between tiles and groups: beyond the work itself an operation takes its latency."""
    overlay = load_overlay("b64")
    model = random_model(0, image_size=64, width=64, share8=0.0)
    program = compile_model(model, overlay)
    b = bench.Bench(overlay)
    cycles = b.run(program, picture(64, 0)).cycles.tolist()
    b.close()
    for d, name, count in zip(program.descriptors, program.names, cycles, strict=True):
        if int(d["opcode"]) == Opcode.LINEAR and int(d["tokens"]) > overlay.tokens:
            tiles = -(-int(d["tokens"]) // overlay.tokens)
            groups = -(-(int(d["outputs"]) + int(d["rows8"])) // overlay.rows)
            work = tiles * groups * (int(d["inputs"]) // overlay.depth)
            assert count <= work + 130, name


@pytest.mark.parametrize(
    ("opcode", "dtype", "field", "value", "cause"),
    [
        (Opcode.LINEAR, hw.ROW_DTYPE, "channel", 4000, Cause.BAD_RANGE),
        (Opcode.LINEAR, hw.ROW_DTYPE, "multiplier", 2**15, Cause.BAD_FIELD),
        (Opcode.LINEAR, hw.ROW_DTYPE, "shift", 41, Cause.BAD_FIELD),
        (Opcode.LAYERNORM, np.dtype([("gain", "<u2")]), "gain", 2**15, Cause.BAD_FIELD),
        (Opcode.ATTENTION, hw.HEAD_DTYPE, "score_multiplier", 2**15, Cause.BAD_FIELD),
        (Opcode.ATTENTION, hw.HEAD_DTYPE, "score_shift", 24, Cause.BAD_FIELD),
        (Opcode.ATTENTION, hw.HEAD_DTYPE, "out_shift", 41, Cause.BAD_FIELD),
    ],
)
def test_a_bad_parameter_is_a_fault_and_a_reset_recovers(
    opcode: Opcode, dtype: np.dtype, field: str, value: int, cause: Cause
) -> None:
    overlay = load_overlay("b64")
    good = compile_model(subnet(1), overlay)
    bad = compile_model(subnet(1), overlay)
    number = next(i for i, d in enumerate(bad.descriptors) if d["opcode"] == opcode)
    first = int(bad.descriptors[number]["parameters"])
    bad.data[first : first + dtype.itemsize].view(dtype)[field] = value
    image = picture(good.image_size, 1)
    b = bench.Bench(overlay, limit=100_000)
    got = b.run(bad, image)
    assert (got.status, got.descriptor, got.cause) == ("fault", number, cause)
    assert got.address == first
    b.reset()
    assert np.array_equal(b.run(good, image).output, reference.run(good, image))
    b.close()
