"""The constant tables and what is computed from them, exhaustively against floating point."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quasar_runtime.isa.arithmetic import reciprocal, reciprocal_sqrt
from quasar_runtime.isa.tables import EXP, EXP_STEP, RECIPROCAL, RSQRT, RSQRT_FIRST

BOUND = 2.0**-14
"""Relative error of reciprocal_sqrt and reciprocal."""


def rsqrt_error(v: np.ndarray) -> float:
    """The largest relative error of reciprocal_sqrt over v, exact to about 2^-50."""
    y, k = reciprocal_sqrt(v)
    assert y.min() >= 2**15 - 1
    assert y.max() < 2**16
    return float(np.abs(y * np.exp2(-(k + 24.0)) * np.sqrt(v.astype(np.float64)) - 1).max())


def test_exp_is_the_rounded_exponential_of_7_bits():
    exact = 127 * np.exp(-np.arange(256) * EXP_STEP)
    assert EXP.shape == (256,)
    assert np.abs(EXP - exact).max() <= 0.5
    assert (EXP[0], EXP[255]) == (127, 0)
    assert (np.diff(EXP) <= 0).all()


def test_rsqrt_starts_within_half_an_interval_and_fits_16_bits():
    edges = np.arange(RSQRT_FIRST, RSQRT_FIRST + len(RSQRT) + 1) * 2.0**10 / 2**16
    assert len(RSQRT) == 192
    assert RSQRT.max() < 2**16
    for at in (edges[:-1], edges[1:]):
        assert np.abs(RSQRT / 2**15 * np.sqrt(at) - 1).max() < 2.0**-7.9


def test_reciprocal_starts_within_half_an_interval_and_fits_16_bits():
    edges = np.arange(256, 513) * 2.0**7 / 2**15
    assert len(RECIPROCAL) == 256
    assert RECIPROCAL.max() < 2**16
    for at in (edges[:-1], edges[1:]):
        assert np.abs(RECIPROCAL / 2**15 * at - 1).max() < 2.0**-8.9


def test_rsqrt_of_every_normalised_value():
    assert rsqrt_error(np.arange(2**16, 2**18)) < BOUND


def test_rsqrt_of_every_small_value():
    assert rsqrt_error(np.arange(1, 2**16)) < BOUND


def test_rsqrt_around_every_power_of_two():
    powers = 2 ** np.arange(52)
    near = (powers[:, None] + np.arange(-3, 4)).reshape(-1)
    assert rsqrt_error(near[(near >= 1) & (near < 2**52)]) < BOUND
    assert rsqrt_error(np.array([2**52 - 1])) < BOUND


def test_rsqrt_of_a_million_values_of_every_magnitude():
    rng = np.random.default_rng(1)
    v = np.floor(np.exp2(rng.uniform(0, 52, 1_000_000))).astype(np.int64)
    assert rsqrt_error(v) < BOUND


@given(st.integers(1, 2**52 - 1))
def test_rsqrt_normalises_by_an_even_shift(v):
    _, k = reciprocal_sqrt(np.array([v]))
    assert 2**16 <= math.floor(v * 4.0 ** -int(k[0])) < 2**18


def test_reciprocal_of_every_sum():
    s = np.arange(1, 2**16)
    y, k = reciprocal(s)
    assert y.min() >= 2**15
    assert y.max() < 2**16
    assert np.abs(y * np.exp2(-k.astype(float)) * s - 1).max() < BOUND
