"""The native engine gives the reference's bytes: every kernel set, whole outputs of programs."""

from __future__ import annotations

import numpy as np
import pytest

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices.native.device import NativeDevice, available_kernels
from quasar_runtime.devices.reference import executor as reference
from quasar_runtime.isa import arithmetic as ar
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue, Opcode, Source
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.isa.program import Program
from quasar_runtime.model.synthetic import random_model
from tests.runtime.devices.native_cases import (
    Table,
    image_for,
    overlay,
    random_linear,
    random_overlay,
    random_program,
    run,
)

KERNELS = available_kernels()


def assert_same_bytes(program: Program, kernels: str, threads: int, seed: int = 0) -> None:
    image = image_for(program, seed)
    expected = reference.run(program, image)
    with NativeDevice(program.overlay, threads=threads, kernels=kernels) as device:
        got = run(device, program, image)
    for name, trace in program.traces.items():  # the first operation that differs says most
        size = int(np.prod(trace.shape)) * np.dtype(trace.dtype).itemsize
        at = slice(trace.offset, trace.offset + size)
        np.testing.assert_array_equal(
            got[at].view(trace.dtype), expected[at].view(trace.dtype), f"{name} by {kernels}"
        )
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("seed", range(24))
def test_any_legal_model_on_any_array(kernels: str, seed: int) -> None:
    assert_same_bytes(random_program(seed), kernels, threads=1 + seed % 3, seed=seed)


@pytest.mark.parametrize("name", ["b64", "b1024", "b8192"])
def test_shipped_overlays(name: str) -> None:
    program = compile_model(random_model(3), load_overlay(name), trace=True)
    for kernels in KERNELS:
        assert_same_bytes(program, kernels, threads=2)


@pytest.fixture(scope="module")
def deit_tiny() -> tuple[Program, np.ndarray, np.ndarray]:
    """The geometry of DeiT-Tiny, two blocks of twelve; the reference's output for an image."""
    model = random_model(
        7, image_size=224, width=192, heads=[3] * 2, mlp=[768] * 2, classes=1000, share8=0.5
    )
    program = compile_model(model, load_overlay("b8192"), trace=True)
    image = image_for(program)
    return program, image, reference.run(program, image)


@pytest.mark.parametrize("kernels", KERNELS)
def test_deit_tiny_geometry(kernels: str, deit_tiny) -> None:
    program, image, expected = deit_tiny
    with NativeDevice(program.overlay, threads=2, kernels=kernels) as device:
        np.testing.assert_array_equal(run(device, program, image), expected)
        # Once more on the same engine: nothing of the first run shows.
        np.testing.assert_array_equal(run(device, program, image), expected)


