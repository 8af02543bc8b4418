"""Arrangements of the packed multiplier, bit for bit, upon the model of the DSP48E2."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from tests.rtl.rtl_units import bench, datapath_bench

Ints = npt.NDArray[np.int64]
TOKENS, ROWS = 2, 2
ACC, DUAL_ACC = 23, 27
"""Bits of an accumulator."""
ARRAY, TWO, SEPARATED = 0, 1, 2
LATENCY = {ARRAY: 7, TWO: 6, SEPARATED: 8}
"""Of arrangement.sv, without its adders."""


# --- The range arguments, every case of them


def test_two_low_bits_take_cascades_of_two_apart_whatever_their_sums() -> None:
    _separates(most=2 * 8 * 127, low_bits=2)


def test_three_low_bits_take_cascades_of_four_apart_whatever_their_sums() -> None:
    _separates(most=4 * 8 * 127, low_bits=3)


def _separates(most: int, low_bits: int) -> None:
    """A half's L0 + L1 2^10 gives L0 and L1 back for every pair, by separate.sv's formulas."""
    l1 = np.arange(-most, most + 1)
    modulus = 1 << low_bits
    for l0 in range(-most, most + 1):
        half = l0 + (l1 << 10)
        assert abs(half).max() < 1 << 19 + low_bits  # so that its highest bit is its sign
        v = ((half >> 10) - l1) % modulus
        v -= modulus * (v >= modulus // 2)
        assert ((v << 10) + (half & 1023) == l0).all()


def test_the_arrays_fields_hold_their_lanes_whatever_the_sums() -> None:
    most = 4 * 8 * 127
    l1 = np.arange(-most, most + 1)
    for l0 in range(-most, most + 1):
        half = (l0 + 4096) + ((l1 + 4096 - l1 % 8) << 10)
        assert half.min() >= 0
        assert half.max() < 1 << 23  # nothing is borrowed from the other half
        assert ((half & 8191) == l0 + 4096).all()
        assert ((half >> 13 << 3 | l1 % 8) == l1 + 4096).all()


def test_no_operand_overflows() -> None:
    for shift, upper in ((22, 8), (23, 7)):
        assert 8 + (upper << shift) < 1 << 26
    assert 127 + (127 << 19) < 1 << 26
    assert 127 * 1025 < 1 << 17
    assert 16 * 127 * 127 < 1 << 18  # an 8-bit mode's sum, of 19 bits


# --- Cascades


@pytest.mark.parametrize(
    ("top", "latency", "bias", "uppers"),
    [("two_dot", 5, 0, 16), ("separated_dot", 7, 0, 15), ("packed_dot", 6, 4096, 15)],
)
def test_cascades_are_exact_for_all_inputs_of_each_multiplier(
    top: str, latency: int, bias: int, uppers: int
) -> None:
    cases, wrong = datapath_bench.dot_exhaustive(top, latency, bias, seed=1, primitive=True)
    assert cases == 16 * uppers * 255 * 255
    assert wrong == 0


# --- Whole arrangements: packing, cells, accumulators


def operands(rng: np.random.Generator, steps: int, depth: int, least: int) -> tuple[Ints, Ints]:
    """x [step, token, input] and w [step, row, input], every other step of extremes alone.

    Now and then the second token does not exist: its -128 counts as -127.
    """
    x = rng.integers(-127, 128, (steps, TOKENS, depth))
    w = rng.integers(-8, 8, (steps, ROWS, depth))
    x[::2] = rng.choice([-127, 127], x[::2].shape)
    w[::2] = rng.choice([-8, 7], w[::2].shape)
    x[::8], w[::8] = 127, -8  # every product as far down as it goes, and
    x[4::8], w[4::8] = -127, -8  # as far up
    x[2::8, 1] = -128
    w[:, 1::2] = np.maximum(w[:, 1::2], least)
    return x, w


def accumulated(sums: Ints, first: npt.NDArray[np.bool_]) -> Ints:
    """Sums [step, ...] from each step that is a first one on."""
    total = np.cumsum(sums, axis=0)
    begins = np.maximum.accumulate(np.where(first, np.arange(len(first)), 0))
    return total - total[begins] + sums[begins]


def late(values: Ints, cycles: int, count: int) -> Ints:
    """Values by cycle, `cycles` later than they come, zero around them."""
    return np.pad(values, (cycles, count - cycles - len(values)))


def nibbles(digits: Ints) -> npt.NDArray[np.uint8]:
    """[step, digit] as bytes, lower nibble first."""
    low, high = digits[:, 0::2] & 15, digits[:, 1::2] & 15
    return (low | high << 4).astype(np.uint8)


def signed(bits: Ints, width: int) -> Ints:
    """Elements of `width` bits of a port's bits [cycle, bit]."""
    parts = bits.reshape(len(bits), -1, width)
    return parts @ np.append(1 << np.arange(width - 1), -(1 << width - 1))


