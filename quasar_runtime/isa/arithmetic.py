"""The normative integer arithmetic: every number a device computes is defined here.

Plain NumPy on int64, one function an operation, each with its formula, widths and ranges. The C
kernels and the RTL return the same bytes; where they differ from this file, this file is right.

Notation: rs(x, n) = floor((x + 2^(n-1)) / 2^n), a right shift that rounds half up; rs(x, 0) = x.
A requantisation (m, n) is clamp(rs(acc * m, n)) with m in [0, 2^15) and n in [0, 40].
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quasar_runtime.isa.tables import EXP, RECIPROCAL, RSQRT, RSQRT_FIRST

Ints = npt.NDArray[np.int64]

ACTIVATION_MAX = 127
"""Activations are in [-127, 127]: -128 never occurs."""
WEIGHT8_MAX = 119
"""8-bit weights, and K and V, are in [-119, 119] = 16*h + l with h and l in [-8, 7]."""
WEIGHT4_MAX = 7
"""4-bit weights are in [-7, 7]."""
MULTIPLIER_MAX = 2**15 - 1
SHIFT_MAX = 40
"""Largest shift of a requantisation."""
SCORE_SHIFT_MAX = 23
"""Largest shift of a score: then min(d, ceil(255 * 2^n / m)) * m fits 32 bits."""
RESIDUAL_MIN, RESIDUAL_MAX = -(2**15), 2**15 - 1
NORM_FRACTION = 12
"""Fraction bits of a normalised value inside LayerNorm."""
MEAN_FRACTION = 8
"""Fraction bits of attention's weighted mean before it is requantised."""


def rounding_shift(x: npt.ArrayLike, n: npt.ArrayLike) -> Ints:
    """rs(x, n): arithmetic right shift by n >= 0, rounding half up; rs(x, 0) = x."""
    x, n = np.asarray(x, np.int64), np.asarray(n, np.int64)
    half = np.where(n > 0, np.int64(1) << np.maximum(n - 1, 0), 0)
    return np.asarray((x + half) >> n, np.int64)


def clamp(x: npt.ArrayLike, limit: int) -> Ints:
    """x limited to [-limit, limit]."""
    return np.clip(np.asarray(x, np.int64), -limit, limit)


def requantise(acc: npt.ArrayLike, m: npt.ArrayLike, n: npt.ArrayLike, limit: int) -> Ints:
    """clamp(rs(acc * m, n)): |acc| < 2^31 and m < 2^15, so the product has at most 47 bits."""
    return clamp(rounding_shift(np.asarray(acc, np.int64) * np.asarray(m, np.int64), n), limit)


def patches(image: npt.NDArray[np.uint8], patch: int = 16) -> Ints:
    """Raw RGB bytes (S, S, 3) to activations (1 + (S/patch)^2, 3 * patch^2).

    A byte x becomes max(x, 1) - 128, in [-127, 127]. Token 0 (CLS) is all zeros; token 1 + i holds
    patch i in raster order, its channels ordered (row, column, colour) as the bytes lie in memory.
    """
    side = image.shape[0] // patch
    values = np.maximum(image.astype(np.int64), 1) - 128
    tiles = values.reshape(side, patch, side, patch, 3).transpose(0, 2, 1, 3, 4)
    tokens = tiles.reshape(side * side, 3 * patch * patch)
    return np.concatenate([np.zeros((1, tokens.shape[1]), np.int64), tokens])


def matmul(a: npt.NDArray[np.integer], w: npt.NDArray[np.integer]) -> Ints:
    """Exact a (T, K) times w (R, K) transposed: (T, R).

    Computed in float64, whose sums are exact here: |sum| <= 127 * 127 * K < 2^53.
    """
    product: Ints = (a.astype(np.float64) @ w.astype(np.float64).T).astype(np.int64)
    return product


def add_residual(residual: Ints, acc: Ints, m: Ints, n: Ints) -> Ints:
    """sat16(residual + sat16(rs(acc * m, n))), the int16 residual stream."""
    delta = rounding_shift(acc * m, n)
    delta = np.clip(delta, RESIDUAL_MIN, RESIDUAL_MAX)
    return np.asarray(np.clip(residual + delta, RESIDUAL_MIN, RESIDUAL_MAX), np.int64)


def lookup(x: Ints, table: Ints) -> Ints:
    """table[x + 128]: a 256-entry int8 -> int8 table (GELU); entry 0 is never read."""
    return np.asarray(table[x + 128], np.int64)


