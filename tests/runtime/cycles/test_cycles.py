"""The cycle model: what must hold of any accelerator's times, and the RTL's own times."""

from __future__ import annotations

import numpy as np
import pytest

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.cycles.norm import After, Before, Norm, beside
from quasar_runtime.cycles.predict import (
    DDR,
    Block,
    Ddr,
    Operation,
    Run,
    image_fps,
    operations,
    operations_cycles,
    program_cycles,
)
from quasar_runtime.cycles.units import Timing
from quasar_runtime.devices.base import Job
from quasar_runtime.devices.rtl.build import unavailable
from quasar_runtime.devices.rtl.device import MemoryModel, RtlDevice
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Opcode
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.isa.program import Program
from quasar_runtime.model.network import Model
from quasar_runtime.model.synthetic import random_model

OVERLAYS = ("b64", "b1024", "b8192")
LOADS = (Opcode.LOAD_IMAGE, Opcode.LOAD_RESIDUAL)

needs_rtl = pytest.mark.skipif(bool(unavailable()), reason=str(unavailable()))


def model(seed: int, *, share8: float | None = None, **changes: object) -> Model:
    geometry = {"image_size": 64, "width": 96, "heads": [2, 1], "mlp": [160, 256], "classes": 40}
    return random_model(seed, share8=share8, **{**geometry, **changes})  # type: ignore[arg-type]


def deit_tiny(overlay: str, rows8: float, ddr: Ddr = DDR) -> float:
    """Cycles of DeiT-Tiny's geometry with that share of 8-bit rows."""
    rows = [int(rows8 * n) for n in (192, 384, 192, 768, 192)]
    o = load_overlay(overlay)
    work = operations(o, 224, 192, [Block(3, 768, *rows)] * 12, 1000)
    return operations_cycles(work, o, ddr).total


def blocks_of(m: Model) -> list[Block]:
    """A model's geometry as a search has it."""
    blocks = []
    for b in m.blocks:
        queries = int((b.qkv.bits[: b.heads * hw.HEAD_DIM] == 8).sum())
        rows8 = (b.proj.rows8, b.fc1.rows8, b.fc2.rows8)
        blocks.append(Block(b.heads, b.mlp, queries, b.qkv.rows8 - queries, *rows8))
    return blocks


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_times_of_operations_follow_each_other_and_only_those_of_loads_overlap(
    overlay: str,
) -> None:
    program = compile_model(model(1), load_overlay(overlay))
    cycles = program_cycles(program)
    assert len(cycles.begin) == program.count
    assert (cycles.spans > 0).all()
    opcodes = [Opcode(int(d["opcode"])) for d in program.descriptors]
    free = 0.0
    for opcode, begin, end in zip(opcodes, cycles.begin, cycles.end, strict=True):
        assert begin >= (0 if opcode in LOADS else free)
        free = max(free, end)
    assert cycles.total > free
    assert image_fps(program) == pytest.approx(program.overlay.clock_mhz * 1e6 / cycles.total)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_operation_ends_before_the_array_can_have_done_the_work(overlay: str) -> None:
    program = compile_model(model(2), load_overlay(overlay))
    peak = np.cumsum(np.array(program.macs) / program.overlay.macs)
    assert (program_cycles(program).end >= peak).all()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_geometry_has_the_cycles_of_its_program(overlay: str) -> None:
    """Rows chosen at random clash as often as expected, give or take a percent."""
    o = load_overlay(overlay)
    for seed in range(4):
        m = model(seed)
        work = operations(o, m.image_size, m.width, blocks_of(m), m.classes)
        program = compile_model(m, o)
        assert [int(d["opcode"]) for d in program.descriptors] == [w.opcode for w in work]
        expected = program_cycles(program)
        found = operations_cycles(work, o)
        assert found.total == pytest.approx(expected.total, rel=0.01)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_cycles_grow_with_the_share_of_8_bit_rows(overlay: str) -> None:
    shares = [deit_tiny(overlay, share) for share in (0.0, 0.25, 0.5, 1.0)]
    assert (np.diff(shares) > 0).all()
    # Attention, LayerNorm, patches and classifier stay: less than twice as long.
    assert 1.4 < shares[-1] / shares[0] < 2


def test_a_larger_array_is_faster() -> None:
    times = [deit_tiny(overlay, 0.5) for overlay in OVERLAYS]
    assert times[0] > 8 * times[1] > 32 * times[2]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_slower_memory_never_helps(overlay: str) -> None:
    best = deit_tiny(overlay, 0.5)
    for ddr in (Ddr(latency=400), Ddr(gigabytes=2), Ddr(port_gigabytes=1)):
        assert deit_tiny(overlay, 0.5, ddr) >= best


def test_a_starved_array_takes_as_long_as_its_weights() -> None:
    o, ddr = load_overlay("b8192"), Ddr(gigabytes=0.5, port_gigabytes=0.5)
    one = Operation(Opcode.LINEAR, 0, 1, 0, 1024, 4096, 4096)
    spans = operations_cycles([one, one, Operation(Opcode.END)], o, ddr).spans
    assert spans[1] == pytest.approx(1024 * 4096 / 0.5e9 * 300e6, rel=0.05)


