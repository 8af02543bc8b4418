"""Programs for the native engine's tests: compiled ones, and hand-made ones beyond the compiler."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.compiler.layout import align
from quasar_runtime.compiler.packing import pack_rows, pack_weights
from quasar_runtime.devices.base import Device, Job
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue, Opcode, Source
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import Program
from quasar_runtime.model.network import Linear
from quasar_runtime.model.synthetic import random_model

if importlib.util.find_spec("quasar_runtime.devices.native._engine") is None:
    pytest.skip("the C engine is not built; pip install -e .", allow_module_level=True)


def overlay(tokens: int = 4, rows: int = 16, depth: int = 16) -> Overlay:
    """An overlay of any array with room for every test's program."""
    return Overlay("test", tokens, rows, depth, 300, 2**17, 2**15, 1024, 1)


def random_overlay(rng: np.random.Generator) -> Overlay:
    """An overlay of up to 16 tokens, 128 digit rows and a depth of 8, 16 or 32."""
    return overlay(*(2 ** int(rng.integers(low, high)) for low, high in ((0, 5), (1, 8), (3, 6))))


def image_for(program: Program, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Random pixels (side, side, 3), zeros among them."""
    side = program.image_size
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


def place(device: Device, program: Program, image: npt.NDArray[np.uint8]) -> tuple[Job, Program]:
    """Program, image, output and profile in the device's memory, as a job."""
    sizes = (program.data.size, image.size, program.output_bytes, program.profile_bytes)
    memories = [device.allocate(size) for size in sizes]
    for memory, data in zip(memories, (program.data, image.reshape(-1)), strict=False):
        memory.array[:] = data
    return Job.of(program.count, *memories), program


def run(device: Device, program: Program, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The output area after one run."""
    job, _ = place(device, program, image)
    device.load(job.program, job.program_bytes, job.count)
    device.submit(job)
    device.wait(120)
    return device._memories[-2].array.copy()


def random_program(seed: int) -> Program:
    """A traced program of a random legal geometry, row mix and array."""
    rng = np.random.default_rng(seed)
    depth = int(rng.integers(1, 4))
    model = random_model(
        seed,
        image_size=16 * int(rng.choice([1, 2, 3, 5, 8])),
        width=32 * int(rng.integers(1, 9)),
        heads=[int(h) for h in rng.integers(1, 5, depth)],
        mlp=[32 * int(n) for n in rng.integers(1, 13, depth)],
        share8=[None, 0.0, 1.0][int(rng.integers(3))],
        classes=int(rng.integers(1, 100)),
    )
    return compile_model(model, random_overlay(rng), trace=True)


@dataclass
class Table:
    """A descriptor table and the sections after it, written by hand."""

    overlay: Overlay
    descriptors: list[dict[str, int]] = field(default_factory=list)
    sections: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    output_bytes: int = 0
    room: int = 64  # descriptors for which the table has room

    def section(self, data: npt.NDArray[np.generic]) -> int:
        """Append bytes; returns their offset from PROGRAM."""
        raw = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
        offset = self.room * hw.DESCRIPTOR_BYTES + sum(s.size for s in self.sections)
        self.sections.append(np.zeros(align(raw.size), np.uint8))
        self.sections[-1][: raw.size] = raw
        return offset

    def add(self, opcode: Opcode, **fields: int) -> None:
        self.descriptors.append({"opcode": int(opcode), **{k: int(v) for k, v in fields.items()}})

    def store(self, source: Source, tokens: int, channels: int, pitch: int, base: int = 0) -> None:
        """Store a region of ACT or RES to the output's end."""
        self.add(
            Opcode.STORE,
            mode=source,
            tokens=tokens,
            inputs=channels,
            source=base,
            source_pitch=pitch,
            address=self.output_bytes,
        )
        self.output_bytes += align(tokens * channels * (1 if source == Source.ACT else 2))

    def linear(self, matrix: Linear, mode: Epilogue, channels: npt.NDArray[np.integer], **fields):
        """LINEAR whose streamed rows write `channels`."""
        rows = pack_rows(matrix).view(hw.ROW_DTYPE)
        rows["channel"] = channels
        self.add(
            Opcode.LINEAR,
            mode=mode,
            inputs=matrix.inputs,
            outputs=matrix.rows,
            rows8=matrix.rows8,
            weights=self.section(pack_weights(matrix, self.overlay)),
            parameters=self.section(rows),
            **fields,
        )

    def program(self, image_size: int) -> Program:
        self.add(Opcode.END)
        table = np.zeros(self.room, hw.DESCRIPTOR_DTYPE)
        for row, values in zip(table, self.descriptors, strict=False):
            for name, value in values.items():
                row[name] = value
        count = len(self.descriptors)
        return Program(
            overlay=self.overlay,
            data=np.concatenate([table.view(np.uint8), *self.sections]),
            names=tuple(str(i) for i in range(count)),
            macs=(0,) * count,
            image_size=image_size,
            classes=1,
            scale=np.ones(1, np.float32),
            output_bytes=max(self.output_bytes, 64),
        )


def random_linear(rng: np.random.Generator, rows: int, inputs: int, share8: float) -> Linear:
    """Rows over their whole ranges, with requantisations from none to all of the shift."""
    bits = np.where(rng.uniform(size=rows) < share8, 8, 4).astype(np.uint8)
    limit = np.where(bits == 8, 119, 7)[:, None]
    weights = rng.integers(-limit, limit + 1, (rows, inputs))
    # Some rows at the very ends of the range, so that accumulators get as large as they can.
    ends = rng.uniform(size=rows) < 0.1
    weights[ends] = (np.sign(weights) * limit)[ends]
    return Linear(
        weights.astype(np.int8),
        bits,
        (rng.integers(-(2**24), 2**24, rows) >> rng.choice([0, 4, 12])).astype(np.int32),
        rng.integers(0, 2**15, rows).astype(np.uint16),
        rng.integers(0, hw.CONSTANTS["SHIFT_MAX"] + 1, rows).astype(np.uint8),
    )
