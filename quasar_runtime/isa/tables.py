"""The three constant tables of the arithmetic.

They belong to the interface: the C header and the SystemVerilog package carry the same numbers.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

EXP_STEP = 1.0 / 45.0
"""One index of EXP, in nats: exp(-255 / 45) * 127 rounds to 0."""

RSQRT_FIRST = 64
"""RSQRT is indexed by the upper 8 bits of an 18-bit value in [2^16, 2^18), less this."""


def _exp() -> npt.NDArray[np.int64]:
    """EXP[i] = round(127 * exp(-i * EXP_STEP)), i in 0..255: 127 down to 0, 7 bits."""
    return np.array([round(127.0 * math.exp(-i * EXP_STEP)) for i in range(256)], np.int64)


def _rsqrt() -> npt.NDArray[np.int64]:
    """RSQRT[j] = round(2^15 / sqrt(c / 2^16)), c the middle of [j + 64, j + 65) * 2^10: 16 bits."""
    middles = [(j + RSQRT_FIRST + 0.5) * 2.0**10 for j in range(192)]
    return np.array([round(2.0**15 / math.sqrt(c / 2.0**16)) for c in middles], np.int64)


def _reciprocal() -> npt.NDArray[np.int64]:
    """RECIPROCAL[j] = round(2^15 / (c / 2^15)), c middle of [j + 256, j + 257) * 2^7: 16 bits."""
    middles = [(j + 256.5) * 2.0**7 for j in range(256)]
    return np.array([round(2.0**15 / (c / 2.0**15)) for c in middles], np.int64)


EXP = _exp()
RSQRT = _rsqrt()
RECIPROCAL = _reciprocal()
