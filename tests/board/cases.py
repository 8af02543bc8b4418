"""Random programs on a board, compared with the reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices.base import Device, Job, Memory
from quasar_runtime.devices.reference import executor as reference
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import Program
from quasar_runtime.model.synthetic import random_model

AREAS = ("program", "image", "output", "profile")
GAP = 192
"""Bytes between two areas, which nobody may write."""
GUARD = 0x5A


def random_program(seed: int, overlay: Overlay) -> Program:
    """A small traced model that fits every overlay."""
    rng = np.random.default_rng(seed)
    depth = int(rng.integers(1, 3))
    model = random_model(
        seed,
        image_size=16 * int(rng.integers(1, 4)),
        width=32 * int(rng.integers(1, 4)),
        heads=[int(h) for h in rng.integers(1, 3, depth)],
        mlp=[32 * int(n) for n in rng.integers(1, 5, depth)],
        share8=[None, 0.0, 1.0][seed % 3],
        classes=int(rng.integers(1, 40)),
    )
    return compile_model(model, overlay, trace=True)


@dataclass(eq=False)
class Placed:
    """A program and a picture in a device's memory, guards around the four areas."""

    device: Device
    program: Program
    image: np.ndarray
    memory: Memory
    offsets: dict[str, int]
    job: Job

    def area(self, name: str) -> np.ndarray:
        first = self.offsets[name]
        return self.memory.array[first : first + getattr(self.job, f"{name}_bytes")]

    def flush(self) -> None:
        self.device.flush(self.memory, 0, self.memory.array.size)

    def run(self, timeout: float = 30.0) -> None:
        """One run on cleared areas; every byte of the memory is what it must be."""
        self.area("output")[:] = 0
        self.area("profile")[:] = 0
        self.flush()
        self.device.submit(self.job)
        self.device.wait(timeout)
        self.check()

    def check(self) -> None:
        self.device.invalidate(self.memory, 0, self.memory.array.size)
        expected = np.full(self.memory.array.size, GUARD, np.uint8)
        for name, data in (
            ("program", self.program.data),
            ("image", self.image.reshape(-1)),
            ("output", reference.run(self.program, self.image)),
            ("profile", self.area("profile")),
        ):
            first = self.offsets[name]
            expected[first : first + data.size] = data
        wrong = np.flatnonzero(self.memory.array != expected)
        assert not wrong.size, f"{wrong.size} bytes differ, the first at {wrong[0]}"
        times = self.area("profile").view(hw.PROFILE_DTYPE)
        assert (times["begin"] <= times["end"]).all()
        assert times["end"][-1] > 0, "no times were written"


def place(device: Device, seed: int) -> Placed:
    """A random program and picture; not flushed yet."""
    program = random_program(seed, device.overlay)
    side = program.image_size
    image = np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)
    sizes = (program.data.size, image.size, program.output_bytes, program.profile_bytes)
    offsets, end = {}, GAP
    for name, size in zip(AREAS, sizes, strict=True):
        offsets[name] = end
        end += -(-size // 64) * 64 + GAP
    memory = device.allocate(end)
    memory.array[:] = GUARD
    values = {}
    for name, size in zip(AREAS, sizes, strict=True):
        values |= {name: memory.address + offsets[name], f"{name}_bytes": size}
    placed = Placed(device, program, image, memory, offsets, Job(program.count, **values))
    placed.area("program")[:] = program.data
    placed.area("image")[:] = image.reshape(-1)
    return placed