def hand_made(seed: int) -> Program:
    """Image and random residual through one of each operation, with fields over their whole ranges:
    pitches with gaps, row counts of any remainder, permuted and repeated channels, extreme
    requantisations."""
    rng = np.random.default_rng(seed)
    o = random_overlay(rng)
    t = Table(o)
    side = int(rng.choice([1, 2, 4, 6]))
    tokens, width = side * side + 1, 32 * int(rng.integers(1, 17))

    def pitch(channels: int) -> int:
        return -(-channels // o.depth) + int(rng.integers(0, 4))

    def words(tokens: int, p: int) -> int:
        return -(-tokens // o.tokens) * p

    image_pitch, res_pitch = pitch(768), pitch(width)
    t.add(Opcode.LOAD_IMAGE, destination_pitch=image_pitch, image_size=16 * side)
    base = words(tokens, image_pitch)
    spread = int(rng.choice([40, 3000, 2**15]))
    position = rng.integers(-spread, spread, (tokens, width)).astype("<i2")
    t.add(
        Opcode.LOAD_RESIDUAL,
        tokens=tokens,
        inputs=width,
        destination_pitch=res_pitch,
        address=t.section(position),
    )
    patch = random_linear(rng, width, 768, 1.0)
    where = {"tokens": tokens, "source": 0, "source_pitch": image_pitch, "clamp": 127}
    t.linear(patch, Epilogue.RESIDUAL, rng.permutation(width), destination_pitch=res_pitch, **where)
    t.store(Source.RESIDUAL, tokens, width, res_pitch)
    norm_pitch = pitch(width)
    t.add(
        Opcode.LAYERNORM,
        tokens=tokens,
        inputs=width,
        source_pitch=res_pitch,
        destination=base,
        destination_pitch=norm_pitch,
        shift=rng.integers(1, 41) if rng.uniform() < 0.3 else 20,
        parameters=t.section(rng.integers(0, 2**15, width).astype("<u2")),
        epsilon=rng.integers(1, 2**32),
    )
    t.store(Source.ACT, tokens, width, norm_pitch, base)
    where |= {"source": base, "source_pitch": norm_pitch}
    base += words(tokens, norm_pitch)
    heads = int(rng.integers(1, 4))
    rows = 3 * 64 * heads
    qkv_pitch = pitch(rows)
    qkv = random_linear(rng, rows, width, rng.uniform())
    qkv.shift[:] = np.clip(14 + np.log2(width), 0, 40)
    where |= {"destination": base, "destination_pitch": qkv_pitch, "clamp": 119}
    t.linear(qkv, Epilogue.REQUANTISE, rng.permutation(rows), **where)
    t.store(Source.ACT, tokens, rows, qkv_pitch, base)
    mixed, mixed_pitch = base + words(tokens, qkv_pitch), pitch(64 * heads)
    parameters = np.zeros(heads, hw.HEAD_DTYPE)
    parameters["score_multiplier"] = rng.choice(
        [0, 1, 2**15 - 1, *rng.integers(0, 2**15, 2)], heads
    )
    parameters["score_shift"] = rng.integers(0, 24, heads)
    parameters["out_multiplier"] = rng.integers(0, 2**15, heads)
    parameters["out_shift"] = rng.integers(0, 41, heads)
    queries, keys = int(rng.integers(1, tokens + 1)), int(rng.integers(1, tokens + 1))
    t.add(
        Opcode.ATTENTION,
        tokens=queries,
        keys=keys,
        heads=heads,
        source=base,
        source_pitch=qkv_pitch,
        source_kv=base,
        kv_pitch=qkv_pitch,
        channel_k=64 * heads,
        channel_v=128 * heads,
        destination=mixed,
        destination_pitch=mixed_pitch,
        parameters=t.section(parameters),
    )
    t.store(Source.ACT, queries, 64 * heads, mixed_pitch, mixed)
    # A region of its own for a matrix of any row count, its channels repeated and with gaps: what
    # no row writes keeps its bytes.
    odd = int(rng.integers(1, 200))
    odd_pitch, odd_base = pitch(odd + 32), mixed + words(tokens, mixed_pitch)
    where |= {"destination": odd_base, "destination_pitch": odd_pitch, "clamp": 127}
    last = random_linear(rng, odd, width, rng.uniform())
    table = t.section(rng.integers(-127, 128, 256).astype(np.int8))
    t.linear(last, Epilogue.TABLE, rng.permutation(odd), lookup=table, **where)
    t.linear(last, Epilogue.REQUANTISE, rng.integers(0, odd, odd), **where)
    t.store(Source.ACT, tokens, odd // 32 * 32 + 32, odd_pitch, odd_base)
    where |= {"tokens": 1, "destination": 0, "destination_pitch": 0}
    t.linear(last, Epilogue.LOGITS, rng.permutation(odd), **where)
    t.add(Opcode.STORE, mode=Source.LOGITS, outputs=odd, address=t.output_bytes)
    t.output_bytes += 4 * odd
    return t.program(16 * side)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("seed", range(40))
def test_programs_that_no_compiler_writes(kernels: str, seed: int) -> None:
    assert_same_bytes(hand_made(seed), kernels, threads=1 + seed % 2, seed=seed)


@pytest.mark.parametrize("kernels", KERNELS)
def test_the_longest_row_and_the_most_tokens(kernels: str) -> None:
    """4,096 inputs at the ends of their range: past the float kernels' 24 bits; 226 tokens of 240
    pixels, and attention over all of them."""
    rng = np.random.default_rng(5)
    o = overlay(8, 32, 32)
    t = Table(o)
    tokens = 226
    t.add(Opcode.LOAD_IMAGE, destination_pitch=24, image_size=240)
    base = -(-tokens // 8) * 24
    wide = random_linear(rng, 4096, 768, 0.5)
    wide.shift[:], wide.multiplier[:] = 24, 2**14
    where = {"tokens": tokens, "source": 0, "source_pitch": 24, "clamp": 119}
    t.linear(
        wide,
        Epilogue.REQUANTISE,
        np.arange(4096),
        destination=base,
        destination_pitch=128,
        **where,
    )
    back = random_linear(rng, 64, 4096, 1.0)
    back.weights[:32] = np.where(rng.uniform(size=(32, 4096)) < 0.9, 119, -119)
    back.shift[:] = rng.integers(18, 30, 64)
    end = base + -(-tokens // 8) * 128
    where |= {"source": base, "source_pitch": 128, "destination": end, "destination_pitch": 2}
    where["clamp"] = 127
    t.linear(back, Epilogue.REQUANTISE, np.arange(64), **where)
    t.store(Source.ACT, tokens, 64, 2, end)
    heads = np.zeros(1, hw.HEAD_DTYPE)
    heads["score_multiplier"], heads["score_shift"] = 2**14, 20
    heads["out_multiplier"], heads["out_shift"] = 2**14, 21
    t.add(
        Opcode.ATTENTION,
        tokens=tokens,
        keys=tokens,
        heads=1,
        source=end,
        source_pitch=2,
        source_kv=base,
        kv_pitch=128,
        channel_k=0,
        channel_v=64,
        destination=0,
        destination_pitch=2,
        parameters=t.section(heads),
    )
    t.store(Source.ACT, tokens, 64, 2)
    assert_same_bytes(t.program(240), kernels, threads=2)


@pytest.mark.parametrize("kernels", KERNELS)
def test_four_and_eight_bit_rows_at_the_ends_of_their_ranges(kernels: str) -> None:
    """Every weight and every activation value meets: one input row at a time is not zero."""
    o = overlay(2, 4, 8)
    t = Table(o)
    t.add(Opcode.LOAD_IMAGE, destination_pitch=96, image_size=32)
    rng = np.random.default_rng(0)
    matrix = random_linear(rng, 254, 768, 0.9)
    matrix.weights[:] = 0
    matrix.bits[:15], matrix.bits[15:] = 4, 8
    values = np.concatenate([np.arange(-7, 8), np.arange(-119, 120)])
    matrix.weights[np.arange(254), np.arange(254)] = values
    matrix.bias[:], matrix.multiplier[:], matrix.shift[:] = 0, 2**14, 21
    t.linear(
        matrix,
        Epilogue.REQUANTISE,
        np.argsort(np.argsort(matrix.bits != 8, kind="stable"), kind="stable"),
        tokens=5,
        source=0,
        source_pitch=96,
        destination=3 * 96,
        destination_pitch=32,
        clamp=ar.ACTIVATION_MAX,
    )
    t.store(Source.ACT, 5, 256, 32, 3 * 96)
    assert_same_bytes(t.program(32), kernels, threads=1)