def bit_length(x: Ints) -> Ints:
    """Bits of x >= 1: floor(log2 x) + 1. frexp is exact for x < 2^53."""
    return np.frexp(np.asarray(x, np.float64))[1].astype(np.int64)


def reciprocal_sqrt(v: Ints) -> tuple[Ints, Ints]:
    """(y, k) with y * 2^-(k + 24) ~ 1 / sqrt(v), for v in [1, 2^52).

    v is normalised by an even shift, z = floor(v * 4^-k) in [2^16, 2^18); a 192-entry table gives
    y0 ~ 2^15 / sqrt(z / 2^16), one Newton step y = (y0 * h) >> 17 with
    h = (3 * 2^33 - z * ((y0 * y0) >> 13)) >> 16 doubles its precision. y has 16 bits, in
    [2^15 - 1, 2^16); relative error below 2^-14 (tested exhaustively over z).
    """
    v = np.asarray(v, np.int64)
    k = (bit_length(v) - 17) >> 1
    z = np.where(k >= 0, v >> np.maximum(2 * k, 0), v << np.maximum(-2 * k, 0))
    y0 = RSQRT[(z >> 10) - RSQRT_FIRST]
    h = (3 * 2**33 - z * ((y0 * y0) >> 13)) >> 16
    return (y0 * h) >> 17, k


def reciprocal(s: Ints) -> tuple[Ints, Ints]:
    """(y, k) with y * 2^-k ~ 1 / s, for s in [1, 2^16).

    z = s * 2^(16 - L) in [2^15, 2^16), L the bits of s; a 256-entry table gives
    y0 ~ 2^15 / (z / 2^15), one Newton step y = (y0 * ((2^31 - z * y0) >> 14)) >> 15. y has 16 bits,
    in [2^15, 2^16); k = L + 15; relative error below 2^-14 (tested exhaustively).
    """
    s = np.asarray(s, np.int64)
    length = bit_length(s)
    z = s << (16 - length)
    y0 = RECIPROCAL[(z >> 7) & 255]
    return (y0 * ((2**31 - z * y0) >> 14)) >> 15, length + 15


def layernorm(x: Ints, gain: Ints, shift: int, epsilon: int) -> Ints:
    """int16 x (T, D), gain (D,) of 15 bits unsigned -> activations (T, D).

    S1 = sum x, S2 = sum x^2, V = D * S2 - S1^2 + epsilon (below 2^52 for D <= 1024),
    (y, k) = reciprocal_sqrt(V), t = sat18(rs((D * x - S1) * y, k + 12)): (x - mean) / deviation
    with 12 fraction bits; out = clamp(rs(t * gain, shift), 127).
    """
    d = x.shape[1]
    s1 = x.sum(axis=1, keepdims=True)
    s2 = (x * x).sum(axis=1, keepdims=True)
    y, k = reciprocal_sqrt(d * s2 - s1 * s1 + epsilon)
    t = rounding_shift((d * x - s1) * y, k + 24 - NORM_FRACTION)
    t = np.clip(t, -(2**17), 2**17 - 1)
    return clamp(rounding_shift(t * gain, shift), ACTIVATION_MAX)


def softmax_numerators(scores: Ints, m: int, n: int) -> Ints:
    """scores (T, K) -> e (T, K) of 7 bits: EXP[min(255, (d * m) >> n)], d = row maximum - score."""
    d = scores.max(axis=1, keepdims=True) - scores
    return np.asarray(EXP[np.minimum(255, (d * m) >> n)], np.int64)


def weighted_mean(acc: Ints, total: Ints) -> Ints:
    """acc (T, C) = e @ V over total (T,) = sum of e, with 8 fraction bits.

    rs(acc * y, k - 8) with (y, k) = reciprocal(total): |acc| < 2^22, the result has 17 bits.
    """
    y, k = reciprocal(total)
    return rounding_shift(acc * y[:, None], (k - MEAN_FRACTION)[:, None])


def attention_head(q: Ints, k: Ints, v: Ints, score: tuple[int, int], out: tuple[int, int]) -> Ints:
    """One head: q (T, 64), k and v (K, 64), requantisations (m, n) -> activations (T, 64).

    The softmax is not normalised element by element: the sum of the numerators divides the value
    product once, out = clamp(rs(weighted_mean * m, n), 127).
    """
    e = softmax_numerators(matmul(q, k), *score)
    mean = weighted_mean(matmul(e, v.T), e.sum(axis=1))
    return requantise(mean, out[0], out[1], ACTIVATION_MAX)
