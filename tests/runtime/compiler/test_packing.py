"""The order of weights in memory, against a literal reading of its description."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quasar_runtime.compiler.packing import pack_rows, pack_weights, row_order, unpack_weights
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.overlay import load_overlay
from quasar_runtime.isa.program import weight_bytes
from quasar_runtime.model.network import Linear

OVERLAYS = [load_overlay(name) for name in ("b64", "b1024", "b8192")]


def matrix(seed: int, rows: int, inputs: int, share8: float) -> Linear:
    rng = np.random.default_rng(seed)
    bits = np.where(rng.random(rows) < share8, 8, 4).astype(np.uint8)
    limit = np.where(bits == 8, 119, 7)[:, None]
    return Linear(
        rng.integers(-limit, limit + 1, (rows, inputs)).astype(np.int8),
        bits,
        rng.integers(-(2**30), 2**30, rows).astype(np.int32),
        rng.integers(0, 2**15, rows).astype(np.uint16),
        rng.integers(0, 41, rows).astype(np.uint8),
    )


def literal(linear: Linear, overlay) -> list[int]:
    """The packed bytes, one nibble after another as packing.py's description has them."""
    digits = []
    for row in range(linear.rows):
        if linear.bits[row] == 8:
            # Remainder and quotient around zero: w = 16 h + l with l in [-8, 7].
            pairs = [((int(w) + 8) % 16 - 8, (int(w) + 8) // 16) for w in linear.weights[row]]
            digits += [[low for low, _ in pairs], [high for _, high in pairs]]
    digits += [linear.weights[r].tolist() for r in range(linear.rows) if linear.bits[r] == 4]
    assert all(-8 <= digit <= 7 for row in digits for digit in row)
    nibbles = []
    for group in range(0, len(digits), overlay.rows):
        for step in range(0, linear.inputs, overlay.depth):
            for row in range(group, group + overlay.rows):
                for column in range(step, step + overlay.depth):
                    inside = row < len(digits) and column < linear.inputs
                    nibbles.append(digits[row][column] & 15 if inside else 0)
    return [low | high << 4 for low, high in zip(nibbles[0::2], nibbles[1::2], strict=True)]


shapes = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(1, 70), st.sampled_from([32, 64, 96]),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)  # fmt: skip


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda o: o.name)
@settings(max_examples=15, deadline=None)
@given(shape=shapes)
def test_packed_bytes_are_in_the_described_order(overlay, shape):
    linear = matrix(*shape)
    packed = pack_weights(linear, overlay)
    assert packed.dtype == np.uint8
    assert packed.size == weight_bytes(linear.inputs, linear.rows, linear.rows8, overlay)
    assert packed.tolist() == literal(linear, overlay)


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda o: o.name)
@settings(max_examples=25, deadline=None)
@given(shape=shapes)
def test_unpacking_gives_the_rows_as_they_are_streamed(overlay, shape):
    linear = matrix(*shape)
    packed = pack_weights(linear, overlay)
    rows = unpack_weights(packed, linear.inputs, linear.rows, linear.rows8, overlay)
    assert np.array_equal(rows, linear.weights[row_order(linear.bits)])


def test_arrays_of_any_shape_are_packed():
    linear = matrix(1, 50, 96, 0.4)
    for rows, depth in ((2, 8), (8, 16), (128, 32)):
        overlay = replace(OVERLAYS[0], rows=rows, depth=depth)
        assert pack_weights(linear, overlay).tolist() == literal(linear, overlay)


@pytest.mark.parametrize(("bits", "limit"), [(8, 119), (4, 7)])
def test_every_weight_survives_at_every_position_of_a_step(bits, limit):
    values = np.arange(-limit, limit + 1, dtype=np.int8)
    weights = np.stack([np.roll(np.resize(values, 64), shift) for shift in range(len(values))])
    linear = matrix(1, len(values), 64, float(bits == 8))
    linear.weights = weights
    for overlay in OVERLAYS:
        packed = pack_weights(linear, overlay)
        assert np.array_equal(
            unpack_weights(packed, 64, linear.rows, linear.rows8, overlay), weights
        )


def test_8_bit_rows_come_first_each_kind_in_its_order():
    bits = np.array([4, 8, 4, 8, 8, 4], np.uint8)
    assert row_order(bits).tolist() == [1, 3, 4, 0, 2, 5]


def test_row_parameters_carry_their_destination():
    linear = matrix(3, 40, 32, 0.5)
    rows = pack_rows(linear).view(hw.ROW_DTYPE)
    assert rows.nbytes == 40 * hw.ROW_BYTES
    assert (linear.bits[rows["channel"][: linear.rows8]] == 8).all()
    assert sorted(rows["channel"]) == list(range(40))
    for name in ("bias", "multiplier", "shift"):
        assert np.array_equal(rows[name], getattr(linear, name)[rows["channel"]])
    assert not pack_rows(linear).reshape(-1, hw.ROW_BYTES)[:, 9:].any()
