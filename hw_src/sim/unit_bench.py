"""A module of the RTL alone, stepped from Python: `Unit` is the module, agents are its neighbours.

Every agent withholds its side of a handshake at random, `pause` of the cycles, and keeps to the
protocol: what was offered stays until it is taken. A signal is a port's name, or a part of a packed
port: (name, lowest bit, bits).
"""

from __future__ import annotations

import ctypes
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt
from bench_build import library

Signal = str | tuple[str, int, int]
Bytes = npt.NDArray[np.uint8]


def lane(name: str, index: int, bits: int = 1) -> Signal:
    """Element `index` of a packed array of `bits` each."""
    return name, index * bits, bits


def pack(values: Iterable[int], bits: int) -> int:
    """A packed array from its elements, element 0 lowest."""
    mask, result = (1 << bits) - 1, 0
    for index, value in enumerate(values):
        result |= (int(value) & mask) << (index * bits)
    return result


def unpack(value: int, bits: int, count: int, *, signed: bool = False) -> list[int]:
    """The elements of a packed array."""
    mask, top = (1 << bits) - 1, 1 << (bits - 1)
    elements = [value >> (i * bits) & mask for i in range(count)]
    return [e - 2 * (e & top) for e in elements] if signed else elements


class Unit:
    """A Verilated module with its assertions on, out of reset.

    primitive=True takes the DSP48E2's model for the multipliers.
    """

    def __init__(
        self,
        top: str,
        *,
        seed: int = 0,
        inputs: Mapping[str, int] | None = None,
        primitive: bool = False,
        **parameters: int,
    ) -> None:
        defines = ("QUASAR_PRIMITIVE",) if primitive else ()
        self.library = library(top, "unit_bench.cpp", tuple(sorted(parameters.items())), defines)
        self.library.unit_new.restype = ctypes.c_void_p
        self.library.unit_ports.restype = self.library.unit_message.restype = ctypes.c_char_p
        self.handle = ctypes.c_void_p(self.library.unit_new(ctypes.c_uint32(seed)))
        self.ports: dict[str, tuple[bool, int, int]] = {}
        ends = {True: 0, False: 0}
        for line in self.library.unit_ports().decode().splitlines():
            name, kind, offset, bits = line.split()
            size = next((s for s in (1, 2, 4, 8) if int(bits) <= 8 * s), -(-int(bits) // 32) * 4)
            self.ports[name] = kind == "I", int(offset), int(bits)
            ends[kind == "I"] = int(offset) + size
        self.inputs, self.outputs = bytearray(max(1, ends[True])), bytearray(max(1, ends[False]))
        self._in = (ctypes.c_uint8 * len(self.inputs)).from_buffer(self.inputs)
        self._out = (ctypes.c_uint8 * len(self.outputs)).from_buffer(self.outputs)
        self.cycle = 0
        for name, value in (inputs or {}).items():
            self.put(name, value)
        self.reset()

    def close(self) -> None:
        """Free the model."""
        self.library.unit_delete(self.handle)

    def __enter__(self) -> Unit:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def put(self, signal: Signal, value: int) -> None:
        """Set an input for the next cycle."""
        name, low, bits = self._part(signal)
        is_input, offset, width = self.ports[name]
        assert is_input, name
        at = slice(offset, offset + -(-width // 8))
        if bits != width:
            mask = ((1 << bits) - 1) << low
            value = int.from_bytes(self.inputs[at], "little") & ~mask | value << low & mask
        self.inputs[at] = (value & ((1 << width) - 1)).to_bytes(-(-width // 8), "little")

    def get(self, signal: Signal) -> int:
        """An output of this cycle."""
        name, low, bits = self._part(signal)
        is_input, offset, width = self.ports[name]
        data = self.inputs if is_input else self.outputs
        value = int.from_bytes(data[offset : offset + -(-width // 8)], "little")
        return value >> low & (1 << bits) - 1

    def bits(self, signal: Signal) -> int:
        """A signal's width."""
        return self._part(signal)[2]

    def pulse(self, name: str) -> None:
        """Set a one-bit input for a cycle."""
        self.put(name, 1)
        self.step()
        self.put(name, 0)

    def _part(self, signal: Signal) -> tuple[str, int, int]:
        return (signal, 0, self.ports[signal][2]) if isinstance(signal, str) else signal

    def step(self) -> None:
        """To the next cycle: the clock rises, and the outputs settle on the inputs that are set."""
        done = self.library.unit_step(
            self.handle,
            self._in,
            len(self.inputs),
            self._out,
            len(self.outputs),
            ctypes.c_uint64(1),
        )
        if done:
            raise AssertionError(f"cycle {self.cycle}: {self._message()}")
        self.cycle += 1

    def settle(self) -> None:
        """The outputs on inputs that were changed within the cycle."""
        self.library.unit_settle(self.handle, self._in, self._out)

    def reset(self, cycles: int = 3) -> None:
        """Hold rst_i for so many cycles."""
        if "rst_i" in self.ports:
            self.put("rst_i", 1)
            for _ in range(cycles):
                self.step()
            self.put("rst_i", 0)
        self.library.unit_assertions(self.handle)

    def run(
        self, agents: Iterable[Agent], done: Callable[[], bool], limit: int = 20_000, more: int = 0
    ) -> int:
        """Step until `done`, then `more` cycles; returns the cycles until `done`.

        AssertionError when it takes `limit` cycles.
        """
        agents, begin, left = list(agents), self.cycle, more
        while True:
            for agent in agents:
                agent.drive(self)
            self.step()
            for agent in agents:
                agent.sample(self)
            if done():
                left -= 1
                if left < 0:
                    return self.cycle - begin - more
            assert self.cycle - begin < limit, f"not done after {limit} cycles"

    def pipeline(
        self, columns: Mapping[str, npt.NDArray[np.int64] | Bytes]
    ) -> dict[str, npt.NDArray[np.int64]]:
        """Inputs that change every cycle, and the outputs of the same cycles.

        columns  one value a cycle for each input that changes, all of the same length, or the
                 port's bytes, lowest first; the others stay as they are. Outputs are unsigned where
                 a port has at most 64 bits, otherwise its bits, lowest first.
        """
        count = len(next(iter(columns.values())))
        rows = np.tile(np.frombuffer(bytes(self.inputs), np.uint8), (count, 1))
        for name, values in columns.items():
            _, offset, width = self.ports[name]
            size = -(-width // 8)
            if values.ndim == 1:
                raw = values.astype("<i8") & np.int64(2**width - 1 if width < 64 else -1)
                values = raw.view(np.uint8).reshape(count, 8)
            rows[:, offset : offset + size] = values[:, :size]
        out = np.zeros((count, len(self.outputs)), np.uint8)
        self._advance(rows, out)
        found = {}
        for name, (is_input, offset, width) in self.ports.items():
            if is_input:
                continue
            raw = np.ascontiguousarray(out[:, offset : offset + -(-width // 8)])
            bits = np.unpackbits(raw, axis=1, bitorder="little")[:, :width].astype(np.int64)
            found[name] = bits @ (1 << np.arange(width)) if width <= 64 else bits
        return found

    def _advance(self, rows: Bytes, out: Bytes) -> None:
        """A cycle for each row of inputs and outputs."""
        done = self.library.unit_step(
            self.handle,
            rows.ctypes.data_as(ctypes.c_void_p),
            rows.shape[1],
            out.ctypes.data_as(ctypes.c_void_p),
            out.shape[1],
            ctypes.c_uint64(len(rows)),
        )
        if done:
            raise AssertionError(f"cycle {self.cycle}: {self._message()}")
        self.cycle += len(rows)

    def _message(self) -> str:
        return str(self.library.unit_message(self.handle).decode())


class Agent:
    """What surrounds a module: sets inputs before a cycle, looks at outputs in it."""

    def drive(self, unit: Unit) -> None:
        """Set inputs for the cycle that begins."""

    def sample(self, unit: Unit) -> None:
        """See what the cycle's handshakes were."""


class Source(Agent):
    """Offers items, one value for each data signal, in order."""

    def __init__(
        self,
        valid: Signal,
        ready: Signal | None,
        data: Iterable[Signal],
        items: Iterable[tuple[int, ...]],
        *,
        pause: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.valid, self.ready, self.data = valid, ready, list(data)
        self.items = deque(items)
        self.pause, self.random = pause, random.Random(seed)
        self.offered = False
        self.taken = 0

    def drive(self, unit: Unit) -> None:
        """Set the inputs of the next cycle."""
        if not self.offered:
            self.offered = bool(self.items) and self.random.random() >= self.pause
            for signal in self.data:  # what is not offered is noise
                bits = unit.bits(signal)
                unit.put(signal, self.random.getrandbits(bits))
            if self.offered:
                for signal, value in zip(self.data, self.items[0], strict=True):
                    unit.put(signal, value)
        unit.put(self.valid, self.offered)

    def sample(self, unit: Unit) -> None:
        """Look at the outputs before the clock's edge."""
        if self.offered and (self.ready is None or unit.get(self.ready)):
            self.items.popleft()
            self.taken += 1
            self.offered = False


class Sink(Agent):
    """Takes what is offered: `items`, a tuple of the data signals each, and `cycles`."""

    def __init__(
        self,
        valid: Signal,
        ready: Signal | None,
        data: Iterable[Signal],
        *,
        pause: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.valid, self.ready, self.data = valid, ready, list(data)
        self.pause, self.random = pause, random.Random(seed + 1)
        self.taking = True
        self.most: int | None = None  # items it takes
        self.items: list[tuple[int, ...]] = []
        self.cycles: list[int] = []

    def has(self, count: int) -> Callable[[], bool]:
        """Whether so many items are there, for `Unit.run`."""
        return lambda: len(self.items) >= count

    def drive(self, unit: Unit) -> None:
        """Set the inputs of the next cycle."""
        full = self.most is not None and len(self.items) >= self.most
        self.taking = not full and self.random.random() >= self.pause
        if self.ready is not None:
            unit.put(self.ready, self.taking)

    def sample(self, unit: Unit) -> None:
        """Look at the outputs before the clock's edge."""
        if unit.get(self.valid) and (self.ready is None or self.taking):
            self.items.append(tuple(unit.get(signal) for signal in self.data))
            self.cycles.append(unit.cycle)


class Scripted(Agent):
    """Any function of the unit, before a cycle or in it."""

    def __init__(
        self,
        drive: Callable[[Unit], None] | None = None,
        sample: Callable[[Unit], None] | None = None,
    ) -> None:
        self._drive, self._sample = drive, sample

    def drive(self, unit: Unit) -> None:
        """Set the inputs of the next cycle."""
        if self._drive:
            self._drive(unit)

    def sample(self, unit: Unit) -> None:
        """Look at the outputs before the clock's edge."""
        if self._sample:
            self._sample(unit)