@pytest.mark.parametrize(
    ("arrangement", "depth"),
    [(ARRAY, 8), (ARRAY, 16), (ARRAY, 32), (TWO, 16), (TWO, 32), (SEPARATED, 16)],
)
def test_arrangements_accumulate_exact_sums(arrangement: int, depth: int) -> None:
    steps, rng = 20_000, np.random.default_rng(depth)
    x, w = operands(rng, steps, depth, least=-8 if arrangement == TWO else -7)
    first = rng.random(steps) < 0.2
    first[0] = True
    leaves = depth // (2 if arrangement == TWO else 4)
    latency = LATENCY[arrangement] + ((leaves - 1).bit_length() + 1) // 2
    count = steps + latency + 1
    parameters = {"TOKENS": TOKENS, "ROWS": ROWS, "DEPTH": depth, "ARRANGEMENT": arrangement}
    with bench.Unit("arrangement", primitive=True, **parameters) as unit:
        found = unit.pipeline(
            {
                "x_i": np.pad(x.reshape(steps, -1), ((0, latency + 1), (0, 0))).astype(np.uint8),
                "w_i": np.pad(nibbles(w.reshape(steps, -1)), ((0, latency + 1), (0, 0))),
                "valid_i": late(np.ones(steps, np.int64), latency, count),
                "first_i": late(first.astype(np.int64), latency, count),
            }
        )
    sums = signed(found["acc_o"], ACC)[latency + 1 :]
    expected = accumulated(np.einsum("stk,srk->str", np.maximum(x, -127), w), first)
    assert np.array_equal(sums.reshape(expected.shape), expected)


@pytest.mark.parametrize("depth", [16, 32])
def test_dual_mode_accumulates_exact_sums_in_both_modes_however_they_alternate(depth: int) -> None:
    steps, rng = 20_000, np.random.default_rng(depth)
    x, w = operands(rng, steps, depth, least=-7)
    # Modes alternate from step to step and in long runs; each tile is of one mode.
    wide = rng.random(steps) < 0.5
    wide[steps // 2 :] = np.repeat(rng.random(steps // 100) < 0.5, 50)
    first = np.append(True, wide[1:] != wide[:-1]) | (rng.random(steps) < 0.2)
    x[wide, 1] = 0
    w8 = rng.integers(-127, 128, (steps, ROWS, depth))
    w8[::2] = rng.choice([-127, 127], w8[::2].shape)
    # A pair of rows as four nibbles: wb, wa, or the digits outside.
    pair8 = np.stack([w8[:, 0::2] & 15, w8[:, 0::2] >> 4, w8[:, 1::2] & 15, w8[:, 1::2] >> 4], -1)
    noise = rng.integers(0, 16, w[:, 0::2].shape)
    pair4 = np.stack([w[:, 0::2], noise, noise, w[:, 1::2]], -1)
    pairs = np.where(wide[:, None, None, None], pair8, pair4)
    latency = 21 + (depth == 32)
    count = steps + latency + 1
    parameters = {"TOKENS": TOKENS, "ROWS": ROWS, "DEPTH": depth}
    with bench.Unit("dual_arrangement", primitive=True, **parameters) as unit:
        found = unit.pipeline(
            {
                "wide_i": late(wide.astype(np.int64), 0, count),
                "x_i": np.pad(x.reshape(steps, -1), ((0, latency + 1), (0, 0))).astype(np.uint8),
                "w_i": np.pad(nibbles(pairs.reshape(steps, -1)), ((0, latency + 1), (0, 0))),
                "valid_i": late(np.ones(steps, np.int64), latency, count),
                "first_i": late(first.astype(np.int64), latency, count),
            }
        )
    sums = signed(found["acc_o"], DUAL_ACC)[latency + 1 :].reshape(steps, TOKENS, ROWS)
    weights = np.where(wide[:, None, None], w8, w)
    expected = accumulated(np.einsum("stk,srk->str", np.maximum(x, -127), weights), first)
    assert np.array_equal(sums[:, 0], expected[:, 0])
    assert np.array_equal(sums[~wide, 1], expected[~wide, 1])
