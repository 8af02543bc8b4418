"""The AXI modules alone: bursts, order, faults, stalls, and what a reset leaves unfinished."""

from __future__ import annotations

import random

import numpy as np
import pytest

from quasar_runtime.isa import interface as hw
from quasar_runtime.isa.interface import Cause
from tests.rtl.rtl_units import THROTTLES, agents, bench, integer, random_bytes

BASE = 0x8_0000_0000


class Clients(bench.Agent):
    """Read clients: each offers its bursts in order and collects the data marked as its own."""

    def __init__(self, bursts: list[list[tuple[int, int]]], pause: float, seed: int = 0) -> None:
        self.sources = [
            bench.Source(
                bench.lane("req_valid_i", c),
                bench.lane("req_ready_o", c),
                [bench.lane("req_address_i", c, 64), bench.lane("req_length_i", c, 5)],
                [(BASE + a, n - 1) for a, n in items],
                pause=pause,
                seed=seed + c,
            )
            for c, items in enumerate(bursts)
        ]
        self.sinks = [
            bench.Sink(bench.lane("data_valid_o", c), None, ["data_o"]) for c in range(len(bursts))
        ]

    def drive(self, unit) -> None:
        for agent in (*self.sources, *self.sinks):
            agent.drive(unit)

    def sample(self, unit) -> None:
        valid = unit.get("data_valid_o")
        assert valid & (valid - 1) == 0, "a beat for two clients"
        for agent in (*self.sources, *self.sinks):
            agent.sample(unit)


