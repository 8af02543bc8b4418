"""The benches of hw_src/sim for the tests of single modules, and what those tests share."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
import pytest

from quasar_runtime import interface as hw
from quasar_runtime.device.rtl_build import unavailable
from quasar_runtime.resources import data_folder

if reason := unavailable():
    pytest.skip(reason, allow_module_level=True)

sys.path.insert(0, str(data_folder("hw_src") / "sim"))

import unit_agents as agents
import unit_bench as bench

THROTTLES = [(0.0, 0.0), (0.6, 0.0), (0.0, 0.6), (0.5, 0.5)]
"""How often the two sides of a module pause: neither, either, both."""

__all__ = ["THROTTLES", "agents", "bench", "descriptor", "integer", "random_bytes"]


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
