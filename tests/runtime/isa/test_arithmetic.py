"""Properties of the normative arithmetic, against Python's exact integers and floating point."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quasar_runtime.isa import arithmetic as ar
from quasar_runtime.isa.tables import EXP_STEP

EXP_ERROR = 127 * (1 - np.exp(-EXP_STEP)) + 0.5
"""EXP's index is rounded down and its entry to the nearest: at most this many units of 1/127."""

accumulators = st.integers(-(2**31) + 1, 2**31 - 1)
multipliers = st.integers(0, ar.MULTIPLIER_MAX)
shifts = st.integers(0, ar.SHIFT_MAX)


def exact_shift(x: int, n: int) -> int:
    """floor(x / 2^n + 1/2) in exact integers."""
    return (2 * x + 2**n) // 2 ** (n + 1)


@given(st.integers(-(2**47), 2**47), shifts)
def test_rounding_shift_rounds_half_up(x, n):
    assert ar.rounding_shift(x, n) == exact_shift(x, n)


def test_halves_are_rounded_up():
    assert ar.rounding_shift([-3, -2, -1, 0, 1, 2, 3], 1).tolist() == [-1, -1, 0, 0, 1, 1, 2]


@given(accumulators, multipliers, shifts, st.sampled_from([119, 127]))
def test_requantisation_is_exact_and_symmetric_in_range(acc, m, n, limit):
    wanted = max(-limit, min(limit, exact_shift(acc * m, n)))
    assert ar.requantise(acc, m, n, limit) == wanted


def test_requantisation_does_not_overflow_at_its_extremes():
    worst = np.array([2**31 - 1, -(2**31) + 1])
    assert ar.requantise(worst, ar.MULTIPLIER_MAX, 0, 127).tolist() == [127, -127]
    assert ar.requantise(worst, ar.MULTIPLIER_MAX, 40, 127).tolist() == [64, -64]


@given(st.integers(-(2**15), 2**15 - 1), accumulators, multipliers, shifts)
def test_the_residual_saturates_twice(x, acc, m, n):
    def sat16(value: int) -> int:
        return max(-(2**15), min(2**15 - 1, value))

    arrays = [np.array([v]) for v in (x, acc, m, n)]
    assert ar.add_residual(*arrays)[0] == sat16(x + sat16(exact_shift(acc * m, n)))


def test_patches_are_raster_ordered_with_row_column_colour_inside():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
    tokens = ar.patches(image)
    assert tokens.shape == (10, 768)
    assert not tokens[0].any()
    for token, row, column, colour in [(1, 0, 0, 0), (3, 5, 15, 2), (6, 15, 1, 1), (9, 15, 15, 2)]:
        y, x = divmod(token - 1, 3)
        byte = int(image[16 * y + row, 16 * x + column, colour])
        assert tokens[token, (row * 16 + column) * 3 + colour] == max(byte, 1) - 128


def test_every_byte_becomes_an_activation():
    image = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    values = ar.patches(image)[1].reshape(256, 3)[:, 0]
    assert values.tolist() == [-127, *range(-127, 128)]


