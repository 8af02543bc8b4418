"""benchmarks/rtl_cycles.py: the account of an image's cycles, without simulating one."""

import importlib.util
import sys
from pathlib import Path

import pytest

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.isa.interface import Opcode
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.isa.program import Program
from quasar_runtime.model.synthetic import random_model

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


def module(name: str):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


module("helptext")
bench = module("rtl_cycles")
OVERLAYS = ["b64", "b1024", "b8192"]


def program(overlay: str, share8: float | None) -> Program:
    model = random_model(3, image_size=64, width=96, heads=[1, 2], mlp=[64, 96], share8=share8)
    return compile_model(model, load_overlay(overlay))


def operations(p: Program, latency: int):
    """As if every operation took its array cycles and a latency, two cycles apart."""
    found, now = [], 100
    for name, d, macs in zip(p.names, p.descriptors, p.macs, strict=True):
        array = bench.array_cycles(d, p.overlay)
        end = now + array + latency
        found.append(bench.Operation(name, bench.kind(name), now, end, array, macs))
        now = end + 2
    return found, now


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("share8", [0.0, 1.0, None])
def test_causes_add_up_to_all_cycles_and_none_is_negative(overlay, share8):
    p = program(overlay, share8)
    found, cycles = operations(p, 50)
    causes = bench.attribute(p, found, cycles)
    assert sum(causes.values()) == pytest.approx(cycles)
    assert min(causes.values()) >= 0
    assert causes["useful"] == pytest.approx(sum(p.macs) / p.overlay.macs)
    assert sum(bench.whole(causes).values()) == cycles


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_array_is_busy_for_at_least_the_useful_work(overlay):
    p = program(overlay, None)
    for d, macs in zip(p.descriptors, p.macs, strict=True):
        array = bench.array_cycles(d, p.overlay)
        assert array * p.overlay.macs >= macs
        assert bool(array) == (d["opcode"] in (Opcode.LINEAR, Opcode.ATTENTION))


def test_rows_in_their_channels_order_never_wait_for_the_epilogue():
    p = program("b1024", 0.0)
    for d in p.descriptors[p.descriptors["opcode"] == Opcode.LINEAR]:
        assert bench.epilogue_cycles(p, d) == 0


def test_rows_of_one_memory_column_leave_one_by_one():
    p = program("b8192", 0.0)
    d = next(d for d, n in zip(p.descriptors, p.names, strict=True) if n == "blocks.0.qkv")
    first, rows = int(d["parameters"]), int(d["outputs"])
    parameters = p.data[first : first + rows * 16].view(bench.hw.ROW_DTYPE)
    parameters["channel"] = 0
    groups, tiles, steps, slots = -(-rows // 32), 3, 3, 4
    assert bench.epilogue_cycles(p, d) == groups * tiles * (slots * 8 - steps)


def test_the_drawing_names_every_kind_of_operation():
    p = program("b1024", None)
    found, cycles = operations(p, 50)
    run = {"model": "m", "overlay": "b1024", "cycles": cycles}
    run["operations"] = [vars(o) for o in found]
    svg = module("timeline").draw(run)
    for text in ("LINEAR", "ATTENTION", "LAYERNORM", f"{cycles:,}", "</svg>"):
        assert text in svg