def random_bursts(seed: int, count: int, most: int = 32) -> list[tuple[int, int]]:
    """(address, beats) in 16 KB, none over a 4 KB border."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        beats = int(rng.choice([1, 2, most - 1, most, rng.integers(1, most + 1)]))
        page, last = int(rng.integers(4)), 256 - beats
        at = int(rng.choice([0, last, rng.integers(last + 1)]))
        found.append((page * agents.PAGE + 16 * at, beats))
    return found


def beats_of(memory: np.ndarray, bursts: list[tuple[int, int]]) -> list[tuple[int]]:
    return [(integer(memory[a + 16 * i : a + 16 * i + 16]),) for a, n in bursts for i in range(n)]


@pytest.mark.parametrize(("left", "right"), THROTTLES)
@pytest.mark.parametrize("clients", [1, 3])
def test_reader_gives_each_client_its_own_bursts_in_order(clients, left, right):
    memory = random_bytes(4 * agents.PAGE)
    bursts = [random_bursts(c, 25) for c in range(clients)]
    with bench.Unit("axi_reader", CLIENTS=clients) as unit:
        asking = Clients(bursts, left)
        slave = agents.AxiRead(memory, base=BASE, pause=right, latency=7)
        unit.run(
            [asking, slave],
            lambda: (
                bool(unit.get("quiet_o"))
                and slave.beats > 0
                and not any(s.items for s in asking.sources)
            ),
            more=5,
        )
        assert [s.items for s in asking.sinks] == [beats_of(memory, b) for b in bursts]
        assert unit.get("fault_o") == 0


def test_reader_serves_the_first_client_first_and_the_last_only_below_its_limit():
    memory = random_bytes(4 * agents.PAGE)
    with bench.Unit("axi_reader", CLIENTS=3, LIMIT=40) as unit:
        many = [(512 * i, 32) for i in range(4)]
        asking = Clients([many, many, many], 0.0)
        slave = agents.AxiRead(memory, base=BASE, latency=200)
        unit.run([asking, slave], lambda: len(slave.bursts) == 8, limit=100)
        assert [s.taken for s in asking.sources] == [4, 4, 0]
        unit.run([asking, slave], lambda: len(slave.bursts) == 12, limit=2000)
        assert slave.beats >= 8 * 32 - 40


@pytest.mark.parametrize("response", [agents.SLVERR, agents.DECERR])
@pytest.mark.parametrize("after", [0, 5, 31, 70])
def test_reader_reports_an_error_response_with_the_address_of_its_beat(after, response):
    bursts = random_bursts(1, 12)
    with bench.Unit("axi_reader", CLIENTS=1) as unit:
        asking = Clients([bursts], 0.2)
        slave = agents.AxiRead(
            random_bytes(4 * agents.PAGE), base=BASE, pause=0.2, fault=agents.Fault(after, response)
        )
        seen = bench.Sink("fault_o", None, ["fault_cause_o", "fault_address_o"])
        unit.run([asking, slave, seen], lambda: len(asking.sinks[0].items) > after, more=4)
        addresses = [BASE + a + 16 * i for a, n in bursts for i in range(n)]
        cause = Cause.READ_SLVERR if response == agents.SLVERR else Cause.READ_DECERR
        assert seen.items == [(cause, addresses[after])]


@pytest.mark.parametrize("after", [0, 3, 40])
@pytest.mark.parametrize("timeout", [0, 50])
def test_reader_reports_a_silent_slave_after_the_timeout_and_again_while_it_lasts(after, timeout):
    bursts = random_bursts(2, 6)
    with bench.Unit("axi_reader", CLIENTS=1, inputs={"timeout_i": timeout}) as unit:
        asking = Clients([bursts], 0.0)
        slave = agents.AxiRead(
            random_bytes(4 * agents.PAGE), base=BASE, fault=agents.Fault(after, None)
        )
        seen = bench.Sink("fault_o", None, ["fault_cause_o", "fault_address_o"])
        unit.run([asking, slave, seen], lambda: slave.beats >= after, more=40)
        assert not seen.items
        unit.run([asking, slave, seen], lambda: True, more=80)
        if not timeout:
            assert not seen.items, "0 waits for ever"
            return
        addresses = [BASE + a + 16 * i for a, n in bursts for i in range(n)]
        assert len(seen.items) > 10
        assert set(seen.items) == {(Cause.STALLED, addresses[after])}


def test_reader_finishes_what_was_asked_for_when_aborted_and_grants_nothing_more():
    bursts = random_bursts(3, 20)
    with bench.Unit("axi_reader", CLIENTS=2) as unit:
        asking = Clients([bursts, bursts], 0.0)
        slave = agents.AxiRead(
            random_bytes(4 * agents.PAGE),
            base=BASE,
            pause=0.5,
            fault=agents.Fault(30, agents.SLVERR),
        )
        seen = bench.Sink("fault_o", None, [])
        unit.run([asking, slave, seen], lambda: slave.beats == 20)
        unit.put("abort_i", 1)
        asked = sum(s.taken for s in asking.sources)
        unit.run([asking, slave, seen], lambda: bool(unit.get("quiet_o")), more=20)
        assert sum(s.taken for s in asking.sources) in (asked, asked + 1)
        assert slave.beats == sum(n for _, n in slave.bursts)
        assert not seen.items, "an answer that nobody waits for is no fault"


# --- The write port


class Writers(bench.Agent):
    """Write clients: a burst is asked for when its data wait; every pop takes the next beat."""

    def __init__(self, bursts, data, strobes, pause: float) -> None:
        self.sources = [
            bench.Source(
                bench.lane("req_valid_i", c),
                bench.lane("req_ready_o", c),
                [bench.lane("req_address_i", c, 64), bench.lane("req_length_i", c, 4)],
                [(BASE + a, n - 1) for a, n in items],
                pause=pause,
                seed=c,
            )
            for c, items in enumerate(bursts)
        ]
        self.data, self.strobes = [list(d) for d in data], [list(s) for s in strobes]

    def drive(self, unit) -> None:
        for c, source in enumerate(self.sources):
            source.drive(unit)
            if self.data[c]:
                unit.put(bench.lane("data_i", c, 128), self.data[c][0])
                unit.put(bench.lane("strobe_i", c, 16), self.strobes[c][0])

    def sample(self, unit) -> None:
        for c, source in enumerate(self.sources):
            source.sample(unit)
            if unit.get("pop_o") >> c & 1:
                self.data[c].pop(0)
                self.strobes[c].pop(0)

    @property
    def done(self) -> bool:
        return not any(s.items for s in self.sources) and not any(self.data)


def write_work(clients: int, seed: int = 0):
    """Bursts of all clients on places of their own, their data and strobes, and what they leave."""
    rng = random.Random(seed)
    memory = random_bytes(8 * agents.PAGE, seed)
    expected = memory.copy()
    bursts: list[list[tuple[int, int]]] = [[] for _ in range(clients)]
    at = 0
    while True:
        beats = rng.choice([1, 2, 15, 16])
        if at % agents.PAGE + 16 * beats > agents.PAGE:
            at += agents.PAGE - at % agents.PAGE
        if at + 16 * beats > memory.size:
            break
        bursts[rng.randrange(clients)].append((at, beats))
        at += 16 * beats + 16 * rng.randrange(20)
    data, strobes = [], []
    for items in bursts:
        count = sum(n for _, n in items)
        data.append([rng.getrandbits(128) for _ in range(count)])
        strobes.append([rng.choice([0xFFFF, 0xFFF, 0xF0, 1, 0]) for _ in range(count)])
        places = [a + 16 * i for a, n in items for i in range(n)]
        for place, value, strobe in zip(places, data[-1], strobes[-1], strict=True):
            agents.write(expected, place, value, strobe)
    return memory, expected, bursts, data, strobes


@pytest.mark.parametrize("order", agents.AxiWrite.ORDERS)
def test_writer_serves_a_slave_that_waits_for_the_address_or_for_the_data_first(order):
    memory, expected, bursts, data, strobes = write_work(2)
    with bench.Unit("axi_writer", CLIENTS=2) as unit:
        asking = Writers(bursts, data, strobes, 0.2)
        slave = agents.AxiWrite(memory, base=BASE, pause=0.3, order=order)
        unit.run([asking, slave], lambda: asking.done and bool(unit.get("quiet_o")), more=5)
    assert np.array_equal(memory, expected)


@pytest.mark.parametrize(("left", "right"), THROTTLES)
@pytest.mark.parametrize("clients", [1, 2])
def test_writer_writes_every_byte_whose_strobe_is_on_and_no_other(clients, left, right):
    memory, expected, bursts, data, strobes = write_work(clients)
    with bench.Unit("axi_writer", CLIENTS=clients) as unit:
        asking = Writers(bursts, data, strobes, left)
        slave = agents.AxiWrite(memory, base=BASE, pause=right)
        unit.run([asking, slave], lambda: asking.done and bool(unit.get("quiet_o")), more=5)
    assert np.array_equal(memory, expected)
    assert slave.answers == sum(len(b) for b in bursts)


@pytest.mark.parametrize("response", [agents.SLVERR, agents.DECERR])
@pytest.mark.parametrize("after", [0, 4, 17])
def test_writer_reports_an_error_response_with_the_address_of_its_burst(after, response):
    memory, _, bursts, data, strobes = write_work(2)
    with bench.Unit("axi_writer", CLIENTS=2) as unit:
        asking = Writers(bursts, data, strobes, 0.2)
        slave = agents.AxiWrite(memory, base=BASE, pause=0.2, fault=agents.Fault(after, response))
        seen = bench.Sink("fault_o", None, ["fault_cause_o", "fault_address_o"])
        unit.run([asking, slave, seen], lambda: slave.answers > after, more=4)
        cause = Cause.WRITE_SLVERR if response == agents.SLVERR else Cause.WRITE_DECERR
        assert seen.items == [(cause, slave.bursts[after][0])]


@pytest.mark.parametrize("after", [0, 3])
def test_writer_reports_a_slave_that_never_answers_with_the_oldest_burst(after):
    memory, _, bursts, data, strobes = write_work(1)
    with bench.Unit("axi_writer", CLIENTS=1, inputs={"timeout_i": 60}) as unit:
        asking = Writers(bursts, data, strobes, 0.0)
        slave = agents.AxiWrite(memory, base=BASE, fault=agents.Fault(after, None))
        seen = bench.Sink("fault_o", None, ["fault_cause_o", "fault_address_o"])
        unit.run([asking, slave, seen], lambda: bool(seen.items), more=30)
        assert set(seen.items) == {(Cause.STALLED, slave.bursts[after][0])}


def test_writer_finishes_begun_bursts_with_strobes_off_when_aborted():
    memory, _, bursts, data, strobes = write_work(2)
    with bench.Unit("axi_writer", CLIENTS=2) as unit:
        asking = Writers(bursts, data, strobes, 0.0)
        slave = agents.AxiWrite(memory, base=BASE, pause=0.6)
        unit.run([asking, slave], lambda: slave.answers == 5)
        # A beat whose strobes left the clients before the abort may still be on its way.
        unit.put("abort_i", 1)
        unit.run([asking, slave], lambda: True, more=30)
        before = memory.copy()
        unit.run([asking, slave], lambda: bool(unit.get("quiet_o")), more=20)
        assert np.array_equal(memory, before)
        assert slave.answers == len(slave.bursts)
        assert not slave.beats


# --- Registers


class Host(bench.Agent):
    """AXI4-Lite: accesses one after another as fast as the slave takes them, address and data of a
    write each when they please. `answers` holds (read data or None, response)."""

    def __init__(self, accesses, *, address_pause=0.0, data_pause=0.0, answer_pause=0.0) -> None:
        writes = [a for a in accesses if a[0] == "w"]
        reads = [a for a in accesses if a[0] == "r"]
        self.parts = [
            bench.Source(
                "s_axil_awvalid_i",
                "s_axil_awready_o",
                ["s_axil_awaddr_i"],
                [(w[1],) for w in writes],
                pause=address_pause,
                seed=1,
            ),
            bench.Source(
                "s_axil_wvalid_i",
                "s_axil_wready_o",
                ["s_axil_wdata_i", "s_axil_wstrb_i"],
                [w[2:] for w in writes],
                pause=data_pause,
                seed=2,
            ),
            bench.Source(
                "s_axil_arvalid_i",
                "s_axil_arready_o",
                ["s_axil_araddr_i"],
                [(r[1],) for r in reads],
                pause=address_pause,
                seed=3,
            ),
        ]
        self.b = bench.Sink(
            "s_axil_bvalid_o", "s_axil_bready_i", ["s_axil_bresp_o"], pause=answer_pause, seed=4
        )
        self.r = bench.Sink(
            "s_axil_rvalid_o",
            "s_axil_rready_i",
            ["s_axil_rdata_o", "s_axil_rresp_o"],
            pause=answer_pause,
            seed=5,
        )
        self.writes, self.reads = len(writes), len(reads)

    def drive(self, unit) -> None:
        for agent in (*self.parts, self.b, self.r):
            agent.drive(unit)

    def sample(self, unit) -> None:
        for agent in (*self.parts, self.b, self.r):
            agent.sample(unit)

    def done(self) -> bool:
        return len(self.b.items) == self.writes and len(self.r.items) == self.reads


OFFSET = {r.name: r.offset for r in hw.REGISTERS}
ACTING = ("CONTROL", "INTERRUPT_ENABLE")
CONFIGURATION = [r.name for r in hw.REGISTERS if r.access == "rw" and r.name not in ACTING]


def access(unit, accesses, **pauses) -> list[int]:
    """Read data of the accesses; every answer is OKAY."""
    host = Host(accesses, **pauses)
    unit.run([host], host.done, more=2)
    assert {x[-1] for x in host.b.items + host.r.items} <= {agents.OKAY}
    return [data for data, _ in host.r.items]


PAUSES = [
    {},
    {"address_pause": 0.7},
    {"data_pause": 0.7},
    {"answer_pause": 0.7},
    {"address_pause": 0.5, "data_pause": 0.5, "answer_pause": 0.5},
]


@pytest.mark.parametrize("pauses", PAUSES)
def test_registers_take_writes_byte_by_byte_with_address_and_data_in_any_order(pauses):
    rng = np.random.default_rng(len(str(pauses)))
    held = dict.fromkeys(CONFIGURATION, 0)
    with bench.Unit("axil_registers") as unit:
        for _ in range(6):
            writes = []
            for _ in range(30):
                name = str(rng.choice(CONFIGURATION))
                data, strobe = int(rng.integers(2**32)), int(rng.integers(16))
                mask = sum(0xFF << 8 * i for i in range(4) if strobe >> i & 1)
                held[name] = held[name] & ~mask | data & mask
                # The lowest two bits of an address say nothing.
                writes.append(("w", OFFSET[name] + int(rng.integers(4)), data, strobe))
            access(unit, writes, **pauses)
            reads = [("r", OFFSET[name] + int(rng.integers(4))) for name in CONFIGURATION]
            assert access(unit, reads, **pauses) == list(held.values())
        ports = {"DESCRIPTOR_COUNT": "count_o", "TIMEOUT": "timeout_o"}
        for name in CONFIGURATION:
            stem = name.lower()
            at = 32 if name.endswith("_HI") else 0
            port = ports.get(name) or f"{stem.removesuffix('_lo').removesuffix('_hi')}_o"
            assert unit.get(port) >> at & 0xFFFF_FFFF == held[name]


def test_registers_are_ready_for_a_write_whatever_is_valid():
    """No READY depends on a VALID within a cycle: AXI forbids such a path."""
    with bench.Unit("axil_registers") as unit:
        for address, data in ((0, 0), (1, 0), (0, 1), (1, 1)):
            unit.put("s_axil_awvalid_i", address)
            unit.put("s_axil_wvalid_i", data)
            unit.settle()
            assert (unit.get("s_axil_awready_o"), unit.get("s_axil_wready_o")) == (1, 1)


def test_registers_take_a_write_every_other_cycle_and_a_read_as_well():
    with bench.Unit("axil_registers") as unit:
        host = Host(
            [("w", OFFSET["TIMEOUT"], i, 15) for i in range(50)] + [("r", OFFSET["TIMEOUT"])] * 50
        )
        assert unit.run([host], host.done) <= 103


def test_registers_ignore_writes_where_nothing_can_be_written_and_read_zero_where_nothing_is():
    known = {r.offset for r in hw.REGISTERS}
    unknown = [offset for offset in range(0, 256, 4) if offset not in known]
    constant = [r.offset for r in hw.REGISTERS if r.access == "r"]
    with bench.Unit(
        "axil_registers",
        inputs={
            "status_i": 5,
            "cause_i": 9,
            "cycles_i": 2**40 + 3,
            "descriptor_i": 77,
            "address_i": 2**33 + 64,
        },
    ) as unit:
        before = access(unit, [("r", o) for o in (*constant, *unknown)])
        assert before[len(constant) :] == [0] * len(unknown)
        access(unit, [("w", o, 0xFFFFFFFF, 15) for o in (*constant, *unknown)])
        assert access(unit, [("r", o) for o in (*constant, *unknown)]) == before
        values = dict(zip([r.name for r in hw.REGISTERS if r.access == "r"], before, strict=False))
        assert values["STATUS"] == 5
        assert values["ERROR_CAUSE"] == 9
        assert values["ERROR_DESCRIPTOR"] == 77
        assert values["ERROR_ADDRESS_LO"] | values["ERROR_ADDRESS_HI"] << 32 == 2**33 + 64
        assert values["CYCLES_LO"] | values["CYCLES_HI"] << 32 == 2**40 + 3


@pytest.mark.parametrize(
    ("data", "strobe", "start", "reset"),
    [
        (1, 15, 1, 0),
        (2, 15, 0, 1),
        (3, 15, 0, 1),
        (1, 14, 0, 0),
        (2, 14, 0, 0),
        (0, 15, 0, 0),
    ],
)
def test_control_gives_one_pulse_and_reset_goes_before_start(data, strobe, start, reset):
    with bench.Unit("axil_registers") as unit:
        host = Host([("w", OFFSET["CONTROL"], data, strobe)], answer_pause=0.8)
        starts, resets = bench.Sink("start_o", None, []), bench.Sink("reset_o", None, [])
        unit.run([host, starts, resets], host.done, more=5)
        assert (len(starts.items), len(resets.items)) == (start, reset)


def test_an_interrupt_event_beats_its_being_cleared_in_the_same_cycle():
    with bench.Unit("axil_registers") as unit:
        access(unit, [("w", OFFSET["INTERRUPT_ENABLE"], 3, 1)])
        status = OFFSET["INTERRUPT_STATUS"]
        for bit, event in ((1, "done_event_i"), (2, "error_event_i")):
            unit.pulse(event)
            unit.step()
            unit.step()
            assert unit.get("irq_o") == 1
            access(unit, [("w", status, 3 - bit, 15)])
            assert access(unit, [("r", status)]) == [bit]
            access(unit, [("w", status, bit, 14)])
            assert access(unit, [("r", status)]) == [bit], "its byte was not strobed"
            host = Host([("w", status, bit, 15)])
            # The event comes in the cycle in which the write is done: the one after its acceptance.
            accepted = bench.Scripted(
                sample=lambda u, e=event: u.put(
                    e, u.get("s_axil_wvalid_i") and u.get("s_axil_wready_o")
                )
            )
            unit.run([host, accepted], host.done)
            unit.put(event, 0)
            assert access(unit, [("r", status)]) == [bit]
            access(unit, [("w", status, bit, 15)])
            assert access(unit, [("r", status)]) == [0]
            assert unit.get("irq_o") == 0
