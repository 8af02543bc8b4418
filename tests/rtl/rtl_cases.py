"""Programs and memories for the accelerator's tests, and the comparison with the reference."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quasar_runtime.compiler.compile import compile_model
from quasar_runtime.devices.base import Job
from quasar_runtime.devices.reference import executor as reference
from quasar_runtime.devices.rtl.device import MemoryModel, RtlDevice
from quasar_runtime.errors import CompileError
from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Epilogue, Opcode, Source
from quasar_runtime.isa.overlay import Overlay
from quasar_runtime.isa.program import Program, Trace, region_words
from quasar_runtime.model.synthetic import random_model
from tests.runtime.devices.native_cases import Table, random_linear

GUARD = 0xA5
"""What lies around the areas: nobody may write there."""
WAIT = 120.0


def random_memory(rng: np.random.Generator) -> MemoryModel:
    """Any external memory: near or far, wide or narrow, obliging or not."""
    return MemoryModel(
        latency=int(rng.choice([1, 2, 20, 150, 400])),
        gigabytes=float(rng.choice([0.6, 2.0, 12.0, 100.0])),
        port_gigabytes=float(rng.choice([0.6, 8.5, 100.0])),
        outstanding=int(rng.choice([1, 2, 16])),
        backpressure=float(rng.choice([0.0, 0.1, 0.5, 0.9])),
        seed=int(rng.integers(2**32)),
    )


def random_image(side: int, seed: int) -> npt.NDArray[np.uint8]:
    """Raw RGB (side, side, 3): every byte, 0 and 255 often."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (side, side, 3))
    ends = rng.uniform(size=pixels.shape)
    return np.where(ends < 0.05, 0, np.where(ends > 0.95, 255, pixels)).astype(np.uint8)


@dataclass(eq=False)
class Placed:
    """A program, its image and its two other areas in a device's memory, guards between them."""

    program: Program
    image: npt.NDArray[np.uint8]
    job: Job
    memory: npt.NDArray[np.uint8]
    areas: dict[str, slice]

    def array(self, name: str) -> npt.NDArray[np.uint8]:
        """The bytes of 'program', 'image', 'output' or 'profile'."""
        return self.memory[self.areas[name]]

    def check(self) -> None:
        """The output is the reference's, every other byte is what it was."""
        expected = reference.run(self.program, self.image)
        found = self.array("output")
        if not np.array_equal(found, expected):
            raise AssertionError(difference(self.program, found, expected))
        assert np.array_equal(self.array("program"), self.program.data)
        assert np.array_equal(self.array("image"), self.image.reshape(-1))
        between = np.ones(self.memory.size, bool)
        for area in self.areas.values():
            between[area] = False
        assert (self.memory[between] == GUARD).all(), "bytes outside the areas were written"

    def check_profile(self, cycles: int) -> None:
        """Operations begin in order (they may overlap), and END ends last, within the run."""
        entries = self.array("profile").view(hw.PROFILE_DTYPE)
        begin, end = entries["begin"].astype(np.int64), entries["end"].astype(np.int64)
        assert (begin <= end).all()
        assert (np.diff(begin) >= 0).all()
        assert end.max() == end[-1] <= cycles


