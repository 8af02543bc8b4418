"""The accelerator's RTL returns the reference's bytes: random programs, random memories.

A longer run: QUASAR_RTL_PROGRAMS=2000 python -m pytest -n 2 tests/rtl/test_rtl_random.py
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from quasar_runtime.devices.rtl.build import unavailable
from quasar_runtime.devices.rtl.device import MemoryModel, RtlDevice
from quasar_runtime.isa.overlay import Overlay, load_overlay
from tests.rtl.rtl_cases import (
    model_program,
    place,
    random_image,
    random_memory,
    run,
    script_program,
)
from tests.rtl.rtl_chains import chain_program, overwriting_program, untraced_program

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=str(unavailable()))

PROGRAMS = int(os.environ.get("QUASAR_RTL_PROGRAMS", "200"))
BATCH = 10
SEEDS = range(0, PROGRAMS, BATCH)
B64 = load_overlay("b64")
TWO_PORTS = replace(B64, name="b64x2", read_ports=2)
"""One port and two are different hardware: weights of a group alternate between ports."""


def run_batch(overlay: Overlay, make, seed: int, programs: int = BATCH) -> None:
    """Programs one after another on one device: nothing of a run may reach the next."""
    rng = np.random.default_rng(seed)
    with RtlDevice(overlay, memory=random_memory(rng), checked=True) as device:
        for s in range(seed, seed + programs):
            program = make(s, overlay)
            placed = place(device, program, random_image(program.image_size, s), s)
            try:
                run(device, placed)
            except Exception as e:
                raise AssertionError(f"program {s} of {make.__name__}, {device.memory}: {e}") from e


@pytest.mark.parametrize("seed", SEEDS[0::2])
def test_models_give_the_reference_s_bytes(seed):
    run_batch(B64, model_program, seed)


@pytest.mark.parametrize("seed", SEEDS[1::2])
def test_hand_made_programs_give_the_reference_s_bytes(seed):
    run_batch(B64, script_program, seed)


@pytest.mark.parametrize("seed", SEEDS[0::4])
def test_overlapping_operations_give_the_reference_s_bytes(seed):
    run_batch(B64, chain_program, seed)


def test_a_layernorm_waits_where_it_overwrites_what_the_linear_before_it_reads():
    run_batch(B64, overwriting_program, 0, 3)


@pytest.mark.parametrize("seed", SEEDS[2::10])
def test_models_as_they_are_run_give_the_reference_s_bytes(seed):
    run_batch(B64, untraced_program, seed, BATCH // 2)


def test_two_read_ports_give_the_reference_s_bytes():
    run_batch(TWO_PORTS, model_program, 5000, 5)
    run_batch(TWO_PORTS, script_program, 6000, 5)
    run_batch(TWO_PORTS, chain_program, 7000, 5)


def test_a_run_takes_the_same_cycles_every_time():
    program = model_program(1, B64)
    cycles = []
    for _ in range(2):
        with RtlDevice(B64, checked=True) as device:
            for _ in range(2):
                placed = place(device, program, random_image(program.image_size, 1), 1)
                cycles.append(run(device, placed))
    assert len(set(cycles)) == 1


def test_a_slower_memory_costs_cycles_and_changes_no_byte():
    program = model_program(2, B64)
    cycles = []
    for memory in (MemoryModel(latency=1), MemoryModel(), MemoryModel(latency=400, gigabytes=0.3)):
        with RtlDevice(B64, memory=memory, checked=True) as device:
            placed = place(device, program, random_image(program.image_size, 2), 2)
            cycles.append(run(device, placed))
    assert cycles == sorted(cycles)
    assert cycles[0] < cycles[2]
