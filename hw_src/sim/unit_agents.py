"""The neighbours of the accelerator's modules: read and write ports, AXI slaves, memories."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from hw_src.sim.unit_bench import Agent, Bytes, Signal, Unit, lane

BEAT = 16
"""Bytes of a port's beat."""
PAGE = 4096
OKAY, SLVERR, DECERR = 0, 2, 3


@dataclass
class Names:
    """Signals of a client of a read or write port, or of one lane of several."""

    index: int | None = None
    length_bits: int = 5
    prefix: str = ""

    def __call__(self, name: str, bits: int = 1) -> Signal:
        """The client's signal `name`, of `bits` bits per lane."""
        name = self.prefix + name
        return name if self.index is None else lane(name, self.index, bits)


class ReadPort(Agent):
    """What a client sees of axi_reader: requests granted at random, data in order, no ready.

    bursts  (address in bytes, beats) of each request, in order
    """

    def __init__(
        self,
        memory: Bytes,
        *,
        base: int = 0,
        names: Names | None = None,
        shared_data: bool = False,
        pause: float = 0.0,
        latency: int = 3,
        seed: int = 0,
    ) -> None:
        self.memory, self.base, self.names = memory, base, names or Names()
        self.pause, self.latency, self.random = pause, latency, random.Random(seed + 2)
        self.data: Signal = "data_i" if shared_data else self.names("data_i", 128)
        self.bursts: list[tuple[int, int]] = []
        self.waiting: deque[tuple[int, int]] = deque()  # cycle, address of a beat

    def drive(self, unit: Unit) -> None:
        """Grant requests and return the next beat, each withheld at random."""
        unit.put(self.names("req_ready_i"), self.random.random() >= self.pause)
        there = bool(self.waiting) and self.waiting[0][0] <= unit.cycle
        valid = there and self.random.random() >= self.pause
        unit.put(self.names("data_valid_i"), valid)
        if valid:
            address = self.waiting.popleft()[1]
            unit.put(self.data, self.beat(address))

    def beat(self, address: int) -> int:
        """The 128 bits at `address`, in bytes; AssertionError outside the memory."""
        at = address - self.base
        assert 0 <= at <= self.memory.size - BEAT, f"a read of {address:#x} outside the memory"
        return int.from_bytes(self.memory[at : at + BEAT].tobytes(), "little")

    def sample(self, unit: Unit) -> None:
        """Record an accepted request; AssertionError if it is unaligned or crosses 4 KB."""
        names = self.names
        if unit.get(names("req_valid_o")) and unit.get(names("req_ready_i")):
            address = unit.get(names("req_address_o", 64))
            beats = unit.get(names("req_length_o", names.length_bits)) + 1
            assert address % BEAT == 0
            assert address % PAGE + beats * BEAT <= PAGE, (
                f"a burst over a 4 KB border: {address:#x}"
            )
            self.bursts.append((address, beats))
            self.waiting += [(unit.cycle + self.latency, address + BEAT * i) for i in range(beats)]


class WritePort(Agent):
    """What a client sees of axi_writer: bursts are granted, then their beats popped, in order."""

    def __init__(self, memory: Bytes, *, base: int = 0, pause: float = 0.0, seed: int = 0) -> None:
        self.memory, self.base = memory, base
        self.pause, self.random = pause, random.Random(seed + 3)
        self.bursts: list[tuple[int, int]] = []
        self.beats: deque[int] = deque()

    @property
    def idle(self) -> bool:
        """Whether every granted burst has had its data."""
        return not self.beats

    def drive(self, unit: Unit) -> None:
        """Grant requests and pop beats, each withheld at random."""
        unit.put("req_ready_i", self.random.random() >= self.pause)
        unit.put("pop_i", bool(self.beats) and self.random.random() >= self.pause)

    def sample(self, unit: Unit) -> None:
        """Write a popped beat to the memory; record an accepted request."""
        if unit.get("pop_i"):
            at = self.beats.popleft() - self.base
            write(self.memory, at, unit.get("data_o"), unit.get("strobe_o"))
        if unit.get("req_valid_o") and unit.get("req_ready_i"):
            address, beats = unit.get("req_address_o"), unit.get("req_length_o") + 1
            assert address % PAGE + beats * BEAT <= PAGE, (
                f"a burst over a 4 KB border: {address:#x}"
            )
            self.bursts.append((address, beats))
            self.beats += [address + BEAT * i for i in range(beats)]


