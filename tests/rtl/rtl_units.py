"""The benches of hw_src/sim for the tests of single modules, and what those tests share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from quasar_runtime.devices.rtl.build import unavailable
from quasar_runtime.isa import interface as hw

if reason := unavailable():
    pytest.skip(reason, allow_module_level=True)

from hw_src.sim import datapath_bench  # noqa: F401 - for the tests
from hw_src.sim import unit_agents as agents  # noqa: F401
from hw_src.sim import unit_bench as bench  # noqa: F401

THROTTLES = [(0.0, 0.0), (0.6, 0.0), (0.0, 0.6), (0.5, 0.5)]
"""How often the two sides of a module pause: neither, either, both."""


def integer(data: npt.NDArray[np.generic] | np.void) -> int:
    """A value whose bytes in memory are these."""
    return int.from_bytes(data.tobytes(), "little")


def descriptor(**fields: int) -> int:
    """A descriptor as the RTL's packed struct."""
    row = np.zeros(1, hw.DESCRIPTOR_DTYPE)
    for name, value in fields.items():
        row[name] = value
    return integer(row)


def random_bytes(size: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)


META = {
    "kind": 2,
    "parity": 1,
    "head": 4,
    "group": 8,
    "rows": 4,
    "mode": 2,
    "clamp": 7,
    "base": 24,
    "tokens": 5,
    "group_last": 1,
    "tile_final": 1,
    "op_last": 1,
    "tag": 2,
}
"""datapath_pkg's meta_t, first member highest."""
ORDER = {"tag": 2, "chained": 1, "producer": 2}
WRITTEN = {"tile_final": 1, "op_last": 1, "tag": 2}
PROGRESS_BITS = 9
LANE_ROW = {"bias": 32, "multiplier": 15, "shift": 6, "channel": 12}
KIND_LINEAR, KIND_SCORE, KIND_VALUE = 0, 1, 2


def packed(layout: dict[str, int], **values: int) -> int:
    """A packed struct of the RTL; members that are not named are 0."""
    result = 0
    for name, bits in layout.items():
        result = result << bits | int(values.get(name, 0)) & ((1 << bits) - 1)
    return result


def unpacked(layout: dict[str, int], value: int) -> dict[str, int]:
    result = {}
    for name, bits in reversed(layout.items()):
        result[name] = value & ((1 << bits) - 1)
        value >>= bits
    return result
