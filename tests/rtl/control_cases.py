"""The control plane alone in simulation: a stand-in for the datapath, and hand-made programs.

The stand-in (hw_src/sim/control/datapath.sv) has the on-chip memories; LINEAR, LAYERNORM and
ATTENTION consume their parameters and weights and leave hashes of them in LOGITS. `expected` does
the same in Python, and the rest with the reference's own functions.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from quasar_runtime.compiler.layout import align
from quasar_runtime.devices.base import Device, Job
from quasar_runtime.devices.reference import executor as reference
from quasar_runtime.devices.rtl.build import unavailable
from quasar_runtime.devices.rtl.device import MemoryModel, RtlDevice
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue, Opcode, Source
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import digit_groups, weight_bytes
from quasar_runtime.resources import data_folder

if reason := unavailable():
    pytest.skip(reason, allow_module_level=True)

SMALL = Overlay("c64", 2, 4, 8, 300, 4096, 2048, 1024, 1)
MIDDLE = Overlay("c1024", 4, 16, 16, 300, 4096, 1024, 1024, 2)
LARGE = Overlay("c8192", 8, 32, 32, 300, 2048, 512, 1024, 2)
ODD = Overlay("c64odd", 1, 2, 32, 300, 4096, 512, 512, 1)
OVERLAYS = {o.name: o for o in (SMALL, MIDDLE, LARGE, ODD)}
MODULES = (
    "fifo",
    "fifo_block",
    "axi_reader",
    "read_client",
    "slice",
    "axi_writer",
    "axil_registers",
    "range_check",
    "descriptor_fetch",
    "weight_stream",
    "prefetch",
    "parameter_unit",
    "load_image",
    "load_residual",
    "store_unit",
    "profile_writer",
    "sequencer",
    "read_ports",
    "data_movers",
    "quasar_top",
)
OUT_OF_TURN, LEAVE_LAST = 0x100, 0x200
"""Bits of `layer`: the stand-in asks for rows once more; leaves its last parameters unread."""


def sources(folder: Path) -> Path:
    """The control plane's files and the stand-in in one folder."""
    for path in (data_folder("hw_src") / "rtl").rglob("*.sv"):
        if path.stem in MODULES:
            shutil.copy(path, folder)
    shutil.copy(data_folder("hw_src") / "sim" / "control" / "datapath.sv", folder)
    return folder