def write(memory: Bytes, at: int, data: int, strobe: int) -> None:
    """Bytes of a beat whose strobes are on."""
    for i in range(BEAT):
        if strobe >> i & 1:
            memory[at + i] = data >> 8 * i & 255


class OnChip(Agent):
    """A memory's read port: data `latency` cycles after the address, noise where nothing is read.

    read  the value at the address that a unit shows, or None when it does not read
    """

    def __init__(
        self,
        data: Signal,
        read: Callable[[Unit], int | None],
        *,
        latency: int = 2,
        seed: int = 0,
    ) -> None:
        self.data, self.read = data, read
        self.random = random.Random(seed + 4)
        self.pipe: deque[int] = deque([0] * latency)

    def drive(self, unit: Unit) -> None:
        """Put the word that was addressed `latency` cycles ago."""
        unit.put(self.data, self.pipe.popleft())

    def sample(self, unit: Unit) -> None:
        """Read the word at the address of this cycle."""
        value = self.read(unit)
        noise = self.random.getrandbits(unit.bits(self.data))
        self.pipe.append(noise if value is None else value)


@dataclass
class Fault:
    """Beat or response number `after` is answered with `response`, or the slave falls silent."""

    after: int
    response: int | None  # None: silent


class AxiRead(Agent):
    """An AXI4 slave for reads, in order: AR and R withheld at random."""

    def __init__(
        self,
        memory: Bytes,
        *,
        base: int = 0,
        index: int | None = None,
        pause: float = 0.0,
        latency: int = 4,
        fault: Fault | None = None,
        seed: int = 0,
    ) -> None:
        self.memory, self.base, self.index = memory, base, index
        self.pause, self.latency, self.fault = pause, latency, fault
        self.random = random.Random(seed + 5)
        self.waiting: deque[tuple[int, int, bool]] = deque()
        self.bursts: list[tuple[int, int]] = []
        self.offered = False
        self.beats = 0

    def signal(self, name: str, bits: int = 1) -> Signal:
        """A port of the AXI4 master, `m_axi_<name>`; its lane where there are several masters."""
        name = f"m_axi_{name}"
        return name if self.index is None else lane(name, self.index, bits)

    def drive(self, unit: Unit) -> None:
        """Set AR's ready and R's valid, data, last and response."""
        unit.put(self.signal("arready_i"), self.random.random() >= self.pause)
        silent = self.fault is not None and self.fault.response is None
        silent = silent and self.fault is not None and self.beats >= self.fault.after
        there = bool(self.waiting) and self.waiting[0][0] <= unit.cycle and not silent
        self.offered = self.offered or (there and self.random.random() >= self.pause)
        unit.put(self.signal("rvalid_i"), self.offered)
        if self.offered:
            _, address, last = self.waiting[0]
            at = address - self.base
            unit.put(
                self.signal("rdata_i", 128),
                int.from_bytes(self.memory[at : at + BEAT].tobytes(), "little"),
            )
            unit.put(self.signal("rlast_i"), last)
            unit.put(self.signal("rresp_i", 2), self.response())

    def response(self) -> int:
        """RRESP of the beat that is next."""
        hit = self.fault is not None and self.fault.after == self.beats
        return self.fault.response or OKAY if hit and self.fault else OKAY

    def sample(self, unit: Unit) -> None:
        """Record an accepted address and drop an accepted beat; AssertionError on wrong AR."""
        if self.offered and unit.get(self.signal("rready_o")):
            self.waiting.popleft()
            self.offered = False
            self.beats += 1
        if unit.get(self.signal("arvalid_o")) and unit.get(self.signal("arready_i")):
            address = unit.get(self.signal("araddr_o", 64))
            beats = unit.get(self.signal("arlen_o", 8)) + 1
            assert unit.get(self.signal("arsize_o", 3)) == 4
            assert unit.get(self.signal("arburst_o", 2)) == 1
            self.bursts.append((address, beats))
            when = unit.cycle + self.latency
            self.waiting += [(when, address + BEAT * i, i == beats - 1) for i in range(beats)]