@pytest.mark.parametrize("ddr", [DDR, Ddr(latency=400), Ddr(gigabytes=1.2, port_gigabytes=1)])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_is_left_out_of_a_state_has_ceased_to_matter(overlay: str, ddr: Ddr) -> None:
    """The same cycles of every operation as when nothing is left out: no state then equals
    another one by that."""
    o, rng = load_overlay(overlay), np.random.default_rng(3)
    all_kept = Timing(o, ddr)
    all_kept.asked = 1e9
    for _ in range(12):
        width, size = 32 * int(rng.integers(2, 13)), 16 * int(rng.integers(3, 15))
        blocks = []
        for _ in range(4):
            heads, mlp = int(rng.integers(1, 5)), 32 * int(rng.integers(2, 33))
            most = [64 * heads, 128 * heads, width, mlp, width]
            rows = rng.integers(5, size=5) * most // 4
            blocks.append(Block(heads, mlp, *(int(n) for n in rows)))
        work = operations(o, size, width, blocks, 1000)
        found, expected = operations_cycles(work, o, ddr), Run(work, all_kept).cycles()
        assert found.begin == pytest.approx(expected.begin, abs=1e-3)
        assert found.end == pytest.approx(expected.end, abs=1e-3)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_subnet_has_the_same_cycles_whatever_was_asked_before(overlay: str) -> None:
    """What LINEARs took in other subnets is used again."""
    o, rng = load_overlay(overlay), np.random.default_rng(4)
    for _ in range(20):
        shares = rng.integers(5, size=(4, 5)) / 4
        blocks = [Block(3, 384, *(int(n) for n in s * (192, 384, 192, 384, 192))) for s in shares]
        work = operations(o, 112, 192, blocks, 100)
        alone = Run(work, Timing(o, DDR)).cycles()
        assert operations_cycles(work, o).end.tolist() == alone.end.tolist()


def measure(program: Program, memory: MemoryModel) -> tuple[np.ndarray, int]:
    """(cycles of each descriptor, of the run) in simulation."""
    # Only this test simulates b8192, for a few cycles: the build of least work, with assertions.
    checked = program.overlay.name == "b8192"
    with RtlDevice(program.overlay, memory=memory, checked=checked) as device:
        sizes = (program.data.size, program.image_bytes, program.output_bytes)
        memories = [device.allocate(size) for size in (*sizes, program.profile_bytes)]
        memories[0].array[:] = program.data
        memories[1].array[:] = 0
        device.submit(Job.of(program.count, *memories))
        device.wait(120)
        profile = memories[3].array.view(hw.PROFILE_DTYPE)
        return (profile["end"] - profile["begin"]).astype(np.float64), device.cycles


SUBNETS = {
    "mixed": model(1, image_size=48),
    "4-bit": model(2, image_size=32, width=160, share8=0.0),
    "8-bit": model(3, image_size=48, width=128, heads=[1, 3], share8=1.0),
    "wide": model(4, image_size=64, width=192, heads=[3], mlp=[384], share8=0.3),
    # On a large array few tokens are bound by memory, and many by LAYERNORM beside both LINEARs.
    "few tokens": model(5, width=160, heads=[4, 1], mlp=[320, 96]),
    "many tokens": model(6, image_size=224, width=160, heads=[1, 2], mlp=[224, 480], share8=1.0),
}
MEASURED = [*(("b64", name) for name in list(SUBNETS)[:4]), ("b1024", "wide")]
MEASURED += [("b8192", "few tokens"), ("b8192", "many tokens")]


@needs_rtl
@pytest.mark.parametrize(("overlay", "name"), MEASURED)
def test_cycles_are_those_of_the_rtl(overlay: str, name: str) -> None:
    """Of the image within 3 %, and of every operation above 1 % of it within 10 %."""
    program = compile_model(SUBNETS[name], load_overlay(overlay))
    spans, total = measure(program, MemoryModel())
    modelled = program_cycles(program)
    assert modelled.total == pytest.approx(total, rel=0.03)
    long = spans > 0.01 * total
    assert modelled.spans[long] == pytest.approx(spans[long], rel=0.1)


def test_layernorm_has_the_cycles_that_both_linears_leave() -> None:
    """As measured on the RTL: on b8192, 25 tiles of six words."""
    t = Timing(load_overlay("b8192"), DDR)
    # Words wait for the residual's port and then for the lanes, 16 of 24 cycles are left; where
    # results leave one after the other both are one wait; and then there are none.
    assert beside(t, (24.0,), (4.0,)) == pytest.approx(16 / 24)
    assert beside(t, (6.0,), (4.0,)) == pytest.approx(2 / 6)
    assert beside(t, (4.0, 4.0), (4.0, 4.0)) == 0
    # fc2 before: its last block is a group of 24 steps; proj before: six groups of six steps.
    for before, ends in (((24.0, (24.0,), (4.0,)), 789), ((36.0, (6.0,), (4.0,)), 1011)):
        norm = Norm(t, 197, 192, Before(1000.0, *before))
        last = 1000 - t.array - t.RESULT - 4
        begin = max(last + t.BEHIND, norm.first + t.NORMED + 2)
        used, _ = norm.finish(After(begin + 5, 48.0, 32.0, 6))
        assert used + t.NORMED - 1 - 1000 == pytest.approx(ends, rel=0.03)


@needs_rtl
@pytest.mark.parametrize(("latency", "gigabytes"), [(20, 12.0), (400, 12.0), (150, 1.2)])
def test_cycles_follow_the_memory(latency: int, gigabytes: float) -> None:
    program = compile_model(SUBNETS["mixed"], load_overlay("b64"))
    _, total = measure(program, MemoryModel(latency=latency, gigabytes=gigabytes))
    modelled = program_cycles(program, Ddr(latency=latency, gigabytes=gigabytes))
    assert modelled.total == pytest.approx(total, rel=0.05)