@given(st.integers(1, 4096), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_matrix_products_are_exact(inputs, seed):
    rng = np.random.default_rng(seed)
    a, w = rng.integers(-127, 128, (3, inputs)), rng.integers(-119, 120, (2, inputs))
    assert np.array_equal(ar.matmul(a, w), np.einsum("tk,rk->tr", a, w))


def test_the_largest_matrix_product_is_exact():
    a, w = np.full((1, 4096), 127), np.full((1, 4096), -119)
    assert ar.matmul(a, w).item() == -127 * 119 * 4096


@given(st.integers(1, 2**53 - 1))
def test_bit_length_is_that_of_python(x):
    assert ar.bit_length(np.array([x]))[0] == x.bit_length()


def test_a_table_is_indexed_by_the_activation_plus_128():
    table = np.arange(-128, 128)
    x = np.arange(-127, 128)
    assert np.array_equal(ar.lookup(x, table), x)


# LayerNorm


@given(
    st.sampled_from([32, 64, 192, 384, 1024]),
    st.integers(0, 2**32 - 1),
    st.floats(0.5, 15),
    st.integers(18, 24),
)
@settings(max_examples=60, deadline=None)
def test_layernorm_is_close_to_floating_point(width, seed, magnitude, shift):
    rng = np.random.default_rng(seed)
    x = np.clip(np.round(rng.normal(0, 2**magnitude, (3, width))), -(2**15), 2**15 - 1)
    x = x.astype(np.int64)
    gain, epsilon = rng.integers(0, 2**15, width), 2000
    out = ar.layernorm(x, gain, shift, epsilon)
    v = width * (x * x).sum(1, keepdims=True) - x.sum(1, keepdims=True) ** 2 + epsilon
    t = (width * x - x.sum(1, keepdims=True)) / np.sqrt(v) * 2**ar.NORM_FRACTION
    ideal = np.clip(t * gain / 2.0**shift, -127, 127)
    # t is off by its rounding and 1/sqrt's relative error; the result's rounding adds a half.
    bound = 0.5 + gain / 2.0**shift * (0.5 + np.abs(t) * 2.0**-14)
    assert (np.abs(out - ideal) <= bound + 1e-6).all()


def test_layernorm_of_equal_values_is_zero():
    for value in (-(2**15), 0, 2**15 - 1):
        x = np.full((1, 1024), value)
        assert not ar.layernorm(x, np.full(1024, 2**15 - 1), 1, 1).any()


def test_layernorm_of_one_extreme_channel_keeps_its_18_bits():
    x = np.full((2, 1024), -(2**15))
    x[0, 5] = 2**15 - 1
    x[1] = 2**15 - 1
    x[1, 5] = -(2**15)
    out = ar.layernorm(x, np.full(1024, 2**14), 25, 1)
    # (x - mean) / deviation of the channel is sqrt(1023), with 12 fraction bits 131,008.
    assert out[:, 5].tolist() == [64, -64]


def test_the_largest_variance_is_below_2_to_the_52():
    half = np.repeat([-(2**15), 2**15 - 1], 512)
    v = 1024 * (half * half).sum() - half.sum() ** 2 + 2**32 - 1
    assert v < 2**52


# Attention


@given(st.integers(1, 2**15 - 1), st.integers(0, ar.SCORE_SHIFT_MAX), st.integers(0, 2**32 - 1))
def test_numerators_follow_the_exponential(m, n, seed):
    rng = np.random.default_rng(seed)
    limit = 64 * 119 * 119
    scores = rng.integers(-limit, limit + 1, (2, 50)) >> int(rng.integers(20))
    e = ar.softmax_numerators(scores, m, n)
    d = scores.max(1, keepdims=True) - scores
    ideal = 127 * np.exp(-np.minimum(d * m / 2.0**n, 1e4) * EXP_STEP)
    assert np.abs(e - ideal).max() <= EXP_ERROR
    assert (e.max(1) == 127).all()
    assert e.min() >= 0


@given(
    st.integers(0, 2 * 64 * 119 * 119),
    st.integers(1, 2**15 - 1),
    st.integers(0, ar.SCORE_SHIFT_MAX),
)
def test_an_index_can_be_computed_in_32_bits(d, m, n):
    limited = min(d, -(-255 * 2**n // m))
    assert limited * m < 2**32
    assert min(255, (limited * m) >> n) == min(255, (d * m) >> n)


@given(st.integers(1, 256), st.integers(0, 2**32 - 1))
def test_a_weighted_mean_is_the_quotient_with_8_fraction_bits(keys, seed):
    rng = np.random.default_rng(seed)
    e, v = rng.integers(0, 128, (1, keys)), rng.integers(-119, 120, (keys, 4))
    e[0, 0] = 127
    acc, total = e @ v, e.sum(1)
    assert np.abs(acc).max() < 2**22
    ideal = acc / total[:, None] * 2**ar.MEAN_FRACTION
    error = np.abs(ar.weighted_mean(acc, total) - ideal)
    assert (error <= 0.5 + np.abs(ideal) * 2.0**-14).all()
    assert np.abs(ideal).max() < 2**16


@given(st.integers(1, 226), st.integers(0, 2**32 - 1), st.integers(14, ar.SCORE_SHIFT_MAX))
@settings(max_examples=40, deadline=None)
def test_an_attention_head_is_close_to_floating_point(keys, seed, n):
    rng = np.random.default_rng(seed)
    q = rng.integers(-119, 120, (3, 64))
    k, v = rng.integers(-119, 120, (keys, 64)), rng.integers(-119, 120, (keys, 64))
    m, out = 20000, (2**14, 22)
    result = ar.attention_head(q, k, v, (m, n), out)
    d = (q @ k.T).max(1, keepdims=True) - q @ k.T
    weight = 127 * np.exp(-np.minimum(d * m / 2.0**n, 1e4) * EXP_STEP)
    mean = weight @ v / weight.sum(1, keepdims=True)
    # A weight's error moves the mean by at most its distance from the value, over the sum.
    distance = np.abs(v[None] - mean[:, None]).sum(1)
    moved = (
        EXP_ERROR * distance / np.maximum(ar.softmax_numerators(q @ k.T, m, n).sum(1), 1)[:, None]
    )
    scale = 2**ar.MEAN_FRACTION * out[0] / 2.0 ** out[1]
    bound = (moved + np.abs(mean) * 2.0**-13 + 1 / 256) * scale + 0.5
    assert (np.abs(result - np.clip(mean * scale, -127, 127)) <= bound).all()


@pytest.mark.parametrize("value", [119, -119])
def test_attention_to_equal_values_returns_the_value(value):
    rng = np.random.default_rng(2)
    q, k = rng.integers(-119, 120, (2, 64)), rng.integers(-119, 120, (197, 64))
    v = np.full((197, 64), value)
    assert (ar.attention_head(q, k, v, (2**14, 20), (2**14, 22)) == value).all()