@dataclass
class AxiWrite(Agent):
    """An AXI4 slave for writes: AW, W and B withheld at random.

    order  what the slave waits for, as AXI lets it: "any"; "address", W only after AW; "valid", AW
           only while WVALID is there; "data", AW only after all data of its burst; "mixed", another
           one for each burst
    """

    memory: Bytes
    base: int = 0
    pause: float = 0.0
    latency: int = 4
    fault: Fault | None = None
    seed: int = 0
    order: str = "mixed"
    bursts: list[tuple[int, int]] = field(default_factory=list)
    answers: int = 0

    ORDERS: ClassVar = ("any", "address", "valid", "data")

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed + 6)
        self.beats: deque[tuple[int, bool]] = deque()  # address, last; of accepted bursts
        # Data, strobe and last of beats that came before their address.
        self.early: deque[tuple[int, int, bool]] = deque()
        self.waiting: deque[int] = deque()
        self.offered = False
        self.choose()

    def choose(self) -> None:
        """The order for the next burst."""
        self.now = self.random.choice(self.ORDERS) if self.order == "mixed" else self.order

    def drive(self, unit: Unit) -> None:
        """Set the ready of AW and W, and B's valid and response."""
        fault = self.fault
        complete = bool(self.early) and self.early[-1][2]
        first = not self.beats and bool(unit.get("m_axi_wvalid_o"))  # of the next burst
        address = {"valid": first, "data": complete}.get(self.now, True)
        data = bool(self.beats) or (self.now in ("any", "data") and not complete)
        unit.put("m_axi_awready_i", address and self.random.random() >= self.pause)
        unit.put("m_axi_wready_i", data and self.random.random() >= self.pause)
        silent = fault is not None and fault.response is None and self.answers >= fault.after
        there = bool(self.waiting) and self.waiting[0] <= unit.cycle and not silent
        self.offered = self.offered or (there and self.random.random() >= self.pause)
        unit.put("m_axi_bvalid_i", self.offered)
        hit = fault is not None and fault.after == self.answers
        unit.put("m_axi_bresp_i", (fault.response or OKAY) if hit and fault else OKAY)

    def sample(self, unit: Unit) -> None:
        """Record addresses and write data beats; AssertionError on a wrong WLAST."""
        if self.offered and unit.get("m_axi_bready_o"):
            self.waiting.popleft()
            self.offered = False
            self.answers += 1
        if unit.get("m_axi_wvalid_o") and unit.get("m_axi_wready_i"):
            last = bool(unit.get("m_axi_wlast_o"))
            self.early.append((unit.get("m_axi_wdata_o"), unit.get("m_axi_wstrb_o"), last))
        if unit.get("m_axi_awvalid_o") and unit.get("m_axi_awready_i"):
            address, beats = unit.get("m_axi_awaddr_o"), unit.get("m_axi_awlen_o") + 1
            assert (unit.get("m_axi_awsize_o"), unit.get("m_axi_awburst_o")) == (4, 1)
            self.bursts.append((address, beats))
            self.beats += [(address + BEAT * i, i == beats - 1) for i in range(beats)]
            self.choose()
        while self.early and self.beats:
            data, strobe, marked = self.early.popleft()
            address, last = self.beats.popleft()
            assert marked == last, "WLAST is not at the burst's last beat"
            write(self.memory, address - self.base, data, strobe)
            if last:
                self.waiting.append(unit.cycle + self.latency)