@dataclass
class Table:
    """A descriptor table and the sections after it, filled with random bytes."""

    overlay: Overlay
    seed: int = 0
    room: int = 64  # descriptors for which the table has room
    descriptors: list[dict[str, int]] = field(default_factory=list)
    sections: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    output_bytes: int = 64
    image_bytes: int = 64

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def section(self, size: int) -> int:
        """Random bytes; returns their offset from PROGRAM."""
        offset = self.room * hw.DESCRIPTOR_BYTES + sum(s.size for s in self.sections)
        self.sections.append(self.rng.integers(0, 256, align(size)).astype(np.uint8))
        return offset

    def add(self, opcode: int, **fields: int) -> None:
        self.descriptors.append({"opcode": int(opcode), **{k: int(v) for k, v in fields.items()}})

    def image(self, side: int, base: int = 0, slack: int = 0) -> None:
        address, self.image_bytes = self.image_bytes, self.image_bytes + side * side * 3
        self.add(
            Opcode.LOAD_IMAGE,
            image_size=side,
            destination=base,
            destination_pitch=hw.PATCH_CHANNELS // self.overlay.depth + slack,
            address=address,
        )

    def residual(self, tokens: int, channels: int, slack: int = 0) -> None:
        self.add(
            Opcode.LOAD_RESIDUAL,
            tokens=tokens,
            inputs=channels,
            destination_pitch=channels // self.overlay.depth + slack,
            address=self.section(tokens * channels * 2),
        )

    def linear(self, inputs: int, outputs: int, rows8: int = 0, layer: int = 0, **fields: int):
        mode = fields.pop("mode", Epilogue.REQUANTISE)
        self.add(
            Opcode.LINEAR,
            mode=mode,
            layer=layer,
            tokens=1,
            inputs=inputs,
            outputs=outputs,
            rows8=rows8,
            source_pitch=-(-inputs // self.overlay.depth),
            destination_pitch=-(-outputs // self.overlay.depth),
            clamp=127,
            weights=self.section(weight_bytes(inputs, outputs, rows8, self.overlay)),
            parameters=self.section(outputs * hw.ROW_BYTES),
            lookup=self.section(256) if mode == Epilogue.TABLE else 0,
            **fields,
        )

    def layernorm(self, channels: int, layer: int = 0) -> None:
        pitch = channels // self.overlay.depth
        self.add(
            Opcode.LAYERNORM,
            layer=layer,
            tokens=1,
            inputs=channels,
            source_pitch=pitch,
            destination_pitch=pitch,
            shift=4,
            epsilon=1,
            parameters=self.section(channels * 2),
        )

    def attention(self, heads: int, layer: int = 0) -> None:
        pitch = heads * hw.HEAD_DIM // self.overlay.depth
        self.add(
            Opcode.ATTENTION,
            layer=layer,
            tokens=1,
            keys=1,
            heads=heads,
            source_pitch=pitch,
            kv_pitch=pitch,
            destination_pitch=pitch,
            parameters=self.section(heads * hw.HEAD_BYTES),
        )

    def store(self, source: Source, count: int, tokens: int = 0, base: int = 0, slack: int = 0):
        """Logits, or tokens x count of a region."""
        address = self.output_bytes
        if source == Source.LOGITS:
            self.add(Opcode.STORE, mode=source, outputs=count, address=address)
            self.output_bytes += align(count * 4)
            return
        self.add(
            Opcode.STORE,
            mode=source,
            tokens=tokens,
            inputs=count,
            source=base,
            source_pitch=count // self.overlay.depth + slack,
            address=address,
        )
        self.output_bytes += align(tokens * count * (1 if source == Source.ACT else 2))

    def end(self) -> None:
        self.add(Opcode.END)

    def data(self) -> npt.NDArray[np.uint8]:
        """The program's bytes."""
        table = np.zeros(self.room, hw.DESCRIPTOR_DTYPE)
        for row, values in zip(table, self.descriptors, strict=False):
            for name, value in values.items():
                row[name] = value
        return np.concatenate([table.view(np.uint8), *self.sections])


@dataclass
class Run:
    """What a run left behind."""

    output: npt.NDArray[np.uint8]
    profile: npt.NDArray[np.void]
    image: npt.NDArray[np.uint8]
    data: npt.NDArray[np.uint8]


def place(device: Device, table: Table, **changes: int) -> tuple[Job, Run]:
    """The program and random pixels in the device's memory; its output area starts as 0xA5."""
    rng = np.random.default_rng(table.seed + 1)
    data, count = table.data(), len(table.descriptors)
    image = rng.integers(0, 4, table.image_bytes).astype(np.uint8) * rng.integers(0, 86)
    profile_bytes = count * hw.PROFILE_BYTES
    sizes = [data.size, image.size, table.output_bytes, profile_bytes]
    memories = [device.allocate(size) for size in sizes]
    memories[0].array[:] = data
    memories[1].array[:] = image
    memories[2].array[:] = 0xA5
    memories[3].array[:] = 0xFF
    areas = [x for m in memories for x in (m.address, m.array.size)]
    names = ("program", "image", "output", "profile")
    values = dict(zip([f"{n}{s}" for n in names for s in ("", "_bytes")], areas, strict=True))
    values["count"] = count
    job = Job(**{**values, **changes})
    return job, Run(memories[2].array, memories[3].array.view(hw.PROFILE_DTYPE), image, data)


def run(device: RtlDevice, table: Table) -> Run:
    job, result = place(device, table)
    device.submit(job)
    device.wait(60)
    return result


def _rotate(x: npt.NDArray[np.uint32], n: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return (x << n) | (x >> ((np.uint32(32) - n) % np.uint32(32)))


def beats_hash(data: npt.NDArray[np.uint8], beat: int) -> int:
    """The stand-in's hash of a stream of beats."""
    lanes = data.reshape(-1, beat).view("<u4")
    n = np.arange(lanes.shape[1], dtype=np.uint32) % np.uint32(32)
    value = 0
    for fold in np.bitwise_xor.reduce(_rotate(lanes, n), axis=1).tolist():
        value = ((value << 1 | value >> 31) & 0xFFFFFFFF) ^ fold
    return value


def expected(table: Table, result: Run) -> npt.NDArray[np.uint8]:
    """The output area that the stand-in's accelerator must leave."""
    overlay = table.overlay
    output = np.full(table.output_bytes, 0xA5, np.uint8)
    machine = reference.Machine(overlay, result.data, result.image, output)
    simple = {
        Opcode.LOAD_IMAGE: reference.load_image,
        Opcode.LOAD_RESIDUAL: reference.load_residual,
        Opcode.STORE: reference.store,
    }
    for d in result.data[: len(table.descriptors) * 64].view(hw.DESCRIPTOR_DTYPE):
        opcode = Opcode(int(d["opcode"]))
        if opcode == Opcode.END:
            break
        if opcode in simple:
            simple[opcode](machine, d)
            continue
        layer, first, weights = int(d["layer"]), int(d["parameters"]), 0
        linear = opcode == Opcode.LINEAR
        size = int(d["outputs"]) * 16 if linear else int(d["inputs"]) * 2 + int(d["heads"]) * 8
        if layer & LEAVE_LAST and size > 32:
            size -= 32
        size = -(-size // 16) * 16
        parts = [result.data[first : first + size]]
        if linear:
            if d["mode"] == Epilogue.TABLE:
                parts.insert(0, result.data[int(d["lookup"]) : int(d["lookup"]) + 256])
            if layer & OUT_OF_TURN:
                parts.append(result.data[first : first + 64])
            word = overlay.rows * overlay.depth // 2
            steps = -(-int(d["inputs"]) // overlay.depth)
            count = digit_groups(int(d["outputs"]), int(d["rows8"]), overlay.rows) * steps * word
            at = int(d["weights"])
            weights = beats_hash(result.data[at : at + count], word)
        machine.logits[2 * (layer % 256)] = np.int32(
            np.uint32(beats_hash(np.concatenate(parts), 16))
        )
        machine.logits[2 * (layer % 256) + 1] = np.int32(np.uint32(weights))
    return output


def memory_model(seed: int) -> MemoryModel:
    """Memories from ideal to miserable."""
    rng = np.random.default_rng(seed)
    return MemoryModel(
        latency=int(rng.choice([1, 2, 20, 150])),
        gigabytes=float(rng.choice([0.5, 4, 12, 40])),
        port_gigabytes=float(rng.choice([4, 8.5])),
        outstanding=int(rng.choice([1, 2, 16])),
        backpressure=float(rng.choice([0.0, 0.1, 0.6])),
        seed=seed,
    )