def place(device: RtlDevice, program: Program, image: npt.NDArray[np.uint8], seed: int) -> Placed:
    """Lay the four areas into one allocation, in random order, a random way apart."""
    rng = np.random.default_rng(seed)
    sizes = {
        "program": program.data.size,
        "image": image.size,
        "output": program.output_bytes,
        "profile": program.profile_bytes,
    }
    areas, offset = {}, 0
    for name in rng.permutation(list(sizes)):
        offset += 64 * int(rng.integers(1, 70))
        areas[str(name)] = slice(offset, offset + sizes[name])
        offset += -(-sizes[name] // 64) * 64
    memory = device.allocate(offset + 64)
    memory.array[:] = GUARD
    places = []
    for name, size in sizes.items():
        memory.array[areas[name]] = 0
        places += [memory.address + areas[name].start, size]
    memory.array[areas["program"]] = program.data
    memory.array[areas["image"]] = image.reshape(-1)
    return Placed(program, image, Job(program.count, *places), memory.array, areas)


def run(device: RtlDevice, placed: Placed) -> int:
    """One run, compared with the reference; returns its cycles."""
    device.submit(placed.job)
    device.wait(WAIT)
    placed.check()
    cycles = device.cycles
    placed.check_profile(cycles)
    return cycles


def difference(program: Program, found: npt.NDArray[np.uint8], expected: np.ndarray) -> str:
    """Which operation's result differs first, and where."""
    for name, trace in program.traces.items():
        tokens, channels = trace.shape
        size = tokens * channels * np.dtype(trace.dtype).itemsize
        a, b = (
            x[trace.offset : trace.offset + size].view(trace.dtype).reshape(trace.shape)
            for x in (found, expected)
        )
        wrong = np.argwhere(a != b)
        if len(wrong):
            t, c = wrong[0]
            return (
                f"{name} {trace.shape}: {len(wrong)} values differ, first token {t} channel {c}: "
                f"{a[t, c]}, expected {b[t, c]}"
            )
    wrong = np.flatnonzero(found != expected)
    return f"{wrong.size} bytes of {found.size} differ, first at {wrong[0]}"


def model_program(seed: int, overlay: Overlay) -> Program:
    """A traced model of a random legal geometry and row mix that fits the overlay."""
    rng = np.random.default_rng(seed)
    while True:
        depth = int(rng.integers(1, 4))
        model = random_model(
            int(rng.integers(2**31)),
            image_size=16 * int(rng.choice([1, 2, 2, 3, 4])),
            width=32 * int(rng.integers(1, 6)),
            heads=[int(h) for h in rng.integers(1, 4, depth)],
            mlp=[32 * int(n) for n in rng.integers(1, 7, depth)],
            share8=[None, 0.0, 1.0][int(rng.integers(3))],
            classes=int(rng.integers(1, 40)),
        )
        try:
            return compile_model(model, overlay, trace=True)
        except CompileError:
            continue


class Script:
    """A hand-made program: operations the compiler would not put in this order or with these
    values, on regions with gaps, over the whole ranges of parameters."""

    def __init__(self, seed: int, overlay: Overlay) -> None:
        self.rng = np.random.default_rng(seed)
        self.overlay = overlay
        self.table = Table(overlay)
        self.side = 16 * int(self.rng.integers(1, 4))
        self.tokens = (self.side // 16) ** 2 + 1
        self.next = self.floor = int(self.rng.integers(0, 20))
        self.width = 32 * int(self.rng.integers(1, 9))
        self.res_pitch = -(-self.width // overlay.depth) + int(self.rng.integers(0, 3))
        self.traces: dict[str, Trace] = {}

    def store(self, what: str, source: Source, tokens: int, channels: int, region) -> None:
        """Store a region's first channels (a multiple of 32), and remember where."""
        name = f"{len(self.table.descriptors) - 1} {what}"
        dtype = "<i1" if source == Source.ACT else "<i2"
        self.traces[name] = Trace(self.table.output_bytes, (tokens, channels), dtype)
        self.table.store(source, tokens, channels, region[1], region[0])

    def reserve(self, tokens: int, channels: int) -> None:
        """Go back to behind the patches unless regions of so many channels in all still fit."""
        pitch = -(-channels // self.overlay.depth) + 16
        if self.next + region_words(tokens, pitch, self.overlay) + 16 > self.overlay.act_words:
            self.next = self.floor

    def region(self, tokens: int, channels: int) -> tuple[int, int]:
        """(base, pitch) of a fresh ACT region."""
        pitch = -(-channels // self.overlay.depth) + int(self.rng.integers(0, 4))
        words = region_words(tokens, pitch, self.overlay)
        base = self.next
        self.next = base + words + int(self.rng.integers(0, 5))
        return base, pitch

    def image(self) -> tuple[int, int]:
        base, pitch = self.region(self.tokens, hw.PATCH_CHANNELS)
        self.table.add(
            Opcode.LOAD_IMAGE, destination=base, destination_pitch=pitch, image_size=self.side
        )
        return base, pitch

    def residual(self) -> None:
        limit = int(self.rng.choice([3, 300, 2**15 - 1]))
        values = self.rng.integers(-limit - 1, limit + 1, (self.tokens, self.width))
        if self.rng.uniform() < 0.2:
            values[0] = self.rng.integers(-limit, limit)  # variance 0
        self.table.add(
            Opcode.LOAD_RESIDUAL,
            tokens=self.tokens,
            inputs=self.width,
            destination_pitch=self.res_pitch,
            address=self.table.section(values.astype("<i2")),
        )

    def linear(
        self, source: tuple[int, int], tokens: int, inputs: int, outputs: int, mode: Epilogue
    ) -> tuple[int, int]:
        """A matrix of random rows in random order, its result stored; (base, pitch) of it."""
        matrix = random_linear(self.rng, outputs, inputs, float(self.rng.choice([0, 0.3, 1])))
        if mode != Epilogue.LOGITS:  # results that are not all at the clamp
            spread = 2.0 ** self.rng.uniform(2, 8, outputs)
            real = spread / (40 * 7 * np.sqrt(inputs))
            matrix.shift[:] = np.clip(np.floor(np.log2(2.0**15 / real)), 0, 40)
            matrix.multiplier[:] = np.minimum(real * 2.0 ** matrix.shift.astype(int), 2**15 - 1)
        wild = self.rng.uniform(size=outputs) < 0.1
        matrix.shift[wild] = self.rng.integers(0, 41, int(wild.sum()))
        ends = self.rng.uniform(size=outputs) < 0.1
        matrix.multiplier[ends] = self.rng.choice([0, 1, 2**15 - 1], int(ends.sum()))
        fields = {"clamp": 127, "tokens": tokens, "source": source[0], "source_pitch": source[1]}
        result = (0, self.res_pitch)
        if mode in (Epilogue.REQUANTISE, Epilogue.TABLE):
            result = self.region(tokens, outputs)
            fields |= {"destination": result[0], "clamp": int(self.rng.integers(119, 128))}
        if mode != Epilogue.LOGITS:
            fields["destination_pitch"] = result[1]
        if mode == Epilogue.TABLE:
            fields["lookup"] = self.table.section(self.rng.integers(-127, 128, 256).astype("i1"))
        if mode == Epilogue.REQUANTISE and outputs % 64 == 0:
            fields["clamp"] = 119  # so that attention may read it
        channels = np.arange(outputs) if self.rng.uniform() < 0.3 else self.rng.permutation(outputs)
        self.table.linear(matrix, mode, channels, **fields)
        stored = outputs // 32 * 32
        if mode in (Epilogue.REQUANTISE, Epilogue.TABLE) and stored:
            self.store(mode.name, Source.ACT, tokens, stored, result)
        elif mode == Epilogue.RESIDUAL:
            self.store(mode.name, Source.RESIDUAL, tokens, outputs, result)
        elif mode == Epilogue.LOGITS:
            name = f"{len(self.table.descriptors) - 1} LOGITS"
            self.traces[name] = Trace(self.table.output_bytes, (1, outputs), "<i4")
            self.table.add(
                Opcode.STORE, mode=Source.LOGITS, outputs=outputs, address=self.table.output_bytes
            )
            self.table.output_bytes += -(-outputs * 4 // 64) * 64
        return result

    def layernorm(self, tokens: int) -> tuple[int, int]:
        result = self.region(tokens, self.width)
        gain = self.rng.integers(0, 2**15, self.width).astype("<u2")
        gain[self.rng.uniform(size=self.width) < 0.05] = self.rng.choice([0, 2**15 - 1])
        self.table.add(
            Opcode.LAYERNORM,
            tokens=tokens,
            inputs=self.width,
            source_pitch=self.res_pitch,
            destination=result[0],
            destination_pitch=result[1],
            shift=int(self.rng.choice([1, 12, 18, 19, 20, 21, 40])),
            parameters=self.table.section(gain),
            epsilon=int(self.rng.choice([1, 2000, 2**32 - 1])),
        )
        self.store("layernorm", Source.ACT, tokens, self.width, result)
        return result

    def attention(self, source: tuple[int, int]) -> None:
        """Q, K and V by a matrix of its own, then attention of some heads."""
        heads, keys = int(self.rng.integers(1, 4)), self.tokens
        queries = int(self.rng.choice([1, keys]))
        channels = heads * hw.HEAD_DIM
        mode = Epilogue.REQUANTISE
        qkv = self.linear(source, keys, hw.PATCH_CHANNELS, 3 * channels, mode)
        first_k, first_v = (int(c) * channels for c in self.rng.integers(0, 3, 2))
        result = self.region(queries, channels)
        p = np.zeros(heads, hw.HEAD_DTYPE)
        p["score_multiplier"] = self.rng.choice([0, 1, 2**14, 2**15 - 1], heads)
        p["score_shift"] = self.rng.choice([0, 15, 19, 21, 22, 23], heads)
        p["out_multiplier"] = self.rng.choice([0, 2**14 + 77, 2**15 - 1], heads)
        p["out_shift"] = self.rng.choice([0, 20, 21, 22, 40], heads)
        self.table.add(
            Opcode.ATTENTION,
            tokens=queries,
            keys=keys,
            heads=heads,
            source=qkv[0],
            source_pitch=qkv[1],
            source_kv=qkv[0],
            kv_pitch=qkv[1],
            channel_k=first_k,
            channel_v=first_v,
            destination=result[0],
            destination_pitch=result[1],
            parameters=self.table.section(p),
        )
        self.store("attention", Source.ACT, queries, channels, result)

    def program(self) -> Program:
        self.residual()
        pixels = self.image()
        self.floor = self.next
        self.store("image", Source.ACT, self.tokens, hw.PATCH_CHANNELS, pixels)
        for _ in range(int(self.rng.integers(1, 4))):
            tokens = int(self.rng.integers(1, self.tokens + 1))
            outputs = int(self.rng.integers(1, 130))
            # Any number of inputs: the first channels of the patches.
            inputs = 32 * int(self.rng.integers(1, 25))
            kind = int(self.rng.integers(6))
            self.reserve(self.tokens, 1024)  # what one operation writes at most
            if kind == 0:
                self.linear(pixels, tokens, inputs, outputs, Epilogue.REQUANTISE)
            elif kind == 1:
                self.linear(pixels, tokens, inputs, outputs, Epilogue.TABLE)
            elif kind == 2:
                self.linear(pixels, tokens, inputs, self.width, Epilogue.RESIDUAL)
            elif kind == 3:
                self.linear(pixels, 1, inputs, outputs, Epilogue.LOGITS)
            elif kind == 4:
                self.layernorm(tokens)
            else:
                self.attention(pixels)
        program = replace(self.table.program(self.side), traces=self.traces)
        ends = self.rng.integers(0, 4, program.count)
        layers = self.rng.integers(0, 2**16, program.count)
        program.descriptors["layer"] = np.select([ends == 0, ends == 1], [0, 2**16 - 1], layers)
        return program


def script_program(seed: int, overlay: Overlay) -> Program:
    """A hand-made program of random operations."""
    return Script(seed, overlay).program()
